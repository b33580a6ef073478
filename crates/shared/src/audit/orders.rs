//! Orders against the ledger, and against themselves.

use bson::{Bson, Document, doc};
use mongodb::{ClientSession, error::Result};
use serde::Deserialize;

use super::{Audit, Entries, moved, text};
use crate::{
    clock::Timestamp,
    db::Db,
    id::Id,
    ledger, lenient,
    model::{
        CartLine, LedgerEntry, Order, Payment, PaymentInfo, Refund, RefundState, Shop, Status, StockState,
        Stored as _,
    },
    money::{Money, Percent},
};

/// What of an order is about money.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Account {
    #[serde(deserialize_with = "lenient::list")]
    cart: Vec<CartLine>,
    status: Status,
    #[serde(rename = "stockState")]
    stock_state: StockState,
    #[serde(rename = "shopId", with = "crate::id::text")]
    shop_id: Id<Shop>,
    #[serde(rename = "totalPrice", deserialize_with = "lenient::money")]
    total: Money,
    #[serde(deserialize_with = "lenient::opt_money")]
    subtotal: Option<Money>,
    #[serde(rename = "paymentInfo", deserialize_with = "lenient::opt_document")]
    payment: Option<PaymentInfo>,
    #[serde(rename = "deliveredAt", deserialize_with = "lenient::opt_date")]
    delivered_at: Option<Timestamp>,
    #[serde(rename = "serviceFeePercent")]
    service_fee: Option<Percent>,
    #[serde(deserialize_with = "lenient::list")]
    refunds: Vec<Refund>,
}

/// What each order charged, earned and gave back is what the ledger says.
pub(super) async fn agree(db: &Db, session: &mut ClientSession, audit: &mut Audit) -> Result<()> {
    let mut credits = Entries::open(db, session, "delivered:").await?;
    let mut refunds = Entries::open(db, session, "refund:").await?;
    let fields = doc! {
        "cart.count": 1, "cart.paid": 1, "cart.refunded": 1, "cart._id": 1, "totalPrice": 1, "subtotal": 1,
        "paymentInfo": 1, "deliveredAt": 1, "serviceFeePercent": 1, "refunds": 1, "status": 1, "stockState": 1,
        "shopId": 1,
    };
    let orders = db.raw::<Document>(Order::COLLECTION);
    let mut found =
        orders.find(doc! {}).projection(fields).sort(doc! { "_id": 1 }).session(&mut *session).await?;
    while let Some(order) = found.next(&mut *session).await.transpose()? {
        audit.orders += 1;
        let id = text(order.get("_id"));
        let credited = credits.of(session, &id, audit).await?;
        let refunded = refunds.of(session, &id, audit).await?;
        let found = match bson::deserialize_from_document::<Account>(order) {
            Ok(order) => order.disagreements(&credited, &refunded),
            Err(why) => vec![format!("cannot be read: {why}")],
        };
        for what in found {
            audit.differs(format!("the order {id} {what}"));
        }
    }
    credits.end(session, audit).await?;
    refunds.end(session, audit).await
}

impl Account {
    fn disagreements(&self, credits: &[LedgerEntry], refunds: &[LedgerEntry]) -> Vec<String> {
        let mut found = Vec::new();
        // The old server repeated the checkout's total in each order and froze no rate: nothing to
        // compare with.
        if self.subtotal.is_none() {
            return found;
        }
        let total = self.total;
        let granted = self.refunds.iter().filter(|refund| refund.state == RefundState::Granted);
        let (mut times, mut returned) =
            granted.fold((0_usize, Money::ZERO), |(n, sum), refund| (n + 1, sum + refund.amount));
        if times == 0 && self.status == Status::RefundSuccess {
            // Earlier versions knew of whole refunds only, and kept no record of them.
            (times, returned) = (1, total);
        } else {
            self.refunded_units(returned, &mut found);
        }
        let paid: Option<Vec<Money>> = self.cart.iter().map(|line| line.paid).collect();
        if let Some(lines) = paid.map(|paid| paid.into_iter().sum::<Money>())
            && lines != total
        {
            found.push(format!("is of {total}, but its lines come to {lines}"));
        }
        self.whereabouts(&mut found);
        let fee = total.percent(self.service_fee.unwrap_or_default());
        self.credit(credits, fee, &mut found);
        // What was never credited is not taken back either.
        let expected = if credits.is_empty() { (0, Money::ZERO) } else { (times, returned) };
        let source = ledger::source(self.payment.as_ref());
        let booked = moved(refunds, |account| account == source);
        if (refunds.len(), booked) != expected {
            found.push(format!(
                "had {} refunds of {} in all, but the ledger has {} of {booked}",
                expected.0,
                expected.1,
                refunds.len(),
            ));
        } else if !credits.is_empty() {
            let fee_back = -moved(refunds, |account| account == ledger::FEES);
            let right = fee.first(returned.minor(), total.minor());
            if fee_back != right {
                found.push(format!("has {fee_back} of its fee taken back, but {right} is right"));
            }
            let from_shop = -moved(refunds, |account| account == self.shop());
            let right = returned - fee_back;
            if from_shop != right {
                found.push(format!(
                    "should have {right} of what its shop earned taken back, but {from_shop} was"
                ));
            }
        }
        found
    }

