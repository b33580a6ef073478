//! Stripe's stand-in: it remembers intents, refunds, disputes and idempotency keys, refuses what Stripe refuses, and
//! calls webhooks with real signatures. The real gateway code talks to it.
//!
//! ```text
//! let stripe = Stripe::start().await;
//! let app = stripe.app(&[]).await;
//! let begun = ann.post("/api/stripe/process").json(&json!({ "amount": 1100 })).await.expect(200);
//! let paid = stripe.succeed(begun["id"].as_str().unwrap());    // the event that Stripe would send
//! stripe.deliver(&app, &paid).await.expect(200);
//! ```

use std::{
    collections::{BTreeMap, HashMap},
    ops::Deref,
    sync::{Arc, Mutex},
    time::Duration,
};

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Map, Value, json};
use sha2::Sha256;
use shared::clock::Clock;

use crate::{
    Answer, TestApp,
    stand_in::{Asked, StandIn},
};

/// The secret key that it knows.
pub const SECRET_KEY: &str = "sk_test_stand_in_secret";
/// It signs its webhooks with this.
pub const WEBHOOK_SECRET: &str = "whsec_stand_in_secret";
/// Where it sends them.
pub const WEBHOOK: &str = "/api/stripe/webhook";

/// The running stand-in. [`StandIn`]'s methods make it misbehave and tell what it was asked.
pub struct Stripe {
    server: StandIn,
    books: Arc<Mutex<Books>>,
}

impl Deref for Stripe {
    type Target = StandIn;
    fn deref(&self) -> &StandIn {
        &self.server
    }
}

/// What it remembers.
#[derive(Default)]
struct Books {
    clock: Clock,
    count: u32,
    intents: BTreeMap<String, Value>,
    /// Oldest first.
    charges: Vec<Value>,
    refunds: Vec<Value>,
    disputes: BTreeMap<String, Value>,
    /// What was asked under a key, and the answer.
    keys: HashMap<String, (String, String, (u16, Value))>,
}

