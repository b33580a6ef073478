use serde::{Deserialize, Serialize};

use super::Stored;
use crate::{clock::Timestamp, id::Id};

/// Something that concerns the safety of accounts or money, and who did it (`auditlog`). Entries are written and read,
/// never changed; MongoDB removes them when their time is over.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditEntry {
    /// Its id, which grows with time.
    #[serde(rename = "_id")]
    pub id: Id<AuditEntry>,
    /// When it happened.
    pub at: Timestamp,
    /// A stable name, such as `log_in`.
    pub action: String,
    /// Whether it was done; otherwise it was refused.
    pub done: bool,
    /// Who did it.
    pub actor: Party,
    /// What it was done to, if that is another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<Party>,
    /// In one word or two: what was decided, which limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// The client's address, as `TRUSTED_PROXIES` lets us know it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The id of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// The ids of the accounts that it concerns, to find it by.
    #[serde(default)]
    pub accounts: Vec<String>,
    /// When it is removed.
    pub expires_at: Timestamp,
}

impl Stored for AuditEntry {
    const COLLECTION: &'static str = "auditlog";
}

/// Who did something, or what it was done to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Party {
    /// `user`, `seller`, `admin`, `nobody`, `system`; `email`, `limit`, `route`, `withdrawal` and the like.
    pub kind: String,
    /// Which one. Of an e-mail address a digest under our secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

impl Party {
    /// One of a kind.
    pub fn new(kind: &str, id: impl ToString) -> Self {
        Self { kind: kind.to_owned(), id: Some(id.to_string()) }
    }

    /// Somebody who is not logged in.
    pub fn nobody() -> Self {
        Self { kind: "nobody".to_owned(), id: None }
    }

    /// The server itself, or whoever operates it.
    pub fn system() -> Self {
        Self { kind: "system".to_owned(), id: None }
    }

    /// Whether it is an account, which has an id to be found by.
    pub fn is_account(&self) -> bool {
        matches!(self.kind.as_str(), "user" | "seller" | "admin")
    }
}
