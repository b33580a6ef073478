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

/// How many listings are counted in one transaction.
const BATCH: i64 = 500;

/// Writes down how many units each listing has had in all, and how many of those sold no order
/// accounts for; from then on a unit that gets lost shows.
pub(super) async fn count(db: &Db, report: &mut Report) -> anyhow::Result<()> {
    for kind in [Kind::Product, Kind::Event] {
        loop {
            let counted = db
                .transaction(|session| {
                    let db = db.clone();
                    Box::pin(async move { count_some(&db, session, kind).await })
                })
                .await?;
            report.changed += counted;
            if counted == 0 {
                break;
            }
        }
    }
    Ok(())
}

/// One batch, as of one moment: an order that is handed over meanwhile makes it start again.
async fn count_some(db: &Db, session: &mut ClientSession, kind: Kind) -> anyhow::Result<u64> {
    let listings = db.raw::<Document>(kind.collection());
    // Where a foreign hand has left text, the steps before this one mend it at the next start.
    let uncounted = doc! {
        "supplied": { "$not": { "$type": "number" } },
        "stock": { "$type": "number" }, "sold_out": { "$type": "number" },
    };
    let found = listings.find(uncounted).projection(doc! { "stock": 1, "sold_out": 1 }).limit(BATCH);
    let mut found = found.session(&mut *session).await?;
    let found: Vec<Document> = found.stream(&mut *session).try_collect().await?;
    let ids: Vec<String> =
        found.iter().filter_map(|listing| listing.get("_id").and_then(lenient::as_text)).collect();
    let accounted = accounted(db, session, ids).await?;
    for listing in &found {
        let id = listing.get_object_id("_id").map(Id::<Listing>::from_oid).unwrap_or_default();
        let number = |field| listing.get(field).and_then(lenient::as_int).unwrap_or_default();
        let (stock, sold) = (number("stock"), number("sold_out"));
        let earlier = sold - accounted.get(&id.hex()).copied().unwrap_or_default();
        let set = doc! { "supplied": Bson::Int64(stock + sold), "soldEarlier": Bson::Int64(earlier) };
        let this = doc! { "_id": listing.get("_id") };
        listings.update_one(this, doc! { "$set": set }).session(&mut *session).await?;
    }
    Ok(u64::try_from(found.len())?)
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
