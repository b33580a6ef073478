//! Stripe's objects, as far as Souk reads them. Whatever it can do without may be missing: other
//! versions of Stripe's API, and its stand-ins, leave out different things.

use std::collections::BTreeMap;

use miniserde::{
    Deserialize,
    json::{Number, Value},
};

use super::{
    super::gateway::{GatewayPayment, GatewayRefusal, Movement, MovementKind, NewRefund, PaymentState},
    BUYER, KEY, at, money,
};

#[derive(Deserialize)]
pub(super) struct Page<T> {
    pub(super) data: Vec<T>,
    pub(super) has_more: bool,
}

#[derive(Deserialize)]
pub(super) struct Intent {
    id: String,
    amount: i64,
    amount_received: Option<i64>,
    currency: String,
    status: String,
    pub(super) client_secret: Option<String>,
    created: Option<i64>,
    metadata: Option<BTreeMap<String, String>>,
    /// The charge itself where that was asked for, else its id.
    latest_charge: Option<Value>,
    last_payment_error: Option<PaymentError>,
}

#[derive(Deserialize)]
pub(super) struct PaymentError {
    message: Option<String>,
}

impl Intent {
    pub(super) fn payment(self) -> GatewayPayment {
        let state = self.state();
        let taken = (state == PaymentState::Succeeded).then_some(self.amount_received).flatten();
        let paid_at = self.of_charge("created").or(self.created).map(at);
        GatewayPayment {
            id: self.id,
            amount: money(taken.unwrap_or(self.amount)),
            currency: self.currency.to_ascii_uppercase(),
            paid_at: paid_at.filter(|_| state == PaymentState::Succeeded),
            state,
            buyer: self.metadata.and_then(|mut metadata| metadata.remove(BUYER)),
            payer: None,
        }
    }

    /// In words for whoever pays.
    fn state(&self) -> PaymentState {
        let waiting = |why: &str| PaymentState::Waiting(why.to_owned());
        let failed = |why: &str| PaymentState::Failed(why.to_owned());
        match self.status.as_str() {
            // Stripe's word stays even if all of it went back since.
            "succeeded" if self.of_charge("amount_refunded").is_some_and(|gone| gone >= self.amount) => {
                failed("all of it was returned")
            }
            "succeeded" => PaymentState::Succeeded,
            "requires_action" | "requires_source_action" => {
                waiting("it needs to be confirmed with the bank (3-D Secure)")
            }
            "requires_payment_method" | "requires_source" => match &self.last_payment_error {
                Some(error) => failed(error.message.as_deref().unwrap_or("the card was declined")),
                None => waiting("no card was given for it yet"),
            },
            "requires_confirmation" => waiting("whoever pays has not confirmed it yet"),
            "requires_capture" => waiting("its money is reserved, but was not taken"),
            "processing" => waiting("the bank is still working on it"),
            "canceled" => failed("it was called off"),
            other => waiting(&format!("the gateway calls it \"{other}\"")),
        }
    }

    /// A number of its charge's, if we were given the charge.
    fn of_charge(&self, name: &str) -> Option<i64> {
        let Some(Value::Object(charge)) = &self.latest_charge else { return None };
        match charge.get(name)? {
            Value::Number(Number::U64(number)) => i64::try_from(*number).ok(),
            Value::Number(Number::I64(number)) => Some(*number),
            _ => None,
        }
    }
}

#[derive(Deserialize)]
pub(super) struct Charge {
    pub(super) id: String,
    amount: i64,
    amount_captured: Option<i64>,
    captured: Option<bool>,
    created: i64,
    status: Option<String>,
    payment_intent: Option<String>,
}

impl Charge {
    /// None if no money was taken.
    pub(super) fn movement(self) -> Option<Movement> {
        if self.status.as_deref() != Some("succeeded") || self.captured == Some(false) {
            return None;
        }
        Some(Movement {
            // One without an intent was not begun here; its own id tells the administrator more than none.
            payment: self.payment_intent.unwrap_or(self.id),
            kind: MovementKind::Payment,
            amount: money(self.amount_captured.unwrap_or(self.amount)),
            at: at(self.created),
        })
    }
}

#[derive(Deserialize)]
pub(super) struct Refund {
    pub(super) id: String,
    amount: i64,
    created: Option<i64>,
    status: Option<String>,
    payment_intent: Option<String>,
    charge: Option<String>,
    metadata: Option<BTreeMap<String, String>>,
}

impl Refund {
    pub(super) fn key(&self) -> Option<&String> {
        self.metadata.as_ref()?.get(KEY)
    }

    /// Whether its money never left.
    pub(super) fn came_to_nothing(&self) -> bool {
        matches!(self.status.as_deref(), Some("failed" | "canceled"))
    }

