//! Sixteen flows that are broken, or would be, in the existing client alone, and that a server makes work by answering
//! in a certain way. One test a flow, named after it; the numbers are those of `docs/COMPAT.md`.

use std::time::{Duration, Instant};

use bson::{DateTime, doc, oid::ObjectId};
use serde_json::{Value, json};
use tests::{Browser, Form, TestApp, app::CLIENT, people::PASSWORD, picture};
use tokio::{io::AsyncWriteExt as _, net::TcpStream};

const DAY: i64 = 86_400_000;

/// A shipping address as the checkout page sends it.
fn home() -> Value {
    json!({ "address1": "7 Canal Road", "address2": "Lahore", "zipCode": "54000", "country": "PK", "city": "PB" })
}

/// What `create-order` gets from the client.
fn checkout(cart: Value, total: Value) -> Value {
    json!({
        "cart": cart,
        "shippingAddress": home(),
        "user": null,
        "totalPrice": total,
        "paymentInfo": { "type": "Cash on Delivery" },
    })
}

fn iso(app: &TestApp, days: i64) -> String {
    let at = app.clock.now().timestamp_millis() + days * DAY;
    DateTime::from_millis(at).try_to_rfc3339_string().unwrap()
}

async fn event(app: &TestApp, seller: &tests::Seller, name: &str, price: &str, days: (i64, i64)) -> Value {
    let form = seller
        .listing_form(name, price, 5)
        .text("start_date", iso(app, days.0))
        .text("end_date", iso(app, days.1));
    seller.post("/api/event/create-event").form(form).await.expect(201)["event"].clone()
}

/// Asks until the answer is as wanted. The work that is waited for goes on elsewhere in this process.
async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
    }
}

/// 1. The payment page exists only if the key is not empty.
#[tokio::test]
async fn the_payment_page_exists_because_the_publishable_key_is_never_empty() {
    let app = TestApp::with(&[("STRIPE_SECRET_KEY", ""), ("STRIPE_APi_KEY", "")]).await;
    let key = app.browser().get("/api/stripe/stripeApiKey").await.expect(200)["stripeApiKey"].clone();
    assert!(key.as_str().is_some_and(|key| !key.is_empty()), "{key}");
}

/// 2. After a hard load the form sends `null` for what was not touched, and it cannot produce an address that
/// somebody typed.
#[tokio::test]
async fn a_profile_form_after_a_hard_load_changes_only_what_was_touched() {
    let app = TestApp::start().await;
    let ann = app.buyer("ann").await;
    let untouched = json!({ "name": null, "email": null, "password": PASSWORD, "phoneNumber": null });
    let user = ann.put("/api/user/updateUserInfo").json(&untouched).await.expect(200)["user"].clone();
    assert_eq!((user["name"].as_str(), user["email"].as_str()), (Some("ann"), Some("ann@example.com")));
    assert!(user.get("phoneNumber").is_none(), "{user}");

    let named = json!({ "name": "Ann Lee", "password": PASSWORD, "phoneNumber": "3001234567" });
    let user = ann.put("/api/user/updateUserInfo").json(&named).await.expect(200)["user"].clone();
    assert_eq!((&user["name"], &user["phoneNumber"]), (&json!("Ann Lee"), &json!(3_001_234_567_u64)));

    let typed =
        json!({ "name": null, "email": "ann@example.comx", "password": PASSWORD, "phoneNumber": null });
    let answer = ann.put("/api/user/updateUserInfo").json(&typed).await;
    assert!((400..500).contains(&answer.status), "{}", answer.text());
    assert!(answer.json()["message"].as_str().is_some_and(|said| !said.is_empty()));
}

