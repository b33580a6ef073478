//! A client with a cookie jar of its own, as a browser has one.

use std::collections::BTreeMap;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use reqwest::header::{CONTENT_TYPE, COOKIE, DATE, HeaderMap, ORIGIN, SET_COOKIE};
use reqwest::multipart;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{
    contract::Spec,
    privacy::{self, Asked},
};

/// A cookie as the server set it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cookie {
    /// Its value.
    pub value: String,
    /// Attributes by lower-case name; those without a value have an empty one.
    pub attributes: BTreeMap<String, String>,
}

impl Cookie {
    /// Whether scripts cannot see it.
    pub fn http_only(&self) -> bool {
        self.attributes.contains_key("httponly")
    }
}

/// Sends requests and keeps cookies. Clones share the jar, as tabs do.
#[derive(Debug, Clone)]
pub struct Browser {
    client: reqwest::Client,
    base: String,
    origin: Option<String>,
    jar: Arc<Mutex<BTreeMap<String, Cookie>>>,
}

impl Browser {
    /// With an empty jar. Paths are relative to `base`.
    pub fn new(base: &str) -> Self {
        // The first call decides for the process, and all calls say the same.
        rustls::crypto::ring::default_provider().install_default().ok();
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(std::time::Duration::from_secs(60))
            // The server hangs up after five idle seconds; a call must not begin in that very moment.
            .pool_idle_timeout(std::time::Duration::from_secs(2))
            .build()
            .unwrap();
        Self { client, base: base.to_owned(), origin: None, jar: Arc::default() }
    }

    /// The same browser on a page of this origin: every request says so.
    #[must_use]
    pub fn on(&self, origin: &str) -> Self {
        Self { origin: Some(origin.to_owned()), ..self.clone() }
    }

    /// What a script on the page, or the test, knows of a cookie.
    pub fn cookie(&self, name: &str) -> Option<Cookie> {
        self.jar.lock().unwrap().get(name).cloned()
    }

    /// Puts a cookie into the jar.
    pub fn set_cookie(&self, name: &str, value: &str) {
        let cookie = Cookie { value: value.to_owned(), attributes: BTreeMap::new() };
        self.jar.lock().unwrap().insert(name.to_owned(), cookie);
    }

    /// Empties the jar.
    pub fn forget_cookies(&self) {
        self.jar.lock().unwrap().clear();
    }

    /// What the browser sends as `Cookie`.
    pub fn cookie_header(&self) -> Option<String> {
        let jar = self.jar.lock().unwrap();
        let pairs: Vec<String> =
            jar.iter().map(|(name, cookie)| format!("{name}={}", cookie.value)).collect();
        (!pairs.is_empty()).then(|| pairs.join("; "))
    }

    /// `GET`.
    pub fn get(&self, path: &str) -> Call {
        self.call("GET", path)
    }

    /// `POST`; give it a body with [`Call::json`] or [`Call::form`].
    pub fn post(&self, path: &str) -> Call {
        self.call("POST", path)
    }

    /// `PUT`.
    pub fn put(&self, path: &str) -> Call {
        self.call("PUT", path)
    }

    /// `DELETE`.
    pub fn delete(&self, path: &str) -> Call {
        self.call("DELETE", path)
    }

    /// Any method.
    pub fn call(&self, method: &str, path: &str) -> Call {
        let method: reqwest::Method = method.parse().unwrap();
        let mut request = self.client.request(method.clone(), format!("{}{path}", self.base));
        if let Some(origin) = &self.origin {
            request = request.header(ORIGIN, origin);
        }
        Call {
            browser: self.clone(),
            method,
            path: path.to_owned(),
            request,
            with_cookies: true,
            checked: true,
        }
    }

    fn store(&self, headers: &HeaderMap) {
        let now = headers.get(DATE).and_then(|date| date.to_str().ok()).and_then(moment);
        let mut jar = self.jar.lock().unwrap();
        for header in headers.get_all(SET_COOKIE) {
            let text = header.to_str().unwrap();
            let mut parts = text.split(';').map(str::trim);
            let (name, value) = parts.next().unwrap().split_once('=').unwrap();
            let attributes: BTreeMap<String, String> = parts
                .map(|part| part.split_once('=').unwrap_or((part, "")))
                .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
                .collect();
            let over = match attributes.get("max-age") {
                Some(age) => age.parse::<i64>().unwrap() <= 0,
                None => attributes
                    .get("expires")
                    .and_then(|at| moment(at))
                    .zip(now.clone())
                    .is_some_and(|(at, now)| at <= now),
            };
            if over {
                jar.remove(name);
            } else {
                jar.insert(name.to_owned(), Cookie { value: value.to_owned(), attributes });
            }
        }
    }
}

/// `Sun, 22 Nov 2026 17:59:00 GMT` in a form that compares.
fn moment(text: &str) -> Option<(u32, usize, u32, String)> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let words: Vec<&str> = text.split([' ', '-']).collect();
    let month = MONTHS.iter().position(|month| words.get(2) == Some(month))?;
    Some((words.get(3)?.parse().ok()?, month, words.get(1)?.parse().ok()?, (*words.get(4)?).to_owned()))
}

/// A request that is sent when it is awaited.
#[derive(Debug)]
#[must_use = "a call is only sent when it is awaited"]
pub struct Call {
    browser: Browser,
    method: reqwest::Method,
    path: String,
    request: reqwest::RequestBuilder,
    with_cookies: bool,
    checked: bool,
}

