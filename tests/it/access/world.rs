//! For every operation, things of somebody's: a request with which their owner succeeds.

use std::sync::atomic::{AtomicU32, Ordering};

use bson::{Document, doc};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;
use shared::{
    auth::{content_digest, keyed_digest},
    clock::{iso, plus},
    id::Id,
    model::{Attention, Payment, Shop},
    money::Money,
};
use tests::{
    Browser, Buyer, Call, Form, Seller, StandIn, TestApp,
    people::{PASSWORD, email, in_cash},
    stripe,
};

use crate::furnished::{dead_letter, review};

/// The application, and people without end.
pub struct World {
    pub app: TestApp,
    people: AtomicU32,
    /// Takes every webhook.
    receiver: StandIn,
}

/// A shopper and a shop that belong together: they have dealt with each other.
pub struct Party {
    pub buyer: Buyer,
    pub seller: Seller,
}

/// A request about things of a party's.
pub struct Case {
    pub path: String,
    body: Body,
    /// What proves a gateway.
    pub proof: Vec<(&'static str, String)>,
    /// Ids that only their owners may change anything of.
    pub about: Vec<String>,
}

enum Body {
    Nothing,
    Json(Value),
    /// As it was signed.
    Text(String),
    Form(Box<dyn Fn() -> Form + Send + Sync>),
}

impl Case {
    fn new(path: impl Into<String>, body: Body) -> Self {
        Self { path: path.into(), body, proof: Vec::new(), about: Vec::new() }
    }

    fn json(path: impl Into<String>, body: Value) -> Self {
        Self::new(path, Body::Json(body))
    }

    fn form(path: impl Into<String>, form: impl Fn() -> Form + Send + Sync + 'static) -> Self {
        Self::new(path, Body::Form(Box::new(form)))
    }

    fn about(mut self, id: &str) -> Self {
        self.about.push(id.to_owned());
        self
    }

