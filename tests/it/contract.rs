//! `openapi.yaml`: well-formed, and able to go red.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use tests::contract::Spec;

const JSON: Option<&str> = Some("application/json");

fn check(method: &str, path: &str, status: u16, body: &Value) -> Result<(), String> {
    Spec::load().check(method, path, status, JSON, body.to_string().as_bytes())
}

/// The documented example of a response, to be spoilt.
fn example(pointer: &str) -> Value {
    let spec = Spec::load();
    let found = spec.document().pointer(&format!("{pointer}/content/application~1json/example"));
    found.unwrap_or_else(|| panic!("no example at {pointer}")).clone()
}

fn refusal(code: &str) -> Value {
    json!({ "success": false, "message": "No.", "code": code, "requestId": "r-1" })
}

// ------------------------------------------------------------------------------------------------ the checker

#[test]
fn a_documented_response_passes() {
    let user = example("/components/responses/OwnUser");
    check("GET", "/api/user/getUser", 201, &user).unwrap();
    check("GET", "/api/user/getUser?again=1", 401, &refusal("unauthenticated")).unwrap();
    Spec::load()
        .check(
            "GET",
            "/api/user/getUser",
            201,
            Some("application/json; charset=utf-8"),
            user.to_string().as_bytes(),
        )
        .unwrap();
}

#[test]
fn an_undocumented_status_is_an_error_that_lists_the_documented_ones() {
    let why = check("GET", "/api/user/getUser", 200, &example("/components/responses/OwnUser")).unwrap_err();
    assert!(why.contains("201, 401, 403, 503"), "{why}");
    check("GET", "/api/product/get-all-products", 500, &refusal("internal")).unwrap_err();
}

#[test]
fn a_password_in_an_account_is_an_error() {
    let mut user = example("/components/responses/OwnUser");
    user["user"]["password"] = json!("$2b$10$abcdefghijklmnopqrstuv");
    let why = check("GET", "/api/user/getUser", 201, &user).unwrap_err();
    assert!(why.contains("password"), "{why}");
}

#[test]
fn private_fields_of_an_embedded_shop_are_errors() {
    for (field, value) in [
        ("email", json!("bob@example.com")),
        ("withdrawMethod", json!({ "bankAccountNumber": "123456" })),
        ("availableBalance", json!(5)),
        ("transections", json!([])),
    ] {
        let mut reply = example("/components/responses/ProductReply");
        reply["product"]["shop"][field] = value;
        let why = check("GET", "/api/product/get-product/6744a0b1c2d3e4f5a6b7c803", 200, &reply).unwrap_err();
        assert!(why.contains(field), "{why}");
    }
}

#[test]
fn a_cart_item_may_carry_unknown_fields_but_nothing_about_a_person() {
    let path = "/api/order/get-order/6744a0b1c2d3e4f5a6b7c805";
    let mut reply = example("/components/responses/OrderReply");
    reply["order"]["cart"][0]["colour"] = json!("brass");
    check("GET", path, 200, &reply).unwrap();
    reply["order"]["cart"][0]["email"] = json!("bob@example.com");
    check("GET", path, 200, &reply).unwrap_err();
    let mut reply = example("/components/responses/OrderReply");
    reply["order"]["cart"][0]["shop"]["email"] = json!("bob@example.com");
    check("GET", path, 200, &reply).unwrap_err();
}

#[test]
fn a_value_of_another_type_is_an_error_that_names_the_place() {
    let path = "/api/order/get-order/6744a0b1c2d3e4f5a6b7c805";
    for total in [json!("99.80"), json!(null)] {
        let mut reply = example("/components/responses/OrderReply");
        reply["order"]["totalPrice"] = total;
        let why = check("GET", path, 200, &reply).unwrap_err();
        assert!(why.contains("/order/totalPrice"), "{why}");
    }
    let mut reply = example("/components/responses/OrderReply");
    reply["order"]["createdAt"] = json!("2026-11-22T16:30:00Z");
    check("GET", path, 200, &reply).unwrap_err();
    reply["order"]["createdAt"] = json!({ "$date": "2026-11-22T16:30:00.000Z" });
    check("GET", path, 200, &reply).unwrap_err();
}

