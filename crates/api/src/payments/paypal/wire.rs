//! PayPal's JSON, as far as Souk reads it.

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use shared::{
    clock::Timestamp,
    id::Id,
    model::{DisputeState, User},
    money::Money,
};

use super::super::gateway::ANONYMOUS;

/// Currencies that PayPal takes in whole units alone.
const WHOLE: [&str; 3] = ["HUF", "JPY", "TWD"];

/// An amount as PayPal writes it: a text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Amount {
    pub currency_code: String,
    pub value: String,
}

impl Amount {
    /// For PayPal; none if it has cents that the currency has not.
    pub fn of(money: Money, currency: &str) -> Option<Self> {
        let value = money.to_string();
        let value = match WHOLE.contains(&currency) {
            true => value.strip_suffix(".00")?.to_owned(),
            false => value,
        };
        Some(Self { currency_code: currency.to_owned(), value })
    }

    /// To the cent.
    pub fn money(&self) -> anyhow::Result<Money> {
        Money::parse_exact(&self.value).with_context(|| format!("an amount of {:?}", self.value))
    }

    pub fn currency(&self) -> String {
        self.currency_code.to_ascii_uppercase()
    }
}

#[derive(Serialize)]
pub(super) struct NewOrder<'a> {
    pub intent: &'static str,
    pub purchase_units: [NewUnit<'a>; 1],
}

#[derive(Serialize)]
pub(super) struct NewUnit<'a> {
    pub amount: Amount,
    pub custom_id: &'a str,
}

#[derive(Serialize)]
pub(super) struct NewRefund<'a> {
    pub amount: Amount,
    pub custom_id: &'a str,
}

#[derive(Debug, Deserialize)]
pub(super) struct Order {
    pub id: String,
    #[serde(default)]
    pub status: String,
    #[serde(default)]
    pub payer: Option<Payer>,
    #[serde(default)]
    pub purchase_units: Vec<Unit>,
    #[serde(default)]
    pub update_time: Option<String>,
    #[serde(default)]
    pub links: Vec<Link>,
}

impl Order {
    pub fn captures(&self) -> impl Iterator<Item = &Capture> {
        self.purchase_units.iter().filter_map(|unit| unit.payments.as_ref()).flat_map(|all| &all.captures)
    }

    pub fn refunds(&self) -> impl Iterator<Item = &Refund> {
        self.purchase_units.iter().filter_map(|unit| unit.payments.as_ref()).flat_map(|all| &all.refunds)
    }

