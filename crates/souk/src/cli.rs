//! The `souk` command: `souk` runs everything on one machine, a subcommand one part of it.

use std::{io::Write as _, process::ExitCode};

use clap::{Parser, Subcommand};
use shared::{config::Config, telemetry, traces};

use crate::{admin, backup, doctor, health, migrate, outbox, prove, reconcile, run, selftest};

/// A marketplace server: an HTTP API, a chat server and the database under both.
///
/// Settings come from the environment and from `.env` in the working directory; `.env.example` lists them all.
#[derive(Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Run the HTTP API only (needs DB_URL when the chat server runs elsewhere)
    Api,
    /// Run the chat server only (needs DB_URL when the API runs elsewhere)
    Realtime,
    /// Bring the database to what this version expects, and say what stands in the way
    Migrate,
    /// Ask the servers on this machine whether they can serve; for containers and scripts
    Healthcheck {
        /// Only this one; otherwise those that run here
        #[arg(value_enum)]
        server: Option<health::Server>,
    },
    /// Try every configured service and say in words what is wrong
    Doctor,
    /// Count all money and all units again, from the documents, and fail at one cent or unit of difference
    Prove,
    /// Compare a day of our books with what each payment gateway lists, and fail at one difference
    Reconcile(reconcile::Options),
    /// List the mails, refunds and deletions that wait to be done or were given up
    Outbox {
        #[command(subcommand)]
        order: Option<outbox::Order>,
    },
    /// Make an administrator, or promote an account
    Admin {
        #[command(subcommand)]
        order: admin::Order,
    },
    /// Write everything as of one moment into a new directory, with checksums, beside servers at work
    Backup(backup::BackupOptions),
    /// Check a backup and make it the database; no server may run on that meanwhile
    Restore(backup::RestoreOptions),
    /// Race and crash this installation in a scratch database, and print what held
    Selftest(selftest::Options),
}

/// Reads the command line and the settings, and does what they say.
pub fn main() -> ExitCode {
    // Several crates bring rustls and none chooses its cryptography; the choice must be the first thing done. Only
    // a second call could fail.
    _ = rustls::crypto::ring::default_provider().install_default();
    // Each connection is a file. Where more are not allowed, the doctor says so.
    _ = rlimit::increase_nofile_limit(u64::MAX);
    let cli = Cli::parse();
    let done = run(cli.command);
    traces::flush();
    match done {
        Ok(code) => code,
        Err(error) => {
            // The log may not have been set up yet, and this is for the person who typed the command.
            _ = writeln!(std::io::stderr(), "souk: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Option<Command>) -> anyhow::Result<ExitCode> {
    let config = match &command {
        Some(Command::Admin { order }) => order.config(),
        _ => Config::from_env(),
    };
    // Before anything could fail: what fails should be in the log.
    if let Ok(config) = &config {
        // The self-test tells in its table what went wrong; what it kills would fill the log with complaints.
        let quiet = matches!(command, Some(Command::Selftest(_)));
        let filter = if quiet { "off" } else { &config.log_filter };
        telemetry::init_logs(config.log_format, filter, config.traces.as_ref());
        telemetry::init_metrics();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        match command {
            None => run::serve(config?, run::Parts::ALL).await,
            Some(Command::Api) => run::serve(config?, run::Parts::API).await,
            Some(Command::Realtime) => run::serve(config?, run::Parts::CHAT).await,
            Some(Command::Migrate) => migrate::migrate(config?).await,
            Some(Command::Healthcheck { server }) => health::check(config?, server).await,
            Some(Command::Doctor) => doctor::examine(config).await,
            Some(Command::Prove) => prove::prove(config?).await,
            Some(Command::Reconcile(options)) => reconcile::serve(config?, options).await,
            Some(Command::Outbox { order }) => outbox::serve(config?, order).await,
            Some(Command::Admin { order }) => admin::serve(config?, order).await,
            Some(Command::Backup(options)) => backup::back_up(config?, options).await,
            Some(Command::Restore(options)) => backup::restore(config?, options).await,
            Some(Command::Selftest(options)) => selftest::run(config?, options).await,
        }
    })
}
