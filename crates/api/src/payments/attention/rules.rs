//! What an administrator may decide about a payment.

use shared::model::{Payment, Settled};

/// Why a decision cannot be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// The other decision was taken before.
    Settled(Settled),
    /// There is nothing to decide.
    NothingToDecide,
    /// It has paid for orders: those can be refunded.
    Used,
    /// All of it goes back already.
    GoesBack,
}

/// Whether a decision changes anything; the one that was taken before does not, unless something else has come
/// up since.
pub(super) fn decides(payment: &Payment, decision: Settled) -> Result<bool, Refused> {
    if payment.attention.is_none() {
        return match payment.settled_as {
            Some(before) if before == decision => Ok(false),
            Some(before) => Err(Refused::Settled(before)),
            None => Err(Refused::NothingToDecide),
        };
    }
    match (decision, payment.checkout_id.as_deref()) {
        (Settled::Keep, _) | (Settled::Return, None) => Ok(true),
        (Settled::Return, Some("")) => Err(Refused::GoesBack),
        (Settled::Return, Some(_)) => Err(Refused::Used),
    }
}

#[cfg(test)]
mod tests {
    use shared::{clock::Timestamp, model::Attention, money::Money};

    use super::*;

    fn payment(checkout: Option<&str>) -> Payment {
        let at = Timestamp::from_millis(0);
        Payment {
            attention: Some(Attention::Unclaimed),
            checkout_id: checkout.map(str::to_owned),
            ..Payment::new("pi".to_owned(), "stripe".to_owned(), Money::from_minor(100), at)
        }
    }

    #[test]
    fn what_is_used_or_goes_back_can_be_kept_only() {
        for (checkout, returned) in
            [(None, Ok(true)), (Some(""), Err(Refused::GoesBack)), (Some("c"), Err(Refused::Used))]
        {
            assert_eq!(decides(&payment(checkout), Settled::Return), returned);
            assert_eq!(decides(&payment(checkout), Settled::Keep), Ok(true));
        }
    }

    #[test]
    fn a_decision_is_taken_once_and_where_there_is_something_to_decide() {
        for (first, other) in [(Settled::Keep, Settled::Return), (Settled::Return, Settled::Keep)] {
            let settled = Payment { settled_as: Some(first), attention: None, ..payment(None) };
            assert_eq!(decides(&settled, first), Ok(false));
            assert_eq!(decides(&settled, other), Err(Refused::Settled(first)));
            let calm = Payment { attention: None, ..payment(None) };
            assert_eq!(decides(&calm, first), Err(Refused::NothingToDecide));
            // The refund that was decided failed at the gateway.
            let why = Some(Attention::ReturnFailed);
            let again = Payment { attention: why, checkout_id: Some(String::new()), ..settled };
            assert_eq!(decides(&again, Settled::Keep), Ok(true));
            assert_eq!(decides(&again, Settled::Return), Err(Refused::GoesBack));
        }
    }
}
