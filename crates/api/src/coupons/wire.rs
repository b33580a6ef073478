use serde::{Deserialize, Serialize};
use shared::{
    clock::iso,
    config::Config,
    model::{Coupon, CouponSeller},
    money::{Money, Percent},
};

use crate::{error::Refusal, extract::loose, media::wire::PictureReply};

/// `POST /api/coupan/create-coupan`. The body's `seller` is not read: the session says who it is.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NewCoupon {
    #[serde(default, deserialize_with = "loose")]
    pub name: Option<String>,
    #[serde(default, deserialize_with = "loose")]
    pub value: Option<String>,
    #[serde(default, deserialize_with = "loose")]
    pub min_amount: Option<String>,
    #[serde(default, deserialize_with = "loose")]
    pub max_amount: Option<String>,
    #[serde(default, deserialize_with = "loose")]
    pub selected_product: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CouponReply {
    #[serde(rename = "_id")]
    id: String,
    name: String,
    value: Percent,
    min_amount: Option<Money>,
    max_amount: Option<Money>,
    selected_product: String,
    seller: SellerReply,
    created_at: String,
    #[serde(rename = "__v")]
    version: i64,
}

/// The public part of the shop that gives the coupon.
#[derive(Serialize)]
struct SellerReply {
    #[serde(rename = "_id")]
    id: String,
    name: String,
    avatar: PictureReply,
}

impl CouponReply {
    pub(super) fn of(config: &Config, coupon: Coupon) -> Self {
        let CouponSeller { id, name, avatar } = coupon.seller;
        Self {
            id: coupon.id.hex(),
            name: coupon.name,
            value: coupon.value,
            min_amount: coupon.min_amount,
            max_amount: coupon.max_amount,
            selected_product: coupon.product_name,
            seller: SellerReply { id: id.hex(), name, avatar: PictureReply::of(config, avatar.as_ref()) },
            created_at: iso(coupon.created_at.unwrap_or_else(|| coupon.id.made_at())),
            version: coupon.version,
        }
    }
}

/// The old server misspells `success` here.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CouponCreated {
    pub sucess: bool,
    pub coupan_code: CouponReply,
}

#[derive(Serialize)]
pub(super) struct CouponList {
    pub sucess: bool,
    pub coupans: Vec<CouponReply>,
}

#[derive(Serialize)]
pub(super) struct CouponDeleted {
    pub sucess: bool,
    pub message: &'static str,
}

/// `coupanCode` must be an explicit `null` when there is none.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CouponFound {
    pub success: bool,
    pub coupan_code: Option<CouponReply>,
}

pub(super) const EXISTS: Refusal =
    Refusal::conflict("coupon_exists", "A coupon of this name exists already; please choose another name");
pub(super) const NOT_FOUND: Refusal = Refusal::not_found("coupon_not_found", "Your shop has no such coupon");
pub(super) const NOT_YOURS: Refusal =
    Refusal::forbidden("not_yours", "These are another shop's coupons; only your own can be listed");
