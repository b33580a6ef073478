//! What a query asks for, in the table's terms, and which entries answer it.

use std::borrow::Cow;

use crate::query::PRICE_EDGES;
use crate::set::{Bits, Set};
use crate::table::{By, Facts, Table};

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

    /// The entries for which the conditions of these kinds hold, and the words, whose matches are given.
    pub(crate) fn select<'a>(&self, table: &'a Table, words: Option<&'a Set>, kinds: u8) -> Cow<'a, Set> {
        let kinds = kinds & self.kinds();
        let mut sets: Vec<Cow<'a, Set>> = words.map(Cow::Borrowed).into_iter().collect();
        let groups = |chosen: &Option<Vec<u32>>, all: &'a [crate::table::Group]| {
            let chosen = chosen.iter().flatten();
            let sets: Vec<&Set> =
                chosen.filter_map(|group| all.get(crate::set::at(*group))).map(|group| &group.set).collect();
            match sets.as_slice() {
                [one] => Cow::Borrowed(*one),
                several => Cow::Owned(Set::union(several, table.list_max())),
            }
        };
        if kinds & CATEGORY != 0 {
            sets.push(groups(&self.categories, &table.categories));
        }
        if kinds & SHOP != 0 {
            sets.push(groups(&self.shops, &table.shops));
        }
        let few = table.columns.len() / 64;
        sets.sort_by_key(|set| set.len());
        // Few enough to ask each.
        if let Some(some) = sets.first()
            && some.len() <= few
        {
            let more = sets.get(1..).unwrap_or_default();
            let rest = kinds & !(CATEGORY | SHOP);
            if rest == 0 && more.is_empty() {
                return sets.swap_remove(0);
            }
            let chosen = some.iter().filter(|slot| {
                let holds = || {
                    let facts = table.columns.facts(*slot);
                    KINDS.into_iter().all(|kind| rest & kind == 0 || self.holds(kind, &facts))
                };
                more.iter().all(|set| set.contains(*slot)) && (rest == 0 || holds())
            });
            return Cow::Owned(Set::List(chosen.collect()));
        }
        let mut bits: Option<Bits> = None;
        let mut and = |other: &Bits| match &mut bits {
            Some(bits) => bits.and(other),
            None => bits = Some(other.clone()),
        };
        for set in &sets {
            match set.as_ref() {
                Set::Bits(other) => and(other),
                Set::List(list) => and(&list.iter().copied().collect()),
            }
        }
        if kinds & STOCK != 0 {
            and(&table.in_stock);
        }
        if kinds & RATING != 0 {
            and(&rated(table, self.rating));
        }
        if kinds & PRICE != 0
            && let Some((low, high)) = self.price
        {
            and(&priced(table, low, high));
        }
        let bits = bits.unwrap_or_else(|| table.live.clone());
        Cow::Owned(Set::Bits(bits))
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
        return order.forwards(start).take(wanted).collect();
    }
    let edge = PRICE_EDGES.partition_point(|edge| *edge <= low);
    let (mut bits, from) =
        match edge.checked_sub(1).and_then(|nth| table.dear.get(nth).zip(PRICE_EDGES.get(nth))) {
            Some((dear, edge)) => (dear.clone(), below(*edge)),
            None => (table.live.clone(), order.start()),
        };
    order.forwards(from).take(order.distance(from, start)).for_each(|slot| {
        bits.remove(slot);
    });
    let edge = PRICE_EDGES.partition_point(|edge| *edge <= high);
    let to = match table.dear.get(edge).zip(PRICE_EDGES.get(edge)) {
        Some((dear, edge)) => {
            bits.minus(dear);
            below(*edge)
        }
        None => order.end(),
    };
    order.forwards(end).take(order.distance(end, to)).for_each(|slot| {
        bits.remove(slot);
    });
    bits
}
