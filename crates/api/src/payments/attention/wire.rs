use serde::{Deserialize, Serialize};
use shared::{
    clock::{Timestamp, iso},
    model::{Attention, Order, Payment, Settled},
    money::Money,
};

use super::{rules::Refused, store::Claim};
use crate::error::Refusal;

/// `PUT /api/payment/settle/{id}`
#[derive(Deserialize)]
pub(super) struct Settlement {
    pub decision: Option<String>,
    pub note: Option<String>,
}

/// `PUT /api/payment/verify-claim/{checkoutId}`
#[derive(Deserialize)]
pub(super) struct Verification {
    pub capture: Option<String>,
}

/// A payment as administrators see it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PaymentReply {
    #[serde(rename = "_id")]
    id: String,
    gateway: String,
    amount: Money,
    #[serde(skip_serializing_if = "Option::is_none")]
    currency: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<Attention>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'static str>,
    at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    paid_at: Option<String>,
    /// The account that it was begun for.
    #[serde(skip_serializing_if = "Option::is_none")]
    buyer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payer: Option<String>,
    orders: Vec<String>,
    /// What was asked to go back.
    returned: Money,
    /// Whether it can be returned as a whole, because no order was paid with it.
    returnable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    decision: Option<Settled>,
    #[serde(skip_serializing_if = "Option::is_none")]
    settled_by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    settled_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

impl From<Payment> for PaymentReply {
    fn from(payment: Payment) -> Self {
        let returned = payment.returns.iter().map(|one| Money::from_minor(one.minor)).sum();
        Self {
            amount: payment.amount(),
            returnable: payment.checkout_id.is_none() && payment.attention.is_some(),
            message: payment.attention.or(payment.settled_why).map(in_words),
            why: payment.attention.or(payment.settled_why),
            at: iso(payment.at),
            paid_at: payment.paid_at.map(iso),
            orders: payment.orders.iter().map(|id| id.hex()).collect(),
            returned,
            id: payment.id,
            gateway: payment.gateway,
            currency: payment.currency,
            buyer: payment.buyer,
            payer: payment.payer,
            decision: payment.settled_as,
            settled_by: payment.settled_by,
            settled_at: payment.settled_at.map(iso),
            note: payment.settled_note,
        }
    }
}

const fn in_words(why: Attention) -> &'static str {
    match why {
        Attention::Unclaimed => "It was paid, but not begun through Souk, and nobody has ordered with it",
        Attention::ReturnedElsewhere => {
            "More of it went back than Souk has asked for: somebody refunded it at the gateway"
        }
        Attention::ReturnFailed => {
            "A refund that the gateway had accepted failed later: the payer does not have the money"
        }
    }
}

/// A checkout whose buyer says to have paid by PayPal.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ClaimReply {
    checkout_id: String,
    /// PayPal's id of whoever says to have paid.
    payer: String,
    /// Of the whole checkout: what the payment must come to.
    total: Money,
    placed_at: String,
    orders: Vec<ClaimedOrder>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ClaimedOrder {
    #[serde(rename = "_id")]
    id: String,
    status: &'static str,
    total_price: Money,
    shop: ShopName,
}

#[derive(Serialize)]
struct ShopName {
    #[serde(rename = "_id")]
    id: String,
    name: String,
}

impl From<&Order> for ClaimedOrder {
    fn from(order: &Order) -> Self {
        let shop = order.cart.first().and_then(|line| line.shop.as_ref());
        Self {
            id: order.id.hex(),
            status: order.status.text(),
            total_price: order.total,
            shop: ShopName {
                id: order.shop_id.hex(),
                name: shop.map(|shop| shop.name.clone()).unwrap_or_default(),
            },
        }
    }
}

impl From<Claim> for ClaimReply {
    fn from(claim: Claim) -> Self {
        let payer = claim.orders.first().and_then(|order| order.payment.as_ref()?.id.clone());
        Self {
            payer: payer.unwrap_or_default(),
            total: claim.orders.iter().map(|order| order.total).sum(),
            placed_at: iso(claim.at),
            orders: claim.orders.iter().map(Into::into).collect(),
            checkout_id: claim.checkout,
        }
    }
}

/// What waits for an administrator.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NeedingAttention {
    pub success: bool,
    pub payments: Vec<PaymentReply>,
    pub claims: Vec<ClaimReply>,
    pub refunds_given_up: GivenUp,
    /// Leads to the next page; there is none on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// Refunds that the gateway refused, or did not answer to for too long.
