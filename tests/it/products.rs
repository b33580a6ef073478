//! `/api/product`, but for reviews.

use std::time::{Duration, Instant};

use bson::{Document, doc, oid::ObjectId};
use serde_json::{Value, json};
use shared::{
    id::Id,
    model::{Kind, Listing, Shop},
};
use tests::{Browser, Form, Seller, TestApp, picture};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

const CREATE: &str = "/api/product/create-product";
const ALL: &str = "/api/product/get-all-products";

fn one(id: &Value) -> String {
    format!("/api/product/get-product/{}", id.as_str().unwrap())
}

fn update(id: &Value) -> String {
    format!("/api/product/update-product/{}", id.as_str().unwrap())
}

fn delete(id: &Value) -> String {
    format!("/api/product/delete-shop-product/{}", id.as_str().unwrap())
}

fn of_shop(id: Id<Shop>) -> String {
    format!("/api/product/get-all-products-shop/{id}")
}

async fn count(app: &TestApp) -> u64 {
    app.db.listings(Kind::Product).count_documents(doc! {}).await.unwrap()
}

/// Sets fields of a product behind the API's back.
async fn set(app: &TestApp, id: &Value, fields: Document) {
    let id: Id<Listing> = id.as_str().unwrap().parse().unwrap();
    let update = doc! { "$set": fields };
    let result = app.db.listings(Kind::Product).update_one(doc! { "_id": id }, update).await.unwrap();
    assert_eq!(result.matched_count, 1);
    app.caught_up().await;
}

/// Asks for a picture until it is no longer there.
async fn picture_goes(browser: &Browser, url: &str) {
    let path = url.strip_prefix("http://").unwrap().split_once('/').unwrap().1;
    let start = Instant::now();
    while browser.get(&format!("/{path}")).unchecked().await.status != 404 {
        assert!(start.elapsed() < Duration::from_secs(20), "{url} is still there");
    }
}

/// Every stored picture, whatever it is of.
fn stored_pictures(app: &TestApp) -> usize {
    fn files(path: &std::path::Path) -> usize {
        let Ok(entries) = std::fs::read_dir(path) else { return 0 };
        entries.map(|entry| entry.unwrap().path()).map(|p| if p.is_dir() { files(&p) } else { 1 }).sum()
    }
    files(&app.config.upload_dir)
}

#[tokio::test]
async fn a_product_is_stored_with_its_pictures_and_seen_by_everybody() {
    let app = TestApp::start().await;
    let bob = app.seller("bob").await;
    let form = bob.listing_form("Lamp", "49.90", 12).file("images", "b.jpg", "image/jpeg", picture::jpeg());
    let product = bob.post(CREATE).form(form).await.expect(201)["product"].clone();
    assert_eq!(product["name"], "Lamp");
    assert_eq!(product["discountPrice"], json!(49.9));
    assert_eq!(product["originalPrice"], json!(49.9));
    assert_eq!(product["stock"], json!(12));
    assert_eq!(product["available"], json!(12));
    assert_eq!(product["sold_out"], json!(0));
    assert_eq!(product["reviews"], json!([]));
    assert!(product.get("rating").is_none());
    assert_eq!(product["shopeId"], bob.id.hex());
    assert_eq!(product["shop"]["name"], "bob");
    assert_eq!(product["images"].as_array().unwrap().len(), 2);

    let visitor = app.browser();
    assert_eq!(visitor.get(&one(&product["_id"])).await.expect(200)["product"], product);
    assert_eq!(visitor.get(ALL).await.expect(200)["products"], json!([product]));
    assert_eq!(visitor.get(&of_shop(bob.id)).await.expect(200)["products"], json!([product]));
    let url = product["images"][0]["url"].as_str().unwrap();
    let path = url.strip_prefix(&app.base).unwrap();
    assert_eq!(visitor.get(path).unchecked().await.body, picture::png());
}

