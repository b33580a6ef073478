use bson::{Bson, Document, doc};
use futures_util::TryStreamExt as _;
use mongodb::{
    Collection, IndexModel,
    action::Action as _,
    error::{Error, ErrorKind},
    options::{Collation, CollationStrength, IndexOptions},
};

use super::Report;
use crate::{db::Db, lenient};

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

/// For lists in the order of names, as people read them.
fn by_name(name: &str) -> IndexModel {
    let options = IndexOptions::builder().name(name.to_owned()).collation(email_collation()).build();
    IndexModel::builder().keys(doc! { "name": 1, "_id": 1 }).options(options).build()
}

/// Few: what an administrator has hidden.
fn hidden(name: &str) -> IndexModel {
    partial(name, doc! { "hidden.at": 1 }, doc! { "hidden": { "$exists": true } })
}

fn ttl(name: &str, field: &str) -> IndexModel {
    let options =
        IndexOptions::builder().name(name.to_owned()).expire_after(std::time::Duration::ZERO).build();
    IndexModel::builder().keys(doc! { field: 1 }).options(options).build()
}

/// True of every document, and no query says it by chance: an index for these alone is used by those who say it, and by
/// nobody else.
pub fn everybodys() -> Document {
    doc! { "_id": { "$exists": true } }
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
                by_name("users_name"),
            ],
        ),
        (
            "shops",
            vec![
                unique_email("shops_email"),
                plain("shops_reset", doc! { "resetPasswordToken": 1 }),
                plain("shops_activation", doc! { "activationDigest": 1 }),
                by_name("shops_name"),
                plain("shops_balance", doc! { "balanceMinor": -1, "_id": -1 }),
            ],
        ),
        (
            "products",
            vec![
                plain("products_shop", doc! { "shopeId": 1, "createdAt": -1 }),
                by_name("products_name"),
                hidden("products_hidden"),
                plain("products_reviews", doc! { "reviews._id": 1 }),
            ],
        ),
        (
            "events",
            vec![
                plain("events_shop", doc! { "shopeId": 1, "createdAt": -1 }),
                by_name("events_name"),
                hidden("events_hidden"),
            ],
        ),
        (
            "orders",
            vec![
                plain("orders_buyer_latest", doc! { "user._id": 1, "createdAt": -1, "_id": -1 }),
                plain("orders_lines_latest", doc! { "cart.shopeId": 1, "createdAt": -1, "_id": -1 }),
                plain("orders_shop_latest", doc! { "shopId": 1, "createdAt": -1, "_id": -1 }),
                plain("orders_checkout", doc! { "checkoutId": 1 }),
                // Everybody's.
                partial("orders_all_latest", doc! { "createdAt": -1, "_id": -1 }, everybodys()),
                plain("orders_status_latest", doc! { "status": 1, "createdAt": -1, "_id": -1 }),
                plain("orders_total", doc! { "totalPrice": -1, "_id": -1 }),
                // All that is counted of orders by day and by shop.
                plain("orders_figures", doc! { "createdAt": 1, "status": 1, "shopId": 1, "totalPrice": 1 }),
                partial(
                    "orders_refunded",
                    doc! { "refunds.decidedAt": 1 },
                    doc! { "refunds.decidedAt": { "$exists": true } },
                ),
                // Whose orders a PayPal payer's are.
                plain("orders_payer", doc! { "paymentInfo.id": 1 }),
                // Few: what is open. For those who look for what waits too long, and count it.
                partial(
                    "orders_reserved",
                    doc! { "stockState": 1, "createdAt": 1 },
                    doc! { "stockState": "reserved" },
                ),
                // Likewise: PayPal payers' claims that nobody has verified.
                partial(
                    "orders_unverified",
                    doc! { "createdAt": 1 },
                    doc! { "paymentInfo.status": "unverified" },
                ),
            ],
        ),
        (
            "cases",
            vec![
                plain("cases_order", doc! { "order": 1 }),
                plain("cases_buyer_latest", doc! { "buyer": 1, "createdAt": -1, "_id": -1 }),
                plain("cases_shop_latest", doc! { "shop": 1, "createdAt": -1, "_id": -1 }),
                plain("cases_latest", doc! { "state": 1, "createdAt": -1, "_id": -1 }),
                plain("cases_all_latest", doc! { "createdAt": -1, "_id": -1 }),
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
                plain("conversations_latest", doc! { "members": 1, "updatedAt": -1, "_id": -1 }),
            ],
        ),
        (
            "messages",
            vec![
                plain("messages_latest", doc! { "conversationId": 1, "createdAt": -1, "_id": -1 }),
                partial(
                    "messages_unclaimed",
                    doc! { "pairing": 1, "createdAt": 1 },
                    doc! { "pairing": { "$type": "string" } },
                ),
            ],
        ),
        (
            "auditlog",
            vec![
                ttl("auditlog_ttl", "expiresAt"),
                plain("auditlog_action", doc! { "action": 1, "_id": -1 }),
                plain("auditlog_account", doc! { "accounts": 1, "_id": -1 }),
            ],
        ),
        ("ratelimits", vec![ttl("ratelimits_ttl", "until")]),
        // What chat nodes tell one another; see `realtime::bus`.
        ("chatsignals", vec![ttl("chatsignals_ttl", "expiresAt")]),
        (
            "withdraws",
            vec![
                plain("withdraws_seller", doc! { "seller._id": 1, "createdAt": -1 }),
                plain("withdraws_status", doc! { "status": 1, "_id": -1 }),
            ],
        ),
        (
            "payments",
            vec![
                plain("payments_order", doc! { "orders": 1 }),
                // Few: what no checkout has used.
                partial("payments_unused", doc! { "at": 1 }, doc! { "checkoutId": null }),
                plain("payments_paid", doc! { "gateway": 1, "paidAt": 1 }),
                plain("payments_asked", doc! { "returns.askedAt": 1 }),
                // Few: what needs an administrator, or did.
                partial(
                    "payments_attention",
                    doc! { "at": 1, "_id": 1 },
                    doc! { "attention": { "$exists": true } },
                ),
            ],
        ),
        (
            "webhookevents",
            vec![
                plain("webhookevents_payment", doc! { "payment": 1 }),
                partial("webhookevents_due", doc! { "dueAt": 1 }, doc! { "applied": false }),
            ],
        ),
        ("webhookendpoints", vec![plain("webhookendpoints_shop", doc! { "shop": 1, "_id": -1 })]),
        (
            "webhookdeliveries",
            vec![
                ttl("webhookdeliveries_ttl", "expiresAt"),
                // One event goes to one endpoint once; and the list of an endpoint's.
                unique("webhookdeliveries_event", doc! { "endpoint": 1, "event": 1 }, doc! {}),
                plain("webhookdeliveries_latest", doc! { "endpoint": 1, "_id": -1 }),
                // The endpoint is in it so that those whose turn it is not are passed over in the index.
                plain("webhookdeliveries_due", doc! { "state": 1, "dueAt": 1, "endpoint": 1 }),
            ],
        ),
        ("disputes", vec![plain("disputes_order", doc! { "shares.order": 1 })]),
        ("pendingregistrations", vec![ttl("pendingregistrations_ttl", "expiresAt")]),
        ("idempotencykeys", vec![ttl("idempotencykeys_ttl", "expiresAt")]),
        ("outbox", vec![plain("outbox_due", doc! { "dead": 1, "dueAt": 1 })]),
        ("ledger", vec![plain("ledger_account", doc! { "lines.account": 1, "at": 1, "_id": 1 })]),
    ]
}

