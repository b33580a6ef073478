use std::{fmt, future::Future, pin::Pin, sync::Arc};

use bytes::Bytes;
use shared::{
    clock::{Clock, Timestamp},
    config::Config,
    db::Db,
    model::{Payment, PaymentFact},
    money::Money,
};

use super::{guard::Guarded, paypal::Paypal, sandbox::Sandbox, stripe::Stripe};
use crate::error::{Error, Refusal};

/// What a gateway's call comes back with.
pub type GatewayFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, GatewayRefusal>> + Send + 'a>>;

/// The buyer of a payment that was begun by a call without a credential, where the mode accepts that.
pub const ANONYMOUS: &str = "anonymous";

/// A payment to be begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewPayment {
    /// What is to be paid.
    pub amount: Money,
    /// ISO code, upper case.
    pub currency: String,
    /// For whom: the hex id of an account here, or [`ANONYMOUS`]. The gateway keeps it with the payment.
    pub buyer: String,
    /// The same key again gives the same payment.
    pub key: Option<String>,
}

/// A payment that has begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Begun {
    /// As it stands.
    pub payment: GatewayPayment,
    /// What its payer's browser needs to go on: Stripe's client secret, the address where PayPal's payer
    /// agrees.
    pub secret: String,
}

/// A payment as its gateway knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayPayment {
    /// The id under which everything about it is filed: a Stripe intent, a PayPal capture. A PayPal order
    /// that nobody has captured yet has its own.
    pub id: String,
    /// What was to be paid.
    pub amount: Money,
    /// ISO code, upper case.
    pub currency: String,
    /// How far it has come.
    pub state: PaymentState,
    /// For whom it was begun, see [`NewPayment::buyer`]; none if not through Souk.
    pub buyer: Option<String>,
    /// PayPal's id of the person who paid: the same for ever.
    pub payer: Option<String>,
    /// When the money was taken, by the gateway's clock.
    pub paid_at: Option<Timestamp>,
}

impl GatewayPayment {
    /// The record of it, as long as no checkout has used it.
    pub fn record(&self, gateway: &str, at: Timestamp) -> Payment {
        Payment {
            currency: Some(self.currency.clone()),
            paid_at: self.paid_at,
            buyer: self.buyer.clone(),
            payer: self.payer.clone(),
            ..Payment::new(self.id.clone(), gateway.to_owned(), self.amount, at)
        }
    }
}

/// How far a payment has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PaymentState {
    /// The money has been taken.
    Succeeded,
    /// The payer has something to do yet, or the bank; which, in words for the payer.
    Waiting(String),
    /// It was declined or called off; why, in words for the payer.
    Failed(String),
}

/// Money to be returned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRefund {
    /// [`GatewayPayment::id`]
    pub payment: String,
    /// How much of it.
    pub amount: Money,
    /// ISO code, upper case.
    pub currency: String,
    /// The same key again returns nothing more, however much later. The gateway keeps it with the refund,
    /// which tells ours from those that somebody made at the gateway.
    pub key: String,
}

/// A call of a webhook, as it came.
#[derive(Clone, Debug)]
pub struct WebhookCall {
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// To the byte: it is signed.
    pub body: Bytes,
    /// When it came.
    pub at: Timestamp,
}

impl WebhookCall {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// What a gateway tells of its own accord, once it is sure that the gateway said it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The gateway's id of the event; it may come more than once.
    pub id: String,
    /// The gateway's name for what happened: `payment_intent.succeeded`.
    pub kind: String,
    /// When it happened, by the gateway's clock.
    pub at: Timestamp,
    /// The payment it is about ([`GatewayPayment::id`]) and what it says of it; none for what is of no
    /// interest.
    pub fact: Option<(String, PaymentFact)>,
}

/// Money that moved at a gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Movement {
    /// The payment's id, also for a refund.
    pub payment: String,
    /// What it was.
    pub kind: MovementKind,
    /// Always positive.
    pub amount: Money,
    /// When, by the gateway's clock.
    pub at: Timestamp,
}

/// The direction of a movement.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MovementKind {
    /// Money came in.
    Payment,
    /// Money went back.
    Refund {
        /// The gateway's id of the refund.
        id: String,
        /// Its key, which tells it from those that somebody made at the gateway: those have none.
        key: Option<String>,
    },
}

/// Why a gateway did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum GatewayRefusal {
    /// The gateway said no, in its own words; asking again will not help.
    #[error("{0}")]
    Refused(String),
    /// The gateway could not be asked, or its answer was lost; asking again may help.
    #[error("the payment gateway does not answer: {0:#}")]
    Unreachable(anyhow::Error),
    /// A webhook that the gateway did not send, or not lately.
    #[error("{0}")]
    Forged(String),
}

