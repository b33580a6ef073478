use actix_web::HttpResponse;
use shared::{
    id::Id,
    model::{Order, RefundItem, ShippingAddress, Shop, Status, User},
};

use super::{
    cart::{self, MAX_COUNT, MAX_LINES, whole},
    checkout::{self, Means, Wanted},
    earnings::Rates,
    rules::Wish,
    store::{self, Owner},
    transition::{self, Change, RefundWanted},
    wire,
};
use crate::{
    error::{Error, FieldError, Result},
    extract::{AnyPathId, Json, PathId, Query},
    idempotency::Key,
    identity::{Caller, NOT_YOURS, Seller},
    paging::{Listed, Page},
    state::State,
};

/// `POST /api/order/create-order`: a buyer checks out one cart, which makes one order a shop.
pub(super) async fn create(
    caller: Caller,
    key: Key,
    body: Json<wire::Checkout>,
    state: State,
) -> Result<HttpResponse> {
    let buyer = buyer(&caller, &body)?;
    let wanted = checked(buyer, key, body.0)?;
    let answer = checkout::place(&state.into_inner(), wanted).await?;
    Ok(HttpResponse::Created().content_type("application/json").body(answer))
}

/// `GET /api/order/getOrders/{id}`: a buyer's orders. The client asks for `undefined` on every hard load.
pub(super) async fn of_buyer(
    caller: Caller,
    id: AnyPathId<User>,
    query: Query,
    state: State,
) -> Result<HttpResponse> {
    let Some(user) = id.0 else { return nothing(&query) };
    caller.act_as_user(user)?;
    list(&state, Owner::Buyer(user), &query).await
}

/// `GET /api/order/getShopOrders/{shopId}`: a shop's orders.
pub(super) async fn of_shop(
    caller: Caller,
    id: AnyPathId<Shop>,
    query: Query,
    state: State,
) -> Result<HttpResponse> {
    let Some(shop) = id.0 else { return nothing(&query) };
    caller.act_as_shop(shop)?;
    list(&state, Owner::Shop(shop), &query).await
}

/// `GET /api/order/get-order/{id}`: one order, for its buyer or its shop.
pub(super) async fn one(caller: Caller, id: PathId<Order>, state: State) -> Result<HttpResponse> {
    let owners = owners(&caller)?;
    for owner in owners {
        if let Some(order) = store::one_of(&state.db, owner, *id).await? {
            let order = wire::OrderReply::seen_by(owner, &state.config, order);
            return Ok(HttpResponse::Ok().json(wire::OrderOne { success: true, order }));
        }
    }
    Err(not_there(&state, *id).await?)
}

/// `PUT /api/order/update-order-status/{id}`: a shop moves one of its orders along.
pub(super) async fn update_status(
    Seller(shop): Seller,
    id: PathId<Order>,
    body: Json<wire::StatusUpdate>,
    state: State,
) -> Result<HttpResponse> {
    let status = wire::status(body.status.as_deref()).ok_or_else(|| {
        let known: Vec<_> = Status::ALL.iter().map(|status| status.text()).collect();
        Error::field("status", format!("must be one of: {}", known.join(", ")))
    })?;
    let order =
        change(&state, Owner::Shop(shop), *id, Wish::Advance(status), RefundWanted::default()).await?;
    Ok(HttpResponse::Ok().json(wire::OrderOne { success: true, order }))
}

/// `PUT /api/order/cancel-order/{id}`: buyer or shop calls an order off that was not handed over yet.
pub(super) async fn cancel(caller: Caller, id: PathId<Order>, state: State) -> Result<HttpResponse> {
    let mut outcome = Err(Error::Unauthenticated);
    for owner in owners(&caller)? {
        outcome = change(&state, owner, *id, Wish::Cancel, RefundWanted::default()).await;
        // A person who is buyer and seller at once may own it as either.
        if !matches!(&outcome, Err(Error::Refused(refusal)) if refusal.code() == NOT_YOURS.code()) {
            break;
        }
    }
    let message = "The order is cancelled";
    Ok(HttpResponse::Ok().json(wire::OrderChanged { success: true, message, order: outcome? }))
}

