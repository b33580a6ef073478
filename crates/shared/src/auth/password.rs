use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;

/// bcrypt sees no further than this.
pub const MAX_PASSWORD_BYTES: usize = 72;

/// Hashes and verifies passwords with bcrypt on the blocking pool, a bounded number at a time, so
/// that a storm of log-ins cannot stall everything else.
#[derive(Clone, Debug)]
pub struct Hasher {
    slots: Arc<Semaphore>,
    cost: u32,
    /// A hash that no password has: verifying against it costs what a real one costs.
    decoy: Arc<str>,
}

impl Hasher {
    /// With `BCRYPT_COST` and room for as many hashes at once as the machine has processors.
    pub fn new(cost: u32) -> anyhow::Result<Self> {
        let slots = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        let decoy = bcrypt::hash(super::one_time_token()?, cost)?;
        Ok(Self { slots: Arc::new(Semaphore::new(slots)), cost, decoy: decoy.into() })
    }

    /// A new hash. The caller has checked that the password fits [`MAX_PASSWORD_BYTES`].
    pub async fn hash(&self, password: String) -> anyhow::Result<String> {
        let cost = self.cost;
        self.run(move || bcrypt::non_truncating_hash(password, cost)).await
    }

    /// Whether the password belongs to the hash. Old hashes were made from the first 72 bytes only,
    /// so the rest is ignored here as well. A hash that bcrypt cannot read fits no password.
    pub async fn verify(&self, password: String, hash: &str) -> anyhow::Result<bool> {
        let hash = hash.to_owned();
        self.run(move || Ok(bcrypt::verify(password, &hash).unwrap_or(false))).await
    }

    /// Takes as long as [`Hasher::verify`] and says no: for accounts that do not exist.
    pub async fn verify_nobody(&self, password: String) -> anyhow::Result<()> {
        let decoy = Arc::clone(&self.decoy);
        self.run(move || Ok(bcrypt::verify(password, &decoy).unwrap_or(false))).await.map(drop)
    }

    /// The same text for the same password and salt: tells whether two requests have one password, and
    /// is no easier to guess it from than a hash.
    pub async fn fingerprint(&self, password: String, salt: &str) -> anyhow::Result<String> {
        let (cost, digest) = (self.cost, Sha256::digest(salt));
        let mut salt = [0u8; 16];
        salt.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
        self.run(move || Ok(bcrypt::non_truncating_hash_with_salt(password, cost, salt)?.to_string())).await
    }

    /// Whether a hash was made with a lower cost than is wanted today.
    pub fn is_outdated(&self, hash: &str) -> bool {
        hash.split('$').nth(2).and_then(|cost| cost.parse().ok()).is_none_or(|cost: u32| cost < self.cost)
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> bcrypt::BcryptResult<T> + Send + 'static,
    ) -> anyhow::Result<T> {
        let slot = Arc::clone(&self.slots).acquire_owned().await?;
        // The permit goes along: a caller that gives up must not free it while the hash still runs.
        Ok(tokio::task::spawn_blocking(move || {
            let _slot = slot;
            work()
        })
        .await??)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
