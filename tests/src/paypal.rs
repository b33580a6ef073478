//! PayPal's stand-in: it remembers orders, captures, refunds, disputes, tokens and request ids, refuses what PayPal
//! refuses, and knows which webhooks it has sent. The real gateway code talks to it.
//!
//! ```text
//! let paypal = Paypal::start().await;
//! let app = paypal.app(&[]).await;
//! let begun = ann.post("/api/paypal/create-order").json(&json!({ "cart": cart })).await.expect(201);
//! let order = begun["id"].as_str().unwrap();
//! paypal.approve(order, PAYER);                              // the payer agrees
//! let paid = ann.post(&format!("/api/paypal/capture-order/{order}")).await.expect(200);
//! let event = paypal.captured(paid["id"].as_str().unwrap()); // the event that PayPal would send
//! paypal.deliver(&app, &event).await.expect(200);
//! ```

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    ops::Deref,
    sync::{Arc, Mutex},
    time::Duration,
};

use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};
use shared::{
    clock::{Clock, Timestamp, iso, plus},
    money::Money,
};

use crate::{
    Answer, TestApp,
    stand_in::{Asked, StandIn},
};

/// The client id that it knows.
pub const CLIENT_ID: &str = "AZ-stand-in-client";
/// The secret that goes with it.
pub const CLIENT_SECRET: &str = "EK-stand-in-secret";
/// The id of the webhook that it calls.
pub const WEBHOOK_ID: &str = "8PT597110X687430L";
/// Where that is.
pub const WEBHOOK: &str = "/api/paypal/webhook";
/// Somebody who pays.
pub const PAYER: &str = "QYR5Z8XDVJNXQ";

/// The running stand-in. [`StandIn`]'s methods make it misbehave and tell what it was asked.
pub struct Paypal {
    server: StandIn,
    books: Arc<Mutex<Books>>,
}

impl Deref for Paypal {
    type Target = StandIn;
    fn deref(&self) -> &StandIn {
        &self.server
    }
}

/// The headers and the body of a webhook's call.
#[derive(Debug, Clone)]
pub struct Transmission {
    /// What proves it.
    pub headers: BTreeMap<&'static str, String>,
    /// The event, to the byte.
    pub body: String,
}

/// What it remembers.
#[derive(Default)]
struct Books {
    clock: Clock,
    count: u32,
    /// Until when each token is good.
    tokens: HashMap<String, Timestamp>,
    orders: BTreeMap<String, Order>,
    captures: BTreeMap<String, Value>,
    /// Oldest first.
    refunds: Vec<Value>,
    disputes: BTreeMap<String, Value>,
    /// What was made under a request's id.
    keys: HashMap<String, String>,
    sent: HashSet<String>,
}

#[derive(Clone)]
struct Order {
    amount: Value,
    custom_id: Option<String>,
    status: &'static str,
    payer: Option<String>,
    declines: bool,
    updated: u32,
}

impl Paypal {
    /// With empty books.
    pub async fn start() -> Self {
        let books = Arc::<Mutex<Books>>::default();
        let shared = Arc::clone(&books);
        let server = StandIn::start(move |asked| shared.lock().unwrap().answer(asked)).await;
        Self { server, books }
    }

    /// The settings that lead an application here.
    pub fn settings(&self) -> Vec<(&'static str, String)> {
        vec![
            ("PAYPAL_CLIENT_ID", CLIENT_ID.to_owned()),
            ("PAYPAL_CLIENT_SECRET", CLIENT_SECRET.to_owned()),
            ("PAYPAL_WEBHOOK_ID", WEBHOOK_ID.to_owned()),
            ("PAYPAL_API_BASE", self.base()),
        ]
    }

    /// An application that takes PayPal's payments here, with more settings. From now on both have the same time.
    pub async fn app(&self, more: &[(&str, &str)]) -> TestApp {
        let ours = self.settings();
        let mut settings: Vec<(&str, &str)> =
            ours.iter().map(|(name, value)| (*name, value.as_str())).collect();
        settings.extend(more);
        let app = TestApp::with(&settings).await;
        self.keep_time(&app.clock);
        app
    }

