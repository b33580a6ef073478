//! Pages of the lists for administrators: in an order of the reader's choice, along an index, with an exact total.
//!
//! A cursor names the last document of a page by what the list is ordered by and by its id. So whatever comes or
//! goes meanwhile, every document that keeps its place is shown once. Old documents may lack the field or hold
//! something of another type there: the database has an order for all of that, and so has the cursor.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bson::{Bson, Document, RawDocumentBuf, doc};
use futures_util::TryStreamExt as _;
use mongodb::options::{Collation, Hint};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use shared::{
    clock::Timestamp,
    db::Db,
    lenient,
    migrate::{email_collation, everybodys},
};

use crate::{
    error::{Error, Result},
    extract::Query,
};

/// Ours are shorter.
const LONGEST_CURSOR: usize = 2_000;
/// More than anybody looks for.
const LONGEST_SEARCH: usize = 100;

/// An order in which a list can be read. There is an index for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Order {
    /// As it is asked for.
    pub(crate) name: &'static str,
    /// The field.
    pub(crate) by: &'static str,
    pub(crate) ascending: bool,
}

impl Order {
    /// The latest first: ids are made when documents are.
    pub(crate) const NEWEST: Self = Self { name: "newest", by: "_id", ascending: false };
    /// The latest last.
    pub(crate) const OLDEST: Self = Self { name: "oldest", by: "_id", ascending: true };
    /// By name, as people read it.
    pub(crate) const NAME: Self = Self { name: "name", by: "name", ascending: true };

    pub(crate) fn keys(self) -> Document {
        let direction = if self.ascending { 1 } else { -1 };
        if self.by == "_id" {
            doc! { "_id": direction }
        } else {
            doc! { self.by: direction, "_id": direction }
        }
    }

    /// What lets an index be used that is for lists of everybody's alone: where it were there for owners' lists too,
    /// the database might read them along it, past everything that is not theirs.
    fn everybody(self) -> Option<Document> {
        (self.by == "createdAt").then(everybodys)
    }

    /// Names are in an order that takes no notice of capitals.
    fn collation(self) -> Option<Collation> {
        (self.by == "name").then(email_collation)
    }
}

/// Which page of which list is wanted; `F` is what its documents have to be.
#[derive(Clone, Debug)]
pub(crate) struct Wanted<F> {
    pub(crate) filter: F,
    pub(crate) order: Order,
    pub(crate) limit: i64,
    pub(crate) after: Option<Cursor>,
}

impl<F> Wanted<F> {
    /// Reads `sort`, `limit` and `cursor`; the first order counts where none is named.
    pub(crate) fn read(query: &Query, orders: &[Order], filter: F) -> Result<Self> {
        let order = match query.text("sort") {
            Some(name) => orders.iter().find(|order| order.name == name),
            None => orders.first(),
        };
        let names = || orders.iter().map(|order| order.name).collect::<Vec<_>>().join(", ");
        let order = *order.ok_or_else(|| Error::field("sort", format!("must be one of {}", names())))?;
        let after = query.cursor(|text| Cursor::parse(text).filter(|cursor| cursor.order == order.name))?;
        Ok(Self { filter, order, limit: query.limit()?, after })
    }
}

/// A page of a list.
#[derive(Clone, Debug)]
pub(crate) struct Page<T> {
    pub(crate) items: Vec<T>,
    /// How many the whole list has.
    pub(crate) total: u64,
    /// Leads to the next page, if there is one.
    pub(crate) next: Option<String>,
}

impl<T> Page<T> {
    /// With something made of each.
    pub(crate) fn map<U>(self, make: impl FnMut(T) -> U) -> Page<U> {
        Page { items: self.items.into_iter().map(make).collect(), total: self.total, next: self.next }
    }
}

/// The place right after a document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Cursor {
    /// In this order.
    order: String,
    /// What it is ordered by; null where it lacks that.
    at: Bson,
    id: Bson,
}

impl Cursor {
    fn at(document: &RawDocumentBuf, order: Order) -> bson::error::Result<Self> {
        let value = |name: &str| -> bson::error::Result<Bson> {
            let mut steps = name.split('.');
            let first = document.get(steps.next().unwrap_or_default())?;
            Ok(first.map(Bson::try_from).transpose()?.unwrap_or(Bson::Null))
        };
        Ok(Self { order: order.name.to_owned(), at: value(order.by)?, id: value("_id")? })
    }

    /// The place of what has these.
    pub(crate) fn new(order: Order, at: Bson, id: Bson) -> Self {
        Self { order: order.name.to_owned(), at, id }
    }

    pub(crate) fn text(&self) -> bson::error::Result<String> {
        Ok(URL_SAFE_NO_PAD.encode(bson::serialize_to_vec(self)?))
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(Some(text).filter(|text| text.len() <= LONGEST_CURSOR)?).ok()?;
        bson::deserialize_from_slice(&bytes).ok()
    }

    /// The documents behind this place.
    pub(crate) fn behind(&self, order: Order) -> Document {
        let (before, after) = if order.ascending { ("$lt", "$gt") } else { ("$gt", "$lt") };
        let id = doc! { "$literal": &self.id };
        if order.by == "_id" {
            return doc! { "$expr": { after: ["$_id", id] } };
        }
        // Operators of queries compare with values of the same type only, those of expressions with all. The index
        // finds the place by the first, which leaves in what is of another type.
        let value = doc! { "$ifNull": [format!("${}", order.by), null] };
        let at = doc! { "$literal": &self.at };
        let tied = doc! { "$and": [{ "$eq": [&value, &at] }, { after: ["$_id", id] }] };
        let mut behind = doc! { "$expr": { "$or": [{ after: [value, at] }, tied] } };
        if !matches!(self.at, Bson::Null | Bson::Document(_) | Bson::Array(_) | Bson::RegularExpression(_)) {
            behind.insert(order.by, doc! { "$not": { before: &self.at } });
        }
        behind
    }
}