/// `PUT /api/order/refund-order/{id}`: a buyer wants the money back for what was delivered, all of it
/// or some units.
///
/// The client sends no cookie here.
pub(super) async fn ask_refund(
    caller: Caller,
    id: PathId<Order>,
    body: Json<wire::RefundRequest>,
    state: State,
) -> Result<HttpResponse> {
    let owner = match caller.user {
        Some(user) => Owner::Buyer(user),
        None if caller.is_accepted_bare() => Owner::Anyone,
        None => return Err(Error::Unauthenticated),
    };
    let wanted = refund_wanted(body.0)?;
    let order = change(&state, owner, *id, Wish::AskRefund, wanted).await?;
    let message = "Refund in Processing";
    Ok(HttpResponse::Ok().json(wire::OrderChanged { success: true, message, order }))
}

/// `PUT /api/order/order-refund-success/{id}`: the shop agrees to a refund. The client sends an empty
/// status when its button is pressed without a choice, which must be refused in words.
pub(super) async fn grant_refund(
    Seller(shop): Seller,
    id: PathId<Order>,
    query: Query,
    body: Json<wire::StatusUpdate>,
    state: State,
) -> Result<HttpResponse> {
    if wire::status(body.status.as_deref()) != Some(Status::RefundSuccess) {
        return Err(Error::field("status", "must be Refund Success: please choose it first"));
    }
    change(&state, Owner::Shop(shop), *id, Wish::GrantRefund, decided(&query)?).await?;
    Ok(HttpResponse::Ok().json(wire::Message { success: true, message: "Order refund successfully" }))
}

/// `PUT /api/order/order-refund-refused/{id}`: the shop does not agree to a refund.
pub(super) async fn refuse_refund(
    Seller(shop): Seller,
    id: PathId<Order>,
    query: Query,
    state: State,
) -> Result<HttpResponse> {
    let order = change(&state, Owner::Shop(shop), *id, Wish::RefuseRefund, decided(&query)?).await?;
    let message = "The refund is refused; the order counts as delivered again";
    Ok(HttpResponse::Ok().json(wire::OrderChanged { success: true, message, order }))
}

fn nothing(query: &Query) -> Result<HttpResponse> {
    let Listed::<Order> { place, .. } = Listed::nothing(Page::read(query)?.as_ref());
    Ok(HttpResponse::Ok().json(wire::OrderList { success: true, orders: Vec::new(), place }))
}

async fn list(state: &State, owner: Owner, query: &Query) -> Result<HttpResponse> {
    let page = Page::read(query)?;
    let Listed { items, place } = store::all_of(&state.db, owner, page.as_ref()).await?;
    let orders =
        items.into_iter().map(|order| wire::OrderReply::seen_by(owner, &state.config, order)).collect();
    Ok(HttpResponse::Ok().json(wire::OrderList { success: true, orders, place }))
}

/// As whom a caller may own an order: as buyer, as shop, or both.
fn owners(caller: &Caller) -> Result<Vec<Owner>> {
    let owners: Vec<Owner> =
        caller.user.map(Owner::Buyer).into_iter().chain(caller.shop.map(Owner::Shop)).collect();
    if owners.is_empty() { Err(Error::Unauthenticated) } else { Ok(owners) }
}

async fn change(
    state: &State,
    owner: Owner,
    id: Id<Order>,
    wish: Wish,
    refund: RefundWanted,
) -> Result<wire::OrderReply> {
    let change = Change { owner, id, wish, refund, now: state.clock.now(), rates: Rates::of(&state.config) };
    match transition::change_order(&state.db, &state.outbox, change).await? {
        Some(order) => Ok(wire::OrderReply::seen_by(owner, &state.config, order)),
        None => Err(not_there(state, id).await?),
    }
}

/// Which refund a shop decides about, if it says so.
fn decided(query: &Query) -> Result<RefundWanted> {
    let Some(text) = query.text("refund") else { return Ok(RefundWanted::default()) };
    let number = text.parse().ok().filter(|number| (1..=MAX_COUNT).contains(number));
    let number = number.ok_or_else(|| {
        Error::field("refund", "must be the place of a refund in the order's list, from 1 on")
    })?;
    Ok(RefundWanted { number: Some(number), ..RefundWanted::default() })
}

