//! What damaged carts of the old server, extreme amounts and orders that cannot be read must not cost
//! anybody; and damage to the books that only shows where two documents are compared.

use bson::{Bson, Document, doc};
use serde_json::{Value, json};
use shared::{audit, id::Id, model::Order};
use tests::{Buyer, Seller, TestApp, people::in_cash};

use crate::books::legacy_order;

fn id(document: &Value) -> &str {
    document["_id"].as_str().unwrap()
}

fn this(document: &Value) -> Document {
    doc! { "_id": id(document).parse::<Id<Order>>().unwrap() }
}

/// Asks for units of an order, or for all there are, and is granted; gives the order as it is then.
async fn refund(buyer: &Buyer, seller: &Seller, order: &str, asked: Value) -> Value {
    buyer.put(&format!("/api/order/refund-order/{order}")).json(&asked).await.expect(200);
    let path = format!("/api/order/order-refund-success/{order}");
    seller.put(&path).json(&json!({ "status": "Refund Success" })).await.expect(200);
    buyer.get(&format!("/api/order/get-order/{order}")).await.expect(200)["order"].clone()
}

#[tokio::test]
async fn an_old_cart_with_one_listing_on_two_lines_comes_back_once() {
    let app = TestApp::start().await;
    let (ann, bob) = tokio::join!(app.buyer("ann"), app.seller("bob"));
    let cup = bob.product("cup", "100", 10).await;
    let line = |count: i32| doc! { "_id": id(&cup), "discountPrice": 100, "count": count };
    let more = doc! { "cart": [line(1), line(3)], "totalPrice": 440, "shopId": bob.id.hex() };
    let order = legacy_order(&app, &ann, &bob, &cup, more).await;
    bob.set_status(&order, "Delivered").await;
    assert_eq!((app.balance(&bob).await, app.shelf(&cup).await), (39_600, (6, 0, 4)));
    let back = refund(&ann, &bob, &order, json!({})).await;
    assert_eq!((&back["status"], &back["refundedTotal"]), (&json!("Refund Success"), &json!(440)));
    assert_eq!((app.balance(&bob).await, app.shelf(&cup).await), (0, (10, 0, 0)));
    app.assert_books_balance().await;
}

#[tokio::test]
async fn what_is_no_line_in_an_old_cart_does_not_hide_which_units_came_back() {
    let app = TestApp::start().await;
    let (ann, bob) = tokio::join!(app.buyer("ann"), app.seller("bob"));
    let (cup, pot) = tokio::join!(bob.product("cup", "100", 10), bob.product("pot", "100", 10));
    let line =
        |of: &Value, count: i32| Bson::from(doc! { "_id": id(of), "discountPrice": 100, "count": count });
    let cart = vec![line(&cup, 1), Bson::Null, Bson::from("junk"), line(&pot, 2)];
    let more = doc! { "cart": cart, "totalPrice": 330, "shopId": bob.id.hex() };
    let order = legacy_order(&app, &ann, &bob, &cup, more).await;
    bob.set_status(&order, "Delivered").await;
    let one_pot = json!({ "items": [{ "id": id(&pot), "count": 1 }] });
    for _ in 0..2 {
        refund(&ann, &bob, &order, one_pot.clone()).await;
    }
    let path = format!("/api/order/refund-order/{order}");
    ann.put(&path).json(&one_pot).await.refused(409, "not_refundable");
    assert_eq!((app.balance(&bob).await, app.shelf(&pot).await), (9900, (10, 0, 0)));
    let back = refund(&ann, &bob, &order, json!({})).await;
    assert_eq!((&back["status"], &back["refundedTotal"]), (&json!("Refund Success"), &json!(330)));
    assert_eq!((app.balance(&bob).await, app.shelf(&cup).await), (0, (10, 0, 0)));
    app.assert_books_balance().await;
}

#[tokio::test]
async fn an_old_order_does_not_take_what_is_reserved_for_others() {
    let app = TestApp::start().await;
    let (ann, bob) = tokio::join!(app.buyer("ann"), app.seller("bob"));
    let cup = bob.product("cup", "100", 3).await;
    // It wants two, and never reserved them.
    let old = legacy_order(&app, &ann, &bob, &cup, doc! { "status": "Processing" }).await;
    let order = ann.order(&[(&cup, 2)]).await.remove(0);
    bob.set_status(&old, "Shipping").await;
    assert_eq!(app.shelf(&cup).await, (2, 2, 2));
    app.assert_books_balance().await;
    bob.set_status(id(&order), "Shipping").await;
    assert_eq!(app.shelf(&cup).await, (0, 0, 4));
    app.assert_books_balance().await;
}

