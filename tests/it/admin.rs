//! Administrators: how the first one comes to be, and who is none.

use bson::doc;
use futures_util::{TryStreamExt as _, future::join_all};
use serde_json::json;
use shared::{
    config::Secret,
    db::Db,
    id::Id,
    model::{ROLE_ADMIN, User},
};
use tests::{TestApp, legacy, mongo::TestDatabase, people::PASSWORD};

/// An operation that is an administrator's.
const REQUESTS: &str = "/api/withDraw/get-all-withdraw-request";

async fn admins(app: &TestApp) -> Vec<User> {
    let filter = doc! { "role": ROLE_ADMIN };
    app.db.of::<User>().find(filter).sort(doc! { "_id": 1 }).await.unwrap().try_collect().await.unwrap()
}

/// What every node does at its start, with this in its settings.
async fn appoint(app: &TestApp, email: &str, password: &str) {
    let mut config = (*app.config).clone();
    config.admin = Some((email.to_owned(), Secret::new(password.to_owned())));
    let node = api::App::new(config.into(), app.db.clone(), app.clock.clone()).unwrap();
    api::appoint_administrator(&node).await.unwrap();
}

#[tokio::test]
async fn the_administrator_of_the_settings_is_made_once_and_logs_in() {
    let settings = [("ADMIN_EMAIL", "Root@Example.com"), ("ADMIN_PASSWORD", "battery staple")];
    let mut app = TestApp::with(&settings).await;
    let _node = app.another_node().await;
    app.restart().await;
    assert_eq!(app.db.of::<User>().count_documents(doc! {}).await.unwrap(), 1);
    assert_eq!(admins(&app).await[0].email, "Root@Example.com");
    let browser = app.browser();
    let log_in = |password: &str| {
        let body = json!({ "email": "root@example.com", "password": password });
        browser.post("/api/user/login-user").json(&body)
    };
    log_in("correct horse").await.expect(401);
    assert_eq!(log_in("battery staple").await.expect(200)["user"]["role"], "Admin");
    browser.get(REQUESTS).await.expect(200);
}

#[tokio::test]
async fn an_account_of_that_address_is_promoted_if_the_password_is_its_own() {
    let app = TestApp::start().await;
    let root = app.buyer("root").await;
    // The old server let anybody sign up with any address.
    appoint(&app, "ROOT@example.com", "battery staple").await;
    assert_eq!(admins(&app).await.len(), 0);
    root.get(REQUESTS).await.refused(403, "admins_only");
    for _ in 0..2 {
        appoint(&app, "ROOT@example.com", PASSWORD).await;
        assert_eq!(admins(&app).await.len(), 1);
    }
    // The session goes on, and is an administrator's from now on.
    root.get(REQUESTS).await.expect(200);
    // A password that was changed since is no reason to take it away, nor one to change it back.
    appoint(&app, "ROOT@example.com", "battery staple").await;
    root.get(REQUESTS).await.expect(200);
    let log_in = |password| {
        let body = json!({ "email": root.email, "password": password });
        app.browser().post("/api/user/login-user").json(&body).into_future()
    };
    log_in(PASSWORD).await.expect(200);
    log_in("battery staple").await.expect(401);
}

#[tokio::test]
async fn nodes_that_start_at_once_make_one_administrator_also_without_the_unique_index() {
    let database = TestDatabase::new().await;
    legacy::plant(&Db::connect(&database.uri, "souk-test").await.unwrap()).await;
    let app = TestApp::on(database, &[]).await;
    let indexes = app.db.of::<User>().list_index_names().await.unwrap();
    assert!(!indexes.contains(&"users_email".to_owned()), "{indexes:?}");
    let node = &app;
    let appoint = |email, password| join_all((0..8).map(move |_| appoint(node, email, password)));
    appoint("root@example.com", "battery staple").await;
    assert_eq!(admins(&app).await.len(), 1);
    // Of two accounts with one address it is the one whose password it is.
    let own = app.inside().hasher.hash("battery staple".to_owned()).await.unwrap();
    let change = doc! { "$set": { "password": own } };
    let younger: Id<User> = legacy::TWINS[1].parse().unwrap();
    app.db.of::<User>().update_one(doc! { "_id": younger }, change).await.unwrap();
    appoint("TWIN@private.test", "neither of theirs").await;
    assert_eq!(admins(&app).await.len(), 1);
    appoint("TWIN@private.test", "battery staple").await;
    let ids: Vec<String> = admins(&app).await.iter().map(|admin| admin.id.hex()).collect();
    assert!(ids.len() == 2 && ids.contains(&legacy::TWINS[1].to_owned()), "{ids:?}");
}

#[tokio::test]
async fn administrators_alone_may_however_old_data_writes_it() {
    let app = TestApp::start().await;
    let (ann, bob) = tokio::join!(app.buyer("ann"), app.seller("bob"));
    app.browser().get(REQUESTS).await.refused(401, "unauthenticated");
    bob.get(REQUESTS).await.refused(403, "admins_only");
    for (role, may) in
        [("ADMIN", true), ("admin", true), ("user", false), ("Administrator", false), ("", false)]
    {
        let change = doc! { "$set": { "role": role } };
        app.db.of::<User>().update_one(doc! { "_id": ann.id }, change).await.unwrap();
        assert_eq!(ann.get(REQUESTS).await.status, if may { 200 } else { 403 }, "{role}");
    }
}
