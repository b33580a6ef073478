//! The stories that shoppers and shops share, once each.

use std::sync::Arc;

use actix_web::{HttpResponse, HttpResponseBuilder, cookie::Cookie};
use anyhow::Context as _;
use shared::{
    auth::{Credentials, Kind, MAX_PASSWORD_BYTES, digest, one_time_token},
    clock::{Timestamp, plus},
    db::{AsDriverError as _, duplicate_key},
    id::Id,
    model::{OutboxJob, Party, PendingAccount, PendingRegistration, Picture},
};
use tracing::warn;

use super::{Account, rules, store, wire};
use crate::{
    audit_log::{self, Action, Event},
    error::{Error, Result},
    idempotency::{self, Answer, Given, Key, Memory},
    identity::session_cookies,
    letters,
    limits::{Attempt, ClientAddress, Limit},
    media::{CheckedImage, Folder},
    state::App,
};

/// What somebody signs up with, checked.
pub(crate) struct SignUp {
    pub(crate) account: PendingAccount,
    pub(crate) email: String,
    pub(crate) name: String,
    pub(crate) password: String,
    pub(crate) picture: Option<CheckedImage>,
}

/// Keeps the details, mails the link that turns them into an account, and says so.
pub(crate) async fn sign_up<A: Account>(
    app: &App,
    key: &Key,
    details: SignUp,
    said: &'static str,
) -> Result<HttpResponse> {
    let now = app.clock.now();
    let memory = sign_up_memory::<A>(app, key, &details, now).await?;
    if let Some(answer) = idempotency::recall(&app.db, memory.as_ref()).await? {
        return Ok(answer.into());
    }
    if store::email_is_taken::<A>(&app.db, &details.email).await? {
        return Err(A::EXISTS.into());
    }
    _ = app.limits.take(Limit::Mail, &details.email.to_lowercase()).await?;
    let password = app.hasher.hash(details.password).await?;
    let avatar = match details.picture {
        Some(picture) => Some(app.media.store(Folder::Avatar, picture).await.map_err(Error::Unavailable)?),
        None => None,
    };
    let token = one_time_token()?;
    let pending = PendingRegistration {
        digest: digest(&token),
        account: details.account,
        email: details.email.clone(),
        name: details.name,
        password,
        avatar,
        expires_at: link_expires(app, now)?,
    };
    let link = format!("{}{}{token}", app.config.frontend_url, A::ACTIVATION_PAGE);
    let letter =
        letters::activation(A::ACTIVATION_SUBJECT, link, &rules::in_words(app.config.activation_ttl));
    let mail = letter.mail_to(details.email, None);
    let avatar = pending.avatar.clone();
    let answer = Answer::ok(&wire::Done::saying(said))?;
    let (db, outbox) = (app.db.clone(), app.outbox.clone());
    let given = idempotency::once(&app.db, memory, move |session| {
        let (db, outbox, answer) = (db.clone(), outbox.clone(), answer.clone());
        let (pending, mail) = (pending.clone(), mail.clone());
        Box::pin(async move {
            store::register_in(&db, session, &pending, now).await?;
            outbox.add_in(session, mail).await?;
            Ok(answer)
        })
    })
    .await;
    if !matches!(given, Ok(Given::First(_))) {
        discard(app, avatar.as_ref()).await;
    }
    app.outbox.wake();
    Ok(given?.into())
}

/// Nobody knows yet who signs up, so the keys of all of them are one set.
async fn sign_up_memory<A: Account>(
    app: &App,
    key: &Key,
    details: &SignUp,
    now: Timestamp,
) -> Result<Option<Memory>> {
    let picture = key.contents(details.picture.as_slice()).await?;
    let password = key.password(&app.hasher, &details.password).await?;
    let meaning = (&details.account, &details.email, &details.name, password, picture);
    Ok(key.memory(&format!("create-{}", A::PENDING), "anonymous", &meaning, now))
}