#[tokio::test]
async fn counts_without_sense_in_an_old_cart_are_counted_alike_by_order_and_audit() {
    let app = TestApp::start().await;
    let (ann, bob) = tokio::join!(app.buyer("ann"), app.seller("bob"));
    let cup = bob.product("cup", "100", 20).await;
    let counts = vec![
        Bson::Int32(-3),
        Bson::Double(2.9),
        Bson::from("2.9"),
        Bson::Double(f64::NAN),
        Bson::Boolean(true),
        Bson::from(" 3 "),
        Bson::from("many"),
        Bson::Double(1e300),
        Bson::DateTime(app.clock.now()),
    ];
    let line = |count: Bson| doc! { "_id": id(&cup), "discountPrice": 1, "count": count };
    let cart: Vec<Document> = counts.into_iter().map(line).collect();
    let old = legacy_order(&app, &ann, &bob, &cup, doc! { "cart": cart, "shopId": bob.id.hex() }).await;
    bob.set_status(&old, "Shipping").await;
    assert_eq!(app.shelf(&cup).await, (7, 0, 13));
    app.assert_books_balance().await;
}

#[tokio::test]
async fn a_balance_above_any_single_amount_is_shown_and_paid_out_to_the_cent() {
    let app = TestApp::start().await;
    let (ann, bob) = tokio::join!(app.buyer("ann"), app.seller("bob"));
    let (moon, cup) = tokio::join!(bob.product("moon", "900000000000", 10), bob.product("cup", "0.01", 10));
    for cart in [[(&moon, 1), (&cup, 1)], [(&moon, 1), (&cup, 2)]] {
        let order = ann.order(&cart).await.remove(0);
        bob.set_status(id(&order), "Delivered").await;
    }
    let balance = app.balance(&bob).await;
    assert_eq!(balance, 178_200_000_000_003);
    app.assert_books_balance().await;
    let shown = bob.get("/api/shop/getSeller").await.expect(201);
    assert_eq!(shown["seller"]["availableBalance"], json!(1_782_000_000_000.03));
    let statement = bob.get("/api/shop/balance").await.expect(200);
    assert_eq!(statement["balance"], json!(1_782_000_000_000.03));
}

#[tokio::test]
async fn an_order_that_cannot_be_read_does_not_keep_others_from_running_out() {
    let app = TestApp::with(&[("RESERVATION_TTL", "1h")]).await;
    let (ann, bob) = tokio::join!(app.buyer("ann"), app.seller("bob"));
    let cup = bob.product("cup", "10", 10).await;
    let place = |count| {
        let mut body = in_cash(&[(&cup, count)]);
        body["totalPrice"] = json!(11 * count);
        body["paymentInfo"] = json!({ "id": "PAYER1", "type": "Paypal" });
        ann.post("/api/order/create-order").json(&body)
    };
    let damaged = place(1).await.expect(201)["orders"][0].clone();
    app.clock.advance(1_000);
    place(2).await.expect(201);
    let junk = doc! { "$set": { "serviceFeePercent": "junk" } };
    app.db.raw::<Document>("orders").update_one(this(&damaged), junk).await.unwrap();
    app.clock.advance(3_600_000);
    // Somebody hears of it, and the other one is free all the same.
    assert!(api::expire_unpaid(&app.inside()).await.is_err());
    assert_eq!(app.shelf(&cup).await, (10, 1, 0));
}

/// Changes one document and finds that the audit says so; then it is as before.
struct Damage<'a> {
    app: &'a TestApp,
}

impl Damage<'_> {
    async fn shows(&self, words: &str, changes: &[(&str, Document, Document)]) {
        let mut before = Vec::new();
        for (collection, filter, change) in changes {
            let documents = self.app.db.raw::<Document>(collection);
            let whole = documents.find_one(filter.clone()).await.unwrap().unwrap();
            assert_eq!(documents.update_one(filter.clone(), change.clone()).await.unwrap().modified_count, 1);
            before.push((documents, whole));
        }
        let found = audit::run(&self.app.db).await.unwrap().differences;
        assert!(found.iter().any(|found| found.contains(words)), "{words}: {found:?}");
        for (documents, whole) in before {
            let filter = doc! { "_id": whole.get("_id").unwrap() };
            documents.replace_one(filter, whole).await.unwrap();
        }
        self.app.assert_books_balance().await;
    }
}

