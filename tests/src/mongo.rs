//! One `mongod` for the whole test binary, one database for each test.

use std::{
    path::PathBuf,
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

use mongodb::Client;
use souk::embedded::{self, EmbeddedMongo, Options};

use crate::log;

/// The server and the runtime that it and its housekeeping client live on: both outlast any test's runtime.
struct Shared {
    server: EmbeddedMongo,
    client: Client,
    runtime: tokio::runtime::Handle,
}

fn shared() -> &'static Shared {
    static SHARED: OnceLock<Shared> = OnceLock::new();
    SHARED.get_or_init(|| {
        // Its own thread: a runtime cannot be entered from within a test's.
        std::thread::spawn(|| {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .thread_name("test-mongod")
                .enable_all()
                .build()
                .unwrap();
            let (server, client) = runtime.block_on(async {
                let server = embedded::start(Options::for_tests()).await.expect("a MongoDB for the tests");
                let client = Client::with_uri_str(server.uri()).await.unwrap();
                (server, client)
            });
            let handle = runtime.handle().clone();
            // Lives until the process ends, as the server does.
            std::mem::forget(runtime);
            Shared { server, client, runtime: handle }
        })
        .join()
        .expect("a MongoDB for the tests")
    })
}

/// A database that nobody else uses, dropped when this is.
#[derive(Debug)]
pub struct TestDatabase {
    name: String,
    /// On a server of the test's own, which is thrown away with it.
    elsewhere: bool,
    /// Its connection string.
    pub uri: String,
}

impl TestDatabase {
    /// A fresh and empty one.
    pub async fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        log::watch();
        let name = format!("t{}", NEXT.fetch_add(1, Ordering::Relaxed));
        // Starting the server blocks; other tests of this runtime must not stand still meanwhile.
        let uri = {
            let name = name.clone();
            tokio::task::spawn_blocking(move || shared().server.uri_for(&name)).await.unwrap()
        };
        Self { name, elsewhere: false, uri }
    }

    /// One on a server that the test has started itself, to do with it as it likes.
    pub async fn at(uri: String) -> Self {
        // For its directory.
        let here = Self::new().await;
        Self { name: format!("{}e", here.name), elsewhere: true, uri }
    }

    /// A directory for the files that belong to this database. In the server's own, so that it goes when that goes,
    /// however the test binary ends.
    pub fn scratch_dir(&self) -> PathBuf {
        let path = shared().server.data_dir().join("scratch").join(&self.name);
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    /// The process id of the `mongod` behind it, for tests that look at the server itself.
    pub fn server_pid(&self) -> Option<u32> {
        shared().server.pid()
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        if self.elsewhere {
            return;
        }
        let database = shared().client.database(&self.name);
        // Best effort and in the background: only memory is won, the whole server is thrown away at the end.
        runtime().spawn(async move { database.drop().await });
    }
}

/// Runs on the runtime that outlasts the tests'. A server's client and tasks belong to the runtime that made them, and
/// the application under test must still be there to shut down when a test's runtime is gone.
pub async fn on_lasting_runtime<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    let runtime = tokio::task::spawn_blocking(runtime).await.unwrap();
    runtime.spawn(work).await.expect("the work panicked")
}

/// That runtime. Starts the database server if this is the first call.
pub fn runtime() -> &'static tokio::runtime::Handle {
    &shared().runtime
}
