//! What a query asks for, in the table's terms, and which entries answer it.

use std::borrow::Cow;
use std::cell::OnceCell;

use crate::query::PRICE_EDGES;
use crate::set::{Bits, Set, at};
use crate::table::{By, Facts, Group, Table};

/// The kinds of conditions on facts, each with a bit of its own.
pub(crate) const CATEGORY: u8 = 1;
pub(crate) const SHOP: u8 = 2;
pub(crate) const PRICE: u8 = 4;
pub(crate) const RATING: u8 = 8;
pub(crate) const STOCK: u8 = 16;
pub(crate) const KINDS: [u8; 5] = [CATEGORY, SHOP, PRICE, RATING, STOCK];

#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct Filter {
    pub(crate) words: Vec<String>,
    /// A bit for each word in which slips of the finger are forgiven.
    pub(crate) fuzzy: u16,
    /// In ascending order.
    pub(crate) categories: Option<Vec<u32>>,
    /// In ascending order.
    pub(crate) shops: Option<Vec<u32>>,
    /// The lowest and the highest.
    pub(crate) price: Option<(i64, i64)>,
    pub(crate) rating: u16,
    pub(crate) in_stock: bool,
}

impl Filter {
    /// Only the words.
    pub(crate) fn of_words(words: &[String], fuzzy: u16) -> Self {
        Self { words: words.to_vec(), fuzzy, ..Self::default() }
    }

    /// The kinds it has conditions of.
    pub(crate) fn kinds(&self) -> u8 {
        let set = |on: bool, kind: u8| if on { kind } else { 0 };
        set(self.categories.is_some(), CATEGORY)
            | set(self.shops.is_some(), SHOP)
            | set(self.price.is_some(), PRICE)
            | set(self.rating > 0, RATING)
            | set(self.in_stock, STOCK)
    }

    fn holds(&self, kind: u8, facts: &Facts) -> bool {
        match kind {
            CATEGORY => {
                self.categories.as_ref().is_none_or(|some| some.binary_search(&facts.category).is_ok())
            }
            SHOP => self.shops.as_ref().is_none_or(|some| some.binary_search(&facts.shop).is_ok()),
            PRICE => self.price.is_none_or(|(low, high)| low <= facts.price && facts.price <= high),
            RATING => facts.rating >= self.rating,
            _ => facts.in_stock || !self.in_stock,
        }
    }

    /// The kinds whose condition does not hold.
    pub(crate) fn failing(&self, facts: &Facts) -> u8 {
        KINDS.into_iter().filter(|kind| !self.holds(*kind, facts)).fold(0, |failing, kind| failing | kind)
    }
}

/// The sets that a filter cuts with one another, each made once.
#[derive(Debug)]
pub(crate) struct Selector<'a> {
    table: &'a Table,
    pub(crate) filter: &'a Filter,
    /// What matches the words.
    words: Option<&'a Set>,
    categories: Option<Cow<'a, Set>>,
    shops: Option<Cow<'a, Set>>,
    rated: OnceCell<Cow<'a, Bits>>,
    priced: OnceCell<Bits>,
}

