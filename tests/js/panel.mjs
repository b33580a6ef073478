// A tour of the administrators' pages in a real browser: signing in, the lists, blocking a shop, deciding a dispute,
// approving a withdrawal; with the keyboard, on a phone, in light and dark. `cargo test` runs it and looks at what has
// become of the market. With `SOUK_SHOTS` it leaves pictures of what it sees there.

import assert from 'node:assert/strict';
import { execSync } from 'node:child_process';

import { chromium } from 'playwright-core';

const world = JSON.parse(process.env.SOUK_WORLD);
const shots = process.env.SOUK_SHOTS;

const names = ['chromium', 'chromium-browser', 'google-chrome'];
const found = execSync(`${names.map((name) => `command -v ${name}`).join(' || ')} || true`, { shell: '/bin/sh' });
const executablePath = found.toString().trim();
assert.ok(executablePath, `the tour needs a browser on the PATH: one of ${names.join(', ')}`);
const browser = await chromium.launch({
  executablePath,
  args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--disable-background-networking'],
});
const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, colorScheme: 'light' });
context.setDefaultTimeout(30_000);
const page = await context.newPage();

// Whatever goes wrong behind the scenes.
const wrong = [];
const times = [];
let expected = [];
page.on('pageerror', (error) => wrong.push(`the page's script: ${error.message}`));
page.on('console', (line) => {
  // A refused action is a line of the browser's own; and the people of tests have no pictures.
  if (line.location().url.includes('/uploads/')) return;
  if (line.type() === 'error' && !expected.some((part) => line.text().includes(part))) wrong.push(line.text());
});
page.on('request', (request) => {
  const { origin, protocol } = new URL(request.url());
  if (protocol !== 'data:' && origin !== world.base) wrong.push(`something is loaded from ${request.url()}`);
});
page.on('response', (response) => {
  const timing = response.headers()['server-timing'];
  if (timing) times.push([Number(timing.split('dur=')[1]), response.url()]);
});

let shot = 0;
async function see(name) {
  shot += 1;
  if (shots) await page.screenshot({ path: `${shots}/${String(shot).padStart(2, '0')}-${name}.png`, fullPage: true });
}

const open = (path) => page.goto(world.base + path);
const heading = () => page.locator('#main h1').first().innerText();

// Signing in: wrong first.
await open('/admin/disputes');
assert.match(page.url(), /\/admin\/sign-in\?next=%2Fadmin%2Fdisputes$/);
await see('sign-in');
expected = ['status of 401', 'Error Code 401', 'status of 400', 'Error Code 400'];
await page.fill('[name=email]', world.email);
await page.fill('[name=password]', 'not-the-password');
await page.keyboard.press('Enter');
await page.waitForFunction(() => document.querySelector('.fault').textContent !== '');
await page.fill('[name=password]', world.password);
await page.keyboard.press('Enter');
await page.waitForURL('**/admin/disputes');
expected = [];
assert.equal(await heading(), 'Disputes');

// The overview and its charts.
await page.click('nav >> text=Overview');
await page.waitForURL('**/admin');
await page.waitForFunction(() => document.querySelectorAll('[data-chart] canvas').length >= 3);
const painted = await page.evaluate(() =>
  [...document.querySelectorAll('[data-chart] canvas')].map((canvas) => {
    const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    return data.some((value) => value !== 0);
  }),
);
assert.ok(painted.every(Boolean), `charts that show nothing: ${painted}`);
// The same figures are there to be read.
const figures = await page.locator('details table').first().innerText();
await page.locator('details summary').first().click();
assert.match(await page.locator('details table').first().innerText(), /Sales/, figures);
await page.locator('details summary').first().click();
await see('overview');

// With the keyboard: to the content, into the search.
await open('/admin/shops');
await page.keyboard.press('Tab');
assert.equal(await page.evaluate(() => document.activeElement.textContent), 'To the content');
await page.keyboard.press('Enter');
assert.equal(await page.evaluate(() => document.activeElement.id), 'main');
await page.keyboard.press('/');
assert.equal(await page.evaluate(() => document.activeElement.name), 'q');
await page.keyboard.type(world.shop);
await page.keyboard.press('Enter');
await page.waitForURL(/q=/);
await page.waitForFunction(() => document.querySelectorAll('#main tbody tr').length === 1);
await see('shops');

