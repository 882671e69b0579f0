//! Traces: what became of single requests, from the door that they came in by to every replica that applied them.
//!
//! ```text
//!   traceparent ─> door: sampled? ─no─> nothing more is done
//!                    │ yes
//!     HTTP span ── concord.write ── concord.propose ══ ids in the proposal ══> the log of every node
//!         │                                                                     │ concord.log, concord.commit, concord.apply
//!         └── spans ──> a bounded queue ──> exporter (of that node) <───────────┘
//! ```
//!
//! Whether a request is traced is decided once, before anything is made for it. Spans are made when they end, out of two
//! looks at the clock, so that those of the log and of apply cost only requests that are traced. They never hold a
//! key, a value or a secret. A queue that is full loses spans and counts them: nobody waits for an exporter. Settings and the
//! names of spans: `docs/tracing.md`.

mod context;
mod export;
mod json;
#[cfg(feature = "otlp")]
mod otlp;
mod queue;
mod sampler;
mod span;
mod steps;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use concord_core::ids::NodeId;
use concord_core::trace::TraceContext;
use tokio::sync::oneshot;
use tokio::time::Instant;

pub use self::context::TraceParent;
use self::queue::SpanQueue;
use self::sampler::Sampler;
pub use self::span::{Span, SpanKind, SpanValue};
use crate::config::TracesConfig;
use crate::error::Error;

/// What the current task works on, where somebody has decided.
#[derive(Clone, Copy, Debug)]
enum Scope {
    /// It is not traced, and nothing within it is.
    Unsampled,
    /// What is done belongs under this span.
    Within(TraceContext),
}

tokio::task_local! {
    static SCOPE: Scope;
}

/// Where the spans of a node go. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Traces {
    /// `None`: nobody wants any.
    shared: Option<Arc<Shared>>,
}

#[derive(Debug)]
struct Shared {
    sampler: Sampler,
    queue: Arc<SpanQueue>,
    counts: Arc<Counts>,
    /// The same moment by both clocks.
    began: (Instant, SystemTime),
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.queue.close();
    }
}

/// What became of spans.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    exported: AtomicU64,
    dropped: AtomicU64,
    failed: AtomicU64,
}

impl Counts {
    /// By result; of a node that makes none, all are zero.
    #[cfg(feature = "http")]
    pub(crate) fn each(counts: Option<&Self>) -> [(&'static str, u64); 3] {
        let of =
            |count: fn(&Self) -> &AtomicU64| counts.map_or(0, |counts| count(counts).load(Ordering::Relaxed));
        [
            ("exported", of(|counts| &counts.exported)),
            ("dropped", of(|counts| &counts.dropped)),
            ("failed", of(|counts| &counts.failed)),
        ]
    }
}

impl Traces {
    /// Nobody wants any.
    pub(crate) const fn off() -> Self {
        Self { shared: None }
    }

    /// Starts an exporter. Must be called inside a tokio runtime.
    pub(crate) fn start(config: &TracesConfig, node_id: NodeId) -> Result<Self, export::ExportError> {
        let counts = Arc::new(Counts::default());
        let queue = Arc::new(SpanQueue::default());
        let exporter = export::Exporter::new(config, node_id)?;
        tokio::spawn(export::run(exporter, Arc::clone(&queue), Arc::clone(&counts)));
        let shared = Shared {
            sampler: Sampler::new(config.sample, config.follow),
            queue,
            counts,
            began: (Instant::now(), SystemTime::now()),
        };
        Ok(Self {
            shared: Some(Arc::new(shared)),
        })
    }

    pub(crate) fn is_on(&self) -> bool {
        self.shared.is_some()
    }

    /// What became of spans so far.
    #[cfg(feature = "http")]
    pub(crate) fn counts(&self) -> Option<&Counts> {
        self.shared.as_ref().map(|shared| &*shared.counts)
    }

    /// Waits until what was finished so far is sent, for a short time.
    pub(crate) async fn flush(&self) {
        let Some(shared) = &self.shared else { return };
        let (sent, flushed) = oneshot::channel();
        shared.queue.flush(sent);
        // It is dropped, never used.
        drop(tokio::time::timeout(FLUSH, flushed).await);
    }

    /// A request comes in by a door, perhaps as a part of somebody's trace.
    #[cfg(feature = "http")]
    pub(crate) fn arrive(&self, parent: Option<TraceParent>, kind: SpanKind) -> Arrival {
        let Some(shared) = &self.shared else {
            return Arrival::Off;
        };
        match shared.sampler.decide(parent) {
            true => Arrival::Sampled(Active::new(shared, "", kind, parent.map(TraceParent::context))),
            false => Arrival::Unsampled,
        }
    }

