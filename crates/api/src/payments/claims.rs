//! Orders by PayPal whose buyer has merely said who paid. The existing client captures the payment in the
//! browser and names nothing but the payer: the same person's id for ever, which everybody sees who sees
//! one of their orders. So a claim credits nobody until a payment of that payer turns up, of the same
//! amount, at the right time, and there is no doubt whose it is.

use std::collections::{BTreeMap, BTreeSet};

use bson::doc;
use futures_util::TryStreamExt as _;
use mongodb::ClientSession;
use shared::{
    clock::Timestamp,
    db::Db,
    model::{AuditEntry, Order, Payment, PaymentInfo},
    money::Money,
};
use tracing::{info, warn};

use super::{ANONYMOUS, store};
use crate::{
    audit_log,
    error::{Error, Result},
    orders::{earnings::Rates, verified},
    outbox::Outbox,
    state::App,
};

/// An order may seem so much older than its payment: clocks differ.
const EARLIER: i64 = 10 * 60_000;
/// The client orders right after the payment; later than this it was another one's.
const LATER: i64 = 24 * 60 * 60_000;

/// The orders of one checkout that claim to be paid.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    checkout: String,
    orders: Vec<Order>,
}

impl Claim {
    fn total(&self) -> Money {
        self.orders.iter().map(|order| order.total).sum()
    }

    fn placed_at(&self) -> Option<Timestamp> {
        self.orders.iter().filter_map(|order| order.created_at).min()
    }
}

/// Looks for the claim of a payer that an unused payment proves, until there is none. To be called when a
/// payment has been heard of, and when a claim has been placed: whichever comes last finds the other.
pub(crate) async fn match_payer(app: &App, payer: &str) -> Result<()> {
    let (rates, now) = (Rates::of(&app.config), app.clock.now());
    let proven = app
        .db
        .transaction(|session| {
            let (db, outbox, payer) = (app.db.clone(), app.outbox.clone(), payer.to_owned());
            let currency = app.config.currency.clone();
            Box::pin(async move { match_once(&db, &outbox, session, &payer, &currency, rates, now).await })
        })
        .await?;
    if proven > 0 {
        info!(proven, "payments by PayPal are verified");
        app.outbox.wake();
    }
    Ok(())
}

/// The same as part of a transaction. Gives how many claims are proven.
pub(super) async fn match_once(
    db: &Db,
    outbox: &Outbox,
    session: &mut ClientSession,
    payer: &str,
    currency: &str,
    rates: Rates,
    now: Timestamp,
) -> Result<u64> {
    let unused = doc! {
        "payer": payer, "gateway": "paypal", "currency": currency, "checkoutId": null,
        "settledBy": { "$exists": false },
    };
    let in_order = doc! { "paidAt": 1, "_id": 1 };
    let mut found = db.of::<Payment>().find(unused).sort(in_order).session(&mut *session).await?;
    let payments: Vec<Payment> = found.stream(&mut *session).try_collect().await?;
    if payments.is_empty() {
        return Ok(0);
    }
    let by_payer = doc! { "paymentInfo.id": payer, "paymentInfo.type": "Paypal" };
    let mut found = db.of::<Order>().find(by_payer).session(&mut *session).await?;
    let orders: Vec<Order> = found.stream(&mut *session).try_collect().await?;
    let buyers: BTreeSet<_> = orders.iter().filter_map(|order| Some(order.user.as_ref()?.id)).collect();
    if buyers.len() > 1 {
        // A payer's id is no secret: it may be somebody else's who has seen it.
        warn!("several accounts name one PayPal payer: an administrator has to say whose payment it was");
        return Ok(0);
    }
    let buyer = buyers.first().map(|buyer| buyer.hex());
    let mut claims = unproven(orders);
    let mut proven = 0;
    for payment in payments.into_iter().filter(|payment| may_be_of(payment, buyer.as_deref())) {
        let Some(i) = nearest(&claims, &payment) else { continue };
        prove(db, outbox, session, &claims.remove(i), &payment, rates, now).await?;
        proven += 1;
    }
    Ok(proven)
}

/// Whether a payment may be this account's. Whose one is that was begun here is known: whoever knows the
/// payer's id has no right to it.
fn may_be_of(payment: &Payment, buyer: Option<&str>) -> bool {
    let begun_for = payment.buyer.as_deref().filter(|of| *of != ANONYMOUS);
    begun_for.is_none_or(|of| buyer == Some(of))
}

fn unproven(orders: Vec<Order>) -> Vec<Claim> {
    let mut claims: BTreeMap<String, Vec<Order>> = BTreeMap::new();
    let status = |order: &Order| order.payment.as_ref().and_then(|payment| payment.status.clone());
    for order in orders.into_iter().filter(|order| status(order).as_deref() == Some(PaymentInfo::UNVERIFIED))
    {
        claims.entry(order.checkout_id.clone().unwrap_or_default()).or_default().push(order);
    }
    claims.into_iter().map(|(checkout, orders)| Claim { checkout, orders }).collect()
}

