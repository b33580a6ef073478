//! Letters about disputes between buyers and shops.

use shared::{
    model::{Case, CaseMessage, CaseSide, CaseState},
    money::Money,
};

use super::Letter;

fn side(side: CaseSide) -> &'static str {
    match side {
        CaseSide::Buyer => "the buyer",
        CaseSide::Seller => "the shop",
    }
}

fn facts(case: &Case, currency: &str) -> [(&'static str, String); 4] {
    [
        ("Order", case.order.hex()),
        ("Dispute", case.id.hex()),
        ("Reason", case.reason.word().replace('_', " ")),
        ("To go back to the buyer", format!("{} {currency}", case.wanted())),
    ]
}

/// To one of the two, about a dispute that has begun.
pub(crate) fn case_opened(case: &Case, to: CaseSide, currency: &str) -> Letter {
    let first = case.messages.first().map(|message| message.text.as_str());
    let said = if case.opened_by == to {
        "You have opened a dispute. The other side may agree to it or answer you; otherwise an administrator decides. \
         You can take it back at any time."
            .to_owned()
    } else {
        format!(
            "There is a dispute about an order: {} has opened it. Please say what you have to say about it, or agree to \
             it; otherwise an administrator decides.",
            side(case.opened_by)
        )
    };
    let hold = match to {
        CaseSide::Seller => " What you have earned with the order is on hold until then.",
        CaseSide::Buyer => "",
    };
    Letter::about("There is a dispute about an order")
        .say(format!("{said}{hold}"))
        .facts(facts(case, currency))
        .quote(first)
}

/// To one of the two, about what the other has said.
pub(crate) fn case_message(case: &Case, message: &CaseMessage, currency: &str) -> Letter {
    let pictures = match message.images.len() {
        0 => String::new(),
        1 => " There is a picture with it.".to_owned(),
        more => format!(" There are {more} pictures with it."),
    };
    Letter::about("A message in your dispute")
        .say(format!("In the dispute about an order {} has said something.{pictures}", side(message.from)))
        .facts(facts(case, currency))
        .quote(Some(&message.text))
}

/// To one of the two, about its end.
pub(crate) fn case_closed(case: &Case, to: CaseSide, currency: &str) -> Letter {
    let back = format!("{} {currency}", Money::from_minor(case.returned));
    let goes_back = match to {
        _ if case.returned == 0 => "Nothing goes back to the buyer.".to_owned(),
        CaseSide::Buyer => format!(
            "You get {back} back, the way it came; what was paid in cash the shop gives back by hand."
        ),
        CaseSide::Seller => {
            format!("{back} go back to the buyer; what was paid in cash you give back by hand.")
        }
    };
    let (subject, said) = match case.state {
        CaseState::Withdrawn => {
            ("A dispute was taken back", format!("{} has taken the dispute back.", side(case.opened_by)))
        }
        CaseState::Accepted => {
            let agreed = side(case.opened_by.other());
            ("A dispute is settled", format!("{agreed} has agreed to what was wanted. {goes_back}"))
        }
        CaseState::Bank => (
            "A dispute has ended",
            "The buyer's bank wants the payment back, so it is the bank that decides.".to_owned(),
        ),
        CaseState::Open | CaseState::Refunded | CaseState::Released => {
            ("A dispute is decided", format!("An administrator has decided. {goes_back}"))
        }
    };
    let rest = match to {
        CaseSide::Seller if case.state != CaseState::Bank => {
            " What you have earned with the order, less what goes back, is no longer on hold."
        }
        _ => "",
    };
    let mut said = format!("{said}{rest}");
    // Sentences begin with a capital letter, whoever they are about.
    if let Some(first) = said.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    Letter::about(subject).say(said).facts(facts(case, currency)).quote(case.note.as_deref())
}
