//! What a refund is about and what it comes to. Pure, and without a residue: however an order's units
//! come back, in the end exactly what was paid has gone back, and exactly what was earned was taken
//! back.

use shared::{
    id::Id,
    model::{Listing, Order, PaymentInfo, Refund, RefundItem, RefundState},
    money::Money,
};

/// Units of one line of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Units {
    /// The line, by its position in the order.
    pub line: usize,
    /// At least one.
    pub count: i64,
}

/// Why units cannot be refunded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotRefundable {
    /// The order has no line of this listing.
    NotInOrder(Id<Listing>),
    /// More than has not been refunded yet.
    TooMany {
        /// What it is.
        name: String,
        /// How many were asked for.
        asked: i64,
        /// How many there are to refund.
        left: i64,
    },
}

/// All units that have not been refunded.
pub fn left(order: &Order) -> Vec<Units> {
    let lines = order.cart.iter().enumerate();
    lines
        .map(|(line, of)| Units { line, count: of.count - of.refunded })
        .filter(|units| units.count > 0)
        .collect()
}

/// The units that a buyer names.
pub fn named(order: &Order, items: &[RefundItem]) -> Result<Vec<Units>, NotRefundable> {
    let mut units = Vec::new();
    let mut remaining = left(order);
    for item in items {
        let of_listing = |units: &Units| order.cart.get(units.line).is_some_and(|line| line.id == item.id);
        let Some(line) = order.cart.iter().find(|line| line.id == item.id) else {
            return Err(NotRefundable::NotInOrder(item.id));
        };
        let left = remaining.iter().filter(|units| of_listing(units)).map(|units| units.count).sum();
        if item.count > left {
            return Err(NotRefundable::TooMany { name: line.name.clone(), asked: item.count, left });
        }
        // Old carts may hold one listing on several lines; then a request may name it several times.
        let mut wanted = item.count;
        for part in remaining.iter_mut().filter(|units| of_listing(units)) {
            let count = part.count.min(wanted);
            if count > 0 {
                units.push(Units { line: part.line, count });
                part.count -= count;
                wanted -= count;
            }
        }
    }
    Ok(by_line(units))
}

/// In the order of the lines, each line once.
fn by_line(mut units: Vec<Units>) -> Vec<Units> {
    units.sort_by_key(|units| units.line);
    units.dedup_by(|more, of| {
        let same = more.line == of.line;
        if same {
            of.count += more.count;
        }
        same
    });
    units
}

/// The request that the shop has not decided yet. Orders of the old server have none, also where one
/// is in process.
pub fn pending(order: &Order) -> Option<&Refund> {
    order.refunds.last().filter(|refund| refund.state == RefundState::Asked)
}

/// The units of the request in process; without a record of it, all that are left.
pub fn asked(order: &Order) -> Vec<Units> {
    match pending(order) {
        // One that was damaged since gives nothing back rather than everything; it can be asked for again.
        Some(refund) => named(order, &refund.items).unwrap_or_default(),
        None => left(order),
    }
}

/// Whether nothing remains with the buyer when these units are back.
pub fn is_all_that_is_left(order: &Order, units: &[Units]) -> bool {
    left(order) == units
}

/// Units as they are kept with a request.
pub fn items(order: &Order, units: &[Units]) -> Vec<RefundItem> {
    let item = |units: &Units| Some(RefundItem { id: order.cart.get(units.line)?.id, count: units.count });
    units.iter().filter_map(item).collect()
}

/// What the buyer gets back for units of an order that cost `value` in all.
///
/// Each line's share of it is returned in proportion to its units, in whole cents, such that the last
/// unit brings whatever the others left.
pub fn amount(order: &Order, value: Money, units: &[Units]) -> Money {
    let shares = shares(order, value);
    let of = |units: &Units| {
        let (line, share) = (order.cart.get(units.line)?, *shares.get(units.line)?);
        let then = line.refunded + units.count;
        Some(share.first(then, line.count) - share.first(line.refunded, line.count))
    };
    // What went back beside the units, after a dispute, is not given a second time.
    units.iter().filter_map(of).sum::<Money>().min(value - returned(order))
}

/// What of an order's value is for each line. Old lines do not say; there it goes by the prices.
fn shares(order: &Order, value: Money) -> Vec<Money> {
    let paid: Option<Vec<Money>> = order.cart.iter().map(|line| line.paid).collect();
    paid.filter(|paid| paid.iter().copied().sum::<Money>() == value).unwrap_or_else(|| {
        let price = |line: &shared::model::CartLine| line.price.times(line.count).max(Money::ZERO);
        value.split(&order.cart.iter().map(price).collect::<Vec<_>>())
    })
}

/// What has gone back to the buyer so far.
pub fn returned(order: &Order) -> Money {
    granted(order).map(|refund| refund.amount).sum()
}

