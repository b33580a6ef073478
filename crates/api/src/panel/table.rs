//! Lists: what may be asked for, what is shown of each row, and what may be done with it.

use actix_web::web::Query;
use maud::{Markup, html};
use serde_json::{Value, json};

use super::{
    source::{Reply, Source},
    values::{count, encoded, list, text, thousands},
};

/// Parameters of the page's address, as they came.
pub(super) type Asked = Vec<(String, String)>;

/// A list of the API as a page.
pub(super) struct List {
    pub(super) path: &'static str,
    pub(super) title: &'static str,
    pub(super) about: &'static str,
    pub(super) source: Source,
    pub(super) filters: Vec<Filter>,
    /// Mostly one.
    pub(super) parts: Vec<Part>,
}

/// One table of a list.
pub(super) struct Part {
    /// Above it, where there are several.
    pub(super) title: &'static str,
    /// Where the rows are in the answer.
    pub(super) rows: &'static str,
    pub(super) columns: Vec<Column>,
    pub(super) actions: fn(&Value) -> Vec<Action>,
    /// In place of rows.
    pub(super) none: &'static str,
}

/// What the list can be narrowed by: a parameter of the API.
pub(super) enum Filter {
    /// Words to look for.
    Search(&'static str, &'static str),
    /// Name, label and what can be chosen; the first is what holds where nothing is.
    Choice(&'static str, &'static str, Vec<(&'static str, String)>),
    /// An id or the like.
    Exact(&'static str, &'static str),
}

/// One fact of each row.
pub(super) struct Column {
    title: &'static str,
    is_number: bool,
    cell: Box<dyn Fn(&Value) -> Markup>,
}

impl Column {
    pub(super) fn new(title: &'static str, cell: impl Fn(&Value) -> Markup + 'static) -> Self {
        Self { title, is_number: false, cell: Box::new(cell) }
    }

    /// Stands at the right.
    pub(super) fn number(title: &'static str, cell: impl Fn(&Value) -> Markup + 'static) -> Self {
        Self { is_number: true, ..Self::new(title, cell) }
    }
}

/// Something that can be done with a row: a call of the API, which is asked about first.
pub(super) struct Action {
    pub(super) label: &'static str,
    pub(super) method: &'static str,
    pub(super) url: String,
    pub(super) title: String,
    pub(super) text: &'static str,
    /// Sent along.
    pub(super) send: Value,
    /// Asked for: name, label, whether it is needed.
    pub(super) fields: &'static [(&'static str, &'static str, bool)],
    pub(super) is_dangerous: bool,
}

impl Action {
    pub(super) fn put(label: &'static str, url: String, title: String) -> Self {
        Self { label, method: "put", url, title, text: "", send: json!({}), fields: &[], is_dangerous: false }
    }

    pub(super) fn explained(self, text: &'static str) -> Self {
        Self { text, ..self }
    }

    pub(super) fn asking(self, fields: &'static [(&'static str, &'static str, bool)]) -> Self {
        Self { fields, ..self }
    }

    pub(super) fn sending(self, send: Value) -> Self {
        Self { send, ..self }
    }

    pub(super) fn dangerous(self) -> Self {
        Self { is_dangerous: true, ..self }
    }

    pub(super) fn button(&self) -> Markup {
        let fields: Vec<Value> = self
            .fields
            .iter()
            .map(|(name, label, needed)| json!({ "name": name, "label": label, "needed": needed }))
            .collect();
        html! {
            button type="button" class=[self.is_dangerous.then_some("danger")] data-act
                data-method=(self.method) data-url=(self.url) data-title=(self.title)
                data-text=[(!self.text.is_empty()).then_some(self.text)]
                data-send=(self.send.to_string()) data-fields=(Value::from(fields).to_string())
                data-danger=[self.is_dangerous.then_some("")] { (self.label) }
        }
    }
}

/// The parameters of an address; those that cannot be read are none, and the API says so.
pub(super) fn asked(query: &str) -> Asked {
    Query::<Asked>::from_query(query).map(Query::into_inner).unwrap_or_default()
}

/// The whole page's content.
pub(super) fn show(this: &List, reply: &Reply, asked: &Asked) -> Markup {
    let total = reply.body.get("total").and_then(Value::as_u64);
    html! {
        div.top {
            h1 { (this.title) }
            @if let Some(total) = total { span.quiet { (thousands(&total.to_string())) " in all" } }
        }
        @if !this.about.is_empty() { p.quiet { (this.about) } }
        @if !this.filters.is_empty() { (filters(this, asked)) }
        @if !reply.is_good() { p.notice role="alert" { (reply.message()) } }
        @else {
            @for part in &this.parts {
                @if !part.title.is_empty() { h2 { (part.title) } }
                (table(part, list(&reply.body, part.rows)))
            }
        }
        (pages(this, reply, asked))
    }
}

fn filters(this: &List, asked: &Asked) -> Markup {
    let given = |name: &str| {
        asked.iter().rev().find(|(known, _)| known == name).map_or("", |(_, value)| value.as_str())
    };
    html! {
        form.filters method="get" action=(this.path) hx-get=(this.path) hx-target="#main" hx-select="#main"
            hx-swap="outerHTML" hx-push-url="true" hx-trigger="change, submit" {
            @for filter in &this.filters {
                @match filter {
                    Filter::Search(name, label) => label { (label) input type="search" name=(name) value=(given(name)); },
                    Filter::Exact(name, label) => label { (label) input name=(name) value=(given(name)) autocomplete="off"; },
                    Filter::Choice(name, label, choices) => label { (label)
                        select name=(name) {
                            @for (value, word) in choices {
                                option value=(value) selected[given(name) == *value] { (word) }
                            }
                        }
                    },
                }
            }
            noscript { button { "Show" } }
        }
    }
}

/// Rows, each with what may be done with it.
pub(super) fn table(this: &Part, rows: &[Value]) -> Markup {
    if rows.is_empty() {
        return html! { div.list { p.empty { (this.none) } } };
    }
    let acting: Vec<Vec<Action>> = rows.iter().map(this.actions).collect();
    let any = acting.iter().any(|actions| !actions.is_empty());
    html! {
        div.list {
            table {
                thead { tr {
                    @for column in &this.columns {
                        th scope="col" class=[column.is_number.then_some("number")] { (column.title) }
                    }
                    @if any { th scope="col" { "" } }
                } }
                tbody {
                    @for (row, actions) in rows.iter().zip(&acting) {
                        tr {
                            @for column in &this.columns {
                                td data-label=(column.title) class=[column.is_number.then_some("number")] { div { ((column.cell)(row)) } }
                            }
                            @if any { td.acts.bare[actions.is_empty()] { @for action in actions { (action.button()) " " } } }
                        }
                    }
                }
            }
        }
    }
}

/// Onwards by the cursor; back with the browser, or to the beginning.
fn pages(this: &List, reply: &Reply, asked: &Asked) -> Markup {
    let next = text(&reply.body, "nextCursor");
    let with = |cursor: Option<&str>| {
        let kept = asked
            .iter()
            .filter(|(name, _)| name != "cursor")
            .map(|(name, value)| (name.as_str(), value.as_str()));
        let all: Vec<(&str, &str)> = kept.chain(cursor.map(|cursor| ("cursor", cursor))).collect();
        let query: Vec<String> =
            all.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value))).collect();
        format!("{}?{}", this.path, query.join("&"))
    };
    let is_later = asked.iter().any(|(name, value)| name == "cursor" && !value.is_empty());
    html! {
        @if is_later || !next.is_empty() {
            nav.pages aria-label="Pages of the list" {
                span { @if is_later { a.button href=(with(None)) { "First page" } } }
                span { @if !next.is_empty() { a.button rel="next" href=(with(Some(&next))) { "Next page" } } }
            }
        }
    }
}

/// How many of something there are, with its word.
pub(super) fn how_many(value: &Value, path: &str, word: &str) -> String {
    let count = count(value, path);
    format!("{} {word}{}", thousands(&count.to_string()), if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_comes_back_as_text() {
        assert_eq!(
            asked("q=a%26b&q=%3Cb%3E"),
            [("q".to_owned(), "a&b".to_owned()), ("q".to_owned(), "<b>".to_owned())]
        );
    }
}
