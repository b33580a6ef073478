//! What products and events have in common: both are something that a shop sells, with a name, a
//! price, pictures and a shelf, and differ in the dates of an event and the reviews of a product.
//!
//! Everything here is told which [`shared::model::Kind`] it works on; the folders `products` and
//! `events` hold the routes and what only one of them has.

mod answer;
mod browse;
mod form;
pub(crate) mod front;
pub(crate) mod handlers;
pub(crate) mod memory;
pub(crate) mod rules;
pub(crate) mod store;
pub(crate) mod wire;
