//! Committing checkouts, in groups: whatever is waiting goes into one transaction.
//!
//! A flash sale sends hundreds of checkouts at the same product. One transaction each would be a
//! storm of write conflicts; one transaction for all that wait costs one commit and no conflict.
//! What a group reads is one snapshot, on which each checkout is decided in turn without touching
//! the database ([`decide`]); what they need together is then written. A checkout that cannot be
//! served fails alone. Other nodes may still interfere: then the database makes the transaction
//! start again.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use mongodb::ClientSession;
use shared::{
    db::{AsDriverError, Db, duplicate_key, is_unavailable},
    id::Id,
    model::{
        CartLine, Coupon, Kind, Listing, Order, OrderUser, Payment, PaymentInfo, RememberedAnswer, Shop,
        ShopCopy, Status, StatusChange, StockState, User,
    },
    money::Money,
};
use tokio::sync::{Mutex, mpsc, oneshot};

use super::{
    checkout::{Paid, Placement},
    pricing::{self, Claim, Line, Quote},
    store, wire,
};
use crate::{
    catalogue::rules::{Phase, phase},
    error::{Error, Result},
    idempotency::Answer,
};

/// No more checkouts than this share a transaction.
const GROUP: usize = 64;

/// The checkouts of this node that wait to be committed.
pub struct Checkouts {
    waiting: mpsc::UnboundedSender<Job>,
    /// Whoever holds this commits what is waiting, for everybody.
    queue: Mutex<mpsc::UnboundedReceiver<Job>>,
}

struct Job {
    placement: Arc<Placement>,
    answer: oneshot::Sender<Result<String>>,
}

impl Default for Checkouts {
    fn default() -> Self {
        let (waiting, queue) = mpsc::unbounded_channel();
        Self { waiting, queue: Mutex::new(queue) }
    }
}

impl Checkouts {
    /// Commits a checkout together with whatever else is waiting, and gives its answer's body.
    ///
    /// There is no task of its own for this: whoever comes first commits for those who come while
    /// the group before is being written. Requests are finished even if their client has gone, so
    /// nobody leaves in the middle of it.
    pub(super) async fn commit(&self, db: &Db, placement: Arc<Placement>) -> Result<String> {
        let (answer, mut answered) = oneshot::channel();
        let gone = || Error::Unexpected(anyhow::anyhow!("a checkout was lost before it was committed"));
        self.waiting.send(Job { placement, answer }).or(Err(gone()))?;
        let mut queue = self.queue.lock().await;
        loop {
            match answered.try_recv() {
                Ok(outcome) => return outcome,
                Err(oneshot::error::TryRecvError::Closed) => return Err(gone()),
                Err(oneshot::error::TryRecvError::Empty) => {}
            }
            let mut group = Vec::new();
            while group.len() < GROUP
                && let Ok(job) = queue.try_recv()
            {
                group.push(job);
            }
            if group.is_empty() {
                return Err(gone());
            }
            commit_group(db, group).await;
        }
    }
}

async fn commit_group(db: &Db, group: Vec<Job>) {
    let (placements, answers): (Vec<_>, Vec<_>) =
        group.into_iter().map(|job| (job.placement, job.answer)).unzip();
    metrics::histogram!("checkout_group_size")
        .record(f64::from(u32::try_from(placements.len()).unwrap_or(0)));
    let outcomes = match commit(db, placements.clone()).await {
        Ok(outcomes) => outcomes,
        Err(failure) if placements.len() == 1 => vec![Err(failure.into())],
        // That concerns them all, and to try each alone would only take longer. Where it is not known
        // whether the group was committed, it could even be committed twice.
        Err(Failure::Database(error)) if is_unavailable(&error) => {
            placements.iter().map(|_| Err(error.clone().into())).collect()
        }
        // One of them may be the reason; each is tried alone, so that it fails alone.
        Err(_) => {
            let mut outcomes = Vec::new();
            for placement in placements {
                outcomes.push(match commit(db, vec![placement]).await {
                    Ok(mut alone) => alone.pop().unwrap_or_else(|| Err(wire::PAYMENT_USED.into())),
                    Err(failure) => Err(failure.into()),
                });
            }
            outcomes
        }
    };
    for (answer, outcome) in answers.into_iter().zip(outcomes) {
        // Nobody waits for it any more: then nobody needs to know.
        _ = answer.send(outcome);
    }
}

/// Why a whole group could not be committed.
#[derive(Debug)]
enum Failure {
    Database(mongodb::error::Error),
    /// A payment id was used in between, by another node.
    PaymentUsed,
    /// The stock was changed by somebody who writes no numbers.
    StockUnreadable,
    Unexpected(anyhow::Error),
}

