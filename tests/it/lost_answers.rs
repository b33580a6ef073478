//! What happens when the database does as it was told and its answer is lost.

use std::{net::TcpListener, sync::Arc};

use bson::{Document, doc};
use futures_util::future::join_all;
use serde_json::{Value, json};
use shared::{
    audit,
    db::Db,
    model::{Order, RememberedAnswer, Shop, Stored as _, Withdrawal},
};
use tests::{Browser, Seller, TestApp};

/// A node whose commits can be made to lose their answers, without harm to other tests.
struct Node {
    name: String,
    base: String,
    server: api::Server,
}

impl Node {
    async fn start(app: &TestApp, name: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let name = format!("{name}-{base}");
        let db = Db::connect(app.database_uri(), &name).await.unwrap();
        let node = api::App::new(Arc::clone(&app.config), db, app.clock.clone()).unwrap();
        Self { name, base, server: api::serve(node, listener).unwrap() }
    }

    /// Has the next so many commits of this node happen and their answers say that it is not known.
    async fn lose_answers(&self, app: &TestApp, times: i32) {
        let mode = if times == 0 {
            doc! { "mode": "off" }
        } else {
            doc! { "mode": { "times": times } }
        };
        let mut command = doc! { "configureFailPoint": "failCommand" };
        command.extend(mode);
        command.insert(
            "data",
            doc! {
                "failCommands": ["commitTransaction"],
                "appName": &self.name,
                "writeConcernError": { "code": 64, "errmsg": "waiting for replication timed out" },
            },
        );
        app.db.client().database("admin").run_command(command).await.unwrap();
    }

    /// Counts what this node reads of a collection from now on: gives the number so far.
    async fn count_reads(&self, app: &TestApp, collection: &str) -> i64 {
        let namespace = format!("{}.{collection}", app.db.database().name());
        let mut data = doc! { "failCommands": ["find"], "appName": &self.name, "namespace": namespace };
        data.extend(doc! { "blockConnection": true, "blockTimeMS": 1 });
        let command = doc! { "configureFailPoint": "failCommand", "mode": "alwaysOn", "data": data };
        let reply = app.db.client().database("admin").run_command(command).await.unwrap();
        shared::lenient::as_int(reply.get("count").unwrap()).unwrap()
    }
}

async fn until_read(app: &TestApp, times: i64) {
    let command = doc! { "waitForFailPoint": "failCommand", "timesEntered": times, "maxTimeMS": 8000 };
    app.db.client().database("admin").run_command(command).await.unwrap();
}

/// More answers than anybody waits for.
const ALL: i32 = 100_000;

/// There is one such fail point for the whole server.
pub static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

fn checkout(product: &Value) -> Value {
    json!({
        "cart": [{ "_id": product["_id"], "count": 1 }],
        "shippingAddress": { "address1": "1 Elm Street", "address2": "", "country": "PK", "city": "PB" },
        "totalPrice": 11,
        "paymentInfo": { "type": "Cash on Delivery" },
    })
}

async fn orders(app: &TestApp) -> u64 {
    app.db.of::<Order>().count_documents(doc! {}).await.unwrap()
}

async fn assert_books_balance(app: &TestApp) {
    assert_eq!(audit::run(&app.db).await.unwrap().differences, Vec::<String>::new());
}

/// A shop with 100 to pay out.
pub async fn rich(app: &TestApp, name: &str) -> Seller {
    let seller = app.seller(name).await;
    let bank = doc! { "bankName": "B", "bankAccountNumber": "12345678" };
    let set = doc! { "$set": { "withdrawMethod": bank, "availableBalance": 100 }, "$unset": { "balanceMinor": "" } };
    app.db.of::<Shop>().update_one(doc! { "_id": seller.id }, set).await.unwrap();
    shared::migrate::run(&app.db, &app.clock).await.unwrap();
    seller
}

#[tokio::test]
async fn a_checkout_whose_commit_is_answered_late_is_one_checkout() {
    let app = TestApp::with(&[("DUPLICATE_ORDER_WINDOW", "0")]).await;
    let (ann, bob) = tokio::join!(app.buyer("ann"), app.seller("bob"));
    let cup = bob.product("cup", "10", 10).await;
    let _turn = TURN.lock().await;
    let node = Node::start(&app, "late").await;
    node.lose_answers(&app, 3).await;
    let there = Browser::new(&node.base);
    there.post("/api/order/create-order").bearer(&ann.token).json(&checkout(&cup)).await.expect(201);
    assert_eq!(orders(&app).await, 1);
    assert_books_balance(&app).await;
    node.lose_answers(&app, 0).await;
    node.server.stop().await;
}

#[tokio::test]
async fn a_group_of_checkouts_whose_commit_is_never_answered_is_not_committed_twice() {
    let app = TestApp::with(&[("DUPLICATE_ORDER_WINDOW", "0")]).await;
    let bob = app.seller("bob").await;
    let cup = bob.product("cup", "10", 100).await;
    let buyers = join_all((0..6).map(|i| app.buyer(["a", "b", "c", "d", "e", "f"][i]))).await;
    let _turn = TURN.lock().await;
    let node = Node::start(&app, "never").await;
    node.lose_answers(&app, ALL).await;
    let there = Browser::new(&node.base);
    let body = checkout(&cup);
    let answers = join_all(buyers.iter().map(|buyer| {
        let call = there.post("/api/order/create-order").bearer(&buyer.token);
        async { call.header("Idempotency-Key", "1").json(&body).await }
    }))
    .await;
    node.lose_answers(&app, 0).await;
    for answer in answers {
        let refused = answer.refused(503, "unavailable");
        let message = refused["message"].as_str().unwrap();
        assert!(message.contains("not known") && !message.contains("Nothing was changed"), "{message}");
    }
    assert_eq!(orders(&app).await, 6, "each once");
    assert_books_balance(&app).await;
    // Asked again by the same key, each gets the answer that was lost.
    for buyer in &buyers {
        let call = there.post("/api/order/create-order").bearer(&buyer.token);
        call.header("Idempotency-Key", "1").json(&body).await.expect(201);
    }
    assert_eq!(orders(&app).await, 6);
    node.server.stop().await;
}

