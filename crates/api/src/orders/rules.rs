//! What may happen to an order. Pure: no clock, no database.

use shared::model::{Order, Status, StockState};

/// Who wants to move an order along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// The seller sets a status of the delivery.
    Advance(Status),
    /// Buyer or seller calls it off.
    Cancel,
    /// The buyer wants the money back.
    AskRefund,
    /// The seller agrees.
    GrantRefund,
    /// The seller does not.
    RefuseRefund,
}

impl Wish {
    /// The status it leads to.
    pub const fn target(self) -> Status {
        match self {
            Self::Advance(status) => status,
            Self::Cancel => Status::Cancelled,
            Self::AskRefund => Status::RefundProcessing,
            Self::GrantRefund => Status::RefundSuccess,
            Self::RefuseRefund => Status::Delivered,
        }
    }
}

/// What happens to the units of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StockMove {
    /// They stay where they are.
    Stay,
    /// Reserved units leave the shelf and count as sold.
    Take,
    /// The same for an order of the old server, which never reserved them.
    TakeUnreserved,
    /// Reserved units are free again.
    Unreserve,
    /// Taken units are back on the shelf and no longer sold.
    PutBack,
}

/// What happens to the shop's money.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MoneyMove {
    /// Nothing.
    Stay,
    /// The shop earns the order.
    Credit,
    /// What it earned is taken back, and the buyer's payment returned.
    Reverse,
    /// The shop had earned nothing yet; the buyer's payment is returned.
    Return,
}

/// One permitted change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The status it starts from; the write is conditional on it.
    pub from: Status,
    /// The status it leads to.
    pub to: Status,
    /// The units.
    pub stock: StockMove,
    /// The money.
    pub money: MoneyMove,
}

/// The wish does not fit the order's status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotFrom {
    /// Where it stands.
    pub from: Status,
    /// Where it was to go.
    pub to: Status,
}

/// The change that a wish means; none if the order is there already.
pub fn step(order: &Order, wish: Wish) -> Result<Option<Step>, NotFrom> {
    let (from, to) = (order.status, wish.target());
    let permitted = match wish {
        Wish::Advance(_) => from < to && to <= Status::Delivered,
        Wish::Cancel => from == Status::Processing,
        Wish::AskRefund => from == Status::Delivered,
        Wish::GrantRefund | Wish::RefuseRefund => from == Status::RefundProcessing,
    };
    if !permitted {
        // Asking for the same again is harmless, unless it is the answer to a question nobody asked.
        return if from == to && wish != Wish::RefuseRefund { Ok(None) } else { Err(NotFrom { from, to }) };
    }
    Ok(Some(Step { from, to, stock: stock_move(order, to), money: money_move(order, wish) }))
}

fn stock_move(order: &Order, to: Status) -> StockMove {
    match (to, order.stock_state) {
        (Status::Cancelled, StockState::Reserved) => StockMove::Unreserve,
        (Status::RefundSuccess, StockState::Taken) => StockMove::PutBack,
        // The old server took the units at some step after the first, and said so nowhere.
        (Status::RefundSuccess, StockState::Legacy) if order.delivered_at.is_some() => StockMove::PutBack,
        (Status::RefundSuccess | Status::Cancelled | Status::RefundProcessing, _) => StockMove::Stay,
        (_, StockState::Reserved) => StockMove::Take,
        // Anybody could have a refund in process there, also of what no seller had touched yet.
        (_, StockState::Legacy) if order.status == Status::Processing || order.delivered_at.is_none() => {
            StockMove::TakeUnreserved
        }
        _ => StockMove::Stay,
    }
}

fn money_move(order: &Order, wish: Wish) -> MoneyMove {
    // The old server credited with any change of status a seller made, even to the one the order had,
    // and left the date behind.
    let credited = order.delivered_at.is_some();
    match wish {
        Wish::Advance(Status::Delivered) | Wish::RefuseRefund if !credited => MoneyMove::Credit,
        Wish::GrantRefund | Wish::Cancel if credited => MoneyMove::Reverse,
        Wish::GrantRefund | Wish::Cancel => MoneyMove::Return,
        _ => MoneyMove::Stay,
    }
}

#[cfg(test)]
mod tests {
    use shared::clock::Timestamp;

    use super::*;

    fn order(status: Status, stock_state: StockState) -> Order {
        let was_delivered =
            matches!(status, Status::Delivered | Status::RefundProcessing | Status::RefundSuccess);
        let delivered_at = was_delivered.then(|| Timestamp::from_millis(1));
        Order { status, stock_state, delivered_at, ..Order::default() }
    }

