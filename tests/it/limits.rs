//! Rate limits: each holds over two nodes together, for whom it is meant and for nobody else, and says truly when
//! there is room again. Windows are hours long here, so that a slow machine does not leave one by itself.

use std::collections::BTreeMap;

use bson::{Document, doc};
use futures_util::{TryStreamExt as _, future::join_all};
use serde_json::{Value, json};
use shared::model::{RateCount, Stored as _, User};
use tests::{
    Answer, Browser, TestApp, app::Node, contract::Spec, mongo::TestDatabase, paypal::Paypal,
    people::PASSWORD,
};

/// Everything three times an hour, but for what has a test of its own.
const FEW: &[(&str, &str)] = &[
    ("RATE_LIMITS", "on"),
    ("TRUSTED_PROXIES", "127.0.0.1"),
    ("RATE_LIMIT_LOGIN", "3/1h"),
    ("RATE_LIMIT_LOGIN_ADDRESS", "100/1h"),
    ("RATE_LIMIT_LOGIN_ACCOUNT", "100/1h"),
    ("RATE_LIMIT_SIGNUP", "3/1h"),
    ("RATE_LIMIT_ACTIVATION", "3/1h"),
    ("RATE_LIMIT_RESET", "3/1h"),
    ("RATE_LIMIT_MAIL", "100/1h"),
    ("RATE_LIMIT_PASSWORD", "3/1h"),
    ("RATE_LIMIT_COUPON", "3/1h"),
    ("RATE_LIMIT_CHECKOUT", "3/1h"),
    ("RATE_LIMIT_PAYMENT", "3/1h"),
    ("RATE_LIMIT_UPLOAD", "3/1h"),
    ("RATE_LIMIT_MESSAGE", "3/1h"),
    ("RATE_LIMIT_WEBHOOK", "3/1h"),
    ("RATE_LIMIT_HOOKS", "3/1h"),
];

const COUPON: &str = "/api/coupan/coupan-verified/NONE";
const LOG_IN: &str = "/api/user/login-user";

async fn app(more: &[(&str, &str)]) -> TestApp {
    TestApp::with(&[FEW, more].concat()).await
}

/// Both nodes, to be asked in turn.
struct Pair {
    browsers: [Browser; 2],
    _node: Node,
}

impl Pair {
    async fn of(app: &TestApp) -> Self {
        let node = app.another_node().await;
        Self { browsers: [app.browser(), Browser::new(&node.base)], _node: node }
    }

    fn turn(&self, n: usize) -> &Browser {
        &self.browsers[n % 2]
    }
}

/// Every operation that `openapi.yaml` has under a limit: method, path, limit.
fn limited() -> Vec<(String, String, String)> {
    let paths = Spec::load().document()["paths"].as_object().unwrap();
    let mut found = Vec::new();
    for (path, methods) in paths {
        for (method, operation) in methods.as_object().unwrap() {
            let limit = operation.get("x-rate-limit").and_then(Value::as_str);
            let documented = operation["responses"].get("429").is_some();
            assert_eq!(limit.is_some(), documented, "{method} {path}: x-rate-limit and 429 go together");
            if let Some(limit) = limit {
                found.push((method.to_uppercase(), path.clone(), limit.to_owned()));
            }
        }
    }
    found
}

#[track_caller]
fn refused(answer: &Answer) -> i64 {
    let body = answer.refused(429, "rate_limited");
    let said = body["message"].as_str().unwrap();
    assert!(said.starts_with("Too many ") && said.contains(". Please try again in "), "{said}");
    answer.header("retry-after").expect("it says when to come back").parse().unwrap()
}

async fn log_in(browser: &Browser, from: &str, email: &str, password: &str) -> Answer {
    let body = json!({ "email": email, "password": password });
    browser.post(LOG_IN).bare().header("x-forwarded-for", from).json(&body).await
}

