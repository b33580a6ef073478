//! PayPal, through its REST interface (v2 of orders and payments).
//!
//! An **order** is what the payer agrees to, a **capture** is the money that was then taken for it. A
//! payment is filed under its capture, as webhooks, refunds and disputes name it; until there is one,
//! under its order.

mod client;
mod events;
mod wire;

pub(super) use events::read_plain;

use shared::{
    auth::digest,
    clock::{Clock, Timestamp, iso, plus},
    config,
    money::Money,
};

use self::{
    client::{Client, Failure},
    wire::{Amount, Capture, Order},
};
use super::gateway::{
    Begun, Gateway, GatewayFuture, GatewayPayment, GatewayRefusal, Movement, MovementKind, NewPayment,
    NewRefund, Notice, PaymentState, WebhookCall,
};

/// No id of PayPal's is longer.
const LONGEST_ID: usize = 36;
/// The list of transactions answers for so many days at once, in milliseconds.
const REPORT_SPAN: i64 = 31 * 86_400_000;
/// So many transactions a page.
const REPORT_PAGE: u32 = 100;
/// More pages than any span has; PayPal itself lists no more than 10,000 transactions.
const REPORT_PAGES: u32 = 100;

/// The PayPal gateway.
pub(in crate::payments) struct Paypal {
    client: Client,
    webhook_id: Option<String>,
    /// The only one whose movements are listed.
    currency: String,
}

