//! Who is calling: session tokens, passwords, one-time tokens, and the look-up that turns a
//! credential into an account.

mod accounts;
mod password;
mod resolve;
mod session;

pub use accounts::{Accounts, Standing};
pub use password::{Hasher, MAX_PASSWORD_BYTES};
pub use resolve::{Credentials, Identity, resolve};
pub use session::{BadToken, Claims, Kind, Proof, Sessions};

use std::io::{self, Read};

use hmac::{Hmac, KeyInit, Mac as _};
use sha2::{Digest, Sha256};

/// HttpOnly cookie with a user's session.
pub const USER_COOKIE: &str = "user_token";
/// HttpOnly cookie with a shop's session.
pub const SELLER_COOKIE: &str = "seller_token";
/// The old server's session cookie; today a marker for the client's scripts that proves nothing.
pub const MARKER_COOKIE: &str = "token";
/// The marker's value.
pub const MARKER: &str = "1";

/// A fresh one-time token: 256 bits from the operating system, as hex.
pub fn one_time_token() -> anyhow::Result<String> {
    Ok(hex(&random_bytes::<32>()?))
}

/// So many bytes that nobody can guess.
pub fn random_bytes<const N: usize>() -> anyhow::Result<[u8; N]> {
    let mut bytes = [0u8; N];
    getrandom::fill(&mut bytes).map_err(|e| anyhow::anyhow!("no randomness from the system: {e}"))?;
    Ok(bytes)
}

/// The form in which a one-time token is stored: SHA-256, as hex.
pub fn digest(token: &str) -> String {
    content_digest(token.as_bytes())
}

/// The same of anything.
pub fn content_digest(content: &[u8]) -> String {
    hex(&Sha256::digest(content))
}

/// The same of what is read piece by piece.
pub fn read_digest(mut content: impl Read) -> io::Result<String> {
    let (mut digest, mut piece) = (Sha256::new(), vec![0; 64 * 1024]);
    loop {
        match content.read(&mut piece)? {
            0 => return Ok(hex(&digest.finalize())),
            read => digest.update(piece.get(..read).unwrap_or_default()),
        }
    }
}

/// A digest of something that could be guessed, such as an address: without the secret nobody can try.
pub fn keyed_digest(secret: &str, content: &str) -> String {
    // A key of any length will do, so this cannot fail.
    let mac = <Hmac<Sha256> as KeyInit>::new_from_slice(secret.as_bytes());
    mac.map(|mac| hex(&mac.chain_update(content).finalize().into_bytes())).unwrap_or_default()
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        _ = write!(text, "{byte:02x}");
        text
    })
}
