//! `souk migrate`: also done at every start; as a command it tells what it did.

use std::process::ExitCode;

use shared::{clock::Clock, config::Config, migrate};

use crate::{banner::say, database::Database};

/// Migrates, reports, and fails if something stood in the way.
pub(crate) async fn migrate(config: Config) -> anyhow::Result<ExitCode> {
    let database = Database::open(&config, "souk-migrate").await?;
    let report = migrate::run(&database.db, &Clock::default()).await;
    database.close().await;
    let report = report?;
    say(&format!("{} changes made.", report.changed));
    if report.warnings.is_empty() {
        say("The database is as this version expects it.");
        return Ok(ExitCode::SUCCESS);
    }
    say("Nothing was deleted. This needs a person to decide:");
    for warning in &report.warnings {
        say(&format!("  - {warning}"));
    }
    Ok(ExitCode::FAILURE)
}
