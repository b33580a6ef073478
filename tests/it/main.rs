//! The black-box tests, one file a domain.

mod contract;
mod embedded;
mod harness;