impl Call {
    fn with(self, change: impl FnOnce(reqwest::RequestBuilder) -> reqwest::RequestBuilder) -> Self {
        Self { request: change(self.request), ..self }
    }

    /// With a JSON body.
    pub fn json(self, body: &(impl Serialize + ?Sized)) -> Self {
        self.with(|request| request.json(body))
    }

    /// With any body.
    pub fn body(self, content_type: &str, body: impl Into<reqwest::Body>) -> Self {
        self.with(|request| request.header("content-type", content_type).body(body))
    }

    /// With a multipart form.
    pub fn form(self, form: Form) -> Self {
        self.with(|request| request.multipart(form.0))
    }

    /// With a header.
    pub fn header(self, name: &str, value: &str) -> Self {
        self.with(|request| request.header(name, value))
    }

    /// With `Authorization: Bearer`.
    pub fn bearer(self, token: &str) -> Self {
        self.with(|request| request.bearer_auth(token))
    }

    /// Without the jar's cookies, and keeping none: as the client calls when it leaves out `withCredentials`.
    pub fn bare(self) -> Self {
        Self { with_cookies: false, ..self }
    }

    /// Without holding the answer to `openapi.yaml`: for what is not the API's, and for junk that no route describes.
    pub fn unchecked(self) -> Self {
        Self { checked: false, ..self }
    }

    async fn send(self) -> Answer {
        let Self { browser, method, path, mut request, with_cookies, checked } = self;
        if with_cookies && let Some(cookies) = browser.cookie_header() {
            request = request.header(COOKIE, cookies);
        }
        let (client, request) = request.build_split();
        let request = request.unwrap_or_else(|error| panic!("{method} {path} is no request: {error:?}"));
        let sent = request.headers().clone();
        let response = client.execute(request).await;
        let response = response.unwrap_or_else(|error| panic!("{method} {path} has no answer: {error:?}"));
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        if with_cookies {
            browser.store(&headers);
        }
        let body =
            response.bytes().await.unwrap_or_else(|error| panic!("{method} {path} breaks off: {error:?}"));
        let (operation, promised) = Spec::load().promise(method.as_str(), &path);
        let asked = Asked { operation, promised, callers: privacy::callers(&sent, &headers) };
        privacy::scan(&asked, &body).unwrap_or_else(|why| panic!("{why}"));
        if checked {
            let content_type = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
            let verdict = Spec::load().check(method.as_str(), &path, status, content_type, &body);
            verdict.unwrap_or_else(|why| panic!("{why}"));
        }
        Answer {
            request: format!("{method} {path}"),
            method: method.to_string(),
            path,
            status,
            headers,
            body: body.to_vec(),
        }
    }
}

impl IntoFuture for Call {
    type Output = Answer;
    type IntoFuture = Pin<Box<dyn Future<Output = Answer> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}

/// A complete answer.
#[derive(Debug, Clone)]
pub struct Answer {
    request: String,
    /// The method asked with.
    pub method: String,
    /// The path asked for, with its query.
    pub path: String,
    /// HTTP status.
    pub status: u16,
    /// All headers.
    pub headers: HeaderMap,
    /// The body as it came.
    pub body: Vec<u8>,
}

impl Answer {
    /// The JSON body, having checked the status. `Null` if the answer does not claim to be JSON.
    #[track_caller]
    pub fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{} answered {}", self.request, self.text());
        let kind = self.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        if kind.contains("json") { self.json() } else { Value::Null }
    }

    /// The body of a refusal: status, `success: false` and the stable code are as expected, and there is a message.
    #[track_caller]
    pub fn refused(&self, status: u16, code: &str) -> Value {
        let body = self.expect(status);
        assert_eq!(body["success"], false, "{} answered {body}", self.request);
        assert_eq!(body["code"], code, "{} answered {body}", self.request);
        assert!(
            body["message"].as_str().is_some_and(|said| !said.is_empty()),
            "{} answered {body}",
            self.request
        );
        body
    }

    /// The JSON body.
    #[track_caller]
    pub fn json(&self) -> Value {
        match serde_json::from_slice(&self.body) {
            Ok(json) => json,
            Err(error) => {
                panic!("{} answered no JSON ({error}): {} {}", self.request, self.status, self.text())
            }
        }
    }

    /// The JSON body as a type.
    #[track_caller]
    pub fn read<T: DeserializeOwned>(&self) -> T {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{} answered {} ({error})", self.request, self.text()))
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A header, if there is exactly one of that name.
    #[track_caller]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut all = self.headers.get_all(name).iter();
        let first = all.next()?;
        assert!(all.next().is_none(), "{} answered several {name}", self.request);
        first.to_str().ok()
    }
}

/// A multipart form. Parts go out in the order they were added.
#[derive(Debug, Default)]
pub struct Form(multipart::Form);

impl Form {
    /// Without parts.
    pub fn new() -> Self {
        Self::default()
    }

    /// A text field.
    #[must_use]
    pub fn text(self, name: &str, value: impl ToString) -> Self {
        Self(self.0.text(name.to_owned(), value.to_string()))
    }

    /// A file.
    #[must_use]
    pub fn file(self, name: &str, file_name: &str, content_type: &str, bytes: Vec<u8>) -> Self {
        let part =
            multipart::Part::bytes(bytes).file_name(file_name.to_owned()).mime_str(content_type).unwrap();
        Self(self.0.part(name.to_owned(), part))
    }

    /// A small picture.
    #[must_use]
    pub fn picture(self, name: &str) -> Self {
        self.file(name, "picture.png", "image/png", crate::picture::png())
    }
}
