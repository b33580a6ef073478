//! Orders: a checkout makes one order a shop, and each order goes its way from `Processing` to
//! `Delivered`, perhaps back through a refund, or is cancelled before it was handed over.
//!
//! [`pricing`] says what a cart costs, [`rules`] what may happen to an order and [`refunds`] what
//! comes back; all three are pure.
//! [`cart`] reads what a browser sends, and says what it comes to before anything is paid;
//! [`checkout`] takes a checkout from the request to its answer, [`commit`] writes those that wait in
//! one transaction, [`settled`] gives money back after a dispute, and [`transition`] moves orders along, with the stock and the money that go with
//! it. [`earnings`] books the money, and [`verified`] makes up for it where a payment proves true late.

pub(crate) mod cart;
mod checkout;
mod commit;
pub(crate) mod earnings;
mod handlers;
pub(crate) mod pricing;
pub(crate) mod refunds;
mod rules;
pub(crate) mod settled;
pub(crate) mod store;
mod transition;
pub(crate) mod verified;
pub(crate) mod wire;

pub(crate) use commit::Checkouts;
pub(crate) use transition::{charge_back, expire_unpaid};

use serde_json::Value;
use shared::{config::Config, model::Order};

use crate::{
    limits::Limit,
    routes::{Route, get, post, put},
};

pub(crate) fn routes() -> Vec<Route> {
    vec![
        post("/create-order", handlers::create).under(Limit::Checkout),
        get("/getOrders/{id}", handlers::of_buyer),
        get("/getShopOrders/{id}", handlers::of_shop),
        get("/get-order/{id}", handlers::one),
        put("/update-order-status/{id}", handlers::update_status),
        put("/cancel-order/{id}", handlers::cancel),
        put("/refund-order/{id}", handlers::ask_refund),
        put("/order-refund-success/{id}", handlers::grant_refund),
        put("/order-refund-refused/{id}", handlers::refuse_refund),
    ]
}

/// An order in the words of the API, as it is shown to the shop that sells it.
pub(crate) fn as_its_shop_sees_it(config: &Config, order: Order) -> serde_json::Result<Value> {
    let shop = earnings::shop_of(&order);
    serde_json::to_value(wire::OrderReply::seen_by(store::Owner::Shop(shop), config, order))
}
