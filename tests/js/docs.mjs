// The API reference in a real browser: it opens, a call can be tried on it with the session of whoever is logged in and
// with a token, nothing is loaded from elsewhere, and the browser has nothing to complain of.

import assert from 'node:assert/strict';
import { execSync } from 'node:child_process';

import { chromium } from 'playwright-core';

const { api, cookies, token, shop, picture } = JSON.parse(process.env.SOUK_WORLD);

const names = ['chromium', 'chromium-browser', 'google-chrome'];
const found = execSync(`${names.map((name) => `command -v ${name}`).join(' || ')} || true`, { shell: '/bin/sh' });
const executablePath = found.toString().trim();
assert.ok(executablePath, `the test of the API reference needs a browser on the PATH: one of ${names.join(', ')}`);
const browser = await chromium.launch({
  executablePath,
  args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--disable-background-networking'],
});

/** The page, and everything that it asks for and complains of. */
async function open(cookies) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 1000 } });
  context.setDefaultTimeout(30_000);
  await context.addCookies(cookies);
  const page = await context.newPage();
  const seen = { elsewhere: [], complaints: [], refused: [] };
  page.on('request', (request) => {
    const url = request.url();
    if (!url.startsWith(`${api}/`) && !url.startsWith('data:')) seen.elsewhere.push(url);
  });
  page.on('console', (said) => ['error', 'warning'].includes(said.type()) && seen.complaints.push(said.text()));
  page.on('response', (response) => response.status() >= 400 && seen.refused.push(`${response.status()} ${response.url()}`));
  page.on('pageerror', (error) => seen.complaints.push(String(error)));
  await page.goto(`${api}/docs`);
  await page.waitForSelector('.opblock').catch((error) => {
    throw new Error(`nothing is shown: ${JSON.stringify(seen)}`, { cause: error });
  });
  return { context, page, seen };
}

/** Opens an operation and tries it; the status that the page shows. */
async function tryOut(page, operation, fill) {
  const block = page.locator(`[id$="-${operation}"].opblock`);
  await block.locator('.opblock-summary-control').click();
  await block.locator('.execute').waitFor();
  if (fill) await block.locator('table.parameters input[type=text]').first().fill(fill);
  await block.locator('.execute').click();
  const answer = block.locator('.live-responses-table tbody .response-col_status').first();
  await answer.waitFor();
  return { status: (await answer.innerText()).trim().split(/\s/)[0], block };
}

// With the session that the browser holds.
const own = await open(cookies);
const operations = await own.page.locator('.opblock').count();
assert.ok(operations > 50, `${operations} operations are shown`);
const all = await tryOut(own.page, 'allProducts');
assert.equal(all.status, '200');
assert.match(await all.block.locator('.live-responses-table').innerText(), /Brass lamp/);
const balance = await tryOut(own.page, 'shopBalance');
assert.equal(balance.status, '200', 'the session counts');
if (picture) await own.page.screenshot({ path: picture });
// A change, from the page of the API itself.
const hooks = await tryOut(own.page, 'createWebhook');
assert.equal(hooks.status, '201', await hooks.block.locator('.live-responses-table').innerText());

// Without one it does not, until the page is told a token.
const other = await open([]);
assert.equal((await tryOut(other.page, 'listWebhooks')).status, '401');
await other.page.locator('.auth-wrapper .authorize').first().click();
const dialog = other.page.locator('.modal-ux');
await dialog.locator('#http-bearer-value, input[aria-label="auth-bearer-value"]').first().fill(token);
await dialog.locator('.auth-container', { hasText: 'bearerToken' }).locator('button.authorize').click();
await dialog.locator('button.btn-done').first().click();
const list = other.page.locator('[id$="-listWebhooks"].opblock');
const answered = other.page.waitForResponse((response) => response.url().endsWith('/api/webhooks'));
await list.locator('.execute').click();
assert.equal((await answered).status(), 200);
await list.locator('.live-responses-table', { hasText: 'shop.example' }).waitFor();
assert.ok(shop);

for (const { context, seen } of [own, other]) {
  assert.deepEqual(seen.elsewhere, [], 'something is asked for elsewhere');
  // A refusal is written to the console by the browser itself.
  const complaints = seen.complaints.filter((text) => !/status of 401/.test(text));
  assert.deepEqual(complaints, [], 'the browser complains');
  await context.close();
}
await browser.close();
console.log('all held');
