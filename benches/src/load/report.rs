//! The figures, for people and for programs.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::engine::Outcome;
use super::options::Options;

/// One measurement.
#[derive(Debug)]
pub struct Row {
    /// Callers at once.
    pub callers: usize,
    /// What it found.
    pub outcome: Outcome,
}

/// All measurements of a run.
#[derive(Debug)]
pub struct Report {
    /// What was asked for.
    pub options: Options,
    /// One for each number of callers.
    pub rows: Vec<Row>,
}

const QUANTILES: [(&str, f64); 5] = [
    ("p50", 0.5),
    ("p90", 0.9),
    ("p99", 0.99),
    ("p99_9", 0.999),
    ("p99_99", 0.9999),
];

#[expect(
    clippy::cast_precision_loss,
    reason = "figures for people: 53 bits are plenty"
)]
fn float(count: u64) -> f64 {
    count as f64
}

impl Row {
    /// Checked successes a second.
    pub fn operations_per_second(&self) -> f64 {
        float(self.outcome.operations) / self.outcome.seconds
    }

    /// Processor time of this process for each checked success.
    fn cpu_micros_each(&self) -> Option<f64> {
        let operations = float(self.outcome.operations).max(1.0);
        self.outcome.cpu_seconds.map(|seconds| seconds * 1e6 / operations)
    }

    fn micros(&self, quantile: f64) -> f64 {
        float(self.outcome.latency.value_at_quantile(quantile)) / 1_000.0
    }

    fn error_count(&self) -> u64 {
        self.outcome.errors.values().sum()
    }

    fn to_json(&self) -> Value {
        let mut latency = json!({
            "min": float(self.outcome.latency.min()) / 1_000.0,
            "mean": self.outcome.latency.mean() / 1_000.0,
            "max": float(self.outcome.latency.max()) / 1_000.0,
        });
        if let Some(fields) = latency.as_object_mut() {
            fields.extend(QUANTILES.map(|(name, quantile)| (name.to_owned(), json!(self.micros(quantile)))));
        }
        json!({
            "callers": self.callers,
            "seconds": self.outcome.seconds,
            "operations": self.outcome.operations,
            "operations_per_second": self.operations_per_second(),
            "cpu_us_each": self.cpu_micros_each(),
            "not_started": self.outcome.not_started,
            "latency_us": latency,
            "errors": self.outcome.errors,
        })
    }
}

impl Report {
    /// Whether every operation succeeded, and there was one.
    pub fn is_clean(&self) -> bool {
        self.rows
            .iter()
            .all(|row| row.error_count() == 0 && row.outcome.operations > 0)
    }

    /// For programs.
    pub fn to_json(&self) -> Value {
        let options = &self.options;
        json!({
            "driver": options.driver.name(),
            "nodes": if options.endpoints.is_empty() { options.nodes } else { options.endpoints.len() },
            "reads_in_100": options.reads_in_100(),
            "read_consistency": options.read_consistency.name(),
            "keys": options.keys,
            "key_bytes": super::keys::KEY_BYTES,
            "value_bytes": options.value_bytes,
            "loop": if options.rate.is_some() { "open" } else { "closed" },
            "rate": options.rate,
            "rows": self.rows.iter().map(Row::to_json).collect::<Vec<_>>(),
        })
    }

    /// For people.
    pub fn to_table(&self) -> String {
        let options = &self.options;
        let mut out = format!(
            "{} · {:?} ({} % reads, {}) · {} keys of {} B, values of {} B · {}\n",
            options.driver.name(),
            options.workload,
            options.reads_in_100(),
            options.read_consistency.name(),
            options.keys,
            super::keys::KEY_BYTES,
            options.value_bytes,
            options
                .rate
                .map_or("closed loop".to_owned(), |rate| format!("open loop, {rate}/s")),
        );
        out.push_str(" callers        ops/s      p50 us      p90 us      p99 us    p99.9 us      max us  cpu us/op   errors  not started\n");
        for row in &self.rows {
            let _ = writeln!(
                out,
                "{:>8} {:>12.0} {:>11.1} {:>11.1} {:>11.1} {:>11.1} {:>11.1} {:>10} {:>8} {:>12}",
                row.callers,
                row.operations_per_second(),
                row.micros(0.5),
                row.micros(0.9),
                row.micros(0.99),
                row.micros(0.999),
                float(row.outcome.latency.max()) / 1_000.0,
                row.cpu_micros_each()
                    .map_or("-".to_owned(), |micros| format!("{micros:.2}")),
                row.error_count(),
                row.outcome.not_started,
            );
        }
        for row in &self.rows {
            for (error, count) in &row.outcome.errors {
                let _ = writeln!(out, "{} callers: {count} times: {error}", row.callers);
            }
        }
        out
    }
}
