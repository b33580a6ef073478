//! `/api/event`. What events share with products is tested there; here is what they do not, and that
//! each route is the events' own.

use bson::doc;
use serde_json::{Value, json};
use shared::{
    clock::{iso, plus},
    id::Id,
    model::{Kind, Listing},
};
use tests::{Form, Seller, TestApp};

const CREATE: &str = "/api/event/create-event";
const ALL: &str = "/api/event/get-all-events-shop";
const DAY: i64 = 86_400_000;

/// The client's form, parts in its order, for an event between two days from now.
fn form(app: &TestApp, seller: &Seller, from: i64, to: i64) -> Form {
    let day = |days: i64| iso(plus(app.clock.now(), days * DAY));
    seller.listing_form("Lamp week", "39.90", 50).text("start_date", day(from)).text("end_date", day(to))
}

async fn event(app: &TestApp, seller: &Seller, from: i64, to: i64) -> Value {
    seller.post(CREATE).form(form(app, seller, from, to)).await.expect(201)["event"].clone()
}

fn path(tail: &str, event: &Value) -> String {
    format!("/api/event/{tail}/{}", event["_id"].as_str().unwrap())
}

async fn count(app: &TestApp) -> u64 {
    app.db.listings(Kind::Event).count_documents(doc! {}).await.unwrap()
}

#[tokio::test]
async fn an_event_is_announced_and_seen_by_everybody() {
    let app = TestApp::start().await;
    let bob = app.seller("bob").await;
    let event = event(&app, &bob, 0, 5).await;
    assert_eq!(event["status"], "Running");
    assert_eq!(event["discountPrice"], json!(39.9));
    assert!(event.get("reviews").is_none());
    let visitor = app.browser();
    assert_eq!(visitor.get(ALL).await.expect(200)["events"], json!([event]));
    assert_eq!(visitor.get(&format!("{ALL}/{}", bob.id)).await.expect(200)["events"], json!([event]));
    assert_eq!(visitor.get(&path("get-event", &event)).await.expect(200)["event"], event);
    // It is no product.
    assert_eq!(visitor.get("/api/product/get-all-products").await.expect(200)["products"], json!([]));
    let id = event["_id"].as_str().unwrap();
    visitor.get(&format!("/api/product/get-product/{id}")).await.refused(404, "product_not_found");
}

#[tokio::test]
async fn the_status_follows_from_the_dates() {
    let app = TestApp::start().await;
    let bob = app.seller("bob").await;
    let event = event(&app, &bob, 2, 5).await;
    let status = async || {
        let answer = app.browser().get(&path("get-event", &event)).await;
        (answer.header("etag").unwrap().to_owned(), answer.expect(200)["event"]["status"].clone())
    };
    let (tag, upcoming) = status().await;
    assert_eq!(upcoming, "Upcoming");
    app.clock.advance(2 * DAY);
    assert_eq!(status().await.1, "Running");
    // What a browser has kept is no longer right, although nothing was written.
    app.browser().get(&path("get-event", &event)).header("if-none-match", &tag).await.expect(200);
    app.clock.advance(3 * DAY);
    assert_eq!(status().await.1, "Ended");
}

#[tokio::test]
async fn an_event_needs_both_dates_in_order() {
    let app = TestApp::start().await;
    let bob = app.seller("bob").await;
    let listing = || bob.listing_form("Lamp week", "10", 1);
    let cases: [(&str, Form); 5] = [
        ("start_date", listing().text("end_date", "2030-01-01")),
        ("end_date", listing().text("start_date", "2030-01-01").text("end_date", "undefined")),
        ("end_date", listing().text("start_date", "2030-01-01").text("end_date", "2030-01-01")),
        ("end_date", listing().text("start_date", "2030-01-02").text("end_date", "2030-01-01")),
        ("start_date", listing().text("start_date", "tomorrow").text("end_date", "2030-01-01")),
    ];
    for (field, form) in cases {
        let refusal = bob.post(CREATE).form(form).await.refused(400, "invalid_input");
        assert_eq!(refusal["errors"][0]["field"], field, "{refusal}");
    }
    assert_eq!(count(&app).await, 0);
}

