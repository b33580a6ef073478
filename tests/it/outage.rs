//! A payment gateway that hangs, is gone or out of order costs payments through itself, and nothing else.

use std::{sync::Arc, time::Duration};

use bson::{Document, doc};
use futures_util::future::join_all;
use serde_json::{Value, json};
use shared::config::{Config, GatewayLimits};
use tests::{
    Buyer, TestApp,
    people::in_cash,
    stand_in::{Fault, StandIn},
    stripe::Stripe,
};

const CALLS: usize = 4;
const FAILURES: u32 = 3;

/// Whoever is not answered waits as long as the gateway's own code lets them; once the circuit is open it stays open.
fn patient(config: &mut Config) {
    config.gateway_limits = GatewayLimits {
        answer: Duration::from_secs(600),
        calls: CALLS,
        failures: FAILURES,
        pause: Duration::from_secs(3_600),
        ..GatewayLimits::USUAL
    };
}

/// Nobody waits for long, and the circuit lets somebody try at once.
fn hasty(config: &mut Config) {
    config.gateway_limits = GatewayLimits {
        answer: Duration::from_secs(2),
        failures: FAILURES,
        pause: Duration::from_millis(1),
        ..GatewayLimits::USUAL
    };
}

/// Who is not answered in time gives up before a shutdown does.
fn unhurried(config: &mut Config) {
    config.gateway_limits.answer = Duration::from_secs(5);
}

async fn led_to(stripe: &Stripe, tune: fn(&mut Config)) -> TestApp {
    let settings = stripe.settings();
    let settings: Vec<_> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    TestApp::tuned(&settings, tune).await
}

async fn paid(stripe: &Stripe, buyer: &Buyer) -> String {
    let begun = buyer.post("/api/stripe/process").json(&json!({ "amount": 1100 })).await.expect(200);
    let id = begun["id"].as_str().unwrap().to_owned();
    stripe.succeed(&id);
    id
}

fn with(cup: &Value, kind: &str, payment: &str) -> Value {
    let mut body = in_cash(&[(cup, 1)]);
    body["paymentInfo"] = json!({ "id": payment, "type": kind });
    body["totalPrice"] = json!(11);
    body
}

/// Cash on delivery, browsing and chat.
async fn the_rest_goes_on(app: &TestApp, buyer: &Buyer, cup: &Value) {
    buyer.order(&[(cup, 1)]).await;
    assert!(
        !buyer.get("/api/product/get-all-products").await.expect(200)["products"]
            .as_array()
            .unwrap()
            .is_empty()
    );
    let shop = app.seller(&format!("shop of {}", buyer.name)).await;
    let conversation = buyer.talk_to(&shop).await;
    let said = json!({ "conversationId": conversation, "sender": buyer.id.hex(), "text": "still there?" });
    buyer.post("/api/messages/create-new-message").json(&said).await.expect(201);
}

