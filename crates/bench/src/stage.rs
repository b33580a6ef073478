//! What all benchmarks need around the measuring: a voice, a directory, an end.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use shared::config::Config;
use souk::embedded::{self, EmbeddedMongo};
use tokio::signal::unix::{SignalKind, signal};

/// Prints a line.
pub(crate) fn say(line: impl AsRef<str>) {
    // Whoever has closed our output does not want to know.
    _ = writeln!(std::io::stdout(), "{}", line.as_ref());
}

/// A directory that is gone afterwards.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new(parent: &Path) -> anyhow::Result<Self> {
        let path = parent.join(format!("souk-bench-{}", std::process::id()));
        fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self(path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

/// Says so where what is measured means nothing.
pub(crate) fn warn_of_debug_builds(command: &str) {
    if cfg!(debug_assertions) {
        say(format!(
            "This is a debug build: its figures mean nothing. Use `cargo run --release -p bench -- {command}`."
        ));
    }
}

/// Measures the server at an address if one is given, and otherwise our own on a database of its own.
pub(crate) async fn there_or_here(
    url: Option<&str>,
    parent: &Path,
    there: impl AsyncFnOnce(&str) -> anyhow::Result<ExitCode>,
    here: impl AsyncFnOnce(&Scratch, &EmbeddedMongo) -> anyhow::Result<ExitCode>,
) -> anyhow::Result<ExitCode> {
    until_stopped(async {
        match url {
            Some(url) => there(url).await,
            None => on_a_database(parent, here).await,
        }
    })
    .await
}

/// Measures on a MongoDB of its own, in a directory of its own.
pub(crate) async fn on_a_database(
    parent: &Path,
    measure: impl AsyncFnOnce(&Scratch, &EmbeddedMongo) -> anyhow::Result<ExitCode>,
) -> anyhow::Result<ExitCode> {
    let scratch = Scratch::new(parent)?;
    let mongod = Config::from_env().ok().and_then(|config| config.mongod);
    let mongo =
        embedded::start(embedded::Options { mongod, ..embedded::Options::in_home(scratch.path()) }).await?;
    let outcome = measure(&scratch, &mongo).await;
    mongo.stop().await;
    outcome
}

/// Measures, unless told to stop before.
pub(crate) async fn until_stopped(
    measured: impl Future<Output = anyhow::Result<ExitCode>>,
) -> anyhow::Result<ExitCode> {
    let mut terminated = signal(SignalKind::terminate())?;
    tokio::select! {
        done = measured => done,
        _ = tokio::signal::ctrl_c() => anyhow::bail!("stopped before it was done"),
        _ = terminated.recv() => anyhow::bail!("stopped before it was done"),
    }
}
