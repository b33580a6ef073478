//! Taking a backup.

use std::{
    fs::{self, File},
    future::Future,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, anyhow, bail, ensure};
use bson::{Bson, Document, RawDocumentBuf, doc};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use mongodb::options::{ReadPreference, SelectionCriteria};
use shared::{clock::Clock, config::Config, db::Db};
use tokio::{sync::mpsc, task::spawn_blocking};

use super::{
    BackupOptions, WORKERS,
    moment::{History, Moment, is_disturbed, is_forgotten},
    parts::{COLLECTIONS, MANIFEST, Manifest, Part, PartKind, Writer, file_of},
    uploads::Copies,
};
use crate::database::Database;

/// An index that is made meanwhile takes the moment away; that is rare, and not for long.
const ATTEMPTS: u32 = 5;
/// So much is read before it is handed on to be compressed, so many of these wait.
const CHUNK: usize = 1 << 20;
const WAITING: usize = 4;
/// What is being written begins and ends with these.
const ASIDE: (&str, &str) = (".souk-backup-", ".partial");
const LOCK: &str = ".lock";

/// What was taken.
pub(super) struct Taken {
    pub(super) at: PathBuf,
    pub(super) moment: String,
    pub(super) collections: usize,
    pub(super) documents: u64,
    pub(super) pictures: u64,
    pub(super) bytes: u64,
}

/// Takes a backup, unless `stopped` comes first. Nothing is there under its name before it is whole.
pub(super) async fn take(
    config: &Config,
    options: &BackupOptions,
    stopped: impl Future<Output = &'static str>,
) -> anyhow::Result<Taken> {
    let place = Place::prepare(&options.to)?;
    let database = Database::reach(config, "souk-backup").await?;
    let db = &database.db;
    let history = History::keep(db, config.database_uri.is_none(), options.history).await;
    let taken = match history {
        Ok(history) => {
            let taken = tokio::select! {
                taken = write(db, config, options, &place.aside) => taken,
                signal = stopped => Err(anyhow!("{signal}: no backup was made")),
            };
            history.release().await;
            taken
        }
        Err(error) => Err(error),
    };
    let noted = match taken {
        Ok(mut taken) => match place.settle(&taken.moment) {
            Ok(at) => {
                taken.at = at;
                note(db, &taken).await;
                Ok(taken)
            }
            Err(error) => Err(error),
        },
        Err(error) => {
            place.abandon();
            Err(explain(error))
        }
    };
    database.close().await;
    noted
}

fn explain(error: anyhow::Error) -> anyhow::Error {
    if !is_forgotten(&error) {
        return error;
    }
    error.context(
        "the database has forgotten the moment of the backup before all of it was read: have it keep the past for longer \
         with --history 2h (the account needs the right to set parameters), or set minSnapshotHistoryWindowInSeconds \
         on it; no backup was made",
    )
}

/// So that `souk doctor` and the metrics can tell when the last one was.
async fn note(db: &Db, taken: &Taken) {
    let now = Clock::default().now();
    let said = doc! {
        "at": now,
        "documents": i64::try_from(taken.documents).unwrap_or(i64::MAX),
        "bytes": i64::try_from(taken.bytes).unwrap_or(i64::MAX),
    };
    let backups = db.raw::<Document>(shared::backups::COLLECTION);
    let noted = backups.update_one(doc! { "_id": shared::backups::LAST }, doc! { "$set": said }).upsert(true);
    if let Err(error) = noted.await {
        tracing::warn!("the backup is made, but the database could not be told of it: {error}");
    }
}

/// Where a backup goes, and where it is until it is whole.
struct Place {
    wanted: PathBuf,
    /// Whether `wanted` is the directory that it goes into.
    within: bool,
    parent: PathBuf,
    aside: PathBuf,
    lock: File,
}

