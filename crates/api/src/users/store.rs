//! Every query about shoppers that is not shared with shops.

use bson::{Document, doc};
use mongodb::options::ReturnDocument;
use shared::{
    db::Db,
    id::Id,
    model::{Address, User},
};

use super::rules::MOST_ADDRESSES;

/// One shopper.
pub(crate) async fn find(db: &Db, id: Id<User>) -> mongodb::error::Result<Option<User>> {
    db.of::<User>().find_one(doc! { "_id": id }).await
}

/// What anybody may know of a shopper: name and picture.
pub(crate) async fn public(db: &Db, id: Id<User>) -> mongodb::error::Result<Option<User>> {
    db.of::<User>().find_one(doc! { "_id": id }).projection(doc! { "name": 1, "avatar": 1 }).await
}

/// Changes what is given; the shopper as it is then.
pub(crate) async fn update(
    db: &Db,
    id: Id<User>,
    name: Option<&str>,
    phone_number: Option<i64>,
) -> mongodb::error::Result<Option<User>> {
    let mut set = Document::new();
    if let Some(name) = name {
        set.insert("name", name);
    }
    if let Some(phone_number) = phone_number {
        set.insert("phoneNumber", phone_number);
    }
    if set.is_empty() {
        return find(db, id).await;
    }
    db.of::<User>()
        .find_one_and_update(doc! { "_id": id }, doc! { "$set": set })
        .return_document(ReturnDocument::After)
        .await
}

/// Adds an address, unless there is one of its type or there is no room. One conditional update: of
/// two at the same time one finds the other.
pub(crate) async fn add_address(
    db: &Db,
    id: Id<User>,
    address: &Address,
) -> mongodb::error::Result<Option<User>> {
    let mut filter = doc! { "_id": id, "addresses.addressType": { "$ne": &address.kind } };
    filter.insert(format!("addresses.{}", MOST_ADDRESSES - 1), doc! { "$exists": false });
    let mut new = doc! {
        "_id": address.id,
        "country": &address.country,
        "city": &address.city,
        "address1": &address.address1,
        "address2": &address.address2,
        "addressType": &address.kind,
    };
    if let Some(zip_code) = address.zip_code {
        new.insert("zipCode", zip_code);
    }
    // A legacy list may be missing or `null`. `$literal`, because a `$` in somebody's words must
    // stay a `$`.
    let known = doc! { "$cond": [{ "$isArray": "$addresses" }, "$addresses", []] };
    let longer = doc! { "$concatArrays": [known, { "$literal": [new] }] };
    db.of::<User>()
        .find_one_and_update(filter, vec![doc! { "$set": { "addresses": longer } }])
        .return_document(ReturnDocument::After)
        .await
}

/// Removes one of a shopper's addresses; the shopper as it is then. No such address is fine.
pub(crate) async fn delete_address(
    db: &Db,
    id: Id<User>,
    address: Id<Address>,
) -> mongodb::error::Result<Option<User>> {
    let is_it = doc! { "$in": [address.oid(), address.hex()] };
    // Named in the filter too: `$pull` fails where the list is `null`.
    let filter = doc! { "_id": id, "addresses._id": is_it.clone() };
    let removed = db
        .of::<User>()
        .find_one_and_update(filter, doc! { "$pull": { "addresses": { "_id": is_it } } })
        .return_document(ReturnDocument::After)
        .await?;
    match removed {
        Some(user) => Ok(Some(user)),
        None => find(db, id).await,
    }
}
