//! Everything at once: many payments, each with orders of two shops, that are delivered, called off, returned and
//! disputed on two nodes while their gateway tells of it late, twice and out of order. In the end every cent is
//! where the books say, and Stripe has returned what they say, once.

use bson::{Document, doc};
use futures_util::{StreamExt as _, TryStreamExt as _, future::join_all, stream};
use serde_json::{Value, json};
use shared::{
    id::Id,
    model::{Dispute, Order, Payment, PaymentInfo},
};
use tests::{
    Answer, Browser, Buyer, Seller, TestApp,
    people::in_cash,
    stripe::{Stripe, WEBHOOK, WEBHOOK_SECRET, sign},
};

use crate::webhooks::{await_applied, id, pay, shown};

const PAYMENTS: u64 = 12;

/// The same numbers every time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % n
    }
}

struct World<'w> {
    app: &'w TestApp,
    stripe: &'w Stripe,
    bases: [String; 2],
    ann: &'w Buyer,
    shops: [(&'w Seller, &'w Value); 2],
}

/// Done, or refused because something else came first.
fn done_or_too_late(answer: &Answer) {
    assert!([200, 409].contains(&answer.status), "{} {}", answer.status, answer.text());
}

impl World<'_> {
    async fn tell(&self, dice: &mut Dice, event: &Value) {
        let body = event.to_string();
        let now = self.app.clock.now().timestamp_millis().div_euclid(1000);
        let calls = (0..=dice.below(2)).map(|_| {
            let call = Browser::new(&self.bases[dice.below(2)]).post(WEBHOOK).bare();
            let call = call.header("stripe-signature", &sign(&body, WEBHOOK_SECRET, now));
            call.body("application/json; charset=utf-8", body.clone()).into_future()
        });
        for answer in join_all(calls.collect::<Vec<_>>()).await {
            answer.expect(200);
        }
    }

    async fn put(&self, dice: &mut Dice, token: &str, path: String, body: Value) {
        let browser = Browser::new(&self.bases[dice.below(2)]);
        done_or_too_late(&browser.put(&path).bearer(token).json(&body).await);
    }

    /// One thing that may happen to an order, or to the payment.
    async fn something(&self, mut dice: Dice, intent: &str, order: &Value) {
        let (shop, _) = self.shops[usize::from(dear(order))];
        let (ann, shop) = (&self.ann.token, &shop.token);
        let of = |tail: &str| format!("/api/order/{tail}/{}", id(order));
        let asked =
            json!({ "status": "Refund Processing", "items": [{ "_id": id(&order["cart"][0]), "count": 1 }] });
        match dice.below(7) {
            0 | 1 => {
                let delivered = json!({ "status": "Delivered" });
                self.put(&mut dice, shop, of("update-order-status"), delivered).await;
            }
            2 => self.put(&mut dice, ann, of("cancel-order"), json!({})).await,
            3 => self.put(&mut dice, ann, of("refund-order"), asked).await,
            4 => {
                self.put(&mut dice, ann, of("refund-order"), asked).await;
                let granted = json!({ "status": "Refund Success" });
                self.put(&mut dice, shop, of("order-refund-success"), granted).await;
            }
            _ => {
                let minor = [300, 1100, 5500][dice.below(3)];
                let opened = self.stripe.dispute(intent, minor);
                let dispute = opened["data"]["object"]["id"].as_str().unwrap();
                let mut told = vec![opened.clone()];
                if dice.below(4) > 0 {
                    told.push(self.stripe.dispute_becomes(dispute, ["won", "lost"][dice.below(2)]));
                }
                if dice.below(2) == 0 {
                    told.reverse();
                }
                for event in &told {
                    self.tell(&mut dice, event).await;
                }
            }
        }
    }

    /// A payment's life; gives its id.
    async fn life(&self, seed: u64) -> String {
        let mut dice = Dice(seed);
        let (intent, paid) = pay(self.stripe, self.ann, 5500).await;
        let [(_, cup), (_, pot)] = self.shops;
        let mut body = in_cash(&[(cup, 1), (pot, 2)]);
        body["paymentInfo"] = json!({ "id": intent, "type": "Credit Card" });
        let place = Browser::new(&self.bases[dice.below(2)]).post("/api/order/create-order");
        let place = place.bearer(&self.ann.token).json(&body);
        let (placed, ()) = tokio::join!(place.into_future(), self.tell(&mut dice, &paid));
        let orders = placed.expect(201)["orders"].as_array().unwrap().clone();
        for _ in 0..3 {
            let all = (0..4).map(|_| {
                let order = &orders[dice.below(2)];
                let dice = Dice(seed + u64::try_from(dice.below(1 << 30)).unwrap());
                self.something(dice, &intent, order)
            });
            join_all(all.collect::<Vec<_>>()).await;
        }
        intent
    }
}

