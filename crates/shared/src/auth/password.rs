use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
};

use anyhow::Context as _;
use sha2::{Digest as _, Sha256};
use tokio::sync::oneshot;

/// bcrypt sees no further than this.
pub const MAX_PASSWORD_BYTES: usize = 72;

/// How much the threads that hash stand back behind everything else (`nice`): what takes microseconds does not wait
/// for what takes a twentieth of a second, and the processors are busy all the same.
#[cfg(target_os = "linux")]
const MODESTY: i32 = 10;

type Job = Box<dyn FnOnce() + Send>;

/// Hashes and verifies passwords with bcrypt on threads of its own, so that a storm of log-ins cannot stall
/// everything else.
#[derive(Clone)]
pub struct Hasher {
    jobs: mpsc::Sender<Job>,
    cost: u32,
    work: Work,
}

impl Hasher {
    /// With `BCRYPT_COST` and as many threads as the machine has processors. They end with the last clone.
    pub fn new(cost: u32) -> anyhow::Result<Self> {
        let (jobs, waiting) = mpsc::channel::<Job>();
        let waiting = Arc::new(Mutex::new(waiting));
        for _ in 0..thread::available_parallelism().map_or(2, std::num::NonZero::get) {
            let waiting = Arc::clone(&waiting);
            let hashing = thread::Builder::new().name("passwords".to_owned());
            hashing.spawn(move || hash_all(&waiting)).context("a thread for passwords cannot be started")?;
        }
        Ok(Self { jobs, cost, work: Work::default() })
    }

    /// A new hash. The caller has checked that the password fits [`MAX_PASSWORD_BYTES`].
    pub async fn hash(&self, password: String) -> anyhow::Result<String> {
        let (cost, work) = (self.cost, self.work.clone());
        self.run(move || {
            fits(&password)?;
            work.add(cost);
            bcrypt::hash(password, cost)
        })
        .await
    }

    /// Whether the password belongs to the hash. Old hashes were made from the first 72 bytes only,
    /// so the rest is ignored here as well. A hash that bcrypt cannot read fits no password.
    pub async fn verify(&self, password: String, hash: &str) -> anyhow::Result<bool> {
        let (hash, work) = (hash.to_owned(), self.work.clone());
        self.run(move || Ok(work.compare(&password, &hash).is_some_and(|(fits, _)| fits))).await
    }

    /// The same; and to say no costs as much as a hash of today, whatever there is to compare with: nothing at
    /// all, no hash, or a cheaper one of old. Who measures the time learns nothing about the account.
    pub async fn verify_evenly(&self, password: String, hash: Option<&str>) -> anyhow::Result<bool> {
        let (hash, work, today) = (hash.map(str::to_owned), self.work.clone(), self.cost);
        self.run(move || {
            // Doublings: from 2^cost with each of them added to 2^today.
            let missing = match hash.and_then(|hash| work.compare(&password, &hash)) {
                Some((true, _)) => return Ok(true),
                Some((false, cost)) => cost..today,
                None => today..today + 1,
            };
            for cost in missing {
                work.add(cost);
                bcrypt::hash_with_salt(&password, cost, [0; 16])?;
            }
            Ok(false)
        })
        .await
    }

    /// How much was hashed so far, in rounds of bcrypt: for tests, which cannot trust a clock.
    pub fn work(&self) -> u64 {
        self.work.0.load(Ordering::Relaxed)
    }

    /// The same text for the same password and salt: tells whether two requests have one password, and
    /// is no easier to guess it from than a hash.
    pub async fn fingerprint(&self, password: String, salt: &str) -> anyhow::Result<String> {
        let (cost, digest) = (self.cost, Sha256::digest(salt));
        let mut salt = [0u8; 16];
        salt.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
        let work = self.work.clone();
        self.run(move || {
            fits(&password)?;
            work.add(cost);
            Ok(bcrypt::hash_with_salt(password, cost, salt)?.to_string())
        })
        .await
    }

    /// Whether a hash was made with a lower cost than is wanted today.
    pub fn is_outdated(&self, hash: &str) -> bool {
        cost_of(hash).is_none_or(|cost| cost < self.cost)
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> bcrypt::BcryptResult<T> + Send + 'static,
    ) -> anyhow::Result<T> {
        let (done, outcome) = oneshot::channel();
        let job = move || {
            // Whoever has given up meanwhile needs no answer.
            if !done.is_closed() {
                _ = done.send(work());
            }
        };
        self.jobs.send(Box::new(job)).ok().context("there is no thread for passwords")?;
        Ok(outcome.await.context("hashing a password failed")??)
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hasher").field("cost", &self.cost).finish_non_exhaustive()
    }
}

