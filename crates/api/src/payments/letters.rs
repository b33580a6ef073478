//! Mails about payments: subject and text.

use shared::{
    model::{Dispute, DisputeShare, DisputeState, Payment},
    money::Money,
};

/// To a shop about a dispute that has begun.
pub(super) fn dispute_opened(dispute: &Dispute, share: &DisputeShare) -> (String, String) {
    let amount = Money::from_minor(share.minor);
    (
        format!("A payment of {amount} is disputed"),
        format!(
            "The bank of the buyer of your order {} wants {amount} back, for the reason \"{}\".\n\
             What you earned with it is on hold until that is decided.\n\n\
             If you have proof of the delivery, please answer this mail with it.\n",
            share.order, dispute.reason,
        ),
    )
}

/// To a shop about a dispute that has ended.
pub(super) fn dispute_closed(dispute: &Dispute, share: &DisputeShare) -> (String, String) {
    let amount = Money::from_minor(share.minor);
    if dispute.state == DisputeState::Lost {
        (
            format!("The dispute about {amount} is lost"),
            format!(
                "The bank of the buyer of your order {} has decided to take {amount} back.\n\
                 What you earned with it is not paid out. If the order has not left, do not send it.\n",
                share.order,
            ),
        )
    } else {
        (
            format!("The dispute about {amount} is won"),
            format!(
                "The payment of your order {} is yours: what you earned with it, of {amount}, is no longer\n\
                 on hold.\n",
                share.order,
            ),
        )
    }
}

/// About a payment that nobody used.
pub(super) fn unused(payment: &Payment) -> (String, String) {
    (
        "Your payment goes back to you".to_owned(),
        format!(
            "You have paid {}, but no order was placed with it. The money goes back the way it came.\n\n\
             The payment is {}.\n",
            payment.amount(),
            payment.id,
        ),
    )
}
