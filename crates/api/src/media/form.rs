//! Multipart forms: files first, then text fields, read in one pass into a [`Spool`].
//!
//! Nothing is written anywhere before the whole form has been read and found good, so a body that is
//! cut off, as the client's page reload may do, has no effect.

use std::{
    cell::RefCell,
    collections::HashMap,
    io::{self, BufReader, Read as _},
    ops::Range,
    pin::Pin,
    rc::Rc,
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
    sync::Semaphore,
    task::spawn_blocking,
    time::{Instant, timeout, timeout_at},
};

use super::{CheckedImage, wire};
use crate::{
    error::{Error, Result},
    extract::{MAX_SILENCE, MAX_TIME, meant},
    limits::ClientAddress,
    spool::{Spool, Spooled},
};

/// The largest picture.
const MAX_FILE: u64 = 10 * 1024 * 1024;
/// The largest form.
const MAX_TOTAL: u64 = 30 * 1024 * 1024;
/// What delimiters and part headers may add to [`MAX_TOTAL`].
const MAX_FRAMING: u64 = 256 * 1024;
/// The longest text field.
const MAX_TEXT: u64 = 64 * 1024;
/// The most parts, files included.
const MAX_PARTS: usize = 60;
/// Neither side of a picture may be longer, in pixels.
const MAX_SIDE: u32 = 10_000;
/// Nor may a picture have more pixels: whoever decodes it needs four bytes for each.
const MAX_PIXELS: u64 = 64_000_000;
/// So much of a body that is refused anyway is still read: most clients read no answer before they
/// have sent everything.
const MAX_IGNORED: u64 = 64 * 1024 * 1024;
/// And for so long, where the rest is not longer than that: people on slow lines.
const MAX_IGNORING: Duration = Duration::from_secs(10);
/// Where it is, or nobody said how long it is.
const MAX_IGNORING_FLOODS: Duration = Duration::from_secs(1);
/// Whoever sends nothing for so long, waits for the answer.
const PAUSE: Duration = Duration::from_secs(1);

/// So many bytes of the end are remembered: the last delimiter and whatever follows it.
const TAIL: usize = 1024;

/// So many forms have their pictures looked at at a time: some decoders want a whole picture in memory.
static CHECKING: Semaphore = Semaphore::const_new(2);

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
}

