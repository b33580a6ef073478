//! Very many products that differ in whatever one looks for, and what people look for.

use shared::{
    clock::{Clock, Timestamp, plus},
    db::Db,
    id::Id,
    migrate,
    model::{Kind, Listing, Shop},
    money::Money,
};

use super::hammer::Ask;
use crate::goods;

const CATEGORIES: [&str; 12] = [
    "Computers and Laptops",
    "cosmetics and body care",
    "Accesories",
    "Cloths",
    "Shoes",
    "Gifts",
    "Pet Care",
    "Mobile and Tablets",
    "Music and Gaming",
    "Others",
    "Books",
    "Garden",
];
const ADJECTIVES: [&str; 24] = [
    "small", "large", "blue", "red", "green", "wooden", "silver", "golden", "soft", "hard", "light", "heavy",
    "round", "square", "quiet", "loud", "warm", "cool", "modern", "ancient", "cheap", "noble", "plain",
    "striped",
];
const THINGS: [&str; 40] = [
    "lamp",
    "chair",
    "table",
    "cup",
    "plate",
    "knife",
    "scarf",
    "jacket",
    "shirt",
    "trousers",
    "boots",
    "sandals",
    "phone",
    "tablet",
    "laptop",
    "keyboard",
    "mouse",
    "monitor",
    "speaker",
    "guitar",
    "drum",
    "novel",
    "atlas",
    "dictionary",
    "soap",
    "perfume",
    "brush",
    "mirror",
    "collar",
    "leash",
    "aquarium",
    "basket",
    "vase",
    "candle",
    "blanket",
    "pillow",
    "curtain",
    "bottle",
    "backpack",
    "umbrella",
];
const RATINGS: [Option<f64>; 9] =
    [None, None, None, Some(2.0), Some(3.5), Some(4.0), Some(4.2), Some(4.8), Some(5.0)];
const TOGETHER: u32 = 5_000;

/// The same numbers in every run.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) const fn seeded(seed: u64) -> Self {
        Self(seed.wrapping_mul(2).wrapping_add(0x9E37_79B9_7F4A_7C15))
    }

    pub(crate) fn below(&mut self, bound: u32) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        u32::try_from(self.0 >> 33).unwrap_or(0).checked_rem(bound).unwrap_or(0)
    }

    fn of<T: Copy + Default>(&mut self, words: &[T]) -> T {
        let chosen = self.below(u32::try_from(words.len()).unwrap_or(0));
        usize::try_from(chosen).ok().and_then(|chosen| words.get(chosen)).copied().unwrap_or_default()
    }
}

/// Fills an empty database, and gives the ids of what it holds.
pub(crate) async fn plant(db: &Db, products: u32) -> anyhow::Result<Vec<Id<Listing>>> {
    let now = Clock::default().now();
    // Indexes first, as in a database that has grown.
    migrate::run(db, &Clock::default()).await?;
    let shops: Vec<Shop> = (0..(products / 200).clamp(20, 2_000)).map(|i| goods::shop(i, now)).collect();
    db.of::<Shop>().insert_many(&shops).await?;
    let mut random = Random::seeded(u64::from(products));
    let mut ids = Vec::new();
    for batch in 0..products.div_ceil(TOGETHER) {
        let from = batch * TOGETHER;
        let batch: Vec<Listing> =
            (from..products.min(from + TOGETHER)).filter_map(|i| one(i, &shops, &mut random, now)).collect();
        ids.extend(batch.iter().map(|product| product.id));
        db.listings(Kind::Product).insert_many(&batch).ordered(false).await?;
    }
    Ok(ids)
}

fn one(i: u32, shops: &[Shop], random: &mut Random, now: Timestamp) -> Option<Listing> {
    let shop = usize::try_from(random.below(u32::try_from(shops.len()).ok()?)).ok()?;
    let (what, how) = (random.of(&THINGS), random.of(&ADJECTIVES));
    let (stock, sold) = (i64::from(random.below(40)), i64::from(random.below(1_000)));
    Some(Listing {
        name: format!("{how} {what} number {i}"),
        category: random.of(&CATEGORIES).to_owned(),
        tags: format!("{}, {what}", random.of(&ADJECTIVES)),
        price: Money::from_minor(i64::from(100 + random.below(100_000))),
        stock,
        sold_out: sold,
        // As if this server had counted them from the first on: else every one is mended at the start.
        supplied: Some(stock + sold),
        sold_earlier: Some(sold),
        rating: random.of(&RATINGS),
        created_at: Some(plus(now, -i64::from(random.below(100_000_000)))),
        ..goods::product(i, shops.get(shop)?)
    })
}

/// What people look for: pages of fifty with filters and an order, every one of them different.
pub(crate) fn searches(how_many: u32) -> Vec<Ask> {
    let mut random = Random::seeded(7);
    let sorts = ["newest", "price_asc", "price_desc", "rating", "best_selling"];
    let search = |_| {
        let mut path = format!("/api/product/get-all-products?limit=50&sort={}", random.of(&sorts));
        let what = random.below(6);
        if what != 0 {
            path += &format!("&category={}", random.of(&CATEGORIES).replace(' ', "%20"));
        }
        if what == 1 || what == 2 {
            let from = 1 + random.below(400);
            path += &format!("&minPrice={from}&maxPrice={}", from + 50 + random.below(400));
        }
        if what == 2 || what == 3 {
            path += "&inStock=true";
        }
        if what == 4 {
            path += &format!("&minRating={}", 1 + random.below(4));
        }
        if what == 0 || what == 5 {
            path += &format!("&q={}%20{}", random.of(&ADJECTIVES), random.of(&THINGS));
        }
        Ask::plain(path)
    };
    (0..how_many).map(search).collect()
}
