//! The chat server: who one is, what one is told, and what one cannot do to it.

use std::collections::BTreeSet;

use bson::{Document, doc};
use serde_json::{Value, json};
use shared::{auth::Kind, id::Id};
use tests::{Browser, Chat, Market, TestApp, market::SEND};

async fn http(chat: &Chat, path: &str) -> reqwest::Response {
    reqwest::get(format!("http://{}{path}", chat.address)).await.unwrap()
}

#[tokio::test]
async fn the_page_at_the_root_is_as_it_was_and_the_operator_is_answered() {
    let app = TestApp::start().await;
    let chat = app.chat().await;
    let root = http(&chat, "/").await;
    assert_eq!(root.status(), 200);
    assert_eq!(root.text().await.unwrap(), "Hello world from socket server and welcome!");
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(http(&chat, path).await.status(), 200, "{path}");
    }
}

#[tokio::test]
async fn a_message_over_the_socket_arrives_as_the_client_reads_it() {
    let market = Market::open().await;
    let mut bobs = market.chat.connect(&market.bobs).await;
    let mut ann = market.chat.connect(&market.ann).await;
    let receipt = ann.ask("sendMessage", &market.said("Is it bright?")).await;
    assert_eq!(receipt["success"], true);
    let got = bobs.next("getMessage").await;
    assert_eq!(got["senderId"], market.ann.id.hex());
    assert_eq!(got["receiverId"], market.bobs.id.hex());
    assert_eq!((&got["text"], &got["seen"]), (&json!("Is it bright?"), &json!(false)));
    assert_eq!(
        (&got["messageId"], &got["conversationId"]),
        (&receipt["messageId"], &json!(market.conversation))
    );
    assert!(got.get("images").is_none(), "left out where there is none");
    assert_eq!(market.texts().await, ["Is it bright?"]);
}

#[tokio::test]
async fn announced_both_ways_a_message_is_stored_once_and_delivered_once() {
    let market = Market::open().await;
    let mut bobs = market.chat.connect(&market.bobs).await;
    let mut ann = market.chat.connect(&market.ann).await;
    let mut sent = Vec::new();
    for i in 0..30 {
        // As the client does it: the event first, the request at once after it. "ok" comes again.
        let text = if i % 3 == 0 { "ok".to_owned() } else { format!("message {i}") };
        ann.emit("sendMessage", &market.said(&text)).await;
        market.ann.post(SEND).json(&market.stored(&text)).await.expect(201);
        sent.push(text);
    }
    let mut ids = BTreeSet::new();
    for text in &sent {
        let got = bobs.next("getMessage").await;
        assert_eq!(got["text"], text.as_str());
        assert!(ids.insert(got["messageId"].to_string()), "twice: {got}");
    }
    market.assert_nothing_else_comes(&mut bobs).await;
    assert_eq!(market.texts().await.len(), sent.len() + 1);
}

#[tokio::test]
async fn a_message_over_rest_alone_is_delivered_too_with_its_picture() {
    let market = Market::open().await;
    let mut bobs = market.chat.connect(&market.bobs).await;
    market.ann.post(SEND).json(&market.stored("hello")).await.expect(201);
    assert_eq!(bobs.next("getMessage").await["text"], "hello");
    let form = tests::Form::new()
        .picture("images")
        .text("conversationId", &market.conversation)
        .text("sender", market.ann.id);
    market.ann.post(SEND).form(form).await.expect(201);
    let got = bobs.next("getMessage").await;
    let url = got["images"]["url"].as_str().unwrap();
    assert_eq!(reqwest::get(url).await.unwrap().status(), 200);
}

