//! Who gets which letter.

use bson::doc;
use futures_util::TryStreamExt as _;
use mongodb::ClientSession;
use shared::{
    config::Config,
    db::Db,
    id::Id,
    model::{
        CancelledBy, Case, CaseSide, News, Order, OutboxJob, PaymentInfo, Refund, Status, Stored, Withdrawal,
    },
    money::Money,
};

use crate::{
    accounts::Account,
    letters::{self, Cancelled, Fate, Letter, Role},
    notifications::{self, Sort},
    orders::earnings::shop_of,
};

/// The mails that a piece of news becomes.
pub(super) async fn of(
    db: &Db,
    config: &Config,
    session: &mut ClientSession,
    news: &News,
) -> anyhow::Result<Vec<OutboxJob>> {
    let (currency, frontend) = (config.currency.as_str(), config.frontend_url.as_str());
    let mut post = Post { db, config, session, jobs: Vec::new() };
    match news {
        News::OrdersPlaced { orders } => {
            let filter = doc! { "_id": { "$in": orders } };
            let mut found =
                db.of::<Order>().find(filter).sort(doc! { "_id": 1 }).session(&mut *post.session).await?;
            let orders: Vec<Order> = found.stream(&mut *post.session).try_collect().await?;
            if let Some(buyer) = orders.iter().find_map(|order| order.user.as_ref()) {
                post.to(buyer.id, letters::placed(&orders, currency, frontend)).await?;
            }
            for order in &orders {
                post.to(shop_of(order), letters::sold(order, currency, frontend)).await?;
            }
        }
        News::OrderMoved { order, to } => {
            if let Some(order) = post.find(*order).await? {
                let letter = letters::moved(&order, *to, frontend);
                match &order.user {
                    Some(buyer) if *to != Status::Delivered => {
                        post.mail_if_wanted(buyer.id, Sort::OrderUpdates, letter).await?;
                    }
                    _ => post.mail_buyer(&order, letter).await?,
                }
            }
        }
        News::OrderCancelled { order, by } => {
            if let Some(order) = post.find(*order).await? {
                post.about_cancelled(&order, *by, frontend).await?;
            }
        }
        News::RefundAsked { order, number } => {
            if let Some((order, refund)) = post.refund(*order, *number).await? {
                let letter = letters::refund_asked(&order, &refund, currency, frontend);
                post.to(shop_of(&order), letter).await?;
            }
        }
        News::RefundGranted { order, number } | News::RefundRefused { order, number } => {
            if let Some((order, refund)) = post.refund(*order, *number).await? {
                post.mail_buyer(&order, letters::refund_decided(&order, &refund, currency, frontend)).await?;
            }
        }
        News::WithdrawalAsked { withdrawal } => {
            if let Some(withdrawal) = post.find::<Withdrawal>(*withdrawal).await? {
                post.to(withdrawal.seller.id, letters::withdrawal_asked(&withdrawal, currency)).await?;
            }
        }
        News::WithdrawalDecided { withdrawal, returned } => {
            if let Some(withdrawal) = post.find::<Withdrawal>(*withdrawal).await? {
                let fate = match withdrawal.status.as_str() {
                    "Rejected" => Fate::Rejected(Money::from_minor(*returned)),
                    _ => Fate::Paid,
                };
                let letter = letters::withdrawal_decided(&withdrawal, fate, currency);
                post.to(withdrawal.seller.id, letter).await?;
            }
        }
        News::StockLow { kind, listing, .. } | News::SoldOut { kind, listing } => {
            let left = if let News::StockLow { left, .. } = news { *left } else { 0 };
            let listings = db.listings(*kind);
            let found = listings.find_one(doc! { "_id": *listing }).session(&mut *post.session).await?;
            if let Some(listing) = found {
                let letter = letters::low_stock(&listing, left, frontend);
                post.mail_if_wanted(listing.shop_id, Sort::LowStock, letter).await?;
            }
        }
        News::CaseOpened { case } => {
            if let Some(case) = post.find::<Case>(*case).await? {
                post.mail_both(&case, |to| letters::case_opened(&case, to, currency)).await?;
            }
        }
        News::CaseMessage { case, message } => {
            let found = post.find::<Case>(*case).await?;
            let said = found.as_ref().and_then(|case| case.messages.iter().find(|said| said.id == *message));
            if let (Some(case), Some(said)) = (&found, said) {
                let letter = letters::case_message(case, said, currency);
                match said.from {
                    CaseSide::Buyer => post.to(case.shop, letter).await?,
                    CaseSide::Seller => post.to(case.buyer, letter).await?,
                }
            }
        }
        News::CaseClosed { case } => {
            if let Some(case) = post.find::<Case>(*case).await? {
                post.mail_both(&case, |to| letters::case_closed(&case, to, currency)).await?;
            }
        }
        News::Unknown => anyhow::bail!("this version does not know what has happened"),
    }
    Ok(post.jobs)
}

