//! One moment of the database, as which everything is read.

use std::time::Duration;

use anyhow::Context as _;
use bson::{Bson, Document, Timestamp, doc};
use mongodb::{
    ClientSession, Database,
    error::{Error, ErrorKind},
    options::SessionOptions,
};
use shared::{clock, db::Db, lenient};

/// How long the server can show a past moment.
const WINDOW: &str = "minSnapshotHistoryWindowInSeconds";
/// What it is where nobody has said otherwise, and what the embedded database goes back to.
const USUAL: i64 = 300;
/// So long the embedded database keeps the past while a backup is read.
const EMBEDDED: Duration = Duration::from_secs(24 * 3600);

const TOO_OLD: i32 = 239;
const UNAVAILABLE: i32 = 246;

/// A moment: in the order of the database's own log.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment(Timestamp);

impl Moment {
    /// Now: whatever was acknowledged before is in it.
    pub(super) async fn now(db: &Db) -> anyhow::Result<Self> {
        let answer = db.database().run_command(doc! { "ping": 1 }).await?;
        let moment = answer.get_timestamp("operationTime");
        Ok(Self(moment.context("the database tells no time: is it a replica set?")?))
    }

    /// A session that reads as of this moment. Several of them may read at once.
    pub(super) async fn session(self, db: &Db) -> mongodb::error::Result<ClientSession> {
        let options = SessionOptions::builder().snapshot(true).snapshot_time(self.0).build();
        db.client().start_session().with_options(options).await
    }

    /// As people write it.
    pub(super) fn text(self) -> String {
        clock::iso(clock::Timestamp::from_millis(i64::from(self.0.time).saturating_mul(1000)))
    }
}

/// Whether a collection or an index was made meanwhile, so that another moment may be read.
pub(super) fn is_disturbed(error: &anyhow::Error) -> bool {
    code_of(error) == Some(UNAVAILABLE)
}

/// Whether the server has forgotten the moment.
pub(super) fn is_forgotten(error: &anyhow::Error) -> bool {
    code_of(error) == Some(TOO_OLD)
}

fn code_of(error: &anyhow::Error) -> Option<i32> {
    match &*error.downcast_ref::<Error>()?.kind {
        ErrorKind::Command(refused) => Some(refused.code),
        _ => None,
    }
}

/// How long the server keeps the past, which is longer for as long as this is in force.
pub(super) struct History {
    admin: Database,
    before: Option<i64>,
}

impl History {
    /// Has the server keep the past longer: the embedded one always, another if that is wished.
    pub(super) async fn keep(db: &Db, embedded: bool, wished: Option<Duration>) -> anyhow::Result<Self> {
        let admin = db.client().database("admin");
        let wanted = wished.or(embedded.then_some(EMBEDDED));
        let Some(wanted) = wanted else { return Ok(Self { admin, before: None }) };
        let found = admin.run_command(doc! { "getParameter": 1, WINDOW: 1 }).await;
        let found =
            found.context("--history: this database account may not ask how long the past is kept")?;
        let before = found.get(WINDOW).and_then(lenient::as_int).unwrap_or(USUAL);
        let wanted = i64::try_from(wanted.as_secs())?.max(before);
        set(&admin, wanted)
            .await
            .context("--history: this database account may not have the past kept longer")?;
        // A killed backup may have left the embedded one as it was then.
        Ok(Self { admin, before: Some(if embedded { USUAL } else { before }) })
    }

    /// Puts it back.
    pub(super) async fn release(self) {
        let Some(before) = self.before else { return };
        if let Err(error) = set(&self.admin, before).await {
            tracing::warn!("{WINDOW} could not be set back to {before}: {error}");
        }
    }
}

async fn set(admin: &Database, seconds: i64) -> mongodb::error::Result<Document> {
    let seconds = i32::try_from(seconds).unwrap_or(i32::MAX);
    admin.run_command(doc! { "setParameter": 1, WINDOW: Bson::Int32(seconds) }).await
}
