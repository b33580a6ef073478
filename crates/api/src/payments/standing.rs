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
        let strange = strange.map(|returned| returned.minor).fold(0, i64::saturating_add);
        // The number for all of it may include some that failed later.
        let failed = self.returns.values().filter(|r| r.failed).map(|r| r.minor).fold(0, i64::saturating_add);
        strange.max(self.returned_in_all.saturating_sub(failed).saturating_sub(asked))
    }

    /// Whether a refund that Souk has asked for did not arrive.
    pub fn has_failed_return(&self) -> bool {
        self.returns.values().any(|returned| returned.failed)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn event(id: &str, second: i64, fact: PaymentFact) -> WebhookEvent {
        let at = Timestamp::from_millis(second * 1000);
        WebhookEvent {
            id: format!("stripe:{id}"),
            gateway: "stripe".to_owned(),
            name: String::new(),
            payment: Some("pi_1".to_owned()),
            fact: Some(fact),
            at,
            received_at: at,
            applied: false,
            due_at: at,
            attempts: 0,
            last_error: None,
        }
    }

    fn succeeded(payer: Option<&str>) -> PaymentFact {
        PaymentFact::Succeeded {
            minor: 1000,
            currency: "USD".to_owned(),
            buyer: None,
            payer: payer.map(str::to_owned),
        }
    }

    fn disputed(state: DisputeState) -> PaymentFact {
        PaymentFact::Disputed {
            dispute: "dp_1".to_owned(),
            minor: 1000,
            reason: "fraudulent".to_owned(),
            state,
        }
    }

    fn returned(refund: &str, minor: i64, key: Option<&str>) -> PaymentFact {
        PaymentFact::Returned { refund: refund.to_owned(), minor, key: key.map(str::to_owned) }
    }

    #[test]
    fn a_dispute_that_has_ended_stays_so_also_within_one_second_of_its_beginning() {
        // By id the end would come first.
        let events =
            [event("a", 5, disputed(DisputeState::Lost)), event("b", 5, disputed(DisputeState::Open))];
        assert_eq!(Standing::of(&events).disputes["dp_1"].state, DisputeState::Lost);
    }

    #[test]
    fn what_souk_has_asked_for_is_not_strange_and_what_it_has_not_is() {
        let ours = [event("a", 1, returned("re_1", 300, Some("refund:1")))];
        assert_eq!(Standing::of(&ours).returned_elsewhere(300), 0);
        let theirs = [
            event("a", 1, returned("re_1", 300, Some("refund:1"))),
            event("b", 2, returned("re_2", 200, None)),
        ];
        assert_eq!(Standing::of(&theirs).returned_elsewhere(300), 200);
        let in_all = [event("a", 1, PaymentFact::ReturnedInAll { minor: 500 })];
        assert_eq!(Standing::of(&in_all).returned_elsewhere(300), 200);
        assert_eq!(Standing::of(&in_all).returned_elsewhere(500), 0);
    }

    #[test]
    fn a_refund_that_failed_has_failed_whichever_news_comes_last() {
        let failed = PaymentFact::ReturnFailed { refund: "re_1".to_owned(), minor: 300 };
        for (first, last) in [(1, 2), (2, 1)] {
            let events = [event("a", first, returned("re_1", 300, None)), event("b", last, failed.clone())];
            let standing = Standing::of(&events);
            assert!(standing.has_failed_return());
            assert_eq!(standing.returned_elsewhere(0), 0);
        }
    }

    fn fact() -> impl Strategy<Value = PaymentFact> {
        let state = prop_oneof![Just(DisputeState::Open), Just(DisputeState::Won), Just(DisputeState::Lost)];
        let key = proptest::option::of("[ab]");
        prop_oneof![
            proptest::option::of("[PQ]").prop_map(|payer| succeeded(payer.as_deref())),
            Just(PaymentFact::Failed { why: "declined".to_owned() }),
            ("[ab]", 1..500_i64, key).prop_map(|(id, minor, key)| returned(&id, minor, key.as_deref())),
            (1..2000_i64).prop_map(|minor| PaymentFact::ReturnedInAll { minor }),
            ("[ab]", 1..500_i64).prop_map(|(refund, minor)| PaymentFact::ReturnFailed { refund, minor }),
            state.prop_map(disputed),
        ]
    }

    proptest! {
        #[test]
        fn events_give_the_same_in_any_order_and_any_number(
            facts in proptest::collection::vec((0..3_i64, fact()), 1..8),
            again in proptest::collection::vec(any::<prop::sample::Index>(), 0..8),
            keys in proptest::collection::vec(any::<u32>(), 16),
        ) {
            let events: Vec<WebhookEvent> = facts
                .into_iter()
                .enumerate()
                .map(|(i, (second, fact))| event(&i.to_string(), second, fact))
                .collect();
            let mut shuffled = events.clone();
            shuffled.extend(again.iter().map(|index| index.get(&events).clone()));
            let mut keyed: Vec<_> = shuffled.into_iter().zip(keys.iter().cycle()).collect();
            keyed.sort_by_key(|(_, key)| **key);
            let shuffled: Vec<WebhookEvent> = keyed.into_iter().map(|(event, _)| event).collect();
            prop_assert_eq!(Standing::of(&events), Standing::of(&shuffled));
        }

        #[test]
        fn what_is_known_does_not_shrink_with_more_news(
            facts in proptest::collection::vec((0..3_i64, fact()), 2..8),
        ) {
            let events: Vec<WebhookEvent> = facts
                .into_iter()
                .enumerate()
                .map(|(i, (second, fact))| event(&i.to_string(), second, fact))
                .collect();
            let all = Standing::of(&events);
            for left_out in 0..events.len() {
                let mut fewer = events.clone();
                fewer.remove(left_out);
                let fewer = Standing::of(&fewer);
                prop_assert!(all.success.is_some() >= fewer.success.is_some());
                prop_assert!(all.returned_in_all >= fewer.returned_in_all);
                prop_assert!(fewer.disputes.keys().all(|id| all.disputes.contains_key(id)));
                prop_assert!(fewer.returns.iter().all(|(id, r)| all.returns[id].failed >= r.failed));
            }
        }
    }
}
