//! Random partial refunds: of what was paid, nothing is left over and nothing is missing.

use std::sync::atomic::{AtomicI64, Ordering};

use anyhow::Context as _;
use bson::doc;
use futures_util::{TryStreamExt as _, future::try_join_all};
use reqwest::RequestBuilder;
use serde_json::{Value, json};
use shared::{
    db::Db,
    id::Id,
    ledger,
    model::{Coupon, CouponSeller, Kind, LedgerEntry, Listing, Order, RefundState, Status},
    money::{Money, Percent},
};

use super::{
    chance::Chance,
    client::{Answer, Api, Buyer, Seller, in_cash, send},
    stage::Stage,
    verdict::{Differences, Report, grouped},
};

/// So many orders are refunded at a time.
const AT_ONCE: u64 = 12;
const SHOPS: usize = 6;
const PRODUCTS_A_SHOP: usize = 6;
/// A server that is busy says so, and has changed nothing; whoever is told so this often gives up.
const BUSY: u64 = 100;

struct Market {
    apis: Vec<Api>,
    buyers: Vec<Buyer>,
    shops: Vec<Shop>,
}

struct Shop {
    seller: Seller,
    goods: Vec<(Id<Listing>, Money)>,
    coupon: Coupon,
}

/// What was done in one lane.
#[derive(Default)]
struct Done {
    orders: u64,
    refunds: u64,
    whole: u64,
    /// How often a server was too busy.
    busy: u64,
    differences: Differences,
}

/// Delivers random orders and refunds random units of them, one refund after the other.
pub(super) async fn partial(stage: &Stage, refunds: u64, chance: &Chance) -> anyhow::Result<Report> {
    let market = open(stage, &mut chance.fork(0)).await?;
    let left = AtomicI64::new(i64::try_from(refunds)?);
    let lanes = (0..AT_ONCE).map(|lane| {
        let (market, left, mut chance) = (&market, &left, chance.fork(lane + 1));
        async move {
            let mut done = Done::default();
            while left.load(Ordering::Relaxed) > 0 {
                let name = format!("{lane}-{}", done.orders);
                one_order(stage, market, &name, left, &mut chance, &mut done).await?;
                done.orders += 1;
            }
            anyhow::Ok(done)
        }
    });
    let mut all = Done::default();
    for done in try_join_all(lanes).await? {
        all.orders += done.orders;
        all.refunds += done.refunds;
        all.whole += done.whole;
        all.busy += done.busy;
        done.differences.lines().into_iter().for_each(|line| all.differences.note(line));
    }
    all.differences.audit(&stage.db, "afterwards").await?;
    let ran = format!(
        "{} refunds of units of {} orders, {} of them to the last unit: {} residue, {} times asked to try again",
        grouped(all.refunds),
        grouped(all.orders),
        grouped(all.whole),
        if all.differences.is_empty() { "no" } else { "a" },
        grouped(all.busy),
    );
    Ok(Report { ran, differences: all.differences })
}

/// Awkward prices and awkward coupons.
async fn open(stage: &Stage, chance: &mut Chance) -> anyhow::Result<Market> {
    let mut shops = Vec::new();
    for seller in stage.sellers(SHOPS).await? {
        let prices: Vec<(i64, i64)> =
            (0..PRODUCTS_A_SHOP).map(|_| (chance.between(1, 29_999), 1_000_000)).collect();
        let ids = stage.listings(Kind::Product, &seller, &prices).await?;
        let goods = ids.into_iter().zip(prices.iter().map(|(minor, _)| Money::from_minor(*minor))).collect();
        let coupon = Coupon {
            id: Id::new(),
            name: format!("COUPON {}", seller.id),
            value: Percent::from_basis_points(chance.between(1, 9_999)),
            seller: CouponSeller { id: seller.id, ..CouponSeller::default() },
            created_at: Some(stage.clock.now()),
            ..Coupon::default()
        };
        stage.db.of::<Coupon>().insert_one(&coupon).await?;
        shops.push(Shop { seller, goods, coupon });
    }
    Ok(Market { apis: stage.apis(), buyers: stage.buyers(8).await?, shops })
}

