//! What this process takes of its machine, as the system counts it, in Prometheus' text format. Names are those that
//! dashboards know.

use std::{fmt::Write as _, fs};

/// So many of these the system counts as a second of the processor's; on Linux always.
const TICKS: u64 = 100;

/// Everything that can be read here; nothing where there is no `/proc`.
pub(crate) fn render() -> String {
    let mut text = String::new();
    let mut line = |name: &str, kind: &str, help: &str, value: Option<String>| {
        if let Some(value) = value {
            // Writing to a String cannot fail.
            _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n");
        }
    };
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let of_status = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    };
    let bytes = |name| of_status(name).map(|kib| kib.saturating_mul(1024).to_string());
    line("process_resident_memory_bytes", "gauge", "Memory that is in use.", bytes("VmRSS:"));
    line("process_virtual_memory_bytes", "gauge", "Addresses that are in use.", bytes("VmSize:"));
    line("process_threads", "gauge", "Threads.", of_status("Threads:").map(|count| count.to_string()));
    let open = fs::read_dir("/proc/self/fd").ok().map(|files| files.count().to_string());
    line("process_open_fds", "gauge", "Open files, connections among them.", open);
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let most = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let most = most.and_then(|rest| rest.split_whitespace().next()).filter(|most| *most != "unlimited");
    line("process_max_fds", "gauge", "So many may be open.", most.map(str::to_owned));
    // The name in brackets may hold anything, blanks and brackets among it.
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<u64> = stat
        .rsplit_once(") ")
        .map(|(_, rest)| rest.split_whitespace().map(|field| field.parse().unwrap_or_default()).collect())
        .unwrap_or_default();
    let field = |index: usize| fields.get(index).copied();
    let used = field(11).zip(field(12)).map(|(user, system)| user.saturating_add(system));
    line("process_cpu_seconds_total", "counter", "Time of processors that was used.", used.map(in_seconds));
    let booted = fs::read_to_string("/proc/stat").ok().and_then(|stat| {
        stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse::<u64>().ok()
    });
    let started = booted.zip(field(19)).map(|(boot, ticks)| boot.saturating_add(ticks / TICKS).to_string());
    line("process_start_time_seconds", "gauge", "When it was started.", started);
    let version = env!("CARGO_PKG_VERSION");
    _ = write!(
        text,
        "# HELP souk_build_info Which version runs here.\n# TYPE souk_build_info gauge\n\
         souk_build_info{{version=\"{version}\"}} 1\n"
    );
    text
}

fn in_seconds(ticks: u64) -> String {
    format!("{}.{:02}", ticks / TICKS, ticks % TICKS)
}

#[cfg(test)]
mod tests {
    #[test]
    fn this_process_is_measured() {
        let text = super::render();
        for name in [
            "process_resident_memory_bytes",
            "process_threads",
            "process_open_fds",
            "process_max_fds",
            "process_cpu_seconds_total",
            "process_start_time_seconds",
        ] {
            let line = text.lines().find(|line| line.starts_with(&format!("{name} ")));
            let value: f64 =
                line.unwrap_or_else(|| panic!("{name}: {text}")).rsplit_once(' ').unwrap().1.parse().unwrap();
            assert!(value >= 0.0, "{name}");
        }
        assert!(text.contains("souk_build_info{version=\""));
    }
}
