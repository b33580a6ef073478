//! Putting a backup back.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, bail, ensure};
use bson::{Bson, Document, RawDocumentBuf, doc};
use clap::Args;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use shared::{audit, clock::Clock, config::Config, db::Db, migrate};
use tokio::{sync::mpsc, task::spawn_blocking};

use super::{
    WORKERS,
    parts::{Manifest, Part, PartKind, Reader},
    uploads,
};
use crate::{banner::say, database::Database, prove};

/// What is being restored is called so until it is whole.
pub(super) const ASIDE: &str = "restoring.";
/// So much is written at a time, so many of these wait.
const BATCH_BYTES: usize = 4 << 20;
const BATCH_DOCUMENTS: usize = 1000;
const WAITING: usize = 2;

/// From where, and how.
#[derive(Args, Clone, Debug)]
pub(crate) struct RestoreOptions {
    /// A backup that `souk backup` made
    #[arg(value_name = "DIRECTORY")]
    from: PathBuf,
    /// Put it in the place of what is in the database, which is gone then
    #[arg(long)]
    replace: bool,
    /// Only compare all checksums, and write nothing
    #[arg(long, conflicts_with = "replace")]
    check: bool,
}

/// Restores, migrates, counts the books, and says what came of it.
pub(super) async fn restore(config: &Config, options: &RestoreOptions) -> anyhow::Result<ExitCode> {
    let from = options.from.clone();
    let manifest = spawn_blocking(move || checked(&from)).await?;
    let manifest = manifest.with_context(|| format!("{}: nothing was restored", options.from.display()))?;
    say(&format!(
        "{}: {} documents of `{}` as of {}, taken by Souk {}. Every checksum is right.",
        options.from.display(),
        manifest.documents,
        manifest.database,
        manifest.moment,
        manifest.souk
    ));
    if options.check {
        return Ok(ExitCode::SUCCESS);
    }
    // Not beside a running Souk: what that knows and does would be of another database.
    let database = Database::open(config, "souk-restore").await?;
    let restored = put_back(&database.db, config, options, &manifest).await;
    let judged = match restored {
        Ok(()) => judge(&database.db, config).await,
        Err(error) => Err(error),
    };
    database.close().await;
    judged
}

/// The manifest, once every file has been compared with its checksum.
fn checked(from: &Path) -> anyhow::Result<Manifest> {
    let manifest = Manifest::read(from)?;
    for part in &manifest.parts {
        part.check(from)?;
        if part.kind == PartKind::Uploads {
            uploads::check(from, part)?;
        }
    }
    Ok(manifest)
}

/// Writes everything beside what is there, and then puts it in its place.
async fn put_back(
    db: &Db,
    config: &Config,
    options: &RestoreOptions,
    manifest: &Manifest,
) -> anyhow::Result<()> {
    let there = names(db).await?;
    if !options.replace {
        for name in there.iter().filter(|name| !name.starts_with(ASIDE)) {
            if db.raw::<Document>(name).find_one(doc! {}).await?.is_some() {
                bail!(
                    "the database `{}` is not empty, there are documents in {name}: restore into an empty one, or have \
                     what is there replaced with --replace, after a backup of it",
                    db.database().name()
                );
            }
        }
    }
    // Of a restore that was broken off.
    for name in there.iter().filter(|name| name.starts_with(ASIDE)) {
        db.raw::<Document>(name).drop().await?;
    }
    for part in manifest.parts.iter().filter(|part| part.kind == PartKind::Uploads) {
        let (from, part, to) = (options.from.clone(), part.clone(), config.upload_dir.clone());
        spawn_blocking(move || uploads::put_back(&from, &part, &to)).await??;
    }
    let described = described(&options.from, manifest).await?;
    let (views, collections): (Vec<Document>, Vec<Document>) = described
        .into_iter()
        .partition(|described| described.get_str("type").is_ok_and(|kind| kind == "view"));
    let each = collections.iter().map(|described| collection(db, &options.from, manifest, described));
    let _: Vec<()> = stream::iter(each).buffer_unordered(WORKERS).try_collect().await?;
    take_the_place(db, &collections, &views).await
}

/// From here on it takes moments; whatever breaks it off, the same restore again completes it.
async fn take_the_place(db: &Db, collections: &[Document], views: &[Document]) -> anyhow::Result<()> {
    let name = db.database().name();
    let admin = db.client().database("admin");
    let mut kept = Vec::new();
    for described in collections {
        let collection = described.get_str("name")?;
        kept.push(collection.to_owned());
        let renamed = admin.run_command(doc! {
            "renameCollection": format!("{name}.{ASIDE}{collection}"),
            "to": format!("{name}.{collection}"),
            "dropTarget": true,
        });
        renamed.await.with_context(|| {
            format!("{collection} could not be put in its place: run the same with --replace again")
        })?;
    }
    for other in names(db).await?.iter().filter(|other| !kept.contains(other)) {
        db.raw::<Document>(other).drop().await?;
    }
    for view in views {
        create(db, view.get_str("name")?, view).await?;
    }
    Ok(())
}

