use std::{collections::BTreeMap, sync::Arc};

use bson::{Bson, Document, doc};
use futures_util::TryStreamExt as _;
use shared::{
    clock::Timestamp,
    db::Db,
    id::Id,
    lenient,
    model::{Case, CaseState, Listing, Order, Outbox, Payment, PaymentInfo, Shop, Status, Stored as _},
    money::Money,
};

use super::{
    Kept,
    rules::{DAY, Days},
};
use crate::withdrawals;

type Result<T> = mongodb::error::Result<T>;

/// How many of the best are named.
const BEST: i64 = 10;

/// What is known of some days.
#[derive(Clone, Debug)]
pub(crate) struct Figures {
    /// One a day, in order.
    pub(crate) days: Vec<Day>,
    pub(crate) best_shops: Vec<BestShop>,
    pub(crate) best_products: Vec<BestProduct>,
    pub(crate) course: Course,
    /// What all shops together may withdraw, as it is now.
    pub(crate) owed: Money,
    pub(crate) waiting: Waiting,
}

/// A day.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Day {
    /// When it begins.
    pub(crate) at: Timestamp,
    /// How many orders were placed.
    pub(crate) orders: i64,
    /// What those come to that were not called off.
    pub(crate) sales: Money,
    /// What was granted back on this day, whenever it was ordered.
    pub(crate) refunds: Money,
}

/// A shop, by what was ordered of it.
#[derive(Clone, Debug)]
pub(crate) struct BestShop {
    pub(crate) id: Id<Shop>,
    pub(crate) name: String,
    pub(crate) orders: i64,
    pub(crate) sales: Money,
}

/// A product or an event, by how many were ordered.
#[derive(Clone, Debug)]
pub(crate) struct BestProduct {
    pub(crate) id: Id<Listing>,
    pub(crate) name: String,
    pub(crate) units: i64,
    pub(crate) sales: Money,
}

/// What has become of the orders that were placed on these days.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Course {
    pub(crate) placed: i64,
    /// They have arrived, whatever came of them since.
    pub(crate) delivered: i64,
    pub(crate) cancelled: i64,
}

/// What waits for an administrator, as it is now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waiting {
    pub(crate) withdrawals: u64,
    /// Payments that need somebody, and orders whose payment is a mere claim.
    pub(crate) payments: u64,
    pub(crate) dead_letters: u64,
    /// Between buyers and shops.
    pub(crate) disputes: u64,
    pub(crate) shops: u64,
}

/// Counts, everything at the same time.
pub(crate) async fn figures(db: &Db, kept: &Arc<Kept>, days: Days) -> Result<Figures> {
    let (by_day, refunds, best_shops, best_products, owed, waiting) = tokio::try_join!(
        by_day(db, days),
        refunds(db, days),
        best_shops(db, days),
        kept.best(db, days),
        owed(db),
        waiting(db),
    )?;
    let (sums, course) = by_day;
    let day = |at: Timestamp| {
        let (orders, sales) = sums.get(&at).copied().unwrap_or_default();
        Day { at, orders, sales, refunds: refunds.get(&at).copied().unwrap_or_default() }
    };
    Ok(Figures { days: days.each().map(day).collect(), best_shops, best_products, course, owed, waiting })
}

fn placed(days: Days) -> Document {
    doc! { "createdAt": { "$gte": days.from, "$lt": days.to } }
}

fn placed_and_not_called_off(days: Days) -> Document {
    let mut placed = placed(days);
    placed.insert("status", doc! { "$ne": Status::Cancelled.text() });
    placed
}

/// When the day of a moment begins.
fn day_of(field: &str) -> Document {
    let millis = doc! { "$toLong": field };
    doc! { "$subtract": [field, { "$mod": [millis, Bson::Int64(DAY)] }] }
}

/// The sum of amounts. The database adds what floats hold without losing anything that a cent would show.
fn sum_of(field: &str) -> Document {
    // Old ones may be text.
    doc! { "$sum": { "$cond": [{ "$isNumber": field }, field, lenient::number_in(field)] } }
}

async fn grouped(db: &Db, collection: &str, pipeline: Vec<Document>) -> Result<Vec<Document>> {
    db.raw::<Document>(collection).aggregate(pipeline).allow_disk_use(true).await?.try_collect().await
}

fn int(group: &Document, field: &str) -> i64 {
    group.get(field).and_then(lenient::as_int).unwrap_or_default()
}

fn money(group: &Document, field: &str) -> Money {
    group.get(field).and_then(lenient::as_money).unwrap_or_default()
}

type Sums = BTreeMap<Timestamp, (i64, Money)>;

async fn by_day(db: &Db, days: Days) -> Result<(Sums, Course)> {
    let pipeline = vec![
        doc! { "$match": placed(days) },
        doc! { "$group": {
            "_id": { "day": day_of("$createdAt"), "status": "$status" },
            "orders": { "$sum": 1 }, "sales": sum_of("$totalPrice"),
        } },
    ];
    let (mut sums, mut course) = (Sums::new(), Course::default());
    for group in grouped(db, Order::COLLECTION, pipeline).await? {
        let Ok(key) = group.get_document("_id") else { continue };
        let Ok(day) = key.get_datetime("day") else { continue };
        let status = key.get_str("status").ok().and_then(Status::parse).unwrap_or_default();
        let orders = int(&group, "orders");
        let sum = sums.entry(*day).or_default();
        sum.0 += orders;
        course.placed += orders;
        match status {
            Status::Cancelled => course.cancelled += orders,
            Status::Delivered | Status::RefundProcessing | Status::RefundSuccess => {
                course.delivered += orders
            }
            _ => {}
        }
        if status != Status::Cancelled {
            sum.1 += money(&group, "sales");
        }
    }
    Ok((sums, course))
}

