//! The black-box tests, one file a domain.

mod books;
mod client_quirks;
mod compat;
mod contract;
mod conversations;
mod coupons;
mod crash;
mod demo;
mod embedded;
mod events;
mod frame;
mod harness;
mod journey;
mod legacy;
mod mail;
mod media;
mod messages;
mod migrate;
mod orders;
mod products;
mod realtime;
mod reviews;
mod settings;
mod shops;
mod users;
mod withdrawals;
