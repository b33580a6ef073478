// Buyer and seller talk: REST and Socket.IO together, exactly as the client uses both.

import assert from 'node:assert/strict';

import { expect, form, refused } from '../lib/browser.mjs';
import { ChatWindow } from '../lib/chat.mjs';
import * as needs from '../lib/needs.mjs';
import { picture } from '../lib/picture.mjs';
import { chapter, step } from '../lib/steps.mjs';

const WEBSOCKET = ['websocket'];

/** The client's send button in the shopper's inbox: socket first, then REST, then the last message by both. */
async function buyerSays(buyer, window, conversation, receiverId, text) {
  window.emit('sendMessage', { senderId: buyer.id, receiverId, text });
  const answer = await buyer.browser.post('/api/messages/create-new-message', { sender: buyer.id, text, conversationId: conversation._id });
  const { message } = expect(answer, 201);
  needs.message(message);
  const last = { lastMessage: text, lastMessageId: buyer.id };
  window.emit('updateLastMessage', last);
  // Only a success clears the input box.
  expect(await buyer.browser.put(`/api/conversation/update-last-message/${conversation._id}`, last), 201);
  return message;
}

/** The seller's inbox does the first two of the four. */
async function sellerSays(seller, window, conversation, receiverId, text) {
  window.emit('sendMessage', { senderId: seller.id, receiverId, text });
  const answer = await seller.browser.post('/api/messages/create-new-message', { sender: seller.id, text, conversationId: conversation._id });
  return needs.message(expect(answer, 201).message);
}

const texts = (window, from) => window.messages.filter((message) => message.senderId === from).map((message) => message.text);

