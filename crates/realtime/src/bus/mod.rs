//! How chat nodes tell one another what is stored nowhere: who is online, and passing words for
//! people's sockets on other nodes.
//!
//! Messages do not come this way. They are stored, and every node reads them from the database's own
//! log, so that they have one lasting order and reach each socket once whichever way they were stored.
//! That is why this is not one of socketioxide's adapters: those hand packets to sockets, messages
//! included, in an order that each node sees for itself, and know nothing of those that came over
//! REST. And presence is about people, so nodes need facts, not packets.
//!
//! Signals are small and may be lost: presence notices and heals ([`crate::presence`]). They are
//! gathered for a few milliseconds and published as one batch, each node's in its own order.

mod mongodb;
pub(crate) mod redis;

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::Context as _;
use futures_util::{StreamExt as _, stream::BoxStream};
use serde::{Deserialize, Serialize};
use shared::{
    clock::Clock,
    config::{Config, RealtimeAdapter, Secret},
    db::Db,
    id::Id,
};
use socketioxide::SocketIo;
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{
    App,
    presence::{self, Fact},
    wire,
};

/// How long signals are gathered.
const GATHER: Duration = Duration::from_millis(5);

/// How many signals may wait to be published. What is more is dropped.
const WAITING: usize = 4_096;

/// How large a batch may grow, in bytes. One signal at most is over it, by some 50 kB.
const BATCH: usize = 200_000;

/// How long publishing one batch may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a stop waits for the last words.
const FAREWELL: Duration = Duration::from_secs(2);

/// One thing that a node tells the others.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "signal", content = "is", rename_all = "camelCase")]
enum Signal {
    Presence(Fact),
    Word { people: Vec<String>, word: Word },
}

/// What people's sockets are told, on whichever node they are, and what is not stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "word", content = "is", rename_all = "camelCase")]
pub(crate) enum Word {
    /// What was said last in a conversation of theirs.
    LastMessage(wire::LastMessage),
}

/// Signals of one node.
#[derive(Serialize, Deserialize)]
struct Batch<S> {
    node: String,
    signals: Vec<S>,
}

/// The way to the other nodes.
pub(crate) struct Bus {
    node: String,
    out: mpsc::Sender<Signal>,
    queue: Mutex<Option<mpsc::Receiver<Signal>>>,
    carrier: Carrier,
    connected: AtomicBool,
}

/// What carries batches. Each sender's arrive in order; its own come back to it as well, by which it
/// knows that it can hear.
enum Carrier {
    None,
    Mongodb(mongodb::Signals),
    Redis(Box<redis::Channel>),
}

impl Bus {
    pub(crate) fn new(config: &Config, db: &Db, clock: &Clock) -> anyhow::Result<Self> {
        let carrier = match config.realtime_adapter {
            RealtimeAdapter::Local => Carrier::None,
            RealtimeAdapter::Mongodb => Carrier::Mongodb(mongodb::Signals::of(db, clock.clone())),
            RealtimeAdapter::Redis => {
                let url = config.redis_url.as_ref().map(Secret::expose).context("REDIS_URL is not set")?;
                Carrier::Redis(Box::new(redis::Channel::of(url, db.database().name())?))
            }
        };
        let (out, queue) = mpsc::channel(WAITING);
        // Fresh at each start: what a former life has told is none of this one's.
        let node = Id::<Bus>::new().hex();
        let connected = AtomicBool::new(false);
        Ok(Self { node, out, queue: Mutex::new(Some(queue)), carrier, connected })
    }

    /// The name of this node.
    pub(crate) fn node(&self) -> &str {
        &self.node
    }

    /// Whether other nodes can be heard.
    fn connected(&self, connected: bool) {
        self.connected.store(connected, Ordering::Relaxed);
        metrics::gauge!("chat_bus_connected").set(if connected { 1.0 } else { 0.0 });
    }

    /// Tells the others about the people here.
    pub(crate) fn tell(&self, facts: Vec<Fact>) {
        facts.into_iter().for_each(|fact| self.signal(Signal::Presence(fact)));
    }

    fn signal(&self, signal: Signal) {
        if !matches!(self.carrier, Carrier::None) && self.out.try_send(signal).is_err() {
            dropped(1);
        }
    }
}

