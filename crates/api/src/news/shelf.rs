//! Whether a sale has left little of something, or nothing.
//!
//! A listing keeps what its shop was last told (`lowTold`), so that each sale of the last few is not told again.
//! That ends when the shop fills it up beyond the limit, or when it is found to be beyond it.

use std::collections::BTreeMap;

use bson::{Bson, Document, doc};
use futures_util::TryStreamExt as _;
use mongodb::ClientSession;
use shared::{
    db::Db,
    id::Id,
    lenient,
    model::{Kind, Listing, News, Order},
};

/// What a shop was last told of a listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Told {
    Nothing,
    Low,
    Out,
}

impl Told {
    fn read(listing: &Document) -> Self {
        match listing.get_str("lowTold") {
            Ok("low") => Self::Low,
            Ok("out") => Self::Out,
            _ => Self::Nothing,
        }
    }

    /// What there is to tell of so many that are left.
    const fn of(left: i64, limit: i64) -> Self {
        match left {
            ..=0 => Self::Out,
            _ if left <= limit => Self::Low,
            _ => Self::Nothing,
        }
    }
}

/// Notes for every listing of these orders how much is left of it, and gives what is news of that.
pub(super) async fn after_sale(
    db: &Db,
    session: &mut ClientSession,
    orders: &[Id<Order>],
    limit: i64,
) -> mongodb::error::Result<Vec<News>> {
    let mut sold: BTreeMap<Kind, Vec<Id<Listing>>> = BTreeMap::new();
    let mut found = db.of::<Order>().find(doc! { "_id": { "$in": orders } }).session(&mut *session).await?;
    let orders: Vec<Order> = found.stream(&mut *session).try_collect().await?;
    for line in orders.iter().flat_map(|order| &order.cart) {
        sold.entry(line.kind.unwrap_or(Kind::Product)).or_default().push(line.id);
    }
    let mut news = Vec::new();
    for (kind, ids) in sold {
        let listings = db.raw::<Document>(kind.collection());
        let fields = doc! { "stock": 1, "reserved": 1, "lowTold": 1 };
        let found = listings.find(doc! { "_id": { "$in": ids } }).projection(fields);
        let mut found = found.session(&mut *session).await?;
        let listings_sold: Vec<Document> = found.stream(&mut *session).try_collect().await?;
        for listing in listings_sold {
            let Ok(id) = listing.get_object_id("_id") else { continue };
            let number = |field| listing.get(field).and_then(lenient::as_int).unwrap_or_default();
            let left = number("stock") - number("reserved");
            let (before, now) = (Told::read(&listing), Told::of(left, limit));
            let update = match now {
                Told::Nothing if before != Told::Nothing => doc! { "$unset": { "lowTold": "" } },
                Told::Low if before < Told::Low => doc! { "$set": { "lowTold": "low" } },
                Told::Out if before < Told::Out => doc! { "$set": { "lowTold": "out" } },
                _ => continue,
            };
            // The transaction's snapshot makes this conditional on the listing as it was read.
            listings.update_one(doc! { "_id": Bson::from(id) }, update).session(&mut *session).await?;
            let listing = Id::from_oid(id);
            match now {
                Told::Nothing => {}
                Told::Low => news.push(News::StockLow { kind, listing, left }),
                Told::Out => news.push(News::SoldOut { kind, listing }),
            }
        }
    }
    Ok(news)
}
