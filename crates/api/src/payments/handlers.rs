use actix_web::{HttpRequest, HttpResponse};
use shared::{
    clock::Timestamp,
    config::Config,
    id::Id,
    model::{PaymentInfo, User},
    money::Money,
};

use super::{
    GatewayPayment, GatewayRefusal, PaymentState,
    gateway::{ANONYMOUS, Begun, NewPayment},
    store, wire,
};
use crate::{
    error::{Error, Result},
    extract::Json,
    idempotency::{self, Answer, Key, Memory},
    identity::{Buyer, Caller},
    orders::cart,
    state::{App, State},
};

/// The gateway's own limits for a card payment, in minor units.
const AMOUNTS: std::ops::RangeInclusive<i64> = 50..=99_999_999;

/// `POST /api/stripe/process`: begins a card payment of so many cents.
///
/// The client sends no cookie here, and does nothing with the answer.
pub(super) async fn process(
    caller: Caller,
    key: Key,
    body: Json<wire::NewPayment>,
    state: State,
) -> Result<HttpResponse> {
    if caller.user.is_none() && !caller.is_accepted_bare() {
        return Err(Error::Unauthenticated);
    }
    let amount = body
        .amount
        .as_deref()
        .and_then(|text| text.parse::<i64>().ok())
        .filter(|minor| AMOUNTS.contains(minor))
        .ok_or_else(|| {
            Error::field(
                "amount",
                format!("must be a whole number of cents from {} to {}", AMOUNTS.start(), AMOUNTS.end()),
            )
        })?;
    let (buyer, now) = (caller.user, state.clock.now());
    let wanted = NewPayment {
        amount: Money::from_minor(amount),
        currency: state.config.currency.clone(),
        buyer: buyer.map_or_else(|| ANONYMOUS.to_owned(), Id::hex),
        key: None,
    };
    let by_key = key.memory("begin-payment", &wanted.buyer, &amount, now);
    let Begun { payment, secret } = match buyer {
        Some(buyer) if by_key.is_none() && !state.config.duplicate_order_window.is_zero() => {
            begin_unless_used(&state, &double_click(buyer, amount, &state.config, now), wanted).await?
        }
        _ => {
            let key = idempotency::name_elsewhere(&state.db, by_key).await?;
            state.gateways.cards()?.begin(NewPayment { key, ..wanted }).await?
        }
    };
    Ok(HttpResponse::Ok().json(wire::PaymentBegun { success: true, client_secret: secret, id: payment.id }))
}

/// Under which name a payment of somebody's is remembered for a moment, so that a button that is clicked
/// twice begins one. Strangers share nothing.
fn double_click(buyer: Id<User>, amount: i64, config: &Config, now: Timestamp) -> Memory {
    let id = format!("begin-payment:{buyer}:same:{amount}");
    Memory::new(id, idempotency::fingerprint(&amount), config.duplicate_order_window, now)
}

/// The same again, unless something was bought with it: then it is for something else.
async fn begin_unless_used(app: &App, memory: &Memory, wanted: NewPayment) -> Result<Begun> {
    loop {
        let key = idempotency::name_elsewhere(&app.db, Some(memory.clone())).await?;
        let wanted = NewPayment { key: key.clone(), ..wanted.clone() };
        let begun = app.gateways.cards()?.begin(wanted).await?;
        let known = store::known(&app.db, &[&begun.payment.id]).await?;
        if known.get(&begun.payment.id) != Some(&true) {
            return Ok(begun);
        }
        idempotency::forget_name(&app.db, memory, key).await?;
    }
}

/// `GET /api/stripe/stripeApiKey`: never empty, or the client has no payment page at all.
pub(super) async fn publishable_key(state: State) -> HttpResponse {
    HttpResponse::Ok()
        .json(wire::PublishableKey { stripe_api_key: state.config.stripe_publishable_key.clone() })
}

/// `GET /api/paypal/clientId`: for PayPal's script in the browser. The existing client has one of its own.
pub(super) async fn paypal_client_id(state: State) -> HttpResponse {
    let client_id = state.config.paypal.as_ref().map_or("sandbox", |paypal| &paypal.client_id).to_owned();
    HttpResponse::Ok().json(wire::PaypalClientId { success: true, client_id })
}

/// `POST /api/paypal/create-order`: begins a payment of what the cart comes to, which is for us to say.
pub(super) async fn begin_paypal(
    Buyer(buyer): Buyer,
    key: Key,
    body: Json<wire::NewPaypalOrder>,
    state: State,
) -> Result<HttpResponse> {
    let (cart, now) = (body.0.cart()?, state.clock.now());
    let memory = key.memory("begin-paypal", buyer, &cart, now);
    // The price may have changed since.
    if let Some(answer) = idempotency::recall(&state.db, memory.as_ref()).await? {
        return Ok(answer.into());
    }
    let name = key.memory("begin-paypal-name", buyer, &cart, now);
    let amount = cart::price(&state, buyer, cart).await?;
    if amount <= Money::ZERO {
        return Err(wire::NOTHING_TO_PAY.into());
    }
    let wanted = NewPayment {
        amount,
        currency: state.config.currency.clone(),
        buyer: buyer.hex(),
        key: idempotency::name_elsewhere(&state.db, name).await?,
    };
    let Begun { payment, secret } = state.gateways.paypal()?.begin(wanted).await?;
    let answer = Answer::created(&wire::PaypalOrder {
        success: true,
        id: payment.id,
        amount,
        currency: payment.currency,
        approve_url: Some(secret).filter(|url| url.starts_with("https://")),
    })?;
    Ok(idempotency::remember(&state.db, memory, answer).await?.into())
}

/// `POST /api/paypal/capture-order/{id}`: takes the money that the payer has agreed to at PayPal. What was
/// taken already is not taken again, so that the same request may be repeated.
pub(super) async fn capture_paypal(
    Buyer(buyer): Buyer,
    request: HttpRequest,
    state: State,
) -> Result<HttpResponse> {
    let id = request.match_info().get("id").unwrap_or_default();
    let gateway = state.gateways.paypal()?;
    let known = gateway.look_up(id).await?.filter(|payment| payment.buyer == Some(buyer.hex()));
    let known = known.ok_or(wire::PAYMENT_NOT_FOUND)?;
    let payment = match known.state {
        PaymentState::Succeeded => known,
        _ => gateway.capture(id).await?,
    };
    let GatewayPayment { id, amount, currency, state: outcome, .. } = payment;
    match outcome {
        PaymentState::Succeeded => {
            let status = PaymentInfo::SUCCEEDED;
            Ok(HttpResponse::Ok().json(wire::PaypalCapture { success: true, id, status, amount, currency }))
        }
        PaymentState::Waiting(why) => {
            Err(wire::PAYMENT_WAITS.saying(format!("Payment {id} has not been made yet: {why}")).into())
        }
        PaymentState::Failed(why) => {
            Err(wire::PAYMENT_FAILED.saying(format!("Payment {id} failed: {why}")).into())
        }
    }
}

impl From<GatewayRefusal> for Error {
    fn from(refusal: GatewayRefusal) -> Self {
        match refusal {
            GatewayRefusal::Refused(words) => {
                wire::GATEWAY_REFUSED.saying(format!("The payment gateway says: {words}")).into()
            }
            GatewayRefusal::Unreachable(cause) => wire::no_answer(cause),
            GatewayRefusal::Forged(why) => wire::FORGED.saying(why).into(),
        }
    }
}
