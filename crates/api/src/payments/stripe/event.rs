//! What Stripe tells of its own accord. An event of another shape than expected is one of no interest:
//! refusing it would have Stripe repeat it for days.

use serde::Deserialize;
use serde_json::Value;
use shared::{
    clock::Timestamp,
    model::{DisputeState, PaymentFact},
};

use super::{super::gateway::Notice, BUYER, KEY, at};

/// The seconds whose year can be written in four digits; others are no time of anything that happened.
const TIMES: std::ops::Range<i64> = 0..253_402_300_800;

#[derive(Deserialize)]
struct Event {
    id: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    created: Value,
    #[serde(default)]
    data: Value,
}

/// Reads the body of a webhook; none if it is no event at all.
pub(in crate::payments) fn read(body: &[u8], came: Timestamp) -> Option<Notice> {
    let event: Event = serde_json::from_slice(body).ok()?;
    Some(Notice {
        fact: fact(&event.kind, field(&event.data, "object")),
        at: event.created.as_i64().filter(|seconds| TIMES.contains(seconds)).map_or(came, at),
        id: event.id,
        kind: event.kind,
    })
}

/// Which payment the event is about, and what it says of it.
fn fact(kind: &str, object: &Value) -> Option<(String, PaymentFact)> {
    let text = |name: &str| field(object, name).as_str().map(str::to_owned);
    let minor = |name: &str| field(object, name).as_i64().filter(|minor| *minor >= 0);
    let metadata = |name: &str| field(field(object, "metadata"), name).as_str().map(str::to_owned);
    // The intent's id, or the intent itself where the account has it so.
    let intent = field(object, "payment_intent");
    let payment = || intent.as_str().or_else(|| field(intent, "id").as_str());
    let fact = match kind {
        "payment_intent.succeeded" => PaymentFact::Succeeded {
            minor: minor("amount_received").or_else(|| minor("amount"))?,
            currency: text("currency")?.to_ascii_uppercase(),
            buyer: metadata(BUYER),
            payer: None,
        },
        "payment_intent.payment_failed" => {
            let why = field(field(object, "last_payment_error"), "message").as_str();
            PaymentFact::Failed { why: why.unwrap_or("the card was declined").to_owned() }
        }
        "payment_intent.canceled" => PaymentFact::Cancelled,
        "refund.created" | "refund.updated" | "refund.failed" | "charge.refund.updated" => {
            let (refund, minor) = (text("id")?, minor("amount")?);
            match field(object, "status").as_str()? {
                "failed" | "canceled" => PaymentFact::ReturnFailed { refund, minor },
                // The last one: the payer has to tell where the money may go.
                "succeeded" | "pending" | "requires_action" => {
                    PaymentFact::Returned { refund, minor, key: metadata(KEY) }
                }
                _ => return None,
            }
        }
        "charge.refunded" => PaymentFact::ReturnedInAll { minor: minor("amount_refunded")? },
        "charge.dispute.created"
        | "charge.dispute.updated"
        | "charge.dispute.closed"
        | "charge.dispute.funds_withdrawn"
        | "charge.dispute.funds_reinstated" => PaymentFact::Disputed {
            dispute: text("id")?,
            minor: minor("amount")?,
            reason: text("reason").unwrap_or_default(),
            state: match field(object, "status").as_str()? {
                "won" | "warning_closed" | "prevented" => DisputeState::Won,
                "lost" => DisputeState::Lost,
                _ => DisputeState::Open,
            },
        },
        _ => return None,
    };
    let id = if kind.starts_with("payment_intent.") { text("id")? } else { payment()?.to_owned() };
    (!id.is_empty()).then_some((id, fact))
}

