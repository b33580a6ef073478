//! Signals through the database: a collection that every node follows, and that empties itself.

use anyhow::Context as _;
use bson::{Document, doc};
use futures_util::{StreamExt as _, stream::BoxStream};
use mongodb::{
    Collection,
    options::{Acknowledgment, CollectionOptions, WriteConcern},
};
use shared::{
    clock::{Clock, plus},
    db::Db,
};

/// How long a batch stays, in milliseconds: only the log of the database is read.
const KEPT: i64 = 60_000;

pub(super) struct Signals {
    batches: Collection<Document>,
    clock: Clock,
}

impl Signals {
    pub(super) fn of(db: &Db, clock: Clock) -> Self {
        // No node sees a batch before most of the database's members have it, so it need not be waited
        // for here as well.
        let concern = WriteConcern::builder().w(Acknowledgment::Nodes(1)).build();
        let options = CollectionOptions::builder().write_concern(concern).build();
        Self { batches: db.database().collection_with_options(COLLECTION, options), clock }
    }

    pub(super) async fn publish(&self, node: &str, text: &str) -> anyhow::Result<()> {
        let expires = plus(self.clock.now(), KEPT);
        self.batches.insert_one(doc! { "node": node, "batch": text, "expiresAt": expires }).await?;
        Ok(())
    }

    pub(super) async fn listen(&self) -> anyhow::Result<BoxStream<'static, anyhow::Result<String>>> {
        let inserts = doc! { "$match": { "operationType": "insert" } };
        let batch = doc! { "$project": { "operationType": 1, "ns": 1, "fullDocument.batch": 1 } };
        let events = self.batches.watch().pipeline([inserts, batch]).await?;
        let batches = events.map(|event| {
            let document = event?.full_document.context("an insert without a document")?;
            Ok(document.get_str("batch").context("a batch without its text")?.to_owned())
        });
        Ok(batches.boxed())
    }
}

const COLLECTION: &str = "chatsignals";
