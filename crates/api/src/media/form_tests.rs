//! Forms as they come over a real connection: raw bytes in, and what is made of them.

use std::time::Duration;

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, dev::ServerHandle, web};
use image::{ImageFormat, RgbImage};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::{Form, FormLimits};
use crate::error::Result;

const LIMITS: FormLimits = FormLimits { file_fields: &["images", "file"], max_files: 3 };
const MB: usize = 1024 * 1024;

/// Says what arrived.
async fn echo(request: HttpRequest, payload: web::Payload) -> Result<HttpResponse> {
    let mut form = Form::read(&request, payload, LIMITS).await?;
    let mut described = |name| -> Vec<Value> {
        let images = form.take_images(name);
        images.iter().map(|image| json!([image.mime, image.extension, image.content.len()])).collect()
    };
    let (images, file) = (described("images"), described("file"));
    Ok(HttpResponse::Ok().json(json!({
        "images": images, "file": file,
        "name": form.text("name"), "shopeId": form.text("shopeId"), "email[$gt]": form.text("email[$gt]"),
        "email": form.text("email"),
    })))
}

struct Echo {
    address: std::net::SocketAddr,
    handle: ServerHandle,
}

impl Drop for Echo {
    fn drop(&mut self) {
        drop(self.handle.stop(false));
    }
}

impl Echo {
    fn start() -> Self {
        let server = HttpServer::new(|| App::new().default_service(web::to(echo)))
            .workers(1)
            .bind("127.0.0.1:0")
            .unwrap();
        let address = server.addrs()[0];
        let server = server.disable_signals().run();
        let handle = server.handle();
        actix_web::rt::spawn(server);
        Self { address, handle }
    }

    /// Sends raw bytes, hangs up the sending side if told to, and reads the answer.
    async fn send(&self, head: &str, body: &[u8], hang_up: bool) -> (u16, Value) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(format!("POST / HTTP/1.1\r\nHost: x\r\n{head}\r\n\r\n").as_bytes()).await.unwrap();
        // A server may refuse before it has read everything; the answer is what counts.
        _ = stream.write_all(body).await;
        if hang_up {
            stream.shutdown().await.unwrap();
        }
        read_answer(&mut stream).await
    }

    async fn form(&self, body: &[u8]) -> (u16, Value) {
        let head = format!("Content-Type: multipart/form-data; boundary=B\r\nContent-Length: {}", body.len());
        self.send(&head, body, false).await
    }

    /// The same without saying beforehand how much will come.
    async fn chunked(&self, body: &[u8], end: &str) -> (u16, Value) {
        let head = "Content-Type: multipart/form-data; boundary=B\r\nTransfer-Encoding: chunked";
        let mut chunks = Vec::new();
        for chunk in body.chunks(50_000) {
            chunks.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            chunks.extend_from_slice(chunk);
            chunks.extend_from_slice(b"\r\n");
        }
        chunks.extend_from_slice(end.as_bytes());
        self.send(head, &chunks, end.is_empty()).await
    }
}

async fn read_answer(stream: &mut TcpStream) -> (u16, Value) {
    let mut answer = Vec::new();
    let reading = async {
        loop {
            if let Some((status, body)) = complete(&answer) {
                return (status, body);
            }
            if stream.read_buf(&mut answer).await.unwrap() == 0 {
                panic!("no complete answer: {}", String::from_utf8_lossy(&answer));
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), reading).await.unwrap()
}

fn complete(answer: &[u8]) -> Option<(u16, Value)> {
    let text = std::str::from_utf8(answer).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, serde_json::from_str(body).ok()?))
}

fn text(name: &str, value: &str) -> Vec<u8> {
    format!("--B\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n").into_bytes()
}

fn file(field: &str, name: &str, content: &[u8]) -> Vec<u8> {
    let mut part = format!(
        "--B\r\nContent-Disposition: form-data; name=\"{field}\"; filename=\"{name}\"\r\n\
         Content-Type: image/png\r\n\r\n"
    )
    .into_bytes();
    part.extend_from_slice(content);
    part.extend_from_slice(b"\r\n");
    part
}

fn whole(parts: &[Vec<u8>]) -> Vec<u8> {
    let mut body = parts.concat();
    body.extend_from_slice(b"--B--\r\n");
    body
}

fn picture(format: ImageFormat, width: u32, height: u32) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    RgbImage::new(width, height).write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

fn png() -> Vec<u8> {
    picture(ImageFormat::Png, 4, 4)
}

/// A PNG that is as long as wanted: junk behind the end is still a picture.
fn long_png(bytes: usize) -> Vec<u8> {
    let mut png = png();
    png.resize(bytes, 0);
    png
}

