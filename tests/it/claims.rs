//! Orders by PayPal as the existing client places them: paid in the browser, with nothing but the payer's id.

use bson::{Document, doc};
use serde_json::{Value, json};
use tests::{Answer, Buyer, TestApp, paypal::Paypal, people::in_cash, stand_in::Fault, stripe::Stripe};

use crate::webhooks::{await_applied, id, shown};

const PAYER: &str = "QYR5Z8XDVJNXQ";

fn by_paypal(cart: &[(&Value, i64)], payer: &str) -> Value {
    let mut body = in_cash(cart);
    // Each one is meant: none is the double click of another.
    body["shippingAddress"]["address2"] = json!(shared::id::Id::<()>::new().hex());
    body["totalPrice"] = json!(11 * cart.iter().map(|(_, count)| count).sum::<i64>());
    body["paymentInfo"] = json!({ "id": payer, "status": "succeeded", "type": "Paypal" });
    body
}

async fn claim(buyer: &Buyer, cart: &[(&Value, i64)], payer: &str) -> Value {
    let answer: Answer = buyer.post("/api/order/create-order").json(&by_paypal(cart, payer)).await;
    answer.expect(201)["orders"][0].clone()
}

async fn payment_status(buyer: &Buyer, order: &Value) -> Value {
    shown(buyer, order).await["paymentInfo"]["status"].clone()
}

/// Waits until an order's payment counts as this.
async fn await_payment(app: &TestApp, order: &Value, status: &str) {
    use futures_util::StreamExt as _;
    let orders = app.db.raw::<Document>("orders");
    let oid: bson::oid::ObjectId = id(order).parse().unwrap();
    let mut changes = orders.watch().await.unwrap();
    let wanted = doc! { "_id": oid, "paymentInfo.status": status };
    let waiting = async {
        while orders.find_one(wanted.clone()).await.unwrap().is_none() {
            changes.next().await.unwrap().unwrap();
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), waiting).await.expect("it never came to that");
}

#[tokio::test]
async fn a_claim_credits_the_shop_once_its_payment_turns_up_whichever_comes_first() {
    let paypal = Paypal::start().await;
    let app = paypal.app(&[]).await;
    let (ann, bob) = tokio::join!(app.buyer("ann"), app.seller("bob"));
    let cup = bob.product("cup", "10", 100).await;
    // The order, its delivery, then the webhook.
    let first = claim(&ann, &[(&cup, 1)], PAYER).await;
    bob.set_status(id(&first), "Delivered").await;
    assert_eq!((payment_status(&ann, &first).await, app.balance(&bob).await), (json!("unverified"), 0));
    let (_, capture) = paypal.pay_in_browser(PAYER, "11.00", "USD");
    let told = paypal.captured(&capture);
    for _ in 0..3 {
        paypal.deliver(&app, &told).await.expect(200);
    }
    await_applied(&app).await;
    assert_eq!((payment_status(&ann, &first).await, app.balance(&bob).await), (json!("succeeded"), 990));
    // The webhook, then the order.
    let (_, capture) = paypal.pay_in_browser(PAYER, "22.00", "USD");
    paypal.deliver(&app, &paypal.captured(&capture)).await.expect(200);
    await_applied(&app).await;
    let second = claim(&ann, &[(&cup, 2)], PAYER).await;
    await_payment(&app, &second, "succeeded").await;
    bob.set_status(id(&second), "Delivered").await;
    assert_eq!(app.balance(&bob).await, 990 * 3);
    // Both at once.
    let (_, capture) = paypal.pay_in_browser(PAYER, "33.00", "USD");
    let told = paypal.captured(&capture);
    let cart = [(&cup, 3)];
    let (told, third) = tokio::join!(paypal.deliver(&app, &told), claim(&ann, &cart, PAYER));
    told.expect(200);
    await_payment(&app, &third, "succeeded").await;
    app.assert_books_balance().await;
}

