//! Nobody learns from an answer, or from how long it takes, who has an account. What takes long is hashing; so it is
//! counted how much was hashed, which no busy machine can blur.

use bson::{Bson, doc};
use serde_json::{Value, json};
use shared::auth::Hasher;
use tests::{Answer, TestApp, people::PASSWORD};

const COST: u32 = 6;

/// What can be seen of an answer: all but the request's own id, the date, and a list whose order is each worker's own.
fn seen(answer: &Answer) -> (u16, Vec<(String, String)>, Value) {
    let mut body = answer.json();
    body.as_object_mut().unwrap().remove("requestId");
    let mut headers: Vec<_> = answer
        .headers
        .iter()
        .filter(|(name, _)| {
            !matches!(name.as_str(), "x-request-id" | "date" | "access-control-expose-headers")
        })
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect();
    headers.sort();
    (answer.status, headers, body)
}

async fn hash(password: &str, cost: u32) -> Bson {
    Hasher::new(cost).unwrap().hash(password.to_owned()).await.unwrap().into()
}

#[tokio::test]
async fn a_log_in_that_fails_looks_and_costs_the_same_whatever_account_there_is() {
    let app = TestApp::with(&[("BCRYPT_COST", "6")]).await;
    for (kind, collection, path) in
        [("user", "users", "/api/user/login-user"), ("seller", "shops", "/api/shop/shop-login")]
    {
        let accounts = app.db.raw::<bson::Document>(collection);
        let stored = [
            ("usual", doc! { "password": hash(PASSWORD, COST).await }),
            ("blocked", doc! { "password": hash(PASSWORD, COST).await, "blocked": true }),
            ("old", doc! { "password": hash(PASSWORD, 4).await }),
            ("without", doc! { "password": "" }),
            ("null", doc! { "password": Bson::Null }),
            ("missing", doc! {}),
            ("plain", doc! { "password": "wrong" }),
            ("cut", doc! { "password": "$2b$06$abcdefghijklmnopqrstuu" }),
        ];
        for (name, rest) in &stored {
            let mut account = doc! { "name": *name, "email": format!("{name}@example.com") };
            account.extend(rest.clone());
            accounts.insert_one(account).await.unwrap();
        }
        let mut expected = None;
        for name in stored.iter().map(|(name, _)| *name).chain(["nobody"]) {
            let before = app.inside().hasher.work();
            let body = json!({ "email": format!("{name}@example.com"), "password": "wrong" });
            let answer = app.browser().post(path).json(&body).await;
            answer.refused(401, "wrong_credentials");
            let all = (seen(&answer), app.inside().hasher.work() - before);
            assert_eq!(all.1, 1 << COST, "{kind} {name}");
            assert_eq!(&all, expected.get_or_insert_with(|| all.clone()), "{kind} {name}");
        }
    }
}

#[tokio::test]
async fn whoever_asks_for_a_new_password_is_answered_alike_and_only_accounts_get_mail() {
    let app = TestApp::start().await;
    let (ann, bob) = (app.buyer("ann").await, app.seller("bob").await);
    let mut seen_so_far = Vec::new();
    for (path, email) in [
        ("/api/user/forgot-password", "nobody@example.com"),
        ("/api/user/forgot-password", ann.email.as_str()),
        // A shop's address is no shopper's.
        ("/api/user/forgot-password", bob.email.as_str()),
        ("/api/shop/forgot-password", ann.email.as_str()),
        ("/api/shop/forgot-password", bob.email.as_str()),
    ] {
        let before = app.inside().hasher.work();
        let answer = app.browser().post(path).json(&json!({ "email": email })).await;
        answer.expect(200);
        assert_eq!(app.inside().hasher.work(), before, "nothing is hashed");
        seen_so_far.push(seen(&answer));
    }
    seen_so_far.dedup();
    assert_eq!(seen_so_far.len(), 1, "{seen_so_far:?}");
    for (email, page) in [(&ann.email, "/reset-password/"), (&bob.email, "/reset-password/seller/")] {
        app.mails().await_mail_to(email).await.token_after(page);
    }
    // Everything asked for has been seen to, and nobody else was written to.
    let outbox = app.db.raw::<bson::Document>("outbox");
    for _ in 0..600 {
        if outbox.count_documents(doc! {}).await.unwrap() == 0 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert_eq!(outbox.count_documents(doc! {}).await.unwrap(), 0);
    assert_eq!(app.mails().all().len(), 2);
}

#[tokio::test]
async fn a_reset_link_is_kept_as_a_digest_works_once_and_ends_every_session() {
    let app = TestApp::start().await;
    let ann = app.buyer("ann").await;
    app.browser().post("/api/user/forgot-password").json(&json!({ "email": ann.email })).await.expect(200);
    let token = app.mails().await_mail_to(&ann.email).await.token_after("/reset-password/");
    let users = app.db.raw::<bson::Document>("users");
    let stored = users.find_one(doc! { "_id": ann.id }).await.unwrap().unwrap();
    assert!(stored.get_str("resetPasswordToken").is_ok());
    assert!(!format!("{stored:?}").contains(&token), "the token itself is stored nowhere");
    let body = json!({ "token": token, "newPassword": "battery staple", "confPassword": "battery staple" });
    let set = app.browser().put("/api/user/reset-password").json(&body).await;
    set.expect(200);
    app.browser().put("/api/user/reset-password").json(&body).await.refused(400, "link_expired");
    ann.get("/api/user/getUser").await.expect(401);
}

#[tokio::test]
async fn a_password_may_have_72_bytes_and_is_not_cut() {
    let app = TestApp::start().await;
    let ann = app.buyer("ann").await;
    let longest = "ä".repeat(36);
    let change = json!({ "oldPassword": PASSWORD, "newPassword": longest, "confPassword": longest });
    ann.put("/api/user/updatePassword").json(&change).await.expect(200);
    let log_in = async |password: &str| {
        let body = json!({ "email": ann.email, "password": password });
        app.browser().post("/api/user/login-user").json(&body).await.status
    };
    assert_eq!(log_in(&longest).await, 200);
    assert_eq!(log_in(&"ä".repeat(35)).await, 401);
}
