//! The route table: every URL prefix and the folder that answers it. Misspellings are the wire's.

use std::future::ready;

use actix_web::{
    Handler, HttpResponse, Responder, ResponseError as _, Route as ActixRoute, guard,
    http::{Method, header::ALLOW},
    middleware::from_fn,
    web,
};

use crate::{
    admin, cases, conversations, coupons,
    error::{Error, Refusal, Result},
    events,
    identity::contain,
    letters,
    limits::{self, Limit},
    measure::RouteName,
    messages, notifications, operation, orders, payments, products, shops, users, webhooks, withdrawals,
};

/// One endpoint: method, URL tail, handler.
pub(crate) struct Route {
    method: Method,
    tail: &'static str,
    limit: Option<Limit>,
    service: ActixRoute,
}

impl Route {
    /// Counts each request, and refuses those beyond this limit.
    pub(crate) fn under(self, limit: Limit) -> Self {
        Self { limit: Some(limit), service: limits::under(limit, self.service), ..self }
    }

    /// Its handler counts what fails under this limit.
    pub(crate) fn failures_under(self, limit: Limit) -> Self {
        Self { limit: Some(limit), ..self }
    }
}

/// A `GET` endpoint, which answers `HEAD` as well.
pub(crate) fn get<F, Args>(tail: &'static str, handler: F) -> Route
where
    F: Handler<Args>,
    Args: actix_web::FromRequest + 'static,
    F::Output: Responder + 'static,
{
    Route {
        method: Method::GET,
        tail,
        limit: None,
        service: ActixRoute::new().guard(guard::Any(guard::Get()).or(guard::Head())).to(handler),
    }
}

/// A `POST` endpoint.
pub(crate) fn post<F, Args>(tail: &'static str, handler: F) -> Route
where
    F: Handler<Args>,
    Args: actix_web::FromRequest + 'static,
    F::Output: Responder + 'static,
{
    Route { method: Method::POST, tail, limit: None, service: web::post().to(handler) }
}

/// A `PUT` endpoint.
pub(crate) fn put<F, Args>(tail: &'static str, handler: F) -> Route
where
    F: Handler<Args>,
    Args: actix_web::FromRequest + 'static,
    F::Output: Responder + 'static,
{
    Route { method: Method::PUT, tail, limit: None, service: web::put().to(handler) }
}

/// A `DELETE` endpoint.
pub(crate) fn delete<F, Args>(tail: &'static str, handler: F) -> Route
where
    F: Handler<Args>,
    Args: actix_web::FromRequest + 'static,
    F::Output: Responder + 'static,
{
    Route { method: Method::DELETE, tail, limit: None, service: web::delete().to(handler) }
}

fn all() -> Vec<(&'static str, Vec<Route>)> {
    vec![
        ("", operation::routes()),
        ("/docs", crate::docs::routes()),
        ("/uploads", crate::media::routes()),
        ("/api/user", joined(users::routes(), admin::legacy::of_users())),
        ("/api/shop", joined(shops::routes(), admin::legacy::of_shops())),
        ("/api/product", joined(products::routes(), admin::legacy::of_products())),
        ("/api/event", joined(events::routes(), admin::legacy::of_events())),
        ("/api/order", joined(orders::routes(), admin::legacy::of_orders())),
        ("/api/stripe", payments::routes()),
        ("/api/paypal", payments::paypal_routes()),
        ("/api/payment", payments::attention::routes()),
        ("/api/sandbox", payments::sandbox::routes()),
        ("/api/coupan", coupons::routes()),
        ("/api/conversation", conversations::routes()),
        ("/api/messages", messages::routes()),
        ("/api/withDraw", withdrawals::routes()),
        ("/api/user", notifications::user_routes()),
        ("/api/shop", notifications::shop_routes()),
        ("/api/unsubscribe", notifications::link_routes()),
        ("/api/dispute", cases::routes()),
        ("/api/admin", letters::routes()),
        ("/api/admin", cases::admin_routes()),
        ("/api/webhooks", webhooks::routes()),
        ("/api/admin", admin::routes()),
    ]
}

fn joined(mut some: Vec<Route>, more: Vec<Route>) -> Vec<Route> {
    some.extend(more);
    some
}

/// One row of [`table`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listed {
    /// `GET`, `POST`, `PUT` or `DELETE`.
    pub method: &'static str,
    /// The whole path, parameters as `{id}`.
    pub path: String,
    /// The limit that its requests are under.
    pub limit: Option<&'static str>,
}

/// Every endpoint there is; tests hold `openapi.yaml` to it.
pub fn table() -> Vec<Listed> {
    all()
        .into_iter()
        .flat_map(|(prefix, routes)| {
            routes.into_iter().map(move |route| Listed {
                method: match route.method {
                    Method::GET => "GET",
                    Method::POST => "POST",
                    Method::PUT => "PUT",
                    _ => "DELETE",
                },
                // A tail pattern such as `{path:.*}` is `{path}` to the reader.
                path: format!("{prefix}{}", route.tail).replace(":.*}", "}"),
                limit: route.limit.map(Limit::name),
            })
        })
        .collect()
}

/// Mounts every endpoint. Paths that exist under another method are 405, unknown ones 404.
pub(crate) fn mount(app: &mut web::ServiceConfig) {
    let mut resources: Vec<(String, Vec<Route>)> = Vec::new();
    for (prefix, routes) in all() {
        for route in routes {
            let path = format!("{prefix}{}", route.tail);
            match resources.iter_mut().find(|(known, _)| *known == path) {
                Some((_, routes)) => routes.push(route),
                None => resources.push((path, vec![route])),
            }
        }
    }
    for (path, routes) in resources {
        let mut allowed: Vec<&str> = routes.iter().map(|route| route.method.as_str()).collect();
        if allowed.contains(&"GET") {
            allowed.push("HEAD");
        }
        let allowed = allowed.join(", ");
        let name = RouteName::of(&path);
        let resource = routes
            .into_iter()
            .map(|route| route.service)
            .fold(web::resource(path).app_data(name), actix_web::Resource::route)
            .default_service(web::to(move |request| ready(method_not_allowed(&request, &allowed))));
        app.service(resource.wrap(from_fn(contain)));
    }
}

fn method_not_allowed(request: &actix_web::HttpRequest, allowed: &str) -> HttpResponse {
    let refusal = Refusal::new(
        actix_web::http::StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        "This address does not take this method",
    );
    let said = format!("{} does not take {}, but {allowed}", request.path(), request.method());
    let mut answer = Error::from(refusal.saying(said)).error_response();
    if let Ok(allowed) = allowed.try_into() {
        answer.headers_mut().insert(ALLOW, allowed);
    }
    answer
}

/// What is nowhere in the table.
pub(crate) async fn not_found(request: actix_web::HttpRequest) -> Result<HttpResponse> {
    Err(Refusal::not_found("route_not_found", "There is nothing at this address")
        .saying(format!("There is nothing at {} {}", request.method(), request.path()))
        .into())
}
