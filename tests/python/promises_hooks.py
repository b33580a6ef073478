"""Who calls, and about what: loaded by schemathesis, see promises.py."""

import base64
import json
import os
import urllib.request
import zlib

import schemathesis

MARKET = json.loads(os.environ["SOUK_MARKET"])
KINDS = {
    "user": "user",
    "bare-user": "user",
    "bare-any": "user",
    "buyer-or-seller": "user",
    "seller": "seller",
    "admin-or-seller": "seller",
    "bare-seller": "seller",
    "admin": "admin",
    "bare-admin": "admin",
}
LOG_IN = {"user": "/api/user/login-user", "admin": "/api/user/login-user", "seller": "/api/shop/shop-login"}
passwords = {kind: MARKET["password"] for kind in LOG_IN}
tokens = {}


def token(kind):
    """A session, made anew when the last one has been ended by what was called."""
    if kind not in tokens:
        body = json.dumps({"email": MARKET["users"][kind], "password": passwords[kind]}).encode()
        request = urllib.request.Request(
            MARKET["base"] + LOG_IN[kind], data=body, headers={"Content-Type": "application/json"}, method="POST"
        )
        tokens[kind] = json.load(urllib.request.urlopen(request))["token"]
    return tokens[kind]


@schemathesis.auth(refresh_interval=None)
class Rightful:
    """The caller that `x-access` names."""

    def get(self, case, context):
        kind = KINDS.get(context.operation.definition.raw["x-access"])
        return token(kind) if kind else None

    def set(self, case, data, context):
        if data:
            case.headers = case.headers or {}
            case.headers["Authorization"] = f"Bearer {data}"


@schemathesis.hook
def after_call(context, case, response):
    """Some operations end every session of whoever calls, and one changes the password."""
    kind = KINDS.get(case.operation.definition.raw["x-access"])
    if kind and response.status_code == 200:
        if case.path.endswith("/updatePassword"):
            passwords[kind] = case.body["newPassword"]
        if case.path.endswith(("/updatePassword", "/logout-everywhere")):
            tokens.pop(kind, None)


@schemathesis.hook
def map_path_parameters(context, path_parameters):
    """Of made-up ids next to none would name anything. Every other one does."""
    for parameter in context.operation.path_parameters:
        name, example = parameter.name, parameter.definition.get("example")
        if path_parameters and example and name in path_parameters:
            if zlib.crc32(str(path_parameters[name]).encode("utf-8", "replace")) % 2:
                path_parameters[name] = example
    return path_parameters


# What no schema can say: a request may have the right shape and still be refused with one of these.
BEYOND_SHAPE = {
    "link_expired": "only a mailed link is good",
    "wrong_password": "only the password is good",
    "invalid_signature": "only the gateway can sign",
    "idempotency_key_reused": "a key belongs to the request that came with it first",
    "email_taken": "an address has one account",
    "picture_missing": "made-up bytes are no picture",
    "not_a_picture": "nor are these",
    "malformed_form": "a made-up name of a field may be none that a form can have",
}
@schemathesis.hook
def filter_failure(context, failure, case, response):
    """Keeps what is a failure."""
    kind = type(failure).__name__
    if kind == "ServerError" and response.status_code == 503:
        # The sandbox of the gateways does as it has been told.
        return response.json()["code"] not in ("card_payments_unavailable", "paypal_unavailable")
    if kind != "RejectedPositiveData" or response.status_code not in (400, 415, 422):
        return True
    said = response.json()
    # A schema says of what type a field is, and seldom all that its handler asks of it, such as that a date comes after
    # another. The refusal then names the field.
    named = said["code"] == "invalid_input" and said.get("errors")
    # Developers' sandbox: whole numbers without a fraction, be it .0.
    return not named and said["code"] not in BEYOND_SHAPE and "invalid type: floating point" not in said["message"]


@schemathesis.hook
def filter_case(context, case):
    """Gateways that are told to take minutes would be waited for."""
    sandbox = case.operation.path.startswith("/api/sandbox/") and isinstance(case.body, dict)
    return not (sandbox and ("next" in case.body or "webhooks" in case.body))


PICTURE = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


@schemathesis.hook
def map_body(context, body):
    """Made-up bytes are no picture. Where the document's example stands, there is one."""
    if isinstance(body, dict):
        for name in ("file", "image", "images"):
            if body.get(name) == "(a picture)":
                body[name] = PICTURE
            elif body.get(name) == ["(a picture)"]:
                body[name] = [PICTURE]
    return body