#[test]
fn what_the_client_cannot_do_without_is_an_error_when_it_is_missing() {
    let list = "/api/product/get-all-products";
    let mut reply = example("/components/responses/ProductList");
    check("GET", list, 200, &reply).unwrap();
    reply["products"][0]["images"] = json!([]);
    check("GET", list, 200, &reply).unwrap_err();
    check("GET", list, 200, &json!({ "success": true, "products": null })).unwrap_err();
    check("GET", list, 200, &json!({ "success": true })).unwrap_err();
    check("GET", "/api/coupan/coupan-verified/NONE", 200, &json!({ "success": true, "coupanCode": null }))
        .unwrap();
    check("GET", "/api/coupan/coupan-verified/NONE", 200, &json!({ "success": true })).unwrap_err();
    check("GET", "/api/stripe/stripeApiKey", 200, &json!({ "stripeApiKey": "" })).unwrap_err();
}

#[test]
fn an_undocumented_path_may_only_be_refused_and_in_the_common_shape() {
    check("GET", "/api/nothing/here", 404, &refusal("not_found")).unwrap();
    check("PATCH", "/api/user/getUser", 405, &refusal("method_not_allowed")).unwrap();
    check("GET", "/api/nothing/here", 404, &json!({ "message": "none" })).unwrap_err();
    check("GET", "/api/nothing/here", 200, &json!({ "success": true })).unwrap_err();
    check("GET", "/api/nothing/here", 401, &refusal("unauthenticated")).unwrap_err();
    let html = Spec::load().check("GET", "/api/nothing/here", 404, Some("text/html"), b"<p>none</p>");
    html.unwrap_err();
}

#[test]
fn the_built_client_is_pages_and_assets_and_never_data() {
    let spec = Spec::load();
    spec.check("GET", "/profile", 200, Some("text/html; charset=utf-8"), b"<div id=root>").unwrap();
    spec.check("GET", "/profile", 200, JSON, b"{}").unwrap_err();
    spec.check("POST", "/profile", 200, Some("text/html"), b"").unwrap_err();
    spec.check("GET", "/api/profile", 200, Some("text/html"), b"").unwrap_err();
}

#[test]
fn a_content_type_other_than_the_documented_is_an_error() {
    let spec = Spec::load();
    spec.check("GET", "/ping", 200, Some("text/html; charset=utf-8"), b"pong").unwrap();
    spec.check("GET", "/ping", 200, Some("text/html"), b"ping").unwrap_err();
    spec.check("GET", "/ping", 200, Some("text/plain"), b"pong").unwrap_err();
    spec.check("GET", "/ping", 200, None, b"pong").unwrap_err();
    spec.check("GET", "/api/product/get-all-products", 200, Some("text/html"), b"<p>").unwrap_err();
    spec.check("GET", "/api/product/get-all-products", 200, JSON, b"{").unwrap_err();
}

#[test]
fn an_upload_has_any_path_and_is_a_picture() {
    let spec = Spec::load();
    for path in ["/uploads/a.png", "/uploads/avatar/ann.png", "/uploads/https://pictures.example/a/b.png"] {
        spec.check("GET", path, 200, Some("image/png"), b"\x89PNG").unwrap();
    }
    spec.check("GET", "/uploads/a.html", 200, Some("text/html"), b"<script>").unwrap_err();
    spec.check("GET", "/uploads/a.png", 304, None, b"").unwrap();
    spec.check("GET", "/uploads/a.png", 304, None, b"x").unwrap_err();
}

