use actix_web::{HttpResponse, web};
use shared::{clock::plus, model::Settled};
use tracing::info;

use super::{
    store,
    wire::{self, Cursor, Section},
};
use crate::{
    accounts::rules as account_rules,
    error::{Error, Result},
    extract::{Json, Query},
    identity::Admin,
    state::State,
};

/// A note is something to read, not a letter.
const LONGEST_NOTE: usize = 500;

/// `GET /api/payment/needing-attention`: what waits for an administrator, payments before claims, the oldest
/// first.
pub(super) async fn list(_: Admin, query: Query, state: State) -> Result<HttpResponse> {
    let after = match query.text("cursor") {
        Some(text) => Some(Cursor::parse(text).ok_or(Error::field("cursor", wire::CURSOR))?),
        None => None,
    };
    let limit = query.limit()?;
    let ttl = i64::try_from(state.config.payment_verify_ttl.as_millis()).unwrap_or(i64::MAX);
    let deadline = plus(state.clock.now(), ttl.saturating_neg());
    let section = |section| after.as_ref().filter(|after| after.section == section);
    // One more than asked for tells whether there is another page.
    let payments = match section(Section::Claims) {
        Some(_) => Vec::new(),
        None => store::payments(&state.db, section(Section::Payments), limit + 1).await?,
    };
    let left = limit + 1 - i64::try_from(payments.len()).unwrap_or(limit);
    let claims = match left {
        1.. => store::claims(&state.db, deadline, section(Section::Claims), left).await?,
        _ => Vec::new(),
    };
    let of_payments =
        payments.iter().map(|one| Cursor { section: Section::Payments, at: one.at, id: one.id.clone() });
    let of_claims =
        claims.iter().map(|one| Cursor { section: Section::Claims, at: one.at, id: one.checkout.clone() });
    let cursors: Vec<Cursor> = of_payments.chain(of_claims).collect();
    let shown = usize::try_from(limit).unwrap_or(usize::MAX);
    let last = shown.checked_sub(1).filter(|_| cursors.len() > shown).and_then(|last| cursors.get(last));
    let next_cursor = last.map(Cursor::text);
    let of_claims = shown.saturating_sub(payments.len());
    Ok(HttpResponse::Ok().json(wire::NeedingAttention {
        success: true,
        payments: payments.into_iter().take(shown).map(Into::into).collect(),
        claims: claims.into_iter().take(of_claims).map(Into::into).collect(),
        refunds_given_up: wire::GivenUp {
            count: store::refunds_given_up(&state.db).await?,
            command: "souk outbox",
        },
        next_cursor,
    }))
}

/// `PUT /api/payment/settle/{id}`: an administrator has a payment returned that nobody uses, or has looked at it.
pub(super) async fn settle(
    admin: Admin,
    id: web::Path<String>,
    body: Json<wire::Settlement>,
    state: State,
) -> Result<HttpResponse> {
    let decision = match body.decision.as_deref() {
        Some("return") => Settled::Return,
        Some("keep") => Settled::Keep,
        _ => return Err(Error::field("decision", wire::DECISIONS)),
    };
    let note = note(body.note.as_deref())?;
    let id = id.into_inner();
    let wanted = store::Decision { id, decision, note, admin: admin.user, now: state.clock.now() };
    let (payment, changed) = store::settle(&state.db, &state.outbox, wanted).await?;
    if changed {
        info!(
            payment = payment.id,
            admin = admin.user.hex(),
            ?decision,
            "an administrator settled a payment"
        );
    }
    Ok(HttpResponse::Ok().json(wire::settled(payment, changed)))
}

fn note(text: Option<&str>) -> Result<Option<String>> {
    let Some(text) = text.map(str::trim).filter(|text| !text.is_empty()) else { return Ok(None) };
    account_rules::line(Some(text), LONGEST_NOTE, wire::NOTE)
        .map(Some)
        .map_err(|why| Error::field("note", why))
}