impl Place {
    fn prepare(to: &Path) -> anyhow::Result<Self> {
        let within = to.is_dir();
        ensure!(!to.join(MANIFEST).exists(), "{} is a backup already", to.display());
        ensure!(within || !to.exists(), "{} is there already, and no directory", to.display());
        let parent = if within { to } else { to.parent().unwrap_or(Path::new("")) };
        let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent }.to_owned();
        fs::create_dir_all(&parent).with_context(|| format!("{} cannot be made", parent.display()))?;
        sweep(&parent);
        let (begin, end) = ASIDE;
        let aside = parent.join(format!("{begin}{}{end}", std::process::id()));
        let made = fs::DirBuilder::new().mode(0o700).create(&aside);
        made.with_context(|| format!("{} cannot be made", aside.display()))?;
        let lock = super::parts::create(&aside.join(LOCK))?;
        lock.try_lock().with_context(|| format!("{} cannot be locked", aside.display()))?;
        Ok(Self { wanted: to.to_owned(), within, parent, aside, lock })
    }

    /// Gives it its name.
    fn settle(self, moment: &str) -> anyhow::Result<PathBuf> {
        let at = if self.within {
            // Without colons, which other systems do not allow and `scp` misunderstands.
            self.wanted.join(format!("souk-{}", moment.replace(':', "-").replace(".000Z", "Z")))
        } else {
            self.wanted.clone()
        };
        let settled = (|| {
            fs::remove_file(self.aside.join(LOCK))?;
            sync(&self.aside)?;
            // A directory can take the place of an empty one, and of nothing else.
            fs::rename(&self.aside, &at)?;
            sync(&self.parent)
        })();
        if let Err(error) = settled {
            self.abandon();
            return Err(error).with_context(|| format!("the backup cannot be named {}", at.display()));
        }
        Ok(at)
    }

    /// Removes what is half done.
    fn abandon(self) {
        drop(self.lock);
        // A thread that was about to begin may still make a file.
        let mut removed = fs::remove_dir_all(&self.aside);
        for _ in 0..20 {
            if removed.is_ok() || !self.aside.exists() {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
            removed = fs::remove_dir_all(&self.aside);
        }
        if let Err(error) = removed {
            tracing::warn!("{} is left behind: {error}", self.aside.display());
        }
    }
}

