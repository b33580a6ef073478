use std::collections::HashMap;

use serde::Serialize;
use shared::{
    clock::iso,
    config::Config,
    id::Id,
    model::{Kind, Listing, Shop},
    money::Money,
};

use crate::{
    admin::{
        page::Page,
        wire::{MeasureReply, made},
    },
    media,
};

/// A product or an event in a list for administrators.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListingReply {
    #[serde(rename = "_id")]
    id: String,
    name: String,
    category: String,
    discount_price: Money,
    /// What is on the shelf.
    stock: i64,
    available: i64,
    #[serde(rename = "sold_out")]
    sold: i64,
    /// The first picture's address.
    image: String,
    shop: SellerReply,
    created_at: String,
    #[serde(rename = "start_date", skip_serializing_if = "Option::is_none")]
    starts_at: Option<String>,
    #[serde(rename = "end_date", skip_serializing_if = "Option::is_none")]
    ends_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hidden: Option<MeasureReply>,
}

/// Who sells it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SellerReply {
    #[serde(rename = "_id")]
    id: String,
    name: String,
    /// Nothing of the shop is shown or sold.
    shut: bool,
}

impl ListingReply {
    pub(crate) fn of(config: &Config, listing: Listing, shop: Option<&Shop>) -> Self {
        let remembered = || listing.shop.as_ref().map(|shop| shop.name.clone());
        let image = listing.images.iter().find(|image| crate::extract::meant(&image.url).is_some());
        let image = image
            .map_or_else(|| media::placeholder(config).url, |image| media::public_url(config, &image.url));
        Self {
            shop: SellerReply {
                id: listing.shop_id.hex(),
                name: shop.map(|shop| shop.name.clone()).or_else(remembered).unwrap_or_default(),
                shut: shop.is_some_and(Shop::is_shut),
            },
            available: listing.available(),
            created_at: made(listing.created_at, listing.id),
            id: listing.id.hex(),
            name: listing.name,
            category: listing.category,
            discount_price: listing.price,
            stock: listing.stock,
            sold: listing.sold_out,
            image,
            starts_at: listing.starts_at.map(iso),
            ends_at: listing.ends_at.map(iso),
            hidden: listing.hidden.map(Into::into),
        }
    }
}

/// `GET /api/admin/products`
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Listings {
    success: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    products: Option<Vec<ListingReply>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    events: Option<Vec<ListingReply>>,
    total: u64,
    next_cursor: Option<String>,
}

impl Listings {
    pub(super) fn of(
        config: &Config,
        kind: Kind,
        page: Page<Listing>,
        shops: &HashMap<Id<Shop>, Shop>,
    ) -> Self {
        let reply = |listing: Listing| {
            let shop = shops.get(&listing.shop_id);
            ListingReply::of(config, listing, shop)
        };
        let Page { items, total, next: next_cursor } = page.map(reply);
        let (products, events) = match kind {
            Kind::Product => (Some(items), None),
            Kind::Event => (None, Some(items)),
        };
        Self { success: true, products, events, total, next_cursor }
    }
}

/// What became of a decision.
#[derive(Serialize)]
pub(super) struct Decided {
    pub(super) success: bool,
    pub(super) message: &'static str,
    pub(super) listing: ListingReply,
}

pub(crate) const HIDDEN: &str = "It is hidden: nobody but its owner is shown it, and nobody can buy it";
pub(crate) const RESTORED: &str = "It is shown again";
pub(crate) const UNCHANGED: &str = "Nothing to do: it was so already";
