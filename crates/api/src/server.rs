//! The HTTP server: middleware in order, and a shutdown that loses nothing.

use std::{
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use actix_cors::Cors;
use actix_http::{HttpService, Protocol, error::DispatchError};
use actix_service::{
    IntoServiceFactory as _, ServiceFactory, ServiceFactoryExt as _, fn_service, map_config,
};
use actix_web::{
    App as ActixApp,
    body::MessageBody,
    dev::{AppConfig, ServerHandle, ServiceRequest, ServiceResponse},
    http::{
        Method, StatusCode,
        header::{ACCESS_CONTROL_ALLOW_CREDENTIALS, CONTENT_LENGTH, HeaderMap, HeaderValue, VARY},
    },
    middleware::{Next, from_fn},
    web,
};
use shared::arrival::origin_is_listed;
use tokio::{net::TcpStream, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{
    audit_log, catalogue, gauges, headers,
    identity::{conduct, identify},
    line::{Line, Lines, serving},
    outbox, panel, payments, port, routes,
    state::App,
    watch, webhooks,
};

/// A running API.
pub struct Server {
    listener: TcpListener,
    lines: Arc<Lines>,
    handle: ServerHandle,
    task: JoinHandle<std::io::Result<()>>,
    app: Arc<App>,
    workers: [JoinHandle<()>; 9],
    quit: CancellationToken,
}

/// How long a connection whose last answer was given before its request had been read whole may take to read it.
const FAREWELL: Duration = Duration::from_secs(2);

/// How often a shutdown looks whether the last connection has ended.
const LOOK: Duration = Duration::from_millis(10);

/// Starts serving on a bound listener, and with it what it does unasked: the outbox and the watch.
pub fn serve(app: App, listener: TcpListener) -> std::io::Result<Server> {
    let address = listener.local_addr()?;
    let data = web::Data::new(app);
    let app = data.clone().into_inner();
    let lines = Lines::new(Arc::clone(&app.config));
    let service = {
        let lines = Arc::clone(&lines);
        move || connections(data.clone(), &lines)
    };
    let server = actix_server::Server::build()
        .listen("api", listener.try_clone()?, service)?
        .disable_signals()
        // What is in progress is waited for before.
        .shutdown_timeout(1)
        .run();
    let handle = server.handle();
    let task = tokio::spawn(server);
    let quit = CancellationToken::new();
    let workers = [
        tokio::spawn(catalogue::memory::keep::keep(Arc::clone(&app), quit.clone())),
        tokio::spawn(audit_log::keep(Arc::clone(&app), quit.clone())),
        tokio::spawn(outbox::work(Arc::clone(&app), quit.clone())),
        tokio::spawn(gauges::keep(Arc::clone(&app), quit.clone())),
        tokio::spawn(payments::inbox::work(Arc::clone(&app), quit.clone())),
        tokio::spawn(payments::sandbox::work(Arc::clone(&app), address, quit.clone())),
        tokio::spawn(webhooks::work(Arc::clone(&app), quit.clone())),
        tokio::spawn(webhooks::measure(Arc::clone(&app), quit.clone())),
        tokio::spawn(watch::keep(Arc::clone(&app), quit.clone())),
    ];
    Ok(Server { listener, lines, handle, task, app, workers, quit })
}

/// What becomes of a connection: it is let in, or told why not, and its requests are served.
fn connections(
    data: web::Data<App>,
    lines: &Arc<Lines>,
) -> impl ServiceFactory<TcpStream, Config = (), Response = (), Error = DispatchError, InitError = ()> + use<>
{
    let config = Arc::clone(&data.config);
    let app = ActixApp::new()
        .app_data(data.clone())
        .configure(routes::mount)
        .configure(panel::mount)
        .configure(|app| crate::media::mount_client(app, &data.config))
        .wrap(from_fn(identify))
        .wrap(from_fn(conduct))
        .wrap(cors(Arc::clone(&config)))
        .wrap(from_fn(bodiless_preflights))
        .wrap(from_fn(headers::harden))
        .wrap(from_fn(catalogue::front::at_once))
        .wrap(from_fn(serving))
        .into_factory()
        .map_err(|error: actix_web::Error| error.as_response_error().error_response());
    let service = HttpService::build()
        // Heads and idle connections are timed by the lines, and heads not only once.
        .keep_alive(config.connection_limits.idle)
        .client_request_timeout(Duration::ZERO)
        .client_disconnect_timeout(FAREWELL)
        .on_connect_ext(|line: &Line, known| {
            known.insert(line.standing());
        })
        .finish(map_config(app, |()| AppConfig::default()));
    let lines = Arc::clone(lines);
    fn_service(move |stream: TcpStream| {
        let peer: Option<SocketAddr> = stream.peer_addr().ok();
        let admitted = lines.admit(stream).map(|line| (line, Protocol::Http1, peer));
        std::future::ready(admitted.map_err(DispatchError::Io))
    })
    .and_then(service)
}

impl Server {
    /// The application behind it.
    pub fn app(&self) -> Arc<App> {
        Arc::clone(&self.app)
    }

    /// Says that it stops, for a while; then closes the port, finishes what is in progress, also for clients that
    /// have left, and stops.
    ///
    /// Every answer from the beginning on is its connection's last, and connections without a request end once the
    /// port is closed, so that nobody asks where nobody is.
    pub async fn stop(self) {
        let shutdown = self.app.config.shutdown;
        self.app.leaving.cancel();
        tokio::time::sleep(shutdown.lead).await;
        port::close(&self.listener, &self.handle).await;
        self.lines.drain.cancel();
        let finishing = async {
            // A request that has come makes tasks, and a task that has ended gives its answer.
            while self.lines.open() > 0 {
                tokio::time::sleep(LOOK).await;
            }
            self.app.tasks.close();
            self.app.tasks.wait().await;
        };
        // Work that takes longer than this is given up, as the operator's stop would do anyway.
        _ = tokio::time::timeout(shutdown.grace, finishing).await;
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

/// What scripts may read of every answer besides its content.
const EXPOSED: [&str; 3] = ["x-request-id", "retry-after", "etag"];

/// What [`cors`] says of answers to those who name no origin.
pub(crate) fn cors_of_all(headers: &mut HeaderMap) {
    let asks = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers";
    headers.append(VARY, HeaderValue::from_static(asks));
    headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
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
        .expose_headers(EXPOSED)
        .supports_credentials()
        .block_on_origin_mismatch(false)
        .max_age(86_400)
}
