//! Multipart forms: files first, then text fields, read in one pass into bounded memory.
//!
//! Nothing is written anywhere before the whole form has been read and found good, so a body that is
//! cut off, as the client's page reload may do, has no effect.

use std::{
    cell::RefCell,
    collections::HashMap,
    pin::Pin,
    rc::Rc,
    sync::{Arc, LazyLock},
    task::{Context, Poll},
    time::Duration,
};

use actix_multipart::{Field, Multipart, MultipartError};
use actix_web::{
    HttpMessage as _, HttpRequest,
    error::PayloadError,
    http::header,
    web::{self, Bytes},
};
use futures_util::{Stream, StreamExt as _};
use image::{ImageFormat, ImageReader};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout, timeout_at},
};

use super::{CheckedImage, wire};
use crate::{
    error::{Error, Result},
    extract::{MAX_SILENCE, MAX_TIME, meant},
};

/// The largest picture.
const MAX_FILE: usize = 10 * 1024 * 1024;
/// The largest form.
const MAX_TOTAL: usize = 30 * 1024 * 1024;
/// What delimiters and part headers may add to [`MAX_TOTAL`].
const MAX_FRAMING: usize = 256 * 1024;
/// The longest text field.
const MAX_TEXT: usize = 64 * 1024;
/// The most parts, files included.
const MAX_PARTS: usize = 60;
/// Neither side of a picture may be longer, in pixels.
const MAX_SIDE: u32 = 10_000;
/// Nor may a picture have more pixels: whoever decodes it needs four bytes for each.
const MAX_PIXELS: u64 = 64_000_000;
/// So much of a body that is refused anyway is still read: most clients read no answer before they
/// have sent everything.
const MAX_IGNORED: usize = 64 * 1024 * 1024;
/// And for so long.
const MAX_IGNORING: Duration = Duration::from_secs(10);
/// Whoever sends nothing for so long, waits for the answer.
const PAUSE: Duration = Duration::from_secs(1);

/// So many bytes of the end are remembered: the last delimiter and whatever follows it.
const TAIL: usize = 1024;

/// Memory for all forms that are being read or used, in units of 64 KB: enough for the largest form. Each form reserves
/// what it may need before it is read, so that forms wait for one another instead of failing half
/// way.
static MEMORY: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(486)));
const MEMORY_UNIT: usize = 64 * 1024;
/// Longer for memory, and the server is too busy.
const MAX_WAIT: Duration = Duration::from_secs(20);

/// What one route accepts.
#[derive(Clone, Copy, Debug)]
pub struct FormLimits {
    /// Names of the fields that may hold pictures.
    pub file_fields: &'static [&'static str],
    /// How many pictures there may be, over all these fields.
    pub max_files: usize,
}

/// A form that arrived completely and whose pictures have been checked.
#[derive(Debug, Default)]
pub struct Form {
    texts: HashMap<String, String>,
    images: Vec<(String, CheckedImage)>,
    _memory: Option<OwnedSemaphorePermit>,
}

impl Form {
    /// Reads the whole body.
    pub async fn read(request: &HttpRequest, payload: web::Payload, limits: FormLimits) -> Result<Self> {
        let body = Body::new(payload);
        let Some(boundary) = boundary(request) else {
            body.ignore_rest().await;
            return Err(if is_form(request) {
                wire::MALFORMED.saying("The header Content-Type names no boundary").into()
            } else {
                wire::NOT_A_FORM.into()
            });
        };
        let announced = announced(request);
        if announced.is_some_and(|length| length > MAX_TOTAL + MAX_FRAMING) {
            body.ignore_rest().await;
            return Err(wire::TOO_LARGE.into());
        }
        let memory = reserve(announced.unwrap_or(MAX_TOTAL)).await?;
        let multipart = Multipart::new(request.headers(), body.clone());
        match timeout_at(body.deadline(), read_parts(multipart, limits)).await {
            // A body may also end too early between two parts, where the parser does not mind.
            Ok(Ok(_)) if body.is_cut_off(&boundary) => Err(wire::CUT_OFF.into()),
            Ok(Ok((texts, files))) => {
                let images = check_all(files).await?;
                Ok(Self { texts, images, _memory: Some(memory) })
            }
            Ok(Err(error)) => {
                // What is ignored takes no memory.
                drop(memory);
                body.ignore_rest().await;
                Err(body.failure().unwrap_or(error))
            }
            Err(_) => Err(wire::CUT_OFF.saying("The request body took longer than five minutes").into()),
        }
    }

