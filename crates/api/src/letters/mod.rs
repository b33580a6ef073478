//! What Souk writes to people: each letter is a function from what there is to say to subject, text and HTML.
//!
//! A letter is put together from paragraphs, facts, links and other people's words, and both of its forms are made from
//! that in one place, where everything is escaped: no letter writes HTML.

mod accounts;
mod cases;
mod handlers;
mod orders;
mod payments;
mod samples;
mod shops;

pub(crate) use accounts::{activation, new_password};
pub(crate) use cases::{case_closed, case_message, case_opened};
pub(crate) use orders::{
    Cancelled, Role, cancelled, expired, moved, placed, refund_asked, refund_decided, sold,
};
pub(crate) use payments::{dispute_closed, dispute_opened, unused};
pub use samples::samples;
pub(crate) use shops::{Fate, low_stock, webhook_disabled, withdrawal_asked, withdrawal_decided};

use std::fmt::Write as _;

use shared::model::OutboxJob;

use crate::routes::{Route, get};

/// More of a subject is cut off: names of people and things may be long.
const LONGEST_SUBJECT: usize = 150;

pub(crate) fn routes() -> Vec<Route> {
    vec![get("/letters", handlers::list), get("/letters/{name}", handlers::one)]
}

/// One letter, to whomever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// One line.
    pub subject: String,
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    /// A paragraph of ours.
    Say(String),
    /// What it is about, line by line.
    Facts(Vec<(String, String)>),
    /// Words of somebody else.
    Quote(String),
    /// Where to go.
    Link { label: &'static str, url: String },
}

impl Letter {
    /// One that says nothing yet.
    fn about(subject: impl Into<String>) -> Self {
        let line = |c: char| if c.is_control() { ' ' } else { c };
        let subject: String = subject.into().chars().map(line).take(LONGEST_SUBJECT).collect();
        Self { subject, parts: Vec::new() }
    }

    fn say(mut self, text: impl Into<String>) -> Self {
        self.parts.push(Part::Say(text.into()));
        self
    }

    fn facts<L: Into<String>>(mut self, facts: impl IntoIterator<Item = (L, String)>) -> Self {
        let facts: Vec<_> = facts.into_iter().map(|(label, value)| (label.into(), value)).collect();
        if !facts.is_empty() {
            self.parts.push(Part::Facts(facts));
        }
        self
    }

    fn quote(mut self, words: Option<&str>) -> Self {
        if let Some(words) = words.map(str::trim).filter(|words| !words.is_empty()) {
            self.parts.push(Part::Quote(words.to_owned()));
        }
        self
    }

    fn link(mut self, label: &'static str, url: String) -> Self {
        self.parts.push(Part::Link { label, url });
        self
    }

    /// The mail that it is, with the address where mails of its sort are ended, if they can be.
    pub(crate) fn mail_to(&self, to: String, unsubscribe: Option<String>) -> OutboxJob {
        let end = unsubscribe.as_deref();
        let (text, html) = (self.text(end), Some(self.html(end)));
        OutboxJob::Mail { to, subject: self.subject.clone(), text, html, unsubscribe }
    }

