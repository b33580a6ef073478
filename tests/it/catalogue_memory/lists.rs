//! What the memory answers is what the database would, in each way in which it can be asked for.

use std::io::Read as _;

use bson::{Bson, DateTime, Document, doc};
use serde_json::{Value, json};
use shared::{
    clock::{iso, plus},
    model::Shop,
};
use tests::{Answer, Browser, Seller, TestApp, legacy, mongo::TestDatabase};

use super::{EVENTS, PRODUCTS, assert_is_the_database, eventually, forgetful, fresh};

/// Documents with everything wrong that a field can have.
fn odd(shop: &str) -> Vec<Document> {
    let junk = [
        Bson::Null,
        Bson::String("12.345".into()),
        Bson::Int64(-3),
        Bson::Double(f64::NAN),
        Bson::Boolean(true),
        Bson::Array(vec![Bson::Null, Bson::Int32(1), Bson::Document(doc! { "url": "x" })]),
        Bson::Document(doc! { "name": "\",\"stock\":9,\"shop\":{}", "avatar": { "url": 5 } }),
        Bson::DateTime(DateTime::from_millis(1_700_000_000_500)),
        Bson::ObjectId(fresh()),
        Bson::String("\",\"status\":\"Ended\",\u{0}\u{2028}🦀\\".into()),
    ];
    let fields = [
        "name",
        "description",
        "category",
        "tags",
        "originalPrice",
        "discountPrice",
        "stock",
        "reserved",
        "images",
        "shop",
        "reviews",
        "rating",
        "sold_out",
        "start_date",
        "end_date",
        "createdAt",
        "__v",
    ];
    let mut documents = Vec::new();
    for value in &junk {
        for field in fields {
            let mut document = doc! { "_id": fresh(), "shopeId": shop, "name": field };
            document.insert(field, value.clone());
            documents.push(document);
        }
        documents.push(doc! { "_id": fresh(), "shopeId": value.clone() });
    }
    documents.push(doc! { "_id": fresh() });
    documents.push(doc! { "_id": fresh(), "shopeId": shop.to_uppercase() });
    documents.push(doc! { "_id": "no object id", "name": "never shown in the list of all" });
    documents
}

#[tokio::test]
async fn what_is_in_memory_is_what_the_database_says_to_the_byte() {
    let database = TestDatabase::new().await;
    let db = shared::db::Db::connect(&database.uri, "souk-test").await.unwrap();
    legacy::plant(&db).await;
    for collection in ["products", "events"] {
        db.raw::<Document>(collection).insert_many(odd(legacy::GOOD)).await.unwrap();
    }
    let app = TestApp::on(database, &[]).await;
    let owner = app.seller("bob").await;
    let mine = owner.product("Lamp", "10", 9).await;
    let ann = app.buyer("ann").await;
    ann.order(&[(&mine, 2)]).await;
    let forgetful = forgetful(&app).await;
    app.caught_up().await;
    assert!(app.inside().catalogue.is_fresh());
    assert_is_the_database(&app, &app.browser(), &Browser::new(&forgetful.base)).await;
    // And as those see it who have accounts: the owner is shown what is on the shelf.
    for person in [&owner.browser, &ann.browser] {
        let elsewhere = Browser::new(&forgetful.base);
        for name in ["user_token", "seller_token", "token"] {
            if let Some(cookie) = person.cookie(name) {
                elsewhere.set_cookie(name, &cookie.value);
            }
        }
        assert_is_the_database(&app, person, &elsewhere).await;
    }
    let stock = async |browser: &Browser| {
        browser.get(&format!("{PRODUCTS}-shop/{}", owner.id)).await.expect(200)["products"][0]["stock"]
            .clone()
    };
    assert_eq!((stock(&owner).await, stock(&ann).await), (json!(9), json!(7)));
}

fn unpacked(answer: &Answer) -> Vec<u8> {
    let mut text = Vec::new();
    match answer.header("content-encoding") {
        Some("gzip") => _ = flate2::read::GzDecoder::new(&answer.body[..]).read_to_end(&mut text).unwrap(),
        Some("br") => _ = brotli::Decompressor::new(&answer.body[..], 4096).read_to_end(&mut text).unwrap(),
        _ => text.clone_from(&answer.body),
    }
    text
}

