//! Killed in the middle of the work: what was acknowledged is there, what was not is whole or absent, and whoever asks
//! again with the same key gets what the first request would have got.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::Context as _;
use bson::doc;
use futures_util::future::join_all;
use reqwest::{Method, RequestBuilder};
use serde_json::Value;
use shared::{
    id::Id,
    model::{Order, Status, Stored as _},
};

use super::{
    chance::Chance,
    client::{Answer, Api, Buyer, Seller, in_cash, insist, send},
    stage::Stage,
    verdict::{Differences, Report, Tally, count, grouped},
};

const SHOPPERS: u64 = 8;
const COURIERS: u64 = 2;
/// A killed server's transaction may hold its documents for a minute where we may not end it.
const RECOVERY: Duration = Duration::from_secs(120);
/// A killed MongoDB comes back after a pause that doubles with each death in a row.
const KILLS_IN_A_ROW: u64 = 4;

/// What is asked for while servers die.
struct Load {
    buyer: Buyer,
    seller: Seller,
    /// Two shops' goods: a checkout makes two orders.
    body: Value,
    shops: i64,
}

/// What the clients know when the server is gone.
#[derive(Default)]
struct Known {
    /// Every checkout that was begun, with its answer if there was one.
    checkouts: Vec<(String, Option<Answer>)>,
    /// The first shop's orders that nobody has touched yet.
    open: Vec<Id<Order>>,
    /// Every change that was asked for and not answered.
    unanswered: Vec<(Id<Order>, Wish)>,
    answers: Tally,
    /// The kill has happened: nobody begins anything new.
    over: bool,
}

#[derive(Clone, Copy)]
enum Wish {
    Deliver,
    Cancel,
}

/// Kills the server so many times, at random moments.
pub(super) async fn kill_server(
    stage: &mut Stage,
    kills: u64,
    chance: &mut Chance,
) -> anyhow::Result<Report> {
    let load = load(stage).await?;
    let (mut totals, mut differences) = (Totals::default(), Differences::default());
    for kill in 0..kills {
        let (api, moment) = (stage.api()?, Duration::from_micros(chance.below(500_000)));
        let (known, died) = load.run_until(&api, kill, chance, moment, stage.kill(0)).await;
        died?;
        differences.audit(&stage.db, &format!("right after kill {kill}")).await?;
        stage.start(0).await?;
        // It dies without a word: an answer that says that something is wrong would be another matter.
        differences.only(&format!("before kill {kill}"), &known.answers, &["200", "201"]);
        load.recover(stage, kill, known, &mut totals, &mut differences).await?;
    }
    let ran = format!("{} kills of the server: {totals}", grouped(kills));
    Ok(Report { ran, differences })
}

/// Kills a MongoDB of the trial's own so many times.
pub(super) async fn kill_database(
    stage: &mut Stage,
    kills: u64,
    chance: &mut Chance,
) -> anyhow::Result<Report> {
    let load = load(stage).await?;
    let (mut totals, mut differences) = (Totals::default(), Differences::default());
    for kill in 0..kills {
        if kill > 0 && kill.is_multiple_of(KILLS_IN_A_ROW) {
            stage.restart_own_mongod().await?;
        }
        let (api, moment) = (stage.api()?, Duration::from_micros(chance.below(600_000)));
        let crash = async { stage.crash_own_mongod() };
        let (known, died) = load.run_until(&api, kill, chance, moment, crash).await;
        stage.own_mongod_is_back(died?).await?;
        differences.only(&format!("around kill {kill}"), &known.answers, &["200", "201", "503 unavailable"]);
        load.recover(stage, kill, known, &mut totals, &mut differences).await?;
    }
    let ran = format!("{} kills of mongod: {totals}", grouped(kills));
    Ok(Report { ran, differences })
}

/// What came of it over all kills.
#[derive(Default)]
struct Totals {
    checkouts: i64,
    acknowledged: u64,
    /// Of those, what was not there any more, or otherwise.
    lost: u64,
    completed: u64,
    changes: u64,
}

impl std::fmt::Display for Totals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} checkouts acknowledged, {} of them lost, {} completed by a retry, {} changes likewise",
            grouped(self.acknowledged),
            grouped(self.lost),
            grouped(self.completed),
            grouped(self.changes),
        )
    }
}

async fn load(stage: &Stage) -> anyhow::Result<Load> {
    let buyer = stage.buyers(1).await?.pop().context("no buyer was made")?;
    let sellers = stage.sellers(2).await?;
    let mut lines = Vec::new();
    for (seller, (minor, count)) in sellers.iter().zip([(1000, 2), (333, 1)]) {
        lines.push((stage.product(seller, minor, 1_000_000).await?, count));
    }
    let seller = sellers.first().context("no shop was made")?.clone();
    Ok(Load { buyer, seller, body: in_cash(&lines), shops: i64::try_from(lines.len())? })
}

impl Load {
    fn order(&self, api: &Api, key: &str) -> RequestBuilder {
        api.create_order(&self.buyer, Some(key), &self.body)
    }

    fn change(&self, api: &Api, order: Id<Order>, wish: Wish) -> RequestBuilder {
        match wish {
            Wish::Deliver => api.set_status(&self.seller, order, Status::Delivered.text()),
            Wish::Cancel => {
                let path = format!("/api/order/cancel-order/{order}");
                api.request(Method::PUT, &path, &self.buyer.token)
            }
        }
    }

