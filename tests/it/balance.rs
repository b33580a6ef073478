//! `GET /api/shop/balance`: every cent explained.

use bson::doc;
use futures_util::future::{join, join_all};
use serde_json::{Value, json};
use shared::{
    audit,
    clock::plus,
    db::Db,
    ledger,
    model::{LedgerEntry, Shop},
    money::Money,
};
use tests::{Answer, Buyer, Seller, TestApp, legacy, mongo::TestDatabase};

const BALANCE: &str = "/api/shop/balance";

/// In cents.
fn cents(amount: &Value) -> i64 {
    let text = format!("{:.2}", amount.as_f64().unwrap_or_else(|| panic!("{amount}")));
    Money::parse(&text).unwrap().minor()
}

fn entries(page: &Value) -> &[Value] {
    page["entries"].as_array().unwrap()
}

/// A page that holds all there is: every entry leads to the next, from nothing to the balance.
fn adds_up(answer: &Answer) -> Value {
    let page = answer.expect(200);
    assert!(page["nextCursor"].is_null(), "{page}");
    let mut balance = 0;
    for entry in entries(&page).iter().rev() {
        balance += cents(&entry["amount"]);
        assert_eq!(cents(&entry["balance"]), balance, "{entry} in {page}");
        if entry.get("fee").is_some() {
            let amount = cents(&entry["gross"]) - cents(&entry["fee"]);
            assert_eq!(amount, cents(&entry["amount"]), "{entry}");
        }
    }
    assert_eq!(cents(&page["balance"]), balance, "{page}");
    let total = |name: &str| cents(&page["totals"][name]);
    let (plus, minus) = (
        total("opening") + total("earned") + total("other"),
        total("fees") + total("refunded") + total("withdrawn"),
    );
    assert_eq!(plus - minus, balance, "{page}");
    page
}

async fn delivered(buyer: &Buyer, seller: &Seller, cup: &Value, count: i64) -> String {
    let body = json!({
        "cart": [{ "_id": cup["_id"], "count": count }],
        "shippingAddress": { "address1": "1 Elm Street", "address2": "", "country": "PK", "city": "PB" },
        "totalPrice": null,
        "paymentInfo": { "type": "Cash on Delivery" },
    });
    let call = buyer.post("/api/order/create-order").header("Idempotency-Key", &format!("{count}"));
    let placed = call.json(&body).await.expect(201);
    let order = placed["orders"][0]["_id"].as_str().unwrap().to_owned();
    let path = format!("/api/order/update-order-status/{order}");
    seller.put(&path).json(&json!({ "status": "Delivered" })).await.expect(200);
    order
}

async fn refund(buyer: &Buyer, seller: &Seller, order: &str, cup: &Value, count: i64) {
    let items = json!({ "items": [{ "id": cup["_id"], "count": count }] });
    buyer.put(&format!("/api/order/refund-order/{order}")).json(&items).await.expect(200);
    let granted = json!({ "status": "Refund Success" });
    seller.put(&format!("/api/order/order-refund-success/{order}")).json(&granted).await.expect(200);
}

/// Credits a shop as a delivery would.
async fn credit(app: &TestApp, seller: &Seller, key: &str, minor: i64, at: bson::DateTime) {
    let shop = seller.id;
    app.db
        .transaction::<_, mongodb::error::Error, _>(|session| {
            let (db, key) = (app.db.clone(), key.to_owned());
            Box::pin(async move {
                let lines = vec![
                    ledger::line("cod", Money::from_minor(-minor)),
                    ledger::line(ledger::shop_account(shop), Money::from_minor(minor)),
                ];
                ledger::book(&db, session, key, at, lines).await?;
                ledger::credit(&db, session, shop, Money::from_minor(minor), "Credited", at).await
            })
        })
        .await
        .unwrap();
}

