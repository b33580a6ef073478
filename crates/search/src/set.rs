//! Sets of slots: a sorted list while they are few, one bit for each slot once they are many.

use std::borrow::Cow;
use std::cmp::Ordering;

/// An index into a column.
pub(crate) fn at(slot: u32) -> usize {
    usize::try_from(slot).unwrap_or(usize::MAX)
}

/// The slot with this index in a column.
pub(crate) fn slot(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

/// How many slots a list may hold before bits take less memory, when there are `slots` in all.
pub(crate) fn list_max(slots: usize) -> usize {
    (slots / 32).max(16)
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Bits {
    words: Vec<u64>,
    len: usize,
}

fn place(slot: u32) -> (usize, u64) {
    (at(slot / 64), 1 << (slot % 64))
}

fn ones(word: u64) -> usize {
    at(word.count_ones())
}

impl Bits {
    /// Of slots in ascending order, each once.
    pub(crate) fn of(list: &[u32]) -> Self {
        let mut bits = Self::reaching(list.last().copied());
        list.iter().for_each(|slot| bits.mark(*slot));
        bits.len = list.len();
        bits
    }

    /// Empty, with room for slots up to this one.
    fn reaching(last: Option<u32>) -> Self {
        Self { words: vec![0; last.map_or(0, |last| place(last).0 + 1)], len: 0 }
    }

    /// Sets a bit there is room for, without counting it.
    fn mark(&mut self, slot: u32) {
        let (word, bit) = place(slot);
        if let Some(word) = self.words.get_mut(word) {
            *word |= bit;
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn contains(&self, slot: u32) -> bool {
        let (word, bit) = place(slot);
        self.words.get(word).is_some_and(|word| word & bit != 0)
    }

    /// Whether it was not there yet.
    pub(crate) fn insert(&mut self, slot: u32) -> bool {
        let (word, bit) = place(slot);
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        let Some(word) = self.words.get_mut(word) else { return false };
        let new = *word & bit == 0;
        *word |= bit;
        self.len += usize::from(new);
        new
    }

    /// Whether it was there.
    pub(crate) fn remove(&mut self, slot: u32) -> bool {
        let (word, bit) = place(slot);
        let Some(word) = self.words.get_mut(word) else { return false };
        let there = *word & bit != 0;
        *word &= !bit;
        self.len -= usize::from(there);
        there
    }

    pub(crate) fn set(&mut self, slot: u32, on: bool) {
        if on {
            self.insert(slot)
        } else {
            self.remove(slot)
        };
    }

    /// `iter`, for loops whose every nanosecond counts.
    pub(crate) fn each(&self, mut visit: impl FnMut(u32)) {
        for (word, nth) in self.words.iter().zip(0u32..) {
            let mut left = *word;
            while left != 0 {
                visit(nth * 64 + left.trailing_zeros());
                left &= left - 1;
            }
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.words.iter().zip(0u32..).flat_map(|(word, nth)| {
            let mut left = *word;
            std::iter::from_fn(move || {
                if left == 0 {
                    return None;
                }
                let bit = left.trailing_zeros();
                left &= left - 1;
                Some(nth * 64 + bit)
            })
        })
    }

    pub(crate) fn and(&mut self, other: &Self) {
        self.words.truncate(other.words.len());
        self.len = 0;
        for (mine, theirs) in self.words.iter_mut().zip(&other.words) {
            *mine &= theirs;
            self.len += ones(*mine);
        }
    }

    pub(crate) fn minus(&mut self, other: &Self) {
        for (mine, theirs) in self.words.iter_mut().zip(&other.words) {
            *mine &= !theirs;
        }
        self.len = self.words.iter().map(|word| ones(*word)).sum();
    }

    /// How many are in both.
    pub(crate) fn common(&self, other: &Self) -> usize {
        self.words.iter().zip(&other.words).map(|(mine, theirs)| ones(mine & theirs)).sum()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.words.capacity() * size_of::<u64>()
    }
}

#[derive(Clone, Debug)]
pub(crate) enum Set {
    List(Vec<u32>),
    Bits(Bits),
}

impl Default for Set {
    fn default() -> Self {
        Self::List(Vec::new())
    }
}

impl FromIterator<u32> for Bits {
    fn from_iter<I: IntoIterator<Item = u32>>(slots: I) -> Self {
        let mut bits = Self::default();
        for slot in slots {
            bits.insert(slot);
        }
        bits
    }
}

impl Set {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::List(list) => list.len(),
            Self::Bits(bits) => bits.len(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn contains(&self, slot: u32) -> bool {
        match self {
            Self::List(list) => list.binary_search(&slot).is_ok(),
            Self::Bits(bits) => bits.contains(slot),
        }
    }

    /// Adds a slot. A list longer than `list_max` becomes bits.
    pub(crate) fn insert(&mut self, slot: u32, list_max: usize) {
        match self {
            Self::Bits(bits) => {
                bits.insert(slot);
            }
            Self::List(list) => {
                // Slots mostly come in ascending order.
                if list.last().is_none_or(|last| *last < slot) {
                    list.push(slot);
                } else if let Err(place) = list.binary_search(&slot) {
                    list.insert(place, slot);
                }
                if list.len() > list_max {
                    *self = Self::Bits(Bits::of(list));
                }
            }
        }
    }

    pub(crate) fn remove(&mut self, slot: u32) {
        match self {
            Self::Bits(bits) => {
                bits.remove(slot);
            }
            Self::List(list) => {
                if let Ok(place) = list.binary_search(&slot) {
                    list.remove(place);
                }
            }
        }
    }

    /// In ascending order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        let (list, bits) = match self {
            Self::List(list) => (Some(list), None),
            Self::Bits(bits) => (None, Some(bits)),
        };
        list.into_iter().flatten().copied().chain(bits.into_iter().flat_map(Bits::iter))
    }

    /// `iter`, for loops whose every nanosecond counts.
    pub(crate) fn each(&self, visit: impl FnMut(u32)) {
        match self {
            Self::List(list) => list.iter().copied().for_each(visit),
            Self::Bits(bits) => bits.each(visit),
        }
    }

    pub(crate) fn and(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::Bits(a), Self::Bits(b)) => {
                let mut both = a.clone();
                both.and(b);
                Self::Bits(both)
            }
            (Self::List(a), Self::List(b)) => Self::List(common(a, b)),
            (Self::List(list), Self::Bits(bits)) | (Self::Bits(bits), Self::List(list)) => {
                Self::List(list.iter().copied().filter(|slot| bits.contains(*slot)).collect())
            }
        }
    }

    pub(crate) fn minus(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::Bits(a), Self::Bits(b)) => {
                let mut rest = a.clone();
                rest.minus(b);
                Self::Bits(rest)
            }
            (Self::Bits(a), Self::List(b)) => {
                let mut rest = a.clone();
                for slot in b {
                    rest.remove(*slot);
                }
                Self::Bits(rest)
            }
            (Self::List(a), _) => {
                Self::List(a.iter().copied().filter(|slot| !other.contains(*slot)).collect())
            }
        }
    }

    /// A slot that is not below any of them.
    fn room(&self) -> Option<u32> {
        match self {
            Self::List(list) => list.last().copied(),
            Self::Bits(bits) => bits.words.len().checked_sub(1).map(|words| slot(words * 64 + 63)),
        }
    }

    /// Everything that is in one of `sets`.
    pub(crate) fn union(sets: &[&Self], list_max: usize) -> Self {
        let entries: usize = sets.iter().map(|set| set.len()).sum();
        if entries <= list_max.min(256) {
            let mut list: Vec<u32> = sets.iter().flat_map(|set| set.iter()).collect();
            list.sort_unstable();
            list.dedup();
            return Self::List(list);
        }
        let mut bits = Bits::reaching(sets.iter().filter_map(|set| set.room()).max());
        for set in sets {
            match set {
                Self::Bits(other) => {
                    bits.words.iter_mut().zip(&other.words).for_each(|(mine, theirs)| *mine |= theirs);
                }
                Self::List(list) => list.iter().for_each(|slot| bits.mark(*slot)),
            }
        }
        bits.len = bits.words.iter().map(|word| ones(*word)).sum();
        Self::Bits(bits).fitted(list_max)
    }

    /// In the form that suits its size.
    pub(crate) fn fitted(self, list_max: usize) -> Self {
        match self {
            Self::Bits(bits) if bits.len() <= list_max => {
                let mut list = Vec::with_capacity(bits.len());
                bits.each(|slot| list.push(slot));
                Self::List(list)
            }
            Self::List(list) if list.len() > list_max => Self::Bits(Bits::of(&list)),
            fitting => fitting,
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::List(list) => list.capacity() * size_of::<u32>(),
            Self::Bits(bits) => bits.bytes(),
        }
    }

    /// Gives back what a list has reserved beyond its length.
    pub(crate) fn shrink(&mut self) {
        if let Self::List(list) = self {
            list.shrink_to_fit();
        }
    }
}