/// Whether it is the order of the two pots.
fn dear(order: &Value) -> bool {
    order["cart"][0]["name"] != "cup"
}

/// What the bank took back of an order.
async fn lost(app: &TestApp, order: Id<Order>) -> i64 {
    let disputes =
        app.db.of::<Dispute>().find(doc! { "shares.order": order, "state": "lost" }).await.unwrap();
    let disputes: Vec<Dispute> = disputes.try_collect().await.unwrap();
    let shares = disputes.iter().flat_map(|dispute| &dispute.shares).filter(|share| share.order == order);
    shares.map(|share| share.minor).sum()
}

#[tokio::test]
async fn whatever_happens_at_once_every_cent_is_accounted_for_and_goes_back_once() {
    let stripe = Stripe::start().await;
    let app = stripe.app(&[]).await;
    let node = app.another_node().await;
    let (ann, bob, eve) = tokio::join!(app.buyer("ann"), app.seller("bob"), app.seller("eve"));
    let (cup, pot) = tokio::join!(bob.product("cup", "10", 1000), eve.product("pot", "20", 1000));
    let bases = [app.base.clone(), node.base.clone()];
    let world = World { app: &app, stripe: &stripe, bases, ann: &ann, shops: [(&bob, &cup), (&eve, &pot)] };
    let intents: Vec<String> =
        stream::iter(0..PAYMENTS).map(|seed| world.life(seed * 7919)).buffer_unordered(6).collect().await;
    await_applied(&app).await;
    app.assert_books_balance().await;
    let mut returned = 0;
    for intent in &intents {
        let record = app.db.of::<Payment>().find_one(doc! { "_id": intent }).await.unwrap().unwrap();
        let asked: i64 = record.returns.iter().map(|asked| asked.minor).sum();
        assert!(asked <= 5500 && record.returns.iter().all(|asked| asked.refund_id.is_some()), "{record:?}");
        let sent: i64 = stripe.refunds(intent).iter().map(|refund| refund["amount"].as_i64().unwrap()).sum();
        assert_eq!(sent, asked, "{record:?}");
        returned += sent;
        let disputes = app.db.raw::<Document>("disputes");
        for order in &record.orders {
            let stands = shown(&ann, &json!({ "_id": order.hex() })).await;
            let open = doc! { "shares.order": order, "state": "open" };
            let open = disputes.count_documents(open).await.unwrap() > 0;
            let disputed = stands["paymentInfo"]["status"] == PaymentInfo::DISPUTED;
            let returned = stands["paymentInfo"]["status"] == PaymentInfo::REFUNDED;
            assert!(disputed == open || returned, "{stands}");
            // Called off, all of it has gone back to the buyer, one way or the other.
            if stands["status"] == "Cancelled" && !returned {
                let total = if dear(&stands) { 4400 } else { 1100 };
                assert!(lost(&app, *order).await >= total, "{stands}");
            }
        }
    }
    assert!(returned > 0);
}
