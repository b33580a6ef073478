//! Scans every answer that a test sees for what is private: secrets of anybody, and details of anybody but the caller.
//!
//! `openapi.yaml` says which fields an answer has. Whose they are it cannot say; that is told here by where they stand:
//! a detail belongs to the nearest object around it that has an `_id`. It may be the caller's own, or `SHARED` says
//! why somebody else sees it.

use reqwest::header::{AUTHORIZATION, COOKIE, HeaderMap, SET_COOKIE};
use serde_json::{Map, Value};
use shared::auth::{MARKER_COOKIE, SELLER_COOKIE, USER_COOKIE};

/// Fields that hold nobody's business.
const NEVER: [&str; 6] =
    ["password", "resetPasswordToken", "resetPasswordTime", "activationDigest", "balanceMinor", "ver"];

/// Fields that tell about a person or a shop what is not for everybody.
const PRIVATE: [&str; 16] = [
    "email",
    "phoneNumber",
    "addresses",
    "address",
    "address1",
    "address2",
    "zipCode",
    "shippingAddress",
    "withdrawMethod",
    "bankAccountNumber",
    "bankSwiftCode",
    "bankHolderName",
    "bankAddress",
    "availableBalance",
    "balance",
    "transections",
];

const SESSION: &str = "a session";
const TOKEN: &str = "a one-time token or its digest";

/// Where a session is handed out, and the account with it.
const SESSIONS: [&str; 4] = [
    "POST /api/user/login-user",
    "POST /api/user/activation",
    "POST /api/shop/shop-login",
    "POST /api/shop/seller/activation",
];

/// Who may see what of somebody else.
struct Shared {
    /// The end of the operation's name; empty for all.
    operation: &'static str,
    /// Below which field it stands; empty for anywhere.
    below: &'static str,
    fields: &'static [&'static str],
    to: To,
    #[expect(dead_code, reason = "for whoever reads or extends the table")]
    because: &'static str,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum To {
    Everybody,
    /// Those whose id is part of the same thing: the buyer and the shop of an order.
    Parties,
    /// On an operation for administrators.
    Admins,
    /// Calls without a credential, where they are accepted at all.
    Bare,
}

const SHARED: [Shared; 9] = [
    Shared {
        operation: "GET /api/shop/get-shop-info/{id}",
        below: "",
        fields: &["phoneNumber", "address", "zipCode"],
        to: To::Everybody,
        because: "the client shows a shop's number and address on its public page",
    },
    Shared {
        operation: "GET /api/shop/get-shop-info/{id}",
        below: "",
        fields: &["availableBalance"],
        to: To::Bare,
        because: "the client reads a shop's own balance there without a cookie, where AUTH_MODE allows that",
    },
    Shared {
        operation: "GET /api/shop/seller-info/{id}",
        below: "",
        fields: &["phoneNumber", "address", "zipCode"],
        to: To::Everybody,
        because: "it is the same public page",
    },
    Shared {
        operation: "",
        below: "",
        fields: &["shippingAddress", "address1", "address2", "zipCode", "phoneNumber"],
        to: To::Parties,
        because: "a shop delivers what was ordered there, and asks the buyer at the door",
    },
    Shared {
        operation: "",
        below: "shop",
        fields: &["phoneNumber", "address"],
        to: To::Everybody,
        because: "a listing says who sells it, as the shop's public page does",
    },
    Shared {
        operation: "GET /api/admin/audit-log",
        below: "entries",
        fields: &["address"],
        to: To::Admins,
        because: "an administrator sees from which network address something was tried",
    },
    Shared {
        operation: "",
        below: "",
        fields: &["email", "phoneNumber", "address", "zipCode", "availableBalance"],
        to: To::Admins,
        because: "an administrator looks after accounts, and has to find them and to reach their owners",
    },
    Shared {
        operation: "",
        below: "orders",
        fields: &["shippingAddress", "address1", "address2", "zipCode", "phoneNumber"],
        to: To::Admins,
        because: "an administrator who settles what went wrong with an order sees it as its parties do",
    },
    Shared {
        operation: "",
        below: "seller",
        fields: &["withdrawMethod", "bankAccountNumber", "bankSwiftCode", "bankHolderName", "bankAddress"],
        to: To::Admins,
        because: "an administrator sends a withdrawal to that account",
    },
];

