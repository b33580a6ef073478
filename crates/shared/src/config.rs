//! Every setting, read once at start. Nothing else reads the environment.
//!
//! The old server's names work, misspellings included; where a name has a well-spelt alias, the
//! alias wins. A value that does not parse is an error that names the setting, what it got and what
//! it wants.

use std::{
    collections::HashSet,
    fmt,
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    auth::MAX_PASSWORD_BYTES,
    money::{Money, Percent},
};

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
    "DUPLICATE_ORDER_WINDOW",
    "RESERVATION_TTL",
    "PAYMENT_VERIFY_TTL",
    "UNUSED_PAYMENT_TTL",
    "PRESENCE_BROADCAST_LIMIT",
    "REPLAY_WINDOW",
    "CHAT_CONNECTIONS_MAX",
    "CHAT_CONNECTIONS_PER_ADDRESS",
    "CHAT_DRAIN",
    "RATE_LIMITS",
    "REALTIME_ADAPTER",
    "REDIS_URL",
    "ADMIN_EMAIL",
    "ADMIN_PASSWORD",
    "DEMO",
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
    /// MongoDB; none means the embedded one.
    pub database_uri: Option<String>,
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
    /// Off for benchmarks.
    pub rate_limits: bool,
    /// See [`RealtimeAdapter`].
    pub realtime_adapter: RealtimeAdapter,
    /// Redis, if that is the adapter.
    pub redis_url: Option<String>,
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
        // Not `dotenv()`, which would also take one from a directory further up.
        match dotenvy::from_path(".env") {
            Ok(_) => {}
            Err(error) if error.not_found() => {}
            Err(error) => anyhow::bail!(".env cannot be read: {error}"),
        }
        Ok(Self::read(|name| std::env::var(name).ok())?)
    }

    /// Where this user's programs keep what they can fetch again, if there is a home directory.
    pub fn user_cache_dir() -> Option<PathBuf> {
        std::env::var_os("XDG_CACHE_HOME")
            .map(PathBuf::from)
            // The specification says to ignore relative ones.
            .filter(|named| named.is_absolute())
            .or_else(|| std::env::home_dir().map(|home| home.join(".cache")))
    }

    /// Reads settings from any source. An empty value counts as absent.
    pub fn read(source: impl Fn(&str) -> Option<String>) -> Result<Self, BadConfig> {
        let mut read = Reader { source, bad: Vec::new() };
        let config = assemble(&mut read);
        check(&config, &mut read.bad);
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

struct Reader<F> {
    source: F,
    bad: Vec<BadSetting>,
}

impl<F: Fn(&str) -> Option<String>> Reader<F> {
    /// The first of the names that is set and not empty.
    fn text(&self, names: &[&'static str]) -> Option<(&'static str, String)> {
        names.iter().find_map(|name| {
            let value = (self.source)(name)?.trim().to_owned();
            (!value.is_empty()).then_some((*name, value))
        })
    }

    fn opt(&self, names: &[&'static str]) -> Option<String> {
        self.text(names).map(|(_, value)| value)
    }

    fn parsed<T>(
        &mut self,
        names: &[&'static str],
        want: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        let (name, got) = self.text(names)?;
        let value = parse(&got);
        if value.is_none() {
            self.bad.push(BadSetting { name, got: format!("`{got}`"), want: want.to_owned() });
        }
        value
    }

    fn port(&mut self, names: &[&'static str], default: u16) -> u16 {
        self.parsed(names, "a port number from 0 to 65535", |v| v.parse().ok()).unwrap_or(default)
    }

    fn switch(&mut self, name: &'static str, default: bool) -> bool {
        self.parsed(&[name], "on or off", |v| match v.to_ascii_lowercase().as_str() {
            "on" | "true" | "1" | "yes" => Some(true),
            "off" | "false" | "0" | "no" => Some(false),
            _ => None,
        })
        .unwrap_or(default)
    }

    fn duration(&mut self, name: &'static str, default_seconds: u64) -> Duration {
        self.parsed(&[name], "a time such as 90d, 12h, 30m, 45s or a number of seconds", parse_duration)
            .unwrap_or(Duration::from_secs(default_seconds))
    }

    fn count(&mut self, name: &'static str, default: usize) -> usize {
        self.parsed(&[name], "a number above 0", |v| v.parse().ok().filter(|n| *n > 0)).unwrap_or(default)
    }

    /// Half of what belongs together would leave a way to pay off, and nobody would know why.
    fn need(&mut self, name: &'static str, what: &str, since: &'static str) {
        if self.opt(&[name]).is_none() && self.opt(&[since]).is_some() {
            let want = format!("{what} of the same account, since {since} is set");
            self.bad.push(BadSetting { name, got: "nothing".to_owned(), want });
        }
    }

    fn url(&mut self, names: &[&'static str], default: &str) -> String {
        self.parsed(names, "an http or https address", parse_url).unwrap_or_else(|| default.to_owned())
    }
}

fn parse_url(text: &str) -> Option<String> {
    let text = text.trim().trim_end_matches('/');
    let host = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"))?;
    (!host.is_empty() && !host.contains(char::is_whitespace)).then(|| text.to_owned())
}

/// `90d`, `12h`, `30m`, `45s`, `250ms`, or a bare number of seconds.
fn parse_duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at_checked(split)?;
    let n: u64 = digits.parse().ok()?;
    let seconds = match unit.trim() {
        "ms" => return Some(Duration::from_millis(n)),
        "" | "s" | "sec" | "seconds" => 1,
        "m" | "min" | "minutes" => 60,
        "h" | "hours" => 3_600,
        "d" | "day" | "days" => 86_400,
        "w" | "weeks" => 604_800,
        "y" | "years" => 31_557_600,
        _ => return None,
    };
    // A thousand years is no time anybody means, and keeps the sums below from overflowing.
    n.checked_mul(seconds).filter(|s| *s < 31_557_600_000).map(Duration::from_secs)
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

fn assemble<F: Fn(&str) -> Option<String>>(read: &mut Reader<F>) -> Config {
    let env = read
        .parsed(&["APP_ENV", "NODE_ENV"], "development or production", |v| {
            match v.to_ascii_lowercase().as_str() {
                "development" | "dev" | "test" => Some(AppEnv::Development),
                // `PROD` is what the old server's NODE_ENV said.
                "production" | "prod" => Some(AppEnv::Production),
                _ => None,
            }
        })
        .unwrap_or(AppEnv::Development);
    let production = env == AppEnv::Production;
    let home = PathBuf::from(read.opt(&["SOUK_HOME"]).unwrap_or_else(|| ".souk".to_owned()));
    let port = read.port(&["PORT"], 5000);
    let client_origins: Vec<String> = read
        .parsed(&["CLIENT_URL"], "one or more http or https addresses, separated by commas", |v| {
            v.split(',').map(parse_url).collect()
        })
        .unwrap_or_else(|| vec!["http://localhost:5173".to_owned()]);
    let first_origin = client_origins.first().cloned().unwrap_or_default();
    let spa_dir = read.opt(&["SPA_DIR"]).map(PathBuf::from);
    let public_url = read.url(&["PUBLIC_URL"], &format!("http://localhost:{port}"));
    // With the client on our own origin, that is where its links lead.
    let frontend_default = if spa_dir.is_some() { &public_url } else { &first_origin };
    let frontend_url = read.url(&["FRONTEND_URL", "frontened_URL"], frontend_default);
    Config {
        env,
        bind: read
            .parsed(&["BIND"], "an IP address", |v| v.parse().ok())
            .unwrap_or_else(|| if production { [0, 0, 0, 0] } else { [127, 0, 0, 1] }.into()),
        port,
        chat_port: read.port(&["CHAT_PORT"], 4000),
        database_uri: read.parsed(
            &["MONGODB_URI", "DB_URL"],
            "an address that begins with mongodb:// or mongodb+srv://",
            |v| (v.starts_with("mongodb://") || v.starts_with("mongodb+srv://")).then(|| v.to_owned()),
        ),
        mongod: read.opt(&["MONGOD"]).map(PathBuf::from),
        jwt_secret: Secret::new(read.opt(&["JWT_SECRET_KEY"]).unwrap_or_default()),
        session_ttl: read.duration("JWT_EXPIRES", 90 * 86_400),
        activation_ttl: read.duration("ACTIVATION_TTL", 30 * 60),
        auth_mode: read
            .parsed(&["AUTH_MODE"], "strict, auto or compat", |v| match v {
                "strict" => Some(AuthMode::Strict),
                "auto" => Some(AuthMode::Auto),
                "compat" => Some(AuthMode::Compat),
                _ => None,
            })
            .unwrap_or(if production { AuthMode::Strict } else { AuthMode::Auto }),
        client_origins,
        frontend_url,
        public_url,
        spa_dir,
        cookie_domain: read.opt(&["COOKIE_DOMAIN"]),
        cookie_same_site: read
            .parsed(&["COOKIE_SAMESITE"], "lax, strict or none", |v| match v.to_ascii_lowercase().as_str() {
                "lax" => Some(SameSite::Lax),
                "strict" => Some(SameSite::Strict),
                "none" => Some(SameSite::None),
                _ => None,
            })
            .unwrap_or(SameSite::Lax),
        trusted_proxies: read
            .parsed(&["TRUSTED_PROXIES"], "addresses such as 10.0.0.0/8, separated by commas", |v| {
                v.split(',').map(|part| Network::parse(part.trim())).collect()
            })
            .unwrap_or_default(),
        upload_dir: read.opt(&["UPLOAD_DIR"]).map_or_else(|| home.join("uploads"), PathBuf::from),
        mail_outbox_dir: read.opt(&["MAIL_OUTBOX_DIR"]).map_or_else(|| home.join("outbox"), PathBuf::from),
        smtp: smtp(read),
        cloudinary: cloudinary(read),
        stripe: stripe(read),
        stripe_publishable_key: read
            .opt(&["STRIPE_PUBLISHABLE_KEY", "STRIPE_APi_KEY"])
            // The client has no payment page at all without one.
            .unwrap_or_else(|| NO_PUBLISHABLE_KEY.to_owned()),
        paypal: paypal(read),
        bcrypt_cost: read
            .parsed(&["BCRYPT_COST"], "a number from 4 to 16", |v| {
                v.parse().ok().filter(|cost| (4..=16).contains(cost))
            })
            .unwrap_or(10),
        currency: read
            .parsed(&["CURRENCY"], "a three-letter currency code such as USD", |v| {
                (v.len() == 3 && v.bytes().all(|b| b.is_ascii_alphabetic())).then(|| v.to_ascii_uppercase())
            })
            .unwrap_or_else(|| "USD".to_owned()),
        shipping: percent(read, "SHIPPING_PERCENT"),
        service_fee: percent(read, "SERVICE_FEE_PERCENT"),
        min_withdrawal: read
            .parsed(&["MIN_WITHDRAWAL"], "an amount such as 50", |v| {
                Money::parse_exact(v).ok().filter(|m| !m.is_negative())
            })
            .unwrap_or(Money::from_minor(5000)),
        duplicate_order_window: read.duration("DUPLICATE_ORDER_WINDOW", 10),
        reservation_ttl: read.duration("RESERVATION_TTL", 3 * 86_400),
        payment_verify_ttl: read.duration("PAYMENT_VERIFY_TTL", 86_400),
        unused_payment_ttl: read.duration("UNUSED_PAYMENT_TTL", 3_600),
        presence_broadcast_limit: read
            .parsed(&["PRESENCE_BROADCAST_LIMIT"], "a number of people", |v| v.parse().ok())
            .unwrap_or(40),
        replay_window: read.duration("REPLAY_WINDOW", 120),
        chat_connections_max: read.count("CHAT_CONNECTIONS_MAX", 20_000),
        chat_connections_per_address: read.count("CHAT_CONNECTIONS_PER_ADDRESS", 400),
        chat_drain: read.duration("CHAT_DRAIN", 5),
        rate_limits: read.switch("RATE_LIMITS", true),
        realtime_adapter: read
            .parsed(&["REALTIME_ADAPTER"], "local, mongodb or redis", |v| match v {
                "local" | "memory" => Some(RealtimeAdapter::Local),
                "mongodb" | "mongo" => Some(RealtimeAdapter::Mongodb),
                "redis" => Some(RealtimeAdapter::Redis),
                _ => None,
            })
            .unwrap_or(RealtimeAdapter::Mongodb),
        redis_url: read.opt(&["REDIS_URL"]),
        node_silence: Duration::from_secs(20),
        gateway_limits: GatewayLimits::USUAL,
        admin: admin(read),
        demo: read.switch("DEMO", true) && !production,
        log_format: read
            .parsed(&["LOG_FORMAT"], "text or json", |v| match v {
                "text" => Some(LogFormat::Text),
                "json" => Some(LogFormat::Json),
                _ => None,
            })
            .unwrap_or(if production { LogFormat::Json } else { LogFormat::Text }),
        log_filter: read.opt(&["RUST_LOG"]).unwrap_or_else(|| "info,actix_server=warn".to_owned()),
        home,
    }
}

fn percent<F: Fn(&str) -> Option<String>>(read: &mut Reader<F>, name: &'static str) -> Percent {
    read.parsed(&[name], "a percentage from 0 to 100", |v| {
        Percent::parse(v).ok().filter(|p| *p >= Percent::default() && *p <= Percent::HUNDRED)
    })
    .unwrap_or(Percent::whole(10))
}

fn admin<F: Fn(&str) -> Option<String>>(read: &mut Reader<F>) -> Option<(String, Secret)> {
    let names = [read.opt(&["ADMIN_EMAIL"]).is_some(), read.opt(&["ADMIN_PASSWORD"]).is_some()];
    let missing = match names {
        [true, false] => Some(("ADMIN_PASSWORD", "a password, since ADMIN_EMAIL is set")),
        [false, true] => Some(("ADMIN_EMAIL", "an e-mail address, since ADMIN_PASSWORD is set")),
        _ => None,
    };
    if let Some((name, want)) = missing {
        read.bad.push(BadSetting { name, got: "nothing".to_owned(), want: want.to_owned() });
    }
    let email = read.parsed(&["ADMIN_EMAIL"], "an e-mail address", |v| {
        let (person, host) = v.rsplit_once('@')?;
        let plausible = !person.is_empty() && !host.is_empty() && v.len() <= 254;
        let clean = !v.contains(|c: char| c.is_whitespace() || c.is_control());
        (plausible && clean).then(|| v.to_owned())
    });
    email.zip(read.opt(&["ADMIN_PASSWORD"]).map(Secret::new))
}

fn smtp<F: Fn(&str) -> Option<String>>(read: &mut Reader<F>) -> Option<Smtp> {
    let port = read.port(&["SMTP_PORT", "SMPT_PORT"], 587);
    Some(Smtp {
        host: read.opt(&["SMTP_HOST", "SMPT_HOST"])?,
        port,
        user: read.opt(&["SMTP_USER", "SMPT_MAIL"]),
        password: read.opt(&["SMTP_PASSWORD", "SMPT_PASSWORD"]).map(Secret::new),
    })
}

fn cloudinary<F: Fn(&str) -> Option<String>>(read: &mut Reader<F>) -> Option<Cloudinary> {
    let api_base = read.url(&["CLOUDINARY_API_BASE"], "https://api.cloudinary.com");
    Some(Cloudinary {
        cloud: read.opt(&["CLOUDINARY_NAME"])?,
        key: read.opt(&["CLOUDINARY_API_KEY"])?,
        secret: Secret::new(read.opt(&["CLOUDINARY_API_SECRET"])?),
        api_base,
    })
}

fn stripe<F: Fn(&str) -> Option<String>>(read: &mut Reader<F>) -> Option<Stripe> {
    let api_base = read.url(&["STRIPE_API_BASE"], "https://api.stripe.com");
    read.need("STRIPE_SECRET_KEY", "the secret key", "STRIPE_WEBHOOK_SECRET");
    Some(Stripe {
        secret_key: Secret::new(read.opt(&["STRIPE_SECRET_KEY"])?),
        webhook_secret: read.opt(&["STRIPE_WEBHOOK_SECRET"]).map(Secret::new),
        api_base,
    })
}

fn paypal<F: Fn(&str) -> Option<String>>(read: &mut Reader<F>) -> Option<Paypal> {
    let api_base = read.url(&["PAYPAL_API_BASE"], "https://api-m.paypal.com");
    read.need("PAYPAL_CLIENT_SECRET", "the secret", "PAYPAL_CLIENT_ID");
    read.need("PAYPAL_CLIENT_ID", "the client id", "PAYPAL_CLIENT_SECRET");
    Some(Paypal {
        client_id: read.opt(&["PAYPAL_CLIENT_ID"])?,
        client_secret: Secret::new(read.opt(&["PAYPAL_CLIENT_SECRET"])?),
        webhook_id: read.opt(&["PAYPAL_WEBHOOK_ID"]),
        api_base,
    })
}

/// In place of Stripe's publishable key where there is none.
const NO_PUBLISHABLE_KEY: &str = "pk_test_souk_sandbox";

/// Currencies whose smallest unit is not a hundredth, or that gateways count so. Money has two decimals
/// here; such an amount would be charged a hundred times over, or as a tenth.
const OTHER_DECIMALS: &[&str] = &[
    "BHD", "BIF", "CLF", "CLP", "DJF", "GNF", "IQD", "ISK", "JOD", "JPY", "KMF", "KRW", "KWD", "LYD", "MGA",
    "OMR", "PYG", "RWF", "TND", "UGX", "UYI", "UYW", "VND", "VUV", "XAF", "XOF", "XPF",
];

/// What can only be judged with everything at hand.
fn check(config: &Config, bad: &mut Vec<BadSetting>) {
    let mut refuse = |name, got: &str, want: &str| {
        bad.push(BadSetting { name, got: got.to_owned(), want: want.to_owned() });
    };
    if config.is_production() {
        let secret = config.jwt_secret.expose();
        let known = ["secret", "changeme", "change-me", "your_jwt_secret", "jwt_secret"];
        if secret.is_empty() {
            refuse("JWT_SECRET_KEY", "nothing", "a secret of at least 16 characters in production");
        } else if secret.len() < 16 || known.contains(&secret.to_ascii_lowercase().as_str()) {
            refuse("JWT_SECRET_KEY", "a secret that can be guessed", "at least 16 random characters");
        }
        if config.database_uri.is_none() {
            refuse("DB_URL", "nothing", "the address of MongoDB in production");
        }
        if config.smtp.is_none() {
            refuse("SMTP_HOST", "nothing", "a mail server in production: sign-up needs it");
        }
        if config.paypal.as_ref().is_some_and(|paypal| paypal.webhook_id.is_none()) {
            refuse("PAYPAL_WEBHOOK_ID", "nothing", "the id of the webhook at PayPal, since its keys are set");
        }
    }
    if let Some((_, password)) = &config.admin {
        if !(4..=MAX_PASSWORD_BYTES).contains(&password.expose().len()) {
            refuse("ADMIN_PASSWORD", "a password of another length", "from 4 to 72 bytes");
        } else if config.is_production() && is_guessable(password.expose()) {
            refuse(
                "ADMIN_PASSWORD",
                "a password that can be guessed",
                "at least 12 characters in production, and not a usual one",
            );
        }
    }
    if OTHER_DECIMALS.contains(&config.currency.as_str()) {
        refuse("CURRENCY", &format!("`{}`", config.currency), "a currency with two decimals such as USD");
    }
    check_stripe(config, &mut refuse);
    if config.cookie_same_site == SameSite::None && !config.is_production() {
        refuse("COOKIE_SAMESITE", "`none`", "lax or strict outside production, where cookies are not Secure");
    }
    if config.realtime_adapter == RealtimeAdapter::Redis && config.redis_url.is_none() {
        refuse("REDIS_URL", "nothing", "the address of Redis, since REALTIME_ADAPTER is redis");
    }
}

/// Keys that are mixed up, and what production cannot do without.
fn check_stripe(config: &Config, refuse: &mut impl FnMut(&'static str, &str, &str)) {
    let is_secret = |key: &str| ["sk_", "rk_", "whsec_"].iter().any(|kind| key.starts_with(kind));
    if is_secret(&config.stripe_publishable_key) {
        refuse("STRIPE_PUBLISHABLE_KEY", "a secret key", "the key that begins with pk_: everybody sees it");
    }
    let Some(stripe) = &config.stripe else { return };
    if stripe.secret_key.expose().starts_with("pk_") {
        refuse("STRIPE_SECRET_KEY", "a publishable key", "the key that begins with sk_ or rk_");
    }
    if config.is_production() {
        if stripe.webhook_secret.is_none() {
            refuse(
                "STRIPE_WEBHOOK_SECRET",
                "nothing",
                "the webhook's signing secret in production, since STRIPE_SECRET_KEY is set",
            );
        }
        if config.stripe_publishable_key == NO_PUBLISHABLE_KEY {
            refuse(
                "STRIPE_PUBLISHABLE_KEY",
                "nothing",
                "the key that begins with pk_ in production, since STRIPE_SECRET_KEY is set",
            );
        }
    }
}

/// Whether it is among the first that anybody would try.
fn is_guessable(password: &str) -> bool {
    let usual = ["password", "passw0rd", "changeme", "change-me", "admin", "secret", "qwerty", "123456"];
    let lower = password.to_lowercase();
    let different: HashSet<char> = lower.chars().collect();
    lower.chars().count() < 12 || different.len() < 5 || usual.iter().any(|word| lower.starts_with(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(pairs: &[(&str, &str)]) -> Result<Config, BadConfig> {
        Config::read(|name| pairs.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned()))
    }

    #[test]
    fn nothing_set_is_a_development_machine() {
        let config = with(&[]).unwrap();
        assert_eq!((config.port, config.chat_port, config.auth_mode), (5000, 4000, AuthMode::Auto));
        assert_eq!(config.frontend_url, "http://localhost:5173");
        assert_eq!(config.session_ttl, Duration::from_secs(90 * 86_400));
        assert!(config.database_uri.is_none() && config.demo && !config.stripe_publishable_key.is_empty());
    }

    #[test]
    fn the_old_names_work_and_the_well_spelt_ones_win() {
        let config = with(&[
            ("SMPT_HOST", "old"),
            ("SMPT_PORT", "465"),
            ("SMPT_MAIL", "a@b.c"),
            ("STRIPE_APi_KEY", "pk_old"),
            ("frontened_URL", "http://old.example/"),
            ("JWT_EXPIRES", "7d"),
        ])
        .unwrap();
        let smtp = config.smtp.unwrap();
        assert_eq!((smtp.host.as_str(), smtp.port, smtp.user.as_deref()), ("old", 465, Some("a@b.c")));
        assert_eq!(
            (config.stripe_publishable_key.as_str(), config.frontend_url.as_str()),
            ("pk_old", "http://old.example")
        );
        let config = with(&[("SMPT_HOST", "old"), ("SMTP_HOST", "new")]).unwrap();
        assert_eq!(config.smtp.unwrap().host, "new");
    }

    #[test]
    fn a_bad_value_is_named_with_what_is_wanted() {
        let error =
            with(&[("PORT", "fivethousand"), ("AUTH_MODE", "lax"), ("JWT_EXPIRES", "soon")]).unwrap_err();
        assert_eq!(error.0.len(), 3);
        assert_eq!(error.0[0].to_string(), "PORT: got `fivethousand`, want a port number from 0 to 65535");
    }

    #[test]
    fn production_wants_secrets_a_database_and_mail() {
        let error = with(&[("APP_ENV", "production")]).unwrap_err().to_string();
        for name in ["JWT_SECRET_KEY", "DB_URL", "SMTP_HOST"] {
            assert!(error.contains(name), "{error}");
        }
        let error = with(&[
            ("NODE_ENV", "PROD"),
            ("JWT_SECRET_KEY", "secret"),
            ("DB_URL", "mongodb://db/souk"),
            ("SMTP_HOST", "mail"),
        ]);
        assert!(error.unwrap_err().to_string().contains("guessed"));
    }

    #[test]
    fn an_administrator_has_an_address_and_in_production_a_password_that_nobody_guesses() {
        let error = with(&[("ADMIN_EMAIL", "root@example.com")]).unwrap_err().to_string();
        assert!(error.contains("ADMIN_PASSWORD: got nothing"), "{error}");
        let error = with(&[("ADMIN_PASSWORD", "correct horse")]).unwrap_err().to_string();
        assert!(error.contains("ADMIN_EMAIL: got nothing"), "{error}");
        for email in ["root", "@example.com", "a b@example.com"] {
            let error = with(&[("ADMIN_EMAIL", email), ("ADMIN_PASSWORD", "pass")]).unwrap_err();
            assert_eq!(error.0.len(), 1, "{error}");
        }
        let config = with(&[("ADMIN_EMAIL", "root@example.com"), ("ADMIN_PASSWORD", "pass")]).unwrap();
        assert_eq!(config.admin.unwrap().0, "root@example.com");
        let in_production = |password: &str| {
            with(&[
                ("APP_ENV", "production"),
                ("JWT_SECRET_KEY", "0123456789abcdef0123"),
                ("DB_URL", "mongodb://db/souk"),
                ("SMTP_HOST", "mail"),
                ("ADMIN_EMAIL", "root@example.com"),
                ("ADMIN_PASSWORD", password),
            ])
        };
        for weak in ["pa55", "short one", "aaaaaaaaaaaaaaaa", "Password2026!", "administrator"] {
            let error = in_production(weak).unwrap_err().to_string();
            assert!(error.contains("ADMIN_PASSWORD") && !error.contains(weak), "{error}");
        }
        assert!(in_production(&"x".repeat(73)).is_err());
        assert!(in_production("correct horse battery").is_ok());
    }

    #[test]
    fn money_has_two_decimals_and_so_has_the_currency() {
        for currency in ["JPY", "krw", "BHD", "isk", "MGA"] {
            let error = with(&[("CURRENCY", currency)]).unwrap_err().to_string();
            assert!(error.contains("CURRENCY: got `") && error.contains("two decimals"), "{error}");
        }
        for currency in ["usd", "EUR", "PKR", "INR", "HUF", "TWD"] {
            assert_eq!(with(&[("CURRENCY", currency)]).unwrap().currency, currency.to_ascii_uppercase());
        }
    }

    #[test]
    fn paypal_in_production_wants_its_webhooks_id() {
        let settings = [
            ("APP_ENV", "production"),
            ("JWT_SECRET_KEY", "0123456789abcdef0123"),
            ("DB_URL", "mongodb://db/souk"),
            ("SMTP_HOST", "mail"),
            ("PAYPAL_CLIENT_ID", "AZ1"),
            ("PAYPAL_CLIENT_SECRET", "a secret of PayPal's"),
        ];
        let error = with(&settings).unwrap_err().to_string();
        assert!(
            error.contains("PAYPAL_WEBHOOK_ID: got nothing") && !error.contains("a secret of"),
            "{error}"
        );
        assert!(with(&[&settings[..], &[("PAYPAL_WEBHOOK_ID", "8PT")]].concat()).is_ok());
        assert!(with(&settings[4..]).is_ok(), "on somebody's machine it may be missing");
    }

    #[test]
    fn half_of_a_gateways_keys_is_refused_and_not_taken_for_none() {
        for (set, missing) in [
            ("PAYPAL_CLIENT_ID", "PAYPAL_CLIENT_SECRET"),
            ("PAYPAL_CLIENT_SECRET", "PAYPAL_CLIENT_ID"),
            ("STRIPE_WEBHOOK_SECRET", "STRIPE_SECRET_KEY"),
        ] {
            let error = with(&[(set, "confidential")]).unwrap_err().to_string();
            assert!(error.contains(&format!("{missing}: got nothing")), "{error}");
            assert!(error.contains(set) && !error.contains("confidential"), "{error}");
            assert!(with(&[(set, "")]).is_ok());
        }
    }

    #[test]
    fn stripe_in_production_wants_all_of_its_keys_and_each_in_its_place() {
        let base = [
            ("APP_ENV", "production"),
            ("JWT_SECRET_KEY", "0123456789abcdef0123"),
            ("DB_URL", "mongodb://db/souk"),
            ("SMTP_HOST", "mail"),
            ("STRIPE_SECRET_KEY", "sk_live_1"),
        ];
        let and = |more: &[(&'static str, &'static str)]| with(&[&base, more].concat());
        let error = and(&[]).unwrap_err().to_string();
        assert!(
            error.contains("STRIPE_WEBHOOK_SECRET") && error.contains("STRIPE_PUBLISHABLE_KEY"),
            "{error}"
        );
        let whole = [("STRIPE_WEBHOOK_SECRET", "whsec_1"), ("STRIPE_APi_KEY", "pk_live_1")];
        assert!(and(&whole).is_ok());
        assert!(with(&base[4..]).is_ok(), "on somebody's machine the rest may be missing");
        let leaked = with(&[("STRIPE_APi_KEY", "sk_live_abc")]).unwrap_err().to_string();
        assert!(leaked.contains("STRIPE_PUBLISHABLE_KEY") && !leaked.contains("abc"), "{leaked}");
        let mixed = with(&[("STRIPE_SECRET_KEY", "pk_live_abc")]).unwrap_err().to_string();
        assert!(mixed.contains("STRIPE_SECRET_KEY") && !mixed.contains("abc"), "{mixed}");
    }

    #[test]
    fn networks_contain_their_addresses() {
        let net = Network::parse("10.0.0.0/8").unwrap();
        assert!(
            net.contains("10.255.0.1".parse().unwrap()) && net.contains("::ffff:10.1.1.1".parse().unwrap())
        );
        assert!(!net.contains("11.0.0.1".parse().unwrap()) && !net.contains("::1".parse().unwrap()));
        assert!(Network::parse("::/0").unwrap().contains("::1".parse().unwrap()));
        assert!(Network::parse("10.0.0.0/33").is_none());
    }
}
