//! A small HTTP server that plays an outside service: a function answers its requests, and a test can have it
//! misbehave as networks do.

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};

/// A request as it came.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// `GET`.
    pub method: String,
    /// Without the query.
    pub path: String,
    /// The query's parameters, decoded.
    pub query: BTreeMap<String, String>,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: String,
}

impl Asked {
    /// A header's value, empty if there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// The body's parameters, if it is a form.
    pub fn form(&self) -> BTreeMap<String, String> {
        parameters(&self.body)
    }
}

/// How a service misbehaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Answers with this status, and does nothing.
    Status(u16),
    /// Does as it was told, and hangs up before it has answered.
    LosesAnswer,
    /// Hangs up, and does nothing.
    HangsUp,
    /// Never answers, and does nothing.
    Silent,
    /// Waits for so long, and then does as it was told.
    Slow(Duration),
}

type Answering = dyn Fn(&Asked) -> (u16, Value) + Send + Sync;

#[derive(Default)]
struct Mood {
    /// Method and path begin so, what happens, and how often yet.
    faults: VecDeque<(String, Fault, usize)>,
    asked: Vec<Asked>,
}

impl Mood {
    fn fault(&mut self, line: &str) -> Option<Fault> {
        let (_, fault, left) = self
            .faults
            .iter_mut()
            .find(|(begins, _, left)| *left > 0 && line.starts_with(begins.as_str()))?;
        *left -= 1;
        Some(*fault)
    }
}

/// The server. Gone when it is dropped.
pub struct StandIn {
    /// Where it listens.
    pub address: SocketAddr,
    mood: Arc<Mutex<Mood>>,
    server: JoinHandle<()>,
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl StandIn {
    /// Answers every request with a status and JSON.
    pub async fn start(answer: impl Fn(&Asked) -> (u16, Value) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mood = Arc::<Mutex<Mood>>::default();
        let (shared, answer): (_, Arc<Answering>) = (Arc::clone(&mood), Arc::new(answer));
        let server = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                connections.spawn(serve(stream, Arc::clone(&shared), Arc::clone(&answer)));
                while connections.try_join_next().is_some() {}
            }
        });
        Self { address, mood, server }
    }

    /// Where it is, without a trailing slash.
    pub fn base(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The next so many requests that begin so (`"POST /v1/refunds"`; `""` is every one) go wrong.
    pub fn misbehave(&self, begins: &str, fault: Fault, times: usize) {
        self.mood.lock().unwrap().faults.push_back((begins.to_owned(), fault, times));
    }

    /// From now on everything is as it should be.
    pub fn behave(&self) {
        self.mood.lock().unwrap().faults.clear();
    }

    /// What was asked so far and begins so, misbehaviour or not.
    pub fn asked(&self, begins: &str) -> Vec<Asked> {
        let begins = |asked: &&Asked| format!("{} {}", asked.method, asked.path).starts_with(begins);
        self.mood.lock().unwrap().asked.iter().filter(begins).cloned().collect()
    }
}

/// One request, and the end of the connection.
async fn serve(mut stream: TcpStream, mood: Arc<Mutex<Mood>>, answer: Arc<Answering>) -> Option<()> {
    let asked = read(&mut stream).await?;
    let fault = {
        let mut mood = mood.lock().unwrap();
        mood.asked.push(asked.clone());
        mood.fault(&format!("{} {}", asked.method, asked.path))
    };
    let (status, body) = match fault {
        Some(Fault::HangsUp) => return None,
        Some(Fault::Silent) => std::future::pending().await,
        Some(Fault::Status(status)) => (status, Value::String("out of order".to_owned())),
        Some(Fault::LosesAnswer) => {
            answer(&asked);
            return None;
        }
        Some(Fault::Slow(time)) => {
            tokio::time::sleep(time).await;
            answer(&asked)
        }
        None => answer(&asked),
    };
    let body = body.to_string();
    let head = format!(
        "HTTP/1.1 {status} Status\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).await.ok()?;
    stream.shutdown().await.ok()
}

async fn read(stream: &mut TcpStream) -> Option<Asked> {
    let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
    let mut more = async |bytes: &mut Vec<u8>| {
        let count = stream.read(&mut buffer).await.ok().filter(|count| *count > 0)?;
        bytes.extend_from_slice(&buffer[..count]);
        Some(())
    };
    let end = loop {
        match bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            Some(end) => break end,
            None => more(&mut bytes).await?,
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = head.split("\r\n");
    let mut first = lines.next()?.split(' ');
    let (method, target) = (first.next()?.to_owned(), first.next()?);
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let headers: BTreeMap<String, String> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    while bytes.len() < end + 4 + length {
        more(&mut bytes).await?;
    }
    let body = String::from_utf8_lossy(&bytes[end + 4..]).into_owned();
    Some(Asked { method, path: path.to_owned(), query: parameters(query), headers, body })
}

fn parameters(encoded: &str) -> BTreeMap<String, String> {
    let url = reqwest::Url::parse(&format!("http://form/?{encoded}")).unwrap();
    url.query_pairs().map(|(name, value)| (name.into_owned(), value.into_owned())).collect()
}
