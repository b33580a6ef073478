use serde::{Deserialize, Serialize};

use super::{Measure, Stored};
use crate::{clock::Timestamp, id::Id, lenient, money::Money};

/// The role the old server gives every shopper.
pub const ROLE_USER: &str = "user";
/// The role the old server gives every shop.
pub const ROLE_SELLER: &str = "seller";
/// The role of an administrator.
pub const ROLE_ADMIN: &str = "Admin";

/// Whether a role is an administrator's. Old data may write it in capitals.
pub fn is_admin(role: &str) -> bool {
    role.eq_ignore_ascii_case(ROLE_ADMIN)
}

/// A picture at the media host: `public_id` names it there, `url` shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Picture {
    /// The media host's name of it, folder included.
    #[serde(deserialize_with = "lenient::text")]
    pub public_id: String,
    /// Absolute address; a bare file name in old data; `/uploads/…` for local files.
    #[serde(deserialize_with = "lenient::text")]
    pub url: String,
}

/// A shopper (`users`).
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct User {
    /// The account's id.
    #[serde(rename = "_id")]
    pub id: Id<User>,
    /// Display name.
    #[serde(deserialize_with = "lenient::text")]
    pub name: String,
    /// As entered; compared without regard to case.
    #[serde(deserialize_with = "lenient::text")]
    pub email: String,
    /// A bcrypt hash. Never leaves the server.
    #[serde(deserialize_with = "lenient::text")]
    pub password: String,
    /// Digits only.
    #[serde(
        rename = "phoneNumber",
        deserialize_with = "lenient::opt_int",
        skip_serializing_if = "Option::is_none"
    )]
    pub phone_number: Option<i64>,
    /// Saved delivery addresses.
    #[serde(deserialize_with = "lenient::list")]
    pub addresses: Vec<Address>,
    /// [`ROLE_USER`], or [`ROLE_ADMIN`].
    #[serde(deserialize_with = "lenient::text")]
    pub role: String,
    /// Profile picture.
    #[serde(deserialize_with = "lenient::opt_document", skip_serializing_if = "Option::is_none")]
    pub avatar: Option<Picture>,
    /// Unreliable in old documents; prefer [`Id::made_at`] there.
    #[serde(
        rename = "createdAt",
        deserialize_with = "lenient::opt_date",
        skip_serializing_if = "Option::is_none"
    )]
    pub created_at: Option<Timestamp>,
    /// SHA-256 (hex) of the token in the last mailed reset link.
    #[serde(
        rename = "resetPasswordToken",
        deserialize_with = "lenient::opt_text",
        skip_serializing_if = "Option::is_none"
    )]
    pub reset_token_digest: Option<String>,
    /// When that link stops working.
    #[serde(
        rename = "resetPasswordTime",
        deserialize_with = "lenient::opt_date",
        skip_serializing_if = "Option::is_none"
    )]
    pub reset_expires: Option<Timestamp>,
    /// Sessions issued under a lower version are over.
    #[serde(rename = "ver", deserialize_with = "lenient::int")]
    pub session_version: i64,
    /// A blocked account has no sessions.
    #[serde(deserialize_with = "lenient::flag")]
    pub blocked: bool,
    /// Who blocked it, and why.
    #[serde(deserialize_with = "lenient::opt_document", skip_serializing_if = "Option::is_none")]
    pub blocking: Option<Measure>,
    /// When it was given up for good: nothing of the person is left in it then.
    #[serde(
        rename = "closedAt",
        deserialize_with = "lenient::opt_date",
        skip_serializing_if = "Option::is_none"
    )]
    pub closed_at: Option<Timestamp>,
    /// SHA-256 (hex) of the activation token that made this account: repeating it is harmless.
    #[serde(
        rename = "activationDigest",
        deserialize_with = "lenient::opt_text",
        skip_serializing_if = "Option::is_none"
    )]
    pub activation_digest: Option<String>,
    /// Mongoose's version counter.
    #[serde(rename = "__v", deserialize_with = "lenient::int")]
    pub version: i64,
}

impl Stored for User {
    const COLLECTION: &'static str = "users";
}

/// One saved address of a user.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Address {
    /// The address's own id.
    #[serde(rename = "_id")]
    pub id: Id<Address>,
    /// ISO country code.
    #[serde(deserialize_with = "lenient::text")]
    pub country: String,
    /// ISO code of the state: what the client calls a city.
    #[serde(deserialize_with = "lenient::text")]
    pub city: String,
    /// First line.
    #[serde(deserialize_with = "lenient::text")]
    pub address1: String,
    /// Second line.
    #[serde(deserialize_with = "lenient::text")]
    pub address2: String,
    /// Postal code; a number, so a leading zero is lost.
    #[serde(
        rename = "zipCode",
        deserialize_with = "lenient::opt_int",
        skip_serializing_if = "Option::is_none"
    )]
    pub zip_code: Option<i64>,
    /// `defualt`, `Home` or `Office`; one each.
    #[serde(rename = "addressType", deserialize_with = "lenient::text")]
    pub kind: String,
}

