//! What shops sell for as long as there is some, and what buyers think of it. What products share
//! with events lives in [`crate::catalogue`]; reviews are theirs alone.

mod handlers;
mod rules;
pub(crate) mod store;
mod wire;

use crate::{
    limits::Limit,
    routes::{Route, delete, get, post, put},
};

pub(crate) fn routes() -> Vec<Route> {
    vec![
        post("/create-product", handlers::create).under(Limit::Upload),
        get("/get-all-products", handlers::all),
        get("/get-all-products-shop/{id}", handlers::of_shop),
        get("/get-product/{id}", handlers::one),
        put("/update-product/{id}", handlers::update).under(Limit::Upload),
        delete("/delete-shop-product/{id}", handlers::delete),
        put("/create-new-review", handlers::review),
    ]
}
