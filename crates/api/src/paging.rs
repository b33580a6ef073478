//! Pages of lists that grow for ever. A list is answered as a whole unless a page of it is asked for, since
//! the existing client knows of no pages.
//!
//! Such a list is in the order of a time, the latest first, and of ids where times are equal. A cursor names
//! the last document of a page by both, so whatever comes or goes meanwhile, every document that keeps its
//! place is shown once. The time is kept as it is stored: old data may lack it or hold text instead, and the
//! database, which has an order for values of all types, puts those behind the dates.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bson::{Bson, DateTime, Document, RawDocumentBuf, doc};
use futures_util::TryStreamExt as _;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use shared::{db::Db, model::Stored};

use crate::{error::Result, extract::Query};

/// Ours are shorter; what is nested deeper than the database reads is longer.
const LONGEST_CURSOR: usize = 1_000;

/// Which page of a list is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    /// How many it has at most.
    limit: i64,
    /// Where it begins; the first one where there is none.
    after: Option<Cursor>,
}

impl Page {
    /// Reads `limit` and `cursor`. Where there is neither, the whole list is asked for.
    pub(crate) fn read(query: &Query) -> Result<Option<Self>> {
        if query.text("limit").is_none() && query.text("cursor").is_none() {
            return Ok(None);
        }
        Ok(Some(Self { limit: query.limit()?, after: query.cursor(Cursor::parse)? }))
    }
}

impl Page {
    /// The same of a list that is never answered as a whole.
    pub(crate) fn always(query: &Query) -> Result<Self> {
        Ok(Self { limit: query.limit()?, after: query.cursor(Cursor::parse)? })
    }
}

/// A place in a list: right after the document with this time and id.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Cursor {
    /// Null where there is none, as the database sorts it.
    at: Bson,
    id: Bson,
}

impl Cursor {
    /// The place of a document in the order of the field `by`.
    fn at(document: &RawDocumentBuf, by: &str) -> bson::error::Result<Self> {
        let value = |name| -> bson::error::Result<Bson> {
            Ok(document.get(name)?.map(Bson::try_from).transpose()?.unwrap_or(Bson::Null))
        };
        Ok(Self { at: value(by)?, id: value("_id")? })
    }

    /// As it stands in an address.
    fn text(&self) -> bson::error::Result<String> {
        Ok(URL_SAFE_NO_PAD.encode(bson::serialize_to_vec(self)?))
    }

    fn parse(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(Some(text).filter(|text| text.len() <= LONGEST_CURSOR)?).ok()?;
        bson::deserialize_from_slice(&bytes).ok()
    }

    /// The documents behind this place, in the order of the field `by`.
    fn behind(&self, by: &str) -> Document {
        // The index finds the place by this bound: `$not` leaves in what is no date.
        let bound = match &self.at {
            Bson::DateTime(at) => doc! { "$gt": at },
            _ => doc! { "$gte": DateTime::MIN },
        };
        // Operators of queries compare with values of the same type only; those of expressions with all.
        let time = doc! { "$ifNull": [format!("${by}"), null] };
        let (at, id) = (doc! { "$literal": &self.at }, doc! { "$literal": &self.id });
        let tied = doc! { "$and": [{ "$eq": [&time, &at] }, { "$lt": ["$_id", id] }] };
        doc! { by: { "$not": bound }, "$expr": { "$or": [{ "$lt": [time, at] }, tied] } }
    }
}

/// A list or a page of it.
#[derive(Clone, Debug)]
pub(crate) struct Listed<T> {
    pub(crate) items: Vec<T>,
    /// If it is a page.
    pub(crate) place: Option<Place>,
}

impl<T> Listed<T> {
    /// An empty list.
    pub(crate) fn nothing(page: Option<&Page>) -> Self {
        Self { items: Vec::new(), place: page.map(|_| Place { total: 0, next_cursor: None }) }
    }
}

/// What a page adds to the envelope of its list.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Place {
    /// How many the whole list has.
    total: u64,
    /// Leads to the next page; null on the last.
    next_cursor: Option<String>,
}

/// The documents that fit, in the order of the field `by`, the latest first.
pub(crate) async fn latest_first<T: Stored + DeserializeOwned>(
    db: &Db,
    fitting: Document,
    by: &str,
    page: Option<&Page>,
) -> mongodb::error::Result<Listed<T>> {
    let order = doc! { by: -1, "_id": -1 };
    let Some(page) = page else {
        let items = db.of::<T>().find(fitting).sort(order).await?.try_collect().await?;
        return Ok(Listed { items, place: None });
    };
    let documents = db.raw::<RawDocumentBuf>(T::COLLECTION);
    let count = async { documents.count_documents(fitting.clone()).await };
    let read = async {
        let behind = page.after.as_ref().map(|cursor| cursor.behind(by));
        let wanted = doc! { "$and": [fitting.clone(), behind.unwrap_or_default()] };
        let found = documents.find(wanted).sort(order).limit(page.limit + 1).await?;
        found.try_collect::<Vec<_>>().await
    };
    let (total, mut found) = tokio::try_join!(count, read)?;
    let limit = usize::try_from(page.limit).unwrap_or(usize::MAX);
    let more = found.len() > limit;
    found.truncate(limit);
    let next_cursor = match found.last().filter(|_| more) {
        Some(last) => Some(Cursor::at(last, by)?.text()?),
        None => None,
    };
    let items = found.iter().map(|one| Ok(bson::deserialize_from_slice(one.as_bytes())?));
    Ok(Listed {
        items: items.collect::<mongodb::error::Result<_>>()?,
        place: Some(Place { total, next_cursor }),
    })
}

#[cfg(test)]
mod tests {
    use shared::id::Id;

    use super::*;

    #[test]
    fn a_cursor_leads_back_to_where_it_came_from() {
        let id = Bson::from(Id::<()>::nil());
        for at in [DateTime::from_millis(-5).into(), Bson::Null, "2024-01-01".into(), 1.5.into(), true.into()]
        {
            let cursor = Cursor { at, id: id.clone() };
            let text = cursor.text().unwrap();
            assert_eq!(Cursor::parse(&text), Some(cursor));
            assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)), "{text}");
        }
        for bad in ["", "x", "1:2", "AAAA", "BQAAAAA", &"A".repeat(300)] {
            assert_eq!(Cursor::parse(bad), None, "{bad}");
        }
    }
}
