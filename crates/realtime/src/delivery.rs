//! Delivery: whatever is stored in `messages`, by this server, by the API or by another node, goes to
//! its receiver's sockets here, in the order in which it was stored.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
    time::Duration,
};

use bson::{Document, doc};
use futures_util::{StreamExt as _, TryStreamExt as _};
use mongodb::{
    change_stream::{
        ChangeStream,
        event::{ChangeStreamEvent, ResumeToken},
    },
    error::{ErrorKind, Result},
};
use serde::Serialize;
use shared::{
    clock::{Timestamp, plus},
    db::Db,
    id::Id,
    model::{Conversation, Message, Stored as _},
};
use socketioxide::{SendError, SocketError, SocketIo, extract::SocketRef};
use tokio_util::sync::CancellationToken;

use crate::{App, wire};

/// How many conversations' members are remembered.
const REMEMBERED: usize = 20_000;

/// How many delivered messages are remembered, to tell what a gap has left out.
const DELIVERED: usize = 4_000;

/// How far before the newest delivered message a gap may begin, in milliseconds: what was stored at
/// the same time may have been seen in another order.
const OVERLAP: i64 = 10_000;

/// The members of conversations, which never change.
#[derive(Default)]
pub(crate) struct Members(Mutex<HashMap<Id<Conversation>, Arc<[String]>>>);

impl Members {
    fn note(&self, conversation: &Conversation) -> Arc<[String]> {
        let members: Arc<[String]> = conversation.members.clone().into();
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= REMEMBERED {
            // Rarely, and it only costs look-ups.
            known.clear();
        }
        known.insert(conversation.id, Arc::clone(&members));
        members
    }

    /// Hex ids; none if there is no such conversation.
    pub(crate) async fn of(&self, db: &Db, id: Id<Conversation>) -> Result<Arc<[String]>> {
        if let Some(members) = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&id) {
            return Ok(Arc::clone(members));
        }
        let found = db.of::<Conversation>().find_one(doc! { "_id": id }).await?;
        Ok(found.map(|conversation| self.note(&conversation)).unwrap_or_default())
    }
}

