use serde::{Deserialize, Serialize};
use shared::{
    clock::iso,
    model::{DeliveryState, WebhookDelivery, WebhookEndpoint, WebhookTry},
};

use crate::error::Refusal;

/// `POST /api/webhooks`
#[derive(Deserialize)]
pub(super) struct NewEndpoint {
    #[serde(default)]
    pub url: Option<String>,
    #[serde(default)]
    pub events: Option<Vec<String>>,
    #[serde(default)]
    pub description: Option<String>,
    #[serde(default)]
    pub scope: Option<String>,
}

/// `PUT /api/webhooks/{id}`: what is left out stays.
#[derive(Deserialize)]
pub(super) struct ChangedEndpoint {
    #[serde(default)]
    pub url: Option<String>,
    #[serde(default)]
    pub events: Option<Vec<String>>,
    #[serde(default)]
    pub description: Option<String>,
    #[serde(default)]
    pub paused: Option<bool>,
}

/// `PUT /api/webhooks/{id}/replay`: one of the two.
#[derive(Deserialize)]
pub(super) struct Replay {
    #[serde(default)]
    pub delivery: Option<String>,
    #[serde(default)]
    pub since: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct EndpointReply {
    #[serde(rename = "_id")]
    id: String,
    scope: &'static str,
    url: String,
    events: Vec<String>,
    description: String,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    failing_since: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    disabled_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    former_secret_until: Option<String>,
    created_at: String,
    updated_at: String,
}

impl From<WebhookEndpoint> for EndpointReply {
    fn from(endpoint: WebhookEndpoint) -> Self {
        Self {
            id: endpoint.id.hex(),
            scope: if endpoint.shop.is_some() { "shop" } else { "platform" },
            url: endpoint.url,
            events: endpoint.events,
            description: endpoint.description,
            status: match (endpoint.disabled_at, endpoint.paused) {
                (Some(_), _) => "disabled",
                (None, true) => "paused",
                (None, false) => "active",
            },
            failing_since: endpoint.failing_since.map(iso),
            disabled_at: endpoint.disabled_at.map(iso),
            former_secret_until: endpoint.former.map(|former| iso(former.until)),
            created_at: iso(endpoint.created_at),
            updated_at: iso(endpoint.updated_at),
        }
    }
}

#[derive(Serialize)]
pub(super) struct EndpointOne {
    pub success: bool,
    pub webhook: EndpointReply,
    /// Once, when it is new.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
}

#[derive(Serialize)]
pub(super) struct EndpointList {
    pub success: bool,
    pub webhooks: Vec<EndpointReply>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DeliveryReply {
    #[serde(rename = "_id")]
    id: String,
    event: String,
    #[serde(rename = "type")]
    kind: String,
    status: &'static str,
    attempts: i32,
    created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    delivered_at: Option<String>,
    /// While it is tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_try_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_try: Option<TryReply>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TryReply {
    at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<i32>,
    milliseconds: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl From<WebhookTry> for TryReply {
    fn from(tried: WebhookTry) -> Self {
        let WebhookTry { at, status, millis, answer, error } = tried;
        Self { at: iso(at), status, milliseconds: millis, answer, error }
    }
}

impl From<WebhookDelivery> for DeliveryReply {
    fn from(delivery: WebhookDelivery) -> Self {
        let waits = delivery.state == DeliveryState::Waiting;
        Self {
            id: delivery.id.hex(),
            event: delivery.event,
            kind: delivery.kind,
            status: delivery.state.name(),
            attempts: delivery.attempts,
            created_at: iso(delivery.created_at),
            delivered_at: delivery.delivered_at.filter(|_| !waits).map(iso),
            next_try_at: waits.then(|| iso(delivery.due_at)),
            last_try: delivery.last.map(Into::into),
        }
    }
}

#[derive(Serialize)]
pub(super) struct DeliveryOne {
    pub success: bool,
    pub delivery: DeliveryReply,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DeliveryPage {
    pub success: bool,
    pub deliveries: Vec<DeliveryReply>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

#[derive(Serialize)]
pub(super) struct Replayed {
    pub success: bool,
    pub replayed: u64,
}

#[derive(Serialize)]
pub(super) struct Message {
    pub success: bool,
    pub message: &'static str,
}

pub(super) const REMOVED: &str = "The webhook is removed";

pub(super) const NO_EVENTS: &str = "must name at least one kind of event, or *";
pub(super) const DESCRIPTION: &str = "must be one line of at most 200 characters";
pub(super) const SCOPE: &str = "must be shop or platform";
pub(super) const STATUS: &str = "must be waiting, delivered or failed";
pub(super) const SINCE: &str = "must be a time such as 2026-11-22T18:00:00Z";
pub(super) const ONE_OF_TWO: &str =
    "must be given, or else the time since which everything failed is to be replayed";

pub(super) const NOT_FOUND: Refusal = Refusal::not_found("webhook_not_found", "There is no such webhook");
pub(super) const NO_SHOP: Refusal =
    Refusal::forbidden("no_shop", "Webhooks of a shop are made by the shop: please log in to it");
pub(super) const NO_ADMIN: Refusal =
    Refusal::forbidden("admins_only", "Only an administrator may have a webhook for all shops");
pub(super) const TOO_MANY: Refusal =
    Refusal::conflict("too_many_webhooks", "There are 20 webhooks already; please remove one first");
pub(super) const NOT_ACTIVE: Refusal = Refusal::conflict(
    "webhook_not_active",
    "The webhook is paused or switched off: please resume it before you test it",
);
