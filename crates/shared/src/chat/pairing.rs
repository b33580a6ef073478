//! How the two announcements of one message find each other.

use std::collections::{BTreeSet, HashMap};

use bson::{Document, doc};
use futures_util::TryStreamExt as _;
use mongodb::{ClientSession, error::Result};

use super::{Saying, Via};
use crate::{
    auth::digest,
    clock::{Timestamp, plus},
    db::Db,
    model::{Conversation, Message},
};

/// How long the second announcement of a message may be behind the first, in milliseconds.
const PAIRING_WINDOW: i64 = 30_000;

impl Via {
    const fn name(self) -> &'static str {
        match self {
            Self::Socket => "socket",
            Self::Rest => "rest",
        }
    }

    pub(super) const fn other(self) -> Self {
        match self {
            Self::Socket => Self::Rest,
            Self::Rest => Self::Socket,
        }
    }
}

/// What two announcements of the same message have in common.
pub(super) struct Key(String);

impl Key {
    pub(super) fn of(conversation: &Conversation, saying: &Saying) -> Self {
        let mut members = conversation.members.clone();
        members.sort();
        Self(digest(&format!("{}\n{}\n{}", members.join("+"), saying.sender, saying.text)))
    }

    /// The mark of a message that was announced this way and may be claimed by the other.
    pub(super) fn unclaimed(&self, via: Via) -> String {
        format!("{}:{}", via.name(), self.0)
    }
}

/// The index holds messages with a mark only, and the server uses it only where the query says so too.
fn waiting(marks: Vec<String>, at: Timestamp) -> Document {
    doc! {
        "pairing": { "$type": "string", "$in": marks },
        "createdAt": { "$gte": plus(at, -PAIRING_WINDOW) },
    }
}

/// Messages that were announced one way and that nobody has claimed, by their marks, oldest first.
#[derive(Default)]
pub(super) struct Unclaimed(HashMap<String, Vec<Message>>);

impl Unclaimed {
    /// Those with one of these marks that are not older than what is said at `at` may claim.
    pub(super) async fn find(
        db: &Db,
        session: &mut ClientSession,
        marks: BTreeSet<String>,
        at: Timestamp,
    ) -> Result<Self> {
        if marks.is_empty() {
            return Ok(Self::default());
        }
        let waiting = waiting(marks.into_iter().collect(), at);
        let messages = db.of::<Message>();
        let oldest_first = doc! { "createdAt": 1, "_id": 1 };
        let mut found = messages.find(waiting).sort(oldest_first).session(&mut *session).await?;
        let mut unclaimed: HashMap<String, Vec<Message>> = HashMap::new();
        let mut found = found.stream(session);
        while let Some(message) = found.try_next().await? {
            unclaimed.entry(message.pairing.clone().unwrap_or_default()).or_default().push(message);
        }
        Ok(Self(unclaimed))
    }

    /// Takes the oldest one with this mark that something said at `at` may claim.
    pub(super) fn take(&mut self, mark: &str, at: Timestamp) -> Option<Message> {
        let waiting = self.0.get_mut(mark)?;
        let oldest = plus(at, -PAIRING_WINDOW);
        let first = waiting.iter().position(|message| message.created_at.is_some_and(|at| at >= oldest))?;
        Some(waiting.remove(first))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Id;

    fn saying(sender: &str, text: &str) -> Saying {
        let at = Timestamp::from_millis(0);
        Saying {
            conversation: Id::new(),
            sender: sender.to_owned(),
            text: text.to_owned(),
            picture: None,
            at,
        }
    }

    #[test]
    fn the_two_ways_have_one_key_whatever_the_order_of_members() {
        let (a, b) = (Id::<()>::new().hex(), Id::<()>::new().hex());
        let one = Conversation { members: vec![a.clone(), b.clone()], ..Conversation::default() };
        let two = Conversation { members: vec![b, a.clone()], ..Conversation::default() };
        let quiet = saying(&a, "ok");
        assert_eq!(Key::of(&one, &quiet).0, Key::of(&two, &quiet).0);
        assert_ne!(Key::of(&one, &quiet).0, Key::of(&one, &saying(&a, "OK")).0);
    }

    #[test]
    fn each_message_is_claimed_once_the_oldest_first_and_none_that_is_too_old() {
        let at = |millis| Timestamp::from_millis(millis);
        let message = |millis| Message { created_at: Some(at(millis)), ..Message::default() };
        let waiting = [0, 40_000, 40_001].map(message).to_vec();
        let mut unclaimed = Unclaimed(HashMap::from([("m".to_owned(), waiting)]));
        let mut take = |mark, millis| unclaimed.take(mark, at(millis)).and_then(|message| message.created_at);
        assert_eq!(take("other", 41_000), None);
        assert_eq!(take("m", 41_000), Some(at(40_000)));
        assert_eq!(take("m", 41_000), Some(at(40_001)));
        assert_eq!(take("m", 41_000), None);
        assert_eq!(take("m", 30_000), Some(at(0)));
    }
}
