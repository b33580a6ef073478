use bson::{Bson, Document, doc};
use futures_util::TryStreamExt as _;
use mongodb::{ClientSession, options::ReturnDocument};
use serde_json::{Value, json};
use shared::{
    clock::{Timestamp, iso, plus},
    db::Db,
    id::Id,
    model::{DeliveryState, Shop, WebhookDelivery, WebhookEndpoint},
};

use super::rules;
use crate::identity::SellerOrAdmin;

/// Something that has happened, for those who want to be told of it.
pub(crate) struct Told {
    /// Tells this event from all others, and is the same if it is told again.
    pub(crate) id: String,
    /// One of `rules::EVENTS`.
    pub(crate) kind: &'static str,
    /// Whose it is.
    pub(crate) shop: Id<Shop>,
    /// What there is to say.
    pub(crate) data: Value,
}

/// Which endpoints want to be told of something.
fn wanting(kind: &str, shop: Id<Shop>) -> Document {
    doc! {
        "events": { "$in": [kind, rules::ALL] },
        "shop": { "$in": [Bson::Null, Bson::from(shop)] },
        "disabledAt": null,
    }
}

/// Whether anybody wants to be told of something. To be asked before it is put into words.
pub(crate) async fn wanted_in(
    db: &Db,
    session: &mut ClientSession,
    kind: &str,
    shop: Id<Shop>,
) -> mongodb::error::Result<bool> {
    let found = db.of::<WebhookEndpoint>().find_one(wanting(kind, shop)).session(session).await?;
    Ok(found.is_some())
}

/// Writes an event down for each endpoint that wants it, as part of a transaction; says for how many.
pub(crate) async fn tell_in(
    db: &Db,
    session: &mut ClientSession,
    told: Told,
    now: Timestamp,
) -> mongodb::error::Result<usize> {
    let mut endpoints =
        db.of::<WebhookEndpoint>().find(wanting(told.kind, told.shop)).session(&mut *session).await?;
    let body = body(&told.id, told.kind, told.data, now);
    let mut deliveries = Vec::new();
    while let Some(endpoint) = endpoints.next(&mut *session).await.transpose()? {
        deliveries.push(delivery(endpoint.id, told.id.clone(), told.kind, body.clone(), now));
    }
    if !deliveries.is_empty() {
        db.of::<WebhookDelivery>().insert_many(&deliveries).session(session).await?;
    }
    Ok(deliveries.len())
}

/// What is sent.
fn body(id: &str, kind: &str, data: Value, now: Timestamp) -> String {
    json!({ "id": id, "type": kind, "version": 1, "createdAt": iso(now), "data": data }).to_string()
}

fn delivery(
    endpoint: Id<WebhookEndpoint>,
    event: String,
    kind: &str,
    body: String,
    now: Timestamp,
) -> WebhookDelivery {
    WebhookDelivery {
        id: Id::new(),
        endpoint,
        event,
        kind: kind.to_owned(),
        body,
        state: DeliveryState::Waiting,
        due_at: now,
        attempts: 0,
        last: None,
        created_at: now,
        delivered_at: None,
        expires_at: plus(now, rules::KEPT),
    }
}

/// An event that says nothing but that it has arrived.
pub(super) async fn test(
    db: &Db,
    endpoint: Id<WebhookEndpoint>,
    now: Timestamp,
) -> mongodb::error::Result<WebhookDelivery> {
    let event = format!("evt_{}", Id::<()>::new());
    let body = body(&event, rules::TEST, json!({ "message": "It works" }), now);
    let delivery = delivery(endpoint, event, rules::TEST, body, now);
    db.of::<WebhookDelivery>().insert_one(&delivery).await?;
    Ok(delivery)
}

/// What belongs to the caller: the shop's, the administrators', or both.
fn owned_by(keeper: SellerOrAdmin) -> Document {
    let shop = keeper.shop.map(Bson::from);
    let platform = keeper.admin.map(|_| Bson::Null);
    doc! { "shop": { "$in": shop.into_iter().chain(platform).collect::<Vec<_>>() } }
}

fn this(keeper: SellerOrAdmin, id: Id<WebhookEndpoint>) -> Document {
    let mut filter = owned_by(keeper);
    filter.insert("_id", id);
    filter
}

/// How many endpoints a shop, or the administrators, have.
pub(super) async fn count_in(
    db: &Db,
    session: &mut ClientSession,
    shop: Option<Id<Shop>>,
) -> mongodb::error::Result<u64> {
    db.of::<WebhookEndpoint>().count_documents(doc! { "shop": shop }).session(session).await
}

/// A new one.
pub(super) async fn add_in(
    db: &Db,
    session: &mut ClientSession,
    endpoint: &WebhookEndpoint,
) -> mongodb::error::Result<()> {
    db.of::<WebhookEndpoint>().insert_one(endpoint).session(session).await.map(drop)
}

/// The caller's endpoints, the latest first.
pub(super) async fn list(db: &Db, keeper: SellerOrAdmin) -> mongodb::error::Result<Vec<WebhookEndpoint>> {
    let endpoints = db.of::<WebhookEndpoint>();
    endpoints.find(owned_by(keeper)).sort(doc! { "_id": -1 }).await?.try_collect().await
}

/// One of the caller's.
pub(super) async fn one(
    db: &Db,
    keeper: SellerOrAdmin,
    id: Id<WebhookEndpoint>,
) -> mongodb::error::Result<Option<WebhookEndpoint>> {
    db.of::<WebhookEndpoint>().find_one(this(keeper, id)).await
}

