//! `souk admin`: making administrators, for whoever operates the server.

use std::{
    io::{IsTerminal as _, Write as _},
    process::ExitCode,
    sync::Arc,
};

use anyhow::Context as _;
use api::Appointed;
use clap::Subcommand;
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use shared::{clock::Clock, config::Config, migrate};

use crate::{banner::say, database::Database};

/// What to do.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Order {
    /// Make an administrator, or promote the account of this address if the password is its own
    ///
    /// The password is ADMIN_PASSWORD, or else is asked for, or read from a pipe.
    Create {
        /// The e-mail address
        email: String,
    },
}

impl Order {
    /// The settings, with this administrator in them.
    pub(crate) fn config(&self) -> anyhow::Result<Config> {
        let Self::Create { email } = self;
        Config::from_env_for_admin(email, password)
    }
}

/// One line from whoever types, who does not see it, or from a pipe.
fn password() -> anyhow::Result<String> {
    let stdin = std::io::stdin();
    let mut line = String::new();
    if stdin.is_terminal() {
        let mut terminal = std::io::stdout();
        write!(terminal, "Password: ")?;
        terminal.flush()?;
        let usual = tcgetattr(&stdin)?;
        let mut silent = usual.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(&stdin, OptionalActions::Flush, &silent)?;
        let read = stdin.read_line(&mut line);
        tcsetattr(&stdin, OptionalActions::Flush, &usual)?;
        // The line that was not shown.
        writeln!(terminal)?;
        read?;
    } else {
        stdin.read_line(&mut line)?;
    }
    let password = line.trim_end_matches(['\r', '\n']).to_owned();
    anyhow::ensure!(!password.is_empty(), "no password was given: set ADMIN_PASSWORD, or type one");
    Ok(password)
}

/// Does it, and says what was done.
pub(crate) async fn serve(config: Config, order: Order) -> anyhow::Result<ExitCode> {
    let Order::Create { email } = order;
    let database = Database::reach(&config, "souk-admin").await?;
    let done = create(config, &database).await;
    database.close().await;
    match done? {
        Appointed::Made => say(&format!("{email} is an administrator now; the account was made.")),
        Appointed::Promoted => say(&format!("{email} is an administrator now.")),
        Appointed::Already => {
            say(&format!("{email} is an administrator already, with the password that it has."));
        }
        Appointed::AnothersPassword => {
            say("There is an account of this address, and its password is another: it may be anybody's. \
                 Nothing was changed. Give that account's password, or another address.");
            return Ok(ExitCode::FAILURE);
        }
        Appointed::Blocked => {
            say("The account of this address is blocked. Nothing was changed: another administrator has to \
                 unblock it first.");
            return Ok(ExitCode::FAILURE);
        }
        Appointed::Weak(why) => {
            say(&format!("This password is too weak for an administrator: it {why}. Nothing was changed."));
            return Ok(ExitCode::FAILURE);
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn create(config: Config, database: &Database) -> anyhow::Result<Appointed> {
    let clock = Clock::default();
    // The unique address, on a database that no server has seen yet.
    migrate::run(&database.db, &clock).await?;
    let app = api::App::new(Arc::new(config), database.db.clone(), clock)?;
    api::create_administrator(&app).await.context("the administrator could not be made")
}