/// A call, as far as it matters who made it.
pub struct Asked<'a> {
    /// Method and path template.
    pub operation: String,
    /// The operation in `openapi.yaml`.
    pub promised: &'a Value,
    /// Who the credentials sent are about, and those handed out in return.
    pub callers: Vec<String>,
}

/// The accounts that credentials speak of, whether or not they prove them: another test's business.
pub fn callers(sent: &HeaderMap, answered: &HeaderMap) -> Vec<String> {
    let text = |value: &reqwest::header::HeaderValue| value.to_str().unwrap_or_default().to_owned();
    let cookies = sent.get_all(COOKIE).iter().map(text);
    let pairs = cookies.flat_map(|line| line.split(';').map(str::to_owned).collect::<Vec<_>>());
    let given = answered.get_all(SET_COOKIE).iter().map(text);
    let given = given.filter_map(|line| line.split(';').next().map(str::to_owned));
    let bearer = sent.get(AUTHORIZATION).map(text);
    let bearer = bearer.and_then(|line| line.split_once(' ').map(|(_, token)| token.trim().to_owned()));
    let named = pairs.chain(given).filter_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        [USER_COOKIE, SELLER_COOKIE, MARKER_COOKIE].contains(&name).then(|| value.to_owned())
    });
    let mut accounts: Vec<String> = named.chain(bearer).filter_map(|token| account(&token)).collect();
    accounts.sort();
    accounts.dedup();
    accounts
}

/// Whose a session claims to be.
fn account(token: &str) -> Option<String> {
    let payload = decode(token.split('.').nth(1)?)?;
    let claims: Value = serde_json::from_slice(&payload).ok()?;
    claims["id"].as_str().filter(|id| id.len() == 24).map(str::to_owned)
}

/// Base64 for URLs, without padding.
fn decode(text: &str) -> Option<Vec<u8>> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (mut bytes, mut bits, mut held) = (Vec::new(), 0u32, 0u32);
    for byte in text.bytes() {
        let digit = DIGITS.iter().position(|known| *known == byte)?;
        (bits, held) = (bits << 6 | u32::try_from(digit).ok()?, held + 6);
        if held >= 8 {
            held -= 8;
            bytes.push(u8::try_from(bits >> held & 0xff).ok()?);
        }
    }
    Some(bytes)
}

/// Whether the answer holds nothing that is not for its caller. `Err` says what and where.
pub fn scan(asked: &Asked<'_>, body: &[u8]) -> Result<(), String> {
    let Ok(body) = serde_json::from_slice::<Value>(body) else { return Ok(()) };
    let mut found = Vec::new();
    walk(asked, &body, &mut Place::default(), &mut found);
    if found.is_empty() {
        return Ok(());
    }
    let who = if asked.callers.is_empty() { "nobody".to_owned() } else { asked.callers.join(" and ") };
    Err(format!("{} tells {who} what is private: {}", asked.operation, found.join("; ")))
}

/// Whether an event of the chat holds nothing private at all: nothing of it belongs there.
pub fn scan_event(name: &str, payload: &Value) -> Result<(), String> {
    let inside: Vec<&Value> = match payload {
        Value::Object(object) => {
            let private = |key: &&String| NEVER.contains(&key.as_str()) || PRIVATE.contains(&key.as_str());
            if let Some(key) = object.keys().find(private) {
                return Err(format!("the event {name} tells what is private: {key}"));
            }
            object.values().collect()
        }
        Value::Array(items) => items.iter().collect(),
        _ => return Ok(()),
    };
    inside.into_iter().try_for_each(|value| scan_event(name, value))
}

/// Where the walk is.
#[derive(Default)]
struct Place<'v> {
    steps: Vec<String>,
    /// The objects with an `_id` around it, the nearest last.
    things: Vec<&'v Map<String, Value>>,
}

