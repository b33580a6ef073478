//! `/api/admin`: what administrators look at and decide about. A folder a resource; each list is read a page at a time
//! along an index ([`page`]), and each decision is written with its line in the audit log, in one transaction.
//!
//! The store functions know nothing of JSON, so that whatever else shows the same calls them too.

pub(crate) mod accounts;
mod appoint;
pub(crate) mod dead_letters;
pub(crate) mod figures;
pub(crate) mod legacy;
pub(crate) mod listings;
pub(crate) mod nodes;
pub(crate) mod orders;
pub(crate) mod page;
pub(crate) mod reviews;
pub(crate) mod wire;

pub use appoint::{Appointed, appoint, create};

use crate::{audit_log, routes::Route, withdrawals};

pub(crate) fn routes() -> Vec<Route> {
    let mut routes = audit_log::routes();
    routes.extend(accounts::routes());
    routes.extend(nodes::routes());
    routes.extend(listings::routes());
    routes.extend(reviews::routes());
    routes.extend(orders::routes());
    routes.extend(withdrawals::admin_routes());
    routes.extend(dead_letters::routes());
    routes.extend(figures::routes());
    routes
}
