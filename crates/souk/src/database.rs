//! The database that the settings ask for: the one at `DB_URL`, or our own.

use std::time::Duration;

use crate::embedded::{self, EmbeddedMongo};
use anyhow::Context as _;
use shared::{
    config::{Config, Secret, without_password},
    db::Db,
};

/// How long a start waits for a database elsewhere: longer than a restart of it takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// An open database, and the server behind it if it is ours.
pub(crate) struct Database {
    pub(crate) db: Db,
    /// Its connection string.
    pub(crate) uri: String,
    pub(crate) embedded: Option<EmbeddedMongo>,
}

impl Database {
    /// Starts our own if no other is set, connects, and waits until it answers.
    pub(crate) async fn open(config: &Config, app_name: &str) -> anyhow::Result<Self> {
        let embedded = match &config.database_uri {
            Some(_) => None,
            None => Some(embedded::start(embedded_options(config)).await?),
        };
        let uri = config
            .database_uri
            .as_ref()
            .map(Secret::expose)
            .or(embedded.as_ref().map(EmbeddedMongo::uri))
            .unwrap_or_default();
        let (db, uri) = (connect(uri, app_name).await?, uri.to_owned());
        Ok(Self { db, uri, embedded })
    }

    /// Like [`Database::open`], but beside a running Souk it is that one's database: for commands that may run
    /// beside it.
    pub(crate) async fn reach(config: &Config, app_name: &str) -> anyhow::Result<Self> {
        match Self::open(config, app_name).await {
            Err(error) if error.is::<embedded::InUse>() => {
                let uri = embedded::uri_of_running(&embedded_options(config)).ok_or(error)?;
                Ok(Self { db: connect(&uri, app_name).await?, uri, embedded: None })
            }
            opened => opened,
        }
    }

    /// Closes the connections, and shuts our own server down. Nothing may use the database any more.
    pub(crate) async fn close(self) {
        self.db.client().clone().shutdown().immediate(true).await;
        if let Some(embedded) = self.embedded {
            embedded.stop().await;
        }
    }
}

/// Where our own database lives according to the settings.
pub(crate) fn embedded_options(config: &Config) -> embedded::Options {
    embedded::Options { mongod: config.mongod.clone(), ..embedded::Options::in_home(&config.home) }
}

async fn connect(uri: &str, app_name: &str) -> anyhow::Result<Db> {
    let db = Db::connect(uri, app_name).await.context("DB_URL cannot be used")?;
    wait_for(&db).await.with_context(|| format!("MongoDB at {} does not answer", without_password(uri)))?;
    Ok(db)
}

async fn wait_for(db: &Db) -> mongodb::error::Result<()> {
    let asked = async {
        loop {
            match db.ping().await {
                Err(error) if shared::db::is_unavailable(&error) => {
                    tracing::warn!("waiting for MongoDB: {error}");
                    tokio::time::sleep(Duration::from_millis(500)).await;
                }
                answered => return answered,
            }
        }
    };
    match tokio::time::timeout(PATIENCE, asked).await {
        Ok(answered) => answered,
        // Once more, for the reason.
        Err(_) => db.ping().await,
    }
}
