//! How many requests are at work at a time, and for how long anybody waits for one.
//!
//! While the database hangs nothing is finished and people go on coming. So there are only so many requests at work;
//! who comes while there are that many is told at once to come back. And whoever is at work for too long is told that
//! it is not known what becomes of it; what changes anything goes on until it has ended, and counts until then. A
//! request is at work once it has come whole: one that trickles in keeps nobody out.

use std::{
    cell::Cell,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use actix_web::http::StatusCode;
use tokio_util::sync::CancellationToken;

use crate::error::Refusal;

/// There is no place.
pub(crate) const BUSY: Refusal = Refusal::new(
    StatusCode::SERVICE_UNAVAILABLE,
    "busy",
    "There are more requests than can be served at the moment. Nothing was changed; please try again in a moment",
);

/// The requests at work.
#[derive(Debug)]
pub struct Load {
    at_work: AtomicUsize,
    most: usize,
}

impl Load {
    /// Of at most so many.
    pub(crate) const fn of(most: usize) -> Self {
        Self { at_work: AtomicUsize::new(0), most }
    }

    /// Whether nobody else should be let in.
    pub(crate) fn is_full(&self) -> bool {
        self.at_work.load(Ordering::Relaxed) >= self.most
    }
}

/// One request, from its head to the end of its work.
pub(crate) struct Visit {
    load: Arc<Load>,
    counted: Cell<bool>,
    whole: CancellationToken,
    too_slow: Cell<bool>,
}

impl Visit {
    pub(crate) fn begin(load: Arc<Load>) -> Rc<Self> {
        Rc::new(Self {
            load,
            counted: Cell::new(false),
            whole: CancellationToken::new(),
            too_slow: Cell::new(false),
        })
    }

    /// It has come whole.
    pub(crate) fn arrived(&self) {
        self.whole.cancel();
        if !self.counted.replace(true) {
            let before = self.load.at_work.fetch_add(1, Ordering::Relaxed);
            record(before.saturating_add(1));
        }
    }

    /// The rest of it is not waited for.
    pub(crate) fn is_too_slow(&self) {
        metrics::counter!("http_requests_too_slow_total", "part" => "body").increment(1);
        self.too_slow.set(true);
    }

    /// Whether it took too long to come.
    pub(crate) fn was_too_slow(&self) -> bool {
        self.too_slow.get()
    }

    /// Waits until it has come whole.
    pub(crate) async fn whole(&self) {
        self.whole.cancelled().await;
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        if self.counted.get() {
            let before = self.load.at_work.fetch_sub(1, Ordering::Relaxed);
            record(before.saturating_sub(1));
        }
    }
}

fn record(at_work: usize) {
    metrics::gauge!("http_requests_at_work").set(f64::from(u32::try_from(at_work).unwrap_or(u32::MAX)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_come_whole_is_counted_once_until_all_of_it_is_gone() {
        let load = Arc::new(Load::of(1));
        let visit = Visit::begin(Arc::clone(&load));
        assert!(!load.is_full(), "it is still coming");
        let work = Rc::clone(&visit);
        visit.arrived();
        visit.arrived();
        drop(visit);
        assert!(load.is_full(), "its work goes on");
        drop(work);
        assert!(!load.is_full());
    }
}