/// 3. Items put in the cart from event cards and the wish list have no count; the client shows NaN.
#[tokio::test]
async fn an_order_of_event_and_wish_list_items_without_a_count_goes_through() {
    let app = TestApp::start().await;
    let (ann, bobs) = (app.buyer("ann").await, app.seller("bobs").await);
    let lamp = bobs.product("Lamp", "20", 3).await;
    let week = event(&app, &bobs, "Lamp week", "10", (0, 7)).await;
    let mut pressed = week.clone();
    pressed["count"] = Value::Null;
    for (cart, total, left) in [
        (json!([lamp.clone(), week.clone()]), Value::Null, 4),
        (json!([lamp.clone(), pressed]), json!("NaN"), 3),
    ] {
        // Within seconds it would be a second click on the same button.
        app.clock.advance(60_000);
        let body = ann.post("/api/order/create-order").json(&checkout(cart, total)).await.expect(201);
        let order = &body["orders"][0];
        assert_eq!(order["totalPrice"], json!(33), "{order}");
        assert!(order["cart"].as_array().unwrap().iter().all(|item| item["count"] == 1), "{order}");
        let id = week["_id"].as_str().unwrap();
        let seen = app.browser().get(&format!("/api/event/get-event/{id}")).await.expect(200);
        assert_eq!(seen["event"]["stock"], left);
    }
}

/// 4. The old mail led sellers to the shoppers' page, where a shop became a shopper.
#[tokio::test]
async fn the_mail_to_a_new_shop_leads_to_the_sellers_activation_page() {
    let app = TestApp::start().await;
    let bobs = app.open_shop_through_mail("bobs").await;
    let mails: Vec<_> = app.mails().all().into_iter().filter(|mail| mail.to.contains(&bobs.email)).collect();
    assert_eq!(mails.len(), 1);
    assert!(mails[0].link("/activation/").starts_with(&format!("{CLIENT}/activation/seller/")));
}

/// 5. The activation page may call twice.
#[tokio::test]
async fn activation_clicked_twice_succeeds_twice_and_makes_one_account() {
    let app = TestApp::start().await;
    let browser = app.browser();
    let form = Form::new()
        .picture("file")
        .text("name", "Ann")
        .text("password", PASSWORD)
        .text("email", "ann@example.com");
    browser.post("/api/user/create-user").bare().form(form).await.expect(200);
    let token = app.mails().await_mail_to("ann@example.com").await.token_after("/activation/");
    let click = || async {
        let body = json!({ "activation_token": token });
        browser.post("/api/user/activation").bare().json(&body).await.expect(201)["user"]["_id"].clone()
    };
    let (first, second) = tokio::join!(click(), click());
    assert_eq!(first, second);
    assert_eq!(first, click().await);
    let count = app.db.raw::<bson::Document>("users").count_documents(doc! {}).await.unwrap();
    assert_eq!(count, 1);
}

/// 6. The product page asks for `/uploads/<absolute address of the picture>`.
#[tokio::test]
async fn a_reviewers_avatar_is_found_where_the_product_page_looks_for_it() {
    let app = TestApp::start().await;
    let ann = app.sign_up_through_mail("ann").await;
    let avatar = ann.get("/api/user/getUser").await.expect(201)["user"]["avatar"]["url"].clone();
    let url = avatar.as_str().unwrap();
    let answer = app.browser().get(&format!("/uploads/{url}")).await;
    answer.expect(200);
    assert!(answer.header("content-type").unwrap().starts_with("image/"));
    // Never a way to elsewhere.
    for foreign in
        ["https://elsewhere.example/a.png", "//elsewhere.example/a.png", "http://127.0.0.1:1/a.png"]
    {
        let answer = app.browser().get(&format!("/uploads/{foreign}")).await;
        assert!(matches!(answer.status, 400 | 404), "{foreign} → {}", answer.status);
        assert!(answer.header("location").is_none());
    }
}

