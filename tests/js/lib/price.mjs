// Money twice: as the client computes it, in binary floats, and as it must come out, in whole cents.

const PERCENT_SHIPPING = 10n;
const PERCENT_FEE = 10n;

/** The checkout page's arithmetic, float errors and all. `totalPrice` is a number, with a coupon a text. */
export function clientTotal(cart, coupon) {
  const subTotal = cart.reduce((sum, item) => sum + Number(item.count) * Number(item.discountPrice), 0);
  const shipping = (subTotal * 0.1).toFixed(2);
  if (!coupon) return subTotal + Number(shipping);
  const eligible = cart
    .filter((item) => item.shop._id === coupon.seller._id)
    .reduce((sum, item) => sum + item.count * item.discountPrice, 0);
  return (subTotal + Number(shipping) - (eligible * coupon.value) / 100).toFixed(2);
}

/** An amount from JSON in cents; more than two decimals are an error. */
export function cents(amount) {
  const [, sign, whole, part = ''] = /^(-?)(\d+)(?:\.(\d{1,2}))?$/.exec(String(amount)) ?? [];
  if (whole === undefined) throw new Error(`${amount} is no amount in cents`);
  return Number(`${sign}${whole}${part.padEnd(2, '0')}`);
}

/** So many per cent of an amount in cents, rounded half to even. */
export function percentOf(percent, amount) {
  const exact = BigInt(percent) * BigInt(amount);
  const [quotient, rest] = [exact / 100n, exact % 100n];
  const up = rest > 50n || (rest === 50n && quotient % 2n === 1n);
  return Number(quotient + (up ? 1n : 0n));
}

/** What one shop gets from its lines: subtotal, shipping, discount and total, in cents. */
export function shopShare(lines, couponPercent = 0) {
  const subtotal = lines.reduce((sum, { price, count }) => sum + cents(price) * count, 0);
  const shipping = percentOf(PERCENT_SHIPPING, subtotal);
  const discount = percentOf(couponPercent, subtotal);
  return { subtotal, shipping, discount, total: subtotal + shipping - discount };
}

/** What a shop is credited for a delivered order. */
export function credit(total) {
  return total - percentOf(PERCENT_FEE, total);
}
