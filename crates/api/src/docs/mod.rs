//! The API reference for people: `openapi.yaml` in a viewer, from where every call can be tried on this very server.
//!
//! The viewer is Swagger UI (Apache-2.0), whole inside this program: nothing is loaded from elsewhere, and the page's
//! own rules for the browser see to it.

mod archive;

use std::{
    collections::HashMap,
    io::{Read as _, Write as _},
    sync::OnceLock,
};

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{
        ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, ETAG, IF_NONE_MATCH, VARY,
    },
    web::{Bytes, Path},
};
use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use shared::auth::content_digest;

use crate::{
    error::{Refusal, Result},
    routes::{Route, get},
};

const PAGE: &str = include_str!("page.html");
const SCRIPT: &str = include_str!("docs.js");

/// What the page may do: run its own scripts, and talk to its own origin. Pictures are part of the style sheet.
const RULES: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Under one name there is another file after an update.
const KEPT: &str = "public, max-age=0, must-revalidate";

const NOT_THERE: Refusal = Refusal::not_found("route_not_found", "There is nothing at this address");

/// What there is, and as what.
const FILES: [(&str, &str); 4] = [
    ("swagger-ui.css", "text/css; charset=utf-8"),
    ("swagger-ui-bundle.js", "text/javascript; charset=utf-8"),
    ("LICENSE", "text/plain; charset=utf-8"),
    ("docs.js", "text/javascript; charset=utf-8"),
];

pub(crate) fn routes() -> Vec<Route> {
    vec![get("", page), get("/{file}", file)]
}

/// `GET /docs`: the page.
async fn page() -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/html; charset=utf-8")
        .insert_header((CONTENT_SECURITY_POLICY, RULES))
        .insert_header((CACHE_CONTROL, KEPT))
        .body(PAGE)
}

/// `GET /docs/{file}`: a part of it.
async fn file(name: Path<String>, request: HttpRequest) -> Result<HttpResponse> {
    let file = files().get(name.as_str()).ok_or(NOT_THERE)?;
    let asks = |header, wanted: &str| {
        let values = request.headers().get_all(header);
        values.filter_map(|value| value.to_str().ok()).any(|value| value.contains(wanted))
    };
    let mut answer =
        if asks(IF_NONE_MATCH, &file.etag) { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    answer
        .insert_header((ETAG, file.etag.as_str()))
        .insert_header((CACHE_CONTROL, KEPT))
        .insert_header((VARY, "accept-encoding"))
        .content_type(file.kind);
    Ok(if asks(IF_NONE_MATCH, &file.etag) {
        answer.finish()
    } else if asks(ACCEPT_ENCODING, "gzip") {
        answer.insert_header((CONTENT_ENCODING, "gzip")).body(file.zipped.clone())
    } else {
        let mut plain = Vec::new();
        GzDecoder::new(file.zipped.as_ref()).read_to_end(&mut plain).map_err(anyhow::Error::from)?;
        answer.body(plain)
    })
}

struct File {
    kind: &'static str,
    etag: String,
    /// As gzip, which every browser takes.
    zipped: Bytes,
}

fn files() -> &'static HashMap<&'static str, File> {
    static ALL: OnceLock<HashMap<&str, File>> = OnceLock::new();
    ALL.get_or_init(|| {
        let zipped = |name| if name == "docs.js" { zip(SCRIPT) } else { archive::zipped(name) };
        let file = |(name, kind)| {
            let zipped = zipped(name)?;
            let digest = content_digest(&zipped);
            let etag = format!("\"{}\"", digest.get(..16).unwrap_or(&digest));
            Some((name, File { kind, etag, zipped: zipped.into() }))
        };
        FILES.into_iter().filter_map(file).collect()
    })
}

fn zip(text: &str) -> Option<Vec<u8>> {
    let mut zipped = GzEncoder::new(Vec::new(), Compression::best());
    zipped.write_all(text.as_bytes()).ok()?;
    zipped.finish().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_the_page_is_there_and_whole() {
        for (name, _) in FILES {
            let file = files().get(name).unwrap_or_else(|| panic!("{name} is missing"));
            let mut plain = Vec::new();
            // Its checksum and its length are compared here.
            GzDecoder::new(file.zipped.as_ref()).read_to_end(&mut plain).unwrap();
            assert!(plain.len() > 400, "{name}");
            assert!(file.zipped.len() < 600_000, "{name}");
        }
        let named = PAGE.matches("docs/").count();
        let known = FILES.iter().filter(|(name, _)| PAGE.contains(&format!("\"docs/{name}\""))).count();
        assert_eq!((named, known), (FILES.len(), FILES.len()));
        assert!(!PAGE.contains("//"), "something is loaded from elsewhere");
    }
}
