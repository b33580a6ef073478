//! One checkout, from what was asked for to the answer: the payment is looked up, the orders are
//! committed (see [`super::commit`]), and money for what cannot be served goes back.

use std::sync::Arc;

use shared::{
    clock::Timestamp,
    config::Config,
    id::Id,
    model::{Payment, ShippingAddress, User},
    money::Money,
};

use tracing::warn;

use super::{cart::WantedLine, wire};
use crate::{
    error::{Error, Result},
    idempotency::{self, Key, Memory},
    identity::{known_request, known_trace},
    payments::{ANONYMOUS, GatewayPayment, GatewayRefusal, PaymentState, claims, store as payments},
    state::App,
};

/// A checkout as it was asked for, checked for form.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub buyer: Id<User>,
    /// Each listing once.
    pub lines: Vec<WantedLine>,
    pub address: ShippingAddress,
    pub total: Option<Money>,
    pub coupon: Option<String>,
    pub payment: Means,
    pub key: Key,
}

/// How it is to be paid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Means {
    /// In cash, to whoever delivers.
    OnDelivery,
    /// A card payment that was made: its id.
    Card(String),
    /// A PayPal order or capture, or, from the existing client, merely the payer: its id.
    Paypal(String),
}

impl Means {
    pub(super) const fn text(&self) -> &'static str {
        match self {
            Self::OnDelivery => "Cash on Delivery",
            Self::Card(_) => "Credit Card",
            Self::Paypal(_) => "Paypal",
        }
    }
}

