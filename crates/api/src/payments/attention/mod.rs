//! What only an administrator can settle: money that nobody claims, refunds that went another way, and
//! PayPal payers whose payment no webhook has confirmed.

pub(crate) mod handlers;
mod rules;
mod store;
mod wire;

use crate::routes::{Route, get, put};

pub(crate) fn routes() -> Vec<Route> {
    vec![
        get("/needing-attention", handlers::list),
        put("/settle/{id}", handlers::settle),
        put("/verify-claim/{checkoutId}", handlers::verify_claim),
    ]
}
