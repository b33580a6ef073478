//! Carries a signed body to an address, and tells how it was received.

use std::{
    error::Error as StdError,
    sync::Arc,
    time::{Duration, Instant},
};

use reqwest::{Client, Response, Url, redirect::Policy};
use shared::{
    clock::Timestamp,
    config::Config,
    model::{WebhookDelivery, WebhookEndpoint, WebhookTry},
};
use tokio::sync::Notify;

use super::{
    guard::{self, Guarded, Names, NotAllowed, Reach, Scheme, System},
    lanes::Lanes,
    rules,
};

/// So long a receiver may take, from the look-up of its name to the last byte that is read of its answer.
pub(super) const TIME: Duration = Duration::from_secs(10);
/// And for a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// A receiver that takes longer is slow.
const SLOW: Duration = Duration::from_secs(2);
/// Of an answer no more bytes are read.
const ANSWER_BYTES: usize = 1_024;
/// And no more characters are kept.
const ANSWER_KEPT: usize = 500;
/// Of an error.
const ERROR_KEPT: usize = 200;

/// How webhooks leave this node.
pub struct Webhooks {
    http: Line,
    https: Line,
    reach: Reach,
    pub(super) lanes: Lanes,
    pub(super) wake: Notify,
}

/// Connections over one scheme.
struct Line {
    client: Client,
    guarded: Guarded,
}

impl Line {
    fn over(scheme: Scheme, reach: Reach, names: &Arc<dyn Names>) -> anyhow::Result<Self> {
        let guarded = Guarded { names: Arc::clone(names), reach, scheme };
        let client = Client::builder()
            // A proxy would look the name up itself, and reach what it reaches.
            .no_proxy()
            .redirect(Policy::none())
            .referer(false)
            .dns_resolver(Arc::new(guarded.clone()))
            .connect_timeout(CONNECT)
            .timeout(TIME)
            // An idle connection may end just when it is used again, and nobody would know whether that arrived.
            .pool_max_idle_per_host(0)
            .user_agent(concat!("Souk-Webhooks/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self { client, guarded })
    }
}

/// How a try went, and whether the receiver is slow.
pub(super) struct Outcome {
    pub(super) tried: WebhookTry,
    pub(super) slow: bool,
}

impl Outcome {
    /// Whether the receiver has confirmed it.
    pub(super) const fn is_success(&self) -> bool {
        self.tried.error.is_none()
    }
}

impl Webhooks {
    /// As the settings allow.
    pub(crate) fn new(config: &Config) -> anyhow::Result<Self> {
        Self::looking_up(Reach::of(config), Arc::new(System))
    }

    fn looking_up(reach: Reach, names: Arc<dyn Names>) -> anyhow::Result<Self> {
        Ok(Self {
            http: Line::over(Scheme::Http, reach, &names)?,
            https: Line::over(Scheme::Https, reach, &names)?,
            reach,
            lanes: Lanes::default(),
            wake: Notify::new(),
        })
    }

    const fn line(&self, scheme: Scheme) -> &Line {
        match scheme {
            Scheme::Http => &self.http,
            Scheme::Https => &self.https,
        }
    }

    /// Reads and judges an address that somebody wants to be called at; gives it as it is stored. A name that has no
    /// address yet may get one: it is judged again whenever something is sent.
    pub(super) async fn judge(&self, text: &str) -> Result<String, &'static str> {
        let (url, scheme) = guard::parse(text, self.reach)?;
        if guard::literal(&url).is_none() {
            let found = self.line(scheme).guarded.look_up(url.host_str().unwrap_or_default()).await;
            if found.is_err_and(|cause| cause.is::<NotAllowed>()) {
                return Err("must not lead to a private address, or to one that is not for everybody");
            }
        }
        Ok(url.into())
    }

    /// One try.
    pub(super) async fn carry(
        &self,
        endpoint: &WebhookEndpoint,
        delivery: &WebhookDelivery,
        now: Timestamp,
    ) -> Outcome {
        let begun = Instant::now();
        let (status, answer, error) = match guard::parse(&endpoint.url, self.reach) {
            Ok((url, scheme)) => self.post(url, scheme, endpoint, delivery, now).await,
            // The settings were others when it was made.
            Err(_) => (None, None, Some(NotAllowed.to_string())),
        };
        let took = begun.elapsed();
        let millis = i64::try_from(took.as_millis()).unwrap_or(i64::MAX);
        Outcome { tried: WebhookTry { at: now, status, millis, answer, error }, slow: took > SLOW }
    }

    async fn post(
        &self,
        url: Url,
        scheme: Scheme,
        endpoint: &WebhookEndpoint,
        delivery: &WebhookDelivery,
        now: Timestamp,
    ) -> (Option<i32>, Option<String>, Option<String>) {
        let request = self
            .line(scheme)
            .client
            .post(url)
            .header("content-type", "application/json")
            .header("souk-event-id", &delivery.event)
            .header("souk-event-type", &delivery.kind)
            .header("souk-delivery-id", delivery.id.hex())
            .header("souk-attempt", delivery.attempts)
            .header("souk-signature", rules::sign(&delivery.body, &rules::secrets(endpoint, now), now))
            .body(delivery.body.clone());
        let response = match request.send().await {
            Ok(response) => response,
            Err(cause) => return (None, None, Some(in_words(&cause))),
        };
        let status = response.status();
        let error = match status.as_u16() {
            200..=299 => None,
            300..=399 => Some(format!("answered {}, and redirections are not followed", status.as_u16())),
            _ => Some(format!("answered {}", status.as_u16())),
        };
        (Some(i32::from(status.as_u16())), first_of(response).await, error)
    }
}

/// The first bytes of an answer, as text fit to be shown.
async fn first_of(mut response: Response) -> Option<String> {
    let mut read = Vec::new();
    // What cannot be read changes nothing about the status.
    while let Ok(Some(chunk)) = response.chunk().await {
        let room = ANSWER_BYTES.saturating_sub(read.len());
        read.extend(chunk.iter().take(room));
        if read.len() >= ANSWER_BYTES {
            break;
        }
    }
    let text = fit(&String::from_utf8_lossy(&read), ANSWER_KEPT);
    (!text.trim().is_empty()).then_some(text)
}

fn fit(text: &str, longest: usize) -> String {
    text.chars().take(longest).map(|c| if c.is_control() && c != '\n' { ' ' } else { c }).collect()
}

/// Why there was no answer: what lies at the bottom of it.
fn in_words(cause: &reqwest::Error) -> String {
    if cause.is_timeout() {
        return format!("no answer within {} s", TIME.as_secs());
    }
    let mut bottom: &dyn StdError = cause;
    while let Some(below) = bottom.source() {
        bottom = below;
    }
    fit(&bottom.to_string(), ERROR_KEPT)
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        net::IpAddr,
        pin::Pin,
        sync::Mutex,
        sync::atomic::{AtomicUsize, Ordering},
    };