/// Indexes of earlier versions, by collection: others have taken their places.
const RETIRED: [(&str, &str); 5] = [
    ("orders", "orders_buyer"),
    ("orders", "orders_shop"),
    ("orders", "orders_shop_id"),
    ("conversations", "conversations_members"),
    ("messages", "messages_conversation"),
];

/// Drops what is no longer of use, once its successor is there: an earlier version that still runs finds with
/// that one as well.
async fn drop_retired(db: &Db, report: &mut Report) -> anyhow::Result<()> {
    for (collection, name) in RETIRED {
        let Err(error) = db.raw::<Document>(collection).drop_index(name).await else { continue };
        match command_code(&error) {
            Some(INDEX_NOT_FOUND) => {}
            // It costs room, and does no harm.
            Some(_) => report.warnings.push(format!(
                "the index {name} on {collection}, which is of no use any more, could not be dropped: {error}"
            )),
            None => return Err(error.into()),
        }
    }
    Ok(())
}

/// Creates what is missing. An index that the data does not allow is reported and left out; the
/// next run after the data has been cleaned up creates it.
pub(super) async fn create(db: &Db, report: &mut Report) -> anyhow::Result<()> {
    for (name, indexes) in all() {
        let collection = db.raw::<Document>(name);
        // All or none, in one round trip: all, unless something is the matter with one.
        if collection.create_indexes(indexes.clone()).await.is_ok() {
            continue;
        }
        for index in indexes {
            create_one(&collection, index, report).await?;
        }
    }
    drop_retired(db, report).await
}

