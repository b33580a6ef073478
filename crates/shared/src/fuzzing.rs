//! What must hold for whatever bytes come, for `fuzz/` and for a short run with every test. Each function panics where
//! it does not.

use std::sync::LazyLock;

use bson::Bson;

use crate::{
    auth::{Kind, Sessions},
    clock::Timestamp,
    lenient,
    money::{Money, NotMoney, Percent},
};

/// Amounts: text, JSON and BSON are the same amount, within its bounds, and dividing one loses nothing.
pub fn money(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let json = serde_json::from_str::<serde_json::Value>(&text).ok();
    if let Some(value) = &json {
        // Whatever the database may hold instead.
        if let Ok(bson) = bson::serialize_to_bson(value) {
            _ = (lenient::as_text(&bson), lenient::as_int(&bson), lenient::as_number(&bson));
            _ = lenient::as_date(&bson);
            if let Some(amount) = lenient::as_money(&bson) {
                is_the_same_everywhere(amount);
            }
        }
    }
    let (read, exact) = (Money::parse(&text), Money::parse_exact(&text));
    match (read, exact) {
        (Ok(amount), Ok(exact)) => assert_eq!(amount, exact, "{text}"),
        (Ok(_), Err(NotMoney::TooManyDecimals)) => {}
        (Err(why), Err(same)) => assert_eq!(why, same, "{text}"),
        other => panic!("{text}: {other:?}"),
    }
    let Ok(amount) = read else { return };
    assert!(amount <= Money::MAX && -amount <= Money::MAX, "{text} is {amount}");
    assert_eq!(Money::parse_stored(&text), Ok(amount));
    is_the_same_everywhere(amount);
    divides(amount, data);
}

fn is_the_same_everywhere(amount: Money) {
    assert_eq!(Money::parse_stored(&amount.to_string()), Ok(amount));
    if amount <= Money::MAX && -amount <= Money::MAX {
        assert_eq!(Money::parse_exact(&amount.to_string()), Ok(amount));
        assert_eq!(Money::from_number(amount.to_number()), Ok(amount));
        let json = serde_json::to_string(&amount).unwrap_or_default();
        assert_eq!(serde_json::from_str::<Money>(&json).ok(), Some(amount), "{json}");
        assert_eq!(lenient::as_money(&Bson::String(amount.to_string())), Some(amount));
    }
    assert_eq!(lenient::as_money(&amount.to_bson()), Some(amount));
}

fn divides(amount: Money, data: &[u8]) {
    let weights: Vec<Money> = data.iter().map(|weight| Money::from_minor(i64::from(*weight))).collect();
    let parts = amount.split(&weights);
    let sum: Money = parts.iter().copied().sum();
    assert!(parts.is_empty() || sum == amount, "{amount} became {sum}");
    if !amount.is_negative() {
        assert!(parts.iter().all(|part| !part.is_negative() && *part <= amount));
        for percent in data {
            let part = amount.percent(Percent::whole(i64::from(*percent).min(100)));
            assert!(!part.is_negative() && part <= amount);
        }
    }
}

/// A session that is good, as whoever may forge others has seen it.
struct Genuine {
    sessions: Sessions,
    now: Timestamp,
    token: String,
}

static GENUINE: LazyLock<Genuine> = LazyLock::new(|| {
    let sessions = Sessions::new("nobody who makes the bytes knows this", 3600);
    let now = Timestamp::from_millis(1_800_000_000_000);
    let token = sessions.issue(Kind::User, "6744a0b1c2d3e4f5a6b7c801", 3, now).unwrap_or_default();
    assert!(sessions.read(&token, now).is_ok());
    Genuine { sessions, now, token }
});

/// Session tokens: what was not issued here never verifies, be it made up, put together from the parts of a good one, or
/// a good one with some bytes changed.
pub fn session(data: &[u8]) {
    let Genuine { sessions, now, token } = &*GENUINE;
    let forged = |forgery: &str| {
        assert!(forgery == token || sessions.read(forgery, *now).is_err(), "{forgery} is believed");
    };
    let text = String::from_utf8_lossy(data);
    forged(&text);
    let parts: Vec<&str> = token.split('.').collect();
    if let [header, claims, signature] = parts[..] {
        forged(&format!("{text}.{claims}.{signature}"));
        forged(&format!("{header}.{text}.{signature}"));
        forged(&format!("{header}.{claims}.{text}"));
        forged(&format!("{header}.{claims}{text}.{signature}"));
        forged(&format!("{token}{text}"));
    }
    let mut bytes = token.clone().into_bytes();
    for pair in data.chunks_exact(2) {
        if let [place, change] = *pair
            && let Some(byte) = bytes.get_mut(usize::from(place))
        {
            *byte ^= change;
        }
    }
    forged(&String::from_utf8_lossy(&bytes));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

        #[test]
        fn amounts_hold_what_they_promise(text in "[-+ ]?[0-9]{0,20}[.]?[0-9]{0,6}([eE][-+]?[0-9]{1,3})?") {
            super::money(text.as_bytes());
        }

        #[test]
        fn no_bytes_are_an_amount_that_breaks_a_promise(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            super::money(&bytes);
        }

        #[test]
        fn no_bytes_make_a_session(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            super::session(&bytes);
        }
    }
}
