//! A database that the old server wrote, taken over as it is: what the client needs is in every
//! answer, what is private is in none, people log in as before and open orders go on.

use bson::{Document, doc};
use serde_json::{Value, json};
use tests::{
    Browser, TestApp,
    legacy::{
        self, ANN, BARE, BEA, CHAT, GONE, GOOD, HASH, HOLLOW, KETTLE, LAMP, NULL, ORDER, OVER, PASSWORD,
        RUIN, SALE, SHORT, SISTER, TEXT, TWINS,
    },
    mongo::TestDatabase,
};

/// Souk on such a database.
async fn taken_over() -> TestApp {
    let database = TestDatabase::new().await;
    let db = shared::db::Db::connect(&database.uri, "souk-test").await.unwrap();
    legacy::plant(&db).await;
    TestApp::on(database, &[]).await
}

async fn user(app: &TestApp, email: &str) -> Browser {
    log_in(app, "/api/user/login-user", email).await
}

async fn seller(app: &TestApp, email: &str) -> Browser {
    log_in(app, "/api/shop/shop-login", email).await
}

async fn log_in(app: &TestApp, path: &str, email: &str) -> Browser {
    let browser = app.browser();
    let said = browser.post(path).json(&json!({ "email": email, "password": PASSWORD })).await;
    let said = said.expect(200);
    assert!(!said.to_string().contains("$2b$"), "{said}");
    browser
}

/// The answer, after a look at everything that must not be in it but for what is `allowed`.
async fn read(browser: &Browser, path: &str, status: u16, allowed: &[&str]) -> Value {
    let answer = browser.get(path).await.expect(status);
    let mut text = answer.to_string();
    for private in allowed {
        text = text.replace(private, "");
    }
    let secrets = [
        legacy::PRIVATE,
        legacy::PRIVATE_NUMBER,
        "$2b$",
        "password",
        "resetPassword",
        "withdrawMethod",
        "166.3",
        "transections",
        "$oid",
        "$date",
    ];
    for secret in secrets {
        assert!(!text.contains(secret), "{path} lets `{secret}` out: {answer}");
    }
    answer
}

fn list<'a>(answer: &'a Value, name: &str) -> &'a Vec<Value> {
    answer[name].as_array().unwrap_or_else(|| panic!("{name} is no list: {answer}"))
}

fn by_id<'a>(items: &'a [Value], id: &str) -> &'a Value {
    items.iter().find(|item| item["_id"] == id).unwrap_or_else(|| panic!("no {id} in {items:?}"))
}

fn has_text(item: &Value, pointers: &[&str]) {
    for pointer in pointers {
        assert!(item.pointer(pointer).is_some_and(Value::is_string), "{pointer} is no text: {item}");
    }
}

fn has_number(item: &Value, pointers: &[&str]) {
    for pointer in pointers {
        assert!(item.pointer(pointer).is_some_and(Value::is_number), "{pointer} is no number: {item}");
    }
}

/// A picture that a browser can show.
fn has_picture(item: &Value, pointer: &str) {
    let url = item.pointer(pointer).and_then(Value::as_str);
    assert!(url.is_some_and(|url| url.starts_with("http")), "{pointer} is no address: {item}");
}

/// What the client reads of a product or an event without asking whether it is there.
fn is_listing(item: &Value) {
    has_text(item, &["/_id", "/name", "/description", "/category", "/shopeId", "/createdAt"]);
    has_text(item, &["/shop/_id", "/shop/name"]);
    has_number(item, &["/discountPrice", "/stock", "/sold_out"]);
    has_picture(item, "/images/0/url");
    has_picture(item, "/shop/avatar/url");
    assert!(item["stock"].as_i64().unwrap() >= 0, "{item}");
}

fn is_order(item: &Value) {
    has_text(item, &["/_id", "/status", "/createdAt"]);
    has_number(item, &["/totalPrice"]);
    assert!(item["shippingAddress"].is_object() && item["user"].is_object(), "{item}");
    for line in list(item, "cart") {
        has_text(line, &["/_id", "/name"]);
        has_number(line, &["/count", "/discountPrice"]);
        has_picture(line, "/images/0/url");
    }
}

async fn stored(app: &TestApp, collection: &str, id: &str) -> Document {
    let id = bson::oid::ObjectId::parse_str(id).unwrap();
    app.db.raw(collection).find_one(doc! { "_id": id }).await.unwrap().unwrap()
}

