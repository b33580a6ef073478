use serde::{Deserialize, Serialize};

use super::{Image, Kind, Listing, Shop, ShopCopy, Stored, User};
use crate::{
    clock::Timestamp,
    id::Id,
    lenient,
    money::{Money, Percent},
};

/// Where an order stands. The declaration's order is the order of handling.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// Placed; its units are reserved.
    #[default]
    Processing,
    /// Handed to the carrier: its units have left the shelf.
    Transferred,
    /// On its way.
    Shipping,
    /// Received by the local carrier.
    Received,
    /// Out for delivery.
    OnTheWay,
    /// With the buyer; the shop is credited.
    Delivered,
    /// The buyer wants the money back.
    RefundProcessing,
    /// Money and units are back.
    RefundSuccess,
    /// Called off before it was handed over.
    Cancelled,
}

impl Status {
    /// Every status, in order of handling.
    pub const ALL: [Self; 9] = [
        Self::Processing,
        Self::Transferred,
        Self::Shipping,
        Self::Received,
        Self::OnTheWay,
        Self::Delivered,
        Self::RefundProcessing,
        Self::RefundSuccess,
        Self::Cancelled,
    ];

    /// The text that is stored and spoken.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Processing => "Processing",
            Self::Transferred => "Transferred to delivery partner",
            Self::Shipping => "Shipping",
            Self::Received => "Received",
            Self::OnTheWay => "On the way",
            Self::Delivered => "Delivered",
            Self::RefundProcessing => "Refund Processing",
            Self::RefundSuccess => "Refund Success",
            Self::Cancelled => "Cancelled",
        }
    }

    /// Reads the exact text.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.text() == text)
    }
}

impl Serialize for Status {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.text())
    }
}
impl<'de> Deserialize<'de> for Status {
    /// Free text of the old server that is no status counts as `Processing`.
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Ok(Self::parse(&lenient::text(d)?).unwrap_or_default())
    }
}

/// Where the units of an order are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StockState {
    /// An order of the old server: its units were never reserved.
    #[default]
    Legacy,
    /// Counted in `reserved` of each listing.
    Reserved,
    /// Taken from `stock`, counted in `sold_out`.
    Taken,
    /// Given back, or never taken.
    Released,
}

/// What one shop has to deliver of a checkout (`orders`).
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Order {
    /// The order's id.
    #[serde(rename = "_id")]
    pub id: Id<Order>,
    /// The lines, all of one shop.
    #[serde(deserialize_with = "cart")]
    pub cart: Vec<CartLine>,
    /// Where it goes.
    #[serde(
        rename = "shippingAddress",
        deserialize_with = "lenient::opt_document",
        skip_serializing_if = "Option::is_none"
    )]
    pub shipping_address: Option<ShippingAddress>,
    /// Who bought it.
    #[serde(deserialize_with = "lenient::opt_document", skip_serializing_if = "Option::is_none")]
    pub user: Option<OrderUser>,
    /// What the buyer pays for this order. In old documents the whole checkout's total.
    #[serde(rename = "totalPrice", deserialize_with = "lenient::money")]
    pub total: Money,
    /// Where it stands.
    pub status: Status,
    /// How it is paid.
    #[serde(
        rename = "paymentInfo",
        deserialize_with = "lenient::opt_document",
        skip_serializing_if = "Option::is_none"
    )]
    pub payment: Option<PaymentInfo>,
    /// When it was paid.
    #[serde(
        rename = "paidAt",
        deserialize_with = "lenient::opt_date",
        skip_serializing_if = "Option::is_none"
    )]
    pub paid_at: Option<Timestamp>,
    /// When it was delivered.
    #[serde(
        rename = "deliveredAt",
        deserialize_with = "lenient::opt_date",
        skip_serializing_if = "Option::is_none"
    )]
    pub delivered_at: Option<Timestamp>,
    /// When it was placed.
    #[serde(
        rename = "createdAt",
        deserialize_with = "lenient::opt_date",
        skip_serializing_if = "Option::is_none"
    )]
    pub created_at: Option<Timestamp>,
    /// The shop that delivers; nil in old documents (there it is on the lines).
    #[serde(rename = "shopId", with = "crate::id::text")]
    pub shop_id: Id<Shop>,
    /// Ties the orders of one checkout together.
    #[serde(
        rename = "checkoutId",
        deserialize_with = "lenient::opt_text",
        skip_serializing_if = "Option::is_none"
    )]
    pub checkout_id: Option<String>,
    /// Sum of the lines.
    #[serde(deserialize_with = "lenient::opt_money", skip_serializing_if = "Option::is_none")]
    pub subtotal: Option<Money>,
    /// Shipping, rounding difference of the checkout included.
    #[serde(
        rename = "shippingCost",
        deserialize_with = "lenient::opt_money",
        skip_serializing_if = "Option::is_none"
    )]
    pub shipping_cost: Option<Money>,
    /// What the coupon took off.
    #[serde(deserialize_with = "lenient::opt_money", skip_serializing_if = "Option::is_none")]
    pub discount: Option<Money>,
    /// The coupon's name.
    #[serde(
        rename = "couponCode",
        deserialize_with = "lenient::opt_text",
        skip_serializing_if = "Option::is_none"
    )]
    pub coupon_code: Option<String>,
    /// The marketplace's share, frozen when the order was placed.
    #[serde(rename = "serviceFeePercent", skip_serializing_if = "Option::is_none")]
    pub service_fee: Option<Percent>,
    /// Where its units are.
    #[serde(rename = "stockState")]
    pub stock_state: StockState,
    /// Every change of status, oldest first.
    #[serde(rename = "statusHistory", deserialize_with = "lenient::list")]
    pub history: Vec<StatusChange>,
    /// Why the buyer wants the money back, in the last request.
    #[serde(
        rename = "refundReason",
        deserialize_with = "lenient::opt_text",
        skip_serializing_if = "Option::is_none"
    )]
    pub refund_reason: Option<String>,
    /// Every refund that was asked for, oldest first. The old server kept none.
    #[serde(deserialize_with = "lenient::list", skip_serializing_if = "Vec::is_empty")]
    pub refunds: Vec<Refund>,
    /// The dispute between buyer and shop that is open about it, by its id.
    #[serde(
        rename = "openCase",
        deserialize_with = "lenient::opt_text",
        skip_serializing_if = "Option::is_none"
    )]
    pub open_case: Option<String>,
    /// Mongoose's version counter.
    #[serde(rename = "__v", deserialize_with = "lenient::int")]
    pub version: i64,
}

