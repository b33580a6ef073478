//! Who did what to accounts and money: log-ins, passwords, administrators' decisions, what was refused. For those who
//! have to find out afterwards; nothing here decides anything.
//!
//! A decision about money is written in the transaction that decides it ([`add_in`]). Everything else is put
//! into a queue and written behind the request's back ([`AuditLog::note`], [`keep`]): it makes no request slower and
//! none fail. The queue is bounded; what does not fit, or cannot be written for a minute, is lost and counted
//! (`audit_log_lost_total`).
//!
//! There are no passwords, tokens or e-mail addresses in it, unless an administrator gives one for a reason: an entry
//! names accounts by id, and an address that belongs to no account by a digest under our secret.

pub(crate) mod handlers;
mod store;
mod wire;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use mongodb::ClientSession;
use shared::{
    auth::{Kind, keyed_digest},
    clock::{Clock, plus},
    config::Config,
    db::Db,
    id::Id,
    model::{AuditEntry, Party},
};
use tokio::{
    sync::mpsc::{self, Receiver, Sender},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use crate::{
    identity::{request_address, request_id},
    routes::{Route, get},
    state::App,
};

/// So many entries wait at most.
const QUEUE: usize = 4_096;
/// So many are written at once.
const BATCH: usize = 256;
/// For one try to write them.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two tries.
const PAUSE: Duration = Duration::from_secs(1);
/// So often it is tried.
const TRIES: u32 = 60;

pub(crate) fn routes() -> Vec<Route> {
    vec![get("/audit-log", handlers::list)]
}

/// What is written down. The names are for programs, and stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    LogIn,
    LogOutEverywhere,
    ChangePassword,
    ResetPassword,
    DecideWithdrawal,
    SettlePayment,
    VerifyClaim,
    RetryDeadLetters,
    AdminRoute,
    RateLimit,
    AppointAdministrator,
    BlockAccount,
    UnblockAccount,
    ApproveShop,
    CloseAccount,
    HideListing,
    RestoreListing,
    HideReview,
    RestoreReview,
    OpenDispute,
    SettleDispute,
    DecideDispute,
}

impl Action {
    pub(crate) const ALL: [Self; 22] = [
        Self::LogIn,
        Self::LogOutEverywhere,
        Self::ChangePassword,
        Self::ResetPassword,
        Self::DecideWithdrawal,
        Self::SettlePayment,
        Self::VerifyClaim,
        Self::RetryDeadLetters,
        Self::AdminRoute,
        Self::RateLimit,
        Self::AppointAdministrator,
        Self::BlockAccount,
        Self::UnblockAccount,
        Self::ApproveShop,
        Self::CloseAccount,
        Self::HideListing,
        Self::RestoreListing,
        Self::HideReview,
        Self::RestoreReview,
        Self::OpenDispute,
        Self::SettleDispute,
        Self::DecideDispute,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::LogIn => "log_in",
            Self::LogOutEverywhere => "log_out_everywhere",
            Self::ChangePassword => "change_password",
            Self::ResetPassword => "reset_password",
            Self::DecideWithdrawal => "decide_withdrawal",
            Self::SettlePayment => "settle_payment",
            Self::VerifyClaim => "verify_claim",
            Self::RetryDeadLetters => "retry_dead_letters",
            Self::AdminRoute => "admin_route",
            Self::RateLimit => "rate_limit",
            Self::AppointAdministrator => "appoint_administrator",
            Self::BlockAccount => "block_account",
            Self::UnblockAccount => "unblock_account",
            Self::ApproveShop => "approve_shop",
            Self::CloseAccount => "close_account",
            Self::HideListing => "hide_listing",
            Self::RestoreListing => "restore_listing",
            Self::HideReview => "hide_review",
            Self::RestoreReview => "restore_review",
            Self::OpenDispute => "open_dispute",
            Self::SettleDispute => "settle_dispute",
            Self::DecideDispute => "decide_dispute",
        }
    }
}

/// What happened.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) action: Action,
    /// Otherwise it was refused.
    pub(crate) done: bool,
    pub(crate) actor: Party,
    pub(crate) about: Option<Party>,
    pub(crate) note: Option<String>,
}

impl Event {
    /// Something that was done.
    pub(crate) const fn done(action: Action, actor: Party) -> Self {
        Self { action, done: true, actor, about: None, note: None }
    }

    /// Something that was refused.
    pub(crate) const fn refused(action: Action, actor: Party) -> Self {
        Self { action, done: false, actor, about: None, note: None }
    }

    /// To this.
    pub(crate) fn about(self, about: Party) -> Self {
        Self { about: Some(about), ..self }
    }

    /// With a word more.
    pub(crate) fn note(self, note: impl Into<String>) -> Self {
        Self { note: Some(note.into()), ..self }
    }
}

