//! Who may review what, and what a review may say. Pure.

use shared::{
    id::Id,
    model::{CartLine, Listing, Order, Status},
};

use crate::{
    catalogue::rules::whole,
    error::{Error, FieldError},
};

/// The longest comment.
const COMMENT_MAX: usize = 5_000;

/// A review that can be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Opinion {
    pub(super) product: Id<Listing>,
    pub(super) order: Id<Order>,
    /// 1 to 5.
    pub(super) stars: u8,
    /// May be empty.
    pub(super) comment: String,
}

/// Why somebody cannot review something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CannotReview {
    /// They have no such order.
    NoSuchOrder,
    /// The order holds something else.
    NotInOrder,
    /// They did not buy it in the end.
    Cancelled,
    /// Events are not reviewed.
    AnEvent,
    /// It is no longer on sale.
    NoSuchProduct,
}

/// Reads what somebody entered.
pub(super) fn opinion(
    product: Option<&str>,
    order: Option<&str>,
    rating: Option<&str>,
    comment: Option<String>,
) -> Result<Opinion, Error> {
    let mut complaints = Vec::new();
    let mut complain = |field: &str, message: &str| {
        complaints.push(FieldError { field: field.to_owned(), message: message.to_owned() });
    };
    let product = product.and_then(|id| id.parse().ok());
    let order = order.and_then(|id| id.parse().ok());
    let stars = rating.and_then(whole).and_then(|n| u8::try_from(n).ok()).filter(|n| (1..=5).contains(n));
    let comment = comment.unwrap_or_default();
    if product.is_none() {
        complain("productId", "must be the id of a product");
    }
    if order.is_none() {
        complain("orderId", "must be the id of an order");
    }
    if stars.is_none() {
        complain("rating", "must be a whole number from 1 to 5");
    }
    if comment.chars().count() > COMMENT_MAX {
        complain("comment", &format!("must be at most {COMMENT_MAX} characters long"));
    }
    match (product, order, stars) {
        (Some(product), Some(order), Some(stars)) if complaints.is_empty() => {
            Ok(Opinion { product, order, stars, comment })
        }
        _ => Err(Error::Invalid(complaints)),
    }
}

/// Whether the buyer of an order may review something in it.
pub(super) fn may_review(
    status: Status,
    cart: &[CartLine],
    product: Id<Listing>,
) -> Result<(), CannotReview> {
    if !cart.iter().any(|line| line.id == product) {
        Err(CannotReview::NotInOrder)
    } else if status == Status::Cancelled {
        Err(CannotReview::Cancelled)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "6744a0b1c2d3e4f5a6b7c803";

    #[test]
    fn ratings_are_whole_numbers_from_1_to_5() {
        for (rating, stars) in [
            ("1", Some(1)),
            ("5", Some(5)),
            ("4.0", Some(4)),
            ("0", None),
            ("6", None),
            ("4.5", None),
            ("", None),
        ] {
            let read = opinion(Some(ID), Some(ID), Some(rating), None).ok().map(|opinion| opinion.stars);
            assert_eq!(read, stars, "{rating}");
        }
    }

    #[test]
    fn only_what_was_bought_is_reviewed() {
        let product: Id<Listing> = ID.parse().unwrap();
        let cart = [CartLine { id: product, ..CartLine::default() }];
        assert_eq!(may_review(Status::Processing, &cart, product), Ok(()));
        assert_eq!(may_review(Status::Cancelled, &cart, product), Err(CannotReview::Cancelled));
        assert_eq!(may_review(Status::Delivered, &[], product), Err(CannotReview::NotInOrder));
    }
}
