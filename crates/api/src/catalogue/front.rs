//! Answering from memory what is asked most before anything else is done with the request: what every visitor's page
//! asks first, and what depends on nobody. Whatever is not quite so simple takes the usual way and comes to the same
//! answer.

use std::sync::Arc;

use actix_web::{
    Error as ActixError, HttpResponse,
    body::{BodySize, BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::{
        Method,
        header::{AUTHORIZATION, COOKIE, HeaderName, HeaderValue, ORIGIN},
    },
    middleware::Next,
    web,
};
use shared::{
    auth::Credentials,
    id::Id,
    model::{Kind, Listing, Shop},
};
use tokio::time::Instant;
use tracing::info_span;

use super::{answer, wire::Audience};
use crate::{
    headers,
    identity::{arrival, credentials},
    measure::{self, Answered},
    server,
    state::App,
};

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    All(Kind),
    OfShop(Kind, Id<Shop>),
    One(Kind, Id<Listing>),
}

/// The addresses of all lists.
const ALL: [(&str, Kind); 2] =
    [("/api/product/get-all-products", Kind::Product), ("/api/event/get-all-events-shop", Kind::Event)];
/// Of a shop's lists, without its id.
const OF_SHOP: [(&str, Kind); 2] = [
    ("/api/product/get-all-products-shop/", Kind::Product),
    ("/api/event/get-all-events-shop/", Kind::Event),
];
/// Of single ones, without their ids.
const ONE: [(&str, Kind); 2] =
    [("/api/product/get-product/", Kind::Product), ("/api/event/get-event/", Kind::Event)];

impl Wanted {
    /// As the route table has it.
    const fn route(self) -> &'static str {
        match self {
            Self::All(Kind::Product) => "/api/product/get-all-products",
            Self::All(Kind::Event) => "/api/event/get-all-events-shop",
            Self::OfShop(Kind::Product, _) => "/api/product/get-all-products-shop/{id}",
            Self::OfShop(Kind::Event, _) => "/api/event/get-all-events-shop/{id}",
            Self::One(Kind::Product, _) => "/api/product/get-product/{id}",
            Self::One(Kind::Event, _) => "/api/event/get-event/{id}",
        }
    }

    fn at(path: &str) -> Option<Self> {
        if let Some((_, kind)) = ALL.iter().find(|(address, _)| *address == path) {
            return Some(Self::All(*kind));
        }
        let (_, id) = path.rsplit_once('/')?;
        let prefix = path.strip_suffix(id)?;
        if let Some((_, kind)) = ONE.iter().find(|(address, _)| *address == prefix) {
            return Some(Self::One(*kind, id.parse().ok()?));
        }
        let (_, kind) = OF_SHOP.iter().find(|(address, _)| *address == prefix)?;
        Some(Self::OfShop(*kind, id.parse().ok()?))
    }
}

/// Middleware, before all that looks closer.
pub(crate) async fn at_once(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, ActixError> {
    match known(&request) {
        Some(answer) => Ok(request.into_response(answer)),
        None => Ok(next.call(request).await?.map_into_boxed_body()),
    }
}

fn known(request: &ServiceRequest) -> Option<HttpResponse> {
    // A page that names its origin is told whether it may read the answer.
    if *request.method() != Method::GET
        || request.uri().query().is_some()
        || request.headers().contains_key(ORIGIN)
    {
        return None;
    }
    let begun = Instant::now();
    let wanted = Wanted::at(request.path())?;
    let route = wanted.route();
    let app = request.app_data::<web::Data<App>>()?;
    if app.load.is_full() {
        return None;
    }
    let presented = if request.headers().contains_key(COOKIE) || request.headers().contains_key(AUTHORIZATION)
    {
        credentials(request)
    } else {
        Credentials::default()
    };
    if presented.want_mending() {
        return None;
    }
    let memory = &app.catalogue;
    let mut answer = match wanted {
        Wanted::All(kind) => answer::at_once(request.headers(), &memory.all_now(kind)?, memory)?,
        Wanted::OfShop(kind, shop) => {
            let list = memory.of_shop_now(kind, shop, audience(request, app, &presented)?)?;
            answer::at_once(request.headers(), &list, memory)?
        }
        Wanted::One(kind, id) => answer::short(request.headers(), &memory.one_now(kind, id)??),
    };
    finish(request, &mut answer, app, route, begun);
    Some(answer)
}

/// For whom a shop's list is, where that takes no look at an account.
fn audience(request: &ServiceRequest, app: &Arc<App>, presented: &Credentials) -> Option<Audience> {
    let arrival = arrival(request);
    if arrival.is_of_a_foreign_page(&app.config) {
        Some(Audience::Shoppers)
    } else if presented.seller.is_some() || presented.bearer.is_some() {
        None
    } else if !presented.any() && arrival.bare_is_accepted(&app.config) {
        Some(Audience::Owner)
    } else {
        Some(Audience::Shoppers)
    }
}

/// What the middleware that it never comes to says of every answer.
fn finish(
    request: &ServiceRequest,
    answer: &mut HttpResponse,
    app: &App,
    route: &'static str,
    begun: Instant,
) {
    let peer = request.peer_addr().map(|peer| peer.ip());
    let id = measure::request_id(peer, request.headers(), &app.config);
    let bytes = match answer.body().size() {
        BodySize::Sized(bytes) => bytes,
        _ => 0,
    };
    let answered = Answered {
        method: "GET",
        route,
        status: answer.status().as_u16(),
        took: begun.elapsed(),
        bytes: Some(bytes),
        caller: "nobody",
    };
    info_span!("request", id).in_scope(|| answered.note());
    let all = answer.headers_mut();
    server::cors_of_all(all);
    if let Ok(id) = HeaderValue::from_maybe_shared(id.into_bytes()) {
        all.insert(HeaderName::from_static("x-request-id"), id);
    }
    headers::complete(all, false, &app.config);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routes;

    #[test]
    fn the_addresses_are_those_of_the_route_table() {
        let table = routes::table();
        let ids = OF_SHOP.iter().chain(&ONE).map(|(address, _)| format!("{address}{{id}}"));
        for address in ALL.iter().map(|(address, _)| (*address).to_owned()).chain(ids) {
            assert!(table.iter().any(|route| route.method == "GET" && route.path == address), "{address}");
            let asked = address.replace("{id}", "6744a0b1c2d3e4f5a6b7c803");
            assert_eq!(Wanted::at(&asked).map(Wanted::route), Some(address.as_str()));
        }
    }

    #[test]
    fn only_what_is_meant_is_taken_for_it() {
        let id = "6744a0b1c2d3e4f5a6b7c803";
        let at = |path: &str| Wanted::at(path);
        assert_eq!(at("/api/product/get-all-products"), Some(Wanted::All(Kind::Product)));
        assert_eq!(
            at(&format!("/api/event/get-event/{id}")),
            Some(Wanted::One(Kind::Event, id.parse().unwrap()))
        );
        let of_shop = Wanted::OfShop(Kind::Event, id.parse().unwrap());
        assert_eq!(at(&format!("/api/event/get-all-events-shop/{id}")), Some(of_shop));
        for other in [
            "/api/product/get-all-products/",
            "/api/product/get-product/undefined",
            "/api/product/get-product/6744a0b1c2d3e4f5a6b7c80",
            "/api/product/update-product/6744a0b1c2d3e4f5a6b7c803",
            "//api/product/get-all-products",
            "",
        ] {
            assert_eq!(at(other), None, "{other}");
        }
    }
}