#[tokio::test]
async fn sixty_four_checkouts_at_a_gateway_that_hangs_leave_everything_else_alone() {
    let stripe = Stripe::start().await;
    let app = led_to(&stripe, patient).await;
    let (ann, bob) = tokio::join!(app.buyer("ann"), app.seller("bob"));
    let cup = bob.product("cup", "10", 100).await;
    let payment = paid(&stripe, &ann).await;
    let look_ups = "GET /v1/payment_intents";
    stripe.misbehave(look_ups, Fault::Silent, usize::MAX);
    let body = Arc::new(with(&cup, "Credit Card", &payment));
    let mut waiting: Vec<_> = (0..64)
        .map(|i| {
            let (ann, body) = (ann.clone(), Arc::clone(&body));
            tokio::spawn(async move {
                let key = format!("card-{i}");
                ann.post("/api/order/create-order").header("Idempotency-Key", &key).json(&*body).await
            })
        })
        .collect();
    // All but those who hang are told at once.
    while waiting.iter().filter(|call| call.is_finished()).count() < 64 - CALLS {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    the_rest_goes_on(&app, &ann, &cup).await;
    let (told, hanging): (Vec<_>, Vec<_>) = waiting.drain(..).partition(|call| call.is_finished());
    // Hangs up on those who wait.
    let asked = stripe.asked(look_ups).len();
    drop(stripe);
    for answer in join_all(told.into_iter().chain(hanging)).await {
        let answer = answer.unwrap();
        let refused = answer.refused(503, "card_payments_unavailable");
        assert!(refused["message"].as_str().unwrap().contains("nothing was charged"), "{refused}");
        assert!(answer.header("retry-after").unwrap().parse::<u64>().unwrap() > 0);
    }
    // Those who hang, and those who came while the first of them were given up.
    let most = CALLS + usize::try_from(FAILURES).unwrap() - 1;
    assert!((1..=most).contains(&asked), "the gateway was asked {asked} times");
    // Nobody is let through any more.
    let refused = ann.post("/api/order/create-order").json(&*body).await;
    refused.refused(503, "card_payments_unavailable");
    assert!(refused.header("retry-after").unwrap().parse::<u64>().unwrap() > 60);
    the_rest_goes_on(&app, &app.buyer("mal").await, &cup).await;
    let metrics = ann.get("/metrics").unchecked().await.text();
    for wanted in ["gateway_circuit_open", "gateway_calls_total", "gateway_call_seconds"] {
        assert!(metrics.is_empty() || metrics.contains(wanted), "{wanted} is missing");
    }
    app.assert_books_balance().await;
}

#[tokio::test]
async fn a_gateway_that_is_out_of_order_is_left_alone_and_taken_back_when_it_answers() {
    let stripe = Stripe::start().await;
    let app = led_to(&stripe, hasty).await;
    let (ann, bob) = tokio::join!(app.buyer("ann"), app.seller("bob"));
    let cup = bob.product("cup", "10", 100).await;
    for fault in [Fault::Status(500), Fault::HangsUp, Fault::Silent] {
        let payment = paid(&stripe, &ann).await;
        stripe.misbehave("GET", fault, usize::MAX);
        let body = with(&cup, "Credit Card", &payment);
        for _ in 0..=FAILURES {
            ann.post("/api/order/create-order").json(&body).await.refused(503, "card_payments_unavailable");
        }
        the_rest_goes_on(&app, &app.buyer(&format!("{fault:?}")).await, &cup).await;
        stripe.behave();
        // One call tries, and the others are let through as soon as it was answered.
        let mut answer = ann.post("/api/order/create-order").json(&body).await;
        for _ in 0..100 {
            if answer.status == 201 {
                break;
            }
            answer.refused(503, "card_payments_unavailable");
            answer = ann.post("/api/order/create-order").json(&body).await;
        }
        answer.expect(201);
        app.clock.advance(60_000);
    }
    app.assert_books_balance().await;
}

#[tokio::test]
async fn once_the_circuit_is_open_the_gateway_is_not_asked() {
    let stripe = Stripe::start().await;
    let app = led_to(&stripe, patient).await;
    let (ann, bob) = tokio::join!(app.buyer("ann"), app.seller("bob"));
    let cup = bob.product("cup", "10", 100).await;
    let payment = paid(&stripe, &ann).await;
    let body = with(&cup, "Credit Card", &payment);
    let refused = || async {
        ann.post("/api/order/create-order").json(&body).await.refused(503, "card_payments_unavailable");
    };
    stripe.misbehave("GET", Fault::Status(500), 3);
    for _ in 0..3 {
        refused().await;
    }
    let asked = stripe.asked("").len();
    for _ in 0..5 {
        refused().await;
    }
    let amount = json!({ "amount": 5000 });
    ann.post("/api/stripe/process").json(&amount).await.refused(503, "card_payments_unavailable");
    assert_eq!(stripe.asked("").len(), asked);
    // What says no has answered: nothing of that opens a circuit.
    let app = led_to(&stripe, patient).await;
    let (ann, bob) = tokio::join!(app.buyer("ann"), app.seller("bob"));
    let cup = bob.product("cup", "10", 100).await;
    for _ in 0..6 {
        let body = with(&cup, "Credit Card", "pi_unknown");
        ann.post("/api/order/create-order").json(&body).await.refused(409, "payment_not_verified");
    }
}

#[tokio::test]
async fn paypal_being_gone_stops_neither_cards_nor_cash() {
    let gone = StandIn::start(|_| (500, Value::Null)).await;
    let base = gone.base();
    let settings =
        [("PAYPAL_CLIENT_ID", "id"), ("PAYPAL_CLIENT_SECRET", "secret"), ("PAYPAL_API_BASE", base.as_str())];
    let app = TestApp::tuned(&settings, patient).await;
    let (ann, bob) = tokio::join!(app.buyer("ann"), app.seller("bob"));
    let cup = bob.product("cup", "10", 100).await;
    let begun = ann.post("/api/stripe/process").json(&json!({ "amount": 1100 })).await.expect(200);
    let by_paypal = with(&cup, "Paypal", "5O190127TN364715T");
    let refused = || async {
        ann.post("/api/order/create-order").json(&by_paypal).await.refused(503, "paypal_unavailable");
    };
    refused().await;
    // Then nobody is there at all.
    drop(gone);
    refused().await;
    refused().await;
    let by_card = with(&cup, "Credit Card", begun["id"].as_str().unwrap());
    ann.post("/api/order/create-order").json(&by_card).await.expect(201);
    the_rest_goes_on(&app, &ann, &cup).await;
}

#[tokio::test]
async fn whoever_leaves_in_the_middle_of_a_slow_begin_finds_it_done_and_a_shutdown_does_not_wait_for_long() {
    let mut app = TestApp::tuned(&[], unhurried).await;
    let (ann, root) = tokio::join!(app.buyer("ann"), app.admin("root"));
    let begin = |key: &'static str| {
        let ann = ann.clone();
        async move {
            let call = ann.post("/api/stripe/process").header("Idempotency-Key", key);
            call.json(&json!({ "amount": 1100 })).await
        }
    };
    let payments = app.db.raw::<Document>("sandboxpayments");
    let slow = json!({ "next": { "delayMs": 600_000 } });
    root.post("/api/sandbox/stripe").json(&slow).await.expect(200);
    let leaving = tokio::spawn(begin("first"));
    while payments.count_documents(doc! {}).await.unwrap() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    leaving.abort();
    begin("first").await.expect(200);
    assert_eq!(payments.count_documents(doc! {}).await.unwrap(), 1);
    root.post("/api/sandbox/stripe").json(&slow).await.expect(200);
    let staying = tokio::spawn(begin("second"));
    while payments.count_documents(doc! {}).await.unwrap() == 1 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    app.restart().await;
    staying.await.unwrap().refused(503, "card_payments_unavailable");
    begin("second").await.expect(200);
    assert_eq!(payments.count_documents(doc! {}).await.unwrap(), 2);
}
