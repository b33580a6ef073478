use actix_web::HttpResponse;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use shared::{
    auth::random_bytes,
    clock::Timestamp,
    id::Id,
    model::{DeliveryState, Shop, User, WebhookEndpoint},
};

use super::{
    rules,
    store::{self, Again, Change},
    wire,
};
use crate::{
    accounts::rules as account_rules,
    error::{Error, Result},
    extract::{Json, PathId, Query},
    idempotency::{self, Answer, Key},
    identity::SellerOrAdmin,
    state::State,
};

/// A description is a name, not a manual.
const LONGEST_DESCRIPTION: usize = 200;

/// `POST /api/webhooks`: a shop, or an administrator for all shops, names an address that is told what happens.
pub(super) async fn create(
    keeper: SellerOrAdmin,
    key: Key,
    body: Json<wire::NewEndpoint>,
    state: State,
) -> Result<HttpResponse> {
    let (shop, made_by) = scope(keeper, body.scope.as_deref())?;
    let events = kinds(body.events.as_deref().ok_or_else(|| Error::field("events", wire::NO_EVENTS))?)?;
    let description = description(body.description.as_deref().unwrap_or_default())?;
    let url = url(&state, body.url.as_deref().ok_or_else(|| Error::field("url", "is required"))?).await?;
    let now = state.clock.now();
    let caller = shop.map_or_else(|| format!("platform:{}", made_by.unwrap_or_default()), Id::hex);
    let memory = key.memory("create-webhook", caller, &(&url, &events, &description), now);
    let endpoint = WebhookEndpoint {
        id: Id::new(),
        shop,
        made_by,
        url,
        events,
        description,
        secret: new_secret()?,
        former: None,
        paused: false,
        disabled_at: None,
        failing_since: None,
        created_at: now,
        updated_at: now,
    };
    let _turn = state.db.turn(shop.unwrap_or_default()).await;
    let db = state.db.clone();
    let given = idempotency::once(&state.db, memory, move |session| {
        let (db, endpoint) = (db.clone(), endpoint.clone());
        Box::pin(async move {
            if store::count_in(&db, session, endpoint.shop).await? >= rules::MOST_ENDPOINTS {
                return Err(wire::TOO_MANY.into());
            }
            store::add_in(&db, session, &endpoint).await?;
            let secret = Some(endpoint.secret.clone());
            Answer::created(&wire::EndpointOne { success: true, webhook: endpoint.into(), secret })
        })
    });
    Ok(given.await?.into())
}

/// `GET /api/webhooks`: the caller's, the latest first.
pub(crate) async fn list(keeper: SellerOrAdmin, state: State) -> Result<HttpResponse> {
    let webhooks = store::list(&state.db, keeper).await?.into_iter().map(Into::into).collect();
    Ok(HttpResponse::Ok().json(wire::EndpointList { success: true, webhooks }))
}

/// `GET /api/webhooks/{id}`: one of them.
pub(super) async fn one(
    keeper: SellerOrAdmin,
    id: PathId<WebhookEndpoint>,
    state: State,
) -> Result<HttpResponse> {
    answer(store::one(&state.db, keeper, *id).await?, None)
}

/// `PUT /api/webhooks/{id}`: another address, other events, another description; pauses, and resumes.
pub(super) async fn change(
    keeper: SellerOrAdmin,
    id: PathId<WebhookEndpoint>,
    body: Json<wire::ChangedEndpoint>,
    state: State,
) -> Result<HttpResponse> {
    let events = body.events.as_deref().map(kinds).transpose()?;
    let description = body.description.as_deref().map(description).transpose()?;
    let url = match &body.url {
        Some(text) => Some(url(&state, text).await?),
        None => None,
    };
    let change = Change { url, events, description, paused: body.paused };
    let changed = store::change(&state.db, keeper, *id, change, state.clock.now()).await?;
    state.webhooks.wake.notify_one();
    answer(changed, None)
}

/// `DELETE /api/webhooks/{id}`: nothing more is sent to it, and what waits is forgotten.
pub(super) async fn remove(
    keeper: SellerOrAdmin,
    id: PathId<WebhookEndpoint>,
    state: State,
) -> Result<HttpResponse> {
    if !store::remove(&state.db, keeper, *id).await? {
        return Err(wire::NOT_FOUND.into());
    }
    Ok(HttpResponse::Ok().json(wire::Message { success: true, message: wire::REMOVED }))
}

/// `PUT /api/webhooks/{id}/rotate-secret`: another secret. The present one signs too for a day.
pub(super) async fn rotate(
    keeper: SellerOrAdmin,
    id: PathId<WebhookEndpoint>,
    state: State,
) -> Result<HttpResponse> {
    let secret = new_secret()?;
    let changed = store::rotate(&state.db, keeper, *id, &secret, state.clock.now()).await?;
    answer(changed, Some(secret))
}

