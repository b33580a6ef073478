// What the existing client's screens read without a guard. It has no error boundary: where one of
// these fails, the whole page turns blank.

import assert from 'node:assert/strict';

const ID = /^[0-9a-f]{24}$/;
const ISO = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;
const STATUSES = [
  'Processing',
  'Transferred to delivery partner',
  'Shipping',
  'Received',
  'On the way',
  'Delivered',
  'Refund Processing',
  'Refund Success',
];

/** What belongs to one person and is nobody else's business. */
const PRIVATE = ['email', 'addresses', 'withdrawMethod', 'availableBalance', 'transections', 'role', 'zipCode'];

const number = (value, what) => assert.ok(typeof value === 'number' && Number.isFinite(value), `${what}: ${JSON.stringify(value)}`);
const text = (value, what) => assert.equal(typeof value, 'string', `${what}: ${JSON.stringify(value)}`);
const id = (value, what) => assert.match(value ?? '', ID, what);
const date = (value, what) => assert.match(value ?? '', ISO, what);
const list = (value, what) => assert.ok(Array.isArray(value), `${what}: ${JSON.stringify(value)}`);
const address = (value, what) => assert.match(value ?? '', /^https?:\/\/.+/, what);

function avatar(value, what) {
  assert.ok(value && typeof value === 'object', `${what} is missing`);
  address(value.url, `${what}.url`);
}

function pictures(images, what) {
  list(images, what);
  assert.ok(images.length > 0, `${what} is empty`);
  images.forEach((image, at) => address(image.url, `${what}[${at}].url`));
}

/** One's own account. */
export function user(value) {
  id(value._id, 'user._id');
  text(value.name, 'user.name');
  text(value.email, 'user.email');
  assert.equal(value.role, 'user');
  if ('phoneNumber' in value) number(value.phoneNumber, 'user.phoneNumber');
  list(value.addresses, 'user.addresses');
  for (const place of value.addresses) {
    id(place._id, 'address._id');
    for (const field of ['country', 'city', 'address1', 'address2', 'addressType']) text(place[field], `address.${field}`);
    if ('zipCode' in place) number(place.zipCode, 'address.zipCode');
  }
  avatar(value.avatar, 'user.avatar');
  date(value.createdAt, 'user.createdAt');
  return value;
}

/** One's own shop. */
export function seller(value) {
  id(value._id, 'seller._id');
  for (const field of ['name', 'email', 'address']) text(value[field], `seller.${field}`);
  for (const field of ['phoneNumber', 'zipCode', 'availableBalance']) number(value[field], `seller.${field}`);
  assert.equal(value.role, 'seller');
  list(value.transections, 'seller.transections');
  avatar(value.avatar, 'seller.avatar');
  if (value.withdrawMethod) {
    text(value.withdrawMethod.bankName, 'withdrawMethod.bankName');
    text(value.withdrawMethod.bankAccountNumber, 'withdrawMethod.bankAccountNumber');
    assert.ok(value.withdrawMethod.bankAccountNumber.length >= 3, 'a short account number blanks the page');
  }
  return value;
}

/** A shop as it is embedded elsewhere. */
export function shop(value, what = 'shop') {
  assert.ok(value && typeof value === 'object', `${what} is missing`);
  id(value._id, `${what}._id`);
  text(value.name, `${what}.name`);
  avatar(value.avatar, `${what}.avatar`);
  for (const field of PRIVATE) assert.ok(!(field in value), `${what} shows ${field}`);
  return value;
}

/** A shop's public page; the balance is checked where it is looked at. */
export function shopPage(value) {
  const { availableBalance, ...rest } = value;
  if (availableBalance !== undefined) number(availableBalance, 'sellerInfo.availableBalance');
  shop(rest, 'sellerInfo');
  date(value.createdAt, 'sellerInfo.createdAt');
  return value;
}

