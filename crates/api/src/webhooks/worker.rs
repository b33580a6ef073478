//! Sends what is written down, a piece at a time, and notes how it went.

use std::{sync::Arc, time::Duration};

use bson::{Bson, doc};
use futures_util::TryFutureExt as _;
use mongodb::bson::serialize_to_bson;
use shared::{
    clock::{Timestamp, plus},
    db::Db,
    model::{Shop, User, WebhookDelivery, WebhookEndpoint},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use super::{courier::Outcome, lanes::AT_ONCE, rules, store};
use crate::{letters, state::App, worker};

/// So long nothing is tried to an endpoint that is paused, unless its owner says that it is not any more.
const PUT_OFF: i64 = 5 * 60 * 1000;
/// How often the gauges are set.
const EVERY: Duration = Duration::from_secs(10);

/// Delivers until told to quit; what is in progress is then still finished.
pub(crate) async fn work(app: Arc<App>, quit: CancellationToken) {
    let claim = || {
        let app = &app;
        async move {
            let mut waiting = doc! { "state": "waiting" };
            let full = app.webhooks.lanes.full();
            if !full.is_empty() {
                waiting.insert("endpoint", doc! { "$nin": full });
            }
            worker::claim(&app.db, &app.clock, waiting).await
        }
    };
    let carry_out = |delivery: WebhookDelivery| {
        let app = Arc::clone(&app);
        let endpoint = delivery.endpoint;
        app.webhooks.lanes.enter(endpoint);
        async move {
            let strained = match deliver(&app, delivery).await {
                Ok(strained) => strained,
                Err(cause) => {
                    // The lease ends, and it is tried again.
                    warn!(%cause, "how a webhook went could not be noted");
                    None
                }
            };
            app.webhooks.lanes.leave(endpoint, strained);
            // Something may have waited for the place.
            app.webhooks.wake.notify_one();
        }
    };
    worker::work("the webhooks", AT_ONCE, &app.webhooks.wake, &quit, claim, carry_out).await;
}

/// One try. Says whether the endpoint fails or is slow, if anything was sent.
async fn deliver(app: &App, delivery: WebhookDelivery) -> mongodb::error::Result<Option<bool>> {
    let (db, now) = (&app.db, app.clock.now());
    let endpoint = db.of::<WebhookEndpoint>().find_one(doc! { "_id": delivery.endpoint }).await?;
    let Some(endpoint) = endpoint else {
        store::forget(db, delivery.endpoint).await?;
        return Ok(None);
    };
    if endpoint.disabled_at.is_some() {
        let given_up = doc! { "$set": { "state": "failed" } };
        let waiting = doc! { "endpoint": endpoint.id, "state": "waiting" };
        db.of::<WebhookDelivery>().update_many(waiting, given_up).await?;
        return Ok(None);
    }
    if endpoint.paused {
        put_off(db, &delivery, now).await?;
        return Ok(None);
    }
    let outcome = app.webhooks.carry(&endpoint, &delivery, now).await;
    let strained = outcome.slow || !outcome.is_success();
    note(app, &endpoint, &delivery, outcome).await?;
    Ok(Some(strained))
}

/// Leaves everything that waits for a paused endpoint alone for a while. It is looked at again even if nobody says
/// that the pause is over, so that nothing that crosses it is forgotten.
async fn put_off(db: &Db, delivery: &WebhookDelivery, now: Timestamp) -> mongodb::error::Result<()> {
    let deliveries = db.of::<WebhookDelivery>();
    let later = doc! { "dueAt": plus(now, PUT_OFF), "putOff": true };
    let this = doc! { "_id": delivery.id, "attempts": delivery.attempts };
    deliveries.update_one(this, doc! { "$set": &later, "$inc": { "attempts": -1 } }).await?;
    let due = doc! { "endpoint": delivery.endpoint, "state": "waiting", "dueAt": { "$lte": now } };
    deliveries.update_many(due, doc! { "$set": later }).await.map(drop)
}

async fn note(
    app: &App,
    endpoint: &WebhookEndpoint,
    delivery: &WebhookDelivery,
    outcome: Outcome,
) -> mongodb::error::Result<()> {
    let (db, now) = (&app.db, app.clock.now());
    let success = outcome.is_success();
    let last = serialize_to_bson(&outcome.tried)?;
    let next = rules::wait_after(delivery.attempts);
    let (state, result) = match (success, next) {
        (true, _) => (doc! { "state": "delivered", "deliveredAt": now, "last": last }, "done"),
        (false, Some(wait)) => (doc! { "dueAt": plus(now, wait), "last": last }, "failed"),
        (false, None) => (doc! { "state": "failed", "last": last }, "given up"),
    };
    metrics::counter!("webhook_tries_total", "result" => result).increment(1);
    // Only while it is still ours: a later claim counts the tries up.
    let ours = doc! { "_id": delivery.id, "attempts": delivery.attempts, "state": "waiting" };
    db.of::<WebhookDelivery>().update_one(ours, doc! { "$set": state }).await?;
    let endpoints = db.of::<WebhookEndpoint>();
    if success {
        if endpoint.failing_since.is_some() {
            let well = doc! { "$set": { "failingSince": Bson::Null } };
            endpoints.update_one(doc! { "_id": endpoint.id }, well).await?;
        }
        return Ok(());
    }
    debug!(
        endpoint = endpoint.id.hex(),
        delivery = delivery.id.hex(),
        attempts = delivery.attempts,
        error = outcome.tried.error,
        "a webhook failed"
    );
    if endpoint.failing_since.is_none() {
        let failing = doc! { "$set": { "failingSince": now } };
        endpoints.update_one(doc! { "_id": endpoint.id, "failingSince": null }, failing).await?;
    }
    if next.is_none() {
        info!(endpoint = endpoint.id.hex(), delivery = delivery.id.hex(), "a webhook is given up");
        let long =
            |since| now.timestamp_millis() - Timestamp::timestamp_millis(since) >= rules::DISABLED_AFTER;
        if endpoint.failing_since.is_some_and(long) {
            disable(app, endpoint, now).await?;
        }
    }
    Ok(())
}

/// Tells an endpoint nothing any more that has taken nothing for days, and its owner that it is so.
async fn disable(app: &App, endpoint: &WebhookEndpoint, now: Timestamp) -> mongodb::error::Result<()> {
    let (db, outbox) = (app.db.clone(), app.outbox.clone());
    let endpoint = endpoint.clone();
    let letter = letters::webhook_disabled(&endpoint.url, &endpoint.description);
    let disabled = db
        .transaction(|session| {
            let (db, outbox, endpoint, letter) =
                (db.clone(), outbox.clone(), endpoint.clone(), letter.clone());
            Box::pin(async move {
                // Not one that has taken something, or was looked after, meanwhile.
                let still = doc! {
                    "_id": endpoint.id, "disabledAt": null, "failingSince": endpoint.failing_since,
                };
                let disable = doc! { "$set": { "disabledAt": now } };
                let updated =
                    db.of::<WebhookEndpoint>().update_one(still, disable).session(&mut *session).await?;
                if updated.modified_count == 0 {
                    return Ok(false);
                }
                match (endpoint.shop, endpoint.made_by) {
                    (Some(shop), _) => outbox.write_to::<Shop>(session, shop, letter).await?,
                    (None, Some(admin)) => outbox.write_to::<User>(session, admin, letter).await?,
                    (None, None) => {}
                }
                Ok::<_, mongodb::error::Error>(true)
            })
        })
        .await?;
    if disabled {
        error!(endpoint = endpoint.id.hex(), "an endpoint has failed for days, and is told nothing any more");
        app.outbox.wake();
    }
    Ok(())
}

/// Keeps the gauges up to date until told to quit.
pub(crate) async fn measure(app: Arc<App>, quit: CancellationToken) {
    loop {
        let deliveries = app.db.of::<WebhookDelivery>();
        let count = |state: &'static str| deliveries.count_documents(doc! { "state": state }).into_future();
        let counted = futures_util::future::try_join(count("waiting"), count("failed"));
        match counted.map_ok(|(waiting, failed)| [("waiting", waiting), ("failed", failed)]).await {
            Ok(states) => {
                for (state, number) in states {
                    let number = f64::from(u32::try_from(number).unwrap_or(u32::MAX));
                    metrics::gauge!("webhook_deliveries", "state" => state).set(number);
                }
            }
            Err(cause) => debug!(%cause, "the webhooks cannot be counted"),
        }
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = quit.cancelled() => return,
        }
    }
}
