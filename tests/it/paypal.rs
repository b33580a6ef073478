//! Payments by PayPal, with the real code against a stand-in that knows PayPal's rules: at our price, taken once,
//! used once, returned once, and believed only from PayPal.

use std::time::Duration;

use bson::{Document, doc};
use futures_util::future::join_all;
use serde_json::{Value, json};
use shared::{clock::plus, model::Payment};
use tests::{
    Answer, Buyer, Seller, TestApp,
    paypal::{CLIENT_ID, CLIENT_SECRET, PAYER, Paypal, Transmission},
    people::in_cash,
    stand_in::Fault,
};

/// Carts cost what their goods cost, and the same cart twice is two.
const PLAIN: &[(&str, &str)] = &[("SHIPPING_PERCENT", "0"), ("DUPLICATE_ORDER_WINDOW", "0")];

struct World {
    paypal: Paypal,
    app: TestApp,
    ann: Buyer,
    bob: Seller,
    /// Ten of them, at 12.34.
    cup: Value,
}

impl World {
    async fn new() -> Self {
        let paypal = Paypal::start().await;
        let app = paypal.app(PLAIN).await;
        let (ann, bob) = tokio::join!(app.buyer("ann"), app.seller("bob"));
        let cup = bob.product("cup", "12.34", 10).await;
        Self { paypal, app, ann, bob, cup }
    }

    /// So many cups are begun to be paid for; gives PayPal's order.
    async fn begin(&self, cups: i64) -> String {
        text(&begin(&self.ann, &self.cup, cups).await.expect(201)["id"])
    }

    /// The same, agreed to and taken; gives PayPal's order and capture.
    async fn pay(&self, cups: i64) -> (String, String) {
        let order = self.begin(cups).await;
        self.paypal.approve(&order, PAYER);
        let taken = capture(&self.ann, &order).await.expect(200);
        (order, text(&taken["id"]))
    }

    /// Orders with a payment.
    async fn order(&self, cups: i64, payment: &str) -> Answer {
        order(&self.ann, &self.cup, cups, payment).await
    }