    /// The account of the shop that delivers.
    fn shop(&self) -> String {
        ledger::shop_account(self.shop_id)
    }

    /// Its units are where an order of its status has them.
    fn whereabouts(&self, found: &mut Vec<String>) {
        let right = match self.status {
            Status::Processing => StockState::Reserved,
            Status::RefundSuccess | Status::Cancelled => StockState::Released,
            _ => StockState::Taken,
        };
        if self.stock_state != right {
            let word = |state| match state {
                StockState::Legacy => "nowhere",
                StockState::Reserved => "reserved",
                StockState::Taken => "taken",
                StockState::Released => "released",
            };
            let (status, are, should) = (self.status.text(), word(self.stock_state), word(right));
            found.push(format!("is {status}, but its units are {are} and not {should}"));
        }
    }

    /// As many units of each line are marked as the refunds that were granted name, and what went back
    /// is what those cost.
    fn refunded_units(&self, returned: Money, found: &mut Vec<String>) {
        if self.cart.iter().any(|line| line.refunded < 0 || line.refunded > line.count) {
            found.push("has more units refunded than it has".to_owned());
        }
        let marked: i64 = self.cart.iter().map(|line| line.refunded).sum();
        let granted = self.refunds.iter().filter(|refund| refund.state == RefundState::Granted);
        let named: i64 = granted.flat_map(|refund| &refund.items).map(|item| item.count).sum();
        if marked != named {
            found.push(format!("has {marked} units marked as refunded, but {named} were granted"));
        }
        // Earlier versions did not say what each line cost.
        let cost: Option<Vec<Money>> =
            self.cart.iter().map(|line| Some(line.paid?.first(line.refunded, line.count))).collect();
        let cost = cost.map_or(returned.min(self.total), |lines| lines.into_iter().sum());
        // Money that went back without units, after a dispute, is not given a second time with them.
        let granted = self.refunds.iter().filter(|refund| refund.state == RefundState::Granted);
        let alone: Money = granted.filter(|refund| refund.items.is_empty()).map(|refund| refund.amount).sum();
        let due = (cost + alone).min(self.total);
        let due = if alone == Money::ZERO { cost } else { due };
        if returned != due {
            found.push(format!("owes {due} for the units that came back, but {returned} went back"));
        }
    }

    /// The shop is credited for what was delivered and paid, once, its total less the fee.
    fn credit(&self, credits: &[LedgerEntry], fee: Money, found: &mut Vec<String>) {
        let total = self.total;
        let status = self.payment.as_ref().and_then(|payment| payment.status.as_deref());
        let is_paid = status.is_some_and(PaymentInfo::was_paid);
        if credits.is_empty() {
            if self.delivered_at.is_some() && is_paid {
                found.push(format!("was delivered and paid, but its {total} are not in the ledger"));
            }
            return;
        }
        if self.delivered_at.is_none() {
            found.push("was credited, but never delivered".to_owned());
        }
        let earned = moved(credits, |account| account == self.shop());
        let kept = moved(credits, |account| account == ledger::FEES);
        if (earned, kept) != (total - fee, fee) {
            found.push(format!(
                "is of {total}, of which {fee} is the fee, but the ledger has {earned} and {kept}"
            ));
        }
        let source = ledger::source(self.payment.as_ref());
        let charged = -moved(credits, |account| account == source);
        if charged != total {
            found.push(format!("was paid to {source}, but of its {total} the ledger has {charged} there"));
        }
    }
}

