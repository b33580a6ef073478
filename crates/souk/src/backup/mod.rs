//! `souk backup` and `souk restore`: everything as of one moment, in a directory that can be checked, and back.
//!
//! * `parts` is what such a directory holds: its manifest, and files that are written and read with their checksums;
//! * `moment` is one moment of the database, and keeps the server from forgetting it;
//! * `take` writes a backup aside and renames it when it is whole;
//! * `restore` checks all of one, writes it beside what is there, and puts it in its place;
//! * `uploads` are the pictures, where they are files of this machine.

mod moment;
mod parts;
mod restore;
mod take;
mod uploads;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use clap::Args;
use shared::config::{Config, parse_duration};

pub(crate) use self::restore::RestoreOptions;
use crate::{banner::say, signals::Signals};

/// So many collections are read or written at a time.
const WORKERS: usize = 4;

/// Where to, and how.
#[derive(Args, Clone, Debug)]
pub(crate) struct BackupOptions {
    /// A new directory for the backup, or an existing one in which a dated directory is made
    #[arg(value_name = "DIRECTORY")]
    to: PathBuf,
    /// Leave the pictures out that are files of this machine
    #[arg(long)]
    without_uploads: bool,
    /// Have a MongoDB of your own keep the past for so long while the backup is read, such as 2h; the embedded one is
    /// always told to
    #[arg(long, value_name = "TIME", value_parser = time)]
    history: Option<Duration>,
}

fn time(text: &str) -> Result<Duration, String> {
    parse_duration(text).ok_or_else(|| "a time such as 2h or 30m".to_owned())
}

/// Takes a backup, and says what is in it.
pub(crate) async fn back_up(config: Config, options: BackupOptions) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::listen()?;
    let stopped = async move { signals.next().await };
    let taken = take::take(&config, &options, stopped).await?;
    say(&format!(
        "{} holds {} documents of {} collections as of {}, {} pictures, {} MiB.",
        taken.at.display(),
        taken.documents,
        taken.collections,
        taken.moment,
        taken.pictures,
        taken.bytes >> 20,
    ));
    Ok(ExitCode::SUCCESS)
}

/// Checks a backup, and unless only that is wanted makes it the database.
pub(crate) async fn restore(config: Config, options: RestoreOptions) -> anyhow::Result<ExitCode> {
    restore::restore(&config, &options).await
}
