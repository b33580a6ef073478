//! The process as an operator meets it: started, asked, interrupted, killed. Here and not among the other black-box
//! tests because cargo hands a binary only to tests of its own package.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    process::{Child, ChildStdout, Command},
};

const PATIENCE: Duration = Duration::from_secs(60);

/// A working directory of its own, so that no `.env` of the developer's is read.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("souk-process-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// The command in this place, with nothing set but what is given and what it takes to find programs.
    fn souk(&self, arguments: &[&str], settings: &[(&str, &str)]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_souk"));
        command.args(arguments).current_dir(&self.0).env_clear().kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        for (name, value) in
            std::env::vars().filter(|(name, _)| matches!(name.as_str(), "PATH" | "HOME" | "XDG_CACHE_HOME"))
        {
            command.env(name, value);
        }
        command.env("BCRYPT_COST", "4").env("DEMO", "off").envs(settings.iter().copied());
        command
    }

    async fn answer(&self, arguments: &[&str], settings: &[(&str, &str)]) -> (ExitStatus, String) {
        let running = self.souk(arguments, settings).output();
        let output = tokio::time::timeout(PATIENCE, running).await.expect("souk ends").unwrap();
        let text =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        (output.status, text)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

/// Two ports that nobody uses at the moment.
fn free_ports() -> (String, String) {
    let one = TcpListener::bind("127.0.0.1:0").unwrap();
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = |listener: &TcpListener| listener.local_addr().unwrap().port().to_string();
    (port(&one), port(&other))
}

struct Running {
    child: Child,
    stdout: BufReader<ChildStdout>,
    banner: String,
    mongod: u32,
}

/// Starts everything and waits for the banner.
async fn start(place: &Place, ports: &(String, String)) -> Running {
    let mut child = place.souk(&[], &[("PORT", &ports.0), ("CHAT_PORT", &ports.1)]).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut banner = String::new();
    let reading = async {
        while !banner.contains("Sessions") {
            assert_ne!(stdout.read_line(&mut banner).await.unwrap(), 0, "no banner: {banner}");
        }
    };
    if tokio::time::timeout(PATIENCE, reading).await.is_err() {
        panic!("no banner in time: {banner}");
    }
    let mongod = mongod_on(&place.0.join(".souk/db")).expect("a mongod runs");
    Running { child, stdout, banner, mongod }
}

/// The `mongod` that works on this directory.
fn mongod_on(data: &Path) -> Option<u32> {
    let data = data.canonicalize().ok()?;
    std::fs::read_dir("/proc").unwrap().flatten().find_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let command = std::fs::read(entry.path().join("cmdline")).ok()?;
        let mut words = command.split(|byte| *byte == 0).map(String::from_utf8_lossy);
        words.any(|word| Path::new(word.as_ref()) == data).then_some(pid)
    })
}

fn signal(name: &str, pid: u32) {
    let sent = std::process::Command::new("kill").args([name, &pid.to_string()]).status().unwrap();
    assert!(sent.success());
}

