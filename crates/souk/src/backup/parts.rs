//! What a backup's directory holds.
//!
//! | file | holds |
//! | --- | --- |
//! | `manifest.json` | what the backup is of, and its parts with counts and SHA-256 |
//! | `manifest.json.sha256` | the checksum of that, as `sha256sum --check` reads it |
//! | `collections.bson.gz` | a document for each collection: its options and indexes |
//! | `documents/<collection>.bson.gz` | its documents as the database holds them, one after the other |
//! | `uploads.sha256`, `uploads/…` | the pictures, and their checksums as `sha256sum --check` reads them |

use std::{
    fs::File,
    io::{self, BufReader, BufWriter, Read, Write},
    os::unix::fs::OpenOptionsExt as _,
    path::{Component, Path, PathBuf},
};

use anyhow::{Context as _, ensure};
use flate2::{Compression, read::MultiGzDecoder, write::GzEncoder};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

pub(super) const MANIFEST: &str = "manifest.json";
pub(super) const MANIFEST_SUM: &str = "manifest.json.sha256";
pub(super) const COLLECTIONS: &str = "collections.bson.gz";
pub(super) const UPLOADS_LIST: &str = "uploads.sha256";
pub(super) const UPLOADS: &str = "uploads";

const FORMAT: &str = "souk-backup";
const VERSION: u32 = 1;

/// Larger than any document can be.
const DOCUMENT_LIMIT: usize = 64 << 20;

/// What a backup is of, and what it consists of.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Manifest {
    format: String,
    version: u32,
    /// The version of Souk that took it.
    pub(super) souk: String,
    /// The database's name.
    pub(super) database: String,
    /// The version of MongoDB that it came from.
    pub(super) mongodb: String,
    /// Everything is as of this moment, to the second.
    pub(super) moment: String,
    /// Documents in all.
    pub(super) documents: u64,
    pub(super) parts: Vec<Part>,
}

/// One file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Part {
    /// Where it is in the backup's directory.
    pub(super) file: String,
    pub(super) kind: PartKind,
    /// Of which collection the documents are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) collection: Option<String>,
    /// How many documents, or lines.
    pub(super) count: u64,
    /// The file's size.
    pub(super) bytes: u64,
    /// The file's checksum.
    pub(super) sha256: String,
}

/// What a part holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum PartKind {
    /// Options and indexes of every collection.
    Collections,
    /// Documents of one collection.
    Documents,
    /// The names and checksums of the pictures.
    Uploads,
}

impl Manifest {
    pub(super) fn new(database: String, mongodb: String, moment: String, parts: Vec<Part>) -> Self {
        let documents =
            parts.iter().filter(|part| part.kind == PartKind::Documents).map(|part| part.count).sum();
        let (format, version) = (FORMAT.to_owned(), VERSION);
        Self {
            format,
            version,
            souk: env!("CARGO_PKG_VERSION").to_owned(),
            database,
            mongodb,
            moment,
            documents,
            parts,
        }
    }

    /// Writes it and its checksum, last of all.
    pub(super) fn write(&self, directory: &Path) -> anyhow::Result<()> {
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        let sum = hex(&Sha256::digest(&text));
        for (name, content) in [(MANIFEST, text), (MANIFEST_SUM, format!("{sum}  {MANIFEST}\n").into_bytes())]
        {
            let mut file = create(&directory.join(name))?;
            file.write_all(&content)?;
            file.sync_all()?;
        }
        Ok(())
    }

    /// Reads it, and believes it only if its checksum is right.
    pub(super) fn read(directory: &Path) -> anyhow::Result<Self> {
        let path = directory.join(MANIFEST);
        let text = std::fs::read(&path)
            .with_context(|| format!("{} is no backup: {MANIFEST} cannot be read", directory.display()))?;
        let noted = std::fs::read_to_string(directory.join(MANIFEST_SUM))
            .with_context(|| format!("{MANIFEST_SUM} cannot be read"))?;
        let expected = format!("{}  {MANIFEST}\n", hex(&Sha256::digest(&text)));
        ensure!(noted == expected, "{MANIFEST} is damaged: it is not the one that was written");
        let manifest: Self = serde_json::from_slice(&text).context("the manifest cannot be understood")?;
        ensure!(manifest.format == FORMAT, "{} is no backup of Souk's", directory.display());
        ensure!(
            manifest.version == VERSION,
            "the backup has the format {}, and this version of Souk reads {VERSION}",
            manifest.version
        );
        Ok(manifest)
    }
}

impl Part {
    /// Where it is, if that is in the backup.
    pub(super) fn path(&self, directory: &Path) -> anyhow::Result<PathBuf> {
        Ok(directory.join(inside(&self.file)?))
    }

    /// Reads all of it and compares the checksum.
    pub(super) fn check(&self, directory: &Path) -> anyhow::Result<()> {
        let path = self.path(directory)?;
        let (bytes, sum) = digest(File::open(&path).with_context(|| format!("{} is missing", self.file))?)
            .with_context(|| format!("{} cannot be read", self.file))?;
        ensure!(
            bytes == self.bytes && sum == self.sha256,
            "{} is damaged: its checksum is not the one in the manifest",
            self.file
        );
        Ok(())
    }
}

