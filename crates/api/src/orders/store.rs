use std::collections::HashSet;

use bson::{Bson, Document, doc};
use futures_util::TryStreamExt as _;
use mongodb::ClientSession;
use shared::{
    clock::Timestamp,
    db::Db,
    id::Id,
    lenient,
    model::{Kind, Listing, Order, Payment, PaymentInfo, RememberedAnswer, Shop, Status, Stored as _, User},
};

/// Whose orders a query may touch. It is part of every filter.
#[derive(Clone, Copy, Debug)]
pub(super) enum Owner {
    /// The shop that delivers.
    Shop(Id<Shop>),
    /// The buyer.
    Buyer(Id<User>),
    /// A call on a route where the client sends no credential, where the mode accepts that.
    Anyone,
}

impl Owner {
    fn filter(self) -> Document {
        match self {
            // The lines of some old orders do not name their shop; the migration has written it down.
            Self::Shop(shop) => doc! { "$or": [{ "shopId": shop.hex() }, { "cart.shopeId": shop.hex() }] },
            Self::Buyer(user) => doc! { "user._id": user.hex() },
            Self::Anyone => doc! {},
        }
    }

    pub(super) fn of_order(self, id: Id<Order>) -> Document {
        let mut filter = self.filter();
        filter.insert("_id", id);
        filter
    }
}

/// An owner's orders, newest first.
pub(super) async fn all_of(db: &Db, owner: Owner) -> mongodb::error::Result<Vec<Order>> {
    let newest_first = doc! { "createdAt": -1, "_id": -1 };
    db.of::<Order>().find(owner.filter()).sort(newest_first).await?.try_collect().await
}

/// One order, if it is the owner's.
pub(super) async fn one_of(db: &Db, owner: Owner, id: Id<Order>) -> mongodb::error::Result<Option<Order>> {
    db.of::<Order>().find_one(owner.of_order(id)).await
}

/// Whether there is such an order at all: decides between 403 and 404.
pub(super) async fn exists(db: &Db, id: Id<Order>) -> mongodb::error::Result<bool> {
    let orders = db.raw::<Document>(Order::COLLECTION);
    Ok(orders.find_one(doc! { "_id": id }).projection(doc! { "_id": 1 }).await?.is_some())
}

/// The orders that were placed before a moment, to be paid online, and are neither paid nor handed over.
pub(super) async fn unpaid_before(db: &Db, deadline: Timestamp) -> mongodb::error::Result<Vec<Id<Order>>> {
    let filter = doc! {
        "stockState": "reserved",
        "createdAt": { "$lt": deadline },
        "status": Status::Processing.text(),
        "paymentInfo.type": { "$ne": PaymentInfo::ON_DELIVERY },
        "paymentInfo.status": { "$ne": PaymentInfo::SUCCEEDED },
    };
    let orders = db.raw::<Document>(Order::COLLECTION);
    let found = orders.find(filter).projection(doc! { "_id": 1 }).sort(doc! { "createdAt": 1 }).await?;
    let id = |order: Document| order.get_object_id("_id").map(Id::from_oid).ok();
    found.try_filter_map(|order| std::future::ready(Ok(id(order)))).try_collect().await
}

/// Listings as a transaction sees them, of one kind.
pub(super) async fn listings(
    db: &Db,
    session: &mut ClientSession,
    kind: Kind,
    ids: &[Id<Listing>],
) -> mongodb::error::Result<Vec<Listing>> {
    let filter = doc! { "_id": { "$in": ids.iter().map(|id| id.oid()).collect::<Vec<_>>() } };
    let leave_out = doc! { "reviews": 0 };
    let mut cursor = db.listings(kind).find(filter).projection(leave_out).session(&mut *session).await?;
    cursor.stream(session).try_collect().await
}

/// Shops as a transaction sees them.
pub(super) async fn shops(
    db: &Db,
    session: &mut ClientSession,
    ids: &[Id<Shop>],
) -> mongodb::error::Result<Vec<Shop>> {
    let filter = doc! { "_id": { "$in": ids.iter().map(|id| id.oid()).collect::<Vec<_>>() } };
    let leave_out = doc! { "transections": 0, "password": 0 };
    let mut cursor = db.of::<Shop>().find(filter).projection(leave_out).session(&mut *session).await?;
    cursor.stream(session).try_collect().await
}

