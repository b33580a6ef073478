//! Messages: written and read by the two members alone, stored once however they are announced.

use bson::{DateTime, Document, doc};
use serde_json::{Value, json};
use shared::{
    chat::{self, Saying, Via},
    id::Id,
    model::Conversation,
};
use tests::{Browser, Buyer, Form, Seller, TestApp};

const SEND: &str = "/api/messages/create-new-message";

/// A shopper, a shop and their conversation.
struct Chat {
    app: TestApp,
    ann: Buyer,
    bobs: Seller,
    id: Id<Conversation>,
}

impl Chat {
    async fn start() -> Self {
        Self::with(&[]).await
    }

    async fn with(settings: &[(&str, &str)]) -> Self {
        let app = TestApp::with(settings).await;
        let (ann, bobs) = (app.buyer("ann").await, app.seller("bobs").await);
        let id = ann.talk_to(&bobs).await.parse().unwrap();
        Self { app, ann, bobs, id }
    }

    fn saying(&self, sender: impl std::fmt::Display, text: &str) -> Value {
        json!({ "conversationId": self.id.hex(), "sender": sender.to_string(), "text": text })
    }

    fn path(&self) -> String {
        format!("/api/messages/get-all-messages/{}", self.id)
    }

    async fn texts(&self) -> Vec<String> {
        let read = self.ann.get(&self.path()).await.expect(201);
        let text = |message: &Value| message["text"].as_str().unwrap().to_owned();
        read["messages"].as_array().unwrap().iter().map(text).collect()
    }

    fn said_by_socket(&self, text: &str) -> Saying {
        let (sender, at) = (self.ann.id.hex(), self.app.clock.now());
        Saying { conversation: self.id, sender, text: text.to_owned(), picture: None, at }
    }

    async fn by_socket(&self, text: &str) -> chat::Recorded {
        let saying = self.said_by_socket(text);
        let recorded = chat::record(&self.app.db, Via::Socket, [saying].into()).await.unwrap();
        recorded.into_iter().next().unwrap().unwrap()
    }

    async fn by_rest(&self, text: &str) -> Value {
        self.ann.post(SEND).json(&self.saying(self.ann.id, text)).await.expect(201)["message"].clone()
    }
}

async fn stored(browser: &Browser, body: &Value) -> Value {
    browser.post(SEND).json(body).await.expect(201)["message"].clone()
}

/// A message as lists have it that nobody has seen.
fn as_listed(mut message: Value) -> Value {
    message["seen"] = false.into();
    message
}

#[tokio::test]
async fn both_members_write_and_read_oldest_first() {
    let chat = Chat::start().await;
    let first = stored(&chat.ann, &chat.saying(chat.ann.id, "Is it bright?")).await;
    assert_eq!(first["sender"], chat.ann.id.hex());
    assert_eq!(first["conversationId"], chat.id.hex());
    assert!(first.get("images").is_none() && first.get("pairing").is_none(), "{first}");
    let second = stored(&chat.bobs, &chat.saying(chat.bobs.id, "Very")).await;
    let listed = [first, second].map(as_listed);
    for browser in [&chat.ann.browser, &chat.bobs.browser] {
        let read = browser.get(&chat.path()).await.expect(201);
        assert_eq!(read["messages"], json!(listed));
    }
}

#[tokio::test]
async fn messages_are_sorted_by_time_and_not_by_where_they_lie() {
    let chat = Chat::start().await;
    let messages = chat.app.db.raw::<Document>("messages");
    for (text, millis) in [("late", 3_000), ("early", 1_000), ("between", 2_000)] {
        let at = DateTime::from_millis(millis);
        let old = doc! { "conversationId": chat.id.hex(), "sender": chat.ann.id.hex(), "text": text, "createdAt": at };
        messages.insert_one(old).await.unwrap();
    }
    assert_eq!(chat.texts().await, ["early", "between", "late"]);
}

#[tokio::test]
async fn a_burst_keeps_its_order_although_the_clock_stands_still_between_two() {
    let chat = Chat::start().await;
    let said: Vec<String> = (0..40).map(|i| format!("message {i}")).collect();
    for text in &said {
        chat.by_rest(text).await;
    }
    assert_eq!(chat.texts().await, said);
}

