//! The gateways for development: they take no money and behave like the real ones. They remember
//! payments, refunds and disputes, refuse what the real ones refuse, can be told what happens next
//! ([`telling`]), and call the webhooks themselves ([`delivery`]) with bodies of the real shapes
//! ([`events`]), so that the real gateways' code reads them. Production has none.

mod delivery;
mod events;
mod payment;
mod telling;

pub(crate) use delivery::work;
pub(crate) use telling::routes;

use std::{sync::Arc, time::Duration};

use bson::{Document, doc};
use futures_util::TryStreamExt as _;
use mongodb::ClientSession;
use shared::{
    auth::{digest, one_time_token},
    clock::{Clock, Timestamp},
    db::{AsDriverError, Db, duplicate_key},
    id::Id,
    money::Money,
};
use tokio::sync::Notify;

use self::{
    events::{Happening, SandboxEvent},
    payment::{SandboxPayment, State},
    telling::{Control, Next, Outcome},
};
use super::gateway::{
    Begun, Gateway, GatewayFuture, GatewayPayment, GatewayRefusal, Movement, MovementKind, NewPayment,
    NewRefund, Notice, WebhookCall,
};

/// A gateway that takes no money.
pub(super) struct Sandbox {
    name: &'static str,
    db: Db,
    clock: Clock,
    /// There may be something to deliver.
    wake: Arc<Notify>,
}

type Result<T, E = GatewayRefusal> = std::result::Result<T, E>;

impl From<mongodb::error::Error> for GatewayRefusal {
    fn from(error: mongodb::error::Error) -> Self {
        Self::Unreachable(error.into())
    }
}

impl AsDriverError for GatewayRefusal {
    fn driver_error(&self) -> Option<&mongodb::error::Error> {
        match self {
            Self::Unreachable(cause) => cause.downcast_ref(),
            _ => None,
        }
    }
}

fn refused<T>(why: impl Into<String>) -> Result<T> {
    Err(GatewayRefusal::Refused(why.into()))
}

impl Sandbox {
    pub(super) fn new(name: &'static str, db: Db, clock: Clock) -> Self {
        Self { name, db, clock, wake: Arc::default() }
    }

    /// By any id that the gateway has for it.
    fn named(&self, id: &str) -> Document {
        doc! { "gateway": self.name, "$or": [{ "_id": id }, { "captureId": id }] }
    }

    async fn find(&self, id: &str) -> Result<Option<SandboxPayment>> {
        Ok(self.db.of::<SandboxPayment>().find_one(self.named(id)).await?)
    }

