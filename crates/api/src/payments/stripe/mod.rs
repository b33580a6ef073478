//! Cards, through Stripe. Requests are async-stripe's own types; its types for answers refuse what
//! leaves out one field, so [`answer`] reads those leniently. What Stripe tells of its own accord is
//! read by [`event`].

mod answer;
mod event;

pub(super) use event::read as read_event;

use std::{collections::HashMap, time::Duration};

use ::stripe::{Client, ClientBuilder, IdempotencyKey, RequestStrategy, StripeError, StripeRequest as _};
use shared::{
    clock::Timestamp,
    config::{self, Secret},
    money::Money,
};
use stripe_core::{
    charge::ListCharge,
    payment_intent::{CreatePaymentIntent, RetrievePaymentIntent},
    refund::{CreateRefund, ListRefund},
};
use stripe_types::{Currency, RangeBoundsTs, RangeQueryTs};

use self::answer::{Charge, Intent, Page, Refund};
use super::{
    gateway::{
        Begun, Gateway, GatewayFuture, GatewayPayment, GatewayRefusal, Movement, NewPayment, NewRefund,
        Notice, WebhookCall,
    },
    signature,
};

/// Under which name an intent carries the buyer it was begun for.
const BUYER: &str = "souk_buyer";
/// Under which name a refund carries its key.
const KEY: &str = "souk_key";

/// Stripe answers within a second or two, or not at all.
const TIMEOUT: Duration = Duration::from_secs(10);
/// As many as Stripe puts on a page.
const PAGE: i64 = 100;
/// A list that goes on for longer than this goes in circles.
const PAGES: usize = 10_000;

/// Stripe's API, with the keys of one account.
pub(super) struct Stripe {
    client: Client,
    webhook_secret: Option<Secret>,
    api_base: String,
    test_keys: bool,
}

impl Stripe {
    pub(super) fn new(config: &config::Stripe) -> anyhow::Result<Self> {
        let key = config.secret_key.expose();
        let client = ClientBuilder::new(key)
            .url(format!("{}/", config.api_base))
            .timeout(TIMEOUT)
            // A repetition without an idempotency key could charge or refund twice.
            .request_strategy(RequestStrategy::Once)
            .app_info("Souk", Some(env!("CARGO_PKG_VERSION").to_owned()), None)
            .build()
            .map_err(|why| anyhow::anyhow!("STRIPE_SECRET_KEY or STRIPE_API_BASE cannot be used: {why}"))?;
        Ok(Self {
            client,
            webhook_secret: config.webhook_secret.clone(),
            api_base: config.api_base.clone(),
            test_keys: key.starts_with("sk_test_") || key.starts_with("rk_test_"),
        })
    }

    async fn begin_intent(&self, wanted: NewPayment) -> Result<Begun, GatewayRefusal> {
        let strategy = match &wanted.key {
            Some(key) => RequestStrategy::Idempotent(idempotency_key(key)?),
            None => RequestStrategy::Once,
        };
        let intent: Intent = CreatePaymentIntent::new(wanted.amount.minor(), currency(&wanted.currency))
            .metadata(HashMap::from([(BUYER.to_owned(), wanted.buyer)]))
            .build()
            .customize()
            .request_strategy(strategy)
            .send(&self.client)
            .await
            .map_err(refused)?;
        let secret = intent.client_secret.clone();
        let secret = secret.ok_or_else(|| unreadable("the new payment has no client secret"))?;
        Ok(Begun { payment: intent.payment(), secret })
    }

    async fn find_intent(&self, id: &str) -> Result<Option<GatewayPayment>, GatewayRefusal> {
        if !is_intent(id) {
            return Ok(None);
        }
        let asked = RetrievePaymentIntent::new(id)
            .expand(vec!["latest_charge".to_owned()])
            .build()
            .customize::<Intent>()
            .send(&self.client)
            .await;
        match asked {
            Ok(intent) => Ok(Some(intent.payment())),
            Err(StripeError::Stripe(_, 404)) => Ok(None),
            Err(error) => Err(refused(error)),
        }
    }

