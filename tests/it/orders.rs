//! Orders: checkout, the way to the buyer, refunds, and who may see and move what.

use bson::doc;
use futures_util::future::join_all;
use serde_json::{Value, json};
use shared::model::{Order, Shop};
use tests::{Buyer, TestApp};

/// What the client puts in its cart: the whole product as it was received, and a count.
fn item(product: &Value, count: i64) -> Value {
    let mut item = product.clone();
    item["count"] = json!(count);
    item
}

fn address() -> Value {
    json!({ "address1": "1 Elm Street", "address2": "", "zipCode": 54000, "country": "PK", "city": "PB" })
}

/// A checkout in cash, as the client sends it.
fn checkout(buyer: &Buyer, cart: &[Value], total: impl Into<Value>) -> Value {
    json!({
        "cart": cart,
        "shippingAddress": address(),
        "user": { "_id": buyer.id.hex(), "name": "somebody else", "role": "Admin" },
        "totalPrice": total.into(),
        "paymentInfo": { "type": "Cash on Delivery" },
    })
}

async fn buy(buyer: &Buyer, cart: &[Value], total: impl Into<Value>) -> Vec<Value> {
    let body = checkout(buyer, cart, total);
    let answer = buyer.post("/api/order/create-order").json(&body).await.expect(201);
    answer["orders"].as_array().unwrap().clone()
}

fn id(document: &Value) -> &str {
    document["_id"].as_str().unwrap()
}

#[tokio::test]
async fn d3_a_checkout_makes_one_order_a_shop_whose_totals_add_up_to_the_cent() {
    let app = TestApp::start().await;
    let (ann, bob, cem) = tokio::join!(app.buyer("ann"), app.seller("bob"), app.seller("cem"));
    let (cup, pot) = tokio::join!(bob.product("cup", "6.65", 10), cem.product("pot", "0.05", 10));
    // (3 × 6.65 + 0.05) = 20.00, shipping 2.00.
    let orders = buy(&ann, &[item(&cup, 3), item(&pot, 1)], 22.0).await;
    assert_eq!(orders.len(), 2);
    assert_eq!(orders[0]["totalPrice"], json!(21.95));
    assert_eq!(orders[1]["totalPrice"], json!(0.05));
    assert_eq!(orders[0]["shopId"], json!(bob.id.hex()));
    assert_eq!(orders[0]["checkoutId"], orders[1]["checkoutId"]);
    assert_eq!(orders[0]["status"], "Processing");
    assert_eq!(orders[0]["paymentInfo"], json!({ "type": "Cash on Delivery" }));
    assert_eq!(orders[0]["user"], json!({ "_id": ann.id.hex(), "name": "ann" }));
    assert_eq!((app.shelf(&cup).await, app.shelf(&pot).await), ((10, 3, 0), (10, 1, 0)));
}

#[tokio::test]
async fn d4_prices_and_names_come_from_the_database_never_from_the_cart() {
    let app = TestApp::start().await;
    let (ann, bob) = tokio::join!(app.buyer("ann"), app.seller("bob"));
    let cup = bob.product("cup", "100", 10).await;
    let mut forged = item(&cup, 1);
    forged["discountPrice"] = json!(0.01);
    forged["name"] = json!("a gift");
    let body = checkout(&ann, &[forged.clone()], 0.01);
    let refused = ann.post("/api/order/create-order").json(&body).await.refused(409, "wrong_total");
    assert!(refused["message"].as_str().unwrap().contains("110.00"), "{refused}");
    assert_eq!(app.shelf(&cup).await, (10, 0, 0), "a refused checkout reserves nothing");
    // A total above ours is lowered to ours.
    let orders = buy(&ann, &[forged], 5000).await;
    assert_eq!(orders[0]["totalPrice"], json!(110));
    assert_eq!(orders[0]["cart"][0]["name"], "cup");
    assert_eq!(orders[0]["cart"][0]["discountPrice"], json!(100));
}

#[tokio::test]
async fn a_total_as_the_client_computes_it_in_binary_floats_is_what_is_charged() {
    let app = TestApp::start().await;
    let (ann, bob) = tokio::join!(app.buyer("ann"), app.seller("bob"));
    let cup = bob.product("cup", "50.40", 10).await;
    let orders = buy(&ann, &[item(&cup, 3)], 166.320_000_000_000_02).await;
    assert_eq!(orders[0]["totalPrice"], json!(166.32));
}

#[tokio::test]
async fn g18_the_coupon_is_found_from_the_lowered_total() {
    let app = TestApp::start().await;
    let (ann, bob, cem) = tokio::join!(app.buyer("ann"), app.seller("bob"), app.seller("cem"));
    let (cup, pot) = tokio::join!(bob.product("cup", "19.99", 10), cem.product("pot", "50", 10));
    let coupon =
        json!({ "name": "SPRING20", "value": "20", "minAmount": "", "maxAmount": "", "selectedProduct": "" });
    bob.post("/api/coupan/create-coupan").json(&coupon).await.expect(201);
    // The client sends text once a coupon was applied: 69.99 + 7.00 − 4.00.
    let orders = buy(&ann, &[item(&cup, 1), item(&pot, 1)], "72.99").await;
    assert_eq!(orders[0]["totalPrice"], json!(17.99));
    assert_eq!(orders[0]["discount"], json!(4));
    assert_eq!(orders[0]["couponCode"], "SPRING20");
    assert_eq!(orders[1]["totalPrice"], json!(55));
    assert!(orders[1].get("couponCode").is_none());
    // A discount that no coupon gives is refused.
    let body = checkout(&ann, &[item(&cup, 1)], "1.00");
    ann.post("/api/order/create-order").json(&body).await.refused(409, "wrong_total");
}

