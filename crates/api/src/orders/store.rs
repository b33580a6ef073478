use bson::{Bson, Document, RawBsonRef, RawDocumentBuf, doc};
use futures_util::TryStreamExt as _;
use mongodb::ClientSession;
use shared::{
    clock::Timestamp,
    db::Db,
    id::Id,
    lenient::whole_in,
    model::{Kind, Listing, Order, PaymentInfo, RememberedAnswer, Shop, Status, Stored as _, User},
    touched::Touched,
};

use crate::paging::{self, Listed, Page};

/// Whose orders a query may touch. It is part of every filter.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Owner {
    /// The shop that delivers.
    Shop(Id<Shop>),
    /// The buyer.
    Buyer(Id<User>),
    /// A call on a route where the client sends no credential, where the mode accepts that.
    Anyone,
}

impl Owner {
    fn filter(self) -> Document {
        match self {
            // The lines of some old orders do not name their shop; the migration has written it down.
            Self::Shop(shop) => doc! { "$or": [{ "shopId": shop.hex() }, { "cart.shopeId": shop.hex() }] },
            Self::Buyer(user) => doc! { "user._id": user.hex() },
            Self::Anyone => doc! {},
        }
    }

    pub(crate) fn of_order(self, id: Id<Order>) -> Document {
        let mut filter = self.filter();
        filter.insert("_id", id);
        filter
    }
}

/// An owner's orders, newest first.
pub(super) async fn all_of(
    db: &Db,
    owner: Owner,
    page: Option<&Page>,
) -> mongodb::error::Result<Listed<Order>> {
    paging::latest_first(db, owner.filter(), "createdAt", page).await
}

/// One order, if it is the owner's.
pub(crate) async fn one_of(db: &Db, owner: Owner, id: Id<Order>) -> mongodb::error::Result<Option<Order>> {
    db.of::<Order>().find_one(owner.of_order(id)).await
}

/// Whether there is such an order at all: decides between 403 and 404.
pub(crate) async fn exists(db: &Db, id: Id<Order>) -> mongodb::error::Result<bool> {
    let orders = db.raw::<Document>(Order::COLLECTION);
    Ok(orders.find_one(doc! { "_id": id }).projection(doc! { "_id": 1 }).await?.is_some())
}

/// The orders that were placed before a moment, to be paid online, and are neither paid nor handed over.
pub(super) async fn unpaid_before(db: &Db, deadline: Timestamp) -> mongodb::error::Result<Vec<Id<Order>>> {
    let filter = doc! {
        "stockState": "reserved",
        "createdAt": { "$lt": deadline },
        "status": Status::Processing.text(),
        "paymentInfo.type": { "$ne": PaymentInfo::ON_DELIVERY },
        "paymentInfo.status": { "$nin": PaymentInfo::PAID.to_vec() },
    };
    let orders = db.raw::<Document>(Order::COLLECTION);
    let found = orders.find(filter).projection(doc! { "_id": 1 }).sort(doc! { "createdAt": 1 }).await?;
    let id = |order: Document| order.get_object_id("_id").map(Id::from_oid).ok();
    found.try_filter_map(|order| std::future::ready(Ok(id(order)))).try_collect().await
}

/// A listing as a checkout finds it.
pub(super) struct Offer {
    /// The listing, without its reviews.
    pub listing: Listing,
    /// On which terms it is sold, as the database has them: only while they stand can it be reserved.
    pub terms: Document,
    /// The stock, where it is kept as a number. The old server writes text.
    pub stock: Option<i64>,
}

/// The fields of a listing that decide what a checkout costs and whether it may be.
const TERMS: [&str; 4] = ["discountPrice", "start_date", "end_date", "hidden"];

