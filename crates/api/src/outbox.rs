//! Work that follows a change: written down with the change, carried out by a worker, tried again
//! until it succeeds or an operator has to look.

use std::sync::Arc;

use bson::doc;
use mongodb::ClientSession;
use shared::{
    auth::Kind,
    clock::{Clock, Timestamp, plus},
    config::Config,
    db::Db,
    id::Id,
    model::{self, Shop, User},
    money::Money,
    traces,
};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, error, info, info_span, warn};

use crate::{
    accounts::{Account, reset_link},
    identity,
    letters::Letter,
    mail::{Mail, Mailer},
    media::Media,
    news,
    payments::{GatewayRefusal, Gateways, NewRefund, store as payments},
    state::App,
    worker::{self, TRY, backoff},
};

/// After so many tries an operator has to look.
const MAX_ATTEMPTS: i32 = 12;
/// Money that somebody has a right to is tried for longer. With an hour between tries this is a month, and no
/// gateway is gone for a month.
const MAX_REFUND_ATTEMPTS: i32 = 732;
/// How many jobs one node carries out at once.
const CONCURRENCY: usize = 8;
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
    /// The currency is that of payments that earlier versions took down.
    config: Arc<Config>,
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
        config: Arc<Config>,
    ) -> Self {
        Self { db, clock, mailer, media, gateways, config, wake: Arc::new(Notify::new()) }
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

    /// Writes to whoever has an account, as part of a transaction. Nobody is told where there is no account
    /// any more, or an old one without an address.
    pub(crate) async fn write_to<A: Account>(
        &self,
        session: &mut ClientSession,
        id: Id<A>,
        letter: Letter,
    ) -> mongodb::error::Result<()> {
        let account = self.db.of::<A>().find_one(doc! { "_id": id }).session(&mut *session).await?;
        let Some(to) = account.map(|account| account.email().trim().to_owned()).filter(|to| !to.is_empty())
        else {
            return Ok(());
        };
        self.add_in(session, letter.mail_to(to, None)).await
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
        entry(job, self.clock.now())
    }

    /// One try of a claimed job, and the note of how it went.
    async fn carry_out(&self, entry: model::Outbox) {
        if is_of_a_later_version(&entry.job) {
            return self.leave(entry.id).await;
        }
        let (id, kind, attempts) = (entry.id, kind(&entry.job), entry.attempts);
        let most = max_attempts(&entry.job);
        let outcome = if attempts > most {
            // Its last try took the worker down with it, or took too long to be noted.
            Err(Permanent::new("the last try never ended".to_owned()).into())
        } else {
            match tokio::time::timeout(TRY, self.attempt(id, entry.job)).await {
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
            Ok(()) => {
                info!("a job of the outbox is done");
                jobs.delete_one(ours).await.map(drop)
            }
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

    /// While a new version is being rolled out, it is the new nodes' work: when our lease ends, one of them comes
    /// first sooner or later. It does not count as a try.
    async fn leave(&self, id: Id<model::Outbox>) {
        let uncounted = doc! { "$inc": { "attempts": -1 } };
        if let Err(cause) = self.db.of::<model::Outbox>().update_one(doc! { "_id": id }, uncounted).await {
            warn!(id = id.hex(), %cause, "a job of a later version could not be left as it was");
        }
    }

    async fn attempt(&self, id: Id<model::Outbox>, job: model::OutboxJob) -> anyhow::Result<()> {
        match job {
            model::OutboxJob::Mail { to, subject, text, html, unsubscribe } => {
                self.mailer.send(Mail { to, subject, text, html, unsubscribe }).await
            }
            model::OutboxJob::News { news } => {
                news::pass_on(&self.db, &self.config, id, &news, self.clock.now()).await?;
                self.wake();
                Ok(())
            }
            model::OutboxJob::Unknown => anyhow::bail!("this version does not know what to do"),
            model::OutboxJob::ResetLink { account, email } => {
                let (db, clock, config) = (&self.db, &self.clock, &self.config);
                match account {
                    Kind::User => reset_link::mail::<User>(db, self, clock, config, &email).await,
                    Kind::Seller => reset_link::mail::<Shop>(db, self, clock, config, &email).await,
                }
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
            currency: payment.currency.unwrap_or_else(|| self.config.currency.clone()),
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

/// A job as it is written down, to be done at once.
pub(crate) fn entry(job: model::OutboxJob, now: Timestamp) -> model::Outbox {
    model::Outbox {
        id: Id::new(),
        job,
        due_at: now,
        attempts: 0,
        last_error: None,
        dead: false,
        created_at: now,
        request: identity::known_request(),
        trace: identity::known_trace(),
    }
}

const fn is_of_a_later_version(job: &model::OutboxJob) -> bool {
    matches!(job, model::OutboxJob::Unknown | model::OutboxJob::News { news: model::News::Unknown })
}

const fn kind(job: &model::OutboxJob) -> &'static str {
    match job {
        model::OutboxJob::Mail { .. } => "mail",
        model::OutboxJob::ResetLink { .. } => "resetLink",
        model::OutboxJob::DeleteMedia { .. } => "deleteMedia",
        model::OutboxJob::Refund { .. } => "refund",
        model::OutboxJob::News { .. } => "news",
        model::OutboxJob::Unknown => "unknown",
    }
}

const fn max_attempts(job: &model::OutboxJob) -> i32 {
    match job {
        model::OutboxJob::Refund { .. } => MAX_REFUND_ATTEMPTS,
        // Nodes of a version that cannot read it take it for a while, and count that as a try.
        model::OutboxJob::News { .. } | model::OutboxJob::Unknown => MAX_REFUND_ATTEMPTS,
        model::OutboxJob::Mail { .. }
        | model::OutboxJob::ResetLink { .. }
        | model::OutboxJob::DeleteMedia { .. } => MAX_ATTEMPTS,
    }
}

/// Carries out jobs until told to quit; what is in progress is then still finished.
pub async fn work(app: Arc<App>, quit: CancellationToken) {
    let outbox = &app.outbox;
    let claim = || worker::claim(&outbox.db, &outbox.clock, doc! { "dead": false });
    let carry_out = |entry: model::Outbox| {
        let outbox = outbox.clone();
        async move {
            let (id, kind) = (entry.id.hex(), kind(&entry.job));
            let request = entry.request.clone().unwrap_or_default();
            let span = info_span!("job", id, kind, request);
            if let Some(trace) = &entry.trace {
                traces::go_on(&span, trace);
            }
            // Last of all: to name a span begins it, and then it is too late for it to go on with another.
            traces::name(&span, || format!("job {kind}"));
            let trace = traces::traceparent(&span);
            // What follows from it follows from the request.
            identity::on_behalf_of(request, trace, outbox.carry_out(entry)).instrument(span).await;
        }
    };
    worker::work("the outbox", CONCURRENCY, &outbox.wake, &quit, claim, carry_out).await;
}
