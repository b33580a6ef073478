//! The entries: columns, orders, and sets of slots for what is filtered often.

mod builder;

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;

use crate::dictionary::{Dictionary, Word};
use crate::entry::{Entry, Id};
use crate::query::PRICE_EDGES;
use crate::set::{Bits, Set, at, list_max, slot as number};
use crate::sorted::Sorted;

pub(crate) use builder::TableBuilder;

/// Price ranges that are counted.
pub(crate) const PRICES: usize = PRICE_EDGES.len() + 1;
/// Whole stars, none included.
pub(crate) const STARS: usize = 6;

/// What filters and counts know of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) category: u32,
    pub(crate) shop: u32,
    pub(crate) price: i64,
    pub(crate) rating: u16,
    pub(crate) in_stock: bool,
}

impl Facts {
    pub(crate) fn price_range(&self) -> usize {
        PRICE_EDGES.partition_point(|edge| *edge <= self.price)
    }

    pub(crate) fn stars(&self) -> usize {
        usize::from(self.rating / 100).min(STARS - 1)
    }

    /// Price range, stars and stock in one number below 256.
    fn code(&self) -> u8 {
        let code = (self.price_range() * STARS + self.stars()) * 2 + usize::from(self.in_stock);
        u8::try_from(code).unwrap_or(u8::MAX)
    }
}

/// What `Facts::code` was made of.
pub(crate) fn decode(code: usize) -> (usize, usize, usize) {
    (code / 2 / STARS, code / 2 % STARS, code % 2)
}

/// By what entries are kept in order; equals are ordered by id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    Newest,
    Price,
    Rating,
    Sold,
}

const ALL_ORDERS: [By; 4] = [By::Newest, By::Price, By::Rating, By::Sold];

#[derive(Debug, Default)]
pub(crate) struct Columns {
    id: Vec<Id>,
    newest: Vec<i64>,
    price: Vec<i64>,
    sold: Vec<i64>,
    rating: Vec<u16>,
    counted: Vec<Counted>,
}

/// What is counted of an entry, side by side: counting goes through many.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counted {
    pub(crate) shop: u32,
    /// The category, and in the last eight bits a `Facts::code`.
    category_and_code: u32,
}

impl Counted {
    fn of(facts: &Facts) -> Self {
        Self { shop: facts.shop, category_and_code: facts.category << 8 | u32::from(facts.code()) }
    }

    pub(crate) fn category(self) -> u32 {
        self.category_and_code >> 8
    }

    pub(crate) fn code(self) -> u8 {
        let [.., code] = self.category_and_code.to_be_bytes();
        code
    }
}

impl Columns {
    pub(crate) fn len(&self) -> usize {
        self.id.len()
    }

    pub(crate) fn id(&self, slot: u32) -> Id {
        self.id.get(at(slot)).copied().unwrap_or_default()
    }

    pub(crate) fn key(&self, by: By, slot: u32) -> i64 {
        let at = at(slot);
        match by {
            By::Newest => self.newest.get(at).copied(),
            By::Price => self.price.get(at).copied(),
            By::Rating => self.rating.get(at).copied().map(i64::from),
            By::Sold => self.sold.get(at).copied(),
        }
        .unwrap_or_default()
    }

    pub(crate) fn price(&self, slot: u32) -> i64 {
        self.key(By::Price, slot)
    }

    pub(crate) fn rating(&self, slot: u32) -> u16 {
        self.rating.get(at(slot)).copied().unwrap_or_default()
    }

    pub(crate) fn facts(&self, slot: u32) -> Facts {
        let counted = self.counted(slot);
        Facts {
            category: counted.category(),
            shop: counted.shop,
            price: self.price(slot),
            rating: self.rating(slot),
            in_stock: counted.code() % 2 == 1,
        }
    }

    pub(crate) fn counted(&self, slot: u32) -> Counted {
        self.counted.get(at(slot)).copied().unwrap_or_default()
    }

    pub(crate) fn cmp(&self, by: By, slot: u32, to: &(i64, Id)) -> Ordering {
        self.key(by, slot).cmp(&to.0).then_with(|| self.id(slot).cmp(&to.1))
    }

    fn push(&mut self) {
        self.id.push(Id::default());
        self.newest.push(0);
        self.price.push(0);
        self.sold.push(0);
        self.rating.push(0);
        self.counted.push(Counted::default());
    }

    fn write(&mut self, slot: u32, entry: &Entry<'_>, facts: &Facts) {
        fn put<T>(column: &mut [T], at: usize, value: T) {
            if let Some(place) = column.get_mut(at) {
                *place = value;
            }
        }
        let at = at(slot);
        put(&mut self.id, at, entry.id);
        put(&mut self.newest, at, entry.newest);
        put(&mut self.price, at, entry.price);
        put(&mut self.sold, at, entry.sold);
        put(&mut self.rating, at, facts.rating);
        put(&mut self.counted, at, Counted::of(facts));
    }

