// Coupons, checkout, orders on their way, reviews, refunds, cancellations, withdrawals: every number checked.

import assert from 'node:assert/strict';

import { expect, refused } from '../lib/browser.mjs';
import * as needs from '../lib/needs.mjs';
import { cents, clientTotal, credit, shopShare } from '../lib/price.mjs';
import { chapter, step } from '../lib/steps.mjs';
import { listed, onShelf } from './catalogue.mjs';

const ON_DELIVERY = { type: 'Cash on Delivery' };

async function ordersOfBuyer(buyer) {
  return expect(await buyer.browser.get(`/api/order/getOrders/${buyer.id}`), 200).orders.map(needs.order);
}

async function ordersOfShop(seller) {
  return expect(await seller.browser.get(`/api/order/getShopOrders/${seller.id}`), 200).orders.map(needs.order);
}

/** The balance as the dashboard gets it. */
async function balance(seller) {
  return cents(expect(await seller.browser.get(`/api/shop/get-shop-info/${seller.id}`), 200).sellerInfo.availableBalance);
}

async function advance(seller, order, status) {
  const answer = await seller.browser.put(`/api/order/update-order-status/${order._id}`, { status });
  const moved = needs.order(expect(answer, 200).order);
  assert.equal(moved.status, status);
  return moved;
}

/** A shop offers a discount; the buyer tries it. */
export async function offerCoupon(world, lamps, tea, buyer) {
  chapter('A coupon');
  const name = `LAMPS15-${world.run}`.toUpperCase();
  // The form sends the whole seller along, and empty text for what was not filled in.
  const request = async (value) => ({
    name,
    minAmount: '20',
    maxAmount: '',
    value,
    seller: expect(await lamps.browser.get('/api/shop/getSeller'), 201).seller,
    selectedProduct: '',
  });
  await step('of more than the whole price is refused', async () => {
    refused(await lamps.browser.post('/api/coupan/create-coupan', await request('120')), 400);
  });
  await step('of 15 % is created', async () => {
    const body = expect(await lamps.browser.post('/api/coupan/create-coupan', await request('15')), 201);
    assert.equal(body.sucess, true);
    const coupon = needs.coupon(body.coupanCode);
    assert.deepEqual([coupon.value, coupon.minAmount, coupon.maxAmount, coupon.seller._id], [15, 20, null, lamps.id]);
  });
  await step('has a name that nobody else can take', async () => {
    refused(await tea.browser.post('/api/coupan/create-coupan', await request('50')), 400, 409);
  });
  await step('is in its shop\'s list, and in no other\'s', async () => {
    const own = expect(await lamps.browser.get(`/api/coupan/get-coupans/${lamps.id}`), 200);
    assert.deepEqual(own.coupans.map((coupon) => needs.coupon(coupon).name), [name]);
    refused(await tea.browser.get(`/api/coupan/get-coupans/${lamps.id}`), 403);
    assert.deepEqual(expect(await tea.browser.get(`/api/coupan/get-coupans/${tea.id}`), 200).coupans, []);
  });
  return step('is found by the buyer; an unknown one is null', async () => {
    const found = expect(await buyer.browser.get(`/api/coupan/coupan-verified/${name}`), 200);
    const none = expect(await buyer.browser.get(`/api/coupan/coupan-verified/NONE-${world.run}`), 200);
    assert.equal(none.coupanCode, null);
    return needs.coupon(found.coupanCode);
  });
}