#[tokio::test]
async fn only_listed_fields_are_stored() {
    let app = TestApp::start().await;
    let bob = app.seller("bob").await;
    let form = bob
        .listing_form("Lamp", "10", 1)
        .text("sold_out", "999")
        .text("rating", "5")
        .text("reserved", "7")
        .text("reviews", "[{\"rating\":5}]")
        .text("createdAt", "2001-01-01T00:00:00.000Z")
        .text("_id", "6744a0b1c2d3e4f5a6b7c803")
        .text("status", "Running");
    let product = bob.post(CREATE).form(form).await.expect(201)["product"].clone();
    assert_ne!(product["_id"], "6744a0b1c2d3e4f5a6b7c803");
    assert_eq!(product["sold_out"], json!(0));
    assert_eq!(product["available"], json!(1));
    assert!(product.get("rating").is_none());
    assert_eq!(product["reviews"], json!([]));
    assert!(!product["createdAt"].as_str().unwrap().starts_with("2001"));
}

#[tokio::test]
async fn what_cannot_be_sold_is_refused_field_by_field_and_leaves_nothing_behind() {
    let app = TestApp::start().await;
    let bob = app.seller("bob").await;
    let cases: [(&str, Form); 10] = [
        ("name", bob.listing_form("", "10", 1)),
        ("name", bob.listing_form(&"x".repeat(201), "10", 1)),
        ("discountPrice", bob.listing_form("Lamp", "10.005", 1).text("originalPrice", "10")),
        ("discountPrice", bob.listing_form("Lamp", "0", 1)),
        ("discountPrice", bob.listing_form("Lamp", "Choose", 1)),
        ("stock", bob.listing_form("Lamp", "10", 1).text("stock", "many")),
        ("stock", bob.listing_form("Lamp", "10", 1_000_001)),
        ("category", bob.listing_form("Lamp", "10", 1).text("category", "Choose a category")),
        ("description", bob.listing_form("Lamp", "10", 1).text("description", "undefined")),
        ("images", without_pictures(&bob)),
    ];
    for (field, form) in cases {
        let refusal = bob.post(CREATE).form(form).await.refused(400, "invalid_input");
        let fields: Vec<_> = refusal["errors"].as_array().unwrap().iter().map(|e| &e["field"]).collect();
        assert!(fields.contains(&&json!(field)), "{field}: {refusal}");
    }
    let eleven = (0..10).fold(bob.listing_form("Lamp", "10", 1), |form, _| form.picture("images"));
    bob.post(CREATE).form(eleven).await.expect(400);
    let text = bob.listing_form("Lamp", "10", 1).file("images", "x.png", "image/png", b"no picture".to_vec());
    assert!((400..500).contains(&bob.post(CREATE).form(text).await.status));
    bob.post(CREATE).json(&json!({ "name": "Lamp" })).await.expect(415);
    assert_eq!((count(&app).await, stored_pictures(&app)), (0, 0));
}

fn without_pictures(seller: &Seller) -> Form {
    Form::new()
        .text("images", "undefined")
        .text("name", "Lamp")
        .text("description", "As good as new.")
        .text("category", "Others")
        .text("tags", "")
        .text("originalPrice", "undefined")
        .text("discountPrice", "10")
        .text("stock", "1")
        .text("shopeId", seller.id)
}

#[tokio::test]
async fn only_the_owner_puts_products_into_a_shop() {
    let app = TestApp::start().await;
    let (bob, eve) = (app.seller("bob").await, app.seller("eve").await);
    let ann = app.buyer("ann").await;
    let form = || bob.listing_form("Lamp", "10", 1);
    bob.post(CREATE).bare().form(form()).await.refused(401, "unauthenticated");
    ann.post(CREATE).form(form()).await.refused(401, "unauthenticated");
    eve.post(CREATE).form(form()).await.refused(403, "not_yours");
    let nobodys = |id: &str| bob.listing_form("Lamp", "10", 1).text("shopeId", id);
    for id in ["", "undefined", "{\"$gt\":\"\"}"] {
        let refusal = bob.post(CREATE).form(nobodys(id)).await.refused(400, "invalid_shop");
        assert_eq!(refusal["message"], "Shop is Invalid");
    }
    assert_eq!((count(&app).await, stored_pictures(&app)), (0, 0));
}

