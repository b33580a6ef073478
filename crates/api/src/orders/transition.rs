//! Moving an order along, with its units and its money, in one transaction.

use bson::{Bson, Document, doc};
use mongodb::ClientSession;
use shared::{
    clock::Timestamp,
    db::Db,
    id::Id,
    lenient::whole_in,
    model::{
        CancelledBy, CartLine, Kind, News, Order, Payment, PaymentInfo, Refund, RefundItem, RefundState,
        RememberedAnswer, Status, StatusChange, StockState,
    },
    money::Money,
    touched::Touched,
};

use super::{
    checkout::repeated_by,
    earnings::{self, Rates},
    refunds,
    rules::{self, MoneyMove, Step, StockMove, Wish},
    store::{self, Owner},
    wire,
};
use crate::{
    cases,
    error::{Error, Result},
    news,
    outbox::Outbox,
    payments::{disputes, store as payments},
    state::App,
};

/// What a change needs besides the wish.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub owner: Owner,
    pub id: Id<Order>,
    pub wish: Wish,
    /// What a request for a refund, or a decision about one, says besides.
    pub refund: RefundWanted,
    pub now: Timestamp,
    pub rates: Rates,
}

/// What buyer or shop say of a refund.
#[derive(Clone, Debug, Default)]
pub(super) struct RefundWanted {
    /// The units that the buyer wants to return; none means all that are left.
    pub items: Option<Vec<RefundItem>>,
    /// The buyer's words.
    pub reason: Option<String>,
    /// The refund that the shop decides about: its place in the list, from 1 on. Without it, whichever
    /// waits for a decision.
    pub number: Option<i64>,
}

/// Cancels every order that was placed before `deadline`, to be paid online, and is neither paid nor
/// handed over. Gives how many.
pub(crate) async fn expire_unpaid(app: &App, deadline: Timestamp) -> Result<u64> {
    let mut cancelled = 0;
    let mut failure = None;
    for id in store::unpaid_before(&app.db, deadline).await? {
        let change = Change {
            owner: Owner::Anyone,
            id,
            wish: Wish::Expire,
            refund: RefundWanted::default(),
            now: app.clock.now(),
            rates: Rates::of(&app.config),
        };
        match change_order(&app.db, &app.outbox, change).await {
            Ok(_) => cancelled += 1,
            // Paid or handed over in this very moment.
            Err(Error::Refused(_)) => {}
            Err(error @ Error::Unavailable(_)) => return Err(error),
            // One that is damaged must not keep the others waiting for ever.
            Err(error) => failure = Some(error),
        }
    }
    failure.map_or(Ok(cancelled), Err)
}