/** One cart over both shops, paid on delivery, with the coupon hidden in the total. */
export async function checkOut(buyer, home, lamps, tea, goods, coupon) {
  chapter('Checkout');
  const { browser } = buyer;
  const user = expect(await browser.get('/api/user/getUser'), 201).user;
  // Whole products as the home page had them, with a count: that is what the browser keeps.
  const [lamp, shade, leaves] = await Promise.all([goods.lamp, goods.shade, goods.leaves].map((one) => listed(browser, one._id)));
  const cart = [{ ...lamp, count: 2 }, { ...shade, count: 1 }, { ...leaves, count: 3 }];
  const { _id, addressType, ...shippingAddress } = home;
  const totalPrice = clientTotal(cart, coupon);
  const request = { cart, shippingAddress, user, totalPrice, paymentInfo: ON_DELIVERY };

  await step('a total that nothing explains is refused, and the right one named', async () => {
    const told = refused(await browser.post('/api/order/create-order', { ...request, totalPrice: '1.00' }), 409);
    assert.match(told, /155\.6[45]/);
  });
  await step('an empty cart is refused', async () => {
    refused(await browser.post('/api/order/create-order', { ...request, cart: [] }), 400);
  });
  await step('more than there is, is refused by name, and nothing is reserved', async () => {
    const greedy = [{ ...lamp, count: 2 }, { ...shade, count: 6 }];
    const told = refused(await browser.post('/api/order/create-order', { ...request, cart: greedy, totalPrice: clientTotal(greedy) }), 409);
    assert.match(told, /Paper shade/);
    assert.equal((await listed(browser, lamp._id)).stock, 12);
  });

  const orders = await step(`two orders from one cart whose total the client put at "${totalPrice}"`, async () => {
    const body = expect(await browser.post('/api/order/create-order', request), 201);
    assert.equal(body.success, true);
    assert.equal(body.orders.length, 2);
    return body.orders.map(needs.order);
  });
  await step('a second click gives the same two', async () => {
    const again = expect(await browser.post('/api/order/create-order', request), 201).orders;
    assert.deepEqual(again.map((order) => order._id).sort(), orders.map((order) => order._id).sort());
  });
  const byShop = (seller) => orders.find((order) => order.shopId === seller.id);
  const [first, second] = [byShop(lamps), byShop(tea)];
  await step('the totals: each its own share, together the cart\'s to the cent', async () => {
    const shares = [
      [first, shopShare([{ price: 49.9, count: 2 }, { price: 19.65, count: 1 }], coupon.value)],
      [second, shopShare([{ price: 7.35, count: 3 }])],
    ];
    for (const [order, share] of shares) {
      assert.equal(cents(order.subtotal), share.subtotal);
      assert.equal(cents(order.discount), share.discount);
      assert.ok(Math.abs(cents(order.shippingCost) - share.shipping) <= 1, `shipping ${order.shippingCost}`);
      assert.ok(Math.abs(cents(order.totalPrice) - share.total) <= 1, `total ${order.totalPrice}, share ${share.total}`);
      assert.equal(order.status, 'Processing');
      assert.notEqual(order.paymentInfo?.status, 'succeeded', 'not paid before it is delivered');
    }
    assert.equal(cents(first.totalPrice) + cents(second.totalPrice), cents(totalPrice));
    assert.equal(first.couponCode, coupon.name);
    assert.ok(!second.couponCode);
    assert.ok(first.checkoutId && first.checkoutId === second.checkoutId);
  });
  await step('what people can buy is less, what is on the shelves is not', async () => {
    for (const [seller, one, shelf, left] of [[lamps, lamp, 12, 10], [lamps, shade, 5, 4], [tea, leaves, 40, 37]]) {
      const shown = await listed(browser, one._id);
      assert.deepEqual([shown.stock, shown.available], [left, left], one.name);
      const own = await onShelf(seller.browser, seller, one._id);
      assert.deepEqual([own.stock, own.available, own.sold_out], [shelf, left, 0], one.name);
    }
  });
  await step('the buyer sees both orders, each shop its own', async () => {
    assert.deepEqual(new Set((await ordersOfBuyer(buyer)).map((order) => order._id)), new Set(orders.map((order) => order._id)));
    const [ofLamps] = await ordersOfShop(lamps);
    assert.deepEqual([ofLamps._id, ofLamps.user.phoneNumber, ofLamps.shippingAddress.address1], [first._id, 3001234567, '7 Canal Road']);
    assert.deepEqual((await ordersOfShop(tea)).map((order) => order._id), [second._id]);
    assert.deepEqual(ofLamps.cart.map((item) => [item.name, item.count, item.discountPrice]), [['Brass lamp', 2, 49.9], ['Paper shade', 1, 19.65]]);
  });
  await step('each can open the order, the other shop cannot', async () => {
    for (const who of [buyer, lamps]) {
      needs.order(expect(await who.browser.get(`/api/order/get-order/${first._id}`), 200).order);
    }
    refused(await tea.browser.get(`/api/order/get-order/${first._id}`), 404, 403);
  });
  return { first, second, request };
}

