//! What may happen to a payment in the sandbox: what real gateways allow, and nothing else.

use serde::{Deserialize, Serialize};
use shared::{clock::Timestamp, id::Id, model::Stored, money::Money};

use super::{
    super::gateway::{GatewayPayment, NewPayment, NewRefund, PaymentState},
    Result,
    events::Happening,
    refused,
    telling::Outcome,
};

/// One payment in the sandbox (`sandboxpayments`).
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SandboxPayment {
    /// A card payment's id, or a PayPal order's.
    #[serde(rename = "_id")]
    pub id: String,
    #[serde(default = "cards")]
    pub gateway: String,
    pub minor: i64,
    pub currency: String,
    #[serde(default)]
    pub buyer: Option<String>,
    #[serde(default)]
    pub payer: Option<String>,
    #[serde(default)]
    pub state: State,
    /// PayPal's, once the money was taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capture_id: Option<String>,
    #[serde(default)]
    pub refunded_minor: i64,
    #[serde(default)]
    pub refunds: Vec<SandboxRefund>,
    #[serde(default)]
    pub disputes: Vec<SandboxDispute>,
    pub at: Timestamp,
    #[serde(default)]
    pub paid_at: Option<Timestamp>,
}

impl Stored for SandboxPayment {
    const COLLECTION: &'static str = "sandboxpayments";
}

