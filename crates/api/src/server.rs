//! The HTTP server: middleware in order, and a shutdown that loses nothing.

use std::{net::TcpListener, sync::Arc, time::Duration};

use actix_cors::Cors;
use actix_web::{
    App as ActixApp, HttpServer,
    body::MessageBody,
    dev::{ServerHandle, ServiceRequest, ServiceResponse},
    http::{Method, StatusCode, header::CONTENT_LENGTH},
    middleware::{Next, from_fn},
    web,
};
use shared::arrival::origin_is_listed;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{
    audit_log, dead_letters,
    identity::{conduct, identify},
    outbox, payments, routes,
    state::App,
    watch,
};

/// A running API.
pub struct Server {
    handle: ServerHandle,
    task: JoinHandle<std::io::Result<()>>,
    app: Arc<App>,
    workers: [JoinHandle<()>; 6],
    quit: CancellationToken,
}

/// How long a shutdown waits for requests in progress.
const GRACE: Duration = Duration::from_secs(20);

/// Starts serving on a bound listener, and with it what it does unasked: the outbox and the watch.
pub fn serve(app: App, listener: TcpListener) -> std::io::Result<Server> {
    let address = listener.local_addr()?;
    let data = web::Data::new(app);
    let app = data.clone().into_inner();
    let server = HttpServer::new(move || {
        let config = Arc::clone(&data.config);
        ActixApp::new()
            .app_data(data.clone())
            .configure(routes::mount)
            .configure(|app| crate::media::mount_client(app, &data.config))
            .wrap(from_fn(identify))
            .wrap(from_fn(conduct))
            .wrap(cors(config))
            .wrap(from_fn(bodiless_preflights))
    })
    .listen(listener)?
    .disable_signals()
    .shutdown_timeout(GRACE.as_secs())
    .run();
    let handle = server.handle();
    let task = tokio::spawn(server);
    let quit = CancellationToken::new();
    let workers = [
        tokio::spawn(audit_log::keep(Arc::clone(&app), quit.clone())),
        tokio::spawn(outbox::work(Arc::clone(&app), quit.clone())),
        tokio::spawn(dead_letters::measure(Arc::clone(&app), quit.clone())),
        tokio::spawn(payments::inbox::work(Arc::clone(&app), quit.clone())),
        tokio::spawn(payments::sandbox::work(Arc::clone(&app), address, quit.clone())),
        tokio::spawn(watch::keep(Arc::clone(&app), quit.clone())),
    ];
    Ok(Server { handle, task, app, workers, quit })
}

impl Server {
    /// The application behind it.
    pub fn app(&self) -> Arc<App> {
        Arc::clone(&self.app)
    }

    /// Stops accepting, finishes what is in progress, also for clients that have left, and stops.
    pub async fn stop(self) {
        self.handle.pause().await;
        self.app.tasks.close();
        // Work that takes longer than this is given up, as the operator's stop would do anyway.
        _ = tokio::time::timeout(GRACE, self.app.tasks.wait()).await;
        self.handle.stop(true).await;
        self.quit.cancel();
        _ = self.task.await;
        for worker in self.workers {
            _ = worker.await;
        }
    }
}

/// Preflights answer 204, as they always did; the library has 200.
async fn bodiless_preflights(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let preflight = request.method() == Method::OPTIONS;
    let mut response = next.call(request).await?;
    if preflight && response.status() == StatusCode::OK {
        *response.response_mut().status_mut() = StatusCode::NO_CONTENT;
        response.headers_mut().remove(CONTENT_LENGTH);
    }
    Ok(response)
}

/// Listed origins may read every answer, with cookies. Foreign ones get no header, and their pages
/// then cannot read the answer; what they may change is decided by [`identify`].
fn cors(config: Arc<shared::config::Config>) -> Cors {
    Cors::default()
        .allowed_origin_fn(move |origin, _| {
            origin.to_str().is_ok_and(|origin| origin_is_listed(origin, &config))
        })
        .allowed_methods(["GET", "HEAD", "PUT", "PATCH", "POST", "DELETE"])
        .allow_any_header()
        .expose_headers(["x-request-id", "retry-after", "etag"])
        .supports_credentials()
        .block_on_origin_mismatch(false)
        .max_age(86_400)
}
