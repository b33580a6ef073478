//! A connection lives for hours, a session may end at any moment: by a new password, by logging out
//! everywhere, by an administrator who blocks the account. Its connections are hung up then; they come
//! back, and prove what they still can.
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
    auth::Kind,
    id::Id,
    model::{Shop, Stored as _, User},
};
use socketioxide::{SocketIo, extract::SocketRef};
use tokio::time::Instant;

use crate::{
    App,
    audience::hang_up,
    auth::{Handshake, Proof},
    control::Why,
};

/// How long a handshake may take to become a connection, with time to spare. What it proves was looked
/// up at its beginning, and it is among the connections only at its end.
const CONNECTING: Duration = Duration::from_secs(90);

/// How often those are looked through for what has changed meanwhile.
const LOOK: Duration = Duration::from_secs(1);

/// How many changes are looked at together.
const TOGETHER: usize = 256;

/// Whose session: it is proven by its kind and id.
pub(crate) type Account = (Kind, Id<()>);

/// What sessions of some accounts must have: their version, or there is none that holds.
type Standing = HashMap<Account, Option<i64>>;

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
    changed: HashMap<Account, (Option<i64>, Instant)>,
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
            let accounts = io.sockets().iter().flat_map(proofs).map(|proof| proof.account).collect();
            hang_up_all(io, &standing(app, accounts).await?);
            progress.everybody.pop_front();
        }
        let at_rest = progress.everybody.is_empty() && progress.changed.is_empty();
        tokio::select! {
            changes = stream.next() => {
                let Some(changes) = changes else { return Ok(()) };
                let changes: Vec<Change> = changes.into_iter().collect::<Result<_>>()?;
                let accounts = changes.iter().filter_map(Change::account).collect();
                let until = Instant::now() + CONNECTING;
                for (account, version) in standing(app, accounts).await? {
                    progress.changed.insert(account, (version, until));
                }
                // Only now: what could not be looked up is seen again.
                progress.token = changes.into_iter().next_back().map(|change| change.token);
            }
            () = tokio::time::sleep(LOOK), if !at_rest => {}
        }
        let now = Instant::now();
        hang_up_all(
            io,
            &progress.changed.iter().map(|(account, (version, _))| (*account, *version)).collect(),
        );
        progress.changed.retain(|_, (_, until)| *until > now);
    }
}

/// Changes by which sessions may have ended.
async fn open(app: &App, token: Option<ResumeToken>) -> Result<ChangeStream<Change>> {
    let one_of = |fields: [&str; 2]| {
        let set = fields
            .map(|field| doc! { format!("updateDescription.updatedFields.{field}"): { "$exists": true } });
        let mut any = set.to_vec();
        any.push(doc! { "updateDescription.removedFields": { "$in": fields.to_vec() } });
        any
    };
    let ended = doc! { "$match": {
        "ns.coll": { "$in": [User::COLLECTION, Shop::COLLECTION] },
        "$or": [
            { "operationType": "update", "$or": one_of(["ver", "blocked"]) },
            { "operationType": { "$in": ["replace", "delete"] } },
        ],
    } };
    // Nothing else of an account travels.
    let brief = doc! { "$project": { "ns.coll": 1, "documentKey._id": 1 } };
    let stream = app.db.database().watch().pipeline([ended, brief]).resume_after(token).await?;
    Ok(stream.with_type())
}

/// What sessions of these accounts must have now.
async fn standing(app: &App, accounts: HashSet<Account>) -> Result<Standing> {
    let look_up = async |account: Account| -> Result<_> {
        Ok((account, app.accounts.version(account.0, account.1).await?))
    };
    Ok(try_join_all(accounts.into_iter().map(look_up)).await?.into_iter().collect())
}

fn proofs(socket: &SocketRef) -> Vec<Proof> {
    socket.extensions.get::<Handshake>().map(|handshake| handshake.proofs).unwrap_or_default()
}

/// Hangs up connections that were proven by a session which no longer holds.
fn hang_up_all(io: &SocketIo, standing: &Standing) {
    if standing.is_empty() {
        return;
    }
    for socket in io.sockets() {
        let ended = |proof: &Proof| {
            standing.get(&proof.account).is_some_and(|version| *version != Some(proof.version))
        };
        if proofs(&socket).iter().any(ended) {
            tracing::info!(socket = %socket.id, "a connection whose session has ended is hung up");
            hang_up(&socket, Why::Revoked);
        }
    }
}
