//! What a filter selects, and the counts that go with it, kept true through writes.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::sync::{Arc, OnceLock};

use crate::dictionary::{Level, Wanted, Word};
use crate::filter::{CATEGORY, Filter, KINDS, PRICE, RATING, SHOP, STOCK, Selector};
use crate::query::{
    CategoryCount, Facets, MAX_CATEGORIES, MAX_SHOPS, PRICE_EDGES, PriceCount, RatingCount, ShopCount,
};
use crate::set::{Bits, Set, at, intersection};
use crate::table::{Change, Facts, Group, PRICES, STARS, State, Table, decode};

/// A selection may be walked in an order, asking of each entry whether it is selected: beyond this, it is bits.
const LIST_MAX: usize = 2_048;

/// Numbers and how many there are of each, in ascending order, none of them zero.
#[derive(Debug, Default)]
struct Tally(Vec<(u32, u32)>);

impl Tally {
    fn change(&mut self, number: u32, more: bool) {
        let place = self.0.binary_search_by_key(&number, |(number, _)| *number);
        match (place, more) {
            (Ok(place), true) => {
                if let Some((_, count)) = self.0.get_mut(place) {
                    *count += 1;
                }
            }
            (Ok(place), false) => {
                if let Some((_, count)) = self.0.get_mut(place) {
                    *count = count.saturating_sub(1);
                    if *count == 0 {
                        self.0.remove(place);
                    }
                }
            }
            (Err(place), true) => self.0.insert(place, (number, 1)),
            (Err(_), false) => {}
        }
    }

    fn of(counts: &[u32]) -> Self {
        Self(
            (0..)
                .zip(counts)
                .filter(|(_, count)| **count > 0)
                .map(|(number, count)| (number, *count))
                .collect(),
        )
    }
}

#[derive(Debug, Default)]
struct Counts {
    categories: Tally,
    shops: Tally,
    prices: [u32; PRICES],
    stars: [u32; STARS],
    /// Without and with.
    stock: [u32; 2],
}

impl Counts {
    /// Counts an entry, or no longer, in these kinds.
    fn change(&mut self, facts: &Facts, kinds: u8, more: bool) {
        if kinds & CATEGORY != 0 {
            self.categories.change(facts.category, more);
        }
        if kinds & SHOP != 0 {
            self.shops.change(facts.shop, more);
        }
        if kinds & PRICE != 0 {
            step(self.prices.get_mut(facts.price_range()), more);
        }
        if kinds & RATING != 0 {
            step(self.stars.get_mut(facts.stars()), more);
        }
        if kinds & STOCK != 0 {
            step(self.stock.get_mut(usize::from(facts.in_stock)), more);
        }
    }

    /// Looks at each of a few, which are all that can match. Says which do, and counts those of which one condition
    /// does not hold with its kind.
    fn judge(&mut self, table: &Table, selector: &Selector<'_>, few: &Set) -> Set {
        let mut matches = Vec::new();
        let (mut categories, mut shops) = (vec![0u32; table.categories.len()], vec![0u32; table.shops.len()]);
        few.each(|slot| {
            let facts = table.columns.facts(slot);
            let failing = selector.filter.failing(&facts);
            if failing.count_ones() > 1 || !selector.has_words(slot) {
                return;
            }
            if failing == 0 {
                matches.push(slot);
            }
            if failing & !CATEGORY == 0 {
                step(categories.get_mut(at(facts.category)), true);
            }
            if failing & !SHOP == 0 {
                step(shops.get_mut(at(facts.shop)), true);
            }
            self.change(
                &facts,
                if failing == 0 { PRICE | RATING | STOCK } else { failing & !(CATEGORY | SHOP) },
                true,
            );
        });
        (self.categories, self.shops) = (Tally::of(&categories), Tally::of(&shops));
        Set::List(matches)
    }

