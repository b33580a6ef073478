//! Money that is moved once, whoever asks how often.

use anyhow::Context as _;
use bson::doc;
use futures_util::future::try_join_all;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use shared::{
    id::Id,
    model::{Kind, LedgerEntry, Listing, Order, ROLE_ADMIN, Status, Stored as _, Withdrawal},
    money::Money,
};

use super::{
    chance::Chance,
    client::{Api, Buyer, Seller, in_cash, send},
    stage::Stage,
    verdict::{Differences, Report, Tally, count, grouped},
};

/// Many withdrawals of everything at once: one of them has it.
pub(super) async fn withdrawals(
    stage: &Stage,
    rounds: u64,
    times: usize,
    chance: &mut Chance,
) -> anyhow::Result<Report> {
    let apis = stage.apis();
    let (mut all, mut differences) = (Tally::default(), Differences::default());
    for round in 0..rounds {
        let seller = stage.seller().await?;
        let amount = Money::from_minor(chance.between(5_000, 1_000_000));
        stage.earn(&seller, amount).await?;
        let calls =
            (0..times).zip(apis.iter().cycle()).map(|(i, api)| send(withdraw(api, &seller, amount, i)));
        let tally = Tally::of(&try_join_all(calls).await?);
        let requests = count(&stage.db, Withdrawal::COLLECTION, doc! { "seller._id": seller.id }).await?;
        judge_withdrawals(&mut differences, round, &tally, requests, stage.balance(&seller).await?);
        all.merge(tally);
    }
    differences.audit(&stage.db, "afterwards").await?;
    let ran = format!(
        "{rounds} × {times} at once: {} paid, {} refused, {} failed",
        grouped(all.count("201")),
        grouped(all.count(INSUFFICIENT)),
        all.failures(),
    );
    Ok(Report { ran, differences })
}

const INSUFFICIENT: &str = "409 insufficient_balance";

/// With a key of its own: each of them is meant.
fn withdraw(api: &Api, seller: &Seller, amount: Money, number: usize) -> RequestBuilder {
    api.request(Method::POST, "/api/withDraw/create-withdraw-request", &seller.token)
        .header("Idempotency-Key", format!("withdrawal-{number}"))
        .json(&json!({ "amount": amount }))
}

fn judge_withdrawals(differences: &mut Differences, round: u64, tally: &Tally, requests: i64, balance: i64) {
    differences.only(&format!("round {round}"), tally, &["201", INSUFFICIENT]);
    differences.expect(format!("round {round}: withdrawals that succeeded"), tally.count("201"), 1);
    differences.expect(format!("round {round}: withdrawals in the database"), requests, 1);
    differences.expect(format!("round {round}: cents left"), balance, 0);
}

/// Delivered, approved and refunded, each many times at once: once.
pub(super) async fn once(
    stage: &Stage,
    rounds: u64,
    times: usize,
    chance: &mut Chance,
) -> anyhow::Result<Report> {
    let (buyers, admins) = (stage.buyers(1).await?, stage.users(1, ROLE_ADMIN).await?);
    let (Some(buyer), Some(admin)) = (buyers.first(), admins.first()) else {
        anyhow::bail!("nobody was made")
    };
    let (mut all, mut differences) = (Tally::default(), Differences::default());
    for round in 0..rounds {
        let seller = stage.seller().await?;
        let case = Case { stage, times, round, buyer, admin, seller: &seller };
        case.play(chance, &mut all, &mut differences).await?;
    }
    differences.audit(&stage.db, "afterwards").await?;
    let ran = format!(
        "{rounds} orders, each step of their way {times}× at once: {} requests, {} failed",
        grouped(all.total()),
        all.failures(),
    );
    Ok(Report { ran, differences })
}

/// One order, and who moves it.
struct Case<'a> {
    stage: &'a Stage,
    times: usize,
    round: u64,
    buyer: &'a Buyer,
    admin: &'a Buyer,
    seller: &'a Seller,
}

