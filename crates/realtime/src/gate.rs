//! How requests become sessions: who may open one, the handshake of the websocket, which is ours so
//! that the stream behind it is a [`Line`], and the pid in the answers to polling clients.

use std::{
    net::{IpAddr, SocketAddr},
    str::FromStr as _,
    sync::Arc,
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{ConnectInfo, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use hyper::upgrade::OnUpgrade;
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use shared::{arrival::caller, config::Config};
use socketioxide::{adapter::Adapter, service::SocketIoService, socket::Sid};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::{
    control::{Control, Lines},
    limits::Full,
    line::{Line, Wire},
};

/// Where socketioxide listens.
const PATH: &str = "/socket.io";

/// What is kept of the headers that opened a session, for as long as it lasts. The others, and the
/// buffer that all of them were read into, are let go.
const KEPT: [HeaderName; 3] =
    [header::USER_AGENT, header::ORIGIN, HeaderName::from_static("x-forwarded-for")];

/// The engine's own words for a session that it does not know, and for a wrong request.
const UNKNOWN_SESSION: &str = r#"{"code":"1","message":"Session ID unknown"}"#;
const BAD_REQUEST: &str = r#"{"code":"3","message":"Bad request"}"#;

const NO_UPGRADE: &str = r#"{"success":false,"message":"This is no WebSocket handshake: it needs Connection: Upgrade, Upgrade: websocket, Sec-WebSocket-Version: 13 and a Sec-WebSocket-Key of 16 bytes in base64"}"#;
const TOO_SLOW: &str = r#"{"success":false,"message":"The request did not arrive in time"}"#;

/// The way into socketioxide, whatever its adapter.
pub(crate) struct Gate {
    pub(crate) lines: Arc<Lines>,
    config: Arc<Config>,
    websocket: Box<dyn Fn(Line, hyper::Request<()>) + Send + Sync>,
    polling: Box<dyn Fn(Request) -> BoxFuture<'static, Response> + Send + Sync>,
}

impl Gate {
    pub(crate) fn new<A: Adapter>(
        service: &SocketIoService<Router, A>,
        config: Arc<Config>,
        lines: Arc<Lines>,
    ) -> Self {
        let (raw, requests) = (service.clone(), TowerToHyperService::new(service.clone()));
        Self {
            lines,
            config,
            websocket: Box::new(move |line, request| {
                // It runs by itself, and fails only for requests that have been refused before.
                _ = hyper::service::Service::call(&raw, (line, request));
            }),
            polling: Box::new(move |request| {
                let answer = hyper::service::Service::call(&requests, request);
                Box::pin(async move {
                    match answer.await {
                        Ok(answer) => answer.map(Body::new),
                        Err(never) => match never {},
                    }
                })
            }),
        }
    }

    /// Ends a polling session as its client would. Its request that waits is answered first.
    pub(crate) async fn close(&self, sid: Sid) {
        let mut request = Request::new(Body::from("1"));
        *request.method_mut() = Method::POST;
        let uri = format!("{PATH}/?EIO=4&transport=polling&sid={sid}");
        if let Ok(uri) = Uri::from_str(&uri) {
            *request.uri_mut() = uri;
            (self.polling)(request).await;
        }
    }

    /// The address that counts for the limit, and that is known at all.
    fn addresses(&self, request: &Request) -> (Option<IpAddr>, Option<IpAddr>) {
        let Some(peer) = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip()) else {
            return (None, None);
        };
        let forwarded = request.headers().get_all("x-forwarded-for");
        // What the client sent ahead of the proxy's entry may be anything, and must not hide that entry.
        let forwarded: Vec<_> =
            forwarded.iter().map(|line| String::from_utf8_lossy(line.as_bytes())).collect();
        let caller = caller(peer, forwarded.iter().map(AsRef::as_ref), &self.config);
        (caller.filter(|_| self.config.rate_limits), caller)
    }

    /// Before anything is looked up for a request: whether it may go on. The control of its session
    /// goes along with it.
    fn check(&self, request: &mut Request) -> Result<(), Refusal> {
        let control = match Ask::of(request) {
            Ask::Elsewhere | Ask::Polling(Some(_)) | Ask::Unclear => return Ok(()),
            Ask::Websocket(sid) => {
                accept_key(request)?;
                match sid.map(|sid| self.lines.find(sid)) {
                    None => self.open(request)?,
                    Some(None) => return Err(Refusal::Bad("unknown_session", UNKNOWN_SESSION)),
                    Some(Some(control)) if control.is_on_line() => {
                        return Err(Refusal::Bad("bad_upgrade", BAD_REQUEST));
                    }
                    Some(Some(control)) => control,
                }
            }
            Ask::Polling(None) => self.open(request)?,
        };
        request.extensions_mut().insert(control);
        Ok(())
    }

    fn open(&self, request: &Request) -> Result<Arc<Control>, Refusal> {
        let (limited, address) = self.addresses(request);
        self.lines.open(address, limited).map_err(Refusal::NoPlace)
    }

    /// Answers the handshake and hands the connection over.
    fn upgrade(self: Arc<Self>, mut request: Request) -> Response {
        let key = match accept_key(&request) {
            Ok(key) => key,
            Err(refusal) => return refusal.into_response(),
        };
        let Some(control) = request.extensions().get::<Arc<Control>>().cloned() else {
            return StatusCode::BAD_REQUEST.into_response();
        };
        let upgrade = hyper::upgrade::on(&mut request);
        let request = slim(request).map(drop);
        let limit = self.lines.limits.upgrade;
        tokio::spawn(async move {
            let Ok(Ok(upgraded)) = tokio::time::timeout(limit, upgrade).await else { return };
            let Ok(parts) = upgraded.downcast::<TokioIo<Wire>>() else { return };
            (self.websocket)(Line::new(parts.io.into_inner(), parts.read_buf, control), request);
        });
        let headers = [
            (header::UPGRADE, HeaderValue::from_static("websocket")),
            (header::CONNECTION, HeaderValue::from_static("Upgrade")),
            (header::SEC_WEBSOCKET_ACCEPT, key),
        ];
        (StatusCode::SWITCHING_PROTOCOLS, headers).into_response()
    }

    /// Opens a polling session: its id is in the answer.
    async fn begin(&self, request: Request) -> Response {
        let control = request.extensions().get::<Arc<Control>>().cloned();
        let answer = (self.polling)(slim(request)).await;
        let Some(control) = control.filter(|_| answer.status() == StatusCode::OK) else { return answer };
        rewrite(answer, |text| {
            let open: Opened = serde_json::from_str(text.strip_prefix('0')?).ok()?;
            control.began(open.sid.parse().ok()?);
            None
        })
        .await
    }

    /// A request of a polling session.
    async fn poll(&self, sid: Sid, request: Request) -> Response {
        let control = self.lines.find(sid);
        let get = request.method() == Method::GET;
        let answer = (self.polling)(request);
        if !get {
            return match tokio::time::timeout(self.lines.limits.body, answer).await {
                Ok(answer) => answer,
                Err(_) => (StatusCode::REQUEST_TIMEOUT, JSON, TOO_SLOW).into_response(),
            };
        }
        let answer = answer.await;
        let untold = |control: &Arc<Control>| control.is_untold() && answer.status() == StatusCode::OK;
        let Some(control) = control.filter(untold) else { return answer };
        rewrite(answer, |text| {
            let mut new = String::new();
            for (i, packet) in text.split(SEPARATOR).enumerate() {
                if i > 0 {
                    new.push(SEPARATOR);
                }
                new.push_str(control.tell(packet).as_deref().unwrap_or(packet));
            }
            Some(new)
        })
        .await
    }
}

/// Between the packets of a polling answer.
const SEPARATOR: char = '\u{1e}';

const JSON: [(HeaderName, &str); 1] = [(header::CONTENT_TYPE, "application/json")];

#[derive(serde::Deserialize)]
struct Opened<'a> {
    sid: &'a str,
}

