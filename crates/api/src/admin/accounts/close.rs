//! Giving an account up for good. Nothing of the person is left in it, and it can neither be logged in to nor opened
//! again; money and orders stay, because others depend on them.

use bson::{Document, doc};
use futures_util::TryStreamExt as _;
use mongodb::ClientSession;
use shared::{
    clock::Timestamp,
    db::Db,
    id::Id,
    model::{
        AuditEntry, Coupon, Kind, Listing, Measure, Order, Picture, ROLE_USER, Shop, Status, Stored as _,
        User, Withdrawal, is_admin,
    },
    money::Money,
    touched::Touched,
};

use super::{
    rules,
    store::{another_stays_in, find_in},
    wire,
};
use crate::{audit_log, error::Result, media, outbox::Outbox, withdrawals};

/// What is left of a name.
const NOBODY: &str = "Closed account";
/// And of a shop's.
const NO_SHOP: &str = "Closed shop";

/// Who gives an account up, and when.
#[derive(Clone, Debug)]
pub(crate) struct Closing {
    pub(crate) admin: Id<User>,
    /// What the audit log is to say of it.
    pub(crate) entry: AuditEntry,
    pub(crate) now: Timestamp,
}

impl Closing {
    /// What every account becomes.
    fn closed(&self, name: &str) -> mongodb::error::Result<Document> {
        let by = Measure {
            reason: "The account was closed.".to_owned(),
            at: Some(self.now),
            by: Some(self.admin),
        };
        Ok(doc! {
            "name": name, "password": "", "blocked": true, "blocking": bson::serialize_to_bson(&by)?,
            "closedAt": self.now,
        })
    }
}

/// Gives a shopper's account up: false if that was done before.
pub(crate) async fn close_user(db: &Db, outbox: &Outbox, id: Id<User>, closing: &Closing) -> Result<bool> {
    rules::is_anothers(closing.admin, id).map_err(wire::refuse)?;
    let closed = db
        .transaction(|session| {
            let (db, outbox, closing) = (db.clone(), outbox.clone(), closing.clone());
            Box::pin(async move { close_user_in(&db, &outbox, session, id, &closing).await })
        })
        .await;
    outbox.wake();
    closed
}

async fn close_user_in(
    db: &Db,
    outbox: &Outbox,
    session: &mut ClientSession,
    id: Id<User>,
    closing: &Closing,
) -> Result<bool> {
    let user = find_in::<User>(db, session, id).await?.ok_or(wire::USER_NOT_FOUND)?;
    if user.closed_at.is_some() {
        return Ok(false);
    }
    if is_admin(&user.role) {
        another_stays_in(db, session, id).await?;
    }
    let mut closed = closing.closed(NOBODY)?;
    closed.insert("role", ROLE_USER);
    closed.insert("addresses", Vec::<Document>::new());
    let change = doc! {
        "$set": closed,
        "$inc": { "ver": 1_i64 },
        // Without an address it stands in nobody's way who signs up with that one.
        "$unset": { "email": "", "phoneNumber": "", "avatar": "", "resetPasswordToken": "",
            "resetPasswordTime": "", "activationDigest": "" },
    };
    db.of::<User>().update_one(doc! { "_id": id }, change).session(&mut *session).await?;
    // What they said of products stays, without a name and a face.
    let nameless = doc! {
        "$set": { "reviews.$[own].user.name": NOBODY }, "$unset": { "reviews.$[own].user.avatar": "" },
    };
    db.raw::<Document>(Kind::Product.collection())
        .update_many(doc! { "reviews.user._id": id.hex() }, nameless)
        .array_filters([doc! { "own.user._id": id.hex() }])
        .session(&mut *session)
        .await?;
    db.touched(Touched::Reviewer(id));
    delete_later(outbox, session, user.avatar.as_slice()).await?;
    audit_log::add_in(db, session, &closing.entry).await?;
    Ok(true)
}