impl Paypal {
    pub(in crate::payments) fn new(
        keys: &config::Paypal,
        currency: &str,
        clock: Clock,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            client: Client::new(keys, clock)?,
            webhook_id: keys.webhook_id.clone(),
            currency: currency.to_owned(),
        })
    }

    async fn order(&self, id: &str) -> Result<Option<Order>, GatewayRefusal> {
        Ok(self.client.find(&format!("/v2/checkout/orders/{id}")).await?)
    }

    async fn capture_of(&self, id: &str) -> Result<Option<Capture>, GatewayRefusal> {
        Ok(self.client.find(&format!("/v2/payments/captures/{id}")).await?)
    }

    /// A payment by its order's id or by its capture's.
    async fn find(&self, id: &str) -> Result<Option<GatewayPayment>, GatewayRefusal> {
        if !is_id(id) {
            return Ok(None);
        }
        if let Some(order) = self.order(id).await? {
            return of_order(&order).map(Some);
        }
        let Some(capture) = self.capture_of(id).await? else { return Ok(None) };
        let order = match capture.order().filter(|order| is_id(order)) {
            Some(order) => self.order(order).await?,
            None => None,
        };
        of_capture(&capture, order.as_ref()).map(Some)
    }

    async fn begin_order(&self, wanted: NewPayment) -> Result<Begun, GatewayRefusal> {
        let body = wire::NewOrder {
            intent: "CAPTURE",
            purchase_units: [wire::NewUnit {
                amount: amount(wanted.amount, &wanted.currency)?,
                custom_id: &wanted.buyer,
            }],
        };
        let key = wanted.key.as_ref().map(|key| request_id("order", key));
        let order: Order = self.client.post("/v2/checkout/orders", &body, key.as_deref()).await?;
        let payment = of_order(&order)?;
        if payment.amount != wanted.amount || payment.currency != wanted.currency {
            return Err(GatewayRefusal::Refused("the key was used for another payment".to_owned()));
        }
        Ok(Begun { payment, secret: order.approval().unwrap_or_default().to_owned() })
    }

    /// Looks first: what has been captured is left alone. PayPal captures an order once, so the key only
    /// spares a lost answer's repetition a refusal. It is another one after each thing that the payer did,
    /// or a card that was declined would stay declined when another one is chosen.
    async fn capture_order(&self, id: &str) -> Result<GatewayPayment, GatewayRefusal> {
        let unknown = || GatewayRefusal::Refused(format!("PayPal knows no order {id}"));
        if !is_id(id) {
            return Err(unknown());
        }
        let order = self.order(id).await?.ok_or_else(unknown)?;
        let before = of_order(&order)?;
        if matches!(before.state, PaymentState::Succeeded) || order.captures().any(is_taken) {
            return Ok(before);
        }
        let key =
            request_id("capture", &format!("{id} {}", order.update_time.as_deref().unwrap_or_default()));
        let path = format!("/v2/checkout/orders/{id}/capture");
        match self.client.post::<Order>(&path, &serde_json::json!({}), Some(&key)).await {
            Ok(order) => of_order(&order),
            Err(Failure::Said(no)) => match no.issue.as_str() {
                "ORDER_ALREADY_CAPTURED" => self.find(id).await?.ok_or_else(unknown),
                "ORDER_NOT_APPROVED" | "PAYER_ACTION_REQUIRED" => {
                    Ok(GatewayPayment { state: PaymentState::Waiting(no.words), ..before })
                }
                "INSTRUMENT_DECLINED" | "PAYER_CANNOT_PAY" | "TRANSACTION_REFUSED" => {
                    Ok(GatewayPayment { state: PaymentState::Failed(no.words), ..before })
                }
                _ => Err(Failure::Said(no).into()),
            },
            Err(unreachable) => Err(unreachable.into()),
        }
    }

    /// PayPal remembers a request's id for some weeks, and a refund's key for ever: so the key is looked
    /// for among the refunds of the order before anything is asked for.
    async fn refund_capture(&self, wanted: &NewRefund) -> Result<String, GatewayRefusal> {
        let NewRefund { payment: id, amount: wanted_amount, currency, key } = wanted;
        let unknown = || GatewayRefusal::Refused(format!("PayPal knows no payment {id}"));
        if !is_id(id) {
            return Err(unknown());
        }
        let capture = self.capture_of(id).await?.ok_or_else(unknown)?;
        let order = match capture.order().filter(|order| is_id(order)) {
            Some(order) => self.order(order).await?,
            None => None,
        };
        let mut failed = 0_u32;
        for earlier in order.iter().flat_map(Order::refunds) {
            if earlier.custom_id.as_ref() == Some(key) {
                if !earlier.came_to_nothing() {
                    return Ok(earlier.id.clone());
                }
                failed += 1;
            }
        }
        let body = wire::NewRefund { amount: amount(*wanted_amount, currency)?, custom_id: key };
        // One that came to nothing may be tried again, which has to be another request then.
        let request = request_id("refund", &format!("{failed} {key}"));
        let path = format!("/v2/payments/captures/{id}/refund");
        let refund: wire::Refund = self.client.post(&path, &body, Some(&request)).await?;
        if refund.came_to_nothing() {
            let reason = refund.status_details.and_then(|details| details.reason).unwrap_or(refund.status);
            return Err(GatewayRefusal::Refused(format!("PayPal did not return the money ({reason})")));
        }
        Ok(refund.id)
    }

    async fn report(&self, from: Timestamp, to: Timestamp) -> Result<Vec<Movement>, GatewayRefusal> {
        let mut movements = Vec::new();
        let mut start = from;
        while start < to {
            let end = plus(start, REPORT_SPAN).min(to);
            for page in 1..=REPORT_PAGES {
                let path = format!(
                    "/v1/reporting/transactions?start_date={}&end_date={}&fields=transaction_info\
                     &page_size={REPORT_PAGE}&page={page}",
                    iso(start),
                    iso(end),
                );
                let read: wire::Transactions = self.client.get(&path).await.map_err(GatewayRefusal::from)?;
                for detail in &read.transaction_details {
                    movements.extend(self.movement(&detail.transaction_info)?);
                }
                if page >= read.total_pages {
                    break;
                }
            }
            start = end;
        }
        // PayPal counts the last second in; and what lies on the border of two spans is in both.
        movements.retain(|movement| movement.at >= from && movement.at < to);
        let mut seen = std::collections::BTreeSet::new();
        movements.retain(|movement| seen.insert((movement.payment.clone(), movement.kind.clone())));
        Ok(movements)
    }

    /// What a line of the list means: `T00..` that came in is a payment, `T1107` a refund. Everything else
    /// (fees, conversions, withdrawals, what is on hold for a dispute) is nothing that Souk has to do with.
    fn movement(&self, line: &wire::Transaction) -> Result<Option<Movement>, GatewayRefusal> {
        let Some(amount) =
            line.transaction_amount.as_ref().filter(|amount| amount.currency() == self.currency)
        else {
            return Ok(None);
        };
        let money = amount.money().map_err(unreadable)?;
        if !matches!(line.transaction_status.as_str(), "S" | "") {
            return Ok(None);
        }
        let code = line.transaction_event_code.as_str();
        let (payment, kind) = if code.starts_with("T00") && money > Money::ZERO {
            (line.transaction_id.clone(), MovementKind::Payment)
        } else if code == "T1107"
            && money < Money::ZERO
            && let Some(payment) = &line.paypal_reference_id
        {
            let key = wire::key(line.custom_field.as_deref());
            (payment.clone(), MovementKind::Refund { id: line.transaction_id.clone(), key })
        } else {
            return Ok(None);
        };
        let at = wire::moment(&line.transaction_initiation_date)
            .ok_or_else(|| unreadable(anyhow::anyhow!("transaction {payment} has no readable date")))?;
        Ok(Some(Movement { payment, kind, amount: money.distance(Money::ZERO), at }))
    }
}

/// What could be an id of PayPal's, and so may be part of an address there.
fn is_id(text: &str) -> bool {
    (1..=LONGEST_ID).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'-')
}

/// A `PayPal-Request-Id`: it has at most 38 characters at some of the addresses, and our keys may have more.
fn request_id(what: &str, key: &str) -> String {
    let mut id = digest(&format!("{what} {key}"));
    id.truncate(36);
    id
}