impl Stored for Order {
    const COLLECTION: &'static str = "orders";
}

/// One line of an order: the listing as it was when bought, and how many.
///
/// New lines hold what answers need; old ones hold whatever the browser had in its cart.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct CartLine {
    /// The listing's id, as text.
    #[serde(rename = "_id", with = "crate::id::text")]
    pub id: Id<Listing>,
    /// Product or event; old lines do not say.
    #[serde(deserialize_with = "kind", skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// The listing's name when bought.
    #[serde(deserialize_with = "lenient::text")]
    pub name: String,
    /// The listing's description when bought.
    #[serde(deserialize_with = "lenient::text")]
    pub description: String,
    /// The listing's category when bought.
    #[serde(deserialize_with = "lenient::text")]
    pub category: String,
    /// The listing's tags when bought.
    #[serde(deserialize_with = "lenient::text")]
    pub tags: String,
    /// The price shown struck through when bought.
    #[serde(
        rename = "originalPrice",
        deserialize_with = "lenient::opt_money",
        skip_serializing_if = "Option::is_none"
    )]
    pub original_price: Option<Money>,
    /// The price of one when bought.
    #[serde(rename = "discountPrice", deserialize_with = "lenient::money")]
    pub price: Money,
    /// How many; missing means one.
    #[serde(default = "one", deserialize_with = "count")]
    pub count: i64,
    /// Pictures when bought.
    #[serde(deserialize_with = "lenient::list")]
    pub images: Vec<Image>,
    /// The shop, as text.
    #[serde(rename = "shopeId", with = "crate::id::text")]
    pub shop_id: Id<Shop>,
    /// Public copy of the shop.
    #[serde(deserialize_with = "lenient::opt_document", skip_serializing_if = "Option::is_none")]
    pub shop: Option<ShopCopy>,
    /// What the buyer pays for the line, all in: its share of the order's total, shipping and coupon
    /// included. The lines' shares add up to the total. Old lines do not say.
    #[serde(deserialize_with = "lenient::opt_money", skip_serializing_if = "Option::is_none")]
    pub paid: Option<Money>,
    /// How many of the units have been refunded.
    #[serde(deserialize_with = "lenient::int", skip_serializing_if = "is_zero")]
    pub refunded: i64,
    /// Where the line stands in the stored list, for updates: what is no line there is left out here.
    #[serde(skip)]
    pub place: usize,
    /// The buyer has reviewed this product.
    #[serde(
        rename = "isReviewed",
        deserialize_with = "lenient::flag",
        skip_serializing_if = "std::ops::Not::not"
    )]
    pub is_reviewed: bool,
}

/// The lines that can be read. Old carts may hold anything beside them.
fn cart<'de, D: serde::Deserializer<'de>>(d: D) -> Result<Vec<CartLine>, D::Error> {
    let items: Vec<bson::Bson> = lenient::list(d)?;
    let line = |(place, item)| Some(CartLine { place, ..bson::deserialize_from_bson(item).ok()? });
    Ok(items.into_iter().enumerate().filter_map(line).collect())
}

fn kind<'de, D: serde::Deserializer<'de>>(d: D) -> Result<Option<Kind>, D::Error> {
    Ok(match lenient::text(d)?.as_str() {
        "product" => Some(Kind::Product),
        "event" => Some(Kind::Event),
        _ => None,
    })
}

