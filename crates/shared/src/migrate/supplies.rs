use std::collections::HashMap;

use bson::{Bson, Document, doc};
use futures_util::TryStreamExt as _;
use mongodb::ClientSession;

use super::Report;
use crate::{
    audit::stock::kept,
    db::Db,
    id::Id,
    lenient,
    model::{Kind, Listing, Order, Stored as _},
};

/// How many listings are counted at once.
const BATCH: i64 = 500;

/// Writes down how many units each listing has had in all, and how many of those sold no order
/// accounts for; from then on a unit that gets lost shows.
///
/// Neither changes while orders come and go, so what was read as of one moment may be written later;
/// only a shop that corrects its stock in between has the listing read again.
pub(super) async fn count(db: &Db, report: &mut Report) -> anyhow::Result<()> {
    for kind in [Kind::Product, Kind::Event] {
        while pass(db, kind, report).await? == Pass::Again {}
    }
    Ok(())
}

#[derive(PartialEq, Eq)]
enum Pass {
    Done,
    Again,
}

/// Goes through all listings once, in the order of their ids: whoever looks for the next uncounted one from the
/// beginning passes all that are counted already, each time more.
async fn pass(db: &Db, kind: Kind, report: &mut Report) -> anyhow::Result<Pass> {
    let (mut after, mut read, mut written) = (Id::default(), 0, 0);
    loop {
        let counted: Vec<Counted> = db
            .transaction::<_, anyhow::Error, _>(|session| {
                let db = db.clone();
                Box::pin(async move { count_some(&db, session, kind, after).await })
            })
            .await?;
        let Some(last) = counted.last() else { break };
        after = last.id;
        read += counted.len();
        let updates: Vec<Document> = counted.iter().map(Counted::update).collect();
        let command = doc! { "update": kind.collection(), "updates": updates, "ordered": false };
        let done = db.database().run_command(command).await?;
        let changed = done.get("nModified").and_then(lenient::as_int).unwrap_or_default();
        written += usize::try_from(changed)?;
    }
    report.changed += u64::try_from(written)?;
    // Where nothing could be written: numbers that no server of ours writes, or somebody at work on all of them. Next
    // time.
    Ok(if written == 0 || written == read { Pass::Done } else { Pass::Again })
}

/// What is to be written down of a listing.
struct Counted {
    id: Id<Listing>,
    supplied: i64,
    sold_earlier: i64,
}

impl Counted {
    fn update(&self) -> Document {
        let supplied = Bson::Int64(self.supplied);
        let as_read = doc! { "$eq": [{ "$add": ["$stock", "$sold_out"] }, supplied.clone()] };
        doc! {
            "q": { "_id": self.id, "supplied": { "$not": { "$type": "number" } }, "$expr": as_read },
            "u": { "$set": { "supplied": supplied, "soldEarlier": Bson::Int64(self.sold_earlier) } },
        }
    }
}

/// The next batch behind an id, as of one moment.
async fn count_some(
    db: &Db,
    session: &mut ClientSession,
    kind: Kind,
    after: Id<Listing>,
) -> anyhow::Result<Vec<Counted>> {
    // Where a foreign hand has left text, the steps before this one mend it at the next start.
    let uncounted = doc! {
        // Only what has an id of ours, which comparing sees to: others are not listed.
        "_id": { "$gt": after },
        "supplied": { "$not": { "$type": "number" } },
        "stock": { "$type": "number" }, "sold_out": { "$type": "number" },
    };
    let listings = db.raw::<Document>(kind.collection());
    let found = listings.find(uncounted).sort(doc! { "_id": 1 }).limit(BATCH);
    let found = found.projection(doc! { "stock": 1, "sold_out": 1 });
    let mut found = found.session(&mut *session).await?;
    let found: Vec<Document> = found.stream(&mut *session).try_collect().await?;
    let ids: Vec<String> =
        found.iter().filter_map(|listing| listing.get("_id").and_then(lenient::as_text)).collect();
    let accounted = accounted(db, session, ids).await?;
    let counted = |listing: Document| {
        let id = listing.get_object_id("_id").map(Id::<Listing>::from_oid).unwrap_or_default();
        let number = |field| listing.get(field).and_then(lenient::as_int).unwrap_or_default();
        let sold = number("sold_out");
        let sold_earlier = sold - accounted.get(&id.hex()).copied().unwrap_or_default();
        Counted { id, supplied: number("stock") + sold, sold_earlier }
    };
    Ok(found.into_iter().map(counted).collect())
}

/// How many units of each listing orders have taken from the shelf and not brought back.
async fn accounted(
    db: &Db,
    session: &mut ClientSession,
    ids: Vec<String>,
) -> mongodb::error::Result<HashMap<String, i64>> {
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let pipeline = vec![
        doc! { "$match": { "stockState": "taken", "cart._id": { "$in": &ids } } },
        doc! { "$unwind": "$cart" },
        doc! { "$group": { "_id": { "$toString": "$cart._id" }, "count": { "$sum": kept() } } },
    ];
    let orders = db.raw::<Document>(Order::COLLECTION);
    let mut found = orders.aggregate(pipeline).session(&mut *session).await?;
    let mut accounted = HashMap::new();
    while let Some(listing) = found.next(&mut *session).await.transpose()? {
        let text = listing.get("_id").and_then(lenient::as_text).unwrap_or_default();
        accounted.insert(text, listing.get("count").and_then(lenient::as_int).unwrap_or_default());
    }
    Ok(accounted)
}
