//! Jobs that wait to be done together. Whoever adds one and finds nobody at it starts the task that does them all,
//! until none waits; so there is one such task at a time, and none while there is nothing to do.

use std::{
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use futures_util::{FutureExt as _, future::BoxFuture};
use tokio::{
    runtime::Handle,
    sync::{
        Mutex,
        mpsc::{self, UnboundedReceiver, UnboundedSender},
    },
};

/// Jobs of one kind that wait.
pub struct Backlog<J> {
    waiting: UnboundedSender<J>,
    /// Whoever holds this does what is waiting, for everybody.
    queue: Mutex<UnboundedReceiver<J>>,
    /// Somebody holds it, or is about to.
    led: AtomicBool,
    runtime: Handle,
}

impl<J> std::fmt::Debug for Backlog<J> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Backlog").finish_non_exhaustive()
    }
}

impl<J: Send + 'static> Backlog<J> {
    /// Work is done on `runtime`: the one that outlives those who ask. Theirs may be a single worker's, and end with it.
    pub fn new(runtime: Handle) -> Self {
        let (waiting, queue) = mpsc::unbounded_channel();
        Self { waiting, queue: Mutex::new(queue), led: AtomicBool::new(false), runtime }
    }

    /// Adds a job. If nobody is at it, `work` begins: it takes jobs from the queue and returns when none waits.
    ///
    /// A panic in it costs the jobs that it had taken, and not those behind them.
    pub fn add<W>(self: &Arc<Self>, job: J, work: W)
    where
        W: for<'q> Fn(&'q mut UnboundedReceiver<J>) -> BoxFuture<'q, ()> + Send + Sync + 'static,
    {
        // We hold the other end ourselves.
        _ = self.waiting.send(job);
        if !self.led.swap(true, Ordering::SeqCst) {
            self.runtime.spawn(Arc::clone(self).lead(work));
        }
    }

    async fn lead<W>(self: Arc<Self>, work: W)
    where
        W: for<'q> Fn(&'q mut UnboundedReceiver<J>) -> BoxFuture<'q, ()> + Send + Sync + 'static,
    {
        loop {
            let all = async { work(&mut *self.queue.lock().await).await };
            if AssertUnwindSafe(all).catch_unwind().await.is_err() {
                tracing::error!("jobs were lost to a panic in the middle of them");
            }
            self.led.store(false, Ordering::SeqCst);
            // Who came after the last look and before that, found somebody at it.
            // It is waited for, not tried: of two that look at once, neither may rely on the other.
            let came = !self.queue.lock().await.is_empty();
            if !came || self.led.swap(true, Ordering::SeqCst) {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    type Job = (u32, oneshot::Sender<u32>);

    /// Answers each with its double; a 13 is a panic.
    fn double(queue: &mut UnboundedReceiver<Job>) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            while let Ok((number, answer)) = queue.try_recv() {
                tokio::task::yield_now().await;
                assert_ne!(number, 13, "as in a mistake of ours");
                answer.send(number * 2).unwrap();
            }
        })
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn every_job_is_done_whoever_comes_when_and_a_panic_costs_its_own_alone() {
        let backlog = Arc::new(Backlog::new(Handle::current()));
        let asked = (0..2_000_u32).map(|number| {
            let backlog = Arc::clone(&backlog);
            tokio::spawn(async move {
                let (answer, answered) = oneshot::channel();
                backlog.add((number, answer), double);
                answered.await.ok()
            })
        });
        for (number, answer) in (0..).zip(asked.collect::<Vec<_>>()) {
            assert_eq!(answer.await.unwrap(), (number != 13).then_some(number * 2));
        }
    }
}
