//! Signatures of webhooks, as Stripe makes them: `stripe-signature: t=<seconds>,v1=<hex>`, an
//! HMAC-SHA256 over `<seconds>.<body>`. Stripe's webhooks are checked with it, the sandbox signs with it.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use shared::clock::Timestamp;

/// The header that carries one.
pub(super) const HEADER: &str = "stripe-signature";

/// So many seconds a signature may be old, or ahead of our clock. What is older may be somebody's
/// recording.
const TOLERANCE: i64 = 300;

/// Why a signature is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadSignature {
    /// There is none, or it cannot be read.
    #[error("The webhook carries no signature that can be read")]
    Unreadable,
    /// Made with another secret, or for another body.
    #[error("The webhook's signature does not fit its body and the secret that is set here")]
    Wrong,
    /// Right, but from another time.
    #[error("The webhook's signature is too old, or this machine's clock is wrong")]
    Old,
}

/// Makes sure that `header` signs this very body, lately.
pub(super) fn verify(
    header: Option<&str>,
    body: &[u8],
    secret: &str,
    now: Timestamp,
) -> Result<(), BadSignature> {
    // Without a secret everybody could sign.
    let (Some(header), false) = (header, secret.is_empty()) else { return Err(BadSignature::Unreadable) };
    let parts = || header.split(',').filter_map(|part| part.trim().split_once('='));
    let seconds = parts().find(|(name, _)| *name == "t").and_then(|(_, seconds)| seconds.parse::<i64>().ok());
    let seconds = seconds.ok_or(BadSignature::Unreadable)?;
    // While a secret is replaced there is one for each.
    let mut signatures = parts().filter(|(name, _)| *name == "v1").map(|(_, hex)| bytes(hex)).peekable();
    signatures.peek().ok_or(BadSignature::Unreadable)?;
    let signer = signer(secret, seconds, body);
    if !signatures.flatten().any(|signature| signer.clone().verify_slice(&signature).is_ok()) {
        return Err(BadSignature::Wrong);
    }
    let age = now.timestamp_millis().div_euclid(1000).saturating_sub(seconds);
    if age.saturating_abs() > TOLERANCE { Err(BadSignature::Old) } else { Ok(()) }
}

/// The header's value for a body that is sent now.
pub(super) fn sign(body: &[u8], secret: &str, now: Timestamp) -> String {
    let seconds = now.timestamp_millis().div_euclid(1000);
    format!("t={seconds},v1={}", hex(&signer(secret, seconds, body).finalize().into_bytes()))
}

/// An HMAC-SHA256 of some text, as hex.
pub(super) fn mac(text: &str, secret: &str) -> String {
    hex(&keyed(secret).chain_update(text).finalize().into_bytes())
}

/// Whether that is the HMAC of the text.
pub(super) fn is_mac(text: &str, secret: &str, hex: &str) -> bool {
    let wanted = keyed(secret).chain_update(text);
    !secret.is_empty() && bytes(hex).is_some_and(|mac| wanted.verify_slice(&mac).is_ok())
}

fn signer(secret: &str, seconds: i64, body: &[u8]) -> Hmac<Sha256> {
    keyed(secret).chain_update(format!("{seconds}.")).chain_update(body)
}

fn keyed(secret: &str) -> Hmac<Sha256> {
    #[expect(clippy::expect_used, reason = "a key for HMAC may have any length")]
    Hmac::new_from_slice(secret.as_bytes()).expect("any length will do")
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    // Of ASCII alone, so that pairs of bytes are pairs of digits.
    if !hex.len().is_multiple_of(2) || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok()).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = br#"{"id":"evt_1"}"#;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000 + 999)
    }

    fn checked(header: &str, now: i64) -> Result<(), BadSignature> {
        verify(Some(header), BODY, "whsec_one", at(now))
    }

    #[test]
    fn what_is_signed_here_is_accepted_for_five_minutes_either_way() {
        let header = sign(BODY, "whsec_one", at(10_000));
        assert!(header.starts_with("t=10000,v1=") && header.len() == 11 + 64, "{header}");
        for now in [10_000, 10_300, 9_700] {
            assert_eq!(checked(&header, now), Ok(()), "{now}");
        }
        for now in [10_301, 9_699, 0, i64::MIN / 1000 + 1] {
            assert_eq!(checked(&header, now), Err(BadSignature::Old), "{now}");
        }
        assert_eq!(verify(Some(&header), b"{}", "whsec_one", at(10_000)), Err(BadSignature::Wrong));
        assert_eq!(verify(Some(&header), BODY, "whsec_two", at(10_000)), Err(BadSignature::Wrong));
        assert_eq!(verify(None, BODY, "whsec_one", at(10_000)), Err(BadSignature::Unreadable));
        assert_eq!(verify(Some(&sign(BODY, "", at(1))), BODY, "", at(1)), Err(BadSignature::Unreadable));
        // The time is signed too.
        assert_eq!(checked(&header.replace("t=10000", "t=10001"), 10_001), Err(BadSignature::Wrong));
    }

    #[test]
    fn it_is_what_everybody_else_calculates() {
        // RFC 4231, test case 2.
        let expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(mac("what do ya want for nothing?", "Jefe"), expected);
        assert!(is_mac("what do ya want for nothing?", "Jefe", expected));
        assert!(!is_mac("what do ya want for nothing!", "Jefe", expected));
        assert!(!is_mac("", "Jefe", "") && !is_mac("", "", &mac("", "")));
        let by_hand = mac(&format!("12.{}", String::from_utf8_lossy(BODY)), "whsec_one");
        assert_eq!(checked(&format!("t=12,v1={by_hand},v0=00"), 12), Ok(()));
    }

    #[test]
    fn of_several_signatures_one_has_to_be_right() {
        let header = sign(BODY, "whsec_one", at(5));
        let (time, right) = header.split_once(',').unwrap();
        let wrong = "v1=".to_owned() + &"ab".repeat(32);
        assert_eq!(checked(&format!("{time}, {wrong}, {right}"), 5), Ok(()));
        assert_eq!(checked(&format!("{time},{wrong}"), 5), Err(BadSignature::Wrong));
        for junk in ["", "t=5", "v1=ab", "t=,v1=ab", "t=5,v0=ab", "t=x,v1=ab", ",,,="] {
            assert_eq!(checked(junk, 5), Err(BadSignature::Unreadable), "{junk}");
        }
        for wrong in ["t=5,v1=", "t=5,v1=a", "t=5,v1=äöü", "t=5,v1=zz", "t=5,v1=+1+2"] {
            assert_eq!(checked(wrong, 5), Err(BadSignature::Wrong), "{wrong}");
        }
    }
}
