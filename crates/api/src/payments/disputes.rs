//! When a payer's bank wants money back: what the shops had of it is on hold until the bank has decided,
//! goes back to them if it decides for them, and is gone if not.
//!
//! Which entries of the ledger there are follows from the dispute and from whether the order was credited,
//! never from what came first.

use std::collections::BTreeMap;

use bson::doc;
use futures_util::TryStreamExt as _;
use mongodb::ClientSession;
use shared::{
    clock::Timestamp,
    db::Db,
    id::Id,
    ledger,
    model::{Dispute, DisputeShare, DisputeState, Order, Payment, PaymentInfo, Status},
    money::Money,
};

use super::{
    standing::{Disputed, Standing},
    store,
};
use crate::{
    cases,
    error::Result,
    letters,
    orders::{
        earnings::{self, Rates},
        refunds,
    },
    outbox::Outbox,
};

/// Has the disputes of a payment taken down and their money where it belongs. Gives the orders whose money
/// is lost.
pub(super) async fn settle(
    db: &Db,
    session: &mut ClientSession,
    outbox: &Outbox,
    payment: &Payment,
    standing: &Standing,
    rates: Rates,
    now: Timestamp,
) -> Result<Vec<Id<Order>>> {
    if standing.disputes.is_empty() {
        return Ok(Vec::new());
    }
    let orders = orders(db, session, payment).await?;
    let case = Case { payment, orders: &orders, rates, now };
    let mut disputes = Vec::new();
    for (id, stands) in &standing.disputes {
        disputes.push(take_down(db, session, outbox, &case, id, stands).await?);
    }
    let mut lost = Vec::new();
    for order in &orders {
        let takes_over = |dispute: &Dispute| {
            dispute.state != DisputeState::Won && dispute.shares.iter().any(|share| share.order == order.id)
        };
        if disputes.iter().any(takes_over) {
            cases::give_way(db, session, outbox, order, now).await?;
        }
        for dispute in &disputes {
            book(db, session, order, dispute, now).await?;
        }
        let of_order = disputes.iter().filter(|d| d.shares.iter().any(|share| share.order == order.id));
        let worst = of_order.map(|d| d.state).min_by_key(|state| match state {
            DisputeState::Open => 0,
            DisputeState::Lost => 1,
            DisputeState::Won => 2,
        });
        let status = match worst {
            None => continue,
            Some(DisputeState::Open) => PaymentInfo::DISPUTED,
            Some(DisputeState::Lost) => PaymentInfo::CHARGED_BACK,
            Some(DisputeState::Won) => PaymentInfo::SUCCEEDED,
        };
        // Of what was taken back in part, the rest was paid: it is still served.
        let gone = disputes.iter().filter(|dispute| dispute.state == DisputeState::Lost);
        let gone = gone.flat_map(|dispute| &dispute.shares).filter(|share| share.order == order.id);
        let gone: i64 = gone.map(|share| share.minor).sum();
        let worth = earnings::value(order, rates) - refunds::returned(order);
        if status == PaymentInfo::CHARGED_BACK && gone >= worth.minor() {
            lost.push(order.id);
        }
        if status == PaymentInfo::SUCCEEDED && is_given_up(order) {
            // The bank gave the money back after all, and there is nothing to send for it any more.
            let back = earnings::value(order, rates) - refunds::returned(order);
            let key = format!("cancelled:{}", order.id);
            store::ask_return(db, session, outbox, &payment.id, back, key, now).await?;
            let update =
                doc! { "$set": { "paymentInfo.status": PaymentInfo::REFUNDED }, "$inc": { "__v": 1 } };
            db.of::<Order>().update_one(doc! { "_id": order.id }, update).session(&mut *session).await?;
            continue;
        }
        // What went back to the buyer already stays so.
        let still = [PaymentInfo::SUCCEEDED, PaymentInfo::DISPUTED, PaymentInfo::CHARGED_BACK];
        let filter = doc! { "_id": order.id, "paymentInfo.status": { "$in": still.to_vec() } };
        // Written in any case: whoever credits the order at the same time has to see every dispute.
        let update = doc! { "$set": { "paymentInfo.status": status }, "$inc": { "__v": 1 } };
        db.of::<Order>().update_one(filter, update).session(&mut *session).await?;
    }
    Ok(lost)
}

/// Whether an order was cancelled because its money was lost.
fn is_given_up(order: &Order) -> bool {
    let status = order.payment.as_ref().and_then(|payment| payment.status.as_deref());
    order.status == Status::Cancelled && status == Some(PaymentInfo::CHARGED_BACK)
}

async fn orders(
    db: &Db,
    session: &mut ClientSession,
    payment: &Payment,
) -> mongodb::error::Result<Vec<Order>> {
    let filter = doc! { "_id": { "$in": payment.orders.clone() } };
    let mut found = db.of::<Order>().find(filter).sort(doc! { "_id": 1 }).session(&mut *session).await?;
    found.stream(session).try_collect().await
}

/// What a dispute is about.
struct Case<'c> {
    payment: &'c Payment,
    /// Those that it paid for.
    orders: &'c [Order],
    rates: Rates,
    now: Timestamp,
}

