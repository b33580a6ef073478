use hmac::{Hmac, KeyInit, Mac};
use jsonwebtoken::{
    Algorithm, AlgorithmFamily, DecodingKey, EncodingKey, Header, Validation,
    crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils},
    errors::ErrorKind,
};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use signature::{Signer, Verifier};

use super::Standing;
use crate::{clock::Timestamp, id::Id};

/// Whose session it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A shopper, or an administrator.
    User,
    /// A shop.
    Seller,
}

/// What a session token says. The old server's tokens have no `kind` and no `ver`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Hex id of the account.
    pub id: String,
    /// Issued at, in seconds.
    #[serde(default)]
    pub iat: i64,
    /// Expires at, in seconds.
    pub exp: i64,
    /// Whose session; missing in old tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// The account's session version when it was issued; missing (0) in old tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ver: Option<i64>,
    /// Tells apart sessions that begin in the same second; missing in old tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jti: Option<String>,
}

impl Claims {
    /// Under which a session that was logged out of is remembered with its account.
    pub fn session(&self) -> String {
        self.jti.clone().unwrap_or_else(|| format!("{}-{}", self.iat, self.exp))
    }
}

/// A session that proves somebody, for as long as it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// Whose.
    pub kind: Kind,
    /// Whose.
    pub account: Id<()>,
    version: i64,
    session: String,
    /// In seconds.
    expires: i64,
}

impl Proof {
    /// What a token says of an account.
    pub(super) fn new(kind: Kind, account: Id<()>, claims: &Claims) -> Self {
        let version = claims.ver.unwrap_or(0);
        Self { kind, account, version, session: claims.session(), expires: claims.exp }
    }

    /// Whether it proves anything while its account, if there still is one, stands like this.
    pub fn holds(&self, account: Option<&Standing>, now: Timestamp) -> bool {
        let open = |account: &Standing| {
            !account.blocked && account.version == self.version && !account.ended.contains(&self.session)
        };
        account.is_some_and(open) && !self.has_expired(now)
    }

    /// Whether its time is over.
    pub fn has_expired(&self, now: Timestamp) -> bool {
        self.expires <= now.timestamp_millis() / 1000
    }
}

/// Why a token is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadToken {
    /// Not ours, damaged, or signed in another way.
    #[error("not a valid session token")]
    Invalid,
    /// Ours, but its time is over.
    #[error("the session has expired")]
    Expired,
}

/// Issues and reads session tokens: JWT, HS256, nothing else.
#[derive(Clone)]
pub struct Sessions {
    encode: EncodingKey,
    decode: DecodingKey,
    ttl_seconds: i64,
}

impl std::fmt::Debug for Sessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The keys must not reach a log.
        f.debug_struct("Sessions").field("ttl_seconds", &self.ttl_seconds).finish_non_exhaustive()
    }
}

impl Sessions {
    /// With `JWT_SECRET_KEY` and the life time of a session.
    pub fn new(secret: &str, ttl_seconds: i64) -> Self {
        // A second call finds the provider installed; both are the same one.
        _ = HS256.install_default();
        Self {
            encode: EncodingKey::from_secret(secret.as_bytes()),
            decode: DecodingKey::from_secret(secret.as_bytes()),
            ttl_seconds,
        }
    }

    /// How long a session lasts, in seconds.
    pub const fn ttl_seconds(&self) -> i64 {
        self.ttl_seconds
    }

    /// A token for an account at its current session version.
    pub fn issue(&self, kind: Kind, id: &str, version: i64, now: Timestamp) -> anyhow::Result<String> {
        let iat = now.timestamp_millis().div_euclid(1000);
        let mut jti = super::one_time_token()?;
        jti.truncate(16);
        let claims = Claims {
            jti: Some(jti),
            id: id.to_owned(),
            iat,
            exp: iat.saturating_add(self.ttl_seconds),
            kind: Some(kind),
            ver: Some(version),
        };
        Ok(jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.encode)?)
    }

    /// Checks signature and expiry, by our own clock and without leeway.
    pub fn read(&self, token: &str, now: Timestamp) -> Result<Claims, BadToken> {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.validate_exp = false;
        validation.required_spec_claims.clear();
        let claims = jsonwebtoken::decode::<Claims>(token, &self.decode, &validation)
            .or(Err(BadToken::Invalid))?
            .claims;
        if claims.exp <= now.timestamp_millis().div_euclid(1000) {
            return Err(BadToken::Expired);
        }
        Ok(claims)
    }
}

