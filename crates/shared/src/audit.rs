//! Counts everything again: money by the ledger, units by the orders that hold them.
//!
//! Balances and reservations are written in the same transaction as what they follow from, so a
//! difference of one cent or one unit means a bug, or somebody who wrote past Souk.

use std::collections::HashMap;

use bson::{Bson, Document, doc};
use mongodb::{ClientSession, error::Result};

use crate::{
    db::Db,
    id::Id,
    ledger, lenient,
    model::{Kind, LedgerEntry, Order, Shop, StockState, Stored as _},
    money::Money,
};

/// What was counted.
#[derive(Clone, Debug, Default)]
pub struct Audit {
    /// How many entries the ledger has.
    pub entries: u64,
    /// How many shops there are.
    pub shops: u64,
    /// What does not agree, in words, one line each.
    pub differences: Vec<String>,
}

/// Counts. Everything is read as of one moment, so it may run beside servers at work.
pub async fn run(db: &Db) -> Result<Audit> {
    let mut session = db.client().start_session().snapshot(true).await?;
    let mut audit = Audit::default();
    entries(db, &mut session, &mut audit).await?;
    balances(db, &mut session, &mut audit).await?;
    for kind in [Kind::Product, Kind::Event] {
        reservations(db, &mut session, kind, &mut audit).await?;
    }
    Ok(audit)
}

/// Every entry's lines sum to zero.
async fn entries(db: &Db, session: &mut ClientSession, audit: &mut Audit) -> Result<()> {
    let pipeline = vec![doc! { "$project": { "sum": { "$sum": "$lines.minor" } } }];
    let ledger = db.raw::<Document>(LedgerEntry::COLLECTION);
    let mut found = ledger.aggregate(pipeline).session(&mut *session).await?;
    while let Some(entry) = found.next(&mut *session).await.transpose()? {
        audit.entries += 1;
        let sum = money(entry.get("sum"));
        if sum != Money::ZERO {
            audit.differences.push(format!("the ledger's entry {} is off by {sum}", text(entry.get("_id"))));
        }
    }
    Ok(())
}

/// Every shop has what the ledger's lines for it sum to, and shows it.
async fn balances(db: &Db, session: &mut ClientSession, audit: &mut Audit) -> Result<()> {
    let mut booked = booked(db, session).await?;
    let fields = doc! { "name": 1, "balanceMinor": 1, "availableBalance": 1 };
    let shops = db.raw::<Document>(Shop::COLLECTION);
    let mut found = shops.find(doc! {}).projection(fields).session(&mut *session).await?;
    while let Some(shop) = found.next(&mut *session).await.transpose()? {
        audit.shops += 1;
        let id = shop.get_object_id("_id").map(Id::<Shop>::from_oid).unwrap_or_default();
        let ledger = booked.remove(&ledger::shop_account(id)).unwrap_or_default();
        // Before its migration a document has no balance that could be compared.
        let Some(counted) = shop.get("balanceMinor").and_then(lenient::as_int) else { continue };
        let counted = Money::from_minor(counted);
        let shown = shop.get("availableBalance").and_then(lenient::as_money).unwrap_or_default();
        if counted != ledger || shown != ledger {
            audit.differences.push(format!(
                "the shop `{}` ({id}) has {ledger} by the ledger, but {counted} is counted and {shown} shown",
                text(shop.get("name")),
            ));
        }
    }
    let ownerless = booked.into_iter().filter(|(_, sum)| *sum != Money::ZERO);
    let mut ownerless: Vec<String> = ownerless
        .map(|(account, sum)| format!("the ledger has {sum} for {account}, and there is no such shop"))
        .collect();
    ownerless.sort();
    audit.differences.append(&mut ownerless);
    Ok(())
}

/// What the ledger's lines say that each shop has, by account.
async fn booked(db: &Db, session: &mut ClientSession) -> Result<HashMap<String, Money>> {
    let pipeline = vec![
        doc! { "$unwind": "$lines" },
        doc! { "$match": { "lines.account": { "$regex": "^shop:" } } },
        doc! { "$group": { "_id": "$lines.account", "sum": { "$sum": "$lines.minor" } } },
    ];
    let ledger = db.raw::<Document>(LedgerEntry::COLLECTION);
    let mut found = ledger.aggregate(pipeline).allow_disk_use(true).session(&mut *session).await?;
    let mut booked = HashMap::new();
    while let Some(account) = found.next(&mut *session).await.transpose()? {
        booked.insert(text(account.get("_id")), money(account.get("sum")));
    }
    Ok(booked)
}

/// As many units of each listing are reserved as its open orders hold.
async fn reservations(db: &Db, session: &mut ClientSession, kind: Kind, audit: &mut Audit) -> Result<()> {
    let mut held = held(db, session, kind).await?;
    let reserved = doc! { "reserved": { "$nin": [Bson::Int64(0), Bson::Null] } };
    let fields = doc! { "name": 1, "reserved": 1 };
    let listings = db.raw::<Document>(kind.collection());
    let mut found = listings.find(reserved).projection(fields).session(&mut *session).await?;
    while let Some(listing) = found.next(&mut *session).await.transpose()? {
        let id = text(listing.get("_id"));
        let reserved = listing.get("reserved").and_then(lenient::as_int).unwrap_or_default();
        let held = held.remove(&id).unwrap_or_default();
        if reserved != held {
            audit.differences.push(format!(
                "the {} `{}` ({id}) has {reserved} reserved, but open orders hold {held}",
                kind.word(),
                text(listing.get("name")),
            ));
        }
    }
    let mut unreserved: Vec<String> = held
        .into_iter()
        .map(|(id, held)| {
            format!("open orders hold {held} of the {} {id}, which has none reserved", kind.word())
        })
        .collect();
    unreserved.sort();
    audit.differences.append(&mut unreserved);
    Ok(())
}

/// How many units of each listing the open orders hold, by the listing's id.
async fn held(db: &Db, session: &mut ClientSession, kind: Kind) -> Result<HashMap<String, i64>> {
    let of_kind = match kind {
        Kind::Product => doc! { "cart.kind": { "$ne": "event" } },
        Kind::Event => doc! { "cart.kind": "event" },
    };
    let pipeline = vec![
        doc! { "$match": { "stockState": bson::serialize_to_bson(&StockState::Reserved)? } },
        doc! { "$unwind": "$cart" },
        doc! { "$match": of_kind },
        doc! { "$group": { "_id": { "$toString": "$cart._id" }, "count": { "$sum": "$cart.count" } } },
    ];
    let orders = db.raw::<Document>(Order::COLLECTION);
    let mut found = orders.aggregate(pipeline).allow_disk_use(true).session(&mut *session).await?;
    let mut held = HashMap::new();
    while let Some(listing) = found.next(&mut *session).await.transpose()? {
        let count = listing.get("count").and_then(lenient::as_int).unwrap_or_default();
        held.insert(text(listing.get("_id")), count);
    }
    Ok(held)
}

fn money(minor: Option<&Bson>) -> Money {
    Money::from_minor(minor.and_then(lenient::as_int).unwrap_or_default())
}

fn text(value: Option<&Bson>) -> String {
    value.and_then(lenient::as_text).unwrap_or_default()
}
