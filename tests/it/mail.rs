//! Mail, and the outbox that it waits in until it is sent.

use std::time::{Duration, Instant};

use bson::doc;
use shared::{
    clock::plus,
    id::Id,
    model::{Outbox, OutboxJob, WebhookDelivery},
};
use tests::TestApp;

/// A job that is not done by now will not be.
const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until the outbox looks as wanted, asking the database again and again.
async fn until(app: &TestApp, what: &str, filter: bson::Document, wanted: u64) {
    let start = Instant::now();
    loop {
        let count = app.db.of::<Outbox>().count_documents(filter.clone()).await.unwrap();
        if count == wanted {
            return;
        }
        assert!(start.elapsed() < PATIENCE, "{what}: {count} jobs, not {wanted}");
    }
}

/// Waits until everything has been carried out but what was given up, which waits for somebody.
pub async fn outbox_is_empty(app: &TestApp) {
    until(app, "the outbox does not become empty", doc! { "dead": false }, 0).await;
    webhooks_are_delivered(app).await;
}

/// Waits until nothing is on its way to any webhook.
pub async fn webhooks_are_delivered(app: &TestApp) {
    let (deliveries, begun) = (app.db.of::<WebhookDelivery>(), Instant::now());
    while deliveries.count_documents(doc! { "state": "waiting" }).await.unwrap() > 0 {
        assert!(begun.elapsed() < PATIENCE, "webhooks are not delivered");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Waits until nothing but refunds is left to do.
pub async fn letters_are_out(app: &TestApp) {
    let others = doc! { "job.kind": { "$ne": "refund" } };
    until(app, "letters do not go out", others, 0).await;
}

/// Waits until everything has been carried out but what is only due much later, such as the deletion of
/// pictures that nobody may ever use.
pub async fn nothing_is_due(app: &TestApp) {
    let soon = doc! { "dueAt": { "$lt": plus(app.clock.now(), 20 * 60_000) } };
    until(app, "what is due is not done", soon, 0).await;
}

fn mail(to: &str) -> OutboxJob {
    OutboxJob::Mail {
        to: to.to_owned(),
        subject: "Activate your account".to_owned(),
        text: "Hello Ann,\n\nhttp://localhost:5173/activation/abc\n".to_owned(),
        html: None,
        unsubscribe: None,
    }
}

async fn only_job(app: &TestApp) -> Outbox {
    app.db.of::<Outbox>().find_one(doc! {}).await.unwrap().unwrap()
}

#[tokio::test]
async fn a_mail_goes_out_from_our_address_and_leaves_the_outbox() {
    let app = TestApp::start().await;
    app.inside().outbox.add(mail("Ann@example.com")).await.unwrap();
    let arrived = app.mails().await_mail_to("ann@example.com").await;
    assert_eq!(arrived.subject(), "Activate your account");
    assert_eq!(arrived.link("/activation/"), "http://localhost:5173/activation/abc");
    assert_eq!((arrived.from.as_str(), arrived.login.as_deref()), ("souk@mail.test", Some("souk@mail.test")));
    assert_eq!(arrived.header("From").as_deref(), Some("Souk <souk@mail.test>"));
    assert_eq!(arrived.header("To").as_deref(), Some("Ann@example.com"));
    let id = arrived.header("Message-ID").unwrap();
    assert!(id.starts_with('<') && id.ends_with("@mail.test>"), "{id}");
    outbox_is_empty(&app).await;
    assert_eq!(app.mails().count_to("ann@example.com"), 1);
}

#[tokio::test]
async fn a_mail_in_any_script_arrives_as_it_was_written() {
    let app = TestApp::start().await;
    let text = "Grüße, 你好, مرحبا\n.\n..\nend";
    let job = OutboxJob::Mail {
        to: "ann@example.com".into(),
        subject: "Grüße".into(),
        text: text.into(),
        html: None,
        unsubscribe: None,
    };
    app.inside().outbox.add(job).await.unwrap();
    let arrived = app.mails().await_mail_to("ann@example.com").await;
    assert_eq!(arrived.text().replace('\r', "").trim(), text);
}

#[tokio::test]
async fn a_refused_mail_is_sent_later() {
    let app = TestApp::start().await;
    app.mails().refuse(1);
    app.inside().outbox.add(mail("ann@example.com")).await.unwrap();
    until(&app, "the failure is not noted", doc! { "lastError": { "$type": "string" } }, 1).await;
    let job = only_job(&app).await;
    assert_eq!((job.attempts, job.dead), (1, false));
    assert!(job.due_at > app.clock.now(), "it waits before the next try");
    assert_eq!(app.mails().count_to("ann@example.com"), 0);
    app.clock.advance(10_000);
    app.mails().await_mail_to("ann@example.com").await;
    outbox_is_empty(&app).await;
}

#[tokio::test]
async fn after_twelve_tries_an_operator_has_to_look() {
    let app = TestApp::start().await;
    app.mails().refuse(100);
    app.inside().outbox.add(mail("ann@example.com")).await.unwrap();
    for attempt in 1..=12 {
        // 5 s, doubling, an hour at most. Neither the minute of a lease nor the note of another try
        // lies in this range, so what is seen is the note of this try.
        let pause = (5_000_i64 << (attempt - 1)).min(3_600_000);
        let (from, to) = (plus(app.clock.now(), pause - 4_000), plus(app.clock.now(), pause + 15_000));
        let noted = doc! {
            "attempts": attempt, "dead": attempt == 12, "lastError": { "$type": "string" },
            "dueAt": { "$gte": from, "$lt": to },
        };
        until(&app, "the next try is not noted", noted, 1).await;
        app.clock.advance(3_700_000);
        app.inside().outbox.wake();
    }
    let job = only_job(&app).await;
    assert_eq!((job.attempts, job.dead), (12, true));
    assert!(job.last_error.unwrap().contains("451"));
}

#[tokio::test]
async fn what_will_never_succeed_is_not_tried_again() {
    let app = TestApp::start().await;
    for to in ["nobody", "ann@example.com\r\nBcc: eve@example.com", "ann@example.com,eve@example.com"] {
        app.inside().outbox.add(mail(to)).await.unwrap();
    }
    until(&app, "bad addresses are not given up", doc! { "dead": true, "attempts": 1 }, 3).await;
    assert!(app.mails().all().is_empty());
}

#[tokio::test]
async fn one_bad_job_does_not_hold_up_the_others() {
    let app = TestApp::start().await;
    app.inside().outbox.add(mail("nobody")).await.unwrap();
    app.inside().outbox.add(mail("ann@example.com")).await.unwrap();
    app.mails().await_mail_to("ann@example.com").await;
}

#[tokio::test]
async fn two_nodes_send_every_mail_once() {
    let app = TestApp::start().await;
    let _node = app.another_node().await;
    // Written down by a transaction that woke nobody here: both nodes find them.
    let now = app.clock.now();
    let jobs: Vec<Outbox> = (0..40)
        .map(|number| Outbox {
            id: Id::new(),
            job: mail(&format!("person{number}@example.com")),
            due_at: now,
            attempts: 0,
            last_error: None,
            dead: false,
            created_at: now,
            request: None,
            trace: None,
        })
        .collect();
    app.db.of::<Outbox>().insert_many(jobs).await.unwrap();
    outbox_is_empty(&app).await;
    let mut people: Vec<String> = app.mails().all().into_iter().flat_map(|mail| mail.to).collect();
    people.sort();
    let sent = people.len();
    people.dedup();
    assert_eq!((sent, people.len()), (40, 40));
}

#[tokio::test]
async fn a_job_whose_worker_died_is_taken_over_when_its_lease_ends() {
    let app = TestApp::start().await;
    let now = app.clock.now();
    let leased = Outbox {
        id: Id::new(),
        job: mail("ann@example.com"),
        due_at: plus(now, 60_000),
        attempts: 1,
        last_error: None,
        dead: false,
        created_at: now,
        request: None,
        trace: None,
    };
    app.db.of::<Outbox>().insert_one(leased).await.unwrap();
    // The worker is awake and sees to this one, but not to the other.
    app.inside().outbox.add(mail("bob@example.com")).await.unwrap();
    app.mails().await_mail_to("bob@example.com").await;
    assert_eq!(app.mails().count_to("ann@example.com"), 0);
    app.clock.advance(61_000);
    app.mails().await_mail_to("ann@example.com").await;
    outbox_is_empty(&app).await;
}

#[tokio::test]
async fn a_restart_loses_nothing_and_sends_nothing_twice() {
    let mut app = TestApp::start().await;
    for number in 0..20 {
        app.inside().outbox.add(mail(&format!("person{number}@example.com"))).await.unwrap();
    }
    app.restart().await;
    outbox_is_empty(&app).await;
    assert_eq!(app.mails().all().len(), 20);
    for number in 0..20 {
        assert_eq!(app.mails().count_to(&format!("person{number}@example.com")), 1);
    }
}

#[tokio::test]
async fn without_a_mail_server_mails_are_files() {
    let app = TestApp::with(&[("SMTP_HOST", "")]).await;
    app.inside().outbox.add(mail("ann@example.com")).await.unwrap();
    outbox_is_empty(&app).await;
    let files: Vec<_> =
        std::fs::read_dir(app.home().join("outbox")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    assert_eq!(files[0].extension().unwrap(), "eml");
    let text = std::fs::read_to_string(&files[0]).unwrap();
    for part in ["To: ann@example.com", "From: Souk <souk@localhost>", "http://localhost:5173/activation/abc"]
    {
        assert!(text.contains(part), "{text}");
    }
}
