use bson::{Bson, Document, doc};
use futures_util::TryStreamExt as _;
use mongodb::{ClientSession, options::ReturnDocument};
use shared::{
    clock::Timestamp,
    db::Db,
    id::Id,
    ledger, lenient,
    migrate::email_collation,
    model::{AuditEntry, LedgerLine, News, Shop, Stored as _, User, Withdrawal, WithdrawalSeller},
    money::Money,
};

use super::{
    rules::{self, State},
    wire,
};
use crate::{
    audit_log,
    error::{Error, Result},
    identity::Admin,
    news,
    outbox::Outbox,
};

/// Takes the amount from the shop's balance and writes the request down, as part of a transaction.
pub(super) async fn create_in(
    db: &Db,
    outbox: &Outbox,
    session: &mut ClientSession,
    shop: Id<Shop>,
    amount: Money,
    now: Timestamp,
) -> Result<Withdrawal> {
    let id = Id::new();
    let seller = db
        .of::<Shop>()
        .find_one(doc! { "_id": shop })
        .session(&mut *session)
        .await?
        .ok_or(Error::Unauthenticated)?;
    let method = seller.withdraw_method.ok_or(wire::NO_METHOD)?;
    if !ledger::debit(db, session, shop, amount, id.cast(), "Processing", now).await? {
        return Err(wire::INSUFFICIENT
            .saying(format!("You asked for {amount}, but {} is available", seller.available_balance))
            .into());
    }
    let lines =
        vec![ledger::line(ledger::shop_account(shop), -amount), ledger::line(ledger::PAYOUTS, amount)];
    ledger::book(db, session, format!("withdraw:{id}"), now, lines).await?;
    let withdrawal = Withdrawal {
        id,
        seller: WithdrawalSeller { id: shop, name: seller.name, method: Some(method) },
        amount,
        status: "Processing".to_owned(),
        created_at: Some(now),
        updated_at: Some(now),
        ..Withdrawal::default()
    };
    db.of::<Withdrawal>().insert_one(&withdrawal).session(&mut *session).await?;
    news::tell_in(outbox, session, News::WithdrawalAsked { withdrawal: id }).await?;
    Ok(withdrawal)
}

/// A shop's requests, newest first.
pub(super) async fn of_shop(db: &Db, shop: Id<Shop>) -> mongodb::error::Result<Vec<Withdrawal>> {
    db.of::<Withdrawal>()
        .find(doc! { "seller._id": shop })
        .sort(doc! { "_id": -1 })
        .await?
        .try_collect()
        .await
}

/// A filter for requests in a state, however old data writes it.
fn in_state(state: State) -> Document {
    let mut spellings: Vec<Bson> = state.spellings().iter().map(|text| Bson::from(*text)).collect();
    if state == State::Processing {
        // Also where there is none.
        spellings.push(Bson::Null);
    }
    doc! { "status": { "$in": spellings } }
}

/// A page of every shop's requests, newest first, and whether there are more.
pub(super) async fn all(
    db: &Db,
    state: Option<State>,
    before: Option<Id<Withdrawal>>,
    limit: i64,
) -> mongodb::error::Result<(Vec<Withdrawal>, bool)> {
    let mut filter = state.map(in_state).unwrap_or_default();
    if let Some(before) = before {
        filter.insert("_id", doc! { "$lt": before });
    }
    let found = db.of::<Withdrawal>().find(filter).sort(doc! { "_id": -1 }).limit(limit + 1).await?;
    let mut page: Vec<Withdrawal> = found.try_collect().await?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = page.len() > limit;
    page.truncate(limit);
    Ok((page, more))
}

/// What an administrator decides about a request.
#[derive(Clone, Debug)]
pub(super) struct Decision {
    pub id: Id<Withdrawal>,
    pub to: State,
    pub reason: Option<String>,
    /// Whose request it is, if the administrator's client says so.
    pub seller: Option<String>,
    pub admin: Admin,
    /// What the audit log is to say of it.
    pub entry: AuditEntry,
    pub now: Timestamp,
}

/// What became of it.
#[derive(Clone, Debug)]
pub(super) struct Decided {
    pub withdrawal: Withdrawal,
    /// What this very decision put back on the balance.
    pub returned: Money,
    /// Whether it was this decision that changed the request.
    pub changed: bool,
}

/// Decides about a request, with its money and the news for the shop, in one transaction. The same
/// decision again changes nothing.
pub(super) async fn decide(db: &Db, outbox: &Outbox, decision: Decision) -> Result<Decided> {
    let decided = db
        .transaction(|session| {
            let (db, outbox, decision) = (db.clone(), outbox.clone(), decision.clone());
            Box::pin(async move { decide_once(&db, &outbox, session, decision).await })
        })
        .await?;
    outbox.wake();
    Ok(decided)
}

