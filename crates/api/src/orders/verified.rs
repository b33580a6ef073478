//! A payer's claim turns out to be true: its orders count as paid, and what waited for that is made up for.

use bson::doc;
use mongodb::ClientSession;
use shared::{
    clock::Timestamp,
    db::Db,
    model::{Order, Payment, PaymentInfo, Refund, RefundState, Status},
};

use super::{
    earnings::{self, Rates},
    refunds,
};
use crate::{
    error::Result,
    outbox::Outbox,
    payments::{disputes, store as payments},
};

/// Has an order count as paid by a payment. A shop that has delivered is credited now; what was granted back
/// or called off while nobody knew of the money goes back.
pub(crate) async fn confirm(
    db: &Db,
    session: &mut ClientSession,
    outbox: &Outbox,
    order: &Order,
    payment: &Payment,
    rates: Rates,
    now: Timestamp,
) -> Result<()> {
    let status = match order.status {
        Status::Cancelled | Status::RefundSuccess => PaymentInfo::REFUNDED,
        _ => PaymentInfo::SUCCEEDED,
    };
    let set = doc! { "paymentInfo.status": status, "paidAt": payment.paid_at.unwrap_or(now) };
    // The transaction's snapshot makes this conditional on the order as it was read.
    let update = doc! { "$set": set, "$inc": { "__v": 1 } };
    db.of::<Order>().update_one(doc! { "_id": order.id }, update).session(&mut *session).await?;
    if order.delivered_at.is_some() {
        earnings::credit(db, session, order, rates, now).await?;
        disputes::follow_credit(db, session, order, now).await?;
    }
    let granted = |refund: &Refund| refund.state == RefundState::Granted;
    // Each refund as it would have been booked when it was granted: knowing of those before it.
    let mut then = Order { refunds: Vec::new(), ..order.clone() };
    for refund in order.refunds.iter().filter(|refund| granted(refund)) {
        let key = earnings::refund_key("refund", &then);
        if order.delivered_at.is_some() {
            earnings::take_back(db, session, &then, rates, refund.amount, now).await?;
        }
        payments::ask_return(db, session, outbox, &payment.id, refund.amount, key, now).await?;
        then.refunds.push(refund.clone());
    }
    let rest = earnings::value(order, rates) - refunds::returned(order);
    if order.status == Status::Cancelled {
        let key = earnings::refund_key("cancelled", &then);
        payments::ask_return(db, session, outbox, &payment.id, rest, key, now).await?;
    }
    Ok(())
}
