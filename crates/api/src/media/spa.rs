//! The built client, served from the API's own origin where `SPA_DIR` says so: then the browser sends
//! its cookies on every call.

use std::path::{Path, PathBuf};

use actix_files::NamedFile;
use actix_web::{
    HttpRequest, HttpResponse,
    http::{
        Method,
        header::{self, HeaderValue},
    },
    web,
};
use shared::config::Config;

use super::serve::{decoded, open};
use crate::error::Result;

/// Serves the built client where `SPA_DIR` says so, and words what is not there.
pub(crate) fn mount_client(app: &mut web::ServiceConfig, config: &Config) {
    let Some(directory) = config.spa_dir.clone() else {
        app.default_service(web::to(crate::routes::not_found));
        return;
    };
    app.default_service(web::to(move |request: HttpRequest| client(directory.clone(), request)));
}

/// A file of the client; for the addresses of its pages its first page, which finds its own way.
async fn client(directory: PathBuf, request: HttpRequest) -> Result<HttpResponse> {
    if matches!(*request.method(), Method::GET | Method::HEAD)
        && let Some(path) = file_path(request.uri().path())
    {
        if let Some(file) = open(directory.join(&path)).await {
            let forever = is_hashed(&path);
            return Ok(answer(&request, file, forever));
        }
        if (wants_page(&request) || path.as_os_str().is_empty())
            && let Some(file) = open(directory.join("index.html")).await
        {
            return Ok(answer(&request, file, false));
        }
    }
    crate::routes::not_found(request).await
}

fn answer(request: &HttpRequest, file: NamedFile, forever: bool) -> HttpResponse {
    let mut response = file.disable_content_disposition().prefer_utf8(true).into_response(request);
    // The first page names the files of one build; a stale one would ask for files that are gone.
    let caching = if forever { "public, max-age=31536000, immutable" } else { "no-cache" };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(caching));
    for (name, value) in crate::headers::of_the_client() {
        headers.insert(name, value);
    }
    response
}

/// The file that an address names, below the client's directory. Addresses of the API are none, so
/// that what is not there stays a JSON answer.
fn file_path(path: &str) -> Option<PathBuf> {
    let segments = path
        .split('/')
        .filter(|segment| !segment.is_empty())
        .map(|segment| {
            let segment = decoded(segment)?;
            let plain = !segment.starts_with('.')
                && !segment.contains(|c: char| c.is_control() || matches!(c, '/' | '\\'));
            plain.then_some(segment)
        })
        .collect::<Option<Vec<String>>>()?;
    let ours = ["api", "uploads", "socket.io"];
    if segments.first().is_some_and(|first| ours.iter().any(|name| first.eq_ignore_ascii_case(name))) {
        return None;
    }
    Some(segments.iter().collect())
}

/// Whether the caller is a browser that goes to a page, not a script that asks for data.
fn wants_page(request: &HttpRequest) -> bool {
    request
        .headers()
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.contains("text/html"))
}

/// Whether a file's name changes with its content: build tools put a hash into the names of what
/// they put below `assets` or `static`.
fn is_hashed(path: &Path) -> bool {
    let built = path.components().next().is_some_and(|first| {
        let first = first.as_os_str();
        first == "assets" || first == "static"
    });
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    built
        && name.split(['.', '-']).skip(1).any(|part| {
            part.len() >= 8
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
                && part.bytes().any(|b| b.is_ascii_digit() || b.is_ascii_uppercase())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_a_file_below_the_directory_or_none() {
        assert_eq!(file_path("/"), Some(PathBuf::new()));
        assert_eq!(file_path("/assets/a%20b.js"), Some("assets/a b.js".into()));
        for other in
            ["/../a", "/%2e%2e/a", "/a/..%2fb", "/.env", "/api/x", "/API/x", "/uploads/a", "/socket.io/"]
        {
            assert_eq!(file_path(other), None, "{other}");
        }
        assert_eq!(file_path("/apiary"), Some("apiary".into()));
    }

    #[test]
    fn only_names_with_a_hash_are_kept_for_ever() {
        for (path, forever) in [
            ("assets/index-DiwrgTda.js", true),
            ("assets/index-4e5f6a7b.css", true),
            ("static/js/main.0a1b2c3d.js", true),
            ("static/js/main.0a1b2c3d.chunk.js", true),
            ("assets/logo.png", false),
            ("assets/background.png", false),
            ("index-DiwrgTda.js", false),
            ("index.html", false),
        ] {
            assert_eq!(is_hashed(Path::new(path)), forever, "{path}");
        }
    }
}
