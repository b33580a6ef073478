//! Queries on messages. They are written by [`shared::chat`], as the chat server writes them too.

use bson::doc;
use mongodb::error::Result;
use shared::{
    db::Db,
    id::Id,
    model::{Conversation, Message},
};

use crate::paging::{self, Listed, Page};

/// Everything said in a conversation, oldest first; the pages of it, the latest first.
pub(super) async fn of_conversation(
    db: &Db,
    id: Id<Conversation>,
    page: Option<&Page>,
) -> Result<Listed<Message>> {
    let fitting = doc! { "conversationId": id.hex() };
    let mut listed: Listed<Message> = paging::latest_first(db, fitting, "createdAt", page).await?;
    listed.items.reverse();
    Ok(listed)
}