    /// As plain text; with the address where such letters are ended, if they can be.
    pub fn text(&self, unsubscribe: Option<&str>) -> String {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Say(said) => text.push_str(said),
                Part::Facts(facts) => {
                    let lines: Vec<_> =
                        facts.iter().map(|(label, value)| format!("  {label}: {}", flat(value))).collect();
                    text.push_str(&lines.join("\n"));
                }
                Part::Quote(words) => {
                    let lines: Vec<_> = words.lines().map(|line| format!("> {line}")).collect();
                    text.push_str(&lines.join("\n"));
                }
                Part::Link { label, url } => _ = write!(text, "{label}:\n\n{url}"),
            }
            text.push_str("\n\n");
        }
        text.push_str("Souk\n");
        if let Some(url) = unsubscribe {
            _ = write!(text, "\n-- \nYou need not get mails of this sort. To end them: {url}\n");
        }
        text
    }

    /// As HTML, the same.
    pub fn html(&self, unsubscribe: Option<&str>) -> String {
        let mut html = format!(
            "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
             content=\"width=device-width\"><title>{}</title></head><body style=\"font:16px/1.5 \
             sans-serif;color:#222;background:#fff;max-width:38em;margin:0 auto;padding:16px\">",
            escape(&self.subject)
        );
        for part in &self.parts {
            match part {
                Part::Say(said) => _ = write!(html, "<p>{}</p>", escape(said).replace('\n', "<br>")),
                Part::Facts(facts) => {
                    html.push_str("<table style=\"border-collapse:collapse\">");
                    for (label, value) in facts {
                        _ = write!(
                            html,
                            "<tr><td style=\"padding:2px 16px 2px 0;color:#666\">{}</td><td>{}</td></tr>",
                            escape(label),
                            escape(&flat(value))
                        );
                    }
                    html.push_str("</table>");
                }
                Part::Quote(words) => {
                    _ = write!(
                        html,
                        "<blockquote style=\"margin:16px 0;padding-left:12px;border-left:3px solid \
                         #ccc\">{}</blockquote>",
                        escape(words).replace('\n', "<br>")
                    );
                }
                Part::Link { label, url } => {
                    _ = write!(html, "<p><a href=\"{}\">{}</a></p>", escape(url), escape(label));
                }
            }
        }
        html.push_str("<p>Souk</p>");
        if let Some(url) = unsubscribe {
            _ = write!(
                html,
                "<p style=\"color:#666;font-size:13px\">You need not get mails of this sort. <a \
                 href=\"{}\">End them</a></p>",
                escape(url)
            );
        }
        html.push_str("</body></html>");
        html
    }
}

/// On one line: a fact must not look like two.
fn flat(value: &str) -> String {
    value.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// So that it is text and nothing else, between tags and within quotes.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c if c.is_control() && c != '\n' => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVIL: &str = "<script>alert('x')</script>\"&\r\nBcc: eve@example.com";

    #[test]
    fn nothing_that_anybody_says_becomes_html_or_a_header() {
        let letter = Letter::about(EVIL)
            .say(EVIL)
            .facts([(EVIL, EVIL.to_owned())])
            .quote(Some(EVIL))
            .link("Go", "https://example.com/\"onclick=\"x".to_owned());
        let html = letter.html(Some("https://example.com/?a=1&b=\"2"));
        assert!(!html.contains("<script") && !html.contains("alert('x')"), "{html}");
        assert!(!html.contains("\"onclick") && html.contains("a=1&amp;b=&quot;2"), "{html}");
        assert!(!letter.subject.contains(['\r', '\n']));
        let long = Letter::about("a".repeat(500));
        assert_eq!(long.subject.len(), LONGEST_SUBJECT);
    }

    #[test]
    fn both_forms_say_the_same() {
        let letter = Letter::about("Hello")
            .say("One\ntwo")
            .facts([("Order", "7".to_owned()), ("Total", "8\n  Paid: all".to_owned())])
            .quote(Some("a\nb"))
            .link("Look", "http://x/y".to_owned());
        let text = letter.text(Some("http://x/end"));
        assert!(text.starts_with(
            "One\ntwo\n\n  Order: 7\n  Total: 8   Paid: all\n\n> a\n> b\n\nLook:\n\nhttp://x/y\n\n"
        ));
        assert!(text.ends_with("To end them: http://x/end\n"), "{text}");
        let html = letter.html(None);
        for part in ["One<br>two", "<td>7</td>", "a<br>b", "href=\"http://x/y\"", "<title>Hello</title>"] {
            assert!(html.contains(part), "{html}");
        }
        assert!(!html.contains("End them"));
    }

    #[test]
    fn every_letter_has_a_sample_with_something_to_say_and_a_name_of_its_own() {
        let samples = samples();
        let mut names: Vec<_> = samples.iter().map(|(name, _)| *name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), samples.len());
        for (name, letter) in &samples {
            assert!(!letter.subject.is_empty() && letter.parts.len() > 1, "{name}");
            assert!(!letter.text(None).contains("None") && !letter.text(None).contains("Some("), "{name}");
        }
    }
}
