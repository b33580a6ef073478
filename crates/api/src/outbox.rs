//! Work that follows a change: written down with the change, carried out by a worker, tried again
//! until it succeeds or an operator has to look.

use std::{sync::Arc, time::Duration};

use bson::doc;
use mongodb::{ClientSession, options::ReturnDocument};
use shared::{
    clock::{Clock, plus},
    db::Db,
    id::Id,
    model,
    money::Money,
};
use tokio::{sync::Notify, task::JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use crate::{
    mail::{Mail, Mailer},
    media::Media,
    payments::{GatewayRefusal, Gateways, NewRefund, store as payments},
    state::App,
};

/// A job may be carried out by one worker for so long; then another may take it over.
const LEASE: i64 = 60_000;
/// A try is given up before its lease ends, so that no two workers are at one job.
const TRY: Duration = Duration::from_secs(50);
/// After so many tries an operator has to look.
const MAX_ATTEMPTS: i32 = 12;
/// Money that somebody has a right to is tried for longer. With an hour between tries this is a month, and no
/// gateway is gone for a month.
const MAX_REFUND_ATTEMPTS: i32 = 732;
/// How many jobs one node carries out at once.
const CONCURRENCY: usize = 8;
/// How long a shutdown waits for tries in progress.
const GRACE: Duration = Duration::from_secs(20);
/// How often to look without having been told: other nodes' jobs, and those that are to be tried
/// again.
const TICK: Duration = Duration::from_secs(1);

/// A failure that no further try will mend.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct Permanent(String);

impl Permanent {
    /// In words.
    pub const fn new(why: String) -> Self {
        Self(why)
    }
}

/// The outbox.
#[derive(Clone)]
pub struct Outbox {
    db: Db,
    clock: Clock,
    mailer: Arc<dyn Mailer>,
    media: Arc<dyn Media>,
    gateways: Gateways,
    /// Of payments that earlier versions took down.
    currency: String,
    wake: Arc<Notify>,
}

impl Outbox {
    /// With everything it may be asked to use.
    pub fn new(
        db: Db,
        clock: Clock,
        mailer: Arc<dyn Mailer>,
        media: Arc<dyn Media>,
        gateways: Gateways,
        currency: String,
    ) -> Self {
        Self { db, clock, mailer, media, gateways, currency, wake: Arc::new(Notify::new()) }
    }

    /// Writes a job down, outside a transaction.
    pub async fn add(&self, job: model::OutboxJob) -> mongodb::error::Result<()> {
        self.db.of::<model::Outbox>().insert_one(self.entry(job)).await?;
        self.wake();
        Ok(())
    }

    /// Writes a job down as part of a transaction. Call [`Outbox::wake`] after the commit.
    pub async fn add_in(
        &self,
        session: &mut ClientSession,
        job: model::OutboxJob,
    ) -> mongodb::error::Result<()> {
        self.db.of::<model::Outbox>().insert_one(self.entry(job)).session(session).await.map(drop)
    }

    /// What the mails go through.
    pub fn mailer(&self) -> &dyn Mailer {
        &*self.mailer
    }

    /// Tells the worker that there may be something to do.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    fn entry(&self, job: model::OutboxJob) -> model::Outbox {
        let now = self.clock.now();
        model::Outbox {
            id: Id::new(),
            job,
            due_at: now,
            attempts: 0,
            last_error: None,
            dead: false,
            created_at: now,
        }
    }

    /// Takes the job that is due longest, for as long as the lease lasts. Other workers, here and on
    /// other nodes, do not see it meanwhile.
    async fn claim(&self) -> mongodb::error::Result<Option<model::Outbox>> {
        let now = self.clock.now();
        self.db
            .of::<model::Outbox>()
            .find_one_and_update(
                doc! { "dead": false, "dueAt": { "$lte": now } },
                doc! { "$set": { "dueAt": plus(now, LEASE) }, "$inc": { "attempts": 1 } },
            )
            .sort(doc! { "dueAt": 1 })
            .return_document(ReturnDocument::After)
            .await
    }

    /// One try of a claimed job, and the note of how it went.
    async fn carry_out(&self, entry: model::Outbox) {
        let (id, kind, attempts) = (entry.id, kind(&entry.job), entry.attempts);
        let most = max_attempts(&entry.job);
        let outcome = if attempts > most {
            // Its last try took the worker down with it, or took too long to be noted.
            Err(Permanent::new("the last try never ended".to_owned()).into())
        } else {
            match tokio::time::timeout(TRY, self.attempt(entry.job)).await {
                Ok(outcome) => outcome,
                Err(_) => Err(anyhow::anyhow!("took longer than {} s", TRY.as_secs())),
            }
        };
        let result = if outcome.is_ok() { "done" } else { "failed" };
        metrics::counter!("outbox_jobs_total", "kind" => kind, "result" => result).increment(1);
        // Only while it is still ours: a later claim counts the attempts up.
        let ours = doc! { "_id": id, "attempts": attempts };
        let jobs = self.db.of::<model::Outbox>();
        let noted = match outcome {
            Ok(()) => jobs.delete_one(ours).await.map(drop),
            Err(cause) => {
                let dead = attempts >= most || cause.is::<Permanent>();
                let cause = format!("{cause:#}");
                if dead {
                    metrics::counter!("outbox_dead_total", "kind" => kind).increment(1);
                    error!(id = id.hex(), kind, attempts, cause, "a job of the outbox is given up");
                } else if attempts >= MAX_ATTEMPTS {
                    error!(
                        id = id.hex(),
                        kind, attempts, cause, "a job of the outbox still fails, and is tried on"
                    );
                } else {
                    warn!(
                        id = id.hex(),
                        kind, attempts, cause, "a job of the outbox failed and is tried again"
                    );
                }
                let due = plus(self.clock.now(), backoff(attempts));
                let note = doc! { "$set": { "lastError": cause, "dueAt": due, "dead": dead } };
                jobs.update_one(ours, note).await.map(drop)
            }
        };
        if let Err(cause) = noted {
            // The lease ends, and the job is tried again: each kind of job bears that.
            warn!(id = id.hex(), kind, %cause, "how a job of the outbox went could not be noted");
        }
    }

    async fn attempt(&self, job: model::OutboxJob) -> anyhow::Result<()> {
        match job {
            model::OutboxJob::Mail { to, subject, text } => {
                self.mailer.send(Mail { to, subject, text }).await
            }
            model::OutboxJob::DeleteMedia { public_id } => self.media.delete(&public_id).await,
            model::OutboxJob::Refund { payment_id, minor, idempotency_key } => {
                self.refund(&payment_id, Money::from_minor(minor), &idempotency_key).await
            }
        }
    }

    /// Through the gateway that took the money. A gateway that says no will say so again.
    async fn refund(&self, payment_id: &str, amount: Money, key: &str) -> anyhow::Result<()> {
        let payment = payments::one(&self.db, payment_id).await?;
        let payment = payment.ok_or_else(|| Permanent::new(format!("there is no payment {payment_id}")))?;
        let wanted = NewRefund {
            payment: payment.id,
            amount,
            currency: payment.currency.unwrap_or_else(|| self.currency.clone()),
            key: key.to_owned(),
        };
        // Keys that are missing can be set again.
        let gateway = self.gateways.named(&payment.gateway)?;
        match gateway.refund(&wanted).await {
            Ok(refund) => Ok(payments::note_returned(&self.db, payment_id, key, &refund).await?),
            Err(GatewayRefusal::Refused(why)) => Err(Permanent::new(why).into()),
            Err(unreachable) => Err(unreachable.into()),
        }
    }
}

