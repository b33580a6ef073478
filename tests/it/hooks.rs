//! Webhooks that Souk sends: what is sent, to whom, how often, and where to never.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use bson::doc;
use futures_util::TryStreamExt as _;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;
use shared::{
    clock::iso,
    model::{WebhookDelivery, WebhookEndpoint},
};
use tests::{
    Browser, Seller, StandIn, TestApp,
    stand_in::{Asked, Fault},
};

/// What is not there by now will not come.
const PATIENCE: Duration = Duration::from_secs(30);
const HOUR: i64 = 3_600_000;

/// A webhook of somebody's.
struct Hook {
    id: String,
    secret: String,
}

impl Hook {
    async fn new(owner: &Browser, url: String, events: &[&str]) -> Self {
        let wanted = json!({ "url": url, "events": events });
        let made = owner.post("/api/webhooks").json(&wanted).await.expect(201);
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        Self { id: text(&made["webhook"]["_id"]), secret: text(&made["secret"]) }
    }

    fn at(&self, tail: &str) -> String {
        format!("/api/webhooks/{}{tail}", self.id)
    }

    async fn test(&self, owner: &Browser) -> Value {
        owner.put(&self.at("/test")).await.expect(200)["delivery"].clone()
    }

    async fn deliveries(&self, owner: &Browser) -> Vec<Value> {
        let page = owner.get(&self.at("/deliveries?limit=200")).await.expect(200);
        page["deliveries"].as_array().unwrap().clone()
    }

    /// Has the server look at once, not within a second.
    async fn hurry(&self, owner: &Browser) {
        owner.put(&self.at("")).json(&json!({})).await.expect(200);
    }
}

/// Takes everything.
async fn receiver() -> StandIn {
    StandIn::start(|_| (200, json!("thanks"))).await
}

