//! What the rest of the chat may do with a connection: tell its client a position, drop it, ask how
//! it ended. There is one [`Control`] for each session, whichever transport it has, in the extensions
//! of the request that opened it.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::task::AtomicWaker;
use metrics::Counter;
use shared::tally::{Place, Tally};
use socketioxide::{adapter::Adapter, extract::SocketRef, socket::Sid};
use tokio::sync::mpsc;

use crate::limits::{Full, Limits};

/// How long a polling client that has no request open may take to come for what is waiting.
const LAST_POLL: Duration = Duration::from_millis(300);

/// Why a connection is dropped by us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// Its client does not take what is sent to it.
    Slow,
    /// The server stops.
    Drain,
    /// The session that it was opened with has ended.
    Revoked,
    /// The same client is back on another connection.
    Replaced,
    /// It is not known whose it is, because the database does not answer.
    Database,
}

impl Why {
    const fn reason(self) -> &'static str {
        match self {
            Self::Slow => "slow",
            Self::Drain => "drain",
            Self::Revoked => "revoked",
            Self::Replaced => "replaced",
            Self::Database => "database",
        }
    }
}

// Bits of a control's state.
const HUNG_UP: u8 = 1;
/// It is dropped because its client is slow: what is on its way is thrown away.
const ABORTED: u8 = 1 << 1;
/// To be closed as soon as nothing is being done for it.
const LEAVING: u8 = 1 << 2;
/// The client said that it leaves for good.
const LEFT: u8 = 1 << 3;
/// There is a pid that the client has not been told.
const UNTOLD: u8 = 1 << 4;
/// It runs over a websocket.
const ON_LINE: u8 = 1 << 5;

/// One session of a client.
pub(crate) struct Control {
    lines: Arc<Lines>,
    number: u64,
    address: Option<IpAddr>,
    place: Place,
    /// Of a session that began with polling.
    sid: OnceLock<Sid>,
    pid: Mutex<Option<Box<str>>>,
    state: AtomicU8,
    /// What the client has sent and is not done yet.
    busy: AtomicUsize,
    pub(crate) reader: AtomicWaker,
    pub(crate) writer: AtomicWaker,
}

impl Control {
    /// The one of a connected socket.
    pub(crate) fn of<A: Adapter>(socket: &SocketRef<A>) -> Option<Arc<Self>> {
        socket.req_parts().extensions.get::<Arc<Self>>().cloned()
    }

    /// What the client is told when its connection is confirmed, and shows when it is back. To be set
    /// before the confirmation is sent.
    pub(crate) fn set_pid(&self, pid: String) {
        *self.pid.lock().unwrap_or_else(PoisonError::into_inner) = Some(pid.into_boxed_str());
        self.state.fetch_or(UNTOLD, Ordering::SeqCst);
    }

    /// Drops the transport at once. The client sees a connection that broke, and comes back.
    pub(crate) fn hang_up(&self, why: Why) {
        let aborted = if why == Why::Slow { ABORTED } else { 0 };
        let before = self.state.fetch_or(HUNG_UP | aborted, Ordering::SeqCst);
        if before & HUNG_UP != 0 {
            return;
        }
        metrics::counter!("chat_hang_ups_total", "reason" => why.reason()).increment(1);
        if before & ON_LINE != 0 {
            self.reader.wake();
            self.writer.wake();
        } else if let Some(sid) = self.sid.get() {
            self.lines.close(*sid);
        }
    }

    /// Closes the transport as soon as everything that came over it has been done and answered.
    pub(crate) fn leave(&self) {
        let before = self.state.fetch_or(LEAVING, Ordering::SeqCst);
        if before & (LEAVING | HUNG_UP) == 0 {
            metrics::counter!("chat_hang_ups_total", "reason" => Why::Drain.reason()).increment(1);
            self.leave_if_idle();
        }
    }

