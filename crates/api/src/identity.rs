//! Who is calling. Middleware resolves it once for each request, awaiting the database where it must;
//! the extractors here only read the result.

use std::{future::Future, panic::AssertUnwindSafe, pin::pin, rc::Rc, sync::Arc, time::Duration};

use actix_web::{
    Error as ActixError, FromRequest, HttpMessage as _, HttpRequest,
    body::{BoxBody, MessageBody},
    cookie::{self, Cookie},
    dev::{Payload, ServiceRequest, ServiceResponse},
    http::{Method, StatusCode, header},
    middleware::Next,
    web,
};
use futures_util::{
    FutureExt as _,
    future::{Either, select},
};
use shared::{
    arrival::{Arrival, FORWARDING_HEADERS},
    auth::{Credentials, Identity, Kind, MARKER, MARKER_COOKIE, SELLER_COOKIE, USER_COOKIE, resolve},
    config::{Config, SameSite},
    id::Id,
    model::{Party, Shop, User},
    traces,
};
use tracing::{Instrument as _, Span, error, info_span};

use crate::{
    audit_log::{self, Action, Event},
    body,
    error::{Error, Refusal, Result},
    limits::ClientAddress,
    line::Patience,
    load::{BUSY, Visit},
    measure::{self, Answered},
    state::App,
};

tokio::task_local! {
    static REQUEST: RequestMark;
}

/// What is known of the request that is being handled, wherever it is needed.
#[derive(Clone)]
struct RequestMark {
    id: String,
    /// None of what is done later.
    address: Option<ClientAddress>,
    /// Where its trace goes on, if it is traced.
    trace: Option<String>,
}

/// The id of the request that is being handled; empty outside of one.
pub fn request_id() -> String {
    REQUEST.try_with(|request| request.id.clone()).unwrap_or_default()
}

/// The same, for what is written down; none outside of one.
pub(crate) fn known_request() -> Option<String> {
    REQUEST.try_with(|request| request.id.clone()).ok().filter(|id| !id.is_empty())
}

/// Does what follows from an earlier request, under its name.
pub(crate) async fn on_behalf_of<T>(id: String, trace: Option<String>, work: impl Future<Output = T>) -> T {
    REQUEST.scope(RequestMark { id, address: None, trace }, work).await
}

/// Where the trace of the request that is being handled goes on; none if it is not traced.
pub(crate) fn known_trace() -> Option<String> {
    REQUEST.try_with(|request| request.trace.clone()).ok().flatten()
}

/// The address that it counts for; none outside of one.
pub(crate) fn request_address() -> Option<ClientAddress> {
    REQUEST.try_with(|request| request.address).ok().flatten()
}

const FOREIGN_ORIGIN: Refusal = Refusal::forbidden(
    "foreign_origin",
    "This origin may not make changes here. Add it to CLIENT_URL if it serves the client",
);
/// A credential that proves somebody else.
pub const NOT_YOURS: Refusal = Refusal::forbidden("not_yours", "This belongs to somebody else");
const TOO_SLOW: Refusal = Refusal::new(
    StatusCode::REQUEST_TIMEOUT,
    "request_timeout",
    "The request took too long to arrive. Please try again",
);
const ADMINS_ONLY: Refusal = Refusal::forbidden(
    "admins_only",
    "Only an administrator may do this. Please log in with an administrator's account",
);

const SHOPS_AND_ADMINS: Refusal = Refusal::forbidden(
    "shops_and_admins_only",
    "Only a shop or an administrator may do this. Please log in to your shop",
);

/// Who is calling, and what a call without a credential may do.
#[derive(Clone, Debug, Default)]
pub struct Caller {
    /// The proven user.
    pub user: Option<Id<User>>,
    /// The proven shop.
    pub shop: Option<Id<Shop>>,
    /// The user is an administrator.
    admin: bool,
    /// Something was presented that claims to be a session.
    credential: bool,
    /// A call without a credential is accepted here on the routes where the client sends none.
    bare_accepted: bool,
    /// A page of somebody else's has the browser ask.
    foreign: bool,
}

