use actix_web::HttpResponse;
use shared::{
    id::Id,
    model::{Party, Review},
};

use super::{
    store::{self, ORDERS, ReviewFilter},
    wire,
};
use crate::{
    admin::{
        listings::decision,
        page::{self, Wanted},
        wire::Reason,
    },
    audit_log::Action,
    error::{Error, Result},
    extract::{Json, PathId, Query},
    identity::Admin,
    state::{App, State},
};

/// `GET /api/admin/reviews`
pub(crate) async fn list(_: Admin, query: Query, state: State) -> Result<HttpResponse> {
    let stars = |text: &str| text.parse().ok().filter(|stars| (1..=5).contains(stars));
    let filter = ReviewFilter {
        q: page::search(&query)?,
        product: page::id(&query, "product")?,
        shop: page::id(&query, "shop")?,
        hidden: page::flag(&query, "hidden")?,
        most_stars: query
            .text("maxRating")
            .map(|text| stars(text).ok_or(Error::field("maxRating", "must be a whole number from 1 to 5")))
            .transpose()?,
    };
    let wanted = Wanted::read(&query, &ORDERS, filter)?;
    let found = store::reviews(&state.db, &wanted).await?;
    Ok(HttpResponse::Ok().json(wire::Reviews::of(&state.config, found)))
}

/// `PUT /api/admin/reviews/{id}/hide`
pub(super) async fn hide(
    admin: Admin,
    id: PathId<Review>,
    body: Json<Reason>,
    state: State,
) -> Result<HttpResponse> {
    decide(admin, *id, Some(body.checked()?), &state).await
}

/// `PUT /api/admin/reviews/{id}/restore`
pub(super) async fn restore(admin: Admin, id: PathId<Review>, state: State) -> Result<HttpResponse> {
    decide(admin, *id, None, &state).await
}

async fn decide(admin: Admin, id: Id<Review>, hide: Option<String>, state: &App) -> Result<HttpResponse> {
    let action = if hide.is_some() { Action::HideReview } else { Action::RestoreReview };
    let decision = decision(state, admin, action, Party::new("review", id), hide);
    let (review, changed) = store::decide(&state.db, id, &decision).await?;
    let message = match (changed, decision.hide) {
        (false, _) => wire::UNCHANGED,
        (true, Some(_)) => wire::HIDDEN,
        (true, None) => wire::RESTORED,
    };
    let review = wire::ReviewReply::of(&state.config, review);
    Ok(HttpResponse::Ok().json(wire::Decided { success: true, message, review }))
}
