//! Who listens: every connected socket with the people it may be told about, how far each has got, and what those who
//! drop out may still be owed.
//!
//! A socket that comes back says where it had got to, if its client can: the CONNECT answer carries a `pid`, and an
//! event's last argument is an offset; current JavaScript clients repeat both. They are positions in the database's own
//! order, so any node can serve them, also one that has just started. A client of another kind is taken for the one
//! that dropped out on this node with the same people, program and address.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    extract::ConnectInfo,
    http::{HeaderMap, header},
};
use serde::Serialize;
use serde_json::Value;
use shared::{
    auth::{digest, one_time_token},
    id::Id,
    model::Message,
};
use socketioxide::{SendError, SocketError, extract::SocketRef, socket::Sid};
use tokio::time::Instant;

use crate::{
    auth::Handshake,
    control::{Control, Why},
    position::Position,
    replay::{Ring, Said},
    wire,
};

/// How many dropped sockets are remembered.
const DROPPED: usize = 20_000;

/// How far ahead of this node a client's position may be: another node may have been faster. Beyond it, it is not of
/// this database.
const AHEAD: u32 = 60;

/// A socket that has fallen behind gets at most so many messages in so much time, and may take none for so long.
const PORTION: usize = 64;
const PAUSE: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(10);

/// How a client is told its offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    /// As one more argument of the event, which handlers in JavaScript do not notice.
    Argument,
    /// As an event that nobody listens to: other clients may insist on the number of arguments.
    Event,
    /// Not at all: Python's clients repeat nothing, and give up a poll that brings many packets.
    Nothing,
}

/// What is settled about a socket before its connection is confirmed.
#[derive(Clone, Debug)]
pub(crate) struct Seat {
    /// What the client repeats when it comes back.
    pub(crate) pid: String,
    /// People that an unproven connection had announced before it dropped.
    pub(crate) announced: Vec<String>,
    position: Position,
    mark: Mark,
    kin: Kin,
}

impl Seat {
    /// What the client is told to repeat. One that is not told where it has got to must not repeat where it began.
    pub(crate) fn told(&self) -> Option<&str> {
        (self.mark != Mark::Nothing).then_some(self.pid.as_str())
    }
}

/// By what a client without a `pid` is known again. None for browsers, which repeat the `pid`, so that a page that is
/// opened anew is not taken for one that dropped.
type Kin = Option<String>;

/// A connected socket.
struct Tab {
    socket: SocketRef,
    pid: String,
    mark: Mark,
    kin: Kin,
    place: Mutex<Place>,
}

struct Place {
    people: Vec<String>,
    /// Everything for its people up to here was put into its queue.
    position: Position,
    /// More was said than its queue holds. What is missing is in the ring, and follows at the reader's pace.
    behind: bool,
    /// How many it was handed of the batch that came last.
    burst: usize,
    batch: u64,
}

/// A socket that dropped out and has not come back.
struct Dropped {
    pid: String,
    kin: Kin,
    people: Vec<String>,
    position: Position,
    at: Instant,
}

/// Everybody who listens on this node.
pub(crate) struct Audience {
    window: Duration,
    state: Arc<Mutex<State>>,
}

struct State {
    ring: Ring,
    /// Counts what was handed out together.
    batch: u64,
    /// Of the newest message handed out.
    head: Position,
    /// Whoever connects for the first time is owed nothing before this.
    floor: Position,
    tabs: HashMap<Sid, Arc<Tab>>,
    of: HashMap<String, Vec<Arc<Tab>>>,
    pids: HashMap<String, Sid>,
    dropped: VecDeque<Dropped>,
}

