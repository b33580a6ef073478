//! Reading requests: JSON bodies, path ids, and the loosely typed values that HTML forms produce.

use std::{collections::HashMap, future::Future, pin::Pin, time::Duration};

use actix_web::{
    FromRequest, HttpRequest,
    dev::Payload,
    http::{StatusCode, header},
    web,
};
use futures_util::StreamExt as _;
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use shared::id::Id;
use tokio::time::timeout;

use crate::{
    error::{Error, Refusal, Result},
    limits::ClientAddress,
    named::Named,
    spool::Spool,
};

/// The largest JSON body: carts carry whole products with their reviews.
pub const JSON_LIMIT: u64 = 2 * 1024 * 1024;

/// Longer without a byte of a body, and the client is taken for gone.
pub(crate) const MAX_SILENCE: Duration = Duration::from_secs(30);
/// Longer for the whole body, however busy the line.
pub(crate) const MAX_TIME: Duration = Duration::from_secs(300);

/// How many a page of a list has where nobody says.
const DEFAULT_LIMIT: i64 = 50;
/// And at most.
const MAX_LIMIT: i64 = 200;

const TOO_LARGE: Refusal = Refusal::new(
    StatusCode::PAYLOAD_TOO_LARGE,
    "body_too_large",
    "The request body is too large: at most 2 MB of JSON are accepted",
);
const NOT_JSON: Refusal = Refusal::new(
    StatusCode::UNSUPPORTED_MEDIA_TYPE,
    "unsupported_media_type",
    "This request needs a JSON body with the header Content-Type: application/json",
);
const BAD_JSON: Refusal = Refusal::bad_request("malformed_json", "The request body is not valid JSON");
const CUT_OFF: Refusal =
    Refusal::bad_request("incomplete_body", "The request body ended before it was complete");
pub(crate) const BAD_QUERY: Refusal =
    Refusal::bad_request("malformed_query", "What follows the question mark in the address cannot be read");
const BAD_ID: Refusal = Refusal::bad_request("invalid_id", "Resource not found. Invalid _id");

/// A JSON body. Unknown fields are ignored; an absent body counts as `{}`.
pub struct Json<T>(pub T);

impl<T> std::ops::Deref for Json<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: DeserializeOwned + 'static> FromRequest for Json<T> {
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (is_json, is_too_large) = (is_json(request), announces_too_much(request));
        let spool = Spool::begin(ClientAddress::behind(request));
        let payload = payload.take();
        Box::pin(async move {
            if is_too_large {
                return Err(TOO_LARGE.into());
            }
            let body = timeout(MAX_TIME, collect(payload, spool?, MAX_SILENCE)).await.or(Err(CUT_OFF))??;
            match body.as_ref() {
                b"" => parse_json(b"{}").map(Self),
                _ if !is_json => Err(NOT_JSON.into()),
                json => parse_json(json).map(Self),
            }
        })
    }
}

/// A JSON body as it came, to the byte: what is signed must not be read and written again.
pub struct Raw(pub web::Bytes);

impl FromRequest for Raw {
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (is_json, is_too_large) = (is_json(request), announces_too_much(request));
        let spool = Spool::begin(ClientAddress::behind(request));
        let payload = payload.take();
        Box::pin(async move {
            if !is_json {
                return Err(NOT_JSON.into());
            }
            if is_too_large {
                return Err(TOO_LARGE.into());
            }
            timeout(MAX_TIME, collect(payload, spool?, MAX_SILENCE)).await.or(Err(CUT_OFF))?.map(Self)
        })
    }
}

/// Whether the request says that its body is too large: then nobody waits for it.
fn announces_too_much(request: &HttpRequest) -> bool {
    let length = request.headers().get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    length.is_some_and(|length| length > JSON_LIMIT)
}

/// The whole body, from a client that keeps sending.
async fn collect(mut payload: Payload, mut spool: Spool, silence: Duration) -> Result<web::Bytes> {
    while let Some(chunk) = timeout(silence, payload.next()).await.or(Err(CUT_OFF))? {
        let chunk = chunk.or(Err(CUT_OFF))?;
        if spool.len().saturating_add(u64::try_from(chunk.len()).unwrap_or(u64::MAX)) > JSON_LIMIT {
            return Err(TOO_LARGE.into());
        }
        spool.push(&chunk)?;
    }
    spool.end()?.read().await
}

/// Whether the request says that its body is JSON.
pub fn is_json(request: &HttpRequest) -> bool {
    request
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .is_some_and(|essence| {
            let essence = essence.trim().to_ascii_lowercase();
            essence == "application/json" || essence.ends_with("+json")
        })
}

