//! The administrators' pages: who gets to see them, and that they say what the API says.

use serde_json::json;
use tests::{Answer, Browser, TestApp};

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