/// Why a session is not opened, or not carried on over a websocket.
enum Refusal {
    NoPlace(Full),
    /// The metric's reason, and what the client is told.
    Bad(&'static str, &'static str),
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match self {
            Self::NoPlace(full) => full.refuse(),
            Self::Bad(reason, body) => {
                metrics::counter!("chat_handshakes_refused_total", "reason" => reason).increment(1);
                (StatusCode::BAD_REQUEST, JSON, body).into_response()
            }
        }
    }
}

/// Puts another text in the place of an answer's, if there is one.
async fn rewrite(answer: Response, change: impl FnOnce(&str) -> Option<String>) -> Response {
    let (mut parts, body) = answer.into_parts();
    // It is in memory already; the engine bounds it.
    let Ok(body) = to_bytes(body, usize::MAX).await else { return StatusCode::BAD_GATEWAY.into_response() };
    let changed = std::str::from_utf8(&body).ok().and_then(change);
    let body = changed.map_or(body, Bytes::from);
    parts.headers.insert(header::CONTENT_LENGTH, body.len().into());
    Response::from_parts(parts, Body::from(body))
}

/// Middleware, outside of everything that costs something: refuses what can be refused at once.
pub(crate) async fn admit(State(gate): State<Arc<Gate>>, mut request: Request, next: Next) -> Response {
    match gate.check(&mut request) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
}

