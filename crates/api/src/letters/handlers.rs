use actix_web::{HttpResponse, web::Path};
use serde::Serialize;

use super::samples;
use crate::{
    error::{Refusal, Result},
    identity::Admin,
};

const NOT_FOUND: Refusal = Refusal::not_found("letter_not_found", "There is no letter of this name");

#[derive(Serialize)]
struct Named {
    name: &'static str,
    subject: String,
}

#[derive(Serialize)]
struct List {
    success: bool,
    letters: Vec<Named>,
}

#[derive(Serialize)]
struct Sample {
    name: &'static str,
    subject: String,
    text: String,
    html: String,
}

#[derive(Serialize)]
struct One {
    success: bool,
    letter: Sample,
}

/// `GET /api/admin/letters`: every letter that is written to people.
pub(super) async fn list(_: Admin) -> Result<HttpResponse> {
    let named = |(name, letter): (_, super::Letter)| Named { name, subject: letter.subject };
    let letters = samples().into_iter().map(named).collect();
    Ok(HttpResponse::Ok().json(List { success: true, letters }))
}

/// `GET /api/admin/letters/{name}`: one of them, about something made up.
pub(super) async fn one(_: Admin, name: Path<String>) -> Result<HttpResponse> {
    let found = samples().into_iter().find(|(known, _)| *known == name.as_str());
    let (name, letter) = found.ok_or(NOT_FOUND)?;
    let (text, html) = (letter.text(None), letter.html(None));
    let letter = Sample { name, subject: letter.subject, text, html };
    Ok(HttpResponse::Ok().json(One { success: true, letter }))
}
