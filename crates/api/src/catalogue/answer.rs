//! Answers that a browser may keep: named by their content, not sent again to somebody who has them, and
//! compressed for those who can read that.

use std::sync::Arc;

use actix_web::{
    HttpResponse, HttpResponseBuilder,
    http::header::{CACHE_CONTROL, CONTENT_ENCODING, ETAG, HeaderMap, HeaderName, HeaderValue, VARY},
};
use bytes::Bytes;
use serde::Serialize;

use super::memory::{
    Memory, Shown,
    encoding::{Accepted, Encoding, Tag},
    ready::Ready,
    stream::Streamed,
};
use crate::error::{Error, Result};

/// The browser may keep it but asks each time; nobody in between may, what one sees can depend on who asks.
const KEEPING: (HeaderName, HeaderValue) = (CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));

/// What is read from the database, in the form in which the memory has it, and known by the same number.
pub(super) fn written(content: &impl Serialize, print: u128) -> Result<Ready> {
    let text = serde_json::to_vec(content).map_err(|error| Error::Unexpected(error.into()))?;
    Ok(Ready::whole(0, print, text))
}

/// One listing. Too short to be worth compressing.
pub(super) fn short(headers: &HeaderMap, answer: &Ready) -> HttpResponse {
    match answer.tag.known_to(headers) {
        Some(known) => not_modified(answer.tag, known).finish(),
        None => ok(answer.tag, Encoding::Plain).body(answer.plain.clone()),
    }
}

/// A list, if the form that is wanted is there already.
pub(super) fn at_once(headers: &HeaderMap, list: &Arc<Ready>, memory: &Arc<Memory>) -> Option<HttpResponse> {
    if let Some(known) = list.tag.known_to(headers) {
        return Some(varying(&mut not_modified(list.tag, known)).finish());
    }
    let accepted = Accepted::by(headers);
    if accepted.brotli {
        if let Some(text) = list.brotli() {
            return Some(compressed(list.tag, Encoding::Brotli, text));
        }
        memory.compress_later(list);
    }
    if accepted.gzip {
        return Some(compressed(list.tag, Encoding::Gzip, list.gzip()?));
    }
    Some(varying(&mut ok(list.tag, Encoding::Plain)).body(list.plain.clone()))
}

/// A list.
pub(super) async fn list(headers: &HeaderMap, list: &Arc<Ready>, memory: &Arc<Memory>) -> HttpResponse {
    match at_once(headers, list, memory) {
        Some(answer) => answer,
        None => compressed(list.tag, Encoding::Gzip, list.gzipped().await),
    }
}

/// A list from the database. It is not kept, so nobody compresses it well.
pub(super) async fn passing(headers: &HeaderMap, list: Ready) -> HttpResponse {
    if let Some(known) = list.tag.known_to(headers) {
        return varying(&mut not_modified(list.tag, known)).finish();
    }
    if !Accepted::by(headers).gzip {
        return varying(&mut ok(list.tag, Encoding::Plain)).body(list.plain);
    }
    let list = Arc::new(list);
    compressed(list.tag, Encoding::Gzip, list.gzipped().await)
}

/// A list that is put together on its way.
pub(super) fn streamed(headers: &HeaderMap, list: Streamed) -> HttpResponse {
    let tag = list.tag();
    if let Some(known) = tag.known_to(headers) {
        return varying(&mut not_modified(tag, known)).finish();
    }
    if Accepted::by(headers).gzip {
        encoded(tag, Encoding::Gzip).body(list.compressed())
    } else {
        varying(&mut ok(tag, Encoding::Plain)).body(list)
    }
}

/// Whichever of the two it is.
pub(super) async fn shown(headers: &HeaderMap, shown: Shown, memory: &Arc<Memory>) -> HttpResponse {
    match shown {
        Shown::Ready(ready) => list(headers, &ready, memory).await,
        Shown::Streamed(long) => streamed(headers, long),
    }
}

/// A page of what was looked for: it may be another at any moment, so nobody need remember it.
pub(super) async fn changing(headers: &HeaderMap, text: Vec<u8>) -> HttpResponse {
    let mut answer = HttpResponse::Ok();
    answer.insert_header(KEEPING).content_type(HeaderValue::from_static("application/json"));
    varying(&mut answer);
    if !Accepted::by(headers).gzip {
        return answer.body(text);
    }
    let page = Arc::new(Ready::whole(0, 0, text));
    answer.insert_header((CONTENT_ENCODING, HeaderValue::from_static(Encoding::Gzip.name())));
    answer.body(page.gzipped().await.clone())
}

fn not_modified(tag: Tag, known: Encoding) -> HttpResponseBuilder {
    let mut answer = HttpResponse::NotModified();
    answer.insert_header(KEEPING).insert_header((ETAG, tag.of(known)));
    answer
}

fn ok(tag: Tag, encoding: Encoding) -> HttpResponseBuilder {
    let mut answer = HttpResponse::Ok();
    answer
        .insert_header(KEEPING)
        .insert_header((ETAG, tag.of(encoding)))
        .content_type(HeaderValue::from_static("application/json"));
    answer
}

fn varying(answer: &mut HttpResponseBuilder) -> &mut HttpResponseBuilder {
    answer.insert_header((VARY, HeaderValue::from_static("accept-encoding")))
}

fn encoded(tag: Tag, encoding: Encoding) -> HttpResponseBuilder {
    let mut answer = ok(tag, encoding);
    varying(&mut answer).insert_header((CONTENT_ENCODING, HeaderValue::from_static(encoding.name())));
    answer
}

fn compressed(tag: Tag, encoding: Encoding, text: &Bytes) -> HttpResponse {
    encoded(tag, encoding).body(text.clone())
}
