//! The index beside a list that is read through from one end to the other.

#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test may panic")]

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use search::{Builder, Entry, Error, Facets, Id, Index, MAX_LIMIT, PRICE_EDGES, Page, Query, Sort};

const SORTS: [Sort; 7] = [
    Sort::Relevance,
    Sort::Newest,
    Sort::Oldest,
    Sort::PriceAscending,
    Sort::PriceDescending,
    Sort::Rating,
    Sort::BestSelling,
];

#[derive(Debug, Clone, PartialEq)]
struct Item {
    id: Id,
    name: String,
    tags: String,
    category: String,
    shop: Id,
    price: i64,
    rating: Option<u16>,
    available: i64,
    sold: i64,
    newest: i64,
}

impl Item {
    fn entry(&self) -> Entry<'_> {
        Entry {
            id: self.id,
            name: &self.name,
            tags: &self.tags,
            description: "",
            category: &self.category,
            shop: self.shop,
            shop_name: "",
            price: self.price,
            rating: self.rating,
            available: self.available,
            sold: self.sold,
            newest: self.newest,
        }
    }
}

fn id(number: u16) -> Id {
    let mut id = [0; 12];
    id[..2].copy_from_slice(&number.to_le_bytes());
    id
}

fn distance(a: &[char], b: &[char]) -> usize {
    let mut d = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            d[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let swap = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
                (d[i - 1][j] + 1)
                    .min(d[i][j - 1] + 1)
                    .min(d[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]))
                    .min(if swap { d[i - 2][j - 2] + 1 } else { usize::MAX })
            };
        }
    }
    d[a.len()][b.len()]
}

fn edits(word: &str) -> usize {
    match word.len() {
        _ if word.contains(|char: char| char.is_ascii_digit()) => 0,
        0..=3 => 0,
        4..=7 => 1,
        _ => 2,
    }
}

fn near(word: &str, other: &str) -> bool {
    let (a, b): (Vec<char>, Vec<char>) = (word.chars().collect(), other.chars().collect());
    let beginnings = (a.len()..=b.len()).any(|end| distance(&a, &b[..end]) <= edits(word));
    edits(word) > 0 && a[0] == b[0] && (beginnings || distance(&a, &b) <= edits(word))
}

/// How well an item matches; `fuzzy` are the words in which slips are forgiven.
fn level(item: &Item, words: &[&str], fuzzy: &BTreeSet<&str>) -> Option<usize> {
    let others = format!("{} {}", item.tags, item.category).to_lowercase();
    let name = item.name.to_lowercase();
    let has = |text: &str, test: &dyn Fn(&str) -> bool| text.split_whitespace().any(test);
    let of = |word: &str| {
        if has(&name, &|other| other == word) {
            Some(0)
        } else if has(&name, &|other| other.starts_with(word)) {
            Some(1)
        } else if has(&others, &|other| other.starts_with(word)) {
            Some(2)
        } else if fuzzy.contains(word) && has(&name, &|other| near(word, other)) {
            Some(3)
        } else {
            (fuzzy.contains(word) && has(&others, &|other| near(word, other))).then_some(4)
        }
    };
    words.iter().map(|word| of(word)).try_fold(0, |worst, level| level.map(|level| level.max(worst)))
}

type Model = BTreeMap<Id, Item>;