/** Both orders reach the buyer, one by every step and one by some. */
export async function deliver(lamps, tea, buyer, goods, { first, second }) {
  chapter('The orders go their way');
  await step('another shop cannot move an order, nor the buyer', async () => {
    const path = `/api/order/update-order-status/${first._id}`;
    refused(await tea.browser.put(path, { status: 'Delivered' }), 403, 404);
    refused(await buyer.browser.put(path, { status: 'Delivered' }), 401);
    refused(await lamps.browser.put(path, { status: 'On the moon' }), 400);
    refused(await lamps.browser.put(path, { status: '' }), 400);
  });
  await step('steps may be skipped; the stock moves, once', async () => {
    await advance(lamps, first, 'Shipping');
    await advance(lamps, first, 'Shipping');
    const lamp = await onShelf(lamps.browser, lamps, goods.lamp._id);
    assert.deepEqual([lamp.stock, lamp.available, lamp.sold_out], [10, 10, 2]);
    const shade = await onShelf(lamps.browser, lamps, goods.shade._id);
    assert.deepEqual([shade.stock, shade.available, shade.sold_out], [4, 4, 1]);
  });
  await step('backwards is refused, and both states are named', async () => {
    const told = refused(await lamps.browser.put(`/api/order/update-order-status/${first._id}`, { status: 'Processing' }), 409);
    assert.match(told, /Shipping/);
    assert.match(told, /Processing/);
  });
  await step('nothing is credited on the way', async () => {
    await advance(lamps, first, 'On the way');
    assert.equal(await balance(lamps), 0);
  });
  await step('delivered: paid, and the shop is credited its total less 10 %', async () => {
    const done = await advance(lamps, first, 'Delivered');
    assert.equal(done.paymentInfo.status, 'succeeded');
    assert.ok(done.deliveredAt && done.paidAt);
    assert.equal(await balance(lamps), credit(cents(first.totalPrice)));
    await advance(lamps, first, 'Delivered');
    assert.equal(await balance(lamps), credit(cents(first.totalPrice)), 'credited twice');
    assert.equal(await balance(tea), 0, 'the other shop was credited');
  });
  await step('the other order takes every step', async () => {
    for (const status of ['Transferred to delivery partner', 'Shipping', 'Received', 'On the way', 'Delivered']) {
      await advance(tea, second, status);
      const leaves = await onShelf(tea.browser, tea, goods.leaves._id);
      assert.deepEqual([leaves.stock, leaves.available, leaves.sold_out], [37, 37, 3], status);
    }
    assert.equal(await balance(tea), credit(cents(second.totalPrice)));
  });
}