/// Waits until something is so.
async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !is_so().await {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn count(app: &TestApp, filter: bson::Document) -> u64 {
    app.db.of::<WebhookDelivery>().count_documents(filter).await.unwrap()
}

/// How long is waited after each try, as the guide says it, in seconds.
const WAITS: [i64; 9] = [5, 15, 45, 120, 300, 600, 1_200, 1_800, 3_600];

/// Until everything that is due has been tried, and noted: what is under way would be taken for lost, and tried by
/// somebody else, when the clock jumps.
async fn all_tried(app: &TestApp) {
    until("what is due is not tried", async || {
        let all = app.db.of::<WebhookDelivery>().find(doc! { "state": "waiting" }).await.unwrap();
        let all: Vec<WebhookDelivery> = all.try_collect().await.unwrap();
        let now = app.clock.now();
        all.iter().all(|delivery| {
            let Some(last) = &delivery.last else { return false };
            let waits = delivery.due_at.timestamp_millis() - last.at.timestamp_millis();
            let wait = WAITS[usize::try_from(delivery.attempts).unwrap() - 1] * 1_000;
            delivery.due_at > now && (wait..wait + 10_000).contains(&waits)
        })
    })
    .await;
}

/// The events that a receiver has got, as they were sent.
fn events(receiver: &StandIn) -> Vec<Value> {
    receiver.asked("POST").iter().map(|asked| serde_json::from_str(&asked.body).unwrap()).collect()
}

/// What the secrets make of a body, in the way of the guide, and the time that was signed.
fn signed(asked: &Asked, secret: &str) -> (i64, bool) {
    let header = asked.header("souk-signature");
    let parts: Vec<_> = header.split(',').map(|part| part.split_once('=').unwrap()).collect();
    assert_eq!(parts[0].0, "t", "{header}");
    let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    let mac = mac.chain_update(format!("{}.{}", parts[0].1, asked.body)).finalize().into_bytes();
    let mac: String = mac.iter().map(|byte| format!("{byte:02x}")).collect();
    let fits = parts.iter().any(|(name, value)| *name == "v1" && *value == mac);
    (parts[0].1.parse().unwrap(), fits)
}

#[tokio::test]
async fn a_webhook_is_called_with_a_signature_that_only_its_secret_makes() {
    let app = TestApp::start().await;
    let (bob, receiver) = (app.seller("bob").await, receiver().await);
    let hook = Hook::new(&bob, format!("{}/souk?a=b", receiver.base()), &["*"]).await;
    assert!(hook.secret.starts_with("whsec_") && hook.secret.len() == 49, "{}", hook.secret);
    let delivery = hook.test(&bob).await;
    assert_eq!((&delivery["status"], &delivery["type"]), (&json!("waiting"), &json!("webhook.test")));
    until("the test does not arrive", async || receiver.asked("POST /souk").len() == 1).await;
    let asked = receiver.asked("POST /souk").remove(0);
    let (at, fits) = signed(&asked, &hook.secret);
    assert!(fits, "{:?}", asked.headers);
    assert!((at - app.clock.now().timestamp_millis() / 1000).abs() < 10);
    assert!(!signed(&asked, "whsec_another").1);
    let event: Value = serde_json::from_str(&asked.body).unwrap();
    assert_eq!(event["id"], delivery["event"]);
    assert_eq!(event["type"], "webhook.test");
    assert_eq!(event["version"], 1);
    for (name, value) in [
        ("content-type", "application/json"),
        ("souk-event-id", event["id"].as_str().unwrap()),
        ("souk-event-type", "webhook.test"),
        ("souk-delivery-id", delivery["_id"].as_str().unwrap()),
        ("souk-attempt", "1"),
    ] {
        assert_eq!(asked.header(name), value, "{name}");
    }
    assert!(asked.header("user-agent").starts_with("Souk-Webhooks/"));
    // What became of it can be seen.
    until("it is not noted", async || hook.deliveries(&bob).await[0]["status"] == "delivered").await;
    let seen = hook.deliveries(&bob).await.remove(0);
    assert_eq!((&seen["attempts"], &seen["lastTry"]["status"]), (&json!(1), &json!(200)));
    assert_eq!(seen["lastTry"]["answer"], "\"thanks\"");
    assert!(seen["lastTry"]["milliseconds"].as_i64().unwrap() < 10_000);
    // The secret is never shown again.
    for path in ["/api/webhooks".to_owned(), hook.at("")] {
        assert!(!bob.get(&path).await.text().contains("whsec_"), "{path}");
    }
}

#[tokio::test]
async fn a_replaced_secret_signs_for_a_day_besides_the_new_one() {
    let app = TestApp::start().await;
    let (bob, receiver) = (app.seller("bob").await, receiver().await);
    let hook = Hook::new(&bob, receiver.base(), &["*"]).await;
    let rotated = bob.put(&hook.at("/rotate-secret")).await.expect(200);
    let new = rotated["secret"].as_str().unwrap().to_owned();
    assert_ne!(new, hook.secret);
    assert!(rotated["webhook"]["formerSecretUntil"].is_string());
    for (wait, old_fits) in [(0, true), (23 * HOUR, true), (2 * HOUR, false)] {
        app.clock.advance(wait);
        let before = receiver.asked("POST").len();
        hook.test(&bob).await;
        until("the test does not arrive", async || receiver.asked("POST").len() > before).await;
        let asked = receiver.asked("POST").pop().unwrap();
        assert_eq!((signed(&asked, &new).1, signed(&asked, &hook.secret).1), (true, old_fits), "{wait}");
    }
}

#[tokio::test]
async fn a_shop_hears_of_its_own_and_the_administrators_of_everything() {
    let app = TestApp::start().await;
    let (ann, root) = (app.buyer("ann").await, app.admin("root").await);
    let (bob, eve) = (app.seller("bob").await, app.seller("eve").await);
    let [ours, theirs, all, some] = [receiver().await, receiver().await, receiver().await, receiver().await];
    Hook::new(&bob, ours.base(), &["*"]).await;
    Hook::new(&eve, theirs.base(), &["*"]).await;
    Hook::new(&root, all.base(), &["*"]).await;
    Hook::new(&bob, some.base(), &["refund.requested", "stock.out"]).await;
    let (cup, lamp) = (bob.product("cup", "10", 1).await, eve.product("lamp", "20", 50).await);
    let orders = ann.order(&[(&cup, 1), (&lamp, 1)]).await;
    // What is left of it is looked at when it is told, and a refund puts it back.
    crate::mail::outbox_is_empty(&app).await;
    let of_bob = orders.iter().find(|order| order["shopId"] == json!(bob.id.hex())).unwrap();
    let id = of_bob["_id"].as_str().unwrap();
    bob.set_status(id, "Delivered").await;
    let reason = json!({ "reason": "chipped" });
    ann.put(&format!("/api/order/refund-order/{id}")).json(&reason).await.expect(200);
    let granted = json!({ "status": "Refund Success" });
    bob.put(&format!("/api/order/order-refund-success/{id}")).json(&granted).await.expect(200);
    crate::mail::outbox_is_empty(&app).await;
    let kinds = |receiver: &StandIn| {
        let mut kinds: Vec<String> =
            events(receiver).iter().map(|event| event["type"].as_str().unwrap().to_owned()).collect();
        kinds.sort();
        kinds
    };
    let of_cup = ["order.placed", "order.status_changed", "refund.granted", "refund.requested", "stock.out"];
    assert_eq!(kinds(&ours), of_cup);
    assert_eq!(kinds(&theirs), ["order.placed"]);
    assert_eq!(kinds(&some), ["refund.requested", "stock.out"]);
    let mut everything = of_cup.to_vec();
    everything.insert(0, "order.placed");
    assert_eq!(kinds(&all), everything);
    // The same event has the same id everywhere, and no two have one.
    let ids = |receiver: &StandIn| {
        let ids = events(receiver).iter().map(|event| event["id"].to_string()).collect::<Vec<_>>();
        let mut unique = ids.clone();
        unique.sort();
        unique.dedup();
        assert_eq!(unique.len(), ids.len(), "{ids:?}");
        unique
    };
    let known = ids(&all);
    for receiver in [&ours, &theirs, &some] {
        assert!(ids(receiver).iter().all(|id| known.contains(id)));
    }
    // It is told what the shop sees over the API, and no more.
    let find = |kind: &str| events(&ours).into_iter().find(|event| event["type"] == kind).unwrap();
    let moved = find("order.status_changed");
    assert_eq!(moved["data"]["status"], "Delivered");
    let seen = bob.get(&format!("/api/order/get-order/{id}")).await.expect(200)["order"].clone();
    let told = find("refund.granted");
    assert_eq!(told["data"]["order"], seen);
    assert_eq!(told["data"]["refund"], seen["refunds"][0]);
    assert_eq!((&told["data"]["number"], &told["data"]["refund"]["reason"]), (&json!(1), &json!("chipped")));
    let out = find("stock.out");
    assert_eq!((&out["data"]["left"], &out["data"]["listing"]["name"]), (&json!(0), &json!("cup")));
    assert!(!events(&all).iter().any(|event| event.to_string().contains('@')), "an address of e-mail");
}

#[tokio::test]
async fn withdrawals_and_cancelled_orders_are_told() {
    let app = TestApp::start().await;
    let (ann, bob, root) = (app.buyer("ann").await, app.seller("bob").await, app.admin("root").await);
    let receiver = receiver().await;
    Hook::new(&bob, receiver.base(), &["order.cancelled", "withdrawal.requested", "withdrawal.decided"])
        .await;
    let cup = bob.product("cup", "100", 5).await;
    let [first, second] = [ann.order(&[(&cup, 1)]).await.remove(0), ann.order(&[(&cup, 2)]).await.remove(0)];
    ann.put(&format!("/api/order/cancel-order/{}", first["_id"].as_str().unwrap())).await.expect(200);
    bob.set_status(second["_id"].as_str().unwrap(), "Delivered").await;
    let bank = json!({ "withdrawMethod": { "bankName": "First Bank", "bankCountry": "PK",
        "bankSwiftCode": "FRSTPKKA", "bankAccountNumber": "PK36FRST0000001123456702", "bankHolderName": "Bob",
        "bankAddress": "2 Mall Road" } });
    bob.put("/api/shop/update-payment-methods").json(&bank).await.expect(201);
    let amount = json!({ "amount": 60 });
    let asked = bob.post("/api/withDraw/create-withdraw-request").json(&amount).await.expect(201);
    let id = asked["withdraw"]["_id"].as_str().unwrap();
    let decision = json!({ "status": "Succeeded" });
    root.put(&format!("/api/withDraw/update-withdraw-request/{id}")).json(&decision).await.expect(200);
    crate::mail::outbox_is_empty(&app).await;
    let events = events(&receiver);
    let data = |kind: &str| &events.iter().find(|event| event["type"] == kind).unwrap()["data"];
    assert_eq!(events.len(), 3);
    assert_eq!(data("order.cancelled")["by"], "buyer");
    assert_eq!(data("order.cancelled")["order"]["_id"], first["_id"]);
    assert_eq!(data("withdrawal.requested")["withdrawal"]["amount"], 60);
    assert_eq!(data("withdrawal.decided")["withdrawal"]["status"], "Succeeded");
    assert!(!events.iter().any(|event| event.to_string().contains("FRST")), "bank details");
}

#[tokio::test]
async fn disputes_are_told_from_beginning_to_end() {
    let app = TestApp::start().await;
    let (ann, bob, receiver) = (app.buyer("ann").await, app.seller("bob").await, receiver().await);
    Hook::new(&bob, receiver.base(), &["dispute.opened", "dispute.message", "dispute.closed"]).await;
    let cup = bob.product("cup", "100", 5).await;
    let order = ann.order(&[(&cup, 1)]).await.remove(0);
    bob.set_status(order["_id"].as_str().unwrap(), "Delivered").await;
    let wanted = json!({ "orderId": order["_id"], "reason": "damaged", "message": "Broken", "amount": 20 });
    let opened = ann.post("/api/dispute").json(&wanted).await.expect(201)["dispute"].clone();
    let at = |tail: &str| format!("/api/dispute/{}/{tail}", opened["_id"].as_str().unwrap());
    bob.post(&at("message")).json(&json!({ "message": "It was whole" })).await.expect(201);
    ann.put(&at("withdraw")).json(&json!({})).await.expect(200);
    crate::mail::outbox_is_empty(&app).await;
    let mut told: Vec<(String, Value)> = events(&receiver)
        .iter()
        .map(|event| (event["type"].as_str().unwrap().to_owned(), event["data"]["dispute"]["_id"].clone()))
        .collect();
    told.sort_by(|one, other| one.0.cmp(&other.0));
    let kinds = ["dispute.closed", "dispute.message", "dispute.opened"];
    assert_eq!(told, kinds.map(|kind| (kind.to_owned(), opened["_id"].clone())));
}

#[tokio::test]
async fn a_receiver_that_is_down_for_an_hour_loses_nothing_and_confirms_each_event_once() {
    let app = TestApp::start().await;
    let (ann, bob) = (app.buyer("ann").await, app.seller("bob").await);
    let down = Arc::new(AtomicBool::new(true));
    let receiver = {
        let down = Arc::clone(&down);
        StandIn::start(move |_| if down.load(SeqCst) { (503, json!("later")) } else { (200, json!("ok")) })
    };
    let receiver = receiver.await;
    let hook = Hook::new(&bob, receiver.base(), &["order.placed"]).await;
    let cup = bob.product("cup", "10", 1_000).await;
    let mut placed = Vec::new();
    for _ in 0..12 {
        for _ in 0..2 {
            let order = ann.order(&[(&cup, placed.len() as i64 + 1)]).await.remove(0);
            placed.push(order["_id"].as_str().unwrap().to_owned());
        }
        until("the events are not written down", async || count(&app, doc! {}).await == placed.len() as u64)
            .await;
        hook.hurry(&bob).await;
        all_tried(&app).await;
        app.clock.advance(5 * 60_000);
        hook.hurry(&bob).await;
        all_tried(&app).await;
    }
    let refused = receiver.asked("POST").len();
    assert!(refused > placed.len(), "{refused} tries");
    assert_eq!(count(&app, doc! { "state": "waiting" }).await, 24);
    assert!(bob.get(&hook.at("")).await.expect(200)["webhook"]["failingSince"].is_string());
    down.store(false, SeqCst);
    // Whatever had been tried last waits for two hours at most.
    app.clock.advance(2 * HOUR);
    hook.hurry(&bob).await;
    until("not everything arrives", async || count(&app, doc! { "state": "delivered" }).await == 24).await;
    let confirmed: Vec<Value> = events(&receiver).split_off(refused);
    let mut orders: BTreeMap<String, usize> = BTreeMap::new();
    for event in &confirmed {
        *orders.entry(event["data"]["order"]["_id"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    placed.sort();
    assert_eq!(orders.keys().cloned().collect::<Vec<_>>(), placed);
    assert!(orders.values().all(|times| *times == 1), "{orders:?}");
    // Each try is signed anew, with its own time.
    let times: Vec<(i64, bool)> =
        receiver.asked("POST").iter().map(|asked| signed(asked, &hook.secret)).collect();
    assert!(times.iter().all(|(_, fits)| *fits));
    assert!(times.last().unwrap().0 - times[0].0 > 3_600);
    assert!(bob.get(&hook.at("")).await.expect(200)["webhook"]["failingSince"].is_null());
}

#[tokio::test]
async fn what_was_given_up_after_a_day_is_seen_and_can_be_replayed() {
    let app = TestApp::start().await;
    let (bob, receiver) = (app.seller("bob").await, receiver().await);
    receiver.misbehave("", Fault::Status(500), usize::MAX);
    let hook = Hook::new(&bob, receiver.base(), &["*"]).await;
    let begun = app.clock.now();
    let mut moment = begun;
    let event = hook.test(&bob).await["event"].clone();
    for attempt in 1..=15 {
        until("it is not tried", async || receiver.asked("POST").len() == attempt).await;
        let noted = doc! { "attempts": attempt as i64, "last.at": { "$gte": moment } };
        let noted = if attempt == 15 {
            doc! { "state": "failed" }
        } else {
            noted
        };
        until("the try is not noted", async || count(&app, noted.clone()).await == 1).await;
        let waiting = app.db.of::<WebhookDelivery>().find_one(doc! {}).await.unwrap().unwrap();
        if attempt < 15 {
            let wait = waiting.due_at.timestamp_millis() - app.clock.now().timestamp_millis();
            assert!(wait < 7 * HOUR, "{wait}");
            app.clock.advance(wait + 1);
            moment = app.clock.now();
            hook.hurry(&bob).await;
        }
    }
    let took = app.clock.now().timestamp_millis() - begun.timestamp_millis();
    assert!((24 * HOUR..26 * HOUR).contains(&took), "{took}");
    let failed = bob.get(&hook.at("/deliveries?status=failed")).await.expect(200)["deliveries"][0].clone();
    assert_eq!((&failed["attempts"], &failed["lastTry"]["error"]), (&json!(15), &json!("answered 500")));
    assert_eq!(failed["lastTry"]["answer"], "\"out of order\"");
    // A day is not yet a reason to switch it off.
    assert_eq!(bob.get(&hook.at("")).await.expect(200)["webhook"]["status"], "active");
    receiver.behave();
    let replay = |body: Value| bob.put(&hook.at("/replay")).json(&body);
    let later = iso(app.clock.now());
    assert_eq!(replay(json!({ "since": later })).await.expect(200)["replayed"], 0);
    assert_eq!(replay(json!({ "since": iso(begun) })).await.expect(200)["replayed"], 1);
    until("it is not replayed", async || count(&app, doc! { "state": "delivered" }).await == 1).await;
    assert_eq!(replay(json!({ "since": iso(begun) })).await.expect(200)["replayed"], 0);
    // One that has arrived is sent again if that is asked for, under its own id.
    let one = json!({ "delivery": failed["_id"] });
    assert_eq!(replay(one).await.expect(200)["replayed"], 1);
    until("it is not sent again", async || receiver.asked("POST").len() == 17).await;
    assert!(events(&receiver).iter().all(|sent| sent["id"] == event));
    let eve = app.seller("eve").await;
    eve.put(&hook.at("/replay"))
        .json(&json!({ "since": iso(begun) }))
        .await
        .refused(404, "webhook_not_found");
}

#[tokio::test]
async fn a_webhook_that_fails_for_three_days_is_switched_off_and_its_owner_is_told() {
    let app = TestApp::start().await;
    let (bob, receiver) = (app.seller("bob").await, receiver().await);
    receiver.misbehave("", Fault::HangsUp, usize::MAX);
    let hook = Hook::new(&bob, receiver.base(), &["*"]).await;
    let status = async || bob.get(&hook.at("")).await.expect(200)["webhook"]["status"].clone();
    let mut moment = app.clock.now();
    hook.test(&bob).await;
    for attempt in 1..=15 {
        assert_eq!(status().await, "active", "{attempt}");
        until("it is not tried", async || receiver.asked("POST").len() == attempt).await;
        let noted = doc! { "attempts": attempt as i64, "last.at": { "$gte": moment } };
        let noted = if attempt == 15 {
            doc! { "state": "failed" }
        } else {
            noted
        };
        until("the try is not noted", async || count(&app, noted.clone()).await == 1).await;
        if attempt < 15 {
            // Longer than any wait.
            app.clock.advance(7 * HOUR);
            moment = app.clock.now();
            hook.hurry(&bob).await;
        }
    }
    until("it is not switched off", async || status().await == "disabled").await;
    let mail = app.mails().await_mail_to(&bob.email).await;
    assert_eq!(mail.subject(), "Your webhook is switched off");
    assert!(mail.text().contains(&receiver.base()), "{}", mail.text());
    bob.put(&hook.at("/test")).await.refused(409, "webhook_not_active");
    // Looked after and resumed, it is told again.
    receiver.behave();
    bob.put(&hook.at("")).json(&json!({ "paused": false })).await.expect(200);
    assert_eq!(status().await, "active");
    hook.test(&bob).await;
    until("it is not told again", async || count(&app, doc! { "state": "delivered" }).await == 1).await;
    assert_eq!(app.mails().count_to(&bob.email), 1);
}

#[tokio::test]
async fn what_happens_during_a_pause_is_sent_after_it() {
    let app = TestApp::start().await;
    let (ann, bob, receiver) = (app.buyer("ann").await, app.seller("bob").await, receiver().await);
    let hook = Hook::new(&bob, receiver.base(), &["order.placed"]).await;
    let pause = |paused: bool| bob.put(&hook.at("")).json(&json!({ "paused": paused }));
    assert_eq!(pause(true).await.expect(200)["webhook"]["status"], "paused");
    bob.put(&hook.at("/test")).await.refused(409, "webhook_not_active");
    let cup = bob.product("cup", "10", 10).await;
    ann.order(&[(&cup, 1)]).await;
    ann.order(&[(&cup, 2)]).await;
    let put_off = doc! { "putOff": true, "attempts": 0, "dueAt": { "$gt": app.clock.now() } };
    until("they are not put off", async || count(&app, put_off.clone()).await == 2).await;
    assert_eq!(receiver.asked("POST").len(), 0);
    pause(false).await.expect(200);
    until("they do not arrive", async || count(&app, doc! { "state": "delivered" }).await == 2).await;
    assert_eq!(receiver.asked("POST").len(), 2);
    // One that is removed is told nothing, and nothing is kept of it.
    bob.delete(&hook.at("")).await.expect(200);
    ann.order(&[(&cup, 3)]).await;
    crate::mail::outbox_is_empty(&app).await;
    assert_eq!(count(&app, doc! {}).await, 0);
    bob.get(&hook.at("")).await.refused(404, "webhook_not_found");
}

#[tokio::test]
async fn several_nodes_at_once_deliver_each_event_once() {
    let app = TestApp::start().await;
    let _there = [app.another_node().await, app.another_node().await];
    let (ann, bob) = (app.buyer("ann").await, app.seller("bob").await);
    let [one, other] = [receiver().await, receiver().await];
    // Slow enough for others to have a chance.
    one.misbehave("", Fault::Slow(Duration::from_millis(30)), usize::MAX);
    for receiver in [&one, &other] {
        Hook::new(&bob, receiver.base(), &["order.placed"]).await;
    }
    let cup = bob.product("cup", "10", 10_000).await;
    for n in 1..=40 {
        ann.order(&[(&cup, n)]).await;
    }
    until("they do not arrive", async || count(&app, doc! { "state": "delivered" }).await == 80).await;
    for receiver in [&one, &other] {
        let mut ids: Vec<String> = events(receiver).iter().map(|event| event["id"].to_string()).collect();
        assert_eq!(ids.len(), 40);
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), 40);
    }
}

#[tokio::test]
async fn receivers_that_do_not_answer_hold_up_nobody_else() {
    let app = TestApp::start().await;
    let (ann, bob, eve) = (app.buyer("ann").await, app.seller("bob").await, app.seller("eve").await);
    let [silent, good] = [receiver().await, receiver().await];
    silent.misbehave("", Fault::Silent, usize::MAX);
    let hook = Hook::new(&bob, silent.base(), &["*"]).await;
    for _ in 0..50 {
        hook.test(&bob).await;
    }
    until("it is not called", async || silent.asked("POST").len() == 4).await;
    let begun = Instant::now();
    Hook::new(&eve, good.base(), &["*"]).await;
    let lamp = eve.product("lamp", "10", 10).await;
    ann.order(&[(&lamp, 1)]).await;
    until("others wait", async || good.asked("POST").len() == 1).await;
    app.mails().await_mail_to(&ann.email).await;
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    assert_eq!(silent.asked("POST").len(), 4, "more than its share at a time");
}

#[tokio::test]
async fn an_address_that_only_the_server_reaches_is_refused_and_so_is_what_makes_no_sense() {
    let app = TestApp::start().await;
    let bob = app.seller("bob").await;
    let (url, events) = (json!("https://93.184.216.34/souk"), json!(["*"]));
    for (field, wrong) in [
        ("url", json!(null)),
        ("url", json!("")),
        ("url", json!("shop.example")),
        ("url", json!("http://93.184.216.34/")),
        ("url", json!("https://10.0.0.1/")),
        ("url", json!("https://169.254.169.254/latest/meta-data")),
        ("url", json!("http://[::ffff:10.0.0.1]:8000/")),
        ("url", json!("http://0x0a.1:8000/")),
        ("url", json!("https://user:word@93.184.216.34/")),
        ("url", json!("https://93.184.216.34:6379/")),
        ("url", json!("ftp://93.184.216.34/")),
        ("url", json!(format!("https://93.184.216.34/{}", "x".repeat(2_000)))),
        ("events", json!(null)),
        ("events", json!([])),
        ("events", json!(["order.*"])),
        ("events", json!(["webhook.test"])),
        ("scope", json!("mine")),
        ("description", json!("two\nlines")),
        ("description", json!("x".repeat(201))),
    ] {
        let mut body = json!({ "url": url, "events": events });
        body[field] = wrong.clone();
        let refused = bob.post("/api/webhooks").json(&body).await.refused(400, "invalid_input");
        assert_eq!(refused["errors"][0]["field"], field, "{wrong}");
    }
    bob.post("/api/webhooks").json(&json!({ "url": 5 })).await.refused(400, "malformed_json");
    let endpoints = app.db.of::<WebhookEndpoint>();
    assert_eq!(endpoints.count_documents(doc! {}).await.unwrap(), 0);
    let hook = Hook::new(&bob, "https://93.184.216.34/souk".to_owned(), &["*"]).await;
    for (field, wrong) in [
        ("url", json!("https://192.168.0.1/")),
        ("events", json!(["nothing"])),
        ("description", json!("two\nlines")),
    ] {
        let refused =
            bob.put(&hook.at("")).json(&json!({ field: wrong })).await.refused(400, "invalid_input");
        assert_eq!(refused["errors"][0]["field"], field);
    }
    for (field, body) in [
        ("delivery", json!({})),
        ("delivery", json!({ "delivery": "x" })),
        ("delivery", json!({ "delivery": hook.id, "since": "2026-01-01T00:00:00Z" })),
        ("since", json!({ "since": "yesterday" })),
    ] {
        let refused = bob.put(&hook.at("/replay")).json(&body).await.refused(400, "invalid_input");
        assert_eq!(refused["errors"][0]["field"], field);
    }
    for query in ["status=sent", "limit=0", "cursor=x"] {
        bob.get(&hook.at(&format!("/deliveries?{query}"))).await.refused(400, "invalid_input");
    }
    // One that got in by another way is refused when it is to be called.
    let id = hook.id.parse::<shared::id::Id<WebhookEndpoint>>().unwrap();
    let smuggled = doc! { "$set": { "url": "https://10.0.0.1/" } };
    endpoints.update_one(doc! { "_id": id }, smuggled).await.unwrap();
    hook.test(&bob).await;
    until("it is not refused", async || !hook.deliveries(&bob).await[0]["lastTry"].is_null()).await;
    let tried = hook.deliveries(&bob).await[0]["lastTry"].clone();
    assert_eq!(tried["error"], "the address is not one that webhooks may be sent to");
    // Twenty are enough for anybody.
    for _ in 1..20 {
        Hook::new(&bob, "https://93.184.216.34/souk".to_owned(), &["*"]).await;
    }
    let one_more = json!({ "url": url, "events": events });
    bob.post("/api/webhooks").json(&one_more).await.refused(409, "too_many_webhooks");
}

#[tokio::test]
async fn a_closed_network_may_be_told_by_a_setting() {
    let app = TestApp::with(&[("WEBHOOK_ALLOW_PRIVATE", "on")]).await;
    let bob = app.seller("bob").await;
    Hook::new(&bob, "http://10.0.0.1:8000/souk".to_owned(), &["*"]).await;
    let nowhere = json!({ "url": "http://0.0.0.0:8000/", "events": ["*"] });
    bob.post("/api/webhooks").json(&nowhere).await.refused(400, "invalid_input");
}

#[tokio::test]
async fn webhooks_for_all_shops_are_the_administrators_together() {
    let app = TestApp::start().await;
    let (root, other) = (app.admin("root").await, app.admin("other").await);
    let (ann, bob): (_, Seller) = (app.buyer("ann").await, app.seller("bob").await);
    let url = "https://93.184.216.34/souk";
    let of_all = Hook::new(&root, url.to_owned(), &["*"]).await;
    let of_bob = Hook::new(&bob, url.to_owned(), &["*"]).await;
    let list = async |who: &Browser| {
        let listed = who.get("/api/webhooks").await.expect(200)["webhooks"].clone();
        let id = |hook: &Value| (hook["_id"].as_str().unwrap().to_owned(), hook["scope"].clone());
        listed.as_array().unwrap().iter().map(id).collect::<Vec<_>>()
    };
    let (platform, shop) = ((of_all.id.clone(), json!("platform")), (of_bob.id.clone(), json!("shop")));
    assert_eq!(list(&other).await, std::slice::from_ref(&platform));
    assert_eq!(list(&bob).await, std::slice::from_ref(&shop));
    other.get(&of_all.at("")).await.expect(200);
    other.get(&of_bob.at("")).await.refused(404, "webhook_not_found");
    bob.get(&of_all.at("")).await.refused(404, "webhook_not_found");
    ann.get("/api/webhooks").await.refused(403, "shops_and_admins_only");
    app.browser().get("/api/webhooks").await.refused(401, "unauthenticated");
    let body = |scope: &str| json!({ "url": url, "events": ["*"], "scope": scope });
    bob.post("/api/webhooks").json(&body("platform")).await.refused(403, "admins_only");
    root.post("/api/webhooks").json(&body("shop")).await.refused(403, "no_shop");
    // An administrator who is also logged in to a shop has both in one browser.
    let both = app.browser();
    both.set_cookie("user_token", &root.token);
    both.set_cookie("seller_token", &bob.token);
    assert_eq!(list(&both).await, [shop, platform]);
    let made = both.post("/api/webhooks").json(&body("platform")).await.expect(201);
    assert_eq!(made["webhook"]["scope"], "platform");
    let wanted = json!({ "url": url, "events": ["*"] });
    let made = both.post("/api/webhooks").json(&wanted).await.expect(201);
    assert_eq!(made["webhook"]["scope"], "shop");
}
