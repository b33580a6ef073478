//! The harness itself: what every other test stands on.

use serde_json::json;
use tests::TestApp;

#[tokio::test]
async fn the_application_answers_and_is_ready() {
    let app = TestApp::start().await;
    app.browser().get("/ping").await.expect(200);
    app.browser().get("/healthz").await.expect(200);
    app.browser().get("/readyz").await.expect(200);
}

#[tokio::test]
async fn each_test_has_a_database_of_its_own() {
    let (one, other) = tokio::join!(TestApp::start(), TestApp::start());
    one.buyer("ann").await;
    other.buyer("ann").await;
    assert_ne!(one.database_uri(), other.database_uri());
    let count = other.db.raw::<bson::Document>("users").count_documents(bson::doc! {}).await.unwrap();
    assert_eq!(count, 1);
}

#[tokio::test]
async fn a_second_node_serves_the_same_database_and_a_restart_keeps_it() {
    let mut app = TestApp::start().await;
    let node = app.another_node().await;
    let client = reqwest::Client::new();
    assert_eq!(client.get(format!("{}/readyz", node.base)).send().await.unwrap().status(), 200);
    app.restart().await;
    app.browser().get("/readyz").await.expect(200);
}

#[tokio::test]
async fn an_unknown_route_is_a_refusal_in_the_usual_shape() {
    let app = TestApp::start().await;
    let answer = app.browser().post("/api/nothing/here").unchecked().json(&json!({})).await;
    let body = answer.expect(404);
    assert_eq!(body["success"], false);
    assert!(body["message"].is_string(), "{body}");
}