    /// Has the time of an application from now on.
    pub fn keep_time(&self, clock: &Clock) {
        self.books().clock = clock.clone();
    }

    /// No token that was given out counts any longer.
    pub fn revoke_tokens(&self) {
        self.books().tokens.clear();
    }

    /// No request's id is remembered any longer, as after some weeks.
    pub fn forget_keys(&self) {
        self.books().keys.clear();
    }

    /// The payer agrees to pay for an order.
    pub fn approve(&self, order: &str, payer: &str) {
        let mut books = self.books();
        let order = books.order_mut(order);
        (order.status, order.payer) = ("APPROVED", Some(payer.to_owned()));
        order.updated += 1;
    }

    /// The next capture of an order is declined, since its payer's card is.
    pub fn decline(&self, order: &str) {
        self.books().order_mut(order).declines = true;
    }

    /// The existing client's way: begins, approves and captures an order in the browser, without a `custom_id`.
    /// Gives the ids of the order and the capture.
    pub fn pay_in_browser(&self, payer: &str, value: &str, currency: &str) -> (String, String) {
        let mut books = self.books();
        let amount = json!({ "currency_code": currency, "value": value });
        let order = books.begin(amount, None);
        books.order_mut(&order).payer = Some(payer.to_owned());
        let capture = books.take(&order);
        (order, capture)
    }

    /// Captures an order that was approved, at PayPal alone: Souk is told by the webhook or not at all. Gives the
    /// capture's id.
    pub fn capture(&self, order: &str) -> String {
        self.books().take(order)
    }

    /// PayPal does not release a capture yet, or does: its status becomes `PENDING`, `COMPLETED`, `DECLINED`, …
    pub fn set_status(&self, capture: &str, status: &str) {
        self.books().captures.get_mut(capture).unwrap()["status"] = json!(status);
    }

    /// The event that tells of a capture, as do the others; nothing is sent until [`Self::deliver`].
    pub fn captured(&self, capture: &str) -> Value {
        self.capture_event("PAYMENT.CAPTURE.COMPLETED", capture)
    }

    /// Any event about a capture.
    pub fn capture_event(&self, kind: &str, capture: &str) -> Value {
        let mut books = self.books();
        let resource = books.captures[capture].clone();
        books.event(kind, "capture", resource)
    }

    /// Somebody at PayPal's own pages returns some of a payment. The event is `PAYMENT.CAPTURE.REFUNDED`.
    pub fn refund_elsewhere(&self, capture: &str, value: &str) -> Value {
        let mut books = self.books();
        // PayPal's pages give a refund what the payment has.
        let custom_id = books.captures[capture].get("custom_id").cloned();
        let currency = books.captures[capture]["amount"]["currency_code"].clone();
        let amount = json!({ "currency_code": currency, "value": value });
        let refund = books.refund(capture, amount, custom_id).unwrap();
        books.event("PAYMENT.CAPTURE.REFUNDED", "refund", refund)
    }

    /// The event that tells of a refund, ours or not, as it stands.
    pub fn refund_event(&self, refund: &str, kind: &str) -> Value {
        let mut books = self.books();
        let resource = books.refunds.iter().find(|known| known["id"] == refund).unwrap().clone();
        books.event(kind, "refund", resource)
    }

    /// A refund comes to nothing: its money is back here. The event is `PAYMENT.REFUND.FAILED`.
    pub fn fail_refund(&self, refund: &str) -> Value {
        let mut books = self.books();
        let failed = books.refunds.iter_mut().find(|known| known["id"] == refund).unwrap();
        failed["status"] = json!("FAILED");
        let resource = failed.clone();
        books.event("PAYMENT.REFUND.FAILED", "refund", resource)
    }

