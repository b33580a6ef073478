use std::{collections::HashMap, fmt};

use bson::doc;
use futures_util::TryStreamExt as _;
use mongodb::error::Result;
use serde::Deserialize;
use tokio::sync::{Mutex, mpsc, oneshot};

use super::Kind;
use crate::{
    db::Db,
    id::Id,
    lenient,
    model::{Shop, Stored as _, User},
};

/// What has to be known of whoever calls.
#[derive(Clone, Debug, Deserialize)]
pub struct Standing {
    #[serde(rename = "_id")]
    id: Id<()>,
    /// Sessions begun under another one have ended.
    #[serde(default, rename = "ver", deserialize_with = "lenient::int")]
    pub(super) version: i64,
    #[serde(default, deserialize_with = "lenient::flag")]
    pub(super) blocked: bool,
    #[serde(default, deserialize_with = "lenient::text")]
    pub(super) role: String,
    /// What was logged out of and would not have expired yet.
    #[serde(default, rename = "endedSessions", deserialize_with = "lenient::list")]
    pub(super) ended: Vec<String>,
}

/// Looks accounts up, each as it is at that moment: nothing is kept.
///
/// Every request with a session needs this, so those that come while one question is being answered
/// ask the next one together.
pub struct Accounts {
    db: Db,
    waiting: mpsc::UnboundedSender<Question>,
    /// Whoever holds this asks for everybody who waits.
    queue: Mutex<mpsc::UnboundedReceiver<Question>>,
}

struct Question {
    kind: Kind,
    id: Id<()>,
    answer: oneshot::Sender<Result<Option<Standing>>>,
}

impl fmt::Debug for Accounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accounts").finish_non_exhaustive()
    }
}

impl Accounts {
    /// Those of this database.
    pub fn of(db: Db) -> Self {
        let (waiting, queue) = mpsc::unbounded_channel();
        Self { db, waiting, queue: Mutex::new(queue) }
    }

    /// How one account stands, if there is such a one.
    pub async fn standing(&self, kind: Kind, id: Id<()>) -> Result<Option<Standing>> {
        loop {
            let (answer, mut answered) = oneshot::channel();
            // We hold the other end ourselves.
            _ = self.waiting.send(Question { kind, id, answer });
            let outcome = tokio::select! {
                biased;
                outcome = &mut answered => outcome,
                mut queue = self.queue.lock() => {
                    self.answer_all(&mut queue).await;
                    drop(queue);
                    answered.await
                }
            };
            // Whoever asked for us was given up in the middle of it, its client being gone: once more.
            if let Ok(outcome) = outcome {
                return outcome;
            }
        }
    }

    async fn answer_all(&self, queue: &mut mpsc::UnboundedReceiver<Question>) {
        let mut questions = Vec::new();
        while let Ok(question) = queue.try_recv() {
            questions.push(question);
        }
        let of =
            |kind| questions.iter().filter(move |question| question.kind == kind).map(|question| question.id);
        let (users, shops) = (of(Kind::User).collect(), of(Kind::Seller).collect());
        let (users, shops) =
            tokio::join!(self.ask(User::COLLECTION, users), self.ask(Shop::COLLECTION, shops));
        for Question { kind, id, answer } in questions {
            let found = match kind {
                Kind::User => &users,
                Kind::Seller => &shops,
            };
            // Nobody may wait for it any more.
            _ = answer.send(found.as_ref().map(|found| found.get(&id).cloned()).map_err(Clone::clone));
        }
    }

    async fn ask(&self, collection: &str, ids: Vec<Id<()>>) -> Result<HashMap<Id<()>, Standing>> {
        let filter = match ids.as_slice() {
            [] => return Ok(HashMap::new()),
            // The server's shortest way.
            [id] => doc! { "_id": *id },
            ids => doc! { "_id": { "$in": ids } },
        };
        let fields = doc! { "ver": 1, "blocked": 1, "role": 1, "endedSessions": 1 };
        let found = self.db.raw::<Standing>(collection).find(filter).projection(fields).await?;
        found.map_ok(|account| (account.id, account)).try_collect().await
    }
}
