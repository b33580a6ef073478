use serde::{Deserialize, Serialize};

use super::rules::Sort;
use crate::error::Refusal;

/// What a shopper sets.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct OfUser {
    pub order_updates: Option<bool>,
}

/// What a shop sets.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct OfShop {
    pub low_stock: Option<bool>,
}

/// Which mails an account gets.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Settings {
    pub success: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order_updates: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub low_stock: Option<bool>,
}

#[derive(Serialize)]
pub(super) struct Ended {
    pub success: bool,
    pub message: String,
}

pub(super) const UNKNOWN_LINK: Refusal =
    Refusal::not_found("unknown_link", "This link is not one of ours; please copy all of it from the mail");

pub(super) fn ended(sort: Sort) -> String {
    format!("You get no more {}", sort.what())
}

/// A page that asks, so that whatever follows links on its own ends nothing.
pub(super) fn question(sort: Sort) -> String {
    page(&format!(
        "<p>Do you want no more {}?</p><form method=\"post\"><button type=\"submit\">End them</button></form>",
        sort.what()
    ))
}

/// A page that says that it is done.
pub(super) fn done(sort: Sort) -> String {
    page(&format!("<p>{}.</p>", ended(sort)))
}

/// Of our own words only.
fn page(body: &str) -> String {
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width\"><title>Mails from Souk</title></head><body><h1>Mails from Souk</h1>\
         {body}</body></html>"
    )
}
