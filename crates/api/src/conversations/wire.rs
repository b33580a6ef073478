use actix_web::HttpResponse;
use serde::{Deserialize, Serialize};
use shared::{
    chat::MAX_TEXT,
    clock::{Timestamp, iso},
    id::Id,
    model::{Conversation, Shop, User},
};

use crate::{
    error::{Error, Refusal, Result},
    idempotency::Answer,
    paging::{Listed, Place},
};

pub(super) const NOT_YOURS: Refusal =
    Refusal::forbidden("not_yours", "These conversations belong to somebody else");
pub(super) const NOT_A_MEMBER: Refusal =
    Refusal::forbidden("not_a_member", "Only the two members of a conversation may do this");
pub(super) const NOT_FOUND: Refusal =
    Refusal::not_found("conversation_not_found", "There is no such conversation");
pub(super) const NO_SUCH_USER: Refusal =
    Refusal::not_found("user_not_found", "There is no user with this userId");
pub(super) const NO_SUCH_SHOP: Refusal =
    Refusal::not_found("shop_not_found", "There is no shop with this sellerId");

/// Who wants to talk to whom. A `groupTitle` may come along; it is not looked at.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NewConversation {
    user_id: Option<String>,
    seller_id: Option<String>,
}

impl NewConversation {
    pub(super) fn members(&self) -> Result<(Id<User>, Id<Shop>)> {
        Ok((id("userId", self.user_id.as_deref())?, id("sellerId", self.seller_id.as_deref())?))
    }
}

/// What was said last; `lastMessageId` is the id of who said it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LastMessage {
    last_message: Option<String>,
    last_message_id: Option<String>,
}

impl LastMessage {
    /// Text and sender.
    pub(super) fn checked(self) -> Result<(String, String)> {
        let sender = id::<()>("lastMessageId", self.last_message_id.as_deref())?.hex();
        let text = self.last_message.ok_or_else(|| Error::field("lastMessage", "must be given"))?;
        if text.chars().count() > MAX_TEXT {
            return Err(Error::field("lastMessage", format!("must have at most {MAX_TEXT} characters")));
        }
        Ok((text, sender))
    }
}

fn id<T>(field: &str, text: Option<&str>) -> Result<Id<T>> {
    text.and_then(|text| text.parse().ok())
        .ok_or_else(|| Error::field(field, "must be an id of 24 hexadecimal digits"))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ConversationReply<'a> {
    #[serde(rename = "_id")]
    id: String,
    group_title: &'a str,
    members: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    last_message: Option<&'a str>,
    /// Null, and not absent, before the first message: the client would show `undefined`.
    last_message_id: Option<&'a str>,
    created_at: String,
    updated_at: String,
    #[serde(rename = "__v")]
    version: i64,
    /// For whoever asks, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    unread_count: Option<i64>,
}

impl<'a> ConversationReply<'a> {
    /// As one of the members sees it.
    fn to(conversation: &'a Conversation, member: &str) -> Self {
        Self { unread_count: Some(conversation.unread_of(member)), ..Self::of(conversation) }
    }

    fn of(conversation: &'a Conversation) -> Self {
        let made: Timestamp = conversation.created_at.unwrap_or_else(|| conversation.id.made_at());
        Self {
            id: conversation.id.hex(),
            group_title: &conversation.title,
            members: &conversation.members,
            last_message: conversation.last_message.as_deref(),
            last_message_id: conversation.last_sender.as_deref(),
            created_at: iso(made),
            updated_at: iso(conversation.updated_at.unwrap_or(made)),
            version: conversation.version,
            unread_count: None,
        }
    }
}

#[derive(Serialize)]
struct One<'a> {
    success: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'static str>,
    conversation: ConversationReply<'a>,
}

#[derive(Serialize)]
struct Many<'a> {
    success: bool,
    conversations: Vec<ConversationReply<'a>>,
    #[serde(flatten)]
    place: Option<Place>,
}

/// 201 for a new one, 200 for one that was there.
pub(super) fn opened(conversation: &Conversation, new: bool) -> Result<Answer> {
    let conversation = ConversationReply::of(conversation);
    if new {
        Answer::created(&One { success: true, message: None, conversation })
    } else {
        Answer::ok(&One { success: true, message: Some("Chat"), conversation })
    }
}

/// 201, as it always was, although nothing is created.
pub(super) fn changed(conversation: &Conversation) -> HttpResponse {
    let conversation = ConversationReply::of(conversation);
    HttpResponse::Created().json(One { success: true, message: None, conversation })
}

/// 201, likewise.
pub(super) fn list(listed: Listed<Conversation>, member: &str) -> HttpResponse {
    let Listed { items, place } = listed;
    let conversations = items.iter().map(|one| ConversationReply::to(one, member)).collect();
    HttpResponse::Created().json(Many { success: true, conversations, place })
}