/// HMAC-SHA-256 with one key: the only way a session is ever signed.
struct Hs256(Hmac<Sha256>);

impl Hs256 {
    fn new(algorithm: &Algorithm, family: AlgorithmFamily, key: &[u8]) -> jsonwebtoken::errors::Result<Self> {
        if *algorithm != Algorithm::HS256 || family != AlgorithmFamily::Hmac {
            return Err(ErrorKind::InvalidAlgorithm.into());
        }
        Hmac::new_from_slice(key).map(Self).or(Err(ErrorKind::InvalidKeyFormat.into()))
    }
}

impl Signer<Vec<u8>> for Hs256 {
    fn try_sign(&self, message: &[u8]) -> Result<Vec<u8>, signature::Error> {
        let mut mac = self.0.clone();
        mac.update(message);
        Ok(mac.finalize().into_bytes().to_vec())
    }
}
impl Verifier<Vec<u8>> for Hs256 {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), signature::Error> {
        let mut mac = self.0.clone();
        mac.update(message);
        // Compares in constant time.
        mac.verify_slice(signature).or(Err(signature::Error::new()))
    }
}
impl JwtSigner for Hs256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}
impl JwtVerifier for Hs256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

/// jsonwebtoken needs exactly one provider; its own would bring RSA or a C library along.
static HS256: CryptoProvider = CryptoProvider {
    signer_factory: |algorithm, key| Ok(Box::new(Hs256::new(algorithm, key.family(), key.as_bytes())?)),
    verifier_factory: |algorithm, key| {
        Ok(Box::new(Hs256::new(algorithm, key.family(), key.try_get_as_bytes()?)?))
    },
    key_utils: KeyUtils::new_unimplemented(),
};

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    #[test]
    fn a_session_is_read_until_the_second_it_expires() {
        let sessions = Sessions::new("secret", 60);
        let token = sessions.issue(Kind::Seller, "abc", 3, at(1000)).unwrap();
        let claims = sessions.read(&token, at(1059)).unwrap();
        assert_eq!((claims.id.as_str(), claims.kind, claims.ver), ("abc", Some(Kind::Seller), Some(3)));
        assert_eq!(sessions.read(&token, at(1060)), Err(BadToken::Expired));
        assert_eq!(Sessions::new("other", 60).read(&token, at(1000)), Err(BadToken::Invalid));
    }

    #[test]
    fn a_token_of_the_old_server_is_read() {
        // Made by jsonwebtoken for Node: {id, iat: 1700000000, exp: 4000000000}, secret "old-secret".
        let head = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9";
        let body =
            "eyJpZCI6IjY0YjdmMDAwMDAwMDAwMDAwMDAwMDAwMSIsImlhdCI6MTcwMDAwMDAwMCwiZXhwIjo0MDAwMDAwMDAwfQ";
        let sessions = Sessions::new("old-secret", 60);
        let signature = {
            let mac = Hs256::new(&Algorithm::HS256, AlgorithmFamily::Hmac, b"old-secret").unwrap();
            base64_url(&mac.sign(format!("{head}.{body}").as_bytes()))
        };
        let claims = sessions.read(&format!("{head}.{body}.{signature}"), at(1_800_000_000)).unwrap();
        assert_eq!((claims.id.as_str(), claims.kind, claims.ver), ("64b7f0000000000000000001", None, None));
    }

    #[test]
    fn unsigned_and_foreign_algorithms_are_refused() {
        let sessions = Sessions::new("secret", 60);
        let none = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.eyJpZCI6ImEiLCJleHAiOjQwMDAwMDAwMDB9.";
        for token in [none, "", "a.b.c", "1", "eyJhbGciOiJIUzI1NiJ9.e30.AAAA"] {
            assert_eq!(sessions.read(token, at(0)), Err(BadToken::Invalid), "{token}");
        }
    }

    fn base64_url(bytes: &[u8]) -> String {
        const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let mut text = String::new();
        for chunk in bytes.chunks(3) {
            let n = chunk.iter().fold(0u32, |n, b| n << 8 | u32::from(*b)) << (8 * (3 - chunk.len()));
            for i in 0..=chunk.len() {
                text.push(char::from(DIGITS[usize::try_from(n >> (18 - 6 * i) & 63).unwrap()]));
            }
        }
        text
    }
}
