//! What follows from all that a gateway has told of a payment, done as a whole and in one transaction: what
//! is right already stays as it is, so that doing it again, or from two nodes at once, changes nothing.

use bson::doc;
use futures_util::TryStreamExt as _;
use mongodb::ClientSession;
use shared::{
    clock::{Timestamp, plus},
    db::Db,
    model::{Attention, Payment, WebhookEvent},
};
use tracing::{info, warn};

use super::{
    claims, disputes,
    gateway::{GatewayPayment, PaymentState},
    standing::{Standing, Success},
    store,
};
use crate::{
    error::Result,
    letters,
    orders::{self, earnings::Rates},
    outbox::Outbox,
    state::App,
};

/// Settles a payment, and marks every event that it has taken into account.
pub(super) async fn settle(app: &App, gateway: &str, id: &str) -> Result<()> {
    match try_settle(app, gateway, id).await {
        // A checkout has taken the payment down just now.
        Err(error) if error.violates("_id_") => try_settle(app, gateway, id).await,
        outcome => outcome,
    }
}

async fn try_settle(app: &App, gateway: &str, id: &str) -> Result<()> {
    let record = record(app, gateway, id).await?;
    let matter = Matter {
        gateway: gateway.to_owned(),
        id: id.to_owned(),
        currency: app.config.currency.clone(),
        rates: Rates::of(&app.config),
        now: app.clock.now(),
    };
    let settled = app
        .db
        .transaction(|session| {
            let (db, outbox) = (app.db.clone(), app.outbox.clone());
            let (matter, record) = (matter.clone(), record.clone());
            Box::pin(async move { settle_once(&db, &outbox, session, &matter, record).await })
        })
        .await;
    app.outbox.wake();
    match settled? {
        // A claim that was placed meanwhile saw no payment, and the transaction saw no claim.
        Some(payer) => claims::match_payer(app, &payer).await,
        None => Ok(()),
    }
}

/// The payment as it is to be taken down where Souk has not heard of it: as the gateway knows it, where its
/// events do not say enough. None where there is nothing to take down.
async fn record(app: &App, gateway: &str, id: &str) -> Result<Option<Payment>> {
    if store::one(&app.db, id).await?.is_some() {
        return Ok(None);
    }
    let now = app.clock.now();
    let events: Vec<WebhookEvent> = app.db.of().find(of_payment(gateway, id)).await?.try_collect().await?;
    let standing = Standing::of(&events);
    if standing == Standing::default() {
        // Declined, or called off: no money has moved, and there is nothing to ask for.
        return Ok(None);
    }
    let told = standing.success.map(|success| told(id, success));
    // PayPal's events do not name the payer.
    if gateway != "paypal"
        && let Some(told) = told
    {
        return Ok(Some(told.record(gateway, now)));
    }
    let asked = app.gateways.named(gateway)?.look_up(id).await?;
    let succeeded = asked.filter(|payment| payment.state == PaymentState::Succeeded && payment.id == id);
    Ok(succeeded.or(told).map(|payment| payment.record(gateway, now)))
}

fn told(id: &str, success: Success) -> GatewayPayment {
    GatewayPayment {
        id: id.to_owned(),
        amount: shared::money::Money::from_minor(success.minor),
        currency: success.currency,
        state: PaymentState::Succeeded,
        buyer: success.buyer,
        payer: success.payer,
        paid_at: Some(success.at),
    }
}

fn of_payment(gateway: &str, id: &str) -> bson::Document {
    doc! { "payment": id, "gateway": gateway }
}

/// What is to be settled, and by what.
#[derive(Clone)]
struct Matter {
    gateway: String,
    /// The payment's.
    id: String,
    /// The marketplace's.
    currency: String,
    rates: Rates,
    now: Timestamp,
}