/// A page of the documents that fit.
pub(crate) async fn page<T: DeserializeOwned, F>(
    db: &Db,
    collection: &str,
    fitting: Document,
    shown: Document,
    wanted: &Wanted<F>,
) -> mongodb::error::Result<Page<T>> {
    let documents = db.raw::<RawDocumentBuf>(collection);
    let order = wanted.order;
    let count = async {
        let count = documents.count_documents(fitting.clone());
        // Counted along an index, without looking at the documents.
        let by_id = fitting.is_empty().then(|| Hint::Keys(doc! { "_id": 1 }));
        match by_id {
            Some(hint) => count.hint(hint).await,
            None => count.await,
        }
    };
    let read = async {
        let behind = wanted.after.as_ref().map(|cursor| cursor.behind(order));
        let mut conditions = vec![fitting.clone()];
        conditions.extend(behind);
        conditions.extend(order.everybody());
        let filter = doc! { "$and": conditions };
        let mut find = documents.find(filter).sort(order.keys()).limit(wanted.limit + 1).projection(shown);
        if let Some(collation) = order.collation() {
            find = find.collation(collation);
        }
        find.await?.try_collect::<Vec<_>>().await
    };
    let (total, mut found) = tokio::try_join!(count, read)?;
    let limit = usize::try_from(wanted.limit).unwrap_or(usize::MAX);
    let more = found.len() > limit;
    found.truncate(limit);
    let next = match found.last().filter(|_| more) {
        Some(last) => Some(Cursor::at(last, order)?.text()?),
        None => None,
    };
    let items = found.iter().map(|one| Ok(bson::deserialize_from_slice(one.as_bytes())?));
    Ok(Page { items: items.collect::<mongodb::error::Result<_>>()?, total, next })
}

/// A filter of all these.
pub(crate) fn all_of(conditions: Vec<Document>) -> Document {
    if conditions.is_empty() {
        Document::new()
    } else {
        doc! { "$and": conditions }
    }
}

/// `q`: what somebody looks for.
pub(crate) fn search(query: &Query) -> Result<Option<String>> {
    let Some(text) = query.text("q") else { return Ok(None) };
    if text.chars().count() > LONGEST_SEARCH || text.chars().any(char::is_control) {
        return Err(Error::field("q", "must be a line of at most 100 characters"));
    }
    Ok(Some(text.to_owned()))
}

/// `true` or `false`.
pub(crate) fn flag(query: &Query, name: &str) -> Result<Option<bool>> {
    match query.text(name) {
        None => Ok(None),
        Some("true") => Ok(Some(true)),
        Some("false") => Ok(Some(false)),
        Some(_) => Err(Error::field(name, "must be true or false")),
    }
}

/// One of several words.
pub(crate) fn choice<T: Copy>(query: &Query, name: &str, known: &[(&str, T)]) -> Result<Option<T>> {
    let Some(text) = query.text(name) else { return Ok(None) };
    let found = known.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
    let words = || known.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", ");
    found.map(Some).ok_or_else(|| Error::field(name, format!("must be one of {}", words())))
}

/// A day, which begins at midnight in UTC, or a moment.
pub(crate) fn moment(query: &Query, name: &str) -> Result<Option<Timestamp>> {
    let Some(text) = query.text(name) else { return Ok(None) };
    let read = lenient::parse_date(text);
    read.map(Some)
        .ok_or_else(|| Error::field(name, "must be a day such as 2026-11-23, or a moment in ISO 8601"))
}

/// An id.
pub(crate) fn id<T>(query: &Query, name: &str) -> Result<Option<shared::id::Id<T>>> {
    query.text(name).map(|text| text.parse().or(Err(Error::field(name, "must be an id")))).transpose()
}

/// Documents in one of whose fields a text is found, capitals or not, or whose id it is.
pub(crate) fn containing(text: &str, fields: &[&str]) -> Document {
    // A document, because of what is a literal part of one there is no doubt.
    let pattern: String = text
        .chars()
        .flat_map(|c| (!c.is_alphanumeric() && c.is_ascii()).then_some('\\').into_iter().chain([c]))
        .collect();
    let mut ways: Vec<Document> =
        fields.iter().map(|field| doc! { *field: { "$regex": &pattern, "$options": "i" } }).collect();
    if let Ok(id) = text.parse::<shared::id::Id<()>>() {
        ways.push(doc! { "_id": id });
    }
    doc! { "$or": ways }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_leads_back_to_where_it_came_from() {
        for at in [Bson::Null, "Ann".into(), 7_i64.into(), true.into()] {
            let cursor = Cursor { order: "name".to_owned(), at, id: Bson::Int32(1) };
            assert_eq!(Cursor::parse(&cursor.text().unwrap()), Some(cursor));
        }
        for bad in ["", "x", "AAAA", &"A".repeat(3_000)] {
            assert_eq!(Cursor::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_is_looked_for_is_no_pattern() {
        let filter = containing("a.*b", &["name"]);
        let ways = filter.get_array("$or").unwrap();
        let name = ways[0].as_document().unwrap().get_document("name").unwrap();
        assert_eq!(name.get_str("$regex").unwrap(), "a\\.\\*b");
    }
}
