//! Logs and metrics of a process.

use std::{io::IsTerminal as _, sync::OnceLock, time::Duration};

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::{
    EnvFilter, Layer, Registry, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

use crate::{
    config::{LogFormat, Traces},
    process, traces,
};

/// Upper ends of the buckets of delays, in seconds.
const DELAYS: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Upper ends of the buckets of how many are done together.
const SIZES: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

const UPKEEP: Duration = Duration::from_secs(5);

static METRICS: OnceLock<PrometheusHandle> = OnceLock::new();

/// Starts logging to standard error, and sending traces where somebody collects them. A second call, as in tests,
/// changes nothing.
pub fn init_logs(format: LogFormat, filter: &str, traces: Option<&Traces>) {
    let sent = traces.map(traces::layer).transpose();
    if let Ok(Some(sent)) = sent {
        return init_with_traces(format, filter, sent);
    }
    let builder = tracing_subscriber::fmt()
        .with_env_filter(wanted(filter))
        .with_writer(std::io::stderr)
        // Colours are for people, not for files.
        .with_ansi(std::io::stderr().is_terminal());
    // Already started: the first call decides.
    _ = match format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    if let Err(error) = sent {
        tracing::error!("traces cannot be sent to OTEL_EXPORTER_OTLP_ENDPOINT: {error:#}");
    }
}

/// The same lines, each of the two with a filter of its own.
fn init_with_traces(format: LogFormat, filter: &str, sent: impl Layer<Registry> + Send + Sync) {
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let registry = tracing_subscriber::registry().with(sent);
    _ = match format {
        LogFormat::Text => registry.with(lines.with_filter(wanted(filter))).try_init(),
        LogFormat::Json => {
            registry.with(lines.json().flatten_event(true).with_filter(wanted(filter))).try_init()
        }
    };
}

/// What is logged, as `RUST_LOG` says. Libraries that write out whatever clients send, sessions and messages
/// included, say no more than `info`, unless a module of theirs is named.
pub fn wanted(filter: &str) -> EnvFilter {
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let capped = ["socketioxide=info", "engineioxide=info"].map(str::parse);
    capped.into_iter().flatten().fold(filter, EnvFilter::add_directive)
}

/// Starts collecting metrics for this process.
pub fn init_metrics() {
    METRICS.get_or_init(|| {
        let delays = Matcher::Suffix("_seconds".to_owned());
        // Fails only for a list of no buckets.
        let builder = PrometheusBuilder::new().set_buckets_for_metric(delays, DELAYS);
        let sizes = Matcher::Suffix("_group_size".to_owned());
        let builder = builder.and_then(|builder| builder.set_buckets_for_metric(sizes, SIZES));
        let builder = builder.unwrap_or_else(|_| PrometheusBuilder::new());
        let recorder = builder.build_recorder();
        let handle = recorder.handle();
        // What histograms have seen is kept until somebody reads it, and perhaps nobody ever does.
        let upkeep = handle.clone();
        let thread = std::thread::Builder::new().name("metrics".to_owned());
        let kept = thread.spawn(move || {
            loop {
                std::thread::sleep(UPKEEP);
                upkeep.run_upkeep();
            }
        });
        if let Err(error) = kept {
            tracing::warn!(%error, "metrics are kept tidy only when they are read");
        }
        // Somebody else's recorder stays; ours then renders nothing.
        _ = metrics::set_global_recorder(recorder);
        count_from_zero();
        handle
    });
}

/// Counts of what should not happen begin with nothing: only so can an alert tell the first time from no time.
fn count_from_zero() {
    for reason in ["full", "address"] {
        metrics::counter!("http_connections_refused_total", "reason" => reason).absolute(0);
    }
    for part in ["head", "body", "answer"] {
        metrics::counter!("http_requests_too_slow_total", "part" => part).absolute(0);
    }
    metrics::counter!("audit_log_lost_total").absolute(0);
    metrics::counter!("bare_calls_total").absolute(0);
    metrics::counter!("database_connections_failed_total").absolute(0);
    metrics::counter!("database_lost_total").absolute(0);
}

/// The metrics in Prometheus' text format.
pub fn render_metrics() -> String {
    let Some(metrics) = METRICS.get() else { return String::new() };
    let mut text = metrics.render();
    text.push_str(&process::render());
    text
}

/// The sum of a metric over those of its labels that are wanted, of what [`render_metrics`] gave; 0 where it is not.
/// Fractions are left out.
pub fn sum(metrics: &str, name: &str, wanted: impl Fn(&str) -> bool) -> i64 {
    let value = |line: &str| {
        let rest = line.strip_prefix(name)?;
        let (labels, value) = match rest.strip_prefix('{') {
            Some(rest) => rest.rsplit_once("} ")?,
            None => ("", rest.strip_prefix(' ')?),
        };
        let whole = value.split_once('.').map_or(value, |(whole, _)| whole);
        if wanted(labels) { whole.trim().parse::<i64>().ok() } else { None }
    };
    metrics.lines().filter_map(value).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_summed_over_the_labels_that_are_wanted() {
        let metrics =
            "# TYPE a counter\na{status=\"200\",route=\"/{id}\"} 3\na{status=\"503\"} 4\nab 5\nb 6.0\n";
        assert_eq!(sum(metrics, "a", |_| true), 7);
        assert_eq!(sum(metrics, "a", |labels| labels.contains("status=\"5")), 4);
        assert_eq!(sum(metrics, "b", |_| true), 6);
        assert_eq!(sum(metrics, "c", |_| true), 0);
    }
}
