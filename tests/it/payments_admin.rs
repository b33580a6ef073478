//! What only an administrator can settle: payments that nobody uses, and PayPal payers' claims.

use bson::doc;
use futures_util::future::join_all;
use serde_json::{Value, json};
use shared::{
    clock::plus,
    id::Id,
    model::{Attention, Outbox, OutboxJob, Payment},
    money::Money,
};
use tests::{Browser, Buyer, Seller, TestApp, people::in_cash};

const LIST: &str = "/api/payment/needing-attention";
const DAY: i64 = 24 * 60 * 60 * 1000;

/// A card payment that was made, by the gateway's word: its id.
async fn paid(buyer: &Buyer, minor: i64) -> String {
    let begun = buyer.post("/api/stripe/process").json(&json!({ "amount": minor })).await.expect(200);
    begun["id"].as_str().unwrap().to_owned()
}

/// A payment as its gateway's webhook has told of it, needing attention.
async fn heard_of(app: &TestApp, id: &str, minor: i64, why: Attention) {
    let payment = Payment {
        currency: Some("USD".to_owned()),
        paid_at: Some(app.clock.now()),
        attention: Some(why),
        ..Payment::new(id.to_owned(), "stripe".to_owned(), Money::from_minor(minor), app.clock.now())
    };
    app.db.of::<Payment>().insert_one(payment).await.unwrap();
}

pub(crate) async fn unclaimed(app: &TestApp, buyer: &Buyer, minor: i64) -> String {
    let id = paid(buyer, minor).await;
    heard_of(app, &id, minor, Attention::Unclaimed).await;
    id
}

pub(crate) async fn settle(admin: &Buyer, id: &str, decision: &str) -> tests::Answer {
    let body = json!({ "decision": decision, "note": " seen " });
    admin.put(&format!("/api/payment/settle/{id}")).json(&body).await
}

async fn record(app: &TestApp, id: &str) -> Payment {
    app.db.of::<Payment>().find_one(doc! { "_id": id }).await.unwrap().unwrap()
}

/// A checkout that its buyer says to have paid by PayPal; its orders.
async fn claim(buyer: &Buyer, cart: &[(&Value, i64)], total: f64) -> Vec<Value> {
    let mut body = in_cash(cart);
    body["totalPrice"] = json!(total);
    body["paymentInfo"] = json!({ "type": "Paypal", "id": "QYR5Z8XDVJNXQ", "status": "succeeded" });
    let placed = buyer.post("/api/order/create-order").json(&body).await.expect(201);
    placed["orders"].as_array().unwrap().clone()
}

async fn shops(app: &TestApp) -> (Seller, Seller, Value, Value) {
    let (bob, eve) = tokio::join!(app.seller("bob"), app.seller("eve"));
    let (cup, pot) = tokio::join!(bob.product("cup", "10", 50), eve.product("pot", "20", 50));
    (bob, eve, cup, pot)
}

