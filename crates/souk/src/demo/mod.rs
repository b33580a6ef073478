//! A marketplace to look at: what `cargo run` on an empty database of our own shows. Never in
//! production, never in somebody else's database, never twice.

mod goods;
mod painter;
mod pictures;

use std::{path::PathBuf, sync::Arc};

use anyhow::Context as _;
use bson::{Document, doc};
use image::ImageFormat;
use serde::Serialize;
use shared::{
    auth::Hasher,
    clock::{Clock, Timestamp, plus},
    config::Config,
    db::{Db, duplicate_key},
    id::Id,
    model::{
        Address, Conversation, Coupon, CouponSeller, Image, Kind, Listing, Message, Picture, ROLE_SELLER,
        ROLE_USER, Review, Reviewer, Shop, ShopCopy, Stored, User,
    },
    money::{Money, Percent},
};

use self::{
    goods::{Article, CHAT, DemoShop, REVIEWS, SHOPS},
    pictures::Motif,
};

/// Everybody's password in the demo.
const PASSWORD: &str = "souk-demo";
/// A domain that can never belong to anybody.
const MAIL_DOMAIN: &str = "souk.example";
/// Remembers that the demo has been planted, in a collection of its own.
const MARKER: &str = "demo";
const HOUR: i64 = 3_600_000;

/// Who can log in to the demo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Demo {
    /// Role, e-mail address, password.
    pub accounts: Vec<(&'static str, String, String)>,
}

impl Demo {
    /// Rows for the start-up banner.
    pub(crate) fn rows(&self) -> Vec<(&'static str, String)> {
        let account = |(role, mail, password): &(&str, String, String)| format!("{role}: {mail}, {password}");
        let names = std::iter::once("Demo").chain(std::iter::repeat(""));
        names.zip(self.accounts.iter().map(account)).collect()
    }
}

/// Fills an empty embedded database with the demo, unless the settings say otherwise. Answers with
/// the accounts, now and at every later start, as long as the demo is in the database.
///
/// Everything is written in one transaction together with a marker, after the pictures, whose names
/// are fixed: a start that is interrupted leaves nothing that the next one does not put right.
pub async fn plant(db: &Db, config: &Config, clock: &Clock, hasher: &Hasher) -> anyhow::Result<Option<Demo>> {
    if !config.demo || config.is_production() || config.database_uri.is_some() {
        return Ok(None);
    }
    let marker = db.raw::<Document>(MARKER).find_one(doc! { "_id": "planted" }).await?;
    if marker.is_some() {
        return Ok(Some(accounts()));
    }
    if !is_empty(db).await? {
        return Ok(None);
    }
    let mut pictures = Pictures { root: config.upload_dir.clone(), orders: Vec::new() };
    let stock = stock_up(&mut pictures, clock.now(), hasher.hash(PASSWORD.to_owned()).await?)?;
    tokio::task::spawn_blocking(move || pictures.paint())
        .await?
        .with_context(|| format!("the demo's pictures cannot be kept in {}", config.upload_dir.display()))?;
    let stock = Arc::new(stock);
    let planted: anyhow::Result<()> = db
        .transaction(|session| {
            let (db, stock) = (db.clone(), Arc::clone(&stock));
            Box::pin(async move {
                let marker = doc! { "_id": "planted" };
                db.raw::<Document>(MARKER).insert_one(marker).session(&mut *session).await?;
                for (collection, documents) in stock.iter() {
                    db.raw::<Document>(collection).insert_many(documents).session(&mut *session).await?;
                }
                Ok(())
            })
        })
        .await;
    match planted {
        // Another start was faster, and wrote the same.
        Err(error) if error.downcast_ref().and_then(duplicate_key).as_deref() == Some("_id_") => {}
        other => other?,
    }
    Ok(Some(accounts()))
}

fn accounts() -> Demo {
    let account = |role, mailbox: &str| (role, mail(mailbox), PASSWORD.to_owned());
    let mut accounts = vec![account("buyer", "olive")];
    accounts.extend(SHOPS.iter().map(|shop| account("seller", shop.mailbox)));
    Demo { accounts }
}

fn mail(mailbox: &str) -> String {
    format!("{mailbox}@{MAIL_DOMAIN}")
}

