//! Conversations: one for each pair of a user and a shop, found by its members. Its name is derived
//! here and never believed, so nobody can open somebody else's conversation beforehand.

mod handlers;
mod wire;

pub mod store;

use crate::{
    limits::Limit,
    routes::{Route, get, post, put},
};

pub(crate) fn routes() -> Vec<Route> {
    vec![
        post("/create-new-conversation", handlers::open).under(Limit::Message),
        get("/get-all-conversation-user/{id}", handlers::of_user),
        get("/get-all-conversation-seller/{id}", handlers::of_shop),
        put("/update-last-message/{id}", handlers::set_last_message),
    ]
}
