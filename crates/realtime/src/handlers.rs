//! What clients send. Each event is put into its socket's queue as it arrives, and one worker a
//! socket takes them in order; a future for each event would lose the order.

use std::{
    future::ready,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bson::{Document, doc};
use serde_json::Value;
use shared::{
    chat::{self, Recorded, Saying},
    model::{Conversation, Message, Shop, Stored as _, User},
};
use socketioxide::{
    SocketIo,
    extract::{AckSender, Extension, SocketRef, TryData},
    handler::ConnectHandler as _,
    socket::{DisconnectReason, Sid},
};
use tokio::{sync::mpsc, time::Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    App,
    audience::{Seat, hang_up},
    auth::{self, Handshake},
    bus::{self, Word},
    control::{Busy, Control, Why},
    presence, wire,
};

/// How many events of one socket may wait.
const QUEUE: usize = 256;

/// How many of them are taken at once, so that a burst is stored together.
const TOGETHER: usize = 64;

/// How many events a socket may send at once, and how long it takes to earn another: 240 a minute.
const BURST: u32 = 60;
const EARN: Duration = Duration::from_millis(250);

/// How many people a connection without a credential may announce, where such are believed.
const BARE_PEOPLE: usize = 8;

/// Until a connection that was given up is gone, so that no refusal gets out over it.
const BREAKING: Duration = Duration::from_secs(1);

const TOO_MANY: &str = "Too many messages at once. Please wait a moment";
const NOT_YOU: &str = "You are not logged in as this sender";
const NO_CONVERSATION: &str = "There is no conversation of these two";
const FAILED: &str = "The message could not be stored. Please try again";

/// One thing to do for a socket.
enum Job {
    AddUser(Value),
    Send(Value, AckSender),
    UpdateLast(Value),
    Seen(Value),
}

/// The way into a socket's worker.
struct Queue {
    /// A connection is not closed by us before everything that came over it is done.
    jobs: mpsc::Sender<(Job, Option<Busy>)>,
    control: Option<Arc<Control>>,
    rate: Option<Mutex<Rate>>,
}

impl Queue {
    fn offer(&self, job: Job) {
        let in_time = self
            .rate
            .as_ref()
            .is_none_or(|rate| rate.lock().unwrap_or_else(PoisonError::into_inner).take(Instant::now()));
        let refused = if in_time {
            let busy = self.control.as_ref().map(Control::busy);
            self.jobs.try_send((job, busy)).err().map(|full| ("queue", full.into_inner().0))
        } else {
            Some(("rate", job))
        };
        if let Some((reason, job)) = refused {
            metrics::counter!("chat_events_dropped_total", "reason" => reason).increment(1);
            if let Job::Send(_, ack) = job {
                // A client that has gone needs no answer.
                _ = ack.send(&wire::Receipt::refused(TOO_MANY));
            }
        }
    }
}

/// A bucket that holds a burst and fills steadily.
struct Rate {
    left: u32,
    since: Instant,
}

impl Rate {
    fn take(&mut self, now: Instant) -> bool {
        while self.left < BURST && now.duration_since(self.since) >= EARN {
            self.left += 1;
            self.since += EARN;
        }
        if self.left == BURST {
            self.since = now;
        }
        let taken = self.left > 0;
        self.left = self.left.saturating_sub(1);
        taken
    }
}

/// Installs the handlers of connections and of their events.
pub(crate) fn register(io: &SocketIo, app: &Arc<App>, workers: &TaskTracker) {
    let prepare = {
        let (app, workers, io) = (Arc::clone(app), workers.clone(), io.clone());
        move |socket: SocketRef, TryData(auth): TryData<Value>| {
            let (app, workers, io) = (Arc::clone(&app), workers.clone(), io.clone());
            async move { prepare(app, io, workers, socket, auth.unwrap_or_default()).await }
        }
    };
    let app = Arc::clone(app);
    let connect = move |socket: SocketRef, Extension(gone): Extension<CancellationToken>| {
        // Only now it is connected and may be told anything.
        if let (Some(handshake), Some(seat)) =
            (socket.extensions.get::<Handshake>(), socket.extensions.get::<Seat>())
        {
            app.audience.join(&socket, &seat, &handshake.people);
            handshake.people.iter().for_each(|person| join(&app, &socket, person));
        }
        if gone.is_cancelled() {
            leave(&app, socket.id, true);
        }
        ready(())
    };
    io.ns("/", connect.with(prepare));
}

/// Before a connection is confirmed: finds out whose it is, and listens, so that nothing the client
/// sends right away is lost.
async fn prepare(
    app: Arc<App>,
    io: SocketIo,
    workers: TaskTracker,
    socket: SocketRef,
    auth: Value,
) -> Result<(), &'static str> {
    let mut handshake = socket.req_parts().extensions.get::<Handshake>().cloned().unwrap_or_default();
    if let Err(cause) = auth::add_token(&app, &mut handshake, &auth).await {
        tracing::warn!(%cause, "a connection was given up because the database did not answer");
        // JavaScript's client never comes back from a refusal, but from a connection that breaks it does.
        hang_up(&socket, Why::Database);
        tokio::time::sleep(BREAKING).await;
        return Err("The service is busy. Please try again");
    }
    let (jobs, queued) = mpsc::channel(QUEUE);
    let rate = Rate { left: BURST, since: Instant::now() };
    let seat = app.audience.expect(&socket, &handshake, &auth);
    let control = Control::of(&socket);
    if let (Some(control), Some(pid)) = (&control, seat.told()) {
        control.set_pid(pid.to_owned());
    }
    let queue = Arc::new(Queue { jobs, control, rate: app.config.rate_limits.then(|| Mutex::new(rate)) });
    listen(&socket, &queue);
    if handshake.bare {
        handshake.people.extend(seat.announced.iter().cloned());
    }
    let gone = CancellationToken::new();
    socket.extensions.insert(gone.clone());
    socket.extensions.insert(handshake.clone());
    socket.extensions.insert(seat);
    socket.on_disconnect({
        let (app, gone) = (Arc::clone(&app), gone.clone());
        move |socket: SocketRef, reason: DisconnectReason| {
            gone.cancel();
            let left = reason == DisconnectReason::ClientNSDisconnect
                || Control::of(&socket).is_some_and(|control| control.left_for_good());
            leave(&app, socket.id, !left);
            ready(())
        }
    });
    let worker = Worker { app, io, sid: socket.id, people: handshake.people, bare: handshake.bare };
    workers.spawn(worker.run(queued, gone));
    Ok(())
}

