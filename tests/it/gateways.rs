//! One behaviour for all gateways: both of the sandbox, Stripe's code against Stripe's stand-in, PayPal's code
//! against PayPal's. Each test runs on all four.

use std::time::Duration;

use bson::{Document, doc};
use futures_util::future::{join_all, join3};
use serde_json::{Value, json};
use shared::{
    id::Id,
    model::{Dispute, DisputeState, Order, Outbox, WebhookEvent},
};
use tests::{
    Answer, Buyer, Seller, TestApp,
    paypal::{PAYER, Paypal},
    people::in_cash,
    stand_in::Fault,
    stripe::Stripe,
};

/// What a cup and its shipping cost.
const CUP: i64 = 1100;

enum Gateway {
    /// `stripe` or `paypal`.
    Sandbox(&'static str),
    Stripe(Box<Stripe>),
    Paypal(Box<Paypal>),
}

/// What a gateway is asked to do.
#[derive(Clone, Copy)]
enum Act {
    Begin,
    Capture,
    Refund,
}

/// A shop that sells cups, a buyer, somebody else, and a gateway.
struct Trial {
    name: &'static str,
    gateway: Gateway,
    app: TestApp,
    ann: Buyer,
    eve: Buyer,
    admin: Buyer,
    bob: Seller,
    cup: Value,
}

impl Trial {
    async fn all() -> Vec<Self> {
        let (stripe, paypal) = tokio::join!(Stripe::start(), Paypal::start());
        let (by_card, by_paypal) = tokio::join!(stripe.app(&[]), paypal.app(&[]));
        let (cards, orders) = tokio::join!(TestApp::start(), TestApp::start());
        let (a, b, c, d) = tokio::join!(
            Self::new("the sandbox for cards", Gateway::Sandbox("stripe"), cards),
            Self::new("the sandbox for PayPal", Gateway::Sandbox("paypal"), orders),
            Self::new("Stripe", Gateway::Stripe(Box::new(stripe)), by_card),
            Self::new("PayPal", Gateway::Paypal(Box::new(paypal)), by_paypal),
        );
        vec![a, b, c, d]
    }

    async fn new(name: &'static str, gateway: Gateway, app: TestApp) -> Self {
        let (ann, eve, bob) = join3(app.buyer("ann"), app.buyer("eve"), app.seller("bob")).await;
        let admin = app.admin("root").await;
        let cup = bob.product("cup", "10", 5).await;
        Self { name, gateway, app, ann, eve, admin, bob, cup }
    }

    /// On every gateway, and in the end the books balance.
    async fn each(behaviour: impl AsyncFn(&Self)) {
        let trials = Box::pin(Self::all()).await;
        join_all(trials.iter().map(async |trial| {
            eprintln!("{} begins", trial.name);
            behaviour(trial).await;
            trial.app.assert_books_balance().await;
            eprintln!("{} is done", trial.name);
        }))
        .await;
    }

    fn is_paypal(&self) -> bool {
        matches!(self.gateway, Gateway::Sandbox("paypal") | Gateway::Paypal(_))
    }

    /// Tells the sandbox.
    async fn tell(&self, what: Value) -> Value {
        let Gateway::Sandbox(name) = self.gateway else { panic!("{} cannot be told anything", self.name) };
        self.admin.post(&format!("/api/sandbox/{name}")).json(&what).await.expect(200)
    }

    /// Asks to begin a payment for so many cups, under a key.
    async fn ask_to_begin(&self, cups: i64, key: &str) -> Answer {
        let (path, body) = if self.is_paypal() {
            ("/api/paypal/create-order", in_cash(&[(&self.cup, cups)]))
        } else {
            ("/api/stripe/process", json!({ "amount": CUP * cups }))
        };
        self.ann.post(path).header("Idempotency-Key", key).json(&body).await
    }

