//! The catalogue in memory shows what the database holds: at once what was changed here, within a moment what
//! anybody else has changed, whatever becomes of the stream of changes.

mod foreign;
mod lists;
mod own;

use std::time::Duration;

use bson::{Document, doc};
use shared::id::Id;
use tests::{Browser, TestApp, app::Node};

const PRODUCTS: &str = "/api/product/get-all-products";
const EVENTS: &str = "/api/event/get-all-events-shop";

/// Whatever is waited for comes within this, or never.
const PATIENCE: Duration = Duration::from_secs(60);

async fn eventually<F: Future<Output = bool>>(what: &str, mut is_so: impl FnMut() -> F) {
    let waiting = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, waiting).await.is_ok(), "never happened: {what}");
}

/// A node that reads everything from the database each time, to compare with.
async fn forgetful(app: &TestApp) -> Node {
    app.another_node_with(|config| config.catalogue.memory = 0).await
}

/// Every address at which listings are shown: of all, of each shop, and of each listing.
async fn addresses(app: &TestApp) -> Vec<String> {
    let mut addresses = vec![PRODUCTS.to_owned(), EVENTS.to_owned()];
    for (collection, one) in [("products", "/api/product/get-product"), ("events", "/api/event/get-event")] {
        let ids = app.db.raw::<Document>(collection).distinct("_id", doc! {}).await.unwrap();
        addresses.extend(ids.iter().filter_map(|id| Some(format!("{one}/{}", id.as_object_id()?))));
    }
    for shop in app.db.raw::<Document>("shops").distinct("_id", doc! {}).await.unwrap() {
        let shop = shop.as_object_id().unwrap();
        addresses.extend([format!("{PRODUCTS}-shop/{shop}"), format!("{EVENTS}/{shop}")]);
    }
    addresses.push(format!("{PRODUCTS}-shop/{}", Id::<()>::new()));
    addresses.push(format!("/api/product/get-product/{}", Id::<()>::new()));
    addresses
}

/// Holds every answer of the memory to the database's, to the byte. Pages of others, which may ask for anything
/// but are nobody, take another way through the server than those without one.
async fn assert_is_the_database(app: &TestApp, memory: &Browser, database: &Browser) {
    for address in addresses(app).await {
        let wanted = database.get(&address).await;
        for asked in [memory.get(&address), memory.get(&address).header("origin", tests::app::CLIENT)] {
            let shown = asked.await;
            assert_eq!(shown.status, wanted.status, "{address}");
            if shown.status == 200 {
                assert_eq!(shown.text(), wanted.text(), "{address}");
                assert_eq!(shown.header("etag"), wanted.header("etag"), "{address}");
            }
        }
    }
}
