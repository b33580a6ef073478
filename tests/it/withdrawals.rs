//! Withdrawals.

use bson::{Bson, Document, doc};
use futures_util::future::join_all;
use serde_json::{Value, json};
use shared::{
    audit,
    id::Id,
    ledger,
    model::{LedgerEntry, ROLE_ADMIN, Shop, User, Withdrawal},
    money::Money,
};
use tests::{Answer, Browser, Buyer, Seller, TestApp, legacy, mongo::TestDatabase};

use crate::mail::outbox_is_empty;

/// Gives a shop money the way a delivery does.
pub async fn earn(app: &TestApp, seller: &Seller, minor: i64) {
    let (shop, now) = (seller.id, app.clock.now());
    app.db
        .transaction::<_, mongodb::error::Error, _>(|session| {
            let db = app.db.clone();
            Box::pin(async move {
                let lines = vec![
                    ledger::line(ledger::shop_account(shop), Money::from_minor(minor)),
                    ledger::line("cod", Money::from_minor(-minor)),
                ];
                ledger::book(&db, session, format!("test:{shop}"), now, lines).await?;
                ledger::credit(&db, session, shop, Money::from_minor(minor), "Credited", now).await
            })
        })
        .await
        .unwrap();
}

pub async fn add_bank(seller: &Seller) {
    let bank = json!({ "withdrawMethod": { "bankName": "B", "bankCountry": "PK", "bankSwiftCode": "S",
        "bankAccountNumber": "12345678", "bankHolderName": "Bob", "bankAddress": "A" } });
    seller.put("/api/shop/update-payment-methods").json(&bank).await.expect(201);
}

async fn balance(app: &TestApp, seller: &Seller) -> Option<i64> {
    app.db.of::<Shop>().find_one(doc! { "_id": seller.id }).await.unwrap().unwrap().balance_minor
}

const REQUEST: &str = "/api/withDraw/create-withdraw-request";

#[tokio::test]
async fn a_withdrawal_takes_its_amount_from_the_balance_and_is_listed() {
    let app = TestApp::start().await;
    let bob = app.seller("bob").await;
    earn(&app, &bob, 20_050).await;
    add_bank(&bob).await;
    let made = bob.post(REQUEST).json(&json!({ "amount": "60.50" })).await.expect(201);
    assert_eq!(made["withdraw"]["amount"], json!(60.5));
    assert_eq!(made["withdraw"]["status"], "Processing");
    assert_eq!(balance(&app, &bob).await, Some(14_000));
    let list = bob.get("/api/withDraw/get-withdraw-requests").await.expect(200);
    assert_eq!(list["withdraws"], json!([made["withdraw"]]));
    let shown = bob.get(&format!("/api/shop/get-shop-info/{}", bob.id)).await.expect(200);
    assert_eq!(shown["sellerInfo"]["availableBalance"], json!(140));
    // The bank details are kept with the request, for whoever pays it out.
    let stored: Withdrawal = app.db.of::<Withdrawal>().find_one(doc! {}).await.unwrap().unwrap();
    assert_eq!(stored.seller.method.unwrap().bank_account_number, "12345678");
}

#[tokio::test]
async fn d11_no_withdrawal_below_the_minimum_above_the_balance_or_without_a_bank() {
    let app = TestApp::start().await;
    let bob = app.seller("bob").await;
    earn(&app, &bob, 10_000).await;
    bob.post(REQUEST).json(&json!({ "amount": 60 })).await.refused(409, "no_withdraw_method");
    add_bank(&bob).await;
    for amount in [
        json!(49.99),
        json!(0),
        json!(-1000),
        json!("-1000"),
        json!(""),
        Value::Null,
        json!("lots"),
        json!(60.001),
        json!("1e309"),
        json!("NaN"),
    ] {
        let refused =
            bob.post(REQUEST).json(&json!({ "amount": amount })).await.refused(400, "invalid_input");
        assert_eq!(refused["errors"][0]["field"], "amount");
    }
    let refused =
        bob.post(REQUEST).json(&json!({ "amount": 100.01 })).await.refused(409, "insufficient_balance");
    assert!(refused["message"].as_str().unwrap().contains("100.00"), "{refused}");
    bob.post(REQUEST).json(&json!({ "amount": { "$gt": 0 } })).await.refused(400, "malformed_json");
    assert_eq!(balance(&app, &bob).await, Some(10_000));
}