const fn one() -> i64 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_zero(n: &i64) -> bool {
    *n == 0
}

/// A missing, empty or senseless count is one: so the client's event cards mean it.
fn count<'de, D: serde::Deserializer<'de>>(d: D) -> Result<i64, D::Error> {
    Ok(lenient::opt_int(d)?.filter(|n| *n > 0).unwrap_or(1))
}

/// Where an order goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ShippingAddress {
    /// First line.
    #[serde(deserialize_with = "lenient::text")]
    pub address1: String,
    /// Second line.
    #[serde(deserialize_with = "lenient::text")]
    pub address2: String,
    /// Postal code as text, leading zeros kept.
    #[serde(
        rename = "zipCode",
        deserialize_with = "lenient::opt_text",
        skip_serializing_if = "Option::is_none"
    )]
    pub zip_code: Option<String>,
    /// ISO country code.
    #[serde(deserialize_with = "lenient::text")]
    pub country: String,
    /// ISO code of the state.
    #[serde(deserialize_with = "lenient::text")]
    pub city: String,
}

/// The buyer as an order keeps them: what the seller needs to deliver, no more.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct OrderUser {
    /// Hex text in the database: "my orders" is found by it.
    #[serde(rename = "_id", with = "crate::id::text")]
    pub id: Id<User>,
    /// Display name.
    #[serde(deserialize_with = "lenient::text")]
    pub name: String,
    /// Shown to the seller on the order.
    #[serde(
        rename = "phoneNumber",
        deserialize_with = "lenient::opt_int",
        skip_serializing_if = "Option::is_none"
    )]
    pub phone_number: Option<i64>,
}

/// How an order is paid.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PaymentInfo {
    /// Stripe intent, PayPal order or capture, or (unverified) PayPal payer.
    #[serde(deserialize_with = "lenient::opt_text", skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// `succeeded` once paid, `unverified` for a payer's bare claim, `refunded` when the money went
    /// back, `disputed` while the payer's bank wants it back, `charged back` when the bank took it; absent
    /// while unpaid.
    #[serde(deserialize_with = "lenient::opt_text", skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// `Cash on Delivery`, `Paypal`, `Credit Card`.
    #[serde(
        rename = "type",
        deserialize_with = "lenient::opt_text",
        skip_serializing_if = "Option::is_none"
    )]
    pub kind: Option<String>,
}

impl PaymentInfo {
    /// The status of what is paid.
    pub const SUCCEEDED: &str = "succeeded";
    /// The status of what a payer claims to have paid.
    pub const UNVERIFIED: &str = "unverified";
    /// The status of what went back, all of it.
    pub const REFUNDED: &str = "refunded";
    /// The status of what the payer's bank wants back.
    pub const DISPUTED: &str = "disputed";
    /// The status of what the payer's bank took back.
    pub const CHARGED_BACK: &str = "charged back";
    /// The kind that is paid to whoever delivers.
    pub const ON_DELIVERY: &str = "Cash on Delivery";
    /// The statuses of what was paid, whatever became of the money since.
    pub const PAID: [&str; 4] = [Self::SUCCEEDED, Self::REFUNDED, Self::DISPUTED, Self::CHARGED_BACK];

    /// Whether a status is one of [`PaymentInfo::PAID`].
    pub fn was_paid(status: &str) -> bool {
        Self::PAID.contains(&status)
    }
}

/// One change of status.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct StatusChange {
    /// The new status.
    pub status: Status,
    /// When.
    #[serde(deserialize_with = "lenient::opt_date")]
    pub at: Option<Timestamp>,
    /// Why, where nobody asked for it.
    #[serde(deserialize_with = "lenient::opt_text", skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// One request to give money back, for all of an order or for some of its units.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Refund {
    /// Which units.
    #[serde(deserialize_with = "lenient::list")]
    pub items: Vec<RefundItem>,
    /// What the buyer gets back for them.
    #[serde(deserialize_with = "lenient::money")]
    pub amount: Money,
    /// The buyer's words.
    #[serde(deserialize_with = "lenient::opt_text", skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What became of it.
    pub state: RefundState,
    /// When it was asked for; the old server did not say.
    #[serde(deserialize_with = "lenient::opt_date", skip_serializing_if = "Option::is_none")]
    pub asked_at: Option<Timestamp>,
    /// When the shop decided.
    #[serde(deserialize_with = "lenient::opt_date", skip_serializing_if = "Option::is_none")]
    pub decided_at: Option<Timestamp>,
}

/// Units of one line of an order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RefundItem {
    /// The line's listing, as text.
    #[serde(rename = "_id", with = "crate::id::text")]
    pub id: Id<Listing>,
    /// How many.
    #[serde(deserialize_with = "lenient::int")]
    pub count: i64,
}

/// What became of a request for a refund.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RefundState {
    /// The shop has not decided yet.
    #[default]
    Asked,
    /// Money and units went back.
    Granted,
    /// The shop did not agree.
    Refused,
}