async fn decide_once(
    db: &Db,
    outbox: &Outbox,
    session: &mut ClientSession,
    decision: Decision,
) -> Result<Decided> {
    let withdrawals = db.of::<Withdrawal>();
    let this = doc! { "_id": decision.id };
    let found = withdrawals.find_one(this).session(&mut *session).await?.ok_or(wire::NOT_FOUND)?;
    let shop = db.of::<Shop>().find_one(doc! { "_id": found.seller.id }).session(&mut *session).await?;
    if is_own(db, session, found.seller.id, decision.admin).await? {
        return Err(wire::FOUR_EYES.into());
    }
    if decision.seller.as_ref().is_some_and(|seller| *seller != found.seller.id.hex()) {
        return Err(wire::OTHER_SELLER.into());
    }
    if !rules::decides(&found.status, decision.to).map_err(wire::not_from)? {
        return Ok(Decided { withdrawal: found, returned: Money::ZERO, changed: false });
    }
    if decision.to == State::Succeeded && (shop.is_none() || found.amount <= Money::ZERO) {
        return Err(wire::NOT_PAYABLE.into());
    }
    let mut open = in_state(State::Processing);
    open.insert("_id", decision.id);
    let mut set = doc! {
        "status": decision.to.text(),
        "updatedAt": decision.now,
        "decidedBy": decision.admin.user,
        "decidedAt": decision.now,
    };
    if let Some(reason) = &decision.reason {
        set.insert("reason", reason);
    }
    let withdrawal = withdrawals
        .find_one_and_update(open, doc! { "$set": set, "$inc": { "__v": 1 } })
        .return_document(ReturnDocument::After)
        .session(&mut *session)
        .await?
        .ok_or(wire::UNREADABLE)?;
    audit_log::add_in(db, session, &decision.entry).await?;
    let Some(shop) = shop else { return Ok(Decided { withdrawal, returned: Money::ZERO, changed: true }) };
    let movement = doc! { "_id": shop.id, "transections._id": withdrawal.id };
    let moved = doc! { "$set": {
        "transections.$.status": decision.to.text(), "transections.$.updatedAt": decision.now,
    } };
    // A movement of long ago is not listed any more.
    db.of::<Shop>().update_one(movement, moved).session(&mut *session).await?;
    let returned = match decision.to {
        State::Rejected => put_back(db, session, &withdrawal, decision.now).await?,
        _ => Money::ZERO,
    };
    let news = News::WithdrawalDecided { withdrawal: withdrawal.id, returned: returned.minor() };
    news::tell_in(outbox, session, news).await?;
    Ok(Decided { withdrawal, returned, changed: true })
}

/// Whether a request is the administrator's own: the same browser is logged in to the shop, or the shop
/// has the same e-mail address, by the same comparison that keeps addresses apart.
pub(crate) async fn is_own(
    db: &Db,
    session: &mut ClientSession,
    shop: Id<Shop>,
    admin: Admin,
) -> mongodb::error::Result<bool> {
    if admin.shop == Some(shop) {
        return Ok(true);
    }
    let account = db
        .raw::<Document>(User::COLLECTION)
        .find_one(doc! { "_id": admin.user })
        .projection(doc! { "email": 1 })
        .session(&mut *session)
        .await?;
    let email = account.and_then(|account| account.get("email").and_then(lenient::as_text));
    let Some(email) = email.filter(|email| !email.trim().is_empty()) else { return Ok(false) };
    let same = doc! { "_id": shop, "email": email.trim() };
    let shops = db.raw::<Document>(Shop::COLLECTION);
    let found = shops.find_one(same).projection(doc! { "_id": 1 }).collation(email_collation());
    Ok(found.session(session).await?.is_some())
}

/// Books the opposite of what the request took. One of the old server has taken nothing from our ledger:
/// what that server debited is part of the balance that it left behind, and nobody knows whether it did.
async fn put_back(
    db: &Db,
    session: &mut ClientSession,
    withdrawal: &Withdrawal,
    now: Timestamp,
) -> mongodb::error::Result<Money> {
    let Some(taken) = ledger::entry(db, session, &format!("withdraw:{}", withdrawal.id)).await? else {
        return Ok(Money::ZERO);
    };
    let lines: Vec<LedgerLine> =
        taken.lines.into_iter().map(|line| LedgerLine { minor: -line.minor, ..line }).collect();
    let shop = withdrawal.seller.id;
    let account = ledger::shop_account(shop);
    let back = lines.iter().filter(|line| line.account == account).map(|line| line.minor).sum();
    let back = Money::from_minor(back);
    ledger::book(db, session, format!("withdraw-rejected:{}", withdrawal.id), now, lines).await?;
    ledger::credit(db, session, shop, back, "Returned", now).await?;
    Ok(back)
}
