//! Every setting, read once at start. Nothing else reads the environment.
//!
//! The old server's names work, misspellings included; where a name has a well-spelt alias, the
//! alias wins. A value that does not parse is an error that names the setting, what it got and what
//! it wants.

mod check;
mod rates;
mod read;
#[cfg(test)]
mod tests;

use std::{
    fmt,
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

pub use self::rates::{Rate, Rates};
use self::read::Reader;
pub use self::read::parse_duration;
use crate::money::{Money, Percent};

/// Each setting with its aliases first, then its legacy name; for `.env.example` and its test.
pub const NAMES: &[&str] = &[
    "APP_ENV",
    "NODE_ENV",
    "BIND",
    "PORT",
    "CHAT_PORT",
    "DB_URL",
    "MONGODB_URI",
    "MONGOD",
    "SOUK_HOME",
    "JWT_SECRET_KEY",
    "JWT_EXPIRES",
    "ACTIVATION_SECRET",
    "ACTIVATION_TTL",
    "AUTH_MODE",
    "CLIENT_URL",
    "FRONTEND_URL",
    "frontened_URL",
    "PUBLIC_URL",
    "SPA_DIR",
    "COOKIE_DOMAIN",
    "COOKIE_SAMESITE",
    "TRUSTED_PROXIES",
    "UPLOAD_DIR",
    "MAIL_OUTBOX_DIR",
    "SMTP_HOST",
    "SMPT_HOST",
    "SMTP_PORT",
    "SMPT_PORT",
    "SMTP_USER",
    "SMPT_MAIL",
    "SMTP_PASSWORD",
    "SMPT_PASSWORD",
    "STRIPE_SECRET_KEY",
    "STRIPE_PUBLISHABLE_KEY",
    "STRIPE_APi_KEY",
    "STRIPE_WEBHOOK_SECRET",
    "STRIPE_API_BASE",
    "PAYPAL_CLIENT_ID",
    "PAYPAL_CLIENT_SECRET",
    "PAYPAL_WEBHOOK_ID",
    "PAYPAL_API_BASE",
    "CLOUDINARY_NAME",
    "CLOUDINARY_API_KEY",
    "CLOUDINARY_API_SECRET",
    "CLOUDINARY_API_BASE",
    "BCRYPT_COST",
    "CURRENCY",
    "SHIPPING_PERCENT",
    "SERVICE_FEE_PERCENT",
    "MIN_WITHDRAWAL",
    "LOW_STOCK",
    "WITHDRAWAL_FOUR_EYES",
    "SHOP_APPROVAL",
    "DUPLICATE_ORDER_WINDOW",
    "RESERVATION_TTL",
    "PAYMENT_VERIFY_TTL",
    "UNUSED_PAYMENT_TTL",
    "PRESENCE_BROADCAST_LIMIT",
    "REPLAY_WINDOW",
    "CHAT_CONNECTIONS_MAX",
    "CHAT_CONNECTIONS_PER_ADDRESS",
    "CHAT_DRAIN",
    "REQUESTS_MAX",
    "CATALOGUE_MEMORY",
    "CATALOGUE_LIST_MEMORY",
    "CONNECTIONS_MAX",
    "CONNECTIONS_PER_ADDRESS",
    "SHUTDOWN_LEAD",
    "SHUTDOWN_GRACE",
    "RATE_LIMITS",
    "RATE_LIMIT_LOGIN",
    "RATE_LIMIT_LOGIN_ADDRESS",
    "RATE_LIMIT_LOGIN_ACCOUNT",
    "RATE_LIMIT_SIGNUP",
    "RATE_LIMIT_ACTIVATION",
    "RATE_LIMIT_RESET",
    "RATE_LIMIT_MAIL",
    "RATE_LIMIT_PASSWORD",
    "RATE_LIMIT_COUPON",
    "RATE_LIMIT_CHECKOUT",
    "RATE_LIMIT_PAYMENT",
    "RATE_LIMIT_UPLOAD",
    "RATE_LIMIT_MESSAGE",
    "RATE_LIMIT_WEBHOOK",
    "RATE_LIMIT_HOOKS",
    "WEBHOOK_ALLOW_PRIVATE",
    "AUDIT_LOG_TTL",
    "REALTIME_ADAPTER",
    "REDIS_URL",
    "ADMIN_EMAIL",
    "ADMIN_PASSWORD",
    "DEMO",
    "METRICS_PORT",
    "METRICS_BIND",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_SERVICE_NAME",
    "OTEL_TRACES_SAMPLER_ARG",
    "LOG_FORMAT",
    "RUST_LOG",
];

/// A value that must not reach a log.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps it.
    pub const fn new(value: String) -> Self {
        Self(value)
    }
    /// The value itself, for the one who needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// An address as it may be shown. Whatever an `@` separates from the host is a name and a password.
pub fn without_password(uri: &str) -> String {
    let Some((scheme, rest)) = uri.split_once("://") else { return uri.to_owned() };
    let authority = rest.find(['/', '?']).map_or(rest, |end| rest.split_at(end).0);
    // A password with a slash of its own makes no good address, and is shown as little.
    match authority.rfind('@').or_else(|| rest.rfind('@')).and_then(|at| rest.get(at..)) {
        Some(rest) => format!("{scheme}://…{rest}"),
        None => uri.to_owned(),
    }
}

/// Where Souk runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppEnv {
    /// On somebody's machine: embedded defaults are fine.
    Development,
    /// For real: missing secrets and stand-ins are errors.
    Production,
}

