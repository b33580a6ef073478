//! What buyers say of products: reading it, hiding what must not stand there and showing it again. A review that is
//! hidden is shown to nobody and does not count for the rating, also when its author writes another in its place.

pub(crate) mod handlers;
pub(crate) mod store;
mod wire;

use crate::routes::{Route, get, put};

pub(crate) fn routes() -> Vec<Route> {
    vec![
        get("/reviews", handlers::list),
        put("/reviews/{id}/hide", handlers::hide),
        put("/reviews/{id}/restore", handlers::restore),
    ]
}
