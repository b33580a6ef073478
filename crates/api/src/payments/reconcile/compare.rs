//! The comparison itself: two lists, and what is missing on either side.

use std::collections::{BTreeSet, HashMap};

use shared::{
    clock::{Timestamp, plus},
    money::Money,
};

use crate::payments::gateway::{Movement, MovementKind};

/// What was asked for this long ago, in milliseconds, should have been done.
const A_WHILE: i64 = 60 * 60 * 1000;
const DAY: i64 = 24 * 60 * 60 * 1000;

/// A day, from one midnight to the next, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Day {
    /// Its first moment.
    pub from: Timestamp,
    /// The first moment that is none of it.
    pub to: Timestamp,
}

impl Day {
    /// `2026-11-22`; none if there is no such day.
    pub fn parse(text: &str) -> Option<Self> {
        let is_plain = text.len() == 10 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
        let from = Timestamp::parse_rfc3339_str(format!("{text}T00:00:00Z")).ok().filter(|_| is_plain)?;
        Some(Self { from, to: plus(from, DAY) })
    }

    /// The day before that of a moment.
    pub const fn before(at: Timestamp) -> Self {
        let from = at.timestamp_millis().div_euclid(DAY).saturating_sub(1).saturating_mul(DAY);
        Self { from: Timestamp::from_millis(from), to: Timestamp::from_millis(from.saturating_add(DAY)) }
    }

    /// Whether a moment lies in it.
    pub fn has(&self, at: Timestamp) -> bool {
        self.from <= at && at < self.to
    }
}

/// Money that moved according to our records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Booked {
    /// The payment's id, also for a return.
    pub payment: String,
    /// What it was.
    pub kind: BookedKind,
    /// Always positive.
    pub amount: Money,
    /// When: a payment by the gateway's clock, a return when it was asked for.
    pub at: Timestamp,
}

/// The direction of what is booked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BookedKind {
    /// Money came in.
    Payment,
    /// Money was to go back.
    Return {
        /// Ours; none where somebody returned it at the gateway, and we were told.
        key: Option<String>,
        /// How far it has come.
        state: ReturnState,
    },
}

/// How far a return has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReturnState {
    /// The gateway has done it: its id.
    Done(String),
    /// It is in the outbox, and will be tried.
    Waiting,
    /// It was given up.
    GivenUp,
    /// It is not done, and not in the outbox.
    Forgotten,
}

impl Booked {
    /// Whether our records say that the money has moved.
    const fn has_moved(&self) -> bool {
        match &self.kind {
            BookedKind::Payment => true,
            BookedKind::Return { state, .. } => matches!(state, ReturnState::Done(_)),
        }
    }
}

/// What somebody should read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// The gateway has it, we have not.
    MissingHere(Movement),
    /// We have it, the gateway has not.
    MissingThere(Booked),
    /// Both have it, with different amounts.
    OtherAmount {
        /// Ours.
        here: Booked,
        /// The gateway's.
        there: Money,
    },
    /// Money that nobody is about to return although it was to go back.
    NotReturned(Booked),
    /// Money that is still to go back. No difference: the outbox goes on trying.
    StillWaiting(Booked),
}

impl Finding {
    /// Whether the two sides differ.
    pub const fn is_difference(&self) -> bool {
        !matches!(self, Self::StillWaiting(_))
    }
}

/// Sums of one side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// How many payments.
    pub payments: usize,
    /// What they brought.
    pub taken: Money,
    /// How many returns.
    pub returns: usize,
    /// What they cost.
    pub returned: Money,
}

impl Sums {
    /// What is left.
    pub fn net(&self) -> Money {
        self.taken - self.returned
    }

    fn add(&mut self, is_payment: bool, amount: Money) {
        let (count, sum) = if is_payment {
            (&mut self.payments, &mut self.taken)
        } else {
            (&mut self.returns, &mut self.returned)
        };
        *count += 1;
        *sum += amount;
    }
}

/// What the comparison of a day came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// What the day has by our records.
    pub here: Sums,
    /// What it has by the gateway's.
    pub there: Sums,
    /// How much of it both have, but not on the same day: the sums may differ by that.
    pub edges: usize,
    /// Line by line.
    pub findings: Vec<Finding>,
}

/// Compares by id and amount. Both lists may hold more than the day: what is of the day on one side is looked
/// for on the other whatever its day there.
pub fn compare(day: Day, now: Timestamp, ours: &[Booked], theirs: &[Movement]) -> Comparison {
    let mut seen = BTreeSet::new();
    let theirs: Vec<&Movement> =
        theirs.iter().filter(|one| seen.insert((one.payment.as_str(), &one.kind))).collect();
    let partners = partners(ours, &theirs);
    let mut result = Comparison::default();
    let mut matched = vec![false; ours.len()];
    for (movement, partner) in theirs.iter().zip(partners) {
        let of_day = day.has(movement.at);
        if of_day {
            result.there.add(movement.kind == MovementKind::Payment, movement.amount);
        }
        let Some((index, here)) = partner.and_then(|index| Some((index, ours.get(index)?))) else {
            if of_day {
                result.findings.push(Finding::MissingHere((*movement).clone()));
            }
            continue;
        };
        if let Some(matched) = matched.get_mut(index) {
            *matched = true;
        }
        if !of_day && !day.has(here.at) {
            continue;
        }
        if of_day != day.has(here.at) {
            result.edges += 1;
        }
        if here.amount != movement.amount {
            result.findings.push(Finding::OtherAmount { here: here.clone(), there: movement.amount });
        }
    }
    for (here, is_matched) in ours.iter().zip(matched).filter(|(here, _)| day.has(here.at)) {
        // What the gateway has done without our noting it so far has moved all the same.
        if here.has_moved() || is_matched {
            result.here.add(here.kind == BookedKind::Payment, here.amount);
        }
        if !is_matched {
            result.findings.extend(unmatched(here, now));
        }
    }
    result
}