#[tokio::test]
async fn every_tab_and_device_of_the_receiver_gets_it_and_no_tab_of_the_sender() {
    let market = Market::open().await;
    let mut tabs = Vec::new();
    for _ in 0..3 {
        tabs.push(market.chat.connect(&market.bobs).await);
    }
    let mut ann = market.chat.connect(&market.ann).await;
    let mut second = market.chat.connect(&market.ann).await;
    ann.ask("sendMessage", &market.said("to all")).await;
    for tab in &mut tabs {
        assert_eq!(tab.next("getMessage").await["text"], "to all");
    }
    // The shop answers: for the shopper's tabs that is the first message.
    let mut answer = market.stored("answer");
    answer["sender"] = market.bobs.id.hex().into();
    market.bobs.post(SEND).json(&answer).await.expect(201);
    for tab in [&mut ann, &mut second] {
        assert_eq!(tab.next("getMessage").await["text"], "answer");
    }
}

#[tokio::test]
async fn delivery_begins_with_the_handshake_and_not_with_add_user() {
    let market = Market::open().await;
    let bobs = market.chat.connect(&market.bobs).await;
    bobs.close().await;
    // A reconnect: the client does not repeat addUser.
    let mut bobs = market.chat.connect(&market.bobs).await;
    market.assert_nothing_else_comes(&mut bobs).await;
}

#[tokio::test]
async fn a_burst_arrives_in_order() {
    let market = Market::open().await;
    let mut bobs = market.chat.connect(&market.bobs).await;
    let mut ann = market.chat.connect(&market.ann).await;
    let sent: Vec<String> = (0..200).map(|i| format!("message {i}")).collect();
    for text in &sent {
        ann.emit("sendMessage", &market.said(text)).await;
    }
    for text in &sent {
        assert_eq!(bobs.next("getMessage").await["text"], text.as_str());
    }
    assert_eq!(market.texts().await, sent);
}

#[tokio::test]
async fn what_was_sent_before_the_page_was_left_is_stored() {
    let market = Market::open().await;
    let mut bobs = market.chat.connect(&market.bobs).await;
    let mut ann = market.chat.connect(&market.ann).await;
    for i in 0..20 {
        ann.emit("sendMessage", &market.said(&format!("{i}"))).await;
    }
    ann.close().await;
    for i in 0..20 {
        assert_eq!(bobs.next("getMessage").await["text"], format!("{i}"));
    }
}

#[tokio::test]
async fn nobody_speaks_for_another_or_to_a_stranger() {
    let market = Market::open().await;
    let eve = market.app.buyer("eve").await;
    let mut bobs = market.chat.connect(&market.bobs).await;
    let mut eves = market.chat.connect(&eve).await;
    let refused = |answer: Value| assert_eq!(answer["success"], false, "{answer}");

    // In ann's name; after claiming to be her; in her own name to a shop she has no conversation with.
    refused(eves.ask("sendMessage", &market.said("I am ann")).await);
    eves.emit("addUser", &json!(market.ann.id.hex())).await;
    refused(eves.ask("sendMessage", &market.said("I am ann")).await);
    let own = json!({ "senderId": eve.id.hex(), "receiverId": market.bobs.id.hex(), "text": "x" });
    refused(eves.ask("sendMessage", &own).await);
    let self_talk = json!({ "senderId": eve.id.hex(), "receiverId": eve.id.hex(), "text": "x" });
    refused(eves.ask("sendMessage", &self_talk).await);
    let mut visitor = market.chat.visitor().await;
    refused(visitor.ask("sendMessage", &market.said("I am ann")).await);

    market.assert_nothing_else_comes(&mut bobs).await;
    assert_eq!(market.texts().await.len(), 1);
}