/// Moves cents on a shop's balance, which then shows `shown`.
fn balance(of: &Seller, minor: i64, shown: f64) -> (&'static str, Document, Document) {
    let change = doc! { "$inc": { "balanceMinor": minor }, "$set": { "availableBalance": shown } };
    ("shops", doc! { "_id": of.id }, change)
}

#[tokio::test]
async fn the_audit_finds_money_and_units_that_went_to_the_wrong_place_although_all_sums_agree() {
    let app = TestApp::start().await;
    let (ann, bob, eve) = tokio::join!(app.buyer("ann"), app.seller("bob"), app.seller("eve"));
    let cup = bob.product("cup", "10", 20).await;
    let delivered = ann.order(&[(&cup, 2)]).await.remove(0);
    bob.set_status(id(&delivered), "Delivered").await;
    let one_cup = json!({ "items": [{ "id": id(&cup), "count": 1 }] });
    refund(&ann, &bob, id(&delivered), one_cup).await;
    let open = ann.order(&[(&cup, 3)]).await.remove(0);
    let begun = ann.post("/api/stripe/process").json(&json!({ "amount": 4400 })).await.expect(200);
    let mut body = in_cash(&[(&cup, 4)]);
    body["totalPrice"] = json!(44);
    body["paymentInfo"] = json!({ "id": begun["id"], "type": "Credit Card" });
    let online = ann.post("/api/order/create-order").json(&body).await.expect(201)["orders"][0].clone();
    let payment = doc! { "_id": begun["id"].as_str().unwrap() };
    app.assert_books_balance().await;

    let damage = Damage { app: &app };
    let credit = doc! { "_id": format!("delivered:{}", id(&delivered)) };
    let refunded = doc! { "_id": format!("refund:{}", id(&delivered)) };
    let shop_of_eve = shared::ledger::shop_account(eve.id);
    let to_eve = doc! { "$set": { "lines.1.account": &shop_of_eve } };
    // Both shops have what the ledger says.
    let changes =
        [("ledger", credit.clone(), to_eve.clone()), balance(&bob, -1980, -9.9), balance(&eve, 1980, 19.8)];
    damage.shows("the fee, but the ledger has 0.00 and 2.20", &changes).await;
    let changes = [("ledger", refunded.clone(), to_eve), balance(&bob, 990, 19.8), balance(&eve, -990, -9.9)];
    damage.shows("have 9.90 of what its shop earned taken back, but 0.00 was", &changes).await;
    let other_source = doc! { "$set": { "lines.0.account": "gateway:stripe" } };
    damage.shows("was paid to cod", &[("ledger", credit, other_source)]).await;
    // A dollar too much went back, and everybody knows.
    let a_dollar = doc! { "$inc": { "lines.0.minor": 100, "lines.1.minor": -90, "lines.2.minor": -10 } };
    let in_order = doc! { "$inc": { "refunds.0.amount": 1 } };
    let changes =
        [("orders", this(&delivered), in_order), ("ledger", refunded, a_dollar), balance(&bob, -90, 9.0)];
    damage.shows("owes 11.00 for the units that came back, but 12.00 went back", &changes).await;
    // Units that nobody will ever give back.
    let cancelled = doc! { "$set": { "status": "Cancelled" } };
    damage.shows("is Cancelled, but its units are reserved", &[("orders", this(&open), cancelled)]).await;
    let shipped = doc! { "$set": { "status": "Shipping" } };
    damage.shows("is Shipping, but its units are reserved", &[("orders", this(&open), shipped)]).await;
    // Goods for money that no gateway has.
    let elsewhere = doc! { "$set": { "orders": [Id::<Order>::new()], "minor": 0 } };
    damage.shows("counts as paid, and 0 payments are for it", &[("payments", payment, elsewhere)]).await;
    let paid = doc! { "$set": { "paymentInfo.status": "unverified" } };
    damage.shows("is paid by the payment", &[("orders", this(&online), paid)]).await;
}

#[tokio::test]
async fn a_whole_refund_that_an_earlier_version_granted_is_no_difference() {
    let app = TestApp::start().await;
    let (ann, bob) = tokio::join!(app.buyer("ann"), app.seller("bob"));
    let cup = bob.product("cup", "10", 20).await;
    let order = ann.order(&[(&cup, 2)]).await.remove(0);
    bob.set_status(id(&order), "Delivered").await;
    refund(&ann, &bob, id(&order), json!({})).await;
    app.assert_books_balance().await;
    // It moved the same units and money, and kept no record of the request.
    let unset = doc! { "$unset": { "refunds": "", "cart.0.refunded": "" } };
    app.db.raw::<Document>("orders").update_one(this(&order), unset).await.unwrap();
    app.assert_books_balance().await;
}