#[tokio::test]
async fn somebody_whose_large_upload_is_refused_still_hears_why() {
    let app = TestApp::start().await;
    let bob = app.seller("bob").await;
    for _ in 0..5 {
        let large =
            bob.listing_form("Lamp", "10", 1).file("images", "b.png", "image/png", vec![0; 9_000_000]);
        app.browser().post(CREATE).form(large).await.refused(401, "unauthenticated");
    }
}

#[tokio::test]
async fn where_bare_calls_are_accepted_the_client_without_cookies_can_sell() {
    let app = TestApp::with(&[("AUTH_MODE", "auto")]).await;
    let (bob, eve) = (app.seller("bob").await, app.seller("eve").await);
    let form = || bob.listing_form("Lamp", "10", 5);
    let visitor = app.browser();
    let id = visitor.post(CREATE).form(form()).await.expect(201)["product"]["_id"].clone();
    // A credential that is present is still held against the shop.
    eve.post(CREATE).form(form()).await.refused(403, "not_yours");
    eve.delete(&delete(&id)).await.refused(403, "not_yours");
    let unknown = bob.listing_form("Lamp", "10", 5).text("shopeId", Id::<Shop>::new());
    visitor.post(CREATE).form(unknown).await.refused(400, "invalid_shop");
    // The dashboard, which sends no cookie either, sees the shelf.
    set(&app, &id, doc! { "reserved": 2 }).await;
    assert_eq!(visitor.get(&of_shop(bob.id)).await.expect(200)["products"][0]["stock"], json!(5));
    assert_eq!(eve.get(&of_shop(bob.id)).await.expect(200)["products"][0]["stock"], json!(3));
    set(&app, &id, doc! { "reserved": 0 }).await;
    visitor.delete(&delete(&id)).await.expect(200);
    assert_eq!(count(&app).await, 0);
}

#[tokio::test]
async fn shoppers_see_what_is_available_and_the_owner_what_is_on_the_shelf() {
    let app = TestApp::start().await;
    let (bob, eve) = (app.seller("bob").await, app.seller("eve").await);
    let id = bob.product("Lamp", "10", 9).await["_id"].clone();
    set(&app, &id, doc! { "reserved": 4 }).await;
    let stock =
        |product: &Value| (product["stock"].as_i64().unwrap(), product["available"].as_i64().unwrap());
    for browser in [&app.browser(), &eve.browser, &bob.browser] {
        assert_eq!(stock(&browser.get(&one(&id)).await.expect(200)["product"]), (5, 5));
        assert_eq!(stock(&browser.get(ALL).await.expect(200)["products"][0]), (5, 5));
    }
    assert_eq!(stock(&app.browser().get(&of_shop(bob.id)).await.expect(200)["products"][0]), (5, 5));
    assert_eq!(stock(&eve.get(&of_shop(bob.id)).await.expect(200)["products"][0]), (5, 5));
    assert_eq!(stock(&bob.get(&of_shop(bob.id)).await.expect(200)["products"][0]), (9, 5));
}

#[tokio::test]
async fn unknown_and_malformed_ids_are_answered_as_the_client_expects() {
    let app = TestApp::start().await;
    let browser = app.browser();
    for id in ["undefined", "6744a0b1c2d3e4f5a6b7c803", "%7B%7D"] {
        let list = browser.get(&format!("/api/product/get-all-products-shop/{id}")).await.expect(200);
        assert_eq!(list["products"], json!([]));
    }
    browser.get("/api/product/get-product/6744a0b1c2d3e4f5a6b7c803").await.refused(404, "product_not_found");
    browser.get("/api/product/get-product/undefined").await.refused(400, "invalid_id");
    let bob = app.seller("bob").await;
    bob.delete("/api/product/delete-shop-product/6744a0b1c2d3e4f5a6b7c803")
        .await
        .refused(404, "product_not_found");
    bob.delete("/api/product/delete-shop-product/undefined").await.refused(400, "invalid_id");
    bob.put("/api/product/update-product/6744a0b1c2d3e4f5a6b7c803")
        .json(&json!({ "name": "Lamp" }))
        .await
        .refused(404, "product_not_found");
}