#[tokio::test]
async fn claiming_to_be_somebody_gets_none_of_their_messages() {
    let market = Market::open().await;
    let eve = market.app.buyer("eve").await;
    let mut eves = market.chat.connect(&eve).await;
    let mut visitor = market.chat.visitor().await;
    for socket in [&mut eves, &mut visitor] {
        socket.emit("addUser", &json!(market.bobs.id.hex())).await;
        // Handled in order: after this answer the claim has been looked at.
        socket.ask("sendMessage", &Value::Null).await;
    }
    let mut bobs = market.chat.connect(&market.bobs).await;
    market.assert_nothing_else_comes(&mut bobs).await;
    // One more round trip each; a message would have come before the answer's event.
    for socket in [&mut eves, &mut visitor] {
        socket.ask("sendMessage", &Value::Null).await;
    }
    let other = market.app.seller("other").await;
    let conversation = eve.talk_to(&other).await;
    let hello = json!({ "conversationId": conversation, "sender": other.id.hex(), "text": "to eve" });
    other.post(SEND).json(&hello).await.expect(201);
    assert_eq!(eves.next("getMessage").await["text"], "to eve");
}

#[tokio::test]
async fn a_program_shows_its_session_in_auth_or_as_bearer() {
    let market = Market::open().await;
    let auth = Some(json!({ "token": market.bobs.token }));
    let mut by_auth = market.chat.connect_with(&[], auth).await;
    let header = format!("Bearer {}", market.bobs.token);
    let mut by_header = market.chat.connect_with(&[("authorization", &header)], None).await;
    market.ann.post(SEND).json(&market.stored("hello")).await.expect(201);
    for socket in [&mut by_auth, &mut by_header] {
        assert_eq!(socket.next("getMessage").await["text"], "hello");
    }
}

#[tokio::test]
async fn a_session_that_proves_nobody_is_a_visitors() {
    let market = Market::open().await;
    let sessions = market.app.sessions();
    let now = market.app.clock.now();
    let gone = sessions.issue(Kind::Seller, &Id::<()>::new().hex(), 0, now).unwrap();
    let revoked = sessions.issue(Kind::Seller, &market.bobs.id.hex(), 7, now).unwrap();
    for token in ["forged", &gone, &revoked] {
        let mut socket =
            market.chat.connect_with(&[("cookie", &format!("seller_token={token}"))], None).await;
        let said =
            json!({ "senderId": market.bobs.id.hex(), "receiverId": market.ann.id.hex(), "text": "x" });
        assert_eq!(socket.ask("sendMessage", &said).await["success"], false, "{token}");
    }
}

#[tokio::test]
async fn the_old_servers_session_cookie_proves_a_user() {
    let market = Market::open().await;
    let cookie = format!("other=1; token={}", market.ann.token);
    let mut ann = market.chat.connect_with(&[("cookie", &cookie)], None).await;
    assert_eq!(ann.ask("sendMessage", &market.said("hello")).await["success"], true);
}

#[tokio::test]
async fn a_foreign_page_does_not_get_its_visitors_identity() {
    let market = Market::open().await;
    let cookie = market.ann.cookie_header().unwrap();
    let from = |origin| [("cookie", cookie.as_str()), ("origin", origin)];
    let mut foreign = market.chat.connect_with(&from("http://evil.example"), None).await;
    assert_eq!(foreign.ask("sendMessage", &market.said("x")).await["success"], false);
    let mut client = market.chat.connect_with(&from("http://localhost:5173"), None).await;
    assert_eq!(client.ask("sendMessage", &market.said("x")).await["success"], true);
}

#[tokio::test]
async fn presence_is_per_person_from_the_first_socket_to_the_last() {
    let market = Market::open().await;
    let (ann_id, bobs_id) = (market.ann.id.hex(), market.bobs.id.hex());
    let mut bobs = market.chat.connect(&market.bobs).await;
    bobs.online(std::slice::from_ref(&bobs_id)).await;
    let first = market.chat.connect(&market.ann).await;
    let both = [ann_id.clone(), bobs_id.clone()];
    bobs.online(&both).await;
    let second = market.chat.connect(&market.ann).await;
    first.close().await;
    // Still online with the second: the list that addUser asks for says so.
    bobs.emit("addUser", &json!(bobs_id)).await;
    bobs.online(&both).await;
    second.close().await;
    bobs.online(&[bobs_id]).await;
}

