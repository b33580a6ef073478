//! Which words there are, and which entries hold them.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::set::{Set, at, slot as number};
use crate::sorted::{Place, Sorted};
use crate::typo::{Fuzzy, Verdict, allowed};

/// From so many words with the same beginning on, the beginning's entries are kept ready.
const NODE_WORDS: usize = 1_024;
/// Words looked at for slips of the finger in one word; those behind are not found by it.
const FUZZY_STEPS: usize = 20_000;

/// How well an entry matches a word; less is better. The words of a query have the worst of theirs.
pub(crate) type Level = usize;
/// The name has the word.
const WHOLE_IN_NAME: Level = 0;
/// A word of the name begins with it.
const IN_NAME: Level = 1;
/// A word anywhere begins with it.
const ANYWHERE: Level = 2;
/// With slips of the finger, in the name.
const FUZZY_IN_NAME: Level = 3;
/// With slips of the finger, anywhere.
const FUZZY_ANYWHERE: Level = 4;

/// A word of an entry, and whether its name has it.
pub(crate) type Word = (Box<str>, bool);

#[derive(Debug, Default)]
struct Token {
    text: Box<str>,
    /// Entries that have the word in their names.
    name: Set,
    /// Entries that have it only elsewhere.
    other: Set,
}

#[derive(Debug, Default)]
struct Node {
    /// Entries with a word that begins like this in their names.
    name: Set,
    /// Entries with a word that begins like this.
    any: Set,
}

/// An entry's use of a word, as it is stored: the token's number, doubled, plus one for the name.
type Mark = u32;

fn mark(token: u32, in_name: bool) -> Mark {
    token * 2 + u32::from(in_name)
}

#[derive(Debug, Default)]
pub(crate) struct Dictionary {
    tokens: Vec<Token>,
    free: Vec<u32>,
    sorted: Sorted,
    nodes: HashMap<Box<str>, Node>,
}

/// The beginnings of a word, from one letter on.
fn beginnings(word: &str) -> impl Iterator<Item = &str> {
    word.char_indices().skip(1).map(|(end, _)| end).chain([word.len()]).filter_map(|end| word.get(..end))
}

impl Dictionary {
    pub(crate) fn len(&self) -> usize {
        self.tokens.len() - self.free.len()
    }

    fn text(&self, token: u32) -> &str {
        self.tokens.get(at(token)).map_or("", |token| &token.text)
    }

    /// The places around the words that begin like this.
    fn range(&self, beginning: &str) -> (Place, Place) {
        let start = self.sorted.seek(|token| self.text(token) < beginning);
        let end = self.sorted.seek(|token| {
            let text = self.text(token);
            text < beginning || text.starts_with(beginning)
        });
        (start, end)
    }

    pub(crate) fn has_beginning(&self, beginning: &str) -> bool {
        let start = self.sorted.seek(|token| self.text(token) < beginning);
        self.sorted.get(start).is_some_and(|token| self.text(token).starts_with(beginning))
    }

    fn find(&self, word: &str) -> Option<u32> {
        let place = self.sorted.seek(|token| self.text(token) < word);
        self.sorted.get(place).filter(|token| self.text(*token) == word)
    }

    /// The words behind an entry's marks, in alphabetical order.
    pub(crate) fn words(&self, marks: &[Mark]) -> Vec<Word> {
        let mut words: Vec<Word> =
            marks.iter().map(|mark| (Box::from(self.text(mark / 2)), mark % 2 == 1)).collect();
        words.sort_unstable();
        words
    }