fn listen(socket: &SocketRef, queue: &Arc<Queue>) {
    // An event without a payload, or with one that is no JSON, counts as one with `null`.
    let on = |event: &'static str, job: fn(Value) -> Job| {
        let queue = Arc::clone(queue);
        socket.on(event, move |TryData(payload): TryData<Value>| {
            came(event);
            queue.offer(job(payload.unwrap_or_default()));
            ready(())
        });
    };
    on(wire::ADD_USER, Job::AddUser);
    on(wire::UPDATE_LAST_MESSAGE, Job::UpdateLast);
    on(wire::MESSAGE_SEEN, Job::Seen);
    let queue = Arc::clone(queue);
    socket.on(wire::SEND_MESSAGE, move |TryData(payload): TryData<Value>, ack: AckSender| {
        came(wire::SEND_MESSAGE);
        queue.offer(Job::Send(payload.unwrap_or_default(), ack));
        ready(())
    });
    socket.on_fallback(|| {
        came("other");
        ready(())
    });
}

fn came(event: &'static str) {
    metrics::counter!("chat_events_received_total", "event" => event).increment(1);
}

/// From now on the socket is told what concerns this person.
fn join(app: &App, socket: &SocketRef, person: &str) {
    app.audience.add(socket.id, person);
    app.presence.join(socket.id, person);
}

