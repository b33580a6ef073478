//! `/uploads`: local pictures, and the addresses that one page of the client puts behind it.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
};

use actix_files::NamedFile;
use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{self, HeaderValue},
};
use shared::config::Config;

use super::wire;
use crate::{
    error::Result,
    routes::{Route, get},
    state::State,
};

/// The file that is always there.
pub(super) const PLACEHOLDER: &str = "placeholder.svg";
/// A picture opened as a page runs nothing and loads nothing.
const FILE_POLICY: &str = "default-src 'none'; frame-ancestors 'none'; sandbox";
const PLACEHOLDER_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'";
const PLACEHOLDER_BODY: &str = include_str!("placeholder.svg");

pub(crate) fn routes() -> Vec<Route> {
    vec![get("/{path:.*}", show)]
}

/// `GET /uploads/{path}`: a picture that is kept here, or the way to the one at the media host.
async fn show(request: HttpRequest, state: State) -> Result<HttpResponse> {
    // The path as it was sent: a decoded one no longer tells a slash from an escaped slash.
    let path = request.uri().path().strip_prefix("/uploads/").unwrap_or_default();
    match target(&state.config, path) {
        Some(Target::Placeholder) => Ok(placeholder()),
        Some(Target::Elsewhere(address)) => Ok(HttpResponse::Found()
            .insert_header((header::LOCATION, address))
            .insert_header((header::CACHE_CONTROL, "public, max-age=86400"))
            .finish()),
        Some(Target::File { path, mime }) => file(&request, &state.config.upload_dir, path, mime).await,
        None => Err(wire::NO_PICTURE.into()),
    }
}

fn placeholder() -> HttpResponse {
    HttpResponse::Ok()
        .content_type("image/svg+xml")
        .insert_header((header::CACHE_CONTROL, "public, max-age=86400"))
        .insert_header((header::CONTENT_SECURITY_POLICY, PLACEHOLDER_POLICY))
        .body(PLACEHOLDER_BODY)
}

async fn file(
    request: &HttpRequest,
    directory: &Path,
    path: PathBuf,
    mime: &'static str,
) -> Result<HttpResponse> {
    let file = open_below(directory.to_owned(), path).await.ok_or(wire::NO_PICTURE)?;
    let mut response = file.disable_content_disposition().into_response(request);
    let headers = response.headers_mut();
    // By our list of extensions alone: whatever else the file may be is not for browsers to guess.
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(mime));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(FILE_POLICY));
    // A stored picture never changes under its name.
    let forever = HeaderValue::from_static("public, max-age=31536000, immutable");
    headers.insert(header::CACHE_CONTROL, forever);
    Ok(response)
}

/// Opens a file that is in a directory and not just linked from there. The directory itself may be a link.
async fn open_below(directory: PathBuf, path: PathBuf) -> Option<NamedFile> {
    let found = tokio::task::spawn_blocking(move || {
        let (directory, path) = (directory.canonicalize().ok()?, directory.join(path).canonicalize().ok()?);
        path.starts_with(directory).then_some(path)
    });
    open(found.await.ok()??).await
}

/// Opens what is a file.
pub(super) async fn open(path: PathBuf) -> Option<NamedFile> {
    let file = tokio::task::spawn_blocking(|| NamedFile::open(path)).await.ok()?.ok()?;
    file.metadata().is_file().then_some(file)
}

#[derive(Debug, PartialEq, Eq)]
enum Target {
    Placeholder,
    /// Below the upload directory.
    File {
        path: PathBuf,
        mime: &'static str,
    },
    /// At the media host.
    Elsewhere(String),
}

/// What a path below `/uploads/` means; nothing, if it means nothing that is ours.
fn target(config: &Config, path: &str) -> Option<Target> {
    let Some(address) = absolute(path) else { return local(path) };
    if let Some(own) = address.strip_prefix(&format!("{}/uploads/", config.public_url)) {
        return local(own);
    }
    // Only pictures of the cloud that is set up: whoever writes a link to us must not be able to
    // choose where it leads.
    let cloud = &config.cloudinary.as_ref()?.cloud;
    let rest = address.split_once("://")?.1.strip_prefix(&format!("res.cloudinary.com/{cloud}/"))?;
    segments(rest)?;
    Some(Target::Elsewhere(format!("https://res.cloudinary.com/{cloud}/{rest}")))
}

/// The absolute address that a path is, if it is one. Some proxies make one slash of two.
fn absolute(path: &str) -> Option<String> {
    ["https", "http"].into_iter().find_map(|scheme| {
        let rest = path.strip_prefix(scheme)?.strip_prefix(":/")?;
        Some(format!("{scheme}://{}", rest.strip_prefix('/').unwrap_or(rest)))
    })
}

