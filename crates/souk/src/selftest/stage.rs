//! Where a trial takes place: a scratch database on the deployment's MongoDB, and servers of our own on it.
//!
//! The name of the database and of the directory beside it holds an id that tells its age, so that a later run finds
//! what a killed one has left.

use std::{
    fs::{self, File},
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::Context as _;
use bson::doc;
use mongodb::options::ClientOptions;
use shared::{
    auth::{Sessions, one_time_token},
    clock::{Clock, plus},
    config::{Config, without_password},
    db::Db,
    id::Id,
};
use tokio::process::{Child, Command};

use super::client::{Api, api_client};
use crate::{
    database::Database,
    embedded::{self, EmbeddedMongo, process},
};

const DATABASE_PREFIX: &str = "souk_selftest_";
const DIRECTORY_PREFIX: &str = "souk-selftest-";
/// What is older than this belongs to no run any more.
const ABANDONED_AFTER_MILLIS: i64 = 86_400_000;
/// A server of ours is up, or down, within this time.
const PATIENCE: Duration = Duration::from_secs(60);
const STOP_WITHIN: Duration = Duration::from_secs(10);

/// The deployment's MongoDB.
pub(super) struct Ground {
    uri: String,
    /// Where its accounts are, if the address names one.
    auth_source: Option<String>,
    db: Db,
    /// Ours, if nobody had started it yet.
    embedded: Option<EmbeddedMongo>,
    mongod: Option<PathBuf>,
}

impl Ground {
    /// Connects to the deployment's MongoDB. Where that is an embedded one, it is the running one's if it runs.
    pub(super) async fn find(config: &Config) -> anyhow::Result<Self> {
        let Database { db, uri, embedded } = Database::reach(config, "souk-selftest").await?;
        let options = ClientOptions::parse(&uri).await.context("DB_URL cannot be used")?;
        let auth_source = options.credential.and_then(|credential| credential.source);
        Ok(Self { uri, auth_source, db, embedded, mongod: config.mongod.clone() })
    }

    /// The server, as it may be shown.
    pub(super) fn describe(&self) -> String {
        without_password(&self.uri)
    }

    /// Removes what runs of more than a day ago have left: databases and directories.
    pub(super) async fn sweep(&self, clock: &Clock) {
        let limit = plus(clock.now(), -ABANDONED_AFTER_MILLIS);
        let abandoned = |name: &str, prefix: &str| {
            let made = name.strip_prefix(prefix).and_then(|id| id.parse::<Id<()>>().ok()).map(Id::made_at);
            made.is_some_and(|made| made < limit)
        };
        // An account that may not list them made none that others could see.
        let databases = self.db.client().list_database_names().await.unwrap_or_default();
        for name in databases.iter().filter(|name| abandoned(name, DATABASE_PREFIX)) {
            if let Err(error) = self.db.client().database(name).drop().await {
                tracing::warn!("the abandoned database {name} cannot be removed: {error}");
            }
        }
        for entry in fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten() {
            if abandoned(&entry.file_name().to_string_lossy(), DIRECTORY_PREFIX) {
                fs::remove_dir_all(entry.path()).ok();
            }
        }
    }

    /// Removes a scratch database, and sees to it that it stays away: a server that was killed may have had a write on
    /// its way.
    async fn remove(&self, name: &str) -> anyhow::Result<()> {
        let gone = async {
            loop {
                self.db.client().database(name).drop().await?;
                let filter = doc! { "name": name };
                let Ok(left) = self.db.client().list_database_names().filter(filter).await else {
                    return Ok(());
                };
                if left.is_empty() {
                    return Ok(());
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        // An orphaned transaction holds it for as long as the server lets it live, a minute by default.
        match tokio::time::timeout(Duration::from_secs(90), gone).await {
            Ok(outcome) => outcome,
            Err(_) => Err(anyhow::anyhow!("MongoDB does not let go of it")),
        }
        .with_context(|| format!("the scratch database {name} could not be removed"))
    }

    /// Stops the embedded database, if it was started for this.
    pub(super) async fn leave(self) {
        self.db.client().clone().shutdown().immediate(true).await;
        if let Some(embedded) = self.embedded {
            embedded.stop().await;
        }
    }
}

/// A trial's own database, servers and files. To be closed, however the trial ends.
pub(super) struct Stage {
    pub(super) db: Db,
    pub(super) http: reqwest::Client,
    pub(super) clock: Clock,
    name: String,
    uri: String,
    home: PathBuf,
    secret: String,
    pub(super) sessions: Sessions,
    nodes: Vec<Node>,
    mongod: Option<PathBuf>,
    /// A MongoDB of this trial's alone, to be killed.
    own: Option<EmbeddedMongo>,
}

struct Node {
    port: u16,
    child: Option<Child>,
}

impl Stage {
    /// An empty database and an empty directory; nothing is written to either yet.
    pub(super) async fn new(ground: &Ground) -> anyhow::Result<Self> {
        let id = Id::<()>::new().hex();
        let name = format!("{DATABASE_PREFIX}{id}");
        let uri = on_database(&ground.uri, &name, ground.auth_source.as_deref());
        let home = std::env::temp_dir().join(format!("{DIRECTORY_PREFIX}{id}"));
        fs::create_dir_all(&home).with_context(|| format!("cannot make the directory {}", home.display()))?;
        let secret = one_time_token()?;
        Ok(Self {
            db: Db::connect(&uri, "souk-selftest").await?,
            http: api_client()?,
            clock: Clock::default(),
            name,
            uri,
            home,
            sessions: Sessions::new(&secret, 86_400),
            secret,
            nodes: Vec::new(),
            mongod: ground.mongod.clone(),
            own: None,
        })
    }

    /// Starts a server and returns once it serves.
    pub(super) async fn start_node(&mut self) -> anyhow::Result<()> {
        self.nodes.push(Node { port: free_port()?, child: None });
        self.start(self.nodes.len() - 1).await
    }

    /// Starts a server again where it was.
    pub(super) async fn start(&mut self, index: usize) -> anyhow::Result<()> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            match self.start_once(index).await {
                // Another program may have taken the port meanwhile.
                Err(_) if attempt < 4 => {
                    if let Some(node) = self.nodes.get_mut(index) {
                        node.port = free_port()?;
                    }
                }
                outcome => return outcome,
            }
        }
    }

    async fn start_once(&mut self, index: usize) -> anyhow::Result<()> {
        let node = self.nodes.get_mut(index).context("no such server")?;
        let log = self.home.join(format!("node-{index}.log"));
        let child = spawn(&self.uri, &self.home, &self.secret, node.port, &log)?;
        // Kept before anything is waited for, so that it is not lost if the run is interrupted.
        let child = node.child.insert(child);
        let ready = self.http.get(format!("http://127.0.0.1:{}/readyz", node.port));
        let answers = async {
            loop {
                let asked = ready.try_clone().map(reqwest::RequestBuilder::send);
                if let Some(asked) = asked
                    && asked.await.is_ok_and(|answer| answer.status().is_success())
                {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::select! {
            () = answers => Ok(()),
            ended = child.wait() => {
                let how = ended.map_or_else(|error| error.to_string(), |status| status.to_string());
                Err(anyhow::anyhow!("a server ended instead of serving ({how}): {}", last_words(&log)))
            }
            () = tokio::time::sleep(PATIENCE) => {
                Err(anyhow::anyhow!("a server did not serve within {} s: {}", PATIENCE.as_secs(), last_words(&log)))
            }
        }
    }

    /// `kill -9`, and no process left.
    pub(super) async fn kill(&mut self, index: usize) -> anyhow::Result<()> {
        let child = self.nodes.get_mut(index).and_then(|node| node.child.take());
        child.context("no such server")?.kill().await.context("a server cannot be killed")
    }

    /// The way to each server.
    pub(super) fn apis(&self) -> Vec<Api> {
        let api =
            |node: &Node| Api { http: self.http.clone(), base: format!("http://127.0.0.1:{}", node.port) };
        self.nodes.iter().map(api).collect()
    }

    /// The way to the first server.
    pub(super) fn api(&self) -> anyhow::Result<Api> {
        self.apis().into_iter().next().context("no server is running")
    }

    /// Moves to a MongoDB of this trial's alone. Before the first server is started.
    pub(super) async fn use_own_mongod(&mut self) -> anyhow::Result<()> {
        let own = embedded::start(self.own_options()).await?;
        self.uri = own.uri().to_owned();
        self.own = Some(own);
        self.db = Db::connect(&self.uri, "souk-selftest").await?;
        Ok(())
    }

    /// Whether there is a `mongod` to be run; it is fetched if it can be.
    pub(super) async fn has_mongod(&self) -> anyhow::Result<()> {
        embedded::program(&self.own_options()).await.map(drop)
    }

    fn own_options(&self) -> embedded::Options {
        embedded::Options {
            mongod: self.mongod.clone(),
            ..embedded::Options::in_home(self.home.join("mongo"))
        }
    }

    /// Kills that MongoDB.
    pub(super) fn crash_own_mongod(&self) -> anyhow::Result<u32> {
        let own = self.own.as_ref().context("no MongoDB of our own")?;
        let pid = own.pid().context("the MongoDB is not running")?;
        own.crash();
        Ok(pid)
    }

    /// Waits until its supervisor has started it again, as another process than that.
    pub(super) async fn own_mongod_is_back(&self, killed: u32) -> anyhow::Result<()> {
        let own = self.own.as_ref().context("no MongoDB of our own")?;
        let back = async {
            while own.pid().is_none_or(|pid| pid == killed) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, back).await.context("the killed MongoDB was not started again")
    }

    /// Stops that MongoDB as an operator would, and starts it again: its supervisor forgets what it has seen, and
    /// pauses no longer before the next start than before the first.
    pub(super) async fn restart_own_mongod(&mut self) -> anyhow::Result<()> {
        if let Some(own) = self.own.take() {
            own.stop().await;
        }
        let own = embedded::start(self.own_options()).await?;
        anyhow::ensure!(
            own.uri() == self.uri,
            "the port of the trial's MongoDB was taken by another program"
        );
        self.own = Some(own);
        Ok(())
    }

    /// Stops everything and leaves nothing behind.
    pub(super) async fn close(mut self, ground: &Ground) -> anyhow::Result<()> {
        for child in self.nodes.iter_mut().filter_map(|node| node.child.as_mut()) {
            process::terminate(child);
        }
        for mut child in self.nodes.drain(..).filter_map(|node| node.child) {
            if tokio::time::timeout(STOP_WITHIN, child.wait()).await.is_err() {
                child.kill().await.ok();
            }
        }
        self.db.client().clone().shutdown().immediate(true).await;
        let removed = match self.own.take() {
            Some(own) => {
                own.stop().await;
                Ok(())
            }
            None => ground.remove(&self.name).await,
        };
        fs::remove_dir_all(&self.home)
            .with_context(|| format!("the scratch directory {} could not be removed", self.home.display()))?;
        removed
    }

    /// What the servers have complained about, for a failed trial.
    pub(super) fn complaints(&self) -> Vec<String> {
        (0..self.nodes.len())
            .map(|index| last_words(&self.home.join(format!("node-{index}.log"))))
            .filter(|words| !words.is_empty())
            .collect()
    }
}

/// The same program once more, as an API server of its own, with nothing of our settings but what is said here.
fn spawn(uri: &str, home: &Path, secret: &str, port: u16, log: &Path) -> anyhow::Result<Child> {
    let program = std::env::current_exe().context("cannot tell which program this is")?;
    let log = File::options().create(true).append(true).open(log).context("cannot keep a server's log")?;
    let mut command = Command::new(program);
    command
        .arg("api")
        .env_clear()
        .env("DB_URL", uri)
        .env("BIND", "127.0.0.1")
        .env("PORT", port.to_string())
        .env("APP_ENV", "development")
        .env("AUTH_MODE", "strict")
        .env("JWT_SECRET_KEY", secret)
        .env("BCRYPT_COST", "4")
        .env("RATE_LIMITS", "off")
        .env("DEMO", "off")
        .env("SOUK_HOME", home)
        .env("LOG_FORMAT", "text")
        .env("RUST_LOG", "error")
        // Where there is no `.env`.
        .current_dir(home)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        // Ctrl-C is ours to pass on.
        .process_group(0)
        .kill_on_drop(true);
    process::die_with_this_thread(&mut command);
    command.spawn().context("cannot start a server")
}

fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port")?.local_addr()?.port())
}

/// The end of a log, a few lines of it.
fn last_words(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.trim_end().lines().rev().take(3).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}

/// The address of another database on the same server. An account's home must be named then: without a name it is
/// the database of the address.
fn on_database(uri: &str, database: &str, auth_source: Option<&str>) -> String {
    let (before, query) = uri.split_once('?').unwrap_or((uri, ""));
    let (scheme, rest) = before.split_once("://").unwrap_or(("mongodb", before));
    let hosts = rest.split_once('/').map_or(rest, |(hosts, _)| hosts);
    let mut options: Vec<String> =
        query.split('&').filter(|part| !part.is_empty()).map(str::to_owned).collect();
    let named = options.iter().any(|part| part.to_ascii_lowercase().starts_with("authsource="));
    if let Some(source) = auth_source
        && !named
    {
        options.push(format!("authSource={source}"));
    }
    let query = if options.is_empty() { String::new() } else { format!("?{}", options.join("&")) };
    format!("{scheme}://{hosts}/{database}{query}")
}

#[cfg(test)]
mod tests {
    use super::on_database;

    #[test]
    fn another_database_on_the_same_server_under_the_same_account() {
        for (uri, source, wanted) in [
            ("mongodb://h:1/souk?replicaSet=rs0", None, "mongodb://h:1/x?replicaSet=rs0"),
            ("mongodb://h", None, "mongodb://h/x"),
            ("mongodb://h/", None, "mongodb://h/x"),
            ("mongodb://a:p%2Fq@h,i:2/souk", Some("souk"), "mongodb://a:p%2Fq@h,i:2/x?authSource=souk"),
            (
                "mongodb://a:b@h/souk?authSource=admin&w=1",
                Some("admin"),
                "mongodb://a:b@h/x?authSource=admin&w=1",
            ),
            ("mongodb+srv://a:b@c.d", Some("admin"), "mongodb+srv://a:b@c.d/x?authSource=admin"),
        ] {
            assert_eq!(on_database(uri, "x", source), wanted);
        }
    }
}
