//! Conversations: one for each shopper and shop, seen by the two alone.

use bson::{Document, doc};
use serde_json::{Value, json};
use shared::id::Id;
use tests::{Browser, Buyer, Seller, TestApp};

const OPEN: &str = "/api/conversation/create-new-conversation";

fn body(buyer: &Buyer, seller: &Seller) -> Value {
    json!({
        "groupTitle": format!("{}{}", seller.id, buyer.id),
        "userId": buyer.id.hex(),
        "sellerId": seller.id.hex(),
    })
}

async fn list(browser: &Browser, kind: &str, id: impl std::fmt::Display) -> Vec<Value> {
    let path = format!("/api/conversation/get-all-conversation-{kind}/{id}");
    browser.get(&path).await.expect(201)["conversations"].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_conversation_is_opened_once_and_found_again_from_either_side() {
    let app = TestApp::start().await;
    let (ann, bobs) = (app.buyer("ann").await, app.seller("bobs").await);

    let new = ann.post(OPEN).json(&body(&ann, &bobs)).await.expect(201)["conversation"].clone();
    assert_eq!(new["members"], json!([ann.id.hex(), bobs.id.hex()]));
    assert_eq!(new["groupTitle"], format!("{}{}", bobs.id, ann.id));
    assert_eq!(new["lastMessageId"], Value::Null);
    assert!(new.as_object().unwrap().contains_key("lastMessageId"), "absence would be shown as undefined");

    for browser in [&ann.browser, &bobs.browser] {
        let again = browser.post(OPEN).json(&body(&ann, &bobs)).await.expect(200);
        assert_eq!((again["message"].as_str(), &again["conversation"]["_id"]), (Some("Chat"), &new["_id"]));
    }
    let mut listed = new;
    listed["unreadCount"] = 0.into();
    assert_eq!(list(&ann, "user", ann.id).await, std::slice::from_ref(&listed));
    assert_eq!(list(&bobs, "seller", bobs.id).await, [listed]);
}

#[tokio::test]
async fn only_the_two_may_open_it_and_both_must_exist() {
    let app = TestApp::start().await;
    let (ann, eve) = (app.buyer("ann").await, app.buyer("eve").await);
    let (bobs, other) = (app.seller("bobs").await, app.seller("other").await);
    let wanted = body(&ann, &bobs);

    app.browser().post(OPEN).json(&wanted).await.refused(401, "unauthenticated");
    eve.post(OPEN).json(&wanted).await.refused(403, "not_yours");
    other.post(OPEN).json(&wanted).await.refused(403, "not_yours");

    let mut nobody = wanted.clone();
    nobody["sellerId"] = Id::<()>::new().hex().into();
    ann.post(OPEN).json(&nobody).await.refused(404, "shop_not_found");
    let mut nobody = wanted.clone();
    nobody["userId"] = Id::<()>::new().hex().into();
    bobs.post(OPEN).json(&nobody).await.refused(404, "user_not_found");

    for (field, junk) in [
        ("userId", json!("undefined")),
        ("userId", json!(null)),
        ("sellerId", json!("")),
        ("sellerId", json!({ "$gt": "" })),
        ("userId", json!(["a"])),
    ] {
        let mut bad = wanted.clone();
        bad[field] = junk;
        ann.post(OPEN).json(&bad).await.expect(400);
    }
    ann.post(OPEN).await.expect(400);
    assert_eq!(app.db.raw::<Document>("conversations").count_documents(doc! {}).await.unwrap(), 0);
}

#[tokio::test]
async fn an_object_as_group_title_finds_nobodys_conversation() {
    let app = TestApp::start().await;
    let (ann, eve, bobs) = (app.buyer("ann").await, app.buyer("eve").await, app.seller("bobs").await);
    let anns = ann.post(OPEN).json(&body(&ann, &bobs)).await.expect(201);
    let mut trick = body(&eve, &bobs);
    trick["groupTitle"] = json!({ "$gt": "" });
    let eves = eve.post(OPEN).json(&trick).await.expect(201);
    assert_ne!(anns["conversation"]["_id"], eves["conversation"]["_id"]);
}

#[tokio::test]
async fn many_calls_at_once_open_one_conversation() {
    let app = TestApp::start().await;
    let (ann, bobs) = (app.buyer("ann").await, app.seller("bobs").await);
    let wanted = body(&ann, &bobs);
    let calls = (0..16).map(|i| {
        let browser = if i % 2 == 0 { &ann.browser } else { &bobs.browser };
        browser.post(OPEN).json(&wanted).into_future()
    });
    let answers = futures_util::future::join_all(calls).await;
    let new = answers.iter().filter(|answer| answer.status == 201).count();
    let ids: std::collections::BTreeSet<String> =
        answers.iter().map(|answer| answer.json()["conversation"]["_id"].to_string()).collect();
    assert_eq!((new, ids.len()), (1, 1));
    assert_eq!(list(&ann, "user", ann.id).await.len(), 1);
}

#[tokio::test]
async fn a_conversation_that_a_stranger_made_under_our_name_is_not_ours() {
    let app = TestApp::start().await;
    let (ann, eve, bobs) = (app.buyer("ann").await, app.buyer("eve").await, app.seller("bobs").await);
    // The old server let the first caller choose title and members.
    let title = format!("{}{}", bobs.id, ann.id);
    let hijacked = doc! { "groupTitle": title, "members": [eve.id.hex(), bobs.id.hex()] };
    app.db.raw::<Document>("conversations").insert_one(hijacked).await.unwrap();

    let opened = ann.post(OPEN).json(&body(&ann, &bobs)).await.expect(201);
    assert_eq!(opened["conversation"]["members"], json!([ann.id.hex(), bobs.id.hex()]));
    let again = ann.post(OPEN).json(&body(&ann, &bobs)).await.expect(200);
    assert_eq!(again["conversation"]["_id"], opened["conversation"]["_id"]);
}

#[tokio::test]
async fn a_conversation_of_the_old_server_is_found_by_its_members() {
    let app = TestApp::start().await;
    let (ann, bobs) = (app.buyer("ann").await, app.seller("bobs").await);
    let id = Id::<()>::new();
    let old = doc! {
        "_id": id.oid(),
        "groupTitle": format!("{}{}", Id::<()>::new(), ann.id),
        "members": [ann.id.hex(), bobs.id.hex()],
    };
    app.db.raw::<Document>("conversations").insert_one(old).await.unwrap();
    let found = ann.post(OPEN).json(&body(&ann, &bobs)).await.expect(200);
    assert_eq!(found["conversation"]["_id"], id.hex());
}

#[tokio::test]
async fn nobody_lists_the_conversations_of_others() {
    let app = TestApp::start().await;
    let (ann, eve) = (app.buyer("ann").await, app.buyer("eve").await);
    let (bobs, other) = (app.seller("bobs").await, app.seller("other").await);
    ann.post(OPEN).json(&body(&ann, &bobs)).await.expect(201);

    let of_ann = format!("/api/conversation/get-all-conversation-user/{}", ann.id);
    let of_bobs = format!("/api/conversation/get-all-conversation-seller/{}", bobs.id);
    for path in [&of_ann, &of_bobs] {
        app.browser().get(path).await.refused(401, "unauthenticated");
    }
    eve.get(&of_ann).await.refused(403, "not_yours");
    other.get(&of_bobs).await.refused(403, "not_yours");
    // A shop's session is no user's.
    bobs.get(&of_ann).await.refused(401, "unauthenticated");
    ann.get("/api/conversation/get-all-conversation-user/undefined").await.expect(403);
}

#[tokio::test]
async fn the_liveliest_conversation_comes_first_also_after_the_shop_answered() {
    let app = TestApp::start().await;
    let (ann, bobs, cats) = (app.buyer("ann").await, app.seller("bobs").await, app.seller("cats").await);
    let first = ann.post(OPEN).json(&body(&ann, &bobs)).await.expect(201)["conversation"]["_id"].clone();
    app.clock.advance(10);
    let second = ann.post(OPEN).json(&body(&ann, &cats)).await.expect(201)["conversation"]["_id"].clone();
    let order = |list: Vec<Value>| list.iter().map(|c| c["_id"].clone()).collect::<Vec<_>>();
    assert_eq!(order(list(&ann, "user", ann.id).await), [second.clone(), first.clone()]);

    // The seller's page never calls update-last-message: storing the answer has to do it.
    app.clock.advance(10);
    let answer = json!({ "conversationId": first, "sender": bobs.id.hex(), "text": "It is in stock" });
    bobs.post("/api/messages/create-new-message").json(&answer).await.expect(201);
    let listed = list(&ann, "user", ann.id).await;
    assert_eq!(listed[0]["lastMessage"], "It is in stock");
    assert_eq!(listed[0]["lastMessageId"], bobs.id.hex());
    assert_eq!(order(listed), [first, second]);
}

#[tokio::test]
async fn what_was_said_last_never_goes_backwards() {
    let app = TestApp::start().await;
    let (ann, bobs) = (app.buyer("ann").await, app.seller("bobs").await);
    let opened = ann.post(OPEN).json(&body(&ann, &bobs)).await.expect(201);
    let id = opened["conversation"]["_id"].as_str().unwrap().to_owned();
    let path = format!("/api/conversation/update-last-message/{id}");

    // Nothing was stored yet: the caller is believed about itself.
    let hint = json!({ "lastMessage": "Hello?", "lastMessageId": ann.id.hex() });
    let changed = ann.put(&path).json(&hint).await.expect(201)["conversation"].clone();
    assert_eq!(
        (&changed["lastMessage"], &changed["lastMessageId"]),
        (&hint["lastMessage"], &hint["lastMessageId"])
    );

    for (browser, sender, text) in
        [(&ann.browser, ann.id.hex(), "Is it bright?"), (&bobs.browser, bobs.id.hex(), "Very")]
    {
        let message = json!({ "conversationId": id, "sender": sender, "text": text });
        browser.post("/api/messages/create-new-message").json(&message).await.expect(201);
    }
    // The shopper's page says it after the shop's answer was stored.
    let late = json!({ "lastMessage": "Is it bright?", "lastMessageId": ann.id.hex() });
    let unchanged = ann.put(&path).json(&late).await.expect(201);
    assert_eq!(unchanged["conversation"]["lastMessage"], "Very");
    assert_eq!(unchanged["conversation"]["lastMessageId"], bobs.id.hex());
}

#[tokio::test]
async fn the_last_message_is_set_by_members_in_their_own_name_only() {
    let app = TestApp::start().await;
    let (ann, eve, bobs) = (app.buyer("ann").await, app.buyer("eve").await, app.seller("bobs").await);
    let opened = ann.post(OPEN).json(&body(&ann, &bobs)).await.expect(201);
    let id = opened["conversation"]["_id"].as_str().unwrap().to_owned();
    let path = format!("/api/conversation/update-last-message/{id}");
    let by = |id: String| json!({ "lastMessage": "x", "lastMessageId": id });

    app.browser().put(&path).json(&by(ann.id.hex())).await.refused(401, "unauthenticated");
    eve.put(&path).json(&by(ann.id.hex())).await.refused(403, "not_yours");
    eve.put(&path).json(&by(eve.id.hex())).await.refused(403, "not_a_member");
    bobs.put(&path).json(&by(ann.id.hex())).await.refused(403, "not_yours");
    let nowhere = format!("/api/conversation/update-last-message/{}", Id::<()>::new());
    ann.put(&nowhere).json(&by(ann.id.hex())).await.refused(404, "conversation_not_found");
    ann.put("/api/conversation/update-last-message/undefined").json(&by(ann.id.hex())).await.expect(400);
    for bad in [
        json!({}),
        json!({ "lastMessage": { "$gt": "" }, "lastMessageId": ann.id.hex() }),
        json!({ "lastMessage": "x".repeat(5001), "lastMessageId": ann.id.hex() }),
        json!({ "lastMessage": "x", "lastMessageId": "me" }),
    ] {
        ann.put(&path).json(&bad).await.expect(400);
    }
    assert_eq!(list(&ann, "user", ann.id).await[0]["lastMessageId"], Value::Null);
}
