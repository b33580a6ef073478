//! Jobs of the outbox that were given up: seen, and put back.

use std::{
    process::{ExitStatus, Stdio},
    time::{Duration, Instant},
};

use api::dead_letters::{Which, counts, list, retry};
use bson::{Document, doc};
use futures_util::future::join_all;
use shared::{
    clock::plus,
    id::Id,
    model::{Outbox, OutboxJob},
};
use tests::{Browser, TestApp};
use tokio::process::Command;

use crate::{crash::Process, mail::outbox_is_empty};

/// What must not be shown: whoever has the link has the account.
const SECRET: &str = "http://localhost:5173/activation/wonderfully-secret";

/// A mail to that name, given up or (tried that often) waiting.
async fn letter(app: &TestApp, to: &str, dead: bool, attempts: i32, due_in: i64) -> Id<Outbox> {
    let now = app.clock.now();
    let job = Outbox {
        id: Id::new(),
        job: OutboxJob::Mail {
            to: format!("{to}@example.com"),
            subject: "Hello".to_owned(),
            text: format!("Hello,\n\n{SECRET}\n"),
            html: None,
            unsubscribe: None,
        },
        due_at: plus(now, due_in),
        attempts,
        last_error: dead.then(|| "451 4.7.1 try\r\n\u{1b}[31mlater".to_owned()),
        dead,
        created_at: plus(now, -7_200_000),
        request: None,
        trace: None,
    };
    app.db.of::<Outbox>().insert_one(&job).await.unwrap();
    job.id
}

#[tokio::test]
async fn a_dead_letter_is_listed_retried_and_carried_out() {
    let app = TestApp::start().await;
    let id = letter(&app, "ann", true, 12, 0).await;
    let other = letter(&app, "bob", true, 12, 0).await;
    letter(&app, "eve", false, 3, 3_600_000).await;
    let now = app.clock.now();
    let stands = counts(&app.db, now).await.unwrap();
    assert_eq!((stands.dead, stands.waiting, stands.overdue), (2, 1, 0));
    let dead = list(&app.db, true, 10).await.unwrap();
    assert_eq!(dead.iter().map(|job| job.id).collect::<Vec<_>>(), [id, other]);
    assert_eq!((dead[0].kind.as_str(), dead[0].attempts), ("mail", 12));
    assert_eq!(dead[0].last_error.as_deref(), Some("451 4.7.1 try   [31mlater"));
    assert!(!format!("{dead:?}").contains("wonderfully"), "{dead:?}");
    // Many at once, and again: put back once, done once.
    let tries = join_all((0..20).map(|_| retry(&app.db, Which::One(id), now))).await;
    assert_eq!(tries.into_iter().map(Result::unwrap).sum::<u64>(), 1);
    app.mails().await_mail_to("ann@example.com").await;
    assert_eq!(retry(&app.db, Which::One(id), now).await.unwrap(), 0);
    assert_eq!(retry(&app.db, Which::All, now).await.unwrap(), 1);
    app.mails().await_mail_to("bob@example.com").await;
    app.clock.advance(3_700_000);
    outbox_is_empty(&app).await;
    for to in ["ann", "bob", "eve"] {
        assert_eq!(app.mails().count_to(&format!("{to}@example.com")), 1);
    }
}

#[tokio::test]
async fn a_retried_job_that_fails_again_has_all_its_tries_before_it_is_given_up() {
    let app = TestApp::start().await;
    app.mails().refuse(1);
    let id = letter(&app, "ann", true, 12, 0).await;
    assert_eq!(retry(&app.db, Which::All, app.clock.now()).await.unwrap(), 1);
    let begun = Instant::now();
    // Five seconds, which no lease is.
    let pause = doc! { "$gt": app.clock.now(), "$lt": plus(app.clock.now(), 30_000) };
    let failed = doc! { "_id": id, "attempts": 1, "dead": false, "dueAt": pause };
    while app.db.of::<Outbox>().find_one(failed.clone()).await.unwrap().is_none() {
        assert!(begun.elapsed() < Duration::from_secs(20), "the failure is not noted");
    }
    app.clock.advance(10_000);
    app.mails().await_mail_to("ann@example.com").await;
}

#[tokio::test]
async fn a_job_that_took_its_worker_down_on_its_last_try_is_given_up_and_can_be_put_back() {
    let app = TestApp::start().await;
    // Twelve tries, and the last lease is over without a note.
    let id = letter(&app, "ann", false, 12, -1).await;
    let begun = Instant::now();
    while counts(&app.db, app.clock.now()).await.unwrap().dead == 0 {
        assert!(begun.elapsed() < Duration::from_secs(20), "it is never given up");
    }
    assert_eq!(app.mails().count_to("ann@example.com"), 0);
    let job = &list(&app.db, true, 10).await.unwrap()[0];
    assert_eq!((job.id, job.last_error.as_deref()), (id, Some("the last try never ended")));
    assert_eq!(retry(&app.db, Which::One(id), app.clock.now()).await.unwrap(), 1);
    app.mails().await_mail_to("ann@example.com").await;
}

