use bson::{Bson, Document, doc};
use futures_util::TryStreamExt as _;
use mongodb::{ClientSession, options::ReturnDocument};
use shared::{
    clock::Timestamp,
    db::Db,
    id::Id,
    model::{AuditEntry, Order, Outbox as Job, Payment, PaymentInfo, Settled, Status, Stored as _, User},
};

use super::{
    rules,
    wire::{self, Cursor},
};
use crate::{
    audit_log,
    error::{Error, Result},
    outbox::Outbox,
    payments::store as payments,
};

/// A page of payments that somebody has to look at, oldest first.
pub(super) async fn payments(
    db: &Db,
    after: Option<&Cursor>,
    limit: i64,
) -> mongodb::error::Result<Vec<Payment>> {
    let mut filter = doc! { "attention": { "$exists": true } };
    if let Some(Cursor { at, id, .. }) = after {
        filter.insert("$or", vec![doc! { "at": { "$gt": at } }, doc! { "at": at, "_id": { "$gt": id } }]);
    }
    let payments = db.of::<Payment>();
    payments.find(filter).sort(doc! { "at": 1, "_id": 1 }).limit(limit).await?.try_collect().await
}

/// A checkout whose buyer says to have paid by PayPal.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    pub checkout: String,
    /// When it was placed.
    pub at: Timestamp,
    /// All its orders, also those that were cancelled meanwhile: the payment was for all of them.
    pub orders: Vec<Order>,
}

/// A page of claims that nobody has verified although they were placed before `deadline`, oldest first. What
/// has been called off since needs no decision.
pub(super) async fn claims(
    db: &Db,
    deadline: Timestamp,
    after: Option<&Cursor>,
    limit: i64,
) -> mongodb::error::Result<Vec<Claim>> {
    let over = [Status::Cancelled.text(), Status::RefundSuccess.text()];
    let mut pipeline = vec![
        doc! { "$match": {
            "paymentInfo.status": PaymentInfo::UNVERIFIED,
            "createdAt": { "$lte": deadline },
            "checkoutId": { "$type": "string" },
            "status": { "$nin": over.to_vec() },
        } },
        doc! { "$group": { "_id": "$checkoutId", "at": { "$min": "$createdAt" } } },
    ];
    if let Some(Cursor { at, id, .. }) = after {
        let later = vec![doc! { "at": { "$gt": at } }, doc! { "at": at, "_id": { "$gt": id } }];
        pipeline.push(doc! { "$match": { "$or": later } });
    }
    pipeline.extend([doc! { "$sort": { "at": 1, "_id": 1 } }, doc! { "$limit": limit }]);
    let found: Vec<Document> =
        db.raw::<Document>(Order::COLLECTION).aggregate(pipeline).await?.try_collect().await?;
    let mut claims: Vec<Claim> = found
        .iter()
        .filter_map(|one| {
            let checkout = one.get_str("_id").ok()?.to_owned();
            Some(Claim { checkout, at: *one.get_datetime("at").ok()?, orders: Vec::new() })
        })
        .collect();
    let checkouts: Vec<&str> = claims.iter().map(|claim| claim.checkout.as_str()).collect();
    let orders = db.of::<Order>();
    let mut orders = orders.find(doc! { "checkoutId": { "$in": checkouts } }).sort(doc! { "_id": 1 }).await?;
    while let Some(order) = orders.try_next().await? {
        if let Some(claim) =
            claims.iter_mut().find(|claim| order.checkout_id.as_ref() == Some(&claim.checkout))
        {
            claim.orders.push(order);
        }
    }
    Ok(claims)
}

/// The orders of a checkout.
pub(super) async fn of_checkout(db: &Db, checkout: &str) -> mongodb::error::Result<Vec<Order>> {
    let orders = db.of::<Order>();
    orders.find(doc! { "checkoutId": checkout }).sort(doc! { "_id": 1 }).await?.try_collect().await
}

/// How many refunds the outbox has given up.
pub(super) async fn refunds_given_up(db: &Db) -> mongodb::error::Result<u64> {
    db.of::<Job>().count_documents(doc! { "dead": true, "job.kind": "refund" }).await
}

/// What an administrator decides about a payment.
#[derive(Clone, Debug)]
pub(super) struct Decision {
    pub id: String,
    pub decision: Settled,
    pub note: Option<String>,
    pub admin: Id<User>,
    /// What the audit log is to say of it.
    pub entry: AuditEntry,
    pub now: Timestamp,
}

/// Decides about a payment, and has it returned if that is the decision, in one transaction; and whether this
/// changed anything. The same decision again does not.
pub(super) async fn settle(db: &Db, outbox: &Outbox, decision: Decision) -> Result<(Payment, bool)> {
    let settled = db
        .transaction(|session| {
            let (db, outbox, decision) = (db.clone(), outbox.clone(), decision.clone());
            Box::pin(async move { settle_once(&db, &outbox, session, decision).await })
        })
        .await?;
    outbox.wake();
    Ok(settled)
}

async fn settle_once(
    db: &Db,
    outbox: &Outbox,
    session: &mut ClientSession,
    wanted: Decision,
) -> Result<(Payment, bool)> {
    let Decision { id, decision, note, admin, entry, now } = wanted;
    let collection = db.of::<Payment>();
    let found = collection.find_one(doc! { "_id": &id }).session(&mut *session).await?;
    let payment = found.ok_or(wire::NOT_FOUND)?;
    if !rules::decides(&payment, decision).map_err(wire::refused)? {
        return Ok((payment, false));
    }
    let text = |value: &Settled| bson::serialize_to_bson(value).map_err(anyhow::Error::from);
    let why = bson::serialize_to_bson(&payment.attention).map_err(anyhow::Error::from)?;
    let mut unsettled = doc! { "_id": &id, "attention": &why };
    let mut set = doc! {
        "settledBy": admin.hex(), "settledAs": text(&decision)?, "settledAt": now, "settledWhy": why,
    };
    if let Some(note) = note {
        set.insert("settledNote", note);
    }
    if decision == Settled::Return {
        // Used for nothing: no checkout can have it any more.
        unsettled.insert("checkoutId", Bson::Null);
        set.insert("checkoutId", "");
        set.insert("at", now);
        let key = format!("unserved:{id}");
        payments::ask_return(db, session, outbox, &id, payment.amount(), key, now).await?;
    }
    let update = doc! { "$set": set, "$unset": { "attention": "" }, "$inc": { "version": 1_i64 } };
    let settled = collection
        .find_one_and_update(unsettled, update)
        .return_document(ReturnDocument::After)
        .session(&mut *session)
        .await?;
    audit_log::add_in(db, session, &entry).await?;
    // The transaction has seen it otherwise a moment ago.
    let changed = || Error::Unavailable(anyhow::anyhow!("the payment {id} changed meanwhile"));
    Ok((settled.ok_or_else(changed)?, true))
}
