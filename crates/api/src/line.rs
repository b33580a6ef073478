//! A connection of the API, which nobody can hold on to by doing nothing.
//!
//! The HTTP library times the first head of a connection and nothing after it: a second head, a body or an answer that
//! nobody takes may take for ever. So the stream under it is ours. It knows whether a request is being served
//! ([`Standing`], which [`serving`] keeps) and times what comes between: a head, an idle connection, a peer that takes
//! nothing. The time of bodies is [`crate::body`]'s. When the server stops, it ends where no request is.

use std::{
    cell::{Cell, RefCell},
    io,
    net::IpAddr,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use actix_web::{
    Error as ActixError,
    body::{BodySize, BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::ConnectionType,
    middleware::Next,
    web::Bytes,
};
use shared::{
    arrival::caller,
    config::{Config, ConnectionLimits},
    tally::{Full, Place, Tally},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf},
    net::TcpStream,
    sync::Semaphore,
    time::{Instant, Sleep},
};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// Whoever sends or takes so many bytes a second is never too slow.
const RATE: u64 = 1024;

/// When the server stops, what was just connected has so long to send its first request.
const FIRST_WORDS: Duration = Duration::from_secs(2);

/// How many refusals are told at a time. Beyond it connections are just closed.
const REFUSALS: usize = 64;

/// How long the peer of a refused connection may take to read why.
const REFUSAL_TIME: Duration = Duration::from_secs(1);

/// A head that took too long.
const TOO_SLOW: &str = "HTTP/1.1 408 Request Timeout\r\ncontent-type: application/json\r\ncontent-length: 108\r\n\
    connection: close\r\n\r\n{\"success\":false,\"message\":\"The request took too long to arrive. Please try again\",\
    \"code\":\"request_timeout\"}";

/// All connections.
pub(crate) struct Lines {
    config: Arc<Config>,
    places: Arc<Tally>,
    refusals: Arc<Semaphore>,
    /// Cancelled when connections without a request should end.
    pub(crate) drain: CancellationToken,
}

impl Lines {
    pub(crate) fn new(config: Arc<Config>) -> Arc<Self> {
        let ConnectionLimits { most, most_of_one, .. } = config.connection_limits;
        Arc::new(Self {
            places: Tally::new(most, most_of_one),
            refusals: Arc::new(Semaphore::new(REFUSALS)),
            drain: CancellationToken::new(),
            config,
        })
    }

    /// How many are open.
    pub(crate) fn open(&self) -> usize {
        self.places.open()
    }

    /// Takes a connection in, or tells why not.
    pub(crate) fn admit(self: &Arc<Self>, stream: TcpStream) -> io::Result<Line> {
        let peer = stream.peer_addr()?.ip();
        // Small answers are what this server sends most.
        _ = stream.set_nodelay(true);
        match self.places.take(self.limited(peer)) {
            Ok(place) => {
                metrics::gauge!("http_connections")
                    .set(f64::from(u32::try_from(self.open()).unwrap_or(u32::MAX)));
                Ok(Line::new(stream, place, self))
            }
            Err(full) => {
                let reason = match full {
                    Full::All => "full",
                    Full::Address => "address",
                };
                metrics::counter!("http_connections_refused_total", "reason" => reason).increment(1);
                if let Ok(permit) = Arc::clone(&self.refusals).try_acquire_owned() {
                    actix_web::rt::spawn(async move {
                        _ = tokio::time::timeout(REFUSAL_TIME, refuse(stream, full)).await;
                        drop(permit);
                    });
                }
                Err(io::ErrorKind::QuotaExceeded.into())
            }
        }
    }

    /// The address that a connection counts for: not a proxy's, which brings many people, nor this machine's own.
    fn limited(&self, peer: IpAddr) -> Option<IpAddr> {
        let proxy = self.config.trusted_proxies.iter().any(|network| network.contains(peer));
        caller(peer, [].into_iter(), &self.config).filter(|_| self.config.rate_limits && !proxy)
    }
}

/// Says why, and waits until it is read: to close a connection with something unread resets it.
async fn refuse(mut stream: TcpStream, full: Full) -> io::Result<()> {
    let (status, message, code) = match full {
        Full::All => (
            "503 Service Unavailable",
            "There are as many connections as there can be",
            "too_many_connections",
        ),
        Full::Address => (
            "429 Too Many Requests",
            "There are too many connections from your address",
            "too_many_connections",
        ),
    };
    let body =
        format!(r#"{{"success":false,"message":"{message}. Please try again in a moment","code":"{code}"}}"#);
    let answer = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\nretry-after: 10\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await?;
    let mut nowhere = [0; 1024];
    while stream.read(&mut nowhere).await? > 0 {}
    Ok(())
}

/// How long somebody may still keep us waiting: with every byte they earn a little.
pub(crate) struct Patience {
    most: Duration,
    left: Duration,
    waiting: Option<(Instant, Pin<Box<Sleep>>)>,
}

impl Patience {
    pub(crate) const fn of(most: Duration) -> Self {
        Self { most, left: most, waiting: None }
    }

    /// So many bytes have come, or were taken.
    pub(crate) fn earn(&mut self, bytes: usize) {
        let waited = self.waiting.take().map(|(since, _)| since.elapsed());
        self.spend(waited.unwrap_or_default(), bytes);
    }

    fn spend(&mut self, waited: Duration, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let earned = Duration::from_micros(bytes.saturating_mul(1_000_000) / RATE);
        self.left = self.left.saturating_sub(waited).saturating_add(earned).min(self.most);
    }

    /// We wait; ready once it has been too long.
    pub(crate) fn poll_lost(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let left = self.left;
        let (_, waiting) =
            self.waiting.get_or_insert_with(|| (Instant::now(), Box::pin(tokio::time::sleep(left))));
        waiting.as_mut().poll(context)
    }
}

/// Whether anything is asked on a connection.
#[derive(Default)]
pub(crate) struct Standing {
    /// Requests that are being served.
    open: Cell<usize>,
    /// There was one.
    used: Cell<bool>,
    /// A part of the next one's head has come.
    begun: Cell<bool>,
    /// Changes with each request, so that no time is counted for another.
    turn: Cell<u32>,
    waker: RefCell<Option<Waker>>,
}

impl Standing {
    fn begin(&self) {
        self.open.set(self.open.get().saturating_add(1));
        self.used.set(true);
        self.begun.set(false);
        self.turn.set(self.turn.get().wrapping_add(1));
    }

    fn end(&self) {
        self.open.set(self.open.get().saturating_sub(1));
        // What comes between requests is looked at when somebody looks.
        if let Some(waker) = self.waker.borrow().as_ref() {
            waker.wake_by_ref();
        }
    }

    const fn wait(&self, draining: bool) -> Wait {
        match (self.begun.get(), self.used.get(), draining) {
            (true, ..) => Wait::Head,
            (false, true, true) => Wait::Nothing,
            (false, true, false) => Wait::Idle,
            (false, false, true) => Wait::FirstWords,
            (false, false, false) => Wait::First,
        }
    }
}

/// What is waited for between requests.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wait {
    /// The rest of a head.
    Head,
    /// The next request.
    Idle,
    /// The first one.
    First,
    /// The first one, while the server stops.
    FirstWords,
    /// No request is wanted any more.
    Nothing,
}

/// One connection.
pub(crate) struct Line {
    stream: TcpStream,
    standing: Rc<Standing>,
    limits: ConnectionLimits,
    timer: Option<(u32, Wait, Pin<Box<Sleep>>)>,
    taking: Patience,
    /// None once it has come to that.
    drain: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    _place: Place,
}

impl Line {
    fn new(stream: TcpStream, place: Place, lines: &Lines) -> Self {
        let limits = lines.config.connection_limits;
        Self {
            stream,
            standing: Rc::default(),
            limits,
            timer: None,
            taking: Patience::of(limits.patience),
            drain: Some(Box::pin(lines.drain.clone().cancelled_owned())),
            _place: place,
        }
    }

    /// For the requests on it.
    pub(crate) fn standing(&self) -> Rc<Standing> {
        Rc::clone(&self.standing)
    }

    /// Nothing has come. Ready if nothing more is waited for.
    fn poll_over(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.drain.as_mut().is_some_and(|drain| drain.as_mut().poll(context).is_ready()) {
            self.drain = None;
        }
        self.standing.waker.replace(Some(context.waker().clone()));
        if self.standing.open.get() > 0 {
            return Poll::Pending;
        }
        let wait = self.standing.wait(self.drain.is_none());
        let limit = match wait {
            Wait::Nothing => return Poll::Ready(()),
            Wait::Head | Wait::First => self.limits.head,
            Wait::Idle => self.limits.idle,
            Wait::FirstWords => FIRST_WORDS.min(self.limits.head),
        };
        let turn = self.standing.turn.get();
        let timer = match &mut self.timer {
            Some((of, what, timer)) if (*of, *what) == (turn, wait) => timer,
            _ => &mut self.timer.insert((turn, wait, Box::pin(tokio::time::sleep(limit)))).2,
        };
        std::task::ready!(timer.as_mut().poll(context));
        if wait == Wait::Head {
            metrics::counter!("http_requests_too_slow_total", "part" => "head").increment(1);
            // No answer is under way: this is the whole of it. If the peer takes nothing, it is not told.
            _ = self.stream.try_write(TOO_SLOW.as_bytes());
        }
        Poll::Ready(())
    }
}

impl AsyncRead for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        if let Poll::Ready(done) = Pin::new(&mut self.stream).poll_read(context, buffer) {
            if buffer.filled().len() > before && self.standing.open.get() == 0 {
                self.standing.begun.set(true);
            }
            return Poll::Ready(done);
        }
        // Like a peer that sends no more.
        self.poll_over(context).map(Ok)
    }
}

