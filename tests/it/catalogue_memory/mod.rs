//! The catalogue in memory shows what the database holds: at once what was changed here, within a moment what
//! anybody else has changed, whatever becomes of the stream of changes.

mod foreign;
mod lists;
mod own;

use std::time::Duration;

use bson::{Bson, Document, doc, oid::ObjectId};
use shared::{id::Id, model::Listing};
use souk::embedded::{self, EmbeddedMongo, Options};
use tests::{Browser, TestApp, app::Node, mongo::TestDatabase};

const PRODUCTS: &str = "/api/product/get-all-products";
const EVENTS: &str = "/api/event/get-all-events-shop";

/// Whatever is waited for comes within this, or never.
const PATIENCE: Duration = Duration::from_secs(60);

/// An id that no document has.
fn fresh() -> ObjectId {
    Id::<Listing>::new().oid()
}

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

/// Lets commands of the API fail, or take their time, on a database that is nobody else's.
async fn fail(app: &TestApp, mode: impl Into<Bson>, data: Document) {
    let mut command = doc! { "configureFailPoint": "failCommand", "mode": mode.into() };
    command.insert("data", data);
    app.db.client().database("admin").run_command(command).await.unwrap();
}

/// The API on a database of its own that tells of changes only after seconds: what shows at once does not show
/// because of that.
async fn hard_of_hearing() -> (EmbeddedMongo, TestApp) {
    let mongo = embedded::start(Options::for_tests()).await.unwrap();
    let app = TestApp::on(TestDatabase::at(mongo.uri_for("catalogue")).await, &[]).await;
    app.caught_up().await;
    let late = doc! { "failCommands": ["getMore"], "appName": "souk-api", "blockConnection": true, "blockTimeMS": 3000 };
    fail(&app, "alwaysOn", late).await;
    // Whatever was asked before is answered in time.
    app.caught_up().await;
    (mongo, app)
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
