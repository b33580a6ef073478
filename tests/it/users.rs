//! Shoppers' accounts: from the sign-up form to the last log-out.

use std::future::IntoFuture as _;

use bson::{Document, doc};
use futures_util::{TryStreamExt as _, future::join_all};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;
use shared::{
    auth::{Hasher, Kind},
    id::Id,
    model::{PendingRegistration, ROLE_USER, User},
};
use tests::{
    Answer, Browser, Form, TestApp,
    app::CLIENT,
    people::{PASSWORD, email},
};

const MINUTE: i64 = 60_000;

/// The sign-up form as the client sends it: the file first.
fn sign_up_form(name: &str) -> Form {
    Form::new().picture("file").text("name", name).text("password", PASSWORD).text("email", email(name))
}

/// Signs up and takes the token out of the mail.
async fn sign_up(app: &TestApp, name: &str) -> String {
    app.browser().post("/api/user/create-user").bare().form(sign_up_form(name)).await.expect(200);
    app.mails().await_mail_to(&email(name)).await.token_after("/activation/")
}

async fn activate(browser: &Browser, token: &str) -> Answer {
    browser.post("/api/user/activation").json(&json!({ "activation_token": token })).await
}

async fn log_in(browser: &Browser, email: &str, password: &str) -> Answer {
    browser.post("/api/user/login-user").json(&json!({ "email": email, "password": password })).await
}

async fn count<T: shared::model::Stored>(app: &TestApp) -> u64 {
    app.db.of::<T>().count_documents(doc! {}).await.unwrap()
}

