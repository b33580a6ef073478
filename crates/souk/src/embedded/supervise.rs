//! Runs `mongod` on a thread of its own, which lives as long as the server should, and starts it again should it end
//! by itself.

use std::ffi::OsString;
use std::fs::File;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context as _;
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::process;

/// A clean shutdown takes about a second; a server that needs longer than this is killed, its journal is safe.
const SHUTDOWN_WITHIN: Duration = Duration::from_secs(15);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// A server that ran for so long did not fail because of how it was started.
const SETTLED_AFTER: Duration = Duration::from_secs(60);

/// One way to start the server.
#[derive(Debug)]
pub(super) struct Launch {
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<OsString>,
    /// Takes what the server says before it opens its own log.
    pub(super) log: PathBuf,
    /// Whether a stop asks first; a throw-away database is killed at once.
    pub(super) gently: bool,
}

#[derive(Debug)]
enum Order {
    /// From now on the end of the server is an accident, and it is started again.
    KeepRunning,
    Stop,
    Kill,
}

#[derive(Debug, Clone)]
enum State {
    Running(Option<u32>),
    Pausing,
    Ended(String),
}

#[derive(Debug)]
pub(super) struct Supervisor {
    orders: mpsc::UnboundedSender<Order>,
    state: watch::Receiver<State>,
    thread: Option<JoinHandle<()>>,
}

impl Supervisor {
    pub(super) fn start(launch: Launch) -> anyhow::Result<Self> {
        let (orders, inbox) = mpsc::unbounded_channel();
        let (report, state) = watch::channel(State::Running(None));
        // A runtime of its own, so that the child is forked on this very thread and outlives any test's runtime.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot set up the embedded MongoDB's supervisor")?;
        let thread = std::thread::Builder::new()
            .name("mongod".to_owned())
            .spawn(move || runtime.block_on(run(&launch, inbox, &report)))
            .context("cannot start the embedded MongoDB's supervisor")?;
        Ok(Self { orders, state, thread: Some(thread) })
    }

    /// Waits until the server has ended for good, and says how.
    pub(super) async fn ended(&mut self) -> anyhow::Error {
        loop {
            if let State::Ended(how) = &*self.state.borrow_and_update() {
                return anyhow::anyhow!("{how}");
            }
            if self.state.changed().await.is_err() {
                return anyhow::anyhow!("the embedded MongoDB's supervisor has ended");
            }
        }
    }

    pub(super) fn keep_running(&self) {
        self.orders.send(Order::KeepRunning).ok();
    }

    pub(super) fn pid(&self) -> Option<u32> {
        match &*self.state.borrow() {
            State::Running(pid) => *pid,
            State::Pausing | State::Ended(_) => None,
        }
    }

    pub(super) async fn stop(mut self) {
        self.orders.send(Order::Stop).ok();
        self.ended().await;
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.orders.send(Order::Kill).ok();
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

async fn run(launch: &Launch, mut orders: mpsc::UnboundedReceiver<Order>, state: &watch::Sender<State>) {
    let mut keep = false;
    let mut pause = FIRST_PAUSE;
    loop {
        let begun = Instant::now();
        let how = match launch.spawn() {
            Ok(mut child) => {
                state.send_replace(State::Running(child.id()));
                match watch_over(&mut child, &mut orders, &mut keep, launch.gently).await {
                    Outcome::Obeyed => return end(state, "the embedded MongoDB was stopped".to_owned()),
                    Outcome::Died(how) => how,
                }
            }
            Err(error) => format!("{} cannot be started: {error}", launch.program.display()),
        };
        if !keep {
            return end(state, how);
        }
        if begun.elapsed() > SETTLED_AFTER {
            pause = FIRST_PAUSE;
        }
        state.send_replace(State::Pausing);
        tracing::error!(log = %launch.log.display(), "{how}; starting it again in {pause:?}");
        tokio::select! {
            () = tokio::time::sleep(pause) => pause = LONGEST_PAUSE.min(pause * 2),
            order = orders.recv() => if !matches!(order, Some(Order::KeepRunning)) { return end(state, how) },
        }
    }
}

fn end(state: &watch::Sender<State>, how: String) {
    state.send_replace(State::Ended(how));
}

enum Outcome {
    Obeyed,
    Died(String),
}

/// Waits for the end of the server, or for the order to bring it about.
async fn watch_over(
    child: &mut Child,
    orders: &mut mpsc::UnboundedReceiver<Order>,
    keep: &mut bool,
    gently: bool,
) -> Outcome {
    loop {
        tokio::select! {
            status = child.wait() => return Outcome::Died(format!("the embedded MongoDB ended by itself ({})", describe(status))),
            order = orders.recv() => match order {
                Some(Order::KeepRunning) => *keep = true,
                Some(Order::Stop) if gently => {
                    process::terminate(child);
                    match tokio::time::timeout(SHUTDOWN_WITHIN, child.wait()).await {
                        Ok(_) => {}
                        Err(_) => {
                            tracing::warn!("the embedded MongoDB did not shut down in time and is killed; its journal is safe");
                            child.kill().await.ok();
                        }
                    }
                    return Outcome::Obeyed;
                }
                Some(Order::Stop | Order::Kill) | None => {
                    child.kill().await.ok();
                    return Outcome::Obeyed;
                }
            },
        }
    }
}

fn describe(status: std::io::Result<ExitStatus>) -> String {
    match status {
        Ok(status) => status.to_string(),
        Err(error) => error.to_string(),
    }
}

impl Launch {
    fn spawn(&self) -> std::io::Result<Child> {
        let early = File::options().create(true).append(true).open(&self.log)?;
        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(early)
            // Ctrl-C goes to the whole group: the database must outlive the servers that are still finishing.
            .process_group(0)
            .kill_on_drop(true);
        process::die_with_this_thread(&mut command);
        command.spawn()
    }
}
