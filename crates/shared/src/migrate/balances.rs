use bson::{Document, doc, oid::ObjectId};
use futures_util::TryStreamExt as _;

use super::Report;
use crate::{
    clock::{Clock, Timestamp},
    db::Db,
    id::Id,
    ledger::{self, LEGACY},
    lenient,
    model::{LedgerEntry, Shop},
    money::Money,
};

/// Enters the balances that the old server left behind into the ledger, where that has not happened:
/// one transaction a shop, so that two nodes cannot do it twice.
pub(super) async fn open(db: &Db, clock: &Clock, report: &mut Report) -> anyhow::Result<()> {
    let mut waiting = db.raw::<Document>("shops").find(uncounted()).projection(doc! { "_id": 1 }).await?;
    while let Some(shop) = waiting.try_next().await? {
        let Ok(id) = shop.get_object_id("_id") else { continue };
        let at = clock.now();
        let opened: anyhow::Result<Option<Opened>> = db
            .transaction(|session| {
                let db = db.clone();
                Box::pin(async move { open_one(&db, session, id, at).await })
            })
            .await;
        match opened? {
            None => {}
            Some(Opened::FromDocument) => report.changed += 1,
            Some(Opened::FromLedger { was, is }) => {
                report.changed += 1;
                if was != is {
                    report.warnings.push(format!(
                        "shop {id} had lost its balance of {is}, as the ledger has it; its document said {was}"
                    ));
                }
            }
        }
    }
    Ok(())
}

fn uncounted() -> Document {
    doc! { "balanceMinor": { "$not": { "$type": ["int", "long"] } } }
}

enum Opened {
    FromDocument,
    FromLedger { was: Money, is: Money },
}

async fn open_one(
    db: &Db,
    session: &mut mongodb::ClientSession,
    id: ObjectId,
    at: Timestamp,
) -> anyhow::Result<Option<Opened>> {
    let shops = db.raw::<Document>("shops");
    let mut this = uncounted();
    this.insert("_id", id);
    let Some(shop) = shops
        .find_one(this.clone())
        .projection(doc! { "availableBalance": 1 })
        .session(&mut *session)
        .await?
    else {
        // Another node was faster.
        return Ok(None);
    };
    let stated = shop.get("availableBalance").and_then(lenient::as_money).unwrap_or_default();
    // An account that the ledger knows belongs to a shop document that came back from an older copy.
    let booked = booked(db, session, id).await?;
    let balance = booked.unwrap_or(stated);
    let counted = doc! { "$set": { "balanceMinor": balance.minor(), "availableBalance": balance.to_bson() } };
    // A change since the read above is a write conflict, and the transaction starts anew.
    shops.update_one(this, counted).session(&mut *session).await?;
    if booked.is_some() {
        return Ok(Some(Opened::FromLedger { was: stated, is: balance }));
    }
    if balance != Money::ZERO {
        let account = ledger::shop_account(Id::<Shop>::from_oid(id));
        let lines = vec![ledger::line(account, balance), ledger::line(LEGACY, -balance)];
        ledger::book(db, session, format!("opening:{id}"), at, lines).await?;
    }
    Ok(Some(Opened::FromDocument))
}

/// What the ledger says that a shop has; nothing if it has no entry for it.
async fn booked(
    db: &Db,
    session: &mut mongodb::ClientSession,
    shop: ObjectId,
) -> anyhow::Result<Option<Money>> {
    let account = ledger::shop_account(Id::<Shop>::from_oid(shop));
    let mut entries =
        db.of::<LedgerEntry>().find(doc! { "lines.account": &account }).session(&mut *session).await?;
    let mut sum = None;
    while let Some(entry) = entries.next(&mut *session).await.transpose()? {
        let of_shop = entry.lines.iter().filter(|line| line.account == account);
        *sum.get_or_insert(0) += of_shop.map(|line| line.minor).sum::<i64>();
    }
    Ok(sum.map(Money::from_minor))
}

/// Reports balances that somebody else has changed. The ledger is the truth, so nothing is
/// corrected here: whether the shop is owed the difference is for people to decide.
pub(super) async fn compare(db: &Db, report: &mut Report) -> anyhow::Result<()> {
    let number =
        doc! { "$convert": { "input": "$availableBalance", "to": "double", "onError": 0, "onNull": 0 } };
    let gap = doc! { "$abs": { "$subtract": [{ "$multiply": [number, 100] }, "$balanceMinor"] } };
    let suspicious = doc! {
        "balanceMinor": { "$type": ["int", "long"] },
        // Coarse on purpose: binary fractions of a cent are looked at below.
        "$or": [{ "$expr": { "$gt": [gap, 0.25] } }, { "availableBalance": f64::NAN }],
    };
    let mut found = db
        .raw::<Document>("shops")
        .find(suspicious)
        .projection(doc! { "name": 1, "availableBalance": 1, "balanceMinor": 1 })
        .await?;
    while let Some(shop) = found.try_next().await? {
        let shown = shop.get("availableBalance").and_then(lenient::as_money).unwrap_or_default();
        let counted =
            shop.get("balanceMinor").and_then(lenient::as_int).map(Money::from_minor).unwrap_or_default();
        if shown != counted {
            report.warnings.push(format!(
                "the shop `{}` ({}) has {counted} by the ledger, but its document shows {shown}: \
                 was the old server running meanwhile? Payouts go by the ledger",
                shop.get("name").and_then(lenient::as_text).unwrap_or_default(),
                shop.get("_id").and_then(lenient::as_text).unwrap_or_default(),
            ));
        }
    }
    Ok(())
}