/// Earlier versions knew no other.
fn cards() -> String {
    "stripe".to_owned()
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    /// A card waits for 3-D Secure, a PayPal order for its payer.
    Waiting,
    /// PayPal's payer has agreed.
    Approved,
    Failed,
    #[default]
    Succeeded,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SandboxRefund {
    pub id: String,
    /// None for one that somebody made at the gateway.
    pub key: Option<String>,
    pub minor: i64,
    pub at: Timestamp,
}

impl SandboxRefund {
    /// Its id, if it is the refund that was wanted.
    pub fn answer_to(&self, wanted: &NewRefund) -> Result<String> {
        if self.minor == wanted.amount.minor() {
            return Ok(self.id.clone());
        }
        refused(format!("the key {} was used for another refund", wanted.key))
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SandboxDispute {
    pub id: String,
    pub minor: i64,
    pub state: Standing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Standing {
    Open,
    Won,
    Lost,
}

/// What somebody does at the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Then {
    /// The payer confirms: the bank's question, or a PayPal order.
    Confirm,
    /// The bank says no.
    Decline,
    /// The payer's bank wants the money back.
    Dispute,
    /// The shop wins the dispute.
    Win,
    /// The shop loses it.
    Lose,
    /// Somebody returns money at the gateway.
    Refund,
}

impl SandboxPayment {
    pub fn begun(gateway: &str, id: String, wanted: &NewPayment, outcome: Outcome, now: Timestamp) -> Self {
        let paypal = gateway == "paypal";
        let state = match (outcome, paypal) {
            (Outcome::Succeed, false) => State::Succeeded,
            (Outcome::Succeed, true) => State::Approved,
            (Outcome::Decline, false) => State::Failed,
            // An order is declined when it is captured; before, its payer can merely not agree.
            (Outcome::Ask, _) | (Outcome::Decline, true) => State::Waiting,
        };
        Self {
            id,
            gateway: gateway.to_owned(),
            minor: wanted.amount.minor(),
            currency: wanted.currency.clone(),
            buyer: Some(wanted.buyer.clone()),
            payer: paypal.then(|| "SANDBOXPAYER".to_owned()),
            state,
            capture_id: None,
            refunded_minor: 0,
            refunds: Vec::new(),
            disputes: Vec::new(),
            at: now,
            paid_at: (state == State::Succeeded).then_some(now),
        }
    }

    /// The id under which everything about it is filed.
    pub fn canonical(&self) -> &str {
        self.capture_id.as_deref().unwrap_or(&self.id)
    }

    fn is_paypal(&self) -> bool {
        self.gateway == "paypal"
    }

    /// As the gateway shows it.
    pub fn seen(&self) -> GatewayPayment {
        GatewayPayment {
            id: self.canonical().to_owned(),
            amount: Money::from_minor(self.minor),
            currency: self.currency.clone(),
            state: self.shown_state(),
            buyer: self.buyer.clone(),
            payer: self.payer.clone(),
            paid_at: self.paid_at,
        }
    }

    fn shown_state(&self) -> PaymentState {
        let waiting = |why: &str| PaymentState::Waiting(why.to_owned());
        let failed = |why: &str| PaymentState::Failed(why.to_owned());
        match self.state {
            // PayPal calls it so as soon as any of it went back.
            State::Succeeded if self.is_paypal() && self.refunded_minor > 0 => failed("it was refunded"),
            State::Succeeded if self.refunded_minor >= self.minor => failed("all of it was returned"),
            State::Succeeded => PaymentState::Succeeded,
            State::Approved => waiting("its payer has agreed, but it has not been captured yet"),
            State::Waiting if self.is_paypal() => waiting("its payer has not agreed to it yet"),
            State::Waiting => waiting("it needs to be confirmed with the bank (3-D Secure)"),
            State::Failed => failed("the card was declined"),
        }
    }

    /// Takes the money that its payer has agreed to.
    pub fn capture(&mut self, outcome: Outcome, now: Timestamp) -> Vec<Happening> {
        if !matches!(self.state, State::Approved | State::Failed) {
            return Vec::new();
        }
        match outcome {
            Outcome::Succeed if self.state == State::Approved => self.succeed(now),
            // What was declined needs another card, which is its payer's to choose.
            Outcome::Succeed => Vec::new(),
            Outcome::Decline => {
                self.state = State::Failed;
                Vec::new()
            }
            Outcome::Ask => {
                self.state = State::Waiting;
                Vec::new()
            }
        }
    }

    fn succeed(&mut self, now: Timestamp) -> Vec<Happening> {
        self.state = State::Succeeded;
        self.paid_at = Some(now);
        if self.is_paypal() {
            self.capture_id = Some(format!("CAPTURE-{}", Id::<Self>::new().hex().to_uppercase()));
        }
        vec![Happening::Paid]
    }

    pub fn refunded_by(&self, key: &str) -> Option<&SandboxRefund> {
        self.refunds.iter().find(|refund| refund.key.as_deref() == Some(key))
    }

    /// Returns some of it.
    pub fn refund(&mut self, amount: Money, key: Option<String>, now: Timestamp) -> Result<SandboxRefund> {
        let id = self.canonical().to_owned();
        if self.state != State::Succeeded {
            return refused(format!("{id} has not succeeded, so there is nothing to refund"));
        }
        if let Some(dispute) = self.disputes.iter().find(|dispute| dispute.state != Standing::Won) {
            return refused(match dispute.state {
                Standing::Lost => format!("{id} went back to its payer through a dispute"),
                _ => format!("{id} is disputed and cannot be refunded meanwhile"),
            });
        }
        let minor = amount.minor();
        if minor <= 0 || minor > self.minor - self.refunded_minor {
            let left = Money::from_minor(self.minor - self.refunded_minor);
            return refused(format!("{id} has {left} left to refund, which is less than {amount}"));
        }
        let new = Id::<Self>::new().hex();
        let refund = SandboxRefund {
            id: if self.is_paypal() {
                format!("REFUND-{}", new.to_uppercase())
            } else {
                format!("re_sandbox_{new}")
            },
            key,
            minor,
            at: now,
        };
        self.refunded_minor += minor;
        self.refunds.push(refund.clone());
        Ok(refund)
    }

    /// Lets something happen to it at the gateway.
    pub fn undergo(&mut self, then: Then, amount: Option<Money>, now: Timestamp) -> Result<Vec<Happening>> {
        let id = self.canonical().to_owned();
        match then {
            Then::Confirm => match self.state {
                State::Succeeded => refused(format!("{id} has succeeded already")),
                _ if self.is_paypal() => {
                    self.state = State::Approved;
                    Ok(Vec::new())
                }
                _ => Ok(self.succeed(now)),
            },
            Then::Decline => match self.state {
                State::Succeeded => refused(format!("{id} has succeeded already")),
                _ => {
                    self.state = State::Failed;
                    Ok(if self.is_paypal() { Vec::new() } else { vec![Happening::Declined] })
                }
            },
            Then::Dispute => {
                if self.state != State::Succeeded {
                    return refused(format!("{id} has not succeeded, so nobody can dispute it"));
                }
                if self.disputes.iter().any(|dispute| dispute.state != Standing::Won) {
                    return refused(format!("{id} is disputed already"));
                }
                let minor = amount.map_or(self.minor - self.refunded_minor, Money::minor);
                if minor <= 0 || minor > self.minor {
                    return refused(format!(
                        "no more than {} can be disputed",
                        Money::from_minor(self.minor)
                    ));
                }
                let new = Id::<Self>::new().hex();
                let name = if self.is_paypal() {
                    format!("PP-D-{}", new.to_uppercase())
                } else {
                    format!("dp_sandbox_{new}")
                };
                let dispute = SandboxDispute { id: name, minor, state: Standing::Open };
                self.disputes.push(dispute.clone());
                Ok(vec![Happening::Disputed(dispute)])
            }
            Then::Win | Then::Lose => {
                let open = self.disputes.iter_mut().find(|dispute| dispute.state == Standing::Open);
                let Some(dispute) = open else { return refused(format!("{id} has no open dispute")) };
                dispute.state = if then == Then::Win { Standing::Won } else { Standing::Lost };
                Ok(vec![Happening::Decided(dispute.clone())])
            }
            Then::Refund => {
                let left = Money::from_minor(self.minor - self.refunded_minor);
                let refund = self.refund(amount.unwrap_or(left), None, now)?;
                Ok(vec![Happening::Returned(refund)])
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payments::gateway::GatewayRefusal;

    fn now() -> Timestamp {
        Timestamp::from_millis(1_000)
    }

    fn begun(gateway: &str, outcome: Outcome) -> SandboxPayment {
        let wanted = NewPayment {
            amount: Money::from_minor(1100),
            currency: "USD".to_owned(),
            buyer: "ann".to_owned(),
            key: None,
        };
        SandboxPayment::begun(gateway, "p1".to_owned(), &wanted, outcome, now())
    }

    fn refusal<T: std::fmt::Debug>(result: Result<T>) -> String {
        match result {
            Err(GatewayRefusal::Refused(why)) => why,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_card_succeeds_at_once_unless_it_is_declined_or_asked() {
        assert_eq!(begun("stripe", Outcome::Succeed).seen().state, PaymentState::Succeeded);
        let mut declined = begun("stripe", Outcome::Decline);
        assert!(matches!(declined.seen().state, PaymentState::Failed(_)) && declined.paid_at.is_none());
        let asked = begun("stripe", Outcome::Ask).seen();
        assert!(matches!(asked.state, PaymentState::Waiting(why) if why.contains("3-D Secure")));
        // Another card.
        assert_eq!(declined.undergo(Then::Confirm, None, now()).unwrap(), [Happening::Paid]);
        assert_eq!((declined.seen().state, declined.paid_at), (PaymentState::Succeeded, Some(now())));
        refusal(declined.undergo(Then::Confirm, None, now()));
        refusal(declined.undergo(Then::Decline, None, now()));
    }

    #[test]
    fn an_order_is_captured_once_its_payer_agrees() {
        let mut order = begun("paypal", Outcome::Ask);
        assert_eq!(order.capture(Outcome::Succeed, now()), []);
        assert!(matches!(order.seen().state, PaymentState::Waiting(_)));
        order.undergo(Then::Confirm, None, now()).unwrap();
        assert_eq!(order.capture(Outcome::Decline, now()), []);
        assert!(matches!(order.seen().state, PaymentState::Failed(_)));
        assert_eq!(order.capture(Outcome::Succeed, now()), [], "the declined card stays declined");
        order.undergo(Then::Confirm, None, now()).unwrap();
        assert_eq!(order.capture(Outcome::Succeed, now()), [Happening::Paid]);
        let seen = order.seen();
        assert_eq!(seen.state, PaymentState::Succeeded);
        assert!(seen.id.starts_with("CAPTURE-"), "{}", seen.id);
        assert_eq!(order.capture(Outcome::Decline, now()), []);
        assert_eq!(order.seen(), seen);
    }

    #[test]
    fn no_more_goes_back_than_came_and_nothing_that_is_disputed() {
        let mut card = begun("stripe", Outcome::Succeed);
        let cents = Money::from_minor;
        card.refund(cents(400), Some("k".to_owned()), now()).unwrap();
        assert!(refusal(card.refund(cents(701), None, now())).contains("7.00"));
        for none in [0, -1] {
            refusal(card.refund(cents(none), None, now()));
        }
        assert_eq!(card.seen().state, PaymentState::Succeeded);
        card.undergo(Then::Dispute, None, now()).unwrap();
        assert_eq!(card.disputes[0].minor, 700);
        refusal(card.undergo(Then::Dispute, None, now()));
        assert!(refusal(card.refund(cents(1), None, now())).contains("disputed"));
        card.undergo(Then::Win, None, now()).unwrap();
        refusal(card.undergo(Then::Lose, None, now()));
        card.refund(cents(100), None, now()).unwrap();
        card.undergo(Then::Dispute, Some(cents(600)), now()).unwrap();
        card.undergo(Then::Lose, None, now()).unwrap();
        assert!(refusal(card.refund(cents(1), None, now())).contains("through a dispute"));
        refusal(begun("stripe", Outcome::Decline).refund(cents(1), None, now()));
        refusal(begun("stripe", Outcome::Ask).undergo(Then::Dispute, None, now()));
        let mut whole = begun("stripe", Outcome::Succeed);
        whole.undergo(Then::Refund, None, now()).unwrap();
        assert!(matches!(whole.seen().state, PaymentState::Failed(_)));
    }
}
