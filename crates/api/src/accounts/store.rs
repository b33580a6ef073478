//! Every query that shoppers' and shops' accounts share.

use bson::{Document, doc};
use futures_util::TryStreamExt as _;
use mongodb::{ClientSession, options::ReturnDocument};
use shared::{
    clock::{Timestamp, plus},
    db::Db,
    id::Id,
    migrate::email_collation,
    model::{Outbox, OutboxJob, PendingRegistration, Picture, User},
};

use super::Account;
use crate::identity::{known_request, known_trace};

/// Legacy data can hold an address several times. More than these are not tried.
const MOST_NAMESAKES: i64 = 5;

/// How long after its link has expired an unused picture is kept. Far beyond any disagreement of
/// clocks between nodes.
const PICTURE_GRACE_MILLIS: i64 = 3_600_000;

/// Whom an e-mail address finds. The type is named so that the partial index can be used.
fn by_email(email: &str) -> Document {
    doc! { "email": { "$eq": email, "$type": "string" } }
}

/// The accounts of an e-mail address, oldest first: at most one, but for legacy duplicates.
///
/// The index takes more for the same than capital letters: invisible characters, letters of other widths. Here that
/// would let one account be tried under many names, each counted by itself.
pub(crate) async fn of_email<A: Account>(db: &Db, email: &str) -> mongodb::error::Result<Vec<A>> {
    let wanted = email.to_lowercase();
    let alike: Vec<A> = db
        .of::<A>()
        .find(by_email(email))
        .collation(email_collation())
        .sort(doc! { "_id": 1 })
        .limit(MOST_NAMESAKES)
        .await?
        .try_collect()
        .await?;
    Ok(alike.into_iter().filter(|account| account.email().to_lowercase() == wanted).collect())
}

/// Whether somebody has this e-mail address.
pub(crate) async fn email_is_taken<A: Account>(db: &Db, email: &str) -> mongodb::error::Result<bool> {
    Ok(db
        .raw::<Document>(A::COLLECTION)
        .find_one(by_email(email))
        .projection(doc! { "_id": 1 })
        .collation(email_collation())
        .await?
        .is_some())
}

/// One account.
pub(crate) async fn find<A: Account>(db: &Db, id: Id<A>) -> mongodb::error::Result<Option<A>> {
    db.of::<A>().find_one(doc! { "_id": id }).await
}

/// The account that an activation token has made.
pub(crate) async fn activated_by<A: Account>(db: &Db, digest: &str) -> mongodb::error::Result<Option<A>> {
    db.of::<A>().find_one(doc! { "activationDigest": digest }).await
}

/// Writes a registration down. Its picture is deleted some time after the link has expired, unless
/// [`activate_in`] takes that back.
pub(crate) async fn register_in(
    db: &Db,
    session: &mut ClientSession,
    pending: &PendingRegistration,
    now: Timestamp,
) -> mongodb::error::Result<()> {
    db.of::<PendingRegistration>().insert_one(pending).session(&mut *session).await?;
    if let Some(picture) = pending.avatar.as_ref().filter(|picture| !picture.public_id.is_empty()) {
        let deletion = Outbox {
            id: Id::new(),
            job: OutboxJob::DeleteMedia { public_id: picture.public_id.clone() },
            due_at: plus(pending.expires_at, PICTURE_GRACE_MILLIS),
            attempts: 0,
            last_error: None,
            dead: false,
            created_at: now,
            request: known_request(),
            trace: known_trace(),
        };
        db.of::<Outbox>().insert_one(deletion).session(session).await?;
    }
    Ok(())
}

/// What became of an activation.
pub(crate) enum Activation<A> {
    /// The account was made.
    Made(A),
    /// There is no such registration, or no longer.
    Unknown,
    /// Somebody else has the e-mail address.
    EmailTaken,
}

/// Turns a registration of this kind into an account.
pub(crate) async fn activate_in<A: Account>(
    db: &Db,
    session: &mut ClientSession,
    digest: &str,
    now: Timestamp,
    needs_approval: bool,
) -> mongodb::error::Result<Activation<A>> {
    let filter = doc! { "_id": digest, "account.kind": A::PENDING, "expiresAt": { "$gt": now } };
    let pending = db.of::<PendingRegistration>().find_one_and_delete(filter).session(&mut *session).await?;
    let Some(pending) = pending else { return Ok(Activation::Unknown) };
    // The unique index decides; without it (legacy duplicates) this must do.
    let namesake = db
        .raw::<Document>(A::COLLECTION)
        .find_one(by_email(&pending.email))
        .collation(email_collation())
        .session(&mut *session)
        .await?;
    if namesake.is_some() {
        return Ok(Activation::EmailTaken);
    }
    if let Some(picture) = pending.avatar.as_ref().filter(|picture| !picture.public_id.is_empty()) {
        let deletion = doc! { "job.kind": "deleteMedia", "job.publicId": &picture.public_id };
        db.of::<Outbox>().delete_many(deletion).session(&mut *session).await?;
    }
    let Some(account) = A::from_pending(pending, now, needs_approval) else { return Ok(Activation::Unknown) };
    db.of::<A>().insert_one(&account).session(session).await?;
    Ok(Activation::Made(account))
}