#[derive(Serialize)]
pub(super) struct GivenUp {
    pub count: u64,
    /// What lists them, and has them tried again.
    pub command: &'static str,
}

#[derive(Serialize)]
pub(super) struct SettledReply {
    pub success: bool,
    pub message: String,
    pub payment: PaymentReply,
}

/// What became of a decision.
pub(super) fn settled(payment: Payment, changed: bool) -> SettledReply {
    let message = match payment.settled_as {
        _ if !changed => "Nothing to do: this was decided before".to_owned(),
        Some(Settled::Return) => format!("{} goes back to the payer", payment.amount()),
        _ => "Taken note of".to_owned(),
    };
    SettledReply { success: true, message, payment: payment.into() }
}

/// What became of a claim.
pub(super) fn verified(payment: Payment, by_word: bool, changed: bool) -> SettledReply {
    let message = if !changed {
        "Nothing to do: this was verified before"
    } else if by_word {
        "The checkout counts as paid, on your word: the connected PayPal account does not know the payment"
    } else {
        "The checkout is paid with this payment"
    };
    SettledReply { success: true, message: message.to_owned(), payment: payment.into() }
}

/// Where a page of the list begins: payments first, then claims, each from the oldest on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cursor {
    pub section: Section,
    pub at: Timestamp,
    pub id: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Section {
    Payments,
    Claims,
}

impl Cursor {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, '.');
        let section = match parts.next()? {
            "payment" => Section::Payments,
            "claim" => Section::Claims,
            _ => return None,
        };
        let at = Timestamp::from_millis(parts.next()?.parse().ok()?);
        Some(Self { section, at, id: parts.next()?.to_owned() })
    }

    pub(super) fn text(&self) -> String {
        let section = match self.section {
            Section::Payments => "payment",
            Section::Claims => "claim",
        };
        format!("{section}.{}.{}", self.at.timestamp_millis(), self.id)
    }
}

pub(super) const DECISIONS: &str = "must be return or keep";
pub(super) const NOTE: &str = "must be one line of at most 500 characters";

pub(super) const CAPTURE: &str = "must be the id of a PayPal order or capture";

pub(super) const NO_CLAIM: Refusal = Refusal::not_found(
    "claim_not_found",
    "There is no such checkout whose buyer says to have paid by PayPal",
);
const VERIFIED: Refusal =
    Refusal::conflict("already_verified", "This checkout was verified with another payment before");
pub(super) const NOT_PAID: Refusal =
    Refusal::conflict("payment_not_succeeded", "PayPal has not taken this money");

/// Names the payment that it was.
pub(super) fn verified_otherwise(payment: &str) -> Refusal {
    VERIFIED.saying(format!("This checkout was verified with another payment before: {payment}"))
}

pub(super) const NOT_FOUND: Refusal =
    Refusal::not_found("payment_not_found", "There is no such payment in our books");
const SETTLED: Refusal = Refusal::conflict("already_settled", "This was decided otherwise before");
const NOTHING: Refusal = Refusal::conflict(
    "nothing_to_decide",
    "This payment needs no decision any more: it was used for an order, or what was the matter has been mended",
);
const USED: Refusal = Refusal::conflict(
    "payment_used",
    "This payment has paid for orders. Those can be refunded by their shops; the payment itself can only be kept",
);
const GOES_BACK: Refusal = Refusal::conflict(
    "payment_returned",
    "All of this payment was asked to go back already; `souk outbox` lists refunds that were given up",
);

pub(super) fn refused(why: Refused) -> Refusal {
    match why {
        Refused::Settled(Settled::Return) => {
            SETTLED.saying("It was decided before that this payment goes back")
        }
        Refused::Settled(Settled::Keep) => SETTLED.saying("It was decided before that this payment is kept"),
        Refused::NothingToDecide => NOTHING,
        Refused::Used => USED,
        Refused::GoesBack => GOES_BACK,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_leads_back_to_where_it_came_from() {
        for section in [Section::Payments, Section::Claims] {
            let cursor = Cursor { section, at: Timestamp::from_millis(-5), id: "a.b".to_owned() };
            assert_eq!(Cursor::parse(&cursor.text()), Some(cursor));
        }
        for bad in ["", "payment", "payment.1", "claim.x.a", "order.1.a"] {
            assert_eq!(Cursor::parse(bad), None, "{bad}");
        }
    }
}