/// 7. The product page reads `shop.desciption`.
#[tokio::test]
async fn a_shops_description_appears_under_the_name_that_the_product_page_reads() {
    let app = TestApp::start().await;
    let bobs = app.seller("bobs").await;
    let change = json!({ "name": "bobs", "description": "Lamps, by hand." });
    bobs.put("/api/shop/updateSellerInfo").json(&change).await.expect(200);
    bobs.product("Lamp", "20", 3).await;
    let products = app.browser().get("/api/product/get-all-products").await.expect(200);
    let shop = &products["products"][0]["shop"];
    assert_eq!(
        (&shop["description"], &shop["desciption"]),
        (&json!("Lamps, by hand."), &json!("Lamps, by hand."))
    );
}

/// 8. The client colours exactly `Running`, `Ended` and `succeeded`.
#[tokio::test]
async fn the_chips_of_events_and_payments_say_what_the_client_colours() {
    let app = TestApp::start().await;
    let (ann, bobs) = (app.buyer("ann").await, app.seller("bobs").await);
    let id = event(&app, &bobs, "Lamp week", "10", (0, 7)).await["_id"].as_str().unwrap().to_owned();
    let status = async || {
        let body = app.browser().get("/api/event/get-all-events-shop").await.expect(200);
        let events = body["events"].as_array().unwrap().clone();
        events.into_iter().find(|event| event["_id"] == id.as_str()).unwrap()["status"].clone()
    };
    assert_eq!(status().await, "Running");
    app.clock.advance(8 * DAY);
    assert_eq!(status().await, "Ended");

    let lamp = bobs.product("Lamp", "20", 3).await;
    let order = ann
        .post("/api/order/create-order")
        .json(&checkout(json!([lamp]), json!(22)))
        .await
        .expect(201)["orders"][0]
        .clone();
    assert_ne!(order["paymentInfo"]["status"], "succeeded");
    let path = format!("/api/order/update-order-status/{}", order["_id"].as_str().unwrap());
    let order = bobs.put(&path).json(&json!({ "status": "Delivered" })).await.expect(200)["order"].clone();
    assert_eq!(order["paymentInfo"]["status"], "succeeded");
}

/// 9. The sellers' inbox never calls `update-last-message`.
#[tokio::test]
async fn a_sellers_reply_is_the_last_message_of_the_conversation() {
    let app = TestApp::start().await;
    let (ann, bobs) = (app.buyer("ann").await, app.seller("bobs").await);
    let conversation = begin(&ann, &ann.id.hex(), &bobs.id.hex()).await;
    let reply =
        json!({ "sender": bobs.id.hex(), "text": "As the sun.", "conversationId": conversation["_id"] });
    bobs.post("/api/messages/create-new-message").json(&reply).await.expect(201);
    let path = format!("/api/conversation/get-all-conversation-user/{}", ann.id);
    let listed = ann.get(&path).await.expect(201)["conversations"][0].clone();
    assert_eq!(
        (&listed["lastMessage"], &listed["lastMessageId"]),
        (&json!("As the sun."), &json!(bobs.id.hex()))
    );
}

async fn begin(browser: &Browser, user: &str, shop: &str) -> Value {
    let request = json!({ "groupTitle": format!("{shop}{user}"), "userId": user, "sellerId": shop });
    browser.post("/api/conversation/create-new-conversation").json(&request).await.expect(201)["conversation"]
        .clone()
}

/// 10. The client does not announce itself again after a reconnect, and one person has several tabs.
#[tokio::test]
async fn presence_and_live_messages_survive_reconnects_and_reach_every_tab() {
    let app = TestApp::start().await;
    let chat = app.chat().await;
    let (ann, bobs) = (app.buyer("ann").await, app.seller("bobs").await);
    let conversation = begin(&ann, &ann.id.hex(), &bobs.id.hex()).await["_id"].clone();
    let say = async |browser: &Browser, sender: String, text: &str| {
        let message = json!({ "sender": sender, "text": text, "conversationId": conversation });
        browser.post("/api/messages/create-new-message").json(&message).await.expect(201);
    };
    let mut first = chat.connect(&ann).await;
    first.emit("addUser", &json!(ann.id.hex())).await;
    let mut tabs = [chat.connect(&bobs).await, chat.connect(&bobs).await];
    // The connection is lost, and the next one says nothing about itself.
    first.close().await;
    let mut again = chat.connect(&ann).await;
    for tab in &mut tabs {
        tab.online(&[ann.id.hex(), bobs.id.hex()]).await;
    }
    say(&bobs, bobs.id.hex(), "As the sun.").await;
    assert_eq!(again.next("getMessage").await["text"], "As the sun.");
    say(&ann, ann.id.hex(), "Is it bright?").await;
    for tab in &mut tabs {
        assert_eq!(tab.next("getMessage").await["text"], "Is it bright?");
    }
}

