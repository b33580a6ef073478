use bson::doc;
use serde::{Deserialize, Serialize};
use shared::{
    auth::digest,
    clock::{Clock, Timestamp},
    db::{Db, duplicate_key},
    id::Id,
    model::Stored,
    money::Money,
};

use super::gateway::{
    Begun, Gateway, GatewayFuture, GatewayPayment, GatewayRefusal, Movement, NewPayment, NewRefund, Notice,
    PaymentState, WebhookCall,
};

/// A gateway that takes no money and remembers everything: each payment begun succeeds at once, and
/// no more is returned than was paid. For development; production refuses it.
pub(super) struct Sandbox {
    name: &'static str,
    db: Db,
    clock: Clock,
}

/// One payment in the sandbox (`sandboxpayments`).
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SandboxPayment {
    #[serde(rename = "_id")]
    id: String,
    minor: i64,
    currency: String,
    buyer: String,
    refunded_minor: i64,
    refund_keys: Vec<String>,
    at: Timestamp,
}

impl Stored for SandboxPayment {
    const COLLECTION: &'static str = "sandboxpayments";
}

impl Sandbox {
    pub(super) const fn new(name: &'static str, db: Db, clock: Clock) -> Self {
        Self { name, db, clock }
    }
}

/// As long as an id.
fn short(text: &str) -> String {
    let mut digest = digest(text);
    digest.truncate(24);
    digest
}

impl From<mongodb::error::Error> for GatewayRefusal {
    fn from(error: mongodb::error::Error) -> Self {
        Self::Unreachable(error.into())
    }
}

impl Sandbox {
    async fn find(&self, id: &str) -> Result<Option<GatewayPayment>, GatewayRefusal> {
        let found = self.db.of::<SandboxPayment>().find_one(doc! { "_id": id }).await?;
        Ok(found.map(|payment| GatewayPayment {
            id: payment.id,
            amount: Money::from_minor(payment.minor),
            currency: payment.currency,
            state: PaymentState::Succeeded,
            buyer: Some(payment.buyer),
            payer: None,
            paid_at: Some(payment.at),
        }))
    }
}

impl Gateway for Sandbox {
    fn name(&self) -> &'static str {
        self.name
    }

    fn begin(&self, wanted: NewPayment) -> GatewayFuture<'_, Begun> {
        Box::pin(async move {
            // Whoever does not know the key cannot tell the secret from the id.
            let (id, secret) = match &wanted.key {
                Some(key) => (short(&format!("id {key}")), short(&format!("secret {key}"))),
                None => (Id::<SandboxPayment>::new().hex(), Id::<SandboxPayment>::new().hex()),
            };
            let id = format!("pi_sandbox_{id}");
            let secret = format!("{id}_secret_{secret}");
            let begun = SandboxPayment {
                id: id.clone(),
                minor: wanted.amount.minor(),
                currency: wanted.currency.clone(),
                buyer: wanted.buyer.clone(),
                refunded_minor: 0,
                refund_keys: vec![],
                at: self.clock.now(),
            };
            match self.db.of::<SandboxPayment>().insert_one(begun).await {
                Err(error) if wanted.key.is_none() || duplicate_key(&error).is_none() => {
                    return Err(error.into());
                }
                _ => {}
            }
            let payment = self.find(&id).await?;
            let payment =
                payment.ok_or_else(|| GatewayRefusal::Refused(format!("there is no payment {id}")))?;
            if payment.amount != wanted.amount || payment.currency != wanted.currency {
                return Err(GatewayRefusal::Refused("the key was used for another payment".to_owned()));
            }
            Ok(Begun { payment, secret })
        })
    }

    fn capture<'a>(&'a self, _: &'a str) -> GatewayFuture<'a, GatewayPayment> {
        Box::pin(async { Err(GatewayRefusal::Refused("there is nothing to capture".to_owned())) })
    }

    fn look_up<'a>(&'a self, id: &'a str) -> GatewayFuture<'a, Option<GatewayPayment>> {
        Box::pin(self.find(id))
    }

    fn refund<'a>(&'a self, wanted: &'a NewRefund) -> GatewayFuture<'a, String> {
        Box::pin(async move {
            let NewRefund { payment: id, amount, key, .. } = wanted;
            let payments = self.db.of::<SandboxPayment>();
            let filter = doc! {
                "_id": id,
                "refundKeys": { "$ne": key },
                "$expr": { "$gte": [{ "$subtract": ["$minor", "$refundedMinor"] }, amount.minor()] },
            };
            let update = doc! { "$inc": { "refundedMinor": amount.minor() }, "$push": { "refundKeys": key } };
            let refund = format!("re_sandbox_{}", short(key));
            if payments.update_one(filter, update).await?.matched_count == 1 {
                return Ok(refund);
            }
            match payments.find_one(doc! { "_id": id }).await? {
                Some(payment) if payment.refund_keys.iter().any(|known| known == key) => Ok(refund),
                Some(_) => {
                    Err(GatewayRefusal::Refused(format!("{id} has less than {amount} left to refund")))
                }
                None => Err(GatewayRefusal::Refused(format!("there is no payment {id}"))),
            }
        })
    }

    fn read_webhook<'a>(&'a self, _: &'a WebhookCall) -> GatewayFuture<'a, Notice> {
        Box::pin(async { Err(GatewayRefusal::Forged("the sandbox calls no webhooks".to_owned())) })
    }

    fn movements(&self, _: Timestamp, _: Timestamp) -> GatewayFuture<'_, Vec<Movement>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn describe(&self) -> String {
        "sandbox (every payment succeeds, no money moves)".to_owned()
    }
}
