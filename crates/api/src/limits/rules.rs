//! What is limited, whom it is counted for, and in which words it is refused.

use std::time::Duration;

use shared::config::{Rate, Rates};

/// What is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Failed log-ins to one account from one address; with it go the next two.
    LogIn,
    /// Failed log-ins from one address.
    LogInAddress,
    /// Failed log-ins to one account, from addresses that never logged in to it.
    LogInAccount,
    /// Sign-ups.
    SignUp,
    /// Mailed links that are followed.
    Activation,
    /// Forgotten passwords.
    Reset,
    /// Mails with links to one address of e-mail.
    Mail,
    /// Changes that need the account's password.
    Password,
    /// Coupon codes that are looked up.
    Coupon,
    /// Checkouts.
    Checkout,
    /// Payments that are begun or taken.
    Payment,
    /// Forms that may carry pictures.
    Upload,
    /// Messages, and conversations.
    Message,
    /// Webhooks that nobody vouches for.
    Webhook,
    /// Changes, tests and repetitions of webhooks that are sent.
    Hooks,
}

/// For whom requests are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whom {
    /// The address, whoever is logged in there.
    Address,
    /// The account; the address, where nobody is logged in.
    Account,
}

impl Limit {
    /// As `x-rate-limit` in `openapi.yaml` and the metrics call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::LogIn => "login",
            Self::LogInAddress => "login-address",
            Self::LogInAccount => "login-account",
            Self::SignUp => "signup",
            Self::Activation => "activation",
            Self::Reset => "reset",
            Self::Mail => "mail",
            Self::Password => "password",
            Self::Coupon => "coupon",
            Self::Checkout => "checkout",
            Self::Payment => "payment",
            Self::Upload => "upload",
            Self::Message => "message",
            Self::Webhook => "webhook",
            Self::Hooks => "hooks",
        }
    }

    pub(super) const fn rate(self, rates: &Rates) -> Rate {
        match self {
            Self::LogIn => rates.log_in,
            Self::LogInAddress => rates.log_in_address,
            Self::LogInAccount => rates.log_in_account,
            Self::SignUp => rates.sign_up,
            Self::Activation => rates.activation,
            Self::Reset => rates.reset,
            Self::Mail => rates.mail,
            Self::Password => rates.password,
            Self::Coupon => rates.coupon,
            Self::Checkout => rates.checkout,
            Self::Payment => rates.payment,
            Self::Upload => rates.upload,
            Self::Message => rates.message,
            Self::Webhook => rates.webhook,
            Self::Hooks => rates.hooks,
        }
    }

    pub(super) const fn whom(self) -> Whom {
        match self {
            Self::Password
            | Self::Coupon
            | Self::Checkout
            | Self::Payment
            | Self::Upload
            | Self::Message
            | Self::Hooks => Whom::Account,
            Self::LogIn
            | Self::LogInAddress
            | Self::LogInAccount
            | Self::SignUp
            | Self::Activation
            | Self::Reset
            | Self::Mail
            | Self::Webhook => Whom::Address,
        }
    }

    /// Whether it keeps somebody from trying until a guess is right, or from having mails sent. That is refused
    /// while nobody can count.
    pub(super) const fn is_guess(self) -> bool {
        match self {
            Self::LogIn
            | Self::LogInAddress
            | Self::LogInAccount
            | Self::Activation
            | Self::Reset
            | Self::Mail
            | Self::Password
            | Self::Coupon => true,
            Self::SignUp
            | Self::Checkout
            | Self::Payment
            | Self::Upload
            | Self::Message
            | Self::Webhook
            | Self::Hooks => false,
        }
    }

    const fn what(self) -> &'static str {
        match self {
            Self::LogIn => "Too many failed log-ins to this account from your address",
            Self::LogInAddress => "Too many failed log-ins from your address",
            Self::LogInAccount => "Too many failed log-ins to this account",
            Self::SignUp => "Too many sign-ups from your address",
            Self::Activation => "Too many activation links were followed from your address",
            Self::Reset => "Too many requests for a new password from your address",
            Self::Mail => "Too many mails were asked for to this e-mail address",
            Self::Password => "Too many changes that need your password",
            Self::Coupon => "Too many coupon codes were looked up",
            Self::Checkout => "Too many checkouts",
            Self::Payment => "Too many payments were begun",
            Self::Upload => "Too many forms with pictures were sent",
            Self::Message => "Too many messages",
            Self::Hooks => "Too many changes, tests or repetitions of webhooks",
            Self::Webhook => "Too many webhooks that cannot be proven came from this address",
        }
    }
}

/// What is said to somebody who has to wait for so long.
pub(super) fn sentence(limit: Limit, wait: Duration) -> String {
    let seconds = wait.as_millis().div_ceil(1000).max(1);
    let (n, unit) = if seconds <= 120 { (seconds, "second") } else { (seconds.div_ceil(60), "minute") };
    let plural = if n == 1 { "" } else { "s" };
    format!("{}. Please try again in {n} {unit}{plural}", limit.what())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_what_and_when() {
        for (millis, said) in [
            (0, "Too many checkouts. Please try again in 1 second"),
            (41_001, "Too many checkouts. Please try again in 42 seconds"),
            (121_000, "Too many checkouts. Please try again in 3 minutes"),
        ] {
            assert_eq!(sentence(Limit::Checkout, Duration::from_millis(millis)), said);
        }
    }
}
