//! Where something stands among everything that is stored: the database's own order, the same on every node and after a
//! restart.

use std::{fmt, str::FromStr};

use bson::Timestamp;

/// The place of a stored message: the database's time of its transaction, and its number within it.
///
/// Clients keep it as text without looking into it, and show it when they come back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    /// Seconds since 1970, by the database's clock.
    pub(crate) seconds: u32,
    increment: u32,
    ordinal: u32,
}

impl Position {
    /// Before everything: no place is known.
    pub(crate) const NONE: Self = Self { seconds: 0, increment: 0, ordinal: 0 };

    /// After everything of this moment.
    pub(crate) const fn end_of(time: Timestamp) -> Self {
        Self { seconds: time.time, increment: time.increment, ordinal: u32::MAX }
    }

    /// The next change, which the database made at `time`.
    pub(crate) const fn then(self, time: Timestamp) -> Self {
        if self.seconds == time.time && self.increment == time.increment {
            Self { ordinal: self.ordinal.saturating_add(1), ..self }
        } else {
            Self { seconds: time.time, increment: time.increment, ordinal: 0 }
        }
    }

    /// Directly behind this one, also behind everything of a moment.
    pub(crate) const fn next(self) -> Self {
        match self.ordinal.checked_add(1) {
            Some(ordinal) => Self { ordinal, ..self },
            None => Self { increment: self.increment.saturating_add(1), ordinal: 0, ..self },
        }
    }

    /// The database's time.
    pub(crate) const fn time(self) -> Timestamp {
        Timestamp { time: self.seconds, increment: self.increment }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}.{:x}.{:x}", self.seconds, self.increment, self.ordinal)
    }
}

/// The text is no position.
#[derive(Debug)]
pub(crate) struct NoPosition;

impl FromStr for Position {
    type Err = NoPosition;

    fn from_str(text: &str) -> Result<Self, NoPosition> {
        let mut parts = text.split('.').map(|part| u32::from_str_radix(part, 16).or(Err(NoPosition)));
        let mut part = || parts.next().unwrap_or(Err(NoPosition));
        let position = Self { seconds: part()?, increment: part()?, ordinal: part()? };
        if parts.next().is_some() { Err(NoPosition) } else { Ok(position) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_keep_the_databases_order_and_survive_being_written() {
        let at = |time, increment| Timestamp { time, increment };
        let first = Position::NONE.then(at(7, 1));
        let same_transaction = first.then(at(7, 1));
        let later = same_transaction.then(at(7, 2));
        assert!(Position::NONE < first && first < same_transaction && same_transaction < later);
        assert!(same_transaction < Position::end_of(at(7, 1)) && Position::end_of(at(7, 1)) < later);
        assert_eq!(Position::end_of(at(7, 1)).then(at(7, 1)), Position::end_of(at(7, 1)), "it was looked up");
        let looked_up = Position::end_of(at(7, 1)).next();
        assert!(looked_up > Position::end_of(at(7, 1)) && looked_up.next() > looked_up);
        assert!(looked_up.next() < Position::end_of(at(7, 2)), "and it was stored later");
        for position in [first, same_transaction, later, Position::end_of(at(u32::MAX, u32::MAX))] {
            assert_eq!(position.to_string().parse::<Position>().unwrap(), position);
        }
        for nonsense in ["", "1.2", "1.2.3.4", "x.1.2", "-1.2.3", "1.2.1ffffffff"] {
            assert!(nonsense.parse::<Position>().is_err(), "{nonsense}");
        }
    }
}
