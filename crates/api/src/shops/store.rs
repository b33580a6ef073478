//! Every query about shops that is not shared with shoppers.

use std::collections::HashMap;

use bson::{Bson, Document, doc};
use futures_util::TryStreamExt as _;
use mongodb::{ClientSession, options::ReturnDocument};
use shared::{
    db::Db,
    id::Id,
    ledger, lenient,
    model::{LedgerEntry, Shop, Stored as _, WithdrawMethod},
    money::Money,
    touched::Touched,
};

use super::statement::{Cause, Cursor, Movement, Totals, movements};

/// One shop, with all that is private.
pub(crate) async fn find(db: &Db, id: Id<Shop>) -> mongodb::error::Result<Option<Shop>> {
    db.of::<Shop>().find_one(doc! { "_id": id }).await
}

/// What is public of a shop, and whether anything of it is shown. Nothing else is even read.
pub(crate) fn public() -> Document {
    doc! { "name": 1, "avatar": 1, "description": 1, "address": 1, "phoneNumber": 1, "createdAt": 1,
    "blocked": 1, "awaitingApproval": 1 }
}

/// What anybody may know of a shop.
pub(crate) async fn find_public(db: &Db, id: Id<Shop>) -> mongodb::error::Result<Option<Shop>> {
    db.of::<Shop>().find_one(doc! { "_id": id }).projection(public()).await
}

/// The same of several shops: what listings show of theirs. Those that are gone are not in it.
pub(crate) async fn public_by_ids(
    db: &Db,
    ids: &[Id<Shop>],
) -> mongodb::error::Result<HashMap<Id<Shop>, Shop>> {
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let ids: Vec<Bson> = ids.iter().map(|id| Bson::from(*id)).collect();
    let shops = db.of::<Shop>().find(doc! { "_id": { "$in": ids } }).projection(public()).await?;
    shops.map_ok(|shop| (shop.id, shop)).try_collect().await
}

/// Details of a shop that its owner changes; nothing means unchanged.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    pub(crate) name: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) address: Option<String>,
    pub(crate) zip_code: Option<i64>,
    pub(crate) phone_number: Option<i64>,
}

/// Changes what is given; the shop as it is then.
pub(crate) async fn update(db: &Db, id: Id<Shop>, changes: &Changes) -> mongodb::error::Result<Option<Shop>> {
    let mut set = Document::new();
    let texts =
        [("name", &changes.name), ("description", &changes.description), ("address", &changes.address)];
    for (field, value) in texts {
        if let Some(value) = value {
            set.insert(field, value);
        }
    }
    for (field, value) in [("zipCode", changes.zip_code), ("phoneNumber", changes.phone_number)] {
        if let Some(value) = value {
            set.insert(field, value);
        }
    }
    if set.is_empty() { find(db, id).await } else { set_fields(db, id, set).await }
}

/// Says where withdrawals go, or (nothing) forgets it: `null`, as the old server leaves it.
pub(crate) async fn set_withdraw_method(
    db: &Db,
    id: Id<Shop>,
    method: Option<&WithdrawMethod>,
) -> mongodb::error::Result<Option<Shop>> {
    let method = match method {
        Some(method) => bson::serialize_to_bson(method)?,
        None => Bson::Null,
    };
    set_fields(db, id, doc! { "withdrawMethod": method }).await
}

async fn set_fields(db: &Db, id: Id<Shop>, fields: Document) -> mongodb::error::Result<Option<Shop>> {
    let shops = db.of::<Shop>();
    let updated = shops
        .find_one_and_update(doc! { "_id": id }, doc! { "$set": fields })
        .return_document(ReturnDocument::After)
        .await;
    db.touched(Touched::Shop(id));
    updated
}

/// A page of what moved a shop's balance.
#[derive(Clone, Debug)]
pub(crate) struct Statement {
    pub(crate) totals: Totals,
    /// The latest first.
    pub(crate) movements: Vec<Movement>,
    /// Where the next page begins, if there is one.
    pub(crate) next: Option<Cursor>,
}

