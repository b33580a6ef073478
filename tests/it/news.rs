//! What has happened, and who is told of it by mail.

use bson::{Document, doc};
use futures_util::{TryStreamExt as _, future::join_all};
use serde_json::{Value, json};
use shared::{
    id::Id,
    model::{News, Outbox, OutboxJob},
};
use tests::{Seller, TestApp};

use crate::mail::outbox_is_empty;

fn id(order: &Value) -> &str {
    order["_id"].as_str().unwrap()
}

#[tokio::test]
async fn a_checkout_is_told_to_the_buyer_once_and_to_each_shop() {
    let app = TestApp::start().await;
    let (ann, bob, eve) = tokio::join!(app.buyer("ann"), app.seller("bob"), app.seller("eve"));
    let (cup, hat) =
        tokio::join!(bob.product("<b>cup</b> & \"saucer\"", "10", 10), eve.product("hat", "20", 10));
    let orders = ann.order(&[(&cup, 2), (&hat, 1)]).await;
    let mail = app.mails().await_mail_to(&ann.email).await;
    assert_eq!(mail.subject(), "We have your order");
    for order in &orders {
        assert!(mail.text().contains(&format!("/user/order/{}", id(order))), "{}", mail.text());
    }
    // Both forms, and nothing that a seller has written is HTML.
    assert!(mail.header("Content-Type").unwrap().starts_with("multipart/alternative"));
    assert!(mail.text().contains("2 × <b>cup</b> & \"saucer\": 20.00"), "{}", mail.text());
    assert!(mail.text().contains("2 × &lt;b&gt;cup&lt;/b&gt; &amp; &quot;saucer&quot;"), "{}", mail.text());
    // About one's own order nobody can end the mails.
    assert_eq!(mail.header("List-Unsubscribe"), None);
    let mail = app.mails().await_mail_to(&eve.email).await;
    assert_eq!(mail.subject(), "A new order of 22.00 USD");
    assert!(!mail.text().contains("cup"));
    app.mails().await_mail_about(&bob.email, "A new order of 22.00 USD").await;
    outbox_is_empty(&app).await;
    assert_eq!(app.mails().all().len(), 3);
}

#[tokio::test]
async fn each_step_of_an_order_is_told_to_whom_it_concerns_and_told_once() {
    let app = TestApp::start().await;
    let node = app.another_node().await;
    let (ann, bob) = tokio::join!(app.buyer("ann"), app.seller("bob"));
    let cup = bob.product("cup", "10", 20).await;
    let order = ann.order(&[(&cup, 3)]).await.remove(0);
    for _ in 0..2 {
        bob.set_status(id(&order), "Shipping").await;
    }
    app.mails().await_mail_about(&ann.email, "Your order: Shipping").await;
    bob.set_status(id(&order), "Delivered").await;
    app.mails().await_mail_about(&ann.email, "Your order was delivered").await;
    let refund = |order: &str| ann.put(&format!("/api/order/refund-order/{order}"));
    let one = json!({ "status": "Processing refund", "items": [{ "_id": cup["_id"], "count": 1 }], "reason": "<cracked>" });
    refund(id(&order)).json(&one).await.expect(200);
    let mail = app.mails().await_mail_about(&bob.email, "A buyer wants 11.00 USD back").await;
    assert!(
        mail.text().contains("> <cracked>") && mail.text().contains("&lt;cracked&gt;"),
        "{}",
        mail.text()
    );
    bob.put(&format!("/api/order/order-refund-refused/{}", id(&order))).json(&json!({})).await.expect(200);
    app.mails().await_mail_about(&ann.email, "Your refund of 11.00 USD was refused").await;
    refund(id(&order)).json(&one).await.expect(200);
    let granted = format!("/api/order/order-refund-success/{}", id(&order));
    bob.put(&granted).json(&json!({ "status": "Refund Success" })).await.expect(200);
    app.mails().await_mail_about(&ann.email, "You get 11.00 USD back").await;
    let other = ann.order(&[(&cup, 1)]).await.remove(0);
    ann.put(&format!("/api/order/cancel-order/{}", id(&other))).json(&json!({})).await.expect(200);
    app.mails().await_mail_about(&bob.email, "An order is cancelled").await;
    outbox_is_empty(&app).await;
    drop(node);
    let subjects = |person: &str| {
        let all = app.mails().all().into_iter().filter(|mail| mail.to.contains(&person.to_lowercase()));
        let mut subjects: Vec<_> = all.map(|mail| mail.subject()).collect();
        subjects.sort();
        subjects
    };
    let buyers = [
        "An order is cancelled",
        "We have your order",
        "We have your order",
        "You get 11.00 USD back",
        "Your order was delivered",
        "Your order: Shipping",
        "Your refund of 11.00 USD was refused",
    ];
    assert_eq!(subjects(&ann.email), buyers);
    let shops = [
        "A buyer wants 11.00 USD back",
        "A buyer wants 11.00 USD back",
        "A new order of 11.00 USD",
        "A new order of 33.00 USD",
        "An order is cancelled",
    ];
    assert_eq!(subjects(&bob.email), shops);
}

