//! A market with one of everything, so that the examples in `openapi.yaml` speak of what is there.

use serde_json::{Value, json};
use shared::{
    clock::plus,
    id::Id,
    ledger,
    model::{Outbox, OutboxJob},
    money::Money,
};
use tests::{Buyer, Seller, StandIn, TestApp, people::in_cash};

const DAY: i64 = 24 * 60 * 60 * 1000;

/// A running market: a shopper, a shop and an administrator, and one of everything between them.
pub struct Furnished {
    pub app: TestApp,
    pub ann: Buyer,
    pub bob: Seller,
    pub root: Buyer,
    /// Takes every webhook.
    _receiver: StandIn,
    /// Ids as the examples write them, and whose they are here.
    ids: Vec<(&'static str, String)>,
}

impl Furnished {
    pub async fn market() -> Self {
        let app = TestApp::start().await;
        let (ann, bob, root) = (app.buyer("ann").await, app.seller("bob").await, app.admin("root").await);
        let lamp = bob.product("Brass lamp", "49.90", 100_000).await;
        let week = {
            let from = app.clock.now();
            let day = |days| plus(from, days * DAY).try_to_rfc3339_string().unwrap();
            let form = bob.listing_form("Lamp week", "39.90", 100_000);
            let form = form.text("start_date", day(0)).text("end_date", day(30));
            bob.post("/api/event/create-event").form(form).await.expect(201)["event"].clone()
        };
        let order = ann.order(&[(&lamp, 2)]).await.remove(0);
        let coupon = json!({ "name": "LAMPS10", "value": "10", "minAmount": "20" });
        let coupon = bob.post("/api/coupan/create-coupan").json(&coupon).await.expect(201);
        let conversation = ann.talk_to(&bob).await;
        let said = json!({ "conversationId": conversation, "sender": ann.id.hex(), "text": "Is it bright?" });
        let message = ann.post("/api/messages/create-new-message").json(&said).await.expect(201);
        let home = json!({ "country": "PK", "city": "PB", "address1": "7 Canal Road", "address2": "Lahore",
            "zipCode": "54000", "addressType": "Default" });
        let ann_after = ann.put("/api/user/userAddressUpadte").json(&home).await.expect(200);
        let withdrawal = withdrawal(&app, &bob).await;
        // Delivered orders: with a dispute that ann has opened, with one of bob's, and with none.
        let mut delivered = Vec::new();
        for count in [3, 4, 5] {
            let order = ann.order(&[(&lamp, count)]).await.remove(0);
            bob.set_status(order["_id"].as_str().unwrap(), "Delivered").await;
            delivered.push(order);
        }
        let dispute = |n: usize, amount: i64| json!({ "orderId": delivered[n]["_id"], "reason": "damaged", "message": "The shade is cracked.", "amount": amount });
        let of_ann = ann.post("/api/dispute").json(&dispute(0, 20)).await.expect(201)["dispute"].clone();
        let of_bob = bob.post("/api/dispute").json(&dispute(1, 10)).await.expect(201)["dispute"].clone();
        let receiver = StandIn::start(|_| (200, Value::Null)).await;
        let hook = json!({ "url": receiver.base(), "events": ["stock.low", "stock.out"] });
        let hook = bob.post("/api/webhooks").json(&hook).await.expect(201);
        // A checkout that its buyer says to have paid, for an administrator to verify.
        let mut claim = in_cash(&[(&lamp, 1)]);
        claim["paymentInfo"] = json!({ "type": "Paypal", "id": "QYR5Z8XDVJNXQ", "status": "succeeded" });
        claim["totalPrice"] = json!(54.89);
        let claimed = ann.post("/api/order/create-order").json(&claim).await.expect(201);
        // A payment that nobody uses, and that somebody must decide about.
        let paid = ann.post("/api/stripe/process").json(&json!({ "amount": 1000 })).await.expect(200);
        // Of whom an administrator takes things away in the examples, so that nobody misses them.
        let (mal, less) = (app.buyer("mal").await, app.seller("less").await);
        let gold = less.product("Golden lamp", "49.90", 7).await;
        let gold_week = {
            let from = app.clock.now();
            let day = |days| plus(from, days * DAY).try_to_rfc3339_string().unwrap();
            let form = less.listing_form("Golden week", "39.90", 7);
            let form = form.text("start_date", day(0)).text("end_date", day(30));
            less.post("/api/event/create-event").form(form).await.expect(201)["event"].clone()
        };
        let bought = mal.order(&[(&gold, 1)]).await.remove(0);
        let review = review(&mal, &gold, &bought).await;
        let letter = dead_letter(&app).await;
        let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("{value} is no id")).to_owned();
        let id = |of: &Value| text(&of["_id"]);
        let ids = vec![
            ("6744a0b1c2d3e4f5a6b7c801", ann.id.hex()),
            ("6744a0b1c2d3e4f5a6b7c802", bob.id.hex()),
            ("6744a0b1c2d3e4f5a6b7c803", id(&lamp)),
            ("6744a0b1c2d3e4f5a6b7c804", id(&week)),
            ("6744a0b1c2d3e4f5a6b7c805", id(&order)),
            ("6744a0b1c2d3e4f5a6b7c806", id(&coupon["coupanCode"])),
            ("6744a0b1c2d3e4f5a6b7c807", conversation),
            ("6744a0b1c2d3e4f5a6b7c808", id(&message["message"])),
            ("6744a0b1c2d3e4f5a6b7c809", withdrawal),
            ("6744a0b1c2d3e4f5a6b7c80a", id(&ann_after["user"]["addresses"][0])),
            ("6744a0b1c2d3e4f5a6b7c80c", text(&claimed["orders"][0]["checkoutId"])),
            ("6744a0b1c2d3e4f5a6b7c8b1", mal.id.hex()),
            ("6744a0b1c2d3e4f5a6b7c8b2", less.id.hex()),
            ("6744a0b1c2d3e4f5a6b7c8d1", id(&of_ann)),
            ("6744a0b1c2d3e4f5a6b7c8d2", id(&of_bob)),
            ("6744a0b1c2d3e4f5a6b7c8d3", id(&delivered[2])),
            ("6744a0b1c2d3e4f5a6b7c8d4", id(&delivered[0])),
            ("6744a0b1c2d3e4f5a6b7c830", id(&hook["webhook"])),
            ("6744a0b1c2d3e4f5a6b7c8b3", id(&gold)),
            ("6744a0b1c2d3e4f5a6b7c8b4", id(&gold_week)),
            ("6744a0b1c2d3e4f5a6b7c8b5", review),
            ("6744a0b1c2d3e4f5a6b7c8b6", letter),
            ("unsubscribe_token_of_ann", crate::access::unsubscribe_token(&app, &ann.id.hex())),
            ("pi_3Q", text(&paid["id"])),
        ];
        Self { app, ann, bob, root, _receiver: receiver, ids }
    }

