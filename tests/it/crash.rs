//! What is left when the process is killed in the middle of its work: whole checkouts or none.

use std::{
    net::TcpListener,
    process::Stdio,
    sync::{Arc, Mutex},
};

use bson::{Document, doc};
use futures_util::{TryStreamExt as _, future::join_all};
use reqwest::multipart;
use serde_json::{Value, json};
use shared::{
    id::Id,
    model::{Image, Kind, Listing, Order, RememberedAnswer, Shop, Withdrawal},
    money::Money,
};
use tests::{Buyer, Seller, TestApp};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, BufReader, Lines},
    process::{Child, Command},
};

/// The real program, serving on the database of a test.
pub struct Process {
    child: Child,
    pub base: String,
    log: Arc<Mutex<String>>,
}

impl Process {
    /// The API. Returns once it says that it serves.
    pub async fn start(app: &TestApp) -> Self {
        Self::start_at(app, free_port()).await
    }

    /// With settings.
    pub async fn start_with(app: &TestApp, settings: &[(&str, &str)]) -> Self {
        Self::of(app, "api", free_port(), settings).await
    }

    /// With settings, at a port.
    pub async fn start_at_with(app: &TestApp, port: u16, settings: &[(&str, &str)]) -> Self {
        Self::of(app, "api", port, settings).await
    }

    /// The same at a port: after a kill, the next life of the same node.
    pub async fn start_at(app: &TestApp, port: u16) -> Self {
        Self::of(app, "api", port, &[]).await
    }

    /// The chat server.
    pub async fn chat(app: &TestApp, port: u16, settings: &[(&str, &str)]) -> Self {
        Self::of(app, "realtime", port, settings).await
    }

    /// Either server, with settings besides.
    pub async fn of(app: &TestApp, server: &str, port: u16, settings: &[(&str, &str)]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_souk-under-test"))
            .arg(server)
            .env_clear()
            .env("DB_URL", app.database_uri())
            .env("BIND", "127.0.0.1")
            .env(if server == "api" { "PORT" } else { "CHAT_PORT" }, port.to_string())
            .env("AUTH_MODE", "strict")
            .env("JWT_SECRET_KEY", app.config.jwt_secret.expose())
            .env("BCRYPT_COST", "4")
            .env("SOUK_HOME", app.home())
            .env("RUST_LOG", "warn")
            .envs(settings.iter().copied())
            .current_dir(app.home())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let base = format!("http://127.0.0.1:{port}");
        let log = Arc::new(Mutex::new(String::new()));
        keep(BufReader::new(child.stderr.take().unwrap()).lines(), &log);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        loop {
            let Some(line) = lines.next_line().await.unwrap() else {
                panic!("the program ended instead of serving: {}", log.lock().unwrap())
            };
            if line.contains(&port.to_string()) {
                break;
            }
        }
        keep(lines, &log);
        Self { child, base, log }
    }

    /// By which the system knows it.
    pub fn pid(&self) -> u32 {
        self.child.id().unwrap()
    }

    /// What it has printed since it serves, and all that went wrong.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// How much memory it occupies, in MiB; not known on every system.
    pub fn memory(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()?)).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kib| kib / 1024)
    }

    /// Asks it to end, as a service manager does, and waits for that.
    pub async fn terminate(mut self) {
        let pid = self.child.id().unwrap().to_string();
        assert!(std::process::Command::new("kill").arg(&pid).status().unwrap().success());
        let ended = tokio::time::timeout(std::time::Duration::from_secs(120), self.child.wait()).await;
        assert!(ended.expect("it ends").unwrap().success());
    }

    /// How many files and connections it has open; not known on every system.
    pub fn open_files(&self) -> Option<usize> {
        Some(std::fs::read_dir(format!("/proc/{}/fd", self.child.id()?)).ok()?.count())
    }

    /// `kill -9`, and no process left.
    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }
}

