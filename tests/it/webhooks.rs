//! What gateways tell: the same whatever comes first, however often, and from whom it comes.

use std::time::Duration;

use bson::{Document, doc};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::{Value, json};
use tests::{Buyer, Seller, TestApp, people::in_cash, stripe::Stripe};

pub fn id(document: &Value) -> &str {
    document["_id"].as_str().unwrap()
}

/// A card payment of so many cents that its buyer has confirmed, and the event that tells of it.
pub async fn pay(stripe: &Stripe, buyer: &Buyer, minor: i64) -> (String, Value) {
    let begun = buyer.post("/api/stripe/process").header("Idempotency-Key", &fresh_key());
    let intent = begun.json(&json!({ "amount": minor })).await.expect(200)["id"].as_str().unwrap().to_owned();
    let event = stripe.succeed(&intent);
    (intent, event)
}

fn fresh_key() -> String {
    shared::id::Id::<()>::new().hex()
}

fn by_card(cart: &[(&Value, i64)], intent: &str) -> Value {
    let mut body = in_cash(cart);
    body["paymentInfo"] = json!({ "id": intent, "type": "Credit Card" });
    body
}

/// A checkout that is paid with an intent; gives its orders.
async fn order(buyer: &Buyer, cart: &[(&Value, i64)], intent: &str) -> Vec<Value> {
    let answer = buyer.post("/api/order/create-order").json(&by_card(cart, intent)).await.expect(201);
    answer["orders"].as_array().unwrap().clone()
}

pub async fn shown(buyer: &Buyer, order: &Value) -> Value {
    buyer.get(&format!("/api/order/get-order/{}", id(order))).await.expect(200)["order"].clone()
}