/// A session as the old server issued it: without a kind and without a version.
fn old_token(app: &TestApp, id: &str) -> String {
    let base64 = |bytes: &[u8]| {
        const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let mut text = String::new();
        for chunk in bytes.chunks(3) {
            let bits = chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte))
                << (8 * (3 - chunk.len()));
            for digit in 0..=chunk.len() {
                text.push(char::from(DIGITS[(bits >> (18 - 6 * digit) & 63) as usize]));
            }
        }
        text
    };
    let iat = app.clock.now().timestamp_millis() / 1000;
    let claims = json!({ "id": id, "iat": iat, "exp": iat + 7_776_000 });
    let signed =
        format!("{}.{}", base64(br#"{"alg":"HS256","typ":"JWT"}"#), base64(claims.to_string().as_bytes()));
    let mut mac = Hmac::<Sha256>::new_from_slice(app.config.jwt_secret.expose().as_bytes()).unwrap();
    mac.update(signed.as_bytes());
    format!("{signed}.{}", base64(&mac.finalize().into_bytes()))
}

// ---------------------------------------------------------------- signing up

#[tokio::test]
async fn a_shopper_signs_up_follows_the_mailed_link_and_logs_in() {
    let app = TestApp::start().await;
    let browser = app.browser();
    let said = browser.post("/api/user/create-user").bare().form(sign_up_form("ann")).await.expect(200);
    assert_eq!(
        said,
        json!({ "success": true, "message": "please check your email  to activate your account" })
    );
    assert_eq!(count::<User>(&app).await, 0);
    log_in(&browser, &email("ann"), PASSWORD).await.refused(401, "wrong_credentials");

    let mail = app.mails().await_mail_to(&email("ann")).await;
    assert_eq!(mail.subject(), "Activate your account");
    let token = mail.token_after(&format!("{CLIENT}/activation/"));
    assert!(!token.contains(['/', '.']) && !mail.raw.contains(PASSWORD));
    let pending = app.db.of::<PendingRegistration>().find_one(doc! {}).await.unwrap().unwrap();
    assert!(pending.password.starts_with("$2b$") && pending.digest != token);

    let made = activate(&browser, &token).await.expect(201);
    assert_eq!(made["message"], "successfully verified user");
    assert_eq!(made["user"]["email"], email("ann"));
    assert_eq!(made["user"]["role"], "user");
    assert_eq!(made["user"]["addresses"], json!([]));
    assert!(browser.cookie("user_token").is_some_and(|cookie| cookie.http_only()));

    let browser = app.browser();
    let session = log_in(&browser, &email("ann"), PASSWORD).await.expect(200);
    assert_eq!(session["user"], made["user"]);
    let (session_cookie, marker) = (browser.cookie("user_token").unwrap(), browser.cookie("token").unwrap());
    assert_eq!(session_cookie.value, session["token"].as_str().unwrap());
    assert!(session_cookie.http_only());
    assert_eq!((marker.value.as_str(), marker.http_only()), ("1", false));
    for cookie in [session_cookie, marker] {
        assert_eq!(cookie.attributes["path"], "/");
        assert_eq!(cookie.attributes["samesite"], "Lax");
    }
    assert_eq!(browser.get("/api/user/getUser").await.expect(201)["user"], made["user"]);
    let bearer = app.browser().get("/api/user/getUser").bearer(session["token"].as_str().unwrap()).await;
    assert_eq!(bearer.expect(201)["user"], made["user"]);
}

#[tokio::test]
async fn a_shopper_who_chose_no_picture_has_a_placeholder() {
    let app = TestApp::start().await;
    for (name, file) in [("ann", Some("null")), ("bea", Some("undefined")), ("cleo", None)] {
        let form = match file {
            Some(text) => Form::new().text("file", text),
            None => Form::new(),
        };
        let form = form.text("name", name).text("password", PASSWORD).text("email", email(name));
        app.browser().post("/api/user/create-user").bare().form(form).await.expect(200);
        let token = app.mails().await_mail_to(&email(name)).await.token_after("/activation/");
        let made = activate(&app.browser(), &token).await.expect(201);
        let url = made["user"]["avatar"]["url"].as_str().unwrap();
        assert_eq!(app.browser().get(url.trim_start_matches(&app.base)).unchecked().await.status, 200);
    }
}

#[tokio::test]
async fn a_sign_up_with_bad_details_is_refused_by_field_and_leaves_nothing_behind() {
    let app = TestApp::start().await;
    let long = "x".repeat(101);
    let cases: [(&str, Option<&str>); 12] = [
        ("name", None),
        ("name", Some("   ")),
        ("name", Some("undefined")),
        ("name", Some(&long)),
        ("email", None),
        ("email", Some("ann")),
        ("email", Some("ann@")),
        ("email", Some(r#"{"$gt":""}"#)),
        ("password", None),
        ("password", Some("abc")),
        ("password", Some(&long)),
        ("password", Some("ab\0cd")),
    ];
    for (field, value) in cases {
        let mut form = Form::new().picture("file");
        for (name, good) in [("name", "ann"), ("password", PASSWORD), ("email", "ann@example.com")] {
            if name != field {
                form = form.text(name, good);
            } else if let Some(value) = value {
                form = form.text(name, value);
            }
        }
        let said = app.browser().post("/api/user/create-user").form(form).await.refused(400, "invalid_input");
        assert_eq!(said["errors"][0]["field"], field, "{value:?}: {said}");
        assert_eq!(said["errors"].as_array().unwrap().len(), 1, "{value:?}: {said}");
    }
    // Brackets in the names of parts make no objects.
    let form = Form::new().text("name", "ann").text("password", PASSWORD).text("email[$gt]", "");
    app.browser().post("/api/user/create-user").form(form).await.refused(400, "invalid_input");
    let form = sign_up_form("ann").file("picture", "a.png", "image/png", vec![1]);
    app.browser().post("/api/user/create-user").form(form).await.refused(400, "unexpected_file");
    let form = Form::new().file("file", "a.png", "image/png", b"<script>".to_vec());
    app.browser().post("/api/user/create-user").form(form).await.refused(415, "not_a_picture");
    let json = app.browser().post("/api/user/create-user").json(&json!({ "name": "ann" }));
    json.await.refused(415, "unsupported_media_type");
    assert_eq!(count::<PendingRegistration>(&app).await, 0);
    assert_eq!(count::<shared::model::Outbox>(&app).await, 0);
}

#[tokio::test]
async fn blanks_belong_to_a_password() {
    let app = TestApp::start().await;
    let form = Form::new().text("name", "ann").text("password", "  two blanks  ").text("email", email("ann"));
    app.browser().post("/api/user/create-user").form(form).await.expect(200);
    let token = app.mails().await_mail_to(&email("ann")).await.token_after("/activation/");
    activate(&app.browser(), &token).await.expect(201);
    log_in(&app.browser(), &email("ann"), "two blanks").await.refused(401, "wrong_credentials");
    log_in(&app.browser(), &email("ann"), "  two blanks  ").await.expect(200);
}

#[tokio::test]
async fn an_address_that_has_an_account_cannot_sign_up_again_in_any_letters() {
    let app = TestApp::start().await;
    app.buyer("ann").await;
    let form = Form::new().text("name", "Ann").text("password", PASSWORD).text("email", "ANN@Example.com");
    let said = app.browser().post("/api/user/create-user").form(form).await.refused(400, "email_taken");
    assert_eq!(said["message"], "User already exists");
    // A shop's address is another matter.
    app.seller("bea").await;
    app.browser().post("/api/user/create-user").form(sign_up_form("bea")).await.expect(200);
}

// ---------------------------------------------------------------- activation

#[tokio::test]
async fn two_activations_at_once_make_one_account_and_both_succeed() {
    let app = TestApp::start().await;
    for round in 0..5 {
        let token = sign_up(&app, &format!("ann{round}")).await;
        let browsers: Vec<Browser> = (0..4).map(|_| app.browser()).collect();
        let answers = join_all(browsers.iter().map(|browser| activate(browser, &token))).await;
        let ids: Vec<Value> =
            answers.iter().map(|answer| answer.expect(201)["user"]["_id"].clone()).collect();
        assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
        for browser in browsers {
            browser.get("/api/user/getUser").await.expect(201);
        }
    }
    assert_eq!(count::<User>(&app).await, 5);
}

#[tokio::test]
async fn of_two_registrations_of_one_address_only_one_becomes_an_account() {
    let app = TestApp::start().await;
    for round in 0..5 {
        let name = format!("ann{round}");
        let (one, other) = (sign_up(&app, &name).await, sign_up(&app, &name).await);
        assert_ne!(one, other);
        let browser = app.browser();
        let answers = tokio::join!(activate(&browser, &one), activate(&browser, &other));
        let mut statuses = [answers.0.status, answers.1.status];
        statuses.sort_unstable();
        assert_eq!(statuses, [201, 409], "{} {}", answers.0.text(), answers.1.text());
    }
    assert_eq!(count::<User>(&app).await, 5);
}

#[tokio::test]
async fn a_link_works_only_for_its_time_and_a_made_up_one_never() {
    let app = TestApp::start().await;
    let token = sign_up(&app, "ann").await;
    app.clock.advance(31 * MINUTE);
    activate(&app.browser(), &token).await.refused(400, "link_expired");
    for junk in [json!({}), json!({ "activation_token": null }), json!({ "activation_token": "x" })] {
        app.browser().post("/api/user/activation").json(&junk).await.refused(400, "link_expired");
    }
    let injected = json!({ "activation_token": { "$gt": "" } });
    app.browser().post("/api/user/activation").json(&injected).await.refused(400, "malformed_json");
    assert_eq!(count::<User>(&app).await, 0);
}

#[tokio::test]
async fn a_link_that_was_used_long_ago_still_succeeds_but_opens_nothing() {
    let app = TestApp::start().await;
    let token = sign_up(&app, "ann").await;
    activate(&app.browser(), &token).await.expect(201);
    app.clock.advance(31 * MINUTE);
    let browser = app.browser();
    let said = activate(&browser, &token).await.expect(201);
    assert_eq!(said, json!({ "success": true, "message": "successfully verified user" }));
    assert_eq!(browser.cookie("user_token"), None);
}

#[tokio::test]
async fn a_shops_link_on_the_shoppers_page_opens_the_shop() {
    let app = TestApp::start().await;
    let form = sign_up_form("bobs")
        .text("address", "1 Road")
        .text("zipCode", "54000")
        .text("phoneNumber", "5550100");
    app.browser().post("/api/shop/create-shop").form(form).await.expect(200);
    let token = app.mails().await_mail_to(&email("bobs")).await.token_after("/activation/seller/");
    let browser = app.browser();
    assert_eq!(activate(&browser, &token).await.expect(201)["seller"]["name"], "bobs");
    browser.get("/api/shop/getSeller").await.expect(201);
    assert_eq!(count::<User>(&app).await, 0);
}

// ---------------------------------------------------------------- logging in and out

#[tokio::test]
async fn an_unknown_address_and_a_wrong_password_are_answered_alike() {
    let app = TestApp::start().await;
    let ann = app.buyer("ann").await;
    let unknown =
        log_in(&app.browser(), "nobody@example.com", PASSWORD).await.refused(401, "wrong_credentials");
    let wrong = log_in(&app.browser(), &ann.email, "wrong").await.refused(401, "wrong_credentials");
    assert_eq!(unknown["message"], wrong["message"]);
    log_in(&app.browser(), "  ANN@Example.COM ", PASSWORD).await.expect(200);
}

/// A partial index is used only for filters that imply its condition, which is easily lost.
#[tokio::test]
async fn a_log_in_finds_the_account_through_the_index() {
    let app = TestApp::start().await;
    let ann = app.buyer("ann").await;
    let database = app.db.database();
    // Level 2: every operation is profiled.
    database.run_command(doc! { "profile": 2 }).await.unwrap();
    log_in(&app.browser(), &ann.email, PASSWORD).await.expect(200);
    app.browser().post("/api/user/create-user").form(sign_up_form("ann")).await.refused(400, "email_taken");
    database.run_command(doc! { "profile": 0 }).await.unwrap();
    let by_email = doc! { "command.find": "users", "command.filter.email": { "$exists": true } };
    let profile = database.collection::<Document>("system.profile").find(by_email).await.unwrap();
    let finds: Vec<Document> = profile.try_collect().await.unwrap();
    assert_eq!(finds.len(), 2);
    for find in finds {
        let plan = find.get_str("planSummary").unwrap();
        assert!(plan.contains("IXSCAN { email: 1 }"), "{plan}");
    }
}

#[tokio::test]
async fn a_log_in_takes_text_and_nothing_else() {
    let app = TestApp::start().await;
    let ann = app.buyer("ann").await;
    for body in [
        json!({ "email": { "$gt": "" }, "password": PASSWORD }),
        json!({ "email": ann.email, "password": { "$ne": null } }),
        json!({ "email": [ann.email], "password": PASSWORD }),
    ] {
        app.browser().post("/api/user/login-user").json(&body).await.refused(400, "malformed_json");
    }
    for body in [json!({}), json!({ "email": ann.email }), json!({ "email": "", "password": PASSWORD })] {
        let said = app.browser().post("/api/user/login-user").json(&body).await;
        assert_eq!(said.refused(400, "credentials_missing")["message"], "Enter your email and password");
    }
    let cut = app.browser().post("/api/user/login-user").body("application/json", r#"{"email": "#).await;
    cut.refused(400, "malformed_json");
}

#[tokio::test]
async fn of_legacy_accounts_with_one_address_each_is_found_by_its_password() {
    let app = TestApp::start().await;
    app.db.of::<User>().drop_index("users_email").await.unwrap();
    let hasher = Hasher::new(4).unwrap();
    let mut ids = Vec::new();
    for password in ["first", "second"] {
        let user = User {
            id: Id::new(),
            email: "Twice@example.com".to_owned(),
            password: hasher.hash(password.to_owned()).await.unwrap(),
            role: ROLE_USER.to_owned(),
            ..User::default()
        };
        app.db.of::<User>().insert_one(&user).await.unwrap();
        ids.push(user.id.hex());
    }
    for (password, id) in ["first", "second"].iter().zip(&ids) {
        let session = log_in(&app.browser(), "twice@example.com", password).await.expect(200);
        assert_eq!(session["user"]["_id"], **id);
    }
    log_in(&app.browser(), "twice@example.com", "third").await.refused(401, "wrong_credentials");
}

#[tokio::test]
async fn a_blocked_account_is_told_so_and_has_no_sessions() {
    let app = TestApp::start().await;
    let ann = app.buyer("ann").await;
    let block = doc! { "$set": { "blocked": true } };
    app.db.of::<User>().update_one(doc! { "_id": ann.id }, block).await.unwrap();
    ann.get("/api/user/getUser").await.refused(401, "unauthenticated");
    log_in(&app.browser(), &ann.email, PASSWORD).await.refused(403, "account_blocked");
    log_in(&app.browser(), &ann.email, "wrong").await.refused(401, "wrong_credentials");
}

#[tokio::test]
async fn a_hash_of_a_lower_cost_is_made_anew_at_log_in() {
    let app = TestApp::with(&[("BCRYPT_COST", "5")]).await;
    let ann = app.buyer("ann").await;
    log_in(&app.browser(), &ann.email, PASSWORD).await.expect(200);
    let stored = app.db.of::<User>().find_one(doc! { "_id": ann.id }).await.unwrap().unwrap();
    assert!(stored.password.starts_with("$2b$05$"), "{}", stored.password);
    // The sessions from before go on: the password is the same.
    ann.get("/api/user/getUser").await.expect(201);
    log_in(&app.browser(), &ann.email, PASSWORD).await.expect(200);
}

#[tokio::test]
async fn a_session_of_the_old_server_goes_on_out_of_reach_of_scripts() {
    let app = TestApp::start().await;
    let ann = app.buyer("ann").await;
    let token = old_token(&app, &ann.id.hex());
    let browser = app.browser();
    browser.set_cookie("token", &token);
    browser.get("/api/user/getUser").await.expect(201);
    assert_eq!(browser.cookie("token").unwrap().value, "1");
    let moved = browser.cookie("user_token").unwrap();
    assert!(moved.http_only() && moved.value == token);
    browser.get("/api/user/getUser").await.expect(201);
}

#[tokio::test]
async fn without_a_good_session_one_is_nobody_and_stale_cookies_are_cleared() {
    let app = TestApp::start().await;
    let anonymous = app.browser().get("/api/user/getUser").await.refused(401, "unauthenticated");
    assert_eq!(anonymous["message"], "Please login first");
    let (ann, bobs) = (app.buyer("ann").await, app.seller("bobs").await);
    let forged = format!("{}x", &ann.token[..ann.token.len() - 1]);
    let lost = app.sessions().issue(Kind::User, &Id::<User>::new().hex(), 0, app.clock.now()).unwrap();
    for token in [forged.as_str(), "junk", lost.as_str(), bobs.token.as_str()] {
        let browser = app.browser();
        browser.set_cookie("user_token", token);
        browser.set_cookie("token", "1");
        browser.get("/api/user/getUser").await.refused(401, "unauthenticated");
        assert_eq!(browser.cookie_header(), None, "{token}");
    }
    let browser = app.browser();
    browser.set_cookie("user_token", &ann.token);
    app.clock.advance(91 * 24 * 60 * MINUTE);
    browser.get("/api/user/getUser").await.refused(401, "unauthenticated");
    assert_eq!(browser.cookie_header(), None);
}

#[tokio::test]
async fn anybody_can_log_out_and_more_than_once() {
    let app = TestApp::start().await;
    let ann = app.buyer("ann").await;
    let stale = app.browser();
    stale.set_cookie("user_token", "junk");
    stale.set_cookie("token", "1");
    for browser in [&ann.browser, &ann.browser, &app.browser(), &stale] {
        let said = browser.get("/api/user/logout").await.expect(200);
        assert_eq!(said, json!({ "success": true, "message": "LogOut Sucessfully" }));
        assert_eq!(browser.cookie_header(), None);
    }
    ann.get("/api/user/getUser").await.refused(401, "unauthenticated");
}

#[tokio::test]
async fn logging_out_everywhere_ends_every_session() {
    let app = TestApp::start().await;
    let ann = app.buyer("ann").await;
    let elsewhere = app.browser();
    log_in(&elsewhere, &ann.email, PASSWORD).await.expect(200);
    app.browser().put("/api/user/logout-everywhere").await.refused(401, "unauthenticated");
    ann.put("/api/user/logout-everywhere").await.expect(200);
    assert_eq!(ann.cookie_header(), None);
    elsewhere.get("/api/user/getUser").await.refused(401, "unauthenticated");
    app.browser().get("/api/user/getUser").bearer(&ann.token).await.refused(401, "unauthenticated");
    log_in(&elsewhere, &ann.email, PASSWORD).await.expect(200);
    elsewhere.get("/api/user/getUser").await.expect(201);
}

// ---------------------------------------------------------------- the profile

#[tokio::test]
async fn a_profile_form_whose_fields_were_not_touched_changes_nothing() {
    let app = TestApp::start().await;
    let ann = app.buyer("ann").await;
    let before = ann.get("/api/user/getUser").await.expect(201)["user"].clone();
    for form in [
        json!({ "name": null, "email": null, "password": PASSWORD, "phoneNumber": null }),
        json!({ "password": PASSWORD }),
        json!({ "name": "ann", "email": "Ann@Example.com", "password": PASSWORD, "phoneNumber": "" }),
    ] {
        let after = ann.put("/api/user/updateUserInfo").json(&form).await.expect(200);
        assert_eq!(after["user"], before, "{form}");
    }
}

#[tokio::test]
async fn a_shopper_changes_name_and_phone_number() {
    let app = TestApp::start().await;
    let ann = app.buyer("ann").await;
    let form =
        json!({ "name": " Ann Lee ", "email": ann.email, "password": PASSWORD, "phoneNumber": "3001234567" });
    let changed = ann.put("/api/user/updateUserInfo").json(&form).await.expect(200);
    assert_eq!(changed["user"]["name"], "Ann Lee");
    assert_eq!(changed["user"]["phoneNumber"], 3_001_234_567_u64);
    let form = json!({ "password": PASSWORD, "phoneNumber": 3_007_654_321_u64 });
    let changed = ann.put("/api/user/updateUserInfo").json(&form).await.expect(200);
    assert_eq!(changed["user"]["phoneNumber"], 3_007_654_321_u64);
    assert_eq!(ann.get("/api/user/getUser").await.expect(201)["user"], changed["user"]);
}

#[tokio::test]
async fn a_profile_is_changed_by_its_owner_alone_and_with_sense() {
    let app = TestApp::start().await;
    let (ann, eve) = (app.buyer("ann").await, app.buyer("eve").await);
    let path = "/api/user/updateUserInfo";
    // Ann's address and Ann's password, from Eve's session: nobody's account is changed.
    let form = json!({ "name": "Hacked", "email": ann.email, "password": PASSWORD });
    let said = eve.put(path).json(&form).await.refused(400, "invalid_input");
    assert_eq!(said["errors"][0]["field"], "email");
    app.browser().put(path).json(&form).await.refused(401, "unauthenticated");
    eve.put(path).json(&json!({ "name": "E", "password": "wrong" })).await.refused(400, "wrong_password");
    eve.put(path).json(&json!({ "name": "E" })).await.refused(400, "wrong_password");
    for (field, value) in [("name", json!("")), ("phoneNumber", json!("12")), ("phoneNumber", json!("abc"))] {
        let form = json!({ field: value, "password": PASSWORD });
        let said = eve.put(path).json(&form).await.refused(400, "invalid_input");
        assert_eq!(said["errors"][0]["field"], field);
    }
    for form in [
        json!({ "name": { "$gt": "" }, "password": PASSWORD }),
        json!({ "phoneNumber": [1], "password": PASSWORD }),
    ] {
        eve.put(path).json(&form).await.refused(400, "malformed_json");
    }
    for person in [ann, eve] {
        let own = person.get("/api/user/getUser").await.expect(201);
        assert_eq!(own["user"]["name"], person.name);
    }
}

#[tokio::test]
async fn a_new_picture_takes_the_place_of_the_old_one_which_is_deleted() {
    let app = TestApp::start().await;
    let ann = app.sign_up_through_mail("ann").await;
    let path = "/api/user/update-user-avatar";
    let before = ann.get("/api/user/getUser").await.expect(201)["user"]["avatar"].clone();
    let after =
        ann.put(path).form(Form::new().picture("file")).await.expect(200)["existUser"]["avatar"].clone();
    assert_ne!(before["public_id"], after["public_id"]);
    assert_eq!(ann.get("/api/user/getUser").await.expect(201)["user"]["avatar"], after);
    let local = |picture: &Value| picture["url"].as_str().unwrap().trim_start_matches(&app.base).to_owned();
    assert_eq!(ann.get(&local(&after)).unchecked().await.status, 200);
    let gone = async {
        while ann.get(&local(&before)).unchecked().await.status != 404 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), gone)
        .await
        .expect("the old picture is still there");
}

#[tokio::test]
async fn a_picture_must_be_one_and_there_must_be_one() {
    let app = TestApp::start().await;
    let ann = app.buyer("ann").await;
    let path = "/api/user/update-user-avatar";
    app.browser().put(path).form(Form::new().picture("file")).await.refused(401, "unauthenticated");
    ann.put(path).form(Form::new().text("file", "undefined")).await.refused(400, "picture_missing");
    ann.put(path).form(Form::new().picture("image")).await.refused(400, "unexpected_file");
    let text = Form::new().file("file", "a.png", "image/png", b"no picture".to_vec());
    ann.put(path).form(text).await.refused(415, "not_a_picture");
    let own = ann.get("/api/user/getUser").await.expect(201);
    assert_eq!(own["user"]["avatar"]["public_id"], "avatars/test");
}

// ---------------------------------------------------------------- addresses

fn address(kind: &str) -> Value {
    json!({
        "country": "PK", "city": "PB", "address1": "7 Canal Road", "address2": "Lahore",
        "zipCode": "54000", "addressType": kind
    })
}

const ADDRESS: &str = "/api/user/userAddressUpadte";

#[tokio::test]
async fn a_shopper_adds_addresses_one_of_each_type_and_deletes_them() {
    let app = TestApp::start().await;
    let ann = app.buyer("ann").await;
    let mut dollars = address("Home");
    dollars["address1"] = json!("$name");
    let added = ann.put(ADDRESS).json(&dollars).await.expect(200);
    let home = &added["user"]["addresses"][0];
    assert_eq!((&home["address1"], &home["zipCode"]), (&json!("$name"), &json!(54000)));
    let said = ann.put(ADDRESS).json(&address("Home")).await.refused(409, "address_type_taken");
    assert_eq!(said["message"], "Home address already exist");
    let mut office = address("Office");
    office.as_object_mut().unwrap().remove("zipCode");
    let added = ann.put(ADDRESS).json(&office).await.expect(200);
    assert_eq!(added["user"]["addresses"][1].get("zipCode"), None);

    let path = format!("/api/user/delete-address/{}", home["_id"].as_str().unwrap());
    for _ in 0..2 {
        let left = ann.delete(&path).await.expect(200);
        assert_eq!(left["user"]["addresses"].as_array().unwrap().len(), 1);
        assert_eq!(left["user"]["addresses"][0]["addressType"], "Office");
    }
}

#[tokio::test]
async fn of_two_addresses_of_one_type_at_once_one_is_stored() {
    let app = TestApp::start().await;
    for round in 0..5 {
        let ann = app.buyer(&format!("ann{round}")).await;
        let home = address("Home");
        let answers = join_all((0..4).map(|_| ann.put(ADDRESS).json(&home).into_future())).await;
        assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1);
        assert_eq!(answers.iter().filter(|answer| answer.status == 409).count(), 3);
        let own = ann.get("/api/user/getUser").await.expect(201);
        assert_eq!(own["user"]["addresses"].as_array().unwrap().len(), 1);
    }
}

#[tokio::test]
async fn there_is_room_for_twenty_addresses_also_at_once() {
    let app = TestApp::start().await;
    let ann = app.buyer("ann").await;
    let kinds: Vec<Value> = (0..24).map(|n| address(&format!("Place {n}"))).collect();
    let answers = join_all(kinds.iter().map(|kind| ann.put(ADDRESS).json(kind).into_future())).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 20);
    for full in answers.iter().filter(|answer| answer.status != 200) {
        full.refused(409, "too_many_addresses");
    }
    let own = ann.get("/api/user/getUser").await.expect(201);
    assert_eq!(own["user"]["addresses"].as_array().unwrap().len(), 20);
}

#[tokio::test]
async fn a_list_of_addresses_that_the_old_server_left_null_works_like_an_empty_one() {
    let app = TestApp::start().await;
    let ann = app.buyer("ann").await;
    let null = doc! { "$set": { "addresses": null } };
    app.db.of::<User>().update_one(doc! { "_id": ann.id }, null).await.unwrap();
    assert_eq!(ann.get("/api/user/getUser").await.expect(201)["user"]["addresses"], json!([]));
    let nothing = format!("/api/user/delete-address/{}", Id::<User>::new());
    ann.delete(&nothing).await.expect(200);
    let added = ann.put(ADDRESS).json(&address("Home")).await.expect(200);
    assert_eq!(added["user"]["addresses"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn an_address_must_be_complete_and_is_ones_own() {
    let app = TestApp::start().await;
    let (ann, eve) = (app.buyer("ann").await, app.buyer("eve").await);
    for (field, bad) in [
        ("country", json!("")),
        ("country", json!("Choose your Country")),
        ("city", json!(null)),
        ("address1", json!("x".repeat(201))),
        ("address2", json!("  ")),
        ("zipCode", json!("SW1A 1AA")),
        ("addressType", json!("")),
    ] {
        let mut form = address("Home");
        form[field] = bad;
        let said = ann.put(ADDRESS).json(&form).await.refused(400, "invalid_input");
        assert_eq!(said["errors"][0]["field"], field, "{said}");
    }
    let mut form = address("Home");
    form["addressType"] = json!({ "$ne": 1 });
    ann.put(ADDRESS).json(&form).await.refused(400, "malformed_json");
    app.browser().put(ADDRESS).json(&address("Home")).await.refused(401, "unauthenticated");

    let added = ann.put(ADDRESS).json(&address("Home")).await.expect(200);
    let id = added["user"]["addresses"][0]["_id"].as_str().unwrap();
    let path = format!("/api/user/delete-address/{id}");
    app.browser().delete(&path).await.refused(401, "unauthenticated");
    // Somebody else's id removes nothing.
    eve.delete(&path).await.expect(200);
    ann.delete("/api/user/delete-address/undefined").await.refused(400, "invalid_id");
    assert_eq!(ann.get("/api/user/getUser").await.expect(201)["user"], added["user"]);
}

// ---------------------------------------------------------------- passwords

fn password_change(old: &str, new: &str, again: &str) -> Value {
    json!({ "oldPassword": old, "newPassword": new, "confPassword": again })
}

#[tokio::test]
async fn a_new_password_ends_every_other_session() {
    let app = TestApp::start().await;
    let ann = app.buyer("ann").await;
    let elsewhere = app.browser();
    log_in(&elsewhere, &ann.email, PASSWORD).await.expect(200);
    let change = password_change(PASSWORD, "battery staple", "battery staple");
    let said = ann.put("/api/user/updatePassword").json(&change).await.expect(200);
    assert_eq!(said, json!({ "success": true, "message": "Password updated successfully" }));
    ann.get("/api/user/getUser").await.expect(201);
    elsewhere.get("/api/user/getUser").await.refused(401, "unauthenticated");
    assert_eq!(elsewhere.cookie_header(), None);
    app.browser().get("/api/user/getUser").bearer(&ann.token).await.refused(401, "unauthenticated");
    // A session of the old server has no version: it is older than any password.
    app.browser()
        .get("/api/user/getUser")
        .bearer(&old_token(&app, &ann.id.hex()))
        .await
        .refused(401, "unauthenticated");
    log_in(&elsewhere, &ann.email, PASSWORD).await.refused(401, "wrong_credentials");
    log_in(&elsewhere, &ann.email, "battery staple").await.expect(200);
}

#[tokio::test]
async fn a_password_is_changed_only_by_whoever_knows_it_and_typed_the_new_one_twice() {
    let app = TestApp::start().await;
    let ann = app.buyer("ann").await;
    let path = "/api/user/updatePassword";
    let long = "x".repeat(73);
    app.browser()
        .put(path)
        .json(&password_change(PASSWORD, "new password", "new password"))
        .await
        .refused(401, "unauthenticated");
    let said = ann.put(path).json(&password_change("wrong", "new password", "new password")).await;
    assert_eq!(said.refused(400, "wrong_password")["message"], "Old password is incorrect");
    for (new, again) in
        [("new password", "another"), ("abc", "abc"), (long.as_str(), long.as_str()), ("", "")]
    {
        let said = ann.put(path).json(&password_change(PASSWORD, new, again)).await;
        assert_eq!(said.refused(400, "invalid_input")["errors"][0]["field"], "newPassword");
    }
    let injected = json!({ "oldPassword": { "$ne": "" }, "newPassword": "abcd", "confPassword": "abcd" });
    ann.put(path).json(&injected).await.refused(400, "malformed_json");
    ann.put(path).json(&json!({})).await.refused(400, "invalid_input");
    log_in(&app.browser(), &ann.email, PASSWORD).await.expect(200);
    ann.get("/api/user/getUser").await.expect(201);
}

#[tokio::test]
async fn of_two_changes_of_password_at_once_one_holds() {
    let app = TestApp::start().await;
    for round in 0..5 {
        let ann = app.buyer(&format!("ann{round}")).await;
        let [one, other] = ["first new", "other new"].map(|new| password_change(PASSWORD, new, new));
        let path = "/api/user/updatePassword";
        let (a, b) =
            tokio::join!(ann.put(path).json(&one).into_future(), ann.put(path).json(&other).into_future());
        let holds = match (a.status, b.status) {
            (200, 400 | 401) => "first new",
            (400 | 401, 200) => "other new",
            other => panic!("{other:?}"),
        };
        log_in(&app.browser(), &ann.email, holds).await.expect(200);
    }
}

fn reset(token: &str, new: &str) -> Value {
    json!({ "token": token, "newPassword": new, "confPassword": new })
}

/// Asks for a new password and takes the token out of the mail.
async fn ask_for_reset(app: &TestApp, email: &str) -> String {
    app.browser().post("/api/user/forgot-password").json(&json!({ "email": email })).await.expect(200);
    let mail = app.mails().await_mail_to(email).await;
    mail.token_after(&format!("{CLIENT}/reset-password/"))
}

#[tokio::test]
async fn a_forgotten_password_is_set_anew_by_a_mailed_link_once() {
    let app = TestApp::start().await;
    let ann = app.buyer("ann").await;
    let token = ask_for_reset(&app, &ann.email).await;
    let stored = app.db.raw::<Document>("users").find_one(doc! { "_id": ann.id }).await.unwrap().unwrap();
    assert!(!stored.to_string().contains(&token), "the token itself is stored");
    let bodies = ["battery staple", "other words"].map(|new| reset(&token, new));
    let path = "/api/user/reset-password";
    let browser = app.browser();
    let answers = join_all(bodies.iter().map(|body| browser.put(path).json(body).into_future())).await;
    let mut statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    let new = if statuses[0] == 200 { "battery staple" } else { "other words" };
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 400]);
    ann.get("/api/user/getUser").await.refused(401, "unauthenticated");
    log_in(&browser, &ann.email, PASSWORD).await.refused(401, "wrong_credentials");
    log_in(&browser, &ann.email, new).await.expect(200);
    app.browser().put(path).json(&reset(&token, "third time")).await.refused(400, "link_expired");
}

#[tokio::test]
async fn a_reset_link_ends_with_its_time_with_a_newer_one_and_with_a_new_password() {
    let app = TestApp::start().await;
    let ann = app.buyer("ann").await;
    let path = "/api/user/reset-password";
    let older = ask_for_reset(&app, &ann.email).await;
    let newer = ask_for_reset(&app, &ann.email).await;
    app.browser().put(path).json(&reset(&older, "new words")).await.refused(400, "link_expired");
    let change = password_change(PASSWORD, "battery staple", "battery staple");
    ann.put("/api/user/updatePassword").json(&change).await.expect(200);
    app.browser().put(path).json(&reset(&newer, "new words")).await.refused(400, "link_expired");
    let late = ask_for_reset(&app, &ann.email).await;
    app.clock.advance(31 * MINUTE);
    app.browser().put(path).json(&reset(&late, "new words")).await.refused(400, "link_expired");
    log_in(&app.browser(), &ann.email, "battery staple").await.expect(200);
}

#[tokio::test]
async fn asking_for_a_new_password_tells_nobody_who_has_an_account() {
    let app = TestApp::start().await;
    let ann = app.buyer("ann").await;
    let path = "/api/user/forgot-password";
    let known = app.browser().post(path).json(&json!({ "email": "ANN@example.com" })).await.expect(200);
    let unknown = app.browser().post(path).json(&json!({ "email": "nobody@example.com" })).await.expect(200);
    assert_eq!(known, unknown);
    app.mails().await_mail_to(&ann.email).await;
    assert_eq!(app.mails().count_to("nobody@example.com"), 0);
    for bad in [json!({}), json!({ "email": "nonsense" })] {
        app.browser().post(path).json(&bad).await.refused(400, "invalid_input");
    }
    app.browser().post(path).json(&json!({ "email": { "$gt": "" } })).await.refused(400, "malformed_json");
    let path = "/api/user/reset-password";
    for token in ["", "x"] {
        app.browser().put(path).json(&reset(token, "new words")).await.refused(400, "link_expired");
    }
    app.browser().put(path).json(&reset("x", "abc")).await.refused(400, "invalid_input");
    let injected =
        json!({ "token": { "$ne": null }, "newPassword": "new words", "confPassword": "new words" });
    app.browser().put(path).json(&injected).await.refused(400, "malformed_json");
}

// ---------------------------------------------------------------- what others see

#[tokio::test]
async fn others_see_a_name_and_a_picture_and_no_more() {
    let app = TestApp::start().await;
    let (ann, bobs) = (app.buyer("ann").await, app.seller("bobs").await);
    let path = format!("/api/user/user-info/{}", ann.id);
    for caller in [&bobs.browser, &ann.browser] {
        let seen = caller.get(&path).await.expect(201);
        let mut fields: Vec<&String> = seen["user"].as_object().unwrap().keys().collect();
        fields.sort_unstable();
        assert_eq!(fields, ["_id", "avatar", "name"]);
        assert_eq!(seen["user"]["name"], "ann");
    }
    let nobody = format!("/api/user/user-info/{}", Id::<User>::new());
    for path in [nobody.as_str(), "/api/user/user-info/undefined"] {
        assert_eq!(bobs.get(path).await.expect(201), json!({ "success": true, "user": null }));
    }
    app.browser().get(&path).await.refused(401, "unauthenticated");
    let local = TestApp::with(&[("AUTH_MODE", "auto")]).await;
    let ann = local.buyer("ann").await;
    let path = format!("/api/user/user-info/{}", ann.id);
    assert_eq!(local.browser().get(&path).await.expect(201)["user"]["name"], "ann");
}

#[tokio::test]
async fn no_answer_carries_a_password_or_its_hash() {
    let app = TestApp::start().await;
    let ann = app.sign_up_through_mail("ann").await;
    let profile = json!({ "name": "Ann", "password": PASSWORD });
    let answers = [
        log_in(&app.browser(), &ann.email, PASSWORD).await,
        ann.get("/api/user/getUser").await,
        ann.put("/api/user/updateUserInfo").json(&profile).await,
        ann.put("/api/user/update-user-avatar").form(Form::new().picture("file")).await,
        ann.put(ADDRESS).json(&address("Home")).await,
        ann.get(&format!("/api/user/user-info/{}", ann.id)).await,
        ann.put("/api/user/updatePassword").json(&password_change(PASSWORD, "new words", "new words")).await,
    ];
    for answer in answers {
        let text = answer.text();
        assert!(answer.status < 300, "{text}");
        assert!(
            !text.contains("$2b$") && !text.contains(PASSWORD) && !text.contains("\"password\""),
            "{text}"
        );
    }
}
