//! Brings a database, also one that the old server wrote, to what this version expects: indexes,
//! numbers in number fields, what is missing.
//!
//! Every step names the documents that still need it in its filter and changes each of them in one
//! atomic update, so running it again, or on several nodes at once, changes nothing more. Nothing is
//! ever deleted, and the old server can still read what comes out.

mod balances;
mod fields;
mod indexes;
mod orphans;
mod supplies;

pub use indexes::{email_collation, everybodys};
pub use orphans::end_orphans;

use crate::{clock::Clock, db::Db};

/// What a migration did and what it could not do.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// How many changes were made to documents.
    pub changed: u64,
    /// In words, one line each: data that breaks a unique index, and the like.
    pub warnings: Vec<String>,
}

/// Runs every step. Data that stands in the way of a step is reported, never deleted.
pub async fn run(db: &Db, clock: &Clock) -> anyhow::Result<Report> {
    let mut report = Report::default();
    indexes::create(db, &mut report).await?;
    fields::mend(db, &mut report).await?;
    supplies::count(db, &mut report).await?;
    balances::open(db, clock, &mut report).await?;
    balances::compare(db, &mut report).await?;
    Ok(report)
}
