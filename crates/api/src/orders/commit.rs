//! Committing checkouts, in groups: whatever is waiting goes into one transaction.
//!
//! A flash sale sends hundreds of checkouts at the same product. One transaction each would be a
//! storm of write conflicts; one transaction for all that wait costs one commit and no conflict.
//!
//! While one group is written, what the next one has to know is read. Each of its checkouts is then
//! decided in turn, without touching the database ([`decide`]), and what they need together is
//! written **on the condition that it is still so**: enough left, at the price that was read, the
//! payment unused, the answer not given yet. If it is not, because another node or a seller came in
//! between, nothing is written, and the group is read and decided again. A checkout that cannot be
//! served fails alone.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use mongodb::ClientSession;
use shared::{
    backlog::Backlog,
    db::{AsDriverError, Db, duplicate_key, is_gone, is_unavailable},
    id::Id,
    model::{
        CartLine, Coupon, Kind, Listing, News, Order, OrderUser, Outbox, Payment, PaymentInfo,
        RememberedAnswer, Shop, ShopCopy, Status, StatusChange, StockState, User,
    },
    money::Money,
};
use tokio::{
    runtime::Handle,
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::Instant,
};

use super::{
    checkout::{Paid, Placement},
    pricing::{self, Claim, Line, Quote},
    store::{self, Offer, Reservation},
    wire,
};
use crate::{
    catalogue::rules::{Phase, phase},
    error::{Error, Result},
    idempotency::Answer,
    news,
    payments::store as payments,
};

/// No more checkouts than this share a transaction.
const GROUP: usize = 64;

/// While nothing is being written, a group waits for no more than so many rounds of reading: those
/// who came during one are taken along by the next.
const ROUNDS: u32 = 3;

/// So often a group that was overtaken is read and decided again.
const ATTEMPTS: u32 = 6;

/// After so many attempts the database calculates what is left, instead of comparing with what was read:
/// slower, but nothing that leaves enough overtakes it.
const PATIENT: u32 = 2;

/// Who has waited so long for a turn gets none: whoever asked is about to be told that it is not known what has become
/// of it, and what nobody has heard of must not be bought later.
const TURN: Duration = Duration::from_secs(15);

/// The checkouts of this node that wait to be committed.
pub struct Checkouts(Arc<Backlog<Job>>);

struct Job {
    placement: Arc<Placement>,
    since: Instant,
    answer: oneshot::Sender<Result<String>>,
}

impl Job {
    /// Nothing of it has been begun, nor will be.
    fn give_up(self, why: &'static str) {
        _ = self.answer.send(Err(Error::Unavailable(anyhow::anyhow!(why))));
    }
}

impl Checkouts {
    /// What is committed runs on `runtime`.
    pub(crate) fn new(runtime: Handle) -> Self {
        Self(Arc::new(Backlog::new(runtime)))
    }

    /// Commits a checkout together with whatever else is waiting, and gives its answer's body.
    pub(super) async fn commit(&self, db: &Db, placement: Arc<Placement>) -> Result<String> {
        let (answer, answered) = oneshot::channel();
        let db = db.clone();
        let job = Job { placement, since: Instant::now(), answer };
        self.0.add(job, move |queue| Box::pin(commit_all(db.clone(), queue)));
        let gone = || Error::Unexpected(anyhow::anyhow!("a checkout was lost before it was committed"));
        answered.await.unwrap_or_else(|_| Err(gone()))
    }
}

/// Commits group after group until nobody waits.
async fn commit_all(db: Db, queue: &mut mpsc::UnboundedReceiver<Job>) {
    let mut writing = None;
    loop {
        let mut group = gather(&db, queue, &mut writing).await;
        if group.gone {
            // Who waits for a turn would only find out the same, group by group and ever later.
            group.jobs.drain(..).for_each(|job| job.give_up(GONE));
            while let Ok(job) = queue.try_recv() {
                job.give_up(GONE);
            }
        }
        if let Some(writing) = writing.take() {
            // If it was lost to a panic, then so were its answers, and those who wait know.
            _ = writing.await;
        }
        if group.jobs.is_empty() {
            if group.gone {
                continue;
            }
            return;
        }
        writing = Some(tokio::spawn(commit_group(db.clone(), group)));
    }
}