/// Tells these people's sockets, here and on the other nodes.
pub(crate) fn tell(app: &App, people: &[String], word: Word) {
    say(app, people, &word);
    if !app.presence.alone() {
        app.bus.signal(Signal::Word { people: people.to_vec(), word });
    }
}

/// Tells these people's sockets here.
fn say(app: &App, people: &[String], word: &Word) {
    for person in people {
        match word {
            Word::LastMessage(last) => app.audience.tell(person, wire::GET_LAST_MESSAGE, last),
        }
    }
}

fn dropped(signals: usize) {
    metrics::counter!("chat_signals_dropped_total").increment(u64::try_from(signals).unwrap_or(u64::MAX));
}

/// What keeps a node in touch with the others.
pub(crate) struct Running {
    app: Arc<App>,
    closing: CancellationToken,
    publisher: JoinHandle<()>,
    others: Vec<JoinHandle<()>>,
}

/// Begins to talk to the other nodes, and to announce to the sockets here who is online.
pub(crate) fn start(app: &Arc<App>, io: &SocketIo) -> Running {
    let closing = CancellationToken::new();
    let queue = app.bus.queue.lock().unwrap_or_else(PoisonError::into_inner).take();
    let publisher = tokio::spawn(publish(Arc::clone(app), queue, closing.clone()));
    let others = vec![
        tokio::spawn(listen(Arc::clone(app))),
        tokio::spawn(presence::keep(Arc::clone(app))),
        tokio::spawn(presence::announce(Arc::clone(app), io.clone())),
    ];
    Running { app: Arc::clone(app), closing, publisher, others }
}

impl Running {
    /// Tells the others that this node stops, once its last socket is gone.
    pub(crate) async fn stop(self) {
        self.others.iter().for_each(JoinHandle::abort);
        self.app.bus.tell(vec![Fact::Goodbye]);
        self.closing.cancel();
        if tokio::time::timeout(FAREWELL, self.publisher).await.is_err() {
            tracing::warn!("the other chat nodes were not told of the stop, they will find out");
        }
    }

    /// Falls silent, as in a crash.
    pub(crate) fn die(&self) {
        self.others.iter().for_each(JoinHandle::abort);
        self.publisher.abort();
    }
}

/// Publishes what is to be told, until it is closed and all is told.
async fn publish(app: Arc<App>, queue: Option<mpsc::Receiver<Signal>>, closing: CancellationToken) {
    let Some(mut queue) = queue else { return };
    let mut working = true;
    let mut next: Option<String> = None;
    loop {
        let first = match next.take() {
            Some(signal) => signal,
            None => {
                let signal = tokio::select! {
                    biased;
                    signal = queue.recv() => signal,
                    () = closing.cancelled(), if !queue.is_closed() => {
                        queue.close();
                        continue;
                    }
                };
                let Some(signal) = signal else { return };
                tokio::time::sleep(GATHER).await;
                encode(&signal)
            }
        };
        let mut signals = vec![first];
        let mut size = signals.iter().map(String::len).sum::<usize>();
        while let Ok(signal) = queue.try_recv() {
            let signal = encode(&signal);
            size += signal.len();
            if size > BATCH {
                next = Some(signal);
                break;
            }
            signals.push(signal);
        }
        // Encoded already, each for itself, because sizes are of the encoded.
        let text = format!(r#"{{"node":"{}","signals":[{}]}}"#, app.bus.node, signals.join(","));
        match tokio::time::timeout(PATIENCE, app.bus.carrier.publish(&app.bus.node, &text)).await {
            Ok(Ok(())) => {
                metrics::counter!("chat_signal_batches_total").increment(1);
                working = true;
            }
            failed => {
                dropped(signals.len());
                if working {
                    let cause = failed.map_or_else(
                        |_| "it took too long".to_owned(),
                        |result| result.err().map(|cause| format!("{cause:#}")).unwrap_or_default(),
                    );
                    tracing::warn!(cause, "the other chat nodes cannot be told anything");
                }
                working = false;
            }
        }
    }
}

fn encode(signal: &Signal) -> String {
    // Texts and numbers: there is nothing in it that JSON could not hold.
    serde_json::to_string(signal).unwrap_or_else(|_| "null".to_owned())
}

/// Hears the other nodes. When the connection is lost it is made anew, for ever.
async fn listen(app: Arc<App>) {
    if matches!(app.bus.carrier, Carrier::None) {
        return;
    }
    let mut pause = SHORTEST;
    app.bus.connected(false);
    loop {
        let cause = match tokio::time::timeout(PATIENCE, app.bus.carrier.listen()).await {
            Ok(Ok(batches)) => {
                pause = SHORTEST;
                app.bus.connected(true);
                tracing::debug!("the other chat nodes can be heard");
                // What they said meanwhile was missed, and so was what was said here, perhaps.
                app.presence.hello();
                let cause = follow(&app, batches).await;
                app.bus.connected(false);
                metrics::counter!("chat_bus_interruptions_total").increment(1);
                cause
            }
            Ok(Err(cause)) => cause,
            Err(_) => anyhow::anyhow!("no answer within {} s", PATIENCE.as_secs()),
        };
        tracing::warn!(
            cause = format!("{cause:#}"),
            "the other chat nodes cannot be heard: who is online there may be out of date"
        );
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST);
    }
}