#[test]
fn a_parameter_is_exactly_one_segment() {
    let list = json!({ "success": true, "orders": [] });
    check("GET", "/api/order/getOrders/undefined", 200, &list).unwrap();
    check("GET", "/api/order/getOrders/", 200, &list).unwrap_err();
    check("GET", "/api/order/getOrders/a/b", 200, &list).unwrap_err();
    let events = json!({ "success": true, "events": [] });
    check("GET", "/api/event/get-all-events-shop", 200, &events).unwrap();
    check("GET", "/api/event/get-all-events-shop/6744a0b1c2d3e4f5a6b7c802", 200, &events).unwrap();
}

#[test]
fn a_head_request_is_held_to_the_status_and_a_preflight_to_nothing() {
    let spec = Spec::load();
    spec.check("HEAD", "/api/product/get-all-products", 200, JSON, b"").unwrap();
    spec.check("HEAD", "/api/product/get-all-products", 500, JSON, b"").unwrap_err();
    spec.check("OPTIONS", "/api/product/get-all-products", 204, None, b"").unwrap();
}

// ------------------------------------------------------------------------------------------------ the document

#[test]
fn every_reference_resolves() {
    let spec = Spec::load();
    let mut count = 0;
    walk(spec.document(), &mut String::new(), &mut |pointer, value| {
        if value.get("$ref").is_some() {
            spec.resolve(pointer).unwrap_or_else(|why| panic!("{pointer}: {why}"));
            count += 1;
        }
    });
    assert!(count > 500, "only {count} references were found: the walk is broken");
}

#[test]
fn every_schema_compiles_and_every_component_is_used() {
    let spec = Spec::load();
    let mut used = BTreeSet::new();
    walk(spec.document(), &mut String::new(), &mut |pointer, value| {
        if let Some(target) = value.get("$ref").and_then(Value::as_str) {
            used.insert(target.trim_start_matches('#').to_owned());
        }
        if value.get("schema").is_some() {
            // Against anything at all: compiling is the point.
            let why = spec.validate(&format!("{pointer}/schema"), &Value::Null).err().unwrap_or_default();
            assert!(!why.contains("does not compile"), "{why}");
        }
    });
    for (kind, components) in spec.document()["components"].as_object().unwrap() {
        if kind == "securitySchemes" {
            continue;
        }
        for name in components.as_object().unwrap().keys() {
            let pointer = format!("/components/{kind}/{name}");
            assert!(used.contains(&pointer), "{pointer} is used nowhere");
        }
    }
}

#[test]
fn every_example_fits_its_schema() {
    let spec = Spec::load();
    let mut count = 0;
    walk(spec.document(), &mut String::new(), &mut |pointer, value| {
        if value.get("schema").is_none() {
            return;
        }
        let one = value.get("example").into_iter();
        let named = value.get("examples").and_then(Value::as_object).into_iter().flatten();
        for example in one.chain(named.map(|(_, example)| &example["value"])) {
            spec.validate(&format!("{pointer}/schema"), example)
                .unwrap_or_else(|why| panic!("the example at {pointer}: {why}"));
            count += 1;
        }
    });
    assert!(count > 100, "only {count} examples were found: the walk is broken");
}

#[test]
fn every_body_has_an_example() {
    let spec = Spec::load();
    walk(spec.document(), &mut String::new(), &mut |pointer, value| {
        for (media_type, content) in value.get("content").and_then(Value::as_object).into_iter().flatten() {
            let shown = content.get("example").is_some() || content.get("examples").is_some();
            assert!(shown || media_type.starts_with("image/"), "{pointer} has no example for {media_type}");
        }
    });
}

#[test]
fn every_object_in_a_response_is_closed_but_a_cart_item() {
    let spec = Spec::load();
    let mut open = BTreeSet::new();
    let mut seen = BTreeSet::new();
    for_each_operation(|place, operation| {
        for (status, response) in operation["responses"].as_object().unwrap() {
            let response = follow(response);
            let Some(content) = response.get("content").and_then(Value::as_object) else { continue };
            for media in content.values() {
                open_objects(&media["schema"], &format!("{place} {status}"), &mut seen, &mut open);
            }
        }
    });
    assert!(seen.contains("#/components/schemas/Order"), "the search is broken: {seen:?}");
    assert_eq!(open, BTreeSet::from(["#/components/schemas/CartItem".to_owned()]));
    assert!(spec.document()["components"]["schemas"]["CartItem"]["properties"]["password"] == json!(false));
}

