//! `souk selftest`: races and crashes this installation and says what held.
//!
//! The trials run against the deployment's own MongoDB, each in a scratch database of its own that is removed however
//! the trial ends, with API servers of this very program as child processes. They speak HTTP as clients do and judge by
//! the answers and by the documents.
//!
//! * `stage` is where a trial takes place: scratch database and servers; `people` are who acts there;
//! * `client` speaks HTTP, `verdict` counts answers and differences, `chance` is repeatable randomness;
//! * `races`, `carts`, `money`, `refunds`, `storm` and `crash` are the trials.

mod carts;
mod chance;
mod client;
mod crash;
mod money;
mod people;
mod races;
mod refunds;
mod stage;
mod storm;
mod verdict;

use std::{panic::AssertUnwindSafe, process::ExitCode, time::Duration};

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use futures_util::FutureExt as _;
use shared::{auth::one_time_token, clock::Clock, config::Config};
use tokio::time::Instant;

use self::{
    chance::Chance,
    stage::{Ground, Stage},
    verdict::Report,
};
use crate::{banner::say, signals::Signals};

/// What is to be tried, and how often.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Run the counts of the README's table; takes about half an hour
    #[arg(long, conflicts_with = "quick")]
    full: bool,
    /// Run each trial a few times only, to see that it works
    #[arg(long)]
    quick: bool,
    /// Run this trial only; may be given several times
    #[arg(long, value_enum, value_name = "TRIAL")]
    only: Vec<Trial>,
    /// Repeat the random choices of an earlier run
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
}

/// The trials, in the order in which they are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Trial {
    /// The last unit of a product, wanted by 200 buyers at once
    LastUnit,
    /// The same product on several lines, or in several carts at once
    SameProduct,
    /// The same checkout 50 times at once
    SameRequest,
    /// Random carts: the shops' orders come to what was charged
    Carts,
    /// 64 withdrawals of the whole balance at once
    Withdrawals,
    /// Delivered, approved and refunded, each 20 times at once
    Once,
    /// Random partial refunds: buyer, seller and fee leave no cent over
    Refunds,
    /// 32 clients doing as they like, and the books audited beside them
    Storm,
    /// The server killed under load
    KillServer,
    /// MongoDB killed under load: one of the trial's own
    KillDatabase,
}

/// So many times in a quick run, in a normal one, in a full one.
struct Counts(u64, u64, u64);

impl Trial {
    const fn counts(self) -> Counts {
        match self {
            Self::LastUnit => Counts(1, 10, 100),
            Self::SameProduct => Counts(20, 200, 1000),
            Self::SameRequest => Counts(1, 10, 100),
            Self::Carts => Counts(60, 1000, 10_000),
            Self::Withdrawals => Counts(1, 10, 100),
            Self::Once => Counts(1, 5, 50),
            Self::Refunds => Counts(30, 300, 10_000),
            // Seconds.
            Self::Storm => Counts(2, 15, 300),
            Self::KillServer => Counts(2, 8, 200),
            Self::KillDatabase => Counts(1, 3, 50),
        }
    }

    /// As `--only` knows it.
    fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// How many servers it races.
    const fn nodes(self) -> usize {
        match self {
            Self::KillServer | Self::KillDatabase => 1,
            _ => 2,
        }
    }

    async fn run(self, stage: &mut Stage, count: u64, mut chance: Chance) -> anyhow::Result<Report> {
        let chance = &mut chance;
        match self {
            Self::LastUnit => races::last_unit(stage, count, 200).await,
            Self::SameProduct => races::same_product(stage, count, chance).await,
            Self::SameRequest => races::same_request(stage, count, 50).await,
            Self::Carts => carts::sums(stage, count, chance).await,
            Self::Withdrawals => money::withdrawals(stage, count, 64, chance).await,
            Self::Once => money::once(stage, count, 20, chance).await,
            Self::Refunds => refunds::partial(stage, count, chance).await,
            Self::Storm => storm::storm(stage, 32, Duration::from_secs(count), chance).await,
            Self::KillServer => crash::kill_server(stage, count, chance).await,
            Self::KillDatabase => crash::kill_database(stage, count, chance).await,
        }
    }
}

