//! Many buyers, few units: nothing is sold twice, nothing is ordered twice.

use bson::{Document, doc};
use futures_util::{TryStreamExt as _, future::try_join_all};
use serde_json::Value;
use shared::{
    db::Db,
    id::Id,
    lenient,
    model::{Kind, Listing, Order, Stored as _},
};

use super::{
    chance::Chance,
    client::{Answer, in_cash, send},
    stage::Stage,
    verdict::{Differences, Report, Tally, count, grouped},
};

const OUT_OF_STOCK: &str = "409 out_of_stock";

/// One unit, and so many buyers at once, on all servers.
pub(super) async fn last_unit(stage: &Stage, rounds: u64, buyers: usize) -> anyhow::Result<Report> {
    let (apis, seller) = (stage.apis(), stage.seller().await?);
    let crowd = stage.buyers(buyers).await?;
    let (mut all, mut differences) = (Tally::default(), Differences::default());
    for round in 0..rounds {
        let product = stage.product(&seller, 1999, 1).await?;
        let body = in_cash(&[(product, 1)]);
        let key = round.to_string();
        let calls = crowd
            .iter()
            .zip(apis.iter().cycle())
            .map(|(buyer, api)| send(api.create_order(buyer, Some(&key), &body)));
        let answers = try_join_all(calls).await?;
        let tally = Tally::of(&answers);
        let sold = units_in_orders(&stage.db, product).await?;
        let listing = stage.listing(Kind::Product, product).await?;
        judge_last_unit(&mut differences, round, &tally, sold, &listing);
        all.merge(tally);
    }
    differences.audit(&stage.db, "afterwards").await?;
    let ran = format!(
        "{rounds} × {buyers} buyers at once: {} sold, {} refused, {} failed",
        grouped(all.count("201")),
        grouped(all.count(OUT_OF_STOCK)),
        all.failures(),
    );
    Ok(Report { ran, differences })
}

fn judge_last_unit(differences: &mut Differences, round: u64, tally: &Tally, sold: i64, listing: &Listing) {
    differences.only(&format!("round {round}"), tally, &["201", OUT_OF_STOCK]);
    differences.expect(format!("round {round}: checkouts that succeeded"), tally.count("201"), 1);
    differences.expect(format!("round {round}: units in orders"), sold, 1);
    differences.expect(format!("round {round}: units on the shelf"), listing.stock, 1);
    differences.expect(format!("round {round}: units reserved"), listing.reserved, 1);
}

/// The same thing on several lines of one cart, or in two carts at once: what is sold is never more than there is.
///
/// A cart holds whatever the browser's pages put there. A product's page gives its lines a count, an event's card gives
/// none, which means one; carts of old browsers hold the same thing twice.
pub(super) async fn same_product(stage: &Stage, trials: u64, chance: &mut Chance) -> anyhow::Result<Report> {
    let (apis, seller) = (stage.apis(), stage.seller().await?);
    let buyers = stage.buyers(2).await?;
    let (mut all, mut differences) = (Tally::default(), Differences::default());
    let mut split = 0_u64;
    for trial in 0..trials {
        let mut shelves = Vec::new();
        for kind in [Kind::Product, Kind::Event] {
            let stock = chance.between(1, 8);
            let made = stage.listings(kind, &seller, &[(chance.between(1, 9999), stock)]).await?;
            shelves.extend(made.into_iter().map(|id| Shelf { kind, id, stock }));
        }
        let in_two = chance.one_in(3);
        split = split.saturating_add(u64::from(in_two));
        let mut wishes = Vec::new();
        for _ in 0..if in_two { 2 } else { 1 } {
            wishes.push(wish(&shelves, if in_two { 2 } else { 5 }, chance)?);
        }
        let key = trial.to_string();
        let calls = wishes
            .iter()
            .zip(&buyers)
            .zip(apis.iter().cycle())
            .map(|((wish, buyer), api)| send(api.create_order(buyer, Some(&key), &wish.body)));
        let answers = try_join_all(calls).await?;
        let accepted: Vec<bool> = answers.iter().map(|answer| answer.status == 201).collect();
        let tally = Tally::of(&answers);
        differences.only(&format!("trial {trial}"), &tally, &["201", OUT_OF_STOCK]);
        all.merge(tally);
        judge_wishes(&mut differences, trial, &shelves, &wishes, &accepted);
        for shelf in &shelves {
            let taken = taken(shelf, &wishes, &accepted);
            let listing = stage.listing(shelf.kind, shelf.id).await?;
            differences.expect(
                format!("trial {trial}: {} units reserved", shelf.kind.word()),
                listing.reserved,
                taken,
            );
            let ordered = units_in_orders(&stage.db, shelf.id).await?;
            differences.expect(
                format!("trial {trial}: {} units in orders", shelf.kind.word()),
                ordered,
                taken,
            );
        }
    }
    differences.audit(&stage.db, "afterwards").await?;
    let ran = format!(
        "{} trials, {} of them as two carts at once: {} sold, {} refused, {} failed",
        grouped(trials),
        grouped(split),
        grouped(all.count("201")),
        grouped(all.count(OUT_OF_STOCK)),
        all.failures(),
    );
    Ok(Report { ran, differences })
}

