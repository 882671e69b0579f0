//! The text that Prometheus reads.

use std::fmt;

use concord_raft::stats::HistogramCounts;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::families::{Family, Figure, Kind, Sample, families};
use super::reading::Reading;
use crate::error::{Error, ErrorKind};

/// What the text is.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What a node measures, as text. Blocks for as long as it takes to look through the tenants.
///
/// # Errors
///
/// None in practice: there is nothing that cannot be written.
pub(crate) fn render(mut reading: Reading) -> Result<String, Error> {
    reading.look_through();
    let samples = families()
        .iter()
        .map(|family| (family, family.read(&reading)))
        .collect();
    let mut registry = Registry::with_prefix("concord");
    registry.register_collector(Box::new(Samples(samples)));
    let mut out = String::new();
    text::encode(&mut out, &registry)
        .map_err(|_| Error::new(ErrorKind::Unsupported, "the metrics cannot be written as text"))?;
    Ok(out)
}

/// What a scrape found, to be written.
#[derive(Debug)]
struct Samples(Vec<(&'static Family, Vec<Sample>)>);

impl Collector for Samples {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for (family, samples) in &self.0 {
            let kind = match family.kind {
                Kind::Counter => MetricType::Counter,
                Kind::Gauge => MetricType::Gauge,
                Kind::Histogram => MetricType::Histogram,
            };
            let mut encoder = encoder.encode_descriptor(family.name, family.about, None, kind)?;
            for sample in samples {
                let labels: Vec<(&str, &str)> = family
                    .labels
                    .iter()
                    .copied()
                    .zip(sample.labels.iter().map(String::as_str))
                    .collect();
                if labels.is_empty() {
                    write(&mut encoder, family.kind, &sample.value)?;
                } else {
                    let labels = labels.as_slice();
                    write(&mut encoder.encode_family(&labels)?, family.kind, &sample.value)?;
                }
            }
        }
        Ok(())
    }
}

fn write(encoder: &mut MetricEncoder<'_>, kind: Kind, value: &Figure) -> fmt::Result {
    match (value, kind) {
        (Figure::Number(value), Kind::Counter) => encoder.encode_counter::<NoLabelSet, _, f64>(value, None),
        (Figure::Number(value), _) => encoder.encode_gauge(value),
        (Figure::Counts(counts, unit), _) => {
            let buckets = buckets(counts, *unit);
            let sum = *unit * sum_of(counts);
            encoder.encode_histogram::<NoLabelSet>(sum, counts.count(), &buckets, None)
        }
    }
}

fn sum_of(counts: &HistogramCounts) -> f64 {
    counts.sum() as f64
}

/// Each with its upper bound. An empty histogram has its bounds, too, so that a series does not begin with a jump.
fn buckets(counts: &HistogramCounts, unit: f64) -> Vec<(f64, u64)> {
    counts
        .buckets()
        .map(|(bound, count)| match bound {
            Some(bound) => (bound as f64 * unit, count),
            None => (f64::INFINITY, count),
        })
        .collect()
}
