//! The books, audited: what `souk doctor` says about money.

use bson::{Document, doc};
use shared::{ledger, money::Money};
use tests::TestApp;

#[tokio::test]
async fn a_difference_of_one_cent_is_found_and_named() {
    let app = TestApp::start().await;
    let (bob, eve) = (app.seller("bob").await, app.seller("eve").await);
    let amount = Money::from_minor(1_999);
    let now = app.clock.now();
    let (db, shop) = (app.db.clone(), bob.id);
    let booked: anyhow::Result<()> = app
        .db
        .transaction(|session| {
            let db = db.clone();
            Box::pin(async move {
                ledger::credit(&db, session, shop, amount, "Credited", now).await?;
                let lines = vec![
                    ledger::line(ledger::shop_account(shop), amount),
                    ledger::line(ledger::LEGACY, -amount),
                ];
                Ok(ledger::book(&db, session, "test:1".to_owned(), now, lines).await?)
            })
        })
        .await;
    booked.unwrap();
    assert_eq!(ledger::audit(&app.db).await.unwrap(), Vec::<String>::new());

    let shops = app.db.raw::<Document>("shops");
    shops.update_one(doc! { "_id": eve.id }, doc! { "$inc": { "balanceMinor": 1 } }).await.unwrap();
    let entries = app.db.raw::<Document>("ledger");
    entries
        .insert_one(doc! { "_id": "test:2", "at": now, "lines": [{ "account": "cod", "minor": 5 }] })
        .await
        .unwrap();
    let found = ledger::audit(&app.db).await.unwrap().join("\n");
    assert!(found.contains("test:2") && found.contains("0.05"), "{found}");
    assert!(found.contains("eve") && found.contains("0.01"), "{found}");
    assert!(!found.contains("bob"), "{found}");
}