    /// What a text from the examples means here.
    pub fn here(&self, text: &str) -> String {
        self.ids.iter().fold(text.to_owned(), |text, (example, real)| text.replace(example, real))
    }

    /// The same for the ids alone, for somebody else to put in.
    pub const fn ids(&self) -> &Vec<(&'static str, String)> {
        &self.ids
    }

    /// The session of the rightful caller, by the word that the document has for who may call.
    pub fn rightful(&self, access: &str) -> Option<&str> {
        match access {
            "user" | "bare-user" | "bare-any" | "buyer-or-seller" => Some(&self.ann.token),
            "seller" | "bare-seller" | "admin-or-seller" => Some(&self.bob.token),
            "admin" | "bare-admin" => Some(&self.root.token),
            "anonymous" | "gateway" => None,
            other => panic!("who is {other}?"),
        }
    }
}

/// What a buyer says of something they have ordered: its id.
pub async fn review(buyer: &Buyer, product: &Value, order: &Value) -> String {
    let said = json!({ "rating": 1, "comment": "Call me instead.", "productId": product["_id"],
        "orderId": order["_id"] });
    buyer.put("/api/product/create-new-review").json(&said).await.expect(200);
    let path = format!("/api/product/get-product/{}", product["_id"].as_str().unwrap());
    let reviews = buyer.get(&path).await.expect(200)["product"]["reviews"].clone();
    reviews.as_array().unwrap().last().unwrap()["_id"].as_str().unwrap().to_owned()
}

/// A job that was given up.
pub async fn dead_letter(app: &TestApp) -> String {
    let now = app.clock.now();
    let job = Outbox {
        id: Id::new(),
        job: OutboxJob::DeleteMedia { public_id: "products/none".to_owned() },
        // Not before somebody asks.
        due_at: plus(now, DAY),
        attempts: 12,
        last_error: Some("nobody answers".to_owned()),
        request: None,
        trace: None,
        dead: true,
        created_at: plus(now, -DAY),
    };
    app.db.of::<Outbox>().insert_one(&job).await.unwrap();
    job.id.hex()
}

/// One that waits, of a shop with money and a bank.
async fn withdrawal(app: &TestApp, bob: &Seller) -> String {
    let (shop, now) = (bob.id, app.clock.now());
    app.db
        .transaction::<_, mongodb::error::Error, _>(|session| {
            let db = app.db.clone();
            Box::pin(async move {
                let lines = vec![
                    ledger::line(ledger::shop_account(shop), Money::from_minor(10_000_000)),
                    ledger::line("cod", Money::from_minor(-10_000_000)),
                ];
                ledger::book(&db, session, format!("test:{shop}"), now, lines).await?;
                ledger::credit(&db, session, shop, Money::from_minor(10_000_000), "Credited", now).await
            })
        })
        .await
        .unwrap();
    let bank = json!({ "withdrawMethod": { "bankName": "First Bank", "bankCountry": "PK", "bankSwiftCode": "FRSTPKKA",
        "bankAccountNumber": "PK36FRST0000001123456702", "bankHolderName": "Bob", "bankAddress": "2 Mall Road" } });
    bob.put("/api/shop/update-payment-methods").json(&bank).await.expect(201);
    let asked = bob.post("/api/withDraw/create-withdraw-request").json(&json!({ "amount": 60 })).await;
    asked.expect(201)["withdraw"]["_id"].as_str().unwrap().to_owned()
}
