//! Money is a whole number of minor units (cents) in the marketplace's one currency.
//!
//! Legacy documents and the client carry amounts as JSON and BSON numbers in major units. The
//! conversion happens here and nowhere else, through the number's shortest decimal text, so that
//! `166.32000000000002` is 16632 and half a cent rounds to the even neighbour.

use std::{
    fmt,
    iter::Sum,
    ops::{Add, AddAssign, Neg, Sub, SubAssign},
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// An amount in minor units; may be negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Money(i64);

/// The largest amount that is read from outside: a trillion units. Sums of thousands of them still
/// fit both an `i64` and a double exactly.
const LIMIT: i64 = 100_000_000_000_000;

/// The largest that is read from the database, where balances are sums: above it a double cannot hold
/// each cent any more.
const STORED_LIMIT: i64 = 7_000_000_000_000_000;

/// Why a text or number is no amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotMoney {
    /// Empty, not a number, NaN or infinite.
    #[error("must be a number")]
    NotANumber,
    /// Beyond what any purchase may cost.
    #[error("is too large")]
    TooLarge,
    /// A person entered fractions of a cent.
    #[error("must have at most two decimals")]
    TooManyDecimals,
}

impl Money {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// The largest amount that is read from outside.
    pub const MAX: Self = Self(LIMIT);

    /// From minor units.
    pub const fn from_minor(minor: i64) -> Self {
        Self(minor)
    }

    /// In minor units.
    pub const fn minor(self) -> i64 {
        self.0
    }

    /// Reads decimal text in major units; more than two decimals are rounded half to even.
    pub fn parse(text: &str) -> Result<Self, NotMoney> {
        read_decimal(text, LIMIT).map(|(money, _)| money)
    }

    /// Reads what is stored, where it may be a sum of many amounts.
    pub fn parse_stored(text: &str) -> Result<Self, NotMoney> {
        read_decimal(text, STORED_LIMIT).map(|(money, _)| money)
    }

    /// Reads an amount that a person entered: more than two decimals are refused.
    pub fn parse_exact(text: &str) -> Result<Self, NotMoney> {
        match read_decimal(text, LIMIT)? {
            (money, true) => Ok(money),
            (_, false) => Err(NotMoney::TooManyDecimals),
        }
    }

    /// Reads a double in major units by way of its shortest decimal text.
    pub fn from_number(number: f64) -> Result<Self, NotMoney> {
        if !number.is_finite() {
            return Err(NotMoney::NotANumber);
        }
        // `{}` never uses an exponent and always reads back to the same double.
        Self::parse(&format!("{number}"))
    }

    /// The nearest double in major units: what JSON and BSON carry.
    #[expect(
        clippy::float_arithmetic,
        clippy::as_conversions,
        reason = "the one conversion to a double, exact to the nearest: |minor| is far below 2^53"
    )]
    pub fn to_number(self) -> f64 {
        self.0 as f64 / 100.0
    }

    /// So many of it.
    pub const fn times(self, count: i64) -> Self {
        Self(self.0.saturating_mul(count))
    }

    /// A percentage of it, rounded half to even.
    pub fn percent(self, percent: Percent) -> Self {
        Self(div_half_even(i128::from(self.0) * i128::from(percent.0), 10_000))
    }

    /// The first `part` of `whole` equal parts of it, rounded down; zero if `whole` is not above zero.
    ///
    /// Differences of such amounts add up to the whole without a residue, whatever the steps.
    pub fn first(self, part: i64, whole: i64) -> Self {
        if whole <= 0 {
            return Self::ZERO;
        }
        let floor = (i128::from(self.0) * i128::from(part)).div_euclid(i128::from(whole));
        Self(i64::try_from(floor).unwrap_or(if floor < 0 { i64::MIN } else { i64::MAX }))
    }

    /// Divides it in proportion to weights that are not negative, to the cent and without a residue.
    /// Where all weights are zero, the last part has all of it.
    pub fn split(self, weights: &[Self]) -> Vec<Self> {
        let whole: Self = weights.iter().copied().sum();
        let (mut weighed, mut given) = (Self::ZERO, Self::ZERO);
        let mut parts: Vec<Self> = weights
            .iter()
            .map(|weight| {
                weighed += *weight;
                let part = self.first(weighed.0, whole.0) - given;
                given += part;
                part
            })
            .collect();
        if let Some(last) = parts.last_mut() {
            *last += self - given;
        }
        parts
    }

    /// The distance between two amounts.
    pub const fn distance(self, other: Self) -> Self {
        Self(self.0.abs_diff(other.0).cast_signed())
    }

    /// Whether it is below zero.
    pub const fn is_negative(self) -> bool {
        self.0 < 0
    }

    /// As BSON, the way the legacy server stores numbers: Int32 when whole and small, else Double.
    pub fn to_bson(self) -> bson::Bson {
        match i32::try_from(self.0 / 100) {
            Ok(whole) if self.0 % 100 == 0 => bson::Bson::Int32(whole),
            _ => bson::Bson::Double(self.to_number()),
        }
    }
}