    /// An idempotency key counts for a day. Whether a refund was made is looked up, however long ago.
    async fn refund_once(&self, wanted: &NewRefund) -> Result<String, GatewayRefusal> {
        let NewRefund { payment, amount, key, .. } = wanted;
        if !is_intent(payment) {
            return Err(GatewayRefusal::Refused(format!("there is no payment {payment}")));
        }
        let of_this = self.refunds(|| ListRefund::new().payment_intent(payment)).await?;
        let ours = || of_this.iter().filter(|refund| refund.key() == Some(key));
        if let Some(done) = ours().find(|refund| !refund.came_to_nothing()) {
            return done.answer_to(wanted);
        }
        // A repetition of a refund that failed is another request to Stripe, which would else tell once
        // more that it was accepted.
        let failed = ours().count();
        let name = if failed == 0 { key.clone() } else { format!("{key}:{failed}") };
        let refund: Refund = CreateRefund::new()
            .payment_intent(payment)
            .amount(amount.minor())
            .metadata(HashMap::from([(KEY.to_owned(), key.clone())]))
            .build()
            .customize()
            .request_strategy(RequestStrategy::Idempotent(idempotency_key(&name)?))
            .send(&self.client)
            .await
            .map_err(refused)?;
        if refund.came_to_nothing() {
            return Err(GatewayRefusal::Refused(format!(
                "the refund of {amount} for {payment} failed at once"
            )));
        }
        refund.answer_to(wanted)
    }

    async fn moved(&self, from: Timestamp, to: Timestamp) -> Result<Vec<Movement>, GatewayRefusal> {
        let created = RangeQueryTs::Bounds(RangeBoundsTs {
            gte: Some(second_from(from)),
            lt: Some(second_from(to)),
            ..RangeBoundsTs::default()
        });
        let mut moved = Vec::new();
        for charge in self.charges(|| ListCharge::new().created(created)).await? {
            moved.extend(charge.movement());
        }
        for refund in self.refunds(|| ListRefund::new().created(created)).await? {
            moved.extend(refund.movement());
        }
        Ok(moved)
    }

    async fn charges(
        &self,
        list: impl Fn() -> ListCharge + Send + Sync,
    ) -> Result<Vec<Charge>, GatewayRefusal> {
        let page = |after: Option<String>| {
            let page = list().limit(PAGE);
            let page = after.into_iter().fold(page, ListCharge::starting_after).build().customize();
            async move { page.send(&self.client).await }
        };
        all_pages("charges", page, |charge: &Charge| &charge.id).await
    }

    async fn refunds(
        &self,
        list: impl Fn() -> ListRefund + Send + Sync,
    ) -> Result<Vec<Refund>, GatewayRefusal> {
        let page = |after: Option<String>| {
            let page = list().limit(PAGE);
            let page = after.into_iter().fold(page, ListRefund::starting_after).build().customize();
            async move { page.send(&self.client).await }
        };
        all_pages("refunds", page, |refund: &Refund| &refund.id).await
    }

    fn read(&self, call: &WebhookCall) -> Result<Notice, GatewayRefusal> {
        let secret = self.webhook_secret.as_ref().ok_or_else(|| {
            GatewayRefusal::Refused("webhooks cannot be checked: STRIPE_WEBHOOK_SECRET is not set".to_owned())
        })?;
        signature::verify(call.header(signature::HEADER), &call.body, secret.expose(), call.at)
            .map_err(|why| GatewayRefusal::Forged(why.to_string()))?;
        event::read(&call.body, call.at)
            .ok_or_else(|| GatewayRefusal::Refused("the webhook's body is no event".to_owned()))
    }
}

impl Gateway for Stripe {
    fn name(&self) -> &'static str {
        "stripe"
    }

    fn begin(&self, wanted: NewPayment) -> GatewayFuture<'_, Begun> {
        Box::pin(self.begin_intent(wanted))
    }

    fn capture<'a>(&'a self, _: &'a str) -> GatewayFuture<'a, GatewayPayment> {
        let words = "a card payment takes its money by itself; there is nothing to capture";
        Box::pin(async move { Err(GatewayRefusal::Refused(words.to_owned())) })
    }

    fn look_up<'a>(&'a self, id: &'a str) -> GatewayFuture<'a, Option<GatewayPayment>> {
        Box::pin(self.find_intent(id))
    }

    fn refund<'a>(&'a self, wanted: &'a NewRefund) -> GatewayFuture<'a, String> {
        Box::pin(self.refund_once(wanted))
    }

    fn read_webhook<'a>(&'a self, call: &'a WebhookCall) -> GatewayFuture<'a, Notice> {
        Box::pin(std::future::ready(self.read(call)))
    }

    fn movements(&self, from: Timestamp, to: Timestamp) -> GatewayFuture<'_, Vec<Movement>> {
        Box::pin(self.moved(from, to))
    }

    fn describe(&self) -> String {
        let keys = if self.test_keys { " (test keys: no money moves)" } else { "" };
        let webhooks = match self.webhook_secret {
            Some(_) => "",
            None => ", without webhooks: STRIPE_WEBHOOK_SECRET is not set",
        };
        format!("Stripe at {}{keys}{webhooks}", self.api_base)
    }
}

