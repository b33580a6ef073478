use actix_web::HttpResponse;
use shared::{
    auth::Kind,
    id::Id,
    model::{Shop, User},
};

use super::{
    store::{self, Decision, SHOP_ORDERS, ShopFilter, ShopState, USER_ORDERS, UserFilter},
    wire,
};
use crate::{
    admin::{
        page::{self, Wanted},
        wire::Reason,
    },
    audit_log::{self, Action, Event},
    error::Result,
    extract::{Json, PathId, Query},
    identity::Admin,
    state::{App, State},
};

/// `GET /api/admin/users`: shoppers and administrators.
pub(crate) async fn users(_: Admin, query: Query, state: State) -> Result<HttpResponse> {
    let filter = UserFilter {
        q: page::search(&query)?,
        blocked: page::flag(&query, "blocked")?,
        admin: page::choice(&query, "role", &[("user", false), ("Admin", true)])?,
    };
    let wanted = Wanted::read(&query, &USER_ORDERS, filter)?;
    let found = store::users(&state.db, &wanted).await?;
    Ok(HttpResponse::Ok().json(wire::Users::of(&state.config, found)))
}

/// `PUT /api/admin/users/{id}/block`: ends a shopper's sessions, and lets them have no new one.
pub(super) async fn block_user(
    admin: Admin,
    id: PathId<User>,
    body: Json<Reason>,
    state: State,
) -> Result<HttpResponse> {
    let decision = decision(&state, admin, Kind::User, *id, Some(body.checked()?));
    user_decided(&state, *id, &decision, wire::BLOCKED).await
}

/// `PUT /api/admin/users/{id}/unblock`
pub(super) async fn unblock_user(admin: Admin, id: PathId<User>, state: State) -> Result<HttpResponse> {
    let decision = decision(&state, admin, Kind::User, *id, None);
    user_decided(&state, *id, &decision, wire::UNBLOCKED).await
}

async fn user_decided(
    state: &App,
    id: Id<User>,
    decision: &Decision,
    done: &'static str,
) -> Result<HttpResponse> {
    let (user, changed) = store::decide_user(&state.db, id, decision).await?;
    let message = if changed { done } else { wire::UNCHANGED };
    let user = wire::UserReply::of(&state.config, user);
    Ok(HttpResponse::Ok().json(wire::UserDecided { success: true, message, user }))
}

/// `GET /api/admin/shops`
pub(crate) async fn shops(_: Admin, query: Query, state: State) -> Result<HttpResponse> {
    let filter =
        ShopFilter { q: page::search(&query)?, state: page::choice(&query, "state", &ShopState::ALL)? };
    let wanted = Wanted::read(&query, &SHOP_ORDERS, filter)?;
    let found = store::shops(&state.db, &wanted).await?;
    Ok(HttpResponse::Ok().json(wire::Shops::of(&state.config, found)))
}

/// `PUT /api/admin/shops/{id}/block`: ends a shop's sessions, and takes what it sells off the market.
pub(super) async fn block_shop(
    admin: Admin,
    id: PathId<Shop>,
    body: Json<Reason>,
    state: State,
) -> Result<HttpResponse> {
    let decision = decision(&state, admin, Kind::Seller, *id, Some(body.checked()?));
    shop_decided(&state, store::decide_shop(&state.db, *id, &decision).await?, wire::SHOP_BLOCKED)
}

/// `PUT /api/admin/shops/{id}/unblock`
pub(super) async fn unblock_shop(admin: Admin, id: PathId<Shop>, state: State) -> Result<HttpResponse> {
    let decision = decision(&state, admin, Kind::Seller, *id, None);
    shop_decided(&state, store::decide_shop(&state.db, *id, &decision).await?, wire::UNBLOCKED)
}

/// `PUT /api/admin/shops/{id}/approve`: lets a new shop sell.
pub(super) async fn approve_shop(admin: Admin, id: PathId<Shop>, state: State) -> Result<HttpResponse> {
    let event = Event::done(Action::ApproveShop, admin.party()).about(audit_log::account(Kind::Seller, *id));
    let entry = state.audit_log.entry(event);
    shop_decided(&state, store::approve(&state.db, *id, &entry).await?, wire::APPROVED)
}

fn shop_decided(
    state: &App,
    (shop, changed): store::Decided<Shop>,
    done: &'static str,
) -> Result<HttpResponse> {
    let message = if changed { done } else { wire::UNCHANGED };
    let shop = wire::ShopReply::of(&state.config, shop);
    Ok(HttpResponse::Ok().json(wire::ShopDecided { success: true, message, shop }))
}

/// What an administrator decides, with what the audit log says of it.
pub(crate) fn decision<A>(app: &App, admin: Admin, kind: Kind, id: Id<A>, block: Option<String>) -> Decision {
    let action = if block.is_some() { Action::BlockAccount } else { Action::UnblockAccount };
    let mut event = Event::done(action, admin.party()).about(audit_log::account(kind, id));
    event.note.clone_from(&block);
    Decision { block, admin: admin.user, entry: app.audit_log.entry(event), now: app.clock.now() }
}
