use serde::{Deserialize, Serialize};
use shared::{
    clock::iso,
    config::Config,
    id::Id,
    model::{CartLine, Image, Order, PaymentInfo, Refund, RefundItem, RefundState, ShippingAddress, Status},
    money::{Money, Percent},
};

use super::{
    cart::CartItem,
    pricing::NoQuote,
    refunds::{self, NotRefundable},
    rules::{NotFrom, NotPending},
    store::Owner,
};
use crate::{
    coupons::discount::NotApplicable,
    error::{Error, Refusal},
    extract::loose,
    media::{self, wire::PictureReply},
    paging::Place,
};

/// `POST /api/order/create-order`
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Checkout {
    #[serde(default)]
    pub cart: Option<Vec<CartItem>>,
    #[serde(default)]
    pub shipping_address: Option<AddressInput>,
    /// The buyer as the browser knows them; only `_id` is read, and only where there is no session.
    #[serde(default)]
    pub user: Option<UserInput>,
    #[serde(default, deserialize_with = "loose")]
    pub total_price: Option<String>,
    #[serde(default)]
    pub coupon_code: Option<String>,
    #[serde(default)]
    pub payment_info: Option<PaymentInput>,
}

#[derive(Deserialize)]
pub(super) struct UserInput {
    #[serde(rename = "_id", default)]
    pub id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AddressInput {
    #[serde(default, deserialize_with = "loose")]
    pub address1: Option<String>,
    #[serde(default, deserialize_with = "loose")]
    pub address2: Option<String>,
    #[serde(default, deserialize_with = "loose")]
    pub zip_code: Option<String>,
    #[serde(default, deserialize_with = "loose")]
    pub country: Option<String>,
    #[serde(default, deserialize_with = "loose")]
    pub city: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct PaymentInput {
    #[serde(rename = "type", default)]
    pub kind: Option<String>,
    #[serde(default)]
    pub id: Option<String>,
}

/// `PUT /api/order/update-order-status/{id}` and `PUT /api/order/order-refund-success/{id}`
#[derive(Deserialize)]
pub(super) struct StatusUpdate {
    #[serde(default)]
    pub status: Option<String>,
}

/// `PUT /api/order/refund-order/{id}`: the client also sends `status`, which says nothing new.
#[derive(Deserialize)]
pub(super) struct RefundRequest {
    #[serde(default, deserialize_with = "loose")]
    pub reason: Option<String>,
    /// Without them the whole order.
    #[serde(default)]
    pub items: Option<Vec<RefundItemInput>>,
}

/// Some units of one line.
#[derive(Deserialize)]
pub(super) struct RefundItemInput {
    /// The listing's, as on the line.
    #[serde(alias = "_id", default)]
    pub id: Option<String>,
    #[serde(default, deserialize_with = "loose")]
    pub count: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OrderReply {
    #[serde(rename = "_id")]
    id: String,
    cart: Vec<LineReply>,
    shipping_address: AddressReply,
    user: UserReply,
    /// A JSON number, always: text blanks the seller's page.
    total_price: Money,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    payment_info: Option<PaymentReply>,
    #[serde(skip_serializing_if = "Option::is_none")]
    paid_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delivered_at: Option<String>,
    created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    checkout_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    shop_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subtotal: Option<Money>,
    #[serde(skip_serializing_if = "Option::is_none")]
    shipping_cost: Option<Money>,
    #[serde(skip_serializing_if = "Option::is_none")]
    discount: Option<Money>,
    #[serde(skip_serializing_if = "Option::is_none")]
    coupon_code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_fee_percent: Option<Percent>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    status_history: Vec<ChangeReply>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refund_reason: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    refunds: Vec<RefundReply>,
    /// What has gone back to the buyer; absent before the first refund.
    #[serde(skip_serializing_if = "Option::is_none")]
    refunded_total: Option<Money>,
    #[serde(rename = "__v")]
    version: i64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LineReply {
    #[serde(rename = "_id")]
    id: String,
    name: String,
    description: String,
    category: String,
    tags: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    original_price: Option<Money>,
    discount_price: Money,
    count: i64,
    images: Vec<ImageReply>,
    #[serde(rename = "shopeId")]
    shop_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    shop: Option<ShopReply>,
    #[serde(skip_serializing_if = "Option::is_none")]
    paid: Option<Money>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refunded: Option<i64>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    is_reviewed: bool,
}

#[derive(Serialize)]
struct ImageReply {
    #[serde(rename = "_id")]
    id: String,
    public_id: String,
    url: String,
}

#[derive(Serialize)]
struct ShopReply {
    #[serde(rename = "_id")]
    id: String,
    name: String,
    avatar: PictureReply,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AddressReply {
    address1: String,
    address2: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    zip_code: Option<String>,
    country: String,
    city: String,
}

/// The buyer, as the seller needs to know them.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct UserReply {
    #[serde(rename = "_id")]
    id: String,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    phone_number: Option<i64>,
}

#[derive(Serialize)]
struct PaymentReply {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<String>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
}

#[derive(Serialize)]
struct ChangeReply {
    status: &'static str,
    at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RefundReply {
    items: Vec<RefundItemReply>,
    amount: Money,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    state: RefundState,
    #[serde(skip_serializing_if = "Option::is_none")]
    asked_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    decided_at: Option<String>,
}

#[derive(Serialize)]
struct RefundItemReply {
    #[serde(rename = "_id")]
    id: String,
    count: i64,
}

impl From<Refund> for RefundReply {
    fn from(refund: Refund) -> Self {
        let item = |item: RefundItem| RefundItemReply { id: item.id.hex(), count: item.count };
        Self {
            items: refund.items.into_iter().map(item).collect(),
            amount: refund.amount,
            reason: refund.reason,
            state: refund.state,
            asked_at: refund.asked_at.map(iso),
            decided_at: refund.decided_at.map(iso),
        }
    }
}

impl OrderReply {
    /// As its owner sees it. Who paid is the buyer's business: whoever knows a PayPal payer's id could claim
    /// what that person pays, and a shop needs the status alone.
    pub(super) fn seen_by(owner: Owner, config: &Config, mut order: Order) -> Self {
        if let (Owner::Shop(_), Some(payment)) = (owner, &mut order.payment) {
            payment.id = None;
        }
        Self::of(config, order)
    }

    pub(crate) fn of(config: &Config, order: Order) -> Self {
        let made = order.id.made_at();
        let refunded_total = refunds::granted(&order).next().map(|_| refunds::returned(&order));
        let shop = order.shop_id;
        let user = order.user.unwrap_or_default();
        Self {
            id: order.id.hex(),
            cart: order.cart.into_iter().map(|line| line_reply(config, line)).collect(),
            shipping_address: address_reply(order.shipping_address.unwrap_or_default()),
            user: UserReply { id: user.id.hex(), name: user.name, phone_number: user.phone_number },
            total_price: order.total,
            status: order.status.text(),
            payment_info: order.payment.map(payment_reply),
            paid_at: order.paid_at.map(iso),
            delivered_at: order.delivered_at.map(iso),
            created_at: iso(order.created_at.unwrap_or(made)),
            checkout_id: order.checkout_id,
            shop_id: (shop != Id::nil()).then(|| shop.hex()),
            subtotal: order.subtotal,
            shipping_cost: order.shipping_cost,
            discount: order.discount,
            coupon_code: order.coupon_code,
            service_fee_percent: order.service_fee,
            status_history: order
                .history
                .into_iter()
                .map(|change| ChangeReply {
                    status: change.status.text(),
                    at: iso(change.at.unwrap_or(made)),
                    note: change.note,
                })
                .collect(),
            refund_reason: order.refund_reason,
            refunds: order.refunds.into_iter().map(Into::into).collect(),
            refunded_total,
            version: order.version,
        }
    }
}

fn line_reply(config: &Config, line: CartLine) -> LineReply {
    let mut images: Vec<ImageReply> =
        line.images.into_iter().map(|image| image_reply(config, image)).collect();
    if images.is_empty() {
        // The client's order pages read the first picture without asking.
        let placeholder = media::placeholder(config);
        images.push(ImageReply {
            id: Id::<Image>::nil().hex(),
            public_id: placeholder.public_id,
            url: media::public_url(config, &placeholder.url),
        });
    }
    LineReply {
        id: line.id.hex(),
        name: line.name,
        description: line.description,
        category: line.category,
        tags: line.tags,
        original_price: line.original_price,
        discount_price: line.price,
        count: line.count,
        images,
        shop_id: line.shop_id.hex(),
        shop: line.shop.map(|shop| ShopReply {
            id: shop.id.hex(),
            name: shop.name,
            avatar: PictureReply::of(config, shop.avatar.as_ref()),
        }),
        paid: line.paid,
        refunded: Some(line.refunded).filter(|n| *n > 0),
        is_reviewed: line.is_reviewed,
    }
}

fn image_reply(config: &Config, image: Image) -> ImageReply {
    ImageReply { id: image.id.hex(), public_id: image.public_id, url: media::public_url(config, &image.url) }
}

fn address_reply(address: ShippingAddress) -> AddressReply {
    let ShippingAddress { address1, address2, zip_code, country, city } = address;
    AddressReply { address1, address2, zip_code, country, city }
}

/// The old server stores `succeded`; the client shows only `succeeded` in green.
fn payment_reply(payment: PaymentInfo) -> PaymentReply {
    let status =
        payment.status.map(|status| if status == "succeded" { "succeeded".to_owned() } else { status });
    PaymentReply { id: payment.id, status, kind: payment.kind }
}

#[derive(Serialize)]
pub(super) struct OrderOne {
    pub success: bool,
    pub order: OrderReply,
}

#[derive(Serialize)]
pub(super) struct OrderList {
    pub success: bool,
    pub orders: Vec<OrderReply>,
    #[serde(flatten)]
    pub place: Option<Place>,
}

#[derive(Serialize)]
pub(super) struct OrderChanged {
    pub success: bool,
    pub message: &'static str,
    pub order: OrderReply,
}

#[derive(Serialize)]
pub(super) struct Message {
    pub success: bool,
    pub message: &'static str,
}

pub(super) const ORDER_NOT_FOUND: Refusal =
    Refusal::not_found("order_not_found", "Order not found for this id");
pub(super) const IN_DISPUTE: Refusal = Refusal::conflict(
    "in_dispute",
    "There is an open dispute about this order. Please end it first, or wait until an administrator has decided",
);
pub(super) const DISPUTED: Refusal =
    Refusal::conflict("payment_disputed", "The buyer's bank wants the payment of this order back");

pub(super) const WRONG_STATUS: Refusal =
    Refusal::conflict("wrong_status", "The order's status does not allow this");
pub(super) const ITEM_GONE: Refusal =
    Refusal::conflict("item_gone", "Something in the cart is no longer sold");
pub(super) const NOT_RUNNING: Refusal =
    Refusal::conflict("event_not_running", "An event in the cart is not running");
pub(super) const OUT_OF_STOCK: Refusal =
    Refusal::conflict("out_of_stock", "There is not enough left of something in the cart");
pub(super) const WRONG_TOTAL: Refusal = Refusal::conflict("wrong_total", "The total does not fit the cart");
pub(super) const COUPON_REFUSED: Refusal =
    Refusal::conflict("coupon_refused", "The coupon does not apply to this cart");
pub(super) const NOT_PAID: Refusal =
    Refusal::conflict("payment_not_verified", "The payment could not be verified");
pub(super) const PAYMENT_NOT_YOURS: Refusal = Refusal::conflict(
    "payment_not_yours",
    "This payment was not begun for your account; please pay from the checkout page",
);
pub(super) const PAYMENT_USED: Refusal =
    Refusal::conflict("payment_used", "This payment has already paid for another order");

pub(super) const REFUND_PENDING: Refusal = Refusal::conflict(
    "refund_pending",
    "The shop has not decided yet about another refund of this order; ask for more once it has",
);
pub(super) const NOT_REFUNDABLE: Refusal =
    Refusal::conflict("not_refundable", "So many units of the order cannot be refunded");

/// Words a decision about a refund that does not wait for one.
pub(super) fn not_pending(why: NotPending) -> Error {
    let NotPending { number, state } = why;
    WRONG_STATUS
        .saying(match state {
            None => format!("The order has no refund number {number}"),
            Some(RefundState::Granted) => format!("Refund number {number} has been granted"),
            Some(RefundState::Refused) => format!("Refund number {number} has been refused"),
            Some(RefundState::Asked) => format!("Refund number {number} waits for a decision"),
        })
        .into()
}

/// Words units that cannot be refunded.
pub(super) fn not_refundable(why: NotRefundable) -> Error {
    match why {
        NotRefundable::NotInOrder(id) => {
            Error::field("items", format!("must name lines of the order; {id} is none of them"))
        }
        NotRefundable::TooMany { name, asked, left } => NOT_REFUNDABLE
            .saying(format!(
                "You asked for a refund of {asked} of \"{name}\", but only {left} of them can still be refunded"
            ))
            .into(),
    }
}

/// The text of a status on the wire; exactly one of the known ones.
pub(super) fn status(text: Option<&str>) -> Option<Status> {
    text.and_then(Status::parse)
}

/// Words that the payer's bank is in between.
pub(super) fn disputed(order: &Order) -> Error {
    let status = order.payment.as_ref().and_then(|payment| payment.status.as_deref());
    let why = match status {
        Some(PaymentInfo::CHARGED_BACK) => {
            "The buyer's bank has taken the payment of this order back already"
        }
        _ => "The buyer's bank wants the payment of this order back: wait until it has decided",
    };
    DISPUTED.saying(why).into()
}

/// Words a wish that does not fit the order's status.
pub(super) fn not_from(refused: NotFrom) -> Error {
    WRONG_STATUS
        .saying(format!(
            "The order is \"{}\" and cannot become \"{}\"",
            refused.from.text(),
            refused.to.text()
        ))
        .into()
}

/// Words a cart without a price.
pub(super) fn no_quote(why: NoQuote) -> Error {
    match why {
        NoQuote::UnknownCoupon => COUPON_REFUSED.saying("There is no coupon of this name").into(),
        NoQuote::CouponDoesNotApply(why) => COUPON_REFUSED
            .saying(match why {
                NotApplicable::NoEligibleLine => "The coupon is for nothing that is in this cart".to_owned(),
                NotApplicable::BelowMinimum(minimum) => {
                    format!("The coupon needs goods of its shop for at least {minimum}")
                }
                NotApplicable::AboveMaximum(maximum) => {
                    format!("The coupon is for goods of its shop up to {maximum}")
                }
                NotApplicable::Senseless => "The coupon is not valid".to_owned(),
            })
            .into(),
        NoQuote::TotalTooLow { right } => WRONG_TOTAL
            .saying(format!(
                "The total does not fit the cart: it comes to {right}, and no coupon explains less"
            ))
            .into(),
        NoQuote::TotalMissing { right } => {
            WRONG_TOTAL.saying(format!("The total is missing: the cart comes to {right}")).into()
        }
        NoQuote::TooLarge => WRONG_TOTAL.saying("The cart comes to more than can be ordered at once").into(),
    }
}
