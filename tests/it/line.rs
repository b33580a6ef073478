//! The connections of the chat: what each is told, how it ends, and what they may take all together.

use std::time::Duration;

use bson::doc;
use futures_util::FutureExt as _;
use realtime::Limits;
use reqwest::{StatusCode, header::HeaderValue};
use serde_json::{Value, json};
use tests::{Buyer, Chat, Seller, Socket, TestApp};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
};

/// Longer for anything, and it does not come.
const PATIENCE: Duration = Duration::from_secs(20);

/// Short enough to wait for.
const SHORT: Duration = Duration::from_millis(300);

/// What a handshake needs besides its address.
const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

async fn in_time<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("in time")
}

/// A shopper and a shop who share a conversation.
struct Market {
    app: TestApp,
    ann: Buyer,
    bobs: Seller,
    conversation: String,
}

impl Market {
    async fn open(settings: &[(&str, &str)]) -> Self {
        let app = TestApp::with(settings).await;
        let (ann, bobs) = (app.buyer("ann").await, app.seller("bobs").await);
        let conversation = ann.talk_to(&bobs).await;
        Self { app, ann, bobs, conversation }
    }

    fn said(&self, text: &str) -> Value {
        json!({ "senderId": self.ann.id.hex(), "receiverId": self.bobs.id.hex(), "text": text })
    }

    async fn texts(&self) -> Vec<String> {
        let read = self.ann.get(&format!("/api/messages/get-all-messages/{}", self.conversation)).await;
        let text = |message: &Value| message["text"].as_str().unwrap().to_owned();
        read.expect(201)["messages"].as_array().unwrap().iter().map(text).collect()
    }
}

fn http() -> reqwest::Client {
    rustls::crypto::ring::default_provider().install_default().ok();
    reqwest::Client::new()
}

/// A client that polls.
struct Polling {
    http: reqwest::Client,
    url: String,
    cookies: String,
    sid: String,
}

impl Polling {
    async fn open(chat: &Chat, cookies: Option<String>) -> Self {
        let (http, cookies) = (http(), cookies.unwrap_or_default());
        let url = format!("http://{}/socket.io/?EIO=4&transport=polling", chat.address);
        let opened = http.get(&url).header("cookie", &cookies).send().await.unwrap();
        assert_eq!(opened.status(), 200);
        let opened = opened.text().await.unwrap();
        let opened: Value = serde_json::from_str(opened.strip_prefix('0').unwrap()).unwrap();
        let sid = opened["sid"].as_str().unwrap().to_owned();
        Self { http, url: format!("{url}&sid={sid}"), cookies, sid }
    }

    async fn send(&self, packets: &str) -> reqwest::Response {
        in_time(self.http.post(&self.url).body(packets.to_owned()).send()).await.unwrap()
    }

    async fn poll(&self) -> (StatusCode, String) {
        let answer = in_time(self.http.get(&self.url).header("cookie", &self.cookies).send()).await.unwrap();
        (answer.status(), answer.text().await.unwrap())
    }

    /// Joins the namespace, and says what it is told.
    async fn join(&self, auth: &str) -> Value {
        assert_eq!(self.send(&format!("40{auth}")).await.status(), 200);
        loop {
            let (status, body) = self.poll().await;
            assert_eq!(status, 200, "{body}");
            if let Some(confirmed) = body.split('\u{1e}').find_map(|packet| packet.strip_prefix("40")) {
                return serde_json::from_str(confirmed).unwrap();
            }
        }
    }

    /// All packets until the session is over.
    async fn rest(&self) -> Vec<String> {
        let mut packets = Vec::new();
        loop {
            let (status, body) = self.poll().await;
            if status != 200 {
                assert_eq!(status, 400);
                assert!(body.contains("Session ID unknown"), "{body}");
                return packets;
            }
            packets.extend(body.split('\u{1e}').map(str::to_owned));
        }
    }

    /// A websocket for this session, with the change under way.
    async fn websocket(&self, chat: &Chat) -> Socket {
        let path = format!("/socket.io/?EIO=4&transport=websocket&sid={}", self.sid);
        Socket::open_at(chat.address, &path, &[]).await.unwrap()
    }

