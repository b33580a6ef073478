//! What has happened, and who is told of it.
//!
//! Whoever changes something writes the news down in the same transaction ([`tell_in`]): one document of the outbox,
//! with ids and no words. The outbox' worker passes it on, again in one transaction: the news is gone, and the mails and
//! whatever else follows from it are there, so that nothing is told twice and nothing is lost. What is read for that
//! is read then, and costs nobody's checkout.

mod hooks;
mod letters;
mod shelf;

use bson::doc;
use mongodb::ClientSession;
use shared::{
    clock::Timestamp,
    config::Config,
    db::Db,
    id::Id,
    model::{News, Outbox, OutboxJob},
};

use crate::outbox;

/// Writes down what has happened, as part of the transaction in which it happens. Call
/// [`outbox::Outbox::wake`] after the commit.
pub(crate) async fn tell_in(
    outbox: &outbox::Outbox,
    session: &mut ClientSession,
    news: News,
) -> mongodb::error::Result<()> {
    outbox.add_in(session, OutboxJob::News { news }).await
}

/// The document that does the same, for those who write many at once.
pub(crate) fn to_tell(news: News, now: Timestamp) -> Outbox {
    outbox::entry(OutboxJob::News { news }, now)
}

/// Passes one piece of news on: takes it out of the outbox, and puts in what follows from it.
pub(crate) async fn pass_on(
    db: &Db,
    config: &Config,
    id: Id<Outbox>,
    news: &News,
    now: Timestamp,
) -> anyhow::Result<()> {
    db.transaction(|session| {
        let (db, config, news) = (db.clone(), config.clone(), news.clone());
        Box::pin(async move {
            let jobs = db.of::<Outbox>();
            if jobs.delete_one(doc! { "_id": id }).session(&mut *session).await?.deleted_count == 0 {
                // Somebody else has passed it on.
                return anyhow::Ok(());
            }
            let follow = follow_ups(&db, &config, session, &news).await?;
            hooks::tell_in(&db, &config, session, (id, &news), now).await?;
            let entries: Vec<Outbox> = follow.into_iter().map(|job| outbox::entry(job, now)).collect();
            if !entries.is_empty() {
                jobs.insert_many(entries).session(session).await?;
            }
            Ok(())
        })
    })
    .await
}

/// Everything that follows from a piece of news: whoever else is to be told adds jobs here.
async fn follow_ups(
    db: &Db,
    config: &Config,
    session: &mut ClientSession,
    news: &News,
) -> anyhow::Result<Vec<OutboxJob>> {
    let mut jobs = letters::of(db, config, session, news).await?;
    if let News::OrdersPlaced { orders } = news {
        let more = shelf::after_sale(db, session, orders, config.low_stock).await?;
        jobs.extend(more.into_iter().map(|news| OutboxJob::News { news }));
    }
    Ok(jobs)
}
