//! What pages of others can do to somebody who is logged in, shown by a real browser; and what every answer tells the
//! browser about itself.

use std::process::{Command, Stdio};

use bson::{Document, doc};
use serde_json::{Value, json};
use shared::config::{AppEnv, Config, SameSite};
use tests::{
    Answer, Browser, CLIENT, Chat, Form, TestApp,
    browser::Cookie,
    contract::Spec,
    people::{PASSWORD, email},
    picture,
};
use wiremock::{Mock, MockServer, ResponseTemplate, matchers::any};

use crate::journey::with_libraries;

/// A server of pages that are not ours.
async fn pages() -> MockServer {
    let server = MockServer::start().await;
    let page = "<!doctype html><title>page</title><body></body>";
    let answer = ResponseTemplate::new(200).set_body_raw(page, "text/html");
    Mock::given(any()).respond_with(answer).mount(&server).await;
    server
}

/// Somebody with a shop, who has dealt with themselves: everything that a page could get at.
struct Victim {
    app: TestApp,
    chat: Chat,
    known: Value,
}

impl Victim {
    async fn new(settings: &[(&str, &str)]) -> Self {
        // Or a checkout is remembered for a moment, and forgotten in the middle of it.
        let settings = [settings, &[("DUPLICATE_ORDER_WINDOW", "0")]].concat();
        let app = TestApp::with(&settings).await;
        let (ann, bobs) = tokio::join!(app.buyer("ann"), app.seller("bobs"));
        let (eve, mal) = tokio::join!(app.buyer("eve"), app.seller("mal"));
        let chat = app.chat().await;
        let product = bobs.product("cup", "10", 50).await;
        let order = ann.order(&[(&product, 1)]).await;
        let conversation = ann.talk_to(&bobs).await;
        let said =
            json!({ "conversationId": conversation, "sender": bobs.id.hex(), "text": "the word is plugh" });
        bobs.post("/api/messages/create-new-message").json(&said).await.expect(201);
        let home = json!({ "country": "PK", "city": "PB", "address1": "7 Canal Road", "address2": "second floor",
            "zipCode": 54000, "addressType": "Home" });
        let user = ann.put("/api/user/userAddressUpadte").json(&home).await.expect(200);
        let page = app.browser();
        for (path, name) in [("/api/user/login-user", "ann"), ("/api/shop/shop-login", "bobs")] {
            let body = json!({ "email": email(name), "password": PASSWORD });
            page.post(path).json(&body).await.expect(200);
        }
        let cookies: Vec<Value> = ["user_token", "seller_token", "token"]
            .map(|name| cookie_for_a_browser(name, &page.cookie(name).unwrap()))
            .to_vec();
        let picture = base64(&picture::png());
        let port = |url: &str| url.rsplit(':').next().unwrap().to_owned();
        let known = json!({
            "api": format!("http://localhost:{}", port(&app.base)),
            "chat": format!("http://localhost:{}", chat.address.port()),
            "user": ann.id.hex(), "shop": bobs.id.hex(), "email": ann.email, "shopEmail": bobs.email,
            "attacker": eve.email, "attackersShop": mal.email, "password": PASSWORD, "word": "plugh",
            "product": product["_id"], "order": order[0]["_id"], "conversation": conversation,
            "address": user["user"]["addresses"][0]["_id"], "cookies": cookies, "picture": picture,
        });
        Self { app, chat, known }
    }

