//! Counts everything again, from the documents: money by the ledger and by what orders and
//! withdrawals say, units by the orders that hold or have them.
//!
//! Balances, reservations and sales are written in the same transaction as what they follow from, so
//! a difference of one cent or one unit means a bug, or somebody who wrote past Souk.

mod cases;
mod disputes;
mod orders;
pub(crate) mod stock;
mod withdrawals;

use std::collections::{BTreeMap, HashMap};

use bson::{Bson, Document, doc};
use mongodb::{ClientSession, SessionCursor, error::Result};

use crate::{
    db::Db,
    id::Id,
    ledger, lenient,
    model::{Kind, LedgerEntry, Shop, Stored as _},
    money::Money,
};

/// What was counted.
#[derive(Clone, Debug, Default)]
pub struct Audit {
    /// How many entries the ledger has.
    pub entries: u64,
    /// How many shops there are.
    pub shops: u64,
    /// What the shops have in all.
    pub balances: Money,
    /// How many orders there are, those of the old server included.
    pub orders: u64,
    /// How many withdrawals there are.
    pub withdrawals: u64,
    /// How many products and events there are.
    pub listings: u64,
    /// How many units are on the shelves, reserved ones included.
    pub on_shelves: i64,
    /// How many of them belong to open orders.
    pub reserved: i64,
    /// How many units have been sold and not returned.
    pub sold: i64,
    /// What the ledger's lines sum to, by account; all shops are one line. Together zero.
    pub accounts: BTreeMap<String, Money>,
    /// What does not agree, in words, one line each.
    pub differences: Vec<String>,
}

/// Counts. Everything is read as of one moment, so it may run beside servers at work.
pub async fn run(db: &Db) -> Result<Audit> {
    db.snapshot(|session| {
        let db = db.clone();
        Box::pin(async move { count(&db, session).await })
    })
    .await
}

async fn count(db: &Db, session: &mut ClientSession) -> Result<Audit> {
    let mut audit = Audit::default();
    entries(db, session, &mut audit).await?;
    balances(db, session, &mut audit).await?;
    orders::agree(db, session, &mut audit).await?;
    orders::payments(db, session, &mut audit).await?;
    disputes::agree(db, session, &mut audit).await?;
    cases::agree(db, session, &mut audit).await?;
    withdrawals::agree(db, session, &mut audit).await?;
    for kind in [Kind::Product, Kind::Event] {
        stock::agree(db, session, kind, &mut audit).await?;
    }
    Ok(audit)
}

impl Audit {
    fn differs(&mut self, what: String) {
        self.differences.push(what);
    }
}

/// Every entry's lines sum to zero.
async fn entries(db: &Db, session: &mut ClientSession, audit: &mut Audit) -> Result<()> {
    let pipeline = vec![doc! { "$project": { "sum": { "$sum": "$lines.minor" } } }];
    let ledger = db.raw::<Document>(LedgerEntry::COLLECTION);
    let mut found = ledger.aggregate(pipeline).session(&mut *session).await?;
    while let Some(entry) = found.next(&mut *session).await.transpose()? {
        audit.entries += 1;
        let sum = money(entry.get("sum"));
        if sum != Money::ZERO {
            audit.differences.push(format!("the ledger's entry {} is off by {sum}", text(entry.get("_id"))));
        }
    }
    Ok(())
}

/// Every shop has what the ledger's lines for it sum to, and shows it.
async fn balances(db: &Db, session: &mut ClientSession, audit: &mut Audit) -> Result<()> {
    let mut booked = booked(db, session, audit).await?;
    let fields = doc! { "name": 1, "balanceMinor": 1, "availableBalance": 1 };
    let shops = db.raw::<Document>(Shop::COLLECTION);
    let mut found = shops.find(doc! {}).projection(fields).session(&mut *session).await?;
    while let Some(shop) = found.next(&mut *session).await.transpose()? {
        audit.shops += 1;
        let id = shop.get_object_id("_id").map(Id::<Shop>::from_oid).unwrap_or_default();
        let ledger = booked.remove(&ledger::shop_account(id)).unwrap_or_default();
        // Before its migration a document has no balance that could be compared.
        let Some(counted) = shop.get("balanceMinor").and_then(lenient::as_int) else { continue };
        let counted = Money::from_minor(counted);
        audit.balances += counted;
        let shown = shop.get("availableBalance").and_then(lenient::as_money).unwrap_or_default();
        if counted != ledger || shown != ledger {
            audit.differences.push(format!(
                "the shop `{}` ({id}) has {ledger} by the ledger, but {counted} is counted and {shown} shown",
                text(shop.get("name")),
            ));
        }
    }
    let ownerless = booked.into_iter().filter(|(_, sum)| *sum != Money::ZERO);
    let mut ownerless: Vec<String> = ownerless
        .map(|(account, sum)| format!("the ledger has {sum} for {account}, and there is no such shop"))
        .collect();
    ownerless.sort();
    audit.differences.append(&mut ownerless);
    Ok(())
}