/// 11. The client believes in a session as long as the cookie `token` is there.
#[tokio::test]
async fn a_stale_session_loses_its_cookies_with_the_401() {
    let app = TestApp::start().await;
    let (ann, bobs) = (app.buyer("ann").await, app.seller("bobs").await);
    app.clock.advance(i64::try_from(app.config.session_ttl.as_millis()).unwrap() + 1_000);
    assert!(ann.cookie("token").is_some());
    ann.get("/api/user/getUser").await.refused(401, "unauthenticated");
    assert!(ann.cookie("token").is_none() && ann.cookie("user_token").is_none());
    bobs.get("/api/shop/getSeller").await.refused(401, "unauthenticated");
    assert!(bobs.cookie("seller_token").is_none());
    // The same with the old server's own cookie, in which the session itself stood.
    let old = app.browser();
    old.set_cookie("token", &ann.token);
    old.get("/api/user/getUser").await.refused(401, "unauthenticated");
    assert!(old.cookie("token").is_none());
}

/// The bytes of a product form, by hand: a page that leaves does not wait for a library.
fn raw_form(shop: &str, picture: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    let head = "--cut\r\nContent-Disposition: form-data; name=\"images\"; filename=\"a.png\"\r\nContent-Type: image/png\r\n\r\n";
    body.extend_from_slice(head.as_bytes());
    body.extend_from_slice(picture);
    for (name, value) in [
        ("name", "Lamp"),
        ("description", "Warm light."),
        ("category", "Others"),
        ("tags", "undefined"),
        ("originalPrice", "undefined"),
        ("discountPrice", "20"),
        ("stock", "3"),
        ("shopeId", shop),
    ] {
        body.extend_from_slice(
            format!("\r\n--cut\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}").as_bytes(),
        );
    }
    body.extend_from_slice(b"\r\n--cut--\r\n");
    body
}

/// Sends so much of a form and hangs up without reading.
async fn send_and_leave(app: &TestApp, seller: &tests::Seller, body: &[u8], length: usize) {
    let host = app.base.trim_start_matches("http://");
    let mut stream = TcpStream::connect(host).await.unwrap();
    let head = format!(
        "POST /api/product/create-product HTTP/1.1\r\nHost: {host}\r\nCookie: {}\r\nContent-Type: multipart/form-data; boundary=cut\r\nContent-Length: {length}\r\n\r\n",
        seller.cookie_header().unwrap(),
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body).await.unwrap();
    stream.flush().await.unwrap();
}

