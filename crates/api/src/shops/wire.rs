//! Shops as clients know them.

use serde::{Deserialize, Serialize};
use shared::{
    clock::{Timestamp, iso},
    config::Config,
    model::{ROLE_SELLER, Shop, Transaction, WithdrawMethod},
    money::Money,
};

use super::{
    rules,
    statement::{Cause, Movement, Totals},
    store::Statement,
};
use crate::{accounts::Account as _, error::Refusal, extract::loose, media::wire::PictureReply};

pub(crate) const SHOP_NOT_FOUND: Refusal = Refusal::not_found("shop_not_found", "There is no such shop");

pub(crate) const MAIL_SENT: &str = "please check your email  to activate your shop";
pub(crate) const VERIFIED: &str = "successfully verified seller";
pub(crate) const LOGGED_OUT: &str = "Logout sucessfully";

/// `PUT /api/shop/updateSellerInfo`. `null` and absent mean unchanged.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Update {
    pub name: Option<String>,
    pub address: Option<String>,
    #[serde(default, deserialize_with = "loose")]
    pub zip_code: Option<String>,
    #[serde(default, deserialize_with = "loose")]
    pub phone_number: Option<String>,
    pub description: Option<String>,
}

/// `PUT /api/shop/update-payment-methods`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NewWithdrawMethod {
    pub withdraw_method: Option<BankDetails>,
}

/// Where withdrawals are to go.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct BankDetails {
    pub bank_name: Option<String>,
    pub bank_country: Option<String>,
    #[serde(deserialize_with = "loose")]
    pub bank_swift_code: Option<String>,
    #[serde(deserialize_with = "loose")]
    pub bank_account_number: Option<String>,
    pub bank_holder_name: Option<String>,
    pub bank_address: Option<String>,
}

/// One's own shop.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SellerReply {
    #[serde(rename = "_id")]
    pub id: String,
    pub name: String,
    pub email: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phone_number: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zip_code: Option<i64>,
    pub avatar: PictureReply,
    /// `null` where there is none. Masked: see [`rules::masked`].
    pub withdraw_method: Option<WithdrawMethodReply>,
    pub available_balance: Money,
    #[serde(rename = "transections")]
    pub transactions: Vec<TransactionReply>,
    pub role: String,
    pub created_at: String,
    #[serde(rename = "__v")]
    pub version: i64,
}

impl SellerReply {
    /// Everything that its owner may see.
    pub(crate) fn of(config: &Config, shop: &Shop) -> Self {
        Self {
            id: shop.id.hex(),
            name: shop.name.clone(),
            email: shop.email.clone(),
            description: shop.description.clone(),
            address: filled(Some(&shop.address)),
            phone_number: shop.phone_number,
            zip_code: shop.zip_code,
            avatar: PictureReply::of(config, shop.avatar.as_ref()),
            withdraw_method: shop
                .withdraw_method
                .as_ref()
                .and_then(rules::masked)
                .map(WithdrawMethodReply::from),
            available_balance: balance(shop),
            transactions: shop.transactions.iter().map(TransactionReply::of).collect(),
            role: if shop.role.is_empty() { ROLE_SELLER.to_owned() } else { shop.role.clone() },
            created_at: iso(shop.created_at()),
            version: shop.version,
        }
    }
}

/// What a shop may withdraw. The number that is counted with wins over its legacy copy.
pub(crate) fn balance(shop: &Shop) -> Money {
    shop.balance_minor.map_or(shop.available_balance, Money::from_minor)
}

fn filled(text: Option<&String>) -> Option<String> {
    text.filter(|text| !text.is_empty()).cloned()
}

/// Bank details.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct WithdrawMethodReply {
    pub bank_name: String,
    pub bank_country: String,
    pub bank_swift_code: String,
    pub bank_account_number: String,
    pub bank_holder_name: String,
    pub bank_address: String,
}

impl From<WithdrawMethod> for WithdrawMethodReply {
    fn from(method: WithdrawMethod) -> Self {
        Self {
            bank_name: method.bank_name,
            bank_country: method.bank_country,
            bank_swift_code: method.bank_swift_code,
            bank_account_number: method.bank_account_number,
            bank_holder_name: method.bank_holder_name,
            bank_address: method.bank_address,
        }
    }
}

/// What moved the balance.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TransactionReply {
    #[serde(rename = "_id")]
    pub id: String,
    pub amount: Money,
    pub status: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<String>,
}