/// What the gateway says about the payment.
#[derive(Clone, Debug)]
pub(super) enum Paid {
    /// Nothing to ask.
    OnDelivery,
    /// The money has been taken.
    Verified { gateway: &'static str, payment: GatewayPayment },
    /// A payer's bare claim.
    Claimed(String),
}

impl Paid {
    /// The payment that its gateway knows to have succeeded.
    pub(super) const fn verified(&self) -> Option<&GatewayPayment> {
        match self {
            Self::Verified { payment, .. } => Some(payment),
            _ => None,
        }
    }
}

/// Places a checkout and gives the answer's body; the same request again gets the same answer.
pub(super) async fn place(app: &Arc<App>, wanted: Wanted) -> Result<String> {
    let now = app.clock.now();
    let memory = memory(&wanted, &app.config, now);
    // A repeated request must not ask about a payment that its first one has used. Where nobody is
    // asked, the commit finds out in any case.
    if wanted.payment != Means::OnDelivery
        && let Some(answer) = idempotency::recall(&app.db, memory.as_ref()).await?
    {
        return Ok(answer.body);
    }
    let paid = ask_gateway(app, &wanted).await?;
    let placement = Arc::new(Placement {
        config: Arc::clone(&app.config),
        wanted,
        paid,
        memory,
        now,
        request: known_request(),
        trace: known_trace(),
    });
    let outcome = app.checkouts.commit(&app.db, Arc::clone(&placement)).await;
    if outcome.is_ok() {
        app.outbox.wake();
    }
    match (&outcome, &placement.paid) {
        (Ok(_), Paid::Claimed(payer)) => {
            // The payment may have been heard of before the order. If that fails, the watch does it.
            let (app, payer) = (Arc::clone(app), payer.clone());
            let tasks = app.tasks.clone();
            tasks.spawn(async move {
                if let Err(cause) = claims::match_payer(&app, &payer).await {
                    warn!(?cause, "a claim could not be compared with the payments that are known");
                }
            });
        }
        (Err(Error::Refused(refusal)), Paid::Verified { gateway, payment })
            if [wire::OUT_OF_STOCK, wire::ITEM_GONE, wire::NOT_RUNNING]
                .iter()
                .any(|known| known.code() == refusal.code()) =>
        {
            give_back(app, gateway, payment, now).await?;
        }
        // The buyer may mend it and come back. If not, the money must not be forgotten.
        (Err(Error::Refused(_)), Paid::Verified { gateway, payment }) => {
            payments::hear_of(&app.db, payment.record(gateway, now)).await?;
        }
        _ => {}
    }
    outcome
}

/// A checkout that is ready to be committed.
pub(super) struct Placement {
    pub config: Arc<Config>,
    pub wanted: Wanted,
    pub paid: Paid,
    pub memory: Option<Memory>,
    pub now: Timestamp,
    /// Which request it is: groups are written outside of any.
    pub request: Option<String>,
    /// Where its trace goes on.
    pub trace: Option<String>,
}

/// How the answers to a buyer's requests without a key of their own begin: they are given again to a
/// request that says the same.
pub(super) fn repeated_by(buyer: Id<User>) -> String {
    format!("create-order:{buyer}:same:")
}

/// Under which name the answer is remembered: the buyer's own key, or for a moment what the request
/// says. None where nothing is to be remembered.
fn memory(wanted: &Wanted, config: &Config, now: Timestamp) -> Option<Memory> {
    let meaning = (&wanted.lines, &wanted.address, wanted.total, &wanted.coupon, &wanted.payment);
    wanted.key.memory("create-order", wanted.buyer, &meaning, now).or_else(|| {
        let window = config.duplicate_order_window;
        if window.is_zero() {
            return None;
        }
        let fingerprint = idempotency::fingerprint(&meaning);
        let id = format!("{}{fingerprint}", repeated_by(wanted.buyer));
        Some(Memory::new(id, fingerprint, window, now))
    })
}

/// The length of PayPal's payer ids. Its orders and captures have longer ones.
const PAYER_ID: usize = 13;

async fn ask_gateway(app: &App, wanted: &Wanted) -> Result<Paid> {
    let verified = |gateway, payment: GatewayPayment| {
        // Before anything about it is told.
        if !is_of(wanted, &payment) {
            return Err(Error::from(wire::PAYMENT_NOT_YOURS));
        }
        match &payment.state {
            PaymentState::Succeeded => {}
            PaymentState::Waiting(why) => {
                let words = format!("Payment {} has not succeeded yet: {why}", payment.id);
                return Err(wire::NOT_PAID.saying(words).into());
            }
            PaymentState::Failed(why) => {
                return Err(wire::NOT_PAID.saying(format!("Payment {} failed: {why}", payment.id)).into());
            }
        }
        if payment.currency != app.config.currency {
            return Err(wire::NOT_PAID
                .saying(format!("Payment {} is in another currency", payment.id))
                .into());
        }
        Ok(Paid::Verified { gateway, payment })
    };
    match &wanted.payment {
        Means::OnDelivery => Ok(Paid::OnDelivery),
        Means::Card(id) => {
            let gateway = app.gateways.cards()?;
            let payment = gateway.look_up(id).await?;
            let payment =
                payment.ok_or_else(|| wire::NOT_PAID.saying(format!("There is no payment {id}")))?;
            verified(gateway.name(), payment)
        }
        Means::Paypal(id) => match app.gateways.paypal() {
            Ok(gateway) => match gateway.look_up(id).await {
                Ok(Some(payment)) => verified(gateway.name(), payment),
                Ok(None) => Ok(Paid::Claimed(id.clone())),
                // The existing client has the money taken before it asks: it could only lose the order. A
                // claim proves nothing, whether PayPal can be asked or not.
                Err(GatewayRefusal::Unreachable(_)) if id.len() == PAYER_ID => Ok(Paid::Claimed(id.clone())),
                Err(refusal) => Err(refusal.into()),
            },
            Err(_) => Ok(Paid::Claimed(id.clone())),
        },
    }
}

/// Whether the buyer may pay with it. A card payment is always begun here, for somebody or, where the mode
/// accepts that, for whoever has its id; the existing client begins PayPal's in the browser.
fn is_of(wanted: &Wanted, payment: &GatewayPayment) -> bool {
    match &payment.buyer {
        Some(buyer) => *buyer == wanted.buyer.hex() || buyer == ANONYMOUS,
        None => matches!(wanted.payment, Means::Paypal(_)),
    }
}

/// Money was taken for a checkout that cannot be served: the payment is used up and refunded.
async fn give_back(app: &App, gateway: &str, payment: &GatewayPayment, now: Timestamp) -> Result<()> {
    let used = Payment { checkout_id: Some(String::new()), ..payment.record(gateway, now) };
    payments::give_back(&app.db, &app.outbox, used, None).await?;
    Ok(())
}
