//! Paying shops out: a request takes its amount from the balance at once, and never more than is
//! there. Then an administrator, never the shop itself, says that it is paid out, or rejects it,
//! which puts the money back.

pub(crate) mod handlers;
pub(crate) mod rules;
pub(crate) mod store;
mod wire;

use serde_json::Value;
use shared::model::Withdrawal;

use crate::routes::{Route, get, post, put};

/// The same list among those for administrators.
pub(crate) fn admin_routes() -> Vec<Route> {
    vec![get("/withdrawals", handlers::all)]
}

pub(crate) fn routes() -> Vec<Route> {
    vec![
        post("/create-withdraw-request", handlers::create),
        get("/get-withdraw-requests", handlers::of_shop),
        get("/get-all-withdraw-request", handlers::all),
        put("/update-withdraw-request/{id}", handlers::decide),
    ]
}

/// A withdrawal in the words of the API, as it is shown to the shop that asked for it.
pub(crate) fn as_its_shop_sees_it(withdrawal: Withdrawal) -> serde_json::Result<Value> {
    serde_json::to_value(wire::WithdrawalReply::from(withdrawal))
}