    /// Begins one, which waits for its payer.
    async fn begin(&self, cups: i64) -> String {
        if let Gateway::Sandbox(_) = self.gateway {
            self.tell(json!({ "next": { "outcome": "ask" } })).await;
        }
        let begun = self.ask_to_begin(cups, &Id::<()>::new().hex()).await;
        assert!(matches!(begun.status, 200 | 201), "{}: {}", self.name, begun.text());
        begun.json()["id"].as_str().unwrap().to_owned()
    }

    /// The payer agrees. A card is then paid.
    async fn agree(&self, begun: &str) {
        match &self.gateway {
            Gateway::Sandbox(_) => drop(self.tell(json!({ "payment": begun, "then": "confirm" })).await),
            Gateway::Stripe(stripe) => {
                drop(stripe.deliver(&self.app, &stripe.succeed(begun)).await.expect(200));
            }
            Gateway::Paypal(paypal) => paypal.approve(begun, PAYER),
        }
    }

    async fn ask_to_capture(&self, begun: &str) -> Answer {
        self.ann.post(&format!("/api/paypal/capture-order/{begun}")).await
    }

    /// The payer agrees and the money is taken; gives the id to order with.
    async fn pay(&self, begun: &str) -> String {
        self.agree(begun).await;
        if !self.is_paypal() {
            return begun.to_owned();
        }
        let captured = self.ask_to_capture(begun).await.expect(200);
        let capture = captured["id"].as_str().unwrap().to_owned();
        if let Gateway::Paypal(paypal) = &self.gateway {
            paypal.deliver(&self.app, &paypal.captured(&capture)).await.expect(200);
        }
        capture
    }

    async fn paid(&self, cups: i64) -> String {
        let begun = self.begin(cups).await;
        self.pay(&begun).await
    }

    /// The card is declined.
    async fn decline(&self, begun: &str) {
        match &self.gateway {
            Gateway::Sandbox("stripe") => {
                drop(self.tell(json!({ "payment": begun, "then": "decline" })).await)
            }
            Gateway::Stripe(stripe) => {
                let event = stripe.decline(begun, "Your card was declined.");
                stripe.deliver(&self.app, &event).await.expect(200);
            }
            Gateway::Sandbox(_) => {
                self.agree(begun).await;
                self.tell(json!({ "next": { "outcome": "decline" } })).await;
                self.ask_to_capture(begun).await.refused(409, "payment_failed");
            }
            Gateway::Paypal(paypal) => {
                self.agree(begun).await;
                paypal.decline(begun);
                self.ask_to_capture(begun).await.refused(409, "payment_failed");
            }
        }
    }

    /// The next time that it is asked for this it does it, and its answer is lost.
    async fn lose_answer(&self, act: Act) {
        let misbehave = |path| match &self.gateway {
            Gateway::Stripe(stripe) => stripe.misbehave(path, Fault::LosesAnswer, 1),
            Gateway::Paypal(paypal) => paypal.misbehave(path, Fault::LosesAnswer, 1),
            Gateway::Sandbox(_) => {}
        };
        match (&self.gateway, act) {
            (Gateway::Sandbox(_), Act::Begin) => {
                drop(self.tell(json!({ "next": { "outcome": "ask", "loseAnswer": true } })).await);
            }
            (Gateway::Sandbox(_), _) => drop(self.tell(json!({ "next": { "loseAnswer": true } })).await),
            (Gateway::Stripe(_), Act::Begin) => misbehave("POST /v1/payment_intents"),
            (Gateway::Stripe(_), _) => misbehave("POST /v1/refunds"),
            (Gateway::Paypal(_), Act::Begin) => misbehave("POST /v2/checkout/orders"),
            (Gateway::Paypal(_), Act::Capture) => misbehave("POST /v2/checkout/orders"),
            (Gateway::Paypal(_), Act::Refund) => misbehave("POST /v2/payments/captures"),
        }
    }

