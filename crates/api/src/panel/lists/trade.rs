//! Orders, and what buyers and shops disagree about.

use maud::{Markup, html};
use serde_json::{Value, json};
use shared::model::Status;

use super::{amount, choices, no_actions, state, when};
use crate::{
    admin::orders,
    cases,
    panel::{
        source::source,
        table::{Action, Column, Filter, List, Part, how_many},
        values::{badge, count, list, money, over, short, text},
    },
};

pub(super) fn orders() -> List {
    let statuses = Status::ALL.map(|status| (status.text(), status.text().to_owned()));
    List {
        path: "/admin/orders",
        title: "Orders",
        about: "",
        source: source(orders::handlers::list),
        filters: vec![
            Filter::Search("q", "Id of an order or a payment"),
            Filter::Choice(
                "status",
                "Status",
                std::iter::once(("", "All".to_owned())).chain(statuses).collect(),
            ),
            Filter::Exact("shop", "Id of a shop"),
            Filter::Exact("buyer", "Id of a buyer"),
            Filter::Exact("from", "From (2026-11-01)"),
            Filter::Exact("to", "To"),
        ],
        parts: vec![Part {
            title: "",
            rows: "orders",
            columns: vec![
                super::id("_id"),
                when("Placed", "createdAt"),
                Column::new("Buyer", |row| over(&text(row, "user.name"), &text(row, "user._id"))),
                Column::new("What", what),
                amount("Total", "totalPrice"),
                Column::new("Payment", |row| {
                    over(&text(row, "paymentInfo.type"), &text(row, "paymentInfo.status"))
                }),
                state("Status", "status"),
            ],
            actions: no_actions,
            none: "No order is like this.",
        }],
    }
}

/// The first line of an order, and how many more there are.
fn what(row: &Value) -> Markup {
    let lines = list(row, "cart");
    let Some(first) = lines.first() else { return html! {} };
    let more = lines.len() - 1;
    let name = format!("{} × {}", text(first, "count"), text(first, "name"));
    html! { (name) @if more > 0 { span.sub { "and " (more) " more" } } }
}

pub(super) fn disputes() -> List {
    List {
        path: "/admin/disputes",
        title: "Disputes",
        about: "What a shop has earned with a disputed order is on hold until its two sides agree or somebody decides here.",
        source: source(cases::handlers::all),
        filters: vec![Filter::Choice(
            "state",
            "State",
            choices(&[
                ("", "All"),
                ("open", "Open"),
                ("refunded", "Refunded"),
                ("released", "Released"),
                ("accepted", "Agreed"),
                ("withdrawn", "Taken back"),
                ("bank", "Up to the bank"),
            ]),
        )],
        parts: vec![Part {
            title: "",
            rows: "disputes",
            columns: vec![
                Column::new("Dispute", |row| {
                    let id = text(row, "_id");
                    html! { a href=(format!("/admin/disputes/{id}")) { (text(row, "reason").replace('_', " ")) } }
                }),
                when("Opened", "createdAt"),
                Column::new("By", |row| html! { "the " (text(row, "openedBy")) }),
                Column::new("Order", |row| short(&text(row, "orderId"))),
                Column::new("Said", |row| {
                    let said = json!({ "n": list(row, "messages").len() });
                    html! { (how_many(&said, "n", "message")) }
                }),
                amount("Wanted", "amount"),
                amount("On hold", "held"),
                state("State", "state"),
            ],
            actions: no_actions,
            none: "Nobody disagrees.",
        }],
    }
}

/// What can be decided about an open dispute.
pub(in crate::panel) fn decisions(dispute: &Value, order: &Value) -> Vec<Action> {
    if text(dispute, "state") != "open" {
        return Vec::new();
    }
    let url = format!("/api/dispute/{}/decide", text(dispute, "_id"));
    let (wanted, left) = (money(dispute, "amount"), money(order, "left"));
    vec![
        Action::put("Refund what is wanted", url.clone(), format!("Refund {wanted}"))
            .explained("The buyer gets it back, and it is taken from what the shop has earned. Both are told.")
            .asking(NOTE)
            .sending(json!({ "decision": "refund", "amount": text(dispute, "amount") })),
        Action::put("Refund another amount", url.clone(), format!("Refund, of {left}"))
            .explained("The buyer gets this much back, and it is taken from what the shop has earned. Both are told.")
            .asking(PART)
            .sending(json!({ "decision": "refund" })),
        Action::put("Release", url, "Leave the money with the shop".to_owned())
            .explained("What is on hold is the shop's again. Both are told.")
            .asking(NOTE)
            .sending(json!({ "decision": "release" }))
            .dangerous(),
    ]
}

