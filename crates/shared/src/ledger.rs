//! Booking money: entries whose lines sum to zero, and the shops' balances that follow from them.

use bson::{Bson, doc};
use mongodb::ClientSession;

use crate::{
    clock::Timestamp,
    db::Db,
    id::Id,
    model::{LedgerEntry, LedgerLine, Shop},
    money::Money,
};

/// The marketplace's fees.
pub const FEES: &str = "platform:fees";
/// Money that has left for the shops' banks, or is on its way there.
pub const PAYOUTS: &str = "platform:payouts";
/// Balances that the old server left behind: where they came from is not known.
pub const LEGACY: &str = "platform:legacy";

/// The account of one shop.
pub fn shop_account(shop: Id<Shop>) -> String {
    format!("shop:{shop}")
}

/// The account that money for an order comes from: `cod` or `gateway:<name>`.
pub fn source_account(payment_type: &str) -> &'static str {
    match payment_type {
        "Paypal" => "gateway:paypal",
        "Credit Card" | "Stripe" => "gateway:stripe",
        _ => "cod",
    }
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
        return Err(mongodb::error::Error::custom(format!("ledger entry {key} is off by {sum}")));
    }
    let entry = LedgerEntry { key, at, lines };
    db.of::<LedgerEntry>().insert_one(entry).session(session).await.map(drop)
}

/// The update that moves a shop's balance by an amount and lists the movement, in one step and in
/// whole minor units. `availableBalance` follows as the number the old layout shows.
///
/// A document from before the migration has no `balanceMinor`: it then starts from what
/// `availableBalance` says.
pub fn balance_update(amount: Money, movement: bson::Document) -> Vec<bson::Document> {
    let start = doc! { "$ifNull": [
        "$balanceMinor",
        { "$toLong": { "$round": [{ "$multiply": [
            { "$convert": { "input": "$availableBalance", "to": "double", "onError": 0, "onNull": 0 } }, 100,
        ] }] } },
    ] };
    let listed = doc! { "$cond": [{ "$isArray": "$transections" }, "$transections", []] };
    vec![
        doc! { "$set": { "balanceMinor": { "$add": [start, Bson::Int64(amount.minor())] } } },
        doc! { "$set": {
            "availableBalance": { "$divide": ["$balanceMinor", 100] },
            "transections": { "$concatArrays": [listed, [{ "$literal": movement }]] },
        } },
    ]
}
