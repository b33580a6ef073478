use bson::{Bson, Document, doc};
use futures_util::TryStreamExt as _;
use mongodb::{ClientSession, options::ReturnDocument};
use shared::{
    clock::Timestamp,
    db::Db,
    id::Id,
    ledger, lenient,
    migrate::email_collation,
    model::{AuditEntry, LedgerLine, News, Shop, Stored as _, User, Withdrawal, WithdrawalSeller, is_admin},
    money::Money,
};

use super::{
    rules::{self, State},
    wire,
};
use crate::{
    admin::page::{self, Order, Page, Wanted},
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

/// In which orders every shop's requests can be read.
pub(crate) const ORDERS: [Order; 3] =
    [Order::NEWEST, Order::OLDEST, Order { name: "amount", by: "amount", ascending: false }];

/// Which requests are wanted.
#[derive(Clone, Debug, Default)]
pub(crate) struct WithdrawalFilter {
    pub(crate) state: Option<State>,
    pub(crate) shop: Option<Id<Shop>>,
}

/// How many requests nobody has decided about.
pub(crate) async fn count_waiting(db: &Db) -> mongodb::error::Result<u64> {
    db.of::<Withdrawal>().count_documents(waiting()).await
}

/// A filter for those.
pub(crate) fn waiting() -> Document {
    in_state(State::Processing)
}

/// A page of every shop's requests.
pub(crate) async fn all(
    db: &Db,
    wanted: &Wanted<WithdrawalFilter>,
) -> mongodb::error::Result<Page<Withdrawal>> {
    let WithdrawalFilter { state, shop } = &wanted.filter;
    let mut fitting = Vec::new();
    fitting.extend(state.map(in_state));
    fitting.extend(shop.map(|shop| doc! { "seller._id": shop }));
    page::page(db, Withdrawal::COLLECTION, page::all_of(fitting), Document::new(), wanted).await
}

/// What an administrator decides about a request.
#[derive(Clone, Debug)]
pub(crate) struct Decision {
    pub id: Id<Withdrawal>,
    pub to: State,
    pub reason: Option<String>,
    /// Whose request it is, if the administrator's client says so.
    pub seller: Option<String>,
    pub admin: Admin,
    /// What the audit log is to say of it.
    pub entry: AuditEntry,
    /// From which amount on it takes two administrators; zero for none.
    pub four_eyes: Money,
    pub now: Timestamp,
}

/// What became of it.
#[derive(Clone, Debug)]
pub(crate) struct Decided {
    pub withdrawal: Withdrawal,
    /// What this very decision put back on the balance.
    pub returned: Money,
    /// Whether it was this decision that changed the request.
    pub changed: bool,
    /// It waits for another administrator's approval.
    pub waits: bool,
}

/// Decides about a request, with its money and the news for the shop, in one transaction. The same
/// decision again changes nothing.
pub(crate) async fn decide(db: &Db, outbox: &Outbox, decision: Decision) -> Result<Decided> {
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
        return Ok(Decided { withdrawal: found, returned: Money::ZERO, changed: false, waits: false });
    }
    if decision.to == State::Succeeded && (shop.is_none() || found.amount <= Money::ZERO) {
        return Err(wire::NOT_PAYABLE.into());
    }
    let mut open = in_state(State::Processing);
    open.insert("_id", decision.id);
    if decision.to == State::Succeeded && rules::takes_two(found.amount, decision.four_eyes) {
        let first = first_approval(db, session, &found).await?;
        if first.is_none_or(|first| first == decision.admin.user) {
            return approve_first(db, session, found, open, &decision, first.is_some()).await;
        }
    }
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
    let Some(shop) = shop else {
        return Ok(Decided { withdrawal, returned: Money::ZERO, changed: true, waits: false });
    };
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
    Ok(Decided { withdrawal, returned, changed: true, waits: false })
}

/// Who has approved a request before, and still may.
async fn first_approval(
    db: &Db,
    session: &mut ClientSession,
    withdrawal: &Withdrawal,
) -> mongodb::error::Result<Option<Id<User>>> {
    let Some(first) = withdrawal.approved_by else { return Ok(None) };
    let account = db.of::<User>().find_one(doc! { "_id": first }).session(session).await?;
    Ok(account.filter(|user| is_admin(&user.role) && !user.blocked).map(|user| user.id))
}

/// Notes the first of two approvals. Of two at the same moment the database undoes one, which then finds the other.
async fn approve_first(
    db: &Db,
    session: &mut ClientSession,
    withdrawal: Withdrawal,
    open: Document,
    decision: &Decision,
    already: bool,
) -> Result<Decided> {
    if already {
        return Ok(Decided { withdrawal, returned: Money::ZERO, changed: false, waits: true });
    }
    let noted = doc! {
        "$set": {
            "approvedBy": decision.admin.user, "approvedAt": decision.now, "updatedAt": decision.now,
        },
        "$inc": { "__v": 1 },
    };
    let withdrawal = db
        .of::<Withdrawal>()
        .find_one_and_update(open, noted)
        .return_document(ReturnDocument::After)
        .session(&mut *session)
        .await?
        .ok_or(wire::UNREADABLE)?;
    let entry = AuditEntry { note: Some("first approval of two".to_owned()), ..decision.entry.clone() };
    audit_log::add_in(db, session, &entry).await?;
    Ok(Decided { withdrawal, returned: Money::ZERO, changed: true, waits: true })
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