    /// The payer wants so much of a payment back. The event is `CUSTOMER.DISPUTE.CREATED`, and the dispute's id is in
    /// its `resource.dispute_id`.
    pub fn dispute(&self, capture: &str, value: &str) -> Value {
        let mut books = self.books();
        books.count += 1;
        let id = format!("PP-D-{:05}", books.count);
        let currency = books.captures[capture]["amount"]["currency_code"].clone();
        let dispute = json!({
            "dispute_id": id, "reason": "MERCHANDISE_OR_SERVICE_NOT_RECEIVED", "status": "OPEN",
            "dispute_amount": { "currency_code": currency, "value": value },
            "disputed_transactions": [{ "seller_transaction_id": capture, "buyer_transaction_id": "0BUYERS0VIEW00001" }],
        });
        books.disputes.insert(id, dispute.clone());
        books.event("CUSTOMER.DISPUTE.CREATED", "dispute", dispute)
    }

    /// A dispute is decided: `RESOLVED_SELLER_FAVOUR`, `RESOLVED_BUYER_FAVOUR`, … The event is
    /// `CUSTOMER.DISPUTE.RESOLVED`.
    pub fn resolve(&self, dispute: &str, outcome: &str) -> Value {
        let mut books = self.books();
        let known = books.disputes.get_mut(dispute).unwrap();
        known["status"] = json!("RESOLVED");
        known["dispute_outcome"] = json!({ "outcome_code": outcome });
        let resource = known.clone();
        books.event("CUSTOMER.DISPUTE.RESOLVED", "dispute", resource)
    }

    /// PayPal takes the money of a capture back. The event is `PAYMENT.CAPTURE.REVERSED`.
    pub fn reverse(&self, capture: &str) -> Value {
        let mut books = self.books();
        let amount = books.captures[capture]["amount"].clone();
        let refund = books.refund(capture, amount, None).unwrap();
        books.event("PAYMENT.CAPTURE.REVERSED", "refund", refund)
    }

    /// Any other event.
    pub fn event(&self, kind: &str, resource: Value) -> Value {
        self.books().event(kind, "something", resource)
    }

    /// A capture as it stands.
    pub fn shown(&self, capture: &str) -> Value {
        self.books().captures[capture].clone()
    }

    /// How many orders there are.
    pub fn orders(&self) -> usize {
        self.books().orders.len()
    }

    /// The refunds of a capture, oldest first, as PayPal describes them.
    pub fn refunds(&self, capture: &str) -> Vec<Value> {
        self.books().refunds.iter().filter(|refund| above(refund) == capture).cloned().collect()
    }

