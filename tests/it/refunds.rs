//! Refunds of some units of an order: to the cent, once, and nobody else's.

use bson::doc;
use futures_util::future::join_all;
use serde_json::{Value, json};
use shared::model::LedgerEntry;
use tests::{Buyer, Seller, TestApp, people::in_cash};

fn id(document: &Value) -> &str {
    document["_id"].as_str().unwrap()
}

fn ask_path(order: &Value) -> String {
    format!("/api/order/refund-order/{}", id(order))
}

fn grant_path(order: &Value) -> String {
    format!("/api/order/order-refund-success/{}", id(order))
}

/// A request for so many of each listing.
fn of(items: &[(&Value, i64)]) -> Value {
    let item = |(listing, count): &(&Value, i64)| json!({ "id": id(listing), "count": count });
    json!({ "items": items.iter().map(item).collect::<Vec<_>>(), "reason": "broken" })
}

fn granted() -> Value {
    json!({ "status": "Refund Success" })
}

/// Asks and is granted; gives the order as it is then.
pub async fn refund(buyer: &Buyer, seller: &Seller, order: &Value, items: &[(&Value, i64)]) -> Value {
    buyer.put(&ask_path(order)).json(&of(items)).await.expect(200);
    seller.put(&grant_path(order)).json(&granted()).await.expect(200);
    buyer.get(&format!("/api/order/get-order/{}", id(order))).await.expect(200)["order"].clone()
}

#[tokio::test]
async fn single_units_come_back_at_what_they_cost_and_the_last_one_settles_the_order() {
    let app = TestApp::start().await;
    let (ann, bob) = tokio::join!(app.buyer("ann"), app.seller("bob"));
    let (cup, pot) = (bob.product("cup", "3.33", 10).await, bob.product("pot", "10.01", 10).await);
    // 9.99 and 10.01, and 2.00 shipping.
    let order = ann.order(&[(&cup, 3), (&pot, 1)]).await.remove(0);
    assert_eq!(order["totalPrice"], json!(22));
    assert_eq!((&order["cart"][0]["paid"], &order["cart"][1]["paid"]), (&json!(10.98), &json!(11.02)));
    bob.set_status(id(&order), "Delivered").await;
    assert_eq!(app.balance(&bob).await, 1980);

    let asked = ann.put(&ask_path(&order)).json(&of(&[(&cup, 1)])).await.expect(200);
    assert_eq!(
        (&asked["message"], &asked["order"]["status"]),
        (&json!("Refund in Processing"), &json!("Refund Processing"))
    );
    assert_eq!(asked["order"]["refunds"][0]["state"], "asked");
    assert_eq!(asked["order"]["refunds"][0]["amount"], json!(3.66));
    assert_eq!(asked["order"]["refundReason"], "broken");
    assert!(asked["order"].get("refundedTotal").is_none());
    bob.put(&grant_path(&order)).json(&granted()).await.expect(200);

    let after = ann.get(&format!("/api/order/get-order/{}", id(&order))).await.expect(200)["order"].clone();
    assert_eq!((&after["status"], &after["refundedTotal"]), (&json!("Delivered"), &json!(3.66)));
    assert_eq!((&after["cart"][0]["refunded"], after["cart"][1].get("refunded")), (&json!(1), None));
    assert_eq!(after["paymentInfo"]["status"], "succeeded");
    assert_eq!((app.shelf(&cup).await, app.shelf(&pot).await), ((8, 0, 2), (9, 0, 1)));
    // 3.66 less the 0.36 of the fee that the marketplace gives up.
    assert_eq!(app.balance(&bob).await, 1980 - 330);
    app.assert_books_balance().await;

    let after = refund(&ann, &bob, &order, &[(&pot, 1), (&cup, 1)]).await;
    assert_eq!((&after["status"], &after["refundedTotal"]), (&json!("Delivered"), &json!(18.34)));
    app.assert_books_balance().await;
    // The existing client asks for everything, which is now the last cup.
    ann.put(&ask_path(&order)).json(&json!({ "status": "Refund Processing" })).await.expect(200);
    bob.put(&grant_path(&order)).json(&granted()).await.expect(200);
    let after = ann.get(&format!("/api/order/get-order/{}", id(&order))).await.expect(200)["order"].clone();
    assert_eq!((&after["status"], &after["refundedTotal"]), (&json!("Refund Success"), &json!(22)));
    assert_eq!(after["paymentInfo"]["status"], "refunded");
    assert_eq!((app.shelf(&cup).await, app.shelf(&pot).await), ((10, 0, 0), (10, 0, 0)));
    assert_eq!(app.balance(&bob).await, 0);
    app.assert_books_balance().await;
    let keys = ["refund:ID", "refund:ID:2", "refund:ID:3"].map(|key| key.replace("ID", id(&order)));
    for key in keys {
        assert!(app.db.of::<LedgerEntry>().find_one(doc! { "_id": &key }).await.unwrap().is_some(), "{key}");
    }
}

