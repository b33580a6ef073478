//! `souk migrate` on databases that the old server left behind.

use std::{future::IntoFuture as _, time::Duration};

use bson::{Bson, DateTime, Document, doc, oid::ObjectId};
use shared::{
    clock::{Clock, plus},
    db::Db,
    migrate::{self, Report},
};
use tests::mongo::TestDatabase;

struct Database {
    db: Db,
    database: TestDatabase,
}

impl Database {
    async fn new() -> Self {
        let database = TestDatabase::new().await;
        let db = Db::connect(&database.uri, "souk-migrate-test").await.unwrap();
        Self { db, database }
    }

    async fn insert(&self, collection: &str, documents: impl IntoIterator<Item = Document>) {
        self.db.raw::<Document>(collection).insert_many(documents).await.unwrap();
    }

    async fn one(&self, collection: &str, id: impl Into<Bson>) -> Document {
        self.db.raw(collection).find_one(doc! { "_id": id.into() }).await.unwrap().unwrap()
    }

    async fn migrate(&self) -> Report {
        migrate::run(&self.db, &Clock::default()).await.unwrap()
    }

    /// Every document of every collection, to see whether anything changes.
    async fn everything(&self) -> Vec<(String, Vec<Document>)> {
        use futures_util::TryStreamExt as _;
        let mut names = self.db.database().list_collection_names().await.unwrap();
        names.sort();
        let mut all = Vec::new();
        for name in names {
            let found = self.db.raw::<Document>(&name).find(doc! {}).sort(doc! { "_id": 1 }).await.unwrap();
            all.push((name, found.try_collect().await.unwrap()));
        }
        all
    }

    async fn indexes(&self, collection: &str) -> Vec<String> {
        self.db.raw::<Document>(collection).list_index_names().await.unwrap()
    }
}

fn hex(id: &str) -> ObjectId {
    ObjectId::parse_str(format!("{id:0>24}")).unwrap()
}

#[tokio::test]
async fn stock_that_was_text_becomes_a_number_whatever_it_said() {
    let old = Database::new().await;
    let cases: [(Option<Bson>, i64); 14] = [
        (Some("10".into()), 10),
        (Some(" 8 ".into()), 8),
        (Some("82".into()), 82),
        (Some("7.9".into()), 7),
        (Some("1e2".into()), 100),
        (Some("-3".into()), 0),
        (Some("NaN".into()), 0),
        (Some("plenty".into()), 0),
        (Some("".into()), 0),
        (Some("99999999999999999999999".into()), 0),
        (Some(Bson::Double(4.0)), 4),
        (Some(Bson::Double(f64::NAN)), 0),
        (Some(Bson::Null), 0),
        (None, 0),
    ];
    for collection in ["products", "events"] {
        old.insert(
            collection,
            cases.iter().enumerate().map(|(n, (stock, _))| {
                let mut listing = doc! { "_id": n as i64, "name": format!("thing {n}") };
                listing.extend(stock.clone().map(|stock| ("stock".to_owned(), stock)));
                listing
            }),
        )
        .await;
    }
    old.insert("products", [doc! { "_id": 99_i64, "stock": 5_i32, "reserved": 2_i64, "sold_out": 1_i32 }])
        .await;
    let report = old.migrate().await;
    for collection in ["products", "events"] {
        for (n, (stock, want)) in cases.iter().enumerate() {
            let listing = old.one(collection, n as i64).await;
            assert_eq!(listing.get_i64("stock").unwrap(), *want, "{stock:?}");
            assert_eq!(listing.get_i64("reserved").unwrap(), 0);
            assert_eq!(listing.get_i64("sold_out").unwrap(), 0);
        }
    }
    let untouched = old.one("products", 99_i64).await;
    assert_eq!(untouched.get_i32("stock").unwrap(), 5);
    assert_eq!((untouched.get_i64("reserved").unwrap(), untouched.get_i32("sold_out").unwrap()), (2, 1));
    let named = |what: &str| report.warnings.iter().filter(|line| line.contains(what)).count();
    assert_eq!(named("now 0"), 2 * 8, "{:#?}", report.warnings);
    assert!(report.warnings.iter().any(|line| line.contains("`thing 6`") && line.contains("NaN")));
}

#[tokio::test]
async fn lists_that_were_null_become_empty_and_real_ones_stay() {
    let old = Database::new().await;
    old.insert(
        "users",
        [
            doc! { "_id": 1, "addresses": null },
            doc! { "_id": 2 },
            doc! { "_id": 3, "addresses": [{ "city": "PB" }] },
        ],
    )
    .await;
    old.insert("shops", [doc! { "_id": 1, "transections": null }]).await;
    old.insert("products", [doc! { "_id": 1, "reviews": null, "images": {} }]).await;
    old.migrate().await;
    for (collection, id, field, length) in [
        ("users", 1, "addresses", 0),
        ("users", 2, "addresses", 0),
        ("users", 3, "addresses", 1),
        ("shops", 1, "transections", 0),
        ("products", 1, "reviews", 0),
        ("products", 1, "images", 0),
    ] {
        assert_eq!(
            old.one(collection, id).await.get_array(field).unwrap().len(),
            length,
            "{collection} {id} {field}"
        );
    }
}