/// Reads JSON text; what does not fit is worded for the caller.
pub fn parse_json<T: DeserializeOwned>(body: &[u8]) -> Result<T> {
    let mut text = serde_json::Deserializer::from_slice(body);
    let read = T::deserialize(Named(&mut text)).and_then(|read| text.end().map(|()| read));
    read.map_err(|error| {
        if error.is_data() {
            BAD_JSON.saying(format!("The request body does not fit: {error}")).into()
        } else {
            BAD_JSON.saying(format!("The request body is not valid JSON: {error}")).into()
        }
    })
}

/// The `{id}` (or only) segment of the path. Malformed ids are 400, as they always were.
pub struct PathId<T>(pub Id<T>);

impl<T> std::ops::Deref for PathId<T> {
    type Target = Id<T>;
    fn deref(&self) -> &Id<T> {
        &self.0
    }
}

impl<T> FromRequest for PathId<T> {
    type Error = Error;
    type Future = std::future::Ready<Result<Self>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let id = request.match_info().get("id").and_then(|text| text.parse().ok());
        std::future::ready(id.map(Self).ok_or(BAD_ID.into()))
    }
}

/// The same, where a malformed id (the client sends `undefined`) means that there is nothing.
pub struct AnyPathId<T>(pub Option<Id<T>>);

impl<T> FromRequest for AnyPathId<T> {
    type Error = Error;
    type Future = std::future::Ready<Result<Self>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let id = request.match_info().get("id").and_then(|text| text.parse().ok());
        std::future::ready(Ok(Self(id)))
    }
}

/// The query string's parameters. Of one that is there twice the last counts, an empty one is absent.
pub struct Query(HashMap<String, String>);

impl Query {
    /// A parameter as it is.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
    }

    /// `limit`: how many a page of a list has at most.
    pub fn limit(&self) -> Result<i64> {
        let Some(text) = self.text("limit") else { return Ok(DEFAULT_LIMIT) };
        let limit = text.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
        limit.ok_or_else(|| Error::field("limit", format!("must be a whole number from 1 to {MAX_LIMIT}")))
    }

    /// `cursor`: where a page of a list begins, if it is not the first one.
    pub fn cursor<C>(&self, parse: impl FnOnce(&str) -> Option<C>) -> Result<Option<C>> {
        let Some(text) = self.text("cursor") else { return Ok(None) };
        parse(text)
            .map(Some)
            .ok_or_else(|| Error::field("cursor", "must be the nextCursor of the page before"))
    }
}

impl FromRequest for Query {
    type Error = Error;
    type Future = std::future::Ready<Result<Self>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let parsed = web::Query::<HashMap<String, String>>::from_query(request.query_string());
        std::future::ready(parsed.map(|all| Self(all.into_inner())).or(Err(BAD_QUERY.into())))
    }
}

/// `deserialize_with`: a value that an HTML input or an unset React state may produce. Text and
/// numbers come out as text; `null`, `""`, `"undefined"`, `"null"` and `"NaN"` as nothing; anything
/// else is an error.
pub fn loose<'de, D: Deserializer<'de>>(d: D) -> std::result::Result<Option<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Loose {
        Text(String),
        Number(serde_json::Number),
        Nothing(()),
    }
    match Loose::deserialize(d) {
        Ok(Loose::Text(text)) => Ok(meant(&text)),
        Ok(Loose::Number(number)) => Ok(Some(number.to_string())),
        Ok(Loose::Nothing(())) => Ok(None),
        Err(_) => Err(serde::de::Error::custom("a text or a number was expected")),
    }
}

/// The text a form field means: trimmed, and nothing where JavaScript had nothing.
pub fn meant(text: &str) -> Option<String> {
    let text = text.trim();
    (!matches!(text, "" | "undefined" | "null" | "NaN")).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    #[tokio::test]
    async fn a_body_that_stops_coming_is_given_up() {
        let begun = stream::iter([Ok(web::Bytes::from_static(b"{"))]);
        let payload = Payload::Stream { payload: begun.chain(stream::pending()).boxed_local() };
        let given_up = timeout(
            Duration::from_secs(20),
            collect(payload, Spool::begin(None).unwrap(), Duration::from_millis(10)),
        )
        .await;
        let refused = given_up.expect("the body is waited for").unwrap_err();
        assert!(matches!(refused, Error::Refused(refusal) if refusal.code() == CUT_OFF.code()));
    }
}