/// Reads whatever a program prints, so that it never waits for us.
fn keep(mut lines: Lines<BufReader<impl AsyncRead + Unpin + Send + 'static>>, log: &Arc<Mutex<String>>) {
    let log = Arc::clone(log);
    tokio::spawn(async move {
        while let Ok(Some(line)) = lines.next_line().await {
            let mut log = log.lock().unwrap();
            log.push_str(&line);
            log.push('\n');
        }
    });
}

/// A port that nobody uses.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Asks a server for all of these at once, and kills it when three of them are done.
async fn until_killed_after_three<T>(
    app: &TestApp,
    things: impl Iterator<Item = T>,
    ask: impl Fn(&str, T) -> reqwest::RequestBuilder,
) {
    let process = Process::start(app).await;
    let (sender, mut answered) = tokio::sync::mpsc::unbounded_channel();
    let calls: Vec<_> = things
        .map(|thing| {
            let (request, sender) = (ask(&process.base, thing), sender.clone());
            tokio::spawn(async move {
                if request.send().await.is_ok_and(|response| response.status() == 200) {
                    sender.send(()).ok();
                }
            })
        })
        .collect();
    for _ in 0..3 {
        answered.recv().await.unwrap();
    }
    process.kill().await;
    join_all(calls).await;
}

async fn shelf(app: &TestApp, seller: &Seller, minor: i64, stock: i64) -> Id<Listing> {
    let listing = Listing {
        id: Id::new(),
        name: "cup".to_owned(),
        price: Money::from_minor(minor),
        stock,
        shop_id: seller.id,
        images: vec![Image { id: Id::new(), public_id: "p".to_owned(), url: "/uploads/p.png".to_owned() }],
        ..Listing::default()
    };
    app.db.listings(Kind::Product).insert_one(&listing).await.unwrap();
    listing.id
}

async fn listing(app: &TestApp, id: Id<Listing>) -> Listing {
    app.db.listings(Kind::Product).find_one(doc! { "_id": id }).await.unwrap().unwrap()
}

/// Sends a request until it is answered with something other than "come back later".
async fn insist(request: reqwest::RequestBuilder) -> (u16, Value) {
    loop {
        let response = request.try_clone().unwrap().send().await.unwrap();
        if response.status() != 503 {
            return (response.status().as_u16(), response.json().await.unwrap());
        }
    }
}

