// The delivery trial: many pages talk in pairs while their connections break in every way and a node dies. What each
// page has shown, and what it knows to be sent, is written down for whoever compares it with what is stored.
//
// It is told what to do by a file (`SOUK_TRIAL`), and asks for a node's death by saying "kill".

import { readFileSync, writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';

import { Page } from './delivery/page.mjs';
import { Road } from './delivery/road.mjs';
import { until } from './lib/wait.mjs';

const plan = JSON.parse(readFileSync(process.env.SOUK_TRIAL, 'utf8'));
const chance = generator(plan.seed);
const between = (low, high) => low + chance() * (high - low);
const pause = (milliseconds) => new Promise((wake) => setTimeout(wake, milliseconds));

/** A small generator of random numbers, so that a run can be repeated as far as the network allows. */
function generator(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const road = new Road(plan.nodes);
const world = { api: plan.api, chat: await road.open(), backoff: plan.backoff, began: Date.now() };

const pages = [];
plan.pairs.forEach(([one, other], pair) => {
  [[one, other], [other, one]].forEach(([person, peer], side) => {
    const number = pair * 2 + side;
    // As the existing client connects; some as the library does by itself, polling first.
    const transports = number % 6 === 5 ? undefined : ['websocket'];
    const settings = { transports, cookies: number % 2 === 0 };
    const page = new Page(`p${number}`, person, peer, world, settings);
    pages.push(page);
    // A second tab, that listens and never breaks by itself.
    if (number % 8 === 0) pages.push(Object.assign(new Page(`t${number}`, person, peer, world, settings), { calm: true }));
  });
});
const speakers = pages.filter((page) => !page.calm);

/** The ways in which a connection ends. */
const TROUBLES = {
  closed: (page) => page.socket.io.engine.close(),
  torn: (page) => (page.socket.io.engine.transport.ws?._socket ? page.socket.io.engine.transport.ws._socket.destroy() : page.socket.io.engine.close()),
  cut: (_, links) => links.forEach((link) => link.cut()),
  // Half open: nothing arrives for a while, and then it is over.
  stalled: async (_, links) => {
    links.forEach((link) => link.stall());
    await pause(between(...plan.stall));
    links.forEach((link) => link.cut());
  },
  // What it says arrives, and it never learns it.
  muffled: async (_, links) => {
    links.forEach((link) => link.muffle());
    await pause(between(...plan.stall));
    links.forEach((link) => link.cut());
  },
  // It comes back while the node still believes in the old connection.
  orphaned: (_, links) => {
    links.forEach((link) => link.orphan());
    setTimeout(() => links.forEach((link) => link.cut()), plan.orphans);
  },
};

let over = false;

/** Breaks a page's connection again and again. */
async function trouble(page) {
  const ways = Object.entries(TROUBLES);
  while (!over) {
    await pause(between(...plan.calm));
    if (over || !page.socket.connected) continue;
    const [name, way] = ways[Math.floor(chance() * ways.length)];
    const away = between(...plan.away);
    page.note(name, `${Math.round(away)} ms away`);
    const links = [...road.traveller(page.who).links];
    road.block(page.who, Date.now() + away, Math.floor(chance() * plan.nodes.length));
    await way(page, links);
    // The second and the third time follow closely, sometimes before anything has come.
    if (chance() < 0.3) {
      await pause(away + between(50, 400));
      if (page.socket.connected) page.socket.io.engine.close();
    }
  }
}

/** Says something now and then; it does not wait for the answer to say more. */
async function talk(page) {
  const saying = [];
  while (!over) {
    await pause(between(plan.every * 0.5, plan.every * 1.5));
    if (!over) saying.push(page.say());
  }
  await Promise.all(saying);
}

await until('every page to be connected', () => pages.every((page) => page.socket.connected), plan.patience);
console.log('connected');
const commands = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const told = Promise.all([...speakers.map(talk), ...speakers.map(trouble)]);
await pause(plan.seconds * 400);
console.log('kill');
// It is killed and started again meanwhile.
await commands.next();
await pause(plan.seconds * 600);
over = true;
await told;
await until('every page to be back', () => pages.every((page) => page.socket.connected), plan.patience);

// The last word of each: once it has come, everything before has, or never will.
await Promise.all(speakers.map(async (page) => {
  while (!(await page.say('end')));
}));
const waiting = () => pages.filter((page) => !page.heard('end'));
await until('the last words', () => waiting().length === 0, plan.patience).catch(() => {
  console.log(`${waiting().length} pages never heard the last word`);
});
writeFileSync(plan.report, JSON.stringify(pages.map((page) => page.report())));
pages.forEach((page) => page.socket.disconnect());
road.close();
console.log('done');
process.exit(0);