/// An account, and whether whoever followed the link may be logged in by that.
pub(crate) struct Activated<A> {
    pub(crate) account: A,
    /// A link that was used long ago still says that all is well, but opens nothing any more.
    pub(crate) may_log_in: bool,
}

/// Turns the registration that was mailed with this token into an account. Doing it again, also at
/// the same time, finds the same account. Nothing if the token is not for this kind of account.
pub(crate) async fn activate<A: Account>(app: &App, token: &str) -> Result<Option<Activated<A>>> {
    let (digest, now, needs_approval) = (digest(token), app.clock.now(), app.config.shop_approval);
    let outcome = app
        .db
        .transaction(|session| {
            let (db, digest) = (app.db.clone(), digest.clone());
            Box::pin(async move {
                match store::activate_in::<A>(&db, session, &digest, now, needs_approval).await? {
                    store::Activation::Made(account) => Ok(Some(account)),
                    store::Activation::Unknown => Ok(None),
                    store::Activation::EmailTaken => Err(Error::from(A::EXISTS_ALREADY)),
                }
            })
        })
        .await;
    let failure = match outcome {
        Ok(Some(account)) => return Ok(Some(Activated { account, may_log_in: true })),
        Ok(None) => None,
        Err(failure) => Some(failure),
    };
    if let Some(account) = store::activated_by::<A>(&app.db, &digest).await? {
        if account.is_blocked() {
            return Err(wire::BLOCKED.into());
        }
        let recent = link_expires(app, account.created_at())? > now;
        let may_log_in = recent && account.session_version() == 0;
        return Ok(Some(Activated { account, may_log_in }));
    }
    match failure {
        None => Ok(None),
        // Two registrations of one address, activated at the same time: the second finds the index.
        Some(failure)
            if failure.driver_error().and_then(duplicate_key).as_deref() == Some(A::EMAIL_INDEX) =>
        {
            Err(A::EXISTS_ALREADY.into())
        }
        Some(failure) => Err(failure),
    }
}

/// The account that an e-mail address and a password prove. Whether the address or the password is
/// wrong can be told neither from the answer nor from the time it takes.
pub(crate) async fn log_in<A: Account>(app: &App, address: ClientAddress, body: &wire::LogIn) -> Result<A> {
    let email = body.email.as_deref().map(str::trim).filter(|email| !email.is_empty());
    let password = body.password.clone().filter(|password| !password.is_empty());
    let (Some(email), Some(password)) = (email, password) else {
        return Err(wire::CREDENTIALS_MISSING.into());
    };
    let attempt = Attempt::begin(app, A::KIND, email, address).await?;
    let proven = prove::<A>(app, email, password).await;
    match &proven {
        Err(Error::Refused(refusal)) if *refusal == wire::WRONG_CREDENTIALS => drop(attempt),
        Ok(_) => attempt.succeeded(app).await,
        Err(_) => attempt.called_off(app).await,
    }
    proven
}

async fn prove<A: Account>(app: &App, email: &str, password: String) -> Result<A> {
    let mut candidates = store::of_email::<A>(&app.db, email).await?.into_iter();
    // Evenly: the same work whether there is such an account, whatever its password is stored as. Only legacy
    // namesakes, which no index could keep from being, take longer.
    let first = candidates.next();
    let about = match &first {
        Some(account) => audit_log::account(A::KIND, account.id()),
        None => app.audit_log.email(email),
    };
    let mut right = app.hasher.verify_evenly(password.clone(), first.as_ref().map(A::password)).await?;
    let mut tried = first;
    while let (false, Some(namesake)) = (right, candidates.next()) {
        right = app.hasher.verify(password.clone(), namesake.password()).await?;
        tried = Some(namesake);
    }
    let Some(account) = tried.filter(|_| right) else {
        app.audit_log.note(Event::refused(Action::LogIn, Party::nobody()).about(about));
        return Err(wire::WRONG_CREDENTIALS.into());
    };
    let known = audit_log::account(A::KIND, account.id());
    if account.is_blocked() {
        app.audit_log.note(Event::refused(Action::LogIn, known).note("blocked"));
        return Err(wire::BLOCKED.into());
    }
    app.audit_log.note(Event::done(Action::LogIn, known));
    rehash_if_outdated(app, &account, password).await;
    Ok(account)
}

