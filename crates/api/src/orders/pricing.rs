//! What a cart costs: pure arithmetic in whole cents.
//!
//! The existing client computes its total in binary floats over the whole cart and sends no coupon,
//! only a lowered total. So a total within a cent of ours is ours, a lower one is explained by the
//! one coupon that leads to it, and a higher one is lowered.

use shared::{
    id::Id,
    model::{Coupon, Listing, Shop},
    money::{Money, Percent},
};

use crate::coupons::discount::{self, NotApplicable};

/// One line: a listing as the database has it, and how many.
#[derive(Clone, Debug)]
pub struct Line {
    /// The listing.
    pub listing: Listing,
    /// At least one.
    pub count: i64,
}

impl Line {
    fn amount(&self) -> Money {
        self.listing.price.times(self.count)
    }

    fn seen_by_coupon(&self) -> discount::Line<'_> {
        discount::Line { shop: self.listing.shop_id, name: &self.listing.name, amount: self.amount() }
    }
}

/// What one shop's order costs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShopShare {
    /// The shop.
    pub shop: Id<Shop>,
    /// Its lines, by position in the cart.
    pub lines: Vec<usize>,
    /// Sum of the lines.
    pub subtotal: Money,
    /// Shipping, with the rounding difference of the checkout if this order bears it.
    pub shipping: Money,
    /// What the coupon takes off.
    pub discount: Money,
    /// `subtotal + shipping - discount`.
    pub total: Money,
    /// What of the total is for each line, in the order of `lines`: what goes back with it.
    pub paid: Vec<Money>,
}

/// What a checkout costs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quote {
    /// One order a shop, in the order in which the cart first names them.
    pub shares: Vec<ShopShare>,
    /// Their totals' sum: what the buyer pays.
    pub total: Money,
    /// The coupon that was applied: its position among the candidates.
    pub coupon: Option<usize>,
}

/// What the buyer's client says about the price.
#[derive(Clone, Copy, Debug, Default)]
pub struct Claim {
    /// The total on the buyer's screen, where that was a number.
    pub total: Option<Money>,
    /// The buyer named a coupon: it is the only candidate, and must apply.
    pub coupon_named: bool,
    /// Without a total, ours may be charged: nothing has been paid yet.
    pub total_may_be_missing: bool,
}

/// Why a cart has no price.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoQuote {
    /// The named coupon does not exist.
    UnknownCoupon,
    /// The named coupon takes nothing off this cart.
    CouponDoesNotApply(NotApplicable),
    /// The claimed total is below the right one, and no coupon explains it.
    TotalTooLow {
        /// What it costs.
        right: Money,
    },
    /// A total is needed, since it has been paid already.
    TotalMissing {
        /// What it costs.
        right: Money,
    },
    /// Beyond any amount that can be kept.
    TooLarge,
}

/// The client rounds differently; more than this is another total.
const TOLERANCE: Money = Money::from_minor(1);

/// Prices a cart. `coupons` are the candidates, oldest first.
pub fn quote(lines: &[Line], shipping: Percent, coupons: &[Coupon], claim: Claim) -> Result<Quote, NoQuote> {
    let mut shares = by_shop(lines, shipping);
    let subtotal: Money = shares.iter().map(|share| share.subtotal).sum();
    // Like the client: shipping of the whole cart, rounded once.
    let full = subtotal + subtotal.percent(shipping);
    if full > Money::MAX {
        return Err(NoQuote::TooLarge);
    }
    let (coupon, discount) = pick_coupon(lines, coupons, full, claim)?;
    let right = full - discount;
    let total = match claim.total {
        Some(claimed) if claimed.distance(right) <= TOLERANCE => claimed,
        Some(claimed) if claimed > right => right,
        Some(_) => return Err(NoQuote::TotalTooLow { right }),
        None if claim.total_may_be_missing => right,
        None => return Err(NoQuote::TotalMissing { right }),
    };
    if let Some(coupon) = coupon.and_then(|i| coupons.get(i)) {
        for share in shares.iter_mut().filter(|share| share.shop == coupon.seller.id) {
            share.discount = discount;
            share.total -= discount;
        }
    }
    settle(&mut shares, total);
    let coupon_used = coupon.and_then(|i| coupons.get(i));
    for share in &mut shares {
        share.paid = paid_by_line(share, lines, coupon_used);
    }
    Ok(Quote { shares, total, coupon })
}

