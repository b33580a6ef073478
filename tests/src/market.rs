//! A shopper and a shop who talk: what most tests of the chat begin with.

use serde_json::{Value, json};
use shared::id::Id;

use crate::{Buyer, Chat, Seller, Socket, TestApp};

/// Where messages are stored over REST.
pub const SEND: &str = "/api/messages/create-new-message";

/// A shopper and a shop who share a conversation, and the chat server.
pub struct Market {
    /// The API.
    pub app: TestApp,
    /// The chat server.
    pub chat: Chat,
    /// The shopper.
    pub ann: Buyer,
    /// The shop.
    pub bobs: Seller,
    /// Theirs.
    pub conversation: String,
}

impl Market {
    /// With the usual settings.
    pub async fn open() -> Self {
        Self::with(&[]).await
    }

    /// With these.
    pub async fn with(settings: &[(&str, &str)]) -> Self {
        let app = TestApp::with(settings).await;
        let (ann, bobs) = (app.buyer("ann").await, app.seller("bobs").await);
        let conversation = ann.talk_to(&bobs).await;
        let chat = app.chat().await;
        Self { app, chat, ann, bobs, conversation }
    }

    /// What the shopper's socket sends.
    pub fn said(&self, text: &str) -> Value {
        json!({ "senderId": self.ann.id.hex(), "receiverId": self.bobs.id.hex(), "text": text })
    }

    /// What the shopper's REST call sends.
    pub fn stored(&self, text: &str) -> Value {
        json!({ "conversationId": self.conversation, "sender": self.ann.id.hex(), "text": text })
    }

    /// Everything that was said, as a list shows it.
    pub async fn texts(&self) -> Vec<String> {
        let read = self.ann.get(&format!("/api/messages/get-all-messages/{}", self.conversation)).await;
        let text = |message: &Value| message["text"].as_str().unwrap().to_owned();
        read.expect(201)["messages"].as_array().unwrap().iter().map(text).collect()
    }

    /// The shopper says something over REST alone, and it is stored.
    pub async fn say(&self, text: &str) {
        self.ann.post(SEND).json(&self.stored(text)).await.expect(201);
    }

    /// A message over REST alone, and the next message that comes: everything that was on its way
    /// before has come, or never will.
    pub async fn assert_nothing_else_comes(&self, socket: &mut Socket) {
        let sentinel = format!("sentinel {}", Id::<()>::new());
        self.say(&sentinel).await;
        assert_eq!(socket.next("getMessage").await["text"], sentinel);
    }
}
