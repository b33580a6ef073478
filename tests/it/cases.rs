//! Disputes between buyers and shops.

use bson::{Document, doc};
use futures_util::future::join_all;
use serde_json::{Value, json};
use shared::model::{Case, Withdrawal};
use tests::{Answer, Browser, Buyer, Form, Seller, TestApp, people::in_cash, stripe::Stripe};

use crate::{
    mail::outbox_is_empty,
    webhooks::{await_applied, pay, shown},
};

const OPEN: &str = "/api/dispute";

fn id(of: &Value) -> &str {
    of["_id"].as_str().unwrap()
}

/// What somebody opens a dispute with.
fn about(order: &Value, amount: &str) -> Value {
    json!({ "orderId": order["_id"], "reason": "damaged", "message": "It is <b>cracked</b>.", "amount": amount })
}

async fn opened(browser: &Browser, order: &Value, amount: &str) -> Value {
    browser.post(OPEN).json(&about(order, amount)).await.expect(201)["dispute"].clone()
}

async fn put(browser: &Browser, dispute: &Value, what: &str) -> Answer {
    browser.put(&format!("{OPEN}/{}/{what}", id(dispute))).json(&json!({})).await
}

async fn decide(root: &Buyer, dispute: &Value, decision: Value) -> Answer {
    root.put(&format!("{OPEN}/{}/decide", id(dispute))).json(&decision).await
}

async fn refund(buyer: &Buyer, order: &Value, wanted: Value) -> Answer {
    buyer.put(&format!("/api/order/refund-order/{}", id(order))).json(&wanted).await
}

async fn grant(seller: &Seller, order: &Value) -> Answer {
    let path = format!("/api/order/order-refund-success/{}", id(order));
    seller.put(&path).json(&json!({ "status": "Refund Success" })).await
}

/// An order by card, and its payment.
async fn by_card(stripe: &Stripe, ann: &Buyer, cart: &[(&Value, i64)]) -> (Value, String) {
    let mut body = in_cash(cart);
    let total =
        cart.iter().map(|(product, n)| product["discountPrice"].as_f64().unwrap() * 110.0 * *n as f64);
    let (intent, _) = pay(stripe, ann, total.sum::<f64>() as i64).await;
    body["paymentInfo"] = json!({ "id": intent, "type": "Credit Card" });
    let placed = ann.post("/api/order/create-order").json(&body).await.expect(201);
    (placed["orders"][0].clone(), intent)
}

/// An order in cash that was delivered.
async fn delivered(ann: &Buyer, bob: &Seller, cup: &Value, count: i64) -> Value {
    let order = ann.order(&[(cup, count)]).await.remove(0);
    bob.set_status(id(&order), "Delivered").await;
    order
}

