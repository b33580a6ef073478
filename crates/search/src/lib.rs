//! The index behind search and browse: products or events, in memory, found by words and conditions.
//!
//! It knows no web, no database and no clock. Whoever owns it feeds it: a [`Builder`] at the start, then
//! [`Index::insert`] and [`Index::remove`] for every change. [`Index::search`] answers with a [`Page`]: ids in
//! order, the exact total, a cursor, and counts to filter by.
//!
//! ```
//! use search::{Builder, Entry, Query, Sort};
//!
//! let shop = *b"shop-of-anna";
//! let lamp = Entry {
//!     id: *b"product-0001",
//!     name: "Désk Lamp",
//!     tags: "light led",
//!     description: "",
//!     category: "Home",
//!     shop,
//!     shop_name: "Anna's",
//!     price: 2_499,
//!     rating: Some(450),
//!     available: 3,
//!     sold: 12,
//!     newest: 1_700_000_000_000,
//! };
//! let mut builder = Builder::new();
//! builder.add(&lamp);
//! let index = builder.build();
//! index.insert(&Entry { id: *b"product-0002", name: "Lamp shade", price: 999, ..lamp });
//!
//! let page = index.search(&Query { q: "lapm".into(), sort: Some(Sort::PriceAscending), ..Query::default() })?;
//! assert_eq!(page.ids, [*b"product-0002", *b"product-0001"]);
//! assert_eq!((page.total, page.facets.in_stock), (2, 2));
//! # Ok::<(), search::Error>(())
//! ```
//!
//! # How it works
//!
//! Entries have numbers (slots). Their facts lie in columns; for what is filtered often there are sets of slots
//! (`set.rs`): categories, shops, stock, stars, prices, words. Four orders (`sorted.rs`) are kept sorted. Words
//! are looked up in a sorted dictionary (`dictionary.rs`), whose short beginnings keep their entries ready.
//!
//! What a query selects, and its counts, are a *view* (`view.rs`), made by cutting sets with one another. Views
//! that were asked for are remembered, and every write is entered in them exactly, so that a popular filter costs a
//! walk along an order and no more.
//!
//! One lock guards it all: readers share it, a writer has it alone for some ten microseconds.

mod cursor;
mod dictionary;
mod entry;
mod filter;
mod index;
mod page;
mod query;
mod set;
mod sorted;
mod table;
mod typo;
mod view;
mod words;

pub use entry::{Entry, Id};
pub use index::{Builder, Index, Stats};
pub use query::{
    CategoryCount, Error, Facets, MAX_CATEGORIES, MAX_LIMIT, MAX_SHOPS, PRICE_EDGES, Page, PriceCount, Query,
    RatingCount, ShopCount, Sort,
};