/// A PNG whose header says it is that big.
fn huge_png(width: u32, height: u32) -> Vec<u8> {
    let mut png = png();
    png[16..20].copy_from_slice(&width.to_be_bytes());
    png[20..24].copy_from_slice(&height.to_be_bytes());
    let checksum = crc32(&png[12..29]);
    png[29..33].copy_from_slice(&checksum.to_be_bytes());
    png
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(
            crc ^ u32::from(*byte),
            |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 },
        )
    })
}

#[track_caller]
fn assert_refused(answer: &(u16, Value), status: u16, code: &str, says: &str) {
    assert_eq!((answer.0, &answer.1["code"]), (status, &json!(code)), "{answer:?}");
    assert!(answer.1["message"].as_str().unwrap().contains(says), "{answer:?}");
}

#[actix_web::test]
async fn files_come_first_then_texts_and_both_arrive() {
    let echo = Echo::start();
    let jpeg = picture(ImageFormat::Jpeg, 8, 8);
    let body = whole(&[
        file("images", "a.png", &png()),
        file("images", "b.txt", &jpeg),
        text("name", " Lamp "),
        text("shopeId", "6744a0b1c2d3e4f5a6b7c802"),
    ]);
    for (status, answer) in [echo.form(&body).await, echo.chunked(&body, "0\r\n\r\n").await] {
        assert_eq!(status, 200, "{answer}");
        // By content: what the client says of the type, and the name, are not asked.
        let expected = json!([["image/png", "png", png().len()], ["image/jpeg", "jpg", jpeg.len()]]);
        assert_eq!(answer["images"], expected);
        assert_eq!(
            (&answer["name"], &answer["shopeId"]),
            (&json!("Lamp"), &json!("6744a0b1c2d3e4f5a6b7c802"))
        );
    }
}

#[actix_web::test]
async fn every_format_is_known_by_its_content() {
    let echo = Echo::start();
    for (format, mime) in [
        (ImageFormat::Png, "image/png"),
        (ImageFormat::Jpeg, "image/jpeg"),
        (ImageFormat::WebP, "image/webp"),
        (ImageFormat::Gif, "image/gif"),
    ] {
        let (status, answer) = echo.form(&whole(&[file("file", "picture", &picture(format, 8, 8))])).await;
        assert_eq!((status, &answer["file"][0][0]), (200, &json!(mime)), "{answer}");
    }
}

#[actix_web::test]
async fn what_javascript_sends_for_no_picture_is_no_picture() {
    let echo = Echo::start();
    for value in ["null", "undefined", ""] {
        let (status, answer) = echo.form(&whole(&[text("file", value), text("name", value)])).await;
        assert_eq!((status, &answer["file"], &answer["name"]), (200, &json!([]), &Value::Null), "{answer}");
    }
    // An HTML form without a chosen file.
    let (status, answer) = echo.form(&whole(&[file("file", "", b"")])).await;
    assert_eq!((status, &answer["file"]), (200, &json!([])), "{answer}");
    let answer = echo.form(&whole(&[text("file", "http://evil.test/a.png")])).await;
    assert_refused(&answer, 400, "invalid_input", "file must be a picture");
}

#[actix_web::test]
async fn brackets_make_no_objects_and_the_last_of_equal_names_counts() {
    let echo = Echo::start();
    let body = whole(&[text("email[$gt]", "x"), text("name", "first"), text("name", "last")]);
    let (status, answer) = echo.form(&body).await;
    assert_eq!((status, &answer["name"], &answer["email"]), (200, &json!("last"), &Value::Null));
    assert_eq!(answer["email[$gt]"], "x");
}

#[actix_web::test]
async fn what_is_no_picture_is_refused_by_name() {
    let echo = Echo::start();
    let png = png();
    let svg = b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>".as_slice();
    for content in
        [b"just text".as_slice(), svg, b"<!doctype html><p>", b"%PDF-1.7", &png[..12], b"GIF89a", b"BM"]
    {
        let answer = echo.form(&whole(&[file("images", "photo.png", content)])).await;
        assert_refused(&answer, 415, "not_a_picture", "photo.png");
    }
}

#[actix_web::test]
async fn pictures_too_large_in_bytes_or_pixels_are_refused() {
    let echo = Echo::start();
    let answer = echo.form(&whole(&[file("images", "big.png", &long_png(10 * MB + 1))])).await;
    assert_refused(&answer, 413, "file_too_large", "big.png");
    let (status, answer) = echo.form(&whole(&[file("images", "ok.png", &long_png(10 * MB))])).await;
    assert_eq!(status, 200, "{answer}");
    for (width, height) in [(10_001, 1), (1, 10_001), (9_000, 9_000)] {
        let answer = echo.form(&whole(&[file("images", "bomb.png", &huge_png(width, height))])).await;
        assert_refused(&answer, 413, "picture_too_large", "bomb.png");
    }
    // More than any decoder would try.
    let answer = echo.form(&whole(&[file("images", "bomb.png", &huge_png(u32::MAX >> 1, 1))])).await;
    assert!(matches!(answer.0, 413 | 415), "{answer:?}");
}

