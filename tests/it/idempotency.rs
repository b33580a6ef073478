//! `Idempotency-Key`: whatever a POST creates, it creates once, and says so as often as it is asked.

use std::collections::BTreeSet;

use bson::{Document, doc};
use futures_util::{TryStreamExt as _, future::join_all};
use serde_json::{Value, json};
use shared::{
    clock::{Timestamp, iso, plus},
    model::{Case, RememberedAnswer, Shop},
};
use tests::{
    Answer, Browser, Buyer, CLIENT, Form, Seller, TestApp,
    app::Node,
    contract::Spec,
    people::{PASSWORD, email},
};

const DAY: i64 = 86_400_000;

/// Two shoppers and two shops, who have nothing to do with each other, and two nodes that serve them.
struct World {
    app: TestApp,
    there: Node,
    sides: [Side; 2],
    /// Shops that nobody has talked to.
    quiet: [Seller; 3],
    begun: Timestamp,
}

struct Side {
    buyer: Buyer,
    seller: Seller,
    product: Value,
    conversation: Value,
    /// Orders that can be disputed, and a dispute about another.
    delivered: Vec<Value>,
    dispute: String,
}

/// One POST that creates something.
struct Creation {
    path: &'static str,
    /// Of a success.
    status: u16,
    collection: &'static str,
    who: Who,
    /// The request of one side, of several that differ.
    body: fn(&World, &Side, u32) -> Body,
    /// What the same request comes to when its key counts no more.
    anew: u16,
}

#[derive(Clone, Copy, PartialEq)]
enum Who {
    Buyer,
    Seller,
    /// Nobody yet: there is one set of keys for all.
    Anybody,
}

enum Body {
    Json(Value),
    Form(Form),
}