#[tokio::test]
async fn many_withdrawals_of_everything_at_once_pay_out_once() {
    let app = TestApp::start().await;
    let bob = app.seller("bob").await;
    earn(&app, &bob, 10_000).await;
    add_bank(&bob).await;
    let calls = (0..16).map(|_| bob.post(REQUEST).json(&json!({ "amount": 100 })).into_future());
    let statuses: Vec<u16> = join_all(calls).await.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 1, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 409).count(), 15, "{statuses:?}");
    assert_eq!(balance(&app, &bob).await, Some(0));
    assert_eq!(app.db.of::<Withdrawal>().count_documents(doc! {}).await.unwrap(), 1);
}

#[tokio::test]
async fn withdrawals_are_the_sellers_own() {
    let app = TestApp::start().await;
    let (bob, mal, ann) = tokio::join!(app.seller("bob"), app.seller("mal"), app.buyer("ann"));
    earn(&app, &bob, 10_000).await;
    add_bank(&bob).await;
    bob.post(REQUEST).json(&json!({ "amount": 50 })).await.expect(201);
    let list = "/api/withDraw/get-withdraw-requests";
    assert_eq!(mal.get(list).await.expect(200)["withdraws"], json!([]));
    ann.get(list).await.refused(401, "unauthenticated");
    ann.post(REQUEST).json(&json!({ "amount": 50 })).await.refused(401, "unauthenticated");
    app.browser().post(REQUEST).json(&json!({ "amount": 50 })).await.refused(401, "unauthenticated");
}

const ALL: &str = "/api/withDraw/get-all-withdraw-request";

pub(crate) async fn request(seller: &Seller, amount: i64) -> String {
    let made = seller.post(REQUEST).json(&json!({ "amount": amount })).await.expect(201);
    made["withdraw"]["_id"].as_str().unwrap().to_owned()
}

fn address(id: &str) -> String {
    format!("/api/withDraw/update-withdraw-request/{id}")
}

pub(crate) async fn decide(admin: &Buyer, id: &str, body: Value) -> Answer {
    admin.put(&address(id)).json(&body).await
}

async fn stored(app: &TestApp, id: &str) -> Withdrawal {
    let id = id.parse::<Id<Withdrawal>>().unwrap();
    app.db.of::<Withdrawal>().find_one(doc! { "_id": id }).await.unwrap().unwrap()
}

async fn entries(app: &TestApp, from: &str) -> u64 {
    let filter = doc! { "_id": { "$regex": format!("^{from}:") } };
    app.db.of::<LedgerEntry>().count_documents(filter).await.unwrap()
}

async fn assert_books_balance(app: &TestApp) {
    assert_eq!(audit::run(&app.db).await.unwrap().differences, Vec::<String>::new());
}

/// A shop with that much, and somebody who may decide.
pub(crate) async fn rich(app: &TestApp, minor: i64) -> (Seller, Buyer) {
    let (bob, root) = tokio::join!(app.seller("bob"), app.admin("root"));
    earn(app, &bob, minor).await;
    add_bank(&bob).await;
    (bob, root)
}

