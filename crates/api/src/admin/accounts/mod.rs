//! Shoppers' and shops' accounts: looking for them, blocking and unblocking, approving new shops.
//!
//! Who is blocked has no session any more, over HTTP and in the chat, and gets none. Of a blocked shop nothing is
//! shown or sold; what was ordered of it before goes on.

pub(crate) mod close;
pub(crate) mod handlers;
mod rules;
pub(crate) mod store;
mod wire;

pub(crate) use self::wire::{ShopReply, UserReply};
use crate::routes::{Route, get, put};

pub(crate) fn routes() -> Vec<Route> {
    vec![
        get("/users", handlers::users),
        put("/users/{id}/block", handlers::block_user),
        put("/users/{id}/unblock", handlers::unblock_user),
        get("/shops", handlers::shops),
        put("/shops/{id}/block", handlers::block_shop),
        put("/shops/{id}/unblock", handlers::unblock_shop),
        put("/shops/{id}/approve", handlers::approve_shop),
    ]
}