#[tokio::test]
async fn a_server_killed_during_checkouts_leaves_whole_orders_and_a_retry_completes_the_rest() {
    let app = TestApp::start().await;
    let (ann, bob) = tokio::join!(app.buyer("ann"), app.seller("bob"));
    let (cup, pot) = (shelf(&app, &bob, 1000, 100_000).await, shelf(&app, &bob, 333, 100_000).await);
    let client = reqwest::Client::new();
    let body = json!({
        "cart": [{ "_id": cup.hex(), "count": 2 }, { "_id": pot.hex(), "count": 1 }],
        "shippingAddress": { "address1": "1 Elm Street", "country": "PK", "city": "PB" },
        "paymentInfo": { "type": "Cash on Delivery" },
    });
    let order = |base: &str, key: &str| {
        client
            .post(format!("{base}/api/order/create-order"))
            .bearer_auth(&ann.token)
            .header("Idempotency-Key", key)
            .json(&body)
    };
    let mut placed = 0;
    for kill_after in [1, 30] {
        let process = Process::start(&app).await;
        let (sender, mut acknowledged) = tokio::sync::mpsc::unbounded_channel();
        // Each of them goes on until the server is gone, so that there is always something in progress.
        let shoppers: Vec<_> = (0..8)
            .map(|shopper| {
                let sender = sender.clone();
                let order = |i: u32| {
                    let key = format!("{kill_after}-{shopper}-{i}");
                    (order(&process.base, &key), key)
                };
                let orders: Vec<_> = (0..2000).map(order).collect();
                tokio::spawn(async move {
                    let mut answers = Vec::new();
                    for (request, key) in orders {
                        let answer = match request.send().await {
                            Ok(response) if response.status() == 201 => response.json::<Value>().await.ok(),
                            _ => None,
                        };
                        let over = answer.is_none();
                        answers.push((key, answer));
                        if over {
                            return answers;
                        }
                        sender.send(()).ok();
                    }
                    panic!("the server was never killed");
                })
            })
            .collect();
        for _ in 0..kill_after {
            acknowledged.recv().await.unwrap();
        }
        process.kill().await;
        let outcomes: Vec<(String, Option<Value>)> =
            join_all(shoppers).await.into_iter().flat_map(Result::unwrap).collect();
        assert_eq!(outcomes.iter().filter(|(_, answer)| answer.is_none()).count(), 8);
        // Right after the kill each order has its reservation and the reverse.
        let orders = app.db.of::<Order>().count_documents(doc! {}).await.unwrap();
        let reserved = listing(&app, cup).await.reserved;
        assert_eq!(reserved, 2 * i64::try_from(orders).unwrap());
        // The same keys, at the node that lives: what was acknowledged is given again, the rest is done.
        placed += i64::try_from(outcomes.len()).unwrap();
        for (key, answer) in outcomes {
            let (status, again) = insist(order(&app.base, &key)).await;
            assert_eq!(status, 201, "{again}");
            if let Some(answer) = answer {
                assert_eq!(again, answer, "{key} was acknowledged and then lost");
            }
        }
        let orders = app.db.of::<Order>().count_documents(doc! {}).await.unwrap();
        assert_eq!(i64::try_from(orders).unwrap(), placed);
        let (cup, pot) = (listing(&app, cup).await, listing(&app, pot).await);
        assert_eq!((cup.reserved, pot.reserved), (2 * placed, placed));
    }
}

#[tokio::test]
async fn a_server_killed_during_deliveries_moves_units_and_money_together() {
    let app = TestApp::start().await;
    let (ann, bob) = tokio::join!(app.buyer("ann"), app.seller("bob"));
    let cup = shelf(&app, &bob, 1000, 1000).await;
    let client = reqwest::Client::new();
    let mut orders = Vec::new();
    for i in 0..12 {
        let body = json!({
            "cart": [{ "_id": cup.hex(), "count": 1 }],
            "shippingAddress": { "address1": "1 Elm Street" },
            "paymentInfo": { "type": "Cash on Delivery" },
        });
        let call = ann.post("/api/order/create-order").header("Idempotency-Key", &i.to_string()).json(&body);
        orders.push(call.await.expect(201)["orders"][0]["_id"].as_str().unwrap().to_owned());
    }
    let deliver = |base: &str, order: &str| {
        client
            .put(format!("{base}/api/order/update-order-status/{order}"))
            .bearer_auth(&bob.token)
            .json(&json!({ "status": "Delivered" }))
    };
    until_killed_after_three(&app, orders.iter().map(String::as_str), deliver).await;
    assert_consistent(&app, &bob, cup).await;
    for order in &orders {
        assert_eq!(insist(deliver(&app.base, order)).await.0, 200);
    }
    assert_consistent(&app, &bob, cup).await;
    let shop = app.db.of::<Shop>().find_one(doc! { "_id": bob.id }).await.unwrap().unwrap();
    assert_eq!(shop.balance_minor, Some(12 * 990));
    let cup = listing(&app, cup).await;
    assert_eq!((cup.stock, cup.reserved, cup.sold_out), (988, 0, 12));
}