const GONE: &str = "the database was lost while a checkout waited for its turn";

/// Checkouts that will share a transaction, with what is known for them.
struct Group {
    jobs: Vec<Job>,
    /// None when it could not be read.
    known: Option<Snapshot>,
    /// Because the database was not there.
    gone: bool,
}

/// Takes whoever is waiting, and whoever comes while the group before is still being written.
async fn gather(
    db: &Db,
    queue: &mut mpsc::UnboundedReceiver<Job>,
    writing: &mut Option<JoinHandle<()>>,
) -> Group {
    let mut group = Group { jobs: Vec::new(), known: Some(Snapshot::default()), gone: false };
    let (mut asked, mut rounds) = (0, 0);
    loop {
        while group.jobs.len() < GROUP
            && let Ok(job) = queue.try_recv()
        {
            if job.since.elapsed() > TURN {
                job.give_up("a checkout waited too long for its turn");
            } else {
                group.jobs.push(job);
            }
        }
        let come: Vec<_> = group.jobs.iter().skip(asked).map(|job| Arc::clone(&job.placement)).collect();
        asked = group.jobs.len();
        if let (false, Some(snapshot)) = (come.is_empty(), &mut group.known) {
            // Whoever writes the group tries once more, and tells.
            if let Err(error) = learn(db, snapshot, &come).await {
                group.known = None;
                group.gone = is_gone(&error);
            }
        }
        if group.gone {
            return group;
        }
        if group.jobs.len() >= GROUP {
            return group;
        }
        let Some(before) = writing.as_mut() else {
            rounds += 1;
            if come.is_empty() || rounds >= ROUNDS {
                return group;
            }
            continue;
        };
        tokio::select! {
            biased;
            _ = before => {
                *writing = None;
                if !group.jobs.is_empty() {
                    return group;
                }
            }
            job = queue.recv() => group.jobs.extend(job),
        }
    }
}

async fn commit_group(db: Db, group: Group) {
    let (placements, answers): (Vec<_>, Vec<_>) =
        group.jobs.into_iter().map(|job| (job.placement, job.answer)).unzip();
    metrics::histogram!("checkout_group_size")
        .record(f64::from(u32::try_from(placements.len()).unwrap_or(0)));
    let outcomes = match commit(&db, &placements, group.known).await {
        Ok(outcomes) => outcomes,
        // That concerns them all, and to try each alone would only take longer. Where it is not known
        // whether the group was committed, it could even be committed twice.
        Err(Failure::Database(error)) if is_unavailable(&error) => {
            placements.iter().map(|_| Err(error.clone().into())).collect()
        }
        Err(failure) if placements.len() == 1 => vec![Err(failure.into())],
        // One of them may be the reason; each is tried alone, so that it fails alone.
        Err(_) => {
            let mut outcomes = Vec::new();
            let mut gone = None;
            for placement in placements {
                let alone = match &gone {
                    // Once the database is, nobody waits for it to fail them one by one.
                    Some(error) => Err(Failure::Database(mongodb::error::Error::clone(error))),
                    None => commit(&db, &[placement], None).await,
                };
                outcomes.push(match alone {
                    Ok(mut alone) => alone.pop().unwrap_or_else(|| Err(Failure::Outdated.into())),
                    Err(failure) => {
                        gone = failure.driver_error().filter(|error| is_unavailable(error)).cloned();
                        Err(failure.into())
                    }
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
    /// What was read is no longer so. Again and again, where the stock is changed by somebody who
    /// writes no numbers.
    Outdated,
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
            Self::Outdated => None,
        }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Database(error) => error.into(),
            // Not that it is sold out, which nobody knows: a payment would be given back for that.
            Failure::Outdated => {
                Self::Unavailable(anyhow::anyhow!("what a checkout was decided on has changed every time"))
            }
        }
    }
}

/// Commits a group in one transaction; each checkout has an outcome of its own. What is known for it
/// may be a little old: then nothing is written, and it is read again.
async fn commit(
    db: &Db,
    group: &[Arc<Placement>],
    mut known: Option<Snapshot>,
) -> Result<Vec<Result<String>>, Failure> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        let mut snapshot = match known.take() {
            Some(snapshot) => snapshot,
            None => {
                let mut fresh = Snapshot::default();
                learn(db, &mut fresh, group).await?;
                fresh
            }
        };
        let mut writes = Writes::default();
        let outcomes: Vec<_> =
            group.iter().map(|placement| decide(placement, &mut snapshot, &mut writes)).collect();
        // What was read for those who came first may be older than a request that came later: nobody is
        // refused what was there, and known to be there, when they asked.
        if snapshot.reads > 1 && outcomes.iter().any(Result::is_err) {
            continue;
        }
        if writes.orders.is_empty() {
            return Ok(outcomes);
        }
        if attempt > PATIENT {
            // Where shops hand units over all the time, there are other numbers on the shelf each time.
            writes.reserve.values_mut().for_each(|reservation| reservation.stock = None);
        }
        let writes = Arc::new(writes);
        let written = db.transaction(|session| {
            let (db, writes) = (db.clone(), Arc::clone(&writes));
            Box::pin(async move { write(&db, session, &writes).await })
        });
        match written.await {
            Ok(()) => return Ok(outcomes),
            Err(Failure::Outdated) if attempt < ATTEMPTS => {}
            Err(failure) => return Err(failure),
        }
    }
}

