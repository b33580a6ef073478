//! Junk, forgeries and strangers, sent to every operation that `openapi.yaml` knows: whatever comes, the answer is a
//! refusal in words that the client's page may read, never a fault and never silence.

use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};
use shared::{
    auth::{Kind, SELLER_COOKIE, Sessions, USER_COOKIE},
    clock::plus,
    id::Id,
};
use tests::{Answer, Browser, CLIENT, Call, Form, TestApp, contract::Spec};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

/// An id that nothing has.
const NOBODY: &str = "6744a0b1c2d3e4f5a6b7c8ff";

/// Stands where a credential's header would, for a form without one.
const A_FORM: &str = "x-form";

/// Longer for an answer, and the request hangs.
const PATIENCE: Duration = Duration::from_secs(20);

/// So many requests at a time.
const AT_ONCE: usize = 8;

struct Operation {
    method: &'static str,
    template: &'static str,
    access: &'static str,
    /// The documented example of the JSON body.
    example: Option<Value>,
    /// It takes a form instead.
    form: bool,
}

impl Operation {
    fn all() -> Vec<Self> {
        let spec = Spec::load();
        let at = |pointer: &str| spec.resolve(pointer).ok().and_then(|at| spec.document().pointer(&at));
        spec.operations()
            .into_iter()
            .map(|(method, template)| {
                let escaped = template.replace('/', "~1");
                let place = format!("/paths/{escaped}/{}", method.to_ascii_lowercase());
                let content =
                    at(&format!("{place}/requestBody")).map_or(&Value::Null, |body| &body["content"]);
                let json = &content["application/json"];
                let first = json["examples"].as_object().and_then(|all| all.values().next());
                let example = json.get("example").or(first.map(|one| &one["value"]));
                Self {
                    method,
                    template,
                    access: at(&place).and_then(|operation| operation["x-access"].as_str()).unwrap(),
                    example: example.cloned(),
                    form: content.get("multipart/form-data").is_some(),
                }
            })
            .collect()
    }

    /// With this in place of each parameter.
    fn path(&self, parameter: &str) -> String {
        let steps = self.template.split('/').map(|step| if step.starts_with('{') { parameter } else { step });
        steps.collect::<Vec<_>>().join("/")
    }

    fn has_parameter(&self) -> bool {
        self.template.contains('{')
    }

    fn changes_something(&self) -> bool {
        self.method != "GET"
    }

    fn is_open(&self) -> bool {
        self.access == "anonymous"
    }

    /// From this browser, without its cookies.
    fn call(&self, browser: &Browser, path: &str) -> Call {
        browser.call(self.method, path).bare().unchecked()
    }
}

/// Sends it, in time, and holds the answer to what every answer promises. Whether it was refused.
async fn answered(call: Call, what: &str) -> Answer {
    let answer = timeout(PATIENCE, async { call.await }).await;
    let answer = answer.unwrap_or_else(|_| panic!("{what}: no answer"));
    let said = || format!("{what}: {} {}", answer.status, answer.text());
    assert!(answer.status < 500, "{}", said());
    assert_eq!(answer.header("access-control-allow-origin"), Some(CLIENT), "{}", said());
    assert_eq!(answer.header("access-control-allow-credentials"), Some("true"), "{}", said());
    if answer.status >= 400 && answer.method != "HEAD" {
        let Ok(body) = serde_json::from_slice::<Value>(&answer.body) else { panic!("no JSON, {}", said()) };
        Spec::load()
            .validate("/components/schemas/Error", &body)
            .unwrap_or_else(|why| panic!("{why}, {}", said()));
        assert_eq!(body["requestId"].as_str(), answer.header("x-request-id"), "{}", said());
    }
    answer
}