#[test]
fn the_document_and_the_router_name_the_same_limits() {
    let key = |method: &str, path: &str| {
        let shape: Vec<&str> =
            path.split('/').map(|part| if part.starts_with('{') { "{}" } else { part }).collect();
        format!("{method} {}", shape.join("/"))
    };
    let routed: BTreeMap<String, String> = api::routes::table()
        .iter()
        .filter_map(|row| Some((key(row.method, &row.path), row.limit?.to_owned())))
        .collect();
    let documented: BTreeMap<String, String> =
        limited().into_iter().map(|(method, path, limit)| (key(&method, &path), limit)).collect();
    assert_eq!(routed, documented);
    assert!(documented.len() > 20, "only {} were found: the walk is broken", documented.len());
}

#[tokio::test]
async fn every_limited_operation_is_refused_beyond_its_limit_on_two_nodes_together_until_it_said() {
    let app = app(&[]).await;
    let nodes = Pair::of(&app).await;
    for (i, (method, path, limit)) in limited().into_iter().enumerate() {
        let path = path.replace("{id}", "6744a0b1c2d3e4f5a6b7c803").replace("{name}", "NONE");
        // Each from an address of its own, since many share a limit.
        let address = format!("198.51.100.{i}");
        let body = match limit.as_str() {
            "login" => json!({ "email": format!("{i}@example.com"), "password": "wrong" }),
            _ => json!({}),
        };
        let call = async |n: usize| {
            let call = nodes.turn(n).call(&method, &path).header("x-forwarded-for", &address).bare();
            if method == "GET" { call.await } else { call.json(&body).await }
        };
        for n in 0..3 {
            let answer = call(n).await;
            assert_ne!(answer.status, 429, "{method} {path} {n}: {}", answer.text());
        }
        let wait = refused(&call(3).await);
        assert!((1_800..=3_600).contains(&wait), "{method} {path}: {wait}");
        assert!((wait - 600..=wait).contains(&refused(&call(4).await)), "{method} {path}");
        app.clock.advance(wait / 2 * 1000);
        assert!((wait / 2 - 600..=wait / 2 + 1).contains(&refused(&call(5).await)), "{method} {path}");
        let left = refused(&call(6).await);
        app.clock.advance(left * 1000);
        let answer = call(7).await;
        assert_ne!(answer.status, 429, "{method} {path}: it said {left} s: {}", answer.text());
    }
}

#[tokio::test]
async fn of_many_at_once_over_two_nodes_exactly_so_many_get_through() {
    let app = app(&[("RATE_LIMIT_COUPON", "20/1h"), ("RATE_LIMIT_LOGIN", "7/1h")]).await;
    let nodes = Pair::of(&app).await;
    let through = |answers: Vec<Answer>, status| {
        let refused = answers.iter().filter(|answer| answer.status == 429).count();
        let through = answers.iter().filter(|answer| answer.status == status).count();
        assert_eq!(through + refused, answers.len(), "{:?}", answers.iter().map(|answer| answer.status));
        through
    };
    let looked = join_all((0..100).map(|n| nodes.turn(n).get(COUPON).bare().into_future()));
    assert_eq!(through(looked.await, 200), 20);
    let tried = join_all((0..60).map(|n| log_in(nodes.turn(n), "192.0.2.1", "ann@example.com", "wrong")));
    assert_eq!(through(tried.await, 401), 7);
    // Again, in the next window.
    app.clock.advance(3_600_000);
    let looked = join_all((0..60).map(|n| nodes.turn(n).get(COUPON).bare().into_future()));
    assert_eq!(through(looked.await, 200), 20);
}

#[tokio::test]
async fn log_ins_that_succeed_do_not_count_and_failures_count_for_account_and_address() {
    let app = app(&[]).await;
    let (ann, bob) = (app.buyer("ann").await, app.buyer("bob").await);
    let browser = app.browser();
    // As many as one likes, also at once.
    for _ in 0..5 {
        log_in(&browser, "192.0.2.1", &ann.email, PASSWORD).await.expect(200);
    }
    for _ in 0..3 {
        log_in(&browser, "192.0.2.1", &ann.email, "wrong").await.refused(401, "wrong_credentials");
        log_in(&browser, "192.0.2.1", &bob.email, PASSWORD).await.expect(200);
    }
    // Not even the right password says that it is right.
    refused(&log_in(&browser, "192.0.2.1", &ann.email, PASSWORD).await);
    refused(&log_in(&browser, "192.0.2.1", &ann.email.to_uppercase(), "wrong").await);
    log_in(&browser, "192.0.2.1", &bob.email, "wrong").await.expect(401);
    log_in(&browser, "192.0.2.2", &ann.email, PASSWORD).await.expect(200);
    // Her shop, if she has one, is another account.
    let shop = json!({ "email": ann.email, "password": "wrong" });
    let shop = browser.post("/api/shop/shop-login").header("x-forwarded-for", "192.0.2.1").json(&shop);
    shop.await.expect(401);
}