impl AsyncWrite for Line {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if let Poll::Ready(written) = Pin::new(&mut self.stream).poll_write(context, bytes) {
            self.taking.earn(*written.as_ref().unwrap_or(&0));
            return Poll::Ready(written);
        }
        std::task::ready!(self.taking.poll_lost(context));
        metrics::counter!("http_requests_too_slow_total", "part" => "answer").increment(1);
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// A request that is being served, until the last of its answer was handed over.
struct Served(Rc<Standing>);

impl Drop for Served {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// Middleware, outermost: tells the connection of its request. Once the server is about to stop, each answer is the
/// last of its connection.
pub(crate) async fn serving(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, ActixError> {
    let served = request.conn_data::<Rc<Standing>>().map(|standing| {
        standing.begin();
        Served(Rc::clone(standing))
    });
    let leaving = request.app_data::<actix_web::web::Data<crate::App>>().map(|app| app.leaving.clone());
    let mut response = next.call(request).await?.map_into_boxed_body();
    if leaving.is_some_and(|leaving| leaving.is_cancelled()) {
        response.response_mut().head_mut().set_connection_type(ConnectionType::Close);
    }
    Ok(response.map_body(|_, body| Answer { body, _served: served }))
}

/// An answer's body, which keeps its request open.
struct Answer {
    body: BoxBody,
    _served: Option<Served>,
}

impl MessageBody for Answer {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.body).poll_next(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_to_a_slow_head_is_well_formed() {
        let (head, body) = TOO_SLOW.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{}", body.len());
        assert_eq!(serde_json::from_str::<serde_json::Value>(body).unwrap()["success"], false);
    }

    #[test]
    fn who_sends_slowly_but_steadily_is_waited_for_and_who_drips_is_not() {
        let second = Duration::from_secs(1);
        let mut steady = Patience::of(20 * second);
        for _ in 0..1_000 {
            steady.spend(second, 1_100);
            assert!(steady.left > 19 * second);
        }
        // Once in a while the line is gone for a moment.
        for _ in 0..10 {
            steady.spend(15 * second, 20_000);
            assert!(steady.left > second);
        }
        let mut dripping = Patience::of(20 * second);
        (0..21).for_each(|_| dripping.spend(second, 1));
        assert_eq!(dripping.left.as_secs(), 0);
    }
}
