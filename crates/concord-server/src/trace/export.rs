//! Takes spans out of the queue and sends them on, many at once.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use concord_core::ids::NodeId;

use super::queue::{Gathered, SpanQueue};
use super::span::Span;
use super::{Counts, json};
use crate::config::{SpanSink, TraceExporter, TracesConfig};

/// Why spans cannot be sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct ExportError(pub(super) String);

/// Where spans go.
#[derive(Debug)]
pub(super) enum Exporter {
    Stdout,
    Sink(SpanSink),
    #[cfg(feature = "otlp")]
    Otlp(super::otlp::Otlp),
}

impl Exporter {
    pub(super) fn new(config: &TracesConfig, node_id: NodeId) -> Result<Self, ExportError> {
        match &config.exporter {
            TraceExporter::Stdout => Ok(Self::Stdout),
            TraceExporter::Sink(sink) => Ok(Self::Sink(sink.clone())),
            #[cfg(feature = "otlp")]
            TraceExporter::Otlp { endpoint } => {
                super::otlp::Otlp::new(endpoint, config.service.clone(), node_id).map(Self::Otlp)
            }
            #[cfg(not(feature = "otlp"))]
            TraceExporter::Otlp { .. } => {
                let _ = node_id;
                Err(ExportError(
                    "this build has no OTLP exporter (feature `otlp`)".to_owned(),
                ))
            }
        }
    }

    async fn send(&self, spans: Vec<Span>) -> Result<(), ExportError> {
        match self {
            Self::Stdout => blocking(move || print(&spans)).await?,
            Self::Sink(sink) => {
                let sink = sink.clone();
                blocking(move || {
                    sink.take(&spans);
                    Ok(())
                })
                .await?
            }
            #[cfg(feature = "otlp")]
            Self::Otlp(otlp) => otlp.send(&spans).await,
        }
    }
}

/// Where it may wait, and fail in any way that it likes.
async fn blocking(
    work: impl FnOnce() -> Result<(), ExportError> + Send + 'static,
) -> Result<Result<(), ExportError>, ExportError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| ExportError(format!("the exporter ended: {error}")))
}

/// One line of JSON for each.
fn print(spans: &[Span]) -> Result<(), ExportError> {
    let mut out = std::io::stdout().lock();
    for span in spans {
        writeln!(out, "{}", json::of(span)).map_err(|error| ExportError(error.to_string()))?;
    }
    out.flush().map_err(|error| ExportError(error.to_string()))
}

/// Runs until the node is gone, and sends what it has left.
pub(super) async fn run(exporter: Exporter, queue: Arc<SpanQueue>, counts: Arc<Counts>) {
    let mut is_failing = false;
    while let Some(Gathered { spans, flushes }) = queue.gather().await {
        if spans.is_empty() {
            // All that a flush waits for was sent already.
            continue;
        }
        let count = u64::try_from(spans.len()).unwrap_or(u64::MAX);
        match exporter.send(spans).await {
            Ok(()) => {
                counts.exported.fetch_add(count, Ordering::Relaxed);
                is_failing = false;
            }
            Err(error) => {
                counts.failed.fetch_add(count, Ordering::Relaxed);
                // Once: whoever is down now is down for many of these.
                if !is_failing {
                    tracing::warn!(%error, "spans cannot be exported; they are dropped until it works again");
                }
                is_failing = true;
            }
        }
        drop(flushes);
    }
}