async fn low_told(app: &TestApp, listing: &Value) -> Option<String> {
    let products = app.db.raw::<Document>("products");
    let id: Id<Document> = id(listing).parse().unwrap();
    let found = products.find_one(doc! { "_id": id }).await.unwrap().unwrap();
    found.get_str("lowTold").ok().map(str::to_owned)
}

async fn stock_to(seller: &Seller, listing: &Value, stock: &str) {
    let path = format!("/api/product/update-product/{}", id(listing));
    seller.put(&path).json(&json!({ "stock": stock })).await.expect(200);
}

#[tokio::test]
async fn little_stock_is_told_once_until_it_is_filled_up() {
    let app = TestApp::with(&[("LOW_STOCK", "3"), ("DUPLICATE_ORDER_WINDOW", "0")]).await;
    let node = app.another_node().await;
    let (ann, bob) = tokio::join!(app.buyer("ann"), app.seller("bob"));
    let cup = bob.product("cup", "10", 8).await;
    ann.order(&[(&cup, 4)]).await;
    outbox_is_empty(&app).await;
    assert_eq!((app.mails().count_about(&bob.email, "left of cup"), low_told(&app, &cup).await), (0, None));
    // Three at once, on their way to nothing: each level is told once at most.
    let cart = [(&cup, 1)];
    join_all((0..3).map(|_| ann.order(&cart))).await;
    outbox_is_empty(&app).await;
    assert_eq!(app.mails().count_about(&bob.email, "left of cup"), 1);
    ann.order(&[(&cup, 1)]).await;
    let mail = app.mails().await_mail_about(&bob.email, "cup is sold out").await;
    assert!(mail.text().contains("Left to sell: 0") && mail.text().contains("orders: 8"), "{}", mail.text());
    outbox_is_empty(&app).await;
    assert_eq!(low_told(&app, &cup).await.as_deref(), Some("out"));
    // Not beyond the limit: nothing new. Beyond it: everything is told anew.
    stock_to(&bob, &cup, "10").await;
    ann.order(&[(&cup, 1)]).await;
    outbox_is_empty(&app).await;
    assert_eq!(app.mails().count_about(&bob.email, "cup"), 2);
    stock_to(&bob, &cup, "14").await;
    assert_eq!(low_told(&app, &cup).await, None);
    ann.order(&[(&cup, 2)]).await;
    outbox_is_empty(&app).await;
    assert_eq!(app.mails().count_about(&bob.email, "Only 3 left of cup"), 1);
    assert_eq!(app.mails().count_about(&bob.email, "cup"), 3);
    drop(node);
}

#[tokio::test]
async fn news_of_a_later_version_waits_for_it_and_holds_nobody_up() {
    let app = TestApp::start().await;
    let now = app.clock.now();
    let jobs = app.db.raw::<Document>("outbox");
    let later = |job: Document| {
        doc! { "_id": Id::<Outbox>::new(), "job": job, "dueAt": now, "attempts": 0, "lastError": null, "dead": false,
        "createdAt": now }
    };
    let unheard_of =
        [doc! { "kind": "teleport", "to": 7 }, doc! { "kind": "news", "news": { "what": "eclipse" } }];
    jobs.insert_many(unheard_of.map(later)).await.unwrap();
    let (ann, bob) = tokio::join!(app.buyer("ann"), app.seller("bob"));
    let cup = bob.product("cup", "10", 8).await;
    ann.order(&[(&cup, 1)]).await;
    app.mails().await_mail_to(&ann.email).await;
    // However often somebody comes by, nobody gives it up.
    for round in 0..20 {
        app.clock.advance(61_000);
        let to = format!("person{round}@example.com");
        let letter = OutboxJob::Mail {
            to: to.clone(),
            subject: "Hello".into(),
            text: "Hello".into(),
            html: None,
            unsubscribe: None,
        };
        app.inside().outbox.add(letter).await.unwrap();
        app.mails().await_mail_to(&to).await;
    }
    let unheard_of = doc! { "$or": [{ "job.kind": "teleport" }, { "job.news.what": "eclipse" }] };
    let left: Vec<Document> = jobs.find(unheard_of).await.unwrap().try_collect().await.unwrap();
    assert_eq!(left.len(), 2);
    for job in left {
        assert!(!job.get_bool("dead").unwrap() && job.get_i32("attempts").unwrap() <= 1, "{job}");
    }
}