fn by_shop(lines: &[Line], shipping: Percent) -> Vec<ShopShare> {
    let mut shares: Vec<ShopShare> = Vec::new();
    for (position, line) in lines.iter().enumerate() {
        match shares.iter_mut().find(|share| share.shop == line.listing.shop_id) {
            Some(share) => {
                share.lines.push(position);
                share.subtotal += line.amount();
            }
            None => shares.push(ShopShare {
                shop: line.listing.shop_id,
                lines: vec![position],
                subtotal: line.amount(),
                shipping: Money::ZERO,
                discount: Money::ZERO,
                total: Money::ZERO,
                paid: Vec::new(),
            }),
        }
    }
    for share in &mut shares {
        share.shipping = share.subtotal.percent(shipping);
        share.total = share.subtotal + share.shipping;
    }
    shares
}

/// The coupon that was named, or the one that explains the claimed total best.
fn pick_coupon(
    lines: &[Line],
    coupons: &[Coupon],
    full: Money,
    claim: Claim,
) -> Result<(Option<usize>, Money), NoQuote> {
    let seen: Vec<discount::Line<'_>> = lines.iter().map(Line::seen_by_coupon).collect();
    if claim.coupon_named {
        let coupon = coupons.first().ok_or(NoQuote::UnknownCoupon)?;
        let off = discount::of(coupon, &seen).map_err(NoQuote::CouponDoesNotApply)?;
        return Ok((Some(0), off));
    }
    let Some(claimed) = claim.total.filter(|claimed| *claimed < full && claimed.distance(full) > TOLERANCE)
    else {
        return Ok((None, Money::ZERO));
    };
    coupons
        .iter()
        .enumerate()
        .filter_map(|(i, coupon)| Some((i, discount::of(coupon, &seen).ok()?)))
        .filter(|(_, off)| (full - *off).distance(claimed) <= TOLERANCE)
        .min_by_key(|(i, off)| ((full - *off).distance(claimed), *i))
        .map(|(i, off)| (Some(i), off))
        .ok_or(NoQuote::TotalTooLow { right: full })
}

/// Makes the shares' totals add up to the charged total. The difference is a matter of cents; the
/// last order bears it, as part of its shipping, but no order's total falls below zero.
fn settle(shares: &mut [ShopShare], total: Money) {
    let mut rest = total - shares.iter().map(|share| share.total).sum::<Money>();
    for share in shares.iter_mut().rev() {
        let borne = rest.max(-share.total);
        share.shipping += borne;
        share.total += borne;
        rest -= borne;
    }
}

