//! What is left when the process is killed between a gateway's word and its consequences, or between what a
//! gateway has done and our noting it: started again, everything happens once.

use std::{
    hash::{BuildHasher as _, Hasher as _, RandomState},
    time::{Duration, Instant},
};

use bson::{Document, doc};
use futures_util::{TryStreamExt as _, future::join_all};
use serde_json::{Value, json};
use shared::model::{Dispute, DisputeState, Payment};
use tests::{Buyer, Seller, TestApp, people::in_cash};

use crate::crash::{Process, free_port};

const ROUNDS: usize = 3;
const EACH: usize = 4;

/// A random moment within so many milliseconds.
fn moment(within: u64) -> Duration {
    Duration::from_millis(RandomState::new().build_hasher().finish() % within)
}

struct Market {
    app: TestApp,
    root: Buyer,
    bob: Seller,
    /// Payments by card, each with the one order it paid for, which was delivered.
    bought: Vec<(String, String)>,
    client: reqwest::Client,
    /// Where every life of the server listens.
    port: u16,
}

impl Market {
    /// With all the orders that the rounds need, and no server any more.
    async fn open() -> Self {
        let mut app = TestApp::start().await;
        let (ann, bob, root) = tokio::join!(app.buyer("ann"), app.seller("bob"), app.admin("root"));
        let cup = bob.product("cup", "10", 1000).await;
        let mut bought = Vec::new();
        for n in 0..ROUNDS * EACH {
            let key = n.to_string();
            let begin = ann.post("/api/stripe/process").header("Idempotency-Key", &key);
            let begun = begin.json(&json!({ "amount": 1100 })).await.expect(200);
            let mut body = in_cash(&[(&cup, 1)]);
            body["totalPrice"] = json!(11);
            body["paymentInfo"] = json!({ "type": "Credit Card", "id": begun["id"] });
            let placed = ann.post("/api/order/create-order").json(&body).await.expect(201);
            let order = placed["orders"][0]["_id"].as_str().unwrap();
            bob.set_status(order, "Delivered").await;
            ann.put(&format!("/api/order/refund-order/{order}")).json(&json!({})).await.expect(200);
            bought.push((begun["id"].as_str().unwrap().to_owned(), order.to_owned()));
        }
        app.stop().await;
        Self { app, root, bob, bought, client: reqwest::Client::new(), port: free_port() }
    }

    async fn tell(&self, process: &Process, what: &Value) {
        let call = self.client.post(format!("{}/api/sandbox/stripe", process.base));
        let told = call.bearer_auth(&self.root.token).json(what).send().await.unwrap();
        assert_eq!(told.status(), 200, "{what}: {}", told.text().await.unwrap());
    }

    /// What the dead process was at comes free, as it would in a minute.
    async fn end_leases(&self) {
        let now = doc! { "$set": { "dueAt": self.app.clock.now() } };
        for collection in ["webhookevents", "sandboxevents", "outbox"] {
            let not_for_later = doc! { "job.kind": { "$ne": "deleteMedia" } };
            self.app.db.raw::<Document>(collection).update_many(not_for_later, now.clone()).await.unwrap();
        }
    }

