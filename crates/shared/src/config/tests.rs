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
    let error = with(&[("PORT", "fivethousand"), ("AUTH_MODE", "lax"), ("JWT_EXPIRES", "soon")]).unwrap_err();
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
    assert!(error.contains("PAYPAL_WEBHOOK_ID: got nothing") && !error.contains("a secret of"), "{error}");
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
    assert!(error.contains("STRIPE_WEBHOOK_SECRET") && error.contains("STRIPE_PUBLISHABLE_KEY"), "{error}");
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
    assert!(net.contains("10.255.0.1".parse().unwrap()) && net.contains("::ffff:10.1.1.1".parse().unwrap()));
    assert!(!net.contains("11.0.0.1".parse().unwrap()) && !net.contains("::1".parse().unwrap()));
    assert!(Network::parse("::/0").unwrap().contains("::1".parse().unwrap()));
    assert!(Network::parse("10.0.0.0/33").is_none());
}

#[test]
fn an_address_is_shown_without_its_password() {
    for (uri, shown) in [
        ("mongodb://127.0.0.1:27017/souk", "mongodb://127.0.0.1:27017/souk"),
        ("mongodb://ann:p%40ss@db/souk?x=1", "mongodb://…@db/souk?x=1"),
        ("mongodb+srv://a:b@c.d.net/?appName=e@f", "mongodb+srv://…@c.d.net/?appName=e@f"),
        ("mongodb://ann:s/la?sh@db/souk", "mongodb://…@db/souk"),
        ("nonsense", "nonsense"),
    ] {
        assert_eq!(without_password(uri), shown);
    }
}

#[test]
fn no_password_is_shown_in_a_refusal_nor_when_the_settings_are_printed() {
    let refused = with(&[("DB_URL", "mongo://ann:passphrase@db/souk")]).unwrap_err();
    assert!(refused.to_string().contains("`mongo://…@db/souk`"), "{refused}");
    let config = with(&[
        ("DB_URL", "mongodb://ann:passphrase@db/souk"),
        ("REALTIME_ADAPTER", "redis"),
        ("REDIS_URL", "redis://:passphrase@cache"),
        ("JWT_SECRET_KEY", "passphrase"),
        ("SMTP_HOST", "mail"),
        ("SMTP_PASSWORD", "passphrase"),
        ("STRIPE_SECRET_KEY", "sk_test_passphrase"),
        ("STRIPE_PUBLISHABLE_KEY", "pk_test_1"),
        ("STRIPE_WEBHOOK_SECRET", "whsec_passphrase"),
        ("PAYPAL_CLIENT_ID", "client"),
        ("PAYPAL_CLIENT_SECRET", "passphrase"),
        ("CLOUDINARY_NAME", "cloud"),
        ("CLOUDINARY_API_KEY", "key"),
        ("CLOUDINARY_API_SECRET", "passphrase"),
        ("ADMIN_EMAIL", "root@example.com"),
        ("ADMIN_PASSWORD", "passphrase"),
    ]);
    let printed = format!("{:?}", config.unwrap());
    assert!(!printed.contains("passphrase"), "{printed}");
}

#[test]
fn memory_is_given_in_bytes_or_larger_units() {
    let read = |text| read::parse_bytes(text);
    assert_eq!([read("64M"), read("64 MiB"), read("64mb")], [Some(64 << 20); 3]);
    assert_eq!((read("2G"), read("0"), read("4096")), (Some(2 << 30), Some(0), Some(4096)));
    assert_eq!((read("lots"), read("64T"), read("M"), read("-1")), (None, None, None, None));
    assert_eq!(with(&[]).unwrap().catalogue.memory, 2 << 30);
}
