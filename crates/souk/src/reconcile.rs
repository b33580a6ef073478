//! `souk reconcile`: our books of a day beside each gateway's own list of it.

use std::{process::ExitCode, sync::Arc};

use anyhow::Context as _;
use api::reconcile::{
    self as books, Booked, BookedKind, Day, Finding, GATEWAYS, MovementKind, NotReconciled, Reconciled,
    ReturnState, Sums,
};
use clap::Args;
use shared::{
    clock::{Clock, Timestamp, iso},
    config::Config,
    money::Money,
};

use crate::{banner::say, database::Database};

/// A gateway could not be asked.
const NOT_ASKED: u8 = 2;

/// What to compare.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// The day, in UTC, as YYYY-MM-DD; yesterday without it
    #[arg(long, value_name = "YYYY-MM-DD")]
    day: Option<String>,
    /// One gateway alone; every one without it
    #[arg(long, value_parser = clap::builder::PossibleValuesParser::new(GATEWAYS))]
    gateway: Option<String>,
}

/// Compares, reports, and fails at one difference.
pub(crate) async fn serve(config: Config, options: Options) -> anyhow::Result<ExitCode> {
    let clock = Clock::default();
    let now = clock.now();
    let day = match &options.day {
        Some(text) => {
            Day::parse(text).with_context(|| format!("`{text}` is no day such as {}", date(now)))?
        }
        None => Day::before(now),
    };
    anyhow::ensure!(day.from <= now, "{} has not begun yet", date(day.from));
    let wanted = |name: &&str| options.gateway.as_deref().is_none_or(|only| only == *name);
    let names: Vec<&str> = GATEWAYS.into_iter().filter(wanted).collect();
    let config = Arc::new(config);
    let database = Database::reach(&config, "souk-reconcile").await?;
    let mut days = Vec::new();
    for name in names {
        days.push((name, books::reconcile(&config, &database.db, &clock, name, day).await));
    }
    database.close().await;
    say(&format!("{}, midnight to midnight UTC, in {}.", date(day.from), config.currency));
    if now < day.to {
        say("The day is not over: what moved just now may be missing on one of the sides.");
    }
    let (mut differences, mut not_asked) = (0, false);
    for (name, outcome) in &days {
        let reconciled = match outcome {
            Ok(reconciled) => reconciled,
            Err(NotReconciled::NotUsed) if options.gateway.is_none() => {
                say(&format!("\n{name}: not set up, and nothing was paid through it."));
                continue;
            }
            Err(why) => {
                not_asked = true;
                say(&format!("\n{name} could not be asked, so nothing is known about it: {why}"));
                continue;
            }
        };
        differences += reconciled.comparison.findings.iter().filter(|one| one.is_difference()).count();
        say(&report(name, reconciled));
    }
    say(&verdict(differences, not_asked));
    Ok(match (not_asked, differences) {
        (true, _) => ExitCode::from(NOT_ASKED),
        (false, 0) => ExitCode::SUCCESS,
        (false, _) => ExitCode::FAILURE,
    })
}

fn verdict(differences: usize, not_asked: bool) -> String {
    let found = match differences {
        0 => "Both sides agree to the cent.".to_owned(),
        1 => "1 difference.".to_owned(),
        n => format!("{n} differences."),
    };
    match (not_asked, differences) {
        (false, _) => format!("\n{found}"),
        (true, 0) => "\nNot everything could be compared.".to_owned(),
        (true, _) => format!("\n{found} Not everything could be compared."),
    }
}

fn report(name: &str, reconciled: &Reconciled) -> String {
    let Reconciled { comparison, booked } = reconciled;
    let (here, there) = (&comparison.here, &comparison.there);
    let mut lines = vec![format!("\n{name:<14}{:>16}{:>16}", "our books", "the gateway")];
    let mut row = |what: &str, of: fn(&Sums) -> Money| {
        lines.push(format!("  {what:<12}{:>16}{:>16}", of(here).to_string(), of(there).to_string()));
    };
    row("taken", |sums| sums.taken);
    row("returned", |sums| sums.returned);
    row("net", Sums::net);
    lines.push(format!("  {:<12}{:>16}{:>16}", "payments", here.payments, there.payments));
    lines.push(format!("  {:<12}{:>16}{:>16}", "returns", here.returns, there.returns));
    if comparison.edges > 0 {
        lines.push(format!(
            "  {} of these are on a neighbouring day on one of the sides, by which the sums may differ.",
            comparison.edges
        ));
    }
    lines.push(format!(
        "  The ledger booked {booked} from gateway:{name} on this day. It books what an order brought when the \
         order is\n  delivered, and what goes back of it when that is decided: other days, and so another sum."
    ));
    lines.extend(comparison.findings.iter().map(|finding| format!("  - {}", in_words(finding))));
    lines.join("\n")
}

