use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{ACCEPT, CONTENT_SECURITY_POLICY, ContentType},
};
use bson::oid::ObjectId;
use shared::auth::Kind;

use super::{
    rules::{Sort, Token},
    store, wire,
};
use crate::{
    error::{Error, Result},
    extract::{Json, Query},
    identity::{Buyer, Seller},
    state::State,
};

/// A page with one button, which leads back here.
const PAGE: &str = "default-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// `GET /api/user/notifications`: which mails a shopper gets besides the necessary ones.
pub(super) async fn of_user(Buyer(user): Buyer, state: State) -> Result<HttpResponse> {
    shown(&state, Kind::User, user.oid()).await
}

/// `PUT /api/user/notifications`: a shopper chooses.
pub(super) async fn set_of_user(
    Buyer(user): Buyer,
    body: Json<wire::OfUser>,
    state: State,
) -> Result<HttpResponse> {
    let wanted = body.order_updates.ok_or_else(|| Error::field("orderUpdates", "must be true or false"))?;
    store::set(&state.db, user.oid(), Sort::OrderUpdates, wanted).await?;
    shown(&state, Kind::User, user.oid()).await
}

/// `GET /api/shop/notifications`: which mails a shop gets besides the necessary ones.
pub(super) async fn of_shop(Seller(shop): Seller, state: State) -> Result<HttpResponse> {
    shown(&state, Kind::Seller, shop.oid()).await
}

/// `PUT /api/shop/notifications`: a shop chooses.
pub(super) async fn set_of_shop(
    Seller(shop): Seller,
    body: Json<wire::OfShop>,
    state: State,
) -> Result<HttpResponse> {
    let wanted = body.low_stock.ok_or_else(|| Error::field("lowStock", "must be true or false"))?;
    store::set(&state.db, shop.oid(), Sort::LowStock, wanted).await?;
    shown(&state, Kind::Seller, shop.oid()).await
}

async fn shown(state: &State, kind: Kind, id: ObjectId) -> Result<HttpResponse> {
    let ended = store::find(&state.db, kind, id).await?.ok_or(Error::Unauthenticated)?;
    let is_on = |sort: Sort| (sort.kind() == kind).then(|| !ended.contains(&sort));
    let (order_updates, low_stock) = (is_on(Sort::OrderUpdates), is_on(Sort::LowStock));
    Ok(HttpResponse::Ok().json(wire::Settings { success: true, order_updates, low_stock }))
}

/// What proves it stands behind the question mark, which is not logged.
fn read(query: &Query, state: &State) -> Result<Token> {
    let token = query.text("token").ok_or_else(|| Error::field("token", "is required"))?;
    let token = Token::read(token, state.config.jwt_secret.expose());
    token.ok_or_else(|| wire::UNKNOWN_LINK.into())
}

/// `GET /api/unsubscribe`: the page that a link in a mail leads to. It asks: programs follow links too.
pub(super) async fn ask(query: Query, state: State) -> Result<HttpResponse> {
    Ok(page(wire::question(read(&query, &state)?.sort)))
}

/// `POST /api/unsubscribe`: ends the sort of mails that the link was in.
pub(super) async fn unsubscribe(query: Query, request: HttpRequest, state: State) -> Result<HttpResponse> {
    let Token { account, sort } = read(&query, &state)?;
    // Whose account is gone gets no mails either.
    store::set(&state.db, account, sort, false).await?;
    let accepts = request.headers().get(ACCEPT).and_then(|accepts| accepts.to_str().ok());
    if accepts.is_some_and(|accepts| accepts.contains("text/html")) {
        return Ok(page(wire::done(sort)));
    }
    Ok(HttpResponse::Ok().json(wire::Ended { success: true, message: wire::ended(sort) }))
}

fn page(html: String) -> HttpResponse {
    HttpResponse::Ok()
        .content_type(ContentType::html())
        .insert_header((CONTENT_SECURITY_POLICY, PAGE))
        .body(html)
}