    /// A text field's meaning: trimmed, and nothing where JavaScript had nothing. Of several fields
    /// of that name the last counts.
    pub fn text(&self, name: &str) -> Option<String> {
        meant(self.texts.get(name)?)
    }

    /// A text field exactly as it came: blanks belong to a password.
    pub fn raw_text(&self, name: &str) -> Option<&str> {
        self.texts.get(name).map(String::as_str)
    }

    /// A text field as it was typed.
    pub fn verbatim(&self, name: &str) -> Option<&str> {
        self.texts.get(name).map(String::as_str)
    }

    /// The pictures of a field, in the order they came.
    pub fn take_images(&mut self, name: &str) -> Vec<CheckedImage> {
        let (taken, left) =
            std::mem::take(&mut self.images).into_iter().partition(|(field, _)| field == name);
        self.images = left;
        let taken: Vec<(String, CheckedImage)> = taken;
        taken.into_iter().map(|(_, image)| image).collect()
    }

    /// The first picture of a field.
    pub fn take_image(&mut self, name: &str) -> Option<CheckedImage> {
        self.take_images(name).into_iter().next()
    }
}

/// Whether the request says that its body is a multipart form.
pub fn is_form(request: &HttpRequest) -> bool {
    request
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .is_some_and(|essence| essence.trim().eq_ignore_ascii_case("multipart/form-data"))
}

fn boundary(request: &HttpRequest) -> Option<String> {
    let kind = request.mime_type().ok()??;
    let boundary = kind.get_param("boundary")?.as_str();
    (is_form(request) && !boundary.is_empty()).then(|| boundary.to_owned())
}

fn announced(request: &HttpRequest) -> Option<usize> {
    request.headers().get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

async fn reserve(bytes: usize) -> Result<OwnedSemaphorePermit> {
    let units = u32::try_from(bytes.min(MAX_TOTAL + MAX_FRAMING) / MEMORY_UNIT + 1).unwrap_or(u32::MAX);
    match timeout(MAX_WAIT, Arc::clone(&MEMORY).acquire_many_owned(units)).await {
        Ok(Ok(permit)) => Ok(permit),
        Ok(Err(closed)) => Err(Error::Unexpected(closed.into())),
        Err(_) => Err(Error::Unavailable(anyhow::anyhow!("too many uploads at once"))),
    }
}

/// The request's body: counted, and impatient. Clones read the same stream, so that what the parser
/// left can still be read when it has given up.
#[derive(Clone)]
struct Body(Rc<RefCell<Reading>>);

struct Reading {
    payload: web::Payload,
    seen: usize,
    /// The last bytes that came.
    tail: Vec<u8>,
    deadline: Instant,
    silence: Pin<Box<tokio::time::Sleep>>,
    /// Too much came; what the parser makes of that is beside the point.
    overflown: bool,
    ended: bool,
}

impl Body {
    fn new(payload: web::Payload) -> Self {
        Self(Rc::new(RefCell::new(Reading {
            payload,
            seen: 0,
            tail: Vec::new(),
            deadline: Instant::now() + MAX_TIME,
            silence: Box::pin(tokio::time::sleep(MAX_SILENCE)),
            overflown: false,
            ended: false,
        })))
    }

    fn deadline(&self) -> Instant {
        self.0.borrow().deadline
    }

    fn failure(&self) -> Option<Error> {
        self.0.borrow().overflown.then(|| wire::TOO_LARGE.into())
    }

    /// Whether the body has ended without the delimiter that ends a form.
    fn is_cut_off(&self, boundary: &str) -> bool {
        let reading = self.0.borrow();
        let end = format!("--{boundary}--");
        reading.ended && !reading.tail.windows(end.len()).any(|part| part == end.as_bytes())
    }

    /// Reads on, without keeping anything, for as long as the client sends without a pause. Whether it
    /// ends or not, the refusal goes out then.
    async fn ignore_rest(&self) {
        let chunk = |context: &mut Context<'_>| {
            let mut reading = self.0.borrow_mut();
            if reading.ended || reading.seen > MAX_IGNORED {
                return Poll::Ready(false);
            }
            reading.poll_chunk(context).map(|chunk| matches!(chunk, Some(Ok(_))))
        };
        let ignoring = async { while let Ok(true) = timeout(PAUSE, std::future::poll_fn(chunk)).await {} };
        _ = timeout(MAX_IGNORING, ignoring).await;
    }
}

