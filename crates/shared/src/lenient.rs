//! Reading what legacy documents really hold: a number as text, `null` for a list, `NaN` for stock.
//!
//! Each function here is a serde `deserialize_with` that never fails on a value of the wrong type:
//! it casts the way the old server did on reading, or falls back to the field's default. Writing is
//! strict, so nothing of the kind is added.

use std::collections::BTreeMap;

use bson::{Bson, Document, doc};
use serde::{Deserialize, Deserializer, de::DeserializeOwned};

use crate::{clock::Timestamp, money::Money};

/// Text; a number becomes its digits, anything else the empty text.
pub fn text<'de, D: Deserializer<'de>>(d: D) -> Result<String, D::Error> {
    Ok(as_text(&Bson::deserialize(d)?).unwrap_or_default())
}

/// Text, or nothing where it is missing, `null` or of another type.
pub fn opt_text<'de, D: Deserializer<'de>>(d: D) -> Result<Option<String>, D::Error> {
    Ok(as_text(&Bson::deserialize(d)?))
}

/// A whole number; text is parsed, fractions are cut, anything else is 0.
pub fn int<'de, D: Deserializer<'de>>(d: D) -> Result<i64, D::Error> {
    Ok(as_int(&Bson::deserialize(d)?).unwrap_or_default())
}

/// A whole number, or nothing.
pub fn opt_int<'de, D: Deserializer<'de>>(d: D) -> Result<Option<i64>, D::Error> {
    Ok(as_int(&Bson::deserialize(d)?))
}

/// A double, or nothing.
pub fn opt_number<'de, D: Deserializer<'de>>(d: D) -> Result<Option<f64>, D::Error> {
    Ok(as_number(&Bson::deserialize(d)?))
}

/// An amount; what cannot be read is zero.
pub fn money<'de, D: Deserializer<'de>>(d: D) -> Result<Money, D::Error> {
    Ok(as_money(&Bson::deserialize(d)?).unwrap_or_default())
}

/// An amount, or nothing.
pub fn opt_money<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Money>, D::Error> {
    Ok(as_money(&Bson::deserialize(d)?))
}

/// A moment: a BSON date, ISO text or milliseconds; else nothing.
pub fn opt_date<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Timestamp>, D::Error> {
    Ok(as_date(&Bson::deserialize(d)?))
}

/// True only for `true`.
pub fn flag<'de, D: Deserializer<'de>>(d: D) -> Result<bool, D::Error> {
    Ok(matches!(Bson::deserialize(d)?, Bson::Boolean(true)))
}

/// The hex text of an ObjectId or a text as it is; else empty.
pub fn id_text<'de, D: Deserializer<'de>>(d: D) -> Result<String, D::Error> {
    Ok(match Bson::deserialize(d)? {
        Bson::ObjectId(oid) => oid.to_hex(),
        Bson::String(text) => text,
        _ => String::new(),
    })
}

/// A list without the elements that cannot be read; anything but a list is an empty one.
pub fn list<'de, T: DeserializeOwned, D: Deserializer<'de>>(d: D) -> Result<Vec<T>, D::Error> {
    Ok(match Bson::deserialize(d)? {
        Bson::Array(items) => {
            items.into_iter().filter_map(|item| bson::deserialize_from_bson(item).ok()).collect()
        }
        _ => Vec::new(),
    })
}

/// An embedded document, or nothing where it is missing or does not fit.
pub fn opt_document<'de, T: DeserializeOwned, D: Deserializer<'de>>(d: D) -> Result<Option<T>, D::Error> {
    Ok(match Bson::deserialize(d)? {
        Bson::Document(doc) if !doc.is_empty() => bson::deserialize_from_document(doc).ok(),
        _ => None,
    })
}

/// An embedded document; one that is missing or does not fit is the default.
pub fn document<'de, T: DeserializeOwned + Default, D: Deserializer<'de>>(d: D) -> Result<T, D::Error> {
    opt_document(d).map(Option::unwrap_or_default)
}

/// Counts by name; what is no count is left out.
pub fn counts<'de, D: Deserializer<'de>>(d: D) -> Result<BTreeMap<String, i64>, D::Error> {
    map(d, |value| as_int(value).filter(|count| *count >= 0))
}

/// Moments by name; what is none is left out.
pub fn dates<'de, D: Deserializer<'de>>(d: D) -> Result<BTreeMap<String, Timestamp>, D::Error> {
    map(d, as_date)
}

fn map<'de, T, D: Deserializer<'de>>(
    d: D,
    read: impl Fn(&Bson) -> Option<T>,
) -> Result<BTreeMap<String, T>, D::Error> {
    Ok(match Bson::deserialize(d)? {
        Bson::Document(document) => {
            document.into_iter().filter_map(|(name, value)| Some((name, read(&value)?))).collect()
        }
        _ => BTreeMap::new(),
    })
}

