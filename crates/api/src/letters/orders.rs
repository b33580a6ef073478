//! Letters about orders and refunds.

use shared::{
    model::{CancelledBy, Order, PaymentInfo, Refund, RefundState, Status},
    money::Money,
};

use super::Letter;

/// Whom a letter about an order goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Whoever placed it.
    Buyer,
    /// Whoever delivers it.
    Shop,
}

/// How a letter names an order's lines: no more than so many.
const LINES: usize = 20;

fn page(order: &Order, role: Role, frontend: &str) -> String {
    match role {
        Role::Buyer => format!("{frontend}/user/order/{}", order.id),
        Role::Shop => format!("{frontend}/order/{}", order.id),
    }
}

/// What was bought, each thing with how many and what for.
fn lines(order: &Order) -> Vec<(String, String)> {
    let line = |line: &shared::model::CartLine| {
        (format!("{} × {}", line.count, line.name), line.price.times(line.count).to_string())
    };
    let mut lines: Vec<_> = order.cart.iter().take(LINES).map(line).collect();
    let more = order.cart.len().saturating_sub(LINES);
    if more > 0 {
        lines.push((format!("and {more} more"), String::new()));
    }
    lines
}

fn paid_by(order: &Order) -> String {
    order.payment.as_ref().and_then(|payment| payment.kind.clone()).unwrap_or_default()
}

/// To a buyer, about a whole checkout.
pub(crate) fn placed(orders: &[Order], currency: &str, frontend: &str) -> Letter {
    let total: Money = orders.iter().map(|order| order.total).sum();
    let mut letter = Letter::about("We have your order")
        .say(format!("Thank you. Your order of {total} {currency} is with the shops that deliver it."));
    for order in orders {
        let facts = lines(order).into_iter().chain([
            ("Total".to_owned(), format!("{} {currency}", order.total)),
            ("Paid by".to_owned(), paid_by(order)),
        ]);
        letter = letter.facts(facts).link("The order", page(order, Role::Buyer, frontend));
    }
    letter
}

/// To a shop, about what it has sold.
pub(crate) fn sold(order: &Order, currency: &str, frontend: &str) -> Letter {
    let buyer = order.user.as_ref().map(|user| user.name.as_str()).unwrap_or_default();
    let total = format!("{} {currency}", order.total);
    let facts = lines(order).into_iter().chain([
        ("Total".to_owned(), total.clone()),
        ("Paid by".to_owned(), paid_by(order)),
        ("Buyer".to_owned(), buyer.to_owned()),
    ]);
    Letter::about(format!("A new order of {total}"))
        .say("You have sold something. Please hand it over to the delivery partner.")
        .facts(facts)
        .link("The order, with the address", page(order, Role::Shop, frontend))
}

/// To a buyer, about how far an order has come.
pub(crate) fn moved(order: &Order, to: Status, frontend: &str) -> Letter {
    let (subject, said) = match to {
        Status::Delivered => (
            "Your order was delivered".to_owned(),
            "Your order is with you. If anything is wrong with it, ask for your money back on the order's page.",
        ),
        _ => (format!("Your order: {}", to.text()), "Your order is on its way to you."),
    };
    Letter::about(subject)
        .say(said)
        .facts([("Order", order.id.hex()), ("Status", to.text().to_owned())])
        .facts(lines(order))
        .link("The order", page(order, Role::Buyer, frontend))
}

/// How an order was called off.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cancelled {
    /// By whom.
    pub by: CancelledBy,
    /// Money that was paid goes back.
    pub is_returned: bool,
}

/// To one of the two, about an order that was called off.
pub(crate) fn cancelled(order: &Order, how: Cancelled, role: Role, frontend: &str) -> Letter {
    let by = match (how.by, role) {
        (CancelledBy::Buyer, Role::Buyer) | (CancelledBy::Shop, Role::Shop) => "You have called it off.",
        (CancelledBy::Buyer, Role::Shop) => "The buyer has called it off.",
        (CancelledBy::Shop, Role::Buyer) => "The shop has called it off.",
        (CancelledBy::Unpaid, _) => "Its payment never arrived.",
        (CancelledBy::Bank, _) => "The bank has taken the payment back.",
    };
    let money = match role {
        Role::Buyer if how.is_returned => " The money goes back the way it came.",
        Role::Buyer => "",
        Role::Shop => " Please do not send it; its goods are on sale again.",
    };
    Letter::about("An order is cancelled")
        .say(format!("{by}{money}"))
        .facts([("Order", order.id.hex()), ("Total", order.total.to_string())])
        .facts(lines(order))
        .link("The order", page(order, role, frontend))
}

/// To a buyer whose payment nobody could confirm: whoever has paid all the same must not learn by chance that the order
/// is cancelled.
pub(crate) fn expired(order: &Order) -> Letter {
    let payment = order.payment.as_ref().and_then(|payment: &PaymentInfo| payment.id.as_deref());
    let payment = payment.unwrap_or("none");
    Letter::about("Your order is cancelled: its payment never arrived")
        .say(format!(
            "Nobody could confirm a payment for your order {} of {}, so it is cancelled and the goods are on sale \
             again.",
            order.id, order.total,
        ))
        .say(format!(
            "If you have paid, please answer this mail: the payment that you named is {payment}."
        ))
}

fn what(order: &Order, refund: &Refund) -> Vec<(String, String)> {
    let name = |id| order.cart.iter().find(|line| line.id == id).map(|line| line.name.as_str());
    let items = refund
        .items
        .iter()
        .filter_map(|item| Some((format!("{} × {}", item.count, name(item.id)?), String::new())));
    items.take(LINES).collect()
}

/// To a shop, about a buyer who wants money back.
pub(crate) fn refund_asked(order: &Order, refund: &Refund, currency: &str, frontend: &str) -> Letter {
    Letter::about(format!("A buyer wants {} {currency} back", refund.amount))
        .say("The buyer of one of your orders wants money back. Please agree to it, or say that you do not.")
        .facts([("Order", order.id.hex()), ("Amount", format!("{} {currency}", refund.amount))])
        .facts(what(order, refund))
        .quote(refund.reason.as_deref())
        .link("Your refunds", format!("{frontend}/dashboard-refunds"))
}

/// To a buyer, about what the shop said to that.
pub(crate) fn refund_decided(order: &Order, refund: &Refund, currency: &str, frontend: &str) -> Letter {
    let amount = format!("{} {currency}", refund.amount);
    let on_delivery = order.payment.as_ref().and_then(|payment| payment.kind.as_deref());
    let (subject, said) = if refund.state == RefundState::Granted {
        let way = if on_delivery == Some(PaymentInfo::ON_DELIVERY) {
            "You paid in cash, so the shop gives it back to you by hand."
        } else {
            "It goes back the way it came, which may take some days."
        };
        (format!("You get {amount} back"), way.to_owned())
    } else {
        let said = "The shop does not agree to give your money back. If you think that it should, open a dispute \
                    about the order: then an administrator looks at it.";
        (format!("Your refund of {amount} was refused"), said.to_owned())
    };
    Letter::about(subject)
        .say(said)
        .facts([("Order", order.id.hex()), ("Amount", amount)])
        .facts(what(order, refund))
        .link("The order", page(order, Role::Buyer, frontend))
}
