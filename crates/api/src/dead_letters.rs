//! What an operator sees of the outbox, and may do about jobs that were given up. Nothing here shows
//! what a job is about: mails carry links that open accounts.

use std::sync::Arc;

use bson::{Document, doc};
use futures_util::TryStreamExt as _;
use mongodb::options::ReturnDocument;
use serde::Deserialize;
use shared::{
    clock::{Clock, Timestamp},
    config::Config,
    db::Db,
    id::Id,
    lenient,
    model::{AuditEntry, Outbox, Party, Stored as _},
};

use crate::{
    admin::page::{self, Page, Wanted},
    audit_log::{self, Action, AuditLog, Event},
};

/// More of an error is a story.
const LONGEST_ERROR: usize = 200;

/// How the outbox stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// To be done, now or later.
    pub waiting: u64,
    /// Given up.
    pub dead: u64,
    /// For how many milliseconds the oldest job that could be done has been waiting.
    pub overdue: i64,
}

/// Counts.
pub async fn counts(db: &Db, now: Timestamp) -> mongodb::error::Result<Counts> {
    let jobs = db.raw::<Document>(Outbox::COLLECTION);
    let due = doc! { "dead": false, "dueAt": { "$lte": now } };
    let (waiting, dead, oldest) = tokio::try_join!(
        async { jobs.count_documents(doc! { "dead": false }).await },
        async { jobs.count_documents(doc! { "dead": true }).await },
        async { jobs.find_one(due).sort(doc! { "dueAt": 1 }).projection(doc! { "dueAt": 1 }).await },
    )?;
    let since = oldest.and_then(|job| job.get("dueAt").and_then(lenient::as_date));
    let overdue = since.map_or(0, |since| now.timestamp_millis() - since.timestamp_millis());
    Ok(Counts { waiting, dead, overdue })
}

/// A job, without what it is about.
#[derive(Clone, Debug)]
pub struct Job {
    /// Its id.
    pub id: Id<Outbox>,
    /// `mail`, `deleteMedia`, `refund`.
    pub kind: String,
    /// How often it was tried.
    pub attempts: i64,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When it may be tried next.
    pub due_at: Timestamp,
    /// What the last try said, in one line.
    pub last_error: Option<String>,
}

/// What is read of one.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stub {
    #[serde(rename = "_id")]
    id: Id<Outbox>,
    job: KindOnly,
    #[serde(deserialize_with = "lenient::int")]
    attempts: i64,
    created_at: Timestamp,
    due_at: Timestamp,
    last_error: Option<String>,
}

#[derive(Deserialize)]
struct KindOnly {
    kind: String,
}

/// Jobs that were given up, or those that were not; the oldest first, and no more than so many.
pub async fn list(db: &Db, dead: bool, limit: i64) -> mongodb::error::Result<Vec<Job>> {
    let jobs = db.raw::<Stub>(Outbox::COLLECTION);
    let found = jobs.find(doc! { "dead": dead }).projection(seen()).sort(doc! { "dueAt": 1 }).limit(limit);
    let stubs: Vec<Stub> = found.await?.try_collect().await?;
    Ok(stubs.into_iter().map(Into::into).collect())
}

/// A page of the jobs that were given up, for administrators.
pub(crate) async fn page(db: &Db, wanted: &Wanted<()>) -> mongodb::error::Result<Page<Job>> {
    let found: Page<Stub> = page::page(db, Outbox::COLLECTION, doc! { "dead": true }, seen(), wanted).await?;
    Ok(found.map(Into::into))
}

/// Puts a job back that was given up, and writes down who did. It, and whether it had been given up; nothing if
/// there is no such job (any more).
pub(crate) async fn put_back(
    db: &Db,
    id: Id<Outbox>,
    entry: &AuditEntry,
    now: Timestamp,
) -> mongodb::error::Result<Option<(Job, bool)>> {
    db.transaction(|session| {
        let (db, entry) = (db.clone(), entry.clone());
        Box::pin(async move {
            let jobs = db.raw::<Stub>(Outbox::COLLECTION);
            let given_up = doc! { "_id": id, "dead": true };
            let put = jobs.find_one_and_update(given_up, anew(now)).projection(seen());
            let put = put.return_document(ReturnDocument::After).session(&mut *session).await?;
            let Some(job) = put else {
                let waits = jobs.find_one(doc! { "_id": id }).projection(seen()).session(session).await?;
                return Ok(waits.map(|job| (job.into(), false)));
            };
            audit_log::add_in(&db, session, &entry).await?;
            Ok(Some((job.into(), true)))
        })
    })
    .await
}

/// What is read of a job.
fn seen() -> Document {
    doc! { "job.kind": 1, "attempts": 1, "createdAt": 1, "dueAt": 1, "lastError": 1 }
}

/// As if it were new.
fn anew(now: Timestamp) -> Document {
    doc! { "$set": { "dead": false, "attempts": 0, "dueAt": now } }
}

impl From<Stub> for Job {
    fn from(stub: Stub) -> Self {
        Self {
            id: stub.id,
            kind: stub.job.kind,
            attempts: stub.attempts,
            created_at: stub.created_at,
            due_at: stub.due_at,
            last_error: stub.last_error.map(|error| in_one_line(&error)),
        }
    }
}

/// Somebody else's words, fit for a terminal.
fn in_one_line(error: &str) -> String {
    let line: String =
        error.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST_ERROR).collect();
    if line.len() < error.len() { format!("{line}…") } else { line }
}

/// Which jobs are to be tried again.
#[derive(Clone, Copy, Debug)]
pub enum Which {
    /// This one.
    One(Id<Outbox>),
    /// Every one that was given up.
    All,
}

/// Puts jobs that were given up back, as if they were new, and says how many. One conditional update: a job
/// that is not given up, or no longer, is left alone, however often this is asked for.
pub async fn retry(db: &Db, which: Which, now: Timestamp) -> mongodb::error::Result<u64> {
    let mut given_up = doc! { "dead": true };
    if let Which::One(id) = which {
        given_up.insert("_id", id);
    }
    Ok(db.of::<Outbox>().update_many(given_up, anew(now)).await?.modified_count)
}

/// Writes into the audit log that whoever operates the server has put jobs back.
pub async fn note_retry(
    db: &Db,
    config: Config,
    clock: &Clock,
    which: Which,
    count: u64,
) -> mongodb::error::Result<()> {
    let event = Event::done(Action::RetryDeadLetters, Party::system()).note(format!("{count} put back"));
    let event = match which {
        Which::One(id) => event.about(Party::new("job", id)),
        Which::All => event,
    };
    let log = AuditLog::new(Arc::new(config), clock.clone());
    db.of::<AuditEntry>().insert_one(log.entry(event)).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_line_that_does_nothing_to_a_terminal() {
        assert_eq!(in_one_line("451 later"), "451 later");
        assert_eq!(in_one_line("a\r\nb\u{1b}[2J"), "a  b [2J");
        let long = in_one_line(&"ä".repeat(500));
        assert_eq!(long.chars().count(), LONGEST_ERROR + 1);
    }
}