    /// Under load, until something dies at this moment: what the clients know then, and how it died.
    async fn run_until<T>(
        &self,
        api: &Api,
        kill: u64,
        chance: &Chance,
        moment: Duration,
        death: impl Future<Output = T>,
    ) -> (Known, T) {
        let known = Mutex::new(Known::default());
        let death = async {
            tokio::time::sleep(moment).await;
            let died = death.await;
            lock(&known).over = true;
            died
        };
        let ((), died) = tokio::join!(self.run(api, kill, &known, chance), death);
        (known.into_inner().unwrap_or_else(PoisonError::into_inner), died)
    }

    /// Shoppers and couriers go on until the kill, or until they are not answered as they should be.
    async fn run(&self, api: &Api, kill: u64, known: &Mutex<Known>, chance: &Chance) {
        let shoppers = (0..SHOPPERS).map(|shopper| self.shop(api, format!("{kill}-{shopper}"), known));
        let couriers = (0..COURIERS).map(|courier| self.carry(api, chance.fork(courier), known));
        tokio::join!(join_all(shoppers), join_all(couriers));
    }

    async fn shop(&self, api: &Api, name: String, known: &Mutex<Known>) {
        for number in 0_u64.. {
            if lock(known).over {
                return;
            }
            let key = format!("{name}-{number}");
            let answer = send(self.order(api, &key)).await.ok();
            let mut known = lock(known);
            answer.iter().for_each(|answer| known.answers.add(answer));
            let answer = answer.filter(|answer| answer.status == 201);
            let over = answer.is_none();
            if let Some(orders) = answer.as_ref().and_then(|answer| answer.orders().ok()) {
                known.open.extend(orders.first());
            }
            known.checkouts.push((key, answer));
            if over {
                return;
            }
        }
    }

    async fn carry(&self, api: &Api, mut chance: Chance, known: &Mutex<Known>) {
        while !lock(known).over {
            let Some(order) = lock(known).open.pop() else {
                // Nothing to carry yet.
                tokio::time::sleep(Duration::from_millis(2)).await;
                continue;
            };
            let wish = if chance.one_in(3) { Wish::Cancel } else { Wish::Deliver };
            let answer = send(self.change(api, order, wish)).await.ok();
            let mut known = lock(known);
            answer.iter().for_each(|answer| known.answers.add(answer));
            if answer.is_none_or(|answer| answer.status != 200) {
                known.unanswered.push((order, wish));
                return;
            }
        }
    }

    /// After a kill: everything is asked again, and then everything must be there, once.
    async fn recover(
        &self,
        stage: &Stage,
        kill: u64,
        known: Known,
        totals: &mut Totals,
        differences: &mut Differences,
    ) -> anyhow::Result<()> {
        let api = stage.api()?;
        let (mut acknowledged, mut lost) = (Vec::new(), Vec::new());
        for (key, answer) in known.checkouts {
            match answer {
                Some(answer) => acknowledged.push((key, answer)),
                None => lost.push(key),
            }
            totals.checkouts += 1;
        }
        for key in lost {
            let answer = insist(self.order(&api, &key), RECOVERY).await?;
            if answer.status != 201 {
                differences.note(format!("after kill {kill}, the retry of {key}: {}", answer.text));
            }
            totals.completed += 1;
        }
        for (key, answer) in acknowledged {
            let again = insist(self.order(&api, &key), RECOVERY).await?;
            let orders = answer.orders()?;
            let wanted = i64::try_from(orders.len())?;
            let there = doc! { "_id": { "$in": orders } };
            let there = count(&stage.db, Order::COLLECTION, there).await?;
            let is_there = judge_again(
                differences,
                &format!("after kill {kill}, {key}"),
                &answer,
                &again,
                (there, wanted),
            );
            totals.lost += u64::from(!is_there);
            totals.acknowledged += 1;
        }
        for (order, wish) in known.unanswered {
            let answer = insist(self.change(&api, order, wish), RECOVERY).await?;
            if answer.status != 200 {
                differences.note(format!("after kill {kill}, the retry of a change: {}", answer.text));
            }
            totals.changes += 1;
        }
        let orders = count(&stage.db, Order::COLLECTION, doc! {}).await?;
        differences.expect(format!("after kill {kill}: orders"), orders, totals.checkouts * self.shops);
        differences.audit(&stage.db, &format!("after kill {kill}")).await
    }
}

fn lock(known: &Mutex<Known>) -> MutexGuard<'_, Known> {
    known.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether an acknowledged checkout is there: its orders, and its answer to whoever asks again.
fn judge_again(
    differences: &mut Differences,
    what: &str,
    answer: &Answer,
    again: &Answer,
    (there, wanted): (i64, i64),
) -> bool {
    if answer != again {
        differences.note(format!(
            "{what}: acknowledged with {:.200}; asked again: {} {:.200}",
            answer.text, again.status, again.text
        ));
    }
    differences.expect(format!("{what}: orders of what was acknowledged"), there, wanted);
    answer == again && there == wanted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_that_was_acknowledged_and_is_gone_is_seen() {
        let answer = |status, text: &str| Answer { status, text: text.to_owned() };
        for (again, there, right) in [
            (answer(201, "a"), 2, true),
            (answer(201, "b"), 2, false),
            (answer(409, "a"), 2, false),
            (answer(201, "a"), 0, false),
        ] {
            let mut differences = Differences::default();
            assert_eq!(judge_again(&mut differences, "x", &answer(201, "a"), &again, (there, 2)), right);
            assert_eq!(differences.is_empty(), right, "{again:?}");
        }
    }
}