#[tokio::test]
async fn add_user_of_ones_own_id_is_answered_at_once_each_time() {
    let market = Market::open().await;
    let mut ann = market.chat.connect(&market.ann).await;
    for _ in 0..3 {
        ann.emit("addUser", &json!(market.ann.id.hex())).await;
        let list = ann.next("getUsers").await;
        assert_eq!(list[0]["userId"], market.ann.id.hex());
        assert!(list[0]["socketId"].is_string());
    }
}

#[tokio::test]
async fn visitors_are_told_nothing() {
    let market = Market::open().await;
    let mut visitor = market.chat.visitor().await;
    let mut bobs = market.chat.connect(&market.bobs).await;
    bobs.online(&[market.bobs.id.hex()]).await;
    market.assert_nothing_else_comes(&mut bobs).await;
    // The first thing that comes is the answer to its own question.
    visitor.send("421[\"sendMessage\"]").await;
    assert!(visitor.packet().await.unwrap().starts_with("431"), "a visitor was told something");
}

#[tokio::test]
async fn above_the_limit_one_hears_of_contacts_only() {
    let market = Market::open().await;
    let chat = market.app.chat_with(|config| config.presence_broadcast_limit = 0).await;
    let (ann_id, bobs_id) = (market.ann.id.hex(), market.bobs.id.hex());
    let eve = market.app.buyer("eve").await;
    let mut eves = chat.connect(&eve).await;
    eves.online(&[eve.id.hex()]).await;
    let mut bobs = chat.connect(&market.bobs).await;
    bobs.online(std::slice::from_ref(&bobs_id)).await;
    let ann = chat.connect(&market.ann).await;
    bobs.online(&[ann_id.clone(), bobs_id.clone()]).await;
    // A new conversation makes a new contact without anybody reconnecting.
    eve.talk_to(&market.bobs).await;
    eves.online(&[eve.id.hex(), bobs_id.clone()]).await;
    bobs.online(&[ann_id, eve.id.hex(), bobs_id.clone()]).await;
    ann.close().await;
    bobs.online(&[eve.id.hex(), bobs_id]).await;
}

#[tokio::test]
async fn one_connection_may_be_a_users_and_a_shops() {
    let market = Market::open().await;
    let both = Browser::new(&market.app.base);
    for (name, session) in [("user_token", &market.ann.token), ("seller_token", &market.bobs.token)] {
        both.set_cookie(name, session);
    }
    let mut socket = market.chat.connect(&both).await;
    socket.online(&[market.ann.id.hex(), market.bobs.id.hex()]).await;
    assert_eq!(socket.ask("sendMessage", &market.said("to myself, in a way")).await["success"], true);
    assert_eq!(socket.next("getMessage").await["receiverId"], market.bobs.id.hex());
}

#[tokio::test]
async fn many_who_come_at_once_are_announced_together() {
    let market = Market::with(&[("PRESENCE_BROADCAST_LIMIT", "100")]).await;
    let mut bobs = market.chat.connect(&market.bobs).await;
    bobs.online(&[market.bobs.id.hex()]).await;
    let mut sockets = Vec::new();
    let mut everybody = vec![market.bobs.id.hex()];
    for i in 0..60 {
        let buyer = market.app.buyer(&format!("buyer {i}")).await;
        everybody.push(buyer.id.hex());
        sockets.push(buyer);
    }
    let began = std::time::Instant::now();
    let connected =
        futures_util::future::join_all(sockets.iter().map(|buyer| market.chat.connect(buyer))).await;
    let mut lists = 0;
    loop {
        let list = bobs.next("getUsers").await;
        lists += 1;
        if list.as_array().unwrap().len() == everybody.len() {
            break;
        }
    }
    // At most one in 100 ms, and the one that was on its way.
    assert!(lists <= began.elapsed().as_millis() / 100 + 1, "{lists} lists in {:?}", began.elapsed());
    drop(connected);
}

