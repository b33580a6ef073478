//! Everything that is not what an operation asks for, in each place of each operation, from the caller whom it is for:
//! the session is good, the ids are of what is there, and one thing is wrong. Made from `openapi.yaml`, so that no new
//! operation, field or parameter can be forgotten.
//!
//! What comes is a refusal in words, or, where the contract is lenient, an answer that the document promises; never a
//! fault. And **a refused request writes nothing**: the database before and after is compared to the byte.

use std::{collections::BTreeMap, future::ready};

use bson::{Bson, Document, doc};
use futures_util::{StreamExt as _, TryStreamExt as _, future::join_all, stream};
use serde_json::{Value, json};
use shared::{
    auth::Kind,
    model::{Shop, User},
};
use tests::{Browser, CLIENT, TestApp, contract::Spec};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::{
    furnished::Furnished,
    hostile::{Operation, PATIENCE, answered, check, places},
    mail::outbox_is_empty,
};

/// So many requests at a time to one market.
const AT_ONCE: usize = 4;

/// What no text of ours is, to be put in the place of a value.
const PLACE: &str = "\u{e000}here\u{e000}";
/// A value that is found in the database if what came with it was believed.
const SMUGGLED: &str = "smuggled-in";

/// One request that is wrong in one place.
#[derive(Clone)]
struct Wrong {
    what: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Option<(String, Vec<u8>)>,
    /// No such value may be taken for one that is meant.
    never: bool,
}

/// Values as they stand in JSON, for a place where text or a number is expected. The first ones are never one.
fn values() -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let never = [
        r#"{"$gt":""}"#,
        r#"{"$ne":null}"#,
        r#"{"$in":[""]}"#,
        r#"{"$where":"sleep(1000)"}"#,
        r#"{"$set":{"role":"Admin"}}"#,
        r#"{"a.b":1}"#,
        r#"{"__proto__":{"role":"Admin"}}"#,
        r#"{"constructor":{"prototype":{"role":"Admin"}}}"#,
        r#"{"$oid":"6744a0b1c2d3e4f5a6b7c801"}"#,
        r#"{"$numberLong":"1"}"#,
        r#"["a"]"#,
        r#"[{"$gt":""}]"#,
        "[[]]",
        "NaN",
        "-Infinity",
        "1e309",
        "01",
        "'a'",
        "undefined",
        r#""\ud800""#,
        r#""\x""#,
        "\"\n\"",
    ];
    let lenient = [
        "null",
        "true",
        "{}",
        "[]",
        "-1",
        "-0",
        "-0.0",
        "0.001",
        "1.005",
        "1e-7",
        "1e300",
        "9007199254740993",
        "18446744073709551616",
        "99999999999999999999999999",
        r#""""#,
        r#"" ""#,
        r#""0.001""#,
        r#""12,50""#,
        r#""-0""#,
        r#""NaN""#,
        r#""Infinity""#,
        r#""0x10""#,
        r#""1e999999999""#,
        r#""$where""#,
        r#""$$ROOT""#,
        r#""a.b""#,
        r#""__proto__""#,
        r#""constructor""#,
        r#""\u0000""#,
        r#""a\u0000b""#,
        r#""\u202e\ud83e\udd80""#,
        r#""<script>alert(1)</script>""#,
        r#""\r\nSet-Cookie: a=b""#,
    ];
    let own = |texts: &[&str]| texts.iter().map(|text| text.as_bytes().to_vec()).collect::<Vec<_>>();
    let (mut never, mut lenient) = (own(&never), own(&lenient));
    never.push(b"\"\xff\xfe\xc0\x80\"".to_vec());
    never.push([b"[".repeat(100_000), b"]".repeat(100_000)].concat());
    lenient.push(format!("\"{}\"", "9".repeat(400)).into_bytes());
    lenient.push(format!("\"{}\"", "a".repeat(100_000)).into_bytes());
    (never, lenient)
}

