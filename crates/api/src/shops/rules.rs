//! What a shop may store, and how its bank details are shown.

use shared::model::WithdrawMethod;

use crate::accounts::rules::{Checked, line};

/// The client shows so many characters of an account number, and breaks where there are fewer.
const SHOWN: usize = 3;

/// What a shop says of itself. May be empty, and may have several lines.
pub(crate) fn description(text: &str) -> Checked<String> {
    let text = text.trim();
    let odd = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t');
    if text.chars().count() <= 2000 && !text.chars().any(odd) {
        Ok(text.to_owned())
    } else {
        Err("must have at most 2000 characters")
    }
}

/// One of the texts that describe a bank account.
pub(crate) fn bank_text(text: Option<&str>) -> Checked<String> {
    line(text, 200, "must have from 1 to 200 characters")
}

/// An account number. A masked one, as [`masked`] makes it, is not stored over the real one.
pub(crate) fn account_number(text: Option<&str>) -> Checked<String> {
    const WHY: &str = "must have from 3 to 64 characters";
    let number = line(text, 64, WHY)?;
    if number.chars().count() < SHOWN {
        return Err(WHY);
    }
    if number.contains('*') { Err("must be the whole number, not a masked one") } else { Ok(number) }
}

/// Bank details as their owner sees them: all but the last characters of the number hidden, its length
/// kept. Nothing if the number is too short for the client, as legacy data has it.
pub(crate) fn masked(method: &WithdrawMethod) -> Option<WithdrawMethod> {
    let length = method.bank_account_number.chars().count();
    let hidden = length.checked_sub(SHOWN)?;
    let tail = method.bank_account_number.chars().skip(hidden);
    let bank_account_number = std::iter::repeat_n('*', hidden).chain(tail).collect();
    Some(WithdrawMethod { bank_account_number, ..method.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn method(number: &str) -> WithdrawMethod {
        WithdrawMethod { bank_account_number: number.to_owned(), ..WithdrawMethod::default() }
    }

    #[test]
    fn an_account_number_keeps_its_length_and_its_end() {
        for (stored, shown) in [
            ("PK36123456702", Some("**********702")),
            ("702", Some("702")),
            ("ñandú", Some("**ndú")),
            ("12", None),
            ("", None),
        ] {
            assert_eq!(masked(&method(stored)).map(|m| m.bank_account_number).as_deref(), shown, "{stored}");
        }
    }

    #[test]
    fn a_number_the_client_cannot_show_is_refused() {
        assert_eq!(account_number(Some(" 123 ")).as_deref(), Ok("123"));
        for bad in ["", "12", "****702", &"1".repeat(65)] {
            assert!(account_number(Some(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_description_may_be_empty_and_have_lines() {
        assert_eq!(description("").as_deref(), Ok(""));
        assert_eq!(description("Lamps.\nMade by hand.").as_deref(), Ok("Lamps.\nMade by hand."));
        assert!(description(&"x".repeat(2001)).is_err());
        assert!(description("a\u{7}").is_err());
    }
}
