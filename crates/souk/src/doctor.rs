//! `souk doctor`: tries every configured service and says in words what is wrong.

use std::{net::TcpListener, process::ExitCode, time::Duration};

use crate::embedded;
use api::dead_letters;
use bson::{Document, doc};
use serde::Deserialize;
use shared::audit;
use shared::clock::Clock;
use shared::config::{AuthMode, BadConfig, Config, RealtimeAdapter, Secret, without_password};
use shared::db::Db;

use crate::{
    banner::say,
    database::{Database, embedded_options},
    surroundings,
};

/// A service that has not answered by then does not.
const PATIENCE: Duration = Duration::from_secs(10);

/// What was found about one thing.
pub(crate) enum Finding {
    Good(String),
    /// Works, but a person should know.
    Doubt(String),
    Bad(String),
}

use Finding::{Bad, Doubt, Good};

/// Examines everything and fails if anything is bad.
pub(crate) async fn examine(config: anyhow::Result<Config>) -> anyhow::Result<ExitCode> {
    let config = match config {
        Ok(config) => config,
        Err(error) => {
            tell(
                "settings",
                &Bad(error
                    .downcast_ref::<BadConfig>()
                    .map_or_else(|| format!("{error:#}"), ToString::to_string)),
            );
            return Ok(ExitCode::FAILURE);
        }
    };
    let mut bad = 0_u32;
    let mut note = |name: &str, found: Vec<Finding>| {
        for finding in &found {
            tell(name, finding);
            bad = bad.saturating_add(u32::from(matches!(finding, Bad(_))));
        }
    };
    note("settings", settings(&config));
    note("ports", ports(&config).await);
    note("files", vec![files(&config)]);
    note("disk", surroundings::disks(&config));
    note("database", database(&config).await);
    note("chat bus", vec![bus(&config).await]);
    note("mail", vec![mail(&config).await]);
    note("media", vec![media(&config).await]);
    note("stripe", stripe(&config).await);
    note("paypal", paypal(&config).await);
    if bad == 0 {
        say("\nEverything works.");
        return Ok(ExitCode::SUCCESS);
    }
    say(&format!("\n{bad} of these must be put right."));
    Ok(ExitCode::FAILURE)
}

fn tell(name: &str, finding: &Finding) {
    let (mark, words) = match finding {
        Good(words) => ("ok  ", words),
        Doubt(words) => ("note", words),
        Bad(words) => ("BAD ", words),
    };
    say(&format!("{mark}  {name:<9} {words}"));
}

fn settings(config: &Config) -> Vec<Finding> {
    let mut found = Vec::new();
    let secret = config.jwt_secret.expose();
    found.push(if secret.is_empty() {
        Doubt(format!(
            "JWT_SECRET_KEY is not set: a secret is made and kept in {}",
            config.home.join("jwt_secret").display()
        ))
    } else if secret.len() < 16 {
        Doubt("JWT_SECRET_KEY is short enough to be guessed; use at least 16 random characters".to_owned())
    } else {
        Good("JWT_SECRET_KEY is set".to_owned())
    });
    if config.auth_mode == AuthMode::Compat {
        found.push(Doubt(
            "AUTH_MODE=compat accepts calls without a session from anywhere: for a closed network only"
                .to_owned(),
        ));
    }
    if config.webhook_allow_private {
        found.push(Doubt(
            "WEBHOOK_ALLOW_PRIVATE=on sends webhooks to private addresses, whose answers shops can read: for a closed \
             network only"
                .to_owned(),
        ));
    }
    let frontend_is_known = config.spa_dir.is_some() || config.client_origins.contains(&config.frontend_url);
    if !frontend_is_known {
        found.push(Doubt(format!(
            "the links in mails lead to {}, which CLIENT_URL does not list: pages there cannot call the API",
            config.frontend_url
        )));
    }
    if let Some(dir) = &config.spa_dir
        && !dir.join("index.html").is_file()
    {
        found.push(Bad(format!("SPA_DIR is {}, and there is no index.html in it", dir.display())));
    }
    if config.is_production() && config.public_url.contains("//localhost") {
        found.push(Bad("PUBLIC_URL is not set: pictures would point to localhost".to_owned()));
    }
    found
}

