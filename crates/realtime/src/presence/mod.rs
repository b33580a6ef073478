//! Who is online: people, not sockets. A person is online from the first socket to the last, whichever
//! nodes these are on.
//!
//! Changes are gathered for a moment and announced together, so that n people who come at once cost
//! n announcements and not n². Up to a limit everybody with a name is told of everybody; above it
//! (or always, with a limit of 0) each is told of those they share a conversation with, which is all
//! that the client looks for. Nobody is told twice in a row what has not changed, except in answer.
//!
//! What it costs (`PRESENCE_BROADCAST_LIMIT` = 40, an entry is 76 bytes): if 1,000 people come one
//! after the other, the n-th makes n lists of n people until there are 40, so 76 · (1² + … + 40²) =
//! 76 · 22,140 = 1.7 MB; twice that for pages with two sockets each. Each of the other 960 costs a list
//! for themselves and for every contact who is online: with one such contact some 2 · 180 bytes,
//! 0.4 MB in all. If they come at once it is less, as changes are gathered.

mod nodes;
mod people;

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bson::{Document, doc};
use futures_util::TryStreamExt as _;
use shared::{
    db::Db,
    lenient,
    model::{Conversation, Stored as _},
};
use socketioxide::{SocketIo, extract::SocketRef, socket::Sid};
use tokio::{
    sync::Notify,
    time::{Instant, MissedTickBehavior},
};

use crate::{App, audience::emit, wire};
use people::{Contacts, People};

pub(crate) use nodes::Fact;

/// At most one announcement in this time; and how long somebody must be gone to have left.
const GATHER: Duration = Duration::from_millis(100);

/// How many people's contacts are looked up at once.
const LOOKED_UP: usize = 500;

/// How many sockets are told before others get a turn at the state.
const TOLD: usize = 100;

/// The people who are online.
pub(crate) struct Presence {
    people: Mutex<People>,
    /// Somebody came or went, or another node wants to know something.
    changed: Notify,
    /// It was gathered, and may be announced.
    gathered: Notify,
}

impl Presence {
    pub(crate) fn new(node: &str, silence: Duration, limit: usize) -> Self {
        let people = Mutex::new(People::new(node.to_owned(), silence, limit));
        Self { people, changed: Notify::new(), gathered: Notify::new() }
    }

    fn people(&self) -> MutexGuard<'_, People> {
        // Nothing that holds it can panic half way.
        self.people.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A socket is somebody's.
    pub(crate) fn join(&self, sid: Sid, person: &str) {
        self.people().join(sid, person);
        self.changed.notify_one();
    }

    /// A socket is gone.
    pub(crate) fn leave(&self, sid: Sid) {
        self.people().leave(sid, Instant::now());
        self.changed.notify_one();
    }

    /// These have a new conversation, and so somebody new to look for.
    pub(crate) fn acquainted(&self, members: &[String]) {
        self.people().acquainted(members);
        self.changed.notify_one();
    }

    /// No other node is known.
    pub(crate) fn alone(&self) -> bool {
        self.people().alone()
    }

    /// Another node has said something.
    pub(crate) fn hear(&self, node: &str, facts: Vec<Fact>) {
        let mut people = self.people();
        facts.into_iter().for_each(|fact| people.hear(node, fact, Instant::now()));
        drop(people);
        self.changed.notify_one();
    }

    /// The other nodes can be heard from now on.
    pub(crate) fn hello(&self) {
        self.people().nodes().hello();
        self.changed.notify_one();
    }
}

/// Keeps in touch with the other nodes, and gathers who comes and goes.
pub(crate) async fn keep(app: Arc<App>) {
    let presence = &app.presence;
    let mut beat = tokio::time::interval(app.config.node_silence / 4);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = presence.changed.notified() => tokio::time::sleep(GATHER).await,
            _ = beat.tick() => {
                let mut people = presence.people();
                people.nodes().beat();
                let dead = people.bury(Instant::now());
                if dead > 0 {
                    tracing::warn!(dead, "chat nodes have fallen silent, their people count as gone");
                }
            }
        }
        let mut people = presence.people();
        people.settle(Instant::now(), GATHER);
        if people.unsettled() {
            presence.changed.notify_one();
        }
        count(&people);
        // Said before anybody else can have something newer to say.
        app.bus.tell(people.nodes().take_facts());
        drop(people);
        presence.gathered.notify_one();
    }
}