/// All that matches, in order, and the counts.
fn expected(model: &Model, query: &Query) -> (Vec<Id>, Facets) {
    let text = query.q.to_lowercase();
    let words: Vec<&str> = text.split_whitespace().collect();
    let none: BTreeSet<&str> = BTreeSet::new();
    let found = |word: &str| model.values().any(|item| level(item, &[word], &none).is_some());
    let mut fuzzy: BTreeSet<&str> =
        words.iter().copied().filter(|word| edits(word) > 0 && !found(word)).collect();
    if model.values().all(|item| level(item, &words, &fuzzy).is_none()) {
        fuzzy = words.iter().copied().filter(|word| edits(word) > 0).collect();
    }
    let conditions = |item: &Item| {
        [
            query.categories.is_empty() || query.categories.contains(&item.category),
            query.shops.is_empty() || query.shops.contains(&item.shop),
            query.min_price.is_none_or(|low| low <= item.price)
                && query.max_price.is_none_or(|high| high >= item.price),
            item.rating.unwrap_or(0) >= query.min_rating.unwrap_or(0),
            !query.in_stock || item.available > 0,
        ]
    };
    let mut rows: Vec<(usize, &Item)> = Vec::new();
    let mut facets = Facets::default();
    let mut categories: BTreeMap<&str, usize> = BTreeMap::new();
    let mut shops: BTreeMap<Id, usize> = BTreeMap::new();
    let mut prices = [0; PRICE_EDGES.len() + 1];
    let mut ratings = [0; 4];
    for item in model.values() {
        let Some(level) = level(item, &words, &fuzzy) else { continue };
        let hold = conditions(item);
        let but = |nth: usize| hold.iter().enumerate().all(|(other, holds)| other == nth || *holds);
        if but(usize::MAX) {
            rows.push((level, item));
        }
        if but(0) {
            *categories.entry(&item.category).or_default() += 1;
        }
        if but(1) {
            *shops.entry(item.shop).or_default() += 1;
        }
        if but(2) {
            prices[PRICE_EDGES.iter().filter(|edge| **edge <= item.price).count()] += 1;
        }
        if but(3) {
            for (count, stars) in ratings.iter_mut().zip(1..) {
                *count += usize::from(item.rating.unwrap_or(0) >= stars * 100);
            }
        }
        if but(4) {
            facets.in_stock += usize::from(item.available > 0);
            facets.out_of_stock += usize::from(item.available <= 0);
        }
    }
    let mut categories: Vec<_> = categories.into_iter().collect();
    categories.sort_by_key(|(name, count)| (Reverse(*count), *name));
    facets.categories = categories
        .into_iter()
        .map(|(category, count)| search::CategoryCount { category: category.into(), count })
        .collect();
    let mut shops: Vec<_> = shops.into_iter().collect();
    shops.sort_by_key(|(id, count)| (Reverse(*count), *id));
    facets.shops = shops
        .into_iter()
        .take(20)
        .map(|(shop, count)| search::ShopCount { shop, name: "".into(), count })
        .collect();
    let ends: Vec<Option<i64>> = [None].into_iter().chain(PRICE_EDGES.map(Some)).chain([None]).collect();
    facets.prices = prices
        .iter()
        .zip(ends.windows(2))
        .map(|(count, ends)| search::PriceCount { from: ends[0], below: ends[1], count: *count })
        .collect();
    facets.ratings = ratings
        .iter()
        .zip(1..)
        .map(|(count, stars)| search::RatingCount { at_least: stars * 100, count: *count })
        .collect();

    let sort = match query.sort {
        None | Some(Sort::Relevance) if words.is_empty() => Sort::Newest,
        sort => sort.unwrap_or(Sort::Relevance),
    };
    rows.sort_by_key(|(level, item)| {
        let rating = i64::from(item.rating.unwrap_or(0));
        let ascending = |key: i64| (0, (key, item.id), Reverse((0, id(0))));
        let descending = |level: usize, key: i64| (level, (0, id(0)), Reverse((key, item.id)));
        match sort {
            Sort::Relevance => descending(*level, item.newest),
            Sort::Newest => descending(0, item.newest),
            Sort::Oldest => ascending(item.newest),
            Sort::PriceAscending => ascending(item.price),
            Sort::PriceDescending => descending(0, item.price),
            Sort::Rating => descending(0, rating),
            Sort::BestSelling => descending(0, item.sold),
        }
    });
    (rows.into_iter().map(|(_, item)| item.id).collect(), facets)
}

fn word() -> impl Strategy<Value = String> {
    prop_oneof!["[ab][abc]{0,2}", "[ab][abc]{3,8}", Just("Shoes".to_owned()), Just("headphones".to_owned())]
}

fn text(most: usize) -> impl Strategy<Value = String> {
    proptest::collection::vec(word(), 0..=most).prop_map(|words| words.join(" "))
}

fn item() -> impl Strategy<Value = Item> {
    item_of(60)
}

fn item_of(ids: u16) -> impl Strategy<Value = Item> {
    let price = prop_oneof![-10i64..10, 0i64..1_000, 0i64..600_000, Just(500i64), Just(i64::MAX)];
    let rating = prop_oneof![Just(None), (0u16..=500).prop_map(Some), (0u16..=5).prop_map(|n| Some(n * 100))];
    (
        (0..ids, text(4), text(2), "[ABC]", 0u16..25),
        (price, rating, -1i64..3, 0i64..6, prop_oneof![0i64..8, Just(i64::MIN), Just(i64::MAX)]),
    )
        .prop_map(|((number, name, tags, category, shop), (price, rating, available, sold, newest))| {
            Item {
                id: id(number),
                name,
                tags,
                category,
                shop: id(shop),
                price,
                rating,
                available,
                sold,
                newest,
            }
        })
}