/// A path that leads to nowhere else.
pub(super) fn inside(name: &str) -> anyhow::Result<&Path> {
    let path = Path::new(name);
    let plain = path.components().all(|part| matches!(part, Component::Normal(_)));
    ensure!(plain && !name.is_empty(), "the backup names a file outside of it: {name}");
    Ok(path)
}

/// The file of a collection, whatever that is called.
pub(super) fn file_of(collection: &str) -> String {
    let mut name = String::from("documents/");
    for byte in collection.bytes() {
        match char::from(byte) {
            plain if plain.is_ascii_alphanumeric() || plain == '_' || plain == '-' => name.push(plain),
            // Not at the beginning: such files are hidden.
            '.' if !name.ends_with('/') => name.push('.'),
            _ => name.push_str(&format!("%{byte:02x}")),
        }
    }
    name.push_str(".bson.gz");
    name
}

/// A new file that nobody else may read: hashes of passwords and addresses of people are in it.
pub(super) fn create(path: &Path) -> anyhow::Result<File> {
    let made = File::options().write(true).create_new(true).mode(0o600).open(path);
    made.with_context(|| format!("{} cannot be made", path.display()))
}

/// How long it is, and its SHA-256.
pub(super) fn digest(mut from: impl Read) -> io::Result<(u64, String)> {
    let mut hashing = Hashing { inner: io::sink(), hash: Sha256::new(), bytes: 0 };
    io::copy(&mut from, &mut hashing)?;
    Ok((hashing.bytes, hex(&hashing.hash.finalize())))
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Counts and sums up what passes.
pub(super) struct Hashing<W> {
    inner: W,
    hash: Sha256,
    bytes: u64,
}

impl<W: Write> Hashing<W> {
    pub(super) fn new(inner: W) -> Self {
        Self { inner, hash: Sha256::new(), bytes: 0 }
    }

    pub(super) fn finish(self) -> (W, u64, String) {
        (self.inner, self.bytes, hex(&self.hash.finalize()))
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(buffer)?;
        self.hash.update(buffer.get(..written).unwrap_or_default());
        self.bytes = self.bytes.saturating_add(u64::try_from(written).unwrap_or_default());
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Writes documents one after the other, compressed.
pub(super) struct Writer {
    out: GzEncoder<Hashing<BufWriter<File>>>,
}

impl Writer {
    pub(super) fn create(path: &Path) -> anyhow::Result<Self> {
        let file = Hashing::new(BufWriter::with_capacity(1 << 18, create(path)?));
        Ok(Self { out: GzEncoder::new(file, Compression::fast()) })
    }

    pub(super) fn write(&mut self, documents: &[u8]) -> io::Result<()> {
        self.out.write_all(documents)
    }

    /// Once it is on the disk: its size and checksum.
    pub(super) fn finish(self) -> anyhow::Result<(u64, String)> {
        let (file, bytes, sum) = self.out.finish()?.finish();
        file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        Ok((bytes, sum))
    }
}

/// Reads documents one after the other.
pub(super) struct Reader {
    from: BufReader<MultiGzDecoder<BufReader<File>>>,
}

impl Reader {
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let file = File::open(path).with_context(|| format!("{} cannot be read", path.display()))?;
        Ok(Self { from: BufReader::new(MultiGzDecoder::new(BufReader::with_capacity(1 << 18, file))) })
    }

    /// The next document's bytes; none at the end.
    pub(super) fn next(&mut self) -> anyhow::Result<Option<Vec<u8>>> {
        let mut length = [0_u8; 4];
        match self.from.read_exact(&mut length) {
            // What was cut off in the middle has another checksum, and is refused before anybody reads it.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            read => read?,
        }
        let size = usize::try_from(i32::from_le_bytes(length)).context("a document of negative size")?;
        ensure!((5..=DOCUMENT_LIMIT).contains(&size), "a document of {size} bytes");
        let mut document = vec![0_u8; size];
        let (head, rest) = document.split_at_mut(length.len());
        head.copy_from_slice(&length);
        self.from.read_exact(rest)?;
        Ok(Some(document))
    }
}

#[cfg(test)]
mod tests {
    use super::{file_of, inside};

    #[test]
    fn a_collection_has_a_file_of_its_own_whatever_it_is_called() {
        assert_eq!(file_of("orders"), "documents/orders.bson.gz");
        assert_eq!(file_of("my.old"), "documents/my.old.bson.gz");
        assert_eq!(file_of("../../etc"), "documents/%2e.%2f..%2fetc.bson.gz");
        assert_eq!(file_of("a b/c%"), "documents/a%20b%2fc%25.bson.gz");
        assert!(inside(&file_of("../../etc")).is_ok());
    }

    #[test]
    fn a_backup_cannot_name_a_file_elsewhere() {
        assert!(inside("products/a.png").is_ok());
        for bad in ["/etc/passwd", "../x", "a/../../x", "", "./../x"] {
            assert!(inside(bad).is_err(), "{bad}");
        }
    }
}
