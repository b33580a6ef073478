//! What a person reads after the start. The only place that writes to standard output.

use std::fmt::Write as _;

use crate::embedded::EmbeddedMongo;
use shared::config::{AuthMode, Config, without_password};

use crate::run::Parts;

/// Prints a line for the person who typed the command.
#[expect(clippy::print_stdout, reason = "commands answer here; the log goes to standard error")]
pub(crate) fn say(line: &str) {
    println!("{line}");
}

/// What there is to tell after a start.
pub(crate) struct Opening<'a> {
    pub(crate) config: &'a Config,
    pub(crate) parts: Parts,
    pub(crate) embedded: Option<&'a EmbeddedMongo>,
    /// The outside services, or what takes their place.
    pub(crate) services: Vec<(&'static str, String)>,
}

/// The banner after a start.
pub(crate) fn text(opening: Opening<'_>) -> String {
    let Opening { config, parts, embedded, services } = opening;
    let mut rows: Vec<(&str, String)> = Vec::new();
    if parts.api {
        rows.push((
            "API",
            format!("{} (listening on {} port {})", config.public_url, config.bind, config.port),
        ));
        rows.push(("", format!("{}/openapi.yaml describes it", config.public_url)));
    }
    if parts.chat {
        let host = if config.bind.is_loopback() { "localhost".to_owned() } else { config.bind.to_string() };
        rows.push(("Chat", format!("http://{host}:{}", config.chat_port)));
    }
    if config.metrics_port != 0 {
        rows.push(("Metrics", format!("http://{}:{}/metrics", config.metrics_bind, config.metrics_port)));
    }
    rows.push(("Database", database(config, embedded)));
    rows.extend(services);
    if parts.api {
        rows.push(("Client", client(config)));
    }
    rows.push(("Sessions", sessions(config)));
    let mut text = format!("\nSouk {} is open.\n\n", env!("CARGO_PKG_VERSION"));
    for (name, value) in rows {
        // Writing to a String cannot fail.
        _ = writeln!(text, "  {name:<10} {value}");
    }
    text
}

fn database(config: &Config, embedded: Option<&EmbeddedMongo>) -> String {
    match (embedded, &config.database_uri) {
        (Some(own), _) => format!("its own MongoDB in {} ({})", own.data_dir().display(), own.uri()),
        (None, Some(uri)) => without_password(uri.expose()),
        (None, None) => "none".to_owned(),
    }
}

fn client(config: &Config) -> String {
    match &config.spa_dir {
        Some(dir) => format!("{} from {}", config.public_url, dir.display()),
        None => config.client_origins.join(", "),
    }
}

fn sessions(config: &Config) -> String {
    let meaning = match config.auth_mode {
        AuthMode::Strict => "AUTH_MODE=strict: every private call needs a session",
        AuthMode::Auto => {
            "AUTH_MODE=auto: the client's calls without cookies are accepted from this machine only"
        }
        AuthMode::Compat => {
            "AUTH_MODE=compat: CALLS WITHOUT A SESSION ARE ACCEPTED FROM ANYWHERE. For a closed network only!"
        }
    };
    meaning.to_owned()
}
