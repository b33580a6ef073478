//! Coupons.

use futures_util::future::join_all;
use serde_json::{Value, json};
use tests::TestApp;

fn coupon(name: &str) -> Value {
    // The client sends its whole seller along, which is not believed.
    json!({ "name": name, "value": "10", "minAmount": "", "maxAmount": "", "selectedProduct": "",
        "seller": { "_id": "65f000000000000000000001", "email": "x@y.z" } })
}

#[tokio::test]
async fn a_shop_makes_lists_and_deletes_its_coupons() {
    let app = TestApp::start().await;
    let bob = app.seller("bob").await;
    let made = bob.post("/api/coupan/create-coupan").json(&coupon("SAVE10")).await.expect(201);
    assert_eq!(made["sucess"], true);
    assert_eq!(made["coupanCode"]["seller"]["_id"], json!(bob.id.hex()));
    assert_eq!((&made["coupanCode"]["value"], &made["coupanCode"]["minAmount"]), (&json!(10), &Value::Null));
    let path = format!("/api/coupan/get-coupans/{}", bob.id);
    let list = bob.get(&path).await.expect(200);
    assert_eq!(list["coupans"], json!([made["coupanCode"]]));
    let remove = format!("/api/coupan/delete-coupan/{}", made["coupanCode"]["_id"].as_str().unwrap());
    bob.delete(&remove).await.expect(200);
    bob.delete(&remove).await.refused(404, "coupon_not_found");
    assert_eq!(bob.get(&path).await.expect(200)["coupans"], json!([]));
}

#[tokio::test]
async fn b8_c1_coupons_are_their_shops_and_show_nothing_private() {
    let app = TestApp::start().await;
    let (bob, mal, ann) = tokio::join!(app.seller("bob"), app.seller("mal"), app.buyer("ann"));
    let made = bob.post("/api/coupan/create-coupan").json(&coupon("SAVE10")).await.expect(201);
    let list = format!("/api/coupan/get-coupans/{}", bob.id);
    let remove = format!("/api/coupan/delete-coupan/{}", made["coupanCode"]["_id"].as_str().unwrap());
    mal.get(&list).await.refused(403, "not_yours");
    mal.delete(&remove).await.refused(404, "coupon_not_found");
    for call in
        [ann.get(&list), ann.delete(&remove), ann.post("/api/coupan/create-coupan").json(&coupon("X"))]
    {
        call.await.refused(401, "unauthenticated");
    }
    let found = app.browser().get("/api/coupan/coupan-verified/SAVE10").await.expect(200);
    let seller = found["coupanCode"]["seller"].as_object().unwrap();
    assert_eq!(seller.keys().collect::<Vec<_>>(), ["_id", "avatar", "name"]);
}

#[tokio::test]
async fn an_unknown_code_is_an_explicit_null_e25_also_one_that_does_not_decode() {
    let app = TestApp::start().await;
    for name in ["NOPE", "50%OFF", "%20", "a%2Fb", "%FF"] {
        let found = app.browser().get(&format!("/api/coupan/coupan-verified/{name}")).await.expect(200);
        assert_eq!(found, json!({ "success": true, "coupanCode": null }), "{name}");
    }
}

#[tokio::test]
async fn a_name_with_blanks_is_found() {
    let app = TestApp::start().await;
    let bob = app.seller("bob").await;
    bob.post("/api/coupan/create-coupan").json(&coupon("Spring Sale")).await.expect(201);
    let found = app.browser().get("/api/coupan/coupan-verified/Spring%20Sale").await.expect(200);
    assert_eq!(found["coupanCode"]["name"], "Spring Sale");
}

#[tokio::test]
async fn d13_a_name_is_given_once_also_to_many_at_once() {
    let app = TestApp::start().await;
    let (bob, cem) = tokio::join!(app.seller("bob"), app.seller("cem"));
    let calls = (0..10).map(|i| {
        let seller = if i % 2 == 0 { &bob } else { &cem };
        seller.post("/api/coupan/create-coupan").json(&coupon("ONCE")).into_future()
    });
    let statuses: Vec<u16> = join_all(calls).await.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 1, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 409).count(), 9, "{statuses:?}");
}

#[tokio::test]
async fn d14_a_coupon_without_sense_is_refused() {
    let app = TestApp::start().await;
    let bob = app.seller("bob").await;
    let with = |field: &str, value: Value| {
        let mut body = coupon("SAVE10");
        body[field] = value;
        bob.post("/api/coupan/create-coupan").json(&body)
    };
    for (field, value) in [
        ("name", json!("")),
        ("name", json!("50%OFF")),
        ("name", json!("a/b")),
        ("name", json!("x".repeat(51))),
        ("value", json!(0)),
        ("value", json!("-10")),
        ("value", json!(100.01)),
        ("value", json!("ten")),
        ("value", json!("")),
        ("minAmount", json!("-1")),
        ("minAmount", json!("1.001")),
        ("maxAmount", json!("lots")),
        ("selectedProduct", json!("not mine")),
    ] {
        let refused = with(field, value.clone()).await.refused(400, "invalid_input");
        assert_eq!(refused["errors"][0]["field"], field, "{value}");
    }
    let mut crossed = coupon("SAVE10");
    (crossed["minAmount"], crossed["maxAmount"]) = (json!(50), json!(20));
    bob.post("/api/coupan/create-coupan").json(&crossed).await.refused(400, "invalid_input");
    with("name", json!({ "$gt": "" })).await.refused(400, "malformed_json");
}
