//! `souk outbox`: what waits to be done, what was given up, and putting that back.

use std::process::ExitCode;

use anyhow::Context as _;
use api::dead_letters::{self, Job, Which};
use clap::Subcommand;
use shared::{clock::Clock, clock::Timestamp, config::Config, db::Db};

use crate::{banner::say, database::Database};

/// So many of each sort are listed.
const SHOWN: i64 = 50;

/// What to do besides listing.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Order {
    /// Put given-up jobs back, to be tried at once and as often as new ones
    Retry {
        /// The job, as `souk outbox` lists it
        #[arg(required_unless_present = "all", conflicts_with = "all")]
        id: Option<String>,
        /// Every job that was given up
        #[arg(long)]
        all: bool,
    },
}

/// Lists, or puts back.
pub(crate) async fn serve(config: Config, order: Option<Order>) -> anyhow::Result<ExitCode> {
    let which = match order {
        None => None,
        Some(Order::Retry { id: Some(id), .. }) => {
            Some(Which::One(id.trim().parse().with_context(|| format!("`{id}` is no job's id"))?))
        }
        Some(Order::Retry { id: None, .. }) => Some(Which::All),
    };
    let database = Database::reach(&config, "souk-outbox").await?;
    let now = Clock::default().now();
    let done = match which {
        None => list(&database.db, now).await,
        Some(which) => retry(&database.db, config, which, now).await,
    };
    database.close().await;
    done
}

async fn retry(db: &Db, config: Config, which: Which, now: Timestamp) -> anyhow::Result<ExitCode> {
    let count = dead_letters::retry(db, which, now).await?;
    if count > 0 {
        dead_letters::note_retry(db, config, &Clock::default(), which, count).await?;
    }
    match (which, count) {
        (Which::One(id), 0) => {
            say(&format!("{id} is not among the jobs that were given up. `souk outbox` lists them."));
            return Ok(ExitCode::FAILURE);
        }
        (_, 0) => say("No job was given up."),
        (_, 1) => say("One job is tried again as soon as a server looks, which is within a second."),
        _ => {
            say(&format!("{count} jobs are tried again as soon as a server looks, which is within a second."))
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(db: &Db, now: Timestamp) -> anyhow::Result<ExitCode> {
    let counts = dead_letters::counts(db, now).await?;
    say(&format!("{} given up, {} waiting.", counts.dead, counts.waiting));
    for (dead, count) in [(true, counts.dead), (false, counts.waiting)] {
        let jobs = dead_letters::list(db, dead, SHOWN).await?;
        let left = count.saturating_sub(jobs.len().try_into()?);
        for job in &jobs {
            say(&row(job, dead, now));
        }
        if left > 0 {
            say(&format!("and {left} more"));
        }
    }
    if counts.dead > 0 {
        say("\nOnce the cause is mended: souk outbox retry <id>, or --all.");
    }
    Ok(ExitCode::SUCCESS)
}

fn row(job: &Job, dead: bool, now: Timestamp) -> String {
    let state = if dead { "given up" } else { "waiting" };
    let tries = if job.attempts == 1 { "1 try".to_owned() } else { format!("{} tries", job.attempts) };
    let age = age(now.timestamp_millis() - job.created_at.timestamp_millis());
    let error = job.last_error.as_deref().unwrap_or("-");
    format!("{state:<8}  {}  {:<11}  {tries:>8}  {age:>6}  {error}", job.id, job.kind)
}

/// In the largest unit that fits.
fn age(millis: i64) -> String {
    let seconds = (millis / 1000).max(0);
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn an_age_is_said_in_the_largest_unit_that_fits() {
        for (seconds, said) in
            [(-5, "0 s"), (59, "59 s"), (3599, "59 min"), (7200, "2 h"), (172_799, "47 h"), (259_200, "3 d")]
        {
            assert_eq!(super::age(seconds * 1000), said);
        }
    }
}
