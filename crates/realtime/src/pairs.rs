//! Which conversation two people have: what a message does not name, and what each one needs.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use shared::{chat, db::Db, id::Id, model::Conversation};

use crate::wire;

/// How many pairs are remembered.
const REMEMBERED: usize = 20_000;

type Pair = (Id<()>, Id<()>);

/// The conversations of pairs that have one and no other. Neither do its members ever change, nor is
/// another one made for the two.
#[derive(Default)]
pub(crate) struct Pairs(Mutex<HashMap<Pair, Id<Conversation>>>);

impl Pairs {
    fn known(&self) -> MutexGuard<'_, HashMap<Pair, Id<Conversation>>> {
        // Nothing that holds it can panic half way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The conversation of the two, if they have one. Where none is known it is looked up, each time.
    pub(crate) async fn find(
        &self,
        db: &Db,
        one: &str,
        other: &str,
    ) -> mongodb::error::Result<Option<Id<Conversation>>> {
        let pair = pair(one, other);
        if let Some(id) = pair.and_then(|pair| self.known().get(&pair).copied()) {
            return Ok(Some(id));
        }
        let found = chat::some_between(db, one, other).await?;
        if let (Some(pair), [only]) = (pair, found.as_slice()) {
            let mut known = self.known();
            if known.len() >= REMEMBERED {
                // Rarely, and it only costs look-ups.
                known.clear();
            }
            known.insert(pair, only.id);
        }
        Ok(found.first().map(|conversation| conversation.id))
    }

    /// It is gone: somebody has removed it from the database.
    pub(crate) fn forget(&self, one: &str, other: &str) {
        if let Some(pair) = pair(one, other) {
            self.known().remove(&pair);
        }
    }
}

/// Whoever it is that speaks.
fn pair(one: &str, other: &str) -> Option<Pair> {
    let ids = (wire::id(one)?, wire::id(other)?);
    // The spelling with capitals is no member's.
    let as_stored = ids.0.hex() == one && ids.1.hex() == other;
    as_stored.then(|| if ids.0 < ids.1 { ids } else { (ids.1, ids.0) })
}
