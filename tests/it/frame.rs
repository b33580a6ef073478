//! What holds for every route: who may read an answer, who may change anything, and how a refusal looks.

use reqwest::Client;
use serde_json::{Value, json};
use tests::{Answer, Browser, TestApp, app::CLIENT};

const EVIL: &str = "https://evil.example";

fn readable_by(answer: &Answer, origin: &str) -> bool {
    answer.header("access-control-allow-origin") == Some(origin)
        && answer.header("access-control-allow-credentials") == Some("true")
}

/// One refusal of each kind that comes before any handler does.
async fn refusals(browser: &Browser) -> Vec<(u16, Answer)> {
    let login = "/api/user/login-user";
    let huge = "x".repeat(2 * 1024 * 1024 + 1);
    vec![
        (401, browser.get("/api/user/getUser").await),
        (404, browser.get("/api/nothing/here").await),
        (405, browser.call("PATCH", login).await),
        (400, browser.post(login).body("application/json", "{\"email\":").await),
        (400, browser.post(login).json(&json!({ "email": { "$gt": "" }, "password": "x" })).await),
        (413, browser.post(login).json(&json!({ "email": huge })).await),
        (415, browser.post(login).body("text/plain", "email=ann").await),
        (400, browser.get("/api/shop/get-shop-info/undefined").await),
    ]
}

#[tokio::test]
async fn every_refusal_is_json_in_words_that_the_clients_page_can_read() {
    let app = TestApp::start().await;
    for (status, answer) in refusals(&app.browser().on(CLIENT)).await {
        let body = answer.expect(status);
        assert_eq!(body["success"], false, "{body}");
        for field in ["message", "code", "requestId"] {
            assert!(body[field].as_str().is_some_and(|text| !text.is_empty()), "{field} in {body}");
        }
        assert_eq!(answer.header("x-request-id"), body["requestId"].as_str());
        assert!(readable_by(&answer, CLIENT), "{status}: {:?}", answer.headers);
        assert!(answer.header("vary").is_some_and(|vary| vary.to_ascii_lowercase().contains("origin")));
    }
}

#[tokio::test]
async fn a_foreign_page_reads_nothing_and_changes_nothing() {
    let app = TestApp::start().await;
    let ann = app.buyer("ann").await;
    let foreign = ann.on(EVIL);
    let read = foreign.get("/api/user/getUser").await;
    assert!(read.header("access-control-allow-origin").is_none());

    // With her cookies and without, by a simple form or with a preflight that nobody asked for.
    let change = json!({ "name": "Eve", "password": tests::people::PASSWORD });
    foreign.put("/api/user/updateUserInfo").json(&change).await.refused(403, "foreign_origin");
    let bobs = app.seller("bobs").await;
    let form = || bobs.listing_form("Lamp", "20", 3);
    bobs.on(EVIL).post("/api/product/create-product").form(form()).await.refused(403, "foreign_origin");
    bobs.on("null").post("/api/product/create-product").form(form()).await.refused(403, "foreign_origin");
    app.browser()
        .on(EVIL)
        .post("/api/product/create-product")
        .form(form())
        .await
        .refused(403, "foreign_origin");
    assert_eq!(ann.get("/api/user/getUser").await.expect(201)["user"]["name"], "ann");
    let path = format!("/api/product/get-all-products-shop/{}", bobs.id);
    assert_eq!(bobs.get(&path).await.expect(200)["products"], json!([]));

    let preflight = app
        .browser()
        .on(EVIL)
        .call("OPTIONS", "/api/user/updateUserInfo")
        .header("access-control-request-method", "PUT")
        .await;
    assert!(preflight.header("access-control-allow-origin").is_none());
    // Our own origin is at home, and so is the listed one.
    ann.on(&app.base).put("/api/user/updateUserInfo").json(&change).await.expect(200);
    ann.on(CLIENT).put("/api/user/updateUserInfo").json(&change).await.expect(200);
}

