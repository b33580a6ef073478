use std::collections::HashSet;

use bson::{Bson, Document, doc};
use futures_util::TryStreamExt as _;
use mongodb::ClientSession;
use shared::{
    clock::Timestamp,
    db::Db,
    id::Id,
    ledger, lenient,
    model::{
        CartLine, Kind, LedgerLine, Listing, Order, OutboxJob, Payment, RememberedAnswer, Shop, Status,
        StockState, Stored as _, User,
    },
    money::{Money, Percent},
};

use super::{
    checkout::repeated_by,
    rules::{self, MoneyMove, Step, StockMove, Wish},
    wire,
};
use crate::{error::Result, outbox::Outbox};

/// Whose orders a query may touch. It is part of every filter.
#[derive(Clone, Copy, Debug)]
pub(super) enum Owner {
    /// The shop that delivers.
    Shop(Id<Shop>),
    /// The buyer.
    Buyer(Id<User>),
    /// A call on a route where the client sends no credential, where the mode accepts that.
    Anyone,
}

impl Owner {
    fn filter(self) -> Document {
        match self {
            // The lines of some old orders do not name their shop; the migration has written it down.
            Self::Shop(shop) => doc! { "$or": [{ "shopId": shop.hex() }, { "cart.shopeId": shop.hex() }] },
            Self::Buyer(user) => doc! { "user._id": user.hex() },
            Self::Anyone => doc! {},
        }
    }

    fn of_order(self, id: Id<Order>) -> Document {
        let mut filter = self.filter();
        filter.insert("_id", id);
        filter
    }
}

/// An owner's orders, newest first.
pub(super) async fn all_of(db: &Db, owner: Owner) -> mongodb::error::Result<Vec<Order>> {
    let newest_first = doc! { "createdAt": -1, "_id": -1 };
    db.of::<Order>().find(owner.filter()).sort(newest_first).await?.try_collect().await
}

/// One order, if it is the owner's.
pub(super) async fn one_of(db: &Db, owner: Owner, id: Id<Order>) -> mongodb::error::Result<Option<Order>> {
    db.of::<Order>().find_one(owner.of_order(id)).await
}

/// Whether there is such an order at all: decides between 403 and 404.
pub(super) async fn exists(db: &Db, id: Id<Order>) -> mongodb::error::Result<bool> {
    let orders = db.raw::<Document>(Order::COLLECTION);
    Ok(orders.find_one(doc! { "_id": id }).projection(doc! { "_id": 1 }).await?.is_some())
}

/// What a change needs besides the wish.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub owner: Owner,
    pub id: Id<Order>,
    pub wish: Wish,
    /// The buyer's words, with a request for a refund.
    pub reason: Option<String>,
    pub now: Timestamp,
    /// For orders of the old server, which froze no rates.
    pub default_fee: Percent,
    /// Likewise.
    pub default_shipping: Percent,
}

/// Moves an order along, with its units and its money, in one transaction; none if the owner has no
/// such order. Asked again, it changes nothing and gives the order as it is.
pub(super) async fn change(db: &Db, outbox: &Outbox, change: Change) -> Result<Option<Order>> {
    let changed = db
        .transaction(|session| {
            let (db, outbox, change) = (db.clone(), outbox.clone(), change.clone());
            Box::pin(async move { change_once(&db, &outbox, session, change).await })
        })
        .await?;
    outbox.wake();
    Ok(changed)
}

async fn change_once(
    db: &Db,
    outbox: &Outbox,
    session: &mut ClientSession,
    change: Change,
) -> Result<Option<Order>> {
    let filter = change.owner.of_order(change.id);
    let Some(order) = db.of::<Order>().find_one(filter.clone()).session(&mut *session).await? else {
        return Ok(None);
    };
    let Some(step) = rules::step(&order, change.wish).map_err(wire::not_from)? else {
        return Ok(Some(order));
    };
    if step.to == Status::Cancelled {
        forget_repetitions(db, session, &order).await?;
    }
    let mut set = doc! { "status": step.to.text() };
    let stock_state = move_stock(db, session, &order, step.stock).await?;
    set.insert("stockState", bson::serialize_to_bson(&stock_state).map_err(anyhow::Error::from)?);
    if step.to == Status::Delivered && order.delivered_at.is_none() {
        set.insert("deliveredAt", change.now);
    }
    if let Some(reason) = &change.reason {
        set.insert("refundReason", reason);
    }
    move_money(db, outbox, session, &order, step, &change, &mut set).await?;
    let update = doc! {
        "$set": set,
        "$push": { "statusHistory": { "status": step.to.text(), "at": change.now } },
        "$inc": { "__v": 1 },
    };
    // The transaction's snapshot makes this conditional on the order as it was read.
    let after = db
        .of::<Order>()
        .find_one_and_update(filter, update)
        .return_document(mongodb::options::ReturnDocument::After)
        .session(session)
        .await?;
    Ok(after)
}

