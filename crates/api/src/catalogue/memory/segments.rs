//! Every listing of a kind in the order of ids, in segments of about 64 that change as a whole and are shared as
//! they are: a write costs one segment, whatever the size of the catalogue. Pure.
//!
//! Where a segment begins follows from the ids alone, so that every node has the same ones and compresses
//! them to the same bytes.

use std::sync::{Arc, OnceLock};

use shared::{id::Id, model::Listing};

use super::{deflate::Deflated, entry::Entry};

/// One id in so many begins a segment.
const LENGTH: u64 = 64;

/// Listings that follow one another. Never empty.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) entries: Vec<Arc<Entry>>,
    /// Its compressed text, once somebody wanted it.
    pub(super) deflated: OnceLock<Deflated>,
}

impl Segment {
    fn of(entries: Vec<Arc<Entry>>) -> Arc<Self> {
        Arc::new(Self { entries, deflated: OnceLock::new() })
    }

    fn first(&self) -> Option<Id<Listing>> {
        self.entries.first().map(|entry| entry.id)
    }
}

/// Whether a segment begins with this id. Ids of one second on one machine differ in a counter only, so
/// all of it is mixed.
fn begins_segment(id: Id<Listing>) -> bool {
    let mut mixed: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in id.oid().bytes() {
        mixed = (mixed ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    mixed ^= mixed >> 32;
    mixed = mixed.wrapping_mul(0xd6e8_feb8_6659_fd93);
    (mixed >> 32).is_multiple_of(LENGTH)
}

/// All of a kind.
#[derive(Debug, Default)]
pub(super) struct Segments {
    segments: Vec<Arc<Segment>>,
    len: usize,
}

impl Segments {
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// As they are now.
    pub(super) fn all(&self) -> &[Arc<Segment>] {
        &self.segments
    }

    pub(super) fn get(&self, id: Id<Listing>) -> Option<&Arc<Entry>> {
        let segment = self.segments.get(self.place(id)?)?;
        let at = segment.entries.binary_search_by_key(&id, |entry| entry.id).ok()?;
        segment.entries.get(at)
    }

    /// The segment that an id belongs to: the last one that does not begin behind it.
    fn place(&self, id: Id<Listing>) -> Option<usize> {
        self.segments
            .partition_point(|segment| segment.first().is_some_and(|first| first <= id))
            .checked_sub(1)
    }

    /// Puts an entry in its place, and gives the one that was there.
    pub(super) fn put(&mut self, entry: Arc<Entry>) -> Option<Arc<Entry>> {
        let id = entry.id;
        let Some(place) = self.place(id) else {
            self.len += 1;
            self.put_first(entry);
            return None;
        };
        let segment = self.segments.get_mut(place)?;
        match segment.entries.binary_search_by_key(&id, |entry| entry.id) {
            Ok(at) => {
                let mut entries = segment.entries.clone();
                let before = entries.get_mut(at).map(|there| std::mem::replace(there, entry));
                *segment = Segment::of(entries);
                before
            }
            Err(at) => {
                self.len += 1;
                let mut entries = segment.entries.clone();
                if begins_segment(id) {
                    let mut behind = entries.split_off(at);
                    behind.insert(0, entry);
                    *segment = Segment::of(entries);
                    self.segments.insert(place + 1, Segment::of(behind));
                } else {
                    entries.insert(at, entry);
                    *segment = Segment::of(entries);
                }
                None
            }
        }
    }

    /// Puts an entry before all others.
    fn put_first(&mut self, entry: Arc<Entry>) {
        match self.segments.first_mut() {
            Some(segment) if !segment.first().is_some_and(begins_segment) => {
                let entries = std::iter::once(entry).chain(segment.entries.iter().cloned()).collect();
                *segment = Segment::of(entries);
            }
            _ => self.segments.insert(0, Segment::of(vec![entry])),
        }
    }

    /// Takes an entry out.
    pub(super) fn remove(&mut self, id: Id<Listing>) -> Option<Arc<Entry>> {
        let place = self.place(id)?;
        let segment = self.segments.get(place)?;
        let at = segment.entries.binary_search_by_key(&id, |entry| entry.id).ok()?;
        let mut entries = segment.entries.clone();
        let gone = entries.remove(at);
        self.len -= 1;
        // What stood behind one that began a segment belongs to the segment before.
        let before = if begins_segment(id) { place.checked_sub(1) } else { None };
        match before.and_then(|before| self.segments.get_mut(before)) {
            Some(before) => {
                if !entries.is_empty() {
                    let joined = before.entries.iter().cloned().chain(entries).collect();
                    *before = Segment::of(joined);
                }
                self.segments.remove(place);
            }
            None if entries.is_empty() => _ = self.segments.remove(place),
            None => {
                if let Some(segment) = self.segments.get_mut(place) {
                    *segment = Segment::of(entries);
                }
            }
        }
        Some(gone)
    }

    /// An entry is shown differently although it is the same.
    pub(super) fn renew(&mut self, id: Id<Listing>) {
        let Some(segment) = self.place(id).and_then(|place| self.segments.get_mut(place)) else { return };
        // One that nobody else has seen since it was made anew is new enough.
        if segment.deflated.get().is_some() || Arc::strong_count(segment) > 1 {
            *segment = Segment::of(segment.entries.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use bson::oid::ObjectId;
    use proptest::prelude::*;

    use super::*;

    fn id(n: u16) -> Id<Listing> {
        let [high, low] = n.to_be_bytes();
        Id::from_oid(ObjectId::from_bytes([0x67, 0x44, 0xa0, 0xb1, 1, 2, 3, 4, 5, 0, high, low]))
    }

    fn entry(n: u16) -> Arc<Entry> {
        Arc::new(Entry { id: id(n), shop: Id::nil(), filed: true, withheld: false, text: None })
    }

    fn shape(segments: &Segments) -> Vec<Vec<Id<Listing>>> {
        segments.all().iter().map(|segment| segment.entries.iter().map(|entry| entry.id).collect()).collect()
    }

    /// What the ids alone say.
    fn wanted(ids: &std::collections::BTreeSet<u16>) -> Vec<Vec<Id<Listing>>> {
        let mut segments: Vec<Vec<Id<Listing>>> = Vec::new();
        for id in ids.iter().map(|n| id(*n)) {
            match segments.last_mut() {
                Some(last) if !begins_segment(id) => last.push(id),
                _ => segments.push(vec![id]),
            }
        }
        segments
    }

    #[test]
    fn ids_that_follow_one_another_make_segments_of_a_useful_length() {
        let mut segments = Segments::default();
        for n in 0..20_000 {
            segments.put(entry(n));
        }
        let lengths: Vec<usize> = segments.all().iter().map(|segment| segment.entries.len()).collect();
        assert!((200..500).contains(&lengths.len()), "{}", lengths.len());
        assert!(*lengths.iter().max().unwrap() < 1000, "{lengths:?}");
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn segments_follow_from_the_ids_however_they_came_and_went(
            steps in prop::collection::vec((any::<bool>(), 0u16..600), 0..900),
        ) {
            let (mut segments, mut ids) = (Segments::default(), std::collections::BTreeSet::new());
            for (put, n) in steps {
                if put {
                    prop_assert_eq!(segments.put(entry(n)).is_some(), !ids.insert(n));
                } else {
                    prop_assert_eq!(segments.remove(id(n)).is_some(), ids.remove(&n));
                }
            }
            prop_assert_eq!(shape(&segments), wanted(&ids));
            prop_assert_eq!(segments.len(), ids.len());
            for n in 0..600 {
                prop_assert_eq!(segments.get(id(n)).is_some(), ids.contains(&n));
            }
        }
    }
}
