//! Numbers kept in an order that somebody else knows: in chunks, so that an insertion moves little.

use std::cmp::Ordering;

/// Chunks are split when they are longer than this.
const CHUNK: usize = 512;

#[derive(Clone, Debug, Default)]
pub(crate) struct Sorted {
    chunks: Vec<Vec<u32>>,
}

/// A place between two items.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    chunk: usize,
    at: usize,
}

impl Sorted {
    /// Of items that are in order already.
    pub(crate) fn of(items: &[u32]) -> Self {
        // Not filled up: the next insertions should not split every one of them.
        Self { chunks: items.chunks(CHUNK * 3 / 4).map(<[u32]>::to_vec).collect() }
    }

    /// The place behind all items of which `before` is true; it is true of a beginning of the order.
    pub(crate) fn seek(&self, mut before: impl FnMut(u32) -> bool) -> Place {
        let chunk = self.chunks.partition_point(|chunk| chunk.last().is_some_and(|last| before(*last)));
        let at = self.chunks.get(chunk).map_or(0, |chunk| chunk.partition_point(|item| before(*item)));
        Place { chunk, at }
    }

    pub(crate) fn start(&self) -> Place {
        Place { chunk: 0, at: 0 }
    }

    pub(crate) fn end(&self) -> Place {
        Place { chunk: self.chunks.len(), at: 0 }
    }

    /// The item behind a place.
    pub(crate) fn get(&self, place: Place) -> Option<u32> {
        self.chunks.get(place.chunk)?.get(place.at).copied()
    }

    /// How many items lie between two places.
    pub(crate) fn distance(&self, from: Place, to: Place) -> usize {
        let skipped = self.chunks.iter().skip(from.chunk).take(to.chunk.saturating_sub(from.chunk));
        (skipped.map(Vec::len).sum::<usize>() + to.at).saturating_sub(from.at)
    }

    pub(crate) fn next(&self, place: Place) -> Place {
        match self.chunks.get(place.chunk) {
            Some(chunk) if place.at + 1 >= chunk.len() => Place { chunk: place.chunk + 1, at: 0 },
            _ => Place { chunk: place.chunk, at: place.at + 1 },
        }
    }

    /// What lies between two places, in order.
    pub(crate) fn between(&self, from: Place, to: Place) -> impl Iterator<Item = &[u32]> {
        let chunks = (from.chunk..).zip(self.chunks.iter().skip(from.chunk));
        chunks.take_while(move |(nth, _)| *nth <= to.chunk).filter_map(move |(nth, chunk)| {
            let start = if nth == from.chunk { from.at } else { 0 };
            chunk.get(start..if nth == to.chunk { to.at } else { chunk.len() })
        })
    }

    /// What lies behind a place, in order.
    pub(crate) fn forwards(&self, from: Place) -> impl Iterator<Item = u32> + '_ {
        let here = self.chunks.get(from.chunk).and_then(|chunk| chunk.get(from.at..)).unwrap_or_default();
        here.iter().chain(self.chunks.iter().skip(from.chunk + 1).flatten()).copied()
    }

    /// What lies before a place, backwards.
    pub(crate) fn backwards(&self, from: Place) -> impl Iterator<Item = u32> + '_ {
        let here = self.chunks.get(from.chunk).and_then(|chunk| chunk.get(..from.at)).unwrap_or_default();
        let before = self.chunks.get(..from.chunk).unwrap_or_default();
        here.iter().rev().chain(before.iter().rev().flat_map(|chunk| chunk.iter().rev())).copied()
    }

    /// Adds an item where `order` says that others are less or greater than it.
    pub(crate) fn insert(&mut self, item: u32, mut order: impl FnMut(u32) -> Ordering) {
        let mut place = self.seek(|other| order(other) == Ordering::Less);
        if place.chunk == self.chunks.len() {
            // Behind everything: into the last chunk.
            match self.chunks.last() {
                Some(last) => place = Place { chunk: place.chunk - 1, at: last.len() },
                None => self.chunks.push(Vec::with_capacity(CHUNK)),
            }
        }
        let Some(chunk) = self.chunks.get_mut(place.chunk) else { return };
        chunk.insert(place.at, item);
        if chunk.len() > CHUNK {
            // An order that only grows at one end keeps its chunks full.
            let keep = if place.at + 1 == chunk.len() { CHUNK } else { CHUNK / 2 };
            let rest = chunk.split_off(keep);
            self.chunks.insert(place.chunk + 1, rest);
        }
    }

    /// Takes out the item that `order` says is equal. Whether there was one.
    pub(crate) fn remove(&mut self, mut order: impl FnMut(u32) -> Ordering) -> bool {
        let place = self.seek(|other| order(other) == Ordering::Less);
        let Some(chunk) = self.chunks.get_mut(place.chunk) else { return false };
        if chunk.get(place.at).is_none_or(|item| order(*item) != Ordering::Equal) {
            return false;
        }
        chunk.remove(place.at);
        if chunk.is_empty() {
            self.chunks.remove(place.chunk);
        } else if chunk.len() < CHUNK / 8
            && let Some(next) = self.chunks.get(place.chunk + 1).map(Vec::len)
            && next < CHUNK / 2
        {
            let next = self.chunks.remove(place.chunk + 1);
            if let Some(chunk) = self.chunks.get_mut(place.chunk) {
                chunk.extend(next);
            }
        }
        true
    }

    pub(crate) fn bytes(&self) -> usize {
        let items: usize = self.chunks.iter().map(|chunk| chunk.capacity() * size_of::<u32>()).sum();
        items + self.chunks.capacity() * size_of::<Vec<u32>>()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn it_does_what_a_tree_does(
            first in proptest::collection::btree_set(0u32..3000, 0..2000),
            changes in proptest::collection::vec((any::<bool>(), 0u32..3000), 0..3000),
            bound in 0u32..3000,
        ) {
            let mut sorted = Sorted::of(&first.iter().copied().collect::<Vec<_>>());
            let mut tree: BTreeSet<u32> = first;
            for (insert, item) in changes {
                if !insert {
                    prop_assert_eq!(sorted.remove(|other| other.cmp(&item)), tree.remove(&item));
                } else if tree.insert(item) {
                    sorted.insert(item, |other| other.cmp(&item));
                }
            }
            let place = sorted.seek(|item| item < bound);
            prop_assert!(sorted.forwards(place).eq(tree.range(bound..).copied()));
            prop_assert!(sorted.backwards(place).eq(tree.range(..bound).rev().copied()));
            let middle = sorted.seek(|item| item < bound / 2);
            let between = sorted.between(middle, place).flatten().copied();
            prop_assert!(between.eq(tree.range(bound / 2..bound).copied()));
            prop_assert_eq!(sorted.between(sorted.start(), sorted.end()).flatten().count(), tree.len());
            prop_assert!(sorted.backwards(sorted.end()).eq(tree.iter().rev().copied()));
            prop_assert_eq!(sorted.distance(sorted.start(), place), tree.range(..bound).count());
            let mut walked = Vec::new();
            let mut here = place;
            while let Some(item) = sorted.get(here) {
                walked.push(item);
                here = sorted.next(here);
            }
            prop_assert!(walked.into_iter().eq(tree.range(bound..).copied()));
        }
    }
}
