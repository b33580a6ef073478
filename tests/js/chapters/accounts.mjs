// People arrive: sign-up with a picture, the link in the mail, log-in, profile, addresses, passwords.

import assert from 'node:assert/strict';

import { Browser, expect, form, refused } from '../lib/browser.mjs';
import * as needs from '../lib/needs.mjs';
import { picture } from '../lib/picture.mjs';
import { chapter, step } from '../lib/steps.mjs';

/** What every page asks for as it loads, all at once. */
async function loadPage(browser) {
  const [events, products, user, seller, key] = await Promise.all([
    browser.get('/api/event/get-all-events-shop'),
    browser.get('/api/product/get-all-products'),
    browser.get('/api/user/getUser'),
    browser.get('/api/shop/getSeller'),
    browser.get('/api/stripe/stripeApiKey'),
  ]);
  assert.ok(Array.isArray(expect(events, 200).events));
  assert.ok(Array.isArray(expect(products, 200).products));
  const { stripeApiKey } = expect(key, 200);
  assert.ok(typeof stripeApiKey === 'string' && stripeApiKey.length > 0, 'without a key there is no payment page');
  return { user, seller };
}

/** A visitor whom nobody knows. */
export async function visit(world) {
  chapter('A visitor');
  const visitor = new Browser(world, 'visitor');
  await step('loads a page and is nobody', async () => {
    const { user, seller } = await loadPage(visitor);
    assert.equal(refused(user, 401), 'Please login first');
    assert.equal(refused(seller, 401), 'Please login first');
    assert.equal((await visitor.scriptCookies()).size, 0);
  });
  await step('asks for lists with the id "undefined" and gets empty ones', async () => {
    assert.deepEqual(expect(await visitor.get('/api/order/getOrders/undefined'), 200).orders, []);
    assert.deepEqual(expect(await visitor.get('/api/order/getShopOrders/undefined'), 200).orders, []);
    assert.deepEqual(expect(await visitor.get('/api/product/get-all-products-shop/undefined'), 200).products, []);
  });
  await step('finds nothing at an unknown address, in words', async () => {
    refused(await visitor.get('/api/nothing/here'), 404);
  });
  return visitor;
}

/** The buyer: from the sign-up form to a logged-in account. */
export async function becomeBuyer(world) {
  chapter('The buyer signs up');
  const browser = new Browser(world, 'ann');
  const email = `ann.${world.run}@example.com`;
  const password = 'correct horse';
  const avatar = picture('ann');
  const signUp = () => browser.post('/api/user/create-user', form([['file', avatar]], { name: 'Ann Archer', password, email }));
  await step('sends the form with a picture and is told to look for a mail', async () => {
    assert.match(expect(await signUp(), 200).message, /check your email/);
  });
  await step('cannot log in before the link is followed', async () => {
    refused(await browser.post('/api/user/login-user', { email, password }), 401);
  });
  const token = await step('finds the link to the activation page in the mail', async () => {
    const link = new URL(await world.mail.linkFor(email, 'Activate your account'));
    const [, found] = /^\/activation\/([^/]+)$/.exec(link.pathname) ?? [];
    assert.ok(found, `the link leads to ${link.pathname}`);
    assert.ok(!found.includes(Buffer.from(password).toString('base64').slice(0, -2)), 'the token holds the password');
    return found;
  });
  await step('follows it, and the page fires twice at once: both succeed', async () => {
    const twice = await Promise.all([1, 2].map(() => browser.post('/api/user/activation', { activation_token: token })));
    const [first, second] = twice.map((answer) => needs.user(expect(answer, 201).user));
    assert.equal(first._id, second._id, 'two accounts from one link');
  });
  await step('follows it once more, later', async () => {
    expect(await browser.post('/api/user/activation', { activation_token: token }), 201);
  });
  await step('cannot sign up twice with one address', async () => {
    assert.match(refused(await signUp(), 400, 409), /already/i);
  });
  await step('is refused with a wrong password, in the words for an unknown address', async () => {
    const wrong = refused(await browser.post('/api/user/login-user', { email, password: 'wrong' }), 401);
    const unknown = refused(await browser.post('/api/user/login-user', { email: `x${email}`, password }), 401);
    assert.equal(wrong, unknown);
  });
  const user = await step('logs in: the session out of reach of scripts, the marker within', async () => {
    const body = expect(await browser.post('/api/user/login-user', { email, password }), 200);
    assert.equal(body.success, true);
    assert.ok(body.message.length > 0);
    const visible = await browser.scriptCookies();
    assert.equal(visible.get('token'), '1');
    assert.ok(!visible.has('user_token'));
    assert.ok(![...visible.values()].some((value) => value.includes('.')), 'a script can read a session');
    return needs.user(body.user);
  });
  await step('loads a page as herself, with the picture she sent', async () => {
    const { user: own, seller } = await loadPage(browser);
    assert.deepEqual(needs.user(expect(own, 201).user), user);
    refused(seller, 401);
    await loadsPicture(browser, user.avatar.url);
  });
  return { browser, email, password, id: user._id };
}

