//! Stripe as somebody else has rebuilt it: `localstripe` from PyPI, with the real gateway code, from the first click to
//! the last refund.
//!
//! What it cannot do is left to the stand-in of this repository: it forgets idempotency keys at once, refunds more than
//! was paid, has no disputes, sends no events of refunds, and its lists know no span of time, which `souk reconcile`
//! asks for. It listens on all interfaces and has no setting for that.

use std::{
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use bson::doc;
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use shared::model::WebhookEvent;
use tests::{Buyer, TestApp, people::in_cash};

use crate::{clients::with_packages, refunds::refund};

const KEY: &str = "sk_test_localstripe";

/// The running server. Gone when it is dropped.
struct LocalStripe {
    child: Child,
    base: String,
    client: reqwest::Client,
}

impl Drop for LocalStripe {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl LocalStripe {
    async fn start() -> Self {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("python");
        with_packages(&directory).await;
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut child = Command::new("python3")
            .args(["-m", "localstripe", "--from-scratch", "--port", &port.to_string()])
            .env("PYTHONPATH", directory.join("packages"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(child.try_wait().unwrap().is_none(), "localstripe ended early");
            assert!(Instant::now() < deadline, "localstripe does not listen");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        rustls::crypto::ring::default_provider().install_default().ok();
        Self { child, base: format!("http://127.0.0.1:{port}"), client: reqwest::Client::new() }
    }

    async fn post(&self, path: &str, form: &[(&str, &str)]) -> (u16, Value) {
        let request = self.client.post(format!("{}{path}", self.base)).bearer_auth(KEY).form(form);
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap_or_default())
    }

    /// What Stripe's script does in the browser: whoever pays has typed a card, and confirms.
    async fn confirm(&self, intent: &str, card: &str) -> (u16, Value) {
        let card = [
            ("type", "card"),
            ("card[number]", card),
            ("card[exp_month]", "12"),
            ("card[exp_year]", "2030"),
            ("card[cvc]", "123"),
        ];
        let (_, card) = self.post("/v1/payment_methods", &card).await;
        let path = format!("/v1/payment_intents/{intent}");
        let (status, _) = self.post(&path, &[("payment_method", card["id"].as_str().unwrap())]).await;
        assert_eq!(status, 200);
        self.post(&format!("{path}/confirm"), &[]).await
    }

    async fn refunds(&self, intent: &str) -> Vec<Value> {
        let url = format!("{}/v1/refunds?payment_intent={intent}", self.base);
        let listed: Value = self.client.get(url).bearer_auth(KEY).send().await.unwrap().json().await.unwrap();
        listed["data"].as_array().unwrap().clone()
    }

    async fn await_refunds(&self, intent: &str, count: usize) -> Vec<Value> {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let refunds = self.refunds(intent).await;
            if refunds.len() >= count {
                return refunds;
            }
            assert!(Instant::now() < deadline, "{count} refunds were expected: {refunds:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Waits for an event of a payment and gives it.
async fn await_event(app: &TestApp, name: &str, payment: &str) -> WebhookEvent {
    let events = app.db.of::<WebhookEvent>();
    let mut changes = events.watch().await.unwrap();
    let waiting = async {
        loop {
            let wanted = doc! { "name": name, "payment": payment, "applied": true };
            if let Some(event) = events.find_one(wanted).await.unwrap() {
                return event;
            }
            changes.next().await.unwrap().unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waiting)
        .await
        .unwrap_or_else(|_| panic!("{name} did not come"))
}

async fn begin(buyer: &Buyer, amount: i64) -> Value {
    buyer.post("/api/stripe/process").json(&json!({ "amount": amount })).await.expect(200)
}

fn by_card(cup: &Value, count: i64, total: i64, payment: &str) -> Value {
    let mut body = in_cash(&[(cup, count)]);
    body["totalPrice"] = json!(total);
    body["paymentInfo"] = json!({ "id": payment, "type": "Credit Card" });
    body
}

#[tokio::test(flavor = "multi_thread")]
async fn a_card_is_charged_declined_confirmed_and_refunded_at_a_stripe_that_somebody_else_has_built() {
    let stripe = LocalStripe::start().await;
    let settings = [
        ("STRIPE_SECRET_KEY", KEY),
        ("STRIPE_PUBLISHABLE_KEY", "pk_test_localstripe"),
        ("STRIPE_WEBHOOK_SECRET", "whsec_localstripe"),
        ("STRIPE_API_BASE", &stripe.base),
    ];
    let app = TestApp::with(&settings).await;
    let endpoint = format!("{}/api/stripe/webhook", app.base);
    let (status, _) =
        stripe.post("/_config/webhooks/souk", &[("url", &endpoint), ("secret", "whsec_localstripe")]).await;
    assert_eq!(status, 200);
    let (ann, bob) = tokio::join!(app.buyer("ann"), app.seller("bob"));
    let cup = bob.product("cup", "10", 10).await;
    let order = |body: Value| ann.post("/api/order/create-order").json(&body);

    // Paid, delivered, and returned in two parts.
    let begun = begin(&ann, 3300).await;
    let payment = begun["id"].as_str().unwrap();
    assert!(begun["client_secret"].as_str().unwrap().starts_with(payment), "{begun}");
    let unpaid = order(by_card(&cup, 3, 33, payment)).await.refused(409, "payment_not_verified");
    assert!(unpaid["message"].as_str().unwrap().contains("no card was given"), "{unpaid}");
    assert_eq!(stripe.confirm(payment, "4242424242424242").await.0, 200);
    let placed = order(by_card(&cup, 3, 33, payment)).await.expect(201)["orders"][0].clone();
    assert_eq!(placed["paymentInfo"]["status"], "succeeded");
    let told = await_event(&app, "payment_intent.succeeded", payment).await;
    assert!(format!("{told:?}").contains(&ann.id.hex()), "{told:?}");
    bob.set_status(placed["_id"].as_str().unwrap(), "Delivered").await;
    assert_eq!(app.balance(&bob).await, 2970);
    refund(&ann, &bob, &placed, &[(&cup, 1)]).await;
    stripe.await_refunds(payment, 1).await;
    refund(&ann, &bob, &placed, &[(&cup, 2)]).await;
    // It lists what is a second younger first, and what is of the same second last.
    let refunds = stripe.await_refunds(payment, 2).await;
    let mut amounts: Vec<_> = refunds.iter().map(|refund| refund["amount"].as_i64().unwrap()).collect();
    amounts.sort_unstable();
    assert_eq!(amounts, [1100, 2200]);
    assert_ne!(refunds[0]["metadata"]["souk_key"], refunds[1]["metadata"]["souk_key"]);
    assert_eq!(app.balance(&bob).await, 0);

    // Declined.
    let begun = begin(&ann, 1100).await;
    let payment = begun["id"].as_str().unwrap();
    assert_eq!(stripe.confirm(payment, "4000000000000341").await.0, 402);
    let declined = order(by_card(&cup, 1, 11, payment)).await.refused(409, "payment_not_verified");
    assert!(declined["message"].as_str().unwrap().contains("Your card was declined."), "{declined}");
    await_event(&app, "payment_intent.payment_failed", payment).await;

    // Paid once the bank has confirmed it, and cancelled.
    let begun = begin(&ann, 2200).await;
    let payment = begun["id"].as_str().unwrap();
    assert_eq!(stripe.confirm(payment, "4000002500003155").await.0, 200);
    let waiting = order(by_card(&cup, 2, 22, payment)).await.refused(409, "payment_not_verified");
    assert!(waiting["message"].as_str().unwrap().contains("3-D Secure"), "{waiting}");
    let secret = begun["client_secret"].as_str().unwrap();
    let path = format!("/v1/payment_intents/{payment}/_authenticate");
    assert_eq!(stripe.post(&path, &[("client_secret", secret), ("success", "true")]).await.0, 200);
    let placed = order(by_card(&cup, 2, 22, payment)).await.expect(201)["orders"][0].clone();
    ann.put(&format!("/api/order/cancel-order/{}", placed["_id"].as_str().unwrap())).await.expect(200);
    let [returned] = stripe.await_refunds(payment, 1).await.try_into().unwrap();
    assert_eq!(returned["amount"], 2200);

    order(by_card(&cup, 1, 11, "pi_unknown")).await.refused(409, "payment_not_verified");
    assert_eq!(app.shelf(&cup).await, (10, 0, 0));
    app.assert_books_balance().await;
}