impl Caller {
    /// For the access log: what they are, not who.
    pub(crate) const fn kind(&self) -> &'static str {
        match (self.user, self.shop) {
            _ if self.admin => "admin",
            (Some(_), Some(_)) => "both",
            (Some(_), None) => "user",
            (None, Some(_)) => "seller",
            (None, None) => "nobody",
        }
    }

    /// The call carries no credential and the mode accepts that.
    pub const fn is_accepted_bare(&self) -> bool {
        !self.credential && self.bare_accepted
    }

    /// On a `GET` that changes something in the browser, which no foreign page may have it do.
    pub fn asks_itself(&self) -> Result<()> {
        if self.foreign { Err(FOREIGN_ORIGIN.into()) } else { Ok(()) }
    }

    /// On a route for development: may this call play with the sandbox? An administrator may, and whoever
    /// is accepted without a credential.
    pub fn act_as_developer(&self) -> Result<()> {
        match (self.admin || self.is_accepted_bare(), self.user.is_some() || self.shop.is_some()) {
            (true, _) => Ok(()),
            (false, true) => Err(ADMINS_ONLY.into()),
            (false, false) => Err(Error::Unauthenticated),
        }
    }

    /// On a route where the client sends no cookie: is there anybody at all to hold the call against?
    /// 401 otherwise. To be asked before a body is read.
    pub fn act_as_anybody(&self) -> Result<()> {
        let proven = self.user.is_some() || self.shop.is_some();
        if proven || self.is_accepted_bare() { Ok(()) } else { Err(Error::Unauthenticated) }
    }

    /// On a route where the client sends no cookie: may this call act for that shop? 401 without a
    /// usable credential, 403 with somebody else's.
    pub fn act_as_shop(&self, shop: Id<Shop>) -> Result<()> {
        match self.shop {
            Some(own) if own == shop => Ok(()),
            Some(_) => Err(NOT_YOURS.into()),
            None if self.is_accepted_bare() => Ok(()),
            None => Err(Error::Unauthenticated),
        }
    }

    /// The same for a user.
    pub fn act_as_user(&self, user: Id<User>) -> Result<()> {
        match self.user {
            Some(own) if own == user => Ok(()),
            Some(_) => Err(NOT_YOURS.into()),
            None if self.is_accepted_bare() => Ok(()),
            None => Err(Error::Unauthenticated),
        }
    }

    /// The same for a chat member, who may be the user or the shop: hex ids.
    pub fn act_as_member(&self, member: &str) -> Result<()> {
        let own = [self.user.map(Id::hex), self.shop.map(Id::hex)];
        if own.iter().flatten().any(|id| id == member) || self.is_accepted_bare() {
            Ok(())
        } else if own.iter().flatten().next().is_some() {
            Err(NOT_YOURS.into())
        } else {
            Err(Error::Unauthenticated)
        }
    }
}

impl FromRequest for Caller {
    type Error = Error;
    type Future = std::future::Ready<Result<Self>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        std::future::ready(Ok(request.extensions().get::<Self>().cloned().unwrap_or_default()))
    }
}

/// The credentials that came with the request, for whoever ends what they stand for. Of a foreign page there are none.
#[derive(Clone, Default)]
pub struct Presented(pub Credentials);

impl FromRequest for Presented {
    type Error = Error;
    type Future = std::future::Ready<Result<Self>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        std::future::ready(Ok(request.extensions().get::<Self>().cloned().unwrap_or_default()))
    }
}

/// A logged-in user; 401 without one.
#[derive(Clone, Copy, Debug)]
pub struct Buyer(pub Id<User>);

impl FromRequest for Buyer {
    type Error = Error;
    type Future = std::future::Ready<Result<Self>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let user = request.extensions().get::<Caller>().and_then(|caller| caller.user);
        std::future::ready(user.map(Self).ok_or(Error::Unauthenticated))
    }
}

/// A logged-in shop; 401 without one.
#[derive(Clone, Copy, Debug)]
pub struct Seller(pub Id<Shop>);

impl FromRequest for Seller {
    type Error = Error;
    type Future = std::future::Ready<Result<Self>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let shop = request.extensions().get::<Caller>().and_then(|caller| caller.shop);
        std::future::ready(shop.map(Self).ok_or(Error::Unauthenticated))
    }
}

/// A logged-in administrator; 401 without a session, 403 for anybody else's.
#[derive(Clone, Copy, Debug)]
pub struct Admin {
    /// The administrator's account.
    pub user: Id<User>,
    /// The shop whose session the same browser holds.
    pub shop: Option<Id<Shop>>,
}

impl Admin {
    /// As the audit log names them.
    pub(crate) fn party(&self) -> Party {
        Party::new("admin", self.user)
    }
}