    /// How many payments the gateway knows.
    async fn payments(&self) -> usize {
        match &self.gateway {
            Gateway::Sandbox(_) => {
                let payments = self.app.db.raw::<Document>("sandboxpayments");
                usize::try_from(payments.count_documents(doc! {}).await.unwrap()).unwrap()
            }
            Gateway::Stripe(stripe) => stripe.intents(),
            Gateway::Paypal(paypal) => paypal.orders(),
        }
    }

    /// What went back of a payment, in minor units.
    async fn returned(&self, payment: &str) -> Vec<i64> {
        let cents = |refund: &Value| -> i64 {
            refund["amount"]["value"].as_str().unwrap().replace('.', "").parse().unwrap()
        };
        match &self.gateway {
            Gateway::Sandbox(_) => {
                let named = doc! { "$or": [{ "_id": payment }, { "captureId": payment }] };
                let payments = self.app.db.raw::<Document>("sandboxpayments");
                let found = payments.find_one(named).await.unwrap().unwrap();
                let refunds = found.get_array("refunds").unwrap().iter();
                refunds.map(|refund| refund.as_document().unwrap().get_i64("minor").unwrap()).collect()
            }
            Gateway::Stripe(stripe) => {
                stripe.refunds(payment).iter().map(|refund| refund["amount"].as_i64().unwrap()).collect()
            }
            Gateway::Paypal(paypal) => paypal.refunds(payment).iter().map(cents).collect(),
        }
    }

    async fn await_returned(&self, payment: &str, wanted: &[i64]) {
        self.until("refunds", async || self.returned(payment).await == wanted).await;
    }

