//! What the trials say to a server, as clients do.

use std::time::Duration;

use anyhow::Context as _;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use shared::{
    id::Id,
    model::{Listing, Order, Shop, User},
};
use tokio::time::Instant;

/// No request of a trial takes so long; one that does has hung.
const PATIENCE: Duration = Duration::from_secs(60);
/// Shorter than the servers keep a connection that nobody uses, or a request could meet its end.
const IDLE: Duration = Duration::from_secs(1);

/// A server, and a way to it. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Api {
    pub(super) http: reqwest::Client,
    /// Without a trailing slash.
    pub(super) base: String,
}

/// A shopper's session.
#[derive(Clone, Debug)]
pub(super) struct Buyer {
    pub(super) id: Id<User>,
    pub(super) token: String,
}

/// A shop's session.
#[derive(Clone, Debug)]
pub(super) struct Seller {
    pub(super) id: Id<Shop>,
    pub(super) token: String,
}

/// What a server answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) text: String,
}

impl Answer {
    pub(super) fn json(&self) -> anyhow::Result<Value> {
        serde_json::from_str(&self.text).with_context(|| format!("no JSON: {:.200}", self.text))
    }

    /// The status, with the code of a refusal.
    pub(super) fn kind(&self) -> String {
        let code = self.json().ok().and_then(|body| Some(body.get("code")?.as_str()?.to_owned()));
        match code {
            Some(code) if self.status >= 400 => format!("{} {code}", self.status),
            _ => self.status.to_string(),
        }
    }

    /// The orders that a checkout has made.
    pub(super) fn orders(&self) -> anyhow::Result<Vec<Id<Order>>> {
        let body = self.json()?;
        let orders = body.get("orders").and_then(Value::as_array).context("an answer without orders")?;
        let id = |order: &Value| order.get("_id")?.as_str()?.parse().ok();
        orders.iter().map(|order| id(order).context("an order without an id")).collect()
    }

    /// The body, if this is the status that it must have.
    pub(super) fn expect(&self, status: u16) -> anyhow::Result<Value> {
        anyhow::ensure!(self.status == status, "answered {} {:.300}", self.status, self.text);
        self.json()
    }
}

pub(super) fn api_client() -> anyhow::Result<reqwest::Client> {
    // Not through a proxy of the environment's: the servers are on this machine.
    let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).pool_idle_timeout(IDLE);
    client.build().context("cannot set up an HTTP client")
}

impl Api {
    pub(super) fn request(&self, method: Method, path: &str, token: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base)).bearer_auth(token)
    }

    /// Checks out; every checkout has a key of its own unless it is to be the same.
    pub(super) fn create_order(&self, buyer: &Buyer, key: Option<&str>, body: &Value) -> RequestBuilder {
        let request = self.request(Method::POST, "/api/order/create-order", &buyer.token).json(body);
        match key {
            Some(key) => request.header("Idempotency-Key", key),
            None => request,
        }
    }

    pub(super) fn set_status(&self, seller: &Seller, order: Id<Order>, status: &str) -> RequestBuilder {
        let path = format!("/api/order/update-order-status/{order}");
        self.request(Method::PUT, &path, &seller.token).json(&json!({ "status": status }))
    }

    /// Asks for everything back, or for some units of some lines.
    pub(super) fn ask_refund(
        &self,
        buyer: &Buyer,
        order: Id<Order>,
        items: Option<&[(Id<Listing>, i64)]>,
    ) -> RequestBuilder {
        let mut body = json!({ "status": "Refund Processing", "reason": "selftest" });
        if let (Some(items), Some(body)) = (items, body.as_object_mut()) {
            body.insert("items".to_owned(), cart(items));
        }
        self.request(Method::PUT, &format!("/api/order/refund-order/{order}"), &buyer.token).json(&body)
    }

    pub(super) fn grant_refund(&self, seller: &Seller, order: Id<Order>) -> RequestBuilder {
        let path = format!("/api/order/order-refund-success/{order}");
        self.request(Method::PUT, &path, &seller.token).json(&json!({ "status": "Refund Success" }))
    }
}

/// Sends a request and reads the whole answer.
pub(super) async fn send(request: RequestBuilder) -> anyhow::Result<Answer> {
    let response = request.send().await?;
    Ok(Answer { status: response.status().as_u16(), text: response.text().await? })
}

/// Sends a request until a server that is coming back has an answer to it.
pub(super) async fn insist(request: RequestBuilder, within: Duration) -> anyhow::Result<Answer> {
    let begun = Instant::now();
    loop {
        let again = request.try_clone().context("a request that cannot be repeated")?;
        match send(again).await {
            Ok(answer) if answer.status != 503 => return Ok(answer),
            outcome if begun.elapsed() > within => {
                return outcome.with_context(|| format!("no answer within {} s", within.as_secs()));
            }
            _ => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

/// Lines as carts and refunds have them.
pub(super) fn cart(lines: &[(Id<Listing>, i64)]) -> Value {
    lines.iter().map(|(id, count)| json!({ "_id": id.hex(), "count": count })).collect()
}

/// A checkout that is paid on delivery.
pub(super) fn in_cash(lines: &[(Id<Listing>, i64)]) -> Value {
    json!({
        "cart": cart(lines),
        "shippingAddress": { "address1": "1 Elm Street", "address2": "", "country": "PK", "city": "PB" },
        "totalPrice": null,
        "paymentInfo": { "type": "Cash on Delivery" },
    })
}