    /// Waits until so many refunds of a capture were made, and gives them.
    pub async fn await_refunds(&self, capture: &str, count: usize) -> Vec<Value> {
        let waiting = async {
            while self.refunds(capture).len() < count {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let came = tokio::time::timeout(Duration::from_secs(20), waiting).await;
        assert!(came.is_ok(), "{count} refunds of {capture} were expected: {:?}", self.refunds(capture));
        self.refunds(capture)
    }

    /// Makes a call of a webhook ready, sent now; PayPal knows it from now on. Its body is not what `serde_json`
    /// would write.
    pub fn transmit(&self, event: &Value) -> Transmission {
        let mut books = self.books();
        books.count += 1;
        let transmission = Transmission {
            headers: BTreeMap::from([
                ("paypal-auth-algo", "SHA256withRSA".to_owned()),
                (
                    "paypal-cert-url",
                    "https://api.paypal.com/v1/notifications/certs/CERT-360caa42-fca2a594".to_owned(),
                ),
                ("paypal-transmission-id", format!("69cd13f0-d67a-11e5-baa3-{:012}", books.count)),
                ("paypal-transmission-sig", format!("thy4/U002quzxFavHPwbfJGcc46E8rc5jzgy{}==", books.count)),
                ("paypal-transmission-time", time(books.clock.now())),
            ]),
            body: serde_json::to_string_pretty(event).unwrap(),
        };
        books.sent.insert(remembered(&transmission.headers, &transmission.body));
        transmission
    }

    /// Calls the application's webhook with an event.
    pub async fn deliver(&self, app: &TestApp, event: &Value) -> Answer {
        Self::call(app, &self.transmit(event)).await
    }

    /// Calls it with any headers and any body.
    pub async fn call(app: &TestApp, transmission: &Transmission) -> Answer {
        let mut call = app.browser().post(WEBHOOK).bare();
        for (name, value) in &transmission.headers {
            call = call.header(name, value);
        }
        call.body("application/json", transmission.body.clone()).await
    }

    fn books(&self) -> std::sync::MutexGuard<'_, Books> {
        self.books.lock().unwrap()
    }
}

/// Whatever of it is changed, it is another one.
fn remembered(headers: &BTreeMap<&'static str, String>, body: &str) -> String {
    let values: Vec<&str> = headers.values().map(String::as_str).collect();
    format!("{} {body}", values.join(" "))
}

/// The capture that a refund is of.
fn above(refund: &Value) -> &str {
    let links = refund["links"].as_array().unwrap();
    let up = links.iter().find(|link| link["rel"] == "up").unwrap();
    up["href"].as_str().unwrap().rsplit('/').next().unwrap()
}

fn minor(amount: &Value) -> i64 {
    Money::parse_exact(amount["value"].as_str().unwrap()).unwrap().minor()
}

type Outcome = Result<Value, (u16, Value)>;

fn no(status: u16, issue: &str, description: &str) -> (u16, Value) {
    let name = match status {
        404 => "RESOURCE_NOT_FOUND",
        422 => "UNPROCESSABLE_ENTITY",
        _ => "INVALID_REQUEST",
    };
    let details = json!([{ "issue": issue, "description": description }]);
    (
        status,
        json!({ "name": name, "message": "See the details.", "debug_id": "90957fca61718", "details": details }),
    )
}

fn nothing() -> (u16, Value) {
    no(404, "INVALID_RESOURCE_ID", "Specified resource ID does not exist.")
}

fn malformed(what: &str) -> (u16, Value) {
    no(400, "INVALID_PARAMETER_VALUE", what)
}

/// `1234.05`: digits, a point, two digits.
fn is_amount(amount: &Value) -> bool {
    let value = amount["value"].as_str().unwrap_or_default();
    let (whole, cents) = value.split_once('.').unwrap_or_default();
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits(whole)
        && digits(cents)
        && cents.len() == 2
        && amount["currency_code"].as_str().is_some_and(|code| code.len() == 3)
}

/// To the second, as PayPal writes it.
fn time(at: Timestamp) -> String {
    format!("{}Z", iso(at).split_once('.').unwrap().0)
}

impl Books {
    fn answer(&mut self, asked: &Asked) -> (u16, Value) {
        if asked.path == "/v1/oauth2/token" {
            return self.token(asked);
        }
        let now = self.clock.now();
        let token = asked.header("authorization").strip_prefix("Bearer ").unwrap_or_default();
        if self.tokens.get(token).is_none_or(|until| *until <= now) {
            let words = "The token passed in was not found in the system";
            return (401, json!({ "error": "invalid_token", "error_description": words }));
        }
        let outcome = match asked.method.as_str() {
            "GET" => self.shown(asked),
            "POST" if asked.header("content-type") == "application/json" => self.done(asked),
            _ => Err(no(415, "UNSUPPORTED_MEDIA_TYPE", "The body must be JSON")),
        };
        let created = if asked.method == "POST" && !asked.path.ends_with("signature") { 201 } else { 200 };
        outcome.map_or_else(|no| no, |value| (created, value))
    }

    fn token(&mut self, asked: &Asked) -> (u16, Value) {
        let encoded = base64(format!("{CLIENT_ID}:{CLIENT_SECRET}").as_bytes());
        let form = asked.form();
        if asked.header("authorization") != format!("Basic {encoded}")
            || form.get("grant_type").map(String::as_str) != Some("client_credentials")
        {
            let words = "Client Authentication failed";
            return (401, json!({ "error": "invalid_client", "error_description": words }));
        }
        self.count += 1;
        let token = format!("A21AA-stand-in-token-{}", self.count);
        self.tokens.insert(token.clone(), plus(self.clock.now(), 32_400_000));
        (200, json!({ "access_token": token, "token_type": "Bearer", "expires_in": 32_400, "scope": "all" }))
    }

