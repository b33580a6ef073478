use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use shared::{
    clock::{Timestamp, iso},
    config::Config,
    model::{Case, CaseMessage, CaseReason, CaseState, Message, Order, Picture},
    money::Money,
};

use super::rules::{NotEnding, NotOpenable};
use crate::{
    error::{Error, Refusal},
    extract::loose,
    media::wire::PictureReply,
    orders::{earnings::Rates, refunds, settled},
    paging::Place,
};

/// What somebody opens a dispute with.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NewCase {
    #[serde(default, deserialize_with = "loose")]
    pub order_id: Option<String>,
    #[serde(default, deserialize_with = "loose")]
    pub reason: Option<String>,
    pub message: Option<String>,
    #[serde(default, deserialize_with = "stated")]
    pub amount: Option<String>,
}

/// What somebody says in one.
#[derive(Deserialize)]
pub(super) struct NewMessage {
    pub message: Option<String>,
}

/// What an administrator decides.
#[derive(Deserialize)]
pub(super) struct Decision {
    #[serde(default, deserialize_with = "loose")]
    pub decision: Option<String>,
    #[serde(default, deserialize_with = "stated")]
    pub amount: Option<String>,
    pub note: Option<String>,
}

/// An amount as text, if there is one: an empty field, or null in it, is a mistake, and does not mean all that there is.
fn stated<'de, D: Deserializer<'de>>(d: D) -> Result<Option<String>, D::Error> {
    Ok(match Option::<Value>::deserialize(d)? {
        None | Some(Value::Null) => Some(String::new()),
        Some(Value::String(text)) => Some(text),
        Some(other) => Some(other.to_string()),
    })
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MessageReply {
    #[serde(rename = "_id")]
    id: String,
    from: &'static str,
    text: String,
    images: Vec<PictureReply>,
    created_at: String,
}

impl MessageReply {
    fn of(config: &Config, message: CaseMessage) -> Self {
        let CaseMessage { id, from, text, images, at } = message;
        let images = images.iter().map(|picture: &Picture| PictureReply::of(config, Some(picture))).collect();
        Self { id: id.hex(), from: from.word(), text, images, created_at: iso(at) }
    }
}

/// A dispute, as its two sides and administrators see it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CaseReply {
    #[serde(rename = "_id")]
    id: String,
    order_id: String,
    buyer_id: String,
    shop_id: String,
    opened_by: &'static str,
    reason: &'static str,
    amount: Money,
    state: &'static str,
    /// Null as long as the shop has not been credited.
    held: Option<Money>,
    returned: Money,
    note: Option<String>,
    messages: Vec<MessageReply>,
    created_at: String,
    updated_at: String,
    closed_at: Option<String>,
    /// For administrators.
    #[serde(skip_serializing_if = "Option::is_none")]
    decided_by: Option<String>,
}

impl CaseReply {
    pub(super) fn of(config: &Config, case: Case, for_admin: bool) -> Self {
        let held = case.held.map(Money::from_minor);
        Self {
            id: case.id.hex(),
            order_id: case.order.hex(),
            buyer_id: case.buyer.hex(),
            shop_id: case.shop.hex(),
            opened_by: case.opened_by.word(),
            reason: case.reason.word(),
            amount: Money::from_minor(case.wanted),
            state: case.state.word(),
            held,
            returned: Money::from_minor(case.returned),
            note: case.note,
            messages: case.messages.into_iter().map(|message| MessageReply::of(config, message)).collect(),
            created_at: iso(case.created_at),
            updated_at: iso(case.updated_at),
            closed_at: case.closed_at.map(iso),
            decided_by: case.decided_by.filter(|_| for_admin).map(|admin| admin.hex()),
        }
    }
}

#[derive(Serialize)]
pub(super) struct CaseOne {
    pub success: bool,
    pub message: &'static str,
    pub dispute: CaseReply,
}

#[derive(Serialize)]
pub(super) struct CaseList {
    pub success: bool,
    pub disputes: Vec<CaseReply>,
    #[serde(flatten)]
    pub place: Option<Place>,
}

/// What there is to know of the order that a dispute is about.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct OrderFacts {
    status: &'static str,
    total: Money,
    returned: Money,
    left: Money,
    payment_type: Option<String>,
    payment_status: Option<String>,
    created_at: Option<String>,
    paid_at: Option<String>,
    delivered_at: Option<String>,
    history: Vec<StepReply>,
    lines: Vec<LineReply>,
}

#[derive(Serialize)]
struct StepReply {
    status: &'static str,
    at: Option<String>,
    note: Option<String>,
}

#[derive(Serialize)]
struct LineReply {
    #[serde(rename = "_id")]
    id: String,
    name: String,
    count: i64,
    refunded: i64,
    price: Money,
}

impl OrderFacts {
    pub(super) fn of(order: Order, rates: Rates) -> Self {
        let (returned, left) = (refunds::returned(&order), settled::left(&order, rates));
        let time = |at: Option<Timestamp>| at.map(iso);
        let (payment_type, payment_status) =
            order.payment.map_or((None, None), |payment| (payment.kind, payment.status));
        let history = order.history.into_iter();
        let lines = order.cart.into_iter();
        Self {
            status: order.status.text(),
            total: left + returned,
            returned,
            left,
            payment_type,
            payment_status,
            created_at: time(order.created_at),
            paid_at: time(order.paid_at),
            delivered_at: time(order.delivered_at),
            history: history
                .map(|step| StepReply { status: step.status.text(), at: time(step.at), note: step.note })
                .collect(),
            lines: lines
                .map(|line| LineReply {
                    id: line.id.hex(),
                    name: line.name,
                    count: line.count,
                    refunded: line.refunded,
                    price: line.price,
                })
                .collect(),
        }
    }
}

