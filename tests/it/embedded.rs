//! The embedded database: started, tied to our life, restarted, recovered.

use std::path::PathBuf;
use std::time::Duration;

use bson::{Document, doc};
use mongodb::Client;
use souk::embedded::{self, EmbeddedMongo, Options};

/// A directory on disk for one test, gone afterwards.
struct Home(PathBuf);

impl Home {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("souk-test-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn options(&self) -> Options {
        Options::in_home(&self.0)
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

async fn insert(mongo: &EmbeddedMongo, id: i32) {
    let client = Client::with_uri_str(mongo.uri()).await.unwrap();
    let notes = client.default_database().unwrap().collection::<Document>("notes");
    notes.insert_one(doc! { "_id": id }).await.unwrap();
    client.shutdown().await;
}

async fn count(mongo: &EmbeddedMongo) -> u64 {
    let client = Client::with_uri_str(mongo.uri()).await.unwrap();
    let notes = client.default_database().unwrap().collection::<Document>("notes");
    let count = notes.count_documents(doc! {}).await.unwrap();
    client.shutdown().await;
    count
}

fn kill(pid: u32) {
    let killed = std::process::Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap();
    assert!(killed.success());
}

fn is_running(pid: u32) -> bool {
    // A process that has ended but was not waited for yet is a zombie, `Z` after its name.
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit(')').next().unwrap_or_default().trim_start().starts_with('Z'))
}

/// Waits for something outside of this process, which tells nobody when it is done.
async fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let waited = tokio::time::timeout(Duration::from_secs(20), async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    assert!(waited.await.is_ok(), "never happened: {what}");
}

#[tokio::test]
async fn transactions_and_change_streams_work() {
    use futures_util::StreamExt as _;
    let mongo = embedded::start(Options::for_tests()).await.unwrap();
    // The second is what a database in a container is reached by, whose own name nobody outside knows.
    let direct = mongo.uri_for("direct").replace("replicaSet=rs0", "directConnection=true");
    for uri in [mongo.uri_for("other"), direct] {
        let client = Client::with_uri_str(&uri).await.unwrap();
        let notes = client.default_database().unwrap().collection::<Document>("notes");
        notes.insert_one(doc! { "_id": 0 }).await.unwrap();
        let mut stream = notes.watch().await.unwrap();

        let mut session = client.start_session().await.unwrap();
        session.start_transaction().await.unwrap();
        notes.insert_one(doc! { "_id": 1 }).session(&mut session).await.unwrap();
        session.abort_transaction().await.unwrap();
        session.start_transaction().await.unwrap();
        notes.insert_one(doc! { "_id": 2 }).session(&mut session).await.unwrap();
        session.commit_transaction().await.unwrap();

        let change =
            tokio::time::timeout(Duration::from_secs(10), stream.next()).await.unwrap().unwrap().unwrap();
        let seen = change.full_document.unwrap().get_i32("_id").unwrap();
        assert_eq!(seen, 2, "the aborted insert must not be seen ({uri})");
    }
}

#[tokio::test]
async fn data_survives_a_clean_stop_and_another_port() {
    let home = Home::new("clean");
    let mongo = embedded::start(home.options()).await.unwrap();
    insert(&mongo, 1).await;
    let (uri, pid) = (mongo.uri().to_owned(), mongo.pid().unwrap());
    mongo.stop().await;
    assert!(!is_running(pid), "stop waits for the end of the server");

    let again = embedded::start(home.options()).await.unwrap();
    assert_eq!(again.uri(), uri, "the port of the last run is kept while it is free");
    assert_eq!(count(&again).await, 1);
    again.stop().await;

    let port = uri.rsplit(':').next().unwrap().split('/').next().unwrap();
    // Somebody else has the port now, and hangs up on whoever asks for a database.
    let taken = std::net::TcpListener::bind(format!("127.0.0.1:{port}")).unwrap();
    std::thread::spawn(move || taken.incoming().for_each(drop));
    let elsewhere = embedded::start(home.options()).await.unwrap();
    assert_ne!(elsewhere.uri(), uri);
    insert(&elsewhere, 2).await;
    assert_eq!(count(&elsewhere).await, 2);
    elsewhere.stop().await;
}

#[tokio::test]
async fn a_killed_database_is_started_again_with_everything_it_acknowledged() {
    let home = Home::new("restart");
    let mongo = embedded::start(home.options()).await.unwrap();
    for round in 1..=3 {
        insert(&mongo, round).await;
        let pid = mongo.pid().unwrap();
        kill(pid);
        eventually("another mongod runs", || mongo.pid().is_some_and(|now| now != pid)).await;
        // The driver finds the server again by itself, at the same address.
        assert_eq!(count(&mongo).await, u64::try_from(round).unwrap());
    }
    mongo.stop().await;
}

#[tokio::test]
async fn a_directory_that_a_crash_left_behind_is_recovered() {
    let home = Home::new("crash");
    let mongo = embedded::start(home.options()).await.unwrap();
    insert(&mongo, 1).await;
    let pid = mongo.pid().unwrap();
    // Dropping kills at once: the lock file and an unfinished journal stay behind.
    drop(mongo);
    assert!(!is_running(pid));
    assert!(std::fs::metadata(home.0.join("db/mongod.lock")).unwrap().len() > 0, "not the state of a crash");

    let mongo = embedded::start(home.options()).await.unwrap();
    assert_eq!(count(&mongo).await, 1);
    mongo.stop().await;
}

#[tokio::test]
async fn a_second_souk_on_the_same_directory_is_refused_in_words() {
    let home = Home::new("second");
    let first = embedded::start(home.options()).await.unwrap();
    let refused = embedded::start(home.options()).await.unwrap_err().to_string();
    assert!(refused.contains("another Souk"), "{refused}");
    assert!(refused.contains(&std::process::id().to_string()), "{refused}");
    assert!(refused.contains("SOUK_HOME"), "{refused}");
    insert(&first, 1).await;
    first.stop().await;
    embedded::start(home.options()).await.unwrap().stop().await;
}

#[tokio::test]
async fn a_wrong_mongod_setting_is_named() {
    let home = Home::new("wrong");
    let absent = Options { mongod: Some("/no/such/mongod".into()), ..home.options() };
    let refused = format!("{:#}", embedded::start(absent).await.unwrap_err());
    assert!(refused.contains("MONGOD") && refused.contains("/no/such/mongod"), "{refused}");
}

#[tokio::test]
async fn a_directory_that_mongod_refuses_is_an_error_that_shows_its_words() {
    let home = Home::new("refused");
    std::fs::create_dir_all(home.0.join("db")).unwrap();
    std::fs::write(home.0.join("db/storage.bson"), "not bson").unwrap();
    let refused = format!("{:#}", embedded::start(home.options()).await.unwrap_err());
    assert!(refused.contains("mongod.log"), "{refused}");
}

#[tokio::test]
async fn a_throw_away_database_leaves_nothing() {
    let mongo = embedded::start(Options::for_tests()).await.unwrap();
    let dir = mongo.data_dir().to_owned();
    assert!(dir.exists());
    mongo.stop().await;
    assert!(!dir.exists());
}

#[tokio::test]
async fn databases_of_many_tests_start_side_by_side() {
    let all = futures_util::future::join_all((0..4).map(|_| embedded::start(Options::for_tests()))).await;
    let mut uris: Vec<String> = all.iter().map(|one| one.as_ref().unwrap().uri().to_owned()).collect();
    uris.sort();
    uris.dedup();
    assert_eq!(uris.len(), 4);
}