    fn shown(&self, asked: &Asked) -> Outcome {
        let path: Vec<&str> = asked.path.trim_matches('/').split('/').collect();
        match path[..] {
            ["v2", "checkout", "orders", id] => {
                self.orders.get(id).map(|order| self.order(id, order)).ok_or(nothing())
            }
            ["v2", "payments", "captures", id] => self.captures.get(id).cloned().ok_or(nothing()),
            ["v1", "customer", "disputes"] => {
                let about = &asked.query["disputed_transaction_id"];
                let about = |dispute: &&Value| {
                    dispute["disputed_transactions"][0]["seller_transaction_id"] == about.as_str()
                };
                // The list has no outcomes.
                let short = |dispute: &Value| json!({ "dispute_id": dispute["dispute_id"], "status": dispute["status"] });
                Ok(json!({ "items": self.disputes.values().filter(about).map(short).collect::<Vec<_>>() }))
            }
            ["v1", "customer", "disputes", id] => self.disputes.get(id).cloned().ok_or(nothing()),
            ["v1", "reporting", "transactions"] => Ok(self.report(&asked.query)),
            _ => Err(nothing()),
        }
    }

    fn done(&mut self, asked: &Asked) -> Outcome {
        let body: Value = serde_json::from_str(&asked.body).map_err(|_| malformed("no JSON"))?;
        let key = asked.header("paypal-request-id");
        if key.len() > 38 {
            return Err(malformed("PayPal-Request-Id is too long"));
        }
        let key = Some(format!("{} {key}", asked.path)).filter(|_| !key.is_empty());
        let made = key.as_ref().and_then(|key| self.keys.get(key)).cloned();
        let path: Vec<&str> = asked.path.trim_matches('/').split('/').collect();
        match path[..] {
            ["v2", "checkout", "orders"] => {
                if let Some(order) = made {
                    return Ok(self.order(&order, &self.orders[&order]));
                }
                let unit = &body["purchase_units"][0];
                if body["intent"] != "CAPTURE" || !is_amount(&unit["amount"]) {
                    return Err(malformed("the order"));
                }
                let order = self.begin(unit["amount"].clone(), unit["custom_id"].as_str().map(str::to_owned));
                self.keys.extend(key.map(|key| (key, order.clone())));
                Ok(self.order(&order, &self.orders[&order]))
            }
            ["v2", "checkout", "orders", id, "capture"] => {
                let order = self.orders.get_mut(id).ok_or(nothing())?;
                if order.status == "COMPLETED" {
                    return Err(no(422, "ORDER_ALREADY_CAPTURED", "Order already captured."));
                }
                if order.status != "APPROVED" {
                    let words = "Payer has not yet approved the Order for payment.";
                    return Err(no(422, "ORDER_NOT_APPROVED", words));
                }
                if std::mem::take(&mut order.declines) {
                    let words = "The instrument presented was either declined by the processor or bank.";
                    return Err(no(422, "INSTRUMENT_DECLINED", words));
                }
                self.take(id);
                Ok(self.order(id, &self.orders[id]))
            }
            ["v2", "payments", "captures", id, "refund"] => {
                if let Some(made) = made {
                    return Ok(self
                        .refunds
                        .iter()
                        .find(|refund| refund["id"] == made.as_str())
                        .unwrap()
                        .clone());
                }
                if !is_amount(&body["amount"]) {
                    return Err(malformed("the amount"));
                }
                let refund = self.refund(id, body["amount"].clone(), body.get("custom_id").cloned())?;
                self.keys.extend(key.map(|key| (key, refund["id"].as_str().unwrap().to_owned())));
                Ok(refund)
            }
            ["v1", "notifications", "verify-webhook-signature"] => self.verified(asked),
            _ => Err(nothing()),
        }
    }