#[tokio::test]
async fn a_shop_deletes_its_own_products_and_their_pictures_follow() {
    let app = TestApp::start().await;
    let (bob, eve) = (app.seller("bob").await, app.seller("eve").await);
    let product = bob.product("Lamp", "10", 9).await;
    let id = &product["_id"];
    app.browser().delete(&delete(id)).await.refused(401, "unauthenticated");
    eve.delete(&delete(id)).await.refused(403, "not_yours");
    let done = bob.delete(&delete(id)).await.expect(200);
    assert_eq!(done["message"], "Delete the product sucessfully");
    assert_eq!(count(&app).await, 0);
    picture_goes(&app.browser(), product["images"][0]["url"].as_str().unwrap()).await;
    bob.delete(&delete(id)).await.refused(404, "product_not_found");
}

#[tokio::test]
async fn a_product_that_open_orders_wait_for_is_not_deleted() {
    let app = TestApp::start().await;
    let bob = app.seller("bob").await;
    let id = bob.product("Lamp", "10", 9).await["_id"].clone();
    set(&app, &id, doc! { "reserved": 3 }).await;
    let refusal = bob.delete(&delete(&id)).await.refused(409, "units_reserved");
    assert!(refusal["message"].as_str().unwrap().starts_with("3 units"), "{refusal}");
    assert_eq!(count(&app).await, 1);
    set(&app, &id, doc! { "reserved": 0 }).await;
    bob.delete(&delete(&id)).await.expect(200);
}

#[tokio::test]
async fn a_seller_changes_single_fields_as_json() {
    let app = TestApp::start().await;
    let bob = app.seller("bob").await;
    let before = bob.product("Lamp", "10", 9).await;
    let id = &before["_id"];
    let change = json!({ "discountPrice": 8.5, "stock": "20", "name": " Desk lamp ", "shopeId": "x" });
    let after = bob.put(&update(id)).json(&change).await.expect(200)["product"].clone();
    let mut expected = before.clone();
    expected["discountPrice"] = json!(8.5);
    expected["stock"] = json!(20);
    expected["available"] = json!(20);
    expected["name"] = json!("Desk lamp");
    assert_eq!(after, expected);
    let cleared = json!({ "originalPrice": null, "tags": "" });
    let after = bob.put(&update(id)).json(&cleared).await.expect(200)["product"].clone();
    assert!(after.get("originalPrice").is_none());
    assert_eq!(after["tags"], "");
    assert_eq!(app.browser().get(&one(id)).await.expect(200)["product"], after);
    bob.put(&update(id)).json(&json!({})).await.expect(200);
}

#[tokio::test]
async fn pictures_are_added_kept_and_removed_but_never_all() {
    let app = TestApp::start().await;
    let bob = app.seller("bob").await;
    let product = bob.product("Lamp", "10", 9).await;
    let (id, first) = (&product["_id"], product["images"][0].clone());
    let names = |product: &Value| -> Vec<Value> {
        product["images"].as_array().unwrap().iter().map(|image| image["public_id"].clone()).collect()
    };
    let form = Form::new().picture("images").text("name", "Desk lamp");
    let two = bob.put(&update(id)).form(form).await.expect(200)["product"].clone();
    assert_eq!((two["name"].clone(), names(&two).len()), (json!("Desk lamp"), 2));
    assert_eq!(two["images"][0], first);

    let keep = json!({ "keepImages": [two["images"][1]["public_id"]] });
    let one = bob.put(&update(id)).json(&keep).await.expect(200)["product"].clone();
    assert_eq!(names(&one), [two["images"][1]["public_id"].clone()]);
    picture_goes(&app.browser(), first["url"].as_str().unwrap()).await;

    let replace = Form::new().picture("images").text("keepImages", "[]");
    let replaced = bob.put(&update(id)).form(replace).await.expect(200)["product"].clone();
    assert_eq!(names(&replaced).len(), 1);
    assert_ne!(names(&replaced), names(&one));

    for change in [json!({ "keepImages": [] }), json!({ "keepImages": ["products/another"] })] {
        bob.put(&update(id)).json(&change).await.refused(400, "invalid_input");
    }
    let ten = (0..10).fold(Form::new(), |form, _| form.picture("images"));
    bob.put(&update(id)).form(ten).await.refused(400, "invalid_input");
    let junk = Form::new().text("keepImages", "products/lamp");
    bob.put(&update(id)).form(junk).await.refused(400, "invalid_input");
    assert_eq!(
        app.browser().get(&format!("/api/product/get-product/{}", id.as_str().unwrap())).await.expect(200)["product"],
        replaced
    );
}