impl<'a> Selector<'a> {
    pub(crate) fn new(table: &'a Table, filter: &'a Filter, words: Option<&'a Set>) -> Self {
        let union = |chosen: &[u32], all: &'a [Group]| {
            let groups = chosen.iter().filter_map(|group| all.get(at(*group)));
            let sets: Vec<&Set> = groups.map(|group| &group.set).collect();
            match sets.as_slice() {
                [one] => Cow::Borrowed(*one),
                several => Cow::Owned(Set::union(several, table.list_max())),
            }
        };
        Self {
            table,
            filter,
            words,
            categories: filter.categories.as_deref().map(|chosen| union(chosen, &table.categories)),
            shops: filter.shops.as_deref().map(|chosen| union(chosen, &table.shops)),
            rated: OnceCell::new(),
            priced: OnceCell::new(),
        }
    }

    /// The entries that match the words, and for which the conditions of these kinds hold.
    pub(crate) fn select(&self, kinds: u8) -> Set {
        let kinds = kinds & self.filter.kinds();
        let mut sets: Vec<&Set> = self.words.into_iter().collect();
        sets.extend(self.categories.as_deref().filter(|_| kinds & CATEGORY != 0));
        sets.extend(self.shops.as_deref().filter(|_| kinds & SHOP != 0));
        sets.sort_by_key(|set| set.len());
        let others = kinds & !(CATEGORY | SHOP);
        match sets.split_first() {
            Some((few, more)) if self.are_few(few) => self.ask(few, more, others),
            _ => self.cut(&sets, others),
        }
    }

    /// Whether it is less work to ask each of them than to cut sets of all entries.
    fn are_few(&self, set: &Set) -> bool {
        set.len() <= self.table.columns.len() / 64
    }

    /// The smallest set that everything selected is in, if it is small, and the kind of condition it stands for.
    pub(crate) fn few(&self) -> Option<(&Set, u8)> {
        let words = self.words.map(|set| (set, 0));
        let categories = self.categories.as_deref().map(|set| (set, CATEGORY));
        let shops = self.shops.as_deref().map(|set| (set, SHOP));
        let smallest = [words, categories, shops].into_iter().flatten().min_by_key(|(set, _)| set.len());
        smallest.filter(|(set, _)| self.are_few(set))
    }

    pub(crate) fn has_words(&self, slot: u32) -> bool {
        self.words.is_none_or(|words| words.contains(slot))
    }

    fn ask(&self, few: &Set, more: &[&Set], kinds: u8) -> Set {
        if more.is_empty() && kinds == 0 {
            return few.clone();
        }
        let mut chosen = Vec::new();
        few.each(|slot| {
            let holds = || {
                let facts = self.table.columns.facts(slot);
                KINDS.into_iter().all(|kind| kinds & kind == 0 || self.filter.holds(kind, &facts))
            };
            if more.iter().all(|set| set.contains(slot)) && (kinds == 0 || holds()) {
                chosen.push(slot);
            }
        });
        Set::List(chosen)
    }

    fn cut(&self, sets: &[&Set], kinds: u8) -> Set {
        let mut bits: Option<Bits> = None;
        let mut and = |other: &Bits| match &mut bits {
            Some(bits) => bits.and(other),
            None => bits = Some(other.clone()),
        };
        for set in sets {
            match set {
                Set::Bits(other) => and(other),
                Set::List(list) => and(&Bits::of(list)),
            }
        }
        if kinds & STOCK != 0 {
            and(&self.table.in_stock);
        }
        if kinds & RATING != 0 {
            and(self.rated.get_or_init(|| rated(self.table, self.filter.rating)));
        }
        if kinds & PRICE != 0
            && let Some((low, high)) = self.filter.price
        {
            and(self.priced.get_or_init(|| priced(self.table, low, high)));
        }
        Set::Bits(bits.unwrap_or_else(|| self.table.live.clone()))
    }
}

fn rated(table: &Table, at_least: u16) -> Cow<'_, Bits> {
    let whole = usize::from(at_least / 100);
    let all = table.rated.len();
    let stars = whole.min(all).checked_sub(1).and_then(|nth| table.rated.get(nth)).unwrap_or(&table.live);
    if at_least.is_multiple_of(100) && whole <= all {
        return Cow::Borrowed(stars);
    }
    Cow::Owned(stars.iter().filter(|slot| table.columns.rating(*slot) >= at_least).collect())
}

/// From the nearest ranges that are kept, and what lies between their ends and those wanted.
fn priced(table: &Table, low: i64, high: i64) -> Bits {
    let order = table.order(By::Price);
    if low > high {
        return Bits::default();
    }
    let below = |price: i64| order.seek(|slot| table.columns.price(slot) < price);
    let up_to = |price: i64| order.seek(|slot| table.columns.price(slot) <= price);
    let (start, end) = (below(low), up_to(high));
    let wanted = order.distance(start, end);
    if wanted <= table.len() / 16 {
        return order.between(start, end).flatten().copied().collect();
    }
    let edge = PRICE_EDGES.partition_point(|edge| *edge <= low);
    let (mut bits, from) =
        match edge.checked_sub(1).and_then(|nth| table.dear.get(nth).zip(PRICE_EDGES.get(nth))) {
            Some((dear, edge)) => (dear.clone(), below(*edge)),
            None => (table.live.clone(), order.start()),
        };
    let remove = |bits: &mut Bits, from, to| {
        for slot in order.between(from, to).flatten() {
            bits.remove(*slot);
        }
    };
    remove(&mut bits, from, start);
    let edge = PRICE_EDGES.partition_point(|edge| *edge <= high);
    let to = match table.dear.get(edge).zip(PRICE_EDGES.get(edge)) {
        Some((dear, edge)) => {
            bits.minus(dear);
            below(*edge)
        }
        None => order.end(),
    };
    remove(&mut bits, end, to);
    bits
}
