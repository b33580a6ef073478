//! The same under the names that clients of this family of back ends know. They ask for whole lists: they get the
//! latest thousand, and with `limit` or `cursor` a page.

use std::collections::HashMap;

use actix_web::HttpResponse;
use serde::Serialize;
use shared::{
    auth::Kind as Who,
    id::Id,
    model::{Kind, Shop, User},
};

use super::{
    accounts::{self, close::Closing},
    listings, orders,
    page::{Order, Page, Wanted},
};
use crate::{
    audit_log::{self, Action, Event},
    catalogue::wire::{Audience, ListingReply, Showing},
    error::Result,
    extract::{PathId, Query},
    identity::Admin,
    orders::wire::OrderReply,
    routes::{Route, delete, get},
    shops,
    state::{App, State},
};

/// So many where nobody asks for a page.
const MANY: i64 = 1_000;

pub(crate) fn of_users() -> Vec<Route> {
    vec![get("/admin-all-users", users), delete("/delete-user/{id}", delete_user)]
}

pub(crate) fn of_shops() -> Vec<Route> {
    vec![get("/admin-all-sellers", sellers), delete("/delete-seller/{id}", delete_seller)]
}

pub(crate) fn of_orders() -> Vec<Route> {
    vec![get("/admin-all-orders", all_orders)]
}

pub(crate) fn of_products() -> Vec<Route> {
    vec![get("/admin-all-products", products)]
}

pub(crate) fn of_events() -> Vec<Route> {
    vec![get("/admin-all-events", events)]
}

/// Which part of a list is asked for.
fn wanted<F: Default>(query: &Query, orders: &[Order]) -> Result<Wanted<F>> {
    let page = Wanted::read(query, orders, F::default())?;
    let whole = query.text("limit").is_none() && query.text("cursor").is_none();
    Ok(if whole { Wanted { limit: MANY, ..page } } else { page })
}

/// One of the lists.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    success: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    users: Option<Vec<accounts::UserReply>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sellers: Option<Vec<accounts::ShopReply>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    orders: Option<Vec<OrderReply>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    products: Option<Vec<ListingReply>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    events: Option<Vec<ListingReply>>,
    total: u64,
    next_cursor: Option<String>,
}

#[derive(Serialize)]
struct Deleted {
    success: bool,
    message: &'static str,
}

/// `GET /api/user/admin-all-users`
async fn users(_: Admin, query: Query, state: State) -> Result<HttpResponse> {
    let found = accounts::store::users(&state.db, &wanted(&query, &accounts::store::USER_ORDERS)?).await?;
    let Page { items, total, next: next_cursor } =
        found.map(|user| accounts::UserReply::of(&state.config, user));
    let listed = Listed { success: true, users: Some(items), total, next_cursor, ..Listed::default() };
    Ok(HttpResponse::Created().json(listed))
}

/// `DELETE /api/user/delete-user/{id}`: gives a shopper's account up for good.
async fn delete_user(admin: Admin, id: PathId<User>, state: State) -> Result<HttpResponse> {
    let closing = closing(&state, admin, Who::User, *id);
    accounts::close::close_user(&state.db, &state.outbox, *id, &closing).await?;
    Ok(HttpResponse::Created().json(Deleted { success: true, message: "User deleted successfully!" }))
}

/// `GET /api/shop/admin-all-sellers`
async fn sellers(_: Admin, query: Query, state: State) -> Result<HttpResponse> {
    let found = accounts::store::shops(&state.db, &wanted(&query, &accounts::store::SHOP_ORDERS)?).await?;
    let Page { items, total, next: next_cursor } =
        found.map(|shop| accounts::ShopReply::of(&state.config, shop));
    let listed = Listed { success: true, sellers: Some(items), total, next_cursor, ..Listed::default() };
    Ok(HttpResponse::Created().json(listed))
}

/// `DELETE /api/shop/delete-seller/{id}`: gives a shop up for good.
async fn delete_seller(admin: Admin, id: PathId<Shop>, state: State) -> Result<HttpResponse> {
    let closing = closing(&state, admin, Who::Seller, *id);
    accounts::close::close_shop(&state.db, &state.outbox, *id, &closing).await?;
    Ok(HttpResponse::Created().json(Deleted { success: true, message: "Seller deleted successfully!" }))
}

fn closing<A>(app: &App, admin: Admin, kind: Who, id: Id<A>) -> Closing {
    let event = Event::done(Action::CloseAccount, admin.party()).about(audit_log::account(kind, id));
    Closing { admin: admin.user, entry: app.audit_log.entry(event), now: app.clock.now() }
}

/// `GET /api/order/admin-all-orders`
async fn all_orders(_: Admin, query: Query, state: State) -> Result<HttpResponse> {
    let found = orders::store::orders(&state.db, &wanted(&query, &orders::store::ORDERS)?).await?;
    let Page { items, total, next: next_cursor } = found.map(|order| OrderReply::of(&state.config, order));
    let listed = Listed { success: true, orders: Some(items), total, next_cursor, ..Listed::default() };
    Ok(HttpResponse::Created().json(listed))
}

/// `GET /api/product/admin-all-products`
async fn products(_: Admin, query: Query, state: State) -> Result<HttpResponse> {
    let (items, total, next_cursor) = all_listings(Kind::Product, &query, &state).await?;
    let listed = Listed { success: true, products: Some(items), total, next_cursor, ..Listed::default() };
    Ok(HttpResponse::Created().json(listed))
}

/// `GET /api/event/admin-all-events`
async fn events(_: Admin, query: Query, state: State) -> Result<HttpResponse> {
    let (items, total, next_cursor) = all_listings(Kind::Event, &query, &state).await?;
    let listed = Listed { success: true, events: Some(items), total, next_cursor, ..Listed::default() };
    Ok(HttpResponse::Created().json(listed))
}

/// Listings as their owners see them.
async fn all_listings(
    kind: Kind,
    query: &Query,
    state: &App,
) -> Result<(Vec<ListingReply>, u64, Option<String>)> {
    let wanted = wanted(query, &listings::store::ORDERS)?;
    let Page { items, total, next } = listings::store::listings(&state.db, kind, &wanted).await?;
    let mut ids: Vec<Id<Shop>> = items.iter().map(|listing| listing.shop_id).collect();
    ids.sort_unstable();
    ids.dedup();
    let shops: HashMap<_, _> = shops::store::public_by_ids(&state.db, &ids).await?;
    let showing = Showing { config: &state.config, now: state.clock.now(), audience: Audience::Owner };
    Ok((ListingReply::all(items, kind, &shops, &showing), total, next))
}