#[tokio::test]
async fn a_dispute_is_told_heard_and_decided_and_its_money_is_on_hold_meanwhile() {
    let stripe = Stripe::start().await;
    let app = stripe.app(&[]).await;
    let (ann, bob, root) = tokio::join!(app.buyer("ann"), app.seller("bob"), app.admin("root"));
    let cup = bob.product("cup", "100", 10).await;
    let conversation = ann.talk_to(&bob).await;
    let say =
        |sender: &str, text: &str| json!({ "conversationId": conversation, "sender": sender, "text": text });
    let chat = "/api/messages/create-new-message";
    ann.post(chat).json(&say(&ann.id.hex(), "before the order")).await.expect(201);
    app.clock.advance(60_000);
    let (order, intent) = by_card(&stripe, &ann, &[(&cup, 1)]).await;
    bob.set_status(id(&order), "Delivered").await;
    app.clock.advance(60_000);
    ann.post(chat).json(&say(&ann.id.hex(), "It came broken.")).await.expect(201);
    bob.post(chat).json(&say(&bob.id.hex(), "It was whole.")).await.expect(201);
    assert_eq!(app.balance(&bob).await, 9_900);

    let form = Form::new().picture("images").picture("images").text("orderId", id(&order));
    let form =
        form.text("reason", "damaged").text("message", "It is <b>cracked</b>.").text("amount", "60.50");
    let dispute = ann.post(OPEN).form(form).await.expect(201)["dispute"].clone();
    assert_eq!(
        (&dispute["state"], &dispute["amount"], &dispute["held"]),
        (&json!("open"), &json!(60.5), &json!(99))
    );
    assert_eq!(dispute["messages"][0]["images"].as_array().unwrap().len(), 2);
    // What is on hold cannot be withdrawn.
    assert_eq!(app.balance(&bob).await, 0);
    let bank = json!({ "withdrawMethod": { "bankName": "B", "bankCountry": "PK", "bankSwiftCode": "S",
        "bankAccountNumber": "12345678", "bankHolderName": "Bob", "bankAddress": "A" } });
    bob.put("/api/shop/update-payment-methods").json(&bank).await.expect(201);
    let wanted = json!({ "amount": 60 });
    bob.post("/api/withDraw/create-withdraw-request")
        .json(&wanted)
        .await
        .refused(409, "insufficient_balance");
    app.assert_books_balance().await;
    let statement = bob.get("/api/shop/balance").await.expect(200);
    assert_eq!(statement["totals"]["disputed"], json!(99), "{statement}");

    let mail = app.mails().await_mail_about(&bob.email, "There is a dispute").await;
    assert!(mail.text().contains("&lt;b&gt;cracked") && mail.text().contains("60.50 USD"), "{}", mail.text());
    let said = json!({ "message": "It was whole when it left." });
    let path = format!("{OPEN}/{}/message", id(&dispute));
    let answer = bob.post(&path).json(&said).await.expect(201);
    assert_eq!(answer["dispute"]["messages"][1]["from"], "seller");
    let mail = app.mails().await_mail_about(&ann.email, "A message in your dispute").await;
    assert!(mail.text().contains("> It was whole when it left."), "{}", mail.text());
    ann.post(&path).form(Form::new().picture("images")).await.expect(201);

    // Each side sees it, and administrators see what was said in the chat since the order.
    let seen = bob.get(&format!("{OPEN}/{}", id(&dispute))).await.expect(200);
    assert_eq!(seen["dispute"]["messages"].as_array().unwrap().len(), 3);
    assert_eq!((&seen["order"]["status"], &seen["order"]["left"]), (&json!("Delivered"), &json!(110)));
    assert!(seen.get("chat").is_none());
    let evidence = root.get(&format!("/api/admin/dispute/{}", id(&dispute))).await.expect(200);
    let chat: Vec<(&str, &str)> = evidence["chat"]
        .as_array()
        .unwrap()
        .iter()
        .map(|said| (said["from"].as_str().unwrap(), said["text"].as_str().unwrap()))
        .collect();
    assert_eq!(chat, [("buyer", "It came broken."), ("seller", "It was whole.")]);
    assert_eq!(evidence["order"]["history"].as_array().unwrap().len(), 2);
    for (browser, list) in [(&ann.browser, "/user-disputes"), (&bob.browser, "/shop-disputes")] {
        let listed = browser.get(&format!("{OPEN}{list}?state=open&order={}", id(&order))).await.expect(200);
        assert_eq!((id(&listed["disputes"][0]), &listed["total"]), (id(&dispute), &json!(1)));
        let none = browser.get(&format!("{OPEN}{list}?state=refunded")).await.expect(200);
        assert_eq!(none["total"], 0);
    }

    // Meanwhile the order's refunds wait.
    refund(&ann, &order, json!({})).await.refused(409, "in_dispute");
    let decision = json!({ "decision": "refund", "amount": "44", "note": "Half is fair." });
    let decided = decide(&root, &dispute, decision.clone()).await.expect(200)["dispute"].clone();
    assert_eq!((&decided["state"], &decided["returned"]), (&json!("refunded"), &json!(44)));
    assert_eq!(decided["decidedBy"], json!(root.id.hex()));
    // Again it changes nothing; otherwise it is refused.
    assert_eq!(decide(&root, &dispute, decision).await.expect(200)["dispute"], decided);
    decide(&root, &dispute, json!({ "decision": "release" })).await.refused(409, "dispute_ended");
    put(&bob.browser, &dispute, "accept").await.refused(409, "dispute_ended");
    bob.post(&path).json(&said).await.refused(409, "dispute_ended");
    ann.post(OPEN).json(&about(&order, "1")).await.refused(409, "not_disputable");
    assert_eq!(stripe.await_refunds(&intent, 1).await[0]["amount"], 4_400);
    // Of the 44.00 that went back 4.40 were the fee.
    assert_eq!(app.balance(&bob).await, 9_900 - 3_960);
    let after = shown(&ann, &order).await;
    assert_eq!((&after["status"], &after["refundedTotal"]), (&json!("Delivered"), &json!(44)));
    let mail = app.mails().await_mail_about(&ann.email, "A dispute is decided").await;
    assert!(
        mail.text().contains("You get 44.00 USD back") && mail.text().contains("> Half is fair."),
        "{}",
        mail.text()
    );
    app.mails().await_mail_about(&bob.email, "A dispute is decided").await;
    let log = root.get("/api/admin/audit-log?action=decide_dispute").await.expect(200);
    assert_eq!(log["entries"].as_array().unwrap().len(), 1);
    app.assert_books_balance().await;

    // What is left can still be refunded by the piece, and no more than that.
    refund(&ann, &order, json!({})).await.expect(200);
    grant(&bob, &order).await.expect(200);
    assert_eq!(stripe.await_refunds(&intent, 2).await[1]["amount"], 6_600);
    assert_eq!((app.balance(&bob).await, app.shelf(&cup).await), (0, (10, 0, 0)));
    app.assert_books_balance().await;
}

