//! How fast the index is, and how large: `cargo run --release -p search --example measure [entries]…`
//!
//! Made-up catalogues: names of two to six words, of which some are common and most are rare, one name in five with a
//! model number of its own; 30 categories, a shop for 200 entries, most of it in stock, half of it rated.
//!
//! A *remembered* query was asked for before, by anybody; with a *new* one everything is looked up.

#![expect(clippy::print_stdout, reason = "it is there to print")]

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use search::{Builder, Entry, Id, Index, Query, Sort};

const CATEGORIES: u64 = 30;
const SYLLABLES: [&str; 24] = [
    "ba", "ce", "di", "fo", "gu", "ha", "ki", "lo", "ma", "ne", "po", "ra", "se", "ti", "vu", "wa", "ly",
    "mar", "ton", "ster", "phi", "gren", "ock", "ul",
];

/// SplitMix64: the same numbers on every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// Small numbers much more often than large ones: each octave is equally likely.
    fn skewed(&mut self, end: u64) -> u64 {
        let octaves = u64::from(end.ilog2()) + 1;
        let shift = self.below(octaves);
        (1u64 << shift).saturating_sub(1).saturating_add(self.below(1 << shift)).min(end - 1)
    }

    fn word(&mut self, vocabulary: u64) -> String {
        word(self.skewed(vocabulary))
    }
}

/// The word with this rank.
fn word(rank: u64) -> String {
    let mut mixed = Random(rank);
    let count = 2 + mixed.below(3);
    (0..count).map(|_| SYLLABLES.get(small(mixed.below(24))).copied().unwrap_or("a")).collect()
}

fn small(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn id(number: u64) -> Id {
    let mut id = *b"\0\0\0\0product!";
    for (place, byte) in id.iter_mut().zip(number.to_be_bytes().into_iter().skip(4)) {
        *place = byte;
    }
    id
}

/// What the texts of an entry are borrowed from.
struct Product {
    number: u64,
    name: String,
    tags: String,
    description: String,
    category: String,
    shop: u64,
    shop_name: String,
    price: i64,
    rating: Option<u16>,
    available: i64,
    sold: i64,
}

impl Product {
    fn new(number: u64, entries: u64, described: bool) -> Self {
        let mut random = Random(number ^ 0x50_u64.rotate_left(40));
        let vocabulary = (entries / 10).clamp(2_000, 100_000);
        let mut words = |count: u64| {
            let words: Vec<String> = (0..count).map(|_| random.word(vocabulary)).collect();
            words.join(" ")
        };
        let mut name = words(2 + number % 5);
        let tags = words(1 + number % 3);
        let description = if described { words(40) } else { String::new() };
        if random.below(5) == 0 {
            name.push_str(&format!(" X{number}"));
        }
        let shop = random.below((entries / 200).max(5));
        let octave = random.below(10);
        Self {
            number,
            name,
            tags,
            description,
            category: format!("Category {}", random.skewed(CATEGORIES)),
            shop,
            shop_name: format!("Shop of {}", word(shop)),
            price: signed((500 << octave) + random.below(500 << octave)) / 4,
            rating: (random.below(2) == 0).then(|| u16::try_from(100 + random.below(401)).unwrap_or(100)),
            available: if random.below(8) == 0 { 0 } else { signed(random.below(100)) },
            sold: signed(random.skewed(10_000)),
        }
    }

    fn entry(&self) -> Entry<'_> {
        Entry {
            id: id(self.number),
            name: &self.name,
            tags: &self.tags,
            description: &self.description,
            category: &self.category,
            shop: shop(self.shop),
            shop_name: &self.shop_name,
            price: self.price,
            rating: self.rating,
            available: self.available,
            sold: self.sold,
            newest: 1_700_000_000_000 + signed(self.number) * 1_000,
        }
    }
}

fn shop(number: u64) -> Id {
    let mut id = id(number);
    if let Some(last) = id.last_mut() {
        *last = b'S';
    }
    id
}

fn sort(random: &mut Random) -> Option<Sort> {
    [
        None,
        Some(Sort::PriceAscending),
        Some(Sort::PriceDescending),
        Some(Sort::Rating),
        Some(Sort::BestSelling),
    ]
    .get(small(random.below(5)))
    .copied()
    .flatten()
}