impl Stripe {
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
            ("STRIPE_SECRET_KEY", SECRET_KEY.to_owned()),
            ("STRIPE_PUBLISHABLE_KEY", "pk_test_stand_in".to_owned()),
            ("STRIPE_WEBHOOK_SECRET", WEBHOOK_SECRET.to_owned()),
            ("STRIPE_API_BASE", self.base()),
        ]
    }

    /// An application that takes cards here, with more settings. From now on both have the same time.
    pub async fn app(&self, more: &[(&str, &str)]) -> TestApp {
        let ours = self.settings();
        let mut settings: Vec<(&str, &str)> =
            ours.iter().map(|(name, value)| (*name, value.as_str())).collect();
        settings.extend(more);
        let app = TestApp::with(&settings).await;
        self.books.lock().unwrap().clock = app.clock.clone();
        app
    }

    /// Whoever pays confirms the intent, and the money is taken. Gives the event that tells of it, as do the
    /// others; nothing is sent until [`Self::deliver`].
    pub fn succeed(&self, intent: &str) -> Value {
        let mut books = self.books.lock().unwrap();
        let (charge, now) = (books.name("ch"), books.now());
        let paid = books.intent(intent);
        assert_ne!(paid["status"], "succeeded", "{intent} was paid before");
        assert_ne!(paid["status"], "canceled", "{intent} was called off");
        paid["status"] = json!("succeeded");
        paid["amount_received"] = paid["amount"].clone();
        paid["last_payment_error"] = Value::Null;
        paid["latest_charge"] = json!(charge);
        let charge = json!({
            "id": charge, "object": "charge", "amount": paid["amount"], "amount_captured": paid["amount"],
            "amount_refunded": 0, "captured": true, "refunded": false, "paid": true, "status": "succeeded",
            "currency": paid["currency"], "payment_intent": intent, "created": now, "metadata": paid["metadata"],
        });
        let object = paid.clone();
        books.charges.push(charge);
        books.event("payment_intent.succeeded", object)
    }

    /// The card is declined, in these words; it may be tried again.
    pub fn decline(&self, intent: &str, why: &str) -> Value {
        let mut books = self.books.lock().unwrap();
        let declined = books.intent(intent);
        declined["status"] = json!("requires_payment_method");
        declined["last_payment_error"] =
            json!({ "type": "card_error", "code": "card_declined", "message": why });
        let object = declined.clone();
        books.event("payment_intent.payment_failed", object)
    }

    /// The bank wants its customer to confirm (3-D Secure).
    pub fn require_action(&self, intent: &str) -> Value {
        self.set_status(intent, "requires_action", "payment_intent.requires_action")
    }

    /// The bank takes its time.
    pub fn process(&self, intent: &str) -> Value {
        self.set_status(intent, "processing", "payment_intent.processing")
    }

    /// Somebody calls the intent off.
    pub fn cancel(&self, intent: &str) -> Value {
        self.set_status(intent, "canceled", "payment_intent.canceled")
    }

    fn set_status(&self, intent: &str, status: &str, kind: &str) -> Value {
        let mut books = self.books.lock().unwrap();
        let changed = books.intent(intent);
        changed["status"] = json!(status);
        let object = changed.clone();
        books.event(kind, object)
    }

    /// Makes a field of an intent another, as only somebody at Stripe could.
    pub fn alter(&self, intent: &str, field: &str, value: Value) {
        self.books.lock().unwrap().intent(intent)[field] = value;
    }

    /// An intent that somebody begins in the same account, but not through Souk.
    pub fn begin_elsewhere(&self, amount: i64, currency: &str) -> String {
        let mut books = self.books.lock().unwrap();
        books.begin(amount, currency, json!({}))["id"].as_str().unwrap().to_owned()
    }

    /// Somebody at Stripe's dashboard returns some of a payment. The event is `refund.created`.
    pub fn refund_elsewhere(&self, intent: &str, minor: i64) -> Value {
        let mut books = self.books.lock().unwrap();
        let refund = books.refund(intent, minor, json!({})).unwrap();
        books.event("refund.created", refund)
    }

    /// The event that tells of a refund, ours or not, as it stands.
    pub fn refund_event(&self, refund: &str, kind: &str) -> Value {
        let mut books = self.books.lock().unwrap();
        let object = books.refunds.iter().find(|known| known["id"] == refund).unwrap().clone();
        books.event(kind, object)
    }

    /// The payer's bank does not take the refund: its money is back at Stripe. The event is `refund.failed`.
    pub fn fail_refund(&self, refund: &str) -> Value {
        let mut books = self.books.lock().unwrap();
        let failed = books.refunds.iter_mut().find(|known| known["id"] == refund).unwrap();
        failed["status"] = json!("failed");
        let object = failed.clone();
        books.count_refunds(object["payment_intent"].as_str().unwrap());
        books.event("refund.failed", object)
    }

    /// The event `charge.refunded`: how much of a payment went back in all.
    pub fn charge_refunded(&self, intent: &str) -> Value {
        let mut books = self.books.lock().unwrap();
        let charge = books.charge(intent).unwrap().clone();
        books.event("charge.refunded", charge)
    }

    /// The payer's bank wants so much of a payment back. The event is `charge.dispute.created`.
    pub fn dispute(&self, intent: &str, minor: i64) -> Value {
        let mut books = self.books.lock().unwrap();
        let id = books.name("dp");
        let dispute = json!({
            "id": id, "object": "dispute", "amount": minor, "currency": "usd", "reason": "fraudulent",
            "status": "needs_response", "payment_intent": intent, "charge": books.charge(intent).unwrap()["id"],
        });
        books.disputes.insert(id, dispute.clone());
        books.event("charge.dispute.created", dispute)
    }

    /// A dispute goes on: its status is `under_review`, `won`, `lost`, … from now on. `dispute` is its id.
    pub fn dispute_becomes(&self, dispute: &str, status: &str) -> Value {
        let mut books = self.books.lock().unwrap();
        let known = books.disputes.get_mut(dispute).unwrap();
        known["status"] = json!(status);
        let object = known.clone();
        let closed = ["won", "lost", "warning_closed"].contains(&status);
        books.event(if closed { "charge.dispute.closed" } else { "charge.dispute.updated" }, object)
    }

    /// Any other event.
    pub fn event(&self, kind: &str, object: Value) -> Value {
        self.books.lock().unwrap().event(kind, object)
    }

    /// An idempotency key counts for a day; after this none does.
    pub fn forget_keys(&self) {
        self.books.lock().unwrap().keys.clear();
    }

    /// An intent as it stands.
    pub fn intent(&self, intent: &str) -> Value {
        self.books.lock().unwrap().intent(intent).clone()
    }

    /// How many intents there are.
    pub fn intents(&self) -> usize {
        self.books.lock().unwrap().intents.len()
    }

    /// The refunds of an intent, oldest first, as Stripe describes them.
    pub fn refunds(&self, intent: &str) -> Vec<Value> {
        let books = self.books.lock().unwrap();
        books.refunds.iter().filter(|refund| refund["payment_intent"] == intent).cloned().collect()
    }

    /// Waits until so many refunds of an intent were made, and gives them.
    pub async fn await_refunds(&self, intent: &str, count: usize) -> Vec<Value> {
        let waiting = async {
            while self.refunds(intent).len() < count {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let came = tokio::time::timeout(Duration::from_secs(20), waiting).await;
        assert!(came.is_ok(), "{count} refunds of {intent} were expected: {:?}", self.refunds(intent));
        self.refunds(intent)
    }

    /// Calls the application's webhook with an event, signed now.
    pub async fn deliver(&self, app: &TestApp, event: &Value) -> Answer {
        let body = event.to_string();
        let signature = sign(&body, WEBHOOK_SECRET, app.clock.now().timestamp_millis().div_euclid(1000));
        Self::call(app, &body, Some(&signature)).await
    }

    /// Calls it with any body and any signature.
    pub async fn call(app: &TestApp, body: &str, signature: Option<&str>) -> Answer {
        let mut call = app.browser().post(WEBHOOK).bare();
        if let Some(signature) = signature {
            call = call.header("stripe-signature", signature);
        }
        call.body("application/json; charset=utf-8", body.to_owned()).await
    }
}

/// The header `stripe-signature` for a body that is sent at that second.
pub fn sign(body: &str, secret: &str, seconds: i64) -> String {
    format!("t={seconds},v1={}", signature(body, secret, seconds))
}

/// Only the signature.
pub fn signature(body: &str, secret: &str, seconds: i64) -> String {
    let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    let mac = mac.chain_update(format!("{seconds}.{body}")).finalize().into_bytes();
    mac.iter().map(|byte| format!("{byte:02x}")).collect()
}

type Outcome = Result<Value, (u16, Value)>;

fn no(status: u16, kind: &str, code: &str, message: impl Into<String>) -> (u16, Value) {
    (status, json!({ "error": { "type": kind, "code": code, "message": message.into() } }))
}

fn invalid(message: impl Into<String>) -> (u16, Value) {
    no(400, "invalid_request_error", "parameter_invalid", message)
}

impl Books {
    fn answer(&mut self, asked: &Asked) -> (u16, Value) {
        if asked.header("authorization") != format!("Bearer {SECRET_KEY}") {
            let quoted = asked.header("authorization").trim_start_matches("Bearer ");
            return no(401, "invalid_request_error", "api_key_invalid", format!("Invalid API Key: {quoted}"));
        }
        if asked.method == "GET" {
            return self.shown(asked).map_or_else(|no| no, |object| (200, object));
        }
        if asked.header("content-type") != "application/x-www-form-urlencoded" {
            return invalid("The body must be a form");
        }
        let key = asked.header("idempotency-key").to_owned();
        if let Some((path, body, answer)) = self.keys.get(&key) {
            let same = *path == asked.path && *body == asked.body;
            let reused = "Keys for idempotent requests can only be used with the same parameters";
            return if same { answer.clone() } else { no(400, "idempotency_error", "key_reused", reused) };
        }
        let answer = self.done(asked).map_or_else(|no| no, |object| (200, object));
        if !key.is_empty() {
            self.keys.insert(key, (asked.path.clone(), asked.body.clone(), answer.clone()));
        }
        answer
    }

    fn done(&mut self, asked: &Asked) -> Outcome {
        let mut form = asked.form();
        let metadata = metadata(&mut form);
        let number = |name: &str, text: Option<String>| {
            let parsed = text.as_deref().map(str::parse::<i64>);
            parsed.and_then(Result::ok).ok_or_else(|| invalid(format!("Invalid integer: {name}")))
        };
        let object = match asked.path.as_str() {
            "/v1/payment_intents" => {
                let amount = number("amount", form.remove("amount"))?;
                let currency = form.remove("currency").unwrap_or_default();
                if currency.len() != 3 || currency != currency.to_lowercase() {
                    return Err(invalid(format!("Invalid currency: {currency}")));
                }
                if !(50..=99_999_999).contains(&amount) {
                    return Err(no(
                        400,
                        "invalid_request_error",
                        "amount_too_small",
                        "Amount must be at least $0.50",
                    ));
                }
                Box::new(move |books: &mut Self| Ok(books.begin(amount, &currency, metadata)))
                    as Box<dyn FnOnce(&mut Self) -> Outcome>
            }
            "/v1/refunds" => {
                let intent = form.remove("payment_intent").unwrap_or_default();
                let amount = number("amount", form.remove("amount"))?;
                Box::new(move |books: &mut Self| books.refund(&intent, amount, metadata))
            }
            path => {
                return Err(no(
                    404,
                    "invalid_request_error",
                    "unknown",
                    format!("Unrecognized request URL: {path}"),
                ));
            }
        };
        match form.keys().next() {
            Some(unknown) => Err(invalid(format!("Received unknown parameter: {unknown}"))),
            None => object(self),
        }
    }

    fn shown(&self, asked: &Asked) -> Outcome {
        match asked.path.as_str() {
            "/v1/refunds" => Ok(page(&self.refunds, &asked.query)),
            "/v1/charges" => Ok(page(&self.charges, &asked.query)),
            path => {
                let id = path.strip_prefix("/v1/payment_intents/").unwrap_or_default();
                let Some(intent) = self.intents.get(id) else {
                    let message = format!("No such payment_intent: '{id}'");
                    return Err(no(404, "invalid_request_error", "resource_missing", message));
                };
                let mut intent = intent.clone();
                if asked
                    .query
                    .iter()
                    .any(|(name, what)| name.starts_with("expand") && what == "latest_charge")
                    && let Some(charge) =
                        self.charges.iter().find(|charge| charge["id"] == intent["latest_charge"])
                {
                    intent["latest_charge"] = charge.clone();
                }
                Ok(intent)
            }
        }
    }

    fn now(&self) -> i64 {
        self.clock.now().timestamp_millis().div_euclid(1000)
    }

    fn name(&mut self, kind: &str) -> String {
        self.count += 1;
        format!("{kind}_3Stand1n{:06}", self.count)
    }

    fn intent(&mut self, id: &str) -> &mut Value {
        self.intents.get_mut(id).unwrap_or_else(|| panic!("there is no intent {id}"))
    }

    fn charge(&mut self, intent: &str) -> Option<&mut Value> {
        self.charges.iter_mut().find(|charge| charge["payment_intent"] == intent)
    }

    fn begin(&mut self, amount: i64, currency: &str, metadata: Value) -> Value {
        let id = self.name("pi");
        let intent = json!({
            "id": id, "object": "payment_intent", "amount": amount, "amount_received": 0, "currency": currency,
            "client_secret": format!("{id}_secret_{}", self.name("s")), "created": self.now(), "livemode": false,
            "last_payment_error": null, "latest_charge": null, "metadata": metadata,
            "status": "requires_payment_method",
        });
        self.intents.insert(id, intent.clone());
        intent
    }

    fn refund(&mut self, intent: &str, amount: i64, metadata: Value) -> Outcome {
        let (id, now) = (self.name("re"), self.now());
        let Some(charge) = self.charge(intent) else {
            return Err(invalid(format!(
                "This PaymentIntent ({intent}) does not have a successful charge to refund."
            )));
        };
        let left = charge["amount"].as_i64().unwrap() - charge["amount_refunded"].as_i64().unwrap();
        if !(1..=left).contains(&amount) {
            let message =
                format!("Refund amount ({amount}) is greater than unrefunded amount on charge ({left})");
            return Err(invalid(message));
        }
        let refund = json!({
            "id": id, "object": "refund", "amount": amount, "charge": charge["id"], "created": now,
            "currency": charge["currency"], "metadata": metadata, "payment_intent": intent, "status": "succeeded",
        });
        self.refunds.push(refund.clone());
        self.count_refunds(intent);
        Ok(refund)
    }

    fn count_refunds(&mut self, intent: &str) {
        let stands = |refund: &&Value| refund["payment_intent"] == intent && refund["status"] != "failed";
        let gone: i64 =
            self.refunds.iter().filter(stands).map(|refund| refund["amount"].as_i64().unwrap()).sum();
        let charge = self.charge(intent).unwrap();
        charge["amount_refunded"] = json!(gone);
        charge["refunded"] = json!(charge["amount"] == gone);
    }

    fn event(&mut self, kind: &str, object: Value) -> Value {
        json!({
            "id": self.name("evt"), "object": "event", "api_version": "2026-09-30.endive", "created": self.now(),
            "livemode": false, "pending_webhooks": 1, "type": kind, "data": { "object": object },
        })
    }
}

/// Takes `metadata[name]` out of a form.
fn metadata(form: &mut BTreeMap<String, String>) -> Value {
    let inner = |name: &str| Some(name.strip_prefix("metadata[")?.strip_suffix(']')?.to_owned());
    let found: Map<String, Value> =
        form.iter().filter_map(|(name, value)| Some((inner(name)?, json!(value)))).collect();
    form.retain(|name, _| inner(name).is_none());
    Value::Object(found)
}

/// A page of a list, the newest first.
fn page(all: &[Value], query: &BTreeMap<String, String>) -> Value {
    let number = |name: &str| query.get(name).map(|text| text.parse::<i64>().unwrap());
    let fits = |object: &&Value| {
        let created = object["created"].as_i64().unwrap();
        number("created[gte]").is_none_or(|from| created >= from)
            && number("created[lt]").is_none_or(|to| created < to)
            && query.get("payment_intent").is_none_or(|intent| object["payment_intent"] == intent.as_str())
    };
    let fitting: Vec<&Value> = all.iter().rev().filter(fits).collect();
    let after = query.get("starting_after").map_or(0, |last| {
        1 + fitting
            .iter()
            .position(|object| object["id"] == last.as_str())
            .expect("starting_after is not in the list")
    });
    let limit = usize::try_from(number("limit").unwrap_or(10)).unwrap();
    assert!((1..=100).contains(&limit), "{limit}");
    let rest = &fitting[after..];
    let shown: Vec<&Value> = rest.iter().take(limit).copied().collect();
    json!({ "object": "list", "data": shown, "has_more": rest.len() > limit })
}