#[tokio::test]
async fn a_change_is_the_owners_alone_and_must_make_sense() {
    let app = TestApp::start().await;
    let (bob, eve) = (app.seller("bob").await, app.seller("eve").await);
    let product = bob.product("Lamp", "10", 9).await;
    let id = &product["_id"];
    let change = json!({ "name": "Mine" });
    app.browser().put(&update(id)).json(&change).await.refused(401, "unauthenticated");
    app.buyer("ann").await.put(&update(id)).json(&change).await.refused(401, "unauthenticated");
    eve.put(&update(id)).json(&change).await.refused(403, "not_yours");
    for change in [
        json!({ "discountPrice": "free" }),
        json!({ "discountPrice": 0 }),
        json!({ "stock": -1 }),
        json!({ "stock": 1.5 }),
        json!({ "category": "Choose a category" }),
        json!({ "name": { "$gt": "" } }),
        json!({ "keepImages": "all" }),
    ] {
        bob.put(&update(id)).json(&change).await.expect(400);
    }
    assert_eq!(app.browser().get(&one(id)).await.expect(200)["product"], product);
}

#[tokio::test]
async fn the_stock_cannot_be_set_below_what_open_orders_wait_for() {
    let app = TestApp::start().await;
    let bob = app.seller("bob").await;
    let id = bob.product("Lamp", "10", 9).await["_id"].clone();
    set(&app, &id, doc! { "reserved": 4 }).await;
    let refusal = bob.put(&update(&id)).json(&json!({ "stock": 3 })).await.refused(409, "units_reserved");
    assert!(refusal["message"].as_str().unwrap().starts_with("4 units"), "{refusal}");
    let product = bob.put(&update(&id)).json(&json!({ "stock": 4 })).await.expect(200)["product"].clone();
    assert_eq!((&product["stock"], &product["available"]), (&json!(4), &json!(0)));
}

#[tokio::test]
async fn changes_at_once_do_not_undo_one_another() {
    let app = TestApp::start().await;
    let bob = app.seller("bob").await;
    let id = bob.product("Lamp", "10", 9).await["_id"].clone();
    let uploads = (0..5).map(|_| {
        let call = bob.put(&update(&id)).form(Form::new().picture("images"));
        async { call.await.expect(200) }
    });
    let rename = async { bob.put(&update(&id)).json(&json!({ "name": "Desk lamp" })).await.expect(200) };
    futures_util::future::join(futures_util::future::join_all(uploads), rename).await;
    let product = app.browser().get(&one(&id)).await.expect(200)["product"].clone();
    assert_eq!(product["images"].as_array().unwrap().len(), 6);
    assert_eq!(product["name"], "Desk lamp");
}

