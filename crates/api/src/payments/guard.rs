//! What stands between Souk and every gateway, so that one that hangs or is down costs nothing but
//! payments through itself: a limit on how long a call may take, on how many may be in progress, and
//! a circuit that spares everybody the wait once it is known that nobody answers.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use shared::{clock::Timestamp, config::GatewayLimits};
use tokio::{sync::Semaphore, time::Instant};
use tracing::{info, warn};

use super::gateway::{
    Begun, Gateway, GatewayFuture, GatewayPayment, GatewayRefusal, Movement, NewPayment, NewRefund, Notice,
    WebhookCall,
};

/// A gateway behind its limits.
pub(super) struct Guarded {
    inner: Arc<dyn Gateway>,
    limits: GatewayLimits,
    /// For calls that somebody here makes.
    places: Semaphore,
    /// For checking webhooks: strangers can call those, and must not take the payments' places.
    webhooks: Semaphore,
    circuit: Mutex<Circuit>,
}

/// A call that came to nothing because its gateway does not answer.
#[derive(Debug, thiserror::Error)]
#[error("{gateway}, {call}: {cause:#}")]
pub(super) struct NoAnswer {
    /// [`Gateway::name`]
    pub gateway: &'static str,
    /// What was asked.
    pub call: &'static str,
    /// It was asked to move money, and may have done so.
    pub may_have_acted: bool,
    /// After so long it is worth asking again.
    pub retry_after: Duration,
    cause: anyhow::Error,
}

/// What a gateway may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    Begin,
    Capture,
    LookUp,
    Refund,
    Webhook,
    Movements,
}

impl Call {
    const fn name(self) -> &'static str {
        match self {
            Self::Begin => "begin",
            Self::Capture => "capture",
            Self::LookUp => "look_up",
            Self::Refund => "refund",
            Self::Webhook => "read_webhook",
            Self::Movements => "movements",
        }
    }

    const fn moves_money(self) -> bool {
        matches!(self, Self::Capture | Self::Refund)
    }

    const fn limit(self, limits: &GatewayLimits) -> Duration {
        match self {
            Self::Begin | Self::LookUp | Self::Webhook => limits.answer,
            Self::Capture | Self::Refund => limits.act,
            Self::Movements => limits.list,
        }
    }
}

impl Guarded {
    pub(super) fn new(inner: Arc<dyn Gateway>, limits: GatewayLimits) -> Self {
        let guarded = Self {
            inner,
            limits,
            places: Semaphore::new(limits.calls),
            webhooks: Semaphore::new(limits.webhooks),
            circuit: Mutex::default(),
        };
        guarded.show_circuit(false);
        guarded
    }

