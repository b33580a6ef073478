//! Pictures: reading them from forms, keeping them at Cloudinary where that is set up, else as local
//! files served at `/uploads`, and telling clients where they are.

mod cloudinary;
mod disk;
mod form;
#[cfg(test)]
mod form_tests;
mod serve;
mod spa;
pub mod wire;

use std::{future::Future, pin::Pin, sync::Arc};

use futures_util::future::join_all;
use shared::{
    clock::Clock,
    config::Config,
    model::{OutboxJob, Picture},
};

pub use form::{Form, FormLimits, is_form};
pub(crate) use serve::routes;
pub(crate) use spa::mount_client;

use crate::{
    error::{Error, Result},
    spool::Spooled,
    state::App,
};

/// What a picture is of; part of its name at the media host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Folder {
    /// Users' and shops' pictures.
    Avatar,
    /// Product pictures.
    Products,
    /// Event pictures.
    Events,
    /// Pictures in chat messages.
    Messages,
}

impl Folder {
    const ALL: [Self; 4] = [Self::Avatar, Self::Products, Self::Events, Self::Messages];

    /// Its name at the media host: the old server's.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Avatar => "avatar",
            Self::Products => "products",
            Self::Events => "events",
            Self::Messages => "messages",
        }
    }
}

/// A picture whose content has been checked: of a known format, within the limits.
#[derive(Clone, Debug)]
pub struct CheckedImage {
    /// The bytes as uploaded.
    pub content: Spooled,
    /// `image/png` and the like, by content.
    pub mime: &'static str,
    /// `png` and the like.
    pub extension: &'static str,
}

/// A place that keeps pictures.
pub trait Media: Send + Sync {
    /// Stores one.
    fn store(
        &self,
        folder: Folder,
        image: CheckedImage,
    ) -> Pin<Box<dyn Future<Output = anyhow::Result<Picture>> + Send + '_>>;
    /// Deletes one; one that is gone already is fine.
    fn delete<'a>(
        &'a self,
        public_id: &'a str,
    ) -> Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send + 'a>>;
    /// For the start-up banner.
    fn describe(&self) -> String;
}

/// The media host that the settings ask for.
pub fn from_config(config: &Config, clock: &Clock) -> anyhow::Result<Arc<dyn Media>> {
    Ok(match &config.cloudinary {
        Some(settings) => Arc::new(cloudinary::Cloudinary::new(settings, clock.clone())?),
        None => {
            let disk = disk::Disk::new(config.upload_dir.clone());
            disk.tidy(clock.now());
            Arc::new(disk)
        }
    })
}

/// Stores a picture for a request. A media host that fails is 503: nothing was changed.
pub async fn keep(app: &App, folder: Folder, image: CheckedImage) -> Result<Picture> {
    app.media
        .store(folder, image)
        .await
        .map_err(|cause| Error::Unavailable(cause.context("storing a picture")))
}

/// Stores all of them or, as far as anybody can see, none: those that were stored before one failed
/// are deleted later.
pub async fn keep_all(app: &App, folder: Folder, images: Vec<CheckedImage>) -> Result<Vec<Picture>> {
    let outcomes = join_all(images.into_iter().map(|image| keep(app, folder, image))).await;
    let (mut kept, mut failure) = (Vec::with_capacity(outcomes.len()), None);
    for outcome in outcomes {
        match outcome {
            Ok(picture) => kept.push(picture),
            Err(error) => failure = Some(error),
        }
    }
    let Some(failure) = failure else { return Ok(kept) };
    discard(app, &kept).await;
    Err(failure)
}

/// Has pictures deleted that nothing refers to any more, outside a transaction: after a request that
/// stored them and then failed.
pub async fn discard(app: &App, pictures: &[Picture]) {
    for picture in pictures.iter().filter(|picture| is_deletable(&picture.public_id)) {
        if let Err(cause) = app.outbox.add(deletion(picture)).await {
            // The picture stays without an owner; that costs space and nothing else.
            tracing::warn!(public_id = picture.public_id, %cause, "a picture that nobody needs could not be marked for deletion");
        }
    }
}

/// The job that deletes a stored picture, to be written with the change that makes it superfluous.
pub fn deletion(picture: &Picture) -> OutboxJob {
    OutboxJob::DeleteMedia { public_id: picture.public_id.clone() }
}

/// Whether a name is a stored picture's: legacy documents hold empty ones, and the placeholder is
/// everybody's.
pub fn is_deletable(public_id: &str) -> bool {
    !public_id.trim().is_empty() && public_id != PLACEHOLDER_ID
}

const PLACEHOLDER_ID: &str = "placeholder";

/// The picture of whoever has none.
pub fn placeholder(config: &Config) -> Picture {
    Picture {
        public_id: PLACEHOLDER_ID.to_owned(),
        url: format!("{}/uploads/{}", config.public_url, serve::PLACEHOLDER),
    }
}

/// The absolute address of a stored picture. Old data holds bare file names; nothing becomes the
/// placeholder.
pub fn public_url(config: &Config, url: &str) -> String {
    let Some(url) = crate::extract::meant(url) else { return placeholder(config).url };
    let url = url.as_str();
    let lower = url.get(..11).unwrap_or(url).to_ascii_lowercase();
    if ["http://", "https://", "//", "data:image/"].iter().any(|start| lower.starts_with(start)) {
        return url.to_owned();
    }
    let path = url.trim_start_matches(['/', '\\', '.']);
    let file = path.strip_prefix("uploads/").or_else(|| path.strip_prefix("uploads\\")).unwrap_or(path);
    format!("{}/uploads/{}", config.public_url, serve::encoded(file))
}

/// A name that nobody can guess: 128 bits as hex.
pub(crate) fn random_name() -> anyhow::Result<String> {
    let mut name = shared::auth::one_time_token()?;
    name.truncate(32);
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_pictures_are_absolute() {
        let config =
            Config::read(|name| (name == "PUBLIC_URL").then(|| "http://souk.test:5000".to_owned())).unwrap();
        for (stored, shown) in [
            ("/uploads/avatar/a.png", "http://souk.test:5000/uploads/avatar/a.png"),
            ("uploads/a.png", "http://souk.test:5000/uploads/a.png"),
            ("uploads\\a.png", "http://souk.test:5000/uploads/a.png"),
            ("a b-1699.png", "http://souk.test:5000/uploads/a%20b-1699.png"),
            (
                "https://res.cloudinary.com/c/image/upload/v1/a.png",
                "https://res.cloudinary.com/c/image/upload/v1/a.png",
            ),
            ("HTTP://x.test/a.png", "HTTP://x.test/a.png"),
            ("", "http://souk.test:5000/uploads/placeholder.svg"),
            ("undefined", "http://souk.test:5000/uploads/placeholder.svg"),
        ] {
            assert_eq!(public_url(&config, stored), shown, "{stored}");
        }
    }
}
