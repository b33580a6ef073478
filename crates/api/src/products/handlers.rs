//! The endpoints of `/api/product`.

use actix_web::{HttpRequest, HttpResponse, web};
use shared::model::{
    Kind::{Event, Product},
    Listing, Shop,
};

use super::{
    rules::{self, CannotReview},
    store, wire,
};
use crate::{
    catalogue::{self, handlers as shared_handlers},
    error::{Error, Refusal, Result},
    extract::{AnyPathId, Json, PathId},
    idempotency::Key,
    identity::{Buyer, Caller, Seller},
    state::State,
};

/// `POST /api/product/create-product`: a shop puts something on sale.
pub(super) async fn create(
    caller: Caller,
    key: Key,
    request: HttpRequest,
    payload: web::Payload,
    state: State,
) -> Result<HttpResponse> {
    shared_handlers::create(Product, &caller, &key, &request, payload, &state, wire::ProductReply::from).await
}

/// `GET /api/product/get-all-products`: every product of every shop.
pub(super) async fn all(request: HttpRequest, state: State) -> Result<HttpResponse> {
    shared_handlers::all(Product, &request, &state, wire::ProductsReply::from).await
}

/// `GET /api/product/get-all-products-shop/{id}`: the products of one shop.
pub(super) async fn of_shop(
    caller: Caller,
    id: AnyPathId<Shop>,
    request: HttpRequest,
    state: State,
) -> Result<HttpResponse> {
    shared_handlers::of_shop(Product, &caller, id.0, &request, &state, wire::ProductsReply::from).await
}

/// `GET /api/product/get-product/{id}`: one product.
pub(super) async fn one(id: PathId<Listing>, request: HttpRequest, state: State) -> Result<HttpResponse> {
    shared_handlers::one(Product, *id, &request, &state, wire::ProductReply::from).await
}

/// `PUT /api/product/update-product/{id}`: a shop changes a product of its own.
pub(super) async fn update(
    seller: Seller,
    id: PathId<Listing>,
    request: HttpRequest,
    payload: web::Payload,
    state: State,
) -> Result<HttpResponse> {
    let product = shared_handlers::update(Product, seller, *id, &request, payload, &state).await?;
    Ok(HttpResponse::Ok().json(wire::ProductReply::from(product)))
}

/// `DELETE /api/product/delete-shop-product/{id}`: a shop takes a product off the market.
pub(super) async fn delete(caller: Caller, id: PathId<Listing>, state: State) -> Result<HttpResponse> {
    shared_handlers::delete(Product, &caller, *id, &state).await?;
    Ok(HttpResponse::Ok().json(wire::DELETED))
}

/// `PUT /api/product/create-new-review`: a buyer says what they think of something they bought.
pub(super) async fn review(buyer: Buyer, body: Json<wire::NewReview>, state: State) -> Result<HttpResponse> {
    let Buyer(buyer) = buyer;
    let wire::NewReview { rating, comment, product_id, order_id } = body.0;
    let opinion = rules::opinion(product_id.as_deref(), order_id.as_deref(), rating.as_deref(), comment)?;
    let reviewer = store::reviewer(&state.db, buyer).await?.ok_or(Error::Unauthenticated)?;
    let (db, now, product) = (state.db.clone(), state.clock.now(), opinion.product);
    let written = state
        .db
        .transaction(|session| {
            let (db, opinion, reviewer) = (db.clone(), opinion.clone(), reviewer.clone());
            Box::pin(async move {
                let bought = store::bought_in(session, &db, buyer, opinion.order)
                    .await?
                    .ok_or(Refusal::from(CannotReview::NoSuchOrder))?;
                rules::may_review(bought.status, &bought.cart, product).map_err(Refusal::from)?;
                if !store::put_review_in(session, &db, &opinion, &reviewer, now).await? {
                    return Ok::<_, Error>(false);
                }
                store::mark_reviewed_in(session, &db, buyer, opinion.order, product).await?;
                Ok(true)
            })
        })
        .await?;
    if !written {
        let event = catalogue::store::find(&state.db, Event, product).await?;
        let why = if event.is_some() { CannotReview::AnEvent } else { CannotReview::NoSuchProduct };
        return Err(Refusal::from(why).into());
    }
    Ok(HttpResponse::Ok().json(wire::REVIEWED))
}
