//! What the operator asks: is it alive, can it serve, how is it doing.

use actix_web::{HttpRequest, HttpResponse, Responder, http::header::ContentType};
use serde_json::json;

use crate::{
    error::Result,
    identity,
    routes::{self, Route, get},
    state::State,
};

pub(crate) fn routes() -> Vec<Route> {
    vec![
        get("/ping", ping),
        get("/healthz", health),
        get("/readyz", ready),
        get("/metrics", metrics),
        get("/openapi.yaml", openapi),
    ]
}

/// `GET /ping`: as the old server answers it.
async fn ping() -> impl Responder {
    HttpResponse::Ok().content_type(ContentType::html()).body("pong")
}

/// `GET /healthz`: the process is alive, whatever else is.
async fn health() -> impl Responder {
    HttpResponse::Ok().json(json!({ "status": "ok" }))
}

/// `GET /readyz`: 200 once requests can be served, 503 while the database does not answer, and once the server is
/// about to stop.
async fn ready(state: State) -> impl Responder {
    if state.leaving.is_cancelled() {
        return HttpResponse::ServiceUnavailable()
            .insert_header(("Retry-After", "2"))
            .json(json!({ "status": "not ready", "database": "not asked, the server is about to stop" }));
    }
    let asked = tokio::time::timeout(std::time::Duration::from_secs(2), state.db.ping()).await;
    if matches!(asked, Ok(Ok(()))) {
        HttpResponse::Ok().json(json!({ "status": "ready", "database": "ok" }))
    } else {
        HttpResponse::ServiceUnavailable()
            .insert_header(("Retry-After", "2"))
            .json(json!({ "status": "not ready", "database": "unreachable" }))
    }
}

/// `GET /metrics`: Prometheus' text format, to those on this machine; in production on a port of its own.
async fn metrics(request: HttpRequest, state: State) -> Result<HttpResponse> {
    if !identity::arrival_of(&request).may_see_metrics(&state.config) {
        return routes::not_found(request).await;
    }
    Ok(HttpResponse::Ok()
        .content_type("text/plain; version=0.0.4; charset=utf-8")
        .body(shared::telemetry::render_metrics()))
}

/// `GET /openapi.yaml`: the contract, as this build was tested against it.
async fn openapi() -> impl Responder {
    HttpResponse::Ok().content_type("application/yaml").body(include_str!("../../../openapi.yaml"))
}
