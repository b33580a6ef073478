// Cards and PayPal, against the sandbox: paid, declined, given back, disputed, and what webhooks tell, in every order.

import assert from 'node:assert/strict';

import { Browser, expect, refused } from '../lib/browser.mjs';
import * as needs from '../lib/needs.mjs';
import { cents, clientTotal, credit } from '../lib/price.mjs';
import { chapter, step } from '../lib/steps.mjs';
import { until } from '../lib/wait.mjs';
import { listed, onShelf, productForm } from './catalogue.mjs';

const CARD = 'Credit Card';
const ADDRESS = { address1: '1 Elm Street', address2: '', zipCode: '54000', country: 'PK', city: 'PB' };

/** The market of this story: who there is, what there is, and how it is paid. */
export class Till {
  #keys = 0;

  constructor(world, buyer, shop, admin) {
    Object.assign(this, { world, buyer, shop, admin });
  }

  /** Tells the sandbox what happens next. */
  async tell(gateway, what) {
    return expect(await this.admin.post(`/api/sandbox/${gateway}`, what), 200);
  }

  async cartOf(product, count) {
    return [{ ...(await listed(this.buyer.browser, product._id)), count }];
  }

  /** Begins a card payment of what a cart comes to, as the payment page computes it. */
  async begin(cart) {
    this.#keys += 1;
    const amount = Math.round(Number(clientTotal(cart)) * 100);
    const key = { 'Idempotency-Key': `begin-${this.world.run}-${this.#keys}` };
    return expect(await this.buyer.browser.post('/api/stripe/process', { amount }, key), 200).id;
  }

  /** What the payment page sends at checkout. */
  request(cart, paymentInfo) {
    return { cart, shippingAddress: ADDRESS, user: this.buyer.user, totalPrice: clientTotal(cart), paymentInfo };
  }

  order(cart, paymentInfo) {
    return this.buyer.browser.post('/api/order/create-order', this.request(cart, paymentInfo));
  }

  /** Paid by card, ordered, and if wanted delivered: the payment and the order. */
  async bought(product, count, delivered = true) {
    const cart = await this.cartOf(product, count);
    const payment = await this.begin(cart);
    const [order] = expect(await this.order(cart, { type: CARD, id: payment, status: 'succeeded' }), 201).orders.map(needs.order);
    assert.equal(order.paymentInfo.status, 'succeeded');
    if (delivered) await this.deliver(order);
    return { payment, order };
  }

  async deliver(order) {
    const answer = await this.shop.browser.put(`/api/order/update-order-status/${order._id}`, { status: 'Delivered' });
    return needs.order(expect(answer, 200).order);
  }

  /** An order as its buyer sees it now. */
  async seen(order) {
    const { orders } = expect(await this.buyer.browser.get(`/api/order/getOrders/${this.buyer.id}`), 200);
    return needs.order(orders.find((one) => one._id === order._id));
  }

  async paymentBecomes(order, status) {
    return until(`the payment of ${order._id} being ${status}`, async () => {
      const now = await this.seen(order);
      return now.paymentInfo.status === status && now;
    });
  }

  async balance() {
    const { sellerInfo } = expect(await this.shop.browser.get(`/api/shop/get-shop-info/${this.shop.id}`), 200);
    return cents(sellerInfo.availableBalance);
  }

  /** Waits for a mail to the shop about an order. */
  async shopIsTold(order, subject) {
    await until(`a mail to the shop that matches ${subject}`, async () => {
      const mails = await this.world.mail.to(this.shop.email);
      return mails.some((mail) => subject.test(mail.subject) && mail.text.includes(order._id));
    });
  }

  async balanceBecomes(wanted) {
    await until(`a balance of ${wanted} cents`, async () => (await this.balance()) === wanted);
  }

  /** What waits for the administrator. */
  async attention() {
    return expect(await this.admin.get('/api/payment/needing-attention'), 200);
  }

