//! A list that is too long to be kept ready: it is put together while it is sent, as it was when it was asked for.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use actix_web::body::{BodySize, MessageBody};
use bytes::Bytes;
use shared::model::Kind;

use super::{
    deflate::{Deflated, Gzip},
    encoding::Tag,
    state::{Snapshot, envelope},
};

/// The body of an answer.
pub(in crate::catalogue) struct Streamed {
    kind: Kind,
    snapshot: Snapshot,
    /// The segment that comes next.
    next: usize,
    gzip: Option<Gzip>,
    has_begun: bool,
    has_ended: bool,
}

impl Streamed {
    pub(super) const fn of(kind: Kind, snapshot: Snapshot) -> Self {
        Self { kind, snapshot, next: 0, gzip: None, has_begun: false, has_ended: false }
    }

    /// The list's name.
    pub(in crate::catalogue) fn tag(&self) -> Tag {
        Tag::from_print(self.snapshot.print)
    }

    /// Compresses it on the way.
    pub(in crate::catalogue) fn compressed(self) -> Self {
        Self { gzip: Some(Gzip::begin().0), ..self }
    }

    fn part(&mut self) -> Option<Bytes> {
        if self.has_ended {
            return None;
        }
        let (begin, end) = envelope(self.kind);
        let mut text = Vec::new();
        let mut part = Vec::new();
        if !std::mem::replace(&mut self.has_begun, true) {
            text.extend_from_slice(begin);
            if self.gzip.is_some() {
                part.extend_from_slice(Gzip::begin().1);
            }
        }
        match self.snapshot.segments.get(self.next) {
            Some(segment) => {
                if self.next > 0 {
                    text.push(b',');
                }
                self.next += 1;
                self.snapshot.write(segment, &mut text);
            }
            None => {
                text.extend_from_slice(end);
                self.has_ended = true;
            }
        }
        let Some(mut gzip) = self.gzip.take() else { return Some(text.into()) };
        part.extend_from_slice(&gzip.add(&Deflated::of(&text)));
        if self.has_ended {
            part.extend_from_slice(&gzip.end());
        } else {
            self.gzip = Some(gzip);
        }
        Some(part.into())
    }
}

impl MessageBody for Streamed {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, Infallible>>> {
        Poll::Ready(self.part().map(Ok))
    }
}
