//! When the last backup was made, for those who watch.

use bson::{Document, doc};

use crate::{clock::Timestamp, db::Db, lenient};

/// Where `souk backup` notes it.
pub const COLLECTION: &str = "backups";
/// The one document there.
pub const LAST: &str = "last";

/// When it was; none if there has never been one.
pub async fn last(db: &Db) -> mongodb::error::Result<Option<Timestamp>> {
    let found = db.raw::<Document>(COLLECTION).find_one(doc! { "_id": LAST }).await?;
    Ok(found.and_then(|found| lenient::as_date(found.get("at")?)))
}