#[derive(Debug, Clone)]
enum Write {
    Put(Item),
    /// Changes nothing but what is sold and what is left, as most writes do.
    Sell(u16),
    Remove(u16),
}

fn write() -> impl Strategy<Value = Write> {
    prop_oneof![
        4 => item().prop_map(Write::Put),
        2 => (0u16..60).prop_map(Write::Sell),
        2 => (0u16..60).prop_map(Write::Remove),
    ]
}

fn apply(index: &Index, model: &mut Model, write: &Write) {
    match write {
        Write::Put(item) => {
            index.insert(&item.entry());
            model.insert(item.id, item.clone());
        }
        Write::Sell(number) => {
            if let Some(item) = model.get_mut(&id(*number)) {
                item.sold += 1;
                item.available -= 1;
                index.insert(&item.entry());
            }
        }
        Write::Remove(number) => {
            assert_eq!(index.remove(&id(*number)), model.remove(&id(*number)).is_some());
        }
    }
}

fn query() -> impl Strategy<Value = Query> {
    let q = prop_oneof![
        3 => Just(String::new()),
        4 => text(2),
        1 => Just("sheos".to_owned()),
        1 => Just("hedphoens a".to_owned()),
    ];
    let price = || proptest::option::weighted(0.3, prop_oneof![-10i64..1_000, 0i64..600_000, Just(500i64)]);
    (
        (q, proptest::collection::vec("[ABCD]", 0..3), proptest::collection::vec(0u16..30, 0..3)),
        (price(), price(), proptest::option::weighted(0.3, 0u16..600), any::<bool>()),
        (proptest::option::of(proptest::sample::select(SORTS.to_vec())), 1usize..20),
    )
        .prop_map(
            |((q, categories, shops), (min_price, max_price, min_rating, in_stock), (sort, limit))| Query {
                q,
                categories,
                shops: shops.into_iter().map(id).collect(),
                min_price,
                max_price,
                min_rating,
                in_stock,
                sort,
                limit,
                cursor: None,
            },
        )
}

/// All pages of a query.
fn walk(index: &Index, query: &Query) -> Vec<Page> {
    let mut query = query.clone();
    let mut pages = Vec::new();
    loop {
        let page = index.search(&query).unwrap();
        query.cursor.clone_from(&page.next);
        pages.push(page);
        assert!(pages.len() <= index.len() + 1, "it goes on for ever");
        if query.cursor.is_none() {
            return pages;
        }
    }
}

fn compare(index: &Index, model: &Model, query: &Query) {
    let (ids, facets) = expected(model, query);
    let pages = walk(index, query);
    let walked: Vec<Id> = pages.iter().flat_map(|page| page.ids.iter().copied()).collect();
    assert_eq!(walked, ids, "{query:?}");
    for page in &pages {
        assert_eq!(page.total, ids.len());
        assert_eq!(*page.facets, facets, "{query:?}");
    }
    let full = pages.len() - 1;
    assert!(pages.iter().take(full).all(|page| page.ids.len() == query.limit));
}

