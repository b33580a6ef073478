//! Delivery: whatever is stored in `messages`, by this server, by the API or by another node, goes to its receiver's
//! sockets here, in the order in which it was stored.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
    time::Duration,
};

use bson::{RawDocumentBuf, Timestamp, doc};
use futures_util::{StreamExt as _, TryStreamExt as _};
use mongodb::{
    change_stream::{ChangeStream, event::ResumeToken},
    error::{ErrorKind, Result},
};
use serde::Deserialize;
use serde_json::value::RawValue;
use shared::{
    clock,
    db::Db,
    id::Id,
    lenient,
    model::{Conversation, Message, Stored as _},
};
use tokio_util::sync::CancellationToken;

use crate::{App, position::Position, replay::Said, wire};

/// How many conversations' members are remembered.
const REMEMBERED: usize = 20_000;

/// How many changes are handled together.
const TOGETHER: usize = 512;

/// How far before the newest delivered message a gap may begin, in milliseconds: what was stored at the same time may
/// have been seen in another order.
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

    fn known(&self, id: Id<Conversation>) -> Option<Arc<[String]>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&id).map(Arc::clone)
    }

    /// Hex ids; none if there is no such conversation.
    pub(crate) async fn of(&self, db: &Db, id: Id<Conversation>) -> Result<Arc<[String]>> {
        if let Some(members) = self.known(id) {
            return Ok(members);
        }
        let found = db.of::<Conversation>().find_one(doc! { "_id": id }).await?;
        Ok(found.map(|conversation| self.note(&conversation)).unwrap_or_default())
    }

    /// The members of several conversations, with one look-up for all that are not known.
    async fn of_all(
        &self,
        db: &Db,
        ids: HashSet<Id<Conversation>>,
    ) -> Result<HashMap<Id<Conversation>, Arc<[String]>>> {
        let mut members: HashMap<_, _> = ids.iter().filter_map(|id| Some((*id, self.known(*id)?))).collect();
        let unknown: Vec<_> = ids.into_iter().filter(|id| !members.contains_key(id)).collect();
        if !unknown.is_empty() {
            let mut found = db.of::<Conversation>().find(doc! { "_id": { "$in": unknown } }).await?;
            while let Some(conversation) = found.try_next().await? {
                members.insert(conversation.id, self.note(&conversation));
            }
        }
        Ok(members)
    }
}

/// A change in the database, as far as we look at it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Change {
    #[serde(rename = "_id")]
    token: ResumeToken,
    cluster_time: Option<Timestamp>,
    ns: Option<Namespace>,
    full_document: Option<RawDocumentBuf>,
    update_description: Option<Update>,
}