#[tokio::test]
async fn an_approved_withdrawal_has_succeeded_and_its_shop_is_told() {
    let app = TestApp::start().await;
    let (bob, root) = rich(&app, 20_000).await;
    let id = request(&bob, 60).await;
    let said = decide(&root, &id, json!({ "status": "Succeeded" })).await.expect(200);
    let paid = &said["withdraw"];
    assert_eq!((&paid["status"], &paid["decidedBy"]), (&json!("Succeeded"), &json!(root.id.hex())));
    assert_eq!(paid["seller"]["withdrawMethod"]["bankAccountNumber"], "12345678");
    let mail = app.mails().await_mail_about(&bob.email, "Your withdrawal was paid out").await;
    assert!(mail.text().contains("60.00 USD") && !mail.text().contains("12345678"), "{}", mail.text());
    // Asked again, it is what it was, and nobody is told twice.
    let again = decide(&root, &id, json!({ "status": "Succeeded" })).await.expect(200);
    assert_eq!(again["withdraw"], *paid);
    outbox_is_empty(&app).await;
    assert_eq!(app.mails().count_about(&bob.email, "paid out"), 1);
    assert_eq!(balance(&app, &bob).await, Some(14_000));
    let refused = decide(&root, &id, json!({ "status": "Rejected" })).await.refused(409, "wrong_status");
    let message = refused["message"].as_str().unwrap();
    assert!(message.contains("Succeeded") && message.contains("Rejected"), "{message}");
    // The shop sees the state, and its movement has it too; the bank details it does not see.
    let own = bob.get("/api/withDraw/get-withdraw-requests").await.expect(200);
    assert_eq!(own["withdraws"][0]["status"], "Succeeded");
    assert!(!own.to_string().contains("12345678"));
    let me = bob.get("/api/shop/getSeller").await.expect(201)["seller"].clone();
    let movement = me["transections"].as_array().unwrap().last().unwrap();
    assert_eq!((&movement["_id"], &movement["status"]), (&json!(id), &json!("Succeeded")));
    assert_books_balance(&app).await;
}

#[tokio::test]
async fn a_rejected_withdrawal_is_back_on_the_balance_and_the_shop_reads_why() {
    let app = TestApp::start().await;
    let (bob, root) = rich(&app, 20_000).await;
    let id = request(&bob, 150).await;
    let body = json!({ "status": "Rejected", "reason": " No such account. " });
    let said = decide(&root, &id, body.clone()).await.expect(200);
    assert!(said["message"].as_str().unwrap().contains("150.00"), "{said}");
    assert_eq!(decide(&root, &id, body).await.expect(200)["withdraw"], said["withdraw"]);
    assert_eq!(balance(&app, &bob).await, Some(20_000));
    let mail = app.mails().await_mail_about(&bob.email, "rejected").await;
    assert!(mail.text().contains("150.00 USD is back"), "{}", mail.text());
    assert!(mail.text().contains("Reason: No such account."), "{}", mail.text());
    decide(&root, &id, json!({ "status": "Succeeded" })).await.refused(409, "wrong_status");
    let own = bob.get("/api/withDraw/get-withdraw-requests").await.expect(200);
    assert_eq!(own["withdraws"][0]["reason"], "No such account.");
    let me = bob.get("/api/shop/getSeller").await.expect(201)["seller"].clone();
    let movements: Vec<(f64, &str)> = me["transections"].as_array().unwrap()[1..]
        .iter()
        .map(|movement| (movement["amount"].as_f64().unwrap(), movement["status"].as_str().unwrap()))
        .collect();
    assert_eq!(movements, [(-150.0, "Rejected"), (150.0, "Returned")]);
    // It is money like any other.
    request(&bob, 200).await;
    assert_eq!((balance(&app, &bob).await, entries(&app, "withdraw-rejected").await), (Some(0), 1));
    outbox_is_empty(&app).await;
    assert_eq!(app.mails().count_about(&bob.email, "rejected"), 1);
    assert_books_balance(&app).await;
}

#[tokio::test]
async fn a_decision_taken_twenty_times_at_once_on_two_nodes_is_taken_once() {
    let app = TestApp::start().await;
    let node = app.another_node().await;
    let other = Browser::new(&node.base);
    let (bob, root) = rich(&app, 20_000).await;
    for (status, left) in [("Succeeded", 10_000), ("Rejected", 10_000)] {
        let id = request(&bob, 100).await;
        let body = json!({ "status": status });
        let calls = (0..20).map(|n| {
            let browser = if n % 2 == 0 { &root.browser } else { &other };
            browser.put(&address(&id)).bearer(&root.token).json(&body).into_future()
        });
        for answer in join_all(calls).await {
            assert_eq!(answer.expect(200)["withdraw"]["status"], status);
        }
        assert_eq!(balance(&app, &bob).await, Some(left), "{status}");
        assert_eq!(stored(&app, &id).await.version, 1);
    }
    outbox_is_empty(&app).await;
    assert_eq!(app.mails().count_about(&bob.email, "Your withdrawal was"), 2);
    assert_eq!((entries(&app, "withdraw").await, entries(&app, "withdraw-rejected").await), (2, 1));
    assert_books_balance(&app).await;
}

