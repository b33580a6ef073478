//! The parts of the `souk` binary that tests use as well.

pub mod embedded;
