//! What the server looks after without being asked: reservations whose payment never arrived, and
//! whether the books still balance.

use std::{sync::Arc, time::Duration};

use bson::doc;
use mongodb::options::ReturnDocument;
use shared::{
    audit,
    clock::{Timestamp, plus},
    db::{Db, duplicate_key},
    model::Turn,
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::{error::Result, gauges, orders, payments, state::App};

/// How often to look around.
const TICK: Duration = Duration::from_secs(30);
/// How often the books are counted again, by one node of all.
const BOOKS_EVERY: i64 = 60 * 60 * 1000;

/// Looks around until told to quit.
pub async fn keep(app: Arc<App>, quit: CancellationToken) {
    loop {
        // First of all wait: at a start others have more urgent things to do.
        tokio::select! {
            () = tokio::time::sleep(TICK) => {}
            () = quit.cancelled() => return,
        }
        if let Err(cause) = expire_unpaid(&app).await {
            warn!(?cause, "reservations that have run out cannot be released");
        }
        if let Err(cause) = look_after_payments(&app).await {
            warn!(?cause, "payments that wait for an order cannot be looked after");
        }
        if let Err(cause) = count_books(&app).await {
            warn!(%cause, "the books cannot be counted");
        }
    }
}

/// Cancels the orders whose online payment nobody has confirmed in time, and gives how many. Done by
/// every node: an order is cancelled once, whoever comes first.
pub async fn expire_unpaid(app: &App) -> Result<u64> {
    let ttl = i64::try_from(app.config.reservation_ttl.as_millis()).unwrap_or(i64::MAX);
    if ttl == 0 {
        return Ok(0);
    }
    let cancelled = orders::expire_unpaid(app, plus(app.clock.now(), -ttl)).await?;
    if cancelled > 0 {
        metrics::counter!("reservations_expired_total").increment(cancelled);
        info!(cancelled, "orders whose payment never arrived are cancelled, their units are free again");
    }
    Ok(cancelled)
}

/// Payments that nobody has used: they may prove a claim, or have waited long enough.
pub async fn look_after_payments(app: &App) -> Result<()> {
    payments::claims::match_all(app).await?;
    payments::settle::return_unused(app).await.map(drop)
}

/// Counts everything again and tells what does not agree.
async fn count_books(app: &App) -> mongodb::error::Result<()> {
    if !take_turn(&app.db, gauges::BOOKS, app.clock.now(), BOOKS_EVERY).await? {
        return Ok(());
    }
    let counted = audit::run(&app.db).await?;
    gauges::note_books(&app.db, app.clock.now(), counted.differences.len()).await?;
    for what in &counted.differences {
        error!("the books do not balance: {what}");
    }
    Ok(())
}

/// Whether it is this node's turn at something that one of all nodes does every so many milliseconds.
async fn take_turn(db: &Db, what: &str, now: Timestamp, every: i64) -> mongodb::error::Result<bool> {
    let due = doc! { "_id": what, "next": { "$lte": now } };
    let update = doc! { "$set": { "next": plus(now, every) } };
    let turns = db.of::<Turn>();
    let taken = turns.find_one_and_update(due, update).upsert(true).return_document(ReturnDocument::After);
    match taken.await {
        Ok(_) => Ok(true),
        // It is there, and not due: another node has had this turn.
        Err(error) if duplicate_key(&error).is_some() => Ok(false),
        Err(error) => Err(error),
    }
}