/// What is in both of two sorted lists.
fn common(a: &[u32], b: &[u32]) -> Vec<u32> {
    let (few, many) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    if few.len() * 16 < many.len() {
        return few.iter().copied().filter(|slot| many.binary_search(slot).is_ok()).collect();
    }
    let mut both = Vec::new();
    let mut others = many.iter().copied().peekable();
    for slot in few.iter().copied() {
        while others.next_if(|other| other.cmp(&slot) == Ordering::Less).is_some() {}
        if others.peek() == Some(&slot) {
            both.push(slot);
        }
    }
    both
}

/// What is in all of `sets`; nothing when there are none.
pub(crate) fn intersection(sets: &[Cow<'_, Set>]) -> Set {
    let mut ordered: Vec<&Set> = sets.iter().map(AsRef::as_ref).collect();
    ordered.sort_by_key(|set| set.len());
    let mut rest = ordered.into_iter();
    let Some(first) = rest.next() else { return Set::default() };
    match rest.next() {
        None => first.clone(),
        Some(second) => rest.fold(first.and(second), |sofar, set| sofar.and(set)),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn set_of(slots: &BTreeSet<u32>, list_max: usize) -> Set {
        let mut set = Set::default();
        for slot in slots {
            set.insert(*slot, list_max);
        }
        set
    }

    fn slots() -> impl Strategy<Value = BTreeSet<u32>> {
        proptest::collection::btree_set(0u32..300, 0..120)
    }

    proptest! {
        #[test]
        fn lists_and_bits_do_what_sets_do(a in slots(), b in slots(), max_a in 0usize..200, max_b in 0usize..200) {
            let (left, right) = (set_of(&a, max_a), set_of(&b, max_b));
            let all = |set: &Set| {
                let seen: Vec<u32> = set.iter().collect();
                let mut each = Vec::new();
                set.each(|slot| each.push(slot));
                assert_eq!(seen, each);
                assert_eq!(seen.len(), set.len());
                seen
            };
            prop_assert_eq!(all(&left.and(&right)), a.intersection(&b).copied().collect::<Vec<_>>());
            prop_assert_eq!(all(&left.minus(&right)), a.difference(&b).copied().collect::<Vec<_>>());
            let union = Set::union(&[&left, &right], max_a);
            prop_assert_eq!(all(&union), a.union(&b).copied().collect::<Vec<_>>());
            let both = intersection(&[Cow::Borrowed(&left), Cow::Borrowed(&right), Cow::Borrowed(&union)]);
            prop_assert_eq!(all(&both), a.intersection(&b).copied().collect::<Vec<_>>());
            let mut rest = left;
            for slot in &b {
                rest.remove(*slot);
            }
            prop_assert_eq!(all(&rest), a.difference(&b).copied().collect::<Vec<_>>());
        }
    }
}
