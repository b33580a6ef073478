//! Pictures at Cloudinary, through its signed REST interface.

use std::{future::Future, pin::Pin, time::Duration};

use anyhow::Context as _;
use reqwest::multipart;
use serde::Deserialize;
use sha1::{Digest as _, Sha1};
use shared::{
    clock::Clock,
    config::{self, Secret},
    model::Picture,
};

use super::{CheckedImage, Folder, Media, is_deletable};

/// Uploads of ten megabytes take their time.
const UPLOAD_TIME: Duration = Duration::from_secs(45);
const DELETE_TIME: Duration = Duration::from_secs(20);
const CONNECT_TIME: Duration = Duration::from_secs(10);

/// The media host.
pub(super) struct Cloudinary {
    client: reqwest::Client,
    clock: Clock,
    cloud: String,
    key: String,
    secret: Secret,
    base: String,
}

#[derive(Deserialize)]
struct Uploaded {
    public_id: String,
    secure_url: String,
}

#[derive(Deserialize)]
struct Destroyed {
    result: String,
}

impl Cloudinary {
    pub(super) fn new(settings: &config::Cloudinary, clock: Clock) -> anyhow::Result<Self> {
        Ok(Self {
            client: reqwest::Client::builder().connect_timeout(CONNECT_TIME).build()?,
            clock,
            cloud: settings.cloud.clone(),
            key: settings.key.clone(),
            secret: settings.secret.clone(),
            base: settings.api_base.trim_end_matches('/').to_owned(),
        })
    }

    fn address(&self, action: &str) -> String {
        format!("{}/v1_1/{}/image/{action}", self.base, self.cloud)
    }

    /// Parameters with what proves that they are ours.
    fn signed(&self, mut parameters: Vec<(&'static str, String)>) -> Vec<(&'static str, String)> {
        parameters.push(("timestamp", (self.clock.now().timestamp_millis() / 1000).to_string()));
        let signature = signature(&mut parameters, self.secret.expose());
        parameters.push(("api_key", self.key.clone()));
        parameters.push(("signature", signature));
        parameters
    }

    async fn upload(&self, folder: Folder, image: CheckedImage) -> anyhow::Result<Picture> {
        let length = u64::try_from(image.bytes.len())?;
        let file = multipart::Part::stream_with_length(image.bytes, length)
            .file_name(format!("picture.{}", image.extension))
            .mime_str(image.mime)?;
        let form = self
            .signed(vec![("folder", folder.name().to_owned())])
            .into_iter()
            .fold(multipart::Form::new(), |form, (name, value)| form.text(name, value))
            .part("file", file);
        let request = self.client.post(self.address("upload")).multipart(form).timeout(UPLOAD_TIME);
        let uploaded: Uploaded = read(request.send().await).await.context("uploading to Cloudinary")?;
        Ok(Picture { public_id: uploaded.public_id, url: uploaded.secure_url })
    }

    async fn destroy(&self, public_id: &str) -> anyhow::Result<()> {
        if !is_deletable(public_id) {
            return Ok(());
        }
        let parameters =
            self.signed(vec![("public_id", public_id.to_owned()), ("invalidate", "true".to_owned())]);
        let request = self.client.post(self.address("destroy")).form(&parameters).timeout(DELETE_TIME);
        let destroyed: Destroyed = read(request.send().await).await.context("deleting at Cloudinary")?;
        anyhow::ensure!(
            matches!(destroyed.result.as_str(), "ok" | "not found"),
            "deleting at Cloudinary: {}",
            destroyed.result
        );
        Ok(())
    }
}

/// The answer to a request; a refusal in the host's own words.
async fn read<T: serde::de::DeserializeOwned>(
    response: Result<reqwest::Response, reqwest::Error>,
) -> anyhow::Result<T> {
    let response = response?;
    let status = response.status();
    let body = response.bytes().await?;
    if !status.is_success() {
        #[derive(Deserialize)]
        struct Failure {
            error: Message,
        }
        #[derive(Deserialize)]
        struct Message {
            message: String,
        }
        let said = serde_json::from_slice::<Failure>(&body).map(|failure| failure.error.message);
        anyhow::bail!("{status}: {}", said.unwrap_or_default());
    }
    serde_json::from_slice(&body).context("the answer cannot be read")
}

/// Cloudinary's signature: SHA-1 of the sorted parameters with the secret behind them.
fn signature(parameters: &mut [(&'static str, String)], secret: &str) -> String {
    parameters.sort_unstable();
    let joined: Vec<String> = parameters.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let digest = Sha1::digest(format!("{}{secret}", joined.join("&")).as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Media for Cloudinary {
    fn store(
        &self,
        folder: Folder,
        image: CheckedImage,
    ) -> Pin<Box<dyn Future<Output = anyhow::Result<Picture>> + Send + '_>> {
        Box::pin(self.upload(folder, image))
    }

    fn delete<'a>(
        &'a self,
        public_id: &'a str,
    ) -> Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send + 'a>> {
        Box::pin(self.destroy(public_id))
    }

    fn describe(&self) -> String {
        format!("Cloudinary, cloud {}", self.cloud)
    }
}