#[tokio::test]
async fn the_last_message_goes_to_the_two_concerned_and_to_nobody_else() {
    let market = Market::open().await;
    let eve = market.app.buyer("eve").await;
    let mut eves = market.chat.connect(&eve).await;
    let mut bobs = market.chat.connect(&market.bobs).await;
    let mut ann = market.chat.connect(&market.ann).await;
    ann.ask("sendMessage", &market.said("Is it bright?")).await;
    let hint = json!({ "lastMessage": "Is it bright?", "lastMessageId": market.ann.id.hex() });
    // What was never said, and what others say that she said, goes nowhere.
    ann.emit("updateLastMessage", &json!({ "lastMessage": "lie", "lastMessageId": market.ann.id.hex() }))
        .await;
    eves.emit("updateLastMessage", &hint).await;
    eves.ask("sendMessage", &Value::Null).await;
    ann.emit("updateLastMessage", &hint).await;
    for socket in [&mut ann, &mut bobs] {
        assert_eq!(socket.next("getLastMessage").await, hint);
    }
    ann.ask("sendMessage", &market.said("second")).await;
    let hint = json!({ "lastMessage": "second", "lastMessageId": market.ann.id.hex() });
    ann.emit("updateLastMessage", &hint).await;
    // One each: the next one is the second one.
    for socket in [&mut ann, &mut bobs] {
        assert_eq!(socket.next("getLastMessage").await, hint);
    }
    let other = market.app.seller("other").await;
    eve.talk_to(&other).await;
    let said = json!({ "senderId": eve.id.hex(), "receiverId": other.id.hex(), "text": "mine" });
    eves.ask("sendMessage", &said).await;
    let own = json!({ "lastMessage": "mine", "lastMessageId": eve.id.hex() });
    eves.emit("updateLastMessage", &own).await;
    assert_eq!(eves.next("getLastMessage").await, own);
}

#[tokio::test]
async fn a_seen_message_is_reported_to_its_sender_by_its_receiver_only() {
    let market = Market::open().await;
    let eve = market.app.buyer("eve").await;
    let (mut ann, mut bobs) =
        (market.chat.connect(&market.ann).await, market.chat.connect(&market.bobs).await);
    let mut eves = market.chat.connect(&eve).await;
    let first = ann.ask("sendMessage", &market.said("first")).await["messageId"].clone();
    let second = ann.ask("sendMessage", &market.said("second")).await["messageId"].clone();
    let seen = |id: &Value, receiver: String| json!({ "senderId": market.ann.id.hex(), "receiverId": receiver, "messageId": id });
    for lie in [seen(&first, market.bobs.id.hex()), seen(&first, eve.id.hex())] {
        eves.emit("messageSeen", &lie).await;
    }
    eves.ask("sendMessage", &Value::Null).await;
    let truth = seen(&second, market.bobs.id.hex());
    bobs.emit("messageSeen", &truth).await;
    assert_eq!(ann.next("messageSent").await, truth);
    // The first one was seen with it. What is seen over REST is reported too, and on another node.
    bobs.emit("messageSeen", &seen(&first, market.bobs.id.hex())).await;
    let other = market.app.chat().await;
    let mut elsewhere = other.connect(&market.ann).await;
    let third = ann.ask("sendMessage", &market.said("third")).await["messageId"].clone();
    let path = format!("/api/messages/mark-as-seen/{}", market.conversation);
    let all = json!({ "reader": market.bobs.id.hex() });
    assert_eq!(market.bobs.put(&path).json(&all).await.expect(200)["unreadCount"], 0);
    for socket in [&mut ann, &mut elsewhere] {
        assert_eq!(socket.next("messageSent").await, seen(&third, market.bobs.id.hex()));
    }
}

