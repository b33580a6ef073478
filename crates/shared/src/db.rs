//! The database handle: typed collections, and transactions with bounded retry.

use std::{
    collections::BTreeSet,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex as SyncMutex, PoisonError},
    time::Duration,
};

use bson::{Document, doc};
use mongodb::{
    Client, ClientSession, Collection, Database,
    error::{Error, ErrorKind, TRANSIENT_TRANSACTION_ERROR, UNKNOWN_TRANSACTION_COMMIT_RESULT},
    event::{EventHandler, cmap::CmapEvent},
    options::{Acknowledgment, ClientOptions, ReadConcern, WriteConcern},
};
use tokio::sync::{Mutex, MutexGuard};
use tracing::debug;

use crate::{
    id::Id,
    lenient,
    model::{Kind, Listing, Stored},
    touched::{Marks, Touched},
};

tokio::task_local! {
    /// What the transaction that is under way has touched so far.
    static TOUCHED: Arc<SyncMutex<Vec<Touched>>>;
}

/// Marks what a transaction has touched once it has ended, also where nobody waited for its end.
struct MarkAtEnd {
    touched: Arc<SyncMutex<Vec<Touched>>>,
    marks: Marks,
}

impl Drop for MarkAtEnd {
    fn drop(&mut self) {
        let touched = std::mem::take(&mut *self.touched.lock().unwrap_or_else(PoisonError::into_inner));
        if !touched.is_empty() {
            self.marks.note(touched);
        }
    }
}

/// The database that holds everything. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Db {
    client: Client,
    database: Database,
    queues: Arc<[Mutex<()>; QUEUES]>,
    marks: Marks,
}

/// A future that a transaction's body returns.
pub type TxFuture<'s, T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send + 's>>;

/// How long a transaction is tried before the caller is told to come back later. No number of tries
/// says as much: while the server is gone each costs a time-out of its own, and on a document that
/// everybody wants most of them are lost at once.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// For so long a commit is asked about again whose answer was lost: longer than a set takes to elect another primary,
/// which knows what has become of it.
const COMMIT_PATIENCE: Duration = Duration::from_secs(15);

/// How often the driver's monitor hears from a server that is well. With the time that a connection may take, this is
/// how long it takes to notice one that hangs; the driver knows no other limit for an answer.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// How long to look for a server, and to connect to it.
const REACH: Duration = Duration::from_secs(5);

/// How long a primary may take to have a write confirmed by the others: without a majority of them it would wait for
/// ever.
const CONFIRMED_WITHIN: Duration = Duration::from_secs(10);

/// How long to wait for one's turn: where the database hangs, a queue would only add to it.
const TURN: Duration = Duration::from_secs(1);

/// How many documents can have a queue of their own.
const QUEUES: usize = 64;

impl Db {
    /// Connects, without waiting for the server: the driver keeps looking for it.
    ///
    /// A URI without a database name means `test`, as it did for the old server.
    pub async fn connect(uri: &str, app_name: &str) -> anyhow::Result<Self> {
        let mut options = ClientOptions::parse(uri).await?;
        options.app_name = Some(app_name.to_owned());
        options.server_selection_timeout.get_or_insert(REACH);
        options.connect_timeout.get_or_insert(REACH);
        options.heartbeat_freq.get_or_insert(HEARTBEAT);
        let concern = options.write_concern.get_or_insert_default();
        // What the address leaves out; a part of it would otherwise be the whole.
        concern.w.get_or_insert(Acknowledgment::Majority);
        concern.journal.get_or_insert(true);
        concern.w_timeout.get_or_insert(CONFIRMED_WITHIN);
        options.cmap_event_handler = Some(EventHandler::callback(measure));
        let name = options.default_database.clone().unwrap_or_else(|| "test".to_owned());
        let client = Client::with_options(options)?;
        let database = client.database(&name);
        let queues = Arc::new([const { Mutex::const_new(()) }; QUEUES]);
        Ok(Self { client, database, queues, marks: Marks::default() })
    }

    /// The collection of a stored type.
    pub fn of<T: Stored>(&self) -> Collection<T> {
        self.database.collection(T::COLLECTION)
    }

    /// Products or events.
    pub fn listings(&self, kind: Kind) -> Collection<Listing> {
        self.database.collection(kind.collection())
    }

    /// A collection by name, read as `T`: for projections.
    pub fn raw<T: Send + Sync>(&self, collection: &str) -> Collection<T> {
        self.database.collection(collection)
    }

