//! What the answers of several lists have in common.

use serde::{Deserialize, Serialize};
use shared::{
    clock::{Timestamp, iso},
    model::Measure,
};

use crate::{
    accounts::rules as account_rules,
    error::{Error, Result},
};

/// A reason is something to read, not a letter.
const LONGEST_REASON: usize = 500;

/// Why something is blocked or hidden. The request of every such decision.
#[derive(Deserialize)]
pub(crate) struct Reason {
    reason: Option<String>,
}

impl Reason {
    /// One line, which must be there.
    pub(crate) fn checked(&self) -> Result<String> {
        account_rules::line(
            self.reason.as_deref(),
            LONGEST_REASON,
            "must be given, in one line of at most 500 characters",
        )
        .map_err(|why| Error::field("reason", why))
    }
}

/// What an administrator has done to something, as administrators see it.
#[derive(Debug, Serialize)]
pub(crate) struct MeasureReply {
    reason: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<String>,
}

impl From<Measure> for MeasureReply {
    fn from(Measure { reason, at, by }: Measure) -> Self {
        Self { reason, at: at.map(iso), by: by.map(|admin| admin.hex()) }
    }
}

/// When something was made: the document's own word, or its id's.
pub(crate) fn made<T>(at: Option<Timestamp>, id: shared::id::Id<T>) -> String {
    iso(at.unwrap_or_else(|| id.made_at()))
}