impl Audience {
    /// Nobody yet. What is said is kept for `window`.
    pub(crate) fn new(window: Duration) -> Self {
        let state = State {
            batch: 0,
            ring: Ring::new(u32::try_from(window.as_secs()).unwrap_or(u32::MAX)),
            head: Position::NONE,
            floor: Position::NONE,
            tabs: HashMap::new(),
            of: HashMap::new(),
            pids: HashMap::new(),
            dropped: VecDeque::new(),
        };
        Self { window, state: Arc::new(Mutex::new(state)) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        locked(&self.state)
    }

    /// Has those who fell behind follow at their own pace.
    fn follow(&self, behind: Vec<Arc<Tab>>) {
        for tab in behind {
            tokio::spawn(follow(Arc::clone(&self.state), tab));
        }
    }

    /// The database is being watched from `floor` on, for the first time.
    pub(crate) fn begin(&self, floor: Position) {
        let mut state = self.state();
        if state.floor == Position::NONE {
            state.floor = floor;
            for tab in state.tabs.values() {
                let mut place = tab.place();
                if place.position == Position::NONE {
                    place.position = floor;
                }
            }
        }
    }

    /// The position of the newest message handed out.
    pub(crate) fn head(&self) -> Position {
        self.state().head
    }

    /// The messages that were handed out lately.
    pub(crate) fn heard(&self) -> HashSet<Id<Message>> {
        self.state().ring.messages()
    }

    /// Finds out where a connection that is about to be confirmed goes on.
    pub(crate) fn expect(&self, socket: &SocketRef, handshake: &Handshake, auth: &Value) -> Seat {
        let parts = socket.req_parts();
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0);
        let address = Control::of(socket).and_then(|control| control.address());
        let client = Client::of(&parts.headers, address.or(peer.map(|peer| peer.ip())));
        let text = |name: &str| auth.get(name).and_then(Value::as_str).unwrap_or_default();
        let mut state = self.state();
        state.forget(self.window);
        let fresh = state.head.max(state.floor);
        let told = text("pid").split_once('~').and_then(|(position, _)| position.parse::<Position>().ok());
        // As long as the database is not watched, any position may be one of it.
        let of_here =
            |told: &Position| fresh == Position::NONE || told.seconds <= fresh.seconds.saturating_add(AHEAD);
        if let Some(began) = told.filter(|told| *told > Position::NONE && of_here(told)) {
            let pid = text("pid").to_owned();
            let offset = text("offset").parse::<Position>().ok();
            let dropped = state.take_dropped(|dropped| dropped.pid == pid).map(|dropped| dropped.people);
            // Its connection before may be dead without anybody having noticed.
            let before = || state.pids.get(&pid).and_then(|sid| state.tabs.get(sid));
            let announced = dropped.or_else(|| before().map(|tab| tab.place().people.clone()));
            return Seat {
                // Without an offset it has received nothing, whatever was sent.
                position: offset.unwrap_or(began).max(began),
                announced: announced.unwrap_or_default(),
                pid,
                mark: Mark::Argument,
                kin: None,
            };
        }
        let kin = client.kin();
        let dropped = kin.as_ref().and_then(|kin| {
            let mut people = handshake.people.clone();
            people.sort();
            state.take_dropped(|dropped| dropped.kin.as_ref() == Some(kin) && dropped.people == people)
        });
        let position = dropped.map_or(fresh, |dropped| dropped.position);
        Seat {
            pid: format!("{fresh}~{}", secret()),
            announced: Vec::new(),
            position,
            mark: client.mark(),
            kin,
        }
    }

    /// A connection was confirmed: whatever its people have missed follows at once, and then what comes.
    pub(crate) fn join(&self, socket: &SocketRef, seat: &Seat, people: &[String]) {
        let mut state = self.state();
        // The watching may have begun since.
        let position = if seat.position == Position::NONE { state.floor } else { seat.position };
        let tab = Arc::new(Tab {
            socket: socket.clone(),
            pid: seat.pid.clone(),
            mark: seat.mark,
            kin: seat.kin.clone(),
            place: Mutex::new(Place { people: Vec::new(), position, behind: false, burst: 0, batch: 0 }),
        });
        // The same client's connection before, which nobody has noticed to be dead.
        let before = state.pids.insert(seat.pid.clone(), socket.id);
        if let Some(before) = before.and_then(|sid| state.remove(sid)) {
            hang_up(&before.socket, Why::Replaced);
        }
        state.tabs.insert(socket.id, Arc::clone(&tab));
        let behind = state.add(&tab, people);
        self.follow(behind);
    }

    /// A connection is somebody else's as well.
    pub(crate) fn add(&self, sid: Sid, person: &str) {
        let mut state = self.state();
        if let Some(tab) = state.tabs.get(&sid).cloned() {
            let behind = state.add(&tab, &[person.to_owned()]);
            self.follow(behind);
        }
    }