#[tokio::test]
async fn no_payload_ends_the_server_or_the_connection() {
    let market = Market::open().await;
    let mut ann = market.chat.connect(&market.ann).await;
    let ids = market.ann.id.hex();
    for event in ["addUser", "sendMessage", "updateLastMessage", "messageSeen", "nothing", "connect", ""] {
        for payload in [
            "",
            ",null",
            ",1",
            ",true",
            ",[]",
            ",{}",
            ",[[[[]]]]",
            ",\"\"",
            ",\"x\"",
            ",{\"senderId\":null,\"receiverId\":{},\"text\":[]}",
            ",{\"senderId\":{\"$gt\":\"\"},\"receiverId\":{\"$gt\":\"\"},\"text\":\"x\"}",
            &format!(",{{\"senderId\":\"{ids}\",\"receiverId\":\"undefined\",\"text\":\"x\"}}"),
            &format!(",{{\"senderId\":\"{ids}\",\"text\":\"x\"}}"),
            &format!(",{{\"senderId\":\"{ids}\",\"receiverId\":\"{ids}\",\"messageId\":\"x\"}}"),
            ",1,2,3",
            ",{\"__proto__\":1e400}",
        ] {
            if payload.contains("1e400") && event != "sendMessage" {
                continue;
            }
            ann.send(&format!("42[\"{event}\"{payload}]")).await;
        }
    }
    let long = json!({ "senderId": ids, "receiverId": market.bobs.id.hex(), "text": "x".repeat(5001) });
    assert_eq!(ann.ask("sendMessage", &long).await["success"], false);
    let mut bobs = market.chat.connect(&market.bobs).await;
    assert_eq!(ann.ask("sendMessage", &market.said("still here")).await["success"], true);
    assert_eq!(bobs.next("getMessage").await["text"], "still here");
}

#[tokio::test]
async fn broken_packets_cost_their_own_connection_at_most() {
    let market = Market::open().await;
    for packet in [
        "4",
        "42",
        "42[",
        "42{}",
        "42[1]",
        "45",
        "451-",
        "451-[\"sendMessage\",{\"_placeholder\":true,\"num\":0}]",
        "9",
        "ö",
        "40",
        "41/none,",
        "42/none,[\"x\"]",
        "43999[]",
    ] {
        let mut socket = market.chat.visitor().await;
        socket.send(packet).await;
        socket.close().await;
    }
    let mut huge = market.chat.visitor().await;
    // The server may hang up before it has read it all.
    _ = huge.try_send(&format!("42[\"sendMessage\",\"{}\"]", "x".repeat(1_100_000))).await;
    assert_eq!(huge.packet().await, None, "a packet over the limit closes the connection");
    let mut bobs = market.chat.connect(&market.bobs).await;
    market.assert_nothing_else_comes(&mut bobs).await;
}

#[tokio::test]
async fn a_flood_is_dropped_with_a_word_and_the_rest_goes_on() {
    let market = Market::with(&[("RATE_LIMITS", "on")]).await;
    let mut ann = market.chat.connect(&market.ann).await;
    let mut refused = 0;
    for i in 0..100 {
        let answer = ann.ask("sendMessage", &market.said(&format!("{i}"))).await;
        refused += i32::from(answer["success"] == false);
    }
    assert!(refused > 0, "nothing was dropped");
    let stored = i32::try_from(market.texts().await.len()).unwrap();
    assert_eq!(stored + refused, 100);
    assert!(stored >= 60);
}

