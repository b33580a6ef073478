//! PayPal's webhooks: whether PayPal has sent them, and what they say.

use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use shared::{
    clock::Timestamp,
    model::{DisputeState, PaymentFact},
};

use super::{
    super::gateway::{GatewayRefusal, Notice, WebhookCall},
    Paypal,
    client::Failure,
    is_id, unreadable,
    wire::{self, Amount, Capture, Dispute, Ending, Event, Refund},
};

/// PayPal repeats a webhook for three days (25 times) until it is answered with success, and does not say
/// whether a repetition bears the time of the first or its own. So what is three days old may be news
/// still. An hour more allows for clocks and queues. A call that somebody kept and sends again within
/// that time changes nothing: its event is known by its id.
const OLDEST: i64 = (3 * 24 + 1) * 3_600_000;
/// PayPal's clock may be ahead by so much.
const AHEAD: i64 = 10 * 60_000;

/// The headers of a webhook that prove it, and how long PayPal says that each may be.
const PROOF: [(&str, usize); 5] = [
    ("paypal-auth-algo", 100),
    ("paypal-cert-url", 500),
    ("paypal-transmission-id", 50),
    ("paypal-transmission-sig", 500),
    ("paypal-transmission-time", 100),
];

type Fact = Option<(String, PaymentFact)>;

impl Paypal {
    pub(super) async fn read_event(&self, call: &WebhookCall) -> Result<Notice, GatewayRefusal> {
        self.verify(call).await?;
        let event: Event = serde_json::from_slice(&call.body)
            .or(Err(GatewayRefusal::Forged("The body is no event of PayPal's".to_owned())))?;
        Ok(Notice {
            at: event.create_time.as_deref().and_then(wire::moment).unwrap_or(call.at),
            fact: self.fact(&event).await?,
            id: event.id,
            kind: event.event_type,
        })
    }

    /// Asks PayPal whether it has sent this. What cannot be from PayPal is not asked about, and the
    /// address of the certificate is for PayPal alone: nothing is ever fetched from there.
    async fn verify(&self, call: &WebhookCall) -> Result<(), GatewayRefusal> {
        let webhook_id = self.webhook_id.as_deref().ok_or_else(|| {
            GatewayRefusal::Refused(
                "PAYPAL_WEBHOOK_ID is not set, so nobody can tell who calls this webhook".to_owned(),
            )
        })?;
        let forged = |why: String| GatewayRefusal::Forged(why);
        let mut proof = [""; 5];
        for (value, (name, longest)) in proof.iter_mut().zip(PROOF) {
            *value = call
                .header(name)
                .map(str::trim)
                .filter(|text| (1..=longest).contains(&text.len()))
                .ok_or_else(|| forged(format!("The header {name} is missing or cannot be read")))?;
        }
        let [auth_algo, cert_url, transmission_id, transmission_sig, transmission_time] = proof;
        if !is_at_paypal(cert_url) {
            return Err(forged("The certificate is none of PayPal's".to_owned()));
        }
        let sent = wire::moment(transmission_time)
            .ok_or_else(|| forged("The header paypal-transmission-time is no time".to_owned()))?;
        let age = call.at.timestamp_millis().saturating_sub(sent.timestamp_millis());
        if !(-AHEAD..=OLDEST).contains(&age) {
            return Err(forged("PayPal would not send this any more: it is too old".to_owned()));
        }
        let webhook_event: &RawValue = serde_json::from_slice(&call.body)
            .or(Err(forged("The body is no event of PayPal's".to_owned())))?;
        let question = wire::Verification {
            auth_algo,
            cert_url,
            transmission_id,
            transmission_sig,
            transmission_time,
            webhook_id,
            webhook_event,
        };
        let path = "/v1/notifications/verify-webhook-signature";
        let wrong = || forged("PayPal says that it has not sent this".to_owned());
        match self.client.post::<wire::Verified>(path, &question, None).await {
            Ok(answer) if answer.verification_status == "SUCCESS" => Ok(()),
            Ok(_) => Err(wrong()),
            // Such a signature cannot even be checked.
            Err(Failure::Said(no)) if matches!(no.status.as_u16(), 400 | 422) => Err(wrong()),
            Err(failure) => Err(failure.into()),
        }
    }