    async fn upgrade(&self, chat: &Chat) -> Socket {
        let mut socket = self.websocket(chat).await;
        socket.send("2probe").await;
        assert_eq!(socket.packet().await.as_deref(), Some("3probe"));
        socket.send("5").await;
        socket
    }
}

/// Everything that comes until the connection ends; a farewell that keeps clients away is not in it.
async fn until_closed(socket: &mut Socket) -> Vec<String> {
    let mut packets = Vec::new();
    while let Some(packet) = socket.packet().await {
        assert!(!packet.starts_with("41"), "a client that is told so does not come back");
        packets.push(packet);
    }
    packets
}

async fn get(chat: &Chat, path: &str, headers: &[(&str, &str)]) -> (StatusCode, Value, Option<String>) {
    let mut request = http().get(format!("http://{}{path}", chat.address));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = in_time(request.send()).await.unwrap();
    let status = answer.status();
    let retry = answer.headers().get("retry-after").map(|value| value.to_str().unwrap().to_owned());
    (status, answer.json().await.unwrap_or_default(), retry)
}

const WEBSOCKET: &str = "/socket.io/?EIO=4&transport=websocket";
const POLLING: &str = "/socket.io/?EIO=4&transport=polling";
const GOOD: [(&str, &str); 4] = [
    ("connection", "Upgrade"),
    ("upgrade", "websocket"),
    ("sec-websocket-version", "13"),
    ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
];

#[tokio::test]
async fn the_confirmation_carries_a_pid_over_each_transport() {
    let app = TestApp::start().await;
    let chat = app.chat().await;
    assert!(chat.visitor().await.pid.is_some_and(|pid| !pid.is_empty()));

    let polling = Polling::open(&chat, None).await;
    let confirmed = polling.join("").await;
    assert!(confirmed["pid"].as_str().is_some_and(|pid| !pid.is_empty()), "{confirmed}");
    assert!(confirmed["sid"].is_string());

    let early = Polling::open(&chat, None).await;
    let mut socket = early.upgrade(&chat).await;
    socket.send("40").await;
    let confirmed = socket.packet().await.unwrap();
    assert!(confirmed.starts_with("40{\"sid\":\"") && confirmed.contains("\"pid\":\""), "{confirmed}");
    serde_json::from_str::<Value>(&confirmed[2..]).unwrap();
}

#[tokio::test]
async fn what_follows_the_confirmation_is_untouched() {
    let market = Market::open(&[]).await;
    let chat = market.app.chat().await;
    let mut bobs = chat.connect(&market.bobs).await;
    let mut ann = chat.connect(&market.ann).await;
    // Of each of the three ways to write a length.
    for text in ["40{\"sid\":\"x\"}".to_owned(), "m".repeat(300), "€".repeat(5000)] {
        assert_eq!(ann.ask("sendMessage", &market.said(&text)).await["success"], true);
        assert_eq!(bobs.next("getMessage").await["text"], text);
    }
}

#[tokio::test]
async fn one_who_is_hung_up_on_sees_a_connection_that_broke() {
    let market = Market::open(&[]).await;
    let chat = market.app.chat().await;
    let mut first = chat.connect(&market.bobs).await;
    // Back already, while nobody has noticed that the first one is dead.
    let mut second = chat.come_back(&market.bobs, &first).await;
    until_closed(&mut first).await;
    let mut ann = chat.connect(&market.ann).await;
    ann.ask("sendMessage", &market.said("still there?")).await;
    assert_eq!(second.next("getMessage").await["text"], "still there?");
}

#[tokio::test]
async fn a_hang_up_ends_a_polling_session_and_one_that_has_become_a_websocket() {
    let market = Market::open(&[]).await;
    let chat = market.app.chat().await;
    let cookies = market.bobs.cookie_header();

    let polling = Polling::open(&chat, cookies.clone()).await;
    let pid = polling.join("").await["pid"].as_str().unwrap().to_owned();
    let auth = json!({ "pid": pid });
    let cookie = cookies.clone().unwrap();
    let headers = [("cookie", cookie.as_str())];
    let back = || chat.connect_with(&headers, Some(auth.clone()));
    // The first poll is under way when the other comes.
    let (packets, _second) = tokio::join!(polling.rest(), back());
    assert!(packets.iter().all(|packet| !packet.starts_with("41")), "{packets:?}");

    let polling = Polling::open(&chat, cookies).await;
    polling.join(&auth.to_string()).await;
    let mut socket = polling.upgrade(&chat).await;
    socket.emit("addUser", &json!(market.bobs.id.hex())).await;
    socket.next("getUsers").await;
    let _third = back().await;
    until_closed(&mut socket).await;
    assert_eq!(polling.poll().await.0, 400);
}

