use actix_web::HttpResponse;
use shared::{
    id::Id,
    model::{Kind, Listing, Party},
};

use super::{
    store::{self, Decision, ListingFilter, ORDERS},
    wire,
};
use crate::{
    admin::{
        page::{self, Wanted},
        wire::Reason,
    },
    audit_log::{Action, Event},
    error::Result,
    extract::{Json, PathId, Query},
    identity::Admin,
    shops,
    state::{App, State},
};

/// `GET /api/admin/products`
pub(crate) async fn products(_: Admin, query: Query, state: State) -> Result<HttpResponse> {
    list(Kind::Product, &query, &state).await
}

/// `PUT /api/admin/products/{id}/hide`
pub(super) async fn hide_product(
    admin: Admin,
    id: PathId<Listing>,
    body: Json<Reason>,
    state: State,
) -> Result<HttpResponse> {
    decide(Kind::Product, admin, *id, Some(body.checked()?), &state).await
}

/// `PUT /api/admin/products/{id}/restore`
pub(super) async fn restore_product(admin: Admin, id: PathId<Listing>, state: State) -> Result<HttpResponse> {
    decide(Kind::Product, admin, *id, None, &state).await
}

/// `GET /api/admin/events`
pub(crate) async fn events(_: Admin, query: Query, state: State) -> Result<HttpResponse> {
    list(Kind::Event, &query, &state).await
}

/// `PUT /api/admin/events/{id}/hide`
pub(super) async fn hide_event(
    admin: Admin,
    id: PathId<Listing>,
    body: Json<Reason>,
    state: State,
) -> Result<HttpResponse> {
    decide(Kind::Event, admin, *id, Some(body.checked()?), &state).await
}

/// `PUT /api/admin/events/{id}/restore`
pub(super) async fn restore_event(admin: Admin, id: PathId<Listing>, state: State) -> Result<HttpResponse> {
    decide(Kind::Event, admin, *id, None, &state).await
}

async fn list(kind: Kind, query: &Query, state: &App) -> Result<HttpResponse> {
    let filter = ListingFilter {
        q: page::search(query)?,
        shop: page::id(query, "shop")?,
        category: query.text("category").map(str::to_owned),
        hidden: page::flag(query, "hidden")?,
    };
    let wanted = Wanted::read(query, &ORDERS, filter)?;
    let found = store::listings(&state.db, kind, &wanted).await?;
    let mut shops: Vec<_> = found.items.iter().map(|listing| listing.shop_id).collect();
    shops.sort_unstable();
    shops.dedup();
    let shops = shops::store::public_by_ids(&state.db, &shops).await?;
    Ok(HttpResponse::Ok().json(wire::Listings::of(&state.config, kind, found, &shops)))
}

async fn decide(
    kind: Kind,
    admin: Admin,
    id: Id<Listing>,
    hide: Option<String>,
    state: &App,
) -> Result<HttpResponse> {
    let action = if hide.is_some() { Action::HideListing } else { Action::RestoreListing };
    let decision = decision(state, admin, action, Party::new(kind.word(), id), hide);
    let (listing, changed) = store::decide(&state.db, kind, id, &decision).await?;
    let message = match (changed, decision.hide) {
        (false, _) => wire::UNCHANGED,
        (true, Some(_)) => wire::HIDDEN,
        (true, None) => wire::RESTORED,
    };
    let shop = shops::store::find_public(&state.db, listing.shop_id).await?;
    let listing = wire::ListingReply::of(&state.config, listing, shop.as_ref());
    Ok(HttpResponse::Ok().json(wire::Decided { success: true, message, listing }))
}

/// What an administrator decides, with what the audit log says of it.
pub(crate) fn decision(
    app: &App,
    admin: Admin,
    action: Action,
    about: Party,
    hide: Option<String>,
) -> Decision {
    let mut event = Event::done(action, admin.party()).about(about);
    event.note.clone_from(&hide);
    Decision { hide, admin: admin.user, entry: app.audit_log.entry(event), now: app.clock.now() }
}