impl Case<'_> {
    async fn play(
        &self,
        chance: &mut Chance,
        all: &mut Tally,
        differences: &mut Differences,
    ) -> anyhow::Result<()> {
        let (stage, seller) = (self.stage, self.seller);
        let (price, units) = (chance.between(10_000, 99_999), chance.between(1, 9));
        let product = stage.product(seller, price, ON_SHELF).await?;
        let (api, key) = (stage.api()?, format!("once-{}", self.round));
        let placed = send(api.create_order(self.buyer, Some(&key), &in_cash(&[(product, units)]))).await?;
        placed.expect(201)?;
        let order = placed.orders()?.pop().context("no order was made")?;
        let stored =
            stage.db.of::<Order>().find_one(doc! { "_id": order }).await?.context("an order is gone")?;
        let net = stored.total - stored.total.percent(stored.service_fee.unwrap_or_default());

        let delivered = |api: &Api| api.set_status(seller, order, Status::Delivered.text());
        all.merge(self.at_once(differences, "delivered", &["200"], delivered).await?);
        let so_far = Expected { units: (ON_SHELF - units, 0, units), balance: net, order, product };
        self.compare(differences, "delivered", &so_far).await?;

        let asked = send(withdraw(&api, seller, PAID_OUT, 0)).await?.expect(201)?;
        let id =
            asked.pointer("/withdraw/_id").and_then(Value::as_str).context("a withdrawal without an id")?;
        let approve = |api: &Api| {
            let path = format!("/api/withDraw/update-withdraw-request/{id}");
            api.request(Method::PUT, &path, &self.admin.token).json(&json!({ "status": "Succeeded" }))
        };
        all.merge(self.at_once(differences, "approved", &["200"], approve).await?);
        let so_far = Expected { balance: net - PAID_OUT, ..so_far };
        self.compare(differences, "approved", &so_far).await?;
        let succeeded = doc! { "_id": id.parse::<Id<Withdrawal>>()?, "status": "Succeeded" };
        let succeeded = count(&stage.db, Withdrawal::COLLECTION, succeeded).await?;
        differences.expect(
            format!("round {}, approved: withdrawals that succeeded", self.round),
            succeeded,
            1,
        );

        let ask = |api: &Api| api.ask_refund(self.buyer, order, None);
        all.merge(self.at_once(differences, "refund asked", &["200"], ask).await?);
        let grant = |api: &Api| api.grant_refund(seller, order);
        all.merge(self.at_once(differences, "refund granted", &["200"], grant).await?);
        // Below zero: what was paid out is owed.
        let so_far = Expected { units: (ON_SHELF, 0, 0), balance: -PAID_OUT, ..so_far };
        self.compare(differences, "refunded", &so_far).await?;

        let stored =
            stage.db.of::<Order>().find_one(doc! { "_id": order }).await?.context("an order is gone")?;
        for status in [Status::Delivered, Status::RefundProcessing, Status::RefundSuccess] {
            let changes = stored.history.iter().filter(|change| change.status == status).count();
            differences.expect(format!("round {}: changes to {}", self.round, status.text()), changes, 1);
        }
        Ok(())
    }

    /// The same call many times, on all servers.
    async fn at_once(
        &self,
        differences: &mut Differences,
        what: &str,
        allowed: &[&str],
        call: impl Fn(&Api) -> RequestBuilder,
    ) -> anyhow::Result<Tally> {
        let apis = self.stage.apis();
        let calls = (0..self.times).zip(apis.iter().cycle()).map(|(_, api)| send(call(api)));
        let tally = Tally::of(&try_join_all(calls).await?);
        differences.only(&format!("round {}, {what}", self.round), &tally, allowed);
        Ok(tally)
    }

    /// Holds the documents to what must have happened by now.
    async fn compare(
        &self,
        differences: &mut Differences,
        when: &str,
        expected: &Expected,
    ) -> anyhow::Result<()> {
        let (stage, round) = (self.stage, self.round);
        let listing = stage.listing(Kind::Product, expected.product).await?;
        let (stock, reserved, sold) = expected.units;
        differences.expect(format!("round {round}, {when}: on the shelf"), listing.stock, stock);
        differences.expect(format!("round {round}, {when}: reserved"), listing.reserved, reserved);
        differences.expect(format!("round {round}, {when}: sold"), listing.sold_out, sold);
        let balance = Money::from_minor(stage.balance(self.seller).await?);
        differences.expect(format!("round {round}, {when}: the balance"), balance, expected.balance);
        let key = format!("delivered:{}", expected.order);
        let credits = count(&stage.db, LedgerEntry::COLLECTION, doc! { "_id": key }).await?;
        differences.expect(format!("round {round}, {when}: credits"), credits, 1);
        Ok(())
    }
}

/// What one order must have done to its product and its shop.
struct Expected {
    order: Id<Order>,
    product: Id<Listing>,
    /// On the shelf, reserved, sold.
    units: (i64, i64, i64),
    balance: Money,
}

const ON_SHELF: i64 = 100;
/// The least withdrawal.
const PAID_OUT: Money = Money::from_minor(5_000);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::selftest::client::Answer;

    #[test]
    fn a_second_payment_or_a_lost_cent_is_seen() {
        let paid = Answer { status: 201, text: "{}".to_owned() };
        let refused = Answer { status: 409, text: r#"{"code":"insufficient_balance"}"#.to_owned() };
        for (answers, requests, balance, right) in [
            (vec![&paid, &refused, &refused], 1, 0, true),
            (vec![&paid, &paid, &refused], 2, 0, false),
            (vec![&paid, &refused], 2, 0, false),
            (vec![&paid, &refused], 1, -1, false),
            (vec![&refused, &refused], 0, 5000, false),
        ] {
            let mut differences = Differences::default();
            judge_withdrawals(&mut differences, 0, &Tally::of(answers.iter().copied()), requests, balance);
            assert_eq!(differences.is_empty(), right, "{answers:?}");
        }
    }
}