#[tokio::test]
async fn a_request_that_makes_no_sense_is_refused_and_changes_nothing() {
    let app = TestApp::start().await;
    let (ann, bob) = tokio::join!(app.buyer("ann"), app.seller("bob"));
    let (cup, pot) = (bob.product("cup", "10", 10).await, bob.product("pot", "10", 10).await);
    let order = ann.order(&[(&cup, 2)]).await.remove(0);
    bob.set_status(id(&order), "Delivered").await;
    let ask = |body: Value| ann.put(&ask_path(&order)).json(&body);
    for items in [
        json!([]),
        json!([{}]),
        json!([{ "id": "x", "count": 1 }]),
        json!([{ "id": id(&cup) }]),
        json!([{ "id": id(&cup), "count": 0 }]),
        json!([{ "id": id(&cup), "count": -1 }]),
        json!([{ "id": id(&cup), "count": 1.5 }]),
        json!([{ "id": id(&cup), "count": "1e309" }]),
        json!([{ "id": id(&pot), "count": 1 }]),
    ] {
        let refused = ask(json!({ "items": items })).await.refused(400, "invalid_input");
        assert!(refused["errors"][0]["field"].as_str().unwrap().starts_with("items"), "{refused}");
    }
    ask(json!({ "items": [{ "id": { "$gt": "" }, "count": 1 }] })).await.refused(400, "malformed_json");
    ask(json!({ "items": "all" })).await.refused(400, "malformed_json");
    let refused = ask(of(&[(&cup, 3)])).await.refused(409, "not_refundable");
    assert!(refused["message"].as_str().unwrap().contains("only 2 of them"), "{refused}");
    // Twice the same listing is the sum.
    ask(of(&[(&cup, 1), (&cup, 2)])).await.refused(409, "not_refundable");
    let shown = ann.get(&format!("/api/order/get-order/{}", id(&order))).await.expect(200);
    assert_eq!((&shown["order"]["status"], shown["order"].get("refunds")), (&json!("Delivered"), None));
    refund(&ann, &bob, &order, &[(&cup, 1)]).await;
    let refused = ask(of(&[(&cup, 2)])).await.refused(409, "not_refundable");
    assert!(refused["message"].as_str().unwrap().contains("only 1 of them"), "{refused}");
}

