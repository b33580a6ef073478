//! The people in the tests: shoppers and sellers, each with a browser of their own.

use std::ops::Deref;

use serde_json::{Value, json};
use shared::{
    auth::{Hasher, Kind, MARKER, MARKER_COOKIE, SELLER_COOKIE, USER_COOKIE},
    id::Id,
    model::{Picture, ROLE_ADMIN, ROLE_SELLER, ROLE_USER, Shop, User},
};
use tokio::sync::OnceCell;

use crate::{
    TestApp,
    browser::{Browser, Form},
};

/// Everybody's password.
pub const PASSWORD: &str = "correct horse";

/// A shopper who is logged in. Has all methods of [`Browser`].
#[derive(Debug, Clone)]
pub struct Buyer {
    /// The account's id.
    pub id: Id<User>,
    /// Their name.
    pub name: String,
    /// Their address.
    pub email: String,
    /// The session, for `Authorization: Bearer`.
    pub token: String,
    /// Their browser, with the session's cookies.
    pub browser: Browser,
}

/// A seller who is logged in. Has all methods of [`Browser`].
#[derive(Debug, Clone)]
pub struct Seller {
    /// The shop's id.
    pub id: Id<Shop>,
    /// The shop's name.
    pub name: String,
    /// Its address.
    pub email: String,
    /// The session, for `Authorization: Bearer`.
    pub token: String,
    /// The seller's browser, with the session's cookies.
    pub browser: Browser,
}

impl Deref for Buyer {
    type Target = Browser;
    fn deref(&self) -> &Browser {
        &self.browser
    }
}

impl Deref for Seller {
    type Target = Browser;
    fn deref(&self) -> &Browser {
        &self.browser
    }
}

impl Buyer {
    /// Opens the conversation with a shop, and gives its id.
    pub async fn talk_to(&self, seller: &Seller) -> String {
        let body = json!({ "userId": self.id.hex(), "sellerId": seller.id.hex() });
        let opened = self.post("/api/conversation/create-new-conversation").json(&body).await.expect(201);
        opened["conversation"]["_id"].as_str().unwrap().to_owned()
    }
}

impl TestApp {
    /// A shopper, put straight into the database and logged in.
    pub async fn buyer(&self, name: &str) -> Buyer {
        let now = self.clock.now();
        let user = User {
            id: Id::new(),
            name: name.to_owned(),
            email: email(name),
            password: password_hash().await,
            role: ROLE_USER.to_owned(),
            avatar: Some(picture()),
            created_at: Some(now),
            ..User::default()
        };
        self.db.of::<User>().insert_one(&user).await.unwrap();
        let token = self.sessions().issue(Kind::User, &user.id.hex(), 0, now).unwrap();
        let browser = self.browser();
        browser.set_cookie(USER_COOKIE, &token);
        browser.set_cookie(MARKER_COOKIE, MARKER);
        Buyer { id: user.id, name: user.name, email: user.email, token, browser }
    }

    /// A shopper who is an administrator.
    pub async fn admin(&self, name: &str) -> Buyer {
        let admin = self.buyer(name).await;
        let promoted = bson::doc! { "$set": { "role": ROLE_ADMIN } };
        self.db.of::<User>().update_one(bson::doc! { "_id": admin.id }, promoted).await.unwrap();
        admin
    }

    /// A seller with a shop, put straight into the database and logged in.
    pub async fn seller(&self, name: &str) -> Seller {
        let now = self.clock.now();
        let shop = Shop {
            id: Id::new(),
            name: name.to_owned(),
            email: email(name),
            password: password_hash().await,
            address: "1 Market Street".to_owned(),
            phone_number: Some(5_550_100),
            zip_code: Some(54_000),
            role: ROLE_SELLER.to_owned(),
            avatar: Some(picture()),
            balance_minor: Some(0),
            created_at: Some(now),
            ..Shop::default()
        };
        self.db.of::<Shop>().insert_one(&shop).await.unwrap();
        let token = self.sessions().issue(Kind::Seller, &shop.id.hex(), 0, now).unwrap();
        let browser = self.browser();
        browser.set_cookie(SELLER_COOKIE, &token);
        Seller { id: shop.id, name: shop.name, email: shop.email, token, browser }
    }