/// 12. The client reloads its page in the moment it has sent a form.
#[tokio::test]
async fn a_form_of_a_page_that_reloads_at_once_is_carried_out() {
    let app = TestApp::start().await;
    let bobs = app.seller("bobs").await;
    let path = format!("/api/product/get-all-products-shop/{}", bobs.id);
    // Pictures of all sizes: the end of a large one is still on its way through the server when the client hangs up.
    let mut sent = 0;
    for size in [0, 40_000, 120_000, 140_000, 200_000, 1_000_000, 3_000_000] {
        let mut picture = picture::png();
        picture.resize(picture.len() + size, 0);
        let body = raw_form(&bobs.id.hex(), &picture);
        for _ in 0..3 {
            send_and_leave(&app, &bobs, &body, body.len()).await;
            sent += 1;
            until(&format!("product {sent}, of a picture of {size} bytes"), async || {
                let list = app.browser().get(&path).await.expect(200)["products"].clone();
                (list.as_array().unwrap().len() == sent).then_some(())
            })
            .await;
        }
    }

    // A preflight is remembered for long, so that the next reload does not race it.
    let preflight = app
        .browser()
        .on(CLIENT)
        .call("OPTIONS", "/api/user/userAddressUpadte")
        .header("access-control-request-method", "PUT")
        .header("access-control-request-headers", "content-type")
        .await;
    assert_eq!(preflight.status, 204);
    let age: u32 = preflight.header("access-control-max-age").unwrap().parse().unwrap();
    assert!(age >= 600, "{age}");
}

/// 12, the other side: what was cut off is no form.
#[tokio::test]
async fn a_form_that_was_cut_off_is_no_form() {
    let app = TestApp::start().await;
    let bobs = app.seller("bobs").await;
    let body = raw_form(&bobs.id.hex(), &picture::png());
    // Cut within a field, after the last field but before the closing boundary, and within the picture.
    for kept in [body.len() - 40, body.len() - 4, 100] {
        send_and_leave(&app, &bobs, &body[..kept], body.len()).await;
    }
    // A whole one after them: when it is there, the others have been decided.
    send_and_leave(&app, &bobs, &body, body.len()).await;
    let path = format!("/api/product/get-all-products-shop/{}", bobs.id);
    let count = async || app.browser().get(&path).await.expect(200)["products"].as_array().unwrap().len();
    until("the whole one", async || (count().await >= 1).then_some(())).await;
    app.inside().tasks.close();
    app.inside().tasks.wait().await;
    assert_eq!(count().await, 1);
}

/// 13. Each of these blanks a page of the client for everybody who opens it.
#[tokio::test]
async fn old_documents_that_would_blank_a_page_are_mended() {
    let app = TestApp::start().await;
    let (ann, bobs) = (app.buyer("ann").await, app.seller("bobs").await);
    let write = async |collection: &str, document: bson::Document| {
        app.db.raw::<bson::Document>(collection).insert_one(document).await.unwrap();
        app.caught_up().await;
    };
    // A product without pictures, reviews, shop or date, its stock what appending made of it.
    write(
        "products",
        doc! { "_id": ObjectId::from_bytes([1; 12]), "name": "Old lamp", "description": "d", "category": "Others",
        "discountPrice": "12", "stock": "NaN", "images": [], "shopeId": bobs.id.hex() },
    )
    .await;
    // An account of the old server's without a picture and without addresses.
    app.db
        .raw::<bson::Document>("users")
        .update_one(doc! { "email": &ann.email }, doc! { "$unset": { "avatar": "", "addresses": "" } })
        .await
        .unwrap();
    // An order whose total is text, whose item has no picture and no count, and whose address is missing.
    write(
        "orders",
        doc! { "_id": ObjectId::from_bytes([2; 12]), "totalPrice": "59.97", "status": "", "user": { "_id": ann.id.hex() },
        "cart": [{ "_id": ObjectId::from_bytes([1; 12]).to_hex(), "name": "Old lamp", "discountPrice": 12, "shopeId": bobs.id.hex(),
            "shop": { "_id": bobs.id.hex(), "name": "bobs", "withdrawMethod": { "bankAccountNumber": "123" } } }],
        "paymentInfo": { "type": "Cash on Delivery", "status": "succeded" } },
    )
    .await;
    // Answers are held to openapi.yaml as they come; here is what that must have come from.
    let product = app.browser().get("/api/product/get-all-products").await.expect(200)["products"][0].clone();
    assert!(product["images"][0]["url"].as_str().is_some_and(|url| url.starts_with("http")), "{product}");
    assert_eq!((&product["discountPrice"], &product["reviews"]), (&json!(12), &json!([])));
    assert_eq!(product["shop"]["name"], "bobs");
    let user = ann.get("/api/user/getUser").await.expect(201)["user"].clone();
    assert_eq!(user["addresses"], json!([]));
    assert!(user["avatar"]["url"].as_str().is_some_and(|url| url.starts_with("http")), "{user}");
    for (browser, path) in [
        (&ann.browser, format!("/api/order/getOrders/{}", ann.id)),
        (&bobs.browser, format!("/api/order/getShopOrders/{}", bobs.id)),
    ] {
        let order = browser.get(&path).await.expect(200)["orders"][0].clone();
        assert_eq!((&order["totalPrice"], &order["cart"][0]["count"]), (&json!(59.97), &json!(1)), "{order}");
        assert_eq!(order["paymentInfo"]["status"], "succeeded");
        assert!(order["shippingAddress"]["address1"].is_string());
        assert!(order["cart"][0]["shop"].get("withdrawMethod").is_none());
    }
    // Bank details that the withdraw page cannot show count as none.
    for broken in [doc! {}, doc! { "bankAccountNumber": "12" }, doc! { "bankAccountNumber": 12_345 }] {
        app.db
            .raw::<bson::Document>("shops")
            .update_one(doc! { "email": &bobs.email }, doc! { "$set": { "withdrawMethod": broken } })
            .await
            .unwrap();
        bobs.get("/api/shop/getSeller").await.expect(201);
    }
}

