//! Whoever changes something through the API is shown it by the very next answer of the same node.

use bson::{Document, doc};
use futures_util::future::join_all;
use serde_json::{Value, json};
use tests::{Browser, Form, Seller, TestApp};

use super::{PRODUCTS, assert_is_the_database, eventually, fail, forgetful, hard_of_hearing};

fn by_id<'a>(list: &'a Value, id: &Value) -> Option<&'a Value> {
    list.as_array().unwrap().iter().find(|listing| listing["_id"] == *id)
}

/// A listing wherever it is shown: alone, among those of its shop, and among all.
async fn everywhere(app: &TestApp, shop: &Seller, id: &Value) -> [Option<Value>; 3] {
    let (one, of_shop) = (
        format!("/api/product/get-product/{}", id.as_str().unwrap()),
        format!("{PRODUCTS}-shop/{}", shop.id),
    );
    let visitor = app.browser();
    let (one, of_shop, all) = tokio::join!(
        async { visitor.get(&one).await },
        async { visitor.get(&of_shop).await.expect(200) },
        async { visitor.get(PRODUCTS).await.expect(200) },
    );
    let one = (one.status == 200).then(|| one.json()["product"].clone());
    [one, by_id(&of_shop["products"], id).cloned(), by_id(&all["products"], id).cloned()]
}

async fn assert_everywhere(app: &TestApp, shop: &Seller, id: &Value, pointer: &str, wanted: Option<Value>) {
    for (place, shown) in everywhere(app, shop, id).await.into_iter().enumerate() {
        let shown = shown.map(|shown| shown.pointer(pointer).cloned().unwrap_or(Value::Null));
        assert_eq!(shown, wanted, "{pointer} at place {place}");
    }
}

#[tokio::test]
async fn many_who_write_at_once_each_find_their_own_change_in_the_next_answer() {
    let (_mongo, app) = hard_of_hearing().await;
    let sellers = join_all((0..6).map(|n| app.seller(Box::leak(format!("shop {n}").into_boxed_str())))).await;
    let work = sellers.iter().map(|seller| {
        let app = &app;
        async move {
            for round in 0..12 {
                let name = format!("{} cup {round}", seller.name);
                let id = seller.product(&name, "10", 9).await["_id"].clone();
                assert_everywhere(app, seller, &id, "/name", Some(json!(name))).await;
                let update = format!("/api/product/update-product/{}", id.as_str().unwrap());
                let change = json!({ "stock": 100 + round });
                seller.put(&update).json(&change).await.expect(200);
                assert_everywhere(app, seller, &id, "/stock", Some(json!(100 + round))).await;
                if round % 3 == 0 {
                    let delete = format!("/api/product/delete-shop-product/{}", id.as_str().unwrap());
                    seller.delete(&delete).await.expect(200);
                    assert_everywhere(app, seller, &id, "/name", None).await;
                }
                let name = format!("{} {round}", seller.name);
                seller.put("/api/shop/updateSellerInfo").json(&json!({ "name": name })).await.expect(200);
                let shown = app.browser().get(&format!("{PRODUCTS}-shop/{}", seller.id)).await.expect(200);
                for product in shown["products"].as_array().unwrap() {
                    assert_eq!(product["shop"]["name"], name);
                }
            }
        }
    });
    join_all(work).await;
    fail(&app, "off", Document::new()).await;
    let forgetful = forgetful(&app).await;
    app.caught_up().await;
    assert_is_the_database(&app, &app.browser(), &Browser::new(&forgetful.base)).await;
}

