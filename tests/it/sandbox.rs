//! The sandbox's own: who may tell it what, and how it calls the webhooks.

use std::time::Duration;

use bson::{Document, doc};
use futures_util::TryStreamExt as _;
use serde_json::{Value, json};
use shared::model::{Payment, WebhookEvent};
use tests::{Buyer, TestApp, people::in_cash};

async fn tell(root: &Buyer, gateway: &str, what: Value) -> Value {
    root.post(&format!("/api/sandbox/{gateway}")).json(&what).await.expect(200)
}

async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    let waiting = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waiting)
        .await
        .unwrap_or_else(|_| panic!("{what} never came"));
}

/// Waits until everything that is not held has been delivered.
async fn until_delivered(app: &TestApp) {
    let events = app.db.raw::<Document>("sandboxevents");
    let left = doc! { "held": false, "left": { "$gt": 0 } };
    until("a delivery", async || events.count_documents(left.clone()).await.unwrap() == 0).await;
}

/// The names of the events that were taken down, in the order in which they came.
async fn came(app: &TestApp) -> Vec<String> {
    let events = app.db.of::<WebhookEvent>();
    let in_order = events.find(doc! {}).sort(doc! { "receivedAt": 1 });
    let events: Vec<WebhookEvent> = in_order.await.unwrap().try_collect().await.unwrap();
    events.into_iter().map(|event| event.name).collect()
}