    /// Waits until a server has done all there is to do.
    async fn all_is_done(&self, process: &Process) {
        let open = [
            ("sandboxevents", doc! { "left": { "$gt": 0 } }),
            ("webhookevents", doc! { "applied": false }),
            ("outbox", doc! { "job.kind": { "$ne": "deleteMedia" } }),
        ];
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let mut left = Vec::new();
            for (collection, open) in &open {
                let found = self.app.db.raw::<Document>(collection).find(open.clone()).await.unwrap();
                left.extend(found.try_collect::<Vec<_>>().await.unwrap());
            }
            if left.is_empty() {
                return;
            }
            assert!(Instant::now() < deadline, "never done: {left:#?}\n{}", process.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// `souk prove`, by the real program.
    async fn prove(&self) {
        let command = tokio::process::Command::new(env!("CARGO_BIN_EXE_souk-under-test"))
            .arg("prove")
            .env_clear()
            .env("DB_URL", self.app.database_uri())
            .current_dir(self.app.home())
            .output();
        let output = command.await.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
}

#[tokio::test]
async fn a_server_killed_between_a_webhook_and_its_consequences_draws_them_once() {
    let market = Market::open().await;
    let (app, bob) = (&market.app, &market.bob);
    let all = i64::try_from(ROUNDS * EACH).unwrap();
    assert_eq!(app.balance(bob).await, all * 990);
    for payments in market.bought.chunks(EACH) {
        let process = Process::start_at(app, market.port).await;
        // Everything that each dispute is about comes in at once, twice.
        market.tell(&process, &json!({ "webhooks": { "hold": true } })).await;
        for (n, (payment, _)) in payments.iter().enumerate() {
            market.tell(&process, &json!({ "payment": payment, "then": "dispute" })).await;
            if n % 2 == 0 {
                market.tell(&process, &json!({ "payment": payment, "then": "win" })).await;
            }
        }
        market.tell(&process, &json!({ "webhooks": { "times": 2, "order": "reversed" } })).await;
        tokio::time::sleep(moment(150)).await;
        process.kill().await;
        app.assert_books_balance().await;
        market.end_leases().await;
    }
    let process = Process::start_at(app, market.port).await;
    market.all_is_done(&process).await;
    let found = app.db.of::<Dispute>().find(doc! {}).await.unwrap();
    let disputes: Vec<Dispute> = found.try_collect().await.unwrap();
    let open = disputes.iter().filter(|dispute| dispute.state == DisputeState::Open).count();
    assert_eq!((disputes.len(), open), (ROUNDS * EACH, ROUNDS * EACH / 2));
    // Half of it is on hold, half was given back.
    assert_eq!(app.balance(bob).await, all / 2 * 990);
    app.assert_books_balance().await;
    process.kill().await;
    market.prove().await;
}

#[tokio::test]
async fn a_server_killed_between_a_refund_and_its_note_returns_the_money_once() {
    let market = Market::open().await;
    let (app, bob) = (&market.app, &market.bob);
    for orders in market.bought.chunks(EACH) {
        let process = Process::start_at(app, market.port).await;
        // The gateway returns the money at once, and takes its time to say so.
        for n in 0..EACH {
            let delay = 50 * (n + 1);
            market.tell(&process, &json!({ "next": { "delayMs": delay, "loseAnswer": n == 0 } })).await;
        }
        let grants = orders.iter().map(|(_, order)| {
            let path = format!("{}/api/order/order-refund-success/{order}", process.base);
            let grant = market.client.put(path).bearer_auth(&bob.token);
            grant.json(&json!({ "status": "Refund Success" })).send()
        });
        for granted in join_all(grants).await {
            assert_eq!(granted.unwrap().status(), 200);
        }
        tokio::time::sleep(moment(200)).await;
        process.kill().await;
        app.assert_books_balance().await;
        market.end_leases().await;
    }
    // What the gateway was told to do and has not done yet, it need not.
    let calm = doc! { "$set": { "next": [] } };
    app.db.raw::<Document>("sandboxcontrols").update_many(doc! {}, calm).await.unwrap();
    let process = Process::start_at(app, market.port).await;
    market.all_is_done(&process).await;
    for (payment, _) in &market.bought {
        let there = app.db.raw::<Document>("sandboxpayments").find_one(doc! { "_id": payment }).await;
        let there = there.unwrap().unwrap();
        assert_eq!(there.get_array("refunds").unwrap().len(), 1, "{payment} went back twice, or never");
        assert_eq!(there.get_i64("refundedMinor").unwrap(), 1100);
        let here = app.db.of::<Payment>().find_one(doc! { "_id": payment }).await.unwrap().unwrap();
        assert_eq!(here.returns.len(), 1);
        assert!(here.returns[0].refund_id.is_some(), "{here:?}");
    }
    assert_eq!(app.balance(bob).await, 0);
    app.assert_books_balance().await;
    process.kill().await;
    market.prove().await;
}
