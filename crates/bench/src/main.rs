//! `cargo run --release -p bench -- checkout`: how many checkouts a second, beside what the database allows.
//!
//! * `checkout` runs the cells of the table and prints it;
//! * `goods` fills a database and writes the bodies that browsers send;
//! * `load` is the clients, on one kept-alive connection each;
//! * `ceiling` commits the same documents with the bare driver;
//! * `machine` tells whose processor time it was;
//! * `stats` makes figures of latencies.

mod ceiling;
mod checkout;
mod goods;
mod load;
mod machine;
mod server;
mod stats;

use std::{io::Write as _, process::ExitCode};

use clap::{Parser, Subcommand};

/// Measures Souk.
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Checkouts a second over HTTP, and what the bare driver commits of the same documents
    Checkout(checkout::Options),
    /// The server under test: this very program once more, so that its processor time can be told apart
    #[command(hide = true)]
    Api,
}

fn main() -> ExitCode {
    let options = match Cli::parse().command {
        Command::Api => return souk::cli::main(),
        Command::Checkout(options) => options,
    };
    let done = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(anyhow::Error::from)
        .and_then(|runtime| runtime.block_on(checkout::run(options)));
    match done {
        Ok(code) => code,
        Err(error) => {
            // The last words; nobody to tell if that fails.
            _ = writeln!(std::io::stderr(), "bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}
