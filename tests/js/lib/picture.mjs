// Real pictures. Either photographs from the directory SOUK_IMAGES, or PNG files drawn here.

import { readdirSync, readFileSync } from 'node:fs';
import { extname, join } from 'node:path';
import { deflateSync } from 'node:zlib';

const TYPES = { '.png': 'image/png', '.jpg': 'image/jpeg', '.jpeg': 'image/jpeg', '.webp': 'image/webp', '.gif': 'image/gif' };

const photographs = process.env.SOUK_IMAGES
  ? readdirSync(process.env.SOUK_IMAGES)
      .filter((name) => TYPES[extname(name).toLowerCase()])
      .sort()
      .map((name) => join(process.env.SOUK_IMAGES, name))
  : [];

let taken = 0;

/** The next picture: its bytes, a file name and a media type. No two drawn ones are alike. */
export function picture(name) {
  taken += 1;
  if (photographs.length > 0) {
    const path = photographs[taken % photographs.length];
    const ending = extname(path).toLowerCase();
    return { bytes: readFileSync(path), filename: name + ending, contentType: TYPES[ending] };
  }
  return { bytes: png(320, 240, taken), filename: `${name}.png`, contentType: 'image/png' };
}

/** A PNG file, 8-bit RGB: stripes over a colour gradient, both depending on the seed. */
export function png(width, height, seed) {
  const rows = Buffer.alloc((width * 3 + 1) * height);
  let at = 0;
  for (let y = 0; y < height; y += 1) {
    rows[at++] = 0; // this line is stored without a filter
    for (let x = 0; x < width; x += 1) {
      const stripe = (x * (seed + 1) + y * 3) % 64 < 8 ? 60 : 0;
      rows[at++] = (x * 255) / width - stripe;
      rows[at++] = (y * 255) / height - stripe;
      rows[at++] = (seed * 53) % 256;
    }
  }
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([8, 2, 0, 0, 0], 8); // 8 bits a channel, RGB, and the only defined methods
  const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  return Buffer.concat([signature, chunk('IHDR', header), chunk('IDAT', deflateSync(rows)), chunk('IEND', Buffer.alloc(0))]);
}

/** The check sum of PNG chunks; Node has it only since 20.15. */
function crc32(bytes) {
  let crc = ~0;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit += 1) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ~crc >>> 0;
}

function chunk(type, data) {
  const body = Buffer.concat([Buffer.from(type, 'latin1'), data]);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(data.length);
  const check = Buffer.alloc(4);
  check.writeUInt32BE(crc32(body));
  return Buffer.concat([length, body, check]);
}
