//! Our books of a day beside each gateway's own list: what `souk reconcile` prints.

mod compare;

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use bson::{Document, doc};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use mongodb::ClientSession;
use shared::{
    clock::{Clock, Timestamp, plus},
    config::Config,
    db::Db,
    lenient,
    model::{LedgerEntry, Outbox, OutboxJob, Payment, PaymentFact, Stored as _, WebhookEvent},
    money::Money,
};

pub use self::compare::{Booked, BookedKind, Comparison, Day, Finding, ReturnState, Sums};
use super::gateway::{Gateway, GatewayRefusal, Gateways, PaymentState};
pub use super::gateway::{Movement, MovementKind};

/// The gateways there can be, by the names in payment records.
pub const GATEWAYS: [&str; 2] = ["stripe", "paypal"];

/// How far beyond the day the gateway's list is read, in milliseconds: what we asked for shortly before
/// midnight may have been done after it.
const MARGIN: i64 = 2 * 60 * 60 * 1000;
/// A refund may be done this much later, in milliseconds, when an operator has to look first. No gateway lists
/// more at a time.
const LATEST: i64 = 30 * 24 * 60 * 60 * 1000;
/// So many payments are looked up at a time.
const AT_ONCE: usize = 4;

/// One gateway's day.
#[derive(Clone, Debug)]
pub struct Reconciled {
    /// The two lists.
    pub comparison: Comparison,
    /// What the ledger booked on the gateway's account that day. It books at delivery, not at payment.
    pub booked: Money,
}