/// Brings a hash up to today's cost. The log-in does not depend on it.
async fn rehash_if_outdated<A: Account>(app: &App, account: &A, password: String) {
    if !app.hasher.is_outdated(account.password()) || password.len() > MAX_PASSWORD_BYTES {
        return;
    }
    let rehashed = async {
        let hash = app.hasher.hash(password).await?;
        anyhow::Ok(store::rehash(&app.db, account.id(), account.password(), &hash).await?)
    };
    if let Err(cause) = rehashed.await {
        warn!(cause = format!("{cause:#}"), "a password could not be hashed anew");
    }
}

/// A new session of an account: its token, and the cookies that carry it.
pub(crate) fn open_session<A: Account>(app: &App, account: &A) -> Result<(String, Vec<Cookie<'static>>)> {
    let id = account.id().hex();
    let token = app.sessions.issue(A::KIND, &id, account.session_version(), app.clock.now())?;
    let cookies = session_cookies(&app.config, A::KIND, token.clone());
    Ok((token, cookies))
}

/// An answer that sets cookies.
pub(crate) fn with_cookies(
    mut response: HttpResponseBuilder,
    cookies: Vec<Cookie<'static>>,
) -> HttpResponseBuilder {
    for cookie in cookies {
        response.cookie(cookie);
    }
    response
}

/// Whether the account's owner has typed the right password.
pub(crate) async fn is_password_of<A: Account>(
    app: &App,
    account: &A,
    password: Option<&str>,
) -> Result<bool> {
    Ok(app.hasher.verify(password.unwrap_or_default().to_owned(), account.password()).await?)
}

/// Another password for whoever knows the present one. Every session ends; the account comes back
/// with the version that new ones need.
pub(crate) async fn change_password<A: Account>(
    app: &App,
    id: Id<A>,
    body: &wire::PasswordChange,
) -> Result<A> {
    let mut checks = rules::Checks::default();
    let repeated = rules::repeated_password(body.new_password.as_deref(), body.repeated.as_deref());
    let new = checks.take("newPassword", repeated);
    checks.finish()?;
    let account = store::find(&app.db, id).await?.ok_or(Error::Unauthenticated)?;
    if !is_password_of(app, &account, body.old_password.as_deref()).await? {
        let known = audit_log::account(A::KIND, id);
        app.audit_log.note(Event::refused(Action::ChangePassword, known));
        return Err(wire::WRONG_OLD_PASSWORD.into());
    }
    let hash = app.hasher.hash(new).await?;
    let changed = store::change_password(&app.db, id, account.password(), &hash).await?;
    // Somebody changed it in between: then the old one is not the old one any more.
    let changed = changed.ok_or(wire::WRONG_OLD_PASSWORD)?;
    app.audit_log.note(Event::done(Action::ChangePassword, audit_log::account(A::KIND, id)));
    Ok(changed)
}

/// Ends the sessions that a request has presented, wherever else they may have been copied to.
pub(crate) async fn end_session<A: Account>(app: &App, presented: &Credentials) -> Result<()> {
    let in_cookies = match A::KIND {
        Kind::User => [presented.user.as_deref(), presented.legacy()],
        Kind::Seller => [presented.seller.as_deref(), None],
    };
    for token in in_cookies.into_iter().chain([presented.bearer.as_deref()]).flatten() {
        let Ok(claims) = app.sessions.read(token, app.clock.now()) else { continue };
        if claims.kind.is_none_or(|kind| kind == A::KIND)
            && let Ok(id) = claims.id.parse()
        {
            store::end_session::<A>(&app.db, id, &claims.session()).await?;
        }
    }
    Ok(())
}

