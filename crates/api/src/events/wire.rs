//! Envelopes.

use serde::Serialize;

use crate::catalogue::wire::ListingReply;

/// One event.
#[derive(Serialize)]
pub(super) struct EventReply {
    success: bool,
    event: ListingReply,
}

/// Several.
#[derive(Serialize)]
pub(super) struct EventsReply {
    success: bool,
    events: Vec<ListingReply>,
}

/// Something was done.
#[derive(Serialize)]
pub(super) struct Done {
    success: bool,
    message: &'static str,
}

pub(super) const DELETED: Done = Done { success: true, message: "Deleted Event successfully" };

impl From<ListingReply> for EventReply {
    fn from(event: ListingReply) -> Self {
        Self { success: true, event }
    }
}

impl From<Vec<ListingReply>> for EventsReply {
    fn from(events: Vec<ListingReply>) -> Self {
        Self { success: true, events }
    }
}
