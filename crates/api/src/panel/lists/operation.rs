//! What an operator looks at.

use maud::html;

use super::{no_actions, state, when};
use crate::{
    audit_log,
    panel::{
        source::source,
        table::{Column, Filter, List, Part},
        values::{over, text},
    },
};

fn actions() -> Vec<(&'static str, String)> {
    let known = audit_log::Action::ALL.map(audit_log::Action::name);
    std::iter::once(("", "All".to_owned())).chain(known.map(|name| (name, name.replace('_', " ")))).collect()
}

pub(super) fn audit_log() -> List {
    List {
        path: "/admin/audit-log",
        title: "Audit log",
        about: "Who did what to accounts and money, and what was refused.",
        source: source(audit_log::handlers::list),
        filters: vec![
            Filter::Choice("action", "Action", actions()),
            Filter::Exact("account", "Id of an account"),
        ],
        parts: vec![Part {
            title: "",
            rows: "entries",
            columns: vec![
                when("When", "at"),
                Column::new("What", |row| html! { (text(row, "action").replace('_', " ")) }),
                state("Outcome", "outcome"),
                Column::new("Who", |row| over(&text(row, "actor.kind"), &text(row, "actor.id"))),
                Column::new("About", |row| over(&text(row, "about.kind"), &text(row, "about.id"))),
                Column::new("Note", |row| over(&text(row, "note"), &text(row, "address"))),
            ],
            actions: no_actions,
            none: "Nothing has been written down.",
        }],
    }
}