    /// The request, without any credential.
    pub fn call(&self, browser: &Browser, method: &str) -> Call {
        let call = browser.call(method, &self.path).bare();
        match &self.body {
            Body::Nothing => call,
            Body::Json(body) => call.json(body),
            Body::Text(body) => call.body("application/json", body.clone()),
            Body::Form(form) => call.form(form()),
        }
    }
}

/// What a link in a mail to this shopper has for ending mails about orders.
pub fn unsubscribe_token(app: &TestApp, user: &str) -> String {
    let secret = app.inside().config.jwt_secret.expose().to_owned();
    let proof = keyed_digest(&secret, &format!("unsubscribe:{user}:orderUpdates"));
    format!("{user}-orderUpdates-{proof}")
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

impl World {
    pub async fn new(mode: &str) -> Self {
        let app = TestApp::with(&[("AUTH_MODE", mode), ("DUPLICATE_ORDER_WINDOW", "0")]).await;
        let receiver = StandIn::start(|_| (200, Value::Null)).await;
        Self { app, people: AtomicU32::new(0), receiver }
    }

    fn name(&self) -> String {
        format!("person {}", self.people.fetch_add(1, Ordering::Relaxed))
    }

    /// Two new accounts. The shop has money, and somewhere to have it sent.
    pub async fn party(&self) -> Party {
        let (buyer, seller) = (self.app.buyer(&self.name()).await, self.app.seller(&self.name()).await);
        let rich = doc! { "$set": {
            "withdrawMethod": { "bankName": "First Bank", "bankAccountNumber": "PK36FRST0000001123456702" },
            "availableBalance": 1000, "balanceMinor": 100_000,
        } };
        self.app.db.of::<Shop>().update_one(doc! { "_id": seller.id }, rich).await.unwrap();
        Party { buyer, seller }
    }

    pub async fn admin(&self) -> Buyer {
        self.app.admin(&self.name()).await
    }

    /// An order of a party's, and its product.
    async fn order(&self, Party { buyer, seller }: &Party) -> (String, Value) {
        let product = seller.product("cup", "10", 5).await;
        let order = buyer.order(&[(&product, 1)]).await;
        (text(&order[0]["_id"]), product)
    }

    async fn delivered(&self, party: &Party) -> (String, Value) {
        let (order, product) = self.order(party).await;
        party.seller.set_status(&order, "Delivered").await;
        (order, product)
    }

    async fn refunding(&self, party: &Party) -> String {
        let (order, _) = self.delivered(party).await;
        party.buyer.put(&format!("/api/order/refund-order/{order}")).json(&json!({})).await.expect(200);
        order
    }

    /// A dispute that one of a party's two has opened, about an order.
    async fn dispute(&self, party: &Party, by_shop: bool) -> (String, String) {
        let (order, _) = self.delivered(party).await;
        let browser = if by_shop { &party.seller.browser } else { &party.buyer.browser };
        let token = if by_shop { &party.seller.token } else { &party.buyer.token };
        let open = json!({ "orderId": order, "reason": "damaged", "message": "Cracked.", "amount": 5 });
        let opened = browser.post("/api/dispute").bearer(token).json(&open).await.expect(201);
        (text(&opened["dispute"]["_id"]), order)
    }

    /// A conversation of a party's in which each has said something.
    async fn talk(&self, party: &Party) -> String {
        let conversation = party.buyer.talk_to(&party.seller).await;
        let said =
            |sender: String| json!({ "conversationId": conversation, "sender": sender, "text": "hello" });
        let path = "/api/messages/create-new-message";
        party.buyer.post(path).json(&said(party.buyer.id.hex())).await.expect(201);
        party.seller.post(path).json(&said(party.seller.id.hex())).await.expect(201);
        conversation
    }

    /// A payment in the sandbox.
    async fn payment(&self, party: &Party, path: &str, body: Value) -> String {
        text(&party.buyer.post(path).json(&body).await.json()["id"])
    }

    /// An event as the sandbox would tell it, with what proves that it does.
    async fn webhook(&self, party: &Party, gateway: &str) -> Case {
        let path = match gateway {
            "stripe" => "/api/stripe/process",
            _ => "/api/paypal/create-order",
        };
        let root = self.admin().await;
        let hold = json!({ "webhooks": { "hold": true } });
        root.post(&format!("/api/sandbox/{gateway}")).json(&hold).await.expect(200);
        let product = party.seller.product("cup", "10", 5).await;
        let cart = json!([{ "_id": product["_id"], "count": 1 }]);
        let payment = self.payment(party, path, json!({ "amount": 1100, "cart": cart })).await;
        if gateway == "paypal" {
            let capture = format!("/api/paypal/capture-order/{payment}");
            party.buyer.post(&capture).json(&json!({})).await.expect(200);
        }
        let of_gateway = doc! { "gateway": gateway, "held": true };
        let events = self.app.db.raw::<Document>("sandboxevents");
        let event = events.find_one(of_gateway).sort(doc! { "_id": -1 }).await.unwrap().expect("an event");
        let body = event.get_str("body").unwrap().to_owned();
        let controls = self.app.db.raw::<Document>("sandboxcontrols");
        let control = controls.find_one(doc! { "_id": gateway }).await.unwrap().unwrap();
        let (secret, now) = (control.get_str("secret").unwrap(), self.app.clock.now());
        let proof = if gateway == "stripe" {
            let seconds = now.timestamp_millis().div_euclid(1000);
            vec![("stripe-signature", stripe::sign(&body, secret, seconds))]
        } else {
            let (id, time) = (Id::<()>::new().hex(), iso(now));
            let signed = format!("{id}|{time}|sandbox|{}", content_digest(body.as_bytes()));
            let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap().chain_update(signed);
            let mac = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
            vec![
                ("paypal-transmission-id", id),
                ("paypal-transmission-time", time),
                ("paypal-transmission-sig", mac),
                ("paypal-auth-algo", "HMAC-SHA256".to_owned()),
            ]
        };
        Case { proof, ..Case::new(format!("/api/{gateway}/webhook"), Body::Text(body)) }
    }

    /// A card payment that nobody has used.
    async fn unclaimed(&self, party: &Party) -> String {
        let id = self.payment(party, "/api/stripe/process", json!({ "amount": 1100 })).await;
        let now = self.app.clock.now();
        let payment = Payment {
            currency: Some("USD".to_owned()),
            paid_at: Some(now),
            attention: Some(Attention::Unclaimed),
            ..Payment::new(id.clone(), "stripe".to_owned(), Money::from_minor(1100), now)
        };
        self.app.db.of::<Payment>().insert_one(payment).await.unwrap();
        id
    }

    /// The checkout of an order that its buyer says to have paid by PayPal.
    async fn claim(&self, party: &Party) -> String {
        let product = party.seller.product("cup", "10", 5).await;
        let mut body = in_cash(&[(&product, 1)]);
        body["totalPrice"] = json!(11);
        body["paymentInfo"] = json!({ "type": "Paypal", "id": "QYR5Z8XDVJNXQ", "status": "succeeded" });
        let placed = party.buyer.post("/api/order/create-order").json(&body).await.expect(201);
        text(&placed["orders"][0]["checkoutId"])
    }

    /// A webhook of a shop's, to which something was sent.
    async fn webhook_of(&self, seller: &Seller) -> String {
        let wanted = self.new_webhook();
        let made = seller.post("/api/webhooks").json(&wanted).await.expect(201);
        let id = text(&made["webhook"]["_id"]);
        seller.put(&format!("/api/webhooks/{id}/test")).await.expect(200);
        id
    }

    fn new_webhook(&self) -> Value {
        json!({ "url": self.receiver.base(), "events": ["stock.out"] })
    }

    /// The token of the mail to somebody new who has asked for it.
    async fn mailed(&self, path: &str, body: Body, to: &str, link: &str) -> String {
        let call = Case::new(path, body).call(&self.app.browser(), "POST");
        call.await.expect(200);
        self.app.mails().await_mail_to(to).await.token_after(link)
    }

    fn user_form(name: String) -> impl Fn() -> Form + Send + Sync + 'static {
        move || {
            let form = Form::new().picture("file").text("name", &name).text("password", PASSWORD);
            form.text("email", email(&name))
        }
    }

    fn shop_form(name: String) -> impl Fn() -> Form + Send + Sync + 'static {
        move || {
            let form = Self::user_form(name.clone())().text("address", "1 Market Street");
            form.text("zipCode", "54000").text("phoneNumber", "5550100")
        }
    }