/// The socket has ended; if it dropped, its client may come back for what it has missed.
fn leave(app: &App, sid: Sid, dropped: bool) {
    app.audience.leave(sid, dropped);
    app.presence.leave(sid);
}

/// Does what one socket asks, one thing after the other.
struct Worker {
    app: Arc<App>,
    io: SocketIo,
    sid: Sid,
    /// Whom it may speak for.
    people: Vec<String>,
    /// It has shown no credential and is believed without.
    bare: bool,
}

impl Worker {
    /// Until the socket is gone and everything it had sent is done.
    async fn run(mut self, mut queued: mpsc::Receiver<(Job, Option<Busy>)>, gone: CancellationToken) {
        let mut jobs = Vec::new();
        loop {
            let taken = tokio::select! {
                biased;
                taken = queued.recv_many(&mut jobs, TOGETHER) => taken,
                () = gone.cancelled(), if !queued.is_closed() => {
                    queued.close();
                    continue;
                }
            };
            if taken == 0 {
                return;
            }
            let (mut sent, mut busy) = (Vec::new(), Vec::new());
            for (job, mark) in jobs.drain(..) {
                busy.extend(mark);
                if !matches!(job, Job::Send(..)) {
                    self.store(std::mem::take(&mut sent)).await;
                }
                let handled = match job {
                    Job::Send(payload, ack) => {
                        sent.push((payload, ack));
                        Ok(())
                    }
                    Job::AddUser(payload) => self.add_user(&payload).await,
                    Job::UpdateLast(payload) => self.update_last(payload).await,
                    Job::Seen(payload) => self.seen(payload).await,
                };
                if let Err(cause) = handled {
                    tracing::warn!(%cause, "a socket's event could not be handled");
                }
            }
            self.store(sent).await;
            drop(busy);
        }
    }

    /// Whether the socket may speak for somebody. Where connections without a credential are
    /// believed, they are from then on treated as that person's: the client does not repeat
    /// `addUser` after a reconnect.
    async fn is(&mut self, person: &str) -> mongodb::error::Result<bool> {
        if self.people.iter().any(|own| own == person) {
            return Ok(true);
        }
        let Some(id) = wire::id::<()>(person).filter(|_| self.bare && self.people.len() < BARE_PEOPLE) else {
            return Ok(false);
        };
        let mut known = false;
        for collection in [User::COLLECTION, Shop::COLLECTION] {
            let accounts = self.app.db.raw::<Document>(collection);
            known |= accounts.find_one(doc! { "_id": id }).projection(doc! { "_id": 1 }).await?.is_some();
        }
        if known {
            self.people.push(person.to_owned());
            if let Some(socket) = self.io.get_socket(self.sid) {
                join(&self.app, &socket, person);
                if socket.extensions.get::<CancellationToken>().is_some_and(|gone| gone.is_cancelled()) {
                    leave(&self.app, self.sid, true);
                }
            }
        }
        Ok(known)
    }

    async fn add_user(&mut self, payload: &Value) -> mongodb::error::Result<()> {
        let Some(person) = payload.as_str() else { return Ok(()) };
        if self.is(person).await? {
            presence::announce_to(&self.app, &self.io, self.sid).await?;
        }
        Ok(())
    }