fn local(path: &str) -> Option<Target> {
    if path == PLACEHOLDER {
        return Some(Target::Placeholder);
    }
    let segments = segments(path)?;
    let (_, extension) = segments.last()?.rsplit_once('.')?;
    // Nothing that can carry a script: no SVG, no HTML, whatever lies in the directory.
    let mime = match extension.to_ascii_lowercase().as_str() {
        "jpg" | "jpeg" | "jfif" => "image/jpeg",
        "png" => "image/png",
        "webp" => "image/webp",
        "gif" => "image/gif",
        "avif" => "image/avif",
        "bmp" => "image/bmp",
        _ => return None,
    };
    Some(Target::File { path: segments.iter().collect(), mime })
}

/// The decoded segments of a path that goes down and nowhere else.
fn segments(path: &str) -> Option<Vec<String>> {
    path.split('/')
        .map(|segment| {
            let segment = decoded(segment)?;
            // Hidden files are those that are still being written; `..` is one of them, too.
            let plain = !segment.is_empty()
                && !segment.starts_with('.')
                && !segment.contains(|c: char| c.is_control() || matches!(c, '/' | '\\' | ':'));
            plain.then_some(segment)
        })
        .collect()
}

/// Percent-decodes; nothing for an escape that is none or bytes that are not UTF-8.
pub(super) fn decoded(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
            let (high, low) = (digit(bytes.next())?, digit(bytes.next())?);
            decoded.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            decoded.push(byte);
        }
    }
    String::from_utf8(decoded).ok()
}

/// Percent-encodes everything but letters, digits, `-._~` and slashes.
pub(super) fn encoded(path: &str) -> String {
    path.bytes().fold(String::with_capacity(path.len()), |mut text, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            text.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            _ = write!(text, "%{byte:02X}");
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(cloud: bool) -> Config {
        Config::read(|name| {
            let value = match name {
                "PUBLIC_URL" => "http://souk.test:5000",
                "CLOUDINARY_NAME" if cloud => "bazaar",
                "CLOUDINARY_API_KEY" | "CLOUDINARY_API_SECRET" if cloud => "x",
                _ => return None,
            };
            Some(value.to_owned())
        })
        .unwrap()
    }

    fn png(path: &str) -> Option<Target> {
        Some(Target::File { path: path.into(), mime: "image/png" })
    }

    #[test]
    fn paths_lead_to_pictures_below_the_directory_and_nowhere_else() {
        let config = config(false);
        assert_eq!(target(&config, "avatar/a.png"), png("avatar/a.png"));
        assert_eq!(target(&config, "old%20name-1.PNG"), png("old name-1.PNG"));
        assert_eq!(target(&config, "placeholder.svg"), Some(Target::Placeholder));
        for trick in [
            "",
            "/",
            "../a.png",
            "avatar/../../a.png",
            "%2e%2e/a.png",
            "..%2fa.png",
            "..%5ca.png",
            "avatar//a.png",
            "avatar%2f..%2fa.png",
            ".hidden.png",
            "avatar/.a.png.part",
            "a.png%00.html",
            "a.html",
            "a.svg",
            "a",
            "avatar",
            "c:/a.png",
            "a%.png",
            "a%ff.png",
            "a.png/",
        ] {
            assert_eq!(target(&config, trick), None, "{trick}");
        }
    }

    #[test]
    fn absolute_addresses_lead_home_or_to_the_media_host_only() {
        let (with, without) = (config(true), config(false));
        let own = "http://souk.test:5000/uploads/avatar/a.png";
        assert_eq!(target(&without, own), png("avatar/a.png"));
        assert_eq!(target(&without, &own.replace("://", ":/")), png("avatar/a.png"));
        let hosted = "https://res.cloudinary.com/bazaar/image/upload/v1/avatar/a%20b.png";
        assert_eq!(target(&with, hosted), Some(Target::Elsewhere(hosted.to_owned())));
        assert_eq!(
            target(&with, &hosted.replace("https:/", "http:")),
            Some(Target::Elsewhere(hosted.to_owned()))
        );
        assert_eq!(target(&without, hosted), None);
        for foreign in [
            "https://evil.test/a.png",
            "https://res.cloudinary.com/other/a.png",
            "https://res.cloudinary.com/bazaar/../other/a.png",
            "https://res.cloudinary.com/bazaar/%2e%2e/other/a.png",
            "https://res.cloudinary.com.evil.test/bazaar/a.png",
            "https://res.cloudinary.com@evil.test/bazaar/a.png",
            "https://evil.test/https://res.cloudinary.com/bazaar/a.png",
            "https:///evil.test/a.png",
            "https://souk.test:5000.evil.test/uploads/a.png",
            "http://souk.test:5000/uploads/../secret.png",
            "http://souk.test:5000/uploads/http://evil.test/a.png",
            "//evil.test/a.png",
            "ftp://evil.test/a.png",
        ] {
            assert_eq!(target(&with, foreign), None, "{foreign}");
        }
    }

    #[test]
    fn encoding_is_undone_by_decoding() {
        for name in ["a b.png", "ä/ö.png", "100%.png", "a+b&c?.png"] {
            assert_eq!(decoded(&encoded(name)).as_deref(), Some(name));
        }
    }
}