/// Whoever orders the same again after cancelling means it: it is no double click.
async fn forget_repetitions(
    db: &Db,
    session: &mut ClientSession,
    order: &Order,
) -> mongodb::error::Result<()> {
    let Some(buyer) = &order.user else { return Ok(()) };
    let from = repeated_by(buyer.id);
    // Digests are hex, and `g` comes after all of that.
    let filter = doc! { "_id": { "$gte": &from, "$lt": format!("{from}g") } };
    db.of::<RememberedAnswer>().delete_many(filter).session(session).await.map(drop)
}

/// Moves the units of every line, and says where they are then.
async fn move_stock(
    db: &Db,
    session: &mut ClientSession,
    order: &Order,
    stock: StockMove,
) -> Result<StockState> {
    if stock == StockMove::Stay {
        return Ok(order.stock_state);
    }
    for line in &order.cart {
        let n = line.count;
        match stock {
            StockMove::Stay => {}
            StockMove::Take => {
                add_to_listing(db, session, line, &[("stock", -n), ("reserved", -n), ("sold_out", n)])
                    .await?;
            }
            StockMove::Unreserve => {
                add_to_listing(db, session, line, &[("reserved", -n)]).await?;
            }
            StockMove::PutBack if order.stock_state == StockState::Taken => {
                add_to_listing(db, session, line, &[("stock", n), ("sold_out", -n)]).await?;
            }
            // The old server let stock go below zero, and never counted an event's units.
            StockMove::TakeUnreserved => unreserved(db, session, line, line.count).await?,
            StockMove::PutBack => unreserved(db, session, line, -line.count).await?,
        }
    }
    Ok(match stock {
        StockMove::Take | StockMove::TakeUnreserved => StockState::Taken,
        _ => StockState::Released,
    })
}

/// Adds to fields of a line's listing. Not with `$inc`, which fails on the text that an old server
/// beside us writes.
async fn add_to_listing(
    db: &Db,
    session: &mut ClientSession,
    line: &CartLine,
    changes: &[(&str, i64)],
) -> mongodb::error::Result<()> {
    let kind = line.kind.unwrap_or(Kind::Product);
    let sums: Document = changes
        .iter()
        .map(|(field, by)| {
            let sum = doc! { "$add": [number(&format!("${field}")), Bson::Int64(*by)] };
            ((*field).to_owned(), Bson::from(sum))
        })
        .collect();
    let update = vec![doc! { "$set": sums }];
    // A listing that was deleted meanwhile has no units to count.
    db.listings(kind).update_one(doc! { "_id": line.id }, update).session(session).await.map(drop)
}

/// Takes (or, negative, gives back) units that were never reserved, on a product only.
async fn unreserved(
    db: &Db,
    session: &mut ClientSession,
    line: &CartLine,
    count: i64,
) -> mongodb::error::Result<()> {
    let update = vec![doc! { "$set": {
        "stock": { "$max": [Bson::Int64(0), { "$subtract": [number("$stock"), Bson::Int64(count)] }] },
        "sold_out": { "$max": [Bson::Int64(0), { "$add": [number("$sold_out"), Bson::Int64(count)] }] },
    } }];
    let products = db.listings(Kind::Product);
    products.update_one(doc! { "_id": line.id }, update).session(session).await.map(drop)
}

async fn move_money(
    db: &Db,
    outbox: &Outbox,
    session: &mut ClientSession,
    order: &Order,
    step: Step,
    change: &Change,
    set: &mut Document,
) -> Result<()> {
    let now = change.now;
    let payment = order.payment.clone().unwrap_or_default();
    match step.money {
        MoneyMove::Stay => {}
        MoneyMove::Credit => {
            if payment.status.as_deref() == Some(UNVERIFIED) {
                // A payer's bare claim: the shop is credited once the payment is verified.
                return Ok(());
            }
            if payment.status.is_none() {
                set.insert("paymentInfo.status", SUCCEEDED);
                set.insert("paidAt", now);
            }
            credit(db, session, order, change).await?;
        }
        MoneyMove::Reverse => {
            take_credit_back(db, session, order, change).await?;
            return_payment(db, outbox, session, order, "refund", set).await?;
        }
        MoneyMove::Return => return_payment(db, outbox, session, order, "cancelled", set).await?,
    }
    Ok(())
}

