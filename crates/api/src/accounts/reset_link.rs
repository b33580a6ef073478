//! The mail with a link that sets a new password, as the outbox' worker writes it.

use shared::{
    auth::{digest, one_time_token},
    clock::{Clock, plus},
    config::Config,
    db::Db,
    model::OutboxJob,
};

use super::{Account, rules, store};
use crate::outbox::Outbox;

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
    let mail = OutboxJob::Mail {
        to: account.email().to_owned(),
        subject: "Set a new password".to_owned(),
        text: format!(
            "Somebody, most likely you, asked for a new password.\n\nFollow this link to set one:\n\n{}{}{token}\n\n\
             The link works once, for {}. If it was not you, simply ignore this mail: your password \
             stays as it is.\n",
            config.frontend_url,
            A::RESET_PAGE,
            rules::in_words(config.activation_ttl),
        ),
    };
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