#[tokio::test]
async fn a_server_killed_during_refunds_gives_units_and_money_back_together_and_once() {
    let app = TestApp::start().await;
    let (ann, bob) = tokio::join!(app.buyer("ann"), app.seller("bob"));
    let cup = bob.product("cup", "9.99", 1000).await;
    let mut orders = Vec::new();
    for _ in 0..12 {
        // Another order, not the same again.
        app.clock.advance(60_000);
        let order = ann.order(&[(&cup, 3)]).await.remove(0)["_id"].as_str().unwrap().to_owned();
        bob.set_status(&order, "Delivered").await;
        let part = json!({ "items": [{ "id": cup["_id"], "count": 2 }] });
        ann.put(&format!("/api/order/refund-order/{order}")).json(&part).await.expect(200);
        orders.push(order);
    }
    let client = reqwest::Client::new();
    let grant = |base: &str, order: &str| {
        client
            .put(format!("{base}/api/order/order-refund-success/{order}"))
            .bearer_auth(&bob.token)
            .json(&json!({ "status": "Refund Success" }))
    };
    until_killed_after_three(&app, orders.iter().map(String::as_str), grant).await;
    app.assert_books_balance().await;
    for order in &orders {
        assert_eq!(insist(grant(&app.base, order)).await.0, 200);
    }
    app.assert_books_balance().await;
    assert_eq!(app.shelf(&cup).await, (1000 - 12, 0, 12));
    // What is left of 32.97 (29.97 and 3.00 shipping) is 10.99, of which 1.10 is the fee.
    assert_eq!(app.balance(&bob).await, 12 * (1099 - 110));
}

#[tokio::test]
async fn a_server_killed_during_decisions_on_withdrawals_moves_state_money_and_mail_together() {
    let app = TestApp::start().await;
    let (bob, root) = tokio::join!(app.seller("bob"), app.admin("root"));
    let bank = doc! { "bankName": "B", "bankAccountNumber": "12345678" };
    let set = doc! { "$set": { "withdrawMethod": bank, "availableBalance": 5000 }, "$unset": { "balanceMinor": "" } };
    app.db.of::<Shop>().update_one(doc! { "_id": bob.id }, set).await.unwrap();
    shared::migrate::run(&app.db, &app.clock).await.unwrap();
    let mut requests = Vec::new();
    for amount in 50..74 {
        let call = bob.post("/api/withDraw/create-withdraw-request").json(&json!({ "amount": amount }));
        requests.push(call.await.expect(201)["withdraw"]["_id"].as_str().unwrap().to_owned());
    }
    let client = reqwest::Client::new();
    let decide = |base: &str, (n, request): (usize, &String)| {
        let status = if n.is_multiple_of(2) { "Rejected" } else { "Succeeded" };
        let path = format!("{base}/api/withDraw/update-withdraw-request/{request}");
        client.put(path).bearer_auth(&root.token).json(&json!({ "status": status }))
    };
    until_killed_after_three(&app, requests.iter().enumerate(), decide).await;
    assert_decided(&app, &bob).await;
    for request in requests.iter().enumerate() {
        assert_eq!(insist(decide(&app.base, request)).await.0, 200);
    }
    assert_eq!(assert_decided(&app, &bob).await, 24);
    // What the dead process was at comes free with its lease.
    app.clock.advance(61_000);
    crate::mail::outbox_is_empty(&app).await;
    let files = std::fs::read_dir(app.home().join("outbox")).map_or(0, Iterator::count);
    // One when it was asked for, and one when it was decided.
    assert!(files + app.mails().count_to(&bob.email) >= 48, "a shop was not told");
}