/// Removes what killed backups have left: nobody holds its lock any more.
fn sweep(parent: &Path) {
    let (begin, end) = ASIDE;
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let aside = name.to_str().is_some_and(|name| name.starts_with(begin) && name.ends_with(end));
        if aside && File::open(entry.path().join(LOCK)).is_ok_and(|lock| lock.try_lock().is_ok()) {
            _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn sync(directory: &Path) -> std::io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Writes everything into a directory of its own.
async fn write(db: &Db, config: &Config, options: &BackupOptions, aside: &Path) -> anyhow::Result<Taken> {
    let mut copies = match options.without_uploads {
        true => None,
        false => {
            let (from, to) = (config.upload_dir.clone(), aside.to_owned());
            Some(spawn_blocking(move || Copies::begin(&from, &to)?.copy()).await??)
        }
    };
    let mut attempt = 0;
    let (moment, mut parts) = loop {
        attempt += 1;
        match documents(db, aside).await {
            Err(error) if attempt < ATTEMPTS && is_disturbed(&error) => {
                tracing::info!("a collection or an index was made meanwhile: reading another moment");
            }
            read => break read?,
        }
    };
    let (mut pictures, mut bytes) = (0, 0);
    if let Some(before) = copies.take() {
        let after = spawn_blocking(move || before.copy()).await??;
        (pictures, bytes) = (after.count, after.bytes);
        parts.push(spawn_blocking(move || after.finish()).await??);
    }
    let version = db.database().run_command(doc! { "buildInfo": 1 }).await?;
    let version = version.get_str("version").unwrap_or_default().to_owned();
    let manifest = Manifest::new(db.database().name().to_owned(), version, moment.text(), parts);
    let (documents, moment) = (manifest.documents, manifest.moment.clone());
    bytes = manifest.parts.iter().map(|part| part.bytes).fold(bytes, u64::saturating_add);
    let collections = manifest.parts.iter().filter(|part| part.kind == PartKind::Documents).count();
    let to = aside.to_owned();
    spawn_blocking(move || manifest.write(&to)).await??;
    Ok(Taken { at: PathBuf::new(), moment, collections, documents, pictures, bytes })
}

/// Every collection as of one moment.
async fn documents(db: &Db, aside: &Path) -> anyhow::Result<(Moment, Vec<Part>)> {
    let directory = aside.join("documents");
    // Of an attempt before.
    _ = fs::remove_dir_all(&directory);
    fs::create_dir(&directory)?;
    let moment = Moment::now(db).await?;
    // Those that are made from now on are not there at the moment, and have nothing in them.
    let collections = collections(db).await?;
    let names = collections.iter().filter(|found| found.get_str("type").is_ok_and(|kind| kind != "view"));
    let names: Vec<String> =
        names.filter_map(|found| found.get_str("name").ok().map(str::to_owned)).collect();
    let read = names.into_iter().map(|name| collection(db, moment, aside, name));
    let mut parts: Vec<Part> = stream::iter(read).buffer_unordered(WORKERS).try_collect().await?;
    parts.sort_by(|a, b| a.file.cmp(&b.file));
    let path = aside.join(COLLECTIONS);
    let described = spawn_blocking(move || {
        _ = fs::remove_file(&path);
        let mut writer = Writer::create(&path)?;
        for collection in &collections {
            writer.write(RawDocumentBuf::try_from(collection)?.as_bytes())?;
        }
        let (bytes, sha256) = writer.finish()?;
        let (file, kind) = (COLLECTIONS.to_owned(), PartKind::Collections);
        let count = u64::try_from(collections.len())?;
        anyhow::Ok(Part { file, kind, collection: None, count, bytes, sha256 })
    });
    parts.insert(0, described.await??);
    Ok((moment, parts))
}

/// What there is, with options and indexes.
async fn collections(db: &Db) -> anyhow::Result<Vec<Document>> {
    let mut found = Vec::new();
    let mut listed = db.database().run_cursor_command(doc! { "listCollections": 1 }).await?;
    while let Some(described) = listed.try_next().await? {
        let name = described.get_str("name").unwrap_or_default().to_owned();
        if name.starts_with("system.") || name.starts_with(super::restore::ASIDE) {
            continue;
        }
        let kind = described.get_str("type").unwrap_or("collection").to_owned();
        if kind == "timeseries" {
            bail!("the collection {name} is a time series, and no part of Souk's: it cannot be backed up");
        }
        let options = described.get_document("options").cloned().unwrap_or_default();
        let mut indexes = Vec::new();
        if kind != "view" {
            indexes = self::indexes(db, &name).await?;
        }
        found.push(doc! { "name": name, "type": kind, "options": options, "indexes": indexes });
    }
    found.sort_by(|a, b| a.get_str("name").ok().cmp(&b.get_str("name").ok()));
    Ok(found)
}

/// As the server describes them, word for word.
async fn indexes(db: &Db, collection: &str) -> anyhow::Result<Vec<Bson>> {
    const NO_SUCH_COLLECTION: i32 = 26;
    let listed = db.database().run_cursor_command(doc! { "listIndexes": collection }).await;
    match listed {
        Ok(listed) => Ok(listed.map_ok(Bson::Document).try_collect().await?),
        Err(error) => match &*error.kind {
            // Dropped just now.
            mongodb::error::ErrorKind::Command(refused) if refused.code == NO_SUCH_COLLECTION => {
                Ok(Vec::new())
            }
            _ => Err(error.into()),
        },
    }
}

/// One collection's documents. Read here, compressed and written by a thread.
async fn collection(db: &Db, moment: Moment, aside: &Path, name: String) -> anyhow::Result<Part> {
    let file = file_of(&name);
    let path = aside.join(&file);
    let (chunks, mut waiting) = mpsc::channel::<Vec<u8>>(WAITING);
    let writing = spawn_blocking(move || {
        let mut writer = Writer::create(&path)?;
        while let Some(chunk) = waiting.blocking_recv() {
            writer.write(&chunk)?;
        }
        writer.finish()
    });
    let read = async {
        let mut session = moment.session(db).await?;
        let primary = SelectionCriteria::ReadPreference(ReadPreference::Primary);
        let documents = db.raw::<RawDocumentBuf>(&name);
        let found = documents.find(doc! {}).selection_criteria(primary);
        let mut found = found.session(&mut session).await?;
        let (mut count, mut chunk) = (0_u64, Vec::with_capacity(CHUNK));
        while found.advance(&mut session).await? {
            chunk.extend_from_slice(found.current().as_bytes());
            count = count.saturating_add(1);
            if chunk.len() >= CHUNK
                && chunks.send(std::mem::replace(&mut chunk, Vec::with_capacity(CHUNK))).await.is_err()
            {
                // The writer has failed, and says why.
                return Ok(count);
            }
        }
        _ = chunks.send(chunk).await;
        anyhow::Ok(count)
    };
    let count = read.await;
    drop(chunks);
    let written = writing.await?;
    let count = count?;
    let (bytes, sha256) = written.with_context(|| format!("{name} cannot be written"))?;
    Ok(Part { file, kind: PartKind::Documents, collection: Some(name), count, bytes, sha256 })
}