/// 14. The withdraw page cuts off all but the last three characters.
#[tokio::test]
async fn an_account_number_of_two_characters_is_refused() {
    let app = TestApp::start().await;
    let bobs = app.seller("bobs").await;
    let method = |number: &str| {
        json!({ "withdrawMethod": { "bankName": "First", "bankCountry": "PK", "bankSwiftCode": "FRSTPKKA",
            "bankAccountNumber": number, "bankHolderName": "Bob", "bankAddress": "Lahore" } })
    };
    let put = async |number: &str| bobs.put("/api/shop/update-payment-methods").json(&method(number)).await;
    put("12").await.refused(400, "invalid_input");
    put("123").await.expect(201);
    let seller = bobs.get("/api/shop/getSeller").await.expect(201)["seller"].clone();
    assert_eq!(seller["withdrawMethod"]["bankAccountNumber"].as_str().map(str::len), Some(3));
}

/// 15. While the account is not known yet, the client asks with the text `undefined`.
#[tokio::test]
async fn lists_of_undefined_are_empty() {
    let app = TestApp::start().await;
    let ann = app.buyer("ann").await;
    for browser in [&app.browser(), &ann.browser] {
        for (path, list) in [
            ("/api/order/getOrders/undefined", "orders"),
            ("/api/order/getShopOrders/undefined", "orders"),
            ("/api/product/get-all-products-shop/undefined", "products"),
            ("/api/event/get-all-events-shop/undefined", "events"),
        ] {
            let body = browser.get(path).await.expect(200);
            assert_eq!((&body["success"], &body[list]), (&json!(true), &json!([])), "{path}");
        }
    }
}

/// 16. Absent, it shows as `undefined:` in the list of conversations.
#[tokio::test]
async fn a_conversation_without_a_message_names_nobody_as_the_last_to_speak() {
    let app = TestApp::start().await;
    let (ann, bobs) = (app.buyer("ann").await, app.seller("bobs").await);
    let created = begin(&ann, &ann.id.hex(), &bobs.id.hex()).await;
    assert!(created.get("lastMessageId").is_some_and(Value::is_null), "{created}");
    let path = format!("/api/conversation/get-all-conversation-user/{}", ann.id);
    let listed = ann.get(&path).await.expect(201)["conversations"][0].clone();
    assert!(listed.get("lastMessageId").is_some_and(Value::is_null), "{listed}");
}