/// One line.
fn in_words(finding: &Finding) -> String {
    match finding {
        Finding::MissingHere(there) => {
            let (amount, payment, at) = (there.amount, plain(&there.payment), iso(there.at));
            match &there.kind {
                MovementKind::Payment => {
                    format!("the gateway has a payment {payment} of {amount} at {at}, and we have not")
                }
                MovementKind::Refund { id, key } => {
                    let key =
                        key.as_ref().map(|key| format!(" (our key {})", plain(key))).unwrap_or_default();
                    let id = plain(id);
                    format!(
                        "the gateway has a refund {id} of {amount} at {at} of the payment {payment}{key}, and we \
                         have not"
                    )
                }
            }
        }
        Finding::MissingThere(here) => format!("we have {}, and the gateway has not", booked(here)),
        Finding::OtherAmount { here, there } => {
            format!("we have {}, but the gateway has {there} for it", booked(here))
        }
        Finding::NotReturned(here) => {
            let why = match &here.kind {
                BookedKind::Return { state: ReturnState::GivenUp, .. } => {
                    "it was given up: `souk outbox` says why, and has it tried again"
                }
                _ => "nothing in the outbox will do it",
            };
            format!("{} never happened: {why}", booked(here))
        }
        Finding::StillWaiting(here) => {
            format!("{} is not done yet; it is in the outbox (no difference)", booked(here))
        }
    }
}

fn booked(here: &Booked) -> String {
    let (amount, payment, at) = (here.amount, plain(&here.payment), iso(here.at));
    match &here.kind {
        BookedKind::Payment => format!("a payment {payment} of {amount} at {at}"),
        BookedKind::Return { key, state } => {
            let id = match state {
                ReturnState::Done(id) => format!(" {}", plain(id)),
                _ => String::new(),
            };
            let key = key.as_ref().map(|key| format!(" for {}", plain(key))).unwrap_or_default();
            format!("a refund{id} of {amount}{key}, asked for at {at}, of the payment {payment}")
        }
    }
}

/// Somebody else's words, fit for a terminal.
fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(100).collect()
}

/// The day of a moment.
fn date(at: Timestamp) -> String {
    iso(at).chars().take(10).collect()
}

#[cfg(test)]
mod tests {
    use api::reconcile::{Comparison, Movement};

    use super::*;

    #[test]
    fn each_difference_is_one_line_that_names_it() {
        let at = Day::parse("2026-11-22").unwrap().from;
        let amount = Money::from_minor(1234);
        let paid = Booked { payment: "pi_1".to_owned(), kind: BookedKind::Payment, amount, at };
        let back = |state| Booked {
            kind: BookedKind::Return { key: Some("refund:1".to_owned()), state },
            ..paid.clone()
        };
        let movement = |kind| Movement { payment: "pi_2\n".to_owned(), kind, amount, at };
        let refund = MovementKind::Refund { id: "re_9".to_owned(), key: None };
        let all = [
            (
                Finding::MissingHere(movement(MovementKind::Payment)),
                "the gateway has a payment pi_2 of 12.34",
            ),
            (
                Finding::MissingHere(movement(refund)),
                "a refund re_9 of 12.34 at 2026-11-22T00:00:00.000Z of the payment pi_2",
            ),
            (Finding::MissingThere(paid.clone()), "we have a payment pi_1 of 12.34"),
            (
                Finding::MissingThere(back(ReturnState::Done("re_1".to_owned()))),
                "a refund re_1 of 12.34 for refund:1",
            ),
            (
                Finding::OtherAmount { here: paid.clone(), there: Money::from_minor(1233) },
                "but the gateway has 12.33",
            ),
            (Finding::NotReturned(back(ReturnState::GivenUp)), "souk outbox"),
            (Finding::NotReturned(back(ReturnState::Forgotten)), "nothing in the outbox"),
            (Finding::StillWaiting(back(ReturnState::Waiting)), "no difference"),
        ];
        let findings = all.iter().map(|(finding, _)| finding.clone()).collect();
        let comparison = Comparison { findings, edges: 1, ..Comparison::default() };
        let report = report("stripe", &Reconciled { comparison, booked: amount });
        let lines: Vec<&str> = report.lines().filter(|line| line.starts_with("  - ")).collect();
        assert_eq!(lines.len(), all.len(), "{report}");
        for (line, (_, words)) in lines.iter().zip(&all) {
            assert!(line.contains(words), "{line} | {words}");
        }
        assert!(report.contains("1 of these are on a neighbouring day"), "{report}");
    }
}
