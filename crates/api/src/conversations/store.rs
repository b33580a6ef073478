//! Queries on conversations.

use bson::{Document, doc, oid::ObjectId};
use mongodb::{error::Result, options::ReturnDocument};
use shared::{
    chat,
    clock::Timestamp,
    db::Db,
    id::Id,
    model::{Conversation, Message, Shop, Stored, User},
};

use crate::{
    error,
    idempotency::{self, Answer, Given, Memory},
    paging::{self, Listed, Page},
};

/// The unique index on a conversation's title.
const TITLE_INDEX: &str = "conversations_title";

/// How many titles of one pair may be taken by other people's conversations before we give up: the
/// old server let anybody choose title and members.
const SQUATTED: usize = 5;

/// Whether an account is there.
pub(super) async fn exists<T: Stored>(db: &Db, id: ObjectId) -> Result<bool> {
    let accounts = db.raw::<Document>(T::COLLECTION);
    Ok(accounts.find_one(doc! { "_id": id }).projection(doc! { "_id": 1 }).await?.is_some())
}

/// One conversation.
pub async fn find(db: &Db, id: Id<Conversation>) -> Result<Option<Conversation>> {
    db.of::<Conversation>().find_one(doc! { "_id": id }).await
}

/// Finds the conversation of the two, or makes it; the answer is told whether it is new. Two calls at
/// once open one: the title is unique, and who loses finds what the other has made.
pub(super) async fn open(
    db: &Db,
    user: Id<User>,
    shop: Id<Shop>,
    now: Timestamp,
    memory: Option<Memory>,
    answer: impl Fn(&Conversation, bool) -> error::Result<Answer>,
) -> error::Result<Given> {
    let (user, shop) = (user.hex(), shop.hex());
    let mut tries = 0;
    loop {
        if let Some(conversation) = chat::between(db, &user, &shop).await? {
            return idempotency::remember(db, memory, answer(&conversation, false)?).await;
        }
        let mut title = format!("{shop}{user}");
        if tries > 0 {
            // Taken, and not by these two.
            title.push_str(&format!("-{tries}"));
        }
        let conversation = Conversation {
            id: Id::new(),
            title,
            members: vec![user.clone(), shop.clone()],
            created_at: Some(now),
            updated_at: Some(now),
            ..Conversation::default()
        };
        let answer = answer(&conversation, true)?;
        let opened = idempotency::insert(db, db.of(), memory.clone(), conversation, answer).await;
        match opened {
            Err(error) if error.violates(TITLE_INDEX) && tries < SQUATTED => tries += 1,
            opened => return opened,
        }
    }
}

/// The conversations of a user or a shop, the liveliest first.
pub(super) async fn of_member(db: &Db, member: &str, page: Option<&Page>) -> Result<Listed<Conversation>> {
    paging::latest_first(db, doc! { "members": member }, "updatedAt", page).await
}

/// Whether somebody has said exactly that in a conversation, as a stored message.
pub(super) async fn was_said(db: &Db, id: Id<Conversation>, sender: &str, text: &str) -> Result<bool> {
    let said = doc! { "conversationId": id.hex(), "sender": sender, "text": text };
    Ok(db.of::<Message>().find_one(said).await?.is_some())
}

/// Notes what was said last.
pub(super) async fn set_last(
    db: &Db,
    id: Id<Conversation>,
    sender: &str,
    text: &str,
    now: Timestamp,
) -> Result<Option<Conversation>> {
    db.of::<Conversation>()
        .find_one_and_update(
            doc! { "_id": id, "members": sender },
            // Messages stored at one moment have later times than that; the next one must come after them.
            doc! { "$set": { "lastMessage": text, "lastMessageId": sender }, "$max": { "updatedAt": now } },
        )
        .return_document(ReturnDocument::After)
        .await
}
