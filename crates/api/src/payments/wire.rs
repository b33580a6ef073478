use serde::{Deserialize, Serialize};

use crate::error::Refusal;

/// `POST /api/stripe/process`
#[derive(Deserialize)]
pub(super) struct NewPayment {
    /// In minor units; a number or numeric text.
    #[serde(default, deserialize_with = "crate::extract::loose")]
    pub amount: Option<String>,
}

#[derive(Serialize)]
pub(super) struct PaymentBegun {
    pub success: bool,
    pub client_secret: String,
    /// The payment's id, to be named in `paymentInfo.id` at checkout.
    pub id: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PublishableKey {
    pub stripe_api_key: String,
}

pub(super) const GATEWAY_REFUSED: Refusal =
    Refusal::conflict("payment_refused", "The payment gateway refused the payment");

pub(super) const FORGED: Refusal =
    Refusal::bad_request("invalid_signature", "The gateway named here did not send this");
