use bson::doc;
use futures_util::TryStreamExt as _;
use mongodb::ClientSession;
use shared::{
    clock::Timestamp,
    db::Db,
    id::Id,
    ledger,
    model::{Shop, Withdrawal, WithdrawalSeller},
    money::Money,
};

use super::wire;
use crate::error::{Error, Result};

/// Takes the amount from the shop's balance and writes the request down, as part of a transaction.
pub(super) async fn create_in(
    db: &Db,
    session: &mut ClientSession,
    shop: Id<Shop>,
    amount: Money,
    now: Timestamp,
) -> Result<Withdrawal> {
    let id = Id::new();
    let seller = db
        .of::<Shop>()
        .find_one(doc! { "_id": shop })
        .session(&mut *session)
        .await?
        .ok_or(Error::Unauthenticated)?;
    let method = seller.withdraw_method.ok_or(wire::NO_METHOD)?;
    if !ledger::debit(db, session, shop, amount, id.cast(), "Processing", now).await? {
        return Err(wire::INSUFFICIENT
            .saying(format!("You asked for {amount}, but {} is available", seller.available_balance))
            .into());
    }
    let lines =
        vec![ledger::line(ledger::shop_account(shop), -amount), ledger::line(ledger::PAYOUTS, amount)];
    ledger::book(db, session, format!("withdraw:{id}"), now, lines).await?;
    let withdrawal = Withdrawal {
        id,
        seller: WithdrawalSeller { id: shop, name: seller.name, method: Some(method) },
        amount,
        status: "Processing".to_owned(),
        created_at: Some(now),
        updated_at: Some(now),
        version: 0,
    };
    db.of::<Withdrawal>().insert_one(&withdrawal).session(session).await?;
    Ok(withdrawal)
}

/// A shop's requests, newest first.
pub(super) async fn of_shop(db: &Db, shop: Id<Shop>) -> mongodb::error::Result<Vec<Withdrawal>> {
    db.of::<Withdrawal>()
        .find(doc! { "seller._id": shop })
        .sort(doc! { "_id": -1 })
        .await?
        .try_collect()
        .await
}
