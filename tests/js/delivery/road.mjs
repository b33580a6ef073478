// The way between pages and nodes: one address for everybody, a node for each, and every trouble that a network makes.

import net from 'node:net';

const NAMED = /[?&]who=(\w+)/;

export class Road {
  /** Who travels: their node, until when they get nowhere, and what they have open. */
  #travellers = new Map();

  constructor(ports) {
    this.ports = ports;
    // Both ways at their own pace: a page that leaves may still be sending.
    this.server = net.createServer({ allowHalfOpen: true }, (page) => this.#arrive(page));
  }

  async open() {
    await new Promise((ready) => this.server.listen(0, '127.0.0.1', ready));
    return `http://127.0.0.1:${this.server.address().port}`;
  }

  close() {
    this.server.close();
    for (const { links } of this.#travellers.values()) for (const link of links) link.cut();
  }

  traveller(who) {
    let traveller = this.#travellers.get(who);
    if (!traveller) {
      traveller = { node: this.#travellers.size % this.ports.length, closedUntil: 0, links: new Set() };
      this.#travellers.set(who, traveller);
    }
    return traveller;
  }

  /** Nobody gets through for a while; afterwards it may be to another node. */
  block(who, until, node) {
    Object.assign(this.traveller(who), { closedUntil: until, node });
  }

  /** Whose connection it is stands in its first line. */
  #arrive(page) {
    page.on('error', () => {});
    page.once('data', (first) => {
      const who = NAMED.exec(first.toString('latin1'))?.[1];
      const traveller = who && this.traveller(who);
      if (!traveller || Date.now() < traveller.closedUntil) return void page.resetAndDestroy();
      const link = new Link(page, net.connect({ port: this.ports[traveller.node], host: '127.0.0.1', allowHalfOpen: true }));
      traveller.links.add(link);
      link.node.on('close', () => traveller.links.delete(link));
      link.node.on('error', () => {
        // This node is away: the next try goes to another.
        traveller.node = (traveller.node + 1) % this.ports.length;
        page.resetAndDestroy();
      });
      link.node.write(first);
    });
  }
}

/** One connection of a page, and its continuation to the node. */
class Link {
  /** Whether what is said towards the page, and towards the node, arrives. */
  toPage = true;
  toNode = true;

  constructor(page, node) {
    Object.assign(this, { page, node });
    page.setNoDelay();
    node.setNoDelay();
    page.on('data', (data) => this.toNode && node.write(data));
    node.on('data', (data) => this.toPage && !page.destroyed && page.write(data));
    page.on('end', () => this.toNode && node.end());
    node.on('end', () => this.toPage && page.end());
    page.on('close', () => this.toNode && node.destroy());
    node.on('close', () => this.toPage && page.destroy());
  }

  /** Nothing arrives any more, and nobody is told. */
  stall() {
    this.toPage = false;
    this.toNode = false;
  }

  /** What the page says arrives, what it is told does not. */
  muffle() {
    this.toPage = false;
  }

  /** Both sides learn it. */
  cut() {
    this.page.resetAndDestroy();
    this.node.resetAndDestroy();
  }

  /** The page learns it, and the node does not. */
  orphan() {
    this.stall();
    this.page.resetAndDestroy();
  }
}