/// Pauses between attempts to connect.
const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(2);

/// Hears until something fails. A connection on which not even this node's own heartbeats come back
/// is no connection.
async fn follow(app: &App, mut batches: BoxStream<'_, anyhow::Result<String>>) -> anyhow::Error {
    loop {
        match tokio::time::timeout(app.config.node_silence, batches.next()).await {
            Ok(Some(Ok(text))) => receive(app, &text),
            Ok(Some(Err(cause))) => return cause,
            Ok(None) => return anyhow::anyhow!("the connection was closed"),
            Err(_) => return anyhow::anyhow!("nothing was heard, not even from this node itself"),
        }
    }
}

fn receive(app: &App, text: &str) {
    // Each signal for itself: one that makes no sense here costs no other.
    let Ok(batch) = serde_json::from_str::<Batch<serde_json::Value>>(text) else {
        tracing::warn!(bytes = text.len(), "a batch of signals cannot be read");
        return;
    };
    if batch.node == app.bus.node {
        return;
    }
    let mut facts = Vec::new();
    for signal in batch.signals {
        match serde_json::from_value(signal) {
            Ok(Signal::Presence(fact)) => facts.push(fact),
            Ok(Signal::Word { people, word }) => say(app, &people, &word),
            // A later version's, while the nodes are brought up to date one by one.
            Err(cause) => tracing::debug!(%cause, "a signal was passed over"),
        }
    }
    app.presence.hear(&batch.node, facts);
}

impl Carrier {
    async fn publish(&self, node: &str, text: &str) -> anyhow::Result<()> {
        match self {
            Self::None => Ok(()),
            Self::Mongodb(signals) => signals.publish(node, text).await,
            Self::Redis(channel) => channel.publish(text).await,
        }
    }

    /// From when this returns, whatever is published is heard.
    async fn listen(&self) -> anyhow::Result<BoxStream<'static, anyhow::Result<String>>> {
        match self {
            Self::None => Ok(futures_util::stream::pending().boxed()),
            Self::Mongodb(signals) => signals.listen().await,
            Self::Redis(channel) => channel.listen().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_read_as_it_was_written() {
        let last = wire::LastMessage { last_message: "b\"".into(), last_message_id: "a".into() };
        let word = Signal::Word { people: vec!["a".into()], word: Word::LastMessage(last) };
        let hello = Signal::Presence(Fact::Hello { version: 7 });
        let text = format!(r#"{{"node":"n","signals":[{},{}]}}"#, encode(&word), encode(&hello));
        let batch: Batch<Signal> = serde_json::from_str(&text).unwrap();
        assert_eq!(batch.node, "n");
        let [Signal::Word { people, word: Word::LastMessage(last) }, Signal::Presence(fact)] =
            batch.signals.as_slice()
        else {
            panic!("{text}")
        };
        assert_eq!((people.as_slice(), last.last_message.as_str()), (&["a".to_owned()][..], "b\""));
        assert_eq!(*fact, Fact::Hello { version: 7 });
    }
}
