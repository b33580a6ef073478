//! Pictures: kept, served, and nothing else served with them.

use std::path::PathBuf;

use api::media::{CheckedImage, Folder};
use reqwest::header::{ACCEPT, IF_NONE_MATCH, RANGE};
use serde_json::json;
use shared::model::{OutboxJob, Picture};
use tests::{Answer, TestApp, picture};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

async fn stored(app: &TestApp) -> Picture {
    let image = CheckedImage { content: picture::png().into(), mime: "image/png", extension: "png" };
    app.inside().media.store(Folder::Avatar, image).await.unwrap()
}

#[track_caller]
fn assert_picture(answer: &Answer) {
    assert_eq!((answer.status, &answer.body), (200, &picture::png()), "{}", answer.text());
}

/// Sends a request line as it is, which a well-behaved client would tidy up first.
async fn raw_get(app: &TestApp, target: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(app.base.trim_start_matches("http://")).await.unwrap();
    let request = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    (answer.split(' ').nth(1).unwrap().parse().unwrap(), answer)
}

#[tokio::test]
async fn a_stored_picture_is_served_as_what_it_is_and_for_ever() {
    let app = TestApp::start().await;
    let picture = stored(&app).await;
    assert!(picture.public_id.starts_with("avatar/") && picture.url.starts_with("/uploads/avatar/"));
    let answer = app.browser().get(&picture.url).await;
    assert_eq!((answer.status, &answer.body), (200, &picture::png()));
    assert_eq!(answer.header("content-type"), Some("image/png"));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    assert!(answer.header("cache-control").unwrap().contains("immutable"));

    let etag = answer.header("etag").unwrap().to_owned();
    let again = app.browser().get(&picture.url).header(IF_NONE_MATCH.as_str(), &etag).await;
    assert_eq!((again.status, again.body.len()), (304, 0));
    let part = app.browser().get(&picture.url).header(RANGE.as_str(), "bytes=1-3").await;
    assert_eq!((part.status, part.body.as_slice()), (206, b"PNG".as_slice()));
}

#[tokio::test]
async fn nothing_of_a_picture_is_left_lying_about_while_or_after_it_is_written() {
    let app = TestApp::start().await;
    let picture = stored(&app).await;
    let names: Vec<String> = std::fs::read_dir(app.home().join("uploads/avatar"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(names, [picture.url.trim_start_matches("/uploads/avatar/")]);
}

#[tokio::test]
async fn a_deleted_picture_is_gone_and_may_be_deleted_again() {
    let app = TestApp::start().await;
    let (picture, other) = (stored(&app).await, stored(&app).await);
    for _ in 0..2 {
        let job = OutboxJob::DeleteMedia { public_id: picture.public_id.clone() };
        app.inside().outbox.add(job).await.unwrap();
        super::mail::outbox_is_empty(&app).await;
        app.browser().get(&picture.url).await.refused(404, "picture_not_found");
    }
    assert_picture(&app.browser().get(&other.url).await);
}

#[tokio::test]
async fn names_that_are_not_ours_delete_nothing() {
    let app = TestApp::start().await;
    let picture = stored(&app).await;
    let name = picture.public_id.trim_start_matches("avatar/");
    for public_id in [
        format!("products/../avatar/{name}"),
        format!("../uploads/avatar/{name}"),
        format!("/{}", picture.public_id),
        name.to_owned(),
        "avatar/".to_owned(),
        "avatar/*".to_owned(),
        String::new(),
    ] {
        app.inside().media.delete(&public_id).await.unwrap();
    }
    assert_picture(&app.browser().get(&picture.url).await);
}

#[tokio::test]
async fn pictures_of_the_old_server_are_served_by_their_bare_names() {
    let app = TestApp::start().await;
    let uploads = app.home().join("uploads");
    std::fs::create_dir_all(&uploads).unwrap();
    std::fs::write(uploads.join("my shop-1699.jpg"), picture::jpeg()).unwrap();
    let answer = app.browser().get("/uploads/my%20shop-1699.jpg").await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("image/jpeg")));
}

