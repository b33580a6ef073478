//! Forgeries, foreign pages and untidy addresses, sent to every operation that `openapi.yaml` knows: whatever comes, the
//! answer is a refusal in words that the client's page may read, never a fault and never silence. What a rightful caller
//! may send that is wrong is in `corpus.rs`.

use std::time::Duration;

use serde_json::Value;
use shared::{
    auth::{SELLER_COOKIE, USER_COOKIE},
    id::Id,
};
use tests::{Answer, Browser, CLIENT, Call, TestApp, contract::Spec};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

/// An id that nothing has.
const NOBODY: &str = "6744a0b1c2d3e4f5a6b7c8ff";

/// Longer for an answer, and the request hangs.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// An operation of the document, and what it says of a request.
pub struct Operation {
    pub method: &'static str,
    pub template: &'static str,
    pub access: &'static str,
    /// The documented example of the JSON body.
    pub example: Option<Value>,
    /// That of the form that it takes instead, or besides.
    pub form: Option<Value>,
    /// Where its parameters are, their names and examples.
    parameters: Vec<(String, String, String)>,
}

impl Operation {
    pub fn all() -> Vec<Self> {
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
                let listed = at(&format!("{place}/parameters")).and_then(Value::as_array).map_or(0, Vec::len);
                let parameters = (0..listed).map(|number| {
                    let parameter = at(&format!("{place}/parameters/{number}")).unwrap();
                    let text = |name: &str| match &parameter[name] {
                        Value::String(text) => text.clone(),
                        other => other.to_string(),
                    };
                    (text("in"), text("name"), text("example"))
                });
                Self {
                    method,
                    template,
                    access: at(&place).and_then(|operation| operation["x-access"].as_str()).unwrap(),
                    example: example.cloned(),
                    form: content.get("multipart/form-data").map(|form| form["example"].clone()),
                    parameters: parameters.collect(),
                }
            })
            .collect()
    }

    /// With each parameter's own example.
    pub fn example_path(&self) -> String {
        let of_path = self.parameters.iter().filter(|(place, _, _)| place == "path");
        of_path.fold(self.template.to_owned(), |path, (_, name, example)| {
            path.replace(&format!("{{{name}}}"), example)
        })
    }

    /// The names of those that stand in the query, and of those that are headers.
    pub fn other_parameters(&self) -> (Vec<String>, Vec<String>) {
        let of = |wanted: &str| {
            let there = self.parameters.iter().filter(|(place, _, _)| place == wanted);
            there.map(|(_, name, _)| name.clone()).collect()
        };
        (of("query"), of("header"))
    }

    pub const fn takes_body(&self) -> bool {
        self.example.is_some() || self.form.is_some()
    }

    /// With this in place of each parameter.
    pub fn path(&self, parameter: &str) -> String {
        let steps = self.template.split('/').map(|step| if step.starts_with('{') { parameter } else { step });
        steps.collect::<Vec<_>>().join("/")
    }

    pub fn has_parameter(&self) -> bool {
        self.template.contains('{')
    }

    fn changes_something(&self) -> bool {
        self.method != "GET"
    }

    /// From this browser, without its cookies.
    pub fn call(&self, browser: &Browser, path: &str) -> Call {
        browser.call(self.method, path).bare().unchecked()
    }
}

/// Sends it, in time, and holds the answer to what every answer promises. Whether it was refused.
pub async fn answered(call: Call, what: &str) -> Answer {
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

/// A check that fails says why instead of ending the test.
pub async fn check<T>(work: impl Future<Output = T> + Send + 'static) -> Result<T, String>
where
    T: Send + 'static,
{
    tokio::spawn(work).await.map_err(|failure| {
        let panic = failure.into_panic();
        panic.downcast_ref::<String>().cloned().unwrap_or_else(|| "a check panicked".to_owned())
    })
}

/// Cookies that prove an administrator and a shop, both new: some operations end every session of whoever calls.
async fn sessions(app: &TestApp) -> String {
    let name = Id::<()>::new().hex();
    let (user, shop) = (app.admin(&name).await, app.seller(&name).await);
    format!("{USER_COOKIE}={}; {SELLER_COOKIE}={}", user.token, shop.token)
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

/// Where the values of a body are, but of lists only the first element.
pub fn places(value: &Value) -> Vec<String> {
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
                let allowed = answer.header("allow").unwrap_or_default();
                assert!(allowed.split(", ").any(|one| one == operation.method), "{method} {path}: {allowed}");
            }
        }
    }
}