#[tokio::test]
async fn a_payment_proves_one_claim_and_only_one_of_its_amount_and_time() {
    let paypal = Paypal::start().await;
    let app = paypal.app(&[]).await;
    let (ann, bob) = tokio::join!(app.buyer("ann"), app.seller("bob"));
    let cup = bob.product("cup", "10", 100).await;
    let long_ago = claim(&ann, &[(&cup, 1)], PAYER).await;
    let alone = claim(&ann, &[(&cup, 4)], PAYER).await;
    app.clock.advance(11 * 60_000);
    let (_, too_late) = paypal.pay_in_browser(PAYER, "44.00", "USD");
    let (_, capture) = paypal.pay_in_browser(PAYER, "11.00", "USD");
    let (_, foreign) = paypal.pay_in_browser(PAYER, "22.00", "EUR");
    let dearer = claim(&ann, &[(&cup, 2)], PAYER).await;
    let right = claim(&ann, &[(&cup, 1)], PAYER).await;
    app.clock.advance(60_000);
    let later = claim(&ann, &[(&cup, 1)], PAYER).await;
    for capture in [&capture, &foreign, &too_late] {
        paypal.deliver(&app, &paypal.captured(capture)).await.expect(200);
    }
    await_applied(&app).await;
    assert_eq!(payment_status(&ann, &right).await, "succeeded");
    for other in [&long_ago, &alone, &dearer, &later] {
        assert_eq!(payment_status(&ann, other).await, "unverified");
    }
    api::look_after_payments(&app.inside()).await.unwrap();
    assert_eq!(payment_status(&ann, &later).await, "unverified");
    app.assert_books_balance().await;
}

#[tokio::test]
async fn many_claims_and_many_payments_at_once_on_two_nodes_are_one_to_one() {
    let paypal = Paypal::start().await;
    let app = paypal.app(&[]).await;
    let node = app.another_node().await;
    let (ann, bob) = tokio::join!(app.buyer("ann"), app.seller("bob"));
    let cup = bob.product("cup", "10", 100).await;
    let events: Vec<Value> =
        (0..6).map(|_| paypal.captured(&paypal.pay_in_browser(PAYER, "11.00", "USD").1)).collect();
    let cart = [(&cup, 1)];
    let claiming = futures_util::future::join_all((0..9).map(|_| claim(&ann, &cart, PAYER)));
    let telling = futures_util::future::join_all(events.iter().map(|event| paypal.deliver(&app, event)));
    let (claims, told) = tokio::join!(claiming, telling);
    for answer in told {
        answer.expect(200);
    }
    await_applied(&app).await;
    let (here, there) = (app.inside(), node.inside());
    let both = tokio::join!(api::look_after_payments(&here), api::look_after_payments(&there));
    assert!(both.0.is_ok() && both.1.is_ok());
    let mut proven = 0;
    for claim in &claims {
        proven += usize::from(payment_status(&ann, claim).await == "succeeded");
    }
    assert_eq!(proven, 6);
    app.assert_books_balance().await;
}

#[tokio::test]
async fn whose_a_payment_is_that_two_accounts_claim_is_not_guessed() {
    let paypal = Paypal::start().await;
    let app = paypal.app(&[]).await;
    let (ann, eve, bob) = tokio::join!(app.buyer("ann"), app.buyer("eve"), app.seller("bob"));
    let cup = bob.product("cup", "10", 100).await;
    let stolen = claim(&eve, &[(&cup, 1)], PAYER).await;
    let honest = claim(&ann, &[(&cup, 1)], PAYER).await;
    let (_, capture) = paypal.pay_in_browser(PAYER, "11.00", "USD");
    paypal.deliver(&app, &paypal.captured(&capture)).await.expect(200);
    await_applied(&app).await;
    assert_eq!(payment_status(&ann, &honest).await, "unverified");
    assert_eq!(payment_status(&eve, &stolen).await, "unverified");
    app.assert_books_balance().await;
}

