use actix_web::HttpResponse;
use shared::money::Money;

use super::{store, wire};
use crate::{
    error::{Error, Result},
    extract::Json,
    idempotency::{self, Answer, Key},
    identity::Seller,
    state::State,
};

/// `POST /api/withDraw/create-withdraw-request`: a shop asks to be paid out.
pub(super) async fn create(
    Seller(shop): Seller,
    key: Key,
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
    let now = state.clock.now();
    let memory = key.memory("create-withdrawal", shop, &amount, now);
    let db = state.db.clone();
    let given = idempotency::once(&state.db, memory, move |session| {
        let db = db.clone();
        Box::pin(async move {
            let withdrawal = store::create_in(&db, session, shop, amount, now).await?;
            Answer::created(&wire::WithdrawalCreated { success: true, withdraw: withdrawal.into() })
        })
    });
    Ok(given.await?.into())
}

/// `GET /api/withDraw/get-withdraw-requests`: a shop's own requests, newest first.
pub(super) async fn of_shop(Seller(shop): Seller, state: State) -> Result<HttpResponse> {
    let withdraws = store::of_shop(&state.db, shop).await?.into_iter().map(Into::into).collect();
    Ok(HttpResponse::Ok().json(wire::WithdrawalList { success: true, withdraws }))
}