#[tokio::test]
async fn nobody_else_writes_or_reads() {
    let chat = Chat::start().await;
    let (eve, other) = (chat.app.buyer("eve").await, chat.app.seller("other").await);
    let anns = chat.saying(chat.ann.id, "x");

    chat.app.browser().post(SEND).json(&anns).await.refused(401, "unauthenticated");
    chat.app.browser().get(&chat.path()).await.refused(401, "unauthenticated");
    for (browser, own) in [(&eve.browser, eve.id.hex()), (&other.browser, other.id.hex())] {
        browser.post(SEND).json(&anns).await.refused(403, "not_yours");
        browser.post(SEND).json(&chat.saying(own, "x")).await.refused(403, "not_a_member");
        browser.get(&chat.path()).await.refused(403, "not_a_member");
    }
    // Nor does a member speak for the other.
    chat.bobs.post(SEND).json(&anns).await.refused(403, "not_yours");
    assert!(chat.texts().await.is_empty());
}

#[tokio::test]
async fn bad_input_is_refused_in_words() {
    let chat = Chat::start().await;
    let ann = chat.ann.id;
    for bad in [
        json!({}),
        json!({ "conversationId": chat.id.hex(), "sender": ann.hex() }),
        chat.saying(ann, ""),
        chat.saying(ann, &"x".repeat(5001)),
        json!({ "conversationId": chat.id.hex(), "sender": ann.hex(), "text": { "$gt": "" } }),
        json!({ "conversationId": { "$ne": null }, "sender": ann.hex(), "text": "x" }),
        json!({ "conversationId": chat.id.hex(), "sender": null, "text": "x" }),
        json!({ "conversationId": "undefined", "sender": ann.hex(), "text": "x" }),
    ] {
        chat.ann.post(SEND).json(&bad).await.expect(400);
    }
    let nowhere = json!({ "conversationId": Id::<()>::new().hex(), "sender": ann.hex(), "text": "x" });
    chat.ann.post(SEND).json(&nowhere).await.refused(404, "conversation_not_found");
    chat.ann.post(SEND).body("application/json", "{").await.expect(400);
    assert!(chat.texts().await.is_empty());
}

#[tokio::test]
async fn text_is_stored_as_it_was_typed() {
    let chat = Chat::start().await;
    // Blanks get through the shopper's page, and `undefined` is a word like any other here.
    let said = ["   ", "undefined", "null", " a\nb ", "<b>🌶</b>", &"ä".repeat(5000)];
    for text in said {
        chat.by_rest(text).await;
    }
    assert_eq!(chat.texts().await, said);
}

#[tokio::test]
async fn an_unknown_conversation_has_no_messages() {
    let chat = Chat::start().await;
    for id in [Id::<()>::new().hex(), "undefined".to_owned()] {
        let read = chat.ann.get(&format!("/api/messages/get-all-messages/{id}")).await.expect(201);
        assert_eq!(read["messages"], json!([]));
    }
}

#[tokio::test]
async fn the_client_on_this_machine_needs_no_cookie() {
    let chat = Chat::with(&[("AUTH_MODE", "auto")]).await;
    let bare = chat.app.browser();
    stored(&bare, &chat.saying(chat.ann.id, "hello")).await;
    assert_eq!(bare.get(&chat.path()).await.expect(201)["messages"][0]["text"], "hello");
    // Membership is checked all the same, and so is a credential that is present.
    let eve = chat.app.buyer("eve").await;
    bare.post(SEND).json(&chat.saying(eve.id, "x")).await.refused(403, "not_a_member");
    eve.post(SEND).json(&chat.saying(chat.ann.id, "x")).await.refused(403, "not_yours");
    bare.post(SEND)
        .header("x-forwarded-for", "203.0.113.9")
        .json(&chat.saying(chat.ann.id, "x"))
        .await
        .expect(401);
}

#[tokio::test]
async fn a_message_announced_both_ways_is_stored_once() {
    let chat = Chat::start().await;
    let socket = chat.by_socket("Is it bright?").await;
    assert!(!socket.paired);
    assert_eq!(chat.by_rest("Is it bright?").await["_id"], socket.message.id.hex());
    let rest = chat.by_rest("And small?").await;
    let socket = chat.by_socket("And small?").await;
    assert!(socket.paired);
    assert_eq!(rest["_id"], socket.message.id.hex());
    assert_eq!(chat.texts().await, ["Is it bright?", "And small?"]);
}

#[tokio::test]
async fn the_same_words_twice_are_two_messages() {
    let chat = Chat::start().await;
    // In every order in which two announcements of each of two messages can come.
    for order in ["srsr", "ssrr", "rsrs", "rrss", "srrs", "rssr", "ss", "rr"] {
        let text = format!("ok {order}");
        for way in order.chars() {
            match way {
                's' => drop(chat.by_socket(&text).await),
                _ => drop(chat.by_rest(&text).await),
            }
        }
        let count = chat.texts().await.iter().filter(|said| **said == text).count();
        assert_eq!(count, 2, "{order}");
    }
}