/// Writes down how a dispute stands, and tells the shops what is new.
async fn take_down(
    db: &Db,
    session: &mut ClientSession,
    outbox: &Outbox,
    case: &Case<'_>,
    id: &str,
    stands: &Disputed,
) -> Result<Dispute> {
    let disputes = db.of::<Dispute>();
    let known = disputes.find_one(doc! { "_id": id }).session(&mut *session).await?;
    let told = known.as_ref().map(|known| (known.shares.is_empty(), known.state));
    let mut dispute = known.unwrap_or_else(|| Dispute {
        id: id.to_owned(),
        gateway: case.payment.gateway.clone(),
        payment: case.payment.id.clone(),
        minor: 0,
        reason: String::new(),
        state: DisputeState::Open,
        shares: Vec::new(),
        opened_at: case.now,
        closed_at: None,
    });
    if dispute.shares.is_empty() {
        (dispute.minor, dispute.reason) = (stands.minor, stands.reason.clone());
        dispute.shares = shares(Money::from_minor(stands.minor), case.orders, case.rates);
    }
    dispute.state = stands.state;
    if stands.state != DisputeState::Open && dispute.closed_at.is_none() {
        dispute.closed_at = Some(case.now);
    }
    disputes.replace_one(doc! { "_id": id }, &dispute).upsert(true).session(&mut *session).await?;
    // Each shop is told once that it began and once how it ended, however the news came.
    let opened = told.is_none_or(|(nobody, _)| nobody);
    let closed = stands.state != DisputeState::Open
        && told.is_none_or(|(nobody, before)| nobody || before == DisputeState::Open);
    for share in &dispute.shares {
        if opened {
            outbox.write_to(session, share.shop, letters::dispute_opened(&dispute, share)).await?;
        }
        if closed {
            outbox.write_to(session, share.shop, letters::dispute_closed(&dispute, share)).await?;
        }
    }
    Ok(dispute)
}

/// Each order's part of what is disputed, by what it is still worth.
fn shares(disputed: Money, orders: &[Order], rates: Rates) -> Vec<DisputeShare> {
    let left = |order: &Order| {
        let went_back = order.payment.as_ref().and_then(|payment| payment.status.as_deref());
        if went_back == Some(PaymentInfo::REFUNDED) {
            return Money::ZERO;
        }
        earnings::value(order, rates) - refunds::returned(order)
    };
    let weights: Vec<Money> = orders.iter().map(left).collect();
    let parts = disputed.min(weights.iter().copied().sum()).split(&weights);
    orders
        .iter()
        .zip(parts)
        .filter(|(_, part)| *part > Money::ZERO)
        .map(|(order, part)| {
            let (fee, value) = (earnings::fee(order, rates), earnings::value(order, rates));
            let fee = refunds::fee_back(fee, value, refunds::returned(order), part);
            let shop = earnings::shop_of(order);
            DisputeShare { order: order.id, shop, minor: part.minor(), fee_minor: fee.minor() }
        })
        .collect()
}

/// An order has been credited: if it is disputed, the credit shares the fate of the dispute.
pub(crate) async fn follow_credit(
    db: &Db,
    session: &mut ClientSession,
    order: &Order,
    now: Timestamp,
) -> mongodb::error::Result<()> {
    let filter = doc! { "shares.order": order.id };
    let mut found = db.of::<Dispute>().find(filter).sort(doc! { "_id": 1 }).session(&mut *session).await?;
    let disputes: Vec<Dispute> = found.stream(session).try_collect().await?;
    for dispute in &disputes {
        book(db, session, order, dispute, now).await?;
    }
    Ok(())
}

/// Books what a dispute means for the credit of one order, as far as that is not booked yet. What was never
/// credited is not put on hold either.
async fn book(
    db: &Db,
    session: &mut ClientSession,
    order: &Order,
    dispute: &Dispute,
    now: Timestamp,
) -> mongodb::error::Result<()> {
    let Some(share) = dispute.shares.iter().find(|share| share.order == order.id) else { return Ok(()) };
    if ledger::entry(db, session, &earnings::credit_key(order.id)).await?.is_none() {
        return Ok(());
    }
    let (all, fee) = (Money::from_minor(share.minor), Money::from_minor(share.fee_minor));
    let (shop, earned) = (ledger::shop_account(share.shop), all - fee);
    let key = ledger::dispute_key(order.id, &dispute.id);
    if ledger::entry(db, session, &key).await?.is_none() {
        let lines = vec![ledger::line(&*shop, -earned), ledger::line(ledger::DISPUTES, earned)];
        ledger::book(db, session, key.clone(), now, lines).await?;
        ledger::credit(db, session, share.shop, -earned, "On hold", now).await?;
    }
    let (end, right) = match dispute.state {
        DisputeState::Open => return Ok(()),
        DisputeState::Won => {
            ("won", vec![ledger::line(ledger::DISPUTES, -earned), ledger::line(&*shop, earned)])
        }
        DisputeState::Lost => (
            "lost",
            vec![
                ledger::line(ledger::DISPUTES, -earned),
                ledger::line(ledger::FEES, -fee),
                ledger::line(ledger::source(order.payment.as_ref()), all),
            ],
        ),
    };
    // Banks change their minds: then only what is different moves.
    let ends = ledger::entries_below(db, session, &key).await?;
    let mut moves: BTreeMap<String, i64> = BTreeMap::new();
    for line in right {
        *moves.entry(line.account).or_default() += line.minor;
    }
    for line in ends.iter().flat_map(|entry| &entry.lines) {
        *moves.entry(line.account.clone()).or_default() -= line.minor;
    }
    moves.retain(|_, minor| *minor != 0);
    let key = match ends.len() {
        0 => format!("{key}:{end}"),
        _ if moves.is_empty() => return Ok(()),
        earlier => format!("{key}:{end}:{}", earlier + 1),
    };
    let to_shop = Money::from_minor(moves.get(&*shop).copied().unwrap_or_default());
    let lines = moves.into_iter().map(|(account, minor)| ledger::line(account, Money::from_minor(minor)));
    ledger::book(db, session, key, now, lines.collect()).await?;
    if to_shop != Money::ZERO {
        let word = if to_shop.is_negative() { "Charged back" } else { "Released" };
        ledger::credit(db, session, share.shop, to_shop, word, now).await?;
    }
    Ok(())
}