/// One page after the other, each from the last one's end on.
async fn all_pages<T, F>(
    what: &str,
    page: impl Fn(Option<String>) -> F,
    id: impl Fn(&T) -> &String,
) -> Result<Vec<T>, GatewayRefusal>
where
    F: Future<Output = Result<Page<T>, StripeError>>,
{
    let mut all = Vec::<T>::new();
    for _ in 0..PAGES {
        let page = page(all.last().map(|last| id(last).clone())).await.map_err(refused)?;
        let more = page.has_more && !page.data.is_empty();
        all.extend(page.data);
        if !more {
            return Ok(all);
        }
    }
    Err(GatewayRefusal::Unreachable(anyhow::anyhow!("Stripe's list of {what} has no end")))
}

/// Whether Stripe could have made this id. It becomes part of an address, and anybody may have typed it.
fn is_intent(id: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    id.len() <= 255 && id.strip_prefix("pi_").is_some_and(|rest| !rest.is_empty() && rest.bytes().all(plain))
}

/// Stripe's currencies are lower case. One that the library does not know is Stripe's to judge.
fn currency(code: &str) -> Currency {
    code.to_ascii_lowercase().parse().unwrap_or_else(|never| match never {})
}

fn idempotency_key(key: &str) -> Result<IdempotencyKey, GatewayRefusal> {
    IdempotencyKey::new(key).map_err(|why| GatewayRefusal::Refused(why.to_string()))
}

/// The first whole second at this moment or after it: Stripe's clock has no finer times.
fn second_from(at: Timestamp) -> i64 {
    at.timestamp_millis().saturating_add(999).div_euclid(1000)
}

fn unreadable(why: &'static str) -> GatewayRefusal {
    GatewayRefusal::Unreachable(anyhow::anyhow!("Stripe's answer cannot be used: {why}"))
}

/// What asking again may change is not a refusal. Stripe's words go to whoever pays, but not those about
/// our key, which quote it in part.
fn refused(error: StripeError) -> GatewayRefusal {
    let words = match error {
        StripeError::Stripe(error, status) => match status {
            401 | 403 => format!("Stripe does not accept STRIPE_SECRET_KEY ({status})"),
            // A conflict is another request with the same key that is not done yet.
            409 | 429 | 500.. => format!("Stripe answers {status}: {}", error.message.unwrap_or_default()),
            _ => {
                let code = error.code.map(|code| code.to_string());
                let words = error.message.or(code).unwrap_or_else(|| format!("no ({status})"));
                return GatewayRefusal::Refused(words);
            }
        },
        // The library does not tell which status it came with; a proxy's error page, say.
        StripeError::JSONDeserialize(why) => format!("Stripe's answer cannot be read: {why}"),
        StripeError::ClientError(why) => format!("Stripe cannot be reached: {why}"),
        StripeError::ConfigError(why) => format!("the request to Stripe cannot be made: {why}"),
        StripeError::Timeout => format!("Stripe has not answered within {} s", TIMEOUT.as_secs()),
    };
    GatewayRefusal::Unreachable(anyhow::Error::msg(words))
}

/// A moment of Stripe's.
fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(seconds.saturating_mul(1000))
}

/// An amount of Stripe's: minor units of a currency that has two decimals, which the settings see to.
const fn money(minor: i64) -> Money {
    Money::from_minor(minor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_stripe_could_have_made_is_asked_for() {
        assert!(is_intent("pi_3MtwBwLkdIwHu7ix28a3tqPa") && is_intent("pi_1_x"));
        let long = format!("pi_{}", "a".repeat(253));
        for id in
            ["", "pi_", "ch_1", "PI_1", "pi_1/refund", "pi_1?expand[]=x", "pi_ä", "pi_1\r\n", " pi_1", &long]
        {
            assert!(!is_intent(id), "{id}");
        }
    }

    #[test]
    fn a_day_is_its_whole_seconds() {
        let second = |millis| second_from(Timestamp::from_millis(millis));
        assert_eq!([0, 1, 999, 1000, 1001].map(second), [0, 1, 1, 1, 2]);
    }

    #[test]
    fn the_banner_tells_no_key() {
        let config = config::Stripe {
            secret_key: Secret::new("sk_test_abcdef".to_owned()),
            webhook_secret: Some(Secret::new("whsec_abcdef".to_owned())),
            api_base: "https://api.stripe.com".to_owned(),
        };
        let described = Stripe::new(&config).unwrap().describe();
        assert!(described.contains("test keys") && !described.contains("abcdef"), "{described}");
        let none = config::Stripe { webhook_secret: None, ..config };
        assert!(Stripe::new(&none).unwrap().describe().contains("STRIPE_WEBHOOK_SECRET"));
    }
}
