//! How often anybody may ask for what costs something: so many within a time, each with its own setting.

use std::time::Duration;

use super::read::Reader;

/// So many within a time that begins with the first of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// At most so many.
    pub most: i64,
    /// Within this time.
    pub within: Duration,
}

/// All of them; `api::limits` says who is counted by which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rates {
    /// Failed log-ins to one account from one address.
    pub log_in: Rate,
    /// Failed log-ins from one address.
    pub log_in_address: Rate,
    /// Failed log-ins to one account from everywhere.
    pub log_in_account: Rate,
    /// Sign-ups.
    pub sign_up: Rate,
    /// Mailed links that are followed.
    pub activation: Rate,
    /// Forgotten passwords: requests for a link, and uses of one.
    pub reset: Rate,
    /// Mails that anybody can have sent to one address of e-mail.
    pub mail: Rate,
    /// Changes for which an account's present password is needed.
    pub password: Rate,
    /// Coupon codes that are looked up.
    pub coupon: Rate,
    /// Checkouts.
    pub checkout: Rate,
    /// Payments that are begun or taken.
    pub payment: Rate,
    /// Forms that may carry pictures.
    pub upload: Rate,
    /// Messages over REST, and conversations that are opened.
    pub message: Rate,
    /// Webhooks whose sender could not be proven.
    pub webhook: Rate,
    /// Changes, tests and repetitions of webhooks that Souk sends.
    pub hooks: Rate,
}

impl Rates {
    pub(super) fn read<F: Fn(&str) -> Option<String>>(read: &mut Reader<F>) -> Self {
        Self {
            log_in: rate(read, "RATE_LIMIT_LOGIN", 10, 60),
            log_in_address: rate(read, "RATE_LIMIT_LOGIN_ADDRESS", 60, 60),
            log_in_account: rate(read, "RATE_LIMIT_LOGIN_ACCOUNT", 50, 60),
            sign_up: rate(read, "RATE_LIMIT_SIGNUP", 20, 60),
            activation: rate(read, "RATE_LIMIT_ACTIVATION", 30, 60),
            reset: rate(read, "RATE_LIMIT_RESET", 30, 60),
            mail: rate(read, "RATE_LIMIT_MAIL", 5, 600),
            password: rate(read, "RATE_LIMIT_PASSWORD", 20, 60),
            coupon: rate(read, "RATE_LIMIT_COUPON", 120, 60),
            checkout: rate(read, "RATE_LIMIT_CHECKOUT", 60, 60),
            payment: rate(read, "RATE_LIMIT_PAYMENT", 60, 60),
            upload: rate(read, "RATE_LIMIT_UPLOAD", 60, 60),
            message: rate(read, "RATE_LIMIT_MESSAGE", 240, 60),
            webhook: rate(read, "RATE_LIMIT_WEBHOOK", 60, 60),
            hooks: rate(read, "RATE_LIMIT_HOOKS", 60, 60),
        }
    }
}

fn rate<F: Fn(&str) -> Option<String>>(
    read: &mut Reader<F>,
    name: &'static str,
    most: i64,
    seconds: u64,
) -> Rate {
    let want = "how many within which time, such as 60/1m or 5/10m; a bare number is per minute";
    read.parsed(&[name], want, parse).unwrap_or(Rate { most, within: Duration::from_secs(seconds) })
}

fn parse(text: &str) -> Option<Rate> {
    let (most, within) = match text.split_once('/') {
        Some((most, within)) => (most, super::read::parse_duration(within)?),
        None => (text, Duration::from_secs(60)),
    };
    let most = most.trim().parse().ok().filter(|most| *most > 0)?;
    // Nobody is to be told to come back next year.
    let sensible = Duration::from_secs(1)..=Duration::from_secs(86_400);
    sensible.contains(&within).then_some(Rate { most, within })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_number_within_a_time() {
        let of = |most, seconds| Some(Rate { most, within: Duration::from_secs(seconds) });
        for (text, rate) in [
            ("60", of(60, 60)),
            ("5/10m", of(5, 600)),
            ("3 / 1h", of(3, 3_600)),
            ("1/1d", of(1, 86_400)),
            ("0/1m", None),
            ("-1", None),
            ("5/0", None),
            ("5/2d", None),
            ("5/250ms", None),
            ("many", None),
            ("5/", None),
            ("9223372036854775808", None),
        ] {
            assert_eq!(parse(text), rate, "{text}");
        }
    }
}
