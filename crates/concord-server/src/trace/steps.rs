//! The steps that a traced request goes through in the log, on each node that has it.

use std::ops::Range;

use concord_core::ids::NodeId;
use concord_core::trace::TraceContext;
use concord_raft::AppliedEntry;
use tokio::time::Instant;

use super::span::{Span, SpanKind};
use super::{Shared, Traces};

impl Traces {
    /// An entry was applied here: tells it of each traced request in it.
    pub(crate) fn entry_applied(&self, node_id: NodeId, entry: &AppliedEntry) {
        let Some(shared) = &self.shared else { return };
        for context in &entry.traced {
            if let Some(logged) = &entry.logged {
                shared.step("concord.log", *context, logged.clone(), node_id, entry);
                if entry.is_own {
                    // Until a majority had it, which is when it may be applied.
                    let committing = logged.start..entry.applied.start;
                    shared.step("concord.commit", *context, committing, node_id, entry);
                }
            }
            shared.step("concord.apply", *context, entry.applied.clone(), node_id, entry);
        }
    }
}

impl Shared {
    fn step(
        &self,
        name: &'static str,
        parent: TraceContext,
        time: Range<Instant>,
        node_id: NodeId,
        entry: &AppliedEntry,
    ) {
        let id = self.sampler.span_id();
        let mut span =
            Span::new(name.into(), SpanKind::Internal, parent.trace_id(), id).under(Some(parent.span_id()));
        span.start_unix_nanos = self.unix_nanos(time.start);
        span.end_unix_nanos = self.unix_nanos(time.end.max(time.start));
        span.attributes = vec![
            ("concord.node.id", node_id.get().into()),
            ("concord.raft.index", entry.index.get().into()),
            ("concord.raft.term", entry.term.get().into()),
            (
                "concord.entry.requests",
                u64::try_from(entry.requests).unwrap_or(u64::MAX).into(),
            ),
        ];
        self.send(span);
    }
}
