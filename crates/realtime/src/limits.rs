//! What one client, one address and all of them together may take of this server.

use std::{sync::Arc, time::Duration};

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use shared::{
    config::Config,
    tally::{self, Tally},
};

/// Connections beyond those of the sessions: for the operator's questions while the server is full,
/// and for the second connection that a polling client needs.
const HEADROOM: usize = 256;

/// How long things may take. Tests shorten them.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// For the head of a request, and between two requests of a connection.
    pub head: Duration,
    /// For the body of a request.
    pub body: Duration,
    /// From the opening of a transport to the packet that joins the namespace.
    pub connect: Duration,
    /// For the change from polling to a websocket, once it has begun.
    pub upgrade: Duration,
    /// For a peer that takes nothing of what is sent to it.
    pub stall: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(10),
            body: Duration::from_secs(30),
            connect: Duration::from_secs(15),
            upgrade: Duration::from_secs(10),
            stall: Duration::from_secs(30),
        }
    }
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    /// The server has as many as it takes.
    Server,
    /// This address has as many as one may have.
    Address,
    /// The server is about to stop.
    Draining,
}

impl Full {
    /// The label of the metric.
    pub(crate) const fn reason(self) -> &'static str {
        match self {
            Self::Server => "full",
            Self::Address => "address",
            Self::Draining => "draining",
        }
    }

    const fn status(self) -> StatusCode {
        match self {
            Self::Server | Self::Draining => StatusCode::SERVICE_UNAVAILABLE,
            Self::Address => StatusCode::TOO_MANY_REQUESTS,
        }
    }

    const fn retry_after(self) -> &'static str {
        match self {
            Self::Server => "10",
            Self::Address => "30",
            Self::Draining => "2",
        }
    }

    const fn body(self) -> &'static str {
        match self {
            Self::Server => {
                r#"{"success":false,"message":"The chat has as many connections as it can take. Please try again in a moment"}"#
            }
            Self::Address => {
                r#"{"success":false,"message":"There are too many connections from your address. Please close some of them, or try again later"}"#
            }
            Self::Draining => {
                r#"{"success":false,"message":"The chat is being restarted. Please try again in a moment"}"#
            }
        }
    }

    /// The whole answer, for a connection whose request is not even read.
    pub(crate) fn raw(self) -> String {
        let (status, body) = (self.status(), self.body());
        format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\nretry-after: {}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            self.retry_after(),
            body.len()
        )
    }

    /// Counts it, and says so.
    pub(crate) fn refuse(self) -> Response {
        metrics::counter!("chat_handshakes_refused_total", "reason" => self.reason()).increment(1);
        self.into_response()
    }
}

impl IntoResponse for Full {
    fn into_response(self) -> Response {
        let headers = [
            (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
            (header::RETRY_AFTER, HeaderValue::from_static(self.retry_after())),
        ];
        (self.status(), headers, self.body()).into_response()
    }
}

impl From<tally::Full> for Full {
    fn from(full: tally::Full) -> Self {
        match full {
            tally::Full::All => Self::Server,
            tally::Full::Address => Self::Address,
        }
    }
}

/// How many Socket.IO sessions there may be.
pub(crate) fn sessions(config: &Config) -> Arc<Tally> {
    Tally::new(config.chat_connections_max, config.chat_connections_per_address)
}

/// How many connections, whatever they are for.
pub(crate) fn connections(config: &Config) -> Arc<Tally> {
    let polling = config.chat_connections_per_address.saturating_mul(2);
    Tally::new(config.chat_connections_max.saturating_add(HEADROOM), polling.saturating_add(16))
}