    fn verified(&self, asked: &Asked) -> Outcome {
        #[derive(Deserialize)]
        struct Question<'a> {
            auth_algo: String,
            cert_url: String,
            transmission_id: String,
            transmission_sig: String,
            transmission_time: String,
            webhook_id: String,
            #[serde(borrow)]
            webhook_event: &'a RawValue,
        }
        let question: Question<'_> =
            serde_json::from_str(&asked.body).map_err(|_| malformed("the question"))?;
        let headers = BTreeMap::from([
            ("paypal-auth-algo", question.auth_algo),
            ("paypal-cert-url", question.cert_url),
            ("paypal-transmission-id", question.transmission_id),
            ("paypal-transmission-sig", question.transmission_sig),
            ("paypal-transmission-time", question.transmission_time),
        ]);
        let known = self.sent.contains(&remembered(&headers, question.webhook_event.get()));
        let success = known && question.webhook_id == WEBHOOK_ID;
        Ok(json!({ "verification_status": if success { "SUCCESS" } else { "FAILURE" } }))
    }

    fn report(&self, query: &BTreeMap<String, String>) -> Value {
        let moment = |name: &str| Timestamp::parse_rfc3339_str(&query[name]).unwrap();
        let (from, to) = (moment("start_date"), moment("end_date"));
        assert!(
            to.timestamp_millis() - from.timestamp_millis() <= 31 * 86_400_000,
            "PayPal lists 31 days at most"
        );
        let line = |code: &str, object: &Value, sign: &str, above: Option<&str>| {
            let at = object["create_time"].as_str().unwrap();
            let amount = &object["amount"];
            let value = format!("{sign}{}", amount["value"].as_str().unwrap());
            json!({ "transaction_info": {
                "transaction_id": object["id"], "transaction_event_code": code, "transaction_status": "S",
                "paypal_reference_id": above, "paypal_reference_id_type": above.map(|_| "TXN"),
                // PayPal leaves out the colon here.
                "transaction_initiation_date": at.replace('Z', "+0000"),
                "transaction_amount": { "currency_code": amount["currency_code"], "value": value },
                "custom_field": object.get("custom_id"),
            } })
        };
        let mut lines: Vec<Value> =
            self.captures.values().map(|capture| line("T0006", capture, "", None)).collect();
        lines.extend(self.refunds.iter().map(|refund| line("T1107", refund, "-", Some(above(refund)))));
        // The owner of the account moves money to a bank: nothing that concerns the marketplace.
        lines.extend(self.captures.values().next().map(|capture| line("T0400", capture, "-", None)));
        lines.retain(|line| {
            let at = line["transaction_info"]["transaction_initiation_date"].as_str().unwrap();
            let at = Timestamp::parse_rfc3339_str(at.replace("+0000", "Z")).unwrap();
            (from..=to).contains(&at)
        });
        let size: usize = query["page_size"].parse().unwrap();
        let page: usize = query["page"].parse().unwrap();
        let pages = lines.len().div_ceil(size);
        let shown: Vec<Value> = lines.into_iter().skip((page - 1) * size).take(size).collect();
        json!({ "transaction_details": shown, "page": page, "total_pages": pages })
    }

    /// Seventeen letters and digits, as PayPal's ids.
    fn name(&mut self, kind: &str) -> String {
        self.count += 1;
        format!("{kind}{:015}", self.count)
    }

    fn order_mut(&mut self, id: &str) -> &mut Order {
        self.orders.get_mut(id).unwrap_or_else(|| panic!("there is no order {id}"))
    }

    fn begin(&mut self, amount: Value, custom_id: Option<String>) -> String {
        let id = self.name("5O");
        let order = Order { amount, custom_id, status: "CREATED", payer: None, declines: false, updated: 0 };
        self.orders.insert(id.clone(), order);
        id
    }