    /// A connection has ended; if it dropped, its client may come back.
    pub(crate) fn leave(&self, sid: Sid, dropped: bool) {
        let mut state = self.state();
        let Some(tab) = state.remove(sid) else { return };
        if state.pids.get(&tab.pid) == Some(&sid) {
            state.pids.remove(&tab.pid);
        }
        let mut place = tab.place();
        if !dropped || place.people.is_empty() {
            return;
        }
        place.people.sort();
        if state.dropped.len() >= DROPPED {
            state.dropped.pop_front();
        }
        let (people, position) = (std::mem::take(&mut place.people), place.position);
        let (pid, kin) = (tab.pid.clone(), tab.kin.clone());
        state.dropped.push_back(Dropped { pid, kin, people, position, at: Instant::now() });
    }

    /// Hands out messages that were stored, in order.
    pub(crate) fn hear(&self, said: Vec<Said>) {
        let mut behind = Vec::new();
        let mut state = self.state();
        state.batch += 1;
        let batch = state.batch;
        for said in said {
            let said = Arc::new(said);
            state.head = state.head.max(said.position);
            let tabs = state.of.get(&said.receiver).map(Vec::as_slice).unwrap_or_default();
            behind.extend(tabs.iter().filter(|tab| tab.hand(&said, batch)).cloned());
            state.ring.push(said);
        }
        drop(state);
        self.follow(behind);
    }

    /// Everything up to here was handed out, whether it concerned anybody or not.
    pub(crate) fn advance(&self, position: Position) {
        let mut state = self.state();
        state.head = state.head.max(position);
    }

    /// Tells a person's sockets something that is not kept.
    pub(crate) fn tell(&self, person: &str, event: &str, payload: &impl Serialize) {
        let tabs = self.state().of.get(person).cloned().unwrap_or_default();
        for tab in tabs {
            if !emit(&tab.socket, event, payload) {
                metrics::counter!("chat_events_dropped_total", "reason" => "slow").increment(1);
            }
        }
    }
}

/// Puts into a socket's queue what it has missed, a little at a time, until it has caught up. A reader that takes
/// nothing for a while is hung up on: it comes back and gets the rest.
async fn follow(state: Arc<Mutex<State>>, tab: Arc<Tab>) {
    let mut stalled = Duration::ZERO;
    while stalled < PATIENCE {
        tokio::time::sleep(PAUSE).await;
        let state = locked(&state);
        if !state.tabs.contains_key(&tab.socket.id) {
            return;
        }
        let mut place = tab.place();
        // One more than is handed out, so that it is seen whether that is all.
        let missed = state.ring.first_after(place.position, &place.people, PORTION + 1);
        let taken = missed.iter().take(PORTION).take_while(|said| tab.put(&mut place, said)).count();
        if taken == missed.len() {
            place.behind = false;
            return;
        }
        stalled = if taken == 0 { stalled + PAUSE } else { Duration::ZERO };
    }
    hang_up(&tab.socket, Why::Slow);
}

/// What nobody guesses: who shows a `pid` ends the connection that has it.
fn secret() -> String {
    let mut secret = one_time_token().unwrap_or_else(|_| Id::<()>::new().hex());
    secret.truncate(32);
    secret
}

fn locked(state: &Mutex<State>) -> MutexGuard<'_, State> {
    // Nothing that holds it can panic half way.
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    /// Whether it was too much at once for the tab.
    fn add(&mut self, tab: &Arc<Tab>, people: &[String]) -> Vec<Arc<Tab>> {
        let new: Vec<String> = {
            let mut place = tab.place();
            let new =
                people.iter().filter(|person| !place.people.contains(person)).cloned().collect::<Vec<_>>();
            place.people.extend(new.iter().cloned());
            new
        };
        let position = tab.place().position;
        self.batch += 1;
        let batch = self.batch;
        let missed = self.ring.after(position, &new);
        let behind = missed.iter().filter(|said| tab.hand(said, batch)).count() > 0;
        for person in new {
            self.of.entry(person).or_default().push(Arc::clone(tab));
        }
        behind.then(|| Arc::clone(tab)).into_iter().collect()
    }

    fn remove(&mut self, sid: Sid) -> Option<Arc<Tab>> {
        let tab = self.tabs.remove(&sid)?;
        for person in &tab.place().people {
            if let Some(tabs) = self.of.get_mut(person) {
                tabs.retain(|other| other.socket.id != sid);
                if tabs.is_empty() {
                    self.of.remove(person);
                }
            }
        }
        Some(tab)
    }

    /// The one that dropped last: the same program may have left older ones, whose end was noticed late.
    fn take_dropped(&mut self, wanted: impl Fn(&Dropped) -> bool) -> Option<Dropped> {
        let found = self.dropped.iter().rposition(wanted)?;
        self.dropped.remove(found)
    }

    fn forget(&mut self, window: Duration) {
        while self.dropped.front().is_some_and(|oldest| oldest.at.elapsed() > window) {
            self.dropped.pop_front();
        }
    }
}

