// Cards and PayPal from the first click to the last refund, against the sandbox. README.md beside this file says how to
// run it by hand; `cargo test` runs it, and counts the books afterwards.

import { becomeBuyer, becomeSeller } from './chapters/accounts.mjs';
import { becomeAdmin, dispute, giveBack, hearWebhooks, payByCard, payByPaypal, shelve, Till } from './chapters/paying.mjs';
import { expect } from './lib/browser.mjs';
import { finish } from './lib/steps.mjs';
import { world as surroundings } from './lib/world.mjs';

const world = surroundings();
const admin = await becomeAdmin(world);
const ann = await becomeBuyer(world);
ann.user = expect(await ann.browser.get('/api/user/getUser'), 201).user;
const shop = await becomeSeller(world, { key: 'clocks', name: 'Clocks & Vases', phoneNumber: '3001112223' });
const goods = await shelve(shop);
const till = new Till(world, ann, shop, admin);

await payByCard(till, goods);
await hearWebhooks(till, goods);
await giveBack(till, goods);
await dispute(till, goods);
await payByPaypal(till, goods);

finish();
