//! What every page has around it.

use actix_web::{
    HttpResponse,
    http::{
        StatusCode,
        header::{CONTENT_SECURITY_POLICY, ContentType, HeaderName},
    },
};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use tokio::time::Instant;

use super::{
    assets::{CHART, HTMX, HTMX_JSON, SCRIPT, STYLE},
    lists::{SECTIONS, word},
};

/// Scripts, styles and requests of our own only. Pictures may lie at the media host.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' https: data:; \
     frame-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// Nothing of an attribute is run, no style is added, nothing of a page is kept in the browser's storage.
const HTMX_CONFIG: &str =
    r#"{"allowEval":false,"includeIndicatorStyles":false,"historyCacheSize":0,"selfRequestsOnly":true}"#;

/// When the making of a page began, for `Server-Timing`.
pub(super) struct Begun(Instant);

impl Begun {
    pub(super) fn now() -> Self {
        Self(Instant::now())
    }
}

/// A page with the navigation beside it.
pub(super) fn page(
    status: StatusCode,
    here: &str,
    title: &str,
    begun: &Begun,
    content: &Markup,
) -> HttpResponse {
    let link = |path: &str, name: &str| {
        html! { a href=(path) aria-current=[(path == here).then_some("page")] { (name) } }
    };
    let body = html! {
        a.skip href="#main" { "To the content" }
        div.shell {
            header.side {
                a.brand href="/admin" { "Souk" }
                nav aria-label="Pages" {
                    (link("/admin", "Overview"))
                    @for (section, names) in SECTIONS {
                        span.head { (section) }
                        @for name in names { (link(&format!("/admin/{name}"), &word(name))) }
                    }
                    form hx-get="/api/user/logout" hx-swap="none" data-then="/admin/sign-in" {
                        button { "Sign out" }
                        p.fault role="alert" {}
                    }
                }
            }
            main.main #main tabindex="-1" { (content) }
        }
        (ask())
        div.toast #toast role="status" {}
    };
    let mut answer = document(status, title, &body);
    let millis = format!("total;dur={}", begun.0.elapsed().as_millis());
    if let Ok(millis) = millis.try_into() {
        answer.headers_mut().insert(HeaderName::from_static("server-timing"), millis);
    }
    answer
}

/// Asks about whatever a button is about to do.
fn ask() -> Markup {
    html! {
        dialog #ask aria-labelledby="ask-title" {
            form hx-ext="json-enc" hx-swap="none" data-then="refresh" {
                h2 #ask-title {}
                p.quiet data-text {}
                div data-fields {}
                p.fault role="alert" {}
                div.row {
                    button type="button" data-close { "Cancel" }
                    button.primary type="submit" {}
                }
            }
        }
    }
}

/// The page on which one signs in; afterwards it leads on.
pub(super) fn sign_in(next: &str) -> HttpResponse {
    document(
        StatusCode::OK,
        "Sign in",
        &html! {
            main.sign-in {
                h1 { "Souk" }
                p.quiet { "For administrators." }
                form hx-post="/api/user/login-user" hx-ext="json-enc" hx-swap="none" data-then=(next) {
                    label { "E-mail address" input type="email" name="email" required autocomplete="username" autofocus; }
                    label { "Password" input type="password" name="password" required autocomplete="current-password"; }
                    p.fault role="alert" {}
                    button.primary { "Sign in" }
                }
            }
            div.toast #toast role="status" {}
        },
    )
}

/// For somebody who is signed in, and no administrator.
pub(super) fn not_for_you(message: &str) -> HttpResponse {
    document(
        StatusCode::FORBIDDEN,
        "For administrators",
        &html! {
            main.sign-in {
                h1 { "For administrators" }
                p { (message) }
                form hx-get="/api/user/logout" hx-swap="none" data-then="/admin/sign-in" {
                    p.fault role="alert" {}
                    button.primary { "Sign in as somebody else" }
                }
            }
            div.toast #toast role="status" {}
        },
    )
}

fn document(status: StatusCode, title: &str, body: &Markup) -> HttpResponse {
    let scripts = [&HTMX, &HTMX_JSON, &CHART, &SCRIPT];
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="htmx-config" content=(PreEscaped(HTMX_CONFIG.replace('"', "&quot;")));
                title { (title) " · Souk" }
                link rel="icon" href="data:,";
                link rel="stylesheet" href=(STYLE.address());
                @for script in scripts { script defer src=(script.address()) {} }
            }
            body { (body) }
        }
    };
    HttpResponse::build(status)
        .content_type(ContentType::html())
        .insert_header((CONTENT_SECURITY_POLICY, POLICY))
        .body(page.into_string())
}
