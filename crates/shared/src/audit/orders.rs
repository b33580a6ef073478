//! Orders against the ledger, and against themselves.

use bson::{Document, doc};
use mongodb::{ClientSession, error::Result};
use serde::Deserialize;

use super::{Audit, Entries, moved, text};
use crate::{
    clock::Timestamp,
    db::Db,
    id::Id,
    ledger, lenient,
    model::{CartLine, LedgerEntry, Order, Payment, PaymentInfo, Refund, RefundState, Stored as _},
    money::{Money, Percent},
};

/// What of an order is about money.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Account {
    #[serde(rename = "_id")]
    id: Id<Order>,
    #[serde(deserialize_with = "lenient::list")]
    cart: Vec<CartLine>,
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
        "paymentInfo": 1, "deliveredAt": 1, "serviceFeePercent": 1, "refunds": 1,
    };
    let orders = db.raw::<Account>(Order::COLLECTION);
    let mut found =
        orders.find(doc! {}).projection(fields).sort(doc! { "_id": 1 }).session(&mut *session).await?;
    while let Some(order) = found.next(&mut *session).await.transpose()? {
        audit.orders += 1;
        let id = order.id.hex();
        let credited = credits.of(session, &id, audit).await?;
        let refunded = refunds.of(session, &id, audit).await?;
        // The old server repeated the checkout's total in each order and froze no rate: nothing to
        // compare with.
        if order.subtotal.is_some() {
            for what in order.disagreements(&credited, &refunded) {
                audit.differs(format!("the order {id} {what}"));
            }
        }
    }
    credits.end(session, audit).await?;
    refunds.end(session, audit).await
}

impl Account {
    fn disagreements(&self, credits: &[LedgerEntry], refunds: &[LedgerEntry]) -> Vec<String> {
        let mut found = Vec::new();
        let total = self.total;
        let paid: Option<Vec<Money>> = self.cart.iter().map(|line| line.paid).collect();
        if let Some(lines) = paid.map(|paid| paid.into_iter().sum::<Money>())
            && lines != total
        {
            found.push(format!("is of {total}, but its lines come to {lines}"));
        }
        self.refunded_units(&mut found);
        let fee = total.percent(self.service_fee.unwrap_or_default());
        self.credit(credits, fee, &mut found);

        let granted = self.refunds.iter().filter(|refund| refund.state == RefundState::Granted);
        let (times, returned) =
            granted.fold((0_usize, Money::ZERO), |(n, sum), refund| (n + 1, sum + refund.amount));
        if returned > total {
            found.push(format!("is of {total}, but {returned} went back"));
        }
        let is_all_back = self.cart.iter().all(|line| line.refunded == line.count);
        if times > 0 && is_all_back && returned != total {
            found.push(format!("came back as a whole, but {returned} of {total} went back"));
        }
        // What was never credited is not taken back either.
        let expected = if credits.is_empty() { (0, Money::ZERO) } else { (times, returned) };
        let booked = moved(refunds, |account| !is_shop(account) && account != ledger::FEES);
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
        }
        found
    }

    /// As many units of each line are marked as the refunds that were granted name.
    fn refunded_units(&self, found: &mut Vec<String>) {
        if self.cart.iter().any(|line| line.refunded < 0 || line.refunded > line.count) {
            found.push("has more units refunded than it has".to_owned());
        }
        let marked: i64 = self.cart.iter().map(|line| line.refunded).sum();
        let granted = self.refunds.iter().filter(|refund| refund.state == RefundState::Granted);
        let named: i64 = granted.flat_map(|refund| &refund.items).map(|item| item.count).sum();
        if marked != named {
            found.push(format!("has {marked} units marked as refunded, but {named} were granted"));
        }
    }

    /// The shop is credited for what was delivered and paid, once, its total less the fee.
    fn credit(&self, credits: &[LedgerEntry], fee: Money, found: &mut Vec<String>) {
        let total = self.total;
        let status = self.payment.as_ref().and_then(|payment| payment.status.as_deref());
        let is_paid = matches!(status, Some(PaymentInfo::SUCCEEDED | PaymentInfo::REFUNDED));
        if credits.is_empty() {
            if self.delivered_at.is_some() && is_paid {
                found.push(format!("was delivered and paid, but its {total} are not in the ledger"));
            }
            return;
        }
        if self.delivered_at.is_none() {
            found.push("was credited, but never delivered".to_owned());
        }
        let (earned, kept) = (moved(credits, is_shop), moved(credits, |account| account == ledger::FEES));
        if (earned, kept) != (total - fee, fee) {
            found.push(format!(
                "is of {total}, of which {fee} is the fee, but the ledger has {earned} and {kept}"
            ));
        }
    }
}

fn is_shop(account: &str) -> bool {
    account.starts_with(ledger::SHOP_PREFIX)
}

/// The orders of a checkout come to what was paid for them.
pub(super) async fn payments(db: &Db, session: &mut ClientSession, audit: &mut Audit) -> Result<()> {
    let pipeline = vec![
        // One that could not be served has none, and was returned.
        doc! { "$match": { "orders.0": { "$exists": true } } },
        doc! { "$lookup": {
            "from": Order::COLLECTION, "localField": "orders", "foreignField": "_id", "as": "paid",
        } },
        doc! { "$project": { "minor": 1, "paid.totalPrice": 1 } },
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
    }
    Ok(())
}
