//! Souk's chat and presence server: Socket.IO beside the API, sharing nothing with it but the
//! database.
//!
//! Who somebody is comes with the handshake (`auth`). What they send is queued for each socket, in
//! order (`handlers`), and stored; whatever is stored, here or by the API, is delivered to those
//! concerned by watching the database (`delivery`). Who is online is told in gathered
//! announcements (`presence`), over all nodes (`bus`).

mod accept;
mod audience;
mod auth;
mod bus;
mod control;
mod delivery;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod gate;
mod handlers;
mod limits;
mod line;
mod pairs;
mod position;
mod presence;
mod replay;
mod server;
mod sessions;
mod wire;

use std::sync::{Arc, atomic::AtomicBool};

use shared::{
    auth::{Accounts, Sessions},
    chat::Recorder,
    clock::Clock,
    config::Config,
    db::Db,
};
use tokio::runtime::Handle;

use crate::{audience::Audience, bus::Bus, delivery::Members, pairs::Pairs, presence::Presence};

pub use bus::redis::check_redis;
pub use limits::Limits;
pub use server::{Server, serve, serve_within};

/// The chat server's state.
pub struct App {
    db: Db,
    config: Arc<Config>,
    clock: Clock,
    sessions: Sessions,
    accounts: Accounts,
    presence: Presence,
    bus: Bus,
    members: Members,
    audience: Audience,
    pairs: Pairs,
    recorder: Recorder,
    /// The database is being watched: what is stored is delivered at once.
    watching: AtomicBool,
}

impl App {
    /// Puts the state together from the settings, on the runtime that is to store what is said.
    pub fn new(config: Arc<Config>, db: Db, clock: Clock) -> anyhow::Result<Self> {
        let bus = Bus::new(&config, &db, &clock)?;
        Ok(Self {
            sessions: Sessions::new(config.jwt_secret.expose(), i64::try_from(config.session_ttl.as_secs())?),
            accounts: Accounts::of(db.clone()),
            recorder: Recorder::new(db.clone(), Handle::try_current()?),
            db,
            clock,
            presence: Presence::new(bus.node(), config.node_silence, config.presence_broadcast_limit),
            bus,
            members: Members::default(),
            audience: Audience::new(config.replay_window),
            config,
            pairs: Pairs::default(),
            watching: AtomicBool::new(false),
        })
    }
}