/// Sends a request until a server has the time for it.
async fn served(request: RequestBuilder, busy: &mut u64) -> anyhow::Result<Answer> {
    let mut told = 0;
    loop {
        let answer = send(request.try_clone().context("a request that cannot be repeated")?).await?;
        if answer.status != 503 || told == BUSY {
            return Ok(answer);
        }
        told += 1;
        *busy += 1;
    }
}

/// One order from checkout to delivery, and then back in pieces.
async fn one_order(
    stage: &Stage,
    market: &Market,
    name: &str,
    left: &AtomicI64,
    chance: &mut Chance,
    done: &mut Done,
) -> anyhow::Result<()> {
    let (buyer, shop) = (chance.pick(&market.buyers)?, chance.pick(&market.shops)?);
    let (mut units, body) = checkout(shop, chance)?;
    let api = chance.pick(&market.apis)?;
    let placed = served(api.create_order(buyer, Some(name), &body), &mut done.busy).await?;
    placed.expect(201).with_context(|| format!("placing {body}"))?;
    let order = placed.orders()?.pop().context("no order was made")?;
    let deliver = api.set_status(&shop.seller, order, Status::Delivered.text());
    served(deliver, &mut done.busy).await?.expect(200).context("delivering")?;
    // Most orders come back to the last unit.
    let stop_early = chance.one_in(4);
    while !units.is_empty() && left.fetch_sub(1, Ordering::Relaxed) > 0 {
        let part = part(&mut units, chance)?;
        let (asking, granting) = (chance.pick(&market.apis)?, chance.pick(&market.apis)?);
        let ask = asking.ask_refund(buyer, order, Some(&part));
        served(ask, &mut done.busy).await?.expect(200).context("asking for a refund")?;
        let grant = granting.grant_refund(&shop.seller, order);
        served(grant, &mut done.busy).await?.expect(200).context("granting a refund")?;
        done.refunds += 1;
        let stored =
            stage.db.of::<Order>().find_one(doc! { "_id": order }).await?.context("an order is gone")?;
        let books = Books::of(&stage.db, order, &shop.seller).await?;
        judge(&mut done.differences, &stored, &books, units.is_empty());
        if stop_early && chance.one_in(2) {
            break;
        }
    }
    done.whole += u64::from(units.is_empty());
    Ok(())
}

type Units = Vec<(Id<Listing>, i64)>;

/// Some lines of several units, at a total that may be a cent off, as browsers compute it.
fn checkout(shop: &Shop, chance: &mut Chance) -> anyhow::Result<(Units, Value)> {
    let mut units: Units = Vec::new();
    let mut subtotal = Money::ZERO;
    for _ in 0..chance.between(1, 3) {
        let (id, price) = *chance.pick(&shop.goods)?;
        let count = chance.between(1, 4);
        subtotal += price.times(count);
        match units.iter_mut().find(|(known, _)| *known == id) {
            Some((_, sum)) => *sum += count,
            None => units.push((id, count)),
        }
    }
    let mut body = in_cash(&units);
    if let Some(body) = body.as_object_mut() {
        if chance.one_in(2) {
            body.insert("couponCode".to_owned(), json!(shop.coupon.name));
        } else {
            let off = Money::from_minor(chance.between(-1, 1));
            body.insert(
                "totalPrice".to_owned(),
                json!(subtotal + subtotal.percent(Percent::whole(10)) + off),
            );
        }
    }
    Ok((units, body))
}

/// Takes some units out of what is left.
fn part(units: &mut Units, chance: &mut Chance) -> anyhow::Result<Units> {
    let mut part: Units = Vec::new();
    let first = chance.pick(units)?.0;
    for (id, left) in units.iter_mut() {
        if *id == first || chance.one_in(4) {
            let count = chance.between(1, *left);
            *left -= count;
            part.push((*id, count));
        }
    }
    units.retain(|(_, left)| *left > 0);
    Ok(part)
}

/// What the ledger says about one order.
#[derive(Clone, Debug, Default)]
struct Books {
    /// What the shop has of it.
    shop: Money,
    /// What the marketplace has.
    fee: Money,
    /// What has come in for it and not gone back.
    paid: Money,
}

