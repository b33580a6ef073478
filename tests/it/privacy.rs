//! The scan that every answer in these tests goes through finds what it is for.

use serde_json::{Value, json};
use tests::{
    contract::Spec,
    privacy::{Asked, scan},
};

const ANN: &str = "6744a0b1c2d3e4f5a6b7c801";
const BOB: &str = "6744a0b1c2d3e4f5a6b7c802";

/// What the scan says of an answer to somebody.
fn told(callers: &[&str], method: &str, path: &str, body: &Value) -> Result<(), String> {
    let (operation, promised) = Spec::load().promise(method, path);
    let callers = callers.iter().map(|id| (*id).to_owned()).collect();
    scan(&Asked { operation, promised, callers }, body.to_string().as_bytes())
}

#[track_caller]
fn leaks(callers: &[&str], path: &str, body: &Value, what: &str) {
    let why = told(callers, "GET", path, body).expect_err("it was not found");
    assert!(why.contains(what), "{why}");
}

#[test]
fn secrets_are_for_nobody_not_even_for_whom_they_are_about() {
    let own = "/api/user/getUser";
    for (body, what) in [
        (json!({ "user": { "_id": ANN, "password": "x" } }), "user.password"),
        (json!({ "user": { "_id": ANN, "resetPasswordToken": "x" } }), "resetPasswordToken"),
        (json!({ "user": { "_id": ANN, "name": format!("$2b$10${}", "a".repeat(53)) } }), "hash"),
        (json!({ "message": "eyJhbGciOiJIUzI1NiJ9.eyJpZCI6IjEifQ.abc" }), "a session"),
        (json!({ "token": "eyJhbGciOiJIUzI1NiJ9.eyJpZCI6IjEifQ.abc" }), "a session"),
        (json!({ "message": format!("the link ends in {}", "0a".repeat(32)) }), "one-time token"),
    ] {
        leaks(&[ANN], own, &body, what);
    }
    let session = json!({ "token": "eyJhbGciOiJIUzI1NiJ9.eyJpZCI6IjEifQ.abc" });
    assert_eq!(told(&[ANN], "POST", "/api/user/login-user", &session), Ok(()));
}

#[test]
fn details_are_for_whom_they_are_about_and_nobody_else() {
    let account = json!({ "user": { "_id": ANN, "email": "ann@example.com", "phoneNumber": 300,
        "addresses": [{ "_id": BOB.replace('2', "9"), "address1": "7 Canal Road", "zipCode": 5 }] } });
    let shop =
        json!({ "seller": { "_id": BOB, "withdrawMethod": { "bankName": "B" }, "availableBalance": 5 } });
    assert_eq!(told(&[ANN], "GET", "/api/user/getUser", &account), Ok(()));
    assert_eq!(told(&[BOB], "GET", "/api/shop/getSeller", &shop), Ok(()));
    for (callers, what) in [(&[BOB][..], "user.email"), (&[], "user.phoneNumber"), (&[BOB], "user.addresses")]
    {
        leaks(callers, "/api/user/getUser", &account, what);
    }
    leaks(&[ANN], "/api/shop/getSeller", &shop, "withdrawMethod");
    leaks(&[], &format!("/api/shop/seller-info/{BOB}"), &shop, "availableBalance");
    leaks(&[ANN], "/api/user/getUser", &json!({ "message": "it is eve@example.com's" }), "e-mail address");
}

#[test]
fn an_order_shows_its_two_sides_where_it_goes_and_nobody_else() {
    let path = format!("/api/order/get-order/{}", BOB.replace('2', "9"));
    let order = json!({ "order": {
        "_id": BOB.replace('2', "9"), "cart": [{ "_id": "x", "shopeId": BOB }],
        "user": { "_id": ANN, "phoneNumber": 300 }, "shippingAddress": { "address1": "7 Canal Road" },
    } });
    for side in [ANN, BOB] {
        assert_eq!(told(&[side], "GET", &path, &order), Ok(()));
    }
    let eve = ANN.replace("c8", "cc");
    leaks(&[&eve], &path, &order, "order.shippingAddress");
    leaks(&[&eve], &path, &order, "order.user.phoneNumber");
    // An address of e-mail is not part of the bargain.
    let more =
        json!({ "order": { "_id": "o", "user": { "_id": ANN, "email": "ann@example.com" }, "shop": BOB } });
    leaks(&[BOB], &path, &more, "order.user.email");
}
