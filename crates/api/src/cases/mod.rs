//! Disputes between a buyer and a shop about an order: either opens one, both say what they have to say, with pictures,
//! and what the shop has earned with the order is on hold meanwhile. The other side may agree, whoever opened it may
//! take it back, and otherwise an administrator decides. (What banks dispute is `payments/disputes.rs`.)
//!
//! An order has one open dispute at most, and says so itself (`openCase`): whoever opens one, ends one or moves the
//! order's money writes the order, so that of two at once one sees what the other has done. [`hold`] books what is on
//! hold; `orders/settled.rs` gives money back.

pub(crate) mod handlers;
mod hold;
mod rules;
mod store;
mod wire;

pub(crate) use hold::{follow_credit, give_way};

use serde_json::Value;
use shared::{config::Config, model::Case};

use crate::{
    limits::Limit,
    routes::{Route, get, post, put},
};

pub(crate) fn routes() -> Vec<Route> {
    vec![
        post("", handlers::open).under(Limit::Upload),
        get("/user-disputes", handlers::of_buyer),
        get("/shop-disputes", handlers::of_shop),
        get("/{id}", handlers::one),
        post("/{id}/message", handlers::say).under(Limit::Upload),
        put("/{id}/accept", handlers::accept),
        put("/{id}/withdraw", handlers::withdraw),
        put("/{id}/decide", handlers::decide),
    ]
}

/// What administrators see.
pub(crate) fn admin_routes() -> Vec<Route> {
    vec![get("/disputes", handlers::all), get("/dispute/{id}", handlers::evidence)]
}

/// A dispute in the words of the API, as it is shown to the shop.
pub(crate) fn as_its_shop_sees_it(config: &Config, case: Case) -> serde_json::Result<Value> {
    serde_json::to_value(wire::CaseReply::of(config, case, false))
}