/// An account, as the log names it.
pub(crate) fn account<T>(kind: Kind, id: Id<T>) -> Party {
    let kind = match kind {
        Kind::User => "user",
        Kind::Seller => "seller",
    };
    Party::new(kind, id)
}

/// The log.
#[derive(Clone)]
pub struct AuditLog {
    clock: Clock,
    config: Arc<Config>,
    queue: Sender<AuditEntry>,
    /// Whoever writes takes it.
    waiting: Arc<Mutex<Option<Receiver<AuditEntry>>>>,
}

impl AuditLog {
    pub(crate) fn new(config: Arc<Config>, clock: Clock) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE);
        Self { clock, config, queue, waiting: Arc::new(Mutex::new(Some(waiting))) }
    }

    /// What is to be written of an event that the present request has caused.
    pub(crate) fn entry(&self, event: Event) -> AuditEntry {
        let Event { action, done, actor, about, note } = event;
        let now = self.clock.now();
        let kept = i64::try_from(self.config.audit_log_ttl.as_millis()).unwrap_or(i64::MAX);
        let mut accounts: Vec<String> = [Some(&actor), about.as_ref()]
            .into_iter()
            .flatten()
            .filter(|party| party.is_account())
            .filter_map(|party| party.id.clone())
            .collect();
        accounts.dedup();
        AuditEntry {
            id: Id::new(),
            at: now,
            action: action.name().to_owned(),
            done,
            actor,
            about,
            note,
            address: request_address().map(|address| address.to_string()),
            request: Some(request_id()).filter(|id| !id.is_empty()),
            accounts,
            expires_at: plus(now, kept),
        }
    }

    /// Has it written soon. Never waits, never fails.
    pub(crate) fn note(&self, event: Event) {
        if self.queue.try_send(self.entry(event)).is_err() {
            lost(1, "the queue of the audit log is full");
        }
    }

    /// How many entries wait to be written.
    pub(crate) fn waiting(&self) -> usize {
        self.queue.max_capacity().saturating_sub(self.queue.capacity())
    }

    /// Writes what waits, for a command that ends at once. Nothing may keep the log meanwhile.
    pub(crate) async fn flush(&self, db: &Db) -> mongodb::error::Result<()> {
        let mut batch = Vec::new();
        if let Some(waiting) = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            while let Ok(entry) = waiting.try_recv() {
                batch.push(entry);
            }
        }
        if batch.is_empty() { Ok(()) } else { store::insert(db, &batch).await }
    }

    /// In place of an e-mail address.
    pub(crate) fn email(&self, email: &str) -> Party {
        Party::new("email", keyed_digest(self.config.jwt_secret.expose(), &email.to_lowercase()))
    }
}

/// Writes an entry as part of a transaction.
pub(crate) async fn add_in(
    db: &Db,
    session: &mut ClientSession,
    entry: &AuditEntry,
) -> mongodb::error::Result<()> {
    db.of::<AuditEntry>().insert_one(entry).session(session).await.map(drop)
}

fn lost(count: usize, why: &str) {
    metrics::counter!("audit_log_lost_total").increment(u64::try_from(count).unwrap_or(u64::MAX));
    warn!(count, "{why}: entries are lost");
}

/// Writes what waits until told to quit, and then the rest.
pub(crate) async fn keep(app: Arc<App>, quit: CancellationToken) {
    let taken = app.audit_log.waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Some(mut waiting) = taken else { return };
    loop {
        let mut batch = Vec::with_capacity(BATCH);
        tokio::select! {
            biased;
            _ = waiting.recv_many(&mut batch, BATCH) => {}
            () = quit.cancelled() => return,
        }
        write(&app.db, batch, &quit).await;
    }
}

/// Writes a batch, again and again for a while; once only, when the server stops.
async fn write(db: &Db, batch: Vec<AuditEntry>, quit: &CancellationToken) {
    let count = batch.len();
    for attempt in 1..=TRIES {
        let cause = match timeout(PATIENCE, store::insert(db, &batch)).await {
            Ok(Ok(())) => return,
            Ok(Err(cause)) => cause.to_string(),
            Err(_) => format!("no answer within {PATIENCE:?}"),
        };
        if attempt == 1 {
            warn!(cause, count, "the audit log cannot be written, and is tried again");
        }
        if quit.is_cancelled() {
            break;
        }
        tokio::select! {
            () = sleep(PAUSE) => {}
            () = quit.cancelled() => {}
        }
    }
    error!(count, "the audit log could not be written");
    lost(count, "the audit log could not be written");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_without_a_writer_is_bounded_and_nobody_waits() {
        let config = Arc::new(Config::read(|_| None).unwrap());
        let log = AuditLog::new(config, Clock::default());
        for _ in 0..QUEUE + 100 {
            log.note(Event::done(Action::LogIn, Party::nobody()));
        }
        let waiting = log.waiting.lock().unwrap().take().unwrap();
        assert_eq!(waiting.len(), QUEUE);
    }
}
