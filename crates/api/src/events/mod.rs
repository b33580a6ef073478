//! Flash sales: listings that can be bought between two moments. Everything but the envelope is
//! shared with products and lives in [`crate::catalogue`].

mod handlers;
mod wire;

use crate::{
    limits::Limit,
    routes::{Route, delete, get, post, put},
};

pub(crate) fn routes() -> Vec<Route> {
    vec![
        post("/create-event", handlers::create).under(Limit::Upload),
        get("/get-all-events-shop", handlers::all),
        get("/get-all-events-shop/{id}", handlers::of_shop),
        get("/get-event/{id}", handlers::one),
        put("/update-event/{id}", handlers::update).under(Limit::Upload),
        delete("/delete-shop-event/{id}", handlers::delete),
    ]
}
