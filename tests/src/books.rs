//! Where units and money are, straight from the database.

use std::time::Duration;

use bson::{Document, doc};
use futures_util::StreamExt as _;
use serde_json::Value;
use shared::{
    audit,
    id::Id,
    model::{Kind, Listing, Shop},
};

use crate::{Seller, TestApp};

impl TestApp {
    /// How many units of a product are on the shelf, how many of those are reserved, and how many are sold.
    pub async fn shelf(&self, product: &Value) -> (i64, i64, i64) {
        let id: Id<Listing> = product["_id"].as_str().unwrap().parse().unwrap();
        let found = self.db.listings(Kind::Product).find_one(doc! { "_id": id }).await.unwrap().unwrap();
        (found.stock, found.reserved, found.sold_out)
    }

    /// A shop's balance, in minor units.
    pub async fn balance(&self, seller: &Seller) -> i64 {
        let shop = self.db.of::<Shop>().find_one(doc! { "_id": seller.id }).await.unwrap().unwrap();
        shop.balance_minor.unwrap()
    }

    /// Waits until the sandbox gateway has returned that much of a payment, in minor units.
    pub async fn await_returned(&self, payment: &str, minor: i64) {
        let payments = self.db.raw::<Document>("sandboxpayments");
        let returned = |found: Option<Document>| found.unwrap().get_i64("refundedMinor").unwrap();
        let mut changes = payments.watch().await.unwrap();
        let waiting = async {
            let named = doc! { "$or": [{ "_id": payment }, { "captureId": payment }] };
            while returned(payments.find_one(named.clone()).await.unwrap()) != minor {
                changes.next().await.unwrap().unwrap();
            }
        };
        tokio::time::timeout(Duration::from_secs(20), waiting).await.expect("no refund arrived");
    }

    /// Counts everything again: every cent and every unit is accounted for.
    pub async fn assert_books_balance(&self) {
        assert_eq!(audit::run(&self.db).await.unwrap().differences, Vec::<String>::new());
    }
}