#[tokio::test]
async fn an_order_learns_its_shop_from_its_lines_and_how_to_spell() {
    let old = Database::new().await;
    let shop = hex("5ab").to_hex();
    old.insert(
        "orders",
        [
            doc! { "_id": 1, "cart": [{ "shopeId": &shop }], "paymentInfo": { "status": "succeded", "type": "Cash on Delivery" } },
            doc! { "_id": 2, "cart": [{ "shop": { "_id": shop.to_uppercase() } }], "paymentInfo": { "status": "succeeded" } },
            doc! { "_id": 3, "cart": [{ "shopeId": "undefined", "shop": { "_id": hex("5ab") } }] },
            doc! { "_id": 4, "cart": [{ "name": "?" }] },
            doc! { "_id": 5, "cart": [] },
            doc! { "_id": 6, "cart": "nonsense" },
            doc! { "_id": 7, "shopId": hex("77").to_hex(), "cart": [{ "shopeId": &shop }] },
        ],
    )
    .await;
    old.migrate().await;
    for (id, want) in [
        (1, Some(&shop)),
        (2, Some(&shop)),
        (3, Some(&shop)),
        (4, None),
        (5, None),
        (6, None),
        (7, Some(&hex("77").to_hex())),
    ] {
        assert_eq!(
            old.one("orders", id).await.get_str("shopId").ok(),
            want.map(String::as_str),
            "order {id}"
        );
    }
    let paid = old.one("orders", 1).await;
    let paid = paid.get_document("paymentInfo").unwrap();
    assert_eq!(paid, &doc! { "status": "succeeded", "type": "Cash on Delivery" });
    assert!(!old.one("orders", 3).await.contains_key("paymentInfo"));
}

#[tokio::test]
async fn balances_enter_the_ledger_once_and_to_the_cent() {
    let old = Database::new().await;
    let cases: [(&str, Option<Bson>, i64); 9] = [
        ("a1", Some(Bson::Double(166.32000000000002)), 16632),
        ("a2", Some(Bson::Int32(90)), 9000),
        ("a3", Some(Bson::Double(0.575)), 58),
        ("a4", Some(Bson::Double(1.005)), 100),
        ("a5", Some(Bson::Double(-12.5)), -1250),
        ("a6", Some(Bson::Double(f64::NAN)), 0),
        ("a7", Some("broke".into()), 0),
        ("a8", Some(Bson::Null), 0),
        ("a9", None, 0),
    ];
    old.insert(
        "shops",
        cases.iter().map(|(id, balance, _)| {
            let mut shop = doc! { "_id": hex(id), "email": format!("{id}@shops.test") };
            shop.extend(balance.clone().map(|balance| ("availableBalance".to_owned(), balance)));
            shop
        }),
    )
    .await;
    let report = old.migrate().await;
    assert_eq!(report.warnings, Vec::<String>::new());
    for (id, stated, minor) in &cases {
        let shop = old.one("shops", hex(id)).await;
        assert_eq!(shop.get_i64("balanceMinor").unwrap(), *minor, "{stated:?}");
        let key = format!("opening:{}", hex(id));
        let entry = old.db.raw::<Document>("ledger").find_one(doc! { "_id": key }).await.unwrap();
        if *minor == 0 {
            assert!(entry.is_none());
            continue;
        }
        let lines = entry.unwrap();
        let lines: Vec<(String, i64)> = lines
            .get_array("lines")
            .unwrap()
            .iter()
            .map(|line| line.as_document().unwrap())
            .map(|line| (line.get_str("account").unwrap().to_owned(), line.get_i64("minor").unwrap()))
            .collect();
        assert_eq!(lines, [(format!("shop:{}", hex(id)), *minor), ("platform:legacy".to_owned(), -minor)]);
    }
}

#[tokio::test]
async fn a_balance_that_the_old_server_changed_afterwards_is_reported_and_left_alone() {
    let old = Database::new().await;
    old.insert("shops", [doc! { "_id": hex("b0b"), "name": "Bob's", "availableBalance": 100 }]).await;
    old.migrate().await;
    let shops = old.db.raw::<Document>("shops");
    shops
        .update_one(doc! { "_id": hex("b0b") }, doc! { "$set": { "availableBalance": 190.5 } })
        .await
        .unwrap();
    let report = old.migrate().await;
    let [warning] = report.warnings.as_slice() else { panic!("{report:?}") };
    for part in ["Bob's", &hex("b0b").to_hex(), "100", "190.5"] {
        assert!(warning.contains(part), "{warning}");
    }
    let shop = old.one("shops", hex("b0b")).await;
    assert_eq!(shop.get_i64("balanceMinor").unwrap(), 10000);
    assert_eq!(shop.get_f64("availableBalance").unwrap(), 190.5);
    assert_eq!(report.changed, 0);
}

