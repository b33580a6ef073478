//! What the black-box tests have in common.

pub mod contract;
