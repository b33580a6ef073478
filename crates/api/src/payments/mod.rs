//! Card and PayPal payments. A gateway takes the money; Souk believes what the gateway says about
//! it, never what a browser says.

pub(crate) mod attention;
pub(crate) mod claims;
pub(crate) mod disputes;
mod gateway;
mod guard;
mod handlers;
pub(crate) mod inbox;
mod paypal;
pub mod reconcile;
pub(crate) mod sandbox;
pub(crate) mod settle;
mod signature;
mod standing;
pub(crate) mod store;
mod stripe;
mod wire;

pub(crate) use gateway::{ANONYMOUS, NewRefund};
pub use gateway::{GatewayPayment, GatewayRefusal, Gateways, PaymentState};

use crate::{
    limits::Limit,
    routes::{Route, get, post},
};

pub(crate) fn routes() -> Vec<Route> {
    vec![
        post("/process", handlers::process).under(Limit::Payment),
        get("/stripeApiKey", handlers::publishable_key),
        post("/webhook", inbox::stripe),
    ]
}

/// What integrators begin and take payments by PayPal with, where the existing client has PayPal's script do
/// it in the browser; and where PayPal calls.
pub(crate) fn paypal_routes() -> Vec<Route> {
    vec![
        get("/clientId", handlers::paypal_client_id),
        post("/create-order", handlers::begin_paypal).under(Limit::Payment),
        post("/capture-order/{id}", handlers::capture_paypal).under(Limit::Payment),
        post("/webhook", inbox::paypal).failures_under(Limit::Webhook),
    ]
}