const ORDER: Creation = Creation {
    path: "/api/order/create-order",
    status: 201,
    collection: "orders",
    who: Who::Buyer,
    body: |_, side, n| {
        Body::Json(json!({
            "cart": [{ "_id": side.product["_id"], "count": n }],
            "shippingAddress": { "address1": "1 Elm Street" },
            "paymentInfo": { "type": "Cash on Delivery" },
        }))
    },
    anew: 201,
};
const WITHDRAWAL: Creation = Creation {
    path: "/api/withDraw/create-withdraw-request",
    status: 201,
    collection: "withdraws",
    who: Who::Seller,
    body: |_, _, n| Body::Json(json!({ "amount": 50 + n })),
    anew: 201,
};
const COUPON: Creation = Creation {
    path: "/api/coupan/create-coupan",
    status: 201,
    collection: "couponcodes",
    who: Who::Seller,
    body: |_, side, n| Body::Json(json!({ "name": format!("{}{n}", side.seller.name), "value": "10" })),
    // There is one of that name.
    anew: 409,
};
const USER: Creation = Creation {
    path: "/api/user/create-user",
    status: 200,
    collection: "pendingregistrations",
    who: Who::Anybody,
    body: |_, side, n| {
        let name = format!("{} the {n}", side.buyer.name);
        let form = Form::new().picture("file").text("name", &name).text("password", PASSWORD);
        Body::Form(form.text("email", email(&name)))
    },
    anew: 200,
};
const SHOP: Creation = Creation {
    path: "/api/shop/create-shop",
    status: 200,
    collection: "pendingregistrations",
    who: Who::Anybody,
    body: |_, side, n| {
        let name = format!("{} the {n}", side.seller.name);
        let form = Form::new().picture("file").text("name", &name).text("password", PASSWORD);
        let form = form.text("email", email(&name)).text("address", "1 Market Street");
        Body::Form(form.text("zipCode", "54000").text("phoneNumber", "5550100"))
    },
    anew: 200,
};
const PRODUCT: Creation = Creation {
    path: "/api/product/create-product",
    status: 201,
    collection: "products",
    who: Who::Seller,
    body: |_, side, n| Body::Form(side.seller.listing_form("lamp", "10", n)),
    anew: 201,
};
const EVENT: Creation = Creation {
    path: "/api/event/create-event",
    status: 201,
    collection: "events",
    who: Who::Seller,
    body: |world, side, n| {
        let day = |days: i64| iso(plus(world.begun, days * DAY));
        let form = side.seller.listing_form("lamp", "10", n);
        Body::Form(form.text("start_date", day(0)).text("end_date", day(5)))
    },
    anew: 201,
};
const PAYMENT: Creation = Creation {
    path: "/api/stripe/process",
    status: 200,
    collection: "sandboxpayments",
    who: Who::Buyer,
    body: |_, _, n| Body::Json(json!({ "amount": 1000 + n })),
    anew: 200,
};
const PAYPAL: Creation = Creation {
    path: "/api/paypal/create-order",
    status: 201,
    collection: "sandboxpayments",
    who: Who::Buyer,
    body: |_, side, n| Body::Json(json!({ "cart": [{ "_id": side.product["_id"], "count": n }] })),
    anew: 201,
};
const CONVERSATION: Creation = Creation {
    path: "/api/conversation/create-new-conversation",
    status: 201,
    collection: "conversations",
    who: Who::Buyer,
    body: |world, side, n| {
        let shop = &world.quiet[usize::try_from(n).unwrap()];
        Body::Json(json!({ "userId": side.buyer.id.hex(), "sellerId": shop.id.hex() }))
    },
    // There is one of the two.
    anew: 200,
};
const MESSAGE: Creation = Creation {
    path: "/api/messages/create-new-message",
    status: 201,
    collection: "messages",
    who: Who::Buyer,
    body: |_, side, n| {
        let form = Form::new().picture("images").text("text", format!("hello {n}"));
        let conversation = side.conversation["_id"].as_str().unwrap();
        Body::Form(form.text("conversationId", conversation).text("sender", side.buyer.id))
    },
    anew: 201,
};
const DISPUTE: Creation = Creation {
    path: "/api/dispute",
    status: 201,
    collection: "cases",
    who: Who::Buyer,
    body: |_, side, n| {
        let order = &side.delivered[usize::try_from(n).unwrap()];
        Body::Json(json!({ "orderId": order["_id"], "reason": "damaged", "message": "Cracked." }))
    },
    // There is one about the order.
    anew: 409,
};
const DISPUTE_MESSAGE: Creation = Creation {
    path: "/api/dispute/{id}/message",
    status: 201,
    collection: "cases",
    who: Who::Seller,
    body: |_, _, n| Body::Form(Form::new().picture("images").text("message", format!("hello {n}"))),
    anew: 201,
};
const WEBHOOK: Creation = Creation {
    path: "/api/webhooks",
    status: 201,
    collection: "webhookendpoints",
    who: Who::Seller,
    body: |_, _, n| {
        Body::Json(json!({ "url": format!("https://93.184.216.34/{n}"), "events": ["stock.low"] }))
    },
    anew: 201,
};
const ALL: [Creation; 14] = [
    WEBHOOK,
    ORDER,
    WITHDRAWAL,
    COUPON,
    USER,
    SHOP,
    PRODUCT,
    EVENT,
    PAYMENT,
    PAYPAL,
    CONVERSATION,
    MESSAGE,
    DISPUTE,
    DISPUTE_MESSAGE,
];

impl World {
    async fn new() -> Self {
        let app = TestApp::with(&[("DUPLICATE_ORDER_WINDOW", "0")]).await;
        let there = app.another_node().await;
        let sides = [Side::new(&app, "ann", "bob").await, Side::new(&app, "eve", "mal").await];
        let quiet = [app.seller("one").await, app.seller("two").await, app.seller("three").await];
        let begun = app.clock.now();
        Self { app, there, sides, quiet, begun }
    }

    /// Sends a request to one of the two nodes.
    fn send(
        &self,
        what: &Creation,
        node: usize,
        side: usize,
        n: u32,
        key: Option<&str>,
    ) -> tests::browser::Call {
        let (base, side) = ([&self.app.base, &self.there.base][node % 2], &self.sides[side]);
        let mut call = Browser::new(base).post(&what.path.replace("{id}", &side.dispute));
        call = match what.who {
            Who::Buyer => call.bearer(&side.buyer.token),
            Who::Seller => call.bearer(&side.seller.token),
            Who::Anybody => call,
        };
        if let Some(key) = key {
            call = call.header("Idempotency-Key", key);
        }
        match (what.body)(self, side, n) {
            Body::Json(body) => call.json(&body),
            Body::Form(form) => call.form(form),
        }
    }