/// Each connection is a file, and so is much else.
fn files(config: &Config) -> Finding {
    const OTHERS: u64 = 1_000;
    let connections = config.connection_limits.most.max(config.chat_connections_max);
    let wanted = u64::try_from(connections).unwrap_or(u64::MAX).saturating_add(OTHERS);
    match rlimit::getrlimit(rlimit::Resource::NOFILE) {
        Ok((_, most)) if most < wanted => Doubt(format!(
            "a process may have {most} files open here, and CONNECTIONS_MAX or CHAT_CONNECTIONS_MAX allow {connections} \
             connections, each of which is one: raise the hard limit (LimitNOFILE= in a systemd unit, ulimits in a \
             compose file) to {wanted}, or lower these"
        )),
        Ok((_, most)) => {
            Good(format!("a process may have {most} files open, enough for {connections} connections"))
        }
        Err(error) => Doubt(format!("it is not known how many files a process may have open: {error}")),
    }
}

async fn ports(config: &Config) -> Vec<Finding> {
    let mut found = Vec::new();
    let all = [
        ("PORT", config.bind, config.port),
        ("CHAT_PORT", config.bind, config.chat_port),
        ("METRICS_PORT", config.metrics_bind, config.metrics_port),
    ];
    for (setting, bind, port) in all {
        if setting == "METRICS_PORT" && port == 0 {
            continue;
        }
        found.push(match TcpListener::bind((bind, port)) {
            Ok(_) => Good(format!("{setting} {port} is free")),
            Err(_) if is_souk(port).await => Good(format!("{setting} {port} is in use by a running Souk")),
            Err(error) => Bad(format!("{setting} {port} cannot be used: {error}")),
        });
    }
    if config.is_production() && !config.metrics_bind.is_loopback() && config.metrics_port != 0 {
        found.push(Doubt(format!(
            "METRICS_BIND is {}: whoever reaches that port reads the measurements, so let nobody else",
            config.metrics_bind
        )));
    }
    if config.port == config.chat_port && config.port != 0 {
        found.push(Bad("PORT and CHAT_PORT are the same".to_owned()));
    }
    found
}

/// Whether what listens there answers as our servers do.
async fn is_souk(port: u16) -> bool {
    let answer = client().get(format!("http://127.0.0.1:{port}/healthz")).send().await;
    match answer {
        Ok(answer) => answer.text().await.is_ok_and(|body| body.contains("\"status\":\"ok\"")),
        Err(_) => false,
    }
}

async fn database(config: &Config) -> Vec<Finding> {
    if let Some(uri) = config.database_uri.as_ref().map(Secret::expose) {
        return match Db::connect(uri, "souk-doctor").await {
            Ok(db) => server(&db, &without_password(uri)).await,
            Err(error) => vec![Bad(format!("DB_URL cannot be used: {error:#}"))],
        };
    }
    match embedded::start(embedded_options(config)).await {
        Ok(own) => {
            let found = match Db::connect(own.uri(), "souk-doctor").await {
                Ok(db) => server(&db, &format!("the embedded MongoDB in {}", own.data_dir().display())).await,
                Err(error) => vec![Bad(format!("the embedded MongoDB cannot be reached: {error:#}"))],
            };
            own.stop().await;
            found
        }
        Err(error) if error.is::<embedded::InUse>() => match Database::reach(config, "souk-doctor").await {
            Ok(running) => server(&running.db, "the embedded MongoDB of a running Souk").await,
            Err(error) => vec![Doubt(format!("not examined, it is in use: {error:#}"))],
        },
        Err(error) => vec![Bad(format!("{error:#}"))],
    }
}

/// A server that answers: is it one that the servers can work with?
async fn server(db: &Db, name: &str) -> Vec<Finding> {
    let hello = match db.database().run_command(doc! { "hello": 1 }).await {
        Ok(hello) => hello,
        Err(error) => return vec![Bad(format!("{name} does not answer: {error}"))],
    };
    let mut found = vec![Good(format!("{name} answers"))];
    let is_set = hello.get_str("setName").is_ok() || hello.get_str("msg").is_ok_and(|msg| msg == "isdbgrid");
    if !is_set {
        found.push(Bad(format!(
            "{name} is a single server, and transactions and change streams need a replica set: start mongod with \
             --replSet rs0 and run rs.initiate() once"
        )));
        return found;
    }
    found.push(match transaction(db).await {
        Ok(()) => Good("it is a replica set and commits transactions".to_owned()),
        Err(error) => Bad(format!("a transaction failed: {error}")),
    });
    found.push(match db.raw::<Document>("users").watch().await {
        Ok(_) => Good("it has change streams".to_owned()),
        Err(error) => Bad(format!("a change stream cannot be opened: {error}")),
    });
    found.push(surroundings::members(db).await);
    found.push(surroundings::clocks(db).await);
    found.extend(books(db).await);
    found.push(surroundings::backup(db).await);
    found.push(letters(db).await);
    found
}