    /// Counts the whole of a set in these kinds.
    fn add(&mut self, table: &Table, set: &Set, kinds: u8) {
        // Where most are selected, it is less work to count the others.
        let others = (set.len() > table.len() / 2).then(|| {
            if set.len() == table.len() {
                return Set::default();
            }
            let mut others = table.live.clone();
            match set {
                Set::Bits(bits) => others.minus(bits),
                Set::List(list) => list.iter().for_each(|slot| {
                    others.remove(*slot);
                }),
            }
            Set::Bits(others)
        });
        let counted = others.as_ref().unwrap_or(set);
        let inverted = others.is_some();
        // A single kind of few values: how much its sets have in common with this one.
        if let Set::Bits(bits) = counted
            && (kinds == STOCK || kinds == RATING)
        {
            return self.add_common(table, set.len(), bits, inverted, kinds);
        }
        let (mut categories, mut shops) = (vec![0u32; table.categories.len()], vec![0u32; table.shops.len()]);
        let mut codes = [0u32; 256];
        match kinds {
            CATEGORY => counted.each(|slot| {
                step(categories.get_mut(at(table.columns.counted(slot).category())), true);
            }),
            SHOP => counted.each(|slot| step(shops.get_mut(at(table.columns.counted(slot).shop)), true)),
            _ => counted.each(|slot| {
                let entry = table.columns.counted(slot);
                step(categories.get_mut(at(entry.category())), true);
                step(shops.get_mut(at(entry.shop)), true);
                step(codes.get_mut(usize::from(entry.code())), true);
            }),
        }
        let sizes = |groups: &[Group]| groups.iter().map(|group| crate::set::slot(group.set.len())).collect();
        if kinds & CATEGORY != 0 {
            self.categories = Tally::of(&all_but(inverted, || sizes(&table.categories), categories));
        }
        if kinds & SHOP != 0 {
            self.shops = Tally::of(&all_but(inverted, || sizes(&table.shops), shops));
        }
        if kinds & (PRICE | RATING | STOCK) == 0 {
            return;
        }
        for (code, count) in all_but(inverted, || table.codes.clone(), codes.to_vec()).into_iter().enumerate()
        {
            let (price, stars, stock) = decode(code);
            let places = [
                (PRICE, self.prices.get_mut(price)),
                (RATING, self.stars.get_mut(stars)),
                (STOCK, self.stock.get_mut(stock)),
            ];
            for (kind, place) in places {
                if let Some(place) = place.filter(|_| kinds & kind != 0) {
                    *place += count;
                }
            }
        }
    }

    /// Counts `len` entries that are these, or all but these, by stock or by stars.
    fn add_common(&mut self, table: &Table, len: usize, bits: &Bits, inverted: bool, kind: u8) {
        let with = |own: &Bits| {
            let common = bits.common(own);
            crate::set::slot(if inverted { own.len().saturating_sub(common) } else { common })
        };
        let len = crate::set::slot(len);
        if kind == STOCK {
            let in_stock = with(&table.in_stock);
            self.stock = [len.saturating_sub(in_stock), in_stock];
            return;
        }
        let mut at_least = len;
        let fewer = table.rated.iter().map(with).chain([0]);
        for (count, fewer) in self.stars.iter_mut().zip(fewer) {
            *count = at_least.saturating_sub(fewer);
            at_least = fewer;
        }
    }
}

fn step(count: Option<&mut u32>, more: bool) {
    if let Some(count) = count {
        *count = if more { *count + 1 } else { count.saturating_sub(1) };
    }
}

/// The counts, or what is left without them.
fn all_but(inverted: bool, all: impl FnOnce() -> Vec<u32>, counts: Vec<u32>) -> Vec<u32> {
    if !inverted {
        return counts;
    }
    all().into_iter().zip(counts).map(|(all, count)| all.saturating_sub(count)).collect()
}

#[derive(Debug)]
pub(crate) struct View {
    pub(crate) filter: Filter,
    pub(crate) matches: Set,
    /// The matches by how well they match the words, best first; empty without words.
    pub(crate) levels: Vec<Set>,
    counts: Counts,
    /// Made from the counts when somebody asks.
    facets: OnceLock<Arc<Facets>>,
}

impl View {
    /// Looks everything up. If there are words and other conditions, needs the view of the words alone.
    pub(crate) fn compute(table: &Table, filter: Filter, words: Option<&Self>) -> Self {
        let levels = match words {
            None => levels(table, &filter),
            Some(_) => Vec::new(),
        };
        let found = words.map(|words| &words.matches).or(levels.last());
        let found = (!filter.words.is_empty()).then_some(found).flatten();
        let list_max = LIST_MAX.min(table.list_max());
        let active = filter.kinds();
        let selector = Selector::new(table, &filter, found);
        let mut counts = Counts::default();
        let (matches, left) = match selector.few() {
            Some((few, kind)) => (counts.judge(table, &selector, few), active & kind),
            None => {
                let matches = selector.select(active);
                counts.add(table, &matches, !active);
                (matches, active)
            }
        };
        for kind in KINDS.into_iter().filter(|kind| left & kind != 0) {
            counts.add(table, &selector.select(active & !kind), kind);
        }
        let matches = matches.fitted(list_max);
        let levels = match words {
            None => levels
                .iter()
                .enumerate()
                .map(|(level, set)| {
                    let better = level.checked_sub(1).and_then(|better| levels.get(better));
                    better.map_or_else(|| set.clone(), |better| set.minus(better)).fitted(list_max)
                })
                .collect(),
            Some(words) => words.levels.iter().map(|set| set.and(&matches).fitted(list_max)).collect(),
        };
        Self { filter, matches, levels, counts, facets: OnceLock::new() }
    }