async fn is_empty(db: &Db) -> mongodb::error::Result<bool> {
    for collection in ["users", "shops", "products", "events", "orders", "couponcodes", "conversations"] {
        let one = db.raw::<Document>(collection).find_one(doc! {}).projection(doc! { "_id": 1 }).await?;
        if one.is_some() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Documents by collection.
type Stock = Vec<(&'static str, Vec<Document>)>;

/// Everything that goes into the database.
fn stock_up(pictures: &mut Pictures, now: Timestamp, password: String) -> anyhow::Result<Stock> {
    let buyer = buyer(pictures, now, password.clone())?;
    let shops: Vec<Shop> = SHOPS
        .iter()
        .map(|shop| open_shop(shop, pictures, now, password.clone()))
        .collect::<Result<_, _>>()?;
    let mut products = Vec::new();
    let mut events = Vec::new();
    for (place, (demo, shop)) in SHOPS.iter().zip(&shops).enumerate() {
        for (number, article) in demo.products.iter().enumerate() {
            let made = plus(now, -HOUR * i64::try_from(2 + number * SHOPS.len() + place)?);
            let mut product = listing(Kind::Product, article, shop, pictures, made)?;
            review(&mut product, &buyer, (place, number), now);
            products.push(product);
        }
        let made = plus(now, -HOUR);
        events.push(Listing {
            starts_at: Some(plus(now, 24 * HOUR * demo.event.starts)),
            ends_at: Some(plus(now, 24 * HOUR * demo.event.ends)),
            ..listing(Kind::Event, &demo.event.article, shop, pictures, made)?
        });
    }
    let (conversation, messages) = chat(&buyer, shops.first().context("no shop")?, now)?;
    Ok(vec![
        (User::COLLECTION, documents(&[buyer])?),
        (Shop::COLLECTION, documents(&shops)?),
        (Kind::Product.collection(), documents(&products)?),
        (Kind::Event.collection(), documents(&events)?),
        (Coupon::COLLECTION, documents(&coupons(&shops, now))?),
        (Conversation::COLLECTION, documents(&[conversation])?),
        (Message::COLLECTION, documents(&messages)?),
    ])
}

fn documents<T: Serialize>(values: &[T]) -> anyhow::Result<Vec<Document>> {
    Ok(values.iter().map(bson::serialize_to_document).collect::<Result<_, _>>()?)
}

fn buyer(pictures: &mut Pictures, now: Timestamp, password: String) -> anyhow::Result<User> {
    let home = Address {
        id: Id::new(),
        country: "PK".to_owned(),
        city: "PB".to_owned(),
        address1: "21 Canal View".to_owned(),
        address2: "Second floor".to_owned(),
        zip_code: Some(54000),
        kind: "Home".to_owned(),
    };
    Ok(User {
        id: Id::new(),
        name: "Olive Demo".to_owned(),
        email: mail("olive"),
        password,
        phone_number: Some(3_005_550_100),
        addresses: vec![home],
        role: ROLE_USER.to_owned(),
        avatar: Some(pictures.order("avatar", Motif::Person, 85)?),
        created_at: Some(now),
        ..User::default()
    })
}

fn open_shop(
    demo: &DemoShop,
    pictures: &mut Pictures,
    now: Timestamp,
    password: String,
) -> anyhow::Result<Shop> {
    Ok(Shop {
        id: Id::new(),
        name: demo.name.to_owned(),
        email: mail(demo.mailbox),
        password,
        description: Some(demo.description.to_owned()),
        address: demo.address.to_owned(),
        phone_number: Some(demo.phone_number),
        zip_code: Some(demo.zip_code),
        role: ROLE_SELLER.to_owned(),
        avatar: Some(pictures.order("avatar", demo.motif, demo.hue)?),
        balance_minor: Some(0),
        created_at: Some(now),
        ..Shop::default()
    })
}

fn listing(
    kind: Kind,
    article: &Article,
    shop: &Shop,
    pictures: &mut Pictures,
    made: Timestamp,
) -> anyhow::Result<Listing> {
    let (struck_through, asked) = article.cents;
    let Picture { public_id, url } = pictures.order(kind.collection(), article.motif, article.hue)?;
    Ok(Listing {
        id: Id::new(),
        name: article.name.to_owned(),
        description: article.description.to_owned(),
        category: article.category.to_owned(),
        tags: article.tags.to_owned(),
        original_price: Some(Money::from_minor(struck_through)),
        price: Money::from_minor(asked),
        stock: article.stock,
        images: vec![Image { id: Id::new(), public_id, url }],
        shop_id: shop.id,
        shop: Some(ShopCopy { id: shop.id, name: shop.name.clone(), avatar: shop.avatar.clone() }),
        sold_out: article.sold,
        supplied: Some(article.stock + article.sold),
        sold_earlier: Some(article.sold),
        created_at: Some(made),
        ..Listing::default()
    })
}

fn review(product: &mut Listing, buyer: &User, place: (usize, usize), now: Timestamp) {
    let Some((.., rating, comment)) = REVIEWS.iter().find(|(shop, number, ..)| (*shop, *number) == place)
    else {
        return;
    };
    product.rating = Some(*rating);
    product.reviews = vec![Review {
        id: Id::new(),
        user: Some(Reviewer { id: buyer.id, name: buyer.name.clone(), avatar: buyer.avatar.clone() }),
        rating: Some(*rating),
        comment: (*comment).to_owned(),
        product_id: product.id.hex(),
        created_at: Some(plus(now, -HOUR)),
        hidden: None,
    }];
}

fn coupons(shops: &[Shop], now: Timestamp) -> Vec<Coupon> {
    let offers = [("WELCOME10", 10, None), ("THREAD20", 20, Some(Money::from_minor(5_000)))];
    shops
        .iter()
        .zip(offers)
        .map(|(shop, (name, percent, minimum))| Coupon {
            id: Id::new(),
            name: name.to_owned(),
            value: Percent::whole(percent),
            min_amount: minimum,
            seller: CouponSeller { id: shop.id, name: shop.name.clone(), avatar: shop.avatar.clone() },
            created_at: Some(now),
            ..Coupon::default()
        })
        .collect()
}

fn chat(buyer: &User, shop: &Shop, now: Timestamp) -> anyhow::Result<(Conversation, Vec<Message>)> {
    let (user, seller) = (buyer.id.hex(), shop.id.hex());
    let id = Id::new();
    let mut messages = Vec::new();
    for (number, text) in CHAT.iter().enumerate() {
        let sender = if number % 2 == 0 { &user } else { &seller };
        let minutes = i64::try_from(CHAT.len() - number)? * 3;
        let at = Some(plus(now, -60_000 * minutes));
        messages.push(Message {
            id: Id::new(),
            conversation_id: id,
            sender: sender.clone(),
            text: (*text).to_owned(),
            created_at: at,
            updated_at: at,
            ..Message::default()
        });
    }
    let last = messages.last().context("a silent chat")?;
    let conversation = Conversation {
        id,
        title: format!("{seller}{user}"),
        members: vec![user, seller],
        last_message: Some(last.text.clone()),
        last_sender: Some(last.sender.clone()),
        created_at: messages.first().and_then(|first| first.created_at),
        updated_at: last.created_at,
        ..Conversation::default()
    };
    Ok((conversation, messages))
}

/// Pictures that are to be painted, where the media host for local files would keep them.
struct Pictures {
    root: PathBuf,
    orders: Vec<(PathBuf, Motif, i32)>,
}

impl Pictures {
    fn order(&mut self, folder: &str, motif: Motif, hue: i32) -> anyhow::Result<Picture> {
        let name = format!("demo{:03}", self.orders.len());
        let directory = self.root.join(folder);
        std::fs::create_dir_all(&directory)
            .with_context(|| format!("cannot make the directory {}", directory.display()))?;
        self.orders.push((directory.join(format!("{name}.jpg")), motif, hue));
        Ok(Picture { public_id: format!("{folder}/{name}"), url: format!("/uploads/{folder}/{name}.jpg") })
    }

    /// Paints and keeps them all, on as many processors as there are.
    fn paint(self) -> anyhow::Result<()> {
        let painters = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let share = self.orders.len().div_ceil(painters).max(1);
        std::thread::scope(|scope| {
            let at_work: Vec<_> = self
                .orders
                .chunks(share)
                .map(|orders| {
                    scope.spawn(move || {
                        orders.iter().try_for_each(|(path, motif, hue)| {
                            // Straight to the file, which `image` does in its own, optimised code.
                            let picture = pictures::draw(*motif, *hue)?;
                            anyhow::Ok(picture.save_with_format(path, ImageFormat::Jpeg)?)
                        })
                    })
                })
                .collect();
            at_work.into_iter().try_for_each(|painter| {
                painter.join().unwrap_or_else(|_panic| Err(anyhow::anyhow!("a painter panicked")))
            })
        })
    }
}
