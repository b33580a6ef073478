//! The chat server under test, and a Socket.IO client that sees every packet.
//!
//! The real JavaScript client is used elsewhere; this one can also send what that one never would.

use std::{collections::VecDeque, net::SocketAddr, sync::Arc, time::Duration};

use futures_util::{SinkExt as _, StreamExt as _};
use realtime::Limits;
use serde_json::{Value, json};
use shared::{config::Config, db::Db};
use tokio::{io::AsyncWriteExt as _, net::TcpStream};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async_with_config,
    tungstenite::{Message, client::IntoClientRequest as _, http::HeaderValue, protocol::CloseFrame},
};

use crate::{Browser, TestApp, mongo, privacy};

/// Longer for anything, and it does not come.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running chat server. Stopped when it is dropped.
pub struct Chat {
    /// Where it is.
    pub address: SocketAddr,
    server: Option<realtime::Server>,
}

impl TestApp {
    /// The chat server beside this API, with the same settings and clock, on the same database.
    pub async fn chat(&self) -> Chat {
        self.chat_with(|_| {}).await
    }

    /// With other settings.
    pub async fn chat_with(&self, change: impl FnOnce(&mut Config)) -> Chat {
        self.chat_within(Limits::default(), change).await
    }

    /// With other settings and time limits.
    pub async fn chat_within(&self, limits: Limits, change: impl FnOnce(&mut Config)) -> Chat {
        let mut config = (*self.config).clone();
        change(&mut config);
        let (uri, clock) = (self.database_uri().to_owned(), self.clock.clone());
        let (address, server) = mongo::on_lasting_runtime(async move {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let db = Db::connect(&uri, "souk-realtime").await.unwrap();
            let app = realtime::App::new(Arc::new(config), db, clock).unwrap();
            (address, realtime::serve_within(app, listener, limits).await)
        })
        .await;
        Chat { address, server: Some(server) }
    }
}

impl Chat {
    /// One that runs in a process of its own.
    pub const fn at(address: SocketAddr) -> Self {
        Self { address, server: None }
    }

    /// Stops it as an operator would.
    pub async fn stop(mut self) {
        let server = self.server.take().unwrap();
        mongo::on_lasting_runtime(server.stop()).await;
    }

    /// Ends it as a crash would.
    pub async fn die(mut self) {
        let server = self.server.take().unwrap();
        mongo::on_lasting_runtime(server.die()).await;
    }

    /// Connects with the cookies of a browser.
    pub async fn connect(&self, browser: &Browser) -> Socket {
        let cookies = browser.cookie_header();
        self.connect_with(&cookies.iter().map(|c| ("cookie", c.as_str())).collect::<Vec<_>>(), None).await
    }

    /// Connects as a visitor's page does.
    pub async fn visitor(&self) -> Socket {
        self.connect_with(&[], None).await
    }

    /// Connects with these headers and this `auth`.
    pub async fn connect_with(&self, headers: &[(&str, &str)], auth: Option<Value>) -> Socket {
        let mut socket = Socket::open(self.address, headers).await;
        let auth = auth.map(|auth| auth.to_string()).unwrap_or_default();
        socket.send(&format!("40{auth}")).await;
        let confirmed = socket.packet().await.expect("the connection is confirmed");
        assert!(confirmed.starts_with("40{"), "{confirmed}");
        let confirmed: Value = serde_json::from_str(&confirmed[2..]).unwrap();
        socket.pid = confirmed["pid"].as_str().map(str::to_owned);
        socket
    }

    /// Connects as the JavaScript client does after its connection was lost: with what it was told then.
    pub async fn come_back(&self, browser: &Browser, lost: &Socket) -> Socket {
        let cookies = browser.cookie_header();
        let headers: Vec<_> = cookies.iter().map(|c| ("cookie", c.as_str())).collect();
        let mut socket = self.connect_with(&headers, Some(lost.memory())).await;
        // A client remembers it until it hears another one.
        socket.offset.clone_from(&lost.offset);
        socket
    }
}

impl Drop for Chat {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            mongo::runtime().spawn(server.stop());
        }
    }
}

/// One connection.
pub struct Socket {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// Events that came while something else was waited for.
    waiting: VecDeque<(String, Value)>,
    acks: u32,
    /// What the JavaScript client repeats when it comes back.
    pub pid: Option<String>,
    /// The last argument of the last event, if that was a text.
    pub offset: Option<String>,
}

impl Socket {
    /// The `auth` of the JavaScript client when it comes back.
    pub fn memory(&self) -> Value {
        let mut memory = json!({ "pid": self.pid.as_ref().expect("a pid in the connection's confirmation") });
        if let Some(offset) = &self.offset {
            memory["offset"] = json!(offset);
        }
        memory
    }

    /// Opens the transport only: `40` has not been sent yet.
    pub async fn open(address: SocketAddr, headers: &[(&str, &str)]) -> Self {
        let path = "/socket.io/?EIO=4&transport=websocket";
        let mut socket = Self::open_at(address, path, headers).await.unwrap();
        let opened = socket.packet().await.unwrap();
        assert!(opened.starts_with("0{"), "{opened}");
        socket
    }