/// `numerator / denominator`, rounded to the nearest integer, halves to the even one.
fn div_half_even(numerator: i128, denominator: i128) -> i64 {
    let (numerator, denominator) =
        if denominator < 0 { (-numerator, -denominator) } else { (numerator, denominator) };
    let floor = numerator.div_euclid(denominator);
    let twice = numerator.rem_euclid(denominator) * 2;
    let up = twice > denominator || (twice == denominator && floor.rem_euclid(2) == 1);
    i64::try_from(floor + i128::from(up)).unwrap_or(if floor < 0 { i64::MIN } else { i64::MAX })
}

/// Reads `[+-]digits[.digits][e[+-]digits]` as hundredths; also tells whether that was exact.
fn read_decimal(text: &str, limit: i64) -> Result<(Money, bool), NotMoney> {
    let text = text.trim();
    let (negative, body) = match text.as_bytes().first() {
        Some(b'-') => (true, text.get(1..).unwrap_or("")),
        Some(b'+') => (false, text.get(1..).unwrap_or("")),
        _ => (false, text),
    };
    let (mantissa, exponent) = match body.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().or(Err(NotMoney::NotANumber))?),
        None => (body, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = || whole.bytes().chain(fraction.bytes());
    if digits().next().is_none() || !digits().all(|b| b.is_ascii_digit()) {
        return Err(NotMoney::NotANumber);
    }
    // The value is 0.d1d2d3… × 10^point; in hundredths the last whole digit is number `point + 2`.
    let point = i64::try_from(whole.len()).unwrap_or(i64::MAX).saturating_add(i64::from(exponent));
    let keep = point.saturating_add(2);
    let mut minor: i64 = 0;
    let mut position: i64 = 0;
    let (mut first_dropped, mut rest_dropped) = (0u8, false);
    for byte in digits() {
        let digit = byte - b'0';
        if position < keep {
            minor = minor.saturating_mul(10).saturating_add(i64::from(digit));
        } else if position == keep {
            first_dropped = digit;
        } else {
            rest_dropped |= digit != 0;
        }
        if minor > limit {
            return Err(NotMoney::TooLarge);
        }
        position += 1;
    }
    while position < keep && minor > 0 {
        minor = minor.saturating_mul(10);
        if minor > limit {
            return Err(NotMoney::TooLarge);
        }
        position += 1;
    }
    if keep < 0 {
        // All digits are below a tenth of a cent.
        (first_dropped, rest_dropped) = (0, digits().any(|b| b != b'0'));
    }
    let up = first_dropped > 5 || (first_dropped == 5 && (rest_dropped || minor % 2 == 1));
    let minor = minor + i64::from(up);
    // Rounding may be what takes it past the limit.
    if minor > limit {
        return Err(NotMoney::TooLarge);
    }
    let exact = first_dropped == 0 && !rest_dropped;
    Ok((Money(if negative { -minor } else { minor }), exact))
}

/// Two decimals, a point, no currency sign: `-12.30`.
impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let minor = self.0.unsigned_abs();
        write!(f, "{sign}{}.{:02}", minor / 100, minor % 100)
    }
}

impl Add for Money {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}
impl Sub for Money {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}
impl AddAssign for Money {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}
impl SubAssign for Money {
    fn sub_assign(&mut self, other: Self) {
        *self = *self - other;
    }
}
impl Neg for Money {
    type Output = Self;
    fn neg(self) -> Self {
        Self(self.0.saturating_neg())
    }
}
impl Sum for Money {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::ZERO, Add::add)
    }
}

/// A number in major units, whole where it is: `12`, `59.97`. The same in JSON and BSON.
impl Serialize for Money {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0 % 100 == 0 {
            match i32::try_from(self.0 / 100) {
                Ok(small) => serializer.serialize_i32(small),
                Err(_) => serializer.serialize_i64(self.0 / 100),
            }
        } else {
            serializer.serialize_f64(self.to_number())
        }
    }
}

