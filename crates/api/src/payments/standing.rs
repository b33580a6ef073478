//! What a payment has come to, by everything that its gateway has told of it. Pure: the same events give
//! the same, in whatever order and however often they came.

use std::collections::BTreeMap;

use shared::{
    clock::Timestamp,
    model::{DisputeState, PaymentFact, WebhookEvent},
};

/// What a payment has come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// The money has been taken.
    pub success: Option<Success>,
    /// Every refund, by the gateway's id.
    pub returns: BTreeMap<String, Returned>,
    /// So much went back in all, as far as the gateway has said so in one number. In minor units.
    pub returned_in_all: i64,
    /// Every dispute, by the gateway's id.
    pub disputes: BTreeMap<String, Disputed>,
}

/// Money that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Success {
    /// In minor units.
    pub minor: i64,
    /// ISO code, upper case.
    pub currency: String,
    /// The account here that it was begun for.
    pub buyer: Option<String>,
    /// PayPal's id of the person who paid.
    pub payer: Option<String>,
    /// When, by the gateway's clock.
    pub at: Timestamp,
}

/// One refund.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Returned {
    /// In minor units.
    pub minor: i64,
    /// Ours has one.
    pub key: Option<String>,
    /// It did not arrive, and its money is back at the gateway.
    pub failed: bool,
}

/// One dispute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disputed {
    /// In minor units.
    pub minor: i64,
    /// The gateway's word.
    pub reason: String,
    /// How it stands.
    pub state: DisputeState,
}

impl Standing {
    /// Of all events of one payment.
    pub fn of(events: &[WebhookEvent]) -> Self {
        let mut events: Vec<&WebhookEvent> = events.iter().collect();
        // Gateways keep time in seconds; the id makes the order one and the same for everybody.
        events.sort_by(|a, b| (a.at, &a.id).cmp(&(b.at, &b.id)));
        events.dedup_by(|a, b| a.id == b.id);
        let mut standing = Self::default();
        for event in events {
            if let Some(fact) = &event.fact {
                standing.learn(fact, event.at);
            }
        }
        standing
    }

    /// In the order of the events, and yet without relying on it where a gateway's clock is too coarse to
    /// tell: what has ended does not begin again.
    fn learn(&mut self, fact: &PaymentFact, at: Timestamp) {
        match fact {
            PaymentFact::Succeeded { minor, currency, buyer, payer } => {
                let success = self.success.get_or_insert_with(|| Success {
                    minor: *minor,
                    currency: currency.clone(),
                    buyer: None,
                    payer: None,
                    at,
                });
                success.buyer = success.buyer.take().or_else(|| buyer.clone());
                success.payer = success.payer.take().or_else(|| payer.clone());
            }
            // Neither is the end: a payment that fails can be tried again, and what is used has succeeded.
            PaymentFact::Failed { .. } | PaymentFact::Cancelled => {}
            PaymentFact::Returned { refund, minor, key } => {
                let returned = self.returned(refund, *minor);
                returned.key = returned.key.take().or_else(|| key.clone());
            }
            PaymentFact::ReturnFailed { refund, minor } => self.returned(refund, *minor).failed = true,
            PaymentFact::ReturnedInAll { minor } => self.returned_in_all = self.returned_in_all.max(*minor),
            PaymentFact::Disputed { dispute, minor, reason, state } => {
                let opened = || Disputed { minor: *minor, reason: reason.clone(), state: *state };
                let disputed = self.disputes.entry(dispute.clone()).or_insert_with(opened);
                if *state != DisputeState::Open {
                    disputed.state = *state;
                }
            }
        }
    }

    fn returned(&mut self, refund: &str, minor: i64) -> &mut Returned {
        let begun = || Returned { minor, key: None, failed: false };
        self.returns.entry(refund.to_owned()).or_insert_with(begun)
    }

    /// What went back beyond the `asked` that Souk has asked for, in minor units.
    pub fn returned_elsewhere(&self, asked: i64) -> i64 {
        let strange = self.returns.values().filter(|returned| returned.key.is_none() && !returned.failed);
        let strange: i64 = strange.map(|returned| returned.minor).sum();
        // The number for all of it may include some that failed later.
        let failed: i64 = self.returns.values().filter(|r| r.failed).map(|r| r.minor).sum();
        strange.max(self.returned_in_all - failed - asked)
    }

    /// Whether a refund that Souk has asked for did not arrive.
    pub fn has_failed_return(&self) -> bool {
        self.returns.values().any(|returned| returned.failed)
    }
}
