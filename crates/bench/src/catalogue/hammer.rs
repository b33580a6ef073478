//! Clients that ask for pages: as fast as they are answered, or so many times a second.

use std::{sync::Arc, time::Duration};

use anyhow::ensure;
use hyper::{
    HeaderMap, StatusCode,
    header::{ACCEPT_ENCODING, CONTENT_ENCODING, ETAG, HeaderName, HeaderValue, IF_NONE_MATCH},
};
use tokio::time::Instant;

use crate::{
    load::{Client, Period},
    machine::Meter,
    stats::{Figures, Tally},
};

/// What is asked for, and what is right to come back.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) path: String,
    headers: Vec<(HeaderName, HeaderValue)>,
    status: StatusCode,
}

impl Ask {
    pub(crate) fn plain(path: impl Into<String>) -> Self {
        Self { path: path.into(), headers: Vec::new(), status: StatusCode::OK }
    }

    pub(crate) fn gzip(path: impl Into<String>) -> Self {
        let headers = vec![(ACCEPT_ENCODING, HeaderValue::from_static("gzip"))];
        Self { headers, ..Self::plain(path) }
    }

    /// Only if it is not what its answer was.
    pub(crate) fn unchanged(self, tag: HeaderValue) -> Self {
        let mut headers = self.headers;
        headers.push((IF_NONE_MATCH, tag));
        Self { headers, status: StatusCode::NOT_MODIFIED, ..self }
    }

    /// The same of another path.
    pub(crate) fn at(&self, path: &str) -> Self {
        Self { path: path.to_owned(), ..self.clone() }
    }

    /// Asks once, and gives the tag and the body.
    pub(crate) async fn once(&self, client: &mut Client) -> anyhow::Result<(HeaderMap, Vec<u8>)> {
        let (status, headers, body) = client.fetch(&self.path, &self.headers).await?;
        ensure!(status == self.status, "{} answers {status}", self.path);
        Ok((headers, body.to_bytes().to_vec()))
    }

    /// The answer's tag.
    pub(crate) async fn tag(&self, client: &mut Client) -> anyhow::Result<Option<HeaderValue>> {
        let (headers, _) = self.once(client).await?;
        if self.headers.iter().any(|(name, _)| name == ACCEPT_ENCODING) {
            ensure!(headers.contains_key(CONTENT_ENCODING), "{} is not compressed", self.path);
        }
        Ok(headers.get(ETAG).cloned())
    }
}

/// What was measured.
pub(crate) struct Cell {
    pub(crate) figures: Figures,
    /// Percent of a core of each group of processes.
    pub(crate) cpu: Vec<u64>,
}

/// How they ask.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    pub(crate) clients: usize,
    pub(crate) warm_up: Duration,
    pub(crate) time: Duration,
    /// Between one question of a client and its next; nothing for as fast as it can.
    pub(crate) every: Option<Duration>,
}

/// Has all clients ask, each beginning at another place of the list.
pub(crate) async fn hammer(
    address: &str,
    asks: &Arc<Vec<Ask>>,
    pace: Pace,
    pids: Vec<Vec<u32>>,
) -> anyhow::Result<Cell> {
    let counted_from = Instant::now() + pace.warm_up;
    let period = Period { counted_from, until: counted_from + pace.time };
    let mut clients = Vec::new();
    for number in 0..pace.clients {
        let client = Client::connect(address, None).await?;
        clients.push(tokio::spawn(ask(client, Arc::clone(asks), number, period, pace)));
    }
    tokio::time::sleep_until(counted_from).await;
    let meter = Meter::start(pids);
    let mut all = Tally::default();
    for client in clients {
        all.add(client.await?);
    }
    let elapsed = counted_from.elapsed();
    Ok(Cell { cpu: meter.read(), figures: all.figures(elapsed) })
}

async fn ask(mut client: Client, asks: Arc<Vec<Ask>>, number: usize, period: Period, pace: Pace) -> Tally {
    let mut tally = Tally::default();
    let mut due = Instant::now();
    if let Some(every) = pace.every {
        // Not all in the same moment.
        due += every * u32::try_from(number).unwrap_or(0) / u32::try_from(pace.clients).unwrap_or(1).max(1);
    }
    for ask in asks.iter().cycle().skip(number.wrapping_mul(7919) % asks.len().max(1)) {
        if let Some(every) = pace.every {
            tokio::time::sleep_until(due).await;
            due += every;
        }
        let begun = Instant::now();
        if begun >= period.until {
            break;
        }
        let answer = client.fetch(&ask.path, &ask.headers).await;
        let took = begun.elapsed();
        if begun < period.counted_from {
            continue;
        }
        match answer {
            Ok((status, ..)) if status == ask.status => tally.done(took, 0),
            Ok((status, _, body)) => {
                let start: String = String::from_utf8_lossy(&body.to_bytes()).chars().take(200).collect();
                tally.fail(format!("{}: {status}: {start}", ask.path));
            }
            Err(error) => {
                tally.fail(format!("{}: {error:#}", ask.path));
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    tally
}