/// All of them in a full run (`SOUK_TRIAL=full`, some minutes). Else every so many-th, others for each place: over
/// all operations each value comes in many places, and the same ones in every run.
#[expect(clippy::disallowed_methods, reason = "no setting of the program's: how much to test")]
fn some<T>(all: Vec<T>, every: usize, place: &str) -> Vec<T> {
    if std::env::var("SOUK_TRIAL").is_ok_and(|size| size == "full") {
        return all;
    }
    let first = place.bytes().fold(7_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(byte)));
    all.into_iter()
        .enumerate()
        .filter(|(at, _)| (at + first).is_multiple_of(every))
        .map(|(_, one)| one)
        .collect()
}

/// Names that mean something to somebody.
const KEYS: [&str; 8] = ["$set", "$where", "a.b", "$gt", "__proto__", "constructor", "isAdmin", "\u{0}"];

/// Fields that no handler reads: an operation does not mind what is in them. Each is one that existing clients send.
const NOT_READ: [(&str, &str); 8] = [
    ("POST /api/order/create-order", "/cart/0/name"),
    ("POST /api/order/create-order", "/cart/0/discountPrice"),
    ("POST /api/order/create-order", "/paymentInfo/status"),
    ("POST /api/order/create-order", "/user"),
    ("POST /api/order/create-order", "/user/_id"),
    ("POST /api/conversation/create-new-conversation", "/groupTitle"),
    ("PUT /api/order/refund-order/{id}", "/status"),
    ("POST /api/stripe/webhook", ""),
];

/// With the value at a place replaced by other text.
fn with(body: &Value, place: &str, value: &[u8]) -> Vec<u8> {
    let mut body = body.clone();
    *body.pointer_mut(place).unwrap() = json!(PLACE);
    spliced(&body, value)
}

fn spliced(body: &Value, value: &[u8]) -> Vec<u8> {
    let text = body.to_string();
    let (before, after) = text.split_once(&json!(PLACE).to_string()).unwrap();
    [before.as_bytes(), value, after.as_bytes()].concat()
}

/// All that is wrong with a JSON body, one at a time.
fn wrong_bodies(operation: &Operation, example: &Value, path: &str) -> Vec<Wrong> {
    let name = format!("{} {}", operation.method, operation.template);
    let (never, lenient) = values();
    let mut all = Vec::new();
    let mut add = |what: String, body: Vec<u8>, never: bool| {
        let body = Some(("application/json".to_owned(), body));
        all.push(Wrong { what, path: path.to_owned(), headers: Vec::new(), body, never });
    };
    let short = |value: &[u8]| String::from_utf8_lossy(value).chars().take(40).collect::<String>();
    for place in places(example) {
        let at = format!("{name}{place}");
        let scalar = !example.pointer(&place).is_some_and(|value| value.is_object() || value.is_array());
        let unread = NOT_READ.iter().any(|(of, field)| *of == name && place == *field);
        // What is no JSON is refused wherever it stands.
        for value in &some(never.clone(), 3, &at) {
            let no_json = serde_json::from_slice::<Value>(value).is_err();
            // Of what nobody reads, no more than its end is looked for.
            let never = (no_json || scalar) && !unread;
            add(format!("{place} = {}", short(value)), with(example, &place, value), never);
        }
        for value in &some(lenient.clone(), 4, &at) {
            add(format!("{place} = {}", short(value)), with(example, &place, value), false);
        }
        if !scalar && !unread {
            for value in [r#""text""#, "7", r#"["a","b","c","d","e","f","g","h"]"#] {
                let list = example.pointer(&place).is_some_and(Value::is_array) && value.starts_with('[');
                add(format!("{place} = {value}"), with(example, &place, value.as_bytes()), !list);
            }
        }
        // Without it, and with it twice.
        if let Some((parent, key)) = place.rsplit_once('/') {
            let mut less = example.clone();
            if let Some(object) = less.pointer_mut(parent).and_then(Value::as_object_mut) {
                let value = object.remove(key).unwrap();
                let twice = {
                    object.insert(key.to_owned(), json!(PLACE));
                    spliced(&less, format!("{value},{}:{value}", json!(key)).as_bytes())
                };
                add(format!("{place} twice"), twice, false);
                less.pointer_mut(parent).and_then(Value::as_object_mut).unwrap().remove(key);
                add(format!("without {place}"), less.to_string().into_bytes(), false);
            }
        }
    }
    let objects = places(example).into_iter().filter(|at| example.pointer(at).is_some_and(Value::is_object));
    for place in objects.chain([String::new()]) {
        for key in some(KEYS.to_vec(), 4, &format!("{name}{place}")) {
            let mut more = example.clone();
            more.pointer_mut(&place).unwrap()[key] = json!({ "role": SMUGGLED, "$gt": SMUGGLED });
            add(format!("{place} with {key:?}"), more.to_string().into_bytes(), false);
        }
    }
    all
}

