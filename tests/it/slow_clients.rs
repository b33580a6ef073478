//! Clients that send a byte a second, half a request or nothing, take no answer, or open one connection after the
//! other: they are told where that is possible, sent off, and cost the others nothing.
//!
//! What they cost the others in time is measured by `souk-bench slow`.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use shared::config::Config;
use tests::TestApp;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::crash::Process;

/// Whatever is waited for comes within this, or never.
const PATIENCE: Duration = Duration::from_secs(60);

fn hasty(config: &mut Config) {
    let limits = &mut config.connection_limits;
    limits.head = Duration::from_millis(500);
    limits.idle = Duration::from_secs(1);
    limits.patience = Duration::from_millis(500);
}

fn address(app: &TestApp) -> String {
    app.base.trim_start_matches("http://").to_owned()
}

/// Sends this, then one byte after the other if there is a drip, and gives all that comes until the end.
async fn until_sent_off(address: &str, first: &str, drip: Option<u8>) -> String {
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut read, mut write) = stream.into_split();
    write.write_all(first.as_bytes()).await.unwrap();
    let dripping = tokio::spawn(async move {
        while let Some(byte) = drip
            && write.write_all(&[byte]).await.is_ok()
        {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        // Not to be closed from here.
        std::future::pending::<()>().await;
    });
    let mut told = Vec::new();
    // A reset is an end as well.
    let reading = async { while read.read_buf(&mut told).await.is_ok_and(|count| count > 0) {} };
    let ended = tokio::time::timeout(PATIENCE, reading).await;
    dripping.abort();
    assert!(ended.is_ok(), "still connected: {first:?}");
    String::from_utf8_lossy(&told).into_owned()
}

const PING: &str = "GET /ping HTTP/1.1\r\nHost: x\r\n\r\n";

#[track_caller]
fn assert_told_408(told: &str) {
    assert!(told.contains("HTTP/1.1 408 "), "{told}");
    let body = told.rsplit("\r\n\r\n").next().unwrap();
    let body: serde_json::Value = serde_json::from_str(body).unwrap_or_else(|_| panic!("{told}"));
    assert_eq!((&body["success"], &body["code"]), (&json!(false), &json!("request_timeout")));
}

#[tokio::test]
async fn whoever_holds_a_connection_without_getting_anywhere_is_sent_off() {
    let app = TestApp::tuned(&[], hasty).await;
    let at = address(&app);
    let body = "Host: x\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n";
    let login = format!("POST /api/user/login-user HTTP/1.1\r\n{body}{{");
    let nowhere = format!("POST /api/none HTTP/1.1\r\n{body}{{");
    let head = "GET /ping HTTP/1.1\r\nX-Slow: ";
    let second_head = format!("{PING}{head}");
    let chunked = "POST /api/user/login-user HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n";
    let (nothing, idle, head_told, half_head, second, body_told, silent_body, none, chunk) = tokio::join!(
        until_sent_off(&at, "", None),
        until_sent_off(&at, PING, None),
        until_sent_off(&at, head, Some(b'x')),
        until_sent_off(&at, head, None),
        until_sent_off(&at, &second_head, Some(b'x')),
        until_sent_off(&at, &login, Some(b' ')),
        until_sent_off(&at, &login, None),
        until_sent_off(&at, &nowhere, Some(b' ')),
        until_sent_off(&at, chunked, None),
    );
    // Browsers open connections that they may never use: there is nothing to tell.
    assert_eq!(nothing, "");
    assert!(idle.ends_with("pong"), "{idle}");
    for told in [head_told, half_head, body_told, silent_body, chunk] {
        assert_told_408(&told);
    }
    assert!(second.contains("pong"), "{second}");
    assert_told_408(&second);
    assert!(none.contains("HTTP/1.1 404"), "{none}");
}