    /// The driver's database.
    pub const fn database(&self) -> &Database {
        &self.database
    }

    /// The driver's client.
    pub const fn client(&self) -> &Client {
        &self.client
    }

    /// To be said behind every write that changes what is shown of the catalogue: it then is in whatever this
    /// process answers from now on. In a transaction it counts once that has ended.
    pub fn touched(&self, what: Touched) {
        let collected = TOUCHED.try_with(|touched| {
            touched.lock().unwrap_or_else(PoisonError::into_inner).push(what);
        });
        if collected.is_err() {
            self.marks.note([what]);
        }
    }

    /// What was touched, for whoever keeps a copy.
    pub const fn marks(&self) -> &Marks {
        &self.marks
    }

    /// Whether the server answers.
    pub async fn ping(&self) -> mongodb::error::Result<()> {
        self.database.run_command(doc! { "ping": 1 }).await.map(drop)
    }

    /// Runs `body` in a transaction and commits it.
    ///
    /// The body may run several times, so it must touch nothing but the database, through the
    /// session it is given, and return every error. It is repeated, with jitter, when the server
    /// says that a conflict or a change of primary undid it; a commit whose answer was lost is
    /// repeated as well. After `PATIENCE` the last error is returned; of a server that hangs it is
    /// heard once the driver's monitor has noticed.
    pub async fn transaction<T, E, F>(&self, body: F) -> Result<T, E>
    where
        F: for<'s> FnMut(&'s mut ClientSession) -> TxFuture<'s, T, E> + Send,
        E: From<Error> + AsDriverError,
    {
        self.transaction_within(PATIENCE, body).await
    }

    /// The same with another patience, for those who can do something about a conflict.
    pub(crate) async fn transaction_within<T, E, F>(&self, patience: Duration, body: F) -> Result<T, E>
    where
        F: for<'s> FnMut(&'s mut ClientSession) -> TxFuture<'s, T, E> + Send,
        E: From<Error> + AsDriverError,
    {
        let touched = Arc::<SyncMutex<Vec<Touched>>>::default();
        // A commit of which nothing was heard may have taken place, so the marks do not ask how it ended.
        let _marks = MarkAtEnd { touched: Arc::clone(&touched), marks: self.marks.clone() };
        TOUCHED.scope(touched, self.attempts(patience, body)).await
    }

    async fn attempts<T, E, F>(&self, patience: Duration, mut body: F) -> Result<T, E>
    where
        F: for<'s> FnMut(&'s mut ClientSession) -> TxFuture<'s, T, E> + Send,
        E: From<Error> + AsDriverError,
    {
        let mut session = self.client.start_session().await?;
        let begun = tokio::time::Instant::now();
        let mut attempt = 0;
        loop {
            attempt += 1;
            session
                .start_transaction()
                .read_concern(ReadConcern::snapshot())
                .write_concern(durably())
                .await?;
            let failure = match body(&mut session).await {
                Ok(value) => match commit(&mut session).await {
                    Ok(()) => return Ok(value),
                    Err(error) => E::from(error),
                },
                Err(error) => {
                    if error.driver_error().is_some_and(is_gone) {
                        // Nobody there to be told; dropped, it is told in the background once there is.
                        session = self.client.start_session().await?;
                    } else {
                        // The server forgets it anyway; the first error is the one that matters.
                        _ = session.abort_transaction().await;
                    }
                    error
                }
            };
            let transient =
                failure.driver_error().is_some_and(|error| error.contains_label(TRANSIENT_TRANSACTION_ERROR));
            if !transient || begun.elapsed() >= patience {
                return Err(failure);
            }
            debug!(attempt, "transaction conflict, trying again");
            tokio::time::sleep(jitter(attempt)).await;
        }
    }

    /// Waits for a while until nobody else on this node changes what `id` stands for: a shop's balance, a
    /// conversation. Nothing depends on it: the database keeps order by itself, and this spares those who
    /// would undo one another's transactions the trouble.
    pub async fn turn<T>(&self, id: Id<T>) -> Option<MutexGuard<'_, ()>> {
        tokio::time::timeout(TURN, self.queues.get(queue(id))?.lock()).await.ok()
    }

    /// The same of several, always taken in one order, so that of two who want the same none waits for
    /// the other in vain. After a while it makes do with those it has.
    pub async fn turns<T>(&self, ids: impl Iterator<Item = Id<T>>) -> Vec<MutexGuard<'_, ()>> {
        let wanted: BTreeSet<usize> = ids.map(queue).collect();
        let until = tokio::time::Instant::now() + TURN;
        let mut turns = Vec::with_capacity(wanted.len());
        for queue in wanted.into_iter().filter_map(|queue| self.queues.get(queue)) {
            match tokio::time::timeout_at(until, queue.lock()).await {
                Ok(turn) => turns.push(turn),
                Err(_) => break,
            }
        }
        turns
    }

    /// Several updates in one round trip, which the driver has only for newer servers: the statements of
    /// the command `update`. Gives how many documents they matched.
    pub async fn update_all(
        &self,
        session: &mut ClientSession,
        collection: &str,
        updates: Vec<Document>,
    ) -> Result<i64, Error> {
        let command = doc! { "update": collection, "updates": updates, "ordered": true };
        let reply = self.database.run_command(command).session(session).await?;
        if let Ok(errors) = reply.get_array("writeErrors") {
            return Err(Error::custom(format!("{collection} cannot be updated: {errors:?}")));
        }
        Ok(reply.get("n").and_then(lenient::as_int).unwrap_or_default())
    }

    /// Lets `read` see everything as of one moment. It may run several times: the server gives a moment
    /// up when an index is made meanwhile.
    pub async fn snapshot<T, F>(&self, mut read: F) -> Result<T, Error>
    where
        F: for<'s> FnMut(&'s mut ClientSession) -> TxFuture<'s, T, Error> + Send,
    {
        let mut attempt = 0;
        loop {
            attempt += 1;
            let mut session = self.client.start_session().snapshot(true).await?;
            match read(&mut session).await {
                Err(error) if attempt < 5 && is_moment_lost(&error) => {
                    tokio::time::sleep(jitter(attempt)).await;
                }
                result => return result,
            }
        }
    }
}