#[test]
fn every_operation_says_who_may_call_it_and_security_says_the_same() {
    let user = json!({ "userCookie": [] });
    let seller = json!({ "sellerCookie": [] });
    let bearer = json!({ "bearerToken": [] });
    let nobody = json!({});
    let access = BTreeMap::from([
        ("user", vec![json!([user, bearer])]),
        ("seller", vec![json!([seller, bearer])]),
        ("admin", vec![json!([user, bearer])]),
        ("admin-or-seller", vec![json!([user, seller, bearer])]),
        ("buyer-or-seller", vec![json!([user, seller, bearer])]),
        ("bare-user", vec![json!([nobody, user, bearer])]),
        ("bare-seller", vec![json!([nobody, seller, bearer])]),
        ("bare-admin", vec![json!([nobody, user, bearer])]),
        ("bare-any", vec![json!([nobody, user, seller, bearer])]),
        // Open to everybody; a page may still tell its owner more.
        ("anonymous", vec![json!([]), json!([nobody, seller, bearer])]),
        ("gateway", vec![json!([])]),
    ]);
    for_each_operation(|place, operation| {
        let who = operation["x-access"].as_str().unwrap_or_else(|| panic!("{place} has no x-access"));
        let allowed = access.get(who).unwrap_or_else(|| panic!("{place}: x-access {who} is unknown"));
        assert!(allowed.contains(&operation["security"]), "{place}: {who}, but {}", operation["security"]);
        let refused = operation["responses"].get("401").is_some();
        let logs_in = place.contains("login");
        assert_eq!(
            refused,
            !["anonymous", "gateway"].contains(&who) || logs_in,
            "{place}: {who}, and 401 is documented: {refused}"
        );
        // Whoever is of a kind with many members may be a stranger to the thing.
        let many = !["anonymous", "gateway", "admin", "bare-admin"].contains(&who);
        let stranger = &operation["x-stranger"];
        assert_eq!(many, !stranger.is_null(), "{place}: {who}, and a stranger gets {stranger}");
        match stranger.as_u64() {
            Some(status) => {
                let documented = operation["responses"].get(status.to_string()).is_some();
                assert!(documented && [403, 404].contains(&status), "{place}: {stranger} to strangers");
            }
            None if many => assert!(stranger == "own" || stranger == "served", "{place}: {stranger}"),
            None => {}
        }
    });
}

#[test]
fn every_operation_is_described_and_every_id_is_unique() {
    let spec = Spec::load();
    let tags: BTreeSet<&str> =
        spec.document()["tags"].as_array().unwrap().iter().map(|tag| tag["name"].as_str().unwrap()).collect();
    let mut ids = BTreeSet::new();
    for_each_operation(|place, operation| {
        let id = operation["operationId"].as_str().unwrap_or_else(|| panic!("{place} has no operationId"));
        assert!(ids.insert(id.to_owned()), "{place}: {id} is taken");
        assert!(operation["summary"].is_string(), "{place} has no summary");
        let tag = operation["tags"][0].as_str().unwrap_or_else(|| panic!("{place} has no tag"));
        assert!(tags.contains(tag), "{place}: the tag {tag} is unknown");
        let template = place.split(' ').nth(1).unwrap();
        let in_path: BTreeSet<&str> =
            template.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).collect();
        let parameters: Vec<&Value> =
            operation.get("parameters").and_then(Value::as_array).into_iter().flatten().map(follow).collect();
        let declared: BTreeSet<&str> = parameters
            .iter()
            .filter(|parameter| parameter["in"] == "path")
            .map(|parameter| parameter["name"].as_str().unwrap())
            .collect();
        assert_eq!(in_path, declared, "{place}");
        let takes_body = operation.get("requestBody").is_some();
        for status in ["413", "415"] {
            let documented = operation["responses"].get(status).is_some();
            assert!(documented || !takes_body, "{place} takes a body and has no {status}");
        }
    });
    assert_eq!(ids.len(), spec.operations().len());
}

