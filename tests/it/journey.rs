//! The whole story of one buyer and two sellers, told by the real JavaScript clients in `tests/js` to the real program, as
//! `cargo run` starts it: its own MongoDB, both servers, demo data. Mail is read from a real SMTP conversation. Once with
//! everything on one origin, once as the client is developed, across two origins and without cookies on half its calls. And
//! a story of cards and PayPal, after which the books are counted.

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::json;
use shared::clock::{Clock, iso};
use tests::{Browser, mail::MailServer};
use tokio::sync::OnceCell;
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate, matchers::method};

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_story_on_one_origin() {
    let program = Program::start(|program| {
        std::fs::create_dir(program.home.join("client")).unwrap();
        std::fs::write(program.home.join("client/index.html"), PAGE).unwrap();
        vec![("AUTH_MODE", "strict".to_owned()), ("SPA_DIR", "client".to_owned())]
    })
    .await;
    // The client's pages come from the same address as its data.
    let page = Browser::new(&program.api).get("/profile").header("accept", "text/html").await;
    assert_eq!((page.status, page.text().as_str()), (200, PAGE));
    program.tell("journey.mjs", "one-origin").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_story_across_two_origins() {
    // Nothing is set: AUTH_MODE is auto, and the client is expected where its development server runs.
    Program::start(|_| vec![]).await.tell("journey.mjs", "cross-origin").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cards_and_paypal_from_the_first_click_to_the_last_refund() {
    let program = Program::start(|_| {
        let settings = [
            ("AUTH_MODE", "strict"),
            ("ADMIN_EMAIL", ADMIN.0),
            ("ADMIN_PASSWORD", ADMIN.1),
            ("PAYMENT_VERIFY_TTL", "0"),
        ];
        settings.map(|(name, value)| (name, value.to_owned())).to_vec()
    })
    .await;
    program.tell("payments.mjs", "one-origin").await;
    program.settled().await;
    let (clean, proof) = program.run(&["prove"]).await;
    assert!(clean, "{proof}");
    let (_, said) = program.run(&["reconcile", "--day", &program.began]).await;
    let found: Vec<&str> = said.lines().filter(|line| line.starts_with("  - ")).collect();
    // What an administrator vouched for, because it went to an account that is not ours.
    let is_expected = |line: &&str| line.starts_with("  - we have a payment ELSEWHERE1 ");
    assert!(found.iter().all(is_expected) && found.len() < 2, "{said}");
}

/// The administrator of the settings.
const ADMIN: (&str, &str) = ("root@example.com", "battery staple");

/// What a build of the client comes down to: one page for every address.
const PAGE: &str = "<!doctype html><title>shop</title><div id=\"root\"></div>";

/// How long a start may take; it includes fetching MongoDB where there is none.
const PATIENCE: Duration = Duration::from_secs(300);

/// The running program, in a directory of its own. Gone when it is dropped.
struct Program {
    home: PathBuf,
    api: String,
    chat: String,
    mails: Arc<MailServer>,
    child: Option<Child>,
    /// The day on which it was started, in UTC.
    began: String,
}

impl Program {
    /// Starts it with settings besides, and waits until both servers answer.
    async fn start(settings: impl FnOnce(&Self) -> Vec<(&'static str, String)>) -> Self {
        let mails = Arc::new(MailServer::start().await);
        let (port, chat_port) = free_ports();
        let home = std::env::temp_dir().join(format!("souk-journey-{}-{port}", std::process::id()));
        std::fs::create_dir(&home).unwrap();
        let mut program = Self {
            home,
            // As a person types it, and as the client is built: cookies belong to a host, whatever the port.
            api: format!("http://localhost:{port}"),
            chat: format!("http://localhost:{chat_port}"),
            mails,
            child: None,
            began: iso(Clock::default().now()).chars().take(10).collect(),
        };
        let log = std::fs::File::create(program.home.join("log")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_souk-under-test"))
            .current_dir(&program.home)
            .env_remove("DB_URL")
            .env_remove("MONGODB_URI")
            .env("PORT", port.to_string())
            .env("CHAT_PORT", chat_port.to_string())
            .env("SMTP_HOST", program.mails.address().ip().to_string())
            .env("SMTP_PORT", program.mails.address().port().to_string())
            .envs(settings(&program))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        program.child = Some(child);
        program.ready().await;
        program
    }

    async fn ready(&mut self) {
        rustls::crypto::ring::default_provider().install_default().ok();
        let client = reqwest::Client::new();
        let deadline = Instant::now() + PATIENCE;
        for address in [format!("{}/readyz", self.api), format!("{}/healthz", self.chat)] {
            while !client.get(&address).send().await.is_ok_and(|answer| answer.status().is_success()) {
                let ended = self.child.as_mut().unwrap().try_wait().unwrap();
                assert!(ended.is_none(), "the program ended ({ended:?}):\n{}", self.log());
                assert!(Instant::now() < deadline, "{address} does not answer:\n{}", self.log());
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.home.join("log")).unwrap_or_default()
    }

    /// One of its commands, beside it: whether it succeeded, and all it said.
    async fn run(&self, arguments: &[&str]) -> (bool, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_souk-under-test"));
        command.args(arguments).current_dir(&self.home).env_remove("DB_URL").env_remove("MONGODB_URI");
        run(command).await
    }

    /// Waits until all money that is to go back has gone back.
    async fn settled(&self) {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let (_, outbox) = self.run(&["outbox"]).await;
            if !outbox.contains(" refund ") {
                return;
            }
            assert!(Instant::now() < deadline, "{outbox}");
        }
    }

    /// Has the JavaScript clients tell their story, to its end.
    async fn tell(&self, script: &str, mode: &str) {
        let directory = with_libraries().await;
        let letters = MockServer::builder().start().await;
        Mock::given(method("GET")).respond_with(Letters(Arc::clone(&self.mails))).mount(&letters).await;
        let mut node = Command::new("node");
        node.arg(script)
            .current_dir(directory)
            .env("SOUK_MODE", mode)
            .env("SOUK_API", &self.api)
            .env("SOUK_CHAT", &self.chat)
            .env("SOUK_MAIL_API", letters.uri())
            .env("SOUK_ADMIN_EMAIL", ADMIN.0)
            .env("SOUK_ADMIN_PASSWORD", ADMIN.1)
            .env_remove("SOUK_MAIL_DIR")
            .env_remove("SOUK_CLIENT_ORIGIN");
        let (told, story) = run(node).await;
        println!("{story}");
        let whole = told && story.trim_end().ends_with(" passed, 0 failed");
        let log = self.log();
        assert!(whole, "the story ended early. What the program said:\n{log}");
        assert!(!log.contains(ADMIN.1), "{log}");
        assert_eq!(tests::log::secret_in(&log), None);
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Its database dies with it.
            child.kill().ok();
            child.wait().ok();
        }
        std::fs::remove_dir_all(&self.home).ok();
    }
}

/// Two ports that nobody uses. Both are held until both are known, so that they differ.
fn free_ports() -> (u16, u16) {
    let held = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let [first, second] = held.map(|listener| listener.local_addr().unwrap().port());
    (first, second)
}

/// Runs a command to its end: whether it succeeded, and all it said.
async fn run(mut command: Command) -> (bool, String) {
    command.stdin(Stdio::null());
    let what = format!("{:?}", command.get_program());
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap();
    let output = output.unwrap_or_else(|error| panic!("{what} could not be run: {error}"));
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.success(), said)
}

/// The directory of the JavaScript clients, their libraries installed as the lock file says.
pub async fn with_libraries() -> &'static Path {
    static READY: OnceCell<PathBuf> = OnceCell::const_new();
    READY
        .get_or_init(|| async {
            let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("js");
            let version = Command::new("node").arg("--version").output();
            let version = version.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
            assert!(
                version.as_ref().is_ok_and(|version| is_recent(version)),
                "the tests with the real JavaScript clients need Node 20 or newer with npm on the PATH; found {version:?}"
            );
            if !is_installed(&directory) {
                let mut npm = Command::new("npm");
                npm.args(["ci", "--no-audit", "--no-fund"]).current_dir(&directory);
                let (installed, said) = run(npm).await;
                assert!(installed, "npm could not install the JavaScript clients:\n{said}");
            }
            directory
        })
        .await
}

/// Whether npm has installed what the lock file says, and not an older one.
fn is_installed(directory: &Path) -> bool {
    let written = |path: &str| std::fs::metadata(directory.join(path)).and_then(|about| about.modified());
    match (written("node_modules/.package-lock.json"), written("package-lock.json")) {
        (Ok(installed), Ok(wanted)) => installed >= wanted,
        _ => false,
    }
}

/// `v20.15.1`
fn is_recent(version: &str) -> bool {
    let major = version.trim().trim_start_matches('v').split('.').next();
    major.and_then(|major| major.parse::<u32>().ok()).is_some_and(|major| major >= 20)
}

/// Hands the mails that came over SMTP to the story: `?to=<address>` gives the whole messages.
struct Letters(Arc<MailServer>);

impl Respond for Letters {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let to = request.url.query_pairs().find(|(name, _)| name == "to").map(|(_, to)| to.to_lowercase());
        let found =
            self.0.all().into_iter().filter(|mail| to.as_ref().is_some_and(|to| mail.to.contains(to)));
        ResponseTemplate::new(200).set_body_json(json!(found.map(|mail| mail.raw).collect::<Vec<_>>()))
    }
}
