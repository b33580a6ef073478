//! What the application writes to its log, read while the tests run: every line, down to the details that an operator
//! may switch on, and none may hold a secret.

use std::{
    io::{self, Write},
    sync::{
        Mutex, Once, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use shared::telemetry;
use tracing_subscriber::fmt::MakeWriter;

use crate::{legacy, paypal, people, stripe};

/// Secrets of the tests' settings. The password of the mail server is also sent in Base64.
const SETTINGS: &[&str] = &[
    SESSIONS,
    MAIL_PASSWORD,
    "bWFpbCBwYXNzd29yZA",
    stripe::SECRET_KEY,
    stripe::WEBHOOK_SECRET,
    paypal::CLIENT_SECRET,
    people::PASSWORD,
    legacy::PASSWORD,
];

/// What signs the sessions.
pub const SESSIONS: &str = "a secret for the tests alone";
/// What the mail server is told.
pub const MAIL_PASSWORD: &str = "mail password";

/// How secrets begin that are made while the tests run: sessions, password hashes, what lets a browser confirm a
/// payment, PayPal's access tokens.
const BEGINNINGS: &[&str] = &["eyJ", "$2a$", "$2b$", "$2y$", "_secret_", "A21AA"];

/// How much of everything is written: all that is ours, and what the libraries below tell an operator who looks for a
/// fault.
const DETAIL: &str = "debug,api=trace,shared=trace,realtime=trace,souk=trace";

/// How many lines were read.
static LINES: AtomicU64 = AtomicU64::new(0);
/// Those that should not have been written.
static FOUND: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Reads all that this process writes to its log from now on.
pub fn watch() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        tracing_subscriber::fmt()
            .with_env_filter(telemetry::wanted(DETAIL))
            .with_ansi(false)
            .with_writer(Reader)
            .init();
    });
}

/// How many lines this process has written so far.
pub fn lines() -> u64 {
    LINES.load(Ordering::Relaxed)
}

/// Fails if a secret was written to the log so far.
pub fn assert_no_secrets() {
    let found = FOUND.lock().unwrap_or_else(PoisonError::into_inner);
    assert!(found.is_empty(), "the log holds secrets:\n{}", found.join("\n"));
}

/// The secret that a text holds, if there is one.
pub fn secret_in(text: &str) -> Option<&str> {
    let known = SETTINGS.iter().chain(BEGINNINGS).find_map(|secret| text.find(secret));
    let at = known.or_else(|| one_time_token(text))?;
    text.get(at..)
}

/// Where a one-time token stands: 64 hexadecimal digits. A key under which Stripe is asked once looks the same, and is
/// no secret.
fn one_time_token(text: &str) -> Option<usize> {
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let mut before = "";
    for word in words {
        let looks_so = word.len() == 64 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
        if looks_so && before != "IdempotencyKey" {
            return text.find(word);
        }
        before = word;
    }
    None
}

/// Takes lines, and keeps those with a secret.
struct Reader;

impl Write for &Reader {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        LINES.fetch_add(1, Ordering::Relaxed);
        let text = String::from_utf8_lossy(line);
        if secret_in(&text).is_some() {
            FOUND.lock().unwrap_or_else(PoisonError::into_inner).push(text.into_owned());
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Reader {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}
