use serde::{Deserialize, Serialize};

use super::{Order, Shop, Stored};
use crate::{clock::Timestamp, id::Id, money::Money};

/// A payment through a gateway, as far as Souk has to do with it (`payments`): one that a checkout has
/// used, or one that the gateway has told of. Its id can be used once.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Payment {
    /// The gateway's id: a Stripe intent, a PayPal capture.
    #[serde(rename = "_id")]
    pub id: String,
    /// `stripe` or `paypal`.
    pub gateway: String,
    /// What was paid, in minor units.
    pub minor: i64,
    /// ISO code, upper case; earlier versions did not keep it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub currency: Option<String>,
    /// The checkout that it was used for. Empty: for none, it goes back to the payer. Absent: for none so
    /// far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkout_id: Option<String>,
    /// The orders it paid for.
    #[serde(default)]
    pub orders: Vec<Id<Order>>,
    /// When it was used, or, as long as it is not, when Souk heard of it.
    pub at: Timestamp,
    /// When the money was taken, by the gateway's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paid_at: Option<Timestamp>,
    /// The account that it was begun for; none if not through Souk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub buyer: Option<String>,
    /// PayPal's id of the person who paid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payer: Option<String>,
    /// What was asked to go back to the payer, oldest first.
    #[serde(default)]
    pub returns: Vec<Return>,
    /// Why an administrator has to look at it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attention: Option<Attention>,
    /// The administrator who has looked at it, by account id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settled_by: Option<String>,
    /// What that administrator decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settled_as: Option<Settled>,
    /// When.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settled_at: Option<Timestamp>,
    /// What it was about: the same needs no attention again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settled_why: Option<Attention>,
    /// And what there was to say about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settled_note: Option<String>,
    /// Counts what was settled: whoever settles writes it, so that two at once are one after the other.
    #[serde(default)]
    pub version: i64,
}

impl Stored for Payment {
    const COLLECTION: &'static str = "payments";
}

/// Money that goes back to whoever paid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Return {
    /// `refund:<order>`, `cancelled:<order>`, `unserved:<payment>`, …: unique, and known to the gateway.
    pub key: String,
    /// How much, in minor units.
    pub minor: i64,
    /// When it was asked for.
    pub asked_at: Timestamp,
    /// The gateway's id, once it has done it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refund_id: Option<String>,
}

/// Why somebody has to look at a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Attention {
    /// It succeeded, nobody has ordered with it, and it was not begun through Souk.
    Unclaimed,
    /// More of it went back than Souk has asked for.
    ReturnedElsewhere,
    /// A refund that the gateway had accepted failed later.
    ReturnFailed,
}

/// What an administrator decided about a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Settled {
    /// All of it goes back to the payer.
    Return,
    /// It stays as it is, and needs no attention any more.
    Keep,
}

/// What a gateway tells of a payment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum PaymentFact {
    /// The money has been taken.
    Succeeded {
        /// How much, in minor units.
        minor: i64,
        /// ISO code, upper case.
        currency: String,
        /// The account here that it was begun for.
        buyer: Option<String>,
        /// PayPal's id of the person who paid.
        payer: Option<String>,
    },
    /// It was declined; it may succeed yet.
    Failed {
        /// The gateway's words.
        why: String,
    },
    /// It was called off, and will not succeed.
    Cancelled,
    /// Money went back.
    Returned {
        /// The gateway's id of the refund.
        refund: String,
        /// How much, in minor units.
        minor: i64,
        /// [`Return::key`]; none for one that somebody made at the gateway.
        key: Option<String>,
    },
    /// So much of it went back so far.
    ReturnedInAll {
        /// In minor units.
        minor: i64,
    },
    /// A refund did not arrive after all; its money is back at the gateway.
    ReturnFailed {
        /// The gateway's id of the refund.
        refund: String,
        /// How much, in minor units.
        minor: i64,
    },
    /// Its payer's bank wants the money back.
    Disputed {
        /// The gateway's id of the dispute.
        dispute: String,
        /// How much, in minor units.
        minor: i64,
        /// The gateway's word.
        reason: String,
        /// How it stands.
        state: DisputeState,
    },
}

/// How a dispute stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DisputeState {
    /// Nobody has decided.
    #[default]
    Open,
    /// The money stays with the shop.
    Won,
    /// The money is the payer's.
    Lost,
}

/// A webhook that a gateway has called (`webhookevents`), kept for ever: what a payment has come to is
/// calculated from all of its events.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WebhookEvent {
    /// `stripe:<id>`, by the gateway's id of the event.
    #[serde(rename = "_id")]
    pub id: String,
    /// `stripe` or `paypal`.
    pub gateway: String,
    /// The gateway's name for what happened.
    pub name: String,
    /// The payment that it is about; none if it is of no interest.
    pub payment: Option<String>,
    /// What it says.
    pub fact: Option<PaymentFact>,
    /// When it happened, by the gateway's clock.
    pub at: Timestamp,
    /// When it came.
    pub received_at: Timestamp,
    /// Whether everything that follows from it has been done.
    pub applied: bool,
    /// Not to be tried before this moment.
    pub due_at: Timestamp,
    /// How often it was tried.
    #[serde(default)]
    pub attempts: i32,
    /// What the last try said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
}

impl Stored for WebhookEvent {
    const COLLECTION: &'static str = "webhookevents";
}

/// A payer's bank wants the money of a payment back (`disputes`). What the shops had from it is on hold
/// until it is decided.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Dispute {
    /// The gateway's id.
    #[serde(rename = "_id")]
    pub id: String,
    /// `stripe` or `paypal`.
    pub gateway: String,
    /// The payment.
    pub payment: String,
    /// What is disputed, in minor units.
    pub minor: i64,
    /// The gateway's word.
    pub reason: String,
    /// How it stands.
    pub state: DisputeState,
    /// Each order's part, as it was when Souk heard of the dispute. They add up to what the orders were
    /// still worth of it.
    pub shares: Vec<DisputeShare>,
    /// When Souk heard of it.
    pub opened_at: Timestamp,
    /// When Souk heard of its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_at: Option<Timestamp>,
}

impl Stored for Dispute {
    const COLLECTION: &'static str = "disputes";
}

/// One order's part of a dispute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DisputeShare {
    /// The order.
    pub order: Id<Order>,
    /// Its shop.
    pub shop: Id<Shop>,
    /// Its part, in minor units.
    pub minor: i64,
    /// What of that is the marketplace's fee, in minor units.
    pub fee_minor: i64,
}

impl Payment {
    /// One that no checkout has used.
    pub const fn new(id: String, gateway: String, amount: Money, at: Timestamp) -> Self {
        Self {
            id,
            gateway,
            minor: amount.minor(),
            currency: None,
            checkout_id: None,
            orders: Vec::new(),
            at,
            paid_at: None,
            buyer: None,
            payer: None,
            returns: Vec::new(),
            attention: None,
            settled_by: None,
            settled_as: None,
            settled_at: None,
            settled_why: None,
            settled_note: None,
            version: 0,
        }
    }

    /// What was paid.
    pub const fn amount(&self) -> Money {
        Money::from_minor(self.minor)
    }
}