#[tokio::test]
async fn what_was_granted_or_called_off_before_the_payment_turned_up_goes_back_then() {
    let paypal = Paypal::start().await;
    let app = paypal.app(&[]).await;
    let (ann, bob) = tokio::join!(app.buyer("ann"), app.seller("bob"));
    let cup = bob.product("cup", "10", 100).await;
    let called_off = claim(&ann, &[(&cup, 1)], PAYER).await;
    ann.put(&format!("/api/order/cancel-order/{}", id(&called_off))).await.expect(200);
    let returned = claim(&ann, &[(&cup, 2)], PAYER).await;
    let in_part = claim(&ann, &[(&cup, 3)], PAYER).await;
    for (order, count) in [(&returned, 2), (&in_part, 1), (&in_part, 1)] {
        bob.set_status(id(order), "Delivered").await;
        let wanted = json!({ "status": "Refund Processing", "items": [{ "_id": id(&cup), "count": count }] });
        ann.put(&format!("/api/order/refund-order/{}", id(order))).json(&wanted).await.expect(200);
        let grant = format!("/api/order/order-refund-success/{}", id(order));
        bob.put(&grant).json(&json!({ "status": "Refund Success" })).await.expect(200);
    }
    assert_eq!(app.balance(&bob).await, 0);
    app.assert_books_balance().await;
    let captures: Vec<String> = ["11.00", "22.00", "33.00"]
        .map(|value| paypal.pay_in_browser(PAYER, value, "USD").1)
        .into_iter()
        .collect();
    for capture in &captures {
        paypal.deliver(&app, &paypal.captured(capture)).await.expect(200);
    }
    await_applied(&app).await;
    let mut back = Vec::new();
    for capture in &captures {
        let refunds = paypal.refunds(capture);
        back.push(
            refunds.iter().map(|refund| refund["amount"]["value"].as_str().unwrap().to_owned()).collect(),
        );
    }
    let right: [&[&str]; 3] = [&["11.00"], &["22.00"], &["11.00", "11.00"]];
    let back: Vec<Vec<String>> = back;
    assert_eq!(back, right);
    assert_eq!(payment_status(&ann, &called_off).await, "refunded");
    assert_eq!(payment_status(&ann, &returned).await, "refunded");
    assert_eq!(payment_status(&ann, &in_part).await, "succeeded");
    assert_eq!(app.balance(&bob).await, 990);
    app.assert_books_balance().await;
}

#[tokio::test]
async fn a_capture_that_nobody_claims_is_an_administrators_to_look_at() {
    let paypal = Paypal::start().await;
    let app = paypal.app(&[("UNUSED_PAYMENT_TTL", "1h")]).await;
    let (_, capture) = paypal.pay_in_browser(PAYER, "11.00", "USD");
    paypal.deliver(&app, &paypal.captured(&capture)).await.expect(200);
    await_applied(&app).await;
    app.clock.advance(3_601_000);
    api::look_after_payments(&app.inside()).await.unwrap();
    let payments = app.db.raw::<Document>("payments");
    let listed = payments.find_one(doc! { "_id": &capture }).await.unwrap().unwrap();
    assert_eq!(listed.get_str("attention").unwrap(), "unclaimed");
    assert!(paypal.refunds(&capture).is_empty());
    // A claim that comes late finds it all the same.
    let (ann, bob) = tokio::join!(app.buyer("ann"), app.seller("bob"));
    let cup = bob.product("cup", "10", 100).await;
    let late = claim(&ann, &[(&cup, 1)], PAYER).await;
    await_payment(&app, &late, "succeeded").await;
    let listed = payments.find_one(doc! { "_id": &capture }).await.unwrap().unwrap();
    assert!(!listed.contains_key("attention"));
    app.assert_books_balance().await;
}