impl TransactionReply {
    fn of(transaction: &Transaction) -> Self {
        let said = |at: Option<Timestamp>| at.map(iso);
        Self {
            id: transaction.id.hex(),
            amount: transaction.amount,
            status: transaction.status.clone(),
            created_at: said(transaction.created_at),
            updated_at: said(transaction.updated_at),
        }
    }
}

/// A shop as others see it, wherever one appears.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ShopReply {
    #[serde(rename = "_id")]
    pub id: String,
    pub name: String,
    pub avatar: PictureReply,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The description again, under the misspelt name that product pages read.
    #[serde(rename = "desciption", skip_serializing_if = "Option::is_none")]
    pub description_again: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phone_number: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_at: Option<String>,
}

impl ShopReply {
    /// The public side of a shop.
    pub(crate) fn of(config: &Config, shop: &Shop) -> Self {
        let description = filled(shop.description.as_ref());
        Self {
            id: shop.id.hex(),
            name: shop.name.clone(),
            avatar: PictureReply::of(config, shop.avatar.as_ref()),
            description: description.clone(),
            description_again: description,
            address: filled(Some(&shop.address)),
            phone_number: shop.phone_number,
            created_at: Some(iso(shop.created_at())),
        }
    }
}

/// `{success, seller}`: one's own shop.
#[derive(Debug, Serialize)]
pub(crate) struct Own {
    pub success: bool,
    pub seller: SellerReply,
}

/// After logging in, or following the mailed link.
#[derive(Debug, Serialize)]
pub(crate) struct Session {
    pub success: bool,
    pub message: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seller: Option<SellerReply>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
}

/// `{message}`, without `success`, as it always was.
#[derive(Debug, Serialize)]
pub(crate) struct LoggedOut {
    pub message: &'static str,
}

/// `{success, sellerInfo}`: a shop's public page, with the balance for its owner.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Page {
    pub success: bool,
    pub seller_info: PageShop,
}

/// The shop on it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PageShop {
    #[serde(flatten)]
    pub shop: ShopReply,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub available_balance: Option<Money>,
}

/// `{success, seller}`: a shop, or none.
#[derive(Debug, Serialize)]
pub(crate) struct Info {
    pub success: bool,
    pub seller: Option<ShopReply>,
}

/// `GET /api/shop/balance`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Balance {
    success: bool,
    currency: String,
    balance: Money,
    totals: TotalsReply,
    entries: Vec<MovementReply>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

#[derive(Debug, Serialize)]
struct TotalsReply {
    opening: Money,
    earned: Money,
    fees: Money,
    refunded: Money,
    disputed: Money,
    withdrawn: Money,
    other: Money,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct MovementReply {
    id: String,
    kind: &'static str,
    at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    order_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    withdrawal_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gross: Option<Money>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fee: Option<Money>,
    amount: Money,
    balance: Money,
}

impl Balance {
    /// The balance of the same moment as the movements.
    pub(crate) fn of(config: &Config, statement: Statement) -> Self {
        let Statement { totals, movements, next } = statement;
        Self {
            success: true,
            currency: config.currency.clone(),
            balance: totals.balance(),
            totals: totals.into(),
            entries: movements.into_iter().map(Into::into).collect(),
            next_cursor: next.map(|cursor| cursor.text()),
        }
    }
}

impl From<Totals> for TotalsReply {
    fn from(totals: Totals) -> Self {
        let Totals { opening, earned, fees, refunded, disputed, withdrawn, other } = totals;
        Self { opening, earned, fees, refunded, disputed, withdrawn, other }
    }
}

impl From<Movement> for MovementReply {
    fn from(movement: Movement) -> Self {
        Self {
            kind: match movement.cause {
                Cause::Order => "order",
                Cause::Refund => "refund",
                Cause::Dispute => "dispute",
                Cause::Withdrawal => "withdrawal",
                Cause::WithdrawalRejected => "withdrawal rejected",
                Cause::Opening => "opening",
                Cause::Other => "other",
            },
            at: iso(movement.at),
            order_id: movement.order.map(|id| id.hex()),
            withdrawal_id: movement.withdrawal.map(|id| id.hex()),
            gross: movement.fee.map(|fee| movement.amount + fee),
            fee: movement.fee,
            amount: movement.amount,
            balance: movement.balance,
            id: movement.id,
        }
    }
}
