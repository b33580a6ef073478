//! The black-box tests, one file a domain.

mod contract;
mod conversations;
mod coupons;
mod embedded;
mod harness;
mod messages;
mod migrate;
mod orders;
mod settings;
mod withdrawals;