    fn leave_if_idle(&self) {
        if self.is(ON_LINE) {
            self.reader.wake();
        } else if !self.is_busy()
            && let Some(sid) = self.sid.get().copied()
        {
            let lines = Arc::clone(&self.lines);
            tokio::spawn(async move {
                tokio::time::sleep(LAST_POLL).await;
                lines.close(sid);
            });
        }
    }

    /// Something that this client has sent is being done until the guard is dropped.
    pub(crate) fn busy(self: &Arc<Self>) -> Busy {
        self.busy.fetch_add(1, Ordering::SeqCst);
        metrics::gauge!("chat_events_waiting").increment(1.0);
        Busy(Arc::clone(self))
    }

    pub(crate) fn is_busy(&self) -> bool {
        self.busy.load(Ordering::SeqCst) > 0
    }

    /// Whether the client closed its connection as a browser does for a page that is left.
    pub(crate) fn left_for_good(&self) -> bool {
        self.is(LEFT)
    }

    /// Where the client is, as far as that is known: behind an unlisted proxy it is not.
    pub(crate) const fn address(&self) -> Option<IpAddr> {
        self.address
    }

    pub(crate) fn note_left(&self) {
        self.state.fetch_or(LEFT, Ordering::SeqCst);
    }

    pub(crate) fn is_hung_up(&self) -> bool {
        self.is(HUNG_UP)
    }

    pub(crate) fn is_aborted(&self) -> bool {
        self.is(ABORTED)
    }

    pub(crate) fn is_leaving(&self) -> bool {
        self.is(LEAVING)
    }

    pub(crate) fn is_on_line(&self) -> bool {
        self.is(ON_LINE)
    }

    fn is(&self, bit: u8) -> bool {
        self.state.load(Ordering::SeqCst) & bit != 0
    }

    /// Whether the next confirmation is to be changed.
    pub(crate) fn is_untold(&self) -> bool {
        self.is(UNTOLD)
    }

    /// If this is the confirmation of the namespace: the same with the pid in it.
    pub(crate) fn tell(&self, packet: &str) -> Option<String> {
        let open = packet.strip_prefix(CONFIRMED)?.strip_suffix("\"}")?;
        let pid = self.pid.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        self.state.fetch_and(!UNTOLD, Ordering::SeqCst);
        Some(format!("{CONFIRMED}{open}\",\"pid\":{}}}", serde_json::Value::from(&*pid)))
    }

    /// The session has its transport's id now.
    pub(crate) fn began(self: &Arc<Self>, sid: Sid) {
        if self.sid.set(sid).is_ok() {
            self.lines.polling().insert(sid, Arc::downgrade(self));
            metrics::gauge!("chat_connections_open", "transport" => "polling").increment(1.0);
            if self.is_hung_up() {
                self.lines.close(sid);
            } else if self.is_leaving() {
                self.leave_if_idle();
            }
        }
    }

    /// It runs over a websocket from now on.
    pub(crate) fn on_line(&self) {
        let before = self.state.fetch_or(ON_LINE, Ordering::SeqCst);
        // A client may ask for two websockets at once: the session changes its transport only once.
        if before & ON_LINE == 0 && self.sid.get().is_some() {
            metrics::gauge!("chat_connections_open", "transport" => "polling").decrement(1.0);
        }
        metrics::gauge!("chat_connections_open", "transport" => "websocket").increment(1.0);
    }

    /// The websocket is gone, and so is the session: one whose change of transport failed half way
    /// would stay in the engine for ever.
    pub(crate) fn off_line(&self) {
        metrics::gauge!("chat_connections_open", "transport" => "websocket").decrement(1.0);
        if let Some(sid) = self.sid.get() {
            self.lines.close(*sid);
        }
    }
}

/// How the confirmation of the one namespace begins.
const CONFIRMED: &str = "40{\"sid\":\"";