    /// How many there are of what is created.
    async fn count(&self, what: &Creation) -> u64 {
        if what.path == DISPUTE_MESSAGE.path {
            // They are part of the disputes.
            let cases = self.app.db.of::<Case>().find(doc! {}).await.unwrap();
            let cases: Vec<Case> = cases.try_collect().await.unwrap();
            return cases.iter().map(|case| u64::try_from(case.messages.len()).unwrap()).sum();
        }
        self.app.db.raw::<Document>(what.collection).count_documents(doc! {}).await.unwrap()
    }

    /// The stored pictures, by folder.
    fn pictures(&self, folder: &str) -> usize {
        let folder = self.app.home().join("uploads").join(folder);
        std::fs::read_dir(folder).map_or(0, Iterator::count)
    }
}

impl Side {
    async fn new(app: &TestApp, buyer: &str, seller: &str) -> Self {
        let (buyer, seller) = (app.buyer(buyer).await, app.seller(seller).await);
        // Fifty are left once the orders below have taken theirs.
        let product = seller.product("cup", "10", 65).await;
        let wanted = json!({ "userId": buyer.id.hex(), "sellerId": seller.id.hex() });
        let opened = buyer.post(CONVERSATION.path).json(&wanted).await.expect(201);
        let rich = doc! {
            "$set": { "withdrawMethod": { "bankName": "B", "bankAccountNumber": "1" }, "availableBalance": 1000 },
            "$unset": { "balanceMinor": "" },
        };
        app.db.of::<Shop>().update_one(doc! { "_id": seller.id }, rich).await.unwrap();
        shared::migrate::run(&app.db, &app.clock).await.unwrap();
        let mut delivered = Vec::new();
        for count in 1..=5 {
            let order = buyer.order(&[(&product, count)]).await.remove(0);
            seller.set_status(order["_id"].as_str().unwrap(), "Delivered").await;
            delivered.push(order);
        }
        let open = json!({ "orderId": delivered.remove(4)["_id"], "reason": "other", "message": "Hm." });
        let dispute = buyer.post(DISPUTE.path).json(&open).await.expect(201)["dispute"]["_id"].clone();
        let (conversation, dispute) = (opened["conversation"].clone(), dispute.as_str().unwrap().to_owned());
        Self { buyer, seller, product, conversation, delivered, dispute }
    }
}

/// The very same answer.
#[track_caller]
fn assert_same(again: &Answer, first: &Answer) {
    assert_eq!((again.status, again.text()), (first.status, first.text()), "{}", first.path);
    assert_eq!(again.header("content-type"), first.header("content-type"));
}

/// POSTs that create nothing: repeated, they come to the same by themselves.
const CREATE_NOTHING: [&str; 11] = [
    "/api/paypal/capture-order/{id}",
    "/api/paypal/webhook",
    "/api/sandbox/{gateway}",
    "/api/shop/forgot-password",
    "/api/shop/seller/activation",
    "/api/shop/shop-login",
    "/api/stripe/webhook",
    "/api/unsubscribe",
    "/api/user/activation",
    "/api/user/forgot-password",
    "/api/user/login-user",
];

#[test]
fn every_post_that_creates_takes_a_key_and_is_tested_here() {
    let spec = Spec::load();
    for (_, path) in spec.operations().into_iter().filter(|(method, _)| *method == "POST") {
        let operation = &spec.document()["paths"][path]["post"];
        let takes_a_key = operation["parameters"]
            .as_array()
            .is_some_and(|all| all.contains(&json!({ "$ref": "#/components/parameters/IdempotencyKey" })));
        let refuses = operation["responses"]["422"] == json!({ "$ref": "#/components/responses/KeyReused" });
        let creates = !CREATE_NOTHING.contains(&path);
        assert_eq!((takes_a_key, refuses), (creates, creates), "{path}");
        assert_eq!(ALL.iter().any(|what| what.path == path), creates, "{path}");
    }
}

#[tokio::test]
async fn the_same_request_again_gets_the_first_answer_and_changes_nothing_and_another_is_refused() {
    let world = World::new().await;
    for what in &ALL {
        let before = world.count(what).await;
        // One key on all routes: each has its own.
        let send = |node, side, n| world.send(what, node, side, n, Some("key-1"));
        let first = send(0, 0, 1).await;
        first.expect(what.status);
        for node in [0, 1] {
            assert_same(&send(node, 0, 1).await, &first);
            send(node, 0, 2).await.refused(422, "idempotency_key_reused");
        }
        assert_eq!(world.count(what).await, before + 1, "{}", what.path);
        // Another caller's key is another key.
        let theirs = send(0, 1, 1).await;
        if what.who == Who::Anybody {
            theirs.refused(422, "idempotency_key_reused");
        } else {
            theirs.expect(what.status);
            assert_ne!(theirs.text(), first.text(), "{}", what.path);
            assert_same(&send(1, 1, 1).await, &theirs);
            assert_eq!(world.count(what).await, before + 2, "{}", what.path);
        }
        // So is another key of the same caller.
        let other = world.send(what, 1, 0, 2, Some("key-2")).await;
        other.expect(what.status);
    }
}