#[tokio::test]
async fn a_list_that_has_not_changed_is_not_sent_again() {
    let app = TestApp::start().await;
    let bob = app.seller("bob").await;
    let id = bob.product("Lamp", "10", 9).await["_id"].clone();
    let visitor = app.browser();
    for path in [ALL.to_owned(), of_shop(bob.id), one(&id)] {
        let tag = visitor.get(&path).await.header("etag").unwrap().to_owned();
        let again = visitor.get(&path).header("if-none-match", &tag).await;
        assert_eq!((again.status, again.body.len()), (304, 0));
        assert_eq!(again.header("etag"), Some(tag.as_str()));
        let several = visitor.get(&path).header("if-none-match", &format!("\"other\", {tag}")).await;
        assert_eq!(several.status, 304);
        visitor.get(&path).header("if-none-match", "W/\"other\"").await.expect(200);
        set(&app, &id, doc! { "name": format!("Lamp for {path}") }).await;
        let changed = visitor.get(&path).header("if-none-match", &tag).await;
        changed.expect(200);
        assert_ne!(changed.header("etag"), Some(tag.as_str()));
    }
}

#[tokio::test]
async fn long_lists_are_compressed_for_those_who_can_read_that() {
    let app = TestApp::start().await;
    let bob = app.seller("bob").await;
    bob.product("Lamp", "10", 9).await;
    let plain = app.browser().get(ALL).await;
    assert_eq!(plain.header("content-encoding"), None);
    let small = app.browser().get(ALL).header("accept-encoding", "gzip").unchecked().await;
    assert_eq!(small.header("content-encoding"), Some("gzip"));
    assert!(small.body.starts_with(&[0x1f, 0x8b]));
    assert_eq!(small.header("etag").unwrap().replace("-gzip\"", "\""), plain.header("etag").unwrap());
}

#[tokio::test]
async fn documents_of_the_old_server_are_mended_on_the_way_out() {
    let app = TestApp::start().await;
    let bob = app.seller("bob").await;
    let gone = Id::<Shop>::new();
    let (bare, full, orphan) = (oid(), oid(), oid());
    let products = app.db.raw::<Document>("products");
    products
        .insert_many([
            doc! { "_id": bare, "shopeId": bob.id.hex() },
            doc! {
                "_id": full, "shopeId": bob.id.hex(), "name": "Lamp", "description": "Light", "category": "Others",
                "tags": bson::Bson::Null, "originalPrice": bson::Bson::Null, "discountPrice": "12", "stock": "10",
                "images": [{ "public_id": "", "url": "lamp.png" }, { "_id": oid(), "url": "" }],
                "shop": { "_id": bob.id, "name": "Old name", "email": "bob@old.test", "withdrawMethod": { "bankName": "B" } },
                "reviews": [
                    { "_id": oid(), "rating": 500, "comment": "!", "productId": "x",
                      "user": { "_id": "u", "name": "Ann", "email": "ann@old.test", "addresses": [] } },
                    { "_id": oid() },
                ],
                "rating": 500, "sold_out": 2.0, "createdAt": "2024-01-01", "__v": 3,
            },
            doc! {
                "_id": orphan, "shopeId": gone.hex(), "name": "Vase", "discountPrice": 5, "stock": "NaN",
                "reviews": bson::Bson::Null, "images": [],
                "shop": { "_id": gone, "name": "Closed", "avatar": { "public_id": "a", "url": "https://x.test/a.png" } },
            },
        ])
        .await
        .unwrap();
    app.caught_up().await;
    // Every answer is held to the contract, which says what the client cannot do without.
    let list = app.browser().get(ALL).await.expect(200)["products"].clone();
    let by_id = |id: ObjectId| list.as_array().unwrap().iter().find(|p| p["_id"] == id.to_hex()).unwrap();
    let bare = by_id(bare);
    assert!(bare["images"][0]["url"].as_str().unwrap().starts_with("http"));
    assert_eq!((&bare["name"], &bare["reviews"], &bare["stock"]), (&json!(""), &json!([]), &json!(0)));
    let full = by_id(full);
    assert_eq!(full["stock"], json!(10));
    assert_eq!(full["discountPrice"], json!(12));
    assert_eq!(full["images"].as_array().unwrap().len(), 1);
    assert_eq!(full["images"][0]["url"], format!("{}/uploads/lamp.png", app.base));
    assert_eq!(full["shop"]["name"], "bob");
    assert_eq!(full["rating"], json!(5));
    assert_eq!(full["reviews"][0]["user"]["name"], "Ann");
    assert_eq!(full["createdAt"], "2024-01-01T00:00:00.000Z");
    let orphan = by_id(orphan);
    assert_eq!((&orphan["shop"]["name"], &orphan["stock"]), (&json!("Closed"), &json!(0)));
}