    fn event_form(&self, seller: &Seller) -> impl Fn() -> Form + Send + Sync + 'static {
        let (seller, now) = (seller.clone(), self.app.clock.now());
        let day = move |days: i64| iso(plus(now, days * 86_400_000));
        move || {
            let form = seller.listing_form("sale", "10", 5);
            form.text("start_date", day(0)).text("end_date", day(5))
        }
    }

    async fn event(&self, seller: &Seller) -> String {
        let form = self.event_form(seller)();
        text(&seller.post("/api/event/create-event").form(form).await.expect(201)["event"]["_id"])
    }

    /// With which a member of the party succeeds: the shop where `as_shop`, else the shopper. Nothing if nobody has
    /// thought of the operation.
    #[expect(clippy::too_many_lines, reason = "one row an operation")]
    pub async fn case(&self, operation: &str, party: &Party, as_shop: bool) -> Option<Case> {
        let Party { buyer, seller } = party;
        let (user, shop) = (buyer.id.hex(), seller.id.hex());
        let member = if as_shop { &shop } else { &user };
        let (method, template) = operation.split_once(' ').unwrap();
        // The path with this for its parameter.
        let at = |id: &str| {
            let steps = template.split('/').map(|step| if step.starts_with('{') { id } else { step });
            steps.collect::<Vec<_>>().join("/")
        };
        let plain = || Case::new(template, Body::Nothing);
        let passwords = || {
            let new = "battery staple";
            json!({ "oldPassword": PASSWORD, "newPassword": new, "confPassword": new })
        };
        let credentials = |email: &str| json!({ "email": email, "password": PASSWORD });
        Some(match operation {
            "POST /api/user/create-user" => Case::form(template, Self::user_form(self.name())),
            "POST /api/shop/create-shop" => Case::form(template, Self::shop_form(self.name())),
            "POST /api/user/activation" => {
                let name = self.name();
                let form = Body::Form(Box::new(Self::user_form(name.clone())));
                let token = self.mailed("/api/user/create-user", form, &email(&name), "/activation/").await;
                Case::json(template, json!({ "activation_token": token }))
            }
            "POST /api/shop/seller/activation" => {
                let name = self.name();
                let form = Body::Form(Box::new(Self::shop_form(name.clone())));
                let token =
                    self.mailed("/api/shop/create-shop", form, &email(&name), "/activation/seller/").await;
                Case::json(template, json!({ "activation_token": token }))
            }
            "POST /api/user/login-user" => Case::json(template, credentials(&buyer.email)),
            "POST /api/shop/shop-login" => Case::json(template, credentials(&seller.email)),
            "POST /api/user/forgot-password" => Case::json(template, json!({ "email": buyer.email })),
            "POST /api/shop/forgot-password" => Case::json(template, json!({ "email": seller.email })),
            "PUT /api/user/reset-password" | "PUT /api/shop/reset-password" => {
                let (asked, link, email) = match operation {
                    "PUT /api/user/reset-password" => {
                        ("/api/user/forgot-password", "/reset-password/", &buyer.email)
                    }
                    _ => ("/api/shop/forgot-password", "/reset-password/seller/", &seller.email),
                };
                let body = Body::Json(json!({ "email": email }));
                let token = self.mailed(asked, body, email, link).await;
                let new = "battery staple";
                Case::json(template, json!({ "token": token, "newPassword": new, "confPassword": new }))
            }
            "PUT /api/user/updatePassword" | "PUT /api/shop/updatePassword" => {
                Case::json(template, passwords())
            }
            "PUT /api/user/updateUserInfo" => Case::json(
                template,
                json!({ "name": "Ann", "phoneNumber": "3001234567", "password": PASSWORD }),
            ),
            "PUT /api/user/update-user-avatar" => Case::form(template, || Form::new().picture("file")),
            "PUT /api/shop/update-seller-avatar" => Case::form(template, || Form::new().picture("image")),
            "PUT /api/user/userAddressUpadte" => Case::json(
                template,
                json!({
                    "country": "PK", "city": "PB", "address1": "7 Canal Road", "address2": "second floor",
                    "zipCode": 54000, "addressType": "Home",
                }),
            ),
            "DELETE /api/user/delete-address/{id}" => {
                let address = json!({
                    "country": "PK", "city": "PB", "address1": "7 Canal Road", "address2": "second floor",
                    "zipCode": 54000, "addressType": "Home",
                });
                let added = buyer.put("/api/user/userAddressUpadte").json(&address).await.expect(200);
                let id = text(&added["user"]["addresses"][0]["_id"]);
                Case::new(at(&id), Body::Nothing).about(&id)
            }
            "GET /api/user/user-info/{id}"
            | "GET /api/order/getOrders/{id}"
            | "GET /api/conversation/get-all-conversation-user/{id}" => {
                self.order(party).await;
                Case::new(at(&user), Body::Nothing)
            }
            "GET /api/shop/get-shop-info/{id}"
            | "GET /api/shop/seller-info/{id}"
            | "GET /api/product/get-all-products-shop/{id}"
            | "GET /api/event/get-all-events-shop/{id}"
            | "GET /api/order/getShopOrders/{shopId}"
            | "GET /api/coupan/get-coupans/{id}"
            | "GET /api/conversation/get-all-conversation-seller/{id}" => {
                self.order(party).await;
                Case::new(at(&shop), Body::Nothing)
            }
            "PUT /api/shop/updateSellerInfo" => {
                Case::json(template, json!({ "name": "Bob's", "address": "2 Market Street" }))
            }
            "PUT /api/shop/update-payment-methods" => Case::json(
                template,
                json!({ "withdrawMethod": {
                    "bankName": "Second Bank", "bankCountry": "PK", "bankSwiftCode": "SCNDPKKA",
                    "bankAccountNumber": "PK36SCND0000001123456702", "bankHolderName": "Bob",
                    "bankAddress": "2 Mall Road",
                } }),
            ),
            "POST /api/product/create-product" => {
                let seller = seller.clone();
                Case::form(template, move || seller.listing_form("lamp", "20", 3))
            }
            "POST /api/event/create-event" => Case::form(template, self.event_form(seller)),
            "GET /api/product/get-product/{id}" | "DELETE /api/product/delete-shop-product/{id}" => {
                let id = text(&seller.product("cup", "10", 5).await["_id"]);
                Case::new(at(&id), Body::Nothing).about(&id)
            }
            "PUT /api/product/update-product/{id}" => {
                let id = text(&seller.product("cup", "10", 5).await["_id"]);
                Case::form(at(&id), || Form::new().text("discountPrice", "9")).about(&id)
            }
            "GET /api/event/get-event/{id}" | "DELETE /api/event/delete-shop-event/{id}" => {
                let id = self.event(seller).await;
                Case::new(at(&id), Body::Nothing).about(&id)
            }
            "PUT /api/event/update-event/{id}" => {
                let id = self.event(seller).await;
                Case::form(at(&id), || Form::new().text("discountPrice", "9")).about(&id)
            }
            "PUT /api/product/create-new-review" => {
                let (order, product) = self.delivered(party).await;
                let id = text(&product["_id"]);
                let review = json!({ "productId": id, "orderId": order, "rating": 5, "comment": "Good" });
                Case::json(template, review).about(&id).about(&order)
            }
            "POST /api/order/create-order" => {
                let product = seller.product("cup", "10", 5).await;
                let mut cart = in_cash(&[(&product, 1)]);
                cart["user"] = json!({ "_id": user });
                Case::json(template, cart).about(product["_id"].as_str().unwrap())
            }
            "GET /api/order/get-order/{id}" | "PUT /api/order/cancel-order/{id}" => {
                let (order, _) = self.order(party).await;
                Case::new(at(&order), Body::Nothing).about(&order)
            }
            "PUT /api/order/update-order-status/{id}" => {
                let (order, _) = self.order(party).await;
                Case::json(at(&order), json!({ "status": "Shipping" })).about(&order)
            }
            "PUT /api/order/refund-order/{id}" => {
                let (order, _) = self.delivered(party).await;
                Case::json(at(&order), json!({ "status": "Processing refund" })).about(&order)
            }
            "PUT /api/order/order-refund-success/{id}" => {
                let order = self.refunding(party).await;
                Case::json(at(&order), json!({ "status": "Refund Success" })).about(&order)
            }
            "PUT /api/order/order-refund-refused/{id}" => {
                let order = self.refunding(party).await;
                Case::new(at(&order), Body::Nothing).about(&order)
            }
            "GET /api/user/notifications" | "GET /api/shop/notifications" | "GET /api/admin/letters" => {
                plain()
            }
            "PUT /api/user/notifications" => Case::json(template, json!({ "orderUpdates": false })),
            "PUT /api/shop/notifications" => Case::json(template, json!({ "lowStock": false })),
            "GET /api/unsubscribe" | "POST /api/unsubscribe" => {
                let token = unsubscribe_token(&self.app, &user);
                Case::new(format!("{template}?token={token}"), Body::Nothing)
            }
            "GET /api/admin/letters/{name}" => Case::new(at("sold-out"), Body::Nothing),
            "POST /api/dispute" => {
                let (order, _) = self.delivered(party).await;
                let open =
                    json!({ "orderId": order, "reason": "damaged", "message": "Cracked.", "amount": 5 });
                Case::json(template, open).about(&order)
            }
            "GET /api/dispute/user-disputes"
            | "GET /api/dispute/shop-disputes"
            | "GET /api/admin/disputes" => {
                self.dispute(party, false).await;
                plain()
            }
            "GET /api/dispute/{id}" | "GET /api/admin/dispute/{id}" => {
                let (dispute, order) = self.dispute(party, as_shop).await;
                Case::new(at(&dispute), Body::Nothing).about(&dispute).about(&order)
            }
            "POST /api/dispute/{id}/message" => {
                let (dispute, order) = self.dispute(party, as_shop).await;
                Case::json(at(&dispute), json!({ "message": "Look." })).about(&dispute).about(&order)
            }
            "PUT /api/dispute/{id}/accept" => {
                let (dispute, order) = self.dispute(party, !as_shop).await;
                Case::new(at(&dispute), Body::Nothing).about(&dispute).about(&order)
            }
            "PUT /api/dispute/{id}/withdraw" => {
                let (dispute, order) = self.dispute(party, as_shop).await;
                Case::new(at(&dispute), Body::Nothing).about(&dispute).about(&order)
            }
            "PUT /api/dispute/{id}/decide" => {
                let (dispute, order) = self.dispute(party, as_shop).await;
                Case::json(at(&dispute), json!({ "decision": "refund" })).about(&dispute).about(&order)
            }
            "POST /api/stripe/process" => Case::json(template, json!({ "amount": 1100 })),
            "POST /api/paypal/create-order" => {
                let product = seller.product("cup", "10", 5).await;
                Case::json(template, json!({ "cart": [{ "_id": product["_id"], "count": 1 }] }))
            }
            "POST /api/paypal/capture-order/{id}" => {
                let product = seller.product("cup", "10", 5).await;
                let cart = json!({ "cart": [{ "_id": product["_id"], "count": 1 }] });
                let payment = self.payment(party, "/api/paypal/create-order", cart).await;
                Case::json(at(&payment), json!({})).about(&payment)
            }
            "POST /api/stripe/webhook" => self.webhook(party, "stripe").await,
            "POST /api/paypal/webhook" => self.webhook(party, "paypal").await,
            "GET /api/payment/needing-attention" => {
                self.unclaimed(party).await;
                self.claim(party).await;
                plain()
            }
            "PUT /api/payment/settle/{id}" => {
                let payment = self.unclaimed(party).await;
                Case::json(at(&payment), json!({ "decision": "return" })).about(&payment)
            }
            "PUT /api/payment/verify-claim/{checkoutId}" => {
                let checkout = self.claim(party).await;
                Case::json(at(&checkout), json!({ "capture": "ELSEWHERE1" })).about(&checkout)
            }
            "POST /api/sandbox/{gateway}" => {
                Case::json(at("paypal"), json!({ "next": { "outcome": "succeed" } }))
            }
            "POST /api/coupan/create-coupan" => {
                Case::json(template, json!({ "name": format!("SAVE{}", Id::<()>::new()), "value": "10" }))
            }
            "DELETE /api/coupan/delete-coupan/{id}" | "GET /api/coupan/coupan-verified/{name}" => {
                let name = format!("SAVE{}", Id::<()>::new());
                let body = json!({ "name": name, "value": "10" });
                let made = seller.post("/api/coupan/create-coupan").json(&body).await.expect(201);
                let id = text(&made["coupanCode"]["_id"]);
                let key = if method == "DELETE" { &id } else { &name };
                Case::new(at(key), Body::Nothing).about(&id)
            }
            "POST /api/conversation/create-new-conversation" => {
                Case::json(template, json!({ "userId": user, "sellerId": shop }))
            }
            "PUT /api/conversation/update-last-message/{id}" => {
                let talk = self.talk(party).await;
                let body = json!({ "lastMessage": "see you", "lastMessageId": member });
                Case::json(at(&talk), body).about(&talk)
            }
            "POST /api/messages/create-new-message" => {
                let talk = self.talk(party).await;
                let body = json!({ "conversationId": talk, "sender": member, "text": "see you" });
                Case::json(template, body).about(&talk)
            }
            "GET /api/messages/get-all-messages/{id}" => {
                let talk = self.talk(party).await;
                Case::new(at(&talk), Body::Nothing).about(&talk)
            }
            "PUT /api/messages/mark-as-seen/{id}" => {
                let talk = self.talk(party).await;
                Case::json(at(&talk), json!({ "reader": member })).about(&talk)
            }
            "POST /api/withDraw/create-withdraw-request" => Case::json(template, json!({ "amount": 60 })),
            "GET /api/withDraw/get-withdraw-requests"
            | "GET /api/withDraw/get-all-withdraw-request"
            | "GET /api/admin/withdrawals" => {
                let body = json!({ "amount": 60 });
                seller.post("/api/withDraw/create-withdraw-request").json(&body).await.expect(201);
                plain()
            }
            "PUT /api/withDraw/update-withdraw-request/{id}" => {
                let body = json!({ "amount": 60 });
                let made = seller.post("/api/withDraw/create-withdraw-request").json(&body).await.expect(201);
                let id = text(&made["withdraw"]["_id"]);
                Case::json(at(&id), json!({ "sellerId": shop })).about(&id)
            }
            "POST /api/webhooks" => Case::json(template, self.new_webhook()),
            "GET /api/webhooks" => {
                self.webhook_of(seller).await;
                plain()
            }
            "GET /api/webhooks/{id}"
            | "DELETE /api/webhooks/{id}"
            | "PUT /api/webhooks/{id}/rotate-secret"
            | "PUT /api/webhooks/{id}/test"
            | "GET /api/webhooks/{id}/deliveries" => {
                let id = self.webhook_of(seller).await;
                Case::new(at(&id), Body::Nothing).about(&id)
            }
            "PUT /api/webhooks/{id}" => {
                let id = self.webhook_of(seller).await;
                Case::json(at(&id), json!({ "paused": true })).about(&id)
            }
            "PUT /api/webhooks/{id}/replay" => {
                let id = self.webhook_of(seller).await;
                Case::json(at(&id), json!({ "since": "2026-01-01T00:00:00Z" })).about(&id)
            }
            "GET /uploads/{path}" => {
                let product = seller.product("cup", "10", 5).await;
                let url = text(&product["images"][0]["url"]);
                Case::new(url.strip_prefix(self.app.base.as_str()).unwrap(), Body::Nothing)
            }
            "PUT /api/admin/users/{id}/block" => {
                Case::json(at(&user), json!({ "reason": "Spam." })).about(&user)
            }
            "PUT /api/admin/users/{id}/unblock" => Case::new(at(&user), Body::Nothing).about(&user),
            "PUT /api/admin/shops/{id}/block" => {
                Case::json(at(&shop), json!({ "reason": "Spam." })).about(&shop)
            }
            "PUT /api/admin/shops/{id}/unblock" | "PUT /api/admin/shops/{id}/approve" => {
                Case::new(at(&shop), Body::Nothing).about(&shop)
            }
            "PUT /api/admin/products/{id}/hide"
            | "PUT /api/admin/products/{id}/restore"
            | "PUT /api/admin/events/{id}/hide"
            | "PUT /api/admin/events/{id}/restore" => {
                let id = match template.contains("products") {
                    true => text(&seller.product("cup", "10", 5).await["_id"]),
                    false => self.event(seller).await,
                };
                Case::json(at(&id), json!({ "reason": "Spam." })).about(&id)
            }
            "PUT /api/admin/reviews/{id}/hide" | "PUT /api/admin/reviews/{id}/restore" => {
                let (order, product) = self.order(party).await;
                let id = review(buyer, &product, &json!({ "_id": order })).await;
                Case::json(at(&id), json!({ "reason": "Spam." })).about(&id)
            }
            "PUT /api/admin/dead-letters/{id}/retry" => {
                let id = dead_letter(&self.app).await;
                Case::new(at(&id), Body::Nothing).about(&id)
            }
            "GET /api/admin/orders" | "GET /api/admin/figures" => {
                self.order(party).await;
                plain()
            }
            "DELETE /api/user/delete-user/{id}" => Case::new(at(&user), Body::Nothing).about(&user),
            "DELETE /api/shop/delete-seller/{id}" => {
                let poor = doc! { "$set": { "balanceMinor": 0_i64, "availableBalance": 0 } };
                self.app.db.of::<Shop>().update_one(doc! { "_id": seller.id }, poor).await.unwrap();
                Case::new(at(&shop), Body::Nothing).about(&shop)
            }
            "GET /api/user/admin-all-users"
            | "GET /api/shop/admin-all-sellers"
            | "GET /api/order/admin-all-orders"
            | "GET /api/product/admin-all-products"
            | "GET /api/event/admin-all-events"
            | "GET /api/admin/users"
            | "GET /api/admin/products"
            | "GET /api/admin/events"
            | "GET /api/admin/reviews"
            | "GET /api/admin/dead-letters"
            | "GET /api/admin/shops"
            | "GET /api/user/getUser"
            | "GET /api/user/logout"
            | "PUT /api/user/logout-everywhere"
            | "GET /api/shop/getSeller"
            | "GET /api/shop/balance"
            | "GET /api/shop/logout-seller"
            | "PUT /api/shop/logout-everywhere"
            | "DELETE /api/shop/delete-withdraw-method"
            | "GET /api/product/get-all-products"
            | "GET /api/event/get-all-events-shop"
            | "GET /api/admin/audit-log"
            | "GET /api/admin/nodes"
            | "GET /api/stripe/stripeApiKey"
            | "GET /api/paypal/clientId"
            | "GET /ping"
            | "GET /healthz"
            | "GET /readyz"
            | "GET /metrics"
            | "GET /openapi.yaml"
            | "GET /docs" => plain(),
            "GET /docs/{file}" => Case::new(at("docs.js"), Body::Nothing),
            _ => return None,
        })
    }
}