impl Books {
    async fn of(db: &Db, order: Id<Order>, seller: &Seller) -> anyhow::Result<Self> {
        let refunds = format!("refund:{order}");
        // What follows the id in a key comes before `g`.
        let keys = doc! { "$or": [
            { "_id": format!("delivered:{order}") },
            { "_id": { "$gte": &refunds, "$lt": format!("{refunds}g") } },
        ] };
        let entries: Vec<LedgerEntry> = db.of::<LedgerEntry>().find(keys).await?.try_collect().await?;
        let account = ledger::shop_account(seller.id);
        let mut books = Self::default();
        for line in entries.into_iter().flat_map(|entry| entry.lines) {
            let amount = Money::from_minor(line.minor);
            if line.account == account {
                books.shop += amount;
            } else if line.account == ledger::FEES {
                books.fee += amount;
            } else {
                books.paid -= amount;
            }
        }
        Ok(books)
    }
}

/// After each refund: what the buyer has paid for good is what shop and marketplace have, and after the last unit all
/// three have nothing.
fn judge(differences: &mut Differences, order: &Order, books: &Books, nothing_left: bool) {
    let id = order.id;
    let refunded: Money = order
        .refunds
        .iter()
        .filter(|refund| refund.state == RefundState::Granted)
        .map(|refund| refund.amount)
        .sum();
    differences.expect(format!("order {id}: total less refunds"), order.total - refunded, books.paid);
    differences.expect(format!("order {id}: shop and fee"), books.shop + books.fee, books.paid);
    if books.shop.is_negative() || books.fee.is_negative() {
        differences
            .note(format!("order {id}: the shop has {} of it, the marketplace {}", books.shop, books.fee));
    }
    let fee = books.paid.percent(order.service_fee.unwrap_or_default());
    if books.fee.distance(fee) > Money::from_minor(1) {
        differences
            .note(format!("order {id}: the fee of {} is {}, and {fee} is its share", books.paid, books.fee));
    }
    let wanted = if nothing_left { Status::RefundSuccess } else { Status::Delivered };
    differences.expect(format!("order {id}: the status"), order.status.text(), wanted.text());
    if nothing_left && (books.shop, books.fee, books.paid) != (Money::ZERO, Money::ZERO, Money::ZERO) {
        differences.note(format!("order {id}: after the last unit there is a residue: {books:?}"));
    }
}

#[cfg(test)]
mod tests {
    use shared::model::Refund;

    use super::*;

    fn cents(minor: i64) -> Money {
        Money::from_minor(minor)
    }

    #[test]
    fn a_cent_that_is_left_over_or_missing_is_seen() {
        let refund = |minor, state| Refund { amount: cents(minor), state, ..Refund::default() };
        let order = |refunds, status| Order {
            total: cents(1000),
            service_fee: Some(Percent::whole(10)),
            refunds,
            status,
            ..Order::default()
        };
        let half = || order(vec![refund(501, RefundState::Granted)], Status::Delivered);
        let all = || {
            let refunds = vec![refund(501, RefundState::Granted), refund(499, RefundState::Granted)];
            order(refunds, Status::RefundSuccess)
        };
        let asked = order(vec![refund(501, RefundState::Asked)], Status::Delivered);
        for (order, (shop, fee, paid), nothing_left, right) in [
            (half(), (449, 50, 499), false, true),
            (half(), (450, 50, 500), false, false),
            (half(), (449, 51, 499), false, false),
            (half(), (499, 0, 499), false, false),
            (half(), (449, 50, 499), true, false),
            (all(), (0, 0, 0), true, true),
            (all(), (1, -1, 0), true, false),
            (all(), (1, 0, 1), true, false),
            (asked, (449, 50, 499), false, false),
        ] {
            let books = Books { shop: cents(shop), fee: cents(fee), paid: cents(paid) };
            let mut differences = Differences::default();
            judge(&mut differences, &order, &books, nothing_left);
            assert_eq!(differences.is_empty(), right, "{books:?} {:?}", differences.lines());
        }
    }
}