impl From<mongodb::error::Error> for Failure {
    fn from(error: mongodb::error::Error) -> Self {
        Self::Database(error)
    }
}

impl AsDriverError for Failure {
    fn driver_error(&self) -> Option<&mongodb::error::Error> {
        match self {
            Self::Database(error) => Some(error),
            _ => None,
        }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Database(error) => error.into(),
            Failure::PaymentUsed => wire::PAYMENT_USED.into(),
            Failure::StockUnreadable => wire::OUT_OF_STOCK.into(),
            Failure::Unexpected(cause) => Self::Unexpected(cause),
        }
    }
}

/// Commits a group in one transaction; each checkout has an outcome of its own.
async fn commit(db: &Db, group: Vec<Arc<Placement>>) -> Result<Vec<Result<String>>, Failure> {
    let group: Arc<[Arc<Placement>]> = group.into();
    db.transaction(|session| {
        let (db, group) = (db.clone(), Arc::clone(&group));
        Box::pin(async move {
            let mut snapshot = read(&db, session, &group).await?;
            let mut writes = Writes::default();
            let mut outcomes = Vec::with_capacity(group.len());
            for placement in group.iter() {
                outcomes.push(decide(placement, &mut snapshot, &mut writes));
            }
            write(&db, session, writes).await?;
            Ok(outcomes)
        })
    })
    .await
}

/// What a group of checkouts has to know, as of one moment, with what the group itself takes.
#[derive(Default)]
struct Snapshot {
    listings: HashMap<Id<Listing>, (Kind, Listing)>,
    shops: HashMap<Id<Shop>, Shop>,
    /// Oldest first.
    coupons: Vec<Coupon>,
    buyers: HashMap<Id<User>, User>,
    answers: HashMap<String, RememberedAnswer>,
    payments: HashSet<String>,
}

/// What a group of checkouts changes.
#[derive(Default)]
struct Writes {
    reserve: BTreeMap<(Kind, Id<Listing>), i64>,
    orders: Vec<Order>,
    payments: Vec<Payment>,
    answers: Vec<RememberedAnswer>,
}

async fn read(db: &Db, session: &mut ClientSession, group: &[Arc<Placement>]) -> Result<Snapshot, Failure> {
    let mut snapshot = Snapshot::default();
    let memories: Vec<&str> =
        group.iter().filter_map(|p| p.memory.as_ref()).map(|memory| memory.id.as_str()).collect();
    let answers = store::answers(db, session, &memories).await?;
    snapshot.answers = answers.into_iter().map(|answer| (answer.id.clone(), answer)).collect();
    let buyers = distinct(group.iter().map(|p| p.wanted.buyer));
    let buyers = store::buyers(db, session, &buyers).await?;
    snapshot.buyers = buyers.into_iter().map(|buyer| (buyer.id, buyer)).collect();
    let mut missing = distinct(group.iter().flat_map(|p| p.wanted.lines.iter().map(|line| line.id)));
    for kind in [Kind::Product, Kind::Event] {
        if missing.is_empty() {
            break;
        }
        for listing in store::listings(db, session, kind, &missing).await? {
            snapshot.listings.insert(listing.id, (kind, listing));
        }
        missing.retain(|id| !snapshot.listings.contains_key(id));
    }
    let shops = distinct(snapshot.listings.values().map(|(_, listing)| listing.shop_id));
    // A listing whose shop is gone or blocked is not sold.
    let open = store::shops(db, session, &shops).await?.into_iter().filter(|shop| !shop.blocked);
    snapshot.shops = open.map(|shop| (shop.id, shop)).collect();
    let named: Vec<&str> = group.iter().filter_map(|p| p.wanted.coupon.as_deref()).collect();
    snapshot.coupons = crate::coupons::store::candidates(db, session, &shops, &named).await?;
    let payments: Vec<&str> = group.iter().filter_map(|p| p.paid.verified()).map(|p| p.id.as_str()).collect();
    snapshot.payments = store::used_payments(db, session, &payments).await?;
    Ok(snapshot)
}

fn distinct<T: Ord>(ids: impl Iterator<Item = T>) -> Vec<T> {
    ids.collect::<std::collections::BTreeSet<_>>().into_iter().collect()
}