/// Null if there is none.
fn field<'v>(object: &'v Value, name: &str) -> &'v Value {
    object.get(name).unwrap_or(&Value::Null)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(kind: &str, object: &Value) -> Option<PaymentFact> {
        let event = json!({ "id": "evt_1", "type": kind, "created": 5, "data": { "object": object } });
        let notice = read(&serde_json::to_vec(&event).unwrap(), Timestamp::from_millis(1)).unwrap();
        assert_eq!((notice.id.as_str(), notice.kind.as_str()), ("evt_1", kind));
        assert_eq!(notice.at, Timestamp::from_millis(5000));
        notice.fact.map(|(payment, fact)| {
            assert_eq!(payment, "pi_1");
            fact
        })
    }

    #[test]
    fn an_intent_tells_how_far_it_has_come() {
        let intent = json!({
            "id": "pi_1", "amount": 1100, "amount_received": 1000, "currency": "usd",
            "metadata": { "souk_buyer": "ann" }, "last_payment_error": { "message": "Declined." },
        });
        let (buyer, payer) = (Some("ann".to_owned()), None);
        assert_eq!(
            told("payment_intent.succeeded", &intent),
            Some(PaymentFact::Succeeded { minor: 1000, currency: "USD".to_owned(), buyer, payer })
        );
        let why = "Declined.".to_owned();
        assert_eq!(told("payment_intent.payment_failed", &intent), Some(PaymentFact::Failed { why }));
        assert_eq!(told("payment_intent.canceled", &intent), Some(PaymentFact::Cancelled));
        assert_eq!(told("payment_intent.created", &intent), None);
    }

    #[test]
    fn a_refund_tells_its_key_and_whether_it_arrives() {
        let refund = |status: &str| {
            json!({
                "id": "re_1", "amount": 300, "status": status, "payment_intent": { "id": "pi_1" },
                "metadata": { "souk_key": "refund:1" },
            })
        };
        let returned = |key: Option<&str>| {
            let key = key.map(str::to_owned);
            Some(PaymentFact::Returned { refund: "re_1".to_owned(), minor: 300, key })
        };
        for kind in ["refund.created", "refund.updated", "charge.refund.updated"] {
            assert_eq!(told(kind, &refund("succeeded")), returned(Some("refund:1")));
            assert_eq!(told(kind, &refund("pending")), returned(Some("refund:1")));
        }
        let mut elsewhere = refund("succeeded");
        elsewhere["metadata"] = json!({});
        assert_eq!(told("refund.created", &elsewhere), returned(None));
        let failed = PaymentFact::ReturnFailed { refund: "re_1".to_owned(), minor: 300 };
        assert_eq!(told("refund.failed", &refund("failed")), Some(failed.clone()));
        assert_eq!(told("charge.refund.updated", &refund("canceled")), Some(failed));
        let charge = json!({ "id": "ch_1", "payment_intent": "pi_1", "amount_refunded": 700 });
        assert_eq!(told("charge.refunded", &charge), Some(PaymentFact::ReturnedInAll { minor: 700 }));
    }

    #[test]
    fn a_dispute_is_open_until_it_is_decided() {
        let decided = |kind: &str, status: &str| {
            let dispute = json!({
                "id": "dp_1", "amount": 1100, "reason": "fraudulent", "status": status, "payment_intent": "pi_1",
            });
            match told(kind, &dispute) {
                Some(PaymentFact::Disputed { dispute, minor: 1100, reason, state }) => {
                    assert_eq!((dispute.as_str(), reason.as_str()), ("dp_1", "fraudulent"));
                    state
                }
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(decided("charge.dispute.created", "needs_response"), DisputeState::Open);
        assert_eq!(decided("charge.dispute.updated", "under_review"), DisputeState::Open);
        assert_eq!(decided("charge.dispute.funds_withdrawn", "something new"), DisputeState::Open);
        assert_eq!(decided("charge.dispute.closed", "lost"), DisputeState::Lost);
        assert_eq!(decided("charge.dispute.closed", "warning_closed"), DisputeState::Won);
        assert_eq!(decided("charge.dispute.funds_reinstated", "won"), DisputeState::Won);
    }

    #[test]
    fn what_is_not_understood_is_of_no_interest_but_no_error() {
        for object in [json!(null), json!([]), json!("pi_1"), json!({}), json!({ "id": 1, "amount": "x" })] {
            for kind in [
                "payment_intent.succeeded",
                "refund.created",
                "charge.refunded",
                "charge.dispute.created",
                "invoice.paid",
            ] {
                assert_eq!(told(kind, &object), None, "{kind}: {object}");
            }
        }
        let without = json!({ "id": "re_1", "amount": 300, "status": "succeeded", "payment_intent": null });
        assert_eq!(told("refund.created", &without), None);
        let came = Timestamp::from_millis(1);
        let bare = read(br#"{"id":"evt_1","type":"ping"}"#, came).unwrap();
        assert_eq!((bare.at, bare.fact), (came, None));
        for junk in [&b""[..], b"{}", b"[]", b"\xff", br#"{"id":1,"type":"x"}"#, br#"{"id":"evt_1"}"#] {
            assert_eq!(read(junk, came), None);
        }
    }
}