/// What is to be different about an endpoint.
#[derive(Debug, Default)]
pub(super) struct Change {
    pub(super) url: Option<String>,
    pub(super) events: Option<Vec<String>>,
    pub(super) description: Option<String>,
    pub(super) paused: Option<bool>,
}

/// Changes one of the caller's. One that is not paused any more, or was disabled, is sent what has waited at once.
pub(super) async fn change(
    db: &Db,
    keeper: SellerOrAdmin,
    id: Id<WebhookEndpoint>,
    change: Change,
    now: Timestamp,
) -> mongodb::error::Result<Option<WebhookEndpoint>> {
    let mut set = doc! { "updatedAt": now };
    if let Some(url) = change.url {
        set.insert("url", url);
    }
    if let Some(events) = change.events {
        set.insert("events", events);
    }
    if let Some(description) = change.description {
        set.insert("description", description);
    }
    if let Some(paused) = change.paused {
        set.insert("paused", paused);
    }
    let resumes = change.paused == Some(false);
    if resumes {
        set.insert("disabledAt", Bson::Null);
        set.insert("failingSince", Bson::Null);
    }
    let changed = db
        .of::<WebhookEndpoint>()
        .find_one_and_update(this(keeper, id), doc! { "$set": set })
        .return_document(ReturnDocument::After)
        .await?;
    if resumes && changed.is_some() {
        // Not what is just being tried: its lease is not over.
        let put_off = doc! { "endpoint": id, "state": "waiting", "putOff": true };
        let due = doc! { "$set": { "dueAt": now }, "$unset": { "putOff": "" } };
        db.of::<WebhookDelivery>().update_many(put_off, due).await?;
    }
    Ok(changed)
}

/// Removes one of the caller's, and what waits for it. Whether there was one.
pub(super) async fn remove(
    db: &Db,
    keeper: SellerOrAdmin,
    id: Id<WebhookEndpoint>,
) -> mongodb::error::Result<bool> {
    let removed = db.of::<WebhookEndpoint>().delete_one(this(keeper, id)).await?.deleted_count > 0;
    if removed {
        forget(db, id).await?;
    }
    Ok(removed)
}

/// Removes everything that was to be sent to an endpoint that is gone.
pub(super) async fn forget(db: &Db, endpoint: Id<WebhookEndpoint>) -> mongodb::error::Result<()> {
    db.of::<WebhookDelivery>().delete_many(doc! { "endpoint": endpoint }).await.map(drop)
}

/// Gives one of the caller's another secret. The present one signs too for a while.
pub(super) async fn rotate(
    db: &Db,
    keeper: SellerOrAdmin,
    id: Id<WebhookEndpoint>,
    secret: &str,
    now: Timestamp,
) -> mongodb::error::Result<Option<WebhookEndpoint>> {
    // The present one is read by the update itself, so that of two at once none is lost.
    let until = plus(now, rules::FORMER_SIGNS);
    let step = doc! { "$set": {
        "former": { "secret": "$secret", "until": until },
        "secret": { "$literal": secret },
        "updatedAt": now,
    } };
    db.of::<WebhookEndpoint>()
        .find_one_and_update(this(keeper, id), vec![step])
        .return_document(ReturnDocument::After)
        .await
}

/// Which deliveries of an endpoint are asked for.
pub(super) struct Wanted {
    pub(super) state: Option<DeliveryState>,
    pub(super) before: Option<Id<WebhookDelivery>>,
    pub(super) limit: i64,
}

/// A page of an endpoint's deliveries, the latest first, and whether there are more.
pub(super) async fn deliveries(
    db: &Db,
    endpoint: Id<WebhookEndpoint>,
    wanted: &Wanted,
) -> mongodb::error::Result<(Vec<WebhookDelivery>, bool)> {
    let mut filter = doc! { "endpoint": endpoint };
    if let Some(state) = wanted.state {
        filter.insert("state", state.name());
    }
    if let Some(before) = wanted.before {
        filter.insert("_id", doc! { "$lt": before });
    }
    let deliveries = db.of::<WebhookDelivery>();
    let found = deliveries.find(filter).sort(doc! { "_id": -1 }).limit(wanted.limit + 1).await?;
    let mut page: Vec<WebhookDelivery> = found.try_collect().await?;
    let limit = usize::try_from(wanted.limit).unwrap_or(usize::MAX);
    let more = page.len() > limit;
    page.truncate(limit);
    Ok((page, more))
}

/// Which deliveries are to be sent again.
#[derive(Clone, Copy, Debug)]
pub(super) enum Again {
    /// This one, whether it has arrived or was given up.
    One(Id<WebhookDelivery>),
    /// Everything that was given up, of what was written down since.
    FailedSince(Timestamp),
}

/// Has deliveries tried again as if they were new, and says how many. What is still being tried is left alone.
pub(super) async fn replay(
    db: &Db,
    endpoint: Id<WebhookEndpoint>,
    again: Again,
    now: Timestamp,
) -> mongodb::error::Result<u64> {
    let which = match again {
        Again::One(id) => doc! { "endpoint": endpoint, "_id": id, "state": { "$ne": "waiting" } },
        Again::FailedSince(since) => {
            doc! { "endpoint": endpoint, "state": "failed", "createdAt": { "$gte": since } }
        }
    };
    let anew = doc! { "$set": {
        "state": "waiting", "attempts": 0, "dueAt": now, "expiresAt": plus(now, rules::KEPT),
    } };
    Ok(db.of::<WebhookDelivery>().update_many(which, anew).await?.modified_count)
}
