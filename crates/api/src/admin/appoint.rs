//! How the first administrator comes to be.

use shared::{
    auth::{Kind, MAX_PASSWORD_BYTES, digest},
    db::duplicate_key,
    id::Id,
    model::{Party, ROLE_ADMIN, User, is_admin},
};
use tracing::{error, info, warn};

use crate::{
    accounts::store,
    audit_log::{self, Action, Event},
    state::App,
};

/// Sees to it that the account of `ADMIN_EMAIL` is an administrator's: one that exists is promoted if
/// `ADMIN_PASSWORD` is its password, otherwise one is made with it. Doing it again, also on several
/// nodes at once, changes nothing.
pub async fn appoint(app: &App) -> anyhow::Result<()> {
    let Some((email, password)) = &app.config.admin else { return Ok(()) };
    if promote(app, email, password.expose()).await? {
        return Ok(());
    }
    let user = User {
        id: id_of(email),
        name: "Administrator".to_owned(),
        email: email.clone(),
        password: app.hasher.hash(password.expose().to_owned()).await?,
        role: ROLE_ADMIN.to_owned(),
        created_at: Some(app.clock.now()),
        ..User::default()
    };
    match app.db.of::<User>().insert_one(user).await {
        Ok(_) => {
            note(app, id_of(email), "made");
            info!(email, "an administrator's account was made, with ADMIN_PASSWORD");
        }
        Err(failure) if duplicate_key(&failure).is_none() => return Err(failure.into()),
        // Another node was faster, or somebody signed up just now.
        Err(_) if promote(app, email, password.expose()).await? => {}
        Err(_) => error!(
            email,
            "there is no administrator: the account that was once made for this address has another \
             address now. Name that one in ADMIN_EMAIL"
        ),
    }
    Ok(())
}

/// What became of making somebody an administrator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appointed {
    /// The account was made.
    Made,
    /// An account that was there is an administrator's now.
    Promoted,
    /// It was one's before.
    Already,
    /// There is an account of the address, and the password is not its own.
    AnothersPassword,
    /// There is one, and nobody can log in to it.
    Blocked,
    /// The password is one that others try first; it says why.
    Weak(&'static str),
}

/// The same for whoever operates the server and wants to know what became of it: a password that is easily guessed is
/// refused.
pub async fn create(app: &App) -> anyhow::Result<Appointed> {
    let Some((email, password)) = &app.config.admin else { anyhow::bail!("nobody was named") };
    if let Some(why) = weakness(password.expose(), email) {
        return Ok(Appointed::Weak(why));
    }
    let accounts = || store::of_email::<User>(&app.db, email);
    let before = accounts().await?;
    if before.iter().any(|user| is_admin(&user.role)) {
        return Ok(Appointed::Already);
    }
    if before.iter().any(|user| user.blocked) {
        return Ok(Appointed::Blocked);
    }
    appoint(app).await?;
    app.audit_log.flush(&app.db).await?;
    Ok(match (accounts().await?.iter().any(|user| is_admin(&user.role)), before.is_empty()) {
        (false, _) => Appointed::AnothersPassword,
        (true, false) => Appointed::Promoted,
        (true, true) => Appointed::Made,
    })
}

/// Why a password is none for an administrator.
fn weakness(password: &str, email: &str) -> Option<&'static str> {
    const USUAL: [&str; 8] =
        ["password", "passwort", "qwerty", "12345678", "letmein", "administrator", "welcome", "iloveyou"];
    let lower = password.to_lowercase();
    let letters: std::collections::BTreeSet<char> = lower.chars().collect();
    if lower.chars().count() < 10 {
        Some("has fewer than 10 characters")
    } else if password.len() > MAX_PASSWORD_BYTES || password.contains('\0') {
        Some("has more than 72 bytes, or one that is no character")
    } else if letters.len() < 5 {
        Some("has fewer than 5 different characters")
    } else if lower == email.to_lowercase() {
        Some("is the e-mail address")
    } else if USUAL.iter().any(|usual| lower.starts_with(usual)) {
        Some("begins like one that everybody tries first")
    } else {
        None
    }
}

/// Makes the account of an address an administrator's; false if there is none. The old server let
/// anybody sign up under any address, so that the account is there does not prove whose it is: its
/// password does.
async fn promote(app: &App, email: &str, password: &str) -> anyhow::Result<bool> {
    let accounts = store::of_email::<User>(&app.db, email).await?;
    if accounts.is_empty() || accounts.iter().any(|user| is_admin(&user.role)) {
        return Ok(!accounts.is_empty());
    }
    // Legacy duplicates: whichever has this password, as when somebody logs in.
    for user in accounts {
        if app.hasher.verify(password.to_owned(), &user.password).await? {
            if user.blocked {
                warn!(email, "the account of ADMIN_EMAIL is blocked: nobody can log in to it");
            }
            store::set_role(&app.db, user.id, ROLE_ADMIN).await?;
            note(app, user.id, "promoted");
            info!(email, "this account is an administrator's now");
            return Ok(true);
        }
    }
    let refused = Event::refused(Action::AppointAdministrator, Party::system());
    app.audit_log.note(refused.about(app.audit_log.email(email)).note("another password"));
    error!(
        email,
        "no administrator was appointed: there is an account of ADMIN_EMAIL, and ADMIN_PASSWORD is not \
         its password, so it may be anybody's. Set ADMIN_PASSWORD to that account's password, or \
         ADMIN_EMAIL to another address"
    );
    Ok(true)
}

fn note(app: &App, id: Id<User>, how: &str) {
    let event = Event::done(Action::AppointAdministrator, Party::system());
    app.audit_log.note(event.about(audit_log::account(Kind::User, id)).note(how));
}

/// The same for everybody who makes an account of this address, so that two nodes cannot make two also
/// where legacy duplicates stand in the way of the unique index.
fn id_of(email: &str) -> Id<User> {
    let digest = digest(&email.to_lowercase());
    digest.get(..24).and_then(|hex| hex.parse().ok()).unwrap_or_else(Id::new)
}

#[cfg(test)]
mod tests {
    use super::weakness;

    #[test]
    fn what_others_try_first_is_weak() {
        for weak in
            ["short", "aaaaaaaaaaaa", "abababababab", "Root@Example.com", "Password2026!", "qwertyuiop"]
        {
            assert!(weakness(weak, "root@example.com").is_some(), "{weak}");
        }
        assert!(weakness(&"abcdefgh".repeat(10), "root@example.com").is_some());
        for good in ["battery staple", "korrektes Pferd", "x9!kfQ0-aa"] {
            assert_eq!(weakness(good, "root@example.com"), None, "{good}");
        }
    }
}
