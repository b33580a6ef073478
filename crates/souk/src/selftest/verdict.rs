//! What a trial has found: answers counted by kind, and whatever is not as it must be.

use std::{collections::BTreeMap, fmt};

use bson::Document;
use shared::{audit, db::Db};

use super::client::Answer;

/// What a trial tells.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// What was run, with counts.
    pub(super) ran: String,
    pub(super) differences: Differences,
}

/// What is not as it must be, in words. Empty when the trial has passed.
#[derive(Debug, Default)]
pub(super) struct Differences {
    first: Vec<String>,
    more: u64,
}

/// One mistake may show a thousand times; a person reads a few.
const SHOWN: usize = 8;
/// An answer may be long.
const LONGEST: usize = 600;

impl Differences {
    pub(super) fn note(&mut self, what: impl Into<String>) {
        if self.first.len() < SHOWN {
            self.first.push(what.into().chars().take(LONGEST).collect());
        } else {
            self.more = self.more.saturating_add(1);
        }
    }

    /// Notes a count or an amount that is another than it must be.
    pub(super) fn expect<T: PartialEq + fmt::Display>(
        &mut self,
        what: impl fmt::Display,
        found: T,
        wanted: T,
    ) {
        if found != wanted {
            self.note(format!("{what}: {found}, and it must be {wanted}"));
        }
    }

    /// Notes every answer of a kind that must not occur.
    pub(super) fn only(&mut self, what: &str, tally: &Tally, allowed: &[&str]) {
        for (kind, (count, example)) in &tally.0 {
            if !allowed.contains(&kind.as_str()) {
                self.note(format!("{what}: {count} times the answer {kind}, such as: {example}"));
            }
        }
    }

    pub(super) fn note_if(&mut self, wrong: bool, what: &str) {
        if wrong {
            self.note(what);
        }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.first.is_empty()
    }

    /// One line each.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = self.first.clone();
        if self.more > 0 {
            lines.push(format!("and {} more", self.more));
        }
        lines
    }

    /// Counts money and units again.
    pub(super) async fn audit(&mut self, db: &Db, when: &str) -> anyhow::Result<()> {
        for difference in audit::run(db).await?.differences {
            self.note(format!("{when}: {difference}"));
        }
        Ok(())
    }
}

/// How often which kind of answer came: `201`, `409 out_of_stock`. With the first of each.
#[derive(Debug, Default)]
pub(super) struct Tally(BTreeMap<String, (u64, String)>);

impl Tally {
    pub(super) fn of<'a>(answers: impl IntoIterator<Item = &'a Answer>) -> Self {
        let mut tally = Self::default();
        answers.into_iter().for_each(|answer| tally.add(answer));
        tally
    }

    pub(super) fn add(&mut self, answer: &Answer) {
        let entry =
            self.0.entry(answer.kind()).or_insert_with(|| (0, answer.text.chars().take(300).collect()));
        entry.0 = entry.0.saturating_add(1);
    }

    pub(super) fn merge(&mut self, other: Self) {
        for (kind, (count, example)) in other.0 {
            let entry = self.0.entry(kind).or_insert((0, example));
            entry.0 = entry.0.saturating_add(count);
        }
    }

    pub(super) fn count(&self, kind: &str) -> u64 {
        self.0.get(kind).map_or(0, |(count, _)| *count)
    }

    /// How many failed on the server's side.
    pub(super) fn failures(&self) -> u64 {
        self.starting_with("5")
    }

    /// How many there are of several kinds.
    pub(super) fn starting_with(&self, kinds: &str) -> u64 {
        self.0.iter().filter(|(kind, _)| kind.starts_with(kinds)).map(|(_, (count, _))| count).sum()
    }

    pub(super) fn total(&self) -> u64 {
        self.0.values().map(|(count, _)| count).sum()
    }
}

/// How many documents of a collection there are.
pub(super) async fn count(db: &Db, collection: &str, filter: Document) -> anyhow::Result<i64> {
    Ok(i64::try_from(db.raw::<Document>(collection).count_documents(filter).await?)?)
}

/// A number as people read it: `19,900`.
pub(super) fn grouped(number: impl fmt::Display) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, text: &str) -> Answer {
        Answer { status, text: text.to_owned() }
    }

    #[test]
    fn answers_are_counted_by_status_and_code() {
        let refused = answer(409, r#"{"code":"out_of_stock"}"#);
        let tally = Tally::of(&[answer(201, "{}"), refused.clone(), refused, answer(500, "oops")]);
        assert_eq!((tally.count("201"), tally.count("409 out_of_stock"), tally.failures()), (1, 2, 1));
        let mut differences = Differences::default();
        differences.only("x", &tally, &["201", "409 out_of_stock"]);
        assert_eq!(differences.lines(), ["x: 1 times the answer 500, such as: oops"]);
    }

    #[test]
    fn a_thousand_differences_are_a_few_lines() {
        let mut differences = Differences::default();
        assert!(differences.is_empty());
        differences.expect("same", 1, 1);
        assert!(differences.is_empty());
        (0..1000).for_each(|i| differences.expect(i, 1, 2));
        let lines = differences.lines();
        assert_eq!((lines.len(), lines[0].as_str()), (SHOWN + 1, "0: 1, and it must be 2"));
        assert_eq!(lines[SHOWN], format!("and {} more", 1000 - SHOWN));
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(
            [0, 999, 1000, 19_900, 1_000_000].map(grouped),
            ["0", "999", "1,000", "19,900", "1,000,000"]
        );
    }
}