#[tokio::test]
async fn of_approval_and_rejection_at_once_one_wins_and_the_books_balance() {
    let app = TestApp::start().await;
    let node = app.another_node().await;
    let other = Browser::new(&node.base);
    let (bob, root) = rich(&app, 100_000).await;
    let mut left = 100_000;
    for _ in 0..8 {
        let id = request(&bob, 100).await;
        let calls = (0..8).map(|n| {
            let browser = if n % 4 < 2 { &root.browser } else { &other };
            let status = if n % 2 == 0 { "Succeeded" } else { "Rejected" };
            browser.put(&address(&id)).bearer(&root.token).json(&json!({ "status": status })).into_future()
        });
        let answers = join_all(calls).await;
        let decided = stored(&app, &id).await.status;
        left -= if decided == "Succeeded" { 10_000 } else { 0 };
        for (n, answer) in answers.iter().enumerate() {
            let status = if n % 2 == 0 { "Succeeded" } else { "Rejected" };
            if status == decided {
                answer.expect(200);
            } else {
                answer.refused(409, "wrong_status");
            }
        }
        assert_eq!(balance(&app, &bob).await, Some(left), "{decided}");
    }
    outbox_is_empty(&app).await;
    assert_eq!(app.mails().count_about(&bob.email, "Your withdrawal was"), 8);
    assert_books_balance(&app).await;
}

#[tokio::test]
async fn full_withdrawals_and_rejections_among_each_other_never_pay_out_more_than_there_is() {
    let app = TestApp::start().await;
    let node = app.another_node().await;
    let other = Browser::new(&node.base);
    let (bob, root) = rich(&app, 10_000).await;
    // Everybody asks for everything; whoever gets it is rejected at once, so that the next may.
    let worker = async |n: usize| {
        let browser = if n.is_multiple_of(2) { &bob.browser } else { &other };
        let mut won = 0;
        for _ in 0..4 {
            let call = browser.post(REQUEST).bearer(&bob.token).json(&json!({ "amount": 100 }));
            let answer = call.await;
            if answer.status != 201 {
                answer.refused(409, "insufficient_balance");
                continue;
            }
            won += 1;
            let made = answer.expect(201);
            let id = made["withdraw"]["_id"].as_str().unwrap();
            decide(&root, id, json!({ "status": "Rejected" })).await.expect(200);
        }
        won
    };
    let won: u64 = join_all((0..32).map(worker)).await.into_iter().sum();
    assert!(won > 0);
    assert_eq!(balance(&app, &bob).await, Some(10_000));
    assert_eq!((entries(&app, "withdraw").await, entries(&app, "withdraw-rejected").await), (won, won));
    assert_eq!(app.db.of::<Withdrawal>().count_documents(doc! {}).await.unwrap(), won);
    assert_books_balance(&app).await;
}

