//! What a coupon takes off: pure, in whole cents.

use shared::{
    id::Id,
    model::{Coupon, Shop},
    money::{Money, Percent},
};

/// One line as a coupon sees it.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    /// The shop that sells it.
    pub shop: Id<Shop>,
    /// The listing's name: a coupon for one product knows it by name.
    pub name: &'a str,
    /// Price times count.
    pub amount: Money,
}

/// Why a coupon takes nothing off this cart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotApplicable {
    /// Nothing in the cart is of its shop, or is the product it is for.
    NoEligibleLine,
    /// The eligible lines come to less than its minimum.
    BelowMinimum(Money),
    /// They come to more than its maximum.
    AboveMaximum(Money),
    /// An old coupon whose value is no percentage above 0 and up to 100.
    Senseless,
}

/// Whether the coupon is for this line.
pub fn is_eligible(coupon: &Coupon, line: &Line<'_>) -> bool {
    line.shop == coupon.seller.id && (coupon.product_name.is_empty() || coupon.product_name == line.name)
}

/// What the coupon takes off the lines it is for.
pub fn of(coupon: &Coupon, lines: &[Line<'_>]) -> Result<Money, NotApplicable> {
    if coupon.value <= Percent::default() || coupon.value > Percent::HUNDRED {
        return Err(NotApplicable::Senseless);
    }
    let mut eligible = lines.iter().filter(|line| is_eligible(coupon, line)).peekable();
    if eligible.peek().is_none() {
        return Err(NotApplicable::NoEligibleLine);
    }
    let sum: Money = eligible.map(|line| line.amount).sum();
    if let Some(minimum) = coupon.min_amount.filter(|minimum| sum < *minimum) {
        return Err(NotApplicable::BelowMinimum(minimum));
    }
    if let Some(maximum) = coupon.max_amount.filter(|maximum| sum > *maximum) {
        return Err(NotApplicable::AboveMaximum(maximum));
    }
    Ok(sum.percent(coupon.value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cents(minor: i64) -> Money {
        Money::from_minor(minor)
    }

    fn coupon(shop: Id<Shop>) -> Coupon {
        let mut coupon = Coupon { value: Percent::whole(20), ..Coupon::default() };
        coupon.seller.id = shop;
        coupon
    }

    #[test]
    fn only_the_lines_of_its_shop_count() {
        let (ours, theirs) = (Id::new(), Id::new());
        let lines = [
            Line { shop: ours, name: "cup", amount: cents(1999) },
            Line { shop: theirs, name: "cup", amount: cents(5000) },
        ];
        assert_eq!(of(&coupon(ours), &lines), Ok(cents(400)));
        assert_eq!(of(&coupon(Id::new()), &lines), Err(NotApplicable::NoEligibleLine));
    }

    #[test]
    fn a_coupon_for_one_product_takes_off_that_product_only() {
        let shop = Id::new();
        let lines = [
            Line { shop, name: "cup", amount: cents(1000) },
            Line { shop, name: "pot", amount: cents(3000) },
        ];
        let coupon = Coupon { product_name: "pot".into(), ..coupon(shop) };
        assert_eq!(of(&coupon, &lines), Ok(cents(600)));
    }

    #[test]
    fn its_bounds_are_bounds_of_the_eligible_sum() {
        let shop = Id::new();
        let lines = [Line { shop, name: "cup", amount: cents(1000) }];
        let with = |min: i64, max: i64| Coupon {
            min_amount: Some(cents(min)),
            max_amount: Some(cents(max)),
            ..coupon(shop)
        };
        assert_eq!(of(&with(1000, 1000), &lines), Ok(cents(200)));
        assert_eq!(of(&with(1001, 2000), &lines), Err(NotApplicable::BelowMinimum(cents(1001))));
        assert_eq!(of(&with(1, 999), &lines), Err(NotApplicable::AboveMaximum(cents(999))));
    }

    #[test]
    fn an_old_coupon_without_sense_takes_nothing_off() {
        let shop = Id::new();
        let lines = [Line { shop, name: "cup", amount: cents(1000) }];
        for points in [0, -1000, 10_001] {
            let coupon = Coupon { value: Percent::from_basis_points(points), ..coupon(shop) };
            assert_eq!(of(&coupon, &lines), Err(NotApplicable::Senseless));
        }
    }
}