#[tokio::test]
async fn the_two_can_settle_it_themselves() {
    let app = TestApp::start().await;
    let (ann, bob) = tokio::join!(app.buyer("ann"), app.seller("bob"));
    let cup = bob.product("cup", "10", 30).await;
    // The shop agrees to all that is left: the order is over, and its units are back.
    let order = delivered(&ann, &bob, &cup, 2).await;
    let all = json!({ "orderId": order["_id"], "reason": "wrong_item", "message": "These are plates." });
    let dispute = ann.post(OPEN).json(&all).await.expect(201)["dispute"].clone();
    assert_eq!(dispute["amount"], 22);
    put(&ann.browser, &dispute, "accept").await.refused(409, "not_your_part");
    put(&bob.browser, &dispute, "withdraw").await.refused(409, "not_your_part");
    for _ in 0..2 {
        assert_eq!(put(&bob.browser, &dispute, "accept").await.expect(200)["dispute"]["state"], "accepted");
    }
    assert_eq!(shown(&ann, &order).await["status"], "Refund Success");
    assert_eq!((app.balance(&bob).await, app.shelf(&cup).await), (0, (30, 0, 0)));
    ann.post(OPEN).json(&about(&order, "1")).await.refused(409, "not_disputable");
    app.assert_books_balance().await;
    // The buyer agrees to what the shop offers; a refund that waited is answered by that.
    let order = delivered(&ann, &bob, &cup, 3).await;
    refund(&ann, &order, json!({})).await.expect(200);
    let offer = opened(&bob, &order, "5").await;
    assert_eq!((app.balance(&bob).await, &offer["openedBy"]), (0, &json!("seller")));
    grant(&bob, &order).await.refused(409, "in_dispute");
    put(&ann.browser, &offer, "accept").await.expect(200);
    let after = shown(&ann, &order).await;
    assert_eq!((&after["status"], &after["refundedTotal"]), (&json!("Delivered"), &json!(5)));
    let states: Vec<_> =
        after["refunds"].as_array().unwrap().iter().map(|refund| refund["state"].clone()).collect();
    assert_eq!(states, ["refused", "granted"]);
    assert_eq!(app.balance(&bob).await, 2_970 - 450);
    app.assert_books_balance().await;
    // Whoever opened it takes it back, and the refund waits on. Then it can be opened again.
    let order = delivered(&ann, &bob, &cup, 1).await;
    refund(&ann, &order, json!({})).await.expect(200);
    for _ in 0..2 {
        let dispute = opened(&ann, &order, "11").await;
        for _ in 0..2 {
            put(&ann.browser, &dispute, "withdraw").await.expect(200);
        }
        assert_eq!(shown(&ann, &order).await["status"], "Refund Processing");
    }
    assert_eq!(app.balance(&bob).await, 2_520 + 990);
    let nothing = opened(&bob, &order, "0").await;
    put(&ann.browser, &nothing, "accept").await.expect(200);
    assert_eq!(shown(&ann, &order).await["status"], "Delivered");
    app.assert_books_balance().await;
    outbox_is_empty(&app).await;
    assert_eq!(app.mails().count_about(&ann.email, "A dispute was taken back"), 2);
    assert_eq!(app.mails().count_about(&bob.email, "A dispute is settled"), 3);
}