const NOTE: &[(&str, &str, bool)] = &[("note", "Why, for both of them", false)];
const PART: &[(&str, &str, bool)] = &[("amount", "Amount", true), ("note", "Why, for both of them", false)];

/// A dispute with everything that it is decided by.
pub(in crate::panel) fn dispute(answer: &Value) -> Markup {
    let none = Value::Null;
    let (dispute, order) = (answer.get("dispute").unwrap_or(&none), answer.get("order").unwrap_or(&none));
    html! {
        div.top {
            h1 { "Dispute about order " (short(&text(dispute, "orderId"))) }
            span { @for action in decisions(dispute, order) { (action.button()) " " } }
        }
        div.cards {
            (fact("State", &badge(&text(dispute, "state"))))
            (fact("Wanted back", &html! { (money(dispute, "amount")) }))
            (fact("On hold", &html! { (or_dash(&money(dispute, "held"))) }))
            (fact("Left of the order", &html! { (or_dash(&money(order, "left"))) }))
        }
        @let note = text(dispute, "note");
        @if !note.is_empty() { section.card { h2 { "Decided" } p { (note) } } }
        div.two {
            section.card {
                h2 { "What was said in the dispute" }
                p.quiet { "Opened by the " (text(dispute, "openedBy")) ": " (text(dispute, "reason").replace('_', " ")) "." }
                (thread(list(dispute, "messages"), "Nothing."))
            }
            section.card {
                h2 { "What was said in the chat since the order" }
                (thread(list(answer, "chat"), "Nothing."))
                @if text(answer, "moreChat") == "true" { p.quiet { "More was said than is shown." } }
            }
        }
        div.two {
            section.card {
                h2 { "The order" }
                dl.facts {
                    dt { "Buyer" } dd.mono { (text(dispute, "buyerId")) }
                    dt { "Shop" } dd.mono { (text(dispute, "shopId")) }
                    dt { "Total" } dd { (money(order, "total")) }
                    dt { "Returned" } dd { (money(order, "returned")) }
                    dt { "Payment" } dd { (text(order, "paymentType")) " " (text(order, "paymentStatus")) }
                    dt { "Status" } dd { (badge(&text(order, "status"))) }
                }
            }
            section.card {
                h2 { "Lines" }
                table {
                    thead { tr { th { "What" } th.number { "Count" } th.number { "Returned" } th.number { "Price" } } }
                    tbody {
                        @for line in list(order, "lines") {
                            tr {
                                td { (text(line, "name")) }
                                td.number { (count(line, "count")) }
                                td.number { (count(line, "refunded")) }
                                td.number { (money(line, "price")) }
                            }
                        }
                    }
                }
            }
            section.card {
                h2 { "Course" }
                table {
                    tbody {
                        @for step in list(order, "history") {
                            tr {
                                td { (super::moment(step, "at")) }
                                td { (badge(&text(step, "status"))) @let note = text(step, "note"); @if !note.is_empty() { span.sub { (note) } } }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn fact(label: &str, value: &Markup) -> Markup {
    html! { div.card { div.label { (label) } div.figure { (value) } } }
}

fn or_dash(text: &str) -> &str {
    if text.is_empty() { "–" } else { text }
}

/// Messages, the oldest first.
fn thread(messages: &[Value], none: &str) -> Markup {
    html! {
        @if messages.is_empty() { p.quiet { (none) } }
        ol.thread {
            @for message in messages {
                li {
                    span.sub.quiet { "the " (text(message, "from")) ", " (super::moment(message, "createdAt")) }
                    br;
                    (text(message, "text"))
                    @for picture in list(message, "images").iter().chain(message.get("image")) {
                        " " a href=(text(picture, "url")) rel="noreferrer" { "picture" }
                    }
                }
            }
        }
    }
}
