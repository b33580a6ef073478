//! `PUT /api/product/create-new-review`.

use bson::{Document, doc};
use serde_json::{Value, json};
use shared::{
    id::Id,
    model::{CartLine, Kind, Listing, Order, OrderUser, Status, User},
};
use tests::{Answer, Buyer, TestApp};

const REVIEW: &str = "/api/product/create-new-review";

/// An order of one line, put straight into the database.
async fn order(app: &TestApp, buyer: Id<User>, product: &Value, status: Status) -> Id<Order> {
    let order = Order {
        id: Id::new(),
        user: Some(OrderUser { id: buyer, ..OrderUser::default() }),
        cart: vec![
            CartLine { id: Id::new(), count: 1, ..CartLine::default() },
            CartLine { id: product.as_str().unwrap().parse().unwrap(), count: 1, ..CartLine::default() },
        ],
        status,
        ..Order::default()
    };
    app.db.of::<Order>().insert_one(&order).await.unwrap();
    order.id
}

async fn review(buyer: &Buyer, product: &Value, order: Id<Order>, rating: Value, comment: &str) -> Answer {
    // As the client sends it, with a whole user that is nobody's business.
    let body = json!({
        "user": { "_id": "6744a0b1c2d3e4f5a6b7c801", "name": "Forged", "email": "x@y.test" },
        "rating": rating, "comment": comment, "productId": product, "orderId": order.hex(),
    });
    buyer.put(REVIEW).json(&body).await
}

async fn product(app: &TestApp, id: &Value) -> Value {
    let path = format!("/api/product/get-product/{}", id.as_str().unwrap());
    app.browser().get(&path).await.expect(200)["product"].clone()
}

async fn is_reviewed(app: &TestApp, order: Id<Order>) -> Vec<bool> {
    let order = app.db.of::<Order>().find_one(doc! { "_id": order }).await.unwrap().unwrap();
    order.cart.iter().map(|line| line.is_reviewed).collect()
}

#[tokio::test]
async fn a_buyer_reviews_what_they_bought_in_their_own_name() {
    let app = TestApp::start().await;
    let bob = app.seller("bob").await;
    let (ann, cem) = (app.buyer("ann").await, app.buyer("cem").await);
    let id = bob.product("Lamp", "10", 9).await["_id"].clone();
    let first = order(&app, ann.id, &id, Status::Delivered).await;
    let answer = review(&ann, &id, first, json!(5), "$name is lovely").await.expect(200);
    assert_eq!(answer, json!({ "success": true, "message": "reviewed Successfully" }));
    let second = order(&app, cem.id, &id, Status::Processing).await;
    review(&cem, &id, second, json!("4"), "").await.expect(200);
    let product = product(&app, &id).await;
    assert_eq!(product["rating"], json!(4.5));
    let reviews = product["reviews"].as_array().unwrap();
    assert_eq!(reviews.len(), 2);
    assert_eq!(reviews[0]["user"]["name"], "ann");
    assert_eq!(reviews[0]["comment"], "$name is lovely");
    assert_eq!(reviews[0]["rating"], json!(5));
    assert_eq!(reviews[1]["user"]["name"], "cem");
    assert_eq!(is_reviewed(&app, first).await, [false, true]);
}

#[tokio::test]
async fn a_second_review_takes_the_place_of_the_first() {
    let app = TestApp::start().await;
    let bob = app.seller("bob").await;
    let (ann, cem) = (app.buyer("ann").await, app.buyer("cem").await);
    let id = bob.product("Lamp", "10", 9).await["_id"].clone();
    let anns = order(&app, ann.id, &id, Status::Delivered).await;
    let cems = order(&app, cem.id, &id, Status::Delivered).await;
    review(&ann, &id, anns, json!(1), "Broke").await.expect(200);
    let before = product(&app, &id).await["reviews"][0]["_id"].clone();
    review(&cem, &id, cems, json!(2), "Dim").await.expect(200);
    let another = order(&app, ann.id, &id, Status::RefundSuccess).await;
    review(&ann, &id, another, json!(4), "Mended").await.expect(200);
    let product = product(&app, &id).await;
    let said: Vec<_> = product["reviews"].as_array().unwrap().iter().map(|r| &r["comment"]).collect();
    assert_eq!(said, ["Mended", "Dim"]);
    assert_eq!(product["reviews"][0]["_id"], before);
    assert_eq!(product["rating"], json!(3));
}

