//! Cards through Stripe's own protocol: the real gateway code against a stand-in that remembers.

use std::time::Duration;

use bson::{Document, doc};
use futures_util::future::join_all;
use serde_json::{Value, json};
use shared::model::{Payment, Stored as _, WebhookEvent};
use tests::{
    Answer, Buyer, TestApp,
    people::in_cash,
    stand_in::Fault,
    stripe::{SECRET_KEY, Stripe, WEBHOOK_SECRET, sign, signature},
};

use crate::refunds::refund;

const PROCESS: &str = "/api/stripe/process";

/// Begins a payment and gives its id.
async fn begin(buyer: &Buyer, amount: i64) -> String {
    let begun = buyer.post(PROCESS).json(&json!({ "amount": amount })).await.expect(200);
    begun["id"].as_str().unwrap().to_owned()
}

/// Orders so many of each, paid by card.
async fn order(buyer: &Buyer, payment: &str, cart: &[(&Value, i64)], total: f64) -> Answer {
    let mut body = in_cash(cart);
    body["totalPrice"] = json!(total);
    body["paymentInfo"] = json!({ "id": payment, "status": "succeeded", "type": "Credit Card" });
    buyer.post("/api/order/create-order").json(&body).await
}

fn id(document: &Value) -> &str {
    document["_id"].as_str().unwrap()
}

