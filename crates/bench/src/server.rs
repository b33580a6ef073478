//! The server under test, in a process of its own.

use std::{
    net::{Ipv4Addr, TcpListener},
    path::Path,
    process::Stdio,
};

use anyhow::Context as _;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
};

/// Signs the sessions of the buyers. The database is thrown away afterwards.
pub(crate) const SECRET: &str = "for the time of a benchmark, and long enough";

/// Which program is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    /// `souk api`
    Api,
    /// `souk realtime`
    Chat,
    /// Answers files, as fast as the framework can.
    Still,
    /// Passes messages on, over bare websockets.
    Relay,
    /// Passes messages on, through the library that the chat server uses.
    LibraryRelay,
}

/// A running server, killed when dropped.
pub(crate) struct Server {
    child: Child,
    /// `127.0.0.1:port`
    pub(crate) address: String,
}

impl Server {
    /// Returns once it serves.
    pub(crate) async fn start(program: Program, database: &str, home: &Path) -> anyhow::Result<Self> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let text = port.to_string();
        let arguments: &[&str] = match program {
            Program::Api => &["api"],
            Program::Chat => &["realtime"],
            Program::Still => &["still", "--port", &text, "--bodies", "."],
            Program::Relay => &["relay", "--port", &text],
            Program::LibraryRelay => &["relay", "--library", "--port", &text],
        };
        let mut child = Command::new(std::env::current_exe()?)
            .args(arguments)
            .env_clear()
            .env("DB_URL", database)
            .env("BIND", "127.0.0.1")
            .env("PORT", &text)
            .env("CHAT_PORT", &text)
            .env("AUTH_MODE", "strict")
            .env("JWT_SECRET_KEY", SECRET)
            .env("RATE_LIMITS", "off")
            .env("SOUK_HOME", home)
            .env("RUST_LOG", "warn")
            .current_dir(home)
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("cannot start the server")?;
        let output = child.stdout.take().context("the server has no output")?;
        let mut lines = BufReader::new(output).lines();
        loop {
            let line = lines.next_line().await?.context("the server ended instead of serving")?;
            // Its banner names the address once it serves.
            if line.contains(&text) {
                break;
            }
        }
        // Whatever else it says is read, so that it never waits for us.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(Self { child, address: format!("127.0.0.1:{port}") })
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.id()
    }
}
