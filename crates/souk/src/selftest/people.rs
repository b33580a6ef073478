//! Who acts in a trial, and what is on sale: put straight into the scratch database.

use anyhow::Context as _;
use bson::doc;
use shared::{
    auth::Kind as Who,
    clock::plus,
    id::Id,
    ledger,
    model::{Image, Kind, Listing, Picture, ROLE_SELLER, ROLE_USER, Shop, User, WithdrawMethod},
    money::Money,
};

use super::{
    client::{Buyer, Seller},
    stage::Stage,
};

impl Stage {
    /// Shoppers, logged in.
    pub(super) async fn buyers(&self, count: usize) -> anyhow::Result<Vec<Buyer>> {
        self.users(count, ROLE_USER).await
    }

    /// Users of a role.
    pub(super) async fn users(&self, count: usize, role: &str) -> anyhow::Result<Vec<Buyer>> {
        let now = self.clock.now();
        let mut users = Vec::with_capacity(count);
        let mut sessions = Vec::with_capacity(count);
        for _ in 0..count {
            let id = Id::new();
            let token = self.sessions.issue(Who::User, &id.hex(), 0, now)?;
            sessions.push(Buyer { id, token });
            users.push(User {
                id,
                name: format!("selftest {role}"),
                email: format!("{id}@selftest.invalid"),
                role: role.to_owned(),
                avatar: Some(picture()),
                created_at: Some(now),
                ..User::default()
            });
        }
        self.db.of::<User>().insert_many(&users).await?;
        Ok(sessions)
    }

    /// Shops with a bank account, likewise.
    pub(super) async fn sellers(&self, count: usize) -> anyhow::Result<Vec<Seller>> {
        let now = self.clock.now();
        let mut shops = Vec::with_capacity(count);
        let mut sessions = Vec::with_capacity(count);
        for _ in 0..count {
            let id = Id::new();
            let token = self.sessions.issue(Who::Seller, &id.hex(), 0, now)?;
            sessions.push(Seller { id, token });
            shops.push(Shop {
                id,
                name: format!("selftest {id}"),
                email: format!("{id}@selftest.invalid"),
                address: "1 Market Street".to_owned(),
                phone_number: Some(5_550_100),
                zip_code: Some(54_000),
                role: ROLE_SELLER.to_owned(),
                avatar: Some(picture()),
                withdraw_method: Some(WithdrawMethod {
                    bank_name: "Selftest Bank".to_owned(),
                    bank_account_number: "12345678".to_owned(),
                    ..WithdrawMethod::default()
                }),
                balance_minor: Some(0),
                created_at: Some(now),
                ..Shop::default()
            });
        }
        self.db.of::<Shop>().insert_many(&shops).await?;
        Ok(sessions)
    }

    /// One shop.
    pub(super) async fn seller(&self) -> anyhow::Result<Seller> {
        self.sellers(1).await?.pop().context("no shop was made")
    }

    /// Puts things on sale: each at a price in cents, so many of it. An event has begun and goes on.
    pub(super) async fn listings(
        &self,
        kind: Kind,
        seller: &Seller,
        goods: &[(i64, i64)],
    ) -> anyhow::Result<Vec<Id<Listing>>> {
        let now = self.clock.now();
        let listing = |(minor, stock): &(i64, i64)| {
            let id = Id::new();
            Listing {
                id,
                name: format!("thing {id}"),
                description: "As good as new.".to_owned(),
                category: "Others".to_owned(),
                price: Money::from_minor(*minor),
                stock: *stock,
                supplied: Some(*stock),
                shop_id: seller.id,
                images: vec![Image {
                    id: Id::new(),
                    public_id: "selftest".to_owned(),
                    url: "/uploads/selftest.png".to_owned(),
                }],
                starts_at: (kind == Kind::Event).then(|| plus(now, -60_000)),
                ends_at: (kind == Kind::Event).then(|| plus(now, 86_400_000)),
                created_at: Some(now),
                ..Listing::default()
            }
        };
        let listings: Vec<Listing> = goods.iter().map(listing).collect();
        self.db.listings(kind).insert_many(&listings).await?;
        Ok(listings.iter().map(|listing| listing.id).collect())
    }

    /// One product.
    pub(super) async fn product(
        &self,
        seller: &Seller,
        minor: i64,
        stock: i64,
    ) -> anyhow::Result<Id<Listing>> {
        self.listings(Kind::Product, seller, &[(minor, stock)]).await?.pop().context("no product was made")
    }

    /// A listing as the database has it.
    pub(super) async fn listing(&self, kind: Kind, id: Id<Listing>) -> anyhow::Result<Listing> {
        self.db.listings(kind).find_one(doc! { "_id": id }).await?.context("a listing is gone")
    }

    /// Gives a shop money the way a delivery does: in the ledger, and with it on the balance.
    pub(super) async fn earn(&self, seller: &Seller, amount: Money) -> anyhow::Result<()> {
        let (shop, now, key) = (seller.id, self.clock.now(), Id::<()>::new());
        self.db
            .transaction::<_, mongodb::error::Error, _>(|session| {
                let db = self.db.clone();
                Box::pin(async move {
                    let lines =
                        vec![ledger::line(ledger::shop_account(shop), amount), ledger::line("cod", -amount)];
                    ledger::book(&db, session, format!("selftest:{key}"), now, lines).await?;
                    ledger::credit(&db, session, shop, amount, "Credited", now).await
                })
            })
            .await?;
        Ok(())
    }

    /// A shop's balance in cents.
    pub(super) async fn balance(&self, seller: &Seller) -> anyhow::Result<i64> {
        let shop =
            self.db.of::<Shop>().find_one(doc! { "_id": seller.id }).await?.context("a shop is gone")?;
        shop.balance_minor.context("a shop has no balance")
    }
}

fn picture() -> Picture {
    Picture { public_id: "selftest".to_owned(), url: "/uploads/selftest.png".to_owned() }
}
