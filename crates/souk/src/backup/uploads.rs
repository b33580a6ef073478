//! The pictures, where they are files of this machine.

use std::{
    fs::{self, File},
    io::{self, BufRead as _, BufReader, BufWriter, Write as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, ensure};

use super::parts::{Hashing, Part, PartKind, UPLOADS, UPLOADS_LIST, create, digest, inside};

/// Copies of the pictures, with the list of their checksums.
///
/// They are copied twice: before the database's moment, because what is deleted afterwards belongs to it, and after it,
/// for those that came between. Pictures never change, so what is there is not copied again.
pub(super) struct Copies {
    from: PathBuf,
    to: PathBuf,
    list: Hashing<BufWriter<File>>,
    pub(super) count: u64,
    pub(super) bytes: u64,
}

impl Copies {
    pub(super) fn begin(from: &Path, backup: &Path) -> anyhow::Result<Self> {
        let to = backup.join(UPLOADS);
        fs::create_dir(&to)?;
        let list = Hashing::new(BufWriter::new(create(&backup.join(UPLOADS_LIST))?));
        Ok(Self { from: from.to_owned(), to, list, count: 0, bytes: 0 })
    }

    /// Copies what has not been copied yet.
    pub(super) fn copy(mut self) -> anyhow::Result<Self> {
        if self.from.is_dir() {
            self.folder(Path::new(""))?;
        }
        Ok(self)
    }

    fn folder(&mut self, folder: &Path) -> anyhow::Result<()> {
        let entries = fs::read_dir(self.from.join(folder))
            .with_context(|| format!("{} cannot be read", self.from.join(folder).display()))?;
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name();
            // What is being written, and nothing that anybody was shown.
            if name.to_str().is_none_or(|name| name.starts_with('.')) {
                continue;
            }
            let (path, kind) = (folder.join(&name), entry.file_type()?);
            if kind.is_dir() {
                fs::create_dir_all(self.to.join(&path))?;
                self.folder(&path)?;
            } else if kind.is_file() && !self.to.join(&path).exists() {
                self.file(&path)?;
            }
        }
        Ok(())
    }

    fn file(&mut self, path: &Path) -> anyhow::Result<()> {
        let mut from = match File::open(self.from.join(path)) {
            // Deleted just now, before or after the moment: whoever needs it at that moment would still have it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            opened => opened.with_context(|| format!("{} cannot be read", path.display()))?,
        };
        let mut copy = Hashing::new(create(&self.to.join(path))?);
        io::copy(&mut from, &mut copy)?;
        let (file, bytes, sum) = copy.finish();
        file.sync_all()?;
        writeln!(self.list, "{sum}  {UPLOADS}/{}", path.display())?;
        self.count = self.count.saturating_add(1);
        self.bytes = self.bytes.saturating_add(bytes);
        Ok(())
    }

    /// Once all is on the disk: the list, as a part.
    pub(super) fn finish(self) -> anyhow::Result<Part> {
        let (list, bytes, sha256) = self.list.finish();
        list.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        let (file, kind) = (UPLOADS_LIST.to_owned(), PartKind::Uploads);
        Ok(Part { file, kind, collection: None, count: self.count, bytes, sha256 })
    }
}

/// Lets `look` see the checksum and the name of each picture of a backup.
fn each(list: &Path, mut look: impl FnMut(&str, &Path) -> anyhow::Result<()>) -> anyhow::Result<u64> {
    let mut count = 0_u64;
    for line in BufReader::new(File::open(list)?).lines() {
        let line = line?;
        let (sum, name) = line.split_once("  ").context("the list of pictures cannot be understood")?;
        look(sum, inside(name)?)?;
        count = count.saturating_add(1);
    }
    Ok(count)
}

/// Compares each picture with its checksum.
pub(super) fn check(backup: &Path, part: &Part) -> anyhow::Result<()> {
    let count = each(&part.path(backup)?, |sum, name| {
        let file = File::open(backup.join(name)).with_context(|| format!("{} is missing", name.display()))?;
        let (_, found) = digest(file).with_context(|| format!("{} cannot be read", name.display()))?;
        ensure!(found == sum, "{} is damaged: its checksum is not the one in the list", name.display());
        Ok(())
    })?;
    ensure!(count == part.count, "the list of pictures names {count}, and the manifest {}", part.count);
    Ok(())
}

/// Puts the pictures where they are served from. What else is there stays.
pub(super) fn put_back(backup: &Path, part: &Part, to: &Path) -> anyhow::Result<()> {
    each(&part.path(backup)?, |_, name| {
        let target = to.join(name.strip_prefix(UPLOADS)?);
        let folder = target.parent().unwrap_or(to);
        fs::create_dir_all(folder)?;
        let mut aside = target.file_name().unwrap_or_default().to_owned();
        aside.push(".part");
        let mut hidden = std::ffi::OsString::from(".");
        hidden.push(aside);
        // Written aside and renamed, as the server does it; what a killed server leaves of this kind it removes itself.
        let aside = folder.join(hidden);
        fs::copy(backup.join(name), &aside)
            .and_then(|_| File::open(&aside)?.sync_all())
            .and_then(|()| fs::rename(&aside, &target))
            .with_context(|| format!("{} cannot be written", target.display()))
    })?;
    Ok(())
}