async fn wait_until_gone(pid: u32) {
    let waiting = async {
        while Path::new("/proc").join(pid.to_string()).join("exe").read_link().is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("mongod ends");
}

async fn status(port: &str, path: &str) -> u16 {
    rustls::crypto::ring::default_provider().install_default().ok();
    reqwest::get(format!("http://127.0.0.1:{port}{path}")).await.unwrap().status().as_u16()
}

#[tokio::test]
async fn one_command_serves_and_ctrl_c_ends_it_cleanly_database_last() {
    let (place, ports) = (Place::new("clean"), free_ports());
    let mut running = start(&place, &ports).await;
    assert!(running.banner.contains(&format!("port {}", ports.0)), "{}", running.banner);
    assert!(running.banner.contains("its own MongoDB"), "{}", running.banner);
    assert_eq!(status(&ports.0, "/readyz").await, 200);
    assert_eq!(status(&ports.1, "/readyz").await, 200);

    // Twice, as when a terminal and a wrapper both pass it on: that is one wish.
    signal("-INT", running.child.id().unwrap());
    signal("-INT", running.child.id().unwrap());
    let ended = tokio::time::timeout(PATIENCE, running.child.wait()).await.expect("souk ends").unwrap();
    assert!(ended.success(), "{ended}");
    wait_until_gone(running.mongod).await;
    let lock = std::fs::read(place.0.join(".souk/db/mongod.lock")).unwrap();
    assert!(lock.is_empty(), "mongod was not shut down cleanly");
    // Nothing but the banner goes to standard output.
    let mut rest = String::new();
    running.stdout.read_to_string(&mut rest).await.unwrap();
    assert_eq!(rest.trim(), "");
}

#[tokio::test]
async fn a_killed_souk_takes_its_database_along_and_the_next_one_starts_on_what_is_left() {
    let (place, ports) = (Place::new("killed"), free_ports());
    let mut running = start(&place, &ports).await;
    running.child.kill().await.unwrap();
    wait_until_gone(running.mongod).await;

    let mut again = start(&place, &ports).await;
    assert_eq!(status(&ports.0, "/readyz").await, 200);
    signal("-TERM", again.child.id().unwrap());
    assert!(tokio::time::timeout(PATIENCE, again.child.wait()).await.unwrap().unwrap().success());
}

#[tokio::test]
async fn a_killed_database_comes_back_and_requests_work_again() {
    let (place, ports) = (Place::new("revived"), free_ports());
    let running = start(&place, &ports).await;
    signal("-KILL", running.mongod);
    let revived = async {
        while mongod_on(&place.0.join(".souk/db")).is_none_or(|pid| pid == running.mongod)
            || status(&ports.0, "/readyz").await != 200
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, revived).await.expect("ready again");
}

#[tokio::test]
async fn what_keeps_it_from_starting_is_said_in_a_sentence() {
    let (place, ports) = (Place::new("refused"), free_ports());
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let (ended, said) = place.answer(&[], &[("PORT", &port), ("CHAT_PORT", &ports.1)]).await;
    assert!(!ended.success() && said.contains(&port) && said.contains("PORT"), "{said}");

    let (ended, said) = place.answer(&["api"], &[("PORT", "many")]).await;
    assert!(!ended.success() && said.contains("PORT") && said.contains("many"), "{said}");

    let (ended, said) = place.answer(&["migrate"], &[("DB_URL", "mysql://root@db")]).await;
    assert!(!ended.success() && said.contains("DB_URL") && said.contains("mongodb://"), "{said}");

    let (ended, said) = place.answer(&["api"], &[("APP_ENV", "production")]).await;
    assert!(!ended.success() && said.contains("JWT_SECRET_KEY") && said.contains("DB_URL"), "{said}");
}

#[tokio::test]
async fn migrate_says_what_it_did_and_a_second_time_does_nothing() {
    let place = Place::new("migrate");
    for _ in 0..2 {
        let (ended, said) = place.answer(&["migrate"], &[]).await;
        assert!(ended.success() && said.contains("0 changes made"), "{said}");
    }
}

#[tokio::test]
async fn the_doctor_finds_a_fresh_machine_healthy_and_names_what_is_wrong() {
    let (place, ports) = (Place::new("doctor"), free_ports());
    let base = [("PORT", ports.0.as_str()), ("CHAT_PORT", ports.1.as_str())];
    let (ended, said) = place.answer(&["doctor"], &base).await;
    assert!(ended.success() && said.contains("commits transactions"), "{said}");

    let mut wrong = base.to_vec();
    wrong.extend([
        ("DB_URL", "mongodb://127.0.0.1:1/souk?serverSelectionTimeoutMS=300"),
        ("SMTP_HOST", "127.0.0.1"),
        ("SMTP_PORT", "1"),
        ("STRIPE_SECRET_KEY", "sk_test_x"),
        ("STRIPE_API_BASE", "http://127.0.0.1:1"),
    ]);
    let (ended, said) = place.answer(&["doctor"], &wrong).await;
    assert!(!ended.success(), "{said}");
    for service in ["database", "mail", "stripe"] {
        let bad = |line: &str| line.starts_with("BAD") && line.contains(service);
        assert!(said.lines().any(bad), "{service} is not named:\n{said}");
    }
    assert!(said.contains("3 of these"), "{said}");
}

#[tokio::test]
async fn the_command_makes_an_administrator_once_and_refuses_what_is_weak_or_anothers() {
    let place = Place::new("admin");
    let create = |email: &'static str, password: &'static str| {
        let place = &place;
        async move {
            let settings: &[(&str, &str)] = &[("ADMIN_PASSWORD", password)];
            place.answer(&["admin", "create", email], settings).await
        }
    };
    for weak in ["short", "aaaaaaaaaaaa", "root@example.com", "password1234"] {
        let (status, said) = create("root@example.com", weak).await;
        assert!(!status.success() && said.contains("too weak"), "{weak}: {said}");
    }
    let (status, said) = create("root@example.com", "battery staple").await;
    assert!(status.success() && said.contains("is an administrator now"), "{said}");
    let (status, said) = create("ROOT@example.com", "battery staple").await;
    assert!(status.success() && said.contains("already"), "{said}");
    let (status, said) = create("no address", "battery staple").await;
    assert!(!status.success() && said.contains("ADMIN_EMAIL"), "{said}");
    // From a pipe, as a script gives it.
    let mut piped = place.souk(&["admin", "create", "second@example.com"], &[]);
    let mut running = piped.stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = running.stdin.take().unwrap();
    stdin.write_all(b"correct horse battery\n").await.unwrap();
    drop(stdin);
    let output = tokio::time::timeout(PATIENCE, running.wait_with_output()).await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && said.contains("second@example.com is an administrator now"), "{said}");
    // Nothing at all is no password.
    let (status, said) = place.answer(&["admin", "create", "third@example.com"], &[]).await;
    assert!(!status.success() && said.contains("no password"), "{said}");
}