/// Looks for jobs of the outbox that nobody carries out any more, and names a few.
async fn letters(db: &Db) -> Finding {
    const NAMED: i64 = 3;
    let read = async {
        let counts = dead_letters::counts(db, Clock::default().now()).await?;
        Ok::<_, mongodb::error::Error>((counts, dead_letters::list(db, true, NAMED).await?))
    };
    match read.await {
        Ok((counts, _)) if counts.dead == 0 => {
            Good(format!("no job of the outbox was given up; {} waiting", counts.waiting))
        }
        Ok((counts, some)) => {
            let errors: String = some
                .iter()
                .map(|job| {
                    let why = job.last_error.as_deref().unwrap_or("no reason noted");
                    format!("\n                {} {} after {} tries: {why}", job.kind, job.id, job.attempts)
                })
                .collect();
            Doubt(format!(
                "{} jobs of the outbox were given up; `souk outbox` lists them, `souk outbox retry` puts them \
                 back:{errors}",
                counts.dead
            ))
        }
        Err(error) => Bad(format!("the outbox cannot be read: {error}")),
    }
}

/// Counts money and units again.
async fn books(db: &Db) -> Vec<Finding> {
    match audit::run(db).await {
        Ok(audit) if audit.differences.is_empty() => vec![Good(format!(
            "every cent and every unit is accounted for: {} shops, {} orders, {} products and events",
            audit.shops, audit.orders, audit.listings
        ))],
        Ok(audit) => audit.differences.into_iter().map(Bad).collect(),
        Err(error) => vec![Bad(format!("the books cannot be read: {error}"))],
    }
}

/// Writes in a transaction and takes it back: nothing is left behind but an empty collection.
async fn transaction(db: &Db) -> mongodb::error::Result<()> {
    let scratch = db.raw::<Document>("doctor");
    let mut session = db.client().start_session().await?;
    session.start_transaction().await?;
    scratch.insert_one(doc! { "here": true }).session(&mut session).await?;
    scratch.delete_many(doc! {}).session(&mut session).await?;
    session.commit_transaction().await?;
    scratch.drop().await
}

/// Whether chat nodes can tell one another who is online.
async fn bus(config: &Config) -> Finding {
    match (config.realtime_adapter, &config.redis_url) {
        (RealtimeAdapter::Local, _) => Good(
            "REALTIME_ADAPTER=local: for one chat server, several would each show its own people only"
                .to_owned(),
        ),
        (RealtimeAdapter::Redis, Some(url)) => match realtime::check_redis(url.expose()).await {
            Ok(()) => Good("Redis passes on what chat servers tell one another".to_owned()),
            Err(error) => Bad(format!(
                "chat servers cannot tell one another who is online, Redis at REDIS_URL does not work: {error:#}"
            )),
        },
        _ => Good("chat servers tell one another who is online through the database".to_owned()),
    }
}

async fn mail(config: &Config) -> Finding {
    let mailer = match api::mail::from_config(config, &Clock::default()) {
        Ok(mailer) => mailer,
        Err(error) => return Bad(format!("the mail settings cannot be used: {error:#}")),
    };
    let name = mailer.describe();
    match tokio::time::timeout(PATIENCE, mailer.check()).await {
        Err(_) => Bad(format!("{name}: no answer within {} s", PATIENCE.as_secs())),
        Ok(Err(error)) => Bad(format!("{name}: {error:#}")),
        Ok(Ok(())) if config.smtp.is_none() => Good(format!("{name}, since there is no SMTP_HOST")),
        Ok(Ok(())) => Good(format!("{name}: connected and logged in")),
    }
}

async fn media(config: &Config) -> Finding {
    let Some(cloudinary) = &config.cloudinary else {
        return directory(&config.upload_dir, "no CLOUDINARY_NAME: pictures are kept in");
    };
    let url = format!("{}/v1_1/{}/ping", cloudinary.api_base, cloudinary.cloud);
    let request = client().get(url).basic_auth(&cloudinary.key, Some(cloudinary.secret.expose()));
    asked("Cloudinary", request, "CLOUDINARY_NAME, CLOUDINARY_API_KEY or CLOUDINARY_API_SECRET").await
}

