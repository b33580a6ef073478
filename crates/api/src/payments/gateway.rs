use std::{fmt, future::Future, pin::Pin, sync::Arc};

use shared::{clock::Clock, config::Config, db::Db, money::Money};

use super::sandbox::Sandbox;
use crate::error::{Error, Refusal};

/// What a gateway's call comes back with.
pub type GatewayFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, GatewayRefusal>> + Send + 'a>>;

/// A payment as its gateway knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayPayment {
    /// The gateway's id.
    pub id: String,
    /// What was to be paid.
    pub amount: Money,
    /// ISO code, upper case.
    pub currency: String,
    /// The money has been taken.
    pub succeeded: bool,
}

/// Why a gateway did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum GatewayRefusal {
    /// The gateway said no, in its own words; asking again will not help.
    #[error("{0}")]
    Refused(String),
    /// The gateway could not be asked; asking again may help.
    #[error("the payment gateway does not answer: {0:#}")]
    Unreachable(anyhow::Error),
}

/// Takes and returns money. Each method is there for every gateway: a forgotten one must not compile.
pub trait Gateway: Send + Sync {
    /// The name in ledger accounts and payment records: `stripe`, `paypal`.
    fn name(&self) -> &'static str;
    /// Begins a payment; the second part of the answer is the secret that its payer's browser needs.
    /// The same key again gives the same payment and secret.
    fn begin(
        &self,
        amount: Money,
        currency: String,
        key: Option<String>,
    ) -> GatewayFuture<'_, (GatewayPayment, String)>;
    /// What became of a payment; none if this gateway has no such id.
    fn look_up<'a>(&'a self, id: &'a str) -> GatewayFuture<'a, Option<GatewayPayment>>;
    /// Returns money; the same key again changes nothing.
    fn refund<'a>(&'a self, id: &'a str, amount: Money, key: &'a str) -> GatewayFuture<'a, ()>;
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
}

const NO_CARDS: Refusal = Refusal::new(
    actix_web::http::StatusCode::SERVICE_UNAVAILABLE,
    "card_payments_unavailable",
    "Card payments are not available here; please choose cash on delivery",
);

impl fmt::Debug for Gateways {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.describe())
    }
}

impl Gateways {
    /// The sandbox, but never in production, where a stand-in that takes no money must not pass for a
    /// payment: there only cash on delivery is left. Real gateways are not connected yet.
    pub fn from_config(config: &Config, db: &Db, clock: &Clock) -> Self {
        let sandbox = |name| -> Option<Arc<dyn Gateway>> {
            if config.is_production() {
                return None;
            }
            Some(Arc::new(Sandbox::new(name, db.clone(), clock.clone())))
        };
        for (name, configured) in [("Stripe", config.stripe.is_some()), ("PayPal", config.paypal.is_some())] {
            if configured {
                let instead =
                    if config.is_production() { "such payments are off" } else { "the sandbox is used" };
                tracing::warn!("the keys of {name} are set, but this version does not use them: {instead}");
            }
        }
        Self { stripe: sandbox("stripe"), paypal: sandbox("paypal") }
    }

    /// The card gateway, or the refusal that says there is none.
    pub fn cards(&self) -> Result<&dyn Gateway, Error> {
        self.stripe.as_deref().ok_or(NO_CARDS.into())
    }

    /// The PayPal gateway, if there is one.
    pub fn paypal(&self) -> Option<&dyn Gateway> {
        self.paypal.as_deref()
    }

    /// Returns money through the gateway that a payment record names.
    pub async fn refund(
        &self,
        gateway: &str,
        payment_id: &str,
        amount: Money,
        key: &str,
    ) -> Result<(), GatewayRefusal> {
        let found = [&self.stripe, &self.paypal].into_iter().flatten().find(|g| g.name() == gateway);
        match found {
            Some(gateway) => gateway.refund(payment_id, amount, key).await,
            None => Err(GatewayRefusal::Refused(format!("no gateway named {gateway} is set up"))),
        }
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