#[tokio::test]
async fn while_the_database_does_not_know_a_token_its_connection_breaks_and_may_come_back() {
    let market = Market::open(&[]).await;
    let chat = market.app.chat().await;
    let _turn = crate::lost_answers::TURN.lock().await;
    let admin = market.app.db.client().database("admin");
    let users = format!("{}.users", market.app.db.database().name());
    // Once for each of the two.
    let fail = doc! {
        "configureFailPoint": "failCommand", "mode": { "times": 2 },
        "data": { "failCommands": ["find"], "namespace": users, "errorCode": 8 },
    };
    admin.run_command(fail).await.unwrap();
    let auth = json!({ "token": market.ann.token });
    let join = format!("40{auth}");
    let mut socket = Socket::open(chat.address, &[]).await;
    socket.send(&join).await;
    assert_eq!(until_closed(&mut socket).await, [""; 0], "a refusal keeps clients away");
    let polling = Polling::open(&chat, None).await;
    let (sent, packets) = tokio::join!(polling.send(&join), polling.rest());
    assert!(sent.status() == 200 && packets.iter().all(|packet| !packet.starts_with("44")), "{packets:?}");
    let mut back = chat.connect_with(&[], Some(auth)).await;
    assert_eq!(back.ask("sendMessage", &market.said("here I am")).await["success"], true);
}