#[tokio::test]
async fn an_order_whose_payer_has_paid_is_not_lost_while_paypal_cannot_be_asked() {
    let paypal = Paypal::start().await;
    let app = paypal.app(&[]).await;
    let (ann, bob) = tokio::join!(app.buyer("ann"), app.seller("bob"));
    let cup = bob.product("cup", "10", 100).await;
    let (order, capture) = paypal.pay_in_browser(PAYER, "11.00", "USD");
    paypal.misbehave("", Fault::Status(500), 1000);
    let placed = claim(&ann, &[(&cup, 1)], PAYER).await;
    assert_eq!(placed["paymentInfo"]["status"], "unverified");
    // What names a payment can be asked about, and has to be.
    let by_order = ann.post("/api/order/create-order").json(&by_paypal(&[(&cup, 1)], &order)).await;
    assert_eq!(by_order.expect(503)["code"], "paypal_unavailable");
    paypal.behave();
    paypal.deliver(&app, &paypal.captured(&capture)).await.expect(200);
    await_applied(&app).await;
    assert_eq!(payment_status(&ann, &placed).await, "succeeded");
    app.assert_books_balance().await;
}

#[tokio::test]
async fn what_was_paid_for_a_cart_that_costs_something_else_goes_back_if_nobody_comes_back_for_it() {
    let stripe = Stripe::start().await;
    let app = stripe.app(&[("UNUSED_PAYMENT_TTL", "1h")]).await;
    let (ann, bob) = tokio::join!(app.buyer("ann"), app.seller("bob"));
    let cup = bob.product("cup", "10", 100).await;
    let (intent, _) = crate::webhooks::pay(&stripe, &ann, 500).await;
    let mut body = in_cash(&[(&cup, 1)]);
    body["paymentInfo"] = json!({ "id": intent, "type": "Credit Card" });
    assert_eq!(
        ann.post("/api/order/create-order").json(&body).await.expect(409)["code"],
        "payment_not_verified"
    );
    api::look_after_payments(&app.inside()).await.unwrap();
    assert!(stripe.refunds(&intent).is_empty());
    app.clock.advance(3_601_000);
    // No webhook has told of it.
    api::look_after_payments(&app.inside()).await.unwrap();
    assert_eq!(stripe.await_refunds(&intent, 1).await[0]["amount"], 500);
    app.assert_books_balance().await;
}

#[tokio::test]
async fn a_payment_that_was_begun_here_proves_nobody_elses_claim() {
    let paypal = Paypal::start().await;
    let app = paypal.app(&[]).await;
    let (ann, eve, bob) = tokio::join!(app.buyer("ann"), app.buyer("eve"), app.seller("bob"));
    let root = app.admin("root").await;
    let cup = bob.product("cup", "10", 100).await;
    let begun = ann.post("/api/paypal/create-order").json(&in_cash(&[(&cup, 1)])).await.expect(201);
    let begun = begun["id"].as_str().unwrap();
    paypal.approve(begun, PAYER);
    let capture = paypal.capture(begun);
    let stolen = claim(&eve, &[(&cup, 1)], PAYER).await;
    paypal.deliver(&app, &paypal.captured(&capture)).await.expect(200);
    await_applied(&app).await;
    api::look_after_payments(&app.inside()).await.unwrap();
    assert_eq!(payment_status(&eve, &stolen).await, "unverified");
    let orders = app.db.raw::<Document>("orders");
    let oid: bson::oid::ObjectId = id(&stolen).parse().unwrap();
    let checkout = orders.find_one(doc! { "_id": oid }).await.unwrap().unwrap();
    let verify = format!("/api/payment/verify-claim/{}", checkout.get_str("checkoutId").unwrap());
    root.put(&verify).json(&json!({ "capture": capture })).await.refused(409, "payment_not_yours");
    let honest = claim(&ann, &[(&cup, 1)], &capture).await;
    assert_eq!(payment_status(&ann, &honest).await, "succeeded");
    app.assert_books_balance().await;
}
