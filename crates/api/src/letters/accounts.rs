//! Letters with links that open accounts.

use super::Letter;

/// To an address that somebody has signed up with. Nothing here is the words of whoever filled the form in: the
/// address may be a stranger's.
pub(crate) fn activation(subject: &str, link: String, works_for: &str) -> Letter {
    Letter::about(subject)
        .say("Welcome!")
        .link("Please follow this link to activate what you signed up for", link)
        .say(format!(
            "The link works for {works_for}. If it was not you who signed up, simply ignore this mail."
        ))
}

/// To whoever has forgotten a password.
pub(crate) fn new_password(link: String, works_for: &str) -> Letter {
    Letter::about("Set a new password")
        .say("Somebody, most likely you, asked for a new password.")
        .link("Follow this link to set one", link)
        .say(format!(
            "The link works once, for {works_for}. If it was not you, simply ignore this mail: your password stays \
             as it is."
        ))
}