#[tokio::test]
async fn an_account_that_does_not_exist_is_refused_like_one_that_does() {
    let app = app(&[]).await;
    let ann = app.buyer("ann").await;
    app.db
        .of::<User>()
        .update_one(doc! { "_id": ann.id }, doc! { "$set": { "email": "Änn@example.com" } })
        .await
        .unwrap();
    // The index takes these for the same address; as names they are counted apart, so they must not all open it.
    let variants =
        ["änn@example.com", "ä\u{200b}nn@example.com", "änn@ｅxample.com", "a\u{308}nn@example.com"];
    let mut opened = Vec::new();
    for email in variants {
        let answer = log_in(&app.browser(), "192.0.2.9", email, PASSWORD).await;
        if answer.status == 200 {
            opened.push(email);
        }
    }
    assert_eq!(opened, ["änn@example.com"]);
    for email in ["änn@example.com", "nobody@example.com"] {
        for n in 0..6 {
            let answer = log_in(&app.browser(), "192.0.2.1", email, "wrong").await;
            assert_eq!(answer.status, if n < 3 { 401 } else { 429 }, "{email} {n}: {}", answer.text());
        }
    }
}

#[tokio::test]
async fn an_address_that_tries_many_accounts_is_stopped_and_others_are_not() {
    let app = app(&[("RATE_LIMIT_LOGIN_ADDRESS", "5/1h")]).await;
    let ann = app.buyer("ann").await;
    let browser = app.browser();
    for n in 0..5 {
        log_in(&browser, "192.0.2.1", &format!("{n}@example.com"), "wrong").await.expect(401);
    }
    refused(&log_in(&browser, "192.0.2.1", &ann.email, PASSWORD).await);
    log_in(&browser, "192.0.2.2", &ann.email, PASSWORD).await.expect(200);
}

#[tokio::test]
async fn whoever_tries_an_account_from_everywhere_keeps_strangers_out_but_not_its_owner() {
    let app = app(&[("RATE_LIMIT_LOGIN_ACCOUNT", "6/1h")]).await;
    let ann = app.buyer("ann").await;
    let nodes = Pair::of(&app).await;
    log_in(nodes.turn(0), "192.0.2.1", &ann.email, PASSWORD).await.expect(200);
    // One address alone uses up its own three, however often it tries, and not what there is for all.
    for n in 0..10 {
        let answer = log_in(nodes.turn(n), "203.0.113.1", &ann.email, "wrong").await;
        assert_eq!(answer.status, if n < 3 { 401 } else { 429 });
    }
    for n in 2..5 {
        log_in(nodes.turn(n), &format!("203.0.113.{n}"), &ann.email, "wrong").await.expect(401);
    }
    refused(&log_in(nodes.turn(0), "203.0.113.9", &ann.email, "wrong").await);
    refused(&log_in(nodes.turn(1), "203.0.113.9", &ann.email, PASSWORD).await);
    // She has been here before; and mistypes as others do.
    log_in(nodes.turn(1), "192.0.2.1", &ann.email, "wrong").await.expect(401);
    log_in(nodes.turn(1), "192.0.2.1", &ann.email, PASSWORD).await.expect(200);
    log_in(nodes.turn(0), "192.0.2.1", &ann.email, PASSWORD).await.expect(200);
    app.clock.advance(3_600_000);
    log_in(nodes.turn(0), "203.0.113.9", &ann.email, PASSWORD).await.expect(200);
}

