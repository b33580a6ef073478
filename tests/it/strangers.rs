//! What payments bear: forged and poisoned webhooks, gateways that are away for days, and operators who
//! forget a setting.

use std::time::{Duration, Instant};

use bson::{Document, doc};
use futures_util::future::join_all;
use serde_json::{Value, json};
use shared::{
    config::{Config, GatewayLimits},
    id::Id,
    model::{Outbox, OutboxJob, Payment},
    money::Money,
};
use tests::{
    TestApp,
    paypal::{PAYER, Paypal},
    people::in_cash,
    stand_in::{Fault, StandIn},
    stripe::Stripe,
};

use crate::{
    dead_letters::souk_with,
    webhooks::{await_applied, id, pay},
};

fn borrowed<'s>(settings: &'s [(&'static str, String)]) -> Vec<(&'static str, &'s str)> {
    settings.iter().map(|(name, value)| (*name, value.as_str())).collect()
}

/// Who is not answered may ask again at once.
fn hasty(config: &mut Config) {
    config.gateway_limits.pause = Duration::from_millis(1);
}

/// Lets time pass until what the outbox has left to do looks like that.
async fn until(app: &TestApp, what: &str, jobs: Document) {
    let begun = Instant::now();
    while app.db.raw::<Document>("outbox").find_one(jobs.clone()).await.unwrap().is_none() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{what}");
        app.clock.advance(3_700_000);
        app.inside().outbox.wake();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_refund_outlives_an_outage_of_days() {
    let stripe = Stripe::start().await;
    let app = TestApp::tuned(&borrowed(&stripe.settings()), hasty).await;
    let (ann, bob) = tokio::join!(app.buyer("ann"), app.seller("bob"));
    let cup = bob.product("cup", "10", 10).await;
    let (payment, _) = pay(&stripe, &ann, 1100).await;
    let mut body = in_cash(&[(&cup, 1)]);
    body["paymentInfo"] = json!({ "id": payment, "type": "Credit Card" });
    let placed = ann.post("/api/order/create-order").json(&body).await.expect(201)["orders"][0].clone();
    stripe.misbehave("", Fault::Status(503), usize::MAX);
    ann.put(&format!("/api/order/cancel-order/{}", id(&placed))).await.expect(200);
    // The letters have gone out: time passes faster from here on than they could be sent.
    crate::mail::letters_are_out(&app).await;
    until(&app, "it is not tried on", doc! { "job.kind": "refund", "attempts": { "$gte": 30 } }).await;
    assert_eq!(app.db.raw::<Document>("outbox").count_documents(doc! { "dead": true }).await.unwrap(), 0);
    stripe.behave();
    app.clock.advance(3_700_000);
    app.inside().outbox.wake();
    stripe.await_refunds(&payment, 1).await;
    crate::mail::outbox_is_empty(&app).await;
    app.assert_books_balance().await;
}

#[tokio::test]
async fn a_refund_waits_for_keys_that_somebody_forgot_to_set() {
    let app = TestApp::start().await;
    let now = app.clock.now();
    let paid = Payment::new("X1".to_owned(), "elsewhere".to_owned(), Money::from_minor(500), now);
    app.db.of::<Payment>().insert_one(&paid).await.unwrap();
    let job =
        OutboxJob::Refund { payment_id: paid.id, minor: 500, idempotency_key: "unserved:X1".to_owned() };
    let job = Outbox {
        id: Id::new(),
        job,
        due_at: now,
        attempts: 0,
        last_error: None,
        dead: false,
        created_at: now,
        request: None,
        trace: None,
    };
    app.db.of::<Outbox>().insert_one(&job).await.unwrap();
    let told = doc! { "lastError": { "$regex": "no gateway named elsewhere" }, "attempts": { "$gte": 2 } };
    until(&app, "it is not tried on", told).await;
    assert_eq!(app.db.raw::<Document>("outbox").count_documents(doc! { "dead": false }).await.unwrap(), 1);
}

#[tokio::test]
async fn signed_nonsense_is_answered_and_stops_nothing_that_makes_sense() {
    let stripe = Stripe::start().await;
    let app = stripe.app(&[]).await;
    let (ann, bob, root) = tokio::join!(app.buyer("ann"), app.seller("bob"), app.admin("root"));
    let cup = bob.product("cup", "10", 10).await;
    let (payment, paid) = pay(&stripe, &ann, 1100).await;
    let mut body = in_cash(&[(&cup, 1)]);
    body["paymentInfo"] = json!({ "id": payment, "type": "Credit Card" });
    let placed = ann.post("/api/order/create-order").json(&body).await.expect(201)["orders"][0].clone();
    let long = "$set.".repeat(2000);
    let event = |id: &str, kind: &str, created: Value, object: Value| json!({ "id": id, "object": "event", "type": kind, "created": created, "data": { "object": object } });
    let (succeeded, returned, disputed) =
        ("payment_intent.succeeded", "refund.created", "charge.dispute.created");
    let huge = |id: &str, name: &str| {
        let refund = json!({
            "id": id, "amount": i64::MAX, "currency": "usd", "payment_intent": name, "status": "succeeded",
        });
        event(id, returned, json!(1), refund)
    };
    let intent = |name: &str, minor: Value| json!({ "id": name, "amount": minor, "currency": "eur" });
    for nonsense in [
        event("evt_far", succeeded, json!(i64::MAX), intent("pi_far", json!(i64::MAX))),
        event("evt_old", succeeded, json!(i64::MIN), intent("pi_far", json!(1))),
        event("evt_min", succeeded, json!(1.5), intent("pi_min", json!(-5))),
        event("evt_u64", succeeded, json!("now"), intent("pi_u64", json!(u64::MAX))),
        event("evt_txt", succeeded, Value::Null, intent("pi_txt", json!("1100"))),
        event(&long, succeeded, json!(1), intent(&long, json!(1))),
        event("", succeeded, json!(1), intent("", json!(1))),
        event("evt.$where", succeeded, json!(1), intent("$where", json!(1))),
        huge("re_1", "pi_far"),
        huge("re_2", "pi_far"),
        huge("re_3", &payment),
        huge("re_4", &payment),
        event(
            "evt_meta",
            succeeded,
            json!(1),
            json!({
                "id": "pi_meta", "amount": 5, "currency": "usd", "metadata": ["souk_buyer", { "souk_buyer": 1 }],
            }),
        ),
        event(
            "evt_buyer",
            succeeded,
            json!(1),
            json!({
                "id": "pi_buyer", "amount": 5, "currency": "usd", "metadata": { "souk_buyer": "$ne" },
            }),
        ),
        event(
            "evt_dp",
            disputed,
            json!(1),
            json!({
                "id": "dp.$1", "amount": i64::MAX, "payment_intent": &payment, "status": "needs_response",
                "reason": &long,
            }),
        ),
        event("evt_num", disputed, json!(1), json!({ "id": 5, "amount": {}, "payment_intent": 7 })),
        json!({ "id": "evt_bare", "type": succeeded }),
        json!({ "id": 5, "type": 5 }),
        json!([succeeded]),
    ] {
        let answer = stripe.deliver(&app, &nonsense).await;
        assert!([200, 409].contains(&answer.status), "{}: {nonsense}", answer.text());
    }
    stripe.deliver(&app, &paid).await.expect(200);
    await_applied(&app).await;
    ann.get(&format!("/api/order/get-order/{}", id(&placed))).await.expect(200);
    // Money that nobody orders with is an administrator's to look at.
    app.clock.advance(30 * 86_400_000);
    api::look_after_payments(&app.inside()).await.unwrap();
    let listed = root.get("/api/payment/needing-attention").await.expect(200);
    let names: Vec<&str> = listed["payments"].as_array().unwrap().iter().map(id).collect();
    for name in ["pi_far", "pi_meta", "$where", &payment] {
        assert!(names.contains(&name), "{name} is not among {names:?}");
    }
    app.assert_books_balance().await;
}

#[tokio::test]
async fn forged_calls_of_paypals_webhook_take_no_place_from_those_who_pay() {
    let paypal = Paypal::start().await;
    let limits = |config: &mut Config| {
        config.gateway_limits = GatewayLimits { calls: 4, webhooks: 2, failures: 3, ..GatewayLimits::USUAL };
    };
    let app = TestApp::tuned(&borrowed(&paypal.settings()), limits).await;
    let (ann, bob) = tokio::join!(app.buyer("ann"), app.seller("bob"));
    let cup = bob.product("cup", "10", 10).await;
    paypal.keep_time(&app.clock);
    let forged = paypal.transmit(&json!({ "id": "WH-1", "event_type": "PAYMENT.CAPTURE.COMPLETED" }));
    paypal.misbehave("POST /v1/notifications", Fault::Silent, usize::MAX);
    let flood = join_all((0..40).map(|_| Paypal::call(&app, &forged)));
    let pays = async {
        for _ in 0..3 {
            let cart = in_cash(&[(&cup, 1)]);
            let begun = ann.post("/api/paypal/create-order").json(&cart).await.expect(201);
            let order = begun["id"].as_str().unwrap();
            paypal.approve(order, PAYER);
            ann.post(&format!("/api/paypal/capture-order/{order}")).json(&json!({})).await.expect(200);
        }
    };
    let (answers, ()) = tokio::join!(flood, pays);
    for answer in answers {
        answer.refused(503, "paypal_unavailable");
    }
    // Those that found a place, and nobody else: each costs a call of PayPal.
    let asked = paypal.asked("POST /v1/notifications").len();
    assert!(asked <= 40 / 2, "PayPal was asked {asked} times");
    assert_eq!(app.db.raw::<Document>("webhookevents").count_documents(doc! {}).await.unwrap(), 0);
}

#[tokio::test]
async fn the_doctor_tries_the_gateways_and_says_what_is_missing_at_them() {
    let app = TestApp::start().await;
    let gateway = StandIn::start(|asked| match (asked.method.as_str(), asked.path.as_str()) {
        ("POST", "/v1/oauth2/token") => (200, json!({ "access_token": "A21.token", "expires_in": 3600 })),
        ("GET", "/v1/notifications/webhooks/8PT") if asked.header("authorization") == "Bearer A21.token" => {
            (200, json!({ "id": "8PT", "url": "https://shop.example/api/paypal/webhook" }))
        }
        ("GET", "/v1/payment_intents") => (200, json!({ "object": "list", "data": [], "has_more": false })),
        _ => (404, json!({})),
    })
    .await;
    let base = gateway.base();
    let keys = [
        ("STRIPE_SECRET_KEY", "sk_test_very_secret"),
        ("STRIPE_API_BASE", base.as_str()),
        ("PAYPAL_CLIENT_ID", "AZ1"),
        ("PAYPAL_CLIENT_SECRET", "very_secret_too"),
        ("PAYPAL_API_BASE", base.as_str()),
    ];
    let and = |more: &[(&'static str, &'static str)]| {
        let settings: Vec<(&str, &str)> = keys.iter().chain(more).copied().collect();
        let app = &app;
        async move {
            let (ended, said) = souk_with(app, &["doctor"], &settings).await;
            assert!(!said.contains("very_secret") && !said.contains("A21"), "{said}");
            (ended.success(), said)
        }
    };
    let (well, said) = and(&[]).await;
    assert!(well && said.contains("STRIPE_WEBHOOK_SECRET") && said.contains("PAYPAL_WEBHOOK_ID"), "{said}");
    let (well, said) =
        and(&[("STRIPE_WEBHOOK_SECRET", "whsec_very_secret"), ("PAYPAL_WEBHOOK_ID", "8PT")]).await;
    assert!(well && !said.contains("PAYPAL_WEBHOOK_ID") && !said.contains("STRIPE_WEBHOOK"), "{said}");
    let (well, said) = and(&[("PAYPAL_WEBHOOK_ID", "9XX")]).await;
    assert!(!well && said.contains("PAYPAL_WEBHOOK_ID is wrong"), "{said}");
    gateway.misbehave("", Fault::Status(401), usize::MAX);
    let (well, said) = and(&[]).await;
    for name in ["STRIPE_SECRET_KEY is wrong", "PAYPAL_CLIENT_SECRET is wrong"] {
        assert!(!well && said.contains(name), "{said}");
    }
}