/// What a group of checkouts has to know, with what the group itself takes.
#[derive(Default)]
struct Snapshot {
    /// How often something was read.
    reads: u32,
    listings: HashMap<Id<Listing>, (Kind, Offer)>,
    /// The open ones.
    shops: HashMap<Id<Shop>, Shop>,
    /// Oldest first.
    coupons: BTreeMap<Id<Coupon>, Coupon>,
    buyers: HashMap<Id<User>, User>,
    answers: HashMap<String, RememberedAnswer>,
    /// The known ones, and whether they are used.
    payments: HashMap<String, bool>,
}

/// What a group of checkouts changes.
#[derive(Default)]
struct Writes {
    reserve: BTreeMap<(Kind, Id<Listing>), Reservation>,
    orders: Vec<Order>,
    /// Payments that Souk had not heard of.
    payments: Vec<Payment>,
    /// Those that it has heard of, unused so far.
    claims: Vec<Payment>,
    answers: Vec<RememberedAnswer>,
    /// What everybody is to be told.
    news: Vec<Outbox>,
    /// Answers that count no more, in whose place there are new ones.
    forget: Vec<RememberedAnswer>,
}

/// Reads what is not known yet of what these checkouts need.
///
/// The answers come last: whoever sees anything of an earlier request's effects must also see that it
/// has been answered.
async fn learn(db: &Db, snapshot: &mut Snapshot, come: &[Arc<Placement>]) -> mongodb::error::Result<()> {
    snapshot.reads += 1;
    let buyers = distinct(come.iter().map(|p| p.wanted.buyer).filter(|id| !snapshot.buyers.contains_key(id)));
    let wanted = come.iter().flat_map(|p| p.wanted.lines.iter().map(|line| line.id));
    let mut missing = distinct(wanted.filter(|id| !snapshot.listings.contains_key(id)));
    let payments: Vec<&str> = come.iter().filter_map(|p| p.paid.verified()).map(|p| p.id.as_str()).collect();
    let (buyers, products, payments) = tokio::try_join!(
        store::buyers(db, &buyers),
        store::offers(db, Kind::Product, &missing),
        payments::known(db, &payments),
    )?;
    snapshot.buyers.extend(buyers.into_iter().map(|buyer| (buyer.id, buyer)));
    snapshot.payments.extend(payments);
    let mut shops: Vec<Id<Shop>> = Vec::new();
    let mut add = |kind, offers: Vec<Offer>| {
        shops.extend(offers.iter().map(|offer| offer.listing.shop_id));
        missing.retain(|id| offers.iter().all(|offer| offer.listing.id != *id));
        snapshot.listings.extend(offers.into_iter().map(|offer| (offer.listing.id, (kind, offer))));
        missing.clone()
    };
    let missing = add(Kind::Product, products);
    add(Kind::Event, store::offers(db, Kind::Event, &missing).await?);
    let shops = distinct(shops.into_iter().filter(|id| !snapshot.shops.contains_key(id)));
    let named: Vec<&str> = come.iter().filter_map(|p| p.wanted.coupon.as_deref()).collect();
    let memories: Vec<&str> = come.iter().filter_map(|p| Some(p.memory.as_ref()?.id.as_str())).collect();
    let (shops, coupons, answers) = tokio::try_join!(
        store::shops(db, &shops),
        crate::coupons::store::candidates(db, &shops, &named),
        store::answers(db, &memories),
    )?;
    // A listing whose shop is gone or shut is not sold.
    let open = shops.into_iter().filter(|shop| !shop.is_shut());
    snapshot.shops.extend(open.map(|shop| (shop.id, shop)));
    snapshot.coupons.extend(coupons.into_iter().map(|coupon| (coupon.id, coupon)));
    snapshot.answers.extend(answers.into_iter().map(|answer| (answer.id.clone(), answer)));
    Ok(())
}

