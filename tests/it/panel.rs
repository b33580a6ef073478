//! The administrators' pages: who gets to see them, and that they say what the API says.

use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tests::{Answer, Browser, Buyer, TestApp, people::PASSWORD};

use crate::journey::with_libraries;

/// The pages that the navigation leads to.
async fn pages(admin: &Browser) -> Vec<String> {
    let home = admin.get("/admin").await;
    assert_eq!(home.status, 200, "{}", home.text());
    let home = home.text();
    let navigation = home.split("<nav").nth(1).and_then(|rest| rest.split("</nav>").next()).unwrap();
    let links = navigation.split("href=\"").skip(1).map(|rest| rest.split('"').next().unwrap().to_owned());
    let links: Vec<String> = links.collect();
    assert!(links.len() > 5, "{links:?}");
    links
}

fn is_a_guarded_page(answer: &Answer) {
    let policy = answer.header("content-security-policy").unwrap_or_default();
    assert!(policy.contains("default-src 'none'") && policy.contains("script-src 'self'"), "{policy}");
    assert!(policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"), "{policy}");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert!(answer.header("content-type").is_some_and(|kind| kind.starts_with("text/html")));
}

#[tokio::test]
async fn only_administrators_get_to_see_the_pages() {
    let app = TestApp::start().await;
    let (root, ann, bobs) = tokio::join!(app.admin("root"), app.buyer("ann"), app.seller("bobs"));
    for page in pages(&root).await {
        let seen = root.get(&page).await;
        assert_eq!(seen.status, 200, "{page}: {}", seen.text());
        is_a_guarded_page(&seen);
        let timing = seen.header("server-timing").unwrap_or_default();
        assert!(timing.starts_with("total;dur="), "{page}: {timing}");

        let nobody = app.browser().get(&page).await;
        assert_eq!(nobody.status, 303, "{page}");
        let next = page.replace('/', "%2F");
        assert_eq!(nobody.header("location"), Some(&*format!("/admin/sign-in?next={next}")));
        assert_eq!(nobody.text(), "");

        for (who, stranger) in [("a buyer", &*ann), ("a seller", &*bobs)] {
            let refused = stranger.get(&page).unchecked().await;
            assert_eq!(refused.status, 403, "{page} for {who}");
            is_a_guarded_page(&refused);
            assert!(!refused.text().contains("<table"), "{page} for {who}");
        }
    }
    let unknown = root.get("/admin/there-is-no-such-list").unchecked().await;
    assert_eq!(unknown.status, 404);
}

#[tokio::test]
async fn one_signs_in_and_is_led_to_where_one_wanted_to_go_but_not_elsewhere() {
    let app = TestApp::start().await;
    let page = app.browser().get("/admin/sign-in?next=%2Fadmin%2Fshops%3Fq%3Dx").await;
    is_a_guarded_page(&page);
    assert!(page.text().contains("data-then=\"/admin/shops?q=x\""), "{}", page.text());
    for elsewhere in
        ["https://evil.test/", "//evil.test", "javascript:alert(1)", "/administrator", "\"><script>"]
    {
        let next: String = elsewhere.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let page = app.browser().get(&format!("/admin/sign-in?next={next}")).await.text();
        assert!(page.contains("data-then=\"/admin\""), "{elsewhere}: {page}");
        assert!(!page.contains("evil") && !page.contains("alert("), "{page}");
    }
    let at_the_end = app.browser().get("/admin/").await;
    assert_eq!((at_the_end.status, at_the_end.header("location")), (303, Some("/admin")));
}

#[tokio::test]
async fn files_of_the_pages_are_kept_for_ever_and_are_there() {
    let app = TestApp::start().await;
    let page = app.browser().get("/admin/sign-in").await.text();
    let addresses = page.split('"').filter(|part| part.starts_with("/admin/assets/"));
    let addresses: Vec<&str> = addresses.collect();
    assert_eq!(addresses.len(), 5, "{addresses:?}");
    for address in addresses {
        let file = app.browser().get(address).await;
        assert_eq!(file.status, 200, "{address}");
        assert!(file.header("cache-control").is_some_and(|kept| kept.contains("immutable")));
        assert!(!file.text().is_empty());
    }
    assert_eq!(app.browser().get("/admin/assets/..%2Fpanel.css").unchecked().await.status, 404);
}

#[tokio::test]
async fn what_people_call_themselves_is_text() {
    let app = TestApp::start().await;
    let (root, bobs) = tokio::join!(app.admin("root"), app.seller("bobs"));
    let name = "<script>alert('x')</script> & \"co\"";
    let method = json!({ "withdrawMethod": { "bankName": name, "bankCountry": "PK", "bankSwiftCode": "HABBPKKA",
        "bankAccountNumber": "0123456789", "bankHolderName": name, "bankAddress": "Karachi" } });
    bobs.put("/api/shop/update-payment-methods").json(&method).await.expect(201);
    app.db
        .of::<shared::model::Shop>()
        .update_one(bson::doc! { "_id": bobs.id }, bson::doc! { "$set": { "name": name } })
        .await
        .unwrap();
    crate::withdrawals::earn(&app, &bobs, 50_000).await;
    bobs.post("/api/withDraw/create-withdraw-request").json(&json!({ "amount": 100 })).await.expect(201);
    for page in pages(&root).await {
        let seen = root.get(&page).await.text();
        assert!(!seen.contains("<script>alert"), "{page}: {seen}");
    }
    let seen = root.get("/admin/withdrawals").await.text();
    assert!(seen.contains("&lt;script&gt;alert"), "{seen}");
    assert!(seen.contains("100.00"), "{seen}");
    let refused = root.get("/admin/withdrawals?status=%3Cb%3E").unchecked().await;
    assert_eq!(refused.status, 400);
    assert!(refused.text().contains("must be Processing"), "{}", refused.text());
}

/// A market with something on every page.
async fn market(app: &TestApp) -> (Buyer, Value) {
    let (root, ann, bobs) = tokio::join!(app.admin("root"), app.buyer("ann"), app.seller("bobs"));
    let cup = bobs.product("cup", "100", 50).await;
    bobs.product("a lamp with a rather long name that has to be broken somewhere", "19.99", 7).await;
    let conversation = ann.talk_to(&bobs).await;
    let order = ann.order(&[(&cup, 2)]).await.remove(0);
    let id = order["_id"].as_str().unwrap();
    bobs.set_status(id, "Delivered").await;
    let review = json!({ "user": { "_id": ann.id.hex() }, "rating": 2, "comment": "It is <i>small</i>.",
        "productId": cup["_id"], "orderId": id });
    ann.put("/api/product/create-new-review").json(&review).await.expect(200);
    let said = json!({ "conversationId": conversation, "sender": ann.id.hex(), "text": "It came broken." });
    ann.post("/api/messages/create-new-message").json(&said).await.expect(201);
    let wanted =
        json!({ "orderId": id, "reason": "damaged", "message": "One is <b>cracked</b>.", "amount": "110" });
    let dispute = ann.post("/api/dispute").json(&wanted).await.expect(201)["dispute"].clone();
    crate::withdrawals::earn(app, &bobs, 50_000).await;
    crate::withdrawals::add_bank(&bobs).await;
    bobs.post("/api/withDraw/create-withdraw-request").json(&json!({ "amount": "60.50" })).await.expect(201);
    (root, dispute)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_administrator_takes_a_tour_in_a_real_browser() {
    let app = TestApp::start().await;
    let (root, dispute) = market(&app).await;
    let world = json!({
        "base": app.base, "email": root.email, "password": PASSWORD, "shop": "bobs", "letter": "order-placed",
        "said": ["One is <b>cracked</b>.", "It came broken."], "amount": "60.50",
    });
    let mut node = Command::new("node");
    node.arg("panel.mjs").current_dir(with_libraries().await).stdin(Stdio::null());
    node.env("SOUK_WORLD", world.to_string());
    let output = tokio::task::spawn_blocking(move || node.output()).await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let failed = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("all held"), "{said}{failed}");

    let id = dispute["_id"].as_str().unwrap();
    let decided = root.get(&format!("/api/admin/dispute/{id}")).await.expect(200);
    assert_eq!(decided["dispute"]["state"], "refunded");
    assert_eq!(decided["dispute"]["returned"], json!(60.5));
    assert_eq!(decided["dispute"]["note"], "half of it was broken");
    let paid = root.get("/api/withDraw/get-all-withdraw-request").await.expect(200);
    assert_eq!(paid["withdraws"][0]["status"], "Succeeded");
    let shops = root.get("/api/admin/shops?q=bobs").await.expect(200);
    assert_eq!((&shops["shops"][0]["state"], &shops["total"]), (&json!("open"), &json!(1)));
    let log = root.get("/api/admin/audit-log?limit=50").await.expect(200).to_string();
    for action in ["block_account", "unblock_account", "decide_withdrawal"] {
        assert!(log.contains(action), "{action}: {log}");
    }
    let books = shared::audit::run(&app.db).await.unwrap();
    assert_eq!(books.differences, Vec::<String>::new());
}