fn ids(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|one| one["_id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn administrators_alone_see_and_settle_what_needs_attention() {
    let app = TestApp::start().await;
    let (ann, bob) = tokio::join!(app.buyer("ann"), app.seller("bob"));
    let id = unclaimed(&app, &ann, 1000).await;
    let path = format!("/api/payment/settle/{id}");
    let body = json!({ "decision": "return" });
    app.browser().get(LIST).await.refused(401, "unauthenticated");
    app.browser().put(&path).json(&body).await.refused(401, "unauthenticated");
    for stranger in [&ann.browser, &bob.browser] {
        stranger.get(LIST).await.refused(403, "admins_only");
        stranger.put(&path).json(&body).await.refused(403, "admins_only");
    }
    assert!(record(&app, &id).await.settled_by.is_none());
}

#[tokio::test]
async fn money_that_nobody_claims_goes_back_once_however_often_it_is_decided() {
    let app = TestApp::start().await;
    let (ann, root, eva) = tokio::join!(app.buyer("ann"), app.admin("root"), app.admin("eva"));
    let id = unclaimed(&app, &ann, 1100).await;
    let listed = root.get(LIST).await.expect(200);
    assert_eq!(ids(&listed["payments"]), [&id]);
    assert_eq!(listed["payments"][0]["why"], "unclaimed");
    assert_eq!(listed["payments"][0]["returnable"], true);
    let node = app.another_node().await;
    let elsewhere = Browser::new(&node.base);
    let body = json!({ "decision": "return", "note": "paid twice" });
    let path = format!("/api/payment/settle/{id}");
    let calls = (0..10).map(|n| match n % 2 {
        0 => root.put(&path).json(&body).into_future(),
        _ => elsewhere.put(&path).bearer(&eva.token).json(&body).into_future(),
    });
    for answer in join_all(calls).await {
        let answer = answer.expect(200);
        assert_eq!(answer["payment"]["decision"], "return");
        assert_eq!(answer["payment"]["returned"], json!(11));
    }
    app.await_returned(&id, 1100).await;
    assert_eq!(record(&app, &id).await.returns.len(), 1);
    assert_eq!(root.get(LIST).await.expect(200)["payments"], json!([]));
    settle(&root, &id, "keep").await.refused(409, "already_settled");
    // No order can be paid with it any more.
    let bob = app.seller("bob").await;
    let cup = bob.product("cup", "10", 5).await;
    let mut order = in_cash(&[(&cup, 1)]);
    order["totalPrice"] = json!(11);
    order["paymentInfo"] = json!({ "type": "Credit Card", "id": id });
    ann.post("/api/order/create-order").json(&order).await.refused(409, "payment_not_verified");
    app.assert_books_balance().await;
}

#[tokio::test]
async fn of_return_and_keep_and_a_checkout_at_once_one_wins() {
    let app = TestApp::start().await;
    let (ann, root, bob) = tokio::join!(app.buyer("ann"), app.admin("root"), app.seller("bob"));
    let cup = bob.product("cup", "10", 100).await;
    for round in 0..6 {
        let id = unclaimed(&app, &ann, 1100).await;
        app.clock.advance(60_000);
        let mut order = in_cash(&[(&cup, 1)]);
        order["totalPrice"] = json!(11);
        order["paymentInfo"] = json!({ "type": "Credit Card", "id": id });
        let (returned, kept, ordered) = tokio::join!(
            settle(&root, &id, "return"),
            settle(&root, &id, "keep"),
            ann.post("/api/order/create-order").json(&order).into_future(),
        );
        let payment = record(&app, &id).await;
        assert!(returned.status != 200 || kept.status != 200, "{round}: both were decided");
        if ordered.status == 201 {
            assert_ne!(returned.status, 200, "{round}: it was used and returned");
            assert_eq!((payment.returns.len(), payment.orders.len()), (0, 1));
        } else {
            // It is used up, or has been returned already.
            assert_eq!(ordered.status, 409, "{}", ordered.text());
            assert_eq!(returned.status, 200, "{round}: nobody used it");
            assert_eq!((payment.returns.len(), payment.orders.len()), (1, 0));
            app.await_returned(&id, 1100).await;
        }
        app.assert_books_balance().await;
    }
}

#[tokio::test]
async fn what_has_paid_for_an_order_can_only_be_taken_note_of() {
    let app = TestApp::start().await;
    let (ann, root, bob) = tokio::join!(app.buyer("ann"), app.admin("root"), app.seller("bob"));
    let cup = bob.product("cup", "10", 100).await;
    let id = paid(&ann, 1100).await;
    let mut order = in_cash(&[(&cup, 1)]);
    order["totalPrice"] = json!(11);
    order["paymentInfo"] = json!({ "type": "Credit Card", "id": id });
    let placed = ann.post("/api/order/create-order").json(&order).await.expect(201);
    settle(&root, &id, "return").await.refused(409, "nothing_to_decide");
    let why = doc! { "$set": { "attention": "returned_elsewhere" } };
    app.db.of::<Payment>().update_one(doc! { "_id": &id }, why).await.unwrap();
    let listed = root.get(LIST).await.expect(200);
    assert_eq!(listed["payments"][0]["orders"][0], placed["orders"][0]["_id"]);
    assert_eq!(listed["payments"][0]["returnable"], false);
    settle(&root, &id, "return").await.refused(409, "payment_used");
    for _ in 0..2 {
        let kept = settle(&root, &id, "keep").await.expect(200);
        assert_eq!(kept["payment"]["settledBy"], json!(root.id.hex()));
        assert_eq!(kept["payment"]["note"], "seen");
    }
    assert_eq!(root.get(LIST).await.expect(200)["payments"], json!([]));
    app.assert_books_balance().await;
}

#[tokio::test]
async fn decisions_without_sense_change_nothing() {
    let app = TestApp::start().await;
    let (ann, root) = tokio::join!(app.buyer("ann"), app.admin("root"));
    let id = unclaimed(&app, &ann, 1000).await;
    let path = format!("/api/payment/settle/{id}");
    for bad in [json!({}), json!({ "decision": "refund" }), json!({ "decision": "" })] {
        root.put(&path).json(&bad).await.refused(400, "invalid_input");
    }
    for note in ["a\nb", &"x".repeat(501)] {
        let bad = json!({ "decision": "keep", "note": note });
        root.put(&path).json(&bad).await.refused(400, "invalid_input");
    }
    settle(&root, "pi_nothing", "keep").await.refused(404, "payment_not_found");
    for cursor in ["x", "payment.1", "claim.a.b"] {
        root.get(&format!("{LIST}?cursor={cursor}")).await.refused(400, "invalid_input");
    }
    root.get(&format!("{LIST}?limit=0")).await.refused(400, "invalid_input");
    let payment = record(&app, &id).await;
    assert_eq!((payment.settled_by, payment.returns.len()), (None, 0));
}

#[tokio::test]
async fn claims_are_listed_by_checkout_once_they_are_old_and_as_long_as_they_are_open() {
    let app = TestApp::start().await;
    let (ann, root) = tokio::join!(app.buyer("ann"), app.admin("root"));
    let (bob, eve, cup, pot) = shops(&app).await;
    let orders = claim(&ann, &[(&cup, 1), (&pot, 1)], 33.0).await;
    assert_eq!(root.get(LIST).await.expect(200)["claims"], json!([]));
    app.clock.advance(DAY + 1000);
    let listed = root.get(LIST).await.expect(200);
    let found = &listed["claims"][0];
    assert_eq!(found["payer"], "QYR5Z8XDVJNXQ");
    assert_eq!(found["total"], json!(33));
    assert_eq!(found["placedAt"], orders[0]["createdAt"]);
    let mut names: Vec<&str> =
        found["orders"].as_array().unwrap().iter().map(|o| o["shop"]["name"].as_str().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, ["bob", "eve"]);
    // One that is called off stays part of what was paid for.
    let of = |seller: &Seller| {
        let own = orders.iter().find(|order| order["shopId"] == json!(seller.id.hex())).unwrap();
        own["_id"].as_str().unwrap().to_owned()
    };
    bob.put(&format!("/api/order/cancel-order/{}", of(&bob))).await.expect(200);
    let listed = root.get(LIST).await.expect(200);
    assert_eq!(
        (listed["claims"][0]["total"].clone(), listed["claims"].as_array().unwrap().len()),
        (json!(33), 1)
    );
    eve.put(&format!("/api/order/cancel-order/{}", of(&eve))).await.expect(200);
    assert_eq!(root.get(LIST).await.expect(200)["claims"], json!([]));
    app.assert_books_balance().await;
}

#[tokio::test]
async fn with_no_time_to_verify_claims_are_listed_at_once() {
    let app = TestApp::with(&[("PAYMENT_VERIFY_TTL", "0")]).await;
    let (ann, root) = tokio::join!(app.buyer("ann"), app.admin("root"));
    let (_, _, cup, _) = shops(&app).await;
    claim(&ann, &[(&cup, 1)], 11.0).await;
    assert_eq!(root.get(LIST).await.expect(200)["claims"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn page_by_page_everything_is_seen_once() {
    let app = TestApp::with(&[("PAYMENT_VERIFY_TTL", "0")]).await;
    let (ann, root) = tokio::join!(app.buyer("ann"), app.admin("root"));
    let (_, _, cup, _) = shops(&app).await;
    for n in 0..5 {
        // Some in the same moment.
        app.clock.advance(n % 2 * 60_000);
        heard_of(&app, &format!("pi_{n}"), 100, Attention::ReturnFailed).await;
        claim(&ann, &[(&cup, n + 1)], 11.0 * f64::from(i32::try_from(n).unwrap() + 1)).await;
    }
    let all = root.get(LIST).await.expect(200);
    assert_eq!(all.get("nextCursor"), None);
    for limit in [1, 2, 3, 5, 9, 10] {
        let (mut payments, mut claims, mut cursor) = (Vec::new(), Vec::new(), String::new());
        for page in 0.. {
            assert!(page <= 10 / limit + 1, "no end");
            let path = format!("{LIST}?limit={limit}{cursor}");
            let listed = root.get(&path).await.expect(200);
            let of = |list: &Value| list.as_array().unwrap().clone();
            assert!(of(&listed["payments"]).len() + of(&listed["claims"]).len() <= limit);
            payments.extend(of(&listed["payments"]));
            claims.extend(of(&listed["claims"]));
            match listed["nextCursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        assert_eq!((json!(payments), json!(claims)), (all["payments"].clone(), all["claims"].clone()));
    }
}

#[tokio::test]
async fn refunds_that_were_given_up_are_counted() {
    let app = TestApp::start().await;
    let root = app.admin("root").await;
    for (dead, minor) in [(true, 1), (true, 2), (false, 3)] {
        let job = OutboxJob::Refund {
            payment_id: "pi".to_owned(),
            minor,
            idempotency_key: format!("refund:{minor}"),
        };
        let (now, id) = (app.clock.now(), Id::new());
        let due_at = plus(now, DAY);
        let job = Outbox {
            id,
            job,
            due_at,
            attempts: 12,
            last_error: None,
            dead,
            created_at: now,
            request: None,
            trace: None,
        };
        app.db.of::<Outbox>().insert_one(job).await.unwrap();
    }
    let given_up = root.get(LIST).await.expect(200)["refundsGivenUp"].clone();
    assert_eq!(given_up, json!({ "count": 2, "command": "souk outbox" }));
}

#[tokio::test]
async fn a_refund_that_fails_after_it_was_decided_needs_attention_again() {
    let app = TestApp::start().await;
    let (ann, root) = tokio::join!(app.buyer("ann"), app.admin("root"));
    let id = unclaimed(&app, &ann, 1000).await;
    settle(&root, &id, "return").await.expect(200);
    app.await_returned(&id, 1000).await;
    let why = doc! { "$set": { "attention": "return_failed" } };
    app.db.of::<Payment>().update_one(doc! { "_id": &id }, why).await.unwrap();
    let listed = root.get(LIST).await.expect(200);
    assert_eq!(listed["payments"][0]["why"], "return_failed");
    settle(&root, &id, "return").await.refused(409, "payment_returned");
    settle(&root, &id, "keep").await.expect(200);
    assert_eq!(root.get(LIST).await.expect(200)["payments"], json!([]));
}

async fn verify(admin: &Buyer, order: &Value, capture: &str) -> tests::Answer {
    let path = format!("/api/payment/verify-claim/{}", order["checkoutId"].as_str().unwrap());
    admin.put(&path).json(&json!({ "capture": capture })).await
}

#[tokio::test]
async fn on_an_administrators_word_a_claim_counts_as_paid_and_its_shops_are_credited_once() {
    let app = TestApp::start().await;
    let (ann, root, eva) = tokio::join!(app.buyer("ann"), app.admin("root"), app.admin("eva"));
    let (bob, eve, cup, pot) = shops(&app).await;
    let orders = claim(&ann, &[(&cup, 1), (&pot, 1)], 33.0).await;
    for (seller, order) in [(&bob, "bob"), (&eve, "eve")] {
        let own = orders.iter().find(|one| one["shopId"] == json!(seller.id.hex())).unwrap();
        if order == "bob" {
            seller.set_status(own["_id"].as_str().unwrap(), "Delivered").await;
        } else {
            seller
                .put(&format!("/api/order/cancel-order/{}", own["_id"].as_str().unwrap()))
                .await
                .expect(200);
        }
    }
    assert_eq!(app.balance(&bob).await, 0);
    let node = app.another_node().await;
    let elsewhere = Browser::new(&node.base);
    let path = format!("/api/payment/verify-claim/{}", orders[0]["checkoutId"].as_str().unwrap());
    let body = json!({ "capture": "3C679366HH908993F" });
    let calls = (0..8).map(|n| match n % 2 {
        0 => root.put(&path).json(&body).into_future(),
        _ => elsewhere.put(&path).bearer(&eva.token).json(&body).into_future(),
    });
    for answer in join_all(calls).await {
        assert_eq!(answer.expect(200)["payment"]["_id"], "3C679366HH908993F");
    }
    assert_eq!(app.balance(&bob).await, 990);
    let payment = record(&app, "3C679366HH908993F").await;
    assert!([root.id.hex(), eva.id.hex()].contains(payment.settled_by.as_ref().unwrap()));
    // What was called off while nobody knew of the money goes back.
    assert_eq!(payment.returns.iter().map(|asked| asked.minor).collect::<Vec<_>>(), [2200]);
    verify(&root, &orders[0], "ANOTHER").await.refused(409, "already_verified");
    let log = app.db.raw::<bson::Document>("auditlog");
    assert_eq!(log.count_documents(doc! { "action": "verify_claim" }).await.unwrap(), 1);
    app.clock.advance(2 * DAY);
    assert_eq!(root.get(LIST).await.expect(200)["claims"], json!([]));
    app.assert_books_balance().await;
}

#[tokio::test]
async fn a_payment_verifies_one_checkout() {
    let app = TestApp::start().await;
    let (ann, root) = tokio::join!(app.buyer("ann"), app.admin("root"));
    let (_, _, cup, pot) = shops(&app).await;
    let first = claim(&ann, &[(&cup, 1)], 11.0).await.remove(0);
    let second = claim(&ann, &[(&cup, 2)], 22.0).await.remove(0);
    let third = claim(&ann, &[(&pot, 1)], 22.0).await.remove(0);
    // Two at once name the same payment for different checkouts.
    let (one, other) = tokio::join!(verify(&root, &second, "CAPTURE1"), verify(&root, &third, "CAPTURE1"));
    let (won, lost) = if one.status == 200 { (one, other) } else { (other, one) };
    won.expect(200);
    lost.refused(409, "payment_used");
    verify(&root, &first, "CAPTURE1").await.refused(409, "payment_used");
    app.assert_books_balance().await;
}

#[tokio::test]
async fn only_administrators_verify_and_only_what_claims_to_be_paid() {
    let app = TestApp::start().await;
    let (ann, root) = tokio::join!(app.buyer("ann"), app.admin("root"));
    let (bob, _, cup, _) = shops(&app).await;
    let order = claim(&ann, &[(&cup, 1)], 11.0).await.remove(0);
    let path = format!("/api/payment/verify-claim/{}", order["checkoutId"].as_str().unwrap());
    let body = json!({ "capture": "CAPTURE1" });
    app.browser().put(&path).json(&body).await.refused(401, "unauthenticated");
    for stranger in [&ann.browser, &bob.browser] {
        stranger.put(&path).json(&body).await.refused(403, "admins_only");
    }
    for bad in
        [json!({}), json!({ "capture": "" }), json!({ "capture": "a b" }), json!({ "capture": "../x" })]
    {
        root.put(&path).json(&bad).await.refused(400, "invalid_input");
    }
    let in_cash = ann.order(&[(&cup, 2)]).await.remove(0);
    verify(&root, &in_cash, "CAPTURE1").await.refused(404, "claim_not_found");
    let nothing = format!("/api/payment/verify-claim/{}", Id::<()>::new());
    root.put(&nothing).json(&body).await.refused(404, "claim_not_found");
    assert_eq!(app.db.of::<Payment>().count_documents(doc! {}).await.unwrap(), 0);
}

#[tokio::test]
async fn what_paypal_knows_of_a_payment_has_to_fit() {
    let app = TestApp::start().await;
    let (ann, root) = tokio::join!(app.buyer("ann"), app.admin("root"));
    let (bob, _, cup, _) = shops(&app).await;
    let order = claim(&ann, &[(&cup, 1)], 11.0).await.remove(0);
    bob.set_status(order["_id"].as_str().unwrap(), "Delivered").await;
    let pay = async |amount: &str| {
        let paid = json!({ "pay": amount, "payer": "SOMEBODYELSE" });
        let told = root.post("/api/sandbox/paypal").json(&paid).await.expect(200);
        told["payment"].as_str().unwrap().to_owned()
    };
    verify(&root, &order, &pay("11.01").await).await.refused(409, "payment_does_not_fit");
    let returned = pay("11.00").await;
    let back = json!({ "payment": returned, "then": "refund" });
    root.post("/api/sandbox/paypal").json(&back).await.expect(200);
    verify(&root, &order, &returned).await.refused(409, "payment_not_succeeded");
    assert_eq!(app.balance(&bob).await, 0);
    let capture = pay("11.00").await;
    // As somebody may type it: still the payment that PayPal knows, and none that counts on their word.
    let verified = verify(&root, &order, &capture.to_lowercase()).await.expect(200);
    assert_eq!(verified["payment"]["_id"], json!(capture));
    assert_eq!(verified["payment"]["payer"], "SOMEBODYELSE");
    assert_eq!(verified["payment"]["settledBy"], json!(root.id.hex()));
    assert_eq!(app.balance(&bob).await, 990);
    app.assert_books_balance().await;
}