/// Everything that no route of the server is for.
pub(crate) async fn handle(State(gate): State<Arc<Gate>>, request: Request) -> Response {
    match Ask::of(&request) {
        Ask::Elsewhere => StatusCode::NOT_FOUND.into_response(),
        Ask::Websocket(_) => gate.upgrade(request),
        Ask::Polling(None) => gate.begin(request).await,
        Ask::Polling(Some(sid)) => gate.poll(sid, request).await,
        // The engine knows what to say to that.
        Ask::Unclear => (gate.polling)(request).await,
    }
}

/// What a request wants, read as the engine reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ask {
    /// Nothing of Socket.IO.
    Elsewhere,
    /// A websocket, for a new session or for this one.
    Websocket(Option<Sid>),
    /// A new session, or something for this one.
    Polling(Option<Sid>),
    /// The engine will refuse it.
    Unclear,
}

impl Ask {
    fn of(request: &Request) -> Self {
        if !request
            .uri()
            .path()
            .strip_prefix(PATH)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        {
            return Self::Elsewhere;
        }
        let query = request.uri().query().unwrap_or_default();
        let value = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name));
        let first = |name: &str| value(name).and_then(|value| value.split('=').next());
        let sid = value("sid=").map(str::parse::<Sid>).transpose();
        let (Some("4"), Ok(sid)) = (first("EIO="), sid) else { return Self::Unclear };
        match first("transport=") {
            Some("websocket") if request.method() == Method::GET => Self::Websocket(sid),
            Some("polling") if request.method() == Method::GET || sid.is_some() => Self::Polling(sid),
            _ => Self::Unclear,
        }
    }
}

/// What the handshake is answered with, or what is wrong with it.
fn accept_key(request: &Request) -> Result<HeaderValue, Refusal> {
    let headers = request.headers();
    let lists = |name: HeaderName, wanted: &str| {
        let values = headers.get_all(name);
        let mut values =
            values.iter().filter_map(|value| value.to_str().ok()).flat_map(|list| list.split(','));
        values.any(|value| value.trim().eq_ignore_ascii_case(wanted))
    };
    let key = headers.get(header::SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes).unwrap_or_default();
    let good = lists(header::CONNECTION, "upgrade")
        && lists(header::UPGRADE, "websocket")
        && headers.get(header::SEC_WEBSOCKET_VERSION).is_some_and(|version| version == "13")
        && is_key(key)
        // Only a connection that can be upgraded has one.
        && request.extensions().get::<OnUpgrade>().is_some();
    let answer = good.then(|| HeaderValue::from_str(&derive_accept_key(key)).ok()).flatten();
    answer.ok_or(Refusal::Bad("bad_upgrade", NO_UPGRADE))
}

/// Whether these are sixteen bytes in base64.
fn is_key(key: &[u8]) -> bool {
    let Some((digits, b"==")) = key.split_last_chunk::<2>() else { return false };
    let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    digits.len() == 22 && digits.iter().all(is_digit)
}

/// The same request without what nobody needs while its session lasts.
fn slim(request: Request) -> Request {
    let (mut parts, body) = request.into_parts();
    let mut headers = HeaderMap::new();
    for name in KEPT {
        if let Some(value) = parts.headers.get(&name).and_then(|v| HeaderValue::from_bytes(v.as_bytes()).ok())
        {
            headers.insert(name, value);
        }
    }
    parts.headers = headers;
    // Parsed again, since the old one is a part of the buffer that the request was read into.
    parts.uri = Uri::from_str(&parts.uri.to_string()).unwrap_or_default();
    parts.extensions.remove::<OnUpgrade>();
    Request::from_parts(parts, body)
}
