//! Money and units to the cent and the piece: the audit that finds what is missing, and the orders
//! of the old server that invite mistakes.

use bson::{Bson, Document, doc};
use serde_json::{Value, json};
use shared::{
    audit,
    clock::{iso, plus},
    id::Id,
    model::{LedgerEntry, Listing, Order, Shop},
};
use tests::{Buyer, Seller, TestApp, people::in_cash};

fn id(document: &Value) -> &str {
    document["_id"].as_str().unwrap()
}

/// An order as the old server stored it: two cups for 220, shipping included.
pub(crate) async fn legacy_order(
    app: &TestApp,
    buyer: &Buyer,
    seller: &Seller,
    cup: &Value,
    more: Document,
) -> String {
    let order = Id::<Document>::new();
    let mut stored = doc! {
        "_id": order,
        "cart": [{
            "_id": id(cup), "name": "cup", "discountPrice": 100, "count": 2, "shopeId": seller.id.hex(),
        }],
        "shippingAddress": { "address1": "1 Elm Street", "address2": "", "country": "PK", "city": "PB" },
        "user": { "_id": buyer.id.hex(), "name": "ann" },
        "totalPrice": 220,
        "paymentInfo": { "type": "Cash on Delivery" },
        "createdAt": app.clock.now(),
        "__v": 0,
    };
    stored.extend(more);
    app.db.raw::<Document>("orders").insert_one(stored).await.unwrap();
    order.hex()
}

/// An event that is running.
async fn sale(app: &TestApp, seller: &Seller) -> Value {
    let end = iso(plus(app.clock.now(), 86_400_000));
    let form = seller.listing_form("sale", "5", 10).text("start_date", "2024-01-01").text("end_date", end);
    seller.post("/api/event/create-event").form(form).await.expect(201)["event"].clone()
}