  /** Waits until a webhook has told of a payment: before, there is nothing to be decided about. */
  async heardOf(payment) {
    await until(`the webhook of ${payment}`, async () => {
      const answer = await this.admin.put(`/api/payment/settle/${payment}`, { decision: 'keep' });
      return refused(answer, 404, 409) && answer.status === 409;
    });
  }

  async grantRefund(order, items) {
    expect(await this.buyer.browser.put(`/api/order/refund-order/${order._id}`, items ? { items } : {}), 200);
    const path = `/api/order/order-refund-success/${order._id}`;
    expect(await this.shop.browser.put(path, { status: 'Refund Success' }), 200);
  }
}

/** The administrator of the settings logs in. */
export async function becomeAdmin(world) {
  const browser = new Browser(world, 'admin');
  await step('the administrator logs in', async () => {
    const [email, password] = [process.env.SOUK_ADMIN_EMAIL, process.env.SOUK_ADMIN_PASSWORD];
    assert.ok(email && password, 'SOUK_ADMIN_EMAIL and SOUK_ADMIN_PASSWORD must be set');
    assert.equal(expect(await browser.post('/api/user/login-user', { email, password }), 200).user.role, 'Admin');
  });
  return browser;
}

/** A clock that there are enough of, and one last vase. */
export async function shelve(shop) {
  const create = async (details) => needs.product(expect(await shop.browser.post('/api/product/create-product', productForm(shop, details)), 201).product);
  return step('a shop puts up clocks, and its last vase', async () => ({
    clock: await create({ name: 'Wall clock', price: '19.99', originalPrice: '25', stock: '100' }),
    vase: await create({ name: 'Last vase', price: '15', originalPrice: '15', stock: '1' }),
  }));
}

export async function payByCard(till, { clock, vase }) {
  chapter('A card');
  const cart = await till.cartOf(clock, 1);
  const total = cents(Number(clientTotal(cart)).toFixed(2));
  const paid = await step('is charged, and the order counts as paid', () => till.bought(clock, 1, false));
  await step('double-submitted, it is one order; used for another, it is refused', async () => {
    const info = { type: CARD, id: paid.payment, status: 'succeeded' };
    const twice = await Promise.all([till.order(cart, info), till.order(cart, info)]);
    for (const answer of twice) assert.deepEqual(expect(answer, 201).orders.map((one) => one._id), [paid.order._id]);
    refused(await till.order(await till.cartOf(clock, 2), info), 409);
  });
  await step('delivered, the shop is credited', async () => {
    await till.deliver(paid.order);
    assert.equal(await till.balance(), credit(total));
  });
  await step('declined, it buys nothing; another card does', async () => {
    const before = (await onShelf(till.shop.browser, till.shop, clock._id)).available;
    await till.tell('stripe', { next: { outcome: 'decline' } });
    const payment = await till.begin(cart);
    const info = { type: CARD, id: payment, status: 'succeeded' };
    assert.match(refused(await till.order(cart, info), 409), /declined/);
    assert.equal((await onShelf(till.shop.browser, till.shop, clock._id)).available, before);
    await till.tell('stripe', { payment, then: 'confirm' });
    expect(await till.order(cart, info), 201);
  });
  await step('with a question from the bank, it waits for the answer (3-D Secure)', async () => {
    await till.tell('stripe', { next: { outcome: 'ask' } });
    const payment = await till.begin(cart);
    const info = { type: CARD, id: payment, status: 'succeeded' };
    assert.match(refused(await till.order(cart, info), 409), /3-D Secure/);
    await till.tell('stripe', { payment, then: 'confirm' });
    expect(await till.order(cart, info), 201);
  });
  await step('charged for what is gone, it is given back by itself', async () => {
    const two = await till.cartOf(vase, 2);
    const payment = await till.begin(two);
    const info = { type: CARD, id: payment, status: 'succeeded' };
    assert.match(refused(await till.order(two, info), 409), /Last vase/);
    // It is used up: not even for what there is.
    refused(await till.order(await till.cartOf(vase, 1), info), 409);
    assert.equal((await onShelf(till.shop.browser, till.shop, vase._id)).available, 1);
  });
}

