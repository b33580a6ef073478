//! What is bought, by whom, and the bodies that their browsers send.

use anyhow::Context as _;
use bson::Bson;
use serde_json::{Value, json};
use shared::{
    auth::{Kind as Account, Sessions},
    clock::{Clock, Timestamp},
    db::Db,
    id::Id,
    model::{Image, Kind, Listing, Picture, ROLE_SELLER, ROLE_USER, Shop, ShopCopy, User},
    money::{Money, Percent},
};

use crate::server::SECRET;

const SHOPS: u32 = 50;
const PRODUCTS: u32 = 1000;
/// What everybody wants, when nothing else is said: more than can be sold.
const ENDLESS: i64 = 1_000_000_000;

/// Whether everybody wants the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    Spread,
    Hot,
}

/// Fills an empty database: shops, products, buyers. Gives the hot product and each buyer's session.
pub(crate) async fn plant(
    db: &Db,
    buyers: usize,
    hot_stock: Option<i64>,
) -> anyhow::Result<(Id<Listing>, Vec<String>)> {
    let now = Clock::default().now();
    let shops: Vec<Shop> = (0..SHOPS).map(|i| shop(i, now)).collect();
    let products: Vec<Listing> = (0..=PRODUCTS)
        .filter_map(|i| Some(product(i, shops.iter().cycle().nth(usize::try_from(i).ok()?)?)))
        .collect();
    let hot = products.last().context("there is nothing to sell")?.id;
    let users: Vec<User> = (0..u32::try_from(buyers)?)
        .map(|i| User {
            id: Id::new(),
            name: format!("Shopper Number {i}"),
            email: format!("shopper{i}@example.com"),
            password: "none".to_owned(),
            phone_number: Some(5_550_000 + i64::from(i)),
            role: ROLE_USER.to_owned(),
            avatar: Some(picture("user", i)),
            created_at: Some(now),
            ..User::default()
        })
        .collect();
    db.of::<Shop>().insert_many(&shops).await?;
    db.listings(Kind::Product).insert_many(&products).await?;
    db.of::<User>().insert_many(&users).await?;
    if let Some(stock) = hot_stock {
        let stock = bson::doc! { "$set": { "stock": Bson::Int64(stock) } };
        db.listings(Kind::Product).update_one(bson::doc! { "_id": hot }, stock).await?;
    }
    let sessions = Sessions::new(SECRET, 86_400);
    let tokens: anyhow::Result<Vec<String>> =
        users.iter().map(|user| sessions.issue(Account::User, &user.id.hex(), 0, now)).collect();
    Ok((hot, tokens?))
}

/// One of many shops.
pub(crate) fn shop(i: u32, now: Timestamp) -> Shop {
    Shop {
        id: Id::new(),
        name: format!("The shop at number {i}"),
        email: format!("shop{i}@example.com"),
        password: "none".to_owned(),
        address: format!("{i} Market Street, Springfield"),
        phone_number: Some(5_550_000 + i64::from(i)),
        role: ROLE_SELLER.to_owned(),
        avatar: Some(picture("shop", i)),
        balance_minor: Some(0),
        created_at: Some(now),
        ..Shop::default()
    }
}

/// One of the many things that it sells: 1.8 KB in a list.
pub(crate) fn product(i: u32, shop: &Shop) -> Listing {
    let image = |n: u32| Image {
        id: Id::new(),
        public_id: format!("products/{i}-{n}"),
        url: format!("https://res.example.com/demo/image/upload/v1712345678/products/{i}-{n}.jpg"),
    };
    Listing {
        id: Id::new(),
        name: format!("Product {i}: a good thing to have in the house"),
        description: format!(
            "Number {i} of our collection. Made to last, from materials that age well, in a workshop that answers its \
             letters. It arrives in a box that fits through the door, with everything that is needed to use it on the \
             first evening, and a page of advice that is worth reading."
        ),
        category: "Accesories".to_owned(),
        tags: "house, gift, sturdy".to_owned(),
        original_price: Some(Money::from_minor(2_999 + i64::from(i))),
        price: Money::from_minor(1_999 + i64::from(i)),
        stock: ENDLESS,
        images: (0..3).map(image).collect(),
        shop_id: shop.id,
        shop: Some(ShopCopy { id: shop.id, name: shop.name.clone(), avatar: shop.avatar.clone() }),
        created_at: shop.created_at,
        ..Listing::default()
    }
}

