//! Compressing a long text in parts, each on its own, and putting the parts together to one gzip file: who
//! changes a part compresses that part alone. Several gzip files behind one another would be simpler, and not all
//! browsers read more than the first. Pure.

use bytes::Bytes;
use crc32fast::Hasher;
use flate2::{Compress, Compression, FlushCompress, Status};

/// A compressed part, which may be followed by others.
#[derive(Clone, Debug)]
pub(super) struct Deflated {
    blocks: Bytes,
    sum: Hasher,
    length: usize,
}

/// gzip's head: deflate, no name, no time, no system.
const HEAD: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];

/// An empty last block.
const END: [u8; 5] = [1, 0, 0, 0xff, 0xff];

/// How hard to try: twice the time would win a percent.
const LEVEL: u32 = 6;

impl Deflated {
    /// Compresses a part.
    pub(super) fn of(text: &[u8]) -> Self {
        let mut deflate = Compress::new(Compression::new(LEVEL), false);
        let mut blocks = Vec::with_capacity(text.len() / 3 + 64);
        let mut rest = text;
        loop {
            let before = deflate.total_in();
            // A full flush ends at a byte, and what follows refers to nothing before it.
            let status = deflate.compress_vec(rest, &mut blocks, FlushCompress::Full);
            let taken = usize::try_from(deflate.total_in() - before).unwrap_or(usize::MAX);
            rest = rest.get(taken..).unwrap_or_default();
            let has_room = blocks.len() < blocks.capacity();
            if (rest.is_empty() && has_room) || !matches!(status, Ok(Status::Ok | Status::BufError)) {
                break;
            }
            blocks.reserve(blocks.capacity().max(64));
        }
        let mut sum = Hasher::new();
        sum.update(text);
        Self { blocks: blocks.into(), sum, length: text.len() }
    }

    /// A part so short that it is left as it is.
    pub(super) fn stored(text: &'static [u8]) -> Self {
        let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
        let mut blocks = vec![0];
        blocks.extend_from_slice(&length.to_le_bytes());
        blocks.extend_from_slice(&(!length).to_le_bytes());
        blocks.extend_from_slice(text);
        let mut sum = Hasher::new();
        sum.update(text);
        Self { blocks: blocks.into(), sum, length: text.len() }
    }
}

/// Parts that come one after another, and what ends them.
pub(super) struct Gzip {
    sum: Hasher,
    length: usize,
}

impl Gzip {
    /// What comes first of all.
    pub(super) fn begin() -> (Self, &'static [u8]) {
        (Self { sum: Hasher::new(), length: 0 }, &HEAD)
    }

    /// The next part.
    pub(super) fn add(&mut self, part: &Deflated) -> Bytes {
        self.sum.combine(&part.sum);
        self.length = self.length.wrapping_add(part.length);
        part.blocks.clone()
    }

    /// What comes last.
    pub(super) fn end(self) -> Vec<u8> {
        let mut end = END.to_vec();
        end.extend_from_slice(&self.sum.finalize().to_le_bytes());
        // The length is that modulo 2³².
        end.extend(self.length.to_le_bytes().into_iter().take(4));
        end
    }
}

/// Puts parts together.
pub(super) fn gzip<'a>(parts: impl IntoIterator<Item = &'a Deflated>) -> Bytes {
    let (mut gzip, head) = Gzip::begin();
    let mut file = head.to_vec();
    for part in parts {
        file.extend_from_slice(&gzip.add(part));
    }
    file.extend_from_slice(&gzip.end());
    file.into()
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn unpacked(file: &[u8]) -> Vec<u8> {
        let mut text = Vec::new();
        // Of one file only: whatever came behind it would be left.
        flate2::read::GzDecoder::new(file).read_to_end(&mut text).unwrap();
        text
    }

    #[test]
    fn parts_make_one_file_that_holds_them_all() {
        let long: Vec<u8> =
            (0..200_000u32).flat_map(|n| (n.wrapping_mul(2_654_435_761) >> 20).to_le_bytes()).collect();
        let texts: [&[u8]; 5] = [b"", b"a", &b"many words ".repeat(9_000), &long, b"{}"];
        let mut parts: Vec<Deflated> = texts.iter().map(|text| Deflated::of(text)).collect();
        parts.insert(2, Deflated::stored(b","));
        let mut wanted = texts.concat();
        wanted.insert(1, b',');
        let file = gzip(&parts);
        assert!(unpacked(&file) == wanted);
        let words = Deflated::of(texts[2]);
        assert!(words.blocks.len() < texts[2].len() / 20);
        // And in any other order.
        parts.reverse();
        assert_eq!(unpacked(&gzip(&parts)).len(), wanted.len());
        assert_eq!(unpacked(&gzip([])), b"");
    }
}
