//! Running the servers: start in order, serve until told to stop, stop in the opposite order.

use std::{
    net::{IpAddr, TcpListener},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use shared::{clock::Clock, config::Config, migrate, nodes};
use tokio::{sync::Notify, task::JoinHandle};

use crate::{
    banner::{self, Opening, say},
    database::Database,
    demo, manager,
    signals::Signals,
    watching::Watching,
};

/// A stop that takes longer than this, besides the times that the settings give it, is cut short.
const STOP_WITHIN: Duration = Duration::from_secs(25);

/// Which servers this process runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parts {
    pub(crate) api: bool,
    pub(crate) chat: bool,
}

impl Parts {
    pub(crate) const ALL: Self = Self { api: true, chat: true };
    pub(crate) const API: Self = Self { api: true, chat: false };
    pub(crate) const CHAT: Self = Self { api: false, chat: true };

    /// What the database knows this process as: the same name after a restart, another on every node, so that what
    /// an earlier life of this very node left open can be told from what its neighbours are doing.
    fn app_name(self, config: &Config) -> String {
        let (part, port) = match self {
            Self { api: true, chat: true } => ("souk", config.port),
            Self { api: true, .. } => ("souk-api", config.port),
            _ => ("souk-realtime", config.chat_port),
        };
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        // The driver allows 128 bytes.
        let host: String = host.trim().chars().filter(char::is_ascii).take(80).collect();
        format!("{part} {host}:{port}")
    }
}

/// Signals within this time after the first are the same one: a terminal and a wrapper may both pass it on.
const SAME_SIGNAL: Duration = Duration::from_secs(1);

/// Waits for a second signal that is meant as one.
async fn impatience(signals: &mut Signals) -> &'static str {
    let same = async {
        loop {
            signals.next().await;
        }
    };
    // Only ever ends by its time.
    let _: Result<(), _> = tokio::time::timeout(SAME_SIGNAL, same).await;
    signals.next().await
}

/// Runs until a signal comes. A second signal ends the process at once.
pub(crate) async fn serve(mut config: Config, parts: Parts) -> anyhow::Result<ExitCode> {
    // Before the database is started, so that an impatient Ctrl-C leaves nothing half done.
    let mut signals = Signals::listen().context("cannot listen for signals")?;
    config.fill_secrets().context("cannot keep a secret for sessions; set JWT_SECRET_KEY")?;
    let config = Arc::new(config);
    let started = tokio::select! {
        started = start(&config, parts) => started?,
        signal = signals.next() => {
            tracing::info!("{signal} during the start: nothing was served yet");
            return Ok(ExitCode::SUCCESS);
        }
    };
    say(&started.banner);
    manager::tell("READY=1");
    let signal = signals.next().await;
    tracing::info!("{signal}: finishing what is in progress");
    manager::tell("STOPPING=1");
    let patience = STOP_WITHIN + config.chat_drain + config.shutdown.lead + config.shutdown.grace;
    tokio::select! {
        () = started.stop() => tracing::info!("stopped"),
        () = tokio::time::sleep(patience) => tracing::warn!("the stop took too long and was cut short"),
        signal = impatience(&mut signals) => tracing::warn!("{signal} again: stopping at once"),
    }
    Ok(ExitCode::SUCCESS)
}

struct Started {
    database: Database,
    api: Option<api::Server>,
    chat: Option<realtime::Server>,
    /// Tells the others that this process is there.
    sign: Sign,
    banner: String,
    /// Until the very end: a stop is something to be watched.
    _watching: Option<Watching>,
}

async fn start(config: &Arc<Config>, parts: Parts) -> anyhow::Result<Started> {
    // Ports first: it costs nothing, and a taken one is the likeliest trouble.
    let api_listener = parts.api.then(|| listen(config.bind, config.port, "PORT")).transpose()?;
    let chat_listener = parts.chat.then(|| listen(config.bind, config.chat_port, "CHAT_PORT")).transpose()?;
    let watching = match config.metrics_port {
        0 => None,
        port => Some(Watching::serve(listen(config.metrics_bind, port, "METRICS_PORT")?)?),
    };
    let clock = Clock::default();
    let (app_name, born) = (parts.app_name(config), clock.now());
    let database = Database::open(config, &app_name).await?;
    match migrate::end_orphans(&database.db, &app_name, born).await {
        Ok(0) => {}
        Ok(ended) => tracing::info!("ended {ended} transactions that an earlier life left open"),
        // A database account may not be allowed to look; the server ends them by itself within a minute.
        Err(error) => tracing::debug!("cannot look for transactions of an earlier life: {error:#}"),
    }
    let report = migrate::run(&database.db, &clock).await.context("the database cannot be migrated")?;
    for warning in &report.warnings {
        tracing::warn!("{warning}");
    }
    let mut services = Vec::new();
    let api = match api_listener {
        Some(listener) => {
            let app = api::App::new(Arc::clone(config), database.db.clone(), clock.clone())?;
            services.extend(app.services());
            api::appoint_administrator(&app).await.context("the administrator cannot be appointed")?;
            if database.embedded.is_some() {
                let demo = demo::plant(&database.db, config, &clock, &app.hasher);
                services.extend(demo.await?.iter().flat_map(demo::Demo::rows));
            }
            Some(api::serve(app, listener).context("the API cannot be started")?)
        }
        None => None,
    };
    let chat = match chat_listener {
        Some(listener) => {
            let app = realtime::App::new(Arc::clone(config), database.db.clone(), clock)?;
            Some(realtime::serve(app, tokio_listener(listener)?).await)
        }
        None => None,
    };
    let sign = Sign::put_up(&database, app_name);
    let embedded = database.embedded.as_ref();
    let banner = banner::text(Opening { config, parts, embedded, services });
    Ok(Started { database, api, chat, sign, banner, _watching: watching })
}

impl Started {
    /// Servers first, the database last: what they still finish needs it.
    async fn stop(self) {
        let api = async {
            if let Some(api) = self.api {
                api.stop().await;
            }
        };
        let chat = async {
            if let Some(chat) = self.chat {
                chat.stop().await;
            }
        };
        tokio::join!(api, chat);
        self.sign.take_down().await;
        self.database.close().await;
    }
}

/// What tells administrators that this process is there, and how it is doing.
struct Sign {
    quit: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Sign {
    fn put_up(database: &Database, name: String) -> Self {
        let quit = Arc::new(Notify::new());
        let task = tokio::spawn(nodes::keep(database.db.clone(), Clock::default(), name, Arc::clone(&quit)));
        Self { quit, task }
    }

    async fn take_down(self) {
        // Remembered, where it is not waited for just now.
        self.quit.notify_one();
        _ = self.task.await;
    }
}

fn tokio_listener(listener: TcpListener) -> std::io::Result<tokio::net::TcpListener> {
    listener.set_nonblocking(true)?;
    tokio::net::TcpListener::from_std(listener)
}

fn listen(address: IpAddr, port: u16, setting: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind((address, port)).map_err(|error| match error.kind() {
        std::io::ErrorKind::AddrInUse => anyhow::anyhow!(
            "port {port} is taken by another program: stop that one, or choose another port with {setting}"
        ),
        std::io::ErrorKind::PermissionDenied => anyhow::anyhow!(
            "port {port} may not be used by this account: choose one above 1023 with {setting}"
        ),
        _ => anyhow::Error::new(error)
            .context(format!("cannot listen on {address} port {port} (BIND, {setting})")),
    })
}
