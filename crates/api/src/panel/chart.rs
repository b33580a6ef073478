//! Charts: what a script draws, with the same figures as a table for those who cannot see it or would rather read.

use maud::{Markup, html};
use serde_json::{Value, json};

/// A line or a row of bars. The colours are names of the style's.
pub(super) struct Set {
    pub(super) label: &'static str,
    pub(super) values: Vec<Value>,
    pub(super) tone: &'static str,
    /// Drawn as a line over bars, measured at the right.
    pub(super) is_beside: bool,
    /// Shown with cents.
    pub(super) is_money: bool,
}

impl Set {
    pub(super) fn new(label: &'static str, tone: &'static str, values: Vec<Value>) -> Self {
        Self { label, values, tone, is_beside: false, is_money: false }
    }

    pub(super) fn beside(self) -> Self {
        Self { is_beside: true, ..self }
    }

    pub(super) fn money(self) -> Self {
        Self { is_money: true, ..self }
    }
}

/// Which way it is drawn.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Bars,
    Lines,
    /// For names, which need room.
    SidewaysBars,
}

/// A card with a chart.
pub(super) fn chart(title: &str, shape: Shape, labels: &[String], sets: &[Set]) -> Markup {
    let kind = if shape == Shape::Lines { "line" } else { "bar" };
    let drawn: Vec<Value> = sets
        .iter()
        .map(|set| {
            let (own, axis) = if set.is_beside { (Some("line"), Some("y1")) } else { (None, None) };
            json!({ "label": set.label, "values": set.values, "tone": set.tone, "type": own, "axis": axis })
        })
        .collect();
    let money: Vec<&str> = sets.iter().filter(|set| set.is_money).map(|set| set.label).collect();
    let all = json!({
        "type": kind, "labels": labels, "sets": drawn, "sideways": shape == Shape::SidewaysBars, "money": money,
    });
    html! {
        section.card {
            h2 { (title) }
            @if labels.is_empty() { p.empty { "Nothing yet." } } @else {
                div.chart data-chart=(all.to_string()) data-title=(title) {}
                details {
                    summary { "As a table" }
                    table {
                        thead { tr { th {} @for set in sets { th.number scope="col" { (set.label) } } } }
                        tbody {
                            @for (place, label) in labels.iter().enumerate() {
                                tr {
                                    th scope="row" { (label) }
                                    @for set in sets {
                                        td.number { (shown(set, place)) }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn shown(set: &Set, place: usize) -> String {
    let value = set.values.get(place).unwrap_or(&Value::Null);
    if set.is_money { super::values::amount(value) } else { value.to_string() }
}
