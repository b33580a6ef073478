//! What a shopper may store.

use crate::accounts::rules::{Checked, line};

/// More addresses than anybody delivers to.
pub(crate) const MOST_ADDRESSES: usize = 20;

/// The text that the client's form sends when no country was chosen.
const NO_COUNTRY: &str = "Choose your Country";

/// An ISO code, or what an older form took for one.
pub(crate) fn region(text: Option<&str>) -> Checked<String> {
    let region = line(text, 100, "must be chosen")?;
    if region == NO_COUNTRY { Err("must be chosen") } else { Ok(region) }
}

/// Whether the e-mail address in a form is the account's own: its owner did not mean to change it.
pub(crate) fn is_same_email(own: &str, given: &str) -> bool {
    own.trim().to_lowercase() == given.trim().to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_country_that_nobody_chose_is_none() {
        assert_eq!(region(Some("PK")).as_deref(), Ok("PK"));
        assert!(region(Some(NO_COUNTRY)).is_err());
        assert!(region(Some(" ")).is_err());
    }

    #[test]
    fn the_same_address_in_other_letters_is_the_same() {
        assert!(is_same_email("Ann@Example.com", " ann@example.COM "));
        assert!(!is_same_email("ann@example.com", "ann@example.comm"));
    }
}