/// Ends every session.
pub(crate) async fn end_sessions<A: Account>(app: &App, id: Id<A>) -> Result<()> {
    store::end_sessions(&app.db, id).await?;
    app.audit_log.note(Event::done(Action::LogOutEverywhere, audit_log::account(A::KIND, id)));
    Ok(())
}

/// Has a link mailed that sets a new password, if the address has an account: which the worker finds out, so that the
/// answer takes the same time whether it has or not.
pub(crate) async fn ask_for_reset<A: Account>(app: &App, body: &wire::ForgotPassword) -> Result<()> {
    let mut checks = rules::Checks::default();
    let email = checks.take("email", rules::email(body.email.as_deref()));
    checks.finish()?;
    // By the address as it was typed, so that this tells nothing either.
    _ = app.limits.take(Limit::Mail, &email.to_lowercase()).await?;
    app.outbox.add(OutboxJob::ResetLink { account: A::KIND, email }).await?;
    Ok(())
}

/// Sets a new password with a mailed token, which works once.
pub(crate) async fn reset_password<A: Account>(app: &App, body: &wire::PasswordReset) -> Result<()> {
    let mut checks = rules::Checks::default();
    let repeated = rules::repeated_password(body.new_password.as_deref(), body.repeated.as_deref());
    let new = checks.take("newPassword", repeated);
    checks.finish()?;
    let digest = digest(body.token.as_deref().map(str::trim).unwrap_or_default());
    if !store::reset_is_good::<A>(&app.db, &digest, app.clock.now()).await? {
        return Err(wire::LINK_EXPIRED.into());
    }
    let hash = app.hasher.hash(new).await?;
    let account = store::reset_password::<A>(&app.db, &digest, app.clock.now(), &hash).await?;
    let account = account.ok_or(wire::LINK_EXPIRED)?;
    let event = Event::done(Action::ResetPassword, Party::nobody());
    app.audit_log.note(event.about(audit_log::account(A::KIND, account.id())));
    Ok(())
}

/// Stores a picture, puts it in place and only then has the one before deleted.
pub(crate) async fn replace_avatar<A: Account>(
    app: &App,
    id: Id<A>,
    picture: Option<CheckedImage>,
) -> Result<A> {
    let picture = picture.ok_or(wire::PICTURE_MISSING)?;
    let picture = app.media.store(Folder::Avatar, picture).await.map_err(Error::Unavailable)?;
    let new = Arc::new(picture);
    let replaced = app
        .db
        .transaction(|session| {
            let (db, outbox, new) = (app.db.clone(), app.outbox.clone(), Arc::clone(&new));
            Box::pin(async move {
                let before = store::set_avatar_in::<A>(&db, session, id, &new).await?;
                let before = before.ok_or(Error::Unauthenticated)?;
                let old = before.avatar().map(|old| old.public_id.clone()).filter(|old| !old.is_empty());
                if let Some(public_id) = old.filter(|old| *old != new.public_id) {
                    outbox.add_in(session, OutboxJob::DeleteMedia { public_id }).await?;
                }
                Ok::<_, Error>(())
            })
        })
        .await;
    if let Err(failure) = replaced {
        discard(app, Some(&new)).await;
        return Err(failure);
    }
    app.outbox.wake();
    store::find(&app.db, id).await?.ok_or(Error::Unauthenticated)
}

/// Deletes a picture that nothing refers to after a failure. If that fails too, it stays behind.
async fn discard(app: &App, picture: Option<&Picture>) {
    if let Some(picture) = picture
        && let Err(cause) = app.media.delete(&picture.public_id).await
    {
        warn!(cause = format!("{cause:#}"), public_id = picture.public_id, "an unused picture stays behind");
    }
}

fn link_expires(app: &App, from: Timestamp) -> Result<Timestamp> {
    let millis =
        i64::try_from(app.config.activation_ttl.as_millis()).context("ACTIVATION_TTL is too long")?;
    Ok(plus(from, millis))
}
