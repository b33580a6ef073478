//! A large withdrawal takes two administrators.

use bson::doc;
use futures_util::future::join_all;
use serde_json::{Value, json};
use shared::{
    audit,
    id::Id,
    model::{AuditEntry, LedgerEntry, User, Withdrawal},
};
use tests::TestApp;

use crate::withdrawals::{decide, request, rich};

async fn status(app: &TestApp, id: &str) -> String {
    let id = id.parse::<Id<Withdrawal>>().unwrap();
    app.db.of::<Withdrawal>().find_one(doc! { "_id": id }).await.unwrap().unwrap().status
}

#[tokio::test]
async fn a_large_withdrawal_is_paid_out_by_the_second_of_two() {
    let app = TestApp::with(&[("WITHDRAWAL_FOUR_EYES", "100")]).await;
    let (bob, root) = rich(&app, 100_000).await;
    let (mal, third) = (app.admin("mal").await, app.admin("third").await);
    let (small, large, other) = (request(&bob, 99).await, request(&bob, 100).await, request(&bob, 200).await);
    let yes = || json!({ "status": "Succeeded" });
    decide(&root, &small, yes()).await.expect(200);
    assert_eq!(status(&app, &small).await, "Succeeded");
    let first = decide(&root, &large, yes()).await.expect(200);
    assert_eq!(first["withdraw"]["status"], "Processing");
    assert_eq!(first["withdraw"]["approvedBy"], json!(root.id.hex()));
    assert!(first["message"].as_str().unwrap().contains("another administrator"), "{first}");
    // The same one again is not another.
    let again = decide(&root, &large, yes()).await.expect(200);
    assert_eq!((&again["withdraw"]["status"], &again["withdraw"]["__v"]), (&json!("Processing"), &json!(1)));
    let paid = decide(&mal, &large, yes()).await.expect(200);
    assert_eq!(paid["withdraw"]["status"], "Succeeded");
    assert_eq!(paid["withdraw"]["decidedBy"], json!(mal.id.hex()));
    assert_eq!(paid["withdraw"]["approvedBy"], json!(root.id.hex()));
    // Whoever approved it first is an administrator no more: their word does not count any more.
    decide(&mal, &other, yes()).await.expect(200);
    let demoted = doc! { "$set": { "role": "user" } };
    app.db.of::<User>().update_one(doc! { "_id": mal.id }, demoted).await.unwrap();
    let anew = decide(&root, &other, yes()).await.expect(200);
    assert_eq!(anew["withdraw"]["approvedBy"], json!(root.id.hex()));
    assert_eq!(anew["withdraw"]["status"], "Processing");
    // Anybody may reject it alone.
    let rejected = decide(&third, &other, json!({ "status": "Rejected" })).await.expect(200);
    assert_eq!(rejected["withdraw"]["status"], "Rejected");
    let said =
        app.db.of::<AuditEntry>().count_documents(doc! { "note": "first approval of two" }).await.unwrap();
    assert_eq!(said, 3);
    assert_eq!(audit::run(&app.db).await.unwrap().differences, Vec::<String>::new());
}

#[tokio::test]
async fn many_approvals_at_once_by_one_are_one_and_by_two_pay_once() {
    let app = TestApp::with(&[("WITHDRAWAL_FOUR_EYES", "100")]).await;
    let (bob, root) = rich(&app, 100_000).await;
    let mal = app.admin("mal").await;
    let yes = || json!({ "status": "Succeeded" });
    let alone = request(&bob, 150).await;
    for answer in join_all((0..12).map(|_| decide(&root, &alone, yes()))).await {
        answer.expect(200);
    }
    assert_eq!(status(&app, &alone).await, "Processing");
    let both = request(&bob, 150).await;
    let calls = (0..12).map(|n| decide(if n % 2 == 0 { &root } else { &mal }, &both, yes()));
    let answers: Vec<Value> = join_all(calls).await.iter().map(|answer| answer.expect(200)).collect();
    assert_eq!(status(&app, &both).await, "Succeeded", "{answers:?}");
    let paid =
        answers.iter().filter(|answer| answer["message"] == "The withdrawal is marked as paid out").count();
    assert_eq!(paid, 1, "{answers:?}");
    let booked = doc! { "_id": { "$regex": "^withdraw:" } };
    assert_eq!(app.db.of::<LedgerEntry>().count_documents(booked).await.unwrap(), 2);
    assert_eq!(audit::run(&app.db).await.unwrap().differences, Vec::<String>::new());
}

#[tokio::test]
async fn both_lists_of_withdrawals_are_one_with_a_total() {
    let app = TestApp::with(&[("WITHDRAWAL_FOUR_EYES", "0")]).await;
    let (bob, root) = rich(&app, 1_000_000).await;
    let (small, large) = (request(&bob, 60).await, request(&bob, 5_000).await);
    // With 0 one is enough, whatever the amount.
    decide(&root, &large, json!({ "status": "Succeeded" })).await.expect(200);
    for list in ["/api/withDraw/get-all-withdraw-request", "/api/admin/withdrawals"] {
        let all = root.get(&format!("{list}?sort=amount&limit=1&shop={}", bob.id)).await.expect(200);
        assert_eq!((&all["total"], &all["withdraws"][0]["_id"]), (&json!(2), &json!(large)), "{list}");
        let next = all["nextCursor"].as_str().unwrap();
        let rest = root.get(&format!("{list}?sort=amount&cursor={next}")).await.expect(200);
        assert_eq!(rest["withdraws"][0]["_id"], json!(small), "{list}");
        assert_eq!(rest["nextCursor"], Value::Null);
        let waiting = root.get(&format!("{list}?status=Processing")).await.expect(200);
        assert_eq!(
            (&waiting["total"], &waiting["withdraws"][0]["_id"]),
            (&json!(1), &json!(small)),
            "{list}"
        );
    }
}
