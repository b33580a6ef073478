//! What may become of a withdrawal.

use shared::money::Money;

/// Where a withdrawal stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Asked for; its amount is taken from the balance.
    Processing,
    /// Paid out.
    Succeeded,
    /// Refused; its amount is back on the balance.
    Rejected,
}

impl State {
    const ALL: [Self; 3] = [Self::Processing, Self::Succeeded, Self::Rejected];

    /// How it is written, ours first, then what old data may say.
    pub(super) const fn spellings(self) -> &'static [&'static str] {
        match self {
            Self::Processing => &["Processing", "processing", ""],
            Self::Succeeded => &["Succeeded", "succeeded", "Succeed", "succeed", "Success", "success"],
            Self::Rejected => &["Rejected", "rejected", "Reject", "reject"],
        }
    }

    /// As we write it.
    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::Processing => "Processing",
            Self::Succeeded => "Succeeded",
            Self::Rejected => "Rejected",
        }
    }

    /// What a text means, if it means a state.
    pub(super) fn of(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.spellings().contains(&text))
    }
}

/// It cannot go from where it is to where somebody wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NotFrom {
    pub from: String,
    pub to: State,
}

/// Whether a decision changes anything; the one that was taken before does not.
pub(super) fn decides(status: &str, to: State) -> Result<bool, NotFrom> {
    match State::of(status) {
        Some(State::Processing) => Ok(true),
        Some(state) if state == to => Ok(false),
        known => {
            let from = known.map_or_else(|| status.to_owned(), |state| state.text().to_owned());
            Err(NotFrom { from, to })
        }
    }
}

/// Whether paying so much out takes two administrators.
pub(super) fn takes_two(amount: Money, four_eyes: Money) -> bool {
    four_eyes > Money::ZERO && amount >= four_eyes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_amounts_take_two_unless_none_do() {
        let money = Money::from_minor;
        assert!(takes_two(money(100), money(100)));
        assert!(!takes_two(money(99), money(100)));
        assert!(!takes_two(money(1_000_000), Money::ZERO));
    }

    #[test]
    fn a_decision_is_taken_once() {
        for to in [State::Succeeded, State::Rejected] {
            assert_eq!(decides("Processing", to), Ok(true));
            assert_eq!(decides("", to), Ok(true));
        }
        assert_eq!(decides("Succeeded", State::Succeeded), Ok(false));
        assert_eq!(decides("succeed", State::Succeeded), Ok(false));
        let refused = NotFrom { from: "Succeeded".to_owned(), to: State::Rejected };
        assert_eq!(decides("succeed", State::Rejected), Err(refused));
        assert!(decides("Rejected", State::Succeeded).is_err());
        assert_eq!(decides("on hold", State::Succeeded).unwrap_err().from, "on hold");
    }
}
