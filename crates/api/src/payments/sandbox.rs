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

use super::gateway::{Gateway, GatewayFuture, GatewayPayment, GatewayRefusal};

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

impl Gateway for Sandbox {
    fn name(&self) -> &'static str {
        self.name
    }

    fn begin(
        &self,
        amount: Money,
        currency: String,
        key: Option<String>,
    ) -> GatewayFuture<'_, (GatewayPayment, String)> {
        Box::pin(async move {
            // Whoever does not know the key cannot tell the secret from the id.
            let (id, secret) = match &key {
                Some(key) => (short(&format!("id {key}")), short(&format!("secret {key}"))),
                None => (Id::<SandboxPayment>::new().hex(), Id::<SandboxPayment>::new().hex()),
            };
            let id = format!("pi_sandbox_{id}");
            let secret = format!("{id}_secret_{secret}");
            let begun = SandboxPayment {
                id: id.clone(),
                minor: amount.minor(),
                currency: currency.clone(),
                refunded_minor: 0,
                refund_keys: vec![],
                at: self.clock.now(),
            };
            let payment = GatewayPayment { id, amount, currency, succeeded: true };
            match self.db.of::<SandboxPayment>().insert_one(begun).await {
                Err(error) if key.is_none() || duplicate_key(&error).is_none() => Err(error.into()),
                Err(_) if self.look_up(&payment.id).await?.is_some_and(|begun| begun != payment) => {
                    Err(GatewayRefusal::Refused("the key was used for another payment".to_owned()))
                }
                _ => Ok((payment, secret)),
            }
        })
    }

    fn look_up<'a>(&'a self, id: &'a str) -> GatewayFuture<'a, Option<GatewayPayment>> {
        Box::pin(async move {
            let found = self.db.of::<SandboxPayment>().find_one(doc! { "_id": id }).await?;
            Ok(found.map(|payment| GatewayPayment {
                id: payment.id,
                amount: Money::from_minor(payment.minor),
                currency: payment.currency,
                succeeded: true,
            }))
        })
    }

    fn refund<'a>(&'a self, id: &'a str, amount: Money, key: &'a str) -> GatewayFuture<'a, ()> {
        Box::pin(async move {
            let payments = self.db.of::<SandboxPayment>();
            let filter = doc! {
                "_id": id,
                "refundKeys": { "$ne": key },
                "$expr": { "$gte": [{ "$subtract": ["$minor", "$refundedMinor"] }, amount.minor()] },
            };
            let update = doc! { "$inc": { "refundedMinor": amount.minor() }, "$push": { "refundKeys": key } };
            if payments.update_one(filter, update).await?.matched_count == 1 {
                return Ok(());
            }
            match payments.find_one(doc! { "_id": id }).await? {
                Some(payment) if payment.refund_keys.iter().any(|known| known == key) => Ok(()),
                Some(_) => {
                    Err(GatewayRefusal::Refused(format!("{id} has less than {amount} left to refund")))
                }
                None => Err(GatewayRefusal::Refused(format!("there is no payment {id}"))),
            }
        })
    }

    fn describe(&self) -> String {
        "sandbox (every payment succeeds, no money moves)".to_owned()
    }
}