/// Listings of one kind.
pub(super) async fn offers(db: &Db, kind: Kind, ids: &[Id<Listing>]) -> mongodb::error::Result<Vec<Offer>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let leave_out = doc! { "reviews": 0 };
    let listings = db.raw::<RawDocumentBuf>(kind.collection());
    let mut found = listings.find(doc! { "_id": { "$in": ids } }).projection(leave_out).await?;
    let mut offers = Vec::new();
    while let Some(listing) = found.try_next().await? {
        let mut terms = Document::new();
        for field in TERMS {
            // Whatever is missing is null to the filter that it becomes.
            let value = listing.get(field)?.map(Bson::try_from).transpose()?;
            terms.insert(field, value.unwrap_or(Bson::Null));
        }
        let counted =
            listing.get("stock")?.is_some_and(is_number) && listing.get("reserved")?.is_none_or(is_number);
        let listing: Listing = bson::deserialize_from_slice(listing.as_bytes())?;
        offers.push(Offer { stock: counted.then_some(listing.stock), listing, terms });
    }
    Ok(offers)
}

/// Whether the database compares it as we read it. Of a fraction we read only the whole part.
fn is_number(value: RawBsonRef<'_>) -> bool {
    match value {
        RawBsonRef::Int32(_) | RawBsonRef::Int64(_) => true,
        RawBsonRef::Double(number) => number.fract() == 0.0 && number.abs() < 9_007_199_254_740_992.0,
        _ => false,
    }
}

/// Shops, as far as an order has to know them.
pub(super) async fn shops(db: &Db, ids: &[Id<Shop>]) -> mongodb::error::Result<Vec<Shop>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let fields = doc! { "name": 1, "avatar": 1, "blocked": 1, "awaitingApproval": 1 };
    db.of::<Shop>().find(doc! { "_id": { "$in": ids } }).projection(fields).await?.try_collect().await
}

/// Buyers, as far as an order has to know them.
pub(super) async fn buyers(db: &Db, ids: &[Id<User>]) -> mongodb::error::Result<Vec<User>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let fields = doc! { "name": 1, "phoneNumber": 1 };
    db.of::<User>().find(doc! { "_id": { "$in": ids } }).projection(fields).await?.try_collect().await
}

/// Answers that were given before.
pub(super) async fn answers(db: &Db, ids: &[&str]) -> mongodb::error::Result<Vec<RememberedAnswer>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    db.of::<RememberedAnswer>().find(doc! { "_id": { "$in": ids } }).await?.try_collect().await
}

/// Forgets answers, each of them only as it was read.
pub(super) async fn forget(
    db: &Db,
    session: &mut ClientSession,
    answers: &[RememberedAnswer],
) -> mongodb::error::Result<()> {
    let each: Vec<Document> =
        answers.iter().map(|answer| doc! { "_id": &answer.id, "expiresAt": answer.expires_at }).collect();
    db.of::<RememberedAnswer>().delete_many(doc! { "$or": each }).session(session).await.map(drop)
}

/// Units of a listing that are to be reserved.
#[derive(Default)]
pub(super) struct Reservation {
    pub count: i64,
    /// [`Offer::terms`]
    pub terms: Document,
    /// [`Offer::stock`]
    pub stock: Option<i64>,
}

/// Reserves units of several listings; false if one of them has not so many left, or its terms have
/// changed.
pub(super) async fn reserve(
    db: &Db,
    session: &mut ClientSession,
    kind: Kind,
    reservations: &[(Id<Listing>, &Reservation)],
) -> mongodb::error::Result<bool> {
    let updates = reservations
        .iter()
        .map(|(id, Reservation { count, terms, stock })| {
            let enough = match stock {
                // Cheaper for the database than to calculate. If there is less on the shelf by now, it
                // is read again.
                Some(stock) => doc! {
                    "stock": { "$gte": Bson::Int64(*stock) },
                    "reserved": { "$not": { "$gt": Bson::Int64(stock - count) } },
                },
                None => {
                    let left = doc! { "$subtract": [whole_in("$stock"), whole_in("$reserved")] };
                    doc! { "$expr": { "$gte": [left, Bson::Int64(*count)] } }
                }
            };
            let mut filter = doc! { "_id": *id };
            filter.extend(terms.clone());
            filter.extend(enough);
            doc! { "q": filter, "u": { "$inc": { "reserved": Bson::Int64(*count) } } }
        })
        .collect();
    let matched = db.update_all(session, kind.collection(), updates).await?;
    reservations.iter().for_each(|(id, _)| db.touched(Touched::Listing(kind, *id)));
    Ok(usize::try_from(matched) == Ok(reservations.len()))
}
