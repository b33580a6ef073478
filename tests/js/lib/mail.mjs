// Reads the mail that the server sent: from a directory of .eml files (what it writes without a mail
// server), or from an HTTP endpoint in front of a mail catcher.

import axios from 'axios';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import PostalMime from 'postal-mime';

import { until } from './wait.mjs';

export class Mailbox {
  constructor({ directory, endpoint }) {
    if (!directory && !endpoint) throw new Error('one of SOUK_MAIL_DIR and SOUK_MAIL_API must be set');
    this.directory = directory;
    this.endpoint = endpoint;
  }

  /** The raw messages to an address, oldest first. */
  async #raw(address) {
    if (this.endpoint) {
      // An array of whole messages, as they came over SMTP.
      const answer = await axios.get(this.endpoint, { params: { to: address } });
      return answer.data;
    }
    if (!existsSync(this.directory)) return [];
    return readdirSync(this.directory)
      .filter((name) => name.endsWith('.eml'))
      .sort()
      .map((name) => readFileSync(join(this.directory, name), 'utf8'));
  }

  /** The mails to an address, oldest first: `{ subject, text, html }`. */
  async to(address) {
    const mails = await Promise.all((await this.#raw(address)).map((raw) => PostalMime.parse(raw)));
    return mails.filter((mail) => (mail.to ?? []).some((to) => to.address?.toLowerCase() === address.toLowerCase()));
  }

  /** Waits for a mail to an address with that subject, and gives the first link in it. */
  async linkFor(address, subject) {
    const mail = await until(`a mail "${subject}" to ${address}`, async () =>
      (await this.to(address)).find((candidate) => candidate.subject === subject),
    );
    const link = /https?:\/\/[^\s"'<>]+/.exec(mail.text ?? '')?.[0];
    if (!link) throw new Error(`no link in the mail "${subject}":\n${mail.text}`);
    if (mail.html && !mail.html.includes(link)) throw new Error('the text and the HTML of the mail differ in their link');
    return link;
  }
}