/// Something on sale.
struct Shelf {
    kind: Kind,
    id: Id<Listing>,
    stock: i64,
}

/// A cart that names things several times.
struct Wish {
    body: Value,
    /// Every line.
    lines: Vec<(Id<Listing>, i64)>,
}

impl Wish {
    fn of(&self, shelf: &Shelf) -> i64 {
        self.lines.iter().filter(|(id, _)| *id == shelf.id).map(|(_, count)| count).sum()
    }

    fn fits(&self, shelves: &[Shelf]) -> bool {
        shelves.iter().all(|shelf| self.of(shelf) <= shelf.stock)
    }
}

/// Some lines over the things there are, two at least: what fits alone, but perhaps not all together.
fn wish(shelves: &[Shelf], lines_at_most: i64, chance: &mut Chance) -> anyhow::Result<Wish> {
    let mut lines = Vec::new();
    for _ in 0..chance.between(2, lines_at_most) {
        let shelf = chance.pick(shelves)?;
        lines.push((shelf.id, chance.between(1, shelf.stock / 2 + 1)));
    }
    let mut body = in_cash(&lines);
    // The last line comes from an event's card, which has no count.
    if let Some(last) = lines.last_mut()
        && chance.one_in(2)
    {
        last.1 = 1;
        let cart = body.get_mut("cart").and_then(Value::as_array_mut);
        let item = cart.and_then(|cart| cart.last_mut()).and_then(Value::as_object_mut);
        item.and_then(|item| item.remove("count"));
    }
    Ok(Wish { body, lines })
}

/// How many units of a thing the accepted carts have.
fn taken(shelf: &Shelf, wishes: &[Wish], accepted: &[bool]) -> i64 {
    wishes.iter().zip(accepted).filter(|(_, accepted)| **accepted).map(|(wish, _)| wish.of(shelf)).sum()
}

/// A cart is accepted if and only if all its lines together fit what the others have left.
fn judge_wishes(
    differences: &mut Differences,
    trial: u64,
    shelves: &[Shelf],
    wishes: &[Wish],
    accepted: &[bool],
) {
    for shelf in shelves {
        let taken = taken(shelf, wishes, accepted);
        if taken > shelf.stock {
            let (word, stock) = (shelf.kind.word(), shelf.stock);
            differences.note(format!("trial {trial}: {taken} units of the {word} were sold, of {stock}"));
        }
    }
    for (wish, _) in wishes.iter().zip(accepted).filter(|(wish, accepted)| **accepted && !wish.fits(shelves))
    {
        differences.note(format!("trial {trial}: a cart was accepted that asks for too much: {}", wish.body));
    }
    // Whoever is refused could not have been served besides those who were.
    for (at, (wish, _)) in wishes.iter().zip(accepted).enumerate().filter(|(_, (_, accepted))| !**accepted) {
        let besides = |shelf: &Shelf| {
            let others = wishes.iter().zip(accepted).enumerate();
            let others = others.filter(|(other, (_, accepted))| *other != at && **accepted);
            others.map(|(_, (wish, _))| wish.of(shelf)).sum::<i64>()
        };
        if shelves.iter().all(|shelf| wish.of(shelf) + besides(shelf) <= shelf.stock) {
            differences
                .note(format!("trial {trial}: a cart was refused that could be served: {}", wish.body));
        }
    }
}

/// The same checkout many times at once, on all servers: with a key, and as a double click sends it.
pub(super) async fn same_request(stage: &Stage, rounds: u64, times: usize) -> anyhow::Result<Report> {
    let (apis, sellers) = (stage.apis(), stage.sellers(2).await?);
    let mut lines = Vec::new();
    for seller in &sellers {
        lines.push((stage.product(seller, 333, 1_000_000).await?, 2));
    }
    let body = in_cash(&lines);
    let (mut all, mut differences) = (Tally::default(), Differences::default());
    let mut different = 0;
    for round in 0..rounds {
        for key in [Some("the-same"), None] {
            let buyer = stage.buyers(1).await?.pop().ok_or_else(|| anyhow::anyhow!("no buyer was made"))?;
            let calls = (0..times)
                .zip(apis.iter().cycle())
                .map(|(_, api)| send(api.create_order(&buyer, key, &body)));
            let answers = try_join_all(calls).await?;
            let orders = count(&stage.db, Order::COLLECTION, doc! { "user._id": buyer.id.hex() }).await?;
            let what =
                format!("round {round}, {}", if key.is_some() { "with a key" } else { "without a key" });
            different += judge_same_request(&mut differences, &what, &answers, orders, sellers.len());
            answers.iter().for_each(|answer| all.add(answer));
        }
    }
    differences.audit(&stage.db, "afterwards").await?;
    let ran = format!(
        "{rounds} × {times} with a key, {rounds} × {times} without: {} answers, {} different ones for {} checkouts, {} failed",
        grouped(all.count("201")),
        grouped(different),
        grouped(rounds * 2),
        all.failures(),
    );
    Ok(Report { ran, differences })
}

