//! How many deliveries are under way at once. A receiver that does not answer takes a place for as long as it is waited
//! for; so each has few, and those that fail or are slow have one each, and never more than half of all together.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use shared::{id::Id, model::WebhookEndpoint};

/// On one node.
pub(super) const AT_ONCE: usize = 64;
/// To one endpoint.
const OF_ONE: usize = 4;
/// To those that fail or are slow, together.
const OF_STRAINED: usize = AT_ONCE / 2;

/// What is under way.
#[derive(Default)]
pub(super) struct Lanes(Mutex<HashMap<Id<WebhookEndpoint>, Lane>>);

#[derive(Clone, Copy, Default)]
struct Lane {
    running: usize,
    /// It has failed, or was slow, the last time.
    strained: bool,
}

impl Lanes {
    fn all(&self) -> MutexGuard<'_, HashMap<Id<WebhookEndpoint>, Lane>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The endpoints to which nothing more is to be sent just now.
    pub(super) fn full(&self) -> Vec<Id<WebhookEndpoint>> {
        let all = self.all();
        let strained: usize = all.values().filter(|lane| lane.strained).map(|lane| lane.running).sum();
        let is_full = |lane: &Lane| match lane.strained {
            true => lane.running >= 1 || strained >= OF_STRAINED,
            false => lane.running >= OF_ONE,
        };
        all.iter().filter(|(_, lane)| is_full(lane)).map(|(id, _)| *id).collect()
    }

    /// One more is under way.
    pub(super) fn enter(&self, endpoint: Id<WebhookEndpoint>) {
        self.all().entry(endpoint).or_default().running += 1;
    }

    /// One has come to its end; `strained` tells how, where it was sent at all.
    pub(super) fn leave(&self, endpoint: Id<WebhookEndpoint>, strained: Option<bool>) {
        let mut all = self.all();
        let lane = all.entry(endpoint).or_default();
        lane.running = lane.running.saturating_sub(1);
        lane.strained = strained.unwrap_or(lane.strained);
        if lane.running == 0 && !lane.strained {
            all.remove(&endpoint);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_takes_the_places_of_others() {
        let lanes = Lanes::default();
        let [good, bad] = [Id::new(), Id::new()];
        for _ in 0..OF_ONE {
            assert_eq!(lanes.full(), []);
            lanes.enter(good);
        }
        assert_eq!(lanes.full(), [good]);
        lanes.leave(good, Some(false));
        assert_eq!(lanes.full(), []);
        // Who has failed has one.
        lanes.enter(bad);
        lanes.leave(bad, Some(true));
        assert_eq!(lanes.full(), []);
        lanes.enter(bad);
        assert_eq!(lanes.full(), [bad]);
        // What was not sent says nothing.
        lanes.leave(bad, None);
        lanes.enter(bad);
        assert_eq!(lanes.full(), [bad]);
        lanes.leave(bad, Some(false));
        lanes.enter(bad);
        assert_eq!(lanes.full(), []);
    }

    #[test]
    fn however_many_fail_half_of_the_places_are_for_others() {
        let lanes = Lanes::default();
        let failing: Vec<Id<WebhookEndpoint>> = (0..OF_STRAINED + 3).map(|_| Id::new()).collect();
        for id in &failing {
            lanes.enter(*id);
            lanes.leave(*id, Some(true));
        }
        for id in failing.iter().take(OF_STRAINED) {
            assert!(!lanes.full().contains(id));
            lanes.enter(*id);
        }
        let mut full = lanes.full();
        full.sort();
        let mut all = failing;
        all.sort();
        assert_eq!(full, all);
    }
}
