//! What was said lately, kept for those who drop and come back.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
};

use serde_json::value::RawValue;
use shared::{id::Id, model::Message};

use crate::position::Position;

/// However much is said, no more is kept: so many messages, of so many bytes together.
const MOST: usize = 100_000;
const MOST_BYTES: usize = 64 * 1024 * 1024;

/// A message on its way to one person.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) position: Position,
    pub(crate) message: Id<Message>,
    /// Hex id of whom it is for.
    pub(crate) receiver: String,
    /// The event's payload, written once for all sockets.
    pub(crate) payload: Box<RawValue>,
    /// The position as clients keep it.
    pub(crate) offset: String,
}

impl Said {
    fn size(&self) -> usize {
        self.payload.get().len()
    }
}

/// The messages of the last while, in the database's order.
pub(crate) struct Ring {
    /// Seconds.
    window: u32,
    said: VecDeque<Arc<Said>>,
    of: HashMap<String, VecDeque<Arc<Said>>>,
    /// Of the payloads.
    bytes: usize,
}

impl Ring {
    /// Keeps what is at most `window` seconds older than the newest.
    pub(crate) fn new(window: u32) -> Self {
        Self { window, said: VecDeque::new(), of: HashMap::new(), bytes: 0 }
    }

    /// Keeps one more, which comes after all the others.
    pub(crate) fn push(&mut self, said: Arc<Said>) {
        let newest = said.position.seconds;
        if !self.of.contains_key(&said.receiver) {
            self.of.insert(said.receiver.clone(), VecDeque::new());
        }
        if let Some(theirs) = self.of.get_mut(&said.receiver) {
            theirs.push_back(Arc::clone(&said));
        }
        self.bytes = self.bytes.saturating_add(said.size());
        self.said.push_back(said);
        let too_old = |said: &Said| said.position.seconds.saturating_add(self.window) < newest;
        while self.said.len() > MOST
            || self.bytes > MOST_BYTES
            || self.said.front().is_some_and(|oldest| too_old(oldest))
        {
            let Some(oldest) = self.said.pop_front() else { break };
            self.bytes = self.bytes.saturating_sub(oldest.size());
            // The oldest of all is the oldest of its receiver's.
            if let Some(theirs) = self.of.get_mut(&oldest.receiver) {
                theirs.pop_front();
                if theirs.is_empty() {
                    self.of.remove(&oldest.receiver);
                }
            }
        }
    }

    /// What was said to these people after a position, in order.
    pub(crate) fn after(&self, position: Position, people: &[String]) -> Vec<Arc<Said>> {
        self.first_after(position, people, usize::MAX)
    }

    /// The first ones of these. Costs as much as they are, however many follow.
    pub(crate) fn first_after(&self, position: Position, people: &[String], most: usize) -> Vec<Arc<Said>> {
        let mut missed: Vec<Arc<Said>> = Vec::new();
        for theirs in people.iter().filter_map(|person| self.of.get(person)) {
            let had = theirs.partition_point(|said| said.position <= position);
            missed.extend(theirs.iter().skip(had).take(most).cloned());
        }
        missed.sort_by_key(|said| said.position);
        missed.truncate(most);
        missed
    }

    /// The messages themselves.
    pub(crate) fn messages(&self) -> HashSet<Id<Message>> {
        self.said.iter().map(|said| said.message).collect()
    }
}

#[cfg(test)]
mod tests {
    use bson::Timestamp;

    use super::*;

    fn said(seconds: u32, receiver: &str) -> Arc<Said> {
        long(seconds, receiver, "{}".to_owned())
    }

    fn long(seconds: u32, receiver: &str, payload: String) -> Arc<Said> {
        let position = Position::NONE.then(Timestamp { time: seconds, increment: 1 });
        Arc::new(Said {
            position,
            message: Id::new(),
            receiver: receiver.to_owned(),
            payload: RawValue::from_string(payload).unwrap(),
            offset: position.to_string(),
        })
    }

    fn seconds(missed: &[Arc<Said>]) -> Vec<u32> {
        missed.iter().map(|said| said.position.seconds).collect()
    }

    #[test]
    fn each_gets_what_came_after_their_position_in_order() {
        let mut ring = Ring::new(100);
        for (at, receiver) in [(1, "a"), (2, "b"), (3, "a"), (4, "c"), (5, "b")] {
            ring.push(said(at, receiver));
        }
        let both = ["a".to_owned(), "b".to_owned()];
        assert_eq!(seconds(&ring.after(Position::NONE, &both)), [1, 2, 3, 5]);
        assert_eq!(seconds(&ring.after(said(2, "").position, &both)), [3, 5]);
        assert_eq!(seconds(&ring.after(said(5, "").position, &both)), [0; 0]);
        assert_eq!(seconds(&ring.after(Position::NONE, &["d".to_owned()])), [0; 0]);
        assert_eq!(seconds(&ring.first_after(Position::NONE, &both, 3)), [1, 2, 3]);
        assert_eq!(seconds(&ring.first_after(said(1, "").position, &both, 1)), [2]);
    }

    #[test]
    fn the_window_moves_on_and_leaves_nothing_behind() {
        let mut ring = Ring::new(10);
        let first = said(1, "a");
        ring.push(Arc::clone(&first));
        ring.push(said(11, "b"));
        assert!(ring.messages().contains(&first.message), "ten seconds old");
        ring.push(said(12, "b"));
        assert!(!ring.messages().contains(&first.message));
        assert!(!ring.of.contains_key("a"), "nor is there a place for whom nothing is kept");
        for _ in 0..=MOST {
            ring.push(said(13, "b"));
        }
        assert_eq!((ring.said.len(), ring.of["b"].len()), (MOST, MOST));
        let longest = long(13, "c", format!("\"{}\"", "x".repeat(MOST_BYTES / 4)));
        for _ in 0..5 {
            ring.push(Arc::clone(&longest));
        }
        assert_eq!(
            (ring.said.len(), ring.of.len(), ring.bytes),
            (3, 1, 3 * longest.size()),
            "long ones count"
        );
    }
}
