//! `openapi.yaml` as schemathesis (from PyPI) reads it: requests made from the document, right ones and wrong ones, one
//! at a time and in stories, and every answer held to what is promised. No fault, no status that is not documented,
//! nothing in another shape.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use serde_json::json;
use tests::people::PASSWORD;

use crate::{clients::with_packages, furnished::Furnished};

/// Requests to each operation in the phase that makes them up. The whole run takes about twenty minutes.
#[expect(clippy::disallowed_methods, reason = "no setting of the program's: how much to test")]
fn examples() -> &'static str {
    if std::env::var("SOUK_TRIAL").is_ok_and(|size| size == "full") { "200" } else { "4" }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_schemathesis_makes_of_the_document_breaks_a_promise() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("python");
    with_packages(&directory).await;
    let market = Furnished::market().await;
    let people = json!({
        "base": market.app.base,
        "password": PASSWORD,
        "ids": market.ids(),
        "users": { "user": market.ann.email, "seller": market.bob.email, "admin": market.root.email },
        "examples": examples(),
        "scratch": market.app.home(),
    });
    let mut python = Command::new("python3");
    python
        .arg("promises.py")
        .current_dir(&directory)
        .env("PYTHONPATH", directory.join("packages"))
        .env("SOUK_MARKET", people.to_string())
        .stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || python.output()).await.unwrap().unwrap();
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}");
}