#[tokio::test]
async fn what_is_disputed_on_its_way_is_on_hold_once_it_is_delivered() {
    let stripe = Stripe::start().await;
    let app = stripe.app(&[]).await;
    let (ann, bob, root) = tokio::join!(app.buyer("ann"), app.seller("bob"), app.admin("root"));
    let cup = bob.product("cup", "100", 10).await;
    let (order, intent) = by_card(&stripe, &ann, &[(&cup, 1)]).await;
    ann.post(OPEN).json(&about(&order, "1")).await.refused(409, "not_disputable");
    bob.set_status(id(&order), "Shipping").await;
    let first = opened(&ann, &order, "10").await;
    assert_eq!(first["held"], Value::Null);
    put(&bob.browser, &first, "accept").await.expect(200);
    assert_eq!(stripe.await_refunds(&intent, 1).await[0]["amount"], 1_000);
    app.assert_books_balance().await;
    let second = opened(&ann, &order, "50").await;
    bob.set_status(id(&order), "Delivered").await;
    // 110.00, of which 11.00 are the fee, less 10.00, of which 1.00 was.
    let seen = ann.get(&format!("{OPEN}/{}", id(&second))).await.expect(200);
    assert_eq!((app.balance(&bob).await, &seen["dispute"]["held"]), (0, &json!(90)));
    app.assert_books_balance().await;
    decide(&root, &second, json!({ "decision": "release" })).await.expect(200);
    assert_eq!(app.balance(&bob).await, 9_000);
    app.assert_books_balance().await;
    // Lost before it came: all of it goes back, and nothing is ever credited.
    let (order, intent) = by_card(&stripe, &ann, &[(&cup, 2)]).await;
    bob.set_status(id(&order), "Shipping").await;
    let lost = opened(&ann, &order, "220").await;
    decide(&root, &lost, json!({ "decision": "refund" })).await.expect(200);
    assert_eq!(stripe.await_refunds(&intent, 1).await[0]["amount"], 22_000);
    let after = shown(&ann, &order).await;
    assert_eq!(
        (&after["status"], &after["paymentInfo"]["status"]),
        (&json!("Refund Success"), &json!("refunded"))
    );
    let status = json!({ "status": "Delivered" });
    bob.put(&format!("/api/order/update-order-status/{}", id(&order)))
        .json(&status)
        .await
        .refused(409, "wrong_status");
    assert_eq!((app.balance(&bob).await, app.shelf(&cup).await), (9_000, (9, 0, 1)));
    app.assert_books_balance().await;
}

#[tokio::test]
async fn a_bank_that_wants_the_payment_back_decides_instead() {
    let stripe = Stripe::start().await;
    let app = stripe.app(&[]).await;
    let (ann, bob, root) = tokio::join!(app.buyer("ann"), app.seller("bob"), app.admin("root"));
    let cup = bob.product("cup", "10", 10).await;
    let (order, intent) = by_card(&stripe, &ann, &[(&cup, 1)]).await;
    bob.set_status(id(&order), "Delivered").await;
    let dispute = opened(&ann, &order, "11").await;
    let bank = stripe.dispute(&intent, 1_100);
    stripe.deliver(&app, &bank).await.expect(200);
    await_applied(&app).await;
    let seen = ann.get(&format!("{OPEN}/{}", id(&dispute))).await.expect(200);
    assert_eq!((&seen["dispute"]["state"], app.balance(&bob).await), (&json!("bank"), 0));
    decide(&root, &dispute, json!({ "decision": "refund" })).await.refused(409, "dispute_ended");
    ann.post(OPEN).json(&about(&order, "1")).await.refused(409, "not_disputable");
    app.assert_books_balance().await;
    let won = stripe.dispute_becomes(bank["data"]["object"]["id"].as_str().unwrap(), "won");
    stripe.deliver(&app, &won).await.expect(200);
    await_applied(&app).await;
    assert_eq!(app.balance(&bob).await, 990);
    let again = opened(&ann, &order, "1").await;
    decide(&root, &again, json!({ "decision": "refund" })).await.expect(200);
    assert_eq!(app.balance(&bob).await, 900);
    app.assert_books_balance().await;
}