/// What becomes of calls without a credential on the routes where the client sends none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthMode {
    /// Refused.
    Strict,
    /// Accepted from this machine only, in development only.
    Auto,
    /// Accepted from anywhere: for a closed network.
    Compat,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Who collects traces.
#[derive(Clone, Debug)]
pub struct Traces {
    /// The collector's address, to which `/v1/traces` is added.
    pub endpoint: String,
    /// What this process is called there.
    pub service: String,
    /// Of so many of all requests that nobody has decided about before; 1 means all.
    pub share: f64,
}

/// `SameSite` of the session cookies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SameSite {
    /// The default.
    Lax,
    /// Never sent from another site.
    Strict,
    /// Always sent; needs `Secure`.
    None,
}

/// How nodes of the chat server tell one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RealtimeAdapter {
    /// One node only.
    Local,
    /// Through the database.
    Mongodb,
    /// Through Redis.
    Redis,
}

/// The mail server.
#[derive(Clone, Debug)]
pub struct Smtp {
    /// Host name.
    pub host: String,
    /// 465 means TLS from the first byte, anything else STARTTLS where the server offers it.
    pub port: u16,
    /// Log-in and sender address.
    pub user: Option<String>,
    /// Its password.
    pub password: Option<Secret>,
}

/// The media host.
#[derive(Clone, Debug)]
pub struct Cloudinary {
    /// Cloud name.
    pub cloud: String,
    /// Public key.
    pub key: String,
    /// Signs requests.
    pub secret: Secret,
    /// `https://api.cloudinary.com` unless a stand-in is used.
    pub api_base: String,
}

/// Card payments.
#[derive(Clone, Debug)]
pub struct Stripe {
    /// Server-side key.
    pub secret_key: Secret,
    /// Checks webhooks.
    pub webhook_secret: Option<Secret>,
    /// `https://api.stripe.com` unless a stand-in is used.
    pub api_base: String,
}

/// PayPal payments.
#[derive(Clone, Debug)]
pub struct Paypal {
    /// Public id.
    pub client_id: String,
    /// Its secret.
    pub client_secret: Secret,
    /// Names the webhook when a signature is checked.
    pub webhook_id: Option<String>,
    /// `https://api-m.paypal.com` unless a stand-in is used.
    pub api_base: String,
}

/// What a payment gateway may cost at most.
#[derive(Clone, Copy, Debug)]
pub struct GatewayLimits {
    /// So long a call may take that asks, or begins a payment.
    pub answer: Duration,
    /// So long one may take that moves money. Shorter than a shutdown's patience.
    pub act: Duration,
    /// So long one may take that lists.
    pub list: Duration,
    /// So many calls may be in progress.
    pub calls: usize,
    /// And so many checks of webhooks.
    pub webhooks: usize,
    /// After so many calls in a row without an answer it is not asked for a while.
    pub failures: u32,
    /// That long.
    pub pause: Duration,
}