#[tokio::test]
async fn many_at_once_on_two_nodes_create_one_and_get_one_answer() {
    let world = World::new().await;
    let pictures_before = ["products", "messages"].map(|folder| world.pictures(folder));
    for what in &ALL {
        let before = world.count(what).await;
        let calls = (0..20).map(|i| world.send(what, i, 0, 1, Some("key")).into_future());
        let answers = join_all(calls).await;
        answers[0].expect(what.status);
        for answer in &answers {
            assert_same(answer, &answers[0]);
        }
        assert_eq!(world.count(what).await, before + 1, "{}", what.path);
    }
    // Nothing is left of those that came second.
    super::mail::nothing_is_due(&world.app).await;
    let stored = ["products", "messages"].map(|folder| world.pictures(folder));
    // One of a product; one of a chat message, and one of a message in a dispute.
    assert_eq!(stored, [pictures_before[0] + 1, pictures_before[1] + 2]);
    assert_eq!((world.pictures("events"), world.pictures("avatar")), (1, 2));
    for name in ["ann the 1", "bob the 1"] {
        assert_eq!(world.app.mails().count_to(&email(name)), 1);
    }
}

#[tokio::test]
async fn of_different_requests_at_once_under_one_key_one_is_carried_out() {
    let world = World::new().await;
    for what in &ALL {
        let before = world.count(what).await;
        let calls = (0..12_u32).map(|i| {
            let call = world.send(what, usize::try_from(i).unwrap(), 0, 1 + i / 2 % 2, Some("key"));
            async move { (i / 2 % 2, call.await) }
        });
        let answers = join_all(calls).await;
        let winners: BTreeSet<u32> =
            answers.iter().filter(|(_, answer)| answer.status == what.status).map(|(n, _)| *n).collect();
        assert_eq!(winners.len(), 1, "{}", what.path);
        for (n, answer) in &answers {
            if !winners.contains(n) {
                answer.refused(422, "idempotency_key_reused");
            }
        }
        let said: BTreeSet<String> = answers
            .iter()
            .filter(|(n, _)| winners.contains(n))
            .map(|(_, answer)| {
                answer.expect(what.status);
                answer.text()
            })
            .collect();
        assert_eq!(said.len(), 1, "{}", what.path);
        assert_eq!(world.count(what).await, before + 1, "{}", what.path);
    }
}

#[tokio::test]
async fn after_a_day_a_key_is_a_new_one_also_for_many_at_once() {
    let world = World::new().await;
    let mut firsts = Vec::new();
    for what in &ALL {
        let first = world.send(what, 0, 0, 1, Some("key")).await;
        first.expect(what.status);
        firsts.push((what, first));
    }
    world.app.clock.advance(DAY - 60_000);
    for (what, first) in &firsts {
        assert_same(&world.send(what, 1, 0, 1, Some("key")).await, first);
    }
    world.app.clock.advance(60_001);
    for (what, first) in firsts {
        let before = world.count(what).await;
        let answers = join_all((0..6).map(|i| world.send(what, i, 0, 1, Some("key")).into_future())).await;
        for answer in &answers {
            answer.expect(what.anew);
        }
        let created = what.anew == what.status;
        if created {
            answers.iter().for_each(|answer| assert_same(answer, &answers[0]));
        }
        if what.who != Who::Anybody {
            assert_ne!(answers[0].text(), first.text(), "{}", what.path);
        }
        assert_eq!(world.count(what).await, before + u64::from(created), "{}", what.path);
        // And for another request it is just as new.
        if !created && what.anew >= 400 {
            world.send(what, 0, 0, 2, Some("key")).await.expect(what.status);
        }
    }
}