#[tokio::test]
async fn administrators_alone_decide_and_never_on_a_withdrawal_of_their_own() {
    let app = TestApp::start().await;
    let (bob, root) = rich(&app, 20_000).await;
    let (mal, ann) = tokio::join!(app.seller("mal"), app.buyer("ann"));
    let id = request(&bob, 60).await;
    let body = json!({ "status": "Succeeded" });
    for (browser, status, code) in [
        (&app.browser(), 401, "unauthenticated"),
        (&bob.browser, 403, "admins_only"),
        (&mal.browser, 403, "admins_only"),
        (&ann.browser, 403, "admins_only"),
    ] {
        browser.get(ALL).await.refused(status, code);
        browser.put(&address(&id)).json(&body).await.refused(status, code);
    }
    // An administrator with the shop's address, whatever the letters, or logged in to the shop.
    let twin = app.admin("twin").await;
    let same = doc! { "$set": { "email": "BOB@Example.com" } };
    app.db.of::<User>().update_one(doc! { "_id": twin.id }, same).await.unwrap();
    decide(&twin, &id, body.clone()).await.refused(403, "four_eyes");
    let seller_cookie = bob.cookie(shared::auth::SELLER_COOKIE).unwrap().value;
    let both = app.admin("both").await;
    both.set_cookie(shared::auth::SELLER_COOKIE, &seller_cookie);
    decide(&both, &id, json!({ "status": "Rejected" })).await.refused(403, "four_eyes");
    assert_eq!(stored(&app, &id).await.status, "Processing");
    // Another shop's session is none of this shop's.
    let other = app.admin("other").await;
    other.set_cookie(shared::auth::SELLER_COOKIE, &mal.token);
    decide(&other, &id, body).await.expect(200);
    root.get(ALL).await.expect(200);
}

#[tokio::test]
async fn a_client_that_names_the_shop_alone_approves_and_never_anothers() {
    let app = TestApp::start().await;
    let (bob, root) = rich(&app, 20_000).await;
    let mal = app.seller("mal").await;
    let id = request(&bob, 60).await;
    decide(&root, &id, json!({ "sellerId": mal.id.hex() })).await.refused(409, "other_seller");
    let both = json!({ "sellerId": "nonsense", "status": "Rejected" });
    decide(&root, &id, both).await.refused(409, "other_seller");
    assert_eq!(stored(&app, &id).await.status, "Processing");
    let said = decide(&root, &id, json!({ "sellerId": bob.id.hex() })).await.expect(200);
    assert_eq!(said["withdraw"]["status"], "Succeeded");
}

#[tokio::test]
async fn a_decision_without_sense_changes_nothing() {
    let app = TestApp::start().await;
    let (bob, root) = rich(&app, 20_000).await;
    let id = request(&bob, 60).await;
    let shop = bob.id.hex();
    for body in [
        json!({}),
        json!({ "status": "Processing" }),
        json!({ "status": "paid" }),
        json!({ "status": "" }),
        // Nobody chose.
        json!({ "status": "", "sellerId": shop }),
        json!({ "status": null, "sellerId": shop }),
    ] {
        let refused = decide(&root, &id, body).await.refused(400, "invalid_input");
        assert_eq!(refused["errors"][0]["field"], "status");
    }
    for reason in ["x".repeat(501), "two\nlines".to_owned()] {
        let body = json!({ "status": "Rejected", "reason": reason });
        assert_eq!(
            decide(&root, &id, body).await.refused(400, "invalid_input")["errors"][0]["field"],
            "reason"
        );
    }
    decide(&root, &id, json!({ "status": { "$ne": 1 } })).await.refused(400, "malformed_json");
    decide(&root, &id, json!({ "sellerId": { "$ne": 1 } })).await.refused(400, "malformed_json");
    let ok = json!({ "status": "Succeeded" });
    decide(&root, "nonsense", ok.clone()).await.refused(400, "invalid_id");
    decide(&root, &Id::<Withdrawal>::new().hex(), ok).await.refused(404, "withdrawal_not_found");
    assert_eq!((stored(&app, &id).await.status.as_str(), stored(&app, &id).await.version), ("Processing", 0));
    for (query, field) in [
        ("status=paid", "status"),
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=many", "limit"),
        ("cursor=abc", "cursor"),
    ] {
        let refused = root.get(&format!("{ALL}?{query}")).await.refused(400, "invalid_input");
        assert_eq!(refused["errors"][0]["field"], field);
    }
}

