//! The mail with a link that sets a new password, as the outbox' worker writes it.

use shared::{
    auth::{digest, one_time_token},
    clock::{Clock, plus},
    config::Config,
    db::Db,
};

use super::{Account, rules, store};
use crate::{letters, outbox::Outbox};

/// Notes a new link for the account of an address and has it mailed, in one transaction. Nothing happens where there
/// is no such account. Done twice, the second link is the one that works.
pub(crate) async fn mail<A: Account>(
    db: &Db,
    outbox: &Outbox,
    clock: &Clock,
    config: &Config,
    email: &str,
) -> anyhow::Result<()> {
    // Of legacy namesakes the oldest: it is the one that a log-in finds first.
    let Some(account) = store::of_email::<A>(db, email).await?.into_iter().next() else { return Ok(()) };
    let token = one_time_token()?;
    let expires = plus(clock.now(), i64::try_from(config.activation_ttl.as_millis())?);
    let (id, digest) = (account.id(), digest(&token));
    let link = format!("{}{}{token}", config.frontend_url, A::RESET_PAGE);
    let letter = letters::new_password(link, &rules::in_words(config.activation_ttl));
    let mail = letter.mail_to(account.email().to_owned(), None);
    db.transaction(|session| {
        let (db, outbox, digest, mail) = (db.clone(), outbox.clone(), digest.clone(), mail.clone());
        Box::pin(async move {
            store::note_reset_in(&db, session, id, &digest, expires).await?;
            outbox.add_in(session, mail).await?;
            anyhow::Ok(())
        })
    })
    .await?;
    outbox.wake();
    Ok(())
}