#[tokio::test]
async fn what_cannot_be_disputed_is_refused_in_words() {
    let app = TestApp::start().await;
    let (ann, bob) = tokio::join!(app.buyer("ann"), app.seller("bob"));
    let cup = bob.product("cup", "10", 30).await;
    let refused = async |order: &Value, words: &str| {
        let said = ann.post(OPEN).json(&about(order, "1")).await.refused(409, "not_disputable");
        assert!(said["message"].as_str().unwrap().contains(words), "{said}");
    };
    let placed = ann.order(&[(&cup, 1)]).await.remove(0);
    refused(&placed, "cancel it instead").await;
    bob.set_status(id(&placed), "Shipping").await;
    refused(&placed, "Nothing was paid").await;
    let cancelled = ann.order(&[(&cup, 2)]).await.remove(0);
    ann.put(&format!("/api/order/cancel-order/{}", id(&cancelled))).json(&json!({})).await.expect(200);
    refused(&cancelled, "gone back already").await;
    let refunded = delivered(&ann, &bob, &cup, 3).await;
    refund(&ann, &refunded, json!({})).await.expect(200);
    grant(&bob, &refunded).await.expect(200);
    refused(&refunded, "gone back already").await;
    // Of what was refunded in part, the rest.
    let order = delivered(&ann, &bob, &cup, 4).await;
    refund(&ann, &order, json!({ "items": [{ "_id": cup["_id"], "count": 1 }] })).await.expect(200);
    grant(&bob, &order).await.expect(200);
    ann.post(OPEN).json(&about(&order, "33.01")).await.refused(400, "invalid_input");
    let dispute = opened(&ann, &order, "33").await;
    assert_eq!(dispute["held"], 29.7);
    ann.post(OPEN).json(&about(&order, "1")).await.refused(409, "dispute_open");
    bob.post(OPEN).json(&about(&order, "1")).await.refused(409, "dispute_open");
    app.assert_books_balance().await;
}

