use actix_web::{HttpResponse, web};
use shared::{
    clock::plus,
    model::{Order, Party, Payment, Settled},
};
use tracing::info;

use super::{
    store,
    wire::{self, Cursor, Section},
};
use crate::{
    accounts::rules as account_rules,
    audit_log::{Action, Event},
    error::{Error, Result},
    extract::{Json, Query},
    identity::Admin,
    payments::{GatewayPayment, PaymentState, claims, store as payments},
    state::State,
};

/// A note is something to read, not a letter.
const LONGEST_NOTE: usize = 500;
/// Longer than any id of PayPal's.
const LONGEST_CAPTURE: usize = 100;

/// `GET /api/payment/needing-attention`: what waits for an administrator, payments before claims, the oldest
/// first.
pub(crate) async fn list(_: Admin, query: Query, state: State) -> Result<HttpResponse> {
    let after = query.cursor(Cursor::parse)?;
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
    let said = if decision == Settled::Return { "return" } else { "keep" };
    let event = Event::done(Action::SettlePayment, admin.party());
    let entry = state.audit_log.entry(event.about(Party::new("payment", &id)).note(said));
    let wanted = store::Decision { id, decision, note, admin: admin.user, entry, now: state.clock.now() };
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

/// `PUT /api/payment/verify-claim/{checkoutId}`: an administrator says which PayPal payment paid for a checkout.
///
/// What PayPal knows of it must fit. A payment to an account that is not connected here PayPal does not tell us of:
/// then the administrator's word counts, and it is kept who gave it.
pub(super) async fn verify_claim(
    admin: Admin,
    checkout: web::Path<String>,
    body: Json<wire::Verification>,
    state: State,
) -> Result<HttpResponse> {
    let capture = account_rules::line(body.capture.as_deref(), LONGEST_CAPTURE, wire::CAPTURE)
        .map_err(|why| Error::field("capture", why))?;
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if capture.is_empty() || !capture.chars().all(is_plain) {
        return Err(Error::field("capture", wire::CAPTURE));
    }
    // As PayPal writes its ids: what it knows must not pass for something that it does not know.
    let capture = capture.to_ascii_uppercase();
    let orders = store::of_checkout(&state.db, &checkout).await?;
    let by_paypal = |order: &Order| {
        order.payment.as_ref().is_some_and(|payment| payment.kind.as_deref() == Some("Paypal"))
    };
    if orders.is_empty() || !orders.iter().all(by_paypal) {
        return Err(wire::NO_CLAIM.into());
    }
    let now = state.clock.now();
    let known = match state.gateways.paypal() {
        Ok(gateway) => gateway.look_up(&capture).await?,
        Err(_) => None,
    };
    let by_word = known.is_none();
    let payment = match known {
        Some(known) => {
            fits(&known, &state.config.currency)?;
            known.record("paypal", now)
        }
        None => Payment {
            currency: Some(state.config.currency.clone()),
            payer: orders.first().and_then(|order| order.payment.as_ref()?.id.clone()),
            ..Payment::new(capture, "paypal".to_owned(), orders.iter().map(|order| order.total).sum(), now)
        },
    };
    let payment = Payment { settled_by: Some(admin.user.hex()), settled_at: Some(now), ..payment };
    let id = payment.id.clone();
    let event = Event::done(Action::VerifyClaim, admin.party());
    let event = event.about(Party::new("checkout", checkout.as_str())).note(format!("by payment {id}"));
    let entry = state.audit_log.entry(event);
    let changed = match claims::verify(&state, &checkout, payment.clone(), &entry).await {
        // Taken down by somebody else in this very moment.
        Err(error) if error.violates("_id_") => claims::verify(&state, &checkout, payment, &entry).await?,
        outcome => outcome?,
    }
    .is_some();
    let used = payments::of_orders(&state.db, &orders).await?.ok_or(wire::NO_CLAIM)?;
    if used.id != id {
        return Err(wire::verified_otherwise(&used.id).into());
    }
    if changed {
        let (checkout, admin) = (checkout.as_str(), admin.user.hex());
        info!(checkout, payment = id, admin, by_word, "an administrator verified a payment by PayPal");
    }
    Ok(HttpResponse::Ok().json(wire::verified(used, by_word, changed)))
}

/// Whether the gateway has taken the money, and in our currency.
fn fits(payment: &GatewayPayment, currency: &str) -> Result<()> {
    let why = match &payment.state {
        PaymentState::Succeeded if payment.currency == currency => return Ok(()),
        PaymentState::Succeeded => format!("Payment {} is in {}", payment.id, payment.currency),
        PaymentState::Waiting(why) => format!("Payment {} has not succeeded yet: {why}", payment.id),
        PaymentState::Failed(why) => format!("Payment {} failed: {why}", payment.id),
    };
    Err(wire::NOT_PAID.saying(why).into())
}

fn note(text: Option<&str>) -> Result<Option<String>> {
    let Some(text) = text.map(str::trim).filter(|text| !text.is_empty()) else { return Ok(None) };
    account_rules::line(Some(text), LONGEST_NOTE, wire::NOTE)
        .map(Some)
        .map_err(|why| Error::field("note", why))
}
