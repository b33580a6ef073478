//! Placing orders: everything that a checkout touches changes in one transaction, or nothing does.

use std::{collections::HashMap, sync::Arc, time::Duration};

use bson::doc;
use mongodb::ClientSession;
use shared::{
    auth::digest,
    clock::{Timestamp, plus},
    config::Config,
    db::{Db, duplicate_key},
    id::Id,
    model::{
        CartLine, Kind, Listing, Order, OrderUser, OutboxJob, Payment, PaymentInfo, RememberedAnswer,
        ShippingAddress, Shop, ShopCopy, Status, StatusChange, StockState, User,
    },
    money::Money,
};

use super::{
    pricing::{self, Claim, Line, Quote},
    store::{self, SUCCEEDED, UNVERIFIED},
    wire,
};
use crate::{
    catalogue::rules,
    coupons,
    error::{Error, Result},
    payments::GatewayPayment,
    state::App,
};

/// How long an answer is kept for a caller's own key.
const KEY_LIFE: Duration = Duration::from_secs(24 * 60 * 60);

/// Lets the checkouts of this node take turns. Two that want the same units would only conflict in
/// the database and have to be repeated; across nodes that is what happens.
#[derive(Debug, Default)]
pub struct Checkouts {
    turn: tokio::sync::Mutex<()>,
}

/// A checkout as it was asked for, checked for form.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub buyer: Id<User>,
    /// Each listing once.
    pub lines: Vec<WantedLine>,
    pub address: ShippingAddress,
    pub total: Option<Money>,
    pub coupon: Option<String>,
    pub payment: Means,
    /// The caller's `Idempotency-Key`.
    pub key: Option<String>,
}

#[derive(Clone, Debug)]
pub(super) struct WantedLine {
    pub id: Id<Listing>,
    pub count: i64,
    /// What the browser calls it.
    pub name: String,
}

/// How it is to be paid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Means {
    /// In cash, to whoever delivers.
    OnDelivery,
    /// A card payment that was made: its id.
    Card(String),
    /// A PayPal order or capture, or, from the existing client, merely the payer: its id.
    Paypal(String),
}

impl Means {
    const fn text(&self) -> &'static str {
        match self {
            Self::OnDelivery => "Cash on Delivery",
            Self::Card(_) => "Credit Card",
            Self::Paypal(_) => "Paypal",
        }
    }
}