    /// Settings of this database, made when they are first asked for. Several nodes share them.
    async fn control(&self) -> Result<Control> {
        let controls = self.db.of::<Control>();
        if let Some(control) = controls.find_one(doc! { "_id": self.name }).await? {
            return Ok(control);
        }
        let fresh = Control::new(self.name, one_time_token().map_err(GatewayRefusal::Unreachable)?);
        match controls.insert_one(&fresh).await {
            Ok(_) => Ok(fresh),
            // Somebody else was faster.
            Err(error) if duplicate_key(&error).is_some() => {
                let control = controls.find_one(doc! { "_id": self.name }).await?;
                control.ok_or_else(|| error.into())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// What this call was told to do, if it was.
    async fn next(&self) -> Result<Next> {
        let told = doc! { "_id": self.name, "next.0": { "$exists": true } };
        let taken =
            self.db.of::<Control>().find_one_and_update(told, doc! { "$pop": { "next": -1 } }).await?;
        Ok(taken.and_then(|before| before.next.into_iter().next()).unwrap_or_default())
    }

    /// Answers as it was told: late, or not at all.
    async fn answer<T>(&self, next: &Next, answer: T) -> Result<T> {
        tokio::time::sleep(Duration::from_millis(next.delay_ms)).await;
        if next.lose_answer {
            let lost = anyhow::anyhow!("the sandbox has lost its answer, as it was told");
            return Err(GatewayRefusal::Unreachable(lost));
        }
        Ok(answer)
    }

    /// Takes down a new payment, and what its webhooks are to tell.
    async fn add(&self, fresh: SandboxPayment, happening: Option<Happening>) -> Result<()> {
        let control = self.control().await?;
        self.db
            .transaction(|session| {
                let (db, fresh, clock, control) =
                    (self.db.clone(), fresh.clone(), self.clock.clone(), control.clone());
                let happening = happening.clone();
                Box::pin(async move {
                    db.of::<SandboxPayment>().insert_one(&fresh).session(&mut *session).await?;
                    tell(&db, session, &clock, &control, &fresh, happening.as_slice()).await
                })
            })
            .await?;
        self.wake.notify_one();
        Ok(())
    }

    /// Changes a payment by a rule, and takes down what its webhooks are to tell: both or neither.
    async fn change<T, F>(&self, id: &str, rule: F) -> Result<T>
    where
        T: Send + 'static,
        F: Fn(&mut SandboxPayment) -> Result<(T, Vec<Happening>)> + Clone + Send + Sync + 'static,
    {
        let control = self.control().await?;
        let changed = self
            .db
            .transaction(|session| {
                let (db, clock, control) = (self.db.clone(), self.clock.clone(), control.clone());
                let (named, id, rule) = (self.named(id), id.to_owned(), rule.clone());
                Box::pin(async move {
                    let payments = db.of::<SandboxPayment>();
                    let found = payments.find_one(named).session(&mut *session).await?;
                    let Some(mut payment) = found else {
                        return refused(format!("there is no payment {id}"));
                    };
                    let (result, happened) = rule(&mut payment)?;
                    let key = doc! { "_id": &payment.id };
                    payments.replace_one(key, &payment).session(&mut *session).await?;
                    tell(&db, session, &clock, &control, &payment, &happened).await?;
                    Ok(result)
                })
            })
            .await?;
        self.wake.notify_one();
        Ok(changed)
    }

    async fn start(&self, wanted: NewPayment) -> Result<Begun> {
        // Whoever does not know the key cannot tell the secret from the id.
        let (id, secret) = match &wanted.key {
            Some(key) => (short(&format!("id {key}")), short(&format!("secret {key}"))),
            None => (Id::<SandboxPayment>::new().hex(), Id::<SandboxPayment>::new().hex()),
        };
        let (id, secret) = match self.name {
            "paypal" => {
                let id = format!("ORDER-{}", id.to_uppercase());
                let secret = format!("https://sandbox.invalid/checkoutnow?token={id}");
                (id, secret)
            }
            _ => {
                let id = format!("pi_sandbox_{id}");
                let secret = format!("{id}_secret_{secret}");
                (id, secret)
            }
        };
        let begun = |known: SandboxPayment| {
            if known.minor != wanted.amount.minor() || known.currency != wanted.currency {
                return refused("the key was used for another payment");
            }
            Ok(Begun { payment: known.seen(), secret: secret.clone() })
        };
        // A repetition is not the next call.
        if wanted.key.is_some()
            && let Some(known) = self.find(&id).await?
        {
            return begun(known);
        }
        let next = self.next().await?;
        let fresh = SandboxPayment::begun(self.name, id.clone(), &wanted, next.outcome, self.clock.now());
        let happening = match fresh.state {
            State::Succeeded => Some(Happening::Paid),
            State::Failed => Some(Happening::Declined),
            State::Waiting | State::Approved => None,
        };
        match self.add(fresh.clone(), happening).await {
            Ok(()) => self.answer(&next, begun(fresh)?).await,
            Err(error) if error.driver_error().and_then(duplicate_key).is_some() => {
                let known = self.find(&id).await?;
                known.map_or_else(|| refused("the key was used for another payment"), begun)
            }
            Err(error) => Err(error),
        }
    }

    async fn take(&self, id: &str) -> Result<GatewayPayment> {
        if self.name != "paypal" {
            return refused("a card payment takes its money by itself; there is nothing to capture");
        }
        match self.find(id).await? {
            None => return refused(format!("there is no payment {id}")),
            // A repetition is not the next call.
            Some(known) if known.state == State::Succeeded => return Ok(known.seen()),
            Some(_) => {}
        }
        let next = self.next().await?;
        let (outcome, now) = (next.outcome, self.clock.now());
        self.change(id, move |payment| Ok(((), payment.capture(outcome, now)))).await?;
        let seen = self.find(id).await?.map(|payment| payment.seen());
        match seen {
            Some(seen) => self.answer(&next, seen).await,
            None => refused(format!("there is no payment {id}")),
        }
    }

    async fn give_back(&self, wanted: &NewRefund) -> Result<String> {
        let known = self.find(&wanted.payment).await?;
        if let Some(done) = known.and_then(|known| known.refunded_by(&wanted.key).cloned()) {
            return done.answer_to(wanted);
        }
        let next = self.next().await?;
        if next.outcome == Outcome::Decline {
            return refused(format!("{} cannot be returned at the moment", wanted.payment));
        }
        let (by, now) = (wanted.clone(), self.clock.now());
        let refund = self
            .change(&wanted.payment, move |payment| {
                // Another call may have been faster.
                if let Some(done) = payment.refunded_by(&by.key) {
                    return Ok((done.answer_to(&by)?, Vec::new()));
                }
                if by.currency != payment.currency {
                    return refused(format!("{} was paid in another currency", by.payment));
                }
                let refund = payment.refund(by.amount, Some(by.key.clone()), now)?;
                Ok((refund.id.clone(), vec![Happening::Returned(refund)]))
            })
            .await?;
        self.answer(&next, refund).await
    }

    async fn moved(&self, from: Timestamp, to: Timestamp) -> Result<Vec<Movement>> {
        let within = doc! { "$gte": from, "$lt": to };
        let of_then = doc! {
            "gateway": self.name, "$or": [{ "paidAt": within.clone() }, { "refunds.at": within }],
        };
        let found: Vec<SandboxPayment> =
            self.db.of::<SandboxPayment>().find(of_then).await?.try_collect().await?;
        let mut moved = Vec::new();
        for payment in found {
            let id = payment.canonical().to_owned();
            if let Some(at) = payment.paid_at.filter(|at| (from..to).contains(at)) {
                let amount = Money::from_minor(payment.minor);
                moved.push(Movement { payment: id.clone(), kind: MovementKind::Payment, amount, at });
            }
            for refund in payment.refunds.into_iter().filter(|refund| (from..to).contains(&refund.at)) {
                moved.push(Movement {
                    payment: id.clone(),
                    amount: Money::from_minor(refund.minor),
                    at: refund.at,
                    kind: MovementKind::Refund { id: refund.id, key: refund.key },
                });
            }
        }
        Ok(moved)
    }
}

/// Takes down what webhooks are to tell of a payment.
async fn tell(
    db: &Db,
    session: &mut ClientSession,
    clock: &Clock,
    control: &Control,
    payment: &SandboxPayment,
    happened: &[Happening],
) -> Result<()> {
    let now = clock.now();
    let told: Vec<SandboxEvent> =
        happened.iter().flat_map(|what| events::of(payment, what, &control.webhooks, now)).collect();
    if !told.is_empty() {
        db.of::<SandboxEvent>().insert_many(told).session(session).await?;
    }
    Ok(())
}

/// As long as an id.
fn short(text: &str) -> String {
    let mut digest = digest(text);
    digest.truncate(24);
    digest
}

impl Gateway for Sandbox {
    fn name(&self) -> &'static str {
        self.name
    }

    fn begin(&self, wanted: NewPayment) -> GatewayFuture<'_, Begun> {
        Box::pin(self.start(wanted))
    }

    fn capture<'a>(&'a self, id: &'a str) -> GatewayFuture<'a, GatewayPayment> {
        Box::pin(self.take(id))
    }

    fn look_up<'a>(&'a self, id: &'a str) -> GatewayFuture<'a, Option<GatewayPayment>> {
        Box::pin(async move { Ok(self.find(id).await?.map(|payment| payment.seen())) })
    }

    fn refund<'a>(&'a self, wanted: &'a NewRefund) -> GatewayFuture<'a, String> {
        Box::pin(self.give_back(wanted))
    }

    fn read_webhook<'a>(&'a self, call: &'a WebhookCall) -> GatewayFuture<'a, Notice> {
        Box::pin(async move { events::read(self.name, &self.control().await?.secret, call) })
    }

    fn movements(&self, from: Timestamp, to: Timestamp) -> GatewayFuture<'_, Vec<Movement>> {
        Box::pin(self.moved(from, to))
    }

    fn describe(&self) -> String {
        format!("sandbox (no money moves; POST /api/sandbox/{} tells it what to do)", self.name)
    }
}
