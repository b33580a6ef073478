// What a page may do to somebody who is logged in, in a real browser: `SOUK_PART=foreign` plays pages of other sites
// and of other ports, `SOUK_PART=listed` the client's own, `SOUK_PART=served` the client served by Souk itself.
// `cargo test` runs it and compares the database before and after.

import assert from 'node:assert/strict';
import { execSync } from 'node:child_process';

import { chromium } from 'playwright-core';

const world = JSON.parse(process.env.SOUK_WORLD);
const { api, chat, user, shop, product, order, conversation, address } = world;
const part = process.env.SOUK_PART;

const names = ['chromium', 'chromium-browser', 'google-chrome'];
const found = execSync(`${names.map((name) => `command -v ${name}`).join(' || ')} || true`, { shell: '/bin/sh' });
const executablePath = found.toString().trim();
assert.ok(executablePath, `the tests with pages of other origins need a browser on the PATH: one of ${names.join(', ')}`);
const quiet = ['--disable-quic', '--no-first-run', '--disable-component-update', '--disable-sync'];
const browser = await chromium.launch({
  executablePath,
  args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--disable-background-networking', ...quiet],
});

const wrong = [];
let checked = 0;
function hold(what, so, found) {
  checked += 1;
  if (!so) wrong.push(`${what}: ${JSON.stringify(found)}`);
}

/** Somebody's browser, with the session cookies as the server has set them. */
async function victim() {
  const context = await browser.newContext();
  context.setDefaultTimeout(30_000);
  await context.addCookies(world.cookies);
  return context;
}

/** The session's cookies, by name. */
async function session(context) {
  const cookies = await context.cookies();
  return Object.fromEntries(cookies.map(({ name, value }) => [name, value]));
}

/** What a script gets to see of a call. */
const ask = (page, path, init) =>
  page.evaluate(
    async ({ url, init }) => {
      if (init.form) {
        const form = new FormData();
        for (const [name, value] of Object.entries(init.form)) form.append(name, value);
        if (init.picture) {
          const bytes = Uint8Array.from(atob(init.picture), (c) => c.charCodeAt(0));
          form.append(init.part, new Blob([bytes], { type: 'image/png' }), 'picture.png');
        }
        init = { ...init, body: form };
      }
      try {
        const answer = await fetch(url, init);
        return { type: answer.type, status: answer.status, text: await answer.text() };
      } catch (error) {
        return { type: 'blocked', text: String(error) };
      }
    },
    { url: path.startsWith('http') ? path : api + path, init },
  );

const json = (method, body) => ({
  method,
  credentials: 'include',
  headers: { 'content-type': 'application/json' },
  body: JSON.stringify(body),
});
const cart = {
  cart: [{ _id: product, count: 1 }],
  shippingAddress: { address1: '1 Elm Street' },
  paymentInfo: { type: 'Cash on Delivery' },
  user: { _id: user },
};
const profile = { name: 'Eve', phoneNumber: '3007654321', password: world.password };
const bank = {
  withdrawMethod: {
    bankName: 'Bank of Eve', bankCountry: 'PK', bankSwiftCode: 'EVEEPKKA', bankAccountNumber: 'PK00EVEE0000001',
    bankHolderName: 'Eve', bankAddress: '6 Mall Road',
  },
};
const listing = {
  name: 'lamp', description: 'As good as new.', category: 'Others', tags: 'test', originalPrice: '20', discountPrice: '20',
  stock: '3', shopeId: shop,
};
const message = { conversationId: conversation, sender: user, text: 'I never said this' };

/** What only this person may read. */
const secrets = [
  '/api/user/getUser',
  '/api/shop/getSeller',
  '/api/shop/balance',
  `/api/order/getOrders/${user}`,
  `/api/order/getShopOrders/${shop}`,
  `/api/order/get-order/${order}`,
  `/api/conversation/get-all-conversation-user/${user}`,
  `/api/messages/get-all-messages/${conversation}`,
  `/api/coupan/get-coupans/${shop}`,
  '/api/withDraw/get-withdraw-requests',
];