/// Checks what is asked for for form; whether the order has it is decided with the order at hand.
fn refund_wanted(body: wire::RefundRequest) -> Result<RefundWanted> {
    let reason = body.reason.filter(|reason| !reason.trim().is_empty());
    if reason.as_ref().is_some_and(|reason| reason.chars().count() > 2000) {
        return Err(Error::field("reason", "must have at most 2000 characters"));
    }
    let Some(named) = body.items else { return Ok(RefundWanted { reason, ..RefundWanted::default() }) };
    if named.is_empty() || named.len() > MAX_LINES {
        return Err(Error::field(
            "items",
            "must be a list of 1 to 200 items; leave it out for the whole order",
        ));
    }
    let mut items: Vec<RefundItem> = Vec::new();
    for (i, item) in named.into_iter().enumerate() {
        let Some(id) = item.id.as_deref().and_then(|id| id.parse().ok()) else {
            return Err(Error::field(&format!("items[{i}].id"), "must be the id of a line of the order"));
        };
        let Some(count) =
            item.count.as_deref().and_then(whole).filter(|count| (1..=MAX_COUNT).contains(count))
        else {
            return Err(Error::field(&format!("items[{i}].count"), "must be a whole number from 1 to 10000"));
        };
        match items.iter_mut().find(|known| known.id == id) {
            Some(known) => known.count += count,
            None => items.push(RefundItem { id, count }),
        }
    }
    Ok(RefundWanted { items: Some(items), reason, number: None })
}

/// Somebody else's order is 403, none at all 404.
async fn not_there(state: &State, id: Id<Order>) -> Result<Error> {
    Ok(if store::exists(&state.db, id).await? { NOT_YOURS.into() } else { wire::ORDER_NOT_FOUND.into() })
}

/// The session says who buys; a call without one, where that is accepted, says it in the body.
fn buyer(caller: &Caller, body: &wire::Checkout) -> Result<Id<User>> {
    let named = body.user.as_ref().and_then(|user| user.id.as_deref());
    let named: Option<Id<User>> =
        named.map(|id| id.parse().or(Err(Error::field("user._id", "must be a user's id")))).transpose()?;
    match (caller.user, named) {
        (Some(user), None) => Ok(user),
        (_, Some(named)) => caller.act_as_user(named).map(|()| named),
        (None, None) if caller.is_accepted_bare() => Err(Error::field("user", "is required")),
        (None, None) => Err(Error::Unauthenticated),
    }
}

/// Checks a checkout for form: what it asks for, not whether it can be had.
fn checked(buyer: Id<User>, key: Key, body: wire::Checkout) -> Result<Wanted> {
    let mut errors = Vec::new();
    let refused =
        |field: &str, message: &str| FieldError { field: field.to_owned(), message: message.to_owned() };
    let lines = cart::lines(body.cart, &mut errors);
    let address = body.shipping_address.map(|address| ShippingAddress {
        address1: address.address1.unwrap_or_default(),
        address2: address.address2.unwrap_or_default(),
        zip_code: address.zip_code,
        country: address.country.unwrap_or_default(),
        city: address.city.unwrap_or_default(),
    });
    let address = address.unwrap_or_default();
    if address.address1.is_empty() {
        errors.push(refused("shippingAddress.address1", "is required"));
    }
    let texts = [&address.address1, &address.address2, &address.country, &address.city];
    let longest = texts.into_iter().chain(&address.zip_code).map(|text| text.chars().count()).max();
    if longest.is_some_and(|length| length > 500) {
        errors.push(refused("shippingAddress", "must have at most 500 characters a line"));
    }
    let total = cart::total(body.total_price.as_deref(), &mut errors);
    let payment = means(body.payment_info);
    if let Err(message) = &payment {
        errors.push(refused("paymentInfo", message));
    }
    match payment {
        Ok(payment) if errors.is_empty() => {
            Ok(Wanted { buyer, lines, address, total, coupon: cart::coupon(body.coupon_code), payment, key })
        }
        _ => Err(Error::Invalid(errors)),
    }
}

fn means(info: Option<wire::PaymentInput>) -> Result<Means, &'static str> {
    let info = info.ok_or("is required")?;
    let id = info.id.map(|id| id.trim().to_owned()).filter(|id| !id.is_empty() && id.len() <= 200);
    match info.kind.as_deref() {
        Some("Cash on Delivery") => Ok(Means::OnDelivery),
        Some("Paypal" | "PayPal") => id.map(Means::Paypal).ok_or("needs the id of the payment"),
        Some("Credit Card" | "Stripe") => id.map(Means::Card).ok_or("needs the id of the payment"),
        _ => Err("must have the type Cash on Delivery, Paypal or Credit Card"),
    }
}