/// So many products of a shop, behind the API's back.
async fn many(app: &TestApp, shop: &Seller, count: i64) {
    let product = |n: i64| {
        doc! {
            "_id": fresh(), "shopeId": shop.id.hex(), "name": format!("cup {n}"), "stock": n,
            "description": "As good as new.", "discountPrice": n + 1, "reviews": [],
        }
    };
    app.db.raw::<Document>("products").insert_many((0..count).map(product)).await.unwrap();
    app.caught_up().await;
}

#[tokio::test]
async fn a_list_comes_plain_or_compressed_and_each_has_a_name_of_its_own() {
    let app = TestApp::start().await;
    let bob = app.seller("bob").await;
    many(&app, &bob, 300).await;
    for path in [PRODUCTS.to_owned(), format!("{PRODUCTS}-shop/{}", bob.id)] {
        let visitor = app.browser();
        let ask = |encoding: &str| visitor.get(&path).header("accept-encoding", encoding).unchecked();
        for round in 0..3 {
            let plain = visitor.get(&path).await;
            assert_eq!(plain.header("content-encoding"), None);
            assert!(plain.headers["vary"].to_str().unwrap().to_lowercase().contains("accept-encoding"));
            assert!(!plain.header("etag").unwrap().starts_with("W/"));
            let gzip = ask("deflate, gzip").await;
            assert_eq!(gzip.header("content-encoding"), Some("gzip"));
            assert!(
                unpacked(&gzip) == plain.body && gzip.body.len() < plain.body.len() / 4,
                "{path} {round}"
            );
            // Well compressed it is only after a while, and until then otherwise.
            let first = ask("gzip, br").await;
            assert!(unpacked(&first) == plain.body);
            eventually("it is compressed with brotli", async || {
                ask("gzip, br").await.header("content-encoding") == Some("br")
            })
            .await;
            let brotli = ask("br").await;
            assert!(unpacked(&brotli) == plain.body && brotli.body.len() < gzip.body.len(), "{path} {round}");
            let tags = [&plain, &gzip, &brotli].map(|answer| answer.header("etag").unwrap().to_owned());
            assert!(tags[0] != tags[1] && tags[1] != tags[2] && tags[0] != tags[2]);
            for tag in &tags {
                let known = ask("gzip, br").header("if-none-match", tag).await;
                assert_eq!(
                    (known.status, known.body.len(), known.header("etag")),
                    (304, 0, Some(tag.as_str()))
                );
                assert_eq!(known.header("content-encoding"), None);
            }
            let head = app.browser().call("HEAD", &path).header("accept-encoding", "gzip").unchecked().await;
            assert_eq!((head.status, head.body.len()), (200, 0));
            assert_eq!(head.header("etag"), Some(tags[1].as_str()));
            assert_eq!(head.header("content-length"), Some(gzip.body.len().to_string().as_str()));
            bob.product(&format!("pot {round}"), "10", 1).await;
            visitor.get(&path).header("if-none-match", &tags[0]).await.expect(200);
        }
    }
}

#[tokio::test]
async fn every_node_has_the_same_names_and_bytes_for_the_same_list() {
    let app = TestApp::start().await;
    let bob = app.seller("bob").await;
    many(&app, &bob, 200).await;
    let id = app.browser().get(PRODUCTS).await.expect(200)["products"][77]["_id"].clone();
    bob.delete(&format!("/api/product/delete-shop-product/{}", id.as_str().unwrap())).await.expect(200);
    bob.product("pot", "10", 1).await;
    let here = app.browser().get(PRODUCTS).header("accept-encoding", "gzip").unchecked().await;
    // One that has read it all at once.
    let other = app.another_node().await;
    other.caught_up(&app).await;
    let there = Browser::new(&other.base).get(PRODUCTS).header("accept-encoding", "gzip").unchecked().await;
    assert_eq!(here.header("etag"), there.header("etag"));
    assert!(here.body == there.body);
}

