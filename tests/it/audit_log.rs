//! The audit log: what happens to accounts and money is in it, secrets are not, and it stands in nobody's way.

use std::time::Duration;

use bson::{Document, doc};
use futures_util::{TryStreamExt as _, future::join_all};
use serde_json::{Value, json};
use shared::model::User;
use tests::{Browser, Buyer, TestApp, people::PASSWORD};

use crate::{
    payments_admin::{settle, unclaimed},
    withdrawals::{decide, request, rich},
};

const LOG: &str = "/api/admin/audit-log";
const LOG_IN: &str = "/api/user/login-user";

/// The entries that fit, oldest first, once there are so many. They are written behind the request's back.
async fn entries(app: &TestApp, filter: Document, count: usize) -> Vec<Document> {
    let log = app.db.raw::<Document>("auditlog");
    for _ in 0..1_200 {
        let found = log.find(filter.clone()).sort(doc! { "at": 1, "_id": 1 }).await.unwrap();
        let found: Vec<Document> = found.try_collect().await.unwrap();
        if found.len() >= count {
            assert_eq!(found.len(), count, "{found:#?}");
            return found;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{count} entries of {filter} were expected: {:#?}", everything(app).await)
}

async fn everything(app: &TestApp) -> Vec<Document> {
    app.db.raw::<Document>("auditlog").find(doc! {}).await.unwrap().try_collect().await.unwrap()
}

async fn log_in(browser: &Browser, path: &str, email: &str, password: &str) -> u16 {
    browser.post(path).json(&json!({ "email": email, "password": password })).await.status
}

fn party(entry: &Document, of: &str) -> (String, Option<String>) {
    let party = entry.get_document(of).unwrap();
    (party.get_str("kind").unwrap().to_owned(), party.get_str("id").ok().map(str::to_owned))
}

#[tokio::test]
async fn log_ins_passwords_and_sessions_are_written_down_without_any_secret() {
    let app = TestApp::with(&[("TRUSTED_PROXIES", "127.0.0.1")]).await;
    let (ann, bob) = (app.buyer("ann").await, app.seller("bob").await);
    let away = app.buyer("away").await;
    let blocked = doc! { "$set": { "blocked": true } };
    app.db.of::<User>().update_one(doc! { "_id": away.id }, blocked).await.unwrap();
    let browser = app.browser();
    let body = json!({ "email": ann.email, "password": PASSWORD });
    let answer = browser.post(LOG_IN).header("x-forwarded-for", "192.0.2.1").json(&body).await;
    let session = answer.expect(200)["token"].as_str().unwrap().to_owned();
    assert_eq!(log_in(&browser, LOG_IN, &ann.email, "swordfish").await, 401);
    assert_eq!(log_in(&browser, LOG_IN, "nobody@elsewhere.example", "swordfish").await, 401);
    assert_eq!(log_in(&browser, LOG_IN, &away.email, PASSWORD).await, 403);
    assert_eq!(log_in(&browser, "/api/shop/shop-login", &bob.email, PASSWORD).await, 200);
    let change = |old: &str| json!({ "oldPassword": old, "newPassword": "battery staple", "confPassword": "battery staple" });
    ann.put("/api/user/updatePassword").json(&change("swordfish")).await.expect(400);
    ann.put("/api/user/updatePassword").json(&change(PASSWORD)).await.expect(200);
    ann.put("/api/user/logout-everywhere").await.expect(200);
    browser.post("/api/user/forgot-password").json(&json!({ "email": ann.email })).await.expect(200);
    let link = app.mails().await_mail_to(&ann.email).await.token_after("/reset-password/");
    let reset = json!({ "token": link, "newPassword": "open sesame", "confPassword": "open sesame" });
    browser.put("/api/user/reset-password").json(&reset).await.expect(200);

    let all = entries(&app, doc! {}, 9).await;
    let short = |entry: &Document| {
        let done = if entry.get_bool("done").unwrap() { "done" } else { "refused" };
        format!("{} {done}", entry.get_str("action").unwrap())
    };
    let mut said: Vec<String> = all.iter().map(short).collect();
    said.sort();
    assert_eq!(
        said,
        [
            "change_password done",
            "change_password refused",
            "log_in done",
            "log_in done",
            "log_in refused",
            "log_in refused",
            "log_in refused",
            "log_out_everywhere done",
            "reset_password done",
        ]
    );
    let of = |account: String| {
        all.iter().filter(move |entry| {
            entry.get_array("accounts").unwrap().iter().any(|id| id.as_str() == Some(&account))
        })
    };
    assert_eq!(of(ann.id.hex()).count(), 6);
    assert_eq!(of(bob.id.hex()).count(), 1);
    assert_eq!(of(away.id.hex()).next().unwrap().get_str("note").unwrap(), "blocked");
    let first = of(ann.id.hex()).next().unwrap();
    assert_eq!(first.get_str("address").unwrap(), "192.0.2.1");
    assert_eq!(first.get_str("request").ok(), answer.header("x-request-id"));
    assert_eq!(party(first, "actor"), ("user".to_owned(), Some(ann.id.hex())));
    let unknown = all.iter().find(|entry| entry.get_array("accounts").unwrap().is_empty()).unwrap();
    assert_eq!(party(unknown, "about").0, "email");

    // Neither as it is stored nor as it is shown.
    let root = app.admin("root").await;
    let shown = root.get(LOG).await;
    shown.expect(200);
    for text in [format!("{all:?}"), shown.text()] {
        for secret in [
            PASSWORD,
            "swordfish",
            "battery staple",
            "open sesame",
            &link,
            &session,
            "@",
            "elsewhere",
            "$2b$",
        ] {
            assert!(!text.contains(secret), "{secret} is in {text}");
        }
    }
}

#[tokio::test]
async fn a_decision_about_money_is_written_with_it_once_and_a_refused_one_is_not() {
    let app = TestApp::start().await;
    let (seller, root) = rich(&app, 30_000).await;
    let id = request(&seller, 100).await;
    let answers = join_all((0..12).map(|_| decide(&root, &id, json!({ "status": "Succeeded" })))).await;
    assert!(answers.iter().all(|answer| answer.status == 200));
    decide(&root, &id, json!({ "status": "Rejected" })).await.refused(409, "wrong_status");
    // No need to wait: it is there with the decision.
    let all = everything(&app).await;
    assert_eq!(all.len(), 1, "{all:#?}");
    assert_eq!(all[0].get_str("action").unwrap(), "decide_withdrawal");
    assert_eq!(party(&all[0], "actor"), ("admin".to_owned(), Some(root.id.hex())));
    assert_eq!(party(&all[0], "about"), ("withdrawal".to_owned(), Some(id)));
    assert!(all[0].get_str("note").is_ok());

    let ann = app.buyer("ann").await;
    let payment = unclaimed(&app, &ann, 1000).await;
    for _ in 0..2 {
        settle(&root, &payment, "keep").await.expect(200);
    }
    let all: Vec<_> = everything(&app).await.into_iter().skip(1).collect();
    assert_eq!(all.len(), 1, "{all:#?}");
    assert_eq!(party(&all[0], "about"), ("payment".to_owned(), Some(payment)));
    assert_eq!(all[0].get_str("note").unwrap(), "keep");
}

#[tokio::test]
async fn administrators_alone_read_it_page_by_page_and_who_else_tries_is_in_it() {
    let app = TestApp::start().await;
    let (root, ann, bob) = (app.admin("root").await, app.buyer("ann").await, app.seller("bob").await);
    app.browser().get(LOG).await.expect(401);
    ann.get(LOG).await.refused(403, "admins_only");
    bob.get(LOG).await.refused(403, "admins_only");
    ann.get("/api/withDraw/get-all-withdraw-request").await.refused(403, "admins_only");
    let tried = entries(&app, doc! { "action": "admin_route", "done": false }, 3).await;
    let of_ann = tried.iter().find(|entry| party(entry, "actor").1 == Some(ann.id.hex())).unwrap();
    assert_eq!(party(of_ann, "about").1.unwrap(), format!("GET {LOG}"));
    for _ in 0..5 {
        log_in(&app.browser(), LOG_IN, &ann.email, "wrong").await;
    }
    entries(&app, doc! { "action": "log_in" }, 5).await;

    let pages = async |query: &str| {
        let (mut found, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = root.get(&format!("{LOG}?limit=2&{query}{cursor}")).await.expect(200);
            let entries = page["entries"].as_array().unwrap();
            assert!(entries.len() <= 2 && !entries.is_empty(), "{page}");
            found.extend(entries.iter().cloned());
            match page["nextCursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return found,
            }
        }
    };
    let all = pages("").await;
    assert_eq!(all.len(), 8);
    let ids: Vec<&str> = all.iter().map(|entry| entry["_id"].as_str().unwrap()).collect();
    assert!(ids.is_sorted_by(|one, next| one > next), "{ids:?}");
    let with =
        |test: &dyn Fn(&Value) -> bool| all.iter().filter(|entry| test(entry)).cloned().collect::<Vec<_>>();
    assert_eq!(pages("action=log_in").await, with(&|entry| entry["action"] == "log_in"));
    let of_bob = pages(&format!("account={}", bob.id)).await;
    assert_eq!(of_bob, with(&|entry| entry["actor"]["id"] == json!(bob.id.hex())));
    assert_eq!(pages(&format!("account={}&action=log_in", ann.id)).await.len(), 5);
    for bad in ["action=anything", "account=ann", "cursor=x", "limit=0", "limit=1000"] {
        root.get(&format!("{LOG}?{bad}")).await.refused(400, "invalid_input");
    }
}

#[tokio::test]
async fn a_limit_that_is_hit_is_written_down_once_a_window() {
    let app = TestApp::with(&[("RATE_LIMITS", "on"), ("RATE_LIMIT_COUPON", "2/1h")]).await;
    let ann = app.buyer("ann").await;
    let node = app.another_node().await;
    let elsewhere = Browser::new(&node.base);
    let look_up = async |browser: &Browser| {
        browser.get("/api/coupan/coupan-verified/NONE").bearer(&ann.token).bare().await.status
    };
    for window in 1..=2 {
        for n in 0..10 {
            let browser = if n % 2 == 0 { &app.browser() } else { &elsewhere };
            assert_eq!(look_up(browser).await, if n < 2 { 200 } else { 429 });
        }
        let hits = entries(&app, doc! { "action": "rate_limit" }, window).await;
        assert_eq!(party(&hits[0], "actor").1, Some(ann.id.hex()));
        assert_eq!(party(&hits[0], "about"), ("limit".to_owned(), Some("coupon".to_owned())));
        app.clock.advance(3_600_000);
    }
}

#[tokio::test]
async fn an_administrator_who_is_appointed_is_written_down_and_so_is_one_who_is_not() {
    let settings = [("ADMIN_EMAIL", "root@example.com"), ("ADMIN_PASSWORD", "battery staple")];
    let mut app = TestApp::with(&settings).await;
    app.restart().await;
    let made = entries(&app, doc! { "action": "appoint_administrator", "done": true }, 1).await.remove(0);
    assert_eq!(party(&made, "actor").0, "system");
    assert_eq!(made.get_str("note").unwrap(), "made");
    let root = app.db.of::<User>().find_one(doc! {}).await.unwrap().unwrap();
    assert_eq!(party(&made, "about").1, Some(root.id.hex()));
    // Somebody else's password, and no administrator any more.
    let change = doc! { "$set": { "role": "user", "password": "$2b$04$" } };
    app.db.of::<User>().update_one(doc! {}, change).await.unwrap();
    app.restart().await;
    let refused = entries(&app, doc! { "action": "appoint_administrator", "done": false }, 1).await;
    assert_eq!(party(&refused[0], "about").0, "email");
}

#[tokio::test]
async fn while_it_cannot_be_written_nobody_waits_and_then_it_catches_up() {
    let mut app = TestApp::start().await;
    let ann: Buyer = app.buyer("ann").await;
    let log = app.db.raw::<Document>("auditlog");
    log.drop().await.unwrap();
    // A view cannot be written to.
    app.db
        .database()
        .run_command(doc! { "create": "auditlog", "viewOn": "users", "pipeline": [] })
        .await
        .unwrap();
    let browsers: Vec<Browser> = (0..20).map(|_| app.browser()).collect();
    let tried = join_all(browsers.iter().map(|browser| log_in(browser, LOG_IN, &ann.email, PASSWORD)));
    assert_eq!(tried.await, [200; 20]);
    log.drop().await.unwrap();
    let all = entries(&app, doc! { "action": "log_in" }, 20).await;
    // A year, and then the database removes it.
    let at = all[0].get_datetime("at").unwrap().timestamp_millis();
    let until = all[0].get_datetime("expiresAt").unwrap().timestamp_millis();
    assert_eq!(until - at, 365 * 86_400_000);
    // What waits when the server stops is written before it has stopped.
    assert_eq!(log_in(&app.browser(), LOG_IN, &ann.email, "wrong").await, 401);
    app.stop().await;
    assert_eq!(log.count_documents(doc! { "action": "log_in" }).await.unwrap(), 21);
}

#[tokio::test]
async fn it_removes_itself_in_time_and_is_found_by_index() {
    let app = TestApp::with(&[("AUDIT_LOG_TTL", "30d")]).await;
    let ann = app.buyer("ann").await;
    log_in(&app.browser(), LOG_IN, &ann.email, "wrong").await;
    let entry = entries(&app, doc! {}, 1).await.remove(0);
    let kept = entry.get_datetime("expiresAt").unwrap().timestamp_millis()
        - entry.get_datetime("at").unwrap().timestamp_millis();
    assert_eq!(kept, 30 * 86_400_000);
    let log = app.db.raw::<Document>("auditlog");
    let indexes: Vec<_> = log.list_indexes().await.unwrap().try_collect().await.unwrap();
    let ttl = indexes.iter().find(|index| index.keys == doc! { "expiresAt": 1 }).unwrap();
    assert_eq!(ttl.options.as_ref().unwrap().expire_after, Some(Duration::ZERO));
    for keys in [doc! { "action": 1, "_id": -1 }, doc! { "accounts": 1, "_id": -1 }] {
        assert!(indexes.iter().any(|index| index.keys == keys), "{keys}");
    }
}
