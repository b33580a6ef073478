//! The collections `products` and `events`. Every function is told which.

use bson::{Document, doc};
use futures_util::TryStreamExt as _;
use mongodb::ClientSession;
use shared::{
    db::Db,
    id::Id,
    model::{Kind, Listing, Shop},
    touched::Touched,
};

use crate::idempotency::{self, Answer, Given, Memory};

type Result<T> = mongodb::error::Result<T>;

/// What answers are made of. Old documents hold whole accounts, bank details included, in the copies
/// of shops and reviewers; those stay in the database.
pub(crate) fn shown() -> Document {
    doc! {
        "name": 1, "description": 1, "category": 1, "tags": 1, "originalPrice": 1, "discountPrice": 1,
        "stock": 1, "reserved": 1, "images": 1, "shopeId": 1, "rating": 1, "sold_out": 1, "start_date": 1,
        "end_date": 1, "createdAt": 1, "__v": 1, "hidden": 1, "reviews.hidden": 1, "shop._id": 1, "shop.name": 1, "shop.avatar": 1,
        "reviews._id": 1, "reviews.rating": 1, "reviews.comment": 1, "reviews.createdAt": 1,
        "reviews.user.name": 1, "reviews.user.avatar": 1,
    }
}

/// One listing.
pub(crate) async fn find(db: &Db, kind: Kind, id: Id<Listing>) -> Result<Option<Listing>> {
    db.listings(kind).find_one(doc! { "_id": id }).projection(shown()).await
}

/// Every listing of every shop, in the order in which they were made.
pub(crate) async fn all(db: &Db, kind: Kind) -> Result<Vec<Listing>> {
    list(db, kind, doc! { "_id": { "$type": "objectId" } }).await
}

/// Several listings, in any order.
pub(super) async fn these(db: &Db, kind: Kind, ids: &[Id<Listing>]) -> Result<Vec<Listing>> {
    list(db, kind, doc! { "_id": { "$in": ids.to_vec() } }).await
}

/// Every listing of one shop.
pub(crate) async fn of_shop(db: &Db, kind: Kind, shop: Id<Shop>) -> Result<Vec<Listing>> {
    list(db, kind, doc! { "shopeId": shop.hex() }).await
}

async fn list(db: &Db, kind: Kind, filter: Document) -> Result<Vec<Listing>> {
    db.listings(kind).find(filter).sort(doc! { "_id": 1 }).projection(shown()).await?.try_collect().await
}

/// Puts a new one up, with the answer that says so.
pub(super) async fn insert(
    db: &Db,
    kind: Kind,
    memory: Option<Memory>,
    listing: Listing,
    answer: Answer,
) -> crate::error::Result<Given> {
    let id = listing.id;
    let inserted = idempotency::insert(db, db.listings(kind), memory, listing, answer).await;
    db.touched(Touched::Listing(kind, id));
    inserted
}

/// One of a shop's listings, as a transaction sees it.
pub(super) async fn find_of_shop_in(
    session: &mut ClientSession,
    db: &Db,
    kind: Kind,
    id: Id<Listing>,
    shop: Id<Shop>,
) -> Result<Option<Listing>> {
    let filter = doc! { "_id": id, "shopeId": shop.hex() };
    let mut fields = shown();
    // A change of the stock changes it too.
    fields.insert("supplied", 1);
    db.listings(kind).find_one(filter).projection(fields).session(session).await
}

/// Writes what a seller may change, in the transaction that has read the listing: another change in
/// between makes the transaction start again. The reservation is checked once more all the same.
pub(super) async fn update_in(
    session: &mut ClientSession,
    db: &Db,
    kind: Kind,
    before: &Listing,
    after: &Listing,
    low_stock: i64,
) -> Result<bool> {
    let mut set = Document::new();
    let mut unset = Document::new();
    for (field, old, new) in [
        ("name", &before.name, &after.name),
        ("description", &before.description, &after.description),
        ("category", &before.category, &after.category),
        ("tags", &before.tags, &after.tags),
    ] {
        if old != new {
            set.insert(field, new);
        }
    }
    if before.price != after.price {
        set.insert("discountPrice", after.price.to_bson());
    }
    match after.original_price {
        same if before.original_price == same => {}
        Some(price) => _ = set.insert("originalPrice", price.to_bson()),
        None => _ = unset.insert("originalPrice", ""),
    }
    if before.images != after.images {
        set.insert("images", bson::serialize_to_bson(&after.images)?);
    }
    if before.starts_at != after.starts_at {
        set.insert("start_date", after.starts_at);
    }
    if before.ends_at != after.ends_at {
        set.insert("end_date", after.ends_at);
    }
    let mut filter = doc! { "_id": before.id, "shopeId": before.shop_id.hex() };
    if before.stock != after.stock {
        set.insert("stock", after.stock);
        // The transaction has read the stock that this is the difference to.
        if let Some(supplied) = before.supplied {
            set.insert("supplied", supplied + after.stock - before.stock);
        }
        if after.available() > low_stock {
            // Whoever fills it up wants to be told again when little is left.
            unset.insert("lowTold", "");
        }
        filter.insert("reserved", doc! { "$not": { "$gt": after.stock } });
    }
    if set.is_empty() && unset.is_empty() {
        return Ok(true);
    }
    let mut update = Document::new();
    if !set.is_empty() {
        update.insert("$set", set);
    }
    if !unset.is_empty() {
        update.insert("$unset", unset);
    }
    let result = db.listings(kind).update_one(filter, update).session(session).await?;
    db.touched(Touched::Listing(kind, before.id));
    Ok(result.matched_count == 1)
}

/// Takes one of a shop's listings off the market, unless open orders hold units of it. Gives back
/// its pictures.
pub(super) async fn delete_in(
    session: &mut ClientSession,
    db: &Db,
    kind: Kind,
    id: Id<Listing>,
    shop: Id<Shop>,
) -> Result<Option<Listing>> {
    let filter = doc! { "_id": id, "shopeId": shop.hex(), "reserved": { "$not": { "$gt": 0 } } };
    let listings = db.listings(kind);
    let delete = listings.find_one_and_delete(filter).projection(doc! { "images": 1 });
    let deleted = delete.session(session).await?;
    db.touched(Touched::Listing(kind, id));
    Ok(deleted)
}
