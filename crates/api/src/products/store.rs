//! Reviews: inside their product, and marked in the order that they are about.

use bson::{Document, doc};
use mongodb::ClientSession;
use serde::Deserialize;
use shared::{
    clock::Timestamp,
    db::Db,
    id::Id,
    lenient,
    model::{CartLine, Kind, Listing, Order, Review, Reviewer, Status, Stored as _, User},
    touched::Touched,
};

use super::rules::Opinion;

type Result<T> = mongodb::error::Result<T>;

/// What of an order decides about a review.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Bought {
    pub(super) status: Status,
    #[serde(deserialize_with = "lenient::list")]
    pub(super) cart: Vec<CartLine>,
}

/// What the public will see of a reviewer.
pub(super) async fn reviewer(db: &Db, user: Id<User>) -> Result<Option<Reviewer>> {
    let fields = doc! { "name": 1, "avatar": 1 };
    db.raw::<Reviewer>(User::COLLECTION).find_one(doc! { "_id": user }).projection(fields).await
}

/// One of the buyer's own orders.
pub(super) async fn bought_in(
    session: &mut ClientSession,
    db: &Db,
    buyer: Id<User>,
    order: Id<Order>,
) -> Result<Option<Bought>> {
    db.raw::<Bought>(Order::COLLECTION)
        .find_one(doc! { "_id": order, "user._id": buyer.hex() })
        .projection(doc! { "status": 1, "cart._id": 1 })
        .session(session)
        .await
}

/// Writes a review in the place of the same person's earlier ones, or at the end, and the mean with
/// it, all in one update. False if there is no such product.
pub(super) async fn put_review_in(
    session: &mut ClientSession,
    db: &Db,
    opinion: &Opinion,
    reviewer: &Reviewer,
    now: Timestamp,
) -> Result<bool> {
    let review = Review {
        id: Id::new(),
        user: Some(reviewer.clone()),
        rating: Some(f64::from(opinion.stars)),
        comment: opinion.comment.clone(),
        product_id: opinion.product.hex(),
        created_at: Some(now),
        hidden: None,
    };
    let result = db
        .listings(Kind::Product)
        .update_one(doc! { "_id": opinion.product }, put_review(&review, reviewer.id)?)
        .session(session)
        .await?;
    db.touched(Touched::Listing(Kind::Product, opinion.product));
    Ok(result.matched_count == 1)
}

/// The update, as a pipeline. What people wrote stands behind `$literal`: it is never read as an
/// expression.
fn put_review(review: &Review, reviewer: Id<User>) -> Result<Vec<Document>> {
    let reviewer = reviewer.hex();
    let review = doc! { "$literal": bson::serialize_to_bson(review)? };
    let is_theirs = doc! { "$eq": ["$$this.user._id", &reviewer] };
    // Old products can hold several reviews by one person: the first one's place and id stay.
    let their_first = doc! {
        "$arrayElemAt": [{ "$filter": { "input": "$reviews", "cond": is_theirs.clone() } }, 0],
    };
    let without_repeats = doc! {
        "$filter": {
            "input": "$reviews",
            "cond": { "$or": [{ "$not": is_theirs.clone() }, { "$eq": ["$$this._id", "$$first._id"] }] },
        },
    };
    let replaced = doc! {
        "$map": {
            "input": without_repeats,
            "in": { "$cond": [
                is_theirs,
                // What was hidden stays so, whatever takes its place.
                { "$mergeObjects": [review.clone(), { "_id": "$$this._id", "hidden": "$$this.hidden" }] },
                "$$this",
            ] },
        },
    };
    let has_reviewed = doc! { "$in": [&reviewer, "$reviews.user._id"] };
    Ok(vec![
        doc! { "$set": { "reviews": { "$cond": [{ "$isArray": "$reviews" }, "$reviews", []] } } },
        doc! { "$set": { "reviews": { "$cond": [
            has_reviewed,
            { "$let": { "vars": { "first": their_first }, "in": replaced } },
            { "$concatArrays": ["$reviews", [review]] },
        ] } } },
        rate(),
    ])
}

/// The step that has a product's rating follow from its reviews: those that are shown.
pub(crate) fn rate() -> Document {
    let shown = doc! { "$filter": { "input": "$reviews", "cond": { "$eq": [{ "$type": "$$this.hidden" }, "missing"] } } };
    // Old ratings can be any number, or none.
    let stars = doc! { "$let": { "vars": { "shown": shown }, "in": { "$map": {
        "input": { "$filter": { "input": "$$shown.rating", "cond": { "$isNumber": "$$this" } } },
        "in": { "$min": [5, { "$max": [1, "$$this"] }] },
    } } } };
    doc! { "$set": { "rating": { "$avg": stars } } }
}

/// Marks a product as reviewed in the buyer's own order.
pub(super) async fn mark_reviewed_in(
    session: &mut ClientSession,
    db: &Db,
    buyer: Id<User>,
    order: Id<Order>,
    product: Id<Listing>,
) -> Result<()> {
    db.raw::<Document>(Order::COLLECTION)
        .update_one(
            doc! { "_id": order, "user._id": buyer.hex() },
            doc! { "$set": { "cart.$[line].isReviewed": true } },
        )
        .array_filters([doc! { "line._id": product.hex() }])
        .session(session)
        .await
        .map(drop)
}
