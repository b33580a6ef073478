//! `souk reconcile`: the books of a day beside the gateway's own list, by the real program.

use std::time::Duration;

use bson::{Document, doc};
use serde_json::{Value, json};
use shared::{
    clock::{Clock, iso, plus},
    model::{OutboxJob, Payment},
    money::Money,
};
use tests::{Buyer, Seller, TestApp, people::in_cash, stand_in::Fault, stripe::Stripe};

const HOUR: i64 = 60 * 60 * 1000;

/// What it says and how it ends.
async fn reconcile(app: &TestApp, stripe: &Stripe, more: &[&str]) -> (i32, String) {
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_souk-under-test"))
        .arg("reconcile")
        .args(more)
        .env_clear()
        .env("DB_URL", app.database_uri())
        .envs(stripe.settings())
        .current_dir(app.home())
        .output()
        .await
        .unwrap();
    let said = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap()).concat();
    (output.status.code().unwrap(), said)
}

/// The day on which a moment so many hours from now is.
fn day(app: &TestApp, hours: i64) -> String {
    iso(plus(app.clock.now(), hours * HOUR)).chars().take(10).collect()
}

/// All of today's, whatever the hour at which the test runs: both sides have the same clock.
async fn today(app: &TestApp, stripe: &Stripe) -> (i32, String) {
    reconcile(app, stripe, &["--gateway", "stripe", "--day", &day(app, 0)]).await
}