/// What is rejected is back, what is not is not, and each decision stands in the shop's list. Gives how
/// many are decided.
async fn assert_decided(app: &TestApp, seller: &Seller) -> usize {
    app.assert_books_balance().await;
    let found = app.db.of::<Withdrawal>().find(doc! {}).await.unwrap();
    let all: Vec<Withdrawal> = found.try_collect().await.unwrap();
    let shop = app.db.of::<Shop>().find_one(doc! { "_id": seller.id }).await.unwrap().unwrap();
    let mut balance = 500_000;
    for withdrawal in &all {
        let movement = shop.transactions.iter().find(|one| one.id == withdrawal.id.cast()).unwrap();
        assert_eq!(movement.status, withdrawal.status);
        let key = format!("withdraw-rejected:{}", withdrawal.id);
        let back = app.db.raw::<Document>("ledger").find_one(doc! { "_id": key }).await.unwrap();
        assert_eq!(back.is_some(), withdrawal.status == "Rejected");
        balance -= if back.is_some() { 0 } else { withdrawal.amount.minor() };
    }
    assert_eq!(shop.balance_minor, Some(balance));
    all.iter().filter(|withdrawal| withdrawal.status != "Processing").count()
}

/// As many orders are delivered as units are sold, credits are booked and the balance says.
async fn assert_consistent(app: &TestApp, seller: &Seller, id: Id<Listing>) {
    let delivered = app.db.of::<Order>().count_documents(doc! { "status": "Delivered" }).await.unwrap();
    let delivered = i64::try_from(delivered).unwrap();
    let cup = listing(app, id).await;
    assert_eq!((cup.stock, cup.sold_out), (1000 - delivered, delivered));
    let shop = app.db.of::<Shop>().find_one(doc! { "_id": seller.id }).await.unwrap().unwrap();
    assert_eq!(shop.balance_minor, Some(delivered * 990));
    let entries = app.db.raw::<Document>("ledger").count_documents(doc! {}).await.unwrap();
    assert_eq!(i64::try_from(entries).unwrap(), delivered);
}

/// Somebody who buys, somebody who sells, and what they talk about.
struct People {
    buyer: Buyer,
    seller: Seller,
    conversation: String,
}

