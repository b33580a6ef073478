//! Everything at once: many clients do as they like, and whoever looks finds the books in order.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bson::doc;
use futures_util::{TryStreamExt as _, future::try_join_all};
use reqwest::{Method, RequestBuilder};
use serde_json::json;
use shared::{
    id::Id,
    model::{Kind, Listing, Order, Status},
};
use tokio::time::Instant;

use super::{
    chance::Chance,
    client::{Answer, Api, Buyer, Seller, in_cash, send},
    stage::Stage,
    verdict::{Differences, Report, Tally, grouped},
};

const SHOPS: usize = 4;
const BUYERS: usize = 12;
/// Few enough that they are often sold out.
const PRODUCTS_A_SHOP: usize = 4;
const STOCK: i64 = 30;
/// So many orders are remembered; older ones are left as they are.
const REMEMBERED: usize = 60;
/// Between two looks into the books.
const PAUSE: Duration = Duration::from_secs(1);

/// What may come of a wish: it happens, or it does not fit any more.
const ALLOWED: [&str; 8] = [
    "200",
    "201",
    "409 out_of_stock",
    "409 wrong_status",
    "409 units_reserved",
    "409 refund_pending",
    "409 not_refundable",
    "503 unavailable",
];

struct Market {
    apis: Vec<Api>,
    buyers: Vec<Buyer>,
    sellers: Vec<Seller>,
    /// With their shop.
    goods: Vec<(Id<Listing>, usize)>,
    orders: Mutex<Vec<Placed>>,
}

/// An order that somebody may move.
#[derive(Clone)]
struct Placed {
    id: Id<Order>,
    buyer: usize,
    seller: usize,
    lines: Vec<(Id<Listing>, i64)>,
}

/// Runs so many clients for so long.
pub(super) async fn storm(
    stage: &Stage,
    clients: u64,
    lasting: Duration,
    chance: &Chance,
) -> anyhow::Result<Report> {
    let market = open(stage).await?;
    let (begun, over) = (Instant::now(), AtomicBool::new(false));
    let load = async {
        let clients = (0..clients).map(|number| {
            let (market, mut chance) = (&market, chance.fork(number));
            async move {
                let mut tally = Tally::default();
                let mut done = 0_u64;
                while begun.elapsed() < lasting {
                    done = done.wrapping_add(1);
                    act(market, &format!("{number}-{done}"), &mut chance, &mut tally).await?;
                }
                anyhow::Ok(tally)
            }
        });
        let tallies = try_join_all(clients).await;
        over.store(true, Ordering::Relaxed);
        tallies
    };
    let look = async {
        let (mut looks, mut differences) = (0_u64, Differences::default());
        while !over.load(Ordering::Relaxed) {
            let when = format!("after {} s", begun.elapsed().as_secs());
            differences.audit(&stage.db, &when).await?;
            shelves(stage, &when, &mut differences).await?;
            looks = looks.saturating_add(1);
            tokio::time::sleep(PAUSE).await;
        }
        anyhow::Ok((looks, differences))
    };
    let (tallies, (looks, mut differences)) = tokio::try_join!(load, look)?;
    differences.audit(&stage.db, "afterwards").await?;
    shelves(stage, "afterwards", &mut differences).await?;
    let mut all = Tally::default();
    tallies.into_iter().for_each(|tally| all.merge(tally));
    differences.only("the clients", &all, &ALLOWED);
    differences.note_if(all.count("201") == 0, "no order was placed");
    differences.note_if(looks == 0, "nobody looked");
    let ran = format!(
        "{clients} clients for {} s, {} requests: {} orders, {} changes, {} refused, {} failed; {} audits",
        lasting.as_secs(),
        grouped(all.total()),
        grouped(all.count("201")),
        grouped(all.count("200")),
        grouped(all.starting_with("4")),
        all.failures(),
        looks + 1,
    );
    Ok(Report { ran, differences })
}

/// No product has more units reserved than there are.
async fn shelves(stage: &Stage, when: &str, differences: &mut Differences) -> anyhow::Result<()> {
    let mut listings = stage.db.listings(Kind::Product).find(doc! {}).await?;
    while let Some(Listing { id, stock, reserved, .. }) = listings.try_next().await? {
        if !(0..=stock).contains(&reserved) {
            differences
                .note(format!("{when}: of the {stock} units of product {id}, {reserved} are reserved"));
        }
    }
    Ok(())
}

async fn open(stage: &Stage) -> anyhow::Result<Market> {
    let sellers = stage.sellers(SHOPS).await?;
    let mut goods = Vec::new();
    for (shop, seller) in sellers.iter().enumerate() {
        let prices: Vec<(i64, i64)> =
            (1..).zip([STOCK; PRODUCTS_A_SHOP]).map(|(n, stock)| (n * 333, stock)).collect();
        let made = stage.listings(Kind::Product, seller, &prices).await?;
        goods.extend(made.into_iter().map(|id| (id, shop)));
    }
    let buyers = stage.buyers(BUYERS).await?;
    Ok(Market { apis: stage.apis(), buyers, sellers, goods, orders: Mutex::default() })
}