/// A seller's shop, which is also the seller's account (`shops`).
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Shop {
    /// The account's id.
    #[serde(rename = "_id")]
    pub id: Id<Shop>,
    /// The shop's name.
    #[serde(deserialize_with = "lenient::text")]
    pub name: String,
    /// As entered; compared without regard to case.
    #[serde(deserialize_with = "lenient::text")]
    pub email: String,
    /// A bcrypt hash. Never leaves the server.
    #[serde(deserialize_with = "lenient::text")]
    pub password: String,
    /// What the shop says of itself.
    #[serde(deserialize_with = "lenient::opt_text", skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Street address, one line.
    #[serde(deserialize_with = "lenient::text")]
    pub address: String,
    /// Digits only; shown on the public page.
    #[serde(
        rename = "phoneNumber",
        deserialize_with = "lenient::opt_int",
        skip_serializing_if = "Option::is_none"
    )]
    pub phone_number: Option<i64>,
    /// Postal code.
    #[serde(
        rename = "zipCode",
        deserialize_with = "lenient::opt_int",
        skip_serializing_if = "Option::is_none"
    )]
    pub zip_code: Option<i64>,
    /// Always [`ROLE_SELLER`].
    #[serde(deserialize_with = "lenient::text")]
    pub role: String,
    /// The shop's picture.
    #[serde(deserialize_with = "lenient::opt_document", skip_serializing_if = "Option::is_none")]
    pub avatar: Option<Picture>,
    /// Bank details; private.
    #[serde(
        rename = "withdrawMethod",
        deserialize_with = "lenient::opt_document",
        skip_serializing_if = "Option::is_none"
    )]
    pub withdraw_method: Option<WithdrawMethod>,
    /// What the shop may withdraw: a projection of the ledger for readers of the old layout. The
    /// number that is counted with is [`Shop::balance_minor`].
    #[serde(rename = "availableBalance", deserialize_with = "lenient::money")]
    pub available_balance: Money,
    /// The same balance in minor units, so that `$inc` stays exact. Missing in old documents until
    /// the migration has entered their balance into the ledger.
    #[serde(
        rename = "balanceMinor",
        deserialize_with = "lenient::opt_int",
        skip_serializing_if = "Option::is_none"
    )]
    pub balance_minor: Option<i64>,
    /// What moved the balance, newest last: a projection of the ledger.
    #[serde(rename = "transections", deserialize_with = "lenient::list")]
    pub transactions: Vec<Transaction>,
    /// Unreliable in old documents; prefer [`Id::made_at`] there.
    #[serde(
        rename = "createdAt",
        deserialize_with = "lenient::opt_date",
        skip_serializing_if = "Option::is_none"
    )]
    pub created_at: Option<Timestamp>,
    /// SHA-256 (hex) of the token in the last mailed reset link.
    #[serde(
        rename = "resetPasswordToken",
        deserialize_with = "lenient::opt_text",
        skip_serializing_if = "Option::is_none"
    )]
    pub reset_token_digest: Option<String>,
    /// When that link stops working.
    #[serde(
        rename = "resetPasswordTime",
        deserialize_with = "lenient::opt_date",
        skip_serializing_if = "Option::is_none"
    )]
    pub reset_expires: Option<Timestamp>,
    /// Sessions issued under a lower version are over.
    #[serde(rename = "ver", deserialize_with = "lenient::int")]
    pub session_version: i64,
    /// A blocked account has no sessions.
    #[serde(deserialize_with = "lenient::flag")]
    pub blocked: bool,
    /// Who blocked it, and why.
    #[serde(deserialize_with = "lenient::opt_document", skip_serializing_if = "Option::is_none")]
    pub blocking: Option<Measure>,
    /// When it was given up for good: nothing of the person is left in it then.
    #[serde(
        rename = "closedAt",
        deserialize_with = "lenient::opt_date",
        skip_serializing_if = "Option::is_none"
    )]
    pub closed_at: Option<Timestamp>,
    /// It was opened while new shops needed an administrator's approval, and waits for that.
    #[serde(
        rename = "awaitingApproval",
        deserialize_with = "lenient::flag",
        skip_serializing_if = "std::ops::Not::not"
    )]
    pub awaiting_approval: bool,
    /// SHA-256 (hex) of the activation token that made this account: repeating it is harmless.
    #[serde(
        rename = "activationDigest",
        deserialize_with = "lenient::opt_text",
        skip_serializing_if = "Option::is_none"
    )]
    pub activation_digest: Option<String>,
    /// Mongoose's version counter.
    #[serde(rename = "__v", deserialize_with = "lenient::int")]
    pub version: i64,
}

impl Shop {
    /// Whether nothing of it is shown or sold.
    pub fn is_shut(&self) -> bool {
        self.blocked || self.awaiting_approval
    }
}

impl Stored for Shop {
    const COLLECTION: &'static str = "shops";
}

/// Where a shop's withdrawals go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct WithdrawMethod {
    /// The bank's name.
    #[serde(deserialize_with = "lenient::text")]
    pub bank_name: String,
    /// The bank's country.
    #[serde(deserialize_with = "lenient::text")]
    pub bank_country: String,
    /// SWIFT or BIC.
    #[serde(deserialize_with = "lenient::text")]
    pub bank_swift_code: String,
    /// At least three characters: the client shows the last three.
    #[serde(deserialize_with = "lenient::text")]
    pub bank_account_number: String,
    /// Whose account it is.
    #[serde(deserialize_with = "lenient::text")]
    pub bank_holder_name: String,
    /// The bank's address.
    #[serde(deserialize_with = "lenient::text")]
    pub bank_address: String,
}

/// One movement of a shop's balance, as the old layout lists it (`shops.transections`).
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Transaction {
    /// Its own id; for a withdrawal the withdrawal's.
    #[serde(rename = "_id")]
    pub id: Id<Transaction>,
    /// Positive for credits, negative for debits.
    #[serde(deserialize_with = "lenient::money")]
    pub amount: Money,
    /// `Processing`, `Succeeded`, `Rejected`, `Credited`, `Refunded`, `Returned`.
    #[serde(deserialize_with = "lenient::text")]
    pub status: String,
    /// When it was entered.
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
}