    fn shrink(&mut self) {
        self.id.shrink_to_fit();
        self.newest.shrink_to_fit();
        self.price.shrink_to_fit();
        self.sold.shrink_to_fit();
        self.rating.shrink_to_fit();
        self.counted.shrink_to_fit();
    }

    fn bytes(&self) -> usize {
        let one = size_of::<Id>() + 3 * size_of::<i64>() + size_of::<u16>() + size_of::<Counted>();
        self.id.capacity() * one
    }
}

/// A category or a shop. They are never forgotten: there are few, and mostly they come back.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) name: Arc<str>,
    pub(crate) set: Set,
}

#[derive(Debug, Default)]
struct Orders {
    newest: Sorted,
    price: Sorted,
    rating: Sorted,
    sold: Sorted,
}

impl Orders {
    fn get(&self, by: By) -> &Sorted {
        match by {
            By::Newest => &self.newest,
            By::Price => &self.price,
            By::Rating => &self.rating,
            By::Sold => &self.sold,
        }
    }

    fn get_mut(&mut self, by: By) -> &mut Sorted {
        match by {
            By::Newest => &mut self.newest,
            By::Price => &mut self.price,
            By::Rating => &mut self.rating,
            By::Sold => &mut self.sold,
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Table {
    pub(crate) columns: Columns,
    marks: Vec<Box<[u32]>>,
    pub(crate) live: Bits,
    free: Vec<u32>,
    by_id: Sorted,
    orders: Orders,
    pub(crate) in_stock: Bits,
    /// With at least 1, 2, 3 … stars.
    pub(crate) rated: [Bits; STARS - 1],
    /// At `PRICE_EDGES` and above.
    pub(crate) dear: [Bits; PRICES - 1],
    pub(crate) categories: Vec<Group>,
    category_numbers: HashMap<Arc<str>, u32>,
    pub(crate) shops: Vec<Group>,
    pub(crate) shop_ids: Vec<Id>,
    shop_numbers: HashMap<Id, u32>,
    pub(crate) dictionary: Dictionary,
    /// How many entries have which `Facts::code`.
    pub(crate) codes: Vec<u32>,
}

/// An entry as it was, or as it is now.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) facts: Facts,
    pub(crate) words: Vec<Word>,
}

/// What a write did.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) slot: u32,
    pub(crate) old: Option<State>,
    pub(crate) new: Option<State>,
    /// Old and new words are the same.
    pub(crate) same_words: bool,
    /// A shop goes by another name.
    pub(crate) renamed: bool,
}

impl Change {
    /// Whether nobody who filters or counts can tell the difference: a sale, mostly.
    pub(crate) fn is_invisible(&self) -> bool {
        let facts = |state: &Option<State>| state.as_ref().map(|state| state.facts);
        self.same_words && !self.renamed && facts(&self.old) == facts(&self.new)
    }
}

impl Table {
    pub(crate) fn len(&self) -> usize {
        self.live.len()
    }

    /// Slots that a list may have before it becomes bits.
    pub(crate) fn list_max(&self) -> usize {
        list_max(self.columns.len())
    }

    pub(crate) fn order(&self, by: By) -> &Sorted {
        self.orders.get(by)
    }

    pub(crate) fn category(&self, name: &str) -> Option<u32> {
        self.category_numbers.get(name).copied()
    }

    pub(crate) fn shop(&self, id: &Id) -> Option<u32> {
        self.shop_numbers.get(id).copied()
    }

    fn find(&self, id: &Id) -> Option<u32> {
        let place = self.by_id.seek(|slot| self.columns.id(slot) < *id);
        self.by_id.get(place).filter(|slot| self.columns.id(*slot) == *id)
    }

    /// The facts of an entry; learns its category and its shop. Whether the shop goes by another name now.
    fn learn(&mut self, entry: &Entry<'_>) -> (Facts, bool) {
        let category = self.category(entry.category).unwrap_or_else(|| {
            let name: Arc<str> = Arc::from(entry.category);
            // The last one that has room in `Counted`; who has sixteen million categories has none.
            let category = number(self.categories.len()).min(u32::MAX >> 8);
            self.categories.push(Group { name: Arc::clone(&name), set: Set::default() });
            self.category_numbers.insert(name, category);
            category
        });
        let shop = self.shop(&entry.shop).unwrap_or_else(|| {
            let shop = number(self.shops.len());
            self.shops.push(Group { name: Arc::from(entry.shop_name), set: Set::default() });
            self.shop_ids.push(entry.shop);
            self.shop_numbers.insert(entry.shop, shop);
            shop
        });
        let mut renamed = false;
        if let Some(shop) = self.shops.get_mut(at(shop))
            && &*shop.name != entry.shop_name
        {
            shop.name = Arc::from(entry.shop_name);
            renamed = true;
        }
        let rating = entry.rating.unwrap_or(0);
        (Facts { category, shop, price: entry.price, rating, in_stock: entry.available > 0 }, renamed)
    }

