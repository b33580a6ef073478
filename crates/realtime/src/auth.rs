//! Who a connection belongs to: the session cookies of its handshake, which browsers send with every
//! websocket, or the token that a program puts into `auth`.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    extract::{ConnectInfo, Request, State},
    http::{HeaderMap, HeaderName, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use serde_json::Value;
use shared::{
    arrival::{Arrival, FORWARDING_HEADERS},
    auth::{Credentials, Identity, MARKER_COOKIE, Proof, SELLER_COOKIE, USER_COOKIE, resolve},
};

use crate::App;

/// What a handshake proves.
#[derive(Clone, Debug, Default)]
pub(crate) struct Handshake {
    /// Hex ids: a user, a shop, both, or nobody.
    pub(crate) people: Vec<String>,
    /// By which sessions.
    pub(crate) proofs: Vec<Proof>,
    /// It carries no credential, and the mode believes such a connection.
    pub(crate) bare: bool,
}

impl Handshake {
    fn add(&mut self, identity: Identity) {
        for proof in identity.proofs {
            let id = proof.account.hex();
            if !self.people.contains(&id) {
                self.people.push(id);
            }
            self.proofs.push(proof);
        }
    }
}

/// Middleware: looks at the request that opens a connection, so that a database that is down refuses
/// it and the client tries again, instead of being taken for a stranger for hours.
pub(crate) async fn recognise(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    if opens_a_connection(&request) {
        let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0);
        match read(&app, request.headers(), peer).await {
            Ok(handshake) => _ = request.extensions_mut().insert(handshake),
            Err(cause) => {
                tracing::warn!(%cause, "a connection was refused because the database did not answer");
                metrics::counter!("chat_handshakes_refused_total", "reason" => "database").increment(1);
                return (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "2")]).into_response();
            }
        }
    }
    next.run(request).await
}

/// The first request of a connection has no session id yet.
fn opens_a_connection(request: &Request) -> bool {
    request.uri().path().starts_with("/socket.io")
        && !request.uri().query().unwrap_or_default().split('&').any(|pair| pair.starts_with("sid="))
}

async fn read(app: &App, headers: &HeaderMap, peer: Option<SocketAddr>) -> mongodb::error::Result<Handshake> {
    let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let arrival = Arrival {
        host: text(header::HOST),
        origin: text(header::ORIGIN),
        fetch_site: text(HeaderName::from_static("sec-fetch-site")),
        peer: peer.map(|peer| peer.ip()),
        forwarded: FORWARDING_HEADERS.iter().any(|name| headers.contains_key(*name)),
    };
    let mut handshake = Handshake::default();
    if arrival.is_of_a_foreign_page(&app.config) {
        return Ok(handshake);
    }
    let bearer = text(header::AUTHORIZATION).and_then(|value| value.split_once(' '));
    let credentials = Credentials {
        user: cookie(headers, USER_COOKIE),
        marker: cookie(headers, MARKER_COOKIE),
        seller: cookie(headers, SELLER_COOKIE),
        bearer: bearer
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim().to_owned()),
    };
    if credentials.any() {
        handshake.add(resolve(&app.accounts, &app.sessions, &credentials, app.clock.now()).await?);
    } else {
        handshake.bare = arrival.bare_is_accepted(&app.config);
    }
    Ok(handshake)
}

pub(crate) fn cookie(headers: &HeaderMap, name: &str) -> Option<String> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(known, value)| *known == name && !value.is_empty())
        .map(|(_, value)| value.to_owned())
}

/// Adds whom the `token` of the connection's `auth` proves.
pub(crate) async fn add_token(
    app: &App,
    handshake: &mut Handshake,
    auth: &Value,
) -> mongodb::error::Result<()> {
    let Some(token) = auth.get("token").and_then(Value::as_str).filter(|token| !token.is_empty()) else {
        return Ok(());
    };
    handshake.bare = false;
    let token = token.strip_prefix("Bearer ").unwrap_or(token).trim().to_owned();
    let credentials = Credentials { bearer: Some(token), ..Credentials::default() };
    handshake.add(resolve(&app.accounts, &app.sessions, &credentials, app.clock.now()).await?);
    Ok(())
}
