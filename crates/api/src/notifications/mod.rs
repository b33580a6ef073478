//! Which mails an account gets besides those that it cannot do without: a setting of the account, and a link in each
//! such mail that ends its sort with a single request (RFC 8058).
//!
//! What is about somebody's own order, money or account is always sent. The link proves by a digest under our secret
//! that it was in a mail of ours, so it needs no session; all it can do is to end one sort of mails.

mod handlers;
mod rules;
mod store;
mod wire;

pub(crate) use rules::{Sort, link};
pub(crate) use store::{addressee, is_wanted};

use crate::routes::{Route, get, post, put};

/// Under `/api/user`.
pub(crate) fn user_routes() -> Vec<Route> {
    vec![get("/notifications", handlers::of_user), put("/notifications", handlers::set_of_user)]
}

/// Under `/api/shop`.
pub(crate) fn shop_routes() -> Vec<Route> {
    vec![get("/notifications", handlers::of_shop), put("/notifications", handlers::set_of_shop)]
}

/// Under `/api/unsubscribe`.
pub(crate) fn link_routes() -> Vec<Route> {
    vec![get("", handlers::ask), post("", handlers::unsubscribe)]
}