/// Bodies that are wrong as a whole: what they are, their content type, and the bytes.
fn junk(form: bool) -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let json = "application/json";
    let deep = |open: &str, close: &str| [open.repeat(100_000), close.repeat(100_000)].concat().into_bytes();
    let utf16: Vec<u8> = "{\"email\":\"a\"}".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let mut all = vec![
        ("an array", json, b"[]".to_vec()),
        ("an array of objects", json, br#"[{"$gt":""}]"#.to_vec()),
        ("an array of nulls", json, b"[null,null,null,null,null,null,null,null]".to_vec()),
        ("text", json, br#""text""#.to_vec()),
        ("a number", json, b"1e400".to_vec()),
        ("null", json, b"null".to_vec()),
        ("cut off", json, br#"{"email":"a"#.to_vec()),
        ("two values", json, b"{}{}".to_vec()),
        ("deep arrays", json, deep("[", "]")),
        ("deep objects", json, [deep(r#"{"name":"#, ""), b"1".to_vec(), deep("", "}")].concat()),
        ("no UTF-8", json, b"{\"email\":\"\xff\xfe\",\"name\":\"\xff\"}".to_vec()),
        ("UTF-16", "application/json; charset=utf-16", utf16),
        ("a byte order mark", json, b"\xef\xbb\xbf{}".to_vec()),
        ("blanks", json, b"   ".to_vec()),
        ("plain text", "text/plain", b"{}".to_vec()),
        ("an HTML form", "application/x-www-form-urlencoded", b"email=a&status=b".to_vec()),
        ("XML", "application/xml", b"<a/>".to_vec()),
        ("a type that is none", "\u{1f980}", b"{}".to_vec()),
        ("no boundary", "multipart/form-data", b"--x\r\n\r\n--x--\r\n".to_vec()),
        ("another boundary", "multipart/form-data; boundary=y", b"--x\r\n\r\n--x--\r\n".to_vec()),
    ];
    let part = |head: &str, body: &str| format!("--x\r\n{head}\r\n\r\n{body}\r\n--x--\r\n").into_bytes();
    if form {
        let kind = "multipart/form-data; boundary=x";
        all.extend([
            (
                "a cut off form",
                kind,
                b"--x\r\nContent-Disposition: form-data; name=\"images\"; filename=\"a.png\"\r\n\r\nab"
                    .to_vec(),
            ),
            ("a part without a name", kind, part("Content-Disposition: form-data", "ab")),
            ("a part without a head", kind, part("X-Nothing: a", "ab")),
            ("an empty form", kind, b"--x--\r\n".to_vec()),
            ("a form in a part", kind, part("Content-Type: multipart/mixed; boundary=y", "--y--")),
            (
                "two lengths",
                kind,
                part("Content-Disposition: form-data; name=\"name\"\r\nContent-Length: 99", "ab"),
            ),
        ]);
    }
    all
}

/// A form of the example's text fields, with one of them as the text given, and perhaps a field besides.
fn form(example: &Value, changed: &str, value: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    let known = example.as_object().unwrap().iter().map(|(name, value)| {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        (name.as_str(), text.into_bytes())
    });
    let mut fields: BTreeMap<&str, Vec<u8>> = known.filter(|(_, text)| text != b"(a picture)").collect();
    fields.insert(changed, value.to_vec());
    for (name, text) in fields {
        let pictures = matches!(name, "file" | "image" | "images");
        if pictures && name != changed {
            body.extend_from_slice(
                format!("--x\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"a.png\"\r\nContent-Type: image/png\r\n\r\n").as_bytes(),
            );
            body.extend_from_slice(&tests::picture::png());
        } else {
            body.extend_from_slice(
                format!("--x\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n").as_bytes(),
            );
            body.extend_from_slice(&text);
        }
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--x--\r\n");
    body
}

fn wrong_forms(example: &Value, path: &str) -> Vec<Wrong> {
    let (mut never, lenient) = values();
    let broken = never.iter().position(|value| value.contains(&0xff)).map(|at| never.remove(at));
    let broken = broken.map(|_| b"\xff\xfe\xc0\x80".to_vec());
    let fields = example.as_object().unwrap().keys().map(String::as_str);
    let fields: Vec<&str> = fields.chain(["$set", "a.b", "__proto__", "constructor"]).collect();
    // Quotes belong to JSON: a form has the text itself.
    let texts = never
        .into_iter()
        .chain(lenient)
        .map(|value| serde_json::from_slice::<String>(&value).map_or(value, String::into_bytes));
    let texts: Vec<Vec<u8>> = texts.chain(broken).collect();
    fields
        .iter()
        .flat_map(|field| {
            some(texts.clone(), 5, &format!("{path}{field}")).into_iter().map(move |text| (field, text))
        })
        .map(|(field, text)| Wrong {
            what: format!(
                "{field} = {}",
                String::from_utf8_lossy(&text).chars().take(40).collect::<String>()
            ),
            path: path.to_owned(),
            headers: Vec::new(),
            body: Some(("multipart/form-data; boundary=x".to_owned(), form(example, field, &text))),
            never: false,
        })
        .collect()
}

/// Texts for a place in an address, escaped as they must be to arrive.
fn addresses() -> Vec<String> {
    let mut all: Vec<String> = [
        "undefined",
        "null",
        "NaN",
        "6744a0b1c2d3e4f5a6b7c8f",
        "6744a0b1c2d3e4f5a6b7c8fg",
        "6744a0b1c2d3e4f5a6b7c8ff",
        "$gt",
        "%7B%22$gt%22:%22%22%7D",
        "__proto__",
        "constructor",
        "%00",
        "a%00b",
        "%ff%fe",
        "%ed%a0%80",
        "%",
        "50%OFF",
        "%2e%2e",
        "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "%F0%9F%A6%80",
        ".",
        "%0d%0aSet-Cookie:%20a=b",
        "000000000000000000000000",
        "-1",
        "1e309",
        "0.001",
        "*",
        "'",
        "a.b",
    ]
    .map(str::to_owned)
    .to_vec();
    all.push("a".repeat(10_000));
    all
}

/// All that is wrong with a path, the query and the headers.
fn wrong_places(operation: &Operation, market: &Furnished) -> Vec<Wrong> {
    let base = market.here(&operation.example_path());
    let body = operation
        .example
        .as_ref()
        .map(|example| ("application/json".to_owned(), market.here(&example.to_string()).into_bytes()));
    let wrong = |what: String, path: String, headers: Vec<(String, String)>| Wrong {
        what,
        path,
        headers,
        body: body.clone(),
        never: false,
    };
    let mut all = Vec::new();
    if operation.has_parameter() {
        for text in some(addresses(), 3, operation.template) {
            let what = format!("path {}", text.chars().take(40).collect::<String>());
            all.push(wrong(what, operation.path(&text), Vec::new()));
        }
    }
    let (query, headers) = operation.other_parameters();
    for name in query.into_iter().chain(["$where".to_owned()]) {
        for text in some(addresses(), 6, &format!("{base}{name}")).into_iter().chain([String::new()]) {
            let what = format!("?{name}={}", text.chars().take(40).collect::<String>());
            all.push(wrong(what, format!("{base}?{name}={text}"), Vec::new()));
        }
        for odd in [format!("{name}[$gt]="), format!("{name}[]=1&{name}=2&{name}=3"), format!("&&={name}&%")]
        {
            all.push(wrong(format!("?{odd}"), format!("{base}?{odd}"), Vec::new()));
        }
    }
    for name in headers {
        for value in ["", "\"", "W/", "\u{1f980}", "a b", "*", "{\"$gt\":\"\"}", &"k".repeat(5000)] {
            let what = format!("{name}: {}", value.chars().take(40).collect::<String>());
            all.push(wrong(what, base.clone(), vec![(name.clone(), value.to_owned())]));
        }
    }
    all
}

/// All there is about an operation.
fn corpus(operation: &Operation, market: &Furnished) -> Vec<Wrong> {
    let path = market.here(&operation.example_path());
    let mut all = Vec::new();
    // What takes no body and is called as it should be does what it is for: only its places are wrong then.
    if operation.takes_body() {
        for (what, kind, body) in some(junk(operation.form.is_some()), 2, operation.template) {
            // Nothing at all counts as an empty object, and some operations ask for no more.
            let body = Some((kind.to_owned(), body));
            let (what, path) = (what.to_owned(), path.clone());
            // A field that nobody knows may be as deep as it likes.
            let never = what != "deep objects";
            all.push(Wrong { what, path, headers: Vec::new(), body, never });
        }
        let gzip = vec![("content-encoding".to_owned(), "gzip".to_owned())];
        let zipped = Some((
            "application/json".to_owned(),
            b"\x1f\x8b\x08\0\0\0\0\0\0\x03\xab\xae\x05\0C\xbf\xa6\xa3\x02\0\0\0".to_vec(),
        ));
        all.push(Wrong {
            what: "zipped".into(),
            path: path.clone(),
            headers: gzip,
            body: zipped,
            never: true,
        });
    }
    if let Some(example) = &operation.example {
        let example: Value = serde_json::from_str(&market.here(&example.to_string())).unwrap();
        all.extend(wrong_bodies(operation, &example, &path));
    }
    if let Some(example) = &operation.form {
        let example: Value = serde_json::from_str(&market.here(&example.to_string())).unwrap();
        all.extend(wrong_forms(&example, &path));
    }
    all.extend(wrong_places(operation, market));
    all
}

/// Everything that is stored, but for what counts, leases and is a log.
async fn dump(app: &TestApp) -> BTreeMap<String, Vec<Document>> {
    let names = app.db.database().list_collection_names().await.unwrap().into_iter();
    let stays = |name: &String| !NOT_STATE.contains(&name.as_str()) && !name.starts_with("system.");
    let all = names.filter(stays).map(|name| async move {
        let found = app.db.raw::<Document>(&name).find(doc! {}).sort(doc! { "_id": 1 }).await.unwrap();
        (name, found.try_collect().await.unwrap())
    });
    join_all(all).await.into_iter().collect()
}

/// Collections that change without a request, or with every request.
const NOT_STATE: [&str; 6] =
    ["turns", "ratelimits", "auditlog", "sandboxcontrols", "sandboxevents", "sandboxpayments"];

fn difference(before: &BTreeMap<String, Vec<Document>>, after: &BTreeMap<String, Vec<Document>>) -> String {
    let mut said = String::new();
    for (name, now) in after {
        let then = before.get(name).map(Vec::as_slice).unwrap_or_default();
        for document in now.iter().filter(|document| !then.contains(document)) {
            let old = then.iter().find(|old| old.get("_id") == document.get("_id"));
            said += &format!("{name}: {document:.600} was {old:.600?}\n");
        }
        // The database removes these itself when their time is over.
        if name == "idempotencykeys" {
            continue;
        }
        let ids: Vec<Option<&Bson>> = now.iter().map(|document| document.get("_id")).collect();
        for document in then.iter().filter(|document| !ids.contains(&document.get("_id"))) {
            said += &format!("{name}: gone is {document:.600}\n");
        }
    }
    said
}

/// A session as good as the account has it now: what is lenient may have ended the one before.
async fn session(market: &Furnished, access: &str) -> Option<String> {
    let (app, now) = (&market.app, market.app.clock.now());
    market.rightful(access)?;
    if access.ends_with("seller") && !access.starts_with("buyer") {
        let shop = app.db.of::<Shop>().find_one(doc! { "_id": market.bob.id }).await.unwrap().unwrap();
        return Some(app.sessions().issue(Kind::Seller, &shop.id.hex(), shop.session_version, now).unwrap());
    }
    let who = if access.ends_with("admin") { market.root.id } else { market.ann.id };
    let user = app.db.of::<User>().find_one(doc! { "_id": who }).await.unwrap().unwrap();
    Some(app.sessions().issue(Kind::User, &user.id.hex(), user.session_version, now).unwrap())
}

/// Sends it, and says what is wrong with the answer; whether it was refused, else.
async fn tried(
    page: &Browser,
    operation: &Operation,
    token: Option<&str>,
    wrong: &Wrong,
) -> Result<bool, String> {
    let what = format!("{} {} {}", operation.method, operation.template, wrong.what);
    let mut call = operation.call(page, &wrong.path);
    if let Some(token) = token {
        call = call.bearer(token);
    }
    for (name, value) in &wrong.headers {
        call = call.header(name, value);
    }
    if let Some((kind, body)) = &wrong.body {
        call = call.body(kind, body.clone());
    }
    let named = what.clone();
    let answer = check(async move { answered(call, &named).await }).await?;
    if answer.status < 400 && wrong.never {
        return Err(format!("{what}: taken for a request, {} {:.200}", answer.status, answer.text()));
    }
    // A path that is another one, or none, says so in its own words.
    let there = !matches!(answer.status, 404 | 405);
    let kind = answer.header("content-type");
    let promised = Spec::load().check(operation.method, &wrong.path, answer.status, kind, &answer.body);
    match promised {
        Err(why) if there => Err(format!("{what}: {why}")),
        // A session that another of these requests has ended says nothing of this one.
        _ => Ok(answer.status >= 400 && (answer.status != 401 || token.is_none())),
    }
}

/// The whole batch, in some order; which ones were refused.
async fn sent(
    market: &Furnished,
    operation: &Operation,
    batch: Vec<Wrong>,
    faults: &mut Vec<String>,
) -> Vec<Wrong> {
    let token = session(market, operation.access).await;
    let (token, page) = (token.as_deref(), &market.app.browser().on(CLIENT));
    let answers = stream::iter(batch)
        .map(|wrong| async move { (tried(page, operation, token, &wrong).await, wrong) })
        .buffered(AT_ONCE);
    let mut refused = Vec::new();
    answers
        .for_each(|(verdict, wrong)| {
            match verdict {
                Ok(true) => refused.push(wrong),
                Ok(false) => {}
                Err(why) => faults.push(why),
            }
            ready(())
        })
        .await;
    refused
}

/// Every operation's corpus against a market of its own kind.
async fn holds(operations: Vec<Operation>) -> Vec<String> {
    let market = Furnished::market().await;
    // The sandbox calls webhooks in its own time, and what they change is not what a refused request wrote.
    for gateway in ["stripe", "paypal"] {
        let told = market.root.post(&format!("/api/sandbox/{gateway}"));
        told.json(&json!({ "webhooks": { "hold": true } })).await.expect(200);
    }
    let mut faults = Vec::new();
    let mut requests = 0;
    for operation in &operations {
        let batch = corpus(operation, &market);
        requests += batch.len();
        let began = std::time::Instant::now();
        let all = batch.len();
        outbox_is_empty(&market.app).await;
        let before = dump(&market.app).await;
        let mut refused = sent(&market, operation, batch, &mut faults).await;
        let mut then = before;
        if refused.len() < all {
            // Something was taken, and may have been written down. The rest once more, alone.
            outbox_is_empty(&market.app).await;
            then = dump(&market.app).await;
            refused = sent(&market, operation, refused, &mut faults).await;
        }
        println!("{} {}: {all} requests, {:?}", operation.method, operation.template, began.elapsed());
        let now = dump(&market.app).await;
        let changed = difference(&then, &now);
        if !changed.is_empty() {
            let what = format!("{} {}", operation.method, operation.template);
            faults.push(format!("{what}: {} refused requests wrote\n{changed}", refused.len()));
        }
    }
    let all = dump(&market.app).await;
    for (collection, documents) in &all {
        for document in documents.iter().filter(|document| document.to_string().contains(SMUGGLED)) {
            faults.push(format!("{collection}: a field that nobody knows was stored: {document:.600}"));
        }
    }
    println!("{requests} requests to {} operations", operations.len());
    faults
}

/// Every so many-th operation, from this one on: in parts that run side by side.
const PARTS: usize = 2;

async fn part(number: usize) {
    let mut operations = Operation::all();
    // It lets go of the webhooks that are held.
    operations.sort_by_key(|operation| operation.template.starts_with("/api/sandbox"));
    let mine = operations.into_iter().enumerate().filter(|(at, _)| at % PARTS == number);
    let faults = holds(mine.map(|(_, operation)| operation).collect()).await;
    assert!(faults.is_empty(), "{} of them:\n{}", faults.len(), faults.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_in_one_place_is_refused_and_writes_nothing_in_one_half_of_the_operations() {
    part(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_in_one_place_is_refused_and_writes_nothing_in_the_other_half() {
    part(1).await;
}

/// Says only how it would be, and waits for the answer without sending it.
async fn announced(
    app: &TestApp,
    operation: &Operation,
    path: &str,
    token: Option<&str>,
    head: &str,
    body: &[u8],
) {
    let address = app.base.trim_start_matches("http://").to_owned();
    let what = format!("{} {path} {head:.60}", operation.method);
    let authorization = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    let kind =
        if operation.example.is_some() { "application/json" } else { "multipart/form-data; boundary=x" };
    let request = format!(
        "{} {path} HTTP/1.1\r\nHost: {address}\r\nOrigin: {CLIENT}\r\nContent-Type: {kind}\r\n{authorization}{head}\r\n\r\n",
        operation.method
    );
    let (mut stream, mut sending) = TcpStream::connect(&address).await.unwrap().into_split();
    sending.write_all(request.as_bytes()).await.unwrap();
    let body = body.to_vec();
    // It may be answered, and the connection closed, before all of it is sent.
    let sending = tokio::spawn(async move {
        sending.write_all(&body).await.ok();
        sending
    });
    let mut reply = Vec::new();
    let mut buffer = [0; 4096];
    let head = timeout(PATIENCE, async {
        loop {
            let read = stream.read(&mut buffer).await.unwrap_or(0);
            reply.extend_from_slice(&buffer[..read]);
            if read == 0 || reply.windows(4).any(|four| four == b"\r\n\r\n") {
                break;
            }
        }
    });
    head.await.unwrap_or_else(|_| panic!("{what}: no answer before the whole body has come"));
    sending.abort();
    let reply = String::from_utf8_lossy(&reply);
    let status = reply.split(' ').nth(1).unwrap_or_default();
    assert!(["400", "401", "403", "404", "409", "413", "415"].contains(&status), "{what}: {reply}");
}

#[tokio::test]
async fn a_body_of_fifty_megabytes_is_refused_before_it_comes() {
    let market = Furnished::market().await;
    let mut chunks = Vec::new();
    for _ in 0..50 {
        chunks.extend_from_slice(b"10000\r\n");
        chunks.extend_from_slice(&[b' '; 0x10000]);
        chunks.extend_from_slice(b"\r\n");
    }
    for operation in Operation::all().into_iter().filter(Operation::takes_body) {
        let path = market.here(&operation.example_path());
        let token = market.rightful(operation.access);
        announced(&market.app, &operation, &path, token, "Content-Length: 52428800", b"{").await;
        if operation.form.is_none() {
            announced(&market.app, &operation, &path, token, "Transfer-Encoding: chunked", &chunks).await;
        }
    }
}
