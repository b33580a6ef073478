//! Listings as clients see them, and the worded refusals.

use std::collections::HashMap;

use actix_web::http::StatusCode;
use bson::oid::ObjectId;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use shared::{
    clock::{Timestamp, iso},
    config::Config,
    id::Id,
    model::{Image, Kind, Listing, Review, Shop, ShopCopy},
    money::Money,
};

use super::rules::{CannotChange, Entered, IMAGES_MAX, phase};
use crate::{
    error::{Error, Refusal},
    extract::{loose, meant},
    media::{self, wire::PictureReply},
    shops::wire::ShopReply,
};

/// No such product.
pub(crate) const PRODUCT_NOT_FOUND: Refusal =
    Refusal::not_found("product_not_found", "This product does not exist or is no longer on sale");
/// No such event.
pub(crate) const EVENT_NOT_FOUND: Refusal =
    Refusal::not_found("event_not_found", "This event does not exist or was called off");
/// The id in a form names no shop.
pub(super) const SHOP_INVALID: Refusal = Refusal::bad_request("invalid_shop", "Shop is Invalid");
pub(super) const NOT_YOURS: Refusal = Refusal::forbidden("not_yours", "This belongs to another shop");
pub(super) const AWAITING_APPROVAL: Refusal = Refusal::forbidden(
    "awaiting_approval",
    "Your shop waits for an administrator's approval. It can put things on sale once it has that",
);
const RESERVED: Refusal = Refusal::conflict("units_reserved", "Open orders hold units of this");

/// The index of what is for sale is still being made.
pub(super) const NOT_SEARCHABLE_YET: Refusal = Refusal::new(
    StatusCode::SERVICE_UNAVAILABLE,
    "unavailable",
    "The catalogue is being read and cannot be searched yet. Please try again in a moment",
);

/// Why there is no such page.
pub(super) fn refuse_search(why: search::Error) -> Error {
    match why {
        search::Error::Cursor => {
            Error::field("cursor", "must be the nextCursor of the page before, with the same conditions")
        }
        search::Error::Limit => {
            Error::field("limit", format!("must be a whole number from 1 to {}", search::MAX_LIMIT))
        }
    }
}

/// A page of listings that are written out already, and what was found with it.
pub(super) fn page(kind: Kind, listings: &[u8], found: &search::Page) -> serde_json::Result<Vec<u8>> {
    let rest =
        Found { total: found.total, next_cursor: found.next.as_deref(), facets: facets(&found.facets) };
    let rest = serde_json::to_vec(&rest)?;
    let (begin, end) = match kind {
        Kind::Product => ("{\"success\":true,\"products\":[", "],"),
        Kind::Event => ("{\"success\":true,\"events\":[", "],"),
    };
    // The rest is an object; its first bracket stands at the very beginning.
    let rest = rest.get(1..).unwrap_or_default();
    Ok([begin.as_bytes(), listings, end.as_bytes(), rest].concat())
}

/// What a page says besides its listings.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Found<'a> {
    total: usize,
    /// Null on the last page.
    next_cursor: Option<&'a str>,
    facets: FacetsReply<'a>,
}

/// How many there are of what; each kind without its own condition.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FacetsReply<'a> {
    categories: Vec<CategoryReply<'a>>,
    shops: Vec<ShopCountReply<'a>>,
    prices: Vec<PriceReply>,
    ratings: Vec<RatingReply>,
    in_stock: usize,
    out_of_stock: usize,
}

#[derive(Serialize)]
struct CategoryReply<'a> {
    category: &'a str,
    count: usize,
}

#[derive(Serialize)]
struct ShopCountReply<'a> {
    shop: String,
    name: &'a str,
    count: usize,
}

/// From one price, itself included, to another, itself not.
#[derive(Serialize)]
struct PriceReply {
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<Money>,
    #[serde(skip_serializing_if = "Option::is_none")]
    below: Option<Money>,
    count: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RatingReply {
    /// Whole stars.
    at_least: u16,
    count: usize,
}

fn facets(facets: &search::Facets) -> FacetsReply<'_> {
    let search::Facets { categories, shops, prices, ratings, in_stock, out_of_stock } = facets;
    FacetsReply {
        categories: categories
            .iter()
            .map(|counted| CategoryReply { category: &counted.category, count: counted.count })
            .collect(),
        shops: shops
            .iter()
            .map(|counted| ShopCountReply {
                shop: Id::<Shop>::from_oid(ObjectId::from_bytes(counted.shop)).hex(),
                name: &counted.name,
                count: counted.count,
            })
            .collect(),
        prices: prices
            .iter()
            .map(|counted| PriceReply {
                from: counted.from.map(Money::from_minor),
                below: counted.below.map(Money::from_minor),
                count: counted.count,
            })
            .collect(),
        ratings: ratings
            .iter()
            .map(|counted| RatingReply { at_least: counted.at_least / 100, count: counted.count })
            .collect(),
        in_stock: *in_stock,
        out_of_stock: *out_of_stock,
    }
}