/// What became of a trial.
enum Outcome {
    Ran(Report),
    /// It could not be brought to its end.
    Broke(anyhow::Error, Vec<String>),
    /// What it needs is not there.
    Impossible(String),
    Interrupted(&'static str),
}

/// A trial that takes so long hangs.
const LIMIT: Duration = Duration::from_secs(30 * 60);

/// Runs the trials and fails if any of them has.
pub(crate) async fn run(config: Config, options: Options) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::listen().context("cannot listen for signals")?;
    let ground = tokio::select! {
        ground = Ground::find(&config) => ground?,
        signal = signals.next() => {
            say(&format!("{signal}: nothing was tried yet"));
            return Ok(ExitCode::FAILURE);
        }
    };
    ground.sweep(&Clock::default()).await;
    let all_passed = trials(&ground, &options, &mut signals).await;
    ground.leave().await;
    Ok(if all_passed? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn trials(ground: &Ground, options: &Options, signals: &mut Signals) -> anyhow::Result<bool> {
    let seed = match options.seed {
        Some(seed) => seed,
        // Short enough to be typed.
        None => u64::from_str_radix(one_time_token()?.get(..8).unwrap_or("0"), 16)?,
    };
    say(&format!("Trying {} in scratch databases, with --seed {seed}.\n", ground.describe()));
    say(&format!("{:<14} {:<8} {:>7}  {}", "trial", "result", "seconds", "what was run"));
    let (mut failed, mut missing) = (Vec::new(), Vec::new());
    for (number, trial) in (0..).zip(Trial::value_variants()) {
        if !options.only.is_empty() && !options.only.contains(trial) {
            continue;
        }
        let Counts(quick, normal, full) = trial.counts();
        let count = if options.full {
            full
        } else if options.quick {
            quick
        } else {
            normal
        };
        let chance = Chance::new(seed).fork(number);
        let begun = Instant::now();
        let (outcome, cleaned) = once(*trial, ground, count, chance, signals).await;
        let (result, ran, mut lines) = match outcome {
            Outcome::Ran(report) if report.differences.is_empty() => ("ok", report.ran, vec![]),
            Outcome::Ran(report) => ("FAILED", report.ran, report.differences.lines()),
            Outcome::Broke(error, complaints) => ("FAILED", format!("{error:#}"), complaints),
            Outcome::Impossible(why) => ("not run", why, vec![]),
            Outcome::Interrupted(signal) => {
                say(&format!("\n{signal}: stopped, and everything removed"));
                return cleaned.map(|()| false);
            }
        };
        if let Err(error) = &cleaned {
            lines.push(format!("{error:#}"));
        }
        say(&format!("{:<14} {result:<8} {:>7.1}  {ran}", trial.name(), begun.elapsed().as_secs_f64()));
        lines.iter().for_each(|line| say(&format!("    {line}")));
        match result {
            "not run" => missing.push(trial.name()),
            "ok" if cleaned.is_ok() => {}
            _ => failed.push(trial.name()),
        }
    }
    say(&conclusion(&failed, &missing, seed));
    Ok(failed.is_empty())
}

fn conclusion(failed: &[String], missing: &[String], seed: u64) -> String {
    let mut text = String::from("\n");
    if !missing.is_empty() {
        text.push_str(&format!("Not run: {}. ", missing.join(", ")));
    }
    if failed.is_empty() {
        text.push_str(if missing.is_empty() { "Everything held." } else { "Everything else held." });
    } else {
        let again: Vec<String> = failed.iter().map(|name| format!("--only {name}")).collect();
        text.push_str(&format!("FAILED: {}. ", failed.join(", ")));
        text.push_str(&format!("Try it again: souk selftest --seed {seed} {}", again.join(" ")));
    }
    text
}

/// Sets a stage, runs one trial on it, and removes the stage again, whatever happens.
async fn once(
    trial: Trial,
    ground: &Ground,
    count: u64,
    chance: Chance,
    signals: &mut Signals,
) -> (Outcome, anyhow::Result<()>) {
    let mut stage = match Stage::new(ground).await {
        Ok(stage) => stage,
        Err(error) => return (Outcome::Broke(error, vec![]), Ok(())),
    };
    let outcome = tokio::select! {
        // Also a trial that panics leaves nothing behind.
        outcome = AssertUnwindSafe(attempt(trial, &mut stage, count, chance)).catch_unwind() => {
            outcome.unwrap_or_else(|_| Err(anyhow::anyhow!("the trial itself is broken; its words are above")))
        }
        signal = signals.next() => Ok(Outcome::Interrupted(signal)),
        () = tokio::time::sleep(LIMIT) => Err(anyhow::anyhow!("gave up after {} minutes", LIMIT.as_secs() / 60)),
    };
    let outcome = outcome.unwrap_or_else(|error| Outcome::Broke(error, stage.complaints()));
    (outcome, stage.close(ground).await)
}

async fn attempt(trial: Trial, stage: &mut Stage, count: u64, chance: Chance) -> anyhow::Result<Outcome> {
    if trial == Trial::KillDatabase {
        if let Err(why) = stage.has_mongod().await {
            return Ok(Outcome::Impossible(format!(
                "there is no mongod on this machine to be killed: {why:#}"
            )));
        }
        stage.use_own_mongod().await?;
    }
    for _ in 0..trial.nodes() {
        stage.start_node().await?;
    }
    trial.run(stage, count, chance).await.map(Outcome::Ran)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_how_to_repeat_it() {
        let text = conclusion(&["carts".to_owned()], &[], 7);
        assert!(
            text.contains("FAILED: carts") && text.contains("souk selftest --seed 7 --only carts"),
            "{text}"
        );
        assert!(conclusion(&[], &[], 7).contains("Everything held."));
        assert!(
            conclusion(&[], &["kill-database".to_owned()], 7)
                .contains("Not run: kill-database. Everything else")
        );
    }
}