#[tokio::test]
async fn accounts_and_addresses_do_not_disturb_one_another() {
    let app = app(&[]).await;
    let (ann, bob, shop) = (app.buyer("ann").await, app.buyer("bob").await, app.seller("cups").await);
    // All from one address.
    for person in [&ann.browser, &bob.browser, &shop.browser] {
        for _ in 0..3 {
            person.get(COUPON).await.expect(200);
        }
        refused(&person.get(COUPON).await);
    }
    // She is who she is, wherever she is.
    refused(&ann.get(COUPON).header("x-forwarded-for", "192.0.2.7").await);
    // And strangers are their address.
    let stranger = app.browser();
    for address in ["192.0.2.1", "192.0.2.2", "2001:db8:0:1::1"] {
        for _ in 0..3 {
            stranger.get(COUPON).header("x-forwarded-for", address).await.expect(200);
        }
        refused(&stranger.get(COUPON).header("x-forwarded-for", address).await);
    }
    // Who has one address of a network of IPv6 has them all; IPv4 is IPv4 however it is written.
    for address in ["2001:db8:0:1:ffff::2", "::ffff:192.0.2.1"] {
        refused(&stranger.get(COUPON).header("x-forwarded-for", address).await);
    }
    stranger.get(COUPON).header("x-forwarded-for", "2001:db8:0:2::1").await.expect(200);
    // One limit used up is no other used up: she may still send her cart, which is merely empty.
    let checkout = ann.post("/api/order/create-order").json(&json!({})).await;
    assert_eq!(checkout.status, 400, "{}", checkout.text());
}

#[tokio::test]
async fn a_forwarding_header_is_believed_from_a_trusted_proxy_alone() {
    let bare = app(&[("TRUSTED_PROXIES", "")]).await;
    let browser = bare.browser();
    for n in 0..3 {
        browser.get(COUPON).header("x-forwarded-for", &format!("192.0.2.{n}")).await.expect(200);
    }
    refused(&browser.get(COUPON).header("x-forwarded-for", "192.0.2.77").await);
    refused(&browser.get(COUPON).await);

    let behind = app(&[]).await;
    let browser = behind.browser();
    // What stands before the address that the proxy added is whatever the client has invented.
    for n in 0..3 {
        let line = format!("10.0.0.{n}, 192.0.2.1");
        browser.get(COUPON).header("x-forwarded-for", &line).await.expect(200);
    }
    refused(&browser.get(COUPON).header("x-forwarded-for", "10.0.0.9, 192.0.2.1").await);
    browser.get(COUPON).header("x-forwarded-for", "192.0.2.1, 192.0.2.2").await.expect(200);
}

#[tokio::test]
async fn a_page_of_the_client_can_read_when_to_come_back() {
    let app = app(&[("RATE_LIMIT_COUPON", "1/1h")]).await;
    let page = app.browser().on(tests::app::CLIENT);
    page.get(COUPON).await.expect(200);
    let answer = page.get(COUPON).await;
    refused(&answer);
    let exposed = answer.header("access-control-expose-headers").unwrap().to_ascii_lowercase();
    assert!(exposed.contains("retry-after"), "{exposed}");
    assert_eq!(answer.header("access-control-allow-origin"), Some(tests::app::CLIENT));
}

#[tokio::test]
async fn nobody_can_have_a_mailbox_flooded_from_however_many_addresses() {
    let app = app(&[("RATE_LIMIT_MAIL", "2/1h"), ("RATE_LIMIT_RESET", "50/1h")]).await;
    let ann = app.buyer("ann").await;
    for email in [ann.email.as_str(), "nobody@example.com"] {
        for n in 0..4 {
            let call = app.browser().post("/api/user/forgot-password").json(&json!({ "email": email }));
            let answer = call.header("x-forwarded-for", &format!("192.0.2.{n}")).await;
            assert_eq!(answer.status, if n < 2 { 200 } else { 429 }, "{email} {n}");
        }
    }
}

