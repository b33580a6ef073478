//! What the database allows: the documents that Souk wrote, committed by the bare driver.
//!
//! Nothing is read, decided, priced or answered here. The documents are copied byte by byte and get new ids; the
//! units are reserved without a question. Write concern and read concern are Souk's.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use anyhow::{Context as _, ensure};
use bson::{Bson, RawDocumentBuf, doc, oid::ObjectId};
use futures_util::{FutureExt as _, TryStreamExt as _};
use mongodb::{
    ClientSession,
    options::{Acknowledgment, ReadConcern, WriteConcern},
};
use shared::{db::Db, id::Id};
use tokio::time::Instant;

use crate::{load::Period, stats::Tally};

const ORDERS: &str = "orders";
const ANSWERS: &str = "idempotencykeys";
const PRODUCTS: &str = "products";
/// So many documents are enough to choose from.
const SAMPLE: i64 = 512;
/// A transaction that is not through so long after the end has failed.
const GRACE: Duration = Duration::from_secs(3);

/// Documents as Souk wrote them.
pub(crate) struct Captured {
    orders: Vec<(Vec<u8>, ObjectId, i64)>,
    answers: Vec<Vec<u8>>,
}

/// Takes the newest.
pub(crate) async fn capture(db: &Db) -> anyhow::Result<Captured> {
    let orders = newest(db, ORDERS).await?.into_iter().map(|order| {
        let parsed = bson::Document::try_from(order.as_ref())?;
        let line =
            parsed.get_array("cart")?.first().and_then(Bson::as_document).context("an order of nothing")?;
        let count = line.get("count").and_then(shared::lenient::as_int).context("a line of no units")?;
        Ok((order.into_bytes(), ObjectId::parse_str(line.get_str("_id")?)?, count))
    });
    let captured = Captured {
        orders: orders.collect::<anyhow::Result<_>>()?,
        answers: newest(db, ANSWERS).await?.into_iter().map(RawDocumentBuf::into_bytes).collect(),
    };
    ensure!(!captured.orders.is_empty(), "there are no orders to take as an example");
    Ok(captured)
}

async fn newest(db: &Db, collection: &str) -> mongodb::error::Result<Vec<RawDocumentBuf>> {
    let collection = db.raw::<RawDocumentBuf>(collection);
    collection.find(doc! {}).sort(doc! { "$natural": -1 }).limit(SAMPLE).await?.try_collect().await
}

/// Gives the other database the products that are to be reserved.
pub(crate) async fn copy_products(from: &Db, to: &Db) -> mongodb::error::Result<()> {
    let products: Vec<RawDocumentBuf> =
        from.raw::<RawDocumentBuf>(PRODUCTS).find(doc! {}).await?.try_collect().await?;
    to.raw::<RawDocumentBuf>(PRODUCTS).insert_many(products).await.map(drop)
}

/// What one transaction writes.
pub(crate) struct Batch {
    reserve: BTreeMap<ObjectId, i64>,
    orders: Vec<RawDocumentBuf>,
    answers: Vec<RawDocumentBuf>,
}

/// Documents to store again and again, in groups.
pub(crate) trait Sample: Send + Sync + 'static {
    /// What one transaction writes.
    type Batch: Send + Sync;

    /// How many there are.
    fn size(&self) -> usize;

    /// The next so many, under new ids.
    fn batch(&self, size: usize, from: usize) -> anyhow::Result<Self::Batch>;

    /// Writes them, as a part of a transaction.
    fn store(
        db: &Db,
        session: &mut ClientSession,
        batch: &Self::Batch,
    ) -> impl Future<Output = mongodb::error::Result<()>> + Send;
}

impl Sample for Captured {
    type Batch = Batch;

    fn size(&self) -> usize {
        self.orders.len()
    }

    fn batch(&self, size: usize, from: usize) -> anyhow::Result<Batch> {
        let mut batch = Batch { reserve: BTreeMap::new(), orders: Vec::new(), answers: Vec::new() };
        for (order, product, count) in self.orders.iter().cycle().skip(from % self.orders.len()).take(size) {
            *batch.reserve.entry(*product).or_default() += count;
            batch.orders.push(renewed(order, &Id::<()>::new().oid().bytes())?);
        }
        let answers = self.answers.len().max(1);
        for answer in self.answers.iter().cycle().skip(from % answers).take(size) {
            batch.answers.push(renewed(answer, Id::<()>::new().hex().as_bytes())?);
        }
        Ok(batch)
    }

