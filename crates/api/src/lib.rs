//! Souk's HTTP API: one folder a resource, found from the URL through [`routes`].

mod body;
mod error;
mod extract;
mod gauges;
mod headers;
mod idempotency;
mod identity;
mod limits;
mod line;
mod load;
mod measure;
mod named;
mod operation;
mod outbox;
mod paging;
mod port;
mod server;
mod spool;
mod state;
mod watch;
mod worker;

pub mod dead_letters;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
pub mod letters;
pub mod mail;
pub mod media;
pub mod routes;

mod accounts;
mod admin;
mod audit_log;
mod cases;
mod catalogue;
mod conversations;
mod coupons;
mod docs;
mod events;
mod messages;
mod news;
mod notifications;
mod orders;
mod panel;
mod payments;
mod products;
mod shops;
mod users;
mod webhooks;
mod withdrawals;

pub use admin::{Appointed, appoint as appoint_administrator, create as create_administrator};
pub use limits::Limit;
pub use payments::reconcile;
pub use server::{Server, serve};
pub use state::App;
pub use watch::{expire_unpaid, look_after_payments};