async fn stripe(config: &Config) -> Vec<Finding> {
    let Some(stripe) = &config.stripe else { return vec![sandbox(config, "STRIPE_SECRET_KEY")] };
    let key = stripe.secret_key.expose();
    // What payments need: a restricted key may be for nothing else.
    let request = client().get(format!("{}/v1/payment_intents?limit=1", stripe.api_base)).bearer_auth(key);
    let mut found = vec![asked("Stripe", request, "STRIPE_SECRET_KEY").await];
    if config.is_production() && (key.starts_with("sk_test_") || key.starts_with("rk_test_")) {
        found.push(Doubt(
            "STRIPE_SECRET_KEY is a test key: orders count as paid, and no money moves".to_owned(),
        ));
    }
    if stripe.webhook_secret.is_none() {
        found.push(unheard("STRIPE_WEBHOOK_SECRET"));
    }
    found
}

#[derive(Deserialize)]
struct Token {
    access_token: String,
}

async fn paypal(config: &Config) -> Vec<Finding> {
    let Some(paypal) = &config.paypal else { return vec![sandbox(config, "PAYPAL_CLIENT_ID")] };
    let request = client()
        .post(format!("{}/v1/oauth2/token", paypal.api_base))
        .basic_auth(&paypal.client_id, Some(paypal.client_secret.expose()))
        .form(&[("grant_type", "client_credentials")]);
    let answer = match answered("PayPal", request, "PAYPAL_CLIENT_ID or PAYPAL_CLIENT_SECRET").await {
        Ok(answer) => answer,
        Err(finding) => return vec![finding],
    };
    let Ok(Token { access_token }) = answer.json().await else {
        return vec![Bad("PayPal answers something else than a token: is PAYPAL_API_BASE right?".to_owned())];
    };
    let mut found = vec![Good("PayPal knows us".to_owned())];
    found.push(match &paypal.webhook_id {
        None => unheard("PAYPAL_WEBHOOK_ID"),
        Some(id) => {
            let url = format!("{}/v1/notifications/webhooks/{id}", paypal.api_base);
            let request = client().get(url).bearer_auth(access_token);
            match answered("PayPal", request, "PAYPAL_WEBHOOK_ID").await {
                Ok(_) => Good("PayPal knows the webhook".to_owned()),
                Err(finding) => finding,
            }
        }
    });
    found
}

fn unheard(setting: &str) -> Finding {
    Doubt(format!(
        "{setting} is not set, so what the gateway tells is refused: nobody hears of disputes, of refunds made there \
         and of payments that nobody orders with"
    ))
}

fn sandbox(config: &Config, setting: &str) -> Finding {
    if config.is_production() {
        Doubt(format!("{setting} is not set: this way to pay is not offered"))
    } else {
        Good(format!("{setting} is not set: the sandbox takes its place"))
    }
}

async fn asked(name: &str, request: reqwest::RequestBuilder, settings: &str) -> Finding {
    match answered(name, request, settings).await {
        Ok(_) => Good(format!("{name} knows us")),
        Err(finding) => finding,
    }
}

/// What it answers if it knows us, else what is wrong.
async fn answered(
    name: &str,
    request: reqwest::RequestBuilder,
    settings: &str,
) -> Result<reqwest::Response, Finding> {
    match request.send().await {
        Ok(answer) if answer.status().is_success() => Ok(answer),
        Ok(answer) if matches!(answer.status().as_u16(), 401 | 403 | 404) => {
            Err(Bad(format!("{name} does not know us ({}): {settings} is wrong", answer.status())))
        }
        Ok(answer) => Err(Bad(format!("{name} answers {}", answer.status()))),
        Err(error) => Err(Bad(format!("{name} cannot be reached: {error}"))),
    }
}

fn directory(path: &std::path::Path, words: &str) -> Finding {
    let probe = path.join(format!(".doctor-{}", std::process::id()));
    let tried = std::fs::create_dir_all(path)
        .and_then(|()| std::fs::write(&probe, ""))
        .and_then(|()| std::fs::remove_file(&probe));
    match tried {
        Ok(()) => Good(format!("{words} {}", path.display())),
        Err(error) => Bad(format!("{words} {}, which cannot be written: {error}", path.display())),
    }
}

fn client() -> reqwest::Client {
    // Only an unusable TLS set-up fails here, and then every request says so.
    reqwest::Client::builder().timeout(PATIENCE).build().unwrap_or_default()
}
