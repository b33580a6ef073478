//! Turns a starting `mongod` into a replica set of one, with itself as primary.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::Context as _;
use bson::{Document, doc};
use mongodb::error::ErrorKind;
use mongodb::options::ClientOptions;
use mongodb::{Client, Database};
use tokio::net::TcpStream;

use super::Options;

pub(super) const SET_NAME: &str = "rs0";

const NOT_YET_INITIALIZED: i32 = 94;
/// Already initialised; interrupted or refused because the server is changing its role.
const PASSING: [i32; 5] = [23, 189, 10_107, 11_602, 13_436];
const PAUSE: Duration = Duration::from_millis(10);

/// Waits until the server listens and, unless it is to be a member of a larger set, makes it a replica set under this
/// port and waits until it is primary. Has no time limit of its own.
pub(super) async fn make_ready(port: u16, options: &Options) -> anyhow::Result<()> {
    // The driver backs off for half a second after a refused connection; a plain connect does not.
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_err() {
        tokio::time::sleep(PAUSE).await;
    }
    if options.member {
        return Ok(());
    }
    let client = client_of(&format!("127.0.0.1:{port}")).await?;
    let ready = set_up(&client.database("admin"), port, options.for_tests).await;
    client.shutdown().await;
    ready
}

/// For one server, whatever its role.
async fn client_of(host: &str) -> anyhow::Result<Client> {
    let options = ClientOptions::parse(format!("mongodb://{host}/?directConnection=true")).await;
    let mut options = options.context("cannot set up the client of the embedded MongoDB")?;
    options.app_name = Some("souk-embedded".to_owned());
    Client::with_options(options).context("cannot set up the client of the embedded MongoDB")
}

/// Makes one set of servers that have none, and waits until it has a primary.
pub(super) async fn unite(hosts: &[String]) -> anyhow::Result<()> {
    let [first, ..] = hosts else { anyhow::bail!("no servers") };
    let member = |(id, host): (i32, &String)| doc! { "_id": id, "host": host };
    let config = doc! {
        "_id": SET_NAME,
        "members": (0..).zip(hosts).map(member).collect::<Vec<_>>(),
        "settings": { "electionTimeoutMillis": 5_000, "heartbeatIntervalMillis": 500 },
    };
    let client = client_of(first).await?;
    let united = client.database("admin").run_command(doc! { "replSetInitiate": config }).await;
    client.shutdown().await;
    united.context("the servers cannot be made a set")?;
    let mut options =
        ClientOptions::parse(format!("mongodb://{}/?replicaSet={SET_NAME}", hosts.join(","))).await?;
    options.app_name = Some("souk-embedded".to_owned());
    // Of the primary, once there is one.
    let client = Client::with_options(options)?;
    let found = client.database("admin").run_command(doc! { "ping": 1 }).await;
    client.shutdown().await;
    found.map(drop).context("the set has no primary")
}

async fn set_up(admin: &Database, port: u16, for_tests: bool) -> anyhow::Result<()> {
    let host = format!("127.0.0.1:{port}");
    loop {
        match step(admin, &host, for_tests).await {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            Err(error) if is_passing(&error) => {
                tracing::debug!("the embedded MongoDB is changing its state: {error}")
            }
            Err(error) => return Err(error).context("cannot make the embedded MongoDB a replica set"),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Does what is to be done next; true once the server is primary.
async fn step(admin: &Database, host: &str, for_tests: bool) -> mongodb::error::Result<bool> {
    match admin.run_command(doc! { "replSetGetConfig": 1 }).await {
        Ok(reply) => {
            if let Some(config) = with_host(&reply, host) {
                admin.run_command(doc! { "replSetReconfig": config, "force": true }).await?;
            }
        }
        Err(error) if code(&error) == Some(NOT_YET_INITIALIZED) => initiate(admin, host, for_tests).await?,
        Err(error) => return Err(error),
    }
    let hello = admin.run_command(doc! { "hello": 1 }).await?;
    Ok(hello.get_bool("isWritablePrimary").unwrap_or(false))
}

/// A server that is still reading its stored configuration says that it has none, and closes its connections when it
/// has read it: that passes.
fn is_passing(error: &mongodb::error::Error) -> bool {
    matches!(&*error.kind, ErrorKind::Io(_) | ErrorKind::ConnectionPoolCleared { .. })
        || code(error).is_some_and(|code| PASSING.contains(&code))
}

async fn initiate(admin: &Database, host: &str, for_tests: bool) -> mongodb::error::Result<()> {
    let mut config = doc! { "_id": SET_NAME, "members": [{ "_id": 0, "host": host }] };
    if for_tests {
        // A majority write then does not wait for the disk: dropping a database takes 2 ms instead of 100.
        config.insert("writeConcernMajorityJournalDefault", false);
    }
    admin.run_command(doc! { "replSetInitiate": config }).await?;
    Ok(())
}

/// The configuration to force upon a directory that was last used under another port: a member that does not find its
/// own address in it never becomes primary. `None` if the address is the right one already.
fn with_host(reply: &Document, host: &str) -> Option<Document> {
    let mut config = reply.get_document("config").ok()?.clone();
    let members = config.get_array_mut("members").ok()?;
    let member = members.first_mut()?.as_document_mut()?;
    if member.get_str("host").is_ok_and(|known| known == host) {
        return None;
    }
    member.insert("host", host);
    let version = config.get_i32("version").ok()?;
    config.insert("version", version.saturating_add(1));
    Some(config)
}

fn code(error: &mongodb::error::Error) -> Option<i32> {
    match &*error.kind {
        ErrorKind::Command(command) => Some(command.code),
        _ => None,
    }
}