fn category(random: &mut Random) -> Vec<String> {
    vec![format!("Category {}", random.skewed(CATEGORIES))]
}

type Kind = (&'static str, fn(&mut Random, u64) -> Query);

/// Each asks for a page of 50 with counts and total.
const KINDS: [Kind; 11] = [
    ("everything, any order", |random, _| Query { sort: sort(random), ..Query::default() }),
    ("category, in stock, any order", |random, _| Query {
        categories: category(random),
        in_stock: true,
        sort: sort(random),
        ..Query::default()
    }),
    ("category, price range, 4 stars, any order", |random, _| {
        let low = [1_000, 5_000, 20_000].get(small(random.below(3))).copied().unwrap_or(0);
        Query {
            categories: category(random),
            min_price: Some(low),
            max_price: Some(low * 5),
            min_rating: Some(400),
            sort: sort(random),
            ..Query::default()
        }
    }),
    ("any price range, in stock, any order", |random, _| {
        let low = signed(random.skewed(60_000));
        Query {
            min_price: Some(low),
            max_price: Some(low + signed(random.skewed(60_000))),
            in_stock: true,
            sort: sort(random),
            ..Query::default()
        }
    }),
    ("shop, any order", |random, entries| Query {
        shops: vec![shop(random.below((entries / 200).max(5)))],
        sort: sort(random),
        ..Query::default()
    }),
    ("a common word", |random, _| Query { q: word(random.below(20)), ..Query::default() }),
    ("two words", |random, _| Query {
        q: format!("{} {}", word(random.below(200)), word(random.below(200))),
        ..Query::default()
    }),
    ("a word being typed", |random, _| {
        let word = word(random.below(1_000));
        let letters = 1 + random.below(4);
        Query { q: word.chars().take(small(letters)).collect(), ..Query::default() }
    }),
    ("a word and the beginning of one, category, by price", |random, _| Query {
        q: format!(
            "{} {}",
            word(random.below(50)),
            word(random.below(1_000)).chars().take(3).collect::<String>()
        ),
        categories: category(random),
        sort: Some(Sort::PriceAscending),
        ..Query::default()
    }),
    ("a word with two letters swapped", |random, _| {
        let mut letters: Vec<char> = word(random.below(1_000)).chars().collect();
        if letters.len() > 4 {
            letters.swap(2, 3);
        }
        Query { q: letters.into_iter().collect(), ..Query::default() }
    }),
    ("a word that does not exist", |random, _| Query {
        q: format!("q{}zq", word(random.next())),
        ..Query::default()
    }),
];

struct Times(Vec<Duration>);

impl Times {
    fn line(mut self, what: &str) {
        self.0.sort_unstable();
        let at = |percent: usize| {
            let index = (self.0.len() * percent / 1_000).min(self.0.len().saturating_sub(1));
            self.0.get(index).map_or(0, Duration::as_nanos) / 100
        };
        let show = |tenths: u128| format!("{}.{}", tenths / 10, tenths % 10);
        println!(
            "  {what:<58} p50 {:>8} p99 {:>8} p99.9 {:>8} max {:>8} µs",
            show(at(500)),
            show(at(990)),
            show(at(999)),
            show(at(1_000))
        );
    }
}

fn time(index: &Index, query: &Query) -> Duration {
    let start = Instant::now();
    let found = index.search(query);
    let took = start.elapsed();
    assert!(found.is_ok());
    took
}

/// Queries as a crowd asks them: mostly popular filters and words, one in fifty new.
fn crowd(random: &mut Random, entries: u64) -> Query {
    let new = random.below(50) == 0;
    let mut same = Random(random.skewed(400));
    let asked = if new { random } else { &mut same };
    let kind = small(asked.below(10));
    KINDS.get(kind).map_or_else(Query::default, |(_, ask)| ask(asked, entries))
}

fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or(0)
}

/// Mostly sales; some changes of price and text, some new ones, some gone. How long it took to enter it.
fn write(index: &Index, random: &mut Random, entries: u64, next: &mut u64) -> Duration {
    let mut product = Product::new(random.below(entries), entries, false);
    match random.below(20) {
        0 => {
            *next += 1;
            product = Product::new(*next, entries, false);
        }
        1 => {
            let start = Instant::now();
            index.remove(&id(product.number));
            return start.elapsed();
        }
        2..=4 => {
            product.name.push_str(" renewed");
            product.price += 100;
        }
        _ => {
            product.available = signed(random.below(2));
            product.sold += 1;
        }
    }
    let start = Instant::now();
    index.insert(&product.entry());
    start.elapsed()
}