/// Takes and returns money. Each method is there for every gateway: a forgotten one must not compile.
pub trait Gateway: Send + Sync {
    /// The name in ledger accounts and payment records: `stripe`, `paypal`.
    fn name(&self) -> &'static str;
    /// Begins a payment.
    fn begin(&self, wanted: NewPayment) -> GatewayFuture<'_, Begun>;
    /// Takes the money that the payer has agreed to; again, it takes nothing more. A gateway whose
    /// payments take their money by themselves refuses.
    fn capture<'a>(&'a self, id: &'a str) -> GatewayFuture<'a, GatewayPayment>;
    /// What became of a payment; none if this gateway has no such id. Takes every id that its gateway has
    /// for it: the PayPal order as well as its capture.
    fn look_up<'a>(&'a self, id: &'a str) -> GatewayFuture<'a, Option<GatewayPayment>>;
    /// Returns money, and gives the gateway's id of the refund.
    fn refund<'a>(&'a self, wanted: &'a NewRefund) -> GatewayFuture<'a, String>;
    /// Makes sure that a webhook was called by the gateway, and lately, and reads it. Does not write
    /// anything.
    fn read_webhook<'a>(&'a self, call: &'a WebhookCall) -> GatewayFuture<'a, Notice>;
    /// The money that moved from one moment up to another, in any order.
    fn movements(&self, from: Timestamp, to: Timestamp) -> GatewayFuture<'_, Vec<Movement>>;
    /// For the start-up banner.
    fn describe(&self) -> String;
}

/// The gateways that are set up. One that is not answers with a refusal that says so.
#[derive(Clone)]
pub struct Gateways {
    /// Cards.
    stripe: Option<Arc<dyn Gateway>>,
    /// PayPal.
    paypal: Option<Arc<dyn Gateway>>,
    /// Those of the two that take no money.
    sandboxes: Vec<Arc<Sandbox>>,
}

const NO_CARDS: Refusal = Refusal::new(
    actix_web::http::StatusCode::SERVICE_UNAVAILABLE,
    "card_payments_unavailable",
    "Card payments are not available here; please choose cash on delivery",
);

const NO_PAYPAL: Refusal = Refusal::new(
    actix_web::http::StatusCode::SERVICE_UNAVAILABLE,
    "paypal_unavailable",
    "Payments by PayPal are not available here; please choose cash on delivery",
);

impl fmt::Debug for Gateways {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.describe())
    }
}

impl Gateways {
    /// Those whose keys are set. The sandbox takes the others' places, but never in production, where a
    /// stand-in that takes no money must not pass for a payment: there only cash on delivery is left.
    pub fn from_config(config: &Config, db: &Db, clock: &Clock) -> anyhow::Result<Self> {
        let limits = config.gateway_limits;
        let mut sandboxes = Vec::new();
        let mut sandbox = |name| -> Option<Arc<dyn Gateway>> {
            if config.is_production() {
                return None;
            }
            let sandbox = Arc::new(Sandbox::new(name, db.clone(), clock.clone()));
            sandboxes.push(Arc::clone(&sandbox));
            Some(Arc::new(Guarded::new(sandbox, limits)))
        };
        let stripe: Option<Arc<dyn Gateway>> = match &config.stripe {
            Some(keys) => Some(Arc::new(Guarded::new(Arc::new(Stripe::new(keys)?), limits))),
            None => sandbox("stripe"),
        };
        let paypal: Option<Arc<dyn Gateway>> = match &config.paypal {
            Some(keys) => {
                let paypal = Paypal::new(keys, &config.currency, clock.clone())?;
                Some(Arc::new(Guarded::new(Arc::new(paypal), limits)))
            }
            None => sandbox("paypal"),
        };
        Ok(Self { stripe, paypal, sandboxes })
    }

    /// The card gateway, or the refusal that says there is none.
    pub fn cards(&self) -> Result<&dyn Gateway, Error> {
        self.stripe.as_deref().ok_or(NO_CARDS.into())
    }

    /// The PayPal gateway, or the refusal that says there is none.
    pub fn paypal(&self) -> Result<&dyn Gateway, Error> {
        self.paypal.as_deref().ok_or(NO_PAYPAL.into())
    }

    /// Every gateway that is set up.
    pub fn all(&self) -> impl Iterator<Item = &dyn Gateway> {
        [&self.stripe, &self.paypal].into_iter().filter_map(|gateway| gateway.as_deref())
    }

    /// The gateway that a payment record names.
    pub fn named(&self, name: &str) -> Result<&dyn Gateway, GatewayRefusal> {
        let unknown = || GatewayRefusal::Refused(format!("no gateway named {name} is set up"));
        self.all().find(|gateway| gateway.name() == name).ok_or_else(unknown)
    }

    /// A gateway that can be told what to do, if it is one that takes no money.
    pub(super) fn sandbox(&self, name: &str) -> Option<&Arc<Sandbox>> {
        self.sandboxes.iter().find(|sandbox| sandbox.name() == name)
    }

    /// For the start-up banner.
    pub fn describe(&self) -> String {
        let one = |name: &str, gateway: &Option<Arc<dyn Gateway>>| match gateway {
            Some(gateway) => format!("{name}: {}", gateway.describe()),
            None => format!("{name}: off"),
        };
        format!("{}, {}", one("cards", &self.stripe), one("PayPal", &self.paypal))
    }
}
