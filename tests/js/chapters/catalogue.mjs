// Shops fill their shelves and announce events; everybody looks around.

import assert from 'node:assert/strict';

import { expect, form, refused } from '../lib/browser.mjs';
import * as needs from '../lib/needs.mjs';
import { picture } from '../lib/picture.mjs';
import { chapter, step } from '../lib/steps.mjs';
import { until } from '../lib/wait.mjs';
import { loadsPicture } from './accounts.mjs';

const DAY = 86_400_000;

/** Midnight UTC so many days from now, as the date fields of the form give it. */
function day(offset) {
  return new Date(Math.floor(Date.now() / DAY) * DAY + offset * DAY).toISOString();
}

/** The product form. */
export function productForm(seller, { name, price, stock, originalPrice, pictures = 1 }) {
  const files = Array.from({ length: pictures }, (_, at) => ['images', picture(`${name}-${at}`)]);
  return form(files, {
    name,
    description: `${name}, carefully made.`,
    category: 'Others',
    tags: 'made, by, hand',
    originalPrice,
    discountPrice: price,
    stock,
    shopeId: seller.id,
  });
}

/** Finds a listing among those that everybody sees. */
export async function listed(browser, id, kind = 'product') {
  const path = kind === 'product' ? '/api/product/get-all-products' : '/api/event/get-all-events-shop';
  const found = expect(await browser.get(path), 200)[`${kind}s`].find((one) => one._id === id);
  assert.ok(found, `${kind} ${id} is not listed`);
  return needs[kind](found);
}

/** Finds a product in its shop's own list, which shows what is on the shelf. */
export async function onShelf(browser, seller, id) {
  const { products } = expect(await browser.get(`/api/product/get-all-products-shop/${seller.id}`), 200);
  const found = products.find((one) => one._id === id);
  assert.ok(found, `product ${id} is not in its shop's list`);
  return needs.product(found);
}

/** Both shops put up what the rest of the story is about. */
export async function stock(world, lamps, tea) {
  chapter('The shops put up their goods');
  const create = async (seller, details) => {
    const answer = await seller.browser.post('/api/product/create-product', productForm(seller, details));
    const product = needs.product(expect(answer, 201).product);
    assert.equal(product.discountPrice, Number(details.price));
    assert.equal(product.stock, Number(details.stock));
    assert.equal(product.sold_out, 0);
    assert.equal(product.images.length, details.pictures ?? 1);
    assert.deepEqual(product.reviews, []);
    assert.equal(product.shop.name, seller.name);
    for (const image of product.images) await loadsPicture(seller.browser, image.url);
    return product;
  };
  const lamp = await step('a lamp with two pictures', () =>
    create(lamps, { name: 'Brass lamp', price: '49.90', originalPrice: '60', stock: '12', pictures: 2 }),
  );
  const shade = await step('a shade, with no original price: the text "undefined"', () =>
    create(lamps, { name: 'Paper shade', price: '19.65', originalPrice: undefined, stock: '5' }),
  );
  const leaves = await step('tea, of the other shop', () =>
    create(tea, { name: 'Green tea', price: '7.35', originalPrice: '8', stock: '40' }),
  );
  const crate = await step('a product whose form was sent by a page that reloaded at once', async () => {
    await tea.browser.postAndLeave('/api/product/create-product', productForm(tea, { name: 'Tea crate', price: '3', originalPrice: '4', stock: '2' }));
    return until('the product of the page that left', async () => {
      const { products } = expect(await tea.browser.get(`/api/product/get-all-products-shop/${tea.id}`), 200);
      return products.find((one) => one.name === 'Tea crate');
    });
  });
  await step('nothing without a picture, without a price or with free text as stock', async () => {
    const before = expect(await tea.browser.get(`/api/product/get-all-products-shop/${tea.id}`), 200).products.length;
    const bad = [
      { name: 'Bare', price: '5', stock: '1', pictures: 0 },
      { name: 'Free', price: 'undefined', stock: '1' },
      { name: 'Many', price: '5', stock: 'plenty' },
    ];
    for (const details of bad) {
      refused(await tea.browser.post('/api/product/create-product', productForm(tea, details)), 400);
    }
    const after = expect(await tea.browser.get(`/api/product/get-all-products-shop/${tea.id}`), 200).products.length;
    assert.equal(after, before);
  });
  const week = await step('an event that runs', async () => {
    const files = [['images', picture('tea-week')]];
    const fields = {
      name: 'Tea week',
      description: 'All tea, one week.',
      category: 'Others',
      tags: 'tea',
      originalPrice: '15',
      discountPrice: '12.45',
      stock: '20',
      shopeId: tea.id,
      start_date: day(0),
      end_date: day(7),
    };
    const event = needs.event(expect(await tea.browser.post('/api/event/create-event', form(files, fields)), 201).event);
    assert.equal(event.status, 'Running');
    assert.equal(event.end_date, fields.end_date);
    return event;
  });
  await step('a price is corrected, and a picture added and removed', async () => {
    const path = `/api/product/update-product/${crate._id}`;
    const cheaper = expect(await tea.browser.put(path, { discountPrice: '2.5' }), 200).product;
    assert.equal(needs.product(cheaper).discountPrice, 2.5);
    const two = needs.product(expect(await tea.browser.put(path, form([['images', picture('more')]], {})), 200).product);
    assert.equal(two.images.length, 2);
    const kept = two.images[1].public_id;
    const one = needs.product(expect(await tea.browser.put(path, { keepImages: [kept] }), 200).product);
    assert.deepEqual(one.images.map((image) => image.public_id), [kept]);
    refused(await tea.browser.put(path, { keepImages: [] }), 400);
    refused(await lamps.browser.put(path, { discountPrice: '1' }), 403, 404);
  });
  return { lamp, shade, leaves, crate, week };
}

