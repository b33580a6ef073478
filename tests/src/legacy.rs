//! A database as the old server leaves it after some use, with everything that is wrong with one.
//!
//! What must never reach anybody else is marked: each private text holds [`PRIVATE`], each private
//! number starts with [`PRIVATE_NUMBER`].

use bson::{Bson, DateTime, Document, doc, oid::ObjectId};
use shared::db::Db;

/// In every e-mail address, home address and bank detail.
pub const PRIVATE: &str = "private";
/// How every private phone number and balance starts.
pub const PRIVATE_NUMBER: &str = "30098";

/// The password of every account.
pub const PASSWORD: &str = "an old password";
/// It, as bcryptjs stored it.
pub const HASH: &str = "$2b$10$1Dfej.I2lZcYUkvgPd8NKOu7r7MMefOE2Fkq9KdHCm3uxnBkgZVFq";

/// A complete user.
pub const ANN: &str = "650000000000000000000a01";
/// A user without avatar, addresses, phone number.
pub const BEA: &str = "650000000000000000000a02";
/// Two users with one e-mail address; the first is the one that logs in.
pub const TWINS: [&str; 2] = ["650000000000000000000a03", "650000000000000000000a04"];
/// A shop with everything filled in.
pub const GOOD: &str = "650000000000000000000b01";
/// A shop without nearly anything, its withdraw method is `{}`.
pub const BARE: &str = "650000000000000000000b02";
/// A shop whose account number has two characters.
pub const SHORT: &str = "650000000000000000000b03";
/// A shop whose withdraw method was deleted; it lost its name and address in a careless update.
pub const NULL: &str = "650000000000000000000b04";
/// A shop that is no more.
pub const GONE: &str = "650000000000000000000b99";
/// A complete product of [`GOOD`]: ten in stock, reviewed.
pub const KETTLE: &str = "650000000000000000000c01";
/// A product without pictures, reviews, shop copy or usable stock.
pub const RUIN: &str = "650000000000000000000c02";
/// A product whose shop is gone.
pub const ORPHAN: &str = "650000000000000000000c03";
/// A product of [`BARE`].
pub const LAMP: &str = "650000000000000000000c04";
/// An event that runs until 2099.
pub const SALE: &str = "650000000000000000000d01";
/// An event that is over, without pictures.
pub const OVER: &str = "650000000000000000000d02";
/// Ann's open order at [`GOOD`]; its total is that of the whole checkout.
pub const ORDER: &str = "650000000000000000000e01";
/// The part of the same checkout for [`BARE`].
pub const SISTER: &str = "650000000000000000000e02";
/// An order with its total as text, an event without count, a misspelt payment; under way.
pub const TEXT: &str = "650000000000000000000e03";
/// An order that lacks all that can be missing.
pub const HOLLOW: &str = "650000000000000000000e04";
/// Ann and [`GOOD`].
pub const CHAT: &str = "650000000000000000000f01";

fn id(hex: &str) -> ObjectId {
    ObjectId::parse_str(hex).unwrap()
}

/// When the old server was started: what it stores as the time of everything.
fn started() -> DateTime {
    DateTime::parse_rfc3339_str("2025-03-01T08:00:00.120Z").unwrap()
}

fn picture(name: &str) -> Document {
    doc! { "public_id": format!("avatar/{name}"), "url": format!("https://res.cloudinary.com/old/image/upload/avatar/{name}.png") }
}

fn pictures(name: &str) -> Bson {
    Bson::from(vec![doc! {
        "_id": id("6500000000000000000000f1"),
        "public_id": format!("products/{name}"),
        "url": format!("https://res.cloudinary.com/old/image/upload/products/{name}.png"),
    }])
}

/// A document with all ids and dates as a browser sends them back.
fn from_browser(document: Document) -> Document {
    fn convert(value: Bson) -> Bson {
        match value {
            Bson::ObjectId(oid) => Bson::String(oid.to_hex()),
            Bson::DateTime(at) => Bson::String(shared::clock::iso(at)),
            Bson::Array(items) => Bson::Array(items.into_iter().map(convert).collect()),
            Bson::Document(inner) => Bson::Document(from_browser(inner)),
            other => other,
        }
    }
    document.into_iter().map(|(key, value)| (key, convert(value))).collect()
}