impl People {
    /// One request of each kind that creates something, in turn: the i-th is always the same.
    fn request(&self, client: &reqwest::Client, base: &str, i: usize) -> reqwest::RequestBuilder {
        let form = |texts: &[(&'static str, &str)]| {
            texts
                .iter()
                .fold(multipart::Form::new(), |form, (name, text)| form.text(*name, (*text).to_owned()))
        };
        let (path, token) = match i % 5 {
            0 => ("/api/withDraw/create-withdraw-request", &self.seller.token),
            1 => ("/api/coupan/create-coupan", &self.seller.token),
            2 => ("/api/messages/create-new-message", &self.buyer.token),
            3 => ("/api/product/create-product", &self.seller.token),
            _ => ("/api/user/create-user", &self.buyer.token),
        };
        let request = client.post(format!("{base}{path}")).bearer_auth(token);
        let request = match i % 5 {
            0 => request.json(&json!({ "amount": 60 })),
            1 => request.json(&json!({ "name": format!("C{i}"), "value": 10 })),
            2 => {
                let sender = self.buyer.id.hex();
                let conversation = &self.conversation;
                request
                    .json(&json!({ "conversationId": conversation, "sender": sender, "text": i.to_string() }))
            }
            3 => {
                let shop = self.seller.id.hex();
                let form = form(&[
                    ("name", "cup"),
                    ("description", "A cup."),
                    ("category", "Others"),
                    ("discountPrice", "10"),
                    ("stock", "5"),
                    ("shopeId", &shop),
                ]);
                let picture = multipart::Part::bytes(tests::picture::png()).file_name("a.png");
                request.multipart(form.part("images", picture))
            }
            _ => {
                let email = format!("u{i}@example.com");
                request.multipart(form(&[("name", "zoe"), ("password", "secret"), ("email", &email)]))
            }
        };
        request.header("Idempotency-Key", format!("key-{i}"))
    }
}

/// How many there are of each kind, and how many answers say so, as of one moment: the database may
/// still be busy with what it was told last.
async fn created_and_remembered(app: &TestApp) -> (Vec<u64>, Vec<u64>) {
    let kinds = [
        ("withdraws", "withdrawal"),
        ("couponcodes", "coupon"),
        ("messages", "message"),
        ("products", "product"),
        ("pendingregistrations", "user"),
    ];
    let count = app.db.transaction::<_, mongodb::error::Error, _>(|session| {
        let db = app.db.clone();
        Box::pin(async move {
            let (mut created, mut remembered) = (Vec::new(), Vec::new());
            for (collection, route) in kinds {
                let things = db.raw::<Document>(collection);
                created.push(things.count_documents(doc! {}).session(&mut *session).await?);
                let of_route = doc! { "_id": { "$regex": format!("^create-{route}:") } };
                let answers = db.of::<RememberedAnswer>();
                remembered.push(answers.count_documents(of_route).session(&mut *session).await?);
            }
            Ok((created, remembered))
        })
    });
    count.await.unwrap()
}

/// Sends one request after the other until the server is gone, and tells what came back. The last one
/// has no answer.
async fn until_the_end(
    requests: Vec<(usize, reqwest::RequestBuilder)>,
    answered: tokio::sync::mpsc::UnboundedSender<()>,
) -> Vec<(usize, Option<String>)> {
    let mut answers = Vec::new();
    for (i, request) in requests {
        let answer = match request.send().await {
            Ok(response) if response.status().is_success() => response.text().await.ok(),
            Ok(refused) => panic!("{i}: {}", refused.text().await.unwrap()),
            Err(_) => None,
        };
        let over = answer.is_none();
        answers.push((i, answer));
        if over {
            return answers;
        }
        answered.send(()).ok();
    }
    panic!("the server was never killed");
}

#[tokio::test]
async fn a_server_killed_while_things_are_created_leaves_each_with_its_answer_or_neither() {
    /// Of each kind three, so that there is always something at every point.
    const CALLERS: usize = 15;
    let app = TestApp::start().await;
    let (buyer, seller) = (app.buyer("ann").await, super::lost_answers::rich(&app, "bob").await);
    let more = doc! { "$set": { "balanceMinor": 100_000_000_i64, "availableBalance": 1_000_000 } };
    app.db.of::<Shop>().update_one(doc! { "_id": seller.id }, more).await.unwrap();
    let conversation = buyer.talk_to(&seller).await;
    let people = People { buyer, seller, conversation };
    let client = reqwest::Client::new();
    let (mut next, mut totals) = (0, vec![0_u64; 5]);
    for kill_after in [1, 40] {
        let process = Process::start(&app).await;
        let (sender, mut answered) = tokio::sync::mpsc::unbounded_channel();
        let callers: Vec<_> = (next..next + CALLERS)
            .map(|first| {
                let own = (0..100).map(|i| first + i * CALLERS);
                let requests = own.map(|i| (i, people.request(&client, &process.base, i))).collect();
                tokio::spawn(until_the_end(requests, sender.clone()))
            })
            .collect();
        for _ in 0..kill_after {
            answered.recv().await.unwrap();
        }
        process.kill().await;
        let outcomes: Vec<_> = join_all(callers).await.into_iter().flat_map(Result::unwrap).collect();
        let (created, remembered) = created_and_remembered(&app).await;
        assert_eq!(created, remembered, "a thing without its answer, or an answer without its thing");
        // The same again at the node that lives: what was acknowledged is given again, the rest is done.
        for (i, answer) in outcomes {
            let again = loop {
                let response = people.request(&client, &app.base, i).send().await.unwrap();
                if response.status() != 503 {
                    break response;
                }
            };
            assert!(again.status().is_success(), "{i}: {}", again.status());
            let again = again.text().await.unwrap();
            assert!(answer.is_none_or(|answer| answer == again), "{i} was acknowledged and then lost");
            totals[i % 5] += 1;
            next = next.max(i + 1);
        }
        next = next.next_multiple_of(CALLERS);
        assert_eq!(created_and_remembered(&app).await, (totals.clone(), totals.clone()));
    }
}
