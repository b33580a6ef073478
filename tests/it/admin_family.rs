//! The names that clients of this family know, and giving accounts up for good.

use bson::doc;
use serde_json::{Value, json};
use shared::{
    audit,
    model::{Listing, Shop, User},
};
use tests::{
    Form, TestApp,
    people::{PASSWORD, email},
};

use crate::{
    furnished::review,
    withdrawals::{decide, request, rich},
};

#[tokio::test]
async fn the_lists_have_the_names_and_the_status_that_clients_expect() {
    let app = TestApp::start().await;
    let (root, ann, bob) = (app.admin("root").await, app.buyer("ann").await, app.seller("bob").await);
    let lamp = bob.product("Lamp", "20", 9).await;
    ann.order(&[(&lamp, 1)]).await;
    for (path, key, total) in [
        ("/api/user/admin-all-users", "users", 2),
        ("/api/shop/admin-all-sellers", "sellers", 1),
        ("/api/order/admin-all-orders", "orders", 1),
        ("/api/product/admin-all-products", "products", 1),
        ("/api/event/admin-all-events", "events", 0),
    ] {
        let all = root.get(path).await.expect(201);
        assert_eq!((&all["success"], &all["total"]), (&json!(true), &json!(total)), "{path}");
        assert_eq!(all[key].as_array().unwrap().len(), total, "{path}");
        assert_eq!(all["nextCursor"], Value::Null);
        ann.get(path).await.refused(403, "admins_only");
    }
    // A page, where one is asked for.
    let page = root.get("/api/user/admin-all-users?limit=1").await.expect(201);
    assert_eq!(page["users"][0]["name"], "ann");
    let next = page["nextCursor"].as_str().unwrap();
    let rest = root.get(&format!("/api/user/admin-all-users?cursor={next}")).await.expect(201);
    assert_eq!(rest["users"][0]["name"], "root");
}

#[tokio::test]
async fn a_user_who_is_deleted_leaves_orders_and_reviews_without_a_name_and_the_address_free() {
    let app = TestApp::start().await;
    let (root, ann, bob) = (app.admin("root").await, app.buyer("ann").await, app.seller("bob").await);
    let lamp = bob.product("Lamp", "20", 9).await;
    let order = ann.order(&[(&lamp, 1)]).await.remove(0);
    review(&ann, &lamp, &order).await;
    let path = format!("/api/user/delete-user/{}", ann.id);
    for _ in 0..2 {
        root.delete(&path).await.expect(201);
    }
    ann.get("/api/user/getUser").await.expect(401);
    let log_in = json!({ "email": ann.email, "password": PASSWORD });
    app.browser().post("/api/user/login-user").json(&log_in).await.expect(401);
    let product = format!("/api/product/get-product/{}", lamp["_id"].as_str().unwrap());
    let shown = root.get(&product).await.expect(200)["product"]["reviews"][0].clone();
    assert_eq!((&shown["user"]["name"], &shown["rating"]), (&json!("Closed account"), &json!(1)));
    let stored = app.db.of::<User>().find_one(doc! { "_id": ann.id }).await.unwrap().unwrap();
    assert_eq!((stored.email.as_str(), stored.password.as_str(), stored.avatar), ("", "", None));
    root.put(&format!("/api/admin/users/{}/unblock", ann.id)).await.refused(409, "account_closed");
    // The order goes on.
    bob.set_status(order["_id"].as_str().unwrap(), "Delivered").await;
    assert_eq!(audit::run(&app.db).await.unwrap().differences, Vec::<String>::new());
    let form = Form::new().picture("file").text("name", "ann").text("password", PASSWORD);
    app.browser()
        .post("/api/user/create-user")
        .bare()
        .form(form.text("email", email("ann")))
        .await
        .expect(200);
    let own = format!("/api/user/delete-user/{}", root.id);
    root.delete(&own).await.refused(409, "own_account");
    root.delete("/api/user/delete-user/6744a0b1c2d3e4f5a6b7c8ff").await.refused(404, "user_not_found");
}

#[tokio::test]
async fn a_shop_is_deleted_only_when_nobody_waits_for_goods_or_money() {
    let app = TestApp::start().await;
    let ann = app.buyer("ann").await;
    let (bob, root) = rich(&app, 10_000).await;
    let path = format!("/api/shop/delete-seller/{}", bob.id);
    let lamp = bob.product("Lamp", "20", 9).await;
    let order = ann.order(&[(&lamp, 1)]).await.remove(0);
    root.delete(&path).await.refused(409, "open_orders");
    ann.put(&format!("/api/order/cancel-order/{}", order["_id"].as_str().unwrap()))
        .json(&json!({}))
        .await
        .expect(200);
    root.delete(&path).await.refused(409, "balance_not_zero");
    let asked = request(&bob, 100).await;
    root.delete(&path).await.refused(409, "open_withdrawal");
    decide(&root, &asked, json!({ "status": "Succeeded" })).await.expect(200);
    let coupon = json!({ "name": "LAMPS10", "value": "10" });
    bob.post("/api/coupan/create-coupan").json(&coupon).await.expect(201);
    for _ in 0..2 {
        root.delete(&path).await.expect(201);
    }
    bob.get("/api/shop/getSeller").await.expect(401);
    assert_eq!(root.get("/api/product/get-all-products").await.expect(200)["products"], json!([]));
    assert_eq!(app.db.of::<Listing>().count_documents(doc! {}).await.unwrap(), 0);
    let stored = app.db.of::<Shop>().find_one(doc! { "_id": bob.id }).await.unwrap().unwrap();
    assert_eq!((stored.name.as_str(), stored.email.as_str()), ("Closed shop", ""));
    assert!(stored.withdraw_method.is_none() && stored.is_shut());
    let closed = root.get("/api/admin/shops?state=closed").await.expect(200);
    assert_eq!((&closed["total"], &closed["shops"][0]["state"]), (&json!(1), &json!("closed")));
    root.put(&format!("/api/admin/shops/{}/unblock", bob.id)).await.refused(409, "account_closed");
    // The buyer still has what was ordered.
    let orders = ann.get(&format!("/api/order/getOrders/{}", ann.id)).await.expect(200);
    assert_eq!(orders["orders"].as_array().unwrap().len(), 1);
    assert_eq!(audit::run(&app.db).await.unwrap().differences, Vec::<String>::new());
    let said = doc! { "action": "close_account" };
    assert_eq!(app.db.raw::<bson::Document>("auditlog").count_documents(said).await.unwrap(), 1);
}