export async function hearWebhooks(till, { clock }) {
  chapter('Webhooks');
  const cart = await till.cartOf(clock, 1);
  await step('before the order: it is the same order', async () => {
    const payment = await till.begin(cart);
    await till.heardOf(payment);
    const [order] = expect(await till.order(cart, { type: CARD, id: payment, status: 'succeeded' }), 201).orders;
    assert.equal((await till.seen(order)).paymentInfo.status, 'succeeded');
  });
  await step('after the order, three times and in no order: nothing changes', async () => {
    await till.tell('stripe', { webhooks: { hold: true } });
    const { order, payment } = await till.bought(clock, 1);
    const before = await till.balance();
    await till.tell('stripe', { payment, then: 'dispute' });
    await till.tell('stripe', { payment, then: 'win' });
    await till.tell('stripe', { webhooks: { times: 3, order: 'shuffled' } });
    // Held and released in one, or one after the other: in the end the shop has what it had.
    await till.shopIsTold(order, /dispute about .* is won/);
    await till.paymentBecomes(order, 'succeeded');
    await till.balanceBecomes(before);
    await till.tell('stripe', { webhooks: {} });
  });
  await step('that nobody has signed, and old ones, are refused', async () => {
    const forged = { id: 'evt_forged', object: 'event', type: 'payment_intent.succeeded', data: { object: { id: 'pi_forged', amount: 1 } } };
    refused(await till.buyer.browser.post('/api/stripe/webhook', forged), 400);
    refused(await till.buyer.browser.post('/api/stripe/webhook', forged, { 'Stripe-Signature': 't=1,v1=00' }), 400);
    refused(await till.buyer.browser.post('/api/paypal/webhook', { id: 'WH-1', event_type: 'PAYMENT.CAPTURE.COMPLETED', resource: {} }), 400);
  });
}

export async function giveBack(till, { clock }) {
  chapter('Refunds of a card payment');
  const before = await till.balance();
  const { order } = await step('two clocks are bought and delivered', () => till.bought(clock, 2));
  const whole = cents(order.totalPrice);
  await step('one goes back: half of the money, and the rest of the credit stays', async () => {
    await till.grantRefund(order, [{ id: clock._id, count: 1 }]);
    const [first] = (await till.seen(order)).refunds;
    assert.equal(first.state, 'granted');
    assert.ok(Math.abs(cents(first.amount) * 2 - whole) <= 1, `${first.amount} of ${whole}`);
    const now = await till.balance();
    assert.ok(now > before && now < before + credit(whole));
  });
  await step('so does the other: nobody has a cent of it', async () => {
    await till.grantRefund(order);
    const now = await till.seen(order);
    assert.equal(now.refunds.reduce((sum, one) => sum + cents(one.amount), 0), whole);
    assert.deepEqual([now.status, now.paymentInfo.status], ['Refund Success', 'refunded']);
    assert.equal(await till.balance(), before);
  });
  await step('what somebody returns at the gateway itself is shown to the administrator', async () => {
    const { payment } = await till.bought(clock, 1);
    await till.tell('stripe', { payment, then: 'refund', amount: '5.00' });
    const listed = async () => (await till.attention()).payments.find((one) => one._id === payment);
    const found = await until('the refund from elsewhere', listed);
    assert.equal(found.why, 'returned_elsewhere');
    refused(await till.admin.put(`/api/payment/settle/${payment}`, { decision: 'return' }), 409);
    expect(await till.admin.put(`/api/payment/settle/${payment}`, { decision: 'keep', note: 'goodwill' }), 200);
    assert.equal(await listed(), undefined);
  });
}

export async function dispute(till, { clock }) {
  chapter('Disputes');
  for (const [then, status] of [['win', 'succeeded'], ['lose', 'charged back']]) {
    const before = await till.balance();
    const { payment, order } = await till.bought(clock, 1);
    const credited = before + credit(cents(order.totalPrice));
    assert.equal(await till.balance(), credited);
    await step('the shop\'s credit is on hold while the bank decides, and the shop is told', async () => {
      await till.tell('stripe', { payment, then: 'dispute' });
      await till.paymentBecomes(order, 'disputed');
      await till.balanceBecomes(before);
      await till.shopIsTold(order, /is disputed/);
    });
    await step(then === 'win' ? 'won, it is the shop\'s again' : 'lost, it is gone', async () => {
      await till.tell('stripe', { payment, then });
      await till.paymentBecomes(order, status);
      await till.shopIsTold(order, then === 'win' ? /is won/ : /is lost/);
      await till.balanceBecomes(then === 'win' ? credited : before);
    });
  }
}

