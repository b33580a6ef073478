//! Paying shops out: a request takes its amount from the balance at once, and never more than is there.

mod handlers;
mod store;
mod wire;

use crate::routes::{Route, get, post};

pub(crate) fn routes() -> Vec<Route> {
    vec![post("/create-withdraw-request", handlers::create), get("/get-withdraw-requests", handlers::of_shop)]
}
