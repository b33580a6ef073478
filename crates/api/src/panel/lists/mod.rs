//! The lists there are: which endpoint each shows, and how.

mod goods;
mod money;
mod operation;
mod people;
pub(super) mod trade;

use maud::html;
use serde_json::Value;

use super::{
    table::{Action, Column, List},
    values::{badge, moment, money, over, short, text},
};

/// Sections of the navigation, with the lists below each.
pub(super) const SECTIONS: [(&str, &[&str]); 3] = [
    ("Marketplace", &["orders", "disputes", "users", "shops", "products", "events", "reviews"]),
    ("Money", &["withdrawals", "payments"]),
    ("Operation", &["dead-letters", "webhooks", "letters", "audit-log"]),
];

/// The list at `/admin/{name}`.
pub(super) fn named(name: &str) -> Option<List> {
    Some(match name {
        "orders" => trade::orders(),
        "disputes" => trade::disputes(),
        "products" => goods::products(),
        "events" => goods::events(),
        "reviews" => goods::reviews(),
        "dead-letters" => operation::dead_letters(),
        "webhooks" => operation::webhooks(),
        "users" => people::users(),
        "shops" => people::shops(),
        "withdrawals" => money::withdrawals(),
        "payments" => money::payments(),
        "audit-log" => operation::audit_log(),
        _ => return None,
    })
}

/// As the navigation calls it.
pub(super) fn word(name: &str) -> String {
    let mut word = name.replace('-', " ");
    word.get_mut(..1).into_iter().for_each(str::make_ascii_uppercase);
    word
}

/// A fact as it is.
fn plain(title: &'static str, path: &'static str) -> Column {
    Column::new(title, move |row| html! { (text(row, path)) })
}

/// A main fact over a lesser one.
fn both(title: &'static str, main: &'static str, sub: &'static str) -> Column {
    Column::new(title, move |row| over(&text(row, main), &text(row, sub)))
}

fn amount(title: &'static str, path: &'static str) -> Column {
    Column::number(title, move |row| html! { (money(row, path)) })
}

fn when(title: &'static str, path: &'static str) -> Column {
    Column::new(title, move |row| moment(row, path))
}

fn state(title: &'static str, path: &'static str) -> Column {
    Column::new(title, move |row| badge(&text(row, path)))
}

fn id(path: &'static str) -> Column {
    Column::new("Id", move |row| short(&text(row, path)))
}

/// What can be chosen: as the API calls it, and as people do.
fn choices(known: &[(&'static str, &str)]) -> Vec<(&'static str, String)> {
    known.iter().map(|(value, word)| (*value, (*word).to_owned())).collect()
}

/// What is asked for before somebody is blocked or something hidden.
const REASON: &[(&str, &str, bool)] = &[("reason", "Reason, for the audit log", true)];

fn no_actions(_: &Value) -> Vec<Action> {
    Vec::new()
}
