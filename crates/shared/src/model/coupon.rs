use serde::{Deserialize, Serialize};

use super::{Picture, Shop, Stored};
use crate::{
    clock::Timestamp,
    id::Id,
    lenient,
    money::{Money, Percent},
};

/// A shop's discount code (`couponcodes`).
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Coupon {
    /// The coupon's id.
    #[serde(rename = "_id")]
    pub id: Id<Coupon>,
    /// What buyers type; unique over the marketplace.
    #[serde(deserialize_with = "lenient::text")]
    pub name: String,
    /// The discount; above 0, at most 100 in new documents.
    #[serde(deserialize_with = "percent")]
    pub value: Percent,
    /// The eligible lines must come to at least this.
    #[serde(rename = "minAmount", deserialize_with = "lenient::opt_money")]
    pub min_amount: Option<Money>,
    /// The eligible lines must come to at most this.
    #[serde(rename = "maxAmount", deserialize_with = "lenient::opt_money")]
    pub max_amount: Option<Money>,
    /// Public copy of the shop. `seller._id` is hex text, and what the shop's coupons are found by.
    #[serde(deserialize_with = "lenient::document")]
    pub seller: CouponSeller,
    /// The one product it is for, by name; empty for all of the shop's.
    #[serde(rename = "selectedProduct", deserialize_with = "lenient::text")]
    pub product_name: String,
    /// When it was made.
    #[serde(
        rename = "createdAt",
        deserialize_with = "lenient::opt_date",
        skip_serializing_if = "Option::is_none"
    )]
    pub created_at: Option<Timestamp>,
    /// Mongoose's version counter.
    #[serde(rename = "__v", deserialize_with = "lenient::int")]
    pub version: i64,
}

impl Stored for Coupon {
    const COLLECTION: &'static str = "couponcodes";
}

/// The public part of the shop that gives a coupon.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct CouponSeller {
    /// Hex text in the database.
    #[serde(rename = "_id", with = "crate::id::text")]
    pub id: Id<Shop>,
    /// The shop's name.
    #[serde(deserialize_with = "lenient::text")]
    pub name: String,
    /// The shop's picture.
    #[serde(deserialize_with = "lenient::opt_document", skip_serializing_if = "Option::is_none")]
    pub avatar: Option<Picture>,
}

fn percent<'de, D: serde::Deserializer<'de>>(d: D) -> Result<Percent, D::Error> {
    Ok(Percent::from_basis_points(lenient::money(d)?.minor()))
}
