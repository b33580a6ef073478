//! The next few of a selection in an order.

use std::cmp::Ordering;

use crate::entry::Id;
use crate::query::Sort;
use crate::set::Set;
use crate::table::{By, Table};

/// An order, and its direction.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Direction {
    pub(crate) by: By,
    pub(crate) descending: bool,
}

impl From<Sort> for Direction {
    fn from(sort: Sort) -> Self {
        let (by, descending) = match sort {
            Sort::Relevance | Sort::Newest => (By::Newest, true),
            Sort::Oldest => (By::Newest, false),
            Sort::PriceAscending => (By::Price, false),
            Sort::PriceDescending => (By::Price, true),
            Sort::Rating => (By::Rating, true),
            Sort::BestSelling => (By::Sold, true),
        };
        Self { by, descending }
    }
}

/// Where a page begins.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Start {
    pub(crate) after: Option<(i64, Id)>,
    /// Keys that the filter allows, where it speaks of the key itself.
    pub(crate) range: Option<(i64, i64)>,
}

/// What one step of a walk costs, in steps of sorting a selection.
const STEPS_PER_SORTED: usize = 5;

/// Appends the first `limit` slots of `set` behind a place.
pub(crate) fn take(
    table: &Table,
    set: &Set,
    direction: Direction,
    from: Start,
    limit: usize,
    page: &mut Vec<u32>,
) {
    if set.is_empty() || limit == 0 {
        return;
    }
    // Of a selection that is spread evenly, the walk meets one in so many.
    let expected = limit.saturating_mul(table.len()) / set.len();
    let budget = set.len().saturating_mul(STEPS_PER_SORTED);
    let had = page.len();
    if expected > budget || !walk(table, set, direction, from, limit, budget, page) {
        page.truncate(had);
        pick(table, set, direction, from.after, limit, page);
    }
}

/// Walks the order and asks of each entry whether it is selected. False if that took too many steps.
fn walk(
    table: &Table,
    set: &Set,
    direction: Direction,
    from: Start,
    limit: usize,
    budget: usize,
    page: &mut Vec<u32>,
) -> bool {
    let Direction { by, descending } = direction;
    let order = table.order(by);
    let cmp = |slot: u32, to: &(i64, Id)| table.columns.cmp(by, slot, to);
    let start = match (from.after, from.range) {
        (Some(after), _) if descending => order.seek(|slot| cmp(slot, &after) == Ordering::Less),
        (Some(after), _) => order.seek(|slot| cmp(slot, &after) != Ordering::Greater),
        (None, Some((_, high))) if descending => order.seek(|slot| table.columns.key(by, slot) <= high),
        (None, Some((low, _))) => order.seek(|slot| table.columns.key(by, slot) < low),
        (None, None) if descending => order.end(),
        (None, None) => order.start(),
    };
    if descending {
        gather(order.backwards(start), set, limit, budget, page)
    } else {
        gather(order.forwards(start), set, limit, budget, page)
    }
}

fn gather(
    slots: impl Iterator<Item = u32>,
    set: &Set,
    limit: usize,
    budget: usize,
    page: &mut Vec<u32>,
) -> bool {
    let (mut left, mut steps) = (limit.min(set.len()), 0);
    for slot in slots {
        if set.contains(slot) {
            page.push(slot);
            left -= 1;
            if left == 0 {
                return true;
            }
        }
        steps += 1;
        if steps > budget {
            return false;
        }
    }
    true
}

/// Sorts the selection.
fn pick(
    table: &Table,
    set: &Set,
    direction: Direction,
    after: Option<(i64, Id)>,
    limit: usize,
    page: &mut Vec<u32>,
) {
    let Direction { by, descending } = direction;
    let towards = |order: Ordering| if descending { order.reverse() } else { order };
    let mut rest: Vec<(i64, u32)> = Vec::with_capacity(set.len());
    set.each(|slot| {
        let key = table.columns.key(by, slot);
        let behind = |after: &(i64, Id)| {
            towards(key.cmp(&after.0).then_with(|| table.columns.id(slot).cmp(&after.1))) == Ordering::Greater
        };
        if after.as_ref().is_none_or(behind) {
            rest.push((key, slot));
        }
    });
    // Ids are looked up only of those whose keys are good enough.
    if rest.len() > limit {
        let (_, (worst, _), _) = rest.select_nth_unstable_by(limit - 1, |a, b| towards(a.0.cmp(&b.0)));
        let worst = *worst;
        rest.retain(|(key, _)| towards(key.cmp(&worst)) != Ordering::Greater);
    }
    let mut rest: Vec<(i64, Id, u32)> =
        rest.into_iter().map(|(key, slot)| (key, table.columns.id(slot), slot)).collect();
    rest.sort_unstable_by(|a, b| towards(a.cmp(b)));
    page.extend(rest.into_iter().take(limit).map(|(_, _, slot)| slot));
}