/// `PUT /api/webhooks/{id}/test`: sends an event that says nothing but that it has arrived.
pub(super) async fn test(
    keeper: SellerOrAdmin,
    id: PathId<WebhookEndpoint>,
    state: State,
) -> Result<HttpResponse> {
    let endpoint = store::one(&state.db, keeper, *id).await?.ok_or(wire::NOT_FOUND)?;
    if endpoint.paused || endpoint.disabled_at.is_some() {
        return Err(wire::NOT_ACTIVE.into());
    }
    let delivery = store::test(&state.db, endpoint.id, state.clock.now()).await?.into();
    state.webhooks.wake.notify_one();
    Ok(HttpResponse::Ok().json(wire::DeliveryOne { success: true, delivery }))
}

/// `GET /api/webhooks/{id}/deliveries`: what was and is to be sent, the latest first, and how it went.
pub(super) async fn deliveries(
    keeper: SellerOrAdmin,
    id: PathId<WebhookEndpoint>,
    query: Query,
    state: State,
) -> Result<HttpResponse> {
    let wanted = match query.text("status") {
        Some(name) => Some(
            [DeliveryState::Waiting, DeliveryState::Delivered, DeliveryState::Failed]
                .into_iter()
                .find(|state| state.name() == name)
                .ok_or(Error::field("status", wire::STATUS))?,
        ),
        None => None,
    };
    let before = query.cursor(|text| text.parse().ok())?;
    let wanted = store::Wanted { state: wanted, before, limit: query.limit()? };
    let endpoint = store::one(&state.db, keeper, *id).await?.ok_or(wire::NOT_FOUND)?;
    let (page, more) = store::deliveries(&state.db, endpoint.id, &wanted).await?;
    let next_cursor = page.last().filter(|_| more).map(|last| last.id.hex());
    let deliveries = page.into_iter().map(Into::into).collect();
    Ok(HttpResponse::Ok().json(wire::DeliveryPage { success: true, deliveries, next_cursor }))
}

/// `PUT /api/webhooks/{id}/replay`: sends one delivery again, or all that were given up since a time.
pub(super) async fn replay(
    keeper: SellerOrAdmin,
    id: PathId<WebhookEndpoint>,
    body: Json<wire::Replay>,
    state: State,
) -> Result<HttpResponse> {
    let again = match (body.delivery.as_deref(), body.since.as_deref()) {
        (Some(delivery), None) => {
            Again::One(delivery.parse().or(Err(Error::field("delivery", "must be the id of a delivery")))?)
        }
        (None, Some(since)) => {
            let since = Timestamp::parse_rfc3339_str(since.trim());
            Again::FailedSince(since.or(Err(Error::field("since", wire::SINCE)))?)
        }
        _ => return Err(Error::field("delivery", wire::ONE_OF_TWO)),
    };
    let endpoint = store::one(&state.db, keeper, *id).await?.ok_or(wire::NOT_FOUND)?;
    let replayed = store::replay(&state.db, endpoint.id, again, state.clock.now()).await?;
    state.webhooks.wake.notify_one();
    Ok(HttpResponse::Ok().json(wire::Replayed { success: true, replayed }))
}

fn answer(endpoint: Option<WebhookEndpoint>, secret: Option<String>) -> Result<HttpResponse> {
    let webhook = endpoint.ok_or(wire::NOT_FOUND)?.into();
    Ok(HttpResponse::Ok().json(wire::EndpointOne { success: true, webhook, secret }))
}

/// The shop whose it is, or the administrator who has made it for all.
type Scope = (Option<Id<Shop>>, Option<Id<User>>);

/// Whose a new one is: the shop's where there is a shop, unless the administrator says that it is for all.
fn scope(keeper: SellerOrAdmin, wanted: Option<&str>) -> Result<Scope> {
    match (wanted, keeper.shop, keeper.admin) {
        (Some("shop") | None, Some(shop), _) => Ok((Some(shop), None)),
        (Some("platform") | None, _, Some(admin)) => Ok((None, Some(admin))),
        (Some("shop"), None, _) => Err(wire::NO_SHOP.into()),
        (Some("platform"), _, None) => Err(wire::NO_ADMIN.into()),
        _ => Err(Error::field("scope", wire::SCOPE)),
    }
}

fn kinds(wanted: &[String]) -> Result<Vec<String>> {
    rules::kinds(wanted).map_err(|unknown| match unknown {
        Some(_) => Error::field("events", format!("must be of these, or *: {}", rules::EVENTS.join(", "))),
        None => Error::field("events", wire::NO_EVENTS),
    })
}

fn description(text: &str) -> Result<String> {
    if text.trim().is_empty() {
        return Ok(String::new());
    }
    account_rules::line(Some(text), LONGEST_DESCRIPTION, wire::DESCRIPTION)
        .map_err(|why| Error::field("description", why))
}

async fn url(state: &State, text: &str) -> Result<String> {
    state.webhooks.judge(text).await.map_err(|why| Error::field("url", why))
}

/// 256 bits from the system.
fn new_secret() -> Result<String> {
    Ok(format!("whsec_{}", URL_SAFE_NO_PAD.encode(random_bytes::<32>()?)))
}
