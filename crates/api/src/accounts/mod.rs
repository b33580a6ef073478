//! What shoppers and shops have in common: signing up, following the mailed link, logging in,
//! passwords, ending sessions. `users` and `shops` say what differs through [`Account`].

mod flows;
pub(crate) mod reset_link;
pub(crate) mod rules;
pub(crate) mod store;
pub(crate) mod wire;

pub(crate) use flows::{
    Activated, SignUp, activate, ask_for_reset, change_password, end_session, end_sessions, is_password_of,
    log_in, open_session, replace_avatar, reset_password, sign_up, with_cookies,
};

use serde::{Serialize, de::DeserializeOwned};
use shared::{
    auth::Kind,
    clock::Timestamp,
    id::Id,
    model::{PendingAccount, PendingRegistration, Picture, ROLE_SELLER, ROLE_USER, Shop, Stored, User},
    touched::Touched,
};

use crate::error::Refusal;

/// What logs in: a shopper or a shop.
pub(crate) trait Account: Stored + Serialize + DeserializeOwned + Clone + Unpin + 'static {
    /// Whose sessions these are.
    const KIND: Kind;
    /// The unique index on the e-mail address.
    const EMAIL_INDEX: &'static str;
    /// How [`PendingAccount`] is tagged for it.
    const PENDING: &'static str;
    /// The client's page that activates it: the token follows.
    const ACTIVATION_PAGE: &'static str;
    /// Where a link for a new password leads: the token follows.
    const RESET_PAGE: &'static str;
    /// Subject of the mail with the activation link.
    const ACTIVATION_SUBJECT: &'static str;
    /// Somebody has this e-mail address already, said to somebody who signs up.
    const EXISTS: Refusal;
    /// The same, said to somebody who follows a link.
    const EXISTS_ALREADY: Refusal;

    /// Where copies of its picture are shown.
    const COPIES: &'static [Copy];

    /// Its id.
    fn id(&self) -> Id<Self>;
    /// Where its mail goes.
    fn email(&self) -> &str;
    /// The bcrypt hash.
    fn password(&self) -> &str;
    /// Sessions issued under a lower version are over.
    fn session_version(&self) -> i64;
    /// A blocked account has no sessions.
    fn is_blocked(&self) -> bool;
    /// Its picture.
    fn avatar(&self) -> Option<&Picture>;
    /// When it was made.
    fn created_at(&self) -> Timestamp;
    /// What its picture stands on in the catalogue.
    fn shown(id: Id<Self>) -> Touched;
    /// The account that a registration becomes, unless the registration is for the other kind. Where new shops need
    /// an administrator's approval, a shop waits for that.
    fn from_pending(pending: PendingRegistration, now: Timestamp, needs_approval: bool) -> Option<Self>;
}

/// A place where a copy of an account's picture is shown. The picture before is deleted, so copies
/// have to follow.
pub(crate) struct Copy {
    /// The collection.
    pub(crate) collection: &'static str,
    /// Where the account's id stands, as hex text.
    pub(crate) owner: &'static str,
    /// Where the picture stands.
    pub(crate) picture: &'static str,
    /// In a list, what tells the account's own elements, as an array filter.
    pub(crate) own: Option<&'static str>,
}

impl Account for User {
    const COPIES: &'static [Copy] = &[Copy {
        collection: "products",
        owner: "reviews.user._id",
        picture: "reviews.$[own].user.avatar",
        own: Some("own.user._id"),
    }];
    const KIND: Kind = Kind::User;
    const EMAIL_INDEX: &'static str = "users_email";
    const PENDING: &'static str = "user";
    const ACTIVATION_PAGE: &'static str = "/activation/";
    const RESET_PAGE: &'static str = "/reset-password/";
    const ACTIVATION_SUBJECT: &'static str = "Activate your account";
    const EXISTS: Refusal = Refusal::bad_request("email_taken", "User already exists");
    const EXISTS_ALREADY: Refusal = Refusal::conflict("email_taken", "User already exists");

    fn id(&self) -> Id<Self> {
        self.id
    }
    fn email(&self) -> &str {
        &self.email
    }
    fn password(&self) -> &str {
        &self.password
    }
    fn session_version(&self) -> i64 {
        self.session_version
    }
    fn is_blocked(&self) -> bool {
        self.blocked
    }
    fn avatar(&self) -> Option<&Picture> {
        self.avatar.as_ref()
    }
    fn created_at(&self) -> Timestamp {
        self.created_at.unwrap_or_else(|| self.id.made_at())
    }
    fn shown(id: Id<Self>) -> Touched {
        Touched::Reviewer(id)
    }
    fn from_pending(pending: PendingRegistration, now: Timestamp, _: bool) -> Option<Self> {
        match pending.account {
            PendingAccount::User => Some(Self {
                id: Id::new(),
                name: pending.name,
                email: pending.email,
                password: pending.password,
                role: ROLE_USER.to_owned(),
                avatar: pending.avatar,
                created_at: Some(now),
                activation_digest: Some(pending.digest),
                ..Self::default()
            }),
            PendingAccount::Shop { .. } => None,
        }
    }
}

impl Account for Shop {
    const COPIES: &'static [Copy] =
        &[Copy { collection: "couponcodes", owner: "seller._id", picture: "seller.avatar", own: None }];
    const KIND: Kind = Kind::Seller;
    const EMAIL_INDEX: &'static str = "shops_email";
    const PENDING: &'static str = "shop";
    const ACTIVATION_PAGE: &'static str = "/activation/seller/";
    const RESET_PAGE: &'static str = "/reset-password/seller/";
    const ACTIVATION_SUBJECT: &'static str = "Activate your Shop";
    const EXISTS: Refusal = Refusal::bad_request("email_taken", "ShopEmail  is already exist");
    const EXISTS_ALREADY: Refusal =
        Refusal::conflict("email_taken", "your current  Seller is already exist ");

    fn id(&self) -> Id<Self> {
        self.id
    }
    fn email(&self) -> &str {
        &self.email
    }
    fn password(&self) -> &str {
        &self.password
    }
    fn session_version(&self) -> i64 {
        self.session_version
    }
    fn is_blocked(&self) -> bool {
        self.blocked
    }
    fn avatar(&self) -> Option<&Picture> {
        self.avatar.as_ref()
    }
    fn created_at(&self) -> Timestamp {
        self.created_at.unwrap_or_else(|| self.id.made_at())
    }
    fn shown(id: Id<Self>) -> Touched {
        Touched::Shop(id)
    }
    fn from_pending(pending: PendingRegistration, now: Timestamp, needs_approval: bool) -> Option<Self> {
        match pending.account {
            PendingAccount::Shop { address, zip_code, phone_number } => Some(Self {
                id: Id::new(),
                name: pending.name,
                email: pending.email,
                password: pending.password,
                address,
                zip_code: Some(zip_code),
                phone_number: Some(phone_number),
                role: ROLE_SELLER.to_owned(),
                avatar: pending.avatar,
                // A new shop's balance is known exactly: there is nothing to migrate.
                balance_minor: Some(0),
                awaiting_approval: needs_approval,
                created_at: Some(now),
                activation_digest: Some(pending.digest),
                ..Self::default()
            }),
            PendingAccount::User => None,
        }
    }
}