/// Why there is nothing to compare with.
#[derive(Debug, thiserror::Error)]
pub enum NotReconciled {
    /// It is not set up, and our books have nothing of it that day.
    #[error("it is not set up, and nothing was paid through it")]
    NotUsed,
    /// It is not set up, although our books have something of it.
    #[error("its keys are not set, but payments of that day are in our books")]
    NotSetUp,
    /// Its settings cannot be used.
    #[error("{0:#}")]
    Settings(anyhow::Error),
    /// It did not tell.
    #[error(transparent)]
    Gateway(#[from] GatewayRefusal),
    /// Our own books cannot be read.
    #[error("the database cannot be read: {0}")]
    Database(#[from] mongodb::error::Error),
}

/// Compares a day of ours with a gateway's.
pub async fn reconcile(
    config: &Arc<Config>,
    db: &Db,
    clock: &Clock,
    gateway: &'static str,
    day: Day,
) -> Result<Reconciled, NotReconciled> {
    let gateways = Gateways::from_config(config, db, clock).map_err(NotReconciled::Settings)?;
    let Some(known) = gateways.all().find(|one| one.name() == gateway) else {
        let nothing = ours(db, gateway, day, &[]).await?.iter().all(|booked| !day.has(booked.at));
        return Err(if nothing { NotReconciled::NotUsed } else { NotReconciled::NotSetUp });
    };
    compare_with(known, db, clock.now(), day).await
}

async fn compare_with(
    gateway: &dyn Gateway,
    db: &Db,
    now: Timestamp,
    day: Day,
) -> Result<Reconciled, NotReconciled> {
    let until = plus(day.to, MARGIN).min(now);
    // First the gateway's: what it does is noted here afterwards.
    let mut theirs = gateway.movements(plus(day.from, -MARGIN), until).await?;
    let ours = ours(db, gateway.name(), day, &theirs).await?;
    let first = compare::compare(day, now, &ours, &theirs);
    let missing = first.findings.iter().filter_map(|finding| match finding {
        Finding::MissingThere(booked) => Some(booked),
        _ => None,
    });
    let (payments, returns): (Vec<_>, Vec<_>) =
        missing.partition(|booked| booked.kind == BookedKind::Payment);
    let looked_up: Vec<Option<Movement>> = stream::iter(payments.into_iter().cloned())
        .map(|booked| look_up(gateway, booked))
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    theirs.extend(looked_up.into_iter().flatten());
    if !returns.is_empty() && until < now {
        theirs.extend(gateway.movements(until, plus(until, LATEST).min(now)).await?);
    }
    let comparison = compare::compare(day, now, &ours, &theirs);
    let booked = booked(db, gateway.name(), day).await?;
    Ok(Reconciled { comparison, booked })
}

/// A payment of ours that the gateway does not list near that day, as it knows it.
async fn look_up(gateway: &dyn Gateway, booked: Booked) -> Result<Option<Movement>, GatewayRefusal> {
    let found = gateway.look_up(&booked.payment).await?;
    let taken = found.filter(|payment| payment.paid_at.is_some() || payment.state == PaymentState::Succeeded);
    Ok(taken.map(|payment| Movement {
        at: payment.paid_at.unwrap_or(booked.at),
        payment: booked.payment,
        kind: MovementKind::Payment,
        amount: payment.amount,
    }))
}

/// What our books have of a day, and of what the gateway lists, as of one moment.
async fn ours(
    db: &Db,
    gateway: &'static str,
    day: Day,
    theirs: &[Movement],
) -> mongodb::error::Result<Vec<Booked>> {
    let listed: BTreeSet<String> = theirs.iter().map(|movement| movement.payment.clone()).collect();
    db.snapshot(|session| {
        let (db, listed) = (db.clone(), listed.clone());
        Box::pin(async move { read(&db, session, gateway, day, listed).await })
    })
    .await
}

async fn read(
    db: &Db,
    session: &mut ClientSession,
    gateway: &str,
    day: Day,
    listed: BTreeSet<String>,
) -> mongodb::error::Result<Vec<Booked>> {
    let of_day = doc! { "$gte": day.from, "$lt": day.to };
    let filter = doc! { "gateway": gateway, "$or": [
        { "paidAt": of_day.clone() },
        // Earlier versions did not keep when it was paid.
        { "paidAt": null, "at": of_day.clone() },
        { "returns.askedAt": of_day },
        { "_id": { "$in": listed.iter().collect::<Vec<_>>() } },
    ] };
    let mut found = db.of::<Payment>().find(filter).session(&mut *session).await?;
    let payments: Vec<Payment> = found.stream(&mut *session).try_collect().await?;
    let jobs = jobs(db, session).await?;
    let ids: BTreeSet<String> = payments.iter().map(|payment| payment.id.clone()).chain(listed).collect();
    let mut booked: Vec<Booked> =
        payments.into_iter().flat_map(|payment| of_payment(payment, &jobs)).collect();
    let known: BTreeSet<&str> = booked.iter().filter_map(refund_id).collect();
    let told: Vec<Booked> = told(db, session, gateway, &ids)
        .await?
        .into_iter()
        .filter(|told| refund_id(told).is_some_and(|id| !known.contains(id)))
        .collect();
    booked.extend(told);
    Ok(booked)
}

fn refund_id(booked: &Booked) -> Option<&str> {
    match &booked.kind {
        BookedKind::Return { state: ReturnState::Done(id), .. } => Some(id),
        _ => None,
    }
}

/// The refunds in the outbox by key, and whether they were given up.
async fn jobs(db: &Db, session: &mut ClientSession) -> mongodb::error::Result<HashMap<String, bool>> {
    let mut found = db.of::<Outbox>().find(doc! { "job.kind": "refund" }).session(&mut *session).await?;
    let jobs: Vec<Outbox> = found.stream(session).try_collect().await?;
    let of = |job: Outbox| match job.job {
        OutboxJob::Refund { idempotency_key, .. } => Some((idempotency_key, job.dead)),
        _ => None,
    };
    Ok(jobs.into_iter().filter_map(of).collect())
}

/// The payment itself, and what was to go back of it.
fn of_payment(payment: Payment, jobs: &HashMap<String, bool>) -> Vec<Booked> {
    let mut all = Vec::new();
    // One that a gateway told of, but never that it was paid, has moved nothing.
    if payment.paid_at.is_some() || payment.checkout_id.is_some() {
        all.push(Booked {
            payment: payment.id.clone(),
            kind: BookedKind::Payment,
            amount: payment.amount(),
            at: payment.paid_at.unwrap_or(payment.at),
        });
    }
    all.extend(payment.returns.into_iter().map(|asked| {
        let state = match (asked.refund_id, jobs.get(&asked.key)) {
            (Some(id), _) => ReturnState::Done(id),
            (None, Some(false)) => ReturnState::Waiting,
            (None, Some(true)) => ReturnState::GivenUp,
            (None, None) => ReturnState::Forgotten,
        };
        Booked {
            payment: payment.id.clone(),
            kind: BookedKind::Return { key: Some(asked.key), state },
            amount: Money::from_minor(asked.minor),
            at: asked.asked_at,
        }
    }));
    all
}

/// What went back of these payments without our asking, as far as the gateway has told of it.
async fn told(
    db: &Db,
    session: &mut ClientSession,
    gateway: &str,
    payments: &BTreeSet<String>,
) -> mongodb::error::Result<Vec<Booked>> {
    let payments: Vec<&String> = payments.iter().collect();
    let filter = doc! { "gateway": gateway, "payment": { "$in": payments }, "fact.kind": "returned" };
    let mut found = db.of::<WebhookEvent>().find(filter).session(&mut *session).await?;
    let events: Vec<WebhookEvent> = found.stream(session).try_collect().await?;
    let of = |event: WebhookEvent| match event.fact? {
        PaymentFact::Returned { refund, minor, key: None } => Some(Booked {
            payment: event.payment?,
            kind: BookedKind::Return { key: None, state: ReturnState::Done(refund) },
            amount: Money::from_minor(minor),
            at: event.at,
        }),
        _ => None,
    };
    Ok(events.into_iter().filter_map(of).collect())
}

/// What the ledger booked on a gateway's account on a day: what delivered orders brought, less what went back
/// of them.
async fn booked(db: &Db, gateway: &str, day: Day) -> mongodb::error::Result<Money> {
    let account = format!("gateway:{gateway}");
    let pipeline = vec![
        doc! { "$match": { "lines.account": &account, "at": { "$gte": day.from, "$lt": day.to } } },
        doc! { "$unwind": "$lines" },
        doc! { "$match": { "lines.account": account } },
        doc! { "$group": { "_id": null, "minor": { "$sum": "$lines.minor" } } },
    ];
    let mut sums = db.raw::<Document>(LedgerEntry::COLLECTION).aggregate(pipeline).await?;
    let sum = sums.try_next().await?.and_then(|sum| sum.get("minor").and_then(lenient::as_int));
    // The account is where the money comes from: below zero by what it brought.
    Ok(-Money::from_minor(sum.unwrap_or_default()))
}