/** What only this person may do: method, path, body. */
const changes = [
  ['PUT', '/api/user/updateUserInfo', profile],
  ['PUT', '/api/user/updatePassword', { oldPassword: world.password, newPassword: 'eves words', confPassword: 'eves words' }],
  ['PUT', '/api/user/logout-everywhere', {}],
  ['PUT', '/api/shop/logout-everywhere', {}],
  ['PUT', '/api/shop/update-payment-methods', bank],
  ['PUT', `/api/order/cancel-order/${order}`, {}],
  ['PUT', `/api/order/update-order-status/${order}`, { status: 'Shipping' }],
  ['DELETE', `/api/product/delete-shop-product/${product}`, undefined],
  ['DELETE', '/api/shop/delete-withdraw-method', undefined],
  ['DELETE', `/api/user/delete-address/${address}`, undefined],
  ['POST', '/api/order/create-order', cart],
  ['POST', '/api/coupan/create-coupan', { name: 'EVE', value: '90' }],
  ['POST', '/api/withDraw/create-withdraw-request', { amount: 60 }],
  ['POST', '/api/stripe/process', { amount: 1000 }],
  ['POST', '/api/messages/create-new-message', message],
  // Somebody else's account in place of one's own.
  ['POST', '/api/user/login-user', { email: world.attacker, password: world.password }],
  ['POST', '/api/shop/shop-login', { email: world.attackersShop, password: world.password }],
];

/** A form that submits itself into a frame, as no preflight stops it. Resolves when the answer is there. */
const submit = (page, path, fields, enctype) =>
  page.evaluate(
    ({ url, fields, enctype }) =>
      new Promise((done) => {
        const frame = document.createElement('iframe');
        frame.name = `frame${Math.random()}`;
        document.body.append(frame);
        const form = document.createElement('form');
        Object.assign(form, { method: 'POST', action: url, enctype, target: frame.name });
        for (const [name, value] of Object.entries(fields)) {
          const input = document.createElement('input');
          Object.assign(input, { type: 'hidden', name, value });
          form.append(input);
        }
        document.body.append(form);
        frame.addEventListener('load', () => {
          let seen = 'nothing';
          try {
            seen = frame.contentDocument?.body?.textContent ?? 'nothing';
          } catch {}
          done(seen);
        });
        form.submit();
      }),
    { url: api + path, fields, enctype },
  );

/** An element that loads an address: whether it did. */
const include = (page, tag, path) =>
  page.evaluate(
    ({ tag, url }) =>
      new Promise((done) => {
        const element = document.createElement(tag);
        element.addEventListener('load', () => done('loaded'));
        element.addEventListener('error', () => done('failed'));
        if (tag === 'link') Object.assign(element, { rel: 'stylesheet', href: url });
        else element[tag === 'object' ? 'data' : 'src'] = url;
        document.body.append(element);
      }),
    { tag, url: path.startsWith('http') ? path : api + path },
  );

/** Speaks as the user over a websocket: what the server said in return to the packet that wants an acknowledgement. */
const talk = (page, text) =>
  page.evaluate(
    ({ url, packet }) =>
      new Promise((done) => {
        const heard = [];
        const socket = new WebSocket(url);
        socket.onmessage = ({ data }) => {
          heard.push(data);
          if (data.startsWith('0')) socket.send('40');
          if (data === '2') socket.send('3');
          if (data.startsWith('40')) socket.send(packet);
          if (data.startsWith('431')) {
            socket.close();
            done(heard);
          }
        };
        socket.onclose = () => done(heard);
        socket.onerror = () => done(heard);
      }),
    {
      url: `${chat.replace('http', 'ws')}/socket.io/?EIO=4&transport=websocket`,
      packet: `421${JSON.stringify(['sendMessage', { senderId: user, receiverId: shop, text }])}`,
    },
  );

const isPrivate = (text) => [world.email, world.shopEmail, world.word].some((secret) => text.includes(secret));

