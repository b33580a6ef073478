//! Random carts, paid in every way: what the shops' orders come to is what the buyer was charged.

use std::collections::HashMap;

use anyhow::Context as _;
use bson::doc;
use futures_util::{StreamExt as _, TryStreamExt as _};
use reqwest::Method;
use serde_json::{Value, json};
use shared::{
    id::Id,
    model::{Coupon, CouponSeller, Kind, Listing, Order, Payment, Shop},
    money::{Money, Percent},
};

use super::{
    chance::Chance,
    client::{Answer, Api, Buyer, in_cash, send},
    stage::Stage,
    verdict::{Differences, Report, Tally, grouped},
};

const SHOPS: usize = 5;
const PRODUCTS_A_SHOP: usize = 6;
const BUYERS: usize = 16;
/// So many checkouts are under way at a time.
const AT_ONCE: usize = 16;
/// The scratch servers' settings.
const SHIPPING: Percent = Percent::whole(10);

/// What is on sale, and for how much less.
struct Market {
    goods: Vec<Good>,
    coupons: Vec<Coupon>,
}

#[derive(Clone)]
struct Good {
    id: Id<Listing>,
    shop: Id<Shop>,
    price: Money,
}

/// One checkout as it was sent.
struct Checkout {
    body: Value,
    /// What it must come to, within a cent; exactly, where it was paid before.
    right: Money,
    /// To the cent, where the buyer's browser or the card's payment says it.
    charged: Option<Money>,
    by_card: bool,
}

/// Places random carts and adds up.
pub(super) async fn sums(stage: &Stage, carts: u64, chance: &Chance) -> anyhow::Result<Report> {
    let apis = stage.apis();
    let buyers = stage.buyers(BUYERS).await?;
    let market = market(stage, &mut chance.fork(0)).await?;
    let calls = (0..carts).map(|number| {
        let mut chance = chance.fork(number.wrapping_add(1));
        let (apis, buyers, market) = (&apis, &buyers, &market);
        async move {
            let (api, buyer) = (chance.pick(apis)?, chance.pick(buyers)?);
            let checkout = checkout(api, buyer, market, &mut chance).await?;
            let key = format!("cart-{number}");
            let answer = send(api.create_order(buyer, Some(&key), &checkout.body)).await?;
            anyhow::Ok((checkout, answer))
        }
    });
    let mut placed = futures_util::stream::iter(calls).buffer_unordered(AT_ONCE);
    let (mut tally, mut differences) = (Tally::default(), Differences::default());
    let mut charged: HashMap<String, Money> = HashMap::new();
    let (mut with_coupon, mut by_card) = (0_u64, 0_u64);
    while let Some(outcome) = placed.next().await {
        let (checkout, answer) = outcome?;
        tally.add(&answer);
        if answer.status == 201 {
            let (id, total, discounted) = judge_answer(&mut differences, &checkout, &answer)?;
            charged.insert(id, total);
            with_coupon = with_coupon.saturating_add(u64::from(discounted));
            by_card = by_card.saturating_add(u64::from(checkout.by_card));
        } else {
            differences.note(format!("a cart was refused: {} for {}", answer.text, checkout.body));
        }
    }
    drop(placed);
    stored(stage, &charged, &mut differences).await?;
    differences.audit(&stage.db, "afterwards").await?;
    let ran = format!(
        "{} carts of up to {SHOPS} shops, {} with a coupon, {} by card: {} order sets add up, {} failed",
        grouped(carts),
        grouped(with_coupon),
        grouped(by_card),
        grouped(charged.len()),
        tally.failures(),
    );
    Ok(Report { ran, differences })
}

/// Shops with awkward prices and awkward coupons.
async fn market(stage: &Stage, chance: &mut Chance) -> anyhow::Result<Market> {
    let (mut goods, mut coupons) = (Vec::new(), Vec::new());
    for seller in stage.sellers(SHOPS).await? {
        for kind in [Kind::Product, Kind::Product, Kind::Event] {
            let prices: Vec<(i64, i64)> = (0..PRODUCTS_A_SHOP / 3)
                .map(|_| {
                    (
                        if chance.one_in(3) { chance.between(1, 99) } else { chance.between(100, 99_999) },
                        1_000_000,
                    )
                })
                .collect();
            let ids = stage.listings(kind, &seller, &prices).await?;
            goods.extend(ids.into_iter().zip(prices).map(|(id, (minor, _))| Good {
                id,
                shop: seller.id,
                price: Money::from_minor(minor),
            }));
        }
        coupons.push(Coupon {
            id: Id::new(),
            name: format!("COUPON {}", seller.id),
            // Such as 12.35 %.
            value: Percent::from_basis_points(chance.between(1, 10_000)),
            seller: CouponSeller { id: seller.id, ..CouponSeller::default() },
            created_at: Some(stage.clock.now()),
            ..Coupon::default()
        });
    }
    stage.db.of::<Coupon>().insert_many(&coupons).await?;
    Ok(Market { goods, coupons })
}