#[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "a gauge is a float")]
fn count(people: &People) {
    let (here, sockets, online) = people.count();
    metrics::gauge!("chat_people_here").set(here as f64);
    metrics::gauge!("chat_people_online").set(online as f64);
    metrics::gauge!("chat_sockets_identified").set(sockets as f64);
}

/// Announces what was gathered.
pub(crate) async fn announce(app: Arc<App>, io: SocketIo) {
    loop {
        app.presence.gathered.notified().await;
        if let Err(cause) = get_acquainted(&app).await {
            tracing::warn!(%cause, "presence could not be announced to everybody, it will be tried again");
            tokio::time::sleep(Duration::from_secs(1)).await;
            app.presence.gathered.notify_one();
        }
        let due = app.presence.people().take_due();
        for sids in due.chunks(TOLD) {
            let sockets: Vec<SocketRef> = sids.iter().filter_map(|sid| io.get_socket(*sid)).collect();
            {
                let mut people = app.presence.people();
                sockets.iter().for_each(|socket| tell(&mut people, socket, false));
            }
            // Others have work too.
            tokio::task::yield_now().await;
        }
        tokio::time::sleep(GATHER).await;
    }
}

/// Tells one socket who is online, because it asks.
pub(crate) async fn announce_to(app: &App, io: &SocketIo, sid: Sid) -> mongodb::error::Result<()> {
    let of = app.presence.people().of(sid);
    let contacts = contacts(&app.db, &of).await?;
    let Some(socket) = io.get_socket(sid) else { return Ok(()) };
    let mut people = app.presence.people();
    people.know(&of, &contacts);
    tell(&mut people, &socket, true);
    Ok(())
}

/// While the state is held, so that what a socket was told last is what the state says.
fn tell(people: &mut People, socket: &SocketRef, asks: bool) {
    if let Some(list) = people.list(socket.id, asks) {
        let list: Vec<wire::Online> = list.iter().map(|name| wire::Online::of(name)).collect();
        metrics::counter!("chat_presence_lists_total").increment(1);
        if !emit(socket, wire::GET_USERS, &list) {
            people.again(socket.id);
        }
    }
}

/// Looks up the contacts of those who are new here, some at a time. Later they are known, and
/// announcing that somebody came or went needs no look-up.
async fn get_acquainted(app: &App) -> mongodb::error::Result<()> {
    loop {
        let unknown = app.presence.people().unknown(LOOKED_UP);
        if unknown.is_empty() {
            return Ok(());
        }
        let contacts = contacts(&app.db, &unknown).await?;
        app.presence.people().know(&unknown, &contacts);
    }
}

/// The people whom each of these shares a conversation with.
async fn contacts(db: &Db, people: &BTreeSet<String>) -> mongodb::error::Result<Contacts> {
    let mut contacts = Contacts::new();
    if people.is_empty() {
        return Ok(contacts);
    }
    let wanted: Vec<&String> = people.iter().collect();
    let mut conversations = db
        .raw::<Document>(Conversation::COLLECTION)
        .find(doc! { "members": { "$in": wanted } })
        .projection(doc! { "members": 1, "_id": 0 })
        .await?;
    while let Some(conversation) = conversations.try_next().await? {
        let members: Vec<String> = conversation
            .get_array("members")
            .map(|members| members.iter().filter_map(lenient::as_text).collect())
            .unwrap_or_default();
        for member in members.iter().filter(|member| people.contains(*member)) {
            let others = members.iter().filter(|other| *other != member).cloned();
            contacts.entry(member.clone()).or_default().extend(others);
        }
    }
    Ok(contacts)
}
