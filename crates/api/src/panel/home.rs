//! The first page: figures and charts.

use std::collections::BTreeMap;

use actix_web::HttpRequest;
use maud::{Markup, html};
use serde_json::Value;

use super::{
    chart::{Set, Shape, chart},
    source::{Reply, ask},
    table::asked,
    values::{at, badge, count, list, moment, money, text, thousands},
};
use crate::admin::{figures, nodes};

/// What stands on it.
pub(super) async fn content(request: &HttpRequest) -> Markup {
    let (figures, nodes) = futures_util::join!(
        ask(figures::handlers::figures, request.clone()),
        ask(nodes::handlers::list, request.clone())
    );
    let asked = asked(request.query_string());
    let given = |name: &str| {
        asked.iter().rev().find(|(known, _)| known == name).map_or("", |(_, value)| value.as_str())
    };
    html! {
        div.top {
            h1 { "Overview" }
            form.filters method="get" action="/admin" {
                label { "From" input type="date" name="from" value=(given("from")); }
                label { "To" input type="date" name="to" value=(given("to")); }
                button { "Show" }
            }
        }
        @if figures.is_good() { (trade(&figures)) } @else { p.notice role="alert" { (figures.message()) } }
        (processes(list(&nodes.body, "nodes")))
    }
}

/// How much was sold, and what waits.
fn trade(figures: &Reply) -> Markup {
    let all = &figures.body;
    let (days, shops, products) = (list(all, "days"), list(all, "bestShops"), list(all, "bestProducts"));
    let names = |rows: &[Value], field: &str| rows.iter().map(|row| text(row, field)).collect::<Vec<_>>();
    let values =
        |rows: &[Value], field: &str| rows.iter().map(|row| at(row, field).clone()).collect::<Vec<_>>();
    let labels: Vec<String> =
        names(days, "day").into_iter().map(|day| day.get(5..).unwrap_or(&day).to_owned()).collect();
    html! {
        div.cards {
            (waiting("Withdrawals to decide", count(all, "waiting.withdrawals"), "/admin/withdrawals?status=Processing"))
            (waiting("Disputes to decide", count(all, "waiting.disputes"), "/admin/disputes?state=open"))
            (waiting("Payments to look at", count(all, "waiting.payments"), "/admin/payments"))
            (waiting("Shops to approve", count(all, "waiting.shops"), "/admin/shops?state=waiting"))
            (waiting("Dead letters", count(all, "waiting.deadLetters"), "/admin/dead-letters"))
        }
        div.cards {
            (figure("Owed to shops", &money(all, "owed")))
            (figure("Orders placed", &thousands(&text(all, "course.placed"))))
            (figure("Delivered", &format!("{} ({} %)", thousands(&text(all, "course.delivered")), text(all, "course.deliveredPercent"))))
            (figure("Cancelled", &thousands(&text(all, "course.cancelled"))))
        }
        (chart("Sales, refunds and orders by day", Shape::Bars, &labels, &[
            Set::new("Sales", "--accent", values(days, "sales")).money(),
            Set::new("Refunds", "--bad", values(days, "refunds")).money(),
            Set::new("Orders", "--second", values(days, "orders")).beside(),
        ]))
        div.two {
            (chart("Shops that sold most", Shape::SidewaysBars, &names(shops, "name"), &[
                Set::new("Sales", "--accent", values(shops, "sales")).money(),
            ]))
            (chart("Products that sold most", Shape::SidewaysBars, &names(products, "name"), &[
                Set::new("Units", "--second", values(products, "units")),
            ]))
        }
    }
}

fn figure(label: &str, value: &str) -> Markup {
    html! { div.card { div.label { (label) } div.figure { (value) } } }
}

/// Something to do, and where to do it.
fn waiting(label: &str, how_many: i64, address: &str) -> Markup {
    html! {
        a.card href=(address) {
            div.label { (label) }
            div.figure { (thousands(&how_many.to_string())) @if how_many > 0 { " " (badge("waiting")) } }
        }
    }
}

/// What all processes did in the same ten seconds.
#[derive(Default)]
struct Together {
    requests: i64,
    faults: i64,
    messages: i64,
    people: i64,
}

/// How API and chat are doing.
fn processes(nodes: &[Value]) -> Markup {
    let mut times: BTreeMap<String, Together> = BTreeMap::new();
    for sample in nodes.iter().flat_map(|node| list(node, "samples")) {
        // To ten seconds: `2026-11-22T18:00:0`.
        let at = text(sample, "at").get(11..18).map(|at| format!("{at}0")).unwrap_or_default();
        let together = times.entry(at).or_default();
        together.requests += count(sample, "requests");
        together.faults += count(sample, "faults");
        together.messages += count(sample, "messages");
        together.people += count(sample, "people");
    }
    let labels: Vec<String> = times.keys().cloned().collect();
    let values =
        |of: fn(&Together) -> i64| times.values().map(|together| Value::from(of(together))).collect();
    html! {
        div.two {
            (chart("API: requests in ten seconds", Shape::Lines, &labels, &[
                Set::new("Requests", "--accent", values(|all| all.requests)),
                Set::new("Faults", "--bad", values(|all| all.faults)),
            ]))
            (chart("Chat", Shape::Lines, &labels, &[
                Set::new("People here", "--accent", values(|all| all.people)),
                Set::new("Messages in ten seconds", "--second", values(|all| all.messages)),
            ]))
        }
        section.card {
            h2 { "Processes" }
            @if nodes.is_empty() { p.empty { "None has said anything within the last hour." } } @else {
                div.list { table {
                    thead { tr { th { "Process" } th { "Version" } th { "Since" } th { "Last heard of" } th.number { "Requests" } th { "State" } } }
                    tbody { @for node in nodes { (process(node)) } }
                } }
            }
        }
    }
}

fn process(node: &Value) -> Markup {
    let sum = |field: &str| list(node, "samples").iter().map(|sample| count(sample, field)).sum::<i64>();
    let faults = sum("faults");
    html! {
        tr {
            td data-label="Process" { (text(node, "name")) }
            td data-label="Version" { (text(node, "version")) }
            td data-label="Since" { (moment(node, "startedAt")) }
            td data-label="Last heard of" { (moment(node, "seenAt")) }
            td.number data-label="Requests" { (thousands(&sum("requests").to_string())) }
            td data-label="State" { @if faults == 0 { (badge("ok")) } @else { (badge("failed")) span.sub { (faults) " faults" } } }
        }
    }
}
