// What the existing client and its relatives rely on, held for the current and the oldest socket.io-client 4, over each
// transport, with a browser's cookies and with a token. `SOUK_PEOPLE` says who is there.

import assert from 'node:assert/strict';

import { io as current } from 'socket.io-client';
import { io as oldest } from 'socket.io-client-oldest';

import { chapter, finish, step } from './lib/steps.mjs';
import { until } from './lib/wait.mjs';

const { chat, ann, bobs, conversation } = JSON.parse(process.env.SOUK_PEOPLE);

const VERSIONS = { current, oldest };
const TRANSPORTS = { websocket: ['websocket'], 'polling and an upgrade': undefined, 'polling alone': ['polling'] };
const PROOFS = {
  cookies: (person) => ({ extraHeaders: { Cookie: person.cookies } }),
  token: (person) => ({ auth: { token: person.token } }),
};

/** One page of somebody's. */
class Page {
  messages = [];
  users = [];

  constructor(io, transports, proof, person) {
    this.person = person;
    this.socket = io(chat, { forceNew: true, ...(transports && { transports }), ...proof(person), reconnectionDelay: 20, reconnectionDelayMax: 100 });
    this.socket.on('getMessage', (message) => this.messages.push(message));
    this.socket.on('getUsers', (users) => {
      this.users = users;
    });
  }

  async stands() {
    await until('a connection', () => this.socket.connected);
    return this;
  }

  get texts() {
    return this.messages.map((message) => message.text);
  }

  ask(text, extra) {
    const payload = { senderId: this.person.id, receiverId: (this.person === ann ? bobs : ann).id, text, ...extra };
    return new Promise((answered, failed) => {
      setTimeout(failed, 15_000, new Error(`no acknowledgement of ${text}`)).unref();
      this.socket.emit('sendMessage', payload, answered);
    });
  }

  async says(...texts) {
    for (const text of texts) assert.equal((await this.ask(text)).success, true, text);
  }

  /** Waits for these messages, and holds that no others have come. */
  async shows(...texts) {
    await until(`"${texts.at(-1)}" at the page`, () => this.texts.includes(texts.at(-1)));
    assert.deepEqual(this.texts, texts);
    this.messages = [];
  }

  shown(id) {
    return until(`${id} online`, () => this.users.some((user) => user.userId === id));
  }

  gone(id) {
    return until(`${id} offline`, () => this.users.length > 0 && !this.users.some((user) => user.userId === id));
  }

  /** The connection breaks, and the page does not come back until it is told to. */
  async breaks(how = (socket) => socket.io.engine.close()) {
    this.socket.io.reconnection(false);
    const broken = new Promise((resolve) => this.socket.once('disconnect', resolve));
    how(this.socket);
    await broken;
  }

  async returns() {
    this.socket.connect();
    await this.stands();
    this.socket.io.reconnection(true);
  }
}

async function story(version, io, name, transports, proof) {
  const page = (person) => new Page(io, transports, PROOFS[proof], person).stands();
  chapter(`${version} socket.io-client, ${name}, ${proof}`);
  const [anns, first] = await step('two pages connect', () => Promise.all([page(ann), page(bobs)]));
  if (!transports) await step('and are upgraded', () => until('the upgrade', () => [anns, first].every(({ socket }) => socket.io.engine.transport.name === 'websocket')));
  await step('one drops out before it has received anything, and gets what it has missed', async () => {
    await first.breaks();
    await anns.says('missed 1', 'missed 2');
    await first.returns();
    await first.shows('missed 1', 'missed 2');
  });
  await step('also the second and the third time, and nothing twice', async () => {
    for (const time of ['second', 'third']) {
      await first.breaks();
      await anns.says(`${time} time`);
      await first.returns();
      await first.shows(`${time} time`);
    }
    await first.breaks();
    await first.returns();
    await anns.says('nothing was missed');
    await first.shows('nothing was missed');
  });
  await step('who is online is an array of objects', async () => {
    anns.users = [];
    anns.socket.emit('addUser', ann.id);
    await anns.shown(ann.id);
    await anns.shown(bobs.id);
    for (const user of anns.users) assert.deepEqual([Object.keys(user).sort(), typeof user.socketId], [['socketId', 'userId'], 'string']);
  });
  await step('a message has the fields that pages read', async () => {
    const receipt = await anns.ask('with an acknowledgement');
    assert.equal(receipt.success, true);
    await until('the message', () => first.messages.length > 0);
    const { createdAt, ...message } = first.messages[0];
    assert.deepEqual(message, {
      senderId: ann.id, receiverId: bobs.id, text: 'with an acknowledgement', seen: false, messageId: receipt.messageId, conversationId: conversation,
    });
    assert.equal(new Date(createdAt).toISOString(), createdAt);
    await first.shows('with an acknowledgement');
  });
  await step('without an acknowledgement, in order, both ways', async () => {
    const texts = Array.from({ length: 20 }, (_, at) => `ann ${at}`);
    for (const text of texts) anns.socket.emit('sendMessage', { senderId: ann.id, receiverId: bobs.id, text });
    first.socket.emit('sendMessage', { senderId: bobs.id, receiverId: ann.id, text: 'from the shop' });
    await first.shows(...texts);
    await anns.shows('from the shop');
  });
  await step('odd and binary events do no harm', async () => {
    const { socket } = anns;
    socket.emit('nothing');
    socket.emit('nothing', Buffer.from([0, 1, 2]), { deep: [Buffer.alloc(3)] }, () => assert.fail('nobody answers this'));
    for (const event of ['addUser', 'sendMessage', 'updateLastMessage', 'messageSeen']) {
      socket.emit(event);
      socket.emit(event, null, undefined, 1, 'two');
      socket.emit(event, Buffer.from('binary'));
      socket.emit(event, [[]], { toString: 1 });
    }
    socket.emit('__proto__', {});
    assert.equal((await anns.ask('x', { text: Buffer.from('binary') })).success, false);
    assert.equal((await anns.ask('x', { senderId: bobs.id })).success, false);
    await anns.says('and all is well');
    await first.shows('and all is well');
  });
  const second = await page(bobs);
  await step('of two tabs one drops out: each shows everything once', async () => {
    await anns.says('to both');
    await second.shows('to both');
    // Only newer clients say how far they had got. For others, what was on its way counts as received.
    if (version === 'oldest') await until('the other tab', () => first.texts.includes('to both'));
    await first.breaks();
    await anns.says('to the second');
    await second.shows('to the second');
    await first.returns();
    await anns.says('to both again');
    await second.shows('to both again');
    await first.shows('to both', 'to the second', 'to both again');
  });
  await step('a page that is closed goes, and the next one begins with what comes', async () => {
    for (const closing of [first, second]) closing.socket.disconnect();
    await anns.gone(bobs.id);
    await anns.says('read over REST');
    const next = await page(bobs);
    await anns.shown(bobs.id);
    await anns.says('new');
    await next.shows('new');
    if (transports?.[0] === 'websocket') {
      // As a browser leaves a page.
      await next.breaks((socket) => socket.io.engine.transport.ws.close(1001));
      await anns.says('read over REST too');
      const after = await page(bobs);
      await anns.says('newer');
      await after.shows('newer');
      after.socket.disconnect();
    }
    next.socket.disconnect();
  });
  anns.socket.disconnect();
}

for (const [version, io] of Object.entries(VERSIONS)) {
  for (const [name, transports] of Object.entries(TRANSPORTS)) {
    for (const proof of Object.keys(PROOFS)) await story(version, io, name, transports, proof);
  }
}
finish();