#[tokio::test]
async fn visitors_see_every_product_and_event_whole() {
    let app = taken_over().await;
    let visitor = app.browser();
    let answer = read(&visitor, "/api/product/get-all-products", 200, &[]).await;
    let products = list(&answer, "products");
    assert_eq!(products.len(), 4);
    for product in products {
        is_listing(product);
        for review in list(product, "reviews") {
            has_text(review, &["/_id", "/user/name", "/comment", "/productId"]);
            has_number(review, &["/rating"]);
            has_picture(review, "/user/avatar/url");
        }
    }
    let kettle = by_id(products, KETTLE);
    assert_eq!((&kettle["stock"], &kettle["rating"]), (&json!(10), &json!(3.75)));
    assert_eq!(list(kettle, "reviews").len(), 3);
    assert_eq!(by_id(products, RUIN)["stock"], 0);

    let answer = read(&visitor, "/api/event/get-all-events-shop", 200, &[]).await;
    let events = list(&answer, "events");
    assert_eq!(events.len(), 2);
    for event in events {
        is_listing(event);
        has_text(event, &["/start_date", "/end_date"]);
    }
    assert_eq!(by_id(events, SALE)["status"], "Running");
    assert_eq!(by_id(events, OVER)["status"], "Ended");

    for shop in [GOOD, BARE, SHORT, NULL, GONE, "undefined"] {
        let products = read(&visitor, &format!("/api/product/get-all-products-shop/{shop}"), 200, &[]).await;
        list(&products, "products").iter().for_each(is_listing);
        let events = read(&visitor, &format!("/api/event/get-all-events-shop/{shop}"), 200, &[]).await;
        list(&events, "events").iter().for_each(is_listing);
    }
    for id in [KETTLE, RUIN, LAMP] {
        is_listing(&read(&visitor, &format!("/api/product/get-product/{id}"), 200, &[]).await["product"]);
    }
    is_listing(&read(&visitor, &format!("/api/event/get-event/{SALE}"), 200, &[]).await["event"]);
}

#[tokio::test]
async fn visitors_see_of_people_what_is_public() {
    let app = taken_over().await;
    // One who is logged in sees no more of the others.
    for browser in
        [app.browser(), user(&app, "ann@private.test").await, seller(&app, "bare@private.test").await]
    {
        for shop in [GOOD, SHORT, NULL] {
            let page = read(&browser, &format!("/api/shop/get-shop-info/{shop}"), 200, &[]).await;
            has_text(&page, &["/sellerInfo/_id", "/sellerInfo/name", "/sellerInfo/createdAt"]);
            has_picture(&page, "/sellerInfo/avatar/url");
            assert!(page["sellerInfo"].get("availableBalance").is_none(), "{page}");
            let page = read(&browser, &format!("/api/shop/seller-info/{shop}"), 201, &[]).await;
            has_text(&page, &["/seller/_id", "/seller/name"]);
            has_picture(&page, "/seller/avatar/url");
        }
        let coupon = read(&browser, "/api/coupan/coupan-verified/OLD10", 200, &[]).await;
        assert_eq!(coupon["coupanCode"]["seller"]["_id"], GOOD);
        has_number(&coupon, &["/coupanCode/value"]);
    }
    for browser in [user(&app, "ann@private.test").await, seller(&app, "good@private.test").await] {
        for id in [BEA, TWINS[0]] {
            let page = read(&browser, &format!("/api/user/user-info/{id}"), 201, &[]).await;
            has_text(&page, &["/user/_id", "/user/name"]);
            has_picture(&page, "/user/avatar/url");
        }
    }
}

#[tokio::test]
async fn passwords_of_the_old_server_open_every_account() {
    let app = taken_over().await;
    for (email, id) in [("ann@private.test", ANN), ("bea@private.test", BEA), ("twin@private.test", TWINS[0])]
    {
        let browser = user(&app, email).await;
        let me = browser.get("/api/user/getUser").await.expect(201);
        assert_eq!(me["user"]["_id"], id);
        assert!(me["user"]["addresses"].is_array(), "{me}");
        has_picture(&me, "/user/avatar/url");
        assert!(!me.to_string().contains("$2b$") && me["user"].get("password").is_none(), "{me}");
    }
    let ann = user(&app, "ann@private.test").await.get("/api/user/getUser").await.expect(201);
    assert_eq!(ann["user"]["phoneNumber"], 3_009_812_345_i64);
    assert_eq!(list(&ann["user"], "addresses").len(), 2);
    assert_eq!(ann["user"]["addresses"][0]["zipCode"], 54000);

    for (email, id) in [
        ("good@private.test", GOOD),
        ("bare@private.test", BARE),
        ("short@private.test", SHORT),
        ("null@private.test", NULL),
    ] {
        let browser = seller(&app, email).await;
        let me = browser.get("/api/shop/getSeller").await.expect(201);
        let me = &me["seller"];
        assert_eq!(me["_id"], id);
        has_text(me, &["/name", "/email"]);
        has_number(me, &["/availableBalance"]);
        has_picture(me, "/avatar/url");
        assert!(me["transections"].is_array() && !me.to_string().contains("$2b$"), "{me}");
        // The client cuts the last three characters off, and dies of anything that has fewer.
        let method = &me["withdrawMethod"];
        let account = method["bankAccountNumber"].as_str();
        assert!(method.is_null() || account.is_some_and(|number| number.len() >= 3), "{me}");
        assert_eq!(account.is_some(), id == GOOD, "{me}");
        let own = browser.get(&format!("/api/shop/get-shop-info/{id}")).await.expect(200);
        has_number(&own, &["/sellerInfo/availableBalance"]);
        if id == GOOD {
            assert_eq!(own["sellerInfo"]["availableBalance"], 166.32);
        }
    }
    let wrong = json!({ "email": "ann@private.test", "password": HASH });
    let refused = app.browser().post("/api/user/login-user").json(&wrong).await;
    assert!(refused.status >= 400, "the hash is no password");
}

