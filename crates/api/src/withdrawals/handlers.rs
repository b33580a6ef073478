use actix_web::HttpResponse;
use shared::{
    model::{Party, Withdrawal},
    money::Money,
};

use super::{rules, store, wire};
use crate::{
    accounts::rules as account_rules,
    admin::page::{self, Wanted},
    audit_log::{Action, Event},
    error::{Error, Result},
    extract::{Json, PathId, Query},
    idempotency::{self, Answer, Key},
    identity::{Admin, Seller},
    state::State,
};

/// A reason is something to read, not a letter.
const LONGEST_REASON: usize = 500;

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
    let _turn = state.db.turn(shop).await;
    let (db, outbox) = (state.db.clone(), state.outbox.clone());
    let given = idempotency::once(&state.db, memory, move |session| {
        let (db, outbox) = (db.clone(), outbox.clone());
        Box::pin(async move {
            let withdrawal = store::create_in(&db, &outbox, session, shop, amount, now).await?;
            Answer::created(&wire::WithdrawalCreated { success: true, withdraw: withdrawal.into() })
        })
    });
    let given = given.await?;
    state.outbox.wake();
    Ok(given.into())
}

/// `GET /api/withDraw/get-withdraw-requests`: a shop's own requests, newest first.
pub(super) async fn of_shop(Seller(shop): Seller, state: State) -> Result<HttpResponse> {
    let withdraws = store::of_shop(&state.db, shop).await?.into_iter().map(Into::into).collect();
    Ok(HttpResponse::Ok().json(wire::WithdrawalList { success: true, withdraws }))
}

/// `GET /api/withDraw/get-all-withdraw-request` and `GET /api/admin/withdrawals`: every shop's requests.
pub(crate) async fn all(_: Admin, query: Query, state: State) -> Result<HttpResponse> {
    let wanted = match query.text("status") {
        Some(text) => Some(rules::State::of(text).ok_or(Error::field("status", wire::STATES))?),
        None => None,
    };
    let filter = store::WithdrawalFilter { state: wanted, shop: page::id(&query, "shop")? };
    let wanted = Wanted::read(&query, &store::ORDERS, filter)?;
    let found = store::all(&state.db, &wanted).await?;
    Ok(HttpResponse::Ok().json(wire::AllWithdrawals::from(found)))
}

/// `PUT /api/withDraw/update-withdraw-request/{id}`: an administrator has paid it out, or rejects it.
pub(super) async fn decide(
    admin: Admin,
    id: PathId<Withdrawal>,
    body: Json<wire::Decision>,
    state: State,
) -> Result<HttpResponse> {
    let chosen = match (&body.status, &body.seller_id) {
        // Clients that know of nothing but approval name the shop alone.
        (None, Some(_)) => Some(rules::State::Succeeded),
        (Some(Some(text)), _) => rules::State::of(text).filter(|to| *to != rules::State::Processing),
        _ => None,
    };
    let to = chosen.ok_or(Error::field("status", wire::DECISIONS))?;
    let reason = match body.reason.as_deref().map(str::trim).filter(|reason| !reason.is_empty()) {
        Some(reason) => Some(
            account_rules::line(Some(reason), LONGEST_REASON, wire::REASON)
                .map_err(|why| Error::field("reason", why))?,
        ),
        None => None,
    };
    let decided = Event::done(Action::DecideWithdrawal, admin.party());
    let decided = decided.about(Party::new("withdrawal", *id)).note(to.text());
    let decision = store::Decision {
        entry: state.audit_log.entry(decided),
        id: *id,
        to,
        reason,
        seller: body.seller_id.clone(),
        admin,
        four_eyes: state.config.withdrawal_four_eyes,
        now: state.clock.now(),
    };
    let decided = store::decide(&state.db, &state.outbox, decision).await?;
    Ok(HttpResponse::Ok().json(wire::Decided::from(decided)))
}