/// All requests go out whatever becomes of one, so that one run shows every defect.
async fn all<F: Future<Output = Result<(), String>>>(checks: impl IntoIterator<Item = F>) {
    let verdicts: Vec<_> = stream::iter(checks).buffer_unordered(AT_ONCE).collect().await;
    assert!(!verdicts.is_empty());
    let wrong: Vec<String> = verdicts.into_iter().filter_map(Result::err).collect();
    assert!(wrong.is_empty(), "{} of them:\n{}", wrong.len(), wrong.join("\n"));
}

/// A check that fails says why instead of ending the test.
async fn check<T>(work: impl Future<Output = T> + Send + 'static) -> Result<T, String>
where
    T: Send + 'static,
{
    tokio::spawn(work).await.map_err(|failure| {
        let panic = failure.into_panic();
        panic.downcast_ref::<String>().cloned().unwrap_or_else(|| "a check panicked".to_owned())
    })
}

/// The same claims under `{"alg":"none","typ":"JWT"}` and without a signature.
fn unsigned(token: &str) -> String {
    format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{}.", token.split('.').nth(1).unwrap())
}

/// Cookies that prove an administrator and a shop, both new: some operations end every session of whoever calls.
async fn sessions(app: &TestApp) -> String {
    let name = Id::<()>::new().hex();
    let (user, shop) = (app.admin(&name).await, app.seller(&name).await);
    format!("{USER_COOKIE}={}; {SELLER_COOKIE}={}", user.token, shop.token)
}

#[tokio::test]
async fn no_forged_expired_or_misplaced_session_opens_a_protected_operation() {
    let app = TestApp::start().await;
    let page = app.browser().on(CLIENT);
    let (ann, bob) = (app.buyer("ann").await, app.seller("bob").await);
    let (user, shop, now) = (ann.id.hex(), bob.id.hex(), app.clock.now());
    let issue = |sessions: &Sessions, ver, at| {
        let user = sessions.issue(Kind::User, &user, ver, at).unwrap();
        (user, sessions.issue(Kind::Seller, &shop, ver, at).unwrap())
    };
    let ours = app.sessions();
    let ttl = i64::try_from(app.config.session_ttl.as_millis()).unwrap();
    let pairs = [
        ("forged", issue(&Sessions::new("another secret", 3600), 0, now)),
        ("expired", issue(&ours, 0, plus(now, -ttl - 1000))),
        ("revoked", issue(&ours, 7, now)),
        ("unsigned", (unsigned(&ann.token), unsigned(&bob.token))),
        ("of the other kind", (bob.token.clone(), ann.token.clone())),
        (
            "of nobody",
            (
                ours.issue(Kind::User, NOBODY, 0, now).unwrap(),
                ours.issue(Kind::Seller, NOBODY, 0, now).unwrap(),
            ),
        ),
        (
            "with an operator for an id",
            (
                ours.issue(Kind::User, r#"{"$gt":""}"#, 0, now).unwrap(),
                ours.issue(Kind::Seller, "", 0, now).unwrap(),
            ),
        ),
        ("junk", ("\u{1f980}; a=b".to_owned(), ".".repeat(3000))),
    ];
    let mut headers = vec![("anonymous".to_owned(), "x-nothing", String::new())];
    for (name, (user, seller)) in pairs {
        let cookies = format!("{USER_COOKIE}={user}; {SELLER_COOKIE}={seller}; token={user}");
        headers.push((format!("{name} in cookies"), "cookie", cookies));
        if name != "of the other kind" && name != "junk" {
            headers.push((format!("{name} as user bearer"), "authorization", format!("Bearer {user}")));
            headers.push((format!("{name} as seller bearer"), "authorization", format!("bearer {seller}")));
        }
    }
    // What a form says is not even read.
    headers.push(("anonymous with a form".to_owned(), A_FORM, String::new()));
    headers.push(("no such scheme".to_owned(), "authorization", format!("Basic {}", ann.token)));

    let mut checks = Vec::new();
    for operation in Operation::all() {
        for (name, header, value) in &headers {
            if *header == A_FORM && !operation.form {
                continue;
            }
            let path = operation.path(&user);
            let what = format!("{} {path} {name}", operation.method);
            let mut call = operation.call(&page, &path).header(header, value);
            if *header == A_FORM {
                call = call.form(Form::new().text("text", "hello").picture("images"));
            } else if let Some(example) = operation.example.as_ref().filter(|_| operation.changes_something())
            {
                call = call.json(example);
            }
            let open = operation.is_open();
            checks.push(check(async move {
                let answer = answered(call, &what).await;
                assert!(open || answer.status == 401, "{what}: {} {}", answer.status, answer.text());
            }));
        }
    }
    all(checks).await;
}

#[tokio::test]
async fn no_id_in_a_path_is_a_fault() {
    let app = TestApp::start().await;
    let page = app.browser().on(CLIENT);
    let long = "a".repeat(10_000);
    let ids = [
        "undefined",
        "null",
        "NaN",
        "6744a0b1c2d3e4f5a6b7c8f",
        "6744a0b1c2d3e4f5a6b7c8fg",
        NOBODY,
        "$gt",
        "%7B%22$gt%22:%22%22%7D",
        "%00",
        "a%00b",
        "%ff%fe",
        "%",
        "50%OFF",
        "%2e%2e",
        "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "%F0%9F%A6%80",
        ".",
        "%0d%0aSet-Cookie:%20a=b",
        "000000000000000000000000",
        "-1",
        "*",
        "'",
        &long,
    ];
    let mut checks = Vec::new();
    for operation in Operation::all().into_iter().filter(Operation::has_parameter) {
        let cookies = sessions(&app).await;
        for id in ids {
            let path = operation.path(id);
            let what = format!("{} {}", operation.method, path.chars().take(120).collect::<String>());
            let mut call = operation.call(&page, &path).header("cookie", &cookies);
            if let Some(example) = &operation.example {
                call = call.json(example);
            }
            checks.push(check(async move {
                answered(call, &what).await;
            }));
        }
    }
    all(checks).await;
}

/// Paths that no client library sends: it would tidy them first.
#[tokio::test]
async fn untidy_paths_are_refused_in_json() {
    let app = TestApp::start().await;
    let address = app.base.trim_start_matches("http://").to_owned();
    for path in [
        "/api/product/get-product/..",
        "/api/product/get-product/../../..",
        "/uploads/../../../etc/passwd",
        "/uploads/..%2f..%2f..%2fetc/passwd",
        "/uploads//etc/passwd",
        "/uploads/%00",
        "/uploads/.",
        "/uploads/a\\..\\b",
        "/api//product/get-all-products",
        "/api/product/get-product/",
        "//evil.example/",
        "/api/product/get-product/a?b?c=%",
        "/uploads/https://evil.example/a.png",
        "/uploads//evil.example",
    ] {
        let mut stream = TcpStream::connect(&address).await.unwrap();
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {address}\r\nOrigin: {CLIENT}\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut reply = Vec::new();
        timeout(PATIENCE, stream.read_to_end(&mut reply)).await.unwrap().unwrap();
        let reply = String::from_utf8_lossy(&reply);
        let (head, body) = reply.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{path}: {reply}"));
        let status = head.split(' ').nth(1).unwrap_or_default();
        assert!(status.starts_with('4'), "{path}: {reply}");
        assert!(head.contains(CLIENT), "{path}: {reply}");
        let body: Value = serde_json::from_str(body).unwrap_or_else(|_| panic!("{path}: {reply}"));
        assert!(body["message"].is_string(), "{path}: {body}");
    }
}

/// Bodies that are no form and no JSON object, with their content type.
fn junk() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let deep = |open: &str, close: &str| [open.repeat(10_000), close.repeat(10_000)].concat().into_bytes();
    let json = "application/json";
    vec![
        ("an array", json, b"[]".to_vec()),
        ("an array of objects", json, br#"[{"$gt":""}]"#.to_vec()),
        ("text", json, br#""text""#.to_vec()),
        ("a number", json, b"1e400".to_vec()),
        ("a large number", json, b"99999999999999999999999999".to_vec()),
        ("null", json, b"null".to_vec()),
        ("cut off", json, br#"{"email":"a"#.to_vec()),
        ("two values", json, b"{}{}".to_vec()),
        ("deep arrays", json, deep("[", "]")),
        ("deep objects", json, [deep(r#"{"name":"#, ""), b"1".to_vec(), deep("", "}")].concat()),
        ("no UTF-8", json, b"{\"email\":\"\xff\xfe\",\"name\":\"\xff\"}".to_vec()),
        ("an unpaired surrogate", json, br#"{"email":"\ud800","name":"\ud800","text":"\ud800"}"#.to_vec()),
        (
            "twice the same field",
            json,
            br#"{"email":"a","email":"b","name":"a","name":"b","status":"a","status":"b","amount":1,"amount":2}"#.to_vec(),
        ),
        ("blanks", json, b"   ".to_vec()),
        ("plain text", "text/plain", b"{}".to_vec()),
        ("an HTML form", "application/x-www-form-urlencoded", b"email=a&status=b".to_vec()),
        ("XML", "application/xml", b"<a/>".to_vec()),
        ("no boundary", "multipart/form-data", b"--x\r\n\r\n--x--\r\n".to_vec()),
        ("another boundary", "multipart/form-data; boundary=y", b"--x\r\n\r\n--x--\r\n".to_vec()),
        (
            "a cut off form",
            "multipart/form-data; boundary=x",
            b"--x\r\nContent-Disposition: form-data; name=\"images\"; filename=\"a.png\"\r\n\r\nab".to_vec(),
        ),
        (
            "a part without a name",
            "multipart/form-data; boundary=x",
            b"--x\r\nContent-Disposition: form-data\r\n\r\nab\r\n--x--\r\n".to_vec(),
        ),
        ("a type that is none", "\u{1f980}", b"{}".to_vec()),
    ]
}

#[tokio::test]
async fn no_junk_for_a_body_is_a_fault_or_is_taken_for_a_request() {
    let app = TestApp::start().await;
    let page = app.browser().on(CLIENT);
    let mut checks = Vec::new();
    for operation in Operation::all().into_iter().filter(|o| o.example.is_some() || o.form) {
        let cookies = sessions(&app).await;
        for (name, kind, body) in junk() {
            let what = format!("{} {} {name}", operation.method, operation.template);
            let call =
                operation.call(&page, &operation.path(NOBODY)).header("cookie", &cookies).body(kind, body);
            checks.push(check(async move {
                let answer = answered(call, &what).await;
                assert!(answer.status >= 400, "{what}: {} {}", answer.status, answer.text());
            }));
        }
    }
    all(checks).await;
}

#[tokio::test]
async fn no_value_of_another_type_in_a_field_is_a_fault_or_an_operator() {
    let app = TestApp::start().await;
    let page = app.browser().on(CLIENT);
    let wrong = [
        json!({ "$gt": "" }),
        json!({ "$ne": null }),
        json!([]),
        json!([{ "$gt": "" }]),
        json!({}),
        json!(true),
        json!(-1),
        json!(1e300),
        json!(9_007_199_254_740_993_u64),
        json!(u64::MAX),
        json!("\u{0}"),
        json!("$where"),
        json!("9".repeat(400)),
        json!("1e999999999"),
        json!("-0"),
        json!("a".repeat(100_000)),
        json!(""),
        json!(null),
        json!("NaN"),
        json!("\u{202e}\u{1f980}"),
    ];
    let mut checks = Vec::new();
    for operation in Operation::all() {
        let Some(example) = operation.example.as_ref().and_then(Value::as_object) else { continue };
        let cookies = sessions(&app).await;
        for field in places(&Value::Object(example.clone())) {
            for value in &wrong {
                let mut body = Value::Object(example.clone());
                *body.pointer_mut(&field).unwrap() = value.clone();
                let short = value.to_string().chars().take(30).collect::<String>();
                let what = format!("{} {} {field} = {short}", operation.method, operation.template);
                let call =
                    operation.call(&page, &operation.path(NOBODY)).header("cookie", &cookies).json(&body);
                // Whoever may enter would be let in by an operator.
                let operator = value.is_object() && operation.template.contains("log");
                checks.push(check(async move {
                    let answer = answered(call, &what).await;
                    assert!(!operator || answer.status == 400, "{what}: {} {}", answer.status, answer.text());
                }));
            }
        }
    }
    all(checks).await;
}

/// Where the values of a body are, but of lists only the first element.
fn places(value: &Value) -> Vec<String> {
    let steps: Vec<(String, &Value)> = match value {
        Value::Object(map) => map.iter().map(|(key, value)| (key.replace('/', "~1"), value)).collect(),
        Value::Array(list) => list.first().map(|first| ("0".to_owned(), first)).into_iter().collect(),
        _ => Vec::new(),
    };
    let mut found = Vec::new();
    for (step, inner) in steps {
        found.push(format!("/{step}"));
        found.extend(places(inner).into_iter().map(|deeper| format!("/{step}{deeper}")));
    }
    found
}

#[tokio::test]
async fn a_foreign_page_changes_nothing_and_reads_nothing() {
    let app = TestApp::start().await;
    let page = app.browser().on(CLIENT);
    let cookies = sessions(&app).await;
    for operation in Operation::all() {
        for origin in [
            "http://evil.example",
            "null",
            "http://localhost:5173.evil.example",
            "",
            "http://localhost:51730",
        ] {
            let path = operation.path(NOBODY);
            let call = page.on(origin).call(operation.method, &path).bare().unchecked();
            let answer = call.header("cookie", &cookies).await;
            assert_eq!(
                answer.header("access-control-allow-origin"),
                None,
                "{} {path} {origin}",
                operation.method
            );
            if operation.changes_something() {
                answer.refused(403, "foreign_origin");
            }
        }
    }
}

#[tokio::test]
async fn every_path_refuses_other_methods_in_json_and_get_answers_head() {
    let app = TestApp::start().await;
    let page = app.browser().on(CLIENT);
    let operations = Operation::all();
    for operation in &operations {
        let path = operation.path(NOBODY);
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "PROPFIND"] {
            let is = |other: &Operation, wanted| other.method == wanted && other.path(NOBODY) == path;
            if operations.iter().any(|other| is(other, method)) {
                continue;
            }
            let call = page.call(method, &path).bare().unchecked();
            let answer = answered(call, &format!("{method} {path}")).await;
            if method == "HEAD" && operations.iter().any(|other| is(other, "GET")) {
                let got = operation.call(&page, &path).await;
                assert_eq!(answer.status, got.status, "HEAD {path}");
                assert!(answer.body.is_empty());
            } else {
                assert_eq!(answer.status, 405, "{method} {path}: {}", answer.text());
            }
        }
    }
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_and_the_refusal_arrives() {
    let app = TestApp::start().await;
    let page = app.browser().on(CLIENT);
    let mut checks = Vec::new();
    for operation in Operation::all().into_iter().filter(|operation| operation.example.is_some()) {
        for session in [true, false] {
            let cookies = sessions(&app).await;
            let what = format!("{} {} session: {session}", operation.method, operation.template);
            let call = operation.call(&page, &operation.path(NOBODY));
            let call = if session { call.header("cookie", &cookies) } else { call };
            let call = call.body("application/json", vec![b' '; 12 * 1024 * 1024]);
            checks.push(check(async move {
                let answer = answered(call, &what).await;
                // Whoever may not call, or calls for what is not there, may be told that instead.
                assert!([401, 403, 404, 413].contains(&answer.status), "{what}: {}", answer.text());
            }));
        }
    }
    all(checks).await;
}
