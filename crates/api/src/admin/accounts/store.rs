//! Every query about accounts that administrators ask.

use bson::{Document, doc};
use mongodb::{ClientSession, options::ReturnDocument};
use shared::{
    clock::Timestamp,
    db::Db,
    id::Id,
    model::{AuditEntry, Measure, ROLE_ADMIN, Shop, Stored as _, User, is_admin},
    touched::Touched,
};

use super::{
    rules::{self, Standing},
    wire,
};
use crate::{
    accounts::Account,
    admin::page::{self, Order, Page, Wanted, all_of},
    audit_log,
    error::Result,
};

/// In which orders users can be read.
pub(crate) const USER_ORDERS: [Order; 3] = [Order::NEWEST, Order::OLDEST, Order::NAME];

/// In which orders shops can be read.
pub(crate) const SHOP_ORDERS: [Order; 4] = [
    Order::NEWEST,
    Order::OLDEST,
    Order::NAME,
    Order { name: "balance", by: "balanceMinor", ascending: false },
];

/// Which users are wanted.
#[derive(Clone, Debug, Default)]
pub(crate) struct UserFilter {
    /// Found in the name or the e-mail address, or the id.
    pub(crate) q: Option<String>,
    pub(crate) blocked: Option<bool>,
    /// Administrators, or those who are none.
    pub(crate) admin: Option<bool>,
}

/// How a shop stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ShopState {
    /// It sells.
    Open,
    /// It waits for an administrator's approval.
    Waiting,
    /// An administrator has blocked it.
    Blocked,
    /// It was given up for good.
    Closed,
}