/// The claim that a payment proves: of the same amount, and placed soonest after it.
fn nearest(claims: &[Claim], payment: &Payment) -> Option<usize> {
    let paid_at = payment.paid_at.unwrap_or(payment.at).timestamp_millis();
    let fitting = claims.iter().enumerate().filter_map(|(i, claim)| {
        let later = claim.placed_at()?.timestamp_millis() - paid_at;
        let fits = claim.total() == payment.amount() && (-EARLIER..=LATER).contains(&later);
        fits.then_some((later.abs(), &claim.checkout, i))
    });
    fitting.min().map(|(_, _, i)| i)
}

/// Uses a payment for the orders that claimed it.
async fn prove(
    db: &Db,
    outbox: &Outbox,
    session: &mut ClientSession,
    claim: &Claim,
    payment: &Payment,
    rates: Rates,
    now: Timestamp,
) -> Result<()> {
    let used = Payment {
        checkout_id: Some(claim.checkout.clone()),
        orders: claim.orders.iter().map(|order| order.id).collect(),
        at: now,
        ..payment.clone()
    };
    if !store::claim(db, session, &[used]).await? {
        return Err(Error::Unexpected(anyhow::anyhow!("{} was used meanwhile", payment.id)));
    }
    for order in &claim.orders {
        verified::confirm(db, session, outbox, order, payment, rates, now).await?;
    }
    Ok(())
}

/// Looks at every payer again of whom there is an unused payment: what was placed or heard of just before
/// a server died.
pub(crate) async fn match_all(app: &App) -> Result<()> {
    let unused = doc! { "checkoutId": null, "payer": { "$type": "string" } };
    let payers = app.db.of::<Payment>().distinct("payer", unused).await?;
    for payer in payers.iter().filter_map(|payer| payer.as_str()) {
        match_payer(app, payer).await?;
    }
    Ok(())
}

/// An administrator (`settled_by`) says which payment a checkout's claim is about. `payment` is not in use.
///
/// None if there is no such claim: no such checkout, or it is verified already.
pub(crate) async fn verify(
    app: &App,
    checkout: &str,
    payment: Payment,
    entry: &AuditEntry,
) -> Result<Option<Vec<Order>>> {
    let (rates, now) = (Rates::of(&app.config), app.clock.now());
    let verified = app
        .db
        .transaction(|session| {
            let (db, outbox) = (app.db.clone(), app.outbox.clone());
            let (checkout, payment, entry) = (checkout.to_owned(), payment.clone(), entry.clone());
            Box::pin(async move {
                let orders = doc! { "checkoutId": &checkout, "paymentInfo.status": PaymentInfo::UNVERIFIED };
                let mut found = db.of::<Order>().find(orders).session(&mut *session).await?;
                let orders: Vec<Order> = found.stream(&mut *session).try_collect().await?;
                let Some(claim) = unproven(orders).pop() else { return Ok(None) };
                let user = claim.orders.iter().find_map(|order| order.user.as_ref());
                if !may_be_of(&payment, user.map(|user| user.id.hex()).as_deref()) {
                    return Err(super::wire::PAYMENT_OF_ANOTHER.into());
                }
                if claim.total() != payment.amount() {
                    let words =
                        format!("{} was paid, but the orders come to {}", payment.amount(), claim.total());
                    return Err(super::wire::NOT_THE_AMOUNT.saying(words).into());
                }
                let this = doc! { "_id": &payment.id };
                match db.of::<Payment>().find_one(this).session(&mut *session).await? {
                    Some(known) if known.checkout_id.is_some() => {
                        return Err(super::wire::PAYMENT_TAKEN.into());
                    }
                    Some(_) => {
                        let set = doc! { "settledBy": &payment.settled_by, "settledAt": payment.settled_at };
                        let this = doc! { "_id": &payment.id };
                        let payments = db.of::<Payment>();
                        payments.update_one(this, doc! { "$set": set }).session(&mut *session).await?;
                    }
                    None => store::insert(&db, session, std::slice::from_ref(&payment)).await?,
                }
                prove(&db, &outbox, session, &claim, &payment, rates, now).await?;
                audit_log::add_in(&db, session, &entry).await?;
                let ids: Vec<_> = claim.orders.iter().map(|order| order.id).collect();
                let mut found =
                    db.of::<Order>().find(doc! { "_id": { "$in": ids } }).session(&mut *session).await?;
                let orders: Vec<Order> = found.stream(session).try_collect().await?;
                Ok::<_, Error>(Some(orders))
            })
        })
        .await;
    app.outbox.wake();
    verified
}