#[tokio::test]
async fn administrators_turn_the_pages_of_all_withdrawals_newest_first() {
    let app = TestApp::start().await;
    let (bob, root) = rich(&app, 100_000).await;
    let mut ids = Vec::new();
    for n in 0..7 {
        let id = request(&bob, 50 + n).await;
        if n % 2 == 0 {
            decide(&root, &id, json!({ "status": "Rejected" })).await.expect(200);
        }
        ids.insert(0, id);
    }
    let pages = async |query: &str| {
        let (mut found, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = root.get(&format!("{ALL}?limit=2{query}{cursor}")).await.expect(200);
            let list = page["withdraws"].as_array().unwrap().clone();
            assert!(list.len() <= 2);
            found.extend(list.into_iter().map(|one| one["_id"].as_str().unwrap().to_owned()));
            match page["nextCursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return found,
            }
        }
    };
    assert_eq!(pages("").await, ids);
    let odd: Vec<String> = ids.iter().skip(1).step_by(2).cloned().collect();
    assert_eq!(pages("&status=Processing").await, odd);
    let even: Vec<String> = ids.iter().step_by(2).cloned().collect();
    assert_eq!(pages("&status=Rejected").await, even);
    assert_eq!(pages("&status=Succeeded").await, Vec::<String>::new());
}

#[tokio::test]
async fn a_withdrawal_of_the_old_server_gives_back_nothing_that_our_ledger_never_took() {
    let database = TestDatabase::new().await;
    legacy::plant(&shared::db::Db::connect(&database.uri, "souk-test").await.unwrap()).await;
    let app = TestApp::on(database, &[]).await;
    let root = app.buyer("root").await;
    let role = doc! { "$set": { "role": ROLE_ADMIN } };
    app.db.of::<User>().update_one(doc! { "_id": root.id }, role).await.unwrap();
    let good = doc! { "_id": legacy::GOOD.parse::<Id<Shop>>().unwrap() };
    let copy = |status: Bson| {
        let id = Id::<Withdrawal>::new();
        let seller = doc! { "_id": good.get_object_id("_id").unwrap(), "name": "Good Goods" };
        (id.hex(), doc! { "_id": id, "seller": seller, "amount": 50, "status": status })
    };
    let withdraws = app.db.raw::<Document>("withdraws");
    let ((succeeded, first), (odd, second), (blank, third)) =
        (copy("succeed".into()), copy("on hold".into()), copy(Bson::Null));
    withdraws.insert_many([first, second, third]).await.unwrap();
    let listed = root.get(ALL).await.expect(200);
    let status = |id: &str| {
        let all = listed["withdraws"].as_array().unwrap();
        all.iter().find(|one| one["_id"] == id).unwrap()["status"].clone()
    };
    assert_eq!(
        (status(&succeeded), status(&odd), status(&blank)),
        (json!("Succeeded"), json!("on hold"), json!("Processing"))
    );
    let processing = root.get(&format!("{ALL}?status=Processing")).await.expect(200);
    assert_eq!(processing["withdraws"].as_array().unwrap().len(), 3);

    let (request, nobodys) = ("650000000000000000003001", "650000000000000000003002");
    let said = decide(&root, request, json!({ "status": "Rejected" })).await.expect(200);
    assert!(said["message"].as_str().unwrap().contains("Nothing was put back"), "{said}");
    decide(&root, &blank, json!({ "status": "Succeeded" })).await.expect(200);
    decide(&root, &succeeded, json!({ "status": "Succeeded" })).await.expect(200);
    decide(&root, &succeeded, json!({ "status": "Rejected" })).await.refused(409, "wrong_status");
    decide(&root, &odd, json!({ "status": "Rejected" })).await.refused(409, "wrong_status");
    // A negative amount of nobody's can only be rejected.
    decide(&root, nobodys, json!({ "status": "Succeeded" })).await.refused(409, "not_payable");
    decide(&root, nobodys, json!({ "status": "Rejected" })).await.expect(200);
    let shop = app.db.of::<Shop>().find_one(good).await.unwrap().unwrap();
    assert_eq!(shop.balance_minor, Some(16_632));
    assert_eq!(entries(&app, "withdraw-rejected").await, 0);
    assert_books_balance(&app).await;
}