#[tokio::test]
async fn while_the_shop_has_not_decided_only_the_same_can_be_asked_again() {
    let app = TestApp::start().await;
    let (ann, bob) = tokio::join!(app.buyer("ann"), app.seller("bob"));
    let cup = bob.product("cup", "10", 10).await;
    let order = ann.order(&[(&cup, 3)]).await.remove(0);
    bob.set_status(id(&order), "Delivered").await;
    let ask = |body: Value| ann.put(&ask_path(&order)).json(&body);
    ask(of(&[(&cup, 1)])).await.expect(200);
    ask(of(&[(&cup, 1)])).await.expect(200);
    ask(json!({})).await.expect(200);
    ask(of(&[(&cup, 2)])).await.refused(409, "refund_pending");
    // Refused: the units can be asked for again.
    let refuse = format!("/api/order/order-refund-refused/{}", id(&order));
    bob.put(&refuse).await.expect(200);
    bob.put(&refuse).await.expect(200);
    let after = ask(of(&[(&cup, 2)])).await.expect(200);
    assert_eq!(after["order"]["refunds"][0]["state"], "refused");
    assert_eq!(after["order"]["refunds"][1]["state"], "asked");
    bob.put(&grant_path(&order)).json(&granted()).await.expect(200);
    assert_eq!(app.shelf(&cup).await, (9, 0, 1));
    app.assert_books_balance().await;
}

#[tokio::test]
async fn part_of_an_order_is_the_buyers_to_ask_for_and_the_shops_to_grant() {
    let app = TestApp::start().await;
    let (ann, eve) = tokio::join!(app.buyer("ann"), app.buyer("eve"));
    let (bob, mal) = tokio::join!(app.seller("bob"), app.seller("mal"));
    let cup = bob.product("cup", "10", 10).await;
    let order = ann.order(&[(&cup, 3)]).await.remove(0);
    bob.set_status(id(&order), "Delivered").await;
    eve.put(&ask_path(&order)).json(&of(&[(&cup, 1)])).await.refused(403, "not_yours");
    app.browser().put(&ask_path(&order)).json(&of(&[(&cup, 1)])).await.refused(401, "unauthenticated");
    ann.put(&ask_path(&order)).json(&of(&[(&cup, 1)])).await.expect(200);
    mal.put(&grant_path(&order)).json(&granted()).await.refused(403, "not_yours");
    ann.put(&grant_path(&order)).json(&granted()).await.refused(401, "unauthenticated");
    assert_eq!(app.shelf(&cup).await, (7, 0, 3));
}

#[tokio::test]
async fn however_many_hands_grant_or_refuse_part_of_an_order_it_is_decided_once() {
    let app = TestApp::start().await;
    let node = app.another_node().await;
    let (ann, bob) = tokio::join!(app.buyer("ann"), app.seller("bob"));
    let cup = bob.product("cup", "9.99", 100).await;
    let client = reqwest::Client::new();
    for round in 0..6 {
        let order = ann.order(&[(&cup, 4 + round)]).await.remove(0);
        bob.set_status(id(&order), "Delivered").await;
        ann.put(&ask_path(&order)).json(&of(&[(&cup, 1)])).await.expect(200);
        let (before, sold) = (app.balance(&bob).await, app.shelf(&cup).await.2);
        let call = |i: usize| {
            let base = if i.is_multiple_of(2) { &app.base } else { &node.base };
            let tail = if i.is_multiple_of(3) { "order-refund-refused" } else { "order-refund-success" };
            let request = client.put(format!("{base}/api/order/{tail}/{}", id(&order)));
            let request = request.bearer_auth(&bob.token).json(&granted());
            async move { (tail, request.send().await.unwrap().status().as_u16()) }
        };
        let answers = join_all((0..20).map(call)).await;
        assert!(answers.iter().all(|(_, status)| matches!(status, 200 | 409)), "{answers:?}");
        let won: Vec<&str> = answers.iter().filter(|answer| answer.1 == 200).map(|answer| answer.0).collect();
        // Whoever decided first was right, and so is everybody who says the same.
        assert!(!won.is_empty() && won.iter().all(|tail| *tail == won[0]), "{answers:?}");
        let back = i64::from(won[0] == "order-refund-success");
        // 9.99 and its shipping, less a tenth.
        assert_eq!(app.shelf(&cup).await.2, sold - back, "{answers:?}");
        assert!(app.balance(&bob).await == before || back == 1);
        app.assert_books_balance().await;
    }
}