#[tokio::test]
async fn buyers_and_sellers_find_their_orders_and_no_more_of_each_other_than_they_need() {
    let app = taken_over().await;
    // The address of the order, and the buyer's number.
    let delivery = ["private lane 1", "3009812345"];
    let ann = user(&app, "ann@private.test").await;
    let answer = read(&ann, &format!("/api/order/getOrders/{ANN}"), 200, &delivery).await;
    let orders = list(&answer, "orders");
    assert_eq!(orders.len(), 3);
    orders.iter().for_each(is_order);
    let text = by_id(orders, TEXT);
    assert_eq!((&text["totalPrice"], &text["paymentInfo"]["status"]), (&json!(59.97), &json!("succeeded")));
    assert_eq!(list(text, "cart").iter().map(|line| &line["count"]).collect::<Vec<_>>(), [1, 1]);
    assert_eq!(by_id(orders, ORDER)["totalPrice"], 153.38);
    assert_eq!(by_id(orders, ORDER)["shippingAddress"]["zipCode"], "054000");
    is_order(&read(&ann, &format!("/api/order/get-order/{TEXT}"), 200, &delivery).await["order"]);

    let bea = user(&app, "bea@private.test").await;
    let answer = read(&bea, &format!("/api/order/getOrders/{BEA}"), 200, &[]).await;
    let [hollow] = list(&answer, "orders").as_slice() else { panic!("{answer}") };
    is_order(hollow);
    assert_eq!((&hollow["_id"], &hollow["status"]), (&json!(HOLLOW), &json!("Processing")));

    let good = seller(&app, "good@private.test").await;
    let answer = read(&good, &format!("/api/order/getShopOrders/{GOOD}"), 200, &delivery).await;
    let orders = list(&answer, "orders");
    assert_eq!(orders.len(), 3);
    orders.iter().for_each(is_order);
    let bare = seller(&app, "bare@private.test").await;
    let answer = read(&bare, &format!("/api/order/getShopOrders/{BARE}"), 200, &delivery).await;
    list(&answer, "orders").iter().for_each(is_order);
    assert_eq!(list(&answer, "orders").len(), 1);
}

#[tokio::test]
async fn coupons_conversations_messages_and_withdrawals_open() {
    let app = taken_over().await;
    let good = seller(&app, "good@private.test").await;
    let answer = read(&good, &format!("/api/coupan/get-coupans/{GOOD}"), 200, &[]).await;
    for coupon in list(&answer, "coupans") {
        has_text(coupon, &["/_id", "/name", "/seller/_id"]);
        has_number(coupon, &["/value"]);
    }
    assert_eq!(list(&answer, "coupans").len(), 2);

    let ann = user(&app, "ann@private.test").await;
    let answer = read(&ann, &format!("/api/conversation/get-all-conversation-user/{ANN}"), 201, &[]).await;
    let chats = list(&answer, "conversations");
    assert_eq!(chats.len(), 3);
    assert_eq!(by_id(chats, CHAT)["members"], json!([ANN, GOOD]));
    let answer =
        read(&good, &format!("/api/conversation/get-all-conversation-seller/{GOOD}"), 201, &[]).await;
    assert_eq!(list(&answer, "conversations").len(), 1);
    for browser in [&ann, &good] {
        let answer = read(browser, &format!("/api/messages/get-all-messages/{CHAT}"), 201, &[]).await;
        let messages = list(&answer, "messages");
        let texts: Vec<_> = messages.iter().map(|message| message["text"].as_str().unwrap()).collect();
        assert_eq!(texts, ["Hello", "Hello Ann", "Does it boil?"]);
        for message in messages {
            has_text(message, &["/_id", "/sender", "/createdAt"]);
            assert!(message.get("images").is_none_or(Value::is_null), "a broken picture: {message}");
        }
    }
    // The conversation that the two have already, found by its members.
    let body = json!({ "groupTitle": format!("{GOOD}{ANN}"), "userId": ANN, "sellerId": GOOD });
    let again = ann.post("/api/conversation/create-new-conversation").json(&body).await.expect(200);
    assert_eq!(again["conversation"]["_id"], CHAT);
}