fn built(items: &[Item]) -> (Index, Model) {
    let mut builder = Builder::new();
    items.iter().for_each(|item| builder.add(&item.entry()));
    assert_eq!(builder.len(), items.len());
    (builder.build(), items.iter().map(|item| (item.id, item.clone())).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Some queries are asked before, between and after the writes, so that their views are kept up through them.
    #[test]
    fn every_page_total_and_count_is_that_of_the_list(
        items in proptest::collection::vec(item(), 0..80),
        writes in proptest::collection::vec(write(), 0..40),
        queries in proptest::collection::vec(query(), 1..6),
        later in query(),
    ) {
        let (index, mut model) = built(&items);
        for (nth, write) in writes.iter().enumerate() {
            if nth % 10 == 0 {
                queries.iter().for_each(|query| compare(&index, &model, query));
            }
            apply(&index, &mut model, write);
        }
        assert_eq!(index.len(), model.len());
        queries.iter().chain([&later]).for_each(|query| compare(&index, &model, query));
        let forgetful = index.with_view_bytes(0);
        queries.iter().for_each(|query| compare(&forgetful, &model, query));
    }

    /// What is not touched during a walk is met exactly once.
    #[test]
    fn a_walk_meets_everything_once_while_others_come_and_go(
        items in proptest::collection::vec(item(), 20..80),
        writes in proptest::collection::vec(write(), 0..40),
        mut query in query(),
    ) {
        query.limit = query.limit.min(4);
        let (index, mut model) = built(&items);
        let mut untouched: BTreeSet<Id> = expected(&model, &query).0.into_iter().collect();
        let mut met: Vec<Id> = Vec::new();
        let mut writes = writes.iter();
        loop {
            let page = index.search(&query).unwrap();
            met.extend(&page.ids);
            prop_assert!(met.len() <= 1_000, "it goes on for ever");
            let Some(next) = page.next else { break };
            query.cursor = Some(next);
            for write in writes.by_ref().take(3) {
                let before = model.clone();
                apply(&index, &mut model, write);
                untouched.retain(|id| before.get(id) == model.get(id));
            }
        }
        for id in untouched {
            prop_assert_eq!(met.iter().filter(|other| **other == id).count(), 1);
        }
    }

    #[test]
    fn no_text_makes_it_stumble(q in "\\PC{0,80}|[\\x00-\\x7f]{0,80}|(é|手|ß|'|-| ){0,300}", name in "\\PC{0,60}") {
        let item = Item {
            id: id(1), name: name.clone(), tags: q.clone(), category: q.clone(), shop: id(2), price: 0, rating: None,
            available: 0, sold: 0, newest: 0,
        };
        let index = Index::new();
        index.insert(&item.entry());
        for q in [q, name] {
            let page = index.search(&Query { q, ..Query::default() }).unwrap();
            prop_assert!(page.total <= 1);
        }
        prop_assert!(index.remove(&item.id) && index.is_empty());
        prop_assert_eq!(index.stats().words, 0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3))]

    /// Enough entries for every form that sets and plans take.
    #[test]
    fn it_is_the_same_with_thousands(
        items in proptest::collection::vec(item_of(u16::MAX), 1_200..1_500),
        writes in proptest::collection::vec(item_of(u16::MAX).prop_map(Write::Put), 20..40),
        queries in proptest::collection::vec(query(), 15),
    ) {
        let (index, mut model) = built(&items);
        let queries: Vec<Query> = queries.into_iter().map(|query| Query { limit: 100, ..query }).collect();
        queries.iter().for_each(|query| compare(&index, &model, query));
        writes.iter().for_each(|write| apply(&index, &mut model, write));
        for item in items.iter().step_by(100) {
            apply(&index, &mut model, &Write::Put(Item { price: item.price / 2, ..item.clone() }));
        }
        queries.iter().for_each(|query| compare(&index, &model, query));
    }
}

#[test]
fn what_cannot_be_asked_for_is_refused() {
    let (index, _) = built(&[]);
    for limit in [0, MAX_LIMIT + 1, usize::MAX] {
        assert_eq!(index.search(&Query { limit, ..Query::default() }).unwrap_err(), Error::Limit);
    }
    for cursor in ["", "x", "é", &"0".repeat(66), &"f".repeat(100_000)] {
        let query = Query { cursor: Some(cursor.to_owned()), ..Query::default() };
        assert_eq!(index.search(&query).unwrap_err(), Error::Cursor);
    }
}

#[test]
fn huge_texts_are_cut() {
    let long = "x".repeat(1_000_000);
    let many: String = (0..200_000).map(|n| format!("w{n} ")).collect();
    let index = Index::new();
    let item = Item {
        id: id(1),
        name: many.clone(),
        tags: long.clone(),
        category: String::new(),
        shop: id(2),
        price: i64::MIN,
        rating: Some(u16::MAX),
        available: i64::MAX,
        sold: i64::MIN,
        newest: i64::MIN,
    };
    index.insert(&item.entry());
    assert_eq!(index.stats().words, 33);
    for q in [long, many, "-".repeat(1_000_000)] {
        assert_eq!(
            index.search(&Query { q, min_rating: Some(u16::MAX), ..Query::default() }).unwrap().total,
            1
        );
    }
}
