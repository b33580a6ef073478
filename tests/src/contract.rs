//! Holds what the server says to `openapi.yaml`.
//!
//! [`Spec::check`] is meant for every response that a test sees: an undocumented status, a field that is missing,
//! of another type or too many (a leak) is an error that names the place. Schemas are compiled when they are first
//! needed and kept, so that a check costs little more than reading the body.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use jsonschema::{Registry, Validator};
use serde_json::{Map, Value, json};

const SOURCE: &str = include_str!("../../openapi.yaml");

/// The name under which schemas refer to the document. It is only a name; nothing is fetched.
const BASE: &str = "urn:souk:openapi";

/// How much of a body or of a list of complaints is worth showing.
const EXCERPT: usize = 1_000;

/// `openapi.yaml`, read and ready to check responses.
pub struct Spec {
    document: Value,
    registry: Registry<'static>,
    operations: Vec<Operation>,
    validators: Mutex<HashMap<String, Arc<Validator>>>,
}

struct Operation {
    method: String,
    template: String,
    segments: Vec<Segment>,
    /// Where the responses are: a JSON pointer for each status.
    responses: HashMap<String, String>,
}

enum Segment {
    Literal(String),
    /// Any one segment, not empty.
    One,
    /// All that is left, slashes included, not empty.
    Rest,
}

