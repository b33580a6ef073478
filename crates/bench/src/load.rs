//! The clients: each on one kept-alive connection, each with its next order ready when the last is answered.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Collected, Full};
use hyper::{
    HeaderMap, Method, Request, StatusCode,
    client::conn::http1::{self, SendRequest},
    header::{self, HeaderName, HeaderValue},
    http::request,
};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{net::TcpStream, time::Instant};

use crate::{
    goods::{Browser, Layout, Shelf},
    stats::Tally,
};

/// How a client proves who it is.
#[derive(Clone, Debug)]
pub(crate) enum Credential {
    Cookie(String),
    Bearer(String),
}

/// When what is sent begins to count, and when no more is sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Period {
    pub(crate) counted_from: Instant,
    pub(crate) until: Instant,
}

/// One connection to a server.
pub(crate) struct Client {
    address: String,
    credential: Option<Credential>,
    sender: SendRequest<Full<Bytes>>,
}

impl Client {
    pub(crate) async fn connect(address: &str, credential: Option<Credential>) -> anyhow::Result<Self> {
        let sender = dial(address).await.with_context(|| format!("cannot connect to {address}"))?;
        Ok(Self { address: address.to_owned(), credential, sender })
    }

    /// Asks, and gives the status and the body.
    pub(crate) async fn call(
        &mut self,
        method: Method,
        path: &str,
        body: String,
    ) -> anyhow::Result<(StatusCode, Bytes)> {
        let mut request = Request::builder().method(method).uri(path);
        if !body.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let (status, _, body) = self.send(request, body).await?;
        Ok((status, body.to_bytes()))
    }

    /// Asks for something, and gives all of the answer.
    pub(crate) async fn fetch(
        &mut self,
        path: &str,
        headers: &[(HeaderName, HeaderValue)],
    ) -> anyhow::Result<(StatusCode, HeaderMap, Collected<Bytes>)> {
        let request = Request::builder().uri(path);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(name, value));
        self.send(request, String::new()).await
    }

    async fn send(
        &mut self,
        request: request::Builder,
        body: String,
    ) -> anyhow::Result<(StatusCode, HeaderMap, Collected<Bytes>)> {
        let mut request = request.header(header::HOST, &self.address);
        request = match &self.credential {
            Some(Credential::Cookie(cookie)) => request.header(header::COOKIE, cookie),
            Some(Credential::Bearer(token)) => {
                request.header(header::AUTHORIZATION, format!("Bearer {token}"))
            }
            None => request,
        };
        if !self.sender.is_ready() {
            self.sender = dial(&self.address).await?;
        }
        let response = self.sender.send_request(request.body(Full::new(Bytes::from(body)))?).await?;
        let (head, body) = response.into_parts();
        let body = body.collect().await?;
        // The next request would otherwise find the connection still busy with the end of this one.
        self.sender.ready().await.ok();
        Ok((head.status, head.headers, body))
    }

    pub(crate) async fn get(&mut self, path: &str) -> anyhow::Result<Value> {
        let (status, body) = self.call(Method::GET, path, String::new()).await?;
        ensure!(status.is_success(), "{path} answers {status}");
        serde_json::from_slice(&body).with_context(|| format!("{path} answers no JSON"))
    }

    /// Orders, again and again, until the time is over. Gives what was counted and how many units were
    /// bought before that.
    pub(crate) async fn shop(
        mut self,
        mut browser: Browser,
        shelf: Arc<Shelf>,
        layout: Layout,
        period: Period,
    ) -> (Tally, Tally) {
        let (mut warm, mut counted) = (Tally::default(), Tally::default());
        loop {
            let (body, units) = browser.order(&shelf, layout);
            let begun = Instant::now();
            if begun >= period.until {
                return (warm, counted);
            }
            let answer = self.call(Method::POST, "/api/order/create-order", body).await;
            let took = begun.elapsed();
            let tally = if begun < period.counted_from { &mut warm } else { &mut counted };
            match answer {
                Ok((StatusCode::CREATED, _)) => tally.done(took, units),
                Ok((StatusCode::CONFLICT, body)) if body.windows(12).any(|text| text == b"out_of_stock") => {
                    tally.refused += 1;
                }
                Ok((status, body)) => tally.fail(format!("{status}: {}", String::from_utf8_lossy(&body))),
                Err(error) => {
                    tally.fail(format!("{error:#}"));
                    // A server that is gone must not make this a busy loop.
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }
}

async fn dial(address: &str) -> anyhow::Result<SendRequest<Full<Bytes>>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // Its end shows in the next request.
    tokio::spawn(async move { connection.await.ok() });
    Ok(sender)
}