#[tokio::test]
async fn reviews_of_the_old_server_are_joined_into_one_a_person() {
    let app = TestApp::start().await;
    let bob = app.seller("bob").await;
    let ann = app.buyer("ann").await;
    let id = bob.product("Lamp", "10", 9).await["_id"].clone();
    let listing: Id<Listing> = id.as_str().unwrap().parse().unwrap();
    let old = |user: &str, rating: i32| {
        doc! {
            "_id": Id::<()>::new(), "rating": rating, "comment": "old",
            "user": { "_id": user, "name": "Old", "email": "old@old.test" },
        }
    };
    let reviews =
        vec![doc! { "rating": 3 }, old(&ann.id.hex(), 1), old("someone", 500), old(&ann.id.hex(), 2)];
    let legacy = doc! { "$set": { "reviews": reviews, "rating": 99 } };
    app.db.listings(Kind::Product).update_one(doc! { "_id": listing }, legacy).await.unwrap();
    let order = order(&app, ann.id, &id, Status::Delivered).await;
    review(&ann, &id, order, json!(4), "new").await.expect(200);
    let product = product(&app, &id).await;
    let said: Vec<_> = product["reviews"].as_array().unwrap().iter().map(|r| &r["comment"]).collect();
    assert_eq!(said, ["", "new", "old"]);
    // 3, 4, and the 500 counts as 5.
    assert_eq!(product["rating"], json!(4));
    let stored = app.db.raw::<Document>("products").find_one(doc! { "_id": listing }).await.unwrap().unwrap();
    let newest = stored.get_array("reviews").unwrap()[1].as_document().unwrap();
    let reviewer = newest.get_document("user").unwrap();
    assert_eq!(reviewer.get_str("_id").unwrap(), ann.id.hex());
    assert!(!reviewer.contains_key("email"));
}

#[tokio::test]
async fn a_product_without_a_list_of_reviews_can_be_reviewed() {
    let app = TestApp::start().await;
    let bob = app.seller("bob").await;
    let ann = app.buyer("ann").await;
    let id = bob.product("Lamp", "10", 9).await["_id"].clone();
    let listing: Id<Listing> = id.as_str().unwrap().parse().unwrap();
    let legacy = doc! { "$unset": { "reviews": "" } };
    app.db.listings(Kind::Product).update_one(doc! { "_id": listing }, legacy).await.unwrap();
    let order = order(&app, ann.id, &id, Status::Delivered).await;
    review(&ann, &id, order, json!(4), "").await.expect(200);
    assert_eq!(product(&app, &id).await["rating"], json!(4));
}

#[tokio::test]
async fn nobody_reviews_what_they_did_not_buy() {
    let app = TestApp::start().await;
    let bob = app.seller("bob").await;
    let (ann, eve) = (app.buyer("ann").await, app.buyer("eve").await);
    let id = bob.product("Lamp", "10", 9).await["_id"].clone();
    let other = bob.product("Vase", "10", 9).await["_id"].clone();
    let anns = order(&app, ann.id, &id, Status::Delivered).await;
    review(&eve, &id, anns, json!(1), "").await.refused(404, "order_not_found");
    review(&ann, &id, Id::new(), json!(1), "").await.refused(404, "order_not_found");
    review(&ann, &other, anns, json!(1), "").await.refused(403, "not_bought");
    let cancelled = order(&app, ann.id, &id, Status::Cancelled).await;
    review(&ann, &id, cancelled, json!(1), "").await.refused(409, "order_cancelled");
    let body = json!({ "rating": 5, "productId": id, "orderId": anns.hex() });
    app.browser().put(REVIEW).json(&body).await.refused(401, "unauthenticated");
    bob.put(REVIEW).json(&body).await.refused(401, "unauthenticated");
    assert_eq!(product(&app, &id).await["reviews"], json!([]));
    assert_eq!(is_reviewed(&app, anns).await, [false, false]);
}