impl Spec {
    /// The one in the repository, read once a process.
    ///
    /// # Panics
    /// If the file is no OpenAPI document. Every test would fail anyway, and this says why.
    pub fn load() -> &'static Self {
        static SPEC: OnceLock<Spec> = OnceLock::new();
        SPEC.get_or_init(|| Self::parse(SOURCE).unwrap_or_else(|why| panic!("openapi.yaml: {why}")))
    }

    /// Reads a document from its text.
    pub fn parse(yaml: &str) -> Result<Self, String> {
        let document: Value = serde_saphyr::from_str(yaml).map_err(|error| error.to_string())?;
        let registry = Registry::new()
            .add(BASE, document.clone())
            .and_then(|registry| registry.prepare())
            .map_err(|error| error.to_string())?;
        let operations = operations(&document)?;
        Ok(Self { document, registry, operations, validators: Mutex::default() })
    }

    /// The document itself, with references as they are.
    pub fn document(&self) -> &Value {
        &self.document
    }

    /// Every operation as method and path template, such as `("GET", "/api/order/get-order/{id}")`.
    pub fn operations(&self) -> Vec<(&str, &str)> {
        self.operations
            .iter()
            .map(|operation| (operation.method.as_str(), operation.template.as_str()))
            .collect()
    }

    /// Is this response what the document promises? `Err` says what is wrong, for a person to read.
    pub fn check(
        &self,
        method: &str,
        actual_path: &str,
        status: u16,
        content_type: Option<&str>,
        body: &[u8],
    ) -> Result<(), String> {
        let method = method.to_ascii_uppercase();
        // Preflights belong to the CORS layer in front of the routes.
        if method == "OPTIONS" {
            return Ok(());
        }
        let head = method == "HEAD";
        let path = actual_path.split(['?', '#']).next().unwrap_or_default();
        self.check_known(
            if head { "GET" } else { &method },
            path,
            status,
            content_type,
            (!head).then_some(body),
        )
        .map_err(|why| {
            let body = excerpt(&String::from_utf8_lossy(body));
            format!("{method} {path} → {status} breaks openapi.yaml: {why}\nbody: {body}")
        })
    }

    /// The operation that such a request is for, by method and template, and what the document says of it. `Null` where
    /// there is none.
    pub fn promise(&self, method: &str, path: &str) -> (String, &Value) {
        let asked = if method == "HEAD" { "GET" } else { method };
        let Some(operation) = self.find(asked, path.split(['?', '#']).next().unwrap_or_default()) else {
            return (format!("{method} {path}"), &Value::Null);
        };
        let template = &operation.template;
        let promised = &self.document["paths"][template.as_str()][asked.to_ascii_lowercase()];
        (format!("{asked} {template}"), promised)
    }

    /// Validates a value against the schema at a JSON pointer into the document.
    pub fn validate(&self, pointer: &str, value: &Value) -> Result<(), String> {
        let validator = self.validator(pointer)?;
        let complaints: Vec<String> = validator
            .iter_errors(value)
            .take(5)
            .map(|error| {
                let place = error.instance_path().to_string();
                let place = if place.is_empty() { "the whole".to_owned() } else { place };
                format!("{place}: {}", excerpt(&error.to_string()))
            })
            .collect();
        if complaints.is_empty() { Ok(()) } else { Err(complaints.join("; ")) }
    }

    /// Follows references (`{"$ref": "#/…"}`) from a JSON pointer until there is something else.
    pub fn resolve(&self, pointer: &str) -> Result<String, String> {
        let mut at = pointer.to_owned();
        // Far more than any honest chain, so that a circle ends.
        for _ in 0..16 {
            let found = self.document.pointer(&at).ok_or_else(|| format!("there is nothing at {at}"))?;
            match found.get("$ref") {
                None => return Ok(at),
                Some(Value::String(target)) => {
                    at = target
                        .strip_prefix('#')
                        .ok_or_else(|| format!("{at} refers outside: {target}"))?
                        .to_owned();
                }
                Some(other) => return Err(format!("{at} has a $ref that is no text: {other}")),
            }
        }
        Err(format!("references run in a circle from {pointer}"))
    }

    fn check_known(
        &self,
        method: &str,
        path: &str,
        status: u16,
        content_type: Option<&str>,
        body: Option<&[u8]>,
    ) -> Result<(), String> {
        let media_type = content_type.map(essence).unwrap_or_default();
        let Some(operation) = self.find(method, path) else {
            return self.check_unknown(method, path, status, &media_type, body);
        };
        let Some(pointer) = operation.responses.get(&status.to_string()) else {
            let mut documented: Vec<&str> = operation.responses.keys().map(String::as_str).collect();
            documented.sort_unstable();
            return Err(format!("this status is not documented; these are: {}", documented.join(", ")));
        };
        let content = self.document.pointer(pointer).and_then(|response| response.get("content"));
        let Some(content) = content.and_then(Value::as_object) else {
            return match body {
                Some(body) if !body.is_empty() => Err("a body where none is documented".to_owned()),
                _ => Ok(()),
            };
        };
        let Some(range) = content.keys().find(|range| covers(range, &media_type)) else {
            return Err(format!("the content type is {content_type:?}, documented is {}", names(content)));
        };
        match body {
            Some(body) => {
                self.check_body(&format!("{pointer}/content/{}/schema", escape(range)), &media_type, body)
            }
            None => Ok(()),
        }
    }

    /// What is not in the document: refused in the common shape, or (the built client, served from the same origin)
    /// a page or an asset, never data.
    fn check_unknown(
        &self,
        method: &str,
        path: &str,
        status: u16,
        media_type: &str,
        body: Option<&[u8]>,
    ) -> Result<(), String> {
        match status {
            404 | 405 => match body {
                None => Ok(()),
                Some(body) if media_type == "application/json" => {
                    self.check_body("/components/schemas/Error", media_type, body)
                }
                Some(_) => Err(format!("a refusal is JSON, this is {media_type:?}")),
            },
            200..400 if method == "GET" && !path.starts_with("/api/") && media_type != "application/json" => {
                Ok(())
            }
            _ => Err("this operation is not documented".to_owned()),
        }
    }

    fn check_body(&self, schema: &str, media_type: &str, body: &[u8]) -> Result<(), String> {
        let value = if media_type == "application/json" {
            serde_json::from_slice(body).map_err(|error| format!("the body is not JSON: {error}"))?
        } else if media_type.starts_with("text/") {
            Value::String(
                String::from_utf8(body.to_vec()).map_err(|error| format!("the body is not text: {error}"))?,
            )
        } else {
            // Pictures and the like: the content type was the promise.
            return Ok(());
        };
        self.validate(schema, &value)
    }

    /// The operation that a path belongs to; the one with the most literal segments, should there be several.
    fn find(&self, method: &str, path: &str) -> Option<&Operation> {
        let segments: Vec<&str> = path.split('/').collect();
        self.operations
            .iter()
            .filter(|operation| operation.method == method && matches(&operation.segments, &segments))
            .max_by_key(|operation| {
                operation.segments.iter().filter(|segment| matches!(segment, Segment::Literal(_))).count()
            })
    }

    fn validator(&self, pointer: &str) -> Result<Arc<Validator>, String> {
        let known = |validators: &HashMap<String, Arc<Validator>>| validators.get(pointer).cloned();
        if let Some(validator) = known(&self.validators.lock().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(validator);
        }
        if self.document.pointer(pointer).is_none() {
            return Err(format!("there is no schema at {pointer}"));
        }
        // Compiled outside the lock: two tests may do it twice, none waits for another.
        let schema = json!({ "$ref": format!("{BASE}#{}", in_fragment(pointer)) });
        let validator = jsonschema::options()
            .with_registry(&self.registry)
            .build(&schema)
            .map_err(|error| format!("the schema at {pointer} does not compile: {error}"))?;
        let validator = Arc::new(validator);
        self.validators
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(pointer.to_owned(), Arc::clone(&validator));
        Ok(validator)
    }
}