/// What the ledger's lines say that each shop has, by account.
async fn booked(db: &Db, session: &mut ClientSession, audit: &mut Audit) -> Result<HashMap<String, Money>> {
    let pipeline = vec![
        doc! { "$unwind": "$lines" },
        doc! { "$group": { "_id": "$lines.account", "sum": { "$sum": "$lines.minor" } } },
    ];
    let ledger = db.raw::<Document>(LedgerEntry::COLLECTION);
    let mut found = ledger.aggregate(pipeline).allow_disk_use(true).session(&mut *session).await?;
    let mut booked = HashMap::new();
    while let Some(account) = found.next(&mut *session).await.transpose()? {
        let (name, sum) = (text(account.get("_id")), money(account.get("sum")));
        if name.starts_with(ledger::SHOP_PREFIX) {
            *audit.accounts.entry("shops".to_owned()).or_default() += sum;
            booked.insert(name, sum);
        } else {
            *audit.accounts.entry(name).or_default() += sum;
        }
    }
    let all: Money = audit.accounts.values().copied().sum();
    if all != Money::ZERO {
        audit.differs(format!("all accounts of the ledger together are off by {all}"));
    }
    Ok(booked)
}

/// The ledger's entries under one kind of key, in the order of the documents that they are about: walked
/// beside those, so that neither has to fit into memory.
struct Entries {
    prefix: &'static str,
    cursor: SessionCursor<LedgerEntry>,
    next: Option<LedgerEntry>,
}

impl Entries {
    /// Those whose keys begin with `prefix`, which is followed by the document's id.
    async fn open(db: &Db, session: &mut ClientSession, prefix: &'static str) -> Result<Self> {
        // No id is higher than this.
        let keys = doc! { "$gte": prefix, "$lt": format!("{prefix}~") };
        let ledger = db.of::<LedgerEntry>();
        let found = ledger.find(doc! { "_id": keys }).sort(doc! { "_id": 1 });
        let mut entries = Self { prefix, cursor: found.session(&mut *session).await?, next: None };
        entries.advance(session).await?;
        Ok(entries)
    }

    async fn advance(&mut self, session: &mut ClientSession) -> Result<()> {
        self.next = self.cursor.next(session).await.transpose()?;
        Ok(())
    }

    /// The document that the next entry is about, as hex text.
    fn about(&self) -> Option<&str> {
        self.next.as_ref()?.key.get(self.prefix.len()..)?.split(':').next()
    }

    /// The entries about a document. Those about documents before it are about none that there is.
    async fn of(
        &mut self,
        session: &mut ClientSession,
        id: &str,
        audit: &mut Audit,
    ) -> Result<Vec<LedgerEntry>> {
        let mut found = Vec::new();
        while self.about().is_some_and(|about| about <= id) {
            let is_its = self.about() == Some(id);
            if let Some(entry) = self.next.take() {
                if is_its {
                    found.push(entry);
                } else {
                    audit.differs(format!("the ledger has an entry {}, which is about nothing", entry.key));
                }
            }
            self.advance(session).await?;
        }
        Ok(found)
    }

    /// What is left when all documents have been seen is about none of them.
    async fn end(mut self, session: &mut ClientSession, audit: &mut Audit) -> Result<()> {
        while let Some(entry) = self.next.take() {
            audit.differs(format!("the ledger has an entry {}, which is about nothing", entry.key));
            self.advance(session).await?;
        }
        Ok(())
    }
}

/// What entries move on accounts that a test names.
fn moved(entries: &[LedgerEntry], is_wanted: impl Fn(&str) -> bool) -> Money {
    let lines = entries.iter().flat_map(|entry| &entry.lines);
    lines.filter(|line| is_wanted(&line.account)).map(|line| Money::from_minor(line.minor)).sum()
}

fn money(minor: Option<&Bson>) -> Money {
    Money::from_minor(minor.and_then(lenient::as_int).unwrap_or_default())
}

fn text(value: Option<&Bson>) -> String {
    value.and_then(lenient::as_text).unwrap_or_default()
}
