//! What the sandbox can be told to do next, over HTTP, by whoever develops or tests.

use std::sync::Arc;

use actix_web::{HttpResponse, web::Path};
use bson::doc;
use futures_util::TryStreamExt as _;
use serde::{Deserialize, Serialize};
use shared::{id::Id, model::Stored, money::Money};

use super::{
    super::gateway::NewPayment,
    Sandbox,
    events::{Happening, SandboxEvent, place},
    payment::{SandboxPayment, State, Then},
};
use crate::{
    error::{Error, Refusal, Result},
    extract::{Json, loose},
    identity::Caller,
    routes::{Route, post},
    state::State as AppState,
};

pub(crate) fn routes() -> Vec<Route> {
    vec![post("/{gateway}", tell)]
}

/// What a gateway in the sandbox keeps for itself (`sandboxcontrols`).
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Control {
    /// `stripe` or `paypal`.
    #[serde(rename = "_id")]
    pub id: String,
    /// Signs its webhooks.
    pub secret: String,
    /// For the calls to come, in turn.
    #[serde(default)]
    pub next: Vec<Next>,
    #[serde(default)]
    pub webhooks: Delivery,
}

impl Stored for Control {
    const COLLECTION: &'static str = "sandboxcontrols";
}

impl Control {
    pub(super) fn new(gateway: &str, secret: String) -> Self {
        Self { id: gateway.to_owned(), secret, next: Vec::new(), webhooks: Delivery::default() }
    }
}

/// What one call that acts does.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Next {
    pub outcome: Outcome,
    /// It acts, and then takes so long to answer.
    #[serde(rename = "delayMs", with = "millis")]
    pub delay_ms: u64,
    /// It acts, and does not answer.
    pub lose_answer: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Outcome {
    #[default]
    Succeed,
    Decline,
    /// The payer's bank wants to be sure (3-D Secure); PayPal's payer has not agreed.
    Ask,
}

/// How webhooks are called.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Delivery {
    pub delay_ms: u32,
    pub times: u8,
    pub order: Order,
    /// Not until they are released.
    pub hold: bool,
}