fn many(index: &Index, entries: u64, readers: u64, writes: bool) {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writer = writes.then(|| {
            scope.spawn(|| {
                let (mut random, mut next) = (Random(8), entries);
                let mut times = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let start = Instant::now();
                    times.push(write(index, &mut random, entries, &mut next));
                    std::thread::sleep(Duration::from_millis(10).saturating_sub(start.elapsed()));
                }
                times
            })
        });
        let started = Instant::now();
        let readers: Vec<_> = (0..readers)
            .map(|reader| {
                scope.spawn(move || {
                    let mut random = Random(reader + 100);
                    let mut times = Vec::new();
                    while started.elapsed() < Duration::from_secs(5) {
                        times.push(time(index, &crowd(&mut random, entries)));
                    }
                    times
                })
            })
            .collect();
        let count = readers.len();
        let times: Vec<Duration> =
            readers.into_iter().filter_map(|reader| reader.join().ok()).flatten().collect();
        let quiet = if writes { "100 writes/s" } else { "quiet" };
        let rate = times.len() / 5;
        Times(times).line(&format!("crowd, {count} readers, {quiet}, {rate}/s"));
        stop.store(true, Ordering::Relaxed);
        if let Some(writes) = writer.and_then(|writer| writer.join().ok()) {
            Times(writes).line("  a write, until it is entered");
        }
    });
}

fn measure(entries: u64, described: bool) {
    let before = memory();
    let mut adding = Duration::ZERO;
    let mut builder = Builder::new();
    for number in 0..entries {
        let product = Product::new(number, entries, described);
        let start = Instant::now();
        builder.add(&product.entry());
        adding += start.elapsed();
    }
    let start = Instant::now();
    let index = builder.build();
    let building = start.elapsed();
    let stats = index.stats();
    let each = stats.bytes / small(entries);
    println!(
        "{entries} entries{}: filled in {} + {} ms, {} words, {} MB ({each} bytes each), RSS +{} MB",
        if described { " with descriptions of 40 words" } else { "" },
        adding.as_millis(),
        building.as_millis(),
        stats.words,
        stats.bytes >> 20,
        memory().saturating_sub(before) >> 10,
    );
    if described {
        return;
    }
    let index = index.with_view_bytes(0);
    for (what, ask) in KINDS {
        let mut random = Random(1);
        let other = Query { min_price: Some(i64::MAX), ..Query::default() };
        let times = (0..300).map(|_| {
            // Only the last one is remembered.
            time(&index, &other);
            time(&index, &ask(&mut random, entries))
        });
        Times(times.collect()).line(&format!("new: {what}"));
    }
    let index = index.with_view_bytes(64 << 20);
    for (what, ask) in KINDS {
        let queries: Vec<Query> = (0..100).map(|seed| ask(&mut Random(seed), entries)).collect();
        for query in &queries {
            time(&index, query);
        }
        let times = (0..20).flat_map(|_| &queries).map(|query| time(&index, query));
        Times(times.collect()).line(&format!("remembered: {what}"));
    }
    let mut query = Query { in_stock: true, sort: Some(Sort::PriceAscending), ..Query::default() };
    let times = (0..2_000).map(|_| {
        let start = Instant::now();
        query.cursor = index.search(&query).ok().and_then(|page| page.next);
        start.elapsed()
    });
    Times(times.collect()).line("page after page");
    let (mut random, mut next) = (Random(7), entries);
    let times = (0..1_000).map(|_| write(&index, &mut random, entries, &mut next));
    Times(times.collect()).line("a write, nobody reads");
    for readers in [1, 2] {
        for writes in [false, true] {
            many(&index, entries, readers, writes);
        }
    }
    let stats = index.stats();
    println!("  {} views remembered, {} MB", stats.views, stats.view_bytes >> 20);
}

fn main() {
    let asked: Vec<u64> = std::env::args().skip(1).filter_map(|number| number.parse().ok()).collect();
    for entries in if asked.is_empty() { vec![10_000, 100_000, 1_000_000] } else { asked } {
        measure(entries, false);
        measure(entries, true);
    }
}
