//! `souk backup` and `souk restore`: everything as of one moment, under load, and nothing that is half or damaged.

use std::{
    collections::BTreeMap,
    ops::Not as _,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bson::{Document, RawDocumentBuf, doc};
use futures_util::{TryStreamExt as _, future::join_all};
use serde_json::{Value, json};
use shared::{audit, db::Db, model::Order};
use tests::{Buyer, Seller, TestApp, mongo::TestDatabase};
use tokio::process::Command;

use crate::{refunds, withdrawals::add_bank};

/// Where one database keeps its files.
struct Installation {
    uri: String,
    home: PathBuf,
}

impl Installation {
    fn of(app: &TestApp) -> Self {
        Self { uri: app.database_uri().to_owned(), home: app.home().to_owned() }
    }

    fn on(database: &TestDatabase) -> Self {
        Self { uri: database.uri.clone(), home: database.scratch_dir() }
    }

    fn souk(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_souk-under-test"));
        command.args(arguments).env_clear().env("RUST_LOG", "warn").kill_on_drop(true);
        command.env("DB_URL", &self.uri).env("SOUK_HOME", &self.home).current_dir(&self.home);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Whether it succeeded, and what it said.
    async fn run(&self, arguments: &[&str]) -> (bool, String) {
        let output = self.souk(arguments).output().await.unwrap();
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        (output.status.success(), format!("{out}{err}"))
    }

    async fn succeeds(&self, arguments: &[&str]) -> String {
        let (success, said) = self.run(arguments).await;
        assert!(success, "{arguments:?}: {said}");
        said
    }

    async fn fails(&self, arguments: &[&str]) -> String {
        let (success, said) = self.run(arguments).await;
        assert!(!success, "{arguments:?}: {said}");
        said
    }

    async fn db(&self) -> Db {
        Db::connect(&self.uri, "souk-test").await.unwrap()
    }
}

/// Every document of every collection, by its bytes, and every index.
async fn contents(db: &Db) -> BTreeMap<String, (Vec<RawDocumentBuf>, Vec<String>)> {
    let mut all = BTreeMap::new();
    for name in db.database().list_collection_names().await.unwrap() {
        // Where the last backup is noted, after it was taken.
        if name.starts_with("system.") || name == "backups" {
            continue;
        }
        let found = db.raw::<RawDocumentBuf>(&name).find(doc! {}).sort(doc! { "_id": 1 }).await.unwrap();
        let listed = db.database().run_cursor_command(doc! { "listIndexes": &name }).await;
        let mut indexes: Vec<String> = match listed {
            Ok(listed) => listed.map_ok(|index| index.to_string()).try_collect().await.unwrap(),
            Err(_) => Vec::new(),
        };
        indexes.sort();
        all.insert(name, (found.try_collect().await.unwrap(), indexes));
    }
    all
}

fn utf8(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Buys, has it delivered, sends a part back, and pays the shop, for ever.
async fn live(
    buyer: Buyer,
    shop: Seller,
    cup: Value,
    acknowledged: Arc<Mutex<Vec<String>>>,
    over: Arc<AtomicBool>,
) {
    for round in 0.. {
        if over.load(Ordering::Relaxed) {
            return;
        }
        let orders = buyer.order(&[(&cup, 3)]).await;
        let id = orders[0]["_id"].as_str().unwrap().to_owned();
        acknowledged.lock().unwrap().push(id.clone());
        shop.set_status(&id, "Delivered").await;
        if round % 2 == 0 {
            refunds::refund(&buyer, &shop, &orders[0], &[(&cup, 1)]).await;
        }
        let asked = shop.post("/api/withDraw/create-withdraw-request").json(&json!({ "amount": 50 })).await;
        assert!([201, 409].contains(&asked.status), "{}", asked.text());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_taken_under_load_restores_to_books_that_balance_with_all_that_was_acknowledged_before() {
    let app = TestApp::start().await;
    let bob = app.seller("bob").await;
    add_bank(&bob).await;
    let cup = bob.product("cup", "100", 1_000_000).await;
    let acknowledged = Arc::<Mutex<Vec<String>>>::default();
    let over = Arc::<AtomicBool>::default();
    let buyers = join_all((0..6).map(async |i| app.buyer(&format!("buyer {i}")).await)).await;
    let people: Vec<_> = buyers
        .into_iter()
        .map(|buyer| tokio::spawn(live(buyer, bob.clone(), cup.clone(), acknowledged.clone(), over.clone())))
        .collect();
    while acknowledged.lock().unwrap().len() < 20 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let here = Installation::of(&app);
    let backups = here.home.join("backups");
    std::fs::create_dir(&backups).unwrap();
    let before = acknowledged.lock().unwrap().clone();
    let said = here.succeeds(&["backup", utf8(&backups)]).await;
    // It was taken while people went on.
    let after = acknowledged.lock().unwrap().len();
    assert!(after > before.len(), "nobody did anything meanwhile: {said}");
    over.store(true, Ordering::Relaxed);
    for person in people {
        person.await.unwrap();
    }

    let taken: Vec<_> = std::fs::read_dir(&backups).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(taken.len(), 1, "{taken:?}");
    let elsewhere = TestDatabase::new().await;
    let there = Installation::on(&elsewhere);
    let said = there.succeeds(&["restore", utf8(&taken[0])]).await;
    assert!(said.contains("Every cent and every unit is accounted for."), "{said}");

    let db = there.db().await;
    let restored: Vec<Order> = db.of::<Order>().find(doc! {}).await.unwrap().try_collect().await.unwrap();
    let restored: Vec<String> = restored.iter().map(|order| order.id.hex()).collect();
    let lost: Vec<_> = before.iter().filter(|id| !restored.contains(id)).collect();
    assert!(lost.is_empty(), "acknowledged before the backup began and not in it: {lost:?}");
    assert!(restored.len() < acknowledged.lock().unwrap().len(), "it was over before the backup was");
    let counted = audit::run(&db).await.unwrap();
    assert_eq!(counted.differences, Vec::<String>::new());
    // The pictures are where the documents say.
    let picture = cup["images"][0]["url"].as_str().unwrap().split_once("/uploads/").unwrap().1;
    let of = |home: &Path| std::fs::read(home.join("uploads").join(picture)).unwrap();
    assert_eq!(of(&here.home), of(&there.home));
    // Whoever operates it can see that there is one.
    assert!(shared::backups::last(&app.db).await.unwrap().is_some());
}

#[tokio::test]
async fn what_comes_back_is_the_same_to_the_byte_with_its_indexes() {
    let mut app = TestApp::start().await;
    let (ann, bob) = (app.buyer("ann").await, app.seller("bob").await);
    let cup = bob.product("cup", "10", 100).await;
    ann.order(&[(&cup, 2)]).await;
    let odd = doc! {
        "_id": "odd", "decimal": "1.10".parse::<bson::Decimal128>().unwrap(), "a.b": { "$c": 1 },
        "binary": bson::Binary { subtype: bson::spec::BinarySubtype::Generic, bytes: vec![0, 255] },
        "none": null, "double": 1.0, "int": 1, "long": 1_i64, "date": app.clock.now(),
    };
    app.db.raw::<Document>("strange / name%").insert_one(odd).await.unwrap();
    app.db
        .database()
        .run_command(doc! { "create": "folded", "collation": { "locale": "en", "strength": 2 } })
        .await
        .unwrap();
    app.db.raw::<Document>("folded").insert_one(doc! { "_id": "A" }).await.unwrap();
    app.db.database().run_command(doc! { "create": "cheap", "viewOn": "products", "pipeline": [{ "$match": { "discountPrice": { "$lt": 20 } } }] }).await.unwrap();
    app.caught_up().await;
    // Nobody sends mails meanwhile.
    app.stop().await;
    let here = Installation::of(&app);
    let to = here.home.join("one");
    here.succeeds(&["backup", utf8(&to)]).await;
    let refused = here.fails(&["backup", utf8(&to)]).await;
    assert!(refused.contains("is a backup already"), "{refused}");

    // Only whoever made it can read it.
    use std::os::unix::fs::PermissionsExt as _;
    assert_eq!(std::fs::metadata(&to).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(std::fs::metadata(to.join("manifest.json")).unwrap().permissions().mode() & 0o777, 0o600);
    let sums = std::process::Command::new("sha256sum")
        .args(["--check", "--quiet", "manifest.json.sha256", "uploads.sha256"])
        .current_dir(&to)
        .status();
    assert!(sums.unwrap().success(), "the checksums are such as the usual program reads");

    let elsewhere = TestDatabase::new().await;
    let there = Installation::on(&elsewhere);
    there.succeeds(&["restore", utf8(&to)]).await;
    let (expected, found) = (contents(&app.db).await, contents(&there.db().await).await);
    assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    for (name, (documents, indexes)) in &expected {
        assert_eq!(&found[name].0, documents, "{name}");
        assert_eq!(&found[name].1, indexes, "{name}");
    }
    assert_eq!(found["cheap"].0.len(), 1);

    // Not over anything, unless that is wanted; then what was there is gone.
    let refused = there.fails(&["restore", utf8(&to)]).await;
    assert!(refused.contains("is not empty"), "{refused}");
    let db = there.db().await;
    db.raw::<Document>("users").delete_many(doc! {}).await.unwrap();
    db.raw::<Document>("later").insert_one(doc! { "_id": 1 }).await.unwrap();
    // As a restore that was killed leaves it.
    db.raw::<Document>("restoring.users").insert_one(doc! { "_id": 1 }).await.unwrap();
    there.succeeds(&["restore", "--replace", utf8(&to)]).await;
    let again = contents(&db).await;
    assert_eq!(again.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    assert_eq!(again["users"].0, expected["users"].0);
}

/// Every file below a directory.
fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[tokio::test]
async fn one_flipped_byte_anywhere_and_nothing_is_restored() {
    let app = TestApp::start().await;
    let (ann, bob) = (app.buyer("ann").await, app.seller("bob").await);
    let cup = bob.product("cup", "10", 100).await;
    ann.order(&[(&cup, 2)]).await;
    let here = Installation::of(&app);
    let to = here.home.join("backup");
    here.succeeds(&["backup", utf8(&to)]).await;
    let elsewhere = TestDatabase::new().await;
    let there = Installation::on(&elsewhere);
    let all = files(&to);
    assert!(all.iter().any(|file| file.ends_with("documents/orders.bson.gz")), "{all:?}");
    assert!(all.iter().any(|file| file.to_str().unwrap().contains("/uploads/products/")), "{all:?}");
    for file in &all {
        let whole = std::fs::read(file).unwrap();
        let mut damaged = whole.clone();
        let at = damaged.len() / 2;
        damaged[at] ^= 1;
        std::fs::write(file, &damaged).unwrap();
        let refused = there.fails(&["restore", "--replace", utf8(&to)]).await;
        assert!(refused.contains("nothing was restored"), "{}: {refused}", file.display());
        std::fs::write(file, &whole[..whole.len() - 1]).unwrap();
        there.fails(&["restore", "--check", utf8(&to)]).await;
        std::fs::remove_file(file).unwrap();
        there.fails(&["restore", "--check", utf8(&to)]).await;
        std::fs::write(file, &whole).unwrap();
    }
    assert_eq!(contents(&there.db().await).await.keys().count(), 0, "something was written");
    there.succeeds(&["restore", "--check", utf8(&to)]).await;
}

#[tokio::test]
async fn a_backup_that_is_killed_leaves_nothing_under_its_name_and_the_next_one_clears_up() {
    let app = TestApp::start().await;
    // Enough to be in the middle of.
    let filler: Vec<Document> = (0..40_000)
        .map(|i: i64| doc! { "_id": i, "text": format!("{:x}", i.wrapping_mul(0x5851_f42d_4c95_7f2d)).repeat(100) })
        .collect();
    app.db.raw::<Document>("filler").insert_many(filler).await.unwrap();
    let here = Installation::of(&app);
    let backups = here.home.join("backups");
    std::fs::create_dir(&backups).unwrap();
    let to = backups.join("nightly");
    let aside = || {
        let all = std::fs::read_dir(&backups).unwrap().map(|entry| entry.unwrap().path());
        all.collect::<Vec<_>>()
    };
    let in_the_middle = async |pid: &str| {
        let file = backups.join(format!(".souk-backup-{pid}.partial/documents/filler.bson.gz"));
        while std::fs::metadata(&file).is_ok_and(|found| found.len() > 0).not() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    for signal in ["-KILL", "-TERM"] {
        let mut child = here.souk(&["backup", utf8(&to)]).spawn().unwrap();
        let pid = child.id().unwrap().to_string();
        in_the_middle(&pid).await;
        assert!(std::process::Command::new("kill").args([signal, &pid]).status().unwrap().success());
        assert!(!child.wait().await.unwrap().success(), "it was over already");
        assert!(!to.exists(), "half a backup");
        // Who is killed cannot clear up, who is asked to end does; and each begins with clearing up.
        assert_eq!(aside().len(), usize::from(signal == "-KILL"), "{:?}", aside());
    }
    here.succeeds(&["backup", utf8(&to)]).await;
    assert_eq!(aside(), std::slice::from_ref(&to));
    here.succeeds(&["restore", "--check", utf8(&to)]).await;
}

#[tokio::test]
async fn a_moment_that_the_database_forgets_is_said_and_a_longer_history_is_put_back() {
    // A server of its own: how long it keeps the past is not one database's.
    let own = souk::embedded::start(souk::embedded::Options::for_tests()).await.unwrap();
    let database = TestDatabase::at(own.uri_for("forgetful")).await;
    let here = Installation::on(&database);
    let db = here.db().await;
    let filler: Vec<Document> =
        (0..60_000).map(|i: i64| doc! { "_id": i, "text": "x".repeat(900) }).collect();
    db.raw::<Document>("filler").insert_many(filler).await.unwrap();
    let admin = db.client().database("admin");
    let history = async |set: i32| {
        let command = doc! { "setParameter": 1, "minSnapshotHistoryWindowInSeconds": set };
        admin.run_command(command).await.unwrap();
    };
    history(17).await;
    here.succeeds(&["backup", "--history", "1h", utf8(&here.home.join("long"))]).await;
    let found = admin.run_command(doc! { "getParameter": 1, "minSnapshotHistoryWindowInSeconds": 1 });
    assert_eq!(found.await.unwrap().get_i32("minSnapshotHistoryWindowInSeconds").unwrap(), 17);

    // Forgotten at once, and every read goes back to the server for more.
    history(0).await;
    let over = Arc::<AtomicBool>::default();
    let busy = tokio::spawn({
        let (db, over) = (db.clone(), over.clone());
        async move {
            while !over.load(Ordering::Relaxed) {
                db.raw::<Document>("busy").insert_one(doc! {}).await.unwrap();
            }
        }
    });
    let refused = here.fails(&["backup", utf8(&here.home.join("short"))]).await;
    over.store(true, Ordering::Relaxed);
    busy.await.unwrap();
    assert!(refused.contains("--history"), "{refused}");
    assert!(!here.home.join("short").exists());
    own.stop().await;
}

#[tokio::test]
async fn the_embedded_database_is_backed_up_and_restored_likewise() {
    let scratch = TestDatabase::new().await;
    let homes = ["one", "other"].map(|name| scratch.scratch_dir().join(name));
    let souk = async |home: &Path, arguments: &[&str]| {
        std::fs::create_dir_all(home).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_souk-under-test"));
        command.args(arguments).env_clear().env("RUST_LOG", "warn").kill_on_drop(true).current_dir(home);
        let found = std::env::vars()
            .filter(|(name, _)| matches!(name.as_str(), "PATH" | "HOME" | "XDG_CACHE_HOME" | "MONGOD"));
        let output = command.envs(found).output().await.unwrap();
        let said =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{arguments:?}: {said}");
        said
    };
    souk(&homes[0], &["migrate"]).await;
    let backup = scratch.scratch_dir().join("backup");
    let taken = souk(&homes[0], &["backup", utf8(&backup)]).await;
    assert!(taken.contains("collections"), "{taken}");
    let restored = souk(&homes[1], &["restore", utf8(&backup)]).await;
    assert!(restored.contains("Restored. 0 changes made"), "{restored}");
}