#[tokio::test]
async fn who_takes_no_answer_is_dropped() {
    let app = TestApp::tuned(&[], hasty).await;
    let bob = app.seller("bob").await;
    // So much that the kernel does not hold all of it.
    for i in 0..40 {
        bob.product(&format!("cup {i} {}", "x".repeat(150)), "10", 1).await;
    }
    let mut stream = TcpStream::connect(address(&app)).await.unwrap();
    let ask = "GET /api/product/get-all-products HTTP/1.1\r\nHost: x\r\n\r\n";
    // As much as the server takes, until it takes no more because nobody takes its answers.
    let asking = async { while stream.write_all(ask.as_bytes()).await.is_ok() {} };
    tokio::time::timeout(PATIENCE, asking).await.expect("still connected");
}

#[tokio::test]
async fn an_upload_over_a_slow_line_is_taken() {
    let app = TestApp::tuned(&[], hasty).await;
    let at = address(&app);
    let mut stream = TcpStream::connect(at).await.unwrap();
    let body = json!({ "email": "ann@example.com", "password": "x".repeat(1_500) }).to_string();
    let head = format!(
        "POST /api/user/login-user HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    for piece in body.as_bytes().chunks(300) {
        stream.write_all(piece).await.unwrap();
        // Slow, and not slower than anybody may be; if this machine stands still meanwhile, that is another matter.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut told = String::new();
    stream.read_to_string(&mut told).await.unwrap();
    assert!(told.starts_with("HTTP/1.1 4") && told.contains(r#""success":false"#), "{told}");
}

#[tokio::test]
async fn there_are_only_so_many_connections_and_each_that_ends_makes_room() {
    let app = TestApp::with(&[("CONNECTIONS_MAX", "3")]).await;
    let at = address(&app);
    let mut held = Vec::new();
    for _ in 0..3 {
        let mut stream = TcpStream::connect(&at).await.unwrap();
        stream.write_all(PING.as_bytes()).await.unwrap();
        let mut told = [0; 15];
        stream.read_exact(&mut told).await.unwrap();
        assert_eq!(&told, b"HTTP/1.1 200 OK");
        held.push(stream);
    }
    let mut one_more = TcpStream::connect(&at).await.unwrap();
    let mut told = String::new();
    one_more.read_to_string(&mut told).await.unwrap();
    assert!(told.starts_with("HTTP/1.1 503") && told.contains("retry-after"), "{told}");
    assert!(told.contains(r#""success":false"#) && told.contains("too_many_connections"), "{told}");
    held.pop();
    let served = async {
        while reqwest::get(format!("http://{at}/ping")).await.is_ok_and(|answer| answer.status() != 200) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, served).await.expect("there is room again");
}

#[tokio::test]
async fn hundreds_of_slow_clients_keep_nobody_from_being_served_and_leave_nothing_behind() {
    const SLOW: usize = 400;
    let app = TestApp::start().await;
    let node = Process::start(&app).await;
    let at = node.base.trim_start_matches("http://").to_owned();
    let bob = app.seller("bob").await;
    bob.product("cup", "10", 10).await;
    let healthy = async || {
        let url = format!("{}/api/product/get-all-products", node.base);
        let answer = reqwest::get(url).await.unwrap();
        assert_eq!(answer.status(), 200);
        answer.bytes().await.unwrap();
    };
    healthy().await;
    let (files, memory) = (node.open_files(), node.memory());
    let body = "Host: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{";
    let kinds = [
        "GET /api/product/get-all-products HTTP/1.1\r\nX-Slow: ".to_owned(),
        format!("POST /api/user/login-user HTTP/1.1\r\n{body}"),
        String::new(),
        "GET /uploads/x HTTP/1.1\r\n".to_owned(),
    ];
    let slow = (0..SLOW).map(|i| until_sent_off(&at, &kinds[i % kinds.len()], (i % 2 == 0).then_some(b' ')));
    let others = async {
        for _ in 0..50 {
            healthy().await;
        }
    };
    tokio::join!(join_all(slow), others);
    let back = async {
        while node.open_files() > files.map(|files| files + 8) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, back).await.expect("their connections are closed");
    let grown = node.memory().zip(memory).map(|(now, before)| now.saturating_sub(before));
    println!("grew by {grown:?} MiB");
    assert!(grown.is_none_or(|mib| mib < 64), "grew by {grown:?} MiB");
    healthy().await;
    node.kill().await;
}