#[tokio::test]
async fn no_path_leads_out_of_the_uploads() {
    let app = TestApp::start().await;
    stored(&app).await;
    std::fs::write(app.home().join("secret.png"), b"secret").unwrap();
    for target in [
        "/uploads/../secret.png",
        "/uploads/avatar/../../secret.png",
        "/uploads/%2e%2e/secret.png",
        "/uploads/%2e%2e%2fsecret.png",
        "/uploads/..%2fsecret.png",
        "/uploads/..%5csecret.png",
        "/uploads/avatar%2f..%2f..%2fsecret.png",
        "/uploads//secret.png",
        "/uploads//etc/passwd",
        "/uploads/%2fetc/passwd",
        "/uploads/secret.png%00.png",
        "/uploads/http://localhost/../secret.png",
        "/uploads/",
        "/uploads/avatar",
        "/uploads/avatar/",
    ] {
        let (status, answer) = raw_get(&app, target).await;
        assert_eq!(status, 404, "{target}: {answer}");
        assert!(
            answer.contains(r#""success":false"#) && !answer.contains("\r\n\r\nsecret"),
            "{target}: {answer}"
        );
    }
}

#[tokio::test]
async fn what_could_carry_a_script_is_not_served_as_such() {
    let app = TestApp::start().await;
    let uploads = app.home().join("uploads");
    std::fs::create_dir_all(&uploads).unwrap();
    let script = b"<html><script>alert(1)</script></html>";
    for name in ["a.svg", "a.html", "a.js", "a", "a.png.html", ".a.png"] {
        std::fs::write(uploads.join(name), script).unwrap();
        app.browser().get(&format!("/uploads/{name}")).await.refused(404, "picture_not_found");
    }
    std::fs::write(uploads.join("a.png"), script).unwrap();
    let answer = app.browser().get("/uploads/a.png").await;
    assert_eq!(answer.header("content-type"), Some("image/png"));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    assert!(answer.header("content-security-policy").unwrap().contains("sandbox"));
}

#[tokio::test]
async fn there_is_a_picture_for_whoever_has_none() {
    let app = TestApp::start().await;
    let answer = app.browser().get("/uploads/placeholder.svg").await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("image/svg+xml")));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    let placeholder = api::media::placeholder(&app.config);
    assert_eq!(placeholder.url, format!("{}/uploads/placeholder.svg", app.base));
}

#[tokio::test]
async fn an_absolute_address_behind_uploads_is_served_when_it_is_ours() {
    let app = TestApp::start().await;
    let picture = stored(&app).await;
    let address = format!("{}{}", app.base, picture.url);
    assert_picture(&app.browser().get(&format!("/uploads/{address}")).await);
    // A proxy may have made one slash of two.
    assert_picture(&app.browser().get(&format!("/uploads/{}", address.replace("://", ":/"))).await);
    let placeholder = format!("/uploads/{}/uploads/placeholder.svg", app.base);
    assert_eq!(app.browser().get(&placeholder).await.status, 200);
}

#[tokio::test]
async fn only_the_media_host_that_is_set_up_is_redirected_to() {
    let cloudinary =
        [("CLOUDINARY_NAME", "bazaar"), ("CLOUDINARY_API_KEY", "1"), ("CLOUDINARY_API_SECRET", "s")];
    let app = TestApp::with(&cloudinary).await;
    let hosted = "https://res.cloudinary.com/bazaar/image/upload/v1/avatar/a.png";
    let answer = app.browser().get(&format!("/uploads/{hosted}")).await;
    assert_eq!((answer.status, answer.header("location")), (302, Some(hosted)));
    for foreign in [
        "https://evil.test/a.png",
        "//evil.test/a.png",
        "https://res.cloudinary.com/other/image/upload/a.png",
        "https://res.cloudinary.com@evil.test/bazaar/a.png",
        "https://res.cloudinary.com.evil.test/bazaar/a.png",
        "https://res.cloudinary.com/bazaar/../other/a.png",
        "https://res.cloudinary.com/bazaar/%2e%2e/other/a.png",
        "https://res.cloudinary.com/bazaar/%0d%0aSet-Cookie:x=1",
    ] {
        let (status, answer) = raw_get(&app, &format!("/uploads/{foreign}")).await;
        assert_eq!(status, 404, "{foreign}: {answer}");
        assert!(!answer.to_lowercase().contains("\r\nlocation:"), "{foreign}: {answer}");
    }
    let plain = TestApp::start().await;
    plain.browser().get(&format!("/uploads/{hosted}")).await.refused(404, "picture_not_found");
}

#[tokio::test]
async fn nothing_but_reading_is_possible_below_uploads() {
    let app = TestApp::start().await;
    app.browser()
        .post("/uploads/a.png")
        .unchecked()
        .json(&json!({}))
        .await
        .refused(405, "method_not_allowed");
    app.browser().delete("/uploads/a.png").unchecked().await.refused(405, "method_not_allowed");
}

/// A built client, gone when it is dropped.
struct ClientDir(PathBuf);

impl ClientDir {
    fn setting(&self) -> (&str, &str) {
        ("SPA_DIR", self.0.to_str().unwrap())
    }
}

