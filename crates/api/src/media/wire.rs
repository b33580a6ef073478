//! Pictures as clients see them, and what is said about uploads that cannot be used.

use actix_web::http::StatusCode;
use serde::Serialize;
use shared::{config::Config, model::Picture};

use crate::error::Refusal;

/// A picture in an answer. Its address is absolute, and there always is one: the client's pages break
/// without.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PictureReply {
    /// The media host's name of it.
    pub public_id: String,
    /// Where it is.
    pub url: String,
}

impl PictureReply {
    /// A stored picture, or the placeholder where there is none.
    pub fn of(config: &Config, picture: Option<&Picture>) -> Self {
        match picture {
            Some(picture) if crate::extract::meant(&picture.url).is_some() => {
                Self { public_id: picture.public_id.clone(), url: super::public_url(config, &picture.url) }
            }
            _ => {
                let Picture { public_id, url } = super::placeholder(config);
                Self { public_id, url }
            }
        }
    }
}

pub(super) const NOT_A_FORM: Refusal = Refusal::new(
    StatusCode::UNSUPPORTED_MEDIA_TYPE,
    "unsupported_media_type",
    "This request needs a multipart/form-data body",
);
pub(super) const NOT_A_PICTURE: Refusal = Refusal::new(
    StatusCode::UNSUPPORTED_MEDIA_TYPE,
    "not_a_picture",
    "Only JPEG, PNG, WebP and GIF pictures are accepted",
);
pub(super) const TOO_LARGE: Refusal = Refusal::new(
    StatusCode::PAYLOAD_TOO_LARGE,
    "body_too_large",
    "The request body is too large: at most 30 MB are accepted",
);
pub(super) const FILE_TOO_LARGE: Refusal =
    Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "file_too_large", "A picture may have at most 10 MB");
pub(super) const TOO_MANY_PIXELS: Refusal = Refusal::new(
    StatusCode::PAYLOAD_TOO_LARGE,
    "picture_too_large",
    "A picture may be at most 10000 pixels wide and high, and have at most 64 million in all",
);
pub(super) const TEXT_TOO_LONG: Refusal =
    Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "field_too_large", "A text field may have at most 64 KB");
pub(super) const MALFORMED: Refusal =
    Refusal::bad_request("malformed_form", "The request body is not a valid multipart form");
pub(super) const CUT_OFF: Refusal =
    Refusal::bad_request("incomplete_body", "The request body ended before it was complete");
pub(super) const TOO_MANY_PARTS: Refusal =
    Refusal::bad_request("too_many_fields", "A form may have at most 60 fields");
pub(super) const UNEXPECTED_FILE: Refusal = Refusal::bad_request("unexpected_file", "Unexpected field");
pub(super) const NO_PICTURE: Refusal = Refusal::not_found("picture_not_found", "There is no such picture");
