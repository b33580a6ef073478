use serde::{Deserialize, Serialize};

use super::{Shop, Stored, User, WithdrawMethod};
use crate::{clock::Timestamp, id::Id, lenient, money::Money};

/// A shop's request to be paid out (`withdraws`).
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Withdrawal {
    /// The request's id.
    #[serde(rename = "_id")]
    pub id: Id<Withdrawal>,
    /// Whose it is, with the bank details at the time.
    #[serde(deserialize_with = "lenient::document")]
    pub seller: WithdrawalSeller,
    /// What is paid out; already taken from the balance.
    #[serde(deserialize_with = "lenient::money")]
    pub amount: Money,
    /// `Processing`, `Succeeded` or `Rejected`.
    #[serde(deserialize_with = "lenient::text")]
    pub status: String,
    /// When it was asked for.
    #[serde(
        rename = "createdAt",
        deserialize_with = "lenient::opt_date",
        skip_serializing_if = "Option::is_none"
    )]
    pub created_at: Option<Timestamp>,
    /// When its status last changed.
    #[serde(
        rename = "updatedAt",
        deserialize_with = "lenient::opt_date",
        skip_serializing_if = "Option::is_none"
    )]
    pub updated_at: Option<Timestamp>,
    /// The first administrator who has approved it, where it takes two.
    #[serde(rename = "approvedBy", skip_serializing_if = "Option::is_none")]
    pub approved_by: Option<Id<User>>,
    /// When that was.
    #[serde(
        rename = "approvedAt",
        deserialize_with = "lenient::opt_date",
        skip_serializing_if = "Option::is_none"
    )]
    pub approved_at: Option<Timestamp>,
    /// The administrator who decided.
    #[serde(rename = "decidedBy", skip_serializing_if = "Option::is_none")]
    pub decided_by: Option<Id<User>>,
    /// When that was.
    #[serde(
        rename = "decidedAt",
        deserialize_with = "lenient::opt_date",
        skip_serializing_if = "Option::is_none"
    )]
    pub decided_at: Option<Timestamp>,
    /// Why, in the administrator's words.
    #[serde(deserialize_with = "lenient::opt_text", skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Mongoose's version counter.
    #[serde(rename = "__v", deserialize_with = "lenient::int")]
    pub version: i64,
}

impl Stored for Withdrawal {
    const COLLECTION: &'static str = "withdraws";
}

/// The shop that withdraws. Its `_id` is an ObjectId here, unlike in coupons.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct WithdrawalSeller {
    /// The shop.
    #[serde(rename = "_id")]
    pub id: Id<Shop>,
    /// Its name at the time.
    #[serde(deserialize_with = "lenient::text")]
    pub name: String,
    /// Where the money goes.
    #[serde(
        rename = "withdrawMethod",
        deserialize_with = "lenient::opt_document",
        skip_serializing_if = "Option::is_none"
    )]
    pub method: Option<WithdrawMethod>,
}
