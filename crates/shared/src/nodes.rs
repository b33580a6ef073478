//! Which processes are at work and how each has been doing of late, for whoever looks at all of them from one. Each
//! writes a document of its own every ten seconds, from the metrics that it collects anyway.

use std::{sync::Arc, time::Duration};

use bson::{Document, doc};
use futures_util::TryStreamExt as _;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tracing::debug;

use crate::{
    clock::{Clock, Timestamp, plus},
    db::Db,
    model::Stored,
    telemetry,
};

/// How often a process writes.
const EVERY: Duration = Duration::from_secs(10);
/// So many samples are kept of each: ten minutes.
const SAMPLES: i32 = 60;
/// A process that has not written for so long is not listed, in milliseconds.
const GONE: i64 = 60 * 60 * 1000;

/// A process (`nodes`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Node {
    /// What it is, on which host, at which port: the same after a restart.
    #[serde(rename = "_id")]
    pub name: String,
    /// Of the program.
    pub version: String,
    /// When this life of it began.
    pub started_at: Timestamp,
    /// When it wrote last.
    pub seen_at: Timestamp,
    /// The oldest first.
    pub samples: Vec<Sample>,
}

impl Stored for Node {
    const COLLECTION: &'static str = "nodes";
}

/// How a process did in ten seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sample {
    /// At their end.
    pub at: Timestamp,
    /// Requests that were answered meanwhile.
    pub requests: i64,
    /// Those of them that were answered with a fault (5xx).
    pub faults: i64,
    /// Chat messages that were handed to somebody.
    pub messages: i64,
    /// People connected to this process' chat at the end.
    pub people: i64,
}

/// What a process has counted since its start.
#[derive(Clone, Copy, Default)]
struct Counted {
    requests: i64,
    faults: i64,
    messages: i64,
}

impl Counted {
    fn now(metrics: &str) -> Self {
        Self {
            requests: telemetry::sum(metrics, "http_requests_total", |_| true),
            faults: telemetry::sum(metrics, "http_requests_total", |labels| labels.contains("status=\"5")),
            messages: telemetry::sum(metrics, "chat_messages_delivered_total", |_| true),
        }
    }

    fn since(self, before: Self, at: Timestamp, people: i64) -> Sample {
        Sample {
            at,
            requests: self.requests - before.requests,
            faults: self.faults - before.faults,
            messages: self.messages - before.messages,
            people,
        }
    }
}

/// Writes down how this process is doing until told to quit, and then that it is gone.
pub async fn keep(db: Db, clock: Clock, name: String, quit: Arc<Notify>) {
    let started = clock.now();
    let nodes = db.of::<Node>();
    let mut before = Counted::default();
    loop {
        let metrics = telemetry::render_metrics();
        let (counted, now) = (Counted::now(&metrics), clock.now());
        let people = telemetry::sum(&metrics, "chat_people_here", |_| true);
        let sample = counted.since(before, now, people);
        let update = bson::serialize_to_document(&sample).map(|sample| write(sample, started, now));
        let written = match update {
            Ok(update) => nodes.update_one(doc! { "_id": &name }, update).upsert(true).await.map(drop),
            Err(failure) => Err(failure.into()),
        };
        match written {
            Ok(()) => before = counted,
            Err(cause) => debug!(%cause, "how this process is doing cannot be written down"),
        }
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = quit.notified() => break,
        }
    }
    // Best effort: who is gone without a word is not listed any more after an hour.
    _ = nodes.delete_one(doc! { "_id": &name }).await;
}

fn write(sample: Document, started: Timestamp, now: Timestamp) -> Document {
    doc! {
        "$set": { "version": env!("CARGO_PKG_VERSION"), "startedAt": started, "seenAt": now },
        "$push": { "samples": { "$each": [sample], "$slice": -SAMPLES } },
    }
}

/// Those that have written within the last hour, by name.
pub async fn recent(db: &Db, now: Timestamp) -> mongodb::error::Result<Vec<Node>> {
    let recent = doc! { "seenAt": { "$gte": plus(now, -GONE) } };
    db.of::<Node>().find(recent).sort(doc! { "_id": 1 }).limit(100).await?.try_collect().await
}