#[tokio::test]
async fn an_open_order_goes_on_with_its_own_share_of_the_checkout() {
    let app = taken_over().await;
    let good = seller(&app, "good@private.test").await;
    let moved = async |id: &str, status: &str| {
        let path = format!("/api/order/update-order-status/{id}");
        good.put(&path).json(&json!({ "status": status })).await.expect(200)
    };
    moved(ORDER, "Transferred to delivery partner").await;
    moved(ORDER, "Transferred to delivery partner").await;
    let kettle = stored(&app, "products", KETTLE).await;
    let number =
        |document: &Document, field: &str| shared::lenient::as_int(document.get(field).unwrap()).unwrap();
    // Never reserved, and taken once.
    assert_eq!(
        (number(&kettle, "stock"), number(&kettle, "reserved"), number(&kettle, "sold_out")),
        (8, 0, 5)
    );
    moved(ORDER, "Delivered").await;
    moved(ORDER, "Delivered").await;
    // Two kettles and their shipping are 131.93, not the checkout's 153.38; a tenth is the fee.
    let shop = stored(&app, "shops", GOOD).await;
    assert_eq!(number(&shop, "balanceMinor"), 16632 + 11874);
    let me = good.get("/api/shop/getSeller").await.expect(201);
    assert_eq!(me["seller"]["availableBalance"], 285.06);
    // The ones with less to them go on as well.
    moved(TEXT, "On the way").await;
    moved(HOLLOW, "Shipping").await;
}

#[tokio::test]
async fn an_order_that_the_old_server_delivered_can_be_refunded() {
    let app = taken_over().await;
    let ann = user(&app, "ann@private.test").await;
    let asked = ann.put(&format!("/api/order/refund-order/{SISTER}"));
    asked.json(&json!({ "status": "Refund Processing" })).await.expect(200);
    let bare = seller(&app, "bare@private.test").await;
    let path = format!("/api/order/order-refund-success/{SISTER}");
    for _ in 0..2 {
        bare.put(&path).json(&json!({ "status": "Refund Success" })).await.expect(200);
    }
    let lamp = stored(&app, "products", LAMP).await;
    // 82 and 1 are 83, not 821.
    assert_eq!(shared::lenient::as_int(lamp.get("stock").unwrap()), Some(83));
    let me = bare.get("/api/shop/getSeller").await.expect(201);
    assert_eq!(me["seller"]["availableBalance"], -19.31);
}

#[tokio::test]
async fn what_is_left_of_a_legacy_shop_can_be_bought() {
    let app = taken_over().await;
    let bea = user(&app, "bea@private.test").await;
    let body = json!({
        "cart": [{ "_id": LAMP, "count": 2 }, { "_id": SALE }],
        "shippingAddress": { "address1": "a", "address2": "", "country": "PK", "city": "PB", "zipCode": "1" },
        "user": { "_id": BEA },
        "totalPrice": null,
        "paymentInfo": { "type": "Cash on Delivery" },
    });
    let placed = bea.post("/api/order/create-order").json(&body).await.expect(201);
    let mut totals: Vec<f64> =
        list(&placed, "orders").iter().map(|order| order["totalPrice"].as_f64().unwrap()).collect();
    totals.sort_by(f64::total_cmp);
    assert_eq!(totals, [22.0, 42.9]);
    let lamp = stored(&app, "products", LAMP).await;
    assert_eq!((lamp.get_i64("stock").unwrap(), lamp.get_i64("reserved").unwrap()), (82, 2));
    let ruin = json!({
        "cart": [{ "_id": RUIN, "count": 1 }], "shippingAddress": body["shippingAddress"], "user": body["user"],
        "totalPrice": 1.1, "paymentInfo": body["paymentInfo"],
    });
    let refused = bea.post("/api/order/create-order").json(&ruin).await;
    assert_eq!(refused.status, 409, "{}", refused.text());
}