function listing(value, what) {
  id(value._id, `${what}._id`);
  for (const field of ['name', 'description', 'category', 'tags']) text(value[field], `${what}.${field}`);
  if (value.originalPrice !== undefined && value.originalPrice !== null) number(value.originalPrice, `${what}.originalPrice`);
  for (const field of ['discountPrice', 'sold_out', 'stock', 'available']) number(value[field], `${what}.${field}`);
  pictures(value.images, `${what}.images`);
  id(value.shopeId, `${what}.shopeId`);
  shop(value.shop, `${what}.shop`);
  assert.equal(value.shop._id, value.shopeId, `${what} is of two shops`);
  date(value.createdAt, `${what}.createdAt`);
}

/** A product, wherever it is shown. */
export function product(value) {
  listing(value, 'product');
  list(value.reviews, 'product.reviews');
  for (const review of value.reviews) {
    id(review._id, 'review._id');
    text(review.user?.name, 'review.user.name');
    avatar(review.user.avatar, 'review.user.avatar');
    number(review.rating, 'review.rating');
    text(review.comment, 'review.comment');
    assert.deepEqual(Object.keys(review.user).filter((key) => !['name', 'avatar'].includes(key)), [], 'a review says who wrote it, and no more');
  }
  if (value.rating !== undefined && value.rating !== null) number(value.rating, 'product.rating');
  return value;
}

/** An event, wherever it is shown. */
export function event(value) {
  listing(value, 'event');
  date(value.start_date, 'event.start_date');
  date(value.end_date, 'event.end_date');
  assert.ok(['Upcoming', 'Running', 'Ended'].includes(value.status), `event.status: ${value.status}`);
  return value;
}

/** An order, in any table and on any detail page. */
export function order(value) {
  id(value._id, 'order._id');
  list(value.cart, 'order.cart');
  assert.ok(value.cart.length > 0, 'order.cart is empty');
  for (const item of value.cart) {
    id(item._id, 'cart._id');
    text(item.name, 'cart.name');
    number(item.discountPrice, 'cart.discountPrice');
    assert.ok(Number.isInteger(item.count) && item.count >= 1, `cart.count: ${JSON.stringify(item.count)}`);
    pictures(item.images, 'cart.images');
    if (item.shop) shop(item.shop, 'cart.shop');
  }
  number(value.totalPrice, 'order.totalPrice');
  assert.ok([...STATUSES, 'Cancelled'].includes(value.status), `order.status: ${value.status}`);
  for (const field of ['address1', 'address2', 'city', 'country']) text(value.shippingAddress?.[field], `shippingAddress.${field}`);
  assert.ok(value.user && typeof value.user === 'object', 'order.user is missing');
  for (const field of ['email', 'addresses']) assert.ok(!(field in value.user), `order.user shows ${field}`);
  date(value.createdAt, 'order.createdAt');
  return value;
}

/** A coupon. */
export function coupon(value) {
  id(value._id, 'coupon._id');
  text(value.name, 'coupon.name');
  number(value.value, 'coupon.value');
  for (const field of ['minAmount', 'maxAmount']) if (value[field] !== null) number(value[field], `coupon.${field}`);
  shop(value.seller, 'coupon.seller');
  return value;
}

/** A conversation, in either inbox. */
export function conversation(value) {
  id(value._id, 'conversation._id');
  text(value.groupTitle, 'conversation.groupTitle');
  list(value.members, 'conversation.members');
  assert.equal(value.members.length, 2);
  value.members.forEach((member) => id(member, 'conversation.members'));
  // Absent, it shows as "undefined:" in the list.
  assert.ok('lastMessageId' in value, 'conversation.lastMessageId is absent');
  date(value.createdAt, 'conversation.createdAt');
  date(value.updatedAt, 'conversation.updatedAt');
  return value;
}

/** A stored message. */
export function message(value) {
  for (const field of ['_id', 'conversationId', 'sender']) id(value[field], `message.${field}`);
  text(value.text, 'message.text');
  if (value.images !== undefined && value.images !== null) address(value.images.url, 'message.images.url');
  date(value.createdAt, 'message.createdAt');
  return value;
}