    /// What an event says of a payment.
    async fn fact(&self, event: &Event) -> Result<Fact, GatewayRefusal> {
        if let Some(fact) = plain(event)? {
            return Ok(fact);
        }
        if event.event_type == "PAYMENT.CAPTURE.REVERSED" {
            return self.reversed(resource(event)?).await.map(Some);
        }
        let dispute: Dispute = resource(event)?;
        match dispute.capture().map(str::to_owned) {
            Some(capture) => self.disputed(capture, dispute).await.map(Some),
            None => Ok(None),
        }
    }

    async fn disputed(
        &self,
        capture: String,
        dispute: Dispute,
    ) -> Result<(String, PaymentFact), GatewayRefusal> {
        let state = match dispute.ending() {
            Ending::Told(state) => state,
            // PayPal has paid one of the two itself. If the money of the capture has not gone, it stays.
            Ending::Protection => match self.capture_if_id(&capture).await? {
                Some(found) if found.status == "REFUNDED" => DisputeState::Lost,
                _ => DisputeState::Won,
            },
        };
        let amount = match &dispute.dispute_amount {
            Some(amount) => minor(amount)?,
            None => match self.capture_if_id(&capture).await? {
                Some(found) => minor(&found.amount)?,
                None => 0,
            },
        };
        let fact = PaymentFact::Disputed {
            dispute: dispute.dispute_id,
            minor: amount,
            reason: dispute.reason.unwrap_or_default(),
            state,
        };
        Ok((capture, fact))
    }

    /// Money that PayPal has taken back. Where that is part of a dispute it is told as this dispute, so
    /// that the same money is not lost twice; else it is a dispute that nobody was asked about.
    async fn reversed(
        &self,
        mut resource: serde_json::Value,
    ) -> Result<(String, PaymentFact), GatewayRefusal> {
        // PayPal sends the refund that it has made, or, at some of its addresses, the capture.
        let read = |value| serde_json::from_value::<Refund>(value).map_err(|error| unreadable(error.into()));
        let reversal = read(resource.take())?;
        let capture = wire::capture_above(&reversal.links).unwrap_or(&reversal.id).to_owned();
        if is_id(&capture) {
            let path = format!("/v1/customer/disputes?disputed_transaction_id={capture}");
            let listed = match self.client.get::<wire::Disputes>(&path).await {
                Ok(listed) => listed.items.into_iter().next(),
                // Perhaps the keys are not for disputes; then none is told of either.
                Err(Failure::Said(_)) => None,
                Err(failure) => return Err(failure.into()),
            };
            if let Some(id) = listed.map(|dispute| dispute.dispute_id).filter(|id| is_id(id)) {
                let dispute: Option<Dispute> =
                    self.client.find(&format!("/v1/customer/disputes/{id}")).await?;
                if let Some(dispute) = dispute {
                    return self.disputed(capture, dispute).await;
                }
            }
        }
        let fact = PaymentFact::Disputed {
            dispute: format!("reversal:{}", reversal.id),
            minor: reversal.amount.as_ref().map_or(Ok(0), minor)?,
            reason: "reversed by PayPal".to_owned(),
            state: DisputeState::Lost,
        };
        Ok((capture, fact))
    }

    async fn capture_if_id(&self, id: &str) -> Result<Option<Capture>, GatewayRefusal> {
        if is_id(id) { self.capture_of(id).await } else { Ok(None) }
    }
}