#[tokio::test]
async fn nobody_else_has_a_say_and_nobody_decides_about_their_own() {
    let app = TestApp::start().await;
    let (ann, bob) = tokio::join!(app.buyer("ann"), app.seller("bob"));
    let (eve, mal, root) = tokio::join!(app.buyer("eve"), app.seller("mal"), app.admin("root"));
    let cup = bob.product("cup", "10", 30).await;
    let order = delivered(&ann, &bob, &cup, 1).await;
    for stranger in [&eve.browser, &mal.browser] {
        stranger.post(OPEN).json(&about(&order, "1")).await.refused(403, "not_yours");
    }
    let dispute = opened(&ann, &order, "5").await;
    for stranger in [&eve.browser, &mal.browser, &root.browser] {
        stranger.get(&format!("{OPEN}/{}", id(&dispute))).await.expect(403);
        stranger
            .post(&format!("{OPEN}/{}/message", id(&dispute)))
            .json(&json!({ "message": "x" }))
            .await
            .expect(403);
        for what in ["accept", "withdraw"] {
            put(stranger, &dispute, what).await.expect(403);
        }
    }
    for (stranger, list) in [(&eve.browser, "user"), (&mal.browser, "shop")] {
        let path = format!("{OPEN}/{list}-disputes?order={}&buyer={}&shop={}", id(&order), ann.id, bob.id);
        assert_eq!(stranger.get(&path).await.expect(200)["total"], 0);
    }
    for nobody in [&ann.browser, &bob.browser] {
        nobody.put(&format!("{OPEN}/{}/decide", id(&dispute))).json(&json!({ "decision": "release" })).await;
        nobody.get(&format!("/api/admin/dispute/{}", id(&dispute))).await;
    }
    assert_eq!(root.get("/api/admin/disputes?state=open").await.expect(200)["total"], 1);
    assert_eq!(root.get(&format!("/api/admin/disputes?shop={}", mal.id)).await.expect(200)["total"], 0);
    // An administrator who is the buyer, and one whose shop it is.
    let users = app.db.raw::<Document>("users");
    let admin = doc! { "$set": { "role": "Admin" } };
    users.update_one(doc! { "_id": ann.id }, admin).await.unwrap();
    decide(&ann, &dispute, json!({ "decision": "refund" })).await.refused(403, "four_eyes");
    let both = doc! { "$set": { "email": bob.email.to_uppercase() } };
    users.update_one(doc! { "_id": root.id }, both).await.unwrap();
    decide(&root, &dispute, json!({ "decision": "release" })).await.refused(403, "four_eyes");
    assert_eq!(app.db.of::<Case>().find_one(doc! {}).await.unwrap().unwrap().state.word(), "open");
    let unknown = json!({ "_id": "6744a0b1c2d3e4f5a6b7c8ff" });
    put(&ann.browser, &unknown, "accept").await.refused(404, "dispute_not_found");
    ann.post(OPEN).json(&about(&unknown, "1")).await.refused(404, "order_not_found");
}

#[tokio::test]
async fn senseless_input_is_refused_field_by_field() {
    let app = TestApp::start().await;
    let (ann, bob, root) = tokio::join!(app.buyer("ann"), app.seller("bob"), app.admin("root"));
    let cup = bob.product("cup", "10", 30).await;
    let order = delivered(&ann, &bob, &cup, 1).await;
    let fields = |answer: &Value| -> Vec<String> {
        let errors = answer["errors"].as_array().unwrap();
        errors.iter().map(|error| error["field"].as_str().unwrap().to_owned()).collect()
    };
    let nothing = ann.post(OPEN).json(&json!({})).await.refused(400, "invalid_input");
    assert_eq!(fields(&nothing), ["orderId", "reason", "message"]);
    for (amount, by) in
        [("0", &ann.browser), ("-1", &ann.browser), ("1.001", &bob.browser), ("x", &bob.browser)]
    {
        let refused = by.post(OPEN).json(&about(&order, amount)).await.refused(400, "invalid_input");
        assert_eq!(fields(&refused), ["amount"], "{amount}");
    }
    let mut long = about(&order, "1");
    long["message"] = json!("x".repeat(2_001));
    assert_eq!(fields(&ann.post(OPEN).json(&long).await.refused(400, "invalid_input")), ["message"]);
    let mut silent = about(&order, "1");
    silent["amount"] = Value::Null;
    assert_eq!(fields(&bob.post(OPEN).json(&silent).await.refused(400, "invalid_input")), ["amount"]);
    let dispute = opened(&ann, &order, "5").await;
    for decision in [
        json!({}),
        json!({ "decision": "perhaps" }),
        json!({ "decision": "refund", "amount": 0 }),
        json!({ "decision": "refund", "amount": 11.01 }),
        json!({ "decision": "release", "amount": 1 }),
        json!({ "decision": "release", "note": "two\nlines" }),
        json!({ "decision": "refund", "amount": "" }),
    ] {
        decide(&root, &dispute, decision).await.refused(400, "invalid_input");
    }
    ann.get(&format!("{OPEN}/user-disputes?state=lost")).await.refused(400, "invalid_input");
    root.get("/api/admin/disputes?shop=x").await.refused(400, "invalid_input");
    app.assert_books_balance().await;
}