impl ShopState {
    /// Each with the word for it.
    pub(crate) const ALL: [(&'static str, Self); 4] = [
        ("open", Self::Open),
        ("waiting", Self::Waiting),
        ("blocked", Self::Blocked),
        ("closed", Self::Closed),
    ];

    /// How this one stands.
    pub(crate) fn of(shop: &Shop) -> Self {
        match shop {
            _ if shop.closed_at.is_some() => Self::Closed,
            _ if shop.blocked => Self::Blocked,
            _ if shop.awaiting_approval => Self::Waiting,
            _ => Self::Open,
        }
    }

    fn filter(self) -> Document {
        match self {
            Self::Open => doc! { "blocked": { "$ne": true }, "awaitingApproval": { "$ne": true } },
            Self::Waiting => doc! { "awaitingApproval": true, "blocked": { "$ne": true } },
            Self::Blocked => doc! { "blocked": true, "closedAt": null },
            Self::Closed => doc! { "closedAt": { "$gt": Timestamp::MIN } },
        }
    }
}

/// Which shops are wanted.
#[derive(Clone, Debug, Default)]
pub(crate) struct ShopFilter {
    /// Found in the name or the e-mail address, or the id.
    pub(crate) q: Option<String>,
    pub(crate) state: Option<ShopState>,
}

/// What is never read here.
fn without_secrets() -> Document {
    doc! { "password": 0, "resetPasswordToken": 0, "activationDigest": 0, "endedSessions": 0, "transections": 0,
    "addresses": 0, "withdrawMethod": 0 }
}

/// A page of the users.
pub(crate) async fn users(db: &Db, wanted: &Wanted<UserFilter>) -> mongodb::error::Result<Page<User>> {
    let UserFilter { q, blocked, admin } = &wanted.filter;
    let mut fitting = Vec::new();
    fitting.extend(q.as_deref().map(|text| page::containing(text, &["name", "email"])));
    fitting.extend(blocked.map(|blocked| match blocked {
        true => doc! { "blocked": true },
        false => doc! { "blocked": { "$ne": true } },
    }));
    fitting.extend(admin.map(|admin| match admin {
        true => administrators(),
        false => doc! { "$nor": [administrators()] },
    }));
    page::page(db, User::COLLECTION, all_of(fitting), without_secrets(), wanted).await
}

/// A page of the shops.
pub(crate) async fn shops(db: &Db, wanted: &Wanted<ShopFilter>) -> mongodb::error::Result<Page<Shop>> {
    let ShopFilter { q, state } = &wanted.filter;
    let mut fitting = Vec::new();
    fitting.extend(q.as_deref().map(|text| page::containing(text, &["name", "email"])));
    fitting.extend(state.map(ShopState::filter));
    page::page(db, Shop::COLLECTION, all_of(fitting), without_secrets(), wanted).await
}

/// Old data may write the role in capitals.
fn administrators() -> Document {
    doc! { "role": { "$regex": format!("^{ROLE_ADMIN}$"), "$options": "i" } }
}

/// What an administrator decides about an account.
#[derive(Clone, Debug)]
pub(crate) struct Decision {
    /// The reason for blocking it; nothing unblocks it.
    pub(crate) block: Option<String>,
    pub(crate) admin: Id<User>,
    /// What the audit log is to say of it.
    pub(crate) entry: AuditEntry,
    pub(crate) now: Timestamp,
}

/// The account as it is then, and whether that was this decision's doing.
pub(crate) type Decided<A> = (A, bool);

/// Blocks a user or unblocks them. The same decision again changes nothing.
pub(crate) async fn decide_user(db: &Db, id: Id<User>, decision: &Decision) -> Result<Decided<User>> {
    if decision.block.is_some() {
        rules::is_anothers(decision.admin, id).map_err(wire::refuse)?;
    }
    db.transaction(|session| {
        let (db, decision) = (db.clone(), decision.clone());
        Box::pin(async move {
            let user = find_in::<User>(&db, session, id).await?.ok_or(wire::USER_NOT_FOUND)?;
            let standing = Standing { blocked: user.blocked, closed: user.closed_at.is_some() };
            if !rules::blocking(standing, decision.block.is_some()).map_err(wire::refuse)? {
                return Ok((user, false));
            }
            if decision.block.is_some() && is_admin(&user.role) {
                another_stays_in(&db, session, id).await?;
            }
            let user = block_in::<User>(&db, session, id, &decision).await?.ok_or(wire::USER_NOT_FOUND)?;
            Ok((user, true))
        })
    })
    .await
}

/// Blocks a shop or unblocks it: from then on its listings are shown to nobody, or to everybody again.
pub(crate) async fn decide_shop(db: &Db, id: Id<Shop>, decision: &Decision) -> Result<Decided<Shop>> {
    db.transaction(|session| {
        let (db, decision) = (db.clone(), decision.clone());
        Box::pin(async move {
            let shop = find_in::<Shop>(&db, session, id).await?.ok_or(wire::SHOP_NOT_FOUND)?;
            let standing = Standing { blocked: shop.blocked, closed: shop.closed_at.is_some() };
            if !rules::blocking(standing, decision.block.is_some()).map_err(wire::refuse)? {
                return Ok((shop, false));
            }
            let shop = block_in::<Shop>(&db, session, id, &decision).await?.ok_or(wire::SHOP_NOT_FOUND)?;
            db.touched(Touched::Shop(id));
            Ok((shop, true))
        })
    })
    .await
}

/// Lets a new shop sell. Doing it again changes nothing.
pub(crate) async fn approve(db: &Db, id: Id<Shop>, entry: &AuditEntry) -> Result<Decided<Shop>> {
    db.transaction(|session| {
        let (db, entry) = (db.clone(), entry.clone());
        Box::pin(async move {
            let shop = find_in::<Shop>(&db, session, id).await?.ok_or(wire::SHOP_NOT_FOUND)?;
            if shop.closed_at.is_some() {
                return Err(wire::CLOSED.into());
            }
            if !shop.awaiting_approval {
                return Ok((shop, false));
            }
            let waiting = doc! { "_id": id, "awaitingApproval": true };
            let approved = doc! { "$unset": { "awaitingApproval": "" } };
            db.of::<Shop>().update_one(waiting, approved).session(&mut *session).await?;
            audit_log::add_in(&db, session, &entry).await?;
            db.touched(Touched::Shop(id));
            Ok((Shop { awaiting_approval: false, ..shop }, true))
        })
    })
    .await
}

pub(super) async fn find_in<A: Account>(
    db: &Db,
    session: &mut ClientSession,
    id: Id<A>,
) -> mongodb::error::Result<Option<A>> {
    db.of::<A>().find_one(doc! { "_id": id }).session(session).await
}

/// Blocks or unblocks, and writes that down.
async fn block_in<A: Account>(
    db: &Db,
    session: &mut ClientSession,
    id: Id<A>,
    decision: &Decision,
) -> mongodb::error::Result<Option<A>> {
    let change = match &decision.block {
        Some(reason) => {
            let by = Measure { reason: reason.clone(), at: Some(decision.now), by: Some(decision.admin) };
            doc! {
                "$set": { "blocked": true, "blocking": bson::serialize_to_bson(&by)? },
                // Every session is over, also when the account is unblocked one day.
                "$inc": { "ver": 1_i64 },
            }
        }
        None => doc! { "$set": { "blocked": false }, "$unset": { "blocking": "" } },
    };
    let account = db
        .of::<A>()
        .find_one_and_update(doc! { "_id": id }, change)
        .return_document(ReturnDocument::After)
        .session(&mut *session)
        .await?;
    audit_log::add_in(db, session, &decision.entry).await?;
    Ok(account)
}

/// Sees to it that there is an administrator who can log in besides this one. That one's document is written, so
/// that of two administrators who block each other at the same time one comes second, and is refused.
pub(crate) async fn another_stays_in(db: &Db, session: &mut ClientSession, but: Id<User>) -> Result<()> {
    let mut others = administrators();
    others.insert("_id", doc! { "$ne": but });
    others.insert("blocked", doc! { "$ne": true });
    let users = db.raw::<Document>(User::COLLECTION);
    let stays = users.update_one(others, doc! { "$inc": { "__v": 1_i64 } }).session(session).await?;
    if stays.matched_count == 0 { Err(wire::LAST_ADMIN.into()) } else { Ok(()) }
}
