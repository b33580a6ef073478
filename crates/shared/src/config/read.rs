//! From texts to settings: names, defaults, and what each text may be.

use std::{path::PathBuf, time::Duration};

use super::{
    AppEnv, AuthMode, BadSetting, CatalogueLimits, Cloudinary, Config, ConnectionLimits, GatewayLimits,
    LogFormat, Network, Paypal, Rates, RealtimeAdapter, RequestLimits, SameSite, Secret, Shutdown, Smtp,
    Stripe, Traces, without_password,
};
use crate::money::{Money, Percent};

/// In place of Stripe's publishable key where there is none.
pub(super) const NO_PUBLISHABLE_KEY: &str = "pk_test_souk_sandbox";

/// Reads texts, and keeps what is wrong with them.
pub(super) struct Reader<F> {
    pub(super) source: F,
    pub(super) bad: Vec<BadSetting>,
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

    pub(super) fn parsed<T>(
        &mut self,
        names: &[&'static str],
        want: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        let (name, got) = self.text(names)?;
        let value = parse(&got);
        if value.is_none() {
            let got = format!("`{}`", without_password(&got));
            self.bad.push(BadSetting { name, got, want: want.to_owned() });
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

    fn bytes(&mut self, name: &'static str, default: usize) -> usize {
        self.parsed(&[name], "an amount of memory such as 512K, 64M, 2G or a number of bytes", parse_bytes)
            .unwrap_or(default)
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
pub fn parse_duration(text: &str) -> Option<Duration> {
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

/// `64M`, `2G`, `512K` with or without a `B` or `iB`, or a bare number of bytes.
pub(super) fn parse_bytes(text: &str) -> Option<usize> {
    let text = text.trim();
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at_checked(split)?;
    let unit = unit.trim().to_ascii_lowercase();
    let shift = match unit.trim_end_matches('b').trim_end_matches('i') {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        _ => return None,
    };
    digits.parse::<usize>().ok()?.checked_mul(1 << shift)
}

/// All settings, with a default for each that is missing or cannot be read.
pub(super) fn assemble<F: Fn(&str) -> Option<String>>(read: &mut Reader<F>) -> Config {
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
            |v| {
                (v.starts_with("mongodb://") || v.starts_with("mongodb+srv://"))
                    .then(|| Secret::new(v.to_owned()))
            },
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
        low_stock: read
            .parsed(&["LOW_STOCK"], "a whole number from 0 on", |v| v.parse().ok().filter(|n| *n >= 0))
            .unwrap_or(5),
        withdrawal_four_eyes: read
            .parsed(&["WITHDRAWAL_FOUR_EYES"], "an amount such as 1000, or 0", |v| {
                Money::parse_exact(v).ok().filter(|m| !m.is_negative())
            })
            .unwrap_or(Money::from_minor(100_000)),
        shop_approval: read.switch("SHOP_APPROVAL", false),
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
        connection_limits: ConnectionLimits {
            most: read.count("CONNECTIONS_MAX", 20_000),
            most_of_one: read.count("CONNECTIONS_PER_ADDRESS", 1_000),
            head: Duration::from_secs(10),
            idle: Duration::from_secs(75),
            patience: Duration::from_secs(20),
        },
        shutdown: Shutdown {
            lead: read.duration("SHUTDOWN_LEAD", if production { 5 } else { 0 }),
            grace: read.duration("SHUTDOWN_GRACE", 20),
        },
        catalogue: CatalogueLimits {
            memory: read.bytes("CATALOGUE_MEMORY", 2 << 30),
            lists: read.bytes("CATALOGUE_LIST_MEMORY", 128 << 20),
        },
        request_limits: RequestLimits {
            at_work: read.count("REQUESTS_MAX", 2_000),
            // Longer than the driver takes to notice a server that hangs, and than a media host may take.
            answer: Duration::from_secs(60),
        },
        rate_limits: read.switch("RATE_LIMITS", true),
        rates: Rates::read(read),
        webhook_allow_private: read.switch("WEBHOOK_ALLOW_PRIVATE", false),
        audit_log_ttl: read.duration("AUDIT_LOG_TTL", 365 * 86_400),
        realtime_adapter: read
            .parsed(&["REALTIME_ADAPTER"], "local, mongodb or redis", |v| match v {
                "local" | "memory" => Some(RealtimeAdapter::Local),
                "mongodb" | "mongo" => Some(RealtimeAdapter::Mongodb),
                "redis" => Some(RealtimeAdapter::Redis),
                _ => None,
            })
            .unwrap_or(RealtimeAdapter::Mongodb),
        redis_url: read.opt(&["REDIS_URL"]).map(Secret::new),
        node_silence: Duration::from_secs(20),
        gateway_limits: GatewayLimits::USUAL,
        admin: admin(read),
        demo: read.switch("DEMO", true) && !production,
        // Two programs of a developer's would want the same port.
        metrics_port: read.port(&["METRICS_PORT"], if production { 9464 } else { 0 }),
        metrics_bind: read
            .parsed(&["METRICS_BIND"], "an IP address", |v| v.parse().ok())
            .unwrap_or_else(|| [127, 0, 0, 1].into()),
        traces: traces(read),
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

fn traces<F: Fn(&str) -> Option<String>>(read: &mut Reader<F>) -> Option<Traces> {
    let parse = |v: &str| v.parse().ok().filter(|share: &f64| (0.0..=1.0).contains(share));
    let share = read.parsed(&["OTEL_TRACES_SAMPLER_ARG"], "a share from 0 to 1", parse).unwrap_or(1.0);
    let service = read.opt(&["OTEL_SERVICE_NAME"]).unwrap_or_else(|| "souk".to_owned());
    let endpoint = read.parsed(&["OTEL_EXPORTER_OTLP_ENDPOINT"], "an http or https address", parse_url)?;
    Some(Traces { endpoint, service, share })
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
