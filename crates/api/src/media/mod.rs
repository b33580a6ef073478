//! Keeping pictures: Cloudinary where it is set up, else local files served at `/uploads`.

use std::{future::Future, pin::Pin, sync::Arc};

use actix_web::web;
use shared::{config::Config, model::Picture};

use crate::routes::Route;

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

/// A picture whose content has been checked: of a known format, within the limits.
#[derive(Clone, Debug)]
pub struct CheckedImage {
    /// The bytes as uploaded.
    pub bytes: bytes::Bytes,
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
pub fn from_config(_config: &Config) -> anyhow::Result<Arc<dyn Media>> {
    anyhow::bail!("not built yet")
}

pub(crate) fn routes() -> Vec<Route> {
    vec![]
}

/// Serves the built client where `SPA_DIR` says so, and words what is not there.
pub(crate) fn mount_client(app: &mut web::ServiceConfig, _config: &Config) {
    app.default_service(web::to(crate::routes::not_found));
}