#[tokio::test]
async fn whatever_happens_at_once_on_two_nodes_it_ends_once_and_the_books_balance() {
    let app = TestApp::start().await;
    let node = app.another_node().await;
    let there = Browser::new(&node.base);
    let (ann, bob, root) = tokio::join!(app.buyer("ann"), app.seller("bob"), app.admin("root"));
    let cup = bob.product("cup", "10", 500).await;
    let mut ends = std::collections::BTreeMap::<String, u32>::new();
    for round in 0..8_i64 {
        let order = delivered(&ann, &bob, &cup, 1 + round).await;
        // Both open at once, on both nodes, while a refund is asked for: there is one dispute or the refund was first.
        let open = |n: usize| {
            let (browser, token) =
                ([&app.browser(), &there][n % 2].clone(), [&ann.token, &bob.token][n / 2 % 2]);
            browser.post(OPEN).bearer(token).json(&about(&order, "7")).into_future()
        };
        let (opened, _) = tokio::join!(join_all((0..8).map(open)), refund(&ann, &order, json!({})));
        let created: Vec<&Answer> = opened.iter().filter(|answer| answer.status == 201).collect();
        assert_eq!(created.len(), 1);
        opened
            .iter()
            .filter(|answer| answer.status != 201)
            .for_each(|answer| _ = answer.refused(409, "dispute_open"));
        let dispute = created[0].json()["dispute"].clone();
        app.assert_books_balance().await;
        let by_buyer = dispute["openedBy"] == "buyer";
        let (opener, other) = if by_buyer { (&ann.token, &bob.token) } else { (&bob.token, &ann.token) };
        let end = |n: usize| {
            let browser = [&app.browser(), &there][n % 2].clone();
            let (what, token, body) = match n / 2 % 4 {
                0 => ("accept", other, json!({})),
                1 => ("withdraw", opener, json!({})),
                2 => ("decide", &root.token, json!({ "decision": "release" })),
                _ => ("decide", &root.token, json!({ "decision": "refund", "amount": 3 })),
            };
            let path = format!("{OPEN}/{}/{what}", id(&dispute));
            browser.put(&path).bearer(token).json(&body).into_future()
        };
        let ended = join_all((0..16).map(end)).await;
        let this = id(&dispute).parse::<shared::id::Id<Case>>().unwrap();
        let stored = app.db.of::<Case>().find_one(doc! { "_id": this }).await.unwrap().unwrap();
        let state = stored.state.word();
        let wins = ["accepted", "withdrawn", "released", "refunded"];
        for (n, answer) in ended.iter().enumerate() {
            if wins[n / 2 % 4] == state {
                answer.expect(200);
            } else {
                answer.refused(409, "dispute_ended");
            }
        }
        *ends.entry(state.to_owned()).or_default() += 1;
        app.assert_books_balance().await;
    }
    drop(node);
    assert_eq!(ends.values().sum::<u32>(), 8, "{ends:?}");
    outbox_is_empty(&app).await;
    assert_eq!(app.mails().count_about(&ann.email, "There is a dispute"), 8);
    assert_eq!(app.mails().count_about(&ann.email, "A dispute "), 8);
    assert_eq!(app.db.of::<Withdrawal>().count_documents(doc! {}).await.unwrap(), 0);
}

#[tokio::test]
async fn so_much_can_be_said_and_no_more() {
    let app = TestApp::start().await;
    let (ann, bob) = tokio::join!(app.buyer("ann"), app.seller("bob"));
    let cup = bob.product("cup", "10", 30).await;
    let dispute = opened(&ann, &delivered(&ann, &bob, &cup, 1).await, "5").await;
    let full = doc! { "$push": { "messages": { "$each": vec![
        doc! { "_id": shared::id::Id::<()>::new(), "from": "buyer", "text": "again", "at": app.clock.now() }; 199
    ] } } };
    app.db.of::<Case>().update_one(doc! {}, full).await.unwrap();
    let path = format!("{OPEN}/{}/message", id(&dispute));
    bob.post(&path).json(&json!({ "message": "Enough." })).await.refused(409, "dispute_full");
    let pictures = || std::fs::read_dir(app.home().join("uploads/messages")).map_or(0, Iterator::count);
    let form = Form::new().picture("images").text("message", "Look.");
    bob.post(&path).form(form).await.refused(409, "dispute_full");
    crate::mail::nothing_is_due(&app).await;
    assert_eq!(pictures(), 0);
}
