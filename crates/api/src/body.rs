//! Takes a request's body off the connection as fast as it comes.
//!
//! The client posts a form and reloads its page at once: the last of the body and the end of the
//! connection then arrive together. When the HTTP layer meets that end while its own small buffer is
//! full, because the handler has not begun to read yet, it gives up what it has not decoded, and a
//! form that arrived whole would count as cut off. So the buffer is emptied here, in the same turn in
//! which it is filled, into a queue that the handler reads from when it is ready.

use std::{
    cell::Cell,
    future::poll_fn,
    pin::Pin,
    rc::Rc,
    sync::atomic::{AtomicUsize, Ordering},
    task::{Context, Poll},
};

use actix_web::{dev::Payload, error::PayloadError, web::Bytes};
use futures_util::{
    Stream, StreamExt as _,
    future::{Either, select},
};
use tokio::sync::{Notify, mpsc};

use crate::line::Patience;

/// So many bytes may wait in all queues together. Beyond it a body waits on its connection, as it
/// would without this; nothing is refused.
const BUDGET: usize = 2 * 1024 * 1024;

static WAITING: AtomicUsize = AtomicUsize::new(0);

/// What came: a piece of the body, its end, or why there is no more.
type Piece = Option<Result<Bytes, PayloadError>>;

/// Splits a body into the part that takes it off the connection, to be polled by whoever serves the
/// connection, and the part that the handler reads.
///
/// Whoever sends it may keep us waiting for as long as `patience` says; then it ends as if the connection had, and
/// `slow` is told.
pub(crate) fn decouple(
    payload: Payload,
    patience: Patience,
    slow: impl FnOnce(),
) -> (impl Future<Output = ()>, Payload) {
    let (pieces, arrived) = mpsc::unbounded_channel();
    let queue = Rc::new(Queue { held: Cell::new(0), taken: Notify::new() });
    let taking = take_off(payload, pieces, Rc::clone(&queue), patience, slow);
    (taking, Payload::Stream { payload: Box::pin(Queued { arrived, queue, ended: false }) })
}

/// One body's queue.
struct Queue {
    /// Bytes in it.
    held: Cell<usize>,
    /// The handler has taken something.
    taken: Notify,
}

impl Queue {
    fn put(&self, bytes: usize) {
        self.held.set(self.held.get().saturating_add(bytes));
        WAITING.fetch_add(bytes, Ordering::Relaxed);
    }

    fn take(&self, bytes: usize) {
        self.held.set(self.held.get().saturating_sub(bytes));
        WAITING.fetch_sub(bytes, Ordering::Relaxed);
        self.taken.notify_one();
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        WAITING.fetch_sub(self.held.get(), Ordering::Relaxed);
    }
}

async fn take_off(
    mut payload: Payload,
    pieces: mpsc::UnboundedSender<Piece>,
    queue: Rc<Queue>,
    mut patience: Patience,
    slow: impl FnOnce(),
) {
    loop {
        // A body whose queue is empty always goes on, however much others hold.
        while queue.held.get() > 0 && WAITING.load(Ordering::Relaxed) > BUDGET {
            queue.taken.notified().await;
        }
        let lost = poll_fn(|context| patience.poll_lost(context));
        let piece = match select(payload.next(), lost).await {
            Either::Left((piece, _)) => piece,
            Either::Right(_) => {
                slow();
                // The handler sees a body that broke off.
                return;
            }
        };
        let last = !matches!(piece, Some(Ok(_)));
        if let Some(Ok(bytes)) = &piece {
            patience.earn(bytes.len());
            queue.put(bytes.len());
        }
        // A handler that has answered reads no more.
        if pieces.send(piece).is_err() || last {
            return;
        }
    }
}

/// What the handler reads.
struct Queued {
    arrived: mpsc::UnboundedReceiver<Piece>,
    queue: Rc<Queue>,
    ended: bool,
}

impl Stream for Queued {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let piece = std::task::ready!(self.arrived.poll_recv(context));
        // No end was announced: the connection is gone, and the rest of the body with it.
        let piece = piece.unwrap_or(Some(Err(PayloadError::Incomplete(None))));
        match &piece {
            Some(Ok(bytes)) => self.queue.take(bytes.len()),
            _ => self.ended = true,
        }
        Poll::Ready(piece)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn body(pieces: Vec<Result<Bytes, PayloadError>>) -> Payload {
        Payload::Stream { payload: Box::pin(futures_util::stream::iter(pieces)) }
    }

    fn start(payload: Payload) -> (impl Future<Output = ()>, Payload) {
        decouple(payload, Patience::of(Duration::from_secs(5)), || panic!("it was not slow"))
    }

    #[tokio::test]
    async fn a_body_that_comes_too_slowly_breaks_off_and_somebody_is_told() {
        let never =
            futures_util::stream::iter([Ok(Bytes::from("one"))]).chain(futures_util::stream::pending());
        let told = Rc::new(Cell::new(false));
        let tell = {
            let told = Rc::clone(&told);
            move || told.set(true)
        };
        let payload: Payload = Payload::Stream { payload: Box::pin(never) };
        let (taking, mut read) = decouple(payload, Patience::of(Duration::from_millis(10)), tell);
        taking.await;
        assert!(told.get());
        assert!(read.next().await.unwrap().is_ok());
        assert!(read.next().await.unwrap().is_err() && read.next().await.is_none());
    }

    #[tokio::test]
    async fn a_body_arrives_as_it_came_and_ends_where_it_ended() {
        let (taking, mut read) = start(body(vec![Ok(Bytes::from("one")), Ok(Bytes::from("two"))]));
        // Before anybody reads.
        taking.await;
        assert_eq!(read.next().await.unwrap().unwrap(), "one");
        assert_eq!(read.next().await.unwrap().unwrap(), "two");
        assert!(read.next().await.is_none() && read.next().await.is_none());
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_never_looks_whole() {
        let broken = body(vec![Ok(Bytes::from("one")), Err(PayloadError::Incomplete(None))]);
        let (taking, mut read) = start(broken);
        taking.await;
        assert!(read.next().await.unwrap().is_ok());
        assert!(read.next().await.unwrap().is_err() && read.next().await.is_none());
        // The same when whoever serves the connection is gone.
        let (taking, mut read) = start(body(vec![Ok(Bytes::from("one"))]));
        drop(taking);
        assert!(read.next().await.unwrap().is_err() && read.next().await.is_none());
    }

    #[tokio::test]
    async fn a_handler_that_reads_no_more_leaves_nothing_behind() {
        let (taking, read) = start(body(vec![Ok(Bytes::from("one")), Ok(Bytes::from("two"))]));
        drop(read);
        taking.await;
    }
}