/// The refusal for a listing that is not there.
pub(crate) const fn not_found(kind: Kind) -> Refusal {
    match kind {
        Kind::Product => PRODUCT_NOT_FOUND,
        Kind::Event => EVENT_NOT_FOUND,
    }
}

/// A listing cannot be deleted while orders wait for units of it.
pub(super) fn still_reserved(kind: Kind, reserved: i64) -> Refusal {
    let (units, are) = units(reserved);
    RESERVED.saying(format!(
        "{units} of this {} {are} in open orders. It can be deleted once they are handed over or cancelled",
        kind.word()
    ))
}

fn units(count: i64) -> (String, &'static str) {
    if count == 1 { ("1 unit".to_owned(), "is") } else { (format!("{count} units"), "are") }
}

/// Why a change is refused.
pub(super) fn refuse_change(kind: Kind, why: CannotChange) -> Error {
    match why {
        CannotChange::Reserved(reserved) => {
            let (units, are) = units(reserved);
            RESERVED
                .saying(format!(
                    "{units} of this {} {are} in open orders: the stock cannot be lower",
                    kind.word()
                ))
                .into()
        }
        CannotChange::EndBeforeStart => Error::field("end_date", "must be after start_date"),
        CannotChange::UnknownImage(name) => {
            let name: String = name.chars().take(100).collect();
            Error::field("keepImages", format!("names a picture that is not there: {name}"))
        }
        CannotChange::NoImage => Error::field("images", "must leave at least one picture"),
        CannotChange::TooManyImages => {
            Error::field("images", format!("must leave at most {IMAGES_MAX} pictures"))
        }
    }
}

/// A change sent as JSON; numbers may come as text. Forms have the same names.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Change {
    #[serde(deserialize_with = "loose")]
    name: Option<String>,
    #[serde(deserialize_with = "loose")]
    description: Option<String>,
    #[serde(deserialize_with = "loose")]
    category: Option<String>,
    /// Unlike the other texts it may be empty.
    #[serde(deserialize_with = "given")]
    tags: Option<Option<String>>,
    /// Explicit `null` takes it away.
    #[serde(rename = "originalPrice", deserialize_with = "given")]
    original_price: Option<Option<String>>,
    #[serde(rename = "discountPrice", deserialize_with = "loose")]
    price: Option<String>,
    #[serde(deserialize_with = "loose")]
    stock: Option<String>,
    #[serde(rename = "start_date", deserialize_with = "loose")]
    starts_at: Option<String>,
    #[serde(rename = "end_date", deserialize_with = "loose")]
    ends_at: Option<String>,
    /// Names of the pictures that stay.
    #[serde(rename = "keepImages")]
    pub(super) keep: Option<Vec<String>>,
}

/// A field that is there, though perhaps empty.
fn given<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Option<String>>, D::Error> {
    loose(d).map(Some)
}

impl From<Change> for Entered {
    fn from(change: Change) -> Self {
        Self {
            name: change.name,
            description: change.description,
            category: change.category,
            tags: change.tags.map(Option::unwrap_or_default),
            original_price: change.original_price,
            price: change.price,
            stock: change.stock,
            starts_at: change.starts_at,
            ends_at: change.ends_at,
        }
    }
}

/// For whom a listing is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Audience {
    /// Whoever may want to buy it: `stock` is what is available.
    Shoppers,
    /// The shop that sells it: `stock` is what is on the shelf.
    Owner,
}

/// What every listing of one answer is shown with.
pub(crate) struct Showing<'a> {
    /// For absolute addresses.
    pub(crate) config: &'a Config,
    /// When it is asked.
    pub(crate) now: Timestamp,
    /// By whom.
    pub(crate) audience: Audience,
}

/// A product or an event.
#[derive(Debug, Serialize)]
pub(crate) struct ListingReply {
    #[serde(rename = "_id")]
    id: String,
    name: String,
    description: String,
    category: String,
    tags: String,
    #[serde(rename = "originalPrice", skip_serializing_if = "Option::is_none")]
    original_price: Option<Money>,
    #[serde(rename = "discountPrice")]
    price: Money,
    stock: i64,
    available: i64,
    images: Vec<ImageReply>,
    #[serde(rename = "shopeId")]
    shop_id: String,
    shop: ShopReply,
    #[serde(skip_serializing_if = "Option::is_none")]
    reviews: Option<Vec<ReviewReply>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rating: Option<Rating>,
    sold_out: i64,
    #[serde(rename = "start_date", skip_serializing_if = "Option::is_none")]
    starts_at: Option<String>,
    #[serde(rename = "end_date", skip_serializing_if = "Option::is_none")]
    ends_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'static str>,
    #[serde(rename = "createdAt")]
    created_at: String,
    /// Only its owner is shown it then.
    #[serde(skip_serializing_if = "Option::is_none")]
    hidden: Option<HiddenReply>,
    #[serde(rename = "__v")]
    version: i64,
}

/// That an administrator has hidden it from everybody but its owner.
#[derive(Debug, Serialize)]
struct HiddenReply {
    reason: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<String>,
}

