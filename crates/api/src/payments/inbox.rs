//! What gateways tell of their own accord: taken down by the id of the event, answered at once, and then
//! applied until that has succeeded. Whoever repeats an event is answered and changes nothing.

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse};
use bson::doc;
use shared::{clock::plus, db::duplicate_key, model::WebhookEvent};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::{
    gateway::{Gateway, Notice, WebhookCall},
    settle, wire,
};
use crate::{
    error::{Error, Result},
    extract::Raw,
    limits::{ClientAddress, Limit},
    state::{App, State},
    worker::{self, TRY, backoff},
};

/// How many events one node applies at once.
const CONCURRENCY: usize = 4;
/// After so many tries somebody should look. It is tried on all the same: it is about money.
const WORRY: i32 = 10;

/// Wakes whoever applies events.
#[derive(Clone, Debug, Default)]
pub struct Inbox(Arc<Notify>);

impl Inbox {
    /// There may be something to apply.
    pub(crate) fn wake(&self) {
        self.0.notify_one();
    }
}

/// `POST /api/stripe/webhook`: Stripe tells what happened.
pub(super) async fn stripe(request: HttpRequest, body: Raw, state: State) -> Result<HttpResponse> {
    receive(&state, state.gateways.cards()?, &request, body).await
}

/// `POST /api/paypal/webhook`: PayPal tells what happened. Whether it did, only PayPal can say, and asking takes one of
/// few places; so what is forged counts for the address it comes from, and PayPal's own is never in its way.
pub(super) async fn paypal(
    address: ClientAddress,
    request: HttpRequest,
    body: Raw,
    state: State,
) -> Result<HttpResponse> {
    let taken = state.limits.take(Limit::Webhook, &address.to_string()).await?;
    let received = receive(&state, state.gateways.paypal()?, &request, body).await;
    match &received {
        Err(Error::Refused(refusal)) if refusal.code() == wire::FORGED.code() => drop(taken),
        _ => state.limits.give_back(taken).await,
    }
    received
}

async fn receive(
    app: &App,
    gateway: &dyn Gateway,
    request: &HttpRequest,
    Raw(body): Raw,
) -> Result<HttpResponse> {
    let headers = request
        .headers()
        .iter()
        .filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned())))
        .collect();
    let call = WebhookCall { headers, body, at: app.clock.now() };
    let notice = gateway.read_webhook(&call).await?;
    take_down(app, gateway.name(), notice).await?;
    Ok(HttpResponse::Ok().json(wire::Received { received: true }))
}

async fn take_down(app: &App, gateway: &str, notice: Notice) -> Result<()> {
    let now = app.clock.now();
    let Notice { id, kind, at, fact } = notice;
    let of_interest = fact.is_some();
    let (payment, fact) = fact.unzip();
    let event = WebhookEvent {
        id: format!("{gateway}:{id}"),
        gateway: gateway.to_owned(),
        name: kind,
        payment,
        fact,
        at,
        received_at: now,
        applied: !of_interest,
        due_at: now,
        attempts: 0,
        last_error: None,
    };
    let name = event.name.clone();
    let result = match app.db.of::<WebhookEvent>().insert_one(event).await {
        Ok(_) if of_interest => "taken",
        Ok(_) => "of no interest",
        Err(failure) if duplicate_key(&failure).is_some() => "repeated",
        Err(failure) => return Err(failure.into()),
    };
    metrics::counter!("webhooks_total", "gateway" => gateway.to_owned(), "result" => result).increment(1);
    info!(gateway, id, name, result, "a gateway has called");
    app.inbox.wake();
    Ok(())
}

/// Applies events until told to quit; what is in progress is then still finished, or taken up again by the
/// next life.
pub async fn work(app: Arc<App>, quit: CancellationToken) {
    let claim = || worker::claim(&app.db, &app.clock, doc! { "applied": false });
    let carry_out = |event| {
        let app = Arc::clone(&app);
        async move { apply(&app, event).await }
    };
    worker::work("the gateways' events", CONCURRENCY, &app.inbox.0, &quit, claim, carry_out).await;
}

/// One try. What follows from a payment's events is settled as a whole, so that whichever of them comes
/// first does the work of all.
async fn apply(app: &App, event: WebhookEvent) {
    let WebhookEvent { id, gateway, payment, attempts, .. } = event;
    let settling = async {
        let about = payment.ok_or_else(|| Error::Unexpected(anyhow::anyhow!("it is about no payment")));
        settle::settle(app, &gateway, &about?).await
    };
    let cause = match tokio::time::timeout(TRY, settling).await {
        Ok(Ok(())) => return,
        Ok(Err(cause)) => cause,
        Err(_) => Error::Unexpected(anyhow::anyhow!("took longer than {} s", TRY.as_secs())),
    };
    let cause = format!("{cause:?}");
    if attempts >= WORRY {
        error!(id, attempts, cause, "a gateway's event cannot be applied, and is tried on");
    } else {
        warn!(id, attempts, cause, "a gateway's event could not be applied and is tried again");
    }
    let due = plus(app.clock.now(), backoff(attempts));
    let events = app.db.of::<WebhookEvent>();
    let note = doc! { "$set": { "lastError": cause, "dueAt": due } };
    if let Err(cause) = events.update_one(doc! { "_id": &id, "applied": false }, note).await {
        // The lease ends, and it is tried again.
        warn!(id, %cause, "how it went with a gateway's event could not be noted");
    }
}