#[tokio::test]
async fn the_audit_finds_a_cent_and_a_unit_that_somebody_moved_past_the_books() {
    let app = TestApp::start().await;
    let (ann, bob) = tokio::join!(app.buyer("ann"), app.seller("bob"));
    let (cup, sale) = tokio::join!(bob.product("cup", "6.65", 10), sale(&app, &bob));
    let delivered = ann.order(&[(&cup, 3)]).await.remove(0);
    bob.set_status(id(&delivered), "Delivered").await;
    ann.order(&[(&cup, 2), (&sale, 1)]).await;
    app.assert_books_balance().await;
    let counted = audit::run(&app.db).await.unwrap();
    assert_eq!((counted.entries, counted.shops), (1, 1));

    let shops = || app.db.raw::<Document>("shops");
    let ledger = || app.db.raw::<Document>("ledger");
    let (cup_id, sale_id) =
        (id(&cup).parse::<Id<Listing>>().unwrap(), id(&sale).parse::<Id<Listing>>().unwrap());
    let entry = format!("delivered:{}", id(&delivered));
    let order_id: Id<Order> = id(&delivered).parse().unwrap();
    let this = doc! { "_id": bob.id };
    // 19.95 and 2.00 shipping, less a tenth, are 19.75.
    let cent = Bson::Double(19.76);
    let right = Bson::Double(19.75);
    for (what, collection, filter, wrong, mended) in [
        (
            "is counted",
            shops(),
            this.clone(),
            doc! { "$inc": { "balanceMinor": 1 } },
            doc! { "$inc": { "balanceMinor": -1 } },
        ),
        (
            "19.76 shown",
            shops(),
            this,
            doc! { "$set": { "availableBalance": cent } },
            doc! { "$set": { "availableBalance": right } },
        ),
        (
            "is off by 0.01",
            ledger(),
            doc! { "_id": &entry, "lines.account": "platform:fees" },
            doc! { "$inc": { "lines.$.minor": 1 } },
            doc! { "$inc": { "lines.$.minor": -1 } },
        ),
        (
            "has 3 reserved, but open orders hold 2",
            app.db.raw("products"),
            doc! { "_id": cup_id },
            doc! { "$inc": { "reserved": 1 } },
            doc! { "$inc": { "reserved": -1 } },
        ),
        (
            "has 0 reserved, but open orders hold 1",
            app.db.raw("events"),
            doc! { "_id": sale_id },
            doc! { "$inc": { "reserved": -1 } },
            doc! { "$inc": { "reserved": 1 } },
        ),
        (
            "was supplied with 10, but 8 are in stock and 3 are sold",
            app.db.raw("products"),
            doc! { "_id": cup_id },
            doc! { "$inc": { "stock": 1 } },
            doc! { "$inc": { "stock": -1 } },
        ),
        (
            "has 4 sold, but orders have 3",
            app.db.raw("products"),
            doc! { "_id": cup_id },
            doc! { "$inc": { "stock": -1, "sold_out": 1 } },
            doc! { "$inc": { "stock": 1, "sold_out": -1 } },
        ),
        (
            "but its lines come to 21.95",
            app.db.raw("orders"),
            doc! { "_id": order_id },
            doc! { "$set": { "totalPrice": 21.96 } },
            doc! { "$set": { "totalPrice": 21.95 } },
        ),
        (
            "has 1 units marked as refunded, but 0 were granted",
            app.db.raw("orders"),
            doc! { "_id": order_id },
            doc! { "$set": { "cart.0.refunded": 1 } },
            doc! { "$unset": { "cart.0.refunded": 1 } },
        ),
        (
            "of which 2.20 is the fee, but the ledger has 20.75 and 1.20",
            ledger(),
            doc! { "_id": &entry },
            doc! { "$set": { "lines.1.minor": 2075, "lines.2.minor": 120 } },
            doc! { "$set": { "lines.1.minor": 1975, "lines.2.minor": 220 } },
        ),
    ] {
        assert_eq!(collection.update_one(filter.clone(), wrong).await.unwrap().modified_count, 1);
        let found = audit::run(&app.db).await.unwrap().differences;
        assert!(found.iter().any(|found| found.contains(what)), "{what}: {found:?}");
        collection.update_one(filter, mended).await.unwrap();
        app.assert_books_balance().await;
    }
    let stray = Id::<Shop>::new();
    let lines = vec![
        shared::ledger::line(shared::ledger::shop_account(stray), shared::money::Money::from_minor(1)),
        shared::ledger::line("cod", shared::money::Money::from_minor(-1)),
    ];
    let entry = LedgerEntry { key: "delivered:nothing".to_owned(), at: app.clock.now(), lines };
    app.db.of::<LedgerEntry>().insert_one(entry).await.unwrap();
    let found = audit::run(&app.db).await.unwrap().differences;
    assert_eq!(
        found,
        [
            format!("the ledger has 0.01 for shop:{stray}, and there is no such shop"),
            "the ledger has an entry delivered:nothing, which is about nothing".to_owned(),
        ]
    );
}

#[tokio::test]
async fn a_shop_finds_its_old_orders_also_where_no_line_names_it() {
    let app = TestApp::start().await;
    let (ann, bob, eve) = tokio::join!(app.buyer("ann"), app.seller("bob"), app.seller("eve"));
    let cup = bob.product("cup", "100", 10).await;
    let cart = vec![doc! { "_id": id(&cup), "discountPrice": 100, "count": 2 }];
    let more = doc! { "cart": cart, "shopId": bob.id.hex(), "status": "Processing" };
    let order = legacy_order(&app, &ann, &bob, &cup, more).await;
    let listed = bob.get(&format!("/api/order/getShopOrders/{}", bob.id)).await.expect(200);
    assert_eq!(listed["orders"].as_array().unwrap().len(), 1);
    bob.get(&format!("/api/order/get-order/{order}")).await.expect(200);
    let path = format!("/api/order/update-order-status/{order}");
    eve.put(&path).json(&json!({ "status": "Delivered" })).await.refused(403, "not_yours");
    bob.set_status(&order, "Delivered").await;
    assert_eq!(app.balance(&bob).await, 19800);
    app.assert_books_balance().await;
}

