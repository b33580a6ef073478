//! When a dispute may be opened, and how it may end. Pure.

use shared::{
    model::{CaseSide, CaseState, Order, PaymentInfo, Status},
    money::Money,
};

use crate::orders::refunds;

/// An order that was disputed so often is settled some other way.
const MOST: usize = 5;

/// Why no dispute may be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotOpenable {
    /// There is an open one.
    Open,
    /// An administrator has decided about this order.
    Decided,
    /// It has had so many.
    TooMany,
    /// It can still be called off.
    CanBeCancelled,
    /// It is cancelled, or all of its money is back.
    Over,
    /// The payer's bank decides, or has decided.
    UpToBank,
    /// Nobody has paid for it yet, as far as is known.
    NotPaid,
    /// An order of the old server that does not say whose it is.
    NobodyKnown,
}

/// Whether a dispute may be opened, with those that there were before, of whose money so much is left.
pub(super) fn may_open(order: &Order, earlier: &[CaseState], left: Money) -> Result<(), NotOpenable> {
    if order.open_case.is_some() || earlier.contains(&CaseState::Open) {
        return Err(NotOpenable::Open);
    }
    if earlier.iter().any(|state| matches!(state, CaseState::Refunded | CaseState::Released)) {
        return Err(NotOpenable::Decided);
    }
    if earlier.len() >= MOST {
        return Err(NotOpenable::TooMany);
    }
    match order.status {
        Status::Processing => return Err(NotOpenable::CanBeCancelled),
        Status::Cancelled | Status::RefundSuccess => return Err(NotOpenable::Over),
        _ if left <= Money::ZERO => return Err(NotOpenable::Over),
        _ => {}
    }
    let payment = order.payment.as_ref();
    match payment.and_then(|payment| payment.status.as_deref()) {
        Some(PaymentInfo::DISPUTED | PaymentInfo::CHARGED_BACK) => return Err(NotOpenable::UpToBank),
        Some(PaymentInfo::REFUNDED) => return Err(NotOpenable::Over),
        _ => {}
    }
    let is_cash = payment.is_none_or(|payment| payment.kind.as_deref() == Some(PaymentInfo::ON_DELIVERY));
    if refunds::awaits_payment(order) || (is_cash && order.delivered_at.is_none()) {
        return Err(NotOpenable::NotPaid);
    }
    Ok(())
}

/// How a dispute is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// This side agrees to what the other wants.
    Accept(CaseSide),
    /// This side takes back what it has opened.
    Withdraw(CaseSide),
    /// An administrator gives so much back to the buyer; what was wanted, if nothing is said.
    Refund(Option<Money>),
    /// An administrator leaves the money with the shop.
    Release,
}

/// What comes of an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    pub state: CaseState,
    /// What goes back to the buyer.
    pub back: Money,
}

/// Why a dispute cannot end so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotEnding {
    /// It has ended otherwise.
    Ended(CaseState),
    /// Nobody agrees with oneself.
    OwnWish,
    /// Only whoever has opened it can take it back.
    NotYoursToWithdraw,
    /// More than is left of the order's money.
    TooMuch(Money),
}

/// How a dispute stands, as far as it matters here.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stands {
    pub state: CaseState,
    pub opened_by: CaseSide,
    pub wanted: Money,
    /// What went back.
    pub returned: Money,
    /// What of the order's money is left.
    pub left: Money,
}

/// What an end means; nothing if it has ended just so.
pub(super) fn ends(stands: Stands, end: End) -> Result<Option<Outcome>, NotEnding> {
    match end {
        End::Accept(side) if side == stands.opened_by => return Err(NotEnding::OwnWish),
        End::Withdraw(side) if side != stands.opened_by => return Err(NotEnding::NotYoursToWithdraw),
        _ => {}
    }
    let outcome = match end {
        End::Accept(_) => Outcome { state: CaseState::Accepted, back: stands.wanted },
        End::Withdraw(_) => Outcome { state: CaseState::Withdrawn, back: Money::ZERO },
        End::Refund(amount) => Outcome { state: CaseState::Refunded, back: amount.unwrap_or(stands.wanted) },
        End::Release => Outcome { state: CaseState::Released, back: Money::ZERO },
    };
    if stands.state != CaseState::Open {
        let same = stands.state == outcome.state && stands.returned == outcome.back;
        return if same { Ok(None) } else { Err(NotEnding::Ended(stands.state)) };
    }
    if outcome.back > stands.left {
        return Err(NotEnding::TooMuch(stands.left));
    }
    Ok(Some(outcome))
}

#[cfg(test)]
mod tests {
    use shared::model::CartLine;

    use super::*;

