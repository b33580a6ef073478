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
    /// Mongoose's version counter.
    #[serde(rename = "__v", deserialize_with = "lenient::int")]
    pub version: i64,
}

impl Stored for Conversation {
    const COLLECTION: &'static str = "conversations";
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

impl Stored for Message {
    const COLLECTION: &'static str = "messages";
}