#[tokio::test]
async fn the_client_on_this_machine_may_announce_itself_without_a_cookie() {
    let market = Market::with(&[("AUTH_MODE", "auto")]).await;
    let mut bobs = market.chat.visitor().await;
    bobs.emit("addUser", &json!(market.bobs.id.hex())).await;
    bobs.online(&[market.bobs.id.hex()]).await;
    // After a reconnect the client sends without announcing itself again.
    let mut ann = market.chat.visitor().await;
    assert_eq!(ann.ask("sendMessage", &market.said("hello")).await["success"], true);
    assert_eq!(bobs.next("getMessage").await["text"], "hello");

    // Not through a proxy, not under a foreign name, not with a credential for somebody else.
    let eve = market.app.buyer("eve").await;
    let cookie = eve.cookie_header().unwrap();
    for header in [("x-forwarded-for", "203.0.113.9"), ("host", "evil.example"), ("cookie", cookie.as_str())]
    {
        let mut other = market.chat.connect_with(&[header], None).await;
        assert_eq!(other.ask("sendMessage", &market.said("x")).await["success"], false, "{header:?}");
    }
    let nobody =
        json!({ "senderId": Id::<()>::new().hex(), "receiverId": market.bobs.id.hex(), "text": "x" });
    let mut none = market.chat.visitor().await;
    assert_eq!(none.ask("sendMessage", &nobody).await["success"], false);
}

#[tokio::test]
async fn a_message_stored_in_the_database_by_anybody_is_delivered() {
    // Another node, or the old server during a move.
    let market = Market::open().await;
    let mut bobs = market.chat.connect(&market.bobs).await;
    let foreign = doc! { "conversationId": &market.conversation, "sender": market.ann.id.hex(), "text": "from elsewhere" };
    market.app.db.raw::<Document>("messages").insert_one(foreign).await.unwrap();
    assert_eq!(bobs.next("getMessage").await["text"], "from elsewhere");
    // But what names no member as its sender is nobody's word.
    let forged =
        doc! { "conversationId": &market.conversation, "sender": Id::<()>::new().hex(), "text": "forged" };
    market.app.db.raw::<Document>("messages").insert_one(forged).await.unwrap();
    market.assert_nothing_else_comes(&mut bobs).await;
}

#[tokio::test]
async fn two_nodes_deliver_to_each_others_sockets() {
    let market = Market::open().await;
    let other = market.app.chat().await;
    let mut bobs = other.connect(&market.bobs).await;
    let mut ann = market.chat.connect(&market.ann).await;
    ann.emit("sendMessage", &market.said("over there")).await;
    assert_eq!(bobs.next("getMessage").await["text"], "over there");
    market.assert_nothing_else_comes(&mut bobs).await;
}

#[tokio::test]
async fn a_stop_closes_the_sockets_and_stores_what_was_sent() {
    let market = Market::open().await;
    let mut ann = market.chat.connect(&market.ann).await;
    for i in 0..10 {
        ann.emit("sendMessage", &market.said(&format!("{i}"))).await;
    }
    // The last one has been handled before the stop.
    ann.ask("sendMessage", &Value::Null).await;
    let Market { app, chat, ann: buyer, bobs, conversation } = market;
    chat.stop().await;
    while ann.packet().await.is_some() {}
    let chat = app.chat().await;
    let market = Market { app, chat, ann: buyer, bobs, conversation };
    assert_eq!(market.texts().await.len(), 10);
    let mut bobs = market.chat.connect(&market.bobs).await;
    market.assert_nothing_else_comes(&mut bobs).await;
}

#[tokio::test]
async fn polling_works_across_origins_for_listed_pages() {
    let market = Market::open().await;
    let client = reqwest::Client::new();
    let url = format!("http://{}/socket.io/?EIO=4&transport=polling", market.chat.address);
    let opened = client.get(&url).header("origin", "http://localhost:5173").send().await.unwrap();
    assert_eq!(opened.headers()["access-control-allow-origin"], "http://localhost:5173");
    assert_eq!(opened.headers()["access-control-allow-credentials"], "true");
    let text = opened.text().await.unwrap();
    let opened: Value = serde_json::from_str(text.strip_prefix('0').unwrap()).unwrap();
    assert_eq!((&opened["pingInterval"], &opened["maxPayload"]), (&json!(25_000), &json!(1_000_000)));
    let foreign = client.get(&url).header("origin", "http://evil.example").send().await.unwrap();
    assert!(!foreign.headers().contains_key("access-control-allow-origin"));
}
