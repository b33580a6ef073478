//! Card and PayPal payments. A gateway takes the money; Souk believes what the gateway says about
//! it, never what a browser says.

mod gateway;
mod guard;
mod handlers;
mod paypal;
mod sandbox;
mod signature;
pub(crate) mod store;
mod stripe;
mod wire;

pub(crate) use gateway::{ANONYMOUS, NewRefund};
pub use gateway::{GatewayPayment, GatewayRefusal, Gateways, PaymentState};

use crate::routes::{Route, get, post};

pub(crate) fn routes() -> Vec<Route> {
    vec![post("/process", handlers::process), get("/stripeApiKey", handlers::publishable_key)]
}