impl Reading {
    fn poll_chunk(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, PayloadError>>> {
        match Pin::new(&mut self.payload).poll_next(context) {
            Poll::Ready(Some(Ok(chunk))) => {
                self.seen += chunk.len();
                self.tail
                    .extend_from_slice(chunk.get(chunk.len().saturating_sub(TAIL)..).unwrap_or_default());
                self.tail.drain(..self.tail.len().saturating_sub(TAIL));
                self.silence.as_mut().reset(Instant::now() + MAX_SILENCE);
                Poll::Ready(Some(Ok(chunk)))
            }
            Poll::Ready(end) => {
                self.ended = true;
                Poll::Ready(end)
            }
            Poll::Pending => match self.silence.as_mut().poll(context) {
                Poll::Ready(()) => {
                    self.ended = true;
                    Poll::Ready(Some(Err(PayloadError::Incomplete(None))))
                }
                Poll::Pending => Poll::Pending,
            },
        }
    }
}

impl Stream for Body {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut reading = self.0.borrow_mut();
        let chunk = std::task::ready!(reading.poll_chunk(context));
        if reading.seen > MAX_TOTAL + MAX_FRAMING {
            reading.overflown = true;
            return Poll::Ready(Some(Err(PayloadError::Overflow)));
        }
        Poll::Ready(chunk)
    }
}

/// A file as it came.
struct Upload {
    field: String,
    name: String,
    bytes: Bytes,
}

async fn read_parts(
    mut multipart: Multipart,
    limits: FormLimits,
) -> Result<(HashMap<String, String>, Vec<Upload>)> {
    let (mut texts, mut files) = (HashMap::new(), Vec::<Upload>::new());
    let (mut parts, mut total) = (0, 0);
    while let Some(part) = multipart.next().await {
        let mut part = part.map_err(worded)?;
        parts += 1;
        if parts > MAX_PARTS {
            return Err(wire::TOO_MANY_PARTS.into());
        }
        let field = part.name().unwrap_or_default().to_owned();
        let expected = limits.file_fields.contains(&field.as_str());
        let file_name = part.content_disposition().and_then(|disposition| disposition.get_filename());
        let Some(name) = file_name.map(str::to_owned) else {
            let text = read_text(&mut part, &field).await?;
            total += text.len();
            if !expected {
                texts.insert(field, text);
            } else if meant(&text).is_some() {
                return Err(Error::field(&field, "must be a picture file"));
            }
            continue;
        };
        if !expected {
            return Err(wire::UNEXPECTED_FILE
                .saying(format!("Unexpected field: {} does not take a file", quoted(&field)))
                .into());
        }
        let bytes = read_file(&mut part, &name, MAX_TOTAL.saturating_sub(total)).await?;
        // An HTML form without a chosen file sends an empty one.
        if bytes.is_empty() {
            continue;
        }
        total += bytes.len();
        if files.len() == limits.max_files {
            return Err(Error::field(&field, format!("must be at most {} pictures", limits.max_files)));
        }
        files.push(Upload { field, name, bytes });
    }
    Ok((texts, files))
}