export async function talk(world, buyer, lamps, tea, visitor) {
  chapter('A conversation');
  const conversation = await step('is begun from the product page, once', async () => {
    const request = { groupTitle: lamps.id + buyer.id, userId: buyer.id, sellerId: lamps.id };
    const created = needs.conversation(expect(await buyer.browser.post('/api/conversation/create-new-conversation', request), 201).conversation);
    assert.deepEqual(created.members, [buyer.id, lamps.id]);
    assert.equal(created.lastMessageId, null);
    const again = expect(await buyer.browser.post('/api/conversation/create-new-conversation', request), 200);
    assert.equal(again.conversation._id, created._id);
    return created;
  });
  await step('is in both inboxes, and in no stranger\'s', async () => {
    const ofBuyer = expect(await buyer.browser.get(`/api/conversation/get-all-conversation-user/${buyer.id}`), 201).conversations;
    const ofSeller = expect(await lamps.browser.get(`/api/conversation/get-all-conversation-seller/${lamps.id}`), 201).conversations;
    assert.deepEqual([ofBuyer, ofSeller].map((list) => list.map((one) => needs.conversation(one)._id)), [[conversation._id], [conversation._id]]);
    refused(await tea.browser.get(`/api/conversation/get-all-conversation-seller/${lamps.id}`), 403);
    assert.deepEqual(expect(await tea.browser.get(`/api/conversation/get-all-conversation-seller/${tea.id}`), 201).conversations, []);
  });
  await step('shows each the other\'s name and picture', async () => {
    needs.shop(expect(await buyer.browser.get(`/api/shop/seller-info/${lamps.id}`), 201).seller);
    const { user } = expect(await lamps.browser.get(`/api/user/user-info/${buyer.id}`), 201);
    assert.deepEqual([user._id, user.name], [buyer.id, 'Ann Lee']);
    assert.ok(user.avatar.url && !('email' in user) && !('addresses' in user));
  });

  const [annsWindow, shopsWindow, secondTab, onlooker, rival] = await step('five connections, one of them a visitor\'s', () =>
    Promise.all([
      ChatWindow.open(buyer.browser, WEBSOCKET),
      ChatWindow.open(lamps.browser), // the default: polling first
      ChatWindow.open(lamps.browser, WEBSOCKET),
      ChatWindow.open(visitor, WEBSOCKET),
      ChatWindow.open(tea.browser, WEBSOCKET),
    ]),
  );
  if (!world.oneOrigin) {
    await step('the client\'s page may poll the chat server', async () => {
      const answer = await buyer.browser.http.get(`${world.chat}/socket.io/?EIO=4&transport=polling`, { headers: { Origin: world.origin } });
      assert.equal(answer.status, 200);
      assert.equal(answer.headers['access-control-allow-origin'], world.origin);
      assert.equal(answer.headers['access-control-allow-credentials'], 'true');
    });
  }
  await step('each sees the other online', async () => {
    annsWindow.emit('addUser', buyer.id);
    shopsWindow.emit('addUser', lamps.id);
    // Claims to be the buyer. Nothing proves it, and where proof is asked for, nothing comes of it.
    if (world.oneOrigin) onlooker.emit('addUser', buyer.id);
    await annsWindow.shows(lamps.id);
    await shopsWindow.shows(buyer.id);
    assert.equal(new Set(annsWindow.online).size, annsWindow.online.length, 'somebody is listed twice');
  });
  await step('the buyer writes, and both of the seller\'s tabs show it', async () => {
    await buyerSays(buyer, annsWindow, conversation, lamps.id, 'Is it bright?');
    for (const window of [shopsWindow, secondTab]) {
      await window.seen('Is it bright?');
      assert.equal(window.messages[0].senderId, buyer.id);
    }
  });
  await step('the seller answers, and is the last to have spoken in both inboxes', async () => {
    await sellerSays(lamps, shopsWindow, conversation, buyer.id, 'As the sun.');
    await annsWindow.seen('As the sun.');
    const [listed] = expect(await buyer.browser.get(`/api/conversation/get-all-conversation-user/${buyer.id}`), 201).conversations;
    assert.deepEqual([listed.lastMessage, listed.lastMessageId], ['As the sun.', lamps.id]);
  });
  await step('twenty more each way, in order and each shown once', async () => {
    const questions = Array.from({ length: 20 }, (_, at) => `question ${at}`);
    const answers = Array.from({ length: 20 }, (_, at) => `answer ${at}`);
    await Promise.all([
      (async () => {
        for (const text of questions) await buyerSays(buyer, annsWindow, conversation, lamps.id, text);
      })(),
      (async () => {
        for (const text of answers) await sellerSays(lamps, shopsWindow, conversation, buyer.id, text);
      })(),
    ]);
    await shopsWindow.seen('question 19');
    await secondTab.seen('question 19');
    await annsWindow.seen('answer 19');
    assert.deepEqual(texts(annsWindow, lamps.id), ['As the sun.', ...answers]);
    assert.deepEqual(texts(shopsWindow, buyer.id), ['Is it bright?', ...questions]);
    assert.deepEqual(texts(secondTab, buyer.id), ['Is it bright?', ...questions]);
  });
  await step('the same words twice are two messages', async () => {
    for (const _ of [1, 2]) await buyerSays(buyer, annsWindow, conversation, lamps.id, 'Hello?');
    await buyerSays(buyer, annsWindow, conversation, lamps.id, 'Are you there?');
    await secondTab.seen('Are you there?');
    assert.deepEqual(texts(secondTab, buyer.id).slice(-3), ['Hello?', 'Hello?', 'Are you there?']);
  });
  await step('a message that came over REST alone is shown too', async () => {
    expect(await buyer.browser.post('/api/messages/create-new-message', { sender: buyer.id, text: 'By letter.', conversationId: conversation._id }), 201);
    await shopsWindow.seen('By letter.');
    await secondTab.seen('By letter.');
  });
  await step('a picture can be sent', async () => {
    const sent = form([['images', picture('room')]], { sender: buyer.id, text: 'For this room.', conversationId: conversation._id });
    const { message } = expect(await buyer.browser.post('/api/messages/create-new-message', sent), 201);
    assert.ok(needs.message(message).images?.url);
    await shopsWindow.seen('For this room.');
  });
  for (const [kind, window] of [['websocket', annsWindow], ['polling', shopsWindow]]) {
    await step(`a ${kind} connection breaks and comes back without a word: still online, nothing missed after`, async () => {
      await window.breakAndReturn();
      const text = `after ${kind}`;
      if (window === annsWindow) {
        await sellerSays(lamps, secondTab, conversation, buyer.id, text);
        await secondTab.shows(buyer.id);
      } else {
        await buyerSays(buyer, annsWindow, conversation, lamps.id, text);
        await annsWindow.shows(lamps.id);
      }
      await window.seen(text);
    });
  }
  await step('nobody can speak in another\'s name, and no payload ends the server', async () => {
    rival.emit('addUser', buyer.id);
    rival.emit('addUser', { $gt: '' });
    rival.emit('addUser');
    rival.emit('sendMessage', { senderId: lamps.id, receiverId: buyer.id, text: 'forged' });
    rival.emit('sendMessage', { senderId: tea.id, receiverId: buyer.id, text: 'uninvited' });
    rival.emit('sendMessage');
    rival.emit('sendMessage', null);
    rival.emit('updateLastMessage');
    rival.emit('updateLastMessage', { lastMessage: 'gossip', lastMessageId: tea.id });
    rival.emit('messageSeen');
    rival.emit('messageSeen', { senderId: tea.id, receiverId: buyer.id, messageId: 'x' });
    if (world.oneOrigin) onlooker.emit('sendMessage', { senderId: buyer.id, receiverId: lamps.id, text: 'forged' });
    refused(await tea.browser.post('/api/messages/create-new-message', { sender: tea.id, text: 'x', conversationId: conversation._id }), 403, 404);
    await sellerSays(lamps, shopsWindow, conversation, buyer.id, 'Still here.');
    await annsWindow.seen('Still here.');
    for (const window of [annsWindow, shopsWindow, secondTab]) {
      assert.ok(!window.messages.some((message) => ['forged', 'uninvited'].includes(message.text)));
    }
  });
  await step('what was shown is what is stored, in order, for the members alone', async () => {
    const stored = expect(await lamps.browser.get(`/api/messages/get-all-messages/${conversation._id}`), 201).messages.map(needs.message);
    const said = (from) => stored.filter((message) => message.sender === from).map((message) => message.text);
    assert.deepEqual(texts(annsWindow, lamps.id), said(lamps.id));
    assert.deepEqual(texts(secondTab, buyer.id), said(buyer.id));
    const times = stored.map((message) => message.createdAt);
    assert.deepEqual(times, [...times].sort());
    // Across origins this call carries no cookie, so that nothing tells a stranger from a member.
    if (world.oneOrigin) refused(await tea.browser.get(`/api/messages/get-all-messages/${conversation._id}`), 403, 404);
  });
  await step('the visitor was told nothing at all, the other shop nothing but who is there', () => {
    assert.deepEqual(onlooker.events, []);
    assert.deepEqual(rival.events.filter(([event]) => event !== 'getUsers'), []);
  });
  await step('presence ends with the last of a person\'s tabs', async () => {
    shopsWindow.close();
    await annsWindow.shows(lamps.id); // the other tab is still there
    secondTab.close();
    await annsWindow.shows(lamps.id, false);
  });
  for (const window of [annsWindow, onlooker, rival]) window.close();
}
