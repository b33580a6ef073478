use serde::{Deserialize, Serialize};

use super::Stored;
use crate::clock::Timestamp;

/// One entry of the double-entry ledger (`ledger`), which is the truth about money.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LedgerEntry {
    /// `delivered:<order>`, `refund:<order>`, `withdraw:<id>`, …: unique, so nothing is booked twice.
    #[serde(rename = "_id")]
    pub key: String,
    /// When it was booked.
    pub at: Timestamp,
    /// Sums to zero.
    pub lines: Vec<LedgerLine>,
}

impl Stored for LedgerEntry {
    const COLLECTION: &'static str = "ledger";
}

/// One side of an entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerLine {
    /// `shop:<id>`, `platform:fees`, `platform:payouts`, `gateway:stripe`, `gateway:paypal`, `cod`, …
    pub account: String,
    /// In minor units; positive is what the account's holder gains.
    pub minor: i64,
}
