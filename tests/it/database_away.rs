//! The database freezes, is killed, or changes its primary, while people shop: nobody waits for ever, what was
//! acknowledged is there once, and everything goes on by itself afterwards.
//!
//! A minute frozen with the usual limits, and a primary that steps down every 20 seconds for two minutes:
//! `SOUK_TRIAL=full cargo test --workspace --test it database_away:: -- --nocapture`.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bson::{Document, doc};
use futures_util::future::join_all;
use mongodb::{Client, options::ClientOptions};
use serde_json::{Value, json};
use shared::model::Order;
use souk::embedded::{self, EmbeddedMongo, Options};
use tests::{Buyer, Seller, TestApp, mongo::TestDatabase, people::in_cash};
use tokio::task::JoinHandle;

use crate::crash::Process;

/// Whatever is waited for comes within this, or never.
const PATIENCE: Duration = Duration::from_secs(120);

/// Whether the long trials are wanted.
#[expect(clippy::disallowed_methods, reason = "it says which trial to run, and is no setting of the server")]
pub fn is_full() -> bool {
    std::env::var("SOUK_TRIAL").is_ok_and(|trial| trial == "full")
}

/// With the driver's limits as short as it lets them be, unless the usual ones are what is tried.
fn hasty(uri: &str) -> String {
    if is_full() {
        return uri.to_owned();
    }
    format!("{uri}&heartbeatFrequencyMS=500&connectTimeoutMS=2000&serverSelectionTimeoutMS=1000")
}

async fn eventually<F: Future<Output = bool>>(what: &str, mut is_so: impl FnMut() -> F) {
    let waiting = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, waiting).await.is_ok(), "never happened: {what}");
}

fn signal(name: &str, pid: u32) {
    let sent = std::process::Command::new("kill").args([name, &pid.to_string()]).status().unwrap();
    assert!(sent.success());
}

/// What the people of a [`Bustle`] have seen.
#[derive(Default)]
struct Seen {
    /// By status and code.
    answers: Mutex<BTreeMap<String, u64>>,
    /// The key of each checkout, and its answer if it was acknowledged.
    checkouts: Mutex<Vec<(usize, String, Option<Value>)>>,
    /// Whatever must not be.
    wrong: Mutex<Vec<String>>,
    placed: AtomicU64,
    slowest: Mutex<Duration>,
}

/// People who shop, browse, talk and deliver without pause.
struct Bustle {
    seen: Arc<Seen>,
    /// How often each was told to come back later.
    refused: Arc<Vec<AtomicUsize>>,
    tasks: Vec<JoinHandle<()>>,
    base: String,
    buyers: Vec<Buyer>,
    cup: Value,
}

const CHECKOUT: &str = "/api/order/create-order";

impl Bustle {
    async fn begin(app: &TestApp, base: &str, people: usize) -> Self {
        let bob = app.seller("bob").await;
        let cup = bob.product("cup", "10", 1_000_000).await;
        let buyers: Vec<Buyer> =
            join_all((0..people).map(async |i| app.buyer(&format!("buyer {i}")).await)).await;
        let seen = Arc::new(Seen::default());
        let refused: Arc<Vec<AtomicUsize>> = Arc::new((0..people).map(|_| AtomicUsize::new(0)).collect());
        let tasks = (0..).zip(&buyers).map(|(number, buyer)| {
            let person = Person {
                number,
                buyer: buyer.clone(),
                bob: bob.clone(),
                cup: cup.clone(),
                base: base.to_owned(),
                client: client(),
                seen: Arc::clone(&seen),
                refused: Arc::clone(&refused),
            };
            tokio::spawn(person.live())
        });
        let tasks = tasks.collect();
        Self { seen, refused, tasks, base: base.to_owned(), buyers, cup }
    }

    /// Until each has been told to come back later so many times more.
    async fn until_all_refused(&self, times: usize) {
        let before: Vec<usize> = self.refused.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        eventually("everybody is told to come back later", async || {
            let now = self.refused.iter().map(|count| count.load(Ordering::Relaxed));
            now.zip(&before).all(|(now, before)| now >= before + times)
        })
        .await;
    }

    /// Until so many more checkouts were acknowledged.
    async fn until_placed(&self, more: u64) {
        let before = self.seen.placed.load(Ordering::Relaxed);
        eventually("checkouts are acknowledged", async || {
            self.seen.placed.load(Ordering::Relaxed) >= before + more
        })
        .await;
    }

