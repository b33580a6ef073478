use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Picture, Stored};
use crate::{clock::Timestamp, id::Id, lenient};

/// A chat between one user and one shop (`conversations`).
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Conversation {
    /// The conversation's id.
    #[serde(rename = "_id")]
    pub id: Id<Conversation>,
    /// Shop id followed by user id: derived by us, unique, never believed from a client.
    #[serde(rename = "groupTitle", deserialize_with = "lenient::text")]
    pub title: String,
    /// Hex ids: the user, then the shop.
    #[serde(deserialize_with = "lenient::list")]
    pub members: Vec<String>,
    /// Text of the newest message.
    #[serde(
        rename = "lastMessage",
        deserialize_with = "lenient::opt_text",
        skip_serializing_if = "Option::is_none"
    )]
    pub last_message: Option<String>,
    /// Hex id of the **sender** of the newest message (the name is the old server's).
    #[serde(
        rename = "lastMessageId",
        deserialize_with = "lenient::opt_text",
        skip_serializing_if = "Option::is_none"
    )]
    pub last_sender: Option<String>,
    /// When it began.
    #[serde(
        rename = "createdAt",
        deserialize_with = "lenient::opt_date",
        skip_serializing_if = "Option::is_none"
    )]
    pub created_at: Option<Timestamp>,
    /// When its newest message was stored.
    #[serde(
        rename = "updatedAt",
        deserialize_with = "lenient::opt_date",
        skip_serializing_if = "Option::is_none"
    )]
    pub updated_at: Option<Timestamp>,
    /// How many messages of others each member has not read, by hex id.
    #[serde(deserialize_with = "lenient::counts", skip_serializing_if = "BTreeMap::is_empty")]
    pub unread: BTreeMap<String, i64>,
    /// The time of the newest message of others that each member has read.
    #[serde(deserialize_with = "lenient::dates", skip_serializing_if = "BTreeMap::is_empty")]
    pub reads: BTreeMap<String, Timestamp>,
    /// What was read last, by whomever: its writing is what the chat server tells.
    #[serde(
        rename = "lastSeen",
        deserialize_with = "lenient::opt_document",
        skip_serializing_if = "Option::is_none"
    )]
    pub last_seen: Option<LastSeen>,
    /// Mongoose's version counter.
    #[serde(rename = "__v", deserialize_with = "lenient::int")]
    pub version: i64,
}

impl Conversation {
    /// How many messages of others a member has not read.
    pub fn unread_of(&self, member: &str) -> i64 {
        self.unread.get(member).copied().unwrap_or_default()
    }

    /// Somebody has said something that the others have not read yet.
    pub fn count_unread(&mut self, sender: &str) {
        // Whatever else an old database has among the members cannot log in and read.
        let others =
            self.members.iter().filter(|member| *member != sender && member.parse::<Id<()>>().is_ok());
        for member in others {
            let unread = self.unread.entry(member.clone()).or_default();
            *unread = unread.saturating_add(1);
        }
    }

    /// Whether everybody whom a message was for has read it.
    pub fn has_been_seen(&self, message: &Message) -> bool {
        let mut readers = self.members.iter().filter(|member| **member != message.sender).peekable();
        readers.peek().is_some()
            && readers.all(|reader| self.reads.get(reader).is_some_and(|mark| *mark >= message.made_at()))
    }
}

impl Stored for Conversation {
    const COLLECTION: &'static str = "conversations";
}

/// A message that was read, and with it all before it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct LastSeen {
    /// Hex id of the member who has read it.
    #[serde(deserialize_with = "lenient::text")]
    pub by: String,
    /// Hex id of the member who wrote it.
    #[serde(deserialize_with = "lenient::text")]
    pub sender: String,
    /// Hex id of the message.
    #[serde(deserialize_with = "lenient::text")]
    pub message_id: String,
    /// When it was read.
    #[serde(deserialize_with = "lenient::opt_date", skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
}

/// One chat message (`messages`).
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Message {
    /// The message's id.
    #[serde(rename = "_id")]
    pub id: Id<Message>,
    /// Hex id of its conversation.
    #[serde(rename = "conversationId", with = "crate::id::text")]
    pub conversation_id: Id<Conversation>,
    /// Hex id of the member who wrote it.
    #[serde(deserialize_with = "lenient::id_text")]
    pub sender: String,
    /// Plain text; empty when there is only a picture.
    #[serde(deserialize_with = "lenient::text")]
    pub text: String,
    /// A picture that was sent along.
    #[serde(deserialize_with = "lenient::opt_document", skip_serializing_if = "Option::is_none")]
    pub images: Option<Picture>,
    /// When it was stored.
    #[serde(
        rename = "createdAt",
        deserialize_with = "lenient::opt_date",
        skip_serializing_if = "Option::is_none"
    )]
    pub created_at: Option<Timestamp>,
    /// When it was last changed.
    #[serde(
        rename = "updatedAt",
        deserialize_with = "lenient::opt_date",
        skip_serializing_if = "Option::is_none"
    )]
    pub updated_at: Option<Timestamp>,
    /// Set while the other of the two ways (socket, REST) may still announce the same message.
    #[serde(deserialize_with = "lenient::opt_text", skip_serializing_if = "Option::is_none")]
    pub pairing: Option<String>,
    /// Mongoose's version counter.
    #[serde(rename = "__v", deserialize_with = "lenient::int")]
    pub version: i64,
}

impl Message {
    /// When it was stored.
    pub fn made_at(&self) -> Timestamp {
        self.created_at.unwrap_or_else(|| self.id.made_at())
    }
}

impl Stored for Message {
    const COLLECTION: &'static str = "messages";
}
