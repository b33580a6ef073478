use serde::{Deserialize, Deserializer, Serialize};
use shared::{clock::iso, model::Withdrawal, money::Money};

use super::{
    rules::{NotFrom, State},
    store,
};
use crate::{admin::page::Page, error::Refusal, extract::loose, shops::wire::WithdrawMethodReply};

/// `POST /api/withDraw/create-withdraw-request`
#[derive(Deserialize)]
pub(super) struct NewWithdrawal {
    #[serde(default, deserialize_with = "loose")]
    pub amount: Option<String>,
}

/// `PUT /api/withDraw/update-withdraw-request/{id}`
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Decision {
    /// Absent is something else than `null` or empty: nobody chose then.
    #[serde(default, deserialize_with = "present")]
    pub status: Option<Option<String>>,
    pub reason: Option<String>,
    pub seller_id: Option<String>,
}

fn present<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Option<String>>, D::Error> {
    Option::<String>::deserialize(d).map(Some)
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
    #[serde(skip_serializing_if = "Option::is_none")]
    decided_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
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
            status: status(withdrawal.status),
            created_at: iso(withdrawal.created_at.unwrap_or_else(|| withdrawal.id.made_at())),
            updated_at: withdrawal.updated_at.map(iso),
            decided_at: withdrawal.decided_at.map(iso),
            reason: withdrawal.reason,
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

/// One spelling for each state; what is none stays as it is.
fn status(stored: String) -> String {
    State::of(&stored).map_or(stored, |state| state.text().to_owned())
}

/// A request as administrators see it: they pay it out.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PayoutReply {
    #[serde(rename = "_id")]
    id: String,
    seller: PayeeReply,
    amount: Money,
    status: String,
    created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    updated_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    approved_by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    approved_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    decided_by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    decided_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(rename = "__v")]
    version: i64,
}

/// Who is paid, and where to.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PayeeReply {
    #[serde(rename = "_id")]
    id: String,
    name: String,
    /// Unmasked; `null` where an old request has none.
    withdraw_method: Option<WithdrawMethodReply>,
}

impl From<Withdrawal> for PayoutReply {
    fn from(withdrawal: Withdrawal) -> Self {
        let seller = withdrawal.seller;
        Self {
            seller: PayeeReply {
                id: seller.id.hex(),
                name: seller.name,
                withdraw_method: seller.method.map(Into::into),
            },
            amount: withdrawal.amount,
            status: status(withdrawal.status),
            created_at: iso(withdrawal.created_at.unwrap_or_else(|| withdrawal.id.made_at())),
            updated_at: withdrawal.updated_at.map(iso),
            approved_by: withdrawal.approved_by.map(|admin| admin.hex()),
            approved_at: withdrawal.approved_at.map(iso),
            decided_by: withdrawal.decided_by.map(|admin| admin.hex()),
            decided_at: withdrawal.decided_at.map(iso),
            reason: withdrawal.reason,
            version: withdrawal.version,
            id: withdrawal.id.hex(),
        }
    }
}

/// A page of them.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AllWithdrawals {
    pub success: bool,
    pub withdraws: Vec<PayoutReply>,
    /// How many there are on all pages.
    pub total: u64,
    /// Leads to the next page; there is none on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

impl From<Page<Withdrawal>> for AllWithdrawals {
    fn from(page: Page<Withdrawal>) -> Self {
        let Page { items: withdraws, total, next: next_cursor } = page.map(Into::into);
        Self { success: true, withdraws, total, next_cursor }
    }
}

/// What became of a decision.
#[derive(Serialize)]
pub(super) struct Decided {
    success: bool,
    message: String,
    withdraw: PayoutReply,
}

impl From<store::Decided> for Decided {
    fn from(decided: store::Decided) -> Self {
        let store::Decided { withdrawal, returned, changed, waits } = decided;
        let withdraw = PayoutReply::from(withdrawal);
        let message = match withdraw.status.as_str() {
            _ if waits && changed => {
                "Your approval is noted. So much is paid out once another administrator approves it, too".to_owned()
            }
            _ if waits => "You have approved this already: another administrator has to approve it, too".to_owned(),
            _ if !changed => format!("Nothing to do: the withdrawal is {} already", withdraw.status),
            "Rejected" if returned == Money::ZERO => {
                "The withdrawal is rejected. Nothing was put back on the balance, because the ledger has no entry \
                 that took it: the request is the former server's, so please clear it up with the shop"
                    .to_owned()
            }
            "Rejected" => format!("The withdrawal is rejected, and {returned} is back on the balance"),
            _ => "The withdrawal is marked as paid out".to_owned(),
        };
        Self { success: true, message, withdraw }
    }
}

pub(super) const STATES: &str = "must be Processing, Succeeded or Rejected";
pub(super) const DECISIONS: &str = "must be Succeeded or Rejected";
pub(super) const REASON: &str = "must be one line of at most 500 characters";

pub(super) const NOT_FOUND: Refusal =
    Refusal::not_found("withdrawal_not_found", "There is no such withdrawal");
pub(super) const FOUR_EYES: Refusal = Refusal::forbidden(
    "four_eyes",
    "This is the withdrawal of your own shop: another administrator has to decide about it",
);
pub(super) const OTHER_SELLER: Refusal = Refusal::conflict(
    "other_seller",
    "This withdrawal belongs to another shop than the sellerId names. Please reload the list",
);
pub(super) const NOT_PAYABLE: Refusal = Refusal::conflict(
    "not_payable",
    "This withdrawal names no shop that still exists, or no amount that can be paid; it can only be rejected",
);
pub(super) const UNREADABLE: Refusal =
    Refusal::conflict("unknown_state", "The state of this withdrawal cannot be read; nothing was changed");

/// Names both states.
pub(super) fn not_from(refused: NotFrom) -> Refusal {
    Refusal::conflict("wrong_status", "The withdrawal cannot go there").saying(format!(
        "This withdrawal is {}, and cannot become {} any more",
        refused.from,
        refused.to.text()
    ))
}

pub(super) const NO_METHOD: Refusal = Refusal::conflict(
    "no_withdraw_method",
    "There is no withdraw method yet; please add your bank details first",
);
pub(super) const INSUFFICIENT: Refusal =
    Refusal::conflict("insufficient_balance", "The available balance is not enough for this withdrawal");
