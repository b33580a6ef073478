//! What is sold, and what is said about it.

use maud::{Markup, html};
use serde_json::Value;

use super::{REASON, amount, choices, when};
use crate::{
    admin::{listings, reviews},
    panel::{
        source::{Source, source},
        table::{Action, Column, Filter, List, Part},
        values::{badge, over, text, thumb},
    },
};

pub(super) fn products() -> List {
    listed("/admin/products", "Products", "products", source(listings::handlers::products))
}

pub(super) fn events() -> List {
    let mut list = listed("/admin/events", "Events", "events", source(listings::handlers::events));
    for part in &mut list.parts {
        part.columns.insert(3, when("Ends", "end_date"));
    }
    list
}

fn listed(path: &'static str, title: &'static str, family: &'static str, source: Source) -> List {
    List {
        path,
        title,
        about: "What is hidden is shown to nobody but its shop, and nobody can buy it.",
        source,
        filters: vec![
            Filter::Search("q", "Name"),
            shown_or_hidden(),
            Filter::Exact("shop", "Id of a shop"),
            Filter::Exact("category", "Category"),
        ],
        parts: vec![Part {
            title: "",
            rows: family,
            columns: vec![
                Column::new("", |row| thumb(&text(row, "image"))),
                Column::new("Name", |row| over(&text(row, "name"), &text(row, "category"))),
                Column::new("Shop", |row| over(&text(row, "shop.name"), &text(row, "shop._id"))),
                amount("Price", "discountPrice"),
                Column::number("Stock", |row| over(&text(row, "stock"), &of_stock(row))),
                Column::number("Sold", |row| html! { (text(row, "sold_out")) }),
                Column::new("State", visibility),
            ],
            actions: match family {
                "events" => |row| vec![hide_or_restore(row, "events", &text(row, "name"))],
                _ => |row| vec![hide_or_restore(row, "products", &text(row, "name"))],
            },
            none: "Nothing like this is sold.",
        }],
    }
}

fn of_stock(row: &Value) -> String {
    let available = text(row, "available");
    if available == text(row, "stock") { String::new() } else { format!("{available} available") }
}

pub(super) fn reviews() -> List {
    List {
        path: "/admin/reviews",
        title: "Reviews",
        about: "A hidden review is shown to nobody, and does not count for the rating.",
        source: source(reviews::handlers::list),
        filters: vec![
            Filter::Search("q", "Words of it"),
            Filter::Choice(
                "maxRating",
                "Stars",
                choices(&[("", "Any"), ("1", "One"), ("2", "Two at most"), ("3", "Three at most")]),
            ),
            shown_or_hidden(),
            Filter::Exact("product", "Id of a product"),
        ],
        parts: vec![Part {
            title: "",
            rows: "reviews",
            columns: vec![
                when("When", "createdAt"),
                Column::new("Who", |row| over(&text(row, "user.name"), &text(row, "user._id"))),
                Column::new("Product", |row| over(&text(row, "product"), &text(row, "productId"))),
                Column::number("Stars", |row| html! { (text(row, "rating")) }),
                Column::new("What", |row| html! { (text(row, "comment")) }),
                Column::new("State", visibility),
            ],
            actions: |row| vec![hide_or_restore(row, "reviews", "the review")],
            none: "Nobody has said anything like this.",
        }],
    }
}

fn shown_or_hidden() -> Filter {
    Filter::Choice("hidden", "State", choices(&[("", "All"), ("false", "Visible"), ("true", "Hidden")]))
}

fn is_hidden(row: &Value) -> bool {
    row.get("hidden").is_some_and(Value::is_object)
}

fn visibility(row: &Value) -> Markup {
    html! {
        @if is_hidden(row) { (badge("hidden")) span.sub { (text(row, "hidden.reason")) } }
        @else if text(row, "shop.shut") == "true" { (badge("closed")) span.sub { "its shop does not sell" } }
        @else { (badge("visible")) }
    }
}

fn hide_or_restore(row: &Value, family: &str, name: &str) -> Action {
    let id = text(row, "_id");
    if is_hidden(row) {
        Action::put("Restore", format!("/api/admin/{family}/{id}/restore"), format!("Show {name} again"))
    } else {
        Action::put("Hide", format!("/api/admin/{family}/{id}/hide"), format!("Hide {name}"))
            .asking(REASON)
            .dangerous()
    }
}
