use serde::{Deserialize, Serialize};

use super::{Case, CaseMessage, Kind, Listing, Order, Status, Withdrawal};
use crate::id::Id;

/// Something has happened that people and other programs are told of.
///
/// It is written with the change itself and says no more than what it is about: what there is to say is read when it
/// is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum News {
    /// A checkout has become these orders, one a shop.
    OrdersPlaced {
        /// All of one buyer.
        orders: Vec<Id<Order>>,
    },
    /// A shop has moved one of its orders along.
    OrderMoved {
        /// Which.
        order: Id<Order>,
        /// The status that it had got.
        to: Status,
    },
    /// An order was called off.
    OrderCancelled {
        /// Which.
        order: Id<Order>,
        /// By whom, or what.
        by: CancelledBy,
    },
    /// A buyer wants money back.
    RefundAsked {
        /// For which order.
        order: Id<Order>,
        /// The refund's place in the order's list, from 1 on.
        number: i64,
    },
    /// The money goes back.
    RefundGranted {
        /// For which order.
        order: Id<Order>,
        /// The refund's place in the order's list, from 1 on.
        number: i64,
    },
    /// The shop does not agree to that.
    RefundRefused {
        /// For which order.
        order: Id<Order>,
        /// The refund's place in the order's list, from 1 on.
        number: i64,
    },
    /// A shop wants to be paid out.
    WithdrawalAsked {
        /// Its request.
        withdrawal: Id<Withdrawal>,
    },
    /// An administrator has decided about that.
    WithdrawalDecided {
        /// The request.
        withdrawal: Id<Withdrawal>,
        /// What went back to the balance, in minor units.
        returned: i64,
    },
    /// There is little left of something. Told once, until there is more of it again.
    StockLow {
        /// Product or event.
        kind: Kind,
        /// Which.
        listing: Id<Listing>,
        /// How many could still be bought.
        left: i64,
    },
    /// Nothing is left of it. Told once, until there is some again.
    SoldOut {
        /// Product or event.
        kind: Kind,
        /// Which.
        listing: Id<Listing>,
    },
    /// A buyer or a shop has opened a dispute about an order.
    CaseOpened {
        /// Which dispute.
        case: Id<Case>,
    },
    /// One of the two has said something in it.
    CaseMessage {
        /// Which dispute.
        case: Id<Case>,
        /// What was said.
        message: Id<CaseMessage>,
    },
    /// It has ended, however.
    CaseClosed {
        /// Which dispute.
        case: Id<Case>,
    },
    /// Something of a later version, which that version will tell.
    #[serde(other)]
    Unknown,
}

impl News {
    /// The stored word for what has happened.
    pub const fn what(&self) -> &'static str {
        match self {
            Self::OrdersPlaced { .. } => "ordersPlaced",
            Self::OrderMoved { .. } => "orderMoved",
            Self::OrderCancelled { .. } => "orderCancelled",
            Self::RefundAsked { .. } => "refundAsked",
            Self::RefundGranted { .. } => "refundGranted",
            Self::RefundRefused { .. } => "refundRefused",
            Self::WithdrawalAsked { .. } => "withdrawalAsked",
            Self::WithdrawalDecided { .. } => "withdrawalDecided",
            Self::StockLow { .. } => "stockLow",
            Self::SoldOut { .. } => "soldOut",
            Self::CaseOpened { .. } => "caseOpened",
            Self::CaseMessage { .. } => "caseMessage",
            Self::CaseClosed { .. } => "caseClosed",
            Self::Unknown => "unknown",
        }
    }
}

/// Who, or what, has called an order off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CancelledBy {
    /// Whoever placed it.
    Buyer,
    /// Whoever was to deliver it.
    Shop,
    /// Its payment never arrived.
    Unpaid,
    /// The payer's bank took the payment back.
    Bank,
}
