use serde::{Deserialize, Serialize};

use super::{News, Picture, Stored};
use crate::{auth::Kind, clock::Timestamp, id::Id};

/// Somebody who has signed up and not yet followed the mailed link (`pendingregistrations`).
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PendingRegistration {
    /// SHA-256 (hex) of the token in the mail; the token itself is stored nowhere.
    #[serde(rename = "_id")]
    pub digest: String,
    /// What was signed up for.
    pub account: PendingAccount,
    /// Where the link went.
    pub email: String,
    /// Display or shop name.
    pub name: String,
    /// Already hashed.
    pub password: String,
    /// Stored already; deleted with the record if it is never activated.
    pub avatar: Option<Picture>,
    /// When the link stops working; MongoDB removes the record after this.
    pub expires_at: Timestamp,
}

impl Stored for PendingRegistration {
    const COLLECTION: &'static str = "pendingregistrations";
}

/// What a registration will become.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum PendingAccount {
    /// A shopper.
    User,
    /// A shop.
    #[serde(rename_all = "camelCase")]
    Shop {
        /// Street address.
        address: String,
        /// Postal code.
        zip_code: i64,
        /// Public phone number.
        phone_number: i64,
    },
}

/// Something to be done after a transaction, carried out by the outbox worker (`outbox`).
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Outbox {
    /// Its id.
    #[serde(rename = "_id")]
    pub id: Id<Outbox>,
    /// What is to be done.
    pub job: OutboxJob,
    /// Not before this moment.
    pub due_at: Timestamp,
    /// How often it was tried.
    pub attempts: i32,
    /// What the last try said.
    pub last_error: Option<String>,
    /// Given up: an operator has to look.
    pub dead: bool,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// The request that it follows from, as the log names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// Where the trace of that request goes on (`traceparent`), if it is traced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
}

impl Stored for Outbox {
    const COLLECTION: &'static str = "outbox";
}

/// The kinds of deferred work.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum OutboxJob {
    /// Send one mail.
    Mail {
        /// Recipient.
        to: String,
        /// Subject line.
        subject: String,
        /// Plain text.
        text: String,
        /// The same as HTML.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        html: Option<String>,
        /// Where a single request ends mails of this sort.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        unsubscribe: Option<String>,
    },
    /// Mail a link that sets a new password, if the address has an account.
    #[serde(rename_all = "camelCase")]
    ResetLink {
        /// Of a shopper or a shop.
        account: Kind,
        /// The address, as somebody typed it.
        email: String,
    },
    /// Delete one stored picture.
    #[serde(rename_all = "camelCase")]
    DeleteMedia {
        /// The media host's name of it.
        public_id: String,
    },
    /// Return money through its gateway.
    #[serde(rename_all = "camelCase")]
    Refund {
        /// The gateway's payment id.
        payment_id: String,
        /// In minor units.
        minor: i64,
        /// Makes a repeated try harmless at the gateway.
        idempotency_key: String,
    },
    /// Tell everybody who is to know what has happened: becomes mails and calls of webhooks.
    News {
        /// What has happened.
        news: News,
    },
    /// Something of a later version, which that version will do.
    #[serde(other)]
    Unknown,
}

/// The answer that a request got, to be given again if the request comes again (`idempotencykeys`).
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RememberedAnswer {
    /// Route, account, and the caller's key or the request's own digest.
    #[serde(rename = "_id")]
    pub id: String,
    /// Digest of the request: the same key with another one is a mistake.
    pub fingerprint: String,
    /// Its status; those without one were checkouts.
    #[serde(default = "created")]
    pub status: u16,
    /// The body of the answer, as it was sent.
    pub answer: String,
    /// Id of the request that was carried out, which tells it from its repetitions.
    #[serde(default)]
    pub request: String,
    /// Until when it counts; MongoDB removes it some time after.
    pub expires_at: Timestamp,
}

impl Stored for RememberedAnswer {
    const COLLECTION: &'static str = "idempotencykeys";
}

const fn created() -> u16 {
    201
}

/// Something that one node of all does now and then (`turns`).
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Turn {
    /// What it is.
    #[serde(rename = "_id")]
    pub what: String,
    /// Nobody does it before this moment.
    pub next: Timestamp,
}

impl Stored for Turn {
    const COLLECTION: &'static str = "turns";
}

/// How often somebody has done something of late (`ratelimits`).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RateCount {
    /// What was done, and a digest under our secret of who did it: it tells neither address nor account.
    #[serde(rename = "_id")]
    pub key: String,
    /// How often, within the present window.
    pub n: i64,
    /// When the window ends and the count begins anew; MongoDB removes it some time after.
    pub until: Timestamp,
    /// Somebody was refused in this window.
    #[serde(default)]
    pub refused: bool,
}

impl Stored for RateCount {
    const COLLECTION: &'static str = "ratelimits";
}
