//! What Souk writes to people, each letter about something made up.

use actix_web::{HttpResponse, http::header};
use maud::{Markup, html};

use crate::letters::{Letter, samples};

/// All of them.
pub(super) fn all() -> Markup {
    html! {
        div.top { h1 { "Letters" } }
        p.quiet { "Every mail that Souk writes, about something made up." }
        div.list { table {
            thead { tr { th { "Letter" } th { "Subject" } } }
            tbody {
                @for (name, letter) in samples() {
                    tr {
                        td data-label="Letter" { a href=(format!("/admin/letters/{name}")) { (name.replace('-', " ")) } }
                        td data-label="Subject" { (letter.subject) }
                    }
                }
            }
        } }
    }
}

fn named(name: &str) -> Option<Letter> {
    samples().into_iter().find(|(known, _)| *known == name).map(|(_, letter)| letter)
}

/// One of them, in both of its forms.
pub(super) fn one(name: &str) -> Option<Markup> {
    let letter = named(name)?;
    Some(html! {
        div.top { h1 { (letter.subject) } a.button href="/admin/letters" { "All letters" } }
        div.two {
            section.card {
                h2 { "As most people see it" }
                iframe.letter title="The letter as HTML" src=(format!("/admin/letters/{name}/shown")) sandbox="" {}
            }
            section.card { h2 { "As text" } pre { (letter.text(None)) } }
        }
    })
}

/// The letter as mail programs show it: with its own styles, and nothing else.
pub(super) fn shown(name: &str) -> Option<HttpResponse> {
    const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'self'; sandbox";
    let letter = named(name)?;
    Some(
        HttpResponse::Ok()
            .content_type(header::ContentType::html())
            .insert_header((header::CONTENT_SECURITY_POLICY, POLICY))
            .insert_header((header::X_FRAME_OPTIONS, "SAMEORIGIN"))
            .body(letter.html(None)),
    )
}
