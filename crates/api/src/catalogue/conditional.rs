//! Answers that a browser may keep: tagged with a digest of their content, and not sent again to
//! somebody who has them.

use std::fmt::Write as _;

use actix_web::{HttpRequest, HttpResponse, http::header};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::error::{Error, Result};

/// 200 with the body and its tag, or 304 where the request names that tag.
pub(super) fn reply(request: &HttpRequest, body: &impl Serialize) -> Result<HttpResponse> {
    let body = serde_json::to_vec(body).map_err(|error| Error::Unexpected(error.into()))?;
    // Weak: the same content may go out compressed or not.
    let mut tag = "W/\"".to_owned();
    for byte in Sha256::digest(&body).iter().take(16) {
        _ = write!(tag, "{byte:02x}");
    }
    tag.push('"');
    let mut response = if is_known(request, &tag) { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    // The browser may keep it but asks each time; nobody in between may, what one sees can depend on
    // who asks.
    response
        .insert_header((header::CACHE_CONTROL, "private, no-cache"))
        .insert_header((header::ETAG, tag.clone()));
    if is_known(request, &tag) {
        return Ok(response.finish());
    }
    Ok(response.content_type("application/json").body(body))
}

fn is_known(request: &HttpRequest, tag: &str) -> bool {
    let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    let wanted = opaque(tag);
    request
        .headers()
        .get_all(header::IF_NONE_MATCH)
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|known| known.trim() == "*" || opaque(known) == wanted)
}
