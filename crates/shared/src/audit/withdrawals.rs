//! Withdrawals against the ledger.

use bson::doc;
use mongodb::{ClientSession, error::Result};

use super::{Audit, Entries, moved};
use crate::{db::Db, ledger, model::Withdrawal};

/// What each withdrawal took is what the ledger says, and what was rejected is back.
pub(super) async fn agree(db: &Db, session: &mut ClientSession, audit: &mut Audit) -> Result<()> {
    let mut taken = Entries::open(db, session, "withdraw:").await?;
    let mut rejected = Entries::open(db, session, "withdraw-rejected:").await?;
    let withdrawals = db.of::<Withdrawal>();
    let mut found = withdrawals.find(doc! {}).sort(doc! { "_id": 1 }).session(&mut *session).await?;
    while let Some(withdrawal) = found.next(&mut *session).await.transpose()? {
        audit.withdrawals += 1;
        let id = withdrawal.id.hex();
        let out = taken.of(session, &id, audit).await?;
        let back = rejected.of(session, &id, audit).await?;
        // One of the old server: it never was in the ledger, and must not come out of it.
        let expected = match (out.is_empty(), withdrawal.status.as_str()) {
            (true, _) => (0, 0),
            (false, "Rejected") => (1, 1),
            (false, _) => (1, 0),
        };
        if (out.len(), back.len()) != expected {
            audit.differs(format!(
                "the withdrawal {id} is `{}`, but the ledger has {} entries that take it and {} that put it back",
                withdrawal.status,
                out.len(),
                back.len(),
            ));
        }
        let account = ledger::shop_account(withdrawal.seller.id);
        for (entries, amount) in [(&out, -withdrawal.amount), (&back, withdrawal.amount)] {
            let booked = moved(entries, |name| name == account);
            if !entries.is_empty() && booked != amount {
                audit.differs(format!("the withdrawal {id} moves {amount}, but the ledger has {booked}"));
            }
        }
    }
    taken.end(session, audit).await?;
    rejected.end(session, audit).await
}
