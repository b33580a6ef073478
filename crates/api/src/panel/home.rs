//! The first page: figures and charts.

use actix_web::HttpRequest;
use maud::{Markup, html};

/// What stands on it.
pub(super) async fn content(_: &HttpRequest) -> Markup {
    html! { div.top { h1 { "Overview" } } }
}