#[tokio::test]
async fn a_shop_that_came_back_from_an_older_copy_gets_the_balance_of_the_ledger() {
    let old = Database::new().await;
    let shop = doc! { "_id": hex("b0b"), "name": "Bob's", "availableBalance": 100 };
    old.insert("shops", [shop.clone()]).await;
    old.migrate().await;
    let account = format!("shop:{}", hex("b0b"));
    old.insert(
        "ledger",
        [doc! { "_id": "delivered:1", "at": DateTime::from_millis(0), "lines": [
            { "account": &account, "minor": 2550_i64 }, { "account": "cod", "minor": -2550_i64 },
        ] }],
    )
    .await;
    old.db.raw::<Document>("shops").replace_one(doc! { "_id": hex("b0b") }, shop).await.unwrap();
    let report = old.migrate().await;
    assert_eq!(report.warnings.len(), 1, "{report:?}");
    assert_eq!(old.one("shops", hex("b0b")).await.get_i64("balanceMinor").unwrap(), 12550);
    let entries =
        old.db.raw::<Document>("ledger").count_documents(doc! { "lines.account": account }).await.unwrap();
    assert_eq!(entries, 2, "no second opening");
}

#[tokio::test]
async fn duplicates_are_named_and_their_index_appears_once_they_are_gone() {
    let old = Database::new().await;
    old.insert(
        "users",
        [
            doc! { "_id": hex("a"), "email": "ann@mail.test" },
            doc! { "_id": hex("b"), "email": "Ann@Mail.test" },
            doc! { "_id": hex("c"), "email": "bob@mail.test" },
            // Without an address nothing is shared.
            doc! { "_id": hex("d") },
            doc! { "_id": hex("e") },
        ],
    )
    .await;
    old.insert("couponcodes", [doc! { "_id": 1, "name": "TEN" }, doc! { "_id": 2, "name": "TEN" }]).await;
    let report = old.migrate().await;
    assert_eq!(report.warnings.len(), 2, "{report:#?}");
    let about = |index: &str| report.warnings.iter().find(|line| line.contains(index)).unwrap();
    let users = about("users_email");
    for part in [hex("a").to_hex(), hex("b").to_hex()] {
        assert!(users.contains(&part), "{users}");
    }
    assert!(users.to_lowercase().contains("ann@mail.test") && !users.contains("bob@mail.test"), "{users}");
    assert!(about("couponcodes_name").contains("`TEN` in 1, 2"), "{report:?}");
    assert!(!old.indexes("users").await.contains(&"users_email".to_owned()));
    // Everything else is there.
    assert!(old.indexes("users").await.contains(&"users_reset".to_owned()));
    assert!(old.indexes("shops").await.contains(&"shops_email".to_owned()));
    assert_eq!(
        old.db.raw::<Document>("users").count_documents(doc! {}).await.unwrap(),
        5,
        "nothing is deleted"
    );

    old.db.raw::<Document>("users").delete_one(doc! { "_id": hex("b") }).await.unwrap();
    let report = old.migrate().await;
    assert_eq!(report.warnings.len(), 1, "{report:#?}");
    assert!(old.indexes("users").await.contains(&"users_email".to_owned()));
}

#[tokio::test]
async fn what_was_sold_before_is_told_apart_from_what_orders_account_for() {
    let old = Database::new().await;
    let (cup, pot) = (hex("c1"), hex("c2"));
    // The cups: three sold by the old server, four by orders of ours, of which one came back.
    old.insert(
        "products",
        [
            doc! { "_id": cup, "name": "cup", "stock": "8", "sold_out": 6 },
            doc! { "_id": pot, "name": "pot", "stock": 5_i64, "sold_out": 0 },
        ],
    )
    .await;
    let order = |state: &str, count: Bson, refunded: i64| {
        let line = doc! { "_id": cup.to_hex(), "count": count, "refunded": refunded };
        doc! { "status": "Delivered", "stockState": state, "cart": [line] }
    };
    let three = Bson::String("3".to_owned());
    old.insert(
        "orders",
        [
            order("taken", Bson::Int64(1), 0),
            order("taken", three, 1),
            order("legacy", Bson::Int64(2), 0),
            order("released", Bson::Int64(5), 0),
        ],
    )
    .await;
    old.migrate().await;
    let counted = |listing: Document| {
        let number = |field| listing.get(field).and_then(shared::lenient::as_int).unwrap();
        ["stock", "sold_out", "supplied", "soldEarlier"].map(number)
    };
    assert_eq!(counted(old.one("products", cup).await), [8, 6, 14, 3]);
    assert_eq!(counted(old.one("products", pot).await), [5, 0, 5, 0]);
    let audit = shared::audit::run(&old.db).await.unwrap();
    assert_eq!(audit.differences, Vec::<String>::new());
}

