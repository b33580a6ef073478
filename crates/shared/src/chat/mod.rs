//! Storing what is said, the same way for both servers.
//!
//! The client announces one message twice: over the socket (`sendMessage`), then over REST
//! (`create-new-message`), with nothing in either to tell that they are the same. Whichever comes
//! first is stored; the other one claims it (`pairing`). Delivery follows from storing (the chat server
//! watches the collection), so what is stored is delivered, once.
//!
//! What sockets send is stored in groups (`Recorder`): whatever waits shares a transaction (`store`).

mod pairing;
mod recorder;
mod seen;
mod store;

use bson::doc;
use futures_util::TryStreamExt as _;
use mongodb::error::Result;

pub use recorder::Recorder;
pub use seen::mark_seen;
pub use store::{record, record_in};

use crate::{
    clock::Timestamp,
    db::Db,
    id::Id,
    model::{Conversation, Message, Picture},
};

/// The longest text of a message, in characters.
pub const MAX_TEXT: usize = 5_000;

/// Which way a message was announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// The socket event `sendMessage`.
    Socket,
    /// `POST /api/messages/create-new-message`.
    Rest,
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
    /// When.
    pub at: Timestamp,
}

/// What became of a [`Saying`].
#[derive(Clone, Debug)]
pub struct Recorded {
    /// The stored message.
    pub message: Message,
    /// The other way had announced it already.
    pub paired: bool,
}

/// The conversation of two people, the liveliest where an old database has several.
pub async fn between(db: &Db, one: &str, other: &str) -> Result<Option<Conversation>> {
    Ok(some_between(db, one, other).await?.into_iter().next())
}

/// Up to two conversations of two people, the liveliest first: whether there is one and no other.
pub async fn some_between(db: &Db, one: &str, other: &str) -> Result<Vec<Conversation>> {
    if one == other {
        // Would be found in each of their conversations.
        return Ok(Vec::new());
    }
    db.of::<Conversation>()
        .find(doc! { "members": { "$all": [one, other], "$size": 2 } })
        .sort(doc! { "updatedAt": -1, "_id": 1 })
        .limit(2)
        .await?
        .try_collect()
        .await
}
