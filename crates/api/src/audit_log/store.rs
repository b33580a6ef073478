//! Adding and reading; there is nothing else that is ever done to the log.

use bson::{Document, doc};
use futures_util::TryStreamExt as _;
use shared::{
    db::{Db, duplicate_key},
    id::Id,
    model::AuditEntry,
};

/// Writes these. What an earlier try has written already is there.
pub(super) async fn insert(db: &Db, entries: &[AuditEntry]) -> mongodb::error::Result<()> {
    match db.of::<AuditEntry>().insert_many(entries).ordered(false).await {
        Err(failure) if duplicate_key(&failure).is_none() => Err(failure),
        _ => Ok(()),
    }
}

/// Which entries are wanted.
#[derive(Clone, Debug, Default)]
pub(super) struct Wanted {
    pub(super) action: Option<&'static str>,
    pub(super) account: Option<String>,
    /// Older than this one.
    pub(super) before: Option<Id<AuditEntry>>,
    pub(super) limit: i64,
}

/// The latest first, and whether there are more.
pub(super) async fn list(db: &Db, wanted: &Wanted) -> mongodb::error::Result<(Vec<AuditEntry>, bool)> {
    let mut filter = Document::new();
    if let Some(action) = wanted.action {
        filter.insert("action", action);
    }
    if let Some(account) = &wanted.account {
        filter.insert("accounts", account);
    }
    if let Some(before) = wanted.before {
        filter.insert("_id", doc! { "$lt": before });
    }
    let entries = db.of::<AuditEntry>();
    let found = entries.find(filter).sort(doc! { "_id": -1 }).limit(wanted.limit + 1).await?;
    let mut page: Vec<AuditEntry> = found.try_collect().await?;
    let limit = usize::try_from(wanted.limit).unwrap_or(usize::MAX);
    let more = page.len() > limit;
    page.truncate(limit);
    Ok((page, more))
}
