// A page of somebody's: the real client, what it showed, and what it knows to be sent.

import { io } from 'socket.io-client';

/** How long a page waits for the acknowledgement of what it has sent. */
const PATIENCE = 10_000;

export class Page {
  /** Everything it was told, in the order in which it was shown: conversation, message, sender, text. */
  shown = [];
  /** Texts that were confirmed to be stored. */
  confirmed = [];
  /** Texts of which it never learnt what became of them. */
  unknown = [];
  refused = [];
  /** What happened to it, for whoever has to find out why something is missing. */
  story = [];
  #said = 0;
  #waiting = 0;

  constructor(who, person, peer, world, { transports, cookies }) {
    Object.assign(this, { who, person, peer, world });
    this.socket = io(world.chat, {
      forceNew: true,
      query: { who },
      reconnectionDelay: world.backoff[0],
      reconnectionDelayMax: world.backoff[1],
      ...(transports && { transports }),
      ...(cookies ? { extraHeaders: { Cookie: person.cookies } } : { auth: { token: person.token } }),
    });
    this.socket.on('connect', () => this.note('connect', this.socket.id, this.socket.io.engine.transport.name));
    this.socket.on('disconnect', (reason) => this.note('disconnect', reason));
    this.socket.on('connect_error', (error) => this.note('error', error.message));
    this.socket.on('getMessage', (message) => {
      this.shown.push([message.conversationId, message.messageId, message.senderId, message.text]);
    });
  }

  note(...what) {
    this.story.push([Date.now() - this.world.began, ...what].join(' '));
  }

  get idle() {
    return this.#waiting === 0;
  }

  /** Says something that was never said before, in one of the ways that clients have; true once it is known to be stored. */
  async say(word = '') {
    this.#said += 1;
    const text = `${this.who} ${word}${this.#said}`;
    this.#waiting += 1;
    try {
      const outcome = this.#said % 5 === 0 && this.socket.connected ? await this.#both(text) : await this.#ask(text);
      this[outcome].push(text);
      return outcome === 'confirmed';
    } finally {
      this.#waiting -= 1;
    }
  }

  #payload(text) {
    return { senderId: this.person.id, receiverId: this.peer.id, text };
  }

  async #ask(text) {
    try {
      const receipt = await this.socket.timeout(PATIENCE).emitWithAck('sendMessage', this.#payload(text));
      if (!receipt.success) this.note('refused', text, receipt.message);
      return receipt.success ? 'confirmed' : 'refused';
    } catch {
      return 'unknown';
    }
  }

  /** As the existing client does it: the event, and the request at once after it. */
  async #both(text) {
    this.socket.emit('sendMessage', this.#payload(text));
    const body = JSON.stringify({ conversationId: this.person.conversation, sender: this.person.id, text });
    const headers = { 'content-type': 'application/json', authorization: `Bearer ${this.person.token}` };
    try {
      const answer = await fetch(`${this.world.api}/api/messages/create-new-message`, { method: 'POST', headers, body });
      return answer.status === 201 ? 'confirmed' : 'unknown';
    } catch {
      return 'unknown';
    }
  }

  /** Has this page heard the last word of its peer. */
  heard(word) {
    return this.shown.some(([, , sender, text]) => sender === this.peer.id && text.includes(` ${word}`));
  }

  report() {
    const { who, person, shown, confirmed, unknown, refused, story } = this;
    return { who, person: person.id, conversation: person.conversation, shown, confirmed, unknown, refused, story };
  }
}