/// Fills a cart and says what it costs in one of the ways in which clients do.
async fn checkout(
    api: &Api,
    buyer: &Buyer,
    market: &Market,
    chance: &mut Chance,
) -> anyhow::Result<Checkout> {
    let mut lines: Vec<(Good, i64)> = Vec::new();
    for _ in 0..chance.between(1, 6) {
        let count = if chance.one_in(4) { chance.between(4, 40) } else { chance.between(1, 3) };
        lines.push((chance.pick(&market.goods)?.clone(), count));
    }
    let coupon = if chance.one_in(2) {
        let (good, _) = chance.pick(&lines)?;
        market.coupons.iter().find(|coupon| coupon.seller.id == good.shop)
    } else {
        None
    };
    let amount = |shop: Option<Id<Shop>>| -> Money {
        let lines = lines.iter().filter(|(good, _)| shop.is_none_or(|shop| shop == good.shop));
        lines.map(|(good, count)| good.price.times(*count)).sum()
    };
    let subtotal = amount(None);
    let off = coupon.map_or(Money::ZERO, |coupon| amount(Some(coupon.seller.id)).percent(coupon.value));
    let right = subtotal + subtotal.percent(SHIPPING) - off;
    let cart: Vec<(Id<Listing>, i64)> = lines.iter().map(|(good, count)| (good.id, *count)).collect();
    let mut body = in_cash(&cart);
    let named = |coupon: &Coupon| json!({ "couponCode": coupon.name });
    let mut by_card = false;
    let (charged, more) = match chance.below(3) {
        // The client's screen: binary floats, and of the coupon only the lower total.
        0 => {
            let shown = browser_total(&lines, coupon);
            let text = if coupon.is_some() { json!(format!("{shown:.2}")) } else { json!(shown) };
            (Some(Money::from_number(shown)?), json!({ "totalPrice": text }))
        }
        // An integrator who names the coupon and leaves the sum to us.
        1 => (None, coupon.map_or_else(|| json!({}), named)),
        // Paid by card before: what was paid is what is charged. Cards have a least and a greatest payment.
        _ if (50..=99_999_999).contains(&right.minor()) => {
            by_card = true;
            let pay = json!({ "amount": right.minor() });
            let begun = api.request(Method::POST, "/api/stripe/process", &buyer.token).json(&pay);
            let begun = send(begun).await?.expect(200)?;
            let mut more = coupon.map_or_else(|| json!({}), named);
            if let Some(more) = more.as_object_mut() {
                let info = json!({ "type": "Credit Card", "id": begun.get("id"), "status": "succeeded" });
                more.insert("paymentInfo".to_owned(), info);
                more.insert("totalPrice".to_owned(), json!(right));
            }
            (Some(right), more)
        }
        _ => (Some(right), json!({ "totalPrice": right, "couponCode": coupon.map(|coupon| &coupon.name) })),
    };
    if let (Some(body), Value::Object(more)) = (body.as_object_mut(), more) {
        body.extend(more);
    }
    Ok(Checkout { body, right, charged, by_card })
}

/// The existing client's arithmetic, `(subtotal * 0.1).toFixed(2)` and all.
#[expect(
    clippy::float_arithmetic,
    clippy::as_conversions,
    reason = "the browser computes in binary floats, and what it sends must be what it would send"
)]
fn browser_total(lines: &[(Good, i64)], coupon: Option<&Coupon>) -> f64 {
    let amount = |(good, count): &(Good, i64)| *count as f64 * good.price.to_number();
    let subtotal: f64 = lines.iter().map(amount).sum();
    let fixed = |number: f64| format!("{number:.2}").parse().unwrap_or(number);
    let shipping = fixed(subtotal * 0.1);
    let Some(coupon) = coupon else { return subtotal + shipping };
    let eligible: f64 = lines.iter().filter(|(good, _)| good.shop == coupon.seller.id).map(amount).sum();
    fixed(subtotal + shipping - eligible * Money::from_minor(coupon.value.basis_points()).to_number() / 100.0)
}

