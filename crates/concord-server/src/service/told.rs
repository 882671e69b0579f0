//! What is told of requests: to the traces that they are parts of, and to the program that embeds the node.

use std::time::Duration;

use bytes::Bytes;
use concord_auth::{Read, Request as _};
use concord_core::reply::Reply;
use concord_raft::ReadConsistency;
use tokio::time::Instant;

use super::{ReadPlan, Seen, Service, number};
use crate::error::{Error, ErrorKind};
use crate::metrics::Operation;
use crate::telemetry::{Event, Shape, Telemetry};
use crate::trace::{Active, Traces};

impl Service {
    /// Where the spans of requests go.
    pub(crate) const fn traces(&self) -> &Traces {
        &self.traces
    }

    /// Where events go.
    pub(crate) const fn telemetry(&self) -> &Telemetry {
        &self.telemetry
    }

    /// How many watches are open on this node.
    pub(crate) fn count_watches(&self) -> usize {
        self.watches.list().len()
    }

    /// Has a request applied, with the ids of the trace that it is a part of, if it is.
    pub(super) async fn propose_traced(&self, request: Bytes, deadline: Instant) -> Result<Reply, Error> {
        let Some(mut span) = self.traces.child("concord.propose") else {
            return Ok(self.node.propose(request, deadline).await?);
        };
        span.set("concord.request.bytes", number(request.len()));
        let request = match span.context() {
            Some(context) => context.wrap(&request),
            None => request,
        };
        let proposed = self.node.propose(request, deadline).await.map_err(Error::from);
        span.finish_with(&proposed);
        proposed
    }

    /// Tells of a read: to the trace that it belongs to, and to the program.
    pub(super) fn told_read(
        &self,
        span: Option<Active>,
        request: &Read<'_>,
        plan: &ReadPlan,
        duration: Duration,
        outcome: &Result<Seen, Error>,
    ) {
        let operation = || request.action().name();
        if let Some(mut span) = span {
            span.set("concord.operation", operation());
            let level = match plan.consistency {
                ReadConsistency::Strong => "strong",
                ReadConsistency::Leader => "leader",
                ReadConsistency::Eventual => "eventual",
            };
            span.set("concord.consistency", level);
            span.finish_with(outcome);
        }
        self.telemetry.tell(|| Event::Read {
            operation: operation(),
            result: result_of(outcome),
            consistency: plan.consistency,
            duration,
        });
    }

    /// Tells the program of a write.
    pub(super) fn told_write<T>(
        &self,
        shape: Shape,
        operation: Operation,
        duration: Duration,
        outcome: &Result<T, Error>,
    ) {
        let operation = operation.name();
        if matches!(outcome, Err(error) if error.kind() == ErrorKind::Unsupported) {
            self.telemetry.tell(|| Event::UnknownCommand { operation });
        }
        self.telemetry
            .tell(|| shape.write(operation, result_of(outcome), duration));
    }
}

/// `ok`, or the stable name of the error.
pub(super) fn result_of<T>(outcome: &Result<T, Error>) -> &'static str {
    outcome.as_ref().err().map_or("ok", |error| error.kind().code())
}
