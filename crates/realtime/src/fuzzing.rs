//! What must hold for whatever bytes a socket brings, for `fuzz/` and for a short run with every test. Each function
//! panics where it does not.

use axum::http::{HeaderMap, HeaderValue, header};
use serde_json::Value;
use shared::auth::USER_COOKIE;

use crate::{auth, line, position::Position, wire};

/// A client's frames: however the stream is cut, the same is seen in it.
pub fn frames(data: &[u8]) {
    let Some((cut, stream)) = data.split_first() else { return };
    line::same_however_cut(stream, usize::from(*cut).max(1));
}

/// What comes in events, in the handshake's `auth` and in its cookies.
pub fn payloads(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(payload) = serde_json::from_slice::<Value>(data) {
        if let Ok(said) = wire::SendMessage::read(payload.clone()) {
            assert!(!said.text.is_empty() && said.text.chars().count() <= 5000);
        }
        _ = wire::read::<wire::LastMessage>(payload.clone());
        _ = wire::read::<wire::MessageSeen>(payload.clone());
        if let Some(text) = payload.as_str() {
            is_no_other_id(text);
        }
    }
    is_no_other_id(&text);
    if let Ok(position) = text.parse::<Position>() {
        assert_eq!(position.to_string().parse::<Position>().ok(), Some(position));
        assert!(position.next() > position || position.next() == position.next().next());
    }
    if let Ok(value) = HeaderValue::from_bytes(data) {
        let headers = HeaderMap::from_iter([(header::COOKIE, value)]);
        if let Some(token) = auth::cookie(&headers, USER_COOKIE) {
            assert!(!token.is_empty() && !token.contains(';') && text.contains(&token));
        }
    }
}

fn is_no_other_id(text: &str) {
    if let Some(id) = wire::id::<()>(text) {
        assert_eq!(id.hex(), text.to_ascii_lowercase());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

        #[test]
        fn frames_are_the_same_however_they_are_cut(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            super::frames(&bytes);
        }

        #[test]
        fn no_payload_breaks_a_promise(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            super::payloads(&bytes);
        }

        #[test]
        fn nothing_that_looks_like_one_is_a_position_or_an_id(text in "[0-9a-fA-F.+]{0,30}") {
            super::payloads(text.as_bytes());
        }
    }
}