/// A picture of a listing.
#[derive(Debug, Serialize)]
pub(crate) struct ImageReply {
    #[serde(rename = "_id")]
    id: String,
    public_id: String,
    url: String,
}

/// An opinion. Of the reviewer only what is shown.
#[derive(Debug, Serialize)]
struct ReviewReply {
    #[serde(rename = "_id")]
    id: String,
    user: ReviewerReply,
    rating: Rating,
    comment: String,
    #[serde(rename = "productId")]
    product_id: String,
}

#[derive(Debug, Serialize)]
struct ReviewerReply {
    name: String,
    avatar: PictureReply,
}

/// Stars, whole where they are: `5`, `4.5`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rating(f64);

impl Rating {
    /// Old documents hold any number.
    pub(crate) const fn of(stars: f64) -> Self {
        Self(stars.clamp(0.0, 5.0))
    }
}

impl Serialize for Rating {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.to_string().parse::<u8>() {
            Ok(whole) => serializer.serialize_u8(whole),
            Err(_) => serializer.serialize_f64(self.0),
        }
    }
}

impl ListingReply {
    /// Shows a listing with the shop as it is today; without one, with what the listing remembers of
    /// it. Whatever the client cannot do without is there, also where the document lacks it.
    pub(crate) fn of(listing: Listing, kind: Kind, shop: Option<&Shop>, showing: &Showing<'_>) -> Self {
        let Showing { config, now, audience } = *showing;
        let available = listing.available();
        let event = (kind == Kind::Event).then(|| {
            let start = listing.starts_at.unwrap_or_else(|| listing.id.made_at());
            (iso(start), iso(listing.ends_at.unwrap_or(start)), phase(&listing, now).text())
        });
        let (starts_at, ends_at, status) = match event {
            Some((start, end, status)) => (Some(start), Some(end), Some(status)),
            None => (None, None, None),
        };
        let product = listing.id.hex();
        Self {
            stock: match audience {
                Audience::Shoppers => available,
                Audience::Owner => listing.stock,
            },
            available,
            images: images(listing.images, config),
            shop_id: listing.shop_id.hex(),
            shop: match shop {
                Some(shop) => ShopReply::of(config, shop),
                None => ShopReply::of(config, &remembered(listing.shop_id, listing.shop)),
            },
            reviews: (kind == Kind::Product).then(|| {
                let shown = listing.reviews.into_iter().filter(|review| review.hidden.is_none());
                shown.map(|review| review_reply(review, &product, config)).collect()
            }),
            rating: listing.rating.filter(|_| kind == Kind::Product).map(Rating::of),
            created_at: iso(listing.created_at.unwrap_or_else(|| listing.id.made_at())),
            id: product,
            name: listing.name,
            description: listing.description,
            category: listing.category,
            tags: listing.tags,
            original_price: listing.original_price,
            price: listing.price,
            sold_out: listing.sold_out,
            starts_at,
            ends_at,
            status,
            hidden: listing.hidden.map(|by| HiddenReply { reason: by.reason, at: by.at.map(iso) }),
            version: listing.version,
        }
    }

    /// The shop that is shown with it.
    pub(super) const fn shop(&self) -> &ShopReply {
        &self.shop
    }

    /// Shows several, each with its shop.
    pub(crate) fn all(
        listings: Vec<Listing>,
        kind: Kind,
        shops: &HashMap<Id<Shop>, Shop>,
        showing: &Showing<'_>,
    ) -> Vec<Self> {
        listings
            .into_iter()
            .map(|listing| {
                let shop = shops.get(&listing.shop_id);
                Self::of(listing, kind, shop, showing)
            })
            .collect()
    }
}

/// Pictures with absolute addresses, at least one: the client's home page does not survive a listing
/// without any.
pub(crate) fn images(images: Vec<Image>, config: &Config) -> Vec<ImageReply> {
    let mut replies: Vec<ImageReply> = images
        .into_iter()
        .filter(|image| meant(&image.url).is_some())
        .map(|image| ImageReply {
            id: image.id.hex(),
            url: media::public_url(config, &image.url),
            public_id: image.public_id,
        })
        .collect();
    if replies.is_empty() {
        let placeholder = media::placeholder(config);
        replies.push(ImageReply {
            id: Id::<Image>::nil().hex(),
            public_id: placeholder.public_id,
            url: placeholder.url,
        });
    }
    replies
}

/// A shop that is gone, as far as a listing's copy remembers it.
fn remembered(id: Id<Shop>, copy: Option<ShopCopy>) -> Shop {
    let copy = copy.unwrap_or_default();
    Shop { id, name: copy.name, avatar: copy.avatar, ..Shop::default() }
}

fn review_reply(review: Review, product: &str, config: &Config) -> ReviewReply {
    let user = review.user.unwrap_or_default();
    ReviewReply {
        id: review.id.hex(),
        user: ReviewerReply { name: user.name, avatar: PictureReply::of(config, user.avatar.as_ref()) },
        rating: Rating::of(review.rating.unwrap_or_default()),
        comment: review.comment,
        product_id: product.to_owned(),
    }
}
