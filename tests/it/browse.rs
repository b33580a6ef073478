//! Searching and browsing products and events: the same answers as a look at every document, page by page.

use bson::doc;
use serde_json::{Value, json};
use shared::{
    clock::{Timestamp, plus},
    id::Id,
    model::{Kind, Listing, Shop},
    money::Money,
};
use tests::{Seller, TestApp};

const ALL: &str = "/api/product/get-all-products";
const CATEGORIES: [&str; 4] = ["Shoes", "Pet Care", "Others", "Books, old & new"];
const WORDS: [&str; 6] = ["lamp", "brass lamp", "Désk", "wooden table", "Chair", "lamp shade"];

/// Numbers that look like any, and are the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    fn of<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[usize::try_from(self.below(words.len().try_into().unwrap())).unwrap()]
    }
}

/// Puts many listings up behind the API's back.
async fn plant(app: &TestApp, kind: Kind, shops: &[&Seller], count: u64) -> Vec<Listing> {
    let mut random = Random(count);
    let now = app.clock.now();
    let listings: Vec<Listing> = (0..count)
        .map(|number| {
            let shop = shops[usize::try_from(random.below(shops.len().try_into().unwrap())).unwrap()];
            let stock = i64::try_from(random.below(4)).unwrap();
            Listing {
                id: Id::new(),
                name: format!("{} number {number}", random.of(&WORDS)),
                category: random.of(&CATEGORIES).to_owned(),
                price: Money::from_minor(i64::try_from(random.below(40) * 250).unwrap()),
                stock,
                reserved: i64::try_from(random.below(2)).unwrap().min(stock),
                sold_out: i64::try_from(random.below(5)).unwrap(),
                rating: (random.below(3) > 0)
                    .then(|| f64::from(u8::try_from(random.below(11)).unwrap()) / 2.0),
                shop_id: shop.id,
                created_at: (random.below(9) > 0)
                    .then(|| plus(now, -i64::try_from(random.below(50)).unwrap() * 1000)),
                ..Listing::default()
            }
        })
        .collect();
    app.db.listings(kind).insert_many(&listings).await.unwrap();
    app.caught_up().await;
    listings
}

fn ids(page: &Value, kind: &str) -> Vec<String> {
    page[kind].as_array().unwrap().iter().map(|one| one["_id"].as_str().unwrap().to_owned()).collect()
}

async fn get(app: &TestApp, path: &str) -> Value {
    app.browser().get(path).await.expect(200)
}

/// All pages behind one another.
async fn walk(app: &TestApp, path: &str, total: usize) -> Vec<String> {
    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = get(app, &format!("{path}&cursor={cursor}")).await;
        assert_eq!(page["total"], json!(total), "{path}");
        found.extend(ids(&page, "products"));
        match page["nextCursor"].as_str() {
            Some(next) => cursor = next.to_owned(),
            None => return found,
        }
    }
}

