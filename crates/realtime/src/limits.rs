//! What one client, one address and all of them together may take of this server.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use shared::{arrival::household, config::Config};

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

/// Counts what is open, in all and for each address.
#[derive(Debug)]
pub(crate) struct Tally {
    open: Mutex<Open>,
    most: usize,
    most_of_one: usize,
}

#[derive(Debug, Default)]
struct Open {
    all: usize,
    of: HashMap<IpAddr, usize>,
}

impl Tally {
    /// Of Socket.IO sessions.
    pub(crate) fn of_sessions(config: &Config) -> Arc<Self> {
        Self::new(config.chat_connections_max, config.chat_connections_per_address)
    }

    /// Of connections, whatever they are for.
    pub(crate) fn of_connections(config: &Config) -> Arc<Self> {
        let polling = config.chat_connections_per_address.saturating_mul(2);
        Self::new(config.chat_connections_max.saturating_add(HEADROOM), polling.saturating_add(16))
    }

    fn new(most: usize, most_of_one: usize) -> Arc<Self> {
        Arc::new(Self { open: Mutex::default(), most, most_of_one })
    }

    /// Takes a place until it is dropped. Without an address it counts in all only.
    pub(crate) fn take(self: &Arc<Self>, address: Option<IpAddr>) -> Result<Place, Full> {
        let address = address.map(household);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.all >= self.most {
            return Err(Full::Server);
        }
        if let Some(address) = address {
            let of_one = open.of.entry(address).or_default();
            if *of_one >= self.most_of_one {
                return Err(Full::Address);
            }
            *of_one += 1;
        }
        open.all += 1;
        drop(open);
        Ok(Place { tally: Arc::clone(self), address })
    }
}

/// One of what a [`Tally`] counts.
#[derive(Debug)]
pub(crate) struct Place {
    tally: Arc<Tally>,
    address: Option<IpAddr>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.tally.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.all = open.all.saturating_sub(1);
        if let Some(address) = self.address
            && let Some(of_one) = open.of.get_mut(&address)
        {
            *of_one = of_one.saturating_sub(1);
            if *of_one == 0 {
                open.of.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn places_are_counted_in_all_and_for_each_address_and_come_back() {
        let tally = Tally::new(4, 2);
        let first = tally.take(at("10.0.0.1")).unwrap();
        let _second = tally.take(at("::ffff:10.0.0.1")).unwrap();
        assert_eq!(tally.take(at("10.0.0.1")).unwrap_err(), Full::Address);
        let _third = tally.take(at("10.0.0.2")).unwrap();
        let nobodys = tally.take(None).unwrap();
        assert_eq!(tally.take(at("10.0.0.3")).unwrap_err(), Full::Server);
        drop(nobodys);
        drop(first);
        let _fourth = tally.take(at("10.0.0.1")).unwrap();
        assert_eq!(tally.take(at("10.0.0.1")).unwrap_err(), Full::Address);
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let tally = Tally::new(10, 1);
        let place = tally.take(at("2001:db8::1")).unwrap();
        assert!(tally.take(at("2001:db8::ffff:2")).is_err());
        assert!(tally.take(at("2001:db8:0:1::1")).is_ok());
        drop(place);
        assert!(tally.take(at("2001:db8::3")).is_ok());
        assert!(tally.open.lock().unwrap().of.is_empty(), "nothing is remembered of those who left");
    }
}