    /// Takes a write into account.
    pub(crate) fn apply(&mut self, change: &Change) {
        if change.renamed {
            self.facets.take();
        }
        let filter = std::mem::take(&mut self.filter);
        self.follow(change, &filter);
        self.filter = filter;
    }

    fn follow(&mut self, change: &Change, filter: &Filter) {
        let mut known: Option<Option<Level>> = None;
        let mut level = |words: &[Word]| match known {
            _ if filter.words.is_empty() => Some(0),
            Some(level) if change.same_words => level,
            _ => *known.insert(Wanted::new(&filter.words, filter.fuzzy).level(words)),
        };
        let mut judge = |state: &Option<State>| -> Option<(Facts, u8, Level)> {
            let state = state.as_ref()?;
            let failing = filter.failing(&state.facts);
            if failing.count_ones() > 1 {
                return None;
            }
            Some((state.facts, failing, level(&state.words)?))
        };
        let (old, new) = (judge(&change.old), judge(&change.new));
        if old == new {
            return;
        }
        for (judged, more) in [(old, false), (new, true)] {
            let Some((facts, failing, level)) = judged else { continue };
            self.facets.take();
            // Where one condition fails, the entry still counts for its kind.
            self.counts.change(&facts, if failing == 0 { u8::MAX } else { failing }, more);
            if failing != 0 {
                continue;
            }
            for set in [Some(&mut self.matches), self.levels.get_mut(level)].into_iter().flatten() {
                if more { set.insert(change.slot, LIST_MAX) } else { set.remove(change.slot) }
            }
        }
    }

    pub(crate) fn facets(&self, table: &Table) -> Arc<Facets> {
        Arc::clone(self.facets.get_or_init(|| Arc::new(self.write_facets(table))))
    }

    fn write_facets(&self, table: &Table) -> Facets {
        let counts = &self.counts;
        let mut categories: Vec<CategoryCount> = counts
            .categories
            .0
            .iter()
            .filter_map(|(category, count)| {
                let category = Arc::clone(&table.categories.get(at(*category))?.name);
                Some(CategoryCount { category, count: at(*count) })
            })
            .collect();
        categories.sort_unstable_by(|a, b| b.count.cmp(&a.count).then_with(|| a.category.cmp(&b.category)));
        categories.truncate(MAX_CATEGORIES);
        let mut shops: Vec<_> = counts
            .shops
            .0
            .iter()
            .filter_map(|(shop, count)| Some((Reverse(*count), *table.shop_ids.get(at(*shop))?, *shop)))
            .collect();
        if shops.len() > MAX_SHOPS {
            shops.select_nth_unstable(MAX_SHOPS);
            shops.truncate(MAX_SHOPS);
        }
        shops.sort_unstable();
        let shops = shops.into_iter().filter_map(|(Reverse(count), id, shop)| {
            let name = Arc::clone(&table.shops.get(at(shop))?.name);
            Some(ShopCount { shop: id, name, count: at(count) })
        });
        let from = [None].into_iter().chain(PRICE_EDGES.map(Some));
        let below = PRICE_EDGES.map(Some).into_iter().chain([None]);
        let prices = from.zip(below).zip(counts.prices);
        let prices = prices.map(|((from, below), count)| PriceCount { from, below, count: at(count) });
        let ratings = (1..5u16).map(|stars| {
            let count = counts.stars.iter().skip(usize::from(stars)).map(|count| at(*count)).sum();
            RatingCount { at_least: stars * 100, count }
        });
        let [out_of_stock, in_stock] = counts.stock.map(at);
        Facets {
            categories,
            shops: shops.collect(),
            prices: prices.collect(),
            ratings: ratings.collect(),
            in_stock,
            out_of_stock,
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        let sets: usize = self.levels.iter().chain([&self.matches]).map(Set::bytes).sum();
        let tallies = self.counts.categories.0.capacity() + self.counts.shops.0.capacity();
        sets + tallies * size_of::<(u32, u32)>() + size_of::<Self>() + 4_096
    }
}

/// For each level, the entries that match all the words at least so well.
fn levels(table: &Table, filter: &Filter) -> Vec<Set> {
    let by_word: Vec<_> = (0..)
        .zip(&filter.words)
        .map(|(nth, word)| table.dictionary.levels(word, filter.fuzzy >> nth & 1 == 1, table.list_max()))
        .collect();
    let most = by_word.iter().map(Vec::len).max().unwrap_or(0);
    (0..most)
        .map(|level| {
            let sets: Vec<_> = by_word
                .iter()
                .filter_map(|sets| sets.get(level).or(sets.last()))
                .map(|set| Cow::Borrowed(set.as_ref()))
                .collect();
            intersection(&sets).fitted(LIST_MAX)
        })
        .collect()
}