fn with(mut document: Document, more: Document) -> Document {
    document.extend(more);
    document
}

fn without(mut document: Document, fields: &[&str]) -> Document {
    for field in fields {
        document.remove(field);
    }
    document
}

fn ann() -> Document {
    doc! {
        "_id": id(ANN), "name": "Ann Legacy", "email": "ann@private.test", "password": HASH,
        "phoneNumber": 3_009_812_345_f64,
        "addresses": [
            { "_id": id("6500000000000000000000a1"), "country": "PK", "city": "PB", "address1": "private lane 1",
              "address2": "", "zipCode": 54000, "addressType": "Home" },
            { "_id": id("6500000000000000000000a2"), "country": "PK", "city": "SD", "address1": "private lane 2",
              "address2": "second floor", "addressType": "defualt" },
        ],
        "role": "user", "avatar": picture("ann"), "createdAt": started(), "__v": 2,
    }
}

fn users() -> Vec<Document> {
    let twin = |n: usize, email: &str| {
        doc! { "_id": id(TWINS[n]), "name": format!("Twin {n}"), "email": email, "password": HASH, "addresses": [],
        "role": "user", "avatar": picture("twin"), "createdAt": started(), "__v": 0 }
    };
    vec![
        ann(),
        doc! { "_id": id(BEA), "name": "Bea Legacy", "email": "Bea@private.test", "password": HASH, "addresses": null },
        twin(0, "twin@private.test"),
        twin(1, "Twin@private.test"),
        // Left behind by the activation link of a shop.
        doc! { "_id": id("650000000000000000000a05"), "name": "Good Goods", "email": "good@private.test", "password": HASH,
        "phoneNumber": 3_009_899_999_f64, "addresses": [], "role": "user", "avatar": picture("good"),
        "createdAt": started(), "__v": 0 },
    ]
}

fn bank(account: &str) -> Document {
    doc! { "bankName": "First private bank", "bankCountry": "PK", "bankSwiftCode": "privateX", "bankAccountNumber": account,
    "bankHolderName": "private holder", "bankAddress": "private street" }
}

fn good() -> Document {
    doc! {
        "_id": id(GOOD), "name": "Good Goods", "email": "good@private.test", "password": HASH, "description": "We sell good goods.",
        "address": "Mall Road 1, Lahore", "phoneNumber": 4_211_122_233_f64, "role": "seller", "avatar": picture("good"),
        "zipCode": 54000, "withdrawMethod": bank("private-00123456"), "availableBalance": 166.32000000000002,
        "transections": [], "createdAt": started(), "__v": 0,
    }
}

fn shops() -> Vec<Document> {
    vec![
        good(),
        doc! { "_id": id(BARE), "name": "Bare Wares", "email": "bare@private.test", "password": HASH, "address": "Back Street",
        "withdrawMethod": {}, "availableBalance": f64::NAN, "transections": null, "zipCode": "1000" },
        doc! { "_id": id(SHORT), "name": "Short Cuts", "email": "short@private.test", "password": HASH, "description": "",
        "address": "Front Street", "phoneNumber": 42, "zipCode": 7, "role": "seller", "avatar": {},
        "withdrawMethod": bank("12"), "availableBalance": -12.5, "transections": [], "createdAt": started(), "__v": 0 },
        doc! { "_id": id(NULL), "email": "null@private.test", "password": HASH, "role": "seller", "avatar": picture("null"),
        "withdrawMethod": null, "availableBalance": 0, "transections": [], "createdAt": started(), "__v": 0 },
    ]
}

/// The copy that a listing keeps: everything but the password.
fn copy(shop: Document) -> Document {
    without(shop, &["password"])
}