#[tokio::test]
async fn what_came_back_on_the_shelf_can_be_bought_at_once_also_while_another_group_is_written() {
    let app = TestApp::start().await;
    let (ann, bob) = tokio::join!(app.buyer("ann"), app.seller("bob"));
    let (cay, dee) = tokio::join!(app.buyer("cay"), app.buyer("dee"));
    let (cup, mug) = tokio::join!(bob.product("cup", "10", 1), bob.product("mug", "10", 9));
    let left = async |stock: i32| {
        let this = doc! { "name": "cup" };
        app.db
            .raw::<Document>("products")
            .update_one(this, doc! { "$set": { "stock": stock } })
            .await
            .unwrap();
    };
    left(0).await;
    let _turn = TURN.lock().await;
    let node = Node::start(&app, "slow").await;
    let there = Browser::new(&node.base);
    let order = async |token: &str, product: &Value| {
        there.post("/api/order/create-order").bearer(token).json(&checkout(product)).await
    };
    // Until this is given up, what ann orders cannot be written.
    let mut session = app.db.client().start_session().await.unwrap();
    session.start_transaction().await.unwrap();
    let mugs = app.db.raw::<Document>("products");
    let touched = mugs.update_one(doc! { "name": "mug" }, doc! { "$set": { "touched": true } });
    touched.session(&mut session).await.unwrap();
    // The answers are the last that is read for a checkout.
    let before = node.count_reads(&app, RememberedAnswer::COLLECTION).await;
    let (first, (second, third)) = tokio::join!(order(&ann.token, &mug), async {
        until_read(&app, before + 1).await;
        tokio::join!(order(&cay.token, &cup), async {
            until_read(&app, before + 2).await;
            left(5).await;
            tokio::join!(order(&dee.token, &cup), async {
                until_read(&app, before + 3).await;
                session.abort_transaction().await.unwrap();
            })
            .0
        })
    });
    node.lose_answers(&app, 0).await;
    first.expect(201);
    // Cay came too early, unless all was read again.
    drop(second);
    third.expect(201);
    node.server.stop().await;
}

#[tokio::test]
async fn a_withdrawal_whose_commit_is_never_answered_does_not_claim_that_nothing_was_changed() {
    let app = TestApp::start().await;
    let bob = rich(&app, "bob").await;
    let _turn = TURN.lock().await;
    let node = Node::start(&app, "payout").await;
    node.lose_answers(&app, ALL).await;
    let there = Browser::new(&node.base);
    let call = there.post("/api/withDraw/create-withdraw-request").bearer(&bob.token);
    let refused = call.json(&json!({ "amount": 60 })).await.refused(503, "unavailable");
    node.lose_answers(&app, 0).await;
    assert!(refused["message"].as_str().unwrap().contains("not known"), "{refused}");
    assert_eq!(app.db.of::<Withdrawal>().count_documents(doc! {}).await.unwrap(), 1);
    let shop = app.db.raw::<Document>("shops").find_one(doc! { "_id": bob.id }).await.unwrap().unwrap();
    assert_eq!(shared::lenient::as_int(shop.get("balanceMinor").unwrap()), Some(4_000));
    assert_books_balance(&app).await;
    node.server.stop().await;
}

#[tokio::test]
async fn with_a_key_the_answer_is_given_although_the_commit_was_never_answered() {
    let app = TestApp::start().await;
    let bob = rich(&app, "bob").await;
    let _turn = TURN.lock().await;
    let node = Node::start(&app, "keyed").await;
    node.lose_answers(&app, ALL).await;
    let there = Browser::new(&node.base);
    let call = there.post("/api/withDraw/create-withdraw-request").bearer(&bob.token);
    let paid_out = call.header("Idempotency-Key", "1").json(&json!({ "amount": 60 })).await.expect(201);
    let call = there.post("/api/product/create-product").bearer(&bob.token);
    let put_up = call.header("Idempotency-Key", "1").form(bob.listing_form("cup", "10", 5)).await.expect(201);
    node.lose_answers(&app, 0).await;
    assert_eq!(app.db.of::<Withdrawal>().count_documents(doc! {}).await.unwrap(), 1);
    let again = bob.post("/api/withDraw/create-withdraw-request").header("Idempotency-Key", "1");
    assert_eq!(again.json(&json!({ "amount": 60 })).await.expect(201), paid_out);
    // It was no repetition, so its picture is in use.
    super::mail::nothing_is_due(&app).await;
    let picture = put_up["product"]["images"][0]["url"].as_str().unwrap().to_owned();
    assert_eq!(app.browser().get(picture.trim_start_matches(&app.config.public_url)).await.status, 200);
    node.server.stop().await;
}