/** A seller: the same by way of the shop's forms. */
export async function becomeSeller(world, { key, name, phoneNumber }) {
  chapter(`The shop "${name}" signs up`);
  const browser = new Browser(world, key);
  const email = `${key}.${world.run}@example.com`;
  const password = 'open sesame';
  const shopName = `${name} ${world.run}`;
  await step('sends the form with a picture', async () => {
    const fields = { name: shopName, password, email, address: '1 Mall Road, Lahore', zipCode: '54000', phoneNumber };
    assert.match(expect(await browser.post('/api/shop/create-shop', form([['file', picture(key)]], fields)), 200).message, /check your email/);
  });
  const token = await step('finds a link to the sellers\' activation page in the mail', async () => {
    const link = new URL(await world.mail.linkFor(email, 'Activate your Shop'));
    const [, found] = /^\/activation\/seller\/([^/]+)$/.exec(link.pathname) ?? [];
    assert.ok(found, `the link leads to ${link.pathname}`);
    return found;
  });
  await step('follows it twice', async () => {
    const first = needs.seller(expect(await browser.post('/api/shop/seller/activation', { activation_token: token }), 201).seller);
    const second = needs.seller(expect(await browser.post('/api/shop/seller/activation', { activation_token: token }), 201).seller);
    assert.equal(first._id, second._id);
    assert.equal(first.availableBalance, 0);
  });
  await step('is refused with a wrong password', async () => {
    refused(await browser.post('/api/shop/shop-login', { email, password: 'wrong' }), 401);
  });
  const seller = await step('logs in; no script sees the session', async () => {
    const body = expect(await browser.post('/api/shop/shop-login', { email, password }), 200);
    assert.equal((await browser.scriptCookies()).size, 0);
    assert.equal(needs.seller(body.seller).name, shopName);
    return body.seller;
  });
  await step('loads the dashboard', async () => {
    const { user, seller: own } = await loadPage(browser);
    refused(user, 401);
    assert.deepEqual(needs.seller(expect(own, 201).seller), seller);
    const page = needs.shopPage(expect(await browser.get(`/api/shop/get-shop-info/${seller._id}`), 200).sellerInfo);
    assert.equal(page.availableBalance, 0, 'the dashboard shows the balance');
    await loadsPicture(browser, seller.avatar.url);
  });
  await step('describes itself in its settings; numbers arrive as numbers and as text', async () => {
    const change = { name: shopName, address: '2 Mall Road, Lahore', zipCode: 54000, phoneNumber: String(phoneNumber), description: `${name}, by hand.` };
    const changed = needs.seller(expect(await browser.put('/api/shop/updateSellerInfo', change), 200).seller);
    assert.equal(changed.address, '2 Mall Road, Lahore');
    assert.equal(changed.phoneNumber, Number(phoneNumber));
    assert.equal(changed.description, `${name}, by hand.`);
  });
  await step('changes its picture', async () => {
    const changed = expect(await browser.put('/api/shop/update-seller-avatar', form([['image', picture(`${key}-new`)]], {})), 200);
    assert.notEqual(needs.seller(changed.seller).avatar.url, seller.avatar.url);
    await loadsPicture(browser, changed.seller.avatar.url);
  });
  return { browser, email, password, id: seller._id, name: shopName };
}