fn picture(of: &str, i: u32) -> Picture {
    Picture {
        public_id: format!("avatars/{of}-{i}"),
        url: format!("https://res.example.com/demo/image/upload/v1712345678/avatars/{of}-{i}.jpg"),
    }
}

/// Products as the server lists them, ready for carts.
pub(crate) struct Shelf {
    spread: Vec<Item>,
    hot: Vec<Item>,
}

struct Item {
    /// The product as JSON, without the bracket that ends it.
    open: String,
    price: Money,
}

impl Shelf {
    /// From the answer of `get-all-products`. Where no product is known to be the hot one, the first is.
    pub(crate) fn of(listed: &Value, hot: Option<Id<Listing>>) -> anyhow::Result<Self> {
        let products = listed.get("products").and_then(Value::as_array).context("no products are listed")?;
        let hot = hot.map(Id::hex);
        let is_hot = |product: &&Value| match &hot {
            Some(hot) => product.get("_id").and_then(Value::as_str) == Some(hot),
            None => true,
        };
        let others = products.iter().filter(|product| hot.is_none() || !is_hot(product));
        let limit = usize::try_from(PRODUCTS)?;
        Ok(Self {
            hot: vec![item(products.iter().find(is_hot).context("the hot product is not listed")?)?],
            spread: others.take(limit).map(item).collect::<anyhow::Result<_>>()?,
        })
    }
}

fn item(product: &Value) -> anyhow::Result<Item> {
    let price = product.get("discountPrice").context("a product has no price")?;
    // Some servers keep numbers as text.
    let price = Money::parse(price.to_string().trim_matches('"')).ok().context("a price is no number")?;
    let open = product.to_string();
    let open = open.strip_suffix('}').context("a product is no object")?.to_owned();
    Ok(Item { open, price })
}

/// One buyer's browser: it never sends the same order twice.
pub(crate) struct Browser {
    user: String,
    client: usize,
    sent: u64,
    random: u64,
}

impl Browser {
    /// `user` as `getUser` gives it.
    pub(crate) fn new(client: usize, user: Option<&Value>) -> Self {
        let seed = u64::try_from(client).unwrap_or(0).wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        Self {
            user: user.map_or_else(|| json!(null).to_string(), Value::to_string),
            client,
            sent: 0,
            random: seed,
        }
    }

    fn below(&mut self, bound: usize) -> usize {
        // Knuth's generator; its high bits are good enough to choose a product by.
        self.random =
            self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.random >> 33).unwrap_or(0).checked_rem(bound).unwrap_or(0)
    }

    /// The next order's body, and how many units it is for: one product, one to three of it.
    pub(crate) fn order(&mut self, shelf: &Shelf, layout: Layout) -> (String, i64) {
        let items = match layout {
            Layout::Spread => &shelf.spread,
            Layout::Hot => &shelf.hot,
        };
        self.sent += 1;
        let count = i64::try_from(1 + self.below(3)).unwrap_or(1);
        let chosen = self.below(items.len());
        let Some(Item { open, price }) = items.get(chosen) else { return (String::new(), 0) };
        let subtotal = price.times(count);
        let total = subtotal + subtotal.percent(Percent::whole(10));
        let Self { user, client, sent, .. } = self;
        let body = format!(
            r#"{{"cart":[{open},"count":{count}}}],"shippingAddress":{{"address1":"{client} Elm Street","address2":"Flat {sent}","zipCode":"54000","country":"PK","city":"PB"}},"user":{user},"totalPrice":{total},"paymentInfo":{{"type":"Cash on Delivery"}}}}"#
        );
        (body, count)
    }
}
