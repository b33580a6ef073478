// One chat connection of a page, with socket.io-client as the page uses it.

import { io } from 'socket.io-client';

import { until } from './wait.mjs';

export class ChatWindow {
  /** Everything that arrived, in order: `[event, payload]`. */
  events = [];
  /** Every `getMessage`, in order. */
  messages = [];
  /** The ids of those online, as told last. */
  online = [];

  /** `transports` as for socket.io-client; without it, the library's default: polling, then an upgrade. */
  constructor(browser, cookies, transports) {
    const extraHeaders = { Origin: browser.world.origin };
    if (cookies) extraHeaders.Cookie = cookies;
    this.socket = io(browser.world.chat, {
      ...(transports && { transports }),
      extraHeaders,
      forceNew: true,
      reconnectionDelay: 20,
      reconnectionDelayMax: 100,
    });
    this.socket.onAny((event, payload) => this.events.push([event, payload]));
    this.socket.on('getMessage', (message) => this.messages.push(message));
    this.socket.on('getUsers', (users) => {
      this.online = users.map((user) => user.userId);
    });
  }

  /** Opens a connection with the cookies the browser has now, and waits until it stands. */
  static async open(browser, transports) {
    const window = new ChatWindow(browser, await browser.handshakeCookies(), transports);
    await window.connected();
    return window;
  }

  connected() {
    return until('a chat connection', () => this.socket.connected);
  }

  emit(event, ...payload) {
    this.socket.emit(event, ...payload);
  }

  /** Waits until the message with this text has arrived. */
  async seen(text) {
    await until(`the message "${text}"`, () => this.messages.some((message) => message.text === text));
  }

  /** Waits until a person is shown as online, or as not. */
  async shows(id, online = true) {
    await until(`${id} being ${online ? 'online' : 'offline'}`, () => this.online.includes(id) === online);
  }

  /** The connection breaks, as in a tunnel; the library connects again by itself. */
  async breakAndReturn() {
    const broken = new Promise((resolve) => this.socket.once('disconnect', resolve));
    this.socket.io.engine.close();
    await broken;
    await this.connected();
  }

  close() {
    this.socket.disconnect();
  }
}
