//! The embedded database: a real `mongod`, found or fetched, started as a one-node replica set (transactions and
//! change streams need one), supervised, and stopped with us.
//!
//! * `binary` finds the program, or fetches it once and verifies it;
//! * `process` holds the two system calls that tie its life to ours;
//! * `supervise` runs it and starts it again should it end by itself;
//! * `replica` turns the running server into a replica set with a primary.

mod binary;
pub(crate) mod process;
mod replica;
mod supervise;

use std::fs::{self, File, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;

use self::supervise::{Launch, Supervisor};

/// Small journal files; and files that nobody uses are closed soon: each collection and each index is one, and a
/// process may have only so many open.
const ENGINE: &str = "log=(prealloc=false,file_max=10MB),\
    file_manager=(close_idle_time=10,close_scan_interval=5,close_handle_minimum=250)";

/// How long a fresh or recovering `mongod` may take until it accepts writes.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// Attempts to start: another process may take a free port, or still be letting go of the data directory.
const ATTEMPTS: u32 = 4;
/// The log is set aside at start once it has grown past this size.
const LOG_LIMIT: u64 = 10 * 1024 * 1024;

/// What to run and where.
#[derive(Debug, Clone)]
pub struct Options {
    /// Everything that belongs to this installation: `.souk` unless `SOUK_HOME` says otherwise.
    pub home: PathBuf,
    /// The program to run (`MONGOD`); searched for, and fetched if need be, when absent.
    pub mongod: Option<PathBuf>,
    /// Where the data is kept: `db` in [`Options::home`] when absent.
    pub data_dir: Option<PathBuf>,
    /// The port to listen on, on the loopback address; the one of the last run or a free one when absent.
    pub port: Option<u16>,
    /// Data in memory and gone afterwards, acknowledged without waiting for the disk, expiry checked every second.
    pub for_tests: bool,
    /// One of several that [`unite`] makes a set of, instead of a set of its own.
    pub member: bool,
}

impl Options {
    /// The database that `cargo run` uses: kept in `home`, reused by the next run.
    #[must_use]
    pub fn in_home(home: impl Into<PathBuf>) -> Self {
        Self { home: home.into(), mongod: None, data_dir: None, port: None, for_tests: false, member: false }
    }

    /// A throw-away database for a test binary.
    #[must_use]
    pub fn for_tests() -> Self {
        Self { for_tests: true, ..Self::in_home(".souk") }
    }
}

/// The data directory belongs to another process.
#[derive(Debug, Clone, thiserror::Error)]
#[error(
    "another Souk (process {owner}) is already running on the database in {}: stop it, or give this one a directory of \
     its own with SOUK_HOME",
    data.display()
)]
pub struct InUse {
    owner: String,
    data: PathBuf,
}

/// A running `mongod`. Dropping it kills the process; [`EmbeddedMongo::stop`] shuts it down cleanly.
#[derive(Debug)]
pub struct EmbeddedMongo {
    supervisor: Supervisor,
    uri: String,
    port: u16,
    data: DataDir,
}

/// Starts the database and returns once it accepts writes.
///
/// # Errors
/// If no `mongod` can be had, the data directory is in use or not writable, or the server does not come up; the
/// message says which and what to do about it.
pub async fn start(options: Options) -> anyhow::Result<EmbeddedMongo> {
    let program = binary::locate(&options).await?;
    if options.for_tests {
        sweep_abandoned();
    }
    let mut attempt = 0;
    loop {
        attempt += 1;
        match start_once(&options, &program).await {
            Ok(running) => return Ok(running),
            Err(Failed::Again(reason)) if attempt < ATTEMPTS => {
                tracing::warn!(attempt, "the embedded MongoDB did not start, trying again: {reason:#}");
                tokio::time::sleep(Duration::from_millis(250) * attempt).await;
            }
            Err(Failed::Again(reason) | Failed::For(reason)) => return Err(reason),
        }
    }
}

/// Why an attempt came to nothing, and whether another one may do better.
enum Failed {
    Again(anyhow::Error),
    For(anyhow::Error),
}

impl From<anyhow::Error> for Failed {
    fn from(reason: anyhow::Error) -> Self {
        Self::For(reason)
    }
}

/// The program that [`start`] would run; fetched if need be.
///
/// # Errors
/// If none can be had; the message names the ways out.
pub async fn program(options: &Options) -> anyhow::Result<PathBuf> {
    binary::locate(options).await
}

/// The connection string of the database that another process runs on this data directory, to be used when
/// [`start`] says [`InUse`].
#[must_use]
pub fn uri_of_running(options: &Options) -> Option<String> {
    remembered_port(options).map(|port| uri(port, "souk"))
}