    /// Where its payer agrees.
    pub fn approval(&self) -> Option<&str> {
        let link = self.links.iter().find(|link| matches!(link.rel.as_str(), "approve" | "payer-action"))?;
        Some(&link.href)
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct Payer {
    #[serde(default)]
    pub payer_id: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Unit {
    #[serde(default)]
    pub amount: Option<Amount>,
    #[serde(default)]
    pub custom_id: Option<String>,
    #[serde(default)]
    pub payments: Option<Payments>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Payments {
    #[serde(default)]
    pub captures: Vec<Capture>,
    #[serde(default)]
    pub refunds: Vec<Refund>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Link {
    #[serde(default)]
    pub href: String,
    #[serde(default)]
    pub rel: String,
}

/// The capture that links lead up to.
pub(super) fn capture_above(links: &[Link]) -> Option<&str> {
    let above = links.iter().find(|link| link.rel == "up")?;
    let (_, id) = above.href.rsplit_once("/captures/")?;
    Some(id)
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Capture {
    pub id: String,
    #[serde(default)]
    pub status: String,
    pub amount: Amount,
    #[serde(default)]
    pub status_details: Option<StatusDetails>,
    #[serde(default)]
    pub custom_id: Option<String>,
    #[serde(default)]
    pub create_time: Option<String>,
    #[serde(default)]
    pub supplementary_data: Option<SupplementaryData>,
}

impl Capture {
    /// The order that it took the money of.
    pub fn order(&self) -> Option<&str> {
        self.supplementary_data.as_ref()?.related_ids.as_ref()?.order_id.as_deref()
    }

    /// PayPal's reason for its status, in parentheses.
    pub fn reason(&self) -> String {
        let reason = self.status_details.as_ref().and_then(|details| details.reason.as_deref());
        reason.map(|reason| format!(" ({reason})")).unwrap_or_default()
    }
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct StatusDetails {
    #[serde(default)]
    pub reason: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct SupplementaryData {
    #[serde(default)]
    pub related_ids: Option<RelatedIds>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct RelatedIds {
    #[serde(default)]
    pub order_id: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Refund {
    pub id: String,
    #[serde(default)]
    pub status: String,
    #[serde(default)]
    pub amount: Option<Amount>,
    #[serde(default)]
    pub custom_id: Option<String>,
    #[serde(default)]
    pub status_details: Option<StatusDetails>,
    #[serde(default)]
    pub links: Vec<Link>,
}

impl Refund {
    /// Its money stayed here.
    pub fn came_to_nothing(&self) -> bool {
        matches!(self.status.as_str(), "FAILED" | "CANCELLED")
    }
}

/// What a webhook brings, around what it is about.
#[derive(Deserialize)]
pub(super) struct Event {
    pub id: String,
    pub event_type: String,
    #[serde(default)]
    pub create_time: Option<String>,
    #[serde(default)]
    pub resource: serde_json::Value,
}

/// `POST /v1/notifications/verify-webhook-signature`
#[derive(Serialize)]
pub(super) struct Verification<'a> {
    pub auth_algo: &'a str,
    pub cert_url: &'a str,
    pub transmission_id: &'a str,
    pub transmission_sig: &'a str,
    pub transmission_time: &'a str,
    pub webhook_id: &'a str,
    /// To the byte: written anew, its signature would fit it no longer.
    pub webhook_event: &'a serde_json::value::RawValue,
}

#[derive(Deserialize)]
pub(super) struct Verified {
    pub verification_status: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Dispute {
    pub dispute_id: String,
    #[serde(default)]
    pub reason: Option<String>,
    #[serde(default)]
    pub status: String,
    #[serde(default)]
    pub dispute_amount: Option<Amount>,
    #[serde(default)]
    pub dispute_outcome: Option<Outcome>,
    #[serde(default)]
    pub disputed_transactions: Vec<Disputed>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Outcome {
    #[serde(default)]
    pub outcome_code: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Disputed {
    /// The capture, as the one who was paid knows it.
    #[serde(default)]
    pub seller_transaction_id: Option<String>,
}

/// How a dispute ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// As far as it says so itself.
    Told(DisputeState),
    /// PayPal has paid somebody from its own pocket and does not say whom.
    Protection,
}

impl Dispute {
    pub fn capture(&self) -> Option<&str> {
        self.disputed_transactions.iter().find_map(|one| one.seller_transaction_id.as_deref())
    }

    /// PayPal says neither "won" nor "lost", but in whose favour it has decided. One that was called off,
    /// refused, or overtaken by another dispute about the same money takes nothing from anybody.
    pub fn ending(&self) -> Ending {
        let outcome = self.dispute_outcome.as_ref().map_or("", |outcome| outcome.outcome_code.as_str());
        Ending::Told(match (self.status.as_str(), outcome) {
            ("RESOLVED", "RESOLVED_BUYER_FAVOUR" | "ACCEPTED") => DisputeState::Lost,
            ("RESOLVED", "RESOLVED_SELLER_FAVOUR" | "CANCELED_BY_BUYER" | "DENIED" | "NONE") => {
                DisputeState::Won
            }
            ("RESOLVED", "RESOLVED_WITH_PAYOUT") => return Ending::Protection,
            _ => DisputeState::Open,
        })
    }
}

#[derive(Deserialize)]
pub(super) struct Disputes {
    #[serde(default)]
    pub items: Vec<Dispute>,
}

/// A page of `GET /v1/reporting/transactions`.
#[derive(Deserialize)]
pub(super) struct Transactions {
    #[serde(default)]
    pub transaction_details: Vec<TransactionDetail>,
    #[serde(default)]
    pub total_pages: u32,
}

#[derive(Deserialize)]
pub(super) struct TransactionDetail {
    pub transaction_info: Transaction,
}

#[derive(Deserialize)]
pub(super) struct Transaction {
    pub transaction_id: String,
    #[serde(default)]
    pub paypal_reference_id: Option<String>,
    #[serde(default)]
    pub transaction_event_code: String,
    #[serde(default)]
    pub transaction_initiation_date: String,
    #[serde(default)]
    pub transaction_amount: Option<Amount>,
    #[serde(default)]
    pub transaction_status: String,
    #[serde(default)]
    pub custom_field: Option<String>,
}

/// A moment as PayPal writes it; the list of transactions leaves out the colon of the time zone.
pub(super) fn moment(text: &str) -> Option<Timestamp> {
    Timestamp::parse_rfc3339_str(text).ok().or_else(|| {
        let (time, zone) = text.split_at_checked(text.len().checked_sub(5)?)?;
        let (hours, minutes) = zone.split_at_checked(3)?;
        Timestamp::parse_rfc3339_str(format!("{time}{hours}:{minutes}")).ok()
    })
}

/// What `custom_id` says of a payment: the account here that it was begun for. Others who share the
/// PayPal account may put there what they like.
pub(super) fn buyer(custom_id: Option<&str>) -> Option<String> {
    custom_id.filter(|text| is_buyer(text)).map(str::to_owned)
}

/// What `custom_id` says of a refund: its key. PayPal's own pages give a refund the payment's.
pub(super) fn key(custom_id: Option<&str>) -> Option<String> {
    custom_id.filter(|text| !text.is_empty() && !is_buyer(text)).map(str::to_owned)
}

fn is_buyer(text: &str) -> bool {
    text == ANONYMOUS || text.parse::<Id<User>>().is_ok()
}