/// `paymentInfo.status` of what is paid.
pub(super) const SUCCEEDED: &str = "succeeded";
/// `paymentInfo.status` of what a payer claims to have paid.
pub(super) const UNVERIFIED: &str = "unverified";
/// `paymentInfo.status` of what went back.
const REFUNDED: &str = "refunded";

/// The shop that delivers an order; old orders say so only on their lines.
fn shop_of(order: &Order) -> Id<Shop> {
    if order.shop_id != Id::nil() {
        return order.shop_id;
    }
    order.cart.first().map(|line| line.shop_id).unwrap_or_default()
}

/// Whether the old server took the order in, wherever its units are by now.
const fn is_legacy(order: &Order) -> bool {
    order.subtotal.is_none()
}

/// What a shop earns with an order, and what the marketplace keeps.
fn split(order: &Order, change: &Change) -> (Money, Money) {
    let total = if is_legacy(order) {
        // The old server repeated the whole checkout's total in each of its orders.
        let lines: Money = order.cart.iter().map(|line| line.price.times(line.count)).sum();
        order.total.min(lines + lines.percent(change.default_shipping))
    } else {
        order.total
    };
    let fee = total.percent(order.service_fee.unwrap_or(change.default_fee));
    (total - fee, fee)
}

async fn credit(db: &Db, session: &mut ClientSession, order: &Order, change: &Change) -> Result<()> {
    let shop = shop_of(order);
    let (net, fee) = split(order, change);
    let source = match order.payment.as_ref().and_then(|payment| payment.kind.as_deref()) {
        Some("Paypal") => "gateway:paypal",
        Some("Credit Card" | "Stripe") => "gateway:stripe",
        _ => "cod",
    };
    ledger::book(
        db,
        session,
        format!("delivered:{}", order.id),
        change.now,
        vec![
            ledger::line(source, -(net + fee)),
            ledger::line(ledger::shop_account(shop), net),
            ledger::line(ledger::FEES, fee),
        ],
    )
    .await?;
    ledger::credit(db, session, shop, net, "Credited", change.now).await?;
    Ok(())
}

/// Books the opposite of the credit. An order that the old server credited has no entry to reverse:
/// there the shop's share is taken back against what that server left behind.
async fn take_credit_back(
    db: &Db,
    session: &mut ClientSession,
    order: &Order,
    change: &Change,
) -> Result<()> {
    let shop = shop_of(order);
    let account = ledger::shop_account(shop);
    let credited = ledger::entry(db, session, &format!("delivered:{}", order.id)).await?;
    let lines: Vec<LedgerLine> = match credited {
        Some(entry) => {
            entry.lines.into_iter().map(|line| LedgerLine { minor: -line.minor, ..line }).collect()
        }
        None if is_legacy(order) => {
            let (net, _) = split(order, change);
            vec![ledger::line(&*account, -net), ledger::line(ledger::LEGACY, net)]
        }
        // Never credited: the payment was never verified.
        None => return Ok(()),
    };
    let back: i64 = lines.iter().filter(|line| line.account == account).map(|line| line.minor).sum();
    ledger::book(db, session, format!("refund:{}", order.id), change.now, lines).await?;
    ledger::credit(db, session, shop, Money::from_minor(back), "Refunded", change.now).await?;
    Ok(())
}

/// Has the gateway return what it took for this order, if it took anything.
async fn return_payment(
    db: &Db,
    outbox: &Outbox,
    session: &mut ClientSession,
    order: &Order,
    why: &str,
    set: &mut Document,
) -> Result<()> {
    let paid = db.of::<Payment>().find_one(doc! { "orders": order.id }).session(&mut *session).await?;
    let is_claim = order.payment.as_ref().and_then(|payment| payment.status.as_deref()) == Some(UNVERIFIED);
    if let Some(payment) = paid {
        outbox
            .add_in(
                session,
                OutboxJob::Refund {
                    payment_id: payment.id,
                    minor: order.total.minor(),
                    idempotency_key: format!("{why}:{}", order.id),
                },
            )
            .await?;
        set.insert("paymentInfo.status", REFUNDED);
    } else if why == "refund" && !is_claim {
        // Cash goes back by hand; the order says that it is owed no longer. A payer's claim stays one:
        // should money turn up after all, it must not look as if it had been returned.
        set.insert("paymentInfo.status", REFUNDED);
    }
    Ok(())
}

/// Listings as a transaction sees them, of one kind.
pub(super) async fn listings(
    db: &Db,
    session: &mut ClientSession,
    kind: Kind,
    ids: &[Id<Listing>],
) -> mongodb::error::Result<Vec<Listing>> {
    let filter = doc! { "_id": { "$in": ids.iter().map(|id| id.oid()).collect::<Vec<_>>() } };
    let leave_out = doc! { "reviews": 0 };
    let mut cursor = db.listings(kind).find(filter).projection(leave_out).session(&mut *session).await?;
    cursor.stream(session).try_collect().await
}