/// Cancels an order whose payment the bank took back, unless it was handed over already.
pub(crate) async fn charge_back(
    db: &Db,
    outbox: &Outbox,
    session: &mut ClientSession,
    id: Id<Order>,
    rates: Rates,
    now: Timestamp,
) -> Result<()> {
    let (owner, wish, refund) = (Owner::Anyone, Wish::ChargeBack, RefundWanted::default());
    match change_once(db, outbox, session, Change { owner, id, wish, refund, now, rates }).await {
        // On its way, or with the buyer.
        Ok(_) | Err(Error::Refused(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Moves an order along, with its units and its money, in one transaction; none if the owner has no
/// such order. Asked again, it changes nothing and gives the order as it is.
pub(super) async fn change_order(db: &Db, outbox: &Outbox, change: Change) -> Result<Option<Order>> {
    // What a shop does with its orders moves its one balance.
    let _turn = match change.owner {
        Owner::Shop(shop) => db.turn(shop).await,
        _ => None,
    };
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
    if let Some(number) = change.refund.number
        && rules::is_decided(&order, change.wish, number).map_err(wire::not_pending)?
    {
        return Ok(Some(order));
    }
    let Some(step) = rules::step(&order, change.wish).map_err(wire::not_from)? else {
        return match change.wish {
            Wish::AskRefund => same_refund(&order, &change).map(|()| Some(order)),
            _ => Ok(Some(order)),
        };
    };
    if rules::is_up_to_the_bank(&order, change.wish) {
        return Err(wire::disputed(&order));
    }
    if step.to == Status::Cancelled {
        forget_repetitions(db, session, &order).await?;
    }
    if order.open_case.is_some() && change.wish.is_about_money_back() {
        return Err(wire::IN_DISPUTE.into());
    }
    let value = earnings::value(&order, change.rates);
    let back = refunds::amount(&order, value, &step.back);
    let going = Going { order: &order, step: &step, change: &change, value, back };
    let mut set = doc! { "status": step.to.text() };
    let stock_state = move_stock(db, session, &going).await?;
    set.insert("stockState", bson::serialize_to_bson(&stock_state).map_err(anyhow::Error::from)?);
    if step.to == Status::Delivered && order.delivered_at.is_none() {
        set.insert("deliveredAt", change.now);
    }
    note_refund(&going, &mut set)?;
    move_money(db, outbox, session, &going, &mut set).await?;
    let note = match change.wish {
        Wish::Expire => Some("The payment never arrived".to_owned()),
        Wish::ChargeBack => Some("The bank took the payment back".to_owned()),
        _ => None,
    };
    let entry = StatusChange { status: step.to, at: Some(change.now), note };
    let update = doc! {
        "$set": set,
        "$push": { "statusHistory": bson::serialize_to_bson(&entry).map_err(anyhow::Error::from)? },
        "$inc": { "__v": 1 },
    };
    // The transaction's snapshot makes this conditional on the order as it was read.
    let after = db
        .of::<Order>()
        .find_one_and_update(filter, update)
        .return_document(mongodb::options::ReturnDocument::After)
        .session(&mut *session)
        .await?;
    if let Some(after) = &after {
        news::tell_in(outbox, session, happened(after, &change)).await?;
    }
    Ok(after)
}

/// What there is to tell of a change.
fn happened(after: &Order, change: &Change) -> News {
    let order = after.id;
    let number = i64::try_from(after.refunds.len()).unwrap_or(i64::MAX);
    match change.wish {
        Wish::Advance(to) => News::OrderMoved { order, to },
        Wish::Cancel => {
            let by_shop = matches!(change.owner, Owner::Shop(_));
            News::OrderCancelled { order, by: if by_shop { CancelledBy::Shop } else { CancelledBy::Buyer } }
        }
        Wish::Expire => News::OrderCancelled { order, by: CancelledBy::Unpaid },
        Wish::ChargeBack => News::OrderCancelled { order, by: CancelledBy::Bank },
        Wish::AskRefund => News::RefundAsked { order, number },
        Wish::GrantRefund => News::RefundGranted { order, number },
        Wish::RefuseRefund => News::RefundRefused { order, number },
    }
}

/// An order on its way from one status to the next.
pub(super) struct Going<'g> {
    pub order: &'g Order,
    pub step: &'g Step,
    pub change: &'g Change,
    /// What the buyer pays for it.
    pub value: Money,
    /// What the buyer gets back with this step.
    pub back: Money,
}

/// A refund is in process already: asking for the same is harmless, for something else it is not.
fn same_refund(order: &Order, change: &Change) -> Result<()> {
    let Some(items) = &change.refund.items else { return Ok(()) };
    let units = refunds::named(order, items).map_err(wire::not_refundable)?;
    if refunds::asked(order) == units { Ok(()) } else { Err(wire::REFUND_PENDING.into()) }
}

/// Writes down what is asked for, or what became of it.
fn note_refund(going: &Going<'_>, set: &mut Document) -> Result<()> {
    let Going { order, step, change, value, .. } = *going;
    let mut refunds = order.refunds.clone();
    match change.wish {
        Wish::AskRefund => {
            let units = match &change.refund.items {
                Some(items) => refunds::named(order, items).map_err(wire::not_refundable)?,
                None => refunds::left(order),
            };
            if let Some(reason) = &change.refund.reason {
                set.insert("refundReason", reason);
            }
            refunds.push(Refund {
                items: refunds::items(order, &units),
                amount: refunds::amount(order, value, &units),
                reason: change.refund.reason.clone(),
                state: RefundState::Asked,
                asked_at: Some(change.now),
                decided_at: None,
            });
        }
        Wish::GrantRefund | Wish::RefuseRefund => {
            let granted = change.wish == Wish::GrantRefund;
            let units = refunds::asked(order);
            // One that the old server took down has no record.
            let asked = if refunds::pending(order).is_some() { refunds.pop() } else { None };
            refunds.push(Refund {
                items: refunds::items(order, &units),
                amount: refunds::amount(order, value, &units),
                state: if granted { RefundState::Granted } else { RefundState::Refused },
                decided_at: Some(change.now),
                ..asked.unwrap_or_default()
            });
            for units in &step.back {
                let Some(line) = order.cart.get(units.line) else { continue };
                set.insert(format!("cart.{}.refunded", line.place), line.refunded + units.count);
            }
        }
        _ => return Ok(()),
    }
    set.insert("refunds", bson::serialize_to_bson(&refunds).map_err(anyhow::Error::from)?);
    Ok(())
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

/// Moves the units of an order, those of the step where some come back, and says where they are then.
pub(super) async fn move_stock(
    db: &Db,
    session: &mut ClientSession,
    going: &Going<'_>,
) -> Result<StockState> {
    let Going { order, step, .. } = *going;
    let all = order.cart.iter().map(|line| (line, line.count));
    match step.stock {
        StockMove::Stay => return Ok(order.stock_state),
        StockMove::Take => {
            for (line, n) in all {
                let changes = [("stock", -n), ("reserved", -n), ("sold_out", n)];
                add_to_listing(db, session, line, &changes).await?;
            }
        }
        StockMove::TakeUnreserved => {
            for (line, n) in all {
                unreserved(db, session, line, n, n).await?;
            }
        }
        StockMove::Unreserve => {
            for (line, n) in all {
                add_to_listing(db, session, line, &[("reserved", -n)]).await?;
            }
        }
        StockMove::PutBack => {
            for units in &step.back {
                let (Some(line), n) = (order.cart.get(units.line), units.count) else { continue };
                if order.stock_state == StockState::Taken {
                    add_to_listing(db, session, line, &[("stock", n), ("sold_out", -n)]).await?;
                } else {
                    // The old server let stock go below zero, and never counted an event's units.
                    unreserved(db, session, line, -n, 0).await?;
                }
            }
        }
    }
    Ok(match step.stock {
        StockMove::Take | StockMove::TakeUnreserved => StockState::Taken,
        // What the buyer keeps stays taken.
        StockMove::PutBack if step.to != Status::RefundSuccess => order.stock_state,
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
            let sum = doc! { "$add": [whole_in(&format!("${field}")), Bson::Int64(*by)] };
            ((*field).to_owned(), Bson::from(sum))
        })
        .collect();
    let update = vec![doc! { "$set": sums }];
    // A listing that was deleted meanwhile has no units to count.
    db.listings(kind).update_one(doc! { "_id": line.id }, update).session(session).await?;
    db.touched(Touched::Listing(kind, line.id));
    Ok(())
}

/// What the old server wrote beside us is tracked once a migration has seen it.
fn only_if_tracked(value: Document) -> Document {
    doc! { "$cond": [{ "$isNumber": "$supplied" }, value, "$$REMOVE"] }
}

/// Takes (or, negative, gives back) units that were never reserved, on a product only. `accounted` of
/// them the order itself accounts for from now on.
async fn unreserved(
    db: &Db,
    session: &mut ClientSession,
    line: &CartLine,
    count: i64,
    accounted: i64,
) -> mongodb::error::Result<()> {
    let (stock, sold) = (whole_in("$stock"), whole_in("$sold_out"));
    let none = Bson::Int64(0);
    let update = vec![
        doc! { "$set": {
            // What others have reserved is theirs.
            "stock": { "$max": [
                none.clone(), whole_in("$reserved"), { "$subtract": [stock, Bson::Int64(count)] },
            ] },
            "sold_out": { "$max": [none, { "$add": [sold.clone(), Bson::Int64(count)] }] },
            // What no order accounts for: the rest of the change.
            "soldEarlier": { "$subtract": [
                whole_in("$soldEarlier"), { "$add": [sold, Bson::Int64(accounted)] },
            ] },
        } },
        // A shelf that could not give what was sold was never that full.
        doc! { "$set": {
            "soldEarlier": only_if_tracked(doc! { "$add": ["$soldEarlier", "$sold_out"] }),
            "supplied": only_if_tracked(doc! { "$add": ["$stock", "$sold_out"] }),
        } },
    ];
    let products = db.listings(Kind::Product);
    products.update_one(doc! { "_id": line.id }, update).session(session).await?;
    db.touched(Touched::Listing(Kind::Product, line.id));
    Ok(())
}

pub(super) async fn move_money(
    db: &Db,
    outbox: &Outbox,
    session: &mut ClientSession,
    going: &Going<'_>,
    set: &mut Document,
) -> Result<()> {
    match going.step.money {
        MoneyMove::Stay => {}
        MoneyMove::Credit => match payment_status(going.order) {
            // A payer's bare claim: the shop is credited once the payment is verified.
            Some(PaymentInfo::UNVERIFIED) => {}
            status => {
                if status.is_none() {
                    set.insert("paymentInfo.status", PaymentInfo::SUCCEEDED);
                    set.insert("paidAt", going.change.now);
                }
                let Going { order, change, .. } = *going;
                earnings::credit(db, session, order, change.rates, change.now).await?;
                // What went back while it was on its way.
                earnings::take_back_granted(db, session, order, change.rates, change.now).await?;
                disputes::follow_credit(db, session, order, change.now).await?;
                cases::follow_credit(db, session, order, change.rates, change.now).await?;
            }
        },
        MoneyMove::Reverse => {
            let Going { order, change, .. } = *going;
            earnings::take_back(db, session, order, change.rates, going.back, change.now).await?;
            return_payment(db, outbox, session, going, set).await?;
        }
        MoneyMove::Return => return_payment(db, outbox, session, going, set).await?,
    }
    Ok(())
}

fn payment_status(order: &Order) -> Option<&str> {
    order.payment.as_ref()?.status.as_deref()
}

/// Has the gateway return what it took for the units that come back, if it took anything.
async fn return_payment(
    db: &Db,
    outbox: &Outbox,
    session: &mut ClientSession,
    going: &Going<'_>,
    set: &mut Document,
) -> Result<()> {
    let Going { order, step, change, .. } = *going;
    let paid = db.of::<Payment>().find_one(doc! { "orders": order.id }).session(&mut *session).await?;
    let is_claim = payment_status(order) == Some(PaymentInfo::UNVERIFIED);
    let is_refund = change.wish == Wish::GrantRefund;
    let was_paid = paid.is_some();
    let amount = going.back;
    // A gateway refuses to return nothing.
    if let Some(payment) = paid.filter(|_| amount > Money::ZERO) {
        let why = if is_refund { "refund" } else { "cancelled" };
        let key = earnings::refund_key(why, order);
        payments::ask_return(db, session, outbox, &payment.id, amount, key, change.now).await?;
    }
    // Cash goes back by hand; the order says that it is owed no longer. A payer's claim stays one:
    // should money turn up after all, it must not look as if it had been returned.
    let owed_no_longer = was_paid || (is_refund && !is_claim);
    if owed_no_longer && matches!(step.to, Status::RefundSuccess | Status::Cancelled) {
        set.insert("paymentInfo.status", PaymentInfo::REFUNDED);
    }
    Ok(())
}
