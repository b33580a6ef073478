//! What moved a shop's balance, told from the ledger alone.

use shared::{
    clock::Timestamp,
    id::Id,
    ledger::FEES,
    model::{LedgerEntry, Order, Withdrawal},
    money::Money,
};

/// Why the balance moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// An order was delivered.
    Order,
    /// Goods of an order were paid back.
    Refund,
    /// Money was asked for.
    Withdrawal,
    /// And that was refused.
    WithdrawalRejected,
    /// A buyer, or the bank of one, wants money back, or that was decided.
    Dispute,
    /// What the former server left behind.
    Opening,
    /// Something that this version does not know.
    Other,
}

impl Cause {
    /// From an entry's key, or the part of it before the first colon.
    pub(crate) fn of(key: &str) -> Self {
        match key.split(':').next().unwrap_or_default() {
            "delivered" => Self::Order,
            "refund" => Self::Refund,
            "withdraw" => Self::Withdrawal,
            "withdraw-rejected" => Self::WithdrawalRejected,
            "dispute" | "case" => Self::Dispute,
            "opening" => Self::Opening,
            _ => Self::Other,
        }
    }
}

/// One movement.
#[derive(Clone, Debug)]
pub(crate) struct Movement {
    /// The ledger's key.
    pub(crate) id: String,
    pub(crate) cause: Cause,
    pub(crate) at: Timestamp,
    pub(crate) order: Option<Id<Order>>,
    pub(crate) withdrawal: Option<Id<Withdrawal>>,
    /// What the marketplace took of it, or gave back (negative); nothing where it had no part in it.
    pub(crate) fee: Option<Money>,
    /// What the shop got, or lost (negative).
    pub(crate) amount: Money,
    /// The balance after it.
    pub(crate) balance: Money,
}

/// Reads a page of entries, the latest first, as movements of one account. `balance` is what the
/// account has after the first of them.
pub(crate) fn movements(entries: Vec<LedgerEntry>, account: &str, mut balance: Money) -> Vec<Movement> {
    let read = |entry: LedgerEntry| {
        let cause = Cause::of(&entry.key);
        let about = entry.key.split(':').nth(1).unwrap_or_default();
        let amount = sum(&entry, account).unwrap_or_default();
        let after = balance;
        balance -= amount;
        Movement {
            cause,
            at: entry.at,
            order: matches!(cause, Cause::Order | Cause::Refund | Cause::Dispute)
                .then(|| about.parse().ok())
                .flatten(),
            withdrawal: matches!(cause, Cause::Withdrawal | Cause::WithdrawalRejected)
                .then(|| about.parse().ok())
                .flatten(),
            fee: sum(&entry, FEES),
            amount,
            balance: after,
            id: entry.key,
        }
    };
    entries.into_iter().map(read).collect()
}

/// What an entry's lines for one account come to; nothing if it has none.
fn sum(entry: &LedgerEntry, account: &str) -> Option<Money> {
    let of_account = entry.lines.iter().filter(|line| line.account == account);
    of_account.map(|line| Money::from_minor(line.minor)).reduce(|sum, line| sum + line)
}

/// All of an account's movements in sums. The balance is
/// `opening + earned - fees - refunded - disputed - withdrawn + other`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) opening: Money,
    /// What buyers paid for what was delivered.
    pub(crate) earned: Money,
    /// What the marketplace kept, less what it gave back with refunds.
    pub(crate) fees: Money,
    /// What buyers got back.
    pub(crate) refunded: Money,
    /// What is on hold or lost, since a buyer, or the bank of one, wanted it back.
    pub(crate) disputed: Money,
    /// What was paid out or is on its way.
    pub(crate) withdrawn: Money,
    pub(crate) other: Money,
}

impl Totals {
    /// Adds what all entries of one cause come to: the shop's lines and the marketplace's.
    pub(crate) fn add(&mut self, cause: Cause, amount: Money, fee: Money) {
        self.fees += fee;
        let gross = amount + fee;
        match cause {
            Cause::Order => self.earned += gross,
            Cause::Refund => self.refunded -= gross,
            Cause::Withdrawal | Cause::WithdrawalRejected => self.withdrawn -= gross,
            Cause::Dispute => self.disputed -= gross,
            Cause::Opening => self.opening += gross,
            Cause::Other => self.other += gross,
        }
    }