/// Counts the connections to the database, and those who wait for one.
fn measure(event: CmapEvent) {
    let open = |change: f64| metrics::gauge!("database_connections").increment(change);
    let used = |change: f64| metrics::gauge!("database_connections_used").increment(change);
    let waiting = |change: f64| metrics::gauge!("database_connections_wanted").increment(change);
    match event {
        CmapEvent::ConnectionCreated(_) => open(1.0),
        CmapEvent::ConnectionClosed(_) => open(-1.0),
        CmapEvent::ConnectionCheckoutStarted(_) => waiting(1.0),
        CmapEvent::ConnectionCheckedOut(got) => {
            waiting(-1.0);
            used(1.0);
            metrics::histogram!("database_connection_wait_seconds").record(got.duration);
        }
        CmapEvent::ConnectionCheckoutFailed(_) => {
            waiting(-1.0);
            metrics::counter!("database_connections_failed_total").increment(1);
        }
        CmapEvent::ConnectionCheckedIn(_) => used(-1.0),
        CmapEvent::PoolCleared(_) => metrics::counter!("database_lost_total").increment(1),
        _ => {}
    }
}

/// Which queue a document has; several share one.
fn queue<T>(id: Id<T>) -> usize {
    let [.., last] = id.oid().bytes();
    usize::from(last) % QUEUES
}

/// Whether the server cannot show the moment of a snapshot any more.
fn is_moment_lost(error: &Error) -> bool {
    const SNAPSHOT_TOO_OLD: i32 = 239;
    const SNAPSHOT_UNAVAILABLE: i32 = 246;
    matches!(&*error.kind, ErrorKind::Command(refused)
        if [SNAPSHOT_TOO_OLD, SNAPSHOT_UNAVAILABLE].contains(&refused.code))
}

/// What is acknowledged is on the disks of a majority.
fn durably() -> WriteConcern {
    WriteConcern::builder().w(Acknowledgment::Majority).journal(true).w_timeout(CONFIRMED_WITHIN).build()
}

/// Commits, again and again for a while when the answer was lost.
async fn commit(session: &mut ClientSession) -> mongodb::error::Result<()> {
    let begun = tokio::time::Instant::now();
    let mut attempt = 0;
    loop {
        attempt += 1;
        match session.commit_transaction().await {
            Err(error)
                if begun.elapsed() < COMMIT_PATIENCE
                    && error.contains_label(UNKNOWN_TRANSACTION_COMMIT_RESULT) =>
            {
                tokio::time::sleep(jitter(attempt)).await;
            }
            result => return result,
        }
    }
}