#[tokio::test]
async fn what_does_not_fit_comes_from_the_database_or_is_put_together_on_the_way() {
    for (memory, lists) in [("2K", "64M"), ("64M", "1K"), ("64M", "0"), ("0", "0")] {
        let app = TestApp::with(&[("CATALOGUE_MEMORY", memory), ("CATALOGUE_LIST_MEMORY", lists)]).await;
        let bob = app.seller("bob").await;
        many(&app, &bob, 150).await;
        let forgetful = forgetful(&app).await;
        let database = Browser::new(&forgetful.base);
        bob.product("pot", "10", 1).await;
        for path in [PRODUCTS.to_owned(), format!("{PRODUCTS}-shop/{}", bob.id)] {
            let wanted = database.get(&path).await;
            let plain = app.browser().get(&path).await;
            assert!(plain.body == wanted.body, "{memory} {lists}");
            let gzip = app.browser().get(&path).header("accept-encoding", "gzip").unchecked().await;
            assert_eq!(gzip.header("content-encoding"), Some("gzip"));
            assert!(unpacked(&gzip) == wanted.body, "{memory} {lists}");
            let tag = gzip.header("etag").unwrap();
            assert_eq!(app.browser().get(&path).header("if-none-match", tag).await.status, 304);
        }
        let product = wanted_last(&app).await;
        let one = format!("/api/product/get-product/{}", product["_id"].as_str().unwrap());
        assert_eq!(app.browser().get(&one).await.expect(200)["product"], product);
    }
}

async fn wanted_last(app: &TestApp) -> Value {
    app.browser().get(PRODUCTS).await.expect(200)["products"].as_array().unwrap().last().unwrap().clone()
}

#[tokio::test]
async fn lists_change_when_the_time_comes_although_nothing_is_written() {
    const HOUR: i64 = 3_600_000;
    let app = TestApp::start().await;
    let bob = app.seller("bob").await;
    for hours in [1, 3] {
        let date = |hours: i64| iso(plus(app.clock.now(), hours * HOUR));
        let form = bob
            .listing_form(&format!("week {hours}"), "10", 5)
            .text("start_date", date(hours))
            .text("end_date", date(hours + 1));
        bob.post("/api/event/create-event").form(form).await.expect(201);
    }
    let paths = [EVENTS.to_owned(), format!("{EVENTS}/{}", bob.id)];
    let mut tags = vec![String::new(); 2];
    for statuses in [
        ["Upcoming", "Upcoming"],
        ["Running", "Upcoming"],
        ["Ended", "Upcoming"],
        ["Ended", "Running"],
        ["Ended", "Ended"],
    ] {
        for (path, tag) in paths.iter().zip(&mut tags) {
            let answer = app.browser().get(path).header("if-none-match", tag).await;
            let shown = answer.expect(200)["events"].as_array().unwrap().clone();
            assert_eq!(shown.iter().map(|event| &event["status"]).collect::<Vec<_>>(), statuses, "{path}");
            *tag = answer.header("etag").unwrap().to_owned();
            assert_eq!(app.browser().get(path).header("if-none-match", tag).await.status, 304);
        }
        app.clock.advance(HOUR + 1000);
    }
}

#[tokio::test]
async fn a_shop_that_goes_is_shown_as_its_listings_remember_it_until_it_is_back() {
    let app = TestApp::start().await;
    let bob = app.seller("bob").await;
    bob.product("Lamp", "10", 9).await;
    let forgetful = forgetful(&app).await;
    let database = Browser::new(&forgetful.base);
    let shops = app.db.of::<Shop>();
    let renamed = doc! { "$set": { "name": "Bob & Sons" } };
    shops.update_one(doc! { "_id": bob.id }, renamed).await.unwrap();
    app.caught_up().await;
    let shop = shops.find_one_and_delete(doc! { "_id": bob.id }).await.unwrap().unwrap();
    for name in ["bob", "Bob & Sons"] {
        app.caught_up().await;
        let shown = app.browser().get(PRODUCTS).await;
        assert_eq!(shown.expect(200)["products"][0]["shop"]["name"], name);
        assert!(shown.body == database.get(PRODUCTS).await.body);
        shops.insert_one(&shop).await.ok();
    }
}
