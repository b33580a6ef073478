//! Booking money: entries whose lines sum to zero, and the shops' balances that follow from them.

use bson::{Bson, Document, doc};
use futures_util::TryStreamExt as _;
use mongodb::{ClientSession, error::Error};

use crate::{
    clock::Timestamp,
    db::Db,
    id::Id,
    model::{Case, LedgerEntry, LedgerLine, Order, PaymentInfo, Shop, Transaction},
    money::Money,
};

/// The marketplace's fees.
pub const FEES: &str = "platform:fees";
/// Money that has left for the shops' banks, or is on its way there.
pub const PAYOUTS: &str = "platform:payouts";
/// Balances that the old server left behind: where they came from is not known.
pub const LEGACY: &str = "platform:legacy";

/// What the shops had of disputed payments, until it is decided whose it is.
pub const DISPUTES: &str = "disputes";

/// What the shops had of orders about which they and their buyers have a dispute, until that has ended.
pub const CASES: &str = "cases";

/// A shop lists no more movements than this; the ledger has them all.
const LISTED_MOVEMENTS: i32 = 200;

/// How the shops' accounts begin.
pub const SHOP_PREFIX: &str = "shop:";

/// The account of one shop.
pub fn shop_account(shop: Id<Shop>) -> String {
    format!("{SHOP_PREFIX}{shop}")
}

/// Where an order's money comes from, by how it is paid.
pub fn source(payment: Option<&PaymentInfo>) -> &'static str {
    match payment.and_then(|payment| payment.kind.as_deref()) {
        Some("Paypal") => "gateway:paypal",
        Some("Credit Card" | "Stripe") => "gateway:stripe",
        _ => "cod",
    }
}

/// The key of the entry that puts an order's credit on hold; those that end it follow with `:won` or
/// `:lost`, and `:lost:2` and so on if it is decided otherwise later.
pub fn dispute_key(order: Id<Order>, dispute: &str) -> String {
    format!("dispute:{order}:{dispute}")
}

/// The key of the entry that puts an order's credit on hold for a case; the one that ends it follows with `:ended`.
pub fn case_key(order: Id<Order>, case: Id<Case>) -> String {
    format!("case:{order}:{case}")
}

/// One line.
pub fn line(account: impl Into<String>, amount: Money) -> LedgerLine {
    LedgerLine { account: account.into(), minor: amount.minor() }
}

/// Enters one booking. A key that exists already is the driver's duplicate-key error on `_id_`,
/// which ends the transaction: nothing is booked twice.
pub async fn book(
    db: &Db,
    session: &mut ClientSession,
    key: String,
    at: Timestamp,
    lines: Vec<LedgerLine>,
) -> mongodb::error::Result<()> {
    let sum: i64 = lines.iter().map(|line| line.minor).sum();
    if sum != 0 {
        return Err(Error::custom(format!("ledger entry {key} is off by {sum}")));
    }
    let entry = LedgerEntry { key, at, lines };
    db.of::<LedgerEntry>().insert_one(entry).session(session).await.map(drop)
}

/// The entry under a key, as the transaction sees it.
pub async fn entry(
    db: &Db,
    session: &mut ClientSession,
    key: &str,
) -> mongodb::error::Result<Option<LedgerEntry>> {
    db.of::<LedgerEntry>().find_one(doc! { "_id": key }).session(session).await
}

/// The entries that follow an entry under its key: `<key>:…`.
pub async fn entries_below(
    db: &Db,
    session: &mut ClientSession,
    key: &str,
) -> mongodb::error::Result<Vec<LedgerEntry>> {
    // `;` comes right after `:`.
    let below = doc! { "_id": { "$gte": format!("{key}:"), "$lt": format!("{key};") } };
    let mut found = db.of::<LedgerEntry>().find(below).sort(doc! { "_id": 1 }).session(&mut *session).await?;
    found.stream(session).try_collect().await
}

/// Moves a shop's balance up, or down without asking whether it is enough: a refund may overdraw.
pub async fn credit(
    db: &Db,
    session: &mut ClientSession,
    shop: Id<Shop>,
    amount: Money,
    status: &str,
    now: Timestamp,
) -> mongodb::error::Result<()> {
    let update = balance_update(amount, Id::new(), status, now)?;
    db.of::<Shop>().update_one(doc! { "_id": shop }, update).session(session).await.map(drop)
}

/// Moves a shop's balance down if it is enough, and says whether it was.
pub async fn debit(
    db: &Db,
    session: &mut ClientSession,
    shop: Id<Shop>,
    amount: Money,
    movement: Id<Transaction>,
    status: &str,
    now: Timestamp,
) -> mongodb::error::Result<bool> {
    let enough = doc! { "_id": shop, "$expr": { "$gte": [balance(), Bson::Int64(amount.minor())] } };
    let update = balance_update(-amount, movement, status, now)?;
    Ok(db.of::<Shop>().update_one(enough, update).session(session).await?.matched_count == 1)
}

/// The balance in minor units, as an aggregation expression. A document from before the migration
/// has no `balanceMinor`: it then starts from what `availableBalance` says.
fn balance() -> Document {
    let legacy = doc! { "$convert": {
        "input": "$availableBalance", "to": "double", "onError": 0.0, "onNull": 0.0,
    } };
    // NaN is a double, and no long.
    let minor = doc! { "$convert": {
        "input": { "$round": [{ "$multiply": [legacy, 100] }] },
        "to": "long", "onError": Bson::Int64(0), "onNull": Bson::Int64(0),
    } };
    doc! { "$ifNull": ["$balanceMinor", minor] }
}

/// The update that moves a balance and lists the movement, in one step and in whole minor units;
/// `availableBalance` follows as the number that the old layout shows.
fn balance_update(
    amount: Money,
    id: Id<Transaction>,
    status: &str,
    now: Timestamp,
) -> mongodb::error::Result<Vec<Document>> {
    let movement = bson::serialize_to_document(&Transaction {
        id,
        amount,
        status: status.to_owned(),
        created_at: Some(now),
        updated_at: Some(now),
    })
    .map_err(Error::custom)?;
    let listed = doc! { "$cond": [{ "$isArray": "$transections" }, "$transections", []] };
    Ok(vec![
        doc! { "$set": { "balanceMinor": { "$add": [balance(), Bson::Int64(amount.minor())] } } },
        doc! { "$set": {
            "availableBalance": { "$divide": ["$balanceMinor", 100] },
            "transections": { "$slice": [
                { "$concatArrays": [listed, [{ "$literal": movement }]] }, -LISTED_MOVEMENTS,
            ] },
        } },
    ])
}