async fn read_text(part: &mut Field, name: &str) -> Result<String> {
    let bytes = collect(part, MAX_TEXT).await?.ok_or_else(|| {
        wire::TEXT_TOO_LONG.saying(format!("{} is too long: at most 64 KB are accepted", quoted(name)))
    })?;
    String::from_utf8(bytes.into()).or(Err(Error::field(&shortened(name), "must be text in UTF-8")))
}

async fn read_file(part: &mut Field, name: &str, left: usize) -> Result<Bytes> {
    if let Some(bytes) = collect(part, MAX_FILE.min(left)).await? {
        return Ok(bytes);
    }
    Err(if left < MAX_FILE {
        wire::TOO_LARGE.into()
    } else {
        wire::FILE_TOO_LARGE
            .saying(format!("{} is too large: at most 10 MB are accepted", quoted(name)))
            .into()
    })
}

/// The whole part, or nothing if it is longer than that.
async fn collect(part: &mut Field, limit: usize) -> Result<Option<Bytes>> {
    // Growing would move what there is, and hold it twice meanwhile: more than is reserved for the form.
    // Room that is not used costs nothing but addresses, and is given back in the end.
    let mut bytes: Vec<u8> = Vec::with_capacity(if limit > MAX_TEXT { limit } else { 0 });
    while let Some(chunk) = part.next().await {
        let chunk = chunk.map_err(worded)?;
        if bytes.len() + chunk.len() > limit {
            return Ok(None);
        }
        bytes.extend_from_slice(&chunk);
    }
    bytes.shrink_to_fit();
    Ok(Some(bytes.into()))
}

fn worded(error: MultipartError) -> Error {
    match error {
        MultipartError::Payload(PayloadError::Overflow) => {
            wire::MALFORMED.saying("The headers of a part of the form are too long").into()
        }
        MultipartError::Incomplete | MultipartError::Payload(_) => wire::CUT_OFF.into(),
        MultipartError::ContentTypeIncompatible | MultipartError::ContentTypeMissing => {
            wire::NOT_A_FORM.into()
        }
        other => {
            wire::MALFORMED.saying(format!("The request body is not a valid multipart form: {other}")).into()
        }
    }
}

/// A name that somebody else chose, fit for a sentence.
fn quoted(name: &str) -> String {
    format!("`{}`", shortened(name))
}

fn shortened(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(80).collect()
}

async fn check_all(files: Vec<Upload>) -> Result<Vec<(String, CheckedImage)>> {
    if files.is_empty() {
        return Ok(Vec::new());
    }
    let checking = tokio::task::spawn_blocking(move || {
        files.into_iter().map(|file| Ok((file.field, check(&file.name, file.bytes)?))).collect()
    });
    checking.await.map_err(|lost| Error::Unexpected(lost.into()))?
}

/// Recognises a picture by its content; what the client says of its type is not asked. Only the
/// header is decoded.
fn check(name: &str, bytes: Bytes) -> Result<CheckedImage> {
    let no_picture = || {
        wire::NOT_A_PICTURE
            .saying(format!("{} is not a picture: only JPEG, PNG, WebP and GIF are accepted", quoted(name)))
    };
    let format = image::guess_format(&bytes).or(Err(no_picture()))?;
    let (mime, extension) = match format {
        ImageFormat::Jpeg => ("image/jpeg", "jpg"),
        ImageFormat::Png => ("image/png", "png"),
        ImageFormat::WebP => ("image/webp", "webp"),
        ImageFormat::Gif => ("image/gif", "gif"),
        _ => return Err(no_picture().into()),
    };
    let reader = ImageReader::with_format(std::io::Cursor::new(&bytes), format);
    let (width, height) = reader.into_dimensions().or(Err(no_picture()))?;
    if width == 0 || height == 0 {
        return Err(no_picture().into());
    }
    if width > MAX_SIDE || height > MAX_SIDE || u64::from(width) * u64::from(height) > MAX_PIXELS {
        return Err(wire::TOO_MANY_PIXELS
            .saying(format!(
                "{} has {width} x {height} pixels: at most 10000 a side and 64 million in all are accepted",
                quoted(name)
            ))
            .into());
    }
    Ok(CheckedImage { bytes, mime, extension })
}
