//! What a shop has earned with an order is on hold while there is a dispute about it.

use bson::doc;
use mongodb::ClientSession;
use shared::{
    clock::Timestamp,
    db::Db,
    id::Id,
    ledger,
    model::{Case, CaseState, News, Order, Shop},
    money::Money,
};

use crate::{
    error::Result,
    news,
    orders::{
        earnings::{self, Rates, shop_of},
        settled,
    },
    outbox::Outbox,
};

/// Puts on hold what the shop has of an order, if it has anything, and gives how much.
pub(super) async fn take(
    db: &Db,
    session: &mut ClientSession,
    order: &Order,
    case: Id<Case>,
    rates: Rates,
    now: Timestamp,
) -> mongodb::error::Result<Money> {
    let kept = earnings::kept(order, rates).max(Money::ZERO);
    book(db, session, ledger::case_key(order.id, case), shop_of(order), kept, now).await?;
    Ok(kept)
}

/// Gives back what is on hold.
pub(super) async fn release(
    db: &Db,
    session: &mut ClientSession,
    case: &Case,
    now: Timestamp,
) -> mongodb::error::Result<()> {
    let held = Money::from_minor(case.held.unwrap_or_default());
    let key = format!("{}:ended", ledger::case_key(case.order, case.id));
    book(db, session, key, case.shop, -held, now).await
}

/// From the shop to what is on hold; negative is the other way.
async fn book(
    db: &Db,
    session: &mut ClientSession,
    key: String,
    shop: Id<Shop>,
    amount: Money,
    now: Timestamp,
) -> mongodb::error::Result<()> {
    if amount == Money::ZERO {
        return Ok(());
    }
    let lines = vec![ledger::line(ledger::shop_account(shop), -amount), ledger::line(ledger::CASES, amount)];
    ledger::book(db, session, key, now, lines).await?;
    let word = if amount.is_negative() { "Released" } else { "On hold" };
    ledger::credit(db, session, shop, -amount, word, now).await
}

/// An order has been credited: while there is a dispute about it, that is on hold.
pub(crate) async fn follow_credit(
    db: &Db,
    session: &mut ClientSession,
    order: &Order,
    rates: Rates,
    now: Timestamp,
) -> mongodb::error::Result<()> {
    let Some(case) = order.open_case.as_deref().and_then(|case| case.parse::<Id<Case>>().ok()) else {
        return Ok(());
    };
    let held = take(db, session, order, case, rates, now).await?;
    let update = doc! { "$set": { "held": held.minor() } };
    db.of::<Case>().update_one(doc! { "_id": case }, update).session(session).await.map(drop)
}

/// The payer's bank wants the money of an order back: then it is the bank that decides, and not we.
pub(crate) async fn give_way(
    db: &Db,
    session: &mut ClientSession,
    outbox: &Outbox,
    order: &Order,
    now: Timestamp,
) -> Result<()> {
    let Some(id) = order.open_case.as_deref().and_then(|case| case.parse::<Id<Case>>().ok()) else {
        return Ok(());
    };
    let over = doc! { "$set": { "state": CaseState::Bank.word(), "closedAt": now, "updatedAt": now } };
    let open = doc! { "_id": id, "state": CaseState::Open.word() };
    let case = db.of::<Case>().find_one_and_update(open, over).session(&mut *session).await?;
    if let Some(case) = case {
        release(db, session, &case, now).await?;
        settled::leave(db, session, order, false, now).await?;
        news::tell_in(outbox, session, News::CaseClosed { case: id }).await?;
    }
    Ok(())
}