/// What goes out.
struct Post<'p> {
    db: &'p Db,
    config: &'p Config,
    session: &'p mut ClientSession,
    jobs: Vec<OutboxJob>,
}

impl Post<'_> {
    async fn find<T: Stored + serde::de::DeserializeOwned>(
        &mut self,
        id: Id<T>,
    ) -> mongodb::error::Result<Option<T>> {
        self.db.of::<T>().find_one(doc! { "_id": id }).session(&mut *self.session).await
    }

    async fn refund(
        &mut self,
        order: Id<Order>,
        number: i64,
    ) -> mongodb::error::Result<Option<(Order, Refund)>> {
        let Some(order) = self.find(order).await? else { return Ok(None) };
        let place = usize::try_from(number - 1).unwrap_or(usize::MAX);
        let refund = order.refunds.get(place).cloned();
        Ok(refund.map(|refund| (order, refund)))
    }

    /// Nobody is told where there is no account any more, or an old one without an address.
    async fn to<A: Account>(&mut self, id: Id<A>, letter: Letter) -> mongodb::error::Result<()> {
        let addressee = notifications::addressee(self.db, self.session, A::KIND, id.oid()).await?;
        self.jobs.extend(addressee.map(|(to, _)| letter.mail_to(to, None)));
        Ok(())
    }

    /// The same of a letter that people can do without.
    async fn mail_if_wanted<A: Account>(
        &mut self,
        id: Id<A>,
        sort: Sort,
        letter: Letter,
    ) -> mongodb::error::Result<()> {
        let addressee = notifications::addressee(self.db, self.session, A::KIND, id.oid()).await?;
        let wanting = addressee.filter(|(_, account)| notifications::is_wanted(account, sort));
        let end = notifications::link(self.config, id.oid(), sort);
        self.jobs.extend(wanting.map(|(to, _)| letter.mail_to(to, Some(end))));
        Ok(())
    }

    async fn mail_buyer(&mut self, order: &Order, letter: Letter) -> mongodb::error::Result<()> {
        match &order.user {
            Some(buyer) => self.to(buyer.id, letter).await,
            None => Ok(()),
        }
    }

    async fn mail_both(
        &mut self,
        case: &Case,
        letter: impl Fn(CaseSide) -> Letter,
    ) -> mongodb::error::Result<()> {
        self.to(case.buyer, letter(CaseSide::Buyer)).await?;
        self.to(case.shop, letter(CaseSide::Seller)).await
    }

    async fn about_cancelled(
        &mut self,
        order: &Order,
        by: CancelledBy,
        frontend: &str,
    ) -> mongodb::error::Result<()> {
        let status = order.payment.as_ref().and_then(|payment| payment.status.as_deref());
        let is_returned = status == Some(PaymentInfo::REFUNDED);
        let how = Cancelled { by, is_returned };
        let letter = match by {
            CancelledBy::Unpaid => letters::expired(order),
            _ => letters::cancelled(order, how, Role::Buyer, frontend),
        };
        self.mail_buyer(order, letter).await?;
        self.to(shop_of(order), letters::cancelled(order, how, Role::Shop, frontend)).await
    }
}