#[tokio::test]
async fn events_are_the_owners_to_announce_change_and_call_off() {
    let app = TestApp::start().await;
    let (bob, eve) = (app.seller("bob").await, app.seller("eve").await);
    app.browser().post(CREATE).form(form(&app, &bob, 0, 5)).await.refused(401, "unauthenticated");
    eve.post(CREATE).form(form(&app, &bob, 0, 5)).await.refused(403, "not_yours");
    let event = event(&app, &bob, 0, 5).await;
    let (update, delete) = (path("update-event", &event), path("delete-shop-event", &event));
    let change = json!({ "name": "Vase week" });
    app.browser().put(&update).json(&change).await.refused(401, "unauthenticated");
    eve.put(&update).json(&change).await.refused(403, "not_yours");
    app.browser().delete(&delete).await.refused(401, "unauthenticated");
    eve.delete(&delete).await.refused(403, "not_yours");
    assert_eq!(bob.put(&update).json(&change).await.expect(200)["event"]["name"], "Vase week");
    assert_eq!(bob.delete(&delete).await.expect(200)["message"], "Deleted Event successfully");
    bob.delete(&delete).await.refused(404, "event_not_found");
    bob.put(&update).json(&change).await.refused(404, "event_not_found");
    app.browser().get(&path("get-event", &event)).await.refused(404, "event_not_found");
    bob.delete("/api/event/delete-shop-event/undefined").await.refused(400, "invalid_id");
}

#[tokio::test]
async fn a_changed_date_is_held_against_the_one_that_stays() {
    let app = TestApp::start().await;
    let bob = app.seller("bob").await;
    let event = event(&app, &bob, 1, 5).await;
    let update = path("update-event", &event);
    let day = |days: i64| iso(plus(app.clock.now(), days * DAY));
    for change in [json!({ "end_date": day(0) }), json!({ "start_date": day(6) })] {
        bob.put(&update).json(&change).await.refused(400, "invalid_input");
    }
    let moved = json!({ "start_date": day(7), "end_date": day(9) });
    let event = bob.put(&update).json(&moved).await.expect(200)["event"].clone();
    assert_eq!((&event["start_date"], &event["end_date"]), (&moved["start_date"], &moved["end_date"]));
    let picture = Form::new().picture("images").text("start_date", day(8));
    let event = bob.put(&update).form(picture).await.expect(200)["event"].clone();
    assert_eq!(event["images"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn lists_of_events_are_empty_where_there_are_none_and_not_sent_twice() {
    let app = TestApp::start().await;
    let visitor = app.browser();
    for path in [ALL.to_owned(), format!("{ALL}/undefined"), format!("{ALL}/6744a0b1c2d3e4f5a6b7c803")] {
        let answer = visitor.get(&path).await;
        assert_eq!(answer.expect(200)["events"], json!([]));
        let tag = answer.header("etag").unwrap();
        assert_eq!(visitor.get(&path).header("if-none-match", tag).await.status, 304);
    }
}

#[tokio::test]
async fn an_event_that_open_orders_wait_for_is_not_called_off() {
    let app = TestApp::start().await;
    let bob = app.seller("bob").await;
    let event = event(&app, &bob, 0, 5).await;
    let id: Id<Listing> = event["_id"].as_str().unwrap().parse().unwrap();
    let reserve = doc! { "$set": { "reserved": 1 } };
    app.db.listings(Kind::Event).update_one(doc! { "_id": id }, reserve).await.unwrap();
    let refusal = bob.delete(&path("delete-shop-event", &event)).await.refused(409, "units_reserved");
    assert!(refusal["message"].as_str().unwrap().starts_with("1 unit of this event"), "{refusal}");
    bob.put(&path("update-event", &event)).json(&json!({ "stock": 0 })).await.refused(409, "units_reserved");
}

#[tokio::test]
async fn events_of_the_old_server_are_mended_on_the_way_out() {
    let app = TestApp::start().await;
    let bob = app.seller("bob").await;
    let now = app.clock.now();
    app.db
        .raw::<bson::Document>("events")
        .insert_many([
            doc! {
                "name": "Old", "shopeId": bob.id.hex(), "status": "Runnnig", "stock": "7", "images": [],
                "discountPrice": 5, "start_date": plus(now, -DAY), "end_date": plus(now, DAY),
            },
            doc! { "name": "Older", "shopeId": bob.id.hex(), "status": "Runnnig" },
        ])
        .await
        .unwrap();
    app.caught_up().await;
    let events = app.browser().get(ALL).await.expect(200)["events"].clone();
    assert_eq!((&events[0]["status"], &events[0]["stock"]), (&json!("Running"), &json!(7)));
    assert_eq!(events[1]["status"], "Ended");
}