#[tokio::test]
async fn a_second_run_changes_nothing() {
    let old = Database::new().await;
    tests::legacy::plant(&old.db).await;
    assert!(old.migrate().await.changed > 0);
    let before = old.everything().await;
    let again = old.migrate().await;
    assert_eq!(again.changed, 0);
    // As text, because there is a NaN, which equals nothing.
    assert_eq!(format!("{:?}", old.everything().await), format!("{before:?}"));
}

#[tokio::test]
async fn several_nodes_may_migrate_at_once() {
    for _ in 0..5 {
        let old = Database::new().await;
        tests::legacy::plant(&old.db).await;
        let shops = (0..20_i32).map(|n| doc! { "email": format!("{n}@crowd.test"), "availableBalance": n });
        old.insert("shops", shops).await;
        let nodes = (0..4).map(|_| async {
            let db = Db::connect(&old.database.uri, "souk-migrate-test").await.unwrap();
            migrate::run(&db, &Clock::default()).await.unwrap()
        });
        let reports = futures_util::future::join_all(nodes).await;
        let shops = old.db.raw::<Document>("shops");
        let counted = shops.count_documents(doc! { "balanceMinor": { "$type": "long" } }).await.unwrap();
        assert_eq!(counted, shops.count_documents(doc! {}).await.unwrap());
        let with_money = shops.count_documents(doc! { "balanceMinor": { "$ne": 0 } }).await.unwrap();
        let openings = old.db.raw::<Document>("ledger").count_documents(doc! {}).await.unwrap();
        assert_eq!(openings, with_money, "one opening for each shop that has money");
        assert!(reports.iter().map(|report| report.changed).sum::<u64>() > 20);
        assert_eq!(old.migrate().await.changed, 0);
    }
}

#[tokio::test]
async fn orphaned_transactions_of_an_earlier_life_are_ended_and_no_others() {
    let clock = Clock::default();
    let database = TestDatabase::new().await;
    // A name of this test's own: the other tests share the server.
    let ours = Db::connect(&database.uri, "souk-orphan-test").await.unwrap();
    let other = Db::connect(&database.uri, "somebody-else").await.unwrap();
    ours.raw::<Document>("notes").insert_many([doc! { "_id": 1 }, doc! { "_id": 2 }]).await.unwrap();
    let hold = async |db: &Db, id: i32| {
        let mut session = db.client().start_session().await.unwrap();
        session.start_transaction().await.unwrap();
        let notes = db.raw::<Document>("notes");
        notes
            .update_one(doc! { "_id": id }, doc! { "$set": { "held": true } })
            .session(&mut session)
            .await
            .unwrap();
        session
    };
    let orphan = hold(&ours, 1).await;
    let mut stranger = hold(&other, 2).await;

    let long_ago = plus(clock.now(), -3_600_000);
    assert_eq!(migrate::end_orphans(&ours, "souk-orphan-test", long_ago).await.unwrap(), 0);
    let later = plus(clock.now(), 1000);
    assert_eq!(migrate::end_orphans(&ours, "souk-orphan-test", later).await.unwrap(), 1);
    // The document is free at once, long before the server would give up on the transaction.
    let write = ours.raw::<Document>("notes");
    let write = write.update_one(doc! { "_id": 1 }, doc! { "$set": { "free": true } }).into_future();
    tokio::time::timeout(Duration::from_secs(5), write).await.expect("still held").unwrap();
    stranger.commit_transaction().await.unwrap();
    drop(orphan);
}

#[tokio::test]
async fn an_index_of_an_earlier_version_goes_when_another_has_its_place_and_nobody_elses_does() {
    use mongodb::{IndexModel, options::IndexOptions};

    let old = Database::new().await;
    let orders = old.db.raw::<Document>("orders");
    for (name, field) in [("orders_buyer", "user._id"), ("their_own", "status")] {
        let options = IndexOptions::builder().name(name.to_owned()).build();
        let keys = doc! { field: 1, "createdAt": -1 };
        orders.create_index(IndexModel::builder().keys(keys).options(options).build()).await.unwrap();
    }
    for _ in 0..2 {
        let report = old.migrate().await;
        assert!(report.warnings.is_empty(), "{report:?}");
        let names = old.indexes("orders").await;
        assert!(!names.contains(&"orders_buyer".to_owned()), "{names:?}");
        for kept in ["their_own", "orders_buyer_latest"] {
            assert!(names.contains(&kept.to_owned()), "{names:?}");
        }
    }
}
