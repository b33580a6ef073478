//! `cargo run --release -p bench -- checkout`: how many checkouts a second, beside what the database allows.
//! `cargo run --release -p bench -- catalogue`: lists and pages of products, beside what the framework allows.
//! `cargo run --release -p bench -- chat`: how many messages a second, beside what the stack and the database allow.
//! `cargo run --release -p bench -- slow`: what thousands of slow connections cost everybody else.
//!
//! * `checkout` runs the cells of the table and prints it;
//! * `catalogue` and `chat` likewise, for the catalogue and the chat;
//! * `slow` opens slow connections, and measures the others;
//! * `goods` fills a database and writes the bodies that browsers send;
//! * `load` is the clients, on one kept-alive connection each;
//! * `ceiling` commits the same documents with the bare driver;
//! * `server` starts what is measured, in processes of its own;
//! * `stage` is what both need around the measuring;
//! * `machine` tells whose processor time it was;
//! * `stats` makes figures of latencies.

mod catalogue;
mod ceiling;
mod chat;
mod checkout;
mod goods;
mod load;
mod machine;
mod server;
mod slow;
mod stage;
mod stats;

use std::{io::Write as _, process::ExitCode};

use clap::{Parser, Subcommand};
use futures_util::{FutureExt as _, TryFutureExt as _};

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
    /// Lists and pages a second, beside the framework answering the same bytes
    Catalogue(catalogue::Options),
    /// Messages a second over Socket.IO, and what bare relays and the bare driver do with the same messages
    Chat(chat::Options),
    /// What thousands of connections that send a byte a second cost everybody else
    Slow(slow::Options),
    /// The server under test: this very program once more, so that its processor time can be told apart
    #[command(hide = true)]
    Api,
    /// Likewise
    #[command(hide = true)]
    Realtime,
    /// A server that only answers files
    #[command(hide = true)]
    Still(catalogue::still::Still),
    /// A server that only passes messages on
    #[command(hide = true)]
    Relay(chat::relay::Relay),
}

fn main() -> ExitCode {
    let work = match Cli::parse().command {
        Command::Api | Command::Realtime => return souk::cli::main(),
        Command::Checkout(options) => checkout::run(options).boxed(),
        Command::Catalogue(options) => catalogue::run(options).boxed(),
        Command::Still(still) => catalogue::still::serve(still).map_ok(|()| ExitCode::SUCCESS).boxed(),
        Command::Slow(options) => slow::run(options).boxed(),
        Command::Chat(options) => chat::run(options).boxed(),
        Command::Relay(relay) => chat::relay::serve(relay).map_ok(|()| ExitCode::SUCCESS).boxed(),
    };
    let done = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(anyhow::Error::from)
        .and_then(|runtime| runtime.block_on(work));
    match done {
        Ok(code) => code,
        Err(error) => {
            // The last words; nobody to tell if that fails.
            _ = writeln!(std::io::stderr(), "bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}