/// Rated higher, sold more, newer, cheaper: what an order goes by, the smallest first.
fn key(sort: &str, listing: &Listing) -> (i64, i64) {
    let newest = -listing.created_at.unwrap_or_else(|| listing.id.made_at()).timestamp_millis();
    let rating = listing.rating.map_or(0, |stars| Money::parse(&stars.to_string()).unwrap().minor());
    match sort {
        "newest" => (newest, 0),
        "oldest" => (-newest, 0),
        "price_asc" => (listing.price.minor(), 0),
        "price_desc" => (-listing.price.minor(), 0),
        "rating" => (-rating, 0),
        "best_selling" => (-listing.sold_out, 0),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn filters_and_orders_select_what_a_look_at_every_document_selects_page_by_page() {
    let app = TestApp::start().await;
    let (ann, bob) = (app.seller("ann").await, app.seller("bob").await);
    let listings = plant(&app, Kind::Product, &[&ann, &bob], 300).await;
    let mut random = Random(9);
    for _ in 0..60 {
        let sort = random.of(&["newest", "oldest", "price_asc", "price_desc", "rating", "best_selling"]);
        let limit = 1 + random.below(100);
        let mut path = format!("{ALL}?sort={sort}&limit={limit}");
        let category = (random.below(2) > 0).then(|| random.of(&CATEGORIES));
        if let Some(category) = category {
            path += &format!("&category={}", category.replace('&', "%26").replace(' ', "+"));
        }
        let shop = (random.below(3) == 0).then_some(bob.id);
        if let Some(shop) = shop {
            path += &format!("&shop={shop}");
        }
        let prices = (random.below(2) > 0).then(|| (random.below(50) * 100, 2000 + random.below(80) * 100));
        if let Some((from, to)) = prices {
            path += &format!("&minPrice={}.{:02}&maxPrice={}", from / 100, from % 100, to / 100);
        }
        let stars = (random.below(3) == 0).then(|| random.below(6));
        if let Some(stars) = stars {
            path += &format!("&minRating={stars}");
        }
        let in_stock = random.below(2) > 0;
        path += if in_stock { "&inStock=true" } else { "&inStock=" };
        let is_in = |listing: &&Listing, with_category: bool| {
            let price = listing.price.minor();
            (!with_category || category.is_none_or(|category| listing.category == category))
                && shop.is_none_or(|shop| listing.shop_id == shop)
                && prices.is_none_or(|(from, to)| {
                    price >= i64::try_from(from).unwrap() && price <= i64::try_from(to / 100 * 100).unwrap()
                })
                && stars.is_none_or(|stars| {
                    stars == 0
                        || listing
                            .rating
                            .is_some_and(|rating| rating >= f64::from(u8::try_from(stars).unwrap()))
                })
                && (!in_stock || listing.available() > 0)
        };
        let mut wanted: Vec<&Listing> = listings.iter().filter(|listing| is_in(listing, true)).collect();
        wanted.sort_by_key(|listing| (key(sort, listing), listing.id));
        let found = walk(&app, &path, wanted.len()).await;
        let keys = |ids: &[String]| -> Vec<_> {
            let of = |id: &String| listings.iter().find(|listing| listing.id.hex() == *id).unwrap();
            ids.iter().map(|id| key(sort, of(id))).collect()
        };
        let expected: Vec<String> = wanted.iter().map(|listing| listing.id.hex()).collect();
        assert_eq!(keys(&found), keys(&expected), "{path}");
        let sorted = |mut ids: Vec<String>| {
            ids.sort();
            ids
        };
        // By number it is the same, page by page.
        let pages = u64::try_from(found.len()).unwrap().div_ceil(limit);
        let mut numbered = Vec::new();
        for page in 1..=pages {
            numbered.extend(ids(&get(&app, &format!("{path}&page={page}")).await, "products"));
        }
        assert_eq!(numbered, found, "{path}");
        assert_eq!(sorted(found), sorted(expected), "{path}");
        let page = get(&app, &path).await;
        for counted in page["facets"]["categories"].as_array().unwrap() {
            let wanted = listings
                .iter()
                .filter(|listing| is_in(listing, false) && counted["category"] == json!(listing.category));
            assert_eq!(counted["count"], json!(wanted.count()), "{path}: {counted}");
        }
    }
}

#[tokio::test]
async fn words_are_found_by_their_beginnings_and_in_spite_of_slips() {
    let app = TestApp::start().await;
    let bob = app.seller("bob").await;
    for name in ["Brass desk lamp", "Lamp shade", "Wooden täble", "Lampoon of 1842"] {
        bob.product(name, "10", 3).await;
    }
    let search = async |q: &str| {
        let page = get(&app, &format!("{ALL}?q={q}")).await;
        let mut names: Vec<String> = page["products"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["name"].as_str().unwrap().to_owned())
            .collect();
        names.sort();
        names
    };
    assert_eq!(search("lamp").await, ["Brass desk lamp", "Lamp shade", "Lampoon of 1842"]);
    assert_eq!(search("LAMP%20brass").await, ["Brass desk lamp"]);
    assert_eq!(search("table").await, ["Wooden täble"]);
    assert_eq!(search("woodne+tabel").await, ["Wooden täble"]);
    assert_eq!(search("nothing").await, <[String; 0]>::default());
    // Whole words first.
    let page = get(&app, &format!("{ALL}?q=lamp")).await;
    assert_eq!(page["products"][2]["name"], "Lampoon of 1842");
    // Marks alone are no words: everything is wanted, page by page.
    assert_eq!(search("!!!").await.len(), 4);
}

#[tokio::test]
async fn what_a_shop_has_just_written_is_found_by_the_next_search_and_what_is_gone_is_not() {
    let app = TestApp::start().await;
    let (ann, bob) = (app.buyer("ann").await, app.seller("bob").await);
    let total = async |conditions: &str| get(&app, &format!("{ALL}?{conditions}")).await["total"].clone();
    let cup = bob.product("Cup", "10", 1).await;
    let id = cup["_id"].as_str().unwrap();
    assert_eq!(total("q=cup&inStock=true").await, 1);
    let change = json!({ "name": "Mug", "discountPrice": "12.50" });
    bob.put(&format!("/api/product/update-product/{id}")).json(&change).await.expect(200);
    assert_eq!(
        (total("q=cup").await, total("q=mug&minPrice=12.5&maxPrice=12.5").await),
        (json!(0), json!(1))
    );
    // The last one is sold.
    ann.order(&[(&cup, 1)]).await;
    assert_eq!((total("q=mug").await, total("q=mug&inStock=true").await), (json!(1), json!(0)));
    let other = bob.product("Other mug", "10", 1).await;
    let delete = format!("/api/product/delete-shop-product/{}", other["_id"].as_str().unwrap());
    bob.delete(&delete).await.expect(200);
    assert_eq!(total("q=mug").await, 1);
}

#[tokio::test]
async fn a_shop_that_changes_its_name_is_found_and_counted_under_the_new_one() {
    let app = TestApp::start().await;
    let bob = app.seller("bob").await;
    bob.product("Cup", "10", 1).await;
    let set = doc! { "$set": { "name": "Porcelain Palace" } };
    app.db.of::<Shop>().update_one(doc! { "_id": bob.id }, set).await.unwrap();
    app.caught_up().await;
    let page = get(&app, &format!("{ALL}?q=porcelain")).await;
    assert_eq!(page["total"], 1);
    let counted = json!([{ "shop": bob.id.hex(), "name": "Porcelain Palace", "count": 1 }]);
    assert_eq!(page["facets"]["shops"], counted);
}

#[tokio::test]
async fn a_shop_and_events_are_browsed_in_the_same_way_and_a_shop_sees_its_shelf() {
    let app = TestApp::start().await;
    let (ann, bob) = (app.seller("ann").await, app.seller("bob").await);
    let events = plant(&app, Kind::Event, &[&ann, &bob], 40).await;
    let page = get(&app, "/api/event/get-all-events-shop?limit=7&sort=price_asc").await;
    assert_eq!((page["total"].clone(), ids(&page, "events").len()), (json!(40), 7));
    let bobs = events.iter().filter(|event| event.shop_id == bob.id).count();
    let path = format!("/api/event/get-all-events-shop/{}?limit=100&shop={}", bob.id, ann.id);
    assert_eq!(get(&app, &path).await["total"], json!(bobs), "the shop of the address counts");
    let held = events.iter().find(|event| event.shop_id == bob.id && event.reserved > 0).unwrap();
    for (seen, browser) in [(held.stock, &bob.browser), (held.available(), &ann.browser)] {
        let page = browser.get(&path).await.expect(200);
        let events = page["events"].as_array().unwrap();
        let one = events.iter().find(|event| event["_id"] == json!(held.id.hex())).unwrap();
        assert_eq!((&one["stock"], &one["available"]), (&json!(seen), &json!(held.available())));
    }
}

#[tokio::test]
async fn without_conditions_the_answer_is_what_it_always_was_and_senseless_ones_are_refused() {
    let app = TestApp::start().await;
    let bob = app.seller("bob").await;
    bob.product("Cup", "10", 1).await;
    for path in [ALL.to_owned(), format!("{ALL}?_=17"), format!("{ALL}?q=&limit=&sort=")] {
        let whole = get(&app, &path).await;
        let mut fields: Vec<&String> = whole.as_object().unwrap().keys().collect();
        fields.sort();
        assert_eq!(fields, ["products", "success"], "{path}");
    }
    let page = get(&app, &format!("{ALL}?limit=1&q=cup")).await;
    assert!(page["nextCursor"].is_null());
    for wrong in [
        "limit=0",
        "limit=101",
        "limit=x",
        "cursor=x",
        "minPrice=-1",
        "maxPrice=1.001",
        "minRating=6",
        "sort=up",
        "inStock=2",
        "shop=1",
        "page=0",
        "page=9999",
        "page=1&cursor=x",
    ] {
        app.browser().get(&format!("{ALL}?{wrong}")).unchecked().await.refused(400, "invalid_input");
    }
    // Clients send the text `undefined` for a shop that they do not know yet.
    let nobodys = "/api/product/get-all-products-shop/undefined";
    assert_eq!(get(&app, &format!("{nobodys}?limit=5")).await["total"], 0);
    app.browser().get(&format!("{nobodys}?limit=x")).unchecked().await.refused(400, "invalid_input");
    // One page's cursor is no other query's.
    bob.product("Cup two", "10", 1).await;
    let first = get(&app, &format!("{ALL}?limit=1&sort=newest")).await;
    let cursor = first["nextCursor"].as_str().unwrap();
    app.browser()
        .get(&format!("{ALL}?limit=1&sort=oldest&cursor={cursor}"))
        .await
        .refused(400, "invalid_input");
    let second = get(&app, &format!("{ALL}?limit=1&sort=newest&cursor={cursor}")).await;
    assert!(second["nextCursor"].is_null() && ids(&first, "products") != ids(&second, "products"));
}

#[tokio::test]
async fn a_walk_shows_everything_once_while_others_come_and_go() {
    let app = TestApp::start().await;
    let bob = app.seller("bob").await;
    let listings = plant(&app, Kind::Product, &[&bob], 120).await;
    let (mut found, mut cursor) = (Vec::new(), String::new());
    let far = |millis: i64| Timestamp::from_millis(millis);
    loop {
        let page = get(&app, &format!("{ALL}?limit=10&sort=newest&cursor={cursor}")).await;
        found.extend(ids(&page, "products"));
        let Some(next) = page["nextCursor"].as_str() else { break };
        cursor = next.to_owned();
        // One comes before all others, and one behind them; the one of those that were shown goes.
        for created_at in [far(4_000_000_000_000), far(0)] {
            let new = Listing { created_at: Some(created_at), shop_id: bob.id, ..Listing::default() };
            app.db.listings(Kind::Product).insert_one(&Listing { id: Id::new(), ..new }).await.unwrap();
        }
        let gone: Id<Listing> = found[0].parse().unwrap();
        app.db.listings(Kind::Product).delete_one(doc! { "_id": gone }).await.unwrap();
        app.caught_up().await;
    }
    let mut once = found.clone();
    once.sort();
    once.dedup();
    assert_eq!(once.len(), found.len(), "shown twice");
    assert!(listings.iter().all(|listing| found.contains(&listing.id.hex())), "left out");
}
