//! Administrators look at listings, reviews, orders and dead letters, and hide what must not be shown.

use bson::doc;
use futures_util::TryStreamExt as _;
use serde_json::{Value, json};
use shared::{
    clock::{iso, plus},
    model::{AuditEntry, Kind, Order, Outbox},
};
use tests::{Answer, Browser, Buyer, Seller, TestApp, people::in_cash};

use crate::{
    furnished::{dead_letter, review},
    mail::nothing_is_due,
};

const DAY: i64 = 86_400_000;

async fn hide(by: &Browser, what: &str, id: &Value) -> Answer {
    let path = format!("/api/admin/{what}/{}/hide", id.as_str().unwrap());
    by.put(&path).json(&json!({ "reason": "It is not gold." })).await
}

async fn restore(by: &Browser, what: &str, id: &Value) -> Answer {
    by.put(&format!("/api/admin/{what}/{}/restore", id.as_str().unwrap())).await
}

async fn event(app: &TestApp, seller: &Seller, name: &str) -> Value {
    let now = app.clock.now();
    let form = seller.listing_form(name, "10", 5);
    let form = form.text("start_date", iso(plus(now, 0))).text("end_date", iso(plus(now, 5 * DAY)));
    seller.post("/api/event/create-event").form(form).await.expect(201)["event"].clone()
}

async fn actions(app: &TestApp) -> Vec<String> {
    let found = app.db.of::<AuditEntry>().find(doc! {}).sort(doc! { "_id": 1 }).await.unwrap();
    let all: Vec<AuditEntry> = found.try_collect().await.unwrap();
    all.into_iter().map(|entry| entry.action).filter(|action| action != "log_in").collect()
}

