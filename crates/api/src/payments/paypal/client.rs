//! How PayPal is asked: with a token that all requests share, within limits of time and size, and so
//! that its no is told from its silence.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Context as _;
use reqwest::{Method, StatusCode, header};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use shared::{
    clock::{Clock, Timestamp, plus},
    config::{self, Secret},
};
use tokio::sync::Mutex;

use super::super::GatewayRefusal;

const CONNECT_TIME: Duration = Duration::from_secs(3);
/// For one request with its answer.
const REQUEST_TIME: Duration = Duration::from_secs(10);
/// For all that one question takes, tokens included.
const WHOLE_TIME: Duration = Duration::from_secs(15);
/// No answer is larger; a page of the transactions' list comes to a fraction of it.
const MAX_ANSWER: usize = 4 << 20;
/// A token is not used in its last minute: it must not expire on its way.
const MARGIN: i64 = 60_000;
/// No sentence of PayPal's is longer.
const MAX_WORDS: usize = 300;

/// The connection to PayPal.
pub(super) struct Client {
    http: reqwest::Client,
    clock: Clock,
    id: String,
    secret: Secret,
    base: String,
    token: Mutex<TokenSlot>,
    /// How often a token was asked for.
    tries: AtomicU64,
}

/// The token that everybody uses. No `Debug`: whoever has it may move money.
#[derive(Default)]
struct TokenSlot {
    token: Option<Token>,
    /// Why there is none, if the last try failed.
    failure: Option<String>,
}

struct Token {
    text: Arc<str>,
    /// Not to be used from this moment on.
    until: Timestamp,
}

#[derive(Deserialize)]
struct Granted {
    access_token: String,
    /// In seconds.
    expires_in: i64,
}

/// Why an answer is not what was asked for.
#[derive(Debug)]
pub(super) enum Failure {
    /// PayPal says no.
    Said(Problem),
    /// Nobody answered, or not in a way that settles anything.
    Unreachable(anyhow::Error),
}

/// PayPal's no.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) status: StatusCode,
    /// PayPal's code for it: `ORDER_NOT_APPROVED`.
    pub(super) issue: String,
    /// In PayPal's words.
    pub(super) words: String,
}

impl From<Failure> for GatewayRefusal {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Said(problem) => Self::Refused(problem.words),
            Failure::Unreachable(cause) => Self::Unreachable(cause),
        }
    }
}

/// What PayPal sends with a status that is no success; the token's address has fields of its own.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Complaint {
    name: String,
    message: String,
    error: String,
    error_description: String,
    details: Vec<Detail>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Detail {
    issue: String,
    description: String,
}

impl Problem {
    fn read(status: StatusCode, body: &[u8]) -> Self {
        let complaint: Complaint = serde_json::from_slice(body).unwrap_or_default();
        let detail = complaint.details.into_iter().next().unwrap_or_default();
        let first = |texts: [String; 3]| texts.into_iter().find(|text| !text.is_empty());
        let issue = first([detail.issue, complaint.name, complaint.error]).unwrap_or_default();
        let words = first([detail.description, complaint.message, complaint.error_description])
            .unwrap_or_else(|| "no reason is given".to_owned());
        let words = words.trim().trim_end_matches('.').chars().take(MAX_WORDS).collect::<String>();
        let code = if issue.is_empty() { status.as_str() } else { &issue };
        Self { status, words: format!("{words} ({code})"), issue }
    }
}