    /// Ends it, repeats every checkout under its key, and counts: each is there exactly once, and whatever was
    /// acknowledged is answered as it was.
    async fn settle(mut self, app: &TestApp) -> Arc<Seen> {
        self.tasks.iter().for_each(JoinHandle::abort);
        join_all(self.tasks.drain(..)).await;
        let client = client();
        let checkouts = std::mem::take(&mut *self.seen.checkouts.lock().unwrap());
        for (number, key, answer) in &checkouts {
            let again = async {
                loop {
                    let asked = checkout(&client, &self.base, &self.buyers[*number], &self.cup, key);
                    let response = asked.send().await.unwrap();
                    if response.status() == 201 {
                        return response.json::<Value>().await.unwrap();
                    }
                    assert_eq!(response.status(), 503);
                }
            };
            let again = tokio::time::timeout(PATIENCE, again).await.expect("served again");
            assert!(answer.as_ref().is_none_or(|first| *first == again), "{key} was acknowledged, then lost");
        }
        let orders = app.db.of::<Order>().count_documents(doc! {}).await.unwrap();
        assert_eq!(orders, u64::try_from(checkouts.len()).unwrap(), "lost or doubled");
        app.assert_books_balance().await;
        assert_eq!(*self.seen.wrong.lock().unwrap(), Vec::<String>::new());
        println!(
            "{} checkouts; answers {:?}; the slowest took {:?}",
            checkouts.len(),
            self.seen.answers.lock().unwrap(),
            self.seen.slowest.lock().unwrap()
        );
        self.seen
    }
}

fn client() -> reqwest::Client {
    let client = reqwest::Client::builder().no_proxy().pool_idle_timeout(Duration::from_secs(2));
    client.timeout(PATIENCE).build().unwrap()
}

fn checkout(
    client: &reqwest::Client,
    base: &str,
    buyer: &Buyer,
    cup: &Value,
    key: &str,
) -> reqwest::RequestBuilder {
    let request = client.post(format!("{base}{CHECKOUT}")).bearer_auth(&buyer.token);
    request.header("Idempotency-Key", key).json(&in_cash(&[(cup, 1)]))
}

struct Person {
    number: usize,
    buyer: Buyer,
    bob: Seller,
    cup: Value,
    base: String,
    client: reqwest::Client,
    seen: Arc<Seen>,
    refused: Arc<Vec<AtomicUsize>>,
}

impl Person {
    async fn live(self) {
        let mut conversation = None;
        for round in 0_u64.. {
            let key = format!("{}-{round}", self.number);
            // Noted before it is asked for: who is stopped in the middle does not know either.
            let place = {
                let mut checkouts = self.seen.checkouts.lock().unwrap();
                checkouts.push((self.number, key.clone(), None));
                checkouts.len() - 1
            };
            let order = self.ask(checkout(&self.client, &self.base, &self.buyer, &self.cup, &key)).await;
            if let Some(order) = &order {
                self.seen.checkouts.lock().unwrap()[place].2 = Some(order.clone());
                self.seen.placed.fetch_add(1, Ordering::Relaxed);
            }
            let get = |path: &str| self.client.get(format!("{}{path}", self.base));
            self.ask(get("/api/product/get-all-products")).await;
            let own = get(&format!("/api/order/getOrders/{}", self.buyer.id));
            self.ask(own.bearer_auth(&self.buyer.token)).await;
            if let Some(order) = &order {
                let id = order["orders"][0]["_id"].as_str().unwrap();
                let path = format!("{}/api/order/update-order-status/{id}", self.base);
                let delivered = self.client.put(path).bearer_auth(&self.bob.token);
                self.ask(delivered.json(&json!({ "status": "Delivered" }))).await;
            }
            self.talk(&mut conversation).await;
        }
    }

    async fn talk(&self, conversation: &mut Option<Value>) {
        let post = |path: &str, body: Value| {
            self.client.post(format!("{}{path}", self.base)).bearer_auth(&self.buyer.token).json(&body)
        };
        match conversation {
            Some(id) => {
                let said = json!({ "conversationId": id, "sender": self.buyer.id.hex(), "text": "hello" });
                self.ask(post("/api/messages/create-new-message", said)).await;
            }
            None => {
                let body = json!({ "userId": self.buyer.id.hex(), "sellerId": self.bob.id.hex() });
                let opened = self.ask(post("/api/conversation/create-new-conversation", body)).await;
                *conversation = opened.map(|opened| opened["conversation"]["_id"].clone());
            }
        }
    }