/** A picture that an answer names can be looked at. */
export async function loadsPicture(browser, url) {
  const at = new URL(url);
  const answer = await browser.http.get(at.pathname, { responseType: 'arraybuffer' });
  assert.equal(answer.status, 200, `${url}: ${answer.status}`);
  assert.match(answer.headers['content-type'], /^image\//);
  assert.ok(answer.data.length > 0);
}

/** The profile page. */
export async function keepProfile({ browser, email, password }) {
  chapter('The buyer looks after her profile');
  await step('saves a form whose untouched fields are null: nothing changes', async () => {
    const before = expect(await browser.get('/api/user/getUser'), 201).user;
    const change = { name: null, email: null, password, phoneNumber: null };
    const after = needs.user(expect(await browser.put('/api/user/updateUserInfo', change), 200).user);
    assert.deepEqual([after.name, after.email], [before.name, before.email]);
  });
  await step('sets her name and a telephone number', async () => {
    const change = { name: 'Ann Lee', email, password, phoneNumber: '3001234567' };
    const after = needs.user(expect(await browser.put('/api/user/updateUserInfo', change), 200).user);
    assert.deepEqual([after.name, after.phoneNumber], ['Ann Lee', 3001234567]);
  });
  await step('cannot change anything with a wrong password, nor slip into another address', async () => {
    refused(await browser.put('/api/user/updateUserInfo', { name: 'Eve', email, password: 'wrong', phoneNumber: null }), 400, 401, 403);
    refused(await browser.put('/api/user/updateUserInfo', { name: null, email: `x${email}`, password, phoneNumber: null }), 400, 409);
    assert.equal(expect(await browser.get('/api/user/getUser'), 201).user.name, 'Ann Lee');
  });
  await step('changes her picture', async () => {
    const before = expect(await browser.get('/api/user/getUser'), 201).user.avatar.url;
    const { existUser } = expect(await browser.put('/api/user/update-user-avatar', form([['file', picture('ann-new')]], {})), 200);
    assert.notEqual(needs.user(existUser).avatar.url, before);
    await loadsPicture(browser, existUser.avatar.url);
  });
  const home = { country: 'PK', city: 'PB', address1: '7 Canal Road', address2: 'Lahore', zipCode: '54000', addressType: 'Home' };
  await step('adds two addresses, one without a post code', async () => {
    needs.user(expect(await browser.put('/api/user/userAddressUpadte', home), 200).user);
    const { zipCode, ...office } = { ...home, address1: '8 Canal Road', addressType: 'Office' };
    const { user } = expect(await browser.put('/api/user/userAddressUpadte', office), 200);
    assert.deepEqual(needs.user(user).addresses.map((place) => place.addressType), ['Home', 'Office']);
    assert.equal(user.addresses[0].zipCode, 54000);
  });
  await step('cannot add a second one of a type', async () => {
    refused(await browser.put('/api/user/userAddressUpadte', home), 400, 409);
    assert.equal(expect(await browser.get('/api/user/getUser'), 201).user.addresses.length, 2);
  });
  return step('deletes one, twice', async () => {
    const { addresses } = expect(await browser.get('/api/user/getUser'), 201).user;
    for (const _ of [1, 2]) {
      const { user } = expect(await browser.delete(`/api/user/delete-address/${addresses[1]._id}`), 200);
      assert.deepEqual(needs.user(user).addresses, [addresses[0]]);
    }
    return addresses[0];
  });
}

/** The way out: a new password, and log-outs that hold. */
export async function leave(world, buyer, seller) {
  chapter('Everybody leaves');
  await step('the buyer changes her password; her other sessions end', async () => {
    const elsewhere = new Browser(world, 'ann elsewhere');
    expect(await elsewhere.post('/api/user/login-user', { email: buyer.email, password: buyer.password }), 200);
    const change = { oldPassword: buyer.password, newPassword: 'battery staple', confPassword: 'battery staple' };
    refused(await buyer.browser.put('/api/user/updatePassword', { ...change, oldPassword: 'wrong' }), 400, 401, 403);
    refused(await buyer.browser.put('/api/user/updatePassword', { ...change, confPassword: 'other' }), 400);
    assert.ok(expect(await buyer.browser.put('/api/user/updatePassword', change), 200).message);
    refused(await elsewhere.get('/api/user/getUser'), 401);
    assert.ok(!(await elsewhere.scriptCookies()).get('token'), 'the marker of an ended session leads to an empty profile');
    refused(await elsewhere.post('/api/user/login-user', { email: buyer.email, password: buyer.password }), 401);
    expect(await elsewhere.post('/api/user/login-user', { email: buyer.email, password: 'battery staple' }), 200);
  });
  await step('the buyer logs out; and again, which is no error', async () => {
    expect(await buyer.browser.post('/api/user/login-user', { email: buyer.email, password: 'battery staple' }), 200);
    for (const _ of [1, 2]) {
      assert.ok(expect(await buyer.browser.get('/api/user/logout'), 200).message);
      assert.ok(!(await buyer.browser.scriptCookies()).get('token'));
    }
    refused(await buyer.browser.get('/api/user/getUser'), 401);
  });
  await step('the shop logs out', async () => {
    assert.ok(expect(await seller.browser.get('/api/shop/logout-seller'), 200).message);
    refused(await seller.browser.get('/api/shop/getSeller'), 401);
  });
}