#[tokio::test]
async fn an_announcement_is_claimed_for_half_a_minute_only() {
    let chat = Chat::start().await;
    chat.by_socket("good morning").await;
    chat.app.clock.advance(31_000);
    chat.by_rest("good morning").await;
    assert_eq!(chat.texts().await.len(), 2);
}

#[tokio::test]
async fn both_ways_at_once_store_every_message_once() {
    let chat = Chat::start().await;
    for round in 0..15 {
        // Four times the same text, each announced both ways, all at the same time.
        let text = format!("round {round}");
        let sockets = futures_util::future::join_all((0..4).map(|_| chat.by_socket(&text)));
        let rests = futures_util::future::join_all((0..4).map(|_| chat.by_rest(&text)));
        tokio::join!(sockets, rests);
        let count = chat.texts().await.iter().filter(|said| **said == text).count();
        assert_eq!(count, 4, "{text}");
    }
}

#[tokio::test]
async fn a_picture_is_stored_with_its_message_and_shown_to_both() {
    let chat = Chat::start().await;
    let form = |text: &str| {
        Form::new()
            .picture("images")
            .text("conversationId", chat.id)
            .text("sender", chat.ann.id)
            .text("text", text)
    };
    let with_text = chat.ann.post(SEND).form(form("Like this one?")).await.expect(201)["message"].clone();
    assert_eq!(with_text["text"], "Like this one?");
    let alone = chat.ann.post(SEND).form(form("")).await.expect(201)["message"].clone();
    assert_eq!(alone["text"], "");
    let read = chat.bobs.get(&chat.path()).await.expect(201);
    assert_eq!(read["messages"], json!([as_listed(with_text), as_listed(alone.clone())]));
    let url = alone["images"]["url"].as_str().unwrap();
    let picture = reqwest::get(url).await.unwrap();
    assert_eq!(picture.status(), 200);
    assert_eq!(picture.headers()["content-type"], "image/png");

    let nothing = Form::new().text("conversationId", chat.id).text("sender", chat.ann.id);
    chat.ann.post(SEND).form(nothing).await.expect(400);
    let text = Form::new().file("images", "a.png", "image/png", b"<script>".to_vec()).text("text", "x");
    chat.ann
        .post(SEND)
        .form(text.text("conversationId", chat.id).text("sender", chat.ann.id))
        .await
        .expect(415);
}

/// What a member has not read yet, as their list of conversations says.
async fn unread(chat: &Chat) -> [i64; 2] {
    let lists = [
        chat.ann.get(&format!("/api/conversation/get-all-conversation-user/{}", chat.ann.id)).await,
        chat.bobs.get(&format!("/api/conversation/get-all-conversation-seller/{}", chat.bobs.id)).await,
    ];
    lists.map(|list| list.expect(201)["conversations"][0]["unreadCount"].as_i64().unwrap())
}

async fn seen(chat: &Chat) -> Vec<bool> {
    let read = chat.ann.get(&chat.path()).await.expect(201);
    read["messages"].as_array().unwrap().iter().map(|message| message["seen"].as_bool().unwrap()).collect()
}

#[tokio::test]
async fn what_was_not_read_is_counted_for_each_and_marked_as_seen_up_to_a_message() {
    let chat = Chat::start().await;
    let path = format!("/api/messages/mark-as-seen/{}", chat.id);
    assert_eq!(unread(&chat).await, [0, 0]);
    let mut ids = Vec::new();
    for i in 0..4 {
        ids.push(chat.by_rest(&format!("{i}")).await["_id"].clone());
    }
    // Announced once more over the socket, it is still one.
    assert!(chat.by_socket("3").await.paired);
    chat.by_socket("4").await;
    stored(&chat.bobs, &chat.saying(chat.bobs.id, "answer")).await;
    assert_eq!(unread(&chat).await, [1, 5]);
    assert_eq!(seen(&chat).await, [false; 6]);

    let bobs = |message: &Value| json!({ "reader": chat.bobs.id.hex(), "messageId": message });
    let marked = chat.bobs.put(&path).json(&bobs(&ids[1])).await.expect(200);
    assert_eq!(marked, json!({ "success": true, "conversationId": chat.id.hex(), "unreadCount": 3 }));
    assert_eq!(unread(&chat).await, [1, 3]);
    assert_eq!(seen(&chat).await, [true, true, false, false, false, false]);
    // It does not move back.
    let back = chat.bobs.put(&path).json(&bobs(&ids[0])).await.expect(200);
    assert_eq!(back["unreadCount"], 3);

    let all = json!({ "reader": chat.bobs.id.hex() });
    assert_eq!(chat.bobs.put(&path).json(&all).await.expect(200)["unreadCount"], 0);
    assert_eq!(unread(&chat).await, [1, 0]);
    assert_eq!(seen(&chat).await, [true, true, true, true, true, false]);
    chat.by_rest("one more").await;
    assert_eq!(unread(&chat).await, [1, 1]);
    assert_eq!(seen(&chat).await, [true, true, true, true, true, false, false]);
}

