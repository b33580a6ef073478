//! What a request can end in, other than success: one type, two messages. The caller gets a
//! sentence, the log gets the cause.

use std::{fmt, time::Duration};

use actix_web::{HttpResponse, ResponseError, http::StatusCode, http::header};
use serde::Serialize;
use shared::db::{AsDriverError, duplicate_key, is_unavailable, may_have_happened};
use tracing::{error, warn};

use crate::identity::request_id;

/// The result of a handler.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A refusal: status, stable code, and a sentence for people. Worded as constants in each `wire.rs`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    status: StatusCode,
    code: &'static str,
    message: std::borrow::Cow<'static, str>,
    /// In seconds.
    retry_after: Option<u64>,
}

impl Refusal {
    /// A refusal in fixed words.
    pub const fn new(status: StatusCode, code: &'static str, message: &'static str) -> Self {
        Self { status, code, message: std::borrow::Cow::Borrowed(message), retry_after: None }
    }
    /// 400.
    pub const fn bad_request(code: &'static str, message: &'static str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }
    /// 403.
    pub const fn forbidden(code: &'static str, message: &'static str) -> Self {
        Self::new(StatusCode::FORBIDDEN, code, message)
    }
    /// 404.
    pub const fn not_found(code: &'static str, message: &'static str) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, message)
    }
    /// 409.
    pub const fn conflict(code: &'static str, message: &'static str) -> Self {
        Self::new(StatusCode::CONFLICT, code, message)
    }
    /// The stable code, which tells one refusal from another.
    pub const fn code(&self) -> &'static str {
        self.code
    }
    /// The same refusal with words for this very case.
    pub fn saying(&self, message: impl Into<String>) -> Self {
        Self { message: std::borrow::Cow::Owned(message.into()), ..self.clone() }
    }
    /// The same refusal with the advice to come back after so long.
    pub fn until(&self, wait: Duration) -> Self {
        // Rounded up: who comes back too early is refused again.
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        Self { retry_after: Some(seconds.max(1)), ..self.clone() }
    }
}

/// One field that cannot be used, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// The field's name on the wire.
    pub field: String,
    /// Why, as the end of a sentence that begins with the field's name: `must be a number`.
    pub message: String,
}

/// Everything that is not success.
#[derive(Debug)]
pub enum Error {
    /// The rules say no.
    Refused(Refusal),
    /// 400: fields that cannot be used.
    Invalid(Vec<FieldError>),
    /// 401: no credential, or one that proves nobody.
    Unauthenticated,
    /// 503: something we need is down; nothing was changed, or it is said that this is not known.
    Unavailable(anyhow::Error),
    /// 503: nobody knows yet whether it is done.
    Unknown(anyhow::Error),
    /// 500: a bug or a fault. The cause goes to the log, never to the caller.
    Unexpected(anyhow::Error),
}

impl Error {
    /// One field that cannot be used.
    pub fn field(field: &str, message: impl Into<String>) -> Self {
        Self::Invalid(vec![FieldError { field: field.to_owned(), message: message.into() }])
    }

    /// Whether a write failed on the named unique index.
    pub fn violates(&self, index: &str) -> bool {
        self.driver_error().and_then(duplicate_key).is_some_and(|name| name == index)
    }

    const fn status(&self) -> StatusCode {
        match self {
            Self::Refused(refusal) => refusal.status,
            Self::Invalid(_) => StatusCode::BAD_REQUEST,
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
            Self::Unavailable(_) | Self::Unknown(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Unexpected(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

const NOT_KNOWN: &str = "The service is busy or a part of it is down, and it is not known whether your request was \
    carried out. Please look before you try again.";

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal) => f.write_str(&refusal.message),
            Self::Invalid(fields) => {
                for (i, field) in fields.iter().enumerate() {
                    if i > 0 {
                        f.write_str("; ")?;
                    }
                    write!(f, "{} {}", field.field, field.message)?;
                }
                Ok(())
            }
            Self::Unauthenticated => f.write_str("Please login first"),
            Self::Unavailable(cause) if cause.downcast_ref().is_some_and(may_have_happened) => {
                f.write_str(NOT_KNOWN)
            }
            Self::Unknown(_) => f.write_str(NOT_KNOWN),
            Self::Unavailable(_) => f.write_str(
                "The service is busy or a part of it is down. Nothing was changed; please try again.",
            ),
            Self::Unexpected(_) => f.write_str(
                "Something went wrong on our side. Please try again, and name the request id if it stays.",
            ),
        }
    }
}

/// The failure envelope that clients know, with what integrators need besides.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Envelope<'a> {
    success: bool,
    message: String,
    code: &'static str,
    request_id: String,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [FieldError],
}

impl ResponseError for Error {
    fn status_code(&self) -> StatusCode {
        self.status()
    }

    fn error_response(&self) -> HttpResponse {
        let (code, errors): (_, &[FieldError]) = match self {
            Self::Refused(refusal) => (refusal.code, &[]),
            Self::Invalid(fields) => ("invalid_input", fields),
            Self::Unauthenticated => ("unauthenticated", &[]),
            Self::Unavailable(cause) | Self::Unknown(cause) => {
                warn!(cause = format!("{cause:#}"), "unavailable");
                ("unavailable", &[])
            }
            Self::Unexpected(cause) => {
                error!(cause = format!("{cause:#}"), "unexpected failure");
                ("unexpected", &[])
            }
        };
        let mut response = HttpResponse::build(self.status());
        let retry_after = match self {
            Self::Unavailable(_) | Self::Unknown(_) => Some(2),
            Self::Refused(refusal) => refusal.retry_after,
            _ => None,
        };
        if let Some(seconds) = retry_after {
            response.insert_header((header::RETRY_AFTER, seconds));
        }
        response.json(Envelope {
            success: false,
            message: self.to_string(),
            code,
            request_id: request_id(),
            errors,
        })
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<mongodb::error::Error> for Error {
    fn from(error: mongodb::error::Error) -> Self {
        if is_unavailable(&error) { Self::Unavailable(error.into()) } else { Self::Unexpected(error.into()) }
    }
}

impl From<anyhow::Error> for Error {
    fn from(error: anyhow::Error) -> Self {
        match error.downcast::<mongodb::error::Error>() {
            Ok(error) => error.into(),
            Err(error) => Self::Unexpected(error),
        }
    }
}

/// Lets [`shared::db::Db::transaction`] see the conflict inside an error of ours.
impl AsDriverError for Error {
    fn driver_error(&self) -> Option<&mongodb::error::Error> {
        match self {
            Self::Unavailable(cause) | Self::Unknown(cause) | Self::Unexpected(cause) => cause.downcast_ref(),
            _ => None,
        }
    }
}

/// Words a violated unique index.
pub trait OnDuplicate<T> {
    /// If the write failed on the named unique index, the refusal; else the error as it is.
    fn on_duplicate(self, index: &str, refusal: Refusal) -> Result<T>;
}

impl<T> OnDuplicate<T> for Result<T> {
    fn on_duplicate(self, index: &str, refusal: Refusal) -> Result<T> {
        self.map_err(|error| if error.violates(index) { refusal.into() } else { error })
    }
}