async fn names(db: &Db) -> anyhow::Result<Vec<String>> {
    let mut names = db.database().list_collection_names().await?;
    names.retain(|name| !name.starts_with("system."));
    Ok(names)
}

/// What the backup says of each collection.
async fn described(from: &Path, manifest: &Manifest) -> anyhow::Result<Vec<Document>> {
    let part = manifest.parts.iter().find(|part| part.kind == PartKind::Collections);
    let path = part.context("the backup does not say which collections there are")?.path(from)?;
    spawn_blocking(move || {
        let (mut reader, mut described) = (Reader::open(&path)?, Vec::new());
        while let Some(document) = reader.next()? {
            described.push(bson::deserialize_from_slice(&document)?);
        }
        Ok(described)
    })
    .await?
}

async fn create(db: &Db, name: &str, described: &Document) -> anyhow::Result<()> {
    let mut command = doc! { "create": name };
    command.extend(described.get_document("options").cloned().unwrap_or_default());
    let created = db.database().run_command(command).await;
    created.map(drop).with_context(|| format!("{name} cannot be created"))
}

/// One collection, aside: its documents and then its indexes.
async fn collection(db: &Db, from: &Path, manifest: &Manifest, described: &Document) -> anyhow::Result<()> {
    let name = described.get_str("name")?;
    let aside = format!("{ASIDE}{name}");
    create(db, &aside, described).await?;
    let part = manifest.parts.iter().find(|part| part.collection.as_deref() == Some(name));
    let part = part.with_context(|| format!("the documents of {name} are not in the manifest"))?;
    let written = documents(db, from, part, &aside).await.with_context(|| format!("restoring {name}"))?;
    ensure!(written == part.count, "{name} has {written} documents, and {} by the manifest", part.count);
    let indexes = described.get_array("indexes").cloned().unwrap_or_default();
    let indexes: Vec<Bson> = indexes.into_iter().filter_map(wanted).collect();
    if !indexes.is_empty() {
        let made = db.database().run_command(doc! { "createIndexes": &aside, "indexes": indexes });
        made.await.with_context(|| format!("the indexes of {name} cannot be made"))?;
    }
    Ok(())
}

/// An index that does not come with the collection itself, as it can be asked for.
fn wanted(index: Bson) -> Option<Bson> {
    let Bson::Document(mut index) = index else { return None };
    // Where it was; older servers say so.
    index.remove("ns");
    let own = index.get_str("name").is_ok_and(|name| name == "_id_") || index.contains_key("clustered");
    (!own).then_some(Bson::Document(index))
}

/// Reads and unpacks with a thread, and inserts here.
async fn documents(db: &Db, from: &Path, part: &Part, to: &str) -> anyhow::Result<u64> {
    let path = part.path(from)?;
    let (batches, mut waiting) = mpsc::channel::<Vec<RawDocumentBuf>>(WAITING);
    let reading = spawn_blocking(move || {
        let mut reader = Reader::open(&path)?;
        let (mut batch, mut bytes) = (Vec::new(), 0_usize);
        while let Some(document) = reader.next()? {
            bytes = bytes.saturating_add(document.len());
            batch.push(RawDocumentBuf::from_bytes(document)?);
            if bytes >= BATCH_BYTES || batch.len() >= BATCH_DOCUMENTS {
                bytes = 0;
                if batches.blocking_send(std::mem::take(&mut batch)).is_err() {
                    // Whoever inserts has failed, and says why.
                    return Ok(());
                }
            }
        }
        if !batch.is_empty() {
            _ = batches.blocking_send(batch);
        }
        anyhow::Ok(())
    });
    let collection = db.raw::<RawDocumentBuf>(to);
    let mut count = 0_u64;
    while let Some(batch) = waiting.recv().await {
        collection.insert_many(&batch).ordered(false).bypass_document_validation(true).await?;
        count = count.saturating_add(u64::try_from(batch.len())?);
    }
    reading.await??;
    Ok(count)
}

/// Brings what was restored to this version and counts the books.
async fn judge(db: &Db, config: &Config) -> anyhow::Result<ExitCode> {
    let report = migrate::run(db, &Clock::default()).await.context("restored, but it cannot be migrated")?;
    say(&format!("Restored. {} changes made for this version of Souk.", report.changed));
    for warning in &report.warnings {
        say(&format!("  - {warning}"));
    }
    let counted = audit::run(db).await.context("restored, but the books cannot be counted")?;
    say(&prove::report(&counted, &config.currency));
    Ok(if counted.differences.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
