//! Storing what is said, the same way for both servers.
//!
//! The client announces one message twice: over the socket (`sendMessage`), then over REST
//! (`create-new-message`), with nothing in either to tell that they are the same. Whichever comes
//! first is stored; the other one claims it. Delivery follows from storing (the chat server watches
//! the collection), so what is stored is delivered, once.

use bson::{Bson, doc};
use mongodb::{ClientSession, error::Result, options::ReturnDocument};

use crate::{
    auth::digest,
    clock::{Timestamp, plus},
    db::Db,
    id::Id,
    model::{Conversation, Message, Picture},
};

/// The longest text of a message, in characters.
pub const MAX_TEXT: usize = 5_000;

/// What stands in a list of conversations for a message that is only a picture.
const PICTURE_ONLY: &str = "Picture";

/// How long the second announcement of a message may be behind the first, in milliseconds.
const PAIRING_WINDOW: i64 = 30_000;

/// How far a message's time may be ahead of the clock so that it comes after the message before.
const MAX_AHEAD: i64 = 60_000;

/// Which way a message was announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// The socket event `sendMessage`.
    Socket,
    /// `POST /api/messages/create-new-message`.
    Rest,
}

impl Via {
    const fn name(self) -> &'static str {
        match self {
            Self::Socket => "socket",
            Self::Rest => "rest",
        }
    }

    const fn other(self) -> Self {
        match self {
            Self::Socket => Self::Rest,
            Self::Rest => Self::Socket,
        }
    }
}

/// What somebody says in a conversation, not yet stored.
#[derive(Clone, Debug)]
pub struct Saying {
    /// Where.
    pub conversation: Id<Conversation>,
    /// Hex id of the member who says it.
    pub sender: String,
    /// Empty only when there is a picture.
    pub text: String,
    /// A picture, stored already.
    pub picture: Option<Picture>,
}

/// What became of a [`Saying`].
#[derive(Clone, Debug)]
pub struct Recorded {
    /// The stored message.
    pub message: Message,
    /// The other way had announced it already.
    pub paired: bool,
}

/// Stores what was said and makes it the conversation's last message; or finds that the other way
/// has stored it already. Nothing if the conversation is gone or the sender is no member.
pub async fn record(db: &Db, via: Via, saying: &Saying, now: Timestamp) -> Result<Option<Recorded>> {
    // In the usual case both announcements of a message arrive together.
    let _turn = db.turn(saying.conversation).await;
    db.transaction(|session| {
        let (db, saying) = (db.clone(), saying.clone());
        Box::pin(async move { record_in(&db, session, via, saying, now).await })
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
    saying: Saying,
    now: Timestamp,
) -> Result<Option<Recorded>> {
    let conversations = db.of::<Conversation>();
    let owned = doc! { "_id": saying.conversation, "members": &saying.sender };
    let Some(conversation) = conversations.find_one(owned.clone()).session(&mut *session).await? else {
        return Ok(None);
    };
    let key = Key::of(&conversation, &saying);
    if let Some(message) = claim(db, session, &key.unclaimed(via.other()), via, &saying, now).await? {
        return Ok(Some(Recorded { message, paired: true }));
    }

    let at = after(conversation.updated_at, now);
    let last = if saying.text.is_empty() { PICTURE_ONLY } else { &saying.text };
    let newest = doc! { "$set": { "lastMessage": last, "lastMessageId": &saying.sender, "updatedAt": at } };
    conversations.update_one(owned, newest).session(&mut *session).await?;
    let message = Message {
        id: Id::new(),
        conversation_id: saying.conversation,
        sender: saying.sender,
        text: saying.text,
        images: saying.picture,
        created_at: Some(at),
        updated_at: Some(at),
        pairing: Some(key.unclaimed(via)),
        version: 0,
    };
    db.of::<Message>().insert_one(&message).session(session).await?;
    Ok(Some(Recorded { message, paired: false }))
}

/// Takes the oldest message that the other way announced and that nobody has claimed.
async fn claim(
    db: &Db,
    session: &mut ClientSession,
    unclaimed: &str,
    via: Via,
    saying: &Saying,
    now: Timestamp,
) -> Result<Option<Message>> {
    let waiting = doc! { "pairing": unclaimed, "createdAt": { "$gte": plus(now, -PAIRING_WINDOW) } };
    let mut claimed = doc! { "$unset": { "pairing": "" } };
    if via == Via::Rest {
        // REST knows more: which of several conversations of the same two (old databases have
        // such), and the picture.
        let mut known = doc! { "conversationId": saying.conversation.hex() };
        if let Some(picture) = &saying.picture {
            known.insert("images", bson::serialize_to_bson(picture).unwrap_or(Bson::Null));
        }
        claimed.insert("$set", known);
    }
    db.of::<Message>()
        .find_one_and_update(waiting, claimed)
        .sort(doc! { "createdAt": 1, "_id": 1 })
        .return_document(ReturnDocument::After)
        .session(session)
        .await
}

/// The conversation of two people, the liveliest where an old database has several.
pub async fn between(db: &Db, one: &str, other: &str) -> Result<Option<Conversation>> {
    if one == other {
        // Would be found in each of their conversations.
        return Ok(None);
    }
    db.of::<Conversation>()
        .find_one(doc! { "members": { "$all": [one, other], "$size": 2 } })
        .sort(doc! { "updatedAt": -1, "_id": 1 })
        .await
}

/// What two announcements of the same message have in common.
struct Key(String);

impl Key {
    fn of(conversation: &Conversation, saying: &Saying) -> Self {
        let mut members = conversation.members.clone();
        members.sort();
        Self(digest(&format!("{}\n{}\n{}", members.join("+"), saying.sender, saying.text)))
    }

    /// The mark of a message that was announced this way and may be claimed by the other.
    fn unclaimed(&self, via: Via) -> String {
        format!("{}:{}", via.name(), self.0)
    }
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

    #[test]
    fn the_two_ways_have_one_key_whatever_the_order_of_members() {
        let (a, b) = (Id::<()>::new().hex(), Id::<()>::new().hex());
        let one = Conversation { members: vec![a.clone(), b.clone()], ..Conversation::default() };
        let two = Conversation { members: vec![b, a.clone()], ..Conversation::default() };
        let saying = Saying { conversation: Id::new(), sender: a, text: "ok".into(), picture: None };
        assert_eq!(Key::of(&one, &saying).0, Key::of(&two, &saying).0);
        let louder = Saying { text: "OK".into(), ..saying.clone() };
        assert_ne!(Key::of(&one, &saying).0, Key::of(&one, &louder).0);
    }
}
