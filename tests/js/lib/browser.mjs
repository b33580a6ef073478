// One person's browser: axios with a cookie jar, sending what the existing client sends.
//
// On one origin every call carries the cookies. Across origins only those calls do for which the
// client asks for it; on the others a browser neither sends nor stores any.

import assert from 'node:assert/strict';
import { connect } from 'node:net';

import axios from 'axios';
import FormData from 'form-data';
import { CookieJar } from 'tough-cookie';

/** The 26 calls for which the client does not ask to send cookies. */
const BARE = [
  'POST /api/user/create-user',
  'POST /api/user/activation',
  'GET /api/user/user-info/:id',
  'POST /api/shop/create-shop',
  'POST /api/shop/seller/activation',
  'GET /api/shop/get-shop-info/:id',
  'GET /api/shop/seller-info/:id',
  'POST /api/product/create-product',
  'GET /api/product/get-all-products-shop/:id',
  'DELETE /api/product/delete-shop-product/:id',
  'GET /api/product/get-all-products',
  'POST /api/event/create-event',
  'GET /api/event/get-all-events-shop/:id',
  'DELETE /api/event/delete-shop-event/:id',
  'GET /api/event/get-all-events-shop',
  'POST /api/order/create-order',
  'GET /api/order/getOrders/:id',
  'GET /api/order/getShopOrders/:id',
  'PUT /api/order/refund-order/:id',
  'POST /api/stripe/process',
  'GET /api/stripe/stripeApiKey',
  'GET /api/coupan/coupan-verified/:name',
  'POST /api/conversation/create-new-conversation',
  'PUT /api/conversation/update-last-message/:id',
  'POST /api/messages/create-new-message',
  'GET /api/messages/get-all-messages/:id',
].map((route) => new RegExp(`^${route.replace(/:\w+/g, '[^/]+')}$`));

/** What no answer to anybody may hold. */
const SECRET = new Set(['password', 'resetPasswordToken', 'resetPasswordTime', 'passwordHash']);

export class Browser {
  #preflights = new Set();

  constructor(world, name) {
    this.world = world;
    this.name = name;
    this.jar = new CookieJar();
    this.http = axios.create({ baseURL: world.api, timeout: 30_000, maxRedirects: 0, validateStatus: () => true });
  }

  get(path, headers) {
    return this.call('GET', path, { headers });
  }
  post(path, body, headers) {
    return this.call('POST', path, { body, headers });
  }
  put(path, body, headers) {
    return this.call('PUT', path, { body, headers });
  }
  delete(path) {
    return this.call('DELETE', path, {});
  }

  /** One request; the answer has `status`, `data` and `headers`. Any status is an answer. */
  async call(method, path, { body, headers = {} }) {
    const crossOrigin = !this.world.oneOrigin;
    const credentialed = !crossOrigin || !BARE.some((route) => route.test(`${method} ${path}`));
    const isForm = body instanceof FormData;
    // A form and a GET are "simple" and go out at once; everything else is asked about first.
    if (crossOrigin && (method === 'PUT' || method === 'DELETE' || (method === 'POST' && !isForm))) {
      await this.#preflight(method, path, body !== undefined);
    }
    const sent = { ...headers };
    if (isForm) Object.assign(sent, body.getHeaders());
    if (crossOrigin || method !== 'GET') sent.Origin = this.world.origin;
    sent['Sec-Fetch-Site'] = crossOrigin ? 'same-site' : 'same-origin';
    if (credentialed) {
      const cookies = await this.jar.getCookieString(this.world.api + path);
      if (cookies) sent.Cookie = cookies;
    }
    const answer = await this.http.request({ method, url: path, data: body, headers: sent });
    if (credentialed) {
      for (const cookie of answer.headers['set-cookie'] ?? []) await this.jar.setCookie(cookie, this.world.api + path);
    }
    if (crossOrigin) this.#readable(method, path, answer, credentialed);
    presentable(`${method} ${path}`, answer);
    return answer;
  }

  /** What a script on the client's page reads from `document.cookie`. */
  async scriptCookies() {
    const cookies = await this.jar.getCookies(`${this.world.origin}/`);
    return new Map(cookies.filter((cookie) => !cookie.httpOnly).map((cookie) => [cookie.key, cookie.value]));
  }

  /** The cookies of a handshake: a websocket carries those of its host, whatever the page asked for. */
  async handshakeCookies() {
    return this.jar.getCookieString(`${this.world.chat.replace(/^ws/, 'http')}/`);
  }

