use serde::{Deserialize, Serialize};
use shared::{clock::iso, model::Withdrawal, money::Money};

use crate::{error::Refusal, extract::loose};

/// `POST /api/withDraw/create-withdraw-request`
#[derive(Deserialize)]
pub(super) struct NewWithdrawal {
    #[serde(default, deserialize_with = "loose")]
    pub amount: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WithdrawalReply {
    #[serde(rename = "_id")]
    id: String,
    seller: SellerReply,
    amount: Money,
    status: String,
    created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    updated_at: Option<String>,
    #[serde(rename = "__v")]
    version: i64,
}

/// Whose withdrawal it is. The bank details stay in the database.
#[derive(Serialize)]
struct SellerReply {
    #[serde(rename = "_id")]
    id: String,
    name: String,
}

impl From<Withdrawal> for WithdrawalReply {
    fn from(withdrawal: Withdrawal) -> Self {
        Self {
            seller: SellerReply { id: withdrawal.seller.id.hex(), name: withdrawal.seller.name },
            amount: withdrawal.amount,
            status: withdrawal.status,
            created_at: iso(withdrawal.created_at.unwrap_or_else(|| withdrawal.id.made_at())),
            updated_at: withdrawal.updated_at.map(iso),
            version: withdrawal.version,
            id: withdrawal.id.hex(),
        }
    }
}

#[derive(Serialize)]
pub(super) struct WithdrawalCreated {
    pub success: bool,
    pub withdraw: WithdrawalReply,
}

#[derive(Serialize)]
pub(super) struct WithdrawalList {
    pub success: bool,
    pub withdraws: Vec<WithdrawalReply>,
}

pub(super) const NO_METHOD: Refusal = Refusal::conflict(
    "no_withdraw_method",
    "There is no withdraw method yet; please add your bank details first",
);
pub(super) const INSUFFICIENT: Refusal =
    Refusal::conflict("insufficient_balance", "The available balance is not enough for this withdrawal");