#[tokio::test]
async fn a_key_that_is_none_is_refused_and_changes_nothing() {
    let world = World::new().await;
    for what in &ALL {
        let before = world.count(what).await;
        for key in ["", " ", &"k".repeat(256), "two words", "tab\tbed"] {
            let refused = world.send(what, 0, 0, 1, Some(key)).await.refused(400, "invalid_input");
            assert_eq!(refused["errors"][0]["field"], "Idempotency-Key", "{}: {key:?}", what.path);
        }
        let twice = world.send(what, 0, 0, 1, Some("one")).header("Idempotency-Key", "two");
        twice.await.refused(400, "invalid_input");
        assert_eq!(world.count(what).await, before, "{}", what.path);
        world.send(what, 0, 0, 1, Some(&"k".repeat(255))).await.expect(what.status);
    }
    let raw = reqwest::Client::new().post(format!("{}{}", world.app.base, COUPON.path));
    let raw = raw.bearer_auth(&world.sides[0].seller.token).json(&json!({ "name": "x", "value": 1 }));
    let umlaut = reqwest::header::HeaderValue::from_bytes("ü".as_bytes()).unwrap();
    assert_eq!(raw.header("Idempotency-Key", umlaut).send().await.unwrap().status(), 400);
}

#[tokio::test]
async fn what_was_refused_may_be_tried_again_under_its_key() {
    let world = World::new().await;
    for what in &ALL {
        // Nothing that makes sense.
        let key = "malformed-at-first";
        let side = &world.sides[0];
        let mut call = Browser::new(&world.app.base).post(what.path).header("Idempotency-Key", key);
        call = match what.who {
            Who::Buyer => call.bearer(&side.buyer.token),
            Who::Seller => call.bearer(&side.seller.token),
            Who::Anybody => call,
        };
        call = match (what.body)(&world, side, 1) {
            Body::Json(_) => call.json(&json!({ "amount": "lots" })),
            Body::Form(_) => call.form(Form::new().text("sender", "nobody")),
        };
        assert_eq!(call.await.status, 400, "{}", what.path);
        world.send(what, 0, 0, 1, Some(key)).await.expect(what.status);
    }
    // What things were like then.
    let (app, shop) = (&world.app, world.sides[0].seller.id);
    let shops = app.db.of::<Shop>();
    let unset = doc! { "$unset": { "withdrawMethod": "" } };
    let before = shops.find_one_and_update(doc! { "_id": shop }, unset).await.unwrap().unwrap();
    world.send(&WITHDRAWAL, 0, 0, 2, Some("k")).await.refused(409, "no_withdraw_method");
    let method = bson::serialize_to_bson(&before.withdraw_method).unwrap();
    shops.update_one(doc! { "_id": shop }, doc! { "$set": { "withdrawMethod": method } }).await.unwrap();
    world.send(&WITHDRAWAL, 0, 0, 2, Some("k")).await.expect(201);

    let taken = world.send(&COUPON, 0, 0, 2, None).await.expect(201);
    world.send(&COUPON, 0, 0, 2, Some("k")).await.refused(409, "coupon_exists");
    let remove = format!("/api/coupan/delete-coupan/{}", taken["coupanCode"]["_id"].as_str().unwrap());
    world.sides[0].seller.delete(&remove).await.expect(200);
    world.send(&COUPON, 0, 0, 2, Some("k")).await.expect(201);

    world.send(&ORDER, 0, 0, 51, Some("k")).await.refused(409, "out_of_stock");
    let more = doc! { "$set": { "stock": 100_i64 } };
    app.db.raw::<Document>("products").update_many(doc! { "name": "cup" }, more).await.unwrap();
    world.send(&ORDER, 0, 0, 51, Some("k")).await.expect(201);
}

#[tokio::test]
async fn a_repetition_is_known_also_when_things_have_moved_on() {
    let world = World::new().await;
    let signed_up = world.send(&USER, 0, 0, 1, Some("k")).await;
    let token = world.app.mails().await_mail_to(&email("ann the 1")).await.token_after("/activation/");
    let activation = json!({ "activation_token": token });
    world.app.browser().post("/api/user/activation").json(&activation).await.expect(201);
    assert_same(&world.send(&USER, 0, 0, 1, Some("k")).await, &signed_up);
    world.send(&USER, 0, 0, 1, Some("another")).await.refused(400, "email_taken");

    let put_up = world.send(&PRODUCT, 0, 0, 1, Some("k")).await;
    let path = format!(
        "/api/product/delete-shop-product/{}",
        put_up.expect(201)["product"]["_id"].as_str().unwrap()
    );
    world.sides[0].seller.delete(&path).await.expect(200);
    assert_same(&world.send(&PRODUCT, 0, 0, 1, Some("k")).await, &put_up);

    let said = world.send(&MESSAGE, 0, 0, 1, Some("k")).await;
    world.app.db.raw::<Document>("conversations").delete_many(doc! {}).await.unwrap();
    assert_same(&world.send(&MESSAGE, 0, 0, 1, Some("k")).await, &said);
    world.send(&MESSAGE, 0, 0, 1, Some("another")).await.refused(404, "conversation_not_found");
}