fn unmatched(here: &Booked, now: Timestamp) -> Option<Finding> {
    let is_old = plus(here.at, A_WHILE) < now;
    match &here.kind {
        BookedKind::Payment | BookedKind::Return { state: ReturnState::Done(_), .. } => {
            Some(Finding::MissingThere(here.clone()))
        }
        BookedKind::Return { state: ReturnState::Waiting, .. } => {
            is_old.then(|| Finding::StillWaiting(here.clone()))
        }
        BookedKind::Return { .. } => Some(Finding::NotReturned(here.clone())),
    }
}

/// For each of theirs the one of ours that is the same; each of ours once. A refund is the same by its id, or
/// by our key as long as we do not know its id: a second one with the same key is money that went back twice.
fn partners<'a>(ours: &'a [Booked], theirs: &[&'a Movement]) -> Vec<Option<usize>> {
    #[derive(PartialEq, Eq, Hash)]
    enum Name<'n> {
        Payment(&'n str),
        Refund(&'n str),
        Key(&'n str, &'n str),
    }
    let mut known = HashMap::new();
    for (index, here) in ours.iter().enumerate() {
        let name = match &here.kind {
            BookedKind::Payment => Name::Payment(&here.payment),
            BookedKind::Return { state: ReturnState::Done(id), .. } => Name::Refund(id),
            BookedKind::Return { key: Some(key), .. } => Name::Key(&here.payment, key),
            BookedKind::Return { .. } => continue,
        };
        known.insert(name, index);
    }
    let partner = |there: &&'a Movement| match &there.kind {
        MovementKind::Payment => known.remove(&Name::Payment(&there.payment)),
        MovementKind::Refund { id, key } => known
            .remove(&Name::Refund(id))
            .or_else(|| known.remove(&Name::Key(&there.payment, key.as_deref()?))),
    };
    theirs.iter().map(partner).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day() -> Day {
        Day::parse("2026-11-22").unwrap()
    }

    fn at(hour: i64) -> Timestamp {
        plus(day().from, hour * 3_600_000)
    }

    /// Long after that day.
    fn now() -> Timestamp {
        at(100)
    }

    fn taken(id: &str, minor: i64, hour: i64) -> Movement {
        let (kind, amount) = (MovementKind::Payment, Money::from_minor(minor));
        Movement { payment: id.to_owned(), kind, amount, at: at(hour) }
    }

    fn refund(payment: &str, id: &str, key: Option<&str>, minor: i64, hour: i64) -> Movement {
        let kind = MovementKind::Refund { id: id.to_owned(), key: key.map(str::to_owned) };
        Movement { kind, ..taken(payment, minor, hour) }
    }

    fn paid(id: &str, minor: i64, hour: i64) -> Booked {
        let (kind, amount) = (BookedKind::Payment, Money::from_minor(minor));
        Booked { payment: id.to_owned(), kind, amount, at: at(hour) }
    }

    fn returned(payment: &str, key: &str, state: ReturnState, minor: i64, hour: i64) -> Booked {
        let kind = BookedKind::Return { key: Some(key.to_owned()), state };
        Booked { kind, ..paid(payment, minor, hour) }
    }

    fn done(id: &str) -> ReturnState {
        ReturnState::Done(id.to_owned())
    }

    fn findings(ours: &[Booked], theirs: &[Movement]) -> Vec<Finding> {
        compare(day(), now(), ours, theirs).findings
    }

    #[test]
    fn what_both_sides_have_is_no_difference_and_the_sums_agree() {
        let ours = [paid("a", 1000, 1), paid("b", 500, 2), returned("a", "k", done("r"), 300, 3)];
        let theirs = [refund("a", "r", Some("k"), 300, 3), taken("b", 500, 2), taken("a", 1000, 1)];
        let compared = compare(day(), now(), &ours, &theirs);
        assert_eq!(compared.findings, []);
        assert_eq!(compared.here, compared.there);
        let Sums { payments: 2, returns: 1, .. } = compared.here else { panic!("{compared:?}") };
        assert_eq!((compared.here.net().minor(), compared.edges), (1200, 0));
    }

    #[test]
    fn what_one_side_alone_has_is_named() {
        assert_eq!(findings(&[], &[taken("a", 1000, 1)]), [Finding::MissingHere(taken("a", 1000, 1))]);
        assert_eq!(findings(&[paid("a", 1000, 1)], &[]), [Finding::MissingThere(paid("a", 1000, 1))]);
        let elsewhere = refund("a", "r", None, 300, 3);
        let both = [taken("a", 1000, 1), elsewhere.clone()];
        assert_eq!(findings(&[paid("a", 1000, 1)], &both), [Finding::MissingHere(elsewhere)]);
        let ours = [paid("a", 1000, 1), returned("a", "k", done("r"), 300, 3)];
        assert_eq!(findings(&ours, &[taken("a", 1000, 1)]), [Finding::MissingThere(ours[1].clone())]);
    }

    #[test]
    fn another_amount_is_a_difference_once() {
        for (here, there) in [(1, 1), (23, 25), (25, 23)] {
            let ours = paid("a", 1000, here);
            let wanted = Finding::OtherAmount { here: ours.clone(), there: Money::from_minor(1001) };
            assert_eq!(findings(&[ours], &[taken("a", 1001, there)]), [wanted]);
        }
    }

    #[test]
    fn the_edge_of_the_day_gives_no_false_alarm() {
        for (here, there) in [(23, 24), (0, -1), (24, 23), (-1, 0)] {
            let ours = [paid("a", 1000, here), returned("a", "k", done("r"), 300, here)];
            let theirs = [taken("a", 1000, there), refund("a", "r", None, 300, there)];
            let compared = compare(day(), now(), &ours, &theirs);
            assert_eq!((compared.findings, compared.edges), (vec![], 2), "{here} {there}");
        }
        // What is of another day on both sides is none of this day's business.
        assert_eq!(findings(&[paid("a", 1000, 30)], &[taken("b", 500, -3)]), []);
        assert_eq!(findings(&[paid("a", 1000, 30)], &[taken("a", 500, 30)]), []);
    }

    #[test]
    fn money_that_went_back_twice_is_found_also_under_one_key() {
        let ours = [paid("a", 1000, 1), returned("a", "k", done("r1"), 300, 3)];
        let twice = refund("a", "r2", Some("k"), 300, 4);
        let theirs = [taken("a", 1000, 1), twice.clone(), refund("a", "r1", Some("k"), 300, 3)];
        assert_eq!(findings(&ours, &theirs), [Finding::MissingHere(twice)]);
        let ours = [paid("a", 1000, 1), returned("a", "k", ReturnState::Waiting, 300, 3)];
        assert_eq!(findings(&ours, &theirs).len(), 1);
    }

    #[test]
    fn a_refund_whose_answer_was_lost_is_known_by_its_key() {
        let ours = [paid("a", 1000, 1), returned("a", "k", ReturnState::Waiting, 300, 3)];
        let theirs = [taken("a", 1000, 1), refund("a", "r", Some("k"), 300, 3)];
        let compared = compare(day(), now(), &ours, &theirs);
        assert_eq!(compared.findings, []);
        assert_eq!(compared.here, compared.there);
        // The key of another payment's return is not this one's.
        let theirs = [taken("a", 1000, 1), refund("b", "r", Some("k"), 300, 3)];
        assert_eq!(findings(&ours, &theirs).len(), 2);
    }

    #[test]
    fn what_is_still_to_go_back_is_told_but_differs_only_if_nobody_will_do_it() {
        let of = |state| returned("a", "k", state, 300, 3);
        let theirs = [taken("a", 1000, 1)];
        let only = |state, now| compare(day(), now, &[paid("a", 1000, 1), of(state)], &theirs);
        let waiting = only(ReturnState::Waiting, now());
        assert_eq!(waiting.findings, [Finding::StillWaiting(of(ReturnState::Waiting))]);
        assert!(!waiting.findings[0].is_difference());
        assert_eq!(waiting.here, waiting.there);
        // Asked for a moment ago.
        assert_eq!(only(ReturnState::Waiting, plus(at(3), 60_000)).findings, []);
        for state in [ReturnState::GivenUp, ReturnState::Forgotten] {
            let found = only(state.clone(), now()).findings;
            assert_eq!(found, [Finding::NotReturned(of(state))]);
            assert!(found[0].is_difference());
        }
    }

    #[test]
    fn what_is_listed_twice_counts_once() {
        let theirs = [taken("a", 1000, 1), taken("a", 1000, 1)];
        let compared = compare(day(), now(), &[paid("a", 1000, 1)], &theirs);
        assert_eq!((compared.findings, compared.there.payments), (vec![], 1));
    }

    #[test]
    fn a_day_is_read_strictly_and_yesterday_is_the_whole_day_before() {
        for bad in ["", "2026-11-31", "2026-11-2", "22.11.2026", "2026-11-22T", "2026-11-22 ", "yesterday"] {
            assert_eq!(Day::parse(bad), None, "{bad}");
        }
        for hour in [24, 30, 47] {
            assert_eq!(Day::before(at(hour)), day());
        }
        assert!(day().has(at(0)) && day().has(plus(at(24), -1)) && !day().has(at(24)) && !day().has(at(-1)));
    }
}