// Blocking a shop asks for a reason, and says what came of it.
const row = page.locator('#main tbody tr');
await row.locator('text=Block').click();
await see('block');
await page.keyboard.press('Escape');
assert.equal(await page.locator('dialog[open]').count(), 0, 'Escape closes the dialog');
await row.locator('text=Block').click();
await page.fill('dialog [name=reason]', 'a rehearsal');
await page.keyboard.press('Enter');
await page.waitForSelector('#main .badge.bad >> text=blocked');
assert.match(await row.innerText(), /a rehearsal/);
await row.locator('text=Unblock').click();
await page.click('dialog [type=submit]');
await page.waitForSelector('#main .badge.good');

// A dispute: what both said, what they said in the chat, and a decision about a part.
await page.click('nav >> text=Disputes');
await page.waitForURL('**/admin/disputes');
await see('disputes');
await page.locator('#main tbody a').first().click();
await page.waitForURL(/disputes\/[0-9a-f]{24}$/);
const evidence = await page.locator('#main').innerText();
for (const word of world.said) assert.ok(evidence.includes(word), `${word} is missing: ${evidence}`);
await see('dispute');
await page.click('text=Refund another amount');
await page.fill('dialog [name=amount]', '1000000');
expected = ['status of 400', 'Error Code 400'];
await page.click('dialog [type=submit]');
await page.waitForFunction(() => document.querySelector('dialog .fault').textContent !== '');
await see('dispute-too-much');
expected = [];
await page.fill('dialog [name=amount]', world.amount);
await page.fill('dialog [name=note]', 'half of it was broken');
await page.click('dialog [type=submit]');
await page.waitForSelector('#main .badge >> text=refunded');
assert.equal(await page.locator('#main button >> text=Refund another amount').count(), 0, 'it is decided once');
await see('dispute-decided');

// A withdrawal.
await page.click('nav >> text=Withdrawals');
await page.waitForURL('**/admin/withdrawals');
await see('withdrawals');
await page.locator('#main button >> text=Approve').first().click();
await page.click('dialog [type=submit]');
await page.waitForSelector('#main .badge.good');
await see('withdrawal-approved');

// Every page: on a phone nothing is wider than the screen; in the dark the ground is dark.
const links = await page.locator('nav a').evaluateAll((all) => all.map((link) => link.getAttribute('href')));
for (const scheme of ['light', 'dark']) {
  await page.emulateMedia({ colorScheme: scheme });
  for (const path of links) {
    await page.setViewportSize({ width: 390, height: 800 });
    await open(path);
    const { wide, ground } = await page.evaluate(() => ({
      wide: document.documentElement.scrollWidth - document.documentElement.clientWidth,
      ground: getComputedStyle(document.body).backgroundColor,
    }));
    if (wide > 0) wrong.push(`${path} is ${wide} pixels wider than a phone`);
    const light = Number(/\d+/.exec(ground)[0]) > 128;
    if (light !== (scheme === 'light')) wrong.push(`${path} is ${ground} where ${scheme} is wanted`);
    await see(`phone-${scheme}${path.replaceAll('/', '-')}`);
  }
}
await page.setViewportSize({ width: 1280, height: 900 });
await open('/admin');
await see('overview-dark');
await open(`/admin/letters/${world.letter}`);
await see('letter');

// Out, and the way back is closed.
await page.click('nav >> text=Sign out');
await page.waitForURL('**/admin/sign-in');
await open('/admin');
assert.match(page.url(), /sign-in/);

await browser.close();
times.sort(([a], [b]) => b - a);
console.log(`${times.length} pages, the slowest ${times[0][0]} ms (${times[0][1]})`);
assert.deepEqual(wrong, []);
console.log('all held');
