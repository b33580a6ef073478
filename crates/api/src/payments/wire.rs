use actix_web::http::StatusCode;
use serde::{Deserialize, Serialize};
use shared::money::Money;

use super::guard::NoAnswer;
use crate::{
    error::{Error, Refusal},
    orders::cart::{self, Cart, CartItem},
};

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

/// `POST /api/paypal/create-order`: a checkout's body will do; how it is delivered and paid is not read.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NewPaypalOrder {
    #[serde(default)]
    cart: Option<Vec<CartItem>>,
    #[serde(default, deserialize_with = "crate::extract::loose")]
    total_price: Option<String>,
    #[serde(default)]
    coupon_code: Option<String>,
}

impl NewPaypalOrder {
    /// Checked for form.
    pub(super) fn cart(self) -> Result<Cart, Error> {
        let mut errors = Vec::new();
        let cart = Cart {
            lines: cart::lines(self.cart, &mut errors),
            total: cart::total(self.total_price.as_deref(), &mut errors),
            coupon: cart::coupon(self.coupon_code),
        };
        if errors.is_empty() { Ok(cart) } else { Err(Error::Invalid(errors)) }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PaypalOrder {
    pub success: bool,
    /// PayPal's order, for its script in the browser.
    pub id: String,
    pub amount: Money,
    pub currency: String,
    /// Where its payer agrees, for those who use no script of PayPal's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approve_url: Option<String>,
}

#[derive(Serialize)]
pub(super) struct PaypalCapture {
    pub success: bool,
    /// The payment, to be named in `paymentInfo.id` at checkout.
    pub id: String,
    pub status: &'static str,
    pub amount: Money,
    pub currency: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PaypalClientId {
    pub success: bool,
    pub client_id: String,
}

pub(super) const NOTHING_TO_PAY: Refusal = Refusal::conflict(
    "nothing_to_pay",
    "The cart comes to nothing, so there is nothing to pay; please choose cash on delivery",
);

pub(super) const PAYMENT_NOT_FOUND: Refusal =
    Refusal::not_found("payment_not_found", "You have begun no payment with this id");

pub(super) const PAYMENT_WAITS: Refusal =
    Refusal::conflict("payment_pending", "The payment has not been made yet");

pub(super) const PAYMENT_FAILED: Refusal = Refusal::conflict("payment_failed", "The payment failed");

pub(super) const GATEWAY_REFUSED: Refusal =
    Refusal::conflict("payment_refused", "The payment gateway refused the payment");

pub(super) const FORGED: Refusal =
    Refusal::bad_request("invalid_signature", "The gateway named here did not send this");

pub(super) const NOT_THE_AMOUNT: Refusal =
    Refusal::conflict("payment_does_not_fit", "The payment is not of what the orders come to");

pub(super) const PAYMENT_OF_ANOTHER: Refusal =
    Refusal::conflict("payment_not_yours", "This payment was begun here by another account than the order's");
pub(super) const PAYMENT_TAKEN: Refusal =
    Refusal::conflict("payment_used", "This payment has been used for other orders already");

/// To a gateway that has called.
#[derive(Serialize)]
pub(super) struct Received {
    pub received: bool,
}

const CARDS_DOWN: Refusal = Refusal::new(
    StatusCode::SERVICE_UNAVAILABLE,
    "card_payments_unavailable",
    "Card payments do not answer at the moment; nothing was charged by this request. Please try again, or choose \
     another way to pay",
);

const PAYPAL_DOWN: Refusal = Refusal::new(
    StatusCode::SERVICE_UNAVAILABLE,
    "paypal_unavailable",
    "PayPal does not answer at the moment; nothing was charged by this request. Please try again, or choose another \
     way to pay",
);

/// A gateway that does not answer takes no other way to pay with it.
pub(super) fn no_answer(cause: anyhow::Error) -> Error {
    let lost = match cause.downcast::<NoAnswer>() {
        Ok(lost) => lost,
        // A sandbox keeps what it knows in our database.
        Err(cause) => {
            return match cause.downcast::<mongodb::error::Error>() {
                Ok(ours) => ours.into(),
                Err(cause) => Error::Unavailable(cause),
            };
        }
    };
    let (refusal, name) = match lost.gateway {
        "paypal" => (PAYPAL_DOWN, "PayPal"),
        _ => (CARDS_DOWN, "The card payments' service"),
    };
    let refusal = refusal.until(lost.retry_after);
    if lost.may_have_acted {
        let words = format!(
            "{name} did not answer in time, and it is not known whether the payment was made. Please try again \
             with the same payment: it cannot be charged twice"
        );
        return refusal.saying(words).into();
    }
    refusal.into()
}