/// Shops as a transaction sees them.
pub(super) async fn shops(
    db: &Db,
    session: &mut ClientSession,
    ids: &[Id<Shop>],
) -> mongodb::error::Result<Vec<Shop>> {
    let filter = doc! { "_id": { "$in": ids.iter().map(|id| id.oid()).collect::<Vec<_>>() } };
    let leave_out = doc! { "transections": 0, "password": 0 };
    let mut cursor = db.of::<Shop>().find(filter).projection(leave_out).session(&mut *session).await?;
    cursor.stream(session).try_collect().await
}

/// Buyers as a transaction sees them.
pub(super) async fn buyers(
    db: &Db,
    session: &mut ClientSession,
    ids: &[Id<User>],
) -> mongodb::error::Result<Vec<User>> {
    let filter = doc! { "_id": { "$in": ids.to_vec() } };
    let fields = doc! { "name": 1, "phoneNumber": 1 };
    let mut cursor = db.of::<User>().find(filter).projection(fields).session(&mut *session).await?;
    cursor.stream(session).try_collect().await
}

/// Answers that were given before.
pub(super) async fn answers(
    db: &Db,
    session: &mut ClientSession,
    ids: &[&str],
) -> mongodb::error::Result<Vec<RememberedAnswer>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let filter = doc! { "_id": { "$in": ids } };
    let mut cursor = db.of::<RememberedAnswer>().find(filter).session(&mut *session).await?;
    cursor.stream(session).try_collect().await
}

/// Which of these payments have been used.
pub(super) async fn used_payments(
    db: &Db,
    session: &mut ClientSession,
    ids: &[&str],
) -> mongodb::error::Result<HashSet<String>> {
    if ids.is_empty() {
        return Ok(HashSet::new());
    }
    let filter = doc! { "_id": { "$in": ids } };
    let mut cursor = db.of::<Payment>().find(filter).session(&mut *session).await?;
    cursor.stream(session).map_ok(|payment| payment.id).try_collect().await
}

/// Keeps answers, in place of older ones of the same name.
pub(super) async fn remember(
    db: &Db,
    session: &mut ClientSession,
    answers: &[RememberedAnswer],
) -> anyhow::Result<()> {
    let mut updates = Vec::with_capacity(answers.len());
    for answer in answers {
        let whole = bson::serialize_to_document(answer)?;
        updates.push(doc! { "q": { "_id": &answer.id }, "u": whole, "upsert": true });
    }
    update_all(db, session, RememberedAnswer::COLLECTION, updates).await?;
    Ok(())
}

/// Reserves units of several listings; false if one of them has not so many left.
pub(super) async fn reserve(
    db: &Db,
    session: &mut ClientSession,
    kind: Kind,
    counts: &[(Id<Listing>, i64)],
) -> mongodb::error::Result<bool> {
    let left = doc! { "$subtract": [number("$stock"), number("$reserved")] };
    let updates = counts
        .iter()
        .map(|(id, count)| {
            let count = Bson::Int64(*count);
            doc! {
                "q": { "_id": *id, "$expr": { "$gte": [left.clone(), count.clone()] } },
                "u": { "$inc": { "reserved": count } },
            }
        })
        .collect();
    let matched = update_all(db, session, kind.collection(), updates).await?;
    Ok(usize::try_from(matched) == Ok(counts.len()))
}

/// A field as a whole number, as an aggregation expression: the old server writes text into some.
fn number(field: &str) -> Document {
    // By way of a double, since `10.0` as text is no long.
    let double = doc! { "$convert": { "input": field, "to": "double", "onError": 0.0, "onNull": 0.0 } };
    let whole = doc! { "$trunc": double };
    doc! { "$convert": { "input": whole, "to": "long", "onError": Bson::Int64(0), "onNull": Bson::Int64(0) } }
}

/// Several updates in one round trip, which the driver has only for newer servers. Gives how many
/// documents they matched.
async fn update_all(
    db: &Db,
    session: &mut ClientSession,
    collection: &str,
    updates: Vec<Document>,
) -> mongodb::error::Result<i64> {
    let command = doc! { "update": collection, "updates": updates, "ordered": true };
    let reply = db.database().run_command(command).session(session).await?;
    if let Ok(errors) = reply.get_array("writeErrors") {
        return Err(mongodb::error::Error::custom(format!("{collection} cannot be updated: {errors:?}")));
    }
    Ok(reply.get("n").and_then(lenient::as_int).unwrap_or_default())
}