/// The same password, hashed anew: only if it has not been changed meanwhile.
pub(crate) async fn rehash<A: Account>(
    db: &Db,
    id: Id<A>,
    old_hash: &str,
    hash: &str,
) -> mongodb::error::Result<()> {
    let filter = doc! { "_id": id, "password": old_hash };
    db.of::<A>().update_one(filter, doc! { "$set": { "password": hash } }).await.map(drop)
}

/// Another password, which ends every session and every mailed link. Nothing if the password was
/// changed meanwhile.
pub(crate) async fn change_password<A: Account>(
    db: &Db,
    id: Id<A>,
    old_hash: &str,
    hash: &str,
) -> mongodb::error::Result<Option<A>> {
    db.of::<A>()
        .find_one_and_update(doc! { "_id": id, "password": old_hash }, new_password(hash))
        .return_document(ReturnDocument::After)
        .await
}

fn new_password(hash: &str) -> Document {
    doc! {
        "$set": { "password": hash },
        "$inc": { "ver": 1_i64 },
        "$unset": { "resetPasswordToken": "", "resetPasswordTime": "" },
    }
}

/// Gives a shopper's account another role.
pub(crate) async fn set_role(db: &Db, id: Id<User>, role: &str) -> mongodb::error::Result<()> {
    db.of::<User>().update_one(doc! { "_id": id }, doc! { "$set": { "role": role } }).await.map(drop)
}

/// Ends every session of an account.
pub(crate) async fn end_sessions<A: Account>(db: &Db, id: Id<A>) -> mongodb::error::Result<()> {
    db.of::<A>().update_one(doc! { "_id": id }, doc! { "$inc": { "ver": 1_i64 } }).await.map(drop)
}

/// Ends one session of an account. Those that were ended long ago have expired meanwhile.
pub(crate) async fn end_session<A: Account>(db: &Db, id: Id<A>, session: &str) -> mongodb::error::Result<()> {
    let kept = doc! { "$each": [session], "$slice": -200 };
    // Asking again adds nothing, or one session could push the others out.
    let open = doc! { "_id": id, "endedSessions": { "$ne": session } };
    db.of::<A>().update_one(open, doc! { "$push": { "endedSessions": kept } }).await.map(drop)
}

/// Notes the link that was mailed to an account; an older one stops working.
pub(crate) async fn note_reset_in<A: Account>(
    db: &Db,
    session: &mut ClientSession,
    id: Id<A>,
    digest: &str,
    expires: Timestamp,
) -> mongodb::error::Result<()> {
    let change = doc! { "$set": { "resetPasswordToken": digest, "resetPasswordTime": expires } };
    db.of::<A>().update_one(doc! { "_id": id }, change).session(session).await.map(drop)
}

fn by_reset(digest: &str, now: Timestamp) -> Document {
    doc! { "resetPasswordToken": digest, "resetPasswordTime": { "$gt": now } }
}

/// Whether a mailed link is good: hashing a password costs too much to do it for any text.
pub(crate) async fn reset_is_good<A: Account>(
    db: &Db,
    digest: &str,
    now: Timestamp,
) -> mongodb::error::Result<bool> {
    Ok(db
        .raw::<Document>(A::COLLECTION)
        .find_one(by_reset(digest, now))
        .projection(doc! { "_id": 1 })
        .await?
        .is_some())
}

/// Sets a new password with a mailed link, which is used up by that. Whose it was.
pub(crate) async fn reset_password<A: Account>(
    db: &Db,
    digest: &str,
    now: Timestamp,
    hash: &str,
) -> mongodb::error::Result<Option<A>> {
    db.of::<A>().find_one_and_update(by_reset(digest, now), new_password(hash)).await
}

/// Puts another picture in place, also where copies of it are shown. The account as it was before.
pub(crate) async fn set_avatar_in<A: Account>(
    db: &Db,
    session: &mut ClientSession,
    id: Id<A>,
    picture: &Picture,
) -> mongodb::error::Result<Option<A>> {
    let avatar = doc! { "public_id": &picture.public_id, "url": &picture.url };
    for copy in A::COPIES {
        let copies = db.raw::<Document>(copy.collection);
        let change = doc! { "$set": { copy.picture: avatar.clone() } };
        let update = copies.update_many(doc! { copy.owner: id.hex() }, change);
        match copy.own {
            Some(own) => update.array_filters([doc! { own: id.hex() }]).session(&mut *session).await?,
            None => update.session(&mut *session).await?,
        };
    }
    let before = db
        .of::<A>()
        .find_one_and_update(doc! { "_id": id }, doc! { "$set": { "avatar": avatar } })
        .return_document(ReturnDocument::Before)
        .session(session)
        .await?;
    db.touched(A::shown(id));
    Ok(before)
}
