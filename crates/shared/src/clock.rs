//! The only place that asks the operating system for the time.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

pub use bson::DateTime as Timestamp;

/// Tells the time. Clones share it, so that a test can move it for a whole server at once.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    /// Milliseconds added to the system's time; zero outside tests.
    offset: Arc<AtomicI64>,
}

impl Clock {
    /// The present moment, in UTC, to the millisecond.
    #[expect(clippy::disallowed_methods, reason = "this is the one door to the system's clock")]
    pub fn now(&self) -> Timestamp {
        plus(Timestamp::now(), self.offset.load(Ordering::Relaxed))
    }

    /// Moves this clock, and all its clones, ahead by so many milliseconds.
    pub fn advance(&self, millis: i64) {
        self.offset.fetch_add(millis, Ordering::Relaxed);
    }
}

/// A moment so many milliseconds later (or earlier, if negative).
pub fn plus(at: Timestamp, millis: i64) -> Timestamp {
    Timestamp::from_millis(at.timestamp_millis().saturating_add(millis))
}

/// A moment as JavaScript's `toISOString` writes it: UTC, always three digits of milliseconds, `Z`.
///
/// The driver's own RFC 3339 text drops trailing zeros of the fraction, which clients would see in
/// one answer of ten.
pub fn iso(at: Timestamp) -> String {
    let millis = at.timestamp_millis();
    let (days, rest) = (millis.div_euclid(86_400_000), millis.rem_euclid(86_400_000));
    let (year, month, day) = civil(days);
    let (h, m, s, ms) = (rest / 3_600_000, rest / 60_000 % 60, rest / 1000 % 60, rest % 1000);
    format!("{year:04}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}.{ms:03}Z")
}

/// Days since 1970-01-01 as year, month and day of the Gregorian calendar.
fn civil(days: i64) -> (i64, i64, i64) {
    // Count from 1 March of year 0, so that the leap day is the last day of a year.
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milliseconds_always_have_three_digits() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_795_363_086_820, "2026-11-22T15:58:06.820Z"),
            (1_795_363_086_500, "2026-11-22T15:58:06.500Z"),
            (1_795_363_086_000, "2026-11-22T15:58:06.000Z"),
            (951_782_400_007, "2000-02-29T00:00:00.007Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(iso(Timestamp::from_millis(millis)), text);
        }
    }

    #[test]
    fn a_clone_moves_with_its_clock() {
        let clock = Clock::default();
        let clone = clock.clone();
        clock.advance(60_000);
        assert!(clone.now().timestamp_millis() - Clock::default().now().timestamp_millis() > 59_000);
    }
}