impl GatewayLimits {
    /// Those that count outside tests.
    pub const USUAL: Self = Self {
        answer: Duration::from_secs(12),
        act: Duration::from_secs(16),
        list: Duration::from_secs(120),
        calls: 32,
        webhooks: 8,
        failures: 5,
        pause: Duration::from_secs(10),
    };
}

/// What requests may cost at most.
#[derive(Clone, Copy, Debug)]
pub struct RequestLimits {
    /// So many are at work at a time.
    pub at_work: usize,
    /// So long anybody waits for an answer once the request has come whole. Not a setting: tests shorten it.
    pub answer: Duration,
}

/// What connections to the API may cost at most.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionLimits {
    /// So many are open.
    pub most: usize,
    /// So many of them from one address.
    pub most_of_one: usize,
    /// So long the head of a request may take. Not a setting, nor are the next two: tests shorten them.
    pub head: Duration,
    /// So long nothing may come between two requests: longer than proxies keep a connection that they do not use.
    pub idle: Duration,
    /// So long, on the whole, whoever sends a body or takes an answer may keep us waiting. Every byte earns some of it
    /// back.
    pub patience: Duration,
}

/// What the catalogue may take of this process' memory, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct CatalogueLimits {
    /// For what is shown of products and events. What does not fit is read from the database each time.
    pub memory: usize,
    /// For whole lists, ready to be sent. Longer ones are put together while they are sent.
    pub lists: usize,
}

/// What happens when the API is told to stop.
#[derive(Clone, Copy, Debug)]
pub struct Shutdown {
    /// So long it only says that it is not ready any more.
    pub lead: Duration,
    /// So long what is in progress may take then.
    pub grace: Duration,
}

