//! Reviews lie inside their products, so a list of them is put together from those that have any.

use bson::{Bson, Document, doc};
use futures_util::TryStreamExt as _;
use mongodb::ClientSession;
use serde::Deserialize;
use shared::{
    db::Db,
    id::{self, Id},
    lenient,
    model::{Kind, Listing, Review, Shop},
    touched::Touched,
};

use super::wire;
use crate::{
    admin::{
        listings::store::Decision,
        page::{self, Order, Page, Wanted, all_of},
    },
    audit_log,
    error::Result,
    products::store::rate,
};

/// In which orders reviews can be read.
pub(crate) const ORDERS: [Order; 2] = [Order::NEWEST, Order::OLDEST];

/// Which reviews are wanted.
#[derive(Clone, Debug, Default)]
pub(crate) struct ReviewFilter {
    /// Found in the comment or the reviewer's name, or the id.
    pub(crate) q: Option<String>,
    pub(crate) product: Option<Id<Listing>>,
    pub(crate) shop: Option<Id<Shop>>,
    pub(crate) hidden: Option<bool>,
    /// No more stars than so many.
    pub(crate) most_stars: Option<i64>,
}

/// A review, and what it is about.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Reviewed {
    #[serde(rename = "_id")]
    pub(crate) id: Id<Review>,
    pub(crate) review: Review,
    pub(crate) product: Id<Listing>,
    #[serde(default, deserialize_with = "lenient::text")]
    pub(crate) name: String,
    #[serde(default, rename = "shopeId", with = "id::text")]
    pub(crate) shop: Id<Shop>,
}

/// What the database puts together.
#[derive(Deserialize)]
struct Found {
    page: Vec<Document>,
    #[serde(deserialize_with = "lenient::list")]
    count: Vec<Count>,
}

#[derive(Deserialize)]
struct Count {
    #[serde(deserialize_with = "lenient::int")]
    total: i64,
}

/// A page of the reviews.
pub(crate) async fn reviews(
    db: &Db,
    wanted: &Wanted<ReviewFilter>,
) -> mongodb::error::Result<Page<Reviewed>> {
    let ReviewFilter { q, product, shop, hidden, most_stars } = &wanted.filter;
    let mut products = doc! { "reviews._id": { "$type": "objectId" } };
    if let Some(product) = product {
        products.insert("_id", product);
    }
    if let Some(shop) = shop {
        products.insert("shopeId", shop.hex());
    }
    let mut fitting = vec![doc! { "_id": { "$type": "objectId" } }];
    fitting.extend(q.as_deref().map(|text| page::containing(text, &["review.comment", "review.user.name"])));
    fitting.extend(hidden.map(|hidden| doc! { "review.hidden": { "$exists": hidden } }));
    fitting.extend(most_stars.map(|stars| doc! { "review.rating": { "$lte": stars } }));
    let after = wanted.after.as_ref().map(|cursor| cursor.behind(wanted.order));
    let page = vec![
        doc! { "$match": after.unwrap_or_default() },
        doc! { "$sort": wanted.order.keys() },
        doc! { "$limit": wanted.limit + 1 },
    ];
    let pipeline = vec![
        doc! { "$match": products },
        doc! { "$project": { "name": 1, "shopeId": 1, "review": "$reviews" } },
        doc! { "$unwind": "$review" },
        doc! { "$set": { "product": "$_id", "_id": "$review._id" } },
        doc! { "$match": all_of(fitting) },
        doc! { "$facet": { "page": page, "count": [{ "$count": "total" }] } },
    ];
    let products = db.raw::<Document>(Kind::Product.collection());
    let found: Option<Found> = products.aggregate(pipeline).with_type::<Found>().await?.try_next().await?;
    let Some(Found { page, count }) = found else {
        return Ok(Page { items: Vec::new(), total: 0, next: None });
    };
    let total = count.first().map_or(0, |count| u64::try_from(count.total).unwrap_or(0));
    let mut items = page
        .into_iter()
        .map(|one| Ok(bson::deserialize_from_document(one)?))
        .collect::<mongodb::error::Result<Vec<Reviewed>>>()?;
    let limit = usize::try_from(wanted.limit).unwrap_or(usize::MAX);
    let more = items.len() > limit;
    items.truncate(limit);
    let next = match items.last().filter(|_| more) {
        Some(last) => Some(page::Cursor::new(wanted.order, Bson::from(last.id), Bson::from(last.id)).text()?),
        None => None,
    };
    Ok(Page { items, total, next })
}

/// Hides a review, or shows it again; the product's rating follows. It as it is then, and whether that was this
/// decision's doing.
pub(crate) async fn decide(db: &Db, id: Id<Review>, decision: &Decision) -> Result<(Reviewed, bool)> {
    db.transaction(|session| {
        let (db, decision) = (db.clone(), decision.clone());
        Box::pin(async move { decide_in(&db, session, id, &decision).await })
    })
    .await
}

async fn decide_in(
    db: &Db,
    session: &mut ClientSession,
    id: Id<Review>,
    decision: &Decision,
) -> Result<(Reviewed, bool)> {
    let before = find_in(db, session, id).await?;
    if before.review.hidden.is_some() == decision.hide.is_some() {
        return Ok((before, false));
    }
    let products = db.listings(Kind::Product);
    let this = doc! { "_id": before.product };
    let field = "reviews.$[review].hidden";
    let change = match decision.measure()? {
        Some(measure) => doc! { "$set": { field: measure } },
        None => doc! { "$unset": { field: "" } },
    };
    products
        .update_one(this.clone(), change)
        .array_filters([doc! { "review._id": id }])
        .session(&mut *session)
        .await?;
    products.update_one(this, vec![rate()]).session(&mut *session).await?;
    audit_log::add_in(db, session, &decision.entry).await?;
    db.touched(Touched::Listing(Kind::Product, before.product));
    Ok((find_in(db, session, id).await?, true))
}

async fn find_in(db: &Db, session: &mut ClientSession, id: Id<Review>) -> Result<Reviewed> {
    let found = db.listings(Kind::Product).find_one(doc! { "reviews._id": id }).session(session).await?;
    let reviewed = found.and_then(|product| {
        let review = product.reviews.into_iter().find(|review| review.id == id)?;
        Some(Reviewed { id, review, product: product.id, name: product.name, shop: product.shop_id })
    });
    Ok(reviewed.ok_or(wire::NOT_FOUND)?)
}
