//! Sending mail: SMTP where it is set up, else files that a person can open.

use std::{future::Future, pin::Pin, sync::Arc};

use shared::config::Config;

/// One mail in plain text.
#[derive(Clone, Debug)]
pub struct Mail {
    /// Recipient.
    pub to: String,
    /// Subject line.
    pub subject: String,
    /// Plain text.
    pub text: String,
}

/// A way to send mail.
pub trait Mailer: Send + Sync {
    /// Sends one, or says why not; the outbox tries again.
    fn send(&self, mail: Mail) -> Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send + '_>>;
    /// For the start-up banner.
    fn describe(&self) -> String;
}

/// The mailer that the settings ask for.
pub fn from_config(_config: &Config) -> anyhow::Result<Arc<dyn Mailer>> {
    anyhow::bail!("not built yet")
}