async function attack(origin, isolated) {
  const context = await victim();
  const page = await context.newPage();
  await page.goto(`${origin}/`);
  if (isolated) {
    // A page without any origin: `Origin: null`.
    await page.setContent('<iframe sandbox="allow-scripts allow-forms" srcdoc="<body>evil</body>"></iframe>');
  }
  const place = isolated ? page.frames()[1] : page;
  await place.waitForSelector('body', { state: 'attached' });
  const where = isolated ? `a sandboxed frame of ${origin}` : origin;
  const before = await session(context);

  for (const path of secrets) {
    for (const credentials of ['include', 'omit']) {
      const read = await ask(place, path, { credentials });
      hold(`${where} reads ${path} (${credentials})`, read.type === 'blocked', read);
    }
    const opaque = await ask(place, path, { credentials: 'include', mode: 'no-cors' });
    hold(`${where} reads ${path} (no-cors)`, ['opaque', 'blocked'].includes(opaque.type) && opaque.text.length < 200 && !isPrivate(opaque.text), opaque);
  }
  for (const [method, path, body] of changes) {
    for (const credentials of ['include', 'omit']) {
      const told = await ask(place, path, { ...json(method, body), credentials });
      hold(`${where}: ${method} ${path} (${credentials})`, told.type === 'blocked', told);
    }
    if (method !== 'POST') continue;
    const text = JSON.stringify(body);
    for (const kind of ['text/plain', 'application/x-www-form-urlencoded']) {
      const headers = { 'content-type': kind };
      const simple = { method, credentials: 'include', mode: 'no-cors', headers, body: text };
      const sent = await ask(place, path, simple);
      hold(`${where}: ${path} as ${kind}`, ['opaque', 'blocked'].includes(sent.type), sent);
    }
    const beacon = await place.evaluate(({ url, text }) => navigator.sendBeacon(url, text), { url: api + path, text });
    hold(`${where}: a beacon`, typeof beacon === 'boolean', beacon);
    // `{"a":"=","email":…}` out of a form.
    const [head, tail] = [text.slice(0, -1) + ',"a":"', '"}'];
    const read = await submit(place, path, { [head]: tail }, 'text/plain');
    hold(`${where}: ${path} from a form`, !isPrivate(read), read);
  }
  for (const [path, form, name] of [
    ['/api/product/create-product', listing, 'images'],
    ['/api/messages/create-new-message', message, 'images'],
    ['/api/user/update-user-avatar', {}, 'file'],
  ]) {
    const method = path.includes('avatar') ? 'PUT' : 'POST';
    const sent = await ask(place, path, { method, credentials: 'include', mode: method === 'PUT' ? 'cors' : 'no-cors', form, part: name, picture: world.picture });
    hold(`${where}: a form to ${path}`, ['opaque', 'blocked'].includes(sent.type), sent);
    if (method === 'POST') await submit(place, path, form, 'multipart/form-data');
  }

  // As parts of the page, and as places to go to.
  for (const path of [...secrets.slice(0, 4), '/api/user/logout', '/api/shop/logout-seller']) {
    for (const tag of ['script', 'img', 'link']) {
      const got = await include(place, tag, path);
      hold(`${where}: <${tag}> of ${path}`, got === 'failed', got);
    }
    await include(place, 'iframe', path);
    const inside = await place.evaluate(() => {
      try {
        return [...document.querySelectorAll('iframe')].map((frame) => frame.contentDocument?.body?.textContent ?? '').join('');
      } catch (error) {
        return String(error);
      }
    });
    hold(`${where}: a frame of ${path}`, !isPrivate(inside), inside);
    await ask(place, path, { credentials: 'include', mode: 'no-cors' });
  }
  if (!isolated) {
    for (const path of ['/api/user/logout', '/api/shop/logout-seller', '/api/user/getUser']) {
      const went = page.waitForURL(api + path);
      await page.evaluate((url) => void (location.href = url), api + path);
      await went;
      hold(`${where} sends to ${path}`, !isPrivate(await page.content()), await page.content());
      await page.goto(`${origin}/`);
    }
  }

  // The chat: it answers, and believes nothing.
  const target = isolated ? page.frames().find((frame) => frame.parentFrame()) ?? page : page;
  if (!isolated) {
    const polled = await ask(target, `${chat}/socket.io/?EIO=4&transport=polling`, { credentials: 'include' });
    hold(`${where} polls the chat`, polled.type === 'blocked', polled);
    const heard = await talk(target, 'I never said this either');
    hold(`${where} speaks in the chat`, !heard.join().includes(user) && !heard.join().includes('"success":true'), heard);
  }

  const after = await session(context);
  hold(`${where} leaves the cookies alone`, JSON.stringify(after) === JSON.stringify(before), { before, after });
  await context.close();
}

