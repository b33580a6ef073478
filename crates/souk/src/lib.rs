//! The `souk` command, as a library: the tests start the very same program and kill it.

mod admin;
mod backup;
mod banner;
pub mod cli;
mod database;
pub mod demo;
mod doctor;
pub mod embedded;
mod health;
mod manager;
mod migrate;
mod outbox;
mod prove;
mod reconcile;
mod run;
mod selftest;
mod signals;
mod surroundings;
mod watching;