    async fn events(&self) -> Vec<Document> {
        use futures_util::TryStreamExt as _;
        let events = self.app.db.raw::<Document>("webhookevents");
        events.find(doc! {}).sort(doc! { "at": 1, "_id": 1 }).await.unwrap().try_collect().await.unwrap()
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn id(document: &Value) -> &str {
    document["_id"].as_str().unwrap()
}

async fn begin(buyer: &Buyer, listing: &Value, count: i64) -> Answer {
    buyer.post("/api/paypal/create-order").json(&in_cash(&[(listing, count)])).await
}

async fn capture(buyer: &Buyer, order: &str) -> Answer {
    buyer.post(&format!("/api/paypal/capture-order/{order}")).await
}

async fn order(buyer: &Buyer, listing: &Value, count: i64, payment: &str) -> Answer {
    let mut body = in_cash(&[(listing, count)]);
    body["paymentInfo"] = json!({ "id": payment, "status": "succeeded", "type": "Paypal" });
    buyer.post("/api/order/create-order").json(&body).await
}

/// Looks until it is so.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waiting).await.unwrap_or_else(|_| panic!("never: {what}"));
}

#[tokio::test]
async fn a_payment_is_begun_at_our_price_taken_once_and_pays_for_one_checkout() {
    let World { paypal, app, ann, bob, cup } = &World::new().await;
    let mut body = in_cash(&[(cup, 2)]);
    body["totalPrice"] = json!("1.00");
    ann.post("/api/paypal/create-order").json(&body).await.refused(409, "wrong_total");
    assert_eq!(paypal.orders(), 0);
    body["totalPrice"] = json!(9999);
    body["cart"][0]["discountPrice"] = json!(0.01);
    let begun = ann.post("/api/paypal/create-order").json(&body).await.expect(201);
    let begun_id = text(&begun["id"]);
    let expected = json!({
        "success": true, "id": begun_id, "amount": 24.68, "currency": "USD",
        "approveUrl": format!("https://www.paypal.com/checkoutnow?token={begun_id}"),
    });
    assert_eq!(begun, expected);
    let asked = paypal.asked("POST /v2/checkout/orders").remove(0);
    let sent: Value = serde_json::from_str(&asked.body).unwrap();
    let unit = json!({ "amount": { "currency_code": "USD", "value": "24.68" }, "custom_id": ann.id.hex() });
    assert_eq!(sent, json!({ "intent": "CAPTURE", "purchase_units": [unit] }));
    assert!(asked.header("authorization").starts_with("Bearer A21AA-stand-in-token-"));
    assert_eq!(app.shelf(cup).await, (10, 0, 0), "nothing is reserved");

    let waits = capture(ann, &begun_id).await.refused(409, "payment_pending");
    assert!(text(&waits["message"]).contains("not yet approved"), "{waits}");
    order(ann, cup, 2, &begun_id).await.refused(409, "payment_not_verified");
    paypal.approve(&begun_id, PAYER);
    let taken = capture(ann, &begun_id).await.expect(200);
    let capture_id = text(&taken["id"]);
    let expected = json!({ "success": true, "id": capture_id, "status": "succeeded", "amount": 24.68, "currency": "USD" });
    assert_eq!(taken, expected);
    assert_ne!(capture_id, begun_id);
    // Again, by either id: it is the same payment.
    assert_eq!(capture(ann, &begun_id).await.expect(200), taken);
    assert_eq!(capture(ann, &capture_id).await.expect(200), taken);

    order(ann, cup, 1, &begun_id).await.refused(409, "payment_not_verified");
    let placed = order(ann, cup, 2, &begun_id).await.expect(201)["orders"][0].clone();
    assert_eq!(placed["paymentInfo"], json!({ "id": capture_id, "status": "succeeded", "type": "Paypal" }));
    for again in [&begun_id, &capture_id] {
        order(ann, cup, 2, again).await.refused(409, "payment_used");
    }
    assert_eq!(app.shelf(cup).await, (10, 2, 0));
    let payment = app.db.of::<Payment>().find_one(doc! { "_id": &capture_id }).await.unwrap().unwrap();
    assert_eq!((payment.minor, payment.payer.as_deref()), (2468, Some(PAYER)));
    assert_eq!((payment.buyer, payment.paid_at.is_some()), (Some(ann.id.hex()), true));
    bob.set_status(id(&placed), "Delivered").await;
    assert_eq!(app.balance(bob).await, 2221);
    app.assert_books_balance().await;
}

#[tokio::test]
async fn amounts_reach_paypal_and_come_back_to_the_cent() {
    let World { paypal, app, ann, bob, .. } = &World::new().await;
    for price in ["0.10", "0.01", "1234.05", "19.99", "4.35", "100000.00"] {
        let lamp = bob.product("lamp", price, 5).await;
        let begun = text(&begin(ann, &lamp, 1).await.expect(201)["id"]);
        let asked = paypal.asked("POST /v2/checkout/orders").pop().unwrap();
        assert!(asked.body.contains(&format!(r#""value":"{price}""#)), "{}", asked.body);
        paypal.approve(&begun, PAYER);
        let taken = text(&capture(ann, &begun).await.expect(200)["id"]);
        let placed = order(ann, &lamp, 1, &taken).await.expect(201)["orders"][0].clone();
        ann.put(&format!("/api/order/cancel-order/{}", id(&placed))).await.expect(200);
        let refund = paypal.await_refunds(&taken, 1).await.remove(0);
        assert_eq!(refund["amount"], json!({ "currency_code": "USD", "value": price }));
    }
    app.assert_books_balance().await;
}

#[tokio::test]
async fn what_cannot_be_bought_is_not_begun_to_be_paid_for() {
    let World { paypal, app, ann, bob, cup } = &World::new().await;
    begin(ann, cup, 11).await.refused(409, "out_of_stock");
    let pot = bob.product("pot", "5", 5).await;
    bob.delete(&format!("/api/product/delete-shop-product/{}", id(&pot))).await.expect(200);
    begin(ann, &pot, 1).await.refused(409, "item_gone");
    let send = async |body: Value| ann.post("/api/paypal/create-order").json(&body).await;
    send(json!({})).await.refused(400, "invalid_input");
    send(json!({ "cart": [{ "_id": "x", "count": 1 }] })).await.refused(400, "invalid_input");
    send(json!({ "cart": [{ "_id": id(cup), "count": 0.5 }] })).await.refused(400, "invalid_input");
    let with = |name: &str| json!({ "cart": [{ "_id": id(cup), "count": 1 }], "couponCode": name });
    send(with("NONE")).await.refused(409, "coupon_refused");
    assert_eq!(paypal.orders(), 0);

    for (name, value) in [("HALF", "50"), ("ALL", "100")] {
        bob.post("/api/coupan/create-coupan")
            .json(&json!({ "name": name, "value": value }))
            .await
            .expect(201);
    }
    let begun = send(with("HALF")).await.expect(201);
    assert_eq!(begun["amount"], json!(6.17));
    send(with("ALL")).await.refused(409, "nothing_to_pay");
    assert_eq!((paypal.orders(), app.shelf(cup).await), (1, (10, 0, 0)));
    app.browser().post("/api/paypal/create-order").json(&with("HALF")).await.refused(401, "unauthenticated");
}

#[tokio::test]
async fn the_same_key_begins_one_payment_also_when_the_price_has_changed_since() {
    let World { paypal, app, ann, cup, .. } = &World::new().await;
    let keyed = async || {
        let call = ann.post("/api/paypal/create-order").header("Idempotency-Key", "k");
        call.json(&in_cash(&[(cup, 1)])).await
    };
    // Begun there, and nobody here has heard of it.
    paypal.misbehave("POST /v2/checkout/orders", Fault::LosesAnswer, 1);
    keyed().await.refused(503, "paypal_unavailable");
    let begun = keyed().await.expect(201);
    assert_eq!(paypal.orders(), 1);
    let keys: Vec<String> = paypal
        .asked("POST /v2/checkout/orders")
        .iter()
        .map(|asked| asked.header("paypal-request-id").to_owned())
        .collect();
    assert!(keys[0] == keys[1] && keys[0].len() == 36, "{keys:?}");
    let dearer = doc! { "$set": { "discountPrice": 99 } };
    app.db.raw::<Document>("products").update_many(doc! {}, dearer).await.unwrap();
    assert_eq!(keyed().await.expect(201), begun);
    assert_eq!(paypal.orders(), 1);
}

#[tokio::test]
async fn somebody_elses_payment_is_not_there() {
    let world = World::new().await;
    let World { paypal, app, ann, cup, .. } = &world;
    let eve = app.buyer("eve").await;
    let begun = world.begin(1).await;
    paypal.approve(&begun, PAYER);
    capture(&eve, &begun).await.refused(404, "payment_not_found");
    app.browser().post(&format!("/api/paypal/capture-order/{begun}")).await.refused(401, "unauthenticated");
    // One that was begun in the browser is nobody's here.
    let (browsers, _) = paypal.pay_in_browser(PAYER, "12.34", "USD");
    capture(ann, &browsers).await.refused(404, "payment_not_found");
    assert!(paypal.asked("POST /v2/checkout/orders/").is_empty(), "nothing was taken");

    let taken = text(&capture(ann, &begun).await.expect(200)["id"]);
    for id in [&begun, &taken] {
        order(&eve, cup, 1, id).await.refused(409, "payment_not_yours");
    }
    order(ann, cup, 1, &taken).await.expect(201);
    // What cannot be an id is not asked about.
    let before = paypal.asked("GET").len();
    for strange in
        ["..%2F..%2Fv1", "a", "5O%00", "5O1901 27TN", &"A".repeat(37), "$gt", "5O190127TN364715T?x=1"]
    {
        let path = format!("/api/paypal/capture-order/{strange}");
        let status = ann.post(&path).unchecked().await.status;
        assert!(status == 404 || status == 400, "{strange}: {status}");
    }
    let asked = paypal.asked("GET");
    assert!(asked[before..].iter().all(|asked| asked.path.ends_with("5O190127TN364715T")), "{asked:?}");
}

#[tokio::test]
async fn a_declined_card_may_be_replaced_and_a_lost_answer_takes_nothing_twice() {
    let world = World::new().await;
    let World { paypal, ann, .. } = &world;
    let begun = world.begin(1).await;
    paypal.approve(&begun, PAYER);
    paypal.decline(&begun);
    let declined = capture(ann, &begun).await.refused(409, "payment_failed");
    assert!(text(&declined["message"]).contains("declined by the processor"), "{declined}");
    world.order(1, &begun).await.refused(409, "payment_not_verified");
    // Another card, and PayPal's answer is lost.
    paypal.approve(&begun, PAYER);
    paypal.misbehave("POST /v2/checkout/orders/", Fault::LosesAnswer, 1);
    capture(ann, &begun).await.refused(503, "paypal_unavailable");
    let taken = capture(ann, &begun).await.expect(200);
    let keys: Vec<String> = paypal
        .asked("POST /v2/checkout/orders/")
        .iter()
        .map(|asked| asked.header("paypal-request-id").to_owned())
        .collect();
    assert!(
        keys.len() == 2 && keys[0] != keys[1],
        "a declined request is not repeated, but made anew: {keys:?}"
    );
    world.order(1, taken["id"].as_str().unwrap()).await.expect(201);
}

#[tokio::test]
async fn what_paypal_holds_back_pays_for_nothing_yet_and_what_went_back_for_nothing_any_more() {
    let world = World::new().await;
    let World { paypal, ann, .. } = &world;
    let (begun, taken) = world.pay(1).await;
    for (status, code) in [("PENDING", "payment_pending"), ("REFUNDED", "payment_failed")] {
        paypal.set_status(&taken, status);
        capture(ann, &begun).await.refused(409, code);
        world.order(1, &begun).await.refused(409, "payment_not_verified");
    }
    paypal.set_status(&taken, "COMPLETED");
    paypal.refund_elsewhere(&taken, "0.34");
    for id in [&begun, &taken] {
        let refused = world.order(1, id).await.refused(409, "payment_not_verified");
        assert!(text(&refused["message"]).contains("refunded"), "{refused}");
    }
    capture(ann, &begun).await.refused(409, "payment_failed");
}

#[tokio::test]
async fn one_token_serves_everybody_until_it_expires_or_is_refused() {
    let World { paypal, app, cup, .. } = &World::new().await;
    let tokens = || paypal.asked("POST /v1/oauth2/token");
    paypal.misbehave("POST /v1/oauth2/token", Fault::Slow(Duration::from_millis(300)), 1);
    let buyers = join_all((0..8).map(|n| async move { app.buyer(&format!("buyer {n}")).await })).await;
    let all = async || {
        for begun in join_all(buyers.iter().map(|buyer| begin(buyer, cup, 1))).await {
            begun.expect(201);
        }
    };
    all().await;
    assert_eq!(tokens().len(), 1);
    assert_eq!(tokens()[0].form()["grant_type"], "client_credentials");
    assert!(tokens()[0].header("authorization").starts_with("Basic "));
    paypal.revoke_tokens();
    all().await;
    assert_eq!(tokens().len(), 2, "of all whose token is refused one gets another");
    // Nine hours later, but for the last minute, in which none is used.
    app.clock.advance(32_400_000 - 30_000);
    all().await;
    assert_eq!(tokens().len(), 3);
    assert_eq!(paypal.orders(), 24);
}

#[tokio::test]
async fn wrong_keys_are_an_outage_of_paypal_alone_and_no_secret_is_told() {
    let paypal = Paypal::start().await;
    let wrong = "a-secret-that-is-wrong";
    let mut settings = PLAIN.to_vec();
    settings.push(("PAYPAL_CLIENT_SECRET", wrong));
    let app = paypal.app(&settings).await;
    let (ann, bob) = tokio::join!(app.buyer("ann"), app.seller("bob"));
    let cup = bob.product("cup", "12.34", 10).await;
    let answer = begin(&ann, &cup, 1).await;
    answer.refused(503, "paypal_unavailable");
    let gateways = &app.inside().gateways;
    let why = format!("{:#?}", gateways.paypal().unwrap().look_up("5O190127TN364715T").await.unwrap_err());
    assert!(why.contains("PAYPAL_CLIENT_SECRET"), "{why}");
    for told in [answer.text(), why, format!("{gateways:?} {:?}", app.config)] {
        assert!(!told.contains(wrong) && !told.contains("A21AA"), "{told}");
    }
    ann.order(&[(&cup, 1)]).await;

    let id = app.browser().get("/api/paypal/clientId").await.expect(200);
    assert_eq!(id, json!({ "success": true, "clientId": CLIENT_ID }));
    let sandbox = TestApp::start().await;
    let id = sandbox.browser().get("/api/paypal/clientId").await.expect(200);
    assert_eq!(id, json!({ "success": true, "clientId": "sandbox" }));
    assert!(!format!("{:?}", sandbox.config).contains(CLIENT_SECRET));
}

#[tokio::test]
async fn an_order_that_is_called_off_is_paid_back_once_though_the_answer_is_lost_and_forgotten() {
    let world = World::new().await;
    let World { paypal, app, ann, cup, .. } = &world;
    let (_, taken) = world.pay(2).await;
    let placed = world.order(2, &taken).await.expect(201)["orders"][0].clone();
    paypal.misbehave("POST /v2/payments/captures/", Fault::LosesAnswer, 1);
    ann.put(&format!("/api/order/cancel-order/{}", id(&placed))).await.expect(200);
    let outbox = app.db.raw::<Document>("outbox");
    until("the lost answer is noted", async || {
        outbox.find_one(doc! { "lastError": { "$type": "string" } }).await.unwrap().is_some()
    })
    .await;
    // Much later: PayPal does not remember the request any more, only the refund.
    paypal.forget_keys();
    app.clock.advance(60_000);
    until("the refund is noted", async || {
        let payment = app.db.of::<Payment>().find_one(doc! { "_id": &taken }).await.unwrap().unwrap();
        payment.returns.iter().all(|asked| asked.refund_id.is_some()) && !payment.returns.is_empty()
    })
    .await;
    let refunds = paypal.refunds(&taken);
    assert_eq!(refunds.len(), 1, "{refunds:?}");
    assert_eq!(refunds[0]["amount"]["value"], "24.68");
    assert_eq!(refunds[0]["custom_id"], format!("cancelled:{}", id(&placed)));
    assert_eq!(paypal.asked("POST /v2/payments/captures/").len(), 1, "it was found, not asked for again");
    assert_eq!(app.shelf(cup).await, (10, 0, 0));
    app.assert_books_balance().await;
}

#[tokio::test]
async fn units_that_come_back_are_paid_back_one_by_one() {
    let world = World::new().await;
    let World { paypal, app, ann, bob, cup } = &world;
    let (_, taken) = world.pay(3).await;
    let placed = world.order(3, &taken).await.expect(201)["orders"][0].clone();
    bob.set_status(id(&placed), "Delivered").await;
    for count in 1..=2 {
        let wanted = json!({ "items": [{ "id": id(cup), "count": 1 }], "reason": "broken" });
        ann.put(&format!("/api/order/refund-order/{}", id(&placed))).json(&wanted).await.expect(200);
        let granted = json!({ "status": "Refund Success" });
        bob.put(&format!("/api/order/order-refund-success/{}", id(&placed))).json(&granted).await.expect(200);
        let refunds = paypal.await_refunds(&taken, count).await;
        assert_eq!(refunds[count - 1]["amount"], json!({ "currency_code": "USD", "value": "12.34" }));
    }
    let keys: Vec<String> = paypal.refunds(&taken).iter().map(|refund| text(&refund["custom_id"])).collect();
    assert_ne!(keys[0], keys[1]);
    assert_eq!(paypal.shown(&taken)["status"], "PARTIALLY_REFUNDED");
    app.assert_books_balance().await;
}

#[tokio::test]
async fn money_for_what_was_sold_meanwhile_goes_back() {
    let world = World::new().await;
    let World { paypal, app, bob, ann, .. } = &world;
    let last = bob.product("last", "5", 1).await;
    let begun = text(&begin(ann, &last, 1).await.expect(201)["id"]);
    paypal.approve(&begun, PAYER);
    let taken = text(&capture(ann, &begun).await.expect(200)["id"]);
    app.buyer("eve").await.order(&[(&last, 1)]).await;
    order(ann, &last, 1, &begun).await.refused(409, "out_of_stock");
    let refund = paypal.await_refunds(&taken, 1).await.remove(0);
    assert_eq!(
        (&refund["amount"]["value"], text(&refund["custom_id"])),
        (&json!("5.00"), format!("unserved:{taken}"))
    );
    order(ann, &last, 1, &taken).await.refused(409, "payment_not_verified");
    app.assert_books_balance().await;
}

#[tokio::test]
async fn only_what_paypal_has_sent_and_lately_is_taken_down_and_once() {
    let world = World::new().await;
    let World { paypal, app, .. } = &world;
    let (_, taken) = world.pay(1).await;
    let real = paypal.transmit(&paypal.captured(&taken));
    let changed = |change: &dyn Fn(&mut Transmission)| {
        let mut transmission = real.clone();
        change(&mut transmission);
        transmission
    };
    let mut forged = Vec::new();
    for name in real.headers.keys() {
        forged.push(changed(&|call| _ = call.headers.remove(name)));
        forged.push(changed(&|call| _ = call.headers.insert(name, String::new())));
        forged.push(changed(&|call| call.headers.get_mut(name).unwrap().push('0')));
        forged.push(changed(&|call| _ = call.headers.insert(name, "x".repeat(600))));
    }
    for foreign in
        ["https://evil.example/cert", "http://api.paypal.com/c", "https://api.paypal.com@evil.example/c"]
    {
        forged.push(changed(&|call| _ = call.headers.insert("paypal-cert-url", foreign.to_owned())));
    }
    for body in ["", "{}", "no JSON", "[]", r#"{"id":"WH-1"}{}"#] {
        forged.push(changed(&|call| call.body = body.to_owned()));
    }
    // The same event, written otherwise; and one that says more.
    forged.push(changed(&|call| call.body = serde_json::from_str::<Value>(&call.body).unwrap().to_string()));
    forged.push(changed(&|call| call.body = call.body.replace("12.34", "92.34")));
    for call in &forged {
        let refused = Paypal::call(app, call).await;
        refused.refused(400, "invalid_signature");
        assert!(!refused.text().contains("thy4"), "{}", refused.text());
    }
    assert_eq!(world.events().await, Vec::<Document>::new());

    // PayPal cannot be asked: it is to call again, and does.
    paypal.misbehave("POST /v1/notifications", Fault::Status(500), 1);
    assert_eq!(Paypal::call(app, &real).await.status, 503);
    assert_eq!(world.events().await.len(), 0);
    for _ in 0..3 {
        Paypal::call(app, &real).await.expect(200);
    }
    assert_eq!(world.events().await.len(), 1);
    let asked = paypal.asked("POST /v1/notifications").pop().unwrap();
    assert!(asked.body.contains(&format!(r#""webhook_event":{}"#, real.body)), "to the byte: {}", asked.body);
    assert!(paypal.asked("GET /v1/notifications/certs").is_empty());

    // PayPal goes on for three days.
    let late = paypal.transmit(&paypal.captured(&taken));
    app.clock.advance(3 * 86_400_000 - 60_000);
    Paypal::call(app, &late).await.expect(200);
    app.clock.advance(2 * 3_600_000);
    Paypal::call(app, &late).await.refused(400, "invalid_signature");
    assert_eq!(world.events().await.len(), 2);
}

#[tokio::test]
async fn without_the_webhooks_id_nobody_is_believed() {
    let paypal = Paypal::start().await;
    let app = paypal.app(&[("PAYPAL_WEBHOOK_ID", "")]).await;
    let (_, taken) = paypal.pay_in_browser(PAYER, "5.00", "USD");
    let refused = paypal.deliver(&app, &paypal.captured(&taken)).await.refused(409, "payment_refused");
    assert!(text(&refused["message"]).contains("PAYPAL_WEBHOOK_ID"), "{refused}");
    assert!(paypal.asked("").is_empty());
}

#[tokio::test]
async fn each_event_says_what_it_says_of_its_capture() {
    let world = World::new().await;
    let World { paypal, app, ann, .. } = &world;
    let (begun, taken) = world.pay(1).await;
    let usd = |value: &str| json!({ "currency_code": "USD", "value": value });
    let succeeded = json!({ "kind": "succeeded", "minor": 1234, "currency": "USD", "buyer": ann.id.hex(), "payer": null });
    let refund = paypal.refund_elsewhere(&taken, "2.00");
    let ours = json!({
        "id": "1JOURS", "status": "COMPLETED", "amount": usd("1.00"), "custom_id": "refund:1",
        "links": [{ "rel": "up", "href": format!("https://x/v2/payments/captures/{taken}") }],
    });
    let foreign =
        json!({ "kind": "returned", "refund": refund["resource"]["id"], "minor": 200, "key": null });
    let failed = paypal.fail_refund(refund["resource"]["id"].as_str().unwrap());
    let came_back = json!({ "kind": "returnFailed", "refund": refund["resource"]["id"], "minor": 200 });
    let (_, other) = world.pay(1).await;
    let reversed = paypal.reverse(&other);
    let lost = |dispute: String, reason: &str| json!({ "kind": "disputed", "dispute": dispute, "minor": 1234, "reason": reason, "state": "lost" });
    let reversal = lost(format!("reversal:{}", text(&reversed["resource"]["id"])), "reversed by PayPal");
    let cases = [
        (paypal.captured(&taken), &taken, Some(succeeded)),
        (refund, &taken, Some(foreign)),
        (
            paypal.event("PAYMENT.CAPTURE.REFUNDED", ours),
            &taken,
            Some(json!({ "kind": "returned", "refund": "1JOURS", "minor": 100, "key": "refund:1" })),
        ),
        (failed, &taken, Some(came_back)),
        (reversed, &other, Some(reversal)),
        (
            paypal.capture_event("PAYMENT.CAPTURE.DENIED", &taken),
            &taken,
            Some(json!({ "kind": "failed", "why": "PayPal declined it" })),
        ),
        (paypal.capture_event("PAYMENT.CAPTURE.PENDING", &taken), &taken, None),
        (paypal.event("CHECKOUT.ORDER.APPROVED", json!({ "id": begun })), &taken, None),
        (paypal.event("BILLING.SUBSCRIPTION.CREATED", Value::Null), &taken, None),
    ];
    for (event, about, fact) in cases {
        paypal.deliver(app, &event).await.expect(200);
        assert_event(&world, &event, about, fact).await;
    }
}

#[tokio::test]
async fn a_dispute_is_open_until_paypal_has_decided_and_is_one_also_when_the_money_was_taken_back() {
    let world = World::new().await;
    let World { paypal, app, .. } = &world;
    let endings = [
        ("RESOLVED_SELLER_FAVOUR", "won"),
        ("CANCELED_BY_BUYER", "won"),
        ("RESOLVED_BUYER_FAVOUR", "lost"),
        ("RESOLVED_WITH_PAYOUT", "won"),
        ("SOMETHING_NEW", "open"),
    ];
    for (outcome, state) in endings {
        let (_, taken) = paypal.pay_in_browser(PAYER, "12.34", "USD");
        let opened = paypal.dispute(&taken, "10.00");
        let dispute = text(&opened["resource"]["dispute_id"]);
        let fact = |state: &str| {
            Some(json!({
                "kind": "disputed", "dispute": dispute, "minor": 1000, "state": state,
                "reason": "MERCHANDISE_OR_SERVICE_NOT_RECEIVED",
            }))
        };
        // PayPal takes the money while nothing is decided: it is the same dispute.
        let reversed = paypal.reverse(&taken);
        for event in [&opened, &reversed] {
            paypal.deliver(app, event).await.expect(200);
            assert_event(&world, event, &taken, fact("open")).await;
        }
        let closed = paypal.resolve(&dispute, outcome);
        // All the money has gone: whomever PayPal has paid, it was not the shop.
        let state = if outcome == "RESOLVED_WITH_PAYOUT" { "lost" } else { state };
        paypal.deliver(app, &closed).await.expect(200);
        assert_event(&world, &closed, &taken, fact(state)).await;
    }
    let (_, taken) = paypal.pay_in_browser(PAYER, "12.34", "USD");
    let dispute = text(&paypal.dispute(&taken, "10.00")["resource"]["dispute_id"]);
    let closed = paypal.resolve(&dispute, "RESOLVED_WITH_PAYOUT");
    paypal.deliver(app, &closed).await.expect(200);
    let event = world.app.db.raw::<Document>("webhookevents");
    let event =
        event.find_one(doc! { "_id": format!("paypal:{}", text(&closed["id"])) }).await.unwrap().unwrap();
    assert_eq!(event.get_document("fact").unwrap().get_str("state").unwrap(), "won");
}

async fn assert_event(world: &World, event: &Value, about: &str, fact: Option<Value>) {
    let id = format!("paypal:{}", text(&event["id"]));
    let events = world.events().await;
    let taken_down = events.iter().find(|known| known.get_str("_id").unwrap() == id).unwrap();
    assert_eq!(taken_down.get_str("name").unwrap(), event["event_type"]);
    let told = taken_down.get("fact").and_then(bson::Bson::as_document);
    let told = told.map(|told| serde_json::to_value(told).unwrap());
    assert_eq!(told, fact, "{event}");
    assert_eq!(taken_down.get_str("payment").ok(), told.is_some().then_some(about));
}

#[tokio::test]
async fn a_payers_bare_claim_is_proven_by_what_paypal_tells() {
    let world = World::new().await;
    let World { paypal, app, ann, bob, .. } = &world;
    // As the existing client does: captured in the browser, and only the payer is named.
    let (_, taken) = paypal.pay_in_browser(PAYER, "24.68", "USD");
    let mut body = in_cash(&[(&world.cup, 2)]);
    body["totalPrice"] = json!("24.68");
    body["paymentInfo"] = json!({ "id": PAYER, "status": "succeeded", "type": "Paypal" });
    let placed = ann.post("/api/order/create-order").json(&body).await.expect(201)["orders"][0].clone();
    assert_eq!(placed["paymentInfo"]["status"], "unverified");
    paypal.deliver(app, &paypal.captured(&taken)).await.expect(200);
    let path = format!("/api/order/get-order/{}", id(&placed));
    until("the claim is proven", async || {
        ann.get(&path).await.expect(200)["order"]["paymentInfo"]["status"] == "succeeded"
    })
    .await;
    bob.set_status(id(&placed), "Delivered").await;
    assert_eq!(app.balance(bob).await, 2221);
    // It is used now, by whatever name.
    world.order(2, &taken).await.refused(409, "payment_used");
    app.assert_books_balance().await;
}

#[tokio::test]
async fn what_moved_at_paypal_is_listed_to_the_cent() {
    let world = World::new().await;
    let World { paypal, app, .. } = &world;
    let begun = plus(app.clock.now(), -60_000);
    let (_, first) = world.pay(1).await;
    let (_, second) = paypal.pay_in_browser(PAYER, "1234.05", "USD");
    paypal.pay_in_browser(PAYER, "5.00", "EUR");
    paypal.refund_elsewhere(&second, "0.10");
    let gateways = &app.inside().gateways;
    // More than PayPal lists at once.
    let (from, to) = (plus(begun, -40 * 86_400_000), plus(app.clock.now(), 60_000));
    let mut listed: Vec<(String, i64, String)> = gateways
        .paypal()
        .unwrap()
        .movements(from, to)
        .await
        .unwrap()
        .into_iter()
        .map(|movement| (movement.payment, movement.amount.minor(), format!("{:?}", movement.kind)))
        .collect();
    listed.sort();
    let refund = text(&paypal.refunds(&second)[0]["id"]);
    let mut expected = vec![
        (first, 1234, "Payment".to_owned()),
        (second.clone(), 123_405, "Payment".to_owned()),
        (second, 10, format!("Refund {{ id: {refund:?}, key: None }}")),
    ];
    expected.sort();
    assert_eq!(listed, expected);
    assert!(paypal.asked("GET /v1/reporting/transactions").len() >= 2);
    let before = gateways.paypal().unwrap().movements(from, begun).await.unwrap();
    assert!(before.is_empty(), "{before:?}");
}