/// Reads a shop's movements before a place in the list, and the sums of them all, as of one moment: they
/// agree whatever is booked meanwhile.
pub(crate) async fn statement(
    db: &Db,
    shop: Id<Shop>,
    before: Option<&Cursor>,
    limit: i64,
) -> mongodb::error::Result<Statement> {
    let account = ledger::shop_account(shop);
    db.snapshot(|session| {
        let (db, account, before) = (db.clone(), account.clone(), before.cloned());
        Box::pin(async move {
            let (totals, balance) = sums(&db, session, &account, before.as_ref()).await?;
            let mut page = entries(&db, session, &account, before.as_ref(), limit + 1).await?;
            let limit = usize::try_from(limit).unwrap_or(usize::MAX);
            let more = page.len() > limit;
            page.truncate(limit);
            let last = page.last().filter(|_| more);
            let next = last.map(|entry| Cursor { at: entry.at, key: entry.key.clone() });
            Ok(Statement { totals, movements: movements(page, &account, balance), next })
        })
    })
    .await
}

/// What all entries of an account come to, and what those before a place come to. Counted anew each time
/// and not carried along: an entry may be committed after one that is dated later.
async fn sums(
    db: &Db,
    session: &mut ClientSession,
    account: &str,
    before: Option<&Cursor>,
) -> mongodb::error::Result<(Totals, Money)> {
    let of = |name: &str| {
        let theirs = doc! { "$filter": { "input": "$lines", "cond": { "$eq": ["$$this.account", name] } } };
        doc! { "$sum": { "$map": { "input": theirs, "in": "$$this.minor" } } }
    };
    let is_before = before.map_or(Bson::Boolean(true), |cursor| {
        let same = doc! { "$and": [
            { "$eq": ["$at", cursor.at] }, { "$lt": ["$_id", { "$literal": &cursor.key }] },
        ] };
        Bson::from(doc! { "$or": [{ "$lt": ["$at", cursor.at] }, same] })
    });
    let pipeline = vec![
        doc! { "$match": { "lines.account": account } },
        doc! { "$project": {
            "cause": { "$first": { "$split": ["$_id", ":"] } },
            "amount": of(account), "fee": of(ledger::FEES), "before": { "$and": [is_before] },
        } },
        doc! { "$group": {
            "_id": "$cause", "amount": { "$sum": "$amount" }, "fee": { "$sum": "$fee" },
            "before": { "$sum": { "$cond": ["$before", "$amount", Bson::Int64(0)] } },
        } },
    ];
    let ledger = db.raw::<Document>(LedgerEntry::COLLECTION);
    let mut found = ledger.aggregate(pipeline).session(&mut *session).await?;
    let (mut totals, mut balance) = (Totals::default(), Money::ZERO);
    while let Some(sum) = found.next(&mut *session).await.transpose()? {
        let money = |field| Money::from_minor(sum.get(field).and_then(lenient::as_int).unwrap_or_default());
        let cause = Cause::of(&sum.get("_id").and_then(lenient::as_text).unwrap_or_default());
        totals.add(cause, money("amount"), money("fee"));
        balance += money("before");
    }
    Ok((totals, balance))
}

/// An account's entries before a place, the latest first.
async fn entries(
    db: &Db,
    session: &mut ClientSession,
    account: &str,
    before: Option<&Cursor>,
    limit: i64,
) -> mongodb::error::Result<Vec<LedgerEntry>> {
    let mut filter = doc! { "lines.account": account };
    if let Some(cursor) = before {
        // The first bound is the index's, the second decides among entries of the same time.
        filter.insert("at", doc! { "$lte": cursor.at });
        let earlier = doc! { "at": { "$lt": cursor.at } };
        filter.insert("$or", vec![earlier, doc! { "_id": { "$lt": &cursor.key } }]);
    }
    let newest_first = doc! { "at": -1, "_id": -1 };
    let ledger = db.of::<LedgerEntry>();
    let mut found = ledger.find(filter).sort(newest_first).limit(limit).session(&mut *session).await?;
    found.stream(session).try_collect().await
}
