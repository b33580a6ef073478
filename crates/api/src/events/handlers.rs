//! The endpoints of `/api/event`.

use actix_web::{HttpRequest, HttpResponse, web};
use shared::model::{Kind::Event, Listing, Shop};

use super::wire;
use crate::{
    catalogue::handlers as catalogue,
    error::Result,
    extract::{AnyPathId, PathId},
    idempotency::Key,
    identity::{Caller, Seller},
    state::State,
};

/// `POST /api/event/create-event`: a shop announces a sale for a limited time.
pub(super) async fn create(
    caller: Caller,
    key: Key,
    request: HttpRequest,
    payload: web::Payload,
    state: State,
) -> Result<HttpResponse> {
    catalogue::create(Event, &caller, &key, &request, payload, &state, wire::EventReply::from).await
}

/// `GET /api/event/get-all-events-shop`: every event of every shop, whatever the name says.
pub(super) async fn all(request: HttpRequest, state: State) -> Result<HttpResponse> {
    catalogue::all(Event, &request, &state, wire::EventsReply::from).await
}

/// `GET /api/event/get-all-events-shop/{id}`: the events of one shop.
pub(super) async fn of_shop(
    caller: Caller,
    id: AnyPathId<Shop>,
    request: HttpRequest,
    state: State,
) -> Result<HttpResponse> {
    catalogue::of_shop(Event, &caller, id.0, &request, &state, wire::EventsReply::from).await
}

/// `GET /api/event/get-event/{id}`: one event.
pub(super) async fn one(id: PathId<Listing>, request: HttpRequest, state: State) -> Result<HttpResponse> {
    catalogue::one(Event, *id, &request, &state, wire::EventReply::from).await
}

/// `PUT /api/event/update-event/{id}`: a shop changes an event of its own.
pub(super) async fn update(
    seller: Seller,
    id: PathId<Listing>,
    request: HttpRequest,
    payload: web::Payload,
    state: State,
) -> Result<HttpResponse> {
    let event = catalogue::update(Event, seller, *id, &request, payload, &state).await?;
    Ok(HttpResponse::Ok().json(wire::EventReply::from(event)))
}

/// `DELETE /api/event/delete-shop-event/{id}`: a shop calls an event off.
pub(super) async fn delete(caller: Caller, id: PathId<Listing>, state: State) -> Result<HttpResponse> {
    catalogue::delete(Event, &caller, *id, &state).await?;
    Ok(HttpResponse::Ok().json(wire::DELETED))
}