impl Form {
    /// Reads the whole body.
    pub async fn read(request: &HttpRequest, payload: web::Payload, limits: FormLimits) -> Result<Self> {
        let announced = announced(request);
        let body = Body::new(payload, announced);
        let Some(boundary) = boundary(request) else {
            body.ignore_rest().await;
            return Err(if is_form(request) {
                wire::MALFORMED.saying("The header Content-Type names no boundary").into()
            } else {
                wire::NOT_A_FORM.into()
            });
        };
        if announced.is_some_and(|length| length > MAX_TOTAL + MAX_FRAMING) {
            body.ignore_rest().await;
            return Err(wire::TOO_LARGE.into());
        }
        let spool = Spool::begin(ClientAddress::behind(request))?;
        let multipart = Multipart::new(request.headers(), body.clone());
        match timeout_at(body.deadline(), read_parts(multipart, spool, limits)).await {
            // A body may also end too early between two parts, where the parser does not mind.
            Ok(Ok(_)) if body.is_cut_off(&boundary) => Err(wire::CUT_OFF.into()),
            Ok(Ok(parts)) => parts.check().await,
            Ok(Err(error)) => {
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

fn announced(request: &HttpRequest) -> Option<u64> {
    request.headers().get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// The request's body: counted, and impatient. Clones read the same stream, so that what the parser
/// left can still be read when it has given up.
#[derive(Clone)]
struct Body(Rc<RefCell<Reading>>);

struct Reading {
    payload: web::Payload,
    announced: Option<u64>,
    seen: u64,
    /// The last bytes that came.
    tail: Vec<u8>,
    deadline: Instant,
    silence: Pin<Box<tokio::time::Sleep>>,
    /// Too much came; what the parser makes of that is beside the point.
    overflown: bool,
    ended: bool,
}

impl Body {
    fn new(payload: web::Payload, announced: Option<u64>) -> Self {
        Self(Rc::new(RefCell::new(Reading {
            payload,
            announced,
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
        let has_an_end = self.0.borrow().announced.is_some_and(|length| length <= MAX_IGNORED);
        _ = timeout(if has_an_end { MAX_IGNORING } else { MAX_IGNORING_FLOODS }, ignoring).await;
    }
}

impl Reading {
    fn poll_chunk(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, PayloadError>>> {
        match Pin::new(&mut self.payload).poll_next(context) {
            Poll::Ready(Some(Ok(chunk))) => {
                self.seen = self.seen.saturating_add(size(&chunk));
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

/// A part as it came, somewhere in the spool.
struct Part {
    field: String,
    /// What a file was called where it came from.
    file_name: Option<String>,
    range: Range<u64>,
}

/// All parts of a form that came to its end.
struct Parts {
    parts: Vec<Part>,
    content: Spooled,
    limits: FormLimits,
}

async fn read_parts(mut multipart: Multipart, mut spool: Spool, limits: FormLimits) -> Result<Parts> {
    let mut parts = Vec::new();
    let (mut seen, mut files) = (0, 0);
    while let Some(part) = multipart.next().await {
        let mut part = part.map_err(worded)?;
        seen += 1;
        if seen > MAX_PARTS {
            return Err(wire::TOO_MANY_PARTS.into());
        }
        let field = part.name().unwrap_or_default().to_owned();
        let file_name = part.content_disposition().and_then(|disposition| disposition.get_filename());
        let file_name = file_name.map(str::to_owned);
        let start = spool.len();
        match &file_name {
            None => read_text(&mut part, &field, &mut spool).await?,
            Some(_) if !limits.file_fields.contains(&field.as_str()) => {
                return Err(wire::UNEXPECTED_FILE
                    .saying(format!("Unexpected field: {} does not take a file", quoted(&field)))
                    .into());
            }
            Some(name) => {
                read_file(&mut part, name, &mut spool).await?;
                // An HTML form without a chosen file sends an empty one.
                if spool.len() == start {
                    continue;
                }
                if files == limits.max_files {
                    return Err(Error::field(
                        &field,
                        format!("must be at most {} pictures", limits.max_files),
                    ));
                }
                files += 1;
            }
        }
        parts.push(Part { field, file_name, range: start..spool.len() });
    }
    Ok(Parts { parts, content: spool.end()?, limits })
}

async fn read_text(part: &mut Field, name: &str, spool: &mut Spool) -> Result<()> {
    if collect(part, MAX_TEXT, spool).await? {
        return Ok(());
    }
    Err(wire::TEXT_TOO_LONG
        .saying(format!("{} is too long: at most 64 KB are accepted", quoted(name)))
        .into())
}

async fn read_file(part: &mut Field, name: &str, spool: &mut Spool) -> Result<()> {
    let left = MAX_TOTAL.saturating_sub(spool.len());
    if collect(part, MAX_FILE.min(left), spool).await? {
        return Ok(());
    }
    Err(if left < MAX_FILE {
        wire::TOO_LARGE.into()
    } else {
        wire::FILE_TOO_LARGE
            .saying(format!("{} is too large: at most 10 MB are accepted", quoted(name)))
            .into()
    })
}

/// The whole part, unless it is longer than that.
async fn collect(part: &mut Field, limit: u64, spool: &mut Spool) -> Result<bool> {
    let end = spool.len().saturating_add(limit);
    while let Some(chunk) = part.next().await {
        let chunk = chunk.map_err(worded)?;
        if spool.len().saturating_add(size(&chunk)) > end {
            return Ok(false);
        }
        spool.push(&chunk)?;
    }
    Ok(true)
}

fn size(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
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

impl Parts {
    /// What came, as what it is: texts in UTF-8, and pictures.
    async fn check(self) -> Result<Form> {
        let _turn = CHECKING.acquire().await.map_err(|closed| Error::Unexpected(closed.into()))?;
        let checking = spawn_blocking(move || {
            let mut form = Form::default();
            for part in self.parts {
                let content = self.content.part(part.range);
                if let Some(name) = part.file_name {
                    form.images.push((part.field, check(&name, content)?));
                    continue;
                }
                let text = text(&part.field, &content)?;
                if !self.limits.file_fields.contains(&part.field.as_str()) {
                    form.texts.insert(part.field, text);
                } else if meant(&text).is_some() {
                    return Err(Error::field(&part.field, "must be a picture file"));
                }
            }
            Ok(form)
        });
        checking.await.map_err(|lost| Error::Unexpected(lost.into()))?
    }
}

fn text(name: &str, content: &Spooled) -> Result<String> {
    let mut bytes = Vec::new();
    content.reader().read_to_end(&mut bytes).map_err(unreadable)?;
    String::from_utf8(bytes).or(Err(Error::field(&shortened(name), "must be text in UTF-8")))
}

/// What is ours cannot be read again.
fn unreadable(cause: io::Error) -> Error {
    Error::Unexpected(anyhow::Error::new(cause).context("reading back a form"))
}

/// Recognises a picture by its content; what the client says of its type is not asked. Only the
/// header is decoded.
fn check(name: &str, content: Spooled) -> Result<CheckedImage> {
    let no_picture = || {
        wire::NOT_A_PICTURE
            .saying(format!("{} is not a picture: only JPEG, PNG, WebP and GIF are accepted", quoted(name)))
    };
    let reader = ImageReader::new(BufReader::new(content.reader()));
    let reader = reader.with_guessed_format().map_err(unreadable)?;
    let (mime, extension) = match reader.format() {
        Some(ImageFormat::Jpeg) => ("image/jpeg", "jpg"),
        Some(ImageFormat::Png) => ("image/png", "png"),
        Some(ImageFormat::WebP) => ("image/webp", "webp"),
        Some(ImageFormat::Gif) => ("image/gif", "gif"),
        _ => return Err(no_picture().into()),
    };
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
    Ok(CheckedImage { content, mime, extension })
}
