//! The black-box tests, one file a domain.

mod contract;
mod conversations;
mod embedded;
mod harness;
mod messages;
mod migrate;
