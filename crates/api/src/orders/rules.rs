//! What may happen to an order. Pure: no clock, no database.

use shared::model::{Order, PaymentInfo, RefundState, Status, StockState};

use super::refunds::{self, Units};

/// Who wants to move an order along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// The seller sets a status of the delivery.
    Advance(Status),
    /// Buyer or seller calls it off.
    Cancel,
    /// Its payment never arrived.
    Expire,
    /// Its payer's bank took the payment back.
    ChargeBack,
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
            Self::Cancel | Self::Expire | Self::ChargeBack => Status::Cancelled,
            Self::AskRefund => Status::RefundProcessing,
            Self::GrantRefund => Status::RefundSuccess,
            Self::RefuseRefund => Status::Delivered,
        }
    }
}

impl Wish {
    /// Whether it is about what an open dispute is about.
    pub const fn is_about_money_back(self) -> bool {
        matches!(self, Self::Cancel | Self::AskRefund | Self::GrantRefund | Self::RefuseRefund)
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
    /// The units of the step are back on the shelf and no longer sold.
    PutBack,
}

/// What happens to the shop's money.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MoneyMove {
    /// Nothing.
    Stay,
    /// The shop earns the order.
    Credit,
    /// What it earned with the units of the step is taken back, and the buyer's payment returned.
    Reverse,
    /// The shop had earned nothing yet; the buyer's payment for the units is returned.
    Return,
}

/// One permitted change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The status it starts from; the write is conditional on it.
    pub from: Status,
    /// The status it leads to.
    pub to: Status,
    /// The units.
    pub stock: StockMove,
    /// The money.
    pub money: MoneyMove,
    /// The units that come back with this step; empty where none do.
    pub back: Vec<Units>,
}

/// The wish does not fit the order's status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotFrom {
    /// Where it stands.
    pub from: Status,
    /// Where it was to go.
    pub to: Status,
}

/// The change that a wish means; none if it has happened already.
pub fn step(order: &Order, wish: Wish) -> Result<Option<Step>, NotFrom> {
    let from = order.status;
    let permitted = match wish {
        Wish::Advance(to) => from < to && to <= Status::Delivered,
        Wish::Cancel | Wish::ChargeBack => from == Status::Processing,
        Wish::Expire => from == Status::Processing && refunds::awaits_payment(order),
        Wish::AskRefund => from == Status::Delivered,
        Wish::GrantRefund | Wish::RefuseRefund => from == Status::RefundProcessing,
    };
    if !permitted {
        return if has_happened(order, wish) { Ok(None) } else { Err(NotFrom { from, to: wish.target() }) };
    }
    let back = match wish {
        Wish::GrantRefund => refunds::asked(order),
        Wish::Cancel | Wish::Expire | Wish::ChargeBack => refunds::left(order),
        _ => Vec::new(),
    };
    let to = match wish {
        // What the buyer keeps stays delivered, and can be refunded later.
        Wish::GrantRefund if !refunds::is_all_that_is_left(order, &back) => Status::Delivered,
        _ => wish.target(),
    };
    let (stock, money) = (stock_move(order, wish, to), money_move(order, wish));
    Ok(Some(Step { from, to, stock, money, back }))
}

/// Asking for the same again is harmless, unless it is the answer to a question nobody asked.
fn has_happened(order: &Order, wish: Wish) -> bool {
    let last_refund = order.refunds.last().map(|refund| refund.state);
    match wish {
        Wish::GrantRefund if order.status == Status::Delivered => last_refund == Some(RefundState::Granted),
        Wish::RefuseRefund => order.status == Status::Delivered && last_refund == Some(RefundState::Refused),
        _ => order.status == wish.target(),
    }
}

/// Whether the payer's bank is in between: as long as it may take the money back, or has, it must not go
/// back a second time.
pub fn is_up_to_the_bank(order: &Order, wish: Wish) -> bool {
    let status = order.payment.as_ref().and_then(|payment| payment.status.as_deref());
    match status {
        Some(PaymentInfo::DISPUTED) => matches!(wish, Wish::Cancel | Wish::GrantRefund),
        Some(PaymentInfo::CHARGED_BACK) => {
            matches!(wish, Wish::Cancel | Wish::AskRefund | Wish::GrantRefund)
        }
        _ => false,
    }
}

/// The refund that a shop means is not the one that waits for its decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotPending {
    /// The one it means.
    pub number: i64,
    /// What became of it; nothing if there is none such.
    pub state: Option<RefundState>,
}

/// Whether the refund of this number has been decided just so. A request that comes late must not
/// decide about another refund than the one that its sender saw.
pub fn is_decided(order: &Order, wish: Wish, number: i64) -> Result<bool, NotPending> {
    let place = usize::try_from(number).ok().and_then(|number| number.checked_sub(1));
    let state = place.and_then(|place| order.refunds.get(place)).map(|refund| refund.state);
    match (state, wish) {
        (Some(RefundState::Asked), _) => Ok(false),
        (Some(RefundState::Granted), Wish::GrantRefund)
        | (Some(RefundState::Refused), Wish::RefuseRefund) => Ok(true),
        (state, _) => Err(NotPending { number, state }),
    }
}

