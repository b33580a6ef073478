//! Money of an order goes back because a dispute about it has ended so.

use bson::doc;
use mongodb::ClientSession;
use shared::{
    clock::Timestamp,
    db::Db,
    model::{Order, Refund, RefundState, Status, StatusChange},
    money::Money,
};

use super::{
    earnings::{self, Rates},
    refunds,
    rules::{self, MoneyMove, Step, StockMove, Wish},
    store::Owner,
    transition::{self, Change, Going, RefundWanted},
};
use crate::{
    error::{Error, Result},
    outbox::Outbox,
};

/// What of an order's value is not back with its buyer.
pub(crate) fn left(order: &Order, rates: Rates) -> Money {
    earnings::value(order, rates) - refunds::returned(order)
}

/// Gives money of an order back. All that is left ends the order, and its units come back with it; less than that is
/// money alone. A refund that waits for the shop is refused, since this is in its place. The dispute is over.
pub(crate) async fn give_back(
    db: &Db,
    outbox: &Outbox,
    session: &mut ClientSession,
    order: &Order,
    amount: Money,
    rates: Rates,
    now: Timestamp,
) -> Result<()> {
    let is_whole = amount == left(order, rates);
    let units = if is_whole { refunds::left(order) } else { Vec::new() };
    let to = match order.status {
        _ if is_whole => Status::RefundSuccess,
        Status::RefundProcessing => Status::Delivered,
        status => status,
    };
    let money = if order.delivered_at.is_some() { MoneyMove::Reverse } else { MoneyMove::Return };
    let stock = if is_whole { rules::put_back(order) } else { StockMove::Stay };
    let step = Step { from: order.status, to, stock, money, back: units };
    let (owner, wish, refund) = (Owner::Anyone, Wish::GrantRefund, RefundWanted::default());
    let change = Change { owner, id: order.id, wish, refund, now, rates };
    let value = earnings::value(order, rates);
    let going = Going { order, step: &step, change: &change, value, back: amount };
    let mut set = doc! { "status": to.text() };
    let stock_state = transition::move_stock(db, session, &going).await?;
    set.insert("stockState", bson::serialize_to_bson(&stock_state).map_err(anyhow::Error::from)?);
    let mut list = refused(order, now);
    list.push(Refund {
        items: refunds::items(order, &step.back),
        amount,
        reason: Some("What a dispute has come to".to_owned()),
        state: RefundState::Granted,
        asked_at: Some(now),
        decided_at: Some(now),
    });
    set.insert("refunds", bson::serialize_to_bson(&list).map_err(anyhow::Error::from)?);
    for units in &step.back {
        let Some(line) = order.cart.get(units.line) else { continue };
        set.insert(format!("cart.{}.refunded", line.place), line.refunded + units.count);
    }
    transition::move_money(db, outbox, session, &going, &mut set).await?;
    write(db, session, order, to, set, now).await
}

/// The dispute is over, and the money stays. With `for_good`, a refund that waits for the shop is refused.
pub(crate) async fn leave(
    db: &Db,
    session: &mut ClientSession,
    order: &Order,
    for_good: bool,
    now: Timestamp,
) -> Result<()> {
    let mut set = doc! {};
    let mut to = order.status;
    if for_good && order.status == Status::RefundProcessing {
        to = Status::Delivered;
        set.insert("status", to.text());
        let list = refused(order, now);
        set.insert("refunds", bson::serialize_to_bson(&list).map_err(anyhow::Error::from)?);
    }
    write(db, session, order, to, set, now).await
}

/// The order's refunds, the one that waits for the shop refused.
fn refused(order: &Order, now: Timestamp) -> Vec<Refund> {
    let mut list = order.refunds.clone();
    if let Some(asked) = list.last_mut().filter(|refund| refund.state == RefundState::Asked) {
        asked.state = RefundState::Refused;
        asked.decided_at = Some(now);
    }
    list
}

async fn write(
    db: &Db,
    session: &mut ClientSession,
    order: &Order,
    to: Status,
    set: bson::Document,
    now: Timestamp,
) -> Result<()> {
    let mut update = doc! { "$unset": { "openCase": "" }, "$inc": { "__v": 1 } };
    if !set.is_empty() {
        update.insert("$set", set);
    }
    if to != order.status {
        let note = Some("What a dispute has come to".to_owned());
        let entry = StatusChange { status: to, at: Some(now), note };
        let entry = bson::serialize_to_bson(&entry).map_err(anyhow::Error::from)?;
        update.insert("$push", doc! { "statusHistory": entry });
    }
    // The transaction's snapshot makes this conditional on the order as it was read.
    db.of::<Order>()
        .update_one(doc! { "_id": order.id }, update)
        .session(session)
        .await
        .map_err(Error::from)?;
    Ok(())
}