async fn begin(buyer: &Buyer, amount: i64) -> String {
    let begun = buyer.post("/api/stripe/process").json(&json!({ "amount": amount })).await.expect(200);
    begun["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn strangers_do_not_play_with_it_and_nobody_with_a_real_gateway() {
    let app =
        TestApp::with(&[("STRIPE_SECRET_KEY", "sk_test_x"), ("STRIPE_API_BASE", "http://127.0.0.1:9")]).await;
    let (ann, bob, root) = tokio::join!(app.buyer("ann"), app.seller("bob"), app.admin("root"));
    let path = "/api/sandbox/paypal";
    let body = json!({ "next": { "outcome": "decline" } });
    app.browser().post(path).json(&body).await.refused(401, "unauthenticated");
    ann.post(path).json(&body).await.refused(403, "admins_only");
    bob.post(path).json(&body).await.refused(403, "admins_only");
    root.post(path).json(&body).await.expect(200);
    root.post("/api/sandbox/stripe").json(&body).await.refused(404, "no_sandbox");
    // On a developer's machine nobody has to log in.
    let open = TestApp::with(&[("AUTH_MODE", "auto")]).await;
    open.browser().post(path).bare().json(&body).await.expect(200);
    open.browser()
        .post(path)
        .bare()
        .header("X-Forwarded-For", "10.0.0.9")
        .json(&body)
        .await
        .refused(401, "unauthenticated");
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_and_changes_nothing() {
    let app = TestApp::start().await;
    let (ann, root) = tokio::join!(app.buyer("ann"), app.admin("root"));
    let payment = begin(&ann, 1100).await;
    let tell = |body: Value| root.post("/api/sandbox/stripe").json(&body);
    for (body, field) in [
        (json!({ "payment": payment }), "then"),
        (json!({ "then": "dispute" }), "then"),
        (json!({ "payer": "A1" }), "pay"),
        (json!({ "payer": "", "pay": "1" }), "payer"),
        (json!({ "pay": "1.234" }), "pay"),
        (json!({ "pay": "-1" }), "pay"),
        (json!({ "payment": payment, "then": "refund", "amount": "much" }), "amount"),
        (json!({ "next": { "delayMs": 600_001 } }), "next.delayMs"),
        (json!({ "webhooks": { "times": 0 } }), "webhooks.times"),
        (json!({ "webhooks": { "times": 11 } }), "webhooks.times"),
        (json!({ "webhooks": { "delayMs": 600_001 } }), "webhooks.delayMs"),
    ] {
        let refused = tell(body.clone()).await.refused(400, "invalid_input");
        assert_eq!(refused["errors"][0]["field"], field, "{body}");
    }
    for body in [json!({ "then": "explode" }), json!({ "next": { "delayMs": -1 } }), json!({ "webhooks": 1 })]
    {
        tell(body).await.refused(400, "malformed_json");
    }
    tell(json!({ "payment": "pi_nobodys", "then": "dispute" })).await.refused(404, "payment_not_found");
    tell(json!({ "payment": payment, "then": "win" })).await.refused(409, "payment_refused");
    tell(json!({ "payment": payment, "then": "refund", "amount": 12 })).await.refused(409, "payment_refused");
    tell(json!({})).await.expect(200);
}

#[tokio::test]
async fn webhooks_are_held_released_in_reverse_and_repeated_and_change_things_once() {
    let app = TestApp::start().await;
    let (ann, bob, root) = tokio::join!(app.buyer("ann"), app.seller("bob"), app.admin("root"));
    let cup = bob.product("cup", "10", 10).await;
    tell(&root, "stripe", json!({ "webhooks": { "hold": true } })).await;
    let payment = begin(&ann, 1100).await;
    let mut body = in_cash(&[(&cup, 1)]);
    body["totalPrice"] = json!(11);
    body["paymentInfo"] = json!({ "id": payment, "type": "Credit Card" });
    ann.post("/api/order/create-order").json(&body).await.expect(201);
    tell(&root, "stripe", json!({ "payment": payment, "then": "dispute" })).await;
    tell(&root, "stripe", json!({ "payment": payment, "then": "win" })).await;
    assert_eq!(came(&app).await, Vec::<String>::new());
    let released = json!({ "webhooks": { "order": "reversed", "times": 3, "delayMs": 60_000 } });
    tell(&root, "stripe", released).await;
    let told = app.db.raw::<Document>("sandboxevents");
    assert_eq!(told.count_documents(doc! { "held": false, "left": 3 }).await.unwrap(), 3);
    app.clock.advance(60_000);
    until_delivered(&app).await;
    let wanted = ["charge.dispute.closed", "charge.dispute.created", "payment_intent.succeeded"];
    assert_eq!(came(&app).await, wanted);
    let events = app.db.of::<WebhookEvent>();
    until("applying", async || events.count_documents(doc! { "applied": true }).await.unwrap() == 3).await;
    app.assert_books_balance().await;
}

#[tokio::test]
async fn what_could_not_be_delivered_is_delivered_after_a_restart() {
    let mut app = TestApp::start().await;
    let (ann, root) = tokio::join!(app.buyer("ann"), app.admin("root"));
    tell(&root, "stripe", json!({ "webhooks": { "delayMs": 60_000, "order": "shuffled" } })).await;
    let payment = begin(&ann, 1100).await;
    app.restart().await;
    assert_eq!(came(&app).await, Vec::<String>::new());
    app.clock.advance(60_000);
    until_delivered(&app).await;
    assert_eq!(came(&app).await, ["payment_intent.succeeded"]);
    let payments = app.db.of::<Payment>();
    let known = doc! { "_id": &payment };
    until("the payment", async || payments.find_one(known.clone()).await.unwrap().is_some()).await;
    let payment = payments.find_one(known).await.unwrap().unwrap();
    assert_eq!((payment.minor, payment.buyer), (1100, Some(ann.id.hex())));
}

#[tokio::test]
async fn only_what_the_sandbox_has_signed_and_lately_is_a_webhook_of_its() {
    let app = TestApp::start().await;
    let (ann, root) = tokio::join!(app.buyer("ann"), app.admin("root"));
    tell(&root, "stripe", json!({ "webhooks": { "hold": true } })).await;
    tell(&root, "paypal", json!({ "webhooks": { "hold": true } })).await;
    begin(&ann, 1100).await;
    tell(&root, "paypal", json!({ "payer": "SOMEBODY1", "pay": "12.34" })).await;
    let held = app.db.raw::<Document>("sandboxevents");
    for (gateway, headers) in [
        ("stripe", vec![]),
        ("stripe", vec![("stripe-signature", "t=1,v1=00")]),
        ("paypal", vec![]),
        (
            "paypal",
            vec![
                ("paypal-transmission-id", "1"),
                ("paypal-transmission-time", "2026-11-23T00:00:00Z"),
                ("paypal-transmission-sig", "00"),
            ],
        ),
    ] {
        let event = held.find_one(doc! { "gateway": gateway }).await.unwrap().unwrap();
        let mut call = app.browser().post(&format!("/api/{gateway}/webhook")).bare();
        for (name, value) in headers {
            call = call.header(name, value);
        }
        let body = event.get_str("body").unwrap().to_owned();
        call.body("application/json", body).await.refused(400, "invalid_signature");
    }
    assert_eq!(came(&app).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_payment_in_the_browser_proves_what_its_payer_has_claimed() {
    let app = TestApp::start().await;
    let (ann, bob, root) = tokio::join!(app.buyer("ann"), app.seller("bob"), app.admin("root"));
    let cup = bob.product("cup", "10", 10).await;
    let mut body = in_cash(&[(&cup, 1)]);
    body["totalPrice"] = json!(11);
    body["paymentInfo"] = json!({ "id": "SOMEBODY1", "status": "succeeded", "type": "Paypal" });
    let order = ann.post("/api/order/create-order").json(&body).await.expect(201)["orders"][0].clone();
    assert_eq!(order["paymentInfo"]["status"], "unverified");
    let paid = tell(&root, "paypal", json!({ "payer": "SOMEBODY1", "pay": "11" })).await;
    assert!(paid["payment"].as_str().unwrap().starts_with("CAPTURE-"), "{paid}");
    let path = format!("/api/order/get-order/{}", order["_id"].as_str().unwrap());
    until("the proof", async || {
        ann.get(&path).await.expect(200)["order"]["paymentInfo"]["status"] == "succeeded"
    })
    .await;
    app.assert_books_balance().await;
}
