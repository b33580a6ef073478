//! How the marketplace is doing, in figures.

use std::time::Instant;

use bson::{Document, doc};
use futures_util::TryStreamExt as _;
use serde_json::{Value, json};
use shared::{
    clock::{Timestamp, iso, plus},
    id::Id,
    model::{Listing, Order, Shop},
};
use tests::{Buyer, TestApp};

use crate::database_away::is_full;

const FIGURES: &str = "/api/admin/figures";
const DAY: i64 = 86_400_000;

async fn figures(root: &Buyer, query: &str) -> Value {
    root.get(&format!("{FIGURES}?{query}")).await.expect(200)
}

fn day(at: Timestamp) -> String {
    iso(at)[..10].to_owned()
}

#[tokio::test]
async fn each_order_counts_on_the_day_it_was_placed_and_each_refund_on_the_day_it_was_granted() {
    let app = TestApp::start().await;
    let (root, ann) = (app.admin("root").await, app.buyer("ann").await);
    let (bob, mal) = (app.seller("bob").await, app.seller("mal").await);
    let (lamp, vase) = (bob.product("Lamp", "20", 99).await, mal.product("Vase", "30", 99).await);
    let first = app.clock.now();
    let lamps = ann.order(&[(&lamp, 2)]).await.remove(0);
    let gone = ann.order(&[(&vase, 5)]).await.remove(0);
    let id = |order: &Value| order["_id"].as_str().unwrap().to_owned();
    ann.put(&format!("/api/order/cancel-order/{}", id(&gone))).json(&json!({})).await.expect(200);
    bob.set_status(&id(&lamps), "Delivered").await;
    app.clock.advance(DAY);
    ann.order(&[(&vase, 1)]).await;
    ann.order(&[(&lamp, 1)]).await;
    ann.put(&format!("/api/order/refund-order/{}", id(&lamps))).json(&json!({})).await.expect(200);
    let granted = json!({ "status": "Refund Success" });
    bob.put(&format!("/api/order/order-refund-success/{}", id(&lamps))).json(&granted).await.expect(200);

    let said = figures(&root, &format!("from={}", day(first))).await;
    let second = app.clock.now();
    assert_eq!(
        said["days"],
        json!([
            { "day": day(first), "orders": 2, "sales": 44, "refunds": 0 },
            { "day": day(second), "orders": 2, "sales": 55, "refunds": 44 },
        ])
    );
    assert_eq!(
        said["course"],
        json!({ "placed": 4, "delivered": 1, "cancelled": 1, "deliveredPercent": 25 })
    );
    assert_eq!(
        said["bestShops"],
        json!([
            { "_id": bob.id.hex(), "name": "bob", "orders": 2, "sales": 66 },
            { "_id": mal.id.hex(), "name": "mal", "orders": 1, "sales": 33 },
        ])
    );
    assert_eq!(
        said["bestProducts"],
        json!([
            { "_id": lamp["_id"], "name": "Lamp", "units": 3, "sales": 60 },
            { "_id": vase["_id"], "name": "Vase", "units": 1, "sales": 30 },
        ])
    );
    // Other days have nothing, and each of them says so.
    let before = figures(&root, &format!("from=2020-01-01&to={}", "2020-01-31")).await;
    assert_eq!(before["days"].as_array().unwrap().len(), 31);
    assert_eq!((&before["course"]["placed"], &before["bestProducts"]), (&json!(0), &json!([])));
    assert_eq!(figures(&root, "").await["days"].as_array().unwrap().len(), 30);
    for (query, field) in
        [("from=yesterday", "from"), ("from=2026-02-01&to=2026-01-01", "to"), ("from=2020-01-01", "to")]
    {
        let refused = root.get(&format!("{FIGURES}?{query}")).await.refused(400, "invalid_input");
        assert_eq!(refused["errors"][0]["field"], field, "{query}");
    }
}

#[tokio::test]
async fn what_is_owed_and_what_waits_is_counted_as_it_is_now() {
    let app = TestApp::with(&[("SHOP_APPROVAL", "on")]).await;
    let (bob, root) = crate::withdrawals::rich(&app, 20_000).await;
    crate::withdrawals::request(&bob, 60).await;
    app.open_shop_through_mail("new").await;
    crate::furnished::dead_letter(&app).await;
    let said = figures(&root, "").await;
    assert_eq!(said["owed"], json!(140));
    assert_eq!(
        said["waiting"],
        json!({ "withdrawals": 1, "payments": 0, "deadLetters": 1, "disputes": 0, "shops": 1 })
    );
}

