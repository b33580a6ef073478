//! Discount codes: a shop makes them, buyers type them, checkout applies them.

pub(crate) mod discount;
mod handlers;
pub(crate) mod store;
mod wire;

use crate::{
    limits::Limit,
    routes::{Route, delete, get, post},
};

pub(crate) fn routes() -> Vec<Route> {
    vec![
        post("/create-coupan", handlers::create),
        get("/get-coupans/{id}", handlers::of_shop),
        delete("/delete-coupan/{id}", handlers::remove),
        get("/coupan-verified/{name}", handlers::look_up).under(Limit::Coupon),
    ]
}