    use shared::{id::Id, model::DeliveryState};
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;

    /// Gives one answer after the other, and the last for ever.
    struct Changing(Mutex<Vec<Vec<IpAddr>>>, AtomicUsize);

    impl Changing {
        fn new(answers: &[&[&str]]) -> Arc<Self> {
            let addresses = |all: &&[&str]| all.iter().map(|text| text.parse().unwrap()).collect();
            Arc::new(Self(Mutex::new(answers.iter().map(addresses).collect()), AtomicUsize::new(0)))
        }
        fn asked(&self) -> usize {
            self.1.load(Ordering::SeqCst)
        }
    }

    impl Names for Changing {
        fn addresses(&self, _: &str) -> Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>> {
            self.1.fetch_add(1, Ordering::SeqCst);
            let mut answers = self.0.lock().unwrap();
            let answer = if answers.len() > 1 { answers.remove(0) } else { answers[0].clone() };
            Box::pin(async move { Ok(answer) })
        }
    }

    fn webhooks(reach: Reach, names: &Arc<Changing>) -> Webhooks {
        rustls::crypto::ring::default_provider().install_default().ok();
        let names: Arc<dyn Names> = Arc::<Changing>::clone(names);
        Webhooks::looking_up(reach, names).unwrap()
    }

    fn endpoint(url: String) -> WebhookEndpoint {
        let now = Timestamp::from_millis(1_700_000_000_000);
        WebhookEndpoint {
            id: Id::new(),
            shop: None,
            made_by: None,
            url,
            events: Vec::new(),
            description: String::new(),
            secret: "whsec_test".to_owned(),
            former: None,
            paused: false,
            disabled_at: None,
            failing_since: None,
            created_at: now,
            updated_at: now,
        }
    }

    async fn carry(webhooks: &Webhooks, url: String) -> Outcome {
        let endpoint = endpoint(url);
        let now = endpoint.created_at;
        let delivery = WebhookDelivery {
            id: Id::new(),
            endpoint: endpoint.id,
            event: "evt_1".to_owned(),
            kind: rules::TEST.to_owned(),
            body: "{}".to_owned(),
            state: DeliveryState::Waiting,
            due_at: now,
            attempts: 1,
            last: None,
            created_at: now,
            delivered_at: None,
            expires_at: now,
        };
        webhooks.carry(&endpoint, &delivery, now).await
    }