#[tokio::test]
async fn the_story_of_a_balance_is_told_to_the_cent_at_every_step() {
    let app = TestApp::start().await;
    let (ann, bob, root) = tokio::join!(app.buyer("ann"), app.seller("bob"), app.admin("root"));
    let bank = json!({ "withdrawMethod": { "bankName": "B", "bankCountry": "PK", "bankSwiftCode": "S",
        "bankAccountNumber": "12345678", "bankHolderName": "Bob", "bankAddress": "A" } });
    bob.put("/api/shop/update-payment-methods").json(&bank).await.expect(201);
    let cup = bob.product("cup", "33.33", 100).await;
    let nothing = adds_up(&bob.get(BALANCE).await);
    assert_eq!((&nothing["balance"], &nothing["entries"]), (&json!(0), &json!([])));
    assert_eq!(nothing["currency"], "USD");

    let order = delivered(&ann, &bob, &cup, 3).await;
    app.clock.advance(1000);
    // Three cups are 99.99, shipping 10.00, a tenth of it all 11.00.
    let page = adds_up(&bob.get(BALANCE).await);
    let [sold] = entries(&page) else { panic!("{page}") };
    assert_eq!(
        (&sold["kind"], &sold["orderId"], &sold["id"]),
        (&json!("order"), &json!(order), &json!(format!("delivered:{order}")))
    );
    assert_eq!((&sold["gross"], &sold["fee"], &sold["amount"]), (&json!(109.99), &json!(11), &json!(98.99)));
    let total = |page: &Value, name: &str| page["totals"][name].as_f64().unwrap();
    assert_eq!((total(&page, "earned"), total(&page, "fees")), (109.99, 11.0));

    for left in [2, 1] {
        refund(&ann, &bob, &order, &cup, 1).await;
        app.clock.advance(1000);
        let page = adds_up(&bob.get(BALANCE).await);
        let back = &entries(&page)[0];
        assert_eq!((&back["kind"], &back["orderId"]), (&json!("refund"), &json!(order)));
        assert!(cents(&back["gross"]) < 0 && cents(&back["fee"]) < 0, "{back}");
        assert_eq!(entries(&page).len(), 4 - left);
    }
    delivered(&ann, &bob, &cup, 2).await;
    app.clock.advance(1000);
    let before = cents(&bob.get(BALANCE).await.expect(200)["balance"]);

    let mut requests = Vec::new();
    for rejected in [true, false] {
        let call = bob.post("/api/withDraw/create-withdraw-request").json(&json!({ "amount": 50 }));
        requests.push(call.await.expect(201)["withdraw"]["_id"].as_str().unwrap().to_owned());
        app.clock.advance(1000);
        if rejected {
            let path = format!("/api/withDraw/update-withdraw-request/{}", requests[0]);
            root.put(&path).json(&json!({ "status": "Rejected" })).await.expect(200);
            app.clock.advance(1000);
            let page = adds_up(&bob.get(BALANCE).await);
            assert_eq!(cents(&page["balance"]), before);
            let told: Vec<(&str, f64)> = entries(&page)[..2]
                .iter()
                .map(|entry| (entry["kind"].as_str().unwrap(), entry["amount"].as_f64().unwrap()))
                .collect();
            assert_eq!(told, [("withdrawal rejected", 50.0), ("withdrawal", -50.0)]);
            assert!(entries(&page)[..2].iter().all(|entry| entry["withdrawalId"] == json!(requests[0])));
            assert!(entries(&page)[..2].iter().all(|entry| entry.get("fee").is_none()));
        }
    }
    let path = format!("/api/withDraw/update-withdraw-request/{}", requests[1]);
    root.put(&path).json(&json!({ "status": "Succeeded" })).await.expect(200);
    let page = adds_up(&bob.get(BALANCE).await);
    assert_eq!((cents(&page["balance"]), cents(&page["totals"]["withdrawn"])), (before - 5_000, 5_000));
    let shop = app.db.of::<Shop>().find_one(doc! { "_id": bob.id }).await.unwrap().unwrap();
    assert_eq!(shop.balance_minor, Some(cents(&page["balance"])));
    assert_eq!(audit::run(&app.db).await.unwrap().differences, Vec::<String>::new());
}

#[tokio::test]
async fn what_the_old_server_left_behind_is_the_opening_and_what_is_unknown_is_other() {
    let database = TestDatabase::new().await;
    legacy::plant(&Db::connect(&database.uri, "souk-test").await.unwrap()).await;
    let app = TestApp::on(database, &[]).await;
    let good = app.browser();
    let log_in = json!({ "email": "good@private.test", "password": legacy::PASSWORD });
    good.post("/api/shop/shop-login").json(&log_in).await.expect(200);
    let page = adds_up(&good.get(BALANCE).await);
    let [opening] = entries(&page) else { panic!("{page}") };
    assert_eq!((&opening["kind"], &opening["amount"]), (&json!("opening"), &json!(166.32)));
    assert_eq!(page["totals"]["opening"], 166.32);

    let bob = app.seller("bob").await;
    credit(&app, &bob, "gift:$of:somebody", 5, app.clock.now()).await;
    let page = adds_up(&bob.get(BALANCE).await);
    assert_eq!((&entries(&page)[0]["kind"], &page["totals"]["other"]), (&json!("other"), &json!(0.05)));
}