#[tokio::test]
async fn d14_a_coupon_named_outright_must_exist_and_fit_its_bounds() {
    let app = TestApp::start().await;
    let (ann, bob) = tokio::join!(app.buyer("ann"), app.seller("bob"));
    let cup = bob.product("cup", "10", 10).await;
    let coupon =
        json!({ "name": "BIG", "value": 50, "minAmount": 20, "maxAmount": 40, "selectedProduct": "cup" });
    bob.post("/api/coupan/create-coupan").json(&coupon).await.expect(201);
    let named = |count: i64, name: &str| {
        let mut body = checkout(&ann, &[item(&cup, count)], Value::Null);
        body["couponCode"] = json!(name);
        ann.post("/api/order/create-order").json(&body)
    };
    named(1, "BIG").await.refused(409, "coupon_refused");
    named(5, "BIG").await.refused(409, "coupon_refused");
    named(2, "NONE").await.refused(409, "coupon_refused");
    let answer = named(2, "BIG").await.expect(201);
    assert_eq!(answer["orders"][0]["totalPrice"], json!(12));
}

#[tokio::test]
async fn g_make_work_3_items_without_a_count_and_totals_that_are_nan_go_through_on_delivery() {
    let app = TestApp::start().await;
    let (ann, bob) = tokio::join!(app.buyer("ann"), app.seller("bob"));
    let cup = bob.product("cup", "10", 10).await;
    let mut twice = cup.clone();
    twice["count"] = Value::Null;
    for (cart, total) in [(cup.clone(), Value::Null), (twice, json!("NaN"))] {
        let orders = buy(&ann, &[cart], total).await;
        assert_eq!(orders[0]["totalPrice"], json!(11));
        assert_eq!(orders[0]["cart"][0]["count"], json!(1));
    }
}

#[tokio::test]
async fn an_event_can_be_bought_while_it_runs_and_has_stock_of_its_own() {
    let app = TestApp::start().await;
    let (ann, bob) = tokio::join!(app.buyer("ann"), app.seller("bob"));
    let now = app.clock.now().timestamp_millis();
    let day = |days: i64| shared::clock::iso(bson::DateTime::from_millis(now + days * 86_400_000));
    let event = |name: &str, start: String, end: String| {
        let form = bob.listing_form(name, "5", 3).text("start_date", start).text("end_date", end);
        bob.post("/api/event/create-event").form(form)
    };
    let running = event("sale", day(-1), day(3)).await.expect(201)["event"].clone();
    let upcoming = event("soon", day(1), day(4)).await.expect(201)["event"].clone();
    let orders = buy(&ann, std::slice::from_ref(&running), Value::Null).await;
    assert_eq!(orders[0]["totalPrice"], json!(5.5));
    let body = checkout(&ann, std::slice::from_ref(&upcoming), Value::Null);
    let refused = ann.post("/api/order/create-order").json(&body).await.refused(409, "event_not_running");
    assert!(refused["message"].as_str().unwrap().contains("soon"));
    app.clock.advance(4 * 86_400_000);
    let body = checkout(&ann, &[item(&running, 1)], Value::Null);
    ann.post("/api/order/create-order").json(&body).await.refused(409, "event_not_running");
}

#[tokio::test]
async fn d8_what_is_not_there_cannot_be_bought_and_every_such_line_is_named() {
    let app = TestApp::start().await;
    let (ann, bob) = tokio::join!(app.buyer("ann"), app.seller("bob"));
    let (cup, pot, pan) =
        tokio::join!(bob.product("cup", "1", 2), bob.product("pot", "1", 5), bob.product("pan", "1", 1));
    // The same product on two lines counts as one line of the sum.
    let cart = [item(&cup, 2), item(&cup, 1), item(&pot, 1), item(&pan, 4)];
    let body = checkout(&ann, &cart, Value::Null);
    let refused = ann.post("/api/order/create-order").json(&body).await.refused(409, "out_of_stock");
    let message = refused["message"].as_str().unwrap();
    assert!(message.contains("\"cup\" (wanted 3, 2 left)") && message.contains("\"pan\" (wanted 4, 1 left)"));
    assert!(!message.contains("pot"), "{message}");
    for product in [&cup, &pot, &pan] {
        assert_eq!(app.shelf(product).await.1, 0);
    }
    let gone = json!({ "_id": "65f000000000000000000001", "name": "ghost", "count": 1 });
    let body = checkout(&ann, &[item(&cup, 1), gone], Value::Null);
    let refused = ann.post("/api/order/create-order").json(&body).await.refused(409, "item_gone");
    assert!(refused["message"].as_str().unwrap().contains("ghost"));
}

