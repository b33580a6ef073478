//! The accept loop: axum's own knows no limits and waits for ever for the head of a request.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use axum::{Router, body::Body, extract::ConnectInfo};
use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use shared::{arrival::caller, config::Config, tally::Tally};
use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{control::Lines, limits::Full, line::Wire};

/// How many refusals are told at a time. Beyond it connections are just closed.
const REFUSALS: usize = 64;

/// How long the peer of a refused connection may take to read why.
const REFUSAL_TIME: Duration = Duration::from_secs(1);

/// How long the loop rests when no connection can be accepted, for want of file descriptors for one.
const REST: Duration = Duration::from_millis(100);

/// How much the kernel holds of what a peer has not taken. Left to itself it takes megabytes.
const UNSENT: usize = 128 * 1024;

/// The longest head of a request.
const LONGEST_HEAD: usize = 32 * 1024;

/// What the loop hands to each connection.
pub(crate) struct Door {
    pub(crate) router: Router,
    pub(crate) config: Arc<Config>,
    pub(crate) lines: Arc<Lines>,
    pub(crate) places: Arc<Tally>,
}

/// Accepts until the server stops, and waits then for the answers that are under way.
pub(crate) async fn accept(door: Door, listener: TcpListener, quit: CancellationToken) {
    let connections = TaskTracker::new();
    let refusals = Arc::new(Semaphore::new(REFUSALS));
    loop {
        let accepted = tokio::select! {
            () = quit.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(REST).await;
                continue;
            }
        };
        // Small frames are what this server sends.
        _ = stream.set_nodelay(true);
        _ = SockRef::from(&stream).set_send_buffer_size(UNSENT);
        match door.places.take(door.limited(peer.ip())).map_err(Full::from) {
            Ok(place) => {
                let wire = Wire::new(stream, Arc::clone(&door.lines), place);
                connections.spawn(door.serve(wire, peer, quit.clone()));
            }
            Err(full) => {
                metrics::counter!("chat_handshakes_refused_total", "reason" => full.reason()).increment(1);
                if let Ok(permit) = Arc::clone(&refusals).try_acquire_owned() {
                    tokio::spawn(async move {
                        _ = tokio::time::timeout(REFUSAL_TIME, refuse(stream, full)).await;
                        drop(permit);
                    });
                }
            }
        }
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

impl Door {
    /// The address that a connection counts for. What a proxy brings is counted when it is known for
    /// whom it comes.
    fn limited(&self, peer: IpAddr) -> Option<IpAddr> {
        let proxy = self.config.trusted_proxies.iter().any(|network| network.contains(peer));
        caller(peer, [].into_iter(), &self.config).filter(|_| self.config.rate_limits && !proxy)
    }

    fn serve(
        &self,
        wire: Wire,
        peer: SocketAddr,
        quit: CancellationToken,
    ) -> impl Future<Output = ()> + Send + use<> {
        let service = TowerToHyperService::new(self.router.clone());
        let service = service_fn(move |request: Request<Incoming>| {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(ConnectInfo(peer));
            hyper::service::Service::call(&service, request)
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            // It runs between requests too.
            .header_read_timeout(self.lines.limits.head)
            .max_buf_size(LONGEST_HEAD)
            .serve_connection(TokioIo::new(wire), service)
            .with_upgrades();
        async move {
            let mut connection = std::pin::pin!(connection);
            tokio::select! {
                // Whatever went wrong is the client's to notice.
                _ = connection.as_mut() => return,
                () = quit.cancelled() => {}
            }
            connection.as_mut().graceful_shutdown();
            _ = connection.await;
        }
    }
}

/// Says why, and waits until it is read: to close a connection with something unread resets it.
async fn refuse(mut stream: TcpStream, full: Full) -> std::io::Result<()> {
    stream.write_all(full.raw().as_bytes()).await?;
    stream.shutdown().await?;
    let mut nowhere = [0; 1024];
    while stream.read(&mut nowhere).await? > 0 {}
    Ok(())
}