    fn order(status: Status, kind: &str, paid: Option<&str>) -> Order {
        let payment = PaymentInfo { id: None, status: paid.map(str::to_owned), kind: Some(kind.to_owned()) };
        let delivered = status >= Status::Delivered && status < Status::Cancelled;
        Order {
            cart: vec![CartLine::default()],
            status,
            payment: Some(payment),
            delivered_at: delivered.then(|| shared::id::Id::<Order>::nil().made_at()),
            ..Order::default()
        }
    }

    const LEFT: Money = Money::from_minor(1000);
    const CARD: &str = "Credit Card";
    const PAID: Option<&str> = Some(PaymentInfo::SUCCEEDED);

    #[test]
    fn it_takes_money_that_was_paid_and_may_yet_go_back() {
        let may = |order: &Order| may_open(order, &[], LEFT);
        assert_eq!(may(&order(Status::Shipping, CARD, PAID)), Ok(()));
        assert_eq!(may(&order(Status::Delivered, PaymentInfo::ON_DELIVERY, PAID)), Ok(()));
        assert_eq!(may(&order(Status::RefundProcessing, CARD, PAID)), Ok(()));
        assert_eq!(may(&order(Status::Processing, CARD, PAID)), Err(NotOpenable::CanBeCancelled));
        for over in [Status::Cancelled, Status::RefundSuccess] {
            assert_eq!(may(&order(over, CARD, PAID)), Err(NotOpenable::Over));
        }
        let cash_on_its_way = order(Status::Shipping, PaymentInfo::ON_DELIVERY, None);
        assert_eq!(may(&cash_on_its_way), Err(NotOpenable::NotPaid));
        let claimed = order(Status::Delivered, "Paypal", Some(PaymentInfo::UNVERIFIED));
        assert_eq!(may(&claimed), Err(NotOpenable::NotPaid));
        for bank in [PaymentInfo::DISPUTED, PaymentInfo::CHARGED_BACK] {
            assert_eq!(may(&order(Status::Delivered, CARD, Some(bank))), Err(NotOpenable::UpToBank));
        }
        let delivered = order(Status::Delivered, CARD, PAID);
        assert_eq!(may_open(&delivered, &[], Money::ZERO), Err(NotOpenable::Over));
    }

    #[test]
    fn what_was_before_counts() {
        let delivered = order(Status::Delivered, CARD, PAID);
        for decided in [CaseState::Refunded, CaseState::Released] {
            assert_eq!(may_open(&delivered, &[decided], LEFT), Err(NotOpenable::Decided));
        }
        let again = [CaseState::Withdrawn, CaseState::Accepted, CaseState::Bank, CaseState::Withdrawn];
        assert_eq!(may_open(&delivered, &again, LEFT), Ok(()));
        assert_eq!(may_open(&delivered, &[CaseState::Withdrawn; 5], LEFT), Err(NotOpenable::TooMany));
        let open = Order { open_case: Some("x".to_owned()), ..delivered };
        assert_eq!(may_open(&open, &[], LEFT), Err(NotOpenable::Open));
    }

    #[test]
    fn it_ends_once_and_for_whom_it_may() {
        let wanted = Money::from_minor(400);
        let stands = Stands {
            state: CaseState::Open,
            opened_by: CaseSide::Buyer,
            wanted,
            returned: Money::ZERO,
            left: LEFT,
        };
        let refund = |back| Ok(Some(Outcome { state: CaseState::Refunded, back }));
        assert_eq!(ends(stands, End::Refund(None)), refund(wanted));
        assert_eq!(ends(stands, End::Refund(Some(LEFT))), refund(LEFT));
        let more = LEFT + Money::from_minor(1);
        assert_eq!(ends(stands, End::Refund(Some(more))), Err(NotEnding::TooMuch(LEFT)));
        assert_eq!(ends(stands, End::Accept(CaseSide::Buyer)), Err(NotEnding::OwnWish));
        assert_eq!(ends(stands, End::Withdraw(CaseSide::Seller)), Err(NotEnding::NotYoursToWithdraw));
        let accepted = Outcome { state: CaseState::Accepted, back: wanted };
        assert_eq!(ends(stands, End::Accept(CaseSide::Seller)), Ok(Some(accepted)));
        let ended = Stands { state: CaseState::Accepted, returned: wanted, ..stands };
        assert_eq!(ends(ended, End::Accept(CaseSide::Seller)), Ok(None));
        assert_eq!(ends(ended, End::Release), Err(NotEnding::Ended(CaseState::Accepted)));
        let refunded = Stands { state: CaseState::Refunded, returned: wanted, ..stands };
        assert_eq!(ends(refunded, End::Refund(Some(LEFT))), Err(NotEnding::Ended(CaseState::Refunded)));
    }
}