    /// Asks, and gives the answer if it is a success. Anything but that or a well-formed "come back later" is wrong.
    async fn ask(&self, request: reqwest::RequestBuilder) -> Option<Value> {
        let begun = Instant::now();
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => {
                self.seen.wrong.lock().unwrap().push(format!("{error:?}"));
                return None;
            }
        };
        let (status, url) = (response.status().as_u16(), response.url().path().to_owned());
        let retry_after = response.headers().contains_key("retry-after");
        let body: Value = response.json().await.unwrap_or_default();
        {
            let mut slowest = self.seen.slowest.lock().unwrap();
            *slowest = begun.elapsed().max(*slowest);
        }
        let code = body["code"].as_str().unwrap_or_default().to_owned();
        *self.seen.answers.lock().unwrap().entry(format!("{status} {code}")).or_default() += 1;
        if (200..300).contains(&status) {
            return Some(body);
        }
        let told = body["message"].as_str().is_some_and(|message| !message.is_empty());
        let right = status == 503 && retry_after && told && body["success"] == false;
        if right && ["unavailable", "busy"].contains(&code.as_str()) {
            self.refused[self.number].fetch_add(1, Ordering::Relaxed);
            // As it was told to, only sooner.
            tokio::time::sleep(Duration::from_millis(100)).await;
        } else {
            self.seen.wrong.lock().unwrap().push(format!("{url} answered {status} {body}"));
        }
        None
    }
}