    /// A span within what the task works on; where nobody has decided yet whether that is traced, this does.
    pub(crate) fn begin(&self, name: &'static str) -> Option<Active> {
        let shared = self.shared.as_ref()?;
        match SCOPE.try_with(|scope| *scope) {
            Ok(Scope::Unsampled) => None,
            Ok(Scope::Within(parent)) => Some(Active::new(shared, name, SpanKind::Internal, Some(parent))),
            Err(_) => shared
                .sampler
                .decide(None)
                .then(|| Active::new(shared, name, SpanKind::Internal, None)),
        }
    }

    /// A span within what the task works on, if that is traced.
    pub(crate) fn child(&self, name: &'static str) -> Option<Active> {
        let shared = self.shared.as_ref()?;
        match SCOPE.try_with(|scope| *scope) {
            Ok(Scope::Within(parent)) => Some(Active::new(shared, name, SpanKind::Internal, Some(parent))),
            Ok(Scope::Unsampled) | Err(_) => None,
        }
    }
}

impl Shared {
    fn send(&self, span: Span) {
        if !self.queue.push(span) {
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Nanoseconds since 1970, by the clock that does not jump.
    fn unix_nanos(&self, at: Instant) -> u64 {
        let (instant, time) = self.began;
        let since_1970 = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let (after, before) = (
            at.saturating_duration_since(instant),
            instant.saturating_duration_since(at),
        );
        let total = (since_1970 + after).saturating_sub(before);
        u64::try_from(total.as_nanos()).unwrap_or(u64::MAX)
    }
}

/// What was decided about a request.
#[cfg(feature = "http")]
#[derive(Debug)]
pub(crate) enum Arrival {
    /// Nobody traces anything.
    Off,
    /// It is not traced.
    Unsampled,
    /// It is, and this is its span.
    Sampled(Active),
}

/// A span that goes on. It is told only when it is finished: dropped, it never was.
#[derive(Debug)]
pub(crate) struct Active {
    shared: Arc<Shared>,
    began: Instant,
    span: Span,
}

impl Active {
    fn new(shared: &Arc<Shared>, name: &'static str, kind: SpanKind, parent: Option<TraceContext>) -> Self {
        let trace_id = parent.map_or_else(|| shared.sampler.trace_id(), TraceContext::trace_id);
        let span = Span::new(name.into(), kind, trace_id, shared.sampler.span_id());
        Self {
            shared: Arc::clone(shared),
            began: Instant::now(),
            span: span.under(parent.map(TraceContext::span_id)),
        }
    }

    /// What belongs under it.
    pub(crate) fn context(&self) -> Option<TraceContext> {
        TraceContext::new(self.span.trace_id, self.span.span_id)
    }

    #[cfg(feature = "http")]
    pub(crate) fn rename(&mut self, name: String) {
        self.span.name = name.into();
    }

    pub(crate) fn set(&mut self, name: &'static str, value: impl Into<SpanValue>) {
        self.span.attributes.push((name, value.into()));
    }

    pub(crate) fn fail(&mut self, code: impl Into<String>) {
        self.span.error = Some(code.into());
    }

    /// Ends it now.
    pub(crate) fn finish(mut self) {
        self.span.start_unix_nanos = self.shared.unix_nanos(self.began);
        self.span.end_unix_nanos = self.shared.unix_nanos(Instant::now());
        self.shared.send(self.span);
    }

    /// Ends it with what came of the work.
    pub(crate) fn finish_with<T>(mut self, outcome: &Result<T, Error>) {
        if let Err(error) = outcome {
            self.fail(error.code());
        }
        self.finish();
    }
}

/// Does the work under a span, if there is one.
pub(crate) async fn within<T>(span: Option<&Active>, work: impl Future<Output = T>) -> T {
    let work = pin!(work);
    match span.and_then(Active::context) {
        Some(context) => SCOPE.scope(Scope::Within(context), work).await,
        None => work.await,
    }
}

/// Does the work of a request that is not traced.
#[cfg(feature = "http")]
pub(crate) async fn unsampled<T>(work: impl Future<Output = T>) -> T {
    SCOPE.scope(Scope::Unsampled, work).await
}

/// Has everything that `work` asks of a node belong under a span of the program's own, if that is sampled: what the header
/// `traceparent` does over HTTP.
///
/// ```no_run
/// # async fn example(db: concord_server::Concord) -> Result<(), concord_server::Error> {
/// use concord_server::trace::{TraceParent, scope};
///
/// let parent: TraceParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".parse().unwrap();
/// scope(parent, async { db.put("greeting", "hello").await }).await?;
/// # Ok(())
/// # }
/// ```
pub async fn scope<T>(parent: TraceParent, work: impl Future<Output = T>) -> T {
    let scope = match parent.is_sampled() {
        true => Scope::Within(parent.context()),
        false => Scope::Unsampled,
    };
    SCOPE.scope(scope, work).await
}

/// How long spans wait to be sent together.
const GATHER: Duration = Duration::from_secs(1);
/// How long a node that stops waits for its last spans to be sent.
const FLUSH: Duration = Duration::from_secs(2);
