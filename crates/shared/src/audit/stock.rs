//! Units: on the shelf, reserved, sold.

use std::collections::HashMap;

use bson::{Document, doc};
use mongodb::{ClientSession, error::Result};

use super::{Audit, text};
use crate::{
    db::Db,
    lenient,
    model::{Kind, Order, StockState, Stored as _},
};

/// Of each listing as many units are reserved as its open orders hold, as many are sold as orders have
/// taken and not brought back, and what is on the shelf and what is sold is what was supplied.
pub(super) async fn agree(db: &Db, session: &mut ClientSession, kind: Kind, audit: &mut Audit) -> Result<()> {
    let mut held = in_orders(db, session, kind, StockState::Reserved).await?;
    let taken = in_orders(db, session, kind, StockState::Taken).await?;
    let fields =
        doc! { "name": 1, "stock": 1, "reserved": 1, "sold_out": 1, "supplied": 1, "soldEarlier": 1 };
    let listings = db.raw::<Document>(kind.collection());
    let mut found = listings.find(doc! {}).projection(fields).session(&mut *session).await?;
    while let Some(listing) = found.next(&mut *session).await.transpose()? {
        let id = text(listing.get("_id"));
        let number = |field| listing.get(field).and_then(lenient::as_int).unwrap_or_default();
        let (stock, reserved, sold) = (number("stock"), number("reserved"), number("sold_out"));
        let held = held.remove(&id).unwrap_or_default();
        audit.listings += 1;
        audit.on_shelves += stock;
        audit.reserved += reserved;
        audit.sold += sold;
        let mut wrong = Vec::new();
        if reserved != held {
            wrong.push(format!("has {reserved} reserved, but open orders hold {held}"));
        }
        if stock < reserved {
            wrong.push(format!("has {stock} in stock, of which {reserved} are reserved"));
        }
        // Before its migration a document does not say.
        if let Some(supplied) = listing.get("supplied").and_then(lenient::as_int) {
            if stock + sold != supplied {
                wrong.push(format!(
                    "was supplied with {supplied}, but {stock} are in stock and {sold} are sold"
                ));
            }
            let earlier = number("soldEarlier");
            let taken = taken.get(&id).copied().unwrap_or_default();
            if sold != earlier + taken {
                wrong.push(format!(
                    "has {sold} sold, but orders have {taken}, and {earlier} were sold before that was counted"
                ));
            }
        }
        for wrong in wrong {
            audit.differs(format!("the {} `{}` ({id}) {wrong}", kind.word(), text(listing.get("name"))));
        }
    }
    let mut unreserved: Vec<String> = held
        .into_iter()
        .map(|(id, held)| format!("open orders hold {held} of the {} {id}, which is not there", kind.word()))
        .collect();
    unreserved.sort();
    audit.differences.append(&mut unreserved);
    Ok(())
}

/// How many units of each listing are in orders whose units are in some state, by the listing's id.
/// What was refunded is in none.
async fn in_orders(
    db: &Db,
    session: &mut ClientSession,
    kind: Kind,
    state: StockState,
) -> Result<HashMap<String, i64>> {
    let of_kind = match kind {
        Kind::Product => doc! { "cart.kind": { "$ne": "event" } },
        Kind::Event => doc! { "cart.kind": "event" },
    };
    let pipeline = vec![
        doc! { "$match": { "stockState": bson::serialize_to_bson(&state)? } },
        doc! { "$unwind": "$cart" },
        doc! { "$match": of_kind },
        doc! { "$group": { "_id": { "$toString": "$cart._id" }, "count": { "$sum": kept() } } },
    ];
    let orders = db.raw::<Document>(Order::COLLECTION);
    let mut found = orders.aggregate(pipeline).allow_disk_use(true).session(&mut *session).await?;
    let mut units = HashMap::new();
    while let Some(listing) = found.next(&mut *session).await.transpose()? {
        let count = listing.get("count").and_then(lenient::as_int).unwrap_or_default();
        units.insert(text(listing.get("_id")), count);
    }
    Ok(units)
}

/// How many units of an unwound line the buyer keeps, as an aggregation expression. Browsers of the old
/// server left text in the count, or none, or no sense, which means one: so [`CartLine::count`] is read.
///
/// [`CartLine::count`]: crate::model::CartLine::count
pub(crate) fn kept() -> Document {
    let is_sense = doc! { "$and": [{ "$gte": ["$$count", 1.0] }, { "$lt": ["$$count", WHOLE] }] };
    let count = doc! { "$let": {
        "vars": { "count": lenient::number_in("$cart.count") },
        "in": { "$cond": [is_sense, { "$trunc": "$$count" }, 1.0] },
    } };
    doc! { "$subtract": [count, { "$ifNull": ["$cart.refunded", 0] }] }
}

/// Above this a double skips whole numbers.
const WHOLE: f64 = 9_007_199_254_740_992.0;