/// The calls without cookies that read or change what is private, each as far as it gets by itself.
async fn bare_calls(
    browser: &Browser,
    user: &str,
    shop: &str,
    headers: &[(&str, &str)],
) -> Vec<(String, u16)> {
    let mut seen = Vec::new();
    for (method, path) in [
        ("GET", format!("/api/order/getOrders/{user}")),
        ("GET", format!("/api/order/getShopOrders/{shop}")),
        ("GET", format!("/api/user/user-info/{user}")),
        ("GET", format!("/api/messages/get-all-messages/{user}")),
        ("POST", "/api/order/create-order".to_owned()),
        ("POST", "/api/conversation/create-new-conversation".to_owned()),
    ] {
        let mut call = browser.call(method, &path).bare();
        if method == "POST" {
            call =
                call.json(&json!({ "cart": [], "user": { "_id": user }, "userId": user, "sellerId": shop }));
        }
        for (name, value) in headers {
            call = call.header(name, value);
        }
        let answer = call.await;
        seen.push((path, answer.status));
    }
    seen
}

#[tokio::test]
async fn without_a_credential_strict_refuses_what_auto_accepts_from_this_machine_alone() {
    let modes = [("strict", &[][..], false), ("auto", &[][..], true), ("compat", &[][..], true)];
    // A proxy hides who is asking, and a name that is not ours is somebody's trick with DNS.
    let proxied = ("auto", &[("x-forwarded-for", "127.0.0.1")][..], false);
    let rebound = ("auto", &[("host", "evil.example")][..], false);
    let stale = ("auto", &[("cookie", "user_token=stale; token=1")][..], false);
    for (mode, headers, accepted) in modes.into_iter().chain([proxied, rebound, stale]) {
        let app = TestApp::with(&[("AUTH_MODE", mode)]).await;
        let (ann, bobs) = (app.buyer("ann").await, app.seller("bobs").await);
        for (path, status) in bare_calls(&app.browser(), &ann.id.hex(), &bobs.id.hex(), headers).await {
            assert_eq!(status != 401, accepted, "{mode} {headers:?} {path} → {status}");
        }
    }
}

#[tokio::test]
async fn a_credential_is_held_against_what_the_call_touches_in_every_mode() {
    for mode in ["strict", "auto", "compat"] {
        let app = TestApp::with(&[("AUTH_MODE", mode)]).await;
        let (ann, eve) = (app.buyer("ann").await, app.buyer("eve").await);
        let (bobs, carls) = (app.seller("bobs").await, app.seller("carls").await);
        eve.get(&format!("/api/order/getOrders/{}", ann.id)).await.refused(403, "not_yours");
        carls.get(&format!("/api/order/getShopOrders/{}", bobs.id)).await.refused(403, "not_yours");
        let form = bobs.listing_form("Lamp", "20", 3);
        carls.post("/api/product/create-product").form(form).await.refused(403, "not_yours");
    }
}

#[tokio::test]
async fn a_cart_of_several_hundred_kilobytes_is_read() {
    let app = TestApp::start().await;
    let (ann, bobs) = (app.buyer("ann").await, app.seller("bobs").await);
    let mut lamp = bobs.product("Lamp", "20", 3).await;
    let review =
        json!({ "user": { "name": "A", "email": "a@example.com" }, "rating": 5, "comment": "x".repeat(900) });
    lamp["reviews"] = Value::Array(vec![review; 500]);
    let request = json!({
        "cart": [lamp],
        "shippingAddress": { "address1": "7 Canal Road", "address2": "", "zipCode": 54000, "country": "PK", "city": "PB" },
        "user": null,
        "totalPrice": 22,
        "paymentInfo": { "type": "Cash on Delivery" },
    });
    assert!(request.to_string().len() > 400_000);
    let order = ann.post("/api/order/create-order").json(&request).await.expect(201)["orders"][0].clone();
    assert_eq!(order["totalPrice"], 22);
}

#[tokio::test]
async fn a_head_request_is_answered_like_a_get_without_its_body() {
    let app = TestApp::start().await;
    for path in ["/ping", "/readyz", "/api/product/get-all-products"] {
        let answer = Client::new().head(format!("{}{path}", app.base)).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        assert!(answer.bytes().await.unwrap().is_empty());
    }
}
