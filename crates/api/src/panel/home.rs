//! The first page: figures and charts.

use std::collections::BTreeMap;

use actix_web::HttpRequest;
use maud::{Markup, html};
use serde_json::Value;

use super::{
    chart::{Set, Shape, chart},
    source::ask,
    values::{badge, count, list, moment, text, thousands},
};
use crate::admin::nodes;

/// What stands on it.
pub(super) async fn content(request: &HttpRequest) -> Markup {
    let nodes = ask(nodes::handlers::list, request.clone()).await;
    html! {
        div.top { h1 { "Overview" } }
        (processes(list(&nodes.body, "nodes")))
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
                table {
                    thead { tr { th { "Process" } th { "Version" } th { "Since" } th { "Last heard of" } th.number { "Requests" } th { "" } } }
                    tbody {
                        @for node in nodes {
                            @let faults: i64 = list(node, "samples").iter().map(|sample| count(sample, "faults")).sum();
                            @let requests: i64 = list(node, "samples").iter().map(|sample| count(sample, "requests")).sum();
                            tr {
                                td { (text(node, "name")) }
                                td { (text(node, "version")) }
                                td { (moment(node, "startedAt")) }
                                td { (moment(node, "seenAt")) }
                                td.number { (thousands(&requests.to_string())) }
                                td { @if faults == 0 { (badge("ok")) } @else { (badge("failed")) span.sub { (faults) " faults" } } }
                            }
                        }
                    }
                }
            }
        }
    }
}
