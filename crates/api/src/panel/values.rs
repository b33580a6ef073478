//! Values of answers, as people read them.

use maud::{Markup, html};
use serde_json::Value;

/// What is at a place such as `user.name`.
pub(super) fn at<'v>(value: &'v Value, path: &str) -> &'v Value {
    path.split('.').fold(value, |value, name| value.get(name).unwrap_or(&Value::Null))
}

/// As text; empty where there is nothing.
pub(super) fn text(value: &Value, path: &str) -> String {
    match at(value, path) {
        Value::String(text) => text.clone(),
        Value::Null | Value::Array(_) | Value::Object(_) => String::new(),
        other => other.to_string(),
    }
}

/// A whole number; 0 where there is none.
pub(super) fn count(value: &Value, path: &str) -> i64 {
    at(value, path).as_i64().unwrap_or_default()
}

/// The elements of a list.
pub(super) fn list<'v>(value: &'v Value, path: &str) -> &'v [Value] {
    at(value, path).as_array().map(Vec::as_slice).unwrap_or_default()
}

/// An amount, as the API writes it, with both decimals and the thousands apart.
pub(super) fn money(value: &Value, path: &str) -> String {
    amount(at(value, path))
}

/// The same of the amount itself.
pub(super) fn amount(value: &Value) -> String {
    match value {
        Value::Number(number) => decimals(&number.to_string()),
        Value::String(text) => decimals(text),
        _ => String::new(),
    }
}

fn decimals(text: &str) -> String {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("−", digits),
        None => ("", text),
    };
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    format!("{sign}{}.{part:0<2}", thousands(whole))
}

/// A count, with the thousands apart.
pub(super) fn thousands(whole: &str) -> String {
    let mut grouped = String::new();
    for (place, digit) in whole.chars().enumerate() {
        if place > 0 && (whole.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A moment, to the minute, in universal time.
pub(super) fn moment(value: &Value, path: &str) -> Markup {
    let text = text(value, path);
    let shown = match (text.get(..10), text.get(11..16)) {
        (Some(day), Some(minute)) => format!("{day} {minute}"),
        _ => text.clone(),
    };
    html! { @if !text.is_empty() { time.nowrap datetime=(text) title=(text) { (shown) } } }
}

/// Good, in between, bad: by the word.
fn tone(word: &str) -> &'static str {
    match word.to_ascii_lowercase().as_str() {
        "delivered" | "succeeded" | "done" | "active" | "approved" | "running" | "released" | "won"
        | "ok" | "listed" | "visible" => "good",
        "cancelled" | "rejected" | "refused" | "blocked" | "hidden" | "charged back" | "lost" | "dead"
        | "failed" | "closed" | "disabled" => "bad",
        "processing" | "unverified" | "disputed" | "open" | "waiting" | "pending" | "refund processing"
        | "paused" | "on hold" => "warn",
        _ => "",
    }
}

/// A state, in its colour. The word says it too.
pub(super) fn badge(word: &str) -> Markup {
    html! { @if !word.is_empty() { span.badge.(tone(word)) { (word) } } }
}

/// The end of an id, which is where ids differ.
pub(super) fn short(id: &str) -> Markup {
    let end = id.get(id.len().saturating_sub(8)..).unwrap_or(id);
    html! { span.mono title=(id) { (end) } }
}

/// A picture, small.
pub(super) fn thumb(address: &str) -> Markup {
    html! { @if !address.is_empty() { img.thumb src=(address) alt="" loading="lazy" width="42" height="42"; } }
}

/// A larger word over a smaller one.
pub(super) fn over(main: &str, sub: &str) -> Markup {
    html! { (main) @if !sub.is_empty() { span.sub { (sub) } } }
}

/// Fit for a query string.
pub(super) fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                char::from(byte).to_string()
            }
            other => format!("%{other:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_put_into_an_address_stays_one_value() {
        assert_eq!(encoded("a&b <ü>"), "a%26b%20%3C%C3%BC%3E");
    }

    #[test]
    fn amounts_have_two_decimals_and_thousands() {
        let shown = |amount: Value| money(&json!({ "a": amount }), "a");
        assert_eq!(shown(json!(12)), "12.00");
        assert_eq!(shown(json!(1234567.5)), "1,234,567.50");
        assert_eq!(shown(json!(-1000.05)), "−1,000.05");
        assert_eq!(shown(json!("999")), "999.00");
        assert_eq!(shown(json!(0.07)), "0.07");
        assert_eq!(shown(Value::Null), "");
    }

    #[test]
    fn a_moment_is_shown_to_the_minute() {
        let shown = moment(&json!({ "at": "2026-01-02T03:04:05.678Z" }), "at").into_string();
        assert!(shown.contains(">2026-01-02 03:04<"), "{shown}");
        assert_eq!(moment(&json!({}), "at").into_string(), "");
    }

    #[test]
    fn nothing_of_a_value_is_markup() {
        let shown = over("<b>", "\"><script>").into_string() + &badge("<i>").into_string();
        assert!(!shown.contains("<b>") && !shown.contains("<script>") && !shown.contains("<i>"), "{shown}");
    }
}
