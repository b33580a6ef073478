//! A list as bytes that are ready to be sent: plain, and compressed once somebody wants that.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, Ordering},
};

use bytes::Bytes;
use shared::model::Kind;
use tokio::sync::OnceCell;

use super::{
    deflate::{Deflated, gzip},
    encoding::Tag,
    segments::Segment,
    state::{Snapshot, envelope},
};

/// How hard brotli tries: it is done once, behind everything else.
const QUALITY: u32 = 5;
/// Its window, as a power of 2.
const WINDOW: u32 = 22;

/// A list, an answer of any kind, whose content does not change any more.
#[derive(Debug)]
pub(in crate::catalogue) struct Ready {
    /// The [`super::state::State::version`] that it is of.
    pub(super) version: u64,
    pub(in crate::catalogue) tag: Tag,
    pub(in crate::catalogue) plain: Bytes,
    parts: Parts,
    gzip: OnceCell<Bytes>,
    brotli: OnceLock<Bytes>,
    is_brotli_coming: AtomicBool,
}

/// How the plain text is divided: each part ends there.
#[derive(Debug)]
enum Parts {
    /// Segments, whose compressed text outlives the list.
    Segments { kind: Kind, ends: Vec<(usize, Arc<Segment>)> },
    /// It is short.
    Whole,
}

impl Ready {
    /// Writes a list of all out.
    pub(super) fn all(kind: Kind, snapshot: &Snapshot) -> Self {
        let (begin, end) = envelope(kind);
        let mut plain = Vec::with_capacity(snapshot.length + begin.len() + end.len());
        plain.extend_from_slice(begin);
        let mut ends = Vec::with_capacity(snapshot.segments.len());
        for segment in &snapshot.segments {
            if !ends.is_empty() {
                plain.push(b',');
            }
            snapshot.write(segment, &mut plain);
            ends.push((plain.len(), Arc::clone(segment)));
        }
        plain.extend_from_slice(end);
        Self::new(snapshot.version, Tag::from_print(snapshot.print), plain, Parts::Segments { kind, ends })
    }

    /// A short text.
    pub(in crate::catalogue) fn whole(version: u64, print: u128, plain: Vec<u8>) -> Self {
        Self::new(version, Tag::from_print(print), plain, Parts::Whole)
    }

    fn new(version: u64, tag: Tag, plain: Vec<u8>, parts: Parts) -> Self {
        Self {
            version,
            tag,
            plain: plain.into(),
            parts,
            gzip: OnceCell::new(),
            brotli: OnceLock::new(),
            is_brotli_coming: AtomicBool::new(false),
        }
    }

    /// What it takes of the memory, compressed texts included.
    pub(super) fn cost(&self) -> usize {
        self.plain.len().saturating_mul(2)
    }

    /// Compressed, if that has been done.
    pub(in crate::catalogue) fn gzip(&self) -> Option<&Bytes> {
        self.gzip.get()
    }

    /// Compressed better, if that has been done.
    pub(in crate::catalogue) fn brotli(&self) -> Option<&Bytes> {
        self.brotli.get()
    }

    /// Compressed; whoever wants it first has it done, and the others wait.
    pub(in crate::catalogue) async fn gzipped(self: &Arc<Self>) -> &Bytes {
        self.gzip
            .get_or_init(|| async {
                let list = Arc::clone(self);
                let work = tokio::task::spawn_blocking(move || list.compress());
                // Lost with its runtime: then nobody waits for it.
                work.await.unwrap_or_default()
            })
            .await
    }

    /// Has it compressed well in the background, unless that is being done.
    pub(super) fn claim_brotli(&self) -> bool {
        self.brotli.get().is_none() && !self.is_brotli_coming.swap(true, Ordering::Relaxed)
    }

    /// Somebody else may have it done later.
    pub(super) fn leave_brotli(&self) {
        self.is_brotli_coming.store(false, Ordering::Relaxed);
    }

    /// Takes long.
    pub(super) fn compress_well(&self) {
        let mut small = Vec::with_capacity(self.plain.len() / 4);
        let size = 64 * 1024;
        let mut writer = brotli::CompressorWriter::new(&mut small, size, QUALITY, WINDOW);
        let written = std::io::Write::write_all(&mut writer, &self.plain);
        drop(writer);
        // Writing to memory cannot fail; and whoever cannot have it gets gzip.
        if written.is_ok() {
            _ = self.brotli.set(small.into());
        }
    }

    /// Only segments that have changed since they were last compressed cost anything.
    fn compress(&self) -> Bytes {
        let Parts::Segments { kind, ends } = &self.parts else {
            return gzip([&Deflated::of(&self.plain)]);
        };
        let (begin, end) = envelope(*kind);
        let comma = Deflated::stored(b",");
        let mut parts = vec![Deflated::stored(begin)];
        let mut from = begin.len();
        for (to, segment) in ends {
            if parts.len() > 1 {
                parts.push(comma.clone());
                from += 1;
            }
            let text = self.plain.get(from..*to).unwrap_or_default();
            parts.push(segment.deflated.get_or_init(|| Deflated::of(text)).clone());
            from = *to;
        }
        parts.push(Deflated::stored(end));
        gzip(&parts)
    }
}
