//! What is measured by looking: queues, the books, the last backup. By every node alike, so that it does not matter which
//! of them is asked.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use bson::{Document, doc};
use futures_util::TryStreamExt as _;
use shared::{
    backups,
    clock::Timestamp,
    db::Db,
    lenient,
    model::{Outbox, Stored as _, Turn, WebhookEvent},
};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::{dead_letters, state::App};

/// How often to look.
const EVERY: Duration = Duration::from_secs(10);
/// Beyond so many jobs they are not told apart by kind any more: to count them costs the database more than it tells.
const MOST: i64 = 100_000;
/// The turn of counting the books.
pub(crate) const BOOKS: &str = "books";

/// Keeps the gauges up to date until told to quit.
pub(crate) async fn keep(app: Arc<App>, quit: CancellationToken) {
    let mut known = BTreeSet::new();
    loop {
        let now = app.clock.now();
        if let Err(cause) = look(&app, now, &mut known).await {
            debug!(%cause, "queues cannot be measured");
        }
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = quit.cancelled() => return,
        }
    }
}

async fn look(app: &App, now: Timestamp, known: &mut BTreeSet<Group>) -> mongodb::error::Result<()> {
    metrics::gauge!("audit_log_waiting").set(gauge(u64::try_from(app.audit_log.waiting()).unwrap_or(0)));
    let db = &app.db;
    let (counts, kinds, inbox, books, backup) = tokio::try_join!(
        dead_letters::counts(db, now),
        by_kind(db),
        inbox(db, now),
        books(db),
        backups::last(db),
    )?;
    metrics::gauge!("outbox_jobs", "state" => "waiting").set(gauge(counts.waiting));
    metrics::gauge!("outbox_jobs", "state" => "dead").set(gauge(counts.dead));
    metrics::gauge!("outbox_overdue_seconds").set(seconds(counts.overdue));
    // What is not there any more is zero, and not what it was.
    known.extend(kinds.keys().cloned());
    for group in known.iter() {
        let count = kinds.get(group).copied().unwrap_or_default();
        let Group { kind, state } = group.clone();
        metrics::gauge!("outbox_jobs_by_kind", "kind" => kind, "state" => state).set(gauge(count));
    }
    metrics::gauge!("inbox_waiting").set(gauge(inbox.waiting));
    metrics::gauge!("inbox_overdue_seconds").set(seconds(inbox.overdue));
    if let Some(books) = books {
        metrics::gauge!("books_differences").set(gauge(books.differences));
        metrics::gauge!("books_counted_timestamp_seconds").set(moment(books.at));
    }
    if let Some(at) = backup {
        metrics::gauge!("backup_last_timestamp_seconds").set(moment(at));
    }
    Ok(())
}

/// Jobs that count together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Group {
    kind: String,
    state: &'static str,
}

async fn by_kind(db: &Db) -> mongodb::error::Result<BTreeMap<Group, u64>> {
    let pipeline = [
        doc! { "$project": { "job.kind": 1, "dead": 1 } },
        doc! { "$limit": MOST },
        doc! { "$group": { "_id": { "kind": "$job.kind", "dead": "$dead" }, "count": { "$sum": 1 } } },
    ];
    let found = db.raw::<Document>(Outbox::COLLECTION).aggregate(pipeline).await?;
    let found: Vec<Document> = found.try_collect().await?;
    let group = |found: Document| {
        let id = found.get_document("_id").ok()?;
        let kind = id.get_str("kind").ok()?.to_owned();
        let state = if id.get_bool("dead").unwrap_or_default() { "dead" } else { "waiting" };
        let count = found.get("count").and_then(lenient::as_int).unwrap_or_default();
        Some((Group { kind, state }, u64::try_from(count).unwrap_or_default()))
    };
    Ok(found.into_iter().filter_map(group).collect())
}

/// How what gateways have told stands.
struct Inbox {
    waiting: u64,
    overdue: i64,
}

async fn inbox(db: &Db, now: Timestamp) -> mongodb::error::Result<Inbox> {
    let events = db.raw::<Document>(WebhookEvent::COLLECTION);
    let (waiting, oldest) =
        tokio::try_join!(async { events.count_documents(doc! { "applied": false }).await }, async {
            let oldest = events.find_one(doc! { "applied": false }).sort(doc! { "dueAt": 1 });
            oldest.projection(doc! { "dueAt": 1 }).await
        },)?;
    let since = oldest.and_then(|event| event.get("dueAt").and_then(lenient::as_date)).unwrap_or(now);
    Ok(Inbox { waiting, overdue: now.timestamp_millis() - since.timestamp_millis() })
}

/// How the books were when they were counted last, by whichever node.
struct Books {
    at: Timestamp,
    differences: u64,
}

async fn books(db: &Db) -> mongodb::error::Result<Option<Books>> {
    let turn = db.raw::<Document>(Turn::COLLECTION).find_one(doc! { "_id": BOOKS }).await?;
    Ok(turn.and_then(|turn| {
        let at = turn.get("countedAt").and_then(lenient::as_date)?;
        let differences = turn.get("differences").and_then(lenient::as_int)?;
        Some(Books { at, differences: u64::try_from(differences).ok()? })
    }))
}

/// Notes how the books were, for all nodes.
pub(crate) async fn note_books(db: &Db, at: Timestamp, differences: usize) -> mongodb::error::Result<()> {
    let differences = i64::try_from(differences).unwrap_or(i64::MAX);
    let noted = doc! { "$set": { "countedAt": at, "differences": differences } };
    db.raw::<Document>(Turn::COLLECTION).update_one(doc! { "_id": BOOKS }, noted).await.map(drop)
}

fn gauge(number: u64) -> f64 {
    f64::from(u32::try_from(number).unwrap_or(u32::MAX))
}

fn seconds(millis: i64) -> f64 {
    gauge(u64::try_from(millis / 1000).unwrap_or(0))
}

/// Fits until the year 2106.
fn moment(at: Timestamp) -> f64 {
    seconds(at.timestamp_millis())
}