fn oid() -> ObjectId {
    Id::<Listing>::new().oid()
}

#[tokio::test]
async fn a_new_name_of_the_shop_shows_on_its_old_products() {
    let app = TestApp::start().await;
    let bob = app.seller("bob").await;
    bob.product("Lamp", "10", 9).await;
    let rename = doc! { "$set": { "name": "Bob & Sons", "description": "Lamps since 1950" } };
    app.db.of::<Shop>().update_one(doc! { "_id": bob.id }, rename).await.unwrap();
    app.caught_up().await;
    let product = app.browser().get(ALL).await.expect(200)["products"][0].clone();
    assert_eq!(product["shop"]["name"], "Bob & Sons");
    // The client reads the misspelt one.
    assert_eq!(product["shop"]["desciption"], "Lamps since 1950");
}

/// The form as bytes, to be cut off at will.
fn raw_request(seller: &Seller, app: &TestApp) -> (Vec<u8>, Vec<u8>) {
    let mut body = Vec::new();
    let mut part = |head: &str, content: &[u8]| {
        body.extend_from_slice(format!("--XX\r\nContent-Disposition: form-data; {head}\r\n\r\n").as_bytes());
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n");
    };
    part("name=\"images\"; filename=\"a.png\"\r\nContent-Type: image/png", &picture::png());
    for (name, value) in [
        ("name", "Lamp"),
        ("description", "Light"),
        ("category", "Others"),
        ("tags", "x"),
        ("discountPrice", "10"),
        ("stock", "3"),
        ("shopeId", &seller.id.hex()),
    ] {
        part(&format!("name=\"{name}\""), value.as_bytes());
    }
    body.extend_from_slice(b"--XX--\r\n");
    let head = format!(
        "POST {CREATE} HTTP/1.1\r\nHost: {}\r\nCookie: {}\r\nContent-Type: multipart/form-data; boundary=XX\r\n\
         Content-Length: {}\r\n\r\n",
        app.base.trim_start_matches("http://"),
        seller.cookie_header().unwrap(),
        body.len()
    );
    (head.into_bytes(), body)
}

async fn connect(app: &TestApp) -> TcpStream {
    TcpStream::connect(app.base.trim_start_matches("http://")).await.unwrap()
}

#[tokio::test]
async fn a_form_that_is_cut_off_writes_nothing() {
    let app = TestApp::start().await;
    let bob = app.seller("bob").await;
    let (head, body) = raw_request(&bob, &app);
    for end in [body.len() / 3, body.len() - 60, body.len() - 1] {
        let mut connection = connect(&app).await;
        connection.write_all(&head).await.unwrap();
        connection.write_all(&body[..end]).await.unwrap();
        // The client is gone; whether it would still read an answer makes no difference.
        connection.shutdown().await.unwrap();
        let mut answer = Vec::new();
        _ = connection.read_to_end(&mut answer).await;
        assert!(!String::from_utf8_lossy(&answer).starts_with("HTTP/1.1 2"), "cut off at {end}");
    }
    assert_eq!((count(&app).await, stored_pictures(&app)), (0, 0));
}

#[tokio::test]
async fn a_form_that_arrived_is_stored_although_the_client_has_left() {
    let app = TestApp::start().await;
    let bob = app.seller("bob").await;
    let (head, body) = raw_request(&bob, &app);
    let mut connection = connect(&app).await;
    connection.write_all(&head).await.unwrap();
    connection.write_all(&body).await.unwrap();
    drop(connection);
    let start = Instant::now();
    while app.browser().get(ALL).await.expect(200)["products"][0]["name"] != "Lamp" {
        assert!(start.elapsed() < Duration::from_secs(20), "the product never appears");
    }
}