/// So many orders of the last thirty days, as checkouts write them.
async fn plant(app: &TestApp, count: usize) {
    let now = app.clock.now();
    let shops: Vec<Id<Shop>> = (0..200).map(|_| Id::new()).collect();
    let listings: Vec<Id<Listing>> = (0..5_000).map(|_| Id::new()).collect();
    let statuses = ["Delivered", "Delivered", "Delivered", "Processing", "Cancelled", "Shipping"];
    let text = "As good as new, and in every colour that there is. ".repeat(10);
    let line = |n: usize| {
        doc! {
            "_id": listings[n * 7 % listings.len()].hex(), "kind": "product", "name": format!("Thing {n}"),
            "description": &text, "category": "Others", "discountPrice": 19.99, "count": 1 + (n % 3) as i64,
            "shopeId": shops[n % shops.len()].hex(), "paid": 21.99, "images": [{ "_id": Id::<()>::new(),
            "public_id": "products/none", "url": "/uploads/products/none.png" }],
        }
    };
    let order = |n: usize| {
        let at = plus(now, -((n as i64) * 25_000 % (30 * DAY)));
        doc! {
            "_id": Id::<Order>::new(), "cart": [line(n), line(n + 1)], "status": statuses[n % statuses.len()],
            "user": { "_id": Id::<()>::new().hex(), "name": "Ann" }, "totalPrice": 43.98, "createdAt": at,
            "shopId": shops[n % shops.len()].hex(), "checkoutId": Id::<()>::new().hex(),
            "shippingAddress": { "address1": "1 Elm Street", "country": "PK", "city": "PB" },
            "paymentInfo": { "type": "Cash on Delivery" }, "stockState": "taken",
            "statusHistory": [{ "status": "Processing", "at": at }],
        }
    };
    let orders = app.db.raw::<Document>("orders");
    for chunk in (0..count).collect::<Vec<_>>().chunks(2_000) {
        orders.insert_many(chunk.iter().map(|n| order(*n))).await.unwrap();
    }
}

/// With `SOUK_TRIAL=full` of 100,000 orders, and how long each takes is told.
#[tokio::test]
async fn many_orders_are_counted_and_listed_fast() {
    let count = if is_full() { 100_000 } else { 2_000 };
    let app = TestApp::start().await;
    let root = app.admin("root").await;
    plant(&app, count).await;
    for path in [
        FIGURES.to_owned(),
        "/api/admin/orders".to_owned(),
        "/api/admin/orders?status=Delivered&limit=200".to_owned(),
        "/api/admin/orders?sort=total".to_owned(),
        "/api/admin/orders?payment=unpaid".to_owned(),
    ] {
        let mut fastest = u128::MAX;
        for _ in 0..5 {
            let begun = Instant::now();
            let answer = root.get(&path).await.expect(200);
            fastest = fastest.min(begun.elapsed().as_millis());
            let counted = if path == FIGURES { &answer["course"]["placed"] } else { &answer["total"] };
            assert!(counted.as_u64().unwrap() * 6 >= count as u64, "{path}: {counted}");
        }
        println!("{count} orders, {path}: {fastest} ms");
    }
}

#[tokio::test]
async fn everybodys_orders_are_read_along_an_index_in_their_order() {
    let app = TestApp::start().await;
    let (root, ann, bob) = tokio::join!(app.admin("root"), app.buyer("ann"), app.seller("bob"));
    let cup = bob.product("cup", "10", 50).await;
    for count in 1..5 {
        ann.order(&[(&cup, count)]).await;
    }
    let (database, profile) = (app.db.database(), app.db.raw::<Document>("system.profile"));
    database.run_command(doc! { "profile": 2, "filter": { "ns": { "$ne": "" } } }).await.unwrap();
    let first = root.get("/api/admin/orders?limit=2").await.expect(200);
    let path = format!("/api/admin/orders?limit=2&cursor={}", first["nextCursor"].as_str().unwrap());
    root.get(&path).await.expect(200);
    root.get("/api/admin/orders?limit=2&sort=oldest").await.expect(200);
    database.run_command(doc! { "profile": 0 }).await.unwrap();
    let asked = doc! { "ns": format!("{}.orders", database.name()), "command.limit": 3 };
    let reads: Vec<Document> = profile.find(asked).await.unwrap().try_collect().await.unwrap();
    assert_eq!(reads.len(), 3);
    for read in reads {
        let plan = read.get_str("planSummary").unwrap();
        assert!(plan.starts_with("IXSCAN { createdAt: -1, _id: -1 }"), "{read}");
        assert!(!read.contains_key("hasSortStage"), "{read}");
    }
}
