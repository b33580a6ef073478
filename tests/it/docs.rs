//! What integrators read: the API reference page, in a real browser; and the guide, whose examples are run as they stand
//! in `docs/INTEGRATING.md`.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use bson::{Document, doc};
use serde_json::{Value, json};
use shared::auth::SELLER_COOKIE;
use tests::{Browser, Buyer, Chat, Seller, TestApp, people::PASSWORD};

use crate::{clients::with_packages, journey::with_libraries};

async fn run(mut command: Command) -> Output {
    command.stdin(Stdio::null());
    tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap()
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[tokio::test]
async fn the_reference_is_here_and_forbids_itself_everything_else() {
    let app = TestApp::start().await;
    let page = app.browser().get("/docs").await;
    page.expect(200);
    let policy = page.header("content-security-policy").unwrap();
    for rule in ["default-src 'none'", "script-src 'self';", "connect-src 'self'", "frame-ancestors 'none'"] {
        assert!(policy.contains(rule), "{policy}");
    }
    let script = app.browser().get("/docs/swagger-ui-bundle.js").await;
    script.expect(200);
    assert_eq!(script.header("content-type"), Some("text/javascript; charset=utf-8"));
    let etag = script.header("etag").unwrap().to_owned();
    let again = app.browser().get("/docs/swagger-ui-bundle.js").header("if-none-match", &etag).await;
    assert_eq!((again.status, again.body.len()), (304, 0));
    let zipped =
        app.browser().get("/docs/swagger-ui-bundle.js").header("accept-encoding", "gzip").unchecked().await;
    assert_eq!(zipped.header("content-encoding"), Some("gzip"));
    assert!(zipped.body.len() < 600_000 && script.body.len() > 1_000_000);
    for nothing in ["/docs/nothing.js", "/docs/..%2fopenapi.yaml", "/docs/swagger-ui.js"] {
        app.browser().get(nothing).unchecked().await.refused(404, "route_not_found");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reference_shows_every_call_in_a_browser_and_tries_them_on_this_server() {
    let app = TestApp::start().await;
    let bob = app.seller("bob").await;
    bob.product("Brass lamp", "49.90", 10).await;
    let picture = app.home().join("docs.png");
    let world = json!({
        "api": app.base, "token": bob.token, "shop": bob.id.hex(), "picture": picture,
        "cookies": [{ "name": SELLER_COOKIE, "value": bob.token, "url": app.base, "httpOnly": true }],
    });
    let mut node = Command::new("node");
    node.arg("docs.mjs").current_dir(with_libraries().await).env("SOUK_WORLD", world.to_string());
    let output = run(node).await;
    assert!(output.status.success() && said(&output).contains("all held"), "{}", said(&output));
}

fn guide() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    std::fs::read_to_string(root.join("docs/INTEGRATING.md")).unwrap()
}

/// All examples in one language, one after the other, as a reader would type them.
fn examples(language: &str) -> String {
    let mut program = String::new();
    let mut inside = false;
    for line in guide().lines() {
        match line.strip_prefix("```") {
            Some(fence) => inside = !inside && fence == language,
            None if inside => program.push_str(&format!("{line}\n")),
            None => {}
        }
    }
    assert!(program.lines().count() > 40, "the guide has hardly any {language}");
    program
}

/// A market that the examples speak to, and a directory for each to run in.
struct Reader {
    app: TestApp,
    chat: Chat,
    ann: Buyer,
    bob: Seller,
    directory: PathBuf,
}

impl Reader {
    async fn new(language: &str) -> Self {
        let app = TestApp::start().await;
        let (ann, bob) = (app.buyer("ann").await, app.seller("bob").await);
        bob.product("Brass lamp", "49.90", 10).await;
        let chat = app.chat().await;
        let directory = app.home().join(format!("guide-{language}"));
        std::fs::create_dir_all(&directory).unwrap();
        Self { app, chat, ann, bob, directory }
    }

    async fn follow(&self, mut command: Command) -> String {
        command
            .env("SOUK_API", &self.app.base)
            .env("SOUK_CHAT", format!("http://{}", self.chat.address))
            .env("SOUK_BUYER", &self.ann.email)
            .env("SOUK_SELLER", &self.bob.email)
            .env("SOUK_PASSWORD", PASSWORD);
        let output = run(command).await;
        assert!(output.status.success(), "{}", said(&output));
        said(&output)
    }

    /// Everything that the guide promises has happened, once.
    async fn has_done_all(&self) {
        let count = async |collection: &str, filter: Document| {
            self.app.db.raw::<Document>(collection).count_documents(filter).await.unwrap()
        };
        assert_eq!(count("orders", doc! { "user._id": self.ann.id.hex() }).await, 1, "orders");
        assert!(count("messages", doc! { "sender": self.ann.id.hex() }).await >= 1, "messages");
        let hooks: Value = Browser::clone(&self.bob).get("/api/webhooks").await.expect(200);
        assert_eq!(hooks["webhooks"].as_array().unwrap().len(), 1);
        assert_eq!(count("webhookdeliveries", doc! { "kind": "webhook.test" }).await, 1, "tests");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_guides_javascript_runs_as_it_stands() {
    let libraries = with_libraries().await;
    let reader = Reader::new("js").await;
    let program = libraries.join(format!("guide-{}.mjs", shared::id::Id::<()>::new()));
    // Beside the libraries that it imports.
    std::fs::write(&program, examples("js")).unwrap();
    let mut node = Command::new("node");
    node.arg(&program).current_dir(&reader.directory);
    let told = reader.follow(node).await;
    std::fs::remove_file(program).unwrap();
    for line in ["signed in as ann", "Brass lamp", "ordered", "Is it bright?", "webhook.test is genuine"] {
        assert!(told.contains(line), "{line} is not in:\n{told}");
    }
    reader.has_done_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_guides_python_runs_as_it_stands() {
    let packages = Path::new(env!("CARGO_MANIFEST_DIR")).join("python");
    with_packages(&packages).await;
    let reader = Reader::new("python").await;
    let program = reader.directory.join("guide.py");
    std::fs::write(&program, examples("python")).unwrap();
    let mut python = Command::new("python3");
    python.arg(program).env("PYTHONPATH", packages.join("packages"));
    let told = reader.follow(python).await;
    for line in ["signed in as ann", "Brass lamp", "ordered", "Is it bright?", "webhook.test is genuine"] {
        assert!(told.contains(line), "{line} is not in:\n{told}");
    }
    reader.has_done_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_guides_curl_runs_as_it_stands() {
    let reader = Reader::new("sh").await;
    let program = reader.directory.join("guide.sh");
    // Any failure ends it, also in the middle of a pipe.
    std::fs::write(&program, format!("set -euo pipefail\n{}", examples("sh"))).unwrap();
    let mut bash = Command::new("bash");
    bash.arg(program).current_dir(&reader.directory);
    let told = reader.follow(bash).await;
    for line in ["signed in as ann", "Brass lamp", "ordered", "Is it bright?", "genuine", "forged"] {
        assert!(told.contains(line), "{line} is not in:\n{told}");
    }
    reader.has_done_all().await;
}

#[test]
fn a_stranger_finds_the_guide_and_the_reference_in_the_readme() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let readme = std::fs::read_to_string(root.join("README.md")).unwrap();
    let first_screens: String = readme.lines().take(60).collect::<Vec<_>>().join("\n");
    for link in ["(docs/INTEGRATING.md)", "/docs"] {
        assert!(first_screens.contains(link), "{link}");
    }
}
