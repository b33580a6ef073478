//! Pictures as files of this machine.

use std::{
    future::Future,
    io::{self, ErrorKind},
    path::PathBuf,
    pin::Pin,
    time::{Duration, UNIX_EPOCH},
};

use anyhow::Context as _;
use shared::{clock::Timestamp, model::Picture};
use tokio::{fs, task::spawn_blocking};

use super::{CheckedImage, Folder, Media, random_name};

/// So long after its last byte nobody is writing a file any more, on whatever node.
const ABANDONED: Duration = Duration::from_secs(60 * 60);

/// Keeps pictures in a directory, served at `/uploads`.
pub(super) struct Disk {
    root: PathBuf,
}

impl Disk {
    pub(super) const fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// Removes what was being written when a server ended without warning. What cannot be removed stays:
    /// it costs space and nothing else.
    pub(super) fn tidy(&self, now: Timestamp) {
        let now = Duration::from_millis(u64::try_from(now.timestamp_millis()).unwrap_or_default());
        for folder in Folder::ALL {
            let entries = std::fs::read_dir(self.root.join(folder.name())).into_iter().flatten().flatten();
            for entry in entries {
                let name = entry.file_name();
                let is_aside =
                    name.to_str().is_some_and(|name| name.starts_with('.') && name.ends_with(".part"));
                let written = || entry.metadata().ok()?.modified().ok()?.duration_since(UNIX_EPOCH).ok();
                if is_aside && written().is_some_and(|written| now.saturating_sub(written) > ABANDONED) {
                    _ = std::fs::remove_file(entry.path());
                }
            }
        }
    }

    async fn write(&self, folder: Folder, image: CheckedImage) -> anyhow::Result<Picture> {
        let name = random_name()?;
        let directory = self.root.join(folder.name());
        fs::create_dir_all(&directory)
            .await
            .with_context(|| format!("the directory {} cannot be made", directory.display()))?;
        let file_name = format!("{name}.{}", image.extension);
        // Written aside and renamed: whoever sees the file sees all of it, also after a crash.
        let aside = directory.join(format!(".{file_name}.part"));
        let written = async {
            let (mut content, path) = (image.content.reader(), aside.clone());
            let copying = spawn_blocking(move || {
                let mut file = std::fs::File::create_new(path)?;
                io::copy(&mut content, &mut file)?;
                file.sync_all()
            });
            copying.await??;
            fs::rename(&aside, directory.join(&file_name)).await?;
            fs::File::open(&directory).await?.sync_all().await
        }
        .await;
        if let Err(cause) = written {
            // It may not be there at all.
            _ = fs::remove_file(&aside).await;
            return Err(anyhow::Error::new(cause).context(format!("cannot write to {}", directory.display())));
        }
        Ok(Picture {
            public_id: format!("{}/{name}", folder.name()),
            url: format!("/uploads/{}/{file_name}", folder.name()),
        })
    }

    async fn remove(&self, public_id: &str) -> anyhow::Result<()> {
        // Names that are not of our making, such as another media host's in old data, are not here.
        let Some((folder, name)) = public_id.split_once('/') else { return Ok(()) };
        let Some(folder) = Folder::ALL.into_iter().find(|known| known.name() == folder) else {
            return Ok(());
        };
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Ok(());
        }
        for extension in ["jpg", "png", "webp", "gif"] {
            match fs::remove_file(self.root.join(folder.name()).join(format!("{name}.{extension}"))).await {
                Err(cause) if cause.kind() != ErrorKind::NotFound => return Err(cause.into()),
                _ => {}
            }
        }
        Ok(())
    }
}

impl Media for Disk {
    fn store(
        &self,
        folder: Folder,
        image: CheckedImage,
    ) -> Pin<Box<dyn Future<Output = anyhow::Result<Picture>> + Send + '_>> {
        Box::pin(self.write(folder, image))
    }

    fn delete<'a>(
        &'a self,
        public_id: &'a str,
    ) -> Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send + 'a>> {
        Box::pin(self.remove(public_id))
    }

    fn describe(&self) -> String {
        format!("files in {}", self.root.display())
    }
}