/// Sends an event to one socket. A reader that is too slow to take it is disconnected, so that it
/// comes back and reads what it has missed.
pub(crate) fn emit(socket: &SocketRef, event: &str, payload: &(impl Serialize + ?Sized)) {
    let Err(failure) = socket.emit(event, payload) else { return };
    if let SendError::Socket(SocketError::InternalChannelFull) = failure {
        metrics::counter!("chat_slow_readers_total").increment(1);
        tracing::info!(socket = %socket.id, "a slow reader is disconnected");
        let socket = socket.clone();
        tokio::spawn(async move {
            // The farewell needs a free place too. A reader that never makes one loses its heartbeat.
            for _ in 0..600 {
                if !socket.connected() || socket.clone().disconnect().is_ok() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
    }
}

/// Where the watching has got to.
struct Progress {
    token: Option<ResumeToken>,
    /// The time of the newest message seen, or when the watching began.
    newest: Timestamp,
    order: VecDeque<Id<Message>>,
    delivered: HashSet<Id<Message>>,
}

impl Progress {
    /// Whether a message is seen for the first time.
    fn first(&mut self, message: &Message) -> bool {
        if !self.delivered.insert(message.id) {
            return false;
        }
        self.order.push_back(message.id);
        if self.order.len() > DELIVERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.delivered.remove(&oldest);
        }
        self.newest = self.newest.max(message.created_at.unwrap_or(self.newest));
        true
    }
}

/// Watches the database and delivers, until the server stops. After a failure it goes on where it
/// was; where the database no longer knows that place, what was stored meanwhile is looked up.
pub(crate) async fn watch(app: Arc<App>, io: SocketIo, ready: CancellationToken) {
    let mut progress =
        Progress { token: None, newest: app.clock.now(), order: VecDeque::new(), delivered: HashSet::new() };
    let mut gap = false;
    let mut pause = Duration::from_millis(100);
    loop {
        let resumed = progress.token.is_some();
        match follow(&app, &io, &mut progress, &ready, gap).await {
            Ok(()) => progress.token = None,
            Err(cause) => {
                tracing::warn!(%cause, resumed, "watching the messages was interrupted");
                if resumed && matches!(&*cause.kind, ErrorKind::Command(_)) {
                    // The place is gone from the database's log.
                    progress.token = None;
                }
            }
        }
        if app.watching.swap(false, Ordering::Relaxed) {
            pause = Duration::from_millis(100);
        }
        gap = true;
        metrics::counter!("chat_watch_interruptions_total").increment(1);
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(5));
    }
}

/// Watches once, until something fails or the database is dropped.
async fn follow(
    app: &App,
    io: &SocketIo,
    progress: &mut Progress,
    ready: &CancellationToken,
    gap: bool,
) -> Result<()> {
    let mut stream = open(&app.db, progress.token.clone()).await?;
    if gap && progress.token.is_none() {
        catch_up(app, io, progress).await?;
    }
    app.watching.store(true, Ordering::Relaxed);
    ready.cancel();
    while let Some(event) = stream.next().await {
        handle(app, io, progress, event?).await?;
        // Only now: what could not be handled is seen again.
        progress.token = stream.resume_token();
    }
    Ok(())
}

async fn open(db: &Db, token: Option<ResumeToken>) -> Result<ChangeStream<ChangeStreamEvent<Document>>> {
    let collections = [Message::COLLECTION, Conversation::COLLECTION];
    let inserts =
        doc! { "$match": { "operationType": "insert", "ns.coll": { "$in": collections.to_vec() } } };
    db.database().watch().pipeline([inserts]).resume_after(token).await
}

async fn handle(
    app: &App,
    io: &SocketIo,
    progress: &mut Progress,
    event: ChangeStreamEvent<Document>,
) -> Result<()> {
    let Some(document) = event.full_document else { return Ok(()) };
    let collection = event.ns.and_then(|namespace| namespace.coll).unwrap_or_default();
    if collection == Conversation::COLLECTION {
        if let Ok(conversation) = bson::deserialize_from_document::<Conversation>(document) {
            app.presence.acquainted(&app.members.note(&conversation));
        }
    } else if let Ok(message) = bson::deserialize_from_document::<Message>(document) {
        deliver(app, io, progress, &message).await?;
    }
    Ok(())
}

/// Delivers what was stored while nobody was watching. The new watching has begun already, so
/// whatever is missed here is seen there.
async fn catch_up(app: &App, io: &SocketIo, progress: &mut Progress) -> Result<()> {
    let since = plus(progress.newest, -OVERLAP);
    let began = progress.newest;
    let mut missed = app
        .db
        .of::<Message>()
        .find(doc! { "createdAt": { "$gte": since } })
        .sort(doc! { "createdAt": 1, "_id": 1 })
        .await?;
    while let Some(message) = missed.try_next().await? {
        // Before anything was delivered, the overlap is what others had read before we came.
        if progress.order.is_empty() && message.created_at.is_some_and(|at| at < began) {
            continue;
        }
        deliver(app, io, progress, &message).await?;
    }
    Ok(())
}

/// To all sockets of the conversation's members but the sender's: the sender's page shows what it
/// has sent by itself.
async fn deliver(app: &App, io: &SocketIo, progress: &mut Progress, message: &Message) -> Result<()> {
    let members = app.members.of(&app.db, message.conversation_id).await?;
    if !progress.first(message) || !members.contains(&message.sender) {
        return Ok(());
    }
    for receiver in members.iter().filter(|member| **member != message.sender) {
        let sockets = io.within(receiver.clone()).sockets();
        if sockets.is_empty() {
            continue;
        }
        metrics::counter!("chat_messages_delivered_total").increment(1);
        let payload = wire::Delivered::to(receiver, message, &app.config);
        sockets.iter().for_each(|socket| emit(socket, wire::GET_MESSAGE, &payload));
    }
    Ok(())
}
