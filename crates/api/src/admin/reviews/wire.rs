use serde::Serialize;
use shared::config::Config;

use super::store::Reviewed;
use crate::{
    admin::{
        page::Page,
        wire::{MeasureReply, made},
    },
    catalogue::wire::Rating,
    error::Refusal,
    media::wire::PictureReply,
};

/// A review, as administrators see it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ReviewReply {
    #[serde(rename = "_id")]
    id: String,
    product_id: String,
    product: String,
    shop_id: String,
    user: ReviewerReply,
    rating: Rating,
    comment: String,
    created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    hidden: Option<MeasureReply>,
}

#[derive(Serialize)]
struct ReviewerReply {
    #[serde(rename = "_id")]
    id: String,
    name: String,
    avatar: PictureReply,
}

impl ReviewReply {
    pub(super) fn of(config: &Config, reviewed: Reviewed) -> Self {
        let Reviewed { id, review, product, name, shop } = reviewed;
        let user = review.user.unwrap_or_default();
        Self {
            id: id.hex(),
            product_id: product.hex(),
            product: name,
            shop_id: shop.hex(),
            user: ReviewerReply {
                id: user.id.hex(),
                name: user.name,
                avatar: PictureReply::of(config, user.avatar.as_ref()),
            },
            rating: Rating::of(review.rating.unwrap_or_default()),
            comment: review.comment,
            created_at: made(review.created_at, id),
            hidden: review.hidden.map(Into::into),
        }
    }
}

/// `GET /api/admin/reviews`
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Reviews {
    success: bool,
    reviews: Vec<ReviewReply>,
    total: u64,
    next_cursor: Option<String>,
}

impl Reviews {
    pub(super) fn of(config: &Config, page: Page<Reviewed>) -> Self {
        let Page { items: reviews, total, next: next_cursor } = page.map(|one| ReviewReply::of(config, one));
        Self { success: true, reviews, total, next_cursor }
    }
}

/// What became of a decision.
#[derive(Serialize)]
pub(super) struct Decided {
    pub(super) success: bool,
    pub(super) message: &'static str,
    pub(super) review: ReviewReply,
}

pub(super) const HIDDEN: &str = "The review is hidden, and does not count for the rating any more";
pub(super) const RESTORED: &str = "The review is shown again, and counts";
pub(super) const UNCHANGED: &str = "Nothing to do: it was so already";
pub(super) const NOT_FOUND: Refusal = Refusal::not_found("review_not_found", "There is no such review");
