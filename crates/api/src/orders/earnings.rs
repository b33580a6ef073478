//! What an order is worth, and booking what its shop and the marketplace earn of it, there and back.

use mongodb::ClientSession;
use shared::{
    clock::Timestamp,
    config::Config,
    db::Db,
    id::Id,
    ledger,
    model::{Order, Shop},
    money::{Money, Percent},
};

use super::refunds;

/// For orders of the old server, which froze no rates.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rates {
    fee: Percent,
    shipping: Percent,
}

impl Rates {
    /// The present ones.
    pub(crate) const fn of(config: &Config) -> Self {
        Self { fee: config.service_fee, shipping: config.shipping }
    }
}

/// The shop that delivers an order; old orders say so only on their lines.
pub(crate) fn shop_of(order: &Order) -> Id<Shop> {
    if order.shop_id != Id::nil() {
        return order.shop_id;
    }
    order.cart.first().map(|line| line.shop_id).unwrap_or_default()
}

/// Whether the old server took the order in, wherever its units are by now.
const fn is_legacy(order: &Order) -> bool {
    order.subtotal.is_none()
}

/// What the buyer pays for an order.
pub(crate) fn value(order: &Order, rates: Rates) -> Money {
    if is_legacy(order) {
        // The old server repeated the whole checkout's total in each of its orders.
        let lines: Money = order.cart.iter().map(|line| line.price.times(line.count)).sum();
        order.total.min(lines + lines.percent(rates.shipping))
    } else {
        order.total
    }
}

/// What the marketplace keeps of an order.
pub(crate) fn fee(order: &Order, rates: Rates) -> Money {
    value(order, rates).percent(order.service_fee.unwrap_or(rates.fee))
}

/// The ledger's key of an order's credit.
pub(crate) fn credit_key(order: Id<Order>) -> String {
    format!("delivered:{order}")
}

/// The shop earns the order, less the marketplace's fee.
pub(super) async fn credit(
    db: &Db,
    session: &mut ClientSession,
    order: &Order,
    rates: Rates,
    now: Timestamp,
) -> mongodb::error::Result<()> {
    let (shop, value, fee) = (shop_of(order), value(order, rates), fee(order, rates));
    let lines = vec![
        ledger::line(ledger::source(order.payment.as_ref()), -value),
        ledger::line(ledger::shop_account(shop), value - fee),
        ledger::line(ledger::FEES, fee),
    ];
    ledger::book(db, session, credit_key(order.id), now, lines).await?;
    ledger::credit(db, session, shop, value - fee, "Credited", now).await
}

/// Takes back what was granted before the shop was credited, each refund as it would have been booked when it was
/// granted: knowing of those before it.
pub(super) async fn take_back_granted(
    db: &Db,
    session: &mut ClientSession,
    order: &Order,
    rates: Rates,
    now: Timestamp,
) -> mongodb::error::Result<()> {
    let mut then = Order { refunds: Vec::new(), ..order.clone() };
    for refund in refunds::granted(order) {
        take_back(db, session, &then, rates, refund.amount, now).await?;
        then.refunds.push(refund.clone());
    }
    Ok(())
}

/// What the shop still has of an order that it was credited with: less the fee, and less what went back.
pub(crate) fn kept(order: &Order, rates: Rates) -> Money {
    let (value, returned) = (value(order, rates), refunds::returned(order));
    let left = value - returned;
    left - refunds::fee_back(fee(order, rates), value, returned, left)
}

/// Whether the shop was credited: an order that the old server credited has no entry of that.
pub(crate) async fn is_credited(
    db: &Db,
    session: &mut ClientSession,
    order: &Order,
) -> mongodb::error::Result<bool> {
    let is_legacy = is_legacy(order) && order.delivered_at.is_some();
    Ok(is_legacy || ledger::entry(db, session, &credit_key(order.id)).await?.is_some())
}

/// `refund:<order>` for an order's first refund, `refund:<order>:2` for the second.
pub(super) fn refund_key(why: &str, order: &Order) -> String {
    match refunds::granted(order).count() {
        0 => format!("{why}:{}", order.id),
        earlier => format!("{why}:{}:{}", order.id, earlier + 1),
    }
}

/// Books back what the shop and the marketplace had of `amount`, which goes back to the buyer beside what
/// the order's granted refunds say. An order that the old server credited has no entry of its credit:
/// there the shop's share is taken back against what that server left behind.
pub(super) async fn take_back(
    db: &Db,
    session: &mut ClientSession,
    order: &Order,
    rates: Rates,
    amount: Money,
    now: Timestamp,
) -> mongodb::error::Result<()> {
    let shop = shop_of(order);
    let account = ledger::shop_account(shop);
    let (value, before) = (value(order, rates), refunds::returned(order));
    let credited = ledger::entry(db, session, &credit_key(order.id)).await?;
    let (from_shop, lines) = match credited {
        Some(entry) => {
            let of = |name: &str| entry.lines.iter().find(|line| line.account == name);
            let fee = Money::from_minor(of(ledger::FEES).map_or(0, |line| line.minor));
            let source =
                entry.lines.iter().find(|line| line.account != account && line.account != ledger::FEES);
            let source = source.map_or("cod", |line| line.account.as_str());
            let fee_back = refunds::fee_back(fee, value, before, amount);
            let from_shop = amount - fee_back;
            let lines = vec![
                ledger::line(source, amount),
                ledger::line(&*account, -from_shop),
                ledger::line(ledger::FEES, -fee_back),
            ];
            (from_shop, lines)
        }
        None if is_legacy(order) => {
            let from_shop = amount - refunds::fee_back(fee(order, rates), value, before, amount);
            let lines = vec![ledger::line(&*account, -from_shop), ledger::line(ledger::LEGACY, from_shop)];
            (from_shop, lines)
        }
        // Never credited: the payment was never verified.
        None => return Ok(()),
    };
    ledger::book(db, session, refund_key("refund", order), now, lines).await?;
    ledger::credit(db, session, shop, -from_shop, "Refunded", now).await
}
