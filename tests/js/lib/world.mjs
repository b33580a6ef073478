// Where the servers are and how the client is set up, from the environment.

import { Mailbox } from './mail.mjs';

function required(name) {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set; see tests/js/README.md`);
  return value.replace(/\/$/, '');
}

/** Reads the surroundings of a run. */
export function world() {
  const api = required('SOUK_API');
  const mode = process.env.SOUK_MODE ?? 'one-origin';
  if (!['one-origin', 'cross-origin'].includes(mode)) {
    throw new Error(`SOUK_MODE is ${mode}; it is one-origin or cross-origin`);
  }
  const oneOrigin = mode === 'one-origin';
  return {
    api,
    chat: required('SOUK_CHAT'),
    mode,
    oneOrigin,
    /** The origin of the page that the client's scripts run in. */
    origin: oneOrigin ? new URL(api).origin : (process.env.SOUK_CLIENT_ORIGIN ?? 'http://localhost:5173'),
    mail: new Mailbox({ directory: process.env.SOUK_MAIL_DIR, endpoint: process.env.SOUK_MAIL_API }),
    /** Makes names and addresses of this run different from those of any other. */
    run: Date.now().toString(36) + Math.random().toString(36).slice(2, 6),
  };
}