#[tokio::test]
async fn a_refund_in_process_of_an_old_order_that_nobody_had_delivered_takes_nothing_from_the_shop() {
    let app = TestApp::start().await;
    let (ann, bob) = tokio::join!(app.buyer("ann"), app.seller("bob"));
    let cup = bob.product("cup", "100", 10).await;
    // The old server let anybody set any status.
    let asked = doc! { "status": "Refund Processing" };
    let granted = legacy_order(&app, &ann, &bob, &cup, asked.clone()).await;
    let path = format!("/api/order/order-refund-success/{granted}");
    bob.put(&path).json(&json!({ "status": "Refund Success" })).await.expect(200);
    assert_eq!((app.balance(&bob).await, app.shelf(&cup).await), (0, (10, 0, 0)));
    // Refused, it counts as delivered: then the shop has earned it.
    let refused = legacy_order(&app, &ann, &bob, &cup, asked).await;
    bob.put(&format!("/api/order/order-refund-refused/{refused}")).await.expect(200);
    assert_eq!((app.balance(&bob).await, app.shelf(&cup).await), (19800, (8, 0, 2)));
    app.assert_books_balance().await;
}

#[tokio::test]
async fn what_the_old_server_credited_early_is_taken_back_once_the_order_fails() {
    let app = TestApp::start().await;
    let (ann, bob) = tokio::join!(app.buyer("ann"), app.seller("bob"));
    let cup = bob.product("cup", "100", 10).await;
    // It credited with any click on the button, also on the status that the order had already.
    let touched = doc! { "status": "Processing", "deliveredAt": app.clock.now() };
    let cancelled = legacy_order(&app, &ann, &bob, &cup, touched.clone()).await;
    for _ in 0..2 {
        bob.put(&format!("/api/order/cancel-order/{cancelled}")).await.expect(200);
    }
    assert_eq!((app.balance(&bob).await, app.shelf(&cup).await), (-19800, (10, 0, 0)));

    let delivered = legacy_order(&app, &ann, &bob, &cup, touched).await;
    bob.set_status(&delivered, "Delivered").await;
    assert_eq!((app.balance(&bob).await, app.shelf(&cup).await), (-19800, (8, 0, 2)));
    ann.put(&format!("/api/order/refund-order/{delivered}")).json(&json!({})).await.expect(200);
    let path = format!("/api/order/order-refund-success/{delivered}");
    bob.put(&path).json(&json!({ "status": "Refund Success" })).await.expect(200);
    assert_eq!((app.balance(&bob).await, app.shelf(&cup).await), (-39600, (10, 0, 0)));
    app.assert_books_balance().await;
}

#[tokio::test]
async fn an_old_listing_without_a_price_is_neither_given_away_nor_does_it_pay_for_the_rest() {
    let app = TestApp::start().await;
    let (ann, bob) = tokio::join!(app.buyer("ann"), app.seller("bob"));
    let (cup, pot) = tokio::join!(bob.product("cup", "100", 10), bob.product("pot", "100", 10));
    let products = app.db.raw::<Document>("products");
    for price in [Bson::Int32(-99), Bson::Int32(0), Bson::String("ask".to_owned())] {
        let this = doc! { "_id": id(&pot).parse::<Id<Listing>>().unwrap() };
        products.update_one(this, doc! { "$set": { "discountPrice": price } }).await.unwrap();
        let body = in_cash(&[(&cup, 1), (&pot, 1)]);
        let refused = ann.post("/api/order/create-order").json(&body).await.refused(409, "item_gone");
        assert!(refused["message"].as_str().unwrap().contains("\"pot\""), "{refused}");
    }
    app.assert_books_balance().await;
}

#[tokio::test]
async fn nothing_is_ordered_for_more_than_can_be_kept_to_the_cent() {
    let app = TestApp::start().await;
    let (ann, bob) = tokio::join!(app.buyer("ann"), app.seller("bob"));
    let moon = bob.product("moon", "900000000000", 1_000_000).await;
    for count in [2, 10_000] {
        let body = in_cash(&[(&moon, count)]);
        ann.post("/api/order/create-order").json(&body).await.refused(409, "wrong_total");
    }
    let order = ann.order(&[(&moon, 1)]).await.remove(0);
    assert_eq!(order["totalPrice"], json!(990_000_000_000_i64));
    bob.set_status(id(&order), "Delivered").await;
    assert_eq!(app.balance(&bob).await, 89_100_000_000_000);
    app.assert_books_balance().await;
}