#[tokio::test]
async fn forged_webhooks_are_stopped_and_never_stand_in_the_way_of_real_ones() {
    let paypal = Paypal::start().await;
    let app = paypal.app(FEW).await;
    let forged = |n: usize| {
        let mut transmission = paypal.transmit(&paypal.event("PAYMENT.CAPTURE.COMPLETED", json!({})));
        transmission.headers.get_mut("paypal-transmission-sig").unwrap().push('0');
        transmission.headers.insert("x-forwarded-for", format!("203.0.113.{n}"));
        transmission
    };
    for _ in 0..3 {
        Paypal::call(&app, &forged(1)).await.refused(400, "invalid_signature");
    }
    let asked = paypal.asked("POST /v1/notifications").len();
    for _ in 0..5 {
        refused(&Paypal::call(&app, &forged(1)).await);
    }
    assert_eq!(paypal.asked("POST /v1/notifications").len(), asked, "PayPal is not asked about these");
    // Real ones are not counted, however many there are.
    for n in 0..8 {
        let resource = json!({ "id": format!("CAT-{n}") });
        let mut real = paypal.transmit(&paypal.event("CATALOG.PRODUCT.CREATED", resource));
        real.headers.insert("x-forwarded-for", "198.51.100.1".to_owned());
        let answer = Paypal::call(&app, &real).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    Paypal::call(&app, &forged(2)).await.refused(400, "invalid_signature");
}

#[tokio::test]
async fn while_nobody_can_count_guesses_are_refused_and_the_rest_goes_on() {
    let database = TestDatabase::new().await;
    let app = TestApp::on(database, FEW).await;
    let ann = app.buyer("ann").await;
    // A view cannot be written to.
    app.db.raw::<Document>(RateCount::COLLECTION).drop().await.unwrap();
    let view = doc! { "create": RateCount::COLLECTION, "viewOn": "users", "pipeline": [] };
    app.db.database().run_command(view).await.unwrap();
    for _ in 0..5 {
        let refused = log_in(&app.browser(), "192.0.2.1", &ann.email, PASSWORD).await;
        refused.refused(503, "unavailable");
        assert!(refused.header("retry-after").is_some());
        ann.get(COUPON).await.refused(503, "unavailable");
        ann.post("/api/order/create-order").json(&json!({})).await.expect(400);
        ann.put("/api/user/update-user-avatar").form(tests::Form::new().picture("file")).await.expect(200);
    }
}

#[tokio::test]
async fn what_is_counted_tells_nobody_who_it_was_and_goes_by_itself() {
    let app = app(&[]).await;
    let ann = app.buyer("ann").await;
    log_in(&app.browser(), "192.0.2.1", &ann.email, "wrong").await.expect(401);
    log_in(&app.browser(), "192.0.2.1", &ann.email, PASSWORD).await.expect(200);
    ann.get(COUPON).await.expect(200);
    let counters = app.db.raw::<Document>(RateCount::COLLECTION);
    let all: Vec<Document> = counters.find(doc! {}).await.unwrap().try_collect().await.unwrap();
    assert_eq!(all.len(), 5, "{all:?}");
    let text = format!("{all:?}");
    for secret in [ann.email.as_str(), "ann", "192.0.2.1", &ann.id.hex(), PASSWORD] {
        assert!(!text.contains(secret), "{secret} is in {text}");
    }
    let indexes: Vec<_> = counters.list_indexes().await.unwrap().try_collect().await.unwrap();
    let ttl = indexes.iter().find(|index| index.keys == doc! { "until": 1 }).unwrap();
    assert_eq!(ttl.options.as_ref().unwrap().expire_after, Some(std::time::Duration::ZERO));
}

#[tokio::test]
async fn without_limits_nothing_is_counted() {
    let app = app(&[("RATE_LIMITS", "off")]).await;
    let ann = app.buyer("ann").await;
    for _ in 0..6 {
        log_in(&app.browser(), "192.0.2.1", &ann.email, "wrong").await.expect(401);
        log_in(&app.browser(), "192.0.2.1", &ann.email, PASSWORD).await.expect(200);
        ann.get(COUPON).await.expect(200);
    }
    let counters = app.db.raw::<Document>(RateCount::COLLECTION);
    assert_eq!(counters.count_documents(doc! {}).await.unwrap(), 0);
}