fn names(answer: &Value, key: &str) -> Vec<String> {
    let all = answer[key].as_array().unwrap();
    all.iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn what_is_hidden_is_its_owners_alone_until_it_is_restored() {
    let app = TestApp::start().await;
    let (root, ann, bob) = (app.admin("root").await, app.buyer("ann").await, app.seller("bob").await);
    let (lamp, week) = (bob.product("Golden lamp", "20", 9).await, event(&app, &bob, "Golden week").await);
    let open = ann.order(&[(&lamp, 1)]).await.remove(0);
    for (what, listing, all, of_shop, one) in [
        (
            "products",
            &lamp,
            "product/get-all-products",
            "product/get-all-products-shop",
            Some("product/get-product"),
        ),
        ("events", &week, "event/get-all-events-shop", "event/get-all-events-shop", None),
    ] {
        let id = &listing["_id"];
        let shown = |by: &Browser, path: String| {
            let by = by.clone();
            async move { names(&by.get(&path).await.expect(200), what) }
        };
        let all = format!("/api/{all}");
        let of_shop = format!("/api/{of_shop}/{}", bob.id);
        let hidden = hide(&root, what, id).await.expect(200);
        assert_eq!(hidden["listing"]["hidden"]["reason"], "It is not gold.");
        for path in [all.clone(), format!("{all}?q=golden"), of_shop.clone(), format!("{of_shop}?q=golden")] {
            assert_eq!(shown(&ann, path.clone()).await, [""; 0], "{path}");
        }
        if let Some(one) = one {
            ann.get(&format!("/api/{one}/{}", id.as_str().unwrap())).await.refused(404, "product_not_found");
        }
        let own = bob.get(&of_shop).await.expect(200);
        assert_eq!(own[what][0]["hidden"]["reason"], "It is not gold.");
        assert_eq!(own[what][0]["hidden"].get("by"), None);
        let cart = in_cash(&[(listing, 2)]);
        let refused = ann.post("/api/order/create-order").json(&cart).await.refused(409, "item_gone");
        assert!(refused["message"].as_str().unwrap().contains("Golden"), "{refused}");
        // Its owner may still change it, and that shows it to nobody else.
        let path = format!(
            "/api/{}/update-{}/{}",
            &what[..what.len() - 1],
            &what[..what.len() - 1],
            id.as_str().unwrap()
        );
        bob.put(&path).json(&json!({ "stock": 8 })).await.expect(200);
        assert_eq!(shown(&ann, all.clone()).await, [""; 0]);
        let list =
            root.get(&format!("/api/admin/{what}?hidden=true&q=GOLD&shop={}", bob.id)).await.expect(200);
        assert_eq!((&list["total"], &list[what][0]["stock"]), (&json!(1), &json!(8)));
        assert_eq!(root.get(&format!("/api/admin/{what}?hidden=false")).await.expect(200)["total"], 0);
        assert_eq!(hide(&root, what, id).await.expect(200)["listing"], list[what][0]);
        assert_eq!(restore(&root, what, id).await.expect(200)["listing"].get("hidden"), None);
        restore(&root, what, id).await.expect(200);
        for path in [all.clone(), format!("{all}?q=golden"), of_shop] {
            assert_eq!(shown(&ann, path.clone()).await.len(), 1, "{path}");
        }
        ann.order(&[(listing, 1)]).await;
    }
    // What was ordered before went on.
    bob.set_status(open["_id"].as_str().unwrap(), "Delivered").await;
    assert_eq!(actions(&app).await, ["hide_listing", "restore_listing", "hide_listing", "restore_listing"]);
    hide(&root, "products", &json!("6744a0b1c2d3e4f5a6b7c8ff")).await.refused(404, "product_not_found");
}

/// The memory and the database show the same, whoever writes.
#[tokio::test]
async fn what_another_node_hides_is_hidden_here_too() {
    let app = TestApp::start().await;
    let (root, ann, bob) = (app.admin("root").await, app.buyer("ann").await, app.seller("bob").await);
    let (lamp, vase) = (bob.product("Lamp", "20", 9).await, bob.product("Vase", "20", 9).await);
    let all = "/api/product/get-all-products";
    assert_eq!(names(&ann.get(all).await.expect(200), "products"), ["Lamp", "Vase"]);
    let id: bson::oid::ObjectId = lamp["_id"].as_str().unwrap().parse().unwrap();
    let hidden = doc! { "$set": { "hidden": { "reason": "elsewhere" } } };
    app.db.listings(Kind::Product).update_one(doc! { "_id": id }, hidden).await.unwrap();
    app.caught_up().await;
    assert_eq!(names(&ann.get(all).await.expect(200), "products"), ["Vase"]);
    assert_eq!(names(&ann.get(&format!("{all}?sort=newest")).await.expect(200), "products"), ["Vase"]);
    // A page of the lists of a shop, and one listing after another.
    hide(&root, "products", &vase["_id"]).await.expect(200);
    assert_eq!(names(&ann.get(all).await.expect(200), "products"), [""; 0]);
    let own = bob.get(&format!("/api/product/get-all-products-shop/{}", bob.id)).await.expect(200);
    assert_eq!(names(&own, "products"), ["Lamp", "Vase"]);
}

#[tokio::test]
async fn a_hidden_review_is_not_shown_and_does_not_count() {
    let app = TestApp::start().await;
    let (root, bob) = (app.admin("root").await, app.seller("bob").await);
    let lamp = bob.product("Lamp", "20", 9).await;
    let (ann, mal) = (app.buyer("ann").await, app.buyer("mal").await);
    let good = ann.order(&[(&lamp, 1)]).await.remove(0);
    let said = json!({ "rating": 5, "comment": "Bright.", "productId": lamp["_id"], "orderId": good["_id"] });
    ann.put("/api/product/create-new-review").json(&said).await.expect(200);
    let bad = mal.order(&[(&lamp, 1)]).await.remove(0);
    let spam = json!(review(&mal, &lamp, &bad).await);
    let page = || async {
        let path = format!("/api/product/get-product/{}", lamp["_id"].as_str().unwrap());
        let product = ann.get(&path).await.expect(200)["product"].clone();
        (product["rating"].clone(), product["reviews"].as_array().unwrap().len())
    };
    assert_eq!(page().await, (json!(3), 2));
    let list = |query: &str| {
        let (root, path) = (root.clone(), format!("/api/admin/reviews?{query}"));
        async move { root.get(&path).await.expect(200) }
    };
    let all = list("limit=1").await;
    assert_eq!((&all["total"], &all["reviews"][0]["_id"]), (&json!(2), &spam));
    let next = list(&format!("limit=1&cursor={}", all["nextCursor"].as_str().unwrap())).await;
    assert_eq!((&next["reviews"][0]["comment"], &next["nextCursor"]), (&json!("Bright."), &Value::Null));
    for (query, total) in [
        ("q=CALL", 1),
        ("maxRating=1", 1),
        ("maxRating=5", 2),
        ("hidden=true", 0),
        ("q=[", 0),
        (&*format!("product={}&shop={}", lamp["_id"].as_str().unwrap(), bob.id), 2),
    ] {
        assert_eq!(list(query).await["total"], total, "{query}");
    }
    let hidden = hide(&root, "reviews", &spam).await.expect(200);
    assert_eq!(hidden["review"]["hidden"]["by"], json!(root.id.hex()));
    assert_eq!(page().await, (json!(5), 1));
    // Its author cannot put it back with another one.
    review_again(&mal, &lamp, &bad).await;
    assert_eq!(page().await, (json!(5), 1));
    assert_eq!(list("hidden=true").await["reviews"][0]["rating"], 2);
    hide(&root, "reviews", &spam).await.expect(200);
    restore(&root, "reviews", &spam).await.expect(200);
    assert_eq!(page().await, (json!(3.5), 2));
    assert_eq!(actions(&app).await, ["hide_review", "restore_review"]);
    hide(&root, "reviews", &json!("6744a0b1c2d3e4f5a6b7c8ff")).await.refused(404, "review_not_found");
}

async fn review_again(buyer: &Buyer, product: &Value, order: &Value) {
    let said =
        json!({ "rating": 2, "comment": "Call!", "productId": product["_id"], "orderId": order["_id"] });
    buyer.put("/api/product/create-new-review").json(&said).await.expect(200);
}

#[tokio::test]
async fn orders_are_found_by_what_is_known_of_them_and_walked_once() {
    let app = TestApp::start().await;
    let (root, ann, cem) = (app.admin("root").await, app.buyer("ann").await, app.buyer("cem").await);
    let (bob, mal) = (app.seller("bob").await, app.seller("mal").await);
    let (lamp, vase) = (bob.product("Lamp", "20", 99).await, mal.product("Vase", "30", 99).await);
    let mut placed = Vec::new();
    for (buyer, listing, count) in [(&ann, &lamp, 1), (&ann, &vase, 2), (&cem, &lamp, 3), (&cem, &vase, 4)] {
        placed.push(buyer.order(&[(listing, count)]).await.remove(0));
        app.clock.advance(DAY);
    }
    let id = |n: usize| placed[n]["_id"].as_str().unwrap().to_owned();
    bob.set_status(&id(0), "Delivered").await;
    // An old one, without a date and with a total that is text.
    let old = doc! { "$unset": { "createdAt": "" }, "$set": { "totalPrice": "7.50" } };
    let third: bson::oid::ObjectId = id(2).parse().unwrap();
    app.db.of::<Order>().update_one(doc! { "_id": third }, old).await.unwrap();
    let list = |query: String| {
        let (root, path) = (root.clone(), format!("/api/admin/orders?{query}"));
        async move { root.get(&path).await.expect(200) }
    };
    let ids = |answer: &Value| -> Vec<String> {
        let orders = answer["orders"].as_array().unwrap();
        orders.iter().map(|order| order["_id"].as_str().unwrap().to_owned()).collect()
    };
    for (sort, expected) in [("newest", [3, 1, 0, 2]), ("oldest", [2, 0, 1, 3]), ("total", [2, 3, 1, 0])] {
        for limit in 1..=4 {
            let (mut walked, mut cursor) = (Vec::new(), String::new());
            loop {
                let page = list(format!("sort={sort}&limit={limit}&cursor={cursor}")).await;
                assert_eq!(page["total"], 4);
                walked.extend(ids(&page));
                match page["nextCursor"].as_str() {
                    Some(next) => next.clone_into(&mut cursor),
                    None => break,
                }
            }
            assert_eq!(walked, expected.map(id), "{sort} {limit}");
        }
    }
    let second_day = placed[1]["createdAt"].as_str().unwrap().to_owned();
    for (query, expected) in [
        (format!("q={}", id(1)), vec![1]),
        (format!("q={}", placed[3]["checkoutId"].as_str().unwrap()), vec![3]),
        ("q=nothing".to_owned(), vec![]),
        ("status=Delivered".to_owned(), vec![0]),
        (format!("shop={}&buyer={}", mal.id, cem.id), vec![3]),
        (format!("buyer={}", ann.id), vec![1, 0]),
        ("payment=succeeded".to_owned(), vec![0]),
        ("payment=unpaid".to_owned(), vec![3, 1, 2]),
        (format!("from={second_day}"), vec![3, 1]),
        (format!("to={second_day}"), vec![0]),
    ] {
        let found = list(query.clone()).await;
        assert_eq!(ids(&found), expected.iter().map(|n| id(*n)).collect::<Vec<_>>(), "{query}");
        assert_eq!(found["total"], expected.len(), "{query}");
    }
    for query in ["status=Lost", "payment=gold", "shop=x", "from=yesterday"] {
        root.get(&format!("/api/admin/orders?{query}")).await.refused(400, "invalid_input");
    }
}

#[tokio::test]
async fn a_dead_letter_is_shown_without_what_it_is_about_and_tried_again_once() {
    let app = TestApp::start().await;
    let root = app.admin("root").await;
    let (first, second) = (dead_letter(&app).await, dead_letter(&app).await);
    let list = root.get("/api/admin/dead-letters?limit=1").await.expect(200);
    assert_eq!((&list["total"], &list["jobs"][0]["_id"]), (&json!(2), &json!(first)));
    assert_eq!(list["jobs"][0]["lastError"], "nobody answers");
    assert!(!list.to_string().contains("products/none"), "{list}");
    let retry = format!("/api/admin/dead-letters/{second}/retry");
    root.put(&retry).await.expect(200);
    let left = doc! { "_id": second.parse::<bson::oid::ObjectId>().unwrap() };
    nothing_is_due(&app).await;
    assert_eq!(app.db.of::<Outbox>().count_documents(left).await.unwrap(), 0);
    root.put(&retry).await.refused(404, "job_not_found");
    assert_eq!(root.get("/api/admin/dead-letters").await.expect(200)["total"], 1);
    assert_eq!(actions(&app).await, ["retry_dead_letters"]);
}