impl Drop for Control {
    fn drop(&mut self) {
        self.lines.all().remove(&self.number);
        if let Some(sid) = self.sid.get() {
            self.lines.polling().remove(sid);
            if !self.is(ON_LINE) {
                metrics::gauge!("chat_connections_open", "transport" => "polling").decrement(1.0);
            }
        }
    }
}

impl std::fmt::Debug for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Control")
            .field("number", &self.number)
            .field("sid", &self.sid)
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

/// See [`Control::busy`].
#[derive(Debug)]
pub(crate) struct Busy(Arc<Control>);

impl Drop for Busy {
    fn drop(&mut self) {
        metrics::gauge!("chat_events_waiting").decrement(1.0);
        if self.0.busy.fetch_sub(1, Ordering::SeqCst) == 1 && self.0.is_leaving() {
            self.0.leave_if_idle();
        }
    }
}

/// All sessions of this server.
pub(crate) struct Lines {
    pub(crate) limits: Limits,
    /// Bytes that came, and that went.
    pub(crate) received: Counter,
    pub(crate) sent: Counter,
    all: Mutex<HashMap<u64, Weak<Control>>>,
    /// Those that began with polling. They name themselves in every request.
    polling: Mutex<HashMap<Sid, Weak<Control>>>,
    next: AtomicU64,
    places: Arc<Tally>,
    draining: AtomicBool,
    /// Polling sessions to be closed.
    close: mpsc::UnboundedSender<Sid>,
}

impl Lines {
    /// None yet. The polling sessions that come out of the other end are to be closed.
    pub(crate) fn new(limits: Limits, places: Arc<Tally>) -> (Arc<Self>, mpsc::UnboundedReceiver<Sid>) {
        let (close, to_close) = mpsc::unbounded_channel();
        let lines = Self {
            limits,
            received: metrics::counter!("chat_bytes_received_total"),
            sent: metrics::counter!("chat_bytes_sent_total"),
            all: Mutex::default(),
            polling: Mutex::default(),
            next: AtomicU64::default(),
            places,
            draining: AtomicBool::new(false),
            close,
        };
        (Arc::new(lines), to_close)
    }

    /// A new session, if there is a place for it.
    pub(crate) fn open(
        self: &Arc<Self>,
        address: Option<IpAddr>,
        limited: Option<IpAddr>,
    ) -> Result<Arc<Control>, Full> {
        if self.draining.load(Ordering::SeqCst) {
            return Err(Full::Draining);
        }
        let place = self.places.take(limited)?;
        let control = Arc::new(Control {
            lines: Arc::clone(self),
            number: self.next.fetch_add(1, Ordering::Relaxed),
            address,
            place,
            sid: OnceLock::new(),
            pid: Mutex::default(),
            state: AtomicU8::new(0),
            busy: AtomicUsize::new(0),
            reader: AtomicWaker::new(),
            writer: AtomicWaker::new(),
        });
        self.all().insert(control.number, Arc::downgrade(&control));
        Ok(control)
    }

    /// A session that began with polling.
    pub(crate) fn find(&self, sid: Sid) -> Option<Arc<Control>> {
        self.polling().get(&sid).and_then(Weak::upgrade)
    }

    /// No session is opened any more.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }

    /// Those that are open, in no order: that of a hash map is another in every process.
    pub(crate) fn open_ones(&self) -> Vec<Arc<Control>> {
        // Collected first: the last handle to a control must not be dropped while this is locked.
        let all = self.all();
        let open = all.values().filter_map(Weak::upgrade).collect();
        drop(all);
        open
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.all().is_empty()
    }

    fn close(&self, sid: Sid) {
        // The other end is gone only when everything ends.
        _ = self.close.send(sid);
    }

    fn all(&self) -> MutexGuard<'_, HashMap<u64, Weak<Control>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn polling(&self) -> MutexGuard<'_, HashMap<Sid, Weak<Control>>> {
        self.polling.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
