use actix_web::HttpResponse;
use shared::id::Id;

use super::{Action, store, wire};
use crate::{
    error::{Error, Result},
    extract::Query,
    identity::Admin,
    state::State,
};

/// `GET /api/admin/audit-log`: what happened, the latest first; of one action or one account, if that is asked for.
pub(crate) async fn list(_: Admin, query: Query, state: State) -> Result<HttpResponse> {
    let action = match query.text("action") {
        Some(name) => Some(
            Action::ALL
                .into_iter()
                .map(Action::name)
                .find(|known| *known == name)
                .ok_or(Error::field("action", wire::ACTION))?,
        ),
        None => None,
    };
    let account = match query.text("account") {
        Some(text) => {
            Some(text.parse::<Id<()>>().map(Id::hex).or(Err(Error::field("account", wire::ACCOUNT)))?)
        }
        None => None,
    };
    let before = query.cursor(|text| text.parse().ok())?;
    let wanted = store::Wanted { action, account, before, limit: query.limit()? };
    let (page, more) = store::list(&state.db, &wanted).await?;
    let next_cursor = page.last().filter(|_| more).map(|last| last.id.hex());
    let entries = page.into_iter().map(Into::into).collect();
    Ok(HttpResponse::Ok().json(wire::Page { success: true, entries, next_cursor }))
}
