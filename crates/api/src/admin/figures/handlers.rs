use actix_web::HttpResponse;

use super::{
    rules::{Days, NoDays},
    store, wire,
};
use crate::{
    admin::page,
    error::{Error, Result},
    extract::Query,
    identity::Admin,
    state::State,
};

/// `GET /api/admin/figures`: of whole days in UTC, the last thirty where nobody says.
pub(crate) async fn figures(_: Admin, query: Query, state: State) -> Result<HttpResponse> {
    let (from, to) = (page::moment(&query, "from")?, page::moment(&query, "to")?);
    let days = Days::between(from, to, state.clock.now()).map_err(|why| {
        Error::field(
            "to",
            match why {
                NoDays::Backwards => wire::BACKWARDS,
                NoDays::TooMany => wire::TOO_MANY,
            },
        )
    })?;
    let figures = store::figures(&state.db, &state.figures, days).await?;
    Ok(HttpResponse::Ok().json(wire::FiguresReply::from(figures)))
}