// ------------------------------------------------------------------------------------------------ the router

#[test]
fn every_mounted_operation_is_documented_and_mounted_once() {
    let routed: Vec<String> = api::routes::table().iter().map(|row| shape(row.method, &row.path)).collect();
    let mounted: BTreeSet<String> = routed.iter().cloned().collect();
    assert_eq!(mounted.len(), routed.len(), "an operation is mounted twice: {routed:#?}");
    let undocumented: Vec<&String> = mounted.iter().filter(|row| !documented().contains(*row)).collect();
    assert!(undocumented.is_empty(), "openapi.yaml lacks {undocumented:#?}");
}

#[test]
fn every_documented_operation_is_mounted() {
    let mounted: BTreeSet<String> =
        api::routes::table().iter().map(|row| shape(row.method, &row.path)).collect();
    let missing: Vec<String> = documented().into_iter().filter(|row| !mounted.contains(row)).collect();
    assert!(missing.is_empty(), "the router lacks {missing:#?}");
}

fn documented() -> BTreeSet<String> {
    Spec::load().operations().into_iter().map(|(method, path)| shape(method, path)).collect()
}

/// An operation in one text. What a parameter is called is nothing to the wire, so its name is left out.
fn shape(method: &str, path: &str) -> String {
    let steps = path.split('/').map(|step| if step.starts_with('{') { "{}" } else { step });
    format!("{method} {}", steps.collect::<Vec<_>>().join("/"))
}

// ------------------------------------------------------------------------------------------------ ways through it

/// Visits every mapping of the document with its JSON pointer; what stands in examples is not part of it.
fn walk(value: &Value, pointer: &mut String, visit: &mut impl FnMut(&str, &Value)) {
    let steps: Vec<(String, &Value)> = match value {
        Value::Object(map) => {
            visit(pointer, value);
            let inner = map.iter().filter(|(key, _)| !matches!(key.as_str(), "example" | "examples"));
            inner.map(|(key, value)| (key.replace('~', "~0").replace('/', "~1"), value)).collect()
        }
        Value::Array(list) => list.iter().enumerate().map(|(at, value)| (at.to_string(), value)).collect(),
        _ => return,
    };
    for (step, value) in steps {
        let length = pointer.len();
        pointer.push('/');
        pointer.push_str(&step);
        walk(value, pointer, visit);
        pointer.truncate(length);
    }
}

/// Each operation, with its method and path template in one text.
fn for_each_operation(mut visit: impl FnMut(&str, &Value)) {
    let spec = Spec::load();
    for (method, template) in spec.operations() {
        visit(
            &format!("{method} {template}"),
            &spec.document()["paths"][template][method.to_ascii_lowercase()],
        );
    }
}

fn follow(value: &Value) -> &Value {
    let Some(target) = value.get("$ref").and_then(Value::as_str) else { return value };
    let target = Spec::load().document().pointer(target.trim_start_matches('#'));
    follow(target.unwrap_or_else(|| panic!("{value} leads nowhere")))
}

/// Collects the objects that take any field, among a schema and all that it refers to.
fn open_objects(schema: &Value, place: &str, seen: &mut BTreeSet<String>, open: &mut BTreeSet<String>) {
    match schema {
        Value::Object(map) => {
            if let Some(target) = map.get("$ref").and_then(Value::as_str) {
                if seen.insert(target.to_owned()) {
                    open_objects(follow(schema), target, seen, open);
                }
                return;
            }
            let is_object = map.get("type") == Some(&json!("object")) || map.contains_key("required");
            if is_object && map.get("additionalProperties") != Some(&json!(false)) {
                open.insert(place.to_owned());
            }
            for inner in map.values() {
                open_objects(inner, place, seen, open);
            }
        }
        Value::Array(list) => list.iter().for_each(|inner| open_objects(inner, place, seen, open)),
        _ => {}
    }
}
