//! Which webhooks tell of it, and what is in them.

use bson::doc;
use mongodb::ClientSession;
use serde_json::{Value, json};
use shared::{
    clock::Timestamp,
    config::Config,
    db::Db,
    id::Id,
    model::{CancelledBy, Case, CaseMessage, Kind, Listing, News, Order, Outbox, Shop, Withdrawal},
};

use crate::{
    cases,
    orders::{self, earnings::shop_of},
    webhooks::{self, Told},
    withdrawals,
};

/// Writes down what integrators are told of a piece of news. Of what nobody wants to be told, nothing is put into words.
pub(super) async fn tell_in(
    db: &Db,
    config: &Config,
    session: &mut ClientSession,
    (id, news): (Id<Outbox>, &News),
    now: Timestamp,
) -> anyhow::Result<()> {
    let mut telling = Telling { db, config, session, id, now };
    match news {
        News::OrdersPlaced { orders } => {
            for order in orders {
                telling.of_order("order.placed", *order, |order| json!({ "order": order })).await?;
            }
        }
        News::OrderMoved { order, to } => {
            let what = |order| json!({ "order": order, "status": to.text() });
            telling.of_order("order.status_changed", *order, what).await?;
        }
        News::OrderCancelled { order, by } => {
            let by = match by {
                CancelledBy::Buyer => "buyer",
                CancelledBy::Shop => "shop",
                CancelledBy::Unpaid => "unpaid",
                CancelledBy::Bank => "bank",
            };
            telling.of_order("order.cancelled", *order, |order| json!({ "order": order, "by": by })).await?;
        }
        News::RefundAsked { order, number } => {
            telling.of_refund("refund.requested", *order, *number).await?;
        }
        News::RefundGranted { order, number } => {
            telling.of_refund("refund.granted", *order, *number).await?;
        }
        News::RefundRefused { order, number } => {
            telling.of_refund("refund.refused", *order, *number).await?;
        }
        News::WithdrawalAsked { withdrawal } => {
            telling.of_withdrawal("withdrawal.requested", *withdrawal).await?;
        }
        News::WithdrawalDecided { withdrawal, .. } => {
            telling.of_withdrawal("withdrawal.decided", *withdrawal).await?;
        }
        News::StockLow { kind, listing, left } => {
            telling.of_listing("stock.low", *kind, *listing, *left).await?;
        }
        News::SoldOut { kind, listing } => telling.of_listing("stock.out", *kind, *listing, 0).await?,
        News::CaseOpened { case } => telling.of_case("dispute.opened", *case, None).await?,
        News::CaseMessage { case, message } => {
            telling.of_case("dispute.message", *case, Some(*message)).await?;
        }
        News::CaseClosed { case } => telling.of_case("dispute.closed", *case, None).await?,
        News::Unknown => {}
    }
    Ok(())
}

struct Telling<'t> {
    db: &'t Db,
    config: &'t Config,
    session: &'t mut ClientSession,
    id: Id<Outbox>,
    now: Timestamp,
}

impl Telling<'_> {
    /// One piece of news may be about several things; `about` tells them apart.
    async fn tell<T>(
        &mut self,
        kind: &'static str,
        shop: Id<Shop>,
        about: Id<T>,
        data: impl FnOnce() -> anyhow::Result<Value>,
    ) -> anyhow::Result<()> {
        if !webhooks::wanted_in(self.db, self.session, kind, shop).await? {
            return Ok(());
        }
        let told = Told { id: format!("evt_{}_{about}", self.id), kind, shop, data: data()? };
        webhooks::tell_in(self.db, self.session, told, self.now).await?;
        Ok(())
    }

    async fn of_order(
        &mut self,
        kind: &'static str,
        id: Id<Order>,
        data: impl FnOnce(Value) -> Value,
    ) -> anyhow::Result<()> {
        let found = self.db.of::<Order>().find_one(doc! { "_id": id }).session(&mut *self.session).await?;
        let Some(order) = found else { return Ok(()) };
        let (shop, config) = (shop_of(&order), self.config);
        self.tell(kind, shop, id, || Ok(data(orders::as_its_shop_sees_it(config, order)?))).await
    }

    async fn of_refund(&mut self, kind: &'static str, id: Id<Order>, number: i64) -> anyhow::Result<()> {
        let place = usize::try_from(number - 1).unwrap_or(usize::MAX);
        self.of_order(kind, id, |order| {
            let refund = order.get("refunds").and_then(|all| all.get(place)).cloned().unwrap_or_default();
            json!({ "order": order, "number": number, "refund": refund })
        })
        .await
    }

    async fn of_withdrawal(&mut self, kind: &'static str, id: Id<Withdrawal>) -> anyhow::Result<()> {
        let found =
            self.db.of::<Withdrawal>().find_one(doc! { "_id": id }).session(&mut *self.session).await?;
        let Some(withdrawal) = found else { return Ok(()) };
        let shop = withdrawal.seller.id;
        let data = || Ok(json!({ "withdrawal": withdrawals::as_its_shop_sees_it(withdrawal)? }));
        self.tell(kind, shop, id, data).await
    }

    async fn of_case(
        &mut self,
        kind: &'static str,
        id: Id<Case>,
        message: Option<Id<CaseMessage>>,
    ) -> anyhow::Result<()> {
        let found = self.db.of::<Case>().find_one(doc! { "_id": id }).session(&mut *self.session).await?;
        let Some(case) = found else { return Ok(()) };
        let (shop, config) = (case.shop, self.config);
        let about = message.map_or(id.cast(), Id::cast::<()>);
        self.tell(kind, shop, about, || {
            let dispute = cases::as_its_shop_sees_it(config, case)?;
            Ok(match message {
                Some(message) => json!({ "dispute": dispute, "message": message.hex() }),
                None => json!({ "dispute": dispute }),
            })
        })
        .await
    }

    async fn of_listing(
        &mut self,
        kind: &'static str,
        of: Kind,
        id: Id<Listing>,
        left: i64,
    ) -> anyhow::Result<()> {
        let listings = self.db.listings(of);
        let Some(listing) = listings.find_one(doc! { "_id": id }).session(&mut *self.session).await? else {
            return Ok(());
        };
        let shop = listing.shop_id;
        self.tell(kind, shop, id, || {
            Ok(json!({ "left": left, "listing": {
                "_id": listing.id.hex(),
                "kind": of,
                "name": listing.name,
                "discountPrice": listing.price,
                "stock": listing.stock,
                "available": listing.stock.saturating_sub(listing.reserved),
                "shopId": shop.hex(),
            } }))
        })
        .await
    }
}
