//! The black-box tests, one file a domain.

mod embedded;
