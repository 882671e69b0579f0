//! Traces: which requests, and where their spans go.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::Place;
use super::error::ConfigError;
use super::load::{put, unused};
use crate::trace::Span;

/// Where a collector listens that says nothing of it.
pub(super) const OTLP_ENDPOINT: &str = "http://127.0.0.1:4318";

/// The traces of a node.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TracesConfig {
    /// Where spans go.
    pub exporter: TraceExporter,
    /// The part of the requests that is traced, 0 to 1, of those that come without a decision.
    pub sample: f64,
    /// Whether the sender's decision counts, where `traceparent` has one.
    pub follow: bool,
    /// `service.name` of the spans.
    pub service: String,
}

/// Where spans go.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum TraceExporter {
    /// One line of JSON each, to standard output: for development.
    Stdout,
    /// To a collector, by OTLP over HTTP. Needs the feature `otlp`.
    Otlp {
        /// Its address without `/v1/traces`.
        endpoint: String,
    },
    /// To the program that embeds the node.
    Sink(SpanSink),
}

/// A function that takes spans, some at a time. It may take its time: it runs where waiting is allowed, and spans that
/// find no room meanwhile are dropped and counted. If it panics, they are lost, and nothing else.
#[derive(Clone)]
pub struct SpanSink(Arc<Take>);

type Take = dyn Fn(&[Span]) + Send + Sync;

impl SpanSink {
    /// Calls this function.
    pub fn new(take: impl Fn(&[Span]) + Send + Sync + 'static) -> Self {
        Self(Arc::new(take))
    }

    pub(crate) fn take(&self, spans: &[Span]) {
        (self.0)(spans);
    }
}

impl fmt::Debug for SpanSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SpanSink")
    }
}

impl TracesConfig {
    /// One request in a hundred, and what others have decided.
    pub fn new(exporter: TraceExporter) -> Self {
        Self {
            exporter,
            sample: 0.01,
            follow: true,
            service: "concord".to_owned(),
        }
    }

    /// Traces this part of the requests, 0 to 1.
    #[must_use]
    pub fn sample(mut self, part: f64) -> Self {
        self.sample = part;
        self
    }
}

/// Which exporter a setting names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ExporterName {
    None,
    Stdout,
    Otlp,
}

impl ExporterName {
    pub(super) const ALL: [(&'static str, Self); 3] = [
        ("none", Self::None),
        ("stdout", Self::Stdout),
        ("otlp", Self::Otlp),
    ];
}

/// The settings of traces, as a file and the layers over it have them.
#[derive(Debug, Default)]
pub(super) struct TracesDraft {
    pub(super) exporter: Option<ExporterName>,
    pub(super) endpoint: Option<String>,
    pub(super) sample: Option<f64>,
    pub(super) follow: Option<bool>,
    pub(super) service: Option<String>,
}

/// Puts the draft together; refuses what would have no effect.
pub(super) fn build(
    draft: &TracesDraft,
    places: &BTreeMap<&'static str, Place>,
) -> Result<Option<TracesConfig>, ConfigError> {
    let name = "traces.exporter";
    let exporter = match draft.exporter.unwrap_or(ExporterName::None) {
        ExporterName::None => {
            unused(places, "traces.", name, "has no effect without")?;
            return Ok(None);
        }
        ExporterName::Stdout if draft.endpoint.is_some() => {
            let reason = "has no effect unless otlp is";
            return Err(ConfigError::contradiction("traces.endpoint", reason, name));
        }
        ExporterName::Stdout => TraceExporter::Stdout,
        ExporterName::Otlp => TraceExporter::Otlp {
            endpoint: draft.endpoint.clone().unwrap_or_else(|| OTLP_ENDPOINT.to_owned()),
        },
    };
    let mut traces = TracesConfig::new(exporter);
    put(&mut traces.sample, draft.sample);
    put(&mut traces.follow, draft.follow);
    put(&mut traces.service, draft.service.clone());
    Ok(Some(traces))
}

pub(super) fn check(traces: &TracesConfig) -> Result<(), ConfigError> {
    if !(0.0..=1.0).contains(&traces.sample) {
        return Err(ConfigError::invalid("traces.sample", "must be between 0 and 1"));
    }
    let TraceExporter::Otlp { endpoint } = &traces.exporter else {
        return Ok(());
    };
    let address = endpoint
        .strip_prefix("http://")
        .or_else(|| endpoint.strip_prefix("https://"));
    if !address.is_some_and(|address| !address.is_empty() && !address.contains(['?', '#', '@', ' '])) {
        let reason = "must be http://host:port or https://host:port";
        return Err(ConfigError::invalid("traces.endpoint", reason));
    }
    Ok(())
}
