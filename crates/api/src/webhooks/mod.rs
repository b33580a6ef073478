//! Webhooks that Souk sends: an integrator names an address, and is told there what happens to a shop, or to all of
//! them. (Those that gateways send to us are `payments::inbox`.)
//!
//! An event is written down for each endpoint that wants it, in the transaction that tells of it ([`tell_in`]), and
//! delivered by whichever node comes first: on a lease, signed, tried again for a day, then given up, visible and
//! there to be replayed. Every endpoint gets an event at least once; in which order is not promised.

mod courier;
mod guard;
pub(crate) mod handlers;
mod lanes;
mod rules;
mod store;
mod wire;
mod worker;

pub use self::courier::Webhooks;
pub(crate) use self::{
    store::{Told, tell_in, wanted_in},
    worker::{measure, work},
};
use crate::{
    limits::Limit,
    routes::{Route, delete, get, post, put},
};

pub(crate) fn routes() -> Vec<Route> {
    vec![
        post("", handlers::create).under(Limit::Hooks),
        get("", handlers::list),
        get("/{id}", handlers::one),
        put("/{id}", handlers::change).under(Limit::Hooks),
        delete("/{id}", handlers::remove),
        put("/{id}/rotate-secret", handlers::rotate).under(Limit::Hooks),
        put("/{id}/test", handlers::test).under(Limit::Hooks),
        get("/{id}/deliveries", handlers::deliveries),
        put("/{id}/replay", handlers::replay).under(Limit::Hooks),
    ]
}