    /// What they come to.
    pub(crate) fn balance(&self) -> Money {
        self.opening + self.earned - self.fees - self.refunded - self.disputed - self.withdrawn + self.other
    }
}

/// A place in the list: right after the entry of this time and key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cursor {
    pub(crate) at: Timestamp,
    pub(crate) key: String,
}

impl Cursor {
    /// As it stands in an address.
    pub(crate) fn text(&self) -> String {
        format!("{}:{}", self.at.timestamp_millis(), self.key)
    }

    /// Reads it.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (millis, key) = text.split_once(':')?;
        let at = Timestamp::from_millis(millis.parse().ok()?);
        (!key.is_empty()).then(|| Self { at, key: key.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use shared::{ledger, model::LedgerLine};

    use super::*;

    const ORDER: &str = "6744a0b1c2d3e4f5a6b7c805";

    fn entry(key: &str, lines: &[(&str, i64)]) -> LedgerEntry {
        let line =
            |(account, minor): &(&str, i64)| LedgerLine { account: (*account).to_owned(), minor: *minor };
        LedgerEntry {
            key: key.to_owned(),
            at: Timestamp::from_millis(1),
            lines: lines.iter().map(line).collect(),
        }
    }

    #[test]
    fn a_key_says_what_an_entry_is_about() {
        let entries = vec![
            entry(&format!("refund:{ORDER}:2"), &[("cod", 110), ("shop:a", -99), (FEES, -11)]),
            entry(&format!("withdraw:{ORDER}"), &[("shop:a", -50), (ledger::PAYOUTS, 50)]),
            entry("test", &[("shop:a", 1), ("cod", -1)]),
        ];
        let read = movements(entries, "shop:a", Money::from_minor(0));
        let [refund, withdrawal, other] = &read[..] else { panic!("{read:?}") };
        assert_eq!(
            (refund.cause, withdrawal.cause, other.cause),
            (Cause::Refund, Cause::Withdrawal, Cause::Other)
        );
        assert_eq!(refund.order.map(Id::hex).as_deref(), Some(ORDER));
        assert_eq!((refund.withdrawal, refund.fee), (None, Some(Money::from_minor(-11))));
        assert_eq!((withdrawal.order, withdrawal.fee), (None, None));
        assert!(withdrawal.withdrawal.is_some() && other.order.is_none());
        let balances: Vec<i64> = read.iter().map(|movement| movement.balance.minor()).collect();
        assert_eq!(balances, [0, 99, 149]);
    }

    #[test]
    fn the_sums_come_to_the_balance() {
        let mut totals = Totals::default();
        let add = |totals: &mut Totals, cause, amount, fee| {
            totals.add(cause, Money::from_minor(amount), Money::from_minor(fee));
        };
        add(&mut totals, Cause::Opening, 500, 0);
        add(&mut totals, Cause::Order, 990, 110);
        add(&mut totals, Cause::Refund, -99, -11);
        add(&mut totals, Cause::Withdrawal, -700, 0);
        add(&mut totals, Cause::WithdrawalRejected, 200, 0);
        add(&mut totals, Cause::Other, 3, 0);
        let minor = |amount: Money| amount.minor();
        assert_eq!((minor(totals.earned), minor(totals.fees), minor(totals.refunded)), (1100, 99, 110));
        assert_eq!((minor(totals.withdrawn), minor(totals.balance())), (500, 894));
    }

    #[test]
    fn a_cursor_is_read_as_it_was_written() {
        let cursor = Cursor { at: Timestamp::from_millis(-5), key: format!("refund:{ORDER}:2") };
        assert_eq!(Cursor::parse(&cursor.text()), Some(cursor));
        for bad in ["", ":", "1", "1:", "x:y", "99999999999999999999:y"] {
            assert_eq!(Cursor::parse(bad), None, "{bad}");
        }
    }
}