#[tokio::test]
async fn handshakes_that_are_none_are_refused_in_words() {
    let app = TestApp::start().await;
    let chat = app.chat().await;
    for (name, wrong) in [
        ("connection", "close"),
        ("upgrade", "h2c"),
        ("sec-websocket-version", "8"),
        ("sec-websocket-key", "short"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ"),
        ("sec-websocket-key", "================dGhlIA=="),
    ] {
        let headers = GOOD.map(|(other, value)| (other, if other == name { wrong } else { value }));
        let (status, body, _) = get(&chat, WEBSOCKET, &headers).await;
        assert_eq!((status, &body["success"]), (StatusCode::BAD_REQUEST, &json!(false)), "{name}: {wrong}");
        assert!(body["message"].as_str().unwrap().contains("WebSocket handshake"), "{body}");
    }
    for (query, code) in [
        ("EIO=3&transport=websocket", "5"),
        ("transport=websocket", "5"),
        ("EIO=4&transport=carrier-pigeon", "0"),
        ("EIO=4&transport=websocket&sid=AAAAAAAAAAAAAAAA", "1"),
        ("EIO=4&transport=websocket&sid=junk", "1"),
        ("EIO=4&transport=polling&sid=AAAAAAAAAAAAAAAA", "1"),
    ] {
        let (status, body, _) = get(&chat, &format!("/socket.io/?{query}"), &GOOD).await;
        assert_eq!((status, &body["code"]), (StatusCode::BAD_REQUEST, &json!(code)), "{query}: {body}");
    }
    let (status, ..) = get(&chat, "/socket.ios/?EIO=4&transport=websocket", &GOOD).await;
    assert_eq!(status, 404);
    chat.visitor().await;
}

#[tokio::test]
async fn a_session_has_one_websocket() {
    let app = TestApp::start().await;
    let chat = app.chat().await;
    let polling = Polling::open(&chat, None).await;
    let mut first = polling.upgrade(&chat).await;
    let path = format!("{WEBSOCKET}&sid={}", polling.sid);
    assert!(Socket::open_at(chat.address, &path, &[]).await.is_err());
    first.send("40").await;
    assert!(first.packet().await.unwrap().starts_with("40{"));
}

#[tokio::test]
async fn the_server_takes_so_many_connections_and_says_so_to_the_next() {
    let app = TestApp::with(&[("CHAT_CONNECTIONS_MAX", "2")]).await;
    let chat = app.chat().await;
    let socket = chat.visitor().await;
    let polling = Polling::open(&chat, None).await;
    for path in [WEBSOCKET, POLLING] {
        let (status, body, retry) = get(&chat, path, &GOOD).await;
        assert_eq!((status, &body["success"]), (StatusCode::SERVICE_UNAVAILABLE, &json!(false)), "{path}");
        assert!(retry.is_some() && body["message"].is_string());
    }
    assert_eq!(get(&chat, "/healthz", &[]).await.0, 200, "it is full, not ill");
    socket.close().await;
    polling.send("1").await;
    // Each of them makes room for another, as soon as its end has been noticed.
    let mut others = Vec::new();
    while others.len() < 2 {
        if let Ok(other) = Socket::open_at(chat.address, WEBSOCKET, &[]).await {
            others.push(other);
        }
    }
}

#[tokio::test]
async fn an_address_may_have_so_many_connections_and_others_do_not_notice() {
    let settings =
        [("CHAT_CONNECTIONS_PER_ADDRESS", "2"), ("RATE_LIMITS", "on"), ("TRUSTED_PROXIES", "127.0.0.1")];
    let app = TestApp::with(&settings).await;
    let chat = app.chat().await;
    let greedy = [("x-forwarded-for", "198.51.100.7")];
    let first = chat.connect_with(&greedy, None).await;
    let _second = chat.connect_with(&greedy, None).await;
    let headers: Vec<_> = GOOD.into_iter().chain(greedy).collect();
    for path in [WEBSOCKET, POLLING] {
        let (status, body, retry) = get(&chat, path, &headers).await;
        assert_eq!((status, &body["success"]), (StatusCode::TOO_MANY_REQUESTS, &json!(false)), "{path}");
        assert!(retry.is_some() && body["message"].as_str().unwrap().contains("address"));
    }
    // What the client itself had put there hides nothing.
    let forged = HeaderValue::from_bytes(b"203.0.113.9 \xff, 198.51.100.7").unwrap();
    let request = http().get(format!("http://{}{POLLING}", chat.address)).header("x-forwarded-for", forged);
    assert_eq!(in_time(request.send()).await.unwrap().status(), StatusCode::TOO_MANY_REQUESTS);
    chat.connect_with(&[("x-forwarded-for", "198.51.100.8")], None).await;
    first.close().await;
    while Socket::open_at(chat.address, WEBSOCKET, &greedy).await.is_err() {}

    // A proxy that is not known as one is everybody.
    let chat = app.chat_with(|config| config.trusted_proxies.clear()).await;
    let mut crowd = Vec::new();
    for _ in 0..30 {
        crowd.push(chat.connect_with(&greedy, None).await);
    }
}

#[tokio::test]
async fn connections_that_do_nothing_end_in_time() {
    let app = TestApp::start().await;
    let limits = Limits { head: SHORT, body: SHORT, connect: SHORT, ..Limits::default() };
    let chat = app.chat_within(limits, |_| {}).await;

    for beginning in ["", "GET /socket.io/?EIO=4&trans", "GET / HTTP/1.1\r\nHost: localhost\r\n"] {
        let mut stream = TcpStream::connect(chat.address).await.unwrap();
        stream.write_all(beginning.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        in_time(stream.read_to_end(&mut answer)).await.unwrap();
    }

    let mut silent = Socket::open(chat.address, &[]).await;
    until_closed(&mut silent).await;

    let polling = Polling::open(&chat, None).await;
    let mut stream = TcpStream::connect(chat.address).await.unwrap();
    let path = format!("{POLLING}&sid={}", polling.sid);
    let post = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n40");
    stream.write_all(post.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    in_time(stream.read_to_end(&mut answer)).await.unwrap();
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("\"success\":false"), "{answer}");
    polling.rest().await;
}

#[tokio::test]
async fn a_change_of_transport_that_fails_ends_the_session() {
    let app = TestApp::start().await;
    let limits = Limits { upgrade: SHORT, ..Limits::default() };
    let chat = app.chat_within(limits, |_| {}).await;

    // Begun and never completed.
    let polling = Polling::open(&chat, None).await;
    polling.join("").await;
    let mut socket = polling.websocket(&chat).await;
    until_closed(&mut socket).await;
    polling.rest().await;

    // Completed with something else, or dropped.
    let polling = Polling::open(&chat, None).await;
    polling.join("").await;
    let mut socket = polling.websocket(&chat).await;
    socket.send("42[\"addUser\"]").await;
    until_closed(&mut socket).await;
    polling.rest().await;

    let polling = Polling::open(&chat, None).await;
    polling.join("").await;
    drop(polling.websocket(&chat).await);
    polling.rest().await;
}

/// A websocket that reads its confirmation and then nothing any more.
async fn stubborn(chat: &Chat, cookies: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = socket.connect(chat.address).await.unwrap();
    let hello = format!("GET {WEBSOCKET} HTTP/1.1\r\nHost: localhost\r\nCookie: {cookies}\r\n{UPGRADE}\r\n");
    stream.write_all(hello.as_bytes()).await.unwrap();
    // `40`, with an empty mask.
    stream.write_all(&[0x81, 0x82, 0, 0, 0, 0, b'4', b'0']).await.unwrap();
    let mut heard = Vec::new();
    while !String::from_utf8_lossy(&heard).contains("40{\"sid\"") {
        let mut some = [0; 1024];
        let length = in_time(stream.read(&mut some)).await.unwrap();
        assert!(length > 0, "{}", String::from_utf8_lossy(&heard));
        heard.extend(&some[..length]);
    }
    stream
}

/// Reads until the connection ends, and says how much came.
async fn drain(mut stream: TcpStream) -> usize {
    let mut length = 0;
    let mut some = vec![0; 65536];
    loop {
        match in_time(stream.read(&mut some)).await {
            Ok(0) | Err(_) => return length,
            Ok(more) => length += more,
        }
    }
}

async fn flood(market: &Market, chat: &Chat, messages: usize) -> usize {
    let mut bobs = chat.connect(&market.bobs).await;
    let mut ann = chat.connect(&market.ann).await;
    let text = "€".repeat(4900);
    for i in 0..messages {
        let said = market.said(&format!("{i} {text}"));
        // No more at once than the queue of the sender's own events holds.
        if i % 50 < 49 {
            ann.emit("sendMessage", &said).await;
            continue;
        }
        assert_eq!(ann.ask("sendMessage", &said).await["success"], true);
        // Nor more than the system keeps for a reader who is not to be taken for a slow one.
        for i in i - 49..=i {
            let got = bobs.next("getMessage").await;
            let got = got["text"].as_str().unwrap();
            assert!(got.starts_with(&format!("{i} ")), "{i} {got:.10}");
        }
    }
    messages * text.len()
}

#[tokio::test]
async fn a_reader_whose_queue_overflows_gets_everything_late_and_others_are_served() {
    let market = Market::open(&[]).await;
    let chat = market.app.chat().await;
    let mut slow = stubborn(&chat, &market.bobs.cookie_header().unwrap()).await;
    flood(&market, &chat, 400).await;
    let mut heard = Vec::new();
    let mut some = vec![0; 65536];
    let is_last = |heard: &[u8]| heard.windows(12).any(|some| some == b"\"text\":\"399 ");
    while !is_last(heard.get(heard.len().saturating_sub(2 * some.len())..).unwrap_or(&heard)) {
        let length = in_time(slow.read(&mut some)).await.unwrap();
        assert!(length > 0, "it was hung up on");
        heard.extend(&some[..length]);
    }
    let heard = String::from_utf8_lossy(&heard);
    let mut rest = &*heard;
    for i in 0..400 {
        let at =
            rest.find(&format!("\"text\":\"{i} ")).unwrap_or_else(|| panic!("no {i} after those before"));
        rest = &rest[at..];
    }
}

#[tokio::test]
async fn a_reader_that_takes_nothing_for_a_while_is_hung_up_on() {
    // Fewer than its queue holds, and more.
    for messages in [100, 400] {
        let market = Market::open(&[]).await;
        let limits = Limits { stall: SHORT, ..Limits::default() };
        let chat = market.app.chat_within(limits, |_| {}).await;
        let slow = stubborn(&chat, &market.bobs.cookie_header().unwrap()).await;
        let sent = flood(&market, &chat, messages).await;
        // It is gone without having read anything: the last of its people's sockets closes alone.
        let mut ann = chat.connect(&market.ann).await;
        ann.emit("addUser", &json!(market.ann.id.hex())).await;
        ann.online(&[market.ann.id.hex()]).await;
        assert!(drain(slow).await < sent);
    }
}

#[tokio::test]
async fn a_page_that_is_left_is_told_from_a_connection_that_broke() {
    let market = Market::open(&[]).await;
    let chat = market.app.chat().await;
    let cookies = market.bobs.cookie_header().unwrap();
    // A client that repeats nothing when it comes back.
    let headers = [("cookie", cookies.as_str()), ("user-agent", "Python/3.13 aiohttp/3.12")];
    let mut ann = chat.connect(&market.ann).await;
    let mut elsewhere = chat.connect(&market.bobs).await;
    for (code, missed) in [(1001, false), (1000, true)] {
        let socket = chat.connect_with(&headers, None).await;
        socket.close_with(code).await;
        let text = format!("after {code}");
        ann.ask("sendMessage", &market.said(&text)).await;
        // A message that is still on its way would come to whoever connects meanwhile, as news.
        assert_eq!(elsewhere.next("getMessage").await["text"], text.as_str());
        let mut back = chat.connect_with(&headers, None).await;
        ann.ask("sendMessage", &market.said("and then")).await;
        let first = back.next("getMessage").await;
        assert_eq!(first["text"], if missed { text.as_str() } else { "and then" });
        back.close_with(1001).await;
        assert_eq!(elsewhere.next("getMessage").await["text"], "and then");
    }
}

#[tokio::test]
async fn a_drain_acknowledges_what_was_sent_and_then_lets_the_clients_go() {
    let market = Market::open(&[]).await;
    let chat = market.app.chat().await;
    let mut socket = chat.connect(&market.ann).await;
    let polling = Polling::open(&chat, market.ann.cookie_header()).await;
    polling.join("").await;
    for i in 0..40 {
        socket.send(&format!("42{i}{}", json!(["sendMessage", market.said(&format!("socket {i}"))]))).await;
    }
    let packet = |i| format!("42{i}{}", json!(["sendMessage", market.said(&format!("polling {i}"))]));
    let packets: Vec<String> = (0..40).map(packet).collect();
    polling.send(&packets.join("\u{1e}")).await;

    let (over_socket, over_polling, ()) =
        tokio::join!(until_closed(&mut socket), polling.rest(), chat.stop());
    let acknowledged = |packets: &[String]| {
        packets
            .iter()
            .filter(|packet| packet.starts_with("43") && packet.contains("\"success\":true"))
            .count()
    };
    let both = (acknowledged(&over_socket), acknowledged(&over_polling));
    assert_eq!(both, (40, 40));
    assert!(over_polling.iter().all(|packet| !packet.starts_with("41")));
    assert_eq!(market.texts().await.len(), 80);
}

#[tokio::test]
async fn those_whose_turn_has_not_come_keep_working_while_the_server_drains() {
    let market = Market::open(&[]).await;
    let chat = market.app.chat_with(|config| config.chat_drain = Duration::from_secs(4)).await;
    let mut sockets = [chat.connect(&market.ann).await, chat.connect(&market.ann).await];
    let address = chat.address;
    let mut stop = Box::pin(chat.stop());
    let [one, other] = &mut sockets;
    let stays = tokio::select! {
        () = &mut stop => panic!("the second one has time"),
        _ = until_closed(one) => other,
        _ = until_closed(other) => one,
    };
    // The server goes on stopping by itself.
    assert!((&mut stop).now_or_never().is_none());
    assert_eq!(stays.ask("sendMessage", &market.said("still here")).await["success"], true);
    let http = http();
    for path in ["/readyz", WEBSOCKET, POLLING] {
        let mut request = http.get(format!("http://{address}{path}"));
        for (name, value) in GOOD {
            request = request.header(name, value);
        }
        let answer = in_time(request.send()).await.unwrap();
        assert_eq!(answer.status(), 503, "{path}");
        assert!(answer.headers().contains_key("retry-after"));
    }
    until_closed(stays).await;
    in_time(stop).await;
    assert_eq!(market.texts().await, ["still here"]);
}