/// Gives how many different answers there were.
fn judge_same_request(
    differences: &mut Differences,
    what: &str,
    answers: &[Answer],
    orders: i64,
    shops: usize,
) -> usize {
    differences.only(what, &Tally::of(answers), &["201"]);
    let mut texts: Vec<&str> = answers.iter().map(|answer| answer.text.as_str()).collect();
    texts.sort_unstable();
    texts.dedup();
    differences.expect(format!("{what}: different answers"), texts.len(), 1);
    differences.expect(format!("{what}: orders"), usize::try_from(orders).unwrap_or(usize::MAX), shops);
    texts.len()
}

/// How many units of a listing the orders have that were not called off.
async fn units_in_orders(db: &Db, listing: Id<Listing>) -> anyhow::Result<i64> {
    let pipeline = [
        doc! { "$match": { "cart._id": listing.hex(), "status": { "$ne": "Cancelled" } } },
        doc! { "$unwind": "$cart" },
        doc! { "$match": { "cart._id": listing.hex() } },
        doc! { "$group": { "_id": null, "sum": { "$sum": "$cart.count" } } },
    ];
    let mut found = db.raw::<Document>(Order::COLLECTION).aggregate(pipeline).await?;
    let sum = found.try_next().await?;
    Ok(sum.and_then(|sum| lenient::as_int(sum.get("sum")?)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, text: &str) -> Answer {
        Answer { status, text: text.to_owned() }
    }

    #[test]
    fn a_unit_that_is_sold_twice_or_not_at_all_is_seen() {
        let refused = answer(409, r#"{"code":"out_of_stock"}"#);
        let sold = answer(201, "{}");
        let shelf = |reserved| Listing { stock: 1, reserved, ..Listing::default() };
        for (answers, units, reserved, seen) in [
            (vec![sold.clone(), refused.clone()], 1, 1, 0),
            (vec![sold.clone(), sold.clone()], 2, 2, 3),
            (vec![sold.clone(), sold.clone()], 2, 1, 2),
            (vec![refused.clone(), refused.clone()], 0, 0, 3),
            (vec![sold.clone(), refused.clone()], 2, 1, 1),
            (vec![sold.clone(), refused, answer(500, "")], 1, 1, 1),
            (vec![sold, answer(409, r#"{"code":"wrong_total"}"#)], 1, 1, 1),
        ] {
            let mut differences = Differences::default();
            judge_last_unit(&mut differences, 0, &Tally::of(&answers), units, &shelf(reserved));
            assert_eq!(differences.lines().len(), seen, "{answers:?}");
        }
    }

    #[test]
    fn a_cart_that_asks_for_too_much_on_two_lines_must_be_refused_and_no_other() {
        let shelves = [Shelf { kind: Kind::Product, id: Id::new(), stock: 3 }];
        let wish = |counts: &[i64]| Wish {
            body: Value::Null,
            lines: counts.iter().map(|count| (shelves[0].id, *count)).collect(),
        };
        for (wishes, accepted, right) in [
            (vec![wish(&[2, 1])], vec![true], true),
            (vec![wish(&[2, 1])], vec![false], false),
            (vec![wish(&[2, 2])], vec![false], true),
            (vec![wish(&[2, 2])], vec![true], false),
            (vec![wish(&[2]), wish(&[2])], vec![true, false], true),
            (vec![wish(&[2]), wish(&[2])], vec![true, true], false),
            (vec![wish(&[2]), wish(&[2])], vec![false, false], false),
            (vec![wish(&[2]), wish(&[1])], vec![true, true], true),
        ] {
            let mut differences = Differences::default();
            judge_wishes(&mut differences, 0, &shelves, &wishes, &accepted);
            assert_eq!(differences.is_empty(), right, "{accepted:?}");
        }
    }

    #[test]
    fn another_answer_or_another_order_to_the_same_request_is_seen() {
        for (answers, orders, right) in [
            (vec![answer(201, "a"), answer(201, "a")], 2, true),
            (vec![answer(201, "a"), answer(201, "b")], 2, false),
            (vec![answer(201, "a"), answer(201, "a")], 4, false),
            (vec![answer(201, "a"), answer(503, "a")], 2, false),
        ] {
            let mut differences = Differences::default();
            judge_same_request(&mut differences, "", &answers, orders, 2);
            assert_eq!(differences.is_empty(), right, "{answers:?}");
        }
    }
}