    /// Gives the entry at `slot` these words in place of those it had; says which marks to keep for it.
    pub(crate) fn replace(
        &mut self,
        slot: u32,
        old: &[Mark],
        words: &[Word],
        list_max: usize,
    ) -> Box<[Mark]> {
        let mut created = Vec::new();
        let mut new = Vec::with_capacity(words.len());
        for (word, in_name) in words {
            let token = self.find(word).unwrap_or_else(|| {
                let token = self.create(word);
                created.push(word);
                token
            });
            new.push(mark(token, *in_name));
        }
        new.sort_unstable();
        let gone = old.iter().copied().filter(|mark| new.binary_search(mark).is_err());
        let come = new.iter().copied().filter(|mark| old.binary_search(mark).is_err());
        for mark in gone.clone() {
            if let Some(token) = self.tokens.get_mut(at(mark / 2)) {
                if mark % 2 == 1 { &mut token.name } else { &mut token.other }.remove(slot);
            }
        }
        for mark in come.clone() {
            if let Some(token) = self.tokens.get_mut(at(mark / 2)) {
                if mark % 2 == 1 { &mut token.name } else { &mut token.other }.insert(slot, list_max);
            }
        }
        for mark in gone.clone().chain(come) {
            let Some(token) = self.tokens.get(at(mark / 2)) else { continue };
            for beginning in beginnings(&token.text) {
                let Some(node) = self.nodes.get_mut(beginning) else { break };
                let mut holders = words.iter().filter(|(word, _)| word.starts_with(beginning)).peekable();
                let any = holders.peek().is_some();
                let name = holders.any(|(_, in_name)| *in_name);
                for (set, holds) in [(&mut node.any, any), (&mut node.name, name)] {
                    if holds { set.insert(slot, list_max) } else { set.remove(slot) }
                }
            }
        }
        for mark in gone {
            self.forget_unused(mark / 2);
        }
        for word in created {
            self.grow_nodes(word, list_max);
        }
        new.into_boxed_slice()
    }

    fn create(&mut self, word: &str) -> u32 {
        let token = Token { text: Box::from(word), ..Token::default() };
        let number = match self.free.pop() {
            Some(free) => {
                if let Some(place) = self.tokens.get_mut(at(free)) {
                    *place = token;
                }
                free
            }
            None => {
                self.tokens.push(token);
                number(self.tokens.len() - 1)
            }
        };
        let Self { tokens, sorted, .. } = self;
        sorted.insert(number, |other| tokens.get(at(other)).map_or("", |token| &token.text).cmp(word));
        number
    }

    fn forget_unused(&mut self, number: u32) {
        let Self { tokens, sorted, free, .. } = self;
        let Some(token) = tokens.get(at(number)) else { return };
        if token.name.is_empty() && token.other.is_empty() {
            let word = &token.text;
            if sorted.remove(|other| tokens.get(at(other)).map_or("", |token| &token.text).cmp(word)) {
                if let Some(token) = tokens.get_mut(at(number)) {
                    *token = Token::default();
                }
                free.push(number);
            }
        }
    }

    /// Keeps the beginnings of a new word ready, if it made their words many.
    fn grow_nodes(&mut self, word: &str, list_max: usize) {
        for beginning in beginnings(word) {
            if self.nodes.contains_key(beginning) {
                continue;
            }
            let (start, end) = self.range(beginning);
            if self.sorted.distance(start, end) < NODE_WORDS {
                break;
            }
            let (name, any) = self.unite(start, end, list_max);
            self.nodes.insert(Box::from(beginning), Node { name, any });
        }
    }

    fn between(&self, start: Place, end: Place) -> impl Iterator<Item = &Token> {
        let tokens = self.sorted.forwards(start).take(self.sorted.distance(start, end));
        tokens.filter_map(|token| self.tokens.get(at(token)))
    }

    /// The entries of the words between two places: by name, and all.
    fn unite(&self, start: Place, end: Place, list_max: usize) -> (Set, Set) {
        let names: Vec<&Set> = self.between(start, end).map(|token| &token.name).collect();
        let name = Set::union(&names, list_max);
        let others = self.between(start, end).map(|token| &token.other);
        let all: Vec<&Set> = others.filter(|set| !set.is_empty()).chain([&name]).collect();
        let any = Set::union(&all, list_max);
        (name, any)
    }