#[tokio::test]
async fn pictures_and_passwords_are_part_of_what_is_asked_for() {
    let world = World::new().await;
    let side = &world.sides[0];
    let sign_up = |password: &str, picture: Vec<u8>| {
        let form = Form::new().file("file", "a.png", "image/png", picture);
        let form = form.text("name", "zoe").text("password", password).text("email", "zoe@example.com");
        world.app.browser().post(USER.path).header("Idempotency-Key", "k").form(form)
    };
    let (one, other) = (tests::picture::png(), tests::picture::jpeg());
    sign_up("secret", one.clone()).await.expect(200);
    sign_up("secret", one.clone()).await.expect(200);
    sign_up("secreu", one.clone()).await.refused(422, "idempotency_key_reused");
    sign_up("secret", other.clone()).await.refused(422, "idempotency_key_reused");
    let message = |pictures: &[Vec<u8>]| {
        let form = Form::new().text("sender", side.buyer.id).text("text", "look");
        let form = form.text("conversationId", side.conversation["_id"].as_str().unwrap());
        let form = pictures
            .iter()
            .fold(form, |form, picture| form.file("images", "a", "image/png", picture.clone()));
        side.buyer.post(MESSAGE.path).header("Idempotency-Key", "k").form(form)
    };
    let first = message(std::slice::from_ref(&one)).await;
    first.expect(201);
    assert_same(&message(std::slice::from_ref(&one)).await, &first);
    message(&[other]).await.refused(422, "idempotency_key_reused");
    message(&[]).await.refused(422, "idempotency_key_reused");
}

#[tokio::test]
async fn without_a_key_nothing_is_remembered_and_the_same_again_is_another() {
    let world = World::new().await;
    for what in &ALL {
        let before = world.count(what).await;
        let first = world.send(what, 0, 0, 1, None).await;
        first.expect(what.status);
        world.send(what, 0, 0, 1, None).await.expect(what.anew);
        let created = 1 + u64::from(what.anew == what.status);
        assert_eq!(world.count(what).await, before + created, "{}", what.path);
    }
    let remembered = world.app.db.of::<RememberedAnswer>().count_documents(doc! {}).await.unwrap();
    assert_eq!(remembered, 0);
}

#[tokio::test]
async fn a_page_of_the_client_may_send_keys() {
    let app = TestApp::start().await;
    let preflight = app.browser().on(CLIENT).call("OPTIONS", COUPON.path);
    let preflight = preflight
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "content-type,idempotency-key")
        .await;
    assert_eq!(preflight.status, 204);
    let allowed = preflight.header("access-control-allow-headers").unwrap().to_ascii_lowercase();
    assert!(allowed.contains("idempotency-key"), "{allowed}");
}

#[tokio::test]
async fn a_call_without_a_cookie_has_the_keys_of_whoever_it_speaks_for() {
    let app = TestApp::with(&[("AUTH_MODE", "auto")]).await;
    let (ann, eve, bob) = tokio::join!(app.buyer("ann"), app.buyer("eve"), app.seller("bob"));
    let page = app.browser().on(CLIENT);
    let open = |user: &Buyer| {
        let body = json!({ "userId": user.id.hex(), "sellerId": bob.id.hex() });
        page.post(CONVERSATION.path).bare().header("Idempotency-Key", "k").json(&body)
    };
    let first = open(&ann).await;
    first.expect(201);
    assert_same(&open(&ann).await, &first);
    open(&eve).await.expect(201);
    let pay =
        || page.post(PAYMENT.path).bare().header("Idempotency-Key", "k").json(&json!({ "amount": 500 }));
    let begun = pay().await;
    begun.expect(200);
    assert_same(&pay().await, &begun);
}
