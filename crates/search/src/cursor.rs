//! Where a page ended, as text.

use crate::entry::Id;
use crate::query::{Query, Sort};

/// The form of cursors and what they mean; to be raised when either changes.
const VERSION: u8 = 1;
const BYTES: usize = 25;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cursor {
    /// Of the last entry.
    pub(crate) key: i64,
    pub(crate) id: Id,
    /// How well it matched the words.
    pub(crate) level: u8,
    /// In which words slips of the finger are forgiven.
    pub(crate) fuzzy: u16,
}

impl Cursor {
    pub(crate) fn write(self, query: &Query, words: &[String], sort: Sort) -> String {
        let mut bytes = Vec::with_capacity(BYTES + 8);
        bytes.extend([VERSION, number(sort), self.level]);
        bytes.extend(self.fuzzy.to_be_bytes());
        bytes.extend(self.key.to_be_bytes());
        bytes.extend(self.id);
        bytes.extend(check(&bytes, query, words).to_be_bytes());
        bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(digit).collect()
    }

    /// What was written for the same query, and nothing else.
    pub(crate) fn read(text: &str, query: &Query, words: &[String], sort: Sort) -> Option<Self> {
        if text.len() != (BYTES + 8) * 2 {
            return None;
        }
        let mut bytes = [0u8; BYTES + 8];
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            for digit in pair {
                let digit = char::from(*digit);
                let value = digit.to_digit(16).filter(|_| !digit.is_ascii_uppercase())?;
                *byte = *byte << 4 | u8::try_from(value).ok()?;
            }
        }
        let (content, checked) = bytes.split_first_chunk::<BYTES>()?;
        if *checked != check(content, query, words).to_be_bytes() {
            return None;
        }
        let ([version, sorted, level], rest) = content.split_first_chunk()?;
        let (fuzzy, rest) = rest.split_first_chunk()?;
        let (key, id) = rest.split_first_chunk()?;
        (*version == VERSION && *sorted == number(sort)).then_some(Self {
            key: i64::from_be_bytes(*key),
            id: id.try_into().ok()?,
            level: *level,
            fuzzy: u16::from_be_bytes(*fuzzy),
        })
    }
}

fn digit(value: u8) -> char {
    char::from_digit(value.into(), 16).unwrap_or('0')
}

fn number(sort: Sort) -> u8 {
    match sort {
        Sort::Relevance => 0,
        Sort::Newest => 1,
        Sort::Oldest => 2,
        Sort::PriceAscending => 3,
        Sort::PriceDescending => 4,
        Sort::Rating => 5,
        Sort::BestSelling => 6,
    }
}

/// Ties a cursor to its query, on every node alike. Nothing is won by forging it: it only says where to go on.
fn check(content: &[u8], query: &Query, words: &[String]) -> u64 {
    let mut hash = Fnv(0xcbf2_9ce4_8422_2325);
    hash.part(content);
    hash.list(words.iter().map(String::as_bytes));
    let mut categories: Vec<&[u8]> = query.categories.iter().map(String::as_bytes).collect();
    categories.sort_unstable();
    categories.dedup();
    hash.list(categories.into_iter());
    let mut shops: Vec<&[u8]> = query.shops.iter().map(<[u8; 12]>::as_slice).collect();
    shops.sort_unstable();
    shops.dedup();
    hash.list(shops.into_iter());
    for price in [query.min_price, query.max_price] {
        hash.list(price.map(i64::to_be_bytes).iter().map(<[u8; 8]>::as_slice));
    }
    hash.part(&query.min_rating.unwrap_or(0).to_be_bytes());
    hash.part(&[u8::from(query.in_stock)]);
    hash.0
}

/// FNV-1a.
struct Fnv(u64);

impl Fnv {
    fn part(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn list<'a>(&mut self, parts: impl ExactSizeIterator<Item = &'a [u8]>) {
        self.part(&parts.len().to_be_bytes());
        for part in parts {
            self.part(&part.len().to_be_bytes());
            self.part(part);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cursor() -> Cursor {
        Cursor { key: -5, id: *b"0123456789ab", level: 2, fuzzy: 0x201 }
    }

    #[test]
    fn a_cursor_is_read_back_for_its_query_only() {
        let query = Query { min_price: Some(3), ..Query::default() };
        let words = ["red".to_owned()];
        let text = cursor().write(&query, &words, Sort::Newest);
        assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        assert_eq!(Cursor::read(&text, &query, &words, Sort::Newest), Some(cursor()));
        let more = Query { limit: 7, ..query.clone() };
        assert_eq!(Cursor::read(&text, &more, &words, Sort::Newest), Some(cursor()));
        assert_eq!(Cursor::read(&text, &query, &words, Sort::Oldest), None);
        assert_eq!(Cursor::read(&text, &query, &[], Sort::Newest), None);
        for other in [
            Query { min_price: None, max_price: Some(3), ..query.clone() },
            Query { in_stock: true, ..query.clone() },
            Query { min_rating: Some(100), ..query.clone() },
            Query { shops: vec![[1; 12]], ..query.clone() },
            Query { categories: vec!["A".to_owned()], ..query.clone() },
        ] {
            assert_eq!(Cursor::read(&text, &other, &words, Sort::Newest), None);
        }
    }

    proptest! {
        #[test]
        fn what_was_tampered_with_is_refused(at in 0usize..66, digit in "[0-9a-fA-F]") {
            let query = Query::default();
            let text = cursor().write(&query, &[], Sort::Newest);
            let mut other = text.clone();
            other.replace_range(at..=at, &digit);
            prop_assume!(other != text);
            prop_assert_eq!(Cursor::read(&other, &query, &[], Sort::Newest), None);
        }

        #[test]
        fn any_text_is_refused(text in "\\PC*|[0-9a-f]{66}") {
            prop_assert_eq!(Cursor::read(&text, &Query::default(), &[], Sort::Newest), None);
        }
    }
}