    /// Its id, if it is the refund that was wanted.
    pub(super) fn answer_to(&self, wanted: &NewRefund) -> Result<String, GatewayRefusal> {
        if self.amount == wanted.amount.minor() {
            return Ok(self.id.clone());
        }
        let NewRefund { payment, amount, key, .. } = wanted;
        let done = money(self.amount);
        Err(GatewayRefusal::Refused(format!(
            "{done} of {payment} was returned as {key} before, not {amount}"
        )))
    }

    /// None if no money went back.
    pub(super) fn movement(mut self) -> Option<Movement> {
        if self.came_to_nothing() {
            return None;
        }
        let key = self.metadata.as_mut().and_then(|metadata| metadata.remove(KEY));
        Some(Movement {
            payment: self.payment_intent.or(self.charge)?,
            kind: MovementKind::Refund { id: self.id, key },
            amount: money(self.amount),
            at: at(self.created?),
        })
    }
}

#[cfg(test)]
mod tests {
    use miniserde::json::from_str;
    use shared::{clock::Timestamp, money::Money};

    use super::*;

    fn intent(more: &str) -> GatewayPayment {
        let text = format!(r#"{{"id":"pi_1","amount":1100,"currency":"usd","unknown":[{{}}]{more}}}"#);
        from_str::<Intent>(&text).unwrap().payment()
    }

    fn state(status: &str, more: &str) -> PaymentState {
        intent(&format!(r#","status":"{status}"{more}"#)).state
    }

    #[test]
    fn an_intent_is_read_with_what_there_is_of_it() {
        let bare = intent(r#","status":"succeeded""#);
        assert_eq!((bare.amount, bare.currency.as_str()), (Money::from_minor(1100), "USD"));
        assert_eq!((bare.buyer, bare.paid_at), (None, None));
        let whole = intent(
            r#","status":"succeeded","amount_received":1000,"created":5,"metadata":{"souk_buyer":"ann"},
              "latest_charge":{"created":7,"amount_refunded":10}"#,
        );
        assert_eq!((whole.amount, whole.buyer.as_deref()), (Money::from_minor(1000), Some("ann")));
        assert_eq!(whole.paid_at, Some(Timestamp::from_millis(7000)));
        let unexpanded =
            intent(r#","status":"succeeded","created":5,"latest_charge":"ch_1","metadata":null"#);
        assert_eq!(unexpanded.paid_at, Some(Timestamp::from_millis(5000)));
        let unpaid = intent(r#","status":"processing","created":5,"amount_received":0"#);
        assert_eq!((unpaid.amount, unpaid.paid_at), (Money::from_minor(1100), None));
    }

    #[test]
    fn only_money_that_was_taken_and_kept_is_a_success() {
        assert_eq!(state("succeeded", ""), PaymentState::Succeeded);
        for status in
            ["requires_action", "requires_payment_method", "requires_confirmation", "requires_capture", "new"]
        {
            assert!(matches!(state(status, ""), PaymentState::Waiting(_)), "{status}");
        }
        assert_eq!(
            state("requires_payment_method", r#","last_payment_error":{"message":"Declined."}"#),
            PaymentState::Failed("Declined.".to_owned())
        );
        let returned = r#","latest_charge":{"amount_refunded":1100}"#;
        for (status, more) in [
            ("canceled", ""),
            ("succeeded", returned),
            ("requires_payment_method", r#","last_payment_error":{}"#),
        ] {
            assert!(matches!(state(status, more), PaymentState::Failed(_)), "{status}");
        }
    }

    #[test]
    fn what_moved_no_money_is_no_movement() {
        let charge = |more: &str| {
            let text = format!(r#"{{"id":"ch_1","amount":5,"created":9{more}}}"#);
            from_str::<Charge>(&text).unwrap().movement().map(|moved| moved.payment)
        };
        assert_eq!(charge(r#","status":"succeeded","payment_intent":"pi_1""#).as_deref(), Some("pi_1"));
        assert_eq!(charge(r#","status":"succeeded","payment_intent":null"#).as_deref(), Some("ch_1"));
        assert_eq!(charge(r#","status":"failed""#), None);
        assert_eq!(charge(r#","status":"succeeded","captured":false"#), None);
        let refund = |status: &str| {
            let text = format!(
                r#"{{"id":"re_1","amount":5,"created":9,"payment_intent":"pi_1","status":"{status}","metadata":{{"souk_key":"k"}}}}"#
            );
            from_str::<Refund>(&text).unwrap().movement().map(|moved| moved.kind)
        };
        let ours = MovementKind::Refund { id: "re_1".to_owned(), key: Some("k".to_owned()) };
        assert_eq!(refund("pending"), Some(ours));
        assert_eq!((refund("failed"), refund("canceled")), (None, None));
    }
}
