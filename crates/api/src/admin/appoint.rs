//! How the first administrator comes to be.

use shared::{
    auth::{Kind, digest},
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
