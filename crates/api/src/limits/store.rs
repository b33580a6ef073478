//! The counters.

use bson::{Document, doc};
use mongodb::options::{Acknowledgment, ReturnDocument, WriteConcern};
use shared::{
    clock::{Timestamp, plus},
    config::Rate,
    db::{Db, duplicate_key},
    model::{RateCount, Stored as _},
};

/// What came of counting.
pub(super) struct Counted {
    pub(super) admitted: bool,
    /// When the window ends.
    pub(super) until: Timestamp,
    /// Nobody was refused in this window before.
    pub(super) first_refusal: bool,
}

/// Not worth waiting for a majority and its disks.
fn soon() -> WriteConcern {
    WriteConcern::builder().w(Acknowledgment::Nodes(1)).build()
}

/// Counts one more, if there is room in the present window or a new one begins. One atomic update, which tells what was
/// there before it: so it is known whether there was room.
pub(super) async fn count(db: &Db, key: &str, rate: Rate, now: Timestamp) -> mongodb::error::Result<Counted> {
    let ends = plus(now, i64::try_from(rate.within.as_millis()).unwrap_or(i64::MAX));
    let live = doc! { "$gt": ["$until", now] };
    let room = doc! { "$lt": ["$n", rate.most] };
    let full = doc! { "$not": [room.clone()] };
    let more = doc! { "$cond": [room, { "$add": ["$n", 1_i64] }, "$n"] };
    let update = vec![doc! { "$set": {
        "n": { "$cond": [live.clone(), more, 1_i64] },
        "until": { "$cond": [live.clone(), "$until", ends] },
        "refused": { "$and": [live, { "$or": ["$refused", full] }] },
    } }];
    let counters = db.of::<RateCount>();
    let once = || {
        counters
            .find_one_and_update(doc! { "_id": key }, update.clone())
            .upsert(true)
            .return_document(ReturnDocument::Before)
            .write_concern(soon())
    };
    let before = match once().await {
        // Two began it at the same time: now it is there.
        Err(failure) if duplicate_key(&failure).is_some() => once().await?,
        done => done?,
    };
    Ok(match before.filter(|before| before.until > now) {
        Some(before) => Counted {
            admitted: before.n < rate.most,
            until: before.until,
            first_refusal: !before.refused && before.n >= rate.most,
        },
        None => Counted { admitted: true, until: ends, first_refusal: false },
    })
}

/// Takes one back, if its window is still the present one.
pub(super) async fn uncount(db: &Db, key: &str, until: Timestamp) -> mongodb::error::Result<()> {
    let this = doc! { "_id": key, "until": until, "n": { "$gt": 0 } };
    db.of::<RateCount>()
        .update_one(this, doc! { "$inc": { "n": -1_i64 } })
        .write_concern(soon())
        .await
        .map(drop)
}

/// Notes something for so long.
pub(super) async fn note(db: &Db, key: &str, until: Timestamp) -> mongodb::error::Result<()> {
    db.of::<RateCount>()
        .update_one(doc! { "_id": key }, doc! { "$set": { "n": 0_i64, "until": until } })
        .upsert(true)
        .write_concern(soon())
        .await
        .map(drop)
}

/// Whether it was noted and still counts.
pub(super) async fn is_noted(db: &Db, key: &str, now: Timestamp) -> mongodb::error::Result<bool> {
    let noted = doc! { "_id": key, "until": { "$gt": now } };
    Ok(db.raw::<Document>(RateCount::COLLECTION).find_one(noted).await?.is_some())
}
