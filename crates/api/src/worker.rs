//! Work that waits in a collection and is done by whichever node comes first: taken on a lease, so that it
//! is nobody else's meanwhile and yet not lost with its worker, and tried again until it has succeeded.

use std::{future::Future, time::Duration};

use bson::{Document, doc};
use mongodb::options::ReturnDocument;
use serde::de::DeserializeOwned;
use shared::{
    clock::{Clock, plus},
    db::Db,
    model::Stored,
};
use tokio::{sync::Notify, task::JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// Who takes something has it for so long; then another may take it over.
const LEASE: i64 = 60_000;
/// A try is given up before its lease ends, so that no two are at the same work.
pub(crate) const TRY: Duration = Duration::from_secs(50);
/// How long a shutdown waits for tries in progress.
const GRACE: Duration = Duration::from_secs(20);
/// How often to look without having been told: for other nodes' work, and for what is to be tried again.
const TICK: Duration = Duration::from_secs(1);

/// Takes what is due longest of what waits (`dueAt`), and counts the try (`attempts`).
pub(crate) async fn claim<T: Stored + DeserializeOwned>(
    db: &Db,
    clock: &Clock,
    mut waiting: Document,
) -> mongodb::error::Result<Option<T>> {
    let now = clock.now();
    waiting.insert("dueAt", doc! { "$lte": now });
    let lease = doc! { "$set": { "dueAt": plus(now, LEASE) }, "$inc": { "attempts": 1 } };
    db.of::<T>()
        .find_one_and_update(waiting, lease)
        .sort(doc! { "dueAt": 1 })
        .return_document(ReturnDocument::After)
        .await
}

/// Does `what` until told to quit, so many pieces at once. What is in progress is then still finished, or
/// left for the next life.
pub(crate) async fn work<T, C, D>(
    what: &str,
    at_once: usize,
    wake: &Notify,
    quit: &CancellationToken,
    claim: impl Fn() -> C,
    carry_out: impl Fn(T) -> D,
) where
    C: Future<Output = mongodb::error::Result<Option<T>>>,
    D: Future<Output = ()> + Send + 'static,
{
    let mut running = JoinSet::new();
    while !quit.is_cancelled() {
        while running.try_join_next().is_some() {}
        if running.len() >= at_once {
            tokio::select! {
                _ = running.join_next() => {}
                () = quit.cancelled() => {}
            }
            continue;
        }
        match claim().await {
            Ok(Some(piece)) => {
                running.spawn(carry_out(piece));
                continue;
            }
            Ok(None) => {}
            Err(cause) => warn!(%cause, "{what} cannot be read"),
        }
        tokio::select! {
            () = wake.notified() => {}
            () = tokio::time::sleep(TICK) => {}
            () = quit.cancelled() => {}
        }
    }
    // A try that takes longer is left; its lease ends, and the next life or another node takes it over.
    let finishing = async { while running.join_next().await.is_some() {} };
    _ = tokio::time::timeout(GRACE, finishing).await;
}

/// How long to wait after so many tries: 5 s, doubling, an hour at most.
pub(crate) fn backoff(attempts: i32) -> i64 {
    let doublings = u32::try_from(attempts.saturating_sub(1)).unwrap_or(0).min(16);
    (5_000_i64 << doublings).min(3_600_000)
}