fn distinct<T: Ord>(ids: impl Iterator<Item = T>) -> Vec<T> {
    ids.collect::<std::collections::BTreeSet<_>>().into_iter().collect()
}

/// Writes what a group changes, if what it was decided on is still so.
async fn write(db: &Db, session: &mut ClientSession, writes: &Writes) -> Result<(), Failure> {
    // A unique index has the last word on what may be there once.
    let once = |error: mongodb::error::Error| match duplicate_key(&error) {
        Some(_) => Failure::Outdated,
        None => error.into(),
    };
    for kind in [Kind::Product, Kind::Event] {
        let of_kind = writes.reserve.iter().filter(|((of, _), _)| *of == kind);
        let reservations: Vec<_> = of_kind.map(|((_, id), reservation)| (*id, reservation)).collect();
        if !reservations.is_empty() && !store::reserve(db, session, kind, &reservations).await? {
            return Err(Failure::Outdated);
        }
    }
    db.of::<Order>().insert_many(&writes.orders).session(&mut *session).await?;
    db.of::<Outbox>().insert_many(&writes.news).session(&mut *session).await?;
    payments::insert(db, session, &writes.payments).await.map_err(once)?;
    if !payments::claim(db, session, &writes.claims).await? {
        return Err(Failure::Outdated);
    }
    if !writes.forget.is_empty() {
        store::forget(db, session, &writes.forget).await?;
    }
    if !writes.answers.is_empty() {
        db.of::<RememberedAnswer>().insert_many(&writes.answers).session(session).await.map_err(once)?;
    }
    Ok(())
}

/// Decides one checkout on the snapshot. If it can be served, the snapshot has less left for those
/// that follow, and the writes have what it needs; if not, neither is touched.
fn decide(placement: &Placement, snapshot: &mut Snapshot, writes: &mut Writes) -> Result<String> {
    let Placement { config, wanted, memory, .. } = placement;
    if let Some(memory) = memory
        && let Some(remembered) = snapshot.answers.get(&memory.id)
        && let Some(answer) = memory.recall(remembered)?
    {
        return Ok(answer.body);
    }
    let buyer =
        snapshot.buyers.get(&wanted.buyer).ok_or_else(|| Error::field("user", "is not an account here"))?;
    let Priced { lines, kinds, quote, coupon } = priced(placement, snapshot)?;
    let orders = orders(placement, &quote, &lines, &kinds, &snapshot.shops, buyer, coupon);
    let payment = payment(placement, &quote, &orders, snapshot)?;
    let replies = orders.iter().cloned().map(|order| wire::OrderReply::of(config, order)).collect();
    let answer = Answer::created(&wire::OrderList { success: true, orders: replies, place: None })?;

    // Nothing can fail from here on.
    for (line, kind) in lines.iter().zip(&kinds) {
        let Some((_, offer)) = snapshot.listings.get_mut(&line.listing.id) else { continue };
        offer.listing.reserved += line.count;
        let reservation = writes.reserve.entry((*kind, line.listing.id)).or_default();
        reservation.count += line.count;
        if reservation.terms.is_empty() {
            reservation.terms = offer.terms.clone();
            reservation.stock = offer.stock;
        }
    }
    let placed = News::OrdersPlaced { orders: orders.iter().map(|order| order.id).collect() };
    let news = news::to_tell(placed, placement.now);
    writes.news.push(Outbox { request: placement.request.clone(), trace: placement.trace.clone(), ..news });
    writes.orders.extend(orders);
    if let Some(payment) = payment {
        let heard_of = snapshot.payments.insert(payment.id.clone(), true).is_some();
        if heard_of { writes.claims.push(payment) } else { writes.payments.push(payment) }
    }
    if let Some(memory) = memory {
        let remembered = memory.remembered(answer.clone());
        writes.forget.extend(snapshot.answers.insert(memory.id.clone(), remembered.clone()));
        writes.answers.push(remembered);
    }
    Ok(answer.body)
}

