//! What the sandbox tells of its own accord: bodies of the real gateways' shapes, their signatures,
//! and how those are checked. The real gateways' code reads the bodies.

use std::sync::atomic::{AtomicI64, Ordering};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use shared::{
    clock::{Timestamp, iso, plus},
    id::Id,
    model::Stored,
    money::Money,
};

use super::{
    super::{
        gateway::{GatewayRefusal, Notice, WebhookCall},
        paypal, signature, stripe,
    },
    Result,
    payment::{SandboxDispute, SandboxPayment, SandboxRefund, Standing},
    telling::{Delivery, Order},
};

/// PayPal's headers, as far as the sandbox sends them.
const TRANSMISSION_ID: &str = "paypal-transmission-id";
const TRANSMISSION_TIME: &str = "paypal-transmission-time";
const TRANSMISSION_SIG: &str = "paypal-transmission-sig";

/// So many milliseconds a delivery may be old, or ahead.
const TOLERANCE: i64 = 300_000;

/// Something that happened to a payment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Happening {
    Paid,
    Declined,
    Returned(SandboxRefund),
    Disputed(SandboxDispute),
    Decided(SandboxDispute),
}

/// A webhook that is to be called (`sandboxevents`).
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SandboxEvent {
    #[serde(rename = "_id")]
    pub id: String,
    pub gateway: String,
    /// The gateway's name for what happened.
    pub kind: String,
    /// As it is sent, each time.
    pub body: String,
    pub at: Timestamp,
    /// When it happened, among all events: how they are put in order.
    pub sequence: i64,
    /// In which order it is sent among those that are due.
    pub place: i64,
    pub due_at: Timestamp,
    /// Not to be sent until it is released.
    pub held: bool,
    /// So often it is still to be sent.
    pub left: i64,
    #[serde(default)]
    pub attempts: i32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
}

impl Stored for SandboxEvent {
    const COLLECTION: &'static str = "sandboxevents";
}

/// A place in the order that is wanted.
pub(super) fn place(order: Order, sequence: i64) -> i64 {
    match order {
        Order::Given => sequence,
        Order::Reversed => -sequence,
        // The end of an id is as good as chance, and needs no dice.
        Order::Shuffled => {
            let digest = shared::auth::digest(&Id::<SandboxEvent>::new().hex());
            i64::from_str_radix(digest.get(..15).unwrap_or_default(), 16).unwrap_or_default()
        }
    }
}

/// Later than any before it in this process, and by and large than those elsewhere.
fn next_in_sequence(now: Timestamp) -> i64 {
    static LAST: AtomicI64 = AtomicI64::new(0);
    let by_clock = now.timestamp_millis().saturating_mul(1000);
    let before = LAST.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(by_clock.max(last + 1)));
    by_clock.max(before.unwrap_or_default() + 1)
}

/// What a gateway tells when that happens.
pub(super) fn of(
    payment: &SandboxPayment,
    what: &Happening,
    delivery: &Delivery,
    now: Timestamp,
) -> Vec<SandboxEvent> {
    let paypal = payment.gateway == "paypal";
    let told = if paypal { paypal_resources(payment, what, now) } else { stripe_objects(payment, what, now) };
    told.into_iter()
        .map(|(kind, about)| {
            let new = Id::<SandboxEvent>::new().hex();
            let (id, body) = match paypal {
                true => {
                    let id = format!("WH-SANDBOX-{}", new.to_uppercase());
                    let body = json!({
                        "id": id, "event_version": "1.0", "create_time": iso(now), "event_type": kind,
                        "resource": about,
                    });
                    (id, body)
                }
                false => {
                    let id = format!("evt_sandbox_{new}");
                    let body = json!({
                        "id": id, "object": "event", "created": seconds(now), "livemode": false, "type": kind,
                        "data": { "object": about },
                    });
                    (id, body)
                }
            };
            let sequence = next_in_sequence(now);
            SandboxEvent {
                id,
                gateway: payment.gateway.clone(),
                kind: kind.to_owned(),
                body: body.to_string(),
                at: now,
                sequence,
                place: place(delivery.order, sequence),
                due_at: plus(now, i64::from(delivery.delay_ms)),
                held: delivery.hold,
                left: i64::from(delivery.times),
                attempts: 0,
                last_error: None,
            }
        })
        .collect()
}

