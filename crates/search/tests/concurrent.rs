//! Readers beside a writer: each sees the entries as they were at one moment.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use search::{Builder, Entry, Id, Index, Query, Sort};

const ENTRIES: u64 = 150;

fn id(number: u64) -> Id {
    let mut id = [0; 12];
    id[..8].copy_from_slice(&number.to_be_bytes());
    id
}

/// In stock are the odd ones; all have the same price, which is the number of the round.
fn entry(number: u64, round: i64) -> Entry<'static> {
    Entry {
        id: id(number),
        name: if number.is_multiple_of(2) { "even thing" } else { "odd thing" },
        tags: "",
        description: "",
        category: if number.is_multiple_of(3) { "Thirds" } else { "Others" },
        shop: id(number % 7),
        shop_name: "",
        price: round,
        rating: None,
        available: i64::from(!number.is_multiple_of(2)),
        sold: 0,
        newest: 0,
    }
}

fn queries() -> Vec<Query> {
    let words = |q: &str| Query { q: q.to_owned(), limit: 100, ..Query::default() };
    let by_price = Query { sort: Some(Sort::PriceAscending), in_stock: true, ..words("") };
    let thirds = Query { categories: vec!["Thirds".to_owned()], ..words("") };
    vec![words("odd"), words("od thi"), words("thnig"), by_price, thirds, words("")]
}

/// One entry at a time is taken out and put back, in order. So at every moment at most one is missing, and of any two
/// the earlier one is at least as far along.
#[test]
fn every_page_is_true_of_some_moment() {
    let mut builder = Builder::new();
    (0..ENTRIES).for_each(|number| builder.add(&entry(number, 0)));
    let index = builder.build();
    let all: Vec<usize> = queries().iter().map(|query| index.search(query).unwrap().total).collect();
    let (stop, pages) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for reader in 0..3 {
            let (index, stop, pages, all) = (&index, &stop, &pages, &all);
            scope.spawn(move || {
                let queries = queries();
                let mut nth = reader;
                while !stop.load(Ordering::Relaxed) {
                    let which = nth % queries.len();
                    // Now and then one that nobody remembers.
                    let mut query = queries[which].clone();
                    if nth % 50 == 0 {
                        query.max_price = Some(i64::MAX - i64::try_from(nth).unwrap());
                    }
                    let page = index.search(&query).unwrap();
                    assert!((all[which] - 1..=all[which]).contains(&page.total), "{query:?} {}", page.total);
                    let ids: BTreeSet<Id> = page.ids.iter().copied().collect();
                    assert_eq!(ids.len(), page.ids.len());
                    let facets = &page.facets;
                    let by_price: usize = facets.prices.iter().map(|range| range.count).sum();
                    assert_eq!(by_price, page.total);
                    assert_eq!(facets.shops.iter().map(|shop| shop.count).sum::<usize>(), page.total);
                    if !query.in_stock {
                        assert_eq!(facets.in_stock + facets.out_of_stock, page.total);
                    }
                    if query.categories.is_empty() {
                        let sum: usize = facets.categories.iter().map(|category| category.count).sum();
                        assert_eq!(sum, page.total);
                    }
                    pages.fetch_add(1, Ordering::Relaxed);
                    nth += 1;
                }
            });
        }
        let mut round = 0;
        while round < 2 || pages.load(Ordering::Relaxed) < 500 {
            round += 1;
            for number in 0..ENTRIES {
                if number % 3 == 0 {
                    assert!(index.remove(&id(number)));
                    assert!(!index.remove(&id(number)));
                }
                index.insert(&entry(number, round));
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(index.len(), usize::try_from(ENTRIES).unwrap());
    let totals: Vec<usize> = queries().iter().map(|query| index.search(query).unwrap().total).collect();
    assert_eq!(totals, all);
}

#[test]
fn a_load_replaces_everything_at_once() {
    let index = Index::new();
    index.insert(&entry(1, 5));
    assert_eq!(index.search(&Query::default()).unwrap().total, 1);
    let mut builder = Builder::new();
    // The same one twice: the later one counts.
    (0..1_000).chain([10]).for_each(|number| builder.add(&entry(number, i64::from(number == 10))));
    (0..10).for_each(|number| builder.add(&entry(number, 9)));
    index.load(builder);
    let page =
        index.search(&Query { sort: Some(Sort::PriceDescending), limit: 1, ..Query::default() }).unwrap();
    assert_eq!((page.total, page.ids), (1_000, vec![id(9)]));
    let words = index.search(&Query { q: "even".to_owned(), ..Query::default() }).unwrap();
    assert_eq!((words.total, words.facets.in_stock), (500, 0));
    for number in 0..1_000 {
        assert!(index.remove(&id(number)));
    }
    assert!(index.is_empty());
    let stats = index.stats();
    assert_eq!((stats.entries, stats.words), (0, 0));
}
