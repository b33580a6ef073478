//! What can only be judged with all settings at hand.

use std::collections::HashSet;

use super::{BadSetting, Config, RealtimeAdapter, SameSite, read::NO_PUBLISHABLE_KEY};
use crate::auth::MAX_PASSWORD_BYTES;

/// Currencies whose smallest unit is not a hundredth, or that gateways count so. Money has two decimals
/// here; such an amount would be charged a hundred times over, or as a tenth.
const OTHER_DECIMALS: &[&str] = &[
    "BHD", "BIF", "CLF", "CLP", "DJF", "GNF", "IQD", "ISK", "JOD", "JPY", "KMF", "KRW", "KWD", "LYD", "MGA",
    "OMR", "PYG", "RWF", "TND", "UGX", "UYI", "UYW", "VND", "VUV", "XAF", "XOF", "XPF",
];

/// Adds what does not go together.
pub(super) fn check(config: &Config, bad: &mut Vec<BadSetting>) {
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