/// The orders of a checkout come to what was paid for them.
pub(super) async fn payments(db: &Db, session: &mut ClientSession, audit: &mut Audit) -> Result<()> {
    let pipeline = vec![
        // One that could not be served has none, and was returned.
        doc! { "$match": { "orders.0": { "$exists": true } } },
        doc! { "$lookup": {
            "from": Order::COLLECTION, "localField": "orders", "foreignField": "_id", "as": "paid",
        } },
        doc! { "$project": {
            "minor": 1, "currency": 1, "returns.minor": 1, "paid.totalPrice": 1, "paid.paymentInfo.status": 1, "paid.status": 1,
            "paid.refunds.amount": 1, "paid.refunds.state": 1,
        } },
    ];
    let payments = db.raw::<Document>(Payment::COLLECTION);
    let mut found = payments.aggregate(pipeline).session(&mut *session).await?;
    while let Some(payment) = found.next(&mut *session).await.transpose()? {
        let amount = super::money(payment.get("minor"));
        let orders = payment.get_array("paid").map(Vec::as_slice).unwrap_or_default();
        let totals = orders.iter().filter_map(|order| order.as_document()?.get("totalPrice"));
        let charged: Money = totals.filter_map(lenient::as_money).sum();
        if charged != amount {
            let id = text(payment.get("_id"));
            audit.differs(format!("the payment {id} is of {amount}, but its orders come to {charged}"));
        }
        // Earlier versions kept no record of what they asked for, nor the currency.
        let has_all = payment.contains_key("currency");
        if let Ok(asked) = payment.get_array("returns") {
            let asked: Money =
                asked.iter().filter_map(|asked| Some(super::money(asked.as_document()?.get("minor")))).sum();
            let due: Money = orders.iter().map(due_back).sum();
            if asked > due || (asked < due && has_all) {
                let id = text(payment.get("_id"));
                audit.differs(format!("of the payment {id} {due} are due back, but {asked} were asked for"));
            }
        }
        if !orders.iter().all(counts_as_paid) {
            let id = text(payment.get("_id"));
            audit.differs(format!("an order that is paid by the payment {id} does not count as paid"));
        }
    }
    unpaid(db, session, audit).await
}

/// What of an order's payment goes back to the buyer: what was granted, or all of it if it was called off.
fn due_back(order: &Bson) -> Money {
    let Some(order) = order.as_document() else { return Money::ZERO };
    let is = |of: &Document, field, value| of.get_str(field).is_ok_and(|text| text == value);
    let payment = order.get_document("paymentInfo");
    let went_back = payment.is_ok_and(|payment| is(payment, "status", PaymentInfo::REFUNDED));
    if went_back && is(order, "status", Status::Cancelled.text()) {
        return order.get("totalPrice").and_then(lenient::as_money).unwrap_or_default();
    }
    let refunds = order.get_array("refunds").map(Vec::as_slice).unwrap_or_default();
    let granted =
        refunds.iter().filter_map(Bson::as_document).filter(|refund| is(refund, "state", "granted"));
    granted.filter_map(|refund| lenient::as_money(refund.get("amount")?)).sum()
}

/// Whether an order says that it is paid, or was.
fn counts_as_paid(order: &Bson) -> bool {
    let payment = order.as_document().and_then(|order| order.get_document("paymentInfo").ok());
    let status = payment.and_then(|payment| payment.get_str("status").ok());
    status.is_some_and(PaymentInfo::was_paid)
}

/// What counts as paid online is paid by one payment.
async fn unpaid(db: &Db, session: &mut ClientSession, audit: &mut Audit) -> Result<()> {
    let pipeline = vec![
        doc! { "$match": {
            "subtotal": { "$exists": true },
            "paymentInfo.type": { "$ne": PaymentInfo::ON_DELIVERY },
            "paymentInfo.status": { "$in": PaymentInfo::PAID.to_vec() },
        } },
        doc! { "$lookup": {
            "from": Payment::COLLECTION, "localField": "_id", "foreignField": "orders", "as": "payments",
        } },
        doc! { "$match": { "payments": { "$not": { "$size": 1 } } } },
        doc! { "$project": { "count": { "$size": "$payments" } } },
    ];
    let orders = db.raw::<Document>(Order::COLLECTION);
    let mut found = orders.aggregate(pipeline).session(&mut *session).await?;
    while let Some(order) = found.next(&mut *session).await.transpose()? {
        let id = text(order.get("_id"));
        let count = order.get("count").and_then(lenient::as_int).unwrap_or_default();
        audit.differs(format!("the order {id} counts as paid, and {count} payments are for it"));
    }
    Ok(())
}
