//! The process around the sockets: routes, tasks, and a shutdown that loses nothing.

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use axum::{
    Router,
    extract::ConnectInfo,
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::{from_fn_with_state, map_response},
    response::{IntoResponse, Response},
    routing::get,
};
use shared::{
    arrival::{Arrival, FORWARDING_HEADERS, origin_is_listed},
    telemetry,
};
use socketioxide::{SocketIo, socket::Sid};
use tokio::{net::TcpListener, sync::mpsc, task::JoinHandle, time::Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};

use crate::{
    App, accept, auth, bus,
    control::{Control, Lines, Why},
    delivery,
    gate::{self, Gate},
    handlers,
    limits::{self, Limits},
    sessions,
};

/// How long a shutdown waits for what was received to be stored.
const GRACE: Duration = Duration::from_secs(10);

/// How long a start waits for the database to be watched before it serves all the same.
const PATIENCE: Duration = Duration::from_secs(5);

/// The largest packet, the same as the old server's.
const MAX_PAYLOAD: u32 = 1_000_000;

/// Packets that may wait for one slow reader before it is disconnected.
const MAX_WAITING: usize = 256;

/// What a socket's read buffer begins with. Chat messages are short, and there is one for each
/// connection; longer ones get a longer one for as long as they need it.
const READ_BUFFER: usize = 2048;

/// How long a client that is sent off may take to go before it is dropped.
const FAREWELL: Duration = Duration::from_secs(2);

/// A running chat server.
pub struct Server {
    io: SocketIo,
    lines: Arc<Lines>,
    drain: Duration,
    quit: CancellationToken,
    workers: TaskTracker,
    tasks: Vec<JoinHandle<()>>,
    bus: bus::Running,
}

/// Starts serving on a bound listener. The database is being watched before the first connection is
/// accepted, unless it cannot be reached: then sockets connect and messages follow later.
pub async fn serve(app: App, listener: TcpListener) -> Server {
    serve_within(app, listener, Limits::default()).await
}

/// With other time limits.
pub async fn serve_within(app: App, listener: TcpListener, limits: Limits) -> Server {
    let app = Arc::new(app);
    let config = Arc::clone(&app.config);
    let (lines, to_close) = Lines::new(limits, limits::sessions(&config));
    let payload = usize::try_from(MAX_PAYLOAD).unwrap_or(usize::MAX);
    let (sockets, io) = SocketIo::builder()
        .max_payload(u64::from(MAX_PAYLOAD))
        .ws_max_message_size(payload)
        .ws_max_frame_size(payload)
        .ws_read_buffer_size(READ_BUFFER)
        .max_buffer_size(MAX_WAITING)
        .connect_timeout(limits.connect)
        .upgrade_timeout(limits.upgrade)
        .build_with_inner_svc(Router::new());
    let quit = CancellationToken::new();
    let workers = TaskTracker::new();
    handlers::register(&io, &app, &workers);
    let gate = Arc::new(Gate::new(&sockets, Arc::clone(&config), Arc::clone(&lines)));

    let ready = CancellationToken::new();
    let watch = delivery::watch(Arc::clone(&app), ready.clone());
    let close = close(Arc::clone(&gate), to_close);
    let sessions = sessions::watch(Arc::clone(&app), io.clone());
    let mut tasks = vec![until(&quit, watch), until(&quit, close), until(&quit, sessions)];
    let bus = bus::start(&app, &io);
    _ = tokio::time::timeout(PATIENCE, ready.cancelled()).await;

    let door = accept::Door {
        router: routes(&app, gate),
        places: limits::connections(&config),
        lines: Arc::clone(&lines),
        config: Arc::clone(&config),
    };
    tasks.push(tokio::spawn(accept::accept(door, listener, quit.clone())));
    Server { io, lines, drain: config.chat_drain, quit, workers, tasks, bus }
}

fn routes(app: &Arc<App>, gate: Arc<Gate>) -> Router {
    let lines = Arc::clone(&gate.lines);
    let readiness = {
        let app = Arc::clone(app);
        move || readiness(Arc::clone(&app), Arc::clone(&lines))
    };
    let metrics = {
        let app = Arc::clone(app);
        async move |ConnectInfo(peer): ConnectInfo<SocketAddr>, headers: HeaderMap| {
            let forwarded = FORWARDING_HEADERS.iter().any(|name| headers.contains_key(*name));
            let arrival = Arrival { peer: Some(peer.ip()), forwarded, ..Arrival::default() };
            // In production they have a port of their own.
            arrival.may_see_metrics(&app.config).then(telemetry::render_metrics).ok_or(StatusCode::NOT_FOUND)
        }
    };
    Router::new()
        .route("/", get(async || "Hello world from socket server and welcome!"))
        .route("/healthz", get(async || r#"{"status":"ok"}"#))
        .route("/readyz", get(readiness))
        .route("/metrics", get(metrics))
        .fallback(gate::handle)
        .with_state(Arc::clone(&gate))
        .layer(from_fn_with_state(Arc::clone(app), auth::recognise))
        .layer(from_fn_with_state(gate, gate::admit))
        .layer(cors(app))
        .layer(map_response(harden))
}

/// What an answer over plain HTTP tells the browser: nothing here is kept, guessed at or embedded.
async fn harden(mut response: Response) -> Response {
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

impl Server {
    /// Sends the clients off, some at a time so that they do not come back all at once elsewhere;
    /// what they had sent is stored and acknowledged first. Those that are still here keep working
    /// meanwhile, and nobody new is let in.
    pub async fn stop(self) {
        self.lines.drain();
        self.send_off().await;
        self.workers.close();
        let orderly = async {
            self.io.close().await;
            self.workers.wait().await;
            self.bus.stop().await;
            self.quit.cancel();
            for task in self.tasks {
                _ = task.await;
            }
        };
        if tokio::time::timeout(GRACE, orderly).await.is_err() {
            self.quit.cancel();
            tracing::warn!("the chat server was stopped before everything was done");
        }
    }

    async fn send_off(&self) {
        let open = self.lines.open_ones();
        let share = self.drain / u32::try_from(open.len()).unwrap_or(u32::MAX).max(1);
        let mut next = Instant::now();
        for control in open {
            tokio::time::sleep_until(next).await;
            control.leave();
            next += share;
        }
        // Whoever does not go is dropped; what is still being stored is waited for longer.
        if !self.empty_within(FAREWELL).await {
            self.drop_all(|control| !control.is_busy());
            if !self.empty_within(GRACE).await {
                self.drop_all(|_| true);
            }
        }
    }

    async fn empty_within(&self, time: Duration) -> bool {
        let empty = async {
            while !self.lines.is_empty() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(time, empty).await.is_ok()
    }

    fn drop_all(&self, which: impl Fn(&Control) -> bool) {
        let open = self.lines.open_ones();
        open.iter().filter(|control| which(control)).for_each(|control| control.hang_up(Why::Drain));
    }
}

/// Ends polling sessions.
async fn close(gate: Arc<Gate>, mut to_close: mpsc::UnboundedReceiver<Sid>) {
    while let Some(sid) = to_close.recv().await {
        gate.close(sid).await;
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

/// 200 once messages are delivered as they are stored, 503 while they are not and once the server is
/// about to stop.
async fn readiness(app: Arc<App>, lines: Arc<Lines>) -> impl IntoResponse {
    let json = (header::CONTENT_TYPE, "application/json");
    if lines.is_draining() {
        let body = r#"{"status":"not ready","database":"not asked, the server is about to stop"}"#;
        return (StatusCode::SERVICE_UNAVAILABLE, [json, (header::RETRY_AFTER, "2")], body);
    }
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
