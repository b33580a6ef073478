//! `souk prove`: counts all money and all units again, from the documents, and says whether they agree.

use std::process::ExitCode;

use shared::{
    audit::{self, Audit},
    config::Config,
    money::Money,
};

use crate::{banner::say, database::Database};

/// Counts, reports, and fails at one cent or one unit of difference.
pub(crate) async fn prove(config: Config) -> anyhow::Result<ExitCode> {
    let database = Database::reach(&config, "souk-prove").await?;
    let counted = audit::run(&database.db).await;
    database.close().await;
    let counted = counted?;
    say(&report(&counted, &config.currency));
    Ok(if counted.differences.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What was counted, in words.
pub(crate) fn report(counted: &Audit, currency: &str) -> String {
    let Audit { entries, shops, balances, orders, withdrawals, listings, .. } = counted;
    let Audit { on_shelves, reserved, sold, accounts, differences, .. } = counted;
    let mut lines = vec![
        "Counted again from the documents, as of one moment:".to_owned(),
        format!("  {entries} entries of the ledger"),
        format!("  {shops} shops, which have {balances} {currency}"),
        format!("  {orders} orders and {withdrawals} withdrawals"),
        format!(
            "  {listings} products and events: {on_shelves} units on the shelves, {reserved} of them reserved, \
             and {sold} sold"
        ),
        String::new(),
        format!("Accounts of the ledger, in {currency}:"),
    ];
    let width = accounts.keys().map(String::len).max().unwrap_or_default().max("together".len());
    let row = |name: &str, sum: Money| format!("  {name:<width$}  {:>16}", sum.to_string());
    lines.extend(accounts.iter().map(|(name, sum)| row(name, *sum)));
    lines.push(row("together", accounts.values().copied().sum()));
    lines.push(String::new());
    if differences.is_empty() {
        lines.push("Every cent and every unit is accounted for.".to_owned());
    } else {
        lines.push(format!("{} differences:", differences.len()));
        lines.extend(differences.iter().map(|what| format!("  - {what}")));
    }
    lines.join("\n")
}
