//! Shoppers and shops.

use maud::{Markup, html};
use serde_json::Value;

use super::{REASON, amount, choices, when};
use crate::{
    admin::accounts::handlers,
    panel::{
        source::source,
        table::{Action, Column, Filter, List, Part},
        values::{badge, over, text, thumb},
    },
};

pub(super) fn users() -> List {
    List {
        path: "/admin/users",
        title: "Users",
        about: "",
        source: source(handlers::users),
        filters: vec![
            Filter::Search("q", "Name or e-mail address"),
            Filter::Choice(
                "blocked",
                "State",
                choices(&[("", "All"), ("false", "Active"), ("true", "Blocked")]),
            ),
            Filter::Choice(
                "role",
                "Role",
                choices(&[("", "All"), ("user", "Shoppers"), ("Admin", "Administrators")]),
            ),
            Filter::Choice(
                "sort",
                "Order",
                choices(&[("", "Newest"), ("oldest", "Oldest"), ("name", "Name")]),
            ),
        ],
        parts: vec![Part {
            title: "",
            rows: "users",
            columns: vec![
                picture(),
                Column::new("Name", |row| over(&text(row, "name"), &text(row, "email"))),
                Column::new(
                    "Role",
                    |row| html! { @if text(row, "role") == "Admin" { "administrator" } @else { "shopper" } },
                ),
                when("Since", "createdAt"),
                Column::new("State", |row| {
                    standing(row, if text(row, "blocked") == "true" { "blocked" } else { "active" })
                }),
            ],
            actions: |row| match (text(row, "closedAt").is_empty(), text(row, "blocked") == "true") {
                (false, _) => Vec::new(),
                (true, blocked) => vec![block_or_not(row, "users", blocked)],
            },
            none: "Nobody is like this.",
        }],
    }
}

pub(super) fn shops() -> List {
    List {
        path: "/admin/shops",
        title: "Shops",
        about: "",
        source: source(handlers::shops),
        filters: vec![
            Filter::Search("q", "Name or e-mail address"),
            Filter::Choice(
                "state",
                "State",
                choices(&[
                    ("", "All"),
                    ("open", "Selling"),
                    ("waiting", "Waiting for approval"),
                    ("blocked", "Blocked"),
                    ("closed", "Closed"),
                ]),
            ),
            Filter::Choice(
                "sort",
                "Order",
                choices(&[("", "Newest"), ("oldest", "Oldest"), ("name", "Name")]),
            ),
        ],
        parts: vec![Part {
            title: "",
            rows: "shops",
            columns: vec![
                picture(),
                Column::new("Shop", |row| over(&text(row, "name"), &text(row, "email"))),
                Column::new("Address", |row| over(&text(row, "address"), &text(row, "phoneNumber"))),
                amount("Balance", "availableBalance"),
                when("Since", "createdAt"),
                Column::new("State", |row| match text(row, "state").as_str() {
                    "open" => badge("active"),
                    state => standing(row, state),
                }),
            ],
            actions: |row| match text(row, "state").as_str() {
                "closed" => Vec::new(),
                "waiting" => {
                    let approve = Action::put(
                        "Approve",
                        format!("/api/admin/shops/{}/approve", text(row, "_id")),
                        format!("Approve {}", text(row, "name")),
                    );
                    vec![approve.explained("From then on it may sell."), block_or_not(row, "shops", false)]
                }
                state => vec![block_or_not(row, "shops", state == "blocked")],
            },
            none: "No shop is like this.",
        }],
    }
}

fn picture() -> Column {
    Column::new("", |row| thumb(&text(row, "avatar.url")))
}

/// How an account stands, and why.
fn standing(row: &Value, state: &str) -> Markup {
    let state = if text(row, "closedAt").is_empty() { state } else { "closed" };
    let reason = text(row, "blocking.reason");
    html! { (badge(state)) @if !reason.is_empty() { span.sub { (reason) } } }
}

fn block_or_not(row: &Value, family: &str, blocked: bool) -> Action {
    let (id, name) = (text(row, "_id"), text(row, "name"));
    if blocked {
        Action::put("Unblock", format!("/api/admin/{family}/{id}/unblock"), format!("Unblock {name}"))
    } else {
        let block = Action::put("Block", format!("/api/admin/{family}/{id}/block"), format!("Block {name}"));
        let what = match family {
            "shops" => "Its sessions end, and nothing of it is shown or sold. Its open orders go on.",
            _ => "All sessions of the account end, and nobody can log in to it.",
        };
        block.explained(what).asking(REASON).dangerous()
    }
}