/// Reads the body of a webhook that is known to be true and for which nothing has to be looked up: the
/// sandbox's.
pub(in crate::payments) fn read_plain(body: &[u8], came: Timestamp) -> Result<Notice, GatewayRefusal> {
    let event: Event = serde_json::from_slice(body)
        .or(Err(GatewayRefusal::Forged("The body is no event of PayPal's".to_owned())))?;
    Ok(Notice {
        at: event.create_time.as_deref().and_then(wire::moment).unwrap_or(came),
        fact: plain(&event)?.flatten(),
        id: event.id,
        kind: event.event_type,
    })
}

/// What an event says of a payment by itself; none where PayPal has to be asked besides.
fn plain(event: &Event) -> Result<Option<Fact>, GatewayRefusal> {
    Ok(Some(match event.event_type.as_str() {
        "PAYMENT.CAPTURE.COMPLETED" => {
            let capture: Capture = resource(event)?;
            let fact = PaymentFact::Succeeded {
                minor: minor(&capture.amount)?,
                currency: capture.amount.currency(),
                buyer: wire::buyer(capture.custom_id.as_deref()),
                // The order knows, and is looked up by whoever needs it.
                payer: None,
            };
            Some((capture.id, fact))
        }
        "PAYMENT.CAPTURE.DENIED" | "PAYMENT.CAPTURE.DECLINED" => {
            let capture: Capture = resource(event)?;
            let why = format!("PayPal declined it{}", capture.reason());
            Some((capture.id, PaymentFact::Failed { why }))
        }
        "PAYMENT.CAPTURE.REFUNDED" => {
            let refund: Refund = resource(event)?;
            let key = wire::key(refund.custom_id.as_deref());
            let (capture, minor) = above(&refund)?;
            Some((capture, PaymentFact::Returned { refund: refund.id, minor, key }))
        }
        "PAYMENT.REFUND.FAILED" | "PAYMENT.REFUND.CANCELLED" => {
            let refund: Refund = resource(event)?;
            let (capture, minor) = above(&refund)?;
            Some((capture, PaymentFact::ReturnFailed { refund: refund.id, minor }))
        }
        "CUSTOMER.DISPUTE.CREATED" | "CUSTOMER.DISPUTE.UPDATED" | "CUSTOMER.DISPUTE.RESOLVED" => {
            let dispute: Dispute = resource(event)?;
            let (Some(capture), Ending::Told(state), Some(amount)) =
                (dispute.capture(), dispute.ending(), &dispute.dispute_amount)
            else {
                return Ok(None);
            };
            let (capture, minor) = (capture.to_owned(), minor(amount)?);
            let reason = dispute.reason.unwrap_or_default();
            Some((capture, PaymentFact::Disputed { dispute: dispute.dispute_id, minor, reason, state }))
        }
        "PAYMENT.CAPTURE.REVERSED" => return Ok(None),
        // A capture that is pending, an order that was approved: nothing follows from them.
        _ => None,
    }))
}

fn is_at_paypal(url: &str) -> bool {
    let host = url.strip_prefix("https://").and_then(|rest| rest.split('/').next()).unwrap_or_default();
    host.ends_with(".paypal.com")
        && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-'))
}

fn resource<T: DeserializeOwned>(event: &Event) -> Result<T, GatewayRefusal> {
    serde_json::from_value(event.resource.clone()).map_err(|error| unreadable(error.into()))
}

fn minor(amount: &Amount) -> Result<i64, GatewayRefusal> {
    amount.money().map(|money| money.minor()).map_err(unreadable)
}

/// The capture whose money a refund returns, and how much.
fn above(refund: &Refund) -> Result<(String, i64), GatewayRefusal> {
    let missing = || unreadable(anyhow::anyhow!("refund {} names no capture or no amount", refund.id));
    let capture = wire::capture_above(&refund.links).ok_or_else(missing)?.to_owned();
    let amount = refund.amount.as_ref().ok_or_else(missing)?;
    Ok((capture, minor(amount)?))
}