async fn refunds(db: &Db, days: Days) -> Result<BTreeMap<Timestamp, Money>> {
    let decided = doc! { "$gte": days.from, "$lt": days.to };
    let pipeline = vec![
        doc! { "$match": { "refunds.decidedAt": decided.clone() } },
        doc! { "$project": { "refunds": 1 } },
        doc! { "$unwind": "$refunds" },
        doc! { "$match": { "refunds.decidedAt": decided, "refunds.state": "granted" } },
        doc! { "$group": { "_id": day_of("$refunds.decidedAt"), "amount": sum_of("$refunds.amount") } },
    ];
    let groups = grouped(db, Order::COLLECTION, pipeline).await?;
    Ok(groups.iter().filter_map(|day| Some((*day.get_datetime("_id").ok()?, money(day, "amount")))).collect())
}

async fn best_shops(db: &Db, days: Days) -> Result<Vec<BestShop>> {
    let pipeline = vec![
        doc! { "$match": placed_and_not_called_off(days) },
        doc! { "$group": { "_id": "$shopId", "orders": { "$sum": 1 }, "sales": sum_of("$totalPrice") } },
        doc! { "$sort": { "sales": -1, "_id": 1 } },
        doc! { "$limit": BEST },
    ];
    let groups = grouped(db, Order::COLLECTION, pipeline).await?;
    let id = |group: &Document| group.get_str("_id").ok()?.parse::<Id<Shop>>().ok();
    let ids: Vec<Id<Shop>> = groups.iter().filter_map(id).collect();
    let shops = crate::shops::store::public_by_ids(db, &ids).await?;
    let shop = |group: &Document| {
        let id = id(group)?;
        let name = shops.get(&id).map(|shop| shop.name.clone()).unwrap_or_default();
        Some(BestShop { id, name, orders: int(group, "orders"), sales: money(group, "sales") })
    };
    Ok(groups.iter().filter_map(shop).collect())
}

pub(super) async fn best_products(db: &Db, days: Days) -> Result<Vec<BestProduct>> {
    let pipeline = vec![
        doc! { "$match": placed_and_not_called_off(days) },
        doc! { "$project": { "_id": 0, "cart._id": 1, "cart.count": 1, "cart.discountPrice": 1 } },
        doc! { "$unwind": "$cart" },
        doc! { "$group": {
            "_id": "$cart._id", "units": { "$sum": "$cart.count" },
            "sales": { "$sum": { "$multiply": [
                { "$cond": [{ "$isNumber": "$cart.count" }, "$cart.count", 1] },
                { "$cond": [{ "$isNumber": "$cart.discountPrice" }, "$cart.discountPrice", 0] },
            ] } },
        } },
        doc! { "$sort": { "units": -1, "_id": 1 } },
        doc! { "$limit": BEST },
    ];
    let groups = grouped(db, Order::COLLECTION, pipeline).await?;
    let id = |group: &Document| group.get("_id").and_then(lenient::as_text)?.parse::<Id<Listing>>().ok();
    let mut best = Vec::new();
    for group in &groups {
        let Some(id) = id(group) else { continue };
        let name = name_of(db, id).await?;
        best.push(BestProduct { id, name, units: int(group, "units"), sales: money(group, "sales") });
    }
    Ok(best)
}

/// What something is called, or was when somebody last bought it.
async fn name_of(db: &Db, id: Id<Listing>) -> Result<String> {
    use shared::model::Kind;
    for kind in [Kind::Product, Kind::Event] {
        let listings = db.raw::<Document>(kind.collection());
        let found = listings.find_one(doc! { "_id": id }).projection(doc! { "name": 1 }).await?;
        if let Some(listing) = found {
            return Ok(listing.get("name").and_then(lenient::as_text).unwrap_or_default());
        }
    }
    Ok(String::new())
}

/// From the shops' balances, which are written with the ledger and held to it (`shared::audit`).
async fn owed(db: &Db) -> Result<Money> {
    let pipeline = vec![
        doc! { "$match": { "balanceMinor": { "$type": "number" } } },
        doc! { "$group": { "_id": null, "owed": { "$sum": "$balanceMinor" } } },
    ];
    let groups = grouped(db, Shop::COLLECTION, pipeline).await?;
    Ok(Money::from_minor(groups.first().map_or(0, |group| int(group, "owed"))))
}

async fn waiting(db: &Db) -> Result<Waiting> {
    let over = [Status::Cancelled.text(), Status::RefundSuccess.text()];
    let claims = doc! { "paymentInfo.status": PaymentInfo::UNVERIFIED, "status": { "$nin": over.to_vec() } };
    let (orders, payments) = (db.of::<Order>(), db.of::<Payment>());
    let (outbox, shops, cases) = (db.of::<Outbox>(), db.of::<Shop>(), db.of::<Case>());
    let (withdrawals, claims, attention, dead_letters, disputes, shops) = tokio::try_join!(
        withdrawals::store::count_waiting(db),
        async { orders.count_documents(claims).await },
        async { payments.count_documents(doc! { "attention": { "$exists": true } }).await },
        async { outbox.count_documents(doc! { "dead": true }).await },
        async { cases.count_documents(doc! { "state": CaseState::Open.word() }).await },
        async { shops.count_documents(doc! { "awaitingApproval": true, "blocked": { "$ne": true } }).await },
    )?;
    Ok(Waiting { withdrawals, payments: claims + attention, dead_letters, disputes, shops })
}
