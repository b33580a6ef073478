//! What whoever operates it sees: measurements on a port of their own, and lines of the log that tell one story.

use std::{collections::BTreeSet, time::Duration};

use serde_json::{Value, json};
use tests::{Browser, TestApp, people::in_cash};

use crate::crash::{Process, free_port};

/// The value of a line that begins so; lines of one name with other labels are others.
pub fn value(metrics: &str, series: &str) -> Option<f64> {
    let line =
        metrics.lines().find(|line| line.strip_prefix(series).is_some_and(|rest| rest.starts_with(' ')))?;
    line.rsplit_once(' ')?.1.parse().ok()
}

async fn read(port: u16) -> String {
    let answer = reqwest::get(format!("http://127.0.0.1:{port}/metrics")).await.unwrap();
    assert!(answer.headers()["content-type"].to_str().unwrap().starts_with("text/plain; version=0.0.4"));
    answer.text().await.unwrap()
}

/// Until the measurements, which are partly taken every few seconds, are so.
pub async fn read_until(port: u16, is_so: impl Fn(&str) -> bool) -> String {
    let reading = async {
        loop {
            let metrics = read(port).await;
            if is_so(&metrics) {
                return metrics;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    match tokio::time::timeout(Duration::from_secs(30), reading).await {
        Ok(metrics) => metrics,
        Err(_) => panic!("never so: {}", read(port).await),
    }
}

#[tokio::test]
async fn after_real_traffic_the_measurements_say_what_was_done() {
    let app = TestApp::start().await;
    let (ann, bob) = (app.buyer("ann").await, app.seller("bob").await);
    let cup = bob.product("cup", "10", 100).await;
    let port = free_port();
    let process = Process::start_with(&app, &[("METRICS_PORT", &port.to_string())]).await;
    let there = Browser::new(&process.base);
    for _ in 0..3 {
        let order = there.post("/api/order/create-order").bearer(&ann.token).json(&in_cash(&[(&cup, 1)]));
        let order = order.await.expect(201);
        let path = format!("/api/order/get-order/{}", order["orders"][0]["_id"].as_str().unwrap());
        there.get(&path).bearer(&ann.token).await.expect(200);
        there.get(&path).await.expect(401);
        there.get("/api/product/get-all-products").await.expect(200);
    }
    // Whatever anybody makes up is one and the same.
    let client = reqwest::Client::new();
    let before = read(port).await.lines().count();
    for i in 0..200 {
        let method = reqwest::Method::from_bytes(format!("METHOD{i}").as_bytes()).unwrap();
        for path in [format!("/nowhere/{i}"), format!("/api/product/get-product/{i}")] {
            client.request(method.clone(), format!("{}{path}", process.base)).send().await.unwrap();
            client.get(format!("{}{path}", process.base)).send().await.unwrap();
        }
    }
    let metrics = read_until(port, |metrics| value(metrics, "outbox_overdue_seconds").is_some()).await;
    let added = metrics.lines().count() - before;
    assert!(added < 150, "{added} lines more after 800 requests for nothing");

    let requests = |method, route, status: u16| {
        value(
            &metrics,
            &format!("http_requests_total{{method=\"{method}\",route=\"{route}\",status=\"{status}\"}}"),
        )
    };
    assert_eq!(requests("POST", "/api/order/create-order", 201), Some(3.0));
    assert_eq!(requests("GET", "/api/order/get-order/{id}", 200), Some(3.0));
    assert_eq!(requests("GET", "/api/order/get-order/{id}", 401), Some(3.0));
    assert_eq!(requests("GET", "/api/product/get-all-products", 200), Some(3.0));
    assert_eq!(requests("GET", "none", 404), Some(200.0));
    assert_eq!(requests("other", "none", 404), Some(200.0));
    let slow = "http_request_duration_seconds_count{method=\"POST\",route=\"/api/order/create-order\"}";
    assert_eq!(value(&metrics, slow), Some(3.0));
    let bucket =
        "http_request_duration_seconds_bucket{method=\"POST\",route=\"/api/order/create-order\",le=\"+Inf\"}";
    assert_eq!(value(&metrics, bucket), Some(3.0));
    assert_eq!(value(&metrics, "checkout_group_size_count").unwrap(), 3.0);
    assert!(value(&metrics, "database_connections").unwrap() >= 1.0, "{metrics}");
    // The change streams are waiting for news, and hold none meanwhile or one each.
    let used = value(&metrics, "database_connections_used").unwrap();
    assert!((0.0..=20.0).contains(&used), "{used} connections are in use and nobody asks for anything");
    assert!(value(&metrics, "database_connections_wanted").unwrap() >= 0.0);
    assert!(value(&metrics, "database_connection_wait_seconds_count").unwrap() > 10.0);
    for present in [
        "outbox_jobs{state=\"waiting\"}",
        "outbox_jobs{state=\"dead\"}",
        "inbox_waiting",
        "inbox_overdue_seconds",
        "audit_log_waiting",
        "catalogue_memory_fresh",
        "process_resident_memory_bytes",
        "process_open_fds",
        "process_threads",
        "http_connections",
        "http_requests_at_work",
    ] {
        assert!(value(&metrics, present).is_some(), "{present} is missing: {metrics}");
    }
    assert!(metrics.contains("souk_build_info{version=\""));

    // On the port of everybody, for this machine alone.
    assert_eq!(there.get("/metrics").await.status, 200);
    there.get("/metrics").header("x-forwarded-for", "192.0.2.7").await.refused(404, "route_not_found");
    let production = app.another_node_with(|config| config.env = shared::config::AppEnv::Production).await;
    Browser::new(&production.base).get("/metrics").await.refused(404, "route_not_found");
    assert_eq!(reqwest::get(format!("http://127.0.0.1:{port}/api/order")).await.unwrap().status(), 404);
}

#[tokio::test]
async fn what_the_chat_does_is_measured() {
    let app = TestApp::start().await;
    let (ann, bob) = (app.buyer("ann").await, app.seller("bob").await);
    ann.talk_to(&bob).await;
    let (port, at) = (free_port(), free_port());
    let process = Process::chat(&app, at, &[("METRICS_PORT", &port.to_string())]).await;
    let chat = tests::Chat::at(process.base.trim_start_matches("http://").parse().unwrap());
    let (mut anns, mut bobs) = (chat.connect(&ann).await, chat.connect(&bob).await);
    let said = json!({ "senderId": ann.id.hex(), "receiverId": bob.id.hex(), "text": "hello" });
    anns.ask("sendMessage", &said).await;
    bobs.next("getMessage").await;
    let metrics = read_until(port, |metrics| value(metrics, "chat_people_online") == Some(2.0)).await;
    assert_eq!(value(&metrics, "chat_messages_delivered_total"), Some(1.0), "{metrics}");
    assert_eq!(value(&metrics, "chat_delivery_seconds_count"), Some(1.0));
    assert_eq!(value(&metrics, "chat_connections_open{transport=\"websocket\"}"), Some(2.0));
    assert!(value(&metrics, "chat_group_size_count").unwrap() >= 1.0);
    let public = reqwest::Client::new().get(format!("{}/metrics", process.base));
    assert_eq!(public.header("x-forwarded-for", "192.0.2.7").send().await.unwrap().status(), 404);
}

/// The lines of a log in JSON that name a request.
fn story(log: &str, id: &str) -> Vec<Value> {
    log.lines().filter(|line| line.contains(id)).filter_map(|line| serde_json::from_str(line).ok()).collect()
}

#[tokio::test]
async fn one_word_finds_the_request_and_what_followed_from_it() {
    let app = TestApp::start().await;
    let ann = app.buyer("ann").await;
    let settings = [("RUST_LOG", "info"), ("LOG_FORMAT", "json"), ("TRUSTED_PROXIES", "127.0.0.0/8")];
    let process = Process::start_with(&app, &settings).await;
    let there = Browser::new(&process.base);
    let id = "edge-7f3a.001";
    // Writes a job down, which looks for the account and writes a mail down, which is another job.
    let forgot = there.post("/api/user/forgot-password").header("x-request-id", id);
    let answer = forgot.json(&json!({ "email": ann.email })).await;
    answer.expect(200);
    assert_eq!(answer.header("x-request-id"), Some(id));
    let done = |line: &Value| line["message"] == "a job of the outbox is done";
    let told = async {
        while story(&process.log(), id).iter().filter(|line| done(line)).count() < 2 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    if tokio::time::timeout(Duration::from_secs(20), told).await.is_err() {
        panic!("{:#?}", story(&process.log(), id));
    }
    let lines = story(&process.log(), id);
    let access: Vec<_> = lines.iter().filter(|line| line["target"] == "access").collect();
    assert_eq!(access.len(), 1, "{lines:#?}");
    assert_eq!((&access[0]["method"], &access[0]["status"]), (&json!("POST"), &json!(200)));
    assert_eq!(
        (&access[0]["route"], &access[0]["caller"]),
        (&json!("/api/user/forgot-password"), &json!("nobody"))
    );
    assert!(access[0]["ms"].is_number() && access[0]["bytes"].as_u64().unwrap() > 0, "{access:?}");
    let kinds: BTreeSet<&str> =
        lines.iter().filter(|line| done(line)).map(|line| line["span"]["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, BTreeSet::from(["mail", "resetLink"]));

    // Only a trusted proxy names requests.
    let other = Process::start_with(&app, &[("RUST_LOG", "info")]).await;
    let answer = Browser::new(&other.base).get("/api/nowhere").header("x-request-id", id).await;
    assert_ne!(answer.header("x-request-id"), Some(id));
    let own = answer.header("x-request-id").unwrap().to_owned();
    // And as text.
    let log = other.log();
    let line = log.lines().find(|line| line.contains(&own)).unwrap_or_else(|| panic!("{log}"));
    assert!(line.contains("status=404") && line.contains("route=\"none\""), "{line}");
}

#[tokio::test]
async fn who_may_be_asked_by_a_container_says_whether_it_can_serve() {
    let app = TestApp::start().await;
    let port = free_port();
    let process = Process::start_at(&app, port).await;
    let (port, chat) = (port.to_string(), free_port().to_string());
    let ask = async |arguments: &[&str], port: &str| {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_souk-under-test"));
        command.arg("healthcheck").args(arguments).env_clear().current_dir(app.home());
        let output = command.env("PORT", port).env("CHAT_PORT", &chat).output().await.unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    assert!(ask(&[], &port).await.0);
    assert_eq!(ask(&["api"], &port).await, (true, "api is ready\n".to_owned()));
    assert!(!ask(&["realtime"], &port).await.0);
    process.kill().await;
    assert!(!ask(&[], &port).await.0);
}