#[tokio::test]
async fn orders_reviews_and_pictures_show_at_once() {
    let (_mongo, app) = hard_of_hearing().await;
    let (ann, bob) = tokio::join!(app.buyer("ann"), app.seller("bob"));
    let lamp = bob.product("Lamp", "10", 9).await;
    let id = lamp["_id"].clone();
    let order = ann.order(&[(&lamp, 2)]).await[0]["_id"].as_str().unwrap().to_owned();
    assert_everywhere(&app, &bob, &id, "/stock", Some(json!(7))).await;
    ann.put(&format!("/api/order/cancel-order/{order}")).await.expect(200);
    assert_everywhere(&app, &bob, &id, "/stock", Some(json!(9))).await;
    app.clock.advance(60_000);
    let order = ann.order(&[(&lamp, 3)]).await[0]["_id"].as_str().unwrap().to_owned();
    bob.set_status(&order, "Transferred to delivery partner").await;
    assert_everywhere(&app, &bob, &id, "/sold_out", Some(json!(3))).await;
    bob.set_status(&order, "Delivered").await;
    let review = json!({ "rating": 4, "comment": "bright", "productId": id, "orderId": order });
    ann.put("/api/product/create-new-review").json(&review).await.expect(200);
    assert_everywhere(&app, &bob, &id, "/reviews/0/comment", Some(json!("bright"))).await;
    let refund = json!({ "status": "Refund Processing" });
    ann.put(&format!("/api/order/refund-order/{order}")).json(&refund).await.expect(200);
    bob.put(&format!("/api/order/order-refund-success/{order}"))
        .json(&json!({ "status": "Refund Success" }))
        .await
        .expect(200);
    assert_everywhere(&app, &bob, &id, "/stock", Some(json!(9))).await;
    for (person, path, field, account, pointer) in [
        (&ann.browser, "/api/user/update-user-avatar", "file", "existUser", "/reviews/0/user/avatar/url"),
        (&bob.browser, "/api/shop/update-seller-avatar", "image", "seller", "/shop/avatar/url"),
    ] {
        let changed = person.put(path).form(Form::new().picture(field)).await.expect(200);
        let wanted = changed[account]["avatar"]["url"].clone();
        assert!(wanted.is_string(), "{changed}");
        assert_everywhere(&app, &bob, &id, pointer, Some(wanted)).await;
    }
}

#[tokio::test]
async fn a_change_on_one_node_is_seen_on_the_other() {
    let app = TestApp::start().await;
    let other = app.another_node().await;
    let bob = app.seller("bob").await;
    let there = Browser::new(&other.base);
    for round in 0..20 {
        let name = format!("cup {round}");
        let id = bob.product(&name, "10", 9).await["_id"].clone();
        eventually("the other node shows a new product", async || {
            by_id(&there.get(PRODUCTS).await.expect(200)["products"], &id).is_some()
        })
        .await;
        bob.put("/api/shop/updateSellerInfo").json(&json!({ "name": name })).await.expect(200);
        eventually("the other node shows another name of the shop", async || {
            let shown = there.get(PRODUCTS).await.expect(200);
            shown["products"].as_array().unwrap().iter().all(|product| product["shop"]["name"] == name)
        })
        .await;
    }
}

#[tokio::test]
async fn readers_never_see_a_listing_go_back() {
    let app = TestApp::start().await;
    let bob = app.seller("bob").await;
    let lamps = join_all((0..3).map(|n| {
        let bob = bob.clone();
        async move { bob.product(&format!("Lamp {n}"), "10", 0).await["_id"].clone() }
    }))
    .await;
    let (done, _) = tokio::sync::watch::channel(false);
    let writers = async {
        join_all(lamps.iter().enumerate().map(|(n, id)| {
            let (app, bob) = (&app, &bob);
            async move {
                let update = format!("/api/product/update-product/{}", id.as_str().unwrap());
                for stock in 1..=60 {
                    if n == 0 {
                        // One is changed by somebody else.
                        let this =
                            doc! { "_id": bson::oid::ObjectId::parse_str(id.as_str().unwrap()).unwrap() };
                        let set = doc! { "$set": { "stock": stock } };
                        app.db.raw::<Document>("products").update_one(this, set).await.unwrap();
                    } else {
                        bob.put(&update).json(&json!({ "stock": stock })).await.expect(200);
                    }
                }
            }
        }))
        .await;
        done.send_replace(true);
    };
    let readers = join_all((0..4).map(|_| {
        let (app, done, lamps) = (&app, done.subscribe(), &lamps);
        async move {
            let mut newest = [0; 3];
            let mut seen = 0;
            while !*done.borrow() {
                let shown = app.browser().get(PRODUCTS).await.expect(200);
                assert_eq!(shown["products"].as_array().unwrap().len(), 3);
                for (id, newest) in lamps.iter().zip(&mut newest) {
                    let stock = by_id(&shown["products"], id).unwrap()["stock"].as_i64().unwrap();
                    assert!(stock >= *newest, "{stock} after {newest}");
                    *newest = stock;
                }
                seen += 1;
            }
            seen
        }
    }));
    let ((), seen) = tokio::join!(writers, readers);
    assert!(seen.iter().all(|seen| *seen > 3), "{seen:?}");
}