impl Client {
    pub(super) fn new(settings: &config::Paypal, clock: Clock) -> anyhow::Result<Self> {
        // What moves money follows nobody's redirections.
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIME)
            .timeout(REQUEST_TIME)
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        Ok(Self {
            http,
            clock,
            id: settings.client_id.clone(),
            secret: settings.client_secret.clone(),
            base: settings.api_base.trim_end_matches('/').to_owned(),
            token: Mutex::default(),
            tries: AtomicU64::new(0),
        })
    }

    /// Where PayPal is.
    pub(super) fn base(&self) -> &str {
        &self.base
    }

    /// Reads what is at a path.
    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.ask(Method::GET, path, None, None).await
    }

    /// The same; none if there is nothing.
    pub(super) async fn find<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>, Failure> {
        match self.get(path).await {
            Ok(found) => Ok(Some(found)),
            Err(Failure::Said(no)) if no.status == StatusCode::NOT_FOUND || is_no_id(&no.issue) => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// Has something done. Under the same key it is done once.
    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        key: Option<&str>,
    ) -> Result<T, Failure> {
        let body = serde_json::to_vec(body).map_err(|error| Failure::Unreachable(error.into()))?;
        self.ask(Method::POST, path, Some(body), key).await
    }

    /// One question, asked again once with a new token if PayPal takes the old one no longer.
    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
        key: Option<&str>,
    ) -> Result<T, Failure> {
        let asking = async {
            let token = self.token(None).await?;
            let (mut status, mut answer) = self.send(&method, path, body.as_deref(), key, &token).await?;
            if status == StatusCode::UNAUTHORIZED {
                let token = self.token(Some(&token)).await?;
                (status, answer) = self.send(&method, path, body.as_deref(), key, &token).await?;
            }
            read(status, &answer)
        };
        let late = || Failure::Unreachable(anyhow::anyhow!("it took longer than {} s", WHOLE_TIME.as_secs()));
        let asked = tokio::time::timeout(WHOLE_TIME, asking).await.unwrap_or_else(|_| Err(late()));
        asked.map_err(|failure| match failure {
            Failure::Unreachable(cause) => {
                let path = path.split('?').next().unwrap_or_default();
                Failure::Unreachable(cause.context(format!("asking PayPal for {method} {path}")))
            }
            said => said,
        })
    }

    async fn send(
        &self,
        method: &Method,
        path: &str,
        body: Option<&[u8]>,
        key: Option<&str>,
        token: &str,
    ) -> Result<(StatusCode, Vec<u8>), Failure> {
        let mut request =
            self.http.request(method.clone(), format!("{}{path}", self.base)).bearer_auth(token);
        if let Some(body) = body {
            request = request
                .header(header::CONTENT_TYPE, "application/json")
                // The whole of what it made, not only the id.
                .header("Prefer", "return=representation")
                .body(body.to_vec());
        }
        if let Some(key) = key {
            request = request.header("PayPal-Request-Id", key);
        }
        answer(request).await.map_err(Failure::Unreachable)
    }

    /// The token that everybody uses. Of many who need one, one asks for it and the others wait; if that
    /// fails, they all know. `stale` is the token that PayPal has just refused.
    async fn token(&self, stale: Option<&str>) -> Result<Arc<str>, Failure> {
        let seen = self.tries.load(Ordering::Acquire);
        let mut slot = self.token.lock().await;
        if let Some(token) = &slot.token
            && token.until > self.clock.now()
            && stale != Some(&*token.text)
        {
            return Ok(Arc::clone(&token.text));
        }
        if let Some(failure) = &slot.failure
            && self.tries.load(Ordering::Acquire) != seen
        {
            return Err(Failure::Unreachable(anyhow::anyhow!("{failure}")));
        }
        let granted = self.fetch_token().await;
        self.tries.fetch_add(1, Ordering::Release);
        match granted {
            Ok(token) => {
                let text = Arc::clone(&token.text);
                *slot = TokenSlot { token: Some(token), failure: None };
                Ok(text)
            }
            Err(cause) => {
                *slot = TokenSlot { token: None, failure: Some(format!("{cause:#}")) };
                Err(Failure::Unreachable(cause))
            }
        }
    }

    async fn fetch_token(&self) -> anyhow::Result<Token> {
        let asked_at = self.clock.now();
        let request = self
            .http
            .post(format!("{}/v1/oauth2/token", self.base))
            .basic_auth(&self.id, Some(self.secret.expose()))
            .form(&[("grant_type", "client_credentials")]);
        let asking = "asking PayPal for a token";
        let (status, body) = answer(request).await.context(asking)?;
        if matches!(status.as_u16(), 400 | 401 | 403) {
            let words = Problem::read(status, &body).words;
            anyhow::bail!("PayPal refuses PAYPAL_CLIENT_ID with PAYPAL_CLIENT_SECRET: {words}");
        }
        let granted: Granted = match read(status, &body) {
            Ok(granted) => granted,
            Err(Failure::Unreachable(cause)) => return Err(cause.context(asking)),
            Err(Failure::Said(problem)) => anyhow::bail!("{asking}: {}", problem.words),
        };
        let life = granted.expires_in.clamp(0, 86_400) * 1000;
        let until = plus(asked_at, life - MARGIN.min(life / 2));
        Ok(Token { text: granted.access_token.into(), until })
    }
}

/// PayPal's ways to say that something is none of its ids, where it does not say 404.
fn is_no_id(issue: &str) -> bool {
    matches!(
        issue,
        "INVALID_RESOURCE_ID" | "RESOURCE_NOT_FOUND" | "INVALID_PARAMETER_SYNTAX" | "INVALID_STRING_LENGTH"
    )
}

/// An answer's status and its body, which is not read for ever.
async fn answer(request: reqwest::RequestBuilder) -> anyhow::Result<(StatusCode, Vec<u8>)> {
    let mut response = request.send().await.map_err(reqwest::Error::without_url)?;
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(reqwest::Error::without_url)? {
        anyhow::ensure!(body.len() + chunk.len() <= MAX_ANSWER, "the answer is too long");
        body.extend_from_slice(&chunk);
    }
    Ok((response.status(), body))
}

fn read<T: DeserializeOwned>(status: StatusCode, body: &[u8]) -> Result<T, Failure> {
    if status.is_success() {
        let read = serde_json::from_slice(body).context("the answer cannot be read");
        return read.map_err(Failure::Unreachable);
    }
    let problem = Problem::read(status, body);
    let again = match status {
        StatusCode::UNAUTHORIZED => Some("even a new token of PAYPAL_CLIENT_ID's is refused: "),
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => Some(""),
        // The same request is being carried out at this moment.
        StatusCode::CONFLICT => Some(""),
        status if status.is_client_error() => None,
        _ => Some(""),
    };
    Err(match again {
        Some(why) => Failure::Unreachable(anyhow::anyhow!("{status}: {why}{}", problem.words)),
        None => Failure::Said(problem),
    })
}
