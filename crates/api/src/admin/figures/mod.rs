//! How the marketplace is doing: orders, sales and refunds by day, who and what sells best, how many orders arrive, what
//! is owed and what waits.
//!
//! Counted anew each time, so nothing has to be kept in step with anything. Days and shops are counted in an index
//! alone (`orders_figures`); only what sells best looks at the orders themselves, and may be a minute old where there
//! are many.

pub(crate) mod handlers;
mod kept;
mod rules;
pub(crate) mod store;
mod wire;

pub use self::kept::Kept;
use crate::routes::{Route, get};

pub(crate) fn routes() -> Vec<Route> {
    vec![get("/figures", handlers::figures)]
}