impl FromRequest for Admin {
    type Error = Error;
    type Future = std::future::Ready<Result<Self>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let caller = request.extensions().get::<Caller>().cloned().unwrap_or_default();
        std::future::ready(match caller {
            Caller { user: Some(user), shop, admin: true, .. } => Ok(Self { user, shop }),
            Caller { user: None, shop: None, .. } => Err(Error::Unauthenticated),
            caller => {
                note_refusal(request, &caller);
                Err(ADMINS_ONLY.into())
            }
        })
    }
}

/// A logged-in shop, for itself, or a logged-in administrator, for all of them; 401 without a session, 403 for a user's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SellerOrAdmin {
    /// The shop.
    pub(crate) shop: Option<Id<Shop>>,
    /// The administrator.
    pub(crate) admin: Option<Id<User>>,
}

impl FromRequest for SellerOrAdmin {
    type Error = Error;
    type Future = std::future::Ready<Result<Self>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let caller = request.extensions().get::<Caller>().cloned().unwrap_or_default();
        let admin = caller.user.filter(|_| caller.admin);
        std::future::ready(match (caller.shop, admin, caller.user) {
            (None, None, None) => Err(Error::Unauthenticated),
            (None, None, Some(_)) => Err(SHOPS_AND_ADMINS.into()),
            (shop, admin, _) => Ok(Self { shop, admin }),
        })
    }
}

/// Somebody who is logged in has tried an administrator's route.
fn note_refusal(request: &HttpRequest, caller: &Caller) {
    let Some(app) = request.app_data::<web::Data<App>>() else { return };
    let actor = match (caller.user, caller.shop) {
        (Some(user), _) => audit_log::account(Kind::User, user),
        (None, Some(shop)) => audit_log::account(Kind::Seller, shop),
        (None, None) => Party::nobody(),
    };
    let route = request.match_pattern().unwrap_or_default();
    let route = Party::new("route", format!("{} {route}", request.method()));
    app.audit_log.note(Event::refused(Action::AdminRoute, actor).about(route));
}