/// A dispute with the order it is about.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CaseShown {
    pub success: bool,
    pub dispute: CaseReply,
    /// Null if it is not there any more.
    pub order: Option<OrderFacts>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ChatReply {
    from: &'static str,
    text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<PictureReply>,
    created_at: String,
}

impl ChatReply {
    pub(super) fn of(config: &Config, case: &Case, message: Message) -> Self {
        let from = if message.sender == case.shop.hex() { "seller" } else { "buyer" };
        let created_at = iso(message.made_at());
        let image = message.images.as_ref().filter(|picture| !picture.url.is_empty());
        let image = image.map(|picture| PictureReply::of(config, Some(picture)));
        Self { from, text: message.text, image, created_at }
    }
}

/// Everything that an administrator decides by.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Evidence {
    #[serde(flatten)]
    pub shown: CaseShown,
    pub chat: Vec<ChatReply>,
    /// More was said than is shown.
    pub more_chat: bool,
}

pub(super) const OPENED: &str = "The dispute is open; the other side is told";
pub(super) const SAID: &str = "Your message is part of the dispute";

/// Words an end.
pub(super) fn ended_as(state: CaseState) -> &'static str {
    match state {
        CaseState::Open => "The dispute is open",
        CaseState::Refunded => "The dispute is decided: money goes back to the buyer",
        CaseState::Released => "The dispute is decided: the money stays with the shop",
        CaseState::Accepted => "The dispute is settled: the other side has agreed",
        CaseState::Withdrawn => "The dispute was taken back by whoever had opened it",
        CaseState::Bank => "The buyer's bank decides instead",
    }
}

pub(super) const NOT_FOUND: Refusal = Refusal::not_found("dispute_not_found", "There is no such dispute");
pub(super) const ORDER_NOT_FOUND: Refusal = Refusal::not_found("order_not_found", "There is no such order");
pub(super) const ORDER_GONE: Refusal =
    Refusal::conflict("order_gone", "The order that this dispute is about is not there any more");
pub(super) const FOUR_EYES: Refusal = Refusal::forbidden(
    "four_eyes",
    "This dispute is about your own purchase or your own shop: another administrator has to decide about it",
);
pub(super) const FULL: Refusal = Refusal::conflict(
    "dispute_full",
    "So much was said in this dispute that it takes no more: it waits for a decision",
);
const ENDED: Refusal = Refusal::conflict("dispute_ended", "This dispute has ended");
const NOT_OPENABLE: Refusal =
    Refusal::conflict("not_disputable", "No dispute can be opened about this order");
const OPEN: Refusal = Refusal::conflict(
    "dispute_open",
    "There is an open dispute about this order already; please write there",
);
const NOT_YOUR_PART: Refusal = Refusal::conflict("not_your_part", "This is for the other side to do");

pub(super) fn ended(state: CaseState) -> Refusal {
    ENDED.saying(format!("This dispute has ended. {}", ended_as(state)))
}

pub(super) fn not_openable(why: NotOpenable) -> Refusal {
    match why {
        NotOpenable::Open => OPEN,
        NotOpenable::Decided => {
            NOT_OPENABLE.saying("An administrator has decided about this order, and that is final")
        }
        NotOpenable::TooMany => NOT_OPENABLE.saying("This order was disputed too often"),
        NotOpenable::CanBeCancelled => {
            NOT_OPENABLE.saying("The order has not been handed over yet: please cancel it instead")
        }
        NotOpenable::Over => NOT_OPENABLE.saying("All of this order's money has gone back already"),
        NotOpenable::UpToBank => {
            NOT_OPENABLE.saying("The buyer's bank wants the payment of this order back, and decides about it")
        }
        NotOpenable::NotPaid => NOT_OPENABLE
            .saying("Nothing was paid for this order yet, as far as we know, so nothing can go back"),
        NotOpenable::NobodyKnown => {
            NOT_OPENABLE.saying("This order of long ago does not say who has placed it, or who delivers it")
        }
    }
}

pub(super) fn not_ending(why: NotEnding) -> Error {
    match why {
        NotEnding::Ended(state) => ended(state).into(),
        NotEnding::OwnWish => {
            NOT_YOUR_PART.saying("You have opened this dispute: the other side may agree to it").into()
        }
        NotEnding::NotYoursToWithdraw => {
            NOT_YOUR_PART.saying("The other side has opened this dispute, and may take it back").into()
        }
        NotEnding::TooMuch(left) => {
            Error::field("amount", format!("must be at most {left}: that is what is left of the order"))
        }
    }
}

pub(super) fn reason(text: Option<&str>) -> Result<CaseReason, String> {
    let found = CaseReason::ALL.into_iter().find(|reason| Some(reason.word()) == text);
    found.ok_or_else(|| format!("must be one of: {}", CaseReason::ALL.map(CaseReason::word).join(", ")))
}

pub(super) fn state(text: &str) -> Result<CaseState, Error> {
    let found = CaseState::ALL.into_iter().find(|state| state.word() == text);
    let known = || format!("must be one of: {}", CaseState::ALL.map(CaseState::word).join(", "));
    found.ok_or_else(|| Error::field("state", known()))
}
