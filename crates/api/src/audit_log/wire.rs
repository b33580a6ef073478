use serde::Serialize;
use shared::{
    clock::iso,
    model::{AuditEntry, Party},
};

pub(super) const ACTION: &str = "must be one of the actions that are written down";
pub(super) const ACCOUNT: &str = "must be the id of an account";

/// `GET /api/admin/audit-log`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Page {
    pub success: bool,
    pub entries: Vec<Entry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Entry {
    #[serde(rename = "_id")]
    id: String,
    at: String,
    action: String,
    outcome: &'static str,
    actor: Party,
    #[serde(skip_serializing_if = "Option::is_none")]
    about: Option<Party>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
}

impl From<AuditEntry> for Entry {
    fn from(entry: AuditEntry) -> Self {
        Self {
            id: entry.id.hex(),
            at: iso(entry.at),
            action: entry.action,
            outcome: if entry.done { "done" } else { "refused" },
            actor: entry.actor,
            about: entry.about,
            note: entry.note,
            address: entry.address,
            request_id: entry.request,
        }
    }
}