#[tokio::test]
async fn the_last_unit_goes_to_exactly_one_of_many_buyers_on_two_nodes() {
    let app = TestApp::start().await;
    let node = app.another_node().await;
    let bob = app.seller("bob").await;
    let cup = bob.product("cup", "10", 1).await;
    let buyers = join_all((0..24).map(|i| {
        let app = &app;
        async move { app.buyer(&format!("buyer {i}")).await }
    }))
    .await;
    let client = reqwest::Client::new();
    let outcomes = join_all(buyers.iter().enumerate().map(|(i, buyer)| {
        let base = if i % 2 == 0 { &app.base } else { &node.base };
        let request = client
            .post(format!("{base}/api/order/create-order"))
            .bearer_auth(&buyer.token)
            .json(&checkout(buyer, &[item(&cup, 1)], Value::Null));
        async move { request.send().await.unwrap().status().as_u16() }
    }))
    .await;
    assert_eq!(outcomes.iter().filter(|status| **status == 201).count(), 1, "{outcomes:?}");
    assert_eq!(outcomes.iter().filter(|status| **status == 409).count(), 23, "{outcomes:?}");
    assert_eq!(app.shelf(&cup).await, (1, 1, 0));
}

#[tokio::test]
async fn a_fraction_of_a_unit_that_an_old_document_has_reserved_keeps_nobody_from_buying() {
    let app = TestApp::start().await;
    let (ann, bob) = tokio::join!(app.buyer("ann"), app.seller("bob"));
    for (i, (stock, reserved)) in [(1.0, 0.5), (2.5, 1.5), (1.0, 1e300)].into_iter().enumerate() {
        let cup = bob.product(&format!("cup {i}"), "10", 1).await;
        let this = doc! { "_id": id(&cup).parse::<shared::id::Id<shared::model::Listing>>().unwrap() };
        let written = doc! { "$set": { "stock": stock, "reserved": reserved } };
        app.db.raw::<bson::Document>("products").update_one(this, written).await.unwrap();
        buy(&ann, &[item(&cup, 1)], Value::Null).await;
        let body = checkout(&ann, &[item(&cup, 2)], Value::Null);
        if i < 2 {
            ann.post("/api/order/create-order").json(&body).await.refused(409, "out_of_stock");
        }
    }
}

#[tokio::test]
async fn d19_the_same_checkout_many_times_at_once_is_one_checkout() {
    let app = TestApp::start().await;
    let node = app.another_node().await;
    let (ann, bob) = tokio::join!(app.buyer("ann"), app.seller("bob"));
    let cup = bob.product("cup", "10", 50).await;
    let body = checkout(&ann, &[item(&cup, 1)], 11);
    let client = reqwest::Client::new();
    let answers = join_all((0..20).map(|i| {
        let base = if i % 2 == 0 { &app.base } else { &node.base };
        let request =
            client.post(format!("{base}/api/order/create-order")).bearer_auth(&ann.token).json(&body);
        async move {
            let response = request.send().await.unwrap();
            assert_eq!(response.status(), 201);
            response.text().await.unwrap()
        }
    }))
    .await;
    assert!(answers.iter().all(|answer| *answer == answers[0]));
    assert_eq!(app.shelf(&cup).await, (50, 1, 0));
    // After the window the same cart is another order.
    app.clock.advance(11_000);
    buy(&ann, &[item(&cup, 1)], 11).await;
    assert_eq!(app.shelf(&cup).await, (50, 2, 0));
}

#[tokio::test]
async fn an_idempotency_key_gives_the_first_answer_again_and_refuses_another_body() {
    let app = TestApp::start().await;
    let (ann, bob) = tokio::join!(app.buyer("ann"), app.seller("bob"));
    let cup = bob.product("cup", "10", 50).await;
    let send = |key: &str, count: i64| {
        let body = checkout(&ann, &[item(&cup, count)], Value::Null);
        ann.post("/api/order/create-order").header("Idempotency-Key", key).json(&body)
    };
    let first = send("k1", 1).await.expect(201);
    app.clock.advance(60_000);
    assert_eq!(send("k1", 1).await.expect(201), first);
    send("k1", 2).await.refused(422, "idempotency_key_reused");
    let second = send("k2", 1).await.expect(201);
    assert_ne!(second, first);
    assert_eq!(app.shelf(&cup).await.1, 2);
}

#[tokio::test]
async fn b3_nobody_orders_in_somebody_elses_name() {
    let app = TestApp::start().await;
    let (ann, eve, bob) = tokio::join!(app.buyer("ann"), app.buyer("eve"), app.seller("bob"));
    let cup = bob.product("cup", "10", 5).await;
    let body = checkout(&ann, &[item(&cup, 1)], 11);
    eve.post("/api/order/create-order").json(&body).await.refused(403, "not_yours");
    eve.post("/api/order/create-order").bare().json(&body).await.refused(401, "unauthenticated");
    bob.post("/api/order/create-order").json(&body).await.refused(401, "unauthenticated");
    // The session is enough: the client sends `user: null` when it has not loaded its user yet.
    let mut body = body;
    body["user"] = Value::Null;
    ann.post("/api/order/create-order").json(&body).await.expect(201);
}