fn amount(money: Money, currency: &str) -> Result<Amount, GatewayRefusal> {
    Amount::of(money, currency)
        .ok_or_else(|| GatewayRefusal::Refused(format!("PayPal takes no fractions of {currency}")))
}

/// An answer without which nothing is known: it may be better next time.
fn unreadable(cause: anyhow::Error) -> GatewayRefusal {
    GatewayRefusal::Unreachable(cause.context("PayPal's answer cannot be read"))
}

/// Its money has been taken, whatever happened to it since.
fn is_taken(capture: &Capture) -> bool {
    matches!(capture.status.as_str(), "COMPLETED" | "PENDING" | "PARTIALLY_REFUNDED" | "REFUNDED")
}

/// An order's payment: its capture, or the order itself while there is none.
fn of_order(order: &Order) -> Result<GatewayPayment, GatewayRefusal> {
    let captures = || order.captures();
    // A card may be declined before another one is taken.
    if let Some(capture) = captures().find(|capture| is_taken(capture)).or_else(|| captures().last()) {
        return of_capture(capture, Some(order));
    }
    let unit = order.purchase_units.first();
    let amount = unit.and_then(|unit| unit.amount.as_ref());
    let amount = amount.ok_or_else(|| unreadable(anyhow::anyhow!("order {} has no amount", order.id)))?;
    Ok(GatewayPayment {
        id: order.id.clone(),
        amount: amount.money().map_err(unreadable)?,
        currency: amount.currency(),
        state: match order.status.as_str() {
            "VOIDED" => PaymentState::Failed("it was called off".to_owned()),
            "APPROVED" => {
                PaymentState::Waiting("its payer has agreed, but it has not been captured yet".to_owned())
            }
            _ => PaymentState::Waiting("its payer has not agreed to it at PayPal yet".to_owned()),
        },
        buyer: wire::buyer(unit.and_then(|unit| unit.custom_id.as_deref())),
        payer: payer(order),
        paid_at: None,
    })
}

/// A capture's payment. Who paid, and for whom, its order knows.
fn of_capture(capture: &Capture, order: Option<&Order>) -> Result<GatewayPayment, GatewayRefusal> {
    let unit = order.and_then(|order| order.purchase_units.first());
    let custom_id = capture.custom_id.as_deref().or_else(|| unit.and_then(|unit| unit.custom_id.as_deref()));
    let reason = capture.reason();
    Ok(GatewayPayment {
        id: capture.id.clone(),
        amount: capture.amount.money().map_err(unreadable)?,
        currency: capture.amount.currency(),
        state: match capture.status.as_str() {
            "COMPLETED" => PaymentState::Succeeded,
            "PENDING" => PaymentState::Waiting(format!("PayPal has not released it yet{reason}")),
            "DECLINED" => PaymentState::Failed(format!("PayPal declined it{reason}")),
            // Money that went back pays for nothing, even if only some of it did.
            "PARTIALLY_REFUNDED" | "REFUNDED" => PaymentState::Failed("it was refunded".to_owned()),
            _ => PaymentState::Failed(format!("PayPal could not carry it out{reason}")),
        },
        buyer: wire::buyer(custom_id),
        payer: order.and_then(payer),
        paid_at: capture.create_time.as_deref().and_then(wire::moment),
    })
}

fn payer(order: &Order) -> Option<String> {
    order.payer.as_ref()?.payer_id.clone()
}

impl Gateway for Paypal {
    fn name(&self) -> &'static str {
        "paypal"
    }

    fn begin(&self, wanted: NewPayment) -> GatewayFuture<'_, Begun> {
        Box::pin(self.begin_order(wanted))
    }

    fn capture<'a>(&'a self, id: &'a str) -> GatewayFuture<'a, GatewayPayment> {
        Box::pin(self.capture_order(id))
    }

    fn look_up<'a>(&'a self, id: &'a str) -> GatewayFuture<'a, Option<GatewayPayment>> {
        Box::pin(self.find(id))
    }

    fn refund<'a>(&'a self, wanted: &'a NewRefund) -> GatewayFuture<'a, String> {
        Box::pin(self.refund_capture(wanted))
    }

    fn read_webhook<'a>(&'a self, call: &'a WebhookCall) -> GatewayFuture<'a, Notice> {
        Box::pin(self.read_event(call))
    }

    /// PayPal lists what happened only some hours later (three at most, it says): who compares a day
    /// should do it on the next one.
    fn movements(&self, from: Timestamp, to: Timestamp) -> GatewayFuture<'_, Vec<Movement>> {
        Box::pin(self.report(from, to))
    }

    fn describe(&self) -> String {
        let webhooks = match &self.webhook_id {
            Some(_) => "",
            None => ", without webhooks: PAYPAL_WEBHOOK_ID is not set",
        };
        format!("PayPal at {}{webhooks}", self.client.base())
    }
}
