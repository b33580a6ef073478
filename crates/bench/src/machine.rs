//! Whose processor time it was, and on what it ran. Linux tells in `/proc`.

use std::{fs, time::Instant};

/// The kernel counts in hundredths of a second, whatever the machine.
const TICK_MILLIS: u64 = 10;

/// Processor time of some processes since a moment.
pub(crate) struct Meter {
    begun: Instant,
    before: Vec<u64>,
    processes: Vec<Vec<u32>>,
}

impl Meter {
    /// Starts counting for these groups of processes.
    pub(crate) fn start(processes: Vec<Vec<u32>>) -> Self {
        let before = processes.iter().map(|group| used(group)).collect();
        Self { begun: Instant::now(), before, processes }
    }

    /// Percent of one core that each group took.
    pub(crate) fn read(&self) -> Vec<u64> {
        let elapsed = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX).max(1);
        let spent = self.processes.iter().zip(&self.before).map(|(group, before)| {
            let ticks = used(group).saturating_sub(*before);
            ticks.saturating_mul(TICK_MILLIS * 100) / elapsed
        });
        spent.collect()
    }
}

fn used(processes: &[u32]) -> u64 {
    processes.iter().filter_map(|pid| ticks(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)).sum()
}

/// User and system time; the name before them may hold blanks and brackets.
fn ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ').skip(11);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

/// Kilobytes of memory that a process has.
pub(crate) fn resident(pid: u32) -> Option<u64> {
    field(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?, "VmRSS:")
}

/// How many files this process may have open; every connection is one. The servers inherit it.
pub(crate) fn open_files() -> Option<u64> {
    field(&fs::read_to_string("/proc/self/limits").ok()?, "Max open files")
}

/// The first number behind a name at the beginning of a line.
fn field(lines: &str, name: &str) -> Option<u64> {
    lines.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}

/// How many cores there are to use.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

#[cfg(test)]
mod tests {
    #[test]
    fn numbers_are_found_behind_their_names() {
        let status = "Name:\tsouk\nVmPeak:\t  99 kB\nVmRSS:\t   1234 kB\n";
        assert_eq!(super::field(status, "VmRSS:"), Some(1234));
        let limits = "Max processes             7      8      processes\nMax open files            20000  30000  files";
        assert_eq!(super::field(limits, "Max open files"), Some(20_000));
        assert_eq!(super::field(limits, "VmRSS:"), None);
    }

    #[test]
    fn time_is_found_behind_any_name() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194304 2 3 4 5 120 34 0 0 20 0 1 0 9";
        assert_eq!(super::ticks(stat), Some(154));
        assert_eq!(super::ticks("nonsense"), None);
    }
}
