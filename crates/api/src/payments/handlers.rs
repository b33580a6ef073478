use actix_web::HttpResponse;
use shared::{id::Id, money::Money};

use super::{
    GatewayRefusal,
    gateway::{ANONYMOUS, Begun, NewPayment},
    wire,
};
use crate::{
    error::{Error, Result},
    extract::Json,
    idempotency::{self, Key},
    identity::Caller,
    state::State,
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
    let gateway = state.gateways.cards()?;
    let payer = caller.user.map_or_else(|| ANONYMOUS.to_owned(), Id::hex);
    let memory = key.memory("begin-payment", &payer, &amount, state.clock.now());
    let name = idempotency::name_elsewhere(&state.db, memory).await?;
    let wanted = NewPayment {
        amount: Money::from_minor(amount),
        currency: state.config.currency.clone(),
        buyer: payer,
        key: name,
    };
    let Begun { payment, secret } = gateway.begin(wanted).await?;
    Ok(HttpResponse::Ok().json(wire::PaymentBegun { success: true, client_secret: secret, id: payment.id }))
}

/// `GET /api/stripe/stripeApiKey`: never empty, or the client has no payment page at all.
pub(super) async fn publishable_key(state: State) -> HttpResponse {
    HttpResponse::Ok()
        .json(wire::PublishableKey { stripe_api_key: state.config.stripe_publishable_key.clone() })
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
