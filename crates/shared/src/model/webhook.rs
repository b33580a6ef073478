use serde::{Deserialize, Serialize};

use super::{Shop, Stored, User};
use crate::{clock::Timestamp, id::Id};

/// An address of an integrator's that is told what happens (`webhookendpoints`).
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WebhookEndpoint {
    /// Its id.
    #[serde(rename = "_id")]
    pub id: Id<WebhookEndpoint>,
    /// The shop that it tells about; none means all shops, and that it is the administrators'.
    pub shop: Option<Id<Shop>>,
    /// The administrator who made it, if one did.
    pub made_by: Option<Id<User>>,
    /// Where it is.
    pub url: String,
    /// The kinds of events that it is told of; `*` means all.
    pub events: Vec<String>,
    /// What its owner says that it is for.
    pub description: String,
    /// Signs what is sent.
    pub secret: String,
    /// The secret before this one, while it still signs too.
    pub former: Option<FormerSecret>,
    /// Its owner wants nothing sent for the time being.
    pub paused: bool,
    /// It has failed for so long that it is told nothing any more.
    pub disabled_at: Option<Timestamp>,
    /// No try has succeeded since this first failure.
    pub failing_since: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When its owner last changed it.
    pub updated_at: Timestamp,
}

impl Stored for WebhookEndpoint {
    const COLLECTION: &'static str = "webhookendpoints";
}

/// A secret that was replaced.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FormerSecret {
    /// The secret.
    pub secret: String,
    /// Until when it signs besides its successor.
    pub until: Timestamp,
}

/// One event on its way to one endpoint (`webhookdeliveries`).
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WebhookDelivery {
    /// Its id.
    #[serde(rename = "_id")]
    pub id: Id<WebhookDelivery>,
    /// Where it goes.
    pub endpoint: Id<WebhookEndpoint>,
    /// The event's own id, the same for every endpoint.
    pub event: String,
    /// Its kind, such as `order.placed`.
    pub kind: String,
    /// What is sent, to the byte.
    pub body: String,
    /// How it stands.
    pub state: DeliveryState,
    /// Not before this moment.
    pub due_at: Timestamp,
    /// How often it was tried.
    pub attempts: i32,
    /// How the last try went.
    pub last: Option<WebhookTry>,
    /// When it was written down.
    pub created_at: Timestamp,
    /// When it arrived.
    pub delivered_at: Option<Timestamp>,
    /// MongoDB removes it some time after.
    pub expires_at: Timestamp,
}

impl Stored for WebhookDelivery {
    const COLLECTION: &'static str = "webhookdeliveries";
}

/// How a delivery stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DeliveryState {
    /// It is tried, now or later.
    Waiting,
    /// The endpoint has confirmed it.
    Delivered,
    /// Given up.
    Failed,
}

impl DeliveryState {
    /// As it is stored and spoken.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Delivered => "delivered",
            Self::Failed => "failed",
        }
    }
}

/// How a try went.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WebhookTry {
    /// When it began.
    pub at: Timestamp,
    /// The status of the answer, if there was one.
    pub status: Option<i32>,
    /// How long it took, in milliseconds.
    pub millis: i64,
    /// The first bytes of the answer, as text.
    pub answer: Option<String>,
    /// Why there was none, or why it does not count.
    pub error: Option<String>,
}
