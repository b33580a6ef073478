//! The marketplace that an empty database of our own starts with.

use bson::{Document, doc};
use serde_json::Value;
use shared::{
    auth::Hasher,
    config::{Config, Secret},
    db::Db,
};
use souk::demo;
use tests::TestApp;

async fn plant(app: &TestApp) -> Option<demo::Demo> {
    plant_with(app, &app.config).await
}

async fn plant_with(app: &TestApp, config: &Config) -> Option<demo::Demo> {
    let hasher = Hasher::new(4).unwrap();
    let planted = demo::plant(&app.db, config, &app.clock, &hasher).await.unwrap();
    app.caught_up().await;
    planted
}

async fn count(db: &Db, collection: &str) -> u64 {
    db.raw::<Document>(collection).count_documents(doc! {}).await.unwrap()
}

async fn open() -> TestApp {
    TestApp::with(&[("DEMO", "on")]).await
}

/// Every address of a picture in an answer.
fn pictures(json: &Value, found: &mut Vec<String>) {
    match json {
        Value::Array(items) => items.iter().for_each(|item| pictures(item, found)),
        Value::Object(fields) => fields.iter().for_each(|(name, value)| match (name.as_str(), value) {
            ("url", Value::String(url)) => found.push(url.clone()),
            _ => pictures(value, found),
        }),
        _ => {}
    }
}

#[tokio::test]
async fn the_demo_is_complete_and_its_pictures_are_there() {
    let app = open().await;
    let demo = plant(&app).await.unwrap();
    assert_eq!(demo.accounts.len(), 4);
    let visitor = app.browser();
    let products = visitor.get("/api/product/get-all-products").await.expect(200);
    let events = visitor.get("/api/event/get-all-events-shop").await.expect(200);
    assert!(products["products"].as_array().unwrap().len() >= 24);
    let states: Vec<&str> =
        events["events"].as_array().unwrap().iter().map(|event| event["status"].as_str().unwrap()).collect();
    assert_eq!(states.iter().filter(|state| **state == "Running").count(), 2, "{states:?}");
    let mut urls = Vec::new();
    pictures(&products, &mut urls);
    pictures(&events, &mut urls);
    urls.sort();
    urls.dedup();
    assert!(urls.len() > 30);
    for url in urls {
        let path = url.strip_prefix(&app.base).unwrap_or_else(|| panic!("{url} is not absolute"));
        let picture = visitor.get(path).unchecked().await;
        assert_eq!(picture.status, 200, "{url}");
        assert_eq!(picture.header("content-type"), Some("image/jpeg"), "{url}");
    }
    let coupon = visitor.get("/api/coupan/coupan-verified/WELCOME10").await.expect(200);
    assert_eq!(coupon["coupanCode"]["value"], 10);
}

#[tokio::test]
async fn everybody_in_the_demo_can_log_in() {
    let app = open().await;
    for (role, email, password) in plant(&app).await.unwrap().accounts {
        let path = if role == "seller" { "/api/shop/shop-login" } else { "/api/user/login-user" };
        let browser = app.browser();
        let body = serde_json::json!({ "email": email, "password": password });
        browser.post(path).json(&body).await.expect(200);
        if role == "buyer" {
            let user = browser.get("/api/user/getUser").await.expect(201);
            let id = user["user"]["_id"].as_str().unwrap();
            let chats =
                browser.get(&format!("/api/conversation/get-all-conversation-user/{id}")).await.expect(201);
            let chat = chats["conversations"][0]["_id"].as_str().unwrap();
            let messages = browser.get(&format!("/api/messages/get-all-messages/{chat}")).await.expect(201);
            assert_eq!(messages["messages"].as_array().unwrap().len(), 4);
        }
    }
}

#[tokio::test]
async fn the_demo_is_planted_once_and_its_accounts_are_told_each_time() {
    let app = open().await;
    let first = plant(&app).await;
    let products = count(&app.db, "products").await;
    // What somebody deletes stays deleted.
    app.db.raw::<Document>("products").delete_one(doc! {}).await.unwrap();
    assert_eq!(plant(&app).await, first);
    assert_eq!(count(&app.db, "products").await, products - 1);
    assert_eq!(count(&app.db, "users").await, 1);
}

#[tokio::test]
async fn two_starts_at_once_plant_one_demo() {
    let app = open().await;
    let (one, other) = tokio::join!(plant(&app), plant(&app));
    assert!(one.is_some() && one == other);
    assert_eq!((count(&app.db, "users").await, count(&app.db, "shops").await), (1, 3));
}

#[tokio::test]
async fn a_start_that_broke_off_after_the_pictures_is_made_good() {
    let app = open().await;
    let uploads = &app.config.upload_dir;
    std::fs::create_dir_all(uploads.join("products")).unwrap();
    // The first product's picture, cut off.
    let names = |folder: &str| {
        let mut names: Vec<_> =
            std::fs::read_dir(uploads.join(folder)).unwrap().map(|file| file.unwrap().path()).collect();
        names.sort();
        names
    };
    plant(&app).await.unwrap();
    let whole = names("products");
    let content = std::fs::read(&whole[0]).unwrap();
    std::fs::write(&whole[0], &content[..100]).unwrap();
    for collection in app.db.database().list_collection_names().await.unwrap() {
        app.db.raw::<Document>(&collection).delete_many(doc! {}).await.unwrap();
    }
    plant(&app).await.unwrap();
    assert_eq!(names("products"), whole, "the same files again, none left over");
    assert_eq!(std::fs::read(&whole[0]).unwrap(), content);
}

#[tokio::test]
async fn nothing_is_planted_where_it_does_not_belong() {
    let app = open().await;
    let mut elsewhere = Config::clone(&app.config);
    elsewhere.database_uri = Some(Secret::new(app.database_uri().to_owned()));
    assert!(plant_with(&app, &elsewhere).await.is_none(), "somebody's own database");
    let mut production = Config::clone(&app.config);
    production.env = shared::config::AppEnv::Production;
    assert!(plant_with(&app, &production).await.is_none(), "production");
    let mut off = Config::clone(&app.config);
    off.demo = false;
    assert!(plant_with(&app, &off).await.is_none(), "turned off");
    app.db.raw::<Document>("users").insert_one(doc! { "name": "somebody" }).await.unwrap();
    assert!(plant(&app).await.is_none(), "not empty");
    assert_eq!(count(&app.db, "shops").await, 0);
}