#[tokio::test]
async fn what_is_overdue_is_counted_from_when_it_was_due() {
    let database = tests::mongo::TestDatabase::new().await;
    let db = shared::db::Db::connect(&database.uri, "souk-test").await.unwrap();
    let now = bson::DateTime::from_millis(1_800_000_000_000);
    let job = |due_in| Outbox {
        id: Id::new(),
        job: OutboxJob::DeleteMedia { public_id: "x".to_owned() },
        due_at: plus(now, due_in),
        attempts: 0,
        last_error: None,
        dead: false,
        created_at: now,
        request: None,
        trace: None,
    };
    db.of::<Outbox>().insert_many([job(-5_000), job(-90_000), job(1)]).await.unwrap();
    let stands = counts(&db, now).await.unwrap();
    assert_eq!((stands.waiting, stands.dead, stands.overdue), (3, 0, 90_000));
}

/// The real command on the test's database.
async fn souk(app: &TestApp, arguments: &[&str]) -> (ExitStatus, String) {
    souk_with(app, arguments, &[]).await
}

/// The same with more settings.
pub(crate) async fn souk_with(
    app: &TestApp,
    arguments: &[&str],
    settings: &[(&str, &str)],
) -> (ExitStatus, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_souk-under-test"))
        .args(arguments)
        .env_clear()
        .env("DB_URL", app.database_uri())
        .env("PORT", "0")
        .env("CHAT_PORT", "0")
        .env("SOUK_HOME", app.home())
        .envs(settings.iter().copied())
        .current_dir(app.home())
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(!said.contains("wonderfully") && !said.contains('\u{1b}'), "{said}");
    (output.status, said)
}

#[tokio::test]
async fn the_command_lists_dead_letters_and_puts_them_back_and_the_doctor_tells_of_them() {
    let app = TestApp::start().await;
    let (ended, said) = souk(&app, &["outbox"]).await;
    assert!(ended.success() && said.contains("0 given up, 0 waiting"), "{said}");
    let ids = [letter(&app, "ann", true, 12, 0).await, letter(&app, "bob", true, 3, 0).await];
    let (ended, said) = souk(&app, &["doctor"]).await;
    assert!(ended.success() && said.contains("2 jobs of the outbox were given up"), "{said}");
    assert!(said.contains("451 4.7.1") && said.contains(&ids[0].hex()), "{said}");
    let (ended, said) = souk(&app, &["outbox"]).await;
    assert!(ended.success() && said.contains("2 given up, 0 waiting"), "{said}");
    let line = said.lines().find(|line| line.contains(&ids[1].hex())).unwrap();
    for part in ["given up", "mail", "3 tries", "2 h", "451 4.7.1"] {
        assert!(line.contains(part), "{line}");
    }
    let (ended, said) = souk(&app, &["outbox", "retry", &ids[1].hex()]).await;
    assert!(ended.success() && said.contains("One job"), "{said}");
    app.mails().await_mail_to("bob@example.com").await;
    let (ended, said) = souk(&app, &["outbox", "retry", &ids[1].hex()]).await;
    assert!(!ended.success() && said.contains("not among"), "{said}");
    for bad in [&["outbox", "retry"][..], &["outbox", "retry", "x"], &["outbox", "retry", "x", "--all"]] {
        assert!(!souk(&app, bad).await.0.success(), "{bad:?}");
    }
    let (ended, said) = souk(&app, &["outbox", "retry", "--all"]).await;
    assert!(ended.success() && said.contains("One job"), "{said}");
    app.mails().await_mail_to("ann@example.com").await;
    outbox_is_empty(&app).await;
    let (ended, said) = souk(&app, &["doctor"]).await;
    assert!(ended.success() && said.contains("no job of the outbox was given up"), "{said}");
    let retried = doc! { "action": "retry_dead_letters", "done": true, "actor.kind": "system" };
    assert_eq!(app.db.raw::<Document>("auditlog").count_documents(retried).await.unwrap(), 2);
}

#[tokio::test]
async fn dead_letters_are_a_metric() {
    let app = TestApp::start().await;
    letter(&app, "ann", true, 12, 0).await;
    letter(&app, "bob", false, 1, 3_600_000).await;
    let process = Process::start(&app).await;
    let there = Browser::new(&process.base);
    let begun = Instant::now();
    loop {
        let metrics = there.get("/metrics").await;
        let metrics = metrics.text();
        let has = |line: &str| metrics.lines().any(|found| found == line);
        if has("outbox_jobs{state=\"dead\"} 1") && has("outbox_jobs{state=\"waiting\"} 1") {
            assert!(has("outbox_overdue_seconds 0"), "{metrics}");
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "{metrics}");
    }
}
