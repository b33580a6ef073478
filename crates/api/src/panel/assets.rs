//! Styles and scripts, part of the program. Each is named by what is in it, so browsers keep it for ever.

use std::sync::LazyLock;

use actix_web::{
    HttpResponse,
    http::header::{CACHE_CONTROL, CONTENT_TYPE},
    web,
};
use shared::auth::digest;

use crate::error::{Refusal, Result};

const NO_SUCH_FILE: Refusal = Refusal::not_found("file_not_found", "There is no such file");

/// A file, and the address that it has in this build.
pub(super) struct Asset {
    name: &'static str,
    kind: &'static str,
    content: &'static str,
    address: LazyLock<String>,
}

macro_rules! asset {
    ($name:literal, $kind:literal, $path:literal) => {
        Asset {
            name: $name,
            kind: $kind,
            content: include_str!(concat!("../../assets/panel/", $path)),
            address: LazyLock::new(|| {
                let content = include_str!(concat!("../../assets/panel/", $path));
                let version = digest(content);
                format!("/admin/assets/{}?v={}", $name, version.get(..12).unwrap_or_default())
            }),
        }
    };
}

pub(super) static STYLE: Asset = asset!("panel.css", "text/css; charset=utf-8", "panel.css");
pub(super) static SCRIPT: Asset = asset!("panel.js", "text/javascript; charset=utf-8", "panel.js");
/// Requests from attributes of the page. The 2.x line: what follows it is young.
pub(super) static HTMX: Asset =
    asset!("htmx.js", "text/javascript; charset=utf-8", "vendor/htmx-2.0.11.min.js");
/// Has it send JSON, as the API reads it.
pub(super) static HTMX_JSON: Asset =
    asset!("json-enc.js", "text/javascript; charset=utf-8", "vendor/json-enc-2.0.3.min.js");
pub(super) static CHART: Asset =
    asset!("chart.js", "text/javascript; charset=utf-8", "vendor/chart-4.6.1.umd.min.js");

impl Asset {
    pub(super) fn address(&self) -> &str {
        &self.address
    }
}

/// `GET /admin/assets/{file}`: one of them.
pub(super) async fn serve(file: web::Path<String>) -> Result<HttpResponse> {
    let all = [&STYLE, &SCRIPT, &HTMX, &HTMX_JSON, &CHART];
    let asset = all.into_iter().find(|asset| asset.name == *file).ok_or(NO_SUCH_FILE)?;
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, asset.kind))
        .insert_header((CACHE_CONTROL, "public, max-age=31536000, immutable"))
        .body(asset.content))
}