/// All settings.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where Souk runs.
    pub env: AppEnv,
    /// Address to listen on.
    pub bind: IpAddr,
    /// Port of the API.
    pub port: u16,
    /// Port of the chat server.
    pub chat_port: u16,
    /// MongoDB, perhaps with a password in its address; none means the embedded one.
    pub database_uri: Option<Secret>,
    /// A `mongod` to use for the embedded database.
    pub mongod: Option<PathBuf>,
    /// Where the embedded defaults keep their data.
    pub home: PathBuf,
    /// Signs sessions. Empty means: none given, use [`Config::fill_secrets`].
    pub jwt_secret: Secret,
    /// Life time of a session.
    pub session_ttl: Duration,
    /// Life time of activation and reset links.
    pub activation_ttl: Duration,
    /// See [`AuthMode`].
    pub auth_mode: AuthMode,
    /// Origins the client is served from.
    pub client_origins: Vec<String>,
    /// Base of links in mails, without a trailing slash.
    pub frontend_url: String,
    /// Base of this API as clients see it, without a trailing slash.
    pub public_url: String,
    /// The built client, to be served from the API's own origin.
    pub spa_dir: Option<PathBuf>,
    /// Domain of the cookies; none means this host only.
    pub cookie_domain: Option<String>,
    /// `SameSite` of the session cookies.
    pub cookie_same_site: SameSite,
    /// Proxies whose forwarding headers are believed: addresses or `address/bits`.
    pub trusted_proxies: Vec<Network>,
    /// Local media.
    pub upload_dir: PathBuf,
    /// Local mail.
    pub mail_outbox_dir: PathBuf,
    /// Real mail.
    pub smtp: Option<Smtp>,
    /// Real media.
    pub cloudinary: Option<Cloudinary>,
    /// Real card payments.
    pub stripe: Option<Stripe>,
    /// What the client gets as `stripeApiKey`; never empty.
    pub stripe_publishable_key: String,
    /// Real PayPal payments.
    pub paypal: Option<Paypal>,
    /// bcrypt's cost.
    pub bcrypt_cost: u32,
    /// ISO code of the one currency, upper case.
    pub currency: String,
    /// Shipping, of each shop's lines.
    pub shipping: Percent,
    /// The marketplace's share of each order.
    pub service_fee: Percent,
    /// The smallest withdrawal.
    pub min_withdrawal: Money,
    /// A shop is told when no more than so many of a listing are left.
    pub low_stock: i64,
    /// A withdrawal of so much takes two administrators; zero leaves it to one.
    pub withdrawal_four_eyes: Money,
    /// New shops sell nothing before an administrator has approved them.
    pub shop_approval: bool,
    /// Within this time an identical checkout is the same checkout.
    pub duplicate_order_window: Duration,
    /// How long units wait for an online payment that nobody has confirmed; zero means for ever.
    pub reservation_ttl: Duration,
    /// A payer's claim that nobody has confirmed for so long is an administrator's to look at.
    pub payment_verify_ttl: Duration,
    /// Money for which nobody has placed an order within this time goes back; zero keeps it.
    pub unused_payment_ttl: Duration,
    /// Above so many people online, presence goes to contacts only.
    pub presence_broadcast_limit: usize,
    /// Who drops out of the chat and comes back within this time gets what was said meanwhile.
    pub replay_window: Duration,
    /// So many chat connections are open at most.
    pub chat_connections_max: usize,
    /// So many of them from one address.
    pub chat_connections_per_address: usize,
    /// Over this time the chat connections are given up when the server stops.
    pub chat_drain: Duration,
    /// What connections to the API may cost.
    pub connection_limits: ConnectionLimits,
    /// What happens at a stop.
    pub shutdown: Shutdown,
    /// What requests may cost.
    pub request_limits: RequestLimits,
    /// What the catalogue may take of the memory.
    pub catalogue: CatalogueLimits,
    /// Off for benchmarks.
    pub rate_limits: bool,
    /// See [`Rates`].
    pub rates: Rates,
    /// Webhooks may be sent to private addresses: for tests and closed networks.
    pub webhook_allow_private: bool,
    /// How long the audit log is kept.
    pub audit_log_ttl: Duration,
    /// See [`RealtimeAdapter`].
    pub realtime_adapter: RealtimeAdapter,
    /// Redis, if that is the adapter.
    pub redis_url: Option<Secret>,
    /// A chat node that the others do not hear for so long is dead. Not a setting: with less than three
    /// heartbeats in it people would flicker, with more they would be shown for longer than a dead
    /// socket's. Tests shorten it.
    pub node_silence: Duration,
    /// What a payment gateway may cost. Not a setting: whoever waits for longer has left. Tests shorten it.
    pub gateway_limits: GatewayLimits,
    /// The first administrator: e-mail address, and the password of an account that has to be made.
    pub admin: Option<(String, Secret)>,
    /// Demo data in an empty embedded database.
    pub demo: bool,
    /// Port of the measurements; 0 means none of their own.
    pub metrics_port: u16,
    /// Address of that port.
    pub metrics_bind: IpAddr,
    /// Where traces go, if anywhere.
    pub traces: Option<Traces>,
    /// How log lines look.
    pub log_format: LogFormat,
    /// Which log lines are written.
    pub log_filter: String,
}

/// A setting that cannot be used, in one sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name}: got {got}, want {want}")]
pub struct BadSetting {
    name: &'static str,
    got: String,
    want: String,
}

/// All settings that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct BadConfig(pub Vec<BadSetting>);

impl fmt::Display for BadConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the settings cannot be used:")?;
        self.0.iter().try_for_each(|bad| write!(f, "\n  {bad}"))
    }
}

impl Config {
    /// Reads `.env` from the working directory, then the environment (which wins).
    #[expect(clippy::disallowed_methods, reason = "this is the one door to the environment")]
    pub fn from_env() -> anyhow::Result<Self> {
        Self::load_file()?;
        Ok(Self::read(|name| std::env::var(name).ok())?)
    }