    async fn store(db: &Db, session: &mut ClientSession, batch: &Batch) -> mongodb::error::Result<()> {
        let updates: Vec<_> = batch
            .reserve
            .iter()
            .map(|(id, count)| {
                doc! { "q": { "_id": *id }, "u": { "$inc": { "reserved": Bson::Int64(*count) } } }
            })
            .collect();
        let update = doc! { "update": PRODUCTS, "updates": updates };
        db.database().run_command(update).session(&mut *session).await?;
        db.raw::<RawDocumentBuf>(ORDERS).insert_many(&batch.orders).session(&mut *session).await?;
        if !batch.answers.is_empty() {
            db.raw::<RawDocumentBuf>(ANSWERS).insert_many(&batch.answers).session(session).await?;
        }
        Ok(())
    }
}

/// A copy under another `_id`, which is the first field: an ObjectId, or a text, of which the end is replaced.
fn renewed(document: &[u8], id: &[u8]) -> anyhow::Result<RawDocumentBuf> {
    const TYPE: usize = 4;
    const VALUE: usize = TYPE + 5;
    let mut bytes = document.to_vec();
    let end = match bytes.get(TYPE..VALUE) {
        Some(b"\x07_id\0") => VALUE + 12,
        Some(b"\x02_id\0") => {
            let length = bytes.get(VALUE..).and_then(|value| value.first_chunk()).context("cut off")?;
            // The length counts the zero byte that ends the text.
            VALUE + 4 + usize::try_from(i32::from_le_bytes(*length))? - 1
        }
        _ => anyhow::bail!("a document does not begin with its id"),
    };
    bytes.get_mut(end - id.len()..end).context("an id is too short")?.copy_from_slice(id);
    Ok(RawDocumentBuf::from_bytes(bytes)?)
}

/// So many writers, each of which commits group after group of this size.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) writers: usize,
    pub(crate) group: usize,
}

/// Commits until the time is over; each document took as long as its transaction.
pub(crate) async fn run<S: Sample>(
    db: &Db,
    sample: &Arc<S>,
    shape: Shape,
    period: Period,
) -> anyhow::Result<Tally> {
    let writers: Vec<_> = (0..shape.writers)
        .map(|writer| tokio::spawn(write(db.clone(), Arc::clone(sample), shape, writer, period)))
        .collect();
    let mut tally = Tally::default();
    for writer in writers {
        tally.add(writer.await??);
    }
    Ok(tally)
}

async fn write<S: Sample>(
    db: Db,
    sample: Arc<S>,
    shape: Shape,
    writer: usize,
    period: Period,
) -> anyhow::Result<Tally> {
    let mut session = db.client().start_session().await?;
    let mut tally = Tally::default();
    // Each begins somewhere else.
    let mut from = writer * sample.size() / shape.writers;
    loop {
        let batch = Arc::new(sample.batch(shape.group, from)?);
        from += shape.group;
        let begun = Instant::now();
        if begun >= period.until {
            return Ok(tally);
        }
        let committed =
            tokio::time::timeout_at(period.until + GRACE, commit::<S>(&db, &mut session, batch)).await;
        let took = begun.elapsed();
        match committed {
            _ if begun < period.counted_from => {}
            Ok(Ok(())) => (0..shape.group).for_each(|_| tally.done(took, 1)),
            Ok(Err(error)) => tally.fail(error.to_string()),
            Err(_) => {
                tally.fail("still in conflict with the others at the end".to_owned());
                // Left open it would hold its documents against the next cell.
                session.abort_transaction().await.ok();
                return Ok(tally);
            }
        }
    }
}

/// One transaction, which the driver repeats when it conflicts with another.
async fn commit<S: Sample>(
    db: &Db,
    session: &mut ClientSession,
    batch: Arc<S::Batch>,
) -> mongodb::error::Result<()> {
    let concern = WriteConcern::builder().w(Acknowledgment::Majority).journal(true).build();
    session
        .start_transaction()
        .read_concern(ReadConcern::snapshot())
        .write_concern(concern)
        .and_run((db.clone(), batch), |session, (db, batch)| {
            let (db, batch) = (db.clone(), Arc::clone(batch));
            async move { S::store(&db, session, &batch).await }.boxed()
        })
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_differs_in_its_id_only() {
        let (old, new) = (Id::<()>::new(), Id::<()>::new());
        let raw = |document: &bson::Document| bson::serialize_to_vec(document).unwrap();
        let order = raw(&doc! { "_id": old.oid(), "status": "Processing" });
        let copy = renewed(&order, &new.oid().bytes()).unwrap();
        assert_eq!(
            bson::Document::try_from(copy.as_ref()).unwrap(),
            doc! { "_id": new.oid(), "status": "Processing" }
        );
        let answer = raw(&doc! { "_id": format!("buyer:{}", old.hex()), "answer": "{}" });
        let copy = renewed(&answer, new.hex().as_bytes()).unwrap();
        assert_eq!(copy.get_str("_id").unwrap(), format!("buyer:{}", new.hex()));
        assert!(renewed(&raw(&doc! { "a": 1 }), &new.oid().bytes()).is_err());
    }
}