    /// For each level, the entries that match a word at least so well.
    pub(crate) fn levels(&self, word: &str, fuzzy: bool, list_max: usize) -> Vec<Cow<'_, Set>> {
        let whole = self.find(word).and_then(|token| self.tokens.get(at(token)));
        let whole = whole.map_or_else(|| Cow::Owned(Set::default()), |token| Cow::Borrowed(&token.name));
        let (name, any) = match self.nodes.get(word) {
            Some(node) => (Cow::Borrowed(&node.name), Cow::Borrowed(&node.any)),
            None => {
                let (start, end) = self.range(word);
                let (name, any) = self.unite(start, end, list_max);
                (Cow::Owned(name), Cow::Owned(any))
            }
        };
        let mut levels = vec![whole, name, any];
        if fuzzy {
            let near: Vec<&Token> =
                self.near(word).into_iter().filter_map(|token| self.tokens.get(at(token))).collect();
            let any = levels.last().cloned().unwrap_or_default();
            let names: Vec<&Set> = near.iter().map(|token| &token.name).chain([any.as_ref()]).collect();
            let name = Set::union(&names, list_max);
            let others: Vec<&Set> = near.iter().map(|token| &token.other).chain([&name]).collect();
            let any = Set::union(&others, list_max);
            levels.extend([Cow::Owned(name), Cow::Owned(any)]);
        }
        levels
    }

    /// The words that a word may have been meant to be.
    fn near(&self, word: &str) -> Vec<u32> {
        let mut fuzzy = Fuzzy::new(word, allowed(word));
        let Some(first) = fuzzy.first() else { return Vec::new() };
        let mut found = Vec::new();
        let mut place = self.sorted.seek(|token| self.text(token).chars().next() < Some(first));
        for _ in 0..FUZZY_STEPS {
            let Some(token) = self.sorted.get(place) else { break };
            let text = self.text(token);
            if !text.starts_with(first) {
                break;
            }
            place = match fuzzy.compare(text) {
                Verdict::Match => {
                    found.push(token);
                    self.sorted.next(place)
                }
                Verdict::Different => self.sorted.next(place),
                Verdict::Hopeless(letters) => {
                    let end = text.char_indices().nth(letters).map_or(text.len(), |(end, _)| end);
                    let dead = text.get(..end).unwrap_or(text);
                    self.sorted.seek(|token| {
                        let text = self.text(token);
                        text < dead || text.starts_with(dead)
                    })
                }
            };
        }
        found
    }

    pub(crate) fn bytes(&self) -> usize {
        let tokens: usize = self.tokens.iter().map(|t| t.text.len() + t.name.bytes() + t.other.bytes()).sum();
        let nodes: usize = self.nodes.values().map(|node| node.name.bytes() + node.any.bytes()).sum();
        tokens + nodes + self.tokens.capacity() * size_of::<Token>() + self.sorted.bytes()
    }
}

/// What a query asks of an entry's words, and how well they answer.
#[derive(Debug)]
pub(crate) struct Wanted<'a> {
    words: Vec<(&'a str, Option<Fuzzy>)>,
}

impl<'a> Wanted<'a> {
    /// `fuzzy` has a bit for each word in which slips of the finger are forgiven.
    pub(crate) fn new(words: &'a [String], fuzzy: u16) -> Self {
        let wanted = words.iter().enumerate().map(|(nth, word)| {
            let fuzzy = (fuzzy >> nth & 1 == 1).then(|| Fuzzy::new(word, allowed(word)));
            (word.as_str(), fuzzy)
        });
        Self { words: wanted.collect() }
    }

    /// The same as `Dictionary::levels`, for one entry.
    pub(crate) fn level(&mut self, words: &[Word]) -> Option<Level> {
        let mut worst = WHOLE_IN_NAME;
        for (wanted, fuzzy) in &mut self.words {
            let mut best = None;
            for (word, in_name) in words {
                let level = if !word.starts_with(*wanted) {
                    if !fuzzy.as_mut().is_some_and(|fuzzy| fuzzy.matches(word)) {
                        continue;
                    }
                    if *in_name { FUZZY_IN_NAME } else { FUZZY_ANYWHERE }
                } else if !in_name {
                    ANYWHERE
                } else if word.len() > wanted.len() {
                    IN_NAME
                } else {
                    WHOLE_IN_NAME
                };
                best = Some(best.map_or(level, |best: Level| best.min(level)));
            }
            worst = worst.max(best?);
        }
        Some(worst)
    }
}

/// A dictionary under construction, from many entries in ascending order of their slots.
#[derive(Debug, Default)]
pub(crate) struct DictionaryBuilder {
    tokens: Vec<Token>,
    known: HashMap<Box<str>, u32>,
}

impl DictionaryBuilder {
    pub(crate) fn add(&mut self, slot: u32, words: Vec<Word>) -> Box<[Mark]> {
        let mut marks = Vec::with_capacity(words.len());
        for (word, in_name) in words {
            let token = match self.known.get(&word) {
                Some(token) => *token,
                None => {
                    let token = number(self.tokens.len());
                    self.tokens.push(Token { text: word.clone(), ..Token::default() });
                    self.known.insert(word, token);
                    token
                }
            };
            if let Some(token) = self.tokens.get_mut(at(token)) {
                if in_name { &mut token.name } else { &mut token.other }.insert(slot, usize::MAX);
            }
            marks.push(mark(token, in_name));
        }
        marks.sort_unstable();
        marks.into_boxed_slice()
    }