impl Drop for ClientDir {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

fn client_dir(name: &str) -> ClientDir {
    let dir = std::env::temp_dir().join(format!("souk-client-{}-{name}", std::process::id()));
    std::fs::create_dir_all(dir.join("assets")).unwrap();
    for (name, content) in [
        ("index.html", "<!doctype html><div id=root>"),
        ("favicon.ico", "icon"),
        ("assets/index-4f5e6d7c.js", "run()"),
        ("assets/logo.png", "png"),
        (".env", "SECRET=1"),
    ] {
        std::fs::write(dir.join(name), content).unwrap();
    }
    ClientDir(dir)
}

const PAGE: &str = "text/html,application/xhtml+xml,*/*;q=0.8";

#[tokio::test]
async fn the_client_is_served_with_its_pages_and_its_files() {
    let dir = client_dir("pages");
    let app = TestApp::with(&[dir.setting()]).await;
    let get = |path: &str| app.browser().get(path).unchecked();
    for page in ["/", "/login", "/product/6744a0b1c2d3e4f5a6b7c802", "/activation/abc.def", "/index.html"] {
        let answer = get(page).header(ACCEPT.as_str(), PAGE).await;
        assert_eq!((answer.status, answer.text().as_str()), (200, "<!doctype html><div id=root>"), "{page}");
        assert_eq!(answer.header("cache-control"), Some("no-cache"), "{page}");
        assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"), "{page}");
    }
    // Without saying what it wants, too.
    assert_eq!(get("/").await.status, 200);
    let script = get("/assets/index-4f5e6d7c.js").await;
    assert_eq!((script.status, script.text().as_str()), (200, "run()"));
    assert!(script.header("cache-control").unwrap().contains("immutable"));
    assert!(script.header("content-type").unwrap().starts_with("text/javascript"));
    assert_eq!(get("/assets/logo.png").await.header("cache-control"), Some("no-cache"));
    assert_eq!(app.browser().call("HEAD", "/").unchecked().await.status, 200);
}

#[tokio::test]
async fn beside_the_client_the_api_stays_what_it_is() {
    let dir = client_dir("beside");
    let app = TestApp::with(&[dir.setting()]).await;
    let page = |path: &str| app.browser().get(path).unchecked().header(ACCEPT.as_str(), PAGE);
    assert_eq!(page("/ping").await.text(), "pong");
    for path in ["/api/nothing", "/api", "/socket.io/?EIO=4", "/.env", "/%2eenv", "/..%2findex.html"] {
        page(path).await.refused(404, "route_not_found");
    }
    page("/uploads/nothing.png").await.refused(404, "picture_not_found");
    // A script that asks for a file of an older build must not get a page.
    app.browser()
        .get("/assets/index-00000000.js")
        .unchecked()
        .header(ACCEPT.as_str(), "*/*")
        .await
        .refused(404, "route_not_found");
    app.browser().post("/login").unchecked().json(&json!({})).await.refused(404, "route_not_found");
    let (status, answer) = raw_get(&app, "/../Cargo.toml").await;
    assert_eq!(status, 404, "{answer}");
}

/// Nothing was put on sale, and no picture was kept.
async fn assert_nothing_happened(app: &TestApp) {
    let products = app.db.raw::<bson::Document>("products").count_documents(bson::doc! {}).await.unwrap();
    assert_eq!(products, 0);
    let kept = std::fs::read_dir(app.home().join("uploads/products")).map_or(0, Iterator::count);
    assert_eq!(kept, 0);
}

#[tokio::test]
async fn what_is_no_picture_or_too_large_is_refused_and_leaves_no_trace() {
    let app = TestApp::start().await;
    let bob = app.seller("bobs").await;
    let mut long = picture::png();
    long.resize(11 * 1024 * 1024, 0);
    let svg = b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>".to_vec();
    for (content, status, code) in [
        (b"just text".to_vec(), 415, "not_a_picture"),
        (svg, 415, "not_a_picture"),
        (long, 413, "file_too_large"),
    ] {
        let form = bob.listing_form("Lamp", "10", 1).file("images", "photo.png", "image/png", content);
        let body = bob.post("/api/product/create-product").form(form).await.refused(status, code);
        assert!(body["message"].as_str().unwrap().contains("photo.png"), "{body}");
        assert_nothing_happened(&app).await;
    }
    let form = bob.listing_form("Lamp", "10", 1).file("surprise", "a.png", "image/png", picture::png());
    let body = bob.post("/api/product/create-product").form(form).await.refused(400, "unexpected_file");
    assert!(body["message"].as_str().unwrap().contains("surprise"), "{body}");
    assert_nothing_happened(&app).await;
}

#[tokio::test]
async fn a_form_that_is_cut_off_has_no_effect() {
    let app = TestApp::start().await;
    let bob = app.seller("bobs").await;
    let mut body =
        b"--B\r\nContent-Disposition: form-data; name=\"images\"; filename=\"a.png\"\r\n\r\n".to_vec();
    body.extend(picture::png());
    for (name, value) in [
        ("name", "Lamp"),
        ("description", "As good as new."),
        ("category", "Others"),
        ("originalPrice", "10"),
        ("discountPrice", "10"),
        ("stock", "1"),
        ("shopeId", &bob.id.hex()),
    ] {
        body.extend(
            format!("\r\n--B\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}").into_bytes(),
        );
    }
    let head = format!(
        "POST /api/product/create-product HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\
         Content-Type: multipart/form-data; boundary=B\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        bob.token,
        body.len() + 9
    );
    let send = async |end: &[u8]| {
        let mut stream = TcpStream::connect(app.base.trim_start_matches("http://")).await.unwrap();
        stream.write_all(&[head.as_bytes(), &body, end].concat()).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    };
    // Everything is there but the end of the form.
    let answer = send(b"").await;
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("incomplete_body"), "{answer}");
    assert_nothing_happened(&app).await;
    // It is the end that was missing and nothing else.
    let answer = send(b"\r\n--B--\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
}
