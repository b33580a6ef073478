use actix_web::HttpResponse;
use shared::money::Money;

use super::{store, wire};
use crate::{
    error::{Error, Result},
    extract::Json,
    identity::Seller,
    state::State,
};

/// `POST /api/withDraw/create-withdraw-request`: a shop asks to be paid out.
pub(super) async fn create(
    Seller(shop): Seller,
    body: Json<wire::NewWithdrawal>,
    state: State,
) -> Result<HttpResponse> {
    let amount = match body.amount.as_deref().map(Money::parse_exact) {
        Some(Ok(amount)) => amount,
        Some(Err(why)) => return Err(Error::field("amount", why.to_string())),
        None => return Err(Error::field("amount", "is required")),
    };
    let minimum = state.config.min_withdrawal;
    if amount < minimum || amount <= Money::ZERO {
        return Err(Error::field("amount", format!("must be at least {minimum}")));
    }
    let withdrawal = store::create(&state.db, shop, amount, state.clock.now()).await?;
    Ok(HttpResponse::Created().json(wire::WithdrawalCreated { success: true, withdraw: withdrawal.into() }))
}

/// `GET /api/withDraw/get-withdraw-requests`: a shop's own requests, newest first.
pub(super) async fn of_shop(Seller(shop): Seller, state: State) -> Result<HttpResponse> {
    let withdraws = store::of_shop(&state.db, shop).await?.into_iter().map(Into::into).collect();
    Ok(HttpResponse::Ok().json(wire::WithdrawalList { success: true, withdraws }))
}