/// Middleware, outermost but for CORS: names the request, logs and counts it, and finishes what
/// changes anything although the client may have gone.
pub async fn conduct(
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, ActixError> {
    let begun = tokio::time::Instant::now();
    let app = app(&request);
    let peer = request.peer_addr().map(|peer| peer.ip());
    let id = measure::request_id(peer, request.headers(), &app.config);
    let method = request.method().clone();
    let span = info_span!("request", id, %method, path = request.path());
    if let Some(traceparent) = measure::traceparent(peer, request.headers(), &app.config) {
        traces::go_on(&span, traceparent);
    }
    let tasks = app.tasks.clone();
    let visit = Visit::begin(Arc::clone(&app.load));
    request.extensions_mut().insert(Rc::clone(&visit));
    let mark = RequestMark {
        id: id.clone(),
        address: Some(ClientAddress::of(peer, request.headers(), &app.config)),
        trace: traces::traceparent(&span),
    };
    let answered = if app.load.is_full() && !is_operators(request.path()) {
        let busy = Error::from(BUSY.until(Duration::from_secs(2)));
        Ok(REQUEST.sync_scope(mark, || request.error_response(busy)).map_into_right_body())
    } else if changes_something(&method) {
        // The client may leave at any moment, and its page reload does. The work goes on in a task
        // of its own, for which a shutdown waits; what is still on the connection is taken off here.
        let patience = Patience::of(app.config.connection_limits.patience);
        let slow = Rc::clone(&visit);
        let (taking_off, body) = body::decouple(request.take_payload(), patience, move || slow.is_too_slow());
        request.set_payload(body);
        let taking_off = async move {
            taking_off.await;
            visit.arrived();
        };
        let work = REQUEST.scope(mark, next.call(request).instrument(span.clone()));
        let work = actix_web::rt::spawn(tasks.track_future(work));
        let done = match select(work, pin!(taking_off)).await {
            Either::Left((done, _)) => done,
            Either::Right(((), work)) => work.await,
        };
        done.unwrap_or_else(|failure| {
            span.in_scope(|| error!(%failure, "a request's task was lost"));
            Err(Error::Unexpected(failure.into()).into())
        })
        .map(ServiceResponse::map_into_left_body)
    } else {
        visit.arrived();
        let work = REQUEST.scope(mark, next.call(request).instrument(span.clone()));
        work.await.map(ServiceResponse::map_into_left_body)
    };
    let mut response = answered?.map_into_boxed_body();
    if let Ok(value) = header::HeaderValue::from_str(&id) {
        response.headers_mut().insert(header::HeaderName::from_static("x-request-id"), value);
    }
    let answered = Answered::of(&response, &method, begun.elapsed());
    traces::describe(&span, answered.method, answered.route, answered.status);
    span.in_scope(|| answered.note());
    Ok(response)
}

/// What operators and their machines ask for must be answered whatever else is.
fn is_operators(path: &str) -> bool {
    matches!(path, "/ping" | "/healthz" | "/readyz" | "/metrics" | "/openapi.yaml")
}

/// Middleware around each endpoint: a panic is a bug, and costs this one request; and nobody waits for
/// ever. What changes anything then goes on, in a task of its own.
///
/// It sits here and not further out because the answer needs the request, which must not be cloned
/// before the router has seen it.
pub async fn contain(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, ActixError> {
    let http = request.request().clone();
    let app = app(&request);
    let visit = request.extensions().get::<Rc<Visit>>().cloned();
    let detached = changes_something(request.method());
    let work = AssertUnwindSafe(next.call(request)).catch_unwind();
    let limit = app.config.request_limits.answer;
    let late = async {
        if let Some(visit) = &visit {
            visit.whole().await;
        }
        tokio::time::sleep(limit).await;
    };
    let done = if detached {
        let visit = visit.clone();
        let (mark, work) = (REQUEST.try_with(Clone::clone), work.instrument(Span::current()));
        let work = actix_web::rt::spawn(app.tasks.track_future(async move {
            let done = match mark {
                Ok(mark) => REQUEST.scope(mark, work).await,
                Err(_) => work.await,
            };
            drop(visit);
            done
        }));
        match select(work, pin!(late)).await {
            Either::Left((Ok(done), _)) => Some(done),
            // It was lost with its runtime: the process is at its end.
            Either::Left((Err(lost), _)) => return Err(Error::Unexpected(lost.into()).into()),
            Either::Right(_) => None,
        }
    } else {
        match select(pin!(work), pin!(late)).await {
            Either::Left((done, _)) => Some(done),
            Either::Right(_) => None,
        }
    };
    let failure = match done {
        // Whatever the handler made of a body that broke off.
        Some(Ok(_)) if visit.is_some_and(|visit| visit.was_too_slow()) => Error::from(TOO_SLOW),
        Some(Ok(answered)) => return answered.map(ServiceResponse::map_into_boxed_body),
        Some(Err(_)) => Error::Unexpected(anyhow::anyhow!("a handler panicked")),
        None if detached => Error::Unknown(anyhow::anyhow!("the work of a request takes too long")),
        None => Error::Unavailable(anyhow::anyhow!("a request took too long")),
    };
    Ok(ServiceResponse::new(http, actix_web::ResponseError::error_response(&failure)))
}

/// Middleware: refuses changes from foreign pages and takes what they read for nobody's, resolves who is
/// calling, and looks after the session cookies.
pub async fn identify(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, ActixError> {
    let app = app(&request);
    if arrival(&request).is_of_a_foreign_page(&app.config) {
        if changes_something(request.method()) {
            return Ok(request.error_response(Error::from(FOREIGN_ORIGIN)));
        }
        // Cookies are neither believed nor, with the 401 that follows where something is private, ended.
        request.extensions_mut().insert(Caller { foreign: true, ..Caller::default() });
        return Ok(next.call(request).await?.map_into_boxed_body());
    }
    let credentials = credentials(&request);
    request.extensions_mut().insert(Presented(credentials.clone()));
    let identity = if credentials.any() {
        let asked = resolve(&app.accounts, &app.sessions, &credentials, app.clock.now());
        match tokio::time::timeout(app.config.request_limits.answer, asked).await {
            Ok(Ok(identity)) => identity,
            Ok(Err(failure)) => return Ok(request.error_response(Error::from(failure))),
            Err(_) => {
                let late = anyhow::anyhow!("an account could not be looked up in time");
                return Ok(request.error_response(Error::Unavailable(late)));
            }
        }
    } else {
        Identity::default()
    };
    request.extensions_mut().insert(Caller {
        user: identity.user,
        shop: identity.shop,
        admin: identity.admin,
        credential: credentials.any(),
        bare_accepted: arrival(&request).bare_is_accepted(&app.config),
        foreign: false,
    });
    let mut response = next.call(request).await?.map_into_boxed_body();
    mend_cookies(&mut response, &app.config, &credentials, identity)?;
    Ok(response)
}

fn app(request: &ServiceRequest) -> Arc<App> {
    #[expect(clippy::expect_used, reason = "the server is never built without its state")]
    let data = request.app_data::<web::Data<App>>().expect("the state is part of the server");
    Arc::clone(data)
}

/// Whether a method may change anything.
fn changes_something(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE)
}

pub(crate) fn credentials(request: &ServiceRequest) -> Credentials {
    let cookie = |name| request.cookie(name).map(|c| c.value().to_owned()).filter(|v| !v.is_empty());
    let bearer = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim().to_owned());
    Credentials {
        user: cookie(USER_COOKIE),
        marker: cookie(MARKER_COOKIE),
        seller: cookie(SELLER_COOKIE),
        bearer,
    }
}

/// Where a request comes from, as the rules shared with the chat server want to know it.
pub(crate) fn arrival(request: &ServiceRequest) -> Arrival<'_> {
    arrival_of(request.request())
}

