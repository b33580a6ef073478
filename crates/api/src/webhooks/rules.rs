//! What may be asked for, how what is sent is signed, and when it is tried again.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use shared::{clock::Timestamp, model::WebhookEndpoint};

/// Everything that an endpoint can be told of.
pub(super) const EVENTS: [&str; 13] = [
    "order.placed",
    "order.status_changed",
    "order.cancelled",
    "refund.requested",
    "refund.granted",
    "refund.refused",
    "withdrawal.requested",
    "withdrawal.decided",
    "stock.low",
    "stock.out",
    "dispute.opened",
    "dispute.message",
    "dispute.closed",
];

/// All of them, also those that later versions add.
pub(super) const ALL: &str = "*";

/// What a test sends. Every endpoint takes it.
pub(super) const TEST: &str = "webhook.test";

/// So many endpoints a shop may have, and the administrators together.
pub(super) const MOST_ENDPOINTS: u64 = 20;

/// How long a secret that was replaced signs besides its successor.
pub(super) const FORMER_SIGNS: i64 = 24 * 60 * 60 * 1000;

/// An endpoint for which every try has failed for so long is told nothing any more.
pub(super) const DISABLED_AFTER: i64 = 3 * 24 * 60 * 60 * 1000;

/// A delivery is kept for so long, arrived or not.
pub(super) const KEPT: i64 = 30 * 24 * 60 * 60 * 1000;

/// How long to wait after each try, in seconds: more than a day altogether.
const WAITS: [i64; 14] =
    [5, 15, 45, 120, 300, 600, 1_200, 1_800, 3_600, 7_200, 10_800, 18_000, 21_600, 21_600];

/// How long to wait after so many tries, in milliseconds; nothing means that it is given up.
pub(super) fn wait_after(attempts: i32) -> Option<i64> {
    let last = usize::try_from(attempts).ok()?.checked_sub(1)?;
    WAITS.get(last).map(|seconds| seconds * 1000)
}

/// The kinds of events that somebody asks for, each once; `Err` names one that there is not.
pub(super) fn kinds(wanted: &[String]) -> Result<Vec<String>, Option<&str>> {
    let mut kinds: Vec<String> = Vec::new();
    for kind in wanted {
        if kind != ALL && !EVENTS.contains(&kind.as_str()) {
            return Err(Some(kind));
        }
        if !kinds.contains(kind) {
            kinds.push(kind.clone());
        }
    }
    if kinds.is_empty() { Err(None) } else { Ok(kinds) }
}

/// The secrets that sign now, the present one first.
pub(super) fn secrets(endpoint: &WebhookEndpoint, now: Timestamp) -> Vec<&str> {
    let former = endpoint.former.as_ref().filter(|former| former.until > now);
    std::iter::once(endpoint.secret.as_str()).chain(former.map(|former| former.secret.as_str())).collect()
}

/// The value of `Souk-Signature` for a body that is sent now: the time in seconds, and for each secret the
/// HMAC-SHA256 of time, dot and body, as hex.
pub(super) fn sign(body: &str, secrets: &[&str], now: Timestamp) -> String {
    let seconds = now.timestamp_millis().div_euclid(1000);
    let mut header = format!("t={seconds}");
    for secret in secrets {
        #[expect(clippy::expect_used, reason = "a key for HMAC may have any length")]
        let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any length will do");
        let mac = mac.chain_update(format!("{seconds}.")).chain_update(body).finalize().into_bytes();
        header.push_str(",v1=");
        mac.iter().for_each(|byte| header.push_str(&format!("{byte:02x}")));
    }
    header
}

#[cfg(test)]
mod tests {
    use shared::{id::Id, model::FormerSecret};

    use super::*;

    #[test]
    fn it_is_tried_for_a_day_at_first_soon_and_then_seldom() {
        let waits: Vec<i64> = (1..).map_while(wait_after).collect();
        assert_eq!(waits.len(), 14);
        assert!(waits.is_sorted(), "{waits:?}");
        assert!(waits[0] <= 5_000);
        let day = 24 * 60 * 60 * 1000;
        let sum: i64 = waits.iter().sum();
        assert!((day..day + day / 12).contains(&sum), "{sum}");
        for none in [i32::MIN, -1, 0, 15, i32::MAX] {
            assert_eq!(wait_after(none), None, "{none}");
        }
    }

    #[test]
    fn kinds_are_known_ones_each_once() {
        let of = |wanted: &[&str]| wanted.iter().map(|&kind| kind.to_owned()).collect::<Vec<_>>();
        assert_eq!(
            kinds(&of(&["order.placed", "stock.out", "order.placed"])),
            Ok(of(&["order.placed", "stock.out"]))
        );
        assert_eq!(kinds(&of(&["*"])), Ok(of(&["*"])));
        assert_eq!(kinds(&of(&[])), Err(None));
        assert_eq!(kinds(&of(&["order.placed", "order"])), Err(Some("order")));
        assert_eq!(kinds(&of(&[TEST])), Err(Some(TEST)));
    }

    #[test]
    fn a_signature_is_what_everybody_else_computes() {
        // printf '1700000000.{"a":1}' | openssl dgst -sha256 -hmac whsec_test
        let at = Timestamp::from_millis(1_700_000_000_999);
        let header = sign(r#"{"a":1}"#, &["whsec_test"], at);
        assert_eq!(
            header,
            "t=1700000000,v1=38877139021993b830af32feea6e18a8da83eb2f6e49ee50bd9e4cf4ca4d3789"
        );
    }

    #[test]
    fn a_replaced_secret_signs_for_a_while() {
        let at = Timestamp::from_millis;
        let mut endpoint = WebhookEndpoint {
            id: Id::new(),
            shop: None,
            made_by: None,
            url: String::new(),
            events: Vec::new(),
            description: String::new(),
            secret: "new".to_owned(),
            former: Some(FormerSecret { secret: "old".to_owned(), until: at(1_000) }),
            paused: false,
            disabled_at: None,
            failing_since: None,
            created_at: at(0),
            updated_at: at(0),
        };
        assert_eq!(secrets(&endpoint, at(999)), ["new", "old"]);
        assert_eq!(secrets(&endpoint, at(1_000)), ["new"]);
        let both = sign("x", &secrets(&endpoint, at(0)), at(0));
        assert_eq!(both.matches("v1=").count(), 2);
        endpoint.former = None;
        assert_eq!(secrets(&endpoint, at(0)), ["new"]);
    }
}
