use bson::{Bson, Document, doc};
use futures_util::TryStreamExt as _;

use super::Report;
use crate::{
    db::Db,
    lenient::{self, whole_in},
    model::Kind,
};

/// Mends single fields: each step is one server-side update of the documents that need it.
pub(super) async fn mend(db: &Db, report: &mut Report) -> anyhow::Result<()> {
    for kind in [Kind::Product, Kind::Event] {
        report.warnings.extend(senseless_stock(db, kind).await?);
    }
    for (collection, filter, stages) in steps() {
        let done = db.raw::<Document>(collection).update_many(filter, stages).await?;
        report.changed += done.modified_count;
    }
    Ok(())
}

fn steps() -> Vec<(&'static str, Document, Vec<Document>)> {
    let set = |field: &str, value: Bson| vec![doc! { "$set": { field: value } }];
    let mut steps = Vec::new();
    for listings in [Kind::Product.collection(), Kind::Event.collection()] {
        steps.extend([
            (listings, stock_is_no_integer(), set("stock", stock().into())),
            (listings, doc! { "reserved": null }, set("reserved", Bson::Int64(0))),
            (listings, unusable_number("sold_out"), set("sold_out", whole_in("$sold_out").into())),
            (listings, no_list("images"), set("images", Bson::Array(Vec::new()))),
        ]);
    }
    steps.extend([
        // Events have no reviews.
        ("products", no_list("reviews"), set("reviews", Bson::Array(Vec::new()))),
        ("users", no_list("addresses"), set("addresses", Bson::Array(Vec::new()))),
        ("shops", no_list("transections"), set("transections", Bson::Array(Vec::new()))),
        (
            "orders",
            doc! { "paymentInfo.status": "succeded" },
            set("paymentInfo.status", Bson::String("succeeded".to_owned())),
        ),
        (
            "orders",
            doc! { "shopId": { "$not": { "$type": "string" } }, "cart.0": { "$exists": true } },
            set("shopId", shop_of_first_line().into()),
        ),
    ]);
    steps
}

fn no_list(field: &str) -> Document {
    doc! { field: { "$not": { "$type": "array" } } }
}

fn unusable_number(field: &str) -> Document {
    doc! { "$or": [{ field: { "$not": { "$type": "number" } } }, { field: f64::NAN }] }
}

fn stock_is_no_integer() -> Document {
    doc! { "stock": { "$not": { "$type": ["int", "long"] } } }
}

/// A shelf cannot hold fewer than none. The old server got below zero by handing out what was not
/// recorded; kept negative, the next units to come back would vanish into that hole.
fn stock() -> Document {
    doc! { "$max": [0_i64, whole_in("$stock")] }
}

/// Hex text of the shop whose order it is, from the first line as the browser sent it.
fn shop_of_first_line() -> Document {
    let first = |path: &str| {
        let line = doc! { "$arrayElemAt": [{ "$cond": [{ "$isArray": "$cart" }, "$cart", []] }, 0] };
        let id = doc! { "$let": { "vars": { "line": line }, "in": format!("$$line.{path}") } };
        doc! { "$convert": { "input": id, "to": "string", "onError": "", "onNull": "" } }
    };
    let is_id = |id: Document| doc! { "$regexMatch": { "input": id, "regex": "^[0-9a-fA-F]{24}$" } };
    let branch = |path: &str| doc! { "case": is_id(first(path)), "then": { "$toLower": first(path) } };
    doc! { "$switch": { "branches": [branch("shopeId"), branch("shop._id")], "default": "$$REMOVE" } }
}

/// Names the listings whose stock is about to become 0 because it says nothing sensible: somebody
/// has to count.
async fn senseless_stock(db: &Db, kind: Kind) -> anyhow::Result<Vec<String>> {
    let mut found = db
        .raw::<Document>(kind.collection())
        .find(stock_is_no_integer())
        .projection(doc! { "name": 1, "stock": 1 })
        .await?;
    let mut warnings = Vec::new();
    while let Some(listing) = found.try_next().await? {
        let stored = listing.get("stock").unwrap_or(&Bson::Null);
        if lenient::as_int(stored).is_none_or(|stock| stock < 0) {
            warnings.push(format!(
                "the stock of the {} `{}` ({}) was {stored} and is now 0",
                kind.word(),
                listing.get("name").and_then(lenient::as_text).unwrap_or_default(),
                listing.get("_id").and_then(lenient::as_text).unwrap_or_default(),
            ));
        }
    }
    Ok(warnings)
}