#[tokio::test]
async fn what_nobody_has_verified_is_not_called_refunded() {
    let app = TestApp::start().await;
    let (ann, bob) = tokio::join!(app.buyer("ann"), app.seller("bob"));
    let cup = bob.product("cup", "100", 10).await;
    let mut body = in_cash(&[(&cup, 1)]);
    body["totalPrice"] = json!(110);
    body["paymentInfo"] = json!({ "type": "Paypal", "id": "a payer", "status": "succeeded" });
    let placed = ann.post("/api/order/create-order").json(&body).await.expect(201);
    let order = id(&placed["orders"][0]);
    bob.set_status(order, "Delivered").await;
    ann.put(&format!("/api/order/refund-order/{order}")).json(&json!({})).await.expect(200);
    let path = format!("/api/order/order-refund-success/{order}");
    bob.put(&path).json(&json!({ "status": "Refund Success" })).await.expect(200);
    let order = ann.get(&format!("/api/order/get-order/{order}")).await.expect(200)["order"].clone();
    assert_eq!(order["paymentInfo"]["status"], "unverified");
    assert_eq!((app.balance(&bob).await, app.shelf(&cup).await), (0, (10, 0, 0)));
    app.assert_books_balance().await;
}

#[tokio::test]
async fn stock_that_the_old_server_writes_beside_us_as_text_is_counted_with_all_the_same() {
    let app = TestApp::start().await;
    let (ann, bob) = tokio::join!(app.buyer("ann"), app.seller("bob"));
    for text in ["10", "10.0"] {
        let cup = bob.product(text, "100", 1).await;
        let this = doc! { "_id": id(&cup).parse::<Id<Listing>>().unwrap() };
        // Nine more on the shelf than Souk was told of: `supplied` is what it would otherwise miss.
        let written = doc! { "$set": { "stock": text, "sold_out": "0", "supplied": 10 } };
        app.db.raw::<Document>("products").update_one(this, written).await.unwrap();
        let order = ann.order(&[(&cup, 2)]).await.remove(0);
        bob.set_status(id(&order), "Delivered").await;
        assert_eq!(app.shelf(&cup).await, (8, 0, 2));
        ann.put(&format!("/api/order/refund-order/{}", id(&order))).json(&json!({})).await.expect(200);
        let path = format!("/api/order/order-refund-success/{}", id(&order));
        bob.put(&path).json(&json!({ "status": "Refund Success" })).await.expect(200);
        assert_eq!(app.shelf(&cup).await, (10, 0, 0));
    }
    app.assert_books_balance().await;
}

#[tokio::test]
async fn souk_prove_fails_at_one_cent_and_names_it() {
    let app = TestApp::start().await;
    let (ann, bob) = tokio::join!(app.buyer("ann"), app.seller("bob"));
    let cup = bob.product("cup", "10", 10).await;
    let order = ann.order(&[(&cup, 2)]).await.remove(0);
    bob.set_status(id(&order), "Delivered").await;
    let prove = || async {
        let command = tokio::process::Command::new(env!("CARGO_BIN_EXE_souk-under-test"))
            .arg("prove")
            .env_clear()
            .env("DB_URL", app.database_uri())
            .current_dir(app.home())
            .output();
        let output = command.await.unwrap();
        (output.status.success(), String::from_utf8(output.stdout).unwrap())
    };
    let (clean, report) = prove().await;
    assert!(clean, "{report}");
    for words in [
        "1 shops, which have 19.80 USD",
        "1 orders and 0 withdrawals",
        "8 units on the shelves, 0 of them reserved, and 2 sold",
        "Every cent and every unit is accounted for.",
    ] {
        assert!(report.contains(words), "{report}");
    }
    assert!(report.lines().any(|line| line.split_whitespace().eq(["cod", "-22.00"])), "{report}");
    let shop = doc! { "_id": bob.id };
    app.db.raw::<Document>("shops").update_one(shop, doc! { "$inc": { "balanceMinor": 1 } }).await.unwrap();
    let (clean, report) = prove().await;
    assert!(!clean);
    assert!(report.contains("1 differences:"), "{report}");
    assert!(report.contains("has 19.80 by the ledger, but 19.81 is counted and 19.80 shown"), "{report}");
}