async fn start_once(options: &Options, program: &Path) -> Result<EmbeddedMongo, Failed> {
    let port = match options.port {
        Some(port) => port,
        None => free_port(remembered_port(options)).context("no free port for the embedded MongoDB")?,
    };
    let data = DataDir::claim(options, port)?;
    let log = if options.for_tests { data.path.join("mongod.log") } else { options.home.join("mongod.log") };
    set_aside(&log);
    let launch = Launch {
        program: program.to_owned(),
        arguments: arguments(options, &data.path, port, &log),
        log: log.clone(),
        gently: !options.for_tests,
    };
    let mut supervisor = Supervisor::start(launch)?;
    let ready = tokio::select! {
        ready = replica::make_ready(port, options) => ready.map_err(Failed::For),
        ended = supervisor.ended() => Err(Failed::Again(ended.context(last_words(&log)))),
        () = tokio::time::sleep(READY_WITHIN) => Err(Failed::For(anyhow::anyhow!(
            "the embedded MongoDB was not ready within {} s; {}", READY_WITHIN.as_secs(), last_words(&log),
        ))),
    };
    ready?;
    supervisor.keep_running();
    data.remember_port(port);
    tracing::info!(port, data = %data.path.display(), "embedded MongoDB is ready");
    Ok(EmbeddedMongo { supervisor, uri: uri(port, "souk"), port, data })
}

impl EmbeddedMongo {
    /// The connection string, with `souk` as the database.
    #[must_use]
    pub fn uri(&self) -> &str {
        &self.uri
    }

    /// The connection string for another database on this server.
    #[must_use]
    pub fn uri_for(&self, database: &str) -> String {
        uri(self.port, database)
    }

    /// Where the data is.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        &self.data.path
    }

    /// The process id of the running server, if it is running right now.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.supervisor.pid()
    }

    /// Kills the server in the middle of its work, as a crash would: it is started again.
    pub fn crash(&self) {
        if let Some(pid) = self.pid() {
            process::kill(pid);
        }
    }

    /// Shuts the server down and waits for its end: cleanly, or by force when it takes too long.
    pub async fn stop(self) {
        self.supervisor.stop().await;
    }
}

/// Makes one set of servers that were started as members, waits until it has a primary, and gives the set's connection
/// string for a database. Another primary is elected within some seconds.
///
/// # Errors
/// If they do not become a set.
pub async fn unite(members: &[EmbeddedMongo], database: &str) -> anyhow::Result<String> {
    let hosts: Vec<String> = members.iter().map(|member| format!("127.0.0.1:{}", member.port)).collect();
    tokio::time::timeout(READY_WITHIN, replica::unite(&hosts)).await.context("no primary in time")??;
    Ok(format!("mongodb://{}/{database}?replicaSet={}", hosts.join(","), replica::SET_NAME))
}

/// No `directConnection`: with the set's name the driver waits for the primary when a restarted server recovers,
/// instead of failing writes with "not primary".
fn uri(port: u16, database: &str) -> String {
    format!("mongodb://127.0.0.1:{port}/{database}?replicaSet={}", replica::SET_NAME)
}

fn arguments(options: &Options, data: &Path, port: u16, log: &Path) -> Vec<std::ffi::OsString> {
    let port = port.to_string();
    let mut arguments: Vec<std::ffi::OsString> = Vec::new();
    let mut add = |name: &str, value: &dyn AsRef<std::ffi::OsStr>| {
        arguments.push(name.into());
        arguments.push(value.as_ref().to_owned());
    };
    add("--dbpath", &data);
    add("--logpath", &log);
    add("--port", &port);
    add("--bind_ip", &"127.0.0.1");
    add("--replSet", &replica::SET_NAME);
    // A shop's data fits; the default would take half of the machine's memory.
    add("--wiredTigerCacheSizeGB", &"0.25");
    add("--oplogSize", &"64");
    // Without preallocation a fresh directory takes 12 MB instead of 300.
    add("--wiredTigerEngineConfigString", &ENGINE);
    add("--setParameter", &"diagnosticDataCollectionEnabled=false");
    // A killed server leaves its open transaction holding its documents; this bounds for how long.
    add("--setParameter", &"transactionLifetimeLimitSeconds=10");
    if options.for_tests {
        add("--setParameter", &"ttlMonitorSleepSecs=1");
        // Fail points: answers that get lost on the way.
        add("--setParameter", &"enableTestCommands=1");
    }
    arguments.extend(["--logappend", "--quiet", "--nounixsocket"].map(Into::into));
    arguments
}

