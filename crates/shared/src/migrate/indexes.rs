use bson::{Document, doc};
use mongodb::{
    IndexModel,
    options::{Collation, CollationStrength, IndexOptions},
};

use super::Report;
use crate::db::Db;

/// The collation under which e-mail addresses are compared: without regard to case.
pub fn email_collation() -> Collation {
    Collation::builder().locale("en").strength(CollationStrength::Secondary).build()
}

fn plain(name: &str, keys: Document) -> IndexModel {
    IndexModel::builder().keys(keys).options(IndexOptions::builder().name(name.to_owned()).build()).build()
}

fn partial(name: &str, keys: Document, filter: Document) -> IndexModel {
    let options = IndexOptions::builder().name(name.to_owned()).partial_filter_expression(filter).build();
    IndexModel::builder().keys(keys).options(options).build()
}

fn unique(name: &str, keys: Document, partial: Document) -> IndexModel {
    let options =
        IndexOptions::builder().name(name.to_owned()).unique(true).partial_filter_expression(partial).build();
    IndexModel::builder().keys(keys).options(options).build()
}

fn unique_email(name: &str) -> IndexModel {
    let options = IndexOptions::builder()
        .name(name.to_owned())
        .unique(true)
        .collation(email_collation())
        .partial_filter_expression(doc! { "email": { "$type": "string" } })
        .build();
    IndexModel::builder().keys(doc! { "email": 1 }).options(options).build()
}

fn ttl(name: &str, field: &str) -> IndexModel {
    let options =
        IndexOptions::builder().name(name.to_owned()).expire_after(std::time::Duration::ZERO).build();
    IndexModel::builder().keys(doc! { field: 1 }).options(options).build()
}

/// Every index, by collection.
fn all() -> Vec<(&'static str, Vec<IndexModel>)> {
    vec![
        (
            "users",
            vec![
                unique_email("users_email"),
                plain("users_reset", doc! { "resetPasswordToken": 1 }),
                plain("users_activation", doc! { "activationDigest": 1 }),
            ],
        ),
        (
            "shops",
            vec![
                unique_email("shops_email"),
                plain("shops_reset", doc! { "resetPasswordToken": 1 }),
                plain("shops_activation", doc! { "activationDigest": 1 }),
            ],
        ),
        ("products", vec![plain("products_shop", doc! { "shopeId": 1, "createdAt": -1 })]),
        ("events", vec![plain("events_shop", doc! { "shopeId": 1, "createdAt": -1 })]),
        (
            "orders",
            vec![
                plain("orders_buyer", doc! { "user._id": 1, "createdAt": -1 }),
                plain("orders_shop", doc! { "cart.shopeId": 1, "createdAt": -1 }),
                plain("orders_checkout", doc! { "checkoutId": 1 }),
            ],
        ),
        (
            "couponcodes",
            vec![
                unique("couponcodes_name", doc! { "name": 1 }, doc! { "name": { "$type": "string" } }),
                plain("couponcodes_seller", doc! { "seller._id": 1 }),
            ],
        ),
        (
            "conversations",
            vec![
                unique(
                    "conversations_title",
                    doc! { "groupTitle": 1 },
                    doc! { "groupTitle": { "$type": "string" } },
                ),
                plain("conversations_members", doc! { "members": 1, "updatedAt": -1 }),
            ],
        ),
        (
            "messages",
            vec![
                plain("messages_conversation", doc! { "conversationId": 1, "createdAt": 1 }),
                partial(
                    "messages_unclaimed",
                    doc! { "pairing": 1, "createdAt": 1 },
                    doc! { "pairing": { "$type": "string" } },
                ),
            ],
        ),
        ("withdraws", vec![plain("withdraws_seller", doc! { "seller._id": 1, "createdAt": -1 })]),
        ("pendingregistrations", vec![ttl("pendingregistrations_ttl", "expiresAt")]),
        ("idempotencykeys", vec![ttl("idempotencykeys_ttl", "expiresAt")]),
        ("outbox", vec![plain("outbox_due", doc! { "dead": 1, "dueAt": 1 })]),
        ("ledger", vec![plain("ledger_account", doc! { "lines.account": 1, "at": 1 })]),
    ]
}

/// Creates what is missing. An index that the data does not allow is reported and left out.
pub(super) async fn create(db: &Db, report: &mut Report) -> anyhow::Result<()> {
    for (collection, indexes) in all() {
        let collection = db.raw::<Document>(collection);
        for index in indexes {
            let name = index.options.as_ref().and_then(|o| o.name.clone()).unwrap_or_default();
            if let Err(error) = collection.create_index(index).await {
                match mongodb_code(&error) {
                    // DuplicateKey: the data has what the index forbids.
                    Some(11000) => report.warnings.push(format!(
                        "index {name} on {} was left out, existing documents break it: {error}",
                        collection.name()
                    )),
                    _ => return Err(error.into()),
                }
            }
        }
    }
    Ok(())
}

fn mongodb_code(error: &mongodb::error::Error) -> Option<i32> {
    match &*error.kind {
        mongodb::error::ErrorKind::Command(e) => Some(e.code),
        _ => None,
    }
}