const fn kind(job: &model::OutboxJob) -> &'static str {
    match job {
        model::OutboxJob::Mail { .. } => "mail",
        model::OutboxJob::DeleteMedia { .. } => "deleteMedia",
        model::OutboxJob::Refund { .. } => "refund",
    }
}

const fn max_attempts(job: &model::OutboxJob) -> i32 {
    match job {
        model::OutboxJob::Refund { .. } => MAX_REFUND_ATTEMPTS,
        model::OutboxJob::Mail { .. } | model::OutboxJob::DeleteMedia { .. } => MAX_ATTEMPTS,
    }
}

/// Carries out jobs until told to quit; what is in progress is then still finished.
pub async fn work(app: Arc<App>, quit: CancellationToken) {
    let mut running = JoinSet::new();
    while !quit.is_cancelled() {
        while running.try_join_next().is_some() {}
        if running.len() >= CONCURRENCY {
            tokio::select! {
                _ = running.join_next() => {}
                () = quit.cancelled() => {}
            }
            continue;
        }
        match app.outbox.claim().await {
            Ok(Some(entry)) => {
                let outbox = app.outbox.clone();
                running.spawn(async move { outbox.carry_out(entry).await });
                continue;
            }
            Ok(None) => {}
            Err(cause) => warn!(%cause, "the outbox cannot be read"),
        }
        tokio::select! {
            () = app.outbox.wake.notified() => {}
            () = tokio::time::sleep(TICK) => {}
            () = quit.cancelled() => {}
        }
    }
    // A try that takes longer is left; its lease ends, and the next life or another node takes it over.
    let finishing = async { while running.join_next().await.is_some() {} };
    _ = tokio::time::timeout(GRACE, finishing).await;
}

/// How long to wait after so many tries: 5 s, doubling, an hour at most.
pub(crate) fn backoff(attempts: i32) -> i64 {
    let doublings = u32::try_from(attempts.saturating_sub(1)).unwrap_or(0).min(16);
    (5_000_i64 << doublings).min(3_600_000)
}
