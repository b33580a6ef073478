//! Figures of many latencies.

use std::time::Duration;

/// What one cell of the table measured.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    /// Microseconds of each that succeeded.
    latencies: Vec<u64>,
    /// How many were refused as they should be (409: not enough left).
    pub(crate) refused: u64,
    /// How many failed in any other way.
    pub(crate) failed: u64,
    /// What the first of them said.
    pub(crate) complaint: Option<String>,
    /// Units that were bought.
    pub(crate) units: i64,
}

impl Tally {
    /// One that succeeded.
    pub(crate) fn done(&mut self, took: Duration, units: i64) {
        self.latencies.push(micros(took));
        self.units += units;
    }

    /// One that failed.
    pub(crate) fn fail(&mut self, complaint: String) {
        self.failed += 1;
        self.complaint.get_or_insert(complaint);
    }

    /// Takes in what another client counted.
    pub(crate) fn add(&mut self, other: Self) {
        self.latencies.extend(other.latencies);
        self.refused += other.refused;
        self.failed += other.failed;
        self.units += other.units;
        if self.complaint.is_none() {
            self.complaint = other.complaint;
        }
    }

    /// How many succeeded.
    pub(crate) fn count(&self) -> u64 {
        u64::try_from(self.latencies.len()).unwrap_or(u64::MAX)
    }

    /// The figures, for a run of this length.
    pub(crate) fn figures(mut self, elapsed: Duration) -> Figures {
        self.latencies.sort_unstable();
        let rate = self.count().saturating_mul(1_000_000).checked_div(micros(elapsed)).unwrap_or(0);
        Figures {
            rate,
            p50: rank(&self.latencies, 50),
            p99: rank(&self.latencies, 99),
            max: rank(&self.latencies, 100),
            refused: self.refused,
            failed: self.failed,
            complaint: self.complaint,
        }
    }
}

/// What the table shows; times in microseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Figures {
    pub(crate) rate: u64,
    pub(crate) p50: u64,
    pub(crate) p99: u64,
    pub(crate) max: u64,
    pub(crate) refused: u64,
    pub(crate) failed: u64,
    pub(crate) complaint: Option<String>,
}

/// The nearest-rank percentile of what is sorted; zero of nothing.
fn rank(sorted: &[u64], percent: usize) -> u64 {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0)
}

pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// `1234` microseconds as `1.2`.
pub(crate) fn millis(micros: u64) -> String {
    let tenths = micros.saturating_add(50) / 100;
    format!("{}.{}", tenths / 10, tenths % 10)
}

/// `part / whole` with two digits, or a dash where there is no whole.
pub(crate) fn ratio(part: u64, whole: u64) -> String {
    match part.saturating_mul(100).saturating_add(whole / 2).checked_div(whole) {
        Some(hundredths) => format!("{}.{:02}", hundredths / 100, hundredths % 100),
        None => "-".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(latencies: impl IntoIterator<Item = u64>) -> Tally {
        let mut tally = Tally::default();
        for latency in latencies {
            tally.done(Duration::from_micros(latency), 1);
        }
        tally
    }

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let figures = tally((1..=200).rev()).figures(Duration::from_secs(2));
        assert_eq!((figures.rate, figures.p50, figures.p99, figures.max), (100, 100, 198, 200));
        let one = tally([7]).figures(Duration::from_secs(1));
        assert_eq!((one.p50, one.p99, one.max), (7, 7, 7));
        assert_eq!(Tally::default().figures(Duration::ZERO), Figures::default());
    }

    #[test]
    fn tallies_add_up() {
        let mut all = tally([1, 2]);
        let mut other = tally([3]);
        other.fail("no".to_owned());
        other.refused = 2;
        all.add(other);
        assert_eq!((all.count(), all.units, all.failed, all.refused), (3, 3, 1, 2));
        assert_eq!(all.complaint.as_deref(), Some("no"));
    }

    #[test]
    fn figures_are_rounded_for_the_table() {
        assert_eq!([millis(0), millis(1249), millis(1250)], ["0.0", "1.2", "1.3"]);
        assert_eq!([ratio(2, 3), ratio(7, 2), ratio(1, 0)], ["0.67", "3.50", "-"]);
    }
}