async fn status(url: String) -> (u16, Value) {
    let response = client().get(url).send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

#[tokio::test]
async fn a_frozen_database_costs_nobody_more_than_a_wait_and_nothing_that_was_acknowledged() {
    let mongo = embedded::start(Options::for_tests()).await.unwrap();
    let database = TestDatabase::at(hasty(&mongo.uri_for("frozen"))).await;
    let app = TestApp::on(database, &[]).await;
    let node = Process::start_with(&app, &[("REQUESTS_MAX", "24")]).await;
    let people = if is_full() { 300 } else { 48 };
    let bustle = Bustle::begin(&app, &node.base, people).await;
    bustle.until_placed(10).await;
    let before = node.memory();
    let pid = mongo.pid().unwrap();
    signal("-STOP", pid);
    bustle.until_all_refused(2).await;
    if is_full() {
        tokio::time::sleep(Duration::from_secs(60)).await;
    }
    assert_eq!(status(format!("{}/healthz", node.base)).await.0, 200);
    let (ready, why) = status(format!("{}/readyz", node.base)).await;
    assert_eq!((ready, &why["database"]), (503, &json!("unreachable")));
    let grown = node.memory().zip(before).map(|(now, before)| now.saturating_sub(before));
    signal("-CONT", pid);
    // By itself, and for everybody.
    eventually("ready again", async || status(format!("{}/readyz", node.base)).await.0 == 200).await;
    bustle.until_placed(10).await;
    let seen = bustle.settle(&app).await;
    println!("grew by {grown:?} MiB while the database was frozen");
    assert!(grown.is_none_or(|mib| mib < 64), "grew by {grown:?} MiB");
    assert!(seen.answers.lock().unwrap().contains_key("503 busy"), "there was always room for more");
    node.kill().await;
    mongo.stop().await;
}

#[tokio::test]
async fn who_waits_for_a_database_that_nobody_has_missed_yet_is_answered_in_time_all_the_same() {
    let mongo = embedded::start(Options::for_tests()).await.unwrap();
    // The driver would notice in five minutes.
    let slow = "&heartbeatFrequencyMS=300000&connectTimeoutMS=300000";
    let database = TestDatabase::at(format!("{}{slow}", mongo.uri_for("missed"))).await;
    let mut app = TestApp::on_with(database, &[], |config| {
        config.request_limits.answer = Duration::from_millis(500);
    })
    .await;
    let (ann, bob) = tokio::join!(app.buyer("ann"), app.seller("bob"));
    let cup = bob.product("cup", "10", 10).await;
    let pid = mongo.pid().unwrap();
    signal("-STOP", pid);
    let place = ann.post(CHECKOUT).header("Idempotency-Key", "once").json(&in_cash(&[(&cup, 1)]));
    let waited = place.await;
    waited.refused(503, "unavailable");
    assert!(waited.header("retry-after").is_some());
    let listed = app.browser().get("/api/event/get-all-events-shop").await;
    assert!([200, 503].contains(&listed.status), "{}", listed.text());
    signal("-CONT", pid);
    let again = async || {
        let place = ann.post(CHECKOUT).header("Idempotency-Key", "once").json(&in_cash(&[(&cup, 1)]));
        place.await.status == 201
    };
    eventually("served", again).await;
    assert_eq!(app.shelf(&cup).await, (10, 1, 0));
    app.assert_books_balance().await;
    app.stop().await;
    mongo.stop().await;
}

/// Three servers that are one set.
struct Set {
    members: Vec<EmbeddedMongo>,
    uri: String,
}

impl Set {
    async fn start(database: &str) -> Self {
        let options = || Options { member: true, ..Options::for_tests() };
        let members: Vec<_> = join_all((0..3).map(|_| embedded::start(options()))).await;
        let members: Vec<EmbeddedMongo> = members.into_iter().map(Result::unwrap).collect();
        let uri = embedded::unite(&members, database).await.unwrap();
        Self { members, uri }
    }

    /// Asks one of them, whatever its role.
    async fn ask(member: &EmbeddedMongo, command: Document) -> mongodb::error::Result<Document> {
        let uri = member.uri_for("admin").replace("replicaSet=rs0", "directConnection=true");
        let mut options = ClientOptions::parse(uri).await?;
        options.server_selection_timeout = Some(Duration::from_secs(2));
        let client = Client::with_options(options)?;
        let answer = client.database("admin").run_command(command).await;
        client.shutdown().immediate(true).await;
        answer
    }

    async fn primary(&self) -> &EmbeddedMongo {
        let looking = async {
            loop {
                for member in &self.members {
                    let hello = Self::ask(member, doc! { "hello": 1 }).await;
                    if hello.is_ok_and(|hello| hello.get_bool("isWritablePrimary").unwrap_or(false)) {
                        return member;
                    }
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(PATIENCE, looking).await.expect("a primary")
    }

    async fn step_down(&self) {
        let primary = self.primary().await;
        let command = doc! { "replSetStepDown": 10, "secondaryCatchUpPeriodSecs": 5 };
        // Refused while no other has caught up.
        eventually("it steps down", async || Self::ask(primary, command.clone()).await.is_ok()).await;
    }

    async fn stop(self) {
        join_all(self.members.into_iter().map(EmbeddedMongo::stop)).await;
    }
}

#[tokio::test]
async fn a_primary_that_steps_down_or_dies_costs_no_acknowledged_order_and_the_chat_goes_on() {
    let set = Set::start("shop").await;
    let database = TestDatabase::at(set.uri.clone()).await;
    let mut app = TestApp::on(database, &[]).await;
    let (ann, shop) = (app.buyer("ann").await, app.seller("shop").await);
    let conversation = ann.talk_to(&shop).await;
    let chat = app.chat().await;
    let mut socket = chat.connect(&shop.browser).await;
    let base = app.base.clone();
    let bustle = Bustle::begin(&app, &base, if is_full() { 48 } else { 12 }).await;
    for round in 0..if is_full() { 7 } else { 4 } {
        bustle.until_placed(10).await;
        if round == 2 {
            set.primary().await.crash();
        } else {
            set.step_down().await;
        }
        // Who is connected hears on the same connection what is stored by whoever is primary now.
        for part in 0..if is_full() { 6 } else { 1 } {
            if part > 0 {
                tokio::time::sleep(Duration::from_secs(4)).await;
            }
            let text = format!("round {round}, {part}");
            let said = json!({ "conversationId": conversation, "sender": ann.id.hex(), "text": text });
            let key = format!("said-in-{round}-{part}");
            eventually("a message is stored", async || {
                let call = ann.post("/api/messages/create-new-message").header("Idempotency-Key", &key);
                let answer = call.json(&said).await;
                assert!([201, 503].contains(&answer.status), "{}", answer.text());
                answer.status == 201
            })
            .await;
            assert_eq!(socket.next("getMessage").await["text"], text);
        }
    }
    bustle.until_placed(10).await;
    bustle.settle(&app).await;
    // So do those who work unasked: the link comes by mail through the outbox.
    app.sign_up_through_mail("eve").await;
    chat.stop().await;
    app.stop().await;
    set.stop().await;
}