async fn write(db: &Db, session: &mut ClientSession, writes: Writes) -> Result<(), Failure> {
    for kind in [Kind::Product, Kind::Event] {
        let counts: Vec<_> = writes
            .reserve
            .iter()
            .filter(|((of, _), _)| *of == kind)
            .map(|((_, id), count)| (*id, *count))
            .collect();
        if !counts.is_empty() && !store::reserve(db, session, kind, &counts).await? {
            return Err(Failure::StockUnreadable);
        }
    }
    if !writes.orders.is_empty() {
        db.of::<Order>().insert_many(&writes.orders).session(&mut *session).await?;
    }
    if !writes.payments.is_empty() {
        let inserted = db.of::<Payment>().insert_many(&writes.payments).session(&mut *session).await;
        inserted.map_err(|error| match duplicate_key(&error) {
            Some(_) => Failure::PaymentUsed,
            None => error.into(),
        })?;
    }
    if !writes.answers.is_empty() {
        store::remember(db, session, &writes.answers).await.map_err(|error| {
            match error.downcast::<mongodb::error::Error>() {
                Ok(error) => Failure::Database(error),
                Err(error) => Failure::Unexpected(error),
            }
        })?;
    }
    Ok(())
}

/// Decides one checkout on the snapshot. If it can be served, the snapshot has less left for those
/// that follow, and the writes have what it needs; if not, neither is touched.
fn decide(placement: &Placement, snapshot: &mut Snapshot, writes: &mut Writes) -> Result<String> {
    let Placement { config, wanted, paid, memory, .. } = placement;
    if let Some(memory) = memory
        && let Some(remembered) = snapshot.answers.get(&memory.id)
        && let Some(answer) = memory.recall(remembered)?
    {
        return Ok(answer.body);
    }
    let buyer =
        snapshot.buyers.get(&wanted.buyer).ok_or_else(|| Error::field("user", "is not an account here"))?;
    let (lines, kinds) = lines(placement, snapshot)?;
    let coupons = coupons(placement, snapshot, &lines);
    let claim = Claim {
        total: wanted.total,
        coupon_named: wanted.coupon.is_some(),
        total_may_be_missing: matches!(paid, Paid::OnDelivery | Paid::Verified { .. }),
    };
    let quote = pricing::quote(&lines, config.shipping, &coupons, claim).map_err(wire::no_quote)?;
    let coupon = quote.coupon.and_then(|i| coupons.get(i)).map(|coupon| coupon.name.clone());
    let orders = orders(placement, &quote, &lines, &kinds, &snapshot.shops, buyer, coupon);
    let payment = payment(placement, &quote, &orders, snapshot)?;
    let replies = orders.iter().cloned().map(|order| wire::OrderReply::of(config, order)).collect();
    let answer = Answer::created(&wire::OrderList { success: true, orders: replies })?;

    // Nothing can fail from here on.
    for (line, kind) in lines.iter().zip(&kinds) {
        *writes.reserve.entry((*kind, line.listing.id)).or_default() += line.count;
        if let Some((_, listing)) = snapshot.listings.get_mut(&line.listing.id) {
            listing.reserved += line.count;
        }
    }
    writes.orders.extend(orders);
    if let Some(payment) = payment {
        snapshot.payments.insert(payment.id.clone());
        writes.payments.push(payment);
    }
    if let Some(memory) = memory {
        let remembered = memory.remembered(answer.clone());
        snapshot.answers.insert(memory.id.clone(), remembered.clone());
        writes.answers.push(remembered);
    }
    Ok(answer.body)
}

/// The cart's listings, products or events, in the cart's order, all of them to be had.
fn lines(placement: &Placement, snapshot: &Snapshot) -> Result<(Vec<Line>, Vec<Kind>)> {
    let wanted = &placement.wanted;
    let mut lines = Vec::with_capacity(wanted.lines.len());
    let mut kinds = Vec::with_capacity(wanted.lines.len());
    for line in &wanted.lines {
        let (kind, listing) = snapshot.listings.get(&line.id).ok_or_else(|| {
            let name = if line.name.is_empty() { line.id.hex() } else { line.name.clone() };
            wire::ITEM_GONE.saying(format!("\"{name}\" is no longer sold; please take it out of the cart"))
        })?;
        let name = &listing.name;
        if *kind == Kind::Event && phase(listing, placement.now) != Phase::Running {
            let message = format!("\"{name}\" is not on sale at the moment");
            return Err(wire::NOT_RUNNING.saying(message).into());
        }
        if !snapshot.shops.contains_key(&listing.shop_id) {
            let message = format!("\"{name}\" is no longer sold: its shop is closed");
            return Err(wire::ITEM_GONE.saying(message).into());
        }
        // Only an old listing: what cannot be read as a price must not be given away, and one below
        // nothing would pay for the rest of the cart.
        if listing.price <= Money::ZERO {
            return Err(wire::ITEM_GONE.saying(format!("\"{name}\" has no price and cannot be sold")).into());
        }
        kinds.push(*kind);
        lines.push(Line { listing: listing.clone(), count: line.count });
    }
    let short: Vec<String> = lines
        .iter()
        .filter(|line| line.listing.available() < line.count)
        .map(|line| {
            let left = line.listing.available();
            format!("\"{}\" (wanted {}, {left} left)", line.listing.name, line.count)
        })
        .collect();
    if short.is_empty() {
        Ok((lines, kinds))
    } else {
        let message = format!("There is not enough left of {}", short.join(", "));
        Err(wire::OUT_OF_STOCK.saying(message).into())
    }
}