#[tokio::test]
async fn pages_hold_together_also_when_entries_arrive_between_them_or_share_a_moment() {
    let app = TestApp::start().await;
    let bob = app.seller("bob").await;
    let now = app.clock.now();
    // Three entries a moment, so that pages of four break within one.
    for n in 0..12 {
        credit(&app, &bob, &format!("delivered:{n:024x}"), 100 + n, plus(now, n / 3)).await;
    }
    let whole = adds_up(&bob.get(BALANCE).await);
    let (mut seen, mut cursor, mut late) = (Vec::new(), String::new(), 0);
    loop {
        let page = bob.get(&format!("{BALANCE}?limit=4{cursor}")).await.expect(200);
        assert!(entries(&page).len() <= 4);
        assert_eq!(cents(&page["balance"]), cents(&whole["balance"]) + late);
        seen.extend(entries(&page).to_vec());
        let Some(next) = page["nextCursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
        late += 7;
        credit(&app, &bob, &format!("delivered:{late:024x}x"), 7, plus(now, 1000 + late)).await;
    }
    assert_eq!(seen, entries(&whole), "late arrivals are on top and move nothing below");
    assert_eq!(seen.len(), 12);
}

#[tokio::test]
async fn a_balance_is_the_sum_of_its_entries_at_every_moment_of_a_rush() {
    let app = TestApp::start().await;
    let bob = app.seller("bob").await;
    let credits = join_all((0..6).map(|worker| {
        let (app, bob) = (&app, &bob);
        async move {
            for n in 0..8 {
                let at = plus(app.clock.now(), (worker * 7 + n * 13) % 50 - 25);
                credit(app, bob, &format!("delivered:{worker}{n:023x}"), 1 + n, at).await;
            }
        }
    }));
    let reader = async {
        let mut counts = Vec::new();
        loop {
            let page = adds_up(&bob.get(&format!("{BALANCE}?limit=200")).await);
            counts.push(entries(&page).len());
            if entries(&page).len() == 48 {
                return counts;
            }
        }
    };
    let (_, counts) = join(credits, reader).await;
    assert!(counts.is_sorted(), "{counts:?}");
    assert!(
        counts.iter().any(|count| (1..48).contains(count)),
        "nothing was read during the rush: {counts:?}"
    );
}

#[tokio::test]
async fn a_balance_is_told_to_its_own_shop_alone() {
    let app = TestApp::start().await;
    let (bob, mal, ann, root) =
        tokio::join!(app.seller("bob"), app.seller("mal"), app.buyer("ann"), app.admin("root"));
    for n in 0..3 {
        credit(&app, &bob, &format!("delivered:{n}"), 100, app.clock.now()).await;
    }
    for browser in [&app.browser(), &ann.browser, &root.browser] {
        browser.get(BALANCE).await.refused(401, "unauthenticated");
    }
    let next = bob.get(&format!("{BALANCE}?limit=1")).await.expect(200)["nextCursor"].clone();
    for path in [BALANCE.to_owned(), format!("{BALANCE}?cursor={}", next.as_str().unwrap())] {
        let page = adds_up(&mal.get(&path).await);
        assert_eq!((&page["balance"], &page["entries"]), (&json!(0), &json!([])));
    }
    for (query, field) in [
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=-1", "limit"),
        ("cursor=x", "cursor"),
        ("cursor=1:", "cursor"),
    ] {
        let refused = bob.get(&format!("{BALANCE}?{query}")).await.refused(400, "invalid_input");
        assert_eq!(refused["errors"][0]["field"], field);
    }
    // An operator in the cursor is text like any other.
    for cursor in ["9999999999999:$at", "1:%7B%22$gt%22:1%7D", "-9223372036854775808:x", "0:%00"] {
        bob.get(&format!("{BALANCE}?cursor={cursor}")).await.expect(200);
    }
}

#[tokio::test]
async fn a_page_of_the_balance_is_read_by_its_index() {
    let app = TestApp::start().await;
    let filter = doc! { "lines.account": "shop:x", "at": { "$lte": app.clock.now() } };
    let find = doc! { "find": "ledger", "filter": filter, "sort": { "at": -1, "_id": -1 }, "limit": 5 };
    app.db
        .of::<LedgerEntry>()
        .insert_one(LedgerEntry {
            key: "a".to_owned(),
            at: app.clock.now(),
            lines: vec![ledger::line("shop:x", Money::ZERO), ledger::line("cod", Money::ZERO)],
        })
        .await
        .unwrap();
    let plan = app.db.database().run_command(doc! { "explain": find }).await.unwrap().to_string();
    assert!(plan.contains("ledger_account") && !plan.contains("\"SORT\""), "{plan}");
}
