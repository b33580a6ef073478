//! What is spoken about accounts of either kind.

use actix_web::http::StatusCode;
use serde::{Deserialize, Serialize};

use crate::error::Refusal;

pub(crate) const CREDENTIALS_MISSING: Refusal =
    Refusal::bad_request("credentials_missing", "Enter your email and password");
/// The same for an unknown address and for a wrong password.
pub(crate) const WRONG_CREDENTIALS: Refusal = Refusal::new(
    StatusCode::UNAUTHORIZED,
    "wrong_credentials",
    "The e-mail address or the password is wrong",
);
pub(crate) const BLOCKED: Refusal =
    Refusal::forbidden("account_blocked", "This account is blocked. Please contact us");
pub(crate) const LINK_EXPIRED: Refusal = Refusal::bad_request(
    "link_expired",
    "This link has expired or was never valid. Please ask for a new one",
);
pub(crate) const WRONG_PASSWORD: Refusal = Refusal::bad_request("wrong_password", "Password is not correct");
pub(crate) const WRONG_OLD_PASSWORD: Refusal =
    Refusal::bad_request("wrong_password", "Old password is incorrect");
pub(crate) const PICTURE_MISSING: Refusal =
    Refusal::bad_request("picture_missing", "Please choose a picture");

/// `POST …/login-user`, `POST …/shop-login`.
#[derive(Debug, Deserialize)]
pub(crate) struct LogIn {
    pub email: Option<String>,
    pub password: Option<String>,
}

/// `POST …/activation`.
#[derive(Debug, Deserialize)]
pub(crate) struct Activation {
    pub activation_token: Option<String>,
}

/// `PUT …/updatePassword`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PasswordChange {
    pub old_password: Option<String>,
    pub new_password: Option<String>,
    #[serde(rename = "confPassword")]
    pub repeated: Option<String>,
}

/// `POST …/forgot-password`.
#[derive(Debug, Deserialize)]
pub(crate) struct ForgotPassword {
    pub email: Option<String>,
}

/// `PUT …/reset-password`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PasswordReset {
    pub token: Option<String>,
    pub new_password: Option<String>,
    #[serde(rename = "confPassword")]
    pub repeated: Option<String>,
}

/// Done, and a sentence about it.
#[derive(Debug, Serialize)]
pub(crate) struct Done {
    success: bool,
    message: &'static str,
}

impl Done {
    /// With this sentence.
    pub(crate) const fn saying(message: &'static str) -> Self {
        Self { success: true, message }
    }
}

pub(crate) const PASSWORD_CHANGED: Done = Done::saying("Password updated successfully");
pub(crate) const RESET_MAIL_SENT: Done =
    Done::saying("If this address has an account, a mail with a link is on its way.");
pub(crate) const LOGGED_OUT_EVERYWHERE: Done = Done::saying("You are logged out everywhere.");