    /// Answers everybody in the same words, and counts them.
    async fn receiver(at: &str, answer: &'static str) -> (u16, Arc<AtomicUsize>) {
        let listener = TcpListener::bind(at).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let count = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&count);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(async move {
                    _ = stream.read(&mut [0; 4096]).await;
                    _ = stream.write_all(answer.as_bytes()).await;
                });
            }
        });
        (port, count)
    }

    const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\nconnection: close\r\n\r\nthanks";

    #[tokio::test]
    async fn a_name_that_means_something_else_when_it_is_sent_to_is_of_no_use() {
        let (port, count) = receiver("127.0.0.1:0", OK).await;
        // Public when it is judged, and this machine afterwards; so in production.
        let names = Changing::new(&[&["93.184.216.34"], &["127.0.0.1"]]);
        let webhooks = webhooks(Reach::Public, &names);
        let url = webhooks.judge(&format!("https://rebinding.example:{port}/")).await.unwrap();
        let outcome = carry(&webhooks, url).await;
        assert_eq!(
            outcome.tried.error.as_deref(),
            Some("the address is not one that webhooks may be sent to")
        );
        assert_eq!(outcome.tried.status, None);
        assert_eq!(count.load(Ordering::SeqCst), 0);
        assert_eq!(names.asked(), 2);
    }

    #[tokio::test]
    async fn the_connection_goes_to_the_address_that_was_judged() {
        let (port, good) = receiver("127.0.0.1:0", OK).await;
        let (_, other) = receiver(&format!("127.0.0.2:{port}"), OK).await;
        let names = Changing::new(&[&["127.0.0.1"], &["127.0.0.2"]]);
        let webhooks = webhooks(Reach::Loopback, &names);
        let outcome = carry(&webhooks, format!("http://hooks.example:{port}/")).await;
        assert_eq!((outcome.tried.status, outcome.tried.answer.as_deref()), (Some(200), Some("thanks")));
        assert_eq!(names.asked(), 1, "the name was looked up again between judgement and connection");
        assert_eq!((good.load(Ordering::SeqCst), other.load(Ordering::SeqCst)), (1, 0));
    }

    #[tokio::test]
    async fn one_private_address_among_public_ones_spoils_the_name() {
        let names = Changing::new(&[&["93.184.216.34", "10.0.0.1"]]);
        for reach in [Reach::Public, Reach::Loopback] {
            assert!(webhooks(reach, &names).judge("https://mixed.example/").await.is_err());
        }
        assert!(webhooks(Reach::Everywhere, &names).judge("https://mixed.example/").await.is_ok());
        // In development this machine may be called over http, and nobody else.
        let here = Changing::new(&[&["127.0.0.1"]]);
        assert!(webhooks(Reach::Loopback, &here).judge("http://localhost:8000/").await.is_ok());
        assert!(webhooks(Reach::Public, &here).judge("https://localhost:8000/").await.is_err());
        let public = Changing::new(&[&["93.184.216.34"]]);
        assert!(webhooks(Reach::Loopback, &public).judge("http://example.com/").await.is_err());
        assert!(webhooks(Reach::Loopback, &public).judge("https://example.com/").await.is_ok());
    }

    #[tokio::test]
    async fn redirections_are_not_followed_and_long_answers_not_read() {
        const AWAY: &str =
            "HTTP/1.1 307 Temporary Redirect\r\nlocation: http://127.0.0.2:1/\r\ncontent-length: 0\r\n\r\n";
        const ENDLESS: &str = "HTTP/1.1 500 No\r\ntransfer-encoding: chunked\r\n\r\n600\r\n";
        let names = Changing::new(&[&["127.0.0.1"]]);
        let webhooks = webhooks(Reach::Loopback, &names);
        let (port, count) = receiver("127.0.0.1:0", AWAY).await;
        let outcome = carry(&webhooks, format!("http://127.0.0.1:{port}/")).await;
        assert_eq!(outcome.tried.status, Some(307));
        assert!(!outcome.is_success());
        assert_eq!(count.load(Ordering::SeqCst), 1);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            _ = stream.read(&mut [0; 4096]).await;
            stream.write_all(ENDLESS.as_bytes()).await.unwrap();
            while stream.write_all(&[b'x'; 0x600]).await.is_ok() {}
        });
        let outcome = carry(&webhooks, format!("http://127.0.0.1:{port}/")).await;
        assert_eq!(outcome.tried.status, Some(500));
        assert_eq!(outcome.tried.answer.unwrap(), "x".repeat(ANSWER_KEPT));
    }
}
