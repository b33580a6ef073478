use actix_web::{HttpResponse, web};
use shared::{
    id::Id,
    model::{Coupon, CouponSeller},
    money::{Money, Percent},
};

use super::{store, wire};
use crate::{
    error::{Error, FieldError, OnDuplicate as _, Result},
    extract::{AnyPathId, Json, PathId},
    idempotency::{self, Answer, Key},
    identity::Seller,
    shops,
    state::State,
};

/// `POST /api/coupan/create-coupan`: a shop makes a coupon of its own.
pub(super) async fn create(
    Seller(shop): Seller,
    key: Key,
    body: Json<wire::NewCoupon>,
    state: State,
) -> Result<HttpResponse> {
    let mut coupon = checked(&body)?;
    let now = state.clock.now();
    let meaning = (&coupon.name, coupon.value, coupon.min_amount, coupon.max_amount, &coupon.product_name);
    let memory = key.memory("create-coupon", shop, &meaning, now);
    if let Some(answer) = idempotency::recall(&state.db, memory.as_ref()).await? {
        return Ok(answer.into());
    }
    if !coupon.product_name.is_empty() && !store::shop_sells(&state.db, shop, &coupon.product_name).await? {
        return Err(Error::field("selectedProduct", "must be the name of one of your products"));
    }
    let seller = shops::store::find_public(&state.db, shop).await?.ok_or(Error::Unauthenticated)?;
    coupon.id = Id::new();
    coupon.created_at = Some(now);
    coupon.seller = CouponSeller { id: shop, name: seller.name, avatar: seller.avatar };
    let coupan_code = wire::CouponReply::of(&state.config, coupon.clone());
    let answer = Answer::created(&wire::CouponCreated { sucess: true, coupan_code })?;
    let given = store::insert(&state.db, memory, coupon, answer).await;
    Ok(given.on_duplicate("couponcodes_name", wire::EXISTS)?.into())
}

/// `GET /api/coupan/get-coupans/{id}`: a shop lists its own coupons.
pub(super) async fn of_shop(
    Seller(shop): Seller,
    id: AnyPathId<shared::model::Shop>,
    state: State,
) -> Result<HttpResponse> {
    if id.0 != Some(shop) {
        return Err(wire::NOT_YOURS.into());
    }
    let coupons = store::of_shop(&state.db, shop).await?;
    let coupans = coupons.into_iter().map(|coupon| wire::CouponReply::of(&state.config, coupon)).collect();
    Ok(HttpResponse::Ok().json(wire::CouponList { sucess: true, coupans }))
}

/// `DELETE /api/coupan/delete-coupan/{id}`: a shop deletes one of its coupons.
pub(super) async fn remove(Seller(shop): Seller, id: PathId<Coupon>, state: State) -> Result<HttpResponse> {
    if !store::delete(&state.db, shop, *id).await? {
        return Err(wire::NOT_FOUND.into());
    }
    Ok(HttpResponse::Ok().json(wire::CouponDeleted { sucess: true, message: "Deleted Successfully" }))
}

/// `GET /api/coupan/coupan-verified/{name}`: what a code is worth; `null` if there is none.
pub(super) async fn look_up(name: web::Path<String>, state: State) -> Result<HttpResponse> {
    let coupon = store::by_name(&state.db, &name).await?;
    let coupan_code = coupon.map(|coupon| wire::CouponReply::of(&state.config, coupon));
    Ok(HttpResponse::Ok().json(wire::CouponFound { success: true, coupan_code }))
}

/// The coupon a body describes, without its shop, id and time.
fn checked(body: &wire::NewCoupon) -> Result<Coupon> {
    let mut errors = Vec::new();
    let mut refuse = |field: &str, message: &str| {
        errors.push(FieldError { field: field.to_owned(), message: message.to_owned() });
    };
    let name = body.name.clone().unwrap_or_default();
    // The client puts the name into a path as it is.
    if name.is_empty()
        || name.chars().count() > 50
        || name.contains(['%', '/', '\\', '?', '#'])
        || name.contains(char::is_control)
    {
        refuse("name", "must have 1 to 50 characters, without % / \\ ? #");
    }
    let value = body.value.as_deref().and_then(|text| Percent::parse(text).ok());
    let value = value.filter(|value| *value > Percent::default() && *value <= Percent::HUNDRED);
    if value.is_none() {
        refuse("value", "must be a percentage above 0 and up to 100");
    }
    let mut bound = |field: &str, text: &Option<String>| {
        let amount = text.as_deref().map(Money::parse_exact).transpose();
        match amount {
            Ok(amount) if amount.is_none_or(|amount| !amount.is_negative()) => amount,
            _ => {
                refuse(field, "must be an amount with at most two decimals, or empty");
                None
            }
        }
    };
    let min_amount = bound("minAmount", &body.min_amount);
    let max_amount = bound("maxAmount", &body.max_amount);
    if min_amount.zip(max_amount).is_some_and(|(min, max)| min > max) {
        refuse("maxAmount", "must not be below minAmount");
    }
    if !errors.is_empty() {
        return Err(Error::Invalid(errors));
    }
    Ok(Coupon {
        name,
        value: value.unwrap_or_default(),
        min_amount,
        max_amount,
        product_name: body.selected_product.clone().unwrap_or_default(),
        ..Coupon::default()
    })
}