    /// Stores messages that came one behind the other, together, and acknowledges them in order.
    async fn store(&mut self, sent: Vec<(Value, AckSender)>) {
        let (mut sayings, mut answers) = (Vec::new(), Vec::new());
        for (payload, ack) in sent {
            let read = self.read(payload).await.unwrap_or_else(|cause| {
                tracing::warn!(%cause, "a message could not be looked at");
                Err(FAILED)
            });
            let answer = read.map(|(saying, receiver)| {
                let pair = (saying.sender.clone(), receiver);
                sayings.push(saying);
                pair
            });
            answers.push((ack, answer));
        }
        metrics::counter!("chat_messages_received_total")
            .increment(u64::try_from(sayings.len()).unwrap_or_default());
        let mut outcomes = self.app.recorder.record(sayings).await.into_iter();
        for (ack, answer) in answers {
            let receipt = match answer.map(|pair| (pair, outcomes.next())) {
                Err(why) => wire::Receipt::refused(why),
                Ok((_, Some(Ok(Some(Recorded { message, .. }))))) => {
                    wire::Receipt::stored(&message, message.conversation_id)
                }
                Ok(((sender, receiver), Some(Ok(None)))) => {
                    self.app.pairs.forget(&sender, &receiver);
                    wire::Receipt::refused(NO_CONVERSATION)
                }
                Ok((_, failure)) => {
                    if let Some(Err(cause)) = failure {
                        tracing::warn!(%cause, "a message could not be stored");
                    }
                    wire::Receipt::refused(FAILED)
                }
            };
            // Nothing is sent to a client that has not asked for it, or has gone.
            _ = ack.send(&receipt);
        }
    }

    /// What a client says and to whom, or why it may not.
    async fn read(
        &mut self,
        payload: Value,
    ) -> mongodb::error::Result<Result<(Saying, String), &'static str>> {
        let said = match wire::SendMessage::read(payload) {
            Ok(said) => said,
            Err(why) => return Ok(Err(why)),
        };
        if !self.is(&said.sender_id).await? {
            return Ok(Err(NOT_YOU));
        }
        let found = self.app.pairs.find(&self.app.db, &said.sender_id, &said.receiver_id).await?;
        let Some(conversation) = found else { return Ok(Err(NO_CONVERSATION)) };
        let (sender, text, at) = (said.sender_id, said.text, self.app.clock.now());
        Ok(Ok((Saying { conversation, sender, text, picture: None, at }, said.receiver_id)))
    }

    /// It names neither conversation nor receiver. If it says what was really said last in a
    /// conversation of the sender's, the two concerned are told; else nobody.
    async fn update_last(&mut self, payload: Value) -> mongodb::error::Result<()> {
        let Some(last) = wire::read::<wire::LastMessage>(payload) else { return Ok(()) };
        if !self.is(&last.last_message_id).await? {
            return Ok(());
        }
        let sender = &last.last_message_id;
        let said = doc! { "members": sender, "lastMessageId": sender, "lastMessage": &last.last_message };
        let found = self.app.db.of::<Conversation>().find_one(said).sort(doc! { "updatedAt": -1 }).await?;
        if let Some(conversation) = found {
            bus::tell(&self.app, &conversation.members, Word::LastMessage(last));
        }
        Ok(())
    }

    /// The receiver of a message has seen it, and what was said before it. Its sender is told once that is
    /// stored, on whichever node.
    async fn seen(&mut self, payload: Value) -> mongodb::error::Result<()> {
        let Some(seen) = wire::read::<wire::MessageSeen>(payload) else { return Ok(()) };
        let Some(id) = wire::id::<Message>(&seen.message_id) else { return Ok(()) };
        if seen.sender_id == seen.receiver_id || !self.is(&seen.receiver_id).await? {
            return Ok(());
        }
        let sent = doc! { "_id": id, "sender": &seen.sender_id };
        let Some(message) = self.app.db.of::<Message>().find_one(sent).await? else { return Ok(()) };
        let (reader, now) = (&seen.receiver_id, self.app.clock.now());
        chat::mark_seen(&self.app.db, message.conversation_id, reader, Some(id), now).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_that_floods_waits_and_one_that_does_not_never_does() {
        let start = Instant::now();
        let mut rate = Rate { left: BURST, since: start };
        assert_eq!((0..1000).filter(|_| rate.take(start)).count(), 60);
        let later = start + Duration::from_secs(1);
        assert_eq!((0..1000).filter(|_| rate.take(later)).count(), 4);
        let much_later = start + Duration::from_secs(3600);
        assert_eq!((0..1000).filter(|_| rate.take(much_later)).count(), 60);
        assert!((0..100_u32).all(|i| rate.take(much_later + EARN * (i + 1))));
    }
}
