//! What the API and the chat server share: stored models, ids, money, sessions, settings and the
//! database. Nothing here knows the web.

pub mod arrival;
pub mod audit;
pub mod auth;
pub mod backlog;
pub mod backups;
pub mod chat;
pub mod clock;
pub mod config;
pub mod db;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
pub mod id;
pub mod ledger;
pub mod lenient;
pub mod migrate;
pub mod model;
pub mod money;
pub mod nodes;
mod process;
pub mod tally;
pub mod telemetry;
pub mod touched;
pub mod traces;