/// What the gateway says about the payment.
#[derive(Clone, Debug)]
enum Paid {
    /// Nothing to ask.
    OnDelivery,
    /// The money has been taken.
    Verified { gateway: &'static str, payment: GatewayPayment },
    /// A payer's bare claim.
    Claimed(String),
}

/// Places a checkout and gives the answer's body; the same request again gets the same answer.
pub(super) async fn place(app: &Arc<App>, wanted: Wanted) -> Result<String> {
    let now = app.clock.now();
    let memory = Memory::of(&wanted, &app.config, now);
    // A repeated request must not ask about a payment that its first one has used.
    if let Some(memory) = &memory
        && let Some(answer) = recall(&app.db, None, memory, now).await?
    {
        return Ok(answer);
    }
    let paid = ask_gateway(app, &wanted).await?;
    let placement = Arc::new(Placement { config: Arc::clone(&app.config), wanted, paid, memory, now });
    let outcome = {
        let _turn = app.checkouts.turn.lock().await;
        commit(&app.db, &placement).await
    };
    match (&outcome, &placement.paid) {
        (Err(Error::Refused(refusal)), Paid::Verified { gateway, payment })
            if [wire::OUT_OF_STOCK, wire::ITEM_GONE, wire::NOT_RUNNING]
                .iter()
                .any(|known| known.code() == refusal.code()) =>
        {
            give_back(app, gateway, payment, now).await?;
        }
        _ => {}
    }
    outcome
}

/// Everything a run of the transaction needs; it may run several times.
struct Placement {
    config: Arc<Config>,
    wanted: Wanted,
    paid: Paid,
    memory: Option<Memory>,
    now: Timestamp,
}

/// Under which name an answer is remembered, and for how long.
#[derive(Clone, Debug)]
struct Memory {
    id: String,
    fingerprint: String,
    expires_at: Timestamp,
}

impl Memory {
    /// None where nothing is to be remembered.
    fn of(wanted: &Wanted, config: &Config, now: Timestamp) -> Option<Self> {
        let fingerprint = digest(&format!(
            "{:?}",
            (&wanted.lines, &wanted.address, wanted.total, &wanted.coupon, &wanted.payment)
        ));
        let (id, life) = match &wanted.key {
            Some(key) => (format!("create-order:{}:key:{}", wanted.buyer, digest(key)), KEY_LIFE),
            None if config.duplicate_order_window.is_zero() => return None,
            None => {
                (format!("create-order:{}:same:{fingerprint}", wanted.buyer), config.duplicate_order_window)
            }
        };
        let millis = i64::try_from(life.as_millis()).unwrap_or(i64::MAX);
        Some(Self { id, fingerprint, expires_at: plus(now, millis) })
    }
}

/// The remembered answer, if there is one that still counts.
async fn recall(
    db: &Db,
    session: Option<&mut ClientSession>,
    memory: &Memory,
    now: Timestamp,
) -> Result<Option<String>> {
    let answers = db.of::<RememberedAnswer>();
    let find = answers.find_one(doc! { "_id": &memory.id });
    let found = match session {
        Some(session) => find.session(session).await?,
        None => find.await?,
    };
    match found.filter(|answer| answer.expires_at > now) {
        Some(answer) if answer.fingerprint == memory.fingerprint => Ok(Some(answer.answer)),
        Some(_) => Err(wire::KEY_REUSED.into()),
        None => Ok(None),
    }
}

async fn ask_gateway(app: &App, wanted: &Wanted) -> Result<Paid> {
    let verified = |gateway, payment: GatewayPayment| {
        if !payment.succeeded {
            return Err(Error::from(
                wire::NOT_PAID.saying(format!("Payment {} has not succeeded", payment.id)),
            ));
        }
        if payment.currency != app.config.currency {
            return Err(wire::NOT_PAID
                .saying(format!("Payment {} is in another currency", payment.id))
                .into());
        }
        Ok(Paid::Verified { gateway, payment })
    };
    match &wanted.payment {
        Means::OnDelivery => Ok(Paid::OnDelivery),
        Means::Card(id) => {
            let gateway = app.gateways.cards()?;
            let payment = gateway.look_up(id).await?;
            let payment =
                payment.ok_or_else(|| wire::NOT_PAID.saying(format!("There is no payment {id}")))?;
            verified(gateway.name(), payment)
        }
        Means::Paypal(id) => match app.gateways.paypal() {
            Some(gateway) => match gateway.look_up(id).await? {
                Some(payment) => verified(gateway.name(), payment),
                None => Ok(Paid::Claimed(id.clone())),
            },
            None => Ok(Paid::Claimed(id.clone())),
        },
    }
}

async fn commit(db: &Db, placement: &Arc<Placement>) -> Result<String> {
    db.transaction(|session| {
        let (db, placement) = (db.clone(), Arc::clone(placement));
        Box::pin(async move { commit_once(&db, session, &placement).await })
    })
    .await
}

async fn commit_once(db: &Db, session: &mut ClientSession, placement: &Placement) -> Result<String> {
    let Placement { config, wanted, paid, memory, now } = placement;
    if let Some(memory) = memory
        && let Some(answer) = recall(db, Some(&mut *session), memory, *now).await?
    {
        return Ok(answer);
    }
    let buyer = db
        .of::<User>()
        .find_one(doc! { "_id": wanted.buyer })
        .session(&mut *session)
        .await?
        .ok_or_else(|| Error::field("user", "is not an account here"))?;
    let (lines, kinds) = read_lines(db, session, wanted, *now).await?;
    let shops = read_shops(db, session, &lines).await?;
    check_stock(&lines)?;
    let coupons = coupons::store::candidates(
        db,
        session,
        &shops.keys().copied().collect::<Vec<_>>(),
        wanted.coupon.as_deref(),
    )
    .await?;
    let claim = Claim {
        total: wanted.total,
        coupon_named: wanted.coupon.is_some(),
        total_may_be_missing: matches!(paid, Paid::OnDelivery | Paid::Verified { .. }),
    };
    let quote = pricing::quote(&lines, config.shipping, &coupons, claim).map_err(wire::no_quote)?;
    for (line, kind) in lines.iter().zip(&kinds) {
        if !store::reserve(db, session, *kind, line.listing.id, line.count).await? {
            return Err(out_of_stock(std::iter::once(line)));
        }
    }
    let coupon = quote.coupon.and_then(|i| coupons.get(i)).map(|coupon| coupon.name.clone());
    let orders = orders(placement, &quote, &lines, &kinds, &shops, &buyer, coupon);
    db.of::<Order>().insert_many(&orders).session(&mut *session).await?;
    if let Paid::Verified { gateway, payment } = paid {
        use_payment(db, session, gateway, payment, &quote, &orders, *now).await?;
    }
    let orders = orders.into_iter().map(|order| wire::OrderReply::of(config, order)).collect();
    let answer =
        serde_json::to_string(&wire::OrderList { success: true, orders }).map_err(anyhow::Error::from)?;
    if let Some(memory) = memory {
        let remembered = RememberedAnswer {
            id: memory.id.clone(),
            fingerprint: memory.fingerprint.clone(),
            answer: answer.clone(),
            expires_at: memory.expires_at,
        };
        db.of::<RememberedAnswer>()
            .replace_one(doc! { "_id": &memory.id }, remembered)
            .upsert(true)
            .session(session)
            .await?;
    }
    Ok(answer)
}

/// The cart's listings, products or events, in the cart's order.
async fn read_lines(
    db: &Db,
    session: &mut ClientSession,
    wanted: &Wanted,
    now: Timestamp,
) -> Result<(Vec<Line>, Vec<Kind>)> {
    let mut found: HashMap<Id<Listing>, (Kind, Listing)> = HashMap::new();
    for kind in [Kind::Product, Kind::Event] {
        let missing: Vec<_> =
            wanted.lines.iter().map(|line| line.id).filter(|id| !found.contains_key(id)).collect();
        if !missing.is_empty() {
            let listings = store::listings(db, session, kind, &missing).await?;
            found.extend(listings.into_iter().map(|listing| (listing.id, (kind, listing))));
        }
    }
    let mut lines = Vec::with_capacity(wanted.lines.len());
    let mut kinds = Vec::with_capacity(wanted.lines.len());
    for line in &wanted.lines {
        let (kind, listing) = found.remove(&line.id).ok_or_else(|| {
            let name = if line.name.is_empty() { line.id.hex() } else { line.name.clone() };
            wire::ITEM_GONE.saying(format!("\"{name}\" is no longer sold; please take it out of the cart"))
        })?;
        if kind == Kind::Event && rules::phase(&listing, now) != rules::Phase::Running {
            return Err(wire::NOT_RUNNING
                .saying(format!("\"{}\" is not on sale at the moment", listing.name))
                .into());
        }
        kinds.push(kind);
        lines.push(Line { listing, count: line.count });
    }
    Ok((lines, kinds))
}

/// The shops of a cart; a listing whose shop is gone or blocked is not sold.
async fn read_shops(db: &Db, session: &mut ClientSession, lines: &[Line]) -> Result<HashMap<Id<Shop>, Shop>> {
    let mut ids: Vec<_> = lines.iter().map(|line| line.listing.shop_id).collect();
    ids.sort_unstable();
    ids.dedup();
    let shops = store::shops(db, session, &ids).await?;
    let shops: HashMap<_, _> =
        shops.into_iter().filter(|shop| !shop.blocked).map(|shop| (shop.id, shop)).collect();
    match lines.iter().find(|line| !shops.contains_key(&line.listing.shop_id)) {
        Some(line) => Err(wire::ITEM_GONE
            .saying(format!("\"{}\" is no longer sold: its shop is closed", line.listing.name))
            .into()),
        None => Ok(shops),
    }
}

fn check_stock(lines: &[Line]) -> Result<()> {
    let mut short = lines.iter().filter(|line| line.listing.available() < line.count).peekable();
    if short.peek().is_some() { Err(out_of_stock(short)) } else { Ok(()) }
}

/// Names every line that cannot be had, with what is left.
fn out_of_stock<'a>(lines: impl Iterator<Item = &'a Line>) -> Error {
    let named: Vec<String> = lines
        .map(|line| {
            let left = line.listing.available();
            format!("\"{}\" (wanted {}, {left} left)", line.listing.name, line.count)
        })
        .collect();
    wire::OUT_OF_STOCK.saying(format!("There is not enough left of {}", named.join(", "))).into()
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
        Paid::Verified { payment, .. } => (Some(payment.id.clone()), Some(SUCCEEDED), Some(*now)),
        Paid::Claimed(payer) => (Some(payer.clone()), Some(UNVERIFIED), None),
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
                .filter_map(|i| Some(cart_line(lines.get(*i)?, *kinds.get(*i)?, shops.get(&share.shop)?)))
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
            history: vec![StatusChange { status: Status::Processing, at: Some(*now) }],
            ..Order::default()
        })
        .collect()
}

