use bson::{Bson, Document, doc};
use mongodb::{ClientSession, options::ReturnDocument};
use shared::{
    clock::Timestamp,
    db::Db,
    id::Id,
    model::{AuditEntry, Kind, Listing, Measure, Shop, User},
    touched::Touched,
};

use crate::{
    admin::page::{self, Order, Page, Wanted, all_of},
    audit_log,
    catalogue::{store::shown, wire::not_found},
    error::Result,
};

/// In which orders products and events can be read.
pub(crate) const ORDERS: [Order; 3] = [Order::NEWEST, Order::OLDEST, Order::NAME];

/// Which of them are wanted.
#[derive(Clone, Debug, Default)]
pub(crate) struct ListingFilter {
    /// Found in the name, or the id.
    pub(crate) q: Option<String>,
    pub(crate) shop: Option<Id<Shop>>,
    pub(crate) category: Option<String>,
    pub(crate) hidden: Option<bool>,
}

/// A page of products or events.
pub(crate) async fn listings(
    db: &Db,
    kind: Kind,
    wanted: &Wanted<ListingFilter>,
) -> mongodb::error::Result<Page<Listing>> {
    let ListingFilter { q, shop, category, hidden } = &wanted.filter;
    let mut fitting = Vec::new();
    fitting.extend(q.as_deref().map(|text| page::containing(text, &["name"])));
    fitting.extend(shop.map(|shop| doc! { "shopeId": shop.hex() }));
    fitting.extend(category.as_ref().map(|category| doc! { "category": { "$eq": category } }));
    fitting.extend(hidden.map(hidden_or_not));
    page::page(db, kind.collection(), all_of(fitting), shown(), wanted).await
}

pub(crate) fn hidden_or_not(hidden: bool) -> Document {
    match hidden {
        true => doc! { "hidden": { "$exists": true } },
        false => doc! { "hidden": { "$exists": false } },
    }
}

/// What an administrator decides about a product, an event or a review.
#[derive(Clone, Debug)]
pub(crate) struct Decision {
    /// The reason for hiding it; nothing shows it again.
    pub(crate) hide: Option<String>,
    pub(crate) admin: Id<User>,
    /// What the audit log is to say of it.
    pub(crate) entry: AuditEntry,
    pub(crate) now: Timestamp,
}

impl Decision {
    /// As it is stored; nothing where it is shown again.
    pub(crate) fn measure(&self) -> mongodb::error::Result<Option<Bson>> {
        let Some(reason) = &self.hide else { return Ok(None) };
        let measure = Measure { reason: reason.clone(), at: Some(self.now), by: Some(self.admin) };
        Ok(Some(bson::serialize_to_bson(&measure)?))
    }
}

/// Hides a product or an event, or shows it again. It as it is then, and whether that was this decision's doing: the
/// same one again changes nothing.
pub(crate) async fn decide(
    db: &Db,
    kind: Kind,
    id: Id<Listing>,
    decision: &Decision,
) -> Result<(Listing, bool)> {
    db.transaction(|session| {
        let (db, decision) = (db.clone(), decision.clone());
        Box::pin(async move { decide_in(&db, session, kind, id, &decision).await })
    })
    .await
}

async fn decide_in(
    db: &Db,
    session: &mut ClientSession,
    kind: Kind,
    id: Id<Listing>,
    decision: &Decision,
) -> Result<(Listing, bool)> {
    let listings = db.listings(kind);
    let mut still = hidden_or_not(decision.hide.is_none());
    still.insert("_id", id);
    let change = match decision.measure()? {
        Some(measure) => doc! { "$set": { "hidden": measure } },
        None => doc! { "$unset": { "hidden": "" } },
    };
    let changed = listings
        .find_one_and_update(still, change)
        .return_document(ReturnDocument::After)
        .projection(shown())
        .session(&mut *session)
        .await?;
    let Some(listing) = changed else {
        let found = listings.find_one(doc! { "_id": id }).projection(shown()).session(session).await?;
        return Ok((found.ok_or(not_found(kind))?, false));
    };
    audit_log::add_in(db, session, &decision.entry).await?;
    db.touched(Touched::Listing(kind, id));
    Ok((listing, true))
}