/** Home page, product page, shop page. */
export async function browse(visitor, lamps, goods) {
  chapter('Everybody looks around');
  await step('the home page: every product and event has what the client reads', async () => {
    const { products } = expect(await visitor.get('/api/product/get-all-products'), 200);
    products.forEach(needs.product);
    const { events } = expect(await visitor.get('/api/event/get-all-events-shop'), 200);
    events.forEach(needs.event);
    for (const one of [goods.lamp, goods.shade, goods.leaves]) assert.ok(products.some((product) => product._id === one._id));
    assert.ok(events.some((event) => event._id === goods.week._id));
  });
  await step('the second look costs nothing: 304', async () => {
    const first = await visitor.get('/api/product/get-all-products');
    const again = await visitor.get('/api/product/get-all-products', { 'If-None-Match': first.headers.etag });
    assert.equal(again.status, 304);
  });
  await step('the product page: the lamp, its shop, the description under both spellings', async () => {
    const { product } = expect(await visitor.get(`/api/product/get-product/${goods.lamp._id}`), 200);
    needs.product(product);
    assert.equal(product.shop.desciption, product.shop.description);
    assert.ok(product.shop.description.length > 0);
  });
  await step('the event page', async () => {
    needs.event(expect(await visitor.get(`/api/event/get-event/${goods.week._id}`), 200).event);
  });
  await step('the shop page: its public side, its goods, its events', async () => {
    const page = needs.shopPage(expect(await visitor.get(`/api/shop/get-shop-info/${lamps.id}`), 200).sellerInfo);
    assert.equal(page.name, lamps.name);
    const { products } = expect(await visitor.get(`/api/product/get-all-products-shop/${lamps.id}`), 200);
    assert.deepEqual(products.map((product) => product._id).sort(), [goods.lamp._id, goods.shade._id].sort());
    assert.deepEqual(expect(await visitor.get(`/api/event/get-all-events-shop/${lamps.id}`), 200).events, []);
  });
  await step('nothing of it is theirs to change', async () => {
    refused(await visitor.put(`/api/product/update-product/${goods.lamp._id}`, { discountPrice: '1' }), 401);
    refused(await visitor.put('/api/shop/updateSellerInfo', { name: 'Mine' }), 401);
    refused(await visitor.post('/api/coupan/create-coupan', { name: 'MINE', value: '99' }), 401);
  });
}

/** What is not sold any more goes. */
export async function clear(tea, goods) {
  chapter('A shop clears out');
  await step('deletes a product, by a page that does not wait', async () => {
    expect(await tea.browser.delete(`/api/product/delete-shop-product/${goods.crate._id}`), 200);
    const { products } = expect(await tea.browser.get(`/api/product/get-all-products-shop/${tea.id}`), 200);
    assert.ok(!products.some((one) => one._id === goods.crate._id));
    refused(await tea.browser.get(`/api/product/get-product/${goods.crate._id}`), 404);
    refused(await tea.browser.delete(`/api/product/delete-shop-product/${goods.crate._id}`), 404);
  });
  await step('deletes its event', async () => {
    expect(await tea.browser.delete(`/api/event/delete-shop-event/${goods.week._id}`), 200);
    assert.deepEqual(expect(await tea.browser.get(`/api/event/get-all-events-shop/${tea.id}`), 200).events, []);
  });
}
