//! Every query about shops that is not shared with shoppers.

use std::collections::HashMap;

use bson::{Bson, Document, doc};
use futures_util::TryStreamExt as _;
use mongodb::options::ReturnDocument;
use shared::{
    db::Db,
    id::Id,
    model::{Shop, WithdrawMethod},
};

/// One shop, with all that is private.
pub(crate) async fn find(db: &Db, id: Id<Shop>) -> mongodb::error::Result<Option<Shop>> {
    db.of::<Shop>().find_one(doc! { "_id": id }).await
}

/// What is public of a shop. Nothing else is even read.
fn public() -> Document {
    doc! { "name": 1, "avatar": 1, "description": 1, "address": 1, "phoneNumber": 1, "createdAt": 1 }
}

/// What anybody may know of a shop.
pub(crate) async fn find_public(db: &Db, id: Id<Shop>) -> mongodb::error::Result<Option<Shop>> {
    db.of::<Shop>().find_one(doc! { "_id": id }).projection(public()).await
}

/// The same of several shops: what listings show of theirs. Those that are gone are not in it.
pub(crate) async fn public_by_ids(
    db: &Db,
    ids: &[Id<Shop>],
) -> mongodb::error::Result<HashMap<Id<Shop>, Shop>> {
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let ids: Vec<Bson> = ids.iter().map(|id| Bson::from(*id)).collect();
    let shops = db.of::<Shop>().find(doc! { "_id": { "$in": ids } }).projection(public()).await?;
    shops.map_ok(|shop| (shop.id, shop)).try_collect().await
}

/// Details of a shop that its owner changes; nothing means unchanged.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    pub(crate) name: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) address: Option<String>,
    pub(crate) zip_code: Option<i64>,
    pub(crate) phone_number: Option<i64>,
}

/// Changes what is given; the shop as it is then.
pub(crate) async fn update(db: &Db, id: Id<Shop>, changes: &Changes) -> mongodb::error::Result<Option<Shop>> {
    let mut set = Document::new();
    let texts =
        [("name", &changes.name), ("description", &changes.description), ("address", &changes.address)];
    for (field, value) in texts {
        if let Some(value) = value {
            set.insert(field, value);
        }
    }
    for (field, value) in [("zipCode", changes.zip_code), ("phoneNumber", changes.phone_number)] {
        if let Some(value) = value {
            set.insert(field, value);
        }
    }
    if set.is_empty() { find(db, id).await } else { set_fields(db, id, set).await }
}

/// Says where withdrawals go, or (nothing) forgets it: `null`, as the old server leaves it.
pub(crate) async fn set_withdraw_method(
    db: &Db,
    id: Id<Shop>,
    method: Option<&WithdrawMethod>,
) -> mongodb::error::Result<Option<Shop>> {
    let method = match method {
        Some(method) => bson::serialize_to_bson(method)?,
        None => Bson::Null,
    };
    set_fields(db, id, doc! { "withdrawMethod": method }).await
}

async fn set_fields(db: &Db, id: Id<Shop>, fields: Document) -> mongodb::error::Result<Option<Shop>> {
    db.of::<Shop>()
        .find_one_and_update(doc! { "_id": id }, doc! { "$set": fields })
        .return_document(ReturnDocument::After)
        .await
}