const fn seconds(at: Timestamp) -> i64 {
    at.timestamp_millis().div_euclid(1000)
}

/// With one more field, if there is something to put into it.
fn with(mut object: Value, name: &str, value: Option<&String>) -> Value {
    if let (Some(fields), Some(value)) = (object.as_object_mut(), value) {
        fields.insert(name.to_owned(), json!(value));
    }
    object
}

fn stripe_objects(payment: &SandboxPayment, what: &Happening, now: Timestamp) -> Vec<(&'static str, Value)> {
    let (id, currency) = (payment.id.as_str(), payment.currency.to_lowercase());
    let charge = id.replacen("pi_", "ch_", 1);
    let metadata = with(json!({}), "souk_buyer", payment.buyer.as_ref());
    let intent = |status: &str, received: i64, error: Value| {
        json!({
            "id": id, "object": "payment_intent", "amount": payment.minor, "amount_received": received,
            "currency": currency, "status": status, "created": seconds(payment.at), "metadata": metadata,
            "latest_charge": charge, "last_payment_error": error,
        })
    };
    let dispute = |dispute: &SandboxDispute| {
        json!({
            "id": dispute.id, "object": "dispute", "amount": dispute.minor, "currency": currency,
            "charge": charge, "payment_intent": id, "reason": "fraudulent", "created": seconds(now),
            "status": match dispute.state {
                Standing::Open => "needs_response",
                Standing::Won => "won",
                Standing::Lost => "lost",
            },
        })
    };
    match what {
        Happening::Paid => {
            vec![("payment_intent.succeeded", intent("succeeded", payment.minor, Value::Null))]
        }
        Happening::Declined => {
            let error = json!({ "code": "card_declined", "message": "Your card was declined." });
            vec![("payment_intent.payment_failed", intent("requires_payment_method", 0, error))]
        }
        Happening::Returned(refund) => {
            let metadata = with(json!({}), "souk_key", refund.key.as_ref());
            let refund = json!({
                "id": refund.id, "object": "refund", "amount": refund.minor, "currency": currency,
                "charge": charge, "payment_intent": id, "status": "succeeded", "created": seconds(refund.at),
                "metadata": metadata,
            });
            let charge = json!({
                "id": charge, "object": "charge", "amount": payment.minor, "currency": currency,
                "amount_refunded": payment.refunded_minor, "payment_intent": id, "status": "succeeded",
                "refunded": payment.refunded_minor == payment.minor, "created": seconds(payment.at),
            });
            vec![("refund.created", refund), ("charge.refunded", charge)]
        }
        Happening::Disputed(opened) => vec![("charge.dispute.created", dispute(opened))],
        Happening::Decided(closed) => vec![("charge.dispute.closed", dispute(closed))],
    }
}