    /// A shopper who signed up, followed the link in the mail and logged in, all through the API.
    pub async fn sign_up_through_mail(&self, name: &str) -> Buyer {
        let (browser, email) = (self.browser(), email(name));
        let form =
            Form::new().picture("file").text("name", name).text("password", PASSWORD).text("email", &email);
        browser.post("/api/user/create-user").bare().form(form).await.expect(200);
        let token = self.mails().await_mail_to(&email).await.token_after("/activation/");
        browser
            .post("/api/user/activation")
            .bare()
            .json(&json!({ "activation_token": token }))
            .await
            .expect(201);
        let login = json!({ "email": email, "password": PASSWORD });
        let answer = browser.post("/api/user/login-user").json(&login).await.expect(200);
        Buyer {
            id: id_in(&answer["user"]),
            name: name.to_owned(),
            email,
            token: answer["token"].as_str().unwrap().to_owned(),
            browser,
        }
    }

    /// A seller who opened a shop, followed the link in the mail and logged in, all through the API.
    pub async fn open_shop_through_mail(&self, name: &str) -> Seller {
        let (browser, email) = (self.browser(), email(name));
        let form = Form::new()
            .picture("file")
            .text("name", name)
            .text("password", PASSWORD)
            .text("email", &email)
            .text("address", "1 Market Street")
            .text("zipCode", "54000")
            .text("phoneNumber", "5550100");
        browser.post("/api/shop/create-shop").bare().form(form).await.expect(200);
        let token = self.mails().await_mail_to(&email).await.token_after("/activation/seller/");
        let activation = json!({ "activation_token": token });
        browser.post("/api/shop/seller/activation").bare().json(&activation).await.expect(201);
        let login = json!({ "email": email, "password": PASSWORD });
        let answer = browser.post("/api/shop/shop-login").json(&login).await.expect(200);
        Seller {
            id: id_in(&answer["seller"]),
            name: name.to_owned(),
            email,
            token: answer["token"].as_str().unwrap().to_owned(),
            browser,
        }
    }
}

impl Buyer {
    /// Checks a cart out, to be paid on delivery; gives its orders as the API describes them.
    pub async fn order(&self, cart: &[(&Value, i64)]) -> Vec<Value> {
        let answer = self.post("/api/order/create-order").json(&in_cash(cart)).await.expect(201);
        answer["orders"].as_array().unwrap().clone()
    }
}

/// A checkout of so many of each listing, to be paid on delivery, as the client sends it.
pub fn in_cash(cart: &[(&Value, i64)]) -> Value {
    let line = |(listing, count): &(&Value, i64)| {
        let mut line = (*listing).clone();
        line["count"] = json!(count);
        line
    };
    json!({
        "cart": cart.iter().map(line).collect::<Vec<_>>(),
        "shippingAddress": { "address1": "1 Elm Street", "address2": "", "country": "PK", "city": "PB" },
        "totalPrice": null,
        "paymentInfo": { "type": "Cash on Delivery" },
    })
}

impl Seller {
    /// Moves one of the shop's orders along; gives it as the API describes it then.
    pub async fn set_status(&self, order: &str, status: &str) -> Value {
        let path = format!("/api/order/update-order-status/{order}");
        self.put(&path).json(&json!({ "status": status })).await.expect(200)["order"].clone()
    }

    /// Puts a product on sale through the API, and gives it back as the API describes it.
    pub async fn product(&self, name: &str, price: &str, stock: u32) -> Value {
        let form = self.listing_form(name, price, stock);
        self.post("/api/product/create-product").form(form).await.expect(201)["product"].clone()
    }

    /// The form that the client sends for a new product, parts in its order.
    pub fn listing_form(&self, name: &str, price: &str, stock: u32) -> Form {
        Form::new()
            .picture("images")
            .text("name", name)
            .text("description", "As good as new.")
            .text("category", "Others")
            .text("tags", "test")
            .text("originalPrice", price)
            .text("discountPrice", price)
            .text("stock", stock)
            .text("shopeId", self.id)
    }
}

/// `ann` has `ann@example.com`.
pub fn email(name: &str) -> String {
    format!("{}@example.com", name.to_lowercase().replace(' ', "."))
}

fn id_in<T>(account: &Value) -> Id<T> {
    account["_id"].as_str().unwrap().parse().unwrap()
}

fn picture() -> Picture {
    Picture { public_id: "avatars/test".to_owned(), url: "/uploads/avatars/test.png".to_owned() }
}

/// Of [`PASSWORD`], at the cost that the tests' application uses, so that a log-in does not rehash it.
async fn password_hash() -> String {
    static HASH: OnceCell<String> = OnceCell::const_new();
    HASH.get_or_init(|| async { Hasher::new(4).unwrap().hash(PASSWORD.to_owned()).await.unwrap() })
        .await
        .clone()
}
