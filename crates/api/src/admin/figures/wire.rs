use serde::Serialize;
use shared::{
    clock::{Timestamp, iso},
    money::Money,
};

use super::{
    rules::percent,
    store::{BestProduct, BestShop, Day, Figures},
};

/// `GET /api/admin/figures`
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct FiguresReply {
    success: bool,
    days: Vec<DayReply>,
    best_shops: Vec<ShopReply>,
    best_products: Vec<ProductReply>,
    course: CourseReply,
    /// What all shops together may withdraw.
    owed: Money,
    waiting: WaitingReply,
}

#[derive(Serialize)]
struct DayReply {
    day: String,
    orders: i64,
    sales: Money,
    refunds: Money,
}

#[derive(Serialize)]
struct ShopReply {
    #[serde(rename = "_id")]
    id: String,
    name: String,
    orders: i64,
    sales: Money,
}

#[derive(Serialize)]
struct ProductReply {
    #[serde(rename = "_id")]
    id: String,
    name: String,
    units: i64,
    sales: Money,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CourseReply {
    placed: i64,
    delivered: i64,
    cancelled: i64,
    /// Of those that were placed.
    delivered_percent: i64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WaitingReply {
    withdrawals: u64,
    payments: u64,
    dead_letters: u64,
    disputes: u64,
    shops: u64,
}

/// `2026-11-23`
fn day(at: Timestamp) -> String {
    iso(at).chars().take(10).collect()
}

impl From<Figures> for FiguresReply {
    fn from(figures: Figures) -> Self {
        let Figures { days, best_shops, best_products, course, owed, waiting } = figures;
        let shop = |BestShop { id, name, orders, sales }| ShopReply { id: id.hex(), name, orders, sales };
        let product =
            |BestProduct { id, name, units, sales }| ProductReply { id: id.hex(), name, units, sales };
        Self {
            success: true,
            days: days
                .into_iter()
                .map(|Day { at, orders, sales, refunds }| DayReply { day: day(at), orders, sales, refunds })
                .collect(),
            best_shops: best_shops.into_iter().map(shop).collect(),
            best_products: best_products.into_iter().map(product).collect(),
            course: CourseReply {
                placed: course.placed,
                delivered: course.delivered,
                cancelled: course.cancelled,
                delivered_percent: percent(course.delivered, course.placed),
            },
            owed,
            waiting: WaitingReply {
                withdrawals: waiting.withdrawals,
                payments: waiting.payments,
                dead_letters: waiting.dead_letters,
                disputes: waiting.disputes,
                shops: waiting.shops,
            },
        }
    }
}

pub(super) const BACKWARDS: &str = "must not be before `from`";
pub(super) const TOO_MANY: &str = "must be at most 366 days after `from`";