/// Buyers as a transaction sees them.
pub(super) async fn buyers(
    db: &Db,
    session: &mut ClientSession,
    ids: &[Id<User>],
) -> mongodb::error::Result<Vec<User>> {
    let filter = doc! { "_id": { "$in": ids.to_vec() } };
    let fields = doc! { "name": 1, "phoneNumber": 1 };
    let mut cursor = db.of::<User>().find(filter).projection(fields).session(&mut *session).await?;
    cursor.stream(session).try_collect().await
}

/// Answers that were given before.
pub(super) async fn answers(
    db: &Db,
    session: &mut ClientSession,
    ids: &[&str],
) -> mongodb::error::Result<Vec<RememberedAnswer>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let filter = doc! { "_id": { "$in": ids } };
    let mut cursor = db.of::<RememberedAnswer>().find(filter).session(&mut *session).await?;
    cursor.stream(session).try_collect().await
}

/// Which of these payments have been used.
pub(super) async fn used_payments(
    db: &Db,
    session: &mut ClientSession,
    ids: &[&str],
) -> mongodb::error::Result<HashSet<String>> {
    if ids.is_empty() {
        return Ok(HashSet::new());
    }
    let filter = doc! { "_id": { "$in": ids } };
    let mut cursor = db.of::<Payment>().find(filter).session(&mut *session).await?;
    cursor.stream(session).map_ok(|payment| payment.id).try_collect().await
}

/// Keeps answers, in place of older ones of the same name.
pub(super) async fn remember(
    db: &Db,
    session: &mut ClientSession,
    answers: &[RememberedAnswer],
) -> anyhow::Result<()> {
    let mut updates = Vec::with_capacity(answers.len());
    for answer in answers {
        let whole = bson::serialize_to_document(answer)?;
        updates.push(doc! { "q": { "_id": &answer.id }, "u": whole, "upsert": true });
    }
    update_all(db, session, RememberedAnswer::COLLECTION, updates).await?;
    Ok(())
}

/// Reserves units of several listings; false if one of them has not so many left.
pub(super) async fn reserve(
    db: &Db,
    session: &mut ClientSession,
    kind: Kind,
    counts: &[(Id<Listing>, i64)],
) -> mongodb::error::Result<bool> {
    let left = doc! { "$subtract": [number("$stock"), number("$reserved")] };
    let updates = counts
        .iter()
        .map(|(id, count)| {
            let count = Bson::Int64(*count);
            doc! {
                "q": { "_id": *id, "$expr": { "$gte": [left.clone(), count.clone()] } },
                "u": { "$inc": { "reserved": count } },
            }
        })
        .collect();
    let matched = update_all(db, session, kind.collection(), updates).await?;
    Ok(usize::try_from(matched) == Ok(counts.len()))
}

/// A field as a whole number, as an aggregation expression: the old server writes text into some.
pub(super) fn number(field: &str) -> Document {
    // By way of a double, since `10.0` as text is no long.
    let double = doc! { "$convert": { "input": field, "to": "double", "onError": 0.0, "onNull": 0.0 } };
    let whole = doc! { "$trunc": double };
    doc! { "$convert": { "input": whole, "to": "long", "onError": Bson::Int64(0), "onNull": Bson::Int64(0) } }
}

/// Several updates in one round trip, which the driver has only for newer servers. Gives how many
/// documents they matched.
async fn update_all(
    db: &Db,
    session: &mut ClientSession,
    collection: &str,
    updates: Vec<Document>,
) -> mongodb::error::Result<i64> {
    let command = doc! { "update": collection, "updates": updates, "ordered": true };
    let reply = db.database().run_command(command).session(session).await?;
    if let Ok(errors) = reply.get_array("writeErrors") {
        return Err(mongodb::error::Error::custom(format!("{collection} cannot be updated: {errors:?}")));
    }
    Ok(reply.get("n").and_then(lenient::as_int).unwrap_or_default())
}
