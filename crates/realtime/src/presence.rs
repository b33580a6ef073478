//! Who is online: people, not sockets. A person is online from the first socket to the last.
//!
//! Changes are gathered for a moment and announced together, so that n people who come at once cost
//! n announcements and not n². Up to a limit everybody with a name is told of everybody; above it
//! (or always, with a limit of 0) each is told of those they share a conversation with, which is all
//! that the client looks for.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
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
use socketioxide::{SocketIo, socket::Sid};
use tokio::sync::Notify;

use crate::{App, audience::emit, wire};

/// At most one announcement in this time.
const GATHER: Duration = Duration::from_millis(100);

/// The people who are online here.
#[derive(Default)]
pub(crate) struct Presence {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    /// Sockets of each person.
    people: BTreeMap<String, BTreeSet<String>>,
    /// People of each socket that has any.
    sockets: HashMap<String, (Sid, Vec<String>)>,
    /// Whose presence, or whose contacts, have changed since the last announcement.
    dirty: BTreeSet<String>,
}

impl Presence {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that holds it can panic half way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A socket is somebody's.
    pub(crate) fn join(&self, sid: Sid, person: &str) {
        let mut state = self.state();
        let socket = state.sockets.entry(sid.to_string()).or_insert_with(|| (sid, Vec::new()));
        if !socket.1.iter().any(|known| known == person) {
            socket.1.push(person.to_owned());
        }
        state.people.entry(person.to_owned()).or_default().insert(sid.to_string());
        state.dirty.insert(person.to_owned());
        count(&state);
        drop(state);
        self.changed.notify_one();
    }

    /// A socket is gone.
    pub(crate) fn leave(&self, sid: Sid) {
        let mut state = self.state();
        let sid = sid.to_string();
        let Some((_, people)) = state.sockets.remove(&sid) else { return };
        for person in people {
            let Some(sockets) = state.people.get_mut(&person) else { continue };
            sockets.remove(&sid);
            if sockets.is_empty() {
                state.people.remove(&person);
                state.dirty.insert(person);
            }
        }
        count(&state);
        drop(state);
        self.changed.notify_one();
    }

    /// These have a new conversation, and so somebody new to look for.
    pub(crate) fn acquainted(&self, members: &[String]) {
        let mut state = self.state();
        let online: Vec<String> =
            members.iter().filter(|member| state.people.contains_key(*member)).cloned().collect();
        if online.is_empty() {
            return;
        }
        state.dirty.extend(online);
        drop(state);
        self.changed.notify_one();
    }
}

#[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "a gauge is a float")]
fn count(state: &State) {
    metrics::gauge!("chat_people_online").set(state.people.len() as f64);
    metrics::gauge!("chat_sockets_identified").set(state.sockets.len() as f64);
}

/// What a socket is told.
type Online = Arc<Vec<wire::Online>>;

/// Announces changes until the server stops.
pub(crate) async fn announce(app: Arc<App>, io: SocketIo) {
    loop {
        app.presence.changed.notified().await;
        tokio::time::sleep(GATHER).await;
        let dirty = std::mem::take(&mut app.presence.state().dirty);
        if dirty.is_empty() {
            continue;
        }
        match announcements(&app, &dirty).await {
            Ok(all) => all.into_iter().for_each(|(sid, online)| tell(&io, sid, &online)),
            Err(cause) => {
                tracing::warn!(%cause, "presence could not be announced, it will be tried again");
                app.presence.state().dirty.extend(dirty);
                tokio::time::sleep(Duration::from_secs(1)).await;
                app.presence.changed.notify_one();
            }
        }
    }
}

/// Tells one socket who is online, now.
pub(crate) async fn announce_to(app: &App, io: &SocketIo, sid: Sid) -> mongodb::error::Result<()> {
    let people = app.presence.state().sockets.get(&sid.to_string()).map(|(_, people)| people.clone());
    let Some(people) = people else { return Ok(()) };
    let everybody = everybody(&app.presence.state(), app.config.presence_broadcast_limit);
    let online = match everybody {
        Some(online) => online,
        None => {
            let contacts = contacts(&app.db, &people.iter().cloned().collect()).await?;
            known(&app.presence.state(), &people, &contacts)
        }
    };
    tell(io, sid, &online);
    Ok(())
}

fn tell(io: &SocketIo, sid: Sid, online: &Online) {
    if let Some(socket) = io.get_socket(sid) {
        emit(&socket, wire::GET_USERS, online.as_ref());
    }
}

/// Which sockets to tell what, after these people have changed.
async fn announcements(app: &App, changed: &BTreeSet<String>) -> mongodb::error::Result<Vec<(Sid, Online)>> {
    {
        let state = app.presence.state();
        if let Some(online) = everybody(&state, app.config.presence_broadcast_limit) {
            return Ok(state.sockets.values().map(|(sid, _)| (*sid, Arc::clone(&online))).collect());
        }
    }
    // Two look-ups, whatever the number of people: whose contacts have changed, and who theirs are.
    let mut concerned = changed.clone();
    concerned.extend(contacts(&app.db, changed).await?.into_values().flatten());
    {
        let state = app.presence.state();
        concerned.retain(|person| state.people.contains_key(person));
    }
    let contacts = contacts(&app.db, &concerned).await?;

    let state = app.presence.state();
    let sids: BTreeSet<&String> =
        concerned.iter().filter_map(|person| state.people.get(person)).flatten().collect();
    let sockets = sids.into_iter().filter_map(|sid| state.sockets.get(sid));
    Ok(sockets.map(|(sid, people)| (*sid, known(&state, people, &contacts))).collect())
}

/// Everybody who is online, unless these are too many to tell everybody of.
fn everybody(state: &State, limit: usize) -> Option<Online> {
    let online = || state.people.keys().map(|person| wire::Online::of(person)).collect();
    (state.people.len() <= limit).then(|| Arc::new(online()))
}

/// A socket's own people and their contacts, as far as they are online. One socket may be a user's
/// and a shop's: it gets one list with the contacts of both.
fn known(state: &State, people: &[String], contacts: &HashMap<String, BTreeSet<String>>) -> Online {
    let theirs = people.iter().filter_map(|person| contacts.get(person)).flatten();
    let online: BTreeSet<&String> =
        theirs.chain(people).filter(|person| state.people.contains_key(*person)).collect();
    Arc::new(online.into_iter().map(|person| wire::Online::of(person)).collect())
}

/// The people whom each of these shares a conversation with.
async fn contacts(
    db: &Db,
    people: &BTreeSet<String>,
) -> mongodb::error::Result<HashMap<String, BTreeSet<String>>> {
    let mut contacts: HashMap<String, BTreeSet<String>> = HashMap::new();
    let wanted: Vec<&String> = people.iter().collect();
    let mut conversations = db
        .raw::<Document>(Conversation::COLLECTION)
        .find(doc! { "members": { "$in": wanted } })
        .projection(doc! { "members": 1 })
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
