//! The application under test: the real servers in this process, on a real database, with a real mail server.

use std::{
    collections::BTreeMap,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bson::{Document, doc};
use shared::{auth::Sessions, clock::Clock, config::Config, db::Db, id::Id};

use crate::{
    browser::Browser,
    log,
    mail::MailServer,
    mongo::{self, TestDatabase},
};

/// The origin that the existing client is served from.
pub const CLIENT: &str = "http://localhost:5173";

/// A running API with everything behind it. Everything is gone when it is dropped.
pub struct TestApp {
    /// Where the API is, without a trailing slash.
    pub base: String,
    /// The database, through a client of this test's.
    pub db: Db,
    /// The application's clock; [`Clock::advance`] moves it.
    pub clock: Clock,
    /// The settings it runs with.
    pub config: Arc<Config>,
    mails: MailServer,
    home: PathBuf,
    server: Option<api::Server>,
    database: Option<TestDatabase>,
}

impl TestApp {
    /// With the tests' settings: `AUTH_MODE=strict`, so that a call without a credential is refused as it is in
    /// production; no rate limits; cheap password hashes; mail through SMTP to [`TestApp::mails`].
    pub async fn start() -> Self {
        Self::with(&[]).await
    }

    /// With other settings besides, by the names that `.env` knows them by.
    pub async fn with(settings: &[(&str, &str)]) -> Self {
        let database = TestDatabase::new().await;
        Self::on(database, settings).await
    }

    /// With what is no setting changed besides.
    pub async fn tuned(settings: &[(&str, &str)], tune: fn(&mut Config)) -> Self {
        Self::on_with(TestDatabase::new().await, settings, tune).await
    }

    /// On a database that may hold something already.
    pub async fn on(database: TestDatabase, settings: &[(&str, &str)]) -> Self {
        // As `main` does: gateways are asked over TLS.
        rustls::crypto::ring::default_provider().install_default().ok();
        Self::on_with(database, settings, |_| {}).await
    }

    /// The same with what is no setting changed besides.
    pub async fn on_with(database: TestDatabase, settings: &[(&str, &str)], tune: fn(&mut Config)) -> Self {
        // As the real program does first of all.
        rustls::crypto::ring::default_provider().install_default().ok();
        let mails = MailServer::start().await;
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let home = database.scratch_dir();
        let settings = all_settings(settings, address, &mails, &home);
        let clock = Clock::default();
        let mut config = read(&settings);
        tune(&mut config);
        let config = Arc::new(config);
        let server = serve(&database, Arc::clone(&config), clock.clone(), listener).await;
        let db = Db::connect(&database.uri, "souk-test").await.unwrap();
        let (server, database) = (Some(server), Some(database));
        Self { base: format!("http://{address}"), db, clock, config, mails, home, server, database }
    }

    /// Stops the API as an operator would and starts it again on the same database and address.
    pub async fn restart(&mut self) {
        let server = self.server.take().unwrap();
        mongo::on_lasting_runtime(server.stop()).await;
        let address = self.base.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind(&address).unwrap();
        let database = self.database.as_ref().unwrap();
        self.server = Some(serve(database, Arc::clone(&self.config), self.clock.clone(), listener).await);
    }

    /// Stops the API for good. Its database stays, for others to serve from.
    pub async fn stop(&mut self) {
        let server = self.server.take().unwrap();
        mongo::on_lasting_runtime(server.stop()).await;
    }

    /// A second API on the same database, as behind a load balancer. Gone when it is dropped.
    pub async fn another_node(&self) -> Node {
        self.another_node_with(|_| {}).await
    }

    /// The same with other settings.
    pub async fn another_node_with(&self, tune: impl FnOnce(&mut Config)) -> Node {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let database = self.database.as_ref().unwrap();
        let mut config = Config::clone(&self.config);
        tune(&mut config);
        let server = serve(database, Arc::new(config), self.clock.clone(), listener).await;
        Node { base, server: Some(server) }
    }

    /// Waits until the API's memory of the catalogue has what was written straight into the database. What is written
    /// through the API is there at once.
    pub async fn caught_up(&self) {
        caught_up(&self.db, &self.inside()).await;
    }

    /// A browser with an empty cookie jar.
    pub fn browser(&self) -> Browser {
        Browser::new(&self.base)
    }

    /// The mail server that the application sends through.
    pub const fn mails(&self) -> &MailServer {
        &self.mails
    }

    /// The directory of the embedded defaults: uploads and the like.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// The connection string of the application's database.
    pub fn database_uri(&self) -> &str {
        &self.database.as_ref().unwrap().uri
    }

    /// The application as handlers see it, to wait for its tasks or to reach its outbox.
    pub fn inside(&self) -> Arc<api::App> {
        self.server.as_ref().unwrap().app()
    }

    /// Signs and reads sessions as the application does.
    pub fn sessions(&self) -> Sessions {
        let ttl = i64::try_from(self.config.session_ttl.as_secs()).unwrap();
        Sessions::new(self.config.jwt_secret.expose(), ttl)
    }
}

impl Drop for TestApp {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            log::assert_no_secrets();
        }
        let (server, database, home) = (self.server.take(), self.database.take(), self.home.clone());
        // In the background, in this order: a server that is still writing would bring the database back.
        mongo::runtime().spawn(async move {
            if let Some(server) = server {
                server.stop().await;
            }
            drop(database);
            std::fs::remove_dir_all(home).ok();
        });
    }
}