/// Gives the payer whose claim the payment may prove yet.
async fn settle_once(
    db: &Db,
    outbox: &Outbox,
    session: &mut ClientSession,
    matter: &Matter,
    record: Option<Payment>,
) -> Result<Option<String>> {
    let Matter { gateway, id, currency, rates, now } = matter;
    let mut found = db.of::<WebhookEvent>().find(of_payment(gateway, id)).session(&mut *session).await?;
    let events: Vec<WebhookEvent> = found.stream(&mut *session).try_collect().await?;
    let standing = Standing::of(&events);
    let payments = db.of::<Payment>();
    let mut known = payments.find_one(doc! { "_id": id }).session(&mut *session).await?;
    if let (None, Some(record)) = (&known, record) {
        payments.insert_one(&record).session(&mut *session).await?;
        known = Some(record);
    }
    let mut unused_by = None;
    // Without one it was declined, or called off: no money has moved.
    if let Some(payment) = known {
        note(db, session, &payment, &standing).await?;
        let mut orders = payment.orders.clone();
        if let (None, Some(payer)) = (&payment.checkout_id, &payment.payer) {
            claims::match_once(db, outbox, session, payer, currency, *rates, *now).await?;
            let proven = payments.find_one(doc! { "_id": id }).session(&mut *session).await?;
            orders = proven.map(|payment| payment.orders).unwrap_or_default();
            unused_by = Some(payer.clone()).filter(|_| orders.is_empty());
        }
        let payment = Payment { orders, ..payment };
        for lost in disputes::settle(db, session, outbox, &payment, &standing, *rates, *now).await? {
            orders::charge_back(db, outbox, session, lost, *rates, *now).await?;
        }
    }
    let seen: Vec<&str> = events.iter().map(|event| event.id.as_str()).collect();
    let seen = doc! { "_id": { "$in": seen } };
    let update = doc! { "$set": { "applied": true }, "$unset": { "lastError": "" } };
    db.of::<WebhookEvent>().update_many(seen, update).session(session).await?;
    Ok(unused_by)
}

/// Takes down what went back of a payment, and whether somebody has to look at that.
async fn note(db: &Db, session: &mut ClientSession, payment: &Payment, standing: &Standing) -> Result<()> {
    let asked: i64 = payment.returns.iter().map(|asked| asked.minor).sum();
    let attention = if standing.has_failed_return() {
        Some(Attention::ReturnFailed)
    } else if standing.returned_elsewhere(asked) > 0 {
        Some(Attention::ReturnedElsewhere)
    } else {
        None
    };
    // Written in any case: of two who settle a payment at once, one has to see what the other did.
    let mut update = doc! { "$inc": { "version": 1_i64 } };
    if let Some(attention) = attention.filter(|why| payment.settled_why != Some(*why)) {
        let attention = bson::serialize_to_bson(&attention).map_err(anyhow::Error::from)?;
        update.insert("$set", doc! { "attention": attention });
    }
    db.of::<Payment>().update_one(doc! { "_id": &payment.id }, update).session(&mut *session).await?;
    note_returns(db, session, payment, standing).await?;
    Ok(())
}

/// Refunds of ours that the gateway tells of: also where its own answer was lost.
async fn note_returns(
    db: &Db,
    session: &mut ClientSession,
    payment: &Payment,
    standing: &Standing,
) -> mongodb::error::Result<()> {
    for (refund, returned) in &standing.returns {
        let Some(key) = &returned.key else { continue };
        let unknown = |asked: &&shared::model::Return| asked.key == *key && asked.refund_id.is_none();
        if !returned.failed && payment.returns.iter().any(|asked| unknown(&asked)) {
            let asked = doc! { "_id": &payment.id, "returns.key": key };
            let update = doc! { "$set": { "returns.$.refundId": refund } };
            db.of::<Payment>().update_one(asked, update).session(&mut *session).await?;
        }
    }
    Ok(())
}

/// Looks after money for which nobody has placed an order in time: what was begun here goes back, the rest
/// is an administrator's to look at. Gives how many payments.
pub(crate) async fn return_unused(app: &App) -> Result<u64> {
    let ttl = i64::try_from(app.config.unused_payment_ttl.as_millis()).unwrap_or(i64::MAX);
    if ttl == 0 {
        return Ok(0);
    }
    let now = app.clock.now();
    let unused = doc! {
        "checkoutId": null,
        "at": { "$lt": plus(now, -ttl) },
        "attention": { "$exists": false },
        "settledBy": { "$exists": false },
    };
    let found: Vec<Payment> = app.db.of().find(unused).limit(100).await?.try_collect().await?;
    let mut handled = 0;
    for payment in found {
        handled += 1;
        if payment.buyer.is_some() {
            let used = Payment { checkout_id: Some(String::new()), at: now, ..payment.clone() };
            if store::give_back(&app.db, &app.outbox, used, Some(letters::unused(&payment))).await? {
                info!(payment = payment.id, "a payment that nobody used goes back");
            }
        } else {
            let still = doc! { "_id": &payment.id, "checkoutId": null };
            let note = doc! { "$set": { "attention": "unclaimed" } };
            app.db.of::<Payment>().update_one(still, note).await?;
            warn!(payment = payment.id, gateway = payment.gateway, "money came in, and nobody has ordered");
        }
    }
    Ok(handled)
}
