//! Withdrawals.

use bson::doc;
use futures_util::future::join_all;
use serde_json::{Value, json};
use shared::{
    ledger,
    model::{Shop, Withdrawal},
    money::Money,
};
use tests::{Seller, TestApp};

/// Gives a shop money the way a delivery does.
async fn earn(app: &TestApp, seller: &Seller, minor: i64) {
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

async fn add_bank(seller: &Seller) {
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