/// Adds up what the answer says; gives the checkout's id, its total, and whether a coupon took something off.
fn judge_answer(
    differences: &mut Differences,
    checkout: &Checkout,
    answer: &Answer,
) -> anyhow::Result<(String, Money, bool)> {
    let body = answer.json()?;
    let orders = body.get("orders").and_then(Value::as_array).context("an answer without orders")?;
    let money = |order: &Value, field: &str| -> anyhow::Result<Money> {
        let value = order.get(field).with_context(|| format!("an order without {field}"))?;
        Ok(serde_json::from_value(value.clone())?)
    };
    let (mut total, mut discounted) = (Money::ZERO, false);
    for order in orders {
        let (subtotal, shipping) = (money(order, "subtotal")?, money(order, "shippingCost")?);
        let (discount, charged) = (money(order, "discount")?, money(order, "totalPrice")?);
        differences.expect("an order's parts add up to", subtotal + shipping - discount, charged);
        if charged.is_negative() {
            differences.note(format!("an order comes to {charged}: {order}"));
        }
        total += charged;
        discounted |= discount > Money::ZERO;
    }
    let charged = checkout.charged.unwrap_or(checkout.right);
    if total != charged {
        differences
            .note(format!("the orders come to {total}, and {charged} was charged for {}", checkout.body));
    }
    if total.distance(checkout.right) > Money::from_minor(1) {
        differences.note(format!("{total} was charged for what costs {}: {}", checkout.right, checkout.body));
    }
    let first = orders.first().context("an answer without an order")?;
    let id = first.get("checkoutId").and_then(Value::as_str).context("an order without a checkout")?;
    Ok((id.to_owned(), total, discounted))
}

/// The same from the documents: orders, and what the cards' payments were used for.
async fn stored(
    stage: &Stage,
    charged: &HashMap<String, Money>,
    differences: &mut Differences,
) -> anyhow::Result<()> {
    let mut sums: HashMap<String, Money> = HashMap::new();
    let mut orders = stage.db.of::<Order>().find(doc! {}).await?;
    while let Some(order) = orders.try_next().await? {
        *sums.entry(order.checkout_id.unwrap_or_default()).or_default() += order.total;
    }
    let mut payments = stage.db.of::<Payment>().find(doc! {}).await?;
    while let Some(payment) = payments.try_next().await? {
        let sum = sums.get(payment.checkout_id.as_deref().unwrap_or_default()).copied().unwrap_or_default();
        differences.expect(
            format!("the orders paid by {} come to", payment.id),
            sum,
            Money::from_minor(payment.minor),
        );
    }
    differences.expect("order sets in the database", sums.len(), charged.len());
    for (id, charged) in charged {
        let sum = sums.get(id).copied().unwrap_or_default();
        differences.expect(format!("the stored orders of checkout {id} come to"), sum, *charged);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(total: &str, charged: Option<i64>, right: i64, second: &str) -> bool {
        let checkout = Checkout {
            body: Value::Null,
            right: Money::from_minor(right),
            charged: charged.map(Money::from_minor),
            by_card: false,
        };
        let text = format!(
            r#"{{"orders":[{{"checkoutId":"a","subtotal":10,"shippingCost":1,"discount":0.5,"totalPrice":{total}}},{second}]}}"#
        );
        let mut differences = Differences::default();
        judge_answer(&mut differences, &checkout, &Answer { status: 201, text }).unwrap();
        differences.is_empty()
    }

    #[test]
    fn a_cent_too_much_or_too_little_is_seen() {
        let second = r#"{"checkoutId":"a","subtotal":2,"shippingCost":0.2,"discount":0,"totalPrice":2.2}"#;
        assert!(judged("10.5", Some(1270), 1270, second));
        assert!(judged("10.5", None, 1270, second));
        // What the browser shows may be a cent off; then that is what is charged.
        assert!(judged("10.5", Some(1270), 1271, second));
        assert!(!judged("10.5", Some(1271), 1271, second));
        assert!(!judged("10.5", None, 1271, second));
        assert!(!judged("10.5", Some(1270), 1272, second));
        assert!(!judged("10.51", Some(1271), 1271, second));
    }

    #[test]
    fn the_browsers_total_is_the_one_that_it_would_show() {
        let shop = Id::new();
        let good = |minor| Good { id: Id::new(), shop, price: Money::from_minor(minor) };
        let lines = [(good(1999), 3), (good(5), 1)];
        let coupon = Coupon {
            value: Percent::whole(15),
            seller: CouponSeller { id: shop, ..CouponSeller::default() },
            ..Coupon::default()
        };
        assert_eq!(format!("{:.4}", browser_total(&lines, None)), "66.0200");
        assert_eq!(format!("{:.4}", browser_total(&lines, Some(&coupon))), "57.0200");
    }
}
