use std::sync::Arc;

use crate::entry::Id;

/// Entries on a page, at most.
pub const MAX_LIMIT: usize = 100;

/// Where the price ranges of [`Facets::prices`] begin, in minor units, besides the first.
pub const PRICE_EDGES: [i64; 10] =
    [500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000];

/// What to look for. All conditions must hold; `Query::default()` has none and asks for a page of 50.
#[derive(Debug, Clone)]
pub struct Query {
    /// Words, of which an entry must have all. Case and accents do not count, and the beginning of a word is
    /// enough. The first ten words count. Text without any word in it is as good as none.
    ///
    /// Slips of the finger are forgiven where they are needed: in a word that nothing begins with, and in all
    /// words if nothing has them together. One in words of four letters and more, two from eight on, none in the
    /// first letter and in words with digits.
    pub q: String,
    /// One of these, as the entries spell them; any if empty.
    pub categories: Vec<String>,
    /// One of these; any if empty.
    pub shops: Vec<Id>,
    /// In minor units, itself included.
    pub min_price: Option<i64>,
    /// In minor units, itself included.
    pub max_price: Option<i64>,
    /// In hundredths. What nobody has rated has none.
    pub min_rating: Option<u16>,
    /// Only what can be had.
    pub in_stock: bool,
    /// By default [`Sort::Relevance`] if there are words, else [`Sort::Newest`].
    pub sort: Option<Sort>,
    /// From 1 to [`MAX_LIMIT`].
    pub limit: usize,
    /// [`Page::next`] of the page before, for a query that differs in nothing but `limit`.
    pub cursor: Option<String>,
}

impl Default for Query {
    fn default() -> Self {
        Self {
            q: String::new(),
            categories: Vec::new(),
            shops: Vec::new(),
            min_price: None,
            max_price: None,
            min_rating: None,
            in_stock: false,
            sort: None,
            limit: 50,
            cursor: None,
        }
    }
}

/// In which order. Entries that are equal in it are ordered by id, in the same direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sort {
    /// Names that have all the words, then names with words that begin like them, then matches in other fields,
    /// then what takes slips of the finger (names first); within each, newest first. Without words: newest first.
    Relevance,
    Newest,
    Oldest,
    PriceAscending,
    PriceDescending,
    /// Best first; unrated ones last.
    Rating,
    BestSelling,
}

/// A page of what was found.
#[derive(Debug, Clone)]
pub struct Page {
    /// In order.
    pub ids: Vec<Id>,
    /// How many entries match, exactly, on all pages.
    pub total: usize,
    /// For the page after this one, if there is one. Letters and digits only.
    ///
    /// It says where this page ended, so entries that come and go neither repeat others nor hide them. It holds
    /// the decision about slips of the finger, too: all pages of a walk follow the same one.
    pub next: Option<String>,
    /// How many there are of what.
    pub facets: Arc<Facets>,
}

/// Exact counts of what matches, by what one could filter for.
///
/// A count ignores the filter of its own kind, and only that: with `category = Shoes` and `in_stock`, the
/// categories count everything in stock, so that the shopper sees what another choice would give; the prices count
/// the shoes in stock.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facets {
    /// By category, most first, then by name. Only those with any; the first [`MAX_CATEGORIES`].
    pub categories: Vec<CategoryCount>,
    /// By shop, most first, then by id. Only those with any; the first [`MAX_SHOPS`].
    pub shops: Vec<ShopCount>,
    /// By price, in ranges that are always the same; all of them, in order.
    pub prices: Vec<PriceCount>,
    /// With at least 1, 2, 3 and 4 stars.
    pub ratings: Vec<RatingCount>,
    pub in_stock: usize,
    pub out_of_stock: usize,
}

/// Shops that are counted in [`Facets::shops`].
pub const MAX_SHOPS: usize = 20;
/// Categories that are counted in [`Facets::categories`].
pub const MAX_CATEGORIES: usize = 500;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CategoryCount {
    pub category: Arc<str>,
    pub count: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShopCount {
    pub shop: Id,
    pub name: Arc<str>,
    pub count: usize,
}

/// Prices from `from` (included; the first range has no lower end) to `below` (excluded), in minor units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PriceCount {
    pub from: Option<i64>,
    pub below: Option<i64>,
    pub count: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RatingCount {
    /// In hundredths.
    pub at_least: u16,
    pub count: usize,
}

/// Why there is no page. Each is the asker's mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("the limit is not between 1 and {MAX_LIMIT}")]
    Limit,
    #[error("the cursor is not one of this query's")]
    Cursor,
}
