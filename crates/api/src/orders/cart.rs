//! A cart as a browser sends it: which listings, and how many of each. Nothing else in it is believed.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;
use shared::{
    id::Id,
    model::{Listing, ShippingAddress, User},
    money::{Money, NotMoney},
};

use super::{
    checkout::{Means, Paid, Placement, Wanted},
    commit,
};
use crate::{
    error::{FieldError, Result},
    extract::loose,
    idempotency::Key,
    state::App,
};

/// More lines than any cart; keeps one request from locking half the catalogue.
pub(super) const MAX_LINES: usize = 200;
/// More units than any line.
pub(super) const MAX_COUNT: i64 = 10_000;

/// A whole product or event from the browser's cart, of any age. Only two fields are believed.
#[derive(Deserialize)]
pub(crate) struct CartItem {
    #[serde(rename = "_id", default)]
    id: Option<String>,
    /// Missing, null and text that is no number (event cards, the wish list) mean one.
    #[serde(default, deserialize_with = "loose")]
    count: Option<String>,
    /// For messages about listings that are gone.
    #[serde(default)]
    name: Value,
}

/// So many of a listing.
#[derive(Clone, Debug)]
pub(crate) struct WantedLine {
    pub(super) id: Id<Listing>,
    pub(super) count: i64,
    /// What the browser calls it.
    pub(super) name: String,
}

/// A cart that somebody is going to pay for.
#[derive(Clone, Debug)]
pub(crate) struct Cart {
    /// Each listing once.
    pub lines: Vec<WantedLine>,
    /// The total on the buyer's screen, where that was a number.
    pub total: Option<Money>,
    /// The coupon that was named.
    pub coupon: Option<String>,
}

/// The lines of a cart, each listing once; what cannot be read is added to the errors.
pub(crate) fn lines(items: Option<Vec<CartItem>>, errors: &mut Vec<FieldError>) -> Vec<WantedLine> {
    let mut refuse =
        |field: String, message: &str| errors.push(FieldError { field, message: message.to_owned() });
    let items = items.unwrap_or_default();
    if items.is_empty() || items.len() > MAX_LINES {
        refuse("cart".to_owned(), "must be a list of 1 to 200 items");
    }
    let mut lines: Vec<WantedLine> = Vec::new();
    for (i, item) in items.into_iter().take(MAX_LINES).enumerate() {
        let Some(id) = item.id.as_deref().and_then(|id| id.parse().ok()) else {
            refuse(format!("cart[{i}]._id"), "must be the id of a product or an event");
            continue;
        };
        let count = item.count.as_deref().map_or(Some(1), whole);
        let Some(count) = count.filter(|count| (1..=MAX_COUNT).contains(count)) else {
            refuse(format!("cart[{i}].count"), "must be a whole number from 1 to 10000");
            continue;
        };
        // The same listing on two lines is one line of their sum.
        match lines.iter_mut().find(|line| line.id == id) {
            Some(line) => line.count += count,
            None => lines.push(WantedLine {
                id,
                count,
                name: item.name.as_str().unwrap_or_default().chars().take(200).collect(),
            }),
        }
    }
    lines
}

/// The total on the buyer's screen; what is no amount is added to the errors.
pub(crate) fn total(text: Option<&str>, errors: &mut Vec<FieldError>) -> Option<Money> {
    match text.map(Money::parse) {
        None | Some(Err(NotMoney::NotANumber)) => None,
        Some(Ok(total)) if !total.is_negative() => Some(total),
        Some(_) => {
            let message = "must be an amount of money".to_owned();
            errors.push(FieldError { field: "totalPrice".to_owned(), message });
            None
        }
    }
}

/// The coupon that was named, if any.
pub(crate) fn coupon(name: Option<String>) -> Option<String> {
    name.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty())
}

/// A whole number, also as `2.0`: cart counts pass through JavaScript and text fields.
pub(super) fn whole(text: &str) -> Option<i64> {
    let minor = Money::parse_exact(text).ok()?.minor();
    (minor % 100 == 0).then_some(minor / 100)
}

/// What a checkout of this cart would cost at this moment, decided as a checkout decides it. Nothing is
/// reserved: the checkout that follows may find less, and the money goes back then.
pub(crate) async fn price(app: &App, buyer: Id<User>, cart: Cart) -> Result<Money> {
    let Cart { lines, total, coupon } = cart;
    let wanted = Wanted {
        buyer,
        lines,
        address: ShippingAddress::default(),
        total,
        coupon,
        payment: Means::OnDelivery,
        key: Key::default(),
    };
    let (config, now) = (Arc::clone(&app.config), app.clock.now());
    let placement =
        Placement { config, wanted, paid: Paid::OnDelivery, memory: None, now, request: None, trace: None };
    commit::price(&app.db, Arc::new(placement)).await
}