#[tokio::test]
async fn an_event_or_a_product_that_is_gone_is_not_reviewed() {
    let app = TestApp::start().await;
    let bob = app.seller("bob").await;
    let ann = app.buyer("ann").await;
    let event = Listing { id: Id::new(), shop_id: bob.id, ..Listing::default() };
    app.db.listings(Kind::Event).insert_one(&event).await.unwrap();
    let event = json!(event.id.hex());
    let of_event = order(&app, ann.id, &event, Status::Delivered).await;
    let refusal = review(&ann, &event, of_event, json!(5), "").await.refused(404, "not_a_product");
    assert_eq!(refusal["message"], "Only products can be reviewed");
    let gone = json!(Id::<Listing>::new().hex());
    let of_gone = order(&app, ann.id, &gone, Status::Delivered).await;
    review(&ann, &gone, of_gone, json!(5), "").await.refused(404, "product_not_found");
    assert_eq!(is_reviewed(&app, of_event).await, [false, false]);
}

#[tokio::test]
async fn a_review_that_makes_no_sense_is_refused() {
    let app = TestApp::start().await;
    let bob = app.seller("bob").await;
    let ann = app.buyer("ann").await;
    let id = bob.product("Lamp", "10", 9).await["_id"].clone();
    let order = order(&app, ann.id, &id, Status::Delivered).await;
    for rating in [json!(0), json!(6), json!(4.5), json!("good"), json!(null), json!({ "$gt": 0 })] {
        assert_eq!(review(&ann, &id, order, rating, "").await.status, 400);
    }
    review(&ann, &id, order, json!(5), &"x".repeat(5_001)).await.refused(400, "invalid_input");
    review(&ann, &json!("undefined"), order, json!(5), "").await.refused(400, "invalid_input");
    let injected = json!({ "rating": 5, "productId": { "$gt": "" }, "orderId": order.hex() });
    ann.put(REVIEW).json(&injected).await.expect(400);
    ann.put(REVIEW).json(&json!({})).await.refused(400, "invalid_input");
    assert_eq!(product(&app, &id).await["reviews"], json!([]));
}

#[tokio::test]
async fn reviews_of_one_person_at_once_leave_one_and_of_many_leave_all() {
    let app = TestApp::start().await;
    let bob = app.seller("bob").await;
    for round in 0..3 {
        let id = bob.product(&format!("Lamp {round}"), "10", 9).await["_id"].clone();
        let mut calls = Vec::new();
        for name in ["ann", "cem", "dan"] {
            let buyer = app.buyer(&format!("{name} {round}")).await;
            let order = order(&app, buyer.id, &id, Status::Delivered).await;
            for stars in 1..=3 {
                let (buyer, id) = (buyer.clone(), id.clone());
                calls.push(async move { review(&buyer, &id, order, json!(stars), "").await.expect(200) });
            }
        }
        futures_util::future::join_all(calls).await;
        let product = product(&app, &id).await;
        let reviews = product["reviews"].as_array().unwrap();
        let mut names: Vec<_> = reviews.iter().map(|r| r["user"]["name"].as_str().unwrap()).collect();
        names.sort_unstable();
        assert_eq!(names.len(), 3, "{names:?}");
        names.dedup();
        assert_eq!(names.len(), 3, "{names:?}");
        let sum: f64 = reviews.iter().map(|r| r["rating"].as_f64().unwrap()).sum();
        assert!((product["rating"].as_f64().unwrap() - sum / 3.0).abs() < 1e-9, "{product}");
    }
}

#[tokio::test]
async fn a_new_avatar_is_shown_on_old_reviews_and_coupons_too() {
    let app = TestApp::start().await;
    let (bob, ann) = (app.seller("bob").await, app.buyer("ann").await);
    let id = bob.product("Lamp", "10", 9).await["_id"].clone();
    let bought = order(&app, ann.id, &id, Status::Delivered).await;
    review(&ann, &id, bought, json!(5), "").await.expect(200);
    let coupon = json!({ "name": "SAVE", "value": 10 });
    bob.post("/api/coupan/create-coupan").json(&coupon).await.expect(201);

    let form = tests::Form::new().picture("file");
    let new = ann.put("/api/user/update-user-avatar").form(form).await.expect(200);
    let shown = product(&app, &id).await["reviews"][0]["user"]["avatar"]["url"].clone();
    assert_eq!(shown, new["existUser"]["avatar"]["url"]);
    let form = tests::Form::new().picture("image");
    let new = bob.put("/api/shop/update-seller-avatar").form(form).await.expect(200);
    let found = app.browser().get("/api/coupan/coupan-verified/SAVE").await.expect(200);
    assert_eq!(found["coupanCode"]["seller"]["avatar"]["url"], new["seller"]["avatar"]["url"]);
}
