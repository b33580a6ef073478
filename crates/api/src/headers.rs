//! What every answer tells the browser about itself: how far it may be kept, framed, sniffed and embedded.

use std::sync::Arc;

use actix_web::{
    Error as ActixError,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    http::header::{
        CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderMap, HeaderName, HeaderValue, REFERRER_POLICY,
        STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
    },
    middleware::Next,
    web,
};
use shared::config::Config;

use crate::state::App;

const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// Data is no document: nothing in it is run, framed or submitted.
const DATA: &str = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The client's pages. They load scripts, styles and frames of payment gateways, which change without notice, so only
/// what a page never needs is forbidden.
const PAGE: &str = "base-uri 'self'; object-src 'none'; frame-ancestors 'self'";

/// Middleware, the outermost: what an answer does not say of itself is said for it, in the strictest form.
pub async fn harden(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, ActixError> {
    let config = request.app_data::<web::Data<App>>().map(|app| Arc::clone(&app.config));
    let is_media = request.path().starts_with("/uploads/");
    let mut response = next.call(request).await?;
    if let Some(config) = config {
        complete(response.headers_mut(), is_media, &config);
    }
    Ok(response)
}

/// Says what an answer does not say of itself.
pub(crate) fn complete(headers: &mut HeaderMap, is_media: bool, config: &Config) {
    // Pictures are shown by the client's pages, wherever those are served from.
    let embedded = if is_media { "cross-origin" } else { "same-origin" };
    for (name, value) in [
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "strict-origin-when-cross-origin"),
        (X_FRAME_OPTIONS, "DENY"),
        (CONTENT_SECURITY_POLICY, DATA),
        (RESOURCE_POLICY, embedded),
        (CACHE_CONTROL, "no-store"),
    ] {
        if !headers.contains_key(&name) {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
    if config.public_url.starts_with("https://") {
        let year = HeaderValue::from_static("max-age=31536000; includeSubDomains");
        headers.insert(STRICT_TRANSPORT_SECURITY, year);
    }
}

/// What a page or a file of the client says of itself.
pub(crate) fn of_the_client() -> [(HeaderName, HeaderValue); 3] {
    [
        (CONTENT_SECURITY_POLICY, HeaderValue::from_static(PAGE)),
        (X_FRAME_OPTIONS, HeaderValue::from_static("SAMEORIGIN")),
        (RESOURCE_POLICY, HeaderValue::from_static("same-site")),
    ]
}