fn kettle() -> Document {
    let reviewer = from_browser(without(ann(), &["password"]));
    doc! {
        "_id": id(KETTLE), "name": "Kettle", "description": "Boils water.", "category": "Others", "tags": "kitchen, steel",
        "originalPrice": 70, "discountPrice": 59.97, "stock": "10", "images": pictures("kettle"), "shopeId": GOOD,
        "reviews": [
            { "_id": id("6500000000000000000000c1"), "user": reviewer.clone(), "rating": 5, "comment": "Boils!", "productId": KETTLE },
            { "_id": id("6500000000000000000000c2"), "user": reviewer, "rating": 2.5, "comment": "", "productId": KETTLE },
            { "_id": id("6500000000000000000000c3"), "user": null, "rating": 1, "productId": KETTLE },
        ],
        "rating": 3.75, "shop": copy(good()), "sold_out": 3, "createdAt": started(), "__v": 2,
    }
}

fn lamp() -> Document {
    doc! {
        "_id": id(LAMP), "name": "Lamp", "description": "Gives light.", "category": "Gifts", "tags": "", "discountPrice": "19.5",
        "stock": "82", "images": pictures("lamp"), "shopeId": BARE, "reviews": [],
        "shop": { "_id": id(BARE), "name": "Bare Wares", "email": "bare@private.test", "withdrawMethod": bank("private-2") },
        "sold_out": 0, "createdAt": "2025-03-01", "__v": 0,
    }
}

fn products() -> Vec<Document> {
    vec![
        kettle(),
        doc! { "_id": id(RUIN), "name": "Ruin", "description": "Once a thing.", "category": "", "discountPrice": 1,
        "stock": "NaN", "images": [], "shopeId": GOOD, "reviews": null, "rating": null, "sold_out": null },
        doc! { "_id": id(ORPHAN), "name": "Orphan", "description": "Its shop is gone.", "category": "Shoes", "tags": "x",
        "originalPrice": null, "discountPrice": 5.5, "stock": "-2", "shopeId": GONE,
        "images": [{ "_id": id("6500000000000000000000f2"), "public_id": "", "url": "orphan.png" }],
        "shop": with(copy(good()), doc! { "_id": id(GONE), "name": "Gone Shop", "avatar": null }), "reviews": [],
        "sold_out": 1, "createdAt": started(), "__v": 0 },
        lamp(),
    ]
}

fn sale() -> Document {
    doc! {
        "_id": id(SALE), "name": "Flash Pan", "description": "Only for a while.", "category": "Others", "tags": "pan",
        "originalPrice": 40, "discountPrice": 20, "stock": "5", "images": pictures("pan"), "shopeId": GOOD, "shop": copy(good()),
        "sold_out": 0, "start_date": started(), "end_date": DateTime::parse_rfc3339_str("2099-01-01T00:00:00Z").unwrap(),
        "status": "Runnnig", "createdAt": started(), "__v": 0,
    }
}

fn events() -> Vec<Document> {
    let over = with(
        sale(),
        doc! {
            "_id": id(OVER), "name": "Yesterday's Deal", "images": [], "stock": "free text",
            "end_date": DateTime::parse_rfc3339_str("2025-03-04T00:00:00Z").unwrap(),
        },
    );
    vec![sale(), without(over, &["shop", "createdAt", "tags"])]
}

