use serde::Serialize;
use shared::{
    config::Config,
    model::{Shop, User, is_admin},
    money::Money,
};

use super::{rules::Refused, store::ShopState};
use crate::{
    admin::{
        page::Page,
        wire::{MeasureReply, made},
    },
    error::Refusal,
    media::wire::PictureReply,
};

/// `GET /api/admin/users`
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Users {
    success: bool,
    users: Vec<UserReply>,
    total: u64,
    next_cursor: Option<String>,
}

/// A shopper, as administrators see them.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UserReply {
    #[serde(rename = "_id")]
    id: String,
    name: String,
    email: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    phone_number: Option<i64>,
    role: &'static str,
    avatar: PictureReply,
    created_at: String,
    blocked: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    blocking: Option<MeasureReply>,
    #[serde(skip_serializing_if = "Option::is_none")]
    closed_at: Option<String>,
}

impl UserReply {
    pub(crate) fn of(config: &Config, user: User) -> Self {
        Self {
            created_at: made(user.created_at, user.id),
            id: user.id.hex(),
            name: user.name,
            email: user.email,
            phone_number: user.phone_number,
            role: if is_admin(&user.role) { "Admin" } else { "user" },
            avatar: PictureReply::of(config, user.avatar.as_ref()),
            blocked: user.blocked,
            blocking: user.blocking.map(Into::into),
            closed_at: user.closed_at.map(shared::clock::iso),
        }
    }
}

impl Users {
    pub(super) fn of(config: &Config, page: Page<User>) -> Self {
        let Page { items: users, total, next: next_cursor } = page.map(|user| UserReply::of(config, user));
        Self { success: true, users, total, next_cursor }
    }
}

/// `GET /api/admin/shops`
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Shops {
    success: bool,
    shops: Vec<ShopReply>,
    total: u64,
    next_cursor: Option<String>,
}

/// A shop, as administrators see it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ShopReply {
    #[serde(rename = "_id")]
    id: String,
    name: String,
    email: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    phone_number: Option<i64>,
    address: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    zip_code: Option<i64>,
    avatar: PictureReply,
    available_balance: Money,
    state: &'static str,
    created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    blocking: Option<MeasureReply>,
    #[serde(skip_serializing_if = "Option::is_none")]
    closed_at: Option<String>,
}

impl ShopReply {
    pub(crate) fn of(config: &Config, shop: Shop) -> Self {
        let state = ShopState::of(&shop);
        Self {
            state: ShopState::ALL.iter().find(|(_, known)| *known == state).map_or("open", |(word, _)| word),
            available_balance: shop.balance_minor.map_or(shop.available_balance, Money::from_minor),
            created_at: made(shop.created_at, shop.id),
            id: shop.id.hex(),
            name: shop.name,
            email: shop.email,
            phone_number: shop.phone_number,
            address: shop.address,
            zip_code: shop.zip_code,
            avatar: PictureReply::of(config, shop.avatar.as_ref()),
            blocking: shop.blocking.map(Into::into),
            closed_at: shop.closed_at.map(shared::clock::iso),
        }
    }
}

impl Shops {
    pub(super) fn of(config: &Config, page: Page<Shop>) -> Self {
        let Page { items: shops, total, next: next_cursor } = page.map(|shop| ShopReply::of(config, shop));
        Self { success: true, shops, total, next_cursor }
    }
}

/// What became of a decision about a user.
#[derive(Serialize)]
pub(super) struct UserDecided {
    pub(super) success: bool,
    pub(super) message: &'static str,
    pub(super) user: UserReply,
}

/// What became of a decision about a shop.
#[derive(Serialize)]
pub(super) struct ShopDecided {
    pub(super) success: bool,
    pub(super) message: &'static str,
    pub(super) shop: ShopReply,
}

pub(super) const BLOCKED: &str = "The account is blocked, and its sessions are over";
pub(super) const SHOP_BLOCKED: &str =
    "The shop is blocked: its sessions are over, and nothing of it is shown or sold";
pub(super) const UNBLOCKED: &str = "The account is not blocked any more";
pub(super) const APPROVED: &str = "The shop is approved, and may sell";
pub(super) const UNCHANGED: &str = "Nothing to do: it was so already";

pub(super) const USER_NOT_FOUND: Refusal = Refusal::not_found("user_not_found", "There is no such user");
pub(super) const SHOP_NOT_FOUND: Refusal = Refusal::not_found("shop_not_found", "There is no such shop");
pub(super) const LAST_ADMIN: Refusal = Refusal::conflict(
    "last_admin",
    "This is the last administrator who can log in. Make another one first, or nobody could undo this",
);
pub(super) const CLOSED: Refusal = Refusal::conflict(
    "account_closed",
    "This account was given up for good, and nothing of its owner is left in it: that cannot be undone",
);
const OWN: Refusal = Refusal::conflict(
    "own_account",
    "This is your own account. Another administrator has to decide about it",
);

pub(super) const OPEN_WITHDRAWAL: Refusal = Refusal::conflict(
    "open_withdrawal",
    "A withdrawal of this shop waits for a decision. It can be deleted once that is taken",
);

/// A shop for whose goods somebody waits.
pub(super) fn open_orders(count: u64) -> Refusal {
    Refusal::conflict("open_orders", "This shop has open orders").saying(format!(
        "This shop has {count} open orders. It can be deleted once they are delivered, refunded or cancelled"
    ))
}

/// A shop that is owed something, or owes.
pub(super) fn balance_not_zero(balance: Money) -> Refusal {
    Refusal::conflict("balance_not_zero", "The balance of this shop is not zero").saying(format!(
        "The balance of this shop is {balance}. It can be deleted once that is paid out, or made up for"
    ))
}

pub(super) fn refuse(why: Refused) -> Refusal {
    match why {
        Refused::Own => OWN,
        Refused::Closed => CLOSED,
    }
}