async fn create_one(
    collection: &Collection<Document>,
    index: IndexModel,
    report: &mut Report,
) -> anyhow::Result<()> {
    let name = index.options.as_ref().and_then(|o| o.name.clone()).unwrap_or_default();
    let Err(error) = collection.create_index(index.clone()).await else { return Ok(()) };
    match command_code(&error) {
        Some(DUPLICATE_KEY) => {
            let groups = duplicates(collection, &index).await?;
            report.warnings.push(format!(
                "the unique index {name} on {} was left out, because documents share what it keeps apart: {}",
                collection.name(),
                if groups.is_empty() { error.to_string() } else { groups.join("; ") },
            ));
        }
        Some(INDEX_KEY_SPECS_CONFLICT) => {
            // The name is ours, so an earlier version of ours made it.
            _ = collection.drop_index(name.clone()).await;
            collection.create_index(index).await?;
        }
        Some(INDEX_OPTIONS_CONFLICT) => report.warnings.push(format!(
            "the index {name} on {} was left out, somebody else's is in its place: {error}",
            collection.name(),
        )),
        _ => return Err(error.into()),
    }
    Ok(())
}

/// The documents that break a unique index, in words, one text for each shared value.
async fn duplicates(collection: &Collection<Document>, index: &IndexModel) -> anyhow::Result<Vec<String>> {
    let options = index.options.clone().unwrap_or_default();
    let shared: Document =
        index.keys.keys().map(|key| (key.clone(), Bson::from(format!("${key}")))).collect();
    let pipeline = vec![
        doc! { "$match": options.partial_filter_expression.unwrap_or_default() },
        doc! { "$group": { "_id": shared, "ids": { "$push": "$_id" } } },
        doc! { "$match": { "ids.1": { "$exists": true } } },
        doc! { "$sort": { "ids.0": 1 } },
        doc! { "$limit": SHOWN },
    ];
    let groups = collection
        .aggregate(pipeline)
        .allow_disk_use(true)
        .optional(options.collation, |find, how| find.collation(how));
    let groups: Vec<Document> = groups.await?.try_collect().await?;
    let text = |value: &Bson| lenient::as_text(value).unwrap_or_else(|| value.to_string());
    Ok(groups
        .iter()
        .map(|group| {
            let values = group.get_document("_id").map(|id| id.values().map(text).collect::<Vec<_>>());
            let ids = group.get_array("ids").map(|ids| ids.iter().map(text).collect::<Vec<_>>());
            format!("`{}` in {}", values.unwrap_or_default().join(", "), ids.unwrap_or_default().join(", "))
        })
        .collect())
}

/// How many shared values a warning names: enough to see what is the matter.
const SHOWN: i32 = 20;

const DUPLICATE_KEY: i32 = 11000;
const INDEX_NOT_FOUND: i32 = 27;
const INDEX_OPTIONS_CONFLICT: i32 = 85;
const INDEX_KEY_SPECS_CONFLICT: i32 = 86;

fn command_code(error: &Error) -> Option<i32> {
    match &*error.kind {
        ErrorKind::Command(refused) => Some(refused.code),
        _ => None,
    }
}