/// Divides a share's total among its lines: each pays its price less its part of the coupon, and its
/// part of the shipping.
fn paid_by_line(share: &ShopShare, lines: &[Line], coupon: Option<&Coupon>) -> Vec<Money> {
    let lines: Vec<&Line> = share.lines.iter().filter_map(|i| lines.get(*i)).collect();
    let amounts: Vec<Money> = lines.iter().map(|line| line.amount()).collect();
    let eligible: Vec<Money> = lines
        .iter()
        .map(|line| match coupon {
            Some(coupon) if discount::is_eligible(coupon, &line.seen_by_coupon()) => line.amount(),
            _ => Money::ZERO,
        })
        .collect();
    let off = if share.discount == Money::ZERO {
        vec![Money::ZERO; amounts.len()]
    } else {
        share.discount.split(&eligible)
    };
    let net: Vec<Money> = amounts.iter().zip(off).map(|(amount, off)| *amount - off).collect();
    // A coupon over everything leaves the shipping, which goes by the prices.
    let is_free = net.iter().all(|net| *net == Money::ZERO);
    share.total.split(if is_free { &amounts } else { &net })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cents(minor: i64) -> Money {
        Money::from_minor(minor)
    }

    fn line(shop: Id<Shop>, price: i64, count: i64) -> Line {
        Line { listing: Listing { shop_id: shop, price: cents(price), ..Listing::default() }, count }
    }

    fn coupon(shop: Id<Shop>, percent: i64) -> Coupon {
        let mut coupon = Coupon { value: Percent::whole(percent), ..Coupon::default() };
        coupon.seller.id = shop;
        coupon
    }

    fn claim(minor: i64) -> Claim {
        Claim { total: Some(cents(minor)), ..Claim::default() }
    }

    const TEN: Percent = Percent::whole(10);

    fn totals(quote: &Quote) -> Vec<i64> {
        quote.shares.iter().map(|share| share.total.minor()).collect()
    }

    #[test]
    fn one_order_a_shop_and_the_sum_is_the_total() {
        let (a, b) = (Id::new(), Id::new());
        // Shipping is 0.02 for each alone and 0.03 for both: the last order bears the difference.
        let lines = [line(a, 5, 1), line(b, 15, 1), line(a, 5, 2)];
        let quote = quote(&lines, TEN, &[], claim(33)).unwrap();
        assert_eq!(quote.total, cents(33));
        assert_eq!(totals(&quote), [17, 16]);
        assert_eq!(quote.shares[0].lines, [0, 2]);
    }

    #[test]
    fn a_cent_off_is_the_clients_rounding_and_is_what_is_charged() {
        let lines = [line(Id::new(), 1000, 1)];
        for (claimed, charged) in [(1099, 1099), (1101, 1101), (1102, 1100), (99_999, 1100)] {
            assert_eq!(quote(&lines, TEN, &[], claim(claimed)).unwrap().total, cents(charged));
        }
        assert_eq!(quote(&lines, TEN, &[], claim(1098)), Err(NoQuote::TotalTooLow { right: cents(1100) }));
    }

    #[test]
    fn a_lowered_total_finds_the_coupon_that_explains_it() {
        let (a, b) = (Id::new(), Id::new());
        let lines = [line(a, 1999, 1), line(b, 5000, 1)];
        // 69.99 + 7.00 = 76.99, less 20 % of 19.99 (4.00) = 72.99.
        let coupons = [coupon(b, 20), coupon(a, 10), coupon(a, 20)];
        let quote = quote(&lines, TEN, &coupons, claim(7299)).unwrap();
        assert_eq!((quote.coupon, quote.total), (Some(2), cents(7299)));
        assert_eq!(quote.shares[0].discount, cents(400));
        assert_eq!(totals(&quote), [1799, 5500]);
    }

    #[test]
    fn a_named_coupon_must_exist_and_apply() {
        let shop = Id::new();
        let lines = [line(shop, 1000, 1)];
        let named = Claim { coupon_named: true, total_may_be_missing: true, total: None };
        assert_eq!(quote(&lines, TEN, &[], named), Err(NoQuote::UnknownCoupon));
        assert_eq!(
            quote(&lines, TEN, &[coupon(Id::new(), 10)], named),
            Err(NoQuote::CouponDoesNotApply(NotApplicable::NoEligibleLine))
        );
        assert_eq!(quote(&lines, TEN, &[coupon(shop, 10)], named).unwrap().total, cents(1000));
    }

    #[test]
    fn a_missing_total_is_ours_on_delivery_only() {
        let lines = [line(Id::new(), 1000, 1)];
        let on_delivery = Claim { total_may_be_missing: true, ..Claim::default() };
        assert_eq!(quote(&lines, TEN, &[], on_delivery).unwrap().total, cents(1100));
        assert_eq!(
            quote(&lines, TEN, &[], Claim::default()),
            Err(NoQuote::TotalMissing { right: cents(1100) })
        );
    }

    #[test]
    fn what_could_not_be_read_back_is_not_sold() {
        let on_delivery = Claim { total_may_be_missing: true, ..Claim::default() };
        for lines in [
            [line(Id::new(), 100_000_000_000_000, 10_000), line(Id::new(), 100_000_000_000_000, 2_000_000)],
            [line(Id::new(), 100_000_000_000_000, 1), line(Id::new(), 1, 1)],
        ] {
            assert_eq!(quote(&lines, TEN, &[], on_delivery), Err(NoQuote::TooLarge));
        }
    }

    #[test]
    fn no_share_falls_below_zero_for_the_sake_of_a_cent() {
        let (a, b) = (Id::new(), Id::new());
        let lines = [line(a, 1000, 1), line(b, 1, 1)];
        let coupons = [coupon(b, 100)];
        // 10.01 + 1.00 = 11.01, less 0.01 = 11.00; the claim is a cent below.
        let quote = quote(&lines, TEN, &coupons, claim(1099)).unwrap();
        assert_eq!(totals(&quote).iter().sum::<i64>(), 1099);
        assert!(quote.shares.iter().all(|share| !share.total.is_negative()));
    }

    #[test]
    fn shares_always_add_up() {
        let shops: Vec<Id<Shop>> = (0..5).map(|_| Id::new()).collect();
        let mut seed = 7u64;
        let mut random = |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            i64::try_from((seed >> 33) % below).unwrap()
        };
        for _ in 0..5000 {
            let lines: Vec<Line> = (0..=random(8))
                .map(|_| line(shops[usize::try_from(random(5)).unwrap()], 1 + random(99_999), 1 + random(9)))
                .collect();
            let coupons = [coupon(shops[0], 1 + random(100))];
            let named = random(2) == 0 && lines.iter().any(|line| line.listing.shop_id == shops[0]);
            let claim = Claim { total: None, coupon_named: named, total_may_be_missing: true };
            let quote = quote(&lines, TEN, &coupons, claim).unwrap();
            assert_eq!(quote.shares.iter().map(|s| s.total).sum::<Money>(), quote.total);
            for share in &quote.shares {
                assert_eq!(share.subtotal + share.shipping - share.discount, share.total);
                assert!(!share.total.is_negative());
                assert_eq!(share.paid.len(), share.lines.len());
                assert_eq!(share.paid.iter().copied().sum::<Money>(), share.total);
                assert!(share.paid.iter().all(|paid| !paid.is_negative()));
            }
        }
    }

    #[test]
    fn a_line_pays_its_own_discount_and_its_part_of_the_shipping() {
        let shop = Id::new();
        let named = |name: &str, price, count| Line {
            listing: Listing { name: name.to_owned(), ..line(shop, price, 1).listing },
            count,
        };
        let lines = [named("cup", 1000, 2), named("pot", 2000, 1)];
        let half_off_cups = Coupon { product_name: "cup".to_owned(), ..coupon(shop, 50) };
        // 20.00 + 20.00 + 4.00 shipping - 10.00; the cups come to 10.00 and the pot to 20.00.
        let quote = quote_of(&lines, &[half_off_cups], claim(3400));
        let paid: Vec<i64> = quote.shares[0].paid.iter().map(|paid| paid.minor()).collect();
        assert_eq!(paid, [1133, 2267]);
        // Everything for nothing: what is left is the shipping, by the prices.
        let free = quote_of(&lines, &[coupon(shop, 100)], claim(400));
        let paid: Vec<i64> = free.shares[0].paid.iter().map(|paid| paid.minor()).collect();
        assert_eq!(paid, [200, 200]);
    }

    fn quote_of(lines: &[Line], coupons: &[Coupon], claim: Claim) -> Quote {
        quote(lines, TEN, coupons, claim).unwrap()
    }
}