/// The listing as it is bought. Names, prices and pictures come from the database, never from the cart.
fn cart_line(line: &Line, kind: Kind, shop: &Shop) -> CartLine {
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
        is_reviewed: false,
    }
}

/// Marks a payment as used for these orders. It must be of exactly what they cost, and its id can be
/// used once.
async fn use_payment(
    db: &Db,
    session: &mut ClientSession,
    gateway: &str,
    payment: &GatewayPayment,
    quote: &Quote,
    orders: &[Order],
    now: Timestamp,
) -> Result<()> {
    if payment.amount != quote.total {
        return Err(wire::NOT_PAID
            .saying(format!("{} was paid, but the cart comes to {}", payment.amount, quote.total))
            .into());
    }
    let used = Payment {
        id: payment.id.clone(),
        gateway: gateway.to_owned(),
        minor: payment.amount.minor(),
        checkout_id: orders.first().and_then(|order| order.checkout_id.clone()).unwrap_or_default(),
        orders: orders.iter().map(|order| order.id).collect(),
        at: now,
    };
    insert_payment(db, session, used).await
}

async fn insert_payment(db: &Db, session: &mut ClientSession, payment: Payment) -> Result<()> {
    db.of::<Payment>().insert_one(payment).session(session).await.map(drop).map_err(|error| {
        if duplicate_key(&error).is_some() { wire::PAYMENT_USED.into() } else { error.into() }
    })
}

/// Money was taken for a checkout that cannot be served: the payment is used up and refunded.
async fn give_back(app: &App, gateway: &str, payment: &GatewayPayment, now: Timestamp) -> Result<()> {
    let given_back = app
        .db
        .transaction(|session| {
            let (db, outbox) = (app.db.clone(), app.outbox.clone());
            let used = Payment {
                id: payment.id.clone(),
                gateway: gateway.to_owned(),
                minor: payment.amount.minor(),
                checkout_id: String::new(),
                orders: vec![],
                at: now,
            };
            Box::pin(async move {
                let job = OutboxJob::Refund {
                    payment_id: used.id.clone(),
                    minor: used.minor,
                    idempotency_key: format!("unserved:{}", used.id),
                };
                insert_payment(&db, session, used).await?;
                outbox.add_in(session, job).await?;
                Ok(())
            })
        })
        .await;
    app.outbox.wake();
    match given_back {
        // Used by other orders, or given back already: then there is nothing to return.
        Err(Error::Refused(refusal)) if refusal.code() == wire::PAYMENT_USED.code() => Ok(()),
        outcome => outcome,
    }
}