/** The buyer says what she thinks. */
export async function review(world, buyer, lamps, visitor, goods, { first, second }) {
  chapter('A review');
  const user = expect(await buyer.browser.get('/api/user/getUser'), 201).user;
  const request = (rating, comment) => ({ user, rating, comment, productId: goods.lamp._id, orderId: first._id });
  await step('of something she did not buy there is refused', async () => {
    refused(await buyer.browser.put('/api/product/create-new-review', { ...request(1, ''), orderId: second._id }), 400, 403, 404, 409);
  });
  await step('is written, without words, under her name and no other\'s', async () => {
    const forged = { ...request(4, ''), user: { ...user, name: 'Somebody else', avatar: { url: 'https://elsewhere.example/a.png' } } };
    expect(await buyer.browser.put('/api/product/create-new-review', forged), 200);
    const lamp = await listed(visitor, goods.lamp._id);
    assert.equal(lamp.rating, 4);
    assert.deepEqual(lamp.reviews.map((one) => [one.user.name, one.rating, one.comment]), [['Ann Lee', 4, '']]);
    assert.equal(lamp.reviews[0].user.avatar.url, user.avatar.url);
  });
  await step('is thought over: the second replaces the first', async () => {
    expect(await buyer.browser.put('/api/product/create-new-review', request(5, 'Lovely light.')), 200);
    const lamp = await listed(visitor, goods.lamp._id);
    assert.deepEqual([lamp.rating, lamp.reviews.length, lamp.reviews[0].comment], [5, 1, 'Lovely light.']);
  });
  await step('marks the item of the order, and only that', async () => {
    const order = (await ordersOfBuyer(buyer)).find((one) => one._id === first._id);
    assert.deepEqual(order.cart.map((item) => Boolean(item.isReviewed)), [true, false]);
  });
  await step('shows the reviewer\'s picture where the product page looks for it', async () => {
    const lamp = await listed(visitor, goods.lamp._id);
    const answer = await visitor.http.get(`/uploads/${lamp.reviews[0].user.avatar.url}`, { maxRedirects: 3, responseType: 'arraybuffer' });
    assert.equal(answer.status, 200);
    assert.match(answer.headers['content-type'], /^image\//);
    const foreign = await visitor.http.get('/uploads/https://elsewhere.example/a.png');
    assert.ok([400, 404].includes(foreign.status), `an open redirect? ${foreign.status}`);
  });
}

/** Money back: stock and credit as before the order. */
export async function refund(tea, lamps, buyer, goods, { second }) {
  chapter('A refund');
  const path = `/api/order/order-refund-success/${second._id}`;
  await step('cannot be granted before it is asked for', async () => {
    refused(await tea.browser.put(path, { status: 'Refund Success' }), 409);
  });
  await step('is asked for by the buyer', async () => {
    const body = expect(await buyer.browser.put(`/api/order/refund-order/${second._id}`, { status: 'Refund Processing' }), 200);
    assert.ok(body.message.length > 0, 'the message is shown');
    assert.equal(needs.order(body.order).status, 'Refund Processing');
    refused(await tea.browser.put(`/api/order/update-order-status/${second._id}`, { status: 'Shipping' }), 409);
  });
  await step('is not granted by pressing the button without a choice, nor by another shop', async () => {
    refused(await tea.browser.put(path, { status: '' }), 400);
    refused(await lamps.browser.put(path, { status: 'Refund Success' }), 403, 404);
  });
  await step('is granted: the stock is back, the credit is taken back, once', async () => {
    expect(await tea.browser.put(path, { status: 'Refund Success' }), 200);
    const again = await tea.browser.put(path, { status: 'Refund Success' });
    assert.ok([200, 409].includes(again.status), `again: ${again.status}`);
    const leaves = await onShelf(tea.browser, tea, goods.leaves._id);
    assert.deepEqual([leaves.stock, leaves.available], [40, 40]);
    assert.equal(await balance(tea), 0);
    assert.equal((await ordersOfBuyer(buyer)).find((one) => one._id === second._id).status, 'Refund Success');
  });
}

/** Carts the client cannot add up, called off again. */
export async function cancel(buyer, lamps, tea, goods, { request }) {
  chapter('Second thoughts');
  const { browser } = buyer;
  const [lamp, week] = [await listed(browser, goods.lamp._id), await listed(browser, goods.week._id, 'event')];
  // From an event card comes no count; the client's sum is NaN, and JSON has no NaN.
  const cart = [{ ...lamp, count: 1 }, week];
  const orders = await step('a cart with an event and no count goes through at the server\'s price', async () => {
    const body = expect(await browser.post('/api/order/create-order', { ...request, cart, totalPrice: clientTotal(cart) }), 201);
    const [ofLamps, ofTea] = [lamps, tea].map((seller) => needs.order(body.orders.find((order) => order.shopId === seller.id)));
    const whole = shopShare([{ price: 49.9, count: 1 }, { price: 12.45, count: 1 }]).total;
    assert.equal(cents(ofLamps.totalPrice) + cents(ofTea.totalPrice), whole);
    assert.ok(Math.abs(cents(ofLamps.totalPrice) - shopShare([{ price: 49.9, count: 1 }]).total) <= 1);
    assert.ok(Math.abs(cents(ofTea.totalPrice) - shopShare([{ price: 12.45, count: 1 }]).total) <= 1);
    assert.deepEqual(ofTea.cart.map((item) => [item.name, item.count]), [['Tea week', 1]]);
    assert.equal((await listed(browser, week._id, 'event')).stock, 19);
    assert.equal((await listed(browser, lamp._id)).stock, 9);
    return { ofLamps, ofTea };
  });
  await step('the buyer calls one order off, the shop the other: the stock is free again', async () => {
    const cancelled = expect(await browser.put(`/api/order/cancel-order/${orders.ofLamps._id}`), 200);
    assert.equal(needs.order(cancelled.order).status, 'Cancelled');
    assert.equal(needs.order(expect(await tea.browser.put(`/api/order/cancel-order/${orders.ofTea._id}`), 200).order).status, 'Cancelled');
    assert.equal((await listed(browser, lamp._id)).stock, 10);
    assert.equal((await listed(browser, week._id, 'event')).stock, 20);
    const shelf = await onShelf(lamps.browser, lamps, lamp._id);
    assert.deepEqual([shelf.stock, shelf.available, shelf.sold_out], [10, 10, 2]);
  });
  await step('what is cancelled stays so', async () => {
    refused(await lamps.browser.put(`/api/order/update-order-status/${orders.ofLamps._id}`, { status: 'Shipping' }), 409);
  });
  await step('the card form gets its secret, and a PayPal payer id is taken down but not believed', async () => {
    const intent = expect(await browser.post('/api/stripe/process', { amount: 809 }), 200);
    assert.ok(typeof intent.client_secret === 'string' && intent.client_secret.length > 0);
    const leaves = { ...(await listed(browser, goods.leaves._id)), count: 1 };
    const paypal = { id: 'PAYER7QX2', status: 'succeeded', type: 'Paypal' };
    const answer = await browser.post('/api/order/create-order', { ...request, cart: [leaves], totalPrice: clientTotal([leaves]), paymentInfo: paypal });
    const [order] = expect(answer, 201).orders.map(needs.order);
    assert.notEqual(order.paymentInfo?.status, 'succeeded', 'a claim is not a payment');
    expect(await browser.put(`/api/order/cancel-order/${order._id}`), 200);
  });
}

/** The shop takes its money out. */
export async function withdraw(lamps, tea) {
  chapter('A withdrawal');
  const ask = (amount) => lamps.browser.post('/api/withDraw/create-withdraw-request', { amount });
  const had = await balance(lamps);
  const method = {
    bankName: 'First Bank',
    bankCountry: 'PK',
    bankSwiftCode: 'FRSTPKKA',
    bankAccountNumber: 'PK36FRST0000001123456702',
    bankHolderName: 'Bob',
    bankAddress: '2 Mall Road, Lahore',
  };
  await step('needs a bank account', async () => {
    refused(await ask(60), 400, 409);
  });
  await step('an account number of two characters is refused', async () => {
    refused(await lamps.browser.put('/api/shop/update-payment-methods', { withdrawMethod: { ...method, bankAccountNumber: '12' } }), 400);
  });
  await step('a real one is kept, and shown by its last digits', async () => {
    needs.seller(expect(await lamps.browser.put('/api/shop/update-payment-methods', { withdrawMethod: method }), 201).seller);
    const { withdrawMethod } = needs.seller(expect(await lamps.browser.get('/api/shop/getSeller'), 201).seller);
    assert.equal(withdrawMethod.bankAccountNumber.length, method.bankAccountNumber.length);
    assert.ok(withdrawMethod.bankAccountNumber.endsWith('702'));
  });
  await step('less than 50, more than there is, nothing and negative amounts are refused', async () => {
    for (const amount of ['49.99', ((had + 1) / 100).toFixed(2), '-100', -1000, 0, 'all', '', null, '60.001']) {
      refused(await ask(amount), 400, 409);
    }
    assert.equal(await balance(lamps), had);
  });
  await step('of 60, typed: the balance falls by it', async () => {
    const { withdraw: paid } = expect(await ask('60'), 201);
    assert.deepEqual([paid.amount, paid.status], [60, 'Processing']);
    assert.deepEqual(paid.seller, { _id: lamps.id, name: lamps.name }, 'whose it is, and no bank details');
    assert.equal(await balance(lamps), had - 6000);
  });
  await step('is listed, for its shop alone', async () => {
    const own = expect(await lamps.browser.get('/api/withDraw/get-withdraw-requests'), 200).withdraws;
    assert.deepEqual(own.map((one) => one.amount), [60]);
    assert.deepEqual(expect(await tea.browser.get('/api/withDraw/get-withdraw-requests'), 200).withdraws, []);
  });
  await step('the bank account is forgotten', async () => {
    assert.equal(expect(await lamps.browser.delete('/api/shop/delete-withdraw-method'), 201).seller.withdrawMethod, null);
    refused(await ask(50), 400, 409);
  });
}