/// One more API, see [`TestApp::another_node`].
pub struct Node {
    /// Where it is.
    pub base: String,
    server: Option<api::Server>,
}

impl Node {
    /// The application as its handlers see it.
    pub fn inside(&self) -> Arc<api::App> {
        self.server.as_ref().unwrap().app()
    }

    /// See [`TestApp::caught_up`].
    pub async fn caught_up(&self, app: &TestApp) {
        caught_up(&app.db, &self.inside()).await;
    }
}

/// What comes after everything that has been written so far is a document that nobody is shown.
async fn caught_up(db: &Db, app: &api::App) {
    let now = db.database().run_command(doc! { "ping": 1 }).await.unwrap();
    let moment = now.get_timestamp("operationTime").unwrap();
    let sentinel = doc! { "_id": format!("sentinel {}", Id::<()>::new()) };
    let events = db.raw::<Document>("events");
    events.insert_one(&sentinel).await.unwrap();
    let followed = tokio::time::timeout(Duration::from_secs(60), app.catalogue.follows(moment)).await;
    assert!(followed.is_ok(), "the catalogue's memory does not follow the database");
    events.delete_one(sentinel).await.unwrap();
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            mongo::runtime().spawn(server.stop());
        }
    }
}

async fn serve(
    database: &TestDatabase,
    config: Arc<Config>,
    clock: Clock,
    listener: TcpListener,
) -> api::Server {
    let uri = database.uri.clone();
    mongo::on_lasting_runtime(async move {
        let db = Db::connect(&uri, "souk-api").await.unwrap();
        shared::migrate::run(&db, &clock).await.unwrap();
        let app = api::App::new(config, db, clock).unwrap();
        api::appoint_administrator(&app).await.unwrap();
        api::serve(app, listener).unwrap()
    })
    .await
}

fn read(settings: &BTreeMap<String, String>) -> Config {
    Config::read(|name| settings.get(name).cloned()).unwrap_or_else(|bad| panic!("{bad}"))
}

fn all_settings(
    wanted: &[(&str, &str)],
    address: SocketAddr,
    mails: &MailServer,
    home: &Path,
) -> BTreeMap<String, String> {
    let ours = [
        ("BIND", "127.0.0.1".to_owned()),
        ("PORT", address.port().to_string()),
        ("PUBLIC_URL", format!("http://{address}")),
        ("CLIENT_URL", CLIENT.to_owned()),
        ("AUTH_MODE", "strict".to_owned()),
        ("JWT_SECRET_KEY", log::SESSIONS.to_owned()),
        ("BCRYPT_COST", "4".to_owned()),
        ("RATE_LIMITS", "off".to_owned()),
        ("CHAT_DRAIN", "0".to_owned()),
        ("DEMO", "off".to_owned()),
        ("SOUK_HOME", home.display().to_string()),
        ("SMTP_HOST", mails.address().ip().to_string()),
        ("SMTP_PORT", mails.address().port().to_string()),
        ("SMTP_USER", "souk@mail.test".to_owned()),
        ("SMTP_PASSWORD", log::MAIL_PASSWORD.to_owned()),
    ];
    let mut all: BTreeMap<String, String> =
        ours.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    // An empty value unsets one of ours.
    all.extend(wanted.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    all
}