/// The refunds that were granted, oldest first.
pub fn granted(order: &Order) -> impl Iterator<Item = &Refund> {
    order.refunds.iter().filter(|refund| refund.state == RefundState::Granted)
}

/// What the marketplace gives up of its `fee` when `amount` goes back of an order's `value`, of which
/// `before` has gone back already. The shop gives up the rest.
pub fn fee_back(fee: Money, value: Money, before: Money, amount: Money) -> Money {
    fee.first((before + amount).minor(), value.minor()) - fee.first(before.minor(), value.minor())
}

/// Whether it was to be paid online, and nobody knows that it was.
pub fn awaits_payment(order: &Order) -> bool {
    order.payment.as_ref().is_some_and(|payment| {
        payment.kind.as_deref() != Some(PaymentInfo::ON_DELIVERY)
            && !payment.status.as_deref().is_some_and(PaymentInfo::was_paid)
    })
}

#[cfg(test)]
mod tests {
    use shared::model::CartLine;

    use super::*;

    fn order(lines: &[(i64, i64, i64)]) -> Order {
        let line = |(price, count, paid): &(i64, i64, i64)| CartLine {
            id: Id::new(),
            price: Money::from_minor(*price),
            count: *count,
            paid: Some(Money::from_minor(*paid)),
            ..CartLine::default()
        };
        let cart: Vec<CartLine> = lines.iter().map(line).collect();
        let total = cart.iter().filter_map(|line| line.paid).sum();
        Order { cart, total, ..Order::default() }
    }

    fn give_back(order: &mut Order, units: &[Units]) -> Money {
        let amount = amount(order, order.total, units);
        for units in units {
            order.cart[units.line].refunded += units.count;
        }
        let (state, items) = (RefundState::Granted, items(order, units));
        order.refunds.push(Refund { amount, state, items, ..Refund::default() });
        amount
    }

    #[test]
    fn a_buyer_gets_back_what_the_line_cost_and_the_last_unit_brings_the_rest() {
        let mut order = order(&[(333, 3, 1000), (1000, 1, 1101)]);
        let cup = order.cart[0].id;
        let one_cup = named(&order, &[RefundItem { id: cup, count: 1 }]).unwrap();
        assert_eq!(give_back(&mut order, &one_cup).minor(), 333);
        assert_eq!(give_back(&mut order, &one_cup).minor(), 333);
        assert!(!is_all_that_is_left(&order, &one_cup));
        assert_eq!(give_back(&mut order, &one_cup).minor(), 334);
        let too_many = named(&order, &[RefundItem { id: cup, count: 1 }]);
        assert!(matches!(too_many, Err(NotRefundable::TooMany { asked: 1, left: 0, .. })));
        let rest = left(&order);
        assert_eq!(rest, [Units { line: 1, count: 1 }]);
        assert_eq!(give_back(&mut order, &rest).minor(), 1101);
        assert_eq!(returned(&order), order.total);
        assert_eq!(
            named(&order, &[RefundItem { id: Id::nil(), count: 1 }]),
            Err(NotRefundable::NotInOrder(Id::nil()))
        );
    }

    #[test]
    fn an_order_that_does_not_say_what_each_line_cost_is_divided_by_the_prices() {
        let mut order = order(&[(1000, 2, 0), (500, 1, 0)]);
        for line in &mut order.cart {
            line.paid = None;
        }
        let value = Money::from_minor(2751);
        assert_eq!(amount(&order, value, &[Units { line: 1, count: 1 }]).minor(), 551);
        assert_eq!(amount(&order, value, &left(&order)), value);
    }

    #[test]
    fn whatever_the_order_of_the_units_nothing_is_left_over_and_nobody_pays_twice() {
        let mut seed = 11u64;
        let mut random = |below: i64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            i64::try_from(seed >> 33).unwrap() % below
        };
        for _ in 0..3000 {
            let lines: Vec<(i64, i64, i64)> =
                (0..=random(4)).map(|_| (1 + random(9999), 1 + random(7), random(60_000))).collect();
            let mut order = order(&lines);
            let fee = order.total.percent(shared::money::Percent::from_basis_points(random(10_001)));
            let (mut fees_back, mut earnings_back) = (Money::ZERO, Money::ZERO);
            while !left(&order).is_empty() {
                let there = left(&order);
                let mut units: Vec<Units> = there
                    .iter()
                    .map(|units| Units { count: random(units.count + 1), ..*units })
                    .filter(|units| units.count > 0)
                    .collect();
                if units.is_empty() {
                    units = there;
                }
                let before = returned(&order);
                let amount = give_back(&mut order, &units);
                let back = fee_back(fee, order.total, before, amount);
                assert!(!amount.is_negative() && !back.is_negative() && back <= amount, "{order:?}");
                fees_back += back;
                earnings_back += amount - back;
            }
            assert_eq!(returned(&order), order.total);
            assert_eq!((fees_back, earnings_back), (fee, order.total - fee));
        }
    }
}
