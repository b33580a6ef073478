//! Disputes against the ledger: what is on hold, was released or is lost is what each dispute says.

use std::collections::BTreeMap;

use bson::{Document, doc};
use futures_util::TryStreamExt as _;
use mongodb::{ClientSession, error::Result};

use super::{Audit, moved};
use crate::{
    db::Db,
    ledger,
    model::{Dispute, DisputeShare, DisputeState, LedgerEntry, Order, PaymentInfo, Stored as _},
    money::Money,
};

/// Every dispute has the entries that its state calls for, and no entry is without a dispute.
pub(super) async fn agree(db: &Db, session: &mut ClientSession, audit: &mut Audit) -> Result<()> {
    let mut booked: BTreeMap<String, LedgerEntry> = BTreeMap::new();
    let entries = doc! { "_id": { "$gte": "dispute:", "$lt": "dispute;" } };
    let mut found = db.of::<LedgerEntry>().find(entries).session(&mut *session).await?;
    while let Some(entry) = found.next(&mut *session).await.transpose()? {
        booked.insert(entry.key.clone(), entry);
    }
    let mut found = db.of::<Dispute>().find(doc! {}).session(&mut *session).await?;
    let disputes: Vec<Dispute> = found.stream(&mut *session).try_collect().await?;
    for dispute in &disputes {
        let shares: Money = dispute.shares.iter().map(|share| Money::from_minor(share.minor)).sum();
        if shares > Money::from_minor(dispute.minor) {
            audit.differs(format!("the dispute {} is of less than its shares", dispute.id));
        }
        for share in &dispute.shares {
            let status = payment_status(db, session, share).await?;
            let right: &[&str] = match dispute.state {
                DisputeState::Open => &[PaymentInfo::DISPUTED, PaymentInfo::REFUNDED],
                DisputeState::Lost => {
                    &[PaymentInfo::CHARGED_BACK, PaymentInfo::DISPUTED, PaymentInfo::REFUNDED]
                }
                DisputeState::Won => &PaymentInfo::PAID,
            };
            if !right.contains(&status.as_str()) {
                audit.differs(format!(
                    "the order {} is part of the dispute {}, but its payment counts as \"{status}\"",
                    share.order, dispute.id,
                ));
            }
            let key = doc! { "_id": format!("delivered:{}", share.order) };
            let entry = db.of::<LedgerEntry>().find_one(key).session(&mut *session).await?;
            let credited = entry.is_some();
            for what in differences(dispute, share, credited, &mut booked) {
                audit.differs(what);
            }
        }
    }
    for key in booked.keys() {
        audit.differs(format!("the ledger's entry {key} is about no dispute"));
    }
    Ok(())
}

async fn payment_status(db: &Db, session: &mut ClientSession, share: &DisputeShare) -> Result<String> {
    let orders = db.raw::<Document>(Order::COLLECTION);
    let status = doc! { "paymentInfo.status": 1 };
    let order = orders.find_one(doc! { "_id": share.order }).projection(status).session(session).await?;
    let status = order
        .and_then(|order| Some(order.get_document("paymentInfo").ok()?.get_str("status").ok()?.to_owned()));
    Ok(status.unwrap_or_default())
}

/// Takes the entries of one share out of what is booked, and says what is wrong with them.
fn differences(
    dispute: &Dispute,
    share: &DisputeShare,
    credited: bool,
    booked: &mut BTreeMap<String, LedgerEntry>,
) -> Vec<String> {
    let key = ledger::dispute_key(share.order, &dispute.id);
    let (all, fee) = (Money::from_minor(share.minor), Money::from_minor(share.fee_minor));
    let earned = all - fee;
    let ends = dispute.state;
    let shop = ledger::shop_account(share.shop);
    let mut found = Vec::new();
    // Several where it was decided otherwise later: together they are what the last decision means.
    let below: Vec<String> =
        booked.range(format!("{key}:")..format!("{key};")).map(|(key, _)| key.clone()).collect();
    let below: Vec<LedgerEntry> = below.iter().filter_map(|key| booked.remove(key)).collect();
    let hold: Vec<LedgerEntry> = booked.remove(&key).into_iter().collect();
    // What the shop, those on hold and the fees gain with it.
    let (end, at_the_end) = match ends {
        DisputeState::Open => ("open", [Money::ZERO; 3]),
        DisputeState::Won => ("won", [earned, -earned, Money::ZERO]),
        DisputeState::Lost => ("lost", [Money::ZERO, -earned, -fee]),
    };
    let parts = [
        (key.clone(), hold, credited, [-earned, earned, Money::ZERO]),
        (format!("{key}:{end}"), below, credited && ends != DisputeState::Open, at_the_end),
    ];
    for (key, entries, wanted, right) in parts {
        if entries.is_empty() && wanted {
            found.push(format!("the ledger has no entry {key}"));
        }
        if !wanted {
            let needless = entries.iter().map(|entry| &entry.key);
            found.extend(
                needless.map(|key| format!("the ledger has an entry {key}, and there is no reason for it")),
            );
        } else if let Some(last) = entries.last() {
            let of = |name: &str| moved(&entries, |account| account == name);
            if [of(&shop), of(ledger::DISPUTES), of(ledger::FEES)] != right {
                found.push(format!("the ledger's entry {} is not of what the dispute is about", last.key));
            }
        }
    }
    found
}