fn hash_all(waiting: &Mutex<mpsc::Receiver<Job>>) {
    // There of a thread; elsewhere it would be of the whole process. Without it nothing but a storm is worse.
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, MODESTY) {
        tracing::debug!(%error, "the threads that hash passwords cannot stand back");
    }
    loop {
        let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = next else { return };
        // A panic costs its own log-in only.
        _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(job));
    }
}

/// Beyond this bcrypt would ignore the rest. Its own check counts an end mark that no other implementation wants room
/// for, and refuses 72 bytes.
fn fits(password: &str) -> bcrypt::BcryptResult<()> {
    let length = password.len();
    if length > MAX_PASSWORD_BYTES { Err(bcrypt::BcryptError::Truncation(length)) } else { Ok(()) }
}

fn cost_of(hash: &str) -> Option<u32> {
    hash.split('$').nth(2)?.parse().ok()
}

/// How many rounds of bcrypt were run.
#[derive(Clone, Debug, Default)]
struct Work(Arc<AtomicU64>);

impl Work {
    fn add(&self, cost: u32) {
        self.0.fetch_add(1 << cost.min(63), Ordering::Relaxed);
    }

    /// Whether the password belongs to the hash, and at which cost that was found out; nothing if bcrypt cannot
    /// read the hash.
    fn compare(&self, password: &str, hash: &str) -> Option<(bool, u32)> {
        let cost = cost_of(hash)?;
        let fits = bcrypt::verify(password, hash).ok()?;
        self.add(cost);
        Some((fits, cost))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn to_say_no_costs_the_same_whatever_there_is_to_compare_with() {
        let hasher = Hasher::new(7).unwrap();
        let hash_at = |cost| bcrypt::hash("right", cost).unwrap();
        let (today, old, oldest) = (hash_at(7), hash_at(6), hash_at(4));
        let cut_off = &today[..40];
        for hash in [None, Some(""), Some("no hash"), Some(cut_off), Some(&today), Some(&old), Some(&oldest)]
        {
            let before = hasher.work();
            assert!(!hasher.verify_evenly("wrong".into(), hash).await.unwrap());
            assert_eq!(hasher.work() - before, 1 << 7, "{hash:?}");
        }
        for hash in [&today, &old, &oldest] {
            assert!(hasher.verify_evenly("right".into(), Some(hash)).await.unwrap());
        }
    }

    #[tokio::test]
    async fn a_password_may_have_all_the_bytes_that_bcrypt_sees_and_not_one_more() {
        let hasher = Hasher::new(4).unwrap();
        let longest = "a".repeat(MAX_PASSWORD_BYTES);
        let hash = hasher.hash(longest.clone()).await.unwrap();
        assert!(hasher.verify(longest, &hash).await.unwrap());
        assert!(!hasher.verify("a".repeat(71), &hash).await.unwrap());
        assert!(hasher.hash("a".repeat(73)).await.is_err());
        hasher.fingerprint("a".repeat(72), "salt").await.unwrap();
    }

    #[tokio::test]
    async fn a_hash_of_the_old_server_fits() {
        // "pässwörd" hashed at cost 4, in the `$2b$` form that bcryptjs writes.
        let hasher = Hasher::new(4).unwrap();
        let hash = bcrypt::hash("pässwörd", 4).unwrap();
        assert!(hash.starts_with("$2b$"));
        assert!(hasher.verify("pässwörd".into(), &hash).await.unwrap());
        assert!(!hasher.verify("password".into(), &hash).await.unwrap());
        assert!(!hasher.verify("pässwörd".into(), "not a hash").await.unwrap());
    }

    #[tokio::test]
    async fn bytes_beyond_72_are_ignored_in_old_hashes() {
        let hasher = Hasher::new(4).unwrap();
        let hash = bcrypt::hash("a".repeat(72), 4).unwrap();
        assert!(hasher.verify("a".repeat(90), &hash).await.unwrap());
    }

    #[test]
    fn a_lower_cost_is_outdated() {
        let hasher = Hasher::new(5).unwrap();
        assert!(hasher.is_outdated(&bcrypt::hash("x", 4).unwrap()));
        assert!(!hasher.is_outdated(&bcrypt::hash("x", 5).unwrap()));
    }
}