    /// One call. Nobody queues: who cannot be served is told at once, and the rest of Souk goes on.
    fn call<'a, T: 'a>(&'a self, call: Call, asking: GatewayFuture<'a, T>) -> GatewayFuture<'a, T> {
        Box::pin(async move {
            // A webhook may be checked without asking anybody, so that it says nothing of the gateway.
            let (places, circuit) = match call {
                Call::Webhook => (&self.webhooks, false),
                _ => (&self.places, true),
            };
            let mut passage = match circuit.then(|| self.pass()).transpose() {
                Ok(passage) => passage,
                Err(rest) => return Err(self.turned_away(call, "open", rest)),
            };
            let Ok(_place) = places.try_acquire() else {
                return Err(self.turned_away(call, "full", Duration::from_secs(2)));
            };
            let limit = call.limit(&self.limits);
            let begun = Instant::now();
            let answered = tokio::time::timeout(limit, asking).await;
            metrics::histogram!("gateway_call_seconds", "gateway" => self.name(), "call" => call.name())
                .record(begun.elapsed().as_secs_f64());
            let lost = match answered {
                Ok(Err(GatewayRefusal::Unreachable(cause))) => cause,
                Ok(answer) => {
                    // A refusal is an answer too.
                    self.count(call, if answer.is_ok() { "ok" } else { "refused" });
                    if let Some(passage) = &mut passage {
                        passage.answered();
                    }
                    return answer;
                }
                Err(_) => anyhow::anyhow!("no answer within {} ms", limit.as_millis()),
            };
            self.count(call, "lost");
            // What fails for our own database's sake, a sandbox's, is no fault of the gateway.
            if lost.is::<mongodb::error::Error>() {
                return Err(GatewayRefusal::Unreachable(lost));
            }
            let retry_after = passage.map_or(Duration::from_secs(2), |passage| passage.lost());
            let gateway = self.name();
            warn!(
                gateway,
                call = call.name(),
                cause = format!("{lost:#}"),
                "a payment gateway does not answer"
            );
            Err(self.no_answer(call, call.moves_money(), retry_after, lost))
        })
    }

    fn turned_away(&self, call: Call, why: &'static str, retry_after: Duration) -> GatewayRefusal {
        self.count(call, why);
        let cause = match why {
            "open" => anyhow::anyhow!("it has not answered lately, and is not asked for a while"),
            _ => anyhow::anyhow!("too many calls are in progress"),
        };
        self.no_answer(call, false, retry_after, cause)
    }

    fn no_answer(
        &self,
        call: Call,
        may_have_acted: bool,
        retry_after: Duration,
        cause: anyhow::Error,
    ) -> GatewayRefusal {
        let (gateway, call) = (self.name(), call.name());
        GatewayRefusal::Unreachable(NoAnswer { gateway, call, may_have_acted, retry_after, cause }.into())
    }

    fn count(&self, call: Call, result: &'static str) {
        let labels = [("gateway", self.name()), ("call", call.name()), ("result", result)];
        metrics::counter!("gateway_calls_total", &labels).increment(1);
    }

    fn circuit(&self) -> MutexGuard<'_, Circuit> {
        self.circuit.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a call through, or says how long nobody is let through.
    fn pass(&self) -> Result<Passage<'_>, Duration> {
        let probe = self.circuit().enter(Instant::now())?;
        Ok(Passage { guarded: self, probe, over: false })
    }

    fn show_circuit(&self, open: bool) {
        metrics::gauge!("gateway_circuit_open", "gateway" => self.name()).set(f64::from(u8::from(open)));
    }
}

impl Gateway for Guarded {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn begin(&self, wanted: NewPayment) -> GatewayFuture<'_, Begun> {
        self.call(Call::Begin, self.inner.begin(wanted))
    }

    fn capture<'a>(&'a self, id: &'a str) -> GatewayFuture<'a, GatewayPayment> {
        self.call(Call::Capture, self.inner.capture(id))
    }

    fn look_up<'a>(&'a self, id: &'a str) -> GatewayFuture<'a, Option<GatewayPayment>> {
        self.call(Call::LookUp, self.inner.look_up(id))
    }

    fn refund<'a>(&'a self, wanted: &'a NewRefund) -> GatewayFuture<'a, String> {
        self.call(Call::Refund, self.inner.refund(wanted))
    }

    fn read_webhook<'a>(&'a self, call: &'a WebhookCall) -> GatewayFuture<'a, Notice> {
        self.call(Call::Webhook, self.inner.read_webhook(call))
    }

    fn movements(&self, from: Timestamp, to: Timestamp) -> GatewayFuture<'_, Vec<Movement>> {
        self.call(Call::Movements, self.inner.movements(from, to))
    }

    fn describe(&self) -> String {
        self.inner.describe()
    }
}

/// A call on its way through the circuit. One that is given up before it ends says nothing.
struct Passage<'g> {
    guarded: &'g Guarded,
    probe: bool,
    over: bool,
}

