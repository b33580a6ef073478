use serde::{Deserialize, Serialize};

use super::{Measure, Picture, Shop, Stored, User};
use crate::{clock::Timestamp, id::Id, lenient, money::Money};

/// Which collection a [`Listing`] lives in. A cart may hold either.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// `products`: sold until out of stock, reviewed by buyers.
    Product,
    /// `events`: a flash sale between two dates.
    Event,
}

impl Kind {
    /// The collection's name.
    pub const fn collection(self) -> &'static str {
        match self {
            Self::Product => "products",
            Self::Event => "events",
        }
    }

    /// The word for messages.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Product => "product",
            Self::Event => "event",
        }
    }
}

/// Something a shop sells: a product (`products`) or a flash-sale event (`events`). Both
/// collections have the same layout but for the dates of an event and the reviews of a product.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Listing {
    /// The listing's id.
    #[serde(rename = "_id")]
    pub id: Id<Listing>,
    /// Title.
    #[serde(deserialize_with = "lenient::text")]
    pub name: String,
    /// Plain text.
    #[serde(deserialize_with = "lenient::text")]
    pub description: String,
    /// One of the client's category titles, or any text.
    #[serde(deserialize_with = "lenient::text")]
    pub category: String,
    /// Free text.
    #[serde(deserialize_with = "lenient::text")]
    pub tags: String,
    /// The price shown struck through.
    #[serde(
        rename = "originalPrice",
        deserialize_with = "lenient::opt_money",
        skip_serializing_if = "Option::is_none"
    )]
    pub original_price: Option<Money>,
    /// The selling price of one.
    #[serde(rename = "discountPrice", deserialize_with = "lenient::money")]
    pub price: Money,
    /// What is on the shelf, reserved units included. Text in old documents until migrated.
    #[serde(deserialize_with = "lenient::int")]
    pub stock: i64,
    /// How many of them belong to orders that have not been handed over yet.
    #[serde(deserialize_with = "lenient::int")]
    pub reserved: i64,
    /// At least one in new documents.
    #[serde(deserialize_with = "lenient::list")]
    pub images: Vec<Image>,
    /// The shop that sells it.
    #[serde(rename = "shopeId", with = "crate::id::text")]
    pub shop_id: Id<Shop>,
    /// Public copy of the shop for readers of the old layout; answers show the shop as it is today.
    #[serde(deserialize_with = "lenient::opt_document", skip_serializing_if = "Option::is_none")]
    pub shop: Option<ShopCopy>,
    /// One per buyer; products only.
    #[serde(deserialize_with = "lenient::list")]
    pub reviews: Vec<Review>,
    /// Mean of the reviews' ratings.
    #[serde(deserialize_with = "lenient::opt_number", skip_serializing_if = "Option::is_none")]
    pub rating: Option<f64>,
    /// Units handed over and not returned.
    #[serde(deserialize_with = "lenient::int")]
    pub sold_out: i64,
    /// How many units the shop has ever put on the shelf: always `stock + sold_out`, so that a unit
    /// that got lost shows. Missing until the migration has seen the document.
    #[serde(deserialize_with = "lenient::opt_int", skip_serializing_if = "Option::is_none")]
    pub supplied: Option<i64>,
    /// How many of the units in `sold_out` no order accounts for: what the old server counted.
    #[serde(
        rename = "soldEarlier",
        deserialize_with = "lenient::opt_int",
        skip_serializing_if = "Option::is_none"
    )]
    pub sold_earlier: Option<i64>,
    /// First moment of an event.
    #[serde(
        rename = "start_date",
        deserialize_with = "lenient::opt_date",
        skip_serializing_if = "Option::is_none"
    )]
    pub starts_at: Option<Timestamp>,
    /// An event is over from this moment on.
    #[serde(
        rename = "end_date",
        deserialize_with = "lenient::opt_date",
        skip_serializing_if = "Option::is_none"
    )]
    pub ends_at: Option<Timestamp>,
    /// What the old server stores for events (`Runnnig`); never read, derived from the dates.
    #[serde(deserialize_with = "lenient::opt_text", skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// Unreliable in old documents; prefer [`Id::made_at`] there.
    #[serde(
        rename = "createdAt",
        deserialize_with = "lenient::opt_date",
        skip_serializing_if = "Option::is_none"
    )]
    pub created_at: Option<Timestamp>,
    /// An administrator has hidden it from everybody but its owner, and why.
    #[serde(deserialize_with = "lenient::opt_document", skip_serializing_if = "Option::is_none")]
    pub hidden: Option<Measure>,
    /// Mongoose's version counter.
    #[serde(rename = "__v", deserialize_with = "lenient::int")]
    pub version: i64,
}

impl Listing {
    /// What can still be bought.
    pub fn available(&self) -> i64 {
        (self.stock - self.reserved).max(0)
    }
}

impl Stored for Listing {
    /// Products; events are reached through [`crate::db::Db::listings`].
    const COLLECTION: &'static str = "products";
}

/// A picture of a listing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Image {
    /// Its own id.
    #[serde(rename = "_id")]
    pub id: Id<Image>,
    /// The media host's name of it.
    #[serde(deserialize_with = "lenient::text")]
    pub public_id: String,
    /// Its address.
    #[serde(deserialize_with = "lenient::text")]
    pub url: String,
}

/// The public part of a shop, as it is copied into its listings.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ShopCopy {
    /// The shop's id; hex text inside carts.
    #[serde(rename = "_id", deserialize_with = "shop_id")]
    pub id: Id<Shop>,
    /// The shop's name.
    #[serde(deserialize_with = "lenient::text")]
    pub name: String,
    /// The shop's picture.
    #[serde(deserialize_with = "lenient::opt_document", skip_serializing_if = "Option::is_none")]
    pub avatar: Option<Picture>,
}

fn shop_id<'de, D: serde::Deserializer<'de>>(d: D) -> Result<Id<Shop>, D::Error> {
    crate::id::text::deserialize(d)
}

/// One buyer's opinion of a product.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Review {
    /// Its own id.
    #[serde(rename = "_id")]
    pub id: Id<Review>,
    /// Public copy of the reviewer.
    #[serde(deserialize_with = "lenient::opt_document", skip_serializing_if = "Option::is_none")]
    pub user: Option<Reviewer>,
    /// 1 to 5.
    #[serde(deserialize_with = "lenient::opt_number")]
    pub rating: Option<f64>,
    /// May be empty.
    #[serde(deserialize_with = "lenient::text")]
    pub comment: String,
    /// Hex text of the product's id.
    #[serde(rename = "productId", deserialize_with = "lenient::id_text")]
    pub product_id: String,
    /// When it was last written; missing in old reviews.
    #[serde(
        rename = "createdAt",
        deserialize_with = "lenient::opt_date",
        skip_serializing_if = "Option::is_none"
    )]
    pub created_at: Option<Timestamp>,
    /// An administrator has hidden it from everybody, and why.
    #[serde(deserialize_with = "lenient::opt_document", skip_serializing_if = "Option::is_none")]
    pub hidden: Option<Measure>,
}

/// What the public may know of a reviewer.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Reviewer {
    /// Who it was, to keep one review a person. Stored as text, never sent out.
    #[serde(rename = "_id", with = "crate::id::text")]
    pub id: Id<User>,
    /// Display name at the time.
    #[serde(deserialize_with = "lenient::text")]
    pub name: String,
    /// Picture at the time.
    #[serde(deserialize_with = "lenient::opt_document", skip_serializing_if = "Option::is_none")]
    pub avatar: Option<Picture>,
}