    /// Has a real browser play one part of the story.
    async fn browse(&self, part: &str, pages: Value) {
        let directory = with_libraries().await;
        let mut known = self.known.clone();
        known.as_object_mut().unwrap().extend(pages.as_object().unwrap().clone());
        let mut node = Command::new("node");
        node.arg("origins.mjs").current_dir(directory).stdin(Stdio::null());
        node.env("SOUK_PART", part).env("SOUK_WORLD", known.to_string());
        let output = tokio::task::spawn_blocking(move || node.output()).await.unwrap().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && said.contains("all held"),
            "{said}{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// A digest of each collection.
    async fn digests(&self) -> Document {
        let users = self.app.db.raw::<Document>("users");
        let database = users.client().database(&users.namespace().db);
        let answer = database.run_command(doc! { "dbHash": 1 }).await.unwrap();
        let mut digests = answer.get_document("collections").unwrap().clone();
        // The watch's own, what is noted about those who were refused, and how chat nodes greet one another.
        for name in ["turns", "auditlog", "ratelimits", "chatsignals"] {
            digests.remove(name);
        }
        digests
    }
}

/// As the server has set it, in the browser's words.
fn cookie_for_a_browser(name: &str, cookie: &Cookie) -> Value {
    json!({
        "name": name, "value": cookie.value, "domain": "localhost", "path": cookie.attributes["path"],
        "httpOnly": cookie.http_only(), "sameSite": cookie.attributes["samesite"],
        "secure": cookie.attributes.contains_key("secure"),
    })
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let group = |group: &[u8]| {
        let bits = group.iter().chain([&0, &0]).take(3).fold(0, |bits, byte| bits << 8 | usize::from(*byte));
        let digit = |i: usize| char::from(DIGITS[bits >> (18 - 6 * i) & 63]);
        (0..4).map(|i| if i > group.len() { '=' } else { digit(i) }).collect::<String>()
    };
    bytes.chunks(3).map(group).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_browser_gives_pages_of_others_nothing_and_the_client_everything() {
    let (here, there) = tokio::join!(pages(), pages());
    let (listed, other) = (here.address().port(), there.address().port());
    let client = format!("http://localhost:{listed}");
    let victim = Victim::new(&[("CLIENT_URL", &client)]).await;
    crate::mail::nothing_is_due(&victim.app).await;
    let before = victim.digests().await;
    let elsewhere = json!({
        "otherSite": format!("http://127.0.0.1:{other}"), "otherPort": format!("http://localhost:{other}"),
    });
    victim.browse("foreign", elsewhere).await;
    assert_eq!(victim.digests().await, before, "a foreign page has changed something");
    victim.browse("listed", json!({ "listed": client })).await;
    assert_ne!(victim.digests().await, before);
    victim.chat.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_served_from_here_loads_what_it_always_loaded_and_may_do_everything() {
    let gateway = MockServer::start().await;
    let script = ResponseTemplate::new(200).set_body_raw("window.foreign = true", "text/javascript");
    Mock::given(any()).respond_with(script).mount(&gateway).await;
    let directory = std::env::temp_dir().join(format!("souk-pages-{}", shared::id::Id::<()>::new()));
    std::fs::create_dir(&directory).unwrap();
    // What a page with card fields and payment buttons comes down to: scripts, styles and frames of elsewhere.
    let page = format!(
        "<!doctype html><title>shop</title><style>body {{ color: rgb(1, 2, 3) }}</style><body style=\"margin: 0\">\
         <script>window.inline = true</script><script src=\"{0}/script.js\"></script><iframe src=\"{0}/\"></iframe>",
        gateway.uri()
    );
    std::fs::write(directory.join("index.html"), page).unwrap();
    let victim = Victim::new(&[("SPA_DIR", directory.to_str().unwrap())]).await;
    // The chat is on another port, and takes the page for one of ours by `PUBLIC_URL`.
    let chat = format!("http://{}", victim.chat.address);
    victim.browse("served", json!({ "api": victim.app.base, "chat": chat })).await;
    std::fs::remove_dir_all(directory).unwrap();
}

#[track_caller]
fn says(answer: &Answer, name: &str, value: &str) {
    assert_eq!(answer.header(name), Some(value), "{name} of {} {}", answer.method, answer.path);
}

/// What is true of every answer, whatever it is.
#[track_caller]
fn is_hardened(answer: &Answer, https: bool) {
    says(answer, "x-content-type-options", "nosniff");
    says(answer, "referrer-policy", "strict-origin-when-cross-origin");
    let policy = answer.header("content-security-policy").unwrap_or_default();
    let framed = answer.header("x-frame-options").unwrap_or_default();
    let pair = (policy.contains("frame-ancestors 'none'"), policy.contains("frame-ancestors 'self'"), framed);
    assert!(matches!(pair, (true, false, "DENY") | (false, true, "SAMEORIGIN")), "{}: {pair:?}", answer.path);
    assert!(answer.header("cache-control").is_some(), "{}", answer.path);
    assert!(answer.header("cross-origin-resource-policy").is_some(), "{}", answer.path);
    let always = https.then_some("max-age=31536000; includeSubDomains");
    assert_eq!(answer.header("strict-transport-security"), always, "{}", answer.path);
    for name in ["server", "x-powered-by"] {
        assert_eq!(answer.header(name), None, "{}", answer.path);
    }
}

#[tokio::test]
async fn every_answer_tells_the_browser_to_be_careful() {
    let app = TestApp::start().await;
    let page = app.browser().on(CLIENT);
    for (method, template) in Spec::load().operations() {
        let path = template.replace(['{', '}'], "");
        let answer = page.call(method, &path).bare().unchecked().await;
        is_hardened(&answer, false);
        let preflight = page.call("OPTIONS", &path).header("access-control-request-method", method);
        is_hardened(&preflight.bare().await, false);
    }
    for path in ["/", "/nowhere", "/uploads/placeholder.svg"] {
        is_hardened(&page.get(path).bare().unchecked().await, false);
    }
    let (ann, bobs) = (app.buyer("ann").await, app.seller("bobs").await);
    for path in ["/api/user/getUser", &format!("/api/order/getOrders/{}", ann.id)] {
        let own = ann.on(CLIENT).get(path).await;
        says(&own, "cache-control", "no-store");
        says(&own, "cross-origin-resource-policy", "same-origin");
        assert!(own.header("content-security-policy").unwrap().starts_with("default-src 'none'"));
    }
    // Pages of the client show pictures from wherever they are.
    let product = bobs.product("cup", "10", 1).await;
    let picture = product["images"][0]["url"].as_str().unwrap().strip_prefix(&app.base).unwrap();
    let picture = ann.get(picture).await;
    is_hardened(&picture, false);
    says(&picture, "cross-origin-resource-policy", "cross-origin");
    assert!(picture.header("content-security-policy").unwrap().contains("sandbox"));
}

#[tokio::test]
async fn over_https_browsers_are_told_to_stay_there() {
    let app = TestApp::with(&[("PUBLIC_URL", "https://shop.example")]).await;
    is_hardened(&app.browser().get("/ping").await, true);
    is_hardened(&app.browser().get("/api/user/getUser").await, true);
}

#[tokio::test]
async fn the_chat_tells_the_browser_to_be_careful_too() {
    let app = TestApp::start().await;
    let chat = app.chat().await;
    let browser = Browser::new(&format!("http://{}", chat.address));
    for path in ["/", "/healthz", "/nowhere", "/socket.io/?EIO=4&transport=polling"] {
        let answer = browser.get(path).unchecked().await;
        says(&answer, "x-content-type-options", "nosniff");
        says(&answer, "cache-control", "no-store");
        says(&answer, "cross-origin-resource-policy", "same-origin");
    }
}

/// Every cookie that a log-in and the following log-out set.
async fn cookies(tune: fn(&mut Config), settings: &[(&str, &str)]) -> Vec<(String, String)> {
    let app = TestApp::tuned(settings, tune).await;
    tokio::join!(app.buyer("ann"), app.seller("bobs"));
    let mut set = Vec::new();
    for (path, name, out) in [
        ("/api/user/login-user", "ann", "/api/user/logout"),
        ("/api/shop/shop-login", "bobs", "/api/shop/logout-seller"),
    ] {
        let page = app.browser();
        let entered = page.post(path).json(&json!({ "email": email(name), "password": PASSWORD })).await;
        for answer in [entered, page.get(out).await] {
            for header in answer.headers.get_all("set-cookie") {
                let text = header.to_str().unwrap();
                let (pair, attributes) = text.split_once("; ").unwrap_or((text, ""));
                set.push((pair.split('=').next().unwrap().to_owned(), attributes.to_owned()));
            }
        }
    }
    assert_eq!(set.len(), 6, "{set:?}");
    set
}

#[tokio::test]
async fn session_cookies_are_out_of_the_reach_of_scripts_other_sites_and_other_hosts() {
    for (name, attributes) in cookies(|_| {}, &[]).await {
        assert_eq!(attributes.contains("HttpOnly"), name != "token", "{name}: {attributes}");
        assert!(attributes.contains("SameSite=Lax") && attributes.contains("Path=/"), "{name}: {attributes}");
        // Without a domain it is this host's alone; without https a secure one would be lost.
        assert!(!attributes.contains("Domain") && !attributes.contains("Secure"), "{name}: {attributes}");
    }
    let production = |config: &mut Config| config.env = AppEnv::Production;
    for (name, attributes) in cookies(production, &[]).await {
        assert_eq!(attributes.contains("HttpOnly"), name != "token", "{name}: {attributes}");
        assert!(attributes.contains("Secure") && !attributes.contains("Domain"), "{name}: {attributes}");
    }
    let strict = |config: &mut Config| config.cookie_same_site = SameSite::Strict;
    for (name, attributes) in cookies(strict, &[("COOKIE_DOMAIN", "example.com")]).await {
        assert!(attributes.contains("SameSite=Strict"), "{name}: {attributes}");
        assert!(attributes.contains("Domain=example.com"), "{name}: {attributes}");
    }
}

/// One with a real picture, so that a form is one.
#[tokio::test]
async fn what_a_foreign_page_has_asked_for_is_nobodys_and_ends_no_session() {
    let app = TestApp::start().await;
    let ann = app.buyer("ann").await;
    let by = |path: &str, site: &str| ann.get(path).header("sec-fetch-site", site);
    for site in ["cross-site", "same-site"] {
        let read = by("/api/user/getUser", site).await;
        read.refused(401, "unauthenticated");
        assert_eq!(read.header("set-cookie"), None, "the session was ended");
        let out = by("/api/user/logout", site).await;
        out.refused(403, "foreign_origin");
        by("/api/shop/logout-seller", site).await.refused(403, "foreign_origin");
        let form = Form::new().picture("file");
        let put = ann.put("/api/user/update-user-avatar").header("sec-fetch-site", site).form(form);
        put.await.refused(403, "foreign_origin");
        // A page of the client's that says so may.
        let listed = ann.on(CLIENT).get("/api/user/getUser").header("sec-fetch-site", site);
        listed.await.expect(201);
    }
    for site in ["none", "same-origin"] {
        by("/api/user/getUser", site).await.expect(201);
    }
    // Where calls without a credential are accepted, those of foreign pages are not.
    let open = TestApp::with(&[("AUTH_MODE", "compat")]).await;
    let bob = open.buyer("bob").await;
    let path = format!("/api/order/getOrders/{}", bob.id);
    open.browser().get(&path).await.expect(200);
    open.browser().get(&path).header("sec-fetch-site", "cross-site").await.refused(401, "unauthenticated");
    open.browser().on("https://evil.example").get(&path).await.refused(401, "unauthenticated");
    bob.get(&path).await.expect(200);
    by("/api/user/logout", "same-origin").await.expect(200);
}
