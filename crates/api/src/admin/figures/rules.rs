//! Which days are asked for. Pure.

use shared::clock::{Timestamp, plus};

pub(crate) const DAY: i64 = 86_400_000;
/// Of so many days where nobody says.
const USUAL: i64 = 30;
/// And at most.
pub(crate) const MOST_DAYS: i64 = 366;

/// Whole days in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Days {
    /// The first moment of the first.
    pub(crate) from: Timestamp,
    /// The first moment after the last.
    pub(crate) to: Timestamp,
}

/// Why they cannot be counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoDays {
    /// There are none.
    Backwards,
    /// There are too many.
    TooMany,
}

/// When the day of a moment begins.
pub(crate) fn midnight(at: Timestamp) -> Timestamp {
    plus(at, -at.timestamp_millis().rem_euclid(DAY))
}

impl Days {
    /// From the day of one moment to that of another, both included; the last thirty where nothing is said.
    pub(crate) fn between(
        from: Option<Timestamp>,
        to: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<Self, NoDays> {
        let last = midnight(to.unwrap_or(now));
        let from = from.map_or_else(|| plus(last, (1 - USUAL) * DAY), midnight);
        let days = Self { from, to: plus(last, DAY) };
        match days.count() {
            ..1 => Err(NoDays::Backwards),
            1..=MOST_DAYS => Ok(days),
            _ => Err(NoDays::TooMany),
        }
    }

    /// How many.
    fn count(self) -> i64 {
        self.to.timestamp_millis().saturating_sub(self.from.timestamp_millis()) / DAY
    }

    /// When each begins.
    pub(crate) fn each(self) -> impl Iterator<Item = Timestamp> {
        (0..self.count()).map(move |nth| plus(self.from, nth * DAY))
    }
}

/// How many of a hundred, rounded; none of nothing.
pub(crate) fn percent(part: i64, whole: i64) -> i64 {
    if whole <= 0 { 0 } else { (part * 100 + whole / 2) / whole }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_whole_and_neither_none_nor_too_many() {
        let at = Timestamp::from_millis;
        let days = Days::between(Some(at(DAY + 5)), Some(at(3 * DAY - 1)), at(0)).unwrap();
        assert_eq!(days, Days { from: at(DAY), to: at(3 * DAY) });
        assert_eq!(days.each().collect::<Vec<_>>(), [at(DAY), at(2 * DAY)]);
        assert_eq!(Days::between(None, None, at(100 * DAY + 1)).unwrap().count(), USUAL);
        assert_eq!(Days::between(Some(at(DAY)), Some(at(0)), at(0)), Err(NoDays::Backwards));
        assert_eq!(Days::between(Some(at(0)), Some(at(MOST_DAYS * DAY)), at(0)), Err(NoDays::TooMany));
        assert!(Days::between(Some(Timestamp::MIN), Some(Timestamp::MAX), at(0)).is_err());
        assert_eq!(midnight(at(-1)), at(-DAY));
    }

    #[test]
    fn a_hundred_of_nothing_is_none() {
        assert_eq!([percent(1, 3), percent(2, 3), percent(0, 0), percent(5, 5)], [33, 67, 0, 100]);
    }
}
