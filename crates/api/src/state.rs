//! What every handler can reach.

use std::sync::Arc;

use actix_web::web;
use shared::{
    auth::{Accounts, Hasher, Sessions},
    clock::Clock,
    config::Config,
    db::Db,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    admin::figures::Kept,
    audit_log::AuditLog,
    catalogue::memory::Memory,
    limits::Limits,
    load::Load,
    mail::Mailer,
    media::Media,
    orders::Checkouts,
    outbox::Outbox,
    payments::{Gateways, inbox::Inbox},
    webhooks::Webhooks,
};

/// The state, as handlers ask for it.
pub type State = web::Data<App>;

/// The running application.
pub struct App {
    /// The database.
    pub db: Db,
    /// All settings.
    pub config: Arc<Config>,
    /// The time.
    pub clock: Clock,
    /// Issues and reads sessions.
    pub sessions: Sessions,
    /// Whose sessions they are.
    pub accounts: Accounts,
    /// Hashes passwords.
    pub hasher: Hasher,
    /// Who did what to accounts and money.
    pub audit_log: AuditLog,
    /// How often anybody may ask.
    pub limits: Limits,
    /// Keeps pictures.
    pub media: Arc<dyn Media>,
    /// Work that follows a change: mails, refunds, deletions.
    pub outbox: Outbox,
    /// Card and PayPal payments.
    pub gateways: Gateways,
    /// What gateways tell of their own accord.
    pub inbox: Inbox,
    /// What integrators are told.
    pub webhooks: Webhooks,
    /// What shops sell, ready to be shown.
    pub catalogue: Arc<Memory>,
    /// What took long to count.
    pub figures: Arc<Kept>,
    /// Lets checkouts take turns.
    pub checkouts: Checkouts,
    /// Cancelled once the server is about to stop.
    pub leaving: CancellationToken,
    /// How many requests are at work.
    pub load: Arc<Load>,
    /// Requests that must be finished although their client may be gone.
    pub tasks: TaskTracker,
}

impl App {
    /// Puts the application together from its settings. To be called on the runtime that will outlive
    /// every request: its background work runs there.
    pub fn new(config: Arc<Config>, db: Db, clock: Clock) -> anyhow::Result<Self> {
        let media = crate::media::from_config(&config, &clock)?;
        let mailer: Arc<dyn Mailer> = crate::mail::from_config(&config, &clock)?;
        let gateways = Gateways::from_config(&config, &db, &clock)?;
        let webhooks = Webhooks::new(&config)?;
        let outbox = Outbox::new(
            db.clone(),
            clock.clone(),
            mailer,
            Arc::clone(&media),
            gateways.clone(),
            Arc::clone(&config),
        );
        let audit_log = AuditLog::new(Arc::clone(&config), clock.clone());
        Ok(Self {
            leaving: CancellationToken::new(),
            load: Arc::new(Load::of(config.request_limits.at_work)),
            sessions: Sessions::new(config.jwt_secret.expose(), i64::try_from(config.session_ttl.as_secs())?),
            accounts: Accounts::of(db.clone()),
            hasher: Hasher::new(config.bcrypt_cost)?,
            limits: Limits::new(Arc::clone(&config), db.clone(), clock.clone(), audit_log.clone()),
            audit_log,
            catalogue: Arc::new(Memory::new(db.clone(), Arc::clone(&config), clock.clone())),
            db,
            config,
            clock,
            media,
            outbox,
            gateways,
            inbox: Inbox::default(),
            webhooks,
            figures: Arc::default(),
            checkouts: Checkouts::new(tokio::runtime::Handle::try_current()?),
            tasks: TaskTracker::new(),
        })
    }

    /// The outside services and what takes their place, for the start-up banner.
    pub fn services(&self) -> [(&'static str, String); 3] {
        [
            ("Mail", self.outbox.mailer().describe()),
            ("Media", self.media.describe()),
            ("Payments", self.gateways.describe()),
        ]
    }
}