/// The coupons that could apply: the one that was named, or all of the cart's shops.
fn coupons(placement: &Placement, snapshot: &Snapshot, lines: &[Line]) -> Vec<Coupon> {
    let candidates = snapshot.coupons.iter();
    match &placement.wanted.coupon {
        Some(name) => candidates.filter(|coupon| coupon.name == *name).cloned().collect(),
        None => candidates
            .filter(|coupon| lines.iter().any(|line| line.listing.shop_id == coupon.seller.id))
            .cloned()
            .collect(),
    }
}

/// The record that marks a payment as used for these orders. It must be of exactly what they cost,
/// and its id can be used once.
fn payment(
    placement: &Placement,
    quote: &Quote,
    orders: &[Order],
    snapshot: &Snapshot,
) -> Result<Option<Payment>> {
    let Paid::Verified { gateway, payment } = &placement.paid else { return Ok(None) };
    if snapshot.payments.contains(&payment.id) {
        return Err(wire::PAYMENT_USED.into());
    }
    if payment.amount != quote.total {
        return Err(wire::NOT_PAID
            .saying(format!("{} was paid, but the cart comes to {}", payment.amount, quote.total))
            .into());
    }
    Ok(Some(Payment {
        id: payment.id.clone(),
        gateway: (*gateway).to_owned(),
        minor: payment.amount.minor(),
        checkout_id: orders.first().and_then(|order| order.checkout_id.clone()).unwrap_or_default(),
        orders: orders.iter().map(|order| order.id).collect(),
        at: placement.now,
    }))
}

/// One order a share.
fn orders(
    placement: &Placement,
    quote: &Quote,
    lines: &[Line],
    kinds: &[Kind],
    shops: &HashMap<Id<Shop>, Shop>,
    buyer: &User,
    coupon: Option<String>,
) -> Vec<Order> {
    let Placement { config, wanted, paid, now, .. } = placement;
    let checkout_id = Id::<Order>::new().hex();
    let (id, status, paid_at) = match paid {
        Paid::OnDelivery => (None, None, None),
        Paid::Verified { payment, .. } => {
            (Some(payment.id.clone()), Some(PaymentInfo::SUCCEEDED), Some(*now))
        }
        Paid::Claimed(payer) => (Some(payer.clone()), Some(PaymentInfo::UNVERIFIED), None),
    };
    let kind = Some(wanted.payment.text().to_owned());
    let payment = PaymentInfo { id, status: status.map(str::to_owned), kind };
    quote
        .shares
        .iter()
        .map(|share| Order {
            id: Id::new(),
            cart: share
                .lines
                .iter()
                .zip(&share.paid)
                .filter_map(|(i, paid)| {
                    Some(cart_line(lines.get(*i)?, *kinds.get(*i)?, shops.get(&share.shop)?, *paid))
                })
                .collect(),
            shipping_address: Some(wanted.address.clone()),
            user: Some(OrderUser {
                id: buyer.id,
                name: buyer.name.clone(),
                phone_number: buyer.phone_number,
            }),
            total: share.total,
            status: Status::Processing,
            payment: Some(payment.clone()),
            paid_at,
            created_at: Some(*now),
            shop_id: share.shop,
            checkout_id: Some(checkout_id.clone()),
            subtotal: Some(share.subtotal),
            shipping_cost: Some(share.shipping),
            discount: Some(share.discount),
            coupon_code: coupon.clone().filter(|_| share.discount > Money::ZERO),
            service_fee: Some(config.service_fee),
            stock_state: StockState::Reserved,
            history: vec![StatusChange { status: Status::Processing, at: Some(*now), note: None }],
            ..Order::default()
        })
        .collect()
}

/// The listing as it is bought. Names, prices and pictures come from the database, never from the cart.
fn cart_line(line: &Line, kind: Kind, shop: &Shop, paid: Money) -> CartLine {
    let listing = &line.listing;
    CartLine {
        id: listing.id,
        kind: Some(kind),
        name: listing.name.clone(),
        description: listing.description.clone(),
        category: listing.category.clone(),
        tags: listing.tags.clone(),
        original_price: listing.original_price,
        price: listing.price,
        count: line.count,
        images: listing.images.clone(),
        shop_id: listing.shop_id,
        shop: Some(ShopCopy { id: shop.id, name: shop.name.clone(), avatar: shop.avatar.clone() }),
        paid: Some(paid),
        refunded: 0,
        is_reviewed: false,
    }
}