/// A random pause that grows with the attempts, at most about a quarter of a second.
fn jitter(attempt: u32) -> Duration {
    let mut byte = [0u8; 1];
    // Without randomness the pause is merely regular.
    _ = getrandom::fill(&mut byte);
    let ceiling = 2u64 << attempt.min(7);
    Duration::from_millis(1 + u64::from(byte[0]) * ceiling / 256)
}

/// An error that may have come from the driver.
pub trait AsDriverError {
    /// The driver's error, if it was one.
    fn driver_error(&self) -> Option<&Error>;
}

impl AsDriverError for Error {
    fn driver_error(&self) -> Option<&Error> {
        Some(self)
    }
}

impl AsDriverError for anyhow::Error {
    fn driver_error(&self) -> Option<&Error> {
        self.downcast_ref()
    }
}

/// The name of the unique index that a write violated (`_id_` for the primary key), if that is what
/// happened.
pub fn duplicate_key(error: &Error) -> Option<String> {
    let message = match &*error.kind {
        ErrorKind::Write(mongodb::error::WriteFailure::WriteError(e)) if e.code == 11000 => &e.message,
        ErrorKind::Command(e) if e.code == 11000 => &e.message,
        ErrorKind::InsertMany(e) => &e.write_errors.as_ref()?.iter().find(|e| e.code == 11000)?.message,
        _ => return None,
    };
    let after = message.split("index: ").nth(1)?;
    after.split_whitespace().next().map(str::to_owned)
}

/// Whether the database cannot be reached just now, as opposed to having refused something.
pub fn is_unavailable(error: &Error) -> bool {
    is_lost(error)
        || is_unconfirmed(error)
        || code(error).is_some_and(|code| PASSING.contains(&code))
        || error.contains_label(TRANSIENT_TRANSACTION_ERROR)
        || error.contains_label(UNKNOWN_TRANSACTION_COMMIT_RESULT)
        || error.contains_label("RetryableWriteError")
}

/// Whether the database was not there to be asked, or was lost in the middle: more than that others came in between.
pub fn is_gone(error: &Error) -> bool {
    let overtaken = matches!(&*error.kind, ErrorKind::Command(_))
        && error.contains_label(TRANSIENT_TRANSACTION_ERROR)
        && !error.contains_label(UNKNOWN_TRANSACTION_COMMIT_RESULT);
    is_unavailable(error) && !overtaken
}

/// Whether the server may have done what it was asked although its answer is missing.
pub fn may_have_happened(error: &Error) -> bool {
    // The driver says the same of a connection that was taken away in the middle and of one it never had.
    let interrupted = matches!(&*error.kind, ErrorKind::ConnectionPoolCleared { message, .. }
        if message.contains("interrupted"));
    let unheard = matches!(&*error.kind, ErrorKind::Io(_)) || interrupted || is_unconfirmed(error);
    error.contains_label(UNKNOWN_TRANSACTION_COMMIT_RESULT)
        || (unheard && !error.contains_label(TRANSIENT_TRANSACTION_ERROR))
}

/// What a server answers that is going down, is no primary any more, or cannot reach its own: host unreachable, host
/// not found, network timeout, shutdown in progress, no majority to read from, primary stepped down, exceeded time
/// limit, socket exception, not primary, interrupted at shutdown or by a change of state, not primary any more (two).
const PASSING: [i32; 13] = [6, 7, 89, 91, 134, 189, 262, 9001, 10_107, 11_600, 11_602, 13_435, 13_436];

fn code(error: &Error) -> Option<i32> {
    match &*error.kind {
        ErrorKind::Command(refused) => Some(refused.code),
        _ => None,
    }
}

/// Nothing was heard from a server.
fn is_lost(error: &Error) -> bool {
    matches!(
        &*error.kind,
        ErrorKind::ServerSelection { .. }
            | ErrorKind::Io(_)
            | ErrorKind::ConnectionPoolCleared { .. }
            | ErrorKind::DnsResolve { .. }
    )
}

/// The primary has written it, and no majority has confirmed that in time: it stays, unless the primary is lost.
fn is_unconfirmed(error: &Error) -> bool {
    match &*error.kind {
        ErrorKind::Write(mongodb::error::WriteFailure::WriteConcernError(_)) => true,
        ErrorKind::InsertMany(failed) => {
            failed.write_concern_error.is_some() && failed.write_errors.as_ref().is_none_or(Vec::is_empty)
        }
        _ => false,
    }
}