/// What a cart comes to at this moment. Nothing is reserved.
pub(super) async fn price(db: &Db, placement: Arc<Placement>) -> Result<Money> {
    let mut snapshot = Snapshot::default();
    learn(db, &mut snapshot, std::slice::from_ref(&placement)).await?;
    Ok(priced(&placement, &snapshot)?.quote.total)
}

/// A cart with its price.
struct Priced {
    lines: Vec<Line>,
    kinds: Vec<Kind>,
    quote: Quote,
    /// The name of the coupon that was applied.
    coupon: Option<String>,
}

fn priced(placement: &Placement, snapshot: &Snapshot) -> Result<Priced> {
    let Placement { config, wanted, paid, .. } = placement;
    let (lines, kinds) = lines(placement, snapshot)?;
    let coupons = coupons(placement, snapshot, &lines);
    let claim = Claim {
        total: wanted.total,
        coupon_named: wanted.coupon.is_some(),
        total_may_be_missing: matches!(paid, Paid::OnDelivery | Paid::Verified { .. }),
    };
    let quote = pricing::quote(&lines, config.shipping, &coupons, claim).map_err(wire::no_quote)?;
    let coupon = quote.coupon.and_then(|i| coupons.get(i)).map(|coupon| coupon.name.clone());
    Ok(Priced { lines, kinds, quote, coupon })
}

/// The cart's listings, products or events, in the cart's order, all of them to be had.
fn lines(placement: &Placement, snapshot: &Snapshot) -> Result<(Vec<Line>, Vec<Kind>)> {
    let wanted = &placement.wanted;
    let mut lines = Vec::with_capacity(wanted.lines.len());
    let mut kinds = Vec::with_capacity(wanted.lines.len());
    for line in &wanted.lines {
        let (kind, Offer { listing, .. }) = snapshot.listings.get(&line.id).ok_or_else(|| {
            let name = if line.name.is_empty() { line.id.hex() } else { line.name.clone() };
            wire::ITEM_GONE.saying(format!("\"{name}\" is no longer sold; please take it out of the cart"))
        })?;
        let name = &listing.name;
        if *kind == Kind::Event && phase(listing, placement.now) != Phase::Running {
            let message = format!("\"{name}\" is not on sale at the moment");
            return Err(wire::NOT_RUNNING.saying(message).into());
        }
        if listing.hidden.is_some() {
            let message = format!("\"{name}\" is not for sale: it was taken off the market");
            return Err(wire::ITEM_GONE.saying(message).into());
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
    let candidates = snapshot.coupons.values();
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
    if snapshot.payments.get(&payment.id) == Some(&true) {
        return Err(wire::PAYMENT_USED.into());
    }
    if payment.amount != quote.total {
        return Err(wire::NOT_PAID
            .saying(format!("{} was paid, but the cart comes to {}", payment.amount, quote.total))
            .into());
    }
    Ok(Some(Payment {
        checkout_id: Some(orders.first().and_then(|order| order.checkout_id.clone()).unwrap_or_default()),
        orders: orders.iter().map(|order| order.id).collect(),
        ..payment.record(gateway, placement.now)
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
        ..CartLine::default()
    }
}
