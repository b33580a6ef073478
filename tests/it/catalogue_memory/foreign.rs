//! What others write straight into the database is shown within a moment, and whatever becomes of the stream that
//! tells of it, nothing wrong is shown for longer.

use bson::{Bson, Document, doc, oid::ObjectId};
use futures_util::future::join_all;
use serde_json::json;
use souk::embedded::{self, Options};
use tests::{Browser, Seller, TestApp, mongo::TestDatabase};

use super::{EVENTS, PRODUCTS, assert_is_the_database, eventually, fail, forgetful, fresh};

async fn names(browser: &Browser, path: &str) -> Vec<String> {
    let shown = browser.get(path).await.expect(200);
    let list = shown.get("products").or(shown.get("events")).unwrap().as_array().unwrap();
    list.iter().map(|listing| listing["name"].as_str().unwrap().to_owned()).collect()
}

async fn until_named(app: &TestApp, path: &str, wanted: &[&str]) {
    let what = format!("{path} shows {wanted:?}");
    eventually(&what, async || names(&app.browser(), path).await == wanted).await;
}

fn cup(id: ObjectId, shop: &Seller, name: &str) -> Document {
    doc! { "_id": id, "shopeId": shop.id.hex(), "name": name, "stock": 5, "discountPrice": 3 }
}

#[tokio::test]
async fn whatever_others_do_to_the_collections_shows() {
    let app = TestApp::start().await;
    let bob = app.seller("bob").await;
    app.caught_up().await;
    for (path, collection) in [(PRODUCTS, "products"), (EVENTS, "events")] {
        let documents = app.db.raw::<Document>(collection);
        let (red, blue) = (fresh(), fresh());
        documents.insert_one(cup(red, &bob, "red")).await.unwrap();
        until_named(&app, path, &["red"]).await;
        documents.insert_one(cup(blue, &bob, "blue")).await.unwrap();
        documents.update_one(doc! { "_id": red }, doc! { "$set": { "name": "pink" } }).await.unwrap();
        until_named(&app, path, &["pink", "blue"]).await;
        documents.replace_one(doc! { "_id": red }, cup(red, &bob, "rose")).await.unwrap();
        until_named(&app, path, &["rose", "blue"]).await;
        documents.delete_one(doc! { "_id": red }).await.unwrap();
        until_named(&app, path, &["blue"]).await;
        let bulk: Vec<Document> = (0..1000).map(|n| cup(fresh(), &bob, &format!("cup {n}"))).collect();
        documents.insert_many(bulk).await.unwrap();
        documents.update_many(doc! {}, doc! { "$set": { "name": "mug" } }).await.unwrap();
        until_named(&app, path, &["mug"; 1001]).await;
        documents.delete_many(doc! { "_id": { "$ne": blue } }).await.unwrap();
        until_named(&app, path, &["mug"]).await;
        // Another collection takes its place, as some restore does it.
        let restored = app.db.raw::<Document>("restored");
        restored.insert_one(cup(red, &bob, "restored")).await.unwrap();
        let name = app.db.database().name();
        let rename = doc! {
            "renameCollection": format!("{name}.restored"), "to": format!("{name}.{collection}"), "dropTarget": true,
        };
        app.db.client().database("admin").run_command(rename).await.unwrap();
        until_named(&app, path, &["restored"]).await;
        documents.drop().await.unwrap();
        until_named(&app, path, &[]).await;
        documents.insert_one(cup(blue, &bob, "anew")).await.unwrap();
        until_named(&app, path, &["anew"]).await;
    }
    app.db.database().drop().await.unwrap();
    until_named(&app, PRODUCTS, &[]).await;
    let lamp = fresh();
    app.db.raw::<Document>("products").insert_one(cup(lamp, &bob, "after the flood")).await.unwrap();
    until_named(&app, PRODUCTS, &["after the flood"]).await;
}

