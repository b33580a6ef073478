//! The sandbox calls the webhooks: each event until it is answered with success, also after a restart.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bson::doc;
use mongodb::options::ReturnDocument;
use shared::{clock::plus, db::Db};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::{
    Sandbox,
    events::{self, SandboxEvent},
};
use crate::state::App;

/// Who delivers an event has it for so long; then another node may try.
const LEASE: i64 = 20_000;
/// A try is given up before its lease ends.
const TIMEOUT: Duration = Duration::from_secs(15);
/// How often to look without having been told.
const TICK: Duration = Duration::from_secs(1);

/// Calls this server's webhooks until told to quit, as long as there is a sandbox. One event after the
/// other, so that they come in the order that is wanted.
pub(crate) async fn work(app: Arc<App>, address: SocketAddr, quit: CancellationToken) {
    let quit = &quit;
    let working = ["stripe", "paypal"]
        .into_iter()
        .filter_map(|name| app.gateways.sandbox(name))
        .map(|sandbox| async move { work_for(sandbox, address, quit).await });
    futures_util::future::join_all(working).await;
}

async fn work_for(sandbox: &Sandbox, address: SocketAddr, quit: &CancellationToken) {
    // Nothing of ours listens at "any address"; what listens there listens on loopback too.
    let mut address = address;
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    let url = format!("http://{address}/api/{}/webhook", sandbox.name);
    let client = reqwest::Client::builder().no_proxy().timeout(TIMEOUT).pool_max_idle_per_host(0).build();
    let client = match client {
        Ok(client) => client,
        Err(cause) => return warn!(%cause, "the sandbox cannot call webhooks"),
    };
    loop {
        let turn = async {
            match claim(sandbox).await {
                Ok(Some(event)) => deliver(sandbox, &client, &url, event).await,
                Ok(None) => wait(sandbox).await,
                Err(cause) => {
                    debug!(%cause, "the sandbox's events cannot be read");
                    wait(sandbox).await;
                }
            }
        };
        tokio::select! {
            // What is broken off is delivered once more by the next life, as gateways do.
            () = quit.cancelled() => return,
            () = turn => {}
        }
    }
}

async fn wait(sandbox: &Sandbox) {
    _ = tokio::time::timeout(TICK, sandbox.wake.notified()).await;
}

/// Takes the event that is to be sent next, for as long as the lease lasts.
async fn claim(sandbox: &Sandbox) -> mongodb::error::Result<Option<SandboxEvent>> {
    let now = sandbox.clock.now();
    let due = doc! { "gateway": sandbox.name, "held": false, "left": { "$gt": 0 }, "dueAt": { "$lte": now } };
    let lease = doc! { "$set": { "dueAt": plus(now, LEASE) }, "$inc": { "attempts": 1 } };
    sandbox
        .db
        .of::<SandboxEvent>()
        .find_one_and_update(due, lease)
        .sort(doc! { "place": 1 })
        .return_document(ReturnDocument::After)
        .await
}

async fn deliver(sandbox: &Sandbox, client: &reqwest::Client, url: &str, event: SandboxEvent) {
    let outcome = match sandbox.control().await {
        Ok(control) => call(sandbox, client, url, &event, &control.secret).await,
        Err(cause) => Err(cause.into()),
    };
    let now = sandbox.clock.now();
    let note = match outcome {
        Ok(()) => doc! { "$set": { "dueAt": now, "attempts": 0 }, "$inc": { "left": -1_i64 } },
        Err(cause) => {
            let cause = format!("{cause:#}");
            debug!(event = event.id, cause, "a webhook of the sandbox is called again");
            doc! { "$set": { "dueAt": plus(now, backoff(event.attempts)), "lastError": cause } }
        }
    };
    if let Err(cause) = noted(&sandbox.db, &event, note).await {
        // The lease ends, and it is delivered once more.
        debug!(event = event.id, %cause, "how a webhook of the sandbox went could not be noted");
    }
}

async fn noted(db: &Db, event: &SandboxEvent, note: bson::Document) -> mongodb::error::Result<()> {
    let ours = doc! { "_id": &event.id, "attempts": event.attempts };
    db.of::<SandboxEvent>().update_one(ours, note).await.map(drop)
}

async fn call(
    sandbox: &Sandbox,
    client: &reqwest::Client,
    url: &str,
    event: &SandboxEvent,
    secret: &str,
) -> anyhow::Result<()> {
    let mut request = client.post(url).header("content-type", "application/json").body(event.body.clone());
    for (name, value) in events::proof(event, secret, sandbox.clock.now()) {
        request = request.header(name, value);
    }
    request.send().await?.error_for_status()?;
    Ok(())
}

/// How long to wait after so many tries: a second, doubling, a minute at most.
fn backoff(attempts: i32) -> i64 {
    let doublings = u32::try_from(attempts.saturating_sub(1)).unwrap_or(0).min(6);
    (1_000_i64 << doublings).min(60_000)
}