/// One request of one client.
async fn act(market: &Market, name: &str, chance: &mut Chance, tally: &mut Tally) -> anyhow::Result<()> {
    let api = chance.pick(&market.apis)?;
    let known = {
        let orders = market.orders.lock().unwrap_or_else(PoisonError::into_inner);
        if orders.is_empty() { None } else { Some(chance.pick(&orders)?.clone()) }
    };
    let dice = chance.below(100);
    let (Some(order), 35..) = (known, dice) else { return create(market, api, name, chance, tally).await };
    if dice >= 88 {
        let (product, shop) = chance.pick(&market.goods)?;
        let Some(seller) = market.sellers.get(*shop) else { return Ok(()) };
        let path = format!("/api/product/update-product/{product}");
        let restock = api.request(Method::PUT, &path, &seller.token);
        tally.add(&send(restock.json(&json!({ "stock": chance.between(0, 2 * STOCK) }))).await?);
        return Ok(());
    }
    if let Some(request) = change(market, api, &order, dice, chance)? {
        tally.add(&send(request).await?);
    }
    Ok(())
}

async fn create(
    market: &Market,
    api: &Api,
    name: &str,
    chance: &mut Chance,
    tally: &mut Tally,
) -> anyhow::Result<()> {
    let mut lines: Vec<(Id<Listing>, i64)> = Vec::new();
    let mut shops: Vec<usize> = Vec::new();
    for _ in 0..chance.between(1, 3) {
        let (product, shop) = chance.pick(&market.goods)?;
        lines.push((*product, chance.between(1, 4)));
        shops.push(*shop);
    }
    let buyer = usize::try_from(chance.below(u64::try_from(BUYERS)?))?;
    let Some(session) = market.buyers.get(buyer) else { return Ok(()) };
    let answer = send(api.create_order(session, Some(name), &in_cash(&lines))).await?;
    tally.add(&answer);
    if answer.status == 201 {
        remember(market, buyer, &answer, chance)?;
    }
    Ok(())
}

/// Keeps the orders of an answer, in place of others once there are many.
fn remember(market: &Market, buyer: usize, answer: &Answer, chance: &mut Chance) -> anyhow::Result<()> {
    let body: wire::Placed = serde_json::from_str(&answer.text)?;
    for order in body.orders {
        let seller = market.sellers.iter().position(|seller| seller.id.hex() == order.shop_id);
        let Some(seller) = seller else { anyhow::bail!("an order of an unknown shop: {}", order.shop_id) };
        let lines = order
            .cart
            .iter()
            .map(|line| Ok((line.id.parse()?, line.count)))
            .collect::<anyhow::Result<_>>()?;
        let placed = Placed { id: order.id.parse()?, buyer, seller, lines };
        let mut orders = market.orders.lock().unwrap_or_else(PoisonError::into_inner);
        if orders.len() < REMEMBERED {
            orders.push(placed);
        } else {
            let at = usize::try_from(chance.below(u64::try_from(orders.len())?))?;
            if let Some(old) = orders.get_mut(at) {
                *old = placed;
            }
        }
    }
    Ok(())
}

/// What the storm reads of an answer to a checkout.
mod wire {
    use serde::Deserialize;

    #[derive(Deserialize)]
    pub(super) struct Placed {
        pub orders: Vec<Order>,
    }
    #[derive(Deserialize)]
    pub(super) struct Order {
        #[serde(rename = "_id")]
        pub id: String,
        #[serde(rename = "shopId")]
        pub shop_id: String,
        pub cart: Vec<Line>,
    }
    #[derive(Deserialize)]
    pub(super) struct Line {
        #[serde(rename = "_id")]
        pub id: String,
        pub count: i64,
    }
}

/// Moves an order in some direction, whether it fits or not.
fn change(
    market: &Market,
    api: &Api,
    order: &Placed,
    dice: u64,
    chance: &mut Chance,
) -> anyhow::Result<Option<RequestBuilder>> {
    let (Some(buyer), Some(seller)) = (market.buyers.get(order.buyer), market.sellers.get(order.seller))
    else {
        return Ok(None);
    };
    let id = order.id;
    Ok(Some(match dice {
        ..45 => {
            let who = if chance.one_in(2) { &buyer.token } else { &seller.token };
            api.request(Method::PUT, &format!("/api/order/cancel-order/{id}"), who)
        }
        45..65 => {
            let steps = [
                Status::Transferred,
                Status::Shipping,
                Status::OnTheWay,
                Status::Delivered,
                Status::Delivered,
            ];
            api.set_status(seller, id, chance.pick(&steps)?.text())
        }
        65..76 => {
            let (product, units) = *chance.pick(&order.lines)?;
            let part = [(product, chance.between(1, units))];
            api.ask_refund(buyer, id, (!chance.one_in(3)).then_some(&part))
        }
        76..86 => api.grant_refund(seller, id),
        _ => api.request(Method::PUT, &format!("/api/order/order-refund-refused/{id}"), &seller.token),
    }))
}
