//! Letters to shops about their money and their shelves.

use shared::{
    clock::iso,
    model::{Listing, Withdrawal},
    money::Money,
};

use super::Letter;

/// What became of a withdrawal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Its money is on the way.
    Paid,
    /// It was not agreed to, and this much is back on the balance.
    Rejected(Money),
}

fn asked_at(withdrawal: &Withdrawal) -> String {
    iso(withdrawal.created_at.unwrap_or_else(|| withdrawal.id.made_at()))
}

/// To a shop that has asked to be paid out, so that it hears of it if that was somebody else.
pub(crate) fn withdrawal_asked(withdrawal: &Withdrawal, currency: &str) -> Letter {
    Letter::about("We have your withdrawal")
        .say("You have asked to be paid out. You hear from us when an administrator has looked at it.")
        .facts([
            ("Amount", format!("{} {currency}", withdrawal.amount)),
            ("Asked for at", asked_at(withdrawal)),
            ("Withdrawal", withdrawal.id.hex()),
        ])
        .say("If it was not you, please change your password and answer this mail.")
}

/// To the shop, once an administrator has decided.
pub(crate) fn withdrawal_decided(withdrawal: &Withdrawal, fate: Fate, currency: &str) -> Letter {
    let amount = format!("{} {currency}", withdrawal.amount);
    let asked = asked_at(withdrawal);
    let (subject, fate) = match fate {
        Fate::Rejected(Money::ZERO) => (
            "Your withdrawal was rejected",
            "was rejected. It was asked for some time ago, before your balance was kept as it is today, so \
             nothing was put back by itself. Please answer us if you miss money"
                .to_owned(),
        ),
        Fate::Rejected(returned) => (
            "Your withdrawal was rejected",
            format!("was rejected, and {returned} {currency} is back on your balance"),
        ),
        Fate::Paid => {
            ("Your withdrawal was paid out", "was approved and is on its way to your bank".to_owned())
        }
    };
    let reason = withdrawal.reason.as_ref().map(|why| ("Reason", why.clone()));
    Letter::about(subject)
        .say("Hello,")
        .say(format!("your withdrawal of {amount}, asked for at {asked}, {fate}."))
        .facts(reason)
}

/// To a shop that has sold most, or all, of something.
pub(crate) fn low_stock(listing: &Listing, left: i64, frontend: &str) -> Letter {
    let (subject, said) = if left > 0 {
        (format!("Only {left} left of {}", listing.name), "There is little left of what you sell.")
    } else {
        (format!("{} is sold out", listing.name), "All of it is sold, so nobody can buy it any more.")
    };
    Letter::about(subject)
        .say(said)
        .facts([
            ("What", listing.name.clone()),
            ("Left to sell", left.to_string()),
            ("Reserved for open orders", listing.reserved.to_string()),
        ])
        .link("Fill it up", format!("{frontend}/dashboard"))
}

/// To whoever has a webhook to which nothing more is sent.
pub(crate) fn webhook_disabled(url: &str, description: &str) -> Letter {
    let description = Some(description).filter(|text| !text.is_empty()).map(str::to_owned);
    Letter::about("Your webhook is switched off")
        .say(
            "Nothing that we have sent to your webhook in the last three days has arrived, so nothing more is sent to \
             it.",
        )
        .facts([("Address", url.to_owned())].into_iter().chain(description.map(|text| ("Description", text))))
        .say("Once it works again, please resume it. What was given up can be replayed then.")
}