impl Passage<'_> {
    fn answered(&mut self) {
        self.over = true;
        if self.guarded.circuit().answered() {
            info!(gateway = self.guarded.name(), "a payment gateway answers again");
            self.guarded.show_circuit(false);
        }
    }

    /// Gives how long it makes sense to wait.
    fn lost(mut self) -> Duration {
        self.over = true;
        let limits = &self.guarded.limits;
        let opened = self.guarded.circuit().lost(Instant::now(), self.probe, limits);
        if opened {
            warn!(gateway = self.guarded.name(), "a payment gateway is not asked for a while");
            self.guarded.show_circuit(true);
        }
        if opened { limits.pause } else { Duration::from_secs(2) }
    }
}

impl Drop for Passage<'_> {
    fn drop(&mut self) {
        if self.probe && !self.over {
            self.guarded.circuit().probing = false;
        }
    }
}

/// Whether calls are let through.
#[derive(Debug, Default)]
struct Circuit {
    /// In a row.
    failures: u32,
    /// Nobody is let through up to this moment, and then one call, to try.
    open_until: Option<Instant>,
    /// That one is on its way.
    probing: bool,
}

impl Circuit {
    /// Whether the call that is let through is the one that tries; or how long none is.
    fn enter(&mut self, now: Instant) -> Result<bool, Duration> {
        let Some(until) = self.open_until else { return Ok(false) };
        if now < until {
            return Err(until - now);
        }
        if self.probing {
            return Err(Duration::from_secs(1));
        }
        self.probing = true;
        Ok(true)
    }

    /// True if it was open.
    fn answered(&mut self) -> bool {
        let was_open = self.open_until.is_some();
        *self = Self::default();
        was_open
    }

    /// True if it is open for this.
    fn lost(&mut self, now: Instant, probe: bool, limits: &GatewayLimits) -> bool {
        if probe {
            self.probing = false;
        } else if self.open_until.is_some() {
            // It began before the circuit opened, and tells nothing new.
            return false;
        }
        self.failures = self.failures.saturating_add(1);
        let opens = probe || self.failures >= limits.failures;
        if opens {
            self.open_until = Some(now + limits.pause);
        }
        opens
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: GatewayLimits = GatewayLimits { failures: 3, ..GatewayLimits::USUAL };

    fn after(begin: Instant, seconds: u64) -> Instant {
        begin + Duration::from_secs(seconds)
    }

    #[test]
    fn failures_in_a_row_open_it_and_one_answer_in_between_starts_the_count_again() {
        let (mut circuit, now) = (Circuit::default(), Instant::now());
        assert!(!circuit.lost(now, false, &LIMITS) && !circuit.lost(now, false, &LIMITS));
        assert!(!circuit.answered());
        assert!(!circuit.lost(now, false, &LIMITS) && !circuit.lost(now, false, &LIMITS));
        assert_eq!(circuit.enter(now), Ok(false));
        assert!(circuit.lost(now, false, &LIMITS));
        assert_eq!(circuit.enter(after(now, 4)), Err(Duration::from_secs(6)));
        // Those that were on their way do not prolong it.
        assert!(!circuit.lost(after(now, 9), false, &LIMITS));
        assert_eq!(circuit.enter(after(now, 10)), Ok(true));
    }

    #[test]
    fn one_call_tries_and_decides() {
        let (mut circuit, now) = (Circuit::default(), Instant::now());
        for _ in 0..3 {
            circuit.lost(now, false, &LIMITS);
        }
        assert_eq!(circuit.enter(after(now, 10)), Ok(true));
        assert!(circuit.enter(after(now, 60)).is_err(), "the others wait for what the first one finds");
        assert!(circuit.lost(after(now, 60), true, &LIMITS));
        assert_eq!(circuit.enter(after(now, 69)), Err(Duration::from_secs(1)));
        assert_eq!(circuit.enter(after(now, 70)), Ok(true));
        assert!(circuit.answered());
        assert_eq!((circuit.enter(now), circuit.failures), (Ok(false), 0));
    }
}