#[tokio::test]
async fn a_decision_that_names_its_refund_never_decides_about_another() {
    let app = TestApp::start().await;
    let (ann, bob) = tokio::join!(app.buyer("ann"), app.seller("bob"));
    let cup = bob.product("cup", "10", 10).await;
    let order = ann.order(&[(&cup, 3)]).await.remove(0);
    bob.set_status(id(&order), "Delivered").await;
    let grant = |number: &str| bob.put(&format!("{}?refund={number}", grant_path(&order))).json(&granted());
    let refuse =
        |number: i64| bob.put(&format!("/api/order/order-refund-refused/{}?refund={number}", id(&order)));
    ann.put(&ask_path(&order)).json(&of(&[(&cup, 1)])).await.expect(200);
    for none_such in ["0", "-1", "one", "1.5", "99999999999999999999"] {
        grant(none_such).await.refused(400, "invalid_input");
    }
    grant("2").await.refused(409, "wrong_status");
    grant("1").await.expect(200);
    ann.put(&ask_path(&order)).json(&of(&[(&cup, 1)])).await.expect(200);
    // The first decision once more, late: the second request still waits.
    grant("1").await.expect(200);
    let refused = refuse(1).await.refused(409, "wrong_status");
    assert!(refused["message"].as_str().unwrap().contains("has been granted"), "{refused}");
    assert_eq!(app.shelf(&cup).await, (8, 0, 2));
    refuse(2).await.expect(200);
    refuse(2).await.expect(200);
    grant("2").await.refused(409, "wrong_status");
    assert_eq!(app.shelf(&cup).await, (8, 0, 2));
    app.assert_books_balance().await;
}

#[tokio::test]
async fn a_card_gets_back_just_what_each_part_cost() {
    let app = TestApp::start().await;
    let (ann, bob, eve) = tokio::join!(app.buyer("ann"), app.seller("bob"), app.seller("eve"));
    let (cup, tea) = (bob.product("cup", "3.33", 10).await, eve.product("tea", "6.65", 10).await);
    // 9.99 and 1.00; 6.65 and 0.66 (0.665 goes to the even cent); the last order bears the rest.
    let begun = ann.post("/api/stripe/process").json(&json!({ "amount": 1830 })).await.expect(200);
    let payment = begun["id"].as_str().unwrap();
    let mut body = in_cash(&[(&cup, 3), (&tea, 1)]);
    body["totalPrice"] = json!(18.3);
    body["paymentInfo"] = json!({ "id": payment, "type": "Credit Card" });
    let orders = ann.post("/api/order/create-order").json(&body).await.expect(201)["orders"].clone();
    bob.set_status(id(&orders[0]), "Delivered").await;
    // 10.99 in three parts, each as soon as it is granted: a gateway that refuses what is too much
    // would hide that it was asked for.
    for back in [366, 732, 1099] {
        refund(&ann, &bob, &orders[0], &[(&cup, 1)]).await;
        app.await_returned(payment, back).await;
    }
    eve.set_status(id(&orders[1]), "Delivered").await;
    refund(&ann, &eve, &orders[1], &[(&tea, 1)]).await;
    app.await_returned(payment, 1830).await;
    app.assert_books_balance().await;
}