    pub(crate) fn finish(self, list_max: usize) -> Dictionary {
        let Self { mut tokens, known } = self;
        drop(known);
        for token in &mut tokens {
            for set in [&mut token.name, &mut token.other] {
                *set = std::mem::take(set).fitted(list_max);
                set.shrink();
            }
        }
        let mut order: Vec<(&str, u32)> = tokens.iter().map(|token| &*token.text).zip(0..).collect();
        order.sort_unstable();
        let order: Vec<u32> = order.into_iter().map(|(_, token)| token).collect();
        let sorted = Sorted::of(&order);
        let mut dictionary = Dictionary { tokens, free: Vec::new(), sorted, nodes: HashMap::new() };
        // A beginning of many words is that of a word this far before or behind.
        for token in order.iter().step_by(NODE_WORDS / 2) {
            let word = dictionary.text(*token).to_owned();
            dictionary.grow_nodes(&word, list_max);
        }
        dictionary
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn words_of(text: &str, in_name: bool) -> Vec<Word> {
        let mut words: Vec<Word> = text.split(' ').map(|word| (Box::from(word), in_name)).collect();
        words.sort();
        words.dedup();
        words
    }

    fn all(set: &Set) -> Vec<u32> {
        set.iter().collect()
    }

    #[test]
    fn beginnings_of_many_words_are_kept_ready_and_true() {
        let mut built = DictionaryBuilder::default();
        let mut marks = Vec::new();
        for slot in 0..3_000u32 {
            marks.push(built.add(slot, words_of(&format!("sku{slot:05} thing"), slot % 2 == 0)));
        }
        let mut dictionary = built.finish(100);
        assert!(dictionary.nodes.contains_key("s") && dictionary.nodes.contains_key("sku0"));
        assert!(!dictionary.nodes.contains_key("sku00") && !dictionary.nodes.contains_key("t"));
        for slot in 0..1_500u32 {
            let old = &marks[usize::try_from(slot).unwrap()];
            dictionary.replace(slot, old, &words_of("thing", true), 100);
        }
        for slot in 3_000..5_000u32 {
            dictionary.replace(slot, &[], &words_of(&format!("sku{slot:05} tx{slot}"), true), 100);
        }
        assert_eq!(dictionary.len(), 1_500 + 1 + 4_000);
        assert!(dictionary.nodes.contains_key("tx"));
        let levels = dictionary.levels("sku", false, 100);
        assert_eq!(all(&levels[2]), (1_500..5_000).collect::<Vec<_>>());
        assert_eq!(all(&levels[1]), (1_500..5_000).filter(|n| n % 2 == 0 || *n >= 3_000).collect::<Vec<_>>());
        assert_eq!(all(&dictionary.levels("tx", false, 100)[1]), (3_000..5_000).collect::<Vec<_>>());
        assert!(dictionary.has_beginning("sku0150") && !dictionary.has_beginning("sku00"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn one_entry_is_judged_as_all_of_them_are(
            entries in proptest::collection::vec(("[ab]{1,5}( [abc]{3,9}){0,3}", any::<bool>()), 1..30),
            query in "[ab]{1,2}|[abc]{4,9}",
            fuzzy: bool,
        ) {
            let mut dictionary = Dictionary::default();
            let mut built = DictionaryBuilder::default();
            for ((text, in_name), slot) in entries.iter().zip(0..) {
                dictionary.replace(slot, &[], &words_of(text, *in_name), 8);
                built.add(slot, words_of(text, *in_name));
            }
            let built = built.finish(8);
            let query = [query];
            let levels = dictionary.levels(&query[0], fuzzy, 8);
            let same = built.levels(&query[0], fuzzy, 8);
            let mut wanted = Wanted::new(&query, u16::from(fuzzy));
            for ((text, in_name), slot) in entries.iter().zip(0..) {
                let level = levels.iter().position(|set| set.contains(slot));
                prop_assert_eq!(wanted.level(&words_of(text, *in_name)), level);
                prop_assert_eq!(level, same.iter().position(|set| set.contains(slot)));
            }
        }
    }
}