/// Lets time pass for the outbox until the gateway's answer to every refund was taken down.
async fn await_noted(app: &TestApp, payment: &str) -> Payment {
    for _ in 0..400 {
        let found = app.db.of::<Payment>().find_one(doc! { "_id": payment }).await.unwrap().unwrap();
        if found.returns.iter().all(|asked| asked.refund_id.is_some()) {
            return found;
        }
        app.clock.advance(1_000);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("no answer to a refund of {payment} was taken down");
}

async fn events(app: &TestApp) -> u64 {
    app.db.raw::<Document>(WebhookEvent::COLLECTION).count_documents(doc! {}).await.unwrap()
}

#[tokio::test]
async fn a_payment_is_begun_for_its_buyer_in_minor_units_and_no_secret_of_ours_is_told() {
    let stripe = Stripe::start().await;
    let app = stripe.app(&[]).await;
    let ann = app.buyer("ann").await;
    let begun = ann.post(PROCESS).json(&json!({ "amount": 1100 })).await;
    let [asked] = stripe.asked("POST /v1/payment_intents").try_into().unwrap();
    let form = [("amount", "1100"), ("currency", "usd"), ("metadata[souk_buyer]", &ann.id.hex())];
    let form = form.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(asked.form(), form.into_iter().collect());
    assert_eq!(asked.header("authorization"), format!("Bearer {SECRET_KEY}"));
    assert!(!asked.header("idempotency-key").is_empty());
    let body = begun.expect(200);
    let intent = stripe.intent(body["id"].as_str().unwrap());
    assert_eq!(body["client_secret"], intent["client_secret"]);
    for secret in [SECRET_KEY, WEBHOOK_SECRET] {
        assert!(!begun.text().contains(secret), "{}", begun.text());
    }
    for amount in [49, 0, -1100, 100_000_000] {
        ann.post(PROCESS).json(&json!({ "amount": amount })).await.refused(400, "invalid_input");
    }
    assert_eq!(stripe.intents(), 1);
    for amount in [50, 99_999_999] {
        begin(&ann, amount).await;
    }
    let key = app.browser().get("/api/stripe/stripeApiKey").await.expect(200);
    assert_eq!(key["stripeApiKey"], "pk_test_stand_in");
}

#[tokio::test]
async fn a_double_click_begins_one_payment_but_the_next_purchase_has_its_own() {
    let stripe = Stripe::start().await;
    let app = stripe.app(&[]).await;
    let (ann, bob, eve) = tokio::join!(app.buyer("ann"), app.seller("bob"), app.buyer("eve"));
    let cup = bob.product("cup", "10", 10).await;
    let begun = join_all((0..8).map(|_| begin(&ann, 1100))).await;
    let first = &begun[0];
    assert!(begun.iter().all(|id| id == first), "{begun:?}");
    assert_eq!(stripe.intents(), 1);
    assert_ne!(&begin(&ann, 1101).await, first);
    assert_ne!(&begin(&eve, 1100).await, first);
    stripe.succeed(first);
    assert_eq!(&begin(&ann, 1100).await, first, "it is paid, but nothing was bought with it");
    order(&ann, first, &[(&cup, 1)], 11.).await.expect(201);
    let second = begin(&ann, 1100).await;
    assert_ne!(&second, first);
    assert_eq!(begin(&ann, 1100).await, second);
    app.clock.advance(11_000);
    let third = begin(&ann, 1100).await;
    assert_ne!(third, second);
    // Whoever has a key of their own gets what they got, however long after.
    let keyed = || ann.post(PROCESS).header("Idempotency-Key", "1").json(&json!({ "amount": 1100 }));
    let fourth = keyed().await.expect(200);
    assert_ne!(fourth["id"], third.as_str());
    app.clock.advance(3_600_000);
    assert_eq!(keyed().await.expect(200), fourth);
    let other = ann.post(PROCESS).header("Idempotency-Key", "1").json(&json!({ "amount": 1200 })).await;
    other.refused(422, "idempotency_key_reused");
}

#[tokio::test]
async fn an_order_is_paid_when_stripe_says_so_and_its_buyer_is_told_what_is_missing() {
    let stripe = Stripe::start().await;
    let app = stripe.app(&[]).await;
    let (ann, bob) = tokio::join!(app.buyer("ann"), app.seller("bob"));
    let cup = bob.product("cup", "10", 10).await;
    let payment = begin(&ann, 1100).await;
    let refused = async |words: &str| {
        let answer = order(&ann, &payment, &[(&cup, 1)], 11.).await.refused(409, "payment_not_verified");
        assert!(answer["message"].as_str().unwrap().contains(words), "{answer}");
    };
    refused("no card was given").await;
    stripe.require_action(&payment);
    refused("3-D Secure").await;
    stripe.decline(&payment, "Your card has insufficient funds.");
    refused("Your card has insufficient funds.").await;
    stripe.process(&payment);
    refused("the bank is still working on it").await;
    stripe.succeed(&payment);
    let of_two = order(&ann, &payment, &[(&cup, 2)], 22.).await.refused(409, "payment_not_verified");
    assert!(of_two["message"].as_str().unwrap().contains("11.00 was paid"), "{of_two}");
    let paid = order(&ann, &payment, &[(&cup, 1)], 11.).await.expect(201);
    assert_eq!(paid["orders"][0]["paymentInfo"]["status"], "succeeded");
    app.clock.advance(60_000);
    order(&ann, &payment, &[(&cup, 1)], 11.).await.refused(409, "payment_used");

    let payment = begin(&ann, 1100).await;
    stripe.cancel(&payment);
    let called_off = order(&ann, &payment, &[(&cup, 1)], 11.).await.refused(409, "payment_not_verified");
    assert!(called_off["message"].as_str().unwrap().contains("called off"), "{called_off}");
    let payment = begin(&ann, 1101).await;
    stripe.succeed(&payment);
    stripe.refund_elsewhere(&payment, 1101);
    let gone = order(&ann, &payment, &[(&cup, 1)], 11.01).await.refused(409, "payment_not_verified");
    assert!(gone["message"].as_str().unwrap().contains("returned"), "{gone}");
    assert_eq!(app.shelf(&cup).await, (10, 1, 0));

    let before = stripe.asked("").len();
    order(&ann, "pi_invented", &[(&cup, 1)], 11.).await.refused(409, "payment_not_verified");
    assert_eq!(stripe.asked("").len(), before + 1);
    for junk in ["../refunds", "pi_1/../../refunds", "pi_1?expand[]=customer", "ch_1", "pi_\u{e4}"] {
        order(&ann, junk, &[(&cup, 1)], 11.).await.refused(409, "payment_not_verified");
    }
    assert_eq!(stripe.asked("").len(), before + 1, "what Stripe cannot have made is not asked for");
    app.assert_books_balance().await;
}

#[tokio::test]
async fn nobody_pays_with_what_somebody_else_has_paid() {
    let stripe = Stripe::start().await;
    let app = stripe.app(&[("AUTH_MODE", "auto")]).await;
    let (ann, bob, eve) = tokio::join!(app.buyer("ann"), app.seller("bob"), app.buyer("eve"));
    let cup = bob.product("cup", "10", 10).await;
    let of_ann = begin(&ann, 1100).await;
    let unpaid = order(&eve, &of_ann, &[(&cup, 1)], 11.).await.refused(409, "payment_not_yours");
    stripe.succeed(&of_ann);
    let paid = order(&eve, &of_ann, &[(&cup, 1)], 11.).await.refused(409, "payment_not_yours");
    assert_eq!(paid["message"], unpaid["message"], "it is not told how far it has come");
    let elsewhere = stripe.begin_elsewhere(1100, "usd");
    stripe.succeed(&elsewhere);
    order(&eve, &elsewhere, &[(&cup, 1)], 11.).await.refused(409, "payment_not_yours");
    let in_euros = begin(&eve, 1100).await;
    stripe.alter(&in_euros, "currency", json!("eur"));
    stripe.succeed(&in_euros);
    let refused = order(&eve, &in_euros, &[(&cup, 1)], 11.).await.refused(409, "payment_not_verified");
    assert!(refused["message"].as_str().unwrap().contains("another currency"), "{refused}");
    assert_eq!(app.shelf(&cup).await, (10, 0, 0));
    assert_eq!(stripe.refunds(&of_ann).len(), 0, "nor is it given back");
    // The existing client does not say who it is when it begins a payment.
    let bare = app.browser().post(PROCESS).json(&json!({ "amount": 1100 })).await.expect(200);
    let bare = bare["id"].as_str().unwrap();
    assert_eq!(stripe.intent(bare)["metadata"]["souk_buyer"], "anonymous");
    stripe.succeed(bare);
    order(&eve, bare, &[(&cup, 1)], 11.).await.expect(201);
    order(&ann, &of_ann, &[(&cup, 1)], 11.).await.expect(201);
}

#[tokio::test]
async fn what_goes_back_goes_through_stripe_part_by_part_each_under_its_own_key() {
    let stripe = Stripe::start().await;
    let app = stripe.app(&[]).await;
    let (ann, bob) = tokio::join!(app.buyer("ann"), app.seller("bob"));
    let cup = bob.product("cup", "10", 10).await;
    let payment = begin(&ann, 3300).await;
    stripe.succeed(&payment);
    let placed = order(&ann, &payment, &[(&cup, 3)], 33.).await.expect(201)["orders"][0].clone();
    bob.set_status(id(&placed), "Delivered").await;
    refund(&ann, &bob, &placed, &[(&cup, 1)]).await;
    stripe.await_refunds(&payment, 1).await;
    refund(&ann, &bob, &placed, &[(&cup, 2)]).await;
    let refunds = stripe.await_refunds(&payment, 2).await;
    let amounts: Vec<_> = refunds.iter().map(|refund| refund["amount"].as_i64().unwrap()).collect();
    assert_eq!(amounts, [1100, 2200]);
    let noted = await_noted(&app, &payment).await;
    let asked = stripe.asked("POST /v1/refunds");
    assert_eq!(asked.len(), 2);
    for (asked, (done, noted)) in asked.iter().zip(refunds.iter().zip(&noted.returns)) {
        let key = asked.header("idempotency-key");
        let form = asked.form();
        assert_eq!((form["payment_intent"].as_str(), form["metadata[souk_key]"].as_str()), (&*payment, key));
        assert_eq!((form["amount"].as_str(), form.len()), (&*done["amount"].to_string(), 3));
        assert_eq!((noted.key.as_str(), noted.refund_id.as_deref()), (key, done["id"].as_str()));
    }
    assert_ne!(noted.returns[0].key, noted.returns[1].key);
    // Stripe tells of both, the later one first, and of the sum.
    for refund in refunds.iter().rev() {
        let told = stripe.refund_event(refund["id"].as_str().unwrap(), "refund.created");
        stripe.deliver(&app, &told).await.expect(200);
    }
    stripe.deliver(&app, &stripe.charge_refunded(&payment)).await.expect(200);
    app.assert_books_balance().await;
}

#[tokio::test]
async fn a_refund_whose_answer_is_lost_is_made_once_even_if_stripe_forgets_the_key() {
    let stripe = Stripe::start().await;
    let app = stripe.app(&[]).await;
    let (ann, bob) = tokio::join!(app.buyer("ann"), app.seller("bob"));
    let cup = bob.product("cup", "10", 10).await;
    let cancelled = async || {
        let payment = begin(&ann, 1100).await;
        stripe.succeed(&payment);
        let placed = order(&ann, &payment, &[(&cup, 1)], 11.).await.expect(201)["orders"][0].clone();
        ann.put(&format!("/api/order/cancel-order/{}", id(&placed))).await.expect(200);
        payment
    };
    stripe.misbehave("POST /v1/refunds", Fault::LosesAnswer, 1);
    let payment = cancelled().await;
    stripe.await_refunds(&payment, 1).await;
    stripe.forget_keys();
    let noted = await_noted(&app, &payment).await;
    let [refund] = stripe.refunds(&payment).try_into().unwrap();
    assert_eq!(noted.returns[0].refund_id.as_deref(), refund["id"].as_str());
    assert_eq!(stripe.asked("POST /v1/refunds").len(), 1, "what was done is found, not tried");

    app.clock.advance(60_000);
    for fault in [Fault::HangsUp, Fault::Status(500)] {
        stripe.misbehave("POST /v1/refunds", fault, 1);
    }
    let payment = cancelled().await;
    await_noted(&app, &payment).await;
    let [refund] = stripe.refunds(&payment).try_into().unwrap();
    assert_eq!(refund["amount"], 1100);
    app.assert_books_balance().await;
}

#[tokio::test]
async fn a_refund_that_stripe_refuses_is_given_up_and_listed() {
    let stripe = Stripe::start().await;
    let app = stripe.app(&[]).await;
    let (ann, bob) = tokio::join!(app.buyer("ann"), app.seller("bob"));
    let cup = bob.product("cup", "10", 10).await;
    let payment = begin(&ann, 1100).await;
    stripe.succeed(&payment);
    let placed = order(&ann, &payment, &[(&cup, 1)], 11.).await.expect(201)["orders"][0].clone();
    stripe.refund_elsewhere(&payment, 600);
    ann.put(&format!("/api/order/cancel-order/{}", id(&placed))).await.expect(200);
    let jobs = app.db.raw::<Document>("outbox");
    let mut given_up = None;
    for _ in 0..400 {
        given_up = jobs.find_one(doc! { "dead": true }).await.unwrap();
        if given_up.is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    let given_up = given_up.expect("the job is not given up");
    let why = given_up.get_str("lastError").unwrap();
    assert!(why.contains("greater than unrefunded amount"), "{why}");
    assert_eq!(stripe.asked("POST /v1/refunds").len(), 1, "a refusal is not asked for again");
}

#[tokio::test]
async fn stripe_that_is_down_is_said_so_and_our_key_is_not() {
    let stripe = Stripe::start().await;
    let app = stripe.app(&[]).await;
    let (ann, bob) = tokio::join!(app.buyer("ann"), app.seller("bob"));
    let cup = bob.product("cup", "10", 10).await;
    let payment = begin(&ann, 1100).await;
    stripe.succeed(&payment);
    for fault in [Fault::HangsUp, Fault::Status(500), Fault::Status(429)] {
        stripe.misbehave("", fault, 1);
        let answer = order(&ann, &payment, &[(&cup, 1)], 11.).await;
        answer.refused(503, "card_payments_unavailable");
        assert!(answer.header("retry-after").is_some());
    }
    // One that was begun although its answer was lost is the one that is begun again.
    stripe.misbehave("POST /v1/payment_intents", Fault::LosesAnswer, 1);
    let lost = ann.post(PROCESS).json(&json!({ "amount": 900 })).await;
    lost.refused(503, "card_payments_unavailable");
    begin(&ann, 900).await;
    assert_eq!(stripe.intents(), 2);
    order(&ann, &payment, &[(&cup, 1)], 11.).await.expect(201);

    let wrong = stripe.app(&[("STRIPE_SECRET_KEY", "sk_test_another_one")]).await;
    let dee = wrong.buyer("dee").await;
    let refused = dee.post(PROCESS).json(&json!({ "amount": 1100 })).await;
    refused.refused(503, "card_payments_unavailable");
    assert!(
        !refused.text().contains("another_one") && !refused.text().contains("sk_test"),
        "{}",
        refused.text()
    );
}

#[tokio::test]
async fn only_what_stripe_has_signed_lately_is_taken_down() {
    let stripe = Stripe::start().await;
    let app = stripe.app(&[]).await;
    let ann = app.buyer("ann").await;
    let payment = begin(&ann, 1100).await;
    let body = stripe.succeed(&payment).to_string();
    let now = app.clock.now().timestamp_millis().div_euclid(1000);
    let right = signature(&body, WEBHOOK_SECRET, now);
    let v0 = format!("t={now},v0={right}");
    let forged = [
        None,
        Some(String::new()),
        Some("t=,v1=".to_owned()),
        Some(format!("t={now}")),
        Some(format!("v1={right}")),
        Some(v0),
        Some(format!("t={now},v1={}", "0".repeat(64))),
        Some(format!("t={},v1={right}", now + 1)),
        Some(sign(&body, "whsec_another_secret", now)),
        Some(sign(&body, "", now)),
        // With some room for the time that this test takes.
        Some(sign(&body, WEBHOOK_SECRET, now - 301)),
        Some(sign(&body, WEBHOOK_SECRET, now + 360)),
    ];
    for signature in &forged {
        let answer = Stripe::call(&app, &body, signature.as_deref()).await;
        answer.refused(400, "invalid_signature");
        assert!(
            !answer.text().contains(&right) && !answer.text().contains(WEBHOOK_SECRET),
            "{}",
            answer.text()
        );
    }
    let signed = format!("t={now},v1={right}");
    let tampered = body.replace("1100", "9900");
    Stripe::call(&app, &tampered, Some(&signed)).await.refused(400, "invalid_signature");
    assert_eq!(events(&app).await, 0, "nothing is written");
    // While a secret is replaced, Stripe signs with both.
    let both = format!("t={now},v1={},v1={right},v0=beef", signature(&body, "whsec_old", now));
    Stripe::call(&app, &body, Some(&both)).await.expect(200);
    Stripe::call(&app, &body, Some(&signed)).await.expect(200);
    assert_eq!(events(&app).await, 1, "and what comes again is the same");
    app.clock.advance(600_000);
    Stripe::call(&app, &body, Some(&signed)).await.refused(400, "invalid_signature");
    // A good signature under something else than an event.
    let now = app.clock.now().timestamp_millis().div_euclid(1000);
    for junk in ["", "[]", "{}", "not JSON"] {
        let answer = Stripe::call(&app, junk, Some(&sign(junk, WEBHOOK_SECRET, now))).await;
        answer.refused(409, "payment_refused");
    }
    assert_eq!(events(&app).await, 1);
    for (kind, object) in [
        ("invoice.paid", json!({ "id": "in_1" })),
        ("payment_intent.succeeded", json!("of another shape")),
        ("charge.dispute.created", json!({ "id": "dp_1", "payment_intent": null })),
    ] {
        stripe.deliver(&app, &stripe.event(kind, object)).await.expect(200);
    }
    assert_eq!(events(&app).await, 4, "what is of no interest is taken down too");
}

#[tokio::test]
async fn without_the_webhooks_secret_every_call_is_refused_with_the_settings_name() {
    let stripe = Stripe::start().await;
    let app = stripe.app(&[("STRIPE_WEBHOOK_SECRET", "")]).await;
    let event = stripe.event("invoice.paid", json!({}));
    let refused = stripe.deliver(&app, &event).await.refused(409, "payment_refused");
    assert!(refused["message"].as_str().unwrap().contains("STRIPE_WEBHOOK_SECRET"), "{refused}");
    assert_eq!(events(&app).await, 0);
}

#[tokio::test]
async fn a_day_at_stripe_is_listed_to_its_last_page_and_to_the_second() {
    let stripe = Stripe::start().await;
    let app = stripe.app(&[]).await;
    let pay = |minor: i64| {
        let payment = stripe.begin_elsewhere(minor, "usd");
        stripe.succeed(&payment);
        payment
    };
    let before = pay(1000);
    // To the next whole second: Stripe's clock has no finer times.
    app.clock.advance(1000 - app.clock.now().timestamp_millis().rem_euclid(1000) + 2000);
    let from = app.clock.now();
    let within: Vec<String> = (0..130).map(|n| pay(1000 + n)).collect();
    let refund = stripe.refund_elsewhere(&within[0], 300)["data"]["object"]["id"].clone();
    let failed = stripe.refund_elsewhere(&within[1], 400)["data"]["object"]["id"].clone();
    stripe.fail_refund(failed.as_str().unwrap());
    stripe.begin_elsewhere(5000, "usd");
    app.clock.advance(86_400_000);
    let to = shared::clock::plus(from, 86_400_000);
    let after = pay(1000);
    let inside = app.inside();
    let moved = inside.gateways.cards().unwrap().movements(from, to).await.unwrap();
    let payments = moved.iter().filter(|moved| format!("{:?}", moved.kind) == "Payment");
    let mut listed: Vec<(String, i64)> =
        payments.map(|moved| (moved.payment.clone(), moved.amount.minor())).collect();
    listed.sort();
    let mut expected: Vec<(String, i64)> = within.iter().cloned().zip(1000..).collect();
    expected.sort();
    assert_eq!(listed, expected);
    assert!(!listed.iter().any(|(id, _)| *id == before || *id == after));
    let refunds: Vec<_> = moved.iter().filter(|moved| format!("{:?}", moved.kind) != "Payment").collect();
    assert_eq!(
        (refunds.len(), refunds[0].payment.as_str(), refunds[0].amount.minor()),
        (1, &*within[0], 300)
    );
    assert!(format!("{:?}", refunds[0].kind).contains(refund.as_str().unwrap()), "{refunds:?}");
}
