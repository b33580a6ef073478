use std::collections::HashMap;

use bson::{Bson, doc};
use futures_util::TryStreamExt as _;
use mongodb::ClientSession;
use shared::{
    clock::Timestamp,
    db::{Db, duplicate_key},
    id::Id,
    model::{Order, OutboxJob, Payment, Return, Stored as _, User, WebhookEvent},
    money::Money,
};

use crate::{letters::Letter, outbox::Outbox};

/// Which of these payments are known, and whether a checkout has used them or they went back.
pub(crate) async fn known(db: &Db, ids: &[&str]) -> mongodb::error::Result<HashMap<String, bool>> {
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let found = db.of::<Payment>().find(doc! { "_id": { "$in": ids } }).await?;
    found.map_ok(|payment| (payment.id, payment.checkout_id.is_some())).try_collect().await
}

/// Takes down the use of payments that Souk had not heard of. One that it has by now is the driver's
/// duplicate-key error, which ends the transaction.
pub(crate) async fn insert(
    db: &Db,
    session: &mut ClientSession,
    used: &[Payment],
) -> mongodb::error::Result<()> {
    if used.is_empty() {
        return Ok(());
    }
    db.of::<Payment>().insert_many(used).session(session).await.map(drop)
}

/// Takes down the use of payments that Souk knows; false if one of them is used by now.
pub(crate) async fn claim(
    db: &Db,
    session: &mut ClientSession,
    used: &[Payment],
) -> mongodb::error::Result<bool> {
    if used.is_empty() {
        return Ok(true);
    }
    let updates = used
        .iter()
        .map(|payment| {
            let filter = doc! { "_id": &payment.id, "checkoutId": null };
            let update = doc! {
                "$set": {
                    "minor": payment.minor,
                    "currency": payment.currency.clone(),
                    "checkoutId": payment.checkout_id.clone(),
                    "orders": payment.orders.iter().map(|id| Bson::from(*id)).collect::<Vec<_>>(),
                    "at": payment.at,
                },
                "$unset": { "attention": "" },
                "$inc": { "version": 1_i64 },
            };
            doc! { "q": filter, "u": update }
        })
        .collect();
    let matched = db.update_all(session, Payment::COLLECTION, updates).await?;
    if usize::try_from(matched) != Ok(used.len()) {
        return Ok(false);
    }
    // What was told of them before may mean something to the orders.
    let ids: Vec<&str> = used.iter().map(|payment| payment.id.as_str()).collect();
    let Some(now) = used.iter().map(|payment| payment.at).max() else { return Ok(true) };
    let again = doc! { "$set": { "applied": false, "dueAt": now, "attempts": 0 } };
    let told = doc! { "payment": { "$in": ids }, "fact": { "$ne": null } };
    db.of::<WebhookEvent>().update_many(told, again).session(session).await?;
    Ok(true)
}

/// Has the gateway return some of a payment: takes it down with the payment, and leaves the work to the
/// outbox. Call [`Outbox::wake`] after the commit.
pub(crate) async fn ask_return(
    db: &Db,
    session: &mut ClientSession,
    outbox: &Outbox,
    payment: &str,
    amount: Money,
    key: String,
    now: Timestamp,
) -> mongodb::error::Result<()> {
    let asked = Return { key: key.clone(), minor: amount.minor(), asked_at: now, refund_id: None };
    let asked = bson::serialize_to_bson(&asked).map_err(mongodb::error::Error::custom)?;
    let update = doc! { "$push": { "returns": asked }, "$inc": { "version": 1_i64 } };
    db.of::<Payment>().update_one(doc! { "_id": payment }, update).session(&mut *session).await?;
    let job =
        OutboxJob::Refund { payment_id: payment.to_owned(), minor: amount.minor(), idempotency_key: key };
    outbox.add_in(session, job).await
}

/// One payment.
pub(crate) async fn one(db: &Db, id: &str) -> mongodb::error::Result<Option<Payment>> {
    db.of::<Payment>().find_one(doc! { "_id": id }).await
}

/// The payment that some of these orders are paid with.
pub(crate) async fn of_orders(db: &Db, orders: &[Order]) -> mongodb::error::Result<Option<Payment>> {
    let ids: Vec<Bson> = orders.iter().map(|order| Bson::from(order.id)).collect();
    db.of::<Payment>().find_one(doc! { "orders": { "$in": ids } }).await
}

/// Takes down that the gateway has returned what it was asked to.
pub(crate) async fn note_returned(
    db: &Db,
    payment: &str,
    key: &str,
    refund: &str,
) -> mongodb::error::Result<()> {
    let asked = doc! { "_id": payment, "returns.key": key };
    let update = doc! { "$set": { "returns.$.refundId": refund } };
    db.of::<Payment>().update_one(asked, update).await.map(drop)
}

/// Takes down that there is a payment, unless Souk has heard of it.
pub(crate) async fn hear_of(db: &Db, payment: Payment) -> mongodb::error::Result<()> {
    match db.of::<Payment>().insert_one(payment).await {
        Err(error) if duplicate_key(&error).is_none() => Err(error),
        _ => Ok(()),
    }
}

/// Uses a payment up for nothing, has the gateway return all of it, and writes to its buyer if there is a
/// letter. False if it was used already, or went back already: then there is nothing to return.
pub(crate) async fn give_back(
    db: &Db,
    outbox: &Outbox,
    used: Payment,
    letter: Option<Letter>,
) -> mongodb::error::Result<bool> {
    let give_back = || {
        db.transaction(|session| {
            let (db, outbox, used, letter) = (db.clone(), outbox.clone(), used.clone(), letter.clone());
            Box::pin(async move { give_back_once(&db, &outbox, session, &used, letter).await })
        })
    };
    let given_back = match give_back().await {
        // Souk has heard of it in this very moment, from a webhook or by a checkout.
        Err(error) if duplicate_key(&error).is_some() => give_back().await,
        outcome => outcome,
    };
    outbox.wake();
    given_back
}

async fn give_back_once(
    db: &Db,
    outbox: &Outbox,
    session: &mut ClientSession,
    used: &Payment,
    letter: Option<Letter>,
) -> mongodb::error::Result<bool> {
    let known = db.of::<Payment>().find_one(doc! { "_id": &used.id }).session(&mut *session).await?;
    if known.is_none() {
        insert(db, session, std::slice::from_ref(used)).await?;
    } else if !claim(db, session, std::slice::from_ref(used)).await? {
        return Ok(false);
    }
    let key = format!("unserved:{}", used.id);
    ask_return(db, session, outbox, &used.id, used.amount(), key, used.at).await?;
    let buyer = used.buyer.as_deref().and_then(|buyer| buyer.parse::<Id<User>>().ok());
    if let (Some(letter), Some(buyer)) = (letter, buyer) {
        outbox.write_to(session, buyer, letter).await?;
    }
    Ok(true)
}
