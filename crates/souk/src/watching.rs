//! A port of its own for those who watch: measurements are nothing for everybody to read.

use std::net::TcpListener;

use axum::{Router, http::header, routing::get};
use shared::telemetry;
use tokio::task::JoinHandle;

/// Answers until it is dropped.
pub(crate) struct Watching(JoinHandle<()>);

impl Watching {
    /// Serves `/metrics` on a bound listener.
    pub(crate) fn serve(listener: TcpListener) -> std::io::Result<Self> {
        listener.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let text = (header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8");
        let router = Router::new()
            .route("/metrics", get(async move || ([text], telemetry::render_metrics())))
            .route("/healthz", get(async || r#"{"status":"ok"}"#));
        Ok(Self(tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::error!(%error, "measurements are not served any more");
            }
        })))
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.abort();
    }
}
