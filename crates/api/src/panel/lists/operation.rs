//! What an operator looks at.

use maud::html;
use serde_json::{Value, json};

use super::{choices, no_actions, plain, state, when};
use crate::{
    admin::dead_letters,
    audit_log,
    panel::{
        source::source,
        table::{Action, Column, Filter, List, Part},
        values::{list, moment, over, text},
    },
    webhooks,
};

pub(super) fn dead_letters() -> List {
    List {
        path: "/admin/dead-letters",
        title: "Dead letters",
        about: "Mails, refunds and other work that was tried again and again, and given up. What a job is about is not shown: mails carry links that open accounts.",
        source: source(dead_letters::list),
        filters: vec![Filter::Choice("sort", "Order", choices(&[("", "Oldest"), ("newest", "Newest")]))],
        parts: vec![Part {
            title: "",
            rows: "jobs",
            columns: vec![
                super::id("_id"),
                plain("What", "kind"),
                when("Asked for", "createdAt"),
                Column::number("Tries", |row| html! { (text(row, "attempts")) }),
                Column::new("What the last try said", |row| html! { (text(row, "lastError")) }),
            ],
            actions: |row| {
                let url = format!("/api/admin/dead-letters/{}/retry", text(row, "_id"));
                vec![Action::put("Try again", url, "Try it again".to_owned()).explained("As if it were new.")]
            },
            none: "Nothing was given up.",
        }],
    }
}

pub(super) fn webhooks() -> List {
    List {
        path: "/admin/webhooks",
        title: "Webhooks of the platform",
        about: "Where integrators are told what happens in all shops. Each shop looks after its own.",
        source: source(webhooks::handlers::list),
        filters: Vec::new(),
        parts: vec![Part {
            title: "",
            rows: "webhooks",
            columns: vec![
                Column::new("Address", |row| over(&text(row, "url"), &text(row, "description"))),
                Column::new("Events", |row| {
                    let events: Vec<&str> = list(row, "events").iter().filter_map(Value::as_str).collect();
                    html! { (events.join(", ")) }
                }),
                when("Since", "createdAt"),
                Column::new("State", |row| {
                    html! {
                        (super::badge(&text(row, "status")))
                        @if !text(row, "failingSince").is_empty() { span.sub { "failing since " (moment(row, "failingSince")) } }
                    }
                }),
            ],
            actions: |row| {
                let url = format!("/api/webhooks/{}", text(row, "_id"));
                let pause = match text(row, "status").as_str() {
                    "active" => Action::put("Pause", url.clone(), "Pause this webhook".to_owned())
                        .explained("Events wait until it goes on.")
                        .sending(json!({ "paused": true })),
                    _ => Action::put("Go on", url.clone(), "Have this webhook go on".to_owned())
                        .sending(json!({ "paused": false })),
                };
                let test = Action::put("Test", format!("{url}/test"), "Send a test event".to_owned());
                vec![test, pause]
            },
            none: "Nobody is told.",
        }],
    }
}

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
