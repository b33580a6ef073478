use serde::{Deserialize, Serialize};

use super::User;
use crate::{clock::Timestamp, id::Id, lenient};

/// What an administrator has done to an account, a listing or a review, as long as it lasts: blocked it, hidden it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Measure {
    /// Why, in the administrator's words.
    #[serde(deserialize_with = "lenient::text")]
    pub reason: String,
    /// When.
    #[serde(deserialize_with = "lenient::opt_date", skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// The administrator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<Id<User>>,
}
