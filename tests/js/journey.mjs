// The whole story of one buyer and two sellers, told by axios and socket.io-client against running
// servers. README.md beside this file says how to run it by hand; `cargo test` runs it in both modes.

import assert from 'node:assert/strict';

import { becomeBuyer, becomeSeller, keepProfile, leave, visit } from './chapters/accounts.mjs';
import { cancel, checkOut, deliver, offerCoupon, refund, review, withdraw } from './chapters/buying.mjs';
import { browse, clear, stock } from './chapters/catalogue.mjs';
import { talk } from './chapters/chat.mjs';
import { chapter, finish, step } from './lib/steps.mjs';
import { world as surroundings } from './lib/world.mjs';

const world = surroundings();
console.log(`${world.mode}: API ${world.api}, chat ${world.chat}, page ${world.origin}`);

chapter('The servers');
await step('answer', async () => {
  const { default: axios } = await import('axios');
  assert.equal((await axios.get(`${world.api}/ping`)).data, 'pong');
  assert.equal((await axios.get(`${world.api}/readyz`)).data.status, 'ready');
});

const visitor = await visit(world);
const ann = await becomeBuyer(world);
const lamps = await becomeSeller(world, { key: 'lamps', name: 'Lamp & Co', phoneNumber: '3007654321' });
const tea = await becomeSeller(world, { key: 'tea', name: 'Tea House', phoneNumber: '3009998887' });
const home = await keepProfile(ann);
const goods = await stock(world, lamps, tea);
await browse(visitor, lamps, goods);
const coupon = await offerCoupon(world, lamps, tea, ann);
const bought = await checkOut(ann, home, lamps, tea, goods, coupon);
await deliver(lamps, tea, ann, goods, bought);
await review(world, ann, lamps, visitor, goods, bought);
await talk(world, ann, lamps, tea, visitor);
await refund(tea, lamps, ann, goods, bought);
await cancel(ann, lamps, tea, goods, bought);
await withdraw(lamps, tea);
await clear(tea, goods);
await leave(world, ann, lamps);

finish();