#[derive(Deserialize)]
struct Namespace {
    coll: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Update {
    updated_fields: UpdatedFields,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct UpdatedFields {
    #[serde(default, deserialize_with = "lenient::opt_document")]
    last_seen: Option<LastSeen>,
}

/// What a conversation says of the message that was seen last.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LastSeen {
    by: String,
    sender: String,
    message_id: String,
}

/// Where the watching has got to.
struct Progress {
    token: Option<ResumeToken>,
    /// The position of the newest change.
    at: Position,
    /// What the database's log has up to here was there before the watching began: it is read for those
    /// alone who come back.
    floor: Position,
    /// When the watching began.
    began: clock::Timestamp,
    /// The time of the newest message, or when the watching began.
    newest: clock::Timestamp,
    /// What was looked up after a gap and may be seen once more.
    looked_up: HashSet<Id<Message>>,
}

/// Watches the database and delivers, until the server stops. After a failure it goes on where it was; where the
/// database no longer knows that place, what was stored meanwhile is looked up.
pub(crate) async fn watch(app: Arc<App>, ready: CancellationToken) {
    let began = app.clock.now();
    let mut progress = Progress {
        token: None,
        at: Position::NONE,
        floor: Position::NONE,
        began,
        newest: began,
        looked_up: HashSet::new(),
    };
    let mut pause = Duration::from_millis(100);
    loop {
        let resumed = progress.token.is_some();
        match follow(&app, &mut progress, &ready).await {
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
        metrics::counter!("chat_watch_interruptions_total").increment(1);
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(5));
    }
}

/// Watches once, until something fails or the database is dropped.
async fn follow(app: &App, progress: &mut Progress, ready: &CancellationToken) -> Result<()> {
    let stream = match progress.token.clone() {
        Some(token) => watching(&app.db).resume_after(token).await?.with_type::<Change>(),
        None => begin(app, progress).await?,
    };
    app.watching.store(true, Ordering::Relaxed);
    ready.cancel();
    let mut changes = stream.ready_chunks(TOGETHER);
    while let Some(chunk) = changes.next().await {
        let mut batch = Vec::with_capacity(chunk.len());
        let mut failure = None;
        for change in chunk {
            match change {
                Ok(change) => batch.push(change),
                Err(cause) => failure = Some(cause),
            }
        }
        handle(app, progress, batch).await?;
        if let Some(cause) = failure {
            return Err(cause);
        }
    }
    Ok(())
}

/// Begins to watch: the first time some way back, to know what those have missed who come back from elsewhere; after a
/// gap from now on, with what was stored meanwhile looked up.
async fn begin(app: &App, progress: &mut Progress) -> Result<ChangeStream<Change>> {
    let answer = app.db.database().run_command(doc! { "ping": 1 }).await?;
    let now = answer.get_timestamp("operationTime").unwrap_or(Timestamp { time: 0, increment: 0 });
    if progress.floor == Position::NONE {
        progress.floor = Position::end_of(now);
        app.audience.begin(progress.floor);
        let window = u32::try_from(app.config.replay_window.as_secs()).unwrap_or(u32::MAX);
        let back = Timestamp { time: now.time.saturating_sub(window).max(1), increment: 0 };
        match watching(&app.db).start_at_operation_time(back).await {
            Ok(stream) => return Ok(stream.with_type::<Change>()),
            // The database's log does not reach so far back.
            Err(cause) if matches!(&*cause.kind, ErrorKind::Command(_)) => {
                tracing::info!(%cause, "what was said before the start cannot be repeated to those who come back");
            }
            Err(cause) => {
                // The first time is still to come.
                progress.floor = Position::NONE;
                return Err(cause);
            }
        }
        progress.at = progress.floor;
        return Ok(watching(&app.db).start_at_operation_time(now).await?.with_type::<Change>());
    }
    let stream = watching(&app.db).start_at_operation_time(now).await?.with_type::<Change>();
    // Nothing of the log may have come yet.
    progress.at = progress.at.max(progress.floor);
    catch_up(app, progress).await?;
    progress.at = progress.at.max(Position::end_of(now));
    // What comes once more from that very moment was looked up.
    app.audience.advance(progress.at);
    Ok(stream)
}

fn watching(db: &Db) -> mongodb::action::Watch<'_> {
    let seen = "updateDescription.updatedFields.lastSeen";
    let concern_us = doc! { "$match": { "$or": [
        {
            "operationType": "insert",
            "ns.coll": { "$in": [Message::COLLECTION, Conversation::COLLECTION] },
        },
        { "operationType": "update", "ns.coll": Conversation::COLLECTION, seen: { "$exists": true } },
    ] } };
    db.database().watch().pipeline([concern_us])
}

