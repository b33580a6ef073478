//! Reading what the memory holds. Only what a majority of the database's servers has, so that nothing that is
//! lost with one of them stays; in one session, so that nothing older is read after something newer.

use std::collections::HashMap;

use bson::{Bson, Document, RawBsonRef, RawDocumentBuf, doc};
use futures_util::TryStreamExt as _;
use mongodb::{ClientSession, SessionCursor, error::Result, options::ReadConcern};
use shared::{
    db::Db,
    id::Id,
    model::{Kind, Listing, Shop, Stored as _, User},
};
use tracing::warn;

use super::super::store::shown;
use crate::shops;

/// How many documents come in one answer.
const TOGETHER: u32 = 1000;

/// A listing, and whether it is found by its shop.
pub(super) type Read = (Listing, bool);

/// Reads with one session after another what is there at least since then.
pub(super) struct Reader {
    db: Db,
    session: ClientSession,
}

impl Reader {
    pub(super) async fn begin(db: &Db) -> Result<Self> {
        let session = db.client().start_session().causal_consistency(true).await?;
        Ok(Self { db: db.clone(), session })
    }

    /// Everything of a kind that lists show.
    pub(super) async fn all(&mut self, kind: Kind) -> Result<Cursor<'_>> {
        self.listings(kind, doc! { "_id": { "$type": "objectId" } }).await
    }

    /// Several of a kind.
    pub(super) async fn these(&mut self, kind: Kind, ids: &[Id<Listing>]) -> Result<Cursor<'_>> {
        self.listings(kind, doc! { "_id": { "$in": ids.to_vec() } }).await
    }

    async fn listings(&mut self, kind: Kind, filter: Document) -> Result<Cursor<'_>> {
        let cursor = self
            .db
            .raw::<RawDocumentBuf>(kind.collection())
            .find(filter)
            .sort(doc! { "_id": 1 })
            .projection(shown())
            .batch_size(TOGETHER)
            .read_concern(ReadConcern::majority())
            .session(&mut self.session)
            .await?;
        Ok(Cursor { cursor, session: &mut self.session })
    }

    /// What is public of several shops.
    pub(super) async fn shops(&mut self, ids: &[Id<Shop>]) -> Result<HashMap<Id<Shop>, Shop>> {
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        let ids: Vec<Bson> = ids.iter().map(|id| Bson::from(*id)).collect();
        let mut found = self
            .db
            .raw::<RawDocumentBuf>(Shop::COLLECTION)
            .find(doc! { "_id": { "$in": ids } })
            .projection(shops::store::public())
            .read_concern(ReadConcern::majority())
            .session(&mut self.session)
            .await?;
        let mut shops = HashMap::new();
        while let Some(shop) = found.next(&mut self.session).await.transpose()? {
            match bson::deserialize_from_slice::<Shop>(shop.as_bytes()) {
                Ok(shop) => _ = shops.insert(shop.id, shop),
                Err(error) => warn!(%error, "a shop cannot be read"),
            }
        }
        Ok(shops)
    }

    /// The products that somebody has reviewed.
    pub(super) async fn reviewed_by(&mut self, user: Id<User>) -> Result<Vec<Id<Listing>>> {
        let mut found = self
            .db
            .raw::<Document>(Kind::Product.collection())
            .find(doc! { "reviews.user._id": user.hex(), "_id": { "$type": "objectId" } })
            .projection(doc! { "_id": 1 })
            .read_concern(ReadConcern::majority())
            .session(&mut self.session)
            .await?;
        let mut ids = Vec::new();
        while let Some(product) = found.next(&mut self.session).await.transpose()? {
            ids.extend(product.get_object_id("_id").map(Id::from_oid));
        }
        Ok(ids)
    }
}

/// Listings as they come.
pub(super) struct Cursor<'r> {
    cursor: SessionCursor<RawDocumentBuf>,
    session: &'r mut ClientSession,
}

impl Cursor<'_> {
    /// The next so many; none when there are no more. What cannot be read at all is left out.
    pub(super) async fn next(&mut self, most: usize) -> Result<Vec<Read>> {
        let mut listings = Vec::new();
        let mut documents = self.cursor.stream(&mut *self.session);
        while listings.len() < most
            && let Some(document) = documents.try_next().await?
        {
            match bson::deserialize_from_slice::<Listing>(document.as_bytes()) {
                Ok(listing) => {
                    let filed = matches!(document.get("shopeId"),
                        Ok(Some(RawBsonRef::String(shop))) if shop == listing.shop_id.hex());
                    listings.push((listing, filed));
                }
                Err(error) => warn!(%error, "a listing cannot be read"),
            }
        }
        Ok(listings)
    }
}