/// See [`text`].
pub fn as_text(value: &Bson) -> Option<String> {
    match value {
        Bson::String(text) => Some(text.clone()),
        Bson::Int32(n) => Some(n.to_string()),
        Bson::Int64(n) => Some(n.to_string()),
        Bson::Double(n) => Some(n.to_string()),
        Bson::ObjectId(oid) => Some(oid.to_hex()),
        _ => None,
    }
}

/// See [`int`].
pub fn as_int(value: &Bson) -> Option<i64> {
    match value {
        Bson::Int32(n) => Some(i64::from(*n)),
        Bson::Int64(n) => Some(*n),
        Bson::Double(n) => whole(*n),
        Bson::String(text) => {
            let text = text.trim();
            text.parse().ok().or_else(|| text.parse().ok().and_then(whole))
        }
        _ => None,
    }
}

/// The number that a field (`$name`) holds as a number or as text, as an aggregation expression that
/// gives a double, or null for anything else.
pub fn number_in(field: &str) -> Document {
    let number = doc! { "$switch": {
        "branches": [
            { "case": { "$isNumber": field }, "then": field },
            { "case": { "$eq": [{ "$type": field }, "string"] }, "then": { "$trim": { "input": field } } },
        ],
        "default": null,
    } };
    doc! { "$convert": { "input": number, "to": "double", "onError": null, "onNull": null } }
}

/// [`as_int`] as an aggregation expression, with 0 for what is no number.
pub fn whole_in(field: &str) -> Document {
    // NaN and infinity are numbers until here; no integer is either.
    let whole = doc! { "$trunc": number_in(field) };
    doc! { "$convert": { "input": whole, "to": "long", "onError": Bson::Int64(0), "onNull": Bson::Int64(0) } }
}

/// The whole part of a double that has one a double can hold exactly.
#[expect(clippy::as_conversions, reason = "bounded just above: the cast cannot change the value")]
fn whole(number: f64) -> Option<i64> {
    (number.abs() < 9_007_199_254_740_992.0).then_some(number.trunc() as i64)
}

/// See [`opt_number`].
pub fn as_number(value: &Bson) -> Option<f64> {
    match value {
        Bson::Int32(n) => Some(f64::from(*n)),
        #[expect(clippy::as_conversions, reason = "a stored rating or size, never money")]
        Bson::Int64(n) => Some(*n as f64),
        Bson::Double(n) => n.is_finite().then_some(*n),
        Bson::String(text) => text.trim().parse().ok().filter(|n: &f64| n.is_finite()),
        _ => None,
    }
}

/// See [`money`].
pub fn as_money(value: &Bson) -> Option<Money> {
    match value {
        Bson::Int32(n) => Money::parse_stored(&n.to_string()).ok(),
        Bson::Int64(n) => Money::parse_stored(&n.to_string()).ok(),
        // `{}` never uses an exponent; what is not finite is no number.
        Bson::Double(n) => Money::parse_stored(&n.to_string()).ok(),
        Bson::String(text) => Money::parse(text).ok(),
        _ => None,
    }
}

/// See [`opt_date`].
pub fn as_date(value: &Bson) -> Option<Timestamp> {
    match value {
        Bson::DateTime(at) => Some(*at),
        Bson::String(text) => parse_date(text),
        Bson::Int64(millis) => Some(Timestamp::from_millis(*millis)),
        Bson::Double(millis) => whole(*millis).map(Timestamp::from_millis),
        _ => None,
    }
}

/// Reads an ISO 8601 moment or a bare day (`2026-11-22`, midnight UTC).
pub fn parse_date(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    Timestamp::parse_rfc3339_str(text)
        .or_else(|_| Timestamp::parse_rfc3339_str(format!("{text}T00:00:00Z")))
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stock_is_read_whatever_the_old_server_left() {
        for (stored, stock) in [
            (Bson::String("10".into()), Some(10)),
            (Bson::String(" 8 ".into()), Some(8)),
            (Bson::String("-3".into()), Some(-3)),
            (Bson::String("7.9".into()), Some(7)),
            (Bson::String("NaN".into()), None),
            (Bson::String("many".into()), None),
            (Bson::Double(4.0), Some(4)),
            (Bson::Double(f64::NAN), None),
            (Bson::Int64(5), Some(5)),
            (Bson::Null, None),
        ] {
            assert_eq!(as_int(&stored), stock, "{stored:?}");
        }
    }

    #[test]
    fn dates_are_read_from_each_form() {
        let at = Timestamp::from_millis(1_795_363_086_820);
        assert_eq!(as_date(&Bson::String("2026-11-22T15:58:06.820Z".into())), Some(at));
        assert_eq!(as_date(&Bson::DateTime(at)), Some(at));
        assert_eq!(
            as_date(&Bson::String("2024-01-01".into())).map(|t| t.timestamp_millis()),
            Some(1_704_067_200_000)
        );
        assert_eq!(as_date(&Bson::String("soon".into())), None);
    }
}