    /// Opens a websocket at a path, unless it is refused, and waits for no packet.
    pub async fn open_at(
        address: SocketAddr,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Result<Self, Box<tokio_tungstenite::tungstenite::Error>> {
        let mut request = format!("ws://{address}{path}").into_client_request().unwrap();
        for (name, value) in headers {
            let name: tokio_tungstenite::tungstenite::http::HeaderName = name.parse().unwrap();
            request.headers_mut().insert(name, HeaderValue::from_str(value).unwrap());
        }
        // What was sent is on its way then, and does not wait for an answer to what was sent before.
        let (stream, _) = connect_async_with_config(request, None, true).await?;
        Ok(Self { stream, waiting: VecDeque::new(), acks: 0, pid: None, offset: None })
    }

    /// Sends a packet as it is.
    pub async fn send(&mut self, packet: &str) {
        assert!(self.try_send(packet).await, "the connection is gone");
    }

    /// The same, where the server may hang up on it: whether it went out.
    pub async fn try_send(&mut self, packet: &str) -> bool {
        self.stream.send(Message::text(packet)).await.is_ok()
    }

    /// The next packet; none once the connection is closed.
    pub async fn packet(&mut self) -> Option<String> {
        loop {
            let next = tokio::time::timeout(PATIENCE, self.stream.next()).await;
            match next.expect("a packet in time") {
                Some(Ok(Message::Text(text))) if text.as_str() == "2" => _ = self.try_send("3").await,
                Some(Ok(Message::Text(text))) => return Some(text.as_str().to_owned()),
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                Some(Ok(_)) => {}
            }
        }
    }

    /// Emits an event with one payload.
    pub async fn emit(&mut self, event: &str, payload: &Value) {
        self.send(&format!("42{}", json!([event, payload]))).await;
    }

    /// Emits an event and waits for its acknowledgement. Everything sent before has been handled
    /// then, since a socket's events are handled in order.
    pub async fn ask(&mut self, event: &str, payload: &Value) -> Value {
        self.acks += 1;
        let id = self.acks;
        self.send(&format!("42{id}{}", json!([event, payload]))).await;
        let start = format!("43{id}");
        loop {
            let packet = self.packet().await.expect("an acknowledgement");
            match packet.strip_prefix(&start) {
                Some(answer) => return serde_json::from_str::<Value>(answer).unwrap()[0].clone(),
                None => self.keep(&packet),
            }
        }
    }

    fn keep(&mut self, packet: &str) {
        let Some(event) = packet.strip_prefix("42") else { panic!("an unexpected packet: {packet}") };
        let event: Value = serde_json::from_str(event).unwrap();
        let arguments = event.as_array().unwrap();
        if let Some(Value::String(offset)) = arguments.last().filter(|_| self.pid.is_some()) {
            self.offset = Some(offset.clone());
        }
        let payloads = if event[0] == "getMessage" && event[2].is_string() { 2 } else { 1 };
        assert_eq!(arguments.len(), 1 + payloads, "one payload: {packet}");
        let name = event[0].as_str().unwrap();
        privacy::scan_event(name, &event[1]).unwrap_or_else(|told| panic!("{told}: {packet}"));
        self.waiting.push_back((name.to_owned(), event[1].clone()));
    }

    /// The next event, whatever it is.
    pub async fn event(&mut self) -> (String, Value) {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return event;
            }
            let packet = self.packet().await.expect("an event");
            self.keep(&packet);
        }
    }

    /// The next event of this name; others before it are left out.
    pub async fn next(&mut self, event: &str) -> Value {
        loop {
            let (name, payload) = self.event().await;
            if name == event {
                return payload;
            }
        }
    }

    /// Waits until the list of people online is exactly this, in any order.
    pub async fn online(&mut self, people: &[String]) {
        let mut wanted = people.to_vec();
        wanted.sort();
        loop {
            let list = self.next("getUsers").await;
            let mut ids: Vec<String> = list
                .as_array()
                .unwrap()
                .iter()
                .map(|one| one["userId"].as_str().unwrap().to_owned())
                .collect();
            ids.sort();
            if ids == wanted {
                return;
            }
        }
    }

    /// Loses the connection without a word, and gives the messages that had come by then.
    pub async fn hang_up(&mut self) -> Vec<Value> {
        if let MaybeTlsStream::Plain(stream) = self.stream.get_mut() {
            stream.shutdown().await.ok();
        }
        while let Some(packet) = self.packet().await {
            self.keep(&packet);
        }
        let messages = |(event, payload)| (event == "getMessage").then_some(payload);
        self.waiting.drain(..).filter_map(messages).collect()
    }

    /// Whether an event has come, and was not taken yet.
    pub fn has_heard(&self, event: &str) -> bool {
        self.waiting.iter().any(|(name, _)| name == event)
    }

    /// Closes the connection as a browser does for a page that is left: with the closing handshake. Hanging up
    /// with packets unread would have the system reset the connection, and throw away what is still on its way.
    pub async fn close(self) {
        self.close_as(None).await;
    }

    /// The same with a code, such as 1001 for a page that is left.
    pub async fn close_with(self, code: u16) {
        self.close_as(Some(CloseFrame { code: code.into(), reason: "".into() })).await;
    }

    async fn close_as(mut self, frame: Option<CloseFrame>) {
        self.stream.close(frame).await.ok();
        while self.packet().await.is_some() {}
    }
}
