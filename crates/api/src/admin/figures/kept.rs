//! What sells best is looked for in the orders themselves, which takes a while where there are many. Such an answer is
//! kept: for a minute it is given again, and after that while a new one is being made.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use shared::db::Db;
use tokio::time::Instant;
use tracing::warn;

use super::{
    rules::Days,
    store::{self, BestProduct},
};

/// What takes less is asked anew each time.
const SLOW: Duration = Duration::from_millis(100);
/// So long it is as good as new.
const FRESH: Duration = Duration::from_secs(60);
/// So long it is better than to wait.
const STALE: Duration = Duration::from_secs(3_600);
/// For so many different days.
const MOST: usize = 32;

/// Answers that took long.
#[derive(Debug, Default)]
pub struct Kept(Mutex<HashMap<Days, Answer>>);

#[derive(Clone, Debug)]
struct Answer {
    best: Vec<BestProduct>,
    made: Instant,
    /// Somebody makes a new one.
    renewing: bool,
}

impl Kept {
    fn answers(&self) -> MutexGuard<'_, HashMap<Days, Answer>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What sold best on these days.
    pub(super) async fn best(
        self: &Arc<Self>,
        db: &Db,
        days: Days,
    ) -> mongodb::error::Result<Vec<BestProduct>> {
        if let Some(best) = self.recall(db, days) {
            return Ok(best);
        }
        self.make(db, days).await
    }

    fn recall(self: &Arc<Self>, db: &Db, days: Days) -> Option<Vec<BestProduct>> {
        let mut answers = self.answers();
        let answer = answers.get_mut(&days)?;
        let age = answer.made.elapsed();
        if age > STALE {
            return None;
        }
        if age > FRESH && !answer.renewing {
            answer.renewing = true;
            let (kept, db) = (Arc::clone(self), db.clone());
            tokio::spawn(async move {
                if let Err(error) = kept.make(&db, days).await {
                    warn!(%error, "what sells best could not be counted anew");
                    kept.answers().remove(&days);
                }
            });
        }
        Some(answer.best.clone())
    }

    async fn make(&self, db: &Db, days: Days) -> mongodb::error::Result<Vec<BestProduct>> {
        let begun = Instant::now();
        let best = store::best_products(db, days).await?;
        let mut answers = self.answers();
        answers.remove(&days);
        if begun.elapsed() > SLOW {
            if answers.len() >= MOST {
                answers.clear();
            }
            answers.insert(days, Answer { best: best.clone(), made: Instant::now(), renewing: false });
        }
        Ok(best)
    }
}
