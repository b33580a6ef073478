//! `souk healthcheck`: whether the server on this machine can serve, for containers, in which there is nothing else to
//! ask with.

use std::{net::IpAddr, process::ExitCode, time::Duration};

use clap::ValueEnum;
use shared::config::Config;

use crate::banner::say;

/// Shorter than whoever asks waits for the answer.
const PATIENCE: Duration = Duration::from_secs(4);

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Server {
    /// The HTTP API
    Api,
    /// The chat server
    Realtime,
}

/// What a server said.
enum Health {
    Ready,
    Not(String),
    /// Nobody listens there.
    Absent,
}

/// Asks one of them, or whichever runs here; of those that run, all must be ready.
pub(crate) async fn check(config: Config, server: Option<Server>) -> anyhow::Result<ExitCode> {
    let all = [("api", Server::Api, config.port), ("realtime", Server::Realtime, config.chat_port)];
    let (mut ready, mut not) = (0_u32, 0_u32);
    for (name, _, port) in all.into_iter().filter(|(_, this, _)| server.is_none_or(|only| only == *this)) {
        match ask(config.bind, port).await {
            Health::Ready => {
                ready = ready.saturating_add(1);
                say(&format!("{name} is ready"));
            }
            Health::Not(why) => {
                not = not.saturating_add(1);
                say(&format!("{name} is not ready: {why}"));
            }
            Health::Absent => say(&format!("nothing listens on port {port}, which would be {name}'s")),
        }
    }
    Ok(if ready > 0 && not == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn ask(bind: IpAddr, port: u16) -> Health {
    let host = if bind.is_unspecified() { "127.0.0.1".to_owned() } else { bind.to_string() };
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    // Never through a proxy: this machine is asked about itself.
    let client = reqwest::Client::builder().timeout(PATIENCE).no_proxy().build().unwrap_or_default();
    match client.get(format!("http://{host}:{port}/readyz")).send().await {
        Ok(answer) if answer.status().is_success() => Health::Ready,
        Ok(answer) => {
            let status = answer.status();
            Health::Not(format!("{status} {}", answer.text().await.unwrap_or_default()))
        }
        Err(error) if error.is_connect() => Health::Absent,
        Err(error) => Health::Not(error.to_string()),
    }
}