    /// The order as PayPal describes it.
    fn order(&self, id: &str, order: &Order) -> Value {
        let captures: Vec<&Value> = self
            .captures
            .values()
            .filter(|capture| capture["supplementary_data"]["related_ids"]["order_id"] == id)
            .collect();
        let of_order = |refund: &&Value| captures.iter().any(|capture| capture["id"] == above(refund));
        let refunds: Vec<&Value> = self.refunds.iter().filter(of_order).collect();
        let mut unit = json!({ "reference_id": "default", "amount": order.amount });
        if let Some(custom_id) = &order.custom_id {
            unit["custom_id"] = json!(custom_id);
        }
        if !captures.is_empty() {
            unit["payments"] = json!({ "captures": captures, "refunds": refunds });
        }
        let mut shown = json!({
            "id": id, "intent": "CAPTURE", "status": order.status, "purchase_units": [unit],
            "update_time": format!("2026-11-22T00:00:{:02}Z", order.updated),
            "links": [
                { "href": format!("https://api-m.paypal.com/v2/checkout/orders/{id}"), "rel": "self", "method": "GET" },
                { "href": format!("https://www.paypal.com/checkoutnow?token={id}"), "rel": "approve", "method": "GET" },
            ],
        });
        if let Some(payer) = &order.payer {
            shown["payer"] = json!({ "payer_id": payer, "email_address": "payer@example.com" });
        }
        shown
    }

    fn take(&mut self, order: &str) -> String {
        let (id, at) = (self.name("3C"), time(self.clock.now()));
        let known = self.order_mut(order);
        known.status = "COMPLETED";
        let mut capture = json!({
            "id": id, "status": "COMPLETED", "amount": known.amount, "final_capture": true, "create_time": at,
            "supplementary_data": { "related_ids": { "order_id": order } },
        });
        if let Some(custom_id) = &known.custom_id {
            capture["custom_id"] = json!(custom_id);
        }
        self.captures.insert(id.clone(), capture);
        id
    }

    fn refund(&mut self, capture: &str, amount: Value, custom_id: Option<Value>) -> Outcome {
        let (id, at) = (self.name("1J"), time(self.clock.now()));
        let taken = minor(&self.captures.get(capture).ok_or(nothing())?["amount"]);
        let back = |refund: &&Value| above(refund) == capture && refund["status"] != "FAILED";
        let back: i64 = self.refunds.iter().filter(back).map(|refund| minor(&refund["amount"])).sum();
        if back == taken {
            return Err(no(422, "CAPTURE_FULLY_REFUNDED", "The capture has already been fully refunded."));
        }
        if back + minor(&amount) > taken {
            let words = "The refund amount must be less than or equal to the capture amount that has not yet been \
                         refunded.";
            return Err(no(422, "REFUND_AMOUNT_EXCEEDED", words));
        }
        let whole = back + minor(&amount) == taken;
        self.captures.get_mut(capture).unwrap()["status"] =
            json!(if whole { "REFUNDED" } else { "PARTIALLY_REFUNDED" });
        let mut refund = json!({
            "id": id, "status": "COMPLETED", "amount": amount, "create_time": at,
            "links": [
                { "href": format!("https://api-m.paypal.com/v2/payments/refunds/{id}"), "rel": "self" },
                { "href": format!("https://api-m.paypal.com/v2/payments/captures/{capture}"), "rel": "up" },
            ],
        });
        if let Some(custom_id) = custom_id {
            refund["custom_id"] = custom_id;
        }
        self.refunds.push(refund.clone());
        Ok(refund)
    }

    fn event(&mut self, kind: &str, resource_type: &str, resource: Value) -> Value {
        self.count += 1;
        json!({
            "id": format!("WH-2WR32451HC0233532-{:017}", self.count), "event_version": "1.0",
            "create_time": iso(self.clock.now()), "resource_type": resource_type, "event_type": kind,
            "summary": "A payment of 1.0 is \u{fc}ber", "resource": resource, "links": [],
        })
    }
}

/// RFC 4648, with padding.
fn base64(bytes: &[u8]) -> String {
    let alphabet: Vec<char> = ('A'..='Z').chain('a'..='z').chain('0'..='9').chain(['+', '/']).collect();
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let bits = group.iter().fold(0_usize, |bits, byte| bits << 8 | usize::from(*byte))
            << (8 * (3 - group.len()));
        for place in 0..4 {
            text.push(if place <= group.len() { alphabet[bits >> (18 - 6 * place) & 63] } else { '=' });
        }
    }
    text
}
