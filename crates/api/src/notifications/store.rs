use bson::{Bson, Document, doc, oid::ObjectId};
use mongodb::ClientSession;
use shared::{
    auth::Kind,
    db::Db,
    lenient,
    model::{Shop, Stored as _, User},
};

use super::rules::Sort;

/// What an account has ended.
const FIELD: &str = "mailOptOut";

const fn collection(kind: Kind) -> &'static str {
    match kind {
        Kind::User => User::COLLECTION,
        Kind::Seller => Shop::COLLECTION,
    }
}

fn ended(account: &Document) -> Vec<Sort> {
    let names = account.get_array(FIELD).map(Vec::as_slice).unwrap_or_default();
    Sort::ALL.into_iter().filter(|sort| names.iter().any(|name| name.as_str() == Some(sort.name()))).collect()
}

/// What an account has ended; nothing if there is no such account.
pub(super) async fn find(db: &Db, kind: Kind, id: ObjectId) -> mongodb::error::Result<Option<Vec<Sort>>> {
    let accounts = db.raw::<Document>(collection(kind));
    let found = accounts.find_one(doc! { "_id": id }).projection(doc! { FIELD: 1 }).await?;
    Ok(found.as_ref().map(ended))
}

/// Ends or resumes one sort; false if there is no such account. Done twice it is done once.
pub(super) async fn set(db: &Db, id: ObjectId, sort: Sort, wanted: bool) -> mongodb::error::Result<bool> {
    let name = Bson::from(sort.name());
    // Not `$addToSet`, which fails on what is no list.
    let list = doc! { "$cond": [{ "$isArray": format!("${FIELD}") }, format!("${FIELD}"), []] };
    let rest = doc! { "$setDifference": [list, [name.clone()]] };
    let after = if wanted {
        rest
    } else {
        doc! { "$concatArrays": [rest, [name]] }
    };
    let accounts = db.raw::<Document>(collection(sort.kind()));
    let update = vec![doc! { "$set": { FIELD: after } }];
    Ok(accounts.update_one(doc! { "_id": id }, update).await?.matched_count == 1)
}

/// An account, as far as mails to it go.
pub(crate) async fn addressee(
    db: &Db,
    session: &mut ClientSession,
    kind: Kind,
    id: ObjectId,
) -> mongodb::error::Result<Option<(String, Document)>> {
    let accounts = db.raw::<Document>(collection(kind));
    let found = accounts.find_one(doc! { "_id": id }).projection(doc! { "email": 1, FIELD: 1 });
    let Some(account) = found.session(session).await? else { return Ok(None) };
    let to = account.get("email").and_then(lenient::as_text).unwrap_or_default().trim().to_owned();
    Ok(Some((to, account)).filter(|(to, _)| !to.is_empty()))
}

/// Whether an account wants mails of a sort.
pub(crate) fn is_wanted(account: &Document, sort: Sort) -> bool {
    !ended(account).contains(&sort)
}
