//! What becomes of each request, for whoever watches: numbers by route, and a line of the access log.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use actix_web::{
    HttpMessage as _,
    body::{BodySize, MessageBody},
    dev::ServiceResponse,
    http::{Method, header::HeaderMap},
};
use shared::{config::Config, id::Id};

use crate::identity::Caller;

/// Whatever is at no address of ours, so that guessed addresses make no numbers of their own.
const NOWHERE: &str = "none";

/// The address of an endpoint as the route table has it, parameters as `{id}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RouteName(pub(crate) &'static str);

impl RouteName {
    /// The name of a route. There are as many as there are routes, however many servers a process runs.
    pub(crate) fn of(path: &str) -> Self {
        static NAMES: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
        let path = path.replace(":.*}", "}");
        let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = names.get(path.as_str()) {
            return Self(known);
        }
        let name: &'static str = Box::leak(path.into_boxed_str());
        names.insert(name);
        Self(name)
    }
}

/// What a request is called in the log, in its answer and in all that follows from it: as a trusted proxy has called it,
/// or by a new name.
pub(crate) fn request_id(peer: Option<IpAddr>, headers: &HeaderMap, config: &Config) -> String {
    let given = || headers.get("x-request-id")?.to_str().ok().filter(|id| is_id(id)).map(str::to_owned);
    is_trusted(peer, config).then(given).flatten().unwrap_or_else(|| Id::<()>::new().hex())
}

/// The trace of which a request is a part, as a trusted proxy says. Others would have everything of theirs traced.
pub(crate) fn traceparent<'a>(
    peer: Option<IpAddr>,
    headers: &'a HeaderMap,
    config: &Config,
) -> Option<&'a str> {
    is_trusted(peer, config).then(|| headers.get("traceparent")?.to_str().ok()).flatten()
}

fn is_trusted(peer: Option<IpAddr>, config: &Config) -> bool {
    peer.is_some_and(|peer| config.trusted_proxies.iter().any(|network| network.contains(peer)))
}

/// What does nothing to a log or to a terminal.
fn is_id(text: &str) -> bool {
    (8..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

/// Anybody may make methods up.
pub(crate) fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::PATCH => "PATCH",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

/// What is known of an answer.
pub(crate) struct Answered {
    pub(crate) method: &'static str,
    pub(crate) route: &'static str,
    pub(crate) status: u16,
    pub(crate) took: Duration,
    /// None where it is made while it is sent.
    pub(crate) bytes: Option<u64>,
    pub(crate) caller: &'static str,
}

impl Answered {
    pub(crate) fn of<B: MessageBody>(response: &ServiceResponse<B>, method: &Method, took: Duration) -> Self {
        let request = response.request();
        // It is known before a handler runs; those whom middleware has turned away never came so far.
        let route = request.app_data::<RouteName>().copied();
        let route = route.or_else(|| request.match_pattern().map(|pattern| RouteName::of(&pattern)));
        let caller = request.extensions().get::<Caller>().map_or("nobody", Caller::kind);
        let bytes = match response.response().body().size() {
            BodySize::None => Some(0),
            BodySize::Sized(bytes) => Some(bytes),
            BodySize::Stream => None,
        };
        Self {
            method: method_name(method),
            route: route.map_or(NOWHERE, |route| route.0),
            status: response.status().as_u16(),
            took,
            bytes,
            caller,
        }
    }

    /// Counts it and writes its line. Never the address as it was typed, which may hold anything.
    pub(crate) fn note(&self) {
        let Self { method, route, status, took, bytes, caller } = *self;
        metrics::counter!(
            "http_requests_total", "method" => method, "route" => route, "status" => status_name(status)
        )
        .increment(1);
        metrics::histogram!("http_request_duration_seconds", "method" => method, "route" => route)
            .record(took);
        let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        if is_probe(route) {
            tracing::debug!(target: "access", method, route, status, ms, bytes, caller, "answered");
        } else {
            tracing::info!(target: "access", method, route, status, ms, bytes, caller, "answered");
        }
    }
}

/// What machines ask every few seconds.
fn is_probe(route: &str) -> bool {
    matches!(route, "/ping" | "/healthz" | "/readyz" | "/metrics")
}

/// The usual ones cost nothing to name.
fn status_name(status: u16) -> metrics::SharedString {
    match status {
        200 => "200".into(),
        201 => "201".into(),
        204 => "204".into(),
        304 => "304".into(),
        400 => "400".into(),
        401 => "401".into(),
        403 => "403".into(),
        404 => "404".into(),
        409 => "409".into(),
        422 => "422".into(),
        429 => "429".into(),
        500 => "500".into(),
        503 => "503".into(),
        other => other.to_string().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_has_one_name() {
        assert_eq!(RouteName::of("/uploads/{path:.*}"), RouteName("/uploads/{path}"));
        let twice = [RouteName::of("/api/x/{id}"), RouteName::of("/api/x/{id}")];
        assert!(std::ptr::eq(twice[0].0, twice[1].0));
    }

    #[test]
    fn only_a_trusted_proxy_names_requests_and_not_everything_is_a_name() {
        let config =
            Config::read(|name| (name == "TRUSTED_PROXIES").then(|| "10.0.0.0/8".to_owned())).unwrap();
        let named = |peer: &str, id: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(
                actix_web::http::header::HeaderName::from_static("x-request-id"),
                actix_web::http::header::HeaderValue::from_bytes(id.as_bytes()).unwrap(),
            );
            request_id(Some(peer.parse().unwrap()), &headers, &config)
        };
        assert_eq!(named("10.1.2.3", "edge-7.4_2b9c"), "edge-7.4_2b9c");
        assert_ne!(named("192.0.2.1", "edge-7.4_2b9c"), "edge-7.4_2b9c");
        for bad in ["short", "a b c d e f g h", "\"},{\"level\":\"x", "ä-ä-ä-ä-ä-ä", &"x".repeat(65)] {
            assert_ne!(named("10.1.2.3", bad), bad, "{bad}");
            assert_eq!(named("10.1.2.3", bad).len(), 24);
        }
    }
}