/// The same of a request that has come to a handler.
pub(crate) fn arrival_of(request: &HttpRequest) -> Arrival<'_> {
    let text = |name| request.headers().get(name).map(|value| value.to_str().unwrap_or_default());
    Arrival {
        host: text(header::HOST),
        origin: text(header::ORIGIN),
        fetch_site: text(header::HeaderName::from_static("sec-fetch-site")),
        peer: request.peer_addr().map(|peer| peer.ip()),
        forwarded: FORWARDING_HEADERS.iter().any(|name| request.headers().contains_key(*name)),
    }
}

/// A cookie with the attributes that all of ours share.
fn cookie(config: &Config, name: &'static str, value: String, http_only: bool) -> Cookie<'static> {
    let mut cookie =
        Cookie::build(name, value).path("/").http_only(http_only).secure(config.is_production()).same_site(
            match config.cookie_same_site {
                SameSite::Lax => cookie::SameSite::Lax,
                SameSite::Strict => cookie::SameSite::Strict,
                SameSite::None => cookie::SameSite::None,
            },
        );
    if let Some(domain) = &config.cookie_domain {
        cookie = cookie.domain(domain.clone());
    }
    cookie.finish()
}

/// The cookies of a new session: the session itself, and for users the marker that the client's
/// scripts look for.
pub fn session_cookies(config: &Config, kind: Kind, token: String) -> Vec<Cookie<'static>> {
    let age = cookie::time::Duration::try_from(config.session_ttl).unwrap_or(cookie::time::Duration::DAY);
    let mut cookies = match kind {
        Kind::User => vec![
            cookie(config, USER_COOKIE, token, true),
            cookie(config, MARKER_COOKIE, MARKER.to_owned(), false),
        ],
        Kind::Seller => vec![cookie(config, SELLER_COOKIE, token, true)],
    };
    cookies.iter_mut().for_each(|cookie| cookie.set_max_age(age));
    cookies
}

/// The cookies that end a session in the browser.
pub fn ended_cookies(config: &Config, kind: Kind) -> Vec<Cookie<'static>> {
    let mut cookies = match kind {
        Kind::User => vec![
            cookie(config, USER_COOKIE, String::new(), true),
            cookie(config, MARKER_COOKIE, String::new(), false),
        ],
        Kind::Seller => vec![cookie(config, SELLER_COOKIE, String::new(), true)],
    };
    cookies.iter_mut().for_each(Cookie::make_removal);
    cookies
}

/// With a 401, ends the sessions that proved nobody; otherwise moves a session of the old server out
/// of the reach of scripts. Cookies that a handler has set itself stay as they are.
fn mend_cookies(
    response: &mut ServiceResponse<BoxBody>,
    config: &Config,
    credentials: &Credentials,
    identity: Identity,
) -> Result<(), ActixError> {
    let status = response.status();
    let set: Vec<String> = response.response().cookies().map(|cookie| cookie.name().to_owned()).collect();
    let mut cookies = Vec::new();
    if status == StatusCode::UNAUTHORIZED {
        if identity.user.is_none() && (credentials.user.is_some() || credentials.marker.is_some()) {
            cookies.extend(ended_cookies(config, Kind::User));
        }
        if identity.shop.is_none() && credentials.seller.is_some() {
            cookies.extend(ended_cookies(config, Kind::Seller));
        }
    } else if let (true, Some(token)) = (identity.legacy_cookie, credentials.legacy()) {
        cookies.extend(session_cookies(config, Kind::User, token.to_owned()));
    } else if identity.user.is_some() && credentials.user.is_some() && credentials.marker.is_none() {
        let token = credentials.user.clone().unwrap_or_default();
        cookies.extend(session_cookies(config, Kind::User, token));
    }
    for cookie in cookies.iter().filter(|cookie| !set.iter().any(|name| name == cookie.name())) {
        response.response_mut().add_cookie(cookie)?;
    }
    Ok(())
}