#[tokio::test]
async fn nobody_else_marks_as_seen_and_bad_input_is_refused_in_words() {
    let chat = Chat::start().await;
    let path = format!("/api/messages/mark-as-seen/{}", chat.id);
    let message = chat.by_rest("hello").await["_id"].clone();
    let bobs = json!({ "reader": chat.bobs.id.hex(), "messageId": message });
    chat.app.browser().put(&path).json(&bobs).await.refused(401, "unauthenticated");
    chat.ann.put(&path).json(&bobs).await.refused(403, "not_yours");
    let eve = chat.app.buyer("eve").await;
    eve.put(&path).json(&bobs).await.refused(403, "not_yours");
    eve.put(&path).json(&json!({ "reader": eve.id.hex() })).await.refused(403, "not_a_member");

    let nowhere = format!("/api/messages/mark-as-seen/{}", Id::<()>::new());
    chat.bobs.put(&nowhere).json(&bobs).await.refused(404, "conversation_not_found");
    let unknown = json!({ "reader": chat.bobs.id.hex(), "messageId": Id::<()>::new().hex() });
    chat.bobs.put(&path).json(&unknown).await.refused(404, "message_not_found");
    for bad in [
        json!({}),
        json!({ "reader": "undefined" }),
        json!({ "reader": { "$ne": null } }),
        json!({ "reader": chat.bobs.id.hex(), "messageId": "x" }),
        json!({ "reader": chat.bobs.id.hex(), "messageId": { "$gt": "" } }),
    ] {
        chat.bobs.put(&path).json(&bad).await.expect(400);
    }
    chat.bobs.put("/api/messages/mark-as-seen/undefined").json(&bobs).await.expect(400);
    assert_eq!(unread(&chat).await, [0, 1]);
}

#[tokio::test]
async fn counts_are_right_however_fast_is_said_and_read() {
    let chat = Chat::start().await;
    let (chat, path) = (&chat, &format!("/api/messages/mark-as-seen/{}", chat.id));
    let says = async |by: &Browser, id: Id<()>, word: &str| {
        for i in 0..25 {
            stored(by, &chat.saying(id, &format!("{word} {i}"))).await;
        }
    };
    let reads = async |by: &Browser, id: Id<()>| {
        for _ in 0..25 {
            by.put(path).json(&json!({ "reader": id.hex() })).await.expect(200);
        }
    };
    let sockets = async {
        for i in 0..25 {
            chat.by_socket(&format!("socket {i}")).await;
        }
    };
    let (ann, bobs) = (chat.ann.id.cast(), chat.bobs.id.cast());
    tokio::join!(
        says(&chat.ann, ann, "ann"),
        says(&chat.bobs, bobs, "bobs"),
        sockets,
        reads(&chat.ann, ann),
        reads(&chat.bobs, bobs),
    );
    let conversation =
        chat.app.db.of::<Conversation>().find_one(doc! { "_id": chat.id }).await.unwrap().unwrap();
    for member in [ann.hex(), bobs.hex()] {
        let mut left = doc! { "conversationId": chat.id.hex(), "sender": { "$ne": &member } };
        if let Some(mark) = conversation.reads.get(&member) {
            left.insert("createdAt", doc! { "$gt": *mark });
        }
        let left = chat.app.db.raw::<Document>("messages").count_documents(left).await.unwrap();
        assert_eq!(u64::try_from(conversation.unread_of(&member)).unwrap(), left);
    }
    // And all of it once read is nothing.
    reads(&chat.bobs, bobs).await;
    reads(&chat.ann, ann).await;
    assert_eq!(unread(chat).await, [0, 0]);
}

#[tokio::test]
async fn a_conversation_of_the_old_server_has_nothing_unread_whatever_stands_in_it() {
    let chat = Chat::start().await;
    let junk = doc! { "$set": { "unread": 7, "reads": "x", "lastSeen": [1] } };
    chat.app.db.raw::<Document>("conversations").update_one(doc! {}, junk).await.unwrap();
    assert_eq!(unread(&chat).await, [0, 0]);
    chat.by_rest("hello").await;
    assert_eq!(unread(&chat).await, [0, 1]);
    let all = json!({ "reader": chat.bobs.id.hex() });
    let path = format!("/api/messages/mark-as-seen/{}", chat.id);
    assert_eq!(chat.bobs.put(&path).json(&all).await.expect(200)["unreadCount"], 0);
    assert_eq!(seen(&chat).await, [true]);
}