export async function payByPaypal(till, { clock }) {
  chapter('PayPal, as the existing client does it');
  const claim = (cart, payer) => till.order(cart, { id: payer, status: 'succeeded', type: 'Paypal' });
  const cart = await till.cartOf(clock, 1);
  const price = Number(clientTotal(cart)).toFixed(2);
  await step('the payer\'s id alone credits nobody until PayPal tells of the money', async () => {
    const before = await till.balance();
    const payer = `FIRST${till.world.run}`.toUpperCase();
    const [order] = expect(await claim(cart, payer), 201).orders;
    assert.equal(order.paymentInfo.status, 'unverified');
    await till.deliver(order);
    assert.equal(await till.balance(), before);
    const open = (await till.attention()).claims.find((one) => one.payer === payer);
    assert.deepEqual([open.checkoutId, cents(open.total)], [order.checkoutId, cents(order.totalPrice)]);
    await till.tell('paypal', { pay: price, payer });
    await till.paymentBecomes(order, 'succeeded');
    await till.balanceBecomes(before + credit(cents(order.totalPrice)));
    assert.ok(!(await till.attention()).claims.some((one) => one.payer === payer));
  });
  await step('the webhook may come first', async () => {
    const payer = `SECOND${till.world.run}`.toUpperCase();
    const { payment } = await till.tell('paypal', { pay: price, payer });
    await till.heardOf(payment);
    const [order] = expect(await claim(cart, payer), 201).orders;
    await till.paymentBecomes(order, 'succeeded');
  });
  await step('money in another account than ours: an administrator vouches for it', async () => {
    const before = await till.balance();
    const [order] = expect(await claim(cart, `THIRD${till.world.run}`.toUpperCase()), 201).orders;
    await till.deliver(order);
    const path = `/api/payment/verify-claim/${order.checkoutId}`;
    refused(await till.buyer.browser.put(path, { capture: 'ELSEWHERE1' }), 403);
    for (let again = 0; again < 2; again += 1) expect(await till.admin.put(path, { capture: 'ELSEWHERE1' }), 200);
    refused(await till.admin.put(path, { capture: 'ELSEWHERE2' }), 409);
    assert.equal(await till.balance(), before + credit(cents(order.totalPrice)));
  });

  chapter('PayPal through the server');
  const { browser } = till.buyer;
  await step('the price is the server\'s; captured twice, it is taken once', async () => {
    const begun = expect(await browser.post('/api/paypal/create-order', { cart }), 201);
    assert.equal(cents(begun.amount), cents(price));
    const capture = async () => expect(await browser.post(`/api/paypal/capture-order/${begun.id}`), 200);
    const captures = [await capture(), await capture()];
    assert.equal(captures[0].id, captures[1].id);
    const [order] = expect(await till.order(cart, { id: captures[0].id, type: 'Paypal' }), 201).orders;
    assert.equal(order.paymentInfo.status, 'succeeded');
    // The order's id is the same payment.
    refused(await till.order(await till.cartOf(clock, 2), { id: begun.id, type: 'Paypal' }), 409);
    await till.deliver(order);
    await till.grantRefund(order);
    assert.equal((await till.seen(order)).paymentInfo.status, 'refunded');
  });
  await step('declined, it takes nothing', async () => {
    const begun = expect(await browser.post('/api/paypal/create-order', { cart }), 201);
    await till.tell('paypal', { next: { outcome: 'decline' } });
    refused(await browser.post(`/api/paypal/capture-order/${begun.id}`), 409);
    refused(await till.order(cart, { id: begun.id, type: 'Paypal' }), 409);
  });
}