    #[test]
    fn the_delivery_goes_forward_only_and_may_skip() {
        for from in Status::ALL {
            for to in Status::ALL {
                let asked = step(&order(from, StockState::Taken), Wish::Advance(to));
                if from == to {
                    assert_eq!(asked, Ok(None), "{from:?} to {to:?}");
                } else if from < to && to <= Status::Delivered {
                    assert!(matches!(asked, Ok(Some(_))), "{from:?} to {to:?}");
                } else {
                    assert_eq!(asked, Err(NotFrom { from, to }), "{from:?} to {to:?}");
                }
            }
        }
    }

    #[test]
    fn units_leave_the_shelf_with_the_first_step_whatever_it_is() {
        for to in [Status::Transferred, Status::Shipping, Status::Delivered] {
            let step =
                step(&order(Status::Processing, StockState::Reserved), Wish::Advance(to)).unwrap().unwrap();
            assert_eq!(step.stock, StockMove::Take);
        }
        let later = step(&order(Status::Transferred, StockState::Taken), Wish::Advance(Status::Shipping));
        assert_eq!(later.unwrap().unwrap().stock, StockMove::Stay);
    }

    #[test]
    fn only_delivery_credits_the_shop() {
        let money = |to| {
            step(&order(Status::Transferred, StockState::Taken), Wish::Advance(to)).unwrap().unwrap().money
        };
        assert_eq!(money(Status::Shipping), MoneyMove::Stay);
        assert_eq!(money(Status::Delivered), MoneyMove::Credit);
    }

    #[test]
    fn a_refund_is_asked_after_delivery_and_answered_once() {
        let delivered = order(Status::Delivered, StockState::Taken);
        assert!(step(&delivered, Wish::AskRefund).unwrap().is_some());
        assert!(step(&delivered, Wish::GrantRefund).is_err());
        assert!(step(&delivered, Wish::RefuseRefund).is_err());
        let asked = order(Status::RefundProcessing, StockState::Taken);
        assert_eq!(step(&asked, Wish::AskRefund), Ok(None));
        let granted = step(&asked, Wish::GrantRefund).unwrap().unwrap();
        assert_eq!((granted.stock, granted.money), (StockMove::PutBack, MoneyMove::Reverse));
        assert_eq!(step(&order(Status::RefundSuccess, StockState::Released), Wish::GrantRefund), Ok(None));
        let refused = step(&asked, Wish::RefuseRefund).unwrap().unwrap();
        assert_eq!(
            (refused.to, refused.stock, refused.money),
            (Status::Delivered, StockMove::Stay, MoneyMove::Stay)
        );
    }

    #[test]
    fn a_legacy_order_that_no_seller_touched_was_neither_taken_nor_credited() {
        let asked = Order { delivered_at: None, ..order(Status::RefundProcessing, StockState::Legacy) };
        let granted = step(&asked, Wish::GrantRefund).unwrap().unwrap();
        assert_eq!((granted.stock, granted.money), (StockMove::Stay, MoneyMove::Return));
        let refused = step(&asked, Wish::RefuseRefund).unwrap().unwrap();
        assert_eq!((refused.stock, refused.money), (StockMove::TakeUnreserved, MoneyMove::Credit));
    }

    #[test]
    fn a_legacy_order_can_be_credited_while_it_is_in_processing() {
        let touched = Order {
            delivered_at: Some(Timestamp::from_millis(1)),
            ..order(Status::Processing, StockState::Legacy)
        };
        let cancelled = step(&touched, Wish::Cancel).unwrap().unwrap();
        assert_eq!((cancelled.stock, cancelled.money), (StockMove::Stay, MoneyMove::Reverse));
        let delivered = step(&touched, Wish::Advance(Status::Delivered)).unwrap().unwrap();
        assert_eq!((delivered.stock, delivered.money), (StockMove::TakeUnreserved, MoneyMove::Stay));
    }

    #[test]
    fn only_what_was_not_handed_over_can_be_cancelled() {
        for from in Status::ALL {
            let asked = step(&order(from, StockState::Reserved), Wish::Cancel);
            match from {
                Status::Processing => assert_eq!(asked.unwrap().unwrap().stock, StockMove::Unreserve),
                Status::Cancelled => assert_eq!(asked, Ok(None)),
                _ => assert!(asked.is_err()),
            }
        }
    }
}