fn paypal_resources(
    payment: &SandboxPayment,
    what: &Happening,
    now: Timestamp,
) -> Vec<(&'static str, Value)> {
    let capture = payment.canonical();
    let amount = |minor: i64| json!({ "currency_code": payment.currency, "value": Money::from_minor(minor).to_string() });
    let dispute = |dispute: &SandboxDispute| {
        let (status, outcome) = match dispute.state {
            Standing::Open => ("OPEN", Value::Null),
            Standing::Won => ("RESOLVED", json!({ "outcome_code": "RESOLVED_SELLER_FAVOUR" })),
            Standing::Lost => ("RESOLVED", json!({ "outcome_code": "RESOLVED_BUYER_FAVOUR" })),
        };
        json!({
            "dispute_id": dispute.id, "create_time": iso(now), "status": status,
            "reason": "MERCHANDISE_OR_SERVICE_NOT_RECEIVED", "dispute_amount": amount(dispute.minor),
            "dispute_outcome": outcome, "dispute_life_cycle_stage": "CHARGEBACK",
            "disputed_transactions": [{ "seller_transaction_id": capture }],
        })
    };
    match what {
        Happening::Paid => {
            let resource = json!({
                "id": capture, "status": "COMPLETED", "amount": amount(payment.minor), "final_capture": true,
                "create_time": iso(payment.paid_at.unwrap_or(now)),
                "supplementary_data": { "related_ids": { "order_id": payment.id } }, "links": [],
            });
            let resource = with(resource, "custom_id", payment.buyer.as_ref());
            vec![("PAYMENT.CAPTURE.COMPLETED", resource)]
        }
        // PayPal says so in its answer to the capture, and there is no capture to tell of.
        Happening::Declined => Vec::new(),
        Happening::Returned(refund) => {
            let above = format!("https://api-m.sandbox.paypal.com/v2/payments/captures/{capture}");
            let resource = json!({
                "id": refund.id, "status": "COMPLETED", "amount": amount(refund.minor),
                "create_time": iso(refund.at), "links": [{ "rel": "up", "method": "GET", "href": above }],
            });
            let resource = with(resource, "custom_id", refund.key.as_ref());
            vec![("PAYMENT.CAPTURE.REFUNDED", resource)]
        }
        Happening::Disputed(opened) => vec![("CUSTOMER.DISPUTE.CREATED", dispute(opened))],
        Happening::Decided(closed) => vec![("CUSTOMER.DISPUTE.RESOLVED", dispute(closed))],
    }
}

/// The headers that prove a body which is sent now.
pub(super) fn proof(event: &SandboxEvent, secret: &str, now: Timestamp) -> Vec<(&'static str, String)> {
    if event.gateway != "paypal" {
        return vec![(signature::HEADER, signature::sign(event.body.as_bytes(), secret, now))];
    }
    let (id, time) = (Id::<SandboxEvent>::new().hex(), iso(now));
    let sig = signature::mac(&signed(&id, &time, event.body.as_bytes()), secret);
    vec![
        (TRANSMISSION_ID, id),
        (TRANSMISSION_TIME, time),
        (TRANSMISSION_SIG, sig),
        ("paypal-auth-algo", "HMAC-SHA256".to_owned()),
    ]
}

/// What PayPal's signature is made over; theirs has a checksum of the body in place of a digest.
fn signed(id: &str, time: &str, body: &[u8]) -> String {
    format!("{id}|{time}|sandbox|{}", shared::auth::content_digest(body))
}

/// Makes sure that a webhook was called by this sandbox, and reads it.
pub(super) fn read(gateway: &str, secret: &str, call: &WebhookCall) -> Result<Notice> {
    if gateway != "paypal" {
        signature::verify(call.header(signature::HEADER), &call.body, secret, call.at)
            .map_err(|why| GatewayRefusal::Forged(why.to_string()))?;
        return stripe::read_event(&call.body, call.at)
            .ok_or_else(|| GatewayRefusal::Refused("the webhook's body is no event".to_owned()));
    }
    let forged = |why: &str| GatewayRefusal::Forged(why.to_owned());
    let header = |name: &str| {
        call.header(name).ok_or_else(|| GatewayRefusal::Forged(format!("The header {name} is missing")))
    };
    let (id, time, sig) = (header(TRANSMISSION_ID)?, header(TRANSMISSION_TIME)?, header(TRANSMISSION_SIG)?);
    if !signature::is_mac(&signed(id, time, &call.body), secret, sig) {
        return Err(forged("The webhook's signature does not fit its body"));
    }
    let sent = Timestamp::parse_rfc3339_str(time).or(Err(forged("The header with its time is no time")))?;
    let age = call.at.timestamp_millis().saturating_sub(sent.timestamp_millis());
    if age.saturating_abs() > TOLERANCE {
        return Err(forged("The webhook's signature is too old"));
    }
    paypal::read_plain(&call.body, call.at)
}
