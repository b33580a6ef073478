//! The viewer's files lie in a zip archive, each compressed as gzip compresses; so they are sent as they are, between
//! another head and another tail.

use utoipa_swagger_ui_vendored::SWAGGER_UI_VENDORED as ARCHIVE;

/// Of a file's entry in the directory.
const ENTRY: u32 = 0x0201_4b50;
/// Of the file itself.
const FILE: u32 = 0x0403_4b50;
/// Of the end of the directory.
const END: u32 = 0x0605_4b50;
/// Compressed as gzip compresses.
const DEFLATED: u16 = 8;
/// What gzip files begin with: no name, no time, of no system in particular.
const HEAD: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

/// A file of the viewer as gzip: one that a browser loads, or one at the top.
pub(super) fn zipped(name: &str) -> Option<Vec<u8>> {
    let wanted = |path: &str| {
        let within = path.split_once('/').map_or("", |(_, within)| within);
        within == name || within.strip_prefix("dist/") == Some(name)
    };
    // The end is the last thing in it, but for a comment.
    let end = (0..ARCHIVE.len()).rev().find(|at| number(*at) == Some(END))?;
    let mut at = place(end + 16)?;
    while number(at)? == ENTRY {
        let (method, crc, packed, size) =
            (half(at + 10)?, number(at + 16)?, place(at + 20)?, number(at + 24)?);
        let (long, extra, comment) = (half(at + 28)?, half(at + 30)?, half(at + 32)?);
        let path = std::str::from_utf8(ARCHIVE.get(at + 46..at + 46 + usize::from(long))?).ok()?;
        if wanted(path) && method == DEFLATED {
            let file = place(at + 42)?;
            if number(file)? != FILE {
                return None;
            }
            let from = file + 30 + usize::from(half(file + 26)?) + usize::from(half(file + 28)?);
            let packed = ARCHIVE.get(from..from + packed)?;
            return Some([&HEAD, packed, &crc.to_le_bytes(), &size.to_le_bytes()].concat());
        }
        at += 46 + usize::from(long) + usize::from(extra) + usize::from(comment);
    }
    None
}

fn half(at: usize) -> Option<u16> {
    ARCHIVE.get(at..at + 2)?.try_into().ok().map(u16::from_le_bytes)
}

fn number(at: usize) -> Option<u32> {
    ARCHIVE.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes)
}

/// A number that is a place or a length.
fn place(at: usize) -> Option<usize> {
    number(at)?.try_into().ok()
}
