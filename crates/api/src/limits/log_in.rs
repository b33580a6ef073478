//! Log-ins: what counts is the failure, and three counters have a say.
//!
//! An account is counted by the e-mail address as it was typed, whether or not there is such an account, so that
//! being refused tells nothing.

use std::net::IpAddr;

use shared::{auth::Kind, clock::plus};
use tracing::debug;

use super::{ClientAddress, Limit, PATIENCE, Taken, store};
use crate::{
    error::{Error, Result},
    state::App,
};

/// For so long an address from which somebody has logged in is no stranger.
const FAMILIAR_MILLIS: i64 = 180 * 86_400_000;

/// A log-in that is being tried. Dropped, it has failed.
pub(crate) struct Attempt {
    taken: [Taken; 3],
    /// Account and address.
    pair: String,
}

impl Attempt {
    /// Takes the places of one failure, or says that there were too many.
    pub(crate) async fn begin(app: &App, kind: Kind, email: &str, address: ClientAddress) -> Result<Self> {
        let limits = &app.limits;
        let (pair, account) = names(kind, email, address.0);
        // One after the other: what is refused here must not count there, or one address alone could use up what an
        // account has for all of them.
        let of_pair = limits.take(Limit::LogIn, &pair).await?;
        let of_address = match limits.take(Limit::LogInAddress, &address.to_string()).await {
            Ok(taken) => taken,
            Err(refused) => {
                limits.give_back(of_pair).await;
                return Err(refused);
            }
        };
        let of_account = match limits.take(Limit::LogInAccount, &account).await {
            Err(Error::Refused(_)) if limits.is_familiar(&pair).await => Taken::default(),
            Ok(taken) => taken,
            Err(refused) => {
                tokio::join!(limits.give_back(of_pair), limits.give_back(of_address));
                return Err(refused);
            }
        };
        Ok(Self { taken: [of_pair, of_address, of_account], pair })
    }

    /// It was the right password. The address is none of a stranger's from now on.
    pub(crate) async fn succeeded(self, app: &App) {
        tokio::join!(app.limits.make_familiar(&self.pair), give_back(app, self.taken));
    }

    /// Whether the password was right was never found out.
    pub(crate) async fn called_off(self, app: &App) {
        give_back(app, self.taken).await;
    }
}

async fn give_back(app: &App, [one, two, three]: [Taken; 3]) {
    let limits = &app.limits;
    tokio::join!(limits.give_back(one), limits.give_back(two), limits.give_back(three));
}

/// Who is counted as account and address, and who as account. The e-mail address comes last: it may hold anything.
fn names(kind: Kind, email: &str, address: IpAddr) -> (String, String) {
    let kind = match kind {
        Kind::User => "user",
        Kind::Seller => "seller",
    };
    let email = email.to_lowercase();
    (format!("{kind} {address} {email}"), format!("{kind} {email}"))
}

impl super::Limits {
    async fn is_familiar(&self, pair: &str) -> bool {
        let key = self.key("familiar", pair);
        let looking = store::is_noted(&self.db, &key, self.clock.now());
        matches!(tokio::time::timeout(PATIENCE, looking).await, Ok(Ok(true)))
    }

    async fn make_familiar(&self, pair: &str) {
        if self.rates.is_none() {
            return;
        }
        let (key, until) = (self.key("familiar", pair), plus(self.clock.now(), FAMILIAR_MILLIS));
        let noting = store::note(&self.db, &key, until);
        if !matches!(tokio::time::timeout(PATIENCE, noting).await, Ok(Ok(()))) {
            debug!("an address from which somebody has logged in could not be noted");
        }
    }
}