#[tokio::test]
async fn any_sequence_of_partial_refunds_leaves_no_cent_and_no_unit_over() {
    let app = TestApp::start().await;
    let (ann, bob) = tokio::join!(app.buyer("ann"), app.seller("bob"));
    let mut goods = Vec::new();
    for (name, price) in [("cup", "3.33"), ("pot", "10.01"), ("jug", "0.07")] {
        goods.push(bob.product(name, price, 1000).await);
    }
    let coupon = json!({ "name": "CUPS", "value": "33", "selectedProduct": "cup" });
    bob.post("/api/coupan/create-coupan").json(&coupon).await.expect(201);
    let mut seed = 5_u64;
    let mut random = |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(seed >> 33).unwrap() % below
    };
    for round in 0..12 {
        app.clock.advance(60_000);
        let counts: Vec<i64> = goods.iter().map(|_| i64::try_from(1 + random(5)).unwrap()).collect();
        let cart: Vec<(&Value, i64)> = goods.iter().zip(counts.iter().copied()).collect();
        let mut body = in_cash(&cart);
        if round % 2 == 0 {
            body["couponCode"] = json!("CUPS");
        }
        let order = ann.post("/api/order/create-order").json(&body).await.expect(201)["orders"][0].clone();
        bob.set_status(id(&order), "Delivered").await;
        let mut left = counts;
        while left.iter().any(|count| *count > 0) {
            let mut items = Vec::new();
            for (good, left) in goods.iter().zip(&mut left) {
                let count = i64::try_from(random(usize::try_from(*left).unwrap() + 1)).unwrap();
                if count > 0 {
                    items.push((good, count));
                    *left -= count;
                }
            }
            if !items.is_empty() {
                refund(&ann, &bob, &order, &items).await;
            }
        }
        let after = ann.get(&format!("/api/order/get-order/{}", id(&order))).await.expect(200);
        assert_eq!(after["order"]["status"], "Refund Success");
        assert_eq!(after["order"]["refundedTotal"], order["totalPrice"]);
        assert_eq!(app.balance(&bob).await, 0);
    }
    for good in &goods {
        assert_eq!(app.shelf(good).await, (1000, 0, 0));
    }
    app.assert_books_balance().await;
}

#[tokio::test]
async fn what_was_to_be_paid_online_and_was_not_is_cancelled_in_time_and_its_units_are_free() {
    let app = TestApp::with(&[("RESERVATION_TTL", "1h")]).await;
    let node = app.another_node().await;
    let (ann, bob) = tokio::join!(app.buyer("ann"), app.seller("bob"));
    let cup = bob.product("cup", "10", 10).await;
    let by = |kind: &str, count| {
        let mut body = in_cash(&[(&cup, count)]);
        body["totalPrice"] = json!(11 * count);
        body["paymentInfo"] = json!({ "id": "PAYER1", "type": kind });
        ann.post("/api/order/create-order").json(&body)
    };
    let claimed = by("Paypal", 1).await.expect(201)["orders"][0].clone();
    let handed_over = by("Paypal", 2).await.expect(201)["orders"][0].clone();
    by("Cash on Delivery", 3).await.expect(201);
    bob.set_status(id(&handed_over), "Shipping").await;
    app.clock.advance(3_599_000);
    assert_eq!(api::expire_unpaid(&app.inside()).await.unwrap(), 0);
    app.clock.advance(2_000);
    let other = node.inside();
    let here = app.inside();
    let both = tokio::join!(api::expire_unpaid(&here), api::expire_unpaid(&other));
    assert!(both.0.is_ok() && both.1.is_ok());
    let shown = ann.get(&format!("/api/order/get-order/{}", id(&claimed))).await.expect(200)["order"].clone();
    assert_eq!(shown["status"], "Cancelled");
    assert_eq!(shown["statusHistory"].as_array().unwrap().len(), 2);
    assert_eq!(shown["statusHistory"][1]["note"], "The payment never arrived");
    assert_eq!(app.shelf(&cup).await, (8, 3, 2));
    assert_eq!(api::expire_unpaid(&here).await.unwrap(), 0);
    // The buyer, who may have paid after all, is told once, whichever node it was.
    let words = "Your order is cancelled: its payment never arrived";
    let mail = app.mails().await_mail_about(&ann.email, words).await;
    assert!(mail.text().contains(id(&claimed)) && mail.text().contains("PAYER1"), "{}", mail.text());
    crate::mail::outbox_is_empty(&app).await;
    assert_eq!(app.mails().count_about(&ann.email, words), 1);
    app.assert_books_balance().await;
}
