//! The processes at work, API and chat, on whichever machines, and how each has been doing for the last ten minutes.

pub(crate) mod handlers;
mod wire;

use crate::routes::{Route, get};

pub(crate) fn routes() -> Vec<Route> {
    vec![get("/nodes", handlers::list)]
}