#[tokio::test]
async fn news_that_two_workers_pass_on_at_once_is_passed_on_once() {
    let app = TestApp::start().await;
    let (ann, bob) = tokio::join!(app.buyer("ann"), app.seller("bob"));
    let cup = bob.product("cup", "10", 8).await;
    let order = ann.order(&[(&cup, 1)]).await.remove(0);
    outbox_is_empty(&app).await;
    assert_eq!(app.mails().count_to(&ann.email), 1);
    // Its worker has been slow, the lease has ended, and the next one is at it.
    let order = id(&order).parse().unwrap();
    let job = || OutboxJob::News { news: News::OrderMoved { order, to: shared::model::Status::Shipping } };
    let nodes = join_all((0..3).map(|_| app.another_node())).await;
    for _ in 0..20 {
        app.inside().outbox.add(job()).await.unwrap();
        nodes.iter().for_each(|node| node.inside().outbox.wake());
    }
    outbox_is_empty(&app).await;
    assert_eq!(app.mails().count_about(&ann.email, "Shipping"), 20);
}

#[tokio::test]
async fn whoever_wants_no_more_mails_of_a_sort_ends_them_with_one_request() {
    let app = TestApp::with(&[("LOW_STOCK", "3")]).await;
    let (ann, bob) = tokio::join!(app.buyer("ann"), app.seller("bob"));
    let cup = bob.product("cup", "10", 9).await;
    let order = ann.order(&[(&cup, 1)]).await.remove(0);
    bob.set_status(id(&order), "Shipping").await;
    let mail = app.mails().await_mail_about(&ann.email, "Your order: Shipping").await;
    assert_eq!(mail.header("List-Unsubscribe-Post").as_deref(), Some("List-Unsubscribe=One-Click"));
    let link = mail.header("List-Unsubscribe").unwrap();
    let link = link.trim_matches(['<', '>']).to_owned();
    assert!(mail.text().contains(&link) && link.contains("/api/unsubscribe?token="), "{}", mail.text());
    let token = link.rsplit('=').next().unwrap().to_owned();
    let path = format!("/api/unsubscribe?token={token}");

    // To follow the link ends nothing: the page asks. A single request without a session does.
    let page = app.browser().get(&path).await;
    page.expect(200);
    assert!(page.text().contains("<form method=\"post\">"), "{}", page.text());
    assert!(page.header("content-security-policy").unwrap().contains("form-action 'self'"));
    assert_eq!(ann.get("/api/user/notifications").await.expect(200)["orderUpdates"], true);
    for forged in [token.replace("orderUpdates", "lowStock"), token[1..].to_owned(), "x".to_owned()] {
        app.browser().post(&format!("/api/unsubscribe?token={forged}")).await.refused(404, "unknown_link");
    }
    for _ in 0..2 {
        let one_click =
            app.browser().post(&path).body("application/x-www-form-urlencoded", "List-Unsubscribe=One-Click");
        one_click.await.expect(200);
    }
    let pressed = app.browser().post(&path).header("Accept", "text/html,*/*").await;
    assert!(pressed.text().contains("You get no more mails"), "{}", pressed.text());
    assert_eq!(ann.get("/api/user/notifications").await.expect(200)["orderUpdates"], false);

    // What is not about that still comes.
    bob.set_status(id(&order), "On the way").await;
    bob.set_status(id(&order), "Delivered").await;
    app.mails().await_mail_about(&ann.email, "Your order was delivered").await;
    outbox_is_empty(&app).await;
    assert_eq!(app.mails().count_about(&ann.email, "Your order: "), 1);
    ann.put("/api/user/notifications").json(&json!({ "orderUpdates": true })).await.expect(200);
    assert_eq!(ann.get("/api/user/notifications").await.expect(200)["orderUpdates"], true);

    // A shop that does without hears nothing, and what it was not told counts as told.
    let off = json!({ "lowStock": false });
    assert_eq!(bob.put("/api/shop/notifications").json(&off).await.expect(200)["lowStock"], false);
    bob.put("/api/shop/notifications").json(&json!({ "lowStock": "no" })).await.expect(400);
    bob.put("/api/shop/notifications").json(&json!({})).await.refused(400, "invalid_input");
    ann.order(&[(&cup, 5)]).await;
    outbox_is_empty(&app).await;
    assert_eq!(app.mails().count_about(&bob.email, "cup"), 0);
    assert_eq!(low_told(&app, &cup).await.as_deref(), Some("low"));
}

#[tokio::test]
async fn administrators_see_every_letter_before_anybody_gets_it() {
    let app = TestApp::start().await;
    let (ann, root) = tokio::join!(app.buyer("ann"), app.admin("root"));
    let listed = root.get("/api/admin/letters").await.expect(200);
    let names: Vec<&str> =
        listed["letters"].as_array().unwrap().iter().map(|letter| letter["name"].as_str().unwrap()).collect();
    assert!(names.len() > 20 && names.contains(&"dispute-opened"), "{names:?}");
    for name in names {
        let letter = root.get(&format!("/api/admin/letters/{name}")).await.expect(200)["letter"].clone();
        assert!(letter["html"].as_str().unwrap().starts_with("<!doctype html>"), "{letter}");
    }
    root.get("/api/admin/letters/nonsense").await.refused(404, "letter_not_found");
    ann.get("/api/admin/letters").await.expect(403);
}