#[tokio::test]
async fn in_auto_mode_the_unchanged_client_orders_without_a_cookie_and_nobody_from_elsewhere_does() {
    let app = TestApp::with(&[("AUTH_MODE", "auto")]).await;
    let (ann, eve, bob) = tokio::join!(app.buyer("ann"), app.buyer("eve"), app.seller("bob"));
    let cup = bob.product("cup", "10", 5).await;
    let body = checkout(&ann, &[item(&cup, 1)], 11);
    let page = ann.on(tests::CLIENT);
    let answer = page.post("/api/order/create-order").bare().json(&body).await.expect(201);
    let orders = format!("/api/order/getOrders/{}", ann.id);
    assert_eq!(page.get(&orders).bare().await.expect(200)["orders"][0]["_id"], answer["orders"][0]["_id"]);
    // Through a proxy the peer proves nothing; under another name it is DNS rebinding.
    page.get(&orders).bare().header("X-Forwarded-For", "10.0.0.9").await.refused(401, "unauthenticated");
    page.get(&orders).bare().header("Host", "evil.example").await.refused(401, "unauthenticated");
    // A credential that is there counts, also in this mode.
    eve.get(&orders).await.refused(403, "not_yours");
    let no_user = json!({ "user": null, "cart": [item(&cup, 1)], "shippingAddress": address(),
        "paymentInfo": { "type": "Cash on Delivery" }, "totalPrice": null });
    page.post("/api/order/create-order").bare().json(&no_user).await.refused(400, "invalid_input");
}

#[tokio::test]
async fn d16_a_checkout_without_sense_is_a_400_that_names_the_fields() {
    let app = TestApp::start().await;
    let (ann, bob) = tokio::join!(app.buyer("ann"), app.seller("bob"));
    let cup = bob.product("cup", "10", 5).await;
    let good = checkout(&ann, &[item(&cup, 1)], 11);
    let spoilt = |pointer: &str, value: Value| {
        let mut body = good.clone();
        *body.pointer_mut(pointer).unwrap() = value;
        body
    };
    for (body, field) in [
        (spoilt("/cart", json!([])), "cart"),
        (spoilt("/cart/0/_id", json!("undefined")), "cart[0]._id"),
        (spoilt("/cart/0/count", json!(0)), "cart[0].count"),
        (spoilt("/cart/0/count", json!(-1)), "cart[0].count"),
        (spoilt("/cart/0/count", json!(1.5)), "cart[0].count"),
        (spoilt("/cart/0/count", json!("1e9")), "cart[0].count"),
        (spoilt("/shippingAddress", Value::Null), "shippingAddress.address1"),
        (spoilt("/totalPrice", json!(-5)), "totalPrice"),
        (spoilt("/paymentInfo", json!({ "type": "Gold" })), "paymentInfo"),
        (spoilt("/paymentInfo", json!({ "type": "Paypal", "status": "succeeded" })), "paymentInfo"),
        (spoilt("/user/_id", json!("me")), "user._id"),
    ] {
        let refused = ann.post("/api/order/create-order").json(&body).await.refused(400, "invalid_input");
        assert_eq!(refused["errors"][0]["field"], field, "{refused}");
    }
    // Operators and other objects are no ids.
    for (pointer, value) in [
        ("/cart/0/_id", json!({ "$gt": "" })),
        ("/user/_id", json!({ "$ne": null })),
        ("/cart", json!({ "0": 1 })),
        ("/paymentInfo/type", json!(["Cash on Delivery"])),
    ] {
        let answer = ann.post("/api/order/create-order").json(&spoilt(pointer, value)).await;
        answer.refused(400, "malformed_json");
    }
    assert_eq!(app.shelf(&cup).await, (5, 0, 0));
}

#[tokio::test]
async fn d1_only_delivery_pays_the_seller_and_d9_units_leave_the_shelf_once() {
    let app = TestApp::start().await;
    let (ann, bob) = tokio::join!(app.buyer("ann"), app.seller("bob"));
    let cup = bob.product("cup", "33.33", 10).await;
    let order = &buy(&ann, &[item(&cup, 3)], Value::Null).await[0];
    // Skipping a step takes the units all the same, and repeating one takes nothing.
    let shipped = bob.set_status(id(order), "Shipping").await;
    assert!(shipped.get("deliveredAt").is_none() && shipped["paymentInfo"].get("status").is_none());
    bob.set_status(id(order), "Shipping").await;
    assert_eq!(app.shelf(&cup).await, (7, 0, 3));
    assert_eq!(app.balance(&bob).await, 0);
    let delivered = bob.set_status(id(order), "Delivered").await;
    assert_eq!(delivered["paymentInfo"]["status"], "succeeded");
    assert!(delivered["deliveredAt"].is_string() && delivered["paidAt"].is_string());
    bob.set_status(id(order), "Delivered").await;
    // 99.99 + 10.00 = 109.99, less 11.00.
    assert_eq!(app.balance(&bob).await, 9899);
    assert_eq!(app.shelf(&cup).await, (7, 0, 3));
    app.assert_books_balance().await;
}

