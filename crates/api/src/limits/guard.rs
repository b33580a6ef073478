//! Around a route: counts each request before anything of it is read, its body included.

use actix_web::{
    Error as ActixError, HttpMessage as _, Route,
    body::BoxBody,
    dev::{ServiceRequest, ServiceResponse},
    middleware::{Next, from_fn},
    web,
};

use shared::{auth::Kind, model::Party};

use super::{ClientAddress, Limit, rules::Whom};
use crate::{
    audit_log,
    error::{Error, Result},
    identity::Caller,
    state::App,
};

/// The route, under this limit.
pub(crate) fn under(limit: Limit, route: Route) -> Route {
    route.wrap(from_fn(move |request: ServiceRequest, next: Next<BoxBody>| admit(limit, request, next)))
}

async fn admit(
    limit: Limit,
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse<BoxBody>, ActixError> {
    match count(limit, &request).await {
        Ok(()) => next.call(request).await,
        Err(refused) => Ok(request.error_response(refused)),
    }
}

async fn count(limit: Limit, request: &ServiceRequest) -> Result<()> {
    let app = request.app_data::<web::Data<App>>();
    let app = app.ok_or_else(|| Error::Unexpected(anyhow::anyhow!("the server has no state")))?;
    let peer = request.peer_addr().map(|peer| peer.ip());
    let address = ClientAddress::of(peer, request.headers(), &app.config);
    let caller = request.extensions().get::<Caller>().cloned().unwrap_or_default();
    let account = match (caller.user, caller.shop) {
        (Some(user), _) => Some(audit_log::account(Kind::User, user)),
        (None, Some(shop)) => Some(audit_log::account(Kind::Seller, shop)),
        (None, None) => None,
    };
    let who = match &account {
        Some(Party { kind, id: Some(id) }) if limit.whom() == Whom::Account => format!("{kind} {id}"),
        _ => address.to_string(),
    };
    // It stays taken: every request counts.
    let actor = || account.unwrap_or_else(Party::nobody);
    app.limits.take_as(limit, &who, actor).await.map(drop)
}