/// Waits until everything that was told has been applied, and all mails are out.
pub async fn await_applied(app: &TestApp) {
    let events = app.db.raw::<Document>("webhookevents");
    let mut changes = events.watch().await.unwrap();
    let waiting = async {
        while events.count_documents(doc! { "applied": false }).await.unwrap() > 0 {
            changes.next().await.unwrap().unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waiting).await.expect("an event is not applied");
    crate::mail::outbox_is_empty(app).await;
}

/// Everything that a payment has led to, without what differs from one to the next: names and times.
async fn outcome(app: &TestApp, payment: &str, order: &Value) -> Value {
    let payments = app.db.raw::<Document>("payments");
    let record = payments.find_one(doc! { "_id": payment }).await.unwrap().unwrap();
    let orders = app.db.raw::<Document>("orders");
    let oid: bson::oid::ObjectId = id(order).parse().unwrap();
    let order = orders.find_one(doc! { "_id": oid }).await.unwrap().unwrap();
    let disputes = app.db.raw::<Document>("disputes");
    let disputes: Vec<Document> =
        disputes.find(doc! { "payment": payment }).await.unwrap().try_collect().await.unwrap();
    let ledger = app.db.raw::<Document>("ledger");
    let about = doc! { "_id": { "$regex": oid.to_hex() } };
    let entries: Vec<Document> =
        ledger.find(about).sort(doc! { "_id": 1 }).await.unwrap().try_collect().await.unwrap();
    let dispute =
        disputes.first().map(|dispute| dispute.get_str("_id").unwrap().to_owned()).unwrap_or_default();
    let shop = order.get_str("shopId").unwrap();
    let line = |line: &bson::Bson| line.to_string().replace(shop, "S");
    let entry = |entry: &Document| {
        let key = entry.get_str("_id").unwrap().replace(&oid.to_hex(), "O").replace(&dispute, "D");
        json!([key, entry.get_array("lines").unwrap().iter().map(line).collect::<Vec<_>>()])
    };
    let of_dispute = |dispute: &Document| {
        let share = dispute.get_array("shares").unwrap()[0].as_document().unwrap().clone();
        json!([
            dispute.get_str("state").unwrap(),
            dispute.get_i64("minor").unwrap(),
            share.get_i64("minor").unwrap(),
            share.get_i64("feeMinor").unwrap(),
            dispute.contains_key("closedAt"),
        ])
    };
    json!({
        "status": order.get_str("status").unwrap(),
        "payment": order.get_document("paymentInfo").unwrap().get_str("status").unwrap(),
        "stock": order.get_str("stockState").unwrap(),
        "paid": record.get_i64("minor").unwrap(),
        "used": record.contains_key("checkoutId"),
        "attention": record.get_str("attention").ok(),
        "disputes": disputes.iter().map(of_dispute).collect::<Vec<_>>(),
        "ledger": entries.iter().map(entry).collect::<Vec<_>>(),
    })
}

fn permutations(of: &[Value]) -> Vec<Vec<Value>> {
    if of.len() < 2 {
        return vec![of.to_vec()];
    }
    let mut all = Vec::new();
    for i in 0..of.len() {
        let mut rest = of.to_vec();
        let first = rest.remove(i);
        for mut tail in permutations(&rest) {
            tail.insert(0, first.clone());
            all.push(tail);
        }
    }
    all
}

/// Several, so that they do not all wait for one balance.
async fn shops(app: &TestApp) -> Vec<Seller> {
    futures_util::future::join_all(["bob", "cid", "dan", "eve", "fay", "gus"].map(|name| app.seller(name)))
        .await
}

async fn balances(app: &TestApp, shops: &[Seller]) -> i64 {
    futures_util::future::join_all(shops.iter().map(|shop| app.balance(shop))).await.into_iter().sum()
}

/// Lets many payments go through the same life, told in every order, and gives what each has come to.
async fn every_order(
    app: &TestApp,
    stripe: &Stripe,
    ann: &Buyer,
    shops: &[Seller],
    life: impl Fn(&str, Value) -> Vec<Value>,
) -> Vec<Value> {
    let cups: Vec<Value> =
        futures_util::future::join_all(shops.iter().map(|shop| shop.product("cup", "10", 1000))).await;
    let goods: Vec<(&Seller, &Value)> = shops.iter().zip(&cups).collect();
    // Each payment needs events of its own; they are permuted by place.
    let places: Vec<Value> = (0..5).map(|place| json!(place)).collect();
    let run = |(i, order_of_news): (usize, Vec<Value>)| {
        let ((bob, cup), life) = (goods[i % goods.len()], &life);
        async move {
            let (intent, event) = pay(stripe, ann, 1100).await;
            let placed = order(ann, &[(cup, 1)], &intent).await.remove(0);
            bob.set_status(id(&placed), "Delivered").await;
            let events = life(&intent, event);
            assert_eq!(events.len(), 5);
            for place in order_of_news {
                let event = &events[usize::try_from(place.as_u64().unwrap()).unwrap()];
                let (first, second) = tokio::join!(stripe.deliver(app, event), stripe.deliver(app, event));
                first.expect(200);
                second.expect(200);
            }
            (intent, placed)
        }
    };
    let all: Vec<(String, Value)> = stream::iter(permutations(&places).into_iter().enumerate())
        .map(run)
        .buffer_unordered(8)
        .collect()
        .await;
    await_applied(app).await;
    let mut outcomes = Vec::new();
    for (intent, placed) in all {
        outcomes.push(outcome(app, &intent, &placed).await);
    }
    outcomes
}

#[tokio::test]
async fn a_dispute_that_is_won_ends_in_one_state_whatever_comes_first() {
    let stripe = Stripe::start().await;
    let app = stripe.app(&[]).await;
    let (ann, shops) = tokio::join!(app.buyer("ann"), shops(&app));
    let life = |intent: &str, paid: Value| {
        let opened = stripe.dispute(intent, 1100);
        let dispute = opened["data"]["object"]["id"].as_str().unwrap().to_owned();
        let withdrawn = stripe.event("charge.dispute.funds_withdrawn", opened["data"]["object"].clone());
        let closed = stripe.dispute_becomes(&dispute, "won");
        let back = stripe.event("charge.dispute.funds_reinstated", closed["data"]["object"].clone());
        vec![paid, opened, withdrawn, closed, back]
    };
    let outcomes = every_order(&app, &stripe, &ann, &shops, life).await;
    assert_eq!(outcomes.len(), 120);
    assert_eq!(outcomes[0]["payment"], "succeeded");
    assert_eq!(outcomes[0]["ledger"].as_array().unwrap().len(), 3);
    for outcome in &outcomes {
        assert_eq!(outcome, &outcomes[0]);
    }
    assert_eq!(balances(&app, &shops).await, 120 * 990);
    // One mail when it began and one when it ended, for each.
    assert_eq!(shops.iter().map(|shop| app.mails().count_about(&shop.email, "dispute")).sum::<usize>(), 240);
    app.assert_books_balance().await;
}

#[tokio::test]
async fn a_dispute_that_is_lost_after_a_refund_elsewhere_ends_in_one_state_whatever_comes_first() {
    let stripe = Stripe::start().await;
    let app = stripe.app(&[]).await;
    let (ann, shops) = tokio::join!(app.buyer("ann"), shops(&app));
    let life = |intent: &str, paid: Value| {
        let refunded = stripe.refund_elsewhere(intent, 100);
        let in_all = stripe.charge_refunded(intent);
        let opened = stripe.dispute(intent, 1000);
        let dispute = opened["data"]["object"]["id"].as_str().unwrap().to_owned();
        let closed = stripe.dispute_becomes(&dispute, "lost");
        vec![paid, refunded, in_all, opened, closed]
    };
    let outcomes = every_order(&app, &stripe, &ann, &shops, life).await;
    assert_eq!(outcomes.len(), 120);
    assert_eq!(outcomes[0]["payment"], "charged back");
    assert_eq!(outcomes[0]["attention"], "returned_elsewhere");
    for outcome in &outcomes {
        assert_eq!(outcome, &outcomes[0]);
    }
    // Of each the shop keeps its part of the 1.00 that was not disputed.
    assert_eq!(balances(&app, &shops).await, 120 * 90);
    assert_eq!(shops.iter().map(|shop| app.mails().count_about(&shop.email, "dispute")).sum::<usize>(), 240);
    app.assert_books_balance().await;
}

#[tokio::test]
async fn an_event_that_comes_ten_times_to_two_nodes_counts_once() {
    let stripe = Stripe::start().await;
    let app = stripe.app(&[]).await;
    let node = app.another_node().await;
    let (ann, bob) = tokio::join!(app.buyer("ann"), app.seller("bob"));
    let cup = bob.product("cup", "10", 10).await;
    let (intent, paid) = pay(&stripe, &ann, 1100).await;
    let placed = order(&ann, &[(&cup, 1)], &intent).await.remove(0);
    bob.set_status(id(&placed), "Delivered").await;
    let opened = stripe.dispute(&intent, 1100);
    let dispute = opened["data"]["object"]["id"].as_str().unwrap().to_owned();
    let refund = stripe.dispute_becomes(&dispute, "under_review");
    let closed = stripe.dispute_becomes(&dispute, "won");
    for event in [&paid, &opened, &refund, &closed] {
        let all: Vec<_> = (0..10).map(|_| stripe.deliver(&app, event)).collect();
        for answer in futures_util::future::join_all(all).await {
            assert_eq!(answer.expect(200), json!({ "received": true }));
        }
    }
    await_applied(&app).await;
    drop(node);
    let events = app.db.raw::<Document>("webhookevents");
    assert_eq!(events.count_documents(doc! {}).await.unwrap(), 4);
    assert_eq!(app.balance(&bob).await, 990);
    assert_eq!(app.mails().count_about(&bob.email, "dispute"), 2);
    app.assert_books_balance().await;
}

#[tokio::test]
async fn a_webhook_before_the_order_comes_to_the_same_as_one_after_it() {
    let stripe = Stripe::start().await;
    let app = stripe.app(&[]).await;
    let (ann, bob) = tokio::join!(app.buyer("ann"), app.seller("bob"));
    let cup = bob.product("cup", "10", 10).await;
    let (before, told_before) = pay(&stripe, &ann, 1100).await;
    stripe.deliver(&app, &told_before).await.expect(200);
    await_applied(&app).await;
    let first = order(&ann, &[(&cup, 1)], &before).await.remove(0);
    let (after, told_after) = pay(&stripe, &ann, 1100).await;
    let second = order(&ann, &[(&cup, 1)], &after).await.remove(0);
    stripe.deliver(&app, &told_after).await.expect(200);
    // And at the same time.
    let cart = [(&cup, 1)];
    let (meanwhile, told) = pay(&stripe, &ann, 1100).await;
    let (told, third) = tokio::join!(stripe.deliver(&app, &told), order(&ann, &cart, &meanwhile));
    told.expect(200);
    await_applied(&app).await;
    let right = outcome(&app, &before, &first).await;
    assert_eq!((&right["payment"], &right["used"]), (&json!("succeeded"), &json!(true)));
    assert_eq!(outcome(&app, &after, &second).await, right);
    assert_eq!(outcome(&app, &meanwhile, &third[0]).await, right);
    let again = ann.post("/api/order/create-order").json(&by_card(&[(&cup, 1)], &before));
    assert_eq!(again.header("Idempotency-Key", "another").await.expect(409)["code"], "payment_used");
    app.assert_books_balance().await;
}

#[tokio::test]
async fn a_dispute_that_came_before_the_order_still_puts_its_credit_on_hold() {
    let stripe = Stripe::start().await;
    let app = stripe.app(&[]).await;
    let (ann, bob) = tokio::join!(app.buyer("ann"), app.seller("bob"));
    let cup = bob.product("cup", "10", 10).await;
    let (intent, paid) = pay(&stripe, &ann, 1100).await;
    let opened = stripe.dispute(&intent, 1100);
    stripe.deliver(&app, &opened).await.expect(200);
    stripe.deliver(&app, &paid).await.expect(200);
    await_applied(&app).await;
    let placed = order(&ann, &[(&cup, 1)], &intent).await.remove(0);
    await_applied(&app).await;
    assert_eq!(shown(&ann, &placed).await["paymentInfo"]["status"], "disputed");
    bob.set_status(id(&placed), "Delivered").await;
    assert_eq!(app.balance(&bob).await, 0);
    app.assert_books_balance().await;
    let dispute = opened["data"]["object"]["id"].as_str().unwrap();
    stripe.deliver(&app, &stripe.dispute_becomes(dispute, "won")).await.expect(200);
    await_applied(&app).await;
    assert_eq!(app.balance(&bob).await, 990);
    assert_eq!(app.mails().count_about(&bob.email, "dispute"), 2);
    app.assert_books_balance().await;
}

#[tokio::test]
async fn what_the_bank_may_take_back_does_not_go_back_a_second_time() {
    let stripe = Stripe::start().await;
    let app = stripe.app(&[]).await;
    let (ann, bob) = tokio::join!(app.buyer("ann"), app.seller("bob"));
    let cup = bob.product("cup", "10", 10).await;
    let (intent, _) = pay(&stripe, &ann, 1100).await;
    let delivered = order(&ann, &[(&cup, 1)], &intent).await.remove(0);
    bob.set_status(id(&delivered), "Delivered").await;
    let refund = format!("/api/order/refund-order/{}", id(&delivered));
    ann.put(&refund).json(&json!({ "status": "Refund Processing" })).await.expect(200);
    let opened = stripe.dispute(&intent, 1100);
    stripe.deliver(&app, &opened).await.expect(200);
    let (other, _) = pay(&stripe, &ann, 2200).await;
    let waiting = order(&ann, &[(&cup, 2)], &other).await.remove(0);
    let of_other = stripe.dispute(&other, 2200);
    stripe.deliver(&app, &of_other).await.expect(200);
    await_applied(&app).await;
    let grant = format!("/api/order/order-refund-success/{}", id(&delivered));
    let granting = || bob.put(&grant).json(&json!({ "status": "Refund Success" }));
    let cancel = format!("/api/order/cancel-order/{}", id(&waiting));
    assert_eq!(granting().await.expect(409)["code"], "payment_disputed");
    assert_eq!(ann.put(&cancel).await.expect(409)["code"], "payment_disputed");
    // Lost: the one is with the buyer, the other never left, and does not.
    for event in [&opened, &of_other] {
        let dispute = event["data"]["object"]["id"].as_str().unwrap();
        stripe.deliver(&app, &stripe.dispute_becomes(dispute, "lost")).await.expect(200);
    }
    await_applied(&app).await;
    assert_eq!(granting().await.expect(409)["code"], "payment_disputed");
    let cancelled = shown(&ann, &waiting).await;
    assert_eq!(
        (&cancelled["status"], &cancelled["paymentInfo"]["status"]),
        (&json!("Cancelled"), &json!("charged back"))
    );
    assert_eq!(app.shelf(&cup).await, (9, 0, 1));
    assert_eq!(app.balance(&bob).await, 0);
    assert_eq!(stripe.refunds(&intent).len() + stripe.refunds(&other).len(), 0);
    app.assert_books_balance().await;
    // The bank changes its mind: the one is the shop's again, for the other there is nothing to send any more.
    for event in [&opened, &of_other] {
        let dispute = event["data"]["object"]["id"].as_str().unwrap();
        app.clock.advance(1000);
        stripe.deliver(&app, &stripe.dispute_becomes(dispute, "won")).await.expect(200);
    }
    await_applied(&app).await;
    assert_eq!(app.balance(&bob).await, 990);
    assert!(stripe.refunds(&intent).is_empty());
    assert_eq!(stripe.await_refunds(&other, 1).await[0]["amount"], 2200);
    assert_eq!(shown(&ann, &waiting).await["paymentInfo"]["status"], "refunded");
    app.assert_books_balance().await;
}

#[tokio::test]
async fn a_dispute_about_two_shops_orders_puts_each_ones_part_on_hold_less_what_went_back() {
    let stripe = Stripe::start().await;
    let app = stripe.app(&[]).await;
    let (ann, bob, eve) = tokio::join!(app.buyer("ann"), app.seller("bob"), app.seller("eve"));
    let (cup, pot) = tokio::join!(bob.product("cup", "10", 10), eve.product("pot", "20", 10));
    // 11.00 and 44.00.
    let (intent, _) = pay(&stripe, &ann, 5500).await;
    let orders = order(&ann, &[(&cup, 1), (&pot, 2)], &intent).await;
    for order in &orders {
        let shop = if order["cart"][0]["name"] == "cup" { &bob } else { &eve };
        shop.set_status(id(order), "Delivered").await;
    }
    let of_eve = orders.iter().find(|order| order["cart"][0]["name"] == "pot").unwrap();
    let one = json!({ "status": "Refund Processing", "items": [{ "_id": id(&pot), "count": 1 }] });
    ann.put(&format!("/api/order/refund-order/{}", id(of_eve))).json(&one).await.expect(200);
    let grant = format!("/api/order/order-refund-success/{}", id(of_eve));
    eve.put(&grant).json(&json!({ "status": "Refund Success" })).await.expect(200);
    stripe.await_refunds(&intent, 1).await;
    let opened = stripe.dispute(&intent, 3300);
    stripe.deliver(&app, &opened).await.expect(200);
    await_applied(&app).await;
    assert_eq!((app.balance(&bob).await, app.balance(&eve).await), (0, 0));
    let page = eve.get("/api/shop/balance").await.expect(200);
    assert_eq!((&page["balance"], &page["totals"]["disputed"]), (&json!(0), &json!(19.8)));
    assert_eq!(
        (&page["entries"][0]["kind"], &page["entries"][0]["orderId"]),
        (&json!("dispute"), &json!(id(of_eve)))
    );
    app.assert_books_balance().await;
    let dispute = opened["data"]["object"]["id"].as_str().unwrap();
    stripe.deliver(&app, &stripe.dispute_becomes(dispute, "won")).await.expect(200);
    await_applied(&app).await;
    assert_eq!((app.balance(&bob).await, app.balance(&eve).await), (990, 1980));
    app.assert_books_balance().await;
}

#[tokio::test]
async fn money_for_which_nobody_orders_goes_back_and_what_was_not_begun_here_is_listed() {
    let stripe = Stripe::start().await;
    let app = stripe.app(&[("UNUSED_PAYMENT_TTL", "1h")]).await;
    let (ann, bob) = tokio::join!(app.buyer("ann"), app.seller("bob"));
    let cup = bob.product("cup", "10", 10).await;
    let (forgotten, told) = pay(&stripe, &ann, 1100).await;
    let (used, told_too) = pay(&stripe, &ann, 2200).await;
    let strange = stripe.begin_elsewhere(700, "usd");
    let told_as_well = stripe.succeed(&strange);
    for event in [&told, &told_too, &told_as_well] {
        stripe.deliver(&app, event).await.expect(200);
    }
    await_applied(&app).await;
    order(&ann, &[(&cup, 2)], &used).await;
    let node = app.another_node().await;
    let (here, there) = (app.inside(), node.inside());
    api::look_after_payments(&here).await.unwrap();
    assert!(stripe.refunds(&forgotten).is_empty());
    app.clock.advance(3_601_000);
    let both = tokio::join!(api::look_after_payments(&here), api::look_after_payments(&there));
    assert!(both.0.is_ok() && both.1.is_ok());
    let refunds = stripe.await_refunds(&forgotten, 1).await;
    assert_eq!(refunds[0]["amount"], 1100);
    let words = "Your payment goes back to you";
    app.mails().await_mail_about(&ann.email, words).await;
    crate::mail::outbox_is_empty(&app).await;
    api::look_after_payments(&here).await.unwrap();
    crate::mail::outbox_is_empty(&app).await;
    assert_eq!(app.mails().count_about(&ann.email, words), 1);
    assert_eq!(stripe.refunds(&forgotten).len(), 1);
    assert!(stripe.refunds(&used).is_empty() && stripe.refunds(&strange).is_empty());
    let payments = app.db.raw::<Document>("payments");
    let listed = payments.find_one(doc! { "attention": "unclaimed" }).await.unwrap().unwrap();
    assert_eq!(listed.get_str("_id").unwrap(), strange);
    // Too late: it is on its way back.
    let late = ann.post("/api/order/create-order").json(&by_card(&[(&cup, 1)], &forgotten)).await;
    let words = late.expect(409)["message"].as_str().unwrap().to_owned();
    assert!(words.contains("returned"), "{words}");
    app.assert_books_balance().await;
}

fn of_dispute(event: &Value) -> &str {
    event["data"]["object"]["id"].as_str().unwrap()
}

#[tokio::test]
async fn an_order_of_which_the_bank_takes_a_part_is_still_served_and_one_that_it_takes_whole_is_not() {
    let stripe = Stripe::start().await;
    let app = stripe.app(&[]).await;
    let (ann, bob) = tokio::join!(app.buyer("ann"), app.seller("bob"));
    let cup = bob.product("cup", "10", 10).await;
    let (intent, _) = pay(&stripe, &ann, 2200).await;
    let placed = order(&ann, &[(&cup, 2)], &intent).await.remove(0);
    for (minor, status) in [(500, "Processing"), (1700, "Cancelled")] {
        let opened = stripe.dispute(&intent, minor);
        stripe.deliver(&app, &opened).await.expect(200);
        await_applied(&app).await;
        assert_eq!(shown(&ann, &placed).await["paymentInfo"]["status"], "disputed");
        stripe.deliver(&app, &stripe.dispute_becomes(of_dispute(&opened), "lost")).await.expect(200);
        await_applied(&app).await;
        let stands = shown(&ann, &placed).await;
        // Otherwise 17.00 would stay here for nothing.
        assert_eq!(
            (&stands["status"], &stands["paymentInfo"]["status"]),
            (&json!(status), &json!("charged back"))
        );
        app.assert_books_balance().await;
    }
    assert_eq!(app.shelf(&cup).await, (10, 0, 0));
    // Delivered in between, the shop has what the bank has left.
    let (intent, _) = pay(&stripe, &ann, 2200).await;
    let placed = order(&ann, &[(&cup, 2)], &intent).await.remove(0);
    for (minor, balance) in [(500, 1980 - 450), (1700, 0)] {
        let opened = stripe.dispute(&intent, minor);
        stripe.deliver(&app, &opened).await.expect(200);
        stripe.deliver(&app, &stripe.dispute_becomes(of_dispute(&opened), "lost")).await.expect(200);
        await_applied(&app).await;
        bob.set_status(id(&placed), "Delivered").await;
        assert_eq!(app.balance(&bob).await, balance);
        app.assert_books_balance().await;
    }
    assert!(stripe.refunds(&intent).is_empty());
}

#[tokio::test]
async fn a_dispute_that_is_decided_otherwise_later_moves_the_money_once_more() {
    let stripe = Stripe::start().await;
    let app = stripe.app(&[]).await;
    let (ann, bob) = tokio::join!(app.buyer("ann"), app.seller("bob"));
    let cup = bob.product("cup", "10", 10).await;
    let (intent, _) = pay(&stripe, &ann, 1100).await;
    let placed = order(&ann, &[(&cup, 1)], &intent).await.remove(0);
    bob.set_status(id(&placed), "Delivered").await;
    let opened = stripe.dispute(&intent, 1100);
    stripe.deliver(&app, &opened).await.expect(200);
    for (state, balance) in [("won", 990), ("lost", 0), ("won", 990), ("lost", 0)] {
        app.clock.advance(1000);
        stripe.deliver(&app, &stripe.dispute_becomes(of_dispute(&opened), state)).await.expect(200);
        await_applied(&app).await;
        assert_eq!(app.balance(&bob).await, balance, "{state}");
        app.assert_books_balance().await;
    }
}

#[tokio::test]
async fn a_refund_that_an_administrator_decided_and_that_fails_is_shown_again_until_it_is_settled() {
    let stripe = Stripe::start().await;
    let app = stripe.app(&[("UNUSED_PAYMENT_TTL", "1h")]).await;
    let root = app.admin("root").await;
    let strange = stripe.begin_elsewhere(700, "usd");
    stripe.deliver(&app, &stripe.succeed(&strange)).await.expect(200);
    await_applied(&app).await;
    app.clock.advance(3_601_000);
    api::look_after_payments(&app.inside()).await.unwrap();
    let path = format!("/api/payment/settle/{strange}");
    root.put(&path).json(&json!({ "decision": "return" })).await.expect(200);
    let refund = stripe.await_refunds(&strange, 1).await[0].clone();
    stripe.deliver(&app, &stripe.fail_refund(id_of(&refund))).await.expect(200);
    await_applied(&app).await;
    let listed = root.get("/api/payment/needing-attention").await.expect(200);
    assert_eq!(listed["payments"][0]["why"], "return_failed");
    root.put(&path).json(&json!({ "decision": "keep" })).await.expect(200);
    // The same again says nothing new.
    stripe.deliver(&app, &stripe.refund_event(id_of(&refund), "refund.failed")).await.expect(200);
    await_applied(&app).await;
    let listed = root.get("/api/payment/needing-attention").await.expect(200);
    assert_eq!(listed["payments"], json!([]));
}

#[tokio::test]
async fn of_a_card_that_is_declined_nothing_is_asked_and_nothing_written() {
    let stripe = Stripe::start().await;
    let app = stripe.app(&[]).await;
    let ann = app.buyer("ann").await;
    let begun = ann.post("/api/stripe/process").json(&json!({ "amount": 1100 })).await.expect(200);
    let intent = begun["id"].as_str().unwrap();
    let declined = stripe.decline(intent, "Your card has insufficient funds.");
    let called_off = stripe.cancel(intent);
    let before = stripe.asked("").len();
    for event in [declined, called_off] {
        stripe.deliver(&app, &event).await.expect(200);
    }
    await_applied(&app).await;
    let asked: Vec<String> = stripe.asked("").into_iter().skip(before).map(|asked| asked.path).collect();
    assert_eq!(asked, Vec::<String>::new());
    assert_eq!(app.db.raw::<Document>("payments").count_documents(doc! {}).await.unwrap(), 0);
}

fn id_of(object: &Value) -> &str {
    object["id"].as_str().unwrap()
}

#[tokio::test]
async fn a_payment_of_an_earlier_version_of_which_some_went_back_then_is_no_difference() {
    let stripe = Stripe::start().await;
    let app = stripe.app(&[]).await;
    let (ann, bob, eve) = tokio::join!(app.buyer("ann"), app.seller("bob"), app.seller("eve"));
    let (cup, pot) = tokio::join!(bob.product("cup", "10", 10), eve.product("pot", "20", 10));
    let (intent, _) = pay(&stripe, &ann, 3300).await;
    let orders = order(&ann, &[(&cup, 1), (&pot, 1)], &intent).await;
    let cancel = async |order: &Value, count| {
        ann.put(&format!("/api/order/cancel-order/{}", id(order))).await.expect(200);
        stripe.await_refunds(&intent, count).await;
        crate::mail::outbox_is_empty(&app).await;
    };
    cancel(&orders[0], 1).await;
    // Those kept neither.
    let payments = app.db.raw::<Document>("payments");
    let forget = doc! { "$unset": { "returns": "", "currency": "" } };
    payments.update_one(doc! { "_id": &intent }, forget).await.unwrap();
    app.assert_books_balance().await;
    cancel(&orders[1], 2).await;
    app.assert_books_balance().await;
}
