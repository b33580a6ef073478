//! Letters about payments and what banks say of them.

use shared::{
    model::{Dispute, DisputeShare, DisputeState, Payment},
    money::Money,
};

use super::Letter;

/// To a shop about a dispute with a bank that has begun.
pub(crate) fn dispute_opened(dispute: &Dispute, share: &DisputeShare) -> Letter {
    let amount = Money::from_minor(share.minor);
    Letter::about(format!("A payment of {amount} is disputed"))
        .say(format!(
            "The bank of the buyer of your order {} wants {amount} back, for the reason \"{}\".\n\
             What you earned with it is on hold until that is decided.",
            share.order, dispute.reason,
        ))
        .say("If you have proof of the delivery, please answer this mail with it.")
}

/// To a shop about a dispute with a bank that has ended.
pub(crate) fn dispute_closed(dispute: &Dispute, share: &DisputeShare) -> Letter {
    let (amount, order) = (Money::from_minor(share.minor), share.order);
    if dispute.state == DisputeState::Lost {
        Letter::about(format!("The dispute about {amount} is lost"))
            .say(format!("The bank of the buyer of your order {order} has decided to take {amount} back."))
            .say("What you earned with it is not paid out. If the order has not left, do not send it.")
    } else {
        Letter::about(format!("The dispute about {amount} is won"))
            .say(format!("The payment of your order {order} is yours."))
            .say(format!("What you earned with it, of {amount}, is no longer on hold."))
    }
}

/// About a payment that nobody used.
pub(crate) fn unused(payment: &Payment) -> Letter {
    Letter::about("Your payment goes back to you")
        .say(format!(
            "You have paid {}, but no order was placed with it. The money goes back the way it came.",
            payment.amount(),
        ))
        .say(format!("The payment is {}.", payment.id))
}