#[tokio::test]
async fn d2_a_second_delivery_adds_to_the_balance() {
    let app = TestApp::start().await;
    let (ann, bob) = tokio::join!(app.buyer("ann"), app.seller("bob"));
    let cup = bob.product("cup", "10", 10).await;
    for n in 1..=2 {
        let order = &buy(&ann, &[item(&cup, n)], Value::Null).await[0];
        bob.set_status(id(order), "Delivered").await;
    }
    // 11 + 22 less 10 %.
    let shop = app.db.of::<Shop>().find_one(doc! { "_id": bob.id }).await.unwrap().unwrap();
    assert_eq!(shop.balance_minor, Some(2970));
    assert_eq!(shop.transactions.len(), 2);
    let own = bob.get("/api/shop/getSeller").await.expect(201);
    assert_eq!(own["seller"]["availableBalance"], json!(29.7));
    assert_eq!(own["seller"]["transections"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn d17_an_order_never_goes_back_and_the_refusal_names_both_states() {
    let app = TestApp::start().await;
    let (ann, bob) = tokio::join!(app.buyer("ann"), app.seller("bob"));
    let cup = bob.product("cup", "10", 10).await;
    let order = &buy(&ann, &[item(&cup, 1)], Value::Null).await[0];
    bob.set_status(id(order), "Received").await;
    let path = format!("/api/order/update-order-status/{}", id(order));
    for back in ["Processing", "Shipping", "Refund Processing", "Refund Success", "Cancelled"] {
        let refused = bob.put(&path).json(&json!({ "status": back })).await.refused(409, "wrong_status");
        let message = refused["message"].as_str().unwrap();
        assert!(message.contains("Received") && message.contains(back), "{message}");
    }
    for junk in [json!(""), json!("anything"), Value::Null] {
        bob.put(&path).json(&json!({ "status": junk })).await.refused(400, "invalid_input");
    }
    bob.put(&path).json(&json!({ "status": { "$ne": "" } })).await.refused(400, "malformed_json");
}

#[tokio::test]
async fn b7_a_shop_moves_only_its_own_orders() {
    let app = TestApp::start().await;
    let (ann, bob, eve) = tokio::join!(app.buyer("ann"), app.seller("bob"), app.seller("eve"));
    let cup = bob.product("cup", "10", 10).await;
    let order = &buy(&ann, &[item(&cup, 1)], Value::Null).await[0];
    let path = format!("/api/order/update-order-status/{}", id(order));
    let body = json!({ "status": "Delivered" });
    eve.put(&path).json(&body).await.refused(403, "not_yours");
    ann.put(&path).json(&body).await.refused(401, "unauthenticated");
    bob.put(&path).bare().json(&body).await.refused(401, "unauthenticated");
    bob.put("/api/order/update-order-status/undefined").json(&body).await.refused(400, "invalid_id");
    let nobodys = "/api/order/update-order-status/65f000000000000000000001";
    bob.put(nobodys).json(&body).await.refused(404, "order_not_found");
    assert_eq!(app.balance(&eve).await, 0);
    assert_eq!(app.shelf(&cup).await, (10, 1, 0));
}

#[tokio::test]
async fn d10_a_refund_puts_units_and_money_back_exactly_once() {
    let app = TestApp::start().await;
    let (ann, bob) = tokio::join!(app.buyer("ann"), app.seller("bob"));
    let cup = bob.product("cup", "10", 10).await;
    let order = &buy(&ann, &[item(&cup, 4)], Value::Null).await[0];
    let ask = format!("/api/order/refund-order/{}", id(order));
    let grant = format!("/api/order/order-refund-success/{}", id(order));
    let asked = json!({ "status": "Refund Processing", "reason": "too small" });
    ann.put(&ask).json(&asked).await.refused(409, "wrong_status");
    bob.set_status(id(order), "Delivered").await;
    bob.put(&grant).json(&json!({ "status": "Refund Success" })).await.refused(409, "wrong_status");
    let answer = ann.put(&ask).json(&asked).await.expect(200);
    assert_eq!(answer["message"], "Refund in Processing");
    assert_eq!(answer["order"]["refundReason"], "too small");
    // The client sends an empty status when nothing was chosen.
    let refused = bob.put(&grant).json(&json!({ "status": "" })).await.refused(400, "invalid_input");
    assert!(refused["message"].as_str().unwrap().contains("Refund Success"));
    let outcomes =
        join_all((0..8).map(|_| bob.put(&grant).json(&json!({ "status": "Refund Success" })).into_future()));
    for outcome in outcomes.await {
        outcome.expect(200);
    }
    assert_eq!(app.shelf(&cup).await, (10, 0, 0));
    assert_eq!(app.balance(&bob).await, 0);
    app.assert_books_balance().await;
    // O4 may repeat the status that the order has.
    assert_eq!(bob.set_status(id(order), "Refund Success").await["status"], "Refund Success");
}

#[tokio::test]
async fn a_refund_after_a_withdrawal_leaves_the_balance_below_zero() {
    let app = TestApp::start().await;
    let (ann, bob) = tokio::join!(app.buyer("ann"), app.seller("bob"));
    let cup = bob.product("cup", "100", 10).await;
    let order = &buy(&ann, &[item(&cup, 1)], Value::Null).await[0];
    bob.set_status(id(order), "Delivered").await;
    let bank = json!({ "withdrawMethod": { "bankName": "B", "bankCountry": "PK", "bankSwiftCode": "S",
        "bankAccountNumber": "12345678", "bankHolderName": "Bob", "bankAddress": "A" } });
    bob.put("/api/shop/update-payment-methods").json(&bank).await.expect(201);
    bob.post("/api/withDraw/create-withdraw-request").json(&json!({ "amount": 99 })).await.expect(201);
    ann.put(&format!("/api/order/refund-order/{}", id(order))).json(&json!({})).await.expect(200);
    bob.put(&format!("/api/order/order-refund-success/{}", id(order)))
        .json(&json!({ "status": "Refund Success" }))
        .await
        .expect(200);
    assert_eq!(app.balance(&bob).await, -9900);
    app.assert_books_balance().await;
}

#[tokio::test]
async fn a_refused_refund_counts_as_delivered_again_and_moves_nothing() {
    let app = TestApp::start().await;
    let (ann, bob) = tokio::join!(app.buyer("ann"), app.seller("bob"));
    let cup = bob.product("cup", "10", 10).await;
    let order = &buy(&ann, &[item(&cup, 1)], Value::Null).await[0];
    let refuse = format!("/api/order/order-refund-refused/{}", id(order));
    bob.set_status(id(order), "Delivered").await;
    bob.put(&refuse).await.refused(409, "wrong_status");
    ann.put(&format!("/api/order/refund-order/{}", id(order))).json(&json!({})).await.expect(200);
    ann.put(&refuse).await.refused(401, "unauthenticated");
    assert_eq!(bob.put(&refuse).await.expect(200)["order"]["status"], "Delivered");
    assert_eq!((app.shelf(&cup).await, app.balance(&bob).await), ((9, 0, 1), 990));
    app.assert_books_balance().await;
}

#[tokio::test]
async fn b5_b6_only_the_buyer_asks_for_a_refund_and_only_the_shop_grants_it() {
    let app = TestApp::start().await;
    let (ann, eve) = tokio::join!(app.buyer("ann"), app.buyer("eve"));
    let (bob, mal) = tokio::join!(app.seller("bob"), app.seller("mal"));
    let cup = bob.product("cup", "10", 10).await;
    let order = &buy(&ann, &[item(&cup, 1)], Value::Null).await[0];
    bob.set_status(id(order), "Delivered").await;
    let ask = format!("/api/order/refund-order/{}", id(order));
    let body = json!({ "status": "anything" });
    eve.put(&ask).json(&body).await.refused(403, "not_yours");
    eve.put(&ask).bare().json(&body).await.refused(401, "unauthenticated");
    assert_eq!(ann.put(&ask).json(&body).await.expect(200)["order"]["status"], "Refund Processing");
    let grant = format!("/api/order/order-refund-success/{}", id(order));
    let body = json!({ "status": "Refund Success" });
    mal.put(&grant).json(&body).await.refused(403, "not_yours");
    ann.put(&grant).json(&body).await.refused(401, "unauthenticated");
    mal.put(&format!("/api/order/order-refund-refused/{}", id(order))).await.refused(403, "not_yours");
}

#[tokio::test]
async fn buyer_or_seller_cancels_before_the_units_are_handed_over_and_they_are_free_again() {
    let app = TestApp::start().await;
    let (ann, eve, bob) = tokio::join!(app.buyer("ann"), app.buyer("eve"), app.seller("bob"));
    let cup = bob.product("cup", "10", 10).await;
    let cancel = |order: &Value| format!("/api/order/cancel-order/{}", id(order));
    let first = &buy(&ann, &[item(&cup, 2)], Value::Null).await[0];
    eve.put(&cancel(first)).await.refused(403, "not_yours");
    ann.put(&cancel(first)).bare().await.refused(401, "unauthenticated");
    assert_eq!(ann.put(&cancel(first)).await.expect(200)["order"]["status"], "Cancelled");
    ann.put(&cancel(first)).await.expect(200);
    assert_eq!(app.shelf(&cup).await, (10, 0, 0));
    let second = &buy(&ann, &[item(&cup, 3)], Value::Null).await[0];
    bob.put(&cancel(second)).await.expect(200);
    assert_eq!(app.shelf(&cup).await, (10, 0, 0));
    // The same again right after cancelling is meant, and no double click.
    let again = &buy(&ann, &[item(&cup, 3)], Value::Null).await[0];
    assert_ne!(id(again), id(second));
    assert_eq!(app.shelf(&cup).await, (10, 3, 0));
    ann.put(&cancel(again)).await.expect(200);
    let third = &buy(&ann, &[item(&cup, 1)], Value::Null).await[0];
    bob.set_status(id(third), "Transferred to delivery partner").await;
    ann.put(&cancel(third)).await.refused(409, "wrong_status");
    assert_eq!(app.shelf(&cup).await, (9, 0, 1));
}

#[tokio::test]
async fn b4_orders_are_seen_by_their_buyer_and_their_shop_only_g15_and_undefined_is_an_empty_list() {
    let app = TestApp::start().await;
    let (ann, eve) = tokio::join!(app.buyer("ann"), app.buyer("eve"));
    let (bob, mal) = tokio::join!(app.seller("bob"), app.seller("mal"));
    let cup = bob.product("cup", "10", 10).await;
    let order = &buy(&ann, &[item(&cup, 1)], Value::Null).await[0];
    let of_ann = format!("/api/order/getOrders/{}", ann.id);
    let of_bob = format!("/api/order/getShopOrders/{}", bob.id);
    let one = format!("/api/order/get-order/{}", id(order));
    for (path, browser) in [(&of_ann, &ann.browser), (&of_bob, &bob.browser)] {
        assert_eq!(browser.get(path).await.expect(200)["orders"][0]["_id"], order["_id"]);
    }
    for browser in [&ann.browser, &bob.browser] {
        assert_eq!(browser.get(&one).await.expect(200)["order"]["totalPrice"], json!(11));
    }
    eve.get(&of_ann).await.refused(403, "not_yours");
    mal.get(&of_bob).await.refused(403, "not_yours");
    eve.get(&one).await.refused(403, "not_yours");
    mal.get(&one).await.refused(403, "not_yours");
    for path in [&of_ann, &of_bob, &one] {
        app.browser().get(path).await.refused(401, "unauthenticated");
    }
    ann.get("/api/order/get-order/65f000000000000000000001").await.refused(404, "order_not_found");
    for path in ["/api/order/getOrders/undefined", "/api/order/getShopOrders/undefined"] {
        assert_eq!(app.browser().get(path).await.expect(200)["orders"], json!([]));
    }
}

#[tokio::test]
async fn many_hands_on_one_order_move_units_and_money_once() {
    let app = TestApp::start().await;
    let (ann, bob) = tokio::join!(app.buyer("ann"), app.seller("bob"));
    let cup = bob.product("cup", "10", 10).await;
    let order = &buy(&ann, &[item(&cup, 2)], Value::Null).await[0];
    let path = format!("/api/order/update-order-status/{}", id(order));
    let steps = ["Transferred to delivery partner", "Shipping", "On the way", "Delivered"];
    let calls = (0..16).map(|i| bob.put(&path).json(&json!({ "status": steps[i % 4] })).into_future());
    for answer in join_all(calls).await {
        assert!(matches!(answer.status, 200 | 409), "{}", answer.text());
    }
    assert_eq!(app.shelf(&cup).await, (8, 0, 2));
    assert_eq!(app.balance(&bob).await, 1980);
    let stored: Order = app.db.of::<Order>().find_one(doc! {}).await.unwrap().unwrap();
    let walked: Vec<_> = stored.history.iter().map(|change| change.status).collect();
    assert!(walked.is_sorted() && walked.windows(2).all(|pair| pair[0] != pair[1]), "{walked:?}");
    app.assert_books_balance().await;
}

#[tokio::test]
async fn d5_a_card_payment_counts_only_as_its_gateway_says_and_only_once() {
    let app = TestApp::start().await;
    let (ann, bob) = tokio::join!(app.buyer("ann"), app.seller("bob"));
    let cup = bob.product("cup", "10", 10).await;
    let pay = |amount: i64| ann.post("/api/stripe/process").json(&json!({ "amount": amount }));
    let with = |payment: &str, count: i64, total: Value| {
        let mut body = checkout(&ann, &[item(&cup, count)], total);
        body["paymentInfo"] = json!({ "id": payment, "status": "succeeded", "type": "Credit Card" });
        ann.post("/api/order/create-order").json(&body)
    };
    with("pi_invented", 1, json!(11)).await.refused(409, "payment_not_verified");
    let begun = pay(1100).await.expect(200);
    let payment = begun["client_secret"].as_str().unwrap().split("_secret_").next().unwrap().to_owned();
    with(&payment, 2, json!(22)).await.refused(409, "payment_not_verified");
    assert_eq!(app.shelf(&cup).await, (10, 0, 0));
    let order = with(&payment, 1, json!(11)).await.expect(201)["orders"][0].clone();
    assert_eq!(order["paymentInfo"]["status"], "succeeded");
    app.clock.advance(60_000);
    with(&payment, 1, json!(11)).await.refused(409, "payment_used");
    assert_eq!(app.shelf(&cup).await, (10, 1, 0));
}

#[tokio::test]
async fn a_card_payment_for_what_is_sold_out_is_refunded() {
    let app = TestApp::start().await;
    let (ann, bob) = tokio::join!(app.buyer("ann"), app.seller("bob"));
    let cup = bob.product("cup", "10", 1).await;
    buy(&ann, &[item(&cup, 1)], Value::Null).await;
    let begun = ann.post("/api/stripe/process").json(&json!({ "amount": 1100 })).await.expect(200);
    let payment = begun["client_secret"].as_str().unwrap().split("_secret_").next().unwrap().to_owned();
    let mut body = checkout(&ann, &[item(&cup, 1)], 11);
    body["paymentInfo"] = json!({ "id": payment, "type": "Credit Card" });
    ann.post("/api/order/create-order").json(&body).await.refused(409, "out_of_stock");
    app.await_returned(&payment, 1100).await;
}

#[tokio::test]
async fn a_cancelled_card_order_is_refunded() {
    let app = TestApp::start().await;
    let (ann, bob) = tokio::join!(app.buyer("ann"), app.seller("bob"));
    let cup = bob.product("cup", "10", 1).await;
    let begun = ann.post("/api/stripe/process").json(&json!({ "amount": 1100 })).await.expect(200);
    let payment = begun["client_secret"].as_str().unwrap().split("_secret_").next().unwrap().to_owned();
    let mut body = checkout(&ann, &[item(&cup, 1)], 11);
    body["paymentInfo"] = json!({ "id": payment, "type": "Credit Card" });
    let order = ann.post("/api/order/create-order").json(&body).await.expect(201)["orders"][0].clone();
    let answer = ann.put(&format!("/api/order/cancel-order/{}", id(&order))).await.expect(200);
    assert_eq!(answer["order"]["paymentInfo"]["status"], "refunded");
    app.await_returned(&payment, 1100).await;
    assert_eq!(app.shelf(&cup).await, (1, 0, 0));
}

#[tokio::test]
async fn d5_a_paypal_payers_bare_claim_is_kept_as_unverified_and_credits_nobody() {
    let app = TestApp::start().await;
    let (ann, bob) = tokio::join!(app.buyer("ann"), app.seller("bob"));
    let cup = bob.product("cup", "10", 10).await;
    let mut body = checkout(&ann, &[item(&cup, 1)], 11);
    body["paymentInfo"] = json!({ "id": "PAYER123", "status": "succeeded", "type": "Paypal" });
    let order = ann.post("/api/order/create-order").json(&body).await.expect(201)["orders"][0].clone();
    assert_eq!(order["paymentInfo"]["status"], "unverified");
    assert!(order.get("paidAt").is_none());
    let delivered = bob.set_status(id(&order), "Delivered").await;
    assert_eq!(app.balance(&bob).await, 0);
    // The payer's id is the buyer's: whoever knows it could claim what that person pays.
    let mut seen = vec![delivered];
    for path in [format!("getShopOrders/{}", bob.id), format!("get-order/{}", id(&order))] {
        seen.push(bob.get(&format!("/api/order/{path}")).await.expect(200));
    }
    for answer in seen {
        let text = answer.to_string();
        assert!(text.contains("unverified") && !text.contains("PAYER123"), "{text}");
    }
    let own = ann.get(&format!("/api/order/getOrders/{}", ann.id)).await.expect(200);
    assert_eq!(own["orders"][0]["paymentInfo"]["id"], "PAYER123");
    // The same payer pays again: payer ids are not unique.
    app.clock.advance(60_000);
    ann.post("/api/order/create-order").json(&body).await.expect(201);
}

#[tokio::test]
async fn the_payment_routes_answer_what_the_client_needs() {
    let app = TestApp::start().await;
    let ann = app.buyer("ann").await;
    let key = app.browser().get("/api/stripe/stripeApiKey").await.expect(200);
    assert!(!key["stripeApiKey"].as_str().unwrap().is_empty());
    assert!(key.get("success").is_none());
    for amount in [json!(0), json!(-5), json!(10.5), json!("many"), Value::Null, json!(1e12)] {
        let answer = ann.post("/api/stripe/process").json(&json!({ "amount": amount })).await;
        answer.refused(400, "invalid_input");
    }
    let anonymous = app.browser().post("/api/stripe/process").json(&json!({ "amount": 500 })).await;
    anonymous.refused(401, "unauthenticated");
}

#[tokio::test]
async fn a_shop_that_moves_many_orders_at_once_on_two_nodes_is_never_told_to_come_back() {
    let app = TestApp::start().await;
    let node = app.another_node().await;
    let (ann, bob) = tokio::join!(app.buyer("ann"), app.seller("bob"));
    let cup = bob.product("cup", "10", 1000).await;
    let mut orders = Vec::new();
    for n in 1..=40 {
        app.clock.advance(60_000);
        orders.push(ann.order(&[(&cup, n)]).await.remove(0));
    }
    let client = reqwest::Client::new();
    // All want the same product and the same balance.
    let calls = orders.iter().enumerate().map(|(i, order)| {
        let base = if i.is_multiple_of(2) { &app.base } else { &node.base };
        let request = client
            .put(format!("{base}/api/order/update-order-status/{}", id(order)))
            .bearer_auth(&bob.token)
            .json(&json!({ "status": "Delivered" }));
        async move { request.send().await.unwrap().status().as_u16() }
    });
    assert_eq!(join_all(calls).await, [200; 40]);
    assert_eq!(app.shelf(&cup).await, (180, 0, 820));
    // 820 cups at 10 and their shipping, less a tenth.
    assert_eq!(app.balance(&bob).await, 820 * 990);
    app.assert_books_balance().await;
}
