//! The process around the sockets: routes, tasks, and a shutdown that loses nothing.

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use axum::{
    Router,
    extract::State,
    http::{HeaderValue, Method, StatusCode, header},
    middleware::from_fn_with_state,
    response::IntoResponse,
    routing::get,
};
use shared::arrival::origin_is_listed;
use socketioxide::SocketIo;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};

use crate::{App, auth, bus, delivery, handlers};

/// How long a shutdown waits for what was received to be stored.
const GRACE: Duration = Duration::from_secs(10);

/// How long a start waits for the database to be watched before it serves all the same.
const PATIENCE: Duration = Duration::from_secs(5);

/// The largest packet, the same as the old server's.
const MAX_PAYLOAD: u32 = 1_000_000;

/// Packets that may wait for one slow reader before it is disconnected.
const MAX_WAITING: usize = 256;

/// A running chat server.
pub struct Server {
    io: SocketIo,
    quit: CancellationToken,
    workers: TaskTracker,
    tasks: Vec<JoinHandle<()>>,
    bus: bus::Running,
}

/// Starts serving on a bound listener. The database is being watched before the first connection is
/// accepted, unless it cannot be reached: then sockets connect and messages follow later.
pub async fn serve(app: App, listener: TcpListener) -> Server {
    let app = Arc::new(app);
    let payload = usize::try_from(MAX_PAYLOAD).unwrap_or(usize::MAX);
    let (sockets, io) = SocketIo::builder()
        .max_payload(u64::from(MAX_PAYLOAD))
        .ws_max_message_size(payload)
        .ws_max_frame_size(payload)
        .max_buffer_size(MAX_WAITING)
        .build_layer();
    let quit = CancellationToken::new();
    let workers = TaskTracker::new();
    handlers::register(&io, &app, &workers);

    let ready = CancellationToken::new();
    let watch = delivery::watch(Arc::clone(&app), ready.clone());
    let mut tasks = vec![until(&quit, watch)];
    let bus = bus::start(&app, &io);
    _ = tokio::time::timeout(PATIENCE, ready.cancelled()).await;

    let router = Router::new()
        .route("/", get(async || "Hello world from socket server and welcome!"))
        .route("/healthz", get(async || r#"{"status":"ok"}"#))
        .route("/readyz", get(readiness))
        .route("/metrics", get(async || shared::telemetry::render_metrics()))
        .with_state(Arc::clone(&app))
        .layer(sockets)
        .layer(from_fn_with_state(Arc::clone(&app), auth::recognise))
        .layer(cors(&app))
        .into_make_service_with_connect_info::<SocketAddr>();
    let stopping = quit.clone();
    tasks.push(tokio::spawn(async move {
        let stop = async move { stopping.cancelled().await };
        if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(stop).await {
            tracing::error!(%error, "the chat server's listener failed");
        }
    }));
    Server { io, quit, workers, tasks, bus }
}

impl Server {
    /// Stops accepting, closes the sockets, stores what they had sent, and stops.
    pub async fn stop(self) {
        self.quit.cancel();
        self.workers.close();
        let orderly = async {
            self.io.close().await;
            self.workers.wait().await;
            self.bus.stop().await;
            for task in self.tasks {
                _ = task.await;
            }
        };
        if tokio::time::timeout(GRACE, orderly).await.is_err() {
            tracing::warn!("the chat server was stopped before everything was done");
        }
    }
}

impl Server {
    /// Ends as in a crash: the other nodes are not told. For tests.
    pub async fn die(self) {
        self.bus.die();
        self.quit.cancel();
        self.tasks.iter().for_each(JoinHandle::abort);
        self.io.close().await;
    }
}

/// Runs a task until the server stops.
fn until(quit: &CancellationToken, work: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
    let quit = quit.clone();
    tokio::spawn(async move {
        _ = quit.run_until_cancelled(work).await;
    })
}

/// 200 once messages are delivered as they are stored, 503 while they are not.
async fn readiness(State(app): State<Arc<App>>) -> impl IntoResponse {
    let json = (header::CONTENT_TYPE, "application/json");
    let asked = tokio::time::timeout(Duration::from_secs(2), app.db.ping()).await;
    if matches!(asked, Ok(Ok(()))) && app.watching.load(Ordering::Relaxed) {
        (StatusCode::OK, [json, (header::RETRY_AFTER, "0")], r#"{"status":"ready","database":"ok"}"#)
    } else {
        let body = r#"{"status":"not ready","database":"unreachable"}"#;
        (StatusCode::SERVICE_UNAVAILABLE, [json, (header::RETRY_AFTER, "2")], body)
    }
}

/// Pages of listed origins may poll, with cookies. Websockets know no such rule: see [`auth`].
fn cors(app: &Arc<App>) -> CorsLayer {
    let config = Arc::clone(&app.config);
    let listed = move |origin: &HeaderValue, _: &_| {
        origin.to_str().is_ok_and(|origin| origin_is_listed(origin, &config))
    };
    CorsLayer::new()
        .allow_origin(AllowOrigin::predicate(listed))
        .allow_methods([Method::GET, Method::POST])
        .allow_headers(AllowHeaders::mirror_request())
        .allow_credentials(true)
        .max_age(Duration::from_secs(86_400))
}
