//! Events and their payloads, with the names that clients know.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use shared::{
    chat::MAX_TEXT,
    clock::iso,
    config::Config,
    id::Id,
    model::{Conversation, Message},
};

/// Client: announce me, and tell me who is online.
pub(crate) const ADD_USER: &str = "addUser";
/// Client: say something.
pub(crate) const SEND_MESSAGE: &str = "sendMessage";
/// Client: what was said last.
pub(crate) const UPDATE_LAST_MESSAGE: &str = "updateLastMessage";
/// Client: I have seen this message.
pub(crate) const MESSAGE_SEEN: &str = "messageSeen";
/// Server: who is online.
pub(crate) const GET_USERS: &str = "getUsers";
/// Server: somebody said something to you.
pub(crate) const GET_MESSAGE: &str = "getMessage";
/// Server: how far you have got, for clients that repeat it when they come back.
pub(crate) const OFFSET: &str = "offset";
/// Server: what was said last in a conversation of yours.
pub(crate) const GET_LAST_MESSAGE: &str = "getLastMessage";
/// Server: a message of yours was seen.
pub(crate) const MESSAGE_SENT: &str = "messageSent";

/// Somebody says something to somebody.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SendMessage {
    pub(crate) sender_id: String,
    pub(crate) receiver_id: String,
    pub(crate) text: String,
}

impl SendMessage {
    pub(crate) fn read(payload: Value) -> Result<Self, &'static str> {
        let said: Self = serde_json::from_value(payload)
            .or(Err("senderId, receiverId and text are needed, each of them a text"))?;
        if said.text.is_empty() {
            return Err("The text must not be empty");
        }
        if said.text.chars().count() > MAX_TEXT {
            return Err("The text is too long: at most 5000 characters are accepted");
        }
        Ok(said)
    }
}

/// What was said last, and who said it: no conversation, no receiver.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LastMessage {
    pub(crate) last_message: String,
    pub(crate) last_message_id: String,
}

/// A message was seen by its receiver.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MessageSeen {
    pub(crate) sender_id: String,
    pub(crate) receiver_id: String,
    pub(crate) message_id: String,
}

/// Reads a payload that is dropped when it does not fit.
pub(crate) fn read<T: serde::de::DeserializeOwned>(payload: Value) -> Option<T> {
    serde_json::from_value(payload).ok()
}

/// A hex id, or nothing: any text may come in the place of one.
pub(crate) fn id<T>(text: &str) -> Option<Id<T>> {
    text.parse().ok()
}

/// Somebody who is online.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Online {
    pub(crate) user_id: String,
    /// The real one is as good as a password to whoever polls, so this is the name of the person's
    /// room. Clients never read it.
    pub(crate) socket_id: String,
}

impl Online {
    pub(crate) fn of(person: &str) -> Self {
        Self { user_id: person.to_owned(), socket_id: person.to_owned() }
    }
}

/// A message, to its receiver.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Delivered {
    pub(crate) sender_id: String,
    pub(crate) receiver_id: String,
    pub(crate) text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) images: Option<Picture>,
    pub(crate) seen: bool,
    pub(crate) message_id: String,
    pub(crate) conversation_id: String,
    pub(crate) created_at: String,
}

/// A picture with an absolute address.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Picture {
    pub(crate) public_id: String,
    pub(crate) url: String,
}

impl Delivered {
    pub(crate) fn to(receiver: &str, message: &Message, config: &Config) -> Self {
        let picture = message.images.as_ref().filter(|picture| !picture.url.is_empty());
        Self {
            sender_id: message.sender.clone(),
            receiver_id: receiver.to_owned(),
            text: message.text.clone(),
            images: picture.map(|picture| Picture {
                public_id: picture.public_id.clone(),
                url: address(config, &picture.url),
            }),
            seen: false,
            message_id: message.id.hex(),
            conversation_id: message.conversation_id.hex(),
            created_at: iso(message.created_at.unwrap_or_else(|| message.id.made_at())),
        }
    }
}

/// The absolute address of a stored picture: those on our own disk are stored without the host.
fn address(config: &Config, url: &str) -> String {
    if url.starts_with('/') { format!("{}{url}", config.public_url) } else { url.to_owned() }
}

/// The answer to a `sendMessage` that asked for one.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Receipt {
    success: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    conversation_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_at: Option<String>,
}

impl Receipt {
    pub(crate) fn stored(message: &Message, conversation: Id<Conversation>) -> Self {
        Self {
            success: true,
            message: None,
            message_id: Some(message.id.hex()),
            conversation_id: Some(conversation.hex()),
            created_at: message.created_at.map(iso),
        }
    }

    pub(crate) fn refused(why: &str) -> Self {
        Self {
            success: false,
            message: Some(why.to_owned()),
            message_id: None,
            conversation_id: None,
            created_at: None,
        }
    }
}
