//! How often anybody may ask for what costs something or could be guessed. Beyond that: 429, with
//! `Retry-After`.
//!
//! A route says in the table which [`Limit`] it is under. Most count every request, of the account that is
//! logged in or else of the address ([`guard`]). Where only failures count, the handler says so: a place
//! is taken before the attempt, and given back after a success ([`log_in`], PayPal's webhooks).
//!
//! **Exact over all nodes.** A counter is one document, and counting is one conditional update of it: of any
//! number of requests at once, on any nodes, no more than the limit get through in a window. The window
//! begins with the first request, so that around its end up to twice the limit can pass within its length.
//! Counters are written without waiting for a majority: a change of primary may forget the last of them,
//! which lets that many more through, once.
//!
//! **What a flood costs.** Who is refused is remembered here for a second and refused from memory, so that a
//! flood costs one write a second for each who floods. Nothing that only reads the catalogue is counted.
//!
//! Counters are in MongoDB also where the chat has Redis: everything counted here needs the database anyway, and
//! one more thing that could be away would be one more thing to be wrong.
//!
//! **While the counters cannot be reached** ([`Limit::is_guess`]): what guards a secret is refused with 503, since
//! somebody might be trying them all; the rest goes on, and finds out by itself whether the database is there.

mod address;
mod guard;
mod log_in;
mod rules;
mod store;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use shared::{
    auth::keyed_digest,
    clock::{Clock, Timestamp, plus},
    config::{Config, Rates},
    db::Db,
    model::Party,
};
use tracing::{debug, warn};

pub use self::rules::Limit;
pub(crate) use self::{address::ClientAddress, guard::under, log_in::Attempt};
use crate::{
    audit_log::{Action, AuditLog, Event},
    error::{Error, Refusal, Result},
};

/// Longer for a counter, and it counts as out of reach: as long as the driver looks for a server.
const PATIENCE: Duration = Duration::from_secs(5);
/// For so long a refusal is repeated from memory.
const REMEMBERED_MILLIS: i64 = 1_000;
/// So many refusals are remembered at most. Beyond it each costs a write, and nothing else changes.
const MOST_REMEMBERED: usize = 10_000;

const TOO_MANY: Refusal = Refusal::new(
    actix_web::http::StatusCode::TOO_MANY_REQUESTS,
    "rate_limited",
    "Too many requests. Please try again later",
);

/// Counts, and refuses.
pub struct Limits {
    /// None where `RATE_LIMITS` is off.
    rates: Option<Rates>,
    db: Db,
    clock: Clock,
    config: Arc<Config>,
    audit_log: AuditLog,
    refused: Mutex<HashMap<String, Refused>>,
}

/// What is remembered of somebody who was refused.
struct Refused {
    ask_again: Timestamp,
    until: Timestamp,
}

/// A place that was taken, under which key and in which window. Dropped, it stays taken.
#[derive(Debug, Default)]
#[must_use = "what was taken for an attempt that succeeded has to be given back"]
pub(crate) struct Taken(Option<(String, Timestamp)>);

impl Limits {
    pub(crate) fn new(config: Arc<Config>, db: Db, clock: Clock, audit_log: AuditLog) -> Self {
        let rates = config.rate_limits.then_some(config.rates);
        Self { rates, db, clock, config, audit_log, refused: Mutex::default() }
    }

    /// Counts one more of `who`, or refuses it.
    pub(crate) async fn take(&self, limit: Limit, who: &str) -> Result<Taken> {
        self.take_as(limit, who, Party::nobody).await
    }

    /// The same for somebody who is known.
    pub(crate) async fn take_as(
        &self,
        limit: Limit,
        who: &str,
        actor: impl FnOnce() -> Party,
    ) -> Result<Taken> {
        let Some(rates) = &self.rates else { return Ok(Taken::default()) };
        let (key, now) = (self.key(limit.name(), who), self.clock.now());
        if let Some(until) = self.remembered(&key, now) {
            return Err(self.refusal(limit, until, now));
        }
        let counting = store::count(&self.db, &key, limit.rate(rates), now);
        let counted = match tokio::time::timeout(PATIENCE, counting).await {
            Ok(Ok(counted)) => counted,
            Ok(Err(cause)) => return self.uncounted(limit, cause.into()),
            Err(_) => return self.uncounted(limit, anyhow::anyhow!("no answer within {PATIENCE:?}")),
        };
        if counted.admitted {
            return Ok(Taken(Some((key, counted.until))));
        }
        if counted.first_refusal {
            let event = Event::refused(Action::RateLimit, actor());
            self.audit_log.note(event.about(Party::new("limit", limit.name())));
        }
        self.remember(key, counted.until, now);
        Err(self.refusal(limit, counted.until, now))
    }

    /// It does not count after all.
    pub(crate) async fn give_back(&self, Taken(taken): Taken) {
        let Some((key, until)) = taken else { return };
        // In vain, it is one place less until the window ends.
        match tokio::time::timeout(PATIENCE, store::uncount(&self.db, &key, until)).await {
            Ok(Ok(())) => {}
            Ok(Err(cause)) => debug!(%cause, "what was counted could not be taken back"),
            Err(_) => debug!("what was counted could not be taken back in time"),
        }
    }

    /// What is stored in place of who it was.
    fn key(&self, what: &str, who: &str) -> String {
        format!("{what}:{}", keyed_digest(self.config.jwt_secret.expose(), who))
    }

    fn refusal(&self, limit: Limit, until: Timestamp, now: Timestamp) -> Error {
        metrics::counter!("rate_limited_total", "limit" => limit.name()).increment(1);
        let wait = until.timestamp_millis().saturating_sub(now.timestamp_millis());
        let wait = Duration::from_millis(u64::try_from(wait).unwrap_or(0));
        TOO_MANY.saying(rules::sentence(limit, wait)).until(wait).into()
    }

    fn uncounted(&self, limit: Limit, cause: anyhow::Error) -> Result<Taken> {
        metrics::counter!("rate_limits_uncounted_total", "limit" => limit.name()).increment(1);
        if limit.is_guess() {
            return Err(Error::Unavailable(cause));
        }
        warn!(limit = limit.name(), %cause, "this could not be counted, and goes on uncounted");
        Ok(Taken::default())
    }

    fn remembered(&self, key: &str, now: Timestamp) -> Option<Timestamp> {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.get(key).filter(|refused| refused.ask_again > now).map(|refused| refused.until)
    }

    fn remember(&self, key: String, until: Timestamp, now: Timestamp) {
        let ask_again = plus(now, REMEMBERED_MILLIS).min(until);
        let mut all = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MOST_REMEMBERED {
            all.retain(|_, refused| refused.ask_again > now);
        }
        if all.len() < MOST_REMEMBERED {
            all.insert(key, Refused { ask_again, until });
        }
    }
}
