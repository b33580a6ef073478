//! Products and events: looking for them, hiding what must not be sold and showing it again.
//!
//! What is hidden is shown to its owner alone, who reads why; nobody else finds or buys it. What was ordered before
//! goes on.

pub(crate) mod handlers;
pub(crate) mod store;
pub(crate) mod wire;

pub(crate) use self::handlers::decision;
use crate::routes::{Route, get, put};

pub(crate) fn routes() -> Vec<Route> {
    vec![
        get("/products", handlers::products),
        put("/products/{id}/hide", handlers::hide_product),
        put("/products/{id}/restore", handlers::restore_product),
        get("/events", handlers::events),
        put("/events/{id}/hide", handlers::hide_event),
        put("/events/{id}/restore", handlers::restore_event),
    ]
}
