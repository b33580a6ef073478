//! Every order of every shop, for administrators to read.

pub(crate) mod handlers;
pub(crate) mod store;

use crate::routes::{Route, get};

pub(crate) fn routes() -> Vec<Route> {
    vec![get("/orders", handlers::list)]
}