impl Tab {
    fn place(&self) -> MutexGuard<'_, Place> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a message into the socket's queue, unless it was there before. Whether it falls behind with this one.
    ///
    /// It also does when many come at once: a queue that we fill has no room for the engine's own heartbeat, and a
    /// heartbeat that finds none ends the connection.
    fn hand(&self, said: &Said, batch: u64) -> bool {
        let mut place = self.place();
        if place.behind {
            return false;
        }
        if place.batch != batch {
            (place.batch, place.burst) = (batch, 0);
        }
        place.burst += 1;
        place.behind = place.burst > PORTION || !self.put(&mut place, said);
        place.behind
    }

    /// False if the queue is full.
    fn put(&self, place: &mut Place, said: &Said) -> bool {
        if said.position <= place.position {
            return true;
        }
        let sent = match self.mark {
            Mark::Argument => self.socket.emit(wire::GET_MESSAGE, &(&said.payload, &said.offset)),
            Mark::Event | Mark::Nothing => self.socket.emit(wire::GET_MESSAGE, &said.payload),
        };
        if let Err(failure) = sent {
            return !is_full(&failure);
        }
        if self.mark == Mark::Event {
            // Should it not get there, the message comes twice to a client that comes back at this very moment.
            _ = self.socket.emit(wire::OFFSET, &said.offset);
        }
        place.position = said.position;
        metrics::counter!("chat_messages_delivered_total").increment(1);
        true
    }
}

/// What a handshake tells about the program that made it.
struct Client<'a> {
    agent: &'a str,
    has_origin: bool,
    address: String,
}

impl<'a> Client<'a> {
    fn of(headers: &'a HeaderMap, address: Option<IpAddr>) -> Self {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let address = address.map(|address| address.to_string()).unwrap_or_default();
        Self {
            agent: text(header::USER_AGENT.as_str()),
            has_origin: headers.contains_key(header::ORIGIN),
            // Behind a proxy that is not listed the address is the proxy's.
            address: format!("{address} {}", text("x-forwarded-for")),
        }
    }

    fn is_browser(&self) -> bool {
        self.agent.starts_with("Mozilla/")
    }

    /// JavaScript outside of a browser names itself or sends neither of the two headers; Python's clients send one.
    fn mark(&self) -> Mark {
        match self.agent {
            "" if self.has_origin => Mark::Event,
            "" => Mark::Argument,
            agent if self.is_browser() || agent.starts_with("node") => Mark::Argument,
            agent if agent.to_ascii_lowercase().contains("python") => Mark::Nothing,
            _ => Mark::Event,
        }
    }

    fn kin(&self) -> Kin {
        (!self.is_browser()).then(|| digest(&format!("{}\n{}", self.agent, self.address)))
    }
}

/// Sends an event to one socket. False if its queue is full: then it is told nothing.
pub(crate) fn emit(socket: &SocketRef, event: &str, payload: &(impl Serialize + ?Sized)) -> bool {
    !socket.emit(event, payload).is_err_and(|failure| is_full(&failure))
}

/// Ends the transport, so that the client comes back.
pub(crate) fn hang_up(socket: &SocketRef, why: Why) {
    if let Some(control) = Control::of(socket) {
        control.hang_up(why);
    }
}

fn is_full(failure: &SendError) -> bool {
    matches!(failure, SendError::Socket(SocketError::InternalChannelFull))
}
