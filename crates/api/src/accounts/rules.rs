//! What a name, an e-mail address, a password or a number must look like. Each rule says no with the
//! end of a sentence that begins with the field's name.

use std::time::Duration;

use lettre::Address as MailAddress;
use shared::auth::MAX_PASSWORD_BYTES;

use crate::error::{Error, FieldError, Result};

/// Why a field cannot be used.
pub(crate) type Checked<T> = std::result::Result<T, &'static str>;

/// Collects what is wrong with a form, so that one answer names all of it.
#[derive(Debug, Default)]
pub(crate) struct Checks(Vec<FieldError>);

impl Checks {
    /// The checked value; or, noted down, why there is none.
    pub(crate) fn take<T: Default>(&mut self, field: &str, checked: Checked<T>) -> T {
        checked.unwrap_or_else(|why| {
            self.0.push(FieldError { field: field.to_owned(), message: why.to_owned() });
            T::default()
        })
    }

    /// Fails if anything was noted down.
    pub(crate) fn finish(self) -> Result<()> {
        if self.0.is_empty() { Ok(()) } else { Err(Error::Invalid(self.0)) }
    }
}

/// A person's or a shop's name.
pub(crate) fn name(text: Option<&str>) -> Checked<String> {
    line(text, 100, "must have from 1 to 100 characters")
}

/// A street address in one line.
pub(crate) fn street(text: Option<&str>) -> Checked<String> {
    line(text, 200, "must have from 1 to 200 characters")
}

/// One line of text, not empty, at most so long.
pub(crate) fn line(text: Option<&str>, longest: usize, why: &'static str) -> Checked<String> {
    let text = text.map(str::trim).unwrap_or_default();
    let fits = !text.is_empty() && text.chars().count() <= longest;
    if fits && !text.chars().any(char::is_control) { Ok(text.to_owned()) } else { Err(why) }
}

/// An address that mail can be sent to.
pub(crate) fn email(text: Option<&str>) -> Checked<String> {
    let text = text.map(str::trim).unwrap_or_default();
    // 254 octets are what SMTP carries.
    let plausible = text.len() <= 254 && text.parse::<MailAddress>().is_ok();
    if plausible { Ok(text.to_owned()) } else { Err("must be an e-mail address") }
}

/// A password that somebody chooses. bcrypt sees no further than 72 bytes and no further than a NUL.
pub(crate) fn new_password(text: Option<&str>) -> Checked<String> {
    let text = text.unwrap_or_default();
    if text.chars().count() < 4 || text.len() > MAX_PASSWORD_BYTES || text.contains('\0') {
        return Err("must have at least 4 characters and at most 72 bytes");
    }
    Ok(text.to_owned())
}

/// A phone number, with the blanks and signs that people put between the digits.
pub(crate) fn phone(text: Option<&str>) -> Checked<i64> {
    const WHY: &str = "must be a phone number of 5 to 15 digits";
    let text = text.unwrap_or_default().trim();
    let text = text.strip_prefix('+').unwrap_or(text);
    let digits: String = text.chars().filter(|c| !matches!(c, ' ' | '-' | '(' | ')' | '.')).collect();
    if (5..=15).contains(&digits.len()) { number(&digits, WHY) } else { Err(WHY) }
}

/// A postal code. It is stored as a number, as it always was.
pub(crate) fn zip_code(text: Option<&str>) -> Checked<i64> {
    const WHY: &str = "must be a number of 1 to 10 digits";
    let text = text.unwrap_or_default().trim();
    if (1..=10).contains(&text.len()) { number(text, WHY) } else { Err(WHY) }
}

fn number(digits: &str, why: &'static str) -> Checked<i64> {
    if digits.bytes().all(|b| b.is_ascii_digit()) { digits.parse().or(Err(why)) } else { Err(why) }
}

/// The two boxes in which a new password is typed.
pub(crate) fn repeated_password(new: Option<&str>, again: Option<&str>) -> Checked<String> {
    let password = new_password(new)?;
    if again == Some(password.as_str()) { Ok(password) } else { Err("does not match its repetition") }
}

/// `30 minutes`, for people.
pub(crate) fn in_words(time: Duration) -> String {
    let minutes = time.as_secs().div_ceil(60);
    let (n, unit) = match minutes {
        _ if minutes >= 2880 && minutes.is_multiple_of(1440) => (minutes / 1440, "days"),
        _ if minutes >= 120 && minutes.is_multiple_of(60) => (minutes / 60, "hours"),
        1 => return "1 minute".to_owned(),
        _ => (minutes, "minutes"),
    };
    format!("{n} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_limited_by_what_bcrypt_sees() {
        assert!(new_password(Some("abc")).is_err());
        assert!(new_password(Some("abcd")).is_ok());
        assert!(new_password(Some("äöüß")).is_ok());
        assert!(new_password(Some(&"a".repeat(72))).is_ok());
        assert!(new_password(Some(&"ä".repeat(37))).is_err());
        assert!(new_password(Some("ab\0cd")).is_err());
        assert!(new_password(None).is_err());
        // Blanks are part of a password.
        assert_eq!(new_password(Some(" ab ")).as_deref(), Ok(" ab "));
    }

    #[test]
    fn addresses_that_no_mail_reaches_are_refused() {
        for good in ["ann@example.com", " a.b+c@sub.example.co.uk ", "x@localhost"] {
            assert_eq!(email(Some(good)).as_deref(), Ok(good.trim()));
        }
        let long = format!("{}@example.com", "a".repeat(250));
        for bad in ["", "ann", "ann@", "@example.com", "a b@example.com", "a@b@c", "a@x\r\nBcc: b@x", &long] {
            assert!(email(Some(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn numbers_are_read_as_people_write_them() {
        assert_eq!(phone(Some("+92 (300) 123-4567")), Ok(923_001_234_567));
        assert_eq!(phone(Some("3001234567")), Ok(3_001_234_567));
        for bad in ["", "abc", "1234", "1234567890123456", "12345a", "-12345x", "1e9"] {
            assert!(phone(Some(bad)).is_err(), "{bad}");
        }
        assert_eq!(zip_code(Some("54000")), Ok(54_000));
        assert_eq!(zip_code(Some("00501")), Ok(501));
        for bad in ["", "SW1A", "-1", "1.5", "12345678901"] {
            assert!(zip_code(Some(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn lines_hold_no_line_breaks() {
        assert!(name(Some("Ann")).is_ok());
        assert!(name(Some(&"x".repeat(101))).is_err());
        assert!(name(Some("  ")).is_err());
        assert!(name(Some("Ann\r\nBcc: x")).is_err());
        assert!(name(None).is_err());
    }

    #[test]
    fn times_are_said_in_the_largest_unit_that_fits() {
        for (seconds, said) in [
            (1, "1 minute"),
            (1_800, "30 minutes"),
            (3_600, "60 minutes"),
            (7_200, "2 hours"),
            (259_200, "3 days"),
        ] {
            assert_eq!(in_words(Duration::from_secs(seconds)), said);
        }
    }
}
