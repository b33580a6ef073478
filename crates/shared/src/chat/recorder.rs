//! Storing in groups: whatever is waiting goes into one transaction.
//!
//! A transaction costs several round trips and a flush to the disk, whether it stores one message or a
//! hundred. While one group is being written, the next one gathers. Groups are written one after the
//! other, so what a socket has sent stays in order.

use std::{sync::Arc, time::Duration};

use mongodb::error::{Error, Result};
use tokio::{
    runtime::Handle,
    sync::{mpsc, oneshot},
};

use super::{Recorded, Saying, Via, store};
use crate::{
    backlog::Backlog,
    db::{self, Db, is_gone},
};

/// As soon as it has so many messages, a group takes no more.
const GROUP: usize = 256;

/// How long a group is tried whole while others come in between. One message alone is tried as long as
/// anything else.
const PATIENCE: Duration = Duration::from_millis(200);

/// What became of one message; none if it may not be said.
pub type Outcome = Result<Option<Recorded>>;

/// What this node's sockets have sent and what waits to be stored.
#[derive(Debug)]
pub struct Recorder {
    db: Db,
    backlog: Arc<Backlog<Job>>,
}

struct Job {
    sayings: Vec<Saying>,
    answer: oneshot::Sender<Vec<Outcome>>,
}

impl Recorder {
    /// What is stored is stored on `runtime`.
    pub fn new(db: Db, runtime: Handle) -> Self {
        Self { db, backlog: Arc::new(Backlog::new(runtime)) }
    }

    /// Stores what came over a socket together with whatever else is waiting. One outcome for each, in
    /// the same order. Whoever asked may be given up meanwhile: it is stored all the same.
    pub async fn record(&self, sayings: Vec<Saying>) -> Vec<Outcome> {
        let count = sayings.len();
        if count == 0 {
            return Vec::new();
        }
        let (answer, answered) = oneshot::channel();
        let db = self.db.clone();
        self.backlog.add(Job { sayings, answer }, move |queue| Box::pin(store_all(db.clone(), queue)));
        answered.await.unwrap_or_else(|_| {
            (0..count).map(|_| Err(Error::custom("messages were lost before they were stored"))).collect()
        })
    }
}

/// Stores group after group until nobody waits.
async fn store_all(db: Db, queue: &mut mpsc::UnboundedReceiver<Job>) {
    loop {
        let (mut sayings, mut answers) = (Vec::new(), Vec::new());
        while sayings.len() < GROUP
            && let Ok(job) = queue.try_recv()
        {
            answers.push((job.sayings.len(), job.answer));
            sayings.extend(job.sayings);
        }
        if sayings.is_empty() {
            return;
        }
        let outcomes = store(&db, sayings).await;
        let gone = outcomes.iter().find_map(|outcome| outcome.as_ref().err().filter(|error| is_gone(error)));
        let gone = gone.cloned();
        let mut outcomes = outcomes.into_iter();
        for (count, answer) in answers {
            // Nobody waits for it any more: then nobody needs to know.
            _ = answer.send(outcomes.by_ref().take(count).collect());
        }
        // Who waits already has waited with them; to find out group by group would take ever longer.
        if let Some(error) = gone {
            while let Ok(job) = queue.try_recv() {
                _ = job.answer.send(job.sayings.iter().map(|_| Err(error.clone())).collect());
            }
        }
    }
}

/// Stores a group; each message has an outcome of its own.
///
/// A group in which one cannot be stored, or one conversation is written by somebody else all the time,
/// is halved until the others are stored and that one fails alone.
async fn store(db: &Db, sayings: Vec<Saying>) -> Vec<Outcome> {
    metrics::histogram!("chat_group_size").record(f64::from(u32::try_from(sayings.len()).unwrap_or(0)));
    let mut outcomes: Vec<Outcome> = Vec::with_capacity(sayings.len());
    // The first ones are on top.
    let mut parts: Vec<Arc<[Saying]>> = vec![sayings.into()];
    while let Some(part) = parts.pop() {
        let patience = if part.len() == 1 { db::PATIENCE } else { PATIENCE };
        match store::record_within(db, Via::Socket, Arc::clone(&part), patience).await {
            Ok(stored) => outcomes.extend(stored.into_iter().map(Ok)),
            // That concerns those that are still to come too. And where it is not known whether a part
            // was stored, it must not be stored again.
            Err(error) if is_gone(&error) => {
                let left = part.len() + parts.iter().map(|part| part.len()).sum::<usize>();
                outcomes.extend((0..left).map(|_| Err(error.clone())));
                break;
            }
            Err(error) if part.len() == 1 => outcomes.push(Err(error)),
            Err(cause) => {
                tracing::debug!(%cause, messages = part.len(), "messages could not be stored together");
                metrics::counter!("chat_groups_halved_total").increment(1);
                let (first, second) = part.split_at(part.len() / 2);
                parts.extend([Arc::from(second), Arc::from(first)]);
            }
        }
    }
    outcomes
}