fn walk<'v>(asked: &Asked<'_>, value: &'v Value, place: &mut Place<'v>, found: &mut Vec<String>) {
    match value {
        Value::Object(object) => {
            let is_thing = object.get("_id").is_some_and(Value::is_string);
            if is_thing {
                place.things.push(object);
            }
            for (key, value) in object {
                place.steps.push(key.clone());
                let at = || place.steps.join(".");
                if NEVER.contains(&key.as_str()) {
                    found.push(at());
                } else if PRIVATE.contains(&key.as_str()) && !is_nothing(value) && !may_see(asked, key, place)
                {
                    found.push(format!("{} {value}", at()));
                } else {
                    walk(asked, value, place, found);
                }
                place.steps.pop();
            }
            if is_thing {
                place.things.pop();
            }
        }
        Value::Array(list) => list.iter().for_each(|value| walk(asked, value, place, found)),
        Value::String(text) => {
            if let Some(secret) = secret_in(text)
                && !is_handed_out(asked, secret, place)
            {
                found.push(format!("{} holds {secret}", place.steps.join(".")));
            }
            let is_own = place.steps.last().is_some_and(|key| key == "email");
            if !is_own && has_address(text) {
                found.push(format!("{} holds an e-mail address: {text}", place.steps.join(".")));
            }
        }
        _ => {}
    }
}

/// The few secrets that are for whoever gets them.
fn is_handed_out(asked: &Asked<'_>, secret: &str, place: &Place<'_>) -> bool {
    match secret {
        SESSION => SESSIONS.contains(&asked.operation.as_str()) && place.steps == ["token"],
        // By the keyed digest of an address of e-mail an administrator sees what was tried on one account.
        TOKEN => asked.operation == "GET /api/admin/audit-log",
        _ => false,
    }
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(object) => object.values().all(is_nothing),
        _ => false,
    }
}

fn may_see(asked: &Asked<'_>, field: &str, place: &Place<'_>) -> bool {
    let is_callers = |id: &Value| asked.callers.iter().any(|caller| id == caller);
    let own = match place.things.last() {
        Some(thing) => is_callers(&thing["_id"]),
        // Nobody is named: fine where it can be about nobody but the caller.
        None => asked.promised["x-stranger"] == "own",
    };
    // Saved addresses have ids of their own.
    let own = own
        || place.steps.iter().any(|step| step == "addresses")
            && place.things.iter().any(|t| is_callers(&t["_id"]));
    let access = asked.promised["x-access"].as_str().unwrap_or_default();
    let bare = asked.callers.is_empty();
    let shared = |row: &Shared| {
        asked.operation.ends_with(row.operation)
            && row.fields.contains(&field)
            && (row.below.is_empty() || place.steps.iter().any(|step| step == row.below))
            && match row.to {
                To::Everybody => true,
                To::Bare => bare,
                To::Admins => access == "admin",
                To::Parties => place.things.iter().any(|thing| {
                    let text = Value::Object((*thing).clone()).to_string();
                    asked.callers.iter().any(|caller| text.contains(caller.as_str()))
                }),
            }
    };
    // A bare call was accepted as the owner's: the mode's decision, which `x-access` tells of.
    own || bare && access.starts_with("bare-") || SHARED.iter().any(shared)
}

/// What nobody may be told, by its looks.
fn secret_in(text: &str) -> Option<&'static str> {
    if ["$2a$", "$2b$", "$2y$"].iter().any(|start| text.contains(start)) {
        return Some("a password's hash");
    }
    let is_session = |word: &str| word.starts_with("eyJ") && word.matches('.').count() == 2;
    if text.split(|c: char| !(c.is_ascii_alphanumeric() || "-_.".contains(c))).any(is_session) {
        return Some(SESSION);
    }
    let is_digest = |word: &str| word.len() == 64 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    text.split(|c: char| !c.is_ascii_alphanumeric()).any(is_digest).then_some(TOKEN)
}

fn has_address(text: &str) -> bool {
    let is_word = |c: char| c.is_ascii_alphanumeric() || "._%+-".contains(c);
    text.char_indices().filter(|(_, c)| *c == '@').any(|(at, _)| {
        let (before, after) = (&text[..at], &text[at + 1..]);
        let domain: String = after.chars().take_while(|c| is_word(*c)).collect();
        before.chars().next_back().is_some_and(is_word) && domain.trim_end_matches('.').contains('.')
    })
}