/// Gives a shop up, and takes what it sells off the market: false if that was done before. Refused while somebody
/// waits for goods of it, or money is owed.
pub(crate) async fn close_shop(db: &Db, outbox: &Outbox, id: Id<Shop>, closing: &Closing) -> Result<bool> {
    let closed = db
        .transaction(|session| {
            let (db, outbox, closing) = (db.clone(), outbox.clone(), closing.clone());
            Box::pin(async move { close_shop_in(&db, &outbox, session, id, &closing).await })
        })
        .await;
    outbox.wake();
    closed
}

async fn close_shop_in(
    db: &Db,
    outbox: &Outbox,
    session: &mut ClientSession,
    id: Id<Shop>,
    closing: &Closing,
) -> Result<bool> {
    let shop = find_in::<Shop>(db, session, id).await?.ok_or(wire::SHOP_NOT_FOUND)?;
    if shop.closed_at.is_some() {
        return Ok(false);
    }
    let over = [Status::Delivered, Status::RefundSuccess, Status::Cancelled].map(Status::text);
    let open = doc! {
        "$or": [{ "shopId": id.hex() }, { "cart.shopeId": id.hex() }], "status": { "$nin": over.to_vec() },
    };
    let open = db.of::<Order>().count_documents(open).session(&mut *session).await?;
    if open > 0 {
        return Err(wire::open_orders(open).into());
    }
    let balance = shop.balance_minor.map_or(shop.available_balance, Money::from_minor);
    if balance != Money::ZERO {
        return Err(wire::balance_not_zero(balance).into());
    }
    let mut asked = withdrawals::store::waiting();
    asked.insert("seller._id", id);
    if db.of::<Withdrawal>().count_documents(asked).session(&mut *session).await? > 0 {
        return Err(wire::OPEN_WITHDRAWAL.into());
    }
    // An order that is placed at this moment reserves units of one of these: one of the two comes second.
    for kind in [Kind::Product, Kind::Event] {
        let theirs = doc! { "shopeId": id.hex() };
        let listings = db.raw::<Listing>(kind.collection());
        let images = doc! { "images": 1 };
        let mut found = listings.find(theirs.clone()).projection(images).session(&mut *session).await?;
        let gone: Vec<Listing> = found.stream(&mut *session).try_collect().await?;
        listings.delete_many(theirs).session(&mut *session).await?;
        for listing in gone {
            let picture =
                |image: shared::model::Image| Picture { public_id: image.public_id, url: image.url };
            let pictures: Vec<Picture> = listing.images.into_iter().map(picture).collect();
            delete_later(outbox, session, &pictures).await?;
            db.touched(Touched::Listing(kind, listing.id));
        }
    }
    db.raw::<Document>(Coupon::COLLECTION)
        .delete_many(doc! { "seller._id": id.hex() })
        .session(&mut *session)
        .await?;
    let mut closed = closing.closed(NO_SHOP)?;
    closed.insert("address", "");
    let change = doc! {
        "$set": closed,
        "$inc": { "ver": 1_i64 },
        "$unset": { "email": "", "phoneNumber": "", "zipCode": "", "description": "", "avatar": "",
            "withdrawMethod": "", "resetPasswordToken": "", "resetPasswordTime": "", "activationDigest": "",
            "awaitingApproval": "" },
    };
    db.of::<Shop>().update_one(doc! { "_id": id }, change).session(&mut *session).await?;
    db.touched(Touched::Shop(id));
    delete_later(outbox, session, shop.avatar.as_slice()).await?;
    audit_log::add_in(db, session, &closing.entry).await?;
    Ok(true)
}

async fn delete_later(
    outbox: &Outbox,
    session: &mut ClientSession,
    pictures: &[Picture],
) -> mongodb::error::Result<()> {
    for picture in pictures.iter().filter(|picture| media::is_deletable(&picture.public_id)) {
        outbox.add_in(session, media::deletion(picture)).await?;
    }
    Ok(())
}