    /// The same for whoever names an administrator on the command line, as if `ADMIN_EMAIL` did. The password is
    /// `ADMIN_PASSWORD`, unless that is another administrator's, or what they type.
    #[expect(clippy::disallowed_methods, reason = "this is the one door to the environment")]
    pub fn from_env_for_admin(
        email: &str,
        ask: impl FnOnce() -> anyhow::Result<String>,
    ) -> anyhow::Result<Self> {
        Self::load_file()?;
        let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let is_theirs = set("ADMIN_EMAIL").is_none_or(|other| other.eq_ignore_ascii_case(email));
        let password = match set("ADMIN_PASSWORD").filter(|_| is_theirs) {
            Some(password) => password,
            None => ask()?,
        };
        Ok(Self::read(|name| match name {
            "ADMIN_EMAIL" => Some(email.to_owned()),
            "ADMIN_PASSWORD" => Some(password.clone()),
            other => std::env::var(other).ok(),
        })?)
    }

    fn load_file() -> anyhow::Result<()> {
        // Not `dotenv()`, which would also take one from a directory further up.
        match dotenvy::from_path(".env") {
            Ok(_) => {}
            Err(error) if error.not_found() => {}
            Err(error) => anyhow::bail!(".env cannot be read: {error}"),
        }
        Ok(())
    }

    /// Where this user's programs keep what they can fetch again, if there is a home directory.
    pub fn user_cache_dir() -> Option<PathBuf> {
        std::env::var_os("XDG_CACHE_HOME")
            .map(PathBuf::from)
            // The specification says to ignore relative ones.
            .filter(|named| named.is_absolute())
            .or_else(|| std::env::home_dir().map(|home| home.join(".cache")))
    }

    /// Where a service manager wants to be told how the process stands. No setting: whoever starts it says so.
    pub fn notify_socket() -> Option<String> {
        std::env::var_os("NOTIFY_SOCKET")?.into_string().ok().filter(|path| !path.is_empty())
    }

    /// Reads settings from any source. An empty value counts as absent.
    pub fn read(source: impl Fn(&str) -> Option<String>) -> Result<Self, BadConfig> {
        let mut read = Reader { source, bad: Vec::new() };
        let config = read::assemble(&mut read);
        check::check(&config, &mut read.bad);
        if read.bad.is_empty() { Ok(config) } else { Err(BadConfig(read.bad)) }
    }

    /// Whether this is production.
    pub fn is_production(&self) -> bool {
        self.env == AppEnv::Production
    }

    /// In development, a missing secret is made once and kept in the home directory, so that a
    /// restart logs nobody out and the API and the chat server agree.
    pub fn fill_secrets(&mut self) -> anyhow::Result<()> {
        if self.jwt_secret.expose().is_empty() {
            self.jwt_secret = Secret::new(kept_secret(&self.home.join("jwt_secret"))?);
        }
        Ok(())
    }
}

fn kept_secret(path: &Path) -> anyhow::Result<String> {
    use std::{
        io::{ErrorKind, Write as _},
        os::unix::fs::OpenOptionsExt as _,
    };
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    // Written aside and linked into place: of two processes that start together one wins, and both
    // read the same secret.
    let fresh = path.with_extension(format!("{}.new", std::process::id()));
    if !path.exists() {
        let mut file =
            std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
        file.write_all(crate::auth::one_time_token()?.as_bytes())?;
        file.sync_all()?;
        let linked = std::fs::hard_link(&fresh, path);
        std::fs::remove_file(&fresh)?;
        match linked {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error.into()),
            _ => {}
        }
    }
    Ok(std::fs::read_to_string(path)?.trim().to_owned())
}

/// An address with a prefix length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u32,
}

impl Network {
    /// Whether an address lies in it. IPv4 addresses written as IPv6 count as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(net), IpAddr::V4(ip)) => {
                let shift = 32u32.saturating_sub(self.bits);
                net.to_bits().checked_shr(shift) == ip.to_bits().checked_shr(shift)
            }
            (IpAddr::V6(net), IpAddr::V6(ip)) => {
                let shift = 128u32.saturating_sub(self.bits);
                net.to_bits().checked_shr(shift) == ip.to_bits().checked_shr(shift)
            }
            _ => false,
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse().ok()?)),
            None => (text, None),
        };
        let address: IpAddr = address.trim().parse().ok()?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(width);
        (bits <= width).then_some(Self { address, bits })
    }
}