/// What happens to the units of an order that come back from the buyer.
pub fn put_back(order: &Order) -> StockMove {
    stock_move(order, Wish::GrantRefund, Status::RefundSuccess)
}

fn stock_move(order: &Order, wish: Wish, to: Status) -> StockMove {
    if wish == Wish::GrantRefund {
        return match order.stock_state {
            StockState::Taken => StockMove::PutBack,
            // The old server took the units at some step after the first, and said so nowhere.
            StockState::Legacy if order.delivered_at.is_some() => StockMove::PutBack,
            _ => StockMove::Stay,
        };
    }
    match (to, order.stock_state) {
        (Status::Cancelled, StockState::Reserved) => StockMove::Unreserve,
        (Status::Cancelled | Status::RefundProcessing, _) => StockMove::Stay,
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
        // The bank has returned the money already.
        Wish::ChargeBack => MoneyMove::Stay,
        Wish::GrantRefund | Wish::Cancel | Wish::Expire if credited => MoneyMove::Reverse,
        Wish::GrantRefund | Wish::Cancel | Wish::Expire => MoneyMove::Return,
        _ => MoneyMove::Stay,
    }
}

#[cfg(test)]
mod tests {
    use shared::{
        clock::Timestamp,
        id::Id,
        model::{CartLine, Refund, RefundItem},
    };

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

    #[test]
    fn a_refund_of_some_units_leaves_the_order_delivered_until_the_last_comes_back() {
        let id = Id::new();
        let cart = vec![CartLine { id, count: 3, ..CartLine::default() }];
        let asked = |count, refunded| {
            let mut order =
                Order { cart: cart.clone(), ..order(Status::RefundProcessing, StockState::Taken) };
            order.cart[0].refunded = refunded;
            order.refunds.push(Refund { items: vec![RefundItem { id, count }], ..Refund::default() });
            step(&order, Wish::GrantRefund).unwrap().unwrap()
        };
        let first = asked(1, 0);
        assert_eq!(
            (first.to, first.stock, first.money),
            (Status::Delivered, StockMove::PutBack, MoneyMove::Reverse)
        );
        assert_eq!(first.back, [Units { line: 0, count: 1 }]);
        assert_eq!(asked(2, 1).to, Status::RefundSuccess);
    }

    #[test]
    fn an_answer_that_was_given_can_be_given_again_and_the_other_one_cannot() {
        let answered = |state| {
            let mut order = order(Status::Delivered, StockState::Taken);
            order.refunds.push(Refund { state, ..Refund::default() });
            order
        };
        let granted = answered(RefundState::Granted);
        assert_eq!(step(&granted, Wish::GrantRefund), Ok(None));
        assert!(step(&granted, Wish::RefuseRefund).is_err());
        let refused = answered(RefundState::Refused);
        assert_eq!(step(&refused, Wish::RefuseRefund), Ok(None));
        assert!(step(&refused, Wish::GrantRefund).is_err());
    }

    #[test]
    fn only_what_was_to_be_paid_online_and_was_not_expires() {
        let unpaid = |kind: &str, status: Option<&str>| {
            let payment = PaymentInfo {
                kind: Some(kind.to_owned()),
                status: status.map(str::to_owned),
                id: Some("x".to_owned()),
            };
            let order = Order { payment: Some(payment), ..order(Status::Processing, StockState::Reserved) };
            step(&order, Wish::Expire)
        };
        assert_eq!(unpaid("Paypal", Some("unverified")).unwrap().unwrap().stock, StockMove::Unreserve);
        assert!(unpaid("Credit Card", None).is_ok());
        assert!(unpaid("Paypal", Some("succeeded")).is_err());
        assert!(unpaid("Cash on Delivery", None).is_err());
        assert!(step(&order(Status::Shipping, StockState::Taken), Wish::Expire).is_err());
    }

    #[test]
    fn what_is_up_to_the_bank_is_up_to_nobody_else() {
        let with = |status: &str| {
            let payment = PaymentInfo { status: Some(status.to_owned()), ..PaymentInfo::default() };
            Order { payment: Some(payment), ..order(Status::Delivered, StockState::Taken) }
        };
        let all = [Wish::Cancel, Wish::AskRefund, Wish::GrantRefund, Wish::RefuseRefund, Wish::ChargeBack];
        let forbidden = |status| all.map(|wish| is_up_to_the_bank(&with(status), wish));
        assert_eq!(forbidden(PaymentInfo::SUCCEEDED), [false; 5]);
        assert_eq!(forbidden(PaymentInfo::DISPUTED), [true, false, true, false, false]);
        assert_eq!(forbidden(PaymentInfo::CHARGED_BACK), [true, true, true, false, false]);
    }

    #[test]
    fn what_the_bank_took_back_frees_the_units_and_returns_nothing() {
        let waiting = order(Status::Processing, StockState::Reserved);
        let step = step(&waiting, Wish::ChargeBack).unwrap().unwrap();
        assert_eq!(
            (step.to, step.stock, step.money),
            (Status::Cancelled, StockMove::Unreserve, MoneyMove::Stay)
        );
        let on_its_way = order(Status::Shipping, StockState::Taken);
        assert!(super::step(&on_its_way, Wish::ChargeBack).is_err());
    }
}
