//! `/api/admin`: what administrators look at and decide about. A folder a resource; each list is read a page at a time
//! along an index ([`page`]), and each decision is written with its line in the audit log, in one transaction.
//!
//! The store functions know nothing of JSON, so that whatever else shows the same calls them too.

pub(crate) mod accounts;
mod appoint;
pub(crate) mod nodes;
pub(crate) mod page;
pub(crate) mod wire;

pub use appoint::appoint;

use crate::{audit_log, routes::Route};

pub(crate) fn routes() -> Vec<Route> {
    let mut routes = audit_log::routes();
    routes.extend(accounts::routes());
    routes.extend(nodes::routes());
    routes
}