/// Handles changes that came together. Nothing has happened if it fails, so they may come again.
async fn handle(app: &App, progress: &mut Progress, changes: Vec<Change>) -> Result<()> {
    let messages: Vec<Option<Message>> = changes.iter().map(message).collect();
    let ids = messages.iter().flatten().map(|message| message.conversation_id).collect();
    let members = app.members.of_all(&app.db, ids).await?;

    let handed_out = app.audience.head();
    let mut said = Vec::new();
    for (change, message) in changes.into_iter().zip(messages) {
        progress.at = progress.at.then(change.cluster_time.unwrap_or(progress.at.time()));
        progress.token = Some(change.token);
        if progress.at <= handed_out {
            continue;
        }
        if let Some(message) = message {
            if progress.looked_up.remove(&message.id) {
                continue;
            }
            progress.newest = progress.newest.max(message.created_at.unwrap_or(progress.newest));
            if progress.at > progress.floor {
                note_delay(app, &message);
            }
            said.extend(said_to_each(app, progress.at, &message, members.get(&message.conversation_id)));
        } else if progress.at <= progress.floor {
            // Only messages are repeated.
        } else if let Some(seen) =
            change.update_description.and_then(|update| update.updated_fields.last_seen)
        {
            // What was said before comes before.
            app.audience.hear(std::mem::take(&mut said));
            let event = wire::MessageSeen {
                sender_id: seen.sender,
                receiver_id: seen.by,
                message_id: seen.message_id,
            };
            app.audience.tell(&event.sender_id, wire::MESSAGE_SENT, &event);
        } else if let Some(opened) = change.full_document
            && let Ok(conversation) = bson::deserialize_from_slice::<Conversation>(opened.as_bytes())
        {
            app.presence.acquainted(&app.members.note(&conversation));
        }
    }
    app.audience.hear(said);
    app.audience.advance(progress.at);
    Ok(())
}

/// The message that a change is about.
fn message(change: &Change) -> Option<Message> {
    let collection = change.ns.as_ref()?.coll.as_deref()?;
    if collection != Message::COLLECTION {
        return None;
    }
    bson::deserialize_from_slice(change.full_document.as_ref()?.as_bytes()).ok()
}

/// From the storing of a message to its delivery here.
fn note_delay(app: &App, message: &Message) {
    if let Some(stored) = message.created_at {
        let waited = app.clock.now().timestamp_millis().saturating_sub(stored.timestamp_millis()).max(0);
        metrics::histogram!("chat_delivery_seconds").record(Duration::from_millis(waited.unsigned_abs()));
    }
}

/// A message to each member of its conversation but its sender, whose page shows what it has sent by itself.
fn said_to_each(
    app: &App,
    position: Position,
    message: &Message,
    members: Option<&Arc<[String]>>,
) -> Vec<Said> {
    let members = members.map(|members| members.as_ref()).unwrap_or_default();
    if !members.contains(&message.sender) {
        // Nobody's word.
        return Vec::new();
    }
    let receivers = members.iter().filter(|member| **member != message.sender);
    let said = receivers.filter_map(|receiver| {
        let payload = serde_json::to_string(&wire::Delivered::to(receiver, message, &app.config)).ok()?;
        Some(Said {
            position,
            message: message.id,
            receiver: receiver.clone(),
            payload: RawValue::from_string(payload).ok()?,
            offset: position.to_string(),
        })
    });
    said.collect()
}

/// Delivers what was stored while nobody was watching. The new watching has begun already, so whatever is missed here
/// is seen there.
async fn catch_up(app: &App, progress: &mut Progress) -> Result<()> {
    let since = clock::plus(progress.newest, -OVERLAP);
    let mut missed = app
        .db
        .of::<Message>()
        .find(doc! { "createdAt": { "$gte": since } })
        .sort(doc! { "createdAt": 1, "_id": 1 })
        .await?;
    let heard = app.audience.heard();
    while let Some(message) = missed.try_next().await? {
        let is_older = message.created_at.is_some_and(|at| at < progress.began);
        if is_older || heard.contains(&message.id) || !progress.looked_up.insert(message.id) {
            continue;
        }
        let members = app.members.of(&app.db, message.conversation_id).await?;
        progress.at = progress.at.next();
        app.audience.hear(said_to_each(app, progress.at, &message, Some(&members)));
        progress.newest = progress.newest.max(message.created_at.unwrap_or(progress.newest));
    }
    Ok(())
}