    /// Adds an entry, or puts it in the place of that with the same id.
    pub(crate) fn put(&mut self, entry: &Entry<'_>, words: Vec<Word>) -> Change {
        let (facts, renamed) = self.learn(entry);
        let known = self.find(&entry.id);
        let slot = known.unwrap_or_else(|| self.vacancy());
        let old = known.map(|slot| self.state(slot));
        let list_max = self.list_max();
        let same_words = old.as_ref().is_some_and(|old| old.words == words);
        if !same_words {
            let before = self.marks.get_mut(at(slot)).map(std::mem::take).unwrap_or_default();
            let marks = self.dictionary.replace(slot, &before, &words, list_max);
            if let Some(place) = self.marks.get_mut(at(slot)) {
                *place = marks;
            }
        }
        let target = |by| match by {
            By::Newest => entry.newest,
            By::Price => entry.price,
            By::Rating => i64::from(facts.rating),
            By::Sold => entry.sold,
        };
        let moved: Vec<By> = ALL_ORDERS
            .into_iter()
            .filter(|by| known.is_none() || self.columns.key(*by, slot) != target(*by))
            .collect();
        if known.is_some() {
            moved.iter().for_each(|by| self.take_from(*by, slot));
        }
        if let Some(old) = &old {
            self.classify(slot, &old.facts, false, Some(&facts));
        }
        self.columns.write(slot, entry, &facts);
        for by in moved {
            let key = (target(by), entry.id);
            self.orders.get_mut(by).insert(slot, |other| self.columns.cmp(by, other, &key));
        }
        self.classify(slot, &facts, true, old.as_ref().map(|old| &old.facts));
        if known.is_none() {
            self.live.insert(slot);
            self.by_id.insert(slot, |other| self.columns.id(other).cmp(&entry.id));
        }
        Change { slot, old, new: Some(State { facts, words }), same_words, renamed }
    }

    pub(crate) fn remove(&mut self, id: &Id) -> Option<Change> {
        let slot = self.find(id)?;
        let old = self.state(slot);
        let marks = self.marks.get_mut(at(slot)).map(std::mem::take).unwrap_or_default();
        self.dictionary.replace(slot, &marks, &[], self.list_max());
        ALL_ORDERS.into_iter().for_each(|by| self.take_from(by, slot));
        self.by_id.remove(|other| self.columns.id(other).cmp(id));
        self.classify(slot, &old.facts, false, None);
        self.live.remove(slot);
        self.free.push(slot);
        Some(Change { slot, old: Some(old), new: None, same_words: false, renamed: false })
    }

    fn vacancy(&mut self) -> u32 {
        self.free.pop().unwrap_or_else(|| {
            self.columns.push();
            self.marks.push(Box::default());
            number(self.columns.len() - 1)
        })
    }

    fn state(&self, slot: u32) -> State {
        let marks = self.marks.get(at(slot)).map(AsRef::as_ref).unwrap_or_default();
        State { facts: self.columns.facts(slot), words: self.dictionary.words(marks) }
    }

    fn take_from(&mut self, by: By, slot: u32) {
        let key = (self.columns.key(by, slot), self.columns.id(slot));
        self.orders.get_mut(by).remove(|other| self.columns.cmp(by, other, &key));
    }

    /// Puts a slot into the sets that its facts ask for, or takes it out, leaving those alone that `other` asks for.
    fn classify(&mut self, slot: u32, facts: &Facts, on: bool, other: Option<&Facts>) {
        if let Some(count) = self.codes.get_mut(usize::from(facts.code())) {
            *count = if on { *count + 1 } else { count.saturating_sub(1) };
        }
        let list_max = self.list_max();
        let groups = [
            (
                self.categories.get_mut(at(facts.category)),
                other.map(|other| other.category) == Some(facts.category),
            ),
            (self.shops.get_mut(at(facts.shop)), other.map(|other| other.shop) == Some(facts.shop)),
        ];
        for (group, same) in groups {
            match group {
                Some(group) if !same && on => group.set.insert(slot, list_max),
                Some(group) if !same => group.set.remove(slot),
                _ => {}
            }
        }
        self.in_stock.set(slot, on && facts.in_stock);
        for (bits, stars) in self.rated.iter_mut().zip(1..) {
            bits.set(slot, on && facts.stars() >= stars);
        }
        for (bits, edge) in self.dear.iter_mut().zip(PRICE_EDGES) {
            bits.set(slot, on && facts.price >= edge);
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        let marks: usize = self.marks.iter().map(|marks| size_of_val(&**marks)).sum();
        let orders: usize = ALL_ORDERS.into_iter().map(|by| self.order(by).bytes()).sum();
        let bits = [&self.live, &self.in_stock].into_iter().chain(&self.rated).chain(&self.dear);
        let groups = self.categories.iter().chain(&self.shops);
        self.columns.bytes()
            + marks
            + self.marks.capacity() * size_of::<Box<[u32]>>()
            + self.free.capacity() * size_of::<u32>()
            + orders
            + self.by_id.bytes()
            + bits.map(Bits::bytes).sum::<usize>()
            // A number, a name and two entries in tables for each.
            + groups.map(|group| group.set.bytes() + group.name.len() + 128).sum::<usize>()
            + self.dictionary.bytes()
    }
}
