//! Chat messages: stored here, delivered by the chat server, which watches what is stored.

mod handlers;
mod store;
mod wire;

use crate::{
    limits::Limit,
    routes::{Route, get, post, put},
};

pub(crate) fn routes() -> Vec<Route> {
    vec![
        post("/create-new-message", handlers::send).under(Limit::Message),
        get("/get-all-messages/{id}", handlers::list),
        put("/mark-as-seen/{id}", handlers::mark_as_seen),
    ]
}
