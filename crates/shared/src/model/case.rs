use serde::{Deserialize, Serialize};

use super::{Order, Picture, Shop, Stored, User};
use crate::{clock::Timestamp, id::Id, money::Money};

/// A buyer and a shop who cannot agree about an order, for an administrator to decide (`cases`). The collection
/// `disputes` is taken by what banks dispute.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Case {
    /// Its id.
    #[serde(rename = "_id")]
    pub id: Id<Case>,
    /// What it is about.
    pub order: Id<Order>,
    /// Who placed that.
    pub buyer: Id<User>,
    /// Who delivers it.
    pub shop: Id<Shop>,
    /// Which of the two has opened it.
    pub opened_by: CaseSide,
    /// What is wrong.
    pub reason: CaseReason,
    /// What is to go back to the buyer, as whoever opened it wants it, in minor units.
    pub wanted: i64,
    /// How it stands.
    pub state: CaseState,
    /// What of the shop's credit is on hold for it, or was, in minor units; none as long as the order is not credited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<i64>,
    /// What went back to the buyer in the end, in minor units.
    #[serde(default)]
    pub returned: i64,
    /// What the two have said, oldest first.
    pub messages: Vec<CaseMessage>,
    /// When it was opened.
    pub created_at: Timestamp,
    /// When anything last happened to it.
    pub updated_at: Timestamp,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_at: Option<Timestamp>,
    /// The administrator who has decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided_by: Option<Id<User>>,
    /// Why, in the administrator's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

impl Stored for Case {
    const COLLECTION: &'static str = "cases";
}

impl Case {
    /// What is to go back to the buyer.
    pub const fn wanted(&self) -> Money {
        Money::from_minor(self.wanted)
    }
}

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CaseSide {
    /// Who placed the order.
    Buyer,
    /// Who delivers it.
    Seller,
}

impl CaseSide {
    /// The word that is stored and spoken.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Buyer => "buyer",
            Self::Seller => "seller",
        }
    }

    /// The other one.
    pub const fn other(self) -> Self {
        match self {
            Self::Buyer => Self::Seller,
            Self::Seller => Self::Buyer,
        }
    }
}

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CaseReason {
    /// It never came.
    NotReceived,
    /// It is something else than what was shown.
    NotAsDescribed,
    /// It came broken.
    Damaged,
    /// Something else came.
    WrongItem,
    /// The two do not agree about a refund.
    Refund,
    /// Anything else.
    Other,
}

impl CaseReason {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::NotReceived, Self::NotAsDescribed, Self::Damaged, Self::WrongItem, Self::Refund, Self::Other];

    /// The word that is stored and spoken.
    pub const fn word(self) -> &'static str {
        match self {
            Self::NotReceived => "not_received",
            Self::NotAsDescribed => "not_as_described",
            Self::Damaged => "damaged",
            Self::WrongItem => "wrong_item",
            Self::Refund => "refund",
            Self::Other => "other",
        }
    }
}

/// How a case stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CaseState {
    /// Nobody has decided.
    Open,
    /// An administrator has given money back to the buyer.
    Refunded,
    /// An administrator has left the money with the shop.
    Released,
    /// The other side has agreed to what was wanted.
    Accepted,
    /// Whoever opened it has taken it back.
    Withdrawn,
    /// The payer's bank decides instead.
    Bank,
}

impl CaseState {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Open, Self::Refunded, Self::Released, Self::Accepted, Self::Withdrawn, Self::Bank];

    /// The word that is stored and spoken.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Refunded => "refunded",
            Self::Released => "released",
            Self::Accepted => "accepted",
            Self::Withdrawn => "withdrawn",
            Self::Bank => "bank",
        }
    }
}

/// What one of the two has said.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CaseMessage {
    /// Its id.
    #[serde(rename = "_id")]
    pub id: Id<CaseMessage>,
    /// Who.
    pub from: CaseSide,
    /// In words.
    pub text: String,
    /// And in pictures.
    #[serde(default)]
    pub images: Vec<Picture>,
    /// When.
    pub at: Timestamp,
}
