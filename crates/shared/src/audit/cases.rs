//! Disputes between buyers and shops against the ledger: what each says to be on hold is, and nothing else.

use std::collections::BTreeMap;

use bson::{Document, doc};
use mongodb::{ClientSession, error::Result};

use super::{Audit, moved};
use crate::{
    db::Db,
    ledger, lenient,
    model::{Case, CaseState, LedgerEntry, Order, RefundState, Stored as _},
    money::Money,
};

/// Every dispute has the entries that its state calls for, its order knows of it while it is open and no longer, and no
/// entry is without a dispute.
pub(super) async fn agree(db: &Db, session: &mut ClientSession, audit: &mut Audit) -> Result<()> {
    let mut booked: BTreeMap<String, LedgerEntry> = BTreeMap::new();
    let entries = doc! { "_id": { "$gte": "case:", "$lt": "case;" } };
    let mut found = db.of::<LedgerEntry>().find(entries).session(&mut *session).await?;
    while let Some(entry) = found.next(&mut *session).await.transpose()? {
        booked.insert(entry.key.clone(), entry);
    }
    let mut on_hold = Money::ZERO;
    let mut open: BTreeMap<String, String> = BTreeMap::new();
    let cases = db.of::<Case>();
    let mut found = cases.find(doc! {}).session(&mut *session).await?;
    while let Some(case) = found.next(&mut *session).await.transpose()? {
        let order = db.of::<Order>().find_one(doc! { "_id": case.order }).session(&mut *session).await?;
        let key = doc! { "_id": format!("delivered:{}", case.order) };
        let credited = db.of::<LedgerEntry>().find_one(key).session(&mut *session).await?.is_some();
        if case.state == CaseState::Open {
            on_hold += Money::from_minor(case.held.unwrap_or_default());
            if let Some(other) = open.insert(case.order.hex(), case.id.hex()) {
                audit.differs(format!(
                    "the order {} has two open disputes, {other} and {}",
                    case.order, case.id
                ));
            }
        }
        for what in differences(&case, order.as_ref(), credited, &mut booked) {
            audit.differs(what);
        }
    }
    for key in booked.keys() {
        audit.differs(format!("the ledger's entry {key} is about no dispute between buyer and shop"));
    }
    let held = audit.accounts.get(ledger::CASES).copied().unwrap_or_default();
    if held != on_hold {
        audit.differs(format!("{on_hold} are on hold for open disputes, but the ledger has {held}"));
    }
    let marked = db.raw::<Document>(Order::COLLECTION);
    let marked = marked.find(doc! { "openCase": { "$exists": true } }).projection(doc! { "openCase": 1 });
    let mut marked = marked.session(&mut *session).await?;
    while let Some(order) = marked.next(&mut *session).await.transpose()? {
        let id = super::text(order.get("_id"));
        let says = order.get("openCase").and_then(lenient::as_text).unwrap_or_default();
        if open.remove(&id).is_none_or(|case| case != says) {
            audit.differs(format!(
                "the order {id} says that the dispute {says} is open about it, and it is not"
            ));
        }
    }
    for (order, case) in open {
        audit.differs(format!("the dispute {case} is open, and its order {order} does not say so"));
    }
    Ok(())
}

/// Takes a dispute's entries out of what is booked, and says what is wrong with them.
fn differences(
    case: &Case,
    order: Option<&Order>,
    credited: bool,
    booked: &mut BTreeMap<String, LedgerEntry>,
) -> Vec<String> {
    let mut found = Vec::new();
    let (held, shop) = (Money::from_minor(case.held.unwrap_or_default()), ledger::shop_account(case.shop));
    let is_open = case.state == CaseState::Open;
    let key = ledger::case_key(case.order, case.id);
    for (key, wanted, right) in [
        (key.clone(), held != Money::ZERO, held),
        (format!("{key}:ended"), held != Money::ZERO && !is_open, -held),
    ] {
        match booked.remove(&key) {
            None if wanted => found.push(format!("the ledger has no entry {key}")),
            Some(_) if !wanted => {
                found.push(format!("the ledger has an entry {key}, and there is no reason for it"));
            }
            Some(entry) => {
                let entry = [entry];
                let of = |name: &str| moved(&entry, |account| account == name);
                if [of(&shop), of(ledger::CASES)] != [-right, right] {
                    found.push(format!("the ledger's entry {key} is not of what the dispute has on hold"));
                }
            }
            None => {}
        }
    }
    let Some(order) = order else { return found };
    if is_open && credited {
        // Nothing else goes back while it is open.
        let right = kept(order);
        if case.held.map(Money::from_minor) != Some(right) {
            found.push(format!(
                "the dispute {} has {held} on hold, but {right} is what the shop has of the order",
                case.id
            ));
        }
    }
    if case.returned > 0 {
        let returned = order.refunds.iter().filter(|refund| refund.state == RefundState::Granted);
        if !returned.into_iter().any(|refund| refund.amount == Money::from_minor(case.returned)) {
            found.push(format!("the dispute {} gave money back, and its order knows nothing of it", case.id));
        }
    }
    found
}

/// What a shop has of an order that it was credited with.
fn kept(order: &Order) -> Money {
    let granted = order.refunds.iter().filter(|refund| refund.state == RefundState::Granted);
    let returned: Money = granted.map(|refund| refund.amount).sum();
    let fee = order.total.percent(order.service_fee.unwrap_or_default());
    let fee_left = fee - fee.first(returned.minor(), order.total.minor());
    order.total - returned - fee_left
}
