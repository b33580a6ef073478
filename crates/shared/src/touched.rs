//! What this process has written of the catalogue, for whoever keeps a copy of it in memory: whoever has changed
//! something is shown it by the very next answer, and nobody waits for what others write elsewhere.
//!
//! Whoever writes says so behind the write ([`crate::db::Db::touched`]). In a transaction it counts from the
//! transaction's end on, however that ends.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use tokio::sync::Notify;

use crate::{
    id::Id,
    model::{Kind, Listing, Shop, User},
};

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Touched {
    /// A product or an event.
    Listing(Kind, Id<Listing>),
    /// What is public of a shop.
    Shop(Id<Shop>),
    /// What products show of somebody who has reviewed them.
    Reviewer(Id<User>),
}

/// What was touched and has not been read again since. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Marks(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// Without somebody who reads them again, marks would only pile up.
    is_followed: AtomicBool,
    open: AtomicUsize,
    marks: Mutex<Open>,
    wanted: Notify,
    settled: Notify,
}

#[derive(Debug, Default)]
struct Open {
    /// The number of the latest mark.
    number: u64,
    marks: HashMap<Touched, Since>,
}

/// Marks of one thing: whatever was read of it before the last one may be old, whoever came before the first
/// one need not wait.
#[derive(Clone, Copy, Debug)]
struct Since {
    first: u64,
    last: u64,
}

impl Marks {
    /// From now on there is somebody who reads again what is marked.
    pub fn follow(&self) {
        self.0.is_followed.store(true, Ordering::Release);
    }

    /// Marks what was just written.
    pub fn note(&self, touched: impl IntoIterator<Item = Touched>) {
        if !self.0.is_followed.load(Ordering::Acquire) {
            return;
        }
        let mut open = self.open();
        for what in touched {
            open.number += 1;
            let number = open.number;
            open.marks.entry(what).or_insert(Since { first: number, last: number }).last = number;
        }
        self.0.open.store(open.marks.len(), Ordering::Release);
    }

    /// Whether nothing is marked. Costs next to nothing.
    pub fn is_clear(&self) -> bool {
        self.0.open.load(Ordering::Acquire) == 0
    }

    /// The number of the latest mark: who asks now waits for the marks up to here and for none that come later.
    pub fn latest(&self) -> u64 {
        self.open().number
    }

    /// Whether something that concerns the asker was marked up to then and has not been read again since.
    pub fn is_open(&self, up_to: u64, concerns: impl Fn(&Touched) -> bool) -> bool {
        !self.is_clear()
            && self.open().marks.iter().any(|(what, since)| since.first <= up_to && concerns(what))
    }

    /// What is marked, to be read again, and the number that this is settled with.
    pub fn all(&self) -> (Vec<Touched>, u64) {
        let open = self.open();
        (open.marks.keys().copied().collect(), open.number)
    }

    /// What was marked up to then was read again. What has been marked once more meanwhile stays marked.
    pub fn settle(&self, up_to: u64) {
        let mut open = self.open();
        open.marks.retain(|_, since| {
            since.first = since.first.max(up_to.saturating_add(1));
            since.last > up_to
        });
        self.0.open.store(open.marks.len(), Ordering::Release);
        drop(open);
        self.0.settled.notify_waiters();
    }

    /// Somebody waits for what is marked.
    pub fn wanted(&self) -> &Notify {
        &self.0.wanted
    }

    /// Told whenever marks were settled, or never will be.
    pub fn settled(&self) -> &Notify {
        &self.0.settled
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.0.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_waits_for_what_was_marked_before_and_never_for_what_is_marked_again_and_again() {
        let marks = Marks::default();
        let (lamp, vase) = (Touched::Shop(Id::new()), Touched::Shop(Id::new()));
        marks.note([lamp]);
        assert!(marks.is_clear(), "nobody follows");
        marks.follow();
        marks.note([lamp]);
        let asked = marks.latest();
        assert!(marks.is_open(asked, |what| *what == lamp) && !marks.is_open(asked, |what| *what == vase));
        let (read, up_to) = marks.all();
        assert_eq!(read, [lamp]);
        marks.note([lamp, vase]);
        assert!(marks.is_open(asked, |_| true));
        marks.settle(up_to);
        assert!(!marks.is_open(asked, |_| true), "what the asker knew of has been read");
        assert!(
            marks.is_open(marks.latest(), |what| *what == lamp),
            "it was marked again during the reading"
        );
        marks.settle(marks.latest());
        assert!(marks.is_clear());
    }
}
