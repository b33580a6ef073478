use actix_web::{
    HttpRequest, HttpResponse,
    http::{StatusCode, header::LOCATION},
    web,
};
use maud::html;

use super::{
    frame::{self, Begun},
    home, letters, lists,
    source::ask,
    table,
    values::encoded,
};
use crate::{
    cases,
    error::{Error, Result},
    extract::Query,
    identity::Admin,
    routes::not_found,
};

/// `GET /admin`: how the marketplace is doing.
pub(super) async fn home(request: HttpRequest) -> Result<HttpResponse> {
    let begun = Begun::now();
    if let Some(elsewhere) = turned_away(&request) {
        return Ok(elsewhere);
    }
    let content = home::content(&request).await;
    Ok(frame::page(StatusCode::OK, "/admin", "Overview", &begun, &content))
}

/// `GET /admin/`: the same page has one address.
pub(super) async fn to_home() -> HttpResponse {
    see("/admin")
}

/// `GET /admin/sign-in`: where one signs in.
pub(super) async fn sign_in(query: Query) -> HttpResponse {
    // Only to pages of ours.
    let next = query.text("next").filter(|next| *next == "/admin" || next.starts_with("/admin/"));
    frame::sign_in(next.unwrap_or("/admin"))
}

/// `GET /admin/letters`: every letter that Souk writes.
pub(super) async fn letters(request: HttpRequest) -> Result<HttpResponse> {
    let begun = Begun::now();
    if let Some(elsewhere) = turned_away(&request) {
        return Ok(elsewhere);
    }
    Ok(frame::page(StatusCode::OK, "/admin/letters", "Letters", &begun, &letters::all()))
}

/// `GET /admin/letters/{name}`: one of them.
pub(super) async fn letter(name: web::Path<String>, request: HttpRequest) -> Result<HttpResponse> {
    let begun = Begun::now();
    if let Some(elsewhere) = turned_away(&request) {
        return Ok(elsewhere);
    }
    let Some(content) = letters::one(&name) else { return not_found(request).await };
    Ok(frame::page(StatusCode::OK, "/admin/letters", "Letter", &begun, &content))
}

/// `GET /admin/letters/{name}/shown`: as mail programs show it, in a frame of the page above.
pub(super) async fn letter_shown(name: web::Path<String>, request: HttpRequest) -> Result<HttpResponse> {
    if let Some(elsewhere) = turned_away(&request) {
        return Ok(elsewhere);
    }
    match letters::shown(&name) {
        Some(shown) => Ok(shown),
        None => not_found(request).await,
    }
}

/// `GET /admin/disputes/{id}`: a dispute with everything that it is decided by.
pub(super) async fn dispute(request: HttpRequest) -> Result<HttpResponse> {
    let begun = Begun::now();
    if let Some(elsewhere) = turned_away(&request) {
        return Ok(elsewhere);
    }
    let reply = ask(cases::handlers::evidence, request).await;
    let content = match reply.is_good() {
        true => lists::trade::dispute(&reply.body),
        false => html! { p.notice role="alert" { (reply.message()) } },
    };
    Ok(frame::page(reply.status, "/admin/disputes", "Dispute", &begun, &content))
}

/// `GET /admin/{list}`: a list of the API.
pub(super) async fn list(name: web::Path<String>, request: HttpRequest) -> Result<HttpResponse> {
    let begun = Begun::now();
    if let Some(elsewhere) = turned_away(&request) {
        return Ok(elsewhere);
    }
    let Some(list) = lists::named(&name) else { return not_found(request).await };
    let asked = table::asked(request.query_string());
    let reply = (list.source)(request).await;
    let content = table::show(&list, &reply, &asked);
    let status = if reply.is_good() { StatusCode::OK } else { reply.status };
    Ok(frame::page(status, list.path, list.title, &begun, &content))
}

/// Where somebody who is no administrator is sent instead of a page.
fn turned_away(request: &HttpRequest) -> Option<HttpResponse> {
    let who = <Admin as actix_web::FromRequest>::extract(request).into_inner();
    match who {
        Ok(_) => None,
        Err(Error::Unauthenticated) => {
            let here = request.uri().path_and_query().map_or("/admin", |here| here.as_str());
            Some(see(&format!("/admin/sign-in?next={}", encoded(here))))
        }
        Err(refused) => Some(frame::not_for_you(&refused.to_string())),
    }
}

fn see(address: &str) -> HttpResponse {
    HttpResponse::SeeOther().insert_header((LOCATION, address)).finish()
}
