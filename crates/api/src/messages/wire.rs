use actix_web::HttpResponse;
use serde::{Deserialize, Serialize};
use shared::{
    chat::MAX_TEXT,
    clock::iso,
    config::Config,
    id::Id,
    model::{Conversation, Message},
};

use crate::{
    error::{Error, Refusal, Result},
    idempotency::Answer,
    media::wire::PictureReply,
    paging::{Listed, Place},
};

pub(super) const NO_CONVERSATION: Refusal =
    Refusal::not_found("conversation_not_found", "There is no such conversation");
pub(super) const NOT_A_MEMBER: Refusal =
    Refusal::forbidden("not_a_member", "Only the two members of a conversation may do this");
pub(super) const NO_MESSAGE: Refusal =
    Refusal::not_found("message_not_found", "There is no such message in this conversation");

/// What somebody says, and where.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NewMessage {
    pub(super) conversation_id: Option<String>,
    pub(super) sender: Option<String>,
    pub(super) text: Option<String>,
}

impl NewMessage {
    pub(super) fn sender(&self) -> Result<String> {
        id::<()>("sender", self.sender.as_deref()).map(Id::hex)
    }

    pub(super) fn conversation(&self) -> Result<Id<Conversation>> {
        id("conversationId", self.conversation_id.as_deref())
    }

    /// As it was typed: blanks are a message too. Only with a picture there may be none.
    pub(super) fn text(self, has_picture: bool) -> Result<String> {
        let text = self.text.unwrap_or_default();
        if text.is_empty() && !has_picture {
            return Err(Error::field("text", "must not be empty unless there is a picture"));
        }
        if text.chars().count() > MAX_TEXT {
            return Err(Error::field("text", format!("must have at most {MAX_TEXT} characters")));
        }
        Ok(text)
    }
}

/// Who has read, and the last message they have read: none is the newest.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Seen {
    reader: Option<String>,
    message_id: Option<String>,
}

impl Seen {
    /// Reader and message.
    pub(super) fn checked(self) -> Result<(String, Option<Id<Message>>)> {
        let reader = id::<()>("reader", self.reader.as_deref())?.hex();
        let message = self.message_id.as_deref().map(|text| id("messageId", Some(text))).transpose()?;
        Ok((reader, message))
    }
}

fn id<T>(field: &str, text: Option<&str>) -> Result<Id<T>> {
    text.and_then(|text| text.parse().ok())
        .ok_or_else(|| Error::field(field, "must be an id of 24 hexadecimal digits"))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MessageReply<'a> {
    #[serde(rename = "_id")]
    id: String,
    conversation_id: String,
    sender: &'a str,
    text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    images: Option<PictureReply>,
    created_at: String,
    updated_at: String,
    #[serde(rename = "__v")]
    version: i64,
    /// The other member has read it. In lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    seen: Option<bool>,
}

impl<'a> MessageReply<'a> {
    fn of(config: &Config, message: &'a Message) -> Self {
        let made = message.created_at.unwrap_or_else(|| message.id.made_at());
        let picture = message.images.as_ref().filter(|picture| !picture.url.is_empty());
        Self {
            id: message.id.hex(),
            conversation_id: message.conversation_id.hex(),
            sender: &message.sender,
            text: &message.text,
            images: picture.map(|picture| PictureReply::of(config, Some(picture))),
            created_at: iso(made),
            updated_at: iso(message.updated_at.unwrap_or(made)),
            version: message.version,
            seen: None,
        }
    }
}

/// Here `message` is the stored message, not a sentence: the client appends it to the list.
#[derive(Serialize)]
struct Sent<'a> {
    success: bool,
    message: MessageReply<'a>,
}

#[derive(Serialize)]
struct Many<'a> {
    success: bool,
    messages: Vec<MessageReply<'a>>,
    #[serde(flatten)]
    place: Option<Place>,
}

pub(super) fn sent(config: &Config, message: &Message) -> Result<Answer> {
    Answer::created(&Sent { success: true, message: MessageReply::of(config, message) })
}

/// 201, as it always was, although nothing is created.
pub(super) fn list(config: &Config, conversation: &Conversation, listed: Listed<Message>) -> HttpResponse {
    let Listed { items, place } = listed;
    let reply = |message| MessageReply {
        seen: Some(conversation.has_been_seen(message)),
        ..MessageReply::of(config, message)
    };
    let messages = items.iter().map(reply).collect();
    HttpResponse::Created().json(Many { success: true, messages, place })
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SeenReply {
    success: bool,
    conversation_id: String,
    unread_count: i64,
}

/// How much is left for the reader.
pub(super) fn seen(conversation: &Conversation, reader: &str) -> HttpResponse {
    HttpResponse::Ok().json(SeenReply {
        success: true,
        conversation_id: conversation.id.hex(),
        unread_count: conversation.unread_of(reader),
    })
}
