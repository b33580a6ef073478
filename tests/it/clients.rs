//! The Socket.IO clients that exist, from their makers: the current and the oldest JavaScript client 4, and Python's.

use std::{
    path::Path,
    process::{Command, Output, Stdio},
};

use serde_json::json;
use shared::auth::{SELLER_COOKIE, USER_COOKIE};
use tests::{Chat, TestApp};

use crate::journey::with_libraries;

#[tokio::test(flavor = "multi_thread")]
async fn the_current_and_the_oldest_javascript_client_of_version_4_get_all_they_rely_on() {
    let directory = with_libraries().await;
    let mut node = Command::new("node");
    node.arg("conformance.mjs").current_dir(directory);
    holds(node, " passed, 0 failed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pythons_blocking_and_its_asynchronous_client_get_all_they_rely_on() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("python");
    with_packages(&directory).await;
    let mut python = Command::new("python3");
    python.arg("conformance.py").current_dir(&directory).env("PYTHONPATH", directory.join("packages"));
    holds(python, "all passed").await;
}

/// Runs a story against a chat server of its own, and holds that it comes to its end.
async fn holds(mut command: Command, end: &str) {
    let app = TestApp::start().await;
    let (ann, bobs) = (app.buyer("ann").await, app.seller("bobs").await);
    let conversation = ann.talk_to(&bobs).await;
    let chat: Chat = app.chat().await;
    let people = json!({
        "chat": format!("http://{}", chat.address),
        "conversation": conversation,
        "ann": { "id": ann.id.hex(), "token": ann.token, "cookies": format!("{USER_COOKIE}={}", ann.token) },
        "bobs": { "id": bobs.id.hex(), "token": bobs.token, "cookies": format!("{SELLER_COOKIE}={}", bobs.token) },
    });
    command.env("SOUK_PEOPLE", people.to_string());
    let output = run(command).await;
    let ended = String::from_utf8_lossy(&output.stdout).trim_end().ends_with(end);
    assert!(output.status.success() && ended, "{}", said(&output));
}

/// Sees to it that the packages that are asked for are there, in a directory of their own.
pub async fn with_packages(directory: &Path) {
    // Two tests that install at once would spoil each other's work.
    static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    let _turn = TURN.lock().await;
    let wanted = std::fs::read_to_string(directory.join("requirements.txt")).unwrap();
    let marker = directory.join("packages/installed.txt");
    if std::fs::read_to_string(&marker).is_ok_and(|installed| installed == wanted) {
        return;
    }
    let mut pip = Command::new("python3");
    pip.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--upgrade",
        "--target",
        "packages",
        "-r",
        "requirements.txt",
    ])
    .current_dir(directory);
    let output = run(pip).await;
    assert!(
        output.status.success(),
        "the test with Python's clients needs Python 3 with pip. `pip install --target packages -r requirements.txt` \
         in {} failed:\n{}",
        directory.display(),
        said(&output)
    );
    std::fs::write(marker, wanted).unwrap();
}

async fn run(mut command: Command) -> Output {
    command.stdin(Stdio::null());
    let what = format!("{:?}", command.get_program());
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap();
    output.unwrap_or_else(|error| panic!("{what} could not be run: {error}"))
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
