//! What somebody has read of a conversation: a mark, which only moves on, and how much is left.

use bson::{Document, doc};
use futures_util::TryStreamExt as _;
use mongodb::{ClientSession, error::Result};

use crate::{
    clock::Timestamp,
    db::Db,
    id::Id,
    model::{Conversation, LastSeen, Message},
};

/// Marks what others have said as read by a member, up to a message or, without one, all of it; and
/// counts what is left. Gives the conversation as it is then; none if the message is not in it, or the
/// reader is no member.
///
/// When the mark has moved, the conversation says so in `lastSeen`, by which the chat server tells
/// whoever said what was read.
pub async fn mark_seen(
    db: &Db,
    conversation: Id<Conversation>,
    reader: &str,
    message: Option<Id<Message>>,
    now: Timestamp,
) -> Result<Option<Conversation>> {
    let _turn = db.turn(conversation).await;
    db.transaction(|session| {
        let (db, reader) = (db.clone(), reader.to_owned());
        Box::pin(async move { mark_seen_in(&db, session, conversation, &reader, message, now).await })
    })
    .await
}

async fn mark_seen_in(
    db: &Db,
    session: &mut ClientSession,
    id: Id<Conversation>,
    reader: &str,
    message: Option<Id<Message>>,
    now: Timestamp,
) -> Result<Option<Conversation>> {
    let conversations = db.of::<Conversation>();
    let owned = doc! { "_id": id, "members": reader };
    let Some(mut conversation) = conversations.find_one(owned.clone()).session(&mut *session).await? else {
        return Ok(None);
    };
    let mut others = doc! { "conversationId": id.hex(), "sender": { "$ne": reader } };
    if let Some(message) = message {
        let named = doc! { "_id": message, "conversationId": id.hex() };
        let Some(message) = db.of::<Message>().find_one(named).session(&mut *session).await? else {
            return Ok(None);
        };
        others.insert("createdAt", doc! { "$lte": message.made_at() });
    }
    let newest = newest(db, session, others).await?;

    let (before, unread_before) = (conversation.reads.get(reader).copied(), conversation.unread_of(reader));
    let moved = newest.filter(|message| before.is_none_or(|before| message.made_at() > before));
    let mark = moved.as_ref().map(Message::made_at).or(before);
    let mut left = doc! { "conversationId": id.hex(), "sender": { "$ne": reader } };
    if let Some(mark) = mark {
        left.insert("createdAt", doc! { "$gt": mark });
    }
    let left = db.of::<Message>().count_documents(left).session(&mut *session).await?;
    let left = i64::try_from(left).unwrap_or(i64::MAX);
    if moved.is_none() && left == unread_before {
        return Ok(Some(conversation));
    }

    conversation.unread.insert(reader.to_owned(), left);
    let mut change = doc! { "unread": bson::serialize_to_bson(&conversation.unread)? };
    if let Some(message) = moved {
        conversation.reads.insert(reader.to_owned(), message.made_at());
        let seen = LastSeen {
            by: reader.to_owned(),
            sender: message.sender,
            message_id: message.id.hex(),
            at: Some(now),
        };
        change.insert("reads", bson::serialize_to_bson(&conversation.reads)?);
        change.insert("lastSeen", bson::serialize_to_bson(&seen)?);
        conversation.last_seen = Some(seen);
    }
    conversations.update_one(owned, doc! { "$set": change }).session(session).await?;
    Ok(Some(conversation))
}

/// The newest of these messages.
async fn newest(db: &Db, session: &mut ClientSession, which: Document) -> Result<Option<Message>> {
    let messages = db.of::<Message>();
    let last_first = doc! { "createdAt": -1, "_id": -1 };
    let mut found = messages.find(which).sort(last_first).limit(1).session(&mut *session).await?;
    found.stream(session).try_next().await
}
