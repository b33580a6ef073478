//! Mail as files, for a machine without a mail server.

use std::{future::Future, path::PathBuf, pin::Pin};

use anyhow::Context as _;
use tokio::fs;
use tracing::info;

use super::{Mail, Mailer, Writer};

/// Writes `.eml` files into a directory.
pub(super) struct Files {
    directory: PathBuf,
    writer: Writer,
}

impl Files {
    pub(super) const fn new(directory: PathBuf, writer: Writer) -> Self {
        Self { directory, writer }
    }

    async fn write(&self, mail: Mail) -> anyhow::Result<()> {
        let message = self.writer.write(&mail)?.formatted();
        let written = async {
            fs::create_dir_all(&self.directory).await?;
            // Sorted by name they are sorted by time.
            let millis = self.writer.clock.now().timestamp_millis();
            let name = format!("{millis}-{}", crate::media::random_name()?);
            let (aside, path) =
                (self.directory.join(format!(".{name}.part")), self.directory.join(format!("{name}.eml")));
            fs::write(&aside, &message).await?;
            fs::rename(&aside, &path).await?;
            anyhow::Ok(path)
        };
        let path = written
            .await
            .with_context(|| format!("writing a mail to the directory {}", self.directory.display()))?;
        // There is no mail server, so the person at this machine is the one who follows the link.
        let link = mail.text.split_whitespace().find(|word| word.starts_with("http")).unwrap_or_default();
        info!(to = mail.to, subject = mail.subject, file = %path.display(), link, "mail written to a file");
        Ok(())
    }
}

impl Mailer for Files {
    fn send(&self, mail: Mail) -> Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send + '_>> {
        Box::pin(self.write(mail))
    }

    fn check(&self) -> Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send + '_>> {
        Box::pin(async {
            fs::create_dir_all(&self.directory).await?;
            let probe = self.directory.join(format!(".check-{}", std::process::id()));
            fs::write(&probe, "").await?;
            fs::remove_file(&probe).await?;
            Ok(())
        })
    }

    fn describe(&self) -> String {
        format!("files in {}", self.directory.display())
    }
}
