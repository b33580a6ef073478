use bson::{Bson, Document, doc};
use shared::{
    clock::Timestamp,
    db::Db,
    id::Id,
    model::{Order, PaymentInfo, Shop, Status, Stored as _, User},
};

use crate::admin::page::{self, Order as In, Page, Wanted, all_of};

/// In which orders orders can be read.
pub(crate) const ORDERS: [In; 3] = [
    In { name: "newest", by: "createdAt", ascending: false },
    In { name: "oldest", by: "createdAt", ascending: true },
    In { name: "total", by: "totalPrice", ascending: false },
];

/// Which orders are wanted.
#[derive(Clone, Debug, Default)]
pub(crate) struct OrderFilter {
    /// The id of an order, of its checkout or of its payment.
    pub(crate) q: Option<String>,
    pub(crate) status: Option<Status>,
    pub(crate) shop: Option<Id<Shop>>,
    pub(crate) buyer: Option<Id<User>>,
    pub(crate) payment: Option<PaymentState>,
    /// Placed at this moment or later.
    pub(crate) from: Option<Timestamp>,
    /// Placed before this moment.
    pub(crate) to: Option<Timestamp>,
}

/// Where an order's money is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PaymentState {
    /// Nobody has paid.
    Unpaid,
    /// It is there.
    Succeeded,
    /// A payer says so, and nobody has verified it.
    Unverified,
    /// All of it went back.
    Refunded,
    /// The payer's bank wants it back.
    Disputed,
    /// The payer's bank has taken it back.
    ChargedBack,
}

impl PaymentState {
    /// Each with the word for it.
    pub(crate) const ALL: [(&'static str, Self); 6] = [
        ("unpaid", Self::Unpaid),
        (PaymentInfo::SUCCEEDED, Self::Succeeded),
        (PaymentInfo::UNVERIFIED, Self::Unverified),
        (PaymentInfo::REFUNDED, Self::Refunded),
        (PaymentInfo::DISPUTED, Self::Disputed),
        (PaymentInfo::CHARGED_BACK, Self::ChargedBack),
    ];

    fn filter(self) -> Document {
        let status: Vec<Bson> = match self {
            Self::Unpaid => vec![Bson::Null, "".into()],
            // As the old server stores it, too.
            Self::Succeeded => vec![PaymentInfo::SUCCEEDED.into(), "succeded".into()],
            Self::Unverified => vec![PaymentInfo::UNVERIFIED.into()],
            Self::Refunded => vec![PaymentInfo::REFUNDED.into()],
            Self::Disputed => vec![PaymentInfo::DISPUTED.into()],
            Self::ChargedBack => vec![PaymentInfo::CHARGED_BACK.into()],
        };
        doc! { "paymentInfo.status": { "$in": status } }
    }
}

/// A page of the orders.
pub(crate) async fn orders(db: &Db, wanted: &Wanted<OrderFilter>) -> mongodb::error::Result<Page<Order>> {
    let OrderFilter { q, status, shop, buyer, payment, from, to } = &wanted.filter;
    let mut fitting = Vec::new();
    fitting.extend(q.as_deref().map(|text| {
        let mut ways = vec![doc! { "checkoutId": text }, doc! { "paymentInfo.id": text }];
        ways.extend(text.parse::<Id<Order>>().ok().map(|id| doc! { "_id": id }));
        doc! { "$or": ways }
    }));
    fitting.extend(status.map(|status| doc! { "status": status.text() }));
    fitting.extend(shop.map(|shop| {
        doc! { "$or": [{ "shopId": shop.hex() }, { "cart.shopeId": shop.hex() }] }
    }));
    fitting.extend(buyer.map(|buyer| doc! { "user._id": buyer.hex() }));
    fitting.extend(payment.map(PaymentState::filter));
    fitting.extend(from.map(|from| doc! { "createdAt": { "$gte": from } }));
    fitting.extend(to.map(|to| doc! { "createdAt": { "$lt": to } }));
    page::page(db, Order::COLLECTION, all_of(fitting), Document::new(), wanted).await
}
