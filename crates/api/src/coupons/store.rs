use bson::{Document, doc};
use futures_util::TryStreamExt as _;
use mongodb::error::Result;
use shared::{
    db::Db,
    id::Id,
    model::{Coupon, Listing, Shop, Stored as _},
};

use crate::idempotency::{self, Answer, Given, Memory};

/// Writes a coupon down, with the answer that says so.
pub(super) async fn insert(
    db: &Db,
    memory: Option<Memory>,
    coupon: Coupon,
    answer: Answer,
) -> crate::error::Result<Given> {
    idempotency::insert(db, db.of::<Coupon>(), memory, coupon, answer).await
}

/// A shop's coupons, newest first.
pub(super) async fn of_shop(db: &Db, shop: Id<Shop>) -> Result<Vec<Coupon>> {
    db.of::<Coupon>()
        .find(doc! { "seller._id": shop.hex() })
        .sort(doc! { "_id": -1 })
        .await?
        .try_collect()
        .await
}

/// Deletes a coupon of that shop; false if the shop has no such coupon.
pub(super) async fn delete(db: &Db, shop: Id<Shop>, id: Id<Coupon>) -> Result<bool> {
    let filter = doc! { "_id": id, "seller._id": shop.hex() };
    Ok(db.of::<Coupon>().delete_one(filter).await?.deleted_count == 1)
}

/// The index holds names that are text only, and the server uses it only where the query says so too.
fn named(mut name: Document) -> Document {
    name.insert("$type", "string");
    doc! { "name": name }
}

/// The coupon of that name. Old data may have several: the oldest is the one that counts.
pub(super) async fn by_name(db: &Db, name: &str) -> Result<Option<Coupon>> {
    db.of::<Coupon>().find_one(named(doc! { "$eq": name })).sort(doc! { "_id": 1 }).await
}

/// Whether the shop sells a product or an event of that name.
pub(super) async fn shop_sells(db: &Db, shop: Id<Shop>, name: &str) -> Result<bool> {
    let filter = doc! { "shopeId": shop.hex(), "name": name };
    for collection in [Listing::COLLECTION, "events"] {
        let listings = db.raw::<Document>(collection);
        if listings.find_one(filter.clone()).projection(doc! { "_id": 1 }).await?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The coupons that could apply to some carts: all of the carts' shops, and those that were named.
pub(crate) async fn candidates(db: &Db, shops: &[Id<Shop>], names: &[&str]) -> Result<Vec<Coupon>> {
    let shops: Vec<String> = shops.iter().map(|shop| shop.hex()).collect();
    let filter = match (shops.is_empty(), names.is_empty()) {
        (true, true) => return Ok(Vec::new()),
        (_, true) => doc! { "seller._id": { "$in": shops } },
        (_, false) => {
            doc! { "$or": [{ "seller._id": { "$in": shops } }, named(doc! { "$in": names })] }
        }
    };
    db.of::<Coupon>().find(filter).await?.try_collect().await
}