    /// Waits until something is so.
    async fn until(&self, what: &str, is_so: impl AsyncFn() -> bool) {
        let waiting = async {
            while !is_so().await {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(30), waiting).await;
        assert!(waited.is_ok(), "{}: {what} never came", self.name);
    }

    /// A checkout of so many cups.
    fn body(&self, cups: i64, payment: &str) -> Value {
        let mut body = in_cash(&[(&self.cup, cups)]);
        body["paymentInfo"] =
            json!({ "id": payment, "type": if self.is_paypal() { "Paypal" } else { "Credit Card" } });
        body["totalPrice"] = json!(11 * cups);
        body
    }

    async fn check_out(&self, buyer: &Buyer, cups: i64, payment: &str) -> Answer {
        buyer.post("/api/order/create-order").json(&self.body(cups, payment)).await
    }

    async fn order(&self, cups: i64, payment: &str) -> Value {
        self.check_out(&self.ann, cups, payment).await.expect(201)["orders"][0].clone()
    }

    /// Asks for so many cups to be taken back, and is granted.
    async fn send_back(&self, order: &Value, cups: i64) {
        let id = order["_id"].as_str().unwrap();
        let body = json!({ "items": [{ "id": self.cup["_id"], "count": cups }], "reason": "broken" });
        self.ann.put(&format!("/api/order/refund-order/{id}")).json(&body).await.expect(200);
        let granted = json!({ "status": "Refund Success" });
        self.bob.put(&format!("/api/order/order-refund-success/{id}")).json(&granted).await.expect(200);
    }

    async fn orders(&self) -> u64 {
        self.app.db.of::<Order>().count_documents(doc! {}).await.unwrap()
    }

    /// The payer's bank wants a whole payment back; the shop wins, or it does not.
    async fn dispute(&self, payment: &str, won: bool) {
        match &self.gateway {
            Gateway::Sandbox(_) => {
                self.tell(json!({ "payment": payment, "then": "dispute" })).await;
                self.await_dispute(payment, DisputeState::Open).await;
                self.tell(json!({ "payment": payment, "then": if won { "win" } else { "lose" } })).await;
            }
            Gateway::Stripe(stripe) => {
                let opened = stripe.dispute(payment, CUP);
                stripe.deliver(&self.app, &opened).await.expect(200);
                self.await_dispute(payment, DisputeState::Open).await;
                let id = opened["data"]["object"]["id"].as_str().unwrap();
                let closed = stripe.dispute_becomes(id, if won { "won" } else { "lost" });
                stripe.deliver(&self.app, &closed).await.expect(200);
            }
            Gateway::Paypal(paypal) => {
                let opened = paypal.dispute(payment, "11.00");
                paypal.deliver(&self.app, &opened).await.expect(200);
                self.await_dispute(payment, DisputeState::Open).await;
                let id = opened["resource"]["dispute_id"].as_str().unwrap();
                let favour = if won { "RESOLVED_SELLER_FAVOUR" } else { "RESOLVED_BUYER_FAVOUR" };
                paypal.deliver(&self.app, &paypal.resolve(id, favour)).await.expect(200);
            }
        }
        self.await_dispute(payment, if won { DisputeState::Won } else { DisputeState::Lost }).await;
    }

    async fn await_dispute(&self, payment: &str, state: DisputeState) {
        let disputes = self.app.db.of::<Dispute>();
        self.until("the dispute", async || {
            let found = disputes.find_one(doc! { "payment": payment }).await.unwrap();
            found.is_some_and(|dispute| dispute.state == state)
        })
        .await;
    }

    /// Somebody returns a whole payment at the gateway, and Souk is not told.
    async fn return_unseen(&self, payment: &str) {
        match &self.gateway {
            Gateway::Sandbox(_) => {
                self.tell(json!({ "webhooks": { "hold": true } })).await;
                self.tell(json!({ "payment": payment, "then": "refund" })).await;
            }
            Gateway::Stripe(stripe) => drop(stripe.refund_elsewhere(payment, CUP)),
            Gateway::Paypal(paypal) => drop(paypal.refund_elsewhere(payment, "11.00")),
        }
    }

    /// What has become of a job of the outbox, once that is noted.
    async fn await_failed_job(&self) -> Outbox {
        let jobs = self.app.db.of::<Outbox>();
        let failed = doc! { "job.kind": "refund", "lastError": { "$type": "string" } };
        self.until("the failed refund", async || jobs.find_one(failed.clone()).await.unwrap().is_some())
            .await;
        jobs.find_one(failed).await.unwrap().unwrap()
    }
}

#[tokio::test]
async fn what_was_paid_is_ordered_once_and_by_nobody_else() {
    Trial::each(async |trial| {
        let payment = trial.paid(2).await;
        trial.check_out(&trial.eve, 2, &payment).await.refused(409, "payment_not_yours");
        trial.check_out(&trial.ann, 3, &payment).await.refused(409, "payment_not_verified");
        let body = trial.body(2, &payment);
        let same = || trial.ann.post("/api/order/create-order").json(&body);
        // The button was clicked twice.
        let (one, two) = tokio::join!(async { same().await }, async { same().await });
        assert_eq!(
            one.expect(201)["orders"][0]["_id"],
            two.expect(201)["orders"][0]["_id"],
            "{}",
            trial.name
        );
        assert_eq!(trial.orders().await, 1, "{}", trial.name);
        let order = &one.json()["orders"][0];
        assert_eq!(order["paymentInfo"]["status"], "succeeded", "{}", trial.name);
        // Later it means another order, and the payment has paid for one.
        trial.app.clock.advance(60_000);
        trial.check_out(&trial.ann, 2, &payment).await.refused(409, "payment_used");
        assert_eq!(
            (trial.orders().await, trial.app.shelf(&trial.cup).await),
            (1, (5, 2, 0)),
            "{}",
            trial.name
        );
    })
    .await;
}

#[tokio::test]
async fn what_is_declined_or_waits_for_the_bank_buys_nothing_until_it_is_paid_after_all() {
    Trial::each(async |trial| {
        let begun = trial.begin(1).await;
        if let Gateway::Stripe(stripe) = &trial.gateway {
            stripe.require_action(&begun);
        }
        let refused = trial.check_out(&trial.ann, 1, &begun).await.refused(409, "payment_not_verified");
        let why = refused["message"].as_str().unwrap();
        let wanted = if trial.is_paypal() { "agreed" } else { "3-D Secure" };
        assert!(why.contains(wanted), "{}: {why}", trial.name);
        trial.decline(&begun).await;
        let refused = trial.check_out(&trial.ann, 1, &begun).await.refused(409, "payment_not_verified");
        assert!(refused["message"].as_str().unwrap().contains(&begun), "{}: {refused}", trial.name);
        assert_eq!(trial.app.shelf(&trial.cup).await, (5, 0, 0), "{}", trial.name);
        // Another card.
        let payment = trial.pay(&begun).await;
        trial.order(1, &payment).await;
        assert_eq!(trial.app.shelf(&trial.cup).await, (5, 1, 0), "{}", trial.name);
    })
    .await;
}

#[tokio::test]
async fn what_was_paid_and_is_sold_out_goes_back_once() {
    Trial::each(async |trial| {
        let payment = trial.paid(4).await;
        trial.eve.order(&[(&trial.cup, 3)]).await;
        for _ in 0..2 {
            trial.check_out(&trial.ann, 4, &payment).await;
        }
        trial.await_returned(&payment, &[4 * CUP]).await;
        trial.check_out(&trial.ann, 2, &payment).await;
        assert_eq!(trial.returned(&payment).await, [4 * CUP], "{}", trial.name);
        assert_eq!(
            (trial.orders().await, trial.app.shelf(&trial.cup).await),
            (1, (5, 3, 0)),
            "{}",
            trial.name
        );
    })
    .await;
}

#[tokio::test]
async fn what_comes_back_in_parts_or_as_a_whole_is_returned_to_the_cent() {
    Trial::each(async |trial| {
        let payment = trial.paid(3).await;
        let order = trial.order(3, &payment).await;
        trial.bob.set_status(order["_id"].as_str().unwrap(), "Delivered").await;
        trial.send_back(&order, 1).await;
        trial.await_returned(&payment, &[CUP]).await;
        trial.send_back(&order, 2).await;
        trial.await_returned(&payment, &[CUP, 2 * CUP]).await;
        assert_eq!(trial.app.balance(&trial.bob).await, 0, "{}", trial.name);
    })
    .await;
}

#[tokio::test]
async fn a_payment_whose_begin_was_not_answered_is_begun_once() {
    Trial::each(async |trial| {
        trial.lose_answer(Act::Begin).await;
        let code = if trial.is_paypal() { "paypal_unavailable" } else { "card_payments_unavailable" };
        let lost = trial.ask_to_begin(1, "begin-1").await;
        assert!(lost.header("retry-after").is_some(), "{}", trial.name);
        let refused = lost.refused(503, code);
        assert!(refused["message"].as_str().unwrap().contains("nothing was charged"), "{refused}");
        let begun = trial.ask_to_begin(1, "begin-1").await;
        assert!(matches!(begun.status, 200 | 201), "{}: {}", trial.name, begun.text());
        assert_eq!(trial.payments().await, 1, "{}", trial.name);
        let payment = trial.pay(begun.json()["id"].as_str().unwrap()).await;
        trial.order(1, &payment).await;
    })
    .await;
}

#[tokio::test]
async fn a_capture_that_was_not_answered_takes_the_money_once() {
    Trial::each(async |trial| {
        let begun = trial.begin(1).await;
        trial.agree(&begun).await;
        if !trial.is_paypal() {
            return;
        }
        trial.lose_answer(Act::Capture).await;
        let refused = trial.ask_to_capture(&begun).await.refused(503, "paypal_unavailable");
        assert!(refused["message"].as_str().unwrap().contains("not known"), "{}: {refused}", trial.name);
        let first = trial.ask_to_capture(&begun).await.expect(200);
        assert_eq!(trial.ask_to_capture(&begun).await.expect(200), first, "{}", trial.name);
        trial.order(1, first["id"].as_str().unwrap()).await;
    })
    .await;
}

#[tokio::test]
async fn a_refund_that_was_not_answered_returns_the_money_once() {
    Trial::each(async |trial| {
        let payment = trial.paid(1).await;
        let order = trial.order(1, &payment).await;
        trial.bob.set_status(order["_id"].as_str().unwrap(), "Delivered").await;
        trial.lose_answer(Act::Refund).await;
        trial.send_back(&order, 1).await;
        let failed = trial.await_failed_job().await;
        assert!(!failed.dead, "{}: {failed:?}", trial.name);
        assert_eq!(trial.returned(&payment).await, [CUP], "{}", trial.name);
        trial.app.clock.advance(10_000);
        let jobs = trial.app.db.of::<Outbox>();
        let refunds = doc! { "job.kind": "refund" };
        trial.until("its repetition", async || jobs.find_one(refunds.clone()).await.unwrap().is_none()).await;
        assert_eq!(trial.returned(&payment).await, [CUP], "{}", trial.name);
    })
    .await;
}

#[tokio::test]
async fn the_gateway_itself_returns_no_more_than_was_paid() {
    Trial::each(async |trial| {
        let payment = trial.paid(1).await;
        let order = trial.order(1, &payment).await;
        trial.bob.set_status(order["_id"].as_str().unwrap(), "Delivered").await;
        trial.return_unseen(&payment).await;
        trial.send_back(&order, 1).await;
        // It says no, and would say so again.
        let failed = trial.await_failed_job().await;
        assert!(failed.dead, "{}: {failed:?}", trial.name);
        assert_eq!(trial.returned(&payment).await, [CUP], "{}", trial.name);
    })
    .await;
}

#[tokio::test]
async fn a_dispute_is_won_or_lost() {
    Trial::each(async |trial| {
        for won in [true, false] {
            let payment = trial.paid(1).await;
            let order = trial.order(1, &payment).await;
            trial.bob.set_status(order["_id"].as_str().unwrap(), "Delivered").await;
            let before = trial.app.balance(&trial.bob).await;
            trial.dispute(&payment, won).await;
            let after = trial.app.balance(&trial.bob).await;
            assert_eq!(after, if won { before } else { before - 990 }, "{}: won: {won}", trial.name);
            trial.app.clock.advance(60_000);
        }
    })
    .await;
}

#[tokio::test]
async fn a_slow_answer_is_an_answer() {
    Trial::each(async |trial| {
        let slow = Fault::Slow(Duration::from_millis(300));
        match &trial.gateway {
            Gateway::Sandbox(_) => {
                drop(trial.tell(json!({ "next": { "outcome": "ask", "delayMs": 300 } })).await);
            }
            Gateway::Stripe(stripe) => stripe.misbehave("", slow, 3),
            Gateway::Paypal(paypal) => paypal.misbehave("", slow, 3),
        }
        let begun = trial.ask_to_begin(1, "slow-1").await;
        assert!(matches!(begun.status, 200 | 201), "{}: {}", trial.name, begun.text());
        let payment = trial.pay(begun.json()["id"].as_str().unwrap()).await;
        trial.order(1, &payment).await;
        // Everything that it told was understood.
        let told = trial.app.db.of::<WebhookEvent>();
        let applied = doc! { "applied": true, "fact.kind": "succeeded", "payment": &payment };
        trial
            .until("its webhook", async || {
                let found = told.find_one(applied.clone()).await.unwrap();
                if found.is_none() {
                    eprintln!("{}: {:?}", trial.name, told.find_one(doc! {}).await.unwrap());
                }
                found.is_some()
            })
            .await;
    })
    .await;
}
