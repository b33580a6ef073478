//! The transaction that stores what was said.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use bson::{Bson, Document, doc};
use futures_util::TryStreamExt as _;
use mongodb::{ClientSession, error::Result};

use super::{
    Recorded, Saying, Via,
    pairing::{Key, Unclaimed},
};
use crate::{
    clock::{Timestamp, plus},
    db::{self, Db},
    id::Id,
    model::{Conversation, Message, Stored as _},
};

/// What stands in a list of conversations for a message that is only a picture.
const PICTURE_ONLY: &str = "Picture";

/// How far a message's time may be ahead of the clock so that it comes after the message before.
const MAX_AHEAD: i64 = 60_000;

/// Stores what was said and makes it the conversations' last messages; or finds that the other way has
/// stored it already. One outcome for each, in the same order: none if the conversation is gone or
/// the sender is no member.
pub async fn record(db: &Db, via: Via, sayings: Arc<[Saying]>) -> Result<Vec<Option<Recorded>>> {
    record_within(db, via, sayings, db::PATIENCE).await
}

/// The same, and how long it is tried while others come in between.
pub(super) async fn record_within(
    db: &Db,
    via: Via,
    sayings: Arc<[Saying]>,
    patience: Duration,
) -> Result<Vec<Option<Recorded>>> {
    // In the usual case both announcements of a message arrive together.
    let _turns = db.turns(sayings.iter().map(|saying| saying.conversation)).await;
    db.transaction_within(patience, |session| {
        let (db, sayings) = (db.clone(), Arc::clone(&sayings));
        Box::pin(async move { record_in(&db, session, via, &sayings).await })
    })
    .await
}

/// The same as part of a transaction. Every insert also writes the conversation, so of two transactions
/// that both found nothing to claim only one commits; the other one is run again and finds it. That
/// is why there are never unclaimed messages of both ways with the same text.
pub async fn record_in(
    db: &Db,
    session: &mut ClientSession,
    via: Via,
    sayings: &[Saying],
) -> Result<Vec<Option<Recorded>>> {
    let mut conversations = conversations(db, session, sayings).await?;
    let keys: Vec<Option<Key>> = sayings
        .iter()
        .map(|saying| {
            let conversation = conversations.get(&saying.conversation)?;
            conversation.members.contains(&saying.sender).then(|| Key::of(conversation, saying))
        })
        .collect();
    let mut unclaimed = match sayings.iter().map(|saying| saying.at).min() {
        Some(first) => {
            let marks = keys.iter().flatten().map(|key| key.unclaimed(via.other())).collect();
            Unclaimed::find(db, session, marks, first).await?
        }
        None => Unclaimed::default(),
    };

    let (mut claims, mut changed, mut messages) = (Vec::new(), BTreeSet::new(), Vec::new());
    let mut outcomes = Vec::with_capacity(sayings.len());
    for (saying, key) in sayings.iter().zip(keys) {
        outcomes.push(key.and_then(|key| {
            if let Some(message) = unclaimed.take(&key.unclaimed(via.other()), saying.at) {
                let message = claim(message, via, saying, &mut claims);
                return Some(Recorded { message, paired: true });
            }
            let conversation = conversations.get_mut(&saying.conversation)?;
            let message = append(conversation, saying, key.unclaimed(via));
            changed.insert(conversation.id);
            messages.push(message.clone());
            Some(Recorded { message, paired: false })
        }));
    }

    if !claims.is_empty() {
        db.update_all(session, Message::COLLECTION, claims).await?;
    }
    if !messages.is_empty() {
        let newest =
            changed.iter().filter_map(|id| conversations.get(id)).map(newest).collect::<Result<_>>()?;
        db.update_all(session, Conversation::COLLECTION, newest).await?;
        db.of::<Message>().insert_many(&messages).session(session).await?;
    }
    Ok(outcomes)
}

/// Those that something was said in.
async fn conversations(
    db: &Db,
    session: &mut ClientSession,
    sayings: &[Saying],
) -> Result<HashMap<Id<Conversation>, Conversation>> {
    let ids: BTreeSet<_> = sayings.iter().map(|saying| saying.conversation).collect();
    let ids: Vec<_> = ids.into_iter().collect();
    let collection = db.of::<Conversation>();
    let mut found = collection.find(doc! { "_id": { "$in": ids } }).session(&mut *session).await?;
    found.stream(session).map_ok(|conversation| (conversation.id, conversation)).try_collect().await
}

/// A message that the other way has stored, as it is from now on.
fn claim(mut message: Message, via: Via, saying: &Saying, claims: &mut Vec<Document>) -> Message {
    let mut change = doc! { "$unset": { "pairing": "" } };
    message.pairing = None;
    if via == Via::Rest {
        // REST knows more: which of several conversations of the same two (old databases have
        // such), and the picture.
        message.conversation_id = saying.conversation;
        let mut known = doc! { "conversationId": saying.conversation.hex() };
        if let Some(picture) = &saying.picture {
            message.images = Some(picture.clone());
            known.insert("images", bson::serialize_to_bson(picture).unwrap_or(Bson::Null));
        }
        change.insert("$set", known);
    }
    claims.push(doc! { "q": { "_id": message.id }, "u": change });
    message
}

/// A new message, and the conversation as it is with it.
fn append(conversation: &mut Conversation, saying: &Saying, unclaimed: String) -> Message {
    let at = after(conversation.updated_at, saying.at);
    let last = if saying.text.is_empty() { PICTURE_ONLY } else { &saying.text };
    conversation.last_message = Some(last.to_owned());
    conversation.last_sender = Some(saying.sender.clone());
    conversation.updated_at = Some(at);
    conversation.count_unread(&saying.sender);
    Message {
        id: Id::new(),
        conversation_id: saying.conversation,
        sender: saying.sender.clone(),
        text: saying.text.clone(),
        images: saying.picture.clone(),
        created_at: Some(at),
        updated_at: Some(at),
        pairing: Some(unclaimed),
        version: 0,
    }
}

/// The update that writes what new messages have changed of their conversation.
fn newest(conversation: &Conversation) -> Result<Document> {
    let newest = doc! {
        "lastMessage": &conversation.last_message,
        "lastMessageId": &conversation.last_sender,
        "updatedAt": conversation.updated_at,
        "unread": bson::serialize_to_bson(&conversation.unread)?,
    };
    Ok(doc! { "q": { "_id": conversation.id }, "u": { "$set": newest } })
}

/// The time of a message that follows one stored at `last`: later than it, so that sorting by time
/// keeps the order in which messages were stored, unless that time is far off.
fn after(last: Option<Timestamp>, now: Timestamp) -> Timestamp {
    match last {
        Some(last) if last >= now && last < plus(now, MAX_AHEAD) => plus(last, 1),
        _ => now,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_comes_after_the_one_before_it() {
        let at = Timestamp::from_millis;
        assert_eq!(after(None, at(1_000)), at(1_000));
        assert_eq!(after(Some(at(400)), at(1_000)), at(1_000));
        assert_eq!(after(Some(at(1_000)), at(1_000)), at(1_001));
        assert_eq!(after(Some(at(1_700)), at(1_000)), at(1_701));
        assert_eq!(after(Some(at(99_000_000)), at(1_000)), at(1_000), "a wrong clock is not followed");
    }
}