impl Default for Delivery {
    fn default() -> Self {
        Self { delay_ms: 0, times: 1, order: Order::Given, hold: false }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Order {
    #[default]
    Given,
    Reversed,
    Shuffled,
}

/// The longest that anything can be delayed.
const LONGEST: u64 = 600_000;

/// A number of milliseconds; the database has no unsigned ones.
mod millis {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub fn serialize<S: Serializer>(millis: &u64, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_i64(i64::try_from(*millis).unwrap_or(i64::MAX))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
        u64::try_from(i64::deserialize(from)?).or(Err(D::Error::custom("a time is not negative")))
    }
}

/// `POST /api/sandbox/{gateway}`
#[derive(Deserialize)]
struct Telling {
    /// What the next call that acts does. Told several times, it is for as many calls.
    #[serde(default)]
    next: Option<Next>,
    /// The payment to which `then` happens.
    #[serde(default)]
    payment: Option<String>,
    #[serde(default)]
    then: Option<Then>,
    #[serde(default, deserialize_with = "loose")]
    amount: Option<String>,
    /// Who pays `pay` without Souk: PayPal's id of the person.
    #[serde(default)]
    payer: Option<String>,
    #[serde(default, deserialize_with = "loose")]
    pay: Option<String>,
    /// How webhooks are called from now on. Those that were held are released when `hold` is not set.
    #[serde(default)]
    webhooks: Option<Delivery>,
}

#[derive(Serialize)]
struct Told {
    success: bool,
    /// The payment that it was about.
    #[serde(skip_serializing_if = "Option::is_none")]
    payment: Option<String>,
}

const NO_SANDBOX: Refusal =
    Refusal::not_found("no_sandbox", "This gateway is not a sandbox here, so it cannot be told anything");
const NO_PAYMENT: Refusal = Refusal::not_found("payment_not_found", "The sandbox knows no such payment");

/// `POST /api/sandbox/{gateway}`: tells a gateway of the sandbox what happens next.
async fn tell(
    caller: Caller,
    gateway: Path<String>,
    body: Json<Telling>,
    state: AppState,
) -> Result<HttpResponse> {
    caller.act_as_developer()?;
    let sandbox = state.gateways.sandbox(&gateway).ok_or(NO_SANDBOX)?;
    let Json(telling) = body;
    let amount = amount("amount", telling.amount.as_deref())?;
    let pay = amount_of_payment(&telling)?;
    check(&telling)?;
    let mut about = None;
    if let Some(delivery) = telling.webhooks {
        sandbox.deliver_like(delivery).await?;
    }
    if let Some(next) = telling.next {
        sandbox.control().await?;
        let next = bson::serialize_to_bson(&next).map_err(anyhow::Error::from)?;
        let queue = doc! { "$push": { "next": next } };
        state.db.of::<Control>().update_one(doc! { "_id": gateway.as_str() }, queue).await?;
    }
    if let (Some(payment), Some(then)) = (telling.payment, telling.then) {
        if sandbox.find(&payment).await?.is_none() {
            return Err(NO_PAYMENT.saying(format!("The sandbox knows no payment {payment}")).into());
        }
        let now = state.clock.now();
        sandbox.change(&payment, move |payment| Ok(((), payment.undergo(then, amount, now)?))).await?;
        about = sandbox.find(&payment).await?.map(|payment| payment.canonical().to_owned());
    }
    if let Some(pay) = pay {
        about = Some(sandbox.pay(pay, telling.payer, &state.config.currency).await?);
    }
    Ok(HttpResponse::Ok().json(Told { success: true, payment: about }))
}

/// What makes no sense is refused before any of it is done.
fn check(telling: &Telling) -> Result<()> {
    if telling.payment.is_some() != telling.then.is_some() {
        return Err(Error::field("then", "must come with a payment, and a payment with it"));
    }
    if telling.payer.is_some() && telling.pay.is_none() {
        return Err(Error::field("pay", "must come with a payer: the amount"));
    }
    if telling.next.as_ref().is_some_and(|next| next.delay_ms > LONGEST) {
        return Err(Error::field("next.delayMs", format!("must be at most {LONGEST}")));
    }
    if let Some(delivery) = &telling.webhooks {
        if u64::from(delivery.delay_ms) > LONGEST {
            return Err(Error::field("webhooks.delayMs", format!("must be at most {LONGEST}")));
        }
        if !(1..=10).contains(&delivery.times) {
            return Err(Error::field("webhooks.times", "must be from 1 to 10"));
        }
    }
    Ok(())
}

fn amount_of_payment(telling: &Telling) -> Result<Option<Money>> {
    let payer = telling.payer.as_deref().unwrap_or("A");
    if !(1..=36).contains(&payer.len()) || !payer.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(Error::field("payer", "must be 1 to 36 letters and digits"));
    }
    amount("pay", telling.pay.as_deref())
}

fn amount(field: &str, text: Option<&str>) -> Result<Option<Money>> {
    let Some(text) = text else { return Ok(None) };
    match Money::parse_exact(text) {
        Ok(money) if money > Money::ZERO && money <= Money::from_minor(99_999_999) => Ok(Some(money)),
        _ => Err(Error::field(field, "must be an amount such as 12.34")),
    }
}

impl Sandbox {
    /// A payment that somebody makes at the gateway itself, as the existing client's PayPal button does.
    async fn pay(&self, amount: Money, payer: Option<String>, currency: &str) -> Result<String> {
        let now = self.clock.now();
        let new = Id::<SandboxPayment>::new().hex();
        let id = match self.name {
            "paypal" => format!("ORDER-{}", new.to_uppercase()),
            _ => format!("pi_sandbox_{new}"),
        };
        let wanted = NewPayment { amount, currency: currency.to_owned(), buyer: String::new(), key: None };
        let mut paid = SandboxPayment::begun(self.name, id, &wanted, Outcome::Succeed, now);
        paid.buyer = None;
        paid.payer = payer.or(paid.payer);
        if paid.state == State::Approved {
            paid.capture(Outcome::Succeed, now);
        }
        let name = paid.canonical().to_owned();
        self.add(paid, Some(Happening::Paid)).await?;
        Ok(name)
    }

    /// Calls webhooks like this from now on, and those that were held, unless it says to hold them.
    async fn deliver_like(self: &Arc<Self>, delivery: Delivery) -> Result<()> {
        self.control().await?;
        let set = bson::serialize_to_bson(&delivery).map_err(anyhow::Error::from)?;
        let controls = self.db.of::<Control>();
        controls.update_one(doc! { "_id": self.name }, doc! { "$set": { "webhooks": set } }).await?;
        if delivery.hold {
            return Ok(());
        }
        let held = doc! { "gateway": self.name, "held": true };
        let events = self.db.of::<SandboxEvent>();
        let held: Vec<SandboxEvent> = events.find(held).await?.try_collect().await?;
        let due = shared::clock::plus(self.clock.now(), i64::from(delivery.delay_ms));
        self.db
            .transaction(|session| {
                let (events, held) = (events.clone(), held.clone());
                Box::pin(async move {
                    for event in held {
                        let released = doc! { "$set": {
                            "held": false,
                            "dueAt": due,
                            "left": i64::from(delivery.times),
                            "place": place(delivery.order, event.sequence),
                        } };
                        events.update_one(doc! { "_id": event.id }, released).session(&mut *session).await?;
                    }
                    Ok::<_, Error>(())
                })
            })
            .await?;
        self.wake.notify_one();
        Ok(())
    }
}
