//! What is stored: one file a collection. English names in Rust, the legacy names in serde renames.
//!
//! Every type reads leniently (see [`crate::lenient`]): nothing but `_id` is certain in a database
//! that the old server wrote.

mod account;
mod audit_log;
mod case;
mod conversation;
mod coupon;
mod infrastructure;
mod ledger;
mod listing;
mod measure;
mod news;
mod order;
mod payment;
mod webhook;
mod withdrawal;

pub use account::{
    Address, Picture, ROLE_ADMIN, ROLE_SELLER, ROLE_USER, Shop, Transaction, User, WithdrawMethod, is_admin,
};
pub use audit_log::{AuditEntry, Party};
pub use case::{Case, CaseMessage, CaseReason, CaseSide, CaseState};
pub use conversation::{Conversation, LastSeen, Message};
pub use coupon::{Coupon, CouponSeller};
pub use infrastructure::{
    Outbox, OutboxJob, PendingAccount, PendingRegistration, RateCount, RememberedAnswer, Turn,
};
pub use ledger::{LedgerEntry, LedgerLine};
pub use listing::{Image, Kind, Listing, Review, Reviewer, ShopCopy};
pub use measure::Measure;
pub use news::{CancelledBy, News};
pub use order::{
    CartLine, Order, OrderUser, PaymentInfo, Refund, RefundItem, RefundState, ShippingAddress, Status,
    StatusChange, StockState,
};
pub use payment::{
    Attention, Dispute, DisputeShare, DisputeState, Payment, PaymentFact, Return, Settled, WebhookEvent,
};
pub use webhook::{DeliveryState, FormerSecret, WebhookDelivery, WebhookEndpoint, WebhookTry};
pub use withdrawal::{Withdrawal, WithdrawalSeller};

/// A type that is stored in one collection of its own.
pub trait Stored: Send + Sync {
    /// The collection's name, as the old server has it.
    const COLLECTION: &'static str;
}