/** The client, wherever it is served from, does all of it. */
async function use(origin) {
  const context = await browser.newContext();
  context.setDefaultTimeout(30_000);
  const page = await context.newPage();
  await page.goto(`${origin}/`);
  for (const [path, email] of [['/api/user/login-user', world.email], ['/api/shop/shop-login', world.shopEmail]]) {
    const entered = await ask(page, path, json('POST', { email, password: world.password }));
    hold(`${origin} logs in`, entered.status === 200, entered);
  }
  const cookies = await context.cookies();
  const flags = Object.fromEntries(cookies.map(({ name, httpOnly, sameSite, path }) => [name, `${httpOnly} ${sameSite} ${path}`]));
  assert.deepEqual(flags, { user_token: 'true Lax /', seller_token: 'true Lax /', token: 'false Lax /' });
  hold(`${origin} sees the marker alone`, (await page.evaluate(() => document.cookie)) === 'token=1', 'document.cookie');

  for (const path of secrets) {
    const read = await ask(page, path, { credentials: 'include' });
    hold(`${origin} reads ${path}`, [200, 201].includes(read.status), read);
  }
  const created = await ask(page, '/api/product/create-product', {
    method: 'POST', credentials: 'include', form: listing, part: 'images', picture: world.picture,
  });
  hold(`${origin} sells`, created.status === 201, created);
  const picture = JSON.parse(created.text).product.images[0].url;
  hold(`${origin} shows ${picture}`, (await include(page, 'img', picture)) === 'loaded', picture);
  for (const [method, path, body] of [
    ['PUT', '/api/user/updateUserInfo', profile],
    ['POST', '/api/coupan/create-coupan', { name: `SAVE${new URL(origin).port}`, value: '10' }],
    ['POST', '/api/messages/create-new-message', message],
    ['PUT', `/api/order/update-order-status/${order}`, { status: 'Processing' }],
    ['DELETE', `/api/product/delete-shop-product/${JSON.parse(created.text).product._id}`, undefined],
  ]) {
    const done = await ask(page, path, json(method, body));
    hold(`${origin}: ${method} ${path}`, [200, 201].includes(done.status), done);
  }
  const polled = await ask(page, `${chat}/socket.io/?EIO=4&transport=polling`, { credentials: 'include' });
  hold(`${origin} polls the chat`, polled.status === 200, polled);
  const heard = await talk(page, `said from ${origin}`);
  hold(`${origin} speaks in the chat`, heard.at(-1)?.includes('"success":true'), heard);
  for (const path of ['/api/user/logout', '/api/shop/logout-seller']) {
    const left = await ask(page, path, { credentials: 'include' });
    hold(`${origin} logs out`, left.status === 200, left);
  }
  hold(`${origin} is logged out`, (await context.cookies()).length === 0, await context.cookies());
  await context.close();
}

/** Pages served by Souk itself still load what the client loads. */
async function served() {
  const context = await browser.newContext();
  const page = await context.newPage();
  await page.goto(`${api}/profile`, { waitUntil: 'load' });
  const found = await page.evaluate(() => ({
    inline: window.inline,
    foreign: window.foreign,
    colour: getComputedStyle(document.body).color,
    frames: frames.length,
  }));
  assert.deepEqual(found, { inline: true, foreign: true, colour: 'rgb(1, 2, 3)', frames: 1 });
  checked += 4;
  await context.close();
}

try {
  if (part === 'foreign') {
    await attack(world.otherSite, false);
    await attack(world.otherPort, false);
    await attack(world.otherSite, true);
  } else if (part === 'listed') {
    await use(world.listed);
  } else {
    await served();
    await use(api);
  }
} finally {
  await browser.close();
}
assert.deepEqual(wrong, [], `${wrong.length} of ${checked}`);
console.log(`${checked} checks, all held`);