  /** Sends a whole form and is gone before the answer, as a page that reloads at once. */
  async postAndLeave(path, form) {
    const headers = { ...form.getHeaders(), Origin: this.world.origin };
    const route = `POST ${path}`;
    if (this.world.oneOrigin || !BARE.some((bare) => bare.test(route))) {
      headers.Cookie = await this.jar.getCookieString(this.world.api + path);
    }
    const body = form.getBuffer();
    headers['Content-Length'] = body.length;
    const { host, hostname, port } = new URL(this.world.api);
    const head = Object.entries({ Host: host, ...headers }).map(([name, value]) => `${name}: ${value}\r\n`);
    await new Promise((gone, failed) => {
      const socket = connect({ host: hostname, port });
      socket.on('error', failed);
      // Called once all of it is with the operating system: what is on its way arrives, what is not never left.
      socket.write(Buffer.concat([Buffer.from(`POST ${path} HTTP/1.1\r\n${head.join('')}\r\n`), body]), () => {
        socket.destroy();
        gone();
      });
    });
  }

  async #preflight(method, path, hasBody) {
    const key = `${method} ${path}`;
    if (this.#preflights.has(key)) return;
    const headers = { Origin: this.world.origin, 'Access-Control-Request-Method': method };
    if (hasBody) headers['Access-Control-Request-Headers'] = 'content-type';
    const answer = await this.http.request({ method: 'OPTIONS', url: path, headers });
    assert.ok([200, 204].includes(answer.status), `preflight of ${key}: ${answer.status}`);
    assert.equal(answer.headers['access-control-allow-origin'], this.world.origin, `preflight of ${key}`);
    assert.equal(answer.headers['access-control-allow-credentials'], 'true', `preflight of ${key}`);
    assert.match(answer.headers['access-control-allow-methods'] ?? '', new RegExp(`\\b${method}\\b`), `preflight of ${key}`);
    if (hasBody) assert.match(answer.headers['access-control-allow-headers'] ?? '', /content-type/i, `preflight of ${key}`);
    // The page may reload at once: the browser must not have to ask again.
    assert.ok(Number(answer.headers['access-control-max-age']) > 0, `preflight of ${key} has no max-age`);
    this.#preflights.add(key);
  }

  /** Would the browser let the page see this answer? */
  #readable(method, path, answer, credentialed) {
    const place = `${method} ${path} → ${answer.status}`;
    assert.equal(answer.headers['access-control-allow-origin'], this.world.origin, `${place} cannot be read by the page`);
    if (credentialed) assert.equal(answer.headers['access-control-allow-credentials'], 'true', place);
  }
}

/** Rules for every answer: failures are worded, nothing leaks, ids and dates are text. */
function presentable(place, answer) {
  const json = (answer.headers['content-type'] ?? '').includes('application/json');
  if (answer.status >= 400) {
    assert.ok(json, `${place} → ${answer.status} is not JSON`);
    assert.equal(answer.data.success, false, `${place} → ${answer.status}`);
    assert.ok(typeof answer.data.message === 'string' && answer.data.message.length > 0, `${place} → ${answer.status} has no message`);
    assert.notEqual(answer.status, 500, `${place}: ${answer.data.message}`);
  }
  if (json) walk(answer.data, (key) => {
    assert.ok(!SECRET.has(key), `${place} shows ${key}`);
    assert.ok(!key.startsWith('$'), `${place} holds extended JSON: ${key}`);
  });
}

function walk(value, visit) {
  if (value === null || typeof value !== 'object') return;
  for (const [key, inner] of Object.entries(value)) {
    if (!Array.isArray(value)) visit(key);
    walk(inner, visit);
  }
}

/** A form as the client builds it: the files first, then the text fields; nothing set is the text `undefined`. */
export function form(files, fields) {
  const built = new FormData();
  for (const [name, file] of files) {
    if (typeof file === 'string') built.append(name, file);
    else built.append(name, file.bytes, { filename: file.filename, contentType: file.contentType });
  }
  for (const [name, value] of Object.entries(fields)) built.append(name, String(value));
  return built;
}

/** Asserts the status and returns the body. */
export function expect(answer, status) {
  assert.equal(answer.status, status, `${answer.config?.method?.toUpperCase()} ${answer.config?.url}: ${JSON.stringify(answer.data)}`);
  return answer.data;
}

/** Asserts a refusal with one of the statuses and returns its message. */
export function refused(answer, ...statuses) {
  assert.ok(
    statuses.includes(answer.status),
    `${answer.config?.method?.toUpperCase()} ${answer.config?.url}: wanted ${statuses}, got ${answer.status} ${JSON.stringify(answer.data)}`,
  );
  return answer.data.message;
}