/// Reads the operations out of `paths`, with every response's reference followed.
fn operations(document: &Value) -> Result<Vec<Operation>, String> {
    let paths = document.get("paths").and_then(Value::as_object).ok_or("it has no paths")?;
    let mut found = Vec::new();
    for (template, methods) in paths {
        let methods = methods.as_object().ok_or_else(|| format!("{template} is no mapping"))?;
        for (method, operation) in methods {
            let place = format!("{} {template}", method.to_ascii_uppercase());
            let responses = operation
                .get("responses")
                .and_then(Value::as_object)
                .ok_or_else(|| format!("{place} has no responses"))?;
            let responses = responses
                .iter()
                .map(|(status, response)| {
                    let pointer = match response.get("$ref").and_then(Value::as_str) {
                        Some(target) => target.trim_start_matches('#').to_owned(),
                        None => format!("/paths/{}/{method}/responses/{status}", escape(template)),
                    };
                    match document.pointer(&pointer) {
                        Some(_) => Ok((status.clone(), pointer)),
                        None => Err(format!("{place} {status}: there is nothing at {pointer}")),
                    }
                })
                .collect::<Result<_, String>>()?;
            found.push(Operation {
                method: method.to_ascii_uppercase(),
                template: template.clone(),
                segments: template.split('/').map(Segment::read).collect(),
                responses,
            });
        }
    }
    Ok(found)
}

impl Segment {
    fn read(text: &str) -> Self {
        match text {
            // OpenAPI has no word for "the rest of the path"; the name says it.
            "{path}" => Self::Rest,
            _ if text.starts_with('{') && text.ends_with('}') => Self::One,
            _ => Self::Literal(text.to_owned()),
        }
    }
}

fn matches(template: &[Segment], actual: &[&str]) -> bool {
    match (template, actual) {
        ([], []) => true,
        ([Segment::Rest], rest) => rest.iter().any(|segment| !segment.is_empty()),
        ([Segment::One, template @ ..], [segment, actual @ ..]) => {
            !segment.is_empty() && matches(template, actual)
        }
        ([Segment::Literal(literal), template @ ..], [segment, actual @ ..]) => {
            literal == segment && matches(template, actual)
        }
        _ => false,
    }
}

/// A content type without its parameters, in lower case.
fn essence(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Does a documented media range, such as `image/*`, cover a media type?
fn covers(range: &str, media_type: &str) -> bool {
    match range.strip_suffix('*') {
        Some(family) => media_type.starts_with(family),
        None => range == media_type,
    }
}

fn names(content: &Map<String, Value>) -> String {
    content.keys().map(String::as_str).collect::<Vec<_>>().join(", ")
}

/// One step of a JSON pointer.
fn escape(step: &str) -> String {
    step.replace('~', "~0").replace('/', "~1")
}

/// A JSON pointer as a URI fragment: what a URI does not allow is percent-encoded.
fn in_fragment(pointer: &str) -> String {
    pointer.replace('%', "%25").replace('{', "%7B").replace('}', "%7D").replace(' ', "%20")
}

fn excerpt(text: &str) -> String {
    match text.char_indices().nth(EXCERPT) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", text.split_at(end).0),
    }
}
