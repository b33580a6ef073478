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
        let length = image.content.len();
        let body = reqwest::Body::wrap_stream(image.content.stream());
        let file = multipart::Part::stream_with_length(body, length)
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

#[cfg(test)]
mod tests {
    use wiremock::{
        Mock, MockServer, Request, ResponseTemplate,
        matchers::{method, path},
    };

    use super::*;

    fn cloudinary(server: &MockServer) -> Cloudinary {
        // The first call decides for the process, and all say the same.
        _ = rustls::crypto::ring::default_provider().install_default();
        let settings = config::Cloudinary {
            cloud: "bazaar".to_owned(),
            key: "12345".to_owned(),
            secret: Secret::new("abcd".to_owned()),
            api_base: server.uri(),
        };
        Cloudinary::new(&settings, Clock::default()).unwrap()
    }

    fn image() -> CheckedImage {
        let bytes = b"\x89PNG\r\n--picture--".to_vec();
        CheckedImage { content: bytes.into(), mime: "image/png", extension: "png" }
    }

    async fn answering(action: &str, status: u16, body: serde_json::Value) -> MockServer {
        // One of its own: those that are lent out again may still take down a request of the last user's.
        let server = MockServer::builder().start().await;
        Mock::given(method("POST"))
            .and(path(format!("/v1_1/bazaar/image/{action}")))
            .respond_with(ResponseTemplate::new(status).set_body_json(body))
            .expect(1)
            .mount(&server)
            .await;
        server
    }

    async fn only_request(server: &MockServer) -> Request {
        let mut requests = server.received_requests().await.unwrap();
        assert_eq!(requests.len(), 1);
        requests.remove(0)
    }

    /// The value of a field in a multipart body.
    fn field(body: &str, name: &str) -> String {
        let (_, after) = body.split_once(&format!("name=\"{name}\"")).unwrap();
        let (_, value) = after.split_once("\r\n\r\n").unwrap();
        value.split("\r\n--").next().unwrap().to_owned()
    }

    #[test]
    fn the_signature_is_the_one_that_cloudinary_documents() {
        let mut parameters = vec![
            ("timestamp", "1315060510".to_owned()),
            ("public_id", "sample_image".to_owned()),
            ("eager", "w_400,h_300,c_pad|w_260,h_200,c_crop".to_owned()),
        ];
        assert_eq!(signature(&mut parameters, "abcd"), "bfd09f95f331f558cbd1320e67aa8d488770583e");
    }

    #[tokio::test]
    async fn an_upload_is_signed_and_carries_the_picture() {
        let answer = serde_json::json!({
            "public_id": "avatar/x1", "url": "http://res.cloudinary.com/bazaar/x1.png",
            "secure_url": "https://res.cloudinary.com/bazaar/x1.png", "version": 1,
        });
        let server = answering("upload", 200, answer).await;
        let before = Clock::default().now().timestamp_millis() / 1000;
        let picture = cloudinary(&server).store(Folder::Avatar, image()).await.unwrap();
        let expected = Picture {
            public_id: "avatar/x1".to_owned(),
            url: "https://res.cloudinary.com/bazaar/x1.png".to_owned(),
        };
        assert_eq!(picture, expected);

        let request = only_request(&server).await;
        assert!(
            request.headers["content-type"].to_str().unwrap().starts_with("multipart/form-data; boundary=")
        );
        let body = String::from_utf8_lossy(&request.body).into_owned();
        let timestamp = field(&body, "timestamp");
        assert!((before..before + 60).contains(&timestamp.parse().unwrap()), "{timestamp}");
        assert_eq!((field(&body, "folder").as_str(), field(&body, "api_key").as_str()), ("avatar", "12345"));
        let digest = Sha1::digest(format!("folder=avatar&timestamp={timestamp}abcd").as_bytes());
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(field(&body, "signature"), hex);
        assert!(
            body.contains("filename=\"picture.png\"") && body.contains("Content-Type: image/png"),
            "{body}"
        );
        assert!(
            request.body.windows(17).any(|part| part == b"\x89PNG\r\n--picture--"),
            "the picture is whole"
        );
        assert!(!body.contains("abcd\r\n"), "the secret stays here");
    }

    #[tokio::test]
    async fn a_deletion_is_signed_and_what_is_gone_is_fine() {
        for result in ["ok", "not found"] {
            let server = answering("destroy", 200, serde_json::json!({ "result": result })).await;
            cloudinary(&server).delete("avatar/x 1").await.unwrap();
            let body = String::from_utf8(only_request(&server).await.body).unwrap();
            let fields: std::collections::HashMap<&str, &str> =
                body.split('&').map(|pair| pair.split_once('=').unwrap()).collect();
            let signed =
                format!("invalidate=true&public_id=avatar/x 1&timestamp={}abcd", fields["timestamp"]);
            let hex: String =
                Sha1::digest(signed.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(
                (fields["public_id"], fields["api_key"], fields["signature"]),
                ("avatar%2Fx+1", "12345", hex.as_str())
            );
        }
    }

    #[tokio::test]
    async fn a_refusal_is_a_failure_in_the_hosts_words() {
        let refusal = serde_json::json!({ "error": { "message": "Invalid Signature" } });
        let server = answering("upload", 401, refusal).await;
        let why = cloudinary(&server).store(Folder::Avatar, image()).await.unwrap_err();
        assert!(format!("{why:#}").contains("Invalid Signature"), "{why:#}");

        let server = answering("destroy", 200, serde_json::json!({ "result": "error" })).await;
        cloudinary(&server).delete("avatar/x1").await.unwrap_err();
    }

    #[tokio::test]
    async fn a_host_that_cannot_be_reached_is_a_failure() {
        let server = MockServer::builder().start().await;
        let host = cloudinary(&server);
        drop(server);
        host.store(Folder::Avatar, image()).await.unwrap_err();
    }

    #[tokio::test]
    async fn nothing_is_asked_of_the_host_for_a_picture_that_it_never_had() {
        let server = MockServer::builder().start().await;
        cloudinary(&server).delete("placeholder").await.unwrap();
        cloudinary(&server).delete("").await.unwrap();
        assert!(server.received_requests().await.unwrap().is_empty());
    }
}