/// A shop that takes cards. Not within a minute of midnight, where a test would run into the next day.
async fn market() -> (TestApp, Stripe, Buyer, Seller, Value) {
    while Clock::default().now().timestamp_millis().rem_euclid(24 * HOUR) > 24 * HOUR - 60_000 {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let stripe = Stripe::start().await;
    let app = stripe.app(&[]).await;
    let (ann, bob) = tokio::join!(app.buyer("ann"), app.seller("bob"));
    let cup = bob.product("cup", "10", 100).await;
    (app, stripe, ann, bob, cup)
}

/// So many cups, paid by card: the payment and the order.
async fn bought(stripe: &Stripe, buyer: &Buyer, cup: &Value, count: i64) -> (String, String) {
    let begun = buyer.post("/api/stripe/process").json(&json!({ "amount": 1100 * count })).await.expect(200);
    let payment = begun["id"].as_str().unwrap().to_owned();
    stripe.succeed(&payment);
    let mut body = in_cash(&[(cup, count)]);
    body["totalPrice"] = json!(11 * count);
    body["paymentInfo"] = json!({ "type": "Credit Card", "id": payment });
    let placed = buyer.post("/api/order/create-order").json(&body).await.expect(201);
    (payment, placed["orders"][0]["_id"].as_str().unwrap().to_owned())
}

/// The lines that name a difference.
fn differences(said: &str) -> Vec<&str> {
    said.lines().filter_map(|line| line.strip_prefix("  - ")).collect()
}

#[tokio::test]
async fn what_was_paid_and_went_back_is_the_same_on_both_sides() {
    let (app, stripe, ann, bob, cup) = market().await;
    let (_, kept) = bought(&stripe, &ann, &cup, 1).await;
    let (payment, order) = bought(&stripe, &ann, &cup, 2).await;
    for order in [&kept, &order] {
        bob.set_status(order, "Delivered").await;
    }
    let part = json!({ "items": [{ "id": cup["_id"], "count": 1 }] });
    ann.put(&format!("/api/order/refund-order/{order}")).json(&part).await.expect(200);
    let path = format!("/api/order/order-refund-success/{order}");
    bob.put(&path).json(&json!({ "status": "Refund Success" })).await.expect(200);
    stripe.await_refunds(&payment, 1).await;
    crate::mail::nothing_is_due(&app).await;
    let (code, said) = today(&app, &stripe).await;
    assert_eq!((code, differences(&said)), (0, vec![]), "{said}");
    assert!(said.contains("Both sides agree to the cent."), "{said}");
    let row = |words: [&str; 3]| said.lines().any(|line| line.split_whitespace().eq(words));
    for words in [["taken", "33.00", "33.00"], ["returned", "11.00", "11.00"], ["net", "22.00", "22.00"]] {
        assert!(row(words), "{words:?} {said}");
    }
    assert!(said.contains("booked 22.00 from gateway:stripe"), "{said}");
    app.assert_books_balance().await;
}

#[tokio::test]
async fn what_is_missing_on_either_side_is_named_and_fails() {
    let (app, stripe, ann, _, cup) = market().await;
    let (payment, _) = bought(&stripe, &ann, &cup, 1).await;
    let elsewhere = stripe.begin_elsewhere(4200, "usd");
    stripe.succeed(&elsewhere);
    let refund = stripe.refund_elsewhere(&payment, 300);
    let invented = Payment {
        paid_at: Some(app.clock.now()),
        ..Payment::new("pi_invented".to_owned(), "stripe".to_owned(), Money::from_minor(700), app.clock.now())
    };
    app.db.of::<Payment>().insert_one(invented).await.unwrap();
    let (code, said) = today(&app, &stripe).await;
    let found = differences(&said);
    assert_eq!((code, found.len()), (1, 3), "{said}");
    assert!(said.contains("3 differences."), "{said}");
    let refund_id = refund["data"]["object"]["id"].as_str().unwrap();
    for words in [
        format!("the gateway has a payment {elsewhere} of 42.00"),
        format!("the gateway has a refund {refund_id} of 3.00"),
        "we have a payment pi_invented of 7.00".to_owned(),
    ] {
        assert!(found.iter().any(|line| line.contains(&words)), "{words}: {said}");
    }
    // What the gateway has told us of is known, whoever did it.
    stripe.deliver(&app, &refund).await.expect(200);
    let (_, said) = today(&app, &stripe).await;
    assert_eq!(differences(&said).len(), 2, "{said}");
    // And of what both have, the amount.
    let this = doc! { "_id": &payment };
    app.db.of::<Payment>().update_one(this, doc! { "$set": { "minor": 1101_i64 } }).await.unwrap();
    let (_, said) = today(&app, &stripe).await;
    let other = format!("we have a payment {payment} of 11.01");
    assert!(
        differences(&said).iter().any(|l| l.contains(&other) && l.contains("the gateway has 11.00")),
        "{said}"
    );
}

#[tokio::test]
async fn a_payment_that_is_of_another_day_on_one_side_is_no_difference() {
    let (app, stripe, ann, _, cup) = market().await;
    let (payment, _) = bought(&stripe, &ann, &cup, 1).await;
    for hours in [-24, -48, 24] {
        let at = plus(app.clock.now(), hours * HOUR);
        let this = doc! { "_id": &payment };
        app.db.of::<Payment>().update_one(this, doc! { "$set": { "paidAt": at } }).await.unwrap();
        for seen_from in [0, hours.min(0)] {
            let date = day(&app, seen_from);
            let (code, said) = reconcile(&app, &stripe, &["--gateway", "stripe", "--day", &date]).await;
            assert_eq!((code, differences(&said)), (0, vec![]), "{hours} {seen_from} {said}");
            assert!(said.contains("1 of these are on a neighbouring day"), "{hours} {seen_from} {said}");
        }
    }
}

#[tokio::test]
async fn a_refund_that_is_not_done_is_told_and_differs_once_nobody_tries() {
    let (app, stripe, ann, bob, cup) = market().await;
    let (payment, order) = bought(&stripe, &ann, &cup, 1).await;
    stripe.misbehave("POST /v1/refunds", Fault::Status(500), 1000);
    bob.put(&format!("/api/order/cancel-order/{order}")).await.expect(200);
    let jobs = || app.db.raw::<Document>("outbox");
    let refunds = doc! { "job.kind": "refund" };
    assert_eq!(jobs().count_documents(refunds.clone()).await.unwrap(), 1);
    // Asked for a moment ago: nothing to tell. Long ago: it still waits.
    assert_eq!(differences(&today(&app, &stripe).await.1), Vec::<&str>::new());
    let long_ago = doc! { "$set": { "returns.0.askedAt": plus(app.clock.now(), -30 * HOUR) } };
    app.db.of::<Payment>().update_one(doc! { "_id": &payment }, long_ago).await.unwrap();
    let args = ["--gateway", "stripe", "--day", &day(&app, -30)];
    let (code, said) = reconcile(&app, &stripe, &args).await;
    assert_eq!((code, differences(&said).len()), (0, 1), "{said}");
    assert!(said.contains("(no difference)"), "{said}");
    jobs().update_many(refunds.clone(), doc! { "$set": { "dead": true } }).await.unwrap();
    let (code, said) = reconcile(&app, &stripe, &args).await;
    assert!(code == 1 && said.contains("it was given up"), "{said}");
    jobs().delete_many(refunds).await.unwrap();
    let (code, said) = reconcile(&app, &stripe, &args).await;
    assert!(code == 1 && said.contains("nothing in the outbox will do it"), "{said}");
    let asked: Payment = app.db.of().find_one(doc! { "_id": &payment }).await.unwrap().unwrap();
    // Put back, it is done at last, and then all is well whatever the day.
    let job = OutboxJob::Refund {
        payment_id: payment.clone(),
        minor: 1100,
        idempotency_key: asked.returns[0].key.clone(),
    };
    stripe.behave();
    app.inside().outbox.add(job).await.unwrap();
    stripe.await_refunds(&payment, 1).await;
    crate::mail::nothing_is_due(&app).await;
    for args in [args, ["--gateway", "stripe", "--day", &day(&app, 0)]] {
        let (code, said) = reconcile(&app, &stripe, &args).await;
        assert_eq!((code, differences(&said)), (0, vec![]), "{said}");
    }
}

#[tokio::test]
async fn a_gateway_that_cannot_be_asked_is_neither_clean_nor_a_difference() {
    let (app, stripe, _, _, _) = market().await;
    stripe.misbehave("GET", Fault::Status(503), 1000);
    let (code, said) = today(&app, &stripe).await;
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("stripe could not be asked, so nothing is known about it"), "{said}");
    assert!(!said.contains("sk_test"), "{said}");
    stripe.behave();
    let (code, said) = today(&app, &stripe).await;
    assert_eq!(code, 0, "{said}");
}

#[tokio::test]
async fn a_day_that_is_none_is_refused_and_without_one_it_is_yesterday() {
    let (app, stripe, _, _, _) = market().await;
    for bad in ["2026-02-30", "yesterday", "2026-2-3"] {
        let (code, said) = reconcile(&app, &stripe, &["--day", bad]).await;
        assert!(code == 1 && said.contains(&format!("`{bad}` is no day")), "{said}");
    }
    let (code, said) = reconcile(&app, &stripe, &["--day", &day(&app, 48)]).await;
    assert!(code == 1 && said.contains("has not begun yet"), "{said}");
    let yesterday = day(&app, -24);
    let (code, said) = reconcile(&app, &stripe, &[]).await;
    // PayPal is a sandbox here, with nothing on either side.
    assert!(code == 0 && said.contains(&yesterday) && said.contains("paypal"), "{said}");
}