#[actix_web::test]
async fn a_form_that_is_too_large_is_refused_announced_or_not() {
    let echo = Echo::start();
    let parts = vec![file("images", "a.png", &long_png(10 * MB)); 4];
    let body = whole(&parts);
    assert_refused(&echo.form(&body).await, 413, "body_too_large", "30 MB");
    let answer = echo.chunked(&body, "0\r\n\r\n").await;
    assert_eq!(answer.0, 413, "{answer:?}");
}

#[actix_web::test]
async fn counts_and_lengths_have_limits() {
    let echo = Echo::start();
    let four = vec![file("images", "a.png", &png()); 4];
    assert_refused(
        &echo.form(&whole(&four)).await,
        400,
        "invalid_input",
        "images must be at most 3 pictures",
    );
    let many = vec![text("x", "y"); 100];
    assert_refused(&echo.form(&whole(&many)).await, 400, "too_many_fields", "at most");
    let long = "x".repeat(64 * 1024 + 1);
    assert_refused(&echo.form(&whole(&[text("name", &long)])).await, 413, "field_too_large", "name");
    let mut header = b"--B\r\nContent-Disposition: form-data; name=\"".to_vec();
    header.resize(200_000, b'x');
    let answer = echo.form(&whole(&[header])).await;
    assert_eq!(answer.0, 400, "{answer:?}");
}

#[actix_web::test]
async fn a_file_where_none_is_taken_is_refused_by_name() {
    let echo = Echo::start();
    let answer = echo.form(&whole(&[file("avatar", "a.png", &png())])).await;
    assert_refused(&answer, 400, "unexpected_file", "avatar");
}

#[actix_web::test]
async fn a_body_that_ends_early_is_refused_wherever_it_ends() {
    let echo = Echo::start();
    let body = whole(&[file("images", "a.png", &png()), text("name", "Lamp")]);
    let head = format!("Content-Type: multipart/form-data; boundary=B\r\nContent-Length: {}", body.len());
    // The last line break may be missing: the form is complete without.
    for end in 0..body.len() - 2 {
        // Said to be longer than what comes.
        let answer = echo.send(&head, &body[..end], true).await;
        assert_eq!(answer.0, 400, "cut at {end}: {answer:?}");
        // Not said to be longer, but without its end.
        let answer = echo.chunked(&body[..end], "0\r\n\r\n").await;
        assert_eq!(answer.0, 400, "ended at {end}: {answer:?}");
    }
}

#[actix_web::test]
async fn a_part_that_states_its_length_does_not_hide_an_early_end() {
    let echo = Echo::start();
    let body =
        b"--B\r\nContent-Disposition: form-data; name=\"name\"\r\nContent-Length: 4\r\n\r\nLamp".as_slice();
    assert_refused(&echo.chunked(body, "0\r\n\r\n").await, 400, "incomplete_body", "ended");
    assert_eq!(echo.form(&[body, b"\r\n"].concat()).await.0, 400);
    let (status, answer) = echo.form(&[body, b"\r\n--B--"].concat()).await;
    assert_eq!((status, &answer["name"]), (200, &json!("Lamp")));
}

#[actix_web::test]
async fn what_is_no_form_is_refused() {
    let echo = Echo::start();
    let answer = echo.send("Content-Type: application/json\r\nContent-Length: 2", b"{}", false).await;
    assert_refused(&answer, 415, "unsupported_media_type", "multipart/form-data");
    let answer = echo.send("Content-Length: 0", b"", false).await;
    assert_refused(&answer, 415, "unsupported_media_type", "multipart/form-data");
    let answer = echo.send("Content-Type: multipart/form-data\r\nContent-Length: 2", b"{}", false).await;
    assert_refused(&answer, 400, "malformed_form", "boundary");
    for body in [
        b"".as_slice(),
        b"nothing of the kind",
        b"--B\r\nno header\r\n\r\nx\r\n--B--",
        b"--B\r\n\r\nx\r\n--B--",
    ] {
        let answer = echo.form(body).await;
        assert_eq!(answer.0, 400, "{answer:?}");
    }
    let bad = [
        b"--B\r\nContent-Disposition: form-data; name=\"name\"\r\n\r\n".as_slice(),
        &[0xff, 0xfe],
        b"\r\n--B--\r\n",
    ];
    assert_refused(&echo.form(&bad.concat()).await, 400, "invalid_input", "name must be text");
}
