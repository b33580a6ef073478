//! Every black-box test, in one binary: one file a domain.

mod contract;