#[tokio::test]
async fn whatever_several_do_at_once_in_the_end_every_memory_is_the_database() {
    let app = TestApp::start().await;
    let other = app.another_node().await;
    let sellers = join_all(["bob", "cem", "eve"].map(|name| app.seller(name))).await;
    let (here, there) = (app.base.clone(), other.base.clone());
    let writers = (0..6_u64).map(|n| {
        let (app, seller) = (&app, &sellers[usize::try_from(n % 3).unwrap()]);
        let base = if n < 3 { &here } else { &there };
        async move {
            let browser = Browser::new(base);
            browser.set_cookie("seller_token", &seller.token);
            let mut seed = 77 + n;
            let mut random = |below: u64| {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (seed >> 33) % below
            };
            let documents = app.db.raw::<Document>("products");
            let mut mine: Vec<String> = Vec::new();
            for step in 0..40 {
                let known = usize::try_from(random(1 + u64::try_from(mine.len()).unwrap())).unwrap();
                let id = mine.get(known).cloned();
                match (random(9), id) {
                    (0..=1, _) | (_, None) => {
                        let form = seller.listing_form(&format!("cup {n} {step}"), "10", 5);
                        let made = browser.post("/api/product/create-product").form(form).await.expect(201);
                        mine.push(made["product"]["_id"].as_str().unwrap().to_owned());
                    }
                    (2..=3, Some(id)) => {
                        let change = json!({ "name": format!("changed {n} {step}"), "stock": step });
                        let path = format!("/api/product/update-product/{id}");
                        browser.put(&path).json(&change).await.expect(200);
                    }
                    (4, Some(id)) => {
                        let path = format!("/api/product/delete-shop-product/{id}");
                        browser.delete(&path).await.expect(200);
                        mine.retain(|one| *one != id);
                    }
                    (5, Some(id)) => {
                        let this = doc! { "_id": ObjectId::parse_str(&id).unwrap() };
                        let set = doc! { "$set": { "stock": step.to_string(), "tags": Bson::Null } };
                        documents.update_one(this, set).await.unwrap();
                    }
                    (6, Some(id)) => {
                        let this = doc! { "_id": ObjectId::parse_str(&id).unwrap() };
                        documents.delete_one(this).await.unwrap();
                        mine.retain(|one| *one != id);
                    }
                    (7, _) => {
                        let change = json!({ "name": format!("shop {n} {step}") });
                        browser.put("/api/shop/updateSellerInfo").json(&change).await.expect(200);
                    }
                    _ => _ = browser.get(PRODUCTS).await.expect(200),
                }
            }
        }
    });
    join_all(writers).await;
    let forgetful = forgetful(&app).await;
    app.caught_up().await;
    other.caught_up(&app).await;
    let database = Browser::new(&forgetful.base);
    assert_is_the_database(&app, &app.browser(), &database).await;
    assert_is_the_database(&app, &Browser::new(&other.base), &database).await;
}

#[tokio::test]
async fn a_stream_that_breaks_is_resumed_and_one_that_cannot_be_means_to_read_all_anew() {
    // A server of its own, since what fails there would fail for everybody.
    let mongo = embedded::start(Options::for_tests()).await.unwrap();
    let database = TestDatabase::at(mongo.uri_for("catalogue")).await;
    let app = TestApp::on(database, &[]).await;
    let bob = app.seller("bob").await;
    bob.product("first", "10", 1).await;
    app.caught_up().await;
    let documents = app.db.raw::<Document>("products");
    let inside = app.inside();
    let mut wanted = vec!["first".to_owned()];
    let of_the_api = |commands: &[&str]| doc! { "failCommands": commands.to_vec(), "appName": "souk-api" };
    for (n, failure) in [
        // The connection is lost, again and again: the driver gives up, and it is resumed.
        doc! { "closeConnection": true },
        // The database has forgotten the place.
        doc! { "errorCode": 286, "errorLabels": ["NonResumableChangeStreamError"] },
        doc! { "errorCode": 280 },
        // Somebody kills the cursor.
        doc! { "errorCode": 43 },
    ]
    .into_iter()
    .enumerate()
    {
        assert!(inside.catalogue.is_fresh());
        let mut data = of_the_api(&["aggregate", "getMore"]);
        data.extend(failure);
        fail(&app, "alwaysOn", data).await;
        let name = format!("meanwhile {n}");
        documents.insert_one(cup(fresh(), &bob, &name)).await.unwrap();
        wanted.push(name);
        eventually("it is known that nothing is known", async || !inside.catalogue.is_fresh()).await;
        // And then the answers are the database's.
        assert_eq!(names(&app.browser(), PRODUCTS).await, wanted);
        let name = format!("unheard {n}");
        documents.insert_one(cup(fresh(), &bob, &name)).await.unwrap();
        wanted.push(name);
        assert_eq!(names(&app.browser(), PRODUCTS).await, wanted);
        fail(&app, "off", Document::new()).await;
        eventually("the memory is right again", async || inside.catalogue.is_fresh()).await;
        assert_eq!(names(&app.browser(), PRODUCTS).await, wanted);
        app.caught_up().await;
        let forgetful = forgetful(&app).await;
        assert_is_the_database(&app, &app.browser(), &Browser::new(&forgetful.base)).await;
    }
    // What was written here cannot be read again: nobody is shown what is older.
    let data = doc! { "failCommands": ["find"], "appName": "souk-api", "errorCode": 6,
    "namespace": format!("{}.products", app.db.database().name()) };
    fail(&app, doc! { "times": 3 }, data).await;
    documents.insert_one(cup(fresh(), &bob, "last")).await.unwrap();
    wanted.push("last".to_owned());
    eventually("it is read in the end", async || {
        let shown = app.browser().get(PRODUCTS).unchecked().await;
        shown.status == 503 || names(&app.browser(), PRODUCTS).await == wanted
    })
    .await;
    fail(&app, "off", Document::new()).await;
    until_named(&app, PRODUCTS, &wanted.iter().map(String::as_str).collect::<Vec<_>>()).await;
}
