//! A connection lives for hours, a session may end at any moment: by logging out, there or everywhere, by a
//! new password, by an administrator who blocks the account, or because its time is over. Its connections are
//! hung up then; they come back, and prove what they still can.
//!
//! The database is watched for accounts that have changed. Every node watches for itself.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use bson::doc;
use futures_util::{StreamExt as _, future::try_join_all};
use mongodb::{
    change_stream::{ChangeStream, event::ResumeToken},
    error::{ErrorKind, Result},
};
use serde::Deserialize;
use shared::{
    auth::{Kind, Proof, Standing},
    id::Id,
    model::{Shop, Stored as _, User},
};
use socketioxide::{SocketIo, extract::SocketRef};
use tokio::time::Instant;

use crate::{App, audience::hang_up, auth::Handshake, control::Why};

/// How long a handshake may take to become a connection, with time to spare. What it proves was looked
/// up at its beginning, and it is among the connections only at its end.
const CONNECTING: Duration = Duration::from_secs(90);

/// How often those are looked through for what has changed meanwhile.
const LOOK: Duration = Duration::from_secs(1);

/// How often for sessions whose time is over.
const EXPIRY: Duration = Duration::from_secs(30);

/// How many changes are looked at together.
const TOGETHER: usize = 256;

/// Whose session.
type Account = (Kind, Id<()>);

/// How some accounts stand, as far as there still are such.
type Standings = HashMap<Account, Option<Standing>>;

/// An account that has changed.
#[derive(Debug, Deserialize)]
struct Change {
    #[serde(rename = "_id")]
    token: ResumeToken,
    ns: Namespace,
    #[serde(rename = "documentKey")]
    key: Key,
}

#[derive(Debug, Deserialize)]
struct Namespace {
    coll: String,
}

#[derive(Debug, Deserialize)]
struct Key {
    #[serde(rename = "_id")]
    id: bson::Bson,
}

impl Change {
    fn account(&self) -> Option<Account> {
        let kind = if self.ns.coll == User::COLLECTION { Kind::User } else { Kind::Seller };
        Some((kind, Id::from_oid(self.key.id.as_object_id()?)))
    }
}

/// Where the watching has got to.
#[derive(Default)]
struct Progress {
    token: Option<ResumeToken>,
    /// What has changed of late, as it is now, and until when connections are looked through for it.
    changed: HashMap<Account, (Option<Standing>, Instant)>,
    /// When everybody is to be looked at.
    everybody: VecDeque<Instant>,
}

/// Watches the accounts and hangs up, until the server stops. After a failure it goes on where it was;
/// where the database no longer knows that place, everybody is looked at.
pub(crate) async fn watch(app: Arc<App>, io: SocketIo) {
    let mut progress = Progress::default();
    loop {
        let resumed = progress.token.is_some();
        match follow(&app, &io, &mut progress).await {
            Ok(()) => progress.token = None,
            Err(cause) => {
                tracing::warn!(%cause, resumed, "watching the accounts was interrupted");
                if resumed && matches!(&*cause.kind, ErrorKind::Command(_)) {
                    // The place is gone from the database's log.
                    progress.token = None;
                }
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Watches once, until something fails or the database is dropped.
async fn follow(app: &App, io: &SocketIo, progress: &mut Progress) -> Result<()> {
    let stream = open(app, progress.token.clone()).await?;
    if progress.token.is_none() {
        // Once more when those have come who were connecting.
        let now = Instant::now();
        progress.everybody = VecDeque::from([now, now + CONNECTING]);
    }
    let mut stream = stream.ready_chunks(TOGETHER);
    loop {
        if progress.everybody.front().is_some_and(|due| *due <= Instant::now()) {
            let accounts =
                io.sockets().iter().flat_map(proofs).map(|proof| (proof.kind, proof.account)).collect();
            let standings = standing(app, accounts).await?;
            hang_up_whose(io, |proof| has_ended(proof, &standings, app));
            progress.everybody.pop_front();
        }
        let at_rest = progress.everybody.is_empty() && progress.changed.is_empty();
        tokio::select! {
            changes = stream.next() => {
                let Some(changes) = changes else { return Ok(()) };
                let changes: Vec<Change> = changes.into_iter().collect::<Result<_>>()?;
                let accounts = changes.iter().filter_map(Change::account).collect();
                let until = Instant::now() + CONNECTING;
                for (account, standing) in standing(app, accounts).await? {
                    progress.changed.insert(account, (standing, until));
                }
                // Only now: what could not be looked up is seen again.
                progress.token = changes.into_iter().next_back().map(|change| change.token);
            }
            () = tokio::time::sleep(if at_rest { EXPIRY } else { LOOK }) => {}
        }
        let standings = progress.changed.iter().map(|(account, (standing, _))| (*account, standing.clone()));
        let (standings, now) = (standings.collect(), app.clock.now());
        hang_up_whose(io, |proof| proof.has_expired(now) || has_ended(proof, &standings, app));
        progress.changed.retain(|_, (_, until)| *until > Instant::now());
    }
}

/// Changes by which sessions may have ended.
async fn open(app: &App, token: Option<ResumeToken>) -> Result<ChangeStream<Change>> {
    // An element that is added to a list is told as `endedSessions.3`.
    let told = doc! { "$objectToArray": "$updateDescription.updatedFields" };
    let ends =
        doc! { "$regexMatch": { "input": "$$this.k", "regex": r"^(ver|blocked|endedSessions)(\.|$)" } };
    let ended = doc! { "$match": {
        "ns.coll": { "$in": [User::COLLECTION, Shop::COLLECTION] },
        "$or": [
            { "operationType": { "$in": ["replace", "delete"] } },
            { "operationType": "update", "$or": [
                { "updateDescription.removedFields": { "$in": ["ver", "blocked"] } },
                { "$expr": { "$anyElementTrue": { "$map": { "input": told, "in": ends } } } },
            ] },
        ],
    } };
    // Nothing else of an account travels.
    let brief = doc! { "$project": { "ns.coll": 1, "documentKey._id": 1 } };
    let stream = app.db.database().watch().pipeline([ended, brief]).resume_after(token).await?;
    Ok(stream.with_type())
}

/// How these accounts stand now.
async fn standing(app: &App, accounts: HashSet<Account>) -> Result<Standings> {
    let look_up = async |account: Account| -> Result<_> {
        Ok((account, app.accounts.standing(account.0, account.1).await?))
    };
    Ok(try_join_all(accounts.into_iter().map(look_up)).await?.into_iter().collect())
}

fn proofs(socket: &SocketRef) -> Vec<Proof> {
    socket.extensions.get::<Handshake>().map(|handshake| handshake.proofs).unwrap_or_default()
}

/// Whether a session no longer holds, as far as these accounts tell.
fn has_ended(proof: &Proof, standings: &Standings, app: &App) -> bool {
    let standing = standings.get(&(proof.kind, proof.account));
    standing.is_some_and(|standing| !proof.holds(standing.as_ref(), app.clock.now()))
}

/// Hangs up connections that were proven by such a session.
fn hang_up_whose(io: &SocketIo, ended: impl Fn(&Proof) -> bool) {
    for socket in io.sockets() {
        if proofs(&socket).iter().any(&ended) {
            tracing::info!(socket = %socket.id, "a connection whose session has ended is hung up");
            hang_up(&socket, Why::Revoked);
        }
    }
}