/// Reads a number or numeric text in major units, rounding half to even.
impl<'de> Deserialize<'de> for Money {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Money;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an amount of money")
            }
            fn visit_i64<E: de::Error>(self, v: i64) -> Result<Money, E> {
                Money::parse(&v.to_string()).map_err(E::custom)
            }
            fn visit_u64<E: de::Error>(self, v: u64) -> Result<Money, E> {
                Money::parse(&v.to_string()).map_err(E::custom)
            }
            fn visit_f64<E: de::Error>(self, v: f64) -> Result<Money, E> {
                Money::from_number(v).map_err(E::custom)
            }
            fn visit_str<E: de::Error>(self, v: &str) -> Result<Money, E> {
                Money::parse(v).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// A percentage in hundredths of a per cent: 10 % is 1000.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Percent(i64);

impl Percent {
    /// All of it.
    pub const HUNDRED: Self = Self(10_000);

    /// So many whole per cent.
    pub const fn whole(percent: i64) -> Self {
        Self(percent * 100)
    }

    /// Reads decimal text such as `10` or `12.5`; finer than a hundredth of a per cent is refused.
    pub fn parse(text: &str) -> Result<Self, NotMoney> {
        Money::parse_exact(text).map(|m| Self(m.minor()))
    }

    /// What remains of a hundred per cent.
    pub const fn rest(self) -> Self {
        Self(10_000 - self.0)
    }

    /// In hundredths of a per cent.
    pub const fn basis_points(self) -> i64 {
        self.0
    }

    /// From hundredths of a per cent.
    pub const fn from_basis_points(points: i64) -> Self {
        Self(points)
    }
}

/// A number in per cent: `10`, `12.5`.
impl Serialize for Percent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Money(self.0).serialize(serializer)
    }
}
impl<'de> Deserialize<'de> for Percent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Money::deserialize(deserializer).map(|m| Self(m.minor()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minor(text: &str) -> i64 {
        Money::parse(text).map(Money::minor).unwrap_or(i64::MIN)
    }

    #[test]
    fn amounts_round_half_to_even() {
        for (text, cents) in [
            ("59.97", 5997),
            ("0.125", 12),
            ("0.135", 14),
            ("0.1250000001", 13),
            ("-0.125", -12),
            ("1e2", 10_000),
            ("12.5e-1", 125),
            ("5e-3", 0),
            ("5.1e-3", 1),
            ("9e-9", 0),
            (" 7 ", 700),
            (".5", 50),
            ("5.", 500),
            ("000012", 1200),
        ] {
            assert_eq!(minor(text), cents, "{text}");
        }
        assert_eq!(Money::from_number(166.320_000_000_000_02).map(Money::minor), Ok(16632));
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in ["", "NaN", "null", "undefined", "1,5", "--1", "1e", "0x10", "Infinity", "."] {
            assert_eq!(Money::parse(text), Err(NotMoney::NotANumber), "{text}");
        }
        assert_eq!(Money::parse("1e309"), Err(NotMoney::TooLarge));
        // Rounding takes it there, and past it.
        assert_eq!(Money::parse("1000000000000.004"), Ok(Money::MAX));
        assert_eq!(Money::parse("1000000000000.006"), Err(NotMoney::TooLarge));
        assert_eq!(Money::parse_exact("1.001"), Err(NotMoney::TooManyDecimals));
        assert_eq!(Money::parse_exact("1.100").map(Money::minor), Ok(110));
    }

    #[test]
    fn every_cent_survives_the_way_through_a_double() {
        for cents in (0..200_000).chain([LIMIT, LIMIT - 1, 8_999_999_999_999]) {
            let money = Money::from_minor(cents);
            assert_eq!(Money::from_number(money.to_number()), Ok(money));
        }
        for cents in (0..1000).map(|less| STORED_LIMIT - less) {
            let money = Money::from_minor(cents);
            assert_eq!(Money::parse_stored(&money.to_number().to_string()), Ok(money));
            assert_eq!(Money::parse(&money.to_number().to_string()), Err(NotMoney::TooLarge));
        }
    }

    #[test]
    fn whole_amounts_are_written_without_a_fraction() {
        let json = |m: i64| serde_json::to_string(&Money::from_minor(m)).unwrap_or_default();
        assert_eq!((json(1200), json(5997), json(-50)), ("12".into(), "59.97".into(), "-0.5".into()));
    }

    #[test]
    fn percentages_round_half_to_even_and_first_parts_down() {
        assert_eq!(Money(1005).percent(Percent::whole(10)).minor(), 100);
        assert_eq!(Money(1015).percent(Percent::whole(10)).minor(), 102);
        assert_eq!(Money(-1015).percent(Percent::whole(10)).minor(), -102);
        assert_eq!(Money(100).first(1, 3).minor(), 33);
        assert_eq!(Money(100).first(2, 3).minor(), 66);
        assert_eq!(Money(100).first(3, 3).minor(), 100);
        assert_eq!(Money(100).first(1, 0).minor(), 0);
    }

    #[test]
    fn parts_add_up_to_the_whole_and_none_is_below_zero() {
        let split = |total: i64, weights: &[i64]| -> Vec<i64> {
            let weights: Vec<Money> = weights.iter().copied().map(Money).collect();
            Money(total).split(&weights).into_iter().map(Money::minor).collect()
        };
        assert_eq!(split(100, &[1, 1, 1]), [33, 33, 34]);
        assert_eq!(split(7, &[0, 5, 0]), [0, 7, 0]);
        assert_eq!(split(7, &[0, 0]), [0, 7]);
        assert_eq!(split(0, &[3, 4]), [0, 0]);
        assert_eq!(split(5, &[]), [0_i64; 0]);
        for total in 0..50 {
            for weights in [[1, 2, 3, 4], [999, 1, 0, 333], [7, 7, 7, 7]] {
                let parts = split(total, &weights);
                assert_eq!(parts.iter().sum::<i64>(), total);
                assert!(parts.iter().all(|part| *part >= 0), "{total} by {weights:?}: {parts:?}");
            }
        }
    }
}
