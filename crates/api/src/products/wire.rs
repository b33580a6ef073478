//! Envelopes, the request for a review, and its refusals.

use serde::{Deserialize, Serialize};

use super::rules::CannotReview;
use crate::{
    catalogue::wire::{ListingReply, PRODUCT_NOT_FOUND},
    error::Refusal,
    extract::loose,
};

/// One product.
#[derive(Serialize)]
pub(super) struct ProductReply {
    success: bool,
    product: ListingReply,
}

/// Several.
#[derive(Serialize)]
pub(super) struct ProductsReply {
    success: bool,
    products: Vec<ListingReply>,
}

/// Something was done.
#[derive(Serialize)]
pub(super) struct Done {
    success: bool,
    message: &'static str,
}

pub(super) const DELETED: Done = Done { success: true, message: "Delete the product sucessfully" };
pub(super) const REVIEWED: Done = Done { success: true, message: "reviewed Successfully" };

impl From<ListingReply> for ProductReply {
    fn from(product: ListingReply) -> Self {
        Self { success: true, product }
    }
}

impl From<Vec<ListingReply>> for ProductsReply {
    fn from(products: Vec<ListingReply>) -> Self {
        Self { success: true, products }
    }
}

/// A review as the client sends it. Who wrote it is not believed, hence no `user` here.
#[derive(Debug, Deserialize)]
#[serde(default)]
#[derive(Default)]
pub(super) struct NewReview {
    #[serde(deserialize_with = "loose")]
    pub(super) rating: Option<String>,
    #[serde(deserialize_with = "loose")]
    pub(super) comment: Option<String>,
    #[serde(rename = "productId", deserialize_with = "loose")]
    pub(super) product_id: Option<String>,
    #[serde(rename = "orderId", deserialize_with = "loose")]
    pub(super) order_id: Option<String>,
}

const ORDER_NOT_FOUND: Refusal =
    Refusal::not_found("order_not_found", "You have no such order; only what you bought can be reviewed");
const NOT_IN_ORDER: Refusal = Refusal::forbidden(
    "not_bought",
    "This order does not contain the product; only what you bought can be reviewed",
);
const CANCELLED: Refusal =
    Refusal::conflict("order_cancelled", "This order was cancelled; only what you bought can be reviewed");
const NOT_A_PRODUCT: Refusal = Refusal::not_found("not_a_product", "Only products can be reviewed");

impl From<CannotReview> for Refusal {
    fn from(why: CannotReview) -> Self {
        match why {
            CannotReview::NoSuchOrder => ORDER_NOT_FOUND,
            CannotReview::NotInOrder => NOT_IN_ORDER,
            CannotReview::Cancelled => CANCELLED,
            CannotReview::AnEvent => NOT_A_PRODUCT,
            CannotReview::NoSuchProduct => PRODUCT_NOT_FOUND,
        }
    }
}