/// `wanted` if nobody listens there, else any free port. Another process may take it before `mongod` does, so a
/// start is tried more than once.
fn free_port(wanted: Option<u16>) -> io::Result<u16> {
    if let Some(port) = wanted
        && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
    {
        return Ok(port);
    }
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// The port of the last run: keeping it spares the reconfiguration of the set, and a person's open shell.
fn remembered_port(options: &Options) -> Option<u16> {
    if options.for_tests {
        return None;
    }
    fs::read_to_string(data_dir_of(options).join(PORT_FILE)).ok()?.trim().parse().ok()
}

fn data_dir_of(options: &Options) -> PathBuf {
    options.data_dir.clone().unwrap_or_else(|| options.home.join("db"))
}

const PORT_FILE: &str = "souk.port";
const LOCK_FILE: &str = "souk.lock";
const TEST_PREFIX: &str = "souk-mongod-";

/// The data directory, ours alone for as long as this value lives.
#[derive(Debug)]
struct DataDir {
    path: PathBuf,
    /// Held open for its lock, which the system releases when we end, however we end.
    _lock: File,
    temporary: bool,
}

impl DataDir {
    fn claim(options: &Options, port: u16) -> anyhow::Result<Self> {
        let temporary = options.for_tests && options.data_dir.is_none();
        let path = if temporary {
            in_memory_dir().join(format!("{TEST_PREFIX}{}-{port}", std::process::id()))
        } else {
            data_dir_of(options)
        };
        let cannot = || format!("cannot use {} for the embedded MongoDB's data", path.display());
        fs::create_dir_all(&path).with_context(cannot)?;
        // `mongod` wants to know its directory wherever it is started.
        let path = path.canonicalize().with_context(cannot)?;
        let mut lock = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path.join(LOCK_FILE))
            .with_context(cannot)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut owner = String::new();
                lock.read_to_string(&mut owner).ok();
                return Err(InUse { owner: owner.trim().to_owned(), data: path }.into());
            }
            Err(TryLockError::Error(error)) => return Err(error).with_context(cannot),
        }
        lock.set_len(0)
            .and_then(|()| lock.rewind())
            .and_then(|()| writeln!(lock, "{}", std::process::id()))
            .with_context(cannot)?;
        if temporary {
            remove_when_we_end(&path);
        }
        Ok(Self { path, _lock: lock, temporary })
    }

    fn remember_port(&self, port: u16) {
        if !self.temporary {
            // Only a convenience for the next run, which finds another port without it.
            fs::write(self.path.join(PORT_FILE), port.to_string()).ok();
        }
    }
}

impl Drop for DataDir {
    fn drop(&mut self) {
        if self.temporary {
            fs::remove_dir_all(&self.path).ok();
        }
    }
}

fn in_memory_dir() -> PathBuf {
    let shm = Path::new("/dev/shm");
    if shm.is_dir() && !fs::metadata(shm).is_ok_and(|found| found.permissions().readonly()) {
        shm.to_owned()
    } else {
        std::env::temp_dir()
    }
}

/// A test binary keeps its database in a static, which is never dropped, and a killed one cleans up nothing. So a
/// shell waits for the end of a pipe that only we hold open, and removes the directory then.
fn remove_when_we_end(path: &Path) {
    use std::os::unix::process::CommandExt as _;
    use std::process::{Command, Stdio};
    let reaper = Command::new("sh")
        .args(["-c", "read -r _; sleep 1; rm -rf -- \"$1\"", "sh"])
        .arg(path)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn();
    match reaper {
        // Our end of the pipe stays open until the process is gone, on purpose.
        Ok(reaper) => std::mem::forget(reaper),
        Err(error) => tracing::debug!("{} will be swept by the next test run: {error}", path.display()),
    }
}

/// Removes what killed test binaries left behind, in case their reaper was killed as well.
fn sweep_abandoned() {
    let Ok(entries) = fs::read_dir(in_memory_dir()) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let owner = name
            .to_str()
            .and_then(|name| name.strip_prefix(TEST_PREFIX)?.split('-').next()?.parse::<u32>().ok());
        let Some(owner) = owner else { continue };
        if Path::new("/proc").join(owner.to_string()).exists() {
            continue;
        }
        // The lock tells for sure, also when the owner lives in another container with its own process numbers.
        let abandoned = match File::open(entry.path().join(LOCK_FILE)) {
            Ok(lock) => lock.try_lock().is_ok(),
            Err(_) => true,
        };
        if abandoned {
            fs::remove_dir_all(entry.path()).ok();
        }
    }
}

/// Keeps one older log, so that the pair stays small over years.
fn set_aside(log: &Path) {
    if fs::metadata(log).is_ok_and(|found| found.len() > LOG_LIMIT) {
        fs::rename(log, log.with_extension("log.old")).ok();
    }
}

/// Where to look, and what the server said last, for the message about a failed start.
fn last_words(log: &Path) -> String {
    let mut text = fs::read_to_string(log).unwrap_or_default();
    text.truncate(text.trim_end().len());
    let last: Vec<&str> = text.lines().rev().filter(|line| is_complaint(line)).take(3).collect();
    let last: Vec<&str> = last.into_iter().rev().collect();
    if last.is_empty() {
        format!("its log is {}", log.display())
    } else {
        format!("its log {} ends with:\n{}", log.display(), last.join("\n"))
    }
}

/// Lines of the log that are errors, or not in the log's format because the loader wrote them.
fn is_complaint(line: &str) -> bool {
    !line.starts_with('{') || line.contains(r#""s":"E""#) || line.contains(r#""s":"F""#)
}