fn orders() -> Vec<Document> {
    let buyer = || from_browser(without(ann(), &["password"]));
    let address = || doc! { "address1": "private lane 1", "address2": "", "country": "PK", "city": "PB", "zipCode": "054000" };
    let line = |listing: Document, more: Document| with(from_browser(listing), more);
    let placed = || doc! { "paidAt": started(), "createdAt": started(), "__v": 0 };
    // 2 kettles and a lamp, with shipping, as the browser added it up; in both orders.
    let total = 153.38400000000001;
    vec![
        with(
            doc! { "_id": id(ORDER), "cart": [line(kettle(), doc! { "count": 2 })], "shippingAddress": address(), "user": buyer(),
            "totalPrice": total, "status": "Processing", "paymentInfo": { "type": "Cash on Delivery" } },
            placed(),
        ),
        with(
            doc! { "_id": id(SISTER), "cart": [line(lamp(), doc! { "count": 1 })], "shippingAddress": address(), "user": buyer(),
            "totalPrice": total, "status": "Delivered", "deliveredAt": started(),
            "paymentInfo": { "id": "PAYER1", "status": "succeeded", "type": "Paypal" } },
            placed(),
        ),
        with(
            doc! { "_id": id(TEXT),
            "cart": [line(sale(), doc! {}), line(kettle(), doc! { "count": null, "images": [], "isReviewed": true })],
            "shippingAddress": with(address(), doc! { "zipCode": 54000 }), "user": buyer(), "totalPrice": "59.97",
            "status": "Shipping", "deliveredAt": started(),
            "paymentInfo": { "status": "succeded", "type": "Cash on Delivery" } },
            placed(),
        ),
        doc! { "_id": id(HOLLOW), "cart": [{ "shopeId": GOOD, "name": "Something" }], "user": { "_id": BEA },
        "totalPrice": f64::NAN, "status": "" },
    ]
}

fn coupons() -> Vec<Document> {
    let coupon = |n: &str, name: &str, seller: Document| {
        doc! { "_id": id(&format!("6500000000000000000010{n}")), "name": name, "value": 10, "minAmount": null, "maxAmount": null,
        "seller": seller, "selectedProduct": "", "createdAt": started(), "__v": 0 }
    };
    let seller = || from_browser(copy(good()));
    vec![
        coupon("01", "OLD10", seller()),
        with(
            coupon("02", "TWICE", seller()),
            doc! { "value": 150, "minAmount": 5.5, "selectedProduct": "Kettle" },
        ),
        coupon("03", "TWICE", doc! { "_id": BARE, "name": "Bare Wares" }),
    ]
}

fn conversations() -> Vec<Document> {
    let at = started();
    vec![
        doc! { "_id": id(CHAT), "groupTitle": format!("{GOOD}{ANN}"), "members": [ANN, GOOD], "lastMessage": "Does it boil?",
        "lastMessageId": ANN, "createdAt": at, "updatedAt": at, "__v": 0 },
        // Two clicks, two conversations.
        doc! { "_id": id("650000000000000000000f02"), "groupTitle": format!("{BARE}{ANN}"), "members": [ANN, BARE],
        "createdAt": at, "updatedAt": at, "__v": 0 },
        doc! { "_id": id("650000000000000000000f03"), "groupTitle": format!("{BARE}{ANN}"), "members": [ANN, BARE],
        "createdAt": at, "updatedAt": at, "__v": 0 },
    ]
}

fn messages() -> Vec<Document> {
    let message = |n: &str, sender: &str, text: &str| {
        doc! { "_id": id(&format!("6500000000000000000020{n}")), "conversationId": CHAT, "sender": sender, "text": text,
        "createdAt": started(), "updatedAt": started(), "__v": 0 }
    };
    vec![
        message("01", ANN, "Hello"),
        with(message("02", GOOD, "Hello Ann"), doc! { "images": {} }),
        message("03", ANN, "Does it boil?"),
    ]
}

fn withdrawals() -> Vec<Document> {
    vec![
        doc! { "_id": id("650000000000000000003001"), "seller": copy(good()), "amount": 50, "status": "Processing",
        "createdAt": started(), "__v": 0 },
        doc! { "_id": id("650000000000000000003002"), "seller": null, "amount": -1000, "status": "Processing" },
    ]
}

/// Writes all of it.
pub async fn plant(db: &Db) {
    for (collection, documents) in [
        ("users", users()),
        ("shops", shops()),
        ("products", products()),
        ("events", events()),
        ("orders", orders()),
        ("couponcodes", coupons()),
        ("conversations", conversations()),
        ("messages", messages()),
        ("withdraws", withdrawals()),
    ] {
        db.raw::<Document>(collection).insert_many(documents).await.unwrap();
    }
}
