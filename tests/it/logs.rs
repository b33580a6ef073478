//! No secret is ever written to the log. Every test looks for them when its application ends (`tests::log`); here is
//! shown that it would find them.

use serde_json::json;
use tests::{TestApp, log};

#[test]
fn a_secret_in_a_line_is_found_and_what_is_none_is_left_alone() {
    let token = "0123456789abcdef".repeat(4);
    for line in [
        "POST / cookie=user_token=eyJhbGciOiJIUzI1NiJ9.e30.c2ln",
        "user=User { password: \"$2b$04$abcdefghijklmnopqrstuv\" }",
        "body={\"email\":\"a@b.c\",\"password\":\"correct horse\"}",
        &format!("link=http://localhost:5173/activation/{token}"),
        "asked url=https://api.stripe.com key=sk_test_stand_in_secret",
        "AUTH PLAIN AHNvdWtAbWFpbC50ZXN0AG1haWwgcGFzc3dvcmQ= or bWFpbCBwYXNzd29yZA==",
    ] {
        assert!(log::secret_in(line).is_some(), "{line}");
    }
    for line in [
        "request{id=6744a0b1c2d3e4f5a6b7c8ff method=GET}: answered status=200",
        "picture products/c40b261ea73aea3857088b9d51e1e0a5.png is gone",
        "the password is wrong, and the token has expired",
    ] {
        assert_eq!(log::secret_in(line), None);
    }
}

#[tokio::test]
async fn what_the_application_writes_is_read() {
    let app = TestApp::start().await;
    let before = log::lines();
    let wrong = json!({ "email": "nobody@example.com", "password": "wrong" });
    app.browser().post("/api/user/login-user").json(&wrong).await.refused(401, "wrong_credentials");
    assert!(log::lines() > before);
}
