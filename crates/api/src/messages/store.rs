//! Queries on messages. They are written by [`shared::chat`], as the chat server writes them too.

use bson::doc;
use futures_util::TryStreamExt as _;
use mongodb::error::Result;
use shared::{
    db::Db,
    id::Id,
    model::{Conversation, Message},
};

/// Everything said in a conversation, oldest first.
pub(super) async fn of_conversation(db: &Db, id: Id<Conversation>) -> Result<Vec<Message>> {
    db.of::<Message>()
        .find(doc! { "conversationId": id.hex() })
        .sort(doc! { "createdAt": 1, "_id": 1 })
        .await?
        .try_collect()
        .await
}
