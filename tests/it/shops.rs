//! Shops: opening one, its settings, its bank details, and what others see of it.

use std::future::IntoFuture as _;

use bson::doc;
use futures_util::future::join_all;
use serde_json::{Value, json};
use shared::{
    id::Id,
    model::{PendingRegistration, Shop, User},
};
use tests::{
    Answer, Browser, Form, TestApp,
    app::CLIENT,
    people::{PASSWORD, email},
};

const MINUTE: i64 = 60_000;

/// What the sign-up form holds, in the client's order.
fn details(name: &str) -> [(&'static str, String); 6] {
    [
        ("name", name.to_owned()),
        ("password", PASSWORD.to_owned()),
        ("email", email(name)),
        ("address", "1 Mall Road, Lahore".to_owned()),
        ("zipCode", "54000".to_owned()),
        ("phoneNumber", "3001234567".to_owned()),
    ]
}

fn form_of(details: impl IntoIterator<Item = (&'static str, String)>) -> Form {
    details.into_iter().fold(Form::new().picture("file"), |form, (name, value)| form.text(name, value))
}

async fn sign_up(app: &TestApp, name: &str) -> String {
    app.browser().post("/api/shop/create-shop").bare().form(form_of(details(name))).await.expect(200);
    app.mails().await_mail_to(&email(name)).await.token_after("/activation/seller/")
}

async fn activate(browser: &Browser, token: &str) -> Answer {
    browser.post("/api/shop/seller/activation").json(&json!({ "activation_token": token })).await
}

async fn log_in(browser: &Browser, email: &str, password: &str) -> Answer {
    browser.post("/api/shop/shop-login").json(&json!({ "email": email, "password": password })).await
}

async fn count(app: &TestApp) -> u64 {
    app.db.of::<Shop>().count_documents(doc! {}).await.unwrap()
}

// ---------------------------------------------------------------- opening a shop

#[tokio::test]
async fn a_seller_signs_up_follows_the_link_to_the_sellers_page_and_logs_in() {
    let app = TestApp::start().await;
    let browser = app.browser();
    let said = browser.post("/api/shop/create-shop").bare().form(form_of(details("bobs"))).await.expect(200);
    assert_eq!(said, json!({ "success": true, "message": "please check your email  to activate your shop" }));
    let mail = app.mails().await_mail_to(&email("bobs")).await;
    assert_eq!(mail.subject(), "Activate your Shop");
    let token = mail.token_after(&format!("{CLIENT}/activation/seller/"));
    assert!(!token.contains('/') && !mail.raw.contains(PASSWORD));

    let made = activate(&browser, &token).await.expect(201);
    assert_eq!(made["message"], "successfully verified seller");
    let shop = &made["seller"];
    assert_eq!((&shop["name"], &shop["address"]), (&json!("bobs"), &json!("1 Mall Road, Lahore")));
    assert_eq!((&shop["zipCode"], &shop["phoneNumber"]), (&json!(54000), &json!(3_001_234_567_u64)));
    assert_eq!((&shop["availableBalance"], &shop["transections"]), (&json!(0), &json!([])));
    assert_eq!((&shop["withdrawMethod"], &shop["role"]), (&Value::Null, &json!("seller")));
    // No account for the shopper that they are not.
    assert_eq!(app.db.of::<User>().count_documents(doc! {}).await.unwrap(), 0);

    let browser = app.browser();
    let session = log_in(&browser, &email("bobs"), PASSWORD).await.expect(200);
    assert_eq!(session["seller"], *shop);
    let cookie = browser.cookie("seller_token").unwrap();
    assert!(cookie.http_only() && cookie.value == session["token"].as_str().unwrap());
    assert_eq!(browser.cookie("token"), None);
    assert_eq!(browser.get("/api/shop/getSeller").await.expect(201)["seller"], *shop);
}

#[tokio::test]
async fn a_shop_needs_complete_details_but_no_picture() {
    let app = TestApp::start().await;
    let long = "x".repeat(201);
    let cases: [(&str, Option<&str>); 13] = [
        ("name", None),
        ("name", Some("null")),
        ("password", Some("abc")),
        ("email", Some("bobs@")),
        ("email", Some(r#"{"$gt":""}"#)),
        ("address", None),
        ("address", Some(&long)),
        ("zipCode", None),
        ("zipCode", Some("SW1A 1AA")),
        ("zipCode", Some("-5")),
        ("phoneNumber", Some("undefined")),
        ("phoneNumber", Some("call me")),
        ("phoneNumber", Some("1234")),
    ];
    for (field, value) in cases {
        let changed = details("bobs").into_iter().filter_map(|(name, good)| {
            if name == field { value.map(|bad| (name, bad.to_owned())) } else { Some((name, good)) }
        });
        let said = app.browser().post("/api/shop/create-shop").form(form_of(changed)).await;
        let said = said.refused(400, "invalid_input");
        assert_eq!(said["errors"][0]["field"], field, "{value:?}: {said}");
        assert_eq!(said["errors"].as_array().unwrap().len(), 1, "{value:?}: {said}");
    }
    let junk = Form::new().file("file", "a.png", "image/png", b"<svg/>".to_vec());
    app.browser().post("/api/shop/create-shop").form(junk).await.refused(415, "not_a_picture");
    let pending = app.db.of::<PendingRegistration>().count_documents(doc! {}).await.unwrap();
    assert_eq!(pending, 0);

    let form = details("bobs")
        .into_iter()
        .fold(Form::new().text("file", "undefined"), |form, (name, value)| form.text(name, value));
    app.browser().post("/api/shop/create-shop").form(form).await.expect(200);
    let token = app.mails().await_mail_to(&email("bobs")).await.token_after("/activation/seller/");
    let made = activate(&app.browser(), &token).await.expect(201);
    assert!(made["seller"]["avatar"]["url"].as_str().unwrap().starts_with("http"));
}

#[tokio::test]
async fn an_address_that_has_a_shop_cannot_open_another() {
    let app = TestApp::start().await;
    app.seller("bobs").await;
    let mut again = details("bobs");
    again[2].1 = "BOBS@example.COM".to_owned();
    let said = app.browser().post("/api/shop/create-shop").form(form_of(again)).await;
    assert_eq!(said.refused(400, "email_taken")["message"], "ShopEmail  is already exist");
}

#[tokio::test]
async fn two_activations_at_once_open_one_shop_and_both_succeed() {
    let app = TestApp::start().await;
    for round in 0..5 {
        let token = sign_up(&app, &format!("bobs{round}")).await;
        let browsers: Vec<Browser> = (0..4).map(|_| app.browser()).collect();
        let answers = join_all(browsers.iter().map(|browser| activate(browser, &token))).await;
        let ids: Vec<Value> =
            answers.iter().map(|answer| answer.expect(201)["seller"]["_id"].clone()).collect();
        assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    }
    assert_eq!(count(&app).await, 5);
}

#[tokio::test]
async fn a_shops_link_is_for_shops_for_its_time_and_for_one_address() {
    let app = TestApp::start().await;
    let (one, other) = (sign_up(&app, "bobs").await, sign_up(&app, "bobs").await);
    activate(&app.browser(), &one).await.expect(201);
    activate(&app.browser(), &other).await.refused(409, "email_taken");
    let late = sign_up(&app, "lamps").await;
    app.clock.advance(31 * MINUTE);
    activate(&app.browser(), &late).await.refused(400, "link_expired");
    let repeated = activate(&app.browser(), &one).await.expect(201);
    assert_eq!(repeated.get("seller"), None);

    // A shopper's link opens no shop, and is not used up by the attempt.
    let form = Form::new().text("name", "ann").text("password", PASSWORD).text("email", email("ann"));
    app.browser().post("/api/user/create-user").form(form).await.expect(200);
    let token = app.mails().await_mail_to(&email("ann")).await.token_after("/activation/");
    activate(&app.browser(), &token).await.refused(400, "link_expired");
    let body = json!({ "activation_token": token });
    app.browser().post("/api/user/activation").json(&body).await.expect(201);

    let path = "/api/shop/seller/activation";
    app.browser().post(path).json(&json!({})).await.refused(400, "link_expired");
    let injected = json!({ "activation_token": { "$gt": "" } });
    app.browser().post(path).json(&injected).await.refused(400, "malformed_json");
    assert_eq!(count(&app).await, 1);
}

// ---------------------------------------------------------------- sessions

#[tokio::test]
async fn a_shops_log_in_is_refused_without_telling_why() {
    let app = TestApp::start().await;
    let (bobs, ann) = (app.seller("bobs").await, app.buyer("ann").await);
    let unknown =
        log_in(&app.browser(), "nobody@example.com", PASSWORD).await.refused(401, "wrong_credentials");
    let wrong = log_in(&app.browser(), &bobs.email, "wrong").await.refused(401, "wrong_credentials");
    assert_eq!(unknown["message"], wrong["message"]);
    // A shopper's account is no shop.
    log_in(&app.browser(), &ann.email, PASSWORD).await.refused(401, "wrong_credentials");
    log_in(&app.browser(), "BOBS@example.com", PASSWORD).await.expect(200);
    let path = "/api/shop/shop-login";
    app.browser().post(path).json(&json!({ "email": bobs.email })).await.refused(400, "credentials_missing");
    for body in [
        json!({ "email": { "$gt": "" }, "password": PASSWORD }),
        json!({ "email": bobs.email, "password": { "$gt": "" } }),
    ] {
        app.browser().post(path).json(&body).await.refused(400, "malformed_json");
    }
}

#[tokio::test]
async fn a_blocked_shop_is_told_so_and_has_no_sessions() {
    let app = TestApp::start().await;
    let bobs = app.seller("bobs").await;
    let block = doc! { "$set": { "blocked": true } };
    app.db.of::<Shop>().update_one(doc! { "_id": bobs.id }, block).await.unwrap();
    bobs.get("/api/shop/getSeller").await.refused(401, "unauthenticated");
    log_in(&app.browser(), &bobs.email, PASSWORD).await.refused(403, "account_blocked");
}

#[tokio::test]
async fn without_a_shops_session_one_is_no_seller() {
    let app = TestApp::start().await;
    let (ann, bobs) = (app.buyer("ann").await, app.seller("bobs").await);
    let anonymous = app.browser().get("/api/shop/getSeller").await.refused(401, "unauthenticated");
    assert_eq!(anonymous["message"], "Please login first");
    for token in ["junk", ann.token.as_str()] {
        let browser = app.browser();
        browser.set_cookie("seller_token", token);
        browser.get("/api/shop/getSeller").await.refused(401, "unauthenticated");
        assert_eq!(browser.cookie("seller_token"), None, "a stale cookie stays");
    }
    let bearer = app.browser().get("/api/shop/getSeller").bearer(&bobs.token).await.expect(201);
    assert_eq!(bearer["seller"]["_id"], bobs.id.hex());
}

#[tokio::test]
async fn anybody_can_log_out_of_a_shop_and_more_than_once() {
    let app = TestApp::start().await;
    let bobs = app.seller("bobs").await;
    let stale = app.browser();
    stale.set_cookie("seller_token", "junk");
    for browser in [&bobs.browser, &bobs.browser, &app.browser(), &stale] {
        let said = browser.get("/api/shop/logout-seller").await.expect(200);
        assert_eq!(said, json!({ "message": "Logout sucessfully" }));
        assert_eq!(browser.cookie_header(), None);
    }
    bobs.get("/api/shop/getSeller").await.refused(401, "unauthenticated");
}

#[tokio::test]
async fn a_shop_logs_out_everywhere() {
    let app = TestApp::start().await;
    let bobs = app.seller("bobs").await;
    let elsewhere = app.browser();
    log_in(&elsewhere, &bobs.email, PASSWORD).await.expect(200);
    app.browser().put("/api/shop/logout-everywhere").await.refused(401, "unauthenticated");
    bobs.put("/api/shop/logout-everywhere").await.expect(200);
    assert_eq!(bobs.cookie_header(), None);
    elsewhere.get("/api/shop/getSeller").await.refused(401, "unauthenticated");
    log_in(&elsewhere, &bobs.email, PASSWORD).await.expect(200);
}

#[tokio::test]
async fn a_shop_changes_its_password_and_its_other_sessions_end() {
    let app = TestApp::start().await;
    let bobs = app.seller("bobs").await;
    let elsewhere = app.browser();
    log_in(&elsewhere, &bobs.email, PASSWORD).await.expect(200);
    let path = "/api/shop/updatePassword";
    let change = |old: &str, new: &str, again: &str| json!({ "oldPassword": old, "newPassword": new, "confPassword": again });
    app.browser()
        .put(path)
        .json(&change(PASSWORD, "new words", "new words"))
        .await
        .refused(401, "unauthenticated");
    bobs.put(path).json(&change("wrong", "new words", "new words")).await.refused(400, "wrong_password");
    bobs.put(path).json(&change(PASSWORD, "new words", "others")).await.refused(400, "invalid_input");
    bobs.put(path).json(&change(PASSWORD, "abc", "abc")).await.refused(400, "invalid_input");
    bobs.put(path).json(&json!({ "oldPassword": { "$ne": 1 } })).await.refused(400, "malformed_json");
    bobs.put(path).json(&change(PASSWORD, "new words", "new words")).await.expect(200);
    bobs.get("/api/shop/getSeller").await.expect(201);
    elsewhere.get("/api/shop/getSeller").await.refused(401, "unauthenticated");
    log_in(&elsewhere, &bobs.email, PASSWORD).await.refused(401, "wrong_credentials");
    log_in(&elsewhere, &bobs.email, "new words").await.expect(200);
}

#[tokio::test]
async fn a_shop_sets_a_forgotten_password_anew() {
    let app = TestApp::start().await;
    let bobs = app.seller("bobs").await;
    let (ask, set) = ("/api/shop/forgot-password", "/api/shop/reset-password");
    let unknown = app.browser().post(ask).json(&json!({ "email": "nobody@example.com" })).await.expect(200);
    let known = app.browser().post(ask).json(&json!({ "email": bobs.email })).await.expect(200);
    assert_eq!(known, unknown);
    app.browser().post(ask).json(&json!({ "email": { "$gt": "" } })).await.refused(400, "malformed_json");
    app.browser().post(ask).json(&json!({ "email": "x" })).await.refused(400, "invalid_input");
    let mail = app.mails().await_mail_to(&bobs.email).await;
    let token = mail.token_after(&format!("{CLIENT}/reset-password/seller/"));
    let reset =
        |token: &str| json!({ "token": token, "newPassword": "new words", "confPassword": "new words" });
    // It is a shop's token, not a shopper's.
    app.browser().put("/api/user/reset-password").json(&reset(&token)).await.refused(400, "link_expired");
    app.browser().put(set).json(&reset("made up")).await.refused(400, "link_expired");
    app.browser().put(set).json(&json!({ "token": token })).await.refused(400, "invalid_input");
    app.browser().put(set).json(&reset(&token)).await.expect(200);
    app.browser().put(set).json(&reset(&token)).await.refused(400, "link_expired");
    bobs.get("/api/shop/getSeller").await.refused(401, "unauthenticated");
    log_in(&app.browser(), &bobs.email, "new words").await.expect(200);
}

// ---------------------------------------------------------------- settings

const UPDATE: &str = "/api/shop/updateSellerInfo";

#[tokio::test]
async fn a_shop_changes_its_details_and_what_is_absent_stays() {
    let app = TestApp::start().await;
    let bobs = app.seller("bobs").await;
    let before = bobs.get("/api/shop/getSeller").await.expect(201)["seller"].clone();
    for nothing in
        [json!({}), json!({ "name": null, "zipCode": null, "phoneNumber": "", "description": null })]
    {
        assert_eq!(bobs.put(UPDATE).json(&nothing).await.expect(200)["seller"], before, "{nothing}");
    }
    let form = json!({
        "name": "Lamp & Co", "address": "2 Mall Road", "zipCode": 54001, "phoneNumber": "3007654321",
        "description": "Lamps.\nBy hand."
    });
    let after = bobs.put(UPDATE).json(&form).await.expect(200)["seller"].clone();
    for field in ["name", "address", "zipCode", "description"] {
        assert_eq!(after[field], form[field], "{field}");
    }
    assert_eq!(after["phoneNumber"], 3_007_654_321_u64);
    assert_eq!(bobs.get("/api/shop/getSeller").await.expect(201)["seller"], after);
    // The client sends the empty text where nothing is set, and that clears it.
    let cleared = bobs.put(UPDATE).json(&json!({ "description": "" })).await.expect(200);
    assert_eq!(cleared["seller"]["name"], "Lamp & Co");
    let page = app.browser().get(&format!("/api/shop/get-shop-info/{}", bobs.id)).await.expect(200);
    assert_eq!(page["sellerInfo"].get("description"), None);
}

#[tokio::test]
async fn a_shops_details_are_changed_with_sense_and_by_its_seller_alone() {
    let app = TestApp::start().await;
    let (bobs, ann) = (app.seller("bobs").await, app.buyer("ann").await);
    let form = json!({ "name": "Mine now" });
    app.browser().put(UPDATE).json(&form).await.refused(401, "unauthenticated");
    ann.put(UPDATE).json(&form).await.refused(401, "unauthenticated");
    // Another shop's id in the body means nothing.
    let eves = app.seller("eves").await;
    eves.put(UPDATE).json(&json!({ "_id": bobs.id.hex(), "name": "Eve & Co" })).await.expect(200);
    for (field, bad) in [
        ("name", json!("")),
        ("address", json!(" ")),
        ("zipCode", json!("abc")),
        ("zipCode", json!(-1)),
        ("phoneNumber", json!("12")),
        ("phoneNumber", json!(1.5)),
        ("description", json!("x".repeat(2001))),
    ] {
        let said = bobs.put(UPDATE).json(&json!({ field: bad })).await.refused(400, "invalid_input");
        assert_eq!(said["errors"][0]["field"], field);
    }
    for bad in [json!({ "name": { "$gt": "" } }), json!({ "zipCode": { "$inc": 1 } }), json!([])] {
        bobs.put(UPDATE).json(&bad).await.refused(400, "malformed_json");
    }
    assert_eq!(bobs.get("/api/shop/getSeller").await.expect(201)["seller"]["name"], "bobs");
}

#[tokio::test]
async fn a_shop_changes_its_picture() {
    let app = TestApp::start().await;
    let bobs = app.open_shop_through_mail("bobs").await;
    let path = "/api/shop/update-seller-avatar";
    app.browser().put(path).form(Form::new().picture("image")).await.refused(401, "unauthenticated");
    bobs.put(path).form(Form::new().text("image", "undefined")).await.refused(400, "picture_missing");
    // The part is called `image` here.
    bobs.put(path).form(Form::new().picture("file")).await.refused(400, "unexpected_file");
    let junk = Form::new().file("image", "a.png", "image/png", b"no picture".to_vec());
    bobs.put(path).form(junk).await.refused(415, "not_a_picture");

    let before = bobs.get("/api/shop/getSeller").await.expect(201)["seller"]["avatar"].clone();
    let after =
        bobs.put(path).form(Form::new().picture("image")).await.expect(200)["seller"]["avatar"].clone();
    let local = |picture: &Value| picture["url"].as_str().unwrap().trim_start_matches(&app.base).to_owned();
    assert_eq!(bobs.get(&local(&after)).unchecked().await.status, 200);
    let page = app.browser().get(&format!("/api/shop/get-shop-info/{}", bobs.id)).await.expect(200);
    assert_eq!(page["sellerInfo"]["avatar"], after);
    let gone = async {
        while bobs.get(&local(&before)).unchecked().await.status != 404 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), gone)
        .await
        .expect("the old picture is still there");
}

#[tokio::test]
async fn pictures_changed_at_once_leave_one_in_place() {
    let app = TestApp::start().await;
    let bobs = app.open_shop_through_mail("bobs").await;
    let path = "/api/shop/update-seller-avatar";
    let forms = (0..4).map(|_| bobs.put(path).form(Form::new().picture("image")).into_future());
    for answer in join_all(forms).await {
        answer.expect(200);
    }
    let avatar = bobs.get("/api/shop/getSeller").await.expect(201)["seller"]["avatar"].clone();
    let url = avatar["url"].as_str().unwrap().trim_start_matches(&app.base).to_owned();
    assert_eq!(bobs.get(&url).unchecked().await.status, 200);
}

// ---------------------------------------------------------------- bank details

const METHOD: &str = "/api/shop/update-payment-methods";

fn bank() -> Value {
    json!({
        "bankName": "First Bank", "bankCountry": "PK", "bankSwiftCode": "FRSTPKKA",
        "bankAccountNumber": "PK36FRST0000001123456702", "bankHolderName": "Bob", "bankAddress": "2 Mall Road"
    })
}

#[tokio::test]
async fn a_shop_says_where_withdrawals_go_and_sees_only_the_end_of_the_number() {
    let app = TestApp::start().await;
    let bobs = app.seller("bobs").await;
    let set = bobs.put(METHOD).json(&json!({ "withdrawMethod": bank() })).await.expect(201);
    let mut masked = bank();
    masked["bankAccountNumber"] = json!("*********************702");
    assert_eq!(set["seller"]["withdrawMethod"], masked);
    assert_eq!(bobs.get("/api/shop/getSeller").await.expect(201)["seller"], set["seller"]);
    let stored = app.db.of::<Shop>().find_one(doc! { "_id": bobs.id }).await.unwrap().unwrap();
    assert_eq!(stored.withdraw_method.unwrap().bank_account_number, "PK36FRST0000001123456702");

    for _ in 0..2 {
        let gone = bobs.delete("/api/shop/delete-withdraw-method").await.expect(201);
        assert!(gone["seller"].as_object().unwrap().contains_key("withdrawMethod"));
        assert_eq!(gone["seller"]["withdrawMethod"], Value::Null);
    }
}

#[tokio::test]
async fn bank_details_must_be_complete_and_ones_own() {
    let app = TestApp::start().await;
    let (bobs, ann) = (app.seller("bobs").await, app.buyer("ann").await);
    let whole = json!({ "withdrawMethod": bank() });
    app.browser().put(METHOD).json(&whole).await.refused(401, "unauthenticated");
    ann.put(METHOD).json(&whole).await.refused(401, "unauthenticated");
    app.browser().delete("/api/shop/delete-withdraw-method").await.refused(401, "unauthenticated");
    let fields = bank();
    for field in fields.as_object().unwrap().keys() {
        for bad in [Value::Null, json!("  ")] {
            let mut method = bank();
            method[field] = bad;
            let said = bobs.put(METHOD).json(&json!({ "withdrawMethod": method })).await;
            let said = said.refused(400, "invalid_input");
            assert_eq!(said["errors"][0]["field"], format!("withdrawMethod.{field}"));
        }
    }
    for number in ["12", "*****702", &"1".repeat(65)] {
        let mut method = bank();
        method["bankAccountNumber"] = json!(number);
        bobs.put(METHOD).json(&json!({ "withdrawMethod": method })).await.refused(400, "invalid_input");
    }
    for nothing in [json!({}), json!({ "withdrawMethod": null })] {
        bobs.put(METHOD).json(&nothing).await.refused(400, "invalid_input");
    }
    for bad in [json!("PK36"), json!([1])] {
        bobs.put(METHOD).json(&json!({ "withdrawMethod": bad })).await.expect(400);
    }
    let mut method = bank();
    method["bankName"] = json!({ "$gt": "" });
    bobs.put(METHOD).json(&json!({ "withdrawMethod": method })).await.refused(400, "malformed_json");
    assert_eq!(bobs.get("/api/shop/getSeller").await.expect(201)["seller"]["withdrawMethod"], Value::Null);
}

#[tokio::test]
async fn bank_details_that_would_break_the_clients_page_are_shown_as_none() {
    let app = TestApp::start().await;
    let bobs = app.seller("bobs").await;
    for broken in [
        doc! {},
        doc! { "bankName": "First Bank" },
        doc! { "bankAccountNumber": "12" },
        doc! { "bankAccountNumber": { "a": 1 } },
        doc! { "bankAccountNumber": bson::Bson::Null },
    ] {
        let set = doc! { "$set": { "withdrawMethod": broken.clone() } };
        app.db.of::<Shop>().update_one(doc! { "_id": bobs.id }, set).await.unwrap();
        let own = bobs.get("/api/shop/getSeller").await.expect(201);
        assert_eq!(own["seller"]["withdrawMethod"], Value::Null, "{broken}");
    }
    for text in [bson::Bson::from("PK36"), bson::Bson::from(7)] {
        let set = doc! { "$set": { "withdrawMethod": text } };
        app.db.of::<Shop>().update_one(doc! { "_id": bobs.id }, set).await.unwrap();
        assert_eq!(
            bobs.get("/api/shop/getSeller").await.expect(201)["seller"]["withdrawMethod"],
            Value::Null
        );
    }
}

// ---------------------------------------------------------------- what others see

#[tokio::test]
async fn a_shops_page_shows_the_balance_to_the_shop_alone() {
    let app = TestApp::start().await;
    let (bobs, eves, ann) = (app.seller("bobs").await, app.seller("eves").await, app.buyer("ann").await);
    let credit =
        doc! { "$set": { "availableBalance": 12.5, "balanceMinor": 1250_i64, "description": "Lamps" } };
    app.db.of::<Shop>().update_one(doc! { "_id": bobs.id }, credit).await.unwrap();
    let path = format!("/api/shop/get-shop-info/{}", bobs.id);
    let own = bobs.get(&path).await.expect(200);
    assert_eq!(own["sellerInfo"]["availableBalance"], 12.5);
    for stranger in [&eves.browser, &ann.browser, &app.browser()] {
        let page = stranger.get(&path).await.expect(200)["sellerInfo"].clone();
        assert_eq!((&page["name"], &page["desciption"]), (&json!("bobs"), &json!("Lamps")));
        assert_eq!((&page["address"], &page["phoneNumber"]), (&json!("1 Market Street"), &json!(5_550_100)));
        for private in ["availableBalance", "email", "withdrawMethod", "transections", "zipCode", "password"]
        {
            assert_eq!(page.get(private), None, "{private}");
        }
    }
    let nobody = format!("/api/shop/get-shop-info/{}", Id::<Shop>::new());
    app.browser().get(&nobody).await.refused(404, "shop_not_found");
    app.browser().get("/api/shop/get-shop-info/undefined").await.refused(400, "invalid_id");
}

#[tokio::test]
async fn the_client_reads_its_balance_without_a_cookie_where_the_mode_accepts_that() {
    let app = TestApp::with(&[("AUTH_MODE", "auto")]).await;
    let (bobs, ann) = (app.seller("bobs").await, app.buyer("ann").await);
    let path = format!("/api/shop/get-shop-info/{}", bobs.id);
    assert_eq!(bobs.get(&path).bare().await.expect(200)["sellerInfo"]["availableBalance"], 0);
    // Whoever proves to be somebody else is told nothing.
    assert_eq!(ann.get(&path).await.expect(200)["sellerInfo"].get("availableBalance"), None);
    let proxied = app.browser().get(&path).header("x-forwarded-for", "203.0.113.9").await.expect(200);
    assert_eq!(proxied["sellerInfo"].get("availableBalance"), None);
}

#[tokio::test]
async fn customers_see_the_public_side_of_a_shop() {
    let app = TestApp::start().await;
    let bobs = app.seller("bobs").await;
    let seen = app.browser().get(&format!("/api/shop/seller-info/{}", bobs.id)).await.expect(201);
    let mut fields: Vec<&String> = seen["seller"].as_object().unwrap().keys().collect();
    fields.sort_unstable();
    assert_eq!(fields, ["_id", "address", "avatar", "createdAt", "name", "phoneNumber"]);
    let nobody = format!("/api/shop/seller-info/{}", Id::<Shop>::new());
    for path in [nobody.as_str(), "/api/shop/seller-info/undefined"] {
        assert_eq!(app.browser().get(path).await.expect(201), json!({ "success": true, "seller": null }));
    }
}

#[tokio::test]
async fn no_answer_about_a_shop_carries_a_password_or_the_account_number() {
    let app = TestApp::start().await;
    let bobs = app.open_shop_through_mail("bobs").await;
    let answers = [
        bobs.put(METHOD).json(&json!({ "withdrawMethod": bank() })).await,
        log_in(&app.browser(), &bobs.email, PASSWORD).await,
        bobs.get("/api/shop/getSeller").await,
        bobs.put(UPDATE).json(&json!({ "name": "Lamp & Co" })).await,
        bobs.put("/api/shop/update-seller-avatar").form(Form::new().picture("image")).await,
        bobs.get(&format!("/api/shop/get-shop-info/{}", bobs.id)).await,
        bobs.get(&format!("/api/shop/seller-info/{}", bobs.id)).await,
    ];
    for answer in answers {
        let text = answer.text();
        assert!(answer.status < 300, "{text}");
        for secret in ["$2b$", PASSWORD, "\"password\"", "PK36FRST"] {
            assert!(!text.contains(secret), "{text}");
        }
    }
}
